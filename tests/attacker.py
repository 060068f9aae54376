"""An attacker on the way, who changes IKE_SA_INIT so that it still makes sense.

What one can do with a message in the clear, as functions from octets to octets: the
payloads of one kind replaced or left out, others put in, a field of the header changed.
:func:`sit_between` lets a change happen on the wire, over TCP or UDP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from datagram_pair import IKE, Datagram, DatagramPair
from iketcp.effects import ConnectionId
from iketcp.ike.header import Header
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.registry import ExchangeType, NotifyType
from iketcp.stream import NON_ESP_MARKER, frame_ike
from pair import Pair

Change = Callable[[bytes], bytes]
"""An IKE message, without non-ESP marker, to what arrives instead of it."""

_EXCHANGE_AT, _FLAGS_AT = 18, 19


# --- what to change -------------------------------------------------------------------


def payloads(change: Callable[[Sequence[Payload]], Sequence[Payload]]) -> Change:
    """Change the chain of payloads; lengths and types are made to fit."""

    def apply(octets: bytes) -> bytes:
        message = decode_message(octets)
        return encode_message(message.header, change(message.payloads))

    return apply


def swapped(kind: type, *others: Payload) -> Change:
    """Put ``others`` in the place of the payload of one kind; none: it is left out."""
    return payloads(
        lambda chain: [
            new for p in chain for new in (others if isinstance(p, kind) else [p])
        ]
    )


def reworked(kind: type, change: Callable[[Payload], Payload]) -> Change:
    """Change what is inside the payload of one kind."""
    return payloads(
        lambda chain: [change(p) if isinstance(p, kind) else p for p in chain]
    )


def notify(notify_type: NotifyType, *others: Payload) -> Change:
    """Put ``others`` in the place of one Notify; none: it is left out."""

    def change(chain: Sequence[Payload]) -> list[Payload]:
        is_meant = [
            isinstance(p, NotifyPayload) and p.notify_type == notify_type for p in chain
        ]
        return [
            new
            for p, meant in zip(chain, is_meant, strict=True)
            for new in (others if meant else [p])
        ]

    return payloads(change)


def added(*others: Payload, is_first: bool = False) -> Change:
    """Put payloads behind all others, or before them."""
    if is_first:
        return payloads(lambda chain: [*others, *chain])
    return payloads(lambda chain: [*chain, *others])


def header(**fields: object) -> Change:
    """Change fields of the header."""

    def apply(octets: bytes) -> bytes:
        changed = replace(Header.decode(octets), **fields)
        return changed.encode() + octets[28:]

    return apply


def flipped(at: int, mask: int) -> Change:
    """Change single bits of one octet."""
    return lambda octets: octets[:at] + bytes([octets[at] ^ mask]) + octets[at + 1 :]


def flag(mask: int) -> Change:
    """Change a flag of the header."""
    return flipped(_FLAGS_AT, mask)


# --- where to sit ---------------------------------------------------------------------


def sit_between(pair: Pair | DatagramPair, changes: Mapping[str, Change]) -> None:
    """Change every IKE_SA_INIT message of the sides named, whenever it comes."""

    def changed(sender: str, octets: bytes) -> bytes:
        is_meant = octets[_EXCHANGE_AT] == ExchangeType.IKE_SA_INIT
        return changes[sender](octets) if is_meant and sender in changes else octets

    def over_tcp(sender: str, id: ConnectionId, octets: bytes) -> bytes:
        if octets[2:6] != NON_ESP_MARKER:
            return octets
        return frame_ike(changed(sender, octets[6:]))

    def over_udp(datagram: Datagram) -> bytes:
        if IKE not in (datagram.source[1], datagram.target[1]):
            return datagram.octets
        return changed(datagram.sender, datagram.octets)

    if isinstance(pair, Pair):
        pair.tap = over_tcp
    else:
        pair.tap = over_udp
