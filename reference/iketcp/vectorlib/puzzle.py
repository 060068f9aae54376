"""The file ``puzzle_test.json``: solutions of puzzles, and what is none.

The expected values come from :mod:`hmac` alone.

Source: RFC 8019 §7.1.3, RFC 8019 §7.1.4, RFC 8019 §7.2.3, RFC 8019 §8.2
"""

import hmac
from collections.abc import Iterator, Sequence

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.puzzle_published import COOKIE, EXAMPLES

NAME = "puzzle"
SPEC = "RFC 8019 §7.1.3"
ANALYSIS = "RFC 8019 §7.1.4"
REQUIREMENT = "9329-6.3-initiator"
SMALL = 4
"""Octets of the keys that we count."""

HEADER = [
    "PuzzleSolution: a responder gave a puzzle of this prf (Transform ID) over string,"
    " which is the content of the COOKIE notification or, in IKE_AUTH, Nr | SPIr. It"
    " wanted difficulty zero bits; 0 leaves it to the initiator. solution is what the"
    " PS payload that comes back holds. bits is the smallest number of zero bits at"
    " the end of prf(key, string) among its four keys; null: it is malformed.",
    "result is invalid where bits is less than difficulty or null. Acceptable: the"
    " initiator was free to choose, and how much work is enough the responder says.",
    "PuzzleSearch: an initiator that is given this puzzle finds solution. Ours counts"
    " keys of 4 octets in network order up from 0, and takes the first four that work;"
    " any other four keys that a PuzzleSolution test would allow are as good.",
]

NOTES = {
    "EqualKeys": (
        "BASIC",
        "Two keys are the same, so one piece of work counts twice.",
        "A quarter of the work is enough.",
    ),
    "Free": (
        "EDGE_CASE",
        "The responder leaves the difficulty to the initiator.",
        "No work at all, or work without end.",
    ),
    "IkeAuth": (
        "BASIC",
        "The puzzle of an IKE_SA_INIT response, solved for IKE_AUTH.",
        "No tunnel under load.",
    ),
    "KeySize": (
        "EDGE_CASE",
        "Keys of the smallest and largest size that a prf takes, and beyond.",
        "Refusing a good solution, or reading a bad one wrongly.",
    ),
    "OneShort": (
        "BASIC",
        "Three keys work, the fourth does not.",
        "Less work than was asked for, if not all keys are checked.",
    ),
    "Ordinary": (
        "BASIC",
        "Four keys that work.",
        "No tunnel under load.",
    ),
    "Published": (
        "BASIC",
        "An example of RFC 8019. The prf of its cookie under its keys does not end in"
        " as many zero bits as it says, nor in the octets that it prints.",
        "Looking for a mistake where there is none.",
    ),
    "OtherString": (
        "BASIC",
        "A solution for another string.",
        "One solution is good for any number of IKE SAs.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 8019 §7.1.3
    """
    source = "iketcp/puzzle"
    groups = [
        group("PuzzleSolution", source, [*solved(), *sizes(), *unsolved()]),
        group("PuzzleSearch", source, list(searches())),
        group("PuzzleSolution", "RFC 8019 §4.4", list(published())),
    ]
    return vector_file(NAME, "IKE-PUZZLE", HEADER, NOTES, groups)


def bits_of(prf: int, key: bytes, string: bytes) -> int:
    """Count the zero bits at the end of one result. Source: RFC 8019 §7.1.3."""
    digits = bin(int.from_bytes(hmac.digest(key, string, plain.PRFS[prf]), "big"))
    return len(digits) - len(digits.rstrip("0"))


def keys_for(
    prf: int, string: bytes, bits: int, size: int = SMALL, count: int = 4
) -> list[bytes]:
    """Count keys up from 0 until so many work."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = number.to_bytes(size, "big")
        if bits_of(prf, key, string) >= bits:
            found.append(key)
        number += 1
    return found


def attempt(
    comment: str,
    flags: str,
    prf: int,
    string: bytes,
    difficulty: int,
    keys: Sequence[bytes],
    spec: str = ANALYSIS,
    *,
    is_malformed: bool = False,
) -> Json:
    """Make a case from keys; the number of bits is counted here."""
    bits = min(bits_of(prf, key, string) for key in keys)
    if is_malformed:
        error: str | None = "MalformedMessage"
    else:
        error = "PuzzleSolution" if bits < difficulty else None
    return case(
        comment,
        flags,
        spec,
        requirement=REQUIREMENT,
        result="" if difficulty or error else "acceptable",
        error=error,
        reaction="give-no-priority" if error else None,
        prf=prf,
        string=string,
        difficulty=difficulty,
        solution=b"".join(keys),
        bits=None if is_malformed else bits,
    )


def solved() -> Iterator[Json]:
    """Do the work that was asked for."""
    for prf, name in plain.PRF_NAMES.items():
        for difficulty in (1, 4, 8, 11):
            string = octets(f"puzzle cookie {prf} {difficulty}", 36)
            keys = keys_for(prf, string, difficulty)
            comment = f"{name}, {difficulty} bits"
            yield attempt(comment, "Ordinary", prf, string, difficulty, keys)
    for size in (1, 33, 64):
        string = octets("puzzle cookie of another size", size)
        comment = f"cookie of {size} octets"
        yield attempt(comment, "Ordinary", 5, string, 8, keys_for(5, string, 8))
    string = octets("puzzle nr", 32) + octets("puzzle spi", 8)
    keys = keys_for(5, string, 8)
    spec = "RFC 8019 §7.2.3, §7.2.4"
    yield attempt("Nr | SPIr", "IkeAuth", 5, string, 8, keys, spec)
    string = octets("puzzle cookie", 36)
    keys = keys_for(5, string, 8)
    comment = "keys in another order"
    yield attempt(comment, "Ordinary", 5, string, 8, keys[::-1])
    comment = "more bits than were asked for"
    yield attempt(comment, "Ordinary", 5, string, 6, keys)
    for bits in (0, 4, 8):
        comment = f"{bits} bits looked for, none asked for"
        yield attempt(comment, "Free", 5, string, 0, keys_for(5, string, bits))


def sizes() -> Iterator[Json]:
    """Use keys of all sizes."""
    string = octets("puzzle cookie", 36)
    for prf, largest in plain.PRF_SIZES.items():
        for size in (1, 2, 3, 8, largest):
            bits = 3 if size == 1 else 6
            keys = keys_for(prf, string, bits, size)
            comment = f"{plain.PRF_NAMES[prf]}, keys of {size} octets"
            spec = "RFC 8019 §8.2"
            yield attempt(comment, "KeySize", prf, string, bits, keys, spec)
        keys = keys_for(prf, string, 6, largest + 1)
        comment = f"{plain.PRF_NAMES[prf]}, keys of {largest + 1} octets"
        flag, spec = "KeySize", "RFC 8019 §8.2"
        yield attempt(comment, flag, prf, string, 6, keys, spec, is_malformed=True)


def unsolved() -> Iterator[Json]:
    """Do less than was asked for."""
    string = octets("puzzle cookie", 36)
    good = keys_for(5, string, 8)
    idle = next(
        key
        for key in (n.to_bytes(SMALL, "big") for n in range(1 << 16))
        if bits_of(5, key, string) == 7
    )
    for place in range(4):
        keys = [*good[:place], idle, *good[place + 1 :]]
        comment = f"key {place + 1} reaches 7 bits, the others 8"
        yield attempt(comment, "OneShort", 5, string, 8, keys)
    for first, second in ((0, 1), (0, 3), (2, 3)):
        keys = list(good)
        keys[second] = keys[first]
        comment = f"keys {first + 1} and {second + 1} are the same"
        yield attempt(comment, "EqualKeys", 5, string, 8, keys, is_malformed=True)
    other = octets("another puzzle cookie", 36)
    yield attempt("solves another cookie", "OtherString", 5, other, 8, good)
    yield attempt("solved with another prf", "OtherString", 6, string, 8, good)
    comment = "counted up from 0 without looking"
    keys = [n.to_bytes(SMALL, "big") for n in range(4)]
    yield attempt(comment, "OneShort", 5, string, 8, keys)


def published() -> Iterator[Json]:
    """Take the examples of the RFC, which solve nothing.

    Source: RFC 8019 §4.4
    """
    string = bytes.fromhex(COOKIE)
    for name, difficulty, keys in EXAMPLES:
        yield attempt(
            f"{name} of RFC 8019 §4.4, which does not hold",
            "Published",
            5,
            string,
            difficulty,
            [bytes.fromhex(key) for key in keys],
            "RFC 8019 §4.4, §7.1.3",
        )


def searches() -> Iterator[Json]:
    """Let our initiator look for keys."""
    for prf, name in plain.PRF_NAMES.items():
        for difficulty in (1, 7, 10):
            string = octets(f"puzzle search {prf} {difficulty}", 36)
            yield case(
                f"{name}, {difficulty} bits",
                "Ordinary",
                SPEC,
                requirement=REQUIREMENT,
                prf=prf,
                string=string,
                difficulty=difficulty,
                solution=b"".join(keys_for(prf, string, difficulty)),
            )
