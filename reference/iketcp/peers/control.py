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
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iketcp.endpoint.snapshot import snapshot
from iketcp.errors import EnvironmentProblem
from iketcp.net.wake import Wake
from iketcp.peers.peer import Peer
from iketcp.peers.relay import Relay
from iketcp.peers.reports import connection_figures

MAX_LINE = 65536
"""Octets of the longest request."""

CLIENT_SECONDS = 5.0
"""A client that takes longer for one request is hung up on."""

SHORTAGE_SECONDS = 0.1
"""Choice: pause after a client could not be accepted."""

MAX_SHOWN = 64
"""Characters of an unknown command that are repeated."""

MAX_LOOKS = 8
"""Choice: how often tables that change are looked at again."""


def status(peer: Peer) -> dict[str, Any]:
    """Describe a running peer: SAs, connections, counters and rates."""
    now = peer.clock.now()
    picture = _snapshot(peer, now)
    for entry in picture["connections"]:
        connection = peer.connections.get(entry["connection"])
        if connection is not None:
            entry.update(connection_figures(connection))
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
        "udp": None if peer.datagrams is None else peer.datagrams.status(),
        **picture,
    }


def _snapshot(peer: Peer, now: float) -> dict[str, Any]:
    """Look at the tables while others change them; they are read without a lock."""
    endpoint = peer.endpoint
    for _ in range(MAX_LOOKS):
        with contextlib.suppress(RuntimeError):  # a table grew while it was read
            return snapshot(endpoint, now)
    return snapshot(endpoint, now)


class CommandServer(ABC):
    """Serves a control socket, one client at a time.

    Parameters
    ----------
    path : Path
        The socket; a stale one is replaced, a live one is an error.
    client_seconds : float
        How long one client has for a request and for taking the answer.

    Raises
    ------
    EnvironmentProblem
        Another process answers on the socket, or it cannot be made.
    """

    def __init__(self, path: Path, client_seconds: float = CLIENT_SECONDS) -> None:
        self._path = path
        self._client_seconds = client_seconds
        self._stop = Wake()
        try:
            self._socket, self._inode = _listen(path)
        except EnvironmentProblem:
            self._stop.close()
            raise

    def run(self) -> None:
        """Thread body: answer until :meth:`stop`."""
        try:
            while self._wait(self._socket, select.POLLIN, None):
                try:
                    client, _ = self._socket.accept()
                except OSError:
                    self._stop.wait(SHORTAGE_SECONDS)  # no descriptor left, perhaps
                    continue
                with client, contextlib.suppress(OSError):
                    client.setblocking(False)
                    self._serve(client)
        finally:
            self.close()

    def stop(self) -> None:
        """Make :meth:`run` return, whatever its client does."""
        self._stop.set()

    def close(self) -> None:
        """Give socket and file back; :meth:`run` does it by itself."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        self._stop.close()

    def _wait(
        self, waited_for: socket.socket, event: int, deadline: float | None
    ) -> bool:
        """Wait for a socket; False if it is time to stop, or the deadline is over."""
        poller = select.poll()
        poller.register(self._stop.fileno(), select.POLLIN)
        poller.register(waited_for.fileno(), event)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = poller.poll(None if left is None else left * 1000)
        return bool(ready) and not self._stop.is_set()

    def _serve(self, client: socket.socket) -> None:
        """Answer the lines of one client until it hangs up, or takes too long."""
        waiting = b""
        while True:
            deadline = time.monotonic() + self._client_seconds
            while b"\n" not in waiting:
                if len(waiting) > MAX_LINE:
                    too_long = {"error": f"a line has at most {MAX_LINE} octets"}
                    self._send(client, too_long, deadline)
                    return
                if not self._wait(client, select.POLLIN, deadline):
                    return
                octets = client.recv(MAX_LINE)
                if not octets:
                    return
                waiting += octets
            line, _, waiting = waiting.partition(b"\n")
            if not self._send(client, self._answer(line), deadline):
                return

    def _send(
        self, client: socket.socket, answer: dict[str, Any], deadline: float
    ) -> bool:
        octets = json.dumps(answer).encode() + b"\n"
        while octets:
            if not self._wait(client, select.POLLOUT, deadline):
                return False
            octets = octets[client.send(octets) :]
        return True

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = request["command"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": "a JSON object with a command is wanted"}
        answer = self._obey(command, request)
        if answer is None:
            return {"error": f"unknown command {str(command)[:MAX_SHOWN]!r}"}
        return answer

    @abstractmethod
    def _obey(self, command: object, request: dict[str, Any]) -> dict[str, Any] | None:
        """Do as a client wishes, and answer; None if there is no such command."""


class ControlServer(CommandServer):
    """Serves one peer's control socket.

    Parameters
    ----------
    peer : Peer
        Whom it is about.
    path : Path
        As of :class:`CommandServer`.
    ask_to_end : Callable[[], None]
        Called when a client asks for the end.
    client_seconds : float
        As of :class:`CommandServer`.
    """

    def __init__(
        self,
        peer: Peer,
        path: Path,
        ask_to_end: Callable[[], None],
        client_seconds: float = CLIENT_SECONDS,
    ) -> None:
        self._peer = peer
        self._ask_to_end = ask_to_end
        super().__init__(path, client_seconds)

    def _obey(self, command: object, request: dict[str, Any]) -> dict[str, Any] | None:
        peer = self._peer
        match command:
            case "status":
                return status(peer)
            case "rekey-child":
                return self._rekey_child(str(request.get("name", "")))
            case "rekey-ike":
                peer.rekey_ike()
            case "cut":
                return {"cut": peer.cut()}
            case "delete":
                self._ask_to_end()
            case _:
                return None
        return {"done": command}

    def _rekey_child(self, name: str) -> dict[str, Any]:
        children = list(self._peer.endpoint.tables.children.values())
        if not any(live.name == name for live in children):
            return {"error": f"there is no Child SA named {name[:MAX_SHOWN]!r}"}
        self._peer.rekey_child(name)
        return {"done": "rekey-child"}


class RelayControl(CommandServer):
    """Serves a relay's control socket.

    Parameters
    ----------
    relay : Relay
        Whom it is about.
    path : Path
        As of :class:`CommandServer`.
    """

    def __init__(self, relay: Relay, path: Path) -> None:
        self._relay = relay
        super().__init__(path)

    def _obey(self, command: object, request: dict[str, Any]) -> dict[str, Any] | None:
        return self._relay.status() if command == "status" else None


def _listen(path: Path) -> tuple[socket.socket, int]:
    """Make the socket; return it with the inode of its file."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.setblocking(False)
        listener.listen(8)
        inode = path.lstat().st_ino
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(
            f"cannot make the control socket {path}: {error.strerror or error}"
        ) from error
    except EnvironmentProblem:
        listener.close()
        raise
    return listener, inode


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody answers on any more."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # somebody listens, and has much to do
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
