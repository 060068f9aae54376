"""What the pure floors want done: effects, carried out by the floors with threads.

An endpoint takes octets, connection events and the time, and returns a list of
these. Whoever runs it executes them in order and tells it nothing back except through
the next event. A test reads them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import NewType

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.ike.keys import IkeKeys
from iketcp.ike.nat_detection import Path

ConnectionId = NewType("ConnectionId", int)
"""A TCP connection, numbered by whoever opened or accepted it; never reused."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """Write these octets, framing included, on that connection.

    Octets of one effect are never interleaved with another's.
    """

    connection: ConnectionId
    octets: bytes = field(repr=False)
    droppable: bool = False
    """True for ESP: a full send queue drops it, as any link drops packets."""


@dataclass(frozen=True, slots=True)
class SendDatagrams:
    """Send these UDP datagrams, each by itself, from one end of ``path`` to the other.

    Any of them may be lost, here as on the way.
    """

    path: Path
    datagrams: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """Go to the peer after ``delay_seconds``, for we begin: connect, over TCP."""

    delay_seconds: float = 0.0
    is_beside: bool = False
    """For another session, while the first keeps its connection."""


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close that connection; ``reason`` is for the log."""

    connection: ConnectionId
    reason: str


@dataclass(frozen=True, slots=True)
class DeliverInner:
    """Hand these inner IP packets to the tunnel device."""

    packets: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class IkeSaEstablished:
    """An IKE SA is up for the first time (not by a rekey)."""

    spi: bytes
    """Our SPI, 8 octets."""
    remote_identity: str


@dataclass(frozen=True, slots=True)
class IkeSaClosed:
    """An IKE SA is gone for good, with every Child SA it had (not by a rekey)."""

    spi: bytes
    reason: str
    is_unheard: bool = False
    """Over UDP: its first request stayed without an answer, so nobody may be there."""
    is_spare: bool = False
    """Another IKE SA of ours with the same peer stands, and matters."""


@dataclass(frozen=True, slots=True)
class ChildSaInstalled:
    """A Child SA is ready to carry packets."""

    parameters: ChildSaParameters
    inner_mtu: int
    """Largest inner packet that one ESP packet within the path MTU carries."""
    path: Path
    """Where the IKE SA began: the outer addresses."""
    remote_identity: str
    """Who the peer proved to be."""


@dataclass(frozen=True, slots=True)
class ChildSaRemoved:
    """A Child SA is gone, and with it the keys in its parameters."""

    parameters: ChildSaParameters


@dataclass(frozen=True, slots=True)
class IkeKeysDerived:
    """An IKE SA has its keys: for a key log, when its user insists on one."""

    spi_i: bytes
    spi_r: bytes
    suite: Suite
    keys: IkeKeys = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConfigurationAssigned:
    """The responder assigned these; the initiator puts them on its device."""

    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    dns_servers: tuple[str, ...]


class FieldsWhenRead(Mapping[str, object]):
    """Fields of a trace that are put into words when somebody reads them.

    Most traces are for a log that is turned down.

    Parameters
    ----------
    make : Callable[[], Mapping[str, object]]
        Called once, whenever that is: what it looks at changes no more and has no key.
    """

    __slots__ = ("_fields", "_make")

    def __init__(self, make: Callable[[], Mapping[str, object]]) -> None:
        self._make: Callable[[], Mapping[str, object]] | None = make
        self._fields: Mapping[str, object] = {}

    def _read(self) -> Mapping[str, object]:
        if self._make is not None:
            self._fields, self._make = self._make(), None
        return self._fields

    def __getitem__(self, name: str) -> object:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


@dataclass(frozen=True, slots=True)
class Trace:
    """Something happened that a log, a narrator or a test wants to know."""

    kind: str
    fields: Mapping[str, object]


Effect = (
    Transmit
    | SendDatagrams
    | OpenConnection
    | CloseConnection
    | DeliverInner
    | IkeSaEstablished
    | IkeSaClosed
    | ChildSaInstalled
    | ChildSaRemoved
    | ConfigurationAssigned
    | IkeKeysDerived
    | Trace
)
