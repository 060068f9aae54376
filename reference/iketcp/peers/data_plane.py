"""Who carries inner packets: the endpoint, or the kernel as the endpoint has it.

The control plane is the same for both. For the kernel, what has to be there is read
from the endpoint whenever that has done something (:mod:`iketcp.endpoint.carried`),
and the kernel is told the difference (:mod:`iketcp.xfrm.plan`).

Source: RFC 4301 §4.4, RFC 9329 §6.1
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from iketcp.config.model import TunConfig
from iketcp.effects import ChildSaInstalled, Effect
from iketcp.endpoint import Endpoint
from iketcp.errors import MalformedMessageError
from iketcp.esp.child_sa import Usage
from iketcp.net.espintcp import require_espintcp
from iketcp.net.xfrm import XfrmRefusal, XfrmSocket, if_id_of
from iketcp.xfrm.layout import Request
from iketcp.xfrm.plan import MAX_SELECTORS, Plan, Step
from iketcp.xfrm.states import Sa, SaStatus

COUNT_SECONDS = 5.0
"""Choice: how often the kernel is asked what it has carried."""


class UserPlane:
    """Packets come through the tunnel device: nobody else has to be told anything."""

    def prepare(self, effects: Sequence[Effect]) -> None:
        """Do what has to be done before effects are carried out."""

    def follow(self) -> None:
        """Look at what the endpoint carries now."""

    def count(self, now: float) -> None:
        """Tell the endpoint what was carried, from time to time."""

    def close(self) -> None:
        """Leave nothing behind; idempotent."""


class KernelPlane(UserPlane):
    """The kernel seals and opens packets, by SAs and policies that follow the endpoint.

    Parameters
    ----------
    endpoint : Endpoint
        What it carries, the kernel is to carry.
    xfrm : XfrmSocket
        Leads to the kernel; closed at the end.
    if_id : int
        Of the xfrm interface, 32 bits.
    complain : Callable[[str], None]
        Told what the kernel refuses. The Child SA then carries nothing, and no packet
        goes out in the clear.

    Source: RFC 4301 §4.4
    """

    def __init__(
        self,
        endpoint: Endpoint,
        xfrm: XfrmSocket,
        if_id: int,
        complain: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._xfrm = xfrm
        self._complain = complain
        self._plan = Plan(if_id)
        self._lock = threading.Lock()
        self._is_closed = False
        self._count_at = 0.0

    def prepare(self, effects: Sequence[Effect]) -> None:
        """Have a Child SA receive before its answer is sent. RFC 7296 §2.8."""
        if any(isinstance(effect, ChildSaInstalled) for effect in effects):
            self.follow()

    def follow(self) -> None:
        """Make the kernel carry what the endpoint carries. RFC 4301 §4.4."""
        with self._lock:
            if self._is_closed:
                return
            # looked at inside the lock, so that the last look is the newest
            self._take(self._plan.follow(self._endpoint.carried_children()))
            for name in self._plan.too_fine:
                self._complain(
                    f"the kernel cannot carry Child SA {name}: its traffic selectors "
                    f"are more than {MAX_SELECTORS} networks and blocks of ports"
                )
            self._plan.too_fine.clear()

    def _take(self, steps: Sequence[Step]) -> None:
        """Take steps in order; one that fails is told of, and the next one taken."""
        for step in steps:
            try:
                if isinstance(step, Request):
                    self._xfrm.ask(step)
                else:
                    numbers = self._status(step.old).replay
                    self._xfrm.ask(step.old.delete())
                    self._xfrm.ask(step.new.new(numbers))
            except (XfrmRefusal, MalformedMessageError) as error:
                self._complain(str(error))

    def _status(self, sa: Sa) -> SaStatus:
        return SaStatus.parse(self._xfrm.ask(sa.get()))

    def count(self, now: float) -> None:
        """Tell the endpoint what went through its Child SAs. RFC 4301 §4.4.2.1."""
        if now < self._count_at:
            return
        self._count_at = now + COUNT_SECONDS
        with self._lock:
            counted = {} if self._is_closed else dict(self._counted())
        for spi_in, usage in counted.items():
            self._endpoint.counted_elsewhere(spi_in, usage, now)

    def _counted(self) -> dict[bytes, Usage]:
        counted = {}
        for spi_in, (inbound, outbound) in self._plan.sas.items():
            try:
                came, went = self._status(inbound).count, self._status(outbound).count
            except (XfrmRefusal, MalformedMessageError):
                continue  # whoever could not make it has been told of
            counted[spi_in] = Usage(
                came.packets, came.octets, went.packets, went.octets
            )
        return counted

    def close(self) -> None:
        """Remove every SA and policy of ours; idempotent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._take(self._plan.follow(()))
                self._xfrm.close()


def data_plane(
    tun: TunConfig, endpoint: Endpoint, complain: Callable[[str], None]
) -> UserPlane:
    """Make the data plane that a configuration asks for.

    Raises
    ------
    EnvironmentProblem
        The kernel does not have what it takes.

    Source: RFC 9329 §3.2
    """
    if tun.dataplane == "user":
        return UserPlane()
    require_espintcp()
    return KernelPlane(endpoint, XfrmSocket(), if_id_of(tun.name), complain)
