"""The ledger of requirements: complete, and true of the code and the tests.

Source: RFC 9329, all sections
"""

import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from iketcp import mapping
from iketcp.vectorlib import coverage, envelope, runner

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "reference"
VECTORS = ROOT / "vectors"

ID = r"9329-(?:\d+(?:\.\d+)*|[A-Z])-[a-z][a-z0-9-]*"
ANY_ID = re.compile(rf"(?<![\w.-]){ID}(?![\w-])")
BRACKETED_ID = re.compile(rf"\[({ID})\]")

FROZEN = """
    9329-3-length 9329-3-max 9329-3-empty 9329-3-type 9329-3-limit 9329-3-short
    9329-3-segmentation 9329-3.1-length 9329-3.1-marker 9329-3.1-agree
    9329-3.2-length 9329-3.2-spi 9329-4-prefix 9329-4-once 9329-4-originator
    9329-4-inside 9329-6.1-wait 9329-6.1-noprefix 9329-6.1-reprefix 9329-6.1-idle
    9329-2-ports 9329-9-favor 9329-6.1-one 9329-5-all 9329-5-listen
    9329-6.1-send-one 9329-6.1-last-valid 9329-6.1-valid-ike 9329-6.1-valid-esp
    9329-6.1-reply-path 9329-6.1-both 9329-6.1-extraneous 9329-6.1-share
    9329-6.1-rekey-share 9329-6.1-reuse 9329-6.1-recognise 9329-6.1-address
    9329-1.2-originator 9329-6.1-reestablish 9329-6.1-keep-state 9329-6.1-resume-msg
    9329-6.1-partial 9329-6.1-delete 9329-6.1-close 9329-6.1-linger 9329-6.1-corrupt
    9329-6.1-few-unknown 9329-6.1-syntax 9329-6.1-flowlabel 9329-10-resync
    9329-10-limit 9329-10-state 9329-6.2-no-retransmit 9329-6.2-reconnect
    9329-6.2-responder 9329-6.3-cookie-puzzle 9329-6.3-close 9329-6.3-port
    9329-6.3-initiator 9329-6.4-act 9329-6.4-stay 9329-6.5-natd 9329-6.5-nochange
    9329-6.5-checksum 9329-6.5-keepalive 9329-6.6-send 9329-6.6-drop
    9329-6.7-liveness 9329-6.8-df 9329-6.8-dscp 9329-9.4-mss 9329-9.5-ecn
    9329-5.1-udp-first 9329-5.1-fresh 9329-7.1-dynamic 9329-7.1-udp-first
    9329-7.1-natd 9329-7.1-close 9329-7.1-nonats 9329-7.1-rrc 9329-7.2-redirect
    9329-7.3-resume 9329-7.4-ha 9329-7.5-nofrag 9329-7.5-recvfrag 9329-7.5-negotiate
    9329-A-config 9329-A-versions 9329-A-connect 9329-A-resume 9329-A-null
    9329-B-nocert 9329-B-notify
"""
"""Ids that once were in the ledger. They never leave it; new ones are added here."""


@cache
def ledger() -> envelope.Json:
    """Load the ledger; callers must not change it."""
    return envelope.load_file(VECTORS / "requirements.json")


def requirements() -> list[envelope.Json]:
    """All entries of the ledger."""
    found: list[envelope.Json] = ledger()["requirements"]
    return found


def built() -> list[envelope.Json]:
    """The entries whose code exists."""
    return [entry for entry in requirements() if entry["status"] != "planned"]


@cache
def signs() -> coverage.Signs:
    """Of each vector that is evidence, whether it is negative."""
    return runner.signs(VECTORS, requirements())


def resolve(name: str) -> Any:
    """Find what a dotted name stands for.

    Raises
    ------
    LookupError
        No module or attribute has that name.
    """
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        module_name = ".".join(parts[:size])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # A package that is missing inside that module is another matter.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[size:]:
            if not hasattr(found, part) and part not in annotations_of(found):
                raise LookupError(name)
            found = getattr(found, part, None)
        return found
    raise LookupError(name)


def annotations_of(thing: Any) -> dict[str, Any]:
    """Fields that a class declares without a value."""
    fields: dict[str, Any] = getattr(thing, "__annotations__", {})
    return fields


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the tests in a file, those of a class behind its name and ``::``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{child.name}"
                for child in node.body
                if isinstance(child, ast.FunctionDef)
            }
    return frozenset(name for name in names if "test_" in name)


@cache
def vectors_in(name: str) -> dict[int, envelope.Json]:
    """Tests of a vector file by their number."""
    path = VECTORS / f"{name}_test.json"
    if not path.exists():
        return {}
    document: Any = envelope.load_file(path)
    return {test["tcId"]: dict(test) for test in envelope.each_test(document)}


def evidence_problem(entry: envelope.Json, evidence: str) -> str | None:
    """Say what is wrong with a piece of evidence, or ``None``."""
    if "::" in evidence:
        file, name = evidence.split("::", 1)
        path = ROOT / file
        if path.exists() and name in names_in(path):
            return None
        return f"{entry['id']}: no test {evidence}"
    file, number = evidence.split("/")
    test = vectors_in(file).get(int(number))
    if test is None:
        return f"{entry['id']}: no vector {evidence}"
    if entry["id"] not in test["requirement"]:
        return f"{entry['id']}: vector {evidence} is about {test['requirement']}"
    return None


def entry_problems(entry: envelope.Json) -> list[str]:
    """Say what is wrong with an entry; empty if nothing."""
    problems = []
    if entry["status"] != "planned" and entry["level"] in coverage.BINDING:
        if not entry["enforced_by"]:
            problems.append(f"{entry['id']}: built, but nothing in enforced_by")
        lack = coverage.missing(entry, signs())
        if lack is not None:
            problems.append(f"{entry['id']}: lacks {lack}")
    for name in entry["enforced_by"]:
        try:
            resolve(name)
        except LookupError:
            problems.append(f"{entry['id']}: nothing is called {name}")
    found = (evidence_problem(entry, evidence) for evidence in entry["evidence"])
    return problems + [problem for problem in found if problem]


TEST = "tests/test_stream.py::test_fatal_length_ends_the_stream"
SHOWN = ("connection_mapping/52", "stream_framing/72")
"""A positive and a negative vector of 9329-3.1-length."""


def sources() -> dict[str, str]:
    """Text of every Python file of the package, by its path."""
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in sorted(REFERENCE.rglob("*.py"))
    }


def test_ledger_follows_its_schema() -> None:
    """The ledger is canonical JSON and what its schema says."""
    path = VECTORS / "schemas" / ledger()["schema"]
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert envelope.schema_problems(ledger(), schema) == []


def test_no_id_was_dropped_or_is_there_twice() -> None:
    """Every id ever listed is listed, once, and each new one is frozen too."""
    ids = [entry["id"] for entry in requirements()]
    assert len(set(ids)) == len(ids)
    assert ledger()["numberOfRequirements"] == len(ids)
    dropped = sorted(set(FROZEN.split()) - set(ids))
    added = sorted(set(ids) - set(FROZEN.split()))
    assert (dropped, added) == ([], [])


def test_entries_are_true() -> None:
    """Enforcing names resolve, evidence exists, and what binds has both.

    A MUST or SHOULD has a positive and a negative vector, or a reason why it has none.
    """
    problems = [
        problem for entry in requirements() for problem in entry_problems(entry)
    ]
    assert problems == []


def test_cited_ids_are_in_the_ledger() -> None:
    """No code cites an id that the ledger does not have."""
    ids = {entry["id"] for entry in requirements()}
    unknown = [
        f"{path}: {cited}"
        for path, text in sources().items()
        for cited in ANY_ID.findall(text)
        if cited not in ids
    ]
    assert unknown == []


def test_built_ids_are_cited_in_the_code() -> None:
    """Where code obeys a rule, its id stands there in brackets."""
    cited = {
        found
        for path, text in sources().items()
        if "/vectorlib/" not in path
        for found in BRACKETED_ID.findall(text)
    }
    assert sorted({entry["id"] for entry in built()} - cited) == []


def test_vectors_are_about_known_requirements() -> None:
    """Every id in a vector file is in the ledger."""
    ids = {entry["id"] for entry in requirements()}
    for path in VECTORS.glob("*_test.json"):
        for test in vectors_in(path.name.removesuffix("_test.json")).values():
            assert set(test["requirement"]) <= ids, f"{path.name} {test['tcId']}"


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"enforced_by": []}, "nothing in enforced_by"),
        ({"evidence": []}, "lacks evidence"),
        ({"evidence": ["connection_mapping/52"]}, "lacks a negative vector"),
        ({"evidence": ["stream_framing/72"]}, "lacks a positive vector"),
        ({"evidence": [TEST]}, "lacks a positive vector and a negative vector"),
        ({"status": "observed", "evidence": ["stream_framing/72"]}, "lacks a test"),
        ({"enforced_by": ["iketcp.stream.Missing"]}, "nothing is called"),
        ({"enforced_by": ["iketcp.missing.feed"]}, "nothing is called"),
        ({"enforced_by": ["missing_package.feed"]}, "nothing is called"),
        ({"evidence": [*SHOWN, "tests/test_stream.py::test_missing"]}, "no test"),
        ({"evidence": [*SHOWN, "tests/test_missing.py::test_it"]}, "no test"),
        ({"evidence": [*SHOWN, "stream_framing/999999"]}, "no vector"),
        ({"evidence": [*SHOWN, "missing/1"]}, "no vector"),
        ({"evidence": [*SHOWN, "stream_framing/1"]}, "is about"),
    ],
)
def test_an_untrue_entry_is_found(members: envelope.Json, problem: str) -> None:
    """Each way for an entry to be untrue is reported."""
    entry = next(entry for entry in built() if entry["id"] == "9329-3.1-length")
    assert entry_problems(entry) == []
    (found,) = entry_problems(entry | members)
    assert problem in found


def test_fields_without_a_value_resolve() -> None:
    """A dataclass field is a name like any other."""
    resolve("iketcp.effects.Transmit.octets")
    resolve("iketcp.effects.Transmit.droppable")
    resolve("iketcp.environment")


def test_the_table_of_the_mapping_leads_somewhere() -> None:
    """Each rule of RFC 9329 §6.1 is found where ``mapping`` says that it is obeyed."""
    text = mapping.__doc__ or ""
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    named = {row[2] for row in rows if len(row) == 3 and re.match(r"[\d.]+$", row[0])}
    for name in named:
        resolve(f"iketcp.{name}")
    methods = {
        f"mapping.ConnectionMap.{name}"
        for name, thing in vars(mapping.ConnectionMap).items()
        if callable(thing) and not name.startswith("_")
    }
    told_elsewhere = {"due", "next_deadline", "heard_at_home"}
    assert {
        m for m in methods - named if m.split(".")[-1] not in told_elsewhere
    } == set()
