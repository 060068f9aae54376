"""Throughput of one or more TCP streams, by ``iperf3``.

A round measures every contender once. Reported are the median of the rounds, their
smallest and largest figure, and the processor time of the two tunnel programs for each
gigabit that went through.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from iketcp.bench.contenders import Contender, Iketcp, OpenVpn, Wire
from iketcp.bench.options import ROUNDS, JsonFile, Rounds
from iketcp.bench.programs import Program, require_program, running
from iketcp.bench.report import Chart, Row, deliver
from iketcp.demo.scenery import EAST, WEST
from iketcp.demo.stage import Namespaces, make_namespaces
from iketcp.errors import EnvironmentProblem

UP_SECONDS = 20.0
"""A tunnel that does not answer a ping for so long has failed."""

CONGESTION_CONTROL = "cubic"
"""The same for all of iperf3's own connections."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender in one round."""

    megabits_per_second: float
    cpu_seconds_per_gigabit: float


@dataclass(slots=True)
class Result:
    """One contender in all rounds."""

    name: str
    measurements: list[Measurement] = field(default_factory=list)
    problem: str = ""
    """Why it could not be measured; empty if it was."""

    def row(self) -> Row:
        """Return it as a row of a chart."""
        rates = [each.megabits_per_second for each in self.measurements]
        cpu = [each.cpu_seconds_per_gigabit for each in self.measurements]
        return Row(self.name, rates, {"CPU s/Gbit": cpu}, self.problem)


def command(
    rounds: Rounds = ROUNDS,
    seconds: Annotated[int, typer.Option(min=1, help="For so long each.")] = 5,
    streams: Annotated[int, typer.Option(min=1, help="TCP connections at once.")] = 1,
    mtu: Annotated[int, typer.Option(help="MTU of the tunnels.")] = 1400,
    json_file: JsonFile = None,
) -> None:
    """Throughput of TCP with and without tunnels."""
    contenders: list[Contender] = [
        Wire(),
        Iketcp("iketcp", mtu),
        Iketcp("iketcp, ChaCha20", mtu, esp="chacha20poly1305-x25519-noesn"),
        Iketcp("iketcp, TLS", mtu, is_tls=True),
        Iketcp("iketcp, no offloads", mtu, has_offloads=False),
        OpenVpn("OpenVPN", mtu),
    ]
    results = measure_all(
        contenders, rounds, seconds, streams, lambda text: typer.echo(text, err=True)
    )
    title = f"TCP streams: {streams}; MTU {mtu}; rounds: {rounds}"
    chart = Chart(title, "Mbit/s", [each.row() for each in results], "OpenVPN")
    settings = {"rounds": rounds, "seconds": seconds, "streams": streams, "mtu": mtu}
    deliver("throughput", [chart], json_file, settings)


def measure_all(
    contenders: Sequence[Contender],
    rounds: int,
    seconds: int,
    streams: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Measure all contenders side by side.

    Parameters
    ----------
    contenders : sequence of Contender
        In the order of the table.
    rounds : int
        How often each is measured.
    seconds : float
        Length of each measurement, at least 1.
    streams : int
        TCP connections through the tunnel at once.
    say : Callable
        Hears of each figure as it comes.

    Raises
    ------
    EnvironmentProblem
        No namespaces can be made here, or there is no iperf3.
    """
    require_program("iperf3", "iperf3")
    results = [Result(contender.name) for contender in contenders]
    for _ in range(rounds):
        for contender, result in zip(contenders, results, strict=True):
            if result.problem:
                continue
            try:
                measurement = measure(contender, seconds, streams)
            except EnvironmentProblem as error:
                result.problem = str(error)
                say(f"{contender.name}: {error}")
            else:
                result.measurements.append(measurement)
                say(f"{contender.name}: {measurement.megabits_per_second:.0f} Mbit/s")
    return results


def measure(contender: Contender, seconds: int, streams: int) -> Measurement:
    """Bring one contender up and send through it.

    Raises
    ------
    EnvironmentProblem
        It does not come up, or the load does not run.
    """
    with (
        make_namespaces("root") as namespaces,
        tempfile.TemporaryDirectory(prefix="iketcp-bench-") as folder,
        contender.up(namespaces, Path(folder)) as (address, programs),
    ):
        _wait_until_up(namespaces, address, programs)
        before = sum(program.cpu_seconds() for program in programs)
        octets, rate = _load(namespaces, address, seconds, streams)
        cpu = sum(program.cpu_seconds() for program in programs) - before
        return Measurement(rate / 1e6, cpu / (octets * 8 / 1e9))


def _wait_until_up(
    namespaces: Namespaces, address: str, programs: Sequence[Program]
) -> None:
    command = [require_program("ping", "iputils-ping"), "-c1", "-W1", address]
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        if any(program.process.poll() is not None for program in programs):
            break
        once = Program(namespaces, WEST, command)
        with running([once]):
            if once.process.wait() == 0:
                return
    raise EnvironmentProblem("the tunnel does not come up")


def _load(
    namespaces: Namespaces, address: str, seconds: int, streams: int
) -> tuple[int, float]:
    """Send as much as goes; returns octets received, and bits per second."""
    iperf3 = require_program("iperf3", "iperf3")
    server = Program(namespaces, EAST, [iperf3, "-s", "-1", "-B", address])
    command = [iperf3, "-c", address, "-t", str(seconds), "-P", str(streams), "-J"]
    command += ["-C", CONGESTION_CONTROL, "--connect-timeout", "1000"]
    deadline = time.monotonic() + UP_SECONDS
    with running([server]):
        while True:
            client = Program(namespaces, WEST, command)
            with running([client]):
                report = json.loads(client.output(seconds + UP_SECONDS))
            if "error" not in report:
                received = report["end"]["sum_received"]
                return int(received["bytes"]), float(received["bits_per_second"])
            # the server may not listen yet
            if time.monotonic() > deadline or server.process.poll() is not None:
                raise EnvironmentProblem(f"iperf3: {report['error']}")


__all__ = ["Measurement", "Result", "measure", "measure_all"]
