"""Runs ``prf_test.json`` against our pseudorandom functions and integrity algorithms.

Source: RFC 7296 §2.13, RFC 4868 §2
"""

from iketcp.crypto.ciphers import cipher_spec
from iketcp.crypto.prf import PRFS
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def check_prf(group: Json, test: Json) -> list[str]:
    """Compute one output; an output cut short is compared as far as it goes."""
    key, data = bytes.fromhex(test["key"]), bytes.fromhex(test["data"])
    output = PRFS[group["prf"]].prf(key, data).hex()
    return compare(test, "output", output[: len(test["output"])])


def check_prf_plus(group: Json, test: Json) -> list[str]:
    """Stretch one key, or be refused."""
    key, seed = bytes.fromhex(test["key"]), bytes.fromhex(test["seed"])
    try:
        output = PRFS[group["prf"]].prf_plus(key, seed, test["size"]).hex()
    except ValueError:
        return compare(test, "error", "TooLong")
    return compare(test, "error", None) + compare(test, "output", output)


def check_integrity(group: Json, test: Json) -> list[str]:
    """Compute an ICV: sealing nothing with AES-CTR leaves HMAC(associated | IV)."""
    spec = cipher_spec(13, 128, group["integ"])
    data = bytes.fromhex(test["data"])
    cipher = spec.new(bytes(spec.key_size), bytes.fromhex(test["key"]))
    head, iv = data[: -spec.iv_size], data[-spec.iv_size :]
    return compare(test, "icv", cipher.seal(iv, b"", head).hex())


CHECKED = {
    "Prf": check_prf,
    "PrfPlus": check_prf_plus,
    "Integrity": check_integrity,
}
"""What checks a test, by the type of its group."""
