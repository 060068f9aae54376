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

from struct import Struct

import numpy as np

from iketcp.errors import MalformedPacketError
from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, checksum
from iketcp.offload.rows import (
    MODULUS,
    Numbers,
    Octets,
    pseudo_sums,
    put_words,
    word_sums,
    words_at,
)
from iketcp.offload.vnet_header import (
    VNET_HEADER_SIZE,
    Gso,
    VnetHeader,
    read_vnet_header,
)

TCP_HEADER_SIZE = 20
SMALLEST_SEGMENT = 8
"""Choice: octets of payload below which no segment is cut, so that one read makes a
bounded number of packets; the smallest MSS a Linux sender uses is 48."""

FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
"""Flags of TCP, 8 bits."""

_VERSIONS: dict[int, int] = {Gso.TCP_IPV4: 4, Gso.TCP_IPV6: 6}
_U16 = Struct(">H")


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
    total = checksum(packet[begin:]) or MODULUS
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
    rows, sizes = _lay_out(packet[:end], packet[end:], size)
    _write_tcp(rows, sizes, begin, size)
    if header.gso == Gso.TCP_IPV4:
        _write_ipv4(rows, sizes, begin)
    else:
        put_words(rows, 4, sizes - IPV6_HEADER_SIZE)
    octets, width = rows.tobytes(), rows.shape[1]
    packets = [octets[at : at + width] for at in range(0, len(octets), width)]
    packets[-1] = packets[-1][: int(sizes[-1])]
    return packets


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


def _lay_out(headers: bytes, payload: bytes, size: int) -> tuple[Octets, Numbers]:
    """Make a row of each packet, with ``size`` octets of payload or zeros behind it.

    Returns
    -------
    tuple
        The rows, which have the same headers yet, and the octets of each packet.
    """
    end, whole = len(headers), len(payload) // size
    count = max(1, -(-len(payload) // size))
    rows: Octets = np.zeros((count, end + size), np.uint8)
    rows[:, :end] = np.frombuffer(headers, np.uint8)
    octets = np.frombuffer(payload, np.uint8)
    rows[:whole, end:] = octets[: whole * size].reshape(whole, size)
    rest = octets[whole * size :]
    rows[whole:, end : end + len(rest)] = rest
    sizes: Numbers = np.full(count, end + size, np.int64)
    sizes[-1] = end + len(payload) - (count - 1) * size
    return rows, sizes


def _write_tcp(rows: Octets, sizes: Numbers, begin: int, size: int) -> None:
    """Write what differs in TCP headers, and right checksums."""
    first = words_at(rows[:1], begin + 4, 4)
    put_words(rows, begin + 4, first + np.arange(len(rows)) * size, 4)
    rows[:-1, begin + 13] &= 0xFF & ~(FIN | PSH)
    rows[1:, begin + 13] &= 0xFF & ~CWR
    put_words(rows, begin + 16, 0)
    totals = word_sums(rows[:, begin:]) + pseudo_sums(rows, sizes - begin)
    put_words(rows, begin + 16, -totals % MODULUS)


def _write_ipv4(rows: Octets, sizes: Numbers, begin: int) -> None:
    """Write what differs in IPv4 headers, and right checksums."""
    put_words(rows, 2, sizes)
    put_words(rows, 4, words_at(rows[:1], 4, 2) + np.arange(len(rows)))
    put_words(rows, 10, 0)
    put_words(rows, 10, -word_sums(rows[:, :begin]) % MODULUS)


__all__ = ["complete_checksum", "segment", "split"]
