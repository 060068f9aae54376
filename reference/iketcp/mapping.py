"""Which TCP connection carries which IKE SA.

An IKE SA outlives its TCP connections. The TCP Originator opens one for it, and another
when that one breaks; the TCP Responder cannot know which of the two still works, so it
answers on the one where the last message arrived that could not have been forged or
replayed. This module holds that decision and nothing else: connections and sessions by
number, no octets, no keys.

A *session* here is an IKE SA with its Child SAs and with all IKE SAs that rekeying puts
in its place. A session has one *current* connection, or none while it is broken.

Paragraph by paragraph, RFC 9329 §6.1 and what belongs to it:

==========================================  ======================================
the text is about                           the code
==========================================  ======================================
a new connection, how long it may be mute   :meth:`ConnectionMap.opened`
one connection for all of an IKE SA         :meth:`ConnectionMap.begin`
DELETE, and who closes then                 :meth:`ConnectionMap.ended`
an unexpected end, and who reconnects       :meth:`ConnectionMap.lost`,
                                            :meth:`ConnectionMap.reconnect_delay`
IKE SAs sharing a connection                :meth:`ConnectionMap.may_carry`
corruption: what closes a connection        :meth:`ConnectionMap.unparseable`,
                                            :meth:`ConnectionMap.unknown_spi`,
                                            :meth:`ConnectionMap.integrity_failed`
the last valid message decides              :meth:`ConnectionMap.valid_message`
idle and extraneous connections             :meth:`ConnectionMap.deadline_of`
cookies (§6.3)                              :meth:`ConnectionMap.cookie_requested`
==========================================  ======================================

The prefix at the head of a stream is :mod:`iketcp.stream`'s, the session behind an SPI
is found by :mod:`iketcp.endpoint`.

Source: RFC 9329 §6.1
Source: RFC 9329 §6.3
Source: RFC 9329 §10
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iketcp.effects import ConnectionId


@dataclass(frozen=True, slots=True)
class MappingPolicy:
    """Limits that RFC 9329 leaves open, in seconds and counts. RFC 9329 §6.1.

    The defaults of ``[transport]`` in a configuration are these.
    """

    first_message_seconds: float = 10.0
    """From connection to a whole prefix and a first valid message [9329-6.1-idle]."""
    extraneous_seconds: float = 30.0
    """A replaced connection may idle this long; 0: for ever [9329-6.1-extraneous]."""
    linger_seconds: float = 5.0
    """After DELETE, until the TCP Responder closes [9329-6.1-linger]."""
    cookie_seconds: float = 8.0
    """After a cookie request, until the connection closes [9329-6.3-close]."""
    unknown_spi_limit: int = 16
    """So many ESP packets in a row may have unknown SPIs [9329-6.1-few-unknown]."""
    corrupt_limit: int = 16
    """So many messages in a row that are neither IKE nor ESP are too many
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
    """An IKE SA and its successors by rekey, as the mapping sees it.

    Whoever began the first IKE SA stays the TCP Originator through every rekey, by
    either side [9329-1.2-originator].
    """

    is_tcp_originator: bool
    """We open the connections."""
    current: ConnectionId | None = None
    """Where we send [9329-6.1-send-one]."""
    reconnects: int = 0
    """Attempts since a connection last worked for a while."""
    has_ended: bool = False
    """It is deleted; nothing moves it any more."""


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
    """No valid message has arrived yet."""
    unknown_in_row: int = 0
    """ESP packets with unknown SPIs since the last valid message."""
    corrupt_in_row: int = 0
    """Messages that were neither IKE nor ESP since the last valid one."""
    deadline: tuple[float, str] | None = None
    """When it closes, and why."""


@dataclass(slots=True)
class HalfOpen:
    """How much strangers hold open, in all and by address [9329-6.1-idle].

    Parameters
    ----------
    limit : int
        In all.
    address_limit : int
        From one address.
    """

    limit: int
    address_limit: int
    total: int = 0
    by_address: dict[str, int] = field(default_factory=dict)

    def refusal(self, address: str) -> str | None:
        """Say why ``address`` may not have one more now, or ``None``."""
        if self.total >= self.limit:
            return "too many connections without a valid message"
        if self.by_address.get(address, 0) >= self.address_limit:
            return "too many connections without a valid message from this address"
        return None

    def add(self, address: str) -> None:
        """Count one more."""
        self.total += 1
        self.by_address[address] = self.by_address.get(address, 0) + 1

    def remove(self, address: str) -> None:
        """Count one less; an address with none left is forgotten."""
        self.total -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


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

    # --- connections come -------------------------------------------------------------

    def refusal(self, address: str) -> str | None:
        """Say why a connection from ``address`` may not be accepted, or ``None``.

        Half-open streams are capped in all and per address [9329-6.1-idle].
        """
        return self.half_open.refusal(address)

    def opened(
        self, id: ConnectionId, address: str, is_tcp_originator: bool, now: float
    ) -> Connection:
        """Note a new connection, from whatever address and port [9329-6.1-address].

        One that we accepted has to show a valid message in time [9329-6.1-idle].
        """
        connection = Connection(id, address, is_tcp_originator, now, now)
        if not is_tcp_originator:
            reason = "no valid message in time"
            connection.deadline = (now + self.policy.first_message_seconds, reason)
            self.half_open.add(address)
        self.connections[id] = connection
        return connection

    def begin(self, session: Session, connection: Connection) -> ConnectionId | None:
        """Put a session that has just begun, or its TCP Originator's new connection.

        All its IKE messages, and the ESP of all its Child SAs, go this way from now on
        [9329-6.1-one] [9329-5-all].

        Returns
        -------
        ConnectionId or None
            The connection that carried it until now; its TCP Originator closes that
            one, for a session has one connection [9329-6.1-one].

        Source: RFC 9329 §6.1
        """
        before, session.current = session.current, connection.id
        connection.session = session
        connection.deadline = None
        return before

    # --- DELETE -----------------------------------------------------------------------

    def ended(self, session: Session, now: float) -> list[ConnectionId]:
        """Note that a session is deleted.

        Returns
        -------
        list[ConnectionId]
            The connections that the TCP Originator closes now [9329-6.1-close]. The TCP
            Responder leaves that to it for a while [9329-6.1-linger]; meanwhile the
            connection may serve a new session [9329-6.1-reuse].

        Source: RFC 9329 §6.1
        """
        session.current = None
        session.has_ended = True
        to_close = []
        for connection in self._connections_of(session):
            connection.session = None
            if connection.is_tcp_originator:
                to_close.append(connection.id)
            else:
                reason = "its session is deleted"
                connection.deadline = (now + self.policy.linger_seconds, reason)
        return to_close

    # --- an unexpected end ------------------------------------------------------------

    def lost(self, id: ConnectionId, now: float) -> Session | None:
        """Note that a connection is gone, for whatever reason.

        If an older connection of the session is still open, that is now where its last
        valid message arrived, and the session goes back there [9329-6.1-last-valid].

        Returns
        -------
        Session or None
            The session that sent on it and now has no connection. It lives on
            [9329-6.1-keep-state] [9329-10-state]; if we are its TCP Originator, we and
            only we connect again [9329-6.1-reestablish].

        Source: RFC 9329 §6.1
        """
        connection = self.connections.pop(id, None)
        if connection is None:
            return None
        has_worked = not connection.is_half_open
        self._leave_half_open(connection)
        session = connection.session
        if session is None or session.current != id:
            return None
        if has_worked and now - connection.opened_at >= self.policy.reconnect_seconds:
            session.reconnects = 0
        others = self._connections_of(session)
        last = max(others, key=lambda other: other.last_valid, default=None)
        session.current = None if last is None else last.id
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

    # --- several IKE SAs --------------------------------------------------------------

    def may_carry(self, session: Session | None, connection: Connection) -> bool:
        """Tell whether a message of ``session`` may be taken from ``connection``.

        Parameters
        ----------
        session : Session or None
            ``None`` asks for a session that does not exist yet.

        A connection carries one session; a rekey is no new one [9329-6.1-share]
        [9329-6.1-rekey-share]. A message of another is not even looked at, and the
        session that owns the connection does not notice. A connection that has just
        been closed carries nothing.

        Source: RFC 9329 §6.1
        """
        if connection.id not in self.connections:
            return False
        return connection.session is None or connection.session is session

    # --- the last valid message -------------------------------------------------------

    def valid_message(
        self, session: Session, connection: Connection, now: float
    ) -> bool:
        """Note a message that was authentic, fresh and inside its window.

        The TCP Responder sends on the connection of the last such message, new or old
        [9329-6.1-last-valid] [9329-6.1-both], whatever address and port it has
        [9329-6.1-address]. The caller calls this for nothing less: not for a
        retransmission, a replay, or what fails its integrity check [9329-6.1-valid-ike]
        [9329-6.1-valid-esp]. The TCP Originator sends on the connection it opened last,
        whatever arrives where [9329-6.1-one].

        Returns
        -------
        bool
            The session moved to this connection.

        Source: RFC 9329 §6.1
        """
        if session.has_ended or connection.id not in self.connections:
            return False  # between check and lock another thread ended one of them
        self._leave_half_open(connection)
        connection.session = session
        connection.deadline = None
        connection.last_valid = now
        connection.unknown_in_row = connection.corrupt_in_row = 0
        if session.is_tcp_originator or session.current == connection.id:
            return False
        if session.current is not None:
            self.connections[session.current].replaced_at = now
        session.current = connection.id
        return True

    # --- corruption -------------------------------------------------------------------

    def unparseable(self, connection: Connection) -> str | None:
        """Count a message that is neither IKE nor ESP; return why to close, if so.

        Only the connection closes, never the session [9329-6.1-corrupt]. Source: RFC
        9329 §6.1.
        """
        connection.corrupt_in_row += 1
        if connection.corrupt_in_row >= self.policy.corrupt_limit:
            return f"{connection.corrupt_in_row} unparseable messages in a row"
        return None

    def unknown_spi(self, connection: Connection, count: int = 1) -> str | None:
        """Count ESP packets for no SA of ours; a few are no harm.

        The SPI tables of two peers may differ for a moment [9329-6.1-few-unknown].
        """
        connection.unknown_in_row += count
        if connection.unknown_in_row > self.policy.unknown_spi_limit:
            return f"{connection.unknown_in_row} unknown SPIs in a row"
        return None

    def integrity_failed(self, connection: Connection) -> str:
        """Return why to close after a failed check on a known SPI.

        TCP delivers octets as they were sent: the stream is out of step, or in other
        hands [9329-6.1-corrupt].
        """
        return "a message for a known SPI fails its integrity check"

    # --- cookies ----------------------------------------------------------------------

    def cookie_requested(self, connection: Connection, now: float) -> None:
        """After a cookie request nothing is kept but the connection [9329-6.3-close].

        The wait begins with the first request: one more does not prolong it. Other
        errors in IKE_SA_INIT leave the connection open for the corrected request,
        within the deadline for a first message [9329-6.4-stay].

        Source: RFC 9329 §6.3, RFC 9329 §6.4
        """
        reason = "the cookie did not come back"
        if connection.deadline is None or connection.deadline[1] != reason:
            connection.deadline = (now + self.policy.cookie_seconds, reason)

    # --- time -------------------------------------------------------------------------

    def deadline_of(self, connection: Connection) -> tuple[float, str] | None:
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
            return idle_since + self.policy.extraneous_seconds, "replaced and idle"
        return None

    def due(self, now: float) -> list[tuple[ConnectionId, str]]:
        """Return the connections to close by now, each with the reason."""
        closing = []
        for connection in self.connections.values():
            deadline = self.deadline_of(connection)
            if deadline is not None and deadline[0] <= now:
                closing.append((connection.id, deadline[1]))
        return closing

    def next_deadline(self) -> float | None:
        """Return when :meth:`due` has something next, or ``None``."""
        deadlines = map(self.deadline_of, self.connections.values())
        return min((d[0] for d in deadlines if d is not None), default=None)

    # --- helpers ----------------------------------------------------------------------

    def _leave_half_open(self, connection: Connection) -> None:
        """It is no stranger's any more, or gone: count it no longer as half-open."""
        if connection.is_half_open and not connection.is_tcp_originator:
            self.half_open.remove(connection.address)
        connection.is_half_open = False

    def _connections_of(self, session: Session) -> list[Connection]:
        """Every open connection of a session: one, or two around a reconnection."""
        return [c for c in self.connections.values() if c.session is session]
