"""Runs ``puzzle_test.json`` against our puzzles.

Source: RFC 8019 §7.1.3, RFC 8019 §7.1.4
"""

from iketcp.crypto.prf import PRFS
from iketcp.errors import MalformedMessageError
from iketcp.ike.puzzles import Puzzle, solve, solved_bits
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](test)
    return found


def check_solution(test: Json) -> list[str]:
    """Count the bits of a solution."""
    string, solution = unhex(test, "string", "solution")
    bits: int | None
    try:
        bits = solved_bits(PRFS[test["prf"]], string, solution)
    except MalformedMessageError:
        bits = None
    is_enough = bits is not None and bits >= test["difficulty"]
    found = compare(test, "bits", bits)
    if is_enough != (test["error"] is None):
        found.append(f"tcId {test['tcId']}: enough is {is_enough}")
    return found


def check_search(test: Json) -> list[str]:
    """Look for keys."""
    (string,) = unhex(test, "string")
    found = solve(Puzzle(test["prf"], test["difficulty"]), string)
    return compare(test, "solution", None if found is None else found.hex())


CHECKED = {"PuzzleSolution": check_solution, "PuzzleSearch": check_search}
"""What checks a test, by the type of its group."""
