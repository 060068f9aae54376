"""Large segments cut into packets, and checksums completed.

What the machine routes into a TUN device with offloads may be a TCP segment larger than
the device's MTU, of which it expects packets of ``gso_size`` octets of payload each;
and its transport checksum may be left to us. The packets made here are those the
machine itself would have made without offloads:

- each has the headers of the whole, with its own length and sequence number;
- the Identification of IPv4 counts up from one to the next;
- FIN and PSH are on the last one only, CWR on the first one only;
- both checksums are complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from iketcp.errors import MalformedPacketError
from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, checksum
from iketcp.offload.vnet_header import (
    VNET_HEADER_SIZE,
    Gso,
    VnetHeader,
    read_vnet_header,
)
from iketcp.registry import IpProtocol

TCP_HEADER_SIZE = 20
SMALLEST_SEGMENT = 8
"""Choice: octets of payload below which no segment is cut, so that one read makes a
bounded number of packets; the smallest MSS a Linux sender uses is 48."""

FIN, PSH, CWR = 0x01, 0x08, 0x80
"""Flags of TCP that do not go onto each segment, 8 bits."""

_VERSIONS: dict[int, int] = {Gso.TCP_IPV4: 4, Gso.TCP_IPV6: 6}
_U16 = Struct(">H")
_LENGTH_AND_ID = Struct(">HH")
_SEQUENCE = Struct(">I")
_ALL_ONES = 0xFFFF
_LAST_SEQUENCE = 0xFFFFFFFF


def split(octets: bytes) -> list[bytes]:
    """Turn what one read of a TUN device gave into whole packets with checksums.

    Parameters
    ----------
    octets : bytes
        A vnet header and a packet.

    Raises
    ------
    MalformedPacketError
        The header does not fit the packet, or asks for what was never offered.
    """
    header = read_vnet_header(octets)
    packet = octets[VNET_HEADER_SIZE:]
    if header.gso != Gso.NONE:
        return segment(header, packet)
    if header.needs_checksum:
        return [complete_checksum(header, packet)]
    return [packet]


def complete_checksum(header: VnetHeader, packet: bytes) -> bytes:
    """Fill in a transport checksum of which only the pseudo header's sum is there.

    Choice: a sum of zero is written as all ones, as UDP wants it; for TCP, which knows
    no absent checksum, both say the same.

    Raises
    ------
    MalformedPacketError
        The field lies outside of the packet.
    """
    begin = header.checksum_start
    at = begin + header.checksum_offset
    if at + 2 > len(packet):
        raise MalformedPacketError("the checksum is outside of the packet")
    total = checksum(packet[begin:]) or _ALL_ONES
    return packet[:at] + _U16.pack(total) + packet[at + 2 :]


def segment(header: VnetHeader, packet: bytes) -> list[bytes]:
    """Cut a large TCP segment into packets.

    Raises
    ------
    MalformedPacketError
        It is no TCP segment of the kind that the header says, or the size of the pieces
        is out of range.
    """
    begin = _transport_begin(header, packet)
    end = begin + (packet[begin + 12] >> 4) * 4  # of all headers
    if end < begin + TCP_HEADER_SIZE or end > len(packet):
        raise MalformedPacketError("a TCP header of no possible size")
    size = header.gso_size
    if size < SMALLEST_SEGMENT:
        raise MalformedPacketError(f"segments of {size} octets")
    cut = _cut_ipv4 if header.gso == Gso.TCP_IPV4 else _cut_ipv6
    pieces = [packet[at : at + size] for at in range(end, len(packet), size)]
    return cut(packet[:end], begin, pieces or [b""])


def _transport_begin(header: VnetHeader, packet: bytes) -> int:
    """Find the TCP header of what is said to be a segment of TCP over IP."""
    version = _VERSIONS.get(header.gso)
    begin = header.checksum_start
    smallest = IPV4_HEADER_SIZE if version == 4 else IPV6_HEADER_SIZE
    is_tcp = (
        len(packet) >= begin + TCP_HEADER_SIZE
        and begin >= smallest
        and packet[0] >> 4 == version
        and header.needs_checksum
        and (version == 6 or begin == (packet[0] & 0x0F) * 4)
    )
    if not is_tcp:
        raise MalformedPacketError(f"no TCP segment, though of GSO type {header.gso}")
    return begin


def _cut_ipv4(headers: bytes, begin: int, pieces: list[bytes]) -> list[bytes]:
    """Put headers before each piece; ``begin`` is where TCP's begins."""
    first_id = _U16.unpack_from(headers, 4)[0]
    # All of the IP header that stays the same, summed once: all but length,
    # Identification, and the checksum itself.
    fixed = headers[:2] + bytes(4) + headers[6:10] + bytes(2) + headers[12:begin]
    fixed_sum = int.from_bytes(fixed, "big")
    packets = []
    for number, packet in enumerate(_tcp_segments(headers, begin, pieces)):
        identification = first_id + number & _ALL_ONES
        length = len(packet)
        _LENGTH_AND_ID.pack_into(packet, 2, length, identification)
        total = -(fixed_sum + length + identification) % _ALL_ONES
        _U16.pack_into(packet, 10, total)
        packets.append(bytes(packet))
    return packets


def _cut_ipv6(headers: bytes, begin: int, pieces: list[bytes]) -> list[bytes]:
    """Put headers before each piece; ``begin`` is where TCP's begins."""
    packets = []
    for packet in _tcp_segments(headers, begin, pieces):
        _U16.pack_into(packet, 4, len(packet) - IPV6_HEADER_SIZE)
        packets.append(bytes(packet))
    return packets


def _tcp_segments(
    headers: bytes, begin: int, pieces: list[bytes]
) -> Iterator[bytearray]:
    """Make segments whose TCP headers are right, and whose IP headers are to follow.

    What all have in common is summed once. Sums are modulo 2^16 - 1, where a sequence
    number of 32 bits counts as the sum of its halves.
    """
    sequence = _SEQUENCE.unpack_from(headers, begin + 4)[0]
    flags = headers[begin + 13]
    addresses = headers[12:20] if headers[0] >> 4 == 4 else headers[8:40]
    template = bytearray(headers)
    _SEQUENCE.pack_into(template, begin + 4, 0)
    template[begin + 13] = 0
    _U16.pack_into(template, begin + 16, 0)
    common = addresses + IpProtocol.TCP.to_bytes(2, "big") + template[begin:]
    common_sum = int.from_bytes(common, "big") % _ALL_ONES
    last = len(pieces) - 1
    for number, piece in enumerate(pieces):
        kept = flags if number == last else flags & ~(FIN | PSH)
        if number:
            kept &= ~CWR
        packet = template + piece
        payload_sum = int.from_bytes(piece, "big") << 8 * (len(piece) & 1)
        total = common_sum + len(packet) - begin + sequence + kept + payload_sum
        _SEQUENCE.pack_into(packet, begin + 4, sequence)
        packet[begin + 13] = kept
        _U16.pack_into(packet, begin + 16, -total % _ALL_ONES)
        yield packet
        sequence = sequence + len(piece) & _LAST_SEQUENCE


__all__ = ["complete_checksum", "segment", "split"]
