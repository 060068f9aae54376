"""Inner packets: as much of IPv4, IPv6 and ICMP as a tunnel has to understand.

A tunnel looks at an inner packet three times: to find the Child SA that may carry it,
to check that what comes out of a Child SA belongs there, and, when a packet is larger
than the tunnel, to answer as a router would. For the first two a packet is its
:class:`Flow`: addresses, next layer protocol and ports. What the tunnel does not
change it does not parse: the DSCP, ECN and DF bits go through as they came
[9329-9.5-ecn], [9329-6.8-df].

Source: RFC 4301 §4.4.1.1
Source: RFC 4301 §7
Source: RFC 4301 §8.2
"""

from struct import Struct
from typing import NamedTuple

from iketcp.errors import MalformedPacketError
from iketcp.registry import IpProtocol

IPV4_HEADER_SIZE = 20
IPV6_HEADER_SIZE = 40
MAX_EXTENSION_HEADERS = 8
"""Extension headers we walk over before we call a packet malformed (Choice)."""

_FRAGMENT_HEADER = 44
_MOBILITY_HEADER = 135
_EXTENSION_HEADERS = frozenset({0, 43, _FRAGMENT_HEADER, 60})
"""Hop-by-hop, Routing, Fragment, Destination Options. Source: RFC 4301 §4.4.1.1."""

_PORT_OCTETS = bytes(
    {6: 4, 17: 4, 33: 4, 132: 4, 136: 4, 1: 2, 58: 2, _MOBILITY_HEADER: 3}.get(n, 0)
    for n in range(256)
)
"""By protocol: octets of its header that hold what selectors call ports."""

_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_ICMPV6_REDIRECT = 137
_ICMP_QUOTE = 576 - IPV4_HEADER_SIZE - 8
_ICMPV6_QUOTE = 1280 - IPV6_HEADER_SIZE - 8
_DONT_FRAGMENT = 0x40

_IPV4_HEADER = Struct(">BBHHBBBBH4s4s")
_IPV6_HEADER = Struct(">IHBB16s16s")
_ICMP_HEADER = Struct(">BBHI")


class Flow(NamedTuple):
    """What Traffic Selectors look at in a packet.

    Source: RFC 4301 §4.4.1.1
    """

    version: int
    """IP version, 4 or 6."""
    protocol: int | None
    """Next layer protocol, 8 bits; ``None`` where a fragment does not show it."""
    source: bytes
    """Source address, 4 or 16 octets."""
    destination: bytes
    """Destination address, 4 or 16 octets."""
    source_port: int | None
    """Source port, 16 bits; for ICMP the type and code, for the Mobility Header its
    type in the high octet. ``None``: the protocol has none, or they are out of
    sight, as in a non-initial fragment."""
    destination_port: int | None
    """Destination port; for ICMP and the Mobility Header the same as the source's."""


def parse_flow(packet: bytes) -> Flow:
    """Find the flow of a whole inner packet, without anything behind it.

    Raises
    ------
    MalformedPacketError
        The packet is neither IPv4 nor IPv6, is not as long as its header says, or
        its headers run past its end or are more than we walk over.

    Source: RFC 4301 §4.4.1.1, RFC 4301 §7
    """
    if stated_size(packet) != len(packet):
        raise MalformedPacketError(f"{len(packet)} octets, header says otherwise")
    protocol, offset = next_layer(packet)
    if packet[0] >> 4 == 4:
        version, source, destination = 4, packet[12:16], packet[16:20]
    else:
        version, source, destination = 6, packet[8:24], packet[24:40]
    source_port, destination_port = _ports(packet, protocol, offset)
    return Flow(version, protocol, source, destination, source_port, destination_port)


def flow_key(packet: bytes) -> bytes:
    """Return the octets that decide a packet's flow, for use as a cache key.

    Two packets that :func:`parse_flow` accepts and that have equal keys have equal
    flows. Empty where only a closer look can tell: options, fragments, extension
    headers, and what is no IP packet at all.
    """
    size = len(packet)
    if size < IPV4_HEADER_SIZE:
        return b""
    first = packet[0]
    if first == 0x45:
        if packet[6] & ~_DONT_FRAGMENT or packet[7]:
            return b""
        return packet[9:10] + packet[12 : 20 + _PORT_OCTETS[packet[9]]]
    if first >> 4 != 6 or size < IPV6_HEADER_SIZE or packet[6] in _EXTENSION_HEADERS:
        return b""
    return packet[6:7] + packet[8 : 40 + _PORT_OCTETS[packet[6]]]


def stated_size(packet: bytes) -> int:
    """Return the packet's size in octets as its IP header states it.

    Raises
    ------
    MalformedPacketError
        There is no whole IPv4 or IPv6 header.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= IPV4_HEADER_SIZE:
        return packet[2] << 8 | packet[3]
    if version == 6 and len(packet) >= IPV6_HEADER_SIZE:
        return IPV6_HEADER_SIZE + (packet[4] << 8 | packet[5])
    raise MalformedPacketError("neither an IPv4 nor an IPv6 packet")


def next_layer(packet: bytes) -> tuple[int | None, int | None]:
    """Find the next layer protocol and where in the packet its header begins.

    The place is ``None`` in a non-initial fragment, and the protocol too where the
    fragment does not show it.

    Raises
    ------
    MalformedPacketError
        A header length makes no sense.

    Source: RFC 4301 §4.4.1.1, RFC 4301 §7
    """
    if packet[0] >> 4 == 6:
        return _walk_extension_headers(packet)
    offset = (packet[0] & 0x0F) * 4
    if not IPV4_HEADER_SIZE <= offset <= len(packet):
        raise MalformedPacketError(f"IPv4 header of {offset} octets")
    is_initial = not (packet[6] & 0x1F or packet[7])
    return packet[9], offset if is_initial else None


def is_fragment(packet: bytes) -> bool:
    """Tell whether a packet whose headers make sense is a fragment.

    An IPv6 packet with a Fragment header counts, even if it is the only one.

    Source: RFC 4301 §7
    """
    if packet[0] >> 4 == 4:
        return bool(packet[6] & 0x3F or packet[7])
    protocol, offset = packet[6], IPV6_HEADER_SIZE
    while protocol in _EXTENSION_HEADERS:
        if protocol == _FRAGMENT_HEADER:
            return True
        protocol, offset = packet[offset], offset + (packet[offset + 1] + 1) * 8
    return False


def _walk_extension_headers(packet: bytes) -> tuple[int | None, int | None]:
    """Do for IPv6 what :func:`next_layer` says.

    An initial fragment may end inside the chain; what it does not show is unknown,
    while the same end in a whole packet is malformed.
    """
    protocol, offset = packet[6], IPV6_HEADER_SIZE
    is_fragment = False
    for _ in range(MAX_EXTENSION_HEADERS + 1):
        if protocol not in _EXTENSION_HEADERS:
            return protocol, offset
        header = packet[offset : offset + 8]
        size = 8
        if len(header) == 8 and protocol == _FRAGMENT_HEADER:
            is_fragment = bool(header[3] & 1)
            if header[2] or header[3] & 0xF8:
                is_shown = header[0] not in _EXTENSION_HEADERS
                return header[0] if is_shown else None, None
        elif len(header) == 8:
            size = (header[1] + 1) * 8
        if offset + size > len(packet):
            if is_fragment:
                return None, None
            raise MalformedPacketError("extension header runs past the packet")
        protocol = header[0]
        offset += size
    raise MalformedPacketError(f"more than {MAX_EXTENSION_HEADERS} extension headers")


def _ports(
    packet: bytes, protocol: int | None, offset: int | None
) -> tuple[int | None, int | None]:
    """Read what selectors call ports, where the packet shows it."""
    if protocol is None or offset is None:
        return None, None
    size = _PORT_OCTETS[protocol]
    octets = packet[offset : offset + size]
    if not size or len(octets) < size:
        return None, None
    if protocol == _MOBILITY_HEADER:
        return octets[2] << 8, octets[2] << 8
    source = int.from_bytes(octets[:2], "big")
    return source, int.from_bytes(octets[2:], "big") if size == 4 else source


def checksum(octets: bytes) -> int:
    """Compute the Internet checksum, 16 bits; an odd octet is padded with zero.

    Sums of 16-bit words with end-around carry are arithmetic modulo 2^16 - 1, and
    so is the whole of ``octets`` read as one number.
    """
    padded = octets + b"\0" if len(octets) % 2 else octets
    return -int.from_bytes(padded, "big") % 0xFFFF


def packet_too_big(
    packet: bytes, mtu: int, source: bytes | None = None
) -> bytes | None:
    """Build the answer to a packet larger than the tunnel, for the tunnel device.

    IPv4 gets "fragmentation needed" (type 3, code 4), IPv6 "packet too big" (type
    2). ``None`` says that no answer is due. Then the packet is best carried whole:
    a message in a stream may have up to 65,533 octets, the limit of RFC 9329 §3 is
    a SHOULD, and nothing else would let the sender know.

    Choice: an IPv4 packet that may be fragmented (DF clear) gets no answer, as RFC
    4301 §8.2.1 says, and we do not fragment it either: the stream has no need of
    it, and a tunnel device whose MTU is ours has already done so.

    Choice: the answer comes *from the packet's own destination* unless ``source``
    is given. A host drops a packet that arrives with one of its own addresses as
    source; the destination is certainly routed to the tunnel device.

    Parameters
    ----------
    packet : bytes
        The inner packet, whole.
    mtu : int
        Largest inner packet that goes through, in octets.
    source : bytes, optional
        Source address of the answer, 4 or 16 octets.

    Returns
    -------
    bytes or None
        ``None`` for ICMP errors, non-initial fragments, multicast or broadcast
        destinations, sources that are no single host, and IPv4 with DF clear.

    Raises
    ------
    MalformedPacketError
        As :func:`parse_flow`.

    Source: RFC 4301 §8.2.1, RFC 9329 §6.8
    """
    flow = parse_flow(packet)
    if not _is_answer_due(packet, flow):
        return None
    sender = source or flow.destination
    if flow.version == 4:
        return _fragmentation_needed(packet, mtu, sender, flow.source)
    return _icmpv6_too_big(packet, mtu, sender, flow.source)


def _is_answer_due(packet: bytes, flow: Flow) -> bool:
    """Apply the rules on when a router keeps silent.

    Source: RFC 4301 §8.2.1 (and RFC 1122, RFC 4443 on ICMP errors)
    """
    if flow.version == 4 and not packet[6] & _DONT_FRAGMENT:
        return False
    if not (_is_one_host(flow.source) and _is_one_host(flow.destination)):
        return False
    _, offset = next_layer(packet)
    if offset is None:
        return False
    if flow.protocol == (IpProtocol.ICMP if flow.version == 4 else IpProtocol.ICMPV6):
        return flow.source_port is not None and not _is_icmp_error(
            flow.version, flow.source_port >> 8
        )
    return True


def _is_one_host(address: bytes) -> bool:
    """Tell whether an address may stand for one host other than this one."""
    if len(address) == 4:
        return 0 < address[0] < 224 and address[0] != 127
    return address[0] != 0xFF and any(address)


def _is_icmp_error(version: int, icmp_type: int) -> bool:
    """Tell errors (and redirects) from questions and answers."""
    if version == 4:
        return icmp_type in _ICMP_ERRORS
    return icmp_type < 128 or icmp_type == _ICMPV6_REDIRECT


def _fragmentation_needed(
    packet: bytes, mtu: int, sender: bytes, receiver: bytes
) -> bytes:
    """Build the ICMP message with the next-hop MTU in its last 16 header bits."""
    quote = packet[:_ICMP_QUOTE]
    mtu = min(mtu, 0xFFFF)
    total = checksum(_ICMP_HEADER.pack(3, 4, 0, mtu) + quote)
    icmp = _ICMP_HEADER.pack(3, 4, total, mtu) + quote
    size = IPV4_HEADER_SIZE + len(icmp)
    fields = (0x45, 0, size, 0, _DONT_FRAGMENT, 0, 64, IpProtocol.ICMP)
    total = checksum(_IPV4_HEADER.pack(*fields, 0, sender, receiver))
    return _IPV4_HEADER.pack(*fields, total, sender, receiver) + icmp


def _icmpv6_too_big(packet: bytes, mtu: int, sender: bytes, receiver: bytes) -> bytes:
    """Build the ICMPv6 message; its checksum covers a pseudo-header too."""
    quote = packet[:_ICMPV6_QUOTE]
    size = _ICMP_HEADER.size + len(quote)
    pseudo = sender + receiver + size.to_bytes(4, "big") + b"\0\0\0\x3a"
    total = checksum(pseudo + _ICMP_HEADER.pack(2, 0, 0, mtu) + quote)
    icmp = _ICMP_HEADER.pack(2, 0, total, mtu) + quote
    header = _IPV6_HEADER.pack(6 << 28, size, IpProtocol.ICMPV6, 64, sender, receiver)
    return header + icmp
