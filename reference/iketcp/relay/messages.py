"""From messages of a stream to datagrams and back, and what they show of their SA.

What stands behind a Length in a stream and what stands in a datagram on port 4500 are
the same octets. On port 500 the non-ESP marker is missing, and there is no ESP.

Nothing here can be checked: only who has the keys can tell a message from a forgery.
So an SPI is a hint at most, and its origin says how good a hint it is.

Source: RFC 9329 §3
Source: RFC 3948 §2
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from iketcp.datagram import MAX_DATAGRAM, sort_datagram
from iketcp.effects import ConnectionId, Transmit
from iketcp.endpoint.tables import Counters
from iketcp.registry import ExchangeType
from iketcp.stream import (
    NON_ESP_MARKER,
    MessageKind,
    StreamMessage,
    frame_esp_batch,
    frame_ike,
)

CARRIED = frozenset({MessageKind.IKE, MessageKind.ESP})
"""What a relay hands on; keepalives end here [9329-6.6-drop] [9329-6.6-send]."""

_FIRST_EXCHANGES = frozenset({ExchangeType.IKE_SA_INIT, ExchangeType.IKE_INTERMEDIATE})
_NO_SPI = bytes(8)
_FLAG_RESPONSE = 0x20


def datagram_of(message: StreamMessage, is_encapsulated: bool = True) -> bytes | None:
    """Make the datagram of an IKE message or ESP packet of a stream.

    Parameters
    ----------
    message : (MessageKind, bytes)
        Of a kind that is carried.
    is_encapsulated : bool
        It goes to a port of IKE and ESP together.

    Returns
    -------
    bytes or None
        None where no datagram can hold it: it is too long, or ESP where only IKE goes.

    Source: RFC 3948 §2.1, RFC 3948 §2.2
    """
    kind, octets = message
    if kind is MessageKind.IKE and is_encapsulated:
        octets = NON_ESP_MARKER + octets
    fits = len(octets) <= MAX_DATAGRAM and (is_encapsulated or kind is MessageKind.IKE)
    return octets if fits else None


def sort_datagrams(
    datagrams: Iterable[bytes], is_encapsulated: bool, counters: Counters
) -> Iterator[StreamMessage]:
    """Yield the IKE messages and ESP packets; the rest is dropped and counted.

    Source: RFC 3948 §2.3
    """
    for datagram in datagrams:
        message = sort_datagram(datagram, is_encapsulated)
        if message[0] in CARRIED:
            yield message
        elif message[0] is MessageKind.UNPARSEABLE:
            counters.drop("unparseable datagram")


def transmit(
    connection: ConnectionId, messages: Iterable[StreamMessage]
) -> Iterator[Transmit]:
    """Frame messages for a stream, in order: a slow peer may lose ESP, never IKE.

    Source: RFC 9329 §3.1, RFC 9329 §3.2
    """
    for kind, run in groupby(messages, itemgetter(0)):
        if kind is MessageKind.ESP:
            packets = frame_esp_batch(packet for _, packet in run)
            yield Transmit(connection, packets, droppable=True)
        else:
            frames = b"".join(frame_ike(message) for _, message in run)
            yield Transmit(connection, frames)


def ike_key(message: bytes) -> bytes | None:
    """Return what an IKE message shows of its IKE SA: both SPIs, 16 octets.

    None before the responder has chosen its own. RFC 7296 §3.1.
    """
    return None if message[8:16] == _NO_SPI else message[:16]


def esp_key(packet: bytes) -> bytes:
    """Return what an ESP packet shows of its Child SA: the SPI, 4 octets.

    It is the receiver's choice, and says nothing of the other direction. RFC 4303 §2.1.
    """
    return packet[:4]


def is_first_exchange(message: bytes) -> bool:
    """Tell whether an IKE message comes before IKE_AUTH: anybody gets such an answer.

    Source: RFC 7296 §1.2, RFC 9242 §3.2
    """
    return message[18] in _FIRST_EXCHANGES


def begins_ike_sa(message: StreamMessage) -> bool:
    """Tell whether a message is a request of IKE_SA_INIT.

    Source: RFC 7296 §1.2
    """
    kind, octets = message
    return (
        kind is MessageKind.IKE
        and octets[18] == ExchangeType.IKE_SA_INIT
        and ike_key(octets) is None
        and not is_response(octets)
    )


def is_response(message: bytes) -> bool:
    """Tell whether an IKE message is a response, which goes to where the request was.

    Source: RFC 7296 §2.11, RFC 7296 §3.1
    """
    return bool(message[19] & _FLAG_RESPONSE)
