"""The file ``key_encapsulation_test.json`` against OpenSSL, without our code."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from iketcp.vectorlib import check_key_encapsulation, plain_ml_kem
from vector_support import document, grouped, octets, unnoticed

NAME = "key_encapsulation"
PRIVATE = {36: mlkem.MLKEM768PrivateKey, 37: mlkem.MLKEM1024PrivateKey}
PUBLIC = {36: mlkem.MLKEM768PublicKey, 37: mlkem.MLKEM1024PublicKey}


def test_decapsulation() -> None:
    """FIPS 203: key and secret of each; what has another size is no ciphertext."""
    for group, test in grouped(NAME, "Decapsulation"):
        seed, key, ciphertext, shared = octets(
            test, "seed", "encapsulationKey", "ciphertext", "shared"
        )
        ours = PRIVATE[group["method"]].from_seed_bytes(seed)
        assert ours.public_key().public_bytes_raw() == key
        if test["result"] == "invalid":
            with pytest.raises(ValueError, match="ciphertext"):
                ours.decapsulate(ciphertext)
        else:
            assert ours.decapsulate(ciphertext) == shared, test["tcId"]
        if "ImplicitRejection" in test["flags"]:
            rejected = hashlib.shake_256(seed[32:] + ciphertext).digest(32)
            assert shared == rejected


def test_encapsulation() -> None:
    """The same for what the responder is given; OpenSSL refuses what the file does."""
    for group, test in grouped(NAME, "Encapsulation"):
        (key,) = octets(test, "encapsulationKey")
        load = PUBLIC[group["method"]].from_public_bytes
        if test["result"] == "invalid":
            with pytest.raises(ValueError, match="public key"):
                load(key)
        else:
            assert load(key).public_bytes_raw() == key


@pytest.mark.parametrize("method", sorted(PRIVATE))
def test_what_was_computed_by_hand_opens(method: int) -> None:
    """The arithmetic behind the file and behind transcripts: OpenSSL opens it."""
    for number in range(8):
        seed = hashlib.shake_256(bytes([number])).digest(64)
        ours = PRIVATE[method].from_seed_bytes(seed)
        key = plain_ml_kem.encapsulation_key(method, seed)
        assert key == ours.public_key().public_bytes_raw()
        ciphertext, secret = plain_ml_kem.encapsulate(method, key, seed[:32])
        assert ours.decapsulate(ciphertext) == secret


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_key_encapsulation.problems(document(NAME)) == []
    members = ("encapsulationKey", "shared", "error")
    assert unnoticed(NAME, "Decapsulation", *members) == []
    assert unnoticed(NAME, "Encapsulation", "error") == []
