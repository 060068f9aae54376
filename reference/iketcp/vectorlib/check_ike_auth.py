"""Runs ``ike_auth_test.json`` against our AUTH values.

Source: RFC 7296 §2.15, RFC 7296 §3.8
"""

from iketcp.crypto.prf import PRFS
from iketcp.ike.auth import is_shared_key_auth, shared_key_auth, signed_octets
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
    """Read the AUTH payload; the signature itself is not ours to verify yet."""
    octets = bytes.fromhex(test["authPayload"])
    (payload,) = decode_chain(PayloadType.AUTH, Reader(octets, 0, len(octets)))
    if not isinstance(payload, AuthPayload):
        return [f"tcId {test['tcId']}: not read as an AUTH payload"]
    found = compare(test, "signature", payload.data.hex())
    if payload.method != group["authMethod"]:
        found.append(f"tcId {test['tcId']}: Auth Method {payload.method}")
    return found


CHECKED = {
    "SharedKeyAuth": check_shared_key,
    "EcdsaSignature": check_ecdsa,
}
"""What checks a test, by the type of its group."""
