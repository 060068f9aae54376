"""Which TCP connection carries which IKE SA.

An IKE SA outlives its TCP connections. The TCP Originator opens one for it, and another
when that one breaks; the TCP Responder cannot know which of the two still works, so it
answers on the one where the last message arrived that could not have been forged or
replayed. This module holds that decision and nothing else: connections and sessions by
number, no octets, no keys.

A *session* here is an IKE SA with its Child SAs and with all IKE SAs that rekeying puts
in its place. A session has one *current* connection, or none while it is broken.

RFC 9329 §6.1 paragraph by paragraph; :class:`ConnectionMap` keeps their order:

==  ================================  ==================================================
¶   what the paragraph says           where it is obeyed
==  ================================  ==================================================
1   a connection, and its deadline    mapping.ConnectionMap.opened
1   how many strangers                mapping.ConnectionMap.refusal
1   the stream prefix is sent         endpoint.endpoint.Endpoint.connection_opened
1   the stream prefix is awaited      stream.StreamDecoder.feed
2   DELETE is sent                    endpoint.endpoint.Endpoint.delete_all
2   who closes after it               mapping.ConnectionMap.ended
3   an unexpected end: SAs stay       mapping.ConnectionMap.lost
3   who connects again, and when      mapping.ConnectionMap.reconnect_delay
3   never the TCP Responder           mapping.Session.is_tcp_originator
3   a new address and port            mapping.ConnectionMap.opened
3   the IPv6 flow label               net.socket_options.use_flow_label
4   a message cut off                 stream.StreamDecoder.discard
5   the stream prefix once more       endpoint.endpoint.Endpoint.connection_opened
6   IKE SAs sharing a connection      mapping.ConnectionMap.may_carry
7   an SPI tells the session: IKE     endpoint.ike_messages.IkeMessages.take
7   an SPI tells the session: ESP     endpoint.esp_messages.EspMessages.take
7   what is said first                ike.engine.resume
8   corruption: unparseable           mapping.ConnectionMap.unparseable
8   corruption: unknown SPIs          mapping.ConnectionMap.unknown_spi
8   corruption: a bad ICV             mapping.ConnectionMap.integrity_failed
8   bad syntax ends the IKE SA        ike.engine.receive
9   one connection for an IKE SA      mapping.ConnectionMap.begin
10  the last valid message decides    mapping.ConnectionMap.valid_message
10  what is valid: IKE                ike.reception.take_in
10  what is valid: ESP                esp.child_sa.ChildSa.open_batch
11  old and new ones                  mapping.ConnectionMap.valid_message
11  idle and extraneous ones          mapping.ConnectionMap.deadline_of
==  ================================  ==================================================

===  ===============================  ==================================================
 §   elsewhere in RFC 9329            where it is obeyed
===  ===============================  ==================================================
6.2  a request again: TCP Originator  endpoint.endpoint.Endpoint.connection_opened
6.2  a request again: TCP Responder   endpoint.ike_messages.IkeMessages.followed
6.2  an answer again, on the spot     ike.reception.take_in
6.3  cookies                          mapping.ConnectionMap.cookie_requested
6.4  errors in IKE_SA_INIT            endpoint.ike_messages.IkeMessages.take
10   a RST costs no SA                mapping.ConnectionMap.lost
10   a stream out of step             endpoint.resync.Resync.begin
===  ===============================  ==================================================

Source: RFC 9329 §6.1
Source: RFC 9329 §6.3
Source: RFC 9329 §10
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from iketcp.agenda import Agenda
from iketcp.effects import ConnectionId
from iketcp.half_open import HalfOpen


@dataclass(frozen=True, slots=True)
class MappingPolicy:
    """Limits that RFC 9329 leaves open, in seconds and counts. RFC 9329 §6.1.

    The defaults of ``[transport]`` in a configuration are these.
    """

    first_message_seconds: float = 10.0
    """From connection to a whole prefix and a first valid message, or an IKE_SA_INIT
    that begins an IKE SA, which has a deadline of its own [9329-6.1-idle]."""
    extraneous_seconds: float = 30.0
    """A replaced connection may idle this long; 0: for ever [9329-6.1-extraneous]."""
    linger_seconds: float = 5.0
    """After DELETE, until the TCP Responder closes [9329-6.1-linger]."""
    cookie_seconds: float = 8.0
    """After a cookie request, until the connection closes [9329-6.3-close]."""
    unknown_spi_limit: int = 16
    """So many ESP packets in a row may have unknown SPIs [9329-6.1-few-unknown]."""
    corrupt_limit: int = 16
    """So many messages in a row that are neither ESP nor IKE for us are too many
    [9329-6.1-corrupt]."""
    half_open_limit: int = 256
    """Connections without a first valid message, and IKE SAs without IKE_AUTH, in all
    [9329-6.1-idle]."""
    half_open_address_limit: int = 16
    """The same, from one address [9329-6.1-idle]."""
    reconnect_seconds: float = 1.0
    """Pause before the second attempt to reconnect; doubles [9329-6.1-reestablish]."""
    reconnect_limit_seconds: float = 60.0
    """The longest pause."""
    resync_limit: int = 0
    """A stream out of step may be searched so often before it is closed; 0: never
    [9329-10-resync] [9329-10-limit]."""
    resync_octets: int = 1 << 17
    """So many octets one search takes; two of the longest messages [9329-10-limit]."""


@dataclass(eq=False, slots=True)
class Session:
    """An IKE SA and its successors by rekey, as the mapping sees it."""

    is_tcp_originator: bool
    """We open its connections. Whoever began the first IKE SA stays the TCP Originator
    through every rekey, by either side [9329-1.2-originator]."""
    current: ConnectionId | None = None
    """Where we send, and nowhere else [9329-6.1-send-one]."""
    connections: dict[ConnectionId, Connection] = field(
        default_factory=dict, repr=False
    )
    """Those that are open and carry it: one, or two around a reconnection."""
    reconnects: int = 0
    """Attempts since a connection last worked for a while."""
    has_ended: bool = False
    """It is deleted; nothing moves it any more."""


class Deadline(NamedTuple):
    """When a connection closes if nothing happens before, and why."""

    at: float
    """Seconds."""
    reason: str


NO_COOKIE = "the cookie did not come back"


@dataclass(eq=False, slots=True)
class Connection:
    """One TCP connection, as the mapping sees it."""

    id: ConnectionId
    address: str
    """The remote address, for counting."""
    is_tcp_originator: bool
    """We opened it."""
    opened_at: float
    """Seconds."""
    last_valid: float
    """When the last valid message arrived, in seconds; at first, ``opened_at``."""
    session: Session | None = None
    """Whose messages it carries."""
    replaced_at: float = 0.0
    """When its session last moved away, in seconds."""
    is_half_open: bool = True
    """No valid message has arrived yet; an IKE_SA_INIT request is none, for it proves
    nothing."""
    unknown_in_row: int = 0
    """ESP packets with unknown SPIs since the last valid message."""
    corrupt_in_row: int = 0
    """Messages since the last valid one that were neither ESP nor IKE for us."""
    deadline: Deadline | None = None
    """As long as it carries no live session; else see ``deadline_of``."""

    @property
    def was_heard(self) -> bool:
        """A valid message arrived; known after the end, too."""
        return self.last_valid > self.opened_at


class ConnectionMap:
    """All connections of an endpoint, and which session each carries.

    Parameters
    ----------
    policy : MappingPolicy
        Limits.
    """

    def __init__(self, policy: MappingPolicy = MappingPolicy()) -> None:
        self.policy = policy
        self.connections: dict[ConnectionId, Connection] = {}
        self.half_open = HalfOpen(
            policy.half_open_limit, policy.half_open_address_limit
        )
        """Accepted connections without a valid message."""
        self._agenda: Agenda[ConnectionId] = Agenda()

    # --- ¶ 1: a connection ------------------------------------------------------------

    def refusal(self, address: str) -> str | None:
        """Say why a connection from ``address`` may not be accepted, or ``None``.

        Half-open streams are capped in all and per address [9329-6.1-idle].
        """
        return self.half_open.refusal(address)

    def opened(
        self, id: ConnectionId, address: str, is_tcp_originator: bool, now: float
    ) -> Connection:
        """Note a new connection, from whatever address and port [9329-6.1-address].

        One that we accepted has to show a valid message in time.
        """
        connection = Connection(id, address, is_tcp_originator, now, now)
        if not is_tcp_originator:
            # [9329-6.1-idle]
            at = now + self.policy.first_message_seconds
            connection.deadline = Deadline(at, "no valid message in time")
            self.half_open.add(address)
        self.connections[id] = connection
        self._appoint(connection)
        return connection

    # --- ¶ 2: DELETE ------------------------------------------------------------------

    def ended(self, session: Session, now: float) -> list[ConnectionId]:
        """Note that a session is deleted.

        The TCP Originator closes its connection. The TCP Responder leaves that to it
        for a while; meanwhile the connection may serve a new session [9329-6.1-reuse].

        Returns
        -------
        list[ConnectionId]
            The connections to close now.

        Source: RFC 9329 §6.1
        """
        session.current = None
        session.has_ended = True
        to_close = []
        for connection in list(session.connections.values()):
            self._put_on(None, connection)
            if connection.is_tcp_originator:
                to_close.append(connection.id)  # [9329-6.1-close]
            else:
                # [9329-6.1-linger]
                at = now + self.policy.linger_seconds
                connection.deadline = Deadline(at, "its session is deleted")
            self._appoint(connection)
        return to_close

    # --- ¶ 3: an unexpected end -------------------------------------------------------

    def lost(self, id: ConnectionId, now: float) -> Session | None:
        """Note that a connection is gone, for whatever reason.

        Its session lives on [9329-6.1-keep-state] [9329-10-state]. If an older
        connection of the session is still open, that is now where its last valid
        message arrived, and the session goes back there.

        Returns
        -------
        Session or None
            The session that sent on it and now has no connection. If we are its TCP
            Originator, we and only we connect again [9329-6.1-reestablish].

        Source: RFC 9329 §6.1
        """
        connection = self.connections.pop(id)
        self._agenda.put(id, None)
        has_worked = not connection.is_half_open
        deadline = connection.deadline
        self._leave_half_open(connection, deadline is not None and deadline.at <= now)
        session = connection.session
        if session is not None:
            session.connections.pop(id, None)
        if session is None or session.current != id:
            return None
        if has_worked and now - connection.opened_at >= self.policy.reconnect_seconds:
            session.reconnects = 0
        others = session.connections.values()
        last = max(others, key=lambda other: other.last_valid, default=None)
        session.current = None if last is None else last.id  # [9329-6.1-last-valid]
        self._appoint(*others)
        return session if last is None else None

    def reconnect_delay(self, session: Session) -> float:
        """Return the pause before the next attempt, without jitter.

        At once the first time, then with a pause that doubles up to a limit
        [9329-6.1-reestablish]. A connection that breaks as soon as it is there counts
        as one more attempt; one that lasted begins the count anew.

        Source: RFC 9329 §6.1
        """
        attempt = session.reconnects
        session.reconnects += 1
        if attempt == 0:
            return 0.0
        pause = self.policy.reconnect_seconds * 2.0 ** min(attempt - 1, 30)
        return min(pause, self.policy.reconnect_limit_seconds)

    # --- ¶ 6: several IKE SAs ---------------------------------------------------------

    def may_carry(self, session: Session | None, connection: Connection) -> bool:
        """Tell whether a message of ``session`` may be taken from ``connection``.

        Parameters
        ----------
        session : Session or None
            ``None`` asks for a session that does not exist yet.

        A connection carries one session [9329-6.1-share]; a rekey is no new one, so
        the IKE SAs of a rekey do share it [9329-6.1-rekey-share]. A message of another
        session is not even looked at, and the one that owns the connection does not
        notice. A connection that has just been closed carries nothing.

        Source: RFC 9329 §6.1
        """
        if connection.id not in self.connections:
            return False
        return connection.session is None or connection.session is session

    # --- ¶ 8: corruption --------------------------------------------------------------

    def unparseable(self, connection: Connection) -> str | None:
        """Count a message that is neither IKE nor ESP; return why to close, if so.

        Only the connection closes, never the session [9329-6.1-corrupt].

        Source: RFC 9329 §6.1
        """
        connection.corrupt_in_row += 1
        if connection.corrupt_in_row >= self.policy.corrupt_limit:
            return f"{connection.corrupt_in_row} unparseable messages in a row"
        return None

    def unknown_spi(self, connection: Connection, count: int = 1) -> str | None:
        """Count ESP packets for no SA of ours; return why to close, if so.

        A few are no harm, for the SPI tables of two peers may differ for a moment
        [9329-6.1-few-unknown].

        Source: RFC 9329 §6.1
        """
        connection.unknown_in_row += count
        if connection.unknown_in_row > self.policy.unknown_spi_limit:
            return f"more than {self.policy.unknown_spi_limit} unknown SPIs in a row"
        return None

    def integrity_failed(self, connection: Connection) -> str:
        """Return why to close after a failed check on a known SPI.

        TCP delivers octets as they were sent: the stream is out of step, or in other
        hands [9329-6.1-corrupt].

        Source: RFC 9329 §6.1
        """
        return "a message for a known SPI fails its integrity check"

    # --- ¶ 9: one connection for an IKE SA --------------------------------------------

    def begin(self, session: Session, connection: Connection) -> ConnectionId | None:
        """Let a session use a connection from now on: its first, or the newest of ours.

        All its IKE messages, and the ESP of all its Child SAs, go this way
        [9329-6.1-one] [9329-5-all].

        Returns
        -------
        ConnectionId or None
            The connection that carried it until now; its TCP Originator closes that
            one, for a session has one connection.

        Source: RFC 9329 §6.1
        """
        before, session.current = session.current, connection.id
        self._put_on(session, connection)
        connection.deadline = None
        self._appoint(*session.connections.values())
        return before

    # --- ¶ 10, ¶ 11: the last valid message -------------------------------------------

    def valid_message(
        self, session: Session, connection: Connection, now: float
    ) -> bool:
        """Note a message that was authentic, fresh and inside its window.

        The caller calls this for nothing less: not for what fails its integrity check,
        not for a retransmission or what is outside the window [9329-6.1-valid-ike], and
        not for a replay [9329-6.1-valid-esp].

        Returns
        -------
        bool
            The session moved to this connection.

        Source: RFC 9329 §6.1
        """
        if session.has_ended or connection.id not in self.connections:
            return False  # between check and lock another thread ended one of them
        self._leave_half_open(connection)
        self._put_on(session, connection)
        connection.deadline = None
        self.heard_at_home(connection, now)
        self._appoint(connection)
        if session.is_tcp_originator:
            return False  # it sends where it connected last [9329-6.1-one]
        if session.current == connection.id:
            return False
        if session.current is not None:
            # the old one stays open, and is listened to [9329-6.1-both]
            self.connections[session.current].replaced_at = now
        session.current = connection.id  # [9329-6.1-last-valid]
        self._appoint(*session.connections.values())
        return True

    def heard_at_home(self, connection: Connection, now: float) -> None:
        """Note a valid message from where its session is: no more than that it came.

        It is for the thread that reads the connection, with no lock held.
        """
        connection.last_valid = now
        connection.unknown_in_row = connection.corrupt_in_row = 0

    # --- ¶ 11: idle and extraneous; what is due by now --------------------------------

    def deadline_of(self, connection: Connection) -> Deadline | None:
        """Return when a connection closes, and why, if nothing happens before.

        One that a newer one has replaced closes when it has been idle for a while since
        [9329-6.1-extraneous]; only the TCP Responder does that.

        Source: RFC 9329 §6.1
        """
        session = connection.session
        if connection.deadline is not None or session is None:
            return connection.deadline
        is_extraneous = session.current not in (None, connection.id)
        is_ours_to_close = not connection.is_tcp_originator
        if is_extraneous and is_ours_to_close and self.policy.extraneous_seconds > 0:
            idle_since = max(connection.last_valid, connection.replaced_at)
            at = idle_since + self.policy.extraneous_seconds
            return Deadline(at, "replaced and idle")
        return None

    def due(self, now: float) -> list[tuple[ConnectionId, str]]:
        """Return the connections to close by now, each with the reason."""
        closing = []
        for id in self._agenda.take(now):
            deadline = self.deadline_of(connection := self.connections[id])
            if deadline is not None and deadline.at <= now:
                closing.append((id, deadline.reason))
            self._appoint(connection)
        return closing

    def next_deadline(self) -> float | None:
        """Return when :meth:`due` has something next, or ``None``."""
        while (first := self._agenda.first()) is not None:
            deadline = self.deadline_of(connection := self.connections[first[1]])
            if deadline is not None and deadline.at == first[0]:
                return deadline.at
            self._appoint(connection)  # `heard_at_home` has moved it, and said nothing
        return None

    # --- §6.3: cookies ----------------------------------------------------------------

    def cookie_requested(self, connection: Connection, now: float) -> None:
        """After a cookie request nothing is kept but the connection [9329-6.3-close].

        The wait begins with the first request: one more does not prolong it. Other
        errors in IKE_SA_INIT leave the connection open for the corrected request,
        within the deadline for a first message [9329-6.4-stay].

        Source: RFC 9329 §6.3, RFC 9329 §6.4
        """
        if connection.deadline is None or connection.deadline.reason != NO_COOKIE:
            at = now + self.policy.cookie_seconds
            connection.deadline = Deadline(at, NO_COOKIE)
            self._appoint(connection)

    # --- helpers ----------------------------------------------------------------------

    def _leave_half_open(
        self, connection: Connection, is_timed_out: bool = False
    ) -> None:
        """It is no stranger's any more, or gone: count it no longer as half-open."""
        if connection.is_half_open and not connection.is_tcp_originator:
            self.half_open.remove(connection.address, is_timed_out)
        connection.is_half_open = False

    def _put_on(self, session: Session | None, connection: Connection) -> None:
        """Let a connection carry a session, and no other; ``None``: none at all."""
        if connection.session is not None:
            connection.session.connections.pop(connection.id, None)
        connection.session = session
        if session is not None:
            session.connections[connection.id] = connection

    def _appoint(self, *connections: Connection) -> None:
        """Have connections found by :meth:`due` when their deadlines have come."""
        for connection in connections:
            deadline = self.deadline_of(connection)
            self._agenda.put(connection.id, None if deadline is None else deadline.at)
