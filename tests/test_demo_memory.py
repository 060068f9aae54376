"""Hosts behind tunnel devices in memory."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from iketcp.demo import packets
from iketcp.demo.memory_host import PIECE, MemoryHost
from iketcp.demo.packets import InnerPacket, decode, echo_reply, echo_request, encode
from iketcp.demo.scenery import EAST, INNER, WEST
from iketcp.net.tun import MemoryTun

WEST4, WEST6 = INNER[WEST]
EAST4, EAST6 = INNER[EAST]


class Wire:
    """Carries packets between two tunnel devices, except those it loses."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.received = threading.Event()
        self.loses: Callable[[int], bool] = lambda number: False
        self.tuns = {site: MemoryTun(site, 1.0) for site in (WEST, EAST)}
        self.hosts = {
            site: MemoryHost(tun, self._report) for site, tun in self.tuns.items()
        }
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._carry, args=ends)
            for ends in ((WEST, EAST), (EAST, WEST))
        ]
        self._carried = 0

    def _report(self, **fields: Any) -> None:
        self.reports.append(fields)
        if fields["kind"] == "received":
            self.received.set()

    def _carry(self, source: str, target: str) -> None:
        while not self._stop.is_set():
            batch = self.tuns[source].read_batch()
            if not batch:
                self._stop.wait(0.001)
            kept = []
            for packet in batch:
                self._carried += 1
                if not self.loses(self._carried):
                    kept.append(packet)
            self.tuns[target].write_batch(kept)

    @contextmanager
    def up(self) -> Iterator["Wire"]:
        for part in (*self._threads, *self.hosts.values()):
            part.start()
        try:
            yield self
        finally:
            for host in self.hosts.values():
                host.stop()
            self._stop.set()
            for thread in self._threads:
                thread.join()
            for tun in self.tuns.values():
                tun.close()

    def of(self, kind: str) -> dict[str, Any]:
        (found,) = (each for each in self.reports if each["kind"] == kind)
        return found


@pytest.mark.parametrize(("source", "target"), [(WEST4, EAST4), (WEST6, EAST6)])
def test_hosts_answer_pings(source: str, target: str) -> None:
    """IPv4 and IPv6, each with an answer of its own."""
    with Wire().up() as wire:
        assert wire.hosts[WEST].ping(source, target, 1) is not None


def test_a_lost_ping_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is not an answer."""
    monkeypatch.setattr("iketcp.demo.memory_host.ANSWER_SECONDS", 0.05)
    wire = Wire()
    wire.loses = lambda number: True
    with wire.up():
        assert wire.hosts[WEST].ping(WEST4, EAST4, 1) is None


@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1, 40 * PIECE, 900 * PIECE + 7])
def test_a_transfer_arrives_as_it_was_sent(size: int) -> None:
    """Pieces of any number, and the hash of each side is its own."""
    data = bytes(at * 31 % 251 for at in range(size))
    with Wire().up() as wire:
        wire.hosts[WEST].send(WEST4, EAST4, data)
        assert wire.received.wait(30)
    assert wire.of("received")["octets"] == size
    assert wire.of("received")["sha256"] == wire.of("sending")["sha256"]


def test_a_transfer_survives_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken connection swallows is sent again."""
    monkeypatch.setattr("iketcp.demo.memory_host.PATIENCE_SECONDS", 0.02)
    wire = Wire()
    wire.loses = lambda number: number % 97 == 0 or 200 < number < 600
    with wire.up():
        wire.hosts[WEST].send(WEST4, EAST4, bytes(800 * PIECE))
        wire.hosts[WEST].send(WEST4, EAST4, bytes(3 * PIECE))
    sizes = [each["octets"] for each in wire.reports if each["kind"] == "received"]
    assert sizes == [800 * PIECE, 3 * PIECE]


def test_a_transfer_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr("iketcp.demo.memory_host.STALL_SECONDS", 0.05)
    wire = Wire()
    wire.loses = lambda number: True
    with wire.up(), pytest.raises(TimeoutError, match="nothing got through"):
        wire.hosts[WEST].send(WEST4, EAST4, b"data")


@pytest.mark.parametrize(("source", "target"), [(WEST4, EAST4), (WEST6, EAST6)])
def test_pings_are_right_to_an_independent_eye(source: str, target: str) -> None:
    """Headers, checksums, and the reply to a request of scapy's own making."""
    ours = encode(echo_request(source, target, 7, 9, b"data"))
    if "." in target:
        theirs = IP(src=source, dst=target, id=0) / ICMP(id=7, seq=9) / b"data"
        parsed = IP(encode(decoded_reply(bytes(theirs))))
        assert (parsed[ICMP].type, parsed[ICMP].id, parsed[ICMP].seq) == (0, 7, 9)
        del parsed.chksum, parsed[ICMP].chksum
    else:
        head = IPv6(src=source, dst=target)
        theirs = head / ICMPv6EchoRequest(id=7, seq=9, data=b"data")
        parsed = IPv6(encode(decoded_reply(bytes(theirs))))
        assert (parsed[ICMPv6EchoReply].id, parsed[ICMPv6EchoReply].seq) == (7, 9)
        del parsed[ICMPv6EchoReply].cksum
    assert ours == bytes(theirs)
    assert (parsed.src, parsed.dst) == (target, source)
    assert bytes(parsed) == encode(decoded_reply(bytes(theirs)))


def decoded_reply(octets: bytes) -> InnerPacket:
    packet = decode(octets)
    assert packet is not None
    reply = echo_reply(packet)
    assert reply is not None
    return reply


def test_datagrams_are_right_to_an_independent_eye() -> None:
    """Sizes, ports and data."""
    parsed = IP(encode(packets.udp(WEST4, EAST4, 9329, b"data")))
    assert (parsed[UDP].sport, parsed[UDP].dport, parsed[UDP].len) == (9329, 9329, 12)
    assert bytes(parsed[UDP].payload) == b"data"


@pytest.mark.parametrize("octets", [b"", b"\x45", bytes(40), b"\x46" + bytes(30)])
def test_what_is_no_packet_is_none(octets: bytes) -> None:
    """Stumps, other versions, and headers with options."""
    assert decode(octets) is None


def test_only_requests_are_answered() -> None:
    """A reply to a reply would never end."""
    assert (
        echo_reply(decoded_reply(encode(echo_request(WEST4, EAST4, 1, 1, b"")))) is None
    )
    assert echo_reply(packets.udp(WEST4, EAST4, 1, b"data")) is None
