"""The endpoint: connections, sessions and SAs of one host, events in, effects out.

Both roles are here, for they differ little: the TCP Originator opens connections and
begins, the TCP Responder waits for a stream prefix and answers. Either may begin any
exchange once an IKE SA is up. What UDP has of its own is in :class:`Datagrams
<iketcp.endpoint.datagrams.Datagrams>`.

Locking: the control lock is held for everything but the ESP data path, for computing
only and never for I/O. Data packets take the lock of their Child SA alone; they ask for
the control lock only when a packet moves its session to another connection.

Source: RFC 9329 §6
Source: RFC 7296 §2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from iketcp.effects import (
    CloseConnection,
    ConnectionId,
    Effect,
    Transmit,
)
from iketcp.endpoint import traces
from iketcp.endpoint.carried import CarriedChild, carried_children
from iketcp.endpoint.carry_out import OutputCarrier
from iketcp.endpoint.data_plane import Outbound
from iketcp.endpoint.datagrams import Datagrams
from iketcp.endpoint.esp_messages import EspMessages
from iketcp.endpoint.ike_messages import IkeMessages
from iketcp.endpoint.origination import Origination
from iketcp.endpoint.resync import Resync
from iketcp.endpoint.rounds import Rounds
from iketcp.endpoint.streams import Streams
from iketcp.endpoint.tables import (
    Counters,
    DatagramPolicy,
    IkeSession,
    Stream,
    Tables,
)
from iketcp.environment import Entropy, no_date
from iketcp.esp.child_sa import Usage
from iketcp.esp.spd import OutboundSpd
from iketcp.half_open import HalfOpen
from iketcp.ike import upkeep
from iketcp.ike.context import IkeContext
from iketcp.ike.exchanges.informational import DeleteIkeSa
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import IkePolicy
from iketcp.ike.sa import IkeSa
from iketcp.mapping import ConnectionMap, MappingPolicy
from iketcp.stream import STREAM_PREFIX, StreamDecoder


def _no_lock() -> AbstractContextManager[object]:
    return nullcontext()


class Endpoint:
    """One endpoint.

    Parameters
    ----------
    policy : IkePolicy
        What may be agreed.
    mapping_policy : MappingPolicy
        Limits of connections.
    entropy : Entropy
        Labelled draws.
    new_lock : Callable[[], AbstractContextManager]
        Makes locks; the default makes none, for use by one thread.
    date : Callable[[], datetime]
        The time of day, with its zone; only certificates are held against it.
    datagram_policy : DatagramPolicy
        Limits of UDP.
    stream_mtu : int or None
        Largest inner packet over TCP, in octets, where somebody has chosen one; None:
        as large as UDP could carry [9329-3-limit].
    """

    def __init__(
        self,
        policy: IkePolicy,
        mapping_policy: MappingPolicy,
        entropy: Entropy,
        new_lock: Callable[[], AbstractContextManager[object]] = _no_lock,
        date: Callable[[], datetime] = no_date,
        datagram_policy: DatagramPolicy = DatagramPolicy(),
        stream_mtu: int | None = None,
    ) -> None:
        strangers = HalfOpen(
            mapping_policy.half_open_limit, mapping_policy.half_open_address_limit
        )
        self.tables = Tables(strangers=strangers)
        self.counters = Counters()
        self.map = ConnectionMap(mapping_policy)
        self.context = IkeContext(
            policy,
            entropy,
            self.tables.ike_sas.__contains__,
            self.tables.children.__contains__,
            date,
        )
        self._entropy = entropy
        self._control_lock = new_lock()
        self._spd = spd = OutboundSpd(new_lock())
        self._outbound = Outbound(self.tables, spd, self.counters)
        self._carrier = OutputCarrier(
            self.tables, self.map, spd, entropy, new_lock, datagram_policy, stream_mtu
        )
        self._rounds = Rounds(self.tables, self.context, self._carrier)
        self._ike = IkeMessages(self.tables, self.context, self.counters, self._carrier)
        self._esp = EspMessages(
            self.tables, self.counters, self._carrier, self._ike, self._control_lock
        )
        self.datagrams = Datagrams(
            self.tables,
            self.context,
            self.counters,
            self._carrier,
            self._ike,
            self._esp,
            self._control_lock,
            datagram_policy,
        )
        self._streams = Streams(
            self.map,
            self.counters,
            self._ike,
            self._esp,
            self._control_lock,
            Resync(self.tables, mapping_policy, self._ike.is_genuine),
        )
        self._origination = Origination(
            self.tables, self.map, self.context, self._carrier, self.datagrams, entropy
        )

    # --- connections ------------------------------------------------------------------

    def initiate(self) -> list[Effect]:
        """Begin as TCP Originator and original initiator: ask for a connection."""
        with self._control_lock:
            return self._origination.initiate()

    def adopt(self, sa: IkeSa, session: IkeSession, now: float) -> list[Effect]:
        """Take over a session that is established, and has no connection.

        Parameters
        ----------
        sa : IkeSa
            Its one IKE SA, with what it wants done among its outputs.

        Source: RFC 9329 §6.1
        """
        effects: list[Effect] = []
        with self._control_lock:
            self.tables.add_ike_sa(sa, session)
            if session.is_tcp_originator:
                self._origination.adopt(session)
            self._carrier.run(sa, session, None, now, effects)
        return effects

    def begin_over_udp(
        self, path: Path, encapsulated: Path, now: float
    ) -> list[Effect]:
        """Begin over UDP, where a connection was asked for; see ``Datagrams.begin``.

        Source: RFC 7296 §1.2
        """
        effects: list[Effect] = []
        with self._control_lock:
            self._origination.begin_over_udp(path, encapsulated, now, effects)
        return effects

    def datagrams_received(
        self, path: Path, datagrams: Sequence[bytes], now: float
    ) -> list[Effect]:
        """Take datagrams that came along one path; called by one thread at a time.

        Source: RFC 7296 §2.11
        """
        effects = self.datagrams.received(path, datagrams, now)
        return effects + self._go_on(now)

    def connection_opened(
        self,
        id: ConnectionId,
        path: Path,
        is_tcp_originator: bool,
        now: float,
        path_mtu: int = 1500,
        fragment_size: int | None = None,
    ) -> list[Effect]:
        """Take a connection that we opened or accepted.

        As TCP Originator the stream prefix goes out first, on every connection
        [9329-4-prefix] [9329-6.1-reprefix], and once [9329-4-once]; then the session
        goes on, or begins. As TCP Responder nothing is sent [9329-4-originator]. A
        connection that is one too many, or not wanted any more, is closed again.

        Parameters
        ----------
        path : Path
            Both ends' addresses and TCP ports.
        path_mtu : int
            Largest outer IP packet, in octets.
        fragment_size : int or None
            Largest IKE message to be sent whole, in octets; ``None``, and nothing else
            over TCP, for any size [9329-7.5-nofrag].

        Source: RFC 9329 §4, RFC 9329 §6.1, RFC 9329 §7.5
        """
        with self._control_lock:
            address = str(path.remote_address)
            if is_tcp_originator:
                is_wanted = self._origination.is_wanted
                refusal = None if is_wanted else "not wanted any more"
            else:
                refusal = self.map.refusal(address)
            if refusal is not None:
                self.counters.drop(refusal)
                return [CloseConnection(id, refusal)]
            connection = self.map.opened(id, address, is_tcp_originator, now)
            # the prefix comes from the TCP Originator only [9329-4-originator]
            decoder = StreamDecoder(expects_prefix=not is_tcp_originator)
            stream = Stream(connection, path, decoder, path_mtu, fragment_size)
            self.tables.streams[id] = stream
            effects: list[Effect] = [
                traces.connection_opened(id, path, is_tcp_originator)
            ]
            if is_tcp_originator:
                effects.append(Transmit(id, STREAM_PREFIX))
                effects.append(traces.stream_prefix(id, "sent"))
                self._begin_or_resume(stream, now, effects)
            return effects

    def _begin_or_resume(
        self, stream: Stream, now: float, effects: list[Effect]
    ) -> None:
        """Put a session of ours on its new connection. Source: RFC 9329 §6.1."""
        session = self._origination.session_of_connection()
        replaced = self.map.begin(session, stream.connection)
        if replaced is not None:
            effects += self._close(replaced, "replaced by a new connection", now)
        self._origination.go_over(session, stream, now, effects)

    def _go_on(self, now: float) -> list[Effect]:
        """Follow up on sessions of ours; without the lock, unless there is need."""
        if not self._origination.may_go_on:
            return []
        with self._control_lock:
            return self._origination.go_on(now)

    def connection_failed(self, now: float) -> list[Effect]:
        """Note that an attempt to connect failed; another follows after a pause."""
        with self._control_lock:
            return self._origination.connection_failed(now)

    def connection_lost(
        self, id: ConnectionId, reason: str, now: float
    ) -> list[Effect]:
        """Note that a connection is gone; the SAs stay [9329-6.1-keep-state].

        Called by the thread that reads the connection: its decoder is used by no other,
        and what is left there of a message is thrown away [9329-6.1-partial].

        Source: RFC 9329 §6.1
        """
        stream = self.tables.streams.get(id)
        if stream is not None:
            stream.decoder.discard()
        with self._control_lock:
            return self._lost(id, reason, now)

    def _lost(
        self, id: ConnectionId, reason: str, now: float, counted: str = ""
    ) -> list[Effect]:
        """Forget a connection, and count it under its reason, or another name for it.

        Any thread may come here while another still reads that stream, so its decoder
        is left alone; nobody else ever uses it.
        """
        if self.tables.streams.pop(id, None) is None:
            return []
        self.counters.close(counted or reason)
        effects: list[Effect] = [traces.connection_closed(id, reason)]
        session = self.map.lost(id, now)
        if isinstance(session, IkeSession):
            for sa in session.ike_sas:
                sa.has_connection = False
            if session.is_tcp_originator:
                effects += self._origination.lost(session, now)
        return effects

    def _close(
        self, id: ConnectionId, reason: str, now: float, counted: str = ""
    ) -> list[Effect]:
        return [CloseConnection(id, reason), *self._lost(id, reason, now, counted)]

    # --- octets -----------------------------------------------------------------------

    def octets_received(
        self, id: ConnectionId, octets: bytes, now: float
    ) -> list[Effect]:
        """Take what a connection delivered; called by one thread a connection.

        Source: RFC 9329 §3, RFC 9329 §6.1
        """
        stream = self.tables.streams.get(id)
        if stream is None:
            return []
        effects: list[Effect] = []
        reason = self._streams.received(stream, octets, now, effects)
        if reason is not None:
            failure = stream.decoder.failure
            # what a peer sent instead of the prefix is for the log, not for a count
            counted = type(failure).__name__ if reason == str(failure) else reason
            with self._control_lock:
                self.counters.drop("connection closed for its octets")
                effects += self._close(id, reason, now, counted)
        return effects + self._go_on(now)

    # --- inner packets ----------------------------------------------------------------

    def inner_packets(self, packets: Sequence[bytes]) -> list[Effect]:
        """Seal packets that came out of the tunnel device; rows are of one flow.

        Source: RFC 4301 §5.1
        """
        return self._outbound.send(packets)

    # --- a data plane elsewhere -------------------------------------------------------

    def carried_children(self) -> list[CarriedChild]:
        """As :func:`~iketcp.endpoint.carried.carried_children`."""
        return carried_children(self.tables, self._spd)

    def counted_elsewhere(self, spi_in: bytes, usage: Usage, now: float) -> None:
        """Note what somebody else has carried of a Child SA so far.

        Parameters
        ----------
        usage : Usage
            Since the Child SA is there; it counts towards its lifetime.

        Source: RFC 7296 §2.4, RFC 7296 §2.8, RFC 4301 §4.4.2.1
        """
        live = self.tables.children.get(spi_in)
        if live is None or not live.esp.count_elsewhere(usage):
            return
        if live.esp.is_sending_deferred:
            self._carrier.prefer(live.esp)  # the peer has used it
        if live.session.ike is not None:
            live.session.ike.last_heard = now

    # --- time -------------------------------------------------------------------------

    def time_passed(self, now: float) -> list[Effect]:
        """Do what is due: time-outs, rekeys, liveness, connections to close."""
        effects: list[Effect] = []
        with self._control_lock:
            self._rounds.time_passed(now, effects)
            for id, reason in self.map.due(now):
                effects += self._close(id, reason, now)
            effects += self.datagrams.time_passed(now)
            effects += self._origination.time_passed(now)
        return effects

    def next_deadline(self, now: float) -> float | None:
        """Return when :meth:`time_passed` should be called next, or ``None``."""
        with self._control_lock:
            times = (
                self._rounds.next_deadline(now),
                self.map.next_deadline(),
                self.datagrams.next_deadline(now),
                self._origination.next_deadline(now),
            )
            return min((t for t in times if t is not None), default=None)

    # --- wishes -----------------------------------------------------------------------

    def rekey_child(self, name: str, now: float) -> list[Effect]:
        """Rekey every Child SA of that name. Source: RFC 7296 §1.3.3."""
        effects: list[Effect] = []
        with self._control_lock:
            for sa, session in list(self.tables.ike_sas.values()):
                for child in list(sa.children.values()):
                    if child.policy.name == name:
                        upkeep.rekey_child(sa, child)
                upkeep.time_passed(sa, now, self._rounds.usage)
                self._carrier.run(sa, session, None, now, effects)
        return effects

    def rekey_ike(self, now: float) -> list[Effect]:
        """Rekey every IKE SA. Source: RFC 7296 §1.3.2."""
        effects: list[Effect] = []
        with self._control_lock:
            for session in self.tables.sessions():
                sa = session.ike
                if sa is not None and sa.is_usable and not sa.is_wanted(RekeyIkeSa):
                    sa.want(RekeyIkeSa())
                    upkeep.time_passed(sa, now, self._rounds.usage)
                    self._carrier.run(sa, session, None, now, effects)
        return effects

    def delete_all(self, now: float) -> list[Effect]:
        """End every session, with DELETE where the peer can hear it [9329-6.1-delete].

        Source: RFC 7296 §1.4.1, RFC 9329 §6.1
        """
        effects: list[Effect] = []
        with self._control_lock:
            self._origination.is_wanted = False
            begun = [(s.ike, s) for s in self.tables.sessions() if s.ike is not None]
            for sa, session in begun:
                if sa.is_usable and session.carrier is not None:
                    sa.tasks.clear()
                    sa.want(DeleteIkeSa("deleted by us"))
                    upkeep.time_passed(sa, now, self._rounds.usage)
                else:
                    sa.close("deleted by us", is_local_wish=True)
                self._carrier.run(sa, session, None, now, effects)
        return effects

    @property
    def has_sessions(self) -> bool:
        """Any IKE SA is left."""
        return bool(self.tables.ike_sas)
