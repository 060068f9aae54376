"""A load of handshakes, in a row: each with its Child SA, each deleted again.

``python -m iketcp.bench.handshake_load CONFIGURATION COUNT WARM PID`` is the initiator
of the given file: the endpoint and bare sockets in one thread, without a tunnel device.
It makes WARM handshakes, then COUNT that are measured, and prints one line of JSON:
seconds, and the processor time that it took itself and that process PID took meanwhile.

The same load goes to whoever listens at the address in the file.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Protocol

from iketcp.bench.processor_time import seconds_of
from iketcp.config import Configuration, load
from iketcp.effects import ConnectionId, Effect, SendDatagrams, Transmit
from iketcp.endpoint import Endpoint
from iketcp.errors import EnvironmentProblem
from iketcp.ike.nat_detection import Path, Transport
from iketcp.net.system import SystemEntropy
from iketcp.peers.datagrams import datagram_policy
from iketcp.peers.limits import mapping_policy

UP_SECONDS = 30.0
"""A responder that does not listen for so long has failed."""

PATIENCE_SECONDS = 5.0
"""A step of a handshake that takes longer has failed: nothing is sent twice."""

STREAM_SECONDS = 20.0
"""The same over TCP, which loses nothing, but a busy machine may be slow."""

_MOST = 65535


class NoAnswer(EnvironmentProblem):
    """The responder does not listen, or does not answer."""


class Way(Protocol):
    """How messages go to the responder and come back."""

    def begin(self, endpoint: Endpoint) -> None:
        """Go to the responder, and send the first request."""
        ...

    def execute(self, effects: Iterable[Effect]) -> None:
        """Send what an endpoint wants sent; nothing else matters to a load."""
        ...

    def receive(self, endpoint: Endpoint) -> bool:
        """Take what has come, and answer; False if nothing came in time."""
        ...

    def end(self, endpoint: Endpoint) -> None:
        """Leave the responder, after the IKE SA is gone."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class OverUdp:
    """Two sockets, for port 500 and for port 4500, that last for all handshakes.

    Source: RFC 7296 §2.23
    """

    def __init__(self, configuration: Configuration) -> None:
        target = str(configuration.remote.address)
        options = configuration.udp
        self._poller = select.poll()
        self._sockets: dict[int, tuple[socket.socket, Path]] = {}
        self._by_port: dict[int, socket.socket] = {}
        for ours, theirs, transport in (
            (options.ike_port, options.remote_ike_port, Transport.UDP),
            (
                options.encapsulation_port,
                options.remote_encapsulation_port,
                Transport.UDP_ENCAPSULATION,
            ),
        ):
            family = socket.AF_INET6 if ":" in target else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.bind(("", ours or 0))
            sock.connect((target, theirs))
            path = _path(sock, transport)
            self._sockets[sock.fileno()] = sock, path
            self._by_port[path.local_port] = sock
            self._poller.register(sock, select.POLLIN)

    def begin(self, endpoint: Endpoint) -> None:
        """Send the first request to the port of IKE alone."""
        paths = [path for _, path in self._sockets.values()]
        endpoint.initiate()
        self.execute(endpoint.begin_over_udp(paths[0], paths[1], time.monotonic()))

    def execute(self, effects: Iterable[Effect]) -> None:
        """Send datagrams."""
        for effect in effects:
            if isinstance(effect, SendDatagrams):
                sock = self._by_port[effect.path.local_port]
                for datagram in effect.datagrams:
                    sock.send(datagram)

    def receive(self, endpoint: Endpoint) -> bool:
        """Take one datagram of each port that has one."""
        ready = self._poller.poll(PATIENCE_SECONDS * 1000)
        for descriptor, _ in ready:
            sock, path = self._sockets[descriptor]
            now = time.monotonic()
            self.execute(endpoint.datagrams_received(path, [sock.recv(_MOST)], now))
        return bool(ready)

    def end(self, endpoint: Endpoint) -> None:
        """Nothing is connected."""

    def close(self) -> None:
        """Close the sockets."""
        for sock, _ in self._sockets.values():
            sock.close()


class OverTcp:
    """A connection for each IKE SA. Source: RFC 9329 §6.1."""

    def __init__(self, configuration: Configuration) -> None:
        assert configuration.remote.port is not None  # invariant: no TLS here
        self._target = str(configuration.remote.address), configuration.remote.port
        self._socket = socket.socket()
        self._last_id = 0

    def begin(self, endpoint: Endpoint) -> None:
        """Connect; the stream prefix and the first request go out."""
        self._socket.close()
        self._socket = self._connect()
        self._last_id += 1
        endpoint.initiate()
        path = _path(self._socket, Transport.TCP)
        id, now = ConnectionId(self._last_id), time.monotonic()
        self.execute(endpoint.connection_opened(id, path, True, now))

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(self._target, STREAM_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def execute(self, effects: Iterable[Effect]) -> None:
        """Send what is for the stream, all at once."""
        octets = b"".join(e.octets for e in effects if isinstance(e, Transmit))
        if octets:
            self._socket.sendall(octets)

    def receive(self, endpoint: Endpoint) -> bool:
        """Take what the stream has."""
        try:
            octets = self._socket.recv(_MOST)
        except TimeoutError:
            return False
        id, now = ConnectionId(self._last_id), time.monotonic()
        self.execute(endpoint.octets_received(id, octets, now))
        return bool(octets)

    def end(self, endpoint: Endpoint) -> None:
        """Close the connection."""
        self._socket.close()
        id, now = ConnectionId(self._last_id), time.monotonic()
        endpoint.connection_lost(id, "done", now)

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._socket.close()


class OverTls(OverTcp):
    """A connection with TLS around it for each IKE SA; any server will do.

    Source: RFC 9329 App. A
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        assert configuration.tls is not None  # invariant: this is for TLS
        self._target = self._target[0], configuration.tls.port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    def _connect(self) -> socket.socket:
        return self._context.wrap_socket(super()._connect())


def _path(sock: socket.socket, transport: Transport) -> Path:
    local, remote = sock.getsockname(), sock.getpeername()
    here, there = ip_address(local[0]), ip_address(remote[0])
    return Path(here, local[1], there, remote[1], transport)


def handshake(endpoint: Endpoint, way: Way) -> None:
    """Make an IKE SA with its Child SA, and delete it; raises as its halves do."""
    come(endpoint, way)
    leave(endpoint, way)


def come(endpoint: Endpoint, way: Way) -> None:
    """Make an IKE SA with its Child SA.

    Raises
    ------
    EnvironmentProblem
        The responder does not answer, or refuses.
    """
    way.begin(endpoint)
    _go_on(endpoint, way, lambda: bool(endpoint.tables.children))


def leave(endpoint: Endpoint, way: Way) -> None:
    """Delete the IKE SA.

    Raises
    ------
    EnvironmentProblem
        The responder does not answer.
    """
    way.execute(endpoint.delete_all(time.monotonic()))
    _go_on(endpoint, way, lambda: not endpoint.has_sessions)
    way.end(endpoint)


def _go_on(endpoint: Endpoint, way: Way, is_done: Callable[[], bool]) -> None:
    while not is_done():
        if not way.receive(endpoint):
            raise NoAnswer("the responder does not answer")
        if not endpoint.has_sessions and not is_done():
            raise EnvironmentProblem("the responder refuses")


def initiator(configuration: Configuration) -> tuple[Endpoint, Way]:
    """Make what handshakes are made with: an endpoint, and a way to the responder."""
    endpoint = Endpoint(
        configuration.ike,
        mapping_policy(configuration.transport),
        SystemEntropy(),
        date=lambda: datetime.now(UTC),
        datagram_policy=datagram_policy(configuration),
    )
    return endpoint, _way(configuration)


def _way(configuration: Configuration) -> Way:
    if configuration.transport.protocol == "udp":
        return OverUdp(configuration)
    return (
        OverTcp(configuration) if configuration.tls is None else OverTls(configuration)
    )


def _first_handshake(configuration: Configuration) -> tuple[Endpoint, Way]:
    """Wait until the responder listens, and make a first handshake.

    Raises
    ------
    EnvironmentProblem
        It never does, or refuses.
    """
    deadline = time.monotonic() + UP_SECONDS
    while True:
        endpoint, way = initiator(configuration)
        try:
            handshake(endpoint, way)
        except (ConnectionRefusedError, NoAnswer):
            way.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return endpoint, way


def run(
    configuration: Configuration, count: int, warm: int, process: int
) -> dict[str, float]:
    """Make handshakes, and say what they took.

    Parameters
    ----------
    count, warm : int
        Handshakes that are measured, and before them some that are not.
    process : int
        Id of the responder's process.

    Returns
    -------
    dict
        Seconds in all, processor seconds of this process and of the other.

    Raises
    ------
    EnvironmentProblem
        The responder does not answer, or refuses.
    """
    endpoint, way = _first_handshake(configuration)
    for _ in range(warm):
        handshake(endpoint, way)
    before = time.monotonic(), time.process_time(), seconds_of(process)
    for _ in range(count):
        handshake(endpoint, way)
    after = time.monotonic(), time.process_time(), seconds_of(process)
    seconds, ours, theirs = (b - a for a, b in zip(before, after, strict=True))
    return {"seconds": seconds, "initiator": ours, "responder": theirs}


def main() -> None:
    """Run as a program."""
    path, count, warm, process = sys.argv[1:]
    configuration = load(path, "initiator")
    try:
        found = run(configuration, int(count), int(warm), int(process))
    except (EnvironmentProblem, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
