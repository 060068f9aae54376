"""The file ``checksum_fixup_test.json``: TCP and UDP checksums behind a NAT.

Every packet is built twice, with checksums computed from the start: once over the real
addresses, as the sender did, and once over the received ones, as it has to be.

Source: RFC 3948 §3.1.2, RFC 9329 §6.5
"""

from collections.abc import Iterator
from ipaddress import ip_address

from iketcp.inner import checksum
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "checksum_fixup"
SPEC = "RFC 3948 §3.1.2; RFC 9329 §6.5"
RULE = "9329-6.5-checksum"
TCP, UDP, ICMP = 6, 17, 1
OFFSETS = {TCP: 16, UDP: 6}
FRAGMENT = 44

HEADER = [
    "ChecksumFixup: packet is what transport-mode decapsulation gave: an IP header with"
    " the addresses received and a checksum computed by the sender over realSource and"
    " realDestination, which it told through IKE. fixed is the packet to hand on: the"
    " same but for the checksum.",
    "The arithmetic is incremental, so a checksum that was wrong stays wrong. TCP"
    " results are 0000 to fffe; UDP results are 0001 to ffff.",
    "Where there is nothing to fix, fixed equals packet.",
]

NOTES = {
    "Fragment": (
        "EDGE_CASE",
        "The packet is a fragment; only the first one shows a checksum.",
        "Payload octets are overwritten.",
    ),
    "NothingToFix": (
        "EDGE_CASE",
        "No address was changed, or the protocol has no such checksum.",
        "A good packet is spoiled.",
    ),
    "Ordinary": (
        "BASIC",
        "An address was changed on the way.",
        "The receiving stack drops the packet.",
    ),
    "OtherFamily": (
        "EDGE_CASE",
        "The sender has addresses of the other IP version, as behind a NAT64.",
        "The receiving stack drops the packet.",
    ),
    "Truncated": (
        "EDGE_CASE",
        "The packet ends before its checksum, or its header lies about its size.",
        "Octets are read or written outside the packet.",
    ),
    "UdpZero": (
        "EDGE_CASE",
        "A UDP checksum of zero says that there is none; a sum of zero is ffff.",
        "A packet loses its checksum, or gets one that nobody computed.",
    ),
    "WrongBefore": (
        "BASIC",
        "The checksum did not fit the real addresses either.",
        "Damage done on the way is hidden from the receiver.",
    ),
}

IPV4 = ("203.0.113.9", "192.0.2.1")
IPV6 = ("2001:db8:ffff::9", "2001:db8::1")
REAL = {
    4: (
        ("10.0.0.7", "192.0.2.1"),
        ("203.0.113.9", "172.16.0.1"),
        ("10.1.2.3", "10.4.5.6"),
    ),
    6: (
        ("fd00::7", "2001:db8::1"),
        ("2001:db8:ffff::9", "fd00::1"),
        ("fd00:1:2::3", "fd00:4:5::6"),
    ),
}


def pseudo(addresses: tuple[str, str], protocol: int, size: int) -> bytes:
    """Write what a checksum covers besides the segment. Source: RFC 3948 §3.1.2."""
    packed = b"".join(ip_address(address).packed for address in addresses)
    return packed + size.to_bytes(4, "big") + protocol.to_bytes(4, "big")


def segment(protocol: int, payload: bytes, over: tuple[str, str]) -> bytes:
    """Make a TCP or UDP segment with its checksum over the given addresses."""
    if protocol == TCP:
        head = bytes.fromhex("c000 01bb 00000001 00000002 5018 2000 0000 0000")
    else:
        head = (
            bytes.fromhex("c000 1194") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
        )
    blank = head + payload
    total = checksum(pseudo(over, protocol, len(blank)) + blank)
    return with_checksum(blank, protocol, total or (0xFFFF if protocol == UDP else 0))


def with_checksum(octets_: bytes, protocol: int, value: int) -> bytes:
    """Write a checksum into a segment."""
    at = OFFSETS[protocol]
    return octets_[:at] + value.to_bytes(2, "big") + octets_[at + 2 :]


def ip_packet(
    addresses: tuple[str, str], protocol: int, body: bytes, fragment: int = 0
) -> bytes:
    """Put an IP header before a segment; ``fragment`` is the IPv4 field."""
    source, destination = (ip_address(address).packed for address in addresses)
    if len(source) == 16:
        head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes([protocol, 64])
        return head + source + destination + body
    head = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + b"\0\x07"
    head += fragment.to_bytes(2, "big") + bytes([64, protocol])
    total = checksum(head + b"\0\0" + source + destination)
    return head + total.to_bytes(2, "big") + source + destination + body


def fixup(
    comment: str,
    flags: str,
    packet: bytes,
    real: tuple[str, str],
    fixed: bytes | None,
) -> Json:
    """Make a test; without ``fixed`` the packet is refused."""
    return case(
        comment,
        flags,
        SPEC,
        requirement=RULE,
        error=None if fixed is not None else "MalformedPacket",
        reaction=None if fixed is not None else "drop",
        packet=packet,
        realSource=real[0],
        realDestination=real[1],
        fixed=fixed,
    )


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 3948 §3.1.2, RFC 9329 §6.5
    """
    tests = [*ordinary(), *zeros(), *odd(), *unchanged(), *truncated()]
    groups = [group("ChecksumFixup", "iketcp/checksum_fixup", tests)]
    return vector_file(NAME, "ESP-TRANSPORT-CHECKSUM", HEADER, NOTES, groups)


def ordinary() -> Iterator[Json]:
    """Change source, destination, or both; payloads of even and odd size."""
    for received in (IPV4, IPV6):
        version = ip_address(received[0]).version
        for protocol, name in ((TCP, "TCP"), (UDP, "UDP")):
            changed = ("source", "destination", "both addresses")
            for what, real in zip(changed, REAL[version], strict=True):
                for size in (0, 1, 64, 513):
                    payload = octets(f"fixup {version} {name} {what}", size)
                    sent = ip_packet(
                        received, protocol, segment(protocol, payload, real)
                    )
                    fixed = segment(protocol, payload, received)
                    yield fixup(
                        f"{name} over IPv{version}, {what} changed, {size} octets",
                        "Ordinary",
                        sent,
                        real,
                        ip_packet(received, protocol, fixed),
                    )


def landing(protocol: int, addresses: tuple[str, str]) -> bytes:
    """Find a payload of two octets that makes the sum over these addresses zero."""
    first = segment(protocol, bytes(2), addresses)
    at = OFFSETS[protocol]
    # the checksum is what is missing to all ones: let the payload supply it
    return first[at : at + 2]


def zeros() -> Iterator[Json]:
    """Visit the two zeros of ones' complement, and UDP without a checksum."""
    for received in (IPV4, IPV6):
        version = ip_address(received[0]).version
        real = REAL[version][2]
        for protocol, name, flag in ((TCP, "TCP", "Ordinary"), (UDP, "UDP", "UdpZero")):
            for over, comment in ((received, "becomes"), (real, "was")):
                payload = landing(protocol, over)
                yield fixup(
                    f"{name} over IPv{version}: the sum {comment} zero",
                    flag,
                    ip_packet(received, protocol, segment(protocol, payload, real)),
                    real,
                    ip_packet(received, protocol, segment(protocol, payload, received)),
                )
        blank = with_checksum(segment(UDP, b"none", real), UDP, 0)
        packet = ip_packet(received, UDP, blank)
        comment = f"UDP over IPv{version} without a checksum"
        yield fixup(comment, "UdpZero", packet, real, packet)


def odd() -> Iterator[Json]:
    """Checksums wrong before, headers between, fragments, and the other family."""
    real, wrong = REAL[4][2], 0x1234
    for protocol, name in ((TCP, "TCP"), (UDP, "UDP")):
        sent = segment(protocol, b"damaged", real)
        due = segment(protocol, b"damaged", IPV4)
        at = OFFSETS[protocol]
        before, after = (int.from_bytes(s[at : at + 2], "big") for s in (sent, due))
        yield fixup(
            f"{name} with a checksum that never was right",
            "WrongBefore",
            ip_packet(IPV4, protocol, with_checksum(sent, protocol, before ^ wrong)),
            real,
            ip_packet(
                IPV4,
                protocol,
                with_checksum(
                    due, protocol, ((before ^ wrong) - before + after) % 0xFFFF
                ),
            ),
        )
        for mine, theirs in ((IPV4, REAL[6][0]), (IPV6, REAL[4][0])):
            version = ip_address(mine[0]).version
            yield fixup(
                f"{name} over IPv{version}, sent over the other",
                "OtherFamily",
                ip_packet(mine, protocol, segment(protocol, b"translated", theirs)),
                theirs,
                ip_packet(mine, protocol, segment(protocol, b"translated", mine)),
            )
        first, due_first = (segment(protocol, bytes(64), a)[:40] for a in (real, IPV4))
        yield fixup(
            f"first fragment of {name} over IPv4",
            "Fragment",
            ip_packet(IPV4, protocol, first, fragment=0x2000),
            real,
            ip_packet(IPV4, protocol, due_first, fragment=0x2000),
        )
        later = ip_packet(IPV4, protocol, bytes(40), fragment=0x2005)
        comment = f"later fragment of {name} over IPv4"
        yield fixup(comment, "Fragment", later, real, later)
        yield from behind_extension_headers(protocol, name)


def behind_extension_headers(protocol: int, name: str) -> Iterator[Json]:
    """Put a segment, whole or in fragments, behind an IPv6 extension header."""
    six = REAL[6][2]
    options = bytes([protocol, 0, 1, 4, 0, 0, 0, 0])
    yield fixup(
        f"{name} over IPv6 behind Destination Options",
        "Ordinary",
        ip_packet(IPV6, 60, options + segment(protocol, b"behind", six)),
        six,
        ip_packet(IPV6, 60, options + segment(protocol, b"behind", IPV6)),
    )
    for offset, name_ in ((0x0001, "first"), (0x0029, "later")):
        head = bytes([protocol, 0]) + offset.to_bytes(2, "big") + bytes(4)
        bodies = [segment(protocol, bytes(64), a)[:40] for a in (six, IPV6)]
        packet, fixed = (ip_packet(IPV6, FRAGMENT, head + b) for b in bodies)
        yield fixup(
            f"{name_} fragment of {name} over IPv6",
            "Fragment",
            packet,
            six,
            fixed if name_ == "first" else packet,
        )


def unchanged() -> Iterator[Json]:
    """Leave packets alone that need nothing."""
    for received in (IPV4, IPV6):
        version = ip_address(received[0]).version
        for protocol, name in ((TCP, "TCP"), (UDP, "UDP")):
            packet = ip_packet(received, protocol, segment(protocol, b"same", received))
            comment = f"{name} over IPv{version}, no address changed"
            yield fixup(comment, "NothingToFix", packet, received, packet)
        for protocol, name in ((132, "SCTP"), (ICMP, "ICMP")):
            packet = ip_packet(received, protocol, octets("other protocol", 24))
            comment = f"{name} over IPv{version}"
            yield fixup(comment, "NothingToFix", packet, REAL[version][2], packet)


def truncated() -> Iterator[Json]:
    """Refuse packets that end too early, or are not as long as they say."""
    for received in (IPV4, IPV6):
        version = ip_address(received[0]).version
        real = REAL[version][2]
        for protocol, name in ((TCP, "TCP"), (UDP, "UDP")):
            whole = segment(protocol, b"", real)
            for size in (0, OFFSETS[protocol], OFFSETS[protocol] + 1):
                packet = ip_packet(received, protocol, whole[:size])
                comment = f"{size} octets of {name} over IPv{version}"
                yield fixup(comment, "Truncated", packet, real, None)
        packet = ip_packet(received, UDP, segment(UDP, b"long", real))
        for comment, wrong in (
            (f"an IPv{version} packet cut off", packet[:-1]),
            (f"an IPv{version} packet with an octet behind it", packet + b"\0"),
            (f"half an IPv{version} header", packet[:10]),
        ):
            yield fixup(comment, "Truncated", wrong, real, None)
    yield fixup("no octets at all", "Truncated", b"", REAL[4][2], None)
