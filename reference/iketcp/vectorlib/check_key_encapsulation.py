"""Runs ``key_encapsulation_test.json`` against our use of ML-KEM.

Source: RFC 9370 §2.1
"""

from iketcp.crypto.key_encapsulation import PARAMETER_SETS, encapsulate
from iketcp.crypto.key_exchange import from_private
from iketcp.errors import InvalidPublicValueError
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "Decapsulation"):
        found += _decapsulation(group["method"], test)
    for group, test in each(document, "Encapsulation"):
        found += _encapsulation(group["method"], test)
    return found


def _decapsulation(method: int, test: Json) -> list[str]:
    seed, ciphertext = unhex(test, "seed", "ciphertext")
    ours = from_private(method, seed)
    shared, error = "", None
    try:
        shared = ours.shared_secret(ciphertext).hex()
    except InvalidPublicValueError as refusal:
        error = error_name(refusal)
    return [
        *compare(test, "encapsulationKey", ours.public_value.hex()),
        *compare(test, "shared", shared),
        *compare(test, "error", error),
    ]


def _encapsulation(method: int, test: Json) -> list[str]:
    """Look at sizes and refusals: OpenSSL takes no randomness from outside."""
    (key,) = unhex(test, "encapsulationKey")
    sizes, error = (0, 0), None
    try:
        ciphertext, secret = encapsulate(method, key)
        sizes = len(ciphertext), len(secret)
    except InvalidPublicValueError as refusal:
        error = error_name(refusal)
    found = compare(test, "error", error)
    wanted = len(test["ciphertext"]) // 2, len(test["shared"]) // 2
    if sizes != wanted or sizes[0] not in (0, PARAMETER_SETS[method].ciphertext_size):
        found.append(f"tcId {test['tcId']}: sizes {sizes} instead of {wanted}")
    return found
