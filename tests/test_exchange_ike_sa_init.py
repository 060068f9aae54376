"""IKE_SA_INIT between two endpoints, and what may go wrong in it.

What is refused in the clear, and with which Notify, is in
:mod:`test_exchange_negatives`.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address

import pytest

from iketcp.effects import ConnectionId, Transmit
from iketcp.ike.exchanges.ike_sa_init import MAX_RESTARTS, SIGNATURE_HASHES
from iketcp.ike.header import Header
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.nat_detection import Path
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    UnknownPayload,
)
from iketcp.ike.proposals import Proposal, Transform
from iketcp.registry import (
    EncryptionAlgorithm,
    ExchangeType,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    NotifyType,
    PayloadType,
    ProtocolId,
    PseudorandomFunction,
    TransformType,
)
from iketcp.stream import STREAM_PREFIX
from pair import EAST, WEST, Pair, ike_policy

Change = Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None]


def begun(pair: Pair) -> ConnectionId:
    """Let west connect and send its first request; nothing is delivered yet."""
    pair.run(WEST, pair.west.endpoint.initiate())
    return pair.connect()


def answer_with(*payloads: Payload) -> Change:
    """Replace every response by these payloads."""
    return lambda header, _: list(payloads) if header.is_response else None


def replace_in(kind: type, other: Payload | None, is_response: bool) -> Change:
    """Replace (or drop) the payload of one kind in requests or in responses."""

    def change(header: Header, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        if header.is_response != is_response:
            return None
        if header.exchange_type != ExchangeType.IKE_SA_INIT:
            return None
        changed = [other if isinstance(p, kind) else p for p in payloads]
        return [p for p in changed if p is not None]

    return change


def closed_because(pair: Pair, name: str = WEST) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


def wire_messages(pair: Pair, name: str) -> list[bytes]:
    """All IKE messages that a side sent, without framing."""
    return [
        octets[6:]
        for sender, _, octets in pair.sent
        if sender == name and octets[2:6] == bytes(4)
    ]


# --- the plain exchange -----------------------------------------------------------


def test_four_messages_bring_a_session_up() -> None:
    """RFC 7296 §1.2."""
    pair = Pair()
    pair.up()
    assert [line.split(":")[0] for line in pair.said(WEST)] == [
        "IKE_SA_INIT 0 request",
        "IKE_AUTH 1 request",
    ]
    pair.check_agreement()
    pair.ping()


def test_hash_algorithms_are_announced_both_ways() -> None:
    """RFC 7427 §4."""
    pair = Pair()
    pair.up()
    announced = tuple(int(h) for h in SIGNATURE_HASHES)
    assert pair.ike(WEST).remote_hash_algorithms == announced
    assert pair.ike(EAST).remote_hash_algorithms == announced


def test_odd_list_of_hash_algorithms_is_malformed() -> None:
    """RFC 7427 §4: 16 bits each."""
    pair = Pair()
    begun(pair)
    odd = NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, b"\0\2\0")
    pair.rewrite(
        WEST,
        lambda h, payloads: [
            odd if getattr(p, "notify_type", 0) == odd.notify_type else p
            for p in payloads
        ],
    )
    pair.settle()
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(INVALID_SYNTAX)"]
    assert not pair.west.endpoint.tables.ike_sas


def test_peer_without_hash_algorithms_is_fine() -> None:
    """RFC 7427 §4: the Notify is optional."""
    pair = Pair()
    begun(pair)
    pair.rewrite(
        EAST,
        lambda header, payloads: (
            [p for p in payloads if not isinstance(p, NotifyPayload)]
            if header.exchange_type == ExchangeType.IKE_SA_INIT
            else None
        ),
    )
    pair.settle()
    # east's AUTH covers what east sent, so west finds the change: as it must
    assert closed_because(pair).startswith("authentication failed")


# --- NAT detection ------------------------------------------------------------------


def connect_through(pair: Pair, seen: str) -> None:
    """Connect west to east, which sees another address than west has."""
    pair.run(WEST, pair.west.endpoint.initiate())
    id = ConnectionId(1)
    pair.open.add(id)
    west, east = map(ip_address, pair.addresses)
    back = Path(east, 4500, ip_address(seen), 61000)
    there = Path(west, 40001, east, 4500)
    pair.run(EAST, pair.east.endpoint.connection_opened(id, back, False, pair.now))
    pair.run(WEST, pair.west.endpoint.connection_opened(id, there, True, pair.now))
    pair.settle()


def test_without_nat_none_is_found() -> None:
    """RFC 9329 §6.5, with TCP ports."""
    pair = Pair()
    pair.up()
    for side in (pair.west, pair.east):
        (found,) = side.traces("nat-detection")
        assert found["is_local_behind_nat"] is False
        assert found["is_remote_behind_nat"] is False


def test_nat_on_the_way_is_noted_and_changes_nothing() -> None:
    """[9329-6.5-nochange]."""
    pair = Pair()
    connect_through(pair, "198.51.100.7")
    (west,) = pair.west.traces("nat-detection")
    (east,) = pair.east.traces("nat-detection")
    assert (west["is_local_behind_nat"], west["is_remote_behind_nat"]) == (True, False)
    assert (east["is_local_behind_nat"], east["is_remote_behind_nat"]) == (False, True)
    pair.check_agreement()
    pair.ping()


# --- cookies and other methods --------------------------------------------------------

TWO_METHODS = "aes256gcm16-prfsha256-x25519-ecp256"


def test_cookie_is_returned_first_and_the_rest_unchanged() -> None:
    """RFC 7296 §2.6."""
    pair = Pair(east=ike_policy(EAST, is_cookie_required=True))
    pair.up()
    first, second = wire_messages(pair, WEST)[:2]
    first_payloads = decode_message(first).payloads
    cookie, *rest = decode_message(second).payloads
    assert isinstance(cookie, NotifyPayload)
    assert cookie.notify_type == NotifyType.COOKIE
    assert tuple(rest) == first_payloads
    pair.check_agreement()
    pair.ping()


def test_cookie_is_good_over_another_connection() -> None:
    """[9329-6.3-port]: another TCP port, the same address."""
    pair = Pair(east=ike_policy(EAST, is_cookie_required=True))
    id = begun(pair)
    for _ in range(3):  # prefix, request, cookie request
        pair.deliver()
    pair.break_connection(id)
    pair.connect(port=50000)
    pair.settle()
    pair.check_agreement()


def test_wrong_cookie_is_asked_for_again() -> None:
    """RFC 7296 §2.6."""
    pair = Pair(east=ike_policy(EAST, is_cookie_required=True))
    begun(pair)

    def spoil(header: Header, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        cookie = find_notify(payloads, NotifyType.COOKIE)
        if cookie is None:
            return None
        return [NotifyPayload(NotifyType.COOKIE, bytes(33)), *payloads[1:]]

    pair.rewrite(WEST, spoil)
    pair.settle()
    assert len(pair.said(EAST)) == MAX_RESTARTS + 1
    assert all("N(COOKIE)" in line for line in pair.said(EAST))


def test_endless_cookies_come_to_an_end() -> None:
    """Nobody keeps us asking for ever. RFC 7296 §2.6."""
    pair = Pair(east=ike_policy(EAST, is_cookie_required=True))
    begun(pair)
    pair.rewrite(EAST, answer_with(NotifyPayload(NotifyType.COOKIE, b"crumbs")))
    pair.settle()
    assert len(pair.said(WEST)) == MAX_RESTARTS + 1
    assert "no end" in closed_because(pair)


@pytest.mark.parametrize("size", [0, 65])
def test_cookie_of_wrong_size_is_refused(size: int) -> None:
    """1 to 64 octets. RFC 7296 §2.6."""
    pair = Pair()
    begun(pair)
    pair.rewrite(EAST, answer_with(NotifyPayload(NotifyType.COOKIE, bytes(size))))
    pair.settle()
    assert "cookie" in closed_because(pair)


def test_other_method_is_tried_when_the_responder_wants_it() -> None:
    """RFC 7296 §1.2."""
    pair = Pair(
        ike_policy(WEST, TWO_METHODS),
        ike_policy(EAST, "aes256gcm16-prfsha256-ecp256"),
    )
    pair.up()
    assert pair.said(EAST)[0].endswith("response: N(INVALID_KE_PAYLOAD)")
    assert pair.ike(WEST).suite.ke == KeyExchangeMethod.ECP_256
    pair.check_agreement()
    pair.ping()


def test_ike_rekey_begins_with_the_method_in_use() -> None:
    """No INVALID_KE_PAYLOAD the second time. RFC 7296 §1.3.2."""
    pair = Pair(
        ike_policy(WEST, TWO_METHODS),
        ike_policy(EAST, "aes256gcm16-prfsha256-ecp256"),
    )
    pair.up()
    count = len(pair.said(EAST))
    pair.rekey_ike(WEST)
    pair.settle()
    assert not any("INVALID_KE" in line for line in pair.said(EAST)[count:])
    pair.check_agreement()


def test_cookie_and_other_method_together() -> None:
    """The cookie goes along with the new method. RFC 7296 §2.6.1."""
    pair = Pair(
        ike_policy(WEST, TWO_METHODS),
        ike_policy(EAST, "aes256gcm16-prfsha256-ecp256", is_cookie_required=True),
    )
    pair.up()
    answers = [line.rsplit(": ", 1)[1] for line in pair.said(EAST)]
    assert answers[:2] == ["N(COOKIE)", "N(INVALID_KE_PAYLOAD)"]
    assert answers[2].startswith("SA(")
    assert len(wire_messages(pair, WEST)) == 4
    pair.check_agreement()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (KeyExchangeMethod.MODP_2048.to_bytes(2, "big"), "method 14"),
        (KeyExchangeMethod.CURVE25519.to_bytes(2, "big"), "method 31"),
        (b"", "without a method"),
    ],
)
def test_method_that_cannot_help_ends_the_attempt(data: bytes, reason: str) -> None:
    """Not offered, tried already, or not named at all. RFC 7296 §1.2."""
    pair = Pair(ike_policy(WEST, TWO_METHODS))
    begun(pair)
    pair.rewrite(EAST, answer_with(NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data)))
    pair.settle()
    assert reason in closed_because(pair)
    assert len(pair.said(WEST)) == 1


# --- refusals -------------------------------------------------------------------------


def test_refusal_is_acted_on_at_once() -> None:
    """[9329-6.4-act]; and no second attempt would fare better."""
    pair = Pair(west=ike_policy(WEST, "aes128gcm16-prfsha256-x25519"))
    begun(pair)
    pair.settle()
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(NO_PROPOSAL_CHOSEN)"]
    assert closed_because(pair) == "the responder answers NO_PROPOSAL_CHOSEN"
    assert pair.now == 0.0
    assert pair.west.wanted == [0.0]


def test_refusal_leaves_the_connection_open_and_no_state() -> None:
    """[9329-6.4-stay]: the corrected request may come over it."""
    pair = Pair()
    id = begun(pair)
    bad = replace_in(
        SaPayload,
        SaPayload((parse_ike_proposal("aes128-sha256-modp2048", number=1),)),
        is_response=False,
    )
    pair.rewrite(WEST, bad)
    for _ in range(2):
        pair.deliver()
    assert id in pair.open
    assert not pair.east.endpoint.tables.ike_sas
    request = wire_messages(pair, WEST)[0]
    pair.tap = None
    pair.wire.clear()
    pair.inject(WEST, id, request)
    assert pair.said(EAST)[1].split(": ")[1].startswith("SA(")


def test_legacy_algorithms_are_refused() -> None:
    """SHA-1 and 3DES get NO_PROPOSAL_CHOSEN. RFC 8247 §2."""
    legacy = Proposal(
        1,
        ProtocolId.IKE,
        b"",
        (
            Transform(TransformType.ENCR, EncryptionAlgorithm.ENCR_3DES),
            Transform(TransformType.INTEG, IntegrityAlgorithm.AUTH_HMAC_SHA1_96),
            Transform(TransformType.PRF, PseudorandomFunction.PRF_HMAC_SHA1),
            Transform(TransformType.KE, KeyExchangeMethod.CURVE25519),
        ),
    )
    pair = Pair()
    begun(pair)
    pair.rewrite(WEST, replace_in(SaPayload, SaPayload((legacy,)), is_response=False))
    pair.settle()
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(NO_PROPOSAL_CHOSEN)"]


@pytest.mark.parametrize("kind", [SaPayload, KePayload, NoncePayload])
def test_request_without_a_payload_is_malformed(kind: type) -> None:
    """INVALID_SYNTAX in the clear, nothing kept. RFC 7296 §2.21.1."""
    pair = Pair()
    begun(pair)
    pair.rewrite(WEST, replace_in(kind, None, is_response=False))
    pair.settle()
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(INVALID_SYNTAX)"]
    assert not pair.east.endpoint.tables.ike_sas


@pytest.mark.parametrize("kind", [SaPayload, KePayload, NoncePayload])
def test_response_without_a_payload_is_refused(kind: type) -> None:
    """RFC 7296 §1.2."""
    pair = Pair()
    begun(pair)
    pair.rewrite(EAST, replace_in(kind, None, is_response=True))
    pair.settle()
    assert f"no {kind.__name__}" in closed_because(pair)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            SaPayload((parse_ike_proposal("aes128gcm16-prfsha256-x25519", 1),)),
            "not among our proposals",
        ),
        (KePayload(KeyExchangeMethod.ECP_256, bytes(64)), "not of the chosen method"),
        (KePayload(KeyExchangeMethod.CURVE25519, bytes(32)), ""),
        (KePayload(KeyExchangeMethod.CURVE25519, bytes(31)), ""),
    ],
)
def test_response_that_does_not_fit_the_offer_is_refused(
    other: Payload, reason: str
) -> None:
    """RFC 7296 §2.7; RFC 6989 §2.5 for the public value."""
    pair = Pair()
    begun(pair)
    pair.rewrite(EAST, replace_in(type(other), other, is_response=True))
    pair.settle()
    assert reason in closed_because(pair)
    assert len(pair.said(WEST)) == 1


def test_response_without_spi_is_refused() -> None:
    """RFC 7296 §3.1: the responder's SPI is not zero once it has agreed."""
    pair = Pair()
    begun(pair)

    def without_spi(sender: str, id: ConnectionId, octets: bytes) -> bytes:
        if sender == EAST:
            return octets[:14] + bytes(8) + octets[22:]
        return octets

    pair.tap = without_spi
    pair.settle()
    assert "no SPI" in closed_because(pair)


@pytest.mark.parametrize("size", [32, 31])
def test_invalid_public_value_is_dropped(size: int) -> None:
    """RFC 6989 §2.5: the request is not used, and not answered."""
    pair = Pair()
    id = begun(pair)
    bad = KePayload(KeyExchangeMethod.CURVE25519, bytes(size))
    pair.rewrite(WEST, replace_in(KePayload, bad, is_response=False))
    pair.settle()
    assert pair.said(EAST) == []
    assert not pair.east.endpoint.tables.ike_sas
    assert id in pair.open


# --- what cannot be read --------------------------------------------------------------


def test_unknown_payload_is_ignored() -> None:
    """RFC 7296 §2.5."""
    pair = Pair()
    begun(pair)
    strange = UnknownPayload(200, b"odd")
    pair.rewrite(
        EAST,
        lambda header, payloads: (
            [strange, *payloads]
            if header.exchange_type == ExchangeType.IKE_AUTH
            else None
        ),
    )
    pair.settle()
    pair.check_agreement()


def test_response_that_cannot_be_read_is_dropped() -> None:
    """RFC 7296 §2.21: errors in responses draw no answer; the request times out."""
    pair = Pair()
    begun(pair)
    broken = UnknownPayload(PayloadType.NOTIFY, b"\0")
    pair.rewrite(EAST, lambda header, payloads: [broken, *payloads])
    pair.settle()
    assert len(pair.said(WEST)) == 1
    pair.advance(61.0)
    assert closed_because(pair) == "no answer for 60 s"


# --- repetition and strays ------------------------------------------------------------


def test_repeated_request_gets_the_same_octets() -> None:
    """[9329-6.2-responder], RFC 7296 §2.1: one IKE SA, one answer."""
    pair = Pair()
    id = begun(pair)
    pair.deliver()
    pair.deliver()
    request = wire_messages(pair, WEST)[0]
    pair.wire.clear()
    pair.inject(WEST, id, request)
    first, second = wire_messages(pair, EAST)[:2]
    assert first == second
    assert len(pair.east.traces("nat-detection")) == 1


def test_half_open_ike_sa_is_forgotten() -> None:
    """Choice: after 30 s without IKE_AUTH. RFC 7296 §2.6."""
    pair = Pair()
    begun(pair)
    pair.deliver()
    pair.deliver()
    assert pair.east.endpoint.tables.half_open
    assert pair.east.endpoint.next_deadline(pair.now) == 30.0
    pair.wire.clear()
    pair.now = 31.0
    pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert not pair.east.endpoint.tables.half_open
    assert not pair.east.endpoint.tables.ike_sas


def test_request_of_a_responder_without_keys_is_dropped() -> None:
    """A request in the clear to an initiator that has no keys yet. RFC 7296 §1.2."""
    pair = Pair()
    id = begun(pair)
    pair.wire.clear()
    west = pair.ike(WEST)
    header = Header(
        spi_i=west.spi_i,
        spi_r=b"responds",
        exchange_type=ExchangeType.INFORMATIONAL,
        message_id=0,
        is_response=False,
        is_original_initiator=False,
    )
    pair.inject(EAST, id, encode_message(header, []))
    assert pair.west.endpoint.counters.dropped == {"MessageIdError": 1}
    assert pair.ike(WEST) is west


def test_nothing_is_sent_again_without_a_new_connection() -> None:
    """[9329-6.2-no-retransmit]."""
    pair = Pair()
    begun(pair)
    pair.wire.clear()
    for _ in range(11):
        pair.advance(5.0)
    assert len(pair.said(WEST)) == 1
    pair.advance(6.0)
    assert closed_because(pair) == "no answer for 60 s"


def test_request_is_repeated_octet_for_octet_over_a_new_connection() -> None:
    """[9329-6.2-reconnect]."""
    pair = Pair()
    id = begun(pair)
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    first, second = wire_messages(pair, WEST)[:2]
    assert first == second
    pair.check_agreement()
    pair.ping()


def test_no_transmission_before_the_prefix() -> None:
    """The effects of a new connection begin with the prefix [9329-4-prefix]."""
    pair = Pair()
    begun(pair)
    sent = [e for e in pair.west.effects if isinstance(e, Transmit)]
    assert sent[0].octets == STREAM_PREFIX
