"""``iketcp vectors``: check the vector files, write them, list them, and the ledger.

Exit codes: 0 all is well; 1 a file fails, differs, or a built requirement lacks
evidence; 2 there are no vectors, or a file cannot be read.

Source: RFC 9329 §6 is what the files are about
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iketcp.vectorlib.runner import Report

FAILED = 1
MOST_PROBLEMS = 20
"""Problems of one file that are printed."""

vectors_app = typer.Typer(
    name="vectors",
    help="Test vectors for implementations in any language.",
    no_args_is_help=True,
)

VectorsOption = Annotated[
    Path | None,
    typer.Option("--vectors", metavar="DIR", help="Where the vectors are."),
]


@vectors_app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]", help="Files to check; by default all."),
    ] = None,
    vectors: VectorsOption = None,
) -> None:
    """Run vector files against this implementation."""
    from iketcp.vectorlib import runner
    from iketcp.vectorlib.envelope import HAS_SCHEMAS

    directory = runner.find_vectors(vectors)
    if not HAS_SCHEMAS:
        typer.echo(f"iketcp: warning: {runner.WITHOUT_SCHEMAS}", err=True)
    paths = files or runner.files_in(directory)
    _print(runner.check_file(path, directory) for path in paths)


@vectors_app.command()
def generate(
    vectors: VectorsOption = None,
    is_check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file differs.")
    ] = False,
) -> None:
    """Write every vector file anew, octet for octet the same."""
    from iketcp.vectorlib import runner

    directory = runner.find_vectors(vectors)
    if is_check:
        _print(runner.compare(directory))
        return
    for report in runner.generate(directory):
        state = "changed" if report.problems else "as before"
        typer.echo(f"{report.path.name}: {report.tests} tests, {state}")


@vectors_app.command("list")
def list_files(vectors: VectorsOption = None) -> None:
    """List the vector files with their group types."""
    from iketcp.vectorlib import runner
    from iketcp.vectorlib.envelope import VectorFileError

    is_broken = False
    for path in runner.files_in(runner.find_vectors(vectors)):
        try:
            document = runner.load(path)
            kinds = dict.fromkeys(group["type"] for group in document["testGroups"])
            text = f"{document['numberOfTests']:6} tests  {', '.join(kinds)}"
        except (VectorFileError, LookupError, TypeError) as error:
            is_broken = True
            text = f"not a vector file: {error}"
        typer.echo(f"{path.name:<32} {text}")
    if is_broken:
        raise typer.Exit(FAILED)


@vectors_app.command()
def requirements(vectors: VectorsOption = None) -> None:
    """Show which requirements of RFC 9329 have evidence, and what is planned.

    A MUST or SHOULD needs a positive and a negative vector, or a reason why none can
    show it.
    """
    from rich.console import Console

    from iketcp.errors import EnvironmentProblem
    from iketcp.vectorlib import coverage, runner
    from iketcp.vectorlib.envelope import VectorFileError

    path = runner.find_vectors(vectors) / "requirements.json"
    try:
        entries = runner.load(path)["requirements"]
        signs = runner.signs(path.parent, entries)
        console = Console(markup=False, highlight=False, emoji=False)
        coverage.render(entries, signs, console)
        lacks = coverage.without_evidence(entries, signs)
    except (VectorFileError, LookupError, TypeError) as error:
        raise EnvironmentProblem(f"{path} is no ledger: {error}") from error
    if lacks:
        raise typer.Exit(FAILED)


def _print(reports: Iterable[Report]) -> None:
    """Print a line a file and what is wrong with it; exit 1 if anything is."""
    tests = failed = files = 0
    for report in reports:
        files += 1
        tests += report.tests
        found = report.problems
        state = "ok" if not found else "FAIL"
        typer.echo(f"{state:<4} {report.path.name}: {report.tests} tests")
        for problem in found[:MOST_PROBLEMS]:
            typer.echo(f"     {problem}")
        if len(found) > MOST_PROBLEMS:
            typer.echo(f"     and {len(found) - MOST_PROBLEMS} more")
        failed += bool(found)
    typer.echo(f"{files} files, {tests} tests, {failed} files with problems")
    if failed:
        raise typer.Exit(FAILED)
