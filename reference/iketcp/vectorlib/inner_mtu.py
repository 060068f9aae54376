"""The file ``inner_mtu_test.json``: inner packets, how large, and what larger ones get.

Sizes and checksums are computed here from the formats alone.

Source: RFC 9329 §3, RFC 9329 §6.8, RFC 4303 §2, RFC 4301 §8.2.1
"""

from collections.abc import Iterator
from ipaddress import ip_address

from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.plain import CIPHERS, CipherCase

NAME = "inner_mtu"
LIMIT = "9329-3-limit"
DF_RULE = "9329-6.8-df"
OUTER = {4: 20, 6: 40}
"""Octets of an outer IP header without options."""
SMALLEST = 68
"""Octets that every IPv4 link has to carry."""

UDP, ICMP, ICMPV6 = 17, 1, 58
DF = 0x4000

HEADER = [
    "InnerMtu: the largest inner packet whose ESP packet, behind an outer IP header"
    " (20 octets, or 40 for version 6) and a UDP header of 8, is no longer than"
    " pathMtu. An ESP packet has 8 octets of SPI and sequence number, IV, the inner"
    " packet with padding and two octets of trailer, together a multiple of 4 and of"
    " the cipher's blockSize, and the ICV; espSize is that of the largest. Length and"
    " non-ESP marker of the stream do not count. TFC padding is not used.",
    "PacketTooBig: packet comes out of the tunnel device of a Child SA whose inner MTU"
    " is innerMtu. answer goes back to the device instead of the packet; without one"
    " the packet is carried whole, isCarried.",
    "An answer is due as RFC 4301 §8.2.1 says. Choices of ours: it comes from the"
    " packet's destination; what an IPv4 sender allows to be fragmented is carried"
    " whole, for a stream has no need of fragments; IPv6 is never told less than 1280."
    " answer quotes as much as fits in 576 octets of IPv4 or 1280 of IPv6; another"
    " implementation compares type, code, MTU and the first octets of the quotation.",
]

NOTES = {
    "DontFragment": (
        "BASIC",
        "An IPv4 packet that is too large and has DF set, or an IPv6 packet.",
        "Path MTU discovery ends in a black hole.",
    ),
    "Fits": (
        "BASIC",
        "A packet no larger than the inner MTU.",
        "Packets are lost that the tunnel could carry.",
    ),
    "MayFragment": (
        "EDGE_CASE",
        "An IPv4 packet that is too large, with DF clear.",
        "A sender that knows no path MTU is cut off.",
    ),
    "NoAnswer": (
        "EDGE_CASE",
        "A packet that no router answers: ICMP errors, fragments but the first, and"
        " addresses that are not one host's.",
        "ICMP errors about ICMP errors, without end.",
    ),
    "Ordinary": (
        "BASIC",
        "Path MTUs as they occur.",
        "Packets that UDP encapsulation could not carry.",
    ),
    "TooNarrow": (
        "EDGE_CASE",
        "A path that leaves fewer than 68 octets.",
        "A tunnel device with an MTU that no link may have.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 9329 §3, RFC 9329 §6.8
    """
    source = "iketcp/inner_mtu"
    groups = [
        group("InnerMtu", source, list(paths())),
        group("PacketTooBig", source, [*ipv4_packets(), *ipv6_packets()]),
    ]
    return vector_file(NAME, "IKE-TCP-INNER-MTU", HEADER, NOTES, groups)


def esp_size(inner: int, cipher: CipherCase) -> int:
    """Count the octets of an ESP packet. Source: RFC 4303 §2, RFC 4303 §2.4."""
    multiple = max(4, cipher.block)
    encrypted = inner + 2
    while encrypted % multiple:
        encrypted += 1
    return 8 + cipher.iv + encrypted + cipher.icv


def largest(path_mtu: int, version: int, cipher: CipherCase) -> int:
    """Try sizes downwards until one fits. Source: RFC 9329 §3."""
    room = path_mtu - OUTER[version] - 8
    inner = room
    while esp_size(inner, cipher) > room:
        inner -= 1
    return inner


def paths() -> Iterator[Json]:
    """Try path MTUs under every cipher."""
    for cipher in CIPHERS:
        for version in (4, 6):
            for path_mtu in (576, 1280, 1400, 1492, 1499, 1500, 9000, 65535):
                inner = largest(path_mtu, version, cipher)
                yield _path(path_mtu, version, cipher, inner)
    for cipher in (CIPHERS[2], CIPHERS[4]):
        for version in (4, 6):
            narrow = OUTER[version] + 8 + esp_size(SMALLEST, cipher)
            yield _path(narrow, version, cipher, largest(narrow, version, cipher))
            yield _path(narrow - 1, version, cipher, None)


def _path(path_mtu: int, version: int, cipher: CipherCase, inner: int | None) -> Json:
    is_narrow = inner is None
    return case(
        f"{path_mtu} octets of IPv{version}, {cipher.name}",
        "TooNarrow" if is_narrow else "Ordinary",
        "RFC 9329 §3; RFC 4303 §2",
        requirement=LIMIT,
        result="acceptable" if is_narrow else "",
        error="Configuration" if is_narrow else None,
        reaction="refuse-locally" if is_narrow else None,
        pathMtu=path_mtu,
        outerVersion=version,
        cipher=cipher.json(),
        innerMtu=inner,
        espSize=None if inner is None else esp_size(inner, cipher),
    )


# --- packets --------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """Compute the Internet checksum word by word."""
    data += bytes(len(data) % 2)
    total = sum(
        int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(
    body: bytes,
    protocol: int = UDP,
    fragment: int = DF,
    source: str = "10.0.2.1",
    destination: str = "10.0.1.1",
) -> bytes:
    """Make an IPv4 packet."""
    size = (20 + len(body)).to_bytes(2, "big")
    ends = ip_address(source).packed + ip_address(destination).packed
    head = b"\x45\0" + size + b"\0\x01" + fragment.to_bytes(2, "big")
    head += bytes([64, protocol])
    total = checksum(head + b"\0\0" + ends)
    return head + total.to_bytes(2, "big") + ends + body


def ipv6(
    body: bytes,
    protocol: int = UDP,
    source: str = "2001:db8:2::1",
    destination: str = "2001:db8:1::1",
) -> bytes:
    """Make an IPv6 packet."""
    ends = ip_address(source).packed + ip_address(destination).packed
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([protocol, 64])
    return head + ends + body


def udp(size: int) -> bytes:
    """Make a UDP datagram of so many octets, without checksum where it may be."""
    return (
        b"\x13\x88\x13\x89"
        + size.to_bytes(2, "big")
        + b"\0\0"
        + octets("mtu", size - 8)
    )


def answer4(packet: bytes, mtu: int) -> bytes:
    """Answer "fragmentation needed and DF set". Source: RFC 4301 §8.2.1."""
    quote = packet[: 576 - 28]
    icmp = b"\x03\x04\0\0\0\0" + mtu.to_bytes(2, "big") + quote
    icmp = icmp[:2] + checksum(icmp).to_bytes(2, "big") + icmp[4:]
    ends = packet[16:20] + packet[12:16]
    head = b"\x45\0" + (20 + len(icmp)).to_bytes(2, "big") + b"\0\0\x40\0\x40\x01"
    return head + checksum(head + b"\0\0" + ends).to_bytes(2, "big") + ends + icmp


def answer6(packet: bytes, mtu: int) -> bytes:
    """Answer "packet too big". Source: RFC 4301 §8.2.1."""
    quote = packet[: 1280 - 48]
    icmp = b"\x02\0\0\0" + mtu.to_bytes(4, "big") + quote
    ends = packet[24:40] + packet[8:24]
    pseudo = ends + len(icmp).to_bytes(4, "big") + b"\0\0\0\x3a"
    icmp = icmp[:2] + checksum(pseudo + icmp).to_bytes(2, "big") + icmp[4:]
    head = b"\x60\0\0\0" + len(icmp).to_bytes(2, "big") + b"\x3a\x40"
    return head + ends + icmp


def packet_case(
    comment: str, flags: str, mtu: int, packet: bytes, answer: bytes = b""
) -> Json:
    """Make a case: answered, or carried whole."""
    is_open = not answer and len(packet) > mtu
    return case(
        comment,
        flags,
        "RFC 9329 §6.8; RFC 4301 §8.2.1",
        requirement=f"{DF_RULE} {LIMIT}",
        result="acceptable" if is_open else "",
        error="PacketTooBig" if answer else None,
        reaction="answer" if answer else None,
        innerMtu=mtu,
        packet=packet,
        answer=answer,
        isCarried=not answer,
    )


def ipv4_packets() -> Iterator[Json]:
    """Try IPv4 packets at the limit and beyond it."""
    for mtu in (68, 576, 1438):
        yield packet_case(f"IPv4, {mtu} of {mtu}", "Fits", mtu, ipv4(udp(mtu - 20)))
        packet = ipv4(udp(mtu - 19))
        comment = f"IPv4, one octet more than {mtu}"
        yield packet_case(comment, "DontFragment", mtu, packet, answer4(packet, mtu))
    mtu = 576
    echo = b"\x08\0\0\0\0\x01\0\x01" + bytes(600)
    for comment, packet in (
        ("IPv4, far too large", ipv4(udp(2000))),
        ("IPv4, ICMP echo request", ipv4(echo, ICMP)),
        ("IPv4, another protocol", ipv4(bytes(600), 253)),
    ):
        yield packet_case(comment, "DontFragment", mtu, packet, answer4(packet, mtu))
    large = udp(600)
    comment = "IPv4, DF clear"
    yield packet_case(comment, "MayFragment", mtu, ipv4(large, fragment=0))
    comment = "IPv4, DF clear, the first of several fragments"
    yield packet_case(comment, "MayFragment", mtu, ipv4(large, fragment=0x2000))
    error = b"\x03\x01" + bytes(600)
    for comment, packet in (
        ("IPv4, an ICMP error", ipv4(error, ICMP)),
        ("IPv4, a fragment, not the first", ipv4(large, fragment=DF | 9)),
        ("IPv4, to a group", ipv4(large, destination="224.0.0.9")),
        ("IPv4, to everybody", ipv4(large, destination="255.255.255.255")),
        ("IPv4, from nobody", ipv4(large, source="0.0.0.0")),
        ("IPv4, from this host itself", ipv4(large, source="127.0.0.1")),
    ):
        yield packet_case(comment, "NoAnswer", mtu, packet)


def ipv6_packets() -> Iterator[Json]:
    """Try IPv6 packets; every IPv6 link carries 1280 octets."""
    for mtu in (1280, 1418):
        yield packet_case(f"IPv6, {mtu} of {mtu}", "Fits", mtu, ipv6(udp(mtu - 40)))
        packet = ipv6(udp(mtu - 39))
        comment = f"IPv6, one octet more than {mtu}"
        yield packet_case(comment, "DontFragment", mtu, packet, answer6(packet, mtu))
    narrow = "IPv6, through a tunnel for 1200"
    packet = ipv6(udp(1240))
    yield packet_case(f"{narrow}, 1280", "NoAnswer", 1200, packet)
    packet = ipv6(udp(1241))
    answer = answer6(packet, 1280)
    yield packet_case(f"{narrow}, 1281", "DontFragment", 1200, packet, answer)
    mtu = 1280
    options = bytes([UDP, 0, 1, 4, 0, 0, 0, 0])
    packet = ipv6(options + udp(1300), 0)
    comment = "IPv6, with Hop-by-Hop Options"
    yield packet_case(comment, "DontFragment", mtu, packet, answer6(packet, mtu))
    packet = ipv6(b"\x80\0\0\0" + bytes(1300), ICMPV6)
    comment = "IPv6, ICMPv6 echo request"
    yield packet_case(comment, "DontFragment", mtu, packet, answer6(packet, mtu))
    later = bytes([UDP, 0, 0, 9, 0, 0, 0, 1]) + bytes(1300)
    for comment, packet in (
        ("IPv6, an ICMPv6 error", ipv6(b"\x01\0\0\0" + bytes(1300), ICMPV6)),
        ("IPv6, an ICMPv6 Redirect", ipv6(b"\x89\0\0\0" + bytes(1300), ICMPV6)),
        ("IPv6, a fragment, not the first", ipv6(later, 44)),
        ("IPv6, to a group", ipv6(udp(1300), destination="ff0e::9")),
        ("IPv6, from nobody", ipv6(udp(1300), source="::")),
    ):
        yield packet_case(comment, "NoAnswer", mtu, packet)
