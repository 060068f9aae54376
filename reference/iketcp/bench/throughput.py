"""Throughput of one or more TCP streams, by ``iperf3``.

In a round every contender comes up once at each MTU, and each load goes through it
once. Reported are the median of the rounds, their smallest and largest figure, and the
processor time of the programs between for each gigabit that went through.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from iketcp.bench import versions
from iketcp.bench.contenders import Contender
from iketcp.bench.lineup import REFERENCE, lineup, select
from iketcp.bench.loads import (
    CONGESTION_CONTROL,
    send,
    steer_congestion,
    wait_until_up,
)
from iketcp.bench.options import ROUNDS, JsonFile, Repeats, Rounds
from iketcp.bench.programs import Program, require_program
from iketcp.bench.report import Chart, Row, deliver
from iketcp.bench.undisturbed import (
    OTHERS,
    REPEATS,
    Attempt,
    about_disturbance,
    undisturbed,
)
from iketcp.demo.stage import Namespaces, make_namespaces
from iketcp.errors import EnvironmentProblem

MTUS = (1400, 9000, 60000)
STREAMS = (1, 4)

CPU = "CPU s/Gbit"


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: the number of TCP connections, and whether from east to west."""

    streams: int
    is_back: bool

    def __str__(self) -> str:
        """Name it as in the titles of charts."""
        count = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{count} {'east to west' if self.is_back else 'west to east'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Parameters
    ----------
    rounds : int
        How often each contender is measured.
    seconds : int
        Length of each measurement.
    repeats : int
        How often it may be made again if other programs disturbed it.
    """

    rounds: int
    seconds: int
    repeats: int = REPEATS


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one load brought."""

    megabits_per_second: float
    cpu_seconds_per_gigabit: float


class Field:
    """Contenders at one MTU, and what was found about them: a chart for each load."""

    def __init__(
        self, mtu: int, contenders: Sequence[Contender], loads: Sequence[Load]
    ) -> None:
        self.mtu = mtu
        self.contenders = contenders
        self.loads = loads
        self.repeats = dict.fromkeys(loads, 0)
        self.rows = {
            load: [Row(contender.name) for contender in contenders] for load in loads
        }

    def play(self, plan: Plan, say: Callable[[str], None]) -> None:
        """Measure every contender once; one that never came up is left out."""
        for place, contender in enumerate(self.contenders):
            rows = [self.rows[load][place] for load in self.loads]
            if any(row.problem and not row.figures for row in rows):
                continue
            try:
                self._measure(contender, place, plan, say)
            except EnvironmentProblem as error:
                say(f"{contender.name}, MTU {self.mtu}: {error}")
                for row in rows:
                    row.problem = str(error)

    def _measure(
        self,
        contender: Contender,
        place: int,
        plan: Plan,
        say: Callable[[str], None],
    ) -> None:
        for load, attempt in measure(contender, self.loads, plan):
            self.repeats[load] += attempt.repeats
            row, found = self.rows[load][place], attempt.taken
            row.figures.append(found.megabits_per_second)
            row.further.setdefault(CPU, []).append(found.cpu_seconds_per_gigabit)
            row.further.setdefault(OTHERS, []).append(100 * attempt.others)
            rate = f"{found.megabits_per_second:.0f} Mbit/s"
            say(f"{contender.name}, MTU {self.mtu}, {load}: {rate}")

    def charts(self) -> list[Chart]:
        """Return what was found, a chart for each load."""
        return [
            Chart(
                f"{load}, MTU {self.mtu}",
                "Mbit/s",
                rows,
                REFERENCE,
                about_disturbance(rows, self.repeats[load]),
            )
            for load, rows in self.rows.items()
        ]


def measure(
    contender: Contender, loads: Sequence[Load], plan: Plan
) -> list[tuple[Load, Attempt[Measurement]]]:
    """Bring one contender up and send through it.

    Raises
    ------
    EnvironmentProblem
        It does not come up, or a load does not run.
    """
    with (
        make_namespaces("root") as namespaces,
        tempfile.TemporaryDirectory(prefix="iketcp-bench-") as folder,
    ):
        steer_congestion(namespaces)
        with contender.up(namespaces, Path(folder)) as (address, programs):
            wait_until_up(namespaces, address, programs)
            found = []
            for load in loads:

                def once(load: Load = load) -> Measurement:
                    return _send(namespaces, address, programs, load, plan.seconds)

                found.append((load, undisturbed(once, plan.repeats)))
            return found


def _send(
    namespaces: Namespaces,
    address: str,
    programs: Sequence[Program],
    load: Load,
    seconds: int,
) -> Measurement:
    before = sum(program.cpu_seconds() for program in programs)
    flow = send(namespaces, address, seconds, load.streams, load.is_back)
    cpu = sum(program.cpu_seconds() for program in programs) - before
    return Measurement(flow.bits_per_second / 1e6, cpu / (flow.octets * 8 / 1e9))


def measure_all(
    fields: Sequence[Field], plan: Plan, say: Callable[[str], None]
) -> list[Chart]:
    """Measure all contenders side by side.

    Raises
    ------
    EnvironmentProblem
        There is no iperf3.
    """
    require_program("iperf3", "iperf3")
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        for field in fields:
            field.play(plan, say)
    return [chart for field in fields for chart in field.charts()]


Direction = Literal["east", "west", "both"]


def loads_of(streams: Sequence[int], direction: Direction) -> list[Load]:
    """Return every load that is asked for."""
    backs = {"east": [False], "west": [True], "both": [False, True]}[direction]
    return [Load(count, is_back) for count in streams for is_back in backs]


def command(
    rounds: Rounds = ROUNDS,
    seconds: Annotated[int, typer.Option(min=1, help="For so long each.")] = 3,
    streams: Annotated[
        list[int] | None,
        typer.Option(min=1, help="TCP connections at once; repeatable. [1 and 4]"),
    ] = None,
    mtu: Annotated[
        list[int] | None,
        typer.Option(help="MTU of the tunnels; repeatable. [1400, 9000, 60000]"),
    ] = None,
    to: Annotated[
        Direction, typer.Option(help="The initiator is in the west.")
    ] = "both",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Contenders named so; repeatable."),
    ] = None,
    repeats: Repeats = REPEATS,
    json_file: JsonFile = None,
) -> None:
    """Throughput of TCP with and without tunnels."""
    loads = loads_of(streams or STREAMS, to)
    fields = [Field(each, select(lineup(each), only), loads) for each in mtu or MTUS]
    charts = measure_all(
        fields, Plan(rounds, seconds, repeats), lambda text: typer.echo(text, err=True)
    )
    settings = {
        "rounds": rounds,
        "seconds": seconds,
        "congestion_control": CONGESTION_CONTROL,
        "versions": versions.found(),
    }
    deliver("throughput", charts, json_file, settings)


__all__ = [
    "Field",
    "Load",
    "Measurement",
    "Plan",
    "command",
    "loads_of",
    "measure",
    "measure_all",
]
