"""Message tests of puzzles: N(PUZZLE) and the Puzzle Solution payload.

Source: RFC 8019 §7.1.1, RFC 8019 §7.1.2, RFC 8019 §8
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import INIT, MALFORMED, Case
from iketcp.vectorlib.message_parts import (
    RESPONSE,
    Head,
    Part,
    encrypted,
    filler,
    nonce,
    notify,
)

PS = 54
COOKIE, PUZZLE = 16390, 16434
KEYS = (1, 2, 4, 8, 32, 64)
"""Sizes of a key, in octets."""


def solution(data: bytes) -> Part:
    """Make a Puzzle Solution payload. Source: RFC 8019 §8.2."""
    return Part(PS, data, {"solution": data.hex()})


def puzzles() -> Iterator[Case]:
    """Ask for the solution of a puzzle, and bring it."""
    cookie = notify(COOKIE, filler("cookie", 36))
    spec = "8019:8.1"
    asked = Head(34, 0, RESPONSE, spi_r=bytes(8))
    for prf, difficulty in ((5, 0), (5, 1), (6, 16), (7, 255)):
        puzzle = notify(PUZZLE, prf.to_bytes(2, "big") + bytes([difficulty]))
        comment = f"N(COOKIE), N(PUZZLE) with prf {prf} and difficulty {difficulty}"
        yield Case(comment, "EveryNumber", spec, asked, (cookie, puzzle))
    spec = "8019:8.2"
    last = nonce(filler("nonce", 32))
    for size in KEYS:
        parts = (cookie, solution(filler("keys", 4 * size)), last)
        comment = f"N(COOKIE), PS with keys of {size} octets"
        yield Case(comment, "EveryNumber", spec, INIT, parts)
    both = (solution(filler("keys", 16)), encrypted(35, filler("sk", 48)))
    yield Case("PS before SK", "Encrypted", "8019:7.2.2", Head(35, 1), both)


def wrong_solutions() -> Iterator[Case]:
    """Bring no four keys of one size."""
    for size in (0, 1, 2, 3, 5, 7, 15, 17):
        parts = (notify(COOKIE, filler("cookie", 36)), solution(filler("keys", size)))
        comment = f"PS of {size} octets"
        spec = "8019:8.2"
        yield Case(comment, "Sizes", spec, INIT, parts, error=MALFORMED)
