"""What goes wrong in the initial exchanges: who says what, who ends, what is told.

One table for each of the three ways: in IKE_SA_INIT an error goes in the clear, and the
responder keeps nothing; in IKE_AUTH it is protected, ends the IKE SA without a Delete
payload, and gives no reason away; what fails beside a good authentication ends no more
than the Child SA. Each row over TCP and over UDP.

Errors after that are in :mod:`test_exchange_informational` and
:mod:`test_exchange_create_child_sa`, what comes twice or in disorder is in
:mod:`test_exchange_replays`, and every way to spoil a certificate in
:mod:`test_certificates`.

Source: RFC 7296 §2.21
Source: RFC 7296 §2.21.1
Source: RFC 7296 §2.21.2
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from attacker import Change, added, flipped, header, sit_between, swapped
from certificate_factory import DAY, TODAY, crl_of, usage
from datagram_pair import DatagramPair
from eap_parts import (
    USERS,
    issue,
    password_authenticator,
    password_peer,
    tls_authenticator,
    tls_peer,
)
from iketcp.eap.method import EapAuthenticatorPolicy, EapPeerPolicy
from iketcp.ike.credentials import Proof, Trust
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    UnknownPayload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.registry import (
    ExchangeType,
    KeyExchangeMethod,
    NotifyType,
    PayloadType,
    name_of,
)
from outcomes import (
    AnyPair,
    check_all_is_gone,
    check_protected,
    check_secrecy,
    messages,
)
from pair import EAST, SECRET, WEST, Pair, PoolPolicy, child_policy, ike_policy
from test_exchange_authentication import KEYS as RAW_KEYS
from test_exchange_authentication import raw
from test_exchange_certificates import (
    MIDDLE,
    OTHER,
    ROOT,
    SERIALS,
    certified,
    credential,
)
from test_exchange_certificates import policy as with_certificate

TRANSPORTS = ["tcp", "udp"]
PEER = {WEST: EAST, EAST: WEST}
WRONG = b"another secret, and quite wrong"
SECRETS = [SECRET, WRONG, b"correct horse", *USERS.values()]
"""None of which is ever told: not even of a wrong one."""


# --- one attempt ----------------------------------------------------------------------


def begun(transport: str, west: IkePolicy, east: IkePolicy) -> AnyPair:
    """Let west begin; nothing has arrived yet."""
    if transport == "udp":
        datagrams = DatagramPair(west, east, date=TODAY)
        datagrams.begin()
        return datagrams
    pair = Pair(west, east, date=TODAY)
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    return pair


def attempt(
    transport: str,
    policies: dict[str, IkePolicy],
    changes: dict[str, Change] | None = None,
) -> AnyPair:
    """Let west begin, and wait until nobody waits any more."""
    west = policies.get(WEST) or ike_policy(WEST)
    east = policies.get(EAST) or ike_policy(EAST)
    pair = begun(transport, west, east)
    if changes is not None:
        sit_between(pair, changes)
    pair.settle()
    pair.advance(400.0)
    return pair


# --- IKE_SA_INIT ----------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """A request that is refused in the clear."""

    what: str
    notify: NotifyType
    data: bytes = b""
    policies: dict[str, IkePolicy] = field(default_factory=dict, repr=False)
    change: Change = field(default=lambda octets: octets, repr=False)

    def __str__(self) -> str:
        """Name the test."""
        return self.what


STRANGE = UnknownPayload(200, b"", critical=True)
REFUSED_IN_THE_CLEAR = [
    Refusal(
        "no proposal in common",
        NotifyType.NO_PROPOSAL_CHOSEN,
        policies={WEST: ike_policy(WEST, "aes128gcm16-prfsha256-x25519")},
    ),
    Refusal(
        "no key exchange method in common",
        NotifyType.NO_PROPOSAL_CHOSEN,
        policies={WEST: ike_policy(WEST, "aes256gcm16-prfsha256-x448")},
    ),
    Refusal(
        "a payload is missing", NotifyType.INVALID_SYNTAX, change=swapped(NoncePayload)
    ),
    Refusal(
        "a payload comes twice",
        NotifyType.INVALID_SYNTAX,
        change=added(NoncePayload(bytes(32))),
    ),
    Refusal(
        "a length that cannot be", NotifyType.INVALID_SYNTAX, change=flipped(30, 0xFF)
    ),
    Refusal(
        "an unknown payload is critical",
        NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
        bytes([200]),
        change=added(STRANGE),
    ),
    Refusal(
        "a later major version",
        NotifyType.INVALID_MAJOR_VERSION,
        change=header(major_version=3),
    ),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("row", REFUSED_IN_THE_CLEAR, ids=str)
def test_refused_in_the_clear(transport: str, row: Refusal) -> None:
    """One Notify with what the RFC puts into it, no state, and no IKE_AUTH. §2.21.1.

    Over TCP west gives up at once (RFC 9329 §6.4), over UDP after a while, for anybody
    might have sent it.
    """
    pair = attempt(transport, row.policies, {WEST: row.change})
    answers = [decode_message(octets) for octets in messages(pair, EAST)]
    assert answers
    for answer in answers:
        assert answer.payloads == (NotifyPayload(row.notify, row.data),)
        assert answer.header.spi_r == bytes(8)
        assert answer.header.exchange_type == ExchangeType.IKE_SA_INIT
        assert answer.header.major_version == 2
    assert all(line.startswith("IKE_SA_INIT") for line in pair.west.said())
    assert pair.east.traces("ike-sa-closed") == []
    assert pair.west.closed_because().endswith(f"answers {row.notify.name}")
    check_all_is_gone(pair)
    check_secrecy(pair, *SECRETS)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_group_that_the_responder_does_not_have(transport: str) -> None:
    """INVALID_KE_PAYLOAD with the one it wants; the next attempt is good. §2.21.1."""
    west = ike_policy(WEST, "aes256gcm16-prfsha256-x25519-ecp256")
    east = ike_policy(EAST, "aes256gcm16-prfsha256-ecp256")
    pair = begun(transport, west, east)
    pair.settle()
    first = decode_message(messages(pair, EAST)[0])
    wanted = int(KeyExchangeMethod.ECP_256).to_bytes(2, "big")
    assert first.payloads == (NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, wanted),)
    assert len(pair.west.said()) == 3
    pair.ping()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_group_that_was_tried_already(transport: str) -> None:
    """It is of no use to ask for it again: over TCP that is the end. §2.21.1."""
    spoil = swapped(KePayload, KePayload(KeyExchangeMethod.ECP_256, bytes(64)))
    pair = attempt(transport, {}, {WEST: spoil})
    assert {line.split(": ")[1] for line in pair.east.said()} == {
        "N(INVALID_KE_PAYLOAD)"
    }
    reason = {"tcp": "the responder wants method 31", "udp": "no answer for 300 s"}
    assert pair.west.closed_because() == reason[transport]
    check_all_is_gone(pair)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("size", [32, 31])
def test_a_public_value_that_cannot_be_is_not_answered(
    transport: str, size: int
) -> None:
    """RFC 6989 §2.5: dropped; west waits for nothing in the end."""
    bad = KePayload(KeyExchangeMethod.CURVE25519, bytes(size))
    pair = attempt(transport, {}, {WEST: swapped(KePayload, bad)})
    assert messages(pair, EAST) == []
    assert pair.east.endpoint.counters.dropped["InvalidPublicValueError"]
    assert pair.west.closed_because().startswith("no answer for ")
    check_all_is_gone(pair)


# --- IKE_AUTH -------------------------------------------------------------------------

Policies = Callable[[str], dict[str, IkePolicy]]
"""The policies of both sides by the side that is at fault."""


@dataclass(frozen=True)
class Failure:
    """An authentication that fails."""

    what: str
    policies: Policies = field(repr=False)
    reason: str
    """What the side logs that refuses: the other than the one at fault."""
    at_fault: tuple[str, ...] = (WEST, EAST)
    refuses: str = ""
    """Who refuses, where that is the same side whoever is at fault."""
    is_eap: bool = False
    """East says it with EAP Failure."""

    def __str__(self) -> str:
        """Name the test."""
        return self.what


def one(make: Callable[..., IkePolicy], **changes: object) -> Policies:
    """Both sides by one recipe; the one at fault with changes."""
    return lambda side: {
        side: make(side, **changes),
        PEER[side]: make(PEER[side]),
    }


def spoiled(**changes: object) -> Policies:
    """Certificates on both sides; that of the side at fault is issued like this."""
    return lambda side: {
        side: with_certificate(side, certified(side, **changes)),
        PEER[side]: with_certificate(PEER[side]),
    }


def revoked(side: str) -> dict[str, IkePolicy]:
    """The other side has a list of revoked certificates."""
    crls = (crl_of(ROOT, [SERIALS[side]]),)
    trust = Trust(frozenset({Proof.CERTIFICATE}), (ROOT.certificate,), crls)
    return {
        side: with_certificate(side),
        PEER[side]: with_certificate(PEER[side], trust=trust),
    }


def other_key(side: str) -> dict[str, IkePolicy]:
    """The signature is not of the key in the certificate."""
    key = RAW_KEYS["mallory" if side == WEST else "rsa"]
    wrong = replace(credential(certified(side)), key=key)
    return {
        side: with_certificate(side, credential=wrong),
        PEER[side]: with_certificate(PEER[side]),
    }


def a_secret_for_a_certificate(side: str) -> dict[str, IkePolicy]:
    """A side that knows the secret, and has no certificate."""
    proofs = ike_policy(side, trust=with_certificate(side).trust)
    theirs = with_certificate(PEER[side], secrets={ID[side]: SECRET})
    return {side: proofs, PEER[side]: theirs}


def eap(
    peer: object = None, authenticator: object = None, **asking: object
) -> Policies:
    """West proves itself by EAP, and east by its secret."""
    client = EapPeerPolicy(b"alice@example", peer or password_peer())
    methods = authenticator or password_authenticator()
    server = EapAuthenticatorPolicy(methods, **asking)
    return lambda side: {
        WEST: ike_policy(WEST, eap_peer=client),
        EAST: ike_policy(EAST, eap_authenticator=server),
    }


ID = {side: Identity.parse(f"{side}.example") for side in (WEST, EAST)}
MALLORY = Identity.parse("mallory.example")
NO_SIGNING = [(usage("key_encipherment"), True)]

FAILURES = [
    Failure(
        "a wrong secret",
        lambda side: {side: ike_policy(side, secrets={ID[PEER[side]]: WRONG})},
        "the secret of west.example does not fit",
        refuses=EAST,
    ),
    Failure(
        "no secret for the peer",
        lambda side: {EAST: ike_policy(EAST, secrets={})},
        "no secret for west.example",
        at_fault=(EAST,),
        refuses=EAST,
    ),
    Failure(
        "another identity",
        one(ike_policy, local_identity=MALLORY),
        "the peer is mallory.example, not {}.example",
    ),
    Failure("an expired certificate", spoiled(end=TODAY - DAY), "has expired"),
    Failure(
        "a certificate that is not valid yet",
        spoiled(begin=TODAY + DAY),
        "is not valid yet",
    ),
    Failure(
        "a certificate with another name",
        spoiled(names=["mallory.example"]),
        "is not of {}.example",
    ),
    Failure(
        "a certificate of another authority", spoiled(issuer=OTHER), "that we trust"
    ),
    Failure(
        "a certificate without the one between", spoiled(issuer=MIDDLE), "that we trust"
    ),
    Failure(
        "a certificate for another use",
        spoiled(extensions=NO_SIGNING),
        "is not for signing",
    ),
    Failure("a revoked certificate", revoked, "is revoked"),
    Failure("a bad signature", other_key, "signature is wrong"),
    Failure(
        "a public key that is not known",
        lambda side: {
            side: raw(side, RAW_KEYS["mallory"]),
            PEER[side]: raw(PEER[side]),
        },
        "this public key is not known of {}.example",
    ),
    Failure(
        "a secret where a signature is asked for",
        a_secret_for_a_certificate,
        "no proof by psk is taken here",
    ),
    Failure(
        "a wrong password",
        eap(password_peer("wrong")),
        "unknown user or wrong password",
        at_fault=(WEST,),
        is_eap=True,
    ),
    Failure(
        "an unknown user",
        eap(password_peer(name=b"mallory")),
        "unknown user or wrong password",
        at_fault=(WEST,),
        is_eap=True,
    ),
    Failure(
        "a user who may not come in",
        eap(identities=frozenset({b"bob"})),
        "may not come in",
        at_fault=(WEST,),
        is_eap=True,
    ),
    Failure(
        "no EAP method in common",
        eap(tls_peer()),
        "none of our EAP methods",
        at_fault=(WEST,),
        is_eap=True,
    ),
    Failure(
        "a client certificate of nobody's",
        eap(tls_peer(issue("mallory")), tls_authenticator()),
        "EAP: ",
        at_fault=(WEST,),
        is_eap=True,
    ),
    Failure(
        "a server certificate of nobody's",
        eap(tls_peer(), tls_authenticator(issue("gw.example"))),
        "EAP: ",
        at_fault=(EAST,),
        refuses=EAST,
        is_eap=True,
    ),
    Failure(
        "a server certificate of another name",
        eap(tls_peer(names=(b"other.example",)), tls_authenticator()),
        "EAP: ",
        at_fault=(EAST,),
        refuses=EAST,
        is_eap=True,
    ),
]
"""EAP-TLS tells the server what is wrong with it by an alert, so east refuses, too."""

ROWS = [(row, side) for row in FAILURES for side in row.at_fault]


def refused_by_east(pair: AnyPair, row: Failure) -> None:
    """The Notify, and usually nothing else, in the protected response. §2.21.2.

    After EAP Failure AUTHENTICATION_FAILED is not sent. RFC 7296 §2.21.
    """
    exchange, _, answer = pair.east.said()[-1].partition(" response: ")
    assert exchange.startswith("IKE_AUTH ")
    assert answer == ("EAP(4 octets)" if row.is_eap else "N(AUTHENTICATION_FAILED)")
    assert pair.west.said()[-1].startswith(f"{exchange} request: ")
    told = "" if row.is_eap else "the peer answers AUTHENTICATION_FAILED"
    assert pair.west.closed_because().startswith(f"authentication failed: {told}")
    assert not any("N(AUTHENTICATION_FAILED)" in x for x in pair.west.said())
    (refused,) = pair.east.traces("refused")
    assert refused["reason"] == pair.east.closed_because()


def refused_by_west(pair: AnyPair, row: Failure) -> None:
    """The Notify in an INFORMATIONAL of its own, with no other payloads. §2.21.2."""
    assert pair.west.said()[-1] == "INFORMATIONAL 2 request: N(AUTHENTICATION_FAILED)"
    assert pair.east.closed_because() == "the peer says AUTHENTICATION_FAILED"
    assert pair.west.closed_because().startswith("authentication failed: ")
    (failed,) = pair.west.traces("exchange-failed")
    assert pair.west.closed_because().endswith(str(failed["reason"]))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("row", "side"), ROWS, ids=[f"{row}: {side}'s" for row, side in ROWS]
)
def test_authentication_fails(transport: str, row: Failure, side: str) -> None:
    """Whoever refuses knows why and does not tell; nothing is left. §2.21, §2.21.2."""
    pair = attempt(transport, row.policies(side))
    refuses = row.refuses or PEER[side]
    check = refused_by_east if refuses == EAST else refused_by_west
    check(pair, row)
    assert row.reason.format(side) in pair.side(refuses).closed_because()
    assert row.reason.format(side) not in pair.side(PEER[refuses]).closed_because()
    assert not pair.west.traces("ike-sa-established")
    assert not pair.west.traces("child-sa-installed")
    assert bool(pair.east.traces("ike-sa-established")) == (refuses == WEST)
    for name in (WEST, EAST):
        assert len(pair.side(name).traces("ike-sa-closed")) == 1
        assert not any("D(IKE)" in line for line in pair.side(name).said())
    check_protected(pair)
    check_all_is_gone(pair)
    check_secrecy(pair, *SECRETS)


# --- beside a good authentication -----------------------------------------------------


@dataclass(frozen=True)
class ChildFailure:
    """A first Child SA that fails."""

    notify: NotifyType
    policies: dict[str, IkePolicy] = field(repr=False)
    reason: str
    """What east logs."""

    def __str__(self) -> str:
        """Name the test."""
        return self.notify.name


def taken(side: str) -> IkePolicy:
    """A policy for addresses out of a pool."""
    traveller = child_policy(
        local="0.0.0.0/0", remote="10.0.2.0/24", is_narrowed_to_assigned_address=True
    )
    if side == WEST:
        return ike_policy(WEST, children=(traveller,), request_families=(4,))
    gate = replace(
        traveller, local_ts=traveller.remote_ts, remote_ts=traveller.local_ts
    )
    return ike_policy(EAST, children=(gate,), pool=PoolPolicy(("10.9.0.0/29",)))


CHILD_FAILURES = [
    ChildFailure(
        NotifyType.NO_PROPOSAL_CHOSEN,
        {WEST: ike_policy(WEST, children=(child_policy(proposal="aes128gcm16"),))},
        "no common proposal",
    ),
    ChildFailure(
        NotifyType.TS_UNACCEPTABLE,
        {
            WEST: ike_policy(
                WEST,
                children=(child_policy(local="10.8.0.0/16", remote="10.9.0.0/16"),),
            )
        },
        "no policy",
    ),
    ChildFailure(
        NotifyType.INTERNAL_ADDRESS_FAILURE,
        {WEST: replace(taken(WEST), request_families=(6,)), EAST: taken(EAST)},
        "address",
    ),
    ChildFailure(
        NotifyType.FAILED_CP_REQUIRED,
        {WEST: replace(taken(WEST), request_families=()), EAST: taken(EAST)},
        "an address has to be asked for",
    ),
]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("row", CHILD_FAILURES, ids=str)
def test_the_first_child_sa_fails(transport: str, row: ChildFailure) -> None:
    """IDr and AUTH come along, and nobody fails the authentication for it. §2.21.2.

    It is for reasons of policy that west deletes such an IKE SA afterwards, and says so
    with a Delete payload.
    """
    pair = attempt(transport, row.policies)
    answer = pair.east.said()[1]
    assert answer.startswith("IKE_AUTH 1 response: IDr(east.example), AUTH(")
    assert answer.endswith(f", N({row.notify.name})")
    for side in (pair.west, pair.east):
        assert len(side.traces("ike-sa-established")) == 1
        assert not side.traces("child-sa-installed")
    (there,), (here,) = (s.traces("child-sa-failed") for s in (pair.west, pair.east))
    assert there["reason"] == row.notify.name
    assert row.reason in str(here["reason"])
    assert pair.west.said()[-1] == "INFORMATIONAL 2 request: D(IKE)"
    assert pair.west.closed_because() == "the Child SA was refused"
    assert pair.east.closed_because() == "deleted by the peer"
    check_protected(pair)
    check_all_is_gone(pair)
    check_secrecy(pair, *SECRETS)


def in_ike_auth(
    change: Callable[[Sequence[Payload]], list[Payload]], is_response: bool
) -> Callable[[object, Sequence[Payload]], list[Payload] | None]:
    """Change what is inside IKE_AUTH."""

    def rewrite(head: Header, payloads: Sequence[Payload]) -> list[Payload] | None:
        is_meant = head.exchange_type == ExchangeType.IKE_AUTH
        return (
            change(payloads) if is_meant and head.is_response == is_response else None
        )

    return rewrite


def with_child_refused_by(notify_type: int) -> Callable[..., list[Payload]]:
    """Leave IDr and AUTH, and put an error in the place of SA, TSi and TSr."""

    def change(payloads: Sequence[Payload]) -> list[Payload]:
        kept = [p for p in payloads if not isinstance(p, SaPayload | TsPayload)]
        return [*kept, NotifyPayload(notify_type)]

    return change


@pytest.mark.parametrize(
    "notify_type",
    [NotifyType.SINGLE_PAIR_REQUIRED, NotifyType.NO_ADDITIONAL_SAS, 8191, 16383],
)
def test_any_error_beside_auth_is_about_the_child_sa(notify_type: int) -> None:
    """Also one that we never send, and one that nobody knows. §2.21.2, §3.10.1."""
    pair = begun("tcp", ike_policy(WEST), ike_policy(EAST))
    change = with_child_refused_by(notify_type)
    pair.rewrite(EAST, in_ike_auth(change, is_response=True))
    pair.settle()
    assert len(pair.west.traces("ike-sa-established")) == 1
    (failed,) = pair.west.traces("child-sa-failed")
    assert failed["reason"] == name_of(NotifyType, notify_type)
    assert pair.west.said()[-1] == "INFORMATIONAL 2 request: D(IKE)"
    pair.check_closed()


# --- the whole message is refused -----------------------------------------------------

BROKEN = UnknownPayload(PayloadType.NOTIFY, b"\0")
"""A payload of a known type whose body makes no sense."""


@pytest.mark.parametrize(
    ("payload", "notify"),
    [
        (STRANGE, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD),
        (BROKEN, NotifyType.INVALID_SYNTAX),
    ],
    ids=["critical", "malformed"],
)
@pytest.mark.parametrize("is_eap", [False, True])
def test_nobody_is_authenticated_by_a_request_that_is_refused(
    payload: Payload, notify: NotifyType, is_eap: bool
) -> None:
    """AUTH in it would not fit, and is not looked at; nor does EAP begin. §2.21.2."""
    policies = eap()(WEST) if is_eap else one(ike_policy, secrets={None: WRONG})(WEST)
    pair = begun("tcp", policies[WEST], policies[EAST])
    change = in_ike_auth(lambda payloads: [*payloads, payload], is_response=False)
    pair.rewrite(WEST, change)
    pair.settle()
    assert pair.east.said()[-1] == f"IKE_AUTH 1 response: N({notify.name})"
    assert pair.west.closed_because().endswith(f"the peer answers {notify.name}")
    check_protected(pair)
    pair.check_closed()


@pytest.mark.parametrize("payload", [STRANGE, BROKEN], ids=["critical", "malformed"])
def test_a_response_that_is_refused_ends_both(payload: Payload) -> None:
    """Said in the INFORMATIONAL right after it, without Delete payload. §2.21.2."""
    pair = begun("tcp", ike_policy(WEST), ike_policy(EAST))
    change = in_ike_auth(lambda payloads: [*payloads, payload], is_response=True)
    pair.rewrite(EAST, change)
    pair.settle()
    assert pair.west.said()[-1] == "INFORMATIONAL 2 request: N(INVALID_SYNTAX)"
    assert pair.east.closed_because() == "the peer says INVALID_SYNTAX"
    check_protected(pair)
    pair.check_closed()


def test_a_responder_that_does_not_hear_it_was_refused() -> None:
    """The news is lost: nobody uses its IKE SA, and it ends when it asks. §2.4."""
    policies = one(ike_policy, local_identity=MALLORY)(EAST)
    east = replace(policies[EAST], liveness_seconds=30.0)
    pair = begun("udp", policies[WEST], east)
    pair.is_lost = lambda datagram: bool(pair.west.traces("ike-sa-closed"))
    pair.settle()
    assert pair.east.traces("ike-sa-established")
    pair.advance(400.0)
    assert pair.east.closed_because().startswith("no answer for ")
    assert not pair.west.traces("ike-sa-established")
    check_all_is_gone(pair)
