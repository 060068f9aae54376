"""How a message came: over a TCP connection, or as a datagram from somewhere.

What a message means does not depend on that, and so :mod:`ike_messages
<iketcp.endpoint.ike_messages>` and :mod:`esp_messages <iketcp.endpoint.esp_messages>`
do not look. What follows for the way it came does: a TCP connection may be closed, and
a session moves between connections by the rules of :mod:`iketcp.mapping`; a datagram
proves nothing about where it came from until it is authentic, and then its source may
be where the peer is to be found now.

A session stays with the transport it began over. Moving it from one to the other
(RFC 9329 §7.1, with MOBIKE) will have its place here.

Source: RFC 9329 §5
Source: RFC 9329 §6.1
Source: RFC 7296 §2.11
Source: RFC 7296 §2.23
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from iketcp.effects import ConnectionId
from iketcp.endpoint.tables import Carrier, IkeSession, Stream
from iketcp.ike.nat_detection import Path
from iketcp.mapping import ConnectionMap


class Arrival(ABC):
    """The way that a message came. Source: RFC 9329 §6.1, RFC 7296 §2.11."""

    path: Path
    """Both its ends, as we see them."""
    carrier: Carrier
    """Where an answer goes."""
    takes_first: bool
    """An IKE_SA_INIT request may come this way."""

    owner: IkeSession | None = None
    """Whose messages come this way, if that is known before they are opened."""

    @abstractmethod
    def may_carry(self, session: IkeSession | None) -> bool:
        """Tell whether a message of ``session`` is taken; ``None``: of a new one."""

    @abstractmethod
    def is_home(self, session: IkeSession) -> bool:
        """Tell whether there is nothing to be learned from a valid message here."""

    @abstractmethod
    def begin(self, session: IkeSession) -> None:
        """Let a session go this way from now on."""

    @abstractmethod
    def valid_message(self, session: IkeSession, now: float) -> bool:
        """Note a message that was authentic and fresh; True if its session moved."""

    def heard_at_home(self, now: float) -> None:
        """Note a valid message from where its session is."""
        return

    def unparseable(self) -> str | None:
        """Count what is neither IKE nor ESP; returns why to close, if so."""
        return None

    def unknown_spi(self, count: int) -> str | None:
        """Count ESP packets for no SA of ours; returns why to close, if so."""
        return None

    def integrity_failed(self) -> str | None:
        """Note a failed check on a known SPI; returns why to close, if so."""
        return None

    def cookie_requested(self, now: float) -> None:
        """Note that nothing is kept of a request but the way it came."""
        return


class OverTcp(Arrival):
    """A message of a TCP connection; the mapping decides. Source: RFC 9329 §6.1."""

    def __init__(self, connection_map: ConnectionMap, stream: Stream) -> None:
        self._map = connection_map
        self.stream = stream
        self._connection = stream.connection
        self.path = stream.path
        self.carrier: ConnectionId = stream.connection.id
        self.takes_first = not stream.connection.is_tcp_originator
        owner = stream.connection.session
        self.owner = owner if isinstance(owner, IkeSession) else None

    def may_carry(self, session: IkeSession | None) -> bool:
        """Ask the mapping; a session over UDP stays there [9329-6.1-share]."""
        if session is not None and session.udp_path is not None:
            return False
        return self._map.may_carry(session, self._connection)

    def is_home(self, session: IkeSession) -> bool:
        """Tell whether the session sends here."""
        return session.current == self.carrier and not self._connection.is_half_open

    def begin(self, session: IkeSession) -> None:
        """Put a session on this connection [9329-6.1-one] [9329-5-all]."""
        self._map.begin(session, self._connection)
        session.use(self.stream.fragment_size)

    def valid_message(self, session: IkeSession, now: float) -> bool:
        """Let the session follow its last valid message [9329-6.1-last-valid]."""
        if not self._map.valid_message(session, self._connection, now):
            return False
        session.use(self.stream.fragment_size)
        return True

    def heard_at_home(self, now: float) -> None:
        """Nothing is wrong with this connection."""
        self._map.heard_at_home(self._connection, now)

    def unparseable(self) -> str | None:
        """Count towards closing the connection [9329-6.1-corrupt]."""
        return self._map.unparseable(self._connection)

    def unknown_spi(self, count: int) -> str | None:
        """Count towards closing the connection [9329-6.1-few-unknown]."""
        return self._map.unknown_spi(self._connection, count)

    def integrity_failed(self) -> str | None:
        """Close the connection [9329-6.1-corrupt]."""
        return self._map.integrity_failed(self._connection)

    def cookie_requested(self, now: float) -> None:
        """Wait for the cookie, but not for long [9329-6.3-close]."""
        self._map.cookie_requested(self._connection, now)


class OverUdp(Arrival):
    """A datagram: it may be forged, repeated, or lost without a trace.

    Whatever is not authentic is dropped and counted, and nothing more: anybody can send
    it.

    Parameters
    ----------
    path : Path
        Its ends; ``local`` is ours.
    fragment_size : int or None
        Octets of the largest IKE message that goes whole.
    takes_first : bool
        We are a responder.

    Source: RFC 7296 §2.11, RFC 7296 §2.23
    """

    def __init__(
        self, path: Path, fragment_size: int | None, takes_first: bool
    ) -> None:
        self.path = path
        self.carrier: Path = path
        self.takes_first = takes_first
        self._fragment_size = fragment_size

    def may_carry(self, session: IkeSession | None) -> bool:
        """Take what is of a session over UDP; one over TCP stays there [9329-5-all]."""
        return session is None or session.udp_path is not None

    def is_home(self, session: IkeSession) -> bool:
        """Tell whether the session sends to where this came from."""
        return session.udp_path == self.path

    def begin(self, session: IkeSession) -> None:
        """Let a session go to where this came from."""
        session.udp_path = self.path
        session.use(self._fragment_size)

    def valid_message(self, session: IkeSession, now: float) -> bool:
        """Let the session move to port 4500, or to where the peer is now.

        The initiator goes to port 4500 as soon as there are keys, and so with IKE_AUTH:
        ESP has no other way. The responder follows it. After that whoever is not behind
        a NAT follows the other, whose NAT may have given it another port; from behind
        one, a single packet of an attacker who changes addresses could lead us away.

        Source: RFC 7296 §2.23
        """
        before = session.udp_path
        if session.has_ended or before is None:
            return False
        target = self._goal(session, before)
        session.udp_path = target
        return target != before

    def _goal(self, session: IkeSession, before: Path) -> Path:
        """Say where the session is to send, after a valid message from here."""
        if not before.is_encapsulated:
            is_keyed = session.ike is not None and session.ike.protection is not None
            if session.encapsulated_path is not None:
                return session.encapsulated_path if is_keyed else before
            return self.path
        if session.ike is None or session.ike.nat.is_local_behind_nat:
            return before
        may_move = session.was_established and self.path.is_encapsulated
        return self.path if may_move else before
