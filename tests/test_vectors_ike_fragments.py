"""The file ``ike_fragments_test.json`` against ``cryptography`` and hmac.

A receiver of our own making: a dictionary of pieces, and nothing of the package.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from iketcp.vectorlib import check_ike_fragments
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

HASHES = {12: "sha256", 13: "sha384", 14: "sha512"}
HEADER, NUMBERS, BODY = 28, 32, 36
"""Where a message has its generic payload header, its numbers, and its IV."""


def opened(group: Json, message: bytes) -> bytes | None:
    """Content of a fragment, or ``None`` if it proves nothing."""
    spec = group["cipher"]
    side = "i" if message[19] & 0x08 else "r"
    key, integrity_key = octets(group, f"skE{side}", f"skA{side}")
    before, body = message[:BODY], message[BODY:]
    iv, rest = body[: spec["ivSize"]], body[spec["ivSize"] :]
    if spec["integ"] is None:
        cls = AESGCM if spec["encr"] == 20 else ChaCha20Poly1305
        try:
            plaintext = cls(key[:-4]).decrypt(key[-4:] + iv, rest, before)
        except InvalidTag:
            return None
    else:
        ciphertext, icv = rest[: -spec["icvSize"]], rest[-spec["icvSize"] :]
        covered = before + iv + ciphertext
        digest = hmac.digest(integrity_key, covered, HASHES[spec["integ"]])
        if digest[: len(icv)] != icv:
            return None
        mode: modes.CBC | modes.CTR = modes.CBC(iv)
        if spec["encr"] == 13:
            key, mode = key[:-4], modes.CTR(key[-4:] + iv + b"\0\0\0\1")
        plaintext = Cipher(algorithms.AES(key), mode).decryptor().update(ciphertext)
    return plaintext[: len(plaintext) - 1 - plaintext[-1]]


def test_fragments_become_messages() -> None:
    """RFC 7383 §2.6: outcome by outcome, and what comes of it."""
    for group, test in grouped("ike_fragments", "Fragments"):
        have: dict[int, bytes] = {}
        total, first, whole = 0, 0, None
        for text, outcome in zip(test["messages"], test["outcomes"], strict=True):
            message = bytes.fromhex(text)
            number = int.from_bytes(message[NUMBERS : NUMBERS + 2], "big")
            of = int.from_bytes(message[NUMBERS + 2 : BODY], "big")
            content = opened(group, message)
            is_possible = 1 <= number <= of
            is_new = of > total or (of == total and number not in have)
            if not is_possible or not is_new or content is None:
                assert outcome == "dropped", test["tcId"]
                continue
            if of > total:
                have, total = {}, of
            have[number] = content
            if number == 1:
                first = message[HEADER]
            is_complete = len(have) == total
            assert outcome == ("complete" if is_complete else "kept"), test["tcId"]
            if is_complete:
                whole = b"".join(have[n] for n in sorted(have))
        assert (whole is not None) == (test["result"] == "valid"), test["tcId"]
        if whole is not None:
            assert (first, whole.hex()) == (test["firstInnerPayload"], test["inner"])


def test_only_the_first_names_the_first_payload() -> None:
    """RFC 7383 §2.5: Next Payload is zero in all others; 53 is before all of them."""
    for _, test in grouped("ike_fragments", "Fragments"):
        for text, number in zip(test["messages"], test["numbers"], strict=True):
            message = bytes.fromhex(text)
            assert message[16] == 53
            assert int.from_bytes(message[24:28], "big") == len(message)
            size = int.from_bytes(message[HEADER + 2 : NUMBERS], "big")
            assert size == len(message) - HEADER
            if number > 1 and "Numbers" not in test["flags"]:
                assert message[HEADER] == 0


def test_our_fragments_pass() -> None:
    """And a file that says otherwise does not."""
    assert check_ike_fragments.problems(document("ike_fragments")) == []
    for member in ("outcomes", "error", "inner"):
        found = unnoticed("ike_fragments", "Fragments", member)
        if member == "inner":
            invalid = {
                test["tcId"]
                for _, test in grouped("ike_fragments", "Fragments")
                if test["result"] == "invalid"
            }
            found = [id for id in found if id not in invalid]
        assert found == [], member
