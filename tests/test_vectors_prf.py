"""The file ``prf_test.json`` against hmac, and against our own functions."""

import hashlib
import hmac

from iketcp.vectorlib import check_prf
from vector_support import document, grouped, octets, unnoticed

HASHES = {5: hashlib.sha256, 6: hashlib.sha384, 7: hashlib.sha512}
INTEGRITY = {
    12: (hashlib.sha256, 16),
    13: (hashlib.sha384, 24),
    14: (hashlib.sha512, 32),
}


def test_outputs_are_hmac() -> None:
    """RFC 4231 §4, RFC 4868 §2.7.2: each output, cut where the RFC cuts it."""
    for group, test in grouped("prf", "Prf"):
        key, data, output = octets(test, "key", "data", "output")
        computed = hmac.new(key, data, HASHES[group["prf"]]).digest()
        is_short = "ShortOutput" in test["flags"]
        assert len(output) == (16 if is_short else len(computed))
        assert computed.startswith(output), test["tcId"]


def test_streams_are_chained_blocks() -> None:
    """RFC 7296 §2.13: T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n), at most 255."""
    for group, test in grouped("prf", "PrfPlus"):
        key, seed, output = octets(test, "key", "seed", "output")
        hash_of = HASHES[group["prf"]]
        if test["result"] == "invalid":
            assert test["size"] > 255 * hash_of().digest_size
            continue
        blocks = [b""]
        for count in range(1, 256):
            text = blocks[-1] + seed + bytes([count])
            blocks.append(hmac.new(key, text, hash_of).digest())
        assert output == b"".join(blocks)[: test["size"]], test["tcId"]


def test_icvs_are_halves() -> None:
    """RFC 4868 §2.3: the first half of the output."""
    for group, test in grouped("prf", "Integrity"):
        key, data, icv = octets(test, "key", "data", "icv")
        hash_of, size = INTEGRITY[group["integ"]]
        assert len(icv) == size
        assert hmac.new(key, data, hash_of).digest()[:size] == icv, test["tcId"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_prf.problems(document("prf")) == []
    assert unnoticed("prf", "Prf", "output") == []
    assert unnoticed("prf", "PrfPlus", "output", "error") == []
    assert unnoticed("prf", "Integrity", "icv") == []
