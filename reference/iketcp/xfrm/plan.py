"""From what an endpoint carries to what the kernel has to be told.

The plan keeps what the kernel has been told so far. Shown a picture of the Child SAs
(:mod:`iketcp.endpoint.carried`), it answers with the steps that make the kernel's SAs
and policies like it: first SAs, so that no policy asks for one that is not there, then
policies, then what has to go. It does not matter how many changes lie between two
pictures, or in which order threads come to show them.

===============  =======================================================================
of a Child SA    in the kernel
===============  =======================================================================
both directions  an SA each, with the addresses and ports of the session's connection
what it sends    an outbound policy for each selector, which asks for its SPI alone
what it lets in  an inbound and a forward policy, which ask for its ``reqid``
===============  =======================================================================

A ``reqid`` stands for a peer and a set of Traffic Selectors, so that a Child SA and its
successor by rekey are both let in, and no other peer's [RFC 4301 §5.2]. Where two Child
SAs have a selector in common, the policies are those of the one that is first in the
picture.

Choice: when a session moves between other addresses than before, its SAs are made anew
with their keys and go on counting, for Linux cannot change the addresses of an SA. The
outbound IV then is the sequence number under a new random mask of the kernel's.

Source: RFC 4301 §4.4, RFC 7296 §2.8, RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from iketcp.child_sa import ChildSaParameters
from iketcp.endpoint.carried import CarriedChild
from iketcp.ike.nat_detection import Path
from iketcp.selectors import TrafficSelector
from iketcp.xfrm.layout import Request, family_of
from iketcp.xfrm.policies import (
    Direction,
    KernelSelector,
    PolicyKey,
    Template,
    kernel_selectors,
)
from iketcp.xfrm.states import Sa

MAX_SELECTORS = 1024
"""Choice: the most networks and blocks of ports that one Child SA may come to."""

_Group = tuple[str, tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]


@dataclass(frozen=True, slots=True)
class Renewal:
    """An SA that gets other addresses: ask, remove, and make it where that stopped.

    Source: RFC 4303 §3.3.3
    """

    old: Sa
    new: Sa


Step = Request | Renewal


@dataclass(slots=True)
class _Installed:
    """A Child SA as the kernel has it."""

    inbound: Sa
    outbound: Sa
    group: _Group
    selectors: tuple[KernelSelector, ...]

    def moved(self, path: Path) -> Iterator[Step]:
        """Lead both SAs over another connection."""
        for sa in (self.inbound, self.outbound):
            new = replace(sa, path=path)
            if new.ends != sa.ends:
                yield Renewal(sa, new)
            elif not sa.is_inbound:  # which comes in on any connection
                yield new.update()
        self.inbound = replace(self.inbound, path=path)
        self.outbound = replace(self.outbound, path=path)


class Plan:
    """What the kernel has been told of the Child SAs of one xfrm interface.

    Parameters
    ----------
    if_id : int
        The interface's, 32 bits.

    Attributes
    ----------
    too_fine : list[str]
        Names of Child SAs left out, because their Traffic Selectors come to more than
        :data:`MAX_SELECTORS`; whoever reads them may clear the list.

    Source: RFC 4301 §4.4
    """

    def __init__(self, if_id: int) -> None:
        self._if_id = if_id
        self._children: dict[bytes, _Installed] = {}
        self._refused: set[bytes] = set()
        self._policies: dict[PolicyKey, Template] = {}
        self._reqids: dict[_Group, int] = {}
        self._last_reqid = 0
        self.too_fine: list[str] = []

    @property
    def sas(self) -> dict[bytes, tuple[Sa, Sa]]:
        """Inbound and outbound SA by the SPI that we receive on."""
        return {s: (c.inbound, c.outbound) for s, c in self._children.items()}

    def follow(self, picture: Sequence[CarriedChild]) -> list[Step]:
        """Return the steps that make the kernel like the picture.

        Source: RFC 4301 §4.4, RFC 7296 §2.8
        """
        steps: list[Step] = []
        for child in picture:
            steps += self._follow_child(child)
        present = {child.parameters.spi_in for child in picture}
        gone = [spi for spi in self._children if spi not in present]
        removed = [self._children.pop(spi) for spi in gone]
        self._refused &= present
        steps += self._follow_policies(picture)
        for installed in removed:
            steps += (installed.outbound.delete(), installed.inbound.delete())
        self._forget_groups()
        return steps

    def _follow_child(self, child: CarriedChild) -> Iterable[Step]:
        """Make its SAs, or lead them to where its session has moved."""
        spi_in, path = child.parameters.spi_in, child.path
        if path is None or spi_in in self._refused:
            return ()
        installed = self._children.get(spi_in)
        if installed is None:
            return self._install(child.parameters, path, child.peer)
        if path != installed.outbound.path:
            return installed.moved(path)
        return ()

    def _install(
        self, parameters: ChildSaParameters, path: Path, peer: str
    ) -> Iterable[Step]:
        wanted = kernel_selectors(parameters.local_ts, parameters.remote_ts)
        selectors = tuple(islice(wanted, MAX_SELECTORS + 1))
        if len(selectors) > MAX_SELECTORS:
            self._refused.add(parameters.spi_in)
            self.too_fine.append(parameters.name)
            return ()
        group = (peer, parameters.local_ts, parameters.remote_ts)
        reqid = self._reqids.get(group)
        if reqid is None:
            self._last_reqid += 1
            reqid = self._reqids[group] = self._last_reqid
        inbound, outbound = (
            Sa(parameters, path, is_inbound, reqid, self._if_id)
            for is_inbound in (True, False)
        )
        installed = _Installed(inbound, outbound, group, selectors)
        self._children[parameters.spi_in] = installed
        return inbound.new(), outbound.new()

    def _forget_groups(self) -> None:
        used = {installed.group for installed in self._children.values()}
        self._reqids = {g: reqid for g, reqid in self._reqids.items() if g in used}

    # --- policies ---------------------------------------------------------------------

    def _follow_policies(self, picture: Sequence[CarriedChild]) -> Iterator[Step]:
        """Replace what has changed, then remove what nobody wants any more."""
        wanted = self._wanted_policies(picture)
        for key, template in wanted.items():
            if self._policies.get(key) != template:
                yield key.update(template, self._if_id)
        for key in self._policies:
            if key not in wanted:
                yield key.delete(self._if_id)
        self._policies = wanted

    def _wanted_policies(
        self, picture: Sequence[CarriedChild]
    ) -> dict[PolicyKey, Template]:
        wanted: dict[PolicyKey, Template] = {}
        for child in picture:
            installed = self._children.get(child.parameters.spi_in)
            if installed is None:
                continue
            sa = installed.outbound
            family = family_of(sa.ends[0])
            let_in = Template(family, sa.reqid)
            send = Template(family, sa.reqid, sa.ends, sa.spi)
            for selector in installed.selectors:
                back = selector.reversed()
                wanted.setdefault(PolicyKey(Direction.IN, back), let_in)
                wanted.setdefault(PolicyKey(Direction.FORWARD, back), let_in)
                if child.is_sending:
                    wanted.setdefault(PolicyKey(Direction.OUT, selector), send)
        return wanted
