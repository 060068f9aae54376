"""Transport mode: ESP carries what is behind the IP header; the header stays outside.

Between two hosts the addresses inside would be those outside, so they are not sent
twice. The sender takes the IP header off. The receiver puts one on again with the
addresses that its own stack knows the two hosts by, and mends the checksum where the
sender's stack knew them by others.

Choice: where the outer header belongs to a stream of TCP or to a datagram of UDP, what
else stands in the inner one does not travel: TTL, DSCP and ECN, IPv4 options. IPv6
extension headers do, inside. A fragment is no whole packet and is not taken.

Source: RFC 4303 §3.1.1
Source: RFC 4303 §3.3.4
Source: RFC 3948 §3.2, RFC 3948 §3.3
"""

from struct import Struct

from iketcp.child_sa import TransportAddresses
from iketcp.errors import MalformedPacketError
from iketcp.esp.checksum_fixup import fix_checksum
from iketcp.inner import (
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    checksum,
    is_fragment,
    next_layer,
    stated_size,
)

_TTL = 64
_DONT_FRAGMENT = 0x4000
_IPV4_HEADER = Struct(">BBHHHBBH4s4s")
_IPV6_HEADER = Struct(">IHBB16s16s")
_MAX_SIZE = 0xFFFF


def take_header_off(packet: bytes) -> tuple[int, bytes]:
    """Return Next Header and what goes into the ESP packet.

    Raises
    ------
    MalformedPacketError
        It is no IP packet, not as long as its header says, or a fragment.

    Source: RFC 4303 §3.1.1, RFC 4303 §3.3.4
    """
    if stated_size(packet) != len(packet):
        raise MalformedPacketError(f"{len(packet)} octets, header says otherwise")
    next_layer(packet)  # refuses headers that make no sense
    if is_fragment(packet):
        raise MalformedPacketError("transport mode takes whole packets, no fragment")
    if packet[0] >> 4 == 4:
        return packet[9], packet[(packet[0] & 0x0F) * 4 :]
    return packet[6], packet[IPV6_HEADER_SIZE:]


def put_header_on(
    next_header: int, payload: bytes, addresses: TransportAddresses
) -> bytes:
    """Return the packet for our own stack, its checksum mended [9329-6.5-checksum].

    Parameters
    ----------
    next_header : int
        Protocol of the payload, 8 bits.
    payload : bytes
        What was in the ESP packet; TFC padding is none of transport mode's.
    addresses : TransportAddresses
        What goes into the header, and what the sender had there.

    Raises
    ------
    MalformedPacketError
        The payload is too long for a packet, or ends before its checksum.

    Source: RFC 4303 §3.4.4.1, RFC 3948 §3.1.2, RFC 3948 §3.3
    """
    source, destination = addresses.remote.packed, addresses.local.packed
    if addresses.local.version == 4:
        size = IPV4_HEADER_SIZE + len(payload)
        if size > _MAX_SIZE:
            raise MalformedPacketError(f"an IPv4 packet of {size} octets")
        fields = (0x45, 0, size, 0, _DONT_FRAGMENT, _TTL, next_header)
        header = _IPV4_HEADER.pack(*fields, 0, source, destination)
        header = _IPV4_HEADER.pack(*fields, checksum(header), source, destination)
    else:
        if len(payload) > _MAX_SIZE:
            raise MalformedPacketError(f"an IPv6 payload of {len(payload)} octets")
        header = _IPV6_HEADER.pack(
            0x6 << 28, len(payload), next_header, _TTL, source, destination
        )
    return fix_checksum(
        header + payload, addresses.real_source, addresses.real_destination
    )
