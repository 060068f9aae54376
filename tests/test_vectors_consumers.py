"""The consumers in another language: they agree, and they can disagree."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iketcp.vectorlib import envelope
from iketcp.vectorlib.envelope import Json
from namespaces import require_or_skip
from vector_support import VECTORS, grouped, spoiled

CONSUMERS = VECTORS / "consumers"
NODE = "node"
FRAMING, MAPPING = "stream_framing.mjs", "connection_mapping.mjs"
PROTECTED, SESSIONS = "protected.mjs", "exchange_transcripts.mjs"


def consume(name: str, path: Path) -> "subprocess.CompletedProcess[str]":
    """Run a JavaScript consumer on a file."""
    require_or_skip(shutil.which(NODE) is not None, "Node is not installed")
    command = [NODE, str(CONSUMERS / name), str(path)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120
    )


def written(path: Path, group: Json, test: Json) -> Path:
    """Write a file of one test."""
    path.write_text(json.dumps({"testGroups": [{**group, "tests": [test]}]}))
    return path


# --- the stream -----------------------------------------------------------------------


def test_a_foreign_decoder_agrees() -> None:
    """Whole and octet by octet, JavaScript that owes us nothing gets the same."""
    done = consume(FRAMING, VECTORS / "stream_framing_test.json")
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, int] = {}
    for _, test in grouped("stream_framing", "StreamFraming"):
        results[test["result"]] = results.get(test["result"], 0) + 1
    counts = ", ".join(f"{name} {results[name]}" for name in ("valid", "invalid"))
    assert done.stdout.startswith(f"{counts}, acceptable {results['acceptable']}")
    assert done.stdout.endswith("failed 0\n")


@pytest.mark.parametrize("result", ["valid", "invalid"])
def test_a_foreign_decoder_can_fail(result: str, tmp_path: Path) -> None:
    """Another output is named, with exit code 1."""
    group, test = [
        pair
        for pair in grouped("stream_framing", "StreamFraming")
        if pair[1]["result"] == result
    ][-1]
    wrong = {**test, "messages": [{"kind": "esp", "octets": "00"}]}
    done = consume(FRAMING, written(tmp_path / "one.json", group, wrong))
    assert done.returncode == 1
    assert f"tcId {test['tcId']}" in done.stdout
    assert "failed 1" in done.stdout


# --- what is protected ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "opens"),
    [
        ("esp_packet", "EspPacket", lambda test: test["isAuthentic"]),
        ("ike_encrypted", "Encrypted", lambda test: test["reaction"] != "drop"),
    ],
)
def test_foreign_keys_open_the_same_packets(
    name: str, kind: str, opens: Callable[[Json], bool]
) -> None:
    """Node's ciphers open what is authentic, and nothing else."""
    done = consume(PROTECTED, VECTORS / f"{name}_test.json")
    verdicts = [opens(test) for _, test in grouped(name, kind)]
    counts = f"opened {sum(verdicts)}, refused {verdicts.count(False)}, failed 0\n"
    assert (done.returncode, done.stdout) == (0, counts), done.stderr


@pytest.mark.parametrize(
    ("name", "kind", "member"),
    [
        ("esp_packet", "EspPacket", "packet"),
        ("esp_packet", "EspPacket", "inner"),
        ("esp_packet", "EspPacket", "highest"),
        ("ike_encrypted", "Encrypted", "message"),
        ("ike_encrypted", "Encrypted", "inner"),
    ],
)
def test_foreign_keys_can_fail(
    name: str, kind: str, member: str, tmp_path: Path
) -> None:
    """A packet or content that was changed is named, with exit code 1."""
    group, test = [
        pair for pair in grouped(name, kind) if pair[1]["result"] == "valid"
    ][-1]
    changed: Any = spoiled(test[member])
    wrong = test | {member: "f" * 16 if member == "highest" else changed}
    done = consume(PROTECTED, written(tmp_path / "one.json", group, wrong))
    assert done.returncode == 1
    assert f"tcId {test['tcId']}" in done.stdout


def test_a_foreign_reader_opens_the_mapping_scenarios() -> None:
    """Every message opens with the given keys, but for those after a rekey."""
    done = consume(MAPPING, VECTORS / "connection_mapping_test.json")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    assert int(counts["opened"]) > 700
    assert int(counts["keyless"]) < int(counts["opened"]) / 5
    assert counts["failed"] == "0"


@pytest.mark.parametrize("kind", ["ike", "esp"])
def test_a_foreign_reader_can_fail(kind: str, tmp_path: Path) -> None:
    """Content that the octets do not have is shown, with exit code 1."""
    group, test = next(
        (group, json.loads(json.dumps(test)))
        for group, test in grouped("connection_mapping", "ConnectionMapping")
        if test["comment"] == "several messages at once"
    )
    for step in test["steps"]:
        for content in step.get("content", []):
            if content["kind"] == kind:
                content["isAuthentic"] = False
    done = consume(MAPPING, written(tmp_path / "one.json", group, test))
    assert done.returncode == 1
    assert f"tcId {test['tcId']}" in done.stdout


def test_a_foreign_reader_opens_the_sessions() -> None:
    """Every IKE message, fragment and ESP packet, under every cipher."""
    done = consume(SESSIONS, VECTORS / "exchange_transcripts_test.json")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    assert int(counts["opened"]) > 600
    assert (counts["refused"], counts["failed"]) == ("0", "0")


@pytest.mark.parametrize("content", ["ike", "fragment", "esp"])
def test_a_foreign_reader_of_sessions_can_fail(content: str, tmp_path: Path) -> None:
    """A message that was changed is named, with exit code 1."""
    group, test = next(
        (group, json.loads(json.dumps(test)))
        for group, test in grouped("exchange_transcripts", "DatagramTranscript")
        if "Fragments" in test["flags"]
    )
    step = [one for one in test["steps"] if one.get("content") == content][-1]
    step["message"] = spoiled(step["message"])
    done = consume(SESSIONS, written(tmp_path / "one.json", group, test))
    assert done.returncode == 1
    assert f"tcId {test['tcId']}" in done.stdout
    assert "failed 1" in done.stdout


@pytest.mark.parametrize("name", [FRAMING, PROTECTED, MAPPING, SESSIONS])
def test_a_consumer_does_not_pass_on_nothing(name: str, tmp_path: Path) -> None:
    """A file without tests proves nothing."""
    path = tmp_path / "empty.json"
    path.write_text(envelope.dump({"testGroups": []}))
    assert consume(name, path).returncode == 1
