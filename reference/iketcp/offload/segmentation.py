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

from collections.abc import Sequence
from struct import Struct

import numpy as np

from iketcp.errors import MalformedPacketError
from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, checksum
from iketcp.offload.rows import (
    MODULUS,
    Octets,
    PacketRows,
    put_checksums,
    put_words,
    swapped,
    word_sums,
)
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

FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
"""Flags of TCP, 8 bits."""

_VERSIONS: dict[int, int] = {Gso.TCP_IPV4: 4, Gso.TCP_IPV6: 6}
_U16 = Struct(">H")
_U32 = Struct(">I")


def split(octets: bytes) -> list[Sequence[bytes]]:
    """Turn what one read of a TUN device gave into whole packets with checksums.

    Returns
    -------
    list of sequences of bytes
        Packets of one size each, and of one flow.

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
        packet = complete_checksum(header, packet)
    return [[packet]]


def pseudo_sum(packet: bytes | bytearray, size: int) -> int:
    """Sum the pseudo header of a TCP segment of ``size`` octets, 16 bits."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return (int.from_bytes(addresses, "big") + IpProtocol.TCP + size) % MODULUS


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
    total = checksum(packet[begin:]) or MODULUS
    return packet[:at] + _U16.pack(total) + packet[at + 2 :]


def segment(header: VnetHeader, packet: bytes) -> list[Sequence[bytes]]:
    """Cut a large TCP segment into packets; the last one may be shorter.

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
    headers = bytearray(packet[:end])
    flags = headers[begin + 13]
    headers[begin + 13] = flags & ~(FIN | PSH | CWR)
    headers[begin + 16 : begin + 18] = bytes(2)
    rows, last = _lay_out(headers, packet[end:], size)
    rows[0, begin + 13] |= flags & CWR
    rows[-1, begin + 13] |= flags & (FIN | PSH)
    _write_tcp(rows, last, begin, headers)
    if header.gso == Gso.TCP_IPV4:
        _write_ipv4(rows, last, headers[:begin])
    else:
        put_words(rows, 4, rows.shape[1] - IPV6_HEADER_SIZE)
        put_words(rows[-1:], 4, last - IPV6_HEADER_SIZE)
    if last == rows.shape[1]:
        return [PacketRows(rows)]
    whole: list[Sequence[bytes]] = [PacketRows(rows[:-1])] if len(rows) > 1 else []
    return [*whole, [rows[-1, :last].tobytes()]]


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


def _lay_out(headers: bytearray, payload: bytes, size: int) -> tuple[Octets, int]:
    """Make a row of each packet, with ``size`` octets of payload or zeros behind it.

    Returns
    -------
    tuple
        The rows, which have the same headers yet, and the octets of the last packet.
    """
    end, whole = len(headers), len(payload) // size
    count = max(1, -(-len(payload) // size))
    rows: Octets = np.empty((count, end + size), np.uint8)
    rows[:, :end] = np.frombuffer(headers, np.uint8)
    octets = np.frombuffer(payload, np.uint8)
    rows[:whole, end:] = octets[: whole * size].reshape(whole, size)
    rest = octets[whole * size :]
    rows[whole:, end : end + len(rest)] = rest
    rows[whole:, end + len(rest) :] = 0
    return rows, end + len(payload) - (count - 1) * size


def _write_tcp(rows: Octets, last: int, begin: int, headers: bytearray) -> None:
    """Write what differs in TCP headers, and the right checksums."""
    width = rows.shape[1]
    (first,) = _U32.unpack_from(headers, begin + 4)
    steps = np.arange(len(rows)) * (width - len(headers))
    put_words(rows, begin + 4, first + steps, 4)
    sums = word_sums(rows[:, begin:])
    sums += swapped(pseudo_sum(headers, width - begin))
    sums[-1] += swapped(last - width)
    put_checksums(rows, begin + 16, sums)


def _write_ipv4(rows: Octets, last: int, header: bytearray) -> None:
    """Write what differs in IPv4 headers, and the right checksums."""
    width = rows.shape[1]
    (first,) = _U16.unpack_from(header, 4)
    numbers = (first + np.arange(len(rows))) & 0xFFFF
    # all but Total Length, Identification and the checksum itself
    same = int.from_bytes(header[:2] + header[6:10] + header[12:], "big") % MODULUS
    sums = numbers + (same + width)
    sums[-1] += last - width
    put_words(rows, 2, width)
    put_words(rows[-1:], 2, last)
    put_words(rows, 4, numbers)
    put_words(rows, 10, -sums % MODULUS)


__all__ = ["complete_checksum", "pseudo_sum", "segment", "split"]
