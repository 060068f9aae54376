"""Which TCP connection carries which IKE SA.

An IKE SA outlives its TCP connections. The TCP Originator opens one for it, and another
when that one breaks; the TCP Responder cannot know which of the two still works, so it
answers on the one where the last message arrived that could not have been forged or
replayed. This module holds that decision and nothing else: connections and sessions by
number, no octets, no keys.

A *session* here is an IKE SA with its Child SAs and with all IKE SAs that rekeying puts
in its place. A session has one *current* connection, or none while it is broken.

Source: RFC 9329 §6.1
Source: RFC 9329 §6.3
Source: RFC 9329 §10
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iketcp.effects import ConnectionId


@dataclass(frozen=True, slots=True)
class MappingPolicy:
    """Limits that RFC 9329 leaves open, in seconds and counts. RFC 9329 §6.1."""

    first_message_seconds: float = 10.0
    """From connection to a whole prefix and a first valid message [9329-6.1-idle]."""
    extraneous_seconds: float = 30.0
    """A replaced connection may idle this long; 0: for ever [9329-6.1-extraneous]."""
    linger_seconds: float = 5.0
    """After DELETE, until the TCP Responder closes [9329-6.1-linger]."""
    cookie_seconds: float = 8.0
    """After a cookie request, until the connection closes [9329-6.3-close]."""
    unknown_spi_limit: int = 16
    """ESP packets in a row with unknown SPIs that are too many."""
    corrupt_limit: int = 8
    """Messages in a row that are neither IKE nor ESP and are too many."""
    half_open_limit: int = 1024
    """Connections without a first valid message, in all [9329-6.1-idle]."""
    half_open_address_limit: int = 64
    """The same, from one address [9329-6.1-idle]."""
    reconnect_seconds: float = 1.0
    """Pause before the second attempt to reconnect; doubles [9329-6.1-reestablish]."""
    reconnect_limit_seconds: float = 60.0
    """The longest pause."""


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
    """Attempts since a valid message last arrived."""


@dataclass(eq=False, slots=True)
class Connection:
    """One TCP connection, as the mapping sees it."""

    id: ConnectionId
    address: str
    """The remote address, for counting."""
    is_tcp_originator: bool
    """We opened it."""
    session: Session | None = None
    """Whose messages it has carried."""
    is_half_open: bool = True
    """No valid message has arrived yet."""
    last_valid: float = 0.0
    """When the last valid message arrived, in seconds."""
    unknown_in_row: int = 0
    corrupt_in_row: int = 0
    deadline: tuple[float, str] | None = None
    """When it closes, and why."""


@dataclass(slots=True)
class ConnectionMap:
    """All connections of an endpoint, and which session each carries.

    Parameters
    ----------
    policy : MappingPolicy
        Limits.
    """

    policy: MappingPolicy = field(default_factory=MappingPolicy)
    connections: dict[ConnectionId, Connection] = field(default_factory=dict)

    # --- connections come and go ----------------------------------------------------

    def refusal(self, address: str) -> str | None:
        """Say why a connection from ``address`` may not be accepted now, or ``None``.

        Half-open streams are capped in all and per address [9329-6.1-idle].
        """
        half_open = [c for c in self.connections.values() if c.is_half_open]
        if len(half_open) >= self.policy.half_open_limit:
            return "too many connections without a valid message"
        same = sum(1 for c in half_open if c.address == address)
        if same >= self.policy.half_open_address_limit:
            return "too many connections without a valid message from this address"
        return None

    def opened(
        self, id: ConnectionId, address: str, is_tcp_originator: bool, now: float
    ) -> Connection:
        """Note a new connection; one accepted gets a deadline [9329-6.1-idle]."""
        connection = Connection(id, address, is_tcp_originator, last_valid=now)
        if not is_tcp_originator:
            reason = "no valid message in time"
            connection.deadline = (now + self.policy.first_message_seconds, reason)
        self.connections[id] = connection
        return connection

    def lost(self, id: ConnectionId) -> Session | None:
        """Note that a connection is gone, for whatever reason.

        Returns
        -------
        Session or None
            The session that sent on it and now has no connection. It lives on
            [9329-6.1-keep-state] [9329-10-state]; if we are its TCP Originator, we and
            only we connect again [9329-6.1-reestablish].

        Source: RFC 9329 §6.1
        """
        connection = self.connections.pop(id, None)
        if connection is None or connection.session is None:
            return None
        session = connection.session
        if session.current != id:
            return None
        session.current = None
        return session

    # --- sessions on connections ------------------------------------------------------

    def may_carry(self, session: Session | None, connection: Connection) -> bool:
        """Tell whether a message of ``session`` may be taken from ``connection``.

        Parameters
        ----------
        session : Session or None
            ``None`` asks for a session that does not exist yet.

        A connection carries one session; a rekey is no new one [9329-6.1-share]
        [9329-6.1-rekey-share]. A message of another is not even looked at, and the
        session that owns the connection does not notice.

        Source: RFC 9329 §6.1
        """
        return connection.session is None or connection.session is session

    def begin(self, session: Session, connection: Connection) -> None:
        """Put a session that has just begun, or its TCP Originator's new connection.

        All its IKE messages, and the ESP of all its Child SAs, go this way from now on
        [9329-6.1-one] [9329-5-all].

        Source: RFC 9329 §6.1
        """
        connection.session = session
        connection.deadline = None
        session.current = connection.id

    def valid_message(
        self, session: Session, connection: Connection, now: float
    ) -> ConnectionId | None:
        """Note a message that was authentic, fresh and inside its window.

        The TCP Responder sends on the connection of the last such message, new or old
        [9329-6.1-last-valid] [9329-6.1-both], whatever address and port it has
        [9329-6.1-address]. The caller calls this for nothing less: not for a
        retransmission, a replay, or what fails its integrity check [9329-6.1-valid-ike]
        [9329-6.1-valid-esp].

        Returns
        -------
        ConnectionId or None
            The connection that was current before, if the session moved.

        Source: RFC 9329 §6.1
        """
        connection.session = session
        connection.is_half_open = False
        connection.deadline = None
        connection.last_valid = now
        connection.unknown_in_row = connection.corrupt_in_row = 0
        session.reconnects = 0
        if session.is_tcp_originator or session.current == connection.id:
            return None
        before, session.current = session.current, connection.id
        return before

    def cookie_requested(self, connection: Connection, now: float) -> None:
        """After a cookie request nothing is kept but the connection [9329-6.3-close].

        Other errors in IKE_SA_INIT leave it open for the corrected request, within the
        deadline for a first message [9329-6.4-stay].

        Source: RFC 9329 §6.3
        """
        reason = "the cookie did not come back"
        connection.deadline = (now + self.policy.cookie_seconds, reason)

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
        to_close = []
        for connection in self.connections.values():
            if connection.session is session:
                connection.session = None
                if connection.is_tcp_originator:
                    to_close.append(connection.id)
                else:
                    reason = "its session is deleted"
                    connection.deadline = (now + self.policy.linger_seconds, reason)
        return to_close

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

    def unknown_spi(self, connection: Connection) -> str | None:
        """Count an ESP packet for no SA of ours; a few are no harm.

        The SPI tables of two peers may differ for a moment [9329-6.1-few-unknown].
        """
        connection.unknown_in_row += 1
        if connection.unknown_in_row > self.policy.unknown_spi_limit:
            return f"{connection.unknown_in_row} unknown SPIs in a row"
        return None

    def integrity_failed(self, connection: Connection) -> str:
        """Return why to close after a failed check on a known SPI.

        TCP delivers octets as they were sent: the stream is out of step, or in other
        hands [9329-6.1-corrupt].
        """
        return "a message for a known SPI fails its integrity check"

    # --- time -------------------------------------------------------------------------

    def deadline_of(self, connection: Connection) -> tuple[float, str] | None:
        """Return when a connection closes, and why, if nothing happens before."""
        if connection.deadline is not None:
            return connection.deadline
        session = connection.session
        is_extraneous = (
            session is not None
            and not connection.is_tcp_originator
            and session.current not in (None, connection.id)
        )
        if is_extraneous and self.policy.extraneous_seconds > 0:
            at = connection.last_valid + self.policy.extraneous_seconds
            return at, "replaced and idle"  # [9329-6.1-extraneous]
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

    def reconnect_delay(self, session: Session) -> float:
        """Return the pause before the next attempt, without jitter.

        At once the first time, then with a pause that doubles up to a limit
        [9329-6.1-reestablish]. Source: RFC 9329 §6.1.
        """
        attempt = session.reconnects
        session.reconnects += 1
        if attempt == 0:
            return 0.0
        pause = self.policy.reconnect_seconds * 2.0 ** min(attempt - 1, 30)
        return min(pause, self.policy.reconnect_limit_seconds)
