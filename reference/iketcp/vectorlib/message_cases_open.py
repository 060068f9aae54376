"""Message tests of what is not as it should be, and is still read.

Reserved bits, unknown payloads, what the RFC leaves open, and what an exchange, not the
format, refuses.

Source: RFC 7296 §2.5, RFC 7296 §3.1, RFC 7296 §3.2
"""

from collections.abc import Iterator
from dataclasses import replace

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    CREATE,
    INFO,
    INFO_RESPONSE,
    INIT,
    INIT_RESPONSE,
    MALFORMED,
    Case,
)
from iketcp.vectorlib.message_cases import (
    CERTIFICATE,
    ESP_SA,
    ESP_SPI,
    ESP_SUITE,
    ID_I,
    ID_R,
    IKE_SA,
    IKE_SUITE,
    KE_X25519,
    NONCE,
    PROOF,
    TS_I,
    TS_R,
)
from iketcp.vectorlib.message_cases_ts import NET4, NET6
from iketcp.vectorlib.message_parts import (
    AH,
    ENCR,
    ESP,
    IDI,
    IKE,
    INITIATOR,
    KEY_LENGTH,
    SKF,
    TSI,
    Attribute,
    Head,
    Part,
    Proposal,
    Setting,
    Transform,
    addresses,
    auth,
    cert,
    certreq,
    cp,
    delete,
    eap,
    encrypted,
    filler,
    identity,
    ke,
    key_length,
    nonce,
    notify,
    sa,
    ts,
    unknown,
    vendor,
)

UNKNOWN_TYPES = (1, 4, 32, 128, 200, 255)
KNOWN: dict[str, Part] = {
    "SA": ESP_SA,
    "KE": KE_X25519,
    "IDi": ID_I,
    "IDr": ID_R,
    "CERT": cert(4, CERTIFICATE),
    "CERTREQ": certreq(4, filler("authority", 20)),
    "AUTH": PROOF,
    "Nonce": NONCE,
    "N": notify(16384),
    "D": delete(ESP, [ESP_SPI]),
    "V": vendor(b"iketcp"),
    "TSi": TS_I,
    "TSr": TS_R,
    "CP": cp(1, Setting(1)),
    "EAP": eap(bytes.fromhex("03010004")),
}
"""One payload of every type but SK."""


def odd() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from reserved_header_bits()
    yield from reserved_payload_bits()
    yield from critical_known()
    yield from unknown_payloads()
    yield from fragments()
    yield from open_structures()
    yield from open_proposals()
    yield from open_selectors()
    yield from doubled_payloads()
    yield from missing_payloads()
    yield from odd_headers()
    yield from longest()


def reserved_header_bits() -> Iterator[Case]:
    """Set what must be ignored in the header."""
    bits = (0x80, 0x40, 0x10, 0x04, 0x02, 0x01, 0xD7)
    for bit in bits:
        for head in (INIT, INIT_RESPONSE):
            name = "response" if head.is_response else "request"
            odd_head = replace(head, flags=head.flags | bit)
            comment = f"flags {bit:02x} set in a {name}"
            flags = "Version" if bit == 0x10 else "ReservedBits"
            yield Case(comment, flags, "3.1", odd_head, (NONCE,))
    for minor in (1, 7, 15):
        head = replace(INIT, version=0x20 | minor)
        comment = f"minor version {minor}"
        parts = (NONCE,)
        yield Case(comment, "Version", "2.5 3.1", head, parts, is_never_sent=True)


def reserved_payload_bits() -> Iterator[Case]:
    """Set what must be ignored in payloads."""
    for flags in (0x01, 0x40, 0x7F):
        for name, part in KNOWN.items():
            comment = f"reserved bits {flags:02x} set in the header of {name}"
            parts = (replace(part, flags=flags),)
            yield Case(comment, "ReservedBits", "3.2", CREATE, parts, True)
    suite = (*ESP_SUITE[:1], replace(ESP_SUITE[1], reserved=(0xFF, 0xFF)))
    first = replace(ESP_SUITE[0], reserved=(0xFF, 0))
    second = replace(ESP_SUITE[0], reserved=(0, 0xFF))
    rest = ESP_SUITE[1:]
    three = b"\xff\xff\xff"
    for where, spec, part in (
        (
            "Proposal",
            "3.3.1",
            sa(Proposal(1, ESP, ESP_SPI, ESP_SUITE, reserved=0xFF)),
        ),
        ("Transform, 2nd octet", "3.3.2", sa(Proposal(1, 3, ESP_SPI, (first, *rest)))),
        ("Transform, 6th octet", "3.3.2", sa(Proposal(1, 3, ESP_SPI, (second, *rest)))),
        ("last Transform, both octets", "3.3.2", sa(Proposal(1, 3, ESP_SPI, suite))),
        ("KE", "3.4", ke(31, filler("x25519", 32), 0xFFFF)),
        (
            "IDi, which AUTH covers as they came",
            "2.15 3.5",
            identity(IDI, 2, b"west.example", three),
        ),
        ("AUTH", "3.8", auth(2, filler("auth", 32), three)),
        ("TSi", "3.13", ts(TSI, addresses(*NET4), reserved=three)),
        ("CP", "3.15", cp(1, Setting(1), reserved=three)),
        ("CP attribute", "3.15.1", cp(1, Setting(1, is_reserved_set=True))),
    ):
        comment = f"reserved octets set in {where}"
        never = part.kind == IDI
        yield Case(
            comment,
            "ReservedBits",
            spec,
            CREATE,
            (part,),
            is_protected=True,
            is_never_sent=never,
        )
    for protocol in (IKE, AH, ESP, 200):
        comment = f"N without SPI and with Protocol ID {protocol}, to be ignored"
        parts = (notify(16384, protocol=protocol),)
        yield Case(comment, "ReservedBits NotifySpi", "3.10", INFO, parts, True)


def critical_known() -> Iterator[Case]:
    """Set the critical bit where it means nothing: on types that all know."""
    for flags, more in ((0x80, ""), (0xFF, " and all reserved ones")):
        for name, part in KNOWN.items():
            comment = f"critical bit{more} set on {name}"
            parts = (replace(part, flags=flags),)
            yield Case(comment, "CriticalKnown", "2.5 3.2", CREATE, parts, True)
        sk = replace(encrypted(35, filler("sk", 48)), flags=flags)
        comment = f"critical bit{more} set on SK"
        yield Case(comment, "CriticalKnown Encrypted", "2.5 3.2", INFO, (sk,))


def unknown_payloads() -> Iterator[Case]:
    """Send payloads of unknown types that may be skipped."""
    spec = "2.5 3.2"
    for kind in UNKNOWN_TYPES:
        strange = unknown(kind, filler(f"unknown {kind}", 12))
        for place, parts in {
            "first": (strange, IKE_SA, KE_X25519, NONCE),
            "in the middle": (IKE_SA, strange, KE_X25519, NONCE),
            "last": (IKE_SA, KE_X25519, NONCE, strange),
            "alone": (strange,),
        }.items():
            comment = f"unknown payload of type {kind} {place}"
            yield Case(comment, "UnknownPayload", spec, INIT, parts)
        parts = (notify(16384), strange)
        comment = f"unknown payload of type {kind} in a protected request"
        yield Case(comment, "UnknownPayload", spec, INFO, parts, True)
    for size in (0, 1, 5000):
        parts = (unknown(200, filler("unknown", size)), NONCE)
        comment = f"unknown payload of {size} octets"
        yield Case(comment, "UnknownPayload Sizes", spec, INIT, parts)
    parts = (*(unknown(kind, b"x") for kind in UNKNOWN_TYPES), NONCE)
    yield Case("six unknown payloads", "UnknownPayload Several", spec, INIT, parts)
    parts = (replace(unknown(200, b"x"), flags=0x7F), NONCE)
    comment = "unknown payload with all reserved bits and without the critical bit"
    yield Case(comment, "UnknownPayload ReservedBits", spec, INIT, parts)
    parts = (unknown(200, b"x"), encrypted(35, filler("sk", 48)))
    yield Case("unknown payload before SK", "UnknownPayload", spec, INFO, parts)


def fragments() -> Iterator[Case]:
    """Send an Encrypted Fragment: it ends the chain as SK does, for who knows it."""
    for inner in (0, 35):
        body = bytes.fromhex("00010002") + filler("fragment", 44)
        parts = (encrypted(inner, body, SKF),)
        comment = f"SKF with Next Payload {inner}"
        yield Case(
            comment, "Encrypted Open", "7383:2.5", AUTH_REQUEST, parts, is_open=True
        )


def open_structures() -> Iterator[Case]:
    """Send what no sentence forbids and no sender sends."""
    message = "EAP message whose Length is not its size"
    for comment, spec, head, part in (
        ("D of no ESP SPIs", "3.11", INFO, delete(ESP)),
        ("D of no AH SPIs", "3.11", INFO, delete(AH)),
        ("N with an SPI of protocol 0", "3.10", INFO, notify(40960, b"", 0, b"abcd")),
        ("N with an SPI of protocol 9", "3.10", INFO, notify(40960, b"", 9, b"ab")),
        ("CP gives an empty attribute 15", "3.15.1", INFO_RESPONSE, cp(2, Setting(15))),
        ("ID without data", "3.5", AUTH_REQUEST, identity(IDI, 2, b"")),
        ("ID_IPV4_ADDR of 5 octets", "3.5", AUTH_REQUEST, identity(IDI, 1, b"abcde")),
        ("ID_IPV6_ADDR of 4 octets", "3.5", AUTH_REQUEST, identity(IDI, 5, b"abcd")),
        ("AUTH without data", "3.8", AUTH_REQUEST, auth(2, b"")),
        ("CERT without data", "3.6", AUTH_REQUEST, cert(4, b"")),
        ("CERTREQ of 21 octets", "3.7", AUTH_REQUEST, certreq(4, filler("a", 21))),
        ("EAP without a message", "3.16", AUTH_REQUEST, eap(b"")),
        (message, "3.16", AUTH_REQUEST, eap(bytes.fromhex("01010006"))),
    ):
        yield Case(comment, "Open", spec, head, (part,), True, is_open=True)
    for comment, part in {
        "KE without a public value": ke(31, b""),
        "KE of 31 octets for Curve25519": ke(31, filler("x25519", 31)),
    }.items():
        three = (IKE_SA, part, NONCE)
        yield Case(comment, "ExchangeLevel", "3.4", INIT, three, is_open=True)
    for size in (0, 1):
        sk = encrypted(0, filler("short", size))
        comment = f"SK of {size} octets, too short for any cipher"
        yield Case(comment, "Encrypted Open", "3.14", INFO, (sk,), is_open=True)


def open_proposals() -> Iterator[Case]:
    """Contradict what the RFC calls unnecessary, and write Key Length oddly."""
    rest = IKE_SUITE[1:]

    def offer(*attributes: Attribute) -> Part:
        transform = Transform(ENCR, 12, attributes)
        return sa(Proposal(1, IKE, b"", (transform, *rest)))

    one = Proposal(1, IKE, b"", IKE_SUITE)
    mark = "Last Substruc of"
    for more in (2, 3, 1, 255):
        part = sa(replace(one, more=more))
        yield refusal(f"{mark} the only proposal is {more}", "3.3.1", part)
        part = sa(replace(one, transforms=(*rest, replace(IKE_SUITE[0], more=more))))
        yield refusal(f"{mark} the last transform is {more}", "3.3.2", part)
    for more in (0, 1, 3, 255):
        part = sa(replace(one, more=more), replace(one, number=2))
        yield refusal(f"{mark} the first of two proposals is {more}", "3.3.1", part)
    for more in (0, 1, 2, 255):
        part = sa(replace(one, transforms=(replace(IKE_SUITE[0], more=more), *rest)))
        yield refusal(f"{mark} the first of three transforms is {more}", "3.3.2", part)
    for comment, part in {
        "Key Length twice": offer(key_length(128), key_length(256)),
        "Key Length twice, the same": offer(key_length(128), key_length(128)),
        "an unknown attribute twice": offer(*[Attribute(77, b"\0\1")] * 2),
        "an attribute type in both formats": offer(
            Attribute(77, b"\0\1"), Attribute(77, b"\0\1", False)
        ),
    }.items():
        yield refusal(comment, "3.3.5", part)
    for value in (b"\x00\x80", b"\x00\x00\x00\x80", b""):
        part = offer(Attribute(KEY_LENGTH, value, False))
        comment = f"Key Length in TLV format, {len(value)} octets: not understood"
        parts = (part,)
        yield Case(comment, "Open Attributes", "3.3.5", INIT, parts, is_open=True)
    part = sa(Proposal(2, IKE, b"", IKE_SUITE))
    comment = "the only proposal of a request has number 2"
    yield Case(comment, "ExchangeLevel", "3.3.1", INIT, (part,), is_open=True)
    part = sa(Proposal(1, IKE, filler("spi", 8), IKE_SUITE))
    comment = "an IKE SPI in the offer for a first IKE SA"
    yield Case(comment, "ExchangeLevel", "3.3.1", INIT, (part,), is_open=True)


def refusal(comment: str, spec: str, part: Part) -> Case:
    """Make a case that we refuse, and that others may accept."""
    flags = "Open LastSubstruc" if comment.startswith("Last") else "Open Attributes"
    parts = (part, KE_X25519, NONCE)
    return Case(comment, flags, spec, INIT, parts, error=MALFORMED, is_open=True)


def open_selectors() -> Iterator[Case]:
    """Send ranges that run backwards: malformed to us, empty to others."""
    for comment, selector in {
        "an IPv4 range backwards": addresses(*NET4[::-1]),
        "an IPv6 range backwards": addresses(*NET6[::-1]),
        "ports 6000 to 5000": addresses(*NET4, 17, (6000, 5000)),
        "ports 65535 to 1": addresses(*NET4, 17, (65535, 1)),
        "ports 65534 to 0": addresses(*NET4, 17, (65534, 0)),
        "ports 1 to 0": addresses(*NET4, 6, (1, 0)),
    }.items():
        for place, selectors in {
            "alone": (selector,),
            "behind another selector": (addresses(*NET4), selector),
        }.items():
            yield Case(
                f"{comment}, {place}",
                "Open Backwards",
                "3.13.1",
                CREATE,
                (ts(TSI, *selectors), TS_R),
                is_protected=True,
                error=MALFORMED,
                is_open=True,
            )
    parts = (ts(TSI, addresses(*NET4, 0, (80, 80))), TS_R)
    comment = "a port without a protocol"
    flags = "Open Selector"
    yield Case(comment, flags, "3.13.1", CREATE, parts, True, is_open=True)


def doubled_payloads() -> Iterator[Case]:
    """Send payloads twice of which an exchange has one."""
    init = {"SA": IKE_SA, "KE": KE_X25519, "Ni": NONCE}
    child = {"SA": ESP_SA, "TSi": TS_I, "TSr": TS_R}
    for exchange, spec, head, found in (
        ("IKE_SA_INIT", "1.2", INIT, init),
        ("IKE_AUTH", "1.2", AUTH_REQUEST, {"IDi": ID_I, "AUTH": PROOF} | child),
        ("CREATE_CHILD_SA", "1.3.1", CREATE, {"Ni": NONCE, "KE": KE_X25519} | child),
    ):
        for name, part in found.items():
            comment = f"{exchange} request with two {name}"
            parts = (*found.values(), part)
            flags = "ExchangeLevel"
            is_protected = head is not INIT
            yield Case(comment, flags, spec, head, parts, is_protected, is_open=True)


def missing_payloads() -> Iterator[Case]:
    """Leave out what an exchange needs."""
    for comment, head, parts in (
        ("IKE_SA_INIT request without payloads", INIT, ()),
        ("IKE_SA_INIT response without payloads", INIT_RESPONSE, ()),
        ("INFORMATIONAL request in the clear, without payloads", INFO, ()),
        ("IKE_SA_INIT request without SA", INIT, (KE_X25519, NONCE)),
        ("IKE_SA_INIT request without KE", INIT, (IKE_SA, NONCE)),
        ("IKE_SA_INIT request without Ni", INIT, (IKE_SA, KE_X25519)),
        ("IKE_AUTH request in the clear", AUTH_REQUEST, (ID_I, PROOF, ESP_SA)),
        ("D of the IKE SA in the clear", INFO, (delete(IKE),)),
    ):
        yield Case(comment, "ExchangeLevel", "1.2", head, tuple(parts), is_open=True)


def odd_headers() -> Iterator[Case]:
    """Send headers that no exchange begins with."""
    first = (IKE_SA, KE_X25519, NONCE)
    for comment, head in {
        "IKE_SA_INIT request with an SPIr": Head(34, 0),
        "IKE_SA_INIT request with Message ID 1": replace(INIT, message_id=1),
        "IKE_SA_INIT request of the original responder": replace(INIT, flags=0),
        "IKE_SA_INIT response of the original initiator": replace(
            INIT_RESPONSE, flags=INIT_RESPONSE.flags | INITIATOR
        ),
        "IKE_AUTH request without SPIr": Head(35, 1, spi_r=bytes(8)),
    }.items():
        yield Case(comment, "ExchangeLevel", "2.2 3.1", head, first, is_open=True)
    for exchange in (0, 1, 33, 200, 240, 255):
        for head in (Head(exchange, 3), replace(INFO_RESPONSE, exchange=exchange)):
            name = "response" if head.is_response else "request"
            comment = f"{name} of exchange type {exchange}, which nobody knows"
            flags = "ExchangeLevel UnknownNumber"
            parts = (encrypted(0, filler("sk", 28)),)
            yield Case(comment, flags, "3.1", head, parts, is_open=True)


def longest() -> Iterator[Case]:
    """Send as much as one message over TCP can hold: 65,529 octets."""
    largest = vendor(filler("largest", 65529 - 28 - 4))
    parts = (largest,)
    yield Case("65,529 octets in one payload", "Longest", "3.2", INIT, parts)
    many = tuple(vendor(b"") for _ in range(500))
    yield Case("500 payloads without a body", "Longest Several", "3.2", INIT, many)
    many = (*(notify(40960) for _ in range(255)), nonce(filler("nonce", 16)))
    yield Case("255 N and a nonce", "Longest Several", "3.2", INIT, many)
