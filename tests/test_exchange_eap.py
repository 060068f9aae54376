"""IKE_AUTH in rounds: EAP between two endpoints. RFC 7296 §2.16, RFC 5998."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eap_parts import (
    USERS,
    password_authenticator,
    password_peer,
    tls_authenticator,
    tls_peer,
)
from iketcp.eap.method import (
    AuthenticatorMethod,
    EapAuthenticatorPolicy,
    EapPeerPolicy,
    PeerMethod,
)
from iketcp.eap.packets import EapCode, EapPacket, decode_packet
from iketcp.ike.identity import Identity, eap_identity
from iketcp.ike.payloads import (
    AuthPayload,
    EapPayload,
    IdPayload,
    NotifyPayload,
    SaPayload,
)
from iketcp.registry import AuthMethod, ExchangeType, NotifyType
from pair import EAST, SECRET, WEST, Pair, PoolPolicy, child_policy, ike_policy
from test_exchange_ike_auth import attempt, closed_because, in_ike_auth, without

ALICE = b"alice@example"
WEST_ID, EAST_ID = Identity.parse("west.example"), Identity.parse("east.example")
SUCCESS = EapPacket(EapCode.SUCCESS, 0).encode()


def eap_pair(peer=None, authenticator=None, *, west=None, east=None, **how):
    """West proves itself by EAP; east by its pre-shared key, unless EAP is alone."""
    alone = how.pop("alone", (False, False))
    asked = EapPeerPolicy(ALICE, peer or password_peer(), alone[0])
    asking = EapAuthenticatorPolicy(
        authenticator or password_authenticator(),
        is_identity_asked=how.pop("is_identity_asked", False),
        is_eap_only=alone[1],
        identities=how.pop("identities", frozenset()),
    )
    first = ike_policy(WEST, **{"eap_peer": asked, **(west or {})})
    second = ike_policy(EAST, **{"eap_authenticator": asking, **(east or {})})
    return Pair(west=first, east=second, **how)


def check_forgotten(pair):
    """A key of EAP is for AUTH only. RFC 7296 §2.16"""
    for name in (WEST, EAST):
        assert pair.ike(name).eap is None


# --- success ------------------------------------------------------------------------


def test_rounds():
    """Message by message: AUTH of the responder first, Child SA last. §2.16"""
    pair = attempt(eap_pair())
    west, east = pair.said(WEST), pair.said(EAST)
    heads = [line.split(":")[0] for line in west]
    assert heads == ["IKE_SA_INIT 0 request"] + [
        f"IKE_AUTH {number} request" for number in range(1, 5)
    ]
    assert west[1].startswith("IKE_AUTH 1 request: IDi(west.example), N(INIT")
    assert "AUTH" not in west[1].split(": ")[1]
    assert "SA(" in west[1]
    assert east[1].startswith("IKE_AUTH 1 response: IDr(east.example), AUTH(")
    assert "EAP(" in east[1]
    assert "SA(" not in east[1]
    assert "EAP(" in west[2]
    assert "EAP(" in west[3]
    assert east[3] == "IKE_AUTH 3 response: EAP(4 octets)"
    assert west[4].startswith("IKE_AUTH 4 request: AUTH(")
    assert east[4].startswith("IKE_AUTH 4 response: AUTH(")
    assert "SA(" in east[4]
    pair.check_agreement()
    pair.ping()
    check_forgotten(pair)


def test_responder_goes_by_what_eap_proved():
    """And not by IDi. RFC 7296 §2.16"""
    pair = attempt(eap_pair())
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    assert pair.ike(WEST).remote_identity == "east.example"


def test_responder_may_ask_for_the_identity():
    pair = attempt(eap_pair(is_identity_asked=True))
    assert len(pair.said(WEST)) == 6
    pair.check_agreement()


def test_nak_leads_to_another_method():
    """EAP-TLS is refused, then there is a password. RFC 3748 §5.3.1"""
    methods = {**tls_authenticator(), **password_authenticator()}
    pair = attempt(eap_pair(authenticator=methods))
    assert len(pair.said(WEST)) == 6
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("is_13", [True, False])
def test_certificates_by_eap_tls(is_13):
    pair = attempt(eap_pair(tls_peer(is_13=is_13), tls_authenticator()))
    pair.check_agreement()
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    pair.ping()
    check_forgotten(pair)


def test_eap_alone():
    """Both sides agree: no AUTH before EAP, and no pre-shared key. RFC 5998 §3"""
    pair = attempt(
        eap_pair(
            tls_peer(),
            tls_authenticator(),
            alone=(True, True),
            west={"secrets": {}},
            east={"secrets": {}},
        )
    )
    assert "N(EAP_ONLY_AUTHENTICATION)" in pair.said(WEST)[1]
    assert "AUTH(" not in pair.said(EAST)[1]
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("alone", [(True, False), (False, True)])
def test_eap_alone_takes_two(alone):
    """Who does not offer or agree gets AUTH. RFC 5998 §3"""
    pair = attempt(eap_pair(tls_peer(), tls_authenticator(), alone=alone))
    assert "AUTH(" in pair.said(EAST)[1]
    pair.check_agreement()


def test_eap_alone_is_not_for_passwords():
    """The responder has no safe method, so it proves itself first. RFC 5998 §4"""
    pair = attempt(eap_pair(alone=(True, True)))
    assert "AUTH(" in pair.said(EAST)[1]
    pair.check_agreement()


def test_eap_alone_leaves_unsafe_methods_out():
    """Both know passwords, too; nobody comes upon the idea. RFC 5998 §4"""
    pair = attempt(
        eap_pair(
            {**password_peer(), **tls_peer()},
            {**password_authenticator(), **tls_authenticator()},
            alone=(True, True),
        )
    )
    assert len(pair.said(WEST)) > 6
    pair.check_agreement()


def test_addresses_and_other_children():
    """What the first request asked for comes last; the lease is by EAP's name."""
    pool = PoolPolicy(("10.9.0.0/30",), ("10.1.0.53",))
    children = [
        (child_policy("net", "aes256gcm16"), child_policy("more", "aes256gcm16")),
        (
            child_policy(
                "net", "aes256gcm16", local="10.0.2.0/24", remote="10.0.1.0/24"
            ),
        ),
    ]
    pair = attempt(
        eap_pair(
            west={"request_families": (4,), "children": children[0]},
            east={"pool": pool, "children": children[1]},
        )
    )
    pair.check_agreement(children=2)
    (assigned,) = pair.ike(WEST).assigned
    pool_of_east = pair.east.endpoint.context.pool
    assert pool_of_east.lease("eap:alice@example", 4).ip == assigned.ip


def test_child_that_is_refused():
    """The IKE SA stands, and is of no use. RFC 7296 §2.21.2"""
    pair = attempt(eap_pair(west={"children": (child_policy(proposal="aes128gcm16"),)}))
    assert "N(NO_PROPOSAL_CHOSEN)" in pair.said(EAST)[4]
    pair.check_closed()


def test_rekeys_after_eap():
    pair = attempt(eap_pair())
    pair.rekey_ike(EAST)
    pair.settle()
    pair.rekey_child(WEST)
    pair.settle()
    pair.check_agreement()
    pair.ping()


def test_everything_comes_twice():
    """A repeated request is answered with the same octets. RFC 7296 §2.1"""
    pair = eap_pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(3):  # the stream prefix and IKE_SA_INIT
        pair.deliver()
    while pair.wire:
        sender, _, octets = pair.wire[0]
        pair.deliver()
        if sender == WEST:
            pair.wire.append((WEST, id, octets))
            pair.deliver_from(WEST)
    pair.check_agreement()
    answers = [octets for name, _, octets in pair.sent if name == EAST]
    assert len(answers) == 9  # to IKE_SA_INIT, and twice to each IKE_AUTH
    assert len(set(answers)) == 5


def test_connection_breaks_amid_the_rounds():
    """The request under way is repeated on the next one [9329-6.2-reconnect]."""
    pair = eap_pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(6):
        pair.deliver()
    assert pair.ike(EAST).eap is not None
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()


# --- a method without a key ----------------------------------------------------------


class KeylessPeer(PeerMethod):
    eap_type = 200
    may_succeed = True
    failure = ""
    msk = b""

    def respond(self, data):
        return b"me"

    def forget(self):
        pass


class KeylessAuthenticator(AuthenticatorMethod):
    eap_type = 200
    identity = b"somebody new"
    failure = ""
    msk = b""

    def begin(self, identifier):
        return b"who?"

    def receive(self, data, identifier):
        return None

    def forget(self):
        pass


def keyless(**how):
    return eap_pair(
        {200: lambda s: KeylessPeer()}, {200: lambda s: KeylessAuthenticator()}, **how
    )


def test_method_without_a_key():
    """AUTH is made with SK_pi and SK_pr. RFC 7296 §2.16"""
    pair = attempt(keyless())
    pair.check_agreement()
    assert pair.ike(EAST).remote_identity == "eap-hex:" + b"somebody new".hex()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"alice", "eap:alice"),
        ("jörg".encode(), "eap:jörg"),
        (b"", "eap-hex:"),
        (b"a b", "eap-hex:612062"),
        (b"\xff", "eap-hex:ff"),
        (b"a\n", "eap-hex:610a"),
        ("a\u00a0b".encode(), "eap-hex:61c2a062"),
    ],
)
def test_names_in_logs(data, text):
    assert eap_identity(data) == text


# --- refused ------------------------------------------------------------------------


def test_responder_that_does_not_know_the_password():
    """West gives up, says so, and east hears it. RFC 7296 §2.21.2"""
    users = {ALICE: USERS[b"bob"]}
    pair = eap_pair(authenticator=password_authenticator(users))

    def forge(payloads):
        (eap,) = [p for p in payloads if isinstance(p, EapPayload)]
        packet = decode_packet(eap.message)
        if packet.data[:1] != b"\x04":
            return payloads
        text = b"S=" + b"00" * 20
        data = bytes([3, packet.data[1], 0, 4 + len(text)]) + text
        return [EapPayload(replace(packet, data=data).encode())]

    attempt(pair, EAST, in_ike_auth(forge, is_response=True))
    assert pair.said(WEST)[-1] == "INFORMATIONAL 3 request: N(AUTHENTICATION_FAILED)"
    assert "does not know our password" in closed_because(pair, WEST)
    assert "AUTHENTICATION_FAILED" in closed_because(pair, EAST)
    pair.check_closed()


@pytest.mark.parametrize("round", [1, 2])
def test_success_too_early(round):
    """A canned Success. RFC 3748 §4.2"""
    pair = eap_pair()
    seen = []

    def hurry(payloads):
        seen.append(payloads)
        if len(seen) != round:
            return payloads
        (eap,) = [p for p in payloads if isinstance(p, EapPayload)]
        early = EapPacket(EapCode.SUCCESS, eap.message[1]).encode()
        return [EapPayload(early) if isinstance(p, EapPayload) else p for p in payloads]

    attempt(pair, EAST, in_ike_auth(hurry, is_response=True))
    assert "Success before the method is done" in closed_because(pair, WEST)
    pair.check_closed()


def test_replayed_eap_response():
    """The second round says again what the first one said. RFC 3748 §4.1"""
    pair = eap_pair()
    said = []

    def repeat(payloads):
        if isinstance(payloads[0], EapPayload):
            said.append(payloads)
            return said[0]
        return payloads

    attempt(pair, WEST, in_ike_auth(repeat, is_response=False))
    assert "Identifier" in closed_because(pair, EAST)
    pair.check_closed()


def test_replayed_eap_request():
    """The same answer goes out, and the other end has no use for it."""
    pair = eap_pair()
    said = []

    def repeat(payloads):
        eaps = [p for p in payloads if isinstance(p, EapPayload)]
        said.extend(eaps)
        return [said[0] if isinstance(p, EapPayload) else p for p in payloads]

    attempt(pair, EAST, in_ike_auth(repeat, is_response=True))
    assert "Identifier" in closed_because(pair, EAST)
    pair.advance(61.0)  # west has nobody left to wait for
    pair.check_closed()


def test_eap_goes_on_after_success():
    """The responder waits for AUTH. RFC 7296 §2.16"""

    def more(payloads):
        if isinstance(payloads[0], AuthPayload):
            return [EapPayload(SUCCESS)]
        return payloads

    pair = attempt(eap_pair(), WEST, in_ike_auth(more, is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 4 response: N(INVALID_SYNTAX)"
    pair.check_closed()


@pytest.mark.parametrize("kind", [EapPayload, AuthPayload])
def test_payload_is_missing_in_a_later_request(kind):
    def drop(payloads):
        is_later = isinstance(payloads[0], kind)
        return [] if is_later else payloads

    pair = attempt(eap_pair(), WEST, in_ike_auth(drop, is_response=False))
    assert "INVALID_SYNTAX" in pair.said(EAST)[-1]
    pair.check_closed()


@pytest.mark.parametrize("round", [2, 4])
@pytest.mark.parametrize("notify", [None, NotifyType.AUTHENTICATION_FAILED])
def test_payload_is_missing_in_a_later_response(round, notify):
    pair = eap_pair()
    seen = []

    def drop(payloads):
        seen.append(payloads)
        if len(seen) != round:
            return payloads
        return [] if notify is None else [NotifyPayload(notify)]

    attempt(pair, EAST, in_ike_auth(drop, is_response=True))
    expected = "neither AUTH nor an error" if notify is None else notify.name
    assert expected in closed_because(pair, WEST)
    assert not pair.west.endpoint.tables.ike_sas


def spoil_auth(payloads):
    return [
        replace(p, data=bytes(len(p.data))) if isinstance(p, AuthPayload) else p
        for p in payloads
    ]


def other_method(payloads):
    return [
        replace(p, method=AuthMethod.DIGITAL_SIGNATURE)
        if isinstance(p, AuthPayload)
        else p
        for p in payloads
    ]


@pytest.mark.parametrize("spoil", [spoil_auth, other_method])
def test_auth_of_the_initiator_does_not_fit(spoil):
    """Whoever went through EAP is not who sends AUTH. RFC 7296 §2.16"""
    pair = attempt(eap_pair(), WEST, in_ike_auth(spoil, is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 4 response: N(AUTHENTICATION_FAILED)"
    assert "does not fit the key that EAP made" in closed_because(pair, EAST)
    pair.check_closed()


@pytest.mark.parametrize("spoil", [spoil_auth, other_method])
def test_auth_of_the_responder_does_not_fit(spoil):
    pair = eap_pair()

    def last(payloads):
        return spoil(payloads) if isinstance(payloads[0], AuthPayload) else payloads

    attempt(pair, EAST, in_ike_auth(last, is_response=True))
    assert "does not fit the key that EAP made" in closed_because(pair, WEST)
    assert pair.said(WEST)[-1] == "INFORMATIONAL 5 request: N(AUTHENTICATION_FAILED)"
    pair.check_closed()


def test_responder_without_the_right_secret():
    """It is found out before we say anything in EAP."""
    pair = attempt(eap_pair(east={"secrets": {WEST_ID: b"another secret, wrong"}}))
    assert "does not fit" in closed_because(pair, WEST)
    assert not any("EAP(" in line for line in pair.said(WEST))
    assert pair.said(WEST)[-1] == "INFORMATIONAL 2 request: N(AUTHENTICATION_FAILED)"
    pair.check_closed()


def test_responder_without_any_secret():
    pair = attempt(eap_pair(east={"secrets": {}}))
    assert "no secret for west.example" in closed_because(pair, EAST)
    pair.check_closed()


@pytest.mark.parametrize("alone", [False, True])
def test_responder_that_begins_eap_without_proof(alone):
    """Only where we offered it, and only under the name that we expect. RFC 5998 §3"""
    named = {"local_identity": Identity.parse("mallory.example")}
    pair = eap_pair(
        tls_peer(),
        tls_authenticator(),
        alone=(alone, alone),
        east={**named, "secrets": {WEST_ID: SECRET}},
    )
    attempt(pair, EAST, in_ike_auth(without(AuthPayload), is_response=True))
    reason = "not east.example" if alone else "without any proof"
    assert reason in closed_because(pair, WEST)
    pair.check_closed()


def test_responder_that_lets_us_in_unproved():
    """An initiator that has to use EAP does so."""
    pair = attempt(eap_pair(east={"eap_authenticator": None}))
    assert "no EAP here" in closed_because(pair, EAST)
    pair = eap_pair()

    def bribe(payloads):
        return [p for p in payloads if not isinstance(p, EapPayload)]

    attempt(pair, EAST, in_ike_auth(bribe, is_response=True))
    assert "asks for no proof" in closed_because(pair, WEST)
    pair.check_closed()


def test_initiator_that_does_not_want_eap():
    pair = eap_pair(west={"eap_peer": None})

    def begin(payloads):
        return [*without(SaPayload)(payloads), EapPayload(SUCCESS)]

    attempt(pair)
    assert "everybody has to use EAP" in closed_because(pair, EAST)
    pair.check_closed()
    pair = attempt(Pair(), EAST, in_ike_auth(begin, is_response=True))
    assert "unasked" in closed_because(pair, WEST)


def test_first_request_without_a_child():
    """It is checked before EAP begins."""
    pair = attempt(eap_pair(), WEST, in_ike_auth(without(SaPayload), is_response=False))
    assert "INVALID_SYNTAX" in pair.said(EAST)[-1]
    pair.check_closed()


def test_first_request_without_idi():
    pair = attempt(eap_pair(), WEST, in_ike_auth(without(IdPayload), is_response=False))
    assert "INVALID_SYNTAX" in pair.said(EAST)[-1]


# --- half-open ------------------------------------------------------------------------


def amid_eap(**how):
    """Stop after the first round."""
    pair = eap_pair(**how)
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    for _ in range(4):
        pair.deliver()
    assert pair.ike(EAST).eap is not None
    return pair


def test_half_open_until_the_end():
    """It counts as such, and has the time of one IKE_AUTH for all its rounds."""
    pair = amid_eap(east={"half_open_seconds": 10.0})
    assert pair.east.endpoint.tables.half_open
    pair.wire.clear()
    conversation = pair.ike(EAST).eap.conversation
    pair.run(EAST, pair.east.endpoint.time_passed(10.0))
    assert "too long" in closed_because(pair, EAST)
    assert not pair.east.endpoint.tables.half_open
    assert conversation.msk == b""


def test_initiator_does_not_wait_for_ever():
    pair = amid_eap()
    pair.wire.clear()
    pair.run(WEST, pair.west.endpoint.time_passed(61.0))
    assert "no answer" in closed_because(pair, WEST)


@pytest.mark.parametrize("exchange", [ExchangeType.CREATE_CHILD_SA, 240])
def test_no_other_exchange_amid_eap(exchange):
    """Nothing but IKE_AUTH. RFC 7296 §1.2"""
    pair = amid_eap()
    pair.wire.clear()
    pair.ike(WEST).sent = None
    before = len(pair.said(EAST))
    pair.ask(WEST, exchange)
    assert pair.ike(EAST).eap is not None
    assert len(pair.said(EAST)) == before


def test_news_amid_eap_that_ends_nothing():
    """An INFORMATIONAL is answered; only a failure ends the IKE SA."""
    pair = amid_eap()
    pair.wire.clear()
    pair.ike(WEST).sent = None
    notify = NotifyPayload(NotifyType.INITIAL_CONTACT)
    assert pair.ask(WEST, ExchangeType.INFORMATIONAL, notify) == ()
    assert pair.ike(EAST).eap is not None


# --- any octets ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 4), st.booleans(), st.booleans())
def test_any_octets_in_eap(octets, which, is_response, is_tls):
    """Both sides end up without anything, or with the same."""
    methods = (tls_peer(), tls_authenticator()) if is_tls else (None, None)
    pair = eap_pair(*methods)
    seen = []

    def scramble(payloads):
        if not any(isinstance(p, EapPayload) for p in payloads):
            return payloads
        seen.append(payloads)
        if len(seen) - 1 != which:
            return payloads
        return [
            EapPayload(octets) if isinstance(p, EapPayload) else p for p in payloads
        ]

    sender = EAST if is_response else WEST
    attempt(pair, sender, in_ike_auth(scramble, is_response))
    if len(seen) <= which:
        pair.check_agreement()
        return
    assert not pair.west.traces("ike-sa-established")
    assert not pair.east.traces("ike-sa-established")


def test_conversation_of_too_many_rounds(monkeypatch):
    monkeypatch.setattr("iketcp.eap.authenticator.MAX_REQUESTS", 1)
    pair = attempt(eap_pair())
    assert "more than" in closed_because(pair, EAST)
    pair.check_closed()
