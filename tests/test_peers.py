"""Peers with threads, sockets on loopback and tunnels in memory.

Every wait is for an event; how long one may take is for failures only.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from conftest import LeakCheck
from iketcp.effects import IkeSaEstablished
from iketcp.endpoint import Endpoint
from iketcp.environment import ScriptedClock
from iketcp.errors import EnvironmentProblem
from iketcp.net.tcp_connection import ConnectionBroken
from iketcp.peers import Initiator, Responder
from iketcp.peers import initiator as initiator_module
from iketcp.peers import peer as peer_module
from iketcp.peers.threads import ThreadGroup
from iketcp.stream import STREAM_PREFIX
from pair import ipv4_packet
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Peers,
    Recorder,
    Running,
    eventually,
    exchange,
    initiator_configuration,
    is_hung_up,
    raw_connection,
    reset,
    responder_configuration,
    unanswering_port,
    up,
)

QUICK = 'reconnect_first = "10ms"\nreconnect_max = "50ms"'
POOL = '[pool]\nnetworks = ["10.0.1.0/24"]'
NEVER = 'prefix_deadline = "1d"'


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


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK[4], 0))
        port: int = sock.getsockname()[1]
        return port


# --- the tunnel -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_handshake_and_packets(peers: Peers, version: int) -> None:
    """Two peers agree over real sockets and carry packets. RFC 9329 §2."""
    initiator, responder = peers.tunnel(version)
    exchange(initiator, responder)
    (opened,) = responder.told.of("connection-opened")
    assert str(opened["remote"]).startswith(LOOPBACK[version])
    no_problem(initiator, responder)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("is_cut_by_originator", [True, False])
def test_reconnection_keeps_the_sas(
    peers: Peers, version: int, is_cut_by_originator: bool
) -> None:
    """A reset connection is made anew; the SPIs are the same. [9329-6.1-reestablish]"""
    initiator, responder = peers.tunnel(version)
    exchange(initiator, responder)
    for number in range(1, 4):
        before = initiator.spis, responder.spis
        cutter = initiator if is_cut_by_originator else responder
        assert cutter.peer.cut() == 1
        responder.told.wait_for("mapping-moved", number)
        exchange(initiator, responder, number)
        assert (initiator.spis, responder.spis) == before
    assert initiator.told.of("ike-sa-closed") == []
    assert len(initiator.told.of("ike-sa-established")) == 1
    no_problem(initiator, responder)


def test_the_originator_tries_until_somebody_listens(peers: Peers) -> None:
    """Each failed attempt is told, and the next follows after a pause."""
    port = free_port()
    initiator = peers.initiator(port, transport=QUICK)
    failed = initiator.told.wait_for("connect-failed", 3)
    assert failed["attempt"] == 3
    assert failed["reason"] == (
        f"cannot connect to 127.0.0.1 port {port}: Connection refused"
    )
    responder = peers.responder(port=port)
    up(initiator, responder)
    exchange(initiator, responder)
    no_problem(initiator, responder)


def test_only_addresses_of_our_own_family_are_tried(peers: Peers) -> None:
    """From a given IPv6 address nobody connects to IPv4: said, and tried again."""
    told = Recorder()
    configuration = initiator_configuration(4500, transport=QUICK)
    local = replace(configuration.local, address=LOOPBACK[6])
    peers.start(Initiator(replace(configuration, local=local), [told]), told)
    reason = told.wait_for("connect-failed", 2)["reason"]
    assert reason == "127.0.0.1 has no IPv6 address, as ::1 is"


def test_a_restarted_responder_is_found_again(peers: Peers) -> None:
    """A session that DELETE ended is followed by a new one. RFC 7296 §1.4.1"""
    initiator, responder = peers.tunnel(transport=QUICK)
    port = responder.peer.address.port
    before = initiator.spis
    responder.peer.stop()
    closed = initiator.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    initiator.told.wait_for("connect-failed", 2)
    again = peers.responder(port=port)
    up(initiator, count=2)
    up(again)
    exchange(initiator, again)
    assert not before & initiator.spis
    no_problem(initiator, again)


def test_a_refusal_after_a_restart_ends_the_initiator(peers: Peers) -> None:
    """What was up once may be refused later: then, too, nobody waits in vain."""
    initiator, responder = peers.tunnel(transport=QUICK)
    port = responder.peer.address.port
    responder.peer.stop()
    peers.responder(port=port, secret="another secret of sixteen octets")
    initiator.until(lambda: initiator.peer.ended_reason is not None)
    assert "AUTHENTICATION_FAILED" in initiator.peer.ended_reason


def test_a_wrong_secret_ends_the_initiator_with_a_sentence(peers: Peers) -> None:
    """The initiator ends and says why; the responder serves on. RFC 7296 §2.21.2"""
    responder = peers.responder()
    port = responder.peer.address.port
    ended = threading.Event()
    wrong = peers.initiator(port, secret="another secret of sixteen octets")
    wrong.peer.on_end(ended.set)
    assert ended.wait(PATIENCE_SECONDS)
    sentence = "authentication failed: the peer answers AUTHENTICATION_FAILED"
    assert wrong.peer.ended_reason == sentence
    assert wrong.told.wait_for("problem") == {"text": sentence}
    right = peers.initiator(port)
    up(right)
    responder.told.wait_for("child-sa-installed")
    exchange(right, responder)
    no_problem(right, responder)


def test_two_initiators_with_addresses_from_a_pool(peers: Peers) -> None:
    """Each has an address of its own, and gets its own packets. RFC 7296 §2.19"""
    responder = peers.responder(child="assigned = true", more=POOL)
    one, other = two_assigned(peers, responder)
    here = [assigned_address(each) for each in (one, other)]
    assert here[0] != here[1]
    for number in range(3):
        exchange(one, responder, number, here=here[0])
        exchange(other, responder, number, here=here[1])
    assert one.tun.collect() == other.tun.collect() == []
    no_problem(one, other, responder)


def two_assigned(peers: Peers, responder: Running) -> tuple[Running, Running]:
    """Start two initiators that ask for an address."""
    port = responder.peer.address.port
    options = {
        "ike": 'request_addresses = ["ipv4"]',
        "child": "assigned = true",
        "transport": QUICK,
    }
    one = peers.initiator(port, identity="one.example", **options)
    other = peers.initiator(port, identity="other.example", **options)
    up(one, other)
    up(responder, count=2)
    return one, other


def assigned_address(running: Running) -> str:
    """Return the one address that was assigned."""
    (address,) = running.peer.tunnel.addresses
    return str(address).partition("/")[0]


def test_a_new_address_takes_the_place_of_the_old(peers: Peers) -> None:
    """After a restart the pool may be another. RFC 7296 §2.19"""
    responder = peers.responder(child="assigned = true", more=POOL)
    port = responder.peer.address.port
    one, _ = two_assigned(peers, responder)
    before = assigned_address(one)
    responder.peer.stop()
    more = '[pool]\nnetworks = ["10.0.1.128/25"]\ndns = ["10.0.2.53"]'
    peers.responder(port=port, child="assigned = true", more=more)
    up(one, count=2)
    assert assigned_address(one) != before
    assert one.peer.tunnel.dns_servers == ("10.0.2.53",)


def test_a_peer_that_does_not_read_keeps_nobody_waiting(peers: Peers) -> None:
    """Its queue fills, packets for it are dropped; others do not notice."""
    responder = peers.responder(
        child="assigned = true", more=POOL, transport='send_queue = "64KiB"'
    )
    stuck, other = two_assigned(peers, responder)
    gate = threading.Event()
    stuck.tun.write_batch = lambda packets: gate.wait()  # type: ignore[method-assign]
    try:
        fill_queue(responder, assigned_address(stuck))
        for number in range(3):
            exchange(other, responder, number, here=assigned_address(other))
    finally:
        gate.set()
    no_problem(stuck, other, responder)


def fill_queue(responder: Running, there: str) -> None:
    """Send to one peer until packets for it are dropped."""
    packet = ipv4_packet("10.0.2.1", there, bytes(1300))

    def is_dropped() -> bool:
        for _ in range(512):
            responder.tun.inject(packet, 0.1)
        connections = list(responder.peer.connections.values())
        return any(c.dropped_batches for c in connections)

    eventually(is_dropped, "a full queue")


def test_nothing_overtakes_the_prefix(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets for a new connection come after its prefix. [9329-4-prefix]"""
    initiator, responder = peers.tunnel()
    connection_opened = Endpoint.connection_opened
    packet = ipv4_packet("10.0.1.1", "10.0.2.1", b"impatient")
    overtaking = []

    def slow(self: Endpoint, *arguments: Any) -> Any:
        effects = connection_opened(self, *arguments)
        if self is initiator.peer.endpoint:
            sealed = self.inner_packets([packet])
            overtaking.extend(sealed)
            initiator.peer.execute(sealed)
        return effects

    monkeypatch.setattr(Endpoint, "connection_opened", slow)
    initiator.peer.cut()
    responder.told.wait_for("mapping-moved")
    exchange(initiator, responder)
    assert overtaking
    assert len(responder.told.of("connection-opened")) == 2
    no_problem(initiator, responder)


def test_a_silent_connection_is_given_up_in_time(peers: Peers) -> None:
    """Both ends tell their stack how long nothing may be taken. RFC 9329 §6.1"""
    responder = peers.responder(transport='user_timeout = "7s"')
    initiator = peers.initiator(responder.peer.address.port)
    up(initiator, responder)
    assert [user_timeout(each) for each in (initiator, responder)] == [20_000, 7_000]


def user_timeout(running: Running) -> int:
    """Milliseconds that its one connection may carry nothing."""
    (connection,) = running.peer.connections.values()
    option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
    milliseconds: int = connection._socket.getsockopt(*option)
    return milliseconds


# --- the end --------------------------------------------------------------------------


@pytest.mark.parametrize("is_initiator_first", [True, False])
def test_a_graceful_stop_deletes_the_session(
    peers: Peers, is_initiator_first: bool
) -> None:
    """DELETE goes out and is answered, and the other side knows. [9329-6.1-delete]"""
    transport = 'reconnect_first = "1h"\nreconnect_max = "1h"'
    initiator, responder = peers.tunnel(transport=transport)
    first, second = (
        (initiator, responder) if is_initiator_first else (responder, initiator)
    )
    first.peer.stop()
    closed = first.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by us"
    closed = second.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    assert not second.peer.endpoint.has_sessions
    second.told.wait_for("connection-closed")
    no_problem(first, second)


def test_stop_is_idempotent_from_many_threads(leak_check: LeakCheck) -> None:
    """Whoever stops a peer, and how often: it is stopped when the call returns."""
    with Peers() as peers:
        peers.tunnel()
    with leak_check(), Peers() as peers:
        initiator, responder = peers.tunnel()
        stoppers = [
            threading.Thread(target=running.peer.stop)
            for running in (initiator, responder) * 4
        ]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(PATIENCE_SECONDS)
            assert not stopper.is_alive()
        initiator.peer.stop()
        no_problem(initiator, responder)


def test_stop_without_start(leak_check: LeakCheck) -> None:
    """A peer that never began has little to give back."""
    configurations = initiator_configuration(4500), responder_configuration()
    with leak_check():
        Initiator(configurations[0]).stop()
        Responder(configurations[1]).stop()


def test_a_start_that_fails_halfway_leaves_nothing(leak_check: LeakCheck) -> None:
    """The port is taken: an error, and no thread or descriptor."""
    with socket.create_server((LOOPBACK[4], 0)) as taken:
        port = taken.getsockname()[1]
        configuration = responder_configuration(port=port)
        with leak_check():
            responder = Responder(configuration)
            with pytest.raises(EnvironmentProblem, match=f"port {port}: Address"):
                responder.start()
            responder.stop()
            with pytest.raises(LookupError):
                _ = responder.address


def test_stop_while_connecting(peers: Peers) -> None:
    """An attempt that nobody answers is given up at once."""
    with unanswering_port() as port:
        initiator = peers.initiator(port, transport='connect_timeout = "1d"')
        initiator.peer.stop()
    no_problem(initiator)


def test_stop_while_nobody_answers(peers: Peers) -> None:
    """A request is under way: the peer has accepted and says nothing."""
    with socket.create_server((LOOPBACK[4], 0)) as listener:
        initiator = peers.initiator(listener.getsockname()[1])
        initiator.told.wait_for("ike-message")
        initiator.peer.stop()
    no_problem(initiator)


def test_stop_while_backing_off(peers: Peers) -> None:
    """The pause before the next attempt is not waited for."""
    transport = 'reconnect_first = "1h"\nreconnect_max = "1h"'
    initiator = peers.initiator(free_port(), transport=transport)
    initiator.told.wait_for("connect-failed", 2)
    initiator.peer.stop()
    assert len(initiator.told.of("connect-failed")) == 2
    no_problem(initiator)


def test_stop_while_looking_up_a_name(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver cannot be interrupted, and is not waited for."""
    asked, gate = threading.Event(), threading.Event()

    def look_up(host: str) -> tuple[Any, ...]:
        asked.set()
        gate.wait(PATIENCE_SECONDS)
        raise ConnectionBroken(f"{host} is nowhere")

    monkeypatch.setattr(initiator_module, "resolve_host", look_up)
    configuration = initiator_configuration(4500, "gw.example")
    told = Recorder()
    initiator = peers.start(Initiator(configuration, [told]), told)
    assert asked.wait(PATIENCE_SECONDS)
    initiator.peer.stop()
    gate.set()
    assert told.of("connect-failed") == []
    no_problem(initiator)


def test_hurry_cuts_the_good_bye_short(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With somebody impatient, the answer to DELETE is not waited for."""
    monkeypatch.setattr(peer_module, "GOODBYE_SECONDS", 2 * PATIENCE_SECONDS)
    initiator, responder = peers.tunnel()
    gate, is_stuck = threading.Event(), threading.Event()

    def stuck(packets: object) -> None:
        is_stuck.set()
        gate.wait()

    responder.tun.write_batch = stuck  # type: ignore[method-assign,assignment]
    initiator.tun.inject(ipv4_packet("10.0.1.1", "10.0.2.1"))
    assert is_stuck.wait(PATIENCE_SECONDS)
    stopper = threading.Thread(target=initiator.peer.stop)
    stopper.start()
    try:
        eventually(lambda: sent_delete(initiator), "DELETE")
        initiator.peer.hurry()
        stopper.join(PATIENCE_SECONDS)
        assert not stopper.is_alive()
        assert initiator.peer.endpoint.has_sessions
    finally:
        gate.set()
    no_problem(initiator)


def test_no_session_begins_during_the_good_bye(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has no session yet is closed first. [9329-6.1-idle]"""
    monkeypatch.setattr(peer_module, "GOODBYE_SECONDS", 2 * PATIENCE_SECONDS)
    responder = peers.responder()
    stuck = peers.initiator(responder.peer.address.port)
    up(stuck, responder)
    gate, is_stuck = threading.Event(), threading.Event()

    def stall(packets: object) -> None:
        is_stuck.set()
        gate.wait()

    stuck.tun.write_batch = stall  # type: ignore[method-assign,assignment]
    responder.tun.inject(ipv4_packet("10.0.2.1", "10.0.1.1"))
    assert is_stuck.wait(PATIENCE_SECONDS)
    with raw_connection(responder) as late:
        late.sendall(STREAM_PREFIX)
        responder.told.wait_for("stream-prefix", 2)
        stopper = threading.Thread(target=responder.peer.stop)
        stopper.start()
        assert is_hung_up(late)
        gate.set()
        stopper.join(PATIENCE_SECONDS)
        assert not stopper.is_alive()
    stuck.told.wait_for("ike-sa-closed")
    no_problem(stuck, responder)


def test_a_request_does_not_overtake_an_answer(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DELETE right after IKE_AUTH was answered: the peer must see the answer first."""
    responder = peers.responder()
    octets_received = Endpoint.octets_received
    stoppers = [threading.Thread(target=responder.peer.stop)]
    deleting = threading.Event()
    delete_all = Endpoint.delete_all

    def watched(self: Endpoint, now: float) -> Any:
        effects = delete_all(self, now)
        if self is responder.peer.endpoint:
            deleting.set()
        return effects

    def slow(self: Endpoint, id: Any, octets: bytes, now: float) -> Any:
        effects = octets_received(self, id, octets, now)
        is_ours = self is responder.peer.endpoint
        if is_ours and any(isinstance(e, IkeSaEstablished) for e in effects):
            stoppers[0].start()
            assert deleting.wait(PATIENCE_SECONDS)
        return effects

    monkeypatch.setattr(Endpoint, "delete_all", watched)
    monkeypatch.setattr(Endpoint, "octets_received", slow)
    transport = 'reconnect_first = "1h"\nreconnect_max = "1h"'
    initiator = peers.initiator(responder.peer.address.port, transport=transport)
    up(initiator)
    assert initiator.told.wait_for("ike-sa-closed")["reason"] == "deleted by the peer"
    stoppers[0].join(PATIENCE_SECONDS)
    no_problem(responder)


def sent_delete(running: Running) -> bool:
    """Tell whether a peer has sent DELETE for its IKE SA."""
    return any(
        each["payloads"] == ["D(IKE)"] and each["direction"] == "sent"
        for each in running.told.of("ike-message")
    )


def test_a_connection_that_comes_while_leaving_is_closed(peers: Peers) -> None:
    """It was accepted a moment before: nobody waits for it later."""
    responder = peers.responder()
    with raw_connection(responder) as client:
        responder.told.wait_for("connection-opened")
        responder.peer.stop()
        assert is_hung_up(client)
    no_problem(responder)


# --- strangers ------------------------------------------------------------------------


def test_a_reset_by_a_stranger_touches_nobody(peers: Peers) -> None:
    """Sockets that come, say a prefix and reset: the tunnel carries on."""
    initiator, responder = peers.tunnel()
    for number in range(1, 6):
        client = raw_connection(responder)
        client.sendall(STREAM_PREFIX)
        responder.told.wait_for("stream-prefix", number + 1)
        reset(client)
        responder.told.wait_for("connection-closed", number)
        exchange(initiator, responder, number)
    assert len(initiator.told.of("connection-opened")) == 1
    no_problem(initiator, responder)


def test_idle_connections_are_capped(peers: Peers) -> None:
    """200 sockets that say nothing: most are refused at once. [9329-6.1-idle]"""
    limits = f"half_open_limit = 40\nhalf_open_limit_per_address = 40\n{NEVER}"
    responder = peers.responder(transport=limits)
    initiator = peers.initiator(responder.peer.address.port)
    up(initiator, responder)
    clients = [raw_connection(responder) for _ in range(200)]
    try:
        reason = "too many connections without a valid message"
        dropped = responder.peer.endpoint.counters.dropped
        eventually(lambda: dropped.get(reason) == 160, "a refusal of each")
        eventually(lambda: len(responder.peer.connections) == 41, "their end")
        exchange(initiator, responder)
        responder.peer.stop()
        assert all(is_hung_up(client) for client in clients)
    finally:
        for client in clients:
            client.close()
    no_problem(responder)


def test_idle_connections_are_closed_in_time(peers: Peers) -> None:
    """A stream without prefix is closed at its deadline. [9329-6.1-idle]"""
    responder = peers.responder(transport='prefix_deadline = "50ms"')
    with raw_connection(responder) as silent, raw_connection(responder) as begun:
        begun.sendall(STREAM_PREFIX[:5])
        assert is_hung_up(silent)
        assert is_hung_up(begun)
    responder.told.wait_for("connection-closed", 2)
    reasons = {each["reason"] for each in responder.told.of("connection-closed")}
    assert reasons == {"no valid message in time"}
    no_problem(responder)


@pytest.mark.parametrize("pause_seconds", [1.0, 3.0])
def test_a_prefix_may_come_slowly_but_not_for_ever(
    peers: Peers, pause_seconds: float
) -> None:
    """One octet a second is slow and good; after ten seconds it is over."""
    clock = ScriptedClock()
    responder = peers.responder(clock=clock)
    with raw_connection(responder) as client:
        responder.told.wait_for("connection-opened")
        (connection,) = responder.peer.connections.values()
        for count in range(1, len(STREAM_PREFIX)):
            client.sendall(STREAM_PREFIX[count - 1 : count])
            eventually(lambda c=count: connection.octets_in >= c)  # type: ignore[misc]
            if clock.advance(pause_seconds) >= 10:
                assert is_hung_up(client)
                assert responder.told.of("stream-prefix") == []
                return
        client.sendall(STREAM_PREFIX[-1:])
        responder.told.wait_for("stream-prefix")
    assert pause_seconds == 1.0


GARBAGE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n",
    "nearly the prefix": b"IKETCq",
    "Length 0": STREAM_PREFIX + b"\0\0",
    "Length 1": STREAM_PREFIX + b"\0\1",
    "nonsense": STREAM_PREFIX + (b"\0\x20" + bytes(30)) * 20,
    "unknown SPIs": STREAM_PREFIX + (b"\0\x24spi!" + bytes(30)) * 20,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_closes_its_own_connection(peers: Peers, name: str) -> None:
    """A stream that cannot be followed is closed; the SAs live. [9329-6.1-corrupt]"""
    initiator, responder = peers.tunnel()
    with raw_connection(responder) as client:
        client.sendall(GARBAGE[name])
        assert is_hung_up(client)
    responder.told.wait_for("connection-closed")
    exchange(initiator, responder)
    assert initiator.told.of("connection-closed") == []
    no_problem(initiator, responder)


def test_random_streams_do_no_harm(peers: Peers) -> None:
    """Random octets after the prefix never end anything but their connection."""
    initiator, responder = peers.tunnel()
    chance = random.Random(9329)
    for _ in range(50):
        with raw_connection(responder) as client:
            octets = STREAM_PREFIX + chance.randbytes(chance.randrange(4000))
            client.sendall(octets)
            if chance.random() < 0.5:
                client.shutdown(socket.SHUT_WR)
                assert is_hung_up(client)
    responder.told.wait_for("connection-closed", 50)
    exchange(initiator, responder)
    no_problem(initiator, responder)


# --- defects --------------------------------------------------------------------------


def test_a_defect_ends_one_connection_only(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody expected is told with its place, and reaches no other peer."""
    initiator, responder = peers.tunnel()
    handle = Endpoint.octets_received

    def defect(self: Endpoint, id: Any, octets: bytes, now: float) -> Any:
        if octets == b"bang":
            raise ZeroDivisionError("line 1\nline 2")
        return handle(self, id, octets, now)

    monkeypatch.setattr(Endpoint, "octets_received", defect)
    with raw_connection(responder) as client:
        client.sendall(b"bang")
        assert is_hung_up(client)
    text = str(responder.told.wait_for("problem")["text"])
    assert text.startswith("connection 2: unexpected ZeroDivisionError in defect, line")
    assert text.endswith(r": 'line 1\nline 2'")
    exchange(initiator, responder)
    assert responder.peer.ended_reason is None


@pytest.mark.parametrize("name", ["timer", "tunnel"])
def test_a_defect_of_a_peers_own_thread_ends_the_peer(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A peer without one of its threads would only look alive."""
    initiator, responder = peers.tunnel()

    def defect(*arguments: object) -> Any:
        raise ZeroDivisionError

    method = "time_passed" if name == "timer" else "inner_packets"
    monkeypatch.setattr(initiator.peer.endpoint, method, defect)
    initiator.tun.inject(ipv4_packet("10.0.1.1", "10.0.2.1"))
    initiator.until(lambda: initiator.peer.ended_reason is not None)
    reason = initiator.peer.ended_reason
    assert reason.startswith(f"thread {name}: unexpected ZeroDivisionError in defect")
    monkeypatch.undo()
    initiator.peer.stop()
    responder.told.wait_for("ike-sa-closed")


def test_a_failing_sink_is_told_of_nothing_more(peers: Peers) -> None:
    """A log is not worth a tunnel; the other sinks hear of it."""
    calls = []

    def failing(now: float, kind: str, fields: object) -> None:
        calls.append(kind)
        raise ValueError("no more")

    told = Recorder()
    responder = Responder(responder_configuration(), [failing, told])
    running = peers.start(responder, told)
    assert "ValueError" in str(told.wait_for("problem")["text"])
    initiator = peers.initiator(responder.address.port)
    up(initiator, running)
    assert len(calls) == 1


def test_no_thread_for_a_connection(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That connection is closed, with a sentence, and the next one served."""
    responder = peers.responder()
    spawn = ThreadGroup.spawn
    refusals = ["cannot start a thread: enough"]

    def limited(self: ThreadGroup, name: str, body: Any) -> None:
        if refusals and name == "connection":
            raise EnvironmentProblem(refusals.pop())
        spawn(self, name, body)

    monkeypatch.setattr(ThreadGroup, "spawn", limited)
    with raw_connection(responder) as client:
        assert is_hung_up(client)
    assert responder.told.wait_for("problem") == {
        "text": "cannot start a thread: enough"
    }
    initiator = peers.initiator(responder.peer.address.port)
    up(initiator, responder)
    exchange(initiator, responder)
