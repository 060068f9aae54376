"""The part of ``ike_auth_test.json`` that is about signatures.

The names of the algorithms are written out as the RFCs print them.

Source: RFC 7427 §3, RFC 7427 App. A, RFC 8420 App. A, RFC 4754 §7, RFC 7296 §3.8
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from iketcp.crypto.signatures import SigningKey
from iketcp.vectorlib.assembly import case, flipped, group, octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.fixed_keys import (
    ecdsa_key,
    ed448_key,
    ed25519_key,
    private_octets,
    public_octets,
    rsa_key,
)
from iketcp.vectorlib.plain_signatures import pss_signature, side_by_side, signature

HEADER = [
    "DigitalSignature: data is what stands behind Auth Method 14 and the reserved"
    " octets: size of the name, AlgorithmIdentifier, signature over signedOctets. The"
    " verifier has announced the hash algorithms announced, and knows publicKey"
    " (SubjectPublicKeyInfo) from elsewhere. Valid data is what privateKey (PKCS #8)"
    " signs, always the same: ECDSA takes its secret number from key and octets; for"
    " RSASSA-PSS, salt is the first octets of SHAKE256('iketcp vectors|salt#0').",
    "OlderSignature: the same for Auth Methods 1, 9, 10 and 11, where data is the"
    " signature alone. Acceptable: we take it, another verifier need not.",
]

NOTES = {
    "Algorithm": (
        "BASIC",
        "The name is of an algorithm that is unknown, too weak, or not of the key.",
        "A signature by an algorithm that was never agreed to.",
    ),
    "Announced": (
        "BASIC",
        "What the verifier has announced decides which hash may be used.",
        "A hash algorithm that the verifier does not want.",
    ),
    "Encoding": (
        "EDGE_CASE",
        "Name or signature is written in another way.",
        "Peers that write NULL or default values, or not, are refused; or taken where"
        " only one form is right.",
    ),
    "Older": (
        "BASIC",
        "A signature by a method older than Digital Signature.",
        "No session with peers that announce no hash algorithms.",
    ),
}

SHA2_256, SHA2_384, SHA2_512, IDENTITY = 2, 3, 4, 5
ALL = [SHA2_256, SHA2_384, SHA2_512, IDENTITY]
SPEC = "RFC 7427 §3, §4"

# RFC 7427 App. A.1, A.3 and A.4.3 without its trailer field, which DER leaves out.
SHA1_WITH_RSA = "300d06092a864886f70d0101050500"
ECDSA_WITH_SHA1 = "300906072a8648ce3d0401"
PSS = (
    "304106092a864886f70d01010a3034a00f300d06096086480165030402{0}0500"
    "a11c301a06092a864886f70d010108300d06096086480165030402{0}0500a2030201{1}"
)
PSS_WITH_TRAILER = (
    "304606092a864886f70d01010a3039a00f300d06096086480165030402{0}0500"
    "a11c301a06092a864886f70d010108300d06096086480165030402{0}0500a2030201{1}"
    "a303020101"
)
PSS_EMPTY = "300d06092a864886f70d01010a3000"
PSS_DEFAULT = (
    "303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a1183016"
    "06092a864886f70d010108300906052b0e03021a0500a203020114a303020101"
)
RSA_WITHOUT_NULL = "300b06092a864886f70d0101{0}"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One signature algorithm as an AUTH payload names it."""

    title: str
    name: str
    """AlgorithmIdentifier, DER in hexadecimal."""
    hash: int
    """IKEv2 Hash Algorithm."""
    hash_name: str
    """As :mod:`hashlib` calls it; empty for EdDSA."""
    key: SigningKey
    spec: str
    is_pss: bool = False

    def sign(self, message: bytes) -> bytes:
        """Return a signature, the same every time."""
        if self.is_pss:
            salt = octets("salt", int(self.hash_name[3:]) // 8)
            rsa_only = cast("rsa.RSAPrivateKey", self.key)
            return pss_signature(rsa_only, self.hash_name, message, salt)
        return signature(self.key, self.hash_name, message)


P256 = ecdsa_key("signer P-256", ec.SECP256R1())
P384 = ecdsa_key("signer P-384", ec.SECP384R1())
P521 = ecdsa_key("signer P-521", ec.SECP521R1())
PKCS1_SPEC, ECDSA_SPEC, PSS_SPEC = (f"RFC 7427 App. A.{part}" for part in (1, 3, 4))
SHA2 = ((SHA2_256, 256), (SHA2_384, 384), (SHA2_512, 512))


def _algorithms() -> Iterator[Algorithm]:
    for number, (hash_number, name, bits) in enumerate(
        (
            (SHA2_256, "sha256", 256),
            (SHA2_384, "sha384", 384),
            (SHA2_512, "sha512", 512),
        )
    ):
        title = f"SHA2-{bits}"
        yield Algorithm(
            f"RSA, PKCS#1 v1.5, {title}",
            f"300d06092a864886f70d0101{number + 11:02x}0500",
            hash_number,
            name,
            rsa_key(),
            PKCS1_SPEC,
        )
        yield Algorithm(
            f"RSASSA-PSS, {title}",
            PSS.format(f"{number + 1:02x}", f"{bits // 8:02x}"),
            hash_number,
            name,
            rsa_key(),
            PSS_SPEC,
            is_pss=True,
        )
        for curve, key in (("P-256", P256), ("P-384", P384), ("P-521", P521)):
            yield Algorithm(
                f"ECDSA, {curve}, {title}",
                f"300a06082a8648ce3d0403{number + 2:02x}",
                hash_number,
                name,
                key,
                ECDSA_SPEC,
            )
    for title, last, eddsa in (
        ("Ed25519", "70", ed25519_key("signer Ed25519")),
        ("Ed448", "71", ed448_key("signer Ed448")),
    ):
        name = f"300506032b65{last}"
        spec = "RFC 8420 §2, App. A"
        yield Algorithm(title, name, IDENTITY, "", eddsa, spec)


def signature_groups() -> Iterator[Json]:
    """Make a group for each algorithm, then one for each older method."""
    for algorithm in _algorithms():
        yield group(
            "DigitalSignature",
            "iketcp/ike_auth_signatures",
            [*_taken(algorithm), *_refused(algorithm)],
            authMethod=14,
            algorithm=algorithm.title,
            algorithmIdentifier=bytes.fromhex(algorithm.name),
            hash=algorithm.hash,
            isSalted=algorithm.is_pss,
            privateKey=private_octets(algorithm.key),
            publicKey=public_octets(algorithm.key.public_key()),
        )
    yield from _older_groups()


def named(name: str, made: bytes) -> bytes:
    """Put an AlgorithmIdentifier and its size before a signature. RFC 7427 §3."""
    return bytes([len(name) // 2]) + bytes.fromhex(name) + made


SIGNED = octets("signed octets", 300)


def _taken(algorithm: Algorithm) -> Iterator[Json]:
    """Try what a verifier announces, and other forms of the name."""
    spec = f"{SPEC}; {algorithm.spec}"

    def taken(comment: str, flags: str, **changes: Any) -> Json:
        made = named(algorithm.name, algorithm.sign(SIGNED))
        given: Json = {"announced": ALL, "signedOctets": SIGNED, "data": made}
        return case(comment, flags, spec, **(given | changes))

    yield taken("all hash algorithms announced", "Ordinary")
    yield taken("this hash algorithm alone", "Announced", announced=[algorithm.hash])
    empty = named(algorithm.name, algorithm.sign(b""))
    yield taken("no octets at all", "Ordinary", signedOctets=b"", data=empty)
    forms = []
    if algorithm.is_pss:
        digits = f"{algorithm.hash - 1:02x}", f"{int(algorithm.hash_name[3:]) // 8:02x}"
        forms = [("the trailer field is written", PSS_WITH_TRAILER.format(*digits))]
    elif isinstance(algorithm.key, rsa.RSAPrivateKey):
        name = RSA_WITHOUT_NULL.format(f"{algorithm.hash + 9:02x}")
        forms = [("NULL is left out", name)]
    for comment, form in forms:
        data = named(form, algorithm.sign(SIGNED))
        yield taken(comment, "Encoding", result="acceptable", data=data)


def _refused(algorithm: Algorithm) -> Iterator[Json]:
    """Try other names, other octets, and broken data."""
    spec = f"{SPEC}; {algorithm.spec}; RFC 7296 §2.21.2; RFC 8247 §3.2"
    made = algorithm.sign(SIGNED)
    good = named(algorithm.name, made)

    def refused(
        comment: str, flags: str, data: bytes = good, announced: list[int] = ALL
    ) -> Json:
        return case(
            comment,
            flags,
            spec,
            error="AuthenticationFailed",
            reaction="AUTHENTICATION_FAILED",
            announced=announced,
            signedOctets=SIGNED,
            data=data,
        )

    others = [number for number in ALL if number != algorithm.hash]
    yield refused("other hash algorithms announced", "Announced", announced=others)
    yield refused("no hash algorithm announced", "Announced", announced=[])
    other_octets = named(algorithm.name, algorithm.sign(flipped(SIGNED, 0)))
    yield refused("signature over other octets", "WrongInput", other_octets)
    yield refused("last bit changed", "Tampered", flipped(good, -1))
    yield refused("first bit of the signature", "Tampered", flipped(good, -len(made)))
    yield refused("last octet missing", "Tampered", good[:-1])
    yield refused("an octet added", "Tampered", good + b"\0")
    yield refused("no signature", "Tampered", named(algorithm.name, b""))
    yield refused("no data", "Tampered", b"")
    yield refused("the signature alone", "Encoding", made)
    yield refused("a name of no octets", "Encoding", b"\0" + made)
    yield refused("a name as long as all that follows", "Encoding", b"\xff" + good[1:])
    for comment, name in _wrong_names(algorithm):
        yield refused(comment, "Algorithm", named(name, made))
    if isinstance(algorithm.key, ec.EllipticCurvePrivateKey):
        plain = side_by_side(made, algorithm.key)
        data = named(algorithm.name, plain)
        yield refused("r and s side by side", "Encoding", data)


def _wrong_names(algorithm: Algorithm) -> Iterator[tuple[str, str]]:
    """Name every other algorithm of the same hash, and what is too weak."""
    for other in _algorithms():
        is_same = other.name == algorithm.name
        is_other_curve = other.spec == ECDSA_SPEC and "P-256" not in other.title
        if other.hash == algorithm.hash and not is_same and not is_other_curve:
            kind = other.title.replace(", P-256", "")
            yield f"the name is that of {kind}", other.name
    yield "sha1WithRSAEncryption", SHA1_WITH_RSA
    yield "ecdsa-with-SHA1", ECDSA_WITH_SHA1
    yield "RSASSA-PSS with empty parameters", PSS_EMPTY
    yield "RSASSA-PSS with default parameters", PSS_DEFAULT


# --- older methods ------------------------------------------------------------------


def _older_groups() -> Iterator[Json]:
    """Make a group for each method older than Digital Signature."""
    for method, hash_name, key in (
        (1, "sha1", rsa_key()),
        (9, "sha256", P256),
        (10, "sha384", P384),
        (11, "sha512", P521),
    ):
        yield group(
            "OlderSignature",
            "iketcp/ike_auth_signatures",
            [*_older(hash_name, key)],
            authMethod=method,
            privateKey=private_octets(key),
            publicKey=public_octets(key.public_key()),
        )


def _older(
    hash_name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> Iterator[Json]:
    """Try a signature as it should be, in other forms, and broken."""
    made = signature(key, hash_name, SIGNED)
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    good = made if isinstance(key, rsa.RSAPrivateKey) else side_by_side(made, key)
    spec = "RFC 7296 §2.15, §3.8" if is_rsa else "RFC 4754 §3, §7; RFC 7296 §3.8"

    def one(comment: str, flags: str, data: bytes, **how: str) -> Json:
        return case(comment, flags, spec, **how, signedOctets=SIGNED, data=data)

    wrong = {"error": "AuthenticationFailed", "reaction": "AUTHENTICATION_FAILED"}
    yield one("as it should be", "Older", good)
    if is_rsa:
        for name in ("sha256", "sha384", "sha512"):
            other = signature(key, name, SIGNED)
            yield one(f"signed with {name}", "Older", other, result="acceptable")
    else:
        yield one("in DER", "Older Encoding", made, **wrong)
    yield one("last bit changed", "Older Tampered", flipped(good, -1), **wrong)
    yield one("last octet missing", "Older Tampered", good[:-1], **wrong)
    yield one("an octet added", "Older Tampered", good + b"\0", **wrong)
    yield one("empty", "Older Tampered", b"", **wrong)
    yield one("zeros", "Older Tampered", bytes(len(good)), **wrong)
    other = signature(key, hash_name, flipped(SIGNED, 0))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        other = side_by_side(other, key)
    yield one("over other octets", "Older WrongInput", other, **wrong)
