"""A responder that many initiators come to, and stay with.

The responder is a process of its own, as ``iketcp responder`` runs it, with a tunnel
device in memory; everything goes over the loopback device, and needs no privilege. The
initiators are endpoints with bare sockets in this process. Each has an identity of its
own, and gets an address from the responder's pool.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from iketcp.bench.handshake_load import UP_SECONDS, come, initiator, leave
from iketcp.bench.processor_time import seconds_of
from iketcp.config import Configuration, load
from iketcp.config.issuing import write_tls_files
from iketcp.config.secret_files import make_secret_file
from iketcp.endpoint import Endpoint
from iketcp.errors import EnvironmentProblem
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.identity import Identity
from iketcp.peers.control import ask

HERE = "127.0.0.1"
TARGET = IPv4Address("10.1.0.1")
"""Whom guests send packets to."""

STATUS_SECONDS = 30.0
"""An answer to a question about very many takes a while."""

_HOST = """\
[local]
identity = "@host.example"
psk_file = "psk"
address = "127.0.0.1"
port = {port}
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
[[child]]
name = "net"
local_ts = ["10.1.0.0/16"]
remote_ts = ["10.64.0.0/10"]
proposals = ["aes256gcm16"]
assigned = true
[pool]
networks = ["10.64.0.0/10"]
[tun]
mode = "memory"
[control]
socket = "control"
[log]
level = "warning"
"""

_GUEST = """\
[local]
identity = "@guest.example"
psk_file = "psk"
[remote]
identity = "@host.example"
address = "127.0.0.1"
port = {port}
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
request_addresses = ["ipv4"]
[[child]]
name = "net"
remote_ts = ["10.1.0.0/16"]
proposals = ["aes256gcm16"]
assigned = true
[tun]
mode = "memory"
[control]
socket = "none"
"""

_TLS_HOST = """\
[tls]
port = {tls_port}
certificate = "tls/server.pem"
private_key = "tls/server.key"
"""

_TLS_GUEST = """\
[tls]
port = {tls_port}
ca = "tls/ca.pem"
"""


class Host:
    """The responder's process, looked at from outside."""

    def __init__(self, process: int, control: Path) -> None:
        self.process = process
        self._control = control

    def status(self) -> dict[str, Any]:
        """Ask it as ``iketcp status`` does.

        Raises
        ------
        EnvironmentProblem
            It does not answer.
        """
        answer = ask(self._control, {"command": "status"}, STATUS_SECONDS)
        assert isinstance(answer, dict)  # invariant: our own peer's
        return answer

    def memory(self) -> int:
        """Octets that are resident."""
        text = Path(f"/proc/{self.process}/smaps_rollup").read_text("utf-8")
        found = re.search(r"^Rss: +(\d+) kB", text, re.M)
        assert found is not None  # invariant: Linux says it
        return int(found[1]) << 10

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process}/task"))

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process}/fd"))

    def cpu_seconds(self) -> float:
        """Processor time that it has taken so far."""
        return seconds_of(self.process)


@contextlib.contextmanager
def host(folder: Path, is_tls: bool) -> Iterator[tuple[Host, Configuration]]:
    """Run a responder; gives it, and the configuration of those who come to it.

    Parameters
    ----------
    folder : Path
        For its files; empty.

    Raises
    ------
    EnvironmentProblem
        It does not start.
    """
    port, tls_port = _free_ports(2)
    _write(folder, port, tls_port, is_tls)
    command = [sys.executable, "-m", "iketcp", "responder", "-c", "host.toml"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, stderr=log)
    try:
        found = Host(running.pid, folder / "control")
        _wait_until_up(running, tls_port if is_tls else port)
        yield found, load(folder / "guest.toml", "initiator")
    finally:
        running.kill()
        running.wait()


def _write(folder: Path, port: int, tls_port: int, is_tls: bool) -> None:
    make_secret_file(folder / "psk", b"a secret of a benchmark, 32 octets\n")
    if is_tls:
        write_tls_files(folder / "tls", [HERE])
    for name, text, tls in (
        ("host.toml", _HOST, _TLS_HOST),
        ("guest.toml", _GUEST, _TLS_GUEST),
    ):
        whole = text + tls if is_tls else text
        (folder / name).write_text(whole.format(port=port, tls_port=tls_port))


def _wait_until_up(running: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while running.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HERE, port)) == 0:
                return
        time.sleep(0.05)
    raise EnvironmentProblem("the responder does not start")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody used a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HERE, 0))
        return [each.getsockname()[1] for each in sockets]


class Crowd(contextlib.ExitStack):
    """Initiators that have come; their sockets are closed when the block ends.

    Parameters
    ----------
    configuration : Configuration
        An initiator's; each has an identity of its own instead of the one in it.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self._configuration = configuration
        self._guests: list[Guest] = []

    def grow(self, count: int, octets: int) -> None:
        """Have more come, one after the other, until there are so many.

        Parameters
        ----------
        octets : int
            Size of the inner packet that each sends, at least 20.

        Raises
        ------
        EnvironmentProblem
            The responder does not let one in.
        """
        while len(self._guests) < count:
            name = Identity.parse(f"guest{len(self._guests)}.example")
            policy = replace(self._configuration.ike, local_identity=name)
            guest = Guest(replace(self._configuration, ike=policy))
            self.callback(guest.way.close)
            try:
                come(guest.endpoint, guest.way)
                guest.send(octets)
            except OSError as error:
                raise EnvironmentProblem(f"no answer: {error.strerror}") from error
            self._guests.append(guest)

    def leave(self) -> None:
        """Have each delete its IKE SA, and close its connection."""
        for guest in self._guests:
            leave(guest.endpoint, guest.way)
        self._guests.clear()


class Guest:
    """One initiator: an endpoint, and its way to the responder."""

    def __init__(self, configuration: Configuration) -> None:
        self.endpoint: Endpoint
        self.endpoint, self.way = initiator(configuration)

    def send(self, octets: int) -> None:
        """Send an inner packet, and ask whether the responder lives.

        The answer to the question tells that the packet, which was before it in the
        stream, has come.

        Raises
        ------
        EnvironmentProblem
            There is no answer.
        """
        endpoint, way = self.endpoint, self.way
        (live,) = endpoint.tables.children.values()
        source = IPv4Address(live.esp.parameters.local_ts[0].start_address.packed)
        way.execute(endpoint.inner_packets([inner_packet(source, TARGET, octets)]))
        ((sa, _),) = endpoint.tables.ike_sas.values()
        sa.want(CheckLiveness())
        way.execute(endpoint.time_passed(time.monotonic()))
        while sa.sent is not None:
            if not way.receive(endpoint):
                raise EnvironmentProblem("the responder does not answer")


def inner_packet(source: IPv4Address, destination: IPv4Address, octets: int) -> bytes:
    """Make an IPv4 packet of a protocol that has no ports; its checksum is left out."""
    head = b"\x45\0" + octets.to_bytes(2, "big") + b"\0\0\x40\0\x40\xfd\0\0"
    return (head + source.packed + destination.packed).ljust(octets, b"\0")


__all__ = ["TARGET", "Crowd", "Guest", "Host", "host", "inner_packet"]
