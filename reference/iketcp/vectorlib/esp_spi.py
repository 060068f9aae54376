"""The file ``esp_spi_test.json``: which of the numbers drawn becomes an ESP SPI.

Source: RFC 4303 §2.1, RFC 9329 §3.2
"""

from collections.abc import Iterator, Sequence

from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "esp_spi"
SPEC = "RFC 4303 §2.1; RFC 9329 §3.2"
REQUIREMENT = "9329-3.2-spi"
FIRST = 256

HEADER = [
    "A receiver needs an SPI for a new Child SA. It draws unpredictable numbers of four"
    " octets, draws in this order, until one may be used; inUse are the SPIs on which"
    " it receives already. chosen is the one it takes, the last of draws.",
    "result is invalid where the numbers before it have to be refused: 0 would be taken"
    " for the non-ESP marker, 1 to 255 are reserved, and one in use names another Child"
    " SA. An SPI that a peer chooses so is refused in connection_mapping_test.json.",
]

NOTES = {
    "InUse": (
        "STATE_MACHINE",
        "A number that is the SPI of another Child SA.",
        "Packets of one Child SA are opened with the keys of another.",
    ),
    "Ordinary": ("BASIC", "The first number drawn is good.", "No tunnel."),
    "Reserved": (
        "BASIC",
        "A number from 0 to 255.",
        "ESP packets that the receiver takes for IKE, or has to drop.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 4303 §2.1
    """
    groups = [group("EspSpiChoice", "iketcp/esp_spi", list(cases()))]
    return vector_file(NAME, "IPSEC-ESP-SPI", HEADER, NOTES, groups)


def spi(number: int) -> bytes:
    """Write an SPI."""
    return number.to_bytes(4, "big")


def cases() -> Iterator[Json]:
    """Draw good numbers, then bad ones first."""
    random = octets("esp spi", 4)
    for comment, number in (
        ("the smallest", FIRST),
        ("its octets the other way round are small", 0x0100_0000),
        ("the highest bit", 1 << 31),
        ("the largest", 0xFFFF_FFFF),
    ):
        yield _case(comment, "Ordinary", [spi(number)])
    yield _case("an ordinary one", "Ordinary", [random], [spi(FIRST)])
    for number in (0, 1, 2, 127, 128, 254, 255):
        yield _case(f"{number} first", "Reserved", [spi(number), random])
    every = [spi(number) for number in (0, 255, 0, 1)]
    yield _case("four that are reserved", "Reserved", [*every, spi(FIRST)])
    yield _case("one in use first", "InUse", [random, spi(FIRST)], [random])
    taken = [spi(FIRST), spi(FIRST + 1)]
    drawn = [*taken, taken[0], spi(0), random]
    yield _case("two in use, and zero", "InUse Reserved", drawn, taken)


def _case(
    comment: str, flags: str, draws: Sequence[bytes], in_use: Sequence[bytes] = ()
) -> Json:
    is_refused = len(draws) > 1
    return case(
        comment,
        flags,
        SPEC,
        requirement=REQUIREMENT,
        error="UnusableSpi" if is_refused else None,
        reaction="draw-again" if is_refused else None,
        inUse=in_use,
        draws=draws,
        chosen=draws[-1],
    )
