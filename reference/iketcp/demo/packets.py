"""Inner packets made by hand, for where no kernel makes them.

Just enough of IPv4, IPv6, ICMP, ICMPv6 and UDP for two hosts in memory to ping each
other and to send each other datagrams.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from iketcp.demo.echo import request
from iketcp.inner import checksum

Address = IPv4Address | IPv6Address

ICMP, UDP, ICMPV6 = 1, 17, 58
ECHO_REQUESTS = {ICMP: 8, ICMPV6: 128}
ECHO_REPLIES = {ICMP: 0, ICMPV6: 129}
_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class InnerPacket:
    """An inner IP packet, taken apart."""

    source: Address
    destination: Address
    protocol: int
    body: bytes
    """What follows the IP header."""

    def answered_with(self, body: bytes) -> "InnerPacket":
        """Make a packet back to its sender."""
        return InnerPacket(self.destination, self.source, self.protocol, body)


def encode(packet: InnerPacket) -> bytes:
    """Put the IP header before a packet's body."""
    source, destination = packet.source.packed, packet.destination.packed
    size = len(packet.body)
    if packet.source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, size, packet.protocol, _HOP_LIMIT)
        return head + source + destination + packet.body
    total = 20 + size
    head = struct.pack("!BBHHHBB", 0x45, 0, total, 0, 0, _HOP_LIMIT, packet.protocol)
    check = checksum(head + bytes(2) + source + destination)
    return head + struct.pack("!H", check) + source + destination + packet.body


def decode(octets: bytes) -> InnerPacket | None:
    """Take an IP packet without options or extension headers apart; None otherwise."""
    if len(octets) >= 20 and octets[0] == 0x45:
        source, destination = IPv4Address(octets[12:16]), IPv4Address(octets[16:20])
        return InnerPacket(source, destination, octets[9], octets[20:])
    if len(octets) >= 40 and octets[0] >> 4 == 6:
        ends = IPv6Address(octets[8:24]), IPv6Address(octets[24:40])
        return InnerPacket(*ends, octets[6], octets[40:])
    return None


def echo_request(
    source: str, target: str, identifier: int, sequence: int, data: bytes
) -> InnerPacket:
    """Make an Echo Request from one address to another."""
    ours, theirs = ip_address(source), ip_address(target)
    protocol = ICMP if theirs.version == 4 else ICMPV6
    body = request(theirs.version, identifier, sequence, data)
    return with_checksum(InnerPacket(ours, theirs, protocol, body))


def echo_reply(packet: InnerPacket) -> InnerPacket | None:
    """Make the reply to an Echo Request; None for any other packet."""
    wanted = ECHO_REQUESTS.get(packet.protocol)
    if wanted is None or len(packet.body) < 8 or packet.body[0] != wanted:
        return None
    body = bytes([ECHO_REPLIES[packet.protocol], 0, 0, 0]) + packet.body[4:]
    return with_checksum(packet.answered_with(body))


def with_checksum(packet: InnerPacket) -> InnerPacket:
    """Fill in the checksum of an ICMP or ICMPv6 message."""
    body = packet.body[:2] + bytes(2) + packet.body[4:]
    pseudo = b""
    if packet.protocol == ICMPV6:
        ends = packet.source.packed + packet.destination.packed
        pseudo = ends + struct.pack("!II", len(body), ICMPV6)
    check = struct.pack("!H", checksum(pseudo + body))
    filled = body[:2] + check + body[4:]
    return InnerPacket(packet.source, packet.destination, packet.protocol, filled)


def udp(source: str, target: str, port: int, data: bytes) -> InnerPacket:
    """Make an IPv4 datagram without checksum, from a port to the same port."""
    body = struct.pack("!HHHH", port, port, 8 + len(data), 0) + data
    return InnerPacket(IPv4Address(source), IPv4Address(target), UDP, body)
