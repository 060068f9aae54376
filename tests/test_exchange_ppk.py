"""Post-quantum preshared keys between two endpoints. RFC 8784."""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from datagram_pair import DatagramPair
from iketcp.ike.credentials import Credential, Ppk, Proof, Trust
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import AuthPayload, NotifyPayload, Payload
from iketcp.ike.policy import IkePolicy
from iketcp.registry import AuthMethod, ExchangeType, NotifyType
from iketcp.stream import NON_ESP_MARKER, frame_ike
from pair import EAST, WEST, Pair, ike_policy
from test_exchange_authentication import IDS, PEER, raw
from test_exchange_crash_detection import SECRETS
from test_exchange_eap import eap_pair
from test_exchange_ike_auth import attempt, closed_because

KEY, OTHER_KEY = (
    b"a PPK of 32 octets for the tests",
    b"another PPK, as long as that one",
)
ID = b"tests-2026"
USE, PROOF = "N(USE_PPK)", "N(PPK_IDENTITY), N(NO_PPK_AUTH)"
FAILED = "N(AUTHENTICATION_FAILED)"


def ppk(side: str, is_mandatory: bool = False, **changes: object) -> Ppk:
    """The PPK that a side has for the other."""
    return replace(Ppk(ID, KEY, IDS[PEER[side]], is_mandatory), **changes)


def policy(side: str, *ppks: Ppk, **changes: object) -> IkePolicy:
    """Policy of a side with PPKs."""
    return ike_policy(side, ppks=ppks, **changes)


def both(west: bool = False, east: bool = False, **how: object) -> Pair:
    """Both have the PPK, mandatory or not."""
    return Pair(policy(WEST, ppk(WEST, west)), policy(EAST, ppk(EAST, east)), **how)


def is_used(pair: Pair) -> bool:
    """Whether the PPK is in use, by what both sides say and do."""
    pair.check_agreement()
    pair.ping()
    west, east = pair.ike(WEST), pair.ike(EAST)
    assert west.keys == east.keys
    used = {sa.ppk is not None for sa in (west, east)}
    assert len(used) == 1
    for side in (pair.west, pair.east):
        told = side.traces("ppk-used")
        assert told == ([{**told[0], "ppk_id": "tests-2026"}] if told else [])
        assert bool(told) is (True in used)
    return True in used


def mixed(keys: IkeKeys, key: bytes) -> IkeKeys:
    """RFC 8784 §3 by hand, for PRF_HMAC_SHA2_256: SK_d = prf (PPK, SK_d' | 0x01)."""
    sk_d, sk_pi, sk_pr = (
        hmac.digest(key, old + b"\1", "sha256")
        for old in (keys.sk_d, keys.sk_pi, keys.sk_pr)
    )
    return replace(keys, sk_d=sk_d, sk_pi=sk_pi, sk_pr=sk_pr)


def notify_changed(
    kind: NotifyType,
    change: Callable[[NotifyPayload], Sequence[Payload]],
    is_response: bool,
) -> Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None]:
    """Replace one kind of Notify in requests, or in responses."""

    def rewrite(
        header: Header, payloads: tuple[Payload, ...]
    ) -> Sequence[Payload] | None:
        found = find_notify(payloads, kind)
        if found is None or header.is_response != is_response:
            return None
        new: list[Payload] = []
        for payload in payloads:
            new += change(found) if payload is found else [payload]
        return new

    return rewrite


# --- used -----------------------------------------------------------------------------


@pytest.mark.parametrize("west", [False, True])
@pytest.mark.parametrize("east", [False, True])
def test_message_by_message(west: bool, east: bool) -> None:
    """RFC 8784 §3: who could do without offers a second AUTH."""
    pair = attempt(both(west, east))
    assert USE in pair.said(WEST)[0]
    assert USE in pair.said(EAST)[0]
    auth = "AUTH(SHARED_KEY_MESSAGE_INTEGRITY_CODE), "
    proof = "N(PPK_IDENTITY), " if west else f"{PROOF}, "
    assert auth + proof + "SA(" in pair.said(WEST)[1]
    assert auth + "N(PPK_IDENTITY), SA(" in pair.said(EAST)[1]
    assert is_used(pair)


def test_three_keys_change_and_four_stay() -> None:
    """RFC 8784 §3: what protects IKE_AUTH is as without PPK."""
    pair = both()
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    while not pair.east.endpoint.tables.ike_sas:
        pair.deliver()
    keys = pair.ike(EAST).keys
    pair.settle()
    assert keys is not None
    assert pair.ike(EAST).keys == pair.ike(WEST).keys == mixed(keys, KEY)


def test_what_is_sent() -> None:
    """RFC 8784 §3, RFC 8784 §5.1: protocol 0, no SPI; type octet before the PPK_ID."""
    pair = both()
    seen: dict[tuple[bool, int], NotifyPayload] = {}

    def look(header: Header, payloads: tuple[Payload, ...]) -> None:
        for payload in payloads:
            if isinstance(payload, NotifyPayload):
                seen[header.is_response, payload.notify_type] = payload

    pair.rewrite(WEST, look)
    attempt(pair)
    pair = both()
    pair.rewrite(EAST, look)
    attempt(pair)
    assert seen[False, 16435] == seen[True, 16435] == NotifyPayload(16435)
    assert seen[False, 16436] == NotifyPayload(16436, b"\x02tests-2026")
    assert len(seen[False, 16437].data) == 32
    assert seen[True, 16436] == NotifyPayload(16436)
    assert (True, 16437) not in seen


def test_one_of_several() -> None:
    """RFC 8784 §2: the initiator's first for this peer; the responder looks it up."""
    west = policy(
        WEST,
        ppk(WEST, id=b"for others", peer=Identity.parse("north.example")),
        ppk(WEST, id=b"for all", peer=None),
        ppk(WEST),
        ppk(WEST, id=b"second", key=OTHER_KEY),
    )
    east = policy(EAST, ppk(EAST, id=b"second", key=OTHER_KEY), ppk(EAST))
    assert is_used(attempt(Pair(west, east)))


@pytest.mark.parametrize("west", [False, True])
def test_one_for_a_group(west: bool) -> None:
    """RFC 8784 §5.2.2."""
    pair = attempt(
        Pair(policy(WEST, ppk(WEST, west, peer=None)), policy(EAST, ppk(EAST)))
    )
    assert is_used(pair)


def test_a_responder_whose_name_nobody_knows() -> None:
    """An initiator that takes anybody uses what is for everybody."""
    west = policy(WEST, ppk(WEST), ppk(WEST, peer=None), remote_identity=None)
    assert is_used(attempt(Pair(west, policy(EAST, ppk(EAST)))))


def test_rekeys_carry_it_on() -> None:
    """RFC 8784 §3: in SK_d alone; a rekey does not mix the PPK in once more."""
    pair = attempt(both())
    old = pair.ike(WEST).keys
    for name in (WEST, EAST):
        pair.rekey_child(name)
        pair.settle()
        pair.rekey_ike(name)
        pair.settle()
        pair.ping()
    pair.check_agreement()
    assert pair.ike(WEST).keys == pair.ike(EAST).keys != old
    assert "N(PPK_IDENTITY)" not in "".join(pair.said(WEST)[2:] + pair.said(EAST)[2:])


@pytest.mark.parametrize("prf", ["prfsha256", "prfsha384", "prfsha512"])
def test_each_prf(prf: str) -> None:
    """RFC 8784 §3: prf+ gives keys of the same size."""
    proposal = f"aes256-sha256-{prf}-x25519"
    pair = attempt(
        Pair(
            ike_policy(WEST, proposal, ppks=(ppk(WEST),)),
            ike_policy(EAST, proposal, ppks=(ppk(EAST),)),
        )
    )
    assert is_used(pair)


@pytest.mark.parametrize("is_mandatory", [False, True])
def test_after_further_key_exchanges(is_mandatory: bool) -> None:
    """RFC 9370 §2.2.2: SK_d, SK_pi and SK_pr are those of the last key exchange."""
    proposal = "aes256gcm16-prfsha256-x25519-ke1_mlkem768"
    pair = attempt(
        Pair(
            ike_policy(WEST, proposal, ppks=(ppk(WEST, is_mandatory),)),
            ike_policy(EAST, proposal, ppks=(ppk(EAST),)),
        )
    )
    assert [said.split()[0] for said in pair.said(WEST)] == [
        "IKE_SA_INIT",
        "IKE_INTERMEDIATE",
        "IKE_AUTH",
    ]
    assert is_used(pair)


@pytest.mark.parametrize("is_mandatory", [False, True])
def test_with_signatures(is_mandatory: bool) -> None:
    """RFC 8784 §3: the initiator may have to sign twice."""
    west = raw(WEST, ppks=(ppk(WEST, is_mandatory),))
    pair = attempt(Pair(west, raw(EAST, ppks=(ppk(EAST),))))
    assert ("N(NO_PPK_AUTH)" in pair.said(WEST)[1]) is not is_mandatory
    assert is_used(pair)


def test_after_cookie_and_another_method() -> None:
    """RFC 8784 §3: the repeated request has USE_PPK as the first one had."""
    offer = "aes256gcm16-prfsha256-ecp256-x25519"
    west = ike_policy(WEST, offer, ppks=(ppk(WEST, True),))
    east = policy(EAST, ppk(EAST, True), is_cookie_required=True)
    pair = attempt(Pair(west, east))
    requests = [said for said in pair.said(WEST) if said.startswith("IKE_SA_INIT")]
    assert len(requests) == 3
    assert all(said.endswith(USE) for said in requests)
    assert is_used(pair)


def test_beside_tokens_of_crash_detection() -> None:
    """RFC 6290 §4.2: both go behind AUTH, and know nothing of each other."""
    west, east = (
        policy(name, ppk(name), crash_secret=SECRETS[name]) for name in (WEST, EAST)
    )
    pair = attempt(Pair(west, east))
    assert "N(PPK_IDENTITY), N(QCD_TOKEN)" in pair.said(EAST)[1]
    assert "N(NO_PPK_AUTH), N(QCD_TOKEN)" in pair.said(WEST)[1]
    assert len(pair.ike(WEST).crash_tokens) == len(pair.ike(EAST).crash_tokens) == 1
    assert is_used(pair)


@pytest.mark.parametrize(
    "addresses", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
)
def test_over_udp(addresses: tuple[str, str]) -> None:
    """The same over datagrams, IPv4 and IPv6."""
    pair = DatagramPair(
        policy(WEST, ppk(WEST, True)),
        policy(EAST, ppk(EAST, True)),
        addresses=addresses,
    )
    pair.up()
    assert pair.ike(WEST).ppk is not None
    assert pair.ike(EAST).ppk is not None
    assert pair.ike(WEST).keys == pair.ike(EAST).keys


def test_over_tcp_and_ipv6() -> None:
    """And over a stream."""
    assert is_used(attempt(both(addresses=("2001:db8::1", "2001:db8::2"))))


def test_it_is_forgotten() -> None:
    """With the IKE SA."""
    pair = attempt(both())
    west, east = pair.ike(WEST), pair.ike(EAST)
    pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
    pair.settle()
    assert west.ppk is east.ppk is west.keys is east.keys is None
    assert KEY.decode() not in repr(ppk(WEST))


# --- not used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("west", "east", "is_answered"),
    [
        ((ppk(WEST),), (), False),
        ((), (ppk(EAST),), False),
        ((ppk(WEST, peer=Identity.parse("north.example")),), (ppk(EAST),), False),
        ((ppk(WEST),), (ppk(EAST, id=b"another"),), True),
        ((ppk(WEST),), (ppk(EAST, peer=Identity.parse("north.example")),), True),
    ],
    ids=["only west", "only east", "for north", "another PPK_ID", "north's"],
)
def test_while_not_everybody_has_it(
    west: tuple[Ppk, ...], east: tuple[Ppk, ...], is_answered: bool
) -> None:
    """RFC 8784 §4: as long as it is optional, nothing is disrupted."""
    pair = attempt(Pair(policy(WEST, *west), policy(EAST, *east)))
    assert (USE in pair.said(EAST)[0]) is is_answered
    assert ("PPK" in pair.said(WEST)[1]) is is_answered
    assert "PPK" not in pair.said(EAST)[1]
    assert not is_used(pair)


def test_what_is_not_used_is_told() -> None:
    """RFC 8784 §6: the event should be audited, by whoever has a PPK for the other."""
    pair = attempt(Pair(policy(WEST, ppk(WEST)), policy(EAST, ppk(EAST, id=b"x"))))
    for name in (WEST, EAST):
        (told,) = pair.side(name).traces("ppk-unused")
        assert told["peer"] == str(IDS[PEER[name]])
    pair = attempt(Pair())
    assert not pair.west.traces("ppk-unused") + pair.east.traces("ppk-unused")


def test_opaque_ids_are_not_known() -> None:
    """RFC 8784 §5.1: their meaning is a matter of the two peers; ours have none."""
    pair = both()
    pair.rewrite(
        WEST,
        notify_changed(
            NotifyType.PPK_IDENTITY, lambda p: [replace(p, data=b"\1" + ID)], False
        ),
    )
    attempt(pair)
    assert not is_used(pair)


@pytest.mark.parametrize("data", [b"", b"\2", ID, b"\2" + ID + b"\0", b"\2TESTS-2026"])
def test_ids_are_compared_octet_by_octet(data: bytes) -> None:
    """RFC 8784 §5.1: a PPK_ID is an octet string, with its type before it."""
    pair = both()
    pair.rewrite(
        WEST,
        notify_changed(
            NotifyType.PPK_IDENTITY, lambda p: [replace(p, data=data)], False
        ),
    )
    attempt(pair)
    assert not is_used(pair)


def test_an_answer_with_data_is_an_answer() -> None:
    """RFC 8784 §3: what the responder's PPK_IDENTITY holds is ignored."""
    pair = both()
    pair.rewrite(
        EAST,
        notify_changed(
            NotifyType.PPK_IDENTITY, lambda p: [replace(p, data=b"\2another")], True
        ),
    )
    assert is_used(attempt(pair))


def test_words_about_ppks_that_nobody_asked_for() -> None:
    """RFC 7296 §3.10.1: unknown status types are ignored."""
    pair = Pair()

    def change(header: Header, payloads: tuple[Payload, ...]) -> Sequence[Payload]:
        if header.exchange_type == ExchangeType.IKE_SA_INIT:
            return payloads
        more = NotifyPayload(NotifyType.PPK_IDENTITY, b"\2x")
        return [*payloads, more, NotifyPayload(NotifyType.NO_PPK_AUTH, bytes(32))]

    for name in (WEST, EAST):
        pair = Pair()
        pair.rewrite(name, change)
        attempt(pair)
        assert not is_used(pair)


# --- refused --------------------------------------------------------------------------


def test_an_initiator_that_insists() -> None:
    """RFC 8784 §3: without USE_PPK in the response it aborts."""
    pair = attempt(Pair(policy(WEST, ppk(WEST, True)), ike_policy(EAST)))
    assert "uses no PPK, and we insist" in closed_because(pair, WEST)
    assert len(pair.said(WEST)) == 1


@pytest.mark.parametrize("is_eap", [False, True])
def test_a_responder_that_insists(is_eap: bool) -> None:
    """RFC 8784 §3, Table 1: no USE_PPK, configured, mandatory; EAP does not begin."""
    if is_eap:
        pair = eap_pair(east={"ppks": (ppk(EAST, True),)})
    else:
        pair = Pair(ike_policy(WEST), policy(EAST, ppk(EAST, True)))
    attempt(pair)
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    assert "west.example offers no PPK" in closed_because(pair, EAST)
    pair.check_closed()


def test_a_responder_that_insists_on_others() -> None:
    """RFC 8784 §2: mandatory or not is a matter of each peer."""
    others = ppk(EAST, True, peer=Identity.parse("north.example"))
    assert not is_used(attempt(Pair(ike_policy(WEST), policy(EAST, others))))
    everybody = ppk(EAST, True, id=b"x", peer=None)
    pair = Pair(ike_policy(WEST), policy(EAST, everybody, ppk(EAST)))
    assert not is_used(attempt(pair))


@pytest.mark.parametrize(
    ("west", "east"),
    [
        (ppk(WEST, True), ppk(EAST, id=b"another")),
        (ppk(WEST), ppk(EAST, True, id=b"another")),
        (ppk(WEST, True), ppk(EAST, peer=Identity.parse("north.example"))),
    ],
    ids=["west insists", "east insists", "not for west"],
)
def test_no_common_ppk(west: Ppk, east: Ppk) -> None:
    """RFC 8784 §3, Table 1: AUTHENTICATION_FAILED."""
    pair = attempt(Pair(policy(WEST, west), policy(EAST, east)))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    assert "that west.example names is not one" in closed_because(pair, EAST)
    pair.check_closed()


@pytest.mark.parametrize("is_mandatory", [False, True])
@pytest.mark.parametrize("signs", [False, True])
def test_another_key_under_the_same_id(is_mandatory: bool, signs: bool) -> None:
    """RFC 8784 §3: AUTH does not fit, and NO_PPK_AUTH is not looked at."""
    make = raw if signs else ike_policy
    west = make(WEST, ppks=(ppk(WEST, is_mandatory),))
    pair = attempt(Pair(west, make(EAST, ppks=(ppk(EAST, key=OTHER_KEY),))))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"
    pair.check_closed()


def test_use_ppk_without_identity() -> None:
    """RFC 8784 §3: AUTHENTICATION_FAILED, though both could do without."""
    pair = both()
    pair.rewrite(
        WEST, notify_changed(NotifyType.PPK_IDENTITY, lambda p: [], is_response=False)
    )
    attempt(pair)
    assert "no PPK_IDENTITY after USE_PPK" in closed_because(pair, EAST)
    assert pair.said(EAST)[-1] == f"IKE_AUTH 1 response: {FAILED}"


def test_a_wrong_second_auth() -> None:
    """RFC 8784 §3: NO_PPK_AUTH is authentication data as any."""
    pair = Pair(policy(WEST, ppk(WEST)), policy(EAST, ppk(EAST, id=b"another")))
    pair.rewrite(
        WEST,
        notify_changed(
            NotifyType.NO_PPK_AUTH, lambda p: [replace(p, data=bytes(32))], False
        ),
    )
    attempt(pair)
    assert "does not fit" in closed_because(pair, EAST)


@pytest.mark.parametrize("is_mandatory", [False, True])
def test_a_responder_that_does_not_confirm(is_mandatory: bool) -> None:
    """RFC 8784 §3: told in an INFORMATIONAL where we insist; else AUTH shows it."""
    pair = both(west=is_mandatory)
    pair.rewrite(
        EAST, notify_changed(NotifyType.PPK_IDENTITY, lambda p: [], is_response=True)
    )
    attempt(pair)
    reason = "does not use the PPK" if is_mandatory else "does not fit"
    assert reason in closed_because(pair, WEST)
    assert pair.said(WEST)[-1] == f"INFORMATIONAL 2 request: {FAILED}"
    pair.check_closed()


@pytest.mark.parametrize("sender", [WEST, EAST])
@pytest.mark.parametrize("is_added", [False, True])
def test_downgrade(sender: str, is_added: bool) -> None:
    """RFC 8784 §6: with a pre-shared key, USE_PPK cannot be taken away unnoticed.

    Nor can it be added: AUTH covers IKE_SA_INIT.
    """
    pair = Pair() if is_added else both()

    def change(octets: bytes) -> bytes:
        message = decode_message(octets)
        kept = [
            p
            for p in message.payloads
            if not isinstance(p, NotifyPayload) or p.notify_type != NotifyType.USE_PPK
        ]
        if is_added:
            kept.append(NotifyPayload(NotifyType.USE_PPK))
        return encode_message(message.header, kept)

    def tap(name: str, id: object, octets: bytes) -> bytes:
        is_ike = octets[2:6] == NON_ESP_MARKER
        if name != sender or not is_ike or octets[24] != ExchangeType.IKE_SA_INIT:
            return octets
        return frame_ike(change(octets[6:]))

    pair.tap = tap
    attempt(pair)
    assert pair.said(WEST)[1:]
    assert "AUTHENTICATION_FAILED" in "".join(pair.said(EAST) + pair.said(WEST))
    pair.check_closed()


def test_over_udp_we_wait_for_the_responder() -> None:
    """RFC 8784 §6: a response without USE_PPK may be anybody's; ours comes second."""
    pair = DatagramPair(policy(WEST, ppk(WEST, True)), policy(EAST, ppk(EAST)))
    stranger = DatagramPair(policy(WEST, ppk(WEST)), ike_policy(EAST))
    for each in (pair, stranger):
        each.begin()
        each.deliver()
    (forged,) = stranger.wire
    pair.wire.appendleft(forged)
    pair.settle()
    pair.check_up()
    assert pair.ike(WEST).ppk is not None
    assert sum(pair.dropped(WEST).values()) == 1


def test_over_udp_we_do_not_wait_for_ever() -> None:
    """RFC 8784 §6: the exchange times out, and says what it was about."""
    pair = DatagramPair(policy(WEST, ppk(WEST, True)), ike_policy(EAST))
    pair.begin()
    pair.settle()
    total = pair.ike(WEST).policy.retransmission.total_seconds
    pair.advance(total / 2)
    assert len(pair.of(WEST)) > 3
    assert not pair.west.traces("ike-sa-closed")
    pair.advance(total)
    (closed,) = pair.west.traces("ike-sa-closed")
    assert "uses no PPK, and we insist" in str(closed["reason"])


# --- EAP ------------------------------------------------------------------------------


def eap_with(west: Ppk | None, east: Ppk | None) -> Pair:
    """West proves itself by EAP; both may have a PPK."""
    return eap_pair(
        west={"ppks": () if west is None else (west,)},
        east={"ppks": () if east is None else (east,)},
    )


@pytest.mark.parametrize("is_mandatory", [False, True])
def test_eap(is_mandatory: bool) -> None:
    """RFC 8784 §3: with the last AUTH; the responder's first one is without PPK."""
    pair = attempt(eap_with(ppk(WEST, is_mandatory), ppk(EAST, is_mandatory)))
    proof = "N(PPK_IDENTITY)" if is_mandatory else PROOF
    assert "PPK" not in "".join(pair.said(WEST)[1:-1] + pair.said(EAST)[1:-1])
    assert pair.said(WEST)[-1].endswith(f"INTEGRITY_CODE), {proof}")
    assert "INTEGRITY_CODE), N(PPK_IDENTITY), SA(" in pair.said(EAST)[-1]
    assert is_used(pair)


def test_eap_without() -> None:
    """RFC 8784 §3: NO_PPK_AUTH is made with what EAP made, too."""
    pair = attempt(eap_with(ppk(WEST), ppk(EAST, id=b"another")))
    assert pair.said(WEST)[-1].endswith(PROOF)
    assert not is_used(pair)


def test_eap_and_no_common_ppk() -> None:
    """RFC 8784 §3: AUTHENTICATION_FAILED after all the rounds."""
    pair = attempt(eap_with(ppk(WEST, True), ppk(EAST, id=b"another")))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 4 response: {FAILED}"
    pair.check_closed()


def test_eap_and_another_key() -> None:
    """The key that EAP made is right; SK_pi is not."""
    pair = attempt(eap_with(ppk(WEST), ppk(EAST, key=OTHER_KEY)))
    assert pair.said(EAST)[-1] == f"IKE_AUTH 4 response: {FAILED}"
    assert "does not fit the key that EAP made" in closed_because(pair, EAST)


def test_eap_and_no_auth() -> None:
    """AUTH is as needed as ever."""
    pair = eap_with(ppk(WEST), ppk(EAST))

    def drop(header: Header, payloads: tuple[Payload, ...]) -> Sequence[Payload] | None:
        kept = [p for p in payloads if not isinstance(p, AuthPayload)]
        return kept if len(kept) < len(payloads) else None

    pair.rewrite(WEST, drop)
    attempt(pair)
    assert pair.said(EAST)[-1] == "IKE_AUTH 4 response: N(INVALID_SYNTAX)"


# --- nothing else to prove an identity ------------------------------------------------

NULL = {"credential": Credential(Proof.NULL), "trust": Trust(frozenset({Proof.NULL}))}


def test_a_ppk_alone() -> None:
    """RFC 8784 §5.2.3: it shows who the peer is; NO_PPK_AUTH is never offered."""
    pair = attempt(
        Pair(policy(WEST, ppk(WEST), **NULL), policy(EAST, ppk(EAST), **NULL))
    )
    assert is_used(pair)
    assert "N(NO_PPK_AUTH)" not in pair.said(WEST)[1]
    assert pair.ike(EAST).remote_identity == "west.example"
    assert pair.ike(WEST).remote_identity == "east.example"


def test_a_ppk_of_a_group_shows_no_single_peer() -> None:
    """RFC 8784 §5.2.3: any member could say that it was any other."""
    group = (ppk(WEST, peer=None),)
    pair = attempt(Pair(policy(WEST, *group, **NULL), policy(EAST, *group, **NULL)))
    assert is_used(pair)
    assert pair.ike(EAST).remote_identity.startswith("ID_NULL:")


def test_a_ppk_alone_is_that_of_the_expected_peer() -> None:
    """RFC 7296 §2.21.2: whoever it is, another one is expected."""
    east = policy(EAST, ppk(EAST), **NULL, remote_identity=Identity.parse("n.example"))
    pair = attempt(Pair(policy(WEST, ppk(WEST), **NULL), east))
    assert "west.example, not n.example" in closed_because(pair, EAST)


@pytest.mark.parametrize("side", [WEST, EAST])
def test_a_ppk_alone_is_mandatory(side: str) -> None:
    """RFC 8784 §5.2.3: who has one takes nobody without."""
    ppks = {WEST: (ppk(WEST),), EAST: (ppk(EAST),), side: ()}
    pair = attempt(Pair(*(policy(name, *ppks[name], **NULL) for name in (WEST, EAST))))
    assert "we insist" in closed_because(pair, PEER[side])
    assert not pair.west.endpoint.tables.ike_sas
    assert not any(each.traces("ike-sa-established") for each in (pair.west, pair.east))


def test_null_is_never_the_second_auth() -> None:
    """RFC 8784 §5.2.3: an initiator that offers to do without is not believed."""
    east = policy(EAST, ppk(EAST, peer=Identity.parse("north.example")), **NULL)
    pair = Pair(policy(WEST, ppk(WEST), **NULL), east)

    def add(header: Header, payloads: tuple[Payload, ...]) -> Sequence[Payload]:
        if header.exchange_type != ExchangeType.IKE_AUTH:
            return payloads
        return [*payloads, NotifyPayload(NotifyType.NO_PPK_AUTH, bytes(32))]

    pair.rewrite(WEST, add)
    attempt(pair)
    assert "is not one of its" in closed_because(pair, EAST)
    assert AuthMethod.NULL.name in pair.said(WEST)[1]
