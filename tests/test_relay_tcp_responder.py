"""The relay before a UDP daemon: which connection is which port, and who comes back.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.effects import ConnectionId, Transmit
from iketcp.registry import ExchangeType
from iketcp.relay.effects import PortId, RelayEffect
from iketcp.relay.policy import RelayPolicy
from iketcp.relay.tcp_responder import TcpResponderRelay
from iketcp.stream import MessageKind
from relay_support import (
    FIRST,
    FIRST_ANSWER,
    closed,
    datagram,
    esp,
    frame,
    ike,
    ports_closed,
    ports_opened,
    sent_from_ports,
    stream,
    told,
    transmitted,
)

HOME = "192.0.2.1"
IN_MIND = 1_000_000.0
GRACE = RelayPolicy().grace_seconds
SPI = 0xC0FFEE01
REQUEST = datagram(ike(ExchangeType.INFORMATIONAL, is_response=False))
"""What the daemon only sends to where it believes its peer to be."""


class Relayed:
    """A relay, its clock, and connections by number."""

    def __init__(self, **policy: Any) -> None:
        self.relay = TcpResponderRelay(RelayPolicy(**policy))
        self.now = IN_MIND

    def open(self, id: int, address: str = HOME) -> list[RelayEffect]:
        """A connection comes."""
        return self.relay.connection_opened(ConnectionId(id), address, self.now)

    def feed(self, id: int, octets: bytes) -> list[RelayEffect]:
        """A connection delivers octets."""
        return self.relay.octets_received(ConnectionId(id), octets, self.now)

    def lose(self, id: int, reason: str = "lost") -> list[RelayEffect]:
        """A connection is gone."""
        return self.relay.connection_lost(ConnectionId(id), reason, self.now)

    def answer(self, port: int, *datagrams: bytes) -> list[RelayEffect]:
        """The daemon sends to a port."""
        return self.relay.datagrams_received(PortId(port), datagrams, self.now)

    def wait(self, seconds: float) -> list[RelayEffect]:
        """Time passes."""
        self.now += seconds
        return self.relay.time_passed(self.now)

    def establish(self, id: int = 1, spi_r: bytes = b"respondr") -> int:
        """A client whose IKE SA the daemon has, with ESP; returns its port."""
        self.open(id)
        (port,) = ports_opened(self.feed(id, stream(datagram(FIRST))))
        self.answer(port, datagram(ike(ExchangeType.IKE_SA_INIT, spi_r)))
        self.feed(id, frame(datagram(ike(spi_r=spi_r))))
        self.answer(port, datagram(ike(spi_r=spi_r)))
        return port


# --- octets both ways -----------------------------------------------------------------


def test_a_connection_is_a_port() -> None:
    """RFC 3948 §2: IKE behind the marker, ESP as it is, from one port; and back."""
    relayed = Relayed()
    assert relayed.open(1) == []
    effects = relayed.feed(1, stream(datagram(FIRST), esp()))
    assert ports_opened(effects) == [1]
    assert sent_from_ports(effects) == [(1, [datagram(FIRST), esp()])]
    assert ports_opened(relayed.feed(1, frame(esp()))) == []
    effects = relayed.answer(1, datagram(FIRST_ANSWER), esp(7), esp(8))
    assert transmitted(effects) == [
        (1, (MessageKind.IKE, FIRST_ANSWER)),
        (1, (MessageKind.ESP, esp(7))),
        (1, (MessageKind.ESP, esp(8))),
    ]
    ike_part, esp_part = (e for e in effects if isinstance(e, Transmit))
    assert (ike_part.droppable, esp_part.droppable) == (False, True)


def test_two_connections_are_two_ports() -> None:
    relayed = Relayed()
    first, second = relayed.establish(1), relayed.establish(2, b"another!")
    assert first != second
    for port, id in ((first, 1), (second, 2)):
        assert transmitted(relayed.answer(port, esp())) == [
            (id, (MessageKind.ESP, esp()))
        ]


@given(cuts=st.lists(st.integers(0, 120), max_size=8))
def test_segments_make_no_difference(cuts: list[int]) -> None:
    """RFC 9329 §3: how TCP cut the stream never changes what the daemon gets."""
    relayed = Relayed()
    relayed.open(1)
    octets = stream(datagram(FIRST), esp(), esp(9), datagram(ike()))
    datagrams: list[bytes] = []
    begin = 0
    for end in [*sorted(cuts), len(octets)]:
        for _, part in sent_from_ports(relayed.feed(1, octets[begin:end])):
            datagrams += part
        begin = max(begin, min(end, len(octets)))
    assert datagrams == [datagram(FIRST), esp(), esp(9), datagram(ike())]


def test_keepalives_end_here() -> None:
    """RFC 9329 §6.6, RFC 3948 §2.3: in either direction, and they cost no port."""
    relayed = Relayed()
    relayed.open(1)
    assert relayed.feed(1, stream(b"\xff", b"")) == []
    port = relayed.establish(2)
    assert relayed.answer(port, b"\xff", b"") == []
    assert relayed.relay.counters.dropped == {}


def test_what_no_datagram_can_hold_is_dropped() -> None:
    """RFC 9329 §3: a message may have 65,533 octets, a datagram 65,507."""
    relayed = Relayed()
    relayed.open(1)
    effects = relayed.feed(1, stream(esp(content=bytes(65500)), esp()))
    assert sent_from_ports(effects) == [(1, [esp()])]
    assert relayed.relay.counters.dropped == {"message too long for a datagram": 1}


def test_garbage_from_the_daemon_is_dropped() -> None:
    relayed = Relayed()
    port = relayed.establish()
    assert relayed.answer(port, b"abc", bytes(10)) == []
    assert relayed.answer(99, esp()) == []  # a port that has just been given back
    assert relayed.relay.counters.dropped == {"unparseable datagram": 2}


# --- streams that cannot be followed --------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "stream begins with"),
        (stream() + b"\x00\x00", "Length is 0"),
        (stream() + b"\x00\x01", "Length is 1"),
    ],
)
def test_prefix_and_length_are_enforced(octets: bytes, words: str) -> None:
    """RFC 9329 §3.1, §6.1: the connection closes, and the daemon hears nothing."""
    relayed = Relayed()
    relayed.open(1)
    effects = relayed.feed(1, octets)
    assert words in closed(effects)[1]
    assert sent_from_ports(effects) == []
    assert relayed.feed(1, stream(esp())) == []


def test_too_much_garbage_closes() -> None:
    """RFC 9329 §6.1: so many in a row; what came before is carried."""
    relayed = Relayed(corrupt_limit=2)
    relayed.open(1)
    assert closed(relayed.feed(1, stream(b"abc", esp(), b"abc"))) == {}
    effects = relayed.feed(1, frame(b"abc") + frame(esp()))
    assert closed(effects) == {1: "2 unparseable messages in a row"}
    assert sent_from_ports(effects) == []
    assert relayed.feed(1, frame(esp())) == []


def test_a_message_cut_off_is_lost() -> None:
    """RFC 9329 §6.1: nothing of it reaches the next connection's daemon."""
    relayed = Relayed()
    port = relayed.establish()
    relayed.feed(1, frame(esp())[:9])
    relayed.lose(1)
    relayed.open(2)
    effects = relayed.feed(2, stream(esp(5)))
    assert sent_from_ports(effects) == [(port + 1, [esp(5)])]


def test_late_events_find_nothing() -> None:
    relayed = Relayed()
    assert relayed.feed(7, stream(esp())) == []
    assert relayed.lose(7) == []
    assert relayed.relay.port_refused(ConnectionId(7), "no port") == []


def test_no_port_closes_the_connection() -> None:
    relayed = Relayed()
    relayed.open(1)
    relayed.feed(1, stream(esp()))
    refused = relayed.relay.port_refused(ConnectionId(1), "no port")
    assert closed(refused) == {1: "no port"}
    assert ports_closed(relayed.lose(1, "no port")) == [1]


# --- strangers and idlers -------------------------------------------------------------


def test_strangers_are_few() -> None:
    """RFC 9329 §10: so many of an address, so many in all, until they are answered."""
    relayed = Relayed(half_open_limit=3, half_open_address_limit=2)
    for id in (1, 2):
        assert relayed.open(id) == []
    assert "from this address" in closed(relayed.open(3))[3]
    assert relayed.open(4, "192.0.2.4") == []
    assert "too many connections" in closed(relayed.open(5, "192.0.2.5"))[5]
    (port,) = ports_opened(relayed.feed(1, stream(datagram(FIRST))))
    relayed.answer(port, datagram(FIRST_ANSWER))
    assert "too many" in closed(relayed.open(6, "192.0.2.5"))[6]
    relayed.answer(port, datagram(ike()))
    assert relayed.open(7, "192.0.2.5") == []
    assert relayed.relay.strangers.refused == 3


def test_connections_are_limited_in_all() -> None:
    relayed = Relayed(connection_limit=1)
    relayed.establish()
    assert closed(relayed.open(2)) == {2: "too many connections"}
    relayed.lose(1)
    assert relayed.open(3) == []


def test_strangers_have_little_time() -> None:
    """Whoever was answered stays; ESP from the daemon is an answer, too."""
    relayed = Relayed()
    relayed.open(1)
    relayed.establish(2)
    relayed.open(3)
    (port,) = ports_opened(relayed.feed(3, stream(esp())))
    relayed.answer(port, esp(4))
    assert closed(relayed.wait(29.0)) == {}
    effects = relayed.wait(1.0)
    assert closed(effects) == {1: "no answer to this client in time"}
    assert relayed.wait(1.0) == []  # it is asked for once
    assert told(relayed.lose(1, "closed by us")) == ["connection-closed"]
    assert "no answer to this client in time" in relayed.relay.counters.closed
    strangers = relayed.relay.strangers
    assert (strangers.total, strangers.timed_out) == (0, 1)


def test_idle_connections_close() -> None:
    """Traffic either way keeps one; 0 means never."""
    relayed = Relayed(idle_seconds=100.0)
    port = relayed.establish()
    relayed.wait(99.0)
    relayed.answer(port, esp())
    relayed.wait(99.0)
    relayed.feed(1, frame(esp()))
    assert closed(relayed.wait(99.0)) == {}
    assert closed(relayed.wait(1.0)) == {1: "idle"}
    forever = Relayed(idle_seconds=0.0)
    forever.establish()
    assert forever.wait(1e9) == []


# --- those who come back --------------------------------------------------------------


@pytest.mark.parametrize("shown", [datagram(ike()), esp(SPI)], ids=["IKE", "ESP"])
def test_the_old_port_finds_the_new_connection(shown: bytes) -> None:
    """RFC 9329 §6.1: recognised by either SPI; the daemon sees a new port meanwhile."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.feed(1, frame(esp(SPI)))
    assert ports_closed(relayed.lose(1)) == []
    assert relayed.answer(old, esp(7)) == []
    relayed.open(2, "198.51.100.2")
    assert relayed.answer(old, esp(7)) == []  # it has said nothing so far
    effects = relayed.feed(2, stream(shown))
    ((new, sent),) = sent_from_ports(effects)
    assert (new != old, sent) == (True, [shown])
    assert "client-returned" in told(effects)
    for port in (old, new):
        assert transmitted(relayed.answer(port, esp(7))) == [
            (2, (MessageKind.ESP, esp(7)))
        ]
    assert relayed.relay.counters.dropped == {"datagram for an absent client": 2}
    assert relayed.relay.strangers.total == 0


def test_the_old_port_is_kept_where_the_daemon_stays() -> None:
    """RFC 7296 §2.23: behind a NAT it does not follow, though it answers elsewhere.

    The port goes, after the grace time, once the daemon speaks on the new one of its
    own accord.
    """
    relayed = Relayed()
    old = relayed.establish()
    relayed.answer(old, esp(7))
    relayed.lose(1)
    relayed.open(2)
    (new,) = ports_opened(relayed.feed(2, stream(datagram(ike()))))
    relayed.answer(new, datagram(ike()))
    relayed.feed(2, frame(esp(SPI)))
    for _ in range(3):
        assert ports_closed(relayed.wait(GRACE)) == []
    relayed.answer(new, REQUEST)
    assert ports_closed(relayed.wait(GRACE - 1.0)) == []
    assert ports_closed(relayed.wait(1.0)) == [old]
    assert relayed.relay.port_count == 1


def test_who_stays_away_is_forgotten() -> None:
    """After the grace time, port and SAs."""
    relayed = Relayed()
    old = relayed.establish(1)
    relayed.lose(1)
    relayed.wait(1.0)
    relayed.establish(2, b"another!")
    relayed.lose(2)
    assert ports_closed(relayed.wait(GRACE - 1.5)) == []
    assert ports_closed(relayed.wait(0.5)) == [old]
    relayed.open(3)
    assert told(relayed.feed(3, stream(datagram(ike())))) == []
    assert len(relayed.relay.absent) == 1


def test_who_has_shown_nothing_leaves_nothing() -> None:
    relayed = Relayed()
    relayed.open(1)
    (port,) = ports_opened(relayed.feed(1, stream(datagram(FIRST))))
    assert ports_closed(relayed.lose(1)) == [port]
    assert relayed.relay.absent == {}


@pytest.mark.parametrize("has_home", [True, False])
def test_ports_follow_through_many_connections(has_home: bool) -> None:
    """Each loss adds one; the oldest go first, but not where the daemon speaks."""
    relayed = Relayed(inherited_limit=2)
    ports = [relayed.establish(1)]
    if has_home:
        relayed.answer(ports[0], esp(7))
    given_back = []
    for id in (2, 3, 4):
        relayed.lose(id - 1)
        relayed.open(id)
        effects = relayed.feed(id, stream(datagram(ike())))
        given_back += ports_closed(effects)
        ports += ports_opened(effects)
    assert given_back == [ports[1 if has_home else 0]]
    ports.remove(given_back[0])
    for port in ports:
        assert transmitted(relayed.answer(port, datagram(ike())))[0][0] == 4
    relayed.lose(4)
    assert sorted(ports_closed(relayed.wait(GRACE))) == ports
    assert relayed.relay.port_count == 0


def test_absent_clients_are_limited() -> None:
    """There are never more than there may be connections."""
    relayed = Relayed(connection_limit=1)
    first = relayed.establish(1)
    relayed.lose(1)
    relayed.establish(2, b"another!")
    assert ports_closed(relayed.lose(2)) == [first]


def test_a_connection_that_is_there_keeps_its_port() -> None:
    """Whoever shows a SPI that he has read on the way gets nothing by it."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.feed(1, frame(esp(SPI)))
    relayed.open(2)
    relayed.feed(2, stream(datagram(ike()), esp(SPI)))
    assert transmitted(relayed.answer(old, esp(7))) == [(1, (MessageKind.ESP, esp(7)))]
    relayed.now += RelayPolicy().claim_seconds
    relayed.lose(1)
    assert old in relayed.relay._by_port
    relayed.open(3)
    assert "client-returned" in told(relayed.feed(3, stream(esp(SPI))))


@pytest.mark.parametrize(("pause", "is_heir"), [(59.0, True), (60.0, False)])
def test_the_new_connection_may_come_first(pause: float, is_heir: bool) -> None:
    """A client that moves is back before TCP notices the end of the old one."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.open(2)
    relayed.feed(2, stream(datagram(ike())))
    relayed.now += pause
    assert ("client-returned" in told(relayed.lose(1))) == is_heir
    assert bool(transmitted(relayed.answer(old, esp(7)))) == is_heir


def test_who_is_gone_inherits_nothing() -> None:
    relayed = Relayed()
    relayed.establish()
    relayed.open(2)
    relayed.feed(2, stream(datagram(ike())))
    relayed.lose(2)
    assert told(relayed.lose(1)) == ["connection-closed"]


def test_the_daemon_decides_whom_it_follows() -> None:
    """RFC 9329 §6.1: the replaced connection is closed once it is idle."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.feed(1, frame(esp(SPI)))
    relayed.open(2)
    (new,) = ports_opened(relayed.feed(2, stream(datagram(ike()))))
    relayed.answer(new, REQUEST)
    assert closed(relayed.wait(29.0)) == {}
    assert closed(relayed.wait(1.0)) == {1: "idle and extraneous"}
    relayed.lose(1, "idle and extraneous")
    assert old not in relayed.relay._by_port  # its SAs are those of 2 now
    relayed.lose(2)
    relayed.open(3)
    assert "client-returned" in told(relayed.feed(3, stream(esp(SPI))))


def test_a_response_proves_nothing() -> None:
    """Whoever repeats a request that he has recorded gets the answer once more."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.open(2)
    (new,) = ports_opened(relayed.feed(2, stream(datagram(ike()))))
    relayed.answer(new, datagram(ike()))
    assert closed(relayed.wait(61.0)) == {}
    relayed.lose(1)
    assert relayed.answer(old, esp(7)) == []


def test_the_daemon_may_follow_back() -> None:
    relayed = Relayed(extraneous_seconds=0.0)
    old = relayed.establish()
    relayed.open(2)
    (new,) = ports_opened(relayed.feed(2, stream(datagram(ike()))))
    relayed.answer(new, REQUEST)
    relayed.answer(old, REQUEST)
    lines = relayed.relay.lines
    replaced = [line.id for line in lines.values() if line.is_replaced]
    assert replaced == [2]
    assert closed(relayed.wait(60.0)) == {}  # 0: never for being extraneous


def test_the_daemon_may_tell_who_has_returned() -> None:
    """It knows him by an SA that we have never seen, or have forgotten."""
    relayed = Relayed()
    old = relayed.establish()
    relayed.lose(1)
    relayed.open(2)
    (new,) = ports_opened(relayed.feed(2, stream(esp(SPI))))
    assert told(relayed.answer(new, datagram(ike()))) == []
    assert "client-returned" in told(relayed.answer(new, REQUEST))
    assert transmitted(relayed.answer(old, esp(7)))[0][0] == 2


def test_strangers_teach_nothing() -> None:
    """ESP of somebody who was never answered makes him no owner of its SPI.

    Nor does a request for a cookie, which has no SPI of the daemon's (RFC 7296 §2.6).
    """
    relayed = Relayed()
    relayed.open(1)
    (port,) = ports_opened(relayed.feed(1, stream(esp(SPI))))
    assert transmitted(relayed.answer(port, datagram(FIRST)))
    assert ports_closed(relayed.lose(1)) == [port]


def test_few_sas_are_remembered() -> None:
    """The oldest is forgotten, and comes up again when the daemon speaks of it."""
    relayed = Relayed(key_limit=2)
    port = relayed.establish()
    for spi in (1000, 1001):
        relayed.feed(1, frame(esp(spi)))
    assert len(relayed.relay._by_key) == 2
    relayed.answer(port, datagram(ike()))
    assert len(relayed.relay._by_key) == 2
    relayed.lose(1)
    relayed.open(2)
    assert told(relayed.feed(2, stream(esp(1000)))) == []
    assert "client-returned" in told(relayed.feed(2, frame(datagram(ike()))))
