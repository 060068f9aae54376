"""Framing tests that hold for both directions of a connection.

New cases go to the end of their function, and new functions to the end of
:func:`both_ways`.

Source: RFC 9329 §3, RFC 9329 §3.1, RFC 9329 §3.2, RFC 9329 §6.6
"""

from collections.abc import Iterator

from iketcp.vectorlib.framing_parts import (
    KEEPALIVE,
    MARKER,
    PREFIX,
    Case,
    Part,
    empty,
    esp,
    esp_packet,
    filler,
    framed,
    ike,
    ike_message,
    junk,
    keepalive,
    some_esp,
    some_ike,
)

BOTH_LENGTHS = "9329-3.1-length 9329-3.2-length"
KINDS = "9329-3-type 9329-3-length"


def both_ways() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from ordinary()
    yield from fatal_lengths()
    yield from empty_messages()
    yield from keepalives()
    yield from short_messages()
    yield from short_ike()
    yield from ike_sizes()
    yield from esp_sizes()
    yield from markers()
    yield from spis()
    yield from lookalikes()
    yield from cut_esp()
    yield from cut_ike()
    yield from cut_others()
    yield from coalesced()


def ordinary() -> Iterator[Case]:
    """Carry what a healthy connection carries."""
    exchanges = {34: "IKE_SA_INIT", 35: "IKE_AUTH", 36: "CREATE_CHILD_SA"}
    for number, name in (exchanges | {37: "INFORMATIONAL"}).items():
        first = 33 if number == 34 else 46
        message = ike_message(120, number, number - 34, first)
        yield Case(f"one {name} message", "Ordinary", KINDS, (ike(message),))
    yield Case("one ESP packet", "Ordinary", KINDS, (some_esp(),))
    yield Case("IKE, then ESP", "Ordinary", KINDS, (some_ike(), some_esp()))
    yield Case("ESP, then IKE", "Ordinary", KINDS, (some_esp(), some_ike()))


def fatal_lengths() -> Iterator[Case]:
    """Announce Lengths that do not even count their own field."""
    before: list[tuple[str, tuple[Part, ...]]] = [
        ("first message", ()),
        ("after IKE", (some_ike(),)),
        ("after ESP", (some_esp(),)),
        ("after IKE and ESP", (some_ike(), some_esp())),
        ("after a keepalive", (keepalive(),)),
        ("after an empty message", (empty(),)),
        ("after an unparseable message", (junk(b"\x01"),)),
    ]
    behind = [
        ("nothing behind", b""),
        ("one octet behind", b"\xff"),
        ("ESP behind", some_esp(2).octets),
        ("IKE behind", some_ike().octets),
    ]
    for length in (0, 1):
        for name, parts in before:
            for rest_name, rest in behind:
                yield Case(
                    f"Length {length}, {name}, {rest_name}",
                    "ShortLength" + (" Delivered" if parts else ""),
                    BOTH_LENGTHS,
                    parts,
                    rest=length.to_bytes(2, "big") + rest,
                    error="LengthTooSmall",
                )


def empty_messages() -> Iterator[Case]:
    """Announce Length 2."""
    for name, parts in {
        "alone": (empty(),),
        "twice": (empty(), empty()),
        "a hundred times": (empty(),) * 100,
        "before IKE": (empty(), some_ike()),
        "before ESP": (empty(), some_esp()),
        "after IKE": (some_ike(), empty()),
        "after ESP": (some_esp(), empty()),
        "between ESP packets": (some_esp(), empty(), some_esp(2)),
        "between IKE and ESP": (some_ike(), empty(), some_esp()),
    }.items():
        yield Case(f"empty message {name}", "Empty", "9329-3-empty", parts)


def keepalives() -> Iterator[Case]:
    """Send Length 3 with octet FF, and what only looks like it."""
    for name, parts in {
        "alone": (keepalive(),),
        "twice": (keepalive(), keepalive()),
        "a hundred times": (keepalive(),) * 100,
        "before IKE": (keepalive(), some_ike()),
        "before ESP": (keepalive(), some_esp()),
        "after IKE": (some_ike(), keepalive()),
        "after ESP": (some_esp(), keepalive()),
        "between ESP packets": (some_esp(), keepalive(), some_esp(2)),
        "and empty message": (keepalive(), empty()),
        "behind an empty message": (empty(), keepalive(), empty()),
    }.items():
        yield Case(f"keepalive {name}", "Keepalive", "9329-6.6-drop", parts)
    for octet in (0x00, 0x01, 0x49, 0x7F, 0x80, 0xFE):
        yield Case(
            f"one octet {octet:02x} is no keepalive",
            "ShortMessage",
            "9329-3-short 9329-6.6-drop",
            (junk(bytes([octet])), some_esp()),
            result="acceptable",
        )


def short_messages() -> Iterator[Case]:
    """Leave no room for a marker or an SPI."""
    for size in (2, 3):
        for octet in (0x00, 0x01, 0xC0, 0xFF):
            message = bytes([octet]) * size
            for name, parts in {
                "alone": (junk(message),),
                "before ESP": (junk(message), some_esp()),
                "after IKE": (some_ike(), junk(message)),
            }.items():
                yield Case(
                    f"Length {size + 2}, octets {octet:02x}, {name}",
                    "ShortMessage",
                    "9329-3-short",
                    parts,
                    result="acceptable",
                )


def short_ike() -> Iterator[Case]:
    """Put less than an IKE header behind a marker."""
    for size in range(28):
        yield Case(
            f"Length {size + 6}: marker and {size} octets",
            "ShortIke",
            "9329-3-short 9329-3.1-marker",
            (junk(MARKER + ike_message()[:size]), some_esp()),
            result="acceptable",
        )


def ike_sizes() -> Iterator[Case]:
    """Vary IKE from the bare header up, and where an octet of Length turns."""
    for size in (28, 29, 31, 32, 33, 64, 122, 123, 249, 250, 251, 505, 506, 507, 1394):
        yield Case(
            f"Length {size + 6}: IKE message of {size} octets",
            "Sizes",
            "9329-3.1-marker 9329-3-length",
            (ike(ike_message(size)), some_esp()),
        )


def esp_sizes() -> Iterator[Case]:
    """Vary ESP from the bare SPI up, and where an octet of Length turns."""
    sizes = [*range(4, 17), 29, 30, 31, 125, 126, 253, 254, 255, 509, 510, 511, 1398]
    for size in sizes:
        yield Case(
            f"Length {size + 2}: ESP packet of {size} octets",
            "Sizes",
            KINDS,
            (esp(esp_packet(size)), some_ike()),
        )


def markers() -> Iterator[Case]:
    """Differ from the marker in one bit."""
    for bit in range(32):
        yield Case(
            f"first word has only bit {bit} set",
            "NearMarker",
            "9329-3-type",
            (esp(esp_packet(spi=1 << bit)),),
        )


def spis() -> Iterator[Case]:
    """Use SPIs at edges of their ranges; framing hands on reserved ones too."""
    for spi in (3, 0x7F, 0xFE, 0xFF):
        yield Case(
            f"reserved SPI {spi}",
            "SmallSpi",
            "9329-3-type 9329-3.2-spi",
            (esp(esp_packet(spi=spi)),),
        )
    for spi in (
        0x101,
        0xFFFF,
        0x00FFFFFF,
        0x01000001,
        0x7FFFFFFF,
        0xFF000000,
        2**32 - 1,
    ):
        yield Case(
            f"SPI {spi:08x}", "NearMarker", "9329-3-type", (esp(esp_packet(spi=spi)),)
        )


def lookalikes() -> Iterator[Case]:
    """Send contents that look like framing."""
    for name, part in {
        "IKE header all zero": ike(bytes(28)),
        "IKE message all zero": ike(bytes(64)),
        "IKE message of ff": ike(b"\xff" * 28),
        "IKE header's own Length too small": ike(ike_message(60)[:40]),
        "IKE header's own Length too large": ike(ike_message(28) + bytes(32)),
        "IKE message behind a second marker": ike(MARKER + ike_message()),
        "IKE message that contains the prefix": ike(ike_message() + PREFIX),
        "IKE message that contains a framed packet": ike(
            ike_message() + some_esp(9).octets
        ),
        "ESP packet that begins with the prefix": esp(PREFIX + esp_packet()),
        "ESP packet of four octets ff": esp(KEEPALIVE * 4),
        "ESP packet with zeros behind the SPI": esp(esp_packet(4) + bytes(36)),
        "ESP packet that contains a marker": esp(esp_packet(8) + MARKER * 4),
        "ESP packet that contains Length 0 and 1": esp(
            esp_packet(8) + bytes([0, 0, 0, 1])
        ),
        "ESP packet that contains a framed packet": esp(
            esp_packet() + some_esp(9).octets
        ),
        "ESP packet that contains a framed keepalive": esp(
            esp_packet(8) + framed(KEEPALIVE)
        ),
    }.items():
        yield Case(name, "LooksLikeFraming", KINDS, (part, some_esp(2)))


def cut_esp() -> Iterator[Case]:
    """Stop an ESP packet after each of its octets."""
    places = ["Length"] * 2 + ["SPI"] * 4 + ["sequence number"] * 4
    places += ["IV"] * 8 + ["ciphertext"] * 8 + ["ICV"] * 16
    yield from _cuts("ESP", framed(esp_packet(40)), places, some_ike())


def cut_ike() -> Iterator[Case]:
    """Stop an IKE message after each of its octets."""
    places = ["Length"] * 2 + ["marker"] * 4 + ["IKE header"] * 28
    places += ["Encrypted payload"] * 32
    yield from _cuts("IKE", framed(MARKER + ike_message(60)), places, some_esp())


def _cuts(name: str, whole: bytes, places: list[str], other: Part) -> Iterator[Case]:
    for size in range(1, len(whole)):
        inside = places[size - 1] == places[size]
        where = f"inside {places[size]}" if inside else f"before {places[size]}"
        yield Case(
            f"{name} cut {where}, after {size} of {len(whole)} octets",
            "Incomplete",
            "9329-6.1-partial 9329-3-length",
            (other,),
            rest=whole[:size],
        )


def cut_others() -> Iterator[Case]:
    """Put little behind large Lengths, and cut short messages."""
    for length in (3, 255, 256, 257, 32767, 32768, 65534, 65535):
        for name, begin in {
            "nothing": b"",
            "one octet": b"\xff",
            "a marker": MARKER,
            "an SPI": esp_packet(4),
        }.items():
            if len(begin) + 2 < length:
                yield Case(
                    f"Length {length} with {name} behind it",
                    "Incomplete",
                    "9329-6.1-partial 9329-3-length",
                    rest=length.to_bytes(2, "big") + begin,
                )
    for octet in (0x00, 0x01, 0xFF):
        yield Case(
            f"only one octet {octet:02x} of Length",
            "Incomplete",
            "9329-6.1-partial 9329-3-length",
            (keepalive(),),
            rest=bytes([octet]),
        )


def coalesced() -> Iterator[Case]:
    """Send many messages at once."""
    noise = (empty(), keepalive())
    mixed = (some_ike(), *noise, some_esp(), *noise)
    for count in (2, 3, 10, 100):
        packets = tuple(
            esp(esp_packet(20 + number % 7, sequence=number))
            for number in range(1, count + 1)
        )
        yield Case(f"{count} ESP packets", "Coalesced", "9329-3-segmentation", packets)
        messages = tuple(
            ike(ike_message(28 + number, message_id=number)) for number in range(count)
        )
        if count < 100:
            yield Case(
                f"{count} IKE messages", "Coalesced", "9329-3-segmentation", messages
            )
            yield Case(
                f"{count} times IKE and ESP among keepalives and empty messages",
                "Coalesced Keepalive Empty",
                "9329-3-segmentation 9329-3-empty 9329-6.6-drop",
                mixed * count,
            )
    yield Case(
        "every kind of message, then an incomplete one",
        "Coalesced Incomplete",
        "9329-3-segmentation 9329-6.1-partial",
        (*mixed, some_esp(2)),
        rest=framed(filler("last", 30))[:17],
    )
    yield Case(
        "every kind of message, then Length 1",
        "Coalesced ShortLength Delivered",
        f"9329-3-segmentation {BOTH_LENGTHS}",
        (*mixed, some_esp(2)),
        rest=b"\x00\x01",
        error="LengthTooSmall",
    )
