"""What the two kinds of relay want done, besides the effects of any endpoint.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NewType

from iketcp.effects import (
    CloseConnection,
    ConnectionId,
    SendDatagrams,
    Trace,
    Transmit,
)

PortId = NewType("PortId", int)
"""A UDP port of ours towards the daemon, numbered by the relay; never reused."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Take a free UDP port from which datagrams go to the daemon."""

    port: PortId
    connection: ConnectionId
    """For whom; it closes if there is no port to be had."""


@dataclass(frozen=True, slots=True)
class SendFromPort:
    """Send these UDP datagrams from that port, each by itself."""

    port: PortId
    datagrams: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClosePort:
    """Give that UDP port back."""

    port: PortId


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect to the TCP Responder, under this number."""

    connection: ConnectionId


RelayEffect = (
    Transmit
    | CloseConnection
    | Trace
    | OpenPort
    | SendFromPort
    | ClosePort
    | Connect
    | SendDatagrams
)
"""What a relay asks of the world."""
