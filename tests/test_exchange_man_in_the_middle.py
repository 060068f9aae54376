"""One who is west to east and east to west, with keys of her own to each of them.

What she changes in IKE_SA_INIT fits: each side shares an IKE SA with her, and she opens
what one says in it and says it again to the other. She knows no secret of theirs, and
so AUTH, which she can only hand on, is about another message than its reader received.

Source: RFC 7296 §1.2
Source: RFC 7296 §2.15
"""

from collections.abc import Sequence

import pytest

from attacker import swapped
from certificate_factory import TODAY
from eap_parts import tls_authenticator, tls_peer
from iketcp.crypto import key_exchange
from iketcp.effects import ConnectionId
from iketcp.environment import ScriptedEntropy
from iketcp.ike.header import Header
from iketcp.ike.keys import derive_ike_keys, derive_skeyseed, prf_of
from iketcp.ike.message import decode_message
from iketcp.ike.negotiation import suite_of
from iketcp.ike.payload_set import need
from iketcp.ike.payloads import (
    AuthPayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    Payload,
    SaPayload,
    TsPayload,
)
from iketcp.ike.protection import IkeProtection
from iketcp.registry import ExchangeType
from iketcp.stream import NON_ESP_MARKER, frame_ike
from pair import EAST, WEST, Pair, ipv4_packet
from tampering_cases import PROOFS
from test_exchange_eap import eap_pair

ENTROPY = ScriptedEntropy("mallory")


class Mallory:
    """Sits on a pair's wire."""

    def __init__(self, pair: Pair) -> None:
        self.seen: list[tuple[str, Sequence[Payload]]] = []
        """What each side said under the keys that it shares with her."""
        self._halves: dict[str, IkeProtection] = {}
        self._init: dict[str, Sequence[Payload]] = {}
        pair.tap = self.on_the_way

    def on_the_way(self, sender: str, id: ConnectionId, octets: bytes) -> bytes:
        """Hand a message on as her own."""
        if octets[2:6] != NON_ESP_MARKER:
            return octets
        message = decode_message(octets[6:])
        if message.header.exchange_type == ExchangeType.IKE_SA_INIT:
            self._init[sender] = message.payloads
            ours = self._request() if sender == WEST else self._response(message.header)
            return frame_ike(swapped(KePayload, ours)(octets[6:]))
        payloads = self._halves[sender].open(message, octets[6:])
        self.seen.append((sender, payloads))
        receiver = EAST if sender == WEST else WEST
        return frame_ike(self._halves[receiver].seal(message.header, payloads))

    def _request(self) -> KePayload:
        """Be the initiator to east, and the responder to west."""
        west = need(self._init[WEST], KePayload)
        self._to_east = key_exchange.generate(west.method, ENTROPY, "to east")
        self._to_west = key_exchange.answer(
            west.method, west.public_value, ENTROPY, "to west"
        )
        return KePayload(west.method, self._to_east.public_value)

    def _response(self, header: Header) -> KePayload:
        """Derive the keys of both IKE SAs."""
        east = need(self._init[EAST], KePayload)
        (chosen,) = need(self._init[EAST], SaPayload).proposals
        suite = suite_of(chosen)
        ni, nr = (need(self._init[s], NoncePayload).nonce for s in (WEST, EAST))
        for side, secret in (
            (WEST, self._to_west.shared_secret),
            (EAST, self._to_east.shared_secret(east.public_value)),
        ):
            skeyseed = derive_skeyseed(prf_of(suite), ni, nr, secret)
            keys = derive_ike_keys(suite, skeyseed, ni, nr, header.spi_i, header.spi_r)
            is_initiator = side == EAST
            self._halves[side] = IkeProtection(suite, keys, is_initiator, ENTROPY)
        return KePayload(east.method, self._to_west.public_value)

    def has_seen(self, sender: str, kind: type[Payload]) -> bool:
        """Whether a side told her a payload of this kind."""
        return any(
            isinstance(payload, kind)
            for name, payloads in self.seen
            if name == sender
            for payload in payloads
        )


def attacked(pair: Pair) -> Mallory:
    """Let west begin with her in between."""
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    mallory = Mallory(pair)
    pair.settle()
    return mallory


def check_nothing(pair: Pair) -> None:
    """Check that neither side has believed her, and nothing passes."""
    for side in (pair.west, pair.east):
        assert not side.traces("ike-sa-established")
        assert not side.traces("child-sa-installed")
    pair.check_closed()
    pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    pair.settle()
    assert pair.west.delivered == pair.east.delivered == []


@pytest.mark.parametrize("proof", ["psk", "certificate"])
def test_east_refuses_west_as_she_presents_it(proof: str) -> None:
    """AUTH of west's is about the KE payload that west sent. RFC 7296 §2.15."""
    make = PROOFS[proof]
    pair = Pair(make(WEST), make(EAST), date=TODAY)
    attacked(pair)
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(AUTHENTICATION_FAILED)"
    assert len(pair.said(WEST)) == 2
    check_nothing(pair)


@pytest.mark.parametrize("proof", PROOFS)
def test_she_hears_who_west_is_and_wants(proof: str) -> None:
    """The price of speaking first: an active attacker sees IDi. RFC 7296 §1.2."""
    make = PROOFS[proof]
    mallory = attacked(Pair(make(WEST), make(EAST), date=TODAY))
    assert mallory.has_seen(WEST, IdPayload)
    assert mallory.has_seen(WEST, TsPayload)
    assert mallory.has_seen(WEST, AuthPayload) == (proof != "eap")


def test_west_never_tells_her_its_password() -> None:
    """East proves itself before EAP, and cannot: west gives up. RFC 7296 §2.16."""
    pair = Pair(PROOFS["eap"](WEST), PROOFS["eap"](EAST))
    mallory = attacked(pair)
    assert mallory.has_seen(EAST, EapPayload)
    assert not mallory.has_seen(WEST, EapPayload)
    assert pair.said(WEST)[-1] == "INFORMATIONAL 2 request: N(AUTHENTICATION_FAILED)"
    check_nothing(pair)


def test_eap_alone_is_tied_to_the_ike_sa_by_its_key() -> None:
    """Nobody proves anything before EAP; she can hand it on, and not use it. §2.16.

    RFC 5998 §4 allows only methods that make a key; AUTH is made with it.
    """
    pair = eap_pair(tls_peer(), tls_authenticator(), alone=(True, True))
    mallory = attacked(pair)
    assert mallory.has_seen(WEST, EapPayload)
    assert "does not fit the key that EAP made" in str(
        pair.east.traces("ike-sa-closed")[-1]["reason"]
    )
    assert pair.said(EAST)[-1].endswith("N(AUTHENTICATION_FAILED)")
    check_nothing(pair)
