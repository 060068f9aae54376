"""What the user of the demonstration can choose."""

from dataclasses import dataclass, field
from pathlib import Path

from iketcp.demo.wrapping import Wrapping

MODES = ("auto", "root", "user", "memory")
"""How the sites are kept apart; ``auto`` tries the others in this order."""

TRANSFER_OCTETS = 64 << 20
"""What is sent through the tunnel to measure it."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of ``iketcp demo``."""

    pcap: Path | None = None
    """File that receives what crosses the wire."""
    mode: str = "auto"
    """One of ``MODES``."""
    transfer_octets: int = TRANSFER_OCTETS
    """Size of the measured transfer."""
    scenario: str = "psk"
    """How the sites get to know each other: one of
    :data:`iketcp.demo.scenarios.SCENARIOS`."""
    wrapping: Wrapping = field(default_factory=Wrapping)
    """What is around the TCP connection."""
