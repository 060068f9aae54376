"""The benchmarks of many peers and of the start: that they measure; not how well."""

import json
import resource
import sys
from pathlib import Path

import pytest

from iketcp.bench import crowd, lookups, many, startup
from iketcp.bench.lookups import FIRST, chart, tables
from iketcp.errors import EnvironmentProblem

HEAVY = {"numpy", "cryptography", "OpenSSL", "pyroute2", "Cryptodome", "jsonschema"}
"""Libraries that a command may want, and the list of commands does not."""


@pytest.mark.parametrize("is_tls", [False, True], ids=["TCP", "TLS"])
def test_what_each_needs_is_measured(is_tls: bool) -> None:
    """A thread and two descriptors, and what all leave behind is nothing."""
    held = many.measure(10, is_tls, idle_seconds=0.1)
    assert held.threads == 1
    assert held.descriptors == 2
    assert held.kibibytes > 0
    assert held.coming_milliseconds >= 0
    assert held.status_milliseconds > 0


def test_what_a_responder_keeps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark of memory would be worth nothing if it were not given back."""
    monkeypatch.setattr(many, "GONE_SECONDS", 0.0)
    monkeypatch.setattr(crowd.Crowd, "leave", lambda crowd: None)
    chart = many.held_chart([10], 0.1, 1, ["TCP"])
    (row,) = chart.rows
    assert row.name == "TCP, 10 IKE SAs"
    assert row.problem == (
        "all have left, and the responder keeps "
        "20 of ike_sas, 20 of child_sas, 20 of connections"
    )


def test_a_responder_that_does_not_start_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(crowd, "_HOST", "nonsense = true\n")
    with (
        pytest.raises(EnvironmentProblem, match="does not start"),
        crowd.host(tmp_path, is_tls=False),
    ):
        pass


def test_look_ups_find_what_they_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SIZES", (10, 200))
    spd, by_spi = tables(20)
    assert len(by_spi) == len(spd.children) == 20
    packet = crowd.inner_packet(crowd.TARGET, FIRST + 7, 40)
    assert spd.lookup(packet) is by_spi[(7).to_bytes(4, "big")]
    found = chart(rounds=2, times=5)
    assert [row.name for row in found.rows] == ["among 10", "among 200"]
    for row in found.rows:
        assert len(row.figures) == 2
        assert all(len(figures) == 2 for figures in row.further.values())


def test_the_command_writes_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(many, "WRAPPINGS", {"TCP": False})
    monkeypatch.setattr(lookups, "SIZES", (10,))
    file = tmp_path / "many.json"
    many.command(rounds=1, count=[10], idle=0.1, json_file=file)
    found = json.loads(file.read_text())
    assert found["benchmark"] == "many"
    assert [len(chart["rows"]) for chart in found["charts"]] == [1, 1]


# --- the start ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("--help",), ("responder", "--help")])
def test_help_imports_little(arguments: tuple[str, ...]) -> None:
    """What a command does is imported when it is run. Nothing here is timed."""
    imported = startup.imported_by(*arguments)
    assert "typer" in imported
    assert not HEAVY & {name.partition(".")[0] for name in imported}
    ours = {name for name in imported if name.partition(".")[0] == "iketcp"}
    assert ours <= {
        "iketcp",
        "iketcp.bench_command",
        "iketcp.cli",
        "iketcp.console",
        "iketcp.errors",
        "iketcp.registry",
        "iketcp.relay",
        "iketcp.relay.policy",
        "iketcp.relay_command",
        "iketcp.vectorlib",
        "iketcp.vectorlib.commands",
    }


def test_starts_are_measured() -> None:
    python, version, nonsense = startup.chart(2, [("--version",), ("--nonsense",)]).rows
    assert len(python.figures) == len(version.figures) == 2
    assert version.further["modules"][0] > 10
    assert nonsense.problem.startswith("--nonsense: ")


def test_a_start_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(EnvironmentProblem, match="timed out"):
        startup.run([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_start_writes_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(startup, "chart", lambda rounds: startup.Chart("", "ms", []))
    startup.command(rounds=1, json_file=tmp_path / "startup.json")
    assert json.loads((tmp_path / "startup.json").read_text())["charts"]


def test_a_peer_may_have_as_many_descriptors_as_the_system_allows(
    tmp_path: Path,
) -> None:
    """A thousand connections take two thousand; the usual limit is half of that."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    usual = min(1024, before[1] - 1)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, before[1]))
        with crowd.host(tmp_path, is_tls=False) as (responder, _):
            its = resource.prlimit(responder.process, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert its == (before[1], before[1])
