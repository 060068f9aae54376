"""Very many peers: what one of them needs does not depend on how many there are.

Steps are counted, and objects, never time or octets. The benchmark of many peers
(``iketcp bench many``) measures those.
"""

import gc
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, cast

import pytest

from iketcp.bench.crowd import Crowd
from iketcp.effects import ConnectionId, Effect, Transmit
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import IkeSession, LiveChild, Stream
from iketcp.environment import ScriptedClock, ScriptedEntropy
from iketcp.esp.child_sa import ChildSa
from iketcp.ike import upkeep
from iketcp.ike.identity import Identity
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import Lifetime
from iketcp.ike.sa import IkeSa
from iketcp.mapping import Connection, ConnectionMap, MappingPolicy
from iketcp.net.tcp_connection import TcpConnection
from iketcp.peers.feed import Feed, Surroundings
from iketcp.peers.lines import Lines
from pair import EAST, SECRET, WEST, ike_policy, ipv4_packet
from peer_support import Peers, eventually, initiator_configuration

LIVENESS_SECONDS = 30.0
FOR_EVER = Lifetime()
POOL = '[pool]\nnetworks = ["10.0.1.0/24"]'
KINDS = (IkeSa, IkeSession, ChildSa, LiveChild, Stream, Connection, TcpConnection)


class Gathering:
    """One responder's endpoint and those of many initiators, without any sockets."""

    def __init__(self, count: int, lifetime: Lifetime = FOR_EVER) -> None:
        policy = ike_policy(EAST, secrets={None: SECRET}, remote_identity=None)
        children = tuple(replace(c, lifetime=lifetime) for c in policy.children)
        policy = replace(policy, liveness_seconds=LIVENESS_SECONDS, children=children)
        self.east = Endpoint(policy, MappingPolicy(), ScriptedEntropy("east"))
        self.wests = [self.join(number) for number in range(1, count + 1)]

    def join(self, number: int) -> Endpoint:
        """Have one more come, and stay."""
        name = Identity.parse(f"west{number}.example")
        policy = ike_policy(WEST, local_identity=name)
        west = Endpoint(policy, MappingPolicy(), ScriptedEntropy(f"west{number}"))
        here, there = ip_address("192.0.2.1"), ip_address("192.0.2.2")
        id, port = ConnectionId(number), 10_000 + number
        west.initiate()
        self.east.connection_opened(id, Path(there, 4500, here, port), False, 0.0)
        path = Path(here, port, there, 4500)
        self.carry(west, id, west.connection_opened(id, path, True, 0.0))
        return west

    def carry(self, west: Endpoint, id: ConnectionId, effects: list[Effect]) -> None:
        """Deliver what west sends, and what follows from that."""
        wire = deque((self.east, each) for each in effects)
        while wire:
            to, effect = wire.popleft()
            if isinstance(effect, Transmit):
                back = west if to is self.east else self.east
                answers = to.octets_received(id, effect.octets, 0.0)
                wire += ((back, each) for each in answers)

    def settle(self) -> None:
        """Let the responder look at what the handshakes have stirred."""
        assert not self.east.time_passed(0.0)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts how often somebody looks at an IKE SA, or at a connection."""
    found: Counter[str] = Counter()
    for place, name in (
        (upkeep, "time_passed"),
        (upkeep, "next_deadline"),
        (ConnectionMap, "deadline_of"),
    ):
        act = getattr(place, name)

        def counted(*arguments: Any, name: str = name, act: Any = act) -> Any:
            found[name] += 1
            return act(*arguments)

        monkeypatch.setattr(place, name, counted)
    return found


@pytest.mark.parametrize("count", [2, 40])
def test_idle_ike_sas_are_left_alone(count: int, steps: Counter[str]) -> None:
    """Nobody looks at them until the first of them has something to do."""
    gathering = Gathering(count)
    assert len(gathering.east.tables.children) == count
    gathering.settle()
    steps.clear()
    for now in (1.0, 2.0, 3.0):
        assert gathering.east.next_deadline(now) == LIVENESS_SECONDS
        assert not gathering.east.time_passed(now)
    assert steps == {"next_deadline": 3}
    asked = gathering.east.time_passed(LIVENESS_SECONDS)
    assert len([e for e in asked if isinstance(e, Transmit)]) == count


@pytest.mark.parametrize("count", [2, 40])
def test_limits_by_volume_are_for_who_carries_something(
    count: int, steps: Counter[str]
) -> None:
    """RFC 4301 §4.4.2.1: the others cannot have come nearer to their limits."""
    gathering = Gathering(count, Lifetime(packets=1000))
    east, west = gathering.east, gathering.wests[0]
    gathering.settle()
    steps.clear()
    assert east.next_deadline(1.0) == 2.0
    assert not east.time_passed(2.0)
    assert steps["time_passed"] == 0
    packet = ipv4_packet("10.0.1.1", "10.0.2.1")
    gathering.carry(west, ConnectionId(1), west.inner_packets([packet]))
    for now in (3.0, 4.0):
        assert not east.time_passed(now)
    assert steps["time_passed"] == 1


def test_a_handshake_takes_the_same_steps_among_few_and_many(
    steps: Counter[str],
) -> None:
    """And so does the round after it."""
    taken = []
    for count in (2, 40):
        gathering = Gathering(count)
        gathering.settle()
        steps.clear()
        gathering.join(count + 1)
        assert gathering.east.next_deadline(0.0) == LIVENESS_SECONDS
        assert not gathering.east.time_passed(0.0)
        taken.append(dict(steps))
    assert taken[0] == taken[1]
    assert taken[0]["time_passed"] == 1


def test_those_who_leave_leave_nothing_behind() -> None:
    """Neither in the tables nor among the appointments."""
    gathering = Gathering(20)
    east = gathering.east
    for number, west in enumerate(gathering.wests, 1):
        id = ConnectionId(number)
        gathering.carry(west, id, west.delete_all(0.0))
        east.connection_lost(id, "FIN", 0.0)
    gathering.settle()
    tables = east.tables
    assert not tables.ike_sas
    assert not tables.children
    assert not tables.streams
    assert not tables.peers
    assert not east.map.connections
    assert not east.context.stirred
    assert east.next_deadline(0.0) is None
    assert not east._rounds._agenda
    assert not east.map._agenda


# --- with sockets and threads ---------------------------------------------------------


def held() -> Counter[str]:
    """What of :data:`KINDS` there is in this process, our own initiators' included."""
    gc.collect()
    return Counter(type(o).__name__ for o in gc.get_objects() if isinstance(o, KINDS))


def connection_threads() -> int:
    names = [thread.name for thread in threading.enumerate()]
    return names.count("iketcp-connection")


class Octets(bytes):
    """Tells when nobody refers to it any more."""

    alive = 0

    def __new__(cls, octets: bytes) -> "Octets":
        cls.alive += 1
        return super().__new__(cls, octets)

    def __del__(self) -> None:
        Octets.alive -= 1


class Talkative:
    """A connection that says something twice, and ends."""

    protection = ""
    left = 2

    def handshake(self) -> bool:
        return True

    def wait_and_receive(self, deadline: float | None) -> bytes:
        assert Octets.alive == 0, "somebody waits, and holds what came before"
        self.left -= 1
        return Octets(b"something") if self.left >= 0 else b""


class Listener:
    """An endpoint that counts what it hears."""

    heard = 0

    def octets_received(self, *arguments: object) -> list[Effect]:
        self.heard += 1
        return []


def test_who_waits_holds_nothing_of_what_came_before() -> None:
    """A thousand threads wait, and one may have read 256 KiB before."""
    id, connection, endpoint, lines = ConnectionId(1), Talkative(), Listener(), Lines()
    lines.add(id, cast("Any", connection))
    around = Surroundings(
        cast("Any", endpoint), ScriptedClock(), lines, list, lambda kind, fields: None
    )
    feed = Feed(id, cast("Any", connection), around)
    assert feed.run(None) == "closed by the peer"
    assert endpoint.heard == 2


def test_what_is_held_is_given_back() -> None:
    """Two descriptors and a thread for each, and no object, once they are gone."""
    count = 30
    with Peers() as peers:
        responder = peers.responder(child="assigned = true", more=POOL)
        configuration = initiator_configuration(
            responder.peer.address.port,
            ike='request_addresses = ["ipv4"]',
            child="assigned = true",
        )
        before, files = held(), len(os.listdir("/proc/self/fd"))
        with Crowd(configuration) as crowd:
            crowd.grow(count, 100)
            tables = responder.peer.endpoint.tables
            assert len(tables.ike_sas) == len(tables.children) == count
            assert connection_threads() == count
            theirs = count  # each initiator has its socket
            assert len(os.listdir("/proc/self/fd")) == files + 2 * count + theirs
            assert held()["TcpConnection"] == before["TcpConnection"] + count
            crowd.leave()
        responder.until(lambda: not tables.streams)
        eventually(lambda: connection_threads() == 0, "the end of the threads")
        eventually(lambda: not held() - before, "the end of what they held")
        assert len(os.listdir("/proc/self/fd")) == files
