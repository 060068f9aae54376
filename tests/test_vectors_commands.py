"""``iketcp vectors`` on good files and bad."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from iketcp.errors import EnvironmentProblem
from iketcp.vectorlib import check_prf, coverage, envelope, runner
from iketcp.vectorlib.commands import MOST_PROBLEMS, vectors_app
from iketcp.vectorlib.envelope import Json, VectorFile

VECTORS = Path(__file__).parent.parent / "vectors"
CONSUMERS = VECTORS / "consumers"
SMALL = "message_ids_test.json"


def size(name: str) -> int:
    """How many tests a file has."""
    count: int = envelope.load_file(VECTORS / name)["numberOfTests"]
    return count


COUNT, PRF_COUNT = size(SMALL), size("prf_test.json")


def run(*arguments: str | Path, vectors: Path | None = None) -> Any:
    """Run a command; output and errors come together."""
    place = [] if vectors is None else ["--vectors", str(vectors)]
    return CliRunner().invoke(vectors_app, [*map(str, arguments), *place])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small directory of vectors that may be spoiled."""
    shutil.copytree(VECTORS / "schemas", tmp_path / "schemas")
    for name in (SMALL, "prf_test.json", "requirements.json"):
        shutil.copy(VECTORS / name, tmp_path)
    return tmp_path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Callable[[], VectorFile]]:
    """Generators of the files that ``copy`` holds, and no others."""
    kept = {
        name: build
        for name, build in runner.GENERATORS.items()
        if name in ("message_ids", "prf")
    }
    monkeypatch.setattr(runner, "GENERATORS", kept)
    return kept


def change(path: Path, edit: Callable[[Json], object]) -> None:
    """Change a file, which stays canonical."""
    document = envelope.load_file(path)
    edit(document)
    path.write_text(envelope.dump(document), encoding="utf-8")


# --- check ------------------------------------------------------------------------


def test_check_passes_good_files() -> None:
    """A line a file, a sum, and exit code 0."""
    done = run("check", VECTORS / SMALL, VECTORS / "prf_test.json")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"ok   message_ids_test.json: {COUNT} tests",
        f"ok   prf_test.json: {PRF_COUNT} tests",
        f"2 files, {COUNT + PRF_COUNT} tests, 0 files with problems",
    ]


def test_check_takes_all_files_by_default(copy: Path) -> None:
    """Without FILES every file of the directory is run."""
    done = run("check", vectors=copy)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("ok   message_ids_test.json")
    assert "2 files" in done.output


def test_check_reports_an_output_that_differs(copy: Path) -> None:
    """Our implementation gives something else: tcId, member, both values, exit 1."""

    def edit(document: Json) -> None:
        test = document["testGroups"][0]["tests"][0]
        test["output"] = "00" * (len(test["output"]) // 2)

    change(copy / "prf_test.json", edit)
    done = run("check", vectors=copy)
    assert done.exit_code == 1
    assert "ok   message_ids_test.json" in done.output
    assert (
        f"FAIL prf_test.json: {PRF_COUNT} tests\n     tcId 1, output: " in done.output
    )
    assert "1 files with problems" in done.output


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d.update(schema="missing.json"), "no schema 'missing.json'"),
        (lambda d: d.update(schema=7), "no schema 7"),
        (lambda d: d.update(extra=1), "Additional properties"),
        (lambda d: d.update(numberOfTests=3), f"{COUNT} tests, not 3"),
        (lambda d: d["testGroups"][0].update(type="Other"), "$.testGroups[0]"),
        (lambda d: d.pop("testGroups"), "'testGroups' is a required property"),
    ],
)
def test_check_reports_a_wrong_form(
    copy: Path, edit: Callable[[Json], object], problem: str
) -> None:
    """Schema and envelope come first; nothing is run that is not in form."""
    change(copy / SMALL, edit)
    done = run("check", copy / SMALL, vectors=copy)
    assert done.exit_code == 1
    assert problem in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"{", "not JSON"),
        (b"[]\n", "not a JSON object"),
        (b'{"a": 1}', "not in canonical form"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_check_reports_what_is_no_vector_file(
    copy: Path, octets: bytes, problem: str
) -> None:
    """Any octets at all get a sentence."""
    (copy / SMALL).write_bytes(octets)
    done = run("check", copy / SMALL, vectors=copy)
    assert done.exit_code == 1
    assert f"FAIL {SMALL}: 0 tests\n     {problem}" in done.output


def test_check_prints_some_of_many_problems(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is counted."""
    many = [f"tcId {n}: wrong" for n in range(MOST_PROBLEMS + 5)]
    monkeypatch.setattr(runner.checkers, "problems", lambda document: many)
    done = run("check", copy / SMALL, vectors=copy)
    assert done.exit_code == 1
    assert f"tcId {MOST_PROBLEMS - 1}: wrong\n     and 5 more" in done.output


def test_check_works_without_jsonschema(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, runs the tests all the same, and survives what is not in form."""
    monkeypatch.setattr(envelope, "HAS_SCHEMAS", False)
    monkeypatch.setattr(envelope, "Draft7Validator", None)
    done = run("check", vectors=copy)
    assert done.exit_code == 0
    assert runner.WITHOUT_SCHEMAS in done.output
    with pytest.raises(envelope.VectorFileError, match="not installed"):
        envelope.schema_problems({}, {})
    change(copy / SMALL, lambda d: d["testGroups"][0].pop("type"))
    done = run("check", copy / SMALL, vectors=copy)
    assert done.exit_code == 1
    assert "cannot be run: KeyError" in done.output
    change(copy / SMALL, lambda d: d.pop("testGroups"))
    done = run("check", copy / SMALL, vectors=copy)
    assert "not in the form of its schema: KeyError" in done.output
    change(copy / SMALL, lambda d: d.update(numberOfTests="all"))
    assert (
        "FAIL message_ids_test.json: 0 tests"
        in run("check", copy / SMALL, vectors=copy).output
    )


def test_check_reports_a_checker_that_fails(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a checker cannot take is a problem of the file, not a traceback."""

    def refuse(document: Json) -> list[str]:
        raise ValueError("odd")

    monkeypatch.setattr(check_prf, "problems", refuse)
    monkeypatch.setitem(runner.checkers.CHECKERS, "Prf", refuse)  # type: ignore[misc]
    done = run("check", copy / "prf_test.json", vectors=copy)
    assert done.exit_code == 1
    assert "cannot be run: ValueError('odd')" in done.output


@pytest.mark.parametrize("command", ["check", "generate", "list", "requirements"])
def test_no_vectors_is_an_environment_problem(command: str, tmp_path: Path) -> None:
    """No such directory, or nothing in it: exit code 2 in the command line."""
    done = run(command, vectors=tmp_path / "missing")
    assert isinstance(done.exception, EnvironmentProblem)
    assert "missing" in str(done.exception)
    if command != "generate":
        (tmp_path / "schemas").mkdir()
        done = run(command, vectors=tmp_path)
        assert isinstance(done.exception, EnvironmentProblem)


def test_a_missing_file_is_an_environment_problem(tmp_path: Path) -> None:
    """A file that is named and is not there."""
    done = run("check", tmp_path / "none_test.json")
    assert isinstance(done.exception, EnvironmentProblem)
    assert "none_test.json: No such file" in str(done.exception)


def test_vectors_are_found_beside_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout; installed elsewhere, they have to be named."""
    assert runner.find_vectors(None) == VECTORS.resolve()
    monkeypatch.setattr(runner, "__file__", "/a/b/c/d/e.py")
    with pytest.raises(EnvironmentProblem, match="--vectors"):
        runner.find_vectors(None)


# --- generate ---------------------------------------------------------------------


@pytest.mark.usefixtures("few")
def test_generate_check_compares_octets(copy: Path) -> None:
    """Equal; then one octet more; one file less; one too many."""
    assert run("generate", "--check", vectors=copy).exit_code == 0
    path = copy / SMALL
    path.write_bytes(path.read_bytes() + b"\n")
    (copy / "prf_test.json").unlink()
    (copy / "other_test.json").write_text("{}\n")
    done = run("generate", "--check", vectors=copy)
    assert done.exit_code == 1
    assert (
        f"FAIL {SMALL}: {COUNT} tests\n     differs from what is built" in done.output
    )
    assert f"FAIL prf_test.json: {PRF_COUNT} tests\n     was not there" in done.output
    assert "FAIL other_test.json: 0 tests\n     nothing of ours" in done.output
    assert not (copy / "prf_test.json").exists()


@pytest.mark.usefixtures("few")
def test_generate_writes_the_same_octets(copy: Path) -> None:
    """What was spoiled and what was missing is as in the repository again."""
    (copy / SMALL).write_text("{}\n")
    (copy / "prf_test.json").unlink()
    done = run("generate", vectors=copy)
    assert done.exit_code == 0
    assert f"{SMALL}: {COUNT} tests, changed" in done.output
    for name in (SMALL, "prf_test.json"):
        assert (copy / name).read_bytes() == (VECTORS / name).read_bytes()
    assert f"{SMALL}: {COUNT} tests, as before" in run("generate", vectors=copy).output


# --- list, requirements -----------------------------------------------------------


def test_list_names_every_file() -> None:
    """File, tests, group types."""
    done = run("list")
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.output.splitlines()}
    assert set(lines) == {path.name for path in VECTORS.glob("*_test.json")}
    assert lines["prf_test.json"].split(maxsplit=3)[1:] == [
        str(PRF_COUNT),
        "tests",
        "Prf, PrfPlus, Integrity",
    ]


@pytest.mark.parametrize("text", ["{}\n", '{\n  "testGroups": 7\n}\n', "{"])
def test_list_names_what_is_no_vector_file(copy: Path, text: str) -> None:
    """The others are listed all the same; exit code 1."""
    (copy / SMALL).write_text(text)
    done = run("list", vectors=copy)
    assert done.exit_code == 1
    assert "not a vector file" in done.output
    assert "prf_test.json" in done.output


def test_requirements_shows_the_ledger() -> None:
    """Each planned one with its reason; all built ones that bind have evidence."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(vectors_app, ["requirements"])
    assert done.exit_code == 0, done.output
    entries = envelope.load_file(VECTORS / "requirements.json")["requirements"]
    planned = [entry for entry in entries if entry["status"] == "planned"]
    observed = [entry for entry in entries if entry["status"] == "observed"]
    assert observed
    for entry in planned + observed:
        assert entry["id"] in done.output
        assert entry["reason"][:20] in done.output
    bound = [
        entry
        for entry in entries
        if entry["status"] != "planned" and entry["level"] in ("MUST", "SHOULD")
    ]
    assert f"{len(bound)} of {len(bound)} built MUST" in done.output
    assert f"{len(planned)} requirements are planned" in done.output


def test_requirements_fails_without_evidence(copy: Path) -> None:
    """A built MUST that nothing shows is named, with what it lacks; exit code 1."""

    def edit(document: Json) -> None:
        document["requirements"][0]["evidence"] = []

    change(copy / "requirements.json", edit)
    done = run("requirements", vectors=copy)
    assert done.exit_code == 1
    assert "9329-3-length lacks evidence" in done.output
    assert "9329-3-max lacks a positive vector and a negative vector" in done.output
    assert "9329-6.2-responder lacks a negative vector" in done.output


@pytest.mark.parametrize(
    "text", ["{}\n", "{", '{\n  "requirements": [\n    7\n  ]\n}\n']
)
def test_requirements_refuses_what_is_no_ledger(copy: Path, text: str) -> None:
    """Any octets get a sentence."""
    (copy / "requirements.json").write_text(text)
    done = run("requirements", vectors=copy)
    assert isinstance(done.exception, EnvironmentProblem)
    assert "is no ledger" in str(done.exception)


def entry(section: str, level: str, status: str, *evidence: str) -> Json:
    """A requirement with what the table looks at."""
    return {
        "id": "9329-1-x",
        "section": [section],
        "level": level,
        "status": status,
        "reason": "later",
        "evidence": list(evidence),
    }


def test_counts_by_section() -> None:
    """Sections in the RFC's order; built, shown, observed and planned apart."""
    rows = coverage.counts(
        [
            entry("RFC 7296 §2.1", "MUST", "built", "a/1"),
            entry("RFC 9329 App. A", "SHOULD", "planned"),
            entry("RFC 9329 §10", "MAY", "built"),
            entry("RFC 9329 §6.1", "MUST", "built", "a/1", "a/2"),
            entry("RFC 9329 §6.1", "MUST", "observed", "tests/test_a.py::test_a"),
            entry("RFC 9329 §6.1", "MUST", "built"),
            entry("RFC 9329 §6.1", "SHOULD", "planned"),
        ],
        {"a/1": False, "a/2": True},
    )
    assert [row.section for row in rows] == [
        "RFC 9329 §6.1",
        "RFC 9329 §10",
        "RFC 9329 App. A",
        "RFC 7296 §2.1",
    ]
    assert (rows[0].cell("MUST"), rows[0].cell("SHOULD")) == ("2/3", "")
    assert (rows[1].cell("MAY"), rows[3].cell("MUST")) == ("0/1", "0/1")
    assert [row.observed for row in rows] == [1, 0, 0, 0]
    assert [row.planned for row in rows] == [1, 0, 1, 0]


def test_render_takes_names_as_they_are() -> None:
    """Brackets in a reason are no markup."""
    console = Console(record=True, width=100, markup=False)
    odd = entry("RFC 9329 §1.2", "MUST", "planned") | {"reason": "[bold]not[/bold] yet"}
    coverage.render([odd], {}, console)
    assert "[bold]not[/bold] yet" in console.export_text()


# --- documents ---------------------------------------------------------------------


def test_the_readme_names_every_file_and_command() -> None:
    """Each vector file, consumer and command stands in ``vectors/README.md``."""
    text = (VECTORS / "README.md").read_text("utf-8")
    names = [path.name for path in VECTORS.glob("*_test.json")]
    names += [f"consumers/{path.name}" for path in CONSUMERS.iterdir()]
    names += [f"iketcp vectors {c}" for c in ("check", "generate", "list")]
    names += ["iketcp vectors requirements"]
    assert [name for name in names if f"`{name}" not in text] == []


def test_the_readme_says_who_else_checks_each_file() -> None:
    """Each vector file has its row in the table of independent checks."""
    text = (VECTORS / "README.md").read_text("utf-8")
    table = text.partition("## Who else agrees")[2].partition("\n## ")[0]
    names = [
        path.name.removesuffix("_test.json") for path in VECTORS.glob("*_test.json")
    ]
    assert [name for name in names if f"| `{name}` |" not in table] == []
