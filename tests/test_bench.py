"""Benchmarks: that they measure, and say what they could not; not how fast it is."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from iketcp.bench import report, throughput
from iketcp.bench.contenders import Contender, Iketcp, OpenVpn, Running, Wire
from iketcp.bench.throughput import Measurement, Result, measure_all
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem
from namespaces import require_or_skip, tun_obstacle


class Missing:
    """A contender whose program is not there."""

    name = "missing"

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        raise EnvironmentProblem("there is no such program")
        yield


def printed(results: list[Result], compared_with: str) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(report.table("title", results, compared_with))
    console.file.close()
    return console.export_text()


def test_the_table_has_medians_spread_and_ratios() -> None:
    fast = Result("fast", [Measurement(rate, 1.0) for rate in (900, 300, 600)])
    slow = Result("slow", [Measurement(rate, 2.5) for rate in (200, 300, 400)])
    lines = printed([fast, slow], "slow").splitlines()
    rows = [line.replace("│", " ").split() for line in lines if "│" in line]
    assert rows == [
        ["fast", "600", "300", "900", "1.00", "2.00"],
        ["slow", "300", "200", "400", "2.50", "1.00"],
    ]


def test_what_was_not_measured_is_said() -> None:
    results = [Result("other", problem="there is no such program")]
    assert "there is no such program" in printed(results, "nobody")
    assert report.as_json(results) == [
        {
            "contender": "other",
            "problem": "there is no such program",
            "megabits_per_second": [],
            "cpu_seconds_per_gigabit": [],
        }
    ]


@pytest.mark.slow
def test_contenders_are_measured_round_by_round() -> None:
    """One that cannot be measured does not keep the others from it."""
    require_or_skip(os.geteuid() == 0, "only root has this mode")
    require_or_skip(not tun_obstacle(), tun_obstacle())
    require_or_skip(shutil.which("iperf3") is not None, "iperf3 is not installed")
    said: list[str] = []
    ours = Iketcp("iketcp", 9000, is_tls=True)
    contenders: list[Contender] = [Wire(), Missing(), ours]
    wire, missing, tunnel = measure_all(contenders, 2, 1, streams=2, say=said.append)
    assert [text.partition(":")[0] for text in said] == [
        "plain wire",
        "missing",
        "iketcp",
        "plain wire",
        "iketcp",
    ]
    assert len(wire.rates) == len(tunnel.rates) == 2
    assert 0 < tunnel.median < wire.median
    assert wire.cpu == 0 < tunnel.cpu
    assert missing.problem == "there is no such program"
    assert json.dumps(report.as_json([wire, missing, tunnel]))


def test_a_program_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    namespaces = Namespaces("root", {}, None)
    with (
        pytest.raises(EnvironmentProblem, match="apt-get install openvpn"),
        OpenVpn("OpenVPN").up(namespaces, tmp_path),
    ):
        pass
    with pytest.raises(EnvironmentProblem, match="apt-get install iperf3"):
        throughput.measure_all([], 1, 1)
