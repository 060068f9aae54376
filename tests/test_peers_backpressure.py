"""A peer that takes nothing: packets for it wait in the device, in order, and not long.

Every wait is for an event; how long one may take is for failures only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from iketcp.effects import ConnectionId
from iketcp.net.connection import Connection
from iketcp.net.tcp_connection import TcpConnection
from iketcp.net.tun import BATCH
from iketcp.peers import peer as peer_module
from iketcp.peers.lines import Lines
from pair import ipv4_packet
from peer_support import PATIENCE_SECONDS, Peers, Running, eventually

BATCH_OCTETS = BATCH * 1500


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


class Stuck:
    """Keeps a peer from delivering, and so from reading, until it is let go."""

    def __init__(self, running: Running) -> None:
        self.gate = threading.Event()
        self._write = running.tun.write_batch
        running.tun.write_batch = self._wait  # type: ignore[method-assign]

    def _wait(self, packets: list[bytes]) -> None:
        self.gate.wait(PATIENCE_SECONDS)
        self._write(packets)


def only_connection(running: Running) -> TcpConnection:
    (connection,) = running.peer.connections.values()
    assert isinstance(connection, TcpConnection)
    return connection


def packet(number: int) -> bytes:
    return ipv4_packet("10.0.1.1", "10.0.2.1", b"%06d" % number + bytes(1300))


def test_what_finds_no_room_waits_in_the_device(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read that cannot be sent; once there is room, all of it goes on."""
    monkeypatch.setattr(peer_module, "STALL_SECONDS", PATIENCE_SECONDS)
    initiator, responder = peers.tunnel()
    stuck, connection = Stuck(responder), only_connection(initiator)
    responder.tun.patience_seconds = PATIENCE_SECONDS
    count = 0
    while not connection.queue_depth:
        assert initiator.tun.inject(packet(count), PATIENCE_SECONDS)
        count += 1
    while initiator.tun.inject(packet(count)):
        count += 1
    assert connection.queue_depth <= BATCH_OCTETS
    stuck.gate.set()
    arrived: list[bytes] = []
    while len(arrived) < count:
        more = responder.tun.collect(1000, PATIENCE_SECONDS)
        assert more, f"{len(arrived)} packets of {count}"
        arrived += more
    assert arrived == [packet(number) for number in range(count)]
    assert connection.dropped_batches == 0


def test_a_peer_that_takes_nothing_for_long_loses_packets(peers: Peers) -> None:
    """What waits for it is bounded, dropped, and counted."""
    initiator, responder = peers.tunnel(transport='send_queue = "64KiB"')
    stuck, connection = Stuck(responder), only_connection(initiator)
    try:

        def is_dropped() -> bool:
            for _ in range(512):
                initiator.tun.inject(packet(0), 0.1)
            return connection.dropped_batches > 0

        eventually(is_dropped, "a full queue")
        assert connection.queue_depth <= (64 << 10) + BATCH_OCTETS
    finally:
        stuck.gate.set()


class Waited:
    """A connection that notes who waits for it."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait_writable(self, timeout_seconds: float) -> bool:
        self.waits.append(timeout_seconds)
        return False


def test_nobody_waits_for_one_of_several_peers() -> None:
    """A slow one may not stop what is for others."""
    lines, one, other = Lines(), Waited(), Waited()
    lines.wait_writable(1.0)
    lines.open[ConnectionId(1)] = cast(Connection, one)
    lines.wait_writable(1.0)
    lines.open[ConnectionId(2)] = cast(Connection, other)
    lines.wait_writable(1.0)
    assert (one.waits, other.waits) == ([1.0], [])
