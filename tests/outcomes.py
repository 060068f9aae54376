"""What two sides have said and what is left of it, over TCP or UDP alike."""

from __future__ import annotations

import json

from datagram_pair import DatagramPair
from iketcp.effects import IkeKeysDerived, Trace
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import PsPayload, SkPayload
from iketcp.registry import ExchangeType
from iketcp.stream import NON_ESP_MARKER
from pair import Pair

AnyPair = Pair | DatagramPair


def messages(pair: AnyPair, name: str) -> list[bytes]:
    """The IKE messages that a side has sent, without marker."""
    if isinstance(pair, DatagramPair):
        octets = [datagram.octets for datagram in pair.of(name)]
        return [o.removeprefix(NON_ESP_MARKER) for o in octets]
    sent = [octets for sender, _, octets in pair.sent if sender == name]
    return [octets[6:] for octets in sent if octets[2:6] == NON_ESP_MARKER]


def check_protected(pair: AnyPair) -> None:
    """Check that all after IKE_SA_INIT was encrypted, but for answers to puzzles."""
    for side in (pair.west, pair.east):
        for octets in messages(pair, side.name):
            message = decode_message(octets)
            if message.header.exchange_type != ExchangeType.IKE_SA_INIT:
                kinds = [type(p) for p in message.payloads]
                assert [k for k in kinds if k is not PsPayload] == [SkPayload]


def check_all_is_gone(pair: AnyPair) -> None:
    """Check that neither side has anything left, and that nothing ever passed."""
    for side in (pair.west, pair.east):
        tables = side.endpoint.tables
        assert not tables.ike_sas
        assert not tables.children
        assert not tables.half_open
        assert not tables.strangers.total
        assert side.delivered == []


def check_secrecy(pair: AnyPair, *secrets: bytes) -> None:
    """Check that neither the log of a side nor what is printed of it holds a secret."""
    hidden = list(secrets)
    for side in (pair.west, pair.east):
        for effect in side.effects:
            if isinstance(effect, IkeKeysDerived):
                names = (name for name in dir(effect.keys) if name.startswith("sk_"))
                hidden += [getattr(effect.keys, name) for name in names]
    for side in (pair.west, pair.east):
        traces = [dict(e.fields) for e in side.effects if isinstance(e, Trace)]
        told = json.dumps(traces) + repr(side.effects)
        for secret in filter(None, hidden):
            assert secret.hex() not in told
            assert repr(secret)[2:-1] not in told
            assert secret.decode("latin-1") not in told
