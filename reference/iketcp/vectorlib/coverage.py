"""The ledger of requirements as tables: what is shown by evidence, and what is planned.

Source: RFC 9329, all sections
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from iketcp.vectorlib.envelope import Json

BINDING = ("MUST", "SHOULD")


@dataclass(frozen=True, slots=True)
class SectionCount:
    """How many requirements of a section are built, shown and planned."""

    section: str
    built: dict[str, int]
    """By level."""
    shown: dict[str, int]
    """Those of them with evidence: vectors or tests."""
    planned: int

    def cell(self, level: str) -> str:
        """Say how many of a level have evidence: ``3/3``, or nothing."""
        total = self.built.get(level, 0)
        return f"{self.shown.get(level, 0)}/{total}" if total else ""


def section_key(section: str) -> tuple[object, ...]:
    """Sort sections as in their RFC: numbers as numbers, appendices behind."""
    numbers = [int(part) for part in re.findall(r"\d+", section)]
    is_other = not section.startswith("RFC 9329")
    letter = re.search(r"App\. ([A-Z])", section)
    return is_other, numbers[:1], "" if letter is None else letter[1], numbers[1:]


def counts(requirements: Iterable[Json]) -> list[SectionCount]:
    """Count by section; a requirement of several sections belongs to the first."""
    sections: dict[str, list[Json]] = {}
    for entry in requirements:
        sections.setdefault(entry["section"][0], []).append(entry)
    return [
        _count(section, sections[section])
        for section in sorted(sections, key=section_key)
    ]


def _count(section: str, entries: Sequence[Json]) -> SectionCount:
    built: dict[str, int] = {}
    shown: dict[str, int] = {}
    for entry in entries:
        if entry["status"] == "built":
            level = entry["level"]
            built[level] = built.get(level, 0) + 1
            shown[level] = shown.get(level, 0) + bool(entry["evidence"])
    planned = sum(entry["status"] == "planned" for entry in entries)
    return SectionCount(section, built, shown, planned)


def without_evidence(requirements: Iterable[Json]) -> list[str]:
    """Ids of what binds, is built, and is shown by nothing."""
    return [
        entry["id"]
        for entry in requirements
        if entry["status"] == "built"
        and entry["level"] in BINDING
        and not entry["evidence"]
    ]


def render(requirements: Sequence[Json], console: Console) -> None:
    """Print a table of what is built, one of what is planned, and a sentence."""
    table = Table(
        title="Built: with evidence / in all", title_justify="left", title_style="bold"
    )
    table.add_column("section")
    for level in (*BINDING, "MAY", "CHOICE", "planned"):
        table.add_column(level, justify="right")
    rows = counts(requirements)
    for row in rows:
        cells = [row.cell(level) for level in (*BINDING, "MAY", "CHOICE")]
        table.add_row(row.section, *cells, str(row.planned or ""))
    console.print(table)
    planned = Table(title="Planned", title_justify="left", title_style="bold")
    for column in ("requirement", "level", "why it is not built yet"):
        planned.add_column(column, overflow="fold")
    for entry in requirements:
        if entry["status"] == "planned":
            planned.add_row(entry["id"], entry["level"], entry["reason"])
    console.print(planned)
    bound = sum(row.built.get(level, 0) for row in rows for level in BINDING)
    missing = without_evidence(requirements)
    console.print(
        f"{bound - len(missing)} of {bound} built MUST and SHOULD have evidence, "
        f"{sum(row.planned for row in rows)} requirements are planned"
    )
    for id in missing:
        console.print(f"no evidence: {id}")
