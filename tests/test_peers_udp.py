"""Peers over plain UDP, on loopback: real sockets, tunnels in memory.

Source: RFC 7296 §2.1, RFC 7296 §2.11, RFC 7296 §2.23
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from conftest import LeakCheck
from iketcp.errors import EnvironmentProblem
from iketcp.ike.nat_detection import Transport
from iketcp.peers import Initiator, Responder
from iketcp.peers.control import status
from iketcp.status_view import render
from pair import ipv4_packet
from peer_support import (
    LOOPBACK,
    Peers,
    Recorder,
    Running,
    carry,
    eventually,
    exchange,
    initiator_configuration,
    responder_configuration,
    up,
)
from udp_nat import Seen, UdpNat

SOON = 'repeat_first = "50ms"\nrepeat_max = "100ms"\n'
"""Requests are sent again at once, where a test loses some."""

IMPATIENT = SOON + 'repeat_total = "400ms"\n'
"""And given up soon, where nobody is going to answer."""

RESPONDER = """\
protocol = "udp"
[udp]
ike_port = {ports[0]}
encapsulation_port = {ports[1]}
{more}
"""

INITIATOR = """\
protocol = "udp"
reconnect_first = "50ms"
reconnect_max = "100ms"
[udp]
ike_port = "any"
encapsulation_port = "any"
remote_ike_port = {ports[0]}
remote_encapsulation_port = {ports[1]}
{more}
"""

GROUPS = ("modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519", "x448")

ANY = ('"any"', '"any"')
Ports = tuple[object, object]


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Whatever a test starts is stopped."""
    with Peers() as started:
        yield started


def responder(
    peers: Peers, version: int = 4, udp: str = "", ports: Ports = ANY, **options: str
) -> Running:
    """Start a responder, on free ports unless told otherwise."""
    transport = RESPONDER.format(ports=ports, more=udp)
    return peers.responder(version, transport=transport, **options)


def initiator(
    peers: Peers, ports: Ports, version: int = 4, udp: str = "", **options: str
) -> Running:
    """Start an initiator for a responder with these ports."""
    transport = INITIATOR.format(ports=ports, more=udp)
    return peers.initiator(1, version, transport=transport, **options)


def ports_of(running: Running) -> tuple[int, int]:
    """Ports of a peer that has one address."""
    first, then = running.peer.datagrams.sockets.addresses
    return first.port, then.port


def tunnel(peers: Peers, version: int = 4) -> tuple[Running, Running]:
    """Start both, and wait for the tunnel: initiator, responder."""
    east = responder(peers, version)
    west = initiator(peers, ports_of(east), version)
    up(west, east)
    return west, east


def free_ports() -> tuple[int, int]:
    """Two ports where nobody listens."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as one,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        for place in (one, other):
            place.bind((LOOPBACK[4], 0))
        return one.getsockname()[1], other.getsockname()[1]


class Between(Peers):
    """Both peers, and a relay between them that loses what a test wants it to."""

    def __init__(
        self,
        udp: str = "",
        is_lost: Callable[[Seen], bool] = lambda seen: False,
        **options: str,
    ) -> None:
        super().__init__()
        with Peers() as undo:
            self.east = responder(undo, udp=udp)
            targets = [(LOOPBACK[4], port) for port in ports_of(self.east)]
            self.nat = undo.enter_context(UdpNat([(LOOPBACK[4], 0)] * 2, targets))
            self.nat.is_lost = is_lost
            first, then = self.nat.ports
            self.west = initiator(undo, (first, then), udp=udp, **options)
            self.push(undo.pop_all())


@pytest.mark.parametrize("version", [4, 6])
def test_handshake_and_packets(peers: Peers, version: int) -> None:
    """Both versions; after IKE_SA_INIT everything goes over the other port."""
    west, east = tunnel(peers, version)
    exchange(west, east)
    for running, there in ((west, east), (east, west)):
        tables = running.peer.endpoint.tables
        (session,) = tables.sessions()
        assert session.udp_path.transport is Transport.UDP_ENCAPSULATION
        assert not tables.streams
        assert not running.told.of("problem")
        if there is east:
            assert session.udp_path.remote_port == ports_of(east)[1]
    listening = east.told.of("listening")
    assert [fields["protocol"] for fields in listening] == ["udp", "udp"]


def test_the_answer_comes_from_the_address_that_was_asked(peers: Peers) -> None:
    """RFC 7296 §2.11, where the responder has every address of the machine."""
    told = Recorder()
    transport = RESPONDER.format(ports=ANY, more="")
    configuration = responder_configuration("0.0.0.0", transport=transport)
    east = peers.start(Responder(configuration, [told]), told)
    told = Recorder()
    transport = INITIATOR.format(ports=ports_of(east), more="")
    asked = initiator_configuration(1, "127.0.0.9", transport=transport)
    west = peers.start(Initiator(asked, [told]), told)
    up(west, east)
    exchange(west, east)
    (session,) = east.peer.endpoint.tables.sessions()
    assert str(session.udp_path.local_address) == "127.0.0.9"


def test_many_peers_on_one_socket(peers: Peers) -> None:
    """Sessions are told apart by their SPIs, and each is answered where it is."""
    more = '[pool]\nnetworks = ["10.9.0.0/24"]\n'
    child = "assigned = true\n"
    east = responder(peers, child=child, more=more)
    ike = 'request_addresses = ["ipv4"]'
    sides = [
        initiator(
            peers, ports_of(east), identity=f"laptop{n}.example", ike=ike, child=child
        )
        for n in range(4)
    ]
    up(*sides)
    up(east, count=len(sides))
    paths = {s.udp_path for s in east.peer.endpoint.tables.sessions()}
    assert len(paths) == len(sides)
    for side in sides:
        (interface,) = side.peer.tunnel.addresses
        here = interface.partition("/")[0]
        exchange(side, east, here=here)
        side.peer.stop()
    east.until(lambda: not east.peer.endpoint.has_sessions)


def test_what_is_lost_is_sent_again() -> None:
    """Every datagram is lost when it comes first, either way. RFC 7296 §2.1."""
    known: set[tuple[bool, bytes]] = set()

    def is_new(seen: Seen) -> bool:
        is_first = seen[1:] not in known
        known.add(seen[1:])
        return is_first

    with Between(SOON, is_new) as scene:
        up(scene.west, scene.east)
        messages = scene.west.told.of("ike-message")
        again = {m["exchange"] for m in messages if m["is_retransmission"]}
        assert again == {"IKE_SA_INIT", "IKE_AUTH"}
        assert len(scene.east.peer.endpoint.tables.ike_sas) == 1
        scene.nat.is_lost = lambda seen: False
        exchange(scene.west, scene.east)


def test_garbage_does_no_harm(peers: Peers) -> None:
    """Whoever sends what comes to mind changes nothing. RFC 7296 §2.4."""
    west, east = tunnel(peers)
    before = west.spis
    rubbish = [b"", b"\xff", bytes(4), bytes(40), b"x" * 3, b"y" * 2000, bytes(65000)]
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        for port in ports_of(east):
            for octets in rubbish:
                stranger.sendto(octets, (LOOPBACK[4], port))
    dropped = east.peer.endpoint.counters.dropped
    eventually(lambda: sum(dropped.values()) >= 8, "eight drops")
    exchange(west, east)
    assert west.spis == before
    assert not east.told.of("problem")


def test_from_behind_a_nat_keepalives_are_sent() -> None:
    """One octet FF on the port of ESP, after a silence. RFC 3948 §4."""
    with Between('keepalive = "1s"') as scene:
        up(scene.west, scene.east)
        keepalive = Seen(scene.nat.ports[1], True, b"\xff")
        eventually(lambda: keepalive in scene.nat.seen[:], "a keepalive")
        exchange(scene.west, scene.east)


def test_large_messages_go_in_fragments() -> None:
    """Once agreed to, no IKE message exceeds the size. RFC 7383 §2.5."""
    size = 512
    keywords = [f"aes{bits}gcm16-{kex}" for bits in (128, 192) for kex in GROUPS]
    child = f"proposals = {['aes256gcm16', *keywords]}"
    with Between(f"fragment_size = {size}", child=child) as scene:
        up(scene.west, scene.east)
        (sent,) = (
            m
            for m in scene.west.told.of("ike-message")
            if (m["exchange"], m["direction"]) == ("IKE_AUTH", "sent")
        )
        assert sent["messages"] == 2
        marker = 4
        assert max(len(s.octets) for s in scene.nat.seen) <= size + marker


def test_the_initiator_tries_until_somebody_answers(peers: Peers) -> None:
    """As over TCP: nobody there is no reason to give up."""
    ports = free_ports()
    west = initiator(peers, ports, udp=IMPATIENT)
    west.told.wait_for("ike-sa-closed", 2)
    assert west.peer.ended_reason is None
    east = responder(peers, ports=ports)
    up(west, east)


def test_a_refusal_ends_the_initiator(peers: Peers) -> None:
    """Somebody was there, and does not want us."""
    east = responder(peers)
    west = initiator(peers, ports_of(east), secret="another secret of that length")
    west.until(lambda: west.peer.ended_reason is not None)
    assert "AUTHENTICATION_FAILED" in west.peer.ended_reason


def test_a_responder_that_died_is_found_again(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence is noticed, and a new session takes the place of the old."""
    east = responder(peers)
    ports = ports_of(east)
    west = initiator(peers, ports, udp=IMPATIENT, ike='liveness = "1s"')
    up(west, east)
    monkeypatch.setattr(east.peer.endpoint, "delete_all", lambda now: [])
    east.peer.hurry()
    east.peer.stop()  # without a word
    closed = west.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "no answer for 0.4 s"
    new = responder(peers, ports=ports)
    up(west, count=2)
    exchange(west, new)


@pytest.mark.parametrize("is_initiator_first", [True, False])
def test_stop_deletes_the_session(
    leak_check: LeakCheck, is_initiator_first: bool
) -> None:
    """The peer hears of it, and nothing is left open."""
    with leak_check(), Peers() as peers:
        first, second = tunnel(peers)
        if not is_initiator_first:
            first, second = second, first
        first.peer.stop()
        closed = second.told.wait_for("ike-sa-closed")
        assert closed["reason"] == "deleted by the peer"
        assert not first.told.of("problem")


def test_no_session_begins_while_leaving(peers: Peers) -> None:
    """A responder on its way out is silent."""
    east = responder(peers)
    east.peer._close_openers()
    west = initiator(peers, ports_of(east), udp=IMPATIENT)
    west.told.wait_for("ike-sa-closed")
    assert not east.peer.endpoint.has_sessions


def test_stop_while_nobody_answers(leak_check: LeakCheck) -> None:
    """There is nobody to say good-bye to."""
    with leak_check(), Peers() as peers:
        west = initiator(peers, free_ports())
        west.told.wait_for("ike-message")


def test_without_a_route_another_try_follows(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over TCP, where connecting fails."""
    transport = INITIATOR.format(ports=(500, 4500), more="")
    nowhere = initiator_configuration(1, "255.255.255.255", transport=transport)
    told = Recorder()
    west = peers.start(Initiator(nowhere, [told]), told)
    failed = west.told.wait_for("connect-failed", 2)
    assert "cannot reach 255.255.255.255" in str(failed["reason"])


def test_a_port_that_is_taken(peers: Peers, leak_check: LeakCheck) -> None:
    """Said in a sentence; nothing is left behind."""
    ports = ports_of(responder(peers))
    transport = RESPONDER.format(ports=ports, more="")
    with leak_check():
        peer = Responder(responder_configuration(transport=transport))
        with pytest.raises(EnvironmentProblem, match=f"UDP port {ports[0]}"):
            peer.start()


def test_without_a_thread_the_sockets_are_closed(
    monkeypatch: pytest.MonkeyPatch, leak_check: LeakCheck
) -> None:
    """A machine at its limit."""

    def refuse(*_: object) -> None:
        raise EnvironmentProblem("cannot start a thread")

    with leak_check():
        transport = INITIATOR.format(ports=(500, 4500), more="")
        peer = Initiator(initiator_configuration(1, transport=transport))
        monkeypatch.setattr(peer, "serve", refuse)
        with pytest.raises(EnvironmentProblem, match="thread"):
            peer.start()


def test_a_defect_ends_one_datagram_only(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of, and the others go on."""
    west, east = tunnel(peers)
    real = east.peer.endpoint.datagrams_received

    def fail_once(*arguments: object) -> object:
        monkeypatch.setattr(east.peer.endpoint, "datagrams_received", real)
        raise RuntimeError("a defect")

    monkeypatch.setattr(east.peer.endpoint, "datagrams_received", fail_once)
    carry(west, east, ipv4_packet("10.0.1.1", "10.0.2.1", b"again and again"))
    problem = east.told.wait_for("problem")
    assert "a datagram is dropped: unexpected RuntimeError" in str(problem["text"])
    exchange(west, east)


def test_status_tells_of_udp(peers: Peers) -> None:
    """Sockets, octets, and where each IKE SA is."""
    west, east = tunnel(peers)
    exchange(west, east)
    answer = status(west.peer)
    assert answer["udp"]["octets_in"] > 0
    assert answer["udp"]["octets_out"] > 0
    assert answer["udp"]["lost_datagrams"] == 0
    text = io.StringIO()
    render(answer, Console(file=text, width=300))
    ports = ports_of(east)
    assert f"udp 127.0.0.1 {ports[1]}" in text.getvalue()
    assert "UDP on 0.0.0.0:" in text.getvalue()
    expected = [f"127.0.0.1:{port}" for port in ports]
    assert status(east.peer)["udp"]["sockets"] == expected
