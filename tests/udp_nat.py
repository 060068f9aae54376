"""A NAT for UDP in user space: it may lose datagrams, and forget what it has mapped.

To the inside it is the responder, with the very address that the responder has: its
sockets belong to two network namespaces, one for each side. To the responder it is one
host with a port of its own for each port of a host inside. On loopback, where both
sides are the same, it is a plain relay.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from traffic import Run, here

LARGEST = 65535

Address = tuple[str, int]


class Seen(NamedTuple):
    """A datagram that came by; those that were lost, too."""

    port: int
    """The responder's port, inside."""
    is_outward: bool
    """It comes from the inside."""
    octets: bytes


class _Mapping(NamedTuple):
    inner: socket.socket
    client: Address
    outer: socket.socket
    port: int


class UdpNat:
    """Takes datagrams on both ports of a responder; a context manager.

    Parameters
    ----------
    listen : Sequence[tuple[str, int]]
        Where the inside finds the responder.
    targets : Sequence[tuple[str, int]]
        Where the responder is, in the same order.
    inside, outside : Callable
        Run a function in the network namespace of a side.
    """

    def __init__(
        self,
        listen: Sequence[Address],
        targets: Sequence[Address],
        inside: Run = here,
        outside: Run = here,
    ) -> None:
        self._outside = outside
        self._family = socket.AF_INET6 if ":" in listen[0][0] else socket.AF_INET
        self._inner = [inside(lambda at=at: self._bound(at)) for at in listen]
        self._targets = dict(zip(self._inner, targets, strict=True))
        self._ports = dict(zip(self._inner, self.ports, strict=True))
        self._mappings: dict[socket.socket, _Mapping] = {}
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="nat")
        self.seen: list[Seen] = []
        self.is_lost: Callable[[Seen], bool] = lambda seen: False

    @property
    def ports(self) -> list[int]:
        """The real ports where the inside finds the responder."""
        return [inner.getsockname()[1] for inner in self._inner]

    def _bound(self, address: Address) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        sock.bind(address)
        return sock

    def __enter__(self) -> "UdpNat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        self._forget()
        for inner in self._inner:
            inner.close()

    def forget(self) -> None:
        """Forget every mapping: what comes from inside next gets another port."""
        self._stop.send(b"forget")

    def sizes(self, is_outward: bool) -> list[int]:
        """Octets of the datagrams that went one way."""
        return [len(s.octets) for s in list(self.seen) if s.is_outward is is_outward]

    def _forget(self) -> None:
        mappings, self._mappings = self._mappings, {}
        for outer in mappings:
            outer.close()

    def _run(self) -> None:
        while True:
            waited_for = [self._stopped, *self._inner, *self._mappings]
            ready, _, _ = select.select(waited_for, [], [])
            if self._stopped in ready:
                if not self._stopped.recv(LARGEST):
                    return
                self._forget()
                continue  # also with those that came meanwhile
            for sock in ready:
                with contextlib.suppress(OSError):
                    self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        octets, source = sock.recvfrom(LARGEST)
        if sock not in self._ports:
            mapping = self._mappings[sock]
            if self._passes(Seen(mapping.port, False, octets)):
                mapping.inner.sendto(octets, mapping.client)
            return
        mapping = self._mapping(sock, source[:2])
        if self._passes(Seen(mapping.port, True, octets)):
            mapping.outer.sendto(octets, self._targets[sock])

    def _passes(self, seen: Seen) -> bool:
        self.seen.append(seen)
        return not self.is_lost(seen)

    def _mapping(self, inner: socket.socket, client: Address) -> _Mapping:
        for mapping in self._mappings.values():
            if (mapping.inner, mapping.client) == (inner, client):
                return mapping
        outer = self._outside(lambda: socket.socket(self._family, socket.SOCK_DGRAM))
        mapping = _Mapping(inner, client, outer, self._ports[inner])
        self._mappings[outer] = mapping
        return mapping
