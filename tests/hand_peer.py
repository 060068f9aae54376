"""A peer played by hand: true keys, real sockets, and no manners.

Its endpoint knows of one connection that never ends. Which real socket a frame goes out
on, when, how often and in which pieces is up to the test, and so is what else stands
between the frames: this is how a peer looks that is unlucky, slow, broken or unkind.
Nothing happens here in any thread but the caller's.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from iketcp.effects import (
    ConfigurationAssigned,
    ConnectionId,
    DeliverInner,
    Effect,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.nat_detection import Path
from iketcp.mapping import MappingPolicy
from iketcp.net.system import SystemClock, SystemEntropy
from iketcp.stream import (
    STREAM_PREFIX,
    MessageKind,
    StreamDecoder,
    frame_esp,
    frame_ike,
)
from peer_support import (
    PATIENCE_SECONDS,
    initiator_configuration,
    responder_configuration,
)

ALWAYS = ConnectionId(1)
"""The one connection of its endpoint."""


class Wire:
    """One real connection, and what is being read from it."""

    def __init__(self, sock: socket.socket, expects_prefix: bool) -> None:
        sock.settimeout(PATIENCE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.decoder = StreamDecoder(expects_prefix=expects_prefix)

    def close(self) -> None:
        """Close it."""
        self.sock.close()

    def send(self, octets: bytes, piece: int | None = None) -> None:
        """Send octets, in pieces of that size."""
        size = piece or max(1, len(octets))
        for at in range(0, len(octets), size):
            self.sock.sendall(octets[at : at + size])

    def frames(self) -> Iterator[bytes]:
        """Wait for at least one whole message; yield what has come, each framed anew.

        Raises
        ------
        EOFError
            The other side has closed.
        """
        messages = []
        while not messages:
            octets = self.sock.recv(65536)
            if not octets:
                raise EOFError
            messages = self.decoder.feed(octets)
            assert self.decoder.failure is None
        for kind, message in messages:
            assert kind in (MessageKind.IKE, MessageKind.ESP), (kind, message)
            is_ike = kind is MessageKind.IKE
            yield frame_ike(message) if is_ike else frame_esp(message)


class HandPeer:
    """One end of a session, without connections of its own.

    Parameters
    ----------
    is_tcp_originator : bool
        Plays the initiator, else the responder.
    options : Any
        As of the configurations in :mod:`peer_support`.
    """

    def __init__(self, is_tcp_originator: bool, **options: Any) -> None:
        self.is_tcp_originator = is_tcp_originator
        configuration = (
            initiator_configuration(4500, **options)
            if is_tcp_originator
            else responder_configuration(**options)
        )
        self._clock = SystemClock()
        self.endpoint = Endpoint(configuration.ike, MappingPolicy(), SystemEntropy())
        self.delivered: list[bytes] = []
        self.addresses: list[str] = []
        self.outbox: list[bytes] = []
        """Frames that its endpoint wants sent."""
        here, there = ip_address("192.0.2.1"), ip_address("192.0.2.2")
        path = Path(here, 40000, there, 4500)
        now = self._clock.now()
        if is_tcp_originator:
            self.endpoint.initiate()
        self._act(self.endpoint.connection_opened(ALWAYS, path, is_tcp_originator, now))
        if not is_tcp_originator:
            self.feed(STREAM_PREFIX)

    def _act(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit() if effect.octets != STREAM_PREFIX:
                    self.outbox.append(effect.octets)
                case DeliverInner():
                    self.delivered += effect.packets
                case ConfigurationAssigned():
                    self.addresses += [str(each.ip) for each in effect.addresses]

    def feed(self, frame: bytes) -> None:
        """Let its endpoint take a message."""
        self._act(self.endpoint.octets_received(ALWAYS, frame, self._clock.now()))

    def take_outbox(self) -> bytes:
        """Take what is to be sent."""
        octets = b"".join(self.outbox)
        self.outbox.clear()
        return octets

    def seal(self, packet: bytes) -> bytes:
        """Seal an inner packet; the frame is returned, not sent."""
        (effect,) = self.endpoint.inner_packets([packet])
        assert isinstance(effect, Transmit)
        return effect.octets

    def question(self) -> bytes:
        """Begin an empty INFORMATIONAL; the frame is returned, not sent."""
        for session in self.endpoint.tables.sessions():
            assert session.ike is not None
            session.ike.want(CheckLiveness())
        self._act(self.endpoint.time_passed(self._clock.now()))
        return self.take_outbox()

    @property
    def is_up(self) -> bool:
        """It has a Child SA."""
        return bool(self.endpoint.tables.children)

    def hear(self, wire: Wire, piece: int | None = None) -> None:
        """Wait for messages, let them be taken, and send what is answered."""
        self.hear_only(wire)
        wire.send(self.take_outbox(), piece)

    def hear_only(self, wire: Wire) -> None:
        """Wait for messages and let them be taken; answers stay in the outbox."""
        for frame in wire.frames():
            self.feed(frame)

    def come_up(self, wire: Wire, piece: int | None = None) -> None:
        """Carry the handshake on over one connection until there is a Child SA."""
        if self.is_tcp_originator:
            wire.send(self.take_outbox(), piece)
        while not self.is_up:
            self.hear(wire, piece)

    def hear_packet(self, wire: Wire, packet: bytes) -> None:
        """Take what comes until an inner packet has arrived; nothing is answered."""
        while packet not in self.delivered:
            self.hear_only(wire)
        self.delivered.remove(packet)


@contextlib.contextmanager
def dialled(
    address: tuple[Any, int], receive_buffer: int | None = None
) -> Iterator[Wire]:
    """Connect as TCP Originator and send the prefix.

    Parameters
    ----------
    receive_buffer : int or None
        Octets; a small one fills soon.
    """
    host, port = str(address[0]), address[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((host, port))
        wire = Wire(sock, expects_prefix=False)
        wire.send(STREAM_PREFIX)
        yield wire
