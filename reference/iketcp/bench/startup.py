"""How long it takes until the command line answers, and what it imports for that.

Nearly all of it is imports: of Python's own library, of the one that reads options and
lays out help. What a command does is imported when it is run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from iketcp.bench.options import ROUNDS, JsonFile, Rounds
from iketcp.bench.report import Chart, Row, deliver
from iketcp.demo.children import python_command
from iketcp.errors import EnvironmentProblem

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("--version",),
    ("responder", "--help"),
    ("psk", "new"),
)

PATIENCE_SECONDS = 30.0


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> float:
    """Run a program to its end; returns how many seconds that took.

    Raises
    ------
    EnvironmentProblem
        It fails, or does not end.
    """
    began = time.monotonic()
    _finish(command, environment)
    return time.monotonic() - began


def _finish(command: Sequence[str], environment: dict[str, str] | None) -> str:
    """Run a program, and return what it said on standard error."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise EnvironmentProblem(f"{command[-1]}: {error}") from error
    return done.stderr


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that ``iketcp`` imports, with all that is loaded at its start.

    Raises
    ------
    EnvironmentProblem
        The command fails.
    """
    python, environment = python_command("iketcp")
    command = [python[0], "-X", "importtime", *python[1:], *arguments]
    lines = _finish(command, environment).splitlines()
    heading = "import time:"
    return {line.rpartition("|")[2].strip() for line in lines if heading in line}


def chart(rounds: int, commands: Sequence[Sequence[str]] = COMMANDS) -> Chart:
    """Measure commands, and Python with nothing to do beside them."""
    python, environment = python_command("iketcp")
    alone = Row("python, nothing else")
    rows = [alone]
    for _ in range(rounds):
        alone.figures.append(run([sys.executable, "-c", ""]) * 1000)
    for arguments in commands:
        row = Row(" ".join(("iketcp", *arguments)))
        rows.append(row)
        try:
            modules = float(len(imported_by(*arguments)))
            for _ in range(rounds):
                seconds = run([*python, *arguments], environment)
                row.figures.append(seconds * 1000)
                row.further.setdefault("modules", []).append(modules)
        except EnvironmentProblem as error:
            row.problem = str(error)
    return Chart("Start of the command line", "ms", rows)


def command(rounds: Rounds = ROUNDS, json_file: JsonFile = None) -> None:
    """Start the command line: until it has answered and ended."""
    deliver("startup", [chart(rounds)], json_file, {"rounds": rounds})


__all__ = ["chart", "command", "imported_by", "run"]
