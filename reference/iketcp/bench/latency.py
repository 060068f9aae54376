"""How long an echo takes, on an idle tunnel and beside a bulk transfer.

In a round each contender comes up once for each scene, and is pinged a few hundred
times. The scenes: nothing else goes through it; one TCP stream goes through it as fast
as the machine can; one stream goes through it over a wire that is slower than the
machine, where whoever sends more than the wire takes has to keep it somewhere ("buffer
bloat"). The wire's own queue is short, and the plain wire shows what it adds.

Reported are median, 99th percentile and maximum of a round, and what is left of the
figure when that of the plain wire is taken off.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from iketcp.bench import versions
from iketcp.bench.contenders import Contender, Wire
from iketcp.bench.lineup import lineup, select
from iketcp.bench.loads import (
    CONGESTION_CONTROL,
    send,
    steer_congestion,
    wait_until_up,
)
from iketcp.bench.options import ROUNDS, JsonFile, Repeats, Rounds
from iketcp.bench.programs import Program, require_program, running
from iketcp.bench.report import Chart, Row, deliver
from iketcp.bench.undisturbed import (
    OTHERS,
    REPEATS,
    about_disturbance,
    undisturbed,
)
from iketcp.demo.scenery import LINK, SITES, WEST
from iketcp.demo.stage import Namespaces, make_namespaces
from iketcp.errors import EnvironmentProblem

INTERVAL_SECONDS = 0.005
PATIENCE_SECONDS = 2.0
"""An echo that takes longer is lost."""

BEFORE_SECONDS = 1.5
"""A stream has reached its rate by then."""

WIRE_BURST, WIRE_QUEUE = "64kb", "10ms"
"""What a slow wire takes at once, and how long something may wait for it."""

MEDIAN, TAIL, LARGEST = "median ms", "p99 ms", "max ms"
OVER, LOST, RATE = "over plain wire", "lost", "Mbit/s"

_ECHO = re.compile(r"time=([\d.]+) ms")


@dataclass(frozen=True, slots=True)
class Scene:
    """What else happens while echoes are counted.

    Parameters
    ----------
    is_loaded : bool
        One TCP stream goes from west to east.
    megabits : int
        Rate of the wire in Mbit/s; 0: what the machine can do.
    """

    is_loaded: bool = False
    megabits: int = 0

    def __str__(self) -> str:
        """Name it as in the titles of charts."""
        load = "beside one stream" if self.is_loaded else "idle"
        return f"{load}, wire of {self.megabits} Mbit/s" if self.megabits else load

    @property
    def unit(self) -> str:
        """Which figure is the one to look at."""
        return TAIL if self.is_loaded else MEDIAN


@dataclass(frozen=True, slots=True)
class Echoes:
    """Round-trip times in milliseconds, and what went beside them."""

    milliseconds: Sequence[float]
    """Of those that came back; at least one."""
    sent: int
    megabits_per_second: float = 0.0
    """Of the stream beside them."""

    def quantile(self, share: float) -> float:
        """Return the time within which this share of the answers came."""
        rank = math.ceil(share * len(self.milliseconds))
        return sorted(self.milliseconds)[max(0, rank - 1)]

    def figures(self) -> dict[str, float]:
        """Return each figure under its heading."""
        return {
            MEDIAN: self.quantile(0.5),
            TAIL: self.quantile(0.99),
            LARGEST: self.quantile(1.0),
            LOST: self.sent - len(self.milliseconds),
        }


def parse_echoes(text: str, sent: int) -> Echoes:
    """Read what ``ping`` prints.

    Raises
    ------
    EnvironmentProblem
        Nothing came back.
    """
    found = [float(each) for each in _ECHO.findall(text)]
    if not found:
        raise EnvironmentProblem("no echo comes back")
    return Echoes(found, sent)


def ping(namespaces: Namespaces, address: str, count: int) -> Echoes:
    """Send echo requests from west to east without waiting for answers.

    Raises
    ------
    EnvironmentProblem
        Nothing comes back.
    """
    command = [require_program("ping", "iputils-ping"), "-n", "-c", str(count)]
    command += ["-i", str(INTERVAL_SECONDS), "-W", str(PATIENCE_SECONDS), address]
    program = Program(namespaces, WEST, command)
    with running([program]):
        longest = 2 * count * INTERVAL_SECONDS + 10 * PATIENCE_SECONDS
        return parse_echoes(program.output(longest), count)


def ping_beside_a_stream(namespaces: Namespaces, address: str, count: int) -> Echoes:
    """Do as :func:`ping` while one TCP stream goes from west to east.

    Raises
    ------
    EnvironmentProblem
        Nothing comes back, or the stream ended too soon.
    """
    # twice as long as it takes where nobody has to wait for a processor
    seconds = BEFORE_SECONDS + 2 * count * INTERVAL_SECONDS + PATIENCE_SECONDS
    with ThreadPoolExecutor(1) as beside:
        stream = beside.submit(send, namespaces, address, math.ceil(seconds), 1, False)
        time.sleep(BEFORE_SECONDS)
        found = ping(namespaces, address, count)
        is_over = stream.done()
        rate = stream.result().bits_per_second / 1e6  # or what kept it from going
        if is_over:
            raise EnvironmentProblem("the stream ended before the echoes")
    return Echoes(found.milliseconds, found.sent, rate)


def slow_down(namespaces: Namespaces, megabits: int) -> None:
    """Give both ends of the wire a rate and a short queue.

    Raises
    ------
    EnvironmentProblem
        The kernel has no token bucket filter.
    """
    tc = require_program("tc", "iproute2")
    for site in SITES:
        command = [tc, "qdisc", "add", "dev", LINK[site], "root", "tbf"]
        command += ["rate", f"{megabits}mbit", "burst", WIRE_BURST]
        program = Program(namespaces, site, [*command, "latency", WIRE_QUEUE])
        with running([program]):
            program.output(PATIENCE_SECONDS)


def measure(contender: Contender, scene: Scene, count: int) -> Echoes:
    """Bring one contender up and ping through it.

    Raises
    ------
    EnvironmentProblem
        It does not come up, or something beside it fails.
    """
    with (
        make_namespaces("root") as namespaces,
        tempfile.TemporaryDirectory(prefix="iketcp-bench-") as folder,
    ):
        steer_congestion(namespaces)
        if scene.megabits:
            slow_down(namespaces, scene.megabits)
        with contender.up(namespaces, Path(folder)) as (address, programs):
            wait_until_up(namespaces, address, programs)
            through = ping_beside_a_stream if scene.is_loaded else ping
            return through(namespaces, address, count)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure: rounds, echoes in each, and how often it may be made again."""

    rounds: int
    count: int
    repeats: int = REPEATS


def measure_all(
    contenders: Sequence[Contender],
    scenes: Sequence[Scene],
    plan: Plan,
    say: Callable[[str], None] = lambda text: None,
) -> list[Chart]:
    """Measure all contenders in all scenes, round by round; a chart for each scene.

    Raises
    ------
    EnvironmentProblem
        There is no ping, or no iperf3.
    """
    require_program("ping", "iputils-ping")
    require_program("iperf3", "iperf3")
    charts = [Chart(str(s), s.unit, [Row(c.name) for c in contenders]) for s in scenes]
    again: Counter[Scene] = Counter()
    for _ in range(plan.rounds):
        for scene, chart in zip(scenes, charts, strict=True):
            for contender, row in zip(contenders, chart.rows, strict=True):
                if row.problem and not row.figures:
                    continue  # it never came up
                found = _add(row, contender, scene, plan, again)
                say(f"{contender.name}, {scene}: {found}")
    for scene, chart in zip(scenes, charts, strict=True):
        take_off(chart, Wire().name)
        chart.notes += about_disturbance(chart.rows, again[scene])
    return charts


def _add(
    row: Row, contender: Contender, scene: Scene, plan: Plan, again: Counter[Scene]
) -> str:
    """Measure once; note, and return, what was found or why nothing was."""
    try:
        attempt = undisturbed(
            lambda: measure(contender, scene, plan.count), plan.repeats
        )
    except EnvironmentProblem as error:
        row.problem = str(error)
        return row.problem
    again[scene] += attempt.repeats
    figures = attempt.taken.figures()
    if scene.is_loaded:
        figures[RATE] = attempt.taken.megabits_per_second
    figures[OTHERS] = 100 * attempt.others
    row.figures.append(figures.pop(scene.unit))
    for heading, figure in figures.items():
        row.further.setdefault(heading, []).append(figure)
    return f"{row.figures[-1]:.2f} {scene.unit}"


def take_off(chart: Chart, name: str) -> None:
    """Note for each row what is left of its figures without those of one row."""
    for base in (row for row in chart.rows if row.name == name):
        for row in chart.rows:
            count = len(row.figures)
            if row is not base and 0 < count == len(base.figures):
                pairs = zip(row.figures, base.figures, strict=True)
                left = [figure - without for figure, without in pairs]
                row.further = {OVER: left, **row.further}


def command(
    rounds: Rounds = ROUNDS,
    count: Annotated[int, typer.Option(min=10, help="Echoes each time.")] = 400,
    mtu: Annotated[int, typer.Option(help="MTU of the tunnels.")] = 1400,
    wire: Annotated[
        int, typer.Option(min=1, help="Rate of the slow wire, in Mbit/s.")
    ] = 200,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Contenders named so; repeatable."),
    ] = None,
    repeats: Repeats = REPEATS,
    json_file: JsonFile = None,
) -> None:
    """Echoes through an idle tunnel, and beside a bulk transfer."""
    scenes = [Scene(), Scene(is_loaded=True), Scene(is_loaded=True, megabits=wire)]
    charts = measure_all(
        select(lineup(mtu), only),
        scenes,
        Plan(rounds, count, repeats),
        lambda text: typer.echo(text, err=True),
    )
    settings = {
        "rounds": rounds,
        "echoes": count,
        "mtu": mtu,
        "slow_wire_megabits": wire,
        "congestion_control": CONGESTION_CONTROL,
        "versions": versions.found(),
    }
    deliver("latency", charts, json_file, settings)


__all__ = [
    "Echoes",
    "Plan",
    "Scene",
    "command",
    "measure",
    "measure_all",
    "parse_echoes",
    "ping",
    "ping_beside_a_stream",
    "slow_down",
    "take_off",
]
