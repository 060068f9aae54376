"""Traffic Selectors: which packets a Child SA may carry.

A Traffic Selector is a range of addresses at one end of the tunnel, with an IP
protocol and a range of ports. A list of them stands for the union. The initiator of
a Child SA offers one list for each end, and the responder narrows both to what its
own policy allows.

=============  ======  ==================================================
field          octets  meaning
=============  ======  ==================================================
TS Type        1       7: IPv4 range, 8: IPv6 range
IP Protocol    1       0: any
Length         2       16 with IPv4, 40 with IPv6
Start, End     2 + 2   ports; for ICMP Type * 256 + Code
Start, End     4 or    first and last address, both included
               16 each
=============  ======  ==================================================

Ports 0 to 65535 are ANY. Start 65535 with End 0 is OPAQUE: only packets whose ports
cannot be seen, such as fragments after the first. ANY includes OPAQUE.

Source: RFC 7296 §2.9
Source: RFC 7296 §3.13.1
Source: RFC 4301 §4.4.1
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    ip_address,
    ip_network,
)

from iketcp.errors import ConfigurationError, MalformedMessageError
from iketcp.octets import Reader, Writer
from iketcp.registry import IpProtocol, TsType

IpAddress = IPv4Address | IPv6Address

ANY_PORTS = (0, 65535)
"""Every port, and packets without visible ports. Source: RFC 7296 §3.13.1."""

OPAQUE_PORTS = (65535, 0)
"""Only packets without visible ports. Source: RFC 7296 §3.13.1."""

MAX_SELECTORS = 255
"""Selectors that fit one TS payload: their number is 8 bits. RFC 7296 §3.13."""

_HEAD = struct.Struct(">BBHHH")
"""TS Type, IP Protocol ID, Selector Length, Start Port, End Port."""

_HEAD_OF_ANY_TYPE = 4
"""Octets of TS Type to Selector Length, which selectors of all types have."""

_PROTOCOL_NAMES = {int(p): p.name.lower() for p in IpProtocol}
_PROTOCOL_NUMBERS = {name: number for number, name in _PROTOCOL_NAMES.items()}
_ICMP_PROTOCOLS = frozenset({IpProtocol.ICMP, IpProtocol.ICMPV6})

_TEXT = re.compile(
    r"""(?P<start>[0-9A-Fa-f.:]+)
        (?: /(?P<prefix>[0-9]{1,3}) | -(?P<end>[0-9A-Fa-f.:]+) )?
        (?: \[ (?P<protocol>\w{1,20}) (?: /(?P<ports>[\w.-]{1,20}) )? \] )?""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """One range of addresses, with an IP protocol and a range of ports.

    Source: RFC 7296 §3.13.1
    """

    ip_protocol: int
    """IP Protocol ID, 8 bits; 0 is any."""
    start_port: int
    """Smallest port, 16 bits; for ICMP Type * 256 + Code."""
    end_port: int
    """Largest port, 16 bits; smaller than the start only for OPAQUE."""
    start_address: IpAddress
    """First address."""
    end_address: IpAddress
    """Last address, of the same IP version."""

    @property
    def ports(self) -> tuple[int, int]:
        """Start and End Port."""
        return self.start_port, self.end_port

    @classmethod
    def parse(cls, text: str) -> "TrafficSelector":
        """Read the form that people write and ``str()`` prints.

        An address, a prefix (``10.0.0.0/8``) or a range (``10.1.0.1-10.1.0.9``); then,
        if wanted, protocol and ports in brackets: ``[tcp]``, ``[tcp/80]``,
        ``[udp/100-200]``, ``[47]``, ``[tcp/opaque]``. For ICMP the port is a Type or
        ``Type.Code``: ``[icmp/8]``, ``[icmp/3.4]``.

        Raises
        ------
        ConfigurationError
            The text is none of these, or a range runs backwards.

        Source: RFC 7296 §3.13.1
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(
                f"{text!r} is no traffic selector: write a prefix or a range of "
                "addresses, such as 10.0.0.0/8 or 10.1.0.1-10.1.0.9[tcp/80]"
            )
        start, end = _parse_addresses(text, match)
        protocol = _parse_protocol(text, match["protocol"] or "any")
        ports = _parse_ports(text, protocol, match["ports"] or "any")
        return cls(protocol, *ports, start, end)

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads back."""
        text = _address_text(self.start_address, self.end_address)
        if self.ip_protocol == IpProtocol.ANY and self.ports == ANY_PORTS:
            return text
        protocol = _PROTOCOL_NAMES.get(self.ip_protocol, str(self.ip_protocol))
        if self.ports == ANY_PORTS:
            return f"{text}[{protocol}]"
        return f"{text}[{protocol}/{_port_text(self.ip_protocol, self.ports)}]"

    @classmethod
    def decode(cls, reader: Reader) -> "TrafficSelector | UnknownSelector":
        """Decode one selector; of an unknown type, its octets are kept as they are.

        Choice: a range whose end lies before its start is malformed, since the fields
        are *defined* as the smallest and the largest value; the one exception is the
        port range that stands for OPAQUE. Ports beside protocol 0 are taken literally.

        Raises
        ------
        MalformedMessageError
            The selector is cut off, its length does not fit its type, or a range runs
            backwards.

        Source: RFC 7296 §3.13.1
        """
        ts_type = reader.pull_u8("TS Type")
        protocol = reader.pull_u8("IP Protocol ID")
        size = reader.pull_u16("Selector Length")
        if size < _HEAD_OF_ANY_TYPE:
            raise MalformedMessageError(f"Selector Length {size}")
        body = reader.pull(size - _HEAD_OF_ANY_TYPE, "Traffic Selector")
        if ts_type == TsType.TS_IPV4_ADDR_RANGE:
            size_wanted = 16
        elif ts_type == TsType.TS_IPV6_ADDR_RANGE:
            size_wanted = 40
        else:
            return UnknownSelector(ts_type, protocol, body)
        if size != size_wanted:
            raise MalformedMessageError(
                f"Selector Length {size} with TS Type {ts_type}"
            )
        return cls._decode_range(protocol, body)

    @classmethod
    def _decode_range(cls, protocol: int, body: bytes) -> "TrafficSelector":
        """Decode ports and addresses: 12 octets with IPv4, 36 with IPv6."""
        start_port, end_port = struct.unpack_from(">HH", body)
        middle = (len(body) + 4) // 2
        first, last = body[4:middle], body[middle:]
        # octets of one size in network order compare as the addresses do
        if first > last:
            raise MalformedMessageError("Starting Address after Ending Address")
        if start_port > end_port and (start_port, end_port) != OPAQUE_PORTS:
            raise MalformedMessageError(f"ports {start_port} to {end_port}")
        if len(first) == 4:
            return cls(
                protocol, start_port, end_port, IPv4Address(first), IPv4Address(last)
            )
        return cls(
            protocol, start_port, end_port, IPv6Address(first), IPv6Address(last)
        )

    def encode(self) -> bytes:
        """Encode the substructure: 16 octets with IPv4, 40 with IPv6.

        Source: RFC 7296 §3.13.1
        """
        addresses = self.start_address.packed + self.end_address.packed
        ts_type = (
            TsType.TS_IPV4_ADDR_RANGE
            if self.start_address.version == 4
            else TsType.TS_IPV6_ADDR_RANGE
        )
        size = _HEAD.size + len(addresses)
        head = _HEAD.pack(ts_type, self.ip_protocol, size, *self.ports)
        return head + addresses

    def intersect(self, other: "TrafficSelector") -> "TrafficSelector | None":
        """Return what both select, or ``None`` when that is nothing.

        Source: RFC 7296 §2.9
        """
        if self.start_address.version != other.start_address.version:
            return None
        if self.ip_protocol in (IpProtocol.ANY, other.ip_protocol):
            protocol = other.ip_protocol
        elif other.ip_protocol == IpProtocol.ANY:
            protocol = self.ip_protocol
        else:
            return None
        ports = _intersect_ports(self.ports, other.ports)
        # as integers: comparing address objects costs far more
        start = max(self.start_address, other.start_address, key=int)
        end = min(self.end_address, other.end_address, key=int)
        if ports is None or int(start) > int(end):
            return None
        return TrafficSelector(protocol, *ports, start, end)

    def contains(self, other: "TrafficSelector") -> bool:
        """Tell whether everything that ``other`` selects is selected here too."""
        return (
            self.ip_protocol in (IpProtocol.ANY, other.ip_protocol)
            and self.start_address.version == other.start_address.version
            and int(self.start_address) <= int(other.start_address)
            and int(self.end_address) >= int(other.end_address)
            and _intersect_ports(self.ports, other.ports) == other.ports
        )

    def contains_address(self, address: IpAddress) -> bool:
        """Tell whether ``address`` lies in the range; protocol and ports aside."""
        if address.version != self.start_address.version:
            return False
        return int(self.start_address) <= int(address) <= int(self.end_address)

    def contains_flow(
        self, protocol: int, address: IpAddress, port: int | None
    ) -> bool:
        """Tell whether a packet with these values at this end is selected.

        Parameters
        ----------
        protocol : int
            IP protocol number, 8 bits.
        address : IPv4Address or IPv6Address
            The packet's address at this end.
        port : int or None
            The packet's port at this end, 16 bits; for ICMP Type * 256 + Code; ``None``
            where it has none or hides it (a later fragment).

        Source: RFC 4301 §4.4.1.1
        """
        if self.ip_protocol not in (IpProtocol.ANY, protocol):
            return False
        if port is None:
            is_port_selected = self.ports in (ANY_PORTS, OPAQUE_PORTS)
        else:
            is_port_selected = self.start_port <= port <= self.end_port
        return is_port_selected and self.contains_address(address)


@dataclass(frozen=True, slots=True)
class UnknownSelector:
    """A Traffic Selector of a type we do not know: kept, and never agreed to.

    Source: RFC 7296 §2.9
    """

    ts_type: int
    """TS Type, 8 bits."""
    ip_protocol: int
    """The octet after it, whatever it means there."""
    body: bytes
    """Everything after the Selector Length."""

    def encode(self) -> bytes:
        """Encode the substructure as it came."""
        writer = Writer()
        writer.push_u8(self.ts_type)
        writer.push_u8(self.ip_protocol)
        writer.push_u16(_HEAD_OF_ANY_TYPE + len(self.body))
        writer.push(self.body)
        return writer.octets()


def any_ipv4() -> TrafficSelector:
    """Return the selector of all IPv4 packets."""
    return TrafficSelector.parse("0.0.0.0/0")


def any_ipv6() -> TrafficSelector:
    """Return the selector of all IPv6 packets."""
    return TrafficSelector.parse("::/0")


def narrow(
    offered: Iterable[TrafficSelector], policy: Iterable[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """Narrow offered Traffic Selectors to what a policy allows.

    The result is every intersection of an offered selector with one of the policy's,
    in the order offered, less what another of them contains. The first selector
    offered may be the packet that caused the request: where the policy accepts it
    whole, it stands first in the result as it was offered.

    Choice: with more results than a TS payload can carry the first 255 are taken; any
    acceptable subset is a valid answer.

    Parameters
    ----------
    offered, policy : Iterable[TrafficSelector]
        Selectors for the same end of the Child SA.

    Returns
    -------
    tuple[TrafficSelector, ...]
        At most 255; empty when nothing offered is acceptable.

    Source: RFC 7296 §2.9
    """
    offered, policy = list(offered), list(policy)
    first = [s for s in offered[:1] if any(p.contains(s) for p in policy)]
    pairs = ((wanted, allowed) for wanted in offered for allowed in policy)
    kept = _without_contained(one.intersect(other) for one, other in pairs)
    rest = [selector for selector in kept if selector not in first]
    return (*first, *rest)[:MAX_SELECTORS]


def _without_contained(
    selectors: Iterable[TrafficSelector | None],
) -> list[TrafficSelector]:
    """Collect up to 255 selectors of which none contains another."""
    kept: list[TrafficSelector] = []
    for selector in selectors:
        if len(kept) == MAX_SELECTORS:
            break
        if selector is None or any(k.contains(selector) for k in kept):
            continue
        kept = [k for k in kept if not selector.contains(k)]
        kept.append(selector)
    return kept


def _intersect_ports(
    one: tuple[int, int], other: tuple[int, int]
) -> tuple[int, int] | None:
    """Intersect two port ranges; ANY includes OPAQUE, and no other range does."""
    if one in (ANY_PORTS, other):
        return other
    if other == ANY_PORTS:
        return one
    start, end = max(one[0], other[0]), min(one[1], other[1])
    # OPAQUE runs backwards, so with any other range the result does too
    return (start, end) if start <= end else None


def _parse_addresses(text: str, match: re.Match[str]) -> tuple[IpAddress, IpAddress]:
    try:
        start = ip_address(match["start"])
        end = ip_address(match["end"] or match["start"])
        if match["prefix"] is not None:
            network = ip_network(f"{start}/{match['prefix']}", strict=False)
            if network[0] != start:
                raise ConfigurationError(
                    f"{text!r} is no prefix: {start} has bits set beyond its length; "
                    f"perhaps {network} is meant"
                )
            return network[0], network[-1]
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no traffic selector: {error}") from None
    if start.version != end.version or int(start) > int(end):
        raise ConfigurationError(
            f"{text!r} is no range: it takes two addresses of one IP version, the "
            "smaller one first"
        )
    return start, end


def _parse_protocol(text: str, protocol: str) -> int:
    number = _PROTOCOL_NUMBERS.get(protocol.lower())
    if number is None:
        number = int(protocol) if protocol.isdecimal() else 256
    if number > 255:
        raise ConfigurationError(
            f"{text!r}: {protocol!r} is no IP protocol; write a number from 0 to 255 "
            f"or one of {', '.join(sorted(_PROTOCOL_NUMBERS))}"
        )
    return number


def _parse_ports(text: str, protocol: int, ports: str) -> tuple[int, int]:
    if ports == "any":
        return ANY_PORTS
    if ports == "opaque":
        return OPAQUE_PORTS
    start_text, dash, end_text = ports.partition("-")
    start = _parse_port(protocol, start_text)
    end = _parse_port(protocol, end_text if dash else start_text)
    if start is None or end is None or start[0] > end[1]:
        raise ConfigurationError(
            f"{text!r}: {ports!r} is no port; write a number from 0 to 65535, a range "
            "of them, any or opaque (for ICMP: Type or Type.Code, 0 to 255 each)"
        )
    return start[0], end[1]


def _parse_port(protocol: int, text: str) -> tuple[int, int] | None:
    """Read one port (or ICMP Type, or Type.Code) as the range that it covers."""
    parts = text.split(".")
    limit = 255 if protocol in _ICMP_PROTOCOLS else 65535
    if not all(p.isdecimal() and int(p) <= limit for p in parts):
        return None
    numbers = [int(p) for p in parts]
    if limit == 65535:
        return (numbers[0], numbers[0]) if len(numbers) == 1 else None
    if len(numbers) == 1:
        return numbers[0] << 8, numbers[0] << 8 | 255
    return (numbers[0] << 8 | numbers[1],) * 2 if len(numbers) == 2 else None


def _address_text(start: IpAddress, end: IpAddress) -> str:
    """Write a range as a prefix where it is one."""
    size = int(end) - int(start) + 1
    if size.bit_count() != 1 or int(start) % size:
        return f"{start}-{end}"
    return f"{start}/{start.max_prefixlen - size.bit_length() + 1}"


def _port_text(protocol: int, ports: tuple[int, int]) -> str:
    if ports == OPAQUE_PORTS:
        return "opaque"
    start, end = ports
    if protocol not in _ICMP_PROTOCOLS:
        return str(start) if start == end else f"{start}-{end}"
    if start & 255 == 0 and end & 255 == 255:
        first, last = str(start >> 8), str(end >> 8)
    else:
        first = f"{start >> 8}.{start & 255}"
        last = f"{end >> 8}.{end & 255}"
    return first if first == last else f"{first}-{last}"
