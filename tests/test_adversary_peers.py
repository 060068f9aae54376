"""Unlucky and unkind peers over real sockets: two connections, none that reads, slow.

Each test has one peer played by hand and one of ours with its threads; where others
must not notice, a third one sees to its own traffic meanwhile. All waits are for
events.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from conftest import LeakCheck
from hand_peer import HandPeer, Wire, dialled
from iketcp.environment import ScriptedClock
from iketcp.stream import STREAM_PREFIX
from pair import ipv4_packet
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Peers,
    Running,
    eventually,
    exchange,
    is_hung_up,
    reset,
    up,
)

QUICK = 'reconnect_first = "1ms"\nreconnect_max = "5ms"'
POOL = '[pool]\nnetworks = ["10.0.1.0/24"]'
ASSIGNED = {"ike": 'request_addresses = ["ipv4"]', "child": "assigned = true"}
SMALL_QUEUE = 'send_queue = "64KiB"'
SMALL_BUFFER = 4096
"""Octets that the stack of a peer takes before it says stop."""


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


def no_problem(*running: Running) -> None:
    """Check that nobody had anything to complain about."""
    for each in running:
        assert each.told.of("problem") == []
        assert each.peer.ended_reason is None


def forth(number: int, here: str = "10.0.1.1") -> bytes:
    """An inner packet to the responder's network."""
    return ipv4_packet(here, "10.0.2.1", b"forth %d" % number)


def back(number: int, there: str = "10.0.1.1") -> bytes:
    """An inner packet from the responder's network."""
    return ipv4_packet("10.0.2.1", there, b"back %d" % number)


def collect(running: Running, count: int) -> list[bytes]:
    """Wait for so many inner packets."""
    packets: list[bytes] = []
    while len(packets) < count:
        more = running.tun.collect(1000, PATIENCE_SECONDS)
        assert more, f"{len(packets)} packets of {count}"
        packets += more
    return packets


# --- two connections at once ----------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_two_connections_with_traffic_on_both(peers: Peers, version: int) -> None:
    """Both are heard, and answers come whole on one or the other. [9329-6.1-both]"""
    responder = peers.responder(version)
    hand = HandPeer(is_tcp_originator=True)
    with dialled(responder.peer.address) as one, dialled(responder.peer.address) as two:
        hand.come_up(one)
        count = 800
        frames = [hand.seal(forth(number)) for number in range(count)]

        def send(wire: Wire, first: int) -> None:
            for frame in frames[first::2]:
                wire.send(frame)

        senders = [
            threading.Thread(target=send, args=(one, 0)),
            threading.Thread(target=send, args=(two, 1)),
        ]
        for sender in senders:
            sender.start()
        answers = [back(number) for number in range(count)]
        for answer in answers:
            assert responder.tun.inject(answer, PATIENCE_SECONDS)
        for sender in senders:
            sender.join()
        arrived = collect(responder, count)
        assert sorted(arrived) == sorted(forth(number) for number in range(count))
        settle_on(hand, responder, one, 1)
        settle_on(hand, responder, two, 2)
        # what came while both were in use stands on either, ahead of those two answers
        assert sorted(hand.delivered) == sorted(answers)
        assert len(responder.peer.connections) == 2
    no_problem(responder)


def settle_on(hand: HandPeer, responder: Running, wire: Wire, number: int) -> None:
    """Send one packet on a connection; the answer comes there. [9329-6.1-last-valid]"""
    wire.send(hand.seal(forth(-number)))
    assert collect(responder, 1) == [forth(-number)]
    responder.tun.inject(back(-number), PATIENCE_SECONDS)
    hand.hear_packet(wire, back(-number))


# --- a peer that never reads ----------------------------------------------------------


def pour(running: Running, packet: bytes) -> None:
    """Send packets to a peer until its queue is full, and then as many again."""
    for _ in range(2):
        before = dropped_for(running)

        def is_dropped(before: int = before) -> bool:
            for _ in range(512):
                running.tun.inject(packet, 0.1)
            return dropped_for(running) > before

        eventually(is_dropped, "a full queue")


def dropped_for(running: Running) -> int:
    """How many batches were dropped because nobody reads."""
    return sum(c.dropped_batches for c in list(running.peer.connections.values()))


def is_bounded(running: Running) -> bool:
    """Tell whether no queue is longer than it may be."""
    connections = list(running.peer.connections.values())
    return all(c.queue_depth <= c.hard_limit for c in connections)


def test_an_originator_that_never_reads(peers: Peers) -> None:
    """Packets for it are dropped; whoever reads does not notice. RFC 9329 §9.2"""
    responder = peers.responder(
        child=ASSIGNED["child"], more=POOL, transport=SMALL_QUEUE
    )
    port = responder.peer.address.port
    other = peers.initiator(port, identity="other.example", **ASSIGNED)
    up(other)
    (address,) = other.peer.tunnel.addresses
    here = str(address).partition("/")[0]
    hand = HandPeer(True, **ASSIGNED)
    with dialled(responder.peer.address, SMALL_BUFFER) as wire:
        hand.come_up(wire)
        (there,) = hand.addresses
        pour(responder, ipv4_packet("10.0.2.1", there, bytes(1300)))
        assert is_bounded(responder)
        wire.send(hand.seal(forth(1, there)))
        assert collect(responder, 1) == [forth(1, there)]
        for number in range(5):
            exchange(other, responder, number, here=here)
        # it begins to read: what the queue held comes whole, and then what is new
        responder.tun.inject(back(1, there), PATIENCE_SECONDS)
        while back(1, there) not in hand.delivered:
            hand.hear(wire)
            responder.tun.inject(back(1, there), PATIENCE_SECONDS)
    no_problem(responder, other)


def test_an_originator_that_asks_and_never_reads(peers: Peers) -> None:
    """Answers cannot be dropped, so the connection is; the SAs live. RFC 9329 §6.1"""
    responder = peers.responder(transport=SMALL_QUEUE)
    hand = HandPeer(is_tcp_originator=True)
    with dialled(responder.peer.address, SMALL_BUFFER) as wire:
        hand.come_up(wire)
        question = hand.question() * 512
        with contextlib.suppress(ConnectionError):
            while True:  # the other side ends it
                wire.send(question)
                assert is_bounded(responder)
    closed = responder.told.wait_for("connection-closed")
    limit = 4 * 65536
    assert closed["reason"] == (
        f"the peer does not read: more than {limit} octets would wait for it"
    )
    with dialled(responder.peer.address) as wire:
        wire.send(hand.seal(forth(1)))
        assert collect(responder, 1) == [forth(1)]
        responder.tun.inject(back(1), PATIENCE_SECONDS)
        hand.hear_packet(wire, back(1))
    assert responder.told.of("ike-sa-closed") == []
    no_problem(responder)


def test_a_responder_that_never_reads(peers: Peers) -> None:
    """The initiator drops, and ends when it should; a new connection serves again."""
    with listening() as listener:
        initiator = peers.initiator(
            listener.getsockname()[1], transport=f"{SMALL_QUEUE}\n{QUICK}"
        )
        hand = HandPeer(is_tcp_originator=False)
        with contextlib.closing(accepted(listener)) as wire:
            hand.come_up(wire)
            initiator.told.wait_for("child-sa-installed")
            pour(initiator, ipv4_packet("10.0.1.1", "10.0.2.1", bytes(1300)))
            assert is_bounded(initiator)
            wire.send(hand.seal(back(1)))
            assert collect(initiator, 1) == [back(1)]
            reset(wire.sock)
        with contextlib.closing(accepted(listener)) as wire:
            hand.hear(wire)
            resumed(hand, initiator, wire, 2)
            pour(initiator, ipv4_packet("10.0.1.1", "10.0.2.1", bytes(1300)))
            initiator.peer.hurry()
            initiator.peer.stop()
    no_problem(initiator)


def resumed(hand: HandPeer, initiator: Running, wire: Wire, number: int) -> None:
    """Carry a packet each way between an initiator and a responder by hand."""
    wire.send(hand.seal(back(number)))
    assert collect(initiator, 1) == [back(number)]
    assert initiator.tun.inject(forth(number), PATIENCE_SECONDS)
    hand.hear_packet(wire, forth(number))


# --- octet by octet -------------------------------------------------------------------


def test_an_originator_that_sends_one_octet_at_a_time(peers: Peers) -> None:
    """Handshake and packets come all the same, and others are served. RFC 9329 §3"""
    responder = peers.responder(child=ASSIGNED["child"], more=POOL)
    port = responder.peer.address.port
    other = peers.initiator(port, identity="other.example", **ASSIGNED)
    up(other)
    (address,) = other.peer.tunnel.addresses
    hand = HandPeer(True, **ASSIGNED)
    with dialled(responder.peer.address) as wire:
        hand.come_up(wire, piece=1)
        (there,) = hand.addresses
        wire.send(hand.seal(forth(1, there)), piece=1)
        assert collect(responder, 1) == [forth(1, there)]
        frame = hand.seal(forth(2, there))
        for octet in frame[:-1]:
            wire.send(bytes([octet]))
        exchange(other, responder, here=str(address).partition("/")[0])
        wire.send(frame[-1:])
        assert collect(responder, 1) == [forth(2, there)]
    no_problem(responder, other)


def test_a_responder_that_sends_one_octet_at_a_time(peers: Peers) -> None:
    """The initiator has as much patience. RFC 9329 §3"""
    with listening() as listener:
        initiator = peers.initiator(listener.getsockname()[1])
        hand = HandPeer(is_tcp_originator=False)
        with contextlib.closing(accepted(listener)) as wire:
            hand.come_up(wire, piece=1)
            initiator.told.wait_for("child-sa-installed")
            wire.send(hand.seal(back(1)), piece=1)
            assert collect(initiator, 1) == [back(1)]
            initiator.peer.hurry()
            initiator.peer.stop()
    no_problem(initiator)


def test_one_octet_a_second_is_too_slow_for_a_first_message(peers: Peers) -> None:
    """Nobody waits for a stranger's message longer than so. [9329-6.1-idle]"""
    clock = ScriptedClock()
    responder = peers.responder(clock=clock)
    hand = HandPeer(is_tcp_originator=True)
    with dialled(responder.peer.address) as wire:
        responder.told.wait_for("stream-prefix")
        (connection,) = responder.peer.connections.values()
        for count, octet in enumerate(hand.take_outbox(), len(STREAM_PREFIX) + 1):
            wire.send(bytes([octet]))
            eventually(lambda c=count: connection.octets_in >= c)  # type: ignore[misc]
            if clock.advance(1.0) >= 10.0:
                break
        assert is_hung_up(wire.sock)
    closed = responder.told.wait_for("connection-closed")
    assert closed["reason"] == "no valid message in time"
    assert responder.peer.endpoint.map.half_open.timed_out == 1


def test_one_octet_a_second_is_fast_enough_for_a_session(peers: Peers) -> None:
    """Who has shown a valid message may take his time. RFC 9329 §3"""
    clock = ScriptedClock()
    responder = peers.responder(clock=clock, ike='liveness = "none"')
    hand = HandPeer(is_tcp_originator=True)
    with dialled(responder.peer.address) as wire:
        hand.come_up(wire)
        for octet in hand.seal(forth(1)):
            clock.advance(1.0)
            wire.send(bytes([octet]))
        assert collect(responder, 1) == [forth(1)]
    no_problem(responder)


# --- 500 idle connections -------------------------------------------------------------


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    """Let this process have as many descriptors as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"this process may have no more than {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def stranger(running: Running, address: str) -> socket.socket:
    """Connect from an address of this machine, and say nothing."""
    host, port = running.peer.address
    return socket.create_connection((str(host), port), PATIENCE_SECONDS, (address, 0))


@pytest.mark.usefixtures("_many_descriptors")
@pytest.mark.parametrize(
    ("addresses", "held"),
    [(["127.0.0.2"], 16), ([f"127.0.1.{n}" for n in range(1, 51)], 256)],
    ids=["of one address", "of fifty addresses"],
)
def test_500_idle_connections(
    leak_check: LeakCheck, addresses: list[str], held: int
) -> None:
    """As many as may wait do, with the limits as they come. [9329-6.1-idle]"""
    with Peers() as peers:
        peers.tunnel()
    clock = ScriptedClock()
    with leak_check(), Peers() as peers:
        responder = peers.responder(clock=clock, ike='liveness = "none"')
        initiator = peers.initiator(responder.peer.address.port)
        up(initiator, responder)
        counts = responder.peer.endpoint.map.half_open
        clients = []
        try:
            for number in range(500):
                clients.append(stranger(responder, addresses[number % len(addresses)]))
                if number % 100 == 99:  # the backlog has a limit of its own
                    eventually(lambda n=number: counts.refused + counts.total > n)  # type: ignore[misc]
            eventually(lambda: counts.refused == 500 - held, "a refusal of each")
            connections = responder.peer.connections
            eventually(lambda: len(connections) == held + 1, "their end")
            assert counts.total == held
            exchange(initiator, responder)
            clock.advance(10.0)
            assert all(is_hung_up(client) for client in clients)
            eventually(lambda: len(connections) == 1, "the end of the others")
        finally:
            for client in clients:
                client.close()
        assert (counts.total, counts.timed_out) == (0, held)
        exchange(initiator, responder, 1)
        with stranger(responder, addresses[0]):
            eventually(lambda: counts.total == 1, "room for one more")
        no_problem(initiator, responder)


# --- unkind responders ----------------------------------------------------------------


def listening() -> socket.socket:
    """Listen where an initiator can be led to."""
    listener = socket.create_server((LOOPBACK[4], 0))
    listener.settimeout(PATIENCE_SECONDS)
    return listener


def accepted(listener: socket.socket) -> Wire:
    """Wait for the initiator to connect."""
    sock, _ = listener.accept()
    return Wire(sock, expects_prefix=True)


def hang_up(wire: Wire) -> None:
    """Close with FIN, whatever has not been read."""
    wire.sock.shutdown(socket.SHUT_WR)


def sends(octets: bytes) -> Callable[[Wire], None]:
    """Send octets that no initiator can follow."""

    def send(wire: Wire) -> None:
        with contextlib.suppress(ConnectionError):  # it has seen enough
            wire.send(octets)

    return send


UNKIND: dict[str, Callable[[Wire], None]] = {
    "RST": lambda wire: reset(wire.sock),
    "FIN": hang_up,
    "Length 0": sends(b"\0\0"),
    "Length 1": sends(b"\0\1"),
    "its own prefix, again and again": sends(STREAM_PREFIX * 60_000),
    "nonsense": sends((b"\0\x20" + bytes(30)) * 20),
    "unknown SPIs": sends((b"\0\x24spi!" + bytes(30)) * 20),
    "a cut message": lambda wire: (wire.send(b"\0\x40" + bytes(9)), hang_up(wire))[1],
}


def at_once(hand: HandPeer, wire: Wire) -> None:
    """Be unkind before anything is read."""


def once_asked(hand: HandPeer, wire: Wire) -> None:
    """Take IKE_SA_INIT, and do not answer."""
    hand.hear_only(wire)
    hand.take_outbox()


def once_answered(hand: HandPeer, wire: Wire) -> None:
    """Answer IKE_SA_INIT, take IKE_AUTH, and do not answer that."""
    if not hand.is_up:
        hand.hear(wire)
    while not hand.is_up or not hand.outbox:
        hand.hear_only(wire)
    hand.take_outbox()


def once_up(hand: HandPeer, wire: Wire) -> None:
    """Let the session come up, or come back."""
    if hand.is_up:
        hand.hear(wire)
    else:
        hand.come_up(wire)


STAGES = {f.__name__: f for f in (at_once, once_asked, once_answered, once_up)}
TIMES = 3


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("unkindness", UNKIND)
def test_an_unkind_responder(peers: Peers, stage: str, unkindness: str) -> None:
    """The initiator connects again until the responder is kind. [9329-6.1-corrupt]

    Nothing that stands on a stream in the clear ends an IKE SA, or the attempt to make
    one: whoever sits on the path could send it.
    """
    with listening() as listener:
        initiator = peers.initiator(listener.getsockname()[1], transport=QUICK)
        hand = HandPeer(is_tcp_originator=False)
        for _ in range(TIMES):
            with contextlib.closing(accepted(listener)) as wire:
                STAGES[stage](hand, wire)
                if stage == "once_up":
                    initiator.told.wait_for("child-sa-installed")
                UNKIND[unkindness](wire)
                assert wire.sock.fileno() < 0 or is_hung_up(wire.sock)
        with contextlib.closing(accepted(listener)) as wire:
            hand.hear(wire)
            while not hand.is_up:
                hand.hear(wire)
            initiator.told.wait_for("child-sa-installed")
            resumed(hand, initiator, wire, 1)
        assert len(initiator.told.of("child-sa-installed")) == 1
        assert initiator.told.of("ike-sa-closed") == []
        initiator.peer.hurry()
        initiator.peer.stop()
    no_problem(initiator)
