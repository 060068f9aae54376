"""A secret or a signature first, and EAP after it, between two endpoints. RFC 4739."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from datagram_pair import DatagramPair
from eap_parts import password_authenticator, password_peer, tls_authenticator, tls_peer
from iketcp.eap.method import EapAuthenticatorPolicy, EapPeerPolicy
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.payloads import (
    AuthPayload,
    EapPayload,
    IdPayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
)
from iketcp.ike.policy import Childless, IkePolicy
from iketcp.registry import ExchangeType, NotifyType
from pair import EAST, SECRET, WEST, Pair, PoolPolicy, ike_policy
from test_exchange_authentication import raw
from test_exchange_eap import ALICE
from test_exchange_ike_auth import attempt, closed_because
from test_exchange_ppk import ppk

FAILED = "N(AUTHENTICATION_FAILED)"
SUPPORTED, FOLLOWS = "N(MULTIPLE_AUTH_SUPPORTED)", "N(ANOTHER_AUTH_FOLLOWS)"


def twice(side: str, policy: IkePolicy | None = None, **changes: object) -> IkePolicy:
    """Policy of a side for two authentications of west."""
    policy = policy or ike_policy(side)
    how: dict[str, object] = {"is_eap_second": True}
    if side == WEST:
        how["eap_peer"] = EapPeerPolicy(ALICE, password_peer())
    else:
        how["eap_authenticator"] = EapAuthenticatorPolicy(password_authenticator())
    return replace(policy, **{**how, **changes})


def pair_of_two(west: object = None, east: object = None) -> Pair:
    """Both know that it takes two."""
    changes = [west or {}, east or {}]
    return Pair(*(twice(n, **c) for n, c in zip((WEST, EAST), changes, strict=True)))


def change_message(
    pair: Pair,
    sender: str,
    message_id: int,
    change: Callable[[list[Payload]], list[Payload]],
) -> None:
    """Change one IKE_AUTH message of a side."""

    def rewrite(
        header: Header, payloads: tuple[Payload, ...]
    ) -> Sequence[Payload] | None:
        is_it = header.exchange_type == ExchangeType.IKE_AUTH
        if not is_it or header.message_id != message_id:
            return None
        return change([*payloads])

    pair.rewrite(sender, rewrite)


def without(*kinds: type) -> Callable[[list[Payload]], list[Payload]]:
    """Drop the payloads of some kinds."""
    return lambda payloads: [p for p in payloads if not isinstance(p, kinds)]


def forged(payloads: list[Payload]) -> list[Payload]:
    """Change AUTH."""
    return [
        replace(p, data=bytes(len(p.data))) if isinstance(p, AuthPayload) else p
        for p in payloads
    ]


# --- success --------------------------------------------------------------------------


def test_message_by_message() -> None:
    """RFC 4739 §2.3: who says what, and what waits until the end."""
    pair = attempt(pair_of_two())
    west, east = pair.said(WEST), pair.said(EAST)
    auth = "AUTH(SHARED_KEY_MESSAGE_INTEGRITY_CODE)"
    assert east[0].endswith(SUPPORTED)
    assert SUPPORTED not in west[0]
    assert west[1].startswith("IKE_AUTH 1 request: IDi(west.example), ")
    assert f"{auth}, {SUPPORTED}, {FOLLOWS}, SA(" in west[1]
    assert east[1] == f"IKE_AUTH 1 response: IDr(east.example), {auth}"
    assert west[2] == "IKE_AUTH 2 request: IDi(alice@example)"
    assert east[2].startswith("IKE_AUTH 2 response: EAP(")
    assert west[5] == f"IKE_AUTH 5 request: {auth}"
    assert east[5].startswith(f"IKE_AUTH 5 response: {auth}, SA(")
    assert len(west) == len(east) == 6
    pair.check_agreement()
    pair.ping()


def test_who_is_who() -> None:
    """The user is who counts; the log has the machine, too."""
    pair = attempt(pair_of_two())
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    assert pair.ike(WEST).remote_identity == "east.example"
    (told,) = pair.east.traces("authenticated-once")
    assert told["peer"] == "west.example"


def test_nothing_is_kept() -> None:
    """What was kept between the two goes when both are over."""
    pair = attempt(pair_of_two())
    for name in (WEST, EAST):
        sa = pair.ike(name)
        assert not sa.first_auth
        assert sa.eap is None
        assert not sa.is_between_rounds


def test_a_signature_first() -> None:
    """RFC 4739 §2.3: the machine by its key, the user by a password."""
    pair = attempt(Pair(twice(WEST, raw(WEST)), twice(EAST, raw(EAST))))
    assert "CERT(" in pair.said(WEST)[1]
    assert "AUTH(DIGITAL_SIGNATURE)" in pair.said(WEST)[1]
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    pair.check_agreement()
    pair.ping()


def test_certificates_by_eap_tls() -> None:
    """Any method will do for the second one."""
    west = twice(WEST, eap_peer=EapPeerPolicy(ALICE, tls_peer()))
    east = twice(EAST, eap_authenticator=EapAuthenticatorPolicy(tls_authenticator()))
    attempt(pair := Pair(west, east))
    pair.check_agreement()


def test_a_user_with_a_plain_name() -> None:
    """IDi is a name then, and the responder is asked for what EAP says."""
    users = EapAuthenticatorPolicy(password_authenticator(), is_identity_asked=True)
    pair = pair_of_two(
        {"eap_peer": EapPeerPolicy(b"alice", password_peer())},
        {"eap_authenticator": users},
    )
    attempt(pair)
    assert pair.said(WEST)[2] == "IKE_AUTH 2 request: IDi(alice)"
    pair.check_agreement()


def test_addresses_go_with_the_user() -> None:
    """What the first request asked for comes last."""
    pool = PoolPolicy(("10.9.0.0/30",))
    pair = attempt(pair_of_two({"request_families": (4,)}, {"pool": pool}))
    assert "CP(CFG_REPLY" in pair.said(EAST)[5]
    (assigned,) = pair.ike(WEST).assigned
    pool_of_east = pair.east.endpoint.context.pool
    assert pool_of_east is not None
    lease = pool_of_east.lease("eap:alice@example", 4)
    assert lease is not None
    assert lease.ip == assigned.ip


@pytest.mark.parametrize("is_mandatory", [False, True])
def test_with_a_ppk(is_mandatory: bool) -> None:
    """RFC 8784 §3: it goes with the first AUTH, and keys the second one, too."""
    pair = attempt(
        pair_of_two(
            {"ppks": (ppk(WEST, is_mandatory),)}, {"ppks": (ppk(EAST, is_mandatory),)}
        )
    )
    assert "N(PPK_IDENTITY)" in pair.said(WEST)[1]
    assert "N(PPK_IDENTITY)" in pair.said(EAST)[1]
    assert "PPK" not in "".join(pair.said(WEST)[2:] + pair.said(EAST)[2:])
    for side in (pair.west, pair.east):
        assert len(side.traces("ppk-used")) == 1
    assert pair.ike(WEST).keys == pair.ike(EAST).keys
    pair.check_agreement()
    pair.ping()


def test_after_further_key_exchanges() -> None:
    """RFC 9242 §3.3.2: every AUTH is over them, and none names another Message ID."""
    text = "aes256gcm16-prfsha256-x25519-ke1_ecp256-ke2_x448"
    more = {"proposals": (parse_ike_proposal(text),)}
    pair = attempt(pair_of_two(more, more))
    assert pair.said(WEST)[3].startswith("IKE_AUTH 3 request: IDi(west.example)")
    assert pair.said(WEST)[-1].startswith("IKE_AUTH 7 request: AUTH(")
    pair.check_agreement()
    pair.ping()


def test_without_a_child() -> None:
    """RFC 6023 §5: neither round asks for one."""
    pair = attempt(
        pair_of_two({"childless": Childless.FORCE}, {"childless": Childless.ALLOW})
    )
    assert not any("SA(" in said for said in pair.said(WEST)[1:6])
    pair.check_agreement()


def test_over_udp() -> None:
    """The same over datagrams."""
    pair = DatagramPair(twice(WEST), twice(EAST))
    pair.up()
    assert pair.ike(EAST).remote_identity == "eap:alice@example"


def test_over_two_connections() -> None:
    """RFC 9329 §6.1: rounds are exchanges as all others."""
    pair = pair_of_two()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    while not (pair.east.endpoint.tables.ike_sas and pair.ike(EAST).first_auth):
        assert pair.deliver()
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    pair.check_agreement()


def test_rekeys_afterwards() -> None:
    """An IKE SA as any."""
    pair = attempt(pair_of_two())
    for name in (WEST, EAST):
        pair.rekey_ike(name)
        pair.settle()
    pair.check_agreement()
    pair.ping()


# --- the two do not agree about the number --------------------------------------------


@pytest.mark.parametrize("is_eap", [False, True])
def test_a_responder_that_takes_one(is_eap: bool) -> None:
    """RFC 4739 §2.1: without MULTIPLE_AUTH_SUPPORTED there is no second one."""
    east = twice(EAST, is_eap_second=False) if is_eap else ike_policy(EAST)
    pair = attempt(Pair(twice(WEST), east))
    assert SUPPORTED not in pair.said(EAST)[0]
    assert "takes one authentication only" in closed_because(pair, WEST)
    assert len(pair.said(WEST)) == 1


def test_an_initiator_that_gives_its_secret_only() -> None:
    """A secret is no way around the password."""
    pair = attempt(Pair(ike_policy(WEST), twice(EAST)))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    assert "no EAP after it" in closed_because(pair, EAST)
    pair.check_closed()


def test_an_initiator_that_gives_its_password_only() -> None:
    """Nor the reverse."""
    pair = attempt(Pair(twice(WEST, is_eap_second=False), twice(EAST)))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    assert "has to come before EAP" in closed_because(pair, EAST)
    pair.check_closed()


def test_words_about_another_that_were_not_agreed_to() -> None:
    """RFC 7296 §3.10.1: as a status type that we do not know."""
    pair = Pair()
    more = NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS)
    change_message(pair, WEST, 1, lambda payloads: [*payloads, more])
    attempt(pair)
    pair.check_agreement()


def test_a_responder_with_two_proofs() -> None:
    """RFC 4739 §2.5: we know of one, so it is not the responder that we expect."""
    for pair in (Pair(), pair_of_two()):
        more = NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS)
        change_message(pair, EAST, 1, lambda payloads, more=more: [*payloads, more])
        attempt(pair)
        assert "more proofs than we take" in closed_because(pair, WEST)
        pair.check_closed()


# --- the first one fails --------------------------------------------------------------


def test_a_wrong_secret() -> None:
    """RFC 4739 §2.1: all have to succeed; nobody gets as far as EAP."""
    east = {"secrets": {Identity.parse("west.example"): SECRET[::-1]}}
    pair = attempt(pair_of_two(None, east))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    pair.check_closed()


def test_a_responder_with_a_wrong_secret() -> None:
    """RFC 7296 §2.21.2: the initiator says so, and the responder forgets at once."""
    pair = pair_of_two()
    change_message(pair, EAST, 1, forged)
    attempt(pair)
    assert pair.said(WEST)[-1] == f"INFORMATIONAL 2 request: {FAILED}"
    assert "AUTHENTICATION_FAILED" in closed_because(pair, EAST)
    pair.check_closed()


def test_a_responder_that_begins_eap_at_once() -> None:
    """RFC 4739 §2.3: first things first."""
    pair = pair_of_two()
    change_message(pair, EAST, 1, lambda payloads: [*payloads, EapPayload(b"\1\1\0\4")])
    attempt(pair)
    assert "begins EAP, unasked" in closed_because(pair, WEST)
    pair.check_closed()


def test_a_responder_that_has_enough() -> None:
    """RFC 4739 §2.3: a Child SA after the first is one that nobody asked for yet."""
    pair = pair_of_two()
    child: list[Payload] = []
    other = Pair()
    change_message(
        other,
        EAST,
        1,
        lambda payloads: (
            child.extend(p for p in payloads if isinstance(p, SaPayload | TsPayload))
            or payloads
        ),
    )
    attempt(other)
    change_message(pair, EAST, 1, lambda payloads: [*payloads, *child])
    attempt(pair)
    assert "not asked for" in closed_because(pair, WEST)
    pair.check_closed()


# --- the second one fails -------------------------------------------------------------


def test_a_wrong_password() -> None:
    """RFC 4739 §2.1: the first alone is worth nothing."""
    peer = EapPeerPolicy(ALICE, password_peer("wrong"))
    pair = attempt(pair_of_two({"eap_peer": peer}))
    assert not pair.east.traces("ike-sa-established")
    assert "EAP" in closed_because(pair, EAST)
    pair.check_closed()


def test_another_user_with_the_same_machine() -> None:
    """Who may come in, EAP says."""
    only_bob = EapAuthenticatorPolicy(
        password_authenticator(), identities=frozenset({b"bob@example"})
    )
    pair = attempt(pair_of_two(None, {"eap_authenticator": only_bob}))
    assert not pair.east.traces("ike-sa-established")
    pair.check_closed()


@pytest.mark.parametrize("sender", [WEST, EAST])
def test_a_wrong_second_auth(sender: str) -> None:
    """RFC 4739 §2.1: each AUTH counts."""
    pair = pair_of_two()
    change_message(pair, sender, 5, forged)
    attempt(pair)
    other = EAST if sender == WEST else WEST
    assert "does not fit the key that EAP made" in closed_because(pair, other)
    pair.check_closed()


def test_auth_is_over_the_second_identity() -> None:
    """RFC 4739 §2.1: IDi' refers to the latest IDi payload."""
    pair = pair_of_two()

    def rename(payloads: list[Payload]) -> list[Payload]:
        return [
            replace(p, data=b"bob@example") if isinstance(p, IdPayload) else p
            for p in payloads
        ]

    change_message(pair, WEST, 2, rename)
    attempt(pair)
    assert "does not fit the key that EAP made" in closed_because(pair, EAST)
    pair.check_closed()


@pytest.mark.parametrize(
    ("change", "answer", "reason"),
    [
        (without(IdPayload), "N(INVALID_SYNTAX)", "no IDi"),
        (
            lambda payloads: [*payloads, AuthPayload(2, bytes(32))],
            FAILED,
            "AUTH where EAP has to begin",
        ),
    ],
    ids=["no IDi", "AUTH"],
)
def test_a_second_request_that_is_none(
    change: Callable[[list[Payload]], list[Payload]], answer: str, reason: str
) -> None:
    """RFC 4739 §2.3: IDi and nothing else."""
    pair = pair_of_two()
    change_message(pair, WEST, 2, change)
    attempt(pair)
    assert pair.said(EAST)[-1] == f"IKE_AUTH 2 response: {answer}"
    assert reason in closed_because(pair, EAST)
    pair.check_closed()


def test_a_second_response_without_eap() -> None:
    """The responder does not go on."""
    pair = pair_of_two()
    change_message(pair, EAST, 2, without(EapPayload))
    attempt(pair)
    assert "neither AUTH nor an error" in closed_because(pair, WEST)


def test_nobody_waits_for_ever() -> None:
    """RFC 7296 §2.21.2: both rounds together have the time of one IKE_AUTH."""
    pair = pair_of_two()
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    while not (pair.east.endpoint.tables.ike_sas and pair.ike(EAST).first_auth):
        assert pair.deliver()
    pair.wire.clear()
    pair.run(EAST, pair.east.endpoint.time_passed(31.0))
    assert not pair.east.endpoint.tables.ike_sas


def test_nothing_but_ike_auth_comes_between() -> None:
    """RFC 7296 §1.2: one proof of two opens nothing."""
    pair = pair_of_two()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    while not (pair.west.endpoint.tables.ike_sas and pair.ike(WEST).first_auth):
        assert pair.deliver()
    pair.wire.clear()
    west = pair.ike(WEST)
    assert west.protection is not None
    header = west.header(ExchangeType.CREATE_CHILD_SA, 2, is_response=False)
    said = pair.said(EAST)
    pair.inject(WEST, id, west.protection.seal(header, []))
    assert pair.said(EAST) == said
    assert pair.ike(EAST).first_auth
    assert not pair.ike(EAST).is_usable
