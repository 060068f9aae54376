"""What an endpoint holds: sessions, IKE SAs by SPI, Child SAs by SPI, connections.

Messages find their SA here. The tables of SPIs are plain dictionaries: one lookup, in
constant time however many peers there are, and without a lock.

Source: RFC 4301 §4.4.2
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from iketcp.effects import ConnectionId
from iketcp.endpoint.frame_search import FrameSearch
from iketcp.esp.child_sa import ChildSa
from iketcp.half_open import HalfOpen
from iketcp.ike.nat_detection import Path
from iketcp.ike.outputs import SendMessage
from iketcp.ike.sa import IkeSa
from iketcp.mapping import Connection, Session
from iketcp.stream import StreamDecoder

RETIRED_LIMIT = 4096
"""Choice: SPIs of removed Child SAs that are remembered, newest first to stay."""

SETTLED_LIMIT = 1024
"""Choice: IKE_SA_INIT requests over UDP that are remembered so, newest first."""

FAREWELL_LIMIT = 64
"""Choice: last answers over UDP that are kept, newest first."""

REASON_LIMIT = 64
"""Choice: so many reasons why connections ended are counted apart."""

T = TypeVar("T")

OTHER_REASONS = "other reasons"
"""Under which all further ones are counted."""


@dataclass(frozen=True, slots=True)
class DatagramPolicy:
    """What the RFCs leave open for UDP. RFC 3948 §4, RFC 7383 §2.5.1."""

    path_mtu: int = 1500
    """Largest outer IP packet, in octets."""
    fragment_size: int | None = 1228
    """Octets of the largest IKE message that goes whole where fragments are agreed to;
    with marker, UDP and IPv6 headers that is 1280, which every IPv6 link takes."""
    keepalive_seconds: float = 20.0
    """From behind a NAT something goes out at least so often."""


Carrier = ConnectionId | Path
"""What carries a message: a TCP connection, or datagrams between two ends."""


@dataclass(eq=False, slots=True)
class IkeSession(Session):
    """A session with its IKE SAs: one, or two or three around a rekey."""

    ike: IkeSa | None = None
    """The one that exchanges are begun on now."""
    ike_sas: list[IkeSa] = field(default_factory=list)
    was_established: bool = False
    peer: str = ""
    """Who the other end proved to be, once it is established."""
    is_spare: bool = False
    """We have another session with the same peer that matters more. RFC 7296 §2.8.3."""
    was_unheard: bool = False
    """It has ended because nobody answered its first request, over UDP."""
    first_request: bytes = b""
    """Digest of the IKE_SA_INIT request while IKE_AUTH is awaited, 32 octets."""
    address: str = ""
    """The initiator's address, as long as it is counted as half-open."""
    udp_path: Path | None = None
    """Over UDP: where it sends now; ``None``: it is over TCP, see ``current``."""
    encapsulated_path: Path | None = None
    """As initiator over UDP: where it sends once there are keys."""
    has_sent: bool = False
    """Something went out since somebody looked: no keepalive is needed."""

    @property
    def carrier(self) -> Carrier | None:
        """Where it sends; ``None`` while it has no connection. RFC 9329 §6.1."""
        return self.current if self.udp_path is None else self.udp_path

    def shared(self) -> IkeSa | None:
        """Return the newest IKE SA that the peer has for certain.

        That of a rekey which we answered is none yet. Source: RFC 7296 §2.8.
        """
        newest = self.ike
        if newest is not None and not newest.is_known_to_peer:
            return next((sa for sa in self.ike_sas if sa.heir is newest), newest)
        return newest

    def use(self, fragment_size: int | None) -> None:
        """Let all IKE SAs send, in fragments where a message would be larger.

        Source: RFC 7383 §2.5, RFC 9329 §7.5
        """
        for sa in self.ike_sas:
            sa.has_connection = True
            sa.fragment_size = fragment_size
            sa.stir()

    def awaits(self, spi_in: bytes) -> bool:
        """Tell whether a request of ours under way asks for a Child SA with this SPI.

        Source: RFC 7296 §2.8
        """
        exchanges = (sa.exchange for sa in list(self.ike_sas))
        return any(e is not None and e.awaited_spi == spi_in for e in exchanges)


@dataclass(eq=False, slots=True)
class Stream:
    """One TCP connection as the endpoint sees it."""

    connection: Connection
    path: Path
    decoder: StreamDecoder
    path_mtu: int
    fragment_size: int | None = None
    """Octets of the largest IKE message that goes out whole; ``None``: any, for no
    fragment is sent over TCP [9329-7.5-nofrag]."""
    search: FrameSearch | None = None
    """Under way while the stream is out of step [9329-10-resync]."""
    searches: int = 0
    """How many there were [9329-10-limit]."""


@dataclass(eq=False, slots=True)
class LiveChild:
    """A Child SA that carries packets."""

    esp: ChildSa
    session: IkeSession
    name: str
    inner_mtu: int
    """Largest inner packet that should be sent, in octets."""
    largest_inner: int
    """Largest inner packet that a frame can carry at all, in octets."""
    seen_usage: tuple[int, int] = (0, 0)
    """Octets and packets when they were compared with their limits last."""


@dataclass(slots=True)
class Counters:
    """What the endpoint dropped, and why: reasons of ours, never the peer's words.

    Counted without a lock: when two threads meet, a count may fall short by one.
    """

    dropped: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    """Connections that were there and are gone, by whoever and for whatever reason."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count a drop."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def close(self, reason: str) -> None:
        """Count a connection that ended; past so many reasons, under one for all."""
        if reason not in self.closed and len(self.closed) >= REASON_LIMIT:
            reason = OTHER_REASONS
        self.closed[reason] = self.closed.get(reason, 0) + 1


@dataclass(slots=True)
class Tables:
    """Everything by the number it is found under."""

    strangers: HalfOpen
    """Counts ``half_open`` by address [9329-6.1-idle]."""
    streams: dict[ConnectionId, Stream] = field(default_factory=dict)
    ike_sas: dict[bytes, tuple[IkeSa, IkeSession]] = field(default_factory=dict)
    """By our IKE SPI, 8 octets."""
    peers: dict[str, list[IkeSession]] = field(default_factory=dict)
    """Established sessions by who the peer proved to be, the oldest first."""
    children: dict[bytes, LiveChild] = field(default_factory=dict)
    """By the SPI we receive on, 4 octets."""
    retired: dict[bytes, None] = field(default_factory=dict)
    """SPIs of Child SAs removed of late: packets under way to them are no surprise."""
    half_open: dict[bytes, IkeSession] = field(default_factory=dict)
    """By the digest of the IKE_SA_INIT request, while IKE_AUTH is awaited."""
    settled: dict[bytes, None] = field(default_factory=dict)
    """Digests of IKE_SA_INIT requests that led to an IKE SA: over UDP one may come once
    more. Source: RFC 7296 §2.1"""
    behind_nat: dict[IkeSession, None] = field(default_factory=dict)
    """Sessions over UDP that found a NAT before us. Source: RFC 7296 §2.23"""
    farewells: dict[bytes, SendMessage] = field(default_factory=dict)
    """Over UDP, by the digest of a request: the last answer of an IKE SA that is gone,
    for that may be lost, too. Source: RFC 7296 §2.1"""

    def sessions(self) -> list[IkeSession]:
        """All sessions, once each."""
        held = list(self.ike_sas.values())  # others may change the table meanwhile
        return list(dict.fromkeys(session for _, session in held))

    @property
    def are_carried(self) -> bool:
        """Some session can still be heard of, over TCP or UDP."""
        streams = list(self.streams.values())
        return any(stream.connection.session is not None for stream in streams) or any(
            session.udp_path is not None for session in self.sessions()
        )

    def add_ike_sa(self, sa: IkeSa, session: IkeSession) -> None:
        """Let messages find an IKE SA."""
        self.ike_sas[sa.spi_local] = (sa, session)
        session.ike_sas.append(sa)

    def remove_ike_sa(self, sa: IkeSa, session: IkeSession) -> None:
        """Forget an IKE SA."""
        del self.ike_sas[sa.spi_local]
        session.ike_sas.remove(sa)

    def note_peer(self, session: IkeSession, peer: str) -> None:
        """Let a session be found by who its peer has proved to be."""
        session.peer = peer
        self.peers.setdefault(peer, []).append(session)

    def others_of_peer(self, session: IkeSession) -> list[tuple[IkeSa, IkeSession]]:
        """Find what else there is with the same peer: sessions, and their IKE SAs."""
        sessions = self.peers.get(session.peer, ())
        return [
            (other.ike, other)
            for other in sessions
            if other is not session and other.ike is not None
        ]

    def forget_peer(self, session: IkeSession) -> None:
        """Let a session that has ended be found no more; idempotent."""
        sessions = self.peers.get(session.peer, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self.peers[session.peer]

    def retire(self, spi_in: bytes) -> None:
        """Remember the SPI of a removed Child SA, and forget the oldest such SPI."""
        _remember(self.retired, spi_in, None, RETIRED_LIMIT)

    def begin_half_open(
        self, session: IkeSession, first_request: bytes, address: str
    ) -> None:
        """Note a session whose initiator has yet to show who it is."""
        session.first_request, session.address = first_request, address
        self.half_open[first_request] = session
        self.strangers.add(address)

    def end_half_open(self, session: IkeSession, is_timed_out: bool = False) -> None:
        """Note that it has, or that the session is gone; idempotent."""
        if self.half_open.pop(session.first_request, None) is not None:
            self.strangers.remove(session.address, is_timed_out)
            if session.udp_path is not None and session.was_established:
                _remember(self.settled, session.first_request, None, SETTLED_LIMIT)

    def part(self, request: bytes, answer: SendMessage) -> None:
        """Keep the last answer of an IKE SA that is gone, by its request's digest.

        Source: RFC 7296 §2.1
        """
        _remember(self.farewells, request, answer, FAREWELL_LIMIT)


def _remember(table: dict[bytes, T], key: bytes, value: T, limit: int) -> None:
    """Add an entry, and forget the oldest if there are too many."""
    table[key] = value
    if len(table) > limit:
        del table[next(iter(table))]
