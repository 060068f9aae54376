"""The benchmark of echoes: its figures on scripted numbers, and one real run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from iketcp.bench import latency
from iketcp.bench.contenders import Contender, Iketcp, Wire
from iketcp.bench.latency import (
    LARGEST,
    LOST,
    MEDIAN,
    OVER,
    RATE,
    TAIL,
    Echoes,
    Plan,
    Scene,
    measure_all,
    parse_echoes,
    take_off,
)
from iketcp.bench.loads import Flow
from iketcp.bench.report import Chart, Row
from iketcp.bench.undisturbed import Attempt
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem
from test_bench_contenders import require_stage
from test_bench_throughput import Scripted

IDLE, LOADED = Scene(), Scene(is_loaded=True)

PRINTED = """\
PING 10.1.0.1 (10.1.0.1) 56(84) bytes of data.
64 bytes from 10.1.0.1: icmp_seq=2 ttl=64 time=12.5 ms
64 bytes from 10.1.0.1: icmp_seq=1 ttl=64 time=0.031 ms

--- 10.1.0.1 ping statistics ---
3 packets transmitted, 2 received, 33% packet loss, time 402ms
rtt min/avg/max/mdev = 0.031/6.2/12.5/6.2 ms
"""


def test_what_ping_prints() -> None:
    found = parse_echoes(PRINTED, 3)
    assert sorted(found.milliseconds) == [0.031, 12.5]
    assert found.figures()[LOST] == 1
    with pytest.raises(EnvironmentProblem, match="no echo comes back"):
        parse_echoes("PING 10.1.0.1 (10.1.0.1) 56(84) bytes of data.\n", 3)


def test_quantiles_are_times_that_were_measured() -> None:
    echoes = Echoes([float(each) for each in range(200, 0, -1)], 200)
    assert echoes.figures() == {MEDIAN: 100, TAIL: 198, LARGEST: 200, LOST: 0}
    assert Echoes([7.0], 1).figures() == {MEDIAN: 7, TAIL: 7, LARGEST: 7, LOST: 0}


def test_scenes_say_what_they_are() -> None:
    assert [str(each) for each in (IDLE, LOADED, Scene(True, 50))] == [
        "idle",
        "beside one stream",
        "beside one stream, wire of 50 Mbit/s",
    ]
    assert (IDLE.unit, LOADED.unit) == (MEDIAN, TAIL)


def test_the_wire_is_taken_off() -> None:
    """Round by round, where there are as many rounds of both."""
    rows = [Row("plain wire", [1.0, 3.0]), Row("a", [5.0, 4.0], {LOST: [0, 0]})]
    rows += [Row("once", [9.0]), Row("never", problem="it broke")]
    chart = Chart("idle", MEDIAN, rows)
    take_off(chart, "nobody")
    assert rows[1].further == {LOST: [0, 0]}
    take_off(chart, "plain wire")
    assert list(rows[1].further.items()) == [(OVER, [4.0, 1.0]), (LOST, [0, 0])]
    assert rows[0].further == rows[2].further == rows[3].further == {}


def test_contenders_are_pinged_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never came up is left out; who failed once has another chance."""

    def measure(contender: Scripted, scene: Scene, count: int) -> Echoes:
        figure = contender.rounds.pop(0)
        if isinstance(figure, str):
            raise EnvironmentProblem(figure)
        assert count == 400
        return Echoes([figure], 1, 900.0 if scene.is_loaded else 0.0)

    def undisturbed(take: Callable[[], Echoes], repeats: int) -> Attempt[Echoes]:
        found = take()
        return Attempt(found, 0.01, int(found.megabits_per_second > 0) * repeats)

    monkeypatch.setattr(latency, "measure", measure)
    monkeypatch.setattr(latency, "undisturbed", undisturbed)
    monkeypatch.setattr(latency, "require_program", lambda *_: "program")
    said: list[str] = []
    contenders: list[Contender] = [
        Scripted("plain wire", 1, 2, 3, 4),
        Scripted("absent", *["there is no such program"] * 2),
        Scripted("shaky", 10, 20, "it broke", 40),
    ]
    plan = Plan(2, 400, repeats=1)
    idle, loaded = measure_all(contenders, [IDLE, LOADED], plan, said.append)
    assert [row.figures for row in idle.rows] == [[1, 3], [], [10]]
    assert [row.figures for row in loaded.rows] == [[2, 4], [], [20, 40]]
    assert loaded.rows[2].further[OVER] == [18, 36]
    assert loaded.rows[2].further[RATE] == [900.0, 900.0]
    assert RATE not in idle.rows[2].further
    assert idle.rows[2].problem == "it broke"
    assert [len(chart.notes) for chart in (idle, loaded)] == [0, 1]
    assert "measured again 4 times" in loaded.notes[0]
    assert "shaky, beside one stream: 20.00 p99 ms" in said
    assert said.count("absent, idle: there is no such program") == 1


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(EnvironmentProblem, match="apt-get install iputils-ping"):
        measure_all([], [IDLE], Plan(1, 1))


def test_a_stream_that_does_not_go_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends too soon says so; what kept it from going comes first."""
    nowhere = Namespaces("root", {}, None)
    is_refused = True

    def send(*_: object) -> Flow:
        if is_refused:
            raise EnvironmentProblem("iperf3: refused")
        return Flow(125, 1e3)

    over = threading.Event()

    def ping(*_: object) -> Echoes:
        assert over.wait(10.0)
        return Echoes([1.0], 1)

    class Beside(ThreadPoolExecutor):
        def submit(self, *work: Any) -> Any:
            found = super().submit(*work)
            found.add_done_callback(lambda _: over.set())
            return found

    monkeypatch.setattr(latency, "BEFORE_SECONDS", 0.0)
    monkeypatch.setattr(latency, "ThreadPoolExecutor", Beside)
    monkeypatch.setattr(latency, "send", send)
    monkeypatch.setattr(latency, "ping", ping)
    with pytest.raises(EnvironmentProblem, match="iperf3: refused"):
        latency.ping_beside_a_stream(nowhere, "192.0.2.2", 10)
    is_refused = False
    with pytest.raises(EnvironmentProblem, match="ended before the echoes"):
        latency.ping_beside_a_stream(nowhere, "192.0.2.2", 10)


@pytest.mark.slow
def test_real_echoes() -> None:
    """Beside a stream on a slow wire, and nothing gets lost on an idle one."""
    require_stage()
    wire = latency.measure(Wire(), Scene(is_loaded=True, megabits=100), 50)
    assert 0 < wire.megabits_per_second < 110
    assert wire.milliseconds
    ours = latency.measure(Iketcp("iketcp"), IDLE, 50)
    assert len(ours.milliseconds) == ours.sent == 50
