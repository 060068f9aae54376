"""The outer form every vector file shares, in the manner of Project Wycheproof.

A file names its algorithm and its schema, explains every flag once in ``notes``, and
holds groups of tests; a group holds what its tests have in common. Each test says
which sections and which ids of the requirements ledger it is about, and its result:

- ``valid``: must be accepted, and yield exactly what the test says;
- ``invalid``: must be refused with ``error`` and show ``reaction``;
- ``acceptable``: the RFC leaves it open; the test says what we do.

A test is *negative* if something in it has to be refused, and ``error`` names that, or
if its flag :data:`MUST_NOT` says that it is passed by what does not happen; every other
test is *positive*. A rule needs both kinds to be pinned.

Source: RFC 9329 §3 is the first section with a file in this form
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

try:
    # The package publishes no type information.
    from jsonschema import Draft7Validator  # type: ignore[import-untyped]
except ModuleNotFoundError:  # needed for checks, not for building
    Draft7Validator = None

HAS_SCHEMAS = Draft7Validator is not None
"""Whether files can be compared with their schemas here."""


class Note(TypedDict):
    """What a flag means."""

    bugType: str
    """What kind of bug a wrong answer reveals."""
    description: str
    effect: str
    """What a wrong answer leads to."""


class Source(TypedDict):
    """Who made a group of tests."""

    name: str
    version: str


class VectorTest(TypedDict):
    """What every test has, whatever its group's type; input and output come on top."""

    tcId: int
    comment: str
    flags: list[str]
    spec: list[str]
    requirement: list[str]
    result: str
    error: str | None
    reaction: str | None


class VectorGroup(TypedDict):
    """What every group has."""

    type: str
    source: Source
    tests: Sequence[VectorTest]


class VectorFile(TypedDict):
    """A vector file."""

    algorithm: str
    schema: str
    numberOfTests: int
    header: list[str]
    notes: dict[str, Note]
    testGroups: Sequence[VectorGroup]


class VectorFileError(Exception):
    """A vector file that is not in the form it should be."""


MUST_NOT = "MustNot"
"""The flag of tests that offer a chance to do what a rule forbids."""

Json = dict[str, Any]
"""A JSON object read from a file, not yet checked."""


def dump(document: object) -> str:
    """Write a document in the one form all our JSON files have."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def load(text: str) -> Json:
    """Read a document.

    Raises
    ------
    VectorFileError
        The text is not a JSON object, names a member twice, or is not in the form
        that :func:`dump` writes.
    """
    try:
        document = json.loads(text, object_pairs_hook=_members)
    except json.JSONDecodeError as error:
        raise VectorFileError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise VectorFileError("not a JSON object")
    if dump(document) != text:
        raise VectorFileError("not in canonical form")
    return document


def load_file(path: Path) -> Json:
    """Read a document from a file; see :func:`load`."""
    return load(path.read_text(encoding="utf-8"))


def schema_problems(document: Json, schema: Json) -> list[str]:
    """Say where a document departs from a draft-07 JSON Schema; empty if nowhere.

    Raises
    ------
    VectorFileError
        jsonschema is not installed.
    """
    if Draft7Validator is None:
        raise VectorFileError("jsonschema is not installed")
    Draft7Validator.check_schema(schema)
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in Draft7Validator(schema).iter_errors(document)
    ]


def envelope_problems(document: VectorFile) -> list[str]:
    """Say what is inconsistent in a file that follows its schema; empty if nothing.

    Test numbers count from 1 without a gap, and every flag is explained and used.
    """
    tests = list(each_test(document))
    problems = []
    if [test["tcId"] for test in tests] != list(range(1, len(tests) + 1)):
        problems.append("tcIds do not count from 1 without a gap")
    if document["numberOfTests"] != len(tests):
        problems.append(f"{len(tests)} tests, not {document['numberOfTests']}")
    used = {flag for test in tests for flag in test["flags"]}
    explained = set(document["notes"])
    problems += [f"flag {flag} is not explained" for flag in sorted(used - explained)]
    problems += [f"flag {flag} is not used" for flag in sorted(explained - used)]
    return problems


def each_test(document: VectorFile) -> Iterator[VectorTest]:
    """Yield every test of a file, in order."""
    for group in document["testGroups"]:
        yield from group["tests"]


def is_negative(test: VectorTest | Json) -> bool:
    """Tell whether a test shows what is refused, or what must not happen."""
    return test["error"] is not None or MUST_NOT in test["flags"]


def _members(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise VectorFileError("a member is named twice")
    return members
