"""The outer packets as a network sees them: captured, in a namespace of their own.

Two stacks of the system talk over the loopback device, whose MTU is that of Ethernet,
and a packet socket listens. Inner packets are looked at where they leave the endpoint.

Source: RFC 9329 §6.1, RFC 9329 §9.3, RFC 9329 §9.4, RFC 9329 §9.5
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from iketcp.environment import ScriptedEntropy
from iketcp.ike.nat_detection import Path as NetworkPath
from iketcp.net import socket_options
from iketcp.net.socket_options import (
    is_ecn_negotiated,
    new_flow_label,
    use_flow_label,
)
from iketcp.net.tcp import Listener, connect
from namespaces import in_namespace
from pair import EAST, WEST, Pair, ike_policy
from peer_support import Peers, up
from scenarios import to_east, to_west

ANY_PROTOCOL = 3
ETHERNET_MTU = 1500
PATIENCE_SECONDS = 20.0
TIMEOUT_SECONDS = 10.0
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
IP_HEADER = {4: 20, 6: 40}
TCP_HEADER = 20
TRANSFER = 1 << 20
QUICK = 'reconnect_first = "10ms"\nreconnect_max = "50ms"'


class Capture:
    """Every packet that crosses the loopback device, since the beginning."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ANY_PROTOCOL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.bind(("lo", ANY_PROTOCOL))
        self._socket.setblocking(False)

    def packets(self) -> Iterator[IP | IPv6]:
        """Every TCP packet since the last call, each as it was sent."""
        while True:
            try:
                octets, address = self._socket.recvfrom(1 << 17)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING:  # type: ignore[attr-defined]
                continue  # the loopback device shows every packet twice
            packet = IP(octets) if octets[0] >> 4 == 4 else IPv6(octets)
            if TCP in packet:
                yield packet

    def close(self) -> None:
        """Stop."""
        self._socket.close()


@contextmanager
def loopback() -> Iterator[Capture]:
    """Set the loopback device up like a network, and capture."""
    with IPRoute(groups=0) as netlink:
        netlink.link("set", index=1, state="up", mtu=ETHERNET_MTU)
    capture = Capture()
    try:
        yield capture
    finally:
        capture.close()


def talk(listener: Listener, version: int, size: int = 10, **options: int) -> None:
    """Connect, send octets, and hang up in an orderly way."""
    address, port = LOOPBACK[version], listener.address.port
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
    thread.start()
    near = connect(address, port, TIMEOUT_SECONDS, **options)  # type: ignore[arg-type]
    thread.join(PATIENCE_SECONDS)
    (far,) = accepted
    assert near is not None
    assert far is not None
    received = 0

    def receive() -> None:
        nonlocal received
        while octets := far.wait_and_receive():
            received += len(octets)

    reader = threading.Thread(target=receive)
    reader.start()
    assert near.send(bytes(size), droppable=False)
    near.close()
    reader.join(PATIENCE_SECONDS)
    far.close()
    assert received == size


# --- the flow label -------------------------------------------------------------------


@in_namespace
def test_all_connections_of_a_session_have_one_flow_label() -> None:
    """[9329-6.1-flowlabel]: from SYN to FIN, on one connection and the next."""
    entropy = ScriptedEntropy("flow labels")
    labels = [new_flow_label(entropy) for _ in range(2)]
    assert len(set(labels)) == 2
    with loopback() as capture:
        listener = Listener("::1", 0)
        port = listener.address.port
        for label in labels:
            for _ in range(2):
                talk(listener, 6, flow_label=label)
            ours = [p for p in capture.packets() if p[TCP].dport == port]
            assert len([p for p in ours if p[TCP].flags == "S"]) == 2
            assert len([p for p in ours if "F" in p[TCP].flags]) == 2
            assert {p.fl for p in ours} == {label}
        listener.close()


@in_namespace
def test_a_new_connection_has_the_label_while_the_old_one_lives() -> None:
    """[9329-6.1-flowlabel]: the lease is shared, not taken away."""
    with loopback() as capture:
        listener = Listener("::1", 0)
        port = listener.address.port
        both = [connect("::1", port, TIMEOUT_SECONDS, flow_label=9329) for _ in "12"]
        ours = [p for p in capture.packets() if p[TCP].dport == port]
        assert {p.fl for p in ours} == {9329}
        assert len({p[TCP].sport for p in ours}) == 2
        for connection in both:
            assert connection is not None
            connection.abort()
        listener.close()


@in_namespace
def test_without_the_label_a_connection_is_made_all_the_same() -> None:
    """[9329-6.1-flowlabel]: refused by the system, and over IPv4, where none is."""
    with loopback() as capture:
        for version in (4, 6):
            listener = Listener(LOOPBACK[version], 0)
            talk(listener, version, flow_label=1 << 20)  # one bit too many
            listener.close()
            assert list(capture.packets())
    with socket.socket(socket.AF_INET6) as sock:
        assert not use_flow_label(sock, 1 << 20, "::1%lo")


@in_namespace
def test_the_initiator_keeps_its_label() -> None:
    """[9329-6.1-flowlabel]: for a session, over three connections; not for the next."""
    with loopback() as capture, Peers() as peers:
        initiator, responder = peers.tunnel(6, transport=QUICK)
        port = responder.peer.address.port
        for number in (1, 2):
            initiator.peer.cut()
            responder.told.wait_for("mapping-moved", number)
        packets = [p for p in capture.packets() if p[TCP].dport == port]
        assert len({p[TCP].sport for p in packets}) == 3
        (first,) = {p.fl for p in packets}
        responder.peer.stop()
        initiator.told.wait_for("ike-sa-closed")
        list(capture.packets())
        peers.responder(6, port=port)
        up(initiator, count=2)
        syns = [p for p in capture.packets() if p[TCP].flags == "S"]
        assert first
        assert syns
        assert syns[-1].fl not in (0, first)


def test_flow_labels_have_19_bits_and_are_never_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux can reserve the upper half of all labels for its own."""
    monkeypatch.setattr(socket_options, "_FLOW_LABELS", 4)
    entropy = ScriptedEntropy("few")
    assert {new_flow_label(entropy) for _ in range(100)} == {1, 2, 3}


# --- segments, fragments, marks -------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@in_namespace
def test_the_segment_size_is_the_stacks(version: int) -> None:
    """[9329-9.4-mss]: both SYNs offer what fits the device; nothing is fragmented."""
    with loopback() as capture:
        listener = Listener(LOOPBACK[version], 0)
        talk(listener, version, TRANSFER)
        listener.close()
        packets = list(capture.packets())
    offers = [dict(p[TCP].options)["MSS"] for p in packets if "S" in p[TCP].flags]
    assert offers == [ETHERNET_MTU - IP_HEADER[version] - TCP_HEADER] * 2
    if version == 4:
        assert {str(p.flags) for p in packets} == {"DF"}
        assert {p.frag for p in packets} == {0}
    else:
        assert {p.nh for p in packets} == {socket.IPPROTO_TCP}  # no Fragment header


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("dscp", [0, 46])
@in_namespace
def test_no_outer_packet_is_ecn_capable(version: int, dscp: int) -> None:
    """[9329-9.5-ecn] [9329-6.8-dscp]: with Linux's usual setting, in each packet."""
    setting = Path("/proc/sys/net/ipv4/tcp_ecn")
    assert setting.read_text().strip() in ("0", "2")
    with loopback() as capture:
        listener = Listener(LOOPBACK[version], 0, dscp=dscp)
        talk(listener, version, TRANSFER, dscp=dscp)
        listener.close()
        packets = list(capture.packets())
    assert len(packets) > 10
    for packet in packets:
        assert (packet.tos if version == 4 else packet.tc) == dscp << 2
        assert not set("EC") & set(str(packet[TCP].flags))


@in_namespace
def test_where_the_system_asks_for_ecn_we_can_tell() -> None:
    """The deviation from [9329-9.5-ecn]: the setting is the system's."""
    try:
        Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1")
    except OSError as error:
        pytest.skip(f"this machine's settings cannot be changed: {error.strerror}")
    with (
        loopback(),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert is_ecn_negotiated(client)


@pytest.mark.parametrize("ecn", range(4))
def test_inner_ecn_marks_pass_through(ecn: int) -> None:
    """[9329-9.5-ecn]: CE and all other marks arrive as they were, both ways."""
    pair = Pair()
    pair.up()
    for sender, packet in ((WEST, to_east()), (EAST, to_west())):
        marked = packet[:1] + bytes([0xB8 | ecn]) + packet[2:]
        pair.send(sender, marked)
        pair.settle()
        assert pair.side(pair.other(sender)).delivered == [marked]


# --- ports ----------------------------------------------------------------------------


@in_namespace
def test_every_configured_port_is_listened_on() -> None:
    """[9329-5-listen] [9329-2-ports]: each one, on both IP versions."""
    with loopback():
        for port in (4500, 443, 9329):
            listener = Listener(None, port)
            for version in (4, 6):
                talk(listener, version)
            listener.close()


# --- knowing of a NAT -----------------------------------------------------------------


def session(is_behind_nat: bool) -> tuple[list[str], list[float | None], list[int]]:
    """Play a session; what was said, when something is due, how much was sent."""
    pair = Pair(
        west=ike_policy(WEST, liveness_seconds=30.0),
        east=ike_policy(EAST, liveness_seconds=45.0),
    )
    pair.run(WEST, pair.west.endpoint.initiate())
    west, east, nat = map(ip_address, ("10.0.0.7", "192.0.2.2", "203.0.113.9"))
    seen = nat if is_behind_nat else west
    back = NetworkPath(east, 4500, seen, 40000)
    there = NetworkPath(west, 40000, east, 4500)
    pair._next_id += 1
    id = pair._next_id
    pair.open.add(id)  # type: ignore[arg-type]
    for name, path, is_west in ((EAST, back, False), (WEST, there, True)):
        endpoint = pair.side(name).endpoint
        pair.run(name, endpoint.connection_opened(id, path, is_west, 0.0))  # type: ignore[arg-type]
    pair.settle()
    pair.ping()
    deadlines = [pair.side(n).endpoint.next_deadline(0.0) for n in (WEST, EAST)]
    pair.advance(3600.0)
    said = pair.said(WEST) + pair.said(EAST)
    found = {t["is_remote_behind_nat"] for t in pair.east.traces("nat-detection")}
    assert found == {is_behind_nat}
    return said, deadlines, [len(octets) for _, _, octets in pair.sent]


def test_knowing_of_a_nat_changes_nothing_at_all() -> None:
    """[9329-6.5-nochange] [9329-6.5-keepalive]: no timer, no message, no octet more."""
    assert session(is_behind_nat=True) == session(is_behind_nat=False)
