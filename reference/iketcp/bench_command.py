"""The command ``iketcp bench``: one module of :mod:`iketcp.bench` for each benchmark.

A benchmark's module has a function ``command`` whose parameters are its options. It is
imported when it is run, or when its help is asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

BENCHMARKS = (
    "throughput",
    "latency",
    "handshakes",
    "codec",
    "threads",
    "many",
    "startup",
)
"""Modules of benchmarks, where they are there; the first is run if none is named."""

RESULTS = Path("bench-results")


def present() -> list[str]:
    """Names of the benchmarks that there are."""
    return [name for name in BENCHMARKS if find_spec(f"iketcp.bench.{name}")]


class Benchmarks(TyperGroup):
    """Finds the benchmarks; ``Any`` stands for classes of the command line library."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take options without a name for those of the first benchmark."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [BENCHMARKS[0], *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help: the benchmarks, then what is about all of them."""
        return present() + super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None if there is none of that name."""
        if cmd_name not in present():
            return super().get_command(ctx, cmd_name)
        own = typer.Typer(add_completion=False)
        own.command(cmd_name)(import_module(f"iketcp.bench.{cmd_name}").command)
        return typer.main.get_command(own)


bench_app = typer.Typer(
    name="bench",
    cls=Benchmarks,
    help="Benchmarks: how fast it is, beside others; docs/performance.md.",
)


@bench_app.command("all")
def run_all(
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="Where tables and figures go.")
    ] = RESULTS,
    rounds: Annotated[int, typer.Option(min=1, help="Measure each so often.")] = 5,
) -> None:
    """Run every benchmark; of each there will be a .txt, a .json and a .svg."""
    from iketcp.console import FAILED

    into.mkdir(parents=True, exist_ok=True)
    failed = [name for name in present() if not _run(name, into, rounds)]
    if failed:
        typer.echo(f"iketcp: failed: {', '.join(failed)}", err=True)
        raise typer.Exit(FAILED)


def _run(name: str, into: Path, rounds: int) -> bool:
    """Run one in a process of its own, so that none warms up another."""
    typer.echo(f"==> iketcp bench {name}", err=True)
    figures = into / f"{name}.json"
    command = [sys.executable, "-m", "iketcp", "bench", name]
    command += ["--rounds", str(rounds), "--json", str(figures)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    typer.echo(done.stdout, nl=False)
    (into / f"{name}.txt").write_text(done.stdout)
    if done.returncode:
        return False
    plot(figures)
    return True


Figures = Annotated[Path, typer.Argument(metavar="JSON", help="From --json.")]


@bench_app.command()
def plot(
    figures: Figures,
    svg: Annotated[
        Path | None,
        typer.Argument(metavar="SVG", help="Where it goes; else beside the file."),
    ] = None,
) -> None:
    """Draw what a benchmark has found."""
    from iketcp.bench.plot import svg as draw

    (svg or figures.with_suffix(".svg")).write_text(_make(draw, figures))


@bench_app.command()
def markdown(figures: Figures) -> None:
    """Print what a benchmark has found for a document."""
    from iketcp.bench import report

    def write(document: Any) -> str:
        return report.markdown(report.read_charts(document))

    typer.echo(_make(write, figures), nl=False)


def _make(make: Callable[[Any], str], figures: Path) -> str:
    """Make something of a benchmark's document.

    Raises
    ------
    ConfigurationError
        The file has none.
    """
    from iketcp.errors import ConfigurationError

    try:
        return make(json.loads(figures.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{figures}: no figures of a benchmark") from error
