"""Runs ``ike_auth_test.json`` against our AUTH values.

Source: RFC 7296 §2.15, RFC 7296 §3.8, RFC 7427 §3
"""

from collections.abc import Mapping
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
)

from iketcp.crypto import signatures
from iketcp.crypto.prf import PRFS
from iketcp.crypto.signatures import SigningKey, VerifyingKey
from iketcp.errors import AuthenticationFailedError
from iketcp.ike.auth import is_shared_key_auth, shared_key_auth, signed_octets
from iketcp.ike.intermediate import Intermediate, authenticated_form, head_as_whole
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import decode_chain
from iketcp.ike.payloads import AuthPayload
from iketcp.octets import Reader
from iketcp.registry import PayloadType
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def check_shared_key(group: Json, test: Json) -> list[str]:
    """Compute AUTH, and verify the one given."""
    prf = PRFS[group["prf"]]
    real, nonce, sk_p, id_body = unhex(
        test, "realMessage", "peerNonce", "skP", "idBody"
    )
    secret, auth = unhex(test, "secret", "auth")
    signed = signed_octets(prf, real, nonce, sk_p, id_body)
    found = compare(test, "signedOctets", signed.hex())
    is_good = is_shared_key_auth(prf, secret, signed, auth)
    found += compare(test, "result", "valid" if is_good else "invalid")
    if test["result"] == "valid":
        found += compare(test, "auth", shared_key_auth(prf, secret, signed).hex())
    return found


def check_ecdsa(group: Json, test: Json) -> list[str]:
    """Read the AUTH payload, and verify the signature in it."""
    octets, point, message = unhex(test, "authPayload", "publicKey", "message")
    (payload,) = decode_chain(PayloadType.AUTH, Reader(octets, 0, len(octets)))
    if not isinstance(payload, AuthPayload):
        return [f"tcId {test['tcId']}: not read as an AUTH payload"]
    found = compare(test, "signature", payload.data.hex())
    if payload.method != group["authMethod"]:
        found.append(f"tcId {test['tcId']}: Auth Method {payload.method}")
    curve = CURVES[group["curve"]]
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + point)
    try:
        signatures.verify_older(payload.method, key, payload.data, message)
    except AuthenticationFailedError as error:
        found.append(f"tcId {test['tcId']}: {error}")
    return found


def check_digital_signature(group: Json, test: Json) -> list[str]:
    """Verify a signature; sign anew, where a key signs always alike."""
    octets, data = unhex(test, "signedOctets", "data")
    try:
        signatures.verify(_public_key(group), data, octets, test["announced"])
    except AuthenticationFailedError:
        return compare(test, "error", "AuthenticationFailed")
    found = compare(test, "error", None)
    if test["result"] != "valid" or group["isSalted"]:
        return found
    key = _private_key(group)
    scheme = signatures.choose_scheme(key.public_key(), [group["hash"]], True)
    return found + compare(test, "data", signatures.sign(key, scheme, octets).hex())


def check_older_signature(group: Json, test: Json) -> list[str]:
    """Verify a signature by an older method, and sign anew."""
    octets, data = unhex(test, "signedOctets", "data")
    try:
        method = group["authMethod"]
        signatures.verify_older(method, _public_key(group), data, octets)
    except AuthenticationFailedError:
        return compare(test, "error", "AuthenticationFailed")
    found = compare(test, "error", None)
    if test["result"] != "valid":
        return found
    again = signatures.sign_older(_private_key(group), octets)
    return found + compare(test, "data", again.hex())


def check_int_auth(group: Json, test: Json) -> list[str]:
    """Write each message as it is authenticated, and chain them."""
    prf, state, found = PRFS[group["prf"]], Intermediate(()), []
    for one in test["exchanges"]:
        said = one["request"], one["response"]
        forms = [_authenticated(message) for message in said]
        for message, form in zip(said, forms, strict=True):
            if message["authenticated"] != form.hex():
                found.append(f"tcId {test['tcId']}: {form.hex()} is authenticated")
        sk_p = dict(zip(("sk_pi", "sk_pr"), unhex(one, "skPi", "skPr"), strict=True))
        others = ("sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er")
        state.complete(prf, IkeKeys(**dict.fromkeys(others, b""), **sk_p), *forms)
    found += compare(test, "intAuthI", state.int_auth_i.hex())
    found += compare(test, "intAuthR", state.int_auth_r.hex())
    return found + compare(test, "intAuth", state.int_auth.hex())


def _authenticated(said: Json) -> bytes:
    head, content = unhex(said, "head", "content")
    return authenticated_form(
        head_as_whole(head) if said["isFragmented"] else head, content
    )


def _public_key(group: Json) -> VerifyingKey:
    key = load_der_public_key(bytes.fromhex(group["publicKey"]))
    return signatures.check_key(key)


def _private_key(group: Json) -> SigningKey:
    key = load_der_private_key(bytes.fromhex(group["privateKey"]), None)
    return cast("SigningKey", key)


CURVES: Mapping[str, ec.EllipticCurve] = {
    "secp256r1": ec.SECP256R1(),
    "secp384r1": ec.SECP384R1(),
    "secp521r1": ec.SECP521R1(),
}

CHECKED = {
    "SharedKeyAuth": check_shared_key,
    "EcdsaSignature": check_ecdsa,
    "DigitalSignature": check_digital_signature,
    "OlderSignature": check_older_signature,
    "IntAuth": check_int_auth,
}
"""What checks a test, by the type of its group."""
