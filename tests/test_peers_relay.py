"""Relays over real sockets: our own peers on either side, tunnels in memory.

Source: RFC 9329 §6.1, RFC 3948 §2
"""

from __future__ import annotations

import io
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from conftest import LeakCheck
from iketcp.config.relay import RelayConfig
from iketcp.errors import EnvironmentProblem
from iketcp.net.proxy_protocol import SIGNATURE
from iketcp.net.tls_options import TlsIdentity, TlsTrust
from iketcp.net.udp_ports import UdpPorts
from iketcp.peers.relay import Relay
from iketcp.peers.relay_tcp_originator import UdpToTcp
from iketcp.peers.relay_tcp_responder import TcpToUdp
from iketcp.relay.policy import RelayPolicy
from iketcp.status_view import render
from iketcp.stream import STREAM_PREFIX
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Recorder,
    Running,
    eventually,
    exchange,
    is_hung_up,
    up,
)
from relay_support import (
    FIRST,
    datagram,
    esp,
    frame,
    ike,
    read_exactly,
    refuses,
    stream,
)
from test_peers_udp import Peers, ports_of
from test_peers_udp import initiator as udp_initiator
from test_peers_udp import responder as udp_responder
from tls_support import CA, SERVER

RECONNECT = 'reconnect_first = "50ms"\nreconnect_max = "100ms"'
IDENTITY = TlsIdentity((SERVER.certificate,), SERVER.key)
TRUST = TlsTrust("gw.example", (CA.certificate,))


class Stage(Peers):
    """Peers and relays; whatever was started is stopped, last first."""

    def relay(self, to_port: int, version: int = 4, **fields: Any) -> Running:
        """Start a relay to a port of loopback, listening on any."""
        fields.setdefault("is_originator", False)
        host = LOOPBACK[version]
        config = RelayConfig(
            address=host, port=0, to_host=host, to_port=to_port, **fields
        )
        told = Recorder()
        kind = UdpToTcp if config.is_originator else TcpToUdp
        made: Relay = kind(config, [told])
        self.callback(made.stop)
        made.start()
        return Running(made, told)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Nothing is left of a test."""
    with Stage() as started:
        yield started


def before_daemon(stage: Stage, version: int = 4, **fields: Any) -> tuple[Running, ...]:
    """A responder that speaks only UDP, and a relay before it."""
    responder = udp_responder(stage, version)
    _, port = ports_of(responder)
    return responder, stage.relay(port, version, **fields)


def daemon(stage: Stage, version: int = 4) -> socket.socket:
    """Stand in for a daemon: a UDP socket of the test's."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    sock = stage.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    sock.bind((LOOPBACK[version], 0))
    sock.settimeout(PATIENCE_SECONDS)
    return sock


def connect(stage: Stage, relay: Running, octets: bytes = b"") -> socket.socket:
    """Stand in for a TCP Originator."""
    address, port = relay.peer.address
    sock = socket.create_connection((str(address), port), PATIENCE_SECONDS)
    stage.enter_context(sock)
    sock.sendall(octets)
    return sock


# --- our peers on both sides ----------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_initiator_and_udp_responder(stage: Stage, version: int) -> None:
    """All the way to ESP both ways; each finds a NAT (RFC 7296 §2.23)."""
    responder, relay = before_daemon(stage, version)
    initiator = stage.initiator(relay.peer.address.port, version)
    up(initiator, responder)
    exchange(initiator, responder)
    (found,) = responder.told.of("nat-detection")
    assert (found["is_local_behind_nat"], found["is_remote_behind_nat"]) == (True, True)
    status = relay.peer.status()
    (line,) = status["connections"]
    assert (line["is_half_open"], status["udp"]["ports"]) == (False, 1)
    initiator.peer.stop()
    relay.told.wait_for("connection-closed")
    responder.told.wait_for("ike-sa-closed")


@pytest.mark.parametrize("version", [4, 6])
def test_udp_initiator_and_tcp_responder(stage: Stage, version: int) -> None:
    """The mirror: port 500, then 4500, and one connection."""
    responder = stage.responder(version)
    port = responder.peer.address.port
    relay = stage.relay(port, version, is_originator=True, ike_port=0)
    ike_port, both_port = (address.port for address in relay.peer.addresses)
    initiator = udp_initiator(stage, (ike_port, both_port), version)
    up(initiator, responder)
    exchange(initiator, responder)
    assert len(relay.told.of("connection-opened")) == 1


def test_tls_between_two_relays(stage: Stage) -> None:
    """UDP at both ends, TLS in the middle. RFC 9329 App. A."""
    responder, inner = before_daemon(stage, tls=IDENTITY)
    port = inner.peer.address.port
    outer = stage.relay(port, is_originator=True, ike_port=0, tls=TRUST)
    ike_port, both_port = (address.port for address in outer.peer.addresses)
    initiator = udp_initiator(stage, (ike_port, both_port))
    up(initiator, responder)
    exchange(initiator, responder)
    lines = inner.peer.status()["connections"]
    assert all(line["protection"].startswith("TLSv1.3") for line in lines)


def test_a_certificate_that_is_not_believed(stage: Stage) -> None:
    """Nothing of the client's goes to somebody else."""
    responder, inner = before_daemon(stage, tls=IDENTITY)
    trust = replace(TRUST, name="other.example")
    port = inner.peer.address.port
    outer = stage.relay(port, is_originator=True, tls=trust)
    ((_, outer_port),) = outer.peer.addresses
    client = daemon(stage)
    client.sendto(datagram(FIRST), (LOOPBACK[4], outer_port))
    closed = outer.told.wait_for("connection-closed")
    assert "not for other.example" in str(closed["reason"])
    assert responder.told.of("ike-message") == []


def test_a_connection_that_breaks(stage: Stage) -> None:
    """The SAs go on over another connection, and the daemon need not notice.

    Ours takes itself to be behind a NAT and follows nobody (RFC 7296 §2.23).
    """
    responder, relay = before_daemon(stage)
    port = relay.peer.address.port
    initiator = stage.initiator(port, transport=RECONNECT)
    up(initiator, responder)
    exchange(initiator, responder)
    spis = initiator.spis
    for number in (1, 2):
        initiator.peer.cut()
        relay.told.wait_for("client-returned", number)
        exchange(initiator, responder, number)
    assert initiator.spis == spis
    assert len(responder.told.of("ike-sa-established")) == 1


def test_a_mirror_whose_connection_breaks(stage: Stage) -> None:
    """It is made again by the next datagram; the responder finds its SAs again."""
    responder = stage.responder()
    port = responder.peer.address.port
    relay = stage.relay(port, is_originator=True, ike_port=0)
    ike_port, both_port = (address.port for address in relay.peer.addresses)
    initiator = udp_initiator(stage, (ike_port, both_port))
    up(initiator, responder)
    exchange(initiator, responder)
    responder.peer.cut()
    exchange(initiator, responder, 1)
    assert len(responder.told.of("ike-sa-established")) == 1


# --- a hand on one side, or on both ---------------------------------------------------


def test_the_old_port_finds_the_new_connection(stage: Stage) -> None:
    """What the daemon sends to the port of a lost connection comes out of the next."""
    server = daemon(stage)
    relay = stage.relay(server.getsockname()[1])
    first = connect(stage, relay, stream(datagram(ike())))
    _, old = server.recvfrom(65535)
    server.sendto(datagram(ike()), old)
    read_exactly(first, 34)
    first.close()
    relay.told.wait_for("connection-closed")
    second = connect(stage, relay, stream(datagram(ike())))
    relay.told.wait_for("client-returned")
    _, new = server.recvfrom(65535)
    assert new != old
    for port in (old, new):
        server.sendto(esp(content=b"for you"), port)
        assert read_exactly(second, 17) == frame(esp(content=b"for you"))


@pytest.mark.parametrize("is_tls", [False, True])
def test_behind_a_balancer(stage: Stage, is_tls: bool) -> None:
    """Strangers are counted by the addresses that it tells, TLS or not."""
    relay = stage.relay(
        daemon(stage).getsockname()[1],
        proxy_protocol_from=(LOOPBACK[4],),
        tls=IDENTITY if is_tls else None,
        policy=RelayPolicy(half_open_address_limit=1),
    )
    for number in (1, 2):
        client = connect(stage, relay, header(number))
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client = stage.enter_context(context.wrap_socket(client))
        client.sendall(stream(esp()))
        relay.told.wait_for("port-opened", number)
    assert is_hung_up(connect(stage, relay, header(1)))
    clients = [line["client"] for line in relay.peer.status()["connections"]]
    assert clients == ["192.0.2.1", "192.0.2.2"]


def header(number: int) -> bytes:
    """What a balancer says first for a client with that number."""
    ends = bytes([192, 0, 2, number, 198, 51, 100, 1])
    ports = struct.pack("!HH", 4321, 4500)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + ends + ports


def test_a_balancer_that_says_nothing(stage: Stage) -> None:
    """RFC 9329's prefix is no PROXY protocol; silence ends, too."""
    policy = RelayPolicy(half_open_seconds=0.1)
    relay = stage.relay(1, proxy_protocol_from=(LOOPBACK[4],), policy=policy)
    assert is_hung_up(connect(stage, relay, stream(esp())))
    assert is_hung_up(connect(stage, relay))
    assert len(relay.told.of("refused")) == 2
    assert relay.told.of("connection-opened") == []


def test_the_end_waits_for_no_balancer(stage: Stage) -> None:
    """Few connections may be without a header, and all of them end."""
    policy = RelayPolicy(half_open_limit=1)
    relay = stage.relay(1, proxy_protocol_from=(LOOPBACK[4],), policy=policy)
    clients = [connect(stage, relay) for _ in range(2)]
    refused = relay.told.wait_for("refused")
    assert refused["reason"] == "too many PROXY headers are awaited"
    relay.peer.stop()
    assert all(map(is_hung_up, clients))
    assert not relay.told.of("problem")


def test_only_the_daemon_is_heard(stage: Stage) -> None:
    """What others send to a client's port goes nowhere."""
    server, other = daemon(stage), daemon(stage)
    relay = stage.relay(server.getsockname()[1])
    client = connect(stage, relay, stream(datagram(FIRST)))
    _, port = server.recvfrom(65535)
    other.sendto(esp(content=b"forged"), port)
    server.sendto(esp(content=b"honest"), port)
    assert read_exactly(client, 16) == frame(esp(content=b"honest"))


def test_a_daemon_that_comes_late(stage: Stage) -> None:
    """Datagrams for nobody are lost and counted; the next one arrives."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK[4], 0))
        where = probe.getsockname()
    relay = stage.relay(where[1])
    client = connect(stage, relay, stream(datagram(FIRST)))
    relay.told.wait_for("port-opened")
    server = stage.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    server.bind(where)
    server.settimeout(PATIENCE_SECONDS)
    client.sendall(frame(esp()))
    assert server.recv(65535) == esp()


def test_bad_streams_are_closed(stage: Stage) -> None:
    """RFC 9329 §3.1, §6.1: no prefix, and a Length of 1."""
    relay = stage.relay(daemon(stage).getsockname()[1])
    for octets in (b"GET / HTTP/1.1\r\n\r\n", STREAM_PREFIX + b"\0\1"):
        assert is_hung_up(connect(stage, relay, octets))
    relay.told.wait_for("connection-closed", 2)
    status = relay.peer.status()
    assert status["connections"] == []
    assert len(status["closed"]) == 2


def test_strangers_are_refused(stage: Stage) -> None:
    """RFC 9329 §10: one too many is hung up on at once, and one who waits in time."""
    policy = RelayPolicy(half_open_address_limit=1, half_open_seconds=0.1)
    relay = stage.relay(daemon(stage).getsockname()[1], policy=policy)
    first = connect(stage, relay)
    relay.told.wait_for("connection-opened")
    assert is_hung_up(connect(stage, relay))
    assert is_hung_up(first)
    relay.told.wait_for("connection-closed")
    half_open = relay.peer.status()["half_open"]["connections"]
    assert (half_open["refused"], half_open["timed_out"]) == (1, 1)


def test_a_slow_client_loses_esp(stage: Stage) -> None:
    """RFC 9329 §9.2: its own queue fills; others do not notice."""
    server = daemon(stage)
    relay = stage.relay(server.getsockname()[1], send_queue_octets=1 << 16)
    slow = connect(stage, relay, stream(datagram(ike())))
    _, port = server.recvfrom(65535)
    server.sendto(datagram(ike()), port)
    read_exactly(slow, 34)

    def is_full() -> bool:
        for _ in range(64):
            server.sendto(esp(content=bytes(8192)), port)
        (line,) = relay.peer.status()["connections"]
        return bool(line["dropped_batches"])

    eventually(is_full, "a full queue")
    quick = connect(stage, relay, stream(esp()))
    _, other = server.recvfrom(65535)
    server.sendto(esp(), other)
    assert read_exactly(quick, 16) == frame(esp())


def test_nobody_listens_behind_the_mirror(stage: Stage) -> None:
    """The next attempt waits a moment, however many datagrams come."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK[4], 0))
        port = probe.getsockname()[1]
    relay = stage.relay(port, is_originator=True)
    ((_, ours),) = relay.peer.addresses
    client = daemon(stage)
    client.sendto(datagram(FIRST), (LOOPBACK[4], ours))
    closed = relay.told.wait_for("connection-closed")
    assert "refused" in str(closed["reason"])
    client.sendto(datagram(FIRST), (LOOPBACK[4], ours))
    key = "datagram of a source without connection"
    eventually(lambda: relay.peer.status()["dropped"].get(key, 0) == 1)


# --- life -----------------------------------------------------------------------------


def test_draining(stage: Stage) -> None:
    """Nobody new, and those who are there go on until they leave by themselves."""
    responder, relay = before_daemon(stage, drain_seconds=PATIENCE_SECONDS)
    port = relay.peer.address.port
    initiator = stage.initiator(port)
    up(initiator, responder)
    relay.peer._threads.spawn("ending", relay.peer.stop)
    eventually(lambda: relay.peer.status()["is_draining"])
    eventually(lambda: refuses(port), "a closed port")
    exchange(initiator, responder)
    initiator.peer.stop()
    relay.told.wait_for("connection-closed")
    eventually(relay.peer._stop.is_set)


def test_the_end_of_waiting(stage: Stage) -> None:
    """Who stays too long is closed with FIN."""
    _, relay = before_daemon(stage)
    client = connect(stage, relay, stream())
    relay.told.wait_for("connection-opened")
    relay.peer.stop()
    assert is_hung_up(client)
    assert relay.told.of("connection-closed")[0]["reason"] == "closed by us"


def test_reloading(stage: Stage) -> None:
    """New connections go to another daemon; the others stay where they are."""
    before, after = daemon(stage), daemon(stage)
    relay = stage.relay(before.getsockname()[1])
    first = connect(stage, relay, stream(esp(1000)))
    assert before.recv(65535) == esp(1000)
    port = after.getsockname()[1]
    relay.peer.reload(replace(relay.peer.config, to_port=port))
    connect(stage, relay, stream(esp(1001)))
    assert after.recv(65535) == esp(1001)
    first.sendall(frame(esp(1002)))
    assert before.recv(65535) == esp(1002)


def test_reloading_in_vain(stage: Stage) -> None:
    relay = stage.relay(daemon(stage).getsockname()[1])
    config = relay.peer.config
    with pytest.raises(EnvironmentProblem):
        relay.peer.reload(replace(config, to_host="no.such.host.invalid"))
    assert relay.peer.config is config


def test_a_port_that_is_taken(stage: Stage, leak_check: LeakCheck) -> None:
    """Nothing is left of a relay that could not begin."""
    first = stage.relay(1)
    taken = first.peer.address.port
    config = replace(first.peer.config, port=taken)
    with leak_check(), pytest.raises(EnvironmentProblem, match="cannot listen"):
        TcpToUdp(config).start()


def test_nothing_leaks(leak_check: LeakCheck) -> None:
    """Sockets, ports and threads of clients that came, went and came back."""

    def session() -> None:
        with Stage() as stage:
            responder, relay = before_daemon(stage)
            port = relay.peer.address.port
            initiator = stage.initiator(port, transport=RECONNECT)
            up(initiator, responder)
            initiator.peer.cut()
            relay.told.wait_for("client-returned")

    session()
    with leak_check():
        session()


def test_no_descriptor_for_a_port(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection closes with the reason."""
    relay = stage.relay(1)

    def refuse(*_: object) -> None:
        raise EnvironmentProblem("no descriptor is left")

    monkeypatch.setattr(UdpPorts, "open", refuse)
    assert is_hung_up(connect(stage, relay, stream(esp())))
    closed = relay.told.wait_for("connection-closed")
    assert closed["reason"] == "no descriptor is left"
    assert relay.peer.status()["udp"]["ports"] == 0


def test_status_for_people(stage: Stage) -> None:
    """Both kinds, with somebody there."""
    server = daemon(stage)
    relay = stage.relay(server.getsockname()[1])
    connect(stage, relay, stream(datagram(FIRST)))
    relay.told.wait_for("port-opened")
    port = relay.peer.address.port
    mirror = stage.relay(port, is_originator=True)
    for running, words in (
        (relay, ("TCP to UDP", "1 ports", "half-open")),
        (mirror, ("UDP to TCP", "0 connections")),
    ):
        shown = io.StringIO()
        render(running.peer.status(), Console(file=shown, width=120))
        for word in words:
            assert word in shown.getvalue()
