"""The ledger of requirements as tables: what is shown by evidence, and what is planned.

A MUST or SHOULD that is built needs a positive and a negative vector, see
:mod:`envelope <iketcp.vectorlib.envelope>`. Where no vector can show it, the ledger
calls it *observed* and says why, and tests over real sockets do.

Source: RFC 9329, all sections
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from iketcp.vectorlib.envelope import Json

BINDING = ("MUST", "SHOULD")

Signs = Mapping[str, bool]
"""Of each vector by its name (``stream_framing/7``), whether it is negative."""


@dataclass(frozen=True, slots=True)
class SectionCount:
    """How many requirements of a section are built, shown, observed and planned."""

    section: str
    built: dict[str, int]
    """By level; those that are observed are among them."""
    shown: dict[str, int]
    """Those of them that lack nothing."""
    observed: int
    planned: int

    def cell(self, level: str) -> str:
        """Say how many of a level lack nothing: ``3/3``, or nothing."""
        total = self.built.get(level, 0)
        return f"{self.shown.get(level, 0)}/{total}" if total else ""


def missing(entry: Json, signs: Signs) -> str | None:
    """Say what a requirement lacks, or ``None``.

    Parameters
    ----------
    entry : Json
        From the ledger.
    signs : Signs
        What its vectors are.
    """
    if entry["status"] == "planned":
        return None
    vectors = [name for name in entry["evidence"] if "::" not in name]
    if not entry["evidence"]:
        return "evidence"
    if entry["status"] == "observed":
        return None if len(vectors) < len(entry["evidence"]) else "a test"
    found = {signs[name] for name in vectors if name in signs}
    if entry["level"] not in BINDING or found == {False, True}:
        return None
    words = {False: "a positive vector", True: "a negative vector"}
    return " and ".join(words[sign] for sign in (False, True) if sign not in found)


def without_evidence(requirements: Iterable[Json], signs: Signs) -> dict[str, str]:
    """Ids of what binds and is built, each with what it lacks."""
    lacks = {
        entry["id"]: missing(entry, signs)
        for entry in requirements
        if entry["level"] in BINDING
    }
    return {id: lack for id, lack in lacks.items() if lack is not None}


def section_key(section: str) -> tuple[object, ...]:
    """Sort sections as in their RFC: numbers as numbers, appendices behind."""
    numbers = [int(part) for part in re.findall(r"\d+", section)]
    is_other = not section.startswith("RFC 9329")
    letter = re.search(r"App\. ([A-Z])", section)
    return is_other, numbers[:1], "" if letter is None else letter[1], numbers[1:]


def counts(requirements: Iterable[Json], signs: Signs) -> list[SectionCount]:
    """Count by section; a requirement of several sections belongs to the first."""
    sections: dict[str, list[Json]] = {}
    for entry in requirements:
        sections.setdefault(entry["section"][0], []).append(entry)
    return [
        _count(section, sections[section], signs)
        for section in sorted(sections, key=section_key)
    ]


def _count(section: str, entries: Sequence[Json], signs: Signs) -> SectionCount:
    built: dict[str, int] = {}
    shown: dict[str, int] = {}
    for entry in entries:
        if entry["status"] != "planned":
            level = entry["level"]
            built[level] = built.get(level, 0) + 1
            shown[level] = shown.get(level, 0) + (missing(entry, signs) is None)
    observed = sum(entry["status"] == "observed" for entry in entries)
    planned = sum(entry["status"] == "planned" for entry in entries)
    return SectionCount(section, built, shown, observed, planned)


def render(requirements: Sequence[Json], signs: Signs, console: Console) -> None:
    """Print what is built, what is observed, what is planned, and a sentence."""
    table = Table(
        title="Built: with evidence / in all", title_justify="left", title_style="bold"
    )
    table.add_column("section")
    for title in (*BINDING, "MAY", "CHOICE", "observed", "planned"):
        table.add_column(title, justify="right")
    rows = counts(requirements, signs)
    for row in rows:
        cells = [row.cell(level) for level in (*BINDING, "MAY", "CHOICE")]
        others = (str(row.observed or ""), str(row.planned or ""))
        table.add_row(row.section, *cells, *others)
    console.print(table)
    for status, title, why in (
        ("observed", "Observed over real sockets", "why no vector can show it"),
        ("planned", "Planned", "why it is not built yet"),
    ):
        console.print(_reasons(requirements, status, title, why))
    bound = sum(row.built.get(level, 0) for row in rows for level in BINDING)
    lacks = without_evidence(requirements, signs)
    observed = sum(
        entry["status"] == "observed" and entry["level"] in BINDING
        for entry in requirements
    )
    console.print(
        f"{bound - len(lacks)} of {bound} built MUST and SHOULD have evidence, "
        f"{observed} of them over real sockets only; "
        f"{sum(row.planned for row in rows)} requirements are planned"
    )
    for id, lack in lacks.items():
        console.print(f"{id} lacks {lack}")


def _reasons(requirements: Iterable[Json], status: str, title: str, why: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("requirement", "level", why):
        table.add_column(column, overflow="fold")
    for entry in requirements:
        if entry["status"] == status:
            table.add_row(entry["id"], entry["level"], entry["reason"])
    return table
