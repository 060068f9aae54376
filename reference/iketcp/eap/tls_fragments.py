"""Type-Data of EAP-TLS: flags, perhaps a length, and a fragment of TLS records.

::

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+-------------------------------+------------
    |L M S reserved |  TLS Message Length (if L)    |  TLS Data
    +-+-+-+-+-+-+-+-+-------------------------------+------------

Records of one flight may be more than one packet should carry. Then each fragment but
the last has M, the first has L, and the other end acknowledges each with a packet
without data before the next one may come.

Source: RFC 5216 §2.1.5
Source: RFC 5216 §3.1
Source: RFC 5216 §3.2
Source: RFC 9190 §2.1.9
"""

from dataclasses import dataclass, field

from iketcp.errors import EapFailedError
from iketcp.octets import Reader

FRAGMENT_SIZE = 1024
"""Choice: octets of TLS Data in one packet of ours, so that an IKE message with it
needs no fragmentation of its own."""

MAX_FLIGHT_SIZE = 65536
"""Octets that all fragments may come to. Source: RFC 5216 §2.1.5."""

_LENGTH_INCLUDED = 0x80
_MORE_FRAGMENTS = 0x40
_START = 0x20


@dataclass(frozen=True, slots=True)
class TlsFragment:
    """One packet. Source: RFC 5216 §3.1."""

    data: bytes = field(default=b"", repr=False)
    """TLS Data; empty in a Start and in an acknowledgement."""
    total: int | None = None
    """TLS Message Length, 32 bits: octets of all fragments."""
    has_more: bool = False
    is_start: bool = False

    def encode(self) -> bytes:
        """Write it as Type-Data."""
        flags = _START if self.is_start else 0
        flags |= _MORE_FRAGMENTS if self.has_more else 0
        if self.total is None:
            return bytes([flags]) + self.data
        flags |= _LENGTH_INCLUDED
        return bytes([flags]) + self.total.to_bytes(4, "big") + self.data


ACKNOWLEDGEMENT = TlsFragment()
"""Says "go on". Source: RFC 5216 §2.1.5."""


def decode_fragment(data: bytes) -> TlsFragment:
    """Read Type-Data; reserved flags are ignored.

    Raises
    ------
    MalformedMessageError
        Flags or the length announced are missing.

    Source: RFC 5216 §3.1
    """
    reader = Reader(data)
    flags = reader.pull_u8("EAP-TLS flags")
    total = None
    if flags & _LENGTH_INCLUDED:
        total = int.from_bytes(reader.pull(4, "TLS Message Length"), "big")
    has_more, is_start = bool(flags & _MORE_FRAGMENTS), bool(flags & _START)
    return TlsFragment(reader.pull_rest(), total, has_more, is_start)


def split(flight: bytes, size: int = FRAGMENT_SIZE) -> list[TlsFragment]:
    """Cut a flight into fragments; one that fits stays whole, without a length.

    Source: RFC 5216 §2.1.5
    """
    if len(flight) <= size:
        return [TlsFragment(flight)]
    pieces = [flight[at : at + size] for at in range(0, len(flight), size)]
    first = TlsFragment(pieces[0], total=len(flight), has_more=True)
    middle = [TlsFragment(piece, has_more=True) for piece in pieces[1:-1]]
    return [first, *middle, TlsFragment(pieces[-1])]


class Reassembly:
    """Fragments of the flight that is coming in. Source: RFC 5216 §2.1.5."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._total: int | None = None

    def add(self, fragment: TlsFragment) -> bytes | None:
        """Add a fragment; returns the whole flight once it is there.

        Raises
        ------
        EapFailedError
            There is more of it than was announced or than we take, or less; the length
            changes on the way; or a fragment that is not the last is empty.
        """
        if fragment.has_more and not fragment.data:
            raise EapFailedError("an empty EAP-TLS fragment, and more to come")
        if fragment.total is not None:
            if self._total not in (None, fragment.total):
                raise EapFailedError("the TLS Message Length changes")
            self._total = fragment.total
        self._octets += fragment.data
        limit = MAX_FLIGHT_SIZE if self._total is None else self._total
        if limit > MAX_FLIGHT_SIZE or len(self._octets) > limit:
            raise EapFailedError("more TLS Data than announced or allowed")
        if fragment.has_more:
            return None
        if self._total not in (None, len(self._octets)):
            raise EapFailedError("less TLS Data than announced")
        flight = bytes(self._octets)
        self._octets.clear()
        self._total = None
        return flight


class Outgoing:
    """Fragments of the flight that is going out, one by one."""

    def __init__(self) -> None:
        self._waiting: list[TlsFragment] = []

    def __bool__(self) -> bool:
        """Tell whether fragments wait to be asked for."""
        return bool(self._waiting)

    def load(self, flight: bytes) -> bytes:
        """Take a flight and return its first fragment as Type-Data."""
        self._waiting = split(flight)
        return self._waiting.pop(0).encode()

    def next(self, acknowledgement: TlsFragment) -> bytes:
        """Return the next fragment as Type-Data.

        Raises
        ------
        EapFailedError
            The last one has not been acknowledged: something else came.

        Source: RFC 5216 §2.1.5
        """
        if acknowledgement != ACKNOWLEDGEMENT:
            raise EapFailedError("an EAP-TLS fragment is not acknowledged")
        return self._waiting.pop(0).encode()
