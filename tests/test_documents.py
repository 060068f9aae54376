"""README.md, CONFORMANCE.md and docs/ speak of what is there, and of all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "reference" / "iketcp"
CONFORMANCE = ROOT / "CONFORMANCE.md"
SECTIONS = json.loads((ROOT / "tests" / "rfc_sections.json").read_text("utf-8"))

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
NAMED_FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)*\.(?:py|json))`")
SECTION = r"(?:§|App\. )(\d+(?:\.\d+)*|[A-Z]\d*(?:\.\d+)*)"

ROW = re.compile(r"\| (?:§\d|App\. [A-Z])")

# Sections with nothing in them to support: motivation, history, references, thanks.
NOTHING_TO_SUPPORT = {
    "9329": "1.1 12",
    "7296": "1.1.4 1.6 1.7 1.8 4 5 6 7 A B C",
    "4303": "1 5 6 7 8 9 10 A1",
}


def key_of(section: str) -> list[str | int]:
    """``A2.1`` as ``["A", 2, 1]``, ``3.10`` as ``["", 3, 10]``."""
    letter = section[0] if section[0].isalpha() else ""
    return [letter, *map(int, re.findall(r"\d+", section))]


def stated_sections(rfc: str) -> Iterator[tuple[int, str, str]]:
    """Line, first and last section of each statement in the table of an RFC."""
    current = ""
    for number, line in enumerate(CONFORMANCE.read_text("utf-8").splitlines(), 1):
        if heading := re.match(r"## RFC (\d+)", line):
            current = heading[1]
        elif line.startswith("## "):
            current = ""
        if current == rfc and ROW.match(line):
            cell = line.split("|")[1]
            for match in re.finditer(rf"{SECTION}(?: to {SECTION})?", cell):
                yield number, match[1], match[2] or match[1]


def is_within(section: str, first: str, last: str) -> bool:
    """Whether a section is one of ``first`` to ``last``, above or below one of them."""
    key, low, high = key_of(section), key_of(first), key_of(last)
    depth = min(len(key), len(low))
    return low[:depth] <= key[:depth] <= high[:depth]


@pytest.mark.parametrize("rfc", NOTHING_TO_SUPPORT)
def test_conformance_statement_covers_every_section(rfc: str) -> None:
    """Each section has a row, or a row above or below it."""
    ranges = [(first, last) for _, first, last in stated_sections(rfc)]
    ranges += [(section, section) for section in NOTHING_TO_SUPPORT[rfc].split()]
    missing = [
        section
        for section in SECTIONS[rfc]
        if not any(is_within(section, first, last) for first, last in ranges)
    ]
    assert not missing, f"CONFORMANCE.md says nothing of RFC {rfc} §{missing}"


@pytest.mark.parametrize("rfc", NOTHING_TO_SUPPORT)
def test_conformance_statement_cites_what_exists(rfc: str) -> None:
    """The first column holds sections that the RFC has."""
    wrong = [
        f"CONFORMANCE.md:{line}: RFC {rfc} has no section {section}"
        for line, first, last in stated_sections(rfc)
        for section in (first, last)
        if section not in SECTIONS[rfc]
    ]
    assert not wrong, "\n".join(wrong)


def test_conformance_statement_has_three_states() -> None:
    """The third column is yes, part or no; what is not yes says why."""
    wrong = []
    for number, line in enumerate(CONFORMANCE.read_text("utf-8").splitlines(), 1):
        if not ROW.match(line):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        is_explained = len(cells) == 5 and (cells[2] == "yes" or cells[4])
        if not is_explained or cells[2] not in ("yes", "part", "no"):
            wrong.append(f"CONFORMANCE.md:{number}: {line}")
    assert not wrong, "\n".join(wrong)


def test_deviations_are_stated() -> None:
    """Each ``Deviation:`` in the code is mirrored among CONFORMANCE.md's deviations."""
    stated = CONFORMANCE.read_text("utf-8").partition("## Deviations")[2]
    missing = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"\bDeviation:", path.read_text("utf-8"))
        and f"`{path.relative_to(PACKAGE)}`" not in stated
    ]
    assert not missing, f"deviations that CONFORMANCE.md does not state: {missing}"


def documents() -> list[Path]:
    """All Markdown of the project."""
    found = [*ROOT.glob("*.md"), *(ROOT / "vectors").glob("*.md")]
    return found + sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_named_files_exist(path: Path) -> None:
    """Links lead somewhere; files in backticks exist, here or in the package."""
    text = path.read_text("utf-8")
    wrong = [
        f"{path.name}:{text.count(chr(10), 0, match.start()) + 1}: no {match[1]}"
        for pattern, folders in (
            (LINK, (path.parent,)),
            (
                NAMED_FILE,
                (path.parent, ROOT, PACKAGE, ROOT / "tests", ROOT / "vectors"),
            ),
        )
        for match in pattern.finditer(text)
        if not any((folder / match[1]).exists() for folder in folders)
    ]
    assert not wrong, "\n".join(wrong)
