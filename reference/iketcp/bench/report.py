"""What a benchmark found: as tables for people, as JSON for programs.

The document has ``format`` (1), ``benchmark``, ``machine``, ``settings`` and
``charts``; a chart has ``title``, ``unit``, ``compared_with``, ``notes`` and ``rows``;
a row has ``name``, ``figures`` (one for each round), ``further`` (heading to figures)
and ``problem``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from iketcp.bench import machine

FORMAT = 1

FILE_WIDTH = 120
"""Columns of a table that nobody sees on a terminal."""

MARKDOWN_COLUMNS = 4
"""Charts beside each other."""


@dataclass(slots=True)
class Row:
    """One contender, or one case."""

    name: str
    figures: list[float] = field(default_factory=list)
    """One for each round."""
    further: dict[str, list[float]] = field(default_factory=dict)
    """What else was measured, by heading; one for each round, too."""
    problem: str = ""
    """Why it could not be measured; empty if it was."""

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.figures)


@dataclass(slots=True)
class Chart:
    """Rows that were measured side by side.

    Parameters
    ----------
    title : str
        What was measured, under which conditions.
    unit : str
        Of the rows' figures: the heading of their column.
    rows : list of Row
        In the order of the table.
    compared_with : str
        Name of the row that counts as 1; empty: there are no ratios.
    notes : list of str
        Sentences to stand under it.
    """

    title: str
    unit: str
    rows: list[Row]
    compared_with: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """The notes, and what could not be measured."""
        return self.notes + [
            f"{row.name}: {row.problem}" for row in self.rows if row.problem
        ]

    def ratio(self, row: Row) -> float | None:
        """Return how a row's median compares; None if there is nothing to compare."""
        for base in self.rows:
            if base.name == self.compared_with and base.figures and row.figures:
                return row.median / base.median if base.median else None
        return None


def table(chart: Chart) -> Table:
    """Lay out a chart: medians, their spread, and ratios."""
    further = list(dict.fromkeys(name for row in chart.rows for name in row.further))
    found = Table(title=chart.title, title_justify="left")
    found.add_column("", no_wrap=True)
    for heading in (chart.unit, "from", "to", *further):
        found.add_column(heading, justify="right")
    if chart.compared_with:
        found.add_column(f"of {chart.compared_with}", justify="right")
    for row in chart.rows:
        if not row.figures:
            found.add_row(row.name, "-")
            continue
        cells = [row.median, min(row.figures), max(row.figures)]
        also = [row.further.get(heading) for heading in further]
        ratio = chart.ratio(row)
        found.add_row(
            row.name,
            *map(number, cells),
            *(number(statistics.median(each)) if each else "" for each in also),
            *([] if ratio is None else [number(ratio)]),
        )
    return found


def number(value: float) -> str:
    """Write a figure with as many digits as say something."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 or not value else f"{value:.2g}"


def document(
    benchmark: str, charts: Sequence[Chart], settings: Mapping[str, object]
) -> dict[str, object]:
    """Return every figure of every round, and where they come from."""
    return {
        "format": FORMAT,
        "benchmark": benchmark,
        "machine": machine.describe(),
        "settings": dict(settings),
        "charts": [asdict(chart) for chart in charts],
    }


def read_charts(found: Mapping[str, Any]) -> list[Chart]:
    """Take the charts out of a document again."""
    return [
        Chart(**{**chart, "rows": [Row(**row) for row in chart["rows"]]})
        for chart in found["charts"]
    ]


def markdown(charts: Sequence[Chart]) -> str:
    """Write medians and ratios as tables of Markdown: a chart is a column.

    Charts that have the same rows stand beside each other, a few in each table.
    """
    return "\n".join(
        _markdown_table(group[at : at + MARKDOWN_COLUMNS])
        for group in _alike(charts)
        for at in range(0, len(group), MARKDOWN_COLUMNS)
    )


def _alike(charts: Sequence[Chart]) -> list[list[Chart]]:
    def key(chart: Chart) -> tuple[str, str, list[str]]:
        names = [row.name for row in chart.rows]
        return chart.unit, chart.compared_with, names

    return [list(group) for _, group in groupby(charts, key)]


def _markdown_table(charts: Sequence[Chart]) -> str:
    first = charts[0]
    what = first.unit + (f" (of {first.compared_with})" if first.compared_with else "")
    lines = [[what, *(chart.title for chart in charts)], ["---"] * (len(charts) + 1)]
    for place, row in enumerate(first.rows):
        lines.append([row.name, *(figure(each, each.rows[place]) for each in charts)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def figure(chart: Chart, row: Row) -> str:
    """Write a row's median, and behind it its ratio if it has one."""
    if not row.figures:
        return "-"
    ratio = chart.ratio(row)
    return number(row.median) + ("" if ratio is None else f" ({number(ratio)})")


def deliver(
    benchmark: str,
    charts: Sequence[Chart],
    json_file: Path | None = None,
    settings: Mapping[str, object] | None = None,
) -> None:
    """Print what a benchmark found, and write it into a file if one is given.

    Parameters
    ----------
    settings : mapping
        What it was asked to measure, the programs' versions: anything JSON has.
    """
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    for chart in charts:
        console.print(table(chart))
        for remark in chart.remarks:
            console.print(remark)
        console.print()
    if json_file is not None:
        found = document(benchmark, charts, settings or {})
        json_file.write_text(json.dumps(found, indent=2) + "\n")


__all__ = [
    "Chart",
    "Row",
    "deliver",
    "document",
    "figure",
    "markdown",
    "number",
    "read_charts",
    "table",
]
