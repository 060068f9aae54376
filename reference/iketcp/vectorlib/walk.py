"""What all checkers share: walking through a file, and saying what differs.

Source: RFC 9329 §6 is what the files are about
"""

from collections.abc import Iterator

from iketcp.vectorlib.envelope import Json


def each(document: Json, *kinds: str) -> Iterator[tuple[Json, Json]]:
    """Yield every test with its group, of groups of the given types."""
    for group in document["testGroups"]:
        if group["type"] in kinds:
            for test in group["tests"]:
                yield group, test


def compare(test: Json, name: str, got: object) -> list[str]:
    """Compare a member of a test with what we got; empty if they are equal."""
    if test[name] == got:
        return []
    return [f"tcId {test['tcId']}, {name}: {got!r} instead of {test[name]!r}"]


def unhex(part: Json, *names: str) -> list[bytes]:
    """Read members that hold octets."""
    return [bytes.fromhex(part[name]) for name in names]


def error_name(error: Exception) -> str:
    """Name an exception as the files do: ``IntegrityError`` is ``Integrity``."""
    return type(error).__name__.removesuffix("Error")
