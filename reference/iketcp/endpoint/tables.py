"""What an endpoint holds: sessions, IKE SAs by SPI, Child SAs by SPI, connections.

Messages find their SA here. The tables of SPIs are plain dictionaries: one lookup, in
constant time however many peers there are, and without a lock.

Source: RFC 4301 §4.4.2
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iketcp.effects import ConnectionId
from iketcp.esp.child_sa import ChildSa
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.mapping import Connection, Session
from iketcp.stream import StreamDecoder


@dataclass(eq=False, slots=True)
class IkeSession(Session):
    """A session with its IKE SA: the one that exchanges are begun on now."""

    ike: IkeSa | None = None
    was_established: bool = False
    has_ended: bool = False


@dataclass(eq=False, slots=True)
class Stream:
    """One TCP connection as the endpoint sees it."""

    connection: Connection
    path: Path
    decoder: StreamDecoder
    path_mtu: int


@dataclass(eq=False, slots=True)
class LiveChild:
    """A Child SA that carries packets."""

    esp: ChildSa
    session: IkeSession
    name: str
    inner_mtu: int


@dataclass(slots=True)
class Counters:
    """What the endpoint dropped, and why."""

    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count a drop."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count


@dataclass(slots=True)
class Tables:
    """Everything by the number it is found under."""

    streams: dict[ConnectionId, Stream] = field(default_factory=dict)
    ike_sas: dict[bytes, tuple[IkeSa, IkeSession]] = field(default_factory=dict)
    """By our IKE SPI, 8 octets."""
    children: dict[bytes, LiveChild] = field(default_factory=dict)
    """By the SPI we receive on, 4 octets."""
    half_open: dict[bytes, tuple[IkeSa, IkeSession]] = field(default_factory=dict)
    """By the digest of the IKE_SA_INIT request, while IKE_AUTH is awaited."""

    def sas_of(self, session: IkeSession) -> list[IkeSa]:
        """All IKE SAs of a session: one, or two or three around a rekey."""
        return [sa for sa, owner in self.ike_sas.values() if owner is session]

    def sessions(self) -> list[IkeSession]:
        """All sessions, once each."""
        return list({id(s): s for _, s in self.ike_sas.values()}.values())
