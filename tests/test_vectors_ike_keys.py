"""The file ``ike_keys_test.json`` against the formulas, written out with hmac."""

import hmac

from iketcp.vectorlib import check_ike_keys
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}
SEVEN = ("skD", "skAi", "skAr", "skEi", "skEr", "skPi", "skPr")
CHILD = ("encryptionI", "integrityI", "encryptionR", "integrityR")
# RFC 4106 §8.1, RFC 7634 §2, RFC 3686 §5.1: octets behind the key. RFC 4868 §2.1.1.
SALT = {20: 4, 28: 4, 13: 4, 12: 0}
INTEGRITY = {None: 0, 12: 32, 13: 48, 14: 64}


def stream(prf: int, key: bytes, seed: bytes, size: int) -> bytes:
    """Compute prf+. Source: RFC 7296 §2.13."""
    out = last = b""
    for count in range(1, -(-size // hmac.new(b"", b"", HASHES[prf]).digest_size) + 1):
        last = hmac.digest(key, last + seed + bytes([count]), HASHES[prf])
        out += last
    return out[:size]


def sizes(cipher: Json) -> tuple[int, int]:
    """Return key sizes of a cipher by the RFCs, not by the file."""
    key = (cipher["keyBits"] or 256) // 8 + SALT[cipher["encr"]]
    return key, INTEGRITY[cipher["integ"]]


def check_seven(test: Json, prf: int, skeyseed: bytes) -> None:
    """Check SKEYSEED and the keys after it, by size and content."""
    encryption, integrity = sizes(test["cipher"])
    width = hmac.new(b"", b"", HASHES[prf]).digest_size
    wanted = [width, integrity, integrity, encryption, encryption, width, width]
    assert test["skeyseed"] == skeyseed.hex()
    keys = octets(test, *SEVEN)
    assert [len(key) for key in keys] == wanted, test["tcId"]
    seed = b"".join(octets(test, "ni", "nr", "spiI", "spiR"))
    assert b"".join(keys) == stream(prf, skeyseed, seed, sum(wanted)), test["tcId"]


def test_first_ike_sas() -> None:
    """RFC 7296 §2.14: SKEYSEED = prf(Ni | Nr, g^ir), then seven keys."""
    for group, test in grouped("ike_keys", "IkeKeys"):
        ni, nr, g_ir = octets(test, "ni", "nr", "gIr")
        skeyseed = hmac.digest(ni + nr, g_ir, HASHES[group["prf"]])
        check_seven(test, group["prf"], skeyseed)


def test_rekeyed_ike_sas() -> None:
    """RFC 7296 §2.18: the old prf and SK_d for SKEYSEED, the new prf for the keys."""
    for group, test in grouped("ike_keys", "RekeyedIkeKeys"):
        old, g_ir, ni, nr = octets(test, "oldSkD", "gIr", "ni", "nr")
        skeyseed = hmac.digest(old, g_ir + ni + nr, HASHES[group["prf"]])
        check_seven(test, test["newPrf"], skeyseed)


def test_child_sas() -> None:
    """RFC 7296 §2.17: KEYMAT = prf+(SK_d, [g^ir] | Ni | Nr), initiator's keys first."""
    for group, test in grouped("ike_keys", "ChildKeys"):
        sk_d, g_ir, ni, nr = octets(test, "skD", "gIr", "ni", "nr")
        wanted = sizes(test["cipher"]) * 2
        keys = octets(test, *CHILD)
        assert tuple(len(key) for key in keys) == wanted, test["tcId"]
        assert bool(g_ir) == ("OwnKeyExchange" in test["flags"])
        keymat = stream(group["prf"], sk_d, g_ir + ni + nr, sum(wanted))
        assert b"".join(keys) == keymat, test["tcId"]


def test_ppks() -> None:
    """RFC 8784 §3: SK_d = prf+ (PPK, SK_d'), and SK_pi and SK_pr likewise."""
    for group, test in grouped("ike_keys", "PpkKeys"):
        ppk = bytes.fromhex(test["ppk"])
        for name in ("skD", "skPi", "skPr"):
            old, new = octets(test, f"{name}Without", name)
            assert new == stream(group["prf"], ppk, old, len(old)), test["tcId"]
            assert len(old) == hmac.new(b"", b"", HASHES[group["prf"]]).digest_size


def test_updated_ike_sas() -> None:
    """RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)."""
    for group, test in grouped("ike_keys", "UpdatedIkeKeys"):
        before, g_ir, ni, nr = octets(test, "skDBefore", "gIr", "ni", "nr")
        skeyseed = hmac.digest(before, g_ir + ni + nr, HASHES[group["prf"]])
        check_seven(test, group["prf"], skeyseed)


def test_rekeyed_ike_sas_of_several_key_exchanges() -> None:
    """RFC 9370 §2.2.4: SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | ...)."""
    for group, test in grouped("ike_keys", "FollowedUpIkeKeys"):
        parts = octets(test, "gIr", "ni", "nr") + [
            bytes.fromhex(one) for one in test["further"]
        ]
        old_sk_d = bytes.fromhex(test["oldSkD"])
        skeyseed = hmac.digest(old_sk_d, b"".join(parts), HASHES[group["prf"]])
        check_seven(test, test["newPrf"], skeyseed)


def test_child_sas_of_several_key_exchanges() -> None:
    """RFC 9370 §2.2.4: KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ...)."""
    for group, test in grouped("ike_keys", "FollowedUpChildKeys"):
        seed = b"".join(octets(test, "gIr", "ni", "nr"))
        seed += bytes.fromhex("".join(test["further"]))
        wanted = sizes(test["cipher"]) * 2
        (sk_d,) = octets(test, "skD")
        keymat = stream(group["prf"], sk_d, seed, sum(wanted))
        assert b"".join(octets(test, *CHILD)) == keymat, test["tcId"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_ike_keys.problems(document("ike_keys")) == []
    assert unnoticed("ike_keys", "IkeKeys", "skeyseed", *SEVEN) == []
    assert unnoticed("ike_keys", "RekeyedIkeKeys", "skeyseed", *SEVEN) == []
    assert unnoticed("ike_keys", "ChildKeys", *CHILD) == []
    assert unnoticed("ike_keys", "PpkKeys", "skD", "skPi", "skPr") == []
    assert unnoticed("ike_keys", "UpdatedIkeKeys", "skeyseed", *SEVEN) == []
    assert unnoticed("ike_keys", "FollowedUpIkeKeys", "skeyseed", *SEVEN) == []
    assert unnoticed("ike_keys", "FollowedUpChildKeys", *CHILD) == []
