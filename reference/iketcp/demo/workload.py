"""The users of the tunnel: one process per site that pings, sends and receives.

They are ordinary programs with ordinary sockets and know nothing of a tunnel. The
western one pings and sends, the eastern one receives. What is sent is random, made
before the clock starts and hashed on both sides outside the measured time, so that the
rate is the tunnel's.

Run as a module: ``receive ADDRESS PORT`` or ``command``; reports go to standard output
and commands come from standard input, one JSON object per line.
"""

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from iketcp.demo.devices import devices
from iketcp.demo.echo import ping

STALL_SECONDS = 20.0
"""A transfer that moves nothing for this long has failed."""

_PROGRESS_SECONDS = 0.025
_PIECE = 1 << 20
_SIZE_FIELD = 8

Report = Callable[..., None]


def receive_one(listener: socket.socket, report: Report) -> None:
    """Accept one connection and receive what its first 8 octets announce.

    Reports ``receiving`` about forty times a second, then ``received`` with times of
    the monotonic clock and the hash.

    Raises
    ------
    OSError
        The connection broke or stalled.
    """
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(STALL_SECONDS)
        size = int.from_bytes(_receive_exactly(sock, _SIZE_FIELD), "big")
        buffer = bytearray(size)
        started = reported = time.monotonic()
        with memoryview(buffer) as view:
            at = 0
            while at < size:
                count = sock.recv_into(view[at : at + _PIECE])
                if not count:
                    raise ConnectionError(f"ended after {at} of {size} octets")
                at += count
                now = time.monotonic()
                if now - reported >= _PROGRESS_SECONDS:
                    report(kind="receiving", octets=at, size=size, time=now)
                    reported = now
            ended = time.monotonic()
        digest = hashlib.sha256(buffer).hexdigest()
        report(kind="received", octets=size, sha256=digest, started=started, time=ended)


def send(target: str, port: int, data: bytes, report: Report) -> None:
    """Send octets, their number first; done when the receiver closes.

    Reports ``sending`` with the hash before the first octet, and ``sent`` at the end.

    Raises
    ------
    OSError
        The connection broke or stalled.
    """
    digest = hashlib.sha256(data).hexdigest()
    with socket.create_connection((target, port), STALL_SECONDS) as sock:
        sock.settimeout(STALL_SECONDS)
        started = time.monotonic()
        report(kind="sending", octets=len(data), sha256=digest, time=started)
        sock.sendall(len(data).to_bytes(_SIZE_FIELD, "big"))
        with memoryview(data) as view:
            for at in range(0, len(data), _PIECE):
                sock.sendall(view[at : at + _PIECE])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(_PIECE):
            pass
        report(kind="sent", octets=len(data), started=started, time=time.monotonic())


class Commands:
    """Carries out the commands that come in on standard input.

    ``{"command": "ping", "target": …, "count": …}``, ``{"command": "devices"}``,
    ``{"command": "prepare", "octets": …}`` and
    ``{"command": "send", "target": …, "port": …, "octets": …}``.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._data = b""

    def run(self, command: dict[str, Any]) -> None:
        """Carry one out; what fails is reported as ``failed``, not raised."""
        try:
            if command["command"] == "ping":
                self._ping(command["target"], command["count"])
            elif command["command"] == "prepare":
                self._data = os.urandom(command["octets"])
                self._report(kind="prepared", octets=len(self._data))
            elif command["command"] == "devices":
                self._report(kind="devices", devices=devices())
            elif command["command"] == "send":
                data = repeated(self._data, command["octets"])
                send(command["target"], command["port"], data, self._report)
        except OSError as error:
            self._report(kind="failed", reason=str(error))

    def _ping(self, target: str, count: int) -> None:
        for sequence in range(1, count + 1):
            answer = ping(target, sequence)
            self._report(
                kind="pong",
                target=target,
                sequence=sequence,
                octets=answer.octets if answer else 0,
                seconds=answer.round_trip_seconds if answer else None,
            )


def repeated(octets: bytes, size: int) -> bytes:
    """Return so many octets, from the beginning again where there are not enough.

    Nothing stays nothing.
    """
    return (octets * -(-size // max(1, len(octets))))[:size]


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        part = sock.recv(size - len(octets))
        if not part:
            raise ConnectionError("ended before it began")
        octets += part
    return octets


def _report(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _receive_all(address: str, port: int) -> None:
    with socket.create_server((address, port), family=_family(address)) as listener:
        _report(kind="listening", address=address, port=port)
        while True:
            try:
                receive_one(listener, _report)
            except OSError as error:
                _report(kind="failed", reason=str(error))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def main() -> None:
    """Receive for ever, or do as standard input says until it ends."""
    if sys.argv[1] == "receive":
        _receive_all(sys.argv[2], int(sys.argv[3]))
        return
    commands = Commands(_report)
    _report(kind="ready")
    for line in sys.stdin:
        commands.run(json.loads(line))


if __name__ == "__main__":
    main()
