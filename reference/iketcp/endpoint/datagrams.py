"""UDP: datagrams in, sessions that go over datagrams, and what time asks of them.

There are no connections here, so there is nothing to open, to lose or to close. A
session begins where the first datagram goes to or comes from, moves to port 4500, and
follows a peer behind a NAT (:mod:`iketcp.endpoint.arrival`). Requests are sent again by
their IKE SA (:mod:`iketcp.ike.retransmission`).

Source: RFC 7296 §2.11
Source: RFC 7296 §2.23
Source: RFC 3948 §4
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from iketcp.datagram import sort_datagram
from iketcp.effects import Effect, SendDatagrams
from iketcp.endpoint.arrival import OverUdp
from iketcp.endpoint.carry_out import OutputCarrier
from iketcp.endpoint.data_plane import runs
from iketcp.endpoint.esp_messages import EspMessages
from iketcp.endpoint.ike_messages import IkeMessages
from iketcp.endpoint.tables import Counters, DatagramPolicy, IkeSession, Tables
from iketcp.ike import engine
from iketcp.ike.context import IkeContext
from iketcp.ike.nat_detection import Path
from iketcp.stream import NAT_KEEPALIVE, MessageKind

LONGEST_RUN = 1 << 10
"""Choice: ESP packets that are opened at once; more than are received at once."""


class Datagrams:
    """The part of an endpoint that speaks UDP.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    context : IkeContext
        Shared by all IKE SAs.
    counters : Counters
        What was dropped.
    carrier : OutputCarrier
        Carries out what an IKE SA wants.
    ike, esp : IkeMessages, EspMessages
        Whom messages are handed to.
    control_lock : AbstractContextManager
        Held for everything but ESP.
    policy : DatagramPolicy
        What the RFCs leave open.
    """

    def __init__(
        self,
        tables: Tables,
        context: IkeContext,
        counters: Counters,
        carrier: OutputCarrier,
        ike: IkeMessages,
        esp: EspMessages,
        control_lock: AbstractContextManager[object],
        policy: DatagramPolicy,
    ) -> None:
        self._tables = tables
        self._context = context
        self._counters = counters
        self._carrier = carrier
        self._ike = ike
        self._esp = esp
        self._control_lock = control_lock
        self._policy = policy
        self._look_at: float | None = None
        self.takes_first = False
        """We are a responder: IKE_SA_INIT requests may come."""

    def begin(
        self,
        session: IkeSession,
        path: Path,
        encapsulated: Path,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Send IKE_SA_INIT; the control lock is held.

        Parameters
        ----------
        path, encapsulated : Path
            To the peer's port 500, and to its port 4500, which everything after
            IKE_SA_INIT goes to.

        Source: RFC 7296 §1.2, RFC 7296 §2.23
        """
        session.udp_path, session.encapsulated_path = path, encapsulated
        is_only = not self._tables.ike_sas
        session.ike = engine.start(self._context, path, now, is_only)
        self._tables.add_ike_sa(session.ike, session)
        session.use(self._policy.fragment_size)
        self._carrier.run(session.ike, session, None, now, effects)

    def received(
        self, path: Path, datagrams: Sequence[bytes], now: float
    ) -> list[Effect]:
        """Take datagrams that came along one path, in their order.

        What is neither IKE nor ESP, and what is not authentic, is dropped and counted.

        Source: RFC 7296 §2.11, RFC 3948 §2
        """
        effects: list[Effect] = []
        arrival = OverUdp(path, self._policy.fragment_size, self.takes_first)
        sorted_ = (sort_datagram(d, path.is_encapsulated) for d in datagrams)
        found = ((kind, (message,)) for kind, message in sorted_)
        for _, kind, run in runs(found, LONGEST_RUN):
            if kind is MessageKind.ESP:
                self._esp.take(arrival, run[0][:4], run, now, effects)
            elif kind is MessageKind.IKE:
                with self._control_lock:
                    self._ike.take(arrival, run[0], now, effects)
            elif kind is MessageKind.UNPARSEABLE:
                self._counters.drop("unparseable message")
            # keepalives and what is empty pass without a trace. RFC 3948 §2.3
        return effects

    # --- keepalives -------------------------------------------------------------------

    def time_passed(self, now: float) -> list[Effect]:
        """Send a keepalive for every session that is behind a NAT and was silent.

        Choice: twice in the time that may pass, somebody looks whether anything went
        out since the last look. The control lock is held.

        Source: RFC 3948 §4, RFC 7296 §2.23
        """
        if self._look_at is None or now < self._look_at:
            return []
        self._look_at = None
        effects: list[Effect] = []
        for session in self._behind_nat():
            if not session.has_sent and session.udp_path is not None:
                effects.append(SendDatagrams(session.udp_path, (NAT_KEEPALIVE,)))
            session.has_sent = False
        return effects

    def next_deadline(self, now: float) -> float | None:
        """Return when :meth:`time_passed` has something to do next, or ``None``."""
        if self._look_at is None and self._behind_nat():
            self._look_at = now + self._policy.keepalive_seconds / 2
        return self._look_at

    def _behind_nat(self) -> list[IkeSession]:
        """Sessions that keep a NAT mapping alive. Source: RFC 7296 §2.23."""
        return [
            session
            for session in self._tables.behind_nat
            if session.udp_path is not None
            and session.udp_path.is_encapsulated
            and session.ike is not None
            and session.ike.nat.is_local_behind_nat
        ]
