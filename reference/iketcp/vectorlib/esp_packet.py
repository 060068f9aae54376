"""The file ``esp_packet_test.json``: ESP packets in tunnel mode.

Source: RFC 4303 §2, RFC 4303 §3, RFC 4106, RFC 7634 App. A, RFC 3602 §4, RFC 8750 §4
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.esp_published import published_cbc
from iketcp.vectorlib.plain import CIPHERS, FAMILIES, IMPLICIT_IV, CipherCase

NAME = "esp_packet"
SPEC = "RFC 4303 §2, §3.3.2, §3.4.4"
IPV4, IPV6, DUMMY, TCP = 4, 41, 59, 6
VALID_ESP = "9329-6.1-valid-esp"

HEADER = [
    "ESP packets as they stand in the stream behind Length. cipher tells the sizes;"
    " encryptionKey holds the salt or nonce behind the key. spi is the receiver's.",
    "sequence is the whole number, 64 bits; without esn its upper half is zero. highest"
    " is the highest number the receiver has authenticated before, and the window is 64"
    " packets wide, all of them already seen.",
    "The encrypted part of packet is inner, tfcPadding octets of zero, padding, one"
    " octet that counts the padding, and nextHeader: 4 IPv4, 41 IPv6, 59 a dummy.",
    "Valid: packet opens to inner and nextHeader; a dummy's inner is dropped without a"
    " trace. If canonical is true, sealing inner with iv and the shortest padding gives"
    " packet again. iv is empty where ivSize is 0: then it is sequence, and packet does"
    " not hold it.",
    "Invalid: packet is dropped and counted, and no TCP connection becomes the SA's for"
    " it unless isAuthentic is true: then it has passed the integrity check, and only"
    " its contents are wrong. inner, padding and iv are what it was made from.",
    "CbcEncryption: ciphertext = AES-CBC with encryptionKey and iv of payload, and"
    " unless nextHeader is null of padding, one octet that counts the padding, and"
    " nextHeader behind it. There is no ICV.",
]

NOTES = {
    "BadPadding": (
        "EDGE_CASE",
        "Authentic, but the padding is not 1, 2, 3, ... or more than there is.",
        "Reading before the start of the plaintext.",
    ),
    "Dummy": (
        "EDGE_CASE",
        "Next Header 59: sent to hide how much is sent.",
        "Noise delivered to the inner network, or an SA torn down.",
    ),
    "Extended": (
        "BASIC",
        "64-bit sequence numbers, of which the lower half travels.",
        "Every packet after 2^32 is lost.",
    ),
    "ImplicitIv": (
        "BASIC",
        "The IV is the sequence number and does not travel.",
        "No peer interoperates; or a nonce is used twice.",
    ),
    "MorePadding": (
        "EDGE_CASE",
        "More padding than is needed, which is allowed.",
        "Refusing good peers.",
    ),
    "NotInner": (
        "EDGE_CASE",
        "Authentic, but what is inside is no IP packet of the version that Next Header"
        " says.",
        "Anything delivered to the inner network.",
    ),
    "Ordinary": ("BASIC", "What every tunnel carries.", "No tunnel."),
    "Published": ("BASIC", "A packet printed in an RFC.", "No peer interoperates."),
    "Replay": (
        "BASIC",
        "A sequence number already seen.",
        "An attacker takes over the mapping with old packets.",
    ),
    "Tampered": (
        "BASIC",
        "One octet changed on the way.",
        "What is not authentic is delivered.",
    ),
    "TfcPadding": (
        "EDGE_CASE",
        "Octets behind the inner packet that hide its size.",
        "Inner packets with a tail.",
    ),
    "TooShort": (
        "EDGE_CASE",
        "No room for header, IV, trailer and ICV, or no whole blocks.",
        "Reading beyond the packet.",
    ),
}


@dataclass(frozen=True, slots=True)
class Sa:
    """One direction of a Child SA."""

    cipher: CipherCase
    is_esn: bool
    spi: bytes
    key: bytes
    integrity_key: bytes

    @property
    def multiple(self) -> int:
        """What the encrypted part is a multiple of. Source: RFC 4303 §2.4."""
        return max(4, self.cipher.block)


@dataclass(frozen=True, slots=True)
class Packet:
    """What goes into one ESP packet."""

    inner: bytes
    next_header: int = IPV4
    tfc: int = 0
    sequence: int = 1
    padding: bytes | None = None
    """``None``: the shortest."""
    count: int | None = None
    """``None``: as many as there are."""


def inner_ipv4(size: int = 29) -> bytes:
    """Make a UDP datagram in IPv4, 192.0.2.1 to 198.51.100.1; a true checksum."""
    head = bytes.fromhex(f"4500{size:04x}00010000401100 00c0000201c6336401")
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    checksum = (total & 0xFFFF) + (total >> 16) ^ 0xFFFF
    head = head[:10] + checksum.to_bytes(2, "big") + head[12:]
    return head + udp(size - 20)


def inner_ipv6(size: int = 49) -> bytes:
    """Make a UDP datagram in IPv6, 2001:db8::1 to 2001:db8::2."""
    addresses = "20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02"
    return bytes.fromhex(f"60000000{size - 40:04x}1140{addresses}") + udp(size - 40)


def udp(size: int) -> bytes:
    """Make a UDP datagram without checksum."""
    return bytes.fromhex(f"11941195{size:04x}0000") + octets("udp", size - 8)


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 4303 §3, RFC 7634 App. A, RFC 3602 §4
    """
    groups = [published()]
    for cipher in CIPHERS:
        sa = draw_sa(cipher, is_esn=False)
        tests = [*valid_cases(sa), *tampered_cases(sa)]
        if cipher not in FAMILIES:
            tests = [*tests[:2], tests[5], tests[7]]
        elif cipher in (CIPHERS[0], CIPHERS[4]):
            tests += [*inside_cases(sa), *short_cases(sa)]
        groups.append(group_of(sa, tests))
    for cipher in CIPHERS:
        sa = draw_sa(cipher, is_esn=True)
        tests = list(extended_cases(sa))
        groups.append(group_of(sa, tests if cipher in FAMILIES else tests[2:4]))
    groups.append(published_cbc())
    for cipher in IMPLICIT_IV:
        for is_esn in (False, True):
            sa = draw_sa(cipher, is_esn)
            groups.append(group_of(sa, list(implicit_iv_cases(sa))))
    return vector_file(NAME, "IPSEC-ESP", HEADER, NOTES, groups)


def draw_sa(cipher: CipherCase, is_esn: bool) -> Sa:
    """Draw an SA's keys."""
    label = f"esp {cipher.name} {is_esn}"
    return Sa(
        cipher,
        is_esn,
        b"\xc0" + octets(f"{label} spi", 3),
        octets(f"{label} key", cipher.encryption_key),
        octets(f"{label} integrity key", cipher.integrity_key),
    )


def group_of(sa: Sa, tests: Sequence[Json], source: str = "iketcp/esp_packet") -> Json:
    """Make a group of an SA's packets."""
    return group(
        "EspPacket",
        source,
        tests,
        cipher=sa.cipher.json(),
        esn=sa.is_esn,
        spi=sa.spi,
        encryptionKey=sa.key,
        integrityKey=sa.integrity_key,
    )


def shortest_padding(sa: Sa, packet: Packet) -> bytes:
    """Return 1, 2, 3, ... up to the alignment. Source: RFC 4303 §2.4."""
    size = len(packet.inner) + packet.tfc + 2
    return bytes(range(1, -size % sa.multiple + 1))


def padding_of(sa: Sa, packet: Packet) -> bytes:
    """Return the padding asked for, or the shortest."""
    if packet.padding is None:
        return shortest_padding(sa, packet)
    return packet.padding


def seal(sa: Sa, packet: Packet, iv: bytes) -> bytes:
    """Make the ESP packet. Source: RFC 4303 §3.3.2, RFC 4106 §5."""
    padding = padding_of(sa, packet)
    count = len(padding) if packet.count is None else packet.count
    trailer = padding + bytes([count, packet.next_header])
    plaintext = packet.inner + bytes(packet.tfc) + trailer
    high, low = plain.cut(packet.sequence.to_bytes(8, "big"), 4, 4)
    if sa.cipher.integ is None:
        before, after = sa.spi + (high if sa.is_esn else b"") + low, b""
    else:
        before, after = sa.spi + low, high if sa.is_esn else b""
    sealed = plain.seal(
        sa.cipher, sa.key, sa.integrity_key, iv or high + low, plaintext, before, after
    )
    return sa.spi + low + iv + sealed


def described(sa: Sa, packet: Packet, iv: bytes, highest: int | None) -> Json:
    """List the members that describe a packet."""
    before = packet.sequence - 1 if highest is None else highest
    return {
        "sequence": packet.sequence.to_bytes(8, "big"),
        "highest": before.to_bytes(8, "big"),
        "iv": iv,
        "inner": packet.inner,
        "tfcPadding": packet.tfc,
        "padding": padding_of(sa, packet),
        "nextHeader": packet.next_header,
    }


def iv_of(sa: Sa, label: str) -> bytes:
    """Draw an IV."""
    return octets(f"esp iv {sa.spi.hex()} {label}", sa.cipher.iv)


def valid(
    sa: Sa, comment: str, flags: str, packet: Packet, highest: int | None = None
) -> Json:
    """Make a case that opens."""
    iv = iv_of(sa, comment)
    if sa.cipher.iv == 8 and flags != "Dummy":
        # what many senders do, ours too; the other cases draw it
        iv = packet.sequence.to_bytes(8, "big")
    is_shortest = padding_of(sa, packet) == shortest_padding(sa, packet)
    return case(
        comment,
        flags,
        SPEC,
        requirement=VALID_ESP,
        **described(sa, packet, iv, highest),
        packet=seal(sa, packet, iv),
        canonical=is_shortest and not (packet.inner and flags == "Dummy"),
        isAuthentic=True,
    )


def refused(
    sa: Sa,
    comment: str,
    flags: str,
    packet: Packet,
    error: str,
    *,
    octets_sent: bytes | None = None,
    highest: int | None = None,
    is_authentic: bool = False,
) -> Json:
    """Make a case that is dropped; ``octets_sent`` if not the packet as sealed."""
    iv = iv_of(sa, "refused")
    sent = seal(sa, packet, iv) if octets_sent is None else octets_sent
    return case(
        comment,
        flags,
        SPEC,
        requirement=VALID_ESP,
        error=error,
        reaction="drop",
        **described(sa, packet, iv, highest),
        packet=sent,
        canonical=False,
        isAuthentic=is_authentic,
    )


def valid_cases(sa: Sa) -> Iterator[Json]:
    """Carry packets of both versions, with every kind of padding, and a dummy."""
    yield valid(sa, "IPv4, first packet", "Ordinary", Packet(inner_ipv4()))
    ipv6 = Packet(inner_ipv6(), IPV6, sequence=0xFFFF_FFFF)
    yield valid(sa, "IPv6, last packet", "Ordinary", ipv6)
    tfc = Packet(inner_ipv4(), tfc=50, sequence=7)
    yield valid(sa, "50 octets of TFC padding", "TfcPadding", tfc)
    fitting = inner_ipv4(sa.multiple * 2 + 30)
    yield valid(sa, "no padding needed", "Ordinary", Packet(fitting, sequence=8))
    dummy = Packet(b"", DUMMY, tfc=64, sequence=9)
    yield valid(sa, "dummy of 64 octets", "Dummy", dummy)


def tampered_cases(sa: Sa) -> Iterator[Json]:
    """Change one octet, or send a packet again."""
    packet = Packet(inner_ipv4(), sequence=0x100)
    sealed = seal(sa, packet, iv_of(sa, "refused"))
    for comment, position in (
        ("last octet of the ICV", -1),
        ("first octet of the ICV", -sa.cipher.icv),
        ("first octet of the ciphertext", 8 + sa.cipher.iv),
        ("last octet of the IV", 7 + sa.cipher.iv),
    ):
        changed = flipped(sealed, position)
        yield refused(
            sa,
            f"changed: {comment}",
            "Tampered",
            packet,
            "Integrity",
            octets_sent=changed,
        )
    comment = "changed: sequence number, to one not seen"
    changed = sealed[:6] + b"\x02" + sealed[7:]
    yield refused(sa, comment, "Tampered", packet, "Integrity", octets_sent=changed)


def inside_cases(sa: Sa) -> Iterator[Json]:
    """Send what is authentic and makes no sense."""
    inner = inner_ipv4(31)
    size = len(shortest_padding(sa, Packet(inner)))
    wrong = flipped(bytes(range(1, size + 1)), -1)
    twos = bytes(range(2, size + 2))
    malformed = "MalformedPacket"
    for comment, flags, packet in (
        ("last octet of padding", "BadPadding", Packet(inner, padding=wrong)),
        ("padding 2, 3, ...", "BadPadding", Packet(inner, padding=twos)),
        ("zeros as padding", "BadPadding", Packet(inner, padding=bytes(size))),
        ("count of padding 255", "BadPadding", Packet(inner, count=255)),
        ("Next Header 41 for IPv4", "NotInner", Packet(inner, IPV6)),
        ("Next Header 4 for IPv6", "NotInner", Packet(inner_ipv6(), IPV4)),
        ("Next Header 6: transport mode", "NotInner", Packet(inner[20:], TCP)),
        ("IP version 5", "NotInner", Packet(b"\x55" + inner[1:])),
        ("inner packet says more octets", "NotInner", Packet(inner[:-1])),
        ("nothing inside", "NotInner", Packet(b"")),
        ("half an IPv4 header", "NotInner", Packet(inner[:10])),
    ):
        yield refused(sa, comment, flags, packet, malformed, is_authentic=True)
    more = bytes(range(1, size + 1 + 2 * sa.multiple))
    packet = Packet(inner, padding=more, sequence=3)
    yield valid(sa, "more padding than is needed", "MorePadding", packet)
    packet = Packet(inner, sequence=5)
    yield refused(sa, "number seen before", "Replay", packet, "Replay", highest=5)
    packet = Packet(inner, sequence=5)
    comment = "number left of the window"
    yield refused(sa, comment, "Replay", packet, "Replay", highest=69)
    zero = Packet(inner, sequence=0)
    comment = "number 0, which is never sent"
    yield refused(sa, comment, "Replay", zero, "Replay", highest=0)
    tail = octets("tail", 24)
    comment = "dummy with octets that look random"
    yield valid(sa, comment, "Dummy", Packet(tail, DUMMY, sequence=4))


def short_cases(sa: Sa) -> Iterator[Json]:
    """Send packets cut short."""
    packet = Packet(inner_ipv4(), sequence=2)
    whole = seal(sa, packet, iv_of(sa, "refused"))
    cipher = sa.cipher
    least = 8 + cipher.iv + sa.multiple + cipher.icv
    for comment, size in (
        ("four octets: an SPI", 4),
        ("seven octets", 7),
        ("header alone", 8),
        ("header and IV", 8 + cipher.iv),
        ("header, IV and ICV", 8 + cipher.iv + cipher.icv),
        ("one octet less than the least", least - 1),
    ):
        yield refused(
            sa,
            comment,
            "TooShort",
            packet,
            "MalformedPacket",
            octets_sent=whole[:size],
        )
    if cipher.block > 1:
        error = "MalformedPacket"
        comment = "no whole blocks: last octet missing"
    else:
        error = "Integrity"
        comment = "last octet missing"
    cut = whole[:-1]
    yield refused(sa, comment, "TooShort", packet, error, octets_sent=cut)


def extended_cases(sa: Sa) -> Iterator[Json]:
    """Carry packets with 64-bit numbers, round the edges of their halves."""
    inner = inner_ipv4()
    for comment, sequence in (
        ("first packet", 1),
        ("last packet of the first 2^32", 0xFFFF_FFFF),
        ("first packet of the second 2^32", 0x1_0000_0000),
        ("upper half that is not zero", 0x0102_0304_0506_0708),
    ):
        packet = Packet(inner, sequence=sequence)
        yield valid(sa, comment, "Extended", packet)
    late = Packet(inner_ipv6(), IPV6, sequence=0xFFFF_FFFF)
    comment = "a number of the first 2^32, by a replay window in the second"
    yield refused(sa, comment, "Extended Replay", late, "Replay", highest=0x1_0000_0003)
    packet = Packet(inner, sequence=0x2_0000_0005)
    comment = "upper half other than the receiver's"
    yield refused(sa, comment, "Extended", packet, "Integrity", highest=0x1_0000_0001)


def implicit_iv_cases(sa: Sa) -> Iterator[Json]:
    """Leave the IV out. Source: RFC 8750 §4."""
    flag = "ImplicitIv"
    first = Packet(inner_ipv4())
    yield valid(sa, "first packet", flag, first)
    last = Packet(inner_ipv6(), IPV6, sequence=0xFFFF_FFFF)
    yield valid(sa, "last packet of the first 2^32", flag, last)
    if sa.is_esn:
        comment = "upper half that is not zero"
        high = Packet(inner_ipv4(), sequence=0x0102_0304_0506_0708)
        yield valid(sa, comment, f"{flag} Extended", high)
        comment = "upper half other than the receiver's"
        high = Packet(inner_ipv4(), sequence=0x2_0000_0005)
        flags = f"{flag} Extended"
        seen = 0x1_0000_0001
        yield refused(sa, comment, flags, high, "Integrity", highest=seen)
    whole = seal(sa, first, b"")
    for comment, changed in (
        ("changed: sequence number", whole[:7] + b"\x02" + whole[8:]),
        ("an IV all the same", whole[:8] + bytes(7) + b"\x01" + whole[8:]),
    ):
        flags = f"{flag} Tampered"
        yield refused(sa, comment, flags, first, "Integrity", octets_sent=changed)
    least = whole[: 8 + sa.multiple + sa.cipher.icv - 1]
    comment, error = "one octet less than the least", "MalformedPacket"
    flags = f"{flag} TooShort"
    yield refused(sa, comment, flags, first, error, octets_sent=least)
    twice = Packet(inner_ipv4(), sequence=5)
    yield refused(
        sa, "number seen before", f"{flag} Replay", twice, "Replay", highest=5
    )


def published() -> Json:
    """Import the example of RFC 7634."""
    sa = Sa(CIPHERS[3], False, bytes([1, 2, 3, 4]), bytes(range(0x80, 0xA4)), b"")
    inner = bytes.fromhex(
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
        "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
        "2425262728292a2b2c2d2e2f3031323334353637"
    )
    packet = Packet(inner, sequence=5)
    test = case(
        "an ICMP packet",
        "Published",
        "RFC 7634 App. A",
        **described(sa, packet, bytes(range(0x10, 0x18)), None),
        packet=bytes.fromhex(
            "01020304000000051011121314151617"
            "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
            "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
            "cbec163fac469b502773f6fb94e664da9165b82829f641e0"
            "76aaa8266b7fb0f7b11b369907e1ad43"
        ),
        canonical=True,
        isAuthentic=True,
    )
    return group_of(sa, [test], "RFC 7634 App. A")
