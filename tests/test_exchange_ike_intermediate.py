"""Additional key exchanges in IKE_INTERMEDIATE, between two endpoints.

Source: RFC 9242, RFC 9370 §2.2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from certificate_factory import TODAY
from datagram_pair import DatagramPair
from iketcp.effects import ConnectionId
from iketcp.ike.header import Header
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.message import decode_message
from iketcp.ike.negotiation import suite_of
from iketcp.ike.payloads import (
    KePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    SkfPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.sa import IkeSa
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType, KeyExchangeMethod, NotifyType
from iketcp.stream import NON_ESP_MARKER
from pair import EAST, WEST, Pair, ike_policy
from test_exchange_certificates import policy as certified
from test_exchange_eap import eap_pair

IKE_INTERMEDIATE = ExchangeType.IKE_INTERMEDIATE
FIRST = "aes256gcm16-prfsha384-x25519"
HYBRID = f"{FIRST}-ke1_mlkem768"
LONG = f"{FIRST}-ke1_mlkem768-ke2_ecp256-ke5_x448"
SUPPORTED = NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED
VERSIONS = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]

Change = Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None]


def hybrid(text: str = HYBRID, east: str = "", **how: object) -> Pair:
    """Make two sides that have additional key exchanges."""
    policies = ike_policy(WEST, text), ike_policy(EAST, east or text)
    return Pair(*policies, **how)  # type: ignore[arg-type]


def begun(pair: Pair, steps: int = 3) -> ConnectionId:
    """Begin, and deliver so many times; three lead to an IKE_INTERMEDIATE request."""
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(steps):
        assert pair.deliver()
    return id


def heads(pair: Pair, name: str) -> list[str]:
    """What a side sent, without payloads."""
    return [line.split(":")[0] for line in pair.said(name)]


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


def dropped(pair: Pair, name: str) -> dict[str, int]:
    """What a side dropped."""
    return pair.side(name).endpoint.counters.dropped


def inside(exchange: ExchangeType, change: Callable[..., object]) -> Change:
    """Change the payloads of one exchange."""

    def changed(header: Header, payloads: tuple[Payload, ...]):
        return change(payloads) if header.exchange_type == exchange else None

    return changed


def attempt(pair: Pair, sender: str, change: Change) -> Pair:
    """Set a session up while what one side sends is changed on its way."""
    begun(pair, 0)
    pair.rewrite(sender, change)
    pair.settle()
    return pair


def check_forgotten(sa: IkeSa) -> None:
    """Nothing secret stays with an IKE SA that has ended."""
    assert sa.state is IkeState.CLOSED
    assert sa.keys is None
    assert sa.protection is None
    assert sa.intermediate is None


# --- success ------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", VERSIONS, ids=["ipv4", "ipv6"])
def test_one_key_exchange_more(addresses: tuple[str, str]) -> None:
    """RFC 9370 §2.2: agreed, carried out, and IKE_AUTH comes after it."""
    pair = hybrid(addresses=addresses)
    pair.up()
    west, east = pair.said(WEST), pair.said(EAST)
    assert heads(pair, WEST) == [
        "IKE_SA_INIT 0 request",
        "IKE_INTERMEDIATE 1 request",
        "IKE_AUTH 2 request",
    ]
    assert west[0].endswith("N(INTERMEDIATE_EXCHANGE_SUPPORTED)")
    assert east[0].endswith("N(INTERMEDIATE_EXCHANGE_SUPPORTED)")
    assert west[1] == "IKE_INTERMEDIATE 1 request: KE(ML_KEM_768, 1184 octets)"
    assert east[1] == "IKE_INTERMEDIATE 1 response: KE(ML_KEM_768, 1088 octets)"
    pair.check_agreement()
    pair.ping()
    for name in (WEST, EAST):
        assert pair.ike(name).suite == suite_of(parse_ike_proposal(HYBRID))
        assert pair.ike(name).intermediate is None


def test_as_many_as_there_are_types() -> None:
    """RFC 9370 §2.2.1: seven, in the order of their Transform Types."""
    methods = ["x25519", "ecp256", "ecp384", "ecp521", "x448", "mlkem768", "mlkem1024"]
    words = [f"ke{n}_{method}" for n, method in enumerate(methods, 1)]
    pair = hybrid("-".join(["aes256gcm16-prfsha256-modp2048", *reversed(words)]))
    pair.up()
    assert heads(pair, WEST)[1:8] == [
        f"IKE_INTERMEDIATE {n} request" for n in range(1, 8)
    ]
    assert heads(pair, WEST)[8] == "IKE_AUTH 8 request"
    said = [line.split("(")[1].split(",")[0] for line in pair.said(EAST)[1:8]]
    assert said == [
        "CURVE25519",
        "ECP_256",
        "ECP_384",
        "ECP_521",
        "CURVE448",
        "ML_KEM_768",
        "ML_KEM_1024",
    ]
    pair.check_agreement()
    pair.ping()


def test_every_exchange_changes_all_keys() -> None:
    """RFC 9370 §2.2.2: SK_d, SK_a, SK_e and SK_p, both ways."""
    pair = hybrid("aes256-sha384-x25519-ke1_mlkem768-ke2_ecp256-ke5_x448")
    begun(pair, 3)
    seen: list[bytes] = []
    for _ in range(4):
        west, east = pair.ike(WEST).keys, pair.ike(EAST).keys
        assert west == east is not None
        names = ("sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr")
        seen += [getattr(west, name) for name in names]
        pair.deliver()
        pair.deliver()
    assert len(set(seen)) == len(seen) == 28
    pair.check_agreement()


@pytest.mark.parametrize("fragment_size", [None, 120, 600])
def test_a_long_series(fragment_size: int | None) -> None:
    """RFC 9242 §3.3.2: AUTH is the same whether messages went whole or in pieces."""
    pair = hybrid(LONG, fragment_size=fragment_size)
    pair.up()
    pair.check_agreement()
    pair.ping()
    fragments = [
        octets
        for _, _, octets in pair.sent
        if octets[2:6] == NON_ESP_MARKER
        and isinstance(decode_message(octets[6:]).payloads[-1], SkfPayload)
    ]
    assert bool(fragments) is (fragment_size is not None)


def test_pieces_one_way_and_whole_the_other() -> None:
    """RFC 9242 §3.3.2: nobody has to know in which form the peer got a message."""
    pair = hybrid(LONG, fragment_size=150)
    begun(pair, 2)
    pair.ike(EAST).fragment_size = None
    pair.settle()
    pair.check_agreement()


@pytest.mark.parametrize("none", ["ke1_none", "ke1_mlkem768-ke1_none"])
def test_none_is_no_exchange(none: str) -> None:
    """RFC 9370 §2.2.1: but the exchange is agreed on all the same."""
    pair = hybrid(f"{FIRST}-{none}", FIRST)
    pair.up()
    assert heads(pair, WEST) == ["IKE_SA_INIT 0 request", "IKE_AUTH 1 request"]
    assert "N(INTERMEDIATE_EXCHANGE_SUPPORTED)" in pair.said(EAST)[0]
    pair.check_agreement()


def test_who_has_no_use_for_it_does_not_mention_it() -> None:
    """RFC 9242 §3.1."""
    pair = hybrid(FIRST, f"{HYBRID}-ke1_none")
    pair.up()
    for name in (WEST, EAST):
        assert "INTERMEDIATE" not in "".join(pair.said(name))
    pair.check_agreement()


def test_the_keys_of_a_rekey_come_from_the_last_ones() -> None:
    """RFC 7296 §2.18: SK_d is that of after the last exchange."""
    pair = hybrid()
    pair.up()
    for name in (WEST, EAST):
        pair.rekey_ike(name)
        pair.settle()
        pair.check_agreement()
        pair.rekey_child(name)
        pair.settle()
        pair.ping()


def test_with_eap() -> None:
    """RFC 9242 §3.3.2: IKE_AUTH_MID is the Message ID of its first round."""
    proposals = (parse_ike_proposal(LONG),)
    pair = eap_pair(west={"proposals": proposals}, east={"proposals": proposals})
    pair.up()
    assert heads(pair, WEST)[4:] == [f"IKE_AUTH {n} request" for n in range(4, 8)]
    pair.check_agreement()
    pair.ping()


def test_with_certificates() -> None:
    """The octets that are signed have IntAuth at their end, too."""
    proposals = (parse_ike_proposal(HYBRID),)
    sides = [replace(certified(name), proposals=proposals) for name in (WEST, EAST)]
    pair = Pair(*sides, date=TODAY)
    pair.up()
    pair.check_agreement()


# --- agreeing -----------------------------------------------------------------------


def without_support(payloads: tuple[Payload, ...]) -> list[Payload]:
    """Leave the Notify out."""
    return [p for p in payloads if getattr(p, "notify_type", 0) != SUPPORTED]


def test_an_initiator_that_does_not_offer_the_exchange() -> None:
    """RFC 9370 §2.2.1: its additional key exchanges are of an unknown type."""
    change = inside(ExchangeType.IKE_SA_INIT, without_support)
    pair = attempt(hybrid(f"{HYBRID}-ke1_none"), WEST, change)
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(NO_PROPOSAL_CHOSEN)"]
    pair.check_closed()


def test_its_proposals_without_them_may_be_chosen() -> None:
    """RFC 9370 §2.2.1, RFC 7296 §3.3.6: only those that have one are passed over."""
    both = (parse_ike_proposal(HYBRID, 1), parse_ike_proposal(FIRST, 2))
    pair = Pair(*(ike_policy(name, proposals=both) for name in (WEST, EAST)))
    seen = []

    def change(header: Header, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        if header.exchange_type != ExchangeType.IKE_SA_INIT:
            return None
        seen.extend(p for p in payloads if isinstance(p, SaPayload))
        return without_support(payloads)

    begun(pair, 0)
    pair.rewrite(WEST, change)
    for _ in range(2):
        pair.deliver()
    assert len(seen[0].proposals) == 2
    assert pair.ike(EAST).suite == suite_of(parse_ike_proposal(FIRST))
    assert pair.ike(EAST).intermediate is None


def test_a_responder_that_does_not_agree_to_the_exchange() -> None:
    """RFC 9370 §2.2.1: what it has chosen cannot be carried out."""
    change = inside(ExchangeType.IKE_SA_INIT, without_support)
    pair = attempt(hybrid(), EAST, change)
    assert closed_because(pair, WEST) == (
        "additional key exchanges were chosen, but no IKE_INTERMEDIATE"
    )
    assert heads(pair, WEST) == ["IKE_SA_INIT 0 request"]


def test_data_of_the_notify_is_ignored() -> None:
    """RFC 9242 §3.1."""
    more = NotifyPayload(SUPPORTED, b"data of a later time")

    def change(payloads: tuple[Payload, ...]) -> list[Payload]:
        return [*without_support(payloads), more]

    pair = hybrid()
    begun(pair, 0)
    pair.rewrite(WEST, inside(ExchangeType.IKE_SA_INIT, change))
    for _ in range(5):
        pair.deliver()
    assert heads(pair, EAST)[-1] == "IKE_INTERMEDIATE 1 response"


def test_no_method_in_common() -> None:
    """RFC 9370 §2.2.1."""
    pair = hybrid(HYBRID, f"{FIRST}-ke1_mlkem1024")
    pair.up()
    assert pair.said(EAST) == ["IKE_SA_INIT 0 response: N(NO_PROPOSAL_CHOSEN)"]
    pair.check_closed()


def test_the_first_method_may_have_to_change() -> None:
    """RFC 7296 §1.2: INVALID_KE_PAYLOAD is about the first key exchange only."""
    pair = hybrid(
        "aes256gcm16-prfsha256-x25519-ecp256-ke1_mlkem768",
        "aes256gcm16-prfsha256-ecp256-ke1_mlkem768",
    )
    pair.up()
    assert heads(pair, WEST)[1:3] == [
        "IKE_SA_INIT 0 request",
        "IKE_INTERMEDIATE 1 request",
    ]
    pair.check_agreement()


# --- what has no place --------------------------------------------------------------


def seal(pair: Pair, exchange: ExchangeType, *payloads: Payload) -> bytes:
    """Make west's next request, with any exchange and payloads."""
    west = pair.ike(WEST)
    message_id = pair.ike(EAST).answered.expected
    assert west.protection is not None
    header = west.header(exchange, message_id, is_response=False)
    return west.protection.seal(header, payloads)


@pytest.mark.parametrize("steps", [3, 5], ids=["before the first", "before the second"])
def test_ike_auth_has_to_wait(steps: int) -> None:
    """RFC 9242 §3.2: all exchanges have to be complete before IKE_AUTH."""
    pair = hybrid(LONG)
    id = begun(pair, steps)
    request = pair.wire.popleft()
    pair.inject(WEST, id, seal(pair, ExchangeType.IKE_AUTH))
    assert dropped(pair, EAST) == {"MessageIdError": 1}
    assert pair.ike(EAST).state is IkeState.IKE_SA_INIT_ANSWERED
    pair.wire.append(request)
    pair.settle()
    pair.check_agreement()


@pytest.mark.parametrize("text", [FIRST, HYBRID], ids=["none agreed", "one too many"])
def test_no_more_exchanges_than_agreed(text: str) -> None:
    """RFC 9242 §5: not as many as the initiator likes."""
    pair = hybrid(text)
    id = begun(pair, 5 if text == HYBRID else 3)
    request = pair.wire.popleft()
    ke = KePayload(KeyExchangeMethod.ML_KEM_768, bytes(1184))
    pair.inject(WEST, id, seal(pair, IKE_INTERMEDIATE, ke))
    assert dropped(pair, EAST) == {"MessageIdError": 1}
    pair.wire.append(request)
    pair.settle()
    pair.check_agreement()


def test_none_after_ike_auth() -> None:
    """RFC 9242 §3.2: an established IKE SA has no use for it."""
    pair = hybrid()
    pair.up()
    pair.ask(WEST, IKE_INTERMEDIATE)
    assert pair.said(EAST)[-1] == "IKE_INTERMEDIATE 3 response: N(INVALID_SYNTAX)"
    pair.check_closed()


def test_the_initiator_answers_nobody_meanwhile() -> None:
    """RFC 7296 §1.2: the responder is not authenticated yet."""
    pair = hybrid()
    id = begun(pair)
    east = pair.ike(EAST)
    assert east.protection is not None
    header = east.header(ExchangeType.INFORMATIONAL, 0, is_response=False)
    request = pair.wire.popleft()
    pair.inject(EAST, id, east.protection.seal(header, []))
    assert dropped(pair, WEST) == {"MessageIdError": 1}
    pair.wire.append(request)
    pair.settle()
    pair.check_agreement()


# --- what cannot be accepted --------------------------------------------------------


ML_KEM = KeyExchangeMethod.ML_KEM_768
UNREDUCED = b"\xff" * 1184
BAD_REQUESTS = {
    "no KE": [],
    "two KE": [KePayload(ML_KEM, bytes(1184))] * 2,
    "another method": [KePayload(KeyExchangeMethod.CURVE25519, bytes(31) + b"\1")],
    "a short key": [KePayload(ML_KEM, bytes(1183))],
    "a long key": [KePayload(ML_KEM, bytes(1185))],
    "a ciphertext": [KePayload(ML_KEM, bytes(1088))],
    "an empty key": [KePayload(ML_KEM, b"")],
    "a key that is not reduced": [KePayload(ML_KEM, UNREDUCED)],
}


@pytest.mark.parametrize("payloads", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_requests_that_are_refused(payloads: list[Payload]) -> None:
    """RFC 9242 §3.4, RFC 7296 §2.21.2: INVALID_SYNTAX, and the IKE SA ends."""
    pair = hybrid()
    begun(pair, 3)
    sides = pair.ike(WEST), pair.ike(EAST)
    pair.rewrite(WEST, inside(IKE_INTERMEDIATE, lambda _: payloads))
    pair.settle()
    assert pair.said(EAST)[1:] == ["IKE_INTERMEDIATE 1 response: N(INVALID_SYNTAX)"]
    assert closed_because(pair, WEST) == "the peer answers INVALID_SYNTAX"
    pair.check_closed()
    for sa in sides:
        check_forgotten(sa)


def test_a_critical_payload_that_is_unknown() -> None:
    """RFC 9242 §3.4, RFC 7296 §2.21.2: it is named, and the IKE SA ends."""
    strange = UnknownPayload(200, b"", critical=True)
    change = inside(IKE_INTERMEDIATE, lambda payloads: [*payloads, strange])
    pair = attempt(hybrid(), WEST, change)
    assert pair.said(EAST)[1:] == [
        "IKE_INTERMEDIATE 1 response: N(UNSUPPORTED_CRITICAL_PAYLOAD)"
    ]
    assert closed_because(pair, WEST) == (
        "the responder answers UNSUPPORTED_CRITICAL_PAYLOAD"
    )
    pair.check_closed()


BAD_RESPONSES = {
    "no KE": [],
    "two KE": [KePayload(ML_KEM, bytes(1088))] * 2,
    "another method": [KePayload(KeyExchangeMethod.CURVE25519, bytes(31) + b"\1")],
    "a short ciphertext": [KePayload(ML_KEM, bytes(1087))],
    "a key": [KePayload(ML_KEM, bytes(1184))],
    "an error": [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)],
    "a critical payload": [UnknownPayload(200, b"", critical=True)],
}


@pytest.mark.parametrize("payloads", BAD_RESPONSES.values(), ids=BAD_RESPONSES)
def test_responses_that_are_refused(payloads: list[Payload]) -> None:
    """RFC 9242 §3.4: the initiator gives up; nothing of its keys stays."""
    pair = hybrid()
    begun(pair, 3)
    sides = pair.ike(WEST), pair.ike(EAST)
    pair.rewrite(EAST, inside(IKE_INTERMEDIATE, lambda _: payloads))
    pair.settle()
    assert heads(pair, WEST)[-1] == "IKE_INTERMEDIATE 1 request"
    assert not pair.west.endpoint.tables.ike_sas
    pair.advance(31)  # the responder has not heard of it
    pair.check_closed()
    for sa in sides:
        check_forgotten(sa)


def test_a_ciphertext_changed_on_its_way() -> None:
    """Decapsulation says nothing; but the two sides have nothing in common any more."""

    def change(payloads: tuple[Payload, ...]) -> list[Payload]:
        (ke,) = payloads
        assert isinstance(ke, KePayload)
        changed = bytes([ke.public_value[0] ^ 1]) + ke.public_value[1:]
        return [KePayload(ke.method, changed)]

    pair = attempt(hybrid(), EAST, inside(IKE_INTERMEDIATE, change))
    assert heads(pair, WEST)[-1] == "IKE_AUTH 2 request"
    assert len(pair.said(EAST)) == 2
    assert dropped(pair, EAST)["IntegrityError"] == 1
    pair.advance(61)
    pair.check_closed()


@pytest.mark.parametrize("sender", [WEST, EAST])
@pytest.mark.parametrize("which", [1, 3])
@pytest.mark.parametrize("fragment_size", [None, 400])
def test_ike_auth_vouches_for_every_octet(
    sender: str, which: int, fragment_size: int | None
) -> None:
    """RFC 9242 §3.3.2: who adds to an exchange is found out, whatever keys come of it.

    That takes somebody who knows the keys of that moment, as a quantum computer might.
    """
    pair = hybrid(LONG)
    begun(pair, 0)

    def change(header: Header, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        is_it = header.exchange_type == IKE_INTERMEDIATE and header.message_id == which
        return [*payloads, VendorPayload(b"more")] if is_it else None

    pair.rewrite(sender, change)
    pair.settle()
    assert pair.said(EAST)[-1].endswith("response: N(AUTHENTICATION_FAILED)")
    pair.check_closed()


# --- repetition ---------------------------------------------------------------------


@pytest.mark.parametrize("fragment_size", [None, 400])
@pytest.mark.parametrize("exchange", [1, 2])
def test_a_lost_answer_comes_again(fragment_size: int | None, exchange: int) -> None:
    """RFC 7296 §2.1: its request is known by the keys of before; east has others."""
    pair = hybrid(LONG, fragment_size=fragment_size)
    id = begun(pair, 0)
    while heads(pair, EAST)[-1:] != [f"IKE_INTERMEDIATE {exchange} response"]:
        assert pair.deliver()
    first = [octets for name, _, octets in pair.wire if name == EAST]
    assert pair.ike(EAST).keys != pair.ike(WEST).keys
    pair.break_connection(id)
    pair.connect()
    again = len(pair.sent)
    while not [item for item in pair.sent[again:] if item[0] == EAST]:
        assert pair.deliver()
    repeated = [octets for name, _, octets in pair.sent[again:] if name == EAST]
    assert repeated == first
    pair.settle()
    pair.check_agreement()
    pair.ping()


def test_a_request_that_was_lost_is_repeated() -> None:
    """RFC 9329 §6.2: octet for octet, on the new connection."""
    pair = hybrid()
    id = begun(pair)
    (_, _, request), *_ = pair.wire
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    assert [octets for _, _, octets in pair.sent].count(request) == 2
    pair.check_agreement()


def test_a_half_open_ike_sa_has_its_time() -> None:
    """RFC 8019 §4.4: all exchanges together, not each."""
    pair = hybrid(LONG)
    begun(pair, 4)
    east = pair.ike(EAST)
    pair.wire.clear()
    pair.now += 20
    pair.advance(11)
    check_forgotten(east)
    assert not pair.east.endpoint.tables.half_open


def test_no_answer_ends_the_attempt() -> None:
    """RFC 9329 §6.2."""
    pair = hybrid()
    begun(pair)
    west = pair.ike(WEST)
    pair.wire.clear()
    pair.advance(61)
    check_forgotten(west)
    assert closed_because(pair, WEST) == "no answer for 60 s"


# --- over UDP -----------------------------------------------------------------------


def datagrams(text: str = LONG, **how: object) -> DatagramPair:
    """Make two sides over UDP; a message with a key of ML-KEM does not fit one."""
    policies = ike_policy(WEST, text), ike_policy(EAST, text)
    return DatagramPair(*policies, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_behind_nat", [False, True])
@pytest.mark.parametrize("addresses", VERSIONS, ids=["ipv4", "ipv6"])
def test_over_udp(addresses: tuple[str, str], is_behind_nat: bool) -> None:
    """RFC 9242 §3.2: from the first IKE_INTERMEDIATE on over port 4500."""
    pair = datagrams(addresses=addresses, is_behind_nat=is_behind_nat)
    pair.up()
    pair.ping()
    ports = [datagram.target[1] for datagram in pair.of(WEST)]
    assert ports[0] == 500
    assert set(ports[1:]) == {4500}
    # IKE_SA_INIT; three exchanges, the first in two pieces; IKE_AUTH; ESP
    assert len(ports) == 1 + 4 + 1 + 1


def test_everything_is_lost_once_over_udp() -> None:
    """RFC 7296 §2.1: every request is sent again, every answer given again."""
    pair = datagrams()
    seen: set[bytes] = set()

    def is_lost(datagram: object) -> bool:
        octets = datagram.octets  # type: ignore[attr-defined]
        is_first, _ = octets not in seen, seen.add(octets)
        return is_first

    pair.is_lost = is_lost
    pair.begin()
    pair.advance(60)
    pair.is_lost = lambda datagram: False
    pair.check_up()
    pair.ping()


def test_everything_comes_twice_over_udp() -> None:
    """RFC 7296 §2.1: and nothing is done twice."""
    pair = datagrams()
    pair.begin()
    for _ in range(100):
        if not pair.wire:
            break
        datagram = pair.wire.popleft()
        pair.hand_over(datagram)
        pair.hand_over(datagram)
    pair.check_up()
    pair.ping()


def test_what_was_settled_changes_nothing_later() -> None:
    """RFC 7296 §2.1: an old request and an old answer come under keys long gone."""
    pair = datagrams(f"{FIRST}-ke1_ecp256-ke2_x448")
    pair.begin()
    for _ in range(6):
        pair.deliver()
    (_, request, *_), (_, answer, *_) = pair.of(WEST), pair.of(EAST)
    west, east = pair.ike(WEST), pair.ike(EAST)
    keys = west.keys, east.keys
    assert east.answered.expected == 3
    assert east.intermediate.former_protection is not None
    for datagram in (request, answer):
        pair.hand_over(datagram)
    assert (west.keys, east.keys) == keys
    for name in (WEST, EAST):
        assert pair.dropped(name) == {"IntegrityError": 1}
    pair.settle()
    pair.check_up()
    assert east.intermediate is None
