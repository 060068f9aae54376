"""Message tests of payloads whose inside contradicts itself or its definition.

Source: RFC 7296 §3.3, RFC 7296 §3.9, RFC 7296 §3.10, RFC 7296 §3.11, RFC 7296 §3.13,
RFC 7296 §3.15
"""

from collections.abc import Iterator
from dataclasses import replace

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    CREATE,
    INFO,
    INIT,
    MALFORMED,
    Case,
)
from iketcp.vectorlib.message_cases import (
    ESP_SPI,
    ESP_SUITE,
    IKE_SUITE,
    KE_X25519,
    NONCE,
    TS_R,
)
from iketcp.vectorlib.message_cases_ts import NET4, NET6
from iketcp.vectorlib.message_parts import (
    AH,
    ENCR,
    ESP,
    IKE,
    SA,
    TSI,
    Attribute,
    Head,
    Part,
    Proposal,
    Selector,
    Setting,
    Transform,
    addresses,
    cp,
    delete,
    filler,
    key_length,
    nonce,
    notify,
    sa,
    ts,
)

ONE = Proposal(1, IKE, b"", IKE_SUITE)
CHILD = Proposal(1, ESP, ESP_SPI, ESP_SUITE)


def wrong_bodies() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from proposal_lengths()
    yield from transform_lengths()
    yield from attribute_lengths()
    yield from counts()
    yield from spi_sizes()
    yield from proposal_numbers()
    yield from nonces()
    yield from notifications()
    yield from deletes()
    yield from selector_counts()
    yield from selector_lengths()
    yield from configurations()


def in_offer(comment: str, flags: str, spec: str, part: Part) -> Case:
    """Refuse an SA payload in a first request."""
    parts = (part, KE_X25519, NONCE)
    return Case(comment, flags, spec, INIT, parts, error=MALFORMED)


def inside(comment: str, flags: str, spec: str, head: Head, *parts: Part) -> Case:
    """Refuse payloads that came inside SK."""
    return Case(comment, flags, spec, head, parts, True, error=MALFORMED)


def proposal_lengths() -> Iterator[Case]:
    """Let a Proposal Length say something else than there is."""
    flags, spec = "SaLength", "3.3 3.3.1"
    good = len(ONE.octets(is_last=True, is_sent=False))
    for size in (0, 1, 4, 7, 8, 12, good - 8, good - 1, good + 1, good + 4, 65535):
        comment = f"Proposal Length {size}, not {good}"
        yield in_offer(comment, flags, spec, sa(replace(ONE, size=size)))
        two = replace(ONE, size=size), replace(ONE, number=2)
        comment = f"Proposal Length {size}, not {good}, in the first of two"
        yield in_offer(comment, flags, spec, sa(*two))
    yield in_offer("SA without a proposal", flags, "3.3", Part(SA, b"", {}))
    for tail in (b"\0", b"\0\0\0\0", bytes(8), filler("tail", 12)):
        comment = f"{len(tail)} octets behind the only proposal"
        yield in_offer(comment, flags, spec, sa(ONE, tail=tail))
        comment = f"{len(tail)} octets behind the last transform of a proposal"
        yield in_offer(comment, flags, spec, sa(replace(ONE, tail=tail)))
    lengths = {"an attribute over the end of": 40, "a transform of": 0}
    for comment, size in lengths.items():
        tail = bytes([3, 0]) + size.to_bytes(2, "big") + bytes(4)
        part = sa(replace(ONE, tail=tail, count=4))
        yield in_offer(f"{comment} length {size} behind others", flags, spec, part)


def transform_lengths() -> Iterator[Case]:
    """Let a Transform Length say something else than there is."""
    flags, spec = "SaLength", "3.3 3.3.2"
    for place, transform in enumerate(IKE_SUITE):
        good = len(transform.octets(is_last=False, is_sent=False))
        for size in (0, 1, 4, 7, good - 1, good + 1, good + 3, good + 100, 65535):
            found = list(IKE_SUITE)
            found[place] = replace(transform, size=size)
            part = sa(replace(ONE, transforms=tuple(found)))
            comment = f"Transform Length {size}, not {good}, in transform {place + 1}"
            yield in_offer(comment, flags, spec, part)


def attribute_lengths() -> Iterator[Case]:
    """Let attributes not fill their transform."""
    flags, spec = "SaLength Attributes", "3.3.5"

    def offer(*attributes: Attribute, tail: bytes = b"") -> Part:
        transform = Transform(ENCR, 12, attributes, tail=tail)
        return sa(replace(ONE, transforms=(transform, *IKE_SUITE[1:])))

    for size in (4, 6, 255, 65535):
        part = offer(Attribute(77, b"abc", False, size))
        comment = f"Attribute Length {size} before 3 octets"
        yield in_offer(comment, flags, spec, part)
    for size in (0, 1, 2):
        part = offer(Attribute(77, b"abc", False, size))
        comment = f"Attribute Length {size} before 3 octets, none an attribute"
        yield in_offer(comment, flags, spec, part)
    for tail in (b"\x80", b"\x80\x0e", b"\x80\x0e\x00", b"\x00\x4d\x00\x01"):
        comment = f"an attribute cut to {tail.hex()}"
        yield in_offer(comment, flags, spec, offer(tail=tail))
        comment = f"an attribute cut to {tail.hex()} behind Key Length"
        yield in_offer(comment, flags, spec, offer(key_length(128), tail=tail))


def counts() -> Iterator[Case]:
    """Let Num Transforms say something else than there is."""
    for count in (0, 1, 2, 4, 255):
        comment = f"Num Transforms {count} before 3"
        part = sa(replace(ONE, count=count))
        yield in_offer(comment, "Counts", "3.3.1", part)
        two = replace(ONE, count=count), replace(ONE, number=2)
        comment = f"Num Transforms {count} before 3 in the first of two proposals"
        yield in_offer(comment, "Counts", "3.3.1", sa(*two))
    for count in (0, 1):
        comment = f"Num Transforms {count} before none"
        part = sa(Proposal(1, IKE, b"", (), count=count))
        yield in_offer(comment, "Counts", "3.3.1", part)
        part = sa(Proposal(1, ESP, ESP_SPI, (), count=count))
        comment = f"{comment}, with an SPI"
        yield inside(comment, "Counts", "3.3.1", CREATE, part)
    many = tuple(Transform(200, id) for id in range(256))
    part = sa(Proposal(1, IKE, b"", many, count=0))
    yield in_offer("Num Transforms 0 before 256", "Counts", "3.3.1", part)


def spi_sizes() -> Iterator[Case]:
    """Give SPIs a size that their protocol does not have."""
    for protocol, right in ((IKE, (0, 8)), (AH, (4,)), (ESP, (4,))):
        for size in (0, 1, 3, 4, 5, 7, 8, 9, 16, 255):
            if size not in right:
                comment = f"SPI of {size} octets for protocol {protocol}"
                spi = filler("spi", size)
                part = sa(Proposal(1, protocol, spi, ESP_SUITE))
                yield inside(comment, "SpiSize", "3.3.1", CREATE, part)
    for size in (0, 3, 5, 8, 255):
        comment = f"SPI Size {size} before an SPI of 4 octets"
        part = sa(replace(CHILD, spi_size=size))
        yield inside(comment, "SpiSize", "3.3.1", CREATE, part)
    part = sa(Proposal(1, 200, ESP_SPI, (Transform(1, 1),), spi_size=255))
    comment = "SPI Size beyond a proposal of unknown protocol"
    yield inside(comment, "SpiSize", "3.3.1", CREATE, part)


def proposal_numbers() -> Iterator[Case]:
    """Number proposals otherwise than 1, 2, 3."""
    for numbers in ((0,), (0, 1), (1, 1), (1, 3), (2, 1), (2, 3), (1, 2, 2), (1, 2, 4)):
        part = sa(*(replace(ONE, number=each) for each in numbers))
        comment = f"proposals numbered {', '.join(map(str, numbers))}"
        yield in_offer(comment, "ProposalNum", "3.3 3.3.1", part)


def nonces() -> Iterator[Case]:
    """Send nonces that are too short or too long."""
    for size in (0, 1, 8, 15, 257, 258, 512, 1000):
        comment = f"nonce of {size} octets"
        part = nonce(filler("nonce", size))
        yield Case(comment, "NonceSize", "3.9", INIT, (part,), error=MALFORMED)
        yield inside(comment, "NonceSize", "3.9", CREATE, part)


def notifications() -> Iterator[Case]:
    """Give N an SPI that does not fit its protocol or its payload."""
    flags, spec = "NotifySpi", "3.10"
    for size in (4, 8):
        comment = f"N with an SPI of {size} octets for IKE, which has none"
        part = notify(16393, b"", IKE, filler("spi", size))
        yield inside(comment, flags, spec, INFO, part)
    for protocol in (AH, ESP):
        for size in (1, 3, 5, 8, 16):
            comment = f"N with an SPI of {size} octets for protocol {protocol}"
            part = notify(16393, b"", protocol, filler("spi", size))
            yield inside(comment, flags, spec, INFO, part)
        for size in (4, 255):
            comment = f"N with SPI Size {size} and no octets, protocol {protocol}"
            part = notify(16393, b"", protocol, spi_size=size)
            yield inside(comment, flags, spec, INFO, part)
    part = notify(16393, b"", 200, b"abc", spi_size=4)
    comment = "N with SPI Size 4 before 3 octets, unknown protocol"
    yield inside(comment, flags, spec, INFO, part)


def deletes() -> Iterator[Case]:
    """Let D's protocol, size and number not fit what there is."""
    four, eight = ESP_SPI, filler("spi", 8)
    for comment, part in {
        "D of the IKE SA with SPI Size 8": delete(IKE, spi_size=8),
        "D of the IKE SA with an SPI": delete(IKE, [eight], spi_size=8),
        "D of the IKE SA with Num of SPIs 1": delete(IKE, count=1),
        "D of the IKE SA with octets behind": delete(IKE, [four], count=0),
        "D of ESP with SPI Size 0": delete(ESP, spi_size=0),
        "D of ESP with SPI Size 0 and Num of SPIs 65535": delete(
            ESP, spi_size=0, count=65535
        ),
        "D of ESP with SPI Size 8": delete(ESP, [eight], spi_size=8),
        "D of ESP with SPI Size 3": delete(ESP, [b"abc"], spi_size=3),
        "D of ESP, Num of SPIs 0 before one": delete(ESP, [four], count=0),
        "D of ESP, Num of SPIs 1 before two": delete(ESP, [four] * 2, count=1),
        "D of ESP, Num of SPIs 2 before one": delete(ESP, [four], count=2),
        "D of ESP, Num of SPIs 65535 before one": delete(ESP, [four], count=65535),
        "D of ESP, Num of SPIs 16385 before one": delete(ESP, [four], count=16385),
        "D of ESP, the last SPI cut": delete(ESP, [four, b"abc"]),
        "D of AH with SPI Size 5": delete(AH, [b"abcde"], spi_size=5),
        "D of protocol 0": delete(0, [four]),
        "D of protocol 0 without SPIs": delete(0, spi_size=0),
        "D of unknown protocol 200": delete(200, [four]),
    }.items():
        yield inside(comment, "Delete", "3.11", INFO, part)


def selector_counts() -> Iterator[Case]:
    """Let Number of TSs say something else than there is."""
    four, six = addresses(*NET4), addresses(*NET6)
    for comment, part in {
        "Number of TSs 0 before none": ts(TSI),
        "Number of TSs 0 before one": ts(TSI, four, count=0),
        "Number of TSs 1 before none": ts(TSI, count=1),
        "Number of TSs 1 before two": ts(TSI, four, six, count=1),
        "Number of TSs 2 before one": ts(TSI, four, count=2),
        "Number of TSs 255 before two": ts(TSI, four, six, count=255),
        "Number of TSs 1 before one and an octet": ts(TSI, four, tail=b"\0"),
        "Number of TSs 0 before 256": ts(TSI, *[four] * 256, count=0),
    }.items():
        yield inside(comment, "Counts Selector", "3.13", CREATE, part, TS_R)


def selector_lengths() -> Iterator[Case]:
    """Let a Selector Length not fit its type or its payload."""
    flags, spec = "SelectorLength Selector", "3.13.1"
    for net, good in ((NET4, 16), (NET6, 40)):
        for size in (0, 3, 4, 8, good - 1, good + 1, 56 - good, 65535):
            comment = f"Selector Length {size}, not {good}"
            part = ts(TSI, addresses(*net, size=size))
            yield inside(comment, flags, spec, CREATE, part, TS_R)
            part = ts(TSI, addresses(*net, size=size), addresses(*NET4))
            comment = f"{comment}, in the first of two"
            yield inside(comment, flags, spec, CREATE, part, TS_R)
    whole = addresses(*NET4).body
    for kind, body in ((7, whole + whole[4:]), (7, whole[:4]), (8, whole), (7, b"")):
        comment = f"a selector of type {kind} that is whole with {4 + len(body)} octets"
        part = ts(TSI, Selector(kind, 0, body))
        yield inside(comment, flags, spec, CREATE, part, TS_R)
    for size in (0, 3, 13, 65535):
        part = ts(TSI, Selector(241, 0, filler("selector", 8), size))
        comment = f"Selector Length {size}, not 12, with an unknown type"
        yield inside(comment, flags, spec, CREATE, part, TS_R)


def configurations() -> Iterator[Case]:
    """Give Configuration Attributes sizes that they do not have."""
    flags, spec = "Configuration", "3.15.1"
    address, prefix = (4, 15, 17), (1, 4, 16, 18)
    wrong: dict[int, tuple[int, ...]] = dict.fromkeys((1, 2, 3, 4, 6), (1, 3, 5, 8, 16))
    wrong |= {8: prefix, 10: address, 12: address, 13: (4, 7, 9), 15: prefix}
    wrong |= {14: (1, 3, 255)}
    for kind, sizes in wrong.items():
        for size in sizes:
            part = cp(2, Setting(kind, filler("setting", size)))
            comment = f"CP attribute {kind} of {size} octets"
            yield inside(comment, flags, spec, AUTH_RESPONSE, part)
    for kind in (8, 15):
        for bits in (129, 255):
            part = cp(2, Setting(kind, NET6_ADDRESS + bytes([bits])))
            comment = f"CP attribute {kind} with prefix length {bits}"
            yield inside(comment, flags, spec, AUTH_REQUEST, part)
    for size in (1, 9, 65535):
        part = cp(1, Setting(7, b"", size))
        comment = f"CP attribute of Length {size} and no octets"
        yield inside(comment, flags, spec, AUTH_REQUEST, part)
        part = cp(1, Setting(7, b"abcd", size), Setting(1))
        comment = f"CP attribute of Length {size} before 4 octets and another"
        yield inside(comment, flags, spec, AUTH_REQUEST, part)
    for left in (1, 2, 3):
        part = cp(1, Setting(1))
        short = replace(part, body=part.body[: 4 + left])
        comment = f"CP attribute cut to {left} octets"
        yield inside(comment, flags, spec, AUTH_REQUEST, short)


NET6_ADDRESS = bytes.fromhex(NET6[0])
