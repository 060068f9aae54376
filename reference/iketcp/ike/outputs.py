"""What an IKE SA wants done: the outputs its endpoint carries further.

Source: RFC 7296 §1
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from iketcp.child_sa import ChildSaParameters
from iketcp.ike.header import Header
from iketcp.ike.payloads import Payload

if TYPE_CHECKING:
    from iketcp.ike.sa import IkeSa


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send an IKE message of this IKE SA."""

    messages: tuple[bytes, ...] = field(repr=False)
    """Whole, or its fragments in order; each goes out by itself."""
    header: Header
    payloads: tuple[Payload, ...]
    """What is inside, for the trace; empty when it is sent again."""
    is_repetition: bool = False
    """A stored response: it goes back where the request came from, and moves
    nothing [9329-6.1-reply-path]."""
    is_request_again: bool = False
    """A request under way, octet for octet."""


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """A message was authentic and fresh."""

    header: Header
    payloads: tuple[Payload, ...]
    octets: int


@dataclass(frozen=True, slots=True)
class KeysDerived:
    """An IKE SA has its keys; who may see them decides (key log on request)."""

    sa: IkeSa


@dataclass(frozen=True, slots=True)
class Established:
    """The first IKE SA of a session is authenticated."""

    remote_identity: str


@dataclass(frozen=True, slots=True)
class SuccessorMade:
    """A rekey made a new IKE SA: messages for it are to be accepted."""

    successor: IkeSa


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The Child SAs now belong to ``heir``. Source: RFC 7296 §2.8."""

    heir: IkeSa


@dataclass(frozen=True, slots=True)
class Closed:
    """This IKE SA is gone."""

    reason: str
    is_local_wish: bool = False
    """We asked for it (a DELETE of ours, or the end of a rekey)."""
    is_unheard: bool = False
    """Nobody answered even the first request, or not so that it can be told."""


@dataclass(frozen=True, slots=True)
class ChildInstalled:
    """A Child SA came up."""

    parameters: ChildSaParameters
    replaces: bytes | None = None
    """SPI (in) of the Child SA it rekeys, 4 octets."""
    is_sending_deferred: bool = False
    """Keep sending on the replaced one for now. Source: RFC 7296 §2.8."""


@dataclass(frozen=True, slots=True)
class ChildPreferred:
    """From now on send on this one. Source: RFC 7296 §2.8."""

    spi_in: bytes


@dataclass(frozen=True, slots=True)
class ChildSendingStopped:
    """Its outgoing half ended; the incoming one still receives. RFC 7296 §1.4.1."""

    spi_in: bytes


@dataclass(frozen=True, slots=True)
class ChildRemoved:
    """A Child SA ended."""

    spi_in: bytes


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A Child SA was refused; the IKE SA lives."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """The peer assigned us addresses and name servers. Source: RFC 7296 §2.19."""

    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    dns_servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line in the log that changes nothing."""

    kind: str
    fields: dict[str, object]


Output = (
    SendMessage
    | MessageAccepted
    | KeysDerived
    | Established
    | SuccessorMade
    | HandedOver
    | Closed
    | ChildInstalled
    | ChildPreferred
    | ChildSendingStopped
    | ChildRemoved
    | ChildFailed
    | Assigned
    | Note
)
