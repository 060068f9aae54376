"""The file ``ike_encrypted_test.json`` against ``cryptography``, hmac and scapy."""

import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from scapy.contrib.ikev2 import IKEv2

from iketcp.vectorlib import check_ike_encrypted
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

HASHES = {12: "sha256", 13: "sha384", 14: "sha512"}


def opened(group: Json, message: bytes) -> bytes | None:
    """Open a message by its I flag: plaintext, or ``None`` if it proves nothing."""
    spec = group["cipher"]
    side = "i" if message[19] & 0x08 else "r"
    key, integrity_key = octets(group, f"skE{side}", f"skA{side}")
    before, body = message[:32], message[32:]
    iv, rest = body[: spec["ivSize"]], body[spec["ivSize"] :]
    if len(body) < spec["ivSize"] + spec["blockSize"] + spec["icvSize"]:
        return None
    if spec["integ"] is None:
        cls = AESGCM if spec["encr"] == 20 else ChaCha20Poly1305
        try:
            return cls(key[:-4]).decrypt(key[-4:] + iv, rest, before)
        except InvalidTag:
            return None
    ciphertext, icv = rest[: -spec["icvSize"]], rest[-spec["icvSize"] :]
    covered = hmac.digest(
        integrity_key, before + iv + ciphertext, HASHES[spec["integ"]]
    )
    if covered[: len(icv)] != icv:
        return None
    mode: modes.CBC | modes.CTR = modes.CBC(iv)
    if spec["encr"] == 13:
        key, mode = key[:-4], modes.CTR(key[-4:] + iv + b"\0\0\0\1")
    return Cipher(algorithms.AES(key), mode).decryptor().update(ciphertext)


def test_messages_open() -> None:
    """RFC 7296 §3.14: what opens, opens to inner, padding and its count."""
    for group, test in grouped("ike_encrypted", "Encrypted"):
        message, inner, padding = octets(test, "message", "inner", "padding")
        plaintext = opened(group, message)
        if test["reaction"] == "drop":
            assert plaintext is None, test["tcId"]
            continue
        assert plaintext is not None, test["tcId"]
        assert plaintext[:-1] == inner + padding, test["tcId"]
        is_good = plaintext[-1] == len(padding)
        assert is_good == (test["result"] == "valid"), test["tcId"]
        assert is_good or plaintext[-1] >= len(plaintext)
        shortest = -(len(inner) + 1) % group["cipher"]["blockSize"]
        if test["result"] == "valid":
            assert test["canonical"] == (padding == bytes(shortest)), test["tcId"]


def test_headers_are_as_described() -> None:
    """RFC 7296 §3.1, §3.2: header, flags, lengths; scapy reads the same."""
    for group, test in grouped("ike_encrypted", "Encrypted"):
        message = bytes.fromhex(test["message"])
        assert int.from_bytes(message[24:28], "big") == len(message)
        assert int.from_bytes(message[30:32], "big") == len(message) - 28
        if test["result"] != "valid":
            continue
        parsed = IKEv2(message)
        flags = 0x08 * test["isFromInitiator"] + 0x20 * test["isResponse"]
        assert bytes(parsed.init_SPI).hex() == group["spiI"]
        assert bytes(parsed.resp_SPI).hex() == group["spiR"]
        assert (parsed.next_payload, parsed.exch_type) == (46, test["exchangeType"])
        assert (int(parsed.flags), parsed.id) == (flags, test["messageId"])
        assert message[28] == test["firstInnerPayload"]


@pytest.mark.parametrize("reaction", ["drop", "INVALID_SYNTAX"])
def test_every_cipher_has_refusals(reaction: str) -> None:
    """RFC 7296 §2.21.3: of each kind."""
    for group in document("ike_encrypted")["testGroups"][1:]:
        found = {test["reaction"] for test in group["tests"]}
        assert reaction in found or len(group["tests"]) < 10


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_ike_encrypted.problems(document("ike_encrypted")) == []
    assert unnoticed("ike_encrypted", "Encrypted", "error") == []
    valid = {
        f"tcId {test['tcId']}: message"
        for _, test in grouped("ike_encrypted", "Encrypted")
        if test["result"] == "valid"
    }
    assert not valid & set(unnoticed("ike_encrypted", "Encrypted", "message"))
