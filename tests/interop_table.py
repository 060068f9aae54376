"""A pytest plugin: what was run against strongSwan, as the page ``docs/interop.md``.

    pytest -p interop_table tests/test_interop_strongswan_*.py

The page is written anew only if every test was run; a test says its place in the table
by the property ``interop`` (see :mod:`interop_stage`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongswan import strongswan_version

PAGE = Path(__file__).resolve().parent.parent / "docs" / "interop.md"

HEAD = """\
# Interoperability with strongSwan

What `make interop` runs, and this page is what it wrote. Ours stands on one side; on
the other strongSwan's `charon-systemd` with its plugin `kernel-libipsec`, so that its
ESP runs in user space over a TUN device of its own. Each is in a network namespace.
Over TCP our relay is between them ([relay.md](relay.md)), for strongSwan has no TCP
encapsulation; over UDP nothing but a router is, or a NAT.
A scene counts only if it worked on both sides: what was agreed on is read from
strongSwan's own list of SAs.
ML-KEM and additional key exchanges are not here: strongSwan has them from 6.0 on, and
this one is older.
"""

Table = dict[tuple[str, str], dict[str, bool]]

_results: list[tuple[int, list[str], bool]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Number the tests: reports of several workers come in any order."""
    for number, item in enumerate(items):
        item.user_properties.append(("number", number))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of a test that has a place."""
    properties = dict(report.user_properties)
    if "interop" in properties and report.when == "call":
        number, place = properties["number"], properties["interop"]
        _results.append((number, place, report.passed))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the table, and write the page if all went well."""
    lines = list(_table())
    terminalreporter.write_line(f"strongSwan {strongswan_version()}")
    for line in lines:
        terminalreporter.write_line(line)
    chosen = config.getoption("keyword") or config.getoption("markexpr")
    if exitstatus == 0 and not chosen and "skipped" not in terminalreporter.stats:
        PAGE.write_text("\n".join([HEAD, *lines]) + "\n")


def _cells() -> Table:
    table: Table = {}
    for _, (section, row, way), passed in sorted(_results):
        cells = table.setdefault((section, row), {})
        cells[way] = cells.get(way, True) and passed
    return table


def _table() -> Iterator[str]:
    table = _cells()
    ways = list(dict.fromkeys(way for cells in table.values() for way in cells))
    section = ""
    for (where, row), cells in table.items():
        if where != section:
            if section:
                yield ""
            section = where
            yield f"## {section}"
            yield ""
            yield f"| scene | {' | '.join(ways)} |"
            yield f"|---|{'---|' * len(ways)}"
        marks = {True: "works", False: "fails", None: ""}
        yield f"| {row} | {' | '.join(marks[cells.get(way)] for way in ways)} |"
