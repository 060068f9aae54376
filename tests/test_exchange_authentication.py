"""IKE_AUTH by signature, by raw public key and without authentication."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from iketcp.crypto.signatures import SigningKey
from iketcp.ike.authentication import public_key_octets
from iketcp.ike.credentials import Credential, Proof, Trust
from iketcp.ike.exchanges import ike_sa_init
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import (
    AuthPayload,
    CertPayload,
    IdPayload,
    Payload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType
from pair import EAST, SECRET, WEST, Pair, ike_policy
from test_exchange_eap import eap_pair

WEST_ID, EAST_ID = Identity.parse("west.example"), Identity.parse("east.example")
IDS = {WEST: WEST_ID, EAST: EAST_ID}
PEER = {WEST: EAST, EAST: WEST}

KEYS: dict[str, SigningKey] = {
    WEST: ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    EAST: ec.derive_private_key(0xEA57, ec.SECP256R1()),
    "mallory": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def raw(side: str, key: SigningKey | None = None, **changes: object) -> IkePolicy:
    """Policy of a side that signs, and trusts the other's key."""
    key = key or KEYS[side]
    peer = PEER[side]
    trust = Trust(
        frozenset({Proof.PUBLIC_KEY}),
        public_keys={IDS[peer]: (KEYS[peer].public_key(),)},
    )
    return ike_policy(
        side,
        **{
            "secrets": {},
            "credential": Credential(Proof.PUBLIC_KEY, key),
            "trust": trust,
            **changes,
        },
    )


def trusting(keys: object, *proofs: Proof) -> Trust:
    """Trust in raw public keys, and perhaps in more."""
    return Trust(frozenset({Proof.PUBLIC_KEY, *proofs}), public_keys=keys)


def attempt(pair: Pair) -> Pair:
    """Let west begin."""
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    pair.settle()
    return pair


def is_up(pair: Pair) -> bool:
    """Whether both sides stand."""
    sas = [s.endpoint.tables.ike_sas for s in (pair.west, pair.east)]
    return all(
        any(sa.state is IkeState.ESTABLISHED for sa, _ in table.values())
        for table in sas
    )


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


def in_auth(
    kind: type[Payload], change: Callable[[Payload], list[Payload]], is_response: bool
) -> Callable[[Header, tuple[Payload, ...]], list[Payload] | None]:
    """Change the payloads of one kind in IKE_AUTH."""

    def rewrite(header: Header, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        if (header.exchange_type, header.is_response) != (
            ExchangeType.IKE_AUTH,
            is_response,
        ):
            return None
        return [
            new for p in payloads for new in (change(p) if isinstance(p, kind) else [p])
        ]

    return rewrite


# --- raw public keys ------------------------------------------------------------------


def test_both_sides_are_known() -> None:
    """By their identities, each with its own kind of key."""
    pair = attempt(Pair(raw(WEST), raw(EAST)))
    assert pair.ike(WEST).remote_identity == "east.example"
    assert pair.ike(EAST).remote_identity == "west.example"
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("side", [WEST, EAST])
def test_what_goes_along(side: str) -> None:
    """RFC 7670 §3: CERT holds SubjectPublicKeyInfo; RFC 7427: Digital Signature."""
    sent: list[Payload] = []

    def look(header: Header, payloads: tuple[Payload, ...]) -> None:
        if header.exchange_type == ExchangeType.IKE_AUTH:
            sent.extend(payloads)

    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(side, look)
    attempt(pair)
    certificate = next(p for p in sent if isinstance(p, CertPayload))
    auth = next(p for p in sent if isinstance(p, AuthPayload))
    assert certificate.encoding == 15
    assert certificate.data == public_key_octets(KEYS[side].public_key())
    assert auth.method == 14
    name = {WEST: "07300506032b6570", EAST: "0c300a06082a8648ce3d040302"}[side]
    assert auth.data.startswith(bytes.fromhex(name))


@pytest.mark.parametrize("side", [WEST, EAST])
def test_a_bad_signature(side: str) -> None:
    """RFC 7296 §2.21.2."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(
        side,
        in_auth(
            AuthPayload,
            lambda p: [replace(p, data=p.data[:-1] + bytes([p.data[-1] ^ 1]))],
            side == EAST,
        ),
    )
    attempt(pair)
    assert "signature is wrong" in closed_because(pair, PEER[side])
    assert not is_up(pair)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "cannot be read"), (b"\x30\x03\x02\x01\x05", "cannot be read")],
)
def test_a_key_that_cannot_be_read(data: bytes, reason: str) -> None:
    """What comes in CERT may be anything."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(WEST, in_auth(CertPayload, lambda p: [replace(p, data=data)], False))
    attempt(pair)
    assert reason in closed_because(pair, EAST)


def test_hash_and_url_is_refused() -> None:
    """Nothing is ever fetched for a stranger. RFC 7296 §3.6, RFC 8019 §4.7."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(
        WEST,
        in_auth(
            CertPayload,
            lambda p: [CertPayload(12, bytes(20) + b"http://west.example/")],
            False,
        ),
    )
    attempt(pair)
    assert "HASH_AND_URL_OF_X509 is not taken" in closed_because(pair, EAST)


def test_without_cert_the_only_key_is_meant() -> None:
    """CERT may be left out where there is no doubt. RFC 7296 §3.6."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(WEST, in_auth(CertPayload, lambda p: [], False))
    attempt(pair)
    assert is_up(pair)


def test_without_cert_and_with_two_keys_none_is() -> None:
    """Nobody guesses."""
    keys = {None: (KEYS[WEST].public_key(), KEYS["mallory"].public_key())}
    pair = Pair(raw(WEST), raw(EAST, trust=trusting(keys)))
    pair.rewrite(WEST, in_auth(CertPayload, lambda p: [], False))
    attempt(pair)
    assert "does not say which key" in closed_because(pair, EAST)


def test_one_of_several_keys() -> None:
    """A second key, as while keys are exchanged for new ones."""
    keys = {None: (KEYS["mallory"].public_key(), KEYS[WEST].public_key())}
    pair = attempt(Pair(raw(WEST), raw(EAST, trust=trusting(keys))))
    assert is_up(pair)


# --- methods --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [EAST, "rsa"])
def test_an_older_method_is_taken_of_an_old_peer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7427 §3: no SIGNATURE_HASH_ALGORITHMS, no Digital Signature."""
    key = KEYS[name]
    east = raw(EAST, key)
    west = ike_policy(WEST, trust=trusting({None: (key.public_key(),)}))
    east = replace(east, secrets={WEST_ID: SECRET}, trust=Trust())
    pair = Pair(west, east)
    methods: list[int] = []

    def look(header: Header, payloads: tuple[Payload, ...]) -> None:
        methods.extend(p.method for p in payloads if isinstance(p, AuthPayload))

    monkeypatch.setattr(ike_sa_init, "SIGNATURE_HASHES", ())
    pair.rewrite(EAST, look)
    attempt(pair)
    assert is_up(pair)
    assert methods == [9 if name == EAST else 1]


def test_an_older_method_is_refused_of_a_new_peer() -> None:
    """RFC 7427 §3: where both announced hash algorithms, method 14 has to be used."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(
        EAST, in_auth(AuthPayload, lambda p: [AuthPayload(9, bytes(64))], True)
    )
    attempt(pair)
    assert "both know Digital Signature" in closed_because(pair, WEST)


@pytest.mark.parametrize("method", [0, 3, 12, 201])
def test_other_methods_are_refused(method: int) -> None:
    """RFC 8247 §3.1: DSS among them."""
    pair = Pair(raw(WEST), raw(EAST))
    pair.rewrite(
        WEST, in_auth(AuthPayload, lambda p: [AuthPayload(method, bytes(64))], False)
    )
    attempt(pair)
    assert "is not supported" in closed_because(pair, EAST)


def test_a_secret_is_no_signature() -> None:
    """Who has to sign cannot come with a pre-shared key instead."""
    west = ike_policy(WEST, trust=raw(WEST).trust)
    pair = attempt(Pair(west, raw(EAST, secrets={WEST_ID: SECRET})))
    assert "no proof by psk is taken" in closed_because(pair, EAST)


def test_a_signature_is_no_secret() -> None:
    """The reverse."""
    pair = attempt(Pair(raw(WEST), ike_policy(EAST)))
    assert "no proof by public-key is taken" in closed_because(pair, EAST)


def test_each_side_proves_itself_in_its_own_way() -> None:
    """RFC 7296 §2.15: a secret one way, a signature the other."""
    west = ike_policy(WEST, trust=raw(WEST).trust)
    east = replace(raw(EAST), secrets={WEST_ID: SECRET}, trust=Trust())
    assert is_up(attempt(Pair(west, east)))


def test_an_initiator_whose_key_the_peer_cannot_verify(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 8420 §2: no Identity announced, so Ed25519 cannot be used; we give up."""
    monkeypatch.setattr(ike_sa_init, "SIGNATURE_HASHES", (2, 3, 4))
    pair = attempt(Pair(raw(WEST), raw(EAST)))
    assert "takes no hash that goes with our key" in closed_because(pair, WEST)


# --- without authentication -----------------------------------------------------------

NULL = Credential(Proof.NULL)


def anonymous(**changes: object) -> IkePolicy:
    """West, who does not say who it is."""
    return ike_policy(
        WEST,
        **{
            "credential": NULL,
            "local_identity": Identity(13, b""),
            "trust": raw(WEST).trust,
            **changes,
        },
    )


def test_null_one_way() -> None:
    """RFC 7619 §2: the responder signs, the initiator stays anonymous."""
    east = replace(raw(EAST), trust=Trust(frozenset({Proof.NULL})))
    pair = attempt(Pair(anonymous(), east))
    assert is_up(pair)
    sa = pair.ike(EAST)
    assert sa.remote_identity == f"ID_NULL:{(sa.spi_i + sa.spi_r).hex()}"


def test_null_only_where_configured() -> None:
    """RFC 7619 §2: AUTHENTICATION_FAILED otherwise."""
    pair = attempt(Pair(anonymous(), raw(EAST)))
    assert "no proof by null is taken" in closed_because(pair, EAST)
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(AUTHENTICATION_FAILED)"


def test_null_has_to_be_right_all_the_same() -> None:
    """RFC 7619 §2.1: AUTH ties IKE_SA_INIT to the rest."""
    east = replace(raw(EAST), trust=Trust(frozenset({Proof.NULL})))
    pair = Pair(anonymous(), east)
    pair.rewrite(
        WEST,
        in_auth(AuthPayload, lambda p: [replace(p, data=bytes(32))], False),
    )
    attempt(pair)
    assert "AUTH without authentication is wrong" in closed_because(pair, EAST)


def test_a_claim_without_authentication_means_nothing() -> None:
    """RFC 7619 §2.2: who says east.example gets nothing for it."""
    east = replace(raw(EAST), trust=Trust(frozenset({Proof.NULL})))
    pair = attempt(Pair(anonymous(local_identity=WEST_ID), east))
    assert is_up(pair)
    assert pair.ike(EAST).remote_identity.startswith("ID_NULL:")


def test_no_identity_goes_with_null_only() -> None:
    """RFC 7619 §2.2: a signature proves no identity that is not there."""
    pair = Pair(raw(WEST), raw(EAST, remote_identity=None))
    pair.rewrite(
        WEST, in_auth(IdPayload, lambda p: [replace(p, id_type=13, data=b"")], False)
    )
    attempt(pair)
    assert "gives no identity" in closed_because(pair, EAST)


def test_null_never_beside_eap() -> None:
    """RFC 7619 §2: a responder must not, so the initiator does not take it."""
    pair = eap_pair(
        west={"trust": Trust(frozenset({Proof.NULL}))}, east={"credential": NULL}
    )
    attempt(pair)
    assert "beside EAP" in closed_because(pair, WEST)
