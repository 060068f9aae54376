"""What an endpoint holds: sessions, IKE SAs by SPI, Child SAs by SPI, connections.

Messages find their SA here. The tables of SPIs are plain dictionaries: one lookup, in
constant time however many peers there are, and without a lock.

Source: RFC 4301 §4.4.2
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iketcp.effects import ConnectionId
from iketcp.endpoint.frame_search import FrameSearch
from iketcp.esp.child_sa import ChildSa
from iketcp.half_open import HalfOpen
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.mapping import Connection, Session
from iketcp.stream import StreamDecoder

RETIRED_LIMIT = 4096
"""Choice: SPIs of removed Child SAs that are remembered, newest first to stay."""

REASON_LIMIT = 64
"""Choice: so many reasons why connections ended are counted apart."""

OTHER_REASONS = "other reasons"
"""Under which all further ones are counted."""


@dataclass(eq=False, slots=True)
class IkeSession(Session):
    """A session with its IKE SAs: one, or two or three around a rekey."""

    ike: IkeSa | None = None
    """The one that exchanges are begun on now."""
    ike_sas: list[IkeSa] = field(default_factory=list)
    was_established: bool = False
    first_request: bytes = b""
    """Digest of the IKE_SA_INIT request while IKE_AUTH is awaited, 32 octets."""
    address: str = ""
    """The initiator's address, as long as it is counted as half-open."""

    def shared(self) -> IkeSa | None:
        """Return the newest IKE SA that the peer has for certain.

        That of a rekey which we answered is none yet. Source: RFC 7296 §2.8.
        """
        newest = self.ike
        if newest is not None and not newest.is_known_to_peer:
            return next((sa for sa in self.ike_sas if sa.heir is newest), newest)
        return newest

    def use(self, stream: Stream) -> None:
        """Let all IKE SAs send on this connection, in fragments if it needs them.

        Source: RFC 9329 §7.5
        """
        for sa in self.ike_sas:
            sa.has_connection = True
            sa.fragment_size = stream.fragment_size

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
    children: dict[bytes, LiveChild] = field(default_factory=dict)
    """By the SPI we receive on, 4 octets."""
    retired: dict[bytes, None] = field(default_factory=dict)
    """SPIs of Child SAs removed of late: packets under way to them are no surprise."""
    half_open: dict[bytes, IkeSession] = field(default_factory=dict)
    """By the digest of the IKE_SA_INIT request, while IKE_AUTH is awaited."""

    def sessions(self) -> list[IkeSession]:
        """All sessions, once each."""
        return list(dict.fromkeys(session for _, session in self.ike_sas.values()))

    def add_ike_sa(self, sa: IkeSa, session: IkeSession) -> None:
        """Let messages find an IKE SA."""
        self.ike_sas[sa.spi_local] = (sa, session)
        session.ike_sas.append(sa)

    def remove_ike_sa(self, sa: IkeSa, session: IkeSession) -> None:
        """Forget an IKE SA."""
        del self.ike_sas[sa.spi_local]
        session.ike_sas.remove(sa)

    def retire(self, spi_in: bytes) -> None:
        """Remember the SPI of a removed Child SA, and forget the oldest such SPI."""
        self.retired[spi_in] = None
        if len(self.retired) > RETIRED_LIMIT:
            del self.retired[next(iter(self.retired))]

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
