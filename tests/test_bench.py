"""The frame of the benchmarks: the command, the table, the document, the picture."""

import json
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from iketcp import bench_command
from iketcp.bench import machine, plot, report
from iketcp.bench.report import Chart, Row
from iketcp.cli import app
from iketcp.errors import ConfigurationError
from test_cli import run

SVG = "{http://www.w3.org/2000/svg}"


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


def test_what_was_not_measured_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report.deliver("some", [chart_of(FAST, MISSING)])
    *_, last = capsys.readouterr().out.strip().splitlines()
    assert last == "missing: there is no such program"


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


def test_charts_of_the_same_rows_share_a_table_of_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four beside each other; read from a file, as everything else is."""
    other = Chart("third", "ms", [Row("x", [0.25])])
    charts = [chart_of(FAST, SLOW, MISSING) for _ in range(5)]
    path = tmp_path / "x.json"
    report.deliver("some", [*charts, other], path)
    capsys.readouterr()
    bench_command.markdown(path)
    cells = "title | title | title | title"
    assert capsys.readouterr().out.splitlines() == [
        f"| Mbit/s (of slow) | {cells} |",
        "| --- | --- | --- | --- | --- |",
        "| fast | 600 (2.00) | 600 (2.00) | 600 (2.00) | 600 (2.00) |",
        "| slow | 300 (1.00) | 300 (1.00) | 300 (1.00) | 300 (1.00) |",
        "| missing | - | - | - | - |",
        "",
        "| Mbit/s (of slow) | title |",
        "| --- | --- |",
        "| fast | 600 (2.00) |",
        "| slow | 300 (1.00) |",
        "| missing | - |",
        "",
        "| ms | third |",
        "| --- | --- |",
        "| x | 0.25 |",
    ]


# --- the picture ----------------------------------------------------------------------


def document() -> dict[str, Any]:
    """What a reader finds in the file of a benchmark."""
    giant = Row("plain wire", [90_000, 90_000, 90_000])
    charts = [chart_of(giant, FAST, SLOW, MISSING), Chart("<other>", "ms", [FAST])]
    found: dict[str, Any] = json.loads(json.dumps(report.document("x", charts, {})))
    return found


def test_the_picture_is_xml_and_shows_every_figure() -> None:
    root = ElementTree.fromstring(plot.svg(document()))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    for text in (
        "iketcp bench x",
        "600 (2.00)",
        "300 (1.00)",
        "90000 (300)",
        "there is no such program",
        "<other>",
        "600",
        "ms",
    ):
        assert text in texts


def test_bars_are_as_long_as_their_figures() -> None:
    """600 is two thirds of the largest figure, 900; the giant does not count."""
    root = ElementTree.fromstring(plot.svg(document()))
    bars = [each for each in root.iter(f"{SVG}rect") if each.get("x")]
    giant, fast, slow, _ = (float(bar.attrib["width"]) for bar in bars)
    assert fast == pytest.approx(plot.BAR_WIDTH * 2 / 3, abs=0.1)
    assert slow == pytest.approx(plot.BAR_WIDTH / 3, abs=0.1)
    assert plot.BAR_WIDTH < giant < plot.BAR_WIDTH * 1.1


def test_labels_have_room() -> None:
    short, long = chart_of(FAST), chart_of(Row("a name of thirty-four letters in all"))
    assert plot.label_width([short]) == plot.label_width([])
    assert plot.label_width([short, long]) > 1.8 * plot.label_width([short])


def test_colours_tell_ours_from_others() -> None:
    """Where there are no others, everything is ours."""
    mixed = chart_of(Row("iketcp, TLS", [1.0]), Row("plain wire", [1.0]), FAST)
    alone = chart_of(FAST, SLOW)
    colours = [
        re.findall(r'<rect .*fill="(.*?)"', "\n".join(plot.panel(chart, 100)))
        for chart in (mixed, alone)
    ]
    assert colours == [[plot.OURS, plot.NOBODYS, plot.THEIRS], [plot.OURS] * 2]


def test_nothing_at_all_has_a_picture_too() -> None:
    empty = {**document(), "charts": []}
    assert ElementTree.fromstring(plot.svg(empty)).tag == f"{SVG}svg"
    assert plot.full_scale([]) == 1
    assert plot.full_scale([0.0]) == 1


def test_a_long_problem_stays_in_its_column() -> None:
    row = Row("missing", problem="there is nothing of all this " * 9)
    text = "".join(plot.panel(chart_of(row), 100))
    assert "this there …</text>" in text


def test_a_picture_is_drawn_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document()))
    bench_command.plot(path)
    assert (tmp_path / "x.svg").read_text() == plot.svg(document())
    assert run("bench", "plot", path, tmp_path / "y.svg").returncode == 0
    assert (tmp_path / "y.svg").exists()


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"charts": [{"x": 1}]}'])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    for make in (bench_command.plot, bench_command.markdown):
        with pytest.raises(ConfigurationError, match="no figures of a benchmark"):
            make(path)


# --- the command ----------------------------------------------------------------------


def test_the_help_names_what_there_is() -> None:
    printed = run("bench", "--help").stdout
    for name in (*bench_command.present(), "all", "plot", "markdown"):
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


def test_what_all_of_them_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table, the figures and a picture."""

    def play(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:7] == ["-m", "iketcp", "bench", "some", "--rounds", "2"]
        Path(command[-1]).write_text(json.dumps(document()))
        return subprocess.CompletedProcess(command, 0, "a table\n")

    monkeypatch.setattr(bench_command, "present", lambda: ["some"])
    monkeypatch.setattr(subprocess, "run", play)
    arguments = ["bench", "all", "--into", str(tmp_path), "--rounds", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "a table" in done.stdout
    assert (tmp_path / "some.txt").read_text() == "a table\n"
    assert (tmp_path / "some.svg").read_text() == plot.svg(document())
