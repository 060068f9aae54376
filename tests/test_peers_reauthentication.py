"""Reauthentication between peers with sockets: threads, connections and no lost packet.

Source: RFC 7296 §2.8.3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from iketcp.endpoint.origination import OVERLAP_SECONDS
from iketcp.environment import ScriptedClock
from iketcp.errors import EnvironmentProblem
from peer_support import Peers, Running, exchange, up
from test_peers_udp import ANY, INITIATOR, ports_of
from test_peers_udp import responder as responder_over_udp

SOON = 'reauth_time = "100s"\nlifetime_jitter = 0\nliveness = "none"'


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Whatever a test starts is stopped."""
    with Peers() as started:
        yield started


def tunnel(
    peers: Peers, clock: ScriptedClock, transport: str = "tcp", version: int = 4
) -> tuple[Running, Running]:
    """Start both, and wait for the tunnel; only the initiator's clock is set."""
    if transport == "udp":
        east = responder_over_udp(peers, version, ports=ANY)
        ways = INITIATOR.format(ports=ports_of(east), more="")
        west = peers.initiator(1, version, transport=ways, ike=SOON, clock=clock)
    else:
        east = peers.responder(version)
        ways = 'reconnect_first = "50ms"\nreconnect_max = "50ms"'
        port = east.peer.address.port
        west = peers.initiator(port, version, transport=ways, ike=SOON, clock=clock)
    up(west, east)
    return west, east


def is_told(running: Running, state: str) -> bool:
    """Whether a reauthentication has come so far."""
    return any(e["state"] == state for e in running.told.of("reauthentication"))


def chat(west: Running, east: Running, is_over: Callable[[], bool]) -> None:
    """Send one packet after the other, each way; every one has to arrive."""
    number = 0
    while not is_over():
        exchange(west, east, number)
        number += 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_traffic_goes_on(peers: Peers, transport: str, version: int) -> None:
    """Another IKE SA, over TCP by another connection; then the first one is gone."""
    clock = ScriptedClock()
    west, east = tunnel(peers, clock, transport, version)
    before = west.spis
    clock.advance(100.0)
    chat(west, east, lambda: is_told(west, "done"))
    clock.advance(OVERLAP_SECONDS)
    chat(west, east, lambda: bool(east.told.of("ike-sa-closed")))
    west.until(lambda: len(west.peer.endpoint.tables.ike_sas) == 1)
    exchange(west, east)
    assert not west.spis & before
    assert west.spis == {tuple(reversed(s)) if len(s[0]) == 4 else s for s in east.spis}
    assert west.peer.ended_reason is None
    for running in (west, east):
        count = 1 if transport == "tcp" else 0
        running.until(lambda r=running, n=count: len(r.peer.connections) == n)  # type: ignore[misc]


def test_afterwards_the_new_one_is_as_good_as_the_first(peers: Peers) -> None:
    """RFC 9329 §6.1: when its connection breaks, another is made for it."""
    clock = ScriptedClock()
    west, east = tunnel(peers, clock)
    clock.advance(100.0)
    west.until(lambda: is_told(west, "done"))
    clock.advance(OVERLAP_SECONDS)
    west.until(lambda: len(west.peer.connections) == 1)
    west.peer.cut()
    west.told.wait_for("connection-opened", 3)
    exchange(west, east)
    assert len(west.told.of("ike-sa-established")) == 2


def test_a_responder_that_is_away_for_now(peers: Peers) -> None:
    """Nobody listens any more, but the first connection is there: it stays."""
    clock = ScriptedClock()
    west, east = tunnel(peers, clock)
    east.peer._close_openers()
    clock.advance(100.0)
    west.until(lambda: is_told(west, "failed"))
    assert west.told.of("connect-failed")
    exchange(west, east)
    assert west.peer.ended_reason is None


def test_without_a_thread_it_is_tried_again_later(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine may have no more threads for us."""
    clock = ScriptedClock()
    west, east = tunnel(peers, clock)

    def refuse(name: str, body: object) -> None:
        raise EnvironmentProblem(f"no thread {name}")

    monkeypatch.setattr(west.peer._threads, "spawn", refuse)
    clock.advance(100.0)
    west.until(lambda: is_told(west, "failed"))
    (failed,) = west.told.of("connect-failed")
    assert failed["reason"] == "no thread beside"
    exchange(west, east)


def test_stopping_ends_both(peers: Peers) -> None:
    """RFC 7296 §1.4.1: amid it, each IKE SA is deleted."""
    clock = ScriptedClock()
    west, east = tunnel(peers, clock)
    clock.advance(100.0)
    west.until(lambda: is_told(west, "done"))
    west.peer.stop()
    east.told.wait_for("ike-sa-closed", 2)
    reasons = {e["reason"] for e in east.told.of("ike-sa-closed")}
    assert reasons == {"deleted by the peer"}
    assert not east.peer.endpoint.tables.children
