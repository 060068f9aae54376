"""Scenarios of the TCP Responder under load: a COOKIE comes with a PUZZLE.

Source: RFC 9329 §6.3, RFC 8019 §7.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_exchanges import HMAC_SHA2_256, Beginner, cookie_of
from iketcp.vectorlib.mapping_parts import Piece
from iketcp.vectorlib.mapping_scenarios_endings import begin
from iketcp.vectorlib.mapping_scenarios_moves import alone
from iketcp.vectorlib.mapping_script import THEIRS, Held, Script
from iketcp.vectorlib.puzzle import bits_of, keys_for

SPEC = "RFC 9329 §6.3; RFC 8019 §7.1.1, §7.1.4"
RULE = "9329-6.3-cookie-puzzle"
BITS = 6
PUZZLE = HMAC_SHA2_256.to_bytes(2, "big") + bytes([BITS])
"""Data of the PUZZLE notification: prf and zero bits. Source: RFC 8019 §8.1."""
LOADED = {"puzzleThreshold": 0, "puzzleDifficulty": BITS}
REFUSED = {"error": "PuzzleSolution", "reaction": "answer"}
SECRET = octets("mapping puzzle secret", 32)


def loaded(comment: str, requirement: str, **more: str) -> tuple[Script, Beginner]:
    """Begin a scenario in which a beginner is given a puzzle on connection 1."""
    s = alone(comment, "Puzzle", requirement, spec=SPEC, policy=LOADED, **more)
    b = Beginner()
    s.draw("cookie.secret", SECRET)
    s.knock(1)
    s.receive(1, b.request(), sent=[(1, asked(b))])
    return s, b


def asked(b: Beginner) -> Piece:
    """Write the response that asks for a cookie and a solution."""
    return b.puzzle(cookie(b), PUZZLE)


def cookie(b: Beginner) -> bytes:
    """Make the cookie that says which puzzle came along."""
    return cookie_of(SECRET, 1, b, THEIRS, PUZZLE)


def solution(b: Beginner) -> bytes:
    """Solve the puzzle: four keys. Source: RFC 8019 §7.1.3."""
    return b"".join(keys_for(HMAC_SHA2_256, cookie(b), BITS))


def served() -> Iterator[Script]:
    """Whoever brings the solution is served, on whatever connection."""
    s, b = loaded("a solution on the same connection", f"{RULE} 9329-6.3-close")
    _begin(s, 1, b)
    s.wait(10)
    yield s
    s, b = loaded("a solution over a new connection", f"{RULE} 9329-6.3-port")
    s.lost(1)
    s.knock(2)
    _begin(s, 2, b)
    yield s
    s = alone(
        "few IKE SAs wait for IKE_AUTH: nothing is asked for; then one too many",
        "MustNot Puzzle",
        RULE,
        spec=SPEC,
        policy={**LOADED, "puzzleThreshold": 2},
    )
    for id in (1, 2):
        s.knock(id)
        begin(s, id, Beginner(f"early {id}"))
    b = Beginner()
    s.draw("cookie.secret", SECRET)
    s.knock(3)
    s.receive(3, b.request(), sent=[(3, asked(b))])
    yield s


def _begin(s: Script, connection: int, b: Beginner) -> None:
    answer, spi = b.answer(s, connection)
    s.held.append(Held(connection, [(b.spi, spi)], []))
    again = b.request(cookie(b), solution=solution(b))
    s.receive(connection, again, sent=[(connection, answer)])


def unsolved() -> Iterator[Script]:
    """Whoever does not is asked again, and for so long only."""
    b = Beginner()
    good = keys_for(HMAC_SHA2_256, cookie(b), BITS)
    idle = next(
        key
        for key in (number.to_bytes(4, "big") for number in range(1000))
        if bits_of(HMAC_SHA2_256, key, cookie(b)) < BITS
    )
    other = keys_for(HMAC_SHA2_256, cookie(Beginner("other")), BITS)
    for comment, keys in (
        ("the cookie without a solution", []),
        ("a solution of which one key does not work", [*good[:3], idle]),
        ("a solution of one key four times", good[:1] * 4),
        ("a solution for the cookie of another beginner", other),
    ):
        s, b = loaded(comment, f"{RULE} 9329-6.3-close", **REFUSED)
        s.wait(7)
        again = b.request(cookie(b), solution=b"".join(keys))
        s.receive(1, again, sent=[(1, asked(b))])
        s.wait(1, closed=[1])
        yield s
    comment = "the solution that has bought an IKE SA, once more"
    s, b = loaded(comment, RULE, **REFUSED)
    _begin(s, 1, b)
    s.lost(1)
    s.wait(29)
    s.held.pop()
    s.wait(1)
    s.knock(2)
    s.receive(2, b.request(cookie(b), solution=solution(b)), sent=[(2, asked(b))])
    yield s
