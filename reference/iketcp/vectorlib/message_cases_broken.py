"""Message tests that are to be refused: lengths, counts, sizes and versions.

What is inside an SA payload stands in :mod:`iketcp.vectorlib.message_cases_wrong`.

Source: RFC 7296 §2.5, RFC 7296 §2.21, RFC 7296 §3
"""

from collections.abc import Iterator
from dataclasses import replace

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    CREATE,
    CREATE_RESPONSE,
    CRITICAL,
    INFO,
    INFO_RESPONSE,
    INIT,
    INIT_RESPONSE,
    MAJOR,
    MALFORMED,
    Case,
)
from iketcp.vectorlib.message_cases import ID_I, IKE_SA, KE_X25519, NONCE, PROOF
from iketcp.vectorlib.message_cases_open import KNOWN, UNKNOWN_TYPES
from iketcp.vectorlib.message_cases_wrong import wrong_bodies
from iketcp.vectorlib.message_parts import (
    SK,
    SKF,
    Head,
    Part,
    boundaries,
    cert,
    chain,
    encrypted,
    filler,
    message,
    notify,
    unknown,
    vendor,
)

FIRST = (IKE_SA, KE_X25519, NONCE)
FRAMED = "9329-3.1-agree"


def broken() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from versions()
    yield from header_lengths()
    yield from short_headers()
    yield from zero_spis()
    yield from payload_lengths()
    yield from chains()
    yield from encrypted_places()
    yield from critical_unknown()
    yield from wrong_bodies()
    yield from short_bodies()
    yield from every_exchange()
    yield from cut_first_request()
    yield from cut_everything()


def malformed(
    comment: str, flags: str, spec: str, head: Head, *parts: Part, tail: bytes = b""
) -> Case:
    """Make a case that is refused; protected unless it is IKE_SA_INIT."""
    is_protected = head.exchange != 34
    return Case(comment, flags, spec, head, parts, is_protected, tail, error=MALFORMED)


def versions() -> Iterator[Case]:
    """Speak another major version."""
    for major in (3, 4, 15):
        for head in (INIT, INIT_RESPONSE, INFO):
            name = "response" if head.is_response else "request"
            yield Case(
                f"major version {major}, {name} of exchange {head.exchange}",
                "Version",
                "2.5 3.1",
                replace(head, version=major << 4),
                FIRST,
                error=MAJOR,
            )
    head = replace(INIT, version=0x35)
    yield Case("version 3.5", "Version", "2.5 3.1", head, FIRST, error=MAJOR)
    for version, is_open in ((0x10, True), (0x11, True), (0x00, False)):
        yield Case(
            f"version {version >> 4}.{version & 15}",
            "Version Open" if is_open else "Version",
            "2.5 3.1",
            replace(INIT, version=version),
            FIRST,
            error=MALFORMED,
            is_dropped=True,
            is_open=is_open,
        )


def header_lengths() -> Iterator[Case]:
    """Let the header's Length say something else than the framing."""
    size = len(message(INIT, FIRST))
    lengths = [0, 1, 27, 28, size - 4, size - 1, size + 1, size + 4]
    for length in (*lengths, 65535, 65536 + size, 1 << 24, 1 << 31, 0xFFFFFFFF):
        yield Case(
            f"Length {length} in a message of {size} octets",
            "HeaderLength",
            "3.1",
            replace(INIT, size=length),
            FIRST,
            error=MALFORMED,
            is_dropped=True,
            requirement=FRAMED,
        )
    for head in (INFO, INFO_RESPONSE):
        for more in (-1, 1):
            parts = (encrypted(0, filler("sk", 28)),)
            size = len(message(head, parts))
            yield Case(
                f"Length {size + more} in a message of {size} octets with SK",
                "HeaderLength Encrypted",
                "3.1",
                replace(head, size=size + more),
                parts,
                error=MALFORMED,
                is_dropped=True,
                requirement=FRAMED,
            )


def short_headers() -> Iterator[Case]:
    """End inside the header, and at every boundary with the Length unchanged."""
    for cut in (*range(28), *boundaries(28, FIRST)[:-1]):
        yield Case(
            f"{cut} octets are left, Length as it was",
            "Truncated HeaderLength",
            "3.1",
            INIT,
            FIRST,
            error=MALFORMED,
            is_dropped=True,
            cut=cut,
            requirement=FRAMED if cut >= 28 else "",
        )


def zero_spis() -> Iterator[Case]:
    """Send an initiator's SPI of zero, which none may choose."""
    for head in (INIT, INIT_RESPONSE, INFO, INFO_RESPONSE):
        name = "response" if head.is_response else "request"
        yield Case(
            f"SPIi zero in a {name} of exchange {head.exchange}",
            "HeaderFields",
            "2.6 3.1",
            replace(head, spi_i=bytes(8)),
            FIRST,
            error=MALFORMED,
            is_dropped=True,
        )


def payload_lengths() -> Iterator[Case]:
    """Let a Payload Length say something else than there is."""
    flags, spec = "PayloadLength", "3.2"
    for place in range(3):
        good = 4 + len(FIRST[place].body)
        rest = len(chain(FIRST[place:]))
        beyond = (rest + 1, rest + 4, 0x8000, 65535)
        for size in (0, 1, 2, 3, 4, good - 1, good + 1, *beyond):
            parts = list(FIRST)
            parts[place] = replace(FIRST[place], size=size)
            comment = f"Payload Length {size}, not {good}, in payload {place + 1} of 3"
            yield malformed(comment, flags, spec, INIT, *parts)
    for size in (0, 1, 2, 3, 8, 65535):
        for name, part in (("V", vendor(b"abc")), ("unknown", unknown(200, b"abc"))):
            comment = f"Payload Length {size}, not 7, in the last payload: {name}"
            yield malformed(comment, flags, spec, INFO, replace(part, size=size))
    for size in (0, 3, 60, 65535):
        part = replace(encrypted(35, filler("sk", 48)), size=size)
        comment = f"Payload Length {size}, not 52, in SK"
        flags = "PayloadLength Encrypted"
        yield Case(comment, flags, spec, AUTH_REQUEST, (part,), error=MALFORMED)
    overlapping = replace(vendor(filler("a", 8)), size=18)
    comment = "Payload Length reaches into the next payload"
    yield malformed(comment, flags, spec, INFO, overlapping, notify(16384), PROOF)


def chains() -> Iterator[Case]:
    """Let the types announce more payloads than there are, or fewer."""
    flags, spec = "Chain", "3.1 3.2"
    for kind in (33, 41, 43, 200):
        parts = (*FIRST[:2], replace(NONCE, next=kind))
        comment = f"the last payload announces one of type {kind}"
        yield malformed(comment, flags, spec, INIT, *parts)
        head = replace(INFO, next=kind)
        comment = f"the header announces a payload of type {kind}, and there is none"
        yield malformed(comment, flags, spec, head)
    part = replace(IKE_SA, next=0)
    yield malformed("the chain ends too early", flags, spec, INIT, part, KE_X25519)
    head = replace(INIT, next=0)
    yield malformed("the header announces no payload", flags, spec, head, NONCE)
    for tail in (b"\0", b"\0\0\0\0", b"\xff" * 3, notify(16384).body):
        comment = f"{len(tail)} octets behind the last payload: {tail.hex()}"
        yield malformed(comment, "TrailingOctets", spec, INIT, *FIRST, tail=tail)
        comment = f"{len(tail)} octets and no payload: {tail.hex()}"
        yield malformed(comment, "TrailingOctets", spec, INFO, tail=tail)


def encrypted_places() -> Iterator[Case]:
    """Put SK where it must not be."""
    spec, sk = "3.1 3.14", encrypted(41, filler("sk", 48))
    for comment, tail in {
        "N": chain((notify(16384),)),
        "another SK": chain((encrypted(0, filler("sk", 28)),)),
        "an octet": b"\0",
    }.items():
        for head in (INFO, INFO_RESPONSE):
            name = "response" if head.is_response else "request"
            flags = "EncryptedNotLast Encrypted"
            yield Case(
                f"{comment} behind SK in a {name}",
                flags,
                spec,
                head,
                (sk,),
                tail=tail,
                error=MALFORMED,
            )
    for kind, name in ((SK, "SK"), (SKF, "SKF")):
        inner = encrypted(0, filler("inside", 28), kind)
        for parts in ((inner,), (notify(16384), inner), (ID_I, PROOF, inner)):
            comment = f"{name} inside SK, behind {len(parts) - 1} payloads"
            flags = "NestedEncrypted Encrypted"
            case = malformed(comment, flags, spec, AUTH_REQUEST, *parts)
            yield replace(case, spec=spec if kind == SK else "7383:2.5")


def critical_unknown() -> Iterator[Case]:
    """Mark payloads of unknown type as critical."""
    flags, spec = "UnknownCritical", "2.5 3.2"
    for kind in UNKNOWN_TYPES:
        strange = unknown(kind, filler(f"unknown {kind}", 12), is_critical=True)
        for head in (INIT, INIT_RESPONSE, AUTH_REQUEST, CREATE, INFO, INFO_RESPONSE):
            name = "response" if head.is_response else "request"
            comment = f"critical payload of type {kind} in a {name} of {head.exchange}"
            is_init = head.exchange == 34
            before = FIRST if is_init else (notify(16384),)
            yield Case(
                comment,
                flags,
                spec,
                head,
                (*before, strange),
                is_protected=not is_init,
                error=CRITICAL,
                critical_type=kind,
            )
    strange = unknown(200, b"", is_critical=True)
    first = unknown(201, b"x", is_critical=True)
    for comment, parts, kind in (
        ("critical payload without a body", (strange,), 200),
        ("critical payload first", (strange, *FIRST), 200),
        ("critical payload behind one that is not", (unknown(199, b"x"), first), 201),
        ("all bits set on a critical payload", (replace(strange, flags=0xFF),), 200),
        ("two critical payloads, the first one is named", (first, strange), 201),
    ):
        yield Case(
            comment, flags, spec, INIT, parts, error=CRITICAL, critical_type=kind
        )
    two = (strange, encrypted(35, filler("sk", 48)))
    comment = "critical payload before SK"
    yield Case(comment, flags, spec, INFO, two, error=CRITICAL, critical_type=200)


def short_bodies() -> Iterator[Case]:
    """Give payloads too few octets for their fixed fields."""
    smallest = {"SA": 16, "KE": 4, "IDi": 4, "IDr": 4, "CERT": 1, "CERTREQ": 1}
    smallest |= {"AUTH": 4, "N": 4, "D": 4, "TSi": 20, "TSr": 20, "CP": 4}
    for name, size in smallest.items():
        part = KNOWN[name]
        for left in range(size):
            comment = f"{name} with {left} octets of body"
            short = replace(part, body=part.body[:left])
            yield malformed(comment, "ShortBody", "3.2", CREATE, short)


def every_exchange() -> Iterator[Case]:
    """Refuse the same payload in requests and responses of every exchange."""
    bad = replace(vendor(b"abc"), size=3)
    heads = {
        "IKE_SA_INIT request": INIT,
        "IKE_SA_INIT response": INIT_RESPONSE,
        "IKE_AUTH request": AUTH_REQUEST,
        "IKE_AUTH response": AUTH_RESPONSE,
        "CREATE_CHILD_SA request": CREATE,
        "CREATE_CHILD_SA response": CREATE_RESPONSE,
        "INFORMATIONAL request": INFO,
        "INFORMATIONAL response": INFO_RESPONSE,
    }
    for name, head in heads.items():
        comment = f"malformed payload in: {name}"
        yield malformed(comment, "Reactions PayloadLength", "3.2", head, bad)
        if head.exchange != 34:
            comment = f"malformed payload in: {name} in the clear"
            flags = "Reactions PayloadLength"
            yield Case(comment, flags, "3.2", head, (bad,), error=MALFORMED)


def cut_first_request() -> Iterator[Case]:
    """Cut an IKE_SA_INIT request at each octet, the Length made to fit."""
    whole = len(message(INIT, FIRST))
    for cut in range(28, whole):
        yield Case(
            f"IKE_SA_INIT request of {whole} octets cut to {cut}",
            "Truncated",
            "3.1 3.2",
            INIT,
            FIRST,
            error=MALFORMED,
            cut=cut,
            is_refitted=True,
        )


def cut_everything() -> Iterator[Case]:
    """Cut a message with every payload at each octet, the Length made to fit."""
    small = cert(4, bytes.fromhex("3003020101"))
    parts = tuple((KNOWN | {"CERT": small}).values())
    whole = len(message(CREATE, parts))
    for cut in range(28, whole):
        yield Case(
            f"message with every payload, {whole} octets, cut to {cut}",
            "Truncated",
            "3.1 3.2",
            CREATE,
            parts,
            is_protected=True,
            error=MALFORMED,
            cut=cut,
            is_refitted=True,
        )
