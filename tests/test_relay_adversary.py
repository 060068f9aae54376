"""Whatever happens to a relay, in whatever order: nothing is raised, nothing is lost.

Clients, strangers and the daemon say anything at any time. The tables have to agree
with each other at every step, and be empty once everybody is gone.

Source: RFC 9329 §10
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest

from iketcp.effects import ConnectionId
from iketcp.registry import ExchangeType
from iketcp.relay.effects import ClosePort, Connect, OpenPort, PortId, RelayEffect
from iketcp.relay.lines import RelayLines
from iketcp.relay.policy import RelayPolicy
from iketcp.relay.tcp_originator import TcpOriginatorRelay
from iketcp.relay.tcp_responder import TcpResponderRelay
from iketcp.stream import STREAM_PREFIX
from relay_support import datagram, esp, frame, ike
from test_relay_tcp_originator import path

POLICY = RelayPolicy(
    half_open_limit=3,
    half_open_address_limit=2,
    connection_limit=5,
    inherited_limit=2,
    key_limit=3,
    corrupt_limit=2,
    waiting_octets=64,
)

ONE, OTHER = b"one one ", b"another!"
MESSAGES = (
    datagram(ike(ExchangeType.IKE_SA_INIT, bytes(8), ONE, is_response=False)),
    datagram(ike(ExchangeType.IKE_SA_INIT, bytes(8), OTHER, is_response=False)),
    datagram(ike(ExchangeType.IKE_SA_INIT, spi_i=ONE)),
    datagram(ike(spi_i=ONE)),
    datagram(ike(spi_i=ONE)),
    datagram(ike(spi_i=OTHER)),
    datagram(ike(ExchangeType.INFORMATIONAL, spi_i=ONE, is_response=False)),
    *map(esp, range(1000, 1004)),
    b"\xff",
    b"",
    b"abc",
)
WHAT = ("begin", "stream", "stream", "stream", "datagrams", "datagrams", "lose", "time")
PAUSES = (0.0, 0.5, 1.0, 1.0, 1.0, 31.0, 301.0, 4000.0)
STEPS = 1000

Step = tuple[str, int, list[bytes], float]


def steps(seed: int) -> Iterator[Step]:
    """What happens, at random: what, to whom, with which messages, how much later."""
    chance = random.Random(seed)
    for _ in range(STEPS):
        batch = chance.choices(MESSAGES, k=chance.randint(1, 3))
        yield chance.choice(WHAT), chance.randint(1, 8), batch, chance.choice(PAUSES)


def stream_of(number: int, batch: list[bytes]) -> bytes:
    """Messages as a stream; once in a while it cannot be followed."""
    return b"\0\1" if number == 8 else b"".join(map(frame, batch))


def pick(number: int, found: Iterable[int]) -> int:
    """Choose one of those that are there, or name one that is not."""
    there = sorted(found)
    return there[number % len(there)] if there else number


def agree(relay: RelayLines) -> None:
    """Strangers are those who are half-open, and there are not too many of anybody."""
    half_open = [line for line in relay.lines.values() if line.is_half_open]
    assert relay.strangers.total == len(half_open) <= POLICY.half_open_limit
    assert len(relay.lines) <= POLICY.connection_limit


def ports_agree(relay: TcpResponderRelay, taken: set[PortId]) -> None:
    """Every port and every SA is some client's, and every client is somewhere."""
    agree(relay)
    clients = [*relay._clients.values(), *relay.absent]
    assert {port for client in clients for port in client.ports()} == taken
    assert set(relay._by_port) == taken
    for client in clients:
        assert all(relay._by_port[port] is client for port in client.ports())
        assert len(client.inherited) <= POLICY.inherited_limit
        assert len(client.keys) <= POLICY.key_limit
    owned = {key: client for client in clients for key in client.keys}
    assert relay._by_key == owned
    assert len(relay.absent) <= POLICY.connection_limit
    assert set(relay._clients) == set(relay.lines)


@pytest.mark.parametrize("seed", range(6))
def test_before_a_daemon(seed: int) -> None:
    relay = TcpResponderRelay(POLICY)
    taken: set[PortId] = set()
    begun: set[int] = set()
    now, last = 0.0, 0

    def carry_out(effects: list[RelayEffect]) -> None:
        for effect in effects:
            if isinstance(effect, OpenPort):
                taken.add(effect.port)
            elif isinstance(effect, ClosePort):
                taken.remove(effect.port)

    for what, number, batch, pause in steps(seed):
        id = ConnectionId(pick(number, relay.lines))
        if what == "begin":
            last += 1
            address = f"192.0.2.{number}"
            carry_out(relay.connection_opened(ConnectionId(last), address, now))
        elif what == "stream":
            prefix = b"" if id in begun or number == 1 else STREAM_PREFIX
            if id in relay.lines:
                begun.add(id)
            carry_out(relay.octets_received(id, prefix + stream_of(number, batch), now))
        elif what == "lose":
            carry_out(relay.connection_lost(id, "lost", now))
        elif what == "datagrams":
            port = PortId(pick(number, taken))
            carry_out(relay.datagrams_received(port, batch, now))
        else:
            now += pause
            carry_out(relay.time_passed(now))
        ports_agree(relay, taken)
    for id in list(relay.lines):
        carry_out(relay.connection_lost(id, "the end", now))
    carry_out(relay.time_passed(now + POLICY.grace_seconds))
    assert (taken, relay.absent, relay._by_key) == (set(), {}, {})


def sources_agree(relay: TcpOriginatorRelay) -> None:
    """Every carrier is of a source, with a connection or lost for a while."""
    agree(relay)
    by_path = relay._sources._by_path
    carriers = [carrier for found in by_path.values() for carrier in found]
    assert all(carriers_of for carriers_of in by_path.values())
    assert {id(c) for c in carriers} == {
        id(c) for c in (*relay._carriers.values(), *relay._lost)
    }
    assert set(relay._carriers) == set(relay.lines)
    for place, found in by_path.items():
        for carrier in found:
            assert carrier.path == place
            assert (carrier.line is None) == (carrier in relay._lost)
            assert len(carrier.keys) <= POLICY.key_limit
            assert carrier.waiting_octets <= POLICY.waiting_octets
    assert all(
        any(carrier is each for each in carriers)
        for carrier in relay._sources._beginners.values()
    )


@pytest.mark.parametrize("seed", range(6))
def test_before_a_client(seed: int) -> None:
    relay = TcpOriginatorRelay(POLICY)
    ways = [path(4500 + n // 2, is_encapsulated=bool(n % 2)) for n in range(9)]
    now = 0.0
    wanted: list[ConnectionId] = []

    def carry_out(effects: list[RelayEffect]) -> None:
        wanted.extend(e.connection for e in effects if isinstance(e, Connect))

    for what, number, batch, pause in steps(seed):
        connection = ConnectionId(pick(number, relay.lines))
        if what == "begin":
            carry_out(relay.connected(connection))
        elif what == "stream":
            carry_out(relay.octets_received(connection, stream_of(number, batch), now))
        elif what == "lose":
            carry_out(relay.connection_lost(connection, "lost", now))
        elif what == "datagrams":
            carry_out(relay.datagrams_received(ways[number], batch, now))
        else:
            now += pause
            carry_out(relay.time_passed(now))
        sources_agree(relay)
    for connection in list(relay.lines):
        carry_out(relay.connection_lost(connection, "the end", now))
    carry_out(relay.time_passed(now + POLICY.grace_seconds))
    assert len(set(wanted)) == len(wanted)
    assert (relay._lost, relay._sources._by_path) == ({}, {})
    assert relay._sources._beginners == {}
