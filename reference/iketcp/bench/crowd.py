"""Many initiators in one process, for a responder to hold: no threads, no devices.

Each is an endpoint of its own with one connection, an identity of its own and an
address that the responder assigns. They come one after the other: the next begins when
the one before has its Child SA.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from iketcp.config import Configuration
from iketcp.effects import ConnectionId, DeliverInner, Effect, Transmit
from iketcp.endpoint import Endpoint
from iketcp.errors import EnvironmentProblem
from iketcp.ike.identity import Identity
from iketcp.ike.nat_detection import Path
from iketcp.mapping import MappingPolicy
from iketcp.net.connection import Connection
from iketcp.net.system import SystemClock, SystemEntropy
from iketcp.net.tcp import TcpConnection, connect
from iketcp.net.tls import TlsClient

PATIENCE_SECONDS = 20.0
"""Nothing that a guest waits for takes so long."""

_ONLY = ConnectionId(1)
_CLOCK = SystemClock()

Wrap = Callable[[TcpConnection], Connection]
"""Puts TLS around a connection, or nothing."""


class Guest:
    """One initiator with its connection.

    Parameters
    ----------
    endpoint : Endpoint
        Its own.
    connection : Connection
        To the responder, without an octet on it so far; read by whoever calls a method.
    """

    def __init__(self, endpoint: Endpoint, connection: Connection) -> None:
        self.endpoint = endpoint
        self._connection = connection
        self._delivered: list[bytes] = []

    def come(self) -> None:
        """Stay when this returns: an IKE SA and its Child SA are there.

        Raises
        ------
        EnvironmentProblem
            The responder does not let it in.
        """
        connection, endpoint = self._connection, self.endpoint
        connection.handshake(PATIENCE_SECONDS)
        here, there = connection.local_address, connection.remote_address
        path = Path(*here, *there)
        endpoint.initiate()
        self._execute(endpoint.connection_opened(_ONLY, path, True, _CLOCK.now()))
        self._read_until(lambda: bool(endpoint.tables.children))

    def leave(self) -> None:
        """Delete the IKE SA, and close the connection when that was answered."""
        endpoint = self.endpoint
        self._execute(endpoint.delete_all(_CLOCK.now()))
        self._read_until(lambda: not endpoint.has_sessions)
        self._connection.close()

    def send(self, packet: bytes) -> None:
        """Send one inner packet."""
        self._execute(self.endpoint.inner_packets([packet]))

    def receive(self) -> bytes:
        """Wait for one inner packet."""
        self._read_until(lambda: bool(self._delivered))
        return self._delivered.pop(0)

    @property
    def address(self) -> bytes:
        """Its inner IPv4 address, assigned by the responder: 4 octets."""
        live = next(iter(self.endpoint.tables.children.values()))
        return live.esp.parameters.local_ts[0].start_address.packed

    def close(self) -> None:
        """Close the connection without a word."""
        self._connection.close(graceful=False)

    def _read_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            octets = self._connection.wait_and_receive(deadline=deadline)
            if not octets:
                raise EnvironmentProblem("the responder has closed a connection")
            received = self.endpoint.octets_received(_ONLY, octets, _CLOCK.now())
            self._execute(received)

    def _execute(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Transmit):
                self._connection.send(effect.octets, effect.droppable)
            elif isinstance(effect, DeliverInner):
                self._delivered += effect.packets


class Crowd(contextlib.ExitStack):
    """Guests of one responder; all are closed when the block ends.

    Parameters
    ----------
    configuration : Configuration
        An initiator's; its identity is replaced by one for each.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.guests: list[Guest] = []
        self._configuration = configuration
        self._wrap = _wrap_of(configuration)

    def grow(self, count: int) -> None:
        """Have guests come until there are so many."""
        while len(self.guests) < count:
            guest = self._invite(f"guest{len(self.guests)}.example")
            guest.come()
            self.guests.append(guest)

    def _invite(self, name: str) -> Guest:
        remote, tls = self._configuration.remote, self._configuration.tls
        assert remote.address is not None  # invariant: an initiator's has it
        port = remote.port if tls is None else tls.port
        carrier = connect(remote.address, port, PATIENCE_SECONDS)
        assert carrier is not None  # invariant: nothing stops it
        policy = replace(self._configuration.ike, local_identity=Identity.parse(name))
        endpoint = Endpoint(policy, MappingPolicy(), SystemEntropy())
        guest = Guest(endpoint, self._wrap(carrier))
        self.callback(guest.close)
        return guest


def _wrap_of(configuration: Configuration) -> Wrap:
    tls = configuration.tls
    if tls is None:
        return lambda carrier: carrier
    assert tls.trust is not None  # invariant: an initiator's has it
    return TlsClient(tls.trust, tls.options, tls.sni).wrap
