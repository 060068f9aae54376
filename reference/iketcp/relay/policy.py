"""How much a relay bears, and for how long: its limits.

Source: RFC 9329 §6.1
Source: RFC 9329 §10
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """Limits of a relay, in seconds and counts. RFC 9329 §6.1, §10."""

    half_open_seconds: float = 30.0
    """From the beginning until the other side has answered a message behind
    IKE_SA_INIT; to solve a puzzle may take a while [9329-6.1-idle]."""
    half_open_limit: int = 256
    """Connections without such an answer, in all [9329-6.1-idle]."""
    half_open_address_limit: int = 16
    """The same, from one address [9329-6.1-idle]."""
    connection_limit: int = 4096
    """Connections in all."""
    idle_seconds: float = 3600.0
    """A connection that carries nothing either way is closed; 0: never."""
    extraneous_seconds: float = 30.0
    """The same, for one that another has replaced [9329-6.1-extraneous]."""
    grace_seconds: float = 300.0
    """A UDP port whose connection is lost waits so long for its client."""
    claim_seconds: float = 60.0
    """So long counts who has shown an SA of a connection before that was lost: a client
    that moves is back before TCP notices."""
    inherited_limit: int = 4
    """Ports of earlier connections that one client may have."""
    key_limit: int = 16
    """SAs that are remembered for one client."""
    corrupt_limit: int = 16
    """Messages in a row that are neither IKE nor ESP and close a stream
    [9329-6.1-corrupt]."""
    retry_seconds: float = 1.0
    """Pause before the next connection for a UDP client whose last one was short, and
    without an answer."""
    waiting_octets: int = 1 << 16
    """Octets of a UDP client that wait for its connection."""
