"""The vector files: form, reproducibility, and our own decoder against them.

Source: RFC 9329 §3, RFC 9329 §4
"""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from iketcp.vectorlib import check, envelope
from iketcp.vectorlib.__main__ import GENERATORS, main
from iketcp.vectorlib.checkers import CHECKERS
from vector_support import grouped, unnoticed

VECTORS = Path(__file__).parent.parent / "vectors"
SCHEMAS = VECTORS / "schemas"
FILES = sorted(path.name for path in VECTORS.glob("*_test.json"))


@cache
def document(name: str) -> envelope.Json:
    """Load a vector file; callers must not change it."""
    return envelope.load_file(VECTORS / name)


def schema(name: str) -> envelope.Json:
    """Load a schema."""
    loaded: envelope.Json = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return loaded


def framing() -> envelope.Json:
    """Load the framing vectors; callers must not change them."""
    return document("stream_framing_test.json")


def one_test(**members: Any) -> envelope.Json:
    """Make a framing file of one test, one IKE message, with changes."""
    found = copy.deepcopy(framing())
    group = found["testGroups"][0]
    test = next(test for test in group["tests"] if "IKE_SA_INIT" in test["comment"])
    group["tests"] = [test | members]
    found["testGroups"] = [group]
    return found


def objects_of(part: Any) -> list[envelope.Json]:
    """Collect every JSON object below ``part`` that describes an object."""
    if isinstance(part, list):
        return [found for item in part for found in objects_of(item)]
    if not isinstance(part, dict):
        return []
    below = [found for item in part.values() for found in objects_of(item)]
    return below + ([part] if part.get("type") == "object" else [])


# --- every file -------------------------------------------------------------------


def test_every_generator_has_its_file_and_the_reverse() -> None:
    """No vector file is without a generator."""
    assert sorted(f"{name}_test.json" for name in GENERATORS) == FILES


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_files_are_reproducible(name: str) -> None:
    """Building a file again gives the same octets."""
    built = envelope.dump(GENERATORS[name]())
    path = VECTORS / f"{name}_test.json"
    assert path.read_bytes() == built.encode("utf-8"), "python -m iketcp.vectorlib"


@pytest.mark.parametrize("name", FILES)
def test_files_follow_their_schema(name: str) -> None:
    """Each file is what the schema that it names says."""
    found = document(name)
    assert envelope.schema_problems(found, schema(found["schema"])) == []


@pytest.mark.parametrize("name", FILES)
def test_numbers_and_flags_are_consistent(name: str) -> None:
    """Numbers count from 1 without a gap; flags are explained and used."""
    problems = envelope.envelope_problems(document(name))  # type: ignore[arg-type]
    assert problems == []


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_group_has_its_checker(name: str) -> None:
    """``iketcp vectors check`` passes nothing over."""
    kinds = {group["type"] for group in document(name)["testGroups"]}
    assert kinds <= CHECKERS.keys()


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda p: p.name)
def test_schemas_are_closed(path: Path) -> None:
    """No object of a schema takes members it does not name, or lacks any."""
    objects = objects_of(schema(path.name))
    assert objects
    for part in objects:
        if "properties" in part:
            assert part["additionalProperties"] is False
            assert sorted(part["required"]) == sorted(part["properties"])


@pytest.mark.parametrize("name", FILES)
def test_no_test_is_there_twice(name: str) -> None:
    """No two tests of a group have the same stream."""
    for group in document(name)["testGroups"]:
        streams = [test.get("stream", test["tcId"]) for test in group["tests"]]
        assert len(set(streams)) == len(streams)


def test_main_writes_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes the files; without a directory it says how to call it."""
    assert main([str(tmp_path)]) == 0
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == FILES
    assert main([]) == 2
    assert main([str(tmp_path / "missing")]) == 2
    assert "usage" in capsys.readouterr().err


# --- the envelope ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]\n", "not a JSON object"),
        ('{"a": 1}', "canonical"),
        ('{\n  "a": 1,\n  "a": 1\n}\n', "twice"),
    ],
)
def test_load_refuses(text: str, problem: str) -> None:
    """A file in any other form is refused with the reason."""
    with pytest.raises(envelope.VectorFileError, match=problem):
        envelope.load(text)


def test_load_reads_what_dump_writes() -> None:
    """Loading is the inverse of dumping."""
    assert envelope.load(envelope.dump({"a": ["§"]})) == {"a": ["§"]}


def test_envelope_problems_are_found() -> None:
    """Gaps, wrong counts, unexplained and unused flags are all named."""
    broken = one_test(tcId=2, flags=["Unheard"])
    problems = envelope.envelope_problems(broken)  # type: ignore[arg-type]
    assert "tcIds do not count from 1 without a gap" in problems
    assert f"1 tests, not {framing()['numberOfTests']}" in problems
    assert "flag Unheard is not explained" in problems
    assert "flag Ordinary is not used" in problems


@pytest.mark.parametrize(
    "members",
    [
        {"stream": "ABCD"},
        {"stream": "abc"},
        {"result": "invalid"},
        {"error": "LengthTooSmall", "reaction": "close-connection"},
        {"result": "invalid", "error": "LengthTooSmall"},
        {"pendingOctets": 65535},
        {"ignored": ["fe"]},
        {"messages": [{"kind": "ah", "octets": "00"}]},
        {"requirement": ["RFC 9329"]},
        {"flags": []},
        {"extra": None},
    ],
)
def test_schema_refuses(members: envelope.Json) -> None:
    """The framing schema refuses what is not in its form."""
    framing_schema = schema("stream_framing_schema_v1.json")
    assert envelope.schema_problems(one_test(), framing_schema) == []
    assert envelope.schema_problems(one_test(**members), framing_schema)


# --- framing ----------------------------------------------------------------------


def test_decoder_passes_the_framing_vectors() -> None:
    """Whole, octet by octet, split at every boundary [9329-3-segmentation]."""
    assert list(check.problems(framing())) == []


def test_heads_are_what_the_format_says() -> None:
    """[9329-3-length] [9329-3.1-marker] [9329-3-max]: worked out without our code."""
    for _, test in grouped("stream_framing", "MessageFraming"):
        heads = []
        for message in test["messages"]:
            marker = "00000000" if message["kind"] == "ike" else ""
            length = 2 + len(marker) // 2 + message["size"]
            heads.append(f"{length:04x}{marker}")
        is_too_long = any(len(head) not in (4, 12) for head in heads)
        assert test["heads"] == ([] if is_too_long else heads)
        assert (test["error"] == "MessageTooLong") == is_too_long


def test_check_finds_other_heads() -> None:
    """Another head, or none where one is due: it is reported."""
    assert unnoticed("stream_framing", "MessageFraming", "heads", "error") == []


@pytest.mark.parametrize(
    "members",
    [
        {"messages": []},
        {"ignored": [""]},
        {"unparseable": ["00"]},
        {"pendingOctets": 1},
        {"error": "LengthTooSmall"},
        {"stream": "494b455443500001"},
        {"stream": "494b4554435000"},
    ],
)
def test_check_finds_what_differs(members: envelope.Json) -> None:
    """A test that asks for something else is reported for every way to cut it."""
    found = list(check.problems(one_test(**members)))
    assert len(found) > 2
    assert "whole" in found[0]
    assert any("octet by octet" in problem for problem in found)


def test_check_frames_messages_again() -> None:
    """Messages framed again must give the stream."""
    test = one_test()["testGroups"][0]["tests"][0]
    assert check.framed_again(test, True) == bytes.fromhex(test["stream"])
    assert check.framed_again(test, False) == bytes.fromhex(test["stream"])[6:]
    assert check.framed_again(test | {"pendingOctets": 1}, True) is None


def test_check_reports_a_frame_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that writes something else is reported."""
    monkeypatch.setattr(check, "frame_ike", lambda message: b"")
    found = list(check.problems(one_test()))
    assert len(found) == 1
    assert "framed again as 494b45544350" in found[0]


def test_cuttings_cover_every_boundary_of_short_streams() -> None:
    """A short stream is split everywhere, a long one near its ends and sparsely."""
    short = dict(check.cuttings(b"abcd"))
    assert list(short.values())[1:] == [
        [b"a", b"b", b"c", b"d"],
        [b"a", b"bcd"],
        [b"ab", b"cd"],
        [b"abc", b"d"],
    ]
    long = list(check.cuttings(bytes(65535)))
    assert 128 < len(long) < 256


@pytest.mark.parametrize("originator", [True, False])
def test_framing_covers_every_length_edge(originator: bool) -> None:
    """Lengths 0 to 6, 31 to 34, 65534 and 65535 open some stream (RFC 9329 §3)."""
    lengths = set()
    for group, test in grouped("stream_framing", "StreamFraming"):
        begin = bytes.fromhex(test["stream"])[6 if originator else 0 :][:2]
        if group["originator"] is originator and len(begin) == 2:
            lengths.add(int.from_bytes(begin, "big"))
    edges = {0, 1, 2, 3, 4, 5, 6, 31, 32, 33, 34, 255, 256, 32768, 65534, 65535}
    assert edges <= lengths
