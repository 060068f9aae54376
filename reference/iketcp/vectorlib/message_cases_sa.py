"""Message tests of the Security Association payload.

Source: RFC 7296 §3.3, RFC 8247 §2, RFC 8221 §5
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import CREATE, INIT, INIT_RESPONSE, Case
from iketcp.vectorlib.message_parts import (
    AH,
    ENCR,
    ESN,
    ESP,
    IKE,
    INTEG,
    KEM,
    PRF,
    Attribute,
    Part,
    Proposal,
    Transform,
    encr,
    filler,
    key_length,
    sa,
)

SPI = bytes.fromhex("c0ffee01")
CBC = (encr(12, 128), Transform(INTEG, 12))
IKE_REST = (Transform(PRF, 5), Transform(KEM, 31))
IKE_CBC = (*CBC, *IKE_REST)
IKE_GCM = (encr(20, 256), *IKE_REST)
NO_ESN = Transform(ESN, 0)


def security_associations() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from transforms()
    yield from unknown_transforms()
    yield from attributes()
    yield from several_proposals()
    yield from protocols_and_spis()
    yield from numbers()
    yield from many()


def one(*offer: Transform) -> Part:
    """Make an SA payload of one proposal for an IKE SA."""
    return sa(Proposal(1, IKE, b"", offer))


def child(*offer: Transform) -> Part:
    """Make an SA payload of one proposal for ESP."""
    return sa(Proposal(1, ESP, SPI, offer))


def transforms() -> Iterator[Case]:
    """Offer every algorithm that our own registry and RFC 7296 know."""
    spec = "3.3.2"
    for id in range(1, 13):
        if id != 10:
            comment = f"ENCR {id} without Key Length"
            part = child(encr(id), NO_ESN)
            yield Case(comment, "EveryNumber", spec, CREATE, (part,), True)
    for id in (12, 13, 20):
        for bits in (128, 192, 256):
            comment = f"ENCR {id} with Key Length {bits}"
            part = one(encr(id, bits), *IKE_REST)
            yield Case(comment, "EveryNumber", f"{spec} 3.3.5", INIT, (part,))
    part = one(encr(28), *IKE_REST)
    yield Case("ENCR 28, ChaCha20-Poly1305", "EveryNumber", spec, INIT, (part,))
    rows = (
        ("PRF", PRF, (1, 2, 3, 5, 6, 7)),
        ("INTEG", INTEG, (0, 1, 2, 3, 4, 5, 12, 13, 14)),
        ("KE", KEM, (0, 1, 2, 5, *range(14, 22), 31, 32)),
    )
    for name, kind, ids in rows:
        for id in ids:
            comment = f"{name} {id}"
            part = one(encr(12, 128), Transform(kind, id))
            yield Case(comment, "EveryNumber", spec, INIT, (part,))
    for id in (0, 1):
        part = child(encr(20, 128), Transform(ESN, id))
        yield Case(f"ESN {id}", "EveryNumber", spec, CREATE, (part,), True)
    part = child(encr(20, 128), Transform(ESN, 0), Transform(ESN, 1))
    yield Case("ESN both ways", "Several", spec, CREATE, (part,), True)


def unknown_transforms() -> Iterator[Case]:
    """Offer what no table has, beside what it has: it is passed over, not refused."""
    for kind in (0, 13, 240, 255):
        comment = f"transform of unknown type {kind}"
        part = one(*IKE_GCM, Transform(kind, 1))
        yield Case(comment, "UnknownNumber", "3.3.6", INIT, (part,))
    for kind, name in {1: "ENCR", 2: "PRF", 3: "INTEG", 4: "KE", 5: "ESN"}.items():
        for id in (1023, 1024, 65535):
            comment = f"{name} {id}, which nobody knows"
            part = one(*IKE_GCM, Transform(kind, id))
            yield Case(comment, "UnknownNumber", "3.3.6", INIT, (part,))


def attributes() -> Iterator[Case]:
    """Give transforms attributes: unknown ones make them unacceptable, not wrong."""
    short, longer = Attribute(77, b"\x00\x01"), Attribute(78, b"\1\2\3\4\5", False)
    empty = Attribute(79, b"", False)
    for comment, found in {
        "an unknown attribute in TV format": (short,),
        "an unknown attribute in TLV format": (longer,),
        "an unknown attribute in TLV format without a value": (empty,),
        "Key Length, then an unknown attribute": (key_length(128), short),
        "Key Length, then three unknown attributes": (
            key_length(256),
            short,
            longer,
            empty,
        ),
        "the highest attribute type, TV": (Attribute(32767, b"\xff\xff"),),
        "the highest attribute type, TLV": (Attribute(32767, filler("a", 300), False),),
        "attribute type 0": (Attribute(0, b"\x00\x00"),),
    }.items():
        part = one(Transform(ENCR, 12, found), *CBC[1:], *IKE_REST)
        yield Case(comment, "Attributes", "3.3.5 3.3.6", INIT, (part,))
    part = one(Transform(ENCR, 12, (longer, key_length(128))), *IKE_REST)
    yield Case(
        "an unknown attribute, then Key Length",
        "Attributes",
        "3.3.5",
        INIT,
        (part,),
        is_never_sent=True,
    )
    for bits in (0, 1, 65535):
        part = one(encr(12, bits), *CBC[1:], *IKE_REST)
        comment = f"Key Length {bits}, which no cipher has"
        yield Case(comment, "Attributes", "3.3.5 3.3.6", INIT, (part,))
    part = one(encr(20, 256), Transform(PRF, 5, (key_length(256),)), IKE_REST[1])
    comment = "Key Length on a PRF of one size: not to be chosen, not wrong"
    yield Case(comment, "Attributes", "3.3.5", INIT, (part,), is_never_sent=True)


def several_proposals() -> Iterator[Case]:
    """Offer alternatives in one proposal and in several."""
    sizes = tuple(encr(12, bits) for bits in (128, 192, 256))
    integrity = tuple(Transform(INTEG, id) for id in (12, 13, 14))
    groups = tuple(Transform(KEM, id) for id in (31, 19, 14, 0))
    wide = (*sizes, *integrity, Transform(PRF, 5), Transform(PRF, 7), *groups)
    offers = {
        "many alternatives in one proposal": sa(Proposal(1, IKE, b"", wide)),
        "combined-mode and other ciphers in two proposals": sa(
            Proposal(1, IKE, b"", IKE_GCM), Proposal(2, IKE, b"", IKE_CBC)
        ),
        "five proposals": sa(
            *(Proposal(index, IKE, b"", IKE_GCM) for index in range(1, 6))
        ),
        "transforms of one type apart": one(
            encr(12, 128), IKE_REST[0], encr(12, 256), CBC[1], IKE_REST[1]
        ),
        "the same transform twice": one(encr(20, 256), *IKE_GCM),
    }
    for comment, part in offers.items():
        yield Case(comment, "Several", "3.3", INIT, (part,))
    part = sa(
        Proposal(1, ESP, SPI, (*sizes, *integrity[:1], NO_ESN)),
        Proposal(2, ESP, b"\xc0\xff\xee\x02", (encr(20, 128), encr(20, 256), NO_ESN)),
        Proposal(3, AH, SPI, (Transform(INTEG, 12), NO_ESN)),
    )
    comment = "proposals of ESP and AH, each with an SPI of its own"
    yield Case(comment, "Several", "3.3.1", CREATE, (part,), True)


def protocols_and_spis() -> Iterator[Case]:
    """Name SPIs of each protocol's size, and protocols that nobody knows."""
    for comment, proposal in {
        "IKE with an SPI of 8 octets": Proposal(1, IKE, filler("spi", 8), IKE_GCM),
        "AH with an SPI of 4 octets": Proposal(1, AH, SPI, (CBC[1], NO_ESN)),
        "ESP with an SPI of 4 octets": Proposal(1, ESP, SPI, (encr(20, 128), NO_ESN)),
        "ESP with SPI 0, which is not to be allocated": Proposal(
            1, ESP, bytes(4), (encr(20, 128), NO_ESN)
        ),
    }.items():
        yield Case(comment, "SpiSize", "3.3.1", CREATE, (sa(proposal),), True)
    for protocol in (0, 4, 200, 255):
        for size in (0, 2, 4, 255):
            spi = filler("unknown protocol", size)
            part = sa(
                Proposal(1, protocol, spi, (Transform(1, 1),)),
                Proposal(2, ESP, SPI, (encr(20, 128), NO_ESN)),
            )
            comment = f"unknown protocol {protocol}, SPI of {size} octets, then ESP"
            yield Case(comment, "UnknownNumber", "3.3.1", CREATE, (part,), True)


def numbers() -> Iterator[Case]:
    """Accept a proposal under the number under which it was offered."""
    for number in (1, 2, 5, 255):
        part = sa(Proposal(number, IKE, b"", IKE_GCM))
        comment = f"the answer accepts proposal {number}"
        yield Case(comment, "ProposalNum", "3.3.1", INIT_RESPONSE, (part,))


def many() -> Iterator[Case]:
    """Fill the counts."""
    part = one(*(Transform(200, id) for id in range(255)))
    yield Case("255 transforms", "Longest Several", "3.3.1", INIT, (part,))
    proposals = (Proposal(n, IKE, b"", (Transform(200, n),)) for n in range(1, 256))
    part = sa(*proposals)
    yield Case("255 proposals", "Longest Several", "3.3.1", INIT, (part,))


def implicit_iv() -> Iterator[Case]:
    """Offer ciphers whose IV is not sent, for ESP only. Source: RFC 8750 §5."""
    spec = "8750:8"
    for bits in (128, 192, 256):
        part = child(encr(30, bits), encr(20, bits), NO_ESN)
        comment = f"ENCR 30 before 20, with Key Length {bits}"
        yield Case(comment, "EveryNumber", spec, CREATE, (part,), True)
    part = child(encr(31), encr(28), NO_ESN)
    comment = "ENCR 31 before 28"
    yield Case(comment, "EveryNumber", spec, CREATE, (part,), True)
