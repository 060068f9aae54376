"""What the IKE SA tells ESP about a Child SA: one record, and nothing comes back.

Source: RFC 7296 §2.17, RFC 4301 §4.4.2.1
"""

from dataclasses import dataclass, field

from iketcp.crypto.suite import Suite
from iketcp.selectors import TrafficSelector


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
