"""Putting a vector file together from cases that have no numbers yet.

A builder says of each case what goes in and what must come out; here the parts that
all files share are added in one order, octets become lower-case hexadecimal, and tests
are numbered. Filler comes from labelled draws, so that it never changes.

Source: RFC 9329 §6 is what the files are about
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from iketcp.environment import ScriptedEntropy
from iketcp.vectorlib.envelope import Json, Note, VectorFile

VERSION = "1"


def octets(label: str, size: int) -> bytes:
    """Draw filler: for tests only, and the same every time."""
    return ScriptedEntropy("iketcp vectors").draw(label, size)


def sections(text: str) -> list[str]:
    """Split ``RFC 7296 §2.13, §2.14; RFC 4868 §2`` into one name for each section."""
    found = []
    for part in text.split("; "):
        rfc, names = part[:8], part[9:]
        found += [f"{rfc} {name}" for name in names.split(", ")]
    return found


def case(
    comment: str,
    flags: str,
    spec: str,
    *,
    requirement: str = "",
    result: str = "",
    error: str | None = None,
    reaction: str | None = None,
    **fields: Any,
) -> Json:
    """Make a test that has no number yet.

    Parameters
    ----------
    comment : str
        What is special about it.
    flags, requirement : str
        Names of notes, ids of the ledger; separated by spaces.
    spec : str
        Sections, see :func:`sections`.
    result : str
        Empty: ``invalid`` with an error, ``valid`` without.
    error, reaction : str or None
        Our name for the reason of a refusal, and what must be seen of it.
    fields : Any
        Inputs and outputs in their order; octets are written in hexadecimal.
    """
    return {
        "comment": comment,
        "flags": flags.split(),
        "spec": sections(spec),
        "requirement": requirement.split(),
        **{name: plain(value) for name, value in fields.items()},
        "result": result or ("invalid" if error else "valid"),
        "error": error,
        "reaction": reaction,
    }


def group(kind: str, source: str, tests: Sequence[Json], **shared: Any) -> Json:
    """Make a group of tests with what they share.

    Parameters
    ----------
    kind : str
        The group's type.
    source : str
        Who made the tests: one of our builders, or a section of an RFC.
    tests : Sequence[Json]
        As :func:`case` makes them.
    shared : Any
        Parameters that hold for every test.
    """
    return {
        "type": kind,
        "source": {"name": source, "version": VERSION},
        **{name: plain(value) for name, value in shared.items()},
        "tests": list(tests),
    }


def vector_file(
    name: str,
    algorithm: str,
    header: Sequence[str],
    notes: Mapping[str, tuple[str, str, str]],
    groups: Sequence[Json],
) -> VectorFile:
    """Number the tests and put the envelope round them.

    Parameters
    ----------
    name : str
        The file's name without ``_test.json``; its schema is named after it.
    notes : Mapping[str, tuple[str, str, str]]
        Kind of bug, description and effect of each flag.
    groups : Sequence[Json]
        As :func:`group` makes them.
    """
    count = 0
    numbered = []
    for one in groups:
        tests = []
        for test in one["tests"]:
            count += 1
            tests.append({"tcId": count, **test})
        numbered.append({**one, "tests": tests})
    return cast(
        "VectorFile",
        {
            "algorithm": algorithm,
            "schema": f"{name}_schema_v1.json",
            "numberOfTests": count,
            "header": list(header),
            "notes": {flag: note(*notes[flag]) for flag in sorted(notes)},
            "testGroups": numbered,
        },
    )


def note(bug_type: str, description: str, effect: str) -> Note:
    """Explain a flag."""
    return {"bugType": bug_type, "description": description, "effect": effect}


def plain(value: Any) -> Any:
    """Turn octets into hexadecimal, wherever they are in ``value``."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def flipped(data: bytes, position: int, mask: int = 0x01) -> bytes:
    """Change one octet; a negative position counts from the end."""
    changed = bytearray(data)
    changed[position] ^= mask
    return bytes(changed)
