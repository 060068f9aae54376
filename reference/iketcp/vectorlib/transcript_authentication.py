"""How a side proves who it is, in neutral terms, and our own records made of that.

Without such a description both sides know the session's pre-shared key, and no more.

Source: RFC 7296 §2.15, RFC 7296 §2.16, RFC 7427 §3, RFC 7619 §2, RFC 7670 §3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_der_public_key,
)

from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.eap.method import (
    AuthenticatorMethod,
    EapAuthenticatorPolicy,
    EapPeerPolicy,
    EapSetting,
    PeerMethod,
)
from iketcp.eap.mschapv2 import MschapV2Authenticator, MschapV2Peer
from iketcp.eap.mschapv2_values import nt_password_hash
from iketcp.eap.packets import EapType
from iketcp.ike.credentials import Credential, Proof, Trust
from iketcp.ike.identity import Identity
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.fixed_keys import private_octets, public_octets


class Proofs(TypedDict):
    """The part of a policy that is about proofs."""

    credential: Credential
    trust: Trust
    eap_peer: EapPeerPolicy | None
    eap_authenticator: EapAuthenticatorPolicy | None


def authentication(
    proof: str,
    accepts: Sequence[str],
    *,
    key: SigningKey | None = None,
    is_pkcs1: bool = False,
    certificates: Sequence[x509.Certificate] = (),
    authorities: Sequence[x509.Certificate] = (),
    public_keys: Sequence[VerifyingKey] = (),
    eap: Json | None = None,
    users: Sequence[Json] = (),
) -> Json:
    """Describe how one side proves who it is, and which proofs it takes.

    Parameters
    ----------
    proof : str
        ``psk``, ``certificate``, ``public-key``, ``null``, or ``eap``.
    accepts : Sequence[str]
        Of the same words, those whose proofs this side takes.
    key : SigningKey or None
        What this side signs with.
    is_pkcs1 : bool
        It is an RSA key and signs with PKCS#1 v1.5.
    eap : Json or None
        As the initiator: its name, password, and whether it offers EAP alone.
    users : Sequence[Json]
        As the responder: names and passwords; EAP is asked of everybody then.
    """
    return {
        "proof": proof,
        "accepts": list(accepts),
        "privateKey": "" if key is None else private_octets(key).hex(),
        "isPkcs1": is_pkcs1,
        "certificates": [one.public_bytes(Encoding.DER).hex() for one in certificates],
        "authorities": [one.public_bytes(Encoding.DER).hex() for one in authorities],
        "publicKeys": [public_octets(one).hex() for one in public_keys],
        "eap": eap,
        "users": list(users),
    }


def proofs_of(given: Json | None, peer: Identity | None) -> Proofs:
    """Make our own records of a description.

    Parameters
    ----------
    given : Json or None
        As :func:`authentication` makes it; None: by the pre-shared key.
    peer : Identity or None
        Whose the public keys are.
    """
    if given is None:
        return Proofs(
            credential=Credential(),
            trust=Trust(),
            eap_peer=None,
            eap_authenticator=None,
        )
    return Proofs(
        credential=_credential(given),
        trust=Trust(
            frozenset(Proof(word) for word in given["accepts"] if word != "eap"),
            _certificates(given["authorities"]),
            public_keys={peer: tuple(map(_public_key, given["publicKeys"]))},
        ),
        eap_peer=_eap_peer(given["eap"]),
        eap_authenticator=_eap_authenticator(given["users"]),
    )


def _credential(given: Json) -> Credential:
    if given["proof"] == "eap":
        return Credential()
    key = None
    if given["privateKey"]:
        loaded = load_der_private_key(bytes.fromhex(given["privateKey"]), None)
        key = cast("SigningKey", loaded)
    return Credential(
        Proof(given["proof"]),
        key,
        _certificates(given["certificates"]),
        given["isPkcs1"],
    )


def _certificates(given: Sequence[str]) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_der_x509_certificate(bytes.fromhex(one)) for one in given)


def _public_key(given: str) -> VerifyingKey:
    return cast("VerifyingKey", load_der_public_key(bytes.fromhex(given)))


def _eap_peer(given: Json | None) -> EapPeerPolicy | None:
    """Make what an initiator proves itself with by EAP. Source: RFC 7296 §2.16."""
    if given is None:
        return None
    name, secret = given["name"].encode(), nt_password_hash(given["password"])

    def make(setting: EapSetting) -> PeerMethod:
        return MschapV2Peer(name, secret, setting.entropy)

    return EapPeerPolicy(name, {EapType.MSCHAPV2: make}, given["offersEapOnly"])


def _eap_authenticator(users: Sequence[Json]) -> EapAuthenticatorPolicy | None:
    """Make what a responder knows of its users. Source: RFC 7296 §2.16."""
    if not users:
        return None
    known = {one["name"].encode(): nt_password_hash(one["password"]) for one in users}

    def make(setting: EapSetting) -> AuthenticatorMethod:
        return MschapV2Authenticator(known, b"east.example", setting)

    return EapAuthenticatorPolicy({EapType.MSCHAPV2: make})
