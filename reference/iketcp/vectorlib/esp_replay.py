"""The file ``esp_replay_test.json``: which sequence numbers are accepted.

Source: RFC 4303 §3.4.3, RFC 4303 App. A
"""

from collections.abc import Iterator
from dataclasses import dataclass

from iketcp.vectorlib.assembly import case, group, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "esp_replay"
SPEC = "RFC 4303 §3.4.3"
ESN_SPEC = "RFC 4303 §2.2.1, §3.4.3, App. A"
REQUIREMENT = "9329-6.1-valid-esp"
WINDOWS = (32, 64, 1024)

HEADER = [
    "Packets arrive one after another at a receiver with a window of so many packets;"
    " received holds the sequence number field of each, 32 bits.",
    "start is the highest number authenticated before, with none but it seen; zeros:"
    " nothing has been received yet.",
    "authentic tells whether the packet's ICV verifies, for the number in inferred: the"
    " whole number, 64 bits, that the receiver takes the field for. With esn false its"
    " upper half is zero.",
    "accept tells whether the packet passes: its number is inside the window or right"
    " of it and was not seen, and it is authentic. Only then does the window move. A"
    " number below zero or above 64 bits cannot be: inferred is empty, accept false.",
]

NOTES = {
    "BigStep": (
        "EDGE_CASE",
        "The window moves by more than its width.",
        "Old marks left over refuse good packets.",
    ),
    "Extended": (
        "EDGE_CASE",
        "The upper half, which is not sent, has to be inferred.",
        "Every packet after 2^32 is lost.",
    ),
    "Forged": (
        "BASIC",
        "A packet that is not authentic.",
        "A forged number moves the window, and good packets are lost.",
    ),
    "LeftEdge": (
        "EDGE_CASE",
        "The last number inside the window, and the first one left of it.",
        "A packet taken twice, or a window that is too narrow.",
    ),
    "Ordinary": ("BASIC", "Numbers in order, or nearly so.", "Lost packets."),
    "Repeated": (
        "BASIC",
        "A number seen before.",
        "A replay is delivered, or takes over the mapping.",
    ),
    "Zero": (
        "EDGE_CASE",
        "Number 0, which is never sent.",
        "A packet no peer sent is accepted.",
    ),
}


@dataclass(frozen=True, slots=True)
class Sequence:
    """Packets in their order, and which of them pass."""

    comment: str
    flags: str
    start: int
    numbers: tuple[int, ...]
    """The whole numbers that the sender gave them."""
    accept: str
    """``y`` or ``n`` for each."""
    forged: tuple[int, ...] = ()
    """Positions of packets that are not authentic."""


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 4303 §3.4.3, RFC 4303 App. A
    """
    groups = []
    for is_esn in (False, True):
        for window in WINDOWS:
            found = [*common(window)]
            found += extended(window) if is_esn else [*last_numbers(window)]
            groups.append(
                group(
                    "Replay",
                    "iketcp/esp_replay",
                    [as_case(one, window, is_esn) for one in found],
                    window=window,
                    esn=is_esn,
                )
            )
    return vector_file(NAME, "IPSEC-ESP-REPLAY", HEADER, NOTES, groups)


def as_case(one: Sequence, window: int, is_esn: bool) -> Json:
    """Write a sequence out."""
    top = one.start
    inferred, authentic = [], []
    for at, (number, letter) in enumerate(zip(one.numbers, one.accept, strict=True)):
        low = number & 0xFFFF_FFFF
        whole = infer(top, low, window) if is_esn else low
        inferred.append(b"" if whole is None else whole.to_bytes(8, "big"))
        authentic.append(whole == number and at not in one.forged)
        if letter == "y":
            top = max(top, number)
    return case(
        one.comment,
        one.flags,
        ESN_SPEC if is_esn else SPEC,
        requirement=REQUIREMENT,
        start=one.start.to_bytes(8, "big"),
        received=[(n & 0xFFFF_FFFF).to_bytes(4, "big") for n in one.numbers],
        inferred=inferred,
        authentic=authentic,
        accept=[letter == "y" for letter in one.accept],
    )


def infer(top: int, low: int, window: int) -> int | None:
    """Find the upper half as RFC 4303 App. A2.2 writes it, in its two cases.

    Source: RFC 4303 App. A
    """
    top_high, top_low = top >> 32, top & 0xFFFF_FFFF
    left = (top_low - window + 1) & 0xFFFF_FFFF
    if top_low >= window - 1:
        high = top_high if low >= left else top_high + 1
    else:
        high = top_high - 1 if low >= left else top_high
    return high << 32 | low if 0 <= high < 1 << 32 else None


def common(w: int) -> Iterator[Sequence]:
    """Try what does not depend on the size of the numbers; ``w`` is the window."""
    yield Sequence("in order", "Ordinary", 0, (1, 2, 3, 4), "yyyy")
    yield Sequence("first one late", "Ordinary", 0, (2, 1, 3), "yyy")
    yield Sequence("with gaps", "Ordinary", 0, (1, 5, 3, 9, 4), "yyyyy")
    yield Sequence("one twice", "Repeated", 0, (1, 1, 2, 1), "ynyn")
    yield Sequence("late one twice", "Repeated", 0, (3, 1, 1, 3), "yynn")
    yield Sequence("start again", "Repeated", 77, (77, 78), "ny")
    yield Sequence("0", "Zero", 0, (0, 1), "ny")
    edge: tuple[int, ...] = (w + 10, 11, 10, 11)
    yield Sequence("both sides of the left edge", "LeftEdge", 0, edge, "yynn")
    edge = (w, 1, w + 1, 1, 2)
    yield Sequence("the edge moves on", "LeftEdge", 0, edge, "yyyny")
    step: tuple[int, ...] = (5, 5 + w, 6, 6 + w, 5 + w)
    yield Sequence("a step as wide as the window", "BigStep", 0, step, "yyyyn")
    step = (7, 7 + 3 * w, 7 + 2 * w, 8 + 2 * w, 7 + 3 * w)
    yield Sequence("a step of three windows", "BigStep", 0, step, "yynyn")
    numbers = (1, w + 1, 2 * w + 1, 2 * w, w + 2, w + 1)
    yield Sequence("slots used again", "BigStep", 0, numbers, "yyyyyn")
    forged: tuple[int, ...] = (10_000, 2, 1)
    yield Sequence("a forged high number", "Forged", 0, forged, "nyy", (0,))
    forged = (3, 4, 4, 2, 2)
    yield Sequence("forged, then good", "Forged", 0, forged, "ynyny", (1, 3))


def last_numbers(w: int) -> Iterator[Sequence]:
    """Try the end of 32-bit numbers: there is none after it."""
    last = 0xFFFF_FFFF
    numbers = (last, last, last - w + 1, last - w, 0, 1)
    yield Sequence("the last number", "LeftEdge Repeated", 0, numbers, "ynynnn")


def extended(w: int) -> Iterator[Sequence]:
    """Try the edge between two subspaces of 2^32 numbers."""
    edge = 1 << 32
    numbers: tuple[int, ...] = (edge - 1, edge, edge + 1, edge - 2)
    yield Sequence("over the edge", "Extended", edge - 3, numbers, "yyyy")
    numbers = (edge + w - 1, edge + w, edge + 1, 2 * edge)
    comment = "the window leaves the first subspace"
    yield Sequence(comment, "Extended", edge + 5, numbers, "yyyy")
    numbers = (edge + 2 - w, edge + 1 - w, edge + 2 - w)
    comment = "left edge in the first subspace; left of it means the next one"
    yield Sequence(comment, "Extended LeftEdge", edge + 1, numbers, "ynn")
    numbers = (edge - 1, edge - 1, edge, edge)
    comment = "repeated on both sides of the edge"
    yield Sequence(comment, "Extended Repeated", edge - 2, numbers, "ynyn")
    numbers = (3 * edge + 9, 3 * edge + 10 - w, 3 * edge + 8)
    yield Sequence("later on", "Extended", 3 * edge, numbers, "yyy")
    last = (1 << 64) - 1
    numbers = (last, last - w + 1, last, last + 1)
    comment = "the last of all numbers; 0 would be 2^64"
    yield Sequence(comment, "Extended", last - 1, numbers, "yynn")
    comment = "left of the window at the very start"
    yield Sequence(comment, "Extended Zero", 3, (0xFFFF_FFFF, 4), "ny")
