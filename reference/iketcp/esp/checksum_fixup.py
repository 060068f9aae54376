"""Checksums in transport mode behind a NAT: what the NAT broke, and how it is mended.

The checksums of TCP and UDP cover the addresses of the IP header as well. In transport
mode the sender computes them over its own addresses, then ESP hides them, then a NAT
writes other addresses into the IP header and cannot follow up inside. The receiver
learns through IKE which addresses the sender used (the *real* ones) and replaces them
in the checksum by those it sees (the *received* ones). Checksums are sums, so nothing
else of the packet has to be read, and one that was wrong before stays wrong.

In tunnel mode inner packets are whole and no NAT sees them, so nothing is to be mended.

Source: RFC 3948 §3.1.2
Source: RFC 9329 §6.5
"""

from ipaddress import IPv4Address, IPv6Address

from iketcp.errors import MalformedPacketError
from iketcp.inner import next_layer, stated_size
from iketcp.registry import IpProtocol

Address = IPv4Address | IPv6Address

CHECKSUM_OFFSET = {IpProtocol.TCP: 16, IpProtocol.UDP: 6}
"""Where in its header a protocol has its checksum. Source: RFC 3948 §3.1.2."""

_SIZE = 2
_ALL_ONES = 0xFFFF


def fix_checksum(
    packet: bytes, real_source: Address, real_destination: Address
) -> bytes:
    """Make the TCP or UDP checksum of a packet fit the addresses of its IP header.

    Returns the packet unchanged where there is nothing to fix: another protocol, a
    fragment without the protocol's header, a UDP packet without a checksum (zero), or
    the same addresses. [9329-6.5-checksum]

    Choice: a UDP checksum of zero is left alone over IPv6, too, where it may be in use
    between tunnels; whether it is acceptable there is the receiving stack's business.

    Choice: the real addresses may be of the other family, as behind a NAT64, for the
    rest of what is summed is the same in both.

    Parameters
    ----------
    packet : bytes
        An IPv4 or IPv6 packet as the receiving stack would get it, with the addresses
        received in its header.
    real_source, real_destination : IPv4Address or IPv6Address
        What the sender's stack computed the checksum with.

    Raises
    ------
    MalformedPacketError
        There is no whole IP header, its length is wrong, or the packet ends before the
        checksum.

    Source: RFC 3948 §3.1.2
    """
    if stated_size(packet) != len(packet):
        raise MalformedPacketError(f"{len(packet)} octets, header says otherwise")
    protocol, header = next_layer(packet)
    if protocol is None or header is None or protocol not in CHECKSUM_OFFSET:
        return packet
    begin = header + CHECKSUM_OFFSET[IpProtocol(protocol)]
    end = begin + _SIZE
    if len(packet) < end:
        raise MalformedPacketError(f"protocol {protocol} without a whole header")
    old = int.from_bytes(packet[begin:end], "big")
    is_udp = protocol == IpProtocol.UDP
    received = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    real = real_source.packed + real_destination.packed
    if real == received or (is_udp and old == 0):
        return packet
    # the field is the negative of the sum: what leaves the sum is added to it, and
    # sums of 16-bit words with end-around carry are arithmetic modulo 2^16 - 1
    new = (old + int.from_bytes(real, "big") - int.from_bytes(received, "big")) % (
        _ALL_ONES
    )
    if is_udp and new == 0:
        new = _ALL_ONES  # zero would say that there is no checksum
    return packet[:begin] + new.to_bytes(_SIZE, "big") + packet[end:]
