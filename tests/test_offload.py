"""Large segments: cut as the machine would, joined only where cutting restores all."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Packet, Raw

from iketcp.errors import MalformedPacketError
from iketcp.inner import checksum
from iketcp.offload import coalescing, rows, segmentation
from iketcp.offload.coalescing import coalesce
from iketcp.offload.rows import PacketRows
from iketcp.offload.segmentation import SMALLEST_SEGMENT
from iketcp.offload.vnet_header import (
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    VNET_HEADER_SIZE,
    Gso,
    VnetHeader,
    read_vnet_header,
)

VERSIONS = (4, 6)
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))]
ADDRESSES = {4: ("10.1.0.1", "10.2.0.2"), 6: ("2001:db8:a::1", "2001:db8:b::2")}


def ip(version: int, identification: int = 0, **fields: object) -> Packet:
    source, destination = ADDRESSES[version]
    if version == 4:
        v4 = {"flags": "DF", "id": identification & 0xFFFF, "ttl": 63}
        return IP(src=source, dst=destination, **(v4 | fields))
    v6 = {"fl": 0x12345, "hlim": 63}
    return IPv6(src=source, dst=destination, **(v6 | fields))


def tcp(sequence: int, flags: str = "A", **fields: object) -> Packet:
    values = {"sport": 5001, "dport": 80, "ack": 77, "window": 500} | fields
    options = values.pop("options", OPTIONS)
    return TCP(seq=sequence & 0xFFFFFFFF, flags=flags, options=options, **values)


def payload(size: int, seed: int = 1) -> bytes:
    return bytes(seed * at * 167 & 0xFF for at in range(size))


def begin_of(version: int) -> int:
    return 20 if version == 4 else 40


def large(version: int, octets: bytes, size: int, flags: str = "A") -> bytes:
    """What a machine hands over: a vnet header, and a segment yet to be cut."""
    begin = begin_of(version)
    packet = bytearray(bytes(ip(version, 0xFFFE) / tcp(0xFFFFFF00, flags) / octets))
    packet[begin + 16 : begin + 18] = b"\xde\xad"  # nobody relies on what is here
    gso = Gso.TCP_IPV4 if version == 4 else Gso.TCP_IPV6
    header = VnetHeader(NEEDS_CHECKSUM, gso, begin + 32, size, begin, 16)
    return header.write() + bytes(packet)


def stream(
    version: int, sizes: list[int], flags: str = "A", last: str = "A"
) -> list[bytes]:
    """Segments in a row, as scapy computes their checksums."""
    sequence, packets = 0xFFFFFF00, []
    for number, size in enumerate(sizes):
        own = last if number == len(sizes) - 1 else flags
        segment = tcp(sequence, own) / payload(size, number + 1)
        packets.append(bytes(ip(version, 0xFFFE + number) / segment))
        sequence += size
    return packets


def written(buffers: list[object]) -> list[bytes]:
    """What each write gives the device."""
    return [b"".join(each) for each in buffers]  # type: ignore[arg-type]


def split(octets: bytes) -> list[bytes]:
    """The packets in what one read of a device gave, one by one."""
    return list(itertools.chain.from_iterable(segmentation.split(octets)))


def cut(packets: list[bytes]) -> list[bytes]:
    """Join packets, then cut what came of it."""
    return [p for each in written(coalesce(packets)) for p in split(each)]  # type: ignore[arg-type]


# --- the header -------------------------------------------------------------------


def test_the_header_is_ten_octets_in_the_order_of_the_machine() -> None:
    header = VnetHeader(1, 0x81, 54, 1400, 20, 16)
    assert header.write() == struct.pack("=BBHHHH", 1, 0x81, 54, 1400, 20, 16)
    assert read_vnet_header(header.write() + b"more") == header
    assert header.gso == Gso.TCP_IPV4
    assert header.needs_checksum
    assert bytes(10) == NO_OFFLOAD


@pytest.mark.parametrize("size", range(VNET_HEADER_SIZE))
def test_a_header_cut_short_is_refused(size: int) -> None:
    with pytest.raises(MalformedPacketError, match="vnet header"):
        split(bytes(size))


# --- cutting ----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [8, 9, 100, 999, 1000, 5000])
@pytest.mark.parametrize("total", [0, 1, 1000, 4999])
def test_packets_are_what_scapy_makes(version: int, size: int, total: int) -> None:
    """Lengths, Identifications, sequence numbers past 2^32, and all checksums."""
    octets = payload(total)
    packets = split(large(version, octets, size))
    pieces = [octets[at : at + size] for at in range(0, total, size)] or [b""]
    assert packets == [
        bytes(ip(version, 0xFFFE + n) / tcp(0xFFFFFF00 + n * size) / piece)
        for n, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_flags_go_where_they_belong(version: int) -> None:
    """CWR to the first, FIN and PSH to the last, all others to each."""
    packets = split(large(version, payload(3000), 1000, "FPAUEC"))
    flags = [packet[begin_of(version) + 13] for packet in packets]
    assert [f"{flag:08b}" for flag in flags] == ["11110000", "01110000", "01111001"]


def test_the_ecn_bit_of_the_type_changes_nothing() -> None:
    plain = large(4, payload(3000), 1000, "AC")
    marked = plain[:1] + bytes([plain[1] | 0x80]) + plain[2:]
    assert split(marked) == split(plain)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_checksum_left_to_us_is_completed(version: int, kind: type[Packet]) -> None:
    """The field holds the sum of the pseudo header; afterwards all is right."""
    begin, offset = begin_of(version), 16 if kind is TCP else 6
    right = bytes(ip(version) / kind(sport=5, dport=7) / payload(33))
    blank = bytearray(right)
    blank[begin + offset : begin + offset + 2] = bytes(2)
    partial = checksum(bytes(blank[begin:])) - int.from_bytes(
        right[begin + offset : begin + offset + 2], "big"
    )
    blank[begin + offset : begin + offset + 2] = (partial % 0xFFFF).to_bytes(2, "big")
    header = VnetHeader(NEEDS_CHECKSUM, 0, 0, 0, begin, offset)
    assert split(header.write() + bytes(blank)) == [right]


def test_a_sum_of_zero_is_written_as_all_ones() -> None:
    """Zero in UDP's field would say that there is no checksum."""
    datagram = bytes.fromhex("0005 0007 000a ffff 0000")
    total = sum(struct.unpack(">5H", datagram))
    datagram = datagram[:8] + (-total % 0xFFFF).to_bytes(2, "big")
    header = VnetHeader(NEEDS_CHECKSUM, 0, 0, 0, 20, 6)
    (packet,) = split(header.write() + bytes(20) + datagram)
    assert packet[26:28] == b"\xff\xff"


def test_what_needs_nothing_stays_as_it_is() -> None:
    assert split(NO_OFFLOAD + b"anything") == [b"anything"]


@pytest.mark.parametrize("at", [0, 35, 39])
def test_a_checksum_outside_of_the_packet_is_refused(at: int) -> None:
    header = VnetHeader(NEEDS_CHECKSUM, 0, 0, 0, at, 40 - at - 1)
    with pytest.raises(MalformedPacketError, match="outside"):
        split(header.write() + bytes(40))


@pytest.mark.parametrize(
    "change",
    [
        {"gso_type": Gso.TCP_IPV6},
        {"gso_type": 3},
        {"gso_type": 5},
        {"flags": 0},
        {"checksum_start": 16},
        {"checksum_start": 24},
        {"checksum_start": 0xFFFF},
        {"gso_size": SMALLEST_SEGMENT - 1},
        {"gso_size": 0},
    ],
)
def test_a_header_that_does_not_fit_is_refused(change: dict[str, int]) -> None:
    octets = large(4, payload(3000), 1000)
    header = read_vnet_header(octets)._replace(**change)
    with pytest.raises(MalformedPacketError):
        split(header.write() + octets[VNET_HEADER_SIZE:])


@pytest.mark.parametrize("data_offset", [0, 4, 15])
def test_a_tcp_header_of_no_possible_size_is_refused(data_offset: int) -> None:
    octets = bytearray(large(6, b"", 1000))
    octets[VNET_HEADER_SIZE + 52] = data_offset << 4
    with pytest.raises(MalformedPacketError, match="no possible size"):
        split(bytes(octets))


@given(st.binary(max_size=100), st.integers(0, 3))
def test_any_octets_are_cut_or_refused(octets: bytes, kind: int) -> None:
    """No input raises anything but the error that says so."""
    gso = (0, 1, 4, 0x81)[kind]
    try:
        packets = split(bytes([NEEDS_CHECKSUM, gso]) + octets)
    except MalformedPacketError:
        return
    assert packets


# --- joining ----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 8, 999, 1348])
@pytest.mark.parametrize("tail", [0, 1, 7])
def test_a_run_becomes_one_segment(version: int, size: int, tail: int) -> None:
    """One write holds all, and cutting it gives the same packets again."""
    sizes = [size] * 5 + [min(tail, size)] * bool(tail)
    packets = stream(version, sizes, last="PA")
    (octets,) = written(coalesce(packets))
    header = read_vnet_header(octets)
    begin = begin_of(version)
    gso = Gso.TCP_IPV4 if version == 4 else Gso.TCP_IPV6
    assert header == (NEEDS_CHECKSUM, gso, begin + 32, size, begin, 16)
    whole = octets[VNET_HEADER_SIZE:]
    again = (IP if version == 4 else IPv6)(whole)
    assert bytes(again[Raw]) == b"".join(p[begin + 32 :] for p in packets)
    assert again[TCP].flags == "PA"
    if size >= SMALLEST_SEGMENT:
        assert split(octets) == packets


@pytest.mark.parametrize("version", VERSIONS)
def test_headers_of_a_joined_segment_are_right(version: int) -> None:
    """IPv4's checksum is whole; TCP's field has the sum of the pseudo header."""
    packets = stream(version, [100, 100, 40])
    (octets,) = written(coalesce(packets))
    whole = octets[VNET_HEADER_SIZE:]
    begin = begin_of(version)
    header = VnetHeader(NEEDS_CHECKSUM, 0, 0, 0, begin, 16)
    (completed,) = split(header.write() + whole)
    same = (
        ip(version, 0xFFFE)
        / tcp(0xFFFFFF00)
        / b"".join(p[begin + 32 :] for p in packets)
    )
    assert completed == bytes(same)


@pytest.mark.parametrize("version", VERSIONS)
def test_psh_ends_a_run(version: int) -> None:
    packets = stream(version, [100] * 6)
    pushed = stream(version, [100] * 3, last="PA")[2]
    packets[2] = pushed
    assert len(coalesce(packets)) == 2
    assert cut(packets) == packets


@pytest.mark.parametrize("version", VERSIONS)
def test_a_shorter_segment_ends_a_run(version: int) -> None:
    packets = stream(version, [100, 100, 60, 60, 100])
    assert len(coalesce(packets)) == 3
    assert cut(packets) == packets


def test_a_joined_segment_is_never_too_large() -> None:
    packets = stream(4, [1348] * 100)
    sizes = [len(each) for each in written(coalesce(packets))]
    assert len(sizes) == 3
    assert max(sizes) <= 0xFFFF + VNET_HEADER_SIZE
    assert cut(packets) == packets


DIFFERENCES = {
    "a hole": lambda v, n: ip(v, n) / tcp(1101) / payload(100),
    "a repetition": lambda v, n: ip(v, n) / tcp(1000) / payload(100),
    "a longer one": lambda v, n: ip(v, n) / tcp(1100) / payload(101),
    "FIN": lambda v, n: ip(v, n) / tcp(1100, "FA") / payload(100),
    "SYN": lambda v, n: ip(v, n) / tcp(1100, "S") / payload(100),
    "RST": lambda v, n: ip(v, n) / tcp(1100, "RA") / payload(100),
    "URG": lambda v, n: ip(v, n) / tcp(1100, "UA", urgptr=9) / payload(100),
    "ECE": lambda v, n: ip(v, n) / tcp(1100, "EA") / payload(100),
    "CWR": lambda v, n: ip(v, n) / tcp(1100, "CA") / payload(100),
    "AE": lambda v, n: ip(v, n) / tcp(1100, "NA") / payload(100),
    "no payload": lambda v, n: ip(v, n) / tcp(1100),
    "another acknowledgment": lambda v, n: ip(v, n) / tcp(1100, ack=78) / payload(100),
    "another window": lambda v, n: ip(v, n) / tcp(1100, window=501) / payload(100),
    "another urgent pointer": lambda v, n: (
        ip(v, n) / tcp(1100, urgptr=1) / payload(100)
    ),
    "another timestamp": lambda v, n: (
        ip(v, n)
        / tcp(1100, options=[*OPTIONS[:2], ("Timestamp", (8, 9))])
        / payload(100)
    ),
    "no options": lambda v, n: ip(v, n) / tcp(1100, options=[]) / payload(100),
    "another port": lambda v, n: ip(v, n) / tcp(1100, sport=5002) / payload(100),
    "a wrong TCP checksum": lambda v, n: (
        ip(v, n) / tcp(1100, chksum=0x1234) / payload(100)
    ),
    "UDP": lambda v, n: ip(v, n) / UDP(sport=5001, dport=80) / payload(100),
}
DIFFERENCES_IPV4 = {
    "a wrong IPv4 checksum": {"chksum": 0x1234},
    "another TTL": {"ttl": 62},
    "another DSCP": {"tos": 0x20},
    "CE": {"tos": 3},
    "no DF": {"flags": 0},
    "a fragment": {"flags": "MF"},
    "a later fragment": {"frag": 3},
    "an option": {"options": b"\x01\x01\x01\x00"},
    "another length": {"len": 151},
}
DIFFERENCES_IPV6 = {
    "another hop limit": {"hlim": 62},
    "another class": {"tc": 3},
    "another Flow Label": {"fl": 1},
    "another length": {"plen": 131},
}


def apart(version: int, odd: bytes) -> None:
    """One comes, then the odd one, then one that would have gone on from the first."""
    first = bytes(ip(version, 1) / tcp(1000) / payload(100))
    packets = [first, odd]
    assert written(coalesce(packets)) == [NO_OFFLOAD + p for p in packets]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_differs_stays_apart(version: int, name: str) -> None:
    apart(version, bytes(DIFFERENCES[name](version, 2)))


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        *((4, fields) for fields in DIFFERENCES_IPV4.values()),
        *((6, fields) for fields in DIFFERENCES_IPV6.values()),
    ],
    ids=[*DIFFERENCES_IPV4, *DIFFERENCES_IPV6],
)
def test_what_differs_in_ip_stays_apart(
    version: int, fields: dict[str, object]
) -> None:
    apart(version, bytes(ip(version, 2, **fields) / tcp(1100) / payload(100)))


def test_an_extension_header_stays_apart() -> None:
    apart(6, bytes(ip(6) / IPv6ExtHdrDestOpt() / tcp(1100) / payload(100)))


def test_data_offsets_out_of_range_stay_apart() -> None:
    """Below TCP's header, and beyond the packet."""
    for data_offset in (4, 15):
        segment = tcp(1100, dataofs=data_offset) / payload(10)
        apart(4, bytes(ip(4, 2) / segment))


@pytest.mark.parametrize("octets", [b"", b"\x45", bytes(60), b"\x60" + bytes(40)])
def test_what_is_no_packet_stays_as_it_is(octets: bytes) -> None:
    assert written(coalesce([octets])) == [NO_OFFLOAD + octets]


def test_identifications_have_to_count_up_where_they_mean_something() -> None:
    """Without Don't Fragment a packet may be fragmented yet, and needs its own."""

    def packets(flags: int | str, second: int) -> list[bytes]:
        return [
            bytes(ip(4, 1, flags=flags) / tcp(1000) / payload(100)),
            bytes(ip(4, second, flags=flags) / tcp(1100) / payload(100)),
        ]

    assert len(coalesce(packets(0, 2))) == 1
    assert len(coalesce(packets(0, 3))) == 2
    assert len(coalesce(packets("DF", 0))) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_flows_that_alternate_are_joined_each(version: int) -> None:
    one = stream(version, [100] * 4)
    other = [
        bytes(ip(version, 9 + n) / tcp(n * 100, sport=9) / payload(100))
        for n in range(4)
    ]
    mixed = [p for pair in zip(one, other, strict=True) for p in pair]
    assert len(coalesce(mixed)) == 2
    assert cut(mixed)[:4] == one
    assert len(cut(mixed)) == 8


@pytest.mark.parametrize("flags", ["FA", "A"])
def test_nothing_overtakes_within_a_flow(flags: str) -> None:
    """A FIN, or a segment without payload, comes between two runs; so it stays."""
    before = stream(4, [100, 100])
    alone = bytes(ip(4, 5) / tcp(0xFFFFFF00 + 200, flags))
    after = [
        bytes(ip(4, 6 + n) / tcp(0xFFFFFF00 + 200 + 100 * n) / payload(100))
        for n in range(2)
    ]
    assert cut([*before, alone, *after]) == [*before, alone, *after]
    assert len(coalesce([*before, alone, *after])) == 3


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_octets_are_handed_over(packets: list[bytes]) -> None:
    for first in (b"", b"\x45", b"\x60"):
        batch = [first + packet for packet in packets]
        assert written(coalesce(batch)) == [NO_OFFLOAD + p for p in batch]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([4, 6]),
            st.integers(1, 3),
            st.sampled_from([8, 60, 100]),
            st.sampled_from(["A", "A", "A", "PA", "FA", "EA"]),
            st.sampled_from([0, 0, 0, 5]),
        ),
        max_size=30,
    )
)
def test_nothing_is_lost_or_changed(
    steps: list[tuple[int, int, int, str, int]],
) -> None:
    """Whatever the mixture: each flow's packets come out as they went in."""
    at = {}
    packets, flows = [], []
    for version, port, size, flags, hole in steps:
        sequence, number = at.get((version, port), (1000, 1))
        sequence += hole
        segment = tcp(sequence, flags, sport=port) / payload(size)
        packets.append(bytes(ip(version, number) / segment))
        flows.append((version, port))
        at[version, port] = sequence + size, number + 1
    found = cut(packets)
    assert sorted(found) == sorted(packets)
    for flow in set(flows):
        own = [p for p, f in zip(packets, flows, strict=True) if f == flow]
        assert [p for p in found if p in own] == own


# --- many at once -----------------------------------------------------------------


def one_by_one(packets: list[bytes]) -> list[bytes]:
    """What a batch becomes if no packets are looked at together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coalescing, "MANY", len(packets) + 1)
        return written(coalesce(packets))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("at", [0, 1, 5, 11])
@pytest.mark.parametrize("name", [*DIFFERENCES, "PSH", "nothing"])
def test_many_are_joined_as_each_would_be(version: int, at: int, name: str) -> None:
    """Whatever differs in one of many, and wherever."""
    packets = stream(version, [100] * 12)
    if name == "PSH":
        packets[at] = stream(version, [100] * (at + 1), last="PA")[-1]
    elif name != "nothing":
        packets[at] = bytes(DIFFERENCES[name](version, 2))
    assert written(coalesce(packets)) == one_by_one(packets)


@pytest.mark.parametrize("at", [0, 1, 5, 11])
@pytest.mark.parametrize(
    ("version", "fields"),
    [
        *((4, fields) for fields in DIFFERENCES_IPV4.values()),
        *((6, fields) for fields in DIFFERENCES_IPV6.values()),
    ],
    ids=[*DIFFERENCES_IPV4, *DIFFERENCES_IPV6],
)
def test_many_that_differ_in_ip(
    version: int, at: int, fields: dict[str, object]
) -> None:
    packets = stream(version, [100] * 12)
    segment = tcp(0xFFFFFF00 + 100 * at) / payload(100, at + 1)
    packets[at] = bytes(ip(version, 0xFFFE + at, **fields) / segment)
    assert written(coalesce(packets)) == one_by_one(packets)


def test_many_identifications_count_up() -> None:
    """Past 2^16, with a hole among them, where Don't Fragment is clear."""
    numbers = [0xFFFE, 0xFFFF, 0, 1, 3, 4, 5]
    packets = [
        bytes(ip(4, number, flags=0) / tcp(100 * n) / payload(100))
        for n, number in enumerate(numbers)
    ]
    assert len(coalesce(packets)) == 2
    assert written(coalesce(packets)) == one_by_one(packets)
    assert cut(packets) == packets


@pytest.mark.parametrize("version", VERSIONS)
def test_a_shorter_one_joins_the_many_before_it(version: int) -> None:
    packets = stream(version, [1001] * 9 + [7])
    assert len(coalesce(packets)) == 1
    assert cut(packets) == packets


def test_icmp_is_handed_over_as_it_is() -> None:
    ping = bytes(ip(4) / ICMP() / payload(56))
    assert written(coalesce([ping, ping])) == [NO_OFFLOAD + ping] * 2


def test_batches_have_nothing_to_do_with_each_other() -> None:
    """What was joined once is not waited for again."""
    packets = stream(4, [100] * 4)
    halves = [coalesce(packets[:2]), coalesce(packets[2:])]
    assert [len(half) for half in halves] == [1, 1]
    assert [p for half in halves for each in written(half) for p in split(each)] == (
        packets
    )
    assert list(itertools.chain(*map(cut, (packets[:2], packets[2:])))) == packets


def test_rows_are_joined_as_the_same_packets_are() -> None:
    """What was opened together comes as rows already."""
    packets = stream(4, [600] * 9)
    rows = PacketRows.of(packets)
    assert written(coalesce(rows)) == written(coalesce(packets))
    assert rows == packets
    assert rows[2:4] == packets[2:4]
    assert rows != packets[1:]
    assert repr(rows) == "PacketRows(9 packets of 652 octets)"


@pytest.mark.parametrize("size", [9, 1000, 64000])
def test_rows_that_are_no_segments_are_written_one_by_one(size: int) -> None:
    for count in (1, 9):
        packets = [bytes(ip(4) / UDP(sport=1, dport=2) / payload(size))] * count
        found = written(coalesce(PacketRows.of(packets)))
        assert found == [NO_OFFLOAD + packet for packet in packets]


# --- several reads ------------------------------------------------------------------


def reads_of(version: int, count: int, size: int = 100, pieces: int = 3) -> list[bytes]:
    """Large segments that follow each other, each with headers of its own."""
    reads = []
    for number in range(count):
        octets = payload(size * pieces, number + 1)
        fields = {"tos" if version == 4 else "tc": number % 2}
        flags = ("A", "PA", "FA", "CA")[number % 4]
        sequence = 0xFFFFFF00 + number * len(octets)
        segment = tcp(sequence, flags, ack=number, window=500 + number) / octets
        packet = bytes(ip(version, 0xFFF0 + 5 * number, **fields) / segment)
        gso = Gso.TCP_IPV4 if version == 4 else Gso.TCP_IPV6
        begin = begin_of(version)
        header = VnetHeader(NEEDS_CHECKSUM, gso, begin + 32, size, begin, 16)
        reads.append(header.write() + packet)
    return reads


@pytest.mark.parametrize("version", VERSIONS)
def test_segments_are_cut_together_as_one_by_one(version: int) -> None:
    """Every field that may differ between them does."""
    reads = reads_of(version, 8)
    runs, broken = segmentation.split_all(reads)
    assert broken == 0
    assert [type(run) for run in runs] == [PacketRows]
    assert list(runs[0]) == [packet for octets in reads for packet in split(octets)]


def test_only_what_is_alike_is_cut_together() -> None:
    """Another flow, size or kind, a shorter last packet, or nonsense, in between."""
    same = reads_of(4, 2)
    tail = large(4, payload(250), 100)
    other = large(6, payload(300), 100)
    alone = NO_OFFLOAD + b"anything"
    broken = bytes([NEEDS_CHECKSUM, 9]) + bytes(60)
    reads = [alone, *same, other, *same, tail, tail, alone, alone, broken, *same]
    reads.append(b"short")
    runs, count = segmentation.split_all(reads)
    assert count == 2
    assert [len(run) for run in runs] == [1, 6, 3, 6, 2, 1, 2, 3, 6]
    whole = [octets for octets in reads if octets not in (broken, b"short")]
    expected = [packet for octets in whole for packet in split(octets)]
    assert [packet for run in runs for packet in run] == expected


@given(
    st.lists(st.tuples(st.sampled_from(VERSIONS), st.integers(1, 500)), max_size=6),
    st.sampled_from([8, 9, 100]),
)
def test_any_segments_together(shapes: list[tuple[int, int]], size: int) -> None:
    reads = [large(version, payload(octets), size) for version, octets in shapes]
    runs, broken = segmentation.split_all(reads)
    assert broken == 0
    expected = [packet for octets in reads for packet in split(octets)]
    assert [packet for run in runs for packet in run] == expected


@pytest.mark.parametrize("size", [1, 99, 100, 101, 250, 300])
def test_a_segment_says_how_many_packets_it_will_be(size: int) -> None:
    octets = large(4, payload(size), 100)
    assert segmentation.size_in_packets(octets) == len(split(octets))
    assert segmentation.size_in_packets(NO_OFFLOAD + payload(size)) == 1
    assert segmentation.size_in_packets(b"") == 1


@given(st.binary(max_size=1500), st.integers(0, 2000))
def test_a_long_checksum_is_the_same_number(octets: bytes, zeros: int) -> None:
    octets += bytes(zeros)
    assert rows.long_checksum(octets) == checksum(octets)
