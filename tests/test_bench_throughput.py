"""Benchmarks of throughput: what is measured, and what is measured again.

On scripted numbers; :mod:`test_bench_contenders` has the real programs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from iketcp.bench import loads, processor_time, throughput, versions
from iketcp.bench.contenders import Contender, Running, Wire
from iketcp.bench.lineup import REFERENCE, lineup, select
from iketcp.bench.processor_time import Process, family
from iketcp.bench.report import Row
from iketcp.bench.throughput import (
    CPU,
    Field,
    Load,
    Measurement,
    Plan,
    loads_of,
    measure_all,
)
from iketcp.bench.undisturbed import OTHERS, Attempt, about_disturbance, undisturbed
from iketcp.demo.stage import Namespaces
from iketcp.errors import ConfigurationError, EnvironmentProblem
from test_cli import refused

EAST_1, WEST_1, EAST_4 = Load(1, False), Load(1, True), Load(4, False)


# --- processor time -------------------------------------------------------------------


def stat(parent: int, ticks: Sequence[int], flags: int = 0) -> str:
    """``/proc/PID/stat`` of a process with an awkward name."""
    fields = [parent, 1, 1, 0, -1, flags, 0, 0, 0, 0, *ticks, 20, 0, 1]
    return f"7 (a) b) (c) S {' '.join(map(str, fields))}\n"


def test_what_the_kernel_tells_of_a_process() -> None:
    """Time of ended children counts; 100 ticks are a second, nearly everywhere."""
    each = 1 / os.sysconf("SC_CLK_TCK")
    process = processor_time.parse_process(stat(3, (1, 20, 300, 4000)))
    assert process == Process(3, pytest.approx(4321 * each), False)
    assert processor_time.parse_process(stat(2, (0,) * 4, 0x00200040)).is_kernel_thread


def test_a_family_has_all_descendants() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 2, 5: 4, 6: 1}
    among = {child: Process(parent, 1.0, False) for child, parent in parents.items()}
    assert family(2, among) == {2, 3, 4, 5}
    assert family(6, among) == {6}


def test_time_of_others_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the kernel's; of the kernel only what a hypervisor took."""
    me = os.getpid()
    among = {
        1: Process(0, 100.0, False),
        2: Process(0, 20.0, True),
        me: Process(1, 3.0, False),
        me + 1: Process(me, 4.0, False),
        me + 2: Process(1, 5.0, False),
    }
    monkeypatch.setattr(processor_time, "processes", lambda: among)
    monkeypatch.setattr(processor_time, "stolen_seconds", lambda text: 0.5)
    assert processor_time.seconds_of_others() == pytest.approx(105.5)
    assert processor_time.seconds_of(me) == pytest.approx(7.0)


def test_time_that_a_hypervisor_took() -> None:
    text = "cpu  10 20 30 40 50 60 70 250 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    ticks = os.sysconf("SC_CLK_TCK")
    assert processor_time.stolen_seconds(text) == pytest.approx(250 / ticks)


def test_this_very_machine_is_understood() -> None:
    """A child's time is its parent's as long as it runs, and afterwards."""
    before = processor_time.seconds_of(os.getpid())
    code = "while sum(__import__('os').times()[:2]) < 0.3: pass"
    child = subprocess.Popen([sys.executable, "-c", code])
    assert child.pid in family(os.getpid(), processor_time.processes())
    child.wait()
    assert processor_time.seconds_of(os.getpid()) - before >= 0.25
    assert processor_time.seconds_of_others() >= 0


# --- measured again -------------------------------------------------------------------


def attempt(shares: Sequence[float], repeats: int = 3) -> tuple[Attempt[int], int]:
    """Measure for two seconds each while others take shares of a processor.

    Returns the attempt that counts, its number being what was measured, and how many
    there were.
    """
    now, taken, made = 0.0, 0.0, 0

    def measure() -> int:
        nonlocal now, taken, made
        now += 2.0
        taken += 2.0 * shares[made]
        made += 1
        return made

    found = undisturbed(measure, repeats, lambda: taken, lambda: now)
    return found, made


@pytest.mark.parametrize(
    ("shares", "counts", "made"),
    [
        ((0.01,), 1, 1),
        ((0.5, 0.01), 2, 2),
        ((0.5, 0.2, 0.3, 0.4), 2, 4),
        ((0.9, 0.8, 0.7, 0.04), 4, 4),
        ((-0.5,), 1, 1),
    ],
)
def test_the_least_disturbed_counts(
    shares: Sequence[float], counts: int, made: int
) -> None:
    found, all_made = attempt(shares)
    assert (found.taken, all_made, found.repeats) == (counts, made, made - 1)
    assert found.others == pytest.approx(max(0.0, shares[counts - 1]))


def test_nothing_is_measured_again_without_leave() -> None:
    found, made = attempt((0.5,), repeats=0)
    assert (found.taken, made, found.is_undisturbed) == (1, 1, False)


def test_what_is_said_of_disturbances() -> None:
    quiet = Row("x", [1.0], {OTHERS: [0.1, 4.9]})
    loud = Row("y", [1.0], {OTHERS: [50.0]})
    assert about_disturbance([quiet, Row("z")], 0) == []
    (note,) = about_disturbance([quiet, loud], 7)
    assert "again 7 times; 1 of 3 figures stayed disturbed" in note


# --- what goes through ----------------------------------------------------------------


def test_every_load_that_is_asked_for() -> None:
    assert loads_of((1,), "both") == [EAST_1, WEST_1]
    assert loads_of((1, 4), "east") == [EAST_1, EAST_4]
    assert loads_of((1,), "west") == [WEST_1]
    assert [str(each) for each in (WEST_1, EAST_4)] == [
        "1 stream east to west",
        "4 streams west to east",
    ]


def reported(control: str = "cubic", octets: int = 125) -> dict[str, object]:
    received = {"bytes": octets, "bits_per_second": 1e3}
    return {"end": {"sum_received": received, "sender_tcp_congestion": control}}


def test_what_iperf3_reports() -> None:
    assert loads.parse_flow(reported()) == loads.Flow(125, 1e3)
    with pytest.raises(EnvironmentProblem, match="sent with bbr"):
        loads.parse_flow(reported("bbr"))
    with pytest.raises(EnvironmentProblem, match="nothing arrives"):
        loads.parse_flow(reported(octets=0))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("OpenVPN 2.6.14 x86_64-pc-linux-gnu\nlibrary 3.0", "2.6.14"),
        ("OpenConnect version v9.01-3\n", "9.01"),
        ("strongSwan 5.9.8 swanctl", "5.9.8"),
        ("no number", "unknown"),
    ],
)
def test_versions_that_programs_tell(text: str, version: str) -> None:
    assert versions.parse(text) == version


def test_versions_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, package: str) -> str:
        if name != "openvpn":
            raise EnvironmentProblem("there is none")
        return sys.executable

    monkeypatch.setattr(versions, "require_program", find)
    assert versions.found() == {"openvpn": sys.version.split()[0]}


# --- rounds ---------------------------------------------------------------------------


class Scripted:
    """A contender whose figures are known, or whose program is not there."""

    def __init__(self, name: str, *rounds: float | str) -> None:
        self.name = name
        self.rounds = list(rounds)

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        raise NotImplementedError
        yield


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take figures from the contenders instead of measuring."""

    def measure(
        contender: Scripted, all_loads: Sequence[Load], plan: Plan
    ) -> list[tuple[Load, Attempt[Measurement]]]:
        figure = contender.rounds.pop(0)
        if isinstance(figure, str):
            raise EnvironmentProblem(figure)
        return [
            (load, Attempt(Measurement(figure + load.streams, 2.0), 0.01, 1))
            for load in all_loads
        ]

    monkeypatch.setattr(throughput, "measure", measure)
    monkeypatch.setattr(throughput, "require_program", lambda *_: "iperf3")


@pytest.mark.usefixtures("scripted")
def test_contenders_are_measured_round_by_round() -> None:
    """Who never came up is left out; who failed once has another chance."""
    said: list[str] = []
    contenders: list[Contender] = [
        Scripted("a", 100, 200, 300),
        Scripted("absent", "there is no such program"),
        Scripted("shaky", 10, "it broke", 30),
    ]
    field = Field(1400, contenders, [EAST_1, EAST_4])
    one, four = measure_all([field], Plan(3, 1), said.append)
    assert (one.title, four.title) == (
        "1 stream west to east, MTU 1400",
        "4 streams west to east, MTU 1400",
    )
    assert [row.figures for row in one.rows] == [[101, 201, 301], [], [11, 31]]
    assert [row.figures for row in four.rows] == [[104, 204, 304], [], [14, 34]]
    assert one.rows[0].further[CPU] == [2.0, 2.0, 2.0]
    assert [row.problem for row in one.rows] == [
        "",
        "there is no such program",
        "it broke",
    ]
    assert "again 5 times; 0 of 5" in one.notes[0]
    assert [text for text in said if "stream" not in text] == [
        "round 1 of 3",
        "absent, MTU 1400: there is no such program",
        "round 2 of 3",
        "shaky, MTU 1400: it broke",
        "round 3 of 3",
    ]


# --- who takes part -------------------------------------------------------------------


def test_everybody_takes_part_by_name() -> None:
    everybody = lineup(1400)
    names = [contender.name for contender in everybody]
    assert len(set(names)) == len(names)
    assert REFERENCE in names
    assert select(everybody, None) == everybody
    assert select(everybody, ["plain wire"]) == [Wire()]
    with pytest.raises(ConfigurationError, match=r"'nobody'; there are: OpenVPN; "):
        select(everybody, ["nobody"])


def test_the_command_line_knows_who_takes_part() -> None:
    sentence = refused("bench", "throughput", "--only", "nobody")
    assert sentence.startswith("iketcp: no contender is called 'nobody'")


def test_a_missing_iperf3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    say: Callable[[str], None] = [].append
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(EnvironmentProblem, match="apt-get install iperf3"):
        measure_all([], Plan(1, 1), say)
