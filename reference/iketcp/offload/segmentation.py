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

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from struct import Struct
from typing import NamedTuple

import numpy as np

from iketcp.errors import MalformedPacketError
from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE
from iketcp.offload.rows import (
    MODULUS,
    Octets,
    PacketRows,
    long_checksum,
    put_checksums,
    put_words,
    swapped,
    word_sums,
)
from iketcp.offload.vnet_header import (
    NO_OFFLOAD,
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
_GSO_NONE = bytes([Gso.NONE])
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
    if header.gso != Gso.NONE:
        return _cut([_Large.read(header, octets)])
    return [[_whole_packet(octets)]]


def split_all(reads: Iterable[bytes]) -> tuple[list[Sequence[bytes]], int]:
    """Do as :func:`split` for several reads; large segments alike are cut together.

    Returns
    -------
    tuple
        The packets, and how many of the reads made no sense.
    """
    runs: list[Sequence[bytes]] = []
    larges: list[_Large] = []
    broken = 0
    for octets in reads:
        try:
            if octets[1:2] == _GSO_NONE:
                runs += _cut_alike(larges)
                larges = []
                _append(runs, _whole_packet(octets))
            else:
                larges.append(_Large.read(read_vnet_header(octets), octets))
        except MalformedPacketError:
            broken += 1
    runs += _cut_alike(larges)
    return runs, broken


def _append(runs: list[Sequence[bytes]], packet: bytes) -> None:
    """Append a packet that stands alone to a list of such, if that is the last run."""
    if runs and isinstance(runs[-1], list):
        runs[-1].append(packet)
    else:
        runs.append([packet])


def _whole_packet(octets: bytes) -> bytes:
    """Return a packet that is not to be cut, with its checksum.

    Raises
    ------
    MalformedPacketError
        The header does not fit the packet.
    """
    packet = octets[VNET_HEADER_SIZE:]
    if octets.startswith(NO_OFFLOAD):
        return packet
    header = read_vnet_header(octets)
    return complete_checksum(header, packet) if header.needs_checksum else packet


def size_in_packets(octets: bytes) -> int:
    """Tell how many packets a vnet header says are behind it; at least one."""
    if octets[1:2] == _GSO_NONE or len(octets) < VNET_HEADER_SIZE:
        return 1
    header = read_vnet_header(octets)
    payload = len(octets) - VNET_HEADER_SIZE - header.header_size
    return max(1, -(-payload // header.gso_size)) if header.gso_size else 1


def pseudo_sum(packet: bytes | bytearray | memoryview, size: int) -> int:
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
    total = long_checksum(packet[begin:]) or MODULUS
    return packet[:at] + _U16.pack(total) + packet[at + 2 :]


class _Large(NamedTuple):
    """A large TCP segment that can be cut."""

    header: VnetHeader
    packet: memoryview
    begin: int
    """Where the TCP header begins."""
    end: int
    """Where the payload begins."""

    @classmethod
    def read(cls, header: VnetHeader, octets: bytes) -> _Large:
        """Look at what is needed for cutting.

        Raises
        ------
        MalformedPacketError
            It is no TCP segment of the kind that the header says, or the size of the
            pieces is out of range.
        """
        packet = memoryview(octets)[VNET_HEADER_SIZE:]
        begin = _transport_begin(header, packet)
        end = begin + (packet[begin + 12] >> 4) * 4
        if end < begin + TCP_HEADER_SIZE or end > len(packet):
            raise MalformedPacketError("a TCP header of no possible size")
        if header.gso_size < SMALLEST_SEGMENT:
            raise MalformedPacketError(f"segments of {header.gso_size} octets")
        return cls(header, packet, begin, end)

    @property
    def pieces(self) -> int:
        """How many packets it will be."""
        return max(1, -(-(len(self.packet) - self.end) // self.header.gso_size))

    @property
    def last(self) -> int:
        """Octets of the last packet."""
        return len(self.packet) - (self.pieces - 1) * self.header.gso_size

    @property
    def width(self) -> int:
        """Octets of each other packet."""
        return self.end + self.header.gso_size

    def key(self) -> tuple[object, ...]:
        """Return what is the same in segments that can be cut together."""
        packet, begin = self.packet, self.begin
        addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
        ports = packet[begin : begin + 4]
        return self.header, len(packet), begin, self.end, addresses, ports


def _transport_begin(header: VnetHeader, packet: memoryview) -> int:
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


def _cut_alike(larges: Sequence[_Large]) -> Iterator[Sequence[bytes]]:
    """Cut large segments, those of one flow and size in a row together."""
    for _, group in groupby(larges, _Large.key):
        alike = list(group)
        if alike[0].last == alike[0].width:
            yield from _cut(alike)
        else:
            for one in alike:
                yield from _cut([one])


def _cut(larges: Sequence[_Large]) -> list[Sequence[bytes]]:
    """Cut large segments of one flow and size into packets.

    If there are several, all packets have the same size.
    """
    first = larges[0]
    rows = _lay_out(larges)
    _write_tcp(rows, larges)
    if first.header.gso == Gso.TCP_IPV4:
        _write_ipv4(rows, larges)
    else:
        put_words(rows, 4, first.width - IPV6_HEADER_SIZE)
        put_words(rows[-1:], 4, first.last - IPV6_HEADER_SIZE)
    if first.last == first.width:
        return [PacketRows(rows)]
    whole: list[Sequence[bytes]] = [PacketRows(rows[:-1])] if len(rows) > 1 else []
    return [*whole, [rows[-1, : first.last].tobytes()]]


def _lay_out(larges: Sequence[_Large]) -> Octets:
    """Make a row of each packet: headers alike, and payload or zeros behind it.

    What only the first or the last packet of a segment may have is on it alone.
    """
    _, _, begin, end = first = larges[0]
    size, count = first.header.gso_size, first.pieces
    rows: Octets = np.empty((len(larges) * count, first.width), np.uint8)
    for at, large in enumerate(larges):
        own = rows[at * count : (at + 1) * count]
        octets = np.frombuffer(large.packet, np.uint8)
        own[:, :end] = octets[:end]
        whole = (len(octets) - end) // size
        own[:whole, end:] = octets[end : end + whole * size].reshape(whole, size)
        if whole < count:
            own[whole, end : first.last] = octets[end + whole * size :]
            own[whole, first.last :] = 0
        flags = large.packet[begin + 13]
        own[:, begin + 13] = flags & ~(FIN | PSH | CWR)
        own[0, begin + 13] |= flags & CWR
        own[-1, begin + 13] |= flags & (FIN | PSH)
    return rows


def _write_tcp(rows: Octets, larges: Sequence[_Large]) -> None:
    """Write what differs in TCP headers, and the right checksums."""
    _, packet, begin, _ = first = larges[0]
    starts = np.array([_U32.unpack_from(large.packet, begin + 4) for large in larges])
    steps = np.arange(first.pieces) * first.header.gso_size
    put_words(rows, begin + 4, (starts + steps).reshape(-1), 4)
    put_words(rows, begin + 16, 0)
    sums = word_sums(rows[:, begin:])
    sums += swapped(pseudo_sum(packet, first.width - begin))
    sums[-1] += swapped(first.last - first.width)
    put_checksums(rows, begin + 16, sums)


def _write_ipv4(rows: Octets, larges: Sequence[_Large]) -> None:
    """Write what differs in IPv4 headers, and the right checksums."""
    first = larges[0]
    starts, same = [], []
    for large in larges:
        header = bytes(large.packet[: first.begin])
        starts.append(_U16.unpack_from(header, 4))
        # all but Total Length, Identification and the checksum itself
        words = int.from_bytes(header[:2] + header[6:10] + header[12:], "big")
        same.append([words % MODULUS])
    numbers = (np.array(starts) + np.arange(first.pieces)) & 0xFFFF
    sums = (numbers + same + first.width).reshape(-1)
    sums[-1] += first.last - first.width
    put_words(rows, 2, first.width)
    put_words(rows[-1:], 2, first.last)
    put_words(rows, 4, numbers.reshape(-1))
    put_words(rows, 10, -sums % MODULUS)


__all__ = ["complete_checksum", "pseudo_sum", "size_in_packets", "split", "split_all"]
