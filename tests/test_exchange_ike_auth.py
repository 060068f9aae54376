"""IKE_AUTH between two endpoints: who is who, and the first Child SA.

That AUTH tells what was changed in IKE_SA_INIT is in :mod:`test_exchange_tampering`.
"""

from collections.abc import Callable, Sequence

import pytest

from iketcp.effects import ConnectionId
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import (
    AuthPayload,
    IdPayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    UnknownPayload,
)
from iketcp.ike.proposals import Proposal, Transform
from iketcp.ike.states import IkeState
from iketcp.registry import (
    AuthMethod,
    ExchangeType,
    IntegrityAlgorithm,
    NotifyType,
    ProtocolId,
    TransformType,
)
from iketcp.selectors import TrafficSelector
from iketcp.stream import NON_ESP_MARKER
from pair import EAST, SECRET, WEST, Pair, child_policy, ike_policy, ipv4_packet

Change = Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None]

WEST_ID, EAST_ID = Identity.parse("west.example"), Identity.parse("east.example")


def in_ike_auth(
    change: Callable[[tuple[Payload, ...]], Sequence[Payload]], is_response: bool
) -> Change:
    """Apply a change to IKE_AUTH requests, or to the responses."""

    def rewrite(header: Header, payloads: tuple[Payload, ...]) -> object:
        if header.exchange_type != ExchangeType.IKE_AUTH:
            return None
        return change(payloads) if header.is_response == is_response else None

    return rewrite  # type: ignore[return-value]


def without(kind: type) -> Callable[[tuple[Payload, ...]], list[Payload]]:
    """Drop the payloads of one kind."""
    return lambda payloads: [p for p in payloads if not isinstance(p, kind)]


def attempt(pair: Pair, sender: str = "", change: Change | None = None) -> Pair:
    """Let west begin, with what one side says changed on the way."""
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    if change is not None:
        pair.rewrite(sender, change)
    pair.settle()
    return pair


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


# --- who is who -----------------------------------------------------------------------


def test_shared_key_is_checked_both_ways() -> None:
    """Each side knows the other by name. RFC 7296 §2.15."""
    pair = attempt(Pair())
    assert pair.ike(WEST).remote_identity == "east.example"
    assert pair.ike(EAST).remote_identity == "west.example"
    assert pair.said(WEST)[-1].startswith("IKE_AUTH 1 request: IDi(west.example), ")


def test_initiator_refuses_a_responder_with_the_wrong_secret() -> None:
    """The responder knows the initiator, but not the secret. RFC 7296 §2.15."""

    def spoil(payloads: tuple[Payload, ...]) -> list[Payload]:
        return [
            AuthPayload(p.method, bytes(len(p.data)))
            if isinstance(p, AuthPayload)
            else p
            for p in payloads
        ]

    pair = attempt(Pair(), EAST, in_ike_auth(spoil, is_response=True))
    assert closed_because(pair, WEST).startswith("authentication failed")
    pair.check_closed()


def test_initiator_without_a_secret_never_begins_ike_auth() -> None:
    """It cannot authenticate itself. RFC 7296 §2.15."""
    pair = attempt(Pair(ike_policy(WEST, secrets={})))
    assert closed_because(pair, WEST) == "no secret for east.example"
    assert len(pair.said(WEST)) == 1


def test_initiator_may_leave_the_responder_open() -> None:
    """Without a remote identity there is no IDr, and one secret for all."""
    west = ike_policy(WEST, remote_identity=None, secrets={None: SECRET})
    pair = attempt(Pair(west))
    assert "IDr" not in pair.said(WEST)[1]
    pair.check_agreement()


def test_initiator_without_any_secret_has_none_for_an_open_responder() -> None:
    """The same, and the configuration holds no secret at all."""
    pair = attempt(Pair(ike_policy(WEST, remote_identity=None, secrets={})))
    assert closed_because(pair, WEST) == "no secret configured"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (AuthMethod.RSA_DIGITAL_SIGNATURE, "no proof by public-key"),
        (AuthMethod.DIGITAL_SIGNATURE, "no proof by public-key"),
        (AuthMethod.NULL, "no proof by null"),
        (99, "Auth Method 99"),
    ],
)
def test_other_auth_methods_are_refused(method: int, reason: str) -> None:
    """RFC 7296 §2.21.2."""

    def change(payloads: tuple[Payload, ...]) -> list[Payload]:
        return [
            AuthPayload(method, b"signed") if isinstance(p, AuthPayload) else p
            for p in payloads
        ]

    pair = attempt(Pair(), WEST, in_ike_auth(change, is_response=False))
    assert reason in closed_because(pair, EAST)


def test_request_for_eap_is_refused() -> None:
    """No AUTH payload asks for EAP. RFC 7296 §2.16."""
    pair = attempt(Pair(), WEST, in_ike_auth(without(AuthPayload), is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(AUTHENTICATION_FAILED)"
    assert "EAP" in closed_because(pair, EAST)


# --- what cannot be read, or is missing -----------------------------------------------


@pytest.mark.parametrize("kind", [IdPayload, SaPayload])
def test_request_without_a_payload_is_malformed(kind: type) -> None:
    """RFC 7296 §2.21.2."""
    pair = attempt(Pair(), WEST, in_ike_auth(without(kind), is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(INVALID_SYNTAX)"
    assert closed_because(pair, WEST) == "the peer answers INVALID_SYNTAX"
    pair.check_closed()


def test_request_without_selectors_is_malformed_although_authentic() -> None:
    """The IKE SA stood already, and ends. RFC 7296 §2.21.2."""
    pair = attempt(Pair(), WEST, in_ike_auth(without(TsPayload), is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(INVALID_SYNTAX)"
    pair.check_closed()


@pytest.mark.parametrize("kind", [IdPayload, AuthPayload, SaPayload, TsPayload])
def test_response_without_a_payload_is_malformed(kind: type) -> None:
    """The initiator says so in an INFORMATIONAL. RFC 7296 §2.21.2."""
    pair = attempt(Pair(), EAST, in_ike_auth(without(kind), is_response=True))
    assert pair.said(WEST)[-1] == "INFORMATIONAL 2 request: N(INVALID_SYNTAX)"
    pair.check_closed()


def test_response_that_cannot_be_read_is_malformed() -> None:
    """An unknown critical payload in a response. RFC 7296 §2.5."""
    strange = UnknownPayload(200, b"", critical=True)
    change = in_ike_auth(lambda payloads: [*payloads, strange], is_response=True)
    pair = attempt(Pair(), EAST, change)
    assert pair.said(WEST)[-1] == "INFORMATIONAL 2 request: N(INVALID_SYNTAX)"
    pair.check_closed()


@pytest.mark.parametrize(
    "exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.INFORMATIONAL]
)
def test_nothing_but_ike_auth_may_follow_ike_sa_init(exchange: ExchangeType) -> None:
    """RFC 7296 §1.2."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(3):
        pair.deliver()
    pair.wire.clear()
    west = pair.ike(WEST)
    header = west.header(exchange, 1, is_response=False)
    assert west.protection is not None
    pair.inject(WEST, id, west.protection.seal(header, []))
    assert pair.east.endpoint.counters.dropped == {"MessageIdError": 1}
    assert pair.ike(EAST).state is IkeState.IKE_SA_INIT_ANSWERED


def test_requests_of_a_peer_that_is_not_authenticated_yet_are_dropped() -> None:
    """The initiator answers nobody before IKE_AUTH is done. RFC 7296 §1.2."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(3):
        pair.deliver()
    east = pair.ike(EAST)
    header = east.header(ExchangeType.INFORMATIONAL, 0, is_response=False)
    assert east.protection is not None
    message = east.protection.seal(header, [])
    request = pair.wire.popleft()
    pair.inject(EAST, id, message)
    assert pair.west.endpoint.counters.dropped == {"MessageIdError": 1}
    pair.wire.append(request)
    pair.settle()
    pair.check_agreement()


# --- the first Child SA ---------------------------------------------------------------


def test_answer_that_is_not_from_our_offer_refuses_the_child_sa() -> None:
    """Wider selectors than asked for. RFC 7296 §2.9."""

    def widen(payloads: tuple[Payload, ...]) -> list[Payload]:
        wide = (TrafficSelector.parse("0.0.0.0/0"),)
        return [
            TsPayload(p.is_initiator, wide) if isinstance(p, TsPayload) else p
            for p in payloads
        ]

    pair = attempt(Pair(), EAST, in_ike_auth(widen, is_response=True))
    failed = pair.west.traces("child-sa-failed")
    assert "wider" in str(failed[0]["reason"])
    pair.check_closed()


@pytest.mark.parametrize("spi", [b"", bytes(4), b"\0\0\0\xff"])
def test_reserved_spi_is_refused(spi: bytes) -> None:
    """[9329-3.2-spi], RFC 4303 §2.1."""

    def change(payloads: tuple[Payload, ...]) -> list[Payload]:
        return [
            SaPayload(tuple(x.with_number_and_spi(x.number, spi) for x in p.proposals))
            if isinstance(p, SaPayload)
            else p
            for p in payloads
        ]

    pair = attempt(Pair(), WEST, in_ike_auth(change, is_response=False))
    refused = any("NO_PROPOSAL_CHOSEN" in line for line in pair.said(EAST))
    assert refused or pair.said(EAST)[-1].endswith("N(INVALID_SYNTAX)")
    pair.check_closed()


def test_selectors_are_narrowed_to_what_both_want() -> None:
    """RFC 7296 §2.9."""
    pair = attempt(
        Pair(
            ike_policy(WEST, children=(child_policy(local="10.0.0.0/16"),)),
            ike_policy(
                EAST,
                children=(child_policy(local="10.0.0.0/16", remote="10.0.1.0/24"),),
            ),
        )
    )
    (west,) = pair.ike(WEST).children.values()
    assert [str(ts) for ts in west.parameters.local_ts] == ["10.0.1.0/24"]
    assert [str(ts) for ts in west.parameters.remote_ts] == ["10.0.2.0/24"]
    pair.check_agreement()
    pair.ping()


def test_request_for_transport_mode_gets_tunnel_mode() -> None:
    """The responder may decline by leaving the Notify out. RFC 7296 §1.3.1."""
    mode = NotifyPayload(NotifyType.USE_TRANSPORT_MODE)
    change = in_ike_auth(lambda payloads: [*payloads, mode], is_response=False)
    pair = attempt(Pair(), WEST, change)
    assert "USE_TRANSPORT_MODE" not in pair.said(EAST)[-1]
    pair.check_agreement()


def test_request_for_ah_is_refused() -> None:
    """AH cannot be carried over TCP. RFC 9329 §3, [9329-3-type]."""
    ah = Proposal(
        1,
        ProtocolId.AH,
        b"\1\2\3\4",
        (
            Transform(TransformType.INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128),
            Transform(TransformType.ESN, 0),
        ),
    )

    def change(payloads: tuple[Payload, ...]) -> list[Payload]:
        return [SaPayload((ah,)) if isinstance(p, SaPayload) else p for p in payloads]

    pair = attempt(Pair(), WEST, in_ike_auth(change, is_response=False))
    assert pair.said(EAST)[1].endswith("N(NO_PROPOSAL_CHOSEN)")


def test_key_exchange_of_the_first_child_sa_is_left_out() -> None:
    """IKE_AUTH has no KE payload, so no KE transform. RFC 7296 §1.2."""
    pair = attempt(Pair())
    assert "CURVE25519" not in pair.said(WEST)[1]
    (child,) = pair.ike(WEST).children.values()
    assert child.parameters.suite.ke is None


def test_padding_is_withheld_from_a_peer_that_takes_none() -> None:
    """ESP_TFC_PADDING_NOT_SUPPORTED. RFC 7296 §1.3.1."""
    children = (child_policy(tfc_pad_to=512),)
    notify = NotifyPayload(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED)
    change = in_ike_auth(lambda payloads: [*payloads, notify], is_response=True)
    for tap in (None, change):
        pair = attempt(Pair(ike_policy(WEST, children=children)), EAST, tap)
        (child,) = pair.ike(WEST).children.values()
        assert child.parameters.tfc_pad_to == (512 if tap is None else 0)
        pair.ping()


def test_further_child_sas_follow_by_themselves() -> None:
    """One CREATE_CHILD_SA each. RFC 7296 §1.3.1."""
    west = (
        child_policy(),
        child_policy("more", local="10.3.0.0/16", remote="10.4.0.0/16"),
    )
    east = (
        child_policy(local="10.0.2.0/24", remote="10.0.1.0/24"),
        child_policy("more", local="10.4.0.0/16", remote="10.3.0.0/16"),
    )
    pair = attempt(
        Pair(ike_policy(WEST, children=west), ike_policy(EAST, children=east))
    )
    pair.check_agreement(children=2)
    packet = ipv4_packet("10.3.0.1", "10.4.0.1")
    pair.send(WEST, packet)
    pair.settle()
    assert pair.east.delivered == [packet]
    pair.ping()


def test_further_child_sa_that_is_refused_does_no_harm() -> None:
    """RFC 7296 §1.3.1: the IKE SA stays."""
    west = (
        child_policy(),
        child_policy("more", local="10.3.0.0/16", remote="10.4.0.0/16"),
    )
    pair = attempt(Pair(ike_policy(WEST, children=west)))
    (failed,) = pair.west.traces("child-sa-failed")
    assert failed["child"] == "more"
    assert "TS_UNACCEPTABLE" in str(failed["reason"])
    pair.check_agreement()
    pair.ping()


# --- broken connections ---------------------------------------------------------------


@pytest.mark.parametrize("steps", range(2, 6))
def test_connection_cut_anywhere_in_between_is_made_good(steps: int) -> None:
    """The request is repeated, and answered once. [9329-6.2-reconnect]."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(steps):
        pair.deliver()
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()
    assert len(pair.east.traces("ike-sa-established")) == 1


def test_repeated_ike_auth_gets_the_same_octets() -> None:
    """[9329-6.2-responder]: executed once."""
    pair = Pair()
    id = pair.up()
    request = [
        octets
        for sender, _, octets in pair.sent
        if sender == WEST and octets[2:6] == NON_ESP_MARKER
    ][1]
    before = len(pair.sent)
    pair.inject(WEST, ConnectionId(id), request[6:])
    east = [octets for sender, _, octets in pair.sent if sender == EAST]
    assert len(pair.sent) == before + 1
    assert east[-1] == east[-2]
    # nobody waits for it any more
    assert pair.west.endpoint.counters.dropped == {"MessageIdError": 1}
    pair.check_agreement()
