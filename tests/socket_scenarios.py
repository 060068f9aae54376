"""Plays mapping scenarios over real TCP connections, against a peer with its threads.

The endpoint under test is a whole :class:`~iketcp.peers.Peer`: it listens or connects,
reads each connection in a thread of its own and has a tunnel in memory. The player is
everything else in the script: the other end of every connection, the network behind
the tunnel, the user, and the clock. What cannot be had from a machine is replaced in
four places: draws come from the script, the clock moves by its steps, the connection
is told the addresses that the script names, and pauses before an attempt to connect
are noted instead of waited for.

A step is over when every thread of the peer waits again; nothing is waited for in
seconds.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any
from unittest import mock

from certificate_factory import write_issued
from iketcp.config import Configuration
from iketcp.effects import ConnectionId, Effect, IkeSaEstablished, Trace
from iketcp.endpoint.resume import install_session
from iketcp.environment import ScriptedEntropy
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.nat_detection import IpAddress, Path
from iketcp.net.connection import Connection
from iketcp.net.tcp import SocketAddress
from iketcp.net.tun import MemoryTun
from iketcp.peers import Initiator, Responder
from iketcp.peers import peer as peer_module
from iketcp.peers.ways import Ways
from iketcp.vectorlib.check_mapping import (
    CHILD,
    MOST_WAKES,
    ScriptedDraws,
    child_state,
    dropped_by,
    ike_policy,
    ike_state,
    mapping_policy,
    sessions_of,
    suites_of,
    wanted,
)
from iketcp.vectorlib.envelope import Json
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Recorder,
    initiator_configuration,
    reset,
    responder_configuration,
)
from tls_support import CA, SERVER, initiator_tls, responder_tls

NOWHERE = Path(ip_address("192.0.2.2"), 4500, ip_address("192.0.2.1"), 4500)


class Draws(ScriptedDraws):
    """The draws of a scenario, and flow labels, of which no scenario knows."""

    def draw(self, label: str, size: int) -> bytes:
        """Draw the next octets under a label."""
        if label.startswith("tcp."):
            return ScriptedEntropy("flow label").draw(label, size)
        return super().draw(label, size)


class SteppedClock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        """Seconds, as last set."""
        return self.at


@dataclass(eq=False)
class Link:
    """The peer's end of a connection, and how far its thread has come."""

    octets_taken: int = -1
    """So many were read and acted upon when the thread last began to wait."""
    octets_sent: int = 0
    is_ended: bool = False


class Observed:
    """What both roles get for the player's sake: see when threads wait again."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.moved = threading.Condition()
        self.links: dict[int, Link] = {}
        """By the TCP Originator's real port."""
        self.named: tuple[SocketAddress, SocketAddress] | None = None
        """Our address and the peer's, as the script has them."""
        self.rounds: dict[str, int] = {}
        """How often each thread has carried effects out."""
        self.delays: list[float] = []
        """Pauses asked for before connecting."""
        super().__init__(*arguments, **named)

    def run_connection(
        self, connection: Connection, is_tcp_originator: bool, **named: Any
    ) -> bool:
        """Note when the thread waits for more, and when it ends."""
        ours, theirs = connection.local_address, connection.remote_address
        link = Link()
        receive, send, taken = connection.wait_and_receive, connection.send, 0

        def note_and_receive(**how: Any) -> bytes | None:
            nonlocal taken
            self.note(link, octets_taken=taken)
            octets = receive(**how)
            taken += len(octets or b"")
            return octets

        def note_and_send(octets: bytes, droppable: bool) -> bool:
            with self.moved:  # counted and sent in one
                is_sent = send(octets, droppable)
                link.octets_sent += len(octets) * is_sent
            return is_sent

        for name, wrapped in (
            ("wait_and_receive", note_and_receive),
            ("send", note_and_send),
        ):
            setattr(connection, name, wrapped)
        assert self.named is not None
        carrier = getattr(connection, "_carrier", connection)
        carrier.local_address, carrier.remote_address = self.named
        self.links[(ours if is_tcp_originator else theirs).port] = link
        was_heard: bool = super().run_connection(  # type: ignore[misc]
            connection, is_tcp_originator, **named
        )
        self.note(link, is_ended=True)
        return was_heard

    def note(self, link: Link | None = None, **changes: object) -> None:
        """Tell the player that something has moved."""
        with self.moved:
            for name, value in changes.items():
                setattr(link, name, value)
            self.moved.notify_all()

    def execute(self, effects: Sequence[Effect]) -> None:
        """Carry effects out, and note who did."""
        super().execute(effects)  # type: ignore[misc]
        name = threading.current_thread().name
        with self.moved:
            self.rounds[name] = self.rounds.get(name, 0) + 1
            self.moved.notify_all()


def to_port(configuration: Configuration, port: int) -> Configuration:
    """The same, to another port of the peer's."""
    tls = configuration.tls
    return replace(
        configuration,
        remote=replace(configuration.remote, port=port),
        tls=None if tls is None else replace(tls, port=port),
    )


class ObservedResponder(Observed, Responder):
    """A responder whose threads can be watched."""


class GatedInitiator(Observed, Initiator):
    """An initiator that connects when the script says so, and never pauses.

    ``gate`` holds the port for each attempt.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.gate: queue.SimpleQueue[int] = queue.SimpleQueue()
        super().__init__(*arguments, **named)

    def _connect_after(self, delay_seconds: float) -> None:
        self.delays.append(delay_seconds)
        super()._connect_after(0.0)

    def _connect(self, address: IpAddress) -> Connection | None:
        port = self.gate.get()
        if self.is_stopping:
            return None
        self._ways = Ways(to_port(self.configuration, port))
        return super()._connect(address)

    def _close_openers(self) -> None:
        self.gate.put(0)
        super()._close_openers()


class Player(contextlib.ExitStack):
    """Plays one scenario against one peer; a context manager.

    Parameters
    ----------
    group, test : Json
        The scenario with its group.
    version : int
        Of the loopback addresses that the connections really have: 4 or 6.
    piece : int or None
        Octets are sent in pieces of this size, each as a segment of its own; ``None``:
        all at once.
    is_tls : bool
        Everything is inside TLS.
    """

    def __init__(
        self,
        group: Json,
        test: Json,
        version: int = 4,
        piece: int | None = None,
        is_tls: bool = False,
    ) -> None:
        super().__init__()
        self._test = test
        self._is_tls = is_tls
        self._version = version
        self._piece = piece
        self._is_originator: bool = group["isTcpOriginator"]
        self.draws = Draws(test["draws"])
        self.told = Recorder()
        self._clock = SteppedClock()
        self._sockets: dict[int, socket.socket] = {}
        self._links: dict[int, Link] = {}
        self._read: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._suites = suites_of(group)
        self._listener = self._bound()
        self._listener.listen()
        limits = mapping_policy(test["policy"])
        with mock.patch.object(peer_module, "mapping_policy", return_value=limits):
            self.peer = self._make_peer(ike_policy(group, test))
        self.callback(self.peer.stop)
        self.callback(self.peer.hurry)
        if test["sessions"] or not self._is_originator:
            self.peer.start()
        for session in test["sessions"]:
            self._install(session)
        self.peer.delays.clear()
        self._dropped = dropped_by(self.peer.endpoint)

    def _bound(self) -> socket.socket:
        """Open a socket with a port of its own, where nobody listens yet."""
        family = socket.AF_INET if self._version == 4 else socket.AF_INET6
        bound = self.enter_context(socket.socket(family))
        bound.settimeout(PATIENCE_SECONDS)
        bound.bind((LOOPBACK[self._version], 0))
        return bound

    def _make_peer(self, ike: Any) -> Any:
        address = LOOPBACK[self._version]
        if self._is_originator:
            port = self._listener.getsockname()[1]
            configuration = initiator_configuration(port, address)
            kind: Any = GatedInitiator
        else:
            configuration = responder_configuration(address)
            kind = ObservedResponder
        configuration = replace(configuration, ike=ike)
        if self._is_tls and self._is_originator:
            configuration = replace(configuration, tls=initiator_tls(port))
        elif self._is_tls:
            configuration = replace(configuration, tls=responder_tls())
        return kind(configuration, [self.told], entropy=self.draws, clock=self._clock)

    def _install(self, session: Json) -> None:
        ike, esp = self._suites
        effects = install_session(
            self.peer.endpoint,
            ike_state(session["ikeSa"], ike),
            [child_state(session["childSa"], esp)],
            self._is_originator,
            NOWHERE,
            self._clock.at,
        )
        spi = bytes.fromhex(session["ikeSa"]["spiI"])
        self.peer.execute([*effects, IkeSaEstablished(spi, "")])

    # --- a step -----------------------------------------------------------------------

    def differences(self) -> Iterator[str]:
        """Play every step; the first one that differs is the last one played."""
        for number, step in enumerate(self._test["steps"], 1):
            self._happen(step)
            seen = self._look(step["expect"])
            want = wanted(step["expect"], seen)
            want["sent"] = _by_connection(want["sent"])
            found = [
                f"step {number}: {name}: {seen[name]} instead of {want[name]}"
                for name in want
                if seen[name] != want[name]
            ]
            yield from found
            if found:
                return
        yield from (f"nobody draws {label}" for label in self.draws.unused)
        for fields in self.told.of("problem"):
            if str(fields["text"]).startswith(("connection ", "thread ")):
                yield str(fields["text"])

    def _happen(self, step: Json) -> None:
        match step["event"]:
            case "open":
                self._open(step)
            case "receive":
                self._send(step["connection"], bytes.fromhex(step["octets"]))
            case "lost":
                self._lose(step["connection"])
            case "failed":
                self._fail()
            case "packet":
                self._inject(bytes.fromhex(step["packet"]))
            case "time":
                self._pass(step["seconds"])
            case _:
                self._wish(step["wish"])

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        with self.peer.moved:
            came = self.peer.moved.wait_for(is_so, PATIENCE_SECONDS)
        assert came, f"{what}: {self.told.events}"

    def _open(self, step: Json) -> None:
        id = step["connection"]
        here, there = step["local"], step["remote"]
        self.peer.named = (
            SocketAddress(ip_address(here["address"]), here["port"]),
            SocketAddress(ip_address(there["address"]), there["port"]),
        )
        if self._is_originator:
            self.peer.gate.put(self._listener.getsockname()[1])
            sock, name = self._listener.accept()
            port = name[1]
        else:
            peer = self.peer
            address, listening = peer.tls_address if self._is_tls else peer.address
            where = (str(address), listening)
            sock = socket.create_connection(where, PATIENCE_SECONDS)
            port = sock.getsockname()[1]
        sock.settimeout(PATIENCE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._is_tls:
            sock = wrapped(sock, is_server=self._is_originator)
        self.enter_context(sock)
        self._sockets[id] = sock
        links = self.peer.links
        self._until(lambda: _has_begun(links.get(port)), f"connection {id}")
        self._links[id] = links[port]
        self._read[id] = self._sent[id] = 0

    def _send(self, id: int, octets: bytes) -> None:
        """Send octets, and wait until the peer has acted upon them."""
        self._sent[id] += len(octets)
        size = self._piece or max(1, len(octets))
        with contextlib.suppress(ConnectionError):  # closed before the last piece
            for at in range(0, len(octets), size):
                self._sockets[id].sendall(octets[at : at + size])
        link, sent = self._links[id], self._sent[id]
        self._until(
            lambda: link.is_ended or link.octets_taken >= sent, f"octets on {id}"
        )

    def _lose(self, id: int) -> None:
        """Break a connection with RST, or with FIN, by turns."""
        if id % 2:
            reset(self._sockets[id])
        else:
            self._sockets[id].close()
        self._until(lambda: self._links[id].is_ended, f"the end of {id}")

    def _fail(self) -> None:
        """Let an attempt to connect meet a port where nobody listens."""
        rounds, name = self.peer.rounds, "iketcp-originator"
        before = rounds.get(name, 0)
        self.peer.gate.put(self._bound().getsockname()[1])
        self._until(lambda: rounds.get(name, 0) > before, "a failure")

    def _inject(self, packet: bytes) -> None:
        rounds = self.peer.rounds
        before = rounds.get("iketcp-tunnel", 0)
        assert self._device.inject(packet, PATIENCE_SECONDS)
        self._until(lambda: rounds.get("iketcp-tunnel", 0) > before, "a packet")

    def _pass(self, seconds: int) -> None:
        """Let time pass from one deadline of the endpoint's to the next."""
        end = self._clock.at + seconds
        for _ in range(MOST_WAKES):
            due = self.peer.endpoint.next_deadline(self._clock.at)
            self._clock.at = end if due is None or due > end else due
            self._wake_timer()
            if due is None or due > end:
                return
        raise AssertionError("the endpoint never sleeps")

    def _wake_timer(self) -> None:
        """Have the timer thread look at the clock: two rounds, for one may be old."""
        rounds = self.peer.rounds
        for _ in range(2):
            before = rounds.get("iketcp-timer", 0)
            self.peer.execute([Trace("clock", {})])
            self._until(lambda b=before: rounds.get("iketcp-timer", 0) > b, "the timer")  # type: ignore[misc]

    def _wish(self, wish: str) -> None:
        peer, now = self.peer, self._clock.at
        match wish:
            case "begin":
                peer.start()
            case "rekey-child":
                peer.rekey_child(CHILD)
            case "rekey-ike-sa":
                peer.rekey_ike()
            case "delete":
                peer.execute(peer.endpoint.delete_all(now))
            case _:
                for session in peer.endpoint.tables.sessions():
                    if session.ike is not None:
                        session.ike.want(CheckLiveness())
                peer.execute(peer.endpoint.time_passed(now))

    # --- what is seen -----------------------------------------------------------------

    @property
    def _device(self) -> MemoryTun:
        device = self.peer.tunnel.device
        assert isinstance(device, MemoryTun)
        return device

    def _look(self, expect: Json) -> Json:
        """Describe what is seen once the connections that should close have."""
        for id in expect["closed"]:
            link = self._links[id]
            self._until(lambda k=link: k.is_ended, f"the end of {id}")  # type: ignore[misc]
        endpoint = self.peer.endpoint
        dropped = dropped_by(endpoint)
        new, self._dropped = dropped - self._dropped, dropped
        delays, self.peer.delays = self.peer.delays, []
        sent = {id: self._take(id) for id in list(self._sockets)}
        return {
            "sent": {id: octets.hex() for id, octets in sent.items() if octets},
            "closed": sorted(filter(self._is_hung_up, list(self._sockets))),
            "reconnect": delays,
            "delivered": [packet.hex() for packet in self._device.collect(1000)],
            "dropped": sorted(new.items()),
            "open": sorted(endpoint.tables.streams),
            "sessions": sessions_of(endpoint),
        }

    def _take(self, id: int) -> bytes:
        """Read what the peer has sent on a connection, and no octet less."""
        link, octets = self._links[id], b""
        while self._sockets[id].fileno() >= 0 and (
            left := link.octets_sent - self._read[id]
        ):
            part = self._sockets[id].recv(left)
            assert part, f"connection {id} ends before its last octets"
            self._read[id] += len(part)
            octets += part
        return octets

    def _is_hung_up(self, id: int) -> bool:
        """Tell whether the peer has closed, now; its end is closed then, too."""
        sock = self._sockets[id]
        if sock.fileno() < 0:
            del self._sockets[id]
            return False
        if not self._links[id].is_ended:
            sock.setblocking(False)
        try:
            octets = sock.recv(1)
            assert not octets, f"more on connection {id}"
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (ConnectionError, ssl.SSLEOFError):
            pass  # RST, because the peer had not read everything
        finally:
            sock.settimeout(PATIENCE_SECONDS)
        sock.close()
        del self._sockets[id]
        return True


@functools.cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Both ends of TLS as Python has them: client, server."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=CA.der)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        write_issued(FilePath(folder), "server", SERVER)
        server.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    return client, server


def wrapped(sock: socket.socket, is_server: bool) -> socket.socket:
    """Put TLS around the player's end of a connection."""
    client, server = _contexts()
    if is_server:
        tls = server.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    else:
        name = "gw.example"
        tls = client.wrap_socket(
            sock, server_hostname=name, do_handshake_on_connect=False
        )
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):  # hung up on
        tls.do_handshake()
    return tls


def _has_begun(link: Link | None) -> bool:
    return link is not None and (link.is_ended or link.octets_taken >= 0)


def _by_connection(sent: list[list[Any]]) -> dict[ConnectionId, str]:
    """Join what goes out on each connection; between two there is no order to see."""
    joined: dict[ConnectionId, str] = {}
    for id, octets in sent:
        joined[id] = joined.get(id, "") + octets
    return joined
