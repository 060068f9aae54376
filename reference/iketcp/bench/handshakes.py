"""How many handshakes a second, and what one costs either side.

A handshake is IKE_SA_INIT, what comes between, and IKE_AUTH with a Child SA; the DELETE
of both is measured with it. They follow each other without a pause, so that a rate is
the reciprocal of the time that one takes. Both sides, and the machine's network between
them, share its processors.

The load generator (:mod:`iketcp.bench.handshake_load`) is our initiator without threads
and without a tunnel device; it is the same for each responder. strongSwan as initiator
is told to begin and to delete by its own ``swanctl``, whose start takes most of the
time, and none of the processor time that counts.

``python -m iketcp.bench.handshakes`` runs it: root, and strongSwan to compare with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from iketcp.bench.handshake_peers import (
    SCENARIOS,
    Scenario,
    StrongSwan,
    write_ours,
    write_secrets,
)
from iketcp.bench.programs import Program, running
from iketcp.demo.children import python_command
from iketcp.demo.scenery import EAST, WEST
from iketcp.demo.stage import Namespaces, make_namespaces
from iketcp.errors import EnvironmentProblem

WARM = 10
"""Handshakes before those that are measured."""

LOAD_SECONDS = 120.0
"""A load that takes longer has failed."""

STRONGSWAN_SHARE = 5
"""strongSwan initiates so many times fewer handshakes, because of ``swanctl``."""

OURS, THEIRS, GENERATOR = "iketcp", "strongSwan", "load generator"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Who meets whom, over what, and what they agree on: a row of the table."""

    scenario: Scenario
    initiator: str
    responder: str
    protocol: str

    @property
    def name(self) -> str:
        """As it stands in the table."""
        who = f"{self.initiator} to {self.responder}"
        return f"{self.scenario.name}: {who}, {self.protocol.upper()}"


@dataclass(frozen=True, slots=True)
class Handshakes:
    """One meeting in one round."""

    per_second: float
    initiator_milliseconds: float
    """Processor time of the initiator for each handshake."""
    responder_milliseconds: float


@dataclass(slots=True)
class HandshakeResult:
    """One meeting in all rounds."""

    meeting: Meeting
    measurements: list[Handshakes] = field(default_factory=list)
    problem: str = ""
    """Why it could not be measured; empty if it was."""


def meetings(scenarios: Sequence[Scenario] = SCENARIOS) -> list[Meeting]:
    """List what is compared."""
    found = []
    for scenario in scenarios:
        found.append(Meeting(scenario, GENERATOR, OURS, "udp"))
        if scenario.is_strongswans:
            found.append(Meeting(scenario, GENERATOR, THEIRS, "udp"))
            found.append(Meeting(scenario, THEIRS, OURS, "udp"))
        found.append(Meeting(scenario, GENERATOR, OURS, "tcp"))
    return found


def measure_all(
    compared: Sequence[Meeting],
    rounds: int,
    count: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[HandshakeResult]:
    """Measure all meetings, round by round.

    Parameters
    ----------
    compared : sequence of Meeting
        In the order of the table.
    rounds : int
        How often each is measured.
    count : int
        Handshakes in each measurement.
    say : Callable
        Hears of each figure as it comes.
    """
    results = [HandshakeResult(meeting) for meeting in compared]
    for _ in range(rounds):
        for result in results:
            if result.problem:
                continue
            name = result.meeting.name
            try:
                measured = measure(result.meeting, count)
            except EnvironmentProblem as error:
                result.problem = str(error)
                say(f"{name}: {error}")
            else:
                result.measurements.append(measured)
                say(f"{name}: {measured.per_second:.0f} a second")
    return results


def measure(meeting: Meeting, count: int) -> Handshakes:
    """Bring both peers up, and let them meet.

    Raises
    ------
    EnvironmentProblem
        No namespaces can be made here, a program is missing, or the peers do not agree.
    """
    with (
        make_namespaces("root") as namespaces,
        tempfile.TemporaryDirectory(prefix="iketcp-bench-") as name,
    ):
        folder = Path(name)
        write_secrets(folder)
        with _responder(meeting, namespaces, folder) as responder:
            if meeting.initiator == THEIRS:
                count = -(-count // STRONGSWAN_SHARE)
                return _by_strongswan(meeting, namespaces, folder, responder, count)
            return _by_generator(meeting, namespaces, folder, responder, count)


@contextlib.contextmanager
def _responder(
    meeting: Meeting, namespaces: Namespaces, folder: Path
) -> Iterator[Program]:
    """Run the responder, in the east."""
    if meeting.responder == THEIRS:
        program = StrongSwan(namespaces, folder, EAST, meeting.scenario).program
    else:
        path = write_ours(folder, EAST, meeting.scenario, meeting.protocol)
        command = [sys.executable, "-m", "iketcp", "responder", "-c", str(path)]
        program = Program(namespaces, EAST, command, folder / "east.log")
    with running([program]):
        yield program


def _by_generator(
    meeting: Meeting,
    namespaces: Namespaces,
    folder: Path,
    responder: Program,
    count: int,
) -> Handshakes:
    path = write_ours(folder, WEST, meeting.scenario, meeting.protocol)
    entry, _ = python_command("iketcp.bench.handshake_load")
    arguments = [str(path), str(count), str(WARM), str(responder.process.pid)]
    program = Program(namespaces, WEST, [*entry, *arguments])
    with running([program]):
        last = program.output(LOAD_SECONDS).splitlines()[-1]
    found = json.loads(last)
    return _each(count, found["seconds"], found["initiator"], found["responder"])


def _by_strongswan(
    meeting: Meeting,
    namespaces: Namespaces,
    folder: Path,
    responder: Program,
    count: int,
) -> Handshakes:
    swan = StrongSwan(namespaces, folder, WEST, meeting.scenario)
    both = swan.program, responder
    with running([swan.program]):
        swan.handshake()
        before = time.monotonic(), *(each.cpu_seconds() for each in both)
        for _ in range(count):
            swan.handshake()
        after = time.monotonic(), *(each.cpu_seconds() for each in both)
    seconds, theirs, ours = (b - a for a, b in zip(before, after, strict=True))
    return _each(count, seconds, theirs, ours)


def _each(count: int, seconds: float, initiator: float, responder: float) -> Handshakes:
    return Handshakes(
        count / seconds, initiator / count * 1000, responder / count * 1000
    )


# --- what was found -------------------------------------------------------------------


def table(title: str, results: Sequence[HandshakeResult]) -> Table:
    """Lay out the medians of all rounds, with the smallest and the largest rate."""
    found = Table(title=title, title_justify="left")
    found.add_column("handshake")
    for heading in ("a second", "from", "to", "initiator CPU ms", "responder CPU ms"):
        found.add_column(heading, justify="right")
    for result in results:
        if not result.measurements:
            found.add_row(result.meeting.name, result.problem, "", "", "", "")
            continue
        rates = [each.per_second for each in result.measurements]
        ours = [each.initiator_milliseconds for each in result.measurements]
        theirs = [each.responder_milliseconds for each in result.measurements]
        found.add_row(
            result.meeting.name,
            f"{statistics.median(rates):.0f}",
            f"{min(rates):.0f}",
            f"{max(rates):.0f}",
            f"{statistics.median(ours):.2f}",
            f"{statistics.median(theirs):.2f}",
        )
    return found


def as_json(results: Sequence[HandshakeResult]) -> list[dict[str, object]]:
    """Return every figure of every round."""
    return [
        {
            "scenario": result.meeting.scenario.name,
            "initiator": result.meeting.initiator,
            "responder": result.meeting.responder,
            "protocol": result.meeting.protocol,
            "problem": result.problem,
            "per_second": [m.per_second for m in result.measurements],
            "initiator_milliseconds": [
                m.initiator_milliseconds for m in result.measurements
            ],
            "responder_milliseconds": [
                m.responder_milliseconds for m in result.measurements
            ],
        }
        for result in results
    ]


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser("iketcp.bench.handshakes")
    parser.add_argument("--rounds", type=int, default=5, help="measure each so often")
    parser.add_argument("--count", type=int, default=500, help="handshakes each time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = measure_all(
        meetings(),
        options.rounds,
        options.count,
        Console(stderr=True, highlight=False).print,
    )
    if options.json:
        sys.stdout.write(json.dumps(as_json(results), indent=2) + "\n")
    else:
        title = f"Handshakes: {options.count}; rounds: {options.rounds}"
        Console().print(table(title, results))


__all__ = [
    "HandshakeResult",
    "Handshakes",
    "Meeting",
    "as_json",
    "measure",
    "measure_all",
    "meetings",
    "table",
]

if __name__ == "__main__":
    main()
