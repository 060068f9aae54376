"""The recorded sessions with other proofs than a pre-shared key.

Signatures have to come out the same every time: EdDSA does, ECDSA as we make it does,
and so does RSA with PKCS#1 v1.5. RSASSA-PSS draws a salt, and EAP-TLS all that TLS
draws, in OpenSSL, where no script reaches; neither is here.

Source: RFC 7296 §2.15, RFC 7296 §2.16, RFC 7427 §3, RFC 7619 §2, RFC 7670 §3
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec

from iketcp.crypto.signatures import SigningKey
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.fixed_keys import (
    Authority,
    ecdsa_key,
    ed448_key,
    ed25519_key,
    rsa_key,
)
from iketcp.vectorlib.transcript_authentication import authentication
from iketcp.vectorlib.transcript_cases import (
    EAST_NET,
    ESP,
    IKE,
    WEST_NET,
    session,
)
from iketcp.vectorlib.transcript_configuration import child, party
from iketcp.vectorlib.transcript_scripts import handshake, plain, wishes
from iketcp.vectorlib.wiring import EAST, WEST

HOSTS = {WEST: "west.example", EAST: "east.example"}
ROOT = Authority("Test Root")
MIDDLE = Authority("Test Intermediate", ROOT)
STRANGE = Authority("Nobody's Root")
SERIALS = {WEST: 1001, EAST: 1002}

CERTIFICATES = "RFC 7296 §2.15, §3.6, §3.7, §3.8; RFC 7427 §3, §4; RFC 4945 §5.1"
PASSWORD = {"name": "alice", "password": "correct horse battery staple"}


KEYS: dict[str, SigningKey] = {
    "Ed25519": ed25519_key("Ed25519"),
    "Ed448": ed448_key("Ed448"),
    "P-256": ecdsa_key("P-256", ec.SECP256R1()),
    "P-384": ecdsa_key("P-384", ec.SECP384R1()),
    "P-521": ecdsa_key("P-521", ec.SECP521R1()),
    "RSA": rsa_key(),
}


def sides(west: Json, east: Json, west_name: str = HOSTS[WEST]) -> tuple[Json, Json]:
    """Describe two sides by how they prove who they are."""
    return (
        party(west_name, (IKE,), [child(ESP, WEST_NET, EAST_NET)], authentication=west),
        party(
            HOSTS[EAST], (IKE,), [child(ESP, EAST_NET, WEST_NET)], authentication=east
        ),
    )


def certified(
    side: str,
    key: SigningKey,
    *,
    issuer: Authority = ROOT,
    accepts: Sequence[str] = ("certificate",),
) -> Json:
    """Describe a side with a certificate, which trusts those of the root."""
    own = issuer.issue(HOSTS[side], key.public_key(), SERIALS[side])
    between = () if issuer.issuer is None else (issuer.certificate,)
    return authentication(
        "certificate",
        accepts,
        key=key,
        is_pkcs1=True,
        certificates=(own, *between),
        authorities=(ROOT.certificate,),
    )


def both_certified(west: SigningKey, east: SigningKey) -> tuple[Json, Json]:
    """Describe two sides with certificates of the root."""
    return sides(certified(WEST, west), certified(EAST, east))


def known(ours: SigningKey, theirs: SigningKey) -> Json:
    """Describe a side that knows the other's key."""
    return authentication(
        "public-key", ("public-key",), key=ours, public_keys=(theirs.public_key(),)
    )


def eap(offers_eap_only: bool = False, password: str = PASSWORD["password"]) -> Json:
    """Describe an initiator that has a password and trusts the root."""
    return authentication(
        "eap",
        ("certificate",),
        authorities=(ROOT.certificate,),
        eap={**PASSWORD, "password": password, "offersEapOnly": offers_eap_only},
    )


def asks_for_passwords() -> Json:
    """Describe a responder with a certificate that asks everybody for a password."""
    own = certified(EAST, KEYS["Ed25519"], accepts=("eap",))
    return {**own, "users": [PASSWORD]}


SIGNED = tuple(
    session(
        f"certificates: {west} of west, {east} of east",
        "Certificates",
        f"{CERTIFICATES}{more}",
        plain,
        both_certified(KEYS[west], KEYS[east]),
    )
    for west, east, more in (
        ("Ed25519", "Ed448", "; RFC 8420 §2"),
        ("P-256", "RSA", ""),
        ("P-384", "P-521", ""),
    )
)

OTHERS = (
    session(
        "certificates: an intermediate authority, and both rekeys",
        "Certificates ChildRekey IkeRekey",
        f"{CERTIFICATES}; RFC 7296 §1.3.2, §1.3.3",
        wishes((WEST, "rekey-child", "net"), (EAST, "rekey-ike-sa", "")),
        sides(
            certified(WEST, KEYS["P-256"], issuer=MIDDLE),
            certified(EAST, KEYS["Ed25519"], issuer=MIDDLE),
        ),
    ),
    session(
        "a certificate of east's, a pre-shared key of west's",
        "Certificates",
        CERTIFICATES,
        plain,
        sides(
            authentication("psk", ("certificate",), authorities=(ROOT.certificate,)),
            certified(EAST, KEYS["Ed25519"], accepts=("psk",)),
        ),
    ),
    session(
        "west's certificate is of an authority that east does not trust",
        "Certificates Refusal",
        f"{CERTIFICATES}; RFC 7296 §2.21.2",
        handshake,
        sides(
            certified(WEST, KEYS["Ed25519"], issuer=STRANGE),
            certified(EAST, KEYS["Ed25519"]),
        ),
    ),
    session(
        "raw public keys: Ed25519 of west, P-256 of east",
        "RawPublicKeys",
        "RFC 7296 §2.15, §3.6, §3.8; RFC 7427 §3; RFC 7670 §3",
        plain,
        sides(
            known(KEYS["Ed25519"], KEYS["P-256"]),
            known(KEYS["P-256"], KEYS["Ed25519"]),
        ),
    ),
    session(
        "west does not say who it is, east has a raw public key",
        "NullAuthentication",
        "RFC 7619 §2.1, §2.2; RFC 7670 §3",
        plain,
        sides(
            authentication(
                "null", ("public-key",), public_keys=(KEYS["Ed25519"].public_key(),)
            ),
            authentication("public-key", ("null",), key=KEYS["Ed25519"]),
            west_name="",
        ),
    ),
    session(
        "neither says who it is",
        "NullAuthentication",
        "RFC 7619 §2.1, §2.2",
        plain,
        sides(
            authentication("null", ("null",)),
            authentication("null", ("null",)),
            west_name="",
        ),
    ),
)

EAP_SPEC = "RFC 7296 §2.16, §3.16; RFC 3748 §4; RFC 2759 §4, §5; RFC 3079 §3.4"

BY_EAP = (
    session(
        "EAP-MSCHAPv2, and a certificate of east's",
        "Eap",
        EAP_SPEC,
        plain,
        sides(eap(), asks_for_passwords()),
    ),
    session(
        "EAP-MSCHAPv2: west offers EAP alone, east proves itself all the same",
        "Eap",
        f"{EAP_SPEC}; RFC 5998 §3, §4",
        plain,
        sides(eap(offers_eap_only=True), asks_for_passwords()),
    ),
    session(
        "EAP-MSCHAPv2: another password",
        "Eap Refusal",
        f"{EAP_SPEC}; RFC 7296 §2.21.2; RFC 2759 §6",
        handshake,
        sides(eap(password="another"), asks_for_passwords()),
    ),
)

CASES = (*SIGNED, *OTHERS, *BY_EAP)
