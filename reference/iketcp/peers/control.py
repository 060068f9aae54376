"""The control socket: a running peer answers questions and wishes on a Unix socket.

One JSON object a line in, one a line out. Whoever may write to the socket may end the
tunnel, so only its owner may.

Source: RFC 4301 §4.4.2 (what there is to show)
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iketcp.endpoint.snapshot import snapshot
from iketcp.errors import EnvironmentProblem
from iketcp.net.wake import Wake
from iketcp.peers.peer import Peer

MAX_LINE = 65536
"""Octets of the longest request."""

CLIENT_SECONDS = 5.0
"""A client that says nothing for this long is hung up on."""


def status(peer: Peer) -> dict[str, Any]:
    """Describe a running peer: SAs, connections, counters and rates."""
    now = peer.clock.now()
    endpoint = peer.endpoint
    picture = snapshot(endpoint.tables, endpoint.counters.dropped, now)
    for entry in picture["connections"]:
        connection = peer.connections.get(entry["connection"])
        if connection is not None:
            entry.update(
                octets_in=connection.octets_in,
                octets_out=connection.octets_out,
                queued_octets=connection.queue_depth,
                dropped_batches=connection.dropped_batches,
            )
    inward, outward = peer.rates.bits_per_second()
    return {
        "role": peer.configuration.role,
        "up_seconds": round(now - peer.started_at, 1),
        "tunnel": {
            "device": peer.tunnel.device.name,
            "mtu": peer.tunnel.mtu,
            "addresses": list(peer.tunnel.addresses),
            "dns_servers": list(peer.tunnel.dns_servers),
            "dropped_packets": peer.tunnel.device.dropped_packets,
        },
        "rates": {
            "bits_per_second_in": round(inward),
            "bits_per_second_out": round(outward),
        },
        **picture,
    }


class ControlServer:
    """Serves one peer's control socket, one client at a time.

    Parameters
    ----------
    peer : Peer
        Whom it is about.
    path : Path
        The socket; a stale one is replaced, a live one is an error.
    ask_to_end : Callable[[], None]
        Called when a client asks for the end.

    Raises
    ------
    EnvironmentProblem
        Another process answers on the socket, or it cannot be made.
    """

    def __init__(self, peer: Peer, path: Path, ask_to_end: Callable[[], None]) -> None:
        self._peer = peer
        self._path = path
        self._ask_to_end = ask_to_end
        self._stop = Wake()
        self._socket = _listen(path)

    def run(self) -> None:
        """Thread body: answer until :meth:`stop`."""
        poller = select.poll()
        poller.register(self._socket.fileno(), select.POLLIN)
        poller.register(self._stop.fileno(), select.POLLIN)
        while not self._stop.is_set():
            poller.poll()
            if self._stop.is_set():
                break
            with contextlib.suppress(OSError):
                client, _ = self._socket.accept()
                with client:
                    self._serve(client)
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._stop.close()

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stop.set()

    def _serve(self, client: socket.socket) -> None:
        """Answer the lines of one client until it hangs up."""
        client.settimeout(CLIENT_SECONDS)
        with client.makefile("rwb") as file:
            while line := file.readline(MAX_LINE):
                answer = self._answer(line)
                file.write(json.dumps(answer).encode() + b"\n")
                file.flush()
                if self._stop.is_set():
                    return

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request["command"]
        except (ValueError, KeyError, TypeError):
            return {"error": "a JSON object with a command is wanted"}
        peer = self._peer
        match command:
            case "status":
                return status(peer)
            case "rekey-child":
                peer.rekey_child(str(request.get("name", "")))
            case "rekey-ike":
                peer.rekey_ike()
            case "cut":
                return {"cut": peer.cut()}
            case "delete":
                self._ask_to_end()
            case _:
                return {"error": f"unknown command {command!r}"}
        return {"done": command}


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(
            f"cannot make the control socket {path}: {error.strerror or error}"
        ) from error
    except EnvironmentProblem:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody answers on any more."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise EnvironmentProblem(f"another peer already answers on {path}")


def ask(path: Path, request: dict[str, Any], timeout_seconds: float = 5.0) -> Any:
    """Send one request to a running peer and return its answer.

    Raises
    ------
    EnvironmentProblem
        Nobody answers on ``path``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_seconds)
        try:
            client.connect(str(path))
            with client.makefile("rwb") as file:
                file.write(json.dumps(request).encode() + b"\n")
                file.flush()
                answer = file.readline()
        except OSError as error:
            raise EnvironmentProblem(
                f"no running peer answers on {path}: {error.strerror or error}"
            ) from error
    try:
        return json.loads(answer)
    except ValueError as error:
        raise EnvironmentProblem(f"no answer from the peer on {path}") from error
