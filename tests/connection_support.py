"""Connections over loopback, and a thread that owns one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from iketcp.net.connection import Connection
from iketcp.net.tcp import ConnectionBroken, TcpConnection

PATIENCE_SECONDS = 20.0


@contextmanager
def carriers(
    host: str = "127.0.0.1", **limits: int
) -> Iterator[tuple[TcpConnection, TcpConnection]]:
    """Two ends of a TCP connection: whoever connected, then whoever accepted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        far = socket.socket(family)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    ends = TcpConnection(far, **limits), TcpConnection(near, **limits)
    try:
        yield ends
    finally:
        for end in ends:
            end.abort()


class Reader:
    """The owner thread of a connection: collects what comes until the end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.received = b""
        self.end: object = "still running"
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end: object
        try:
            while octets := self.connection.wait_and_receive():
                with self._changed:
                    self.received += octets
                    self._changed.notify_all()
            end = octets
        except ConnectionBroken as error:
            end = error
        with self._changed:
            self.end = end
            self._changed.notify_all()

    def wait_for(self, size: int) -> bytes:
        """What has come, when it is so many octets, or the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self.received) >= size or self.end != "still running",
                PATIENCE_SECONDS,
            )
        return self.received

    def join(self) -> object:
        """How it ended."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the owner thread does not end"
        return self.end
