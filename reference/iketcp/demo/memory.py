"""A whole site in one process: a peer, its tunnel device in memory, and a host.

For machines that allow neither network namespaces nor tunnel devices. The peers are
the same and speak TCP over the loopback interface; only what is inside the tunnel has
no kernel under it.

Run as a module: ``ROLE CONFIGURATION``. Trace events and reports go to standard
output, one JSON object per line; reports have a field ``worker``. Commands come from
standard input, as for :mod:`iketcp.demo.workload`.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from iketcp.config import load
from iketcp.config.model import Role
from iketcp.demo.memory_host import MemoryHost
from iketcp.demo.scenery import EAST, INNER, WEST
from iketcp.demo.workload import repeated
from iketcp.net.tun import MemoryTun
from iketcp.net.wake import Wake
from iketcp.peers import Initiator, Peer, Responder
from iketcp.peers.control import ControlServer
from iketcp.peers.sinks import JsonLines

_RECEIVED = frozenset({"receiving", "received", "listening"})


class MemorySite:
    """A peer and the host behind it.

    Parameters
    ----------
    site : str
        ``WEST`` or ``EAST``.
    peer : Peer
        Configured with a tunnel device in memory.
    lines : JsonLines
        Where reports go, between the peer's own events.

    Raises
    ------
    TypeError
        The peer has another kind of tunnel device.
    """

    def __init__(self, site: str, peer: Peer, lines: JsonLines) -> None:
        device = peer.tunnel.device
        if not isinstance(device, MemoryTun):
            raise TypeError("the tunnel device is not in memory")
        self._site = site
        self._peer = peer
        self._lines = lines
        self._data = b""
        self.host = MemoryHost(device, self.report)

    def report(self, kind: str, **fields: object) -> None:
        """Write a report; what arrived is reported as the receiver's."""
        worker = "receiver" if kind in _RECEIVED else self._site
        self._lines(time.monotonic(), kind, {"worker": worker, **fields})

    def carry_out(self, command: dict[str, Any]) -> None:
        """Carry out one command; what fails is reported as ``failed``."""
        try:
            match command["command"]:
                case "ping":
                    self._ping(command["target"], command["count"])
                case "devices":
                    self.report(kind="devices", devices=self._devices())
                case "prepare":
                    self._data = os.urandom(command["octets"])
                    self.report(kind="prepared", octets=len(self._data))
                case "send":
                    data = repeated(self._data, command["octets"])
                    self.host.send(INNER[self._site][0], command["target"], data)
        except OSError as error:
            self.report(kind="failed", reason=str(error))

    def _ping(self, target: str, count: int) -> None:
        source = INNER[self._site][0 if "." in target else 1]
        for sequence in range(1, count + 1):
            seconds = self.host.ping(source, target, sequence)
            self.report(
                kind="pong",
                target=target,
                sequence=sequence,
                octets=0 if seconds is None else 64,
                seconds=seconds,
            )

    def _devices(self) -> dict[str, object]:
        tunnel = self._peer.tunnel
        addresses = [each.partition("/")[0] for each in tunnel.addresses]
        return {tunnel.device.name: {"mtu": tunnel.mtu, "addresses": addresses}}


def _read_commands(site: MemorySite) -> None:
    for line in sys.stdin:
        site.carry_out(json.loads(line))


def main() -> None:
    """Run the site until SIGTERM or until its peer is told to end."""
    role: Role = "responder" if sys.argv[1] == "responder" else "initiator"
    configuration = load(Path(sys.argv[2]), role)
    kind = Responder if role == "responder" else Initiator
    stop = Wake()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lines = JsonLines(sys.stdout)
    peer = kind(configuration, [lines])
    site = MemorySite(EAST if role == "responder" else WEST, peer, lines)
    try:
        path = configuration.control.socket
        if path is not None:
            control = ControlServer(peer, path, stop.set)
            peer.serve("control", control.run, control.stop)
        site.host.start()
        peer.start()
        peer.on_end(stop.set)
        site.report(kind="listening")
        commands = threading.Thread(target=_read_commands, args=[site], daemon=True)
        commands.start()
        stop.wait()
    finally:
        peer.stop()
        site.host.stop()
    # The reader of commands may be waiting for more; nobody waits for it.
    sys.stdout.flush()
    os._exit(0 if peer.ended_reason is None else 1)


if __name__ == "__main__":
    main()
