"""Inner packets: flows, keys, checksums, and answers to packets too big."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from esp_support import ipv4, ipv6, packed, ports
from iketcp.errors import MalformedPacketError
from iketcp.inner import (
    MAX_EXTENSION_HEADERS,
    Flow,
    checksum,
    flow_key,
    next_layer,
    packet_too_big,
    parse_flow,
)

SOURCE4, DESTINATION4 = packed("10.1.0.1"), packed("10.2.0.1")
SOURCE6, DESTINATION6 = packed("2001:db8:1::1"), packed("2001:db8:2::1")
UDP_START = ports(1000, 53)
DF = 0x4000


def flow4(protocol: int, source: int | None, destination: int | None) -> Flow:
    return Flow(4, protocol, SOURCE4, DESTINATION4, source, destination)


def flow6(protocol: int | None, source: int | None, destination: int | None) -> Flow:
    return Flow(6, protocol, SOURCE6, DESTINATION6, source, destination)


def chain(*headers: tuple[int, bytes], last: int, payload: bytes = b"") -> bytes:
    """IPv6 packet with extension headers of 8 octets or more, each without type."""
    kinds = [kind for kind, _ in headers] + [last]
    octets = b"".join(
        bytes([following]) + body
        for (_, body), following in zip(headers, kinds[1:], strict=True)
    )
    return ipv6(octets + payload, protocol=kinds[0])


HOP = (0, b"\0" + bytes(6))
ROUTING = (43, b"\x01" + bytes(14))
OPTIONS = (60, b"\0" + bytes(6))
FIRST = (44, b"\0\0\x01\0\0\0\x09")
LATER = (44, b"\0\0\x09\0\0\0\x09")
LATER_HIGH = (44, b"\0\x01\x01\0\0\0\x09")
ATOMIC = (44, b"\0\0\0\0\0\0\x09")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ipv4(UDP_START), flow4(17, 1000, 53)),
        (ipv4(UDP_START, protocol=6), flow4(6, 1000, 53)),
        (ipv4(UDP_START, protocol=132), flow4(132, 1000, 53)),
        (ipv4(UDP_START, options=bytes(8)), flow4(17, 1000, 53)),
        (ipv4(UDP_START, fragment=DF), flow4(17, 1000, 53)),
        (ipv4(UDP_START, fragment=0x2000), flow4(17, 1000, 53)),
        (ipv4(UDP_START, fragment=0x2001), flow4(17, None, None)),
        (ipv4(UDP_START, fragment=0x0100), flow4(17, None, None)),
        (ipv4(UDP_START[:3]), flow4(17, None, None)),
        (ipv4(b"\x08\x00\xff\xff", protocol=1), flow4(1, 0x0800, 0x0800)),
        (ipv4(b"\x03\x04", protocol=1), flow4(1, 0x0304, 0x0304)),
        (ipv4(b"\x08", protocol=1), flow4(1, None, None)),
        (ipv4(UDP_START, protocol=50), flow4(50, None, None)),
        (ipv6(UDP_START), flow6(17, 1000, 53)),
        (ipv6(b"\x80\x00\xff\xff", protocol=58), flow6(58, 0x8000, 0x8000)),
        (ipv6(b"\x3b\x00\x05\x00", protocol=135), flow6(135, 0x0500, 0x0500)),
        (ipv6(protocol=59), flow6(59, None, None)),
        (ipv6(UDP_START, protocol=51), flow6(51, None, None)),
        (chain(HOP, last=17, payload=UDP_START), flow6(17, 1000, 53)),
        (chain(HOP, ROUTING, OPTIONS, last=6, payload=UDP_START), flow6(6, 1000, 53)),
        (chain(HOP, FIRST, last=17, payload=UDP_START), flow6(17, 1000, 53)),
        (chain(ATOMIC, last=17, payload=UDP_START), flow6(17, 1000, 53)),
        (chain(LATER, last=17, payload=UDP_START), flow6(17, None, None)),
        (chain(LATER_HIGH, last=17, payload=UDP_START), flow6(17, None, None)),
        (chain(LATER, last=60, payload=bytes(8)), flow6(None, None, None)),
        (chain(FIRST, last=60, payload=bytes(4)), flow6(None, None, None)),
        (chain(FIRST, (60, b"\x09" + bytes(6)), last=17), flow6(None, None, None)),
        (chain(*[HOP] * MAX_EXTENSION_HEADERS, last=59), flow6(59, None, None)),
    ],
)
def test_flows(packet: bytes, expected: Flow) -> None:
    """RFC 4301 §4.4.1.1, §7."""
    assert parse_flow(packet) == expected


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        ipv4()[:19],
        ipv6()[:39],
        b"\x35" + ipv4()[1:],
        b"\x44" + ipv4()[1:],
        b"\x46" + ipv4()[1:],
        ipv4(b"abc")[:-1],
        ipv4(b"abc") + b"d",
        ipv6(b"abc")[:-1],
        ipv6(b"abc") + b"d",
        ipv6(b"\x11\0\0\0", protocol=0),
        ipv6(protocol=60),
        ipv6(b"\x11\x01" + bytes(6), protocol=43),
        ipv6(b"\x11\0\0\x01", protocol=44),
        chain(ATOMIC, (60, b"\x09" + bytes(6)), last=17),
        chain(*[HOP] * (MAX_EXTENSION_HEADERS + 1), last=59),
    ],
)
def test_malformed_packets(packet: bytes) -> None:
    """Lengths that do not add up, and chains without end."""
    with pytest.raises(MalformedPacketError):
        parse_flow(packet)


protocols = st.sampled_from([1, 6, 17, 47, 50, 58, 132, 135])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Packets that often share what decides their flow."""
    octets = draw(st.sampled_from([b"", b"\x01", bytes(3), bytes(4), UDP_START]))
    source = draw(st.sampled_from(["10.1.0.1", "0.0.0.0"]))
    if draw(st.booleans()):
        return ipv4(
            octets,
            source=source,
            protocol=draw(protocols),
            fragment=draw(st.sampled_from([0, DF, 0x2000, 1, 0x8000])),
            options=bytes(draw(st.sampled_from([0, 4]))),
        )
    kind = draw(st.one_of(protocols, st.sampled_from([0, 44])))
    headers = [HOP] if kind == 0 else [FIRST] if kind == 44 else []
    if headers:
        return chain(*headers, last=draw(protocols), payload=octets)
    return ipv6(octets, source=f"::{source}", protocol=kind)


@given(
    packet=st.one_of(packets(), st.binary(max_size=60)),
    changes=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 60),
)
def test_any_octets_parse_or_are_malformed(
    packet: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    """Nothing unexpected comes out of any octets."""
    octets = bytearray(packet)
    for at, value in changes:
        octets[at : at + 1] = bytes([value])
    for tried in (bytes(octets), bytes(octets[:cut])):
        assert isinstance(flow_key(tried), bytes)
        with suppress(MalformedPacketError):
            parse_flow(tried)
        with suppress(MalformedPacketError):
            packet_too_big(tried, 1280)


@given(one=packets(), other=packets())
def test_equal_keys_mean_equal_flows(one: bytes, other: bytes) -> None:
    """What the cache says is what a closer look would say."""
    if flow_key(one) and flow_key(one) == flow_key(other):
        assert parse_flow(one) == parse_flow(other)


def test_key_of_common_packets() -> None:
    """They have one, and it does not change with TTL, ID, payload or ECN."""
    changed = bytearray(ipv4(UDP_START, fragment=DF))
    changed[1], changed[4], changed[8], changed[10], changed[-1] = 3, 9, 9, 9, 9
    assert flow_key(bytes(changed)) == flow_key(ipv4(UDP_START)) != b""
    changed = bytearray(ipv6(UDP_START))
    changed[1], changed[7], changed[-1] = 0x30, 9, 9
    assert flow_key(bytes(changed)) == flow_key(ipv6(UDP_START)) != b""
    assert flow_key(ipv4(UDP_START)) != flow_key(ipv4(ports(1000, 54)))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        ipv4()[:19],
        ipv6()[:30],
        ipv4(options=bytes(4)),
        ipv4(fragment=0x2000),
        ipv4(fragment=1),
        chain(HOP, last=59),
        b"\x50" + bytes(60),
    ],
)
def test_no_key_where_a_closer_look_is_needed(packet: bytes) -> None:
    assert flow_key(packet) == b""


def test_next_layer_of_both_versions() -> None:
    """RFC 4301 §4.4.1.1: whatever comes after any extension headers."""
    assert next_layer(ipv4(options=bytes(4))) == (17, 24)
    assert next_layer(chain(HOP, last=6)) == (6, 48)


@given(octets=st.binary(min_size=1, max_size=80))
def test_checksum_is_the_sum_of_words(octets: bytes) -> None:
    """16-bit words added with end-around carry, then complemented."""
    padded = octets + bytes(len(octets) % 2)
    total = sum(padded[n] << 8 | padded[n + 1] for n in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    if total:
        assert checksum(octets) == 0xFFFF - total


# --- packets too big ----------------------------------------------------------


def big4(**changes: object) -> bytes:
    fields: dict[str, object] = {"dst": "10.2.0.1", "src": "10.1.0.1", "flags": "DF"}
    return bytes(IP(**(fields | changes)) / UDP(sport=7, dport=9) / bytes(1500))


def test_ipv4_gets_fragmentation_needed() -> None:
    """RFC 4301 §8.2.1 case 1: type 3, code 4, next-hop MTU, correct checksums."""
    packet = big4()
    answer = packet_too_big(packet, 1400)
    assert answer is not None
    assert len(answer) == 576
    assert checksum(answer[:20]) == 0
    assert checksum(answer[20:]) == 0
    outer = IP(src="10.2.0.1", dst="10.1.0.1", id=0, flags="DF", ttl=64)
    icmp = ICMP(type=3, code=4, nexthopmtu=1400)
    assert answer == bytes(outer / icmp / Raw(packet[: 576 - 28]))


def test_ipv6_gets_packet_too_big() -> None:
    """RFC 4301 §8.2.1 case 3: type 2, code 0, MTU, checksum with pseudo-header."""
    packet = bytes(IPv6(src="2001:db8:1::1", dst="2001:db8:2::1") / UDP() / bytes(1500))
    answer = packet_too_big(packet, 1300)
    assert answer is not None
    assert len(answer) == 1280
    outer = IPv6(src="2001:db8:2::1", dst="2001:db8:1::1", hlim=64)
    icmp = ICMPv6PacketTooBig(mtu=1300)
    assert answer == bytes(outer / icmp / Raw(packet[: 1280 - 48]))


def test_source_can_be_given() -> None:
    answer = packet_too_big(big4(), 1400, packed("10.1.0.254"))
    assert answer is not None
    assert IP(answer).src == "10.1.0.254"


def test_small_packets_are_quoted_whole_and_large_mtu_is_cut() -> None:
    """The field has 16 bits."""
    packet = ipv4(UDP_START, fragment=DF)
    answer = packet_too_big(packet, 70000)
    assert answer is not None
    assert answer.endswith(packet)
    assert answer[26:28] == b"\xff\xff"


def echo4(icmp_type: int) -> bytes:
    return ipv4(bytes([icmp_type, 0]) + bytes(60), protocol=1, fragment=DF)


def echo6(icmp_type: int) -> bytes:
    return ipv6(bytes([icmp_type, 0]) + bytes(60), protocol=58)


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(UDP_START),
        ipv4(UDP_START, fragment=DF | 5),
        ipv4(UDP_START, fragment=DF, destination="224.0.0.1"),
        ipv4(UDP_START, fragment=DF, destination="255.255.255.255"),
        ipv4(UDP_START, fragment=DF, source="0.0.0.0"),
        ipv4(UDP_START, fragment=DF, source="127.0.0.1"),
        ipv4(UDP_START, fragment=DF, source="239.1.1.1"),
        ipv6(UDP_START, source="::"),
        ipv6(UDP_START, source="ff02::1"),
        ipv6(UDP_START, destination="ff02::1"),
        chain(LATER, last=17, payload=UDP_START),
        *[echo4(icmp_type) for icmp_type in (3, 4, 5, 11, 12)],
        *[echo6(icmp_type) for icmp_type in (1, 2, 3, 4, 127, 137)],
        ipv4(b"\x08", protocol=1, fragment=DF),
        ipv6(b"", protocol=58),
    ],
)
def test_no_answer_is_due(packet: bytes) -> None:
    """DF clear, later fragments, multicast, no one host, errors about errors."""
    assert packet_too_big(packet, 1280) is None


@pytest.mark.parametrize(
    "packet",
    [
        echo4(8),
        echo4(0),
        echo6(128),
        echo6(129),
        chain(FIRST, last=17, payload=UDP_START),
        ipv4(bytes([3, 0]) + bytes(60), protocol=58, fragment=DF),
    ],
)
def test_answer_is_due(packet: bytes) -> None:
    """Questions and answers are no errors, and a first fragment is a packet."""
    assert packet_too_big(packet, 1280) is not None


def test_malformed_packets_get_no_answer() -> None:
    with pytest.raises(MalformedPacketError):
        packet_too_big(ipv4(b"abc")[:-1], 1280)
