"""A small web proxy that knows HTTP CONNECT and nothing else.

It stands in for the one that a company puts between its people and everybody else. As
a program, ``python -m iketcp.demo.web_proxy ADDRESS PORT``, it reports each
request as a line of JSON, and ends with its standard input.

Source: RFC 2817 §5.2, RFC 2817 §5.3
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
from base64 import b64encode
from collections.abc import Callable

_END = b"\r\n\r\n"
_MAX_REQUEST = 8192
_PIECE = 65536
_PATIENCE_SECONDS = 10.0

GRANTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
UNKNOWN = b"HTTP/1.1 407 Proxy Authentication Required\r\n"
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
NOT_CONNECT = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"
_CHALLENGE = b'Proxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n'


class WebProxy:
    """Listens, and relays octets for whoever asks by CONNECT; a context manager.

    Parameters
    ----------
    address : str
        IP address to listen on.
    port : int
        TCP port; 0: any.
    credentials : str
        ``user:password`` that everybody has to know; empty: nobody is asked.
    say : Callable[[str], object]
        Told of every request, in a few words.

    Raises
    ------
    OSError
        It cannot listen there.
    """

    def __init__(
        self,
        address: str,
        port: int = 0,
        credentials: str = "",
        say: Callable[[str], object] = lambda words: None,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._wanted = ""
        if credentials:
            self._wanted = f"Basic {b64encode(credentials.encode()).decode()}"
        self._say = say
        self._end, self._ended = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._serving: list[threading.Thread] = []

    def __enter__(self) -> WebProxy:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()  # every thread waits for that, too
        self._accepting.join()
        for thread in self._serving:
            thread.join()
        self._listener.close()
        self._ended.close()

    def _wait(self, *waited_for: socket.socket) -> list[socket.socket]:
        """Wait until one can be read; none once it is time to end."""
        ready, _, _ = select.select([*waited_for, self._ended], [], [])
        return [] if self._ended in ready else ready

    def _accept(self) -> None:
        while self._wait(self._listener):
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                client.settimeout(_PATIENCE_SECONDS)
                thread = threading.Thread(
                    target=self._serve, args=(client,), daemon=True
                )
                thread.start()
                alive = [t for t in self._serving if t.is_alive()]
                self._serving = [*alive, thread]

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = self._read_request(client)
            if head is None:
                return
            server = self._answer(client, head)
            if server is not None:
                with server:
                    self._relay(client, server)

    def _read_request(self, client: socket.socket) -> list[str] | None:
        """Read the lines of a request; ``None`` if it does not end."""
        octets = b""
        while _END not in octets and len(octets) < _MAX_REQUEST and self._wait(client):
            # octet by octet: what follows the request is not for us
            octet = client.recv(1)
            if not octet:
                return None
            octets += octet
        if _END not in octets:
            return None
        return octets.decode("ascii", "replace").split("\r\n")

    def _answer(self, client: socket.socket, head: list[str]) -> socket.socket | None:
        """Answer a request; the connection that it asks for, or ``None``."""
        method, _, rest = head[0].partition(" ")
        target = rest.partition(" ")[0]
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:])
        }
        if method != "CONNECT":
            client.sendall(NOT_CONNECT)
        elif self._wanted and fields.get("proxy-authorization") != self._wanted:
            self._say(f"{head[0]}: 407")
            client.sendall(UNKNOWN + _CHALLENGE)
        elif (server := _connect(target)) is None:
            self._say(f"{head[0]}: 502")
            client.sendall(UNREACHABLE)
        else:
            self._say(f"{head[0]}: 200")
            client.sendall(GRANTED)
            return server
        return None

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass octets on both ways, until one side ends."""
        other = {client: server, server: client}
        while ready := self._wait(client, server):
            for end in ready:
                octets = end.recv(_PIECE)
                if not octets:
                    return
                other[end].sendall(octets)


def _connect(target: str) -> socket.socket | None:
    host, _, port = target.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        where = (host.strip("[]"), int(port))
        return socket.create_connection(where, _PATIENCE_SECONDS)
    return None


def main(address: str, port: str) -> None:
    """Serve until standard input ends."""

    def report(**fields: object) -> None:
        print(json.dumps(fields), flush=True)

    def say(words: str) -> None:
        report(kind="asked", text=words)

    with WebProxy(address, int(port), say=say) as proxy:
        report(kind="listening", port=proxy.port)
        while os.read(0, _PIECE):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
