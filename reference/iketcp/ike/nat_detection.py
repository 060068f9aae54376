"""NAT detection: a digest that shows whether addresses changed on the way.

Each peer hashes the SPIs with the address and port it believes in; the other compares
with what it sees. Over TCP the ports are those of the TCP connection, and a NAT that is
found changes nothing: the stream already passes it. Over UDP the peer behind a NAT
sends keepalives, and the other one follows it to a new address.

Source: RFC 7296 §2.23
Source: RFC 9329 §6.5
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.registry import NotifyType

IpAddress = IPv4Address | IPv6Address

NO_SOURCE = bytes(20)
"""A digest of no address: whoever compares finds a NAT. Source: RFC 7296 §2.23."""


class Transport(Enum):
    """What carries IKE and ESP. Source: RFC 9329 §1, RFC 7296 §2.23."""

    TCP = "tcp"
    UDP = "udp"
    """Port 500: IKE alone, without a marker."""
    UDP_ENCAPSULATION = "udp-encapsulation"
    """Port 4500: IKE behind a marker, and ESP."""


@dataclass(frozen=True, slots=True)
class Path:
    """The two ends of a TCP connection, or of datagrams, as this host sees them."""

    local_address: IpAddress
    local_port: int
    remote_address: IpAddress
    remote_port: int
    transport: Transport = Transport.TCP

    @property
    def is_udp(self) -> bool:
        """Messages go as datagrams, and may be lost."""
        return self.transport is not Transport.TCP

    @property
    def is_encapsulated(self) -> bool:
        """It has room for ESP beside IKE, over UDP."""
        return self.transport is Transport.UDP_ENCAPSULATION


@dataclass(frozen=True, slots=True)
class NatFound:
    """What the comparison showed; ``None`` where the peer sent no such Notify."""

    is_local_behind_nat: bool | None
    is_remote_behind_nat: bool | None


def nat_detection_data(
    spi_i: bytes, spi_r: bytes, address: IpAddress, port: int
) -> bytes:
    """Return SHA-1(SPIi | SPIr | IP address | port), 20 octets.

    Parameters
    ----------
    spi_i, spi_r : bytes
        As in the header of the message that carries the digest, 8 octets each.
    address : IPv4Address or IPv6Address
        4 or 16 octets.
    port : int
        The TCP port, 16 bits [9329-6.5-natd].

    Source: RFC 7296 §2.23, RFC 9329 §6.5
    """
    octets = spi_i + spi_r + address.packed + port.to_bytes(2, "big")
    return hashlib.sha1(octets, usedforsecurity=False).digest()


def nat_detection_payloads(spi_i: bytes, spi_r: bytes, path: Path) -> list[Payload]:
    """Make both NAT_DETECTION notifications for a message along ``path``.

    Choice: over UDP our source matches nothing. Our ESP has no other way than inside
    UDP, and a peer that finds a NAT sends its own inside UDP, too.

    Source: RFC 7296 §2.23
    """
    source = nat_detection_data(spi_i, spi_r, path.local_address, path.local_port)
    if path.is_udp:
        source = NO_SOURCE
    target = nat_detection_data(spi_i, spi_r, path.remote_address, path.remote_port)
    return [
        NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, source),
        NotifyPayload(NotifyType.NAT_DETECTION_DESTINATION_IP, target),
    ]


def detect_nat(
    payloads: Iterable[Payload], spi_i: bytes, spi_r: bytes, path: Path
) -> NatFound:
    """Compare the peer's digests with what this host sees.

    Nothing follows from the result but a line in the log [9329-6.5-nochange], and which
    addresses transport mode means. Choice: keepalive timers might depend on it, but no
    timer does [9329-6.5-keepalive].

    Source: RFC 7296 §2.23, RFC 9329 §6.5
    """
    ours = nat_detection_data(spi_i, spi_r, path.local_address, path.local_port)
    theirs = nat_detection_data(spi_i, spi_r, path.remote_address, path.remote_port)
    sources, targets = set(), set()
    for payload in payloads:
        if isinstance(payload, NotifyPayload):
            if payload.notify_type == NotifyType.NAT_DETECTION_SOURCE_IP:
                sources.add(payload.data)
            elif payload.notify_type == NotifyType.NAT_DETECTION_DESTINATION_IP:
                targets.add(payload.data)
    return NatFound(
        is_local_behind_nat=ours not in targets if targets else None,
        is_remote_behind_nat=theirs not in sources if sources else None,
    )
