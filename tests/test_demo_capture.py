"""Capture files, reassembled streams, and the same messages as UDP."""

import io
import random
import shutil
import struct
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from iketcp.capture.pcapng import (
    ETHERNET,
    OUTBOUND,
    RAW_IP,
    Packet,
    PcapngError,
    PcapngWriter,
    read_packets,
)
from iketcp.capture.rewrap import CapturedMessage, messages, rewrap, udp_packet
from iketcp.capture.segments import Direction, Reassembler, parse_segment
from iketcp.stream import STREAM_PREFIX, MessageKind, frame_esp, frame_ike
from namespaces import require_or_skip

WEST, EAST = "192.0.2.1", "192.0.2.2"
IKE = bytes(range(28))
ESP = b"\1\2\3\4" + bytes(40)
OTHER_ESP = b"\5\6\7\x08" + bytes(30)


def written(*packets: Packet) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    link_types = sorted({packet.link_type for packet in packets})
    numbers = {
        link_type: writer.add_interface(f"if{link_type}", link_type=link_type)
        for link_type in link_types
    }
    for packet in packets:
        number = numbers[packet.link_type]
        writer.add_packet(number, packet.nanoseconds, packet.octets)
    return stream.getvalue()


def frame(octets: bytes, seq: int, flags: str = "A", to_east: bool = True) -> Packet:
    """An Ethernet frame with a TCP segment, as scapy makes it."""
    ends = ("192.0.2.1", "192.0.2.2") if to_east else ("192.0.2.2", "192.0.2.1")
    ports = (40000, 4500) if to_east else (4500, 40000)
    made = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src=ends[0], dst=ends[1])
        / TCP(sport=ports[0], dport=ports[1], seq=seq % (1 << 32), flags=flags)
        / octets
    )
    return Packet(seq, bytes(made))


# --- pcapng -------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            Packet,
            st.integers(0, 2**63),
            st.binary(max_size=100),
            st.sampled_from([ETHERNET, RAW_IP]),
        )
    )
)
def test_what_is_written_is_read(packets: list[Packet]) -> None:
    """Every packet comes back with its time, octets and link type."""
    assert list(read_packets(io.BytesIO(written(*packets)))) == packets


def test_wireshark_reads_every_block(tmp_path: Path) -> None:
    """Name, times to the nanosecond, direction, and the count of what was missed."""
    require_or_skip(shutil.which("tshark") is not None, "tshark is not installed")
    path = tmp_path / "test.pcapng"
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, "iketcp test")
        number = writer.add_interface("to-east")
        octets = memoryview(frame(b"abc", 1).octets)
        writer.add_packet(number, 1_700_000_000_123_456_789, octets, 2000, OUTBOUND)
        writer.add_statistics(number, 1_700_000_001_000_000_000, 7, 6)
    fields = (
        *("frame.interface_name", "frame.time_epoch", "frame.len", "frame.cap_len"),
        *("frame.packet_flags_direction", "tcp.dstport"),
    )
    options = [option for field in fields for option in ("-e", field)]
    found = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    values = found.stdout.rstrip("\n").split("\t")
    assert values[:4] == ["to-east", "1700000000.123456789", "2000", str(len(octets))]
    assert int(values[4], 0) == OUTBOUND
    assert values[5] == "4500"


def test_scapy_reads_the_packets(tmp_path: Path) -> None:
    """A second independent reader agrees."""
    path = tmp_path / "test.pcapng"
    path.write_bytes(written(frame(b"abc", 1), frame(b"defg", 4)))
    with RawPcapNgReader(str(path)) as reader:
        assert [data for data, _ in reader] == [
            frame(b"abc", 1).octets,
            frame(b"defg", 4).octets,
        ]


@pytest.mark.parametrize("size", [4, 30, 70, -1])
def test_a_file_cut_off_is_refused(size: int) -> None:
    """The end inside a block is an error, not a shorter capture."""
    octets = written(frame(b"abc", 1))
    with pytest.raises(PcapngError):
        list(read_packets(io.BytesIO(octets[:size])))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    """Whatever the file holds, only PcapngError comes out, or packets."""
    start = written()
    for octets in (noise, start + noise):
        try:
            assert not list(read_packets(io.BytesIO(octets))) or octets != noise
        except PcapngError:
            continue


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d", "big-endian"),
        (b"\x09\0\x01\0\x09", b"\x09\0\x01\0\x03", "time"),
    ],
)
def test_what_we_do_not_read_is_said(old: bytes, new: bytes, why: str) -> None:
    """Byte order and clock unit are checked, not guessed."""
    octets = written(frame(b"abc", 1))
    assert old in octets
    with pytest.raises(PcapngError, match=why):
        list(read_packets(io.BytesIO(octets.replace(old, new))))


def test_without_a_unit_time_is_in_microseconds() -> None:
    """The default of the format, where an interface does not say otherwise."""
    stream = io.BytesIO()
    PcapngWriter(stream)
    block = struct.pack("<IIHHII", 1, 20, RAW_IP, 0, 0, 20)
    packet = struct.pack("<IIIIIII", 6, 36, 0, 0, 5, 4, 4) + b"abcd" + b"\x24\0\0\0"
    octets = stream.getvalue() + block + packet
    (found,) = read_packets(io.BytesIO(octets))
    assert found == Packet(5000, b"abcd", RAW_IP)


# --- segments -------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=300), st.data())
def test_segments_come_in_order_once(stream: bytes, data: st.DataObject) -> None:
    """Cut, repeated, overlapping and shuffled: the octets are the same."""
    start = data.draw(st.sampled_from([7, 2**32 - 20]))
    ends = st.integers(0, len(stream))
    ranges = data.draw(st.lists(st.tuples(ends, ends), max_size=20))
    pieces = [(min(pair), max(pair)) for pair in ranges]
    pieces += [(at, min(at + 50, len(stream))) for at in range(0, len(stream), 50)]
    random.Random(data.draw(st.integers())).shuffle(pieces)
    reassembler = Reassembler()
    (begun,) = reassembler.feed(frame(b"", start, "S"))
    assert begun.is_start
    assert begun.is_from_originator
    found = b"".join(
        part.octets
        for first, last in pieces
        for part in reassembler.feed(frame(stream[first:last], start + 1 + first))
    )
    assert found == stream


def test_a_repeated_syn_changes_nothing() -> None:
    """Only another sequence number begins another connection."""
    reassembler = Reassembler()
    assert len(reassembler.feed(frame(b"", 5, "S"))) == 1
    assert reassembler.feed(frame(b"", 5, "S")) == []
    assert len(reassembler.feed(frame(b"", 500, "S"))) == 1


def test_a_connection_without_its_syn_is_left_out() -> None:
    """Nobody can tell where its stream begins."""
    assert Reassembler().feed(frame(b"abc", 5)) == []


def test_segments_in_ipv6_are_found() -> None:
    """Addresses, ports and octets, over IPv6 and without Ethernet."""
    made = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(
        sport=1, dport=4500, seq=9, flags="PA"
    )
    segment = parse_segment(Packet(0, bytes(made / b"abc"), RAW_IP))
    assert segment is not None
    assert segment.octets == b"abc"
    assert segment.direction.source == IPv6Address("2001:db8::1")
    assert (segment.direction.source_port, segment.sequence) == (1, 9)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(0, b""),
        Packet(0, b"", RAW_IP),
        Packet(0, b"\x45", RAW_IP),
        Packet(0, bytes(IP() / UDP() / b"abc"), RAW_IP),
        Packet(0, bytes(IPv6() / UDP() / b"abc"), RAW_IP),
        Packet(0, bytes(IP(flags="MF") / TCP()), RAW_IP),
        Packet(0, bytes(IP() / TCP())[:30], RAW_IP),
        Packet(0, b"abc", 7),
    ],
)
def test_what_is_no_segment_is_none(packet: Packet) -> None:
    """Other protocols, fragments and stumps are passed over."""
    assert parse_segment(packet) is None


# --- rewrapping -------------------------------------------------------------------


def conversation() -> list[Packet]:
    """A connection: prefix, IKE both ways, two ESP SAs, a keepalive."""
    there = STREAM_PREFIX + frame_ike(IKE) + frame_esp(ESP) + frame_esp(b"\xff")
    there += frame_esp(ESP) + frame_esp(OTHER_ESP)
    back = frame_ike(IKE[::-1])
    return [
        frame(b"", 100, "S"),
        frame(b"", 900, "SA", to_east=False),
        frame(there[:9], 101),
        frame(back, 901, to_east=False),
        frame(there[9:], 110),
    ]


def test_messages_are_found_in_the_stream() -> None:
    """RFC 9329 §3: prefix, Lengths and keepalives are gone, the messages are left."""
    found = [
        (message.kind, message.octets, str(message.direction.source))
        for message in messages(conversation())
    ]
    assert found == [
        (MessageKind.IKE, IKE[::-1], EAST),
        (MessageKind.IKE, IKE, WEST),
        (MessageKind.ESP, ESP, WEST),
        (MessageKind.ESP, ESP, WEST),
        (MessageKind.ESP, OTHER_ESP, WEST),
    ]


def test_other_ports_are_passed_over() -> None:
    """A connection that is not to the given port holds no messages."""
    assert list(messages(conversation(), port=443)) == []


@pytest.mark.parametrize("version", [4, 6])
def test_udp_packets_are_right(version: int) -> None:
    """RFC 3948 §2.2: the marker before IKE, and checksums an independent tool finds."""
    ends = {
        4: (IPv4Address(WEST), IPv4Address(EAST)),
        6: (IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")),
    }[version]
    way = Direction(ends[0], 40000, ends[1], 4500)
    made = udp_packet(CapturedMessage(0, way, MessageKind.IKE, IKE))
    layer = {4: IP, 6: IPv6}[version]
    parsed = layer(made)
    assert (parsed.src, parsed.dst) == (str(ends[0]), str(ends[1]))
    assert (parsed[UDP].sport, parsed[UDP].dport) == (4500, 4500)
    assert bytes(parsed[UDP].payload) == bytes(4) + IKE
    again = layer(made)
    if version == 4:
        assert parsed[UDP].chksum == 0
        del again.chksum
    else:
        del again[UDP].chksum
    assert bytes(again) == made


def test_a_message_too_long_for_udp_is_refused() -> None:
    """A TCP stream carries 65,533 octets, a UDP packet a few less."""
    way = Direction(IPv4Address(WEST), 1, IPv4Address(EAST), 4500)
    with pytest.raises(ValueError, match="65533"):
        udp_packet(CapturedMessage(0, way, MessageKind.ESP, bytes(65533)))


def test_rewrap_counts_and_limits(tmp_path: Path) -> None:
    """The limit is for each SA and direction, and spares IKE messages."""
    captured, rewrapped = tmp_path / "tcp.pcapng", tmp_path / "udp.pcapng"
    captured.write_bytes(written(*conversation()))
    assert rewrap(captured, rewrapped) == {MessageKind.IKE: 2, MessageKind.ESP: 3}
    counts = rewrap(captured, rewrapped, esp_limit=1)
    assert counts == {MessageKind.IKE: 2, MessageKind.ESP: 2}
    with rewrapped.open("rb") as stream:
        kinds = [bytes(IP(each.octets)[UDP].payload) for each in read_packets(stream)]
    assert kinds == [bytes(4) + IKE[::-1], bytes(4) + IKE, ESP, OTHER_ESP]


def test_rewrap_leaves_out_what_udp_cannot_carry(tmp_path: Path) -> None:
    """No packet is better than one that claims another size."""
    stream = STREAM_PREFIX + frame_esp(b"\1" * 65533)
    pieces = [
        frame(stream[at : at + 60000], 101 + at) for at in range(0, len(stream), 60000)
    ]
    captured = tmp_path / "tcp.pcapng"
    captured.write_bytes(written(frame(b"", 100, "S"), *pieces))
    assert not rewrap(captured, tmp_path / "udp.pcapng")
