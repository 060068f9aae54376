"""Packets in a row of one TCP flow put together, to be handed over in one write.

What comes out of a Child SA in one batch is often a run of TCP segments, each where the
one before it ended. Put together they are one large segment with one header, which the
machine takes at the cost of one. It can be cut again into exactly the packets it was
made of, so only packets are joined between which nothing differs but what cutting
restores:

- the same addresses, ports, DSCP, ECN, TTL, Don't Fragment, Flow Label, window,
  acknowledgment number, flags and TCP options;
- no options of IPv4, no extension headers, no fragments;
- ACK is the only flag; PSH may be on the last one, and ends the run;
- sequence numbers without a hole, and Identifications counting up (where Don't Fragment
  is set they have no meaning);
- payloads of one size; a shorter one ends the run;
- checksums that are right: a joined segment gets a new one, and must not hide damage.

Packets of one flow stay in order; those of different flows may overtake each other
within a batch, which nobody can notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from struct import Struct

from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, checksum
from iketcp.offload.alike import runs_of
from iketcp.offload.rows import PacketRows, long_checksum
from iketcp.offload.segmentation import ACK, PSH, TCP_HEADER_SIZE, pseudo_sum
from iketcp.offload.vnet_header import NEEDS_CHECKSUM, NO_OFFLOAD, Gso, VnetHeader
from iketcp.registry import IpProtocol

Buffers = Sequence[bytes | bytearray | memoryview]
"""What one write takes, piece by piece: a vnet header, headers, payloads."""

LARGEST_PACKET = 0xFFFF
MANY = 4
"""Choice: from so many packets on it is worth it to look at them together."""
CHECKSUM_OFFSET = 16
"""Where in a TCP header its checksum is."""

_LAST_SEQUENCE = 0xFFFFFFFF
_DONT_FRAGMENT = 0x40
_U16 = Struct(">H")
_SEQUENCE = Struct(">I")


class _Run:
    """Segments of one flow, the next where the last one ended.

    Parameters
    ----------
    packets : sequence of bytes
        The first ones, all of one size; none but the last has PSH.
    begin, end : int
        Where in each the TCP header begins and the payload.
    """

    __slots__ = (
        "begin",
        "count",
        "end",
        "first",
        "is_over",
        "last_flags",
        "next_id",
        "next_sequence",
        "payloads",
        "size",
        "total",
    )

    def __init__(self, packets: Sequence[bytes], begin: int, end: int) -> None:
        last = packets[-1]
        self.first = packets[0]
        self.payloads: list[bytes | memoryview] = [_payloads(packets, end)]
        self.count = len(packets)
        self.begin = begin
        self.end = end
        self.size = len(last) - end
        """Octets of payload of each."""
        self.total = end + len(packets) * self.size
        """Octets of what is joined so far."""
        self.next_sequence = _sequence(last, begin) + self.size & _LAST_SEQUENCE
        self.next_id = _identification(last) + 1 & 0xFFFF
        self.last_flags = last[begin + 13]
        self.is_over = bool(self.last_flags & PSH)

    def takes(self, packet: bytes) -> bool:
        """Append a segment of the same flow, if it goes on where the run ends."""
        begin, end = self.begin, self.end
        size = len(packet) - end
        if (
            self.is_over
            or size > self.size
            or self.total + size > LARGEST_PACKET
            or _sequence(packet, begin) != self.next_sequence
            or not self._is_alike(packet)
        ):
            return False
        self.payloads.append(memoryview(packet)[end:])
        self.count += 1
        self.total += size
        self.next_sequence = self.next_sequence + size & _LAST_SEQUENCE
        self.next_id = self.next_id + 1 & 0xFFFF
        self.last_flags = packet[begin + 13]
        self.is_over = size < self.size or bool(self.last_flags & PSH)
        return True

    def _is_alike(self, packet: bytes) -> bool:
        """Compare all that may not differ, checksums and the flag PSH left out."""
        first, begin, end = self.first, self.begin, self.end
        if begin == IPV4_HEADER_SIZE:
            is_alike = packet[:2] == first[:2] and packet[6:10] == first[6:10]
            if not packet[6] & _DONT_FRAGMENT:
                is_alike = is_alike and _identification(packet) == self.next_id
        else:
            is_alike = packet[:4] == first[:4] and packet[6:8] == first[6:8]
        return (
            is_alike
            and packet[begin + 8 : begin + 13] == first[begin + 8 : begin + 13]
            and packet[begin + 14 : begin + 16] == first[begin + 14 : begin + 16]
            and packet[begin + 18 : end] == first[begin + 18 : end]
        )

    def buffers(self) -> Buffers:
        """Return what to write: the only packet as it is, or all as one segment."""
        begin, end = self.begin, self.end
        if self.count == 1:
            return NO_OFFLOAD, self.first
        headers = bytearray(self.first[:end])
        headers[begin + 13] |= self.last_flags
        size = self.total - begin
        if begin == IPV4_HEADER_SIZE:
            gso = Gso.TCP_IPV4
            _U16.pack_into(headers, 2, self.total)
            _U16.pack_into(headers, 10, 0)
            _U16.pack_into(headers, 10, checksum(bytes(headers[:begin])))
        else:
            gso = Gso.TCP_IPV6
            _U16.pack_into(headers, 4, size)
        _U16.pack_into(headers, begin + CHECKSUM_OFFSET, pseudo_sum(headers, size))
        vnet = VnetHeader(NEEDS_CHECKSUM, gso, end, self.size, begin, CHECKSUM_OFFSET)
        return [vnet.write(), headers, *self.payloads]


def coalesce(packets: Iterable[bytes]) -> list[Buffers]:
    """Join what can be joined of a batch.

    Parameters
    ----------
    packets : iterable of bytes
        IP packets; what is no TCP segment, or broken, is left as it is.

    Returns
    -------
    list of Buffers
        One for each write; together they are all of ``packets``.
    """
    batch = _Batch()
    for row in _rows_of_one_size(packets):
        if not isinstance(row, PacketRows) or not batch.take_many(row):
            for packet in row:
                batch.take(packet)
    return [
        (NO_OFFLOAD, run) if isinstance(run, bytes) else run.buffers()
        for run in batch.runs
    ]


def _rows_of_one_size(packets: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """Group packets that follow each other, are of one size, and of one flow if TCP.

    Those that are many enough come as rows.
    """
    if isinstance(packets, PacketRows):
        yield packets
        return
    for size, group in groupby(packets, _size_and_flow):
        row = list(group)
        yield PacketRows.of(row) if len(row) >= MANY and size[0] else row


def _size_and_flow(packet: bytes) -> tuple[int, bytes]:
    return len(packet), packet[12:24] if packet[:1] == b"\x45" else packet[8:44]


def _payloads(packets: Sequence[bytes], end: int) -> bytes | memoryview:
    """Return the payloads of packets of one size as one piece."""
    if isinstance(packets, PacketRows):
        octets: bytes = packets.octets[:, end:].tobytes()
        return octets
    return memoryview(packets[0])[end:]


class _Batch:
    """What is joined so far: runs and packets that stand alone, in their order."""

    def __init__(self) -> None:
        self.runs: list[_Run | bytes] = []
        self._open: dict[bytes, _Run] = {}
        """The last run of each flow, if nothing of that flow came after it."""

    def take(self, packet: bytes) -> None:
        """Add one packet."""
        begin, end = _headers(packet)
        if not begin:
            self.runs.append(packet)
            return
        flow = _flow(packet, begin)
        if not end:  # a segment that stands alone: nothing after it may overtake it
            self._open.pop(flow, None)
            self.runs.append(packet)
            return
        run = self._open.get(flow)
        if run is None or run.end != end or not run.takes(packet):
            self._begin(_Run([packet], begin, end))

    def take_many(self, packets: PacketRows) -> bool:
        """Add packets of one size, if all of them are segments that may be joined."""
        begin, end = _headers(packets[0])
        pieces = runs_of(packets, begin, end) if end else []
        if not pieces:
            return False
        most = max(1, (LARGEST_PACKET - end) // (packets.size - end))
        for piece in pieces:
            for at in range(0, len(piece), most):
                self._begin(_Run(piece[at : at + most], begin, end))
        return True

    def _begin(self, run: _Run) -> None:
        self._open[_flow(run.first, run.begin)] = run
        self.runs.append(run)


def _flow(packet: bytes, begin: int) -> bytes:
    """Return addresses and ports."""
    return packet[12:24] if begin == IPV4_HEADER_SIZE else packet[8:44]


def _headers(packet: bytes) -> tuple[int, int]:
    """Tell where a segment's TCP header and payload begin.

    The first is 0 where it is no TCP or not simply so, the second where the segment is
    none that may be joined with others.
    """
    size = len(packet)
    if size < IPV4_HEADER_SIZE + TCP_HEADER_SIZE:
        return 0, 0
    if packet[0] == 0x45:
        begin = IPV4_HEADER_SIZE
        is_whole = not packet[6] & 0x3F and not packet[7]
        is_plain = packet[9] == IpProtocol.TCP and is_whole
        stated = _U16.unpack_from(packet, 2)[0]
    elif packet[0] >> 4 == 6 and size >= IPV6_HEADER_SIZE + TCP_HEADER_SIZE:
        begin = IPV6_HEADER_SIZE
        is_plain = packet[6] == IpProtocol.TCP
        stated = IPV6_HEADER_SIZE + _U16.unpack_from(packet, 4)[0]
    else:
        return 0, 0
    if not is_plain or stated != size:
        return 0, 0
    end = begin + (packet[begin + 12] >> 4) * 4
    is_candidate = (
        begin + TCP_HEADER_SIZE <= end < size
        and packet[begin + 13] & ~PSH == ACK
        and _is_intact(packet, begin)
    )
    return begin, end if is_candidate else 0


def _is_intact(packet: bytes, begin: int) -> bool:
    """Verify the checksums of IPv4 and TCP."""
    if begin == IPV4_HEADER_SIZE and checksum(packet[:begin]):
        return False
    segment = packet[begin:]
    return long_checksum(segment) == pseudo_sum(packet, len(segment))


def _sequence(packet: bytes, begin: int) -> int:
    number: int = _SEQUENCE.unpack_from(packet, begin + 4)[0]
    return number


def _identification(packet: bytes) -> int:
    """Return the Identification of IPv4; of IPv6 something without meaning."""
    number: int = _U16.unpack_from(packet, 4)[0]
    return number


__all__ = ["Buffers", "coalesce"]
