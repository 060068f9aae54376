"""The PROXY protocol: who connects through a balancer, and who may say so."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import LeakCheck
from connection_support import PATIENCE_SECONDS, carriers
from iketcp.net.proxy_protocol import (
    MAX_HEADER,
    MAX_LINE,
    SIGNATURE,
    BadHeader,
    Ends,
    Header,
    decode,
    take_header,
)
from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress
from iketcp.stream import STREAM_PREFIX
from peer_support import (
    LOOPBACK,
    Peers,
    eventually,
    exchange,
    is_hung_up,
    raw_connection,
    up,
)
from test_peers import NEVER, no_problem
from tls_support import initiator_tls, responder_tls

CLIENT = {4: "198.51.100.7", 6: "2001:db8:7::1"}
BALANCER = {4: "192.0.2.5", 6: "2001:db8::5"}
FROM_US = 'proxy_protocol_from = ["127.0.0.1", "::1"]'


def header(
    version: int = 4, command: int = 0x21, more: bytes = b"", family: int | None = None
) -> bytes:
    """What a balancer sends first; port 40000 to port 4500."""
    ends = ip_address(CLIENT[version]).packed + ip_address(BALANCER[version]).packed
    ends += struct.pack("!HH", 40000, 4500) + more
    family = family or {4: 0x11, 6: 0x21}[version]
    return SIGNATURE + struct.pack("!BBH", command, family, len(ends)) + ends


def ends(version: int) -> Ends:
    """What that header says."""
    source, destination = (ip_address(each[version]) for each in (CLIENT, BALANCER))
    return Ends(SocketAddress(source, 40000), SocketAddress(destination, 4500))


# --- the header -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("more", [b"", b"\x04\0\x02xx"])
def test_a_header(version: int, more: bytes) -> None:
    """Both ends, whatever else stands there; what follows is not looked at."""
    octets = header(version, more=more)
    assert decode(octets + STREAM_PREFIX) == Header(ends(version), len(octets))
    for size in range(len(octets)):
        assert decode(octets[:size]) is None


def test_a_header_without_ends() -> None:
    """LOCAL is for the balancer itself; of UDP or UNIX nothing is to be known."""
    octets = header(command=0x20)
    assert decode(octets) == Header(None, len(octets))
    bare = SIGNATURE + bytes([0x20, 0, 0, 0])
    assert decode(bare) == Header(None, 16)
    for family in (0x10, 0x12, 0x31, 0x01):
        octets = header(family=family)
        assert decode(octets) == Header(None, len(octets))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (STREAM_PREFIX, "no PROXY header"),
        (SIGNATURE[:-1] + b"\r", "no PROXY header"),
        (header(command=0x11), "version and command 0x11"),
        (header(command=0x22), "version and command 0x22"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, MAX_HEADER), "has 2064 octets"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 11) + bytes(11), "cut off"),
        (SIGNATURE + struct.pack("!BBH", 0x21, 0x21, 12) + bytes(12), "cut off"),
    ],
)
def test_what_is_no_header(octets: bytes, words: str) -> None:
    """Said in words, and nothing is guessed."""
    with pytest.raises(BadHeader, match=words):
        decode(octets)


LINES = {
    4: b"PROXY TCP4 198.51.100.7 192.0.2.5 40000 4500\r\n",
    6: b"PROXY TCP6 2001:db8:7::1 2001:db8::5 40000 4500\r\n",
}


@pytest.mark.parametrize("version", [4, 6])
def test_a_line(version: int) -> None:
    """Version 1 says the same in words; what follows is not looked at."""
    line = LINES[version]
    assert decode(line + STREAM_PREFIX) == Header(ends(version), len(line))
    for size in range(len(line)):
        assert decode(line[:size]) is None


def test_ipv4_inside_ipv6() -> None:
    """HAProxy, listening on both versions, says it so: it is IPv4, as the client knows.

    Otherwise NAT detection would find a NAT where there is none. [9329-6.5-natd]
    """
    mapped = [b"::ffff:" + part for part in (b"198.51.100.7", b"192.0.2.5")]
    line = b"PROXY TCP6 %s %s 40000 4500\r\n" % tuple(mapped)
    assert decode(line) == Header(ends(4), len(line))
    octets = b"".join(ip_address(part.decode()).packed for part in mapped)
    octets += struct.pack("!HH", 40000, 4500)
    octets = SIGNATURE + struct.pack("!BBH", 0x21, 0x21, len(octets)) + octets
    assert decode(octets) == Header(ends(4), len(octets))


@pytest.mark.parametrize(
    "line", [b"PROXY UNKNOWN", b"PROXY UNKNOWN ", b"PROXY UNKNOWN ::1 x \n\xff y"]
)
def test_a_line_without_ends(line: bytes) -> None:
    """Whatever it says behind that word is not looked at."""
    assert decode(line + b"\r\n\r\n") == Header(None, len(line) + 2)


def test_how_long_a_line_may_be() -> None:
    """107 octets, its end among them: then it has come, or never will."""
    longest = b"PROXY UNKNOWN ".ljust(MAX_LINE - 2, b"x")
    assert decode(longest + b"\r\n") == Header(None, MAX_LINE)
    assert decode(longest + b"\r") is None
    for octets in (longest + b"x\r", longest + b"x\r\n"):
        with pytest.raises(BadHeader, match="has no end"):
            decode(octets)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PROXY TCP4 198.51.100.7 192.0.2.5 40000", "another form"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 40000 4500 1", "another form"),
        ("PROXY TCP4  198.51.100.7 192.0.2.5 40000 4500", "another form"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 040000 4500", "another form"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 +40000 4500", "another form"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 40000 4500\n", "another form"),
        ("PROXY TCP6 fe80::1%eth0 2001:db8::5 40000 4500", "another form"),
        ("PROXY UDP4 198.51.100.7 192.0.2.5 40000 4500", "another form"),
        ("PROXY UNKNOWNS", "another form"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 65536 4500", "port"),
        ("PROXY TCP4 198.51.100.7 192.0.2.5 40000 99999999", "port"),
        ("PROXY TCP4 198.51.100.256 192.0.2.5 40000 4500", "address"),
        ("PROXY TCP4 198.51.100.07 192.0.2.5 40000 4500", "address"),
        ("PROXY TCP4 198.51.100.7 2001:db8::5 40000 4500", "address"),
        ("PROXY TCP6 2001:db8:7::1 192.0.2.5 40000 4500", "address"),
        ("PROXY TCP6 2001:db8:7::1::2 2001:db8::5 40000 4500", "address"),
    ],
)
def test_what_is_no_line(line: str, words: str) -> None:
    """Nothing is guessed: one form, and addresses and ports that exist."""
    with pytest.raises(BadHeader, match=words):
        decode(line.encode() + b"\r\n")


@given(
    st.binary(max_size=120),
    st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP6 "]),
)
def test_any_octets(octets: bytes, begin: bytes) -> None:
    """A header, too few octets, or a refusal; nothing else comes of them."""
    octets = begin + octets
    try:
        found = decode(octets)
    except BadHeader:
        return
    assert found is None or 15 <= found.size <= len(octets)


@pytest.mark.parametrize("is_split", [True, False])
@pytest.mark.parametrize("first", [LINES[4], header()])
def test_a_connection_is_the_clients_then(first: bytes, is_split: bool) -> None:
    """Its ends are those that the client sees; what follows the header is read."""
    octets = first + STREAM_PREFIX
    with carriers() as (far, near):
        for at in range(len(octets)) if is_split else ():
            far.send(octets[at : at + 1], droppable=False)
        if not is_split:
            far.send(octets, droppable=False)
        assert take_header(near, PATIENCE_SECONDS)
        assert (near.remote_address, near.local_address) == ends(4)
        received = b""
        while len(received) < len(STREAM_PREFIX):
            received += near.wait_and_receive() or b"?"
        assert received == STREAM_PREFIX


def test_a_connection_of_the_balancers_own() -> None:
    """It stays what it is."""
    with carriers() as (far, near):
        before = near.remote_address
        far.send(header(command=0x20), droppable=False)
        assert take_header(near, PATIENCE_SECONDS)
        assert near.remote_address == before


def test_a_header_that_does_not_come() -> None:
    """Its time is limited, its end is noticed, and so is ours."""
    with carriers() as (far, near):
        with pytest.raises(ConnectionBroken, match="nothing came in time"):
            take_header(near, 0.01)
        far.send(SIGNATURE, droppable=False)
        far.close()
        with pytest.raises(BadHeader, match="ends before its PROXY header"):
            take_header(near, PATIENCE_SECONDS)
    with carriers() as (_, near):
        near.stop()
        assert not take_header(near, PATIENCE_SECONDS)


# --- peers ----------------------------------------------------------------------------


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


@contextmanager
def balancer(version: int, port: int) -> Iterator[int]:
    """Relay one connection, a header before it; its port."""
    host = LOOPBACK[version]
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while octets := source.recv(65536):
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them is gone

    with listener:
        server = socket.create_connection((host, port), PATIENCE_SECONDS)
        server.settimeout(None)

        def serve() -> None:
            client, _ = listener.accept()
            with client, server:
                server.sendall(header(version))
                back = threading.Thread(target=pump, args=(server, client))
                back.start()
                pump(client, server)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("is_tls", [True, False])
def test_a_tunnel_behind_a_balancer(peers: Peers, version: int, is_tls: bool) -> None:
    """The responder sees the client; with TLS the header comes before it."""
    responder = peers.responder(version, tls=responder_tls(), transport=FROM_US)
    peer = responder.peer
    with balancer(version, (peer.tls_address if is_tls else peer.address).port) as port:
        tls = initiator_tls(port) if is_tls else None
        initiator = peers.initiator(port, version, tls=tls)
        up(initiator, responder)
        exchange(initiator, responder)
        (opened,) = responder.told.of("connection-opened")
        assert opened["remote"] == f"{CLIENT[version]} 40000"
        assert opened["local"] == f"{BALANCER[version]} 4500"
        initiator.peer.stop()
    no_problem(initiator, responder)


def test_from_others_no_header_is_understood(peers: Peers) -> None:
    """Whoever connects may say much; it is no stream prefix."""
    transport = 'proxy_protocol_from = ["192.0.2.5"]'
    responder = peers.responder(transport=transport)
    with raw_connection(responder) as stranger:
        stranger.sendall(header())
        assert is_hung_up(stranger)
    closed = responder.told.wait_for("connection-closed")
    assert str(closed["reason"]).startswith("stream begins with 0d")
    up(peers.initiator(responder.peer.address.port), responder)


def test_without_its_header_a_balancer_is_refused(peers: Peers) -> None:
    """What comes first is for whom it speaks, or nothing is heard."""
    responder = peers.responder(transport=FROM_US)
    initiator = peers.initiator(responder.peer.address.port)
    refused = responder.told.wait_for("refused")
    assert refused["reason"] == "no PROXY header comes first"
    assert str(refused["remote"]).startswith("127.0.0.1:")
    initiator.told.wait_for("connection-closed")
    assert responder.told.of("connection-opened") == []
    no_problem(responder)


def test_headers_are_awaited_for_so_long_and_so_many(peers: Peers) -> None:
    """[9329-6.1-idle]: before it is known whose connection it is, too."""
    late = peers.responder(transport=f'{FROM_US}\nprefix_deadline = "50ms"')
    with raw_connection(late) as silent:
        assert is_hung_up(silent)
    assert late.told.wait_for("refused")["reason"] == "nothing came in time"
    limits = f"{NEVER}\nhalf_open_limit = 1\nhalf_open_limit_per_address = 1"
    full = peers.responder(transport=f"{FROM_US}\n{limits}")
    with raw_connection(full), raw_connection(full):
        refused = full.told.wait_for("refused")
        assert refused["reason"] == "too many PROXY headers are awaited"


def test_each_client_has_its_own_limit(peers: Peers) -> None:
    """[9329-6.1-idle]: connections count for the address that the header names."""
    limits = f"{NEVER}\nhalf_open_limit_per_address = 1"
    responder = peers.responder(transport=f"{FROM_US}\n{limits}")
    with raw_connection(responder) as one, raw_connection(responder) as again:
        one.sendall(header(4))
        responder.told.wait_for("connection-opened")
        with raw_connection(responder) as other:
            other.sendall(header(6))
            responder.told.wait_for("connection-opened", 2)
        again.sendall(header(4))
        assert is_hung_up(again)


def test_a_header_is_not_waited_for_at_the_end(
    peers: Peers, leak_check: LeakCheck
) -> None:
    """A responder that stops leaves no thread behind."""
    with leak_check():
        responder = peers.responder(transport=f"{FROM_US}\n{NEVER}")
        with raw_connection(responder) as silent:
            silent.sendall(SIGNATURE)
            eventually(lambda: bool(responder.peer._announced._waiting))
            responder.peer.stop()
            assert is_hung_up(silent)
        assert responder.told.of("refused") == []
        peers.pop_all()
