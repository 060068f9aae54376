"""How many handshakes a second, and what one costs either side.

A handshake is IKE_SA_INIT, what comes between, and IKE_AUTH with a Child SA; the DELETE
of both is measured with it. They follow each other without a pause, so that a rate is
the reciprocal of the time that one takes. Both sides, and the machine's network between
them, share its processors.

The load generator (:mod:`iketcp.bench.handshake_load`) is our initiator without threads
and without a tunnel device; it is the same for each responder. strongSwan as initiator
is told to begin and to delete by its own ``swanctl``, whose start takes most of the
time, and none of the processor time that counts.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from iketcp.bench import versions
from iketcp.bench.handshake_peers import (
    SCENARIOS,
    Scenario,
    StrongSwan,
    write_ours,
    write_secrets,
)
from iketcp.bench.options import ROUNDS, JsonFile, Repeats, Rounds
from iketcp.bench.programs import Program, running
from iketcp.bench.report import Chart, Row, deliver
from iketcp.bench.undisturbed import (
    OTHERS,
    REPEATS,
    about_disturbance,
    undisturbed,
)
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
REFERENCE = f"{GENERATOR} to {THEIRS}, UDP"
"""Counts as 1."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Who meets whom, over what, and what they agree on: a row of the table."""

    scenario: Scenario
    initiator: str
    responder: str
    protocol: str

    @property
    def parties(self) -> str:
        """As it stands in the table."""
        return f"{self.initiator} to {self.responder}, {self.protocol.upper()}"


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
    others: list[float] = field(default_factory=list)
    """What other programs took of a processor, of each measurement."""
    repeats: int = 0
    """How often a measurement was made again."""
    problem: str = ""
    """Why it could not be measured; empty if it was."""

    def row(self) -> Row:
        """Return it as a row of a chart."""
        initiator = [each.initiator_milliseconds for each in self.measurements]
        responder = [each.responder_milliseconds for each in self.measurements]
        return Row(
            self.meeting.parties,
            [each.per_second for each in self.measurements],
            {
                "initiator CPU ms": initiator,
                "responder CPU ms": responder,
                OTHERS: [100 * each for each in self.others],
            },
            self.problem,
        )


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
    repeats: int = REPEATS,
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
    repeats : int
        How often a measurement may be made again if other programs disturbed it.
    """
    results = [HandshakeResult(meeting) for meeting in compared]
    for _ in range(rounds):
        for result in results:
            if result.problem and not result.measurements:
                continue
            name = f"{result.meeting.scenario.name}: {result.meeting.parties}"
            try:
                attempt = undisturbed(partial(measure, result.meeting, count), repeats)
            except EnvironmentProblem as error:
                result.problem = str(error)
                say(f"{name}: {error}")
            else:
                result.measurements.append(attempt.taken)
                result.others.append(attempt.others)
                result.repeats += attempt.repeats
                say(f"{name}: {attempt.taken.per_second:.0f} a second")
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
    _by_generator(meeting, namespaces, folder, responder, 1)  # once it listens
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


def charts_of(results: Sequence[HandshakeResult]) -> list[Chart]:
    """Return a chart for each scenario, its rows those who met."""
    scenarios = dict.fromkeys(result.meeting.scenario for result in results)
    return [
        _chart(
            scenario, [each for each in results if each.meeting.scenario == scenario]
        )
        for scenario in scenarios
    ]


def _chart(scenario: Scenario, results: Sequence[HandshakeResult]) -> Chart:
    rows = [result.row() for result in results]
    reference = REFERENCE if scenario.is_strongswans else ""
    notes = about_disturbance(rows, sum(result.repeats for result in results))
    return Chart(scenario.name, "handshakes/s", rows, reference, notes)


def command(
    rounds: Rounds = ROUNDS,
    count: Annotated[int, typer.Option(min=1, help="Handshakes each time.")] = 500,
    repeats: Repeats = REPEATS,
    json_file: JsonFile = None,
) -> None:
    """Handshakes a second, and what one costs either side; root."""
    results = measure_all(
        meetings(), rounds, count, lambda text: typer.echo(text, err=True), repeats
    )
    settings = {"rounds": rounds, "count": count, "versions": versions.found()}
    deliver("handshakes", charts_of(results), json_file, settings)


__all__ = [
    "HandshakeResult",
    "Handshakes",
    "Meeting",
    "charts_of",
    "command",
    "measure",
    "measure_all",
    "meetings",
]
