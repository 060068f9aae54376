"""Captured TCP connections, put back in order.

A capture holds segments as they passed the interface: out of order, repeated, cut at
other places than the sender cut them, and larger than any wire allows where the stack
leaves cutting to the device. :class:`Reassembler` returns the octets of each direction
in sequence and says where connections begin, and that is all the stream of RFC 9329
needs.

What is left out: IPv6 extension headers, IP fragments, and connections whose SYN is not
in the capture.

Source: RFC 9329 §3
"""

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from iketcp.capture.pcapng import ETHERNET, RAW_IP, Packet

Address = IPv4Address | IPv6Address

_ETHERTYPES = {b"\x08\x00": 4, b"\x86\xdd": 6}
_TCP = 6
_SYN, _RST, _FIN, _ACK = 0x02, 0x04, 0x01, 0x10
_HALF = 1 << 31
_WHOLE = 1 << 32
_MOST_HELD = 1 << 26


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a TCP connection."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment, as captured."""

    direction: Direction
    sequence: int
    flags: int
    octets: bytes


@dataclass(slots=True)
class _Flow:
    is_from_originator: bool
    expected: int
    """Sequence number of the next octet to deliver, modulo 2^32."""
    held: dict[int, bytes] = field(default_factory=dict)
    held_octets: int = 0


@dataclass(frozen=True, slots=True)
class Octets:
    """The next octets of one direction of one connection."""

    direction: Direction
    is_from_originator: bool
    is_start: bool
    """True once per direction, with its SYN; ``octets`` is then empty."""
    octets: bytes


class Reassembler:
    """Returns each direction's octets in sequence, each octet once."""

    def __init__(self) -> None:
        self._flows: dict[Direction, _Flow] = {}

    def feed(self, packet: Packet) -> list[Octets]:
        """Take a captured packet; return what it lets through, if anything."""
        segment = parse_segment(packet)
        if segment is None:
            return []
        if segment.flags & _SYN:
            return self._start(segment)
        flow = self._flows.get(segment.direction)
        if flow is None:
            return []
        octets = self._accept(flow, segment.sequence, segment.octets)
        if not octets:
            return []
        return [Octets(segment.direction, flow.is_from_originator, False, octets)]

    def _start(self, segment: Segment) -> list[Octets]:
        expected = (segment.sequence + 1) % _WHOLE
        known = self._flows.get(segment.direction)
        if known is not None and known.expected == expected:
            return []  # the SYN came twice
        is_from_originator = not segment.flags & _ACK
        self._flows[segment.direction] = _Flow(is_from_originator, expected)
        return [Octets(segment.direction, is_from_originator, True, b"")]

    def _accept(self, flow: _Flow, sequence: int, octets: bytes) -> bytes:
        """Keep what is new of a segment, return what is now in order."""
        ahead = (sequence - flow.expected) % _WHOLE
        if ahead >= _HALF:  # begins in the past
            octets = octets[_WHOLE - ahead :]
            ahead = 0
        if not octets:
            return b""
        if ahead:
            self._hold(flow, (flow.expected + ahead) % _WHOLE, octets)
            return b""
        parts = [octets]
        flow.expected = (flow.expected + len(octets)) % _WHOLE
        while flow.held and (late := self._next_held(flow)):
            parts.append(late)
        return b"".join(parts)

    def _hold(self, flow: _Flow, sequence: int, octets: bytes) -> None:
        if flow.held_octets + len(octets) > _MOST_HELD:
            return  # a hole that large never closes
        if len(flow.held.get(sequence, b"")) < len(octets):
            flow.held_octets += len(octets) - len(flow.held.get(sequence, b""))
            flow.held[sequence] = octets

    def _next_held(self, flow: _Flow) -> bytes:
        for sequence in sorted(
            flow.held, key=lambda each: (each - flow.expected + _HALF) % _WHOLE
        ):
            ahead = (sequence - flow.expected + _HALF) % _WHOLE - _HALF
            if ahead > 0:
                return b""
            octets = flow.held.pop(sequence)
            flow.held_octets -= len(octets)
            if octets := octets[-ahead:]:
                flow.expected = (flow.expected + len(octets)) % _WHOLE
                return octets
        return b""


def parse_segment(packet: Packet) -> Segment | None:
    """Return the TCP segment in a packet; None if it holds none, or not a whole one."""
    octets = packet.octets
    if packet.link_type == ETHERNET:
        version = _ETHERTYPES.get(octets[12:14], 0)
        octets = octets[14:]
    elif packet.link_type == RAW_IP and octets:
        version = octets[0] >> 4
    else:
        return None
    if version == 4 and len(octets) >= 20:
        return _parse_ipv4(octets)
    if version == 6 and len(octets) >= 40:
        return _parse_ipv6(octets)
    return None


def _parse_ipv4(octets: bytes) -> Segment | None:
    header_size = (octets[0] & 15) * 4
    total, _, fragment, _, protocol = struct.unpack_from("!HHHBB", octets, 2)
    if protocol != _TCP or fragment & 0x3FFF or header_size < 20:
        return None
    source, destination = IPv4Address(octets[12:16]), IPv4Address(octets[16:20])
    # Zero stands for a packet that is yet to be cut and is longer than 16 bits tell.
    end = total or len(octets)
    return _parse_tcp(source, destination, octets[header_size:end])


def _parse_ipv6(octets: bytes) -> Segment | None:
    size, protocol = struct.unpack_from("!HB", octets, 4)
    if protocol != _TCP:
        return None
    source, destination = IPv6Address(octets[8:24]), IPv6Address(octets[24:40])
    return _parse_tcp(source, destination, octets[40 : 40 + size if size else None])


def _parse_tcp(source: Address, destination: Address, octets: bytes) -> Segment | None:
    if len(octets) < 20:
        return None
    source_port, destination_port, sequence = struct.unpack_from("!HHI", octets)
    direction = Direction(source, source_port, destination, destination_port)
    header_size = (octets[12] >> 4) * 4
    return Segment(direction, sequence, octets[13], octets[header_size:])
