"""How much a relay costs: many idle connections, held by one process.

``python tests/relay_load.py`` prints what ``docs/relay.md`` says; it needs no root, but
some ten thousand file descriptors. The relay is a process of its own. The clients are
in this one, and so is the daemon, which sends back whatever it gets.
"""

from __future__ import annotations

import contextlib
import re
import resource
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from iketcp.config.relay import parse_endpoint
from iketcp.peers.control import ask
from peer_support import PATIENCE_SECONDS, Process, process
from relay_support import datagram, esp, frame, ike, pem_files, read_exactly, stream

CONNECTIONS = {"TCP": 2000, "TLS": 1000}
"""How many are held when this is run as a program."""

IDLE_SECONDS = 5.0


@dataclass(frozen=True)
class Load:
    """What one run showed."""

    connections: int
    total_octets: int
    """Memory of the relay, all in all."""
    octets_each: float
    """Memory that one connection added, after it had carried something."""
    idle_share: float
    """Processor time while nothing happens, as a share of one processor's."""
    echo_seconds: float
    """One echo of 1,400 octets on each, one after another."""


@contextlib.contextmanager
def daemon() -> Iterator[int]:
    """Answer every datagram as if its SA were there; gives the port."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def run() -> None:
            while True:
                octets, source = sock.recvfrom(65535)
                if not octets:
                    return
                sock.sendto(octets, source)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"", sock.getsockname())
            thread.join()


@contextlib.contextmanager
def relay(port: int, folder: Path, is_tls: bool) -> Iterator[tuple[Process, str]]:
    """Run a relay; gives it and where it listens."""
    options: list[object] = ["--to", f"127.0.0.1:{port}", "--listen", "127.0.0.1:0"]
    options += ["--control", folder / "control", "--half-open-per-address", 256]
    if is_tls:
        certificate, key = pem_files(folder)
        options += ["--tls-certificate", certificate, "--tls-key", key]
    with process("relay", *options) as running:
        where = str(running.wait_for("listening")["address"])
        streams = (running.child.stdout, running.child.stderr)
        readers = [threading.Thread(target=_read_on, args=(each,)) for each in streams]
        for reader in readers:
            reader.start()
        yield running, where
        running.child.kill()
        for reader in readers:
            reader.join()


def _read_on(stream: IO[str]) -> None:
    """Read a log to its end, so that nobody waits for a reader."""
    for _ in stream:
        pass


def memory(pid: int) -> int:
    """Octets that a process has for itself: its proportional set size."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
    found = re.search(r"^Pss: +(\d+) kB", text, re.M)
    assert found is not None, text
    return int(found[1]) << 10


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0


def connect(where: str, number: int, is_tls: bool) -> socket.socket:
    """Connect as a client whose SA is there, and wait for the answer."""
    client = socket.create_connection(parse_endpoint("", where), PATIENCE_SECONDS)
    if is_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client)
    first = datagram(ike(spi_i=b"%08d" % number))
    client.sendall(stream(first))
    assert read_exactly(client, len(frame(first))) == frame(first)
    return client


def measure(count: int, is_tls: bool, idle_seconds: float) -> Load:
    """Hold so many connections, let them carry something, and wait."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(daemon())
        running, where = stack.enter_context(relay(port, folder, is_tls))
        pid = running.child.pid
        before = memory(pid)
        clients = [
            stack.enter_context(connect(where, number, is_tls))
            for number in range(count)
        ]
        packet = frame(esp(content=bytes(1400)))
        began = time.monotonic()
        for client in clients:
            client.sendall(packet)
            assert read_exactly(client, len(packet)) == packet
        echo_seconds = time.monotonic() - began
        used = processor_seconds(pid)
        time.sleep(idle_seconds)
        used = processor_seconds(pid) - used
        status = ask(folder / "control", {"command": "status"}, PATIENCE_SECONDS)
        assert len(status["connections"]) == count
        total = memory(pid)
        return Load(
            connections=count,
            total_octets=total,
            octets_each=(total - before) / count,
            idle_share=used / idle_seconds if idle_seconds else 0.0,
            echo_seconds=echo_seconds,
        )


def main() -> None:
    """Print the figures."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for kind, count in CONNECTIONS.items():
        load = measure(count, kind == "TLS", IDLE_SECONDS)
        print(
            f"{count} {kind} connections: {load.octets_each / 1024:.0f} KiB each, "
            f"{load.total_octets >> 20} MiB in all; {load.idle_share:.1%} of one "
            f"processor while idle; an echo on each in {load.echo_seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
