"""What goes through a contender: a ping until one comes back, then ``iperf3``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from iketcp.bench.programs import Program, require_program, running
from iketcp.demo.scenery import EAST, LINK, OUTER, WEST
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem

UP_SECONDS = 40.0
"""A tunnel that does not answer a ping for so long has failed."""

CONGESTION_CONTROL = "cubic"
"""The same for iperf3's connections and for those that carry tunnels."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What iperf3 sent: octets that arrived, and how many bits of them in a second."""

    octets: int
    bits_per_second: float


def steer_congestion(namespaces: Namespaces) -> None:
    """Let TCP between the sites' outer addresses (IPv4) be controlled in the same way.

    The route says it, for whatever program makes the connection.

    Raises
    ------
    EnvironmentProblem
        The machine does not have it.
    """
    command = [require_program("ip", "iproute2"), "route", "replace"]
    for site, (interface, *_) in OUTER.items():
        route = [str(ip_interface(interface).network), "dev", LINK[site]]
        route += ["proto", "kernel", "src", interface.partition("/")[0]]
        route += ["scope", "link", "congctl", CONGESTION_CONTROL]
        replace = Program(namespaces, site, [*command, *route])
        with running([replace]):
            replace.output(UP_SECONDS)


def wait_until_up(
    namespaces: Namespaces, address: str, programs: Sequence[Program]
) -> None:
    """Wait until a ping from the west to the east is answered.

    Raises
    ------
    EnvironmentProblem
        It is not, or one of the programs between has ended.
    """
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


def send(
    namespaces: Namespaces, address: str, seconds: int, streams: int, is_back: bool
) -> Flow:
    """Send as much as goes, from west to east, or back.

    Raises
    ------
    EnvironmentProblem
        The load does not run.
    """
    iperf3 = require_program("iperf3", "iperf3")
    server = Program(namespaces, EAST, [iperf3, "-s", "-1", "-B", address])
    command = [iperf3, "-c", address, "-t", str(seconds), "-P", str(streams), "-J"]
    command += ["-C", CONGESTION_CONTROL, "--connect-timeout", "1000"]
    command += ["-R"] if is_back else []
    deadline = time.monotonic() + UP_SECONDS
    with running([server]):
        while True:
            client = Program(namespaces, WEST, command)
            with running([client]):
                report = json.loads(client.output(seconds + UP_SECONDS))
            if "error" not in report:
                return parse_flow(report)
            # the server may not listen yet
            if time.monotonic() > deadline or server.process.poll() is not None:
                raise EnvironmentProblem(f"iperf3: {report['error']}")


def parse_flow(report: dict[str, Any]) -> Flow:
    """Read what iperf3 reports.

    Raises
    ------
    EnvironmentProblem
        Its connections were controlled in another way, or nothing arrived.
    """
    end = report["end"]
    control = end.get("sender_tcp_congestion")
    if control != CONGESTION_CONTROL:
        raise EnvironmentProblem(f"iperf3 sent with {control}")
    received = end["sum_received"]
    if not received["bytes"]:
        raise EnvironmentProblem("nothing arrives")
    return Flow(int(received["bytes"]), float(received["bits_per_second"]))


__all__ = [
    "CONGESTION_CONTROL",
    "Flow",
    "parse_flow",
    "send",
    "steer_congestion",
    "wait_until_up",
]
