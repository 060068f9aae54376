"""The relay before a UDP client: which source is which connection.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from iketcp.effects import ConnectionId, Transmit
from iketcp.ike.nat_detection import Path, Transport
from iketcp.registry import ExchangeType
from iketcp.relay.effects import Connect, RelayEffect
from iketcp.relay.policy import RelayPolicy
from iketcp.relay.tcp_originator import TcpOriginatorRelay
from iketcp.stream import STREAM_PREFIX, MessageKind
from relay_support import (
    FIRST,
    FIRST_ANSWER,
    SPI_I,
    closed,
    datagram,
    esp,
    frame,
    ike,
    sent_back,
    told,
    transmitted,
)


def path(
    port: int = 4500, address: str = "192.0.2.1", is_encapsulated: bool = True
) -> Path:
    """Where a client's datagrams come from."""
    kind = Transport.UDP_ENCAPSULATION if is_encapsulated else Transport.UDP
    ours = 4500 if is_encapsulated else 500
    here = ip_address("198.51.100.1")
    return Path(here, ours, ip_address(address), port, kind)


class Relayed:
    """A relay and its clock."""

    def __init__(self, **policy: Any) -> None:
        self.relay = TcpOriginatorRelay(RelayPolicy(**policy))
        self.now = 0.0

    def hear(self, *datagrams: bytes, way: Path | None = None) -> list[RelayEffect]:
        """A client says something."""
        return self.relay.datagrams_received(way or path(), datagrams, self.now)

    def begin(self, way: Path | None = None) -> ConnectionId:
        """A client says its first message; returns the connection that is wanted."""
        (effect,) = self.hear(datagram(FIRST), way=way)
        assert isinstance(effect, Connect)
        return effect.connection

    def feed(self, id: ConnectionId, *messages: bytes) -> list[RelayEffect]:
        """The connection delivers messages."""
        octets = b"".join(map(frame, messages))
        return self.relay.octets_received(id, octets, self.now)

    def lose(self, id: ConnectionId) -> list[RelayEffect]:
        """The connection is gone."""
        return self.relay.connection_lost(id, "lost", self.now)

    def wait(self, seconds: float) -> list[RelayEffect]:
        """Time passes."""
        self.now += seconds
        return self.relay.time_passed(self.now)


def test_a_source_is_a_connection() -> None:
    """RFC 9329 §4: the prefix comes first, then what has waited, then the rest."""
    relayed = Relayed()
    id = relayed.begin()
    assert relayed.hear(esp()) == []
    effects = relayed.relay.connected(id)
    assert isinstance(effects[0], Transmit)
    assert effects[0].octets == STREAM_PREFIX
    assert transmitted(effects) == [
        (id, (MessageKind.IKE, FIRST)),
        (id, (MessageKind.ESP, esp())),
    ]
    assert transmitted(relayed.hear(esp(9))) == [(id, (MessageKind.ESP, esp(9)))]
    effects = relayed.feed(id, datagram(FIRST_ANSWER), b"\xff", b"", esp(7))
    assert sent_back(effects) == [datagram(FIRST_ANSWER), esp(7)]


def test_two_sources_are_two_connections() -> None:
    """One address with two ports is two clients, for there may be a NAT."""
    relayed = Relayed()
    assert relayed.begin() != relayed.begin(path(4501))


def test_port_500_is_ike_alone() -> None:
    """RFC 7296 §2.23: no marker there, and no ESP."""
    relayed = Relayed()
    way = path(500, is_encapsulated=False)
    ((connect),) = relayed.hear(FIRST, way=way)
    assert isinstance(connect, Connect)
    id = connect.connection
    effects = relayed.relay.connected(id)
    assert transmitted(effects) == [(id, (MessageKind.IKE, FIRST))]
    effects = relayed.feed(id, datagram(FIRST_ANSWER), esp())
    assert sent_back(effects) == [FIRST_ANSWER]
    reason = "message that no datagram to this port can hold"
    assert relayed.relay.counters.dropped == {reason: 1}


def test_from_port_500_to_4500() -> None:
    """RFC 7296 §2.23: the same connection, if IKE SA and address are the same."""
    relayed = Relayed()
    before = path(500, is_encapsulated=False)
    ids = []
    for way in (before, path(501, is_encapsulated=False)):
        (connect,) = relayed.hear(FIRST, way=way)
        assert isinstance(connect, Connect)
        relayed.relay.connected(connect.connection)
        ids.append(connect.connection)
    for id in ids:  # the second one says that the same IKE SA is his
        assert sent_back(relayed.feed(id, datagram(FIRST_ANSWER))) == [FIRST_ANSWER]
    stranger = path(address="192.0.2.9")
    assert isinstance(relayed.hear(datagram(ike()), way=stranger)[0], Connect)
    assert transmitted(relayed.hear(datagram(ike()))) == [
        (ids[0], (MessageKind.IKE, ike()))
    ]
    effects = relayed.feed(ids[0], datagram(ike()), esp())
    assert sent_back(effects) == [datagram(ike()), esp()]
    assert isinstance(relayed.hear(FIRST, way=before)[0], Connect)  # begins anew


def test_a_beginner_who_is_lost() -> None:
    """Nobody goes on with what was never answered."""
    relayed = Relayed()
    (connect,) = relayed.hear(FIRST, way=path(500, is_encapsulated=False))
    assert isinstance(connect, Connect)
    relayed.lose(connect.connection)
    relayed.wait(1.0)
    (again,) = relayed.hear(datagram(ike()))
    assert isinstance(again, Connect)


OTHER = b"another!"
SECOND = ike(ExchangeType.IKE_SA_INIT, bytes(8), OTHER, is_response=False)


def established(relayed: Relayed, first: bytes, spi_i: bytes) -> ConnectionId:
    """Begin an IKE SA, and have it answered as far as IKE_AUTH."""
    (connect,) = relayed.hear(datagram(first))
    assert isinstance(connect, Connect)
    relayed.relay.connected(connect.connection)
    relayed.feed(connect.connection, datagram(ike(spi_i=spi_i)))
    return connect.connection


def test_an_answered_connection_is_made_again_at_once() -> None:
    """RFC 9329 §6.1: however short it was."""
    relayed = Relayed()
    id = established(relayed, FIRST, SPI_I)
    relayed.lose(id)
    assert isinstance(relayed.hear(esp())[0], Connect)


def test_another_ike_sa_is_another_connection() -> None:
    """RFC 9329 §6.1: they must not share one; each keeps what is its own.

    So a client that has restarted gets through, though the gateway has the old one.
    """
    relayed = Relayed()
    first = established(relayed, FIRST, SPI_I)
    assert transmitted(relayed.hear(esp(1000)))[0][0] == first
    second = established(relayed, SECOND, OTHER)
    assert second != first
    batch = (datagram(ike()), datagram(ike(spi_i=OTHER)), esp(1000), esp(2000))
    carried = [id for id, _ in transmitted(relayed.hear(*batch))]
    assert carried == [first, second, first, second]
    assert relayed.relay.strangers.total == 0


def test_new_sas_belong_to_whom_the_gateway_spoke_of() -> None:
    """The SPIs of a rekey are told by nothing else: of ESP, and of IKE."""
    relayed = Relayed()
    first = established(relayed, FIRST, SPI_I)
    established(relayed, SECOND, OTHER)
    relayed.feed(first, datagram(ike(ExchangeType.CREATE_CHILD_SA)))
    rekeyed = ike(ExchangeType.INFORMATIONAL, spi_i=b"rekeyed!")
    carried = transmitted(relayed.hear(esp(3000), datagram(rekeyed)))
    assert [id for id, _ in carried] == [first, first]


def test_a_keepalive_keeps_the_latest() -> None:
    """What a client has left behind is closed for idleness all the same."""
    relayed = Relayed(idle_seconds=100.0)
    first = established(relayed, FIRST, SPI_I)
    established(relayed, SECOND, OTHER)
    relayed.wait(99.0)
    relayed.hear(b"\xff")
    assert closed(relayed.wait(1.0)) == {first: "idle"}


def test_a_lost_connection_keeps_its_place() -> None:
    """Its IKE SA does not go over to another one's connection, for a while."""
    relayed = Relayed()
    first = established(relayed, FIRST, SPI_I)
    second = established(relayed, SECOND, OTHER)
    relayed.now += 10.0
    relayed.lose(first)
    assert relayed.hear(b"\xff") == []
    (connect,) = relayed.hear(datagram(ike()))
    assert isinstance(connect, Connect)
    third = connect.connection
    assert transmitted(relayed.relay.connected(third))
    relayed.feed(third, datagram(ike()))
    relayed.now += 10.0
    relayed.lose(third)
    relayed.lose(second)
    assert relayed.hear(b"\xff") == []
    relayed.wait(RelayPolicy().grace_seconds - 1.0)
    assert len(relayed.relay._lost) == 2
    relayed.wait(1.0)
    assert (relayed.relay._lost, relayed.relay._sources._by_path) == ({}, {})


def test_lost_connections_are_limited() -> None:
    relayed = Relayed(connection_limit=1)
    for first, spi_i in ((FIRST, SPI_I), (SECOND, OTHER)):
        id = established(relayed, first, spi_i)
        relayed.now += 10.0
        relayed.lose(id)
    assert len(relayed.relay._lost) == 1


def test_few_spis_are_remembered() -> None:
    """Also of those who begin on port 500; the latest use counts."""
    relayed = Relayed(key_limit=2)
    before = path(500, is_encapsulated=False)
    (connect,) = relayed.hear(FIRST, way=before)
    assert isinstance(connect, Connect)
    for number in range(3):
        spi_i = b"number %d" % number
        relayed.hear(ike(spi_i=spi_i), way=before)
    sources = relayed.relay._sources
    assert (len(sources._by_path), sources._beginners) == (1, {})
    assert isinstance(relayed.hear(datagram(ike()))[0], Connect)


def test_what_says_nothing_begins_nothing() -> None:
    """RFC 3948 §2.3: keepalives and garbage make no connection."""
    relayed = Relayed()
    assert relayed.hear(b"\xff", b"", b"abc") == []
    assert relayed.relay.lines == {}
    assert relayed.relay.counters.dropped["unparseable datagram"] == 1


def test_little_waits_for_a_connection() -> None:
    relayed = Relayed(waiting_octets=40)
    id = relayed.begin()
    relayed.hear(esp(1, bytes(100)), esp(2, b""))
    assert [m for _, m in transmitted(relayed.relay.connected(id))] == [
        (MessageKind.IKE, FIRST),
        (MessageKind.ESP, esp(2, b"")),
    ]
    dropped = relayed.relay.counters.dropped
    assert dropped == {"datagram before the connection was there": 1}


def test_a_lost_connection_is_made_again() -> None:
    """RFC 9329 §6.1: when the source next says something."""
    relayed = Relayed()
    id = relayed.begin()
    relayed.relay.connected(id)
    relayed.now += 10.0
    assert told(relayed.lose(id)) == ["connection-closed"]
    assert relayed.lose(id) == []
    again = relayed.begin()
    assert again != id
    assert relayed.feed(id, esp()) == []
    assert relayed.relay.connected(id) == []
    assert transmitted(relayed.relay.connected(again))


def test_short_connections_are_not_made_in_haste() -> None:
    """Where nobody listens, a flood of datagrams is no flood of connections."""
    relayed = Relayed()
    relayed.lose(relayed.begin())
    assert relayed.hear(datagram(FIRST), datagram(FIRST)) == []
    assert relayed.relay.counters.dropped == {
        "datagram that found no way": 1,
        "datagram of a source without connection": 2,
    }
    relayed.wait(1.0)
    relayed.begin()


def test_strangers_are_few() -> None:
    """A source can be made up by anybody, until the TCP Responder has answered it."""
    relayed = Relayed(half_open_address_limit=1)
    id = relayed.begin()
    relayed.relay.connected(id)
    assert relayed.hear(datagram(FIRST), way=path(4501)) == []
    relayed.feed(id, datagram(FIRST_ANSWER))
    assert relayed.hear(datagram(FIRST), way=path(4501)) == []
    relayed.feed(id, datagram(ike(ExchangeType.IKE_AUTH)))
    relayed.begin(path(4501))
    assert relayed.relay.strangers.refused == 2
    assert closed(relayed.wait(30.0)) == {2: "no answer to this client in time"}


def test_idle_sources_lose_their_connection() -> None:
    """A keepalive shows that the client is there."""
    relayed = Relayed(idle_seconds=100.0)
    id = relayed.begin()
    relayed.relay.connected(id)
    relayed.feed(id, esp())
    relayed.wait(99.0)
    assert relayed.hear(b"\xff") == []
    assert closed(relayed.wait(99.0)) == {}
    assert closed(relayed.wait(1.0)) == {id: "idle"}


def test_a_broken_stream_closes() -> None:
    relayed = Relayed()
    id = relayed.begin()
    relayed.relay.connected(id)
    effects = relayed.relay.octets_received(id, b"\x00\x01", relayed.now)
    assert closed(effects) == {id: "Length is 1"}


def test_no_source_begins_at_the_end() -> None:
    """Those that are known go on."""
    relayed = Relayed()
    id = relayed.begin()
    relayed.relay.connected(id)
    relayed.relay.is_taking_sources = False
    assert relayed.hear(datagram(FIRST), way=path(4501)) == []
    assert transmitted(relayed.hear(esp()))
