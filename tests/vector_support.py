"""Reading the vector files in tests, and running our checkers on them."""

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from iketcp.vectorlib import checkers, envelope
from iketcp.vectorlib.envelope import Json

VECTORS = Path(__file__).parent.parent / "vectors"


@cache
def document(name: str) -> Json:
    """Load a vector file by its name without ``_test.json``; do not change it."""
    return envelope.load_file(VECTORS / f"{name}_test.json")


def grouped(name: str, kind: str) -> Iterator[tuple[Json, Json]]:
    """Yield every test of one type of group, with its group."""
    for group in document(name)["testGroups"]:
        if group["type"] == kind:
            for test in group["tests"]:
                yield group, test


def octets(part: Json, *names: str) -> list[bytes]:
    """Read members that hold octets."""
    return [bytes.fromhex(part[name]) for name in names]


def spoiled(value: object) -> object:
    """Change a value, whatever it is, to another of its kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, str):
        last = "0" if value.endswith("1") else "1"
        return value[:-1] + last
    if isinstance(value, list):
        return [spoiled(part) for part in value] or ["00"]
    return "spoiled"


def unnoticed(name: str, kind: str, *members: str) -> list[str]:
    """Spoil outputs one by one; return those that our checker lets pass."""
    passed = []
    for group, test in grouped(name, kind):
        for member in members:
            if test[member] in ("", None):
                continue
            wrong = copy.deepcopy(test) | {member: spoiled(test[member])}
            one = {"testGroups": [group | {"tests": [wrong]}]}
            if not checkers.problems(one):
                passed.append(f"tcId {test['tcId']}: {member}")
    return passed
