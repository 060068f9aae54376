"""What a benchmark found, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from iketcp.bench.throughput import Result


def table(title: str, results: Sequence[Result], compared_with: str) -> Table:
    """Lay out results, each with its ratio to one of them.

    Parameters
    ----------
    compared_with : str
        Name of the contender that counts as 1.
    """
    found = Table(title=title, title_justify="left")
    found.add_column("contender")
    for heading in ("Mbit/s", "from", "to", "CPU s/Gbit", f"of {compared_with}"):
        found.add_column(heading, justify="right")
    measured = {result.name: result for result in results if result.measurements}
    base = measured.get(compared_with)
    for result in results:
        if not result.measurements:
            found.add_row(result.name, result.problem, "", "", "", "")
            continue
        ratio = "" if base is None else f"{result.median / base.median:.2f}"
        found.add_row(
            result.name,
            f"{result.median:.0f}",
            f"{min(result.rates):.0f}",
            f"{max(result.rates):.0f}",
            f"{result.cpu:.2f}",
            ratio,
        )
    return found


def as_json(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return every figure of every round."""
    return [
        {
            "contender": result.name,
            "problem": result.problem,
            "megabits_per_second": result.rates,
            "cpu_seconds_per_gigabit": [
                each.cpu_seconds_per_gigabit for each in result.measurements
            ],
        }
        for result in results
    ]


__all__ = ["as_json", "table"]
