"""Peers for tests: loopback sockets with ephemeral ports, tunnels in memory."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from iketcp.config import Configuration, ProxyConfig, Role, TlsConfig, parse
from iketcp.environment import Clock
from iketcp.net.tun import MemoryTun
from iketcp.peers import Initiator, Peer, Responder
from iketcp.peers.sinks import KeyLog
from pair import ipv4_packet

PATIENCE_SECONDS = 20.0
"""How long anything may take before a test fails; nothing waits that long."""

PR_SET_PDEATHSIG = 1

PSK_VARIABLE = "IKETCP_TEST_PSK"
SECRET = "a secret of more than sixteen octets"

LOOPBACK = {4: "127.0.0.1", 6: "::1"}

INITIATOR = """\
[local]
identity = "@{identity}"
psk_env = "IKETCP_TEST_PSK"
[remote]
address = "{address}"
port = {port}
identity = "@gw.example"
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
{ike}
[[child]]
name = "net"
local_ts = ["10.0.1.0/24"]
remote_ts = ["10.0.2.0/24"]
{child}
[transport]
{transport}
[tun]
mode = "memory"
[control]
socket = "{control}"
"""

RESPONDER = """\
[local]
identity = "@gw.example"
psk_env = "IKETCP_TEST_PSK"
address = "{address}"
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
{ike}
[[child]]
name = "net"
local_ts = ["10.0.2.0/24"]
remote_ts = ["10.0.1.0/24"]
{child}
[transport]
{transport}
[tun]
mode = "memory"
[control]
socket = "{control}"
{more}
"""


def initiator_configuration(
    port: int,
    address: str = LOOPBACK[4],
    *,
    identity: str = "laptop.example",
    ike: str = "",
    child: str = "",
    transport: str = "",
    control: str = "none",
    secret: str = SECRET,
) -> Configuration:
    """Read a configuration for an initiator with a tunnel in memory."""
    text = INITIATOR.format(
        identity=identity,
        address=address,
        port=port,
        ike=ike,
        child=child,
        transport=transport,
        control=control,
    )
    return _parse(text, "initiator", secret)


def responder_configuration(
    address: str = LOOPBACK[4],
    *,
    port: int = 0,
    ike: str = "",
    child: str = "",
    transport: str = "",
    control: str = "none",
    more: str = "",
    secret: str = SECRET,
) -> Configuration:
    """Read a configuration for a responder on ``port``, or any free one."""
    text = RESPONDER.format(
        address=address,
        ike=ike,
        child=child,
        transport=transport,
        control=control,
        more=more,
    )
    configuration = _parse(text, "responder", secret)
    return replace(configuration, local=replace(configuration.local, port=port))


def _parse(text: str, role: Role, secret: str) -> Configuration:
    with mock.patch.dict(os.environ, {PSK_VARIABLE: secret}):
        return parse(text, role, f"{role}.toml")


@dataclass
class Recorder:
    """A sink that a test can wait on."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, now: float, kind: str, fields: Mapping[str, object]) -> None:
        """Take an event."""
        with self.changed:
            self.events.append((kind, dict(fields)))
            self.changed.notify_all()

    def of(self, kind: str) -> list[dict[str, object]]:
        """All events of one kind so far."""
        with self.changed:
            return [fields for k, fields in self.events if k == kind]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, object]:
        """Wait for the ``count``-th event of a kind, and return it."""
        with self.changed:
            came = self.changed.wait_for(
                lambda: sum(k == kind for k, _ in self.events) >= count,
                PATIENCE_SECONDS,
            )
            kinds = [k for k, _ in self.events]
        assert came, f"no {kind} (number {count}) among {kinds}"
        return self.of(kind)[count - 1]


@dataclass
class Running:
    """A peer that runs, what it tells, and its tunnel."""

    peer: Any
    told: Recorder

    @property
    def tun(self) -> MemoryTun:
        """Its tunnel device."""
        device = self.peer.tunnel.device
        assert isinstance(device, MemoryTun)
        return device

    @property
    def spis(self) -> set[tuple[bytes, ...]]:
        """SPIs of its IKE SAs and Child SAs."""
        tables = self.peer.endpoint.tables
        ike = {(sa.spi_i, sa.spi_r) for sa, _ in list(tables.ike_sas.values())}
        children = {
            (c.esp.parameters.spi_in, c.esp.parameters.spi_out)
            for c in list(tables.children.values())
        }
        return ike | children

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        assert self.peer.wait_until(is_so, PATIENCE_SECONDS), self.told.events


class Peers(contextlib.ExitStack):
    """Starts peers, and stops whatever was started, last first."""

    def start(self, peer: Peer, told: Recorder) -> Running:
        """Start a peer."""
        self.callback(peer.stop)
        peer.start()
        return Running(peer, told)

    def responder(
        self,
        version: int = 4,
        clock: Clock | None = None,
        key_log: KeyLog | None = None,
        tls: TlsConfig | None = None,
        **options: Any,
    ) -> Running:
        """Start a responder."""
        told = Recorder()
        configuration = responder_configuration(LOOPBACK[version], **options)
        configuration = replace(configuration, tls=tls)
        return self.start(Responder(configuration, [told], key_log, clock=clock), told)

    def initiator(
        self,
        port: int,
        version: int = 4,
        key_log: KeyLog | None = None,
        tls: TlsConfig | None = None,
        proxy: ProxyConfig | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> Running:
        """Start an initiator."""
        told = Recorder()
        configuration = initiator_configuration(port, LOOPBACK[version], **options)
        configuration = replace(configuration, tls=tls, proxy=proxy)
        return self.start(Initiator(configuration, [told], key_log, clock=clock), told)

    def tunnel(
        self, version: int = 4, transport: str = "", **options: Any
    ) -> tuple[Running, Running]:
        """Start both, and wait for the tunnel: initiator, responder."""
        responder = self.responder(version, **options)
        port = responder.peer.address.port
        initiator = self.initiator(port, version, transport=transport)
        up(initiator, responder)
        return initiator, responder


def up(*peers: Running, count: int = 1) -> None:
    """Wait until each has the tunnel, for the ``count``-th time."""
    for running in peers:
        running.told.wait_for("child-sa-installed", count)


def exchange(
    initiator: Running,
    responder: Running,
    number: int = 0,
    here: str = "10.0.1.1",
    there: str = "10.0.2.1",
) -> None:
    """Send a packet each way and check that it comes through unchanged."""
    forth = ipv4_packet(here, there, b"forth %d" % number)
    back = ipv4_packet(there, here, b"back %d" % number)
    carry(initiator, responder, forth)
    carry(responder, initiator, back)


def carry(sender: Running, receiver: Running, packet: bytes) -> None:
    """Send a packet until it arrives: while a connection is made, packets are lost."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert sender.tun.inject(packet)
        arrived = receiver.tun.collect(timeout_seconds=0.2)
        if packet in arrived:
            return
        assert not arrived or set(arrived) <= {packet}, "another packet came out"
    raise AssertionError("the packet never arrived")


def eventually(is_so: Callable[[], bool], what: str = "it") -> None:
    """Wait for what gives no sign: a counter, a file, a process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came about"
        pause.wait(0.01)


def raw_connection(running: Running) -> socket.socket:
    """Connect to a responder as somebody who may do anything."""
    address, port = running.peer.address
    return socket.create_connection((str(address), port), PATIENCE_SECONDS)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_hung_up(sock: socket.socket) -> bool:
    """Wait for the other side to close; what it sends before is passed over."""
    sock.settimeout(PATIENCE_SECONDS)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@contextlib.contextmanager
def unanswering_port() -> Iterator[int]:
    """A port of 127.0.0.1 whose backlog is full: SYNs stay without an answer."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK[4], 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def write_secret(folder: Path) -> Path:
    """Write the secret into a file for its owner only."""
    path = folder / "psk"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends; for a child before exec.

    SIGHUP has its usual effect, whatever whoever runs the tests wants of it.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """A peer as a process of its own; its trace comes line by line."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "iketcp", *map(str, arguments)]
        self.child = subprocess.Popen(
            [*command, "--trace", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one call, no lock)
        )

    def wait_for(self, kind: str, **fields: object) -> dict[str, Any]:
        """Read the trace up to an event of this kind with these fields."""
        assert self.child.stdout is not None
        watchdog = threading.Timer(PATIENCE_SECONDS, self.child.kill)
        watchdog.start()
        try:
            for line in self.child.stdout:
                event: dict[str, Any] = json.loads(line)
                if event["kind"] == kind and fields.items() <= event.items():
                    return event
        finally:
            watchdog.cancel()
            watchdog.join()
        raise AssertionError(f"no {kind}: {self.child.communicate()}")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; exit code and what stood on stderr."""
        _, errors = self.child.communicate(timeout=PATIENCE_SECONDS)
        return self.child.returncode, errors


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[Process]:
    """Run a peer, and end it whatever happens."""
    running = Process(*arguments)
    try:
        yield running
    finally:
        running.child.kill()
        running.child.communicate()
