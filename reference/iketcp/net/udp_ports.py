"""Many UDP ports towards one address: a port for each client of a relay.

Each socket is connected, so it hears nobody but the daemon. One thread receives for all
of them, in batches; any thread opens, sends and closes. Nothing is queued: what the
stack does not take at once is lost and counted, as it may be anywhere on its way.

Source: RFC 3948 §2.1
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple

from iketcp.errors import EnvironmentProblem
from iketcp.net.tcp_connection import SocketAddress, socket_address
from iketcp.net.udp import set_datagram_options
from iketcp.net.wake import Wake

MOST_AT_ONCE = 128
"""Choice: datagrams that are taken from one port before the next one's turn."""

_DATAGRAM_SIZE = 65535


class _Port(NamedTuple):
    number: int
    socket: socket.socket


class UdpPorts:
    """UDP sockets by number, all connected to one address.

    Parameters
    ----------
    dscp : int
        Differentiated Services Code Point of every datagram, 6 bits.

    Raises
    ------
    EnvironmentProblem
        The process has no file descriptor left.
    """

    def __init__(self, dscp: int = 0) -> None:
        self.octets_in = 0
        self.octets_out = 0
        self.lost = 0
        """Datagrams that the stack did not take, or that nobody listened for."""
        self._dscp = dscp
        # Held while a socket is used, so that it is never closed, and its descriptor
        # never given to another, under whoever uses it.
        self._lock = threading.Lock()
        self._ports: dict[int, _Port] = {}
        self._by_descriptor: dict[int, _Port] = {}
        self._is_closed = False
        self._wake = Wake()
        try:
            self._poller = select.epoll()
        except OSError as error:
            self._wake.close()
            text = f"cannot watch UDP ports: {error.strerror}"
            raise EnvironmentProblem(text) from error
        self._poller.register(self._wake.fileno(), select.EPOLLIN)

    def open(self, number: int, target: SocketAddress) -> SocketAddress:
        """Take a free port towards ``target``; returns our end.

        Raises
        ------
        EnvironmentProblem
            No descriptor is left, there is no route, or this has been closed.
        """
        is_6 = target.address.version == 6
        sock = None
        try:
            sock = socket.socket(
                socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM
            )
            sock.setblocking(False)
            set_datagram_options(sock, self._dscp, is_encapsulated=True)
            sock.connect((str(target.address), target.port))
            ours = socket_address(sock.getsockname())
            with self._lock:
                if self._is_closed:
                    raise OSError(0, "it is closed")
                self._poller.register(sock.fileno(), select.EPOLLIN)
                port = _Port(number, sock)
                self._ports[number] = self._by_descriptor[sock.fileno()] = port
            return ours
        except OSError as error:
            if sock is not None:
                sock.close()
            text = f"cannot open a UDP port towards {target}: {error.strerror}"
            raise EnvironmentProblem(text) from error

    def send(self, number: int, datagrams: Sequence[bytes]) -> None:
        """Send datagrams from a port, each by itself; never blocks.

        Source: RFC 3948 §2.1
        """
        with self._lock:
            port = self._ports.get(number)
            for datagram in datagrams:
                if port is not None and _send(port.socket, datagram):
                    self.octets_out += len(datagram)
                else:
                    self.lost += 1

    def receive(self) -> list[tuple[int, list[bytes]]] | None:
        """Wait for datagrams; ``None`` once somebody called :meth:`stop`.

        For one thread.

        Returns
        -------
        list of (int, list[bytes])
            By port, in the order in which each port got them.
        """
        batches: list[tuple[int, list[bytes]]] = []
        while not batches:
            ready = self._poller.poll()
            if self._wake.is_set():
                return None
            for descriptor, _ in ready:
                with self._lock:
                    port = self._by_descriptor.get(descriptor)
                    if port is not None and (datagrams := self._drain(port.socket)):
                        batches.append((port.number, datagrams))
        return batches

    def _drain(self, sock: socket.socket) -> list[bytes]:
        datagrams: list[bytes] = []
        # No more, or an ICMP error, which proves nothing.
        with contextlib.suppress(OSError):
            while len(datagrams) < MOST_AT_ONCE:
                datagrams.append(sock.recv(_DATAGRAM_SIZE))
        self.octets_in += sum(map(len, datagrams))
        return datagrams

    def give_back(self, number: int) -> None:
        """Close one port; harmless if there is none of that number."""
        with self._lock:
            if (port := self._ports.pop(number, None)) is not None:
                del self._by_descriptor[port.socket.fileno()]
                port.socket.close()

    def stop(self) -> None:
        """Make :meth:`receive` return ``None``; from any thread."""
        self._wake.set()

    def close(self) -> None:
        """Give every port back, once nobody receives any more; idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for port in self._ports.values():
                port.socket.close()
            self._ports.clear()
            self._by_descriptor.clear()
            self._poller.close()
            self._wake.close()


def _send(sock: socket.socket, datagram: bytes) -> bool:
    """Send, and once more if it was an earlier datagram's error that we are told."""
    for _ in range(2):
        try:
            sock.send(datagram)
        except ConnectionRefusedError:
            continue
        except OSError:
            return False
        return True
    return False
