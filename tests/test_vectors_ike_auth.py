"""The file ``ike_auth_test.json`` against hmac and plain ECDSA."""

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from iketcp.vectorlib import check_ike_auth
from vector_support import document, grouped, octets, unnoticed

HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}
CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "secp256r1": (ec.SECP256R1(), hashes.SHA256()),
    "secp384r1": (ec.SECP384R1(), hashes.SHA384()),
    "secp521r1": (ec.SECP521R1(), hashes.SHA512()),
}


def test_shared_key_auth() -> None:
    """RFC 7296 §2.15: AUTH of valid tests is the formula's, that of others is not."""
    for group, test in grouped("ike_auth", "SharedKeyAuth"):
        name = HASHES[group["prf"]]
        message, nonce, sk_p, id_body, secret, signed, auth = octets(
            test,
            "realMessage",
            "peerNonce",
            "skP",
            "idBody",
            "secret",
            "signedOctets",
            "auth",
        )
        assert signed == message + nonce + hmac.digest(sk_p, id_body, name)
        key = hmac.digest(secret, b"Key Pad for IKEv2", name)
        is_right = auth == hmac.digest(key, signed, name)
        assert is_right == (test["result"] == "valid"), test["tcId"]


def test_published_signatures_verify() -> None:
    """RFC 4754 §8: r | s verifies over abc, and stands in the payload."""
    for group, test in grouped("ike_auth", "EcdsaSignature"):
        curve, hash_of = CURVES[group["curve"]]
        private, public, message, signature, payload = octets(
            test, "privateKey", "publicKey", "message", "signature", "authPayload"
        )
        half = len(signature) // 2
        r, s = signature[:half], signature[half:]
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + public)
        dss = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        key.verify(dss, message, ec.ECDSA(hash_of))
        own = ec.derive_private_key(int.from_bytes(private, "big"), curve)
        assert own.public_key().public_numbers() == key.public_numbers()
        # RFC 7296 §3.8: Auth Method is the first octet of the body
        head = bytes([0, 0]) + len(payload).to_bytes(2, "big")
        assert payload == head + bytes([group["authMethod"], 0, 0, 0]) + signature


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_ike_auth.problems(document("ike_auth")) == []
    assert unnoticed("ike_auth", "SharedKeyAuth", "signedOctets", "result") == []
    assert unnoticed("ike_auth", "EcdsaSignature", "signature") == []
