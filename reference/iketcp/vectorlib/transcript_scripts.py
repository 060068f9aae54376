"""What happens in the recorded sessions: one function for each course of events.

Source: RFC 7296 §1, RFC 7296 §2.6, RFC 7296 §2.8, RFC 9329 §6.1, RFC 9329 §6.2
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from iketcp.effects import ConnectionId
from iketcp.vectorlib.checksum_fixup import UDP, ip_packet, segment
from iketcp.vectorlib.wiring import EAST, WEST, Wiring

ASSIGNED = "10.0.1.2"
"""The first address that the pool of a session gives away."""


def up(wiring: Wiring) -> ConnectionId:
    """Set a session up."""
    wiring.wish(WEST, "begin")
    id = wiring.connect()
    wiring.settle()
    return id


def packet(
    side: str,
    text: str,
    version: int = 4,
    west: str = "10.0.1.7",
    east: str = "10.0.2.7",
) -> bytes:
    """Make a UDP datagram from one network to the other."""
    here, there = west, east
    if version == 6:
        here, there = "2001:db8:1::7", "2001:db8:2::7"
    if side == EAST:
        here, there = there, here
    data = text.encode()
    size = 8 + len(data)
    # no UDP checksum: with IPv4 a sender may leave it out, and nobody here looks
    udp = b"\x13\x88\x13\x89" + size.to_bytes(2, "big") + bytes(2) + data
    addresses = ip_address(here).packed + ip_address(there).packed
    if version == 6:
        return b"\x60\0\0\0" + size.to_bytes(2, "big") + b"\x11\x40" + addresses + udp
    head = b"\x45\0" + (20 + size).to_bytes(2, "big") + b"\0\1\x40\0\x40\x11"
    total = sum(
        int.from_bytes((head + bytes(2) + addresses)[at : at + 2], "big")
        for at in range(0, 20, 2)
    )
    total = (total & 0xFFFF) + (total >> 16)
    checksum = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
    return head + checksum.to_bytes(2, "big") + addresses + udp


def ping(wiring: Wiring, text: str = "packet", version: int = 4) -> None:
    """Send a packet each way."""
    for side in (WEST, EAST):
        wiring.send(side, packet(side, f"{text} of {side}", version))


def whole(version: int = 4) -> Callable[[Wiring], None]:
    """Handshake, both rekeys, packets in between, DELETE."""

    def script(wiring: Wiring) -> None:
        up(wiring)
        ping(wiring, "first", version)
        wiring.wish(WEST, "rekey-child", "net")
        wiring.settle()
        ping(wiring, "second", version)
        wiring.wish(WEST, "rekey-ike-sa")
        wiring.settle()
        ping(wiring, "third", version)
        wiring.wish(WEST, "delete")

    return script


def plain(wiring: Wiring) -> None:
    """Handshake and a packet each way."""
    up(wiring)
    ping(wiring)


def wishes(*each: tuple[str, str, str]) -> Callable[[Wiring], None]:
    """Handshake, then side, wish and Child SA of each, with packets between."""

    def script(wiring: Wiring) -> None:
        plain(wiring)
        for number, (side, wish, child_name) in enumerate(each):
            wiring.wish(side, wish, child_name)
            wiring.settle()
            if not wish.startswith("delete"):
                ping(wiring, f"packet {number}")

    return script


def handshake(wiring: Wiring) -> None:
    """Try to set a session up, and nothing else."""
    up(wiring)


def assigned(wiring: Wiring) -> None:
    """Handshake, and packets of the address that was assigned."""
    up(wiring)
    for side in (WEST, EAST):
        text = f"packet of {side}, address assigned"
        wiring.send(side, packet(side, text, west=ASSIGNED))


def further(wiring: Wiring) -> None:
    """Handshake, and packets of either Child SA."""
    plain(wiring)
    for side in (WEST, EAST):
        text = f"further packet of {side}"
        wiring.send(side, packet(side, text, west="10.0.3.7", east="10.0.4.7"))


def liveness(wiring: Wiring) -> None:
    """Nothing is said for longer than west likes."""
    plain(wiring)
    wiring.pass_time(31)


def idle_break(wiring: Wiring) -> None:
    """The connection breaks while nothing is asked."""
    id = up(wiring)
    ping(wiring, "before")
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring, "after")


def request_lost(wiring: Wiring) -> None:
    """A request is lost with its connection."""
    id = up(wiring)
    wiring.wish(WEST, "rekey-child", "net")
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring, "after")


def response_lost(wiring: Wiring) -> None:
    """A request arrives; its response is lost with the connection."""
    id = up(wiring)
    wiring.wish(WEST, "rekey-child", "net")
    wiring.deliver_one()
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring, "after")


def responder_request_lost(wiring: Wiring) -> None:
    """A request of east's is lost; it comes again on west's new connection."""
    id = up(wiring)
    wiring.wish(EAST, "rekey-child", "net")
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring, "after")


def init_lost(wiring: Wiring) -> None:
    """The answer to IKE_SA_INIT is lost; the request is repeated."""
    wiring.wish(WEST, "begin")
    id = wiring.connect()
    wiring.deliver_one()
    wiring.deliver_one()
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring)


def crash(wiring: Wiring) -> None:
    """East loses all SAs and proves it; west begins anew."""
    id = up(wiring)
    ping(wiring, "before")
    wiring.crash(EAST, id)
    wiring.connect()
    wiring.settle()
    wiring.connect()
    wiring.settle()
    ping(wiring, "after")


def hosts(
    west: str, east_outside: str, east: str, west_outside: str
) -> Callable[[Wiring], None]:
    """Handshake, and packets between two hosts, each as its sender knows them."""

    def script(wiring: Wiring) -> None:
        up(wiring)
        for side, ends in ((WEST, (west, east_outside)), (EAST, (east, west_outside))):
            body = segment(UDP, f"packet of {side}".encode(), ends)
            wiring.send(side, ip_packet(ends, UDP, body))

    return script
