"""The stage of the demonstration: namespaces, the wire, and what runs there."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from iketcp.capture.pcapng import PcapngWriter, read_packets
from iketcp.config import load
from iketcp.config.psk import new_psk
from iketcp.demo import linux
from iketcp.demo.children import Child, Children
from iketcp.demo.director import Director
from iketcp.demo.echo import is_reply, ping, request
from iketcp.demo.loop import Loop
from iketcp.demo.narrator import Narrator
from iketcp.demo.scenarios import SCENARIOS, Scenario
from iketcp.demo.scenery import (
    EAST,
    LINK,
    LINK_MTU,
    OUTER,
    SITES,
    WEST,
    control_socket,
)
from iketcp.demo.stage import (
    Namespaces,
    Privilege,
    all_processes,
    make_namespaces,
    place_of,
)
from iketcp.demo.wire import Wire
from iketcp.errors import EnvironmentProblem
from iketcp.inner import checksum
from namespaces import in_namespace, namespace_obstacle, require_or_skip, tun_obstacle

LONG = 30.0
EAST4, EAST6 = (interface.partition("/")[0] for interface in OUTER[EAST])


class Company:
    """Children on a stage, and what they have reported."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.children = Children()
        self.loop = Loop()
        self.reports: list[dict[str, Any]] = []

    def start(self, module: str, site: str, *arguments: str, fd: int = -1) -> Child:
        fds = [fd] if fd >= 0 else []
        entrance = self.namespaces.entrance(site)
        child = self.children.start(module, module, arguments, entrance, fds)
        self.loop.watch(child.output(), self._hear)
        return child

    def _hear(self, line: bytes) -> None:
        self.reports.append(json.loads(line))

    def report(self, kind: str, number: int = 1) -> dict[str, Any]:
        """Wait for the ``number``-th report of a kind."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.reports if each["kind"] == kind]

        assert self.loop.wait_until(lambda: len(found()) >= number, LONG), self.reports
        return found()[number - 1]

    def close(self) -> None:
        self.children.close(self.loop.pump)
        self.loop.close()


@pytest.fixture(params=["root", "user"])
def company(request: pytest.FixtureRequest) -> Iterator[Company]:
    privilege: Privilege = request.param
    require_or_skip(not tun_obstacle(), tun_obstacle())
    if privilege == "root":
        require_or_skip(
            os.geteuid() == 0, "only root makes namespaces without a user's"
        )
    with make_namespaces(privilege) as namespaces:
        company = Company(namespaces)
        yield company
        company.close()
        places = {namespaces.identity(site) for site in SITES}
        left = [each for each in all_processes() if place_of(each) in places]
        assert not left, "processes are left on the stage"


def test_sites_are_apart(company: Company) -> None:
    """Three namespaces: west's, east's and ours, and a wire with its addresses."""
    namespaces = company.namespaces
    places = {namespaces.identity(site) for site in SITES}
    assert len(places | {place_of(os.getpid())}) == 3
    for number, site in enumerate(SITES, 1):
        company.start("iketcp.demo.workload", site, "command").say(
            {"command": "devices"}
        )
        devices = company.report("devices", number)["devices"]
        addresses = [interface.partition("/")[0] for interface in OUTER[site]]
        assert devices[LINK[site]] == {"mtu": LINK_MTU, "addresses": addresses}
        assert set(devices) == {"lo", LINK[site]}


def test_the_machine_sees_no_device(company: Company) -> None:
    """Nothing of the stage appears in our own namespace."""
    assert set(SITES) == {WEST, EAST}
    names = Path("/proc/net/dev").read_text()
    assert not any(name in names for name in LINK.values())


def test_workers_ping_and_send(company: Company) -> None:
    """The workload does its work over any network, also without a tunnel."""
    company.start("iketcp.demo.workload", EAST, "receive", "0.0.0.0", "9329")
    company.report("listening")
    west = company.start("iketcp.demo.workload", WEST, "command")
    for target in (EAST4, EAST6):
        west.say({"command": "ping", "target": target, "count": 2})
    assert all(company.report("pong", at)["seconds"] > 0 for at in range(1, 5))
    west.say({"command": "prepare", "octets": 3_000_000})
    west.say({"command": "send", "target": EAST4, "port": 9329, "octets": 2_500_000})
    received, sending = company.report("received"), company.report("sending")
    assert received["octets"] == sending["octets"] == 2_500_000
    assert received["sha256"] == sending["sha256"]
    company.report("sent")


def test_workers_report_what_fails(company: Company) -> None:
    """No receiver, no route: a report, and the worker goes on."""
    west = company.start("iketcp.demo.workload", WEST, "command")
    west.say({"command": "send", "target": EAST4, "port": 9, "octets": 1})
    assert "refused" in company.report("failed")["reason"]
    west.say({"command": "ping", "target": "203.0.113.1", "count": 1})
    assert "unreachable" in company.report("failed", 2)["reason"]


def test_the_wire_is_captured_whole(company: Company, tmp_path: Path) -> None:
    """Every ping is in the file, both ways, and none is missed."""
    path = tmp_path / "wire.pcapng"
    with path.open("wb", buffering=0) as file:
        fd = file.fileno()
        wire = company.start("iketcp.demo.wire", WEST, LINK[WEST], str(fd), fd=fd)
        company.report("capturing")
        west = company.start("iketcp.demo.workload", WEST, "command")
        west.say({"command": "ping", "target": EAST4, "count": 20})
        company.report("pong", 20)
        wire.signal(15)
        counts = company.report("captured")
    with path.open("rb") as stream:
        packets = list(read_packets(stream))
    assert counts["dropped"] == 0
    assert counts["packets"] == len(packets)
    times = [packet.nanoseconds for packet in packets]
    assert times == sorted(times)
    kinds = [p.octets[34] for p in packets if p.octets[23] == 1]
    assert (kinds.count(8), kinds.count(0)) == (20, 20)


@pytest.mark.parametrize("module", ["stage", "inside"])
def test_who_changes_namespaces_has_one_thread(module: str) -> None:
    """A process with more may make no user namespace, nor enter one."""
    count = (
        f"import os, iketcp.demo.{module}; print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", count], check=True, capture_output=True, text=True
    )
    assert done.stdout == "1\n"


def test_what_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that fails gives its reason, in a sentence."""
    require_or_skip(not namespace_obstacle(), namespace_obstacle())
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr("iketcp.demo.stage.python_command", _failing_command)
    with pytest.raises(EnvironmentProblem, match="helper process failed"):
        make_namespaces("user")


def _failing_command(module: str) -> tuple[list[str], dict[str, str]]:
    return ["false", module], dict(os.environ)


@in_namespace
def test_a_ring_that_is_full_counts_what_it_drops() -> None:
    """A capture never claims to be whole when it is not."""
    from pyroute2 import IPRoute  # noqa: PLC0415

    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")
    with Wire("lo", blocks=2) as wire:
        for sequence in range(3):
            assert ping("127.0.0.1", sequence) is not None
        stream = io.BytesIO()
        writer = PcapngWriter(stream)
        number = writer.add_interface("lo")
        while not wire.drain(writer, number):
            continue
        assert wire.statistics().dropped == 0
        _flood(5000)
        assert wire.statistics().dropped > 0


def _flood(count: int) -> None:
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(bytes(1400), ("127.0.0.1", 9))


def test_a_namespace_cannot_be_entered_as_another_kind() -> None:
    """The kernel's refusal becomes an OSError with its words."""
    descriptor = linux.open_user_namespace()
    with pytest.raises(OSError, match="Invalid argument"):
        linux.enter(descriptor, linux.CLONE_NEWNET)
    os.close(descriptor)


# --- echo -------------------------------------------------------------------------


def test_an_echo_request_has_its_checksum() -> None:
    """The sum over the message is zero; ICMPv6's is the kernel's business."""
    assert checksum(request(4, 1, 2, b"data")) == 0
    assert request(6, 1, 2, b"data")[:4] == b"\x80\0\0\0"


@pytest.mark.parametrize(
    ("message", "is_ours"),
    [
        (b"\0\0\0\0\0\1\0\2data", True),
        (b"\x08\0\0\0\0\1\0\2data", False),
        (b"\0\0\0\0\0\1\0\3data", False),
        (b"\0\0\0\0\0\1\0\2dat", False),
        (b"\0\0", False),
    ],
)
def test_our_reply_is_told_from_others(message: bytes, is_ours: bool) -> None:
    """Type, identifier, sequence and data have to be ours."""
    assert is_reply(4, message, 1, 2, b"data") is is_ours


# --- scenery ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["device", "memory"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_configurations_are_right(
    mode: str, scenario: Scenario, tmp_path: Path
) -> None:
    """Both files are what the peers take, without a word of warning."""
    secret = tmp_path / "psk"
    secret.touch(mode=0o600)
    secret.write_text(new_psk())
    scenario.prepare(tmp_path)
    director = Director(tmp_path, None, Narrator(Console(), 0.0))
    director.scenario = scenario
    for site in SITES:
        (tmp_path / f"{site}.toml").write_text(director.configuration(site, mode))
    west = load(tmp_path / "west.toml", "initiator")
    east = load(tmp_path / "east.toml", "responder")
    assert (west.ike.eap_peer is None) == (east.ike.eap_authenticator is None)
    assert west.remote.identity == east.local.identity
    assert (west.remote.address, west.remote.port) == (
        east.local.address,
        east.local.port,
    )
    assert west.tun.mode == east.tun.mode == mode
    assert west.control.socket == control_socket(WEST, tmp_path)
    assert not west.warnings + east.warnings
