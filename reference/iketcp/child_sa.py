"""What the IKE SA tells ESP about a Child SA: one record, and nothing comes back.

Source: RFC 7296 §2.17, RFC 4301 §4.4.2.1
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from iketcp.crypto.suite import Suite
from iketcp.selectors import TrafficSelector

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class TransportAddresses:
    """The two hosts of a Child SA in transport mode.

    Without a NAT between them they know each other by the same addresses.

    Source: RFC 7296 §2.23.1
    """

    local: Address
    """Our address, as our stack has it."""
    remote: Address
    """The peer's, as our stack sees it."""
    real_source: Address
    """The peer's, as the peer's stack has it."""
    real_destination: Address
    """Ours, as the peer's stack sees it."""


@dataclass(frozen=True, slots=True)
class ChildSaParameters:
    """Everything ESP needs to carry one pair of SAs."""

    name: str
    """The configured name of the Child SA."""
    spi_in: bytes
    """SPI the peer writes into packets to us, 4 octets."""
    spi_out: bytes
    """SPI we write into packets to the peer, 4 octets."""
    suite: Suite
    """Encryption, integrity and extended sequence numbers."""
    encryption_key_in: bytes = field(repr=False)
    """Key (and salt or nonce) that opens what comes in; ``suite.cipher.key_size``."""
    integrity_key_in: bytes = field(repr=False)
    """Integrity key for what comes in; empty with a combined-mode cipher."""
    encryption_key_out: bytes = field(repr=False)
    """Key (and salt or nonce) that seals what goes out."""
    integrity_key_out: bytes = field(repr=False)
    """Integrity key for what goes out; empty with a combined-mode cipher."""
    local_ts: tuple[TrafficSelector, ...]
    """Traffic Selectors of our side, as narrowed."""
    remote_ts: tuple[TrafficSelector, ...]
    """Traffic Selectors of the peer's side, as narrowed."""
    replay_window: int = 1024
    """Width of the anti-replay window in packets; 0 turns the service off."""
    tfc_pad_to: int = 0
    """Pad inner packets to this many octets (TFC); 0 adds none."""
    transport: TransportAddresses | None = None
    """The hosts, in transport mode; ``None``: tunnel mode."""
