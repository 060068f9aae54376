"""The file ``ike_auth_test.json`` against hmac and plain signatures."""

import copy
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from iketcp.vectorlib import check_ike_auth
from iketcp.vectorlib.envelope import Json
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


NAMES = {  # size, then AlgorithmIdentifier: RFC 7427 App. A, RFC 8420 App. A
    "PKCS1": "0f300d06092a864886f70d0101{:02x}0500",
    "ECDSA": "0c300a06082a8648ce3d0403{:02x}",
    "PSS": "43304106092a864886f70d01010a3034a00f300d06096086480165030402{0:02x}0500a11c"
    "301a06092a864886f70d010108300d06096086480165030402{0:02x}0500a2030201{1:02x}",
    "Ed25519": "07300506032b6570",
    "Ed448": "07300506032b6571",
}
SHA2: dict[int, hashes.HashAlgorithm] = {
    2: hashes.SHA256(),
    3: hashes.SHA384(),
    4: hashes.SHA512(),
}


def name_and_padding(
    group: Json, key: object
) -> tuple[bytes, padding.AsymmetricPadding | None]:
    """The name, with its size, that the algorithm of a group has."""
    last = group["hash"]
    if isinstance(key, rsa.RSAPublicKey) and "PSS" in group["algorithm"]:
        size = SHA2[last].digest_size
        name = NAMES["PSS"].format(last - 1, size)
        return bytes.fromhex(name), padding.PSS(padding.MGF1(SHA2[last]), size)
    if isinstance(key, rsa.RSAPublicKey):
        name = NAMES["PKCS1"].format(last + 9)
        return bytes.fromhex(name), padding.PKCS1v15()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return bytes.fromhex(NAMES["ECDSA"].format(last)), None
    return bytes.fromhex(NAMES[group["algorithm"]]), None


def is_signature(key: object, scheme: tuple[object, ...], *data: bytes) -> bool:
    """What plain cryptography says of a signature over octets."""
    try:
        assert isinstance(
            key,
            rsa.RSAPublicKey
            | ec.EllipticCurvePublicKey
            | ed25519.Ed25519PublicKey
            | ed448.Ed448PublicKey,
        )
        key.verify(*data, *scheme)  # type: ignore[arg-type]
    except InvalidSignature:
        return False
    return True


def test_digital_signatures() -> None:
    """RFC 7427 §3, §4: the name octet by octet, the hash announced, the signature."""
    seen: dict[str, set[str]] = {}
    for group, test in grouped("ike_auth", "DigitalSignature"):
        (public,) = octets(group, "publicKey")
        key = serialization.load_der_public_key(public)
        name, padded = name_and_padding(group, key)
        assert name[1:].hex() == group["algorithmIdentifier"]
        signed, data = octets(test, "signedOctets", "data")
        scheme: tuple[object, ...] = ()
        if isinstance(key, rsa.RSAPublicKey):
            scheme = padded, SHA2[group["hash"]]
        elif isinstance(key, ec.EllipticCurvePublicKey):
            scheme = (ec.ECDSA(SHA2[group["hash"]]),)
        is_announced = group["hash"] in test["announced"]
        is_right = data.startswith(name) and is_signature(
            key, scheme, data[len(name) :], signed
        )
        if test["result"] == "acceptable":
            assert not is_right
            size = 1 + data[0]
            assert is_signature(key, scheme, data[size:], signed)
        else:
            assert (is_announced and is_right) == (test["result"] == "valid")
        seen.setdefault(group["algorithm"], set()).add(test["result"])
    assert len(seen) == 17
    assert all({"valid", "invalid"} <= results for results in seen.values())


def test_older_signatures() -> None:
    """RFC 7296 §3.8, RFC 4754 §7: SHA-1 with RSA, r | s on the curves."""
    methods = set()
    for group, test in grouped("ike_auth", "OlderSignature"):
        public, private = octets(group, "publicKey", "privateKey")
        key = serialization.load_der_public_key(public)
        own = serialization.load_der_private_key(private, None)
        assert own.public_key() == key
        signed, data = octets(test, "signedOctets", "data")
        methods.add(group["authMethod"])
        if isinstance(key, rsa.RSAPublicKey):
            schemes = [
                (padding.PKCS1v15(), algorithm)
                for algorithm in (hashes.SHA1(), *SHA2.values())
            ]
            found = [is_signature(key, scheme, data, signed) for scheme in schemes]
            assert any(found) == (test["result"] != "invalid")
            assert found[0] == (test["result"] == "valid")
            continue
        assert isinstance(key, ec.EllipticCurvePublicKey)
        size = (key.key_size + 7) // 8
        r, s = (int.from_bytes(half, "big") for half in (data[:size], data[size:]))
        algorithm = SHA2[group["authMethod"] - 7]
        is_right = len(data) == 2 * size and is_signature(
            key, (ec.ECDSA(algorithm),), encode_dss_signature(r, s), signed
        )
        assert is_right == (test["result"] == "valid"), test["tcId"]
    assert methods == {1, 9, 10, 11}


def whole(said: Json) -> bytes:
    """Write a message as it is authenticated, field by field. RFC 9242 §3.3.2."""
    head, content = octets(said, "head", "content")
    at = 16  # of the Next Payload field that names the last payload
    position = 28
    while position < len(head) - 4:
        at, position = position, position + int.from_bytes(head[position + 2 :][:2])
    assert head[at] == (53 if said["isFragmented"] else 46)
    length, inner = (size + len(content) for size in (len(head), 4))
    written = bytearray(head)
    written[at] = 46
    written[24:28] = length.to_bytes(4, "big")
    written[-2:] = inner.to_bytes(2, "big")
    return bytes(written) + content


def test_int_auth() -> None:
    """RFC 9242 §3.3.2: two chains, and the Message ID of the first IKE_AUTH."""
    for group, test in grouped("ike_auth", "IntAuth"):
        links = {"request": b"", "response": b""}
        for number, one in enumerate(test["exchanges"], 1):
            for which, name in (("request", "skPi"), ("response", "skPr")):
                said = one[which]
                form = whole(said)
                assert said["authenticated"] == form.hex()
                assert form[18] == 43
                assert form[20:24] == number.to_bytes(4, "big")
                assert form[19] == (0x08 if which == "request" else 0x20)
                key = bytes.fromhex(one[name])
                text = links[which] + form
                links[which] = hmac.digest(key, text, HASHES[group["prf"]])
        assert octets(test, "intAuthI", "intAuthR") == [*links.values()]
        number = len(test["exchanges"]) + 1
        expected = b"".join(links.values()) + number.to_bytes(4, "big")
        assert test["intAuth"] == expected.hex()


def test_the_checker_notices_what_is_authenticated() -> None:
    """Each message by itself, besides the values at the end."""
    for group, test in grouped("ike_auth", "IntAuth"):
        wrong = copy.deepcopy(test)
        wrong["exchanges"][0]["request"]["authenticated"] = "00"
        one = {"testGroups": [group | {"tests": [wrong]}]}
        assert len(check_ike_auth.problems(one)) == 1


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_ike_auth.problems(document("ike_auth")) == []
    assert unnoticed("ike_auth", "SharedKeyAuth", "signedOctets", "result") == []
    assert unnoticed("ike_auth", "EcdsaSignature", "signature", "message") == []
    outputs = ("intAuthI", "intAuthR", "intAuth")
    assert unnoticed("ike_auth", "IntAuth", *outputs) == []
    for kind in ("DigitalSignature", "OlderSignature"):
        assert unnoticed("ike_auth", kind, "error") == []
