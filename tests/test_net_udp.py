"""UDP sockets: two ports, both IP versions, the addresses of every datagram.

Source: RFC 7296 §2.11, RFC 7296 §2.23
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from iketcp.errors import ConfigurationError, EnvironmentProblem
from iketcp.ike.nat_detection import Path, Transport
from iketcp.net import udp
from iketcp.net.tcp import ConnectionBroken
from iketcp.net.udp import UdpSockets
from namespaces import require_or_skip

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
BOTH = (Transport.UDP, Transport.UDP_ENCAPSULATION)


@contextmanager
def sockets(address: str | None = None, port: int = 0) -> Iterator[UdpSockets]:
    """Sockets on free ports."""
    opened = UdpSockets(address, port, 0)
    try:
        yield opened
    finally:
        opened.close()


def port_of(opened: UdpSockets, version: int, transport: Transport) -> int:
    """The real port of one socket."""
    return opened.path_to(ip_address(LOOPBACK[version]), 1, transport).local_port


def way(
    sender: UdpSockets, receiver: UdpSockets, version: int, transport: Transport
) -> Path:
    """The path from one to the other over loopback."""
    port = port_of(receiver, version, transport)
    return sender.path_to(ip_address(LOOPBACK[version]), port, transport)


def back(path: Path) -> Path:
    """The same path from the other end."""
    return Path(
        path.remote_address,
        path.remote_port,
        path.local_address,
        path.local_port,
        path.transport,
    )


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", BOTH)
def test_datagrams_come_with_both_ends(version: int, transport: Transport) -> None:
    """RFC 7296 §2.11: so that an answer goes back from where they came to."""
    with sockets() as west, sockets() as east:
        path = way(west, east, version, transport)
        west.send(path, [b"one", b"two"])
        received = east.receive()
        assert received is not None
        while sum(len(datagrams) for _, datagrams in received) < 2:
            received += east.receive() or []
        assert {p for p, _ in received} == {back(path)}
        assert [d for _, datagrams in received for d in datagrams] == [b"one", b"two"]
        east.send(back(path), [b"back"])
        assert west.receive() == [(path, [b"back"])]
        assert west.octets_out == east.octets_in == 6
        assert west.octets_in == east.octets_out == 4
        assert west.lost == east.lost == 0


def test_an_answer_leaves_from_the_address_that_was_asked() -> None:
    """RFC 7296 §2.11: a host has many, and the system would choose another."""
    with sockets() as east, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as west:
        west.bind(("127.0.0.1", 0))
        port = port_of(east, 4, Transport.UDP)
        west.sendto(b"ask", ("127.0.0.77", port))
        received = east.receive()
        assert received is not None
        ((path, datagrams),) = received
        assert datagrams == [b"ask"]
        assert str(path.local_address) == "127.0.0.77"
        east.send(path, [b"answer"])
        west.settimeout(20)
        assert west.recvfrom(100) == (b"answer", ("127.0.0.77", port))


@pytest.mark.parametrize("version", [4, 6])
def test_one_address(version: int) -> None:
    """Sockets of one address have that version only."""
    other = ip_address(LOOPBACK[10 - version])
    with sockets(LOOPBACK[version]) as opened:
        assert [str(a.address) for a in opened.addresses] == [LOOPBACK[version]] * 2
        path = opened.path_to(ip_address(LOOPBACK[version]), 500, Transport.UDP)
        assert str(path.local_address) == LOOPBACK[version]
        with pytest.raises(ConnectionBroken, match="no UDP socket"):
            opened.path_to(other, 500, Transport.UDP)
        opened.send(Path(other, 1, other, 500, Transport.UDP), [b"lost", b"lost"])
        assert opened.lost == 2


def test_every_address_of_both_versions() -> None:
    """None and "::" are the same."""
    for address in (None, "::"):
        with sockets(address) as opened:
            versions = [a.address.version for a in opened.addresses]
            assert versions == [4, 6, 4, 6]


def test_what_cannot_be_opened_is_said() -> None:
    """One sentence, and nothing is left open."""
    with sockets("127.0.0.1") as opened:
        port = opened.addresses[0].port
        with pytest.raises(EnvironmentProblem, match=f"UDP port {port} of 127.0.0.1"):
            UdpSockets("127.0.0.1", 0, port)
    with pytest.raises(EnvironmentProblem, match=r"UDP port 0 of 192\.0\.2\.77"):
        UdpSockets("192.0.2.77", 0, 0)
    with pytest.raises(ConfigurationError, match="not an IP address"):
        UdpSockets("gw.example", 0, 0)


def test_a_machine_without_ipv6_has_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where both were meant."""
    real = socket.socket

    def only_4(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(udp.socket, "socket", only_4)
    with sockets() as opened:
        assert [a.address.version for a in opened.addresses] == [4, 4]
    with pytest.raises(EnvironmentProblem, match="Address family"):
        UdpSockets("::1", 0, 0)


def test_the_stack_may_refuse() -> None:
    """Nothing is queued: it is lost, and counted."""
    with sockets("127.0.0.1") as opened:
        path = opened.path_to(ip_address("127.0.0.1"), 9, Transport.UDP)
        opened.send(path, [bytes(70000), b"fits"])
        assert opened.lost == 1


def test_a_closed_port_of_the_peer_is_no_error() -> None:
    """An ICMP error proves nothing; the sockets go on."""
    with sockets("127.0.0.1") as west, sockets("127.0.0.1") as east:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            port = gone.getsockname()[1]
        nowhere = west.path_to(ip_address("127.0.0.1"), port, Transport.UDP)
        west.send(nowhere, [b"to nobody"] * 3)
        path = way(east, west, 4, Transport.UDP)
        east.send(path, [b"still there?"])
        assert west.receive() == [(back(path), [b"still there?"])]


@pytest.mark.parametrize("transport", BOTH)
def test_the_checksum_is_zero_where_there_may_be_esp(transport: Transport) -> None:
    """RFC 3948 §2.1; IKE alone keeps it."""
    with ExitStack() as stack:
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        except PermissionError:
            require_or_skip(False, "this user may not look at raw packets")
        stack.enter_context(raw)
        raw.settimeout(20)
        raw.bind((LOOPBACK[4], 0))
        west = stack.enter_context(sockets(LOOPBACK[4]))
        path = west.path_to(ip_address(LOOPBACK[4]), 9, transport)
        west.send(path, [b"checksum"])
        ports = path.local_port.to_bytes(2, "big") + bytes([0, 9])
        while True:
            header = raw.recv(1000)[20:28]
            if header[:4] == ports:
                break
        assert (header[6:] == bytes(2)) is transport.value.endswith("encapsulation")


def test_there_must_be_a_route() -> None:
    """Another try may succeed."""
    with sockets() as opened, pytest.raises(ConnectionBroken, match="cannot reach"):
        opened.path_to(ip_address("255.255.255.255"), 500, Transport.UDP)


def test_many_strangers_cost_no_memory() -> None:
    """Paths are kept ready for so many only."""
    with sockets("127.0.0.1") as east, ExitStack() as stack:
        (first, *_) = east._bound
        for number in range(udp.MOST_PATHS):
            first._paths[number,] = east.path_to(
                ip_address("127.0.0.1"), 1 + number, Transport.UDP
            )
        west = stack.enter_context(sockets("127.0.0.1"))
        west.send(way(west, east, 4, Transport.UDP), [b"one more"])
        assert east.receive() is not None
        assert len(first._paths) == 1


def test_stop_ends_the_wait() -> None:
    """From any thread; and sending after the end is no error."""
    with sockets() as opened:
        threading.Timer(0.05, opened.stop).start()
        assert opened.receive() is None
        path = opened.path_to(ip_address("127.0.0.1"), 9, Transport.UDP)
    opened.close()
    opened.send(path, [b"late"])
    assert opened.lost == 1
