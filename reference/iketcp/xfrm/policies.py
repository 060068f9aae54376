"""Policies in Linux's words: which packets a Child SA takes, and lets in.

Linux selects packets by networks and by ports under a mask, IKE by ranges. A range of
addresses becomes the fewest networks that cover exactly it, one of ports the fewest
aligned blocks.

Choice: a Traffic Selector for packets whose ports cannot be seen (OPAQUE) has no
counterpart, so there is no policy for it and such packets are dropped.

Choice: where the policies of two Child SAs overlap, the narrower one decides.

Source: RFC 4301 §4.4.1.1, RFC 4301 §4.4.1.2
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, summarize_address_range
from itertools import product
from struct import Struct
from typing import NamedTuple

from iketcp.registry import IpProtocol
from iketcp.selectors import TrafficSelector
from iketcp.xfrm.layout import (
    ANY_ADDRESS,
    ESP,
    NO_LIMITS,
    AttributeKind,
    IpAddress,
    MessageKind,
    Request,
    address_octets,
    attribute,
    family_of,
)
from iketcp.xfrm.states import ID, TUNNEL_MODE

Network = IPv4Network | IPv6Network

_SELECTOR = Struct("=16s16s2s2s2s2sHBBB3xiI")
_POLICY_TAIL = Struct("=IIBBBB4x")
"""End of ``xfrm_userpolicy_info``: ``priority``, ``index``, ``dir``, ``action``,
``flags``, ``share``."""
_POLICY_ID_TAIL = Struct("=IB3x")
_TEMPLATE_TAIL = Struct("=H2x16sIBBBx3I")
"""``xfrm_user_tmpl`` behind its ``xfrm_id``: ``family``, ``saddr``, ``reqid``,
``mode``, ``share``, ``optional``, and three masks of algorithms."""
_ANY_ALGORITHM = (1 << 32) - 1
_NOTHING_COUNTED = bytes(32)
_NUMBER = Struct("=I")
_ANY_SPI = bytes(4)
_ALLOW = 0

_PORT_BITS = 16
_ICMP = frozenset({IpProtocol.ICMP, IpProtocol.ICMPV6})
_LOWEST_PRIORITY = 4096


class Direction(IntEnum):
    """``XFRM_POLICY_IN``, ``_OUT`` and ``_FWD``: for us, from us, through us."""

    IN = 0
    OUT = 1
    FORWARD = 2


class Ports(NamedTuple):
    """The ports that equal ``value`` where ``mask`` has ones, both 16 bits."""

    value: int = 0
    mask: int = 0


class KernelSelector(NamedTuple):
    """Packets by what Linux can tell them apart by. RFC 4301 §4.4.1.1."""

    source: Network
    destination: Network
    protocol: int = 0
    """IP protocol, 8 bits; 0: any."""
    source_ports: Ports = Ports()
    destination_ports: Ports = Ports()

    @property
    def priority(self) -> int:
        """Of all policies that take a packet, the lowest number decides."""
        bits = self.source.prefixlen + self.destination.prefixlen
        ports = self.source_ports.mask.bit_count()
        ports += self.destination_ports.mask.bit_count()
        return _LOWEST_PRIORITY - 8 * bits - ports - (64 if self.protocol else 0)

    def reversed(self) -> "KernelSelector":
        """Select the packets that come back.

        A message of ICMP has its type and code, whichever way it goes.
        """
        ports = self.destination_ports, self.source_ports
        if self.protocol in _ICMP:
            ports = self.source_ports, self.destination_ports
        return KernelSelector(self.destination, self.source, self.protocol, *ports)

    def encode(self) -> bytes:
        """Write an ``xfrm_selector``."""
        words = (*self.destination_ports, *self.source_ports)
        return _SELECTOR.pack(
            address_octets(self.destination.network_address),
            address_octets(self.source.network_address),
            *(word.to_bytes(2, "big") for word in words),
            family_of(self.source.network_address),
            self.destination.prefixlen,
            self.source.prefixlen,
            self.protocol,
            0,
            0,
        )


def port_blocks(start: int, end: int) -> Iterator[Ports]:
    """Cut a range of ports into the fewest aligned blocks. RFC 4301 §4.4.1.1.

    Of OPAQUE, whose start is behind its end, nothing is left.
    """
    while start <= end:
        # as large as the alignment of its start and what is left allow
        aligned = start & -start or 1 << _PORT_BITS
        bits = min(aligned, end - start + 1).bit_length() - 1
        yield Ports(start, (1 << _PORT_BITS) - (1 << bits))
        start += 1 << bits


def kernel_selectors(
    local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector]
) -> Iterator[KernelSelector]:
    """Yield what a Child SA takes, from us to the peer. RFC 4301 §4.4.1.2."""
    for ours, theirs in product(local_ts, remote_ts):
        if ours.start_address.version != theirs.start_address.version:
            continue
        protocol = ours.ip_protocol or theirs.ip_protocol
        if theirs.ip_protocol not in (0, protocol):
            continue
        for source, destination, ports in product(
            _networks(ours), _networks(theirs), _ports(protocol, ours, theirs)
        ):
            yield KernelSelector(source, destination, protocol, *ports)


def _networks(selector: TrafficSelector) -> Iterator[Network]:
    return summarize_address_range(selector.start_address, selector.end_address)


def _ports(
    protocol: int, ours: TrafficSelector, theirs: TrafficSelector
) -> Iterator[tuple[Ports, Ports]]:
    """Yield blocks of ports on our side and theirs.

    ICMP has a type and a code instead, where Linux looks for ports.

    Source: RFC 4301 §4.4.1.1
    """
    if protocol in _ICMP:
        start = max(ours.start_port, theirs.start_port)
        end = min(ours.end_port, theirs.end_port)
        for value, mask in port_blocks(start, end):
            yield Ports(value >> 8, mask >> 8), Ports(value & 255, mask & 255)
        return
    yield from product(port_blocks(*ours.ports), port_blocks(*theirs.ports))


@dataclass(frozen=True, slots=True)
class Template:
    """What SA a policy wants.

    Source: RFC 4301 §4.4.1.2
    """

    family: int
    """Address family of the outer addresses."""
    reqid: int
    ends: tuple[IpAddress, IpAddress] | None = None
    """Outer source and destination; ``None``: any."""
    spi: bytes = _ANY_SPI
    """One SA and no other, 4 octets; zero: any."""

    def encode(self) -> bytes:
        """Write an ``xfrm_user_tmpl``. RFC 4301 §4.4.1.2."""
        source = destination = ANY_ADDRESS
        if self.ends is not None:
            source, destination = map(address_octets, self.ends)
        masks = [_ANY_ALGORITHM] * 3
        tail = (self.family, source, self.reqid, TUNNEL_MODE, 0, 0, *masks)
        return ID.pack(destination, self.spi, ESP) + _TEMPLATE_TAIL.pack(*tail)


class PolicyKey(NamedTuple):
    """What tells a policy from all others of one xfrm interface."""

    direction: Direction
    selector: KernelSelector

    @property
    def what(self) -> str:
        """Name it in a sentence."""
        ends = f"{self.selector.source} to {self.selector.destination}"
        return f"{self.direction.name.lower()} policy from {ends}"

    def update(self, template: Template, if_id: int) -> Request:
        """Make the policy, or replace it. RFC 4301 §4.4.1.2."""
        body = b"".join(
            (
                self.selector.encode(),
                NO_LIMITS,
                _NOTHING_COUNTED,
                _POLICY_TAIL.pack(
                    self.selector.priority, 0, self.direction, _ALLOW, 0, 0
                ),
                attribute(AttributeKind.TMPL, template.encode()),
                attribute(AttributeKind.IF_ID, _NUMBER.pack(if_id)),
            )
        )
        return Request(MessageKind.UPDATE_POLICY, body, f"install the {self.what}")

    def delete(self, if_id: int) -> Request:
        """Remove the policy. RFC 4301 §4.4.1."""
        body = self.selector.encode() + _POLICY_ID_TAIL.pack(0, self.direction)
        body += attribute(AttributeKind.IF_ID, _NUMBER.pack(if_id))
        what = f"remove the {self.what}"
        return Request(MessageKind.DELETE_POLICY, body, what, is_removal=True)
