"""Runs ``ike_keys_test.json`` against our key derivation.

Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 7296 §2.18, RFC 8784 §3
"""

from iketcp.crypto.prf import PRFS
from iketcp.crypto.suite import Suite
from iketcp.ike import keys
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex

IKE_KEYS = {
    "skD": "sk_d",
    "skAi": "sk_ai",
    "skAr": "sk_ar",
    "skEi": "sk_ei",
    "skEr": "sk_er",
    "skPi": "sk_pi",
    "skPr": "sk_pr",
}
CHILD_KEYS = {
    "encryptionI": "encryption_i",
    "integrityI": "integrity_i",
    "encryptionR": "encryption_r",
    "integrityR": "integrity_r",
}


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def suite_of(cipher: Json, prf: int | None) -> Suite:
    """Make a suite of what a file says about a cipher."""
    return Suite(cipher["encr"], cipher["keyBits"], prf, cipher["integ"])


def cipher_problems(test: Json, suite: Suite) -> list[str]:
    """Compare the sizes that the file gives a cipher with ours."""
    spec = suite.cipher
    ours = test["cipher"] | {
        "encryptionKeySize": spec.key_size,
        "integrityKeySize": spec.integrity_key_size,
        "ivSize": spec.iv_size,
        "icvSize": spec.icv_size,
        "blockSize": spec.block_size,
    }
    return compare(test, "cipher", ours)


def check_ike(group: Json, test: Json) -> list[str]:
    """Derive the keys of a first IKE SA."""
    ni, nr, g_ir = unhex(test, "ni", "nr", "gIr")
    skeyseed = keys.derive_skeyseed(PRFS[group["prf"]], ni, nr, g_ir)
    return check_seven(test, group["prf"], skeyseed)


def check_rekeyed(group: Json, test: Json) -> list[str]:
    """Derive the keys of a rekeyed IKE SA."""
    old_sk_d, g_ir, ni, nr = unhex(test, "oldSkD", "gIr", "ni", "nr")
    old_prf = PRFS[group["prf"]]
    skeyseed = keys.derive_rekeyed_skeyseed(old_prf, old_sk_d, g_ir, ni, nr)
    return check_seven(test, test["newPrf"], skeyseed)


def check_seven(test: Json, prf: int, skeyseed: bytes) -> list[str]:
    """Compare SKEYSEED and the seven keys."""
    suite = suite_of(test["cipher"], prf)
    nonces_and_spis = unhex(test, "ni", "nr", "spiI", "spiR")
    ours = keys.derive_ike_keys(suite, skeyseed, *nonces_and_spis)
    found = cipher_problems(test, suite)
    found += compare(test, "skeyseed", skeyseed.hex())
    for name, attribute in IKE_KEYS.items():
        found += compare(test, name, getattr(ours, attribute).hex())
    return found


def check_child(group: Json, test: Json) -> list[str]:
    """Derive the keys of a Child SA, of one key exchange or of several."""
    suite = suite_of(test["cipher"], None)
    sk_d, ni, nr, g_ir = unhex(test, "skD", "ni", "nr", "gIr")
    prf = PRFS[group["prf"]]
    further = bytes.fromhex("".join(test.get("further", [])))
    ours = keys.derive_child_keys(prf, sk_d, suite, ni, nr, g_ir, further)
    found = cipher_problems(test, suite)
    for name, attribute in CHILD_KEYS.items():
        found += compare(test, name, getattr(ours, attribute).hex())
    return found


def check_ppk(group: Json, test: Json) -> list[str]:
    """Mix a PPK into three keys of a first IKE SA; the other four are empty here."""
    ppk, *without = unhex(test, "ppk", "skDWithout", "skPiWithout", "skPrWithout")
    names = ("skD", "skPi", "skPr")
    given = {IKE_KEYS[name]: key for name, key in zip(names, without, strict=True)}
    others = dict.fromkeys(set(IKE_KEYS.values()) - set(given), b"")
    ours = keys.mix_ppk(PRFS[group["prf"]], keys.IkeKeys(**given, **others), ppk)
    found = []
    for name in names:
        found += compare(test, name, getattr(ours, IKE_KEYS[name]).hex())
    return found


def check_updated(group: Json, test: Json) -> list[str]:
    """Update the keys of an IKE SA, by the formula of a rekey with the first nonces."""
    sk_d, g_ir, ni, nr = unhex(test, "skDBefore", "gIr", "ni", "nr")
    skeyseed = keys.derive_rekeyed_skeyseed(PRFS[group["prf"]], sk_d, g_ir, ni, nr)
    return check_seven(test, group["prf"], skeyseed)


def check_followed_up(group: Json, test: Json) -> list[str]:
    """Derive the keys of a rekeyed IKE SA, of several key exchanges."""
    old_sk_d, g_ir, ni, nr = unhex(test, "oldSkD", "gIr", "ni", "nr")
    further = bytes.fromhex("".join(test["further"]))
    prf = PRFS[group["prf"]]
    skeyseed = keys.derive_rekeyed_skeyseed(prf, old_sk_d, g_ir, ni, nr, further)
    return check_seven(test, test["newPrf"], skeyseed)


CHECKED = {
    "IkeKeys": check_ike,
    "RekeyedIkeKeys": check_rekeyed,
    "ChildKeys": check_child,
    "PpkKeys": check_ppk,
    "UpdatedIkeKeys": check_updated,
    "FollowedUpIkeKeys": check_followed_up,
    "FollowedUpChildKeys": check_child,
}
"""What checks a test, by the type of its group."""
