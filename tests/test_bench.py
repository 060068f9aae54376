"""Benchmarks: that they measure, and say what they could not; not how fast it is."""

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from iketcp import bench_command
from iketcp.bench import machine, report, throughput
from iketcp.bench.contenders import Contender, Iketcp, OpenVpn, Running, Wire
from iketcp.bench.report import Chart, Row
from iketcp.bench.throughput import measure_all
from iketcp.cli import app
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem
from namespaces import require_or_skip, tun_obstacle
from test_cli import run


class Missing:
    """A contender whose program is not there."""

    name = "missing"

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        raise EnvironmentProblem("there is no such program")
        yield


def printed(chart: Chart) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(report.table(chart))
    console.file.close()
    return console.export_text()


def chart_of(*rows: Row) -> Chart:
    return Chart("title", "Mbit/s", list(rows), "slow")


FAST = Row("fast", [900, 300, 600], {"CPU": [1.0, 3.0, 2.0]})
SLOW = Row("slow", [200, 300, 400], {"CPU": [0.05, 0.05, 0.05]})
MISSING = Row("missing", problem="there is no such program")


# --- what is told of them -------------------------------------------------------------


def test_the_table_has_medians_spread_and_ratios() -> None:
    lines = printed(chart_of(FAST, SLOW)).splitlines()
    rows = [line.replace("│", " ").split() for line in lines if "│" in line]
    assert rows == [
        ["fast", "600", "300", "900", "2.00", "2.00"],
        ["slow", "300", "200", "400", "0.05", "1.00"],
    ]


def test_what_was_not_measured_is_said() -> None:
    assert "there is no such program" in printed(chart_of(FAST, MISSING))


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    assert chart_of(FAST, SLOW).ratio(FAST) == 2
    assert chart_of(FAST, SLOW).ratio(MISSING) is None
    assert chart_of(FAST, MISSING).ratio(FAST) is None
    assert chart_of(FAST, Row("slow", [0.0])).ratio(FAST) is None


def test_figures_have_the_digits_that_say_something() -> None:
    figures = (1234.5, 12.34, 1.234, 0.0, 0.01234, -12.34)
    assert [report.number(each) for each in figures] == [
        "1234",
        "12.3",
        "1.23",
        "0.00",
        "0.012",
        "-12.3",
    ]


def test_the_document_has_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    chart = chart_of(FAST, MISSING)
    chart.notes.append("one more sentence")
    report.deliver("some", [chart], path, {"rounds": 3})
    assert "one more sentence" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert (found["format"], found["benchmark"]) == (1, "some")
    assert found["settings"] == {"rounds": 3}
    assert [Row(**row) for row in found["charts"][0]["rows"]] == chart.rows
    assert found["machine"]["processors"] == os.cpu_count()
    assert socket.gethostname() not in str(found["machine"].values())


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    assert machine.processor_model(path) == platform.machine()
    path.write_text("processor\t: 0\nmodel name\t: Fast CPU: 3 GHz\nflags\t: fpu\n")
    assert machine.processor_model(path) == "Fast CPU: 3 GHz"


# --- the command ----------------------------------------------------------------------


def test_the_help_names_what_there_is() -> None:
    printed = run("bench", "--help").stdout
    for name in (*bench_command.present(), "all"):
        assert f" {name} " in printed
    assert "--seconds" in run("bench", "throughput", "--help").stdout
    refusal = run("bench", "nonsense")
    assert refusal.returncode == 2
    assert "No such command 'nonsense'" in refusal.stderr


def test_options_without_a_name_are_those_of_throughput() -> None:
    refusal = run("bench", "--seconds", "0")
    assert refusal.returncode == 2
    assert "iketcp bench throughput" in refusal.stderr


def test_the_command_line_does_not_load_benchmarks() -> None:
    """Nor the libraries that only they, or a tunnel, need."""
    code = (
        "import sys, iketcp.cli, typer\n"
        "typer.main.get_command(iketcp.cli.app)(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules"
        " if name == 'numpy' or name.startswith('iketcp.bench.')])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_all_of_them_are_run_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that fails does not keep the others from it, and is named in the end."""
    monkeypatch.setattr(bench_command, "present", lambda: ["nonsense", "throughput"])
    monkeypatch.setenv("PATH", "")
    into = tmp_path / "new" / "folder"
    done = CliRunner().invoke(app, ["bench", "all", "--into", str(into)])
    assert done.exit_code == 1
    assert "failed: nonsense, throughput" in done.output
    assert sorted(path.name for path in into.iterdir()) == [
        "nonsense.txt",
        "throughput.txt",
    ]


# --- contenders -----------------------------------------------------------------------


@pytest.mark.slow
def test_contenders_are_measured_round_by_round() -> None:
    """One that cannot be measured does not keep the others from it."""
    require_or_skip(os.geteuid() == 0, "only root has this mode")
    require_or_skip(not tun_obstacle(), tun_obstacle())
    require_or_skip(shutil.which("iperf3") is not None, "iperf3 is not installed")
    said: list[str] = []
    contender = Iketcp("iketcp", 9000, is_tls=True)
    contenders: list[Contender] = [Wire(), Missing(), contender]
    wire, missing, tunnel = measure_all(contenders, 2, 1, streams=2, say=said.append)
    assert [text.partition(":")[0] for text in said] == [
        "plain wire",
        "missing",
        "iketcp",
        "plain wire",
        "iketcp",
    ]
    ours, plain = tunnel.row(), wire.row()
    assert len(plain.figures) == len(ours.figures) == 2
    assert 0 < ours.median < plain.median
    assert plain.further["CPU s/Gbit"] == [0, 0]
    assert min(ours.further["CPU s/Gbit"]) > 0
    assert missing.row().problem == "there is no such program"


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
