"""The director: starts everybody, hears everything, passes commands on.

Peers report by their traces, the workload by its reports; both come in through the one
loop, go to the narrator and are kept as evidence. Commands go the other way: to a
peer's control socket, to the workload's standard input. Every wait here has a limit,
and running into it fails the step.
"""

import contextlib
import json
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from iketcp.demo.children import Child, Children, Entrance
from iketcp.demo.evidence import Evidence
from iketcp.demo.loop import Loop
from iketcp.demo.narrator import Narrator, Story
from iketcp.demo.programme import StepFailed
from iketcp.demo.scenarios import SCENARIOS
from iketcp.demo.scenery import (
    EAST,
    LINK,
    RELAY,
    SITES,
    TRANSFER_PORT,
    WEST,
    Addresses,
    configuration,
    control_socket,
)
from iketcp.demo.stage import Namespaces, all_processes, place_of
from iketcp.demo.wrapping import Wrapping
from iketcp.errors import EnvironmentProblem
from iketcp.peers.control import ask

PATIENCE_SECONDS = 10.0
"""How long anything that takes milliseconds may take."""

RELAY_TELLS = {
    "port-opened": "UDP port {port} stands for TCP connection {connection}",
    "client-returned": "TCP connection {connection} has the ports of the one before",
}
"""What is told of a relay's events."""

ROLES = {WEST: "initiator", EAST: "responder"}
_MOST_COMPLAINTS = 20


class Director:
    """Runs the processes of one demonstration; a context manager.

    Parameters
    ----------
    folder : Path
        For configurations, the secret and control sockets.
    namespaces : Namespaces or None
        The stage; None where everybody stays in the namespace we are in.
    narrator : Narrator
        Who tells what the peers report.
    keys : Path or None
        Folder for Wireshark's key files; None: no keys are written.
    """

    def __init__(
        self,
        folder: Path,
        namespaces: Namespaces | None,
        narrator: Narrator,
        keys: Path | None = None,
    ) -> None:
        self.folder = folder
        self.scenario = SCENARIOS["psk"]
        self.wrapping = Wrapping()
        self.addresses = Addresses()
        self.narrator = narrator
        self.evidence = Evidence()
        self.children = Children()
        self.peers: dict[str, Child] = {}
        self.reports: dict[str, list[Mapping[str, Any]]] = {}
        self.on_report: Callable[[Mapping[str, Any]], None] = lambda report: None
        self._namespaces = namespaces
        self._keys = keys
        self._story = Story()
        self.workers: dict[str, Child] = {}
        self._complaints: dict[str, deque[str]] = {}
        self.loop = Loop(self._tell_what_is_due)

    def configuration(
        self, site: str, mode: str = "device", addresses: Addresses | None = None
    ) -> str:
        """Write the configuration file of a site, as scenario and wrapping want it."""
        where = self.wrapping.seen_from(site, addresses or self.addresses)
        scenario = self.scenario
        return configuration(
            site,
            self.folder,
            mode,
            where,
            scenario.local.get(site, ""),
            scenario.remote.get(site, ""),
            scenario.tables.get(site, "") + self.wrapping.tables(site, where),
            scenario.further,
        )

    def __enter__(self) -> "Director":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every child in order and tell what they said on the way."""
        self.children.close(self.loop.pump)
        self.settle()
        self.loop.close()

    def processes_inside(self) -> list[int]:
        """Return the ids of processes that are in one of the sites' namespaces."""
        if self._namespaces is None:
            return []
        places = {self._namespaces.identity(site) for site in SITES}
        return [number for number in all_processes() if place_of(number) in places]

    # --- who plays ---------------------------------------------------------------

    def start_sites(self) -> None:
        """Start the workload of both sites, and then the peers, responder first.

        Raises
        ------
        StepFailed
            One of them does not come up.
        """
        for site in SITES:
            self.start_worker(site, site, "command")
        self.start_worker("receiver", EAST, "receive", "0.0.0.0", str(TRANSFER_PORT))
        self.start_peer(EAST)
        self.wait_report("receiver", "listening")
        self.wait(
            lambda: self.evidence.of(EAST, "tunnel-device"),
            "east's peer does not come up",
        )
        self.start_between()
        self.start_peer(WEST)

    def start_between(self) -> None:
        """Start what is between the peers, if anything is to be.

        Raises
        ------
        StepFailed
            It does not come up.
        """
        if self.wrapping.has_relay:
            self._start_relay()
        if self.wrapping.has_proxy:
            self._start_proxy()

    def _start_relay(self) -> None:
        """Start the relay, in the east."""
        options = self.wrapping.relay_options(self.addresses)
        relay = self._start(RELAY, "iketcp", options, EAST)
        self.evidence.gate = RELAY
        self.loop.watch(relay.output(), self._hear_relay)
        self.wait(
            lambda: self.evidence.of(RELAY, "listening"), "the relay does not come up"
        )

    def _hear_relay(self, line: bytes) -> None:
        event = parse_line(line)
        if "kind" not in event:
            return
        self.evidence.add(RELAY, event)
        told = RELAY_TELLS.get(event["kind"])
        if told is not None:
            self.narrator.say(time.monotonic(), told.format(**event), RELAY)

    def _start_proxy(self) -> None:
        """Start the web proxy, in the west."""
        where = self.addresses
        arguments = [where.proxy, str(where.proxy_port)]
        proxy = self._start("proxy", "iketcp.demo.web_proxy", arguments, WEST)
        self.workers["proxy"] = proxy
        self.reports["proxy"] = []
        self.evidence.is_direct = False
        self.loop.watch(proxy.output(), self._hear_proxy)
        self.wait_report("proxy", "listening")

    def _hear_proxy(self, line: bytes) -> None:
        report = parse_line(line)
        self.hear_report("proxy", line)
        if report.get("kind") == "asked":
            self.narrator.say(time.monotonic(), str(report["text"]), "proxy")

    def start_peer(self, site: str) -> None:
        """Start a site's peer with a configuration of its own."""
        path = self.folder / f"{site}.toml"
        path.write_text(self.configuration(site))
        arguments = [ROLES[site], "-c", str(path), "--trace", "-"]
        if self._keys is not None and site == WEST:
            arguments += ["--insecure-keylog", str(self._keys)]
        child = self._start(f"{site}'s peer", "iketcp", arguments, site)
        self.loop.watch(child.output(), partial(self.hear_trace, site))
        self.peers[site] = child

    def start_worker(self, name: str, site: str, *arguments: str) -> Child:
        """Start a user of the tunnel; its reports gather under its name."""
        child = self._start(name, "iketcp.demo.workload", list(arguments), site)
        self._listen_to(name, child)
        return child

    def start_wire(self, file: int) -> None:
        """Start capturing on the western end of the wire into an open file."""
        arguments = [LINK[WEST], str(file)]
        child = self._start("wire", "iketcp.demo.wire", arguments, WEST, [file])
        self._listen_to("wire", child)

    def stop_wire(self) -> Mapping[str, Any]:
        """End the capture; return its report with the counts."""
        self.workers["wire"].signal(signal.SIGTERM)
        return self.wait_report("wire", "captured")

    def _listen_to(self, name: str, child: Child) -> None:
        self.workers[name] = child
        self.reports[name] = []
        self.loop.watch(child.output(), partial(self.hear_report, name))

    def _start(
        self,
        name: str,
        module: str,
        arguments: list[str],
        site: str,
        pass_fds: list[int] | None = None,
    ) -> Child:
        entrance = None
        if self._namespaces is not None:
            entrance = self._namespaces.entrance(site)
        return self.start_child(name, module, arguments, entrance, pass_fds)

    def start_child(
        self,
        name: str,
        module: str,
        arguments: list[str],
        entrance: Entrance | None,
        pass_fds: list[int] | None = None,
    ) -> Child:
        """Start a process and keep the last lines of what it complains about."""
        child = self.children.start(name, module, arguments, entrance, pass_fds or ())
        self._complaints[name] = deque(maxlen=_MOST_COMPLAINTS)
        self.loop.watch(child.errors(), partial(self._hear_complaint, name))
        return child

    # --- what they say -----------------------------------------------------------

    def hear_trace(self, site: str, line: bytes) -> None:
        """Take a line of a peer's trace."""
        event = parse_line(line)
        if "kind" in event:
            self.evidence.add(site, event)
            self._story.add(site, event)

    def hear_report(self, name: str, line: bytes) -> None:
        """Take a line of a worker's reports."""
        report = parse_line(line)
        if "kind" in report:
            self.reports[name].append(report)
            self.on_report(report)

    def _hear_complaint(self, name: str, line: bytes) -> None:
        self._complaints[name].append(line.decode("utf-8", "replace"))

    def _tell_what_is_due(self) -> None:
        self.narrator.tell(self._story.due(time.monotonic()))

    def settle(self) -> None:
        """Tell everything that has been heard, the last few milliseconds included."""
        self.narrator.tell(self._story.due(float("inf")))

    def complaints(self) -> list[str]:
        """What children wrote to standard error lately, each line with its writer."""
        return [
            f"{name}: {line}"
            for name, lines in self._complaints.items()
            for line in lines
        ]

    # --- waiting -----------------------------------------------------------------

    def wait(
        self,
        condition: Callable[[], object],
        missing: str,
        seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Wait until something holds.

        Raises
        ------
        StepFailed
            It does not in time, or a peer ended meanwhile; ``missing`` says what it is
            that was awaited.
        """
        before = self._ended()

        def is_over() -> bool:
            return bool(condition()) or bool(self._ended() - before)

        self.loop.wait_until(is_over, seconds)
        # What a peer said before it ended may still be on its way.
        while not condition() and self.loop.pump(0.0):
            pass
        if not condition():
            for site in self._ended() - before:
                status = self.peers[site].status
                raise StepFailed(f"{missing}; {site}'s peer ended with {status}")
            raise StepFailed(f"{missing} (within {seconds:.0f} s)")

    def _ended(self) -> set[str]:
        return {site for site in self.peers if self.peers[site].status is not None}

    def wait_report(
        self, name: str, kind: str, after: int = 0, seconds: float = PATIENCE_SECONDS
    ) -> Mapping[str, Any]:
        """Wait for a worker's report of a kind, from its ``after``-th report on.

        Raises
        ------
        StepFailed
            It does not come in time, or the worker reports a failure.
        """

        def found() -> Mapping[str, Any] | None:
            for report in self.reports[name][after:]:
                if report["kind"] in (kind, "failed"):
                    return report
            return None

        self.wait(
            lambda: found() or self.workers[name].status is not None,
            f"{name} does not report {kind}",
            seconds,
        )
        report = found()
        if report is None:
            raise StepFailed(f"{name} ended before it was {kind}")
        if report["kind"] == "failed":
            raise StepFailed(f"{name}: {report['reason']}")
        return report

    # --- commands ----------------------------------------------------------------

    def command(self, name: str, command: str, **fields: object) -> int:
        """Give a worker a command; return the number of its reports so far."""
        self.workers[name].say({"command": command, **fields})
        return len(self.reports[name])

    def ask(self, site: str, command: str, **fields: object) -> dict[str, Any]:
        """Give a peer a command over its control socket and return the answer.

        Raises
        ------
        StepFailed
            Nobody answers, or the answer is an error.
        """
        path = control_socket(site, self.folder)
        try:
            answer: dict[str, Any] = ask(path, {"command": command, **fields})
        except EnvironmentProblem as problem:
            raise StepFailed(f"{site}'s peer: {problem}") from problem
        if "error" in answer:
            raise StepFailed(f"{site}'s peer: {answer['error']}")
        return answer

    def devices(self, site: str) -> dict[str, Any]:
        """Ask a site's namespace itself what devices it has.

        Raises
        ------
        StepFailed
            Its worker does not answer.
        """
        after = self.command(site, "devices")
        devices: dict[str, Any] = self.wait_report(site, "devices", after)["devices"]
        return devices

    def counters(self, site: str) -> dict[str, Mapping[str, Any]]:
        """Return the counters of a peer's Child SAs by inbound SPI."""
        children = self.ask(site, "status")["child_sas"]
        return {child["spi_in"]: child for child in children}

    def say(self, text: str, who: str = "", style: str = "") -> None:
        """Add a remark to the story, behind everything heard so far."""
        self.settle()
        self.narrator.say(time.monotonic(), text, who, style)


def parse_line(line: bytes) -> Mapping[str, Any]:
    """Parse one JSON object; what is none becomes an empty one."""
    with contextlib.suppress(ValueError):
        value = json.loads(line)
        if isinstance(value, dict):
            return value
    return {}
