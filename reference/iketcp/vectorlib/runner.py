"""Runs vector files: form, schema and checkers; and compares them with what we build.

Works with any file in the form of :mod:`envelope <iketcp.vectorlib.envelope>`, also one
that somebody else wrote.

Source: RFC 9329 §6 is what the files are about
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from iketcp.errors import EnvironmentProblem
from iketcp.vectorlib import checkers, envelope
from iketcp.vectorlib.__main__ import GENERATORS
from iketcp.vectorlib.envelope import Json, VectorFile, VectorFileError

SUFFIX = "_test.json"

WITHOUT_SCHEMAS = "jsonschema is not installed: files are not compared with schemas"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file."""

    path: Path
    tests: int
    problems: tuple[str, ...]


def find_vectors(given: Path | None) -> Path:
    """Return the directory of the vectors: the given one, or that of the checkout.

    Raises
    ------
    EnvironmentProblem
        There is none.
    """
    directory = given or Path(__file__).resolve().parents[3] / "vectors"
    if (directory / "schemas").is_dir():
        return directory
    if given is not None:
        raise EnvironmentProblem(f"no vectors in {given}: it has no schemas folder")
    raise EnvironmentProblem("no vectors beside this package: name them by --vectors")


def files_in(vectors: Path) -> list[Path]:
    """Return every vector file of a directory, by name.

    Raises
    ------
    EnvironmentProblem
        There is none: nothing to do is no success.
    """
    found = sorted(vectors.glob(f"*{SUFFIX}"))
    if not found:
        raise EnvironmentProblem(f"no vector files in {vectors}")
    return found


def load(path: Path) -> Json:
    """Load a file.

    Raises
    ------
    EnvironmentProblem
        It cannot be read.
    VectorFileError
        It is not in canonical form.
    """
    try:
        return envelope.load_file(path)
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise VectorFileError(f"not UTF-8: {error}") from None


def check_file(path: Path, vectors: Path) -> Report:
    """Check a file: its form, its schema, then what our implementation makes of it.

    Parameters
    ----------
    vectors : Path
        Where the schemas are.

    Raises
    ------
    EnvironmentProblem
        It cannot be read.
    """
    try:
        document = load(path)
    except VectorFileError as error:
        return Report(path, 0, (str(error),))
    found = _form_problems(document, vectors)
    if not found:
        found = _run(document)
    return Report(path, _count(document), tuple(found))


def _form_problems(document: Json, vectors: Path) -> list[str]:
    name = document.get("schema")
    schemas = {path.name: path for path in (vectors / "schemas").glob("*.json")}
    if not isinstance(name, str) or name not in schemas:
        return [f"no schema {name!r}"]
    if envelope.HAS_SCHEMAS:
        schema = json.loads(schemas[name].read_text(encoding="utf-8"))
        found = envelope.schema_problems(document, schema)
        if found:
            return found
    try:
        return envelope.envelope_problems(cast("VectorFile", document))
    except (LookupError, TypeError) as error:
        return [f"not in the form of its schema: {error!r}"]


def _run(document: Json) -> list[str]:
    try:
        return checkers.problems(document)
    except (LookupError, TypeError, ValueError) as error:
        # only where no schema was compared, or where ours says too little
        return [f"cannot be run: {error!r}"]


def _count(document: Json) -> int:
    count: Any = document.get("numberOfTests")
    return count if isinstance(count, int) else 0


def signs(vectors: Path, requirements: Iterable[Json]) -> dict[str, bool]:
    """Tell of every vector that is evidence whether it is negative.

    A vector that does not exist is left out, and so is one that is acceptable: what it
    shows, another implementation need not do.

    Raises
    ------
    VectorFileError
        A file that is cited is not in canonical form.
    """
    found: dict[str, bool] = {}
    evidence = {name for entry in requirements for name in entry["evidence"]}
    cited = sorted({name.partition("/")[0] for name in evidence if "::" not in name})
    for name in cited:
        path = vectors / f"{name}{SUFFIX}"
        if path.is_file():
            document = cast("VectorFile", load(path))
            for test in envelope.each_test(document):
                if test["result"] == "acceptable":
                    continue
                found[f"{name}/{test['tcId']}"] = envelope.is_negative(test)
    return found


def generate(vectors: Path) -> Iterator[Report]:
    """Write every vector file anew; no problem is a file that did not change."""
    for path, text in _built():
        target = vectors / path
        problems = _differences(target, text)
        target.write_text(text, encoding="utf-8")
        yield Report(target, _count(envelope.load(text)), problems)


def compare(vectors: Path) -> Iterator[Report]:
    """Compare every vector file with what we build, octet for octet."""
    names = set()
    for name, text in _built():
        names.add(name)
        target = vectors / name
        problems = _differences(target, text)
        yield Report(target, _count(envelope.load(text)), problems)
    for path in files_in(vectors):
        if path.name not in names:
            yield Report(path, 0, ("nothing of ours builds it",))


def _built() -> Iterator[tuple[str, str]]:
    for name, build in GENERATORS.items():
        yield f"{name}{SUFFIX}", envelope.dump(build())


def _differences(path: Path, text: str) -> tuple[str, ...]:
    if not path.is_file():
        return ("was not there",)
    if path.read_bytes() != text.encode("utf-8"):
        return ("differs from what is built",)
    return ()
