"""The file ``eap_test.json`` against an MD4 written here and ``cryptography``'s DES."""

import hashlib
import struct
from collections.abc import Mapping

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from scapy.layers.eap import EAP

from iketcp.vectorlib import check_eap
from vector_support import document, grouped, octets, unnoticed

OUTPUTS = {
    "EapPacket": ("code", "identifier", "type", "data", "error"),
    "MschapV2": (
        "passwordHash",
        "challenge",
        "ntResponse",
        "authenticatorResponse",
        "masterKey",
        "msk",
    ),
    "MschapV2Message": (
        "mschapv2Id",
        "opCode",
        "challenge",
        "ntResponse",
        "name",
        "message",
        "error",
    ),
    "EapTlsFragments": ("flight", "error"),
    "EapConversation": ("messages", "identity", "msk", "error"),
}


# --- primitives of the test's own ---------------------------------------------------


def md4(message: bytes) -> bytes:
    """MD4 as RFC 1320 describes it."""

    def rotated(value: int, by: int) -> int:
        value &= 0xFFFFFFFF
        return value << by & 0xFFFFFFFF | value >> 32 - by

    rounds = (
        (lambda x, y, z: x & y | ~x & z, 0, (3, 7, 11, 19), range(16)),
        (
            lambda x, y, z: x & y | x & z | y & z,
            0x5A827999,
            (3, 5, 9, 13),
            [4 * (i % 4) + i // 4 for i in range(16)],
        ),
        (
            lambda x, y, z: x ^ y ^ z,
            0x6ED9EBA1,
            (3, 9, 11, 15),
            [int(f"{i:04b}"[::-1], 2) for i in range(16)],
        ),
    )
    padded = message + b"\x80" + bytes(-(len(message) + 9) % 64)
    padded += struct.pack("<Q", 8 * len(message))
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for at in range(0, len(padded), 64):
        words = struct.unpack("<16I", padded[at : at + 64])
        a, b, c, d = state
        for mix, constant, shifts, order in rounds:
            for i, k in enumerate(order):
                total = a + mix(b, c, d) + words[k] + constant
                a, b, c, d = d, rotated(total, shifts[i % 4]), b, c
        state = [x + y & 0xFFFFFFFF for x, y in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)


def des(seven: bytes, block: bytes) -> bytes:
    """Encrypt one block under 56 bits, three times the same key."""
    number = int.from_bytes(seven, "big")
    key = bytes((number >> 49 - 7 * i & 0x7F) << 1 for i in range(8))
    # a key of two different halves cannot be given: the same three times is plain DES
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
    return encryptor.update(block)


def test_primitives() -> None:
    """RFC 1320's and the DES standard's own examples."""
    assert md4(b"").hex() == "31d6cfe0d16ae931b73c59d7e0c089c0"
    assert md4(b"message digest").hex() == "d9130a8164549fe818874806e1c7014b"
    assert md4(b"1234567890" * 8).hex() == "e33b4ddc9c38f2199c3e7b164fcc0536"
    seven = int("".join(f"{o:08b}"[:7] for o in bytes.fromhex("133457799bbcdff1")), 2)
    block = bytes.fromhex("0123456789abcdef")
    assert des(seven.to_bytes(7, "big"), block).hex() == "85e813540f0ab405"


# --- what the file says ---------------------------------------------------------------


def test_published_values() -> None:
    """As printed in RFC 2759 §9.2 and RFC 3079 §3.5.3."""
    _, test = next(grouped("eap", "MschapV2"))
    assert test["flags"] == ["Published"]
    assert test["passwordHash"] == "44ebba8d5312b8d611474411f56989ae"
    assert test["challenge"] == "d02e4386bce91226"
    assert test["ntResponse"] == "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"
    proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
    assert test["authenticatorResponse"] == proof
    assert test["masterKey"] == "fdece3717a8c838cb388e527ae3cdd31"
    assert test["msk"][32:64] == "8b7cdc149b993a1ba118cb153f56dccb"


def test_values_follow_from_passwords() -> None:
    """RFC 2759 §8, RFC 3079 §3.4, with primitives of the test's own."""
    for _, test in grouped("eap", "MschapV2"):
        password, name, theirs, ours = octets(
            test, "password", "name", "authenticatorChallenge", "peerChallenge"
        )
        secret = md4(password.decode().encode("utf-16-le"))
        user = name[name.rfind(b"\\") + 1 :]
        challenge = hashlib.sha1(ours + theirs + user).digest()[:8]
        keys = secret[:7], secret[7:14], secret[14:] + bytes(5)
        response = b"".join(des(key, challenge) for key in keys)
        assert test["passwordHash"] == secret.hex(), test["tcId"]
        assert test["challenge"] == challenge.hex()
        assert test["ntResponse"] == response.hex()
        magic = b"Magic server to client signing constant"
        digest = hashlib.sha1(md4(secret) + response + magic).digest()
        pad = b"Pad to make it do more than one iteration"
        digest = hashlib.sha1(digest + challenge + pad).digest()
        assert test["authenticatorResponse"] == f"S={digest.hex().upper()}"
        magic = b"This is the MPPE Master Key"
        master = hashlib.sha1(md4(secret) + response + magic).digest()[:16]
        assert test["masterKey"] == master.hex()
        assert test["msk"] == msk(master).hex()


def msk(master: bytes) -> bytes:
    """RFC 3079 §3.4: client to server, server to client, zeros."""
    magics = (
        b"On the client side, this is the send key; on the server side, it is the"
        b" receive key.",
        b"On the client side, this is the receive key; on the server side, it is the"
        b" send key.",
    )
    pads = bytes(40), b"\xf2" * 40
    return b"".join(
        hashlib.sha1(master + pads[0] + magic + pads[1]).digest()[:16]
        for magic in magics
    ) + bytes(32)


def test_packets_as_scapy_reads_them() -> None:
    """Code, Identifier, Length and Type."""
    for _, test in grouped("eap", "EapPacket"):
        if test["result"] != "valid":
            continue
        (whole,) = octets(test, "octets")
        seen = EAP(whole)
        assert (seen.code, seen.id, seen.len) == (
            test["code"],
            test["identifier"],
            len(whole),
        )
        if test["type"] is not None:
            assert seen.type == test["type"]
            assert whole[5:].hex() == test["data"]


def msk_of(said: list[bytes], secrets: Mapping[bytes, bytes]) -> bytes:
    """MSK of a conversation, empty if the password was wrong; secrets by user."""
    (challenge,) = [m[10:26] for m in said if m[0] == 1 and m[4:6] == b"\x1a\x01"]
    (answer,) = [m for m in said if m[0] == 2 and m[4:6] == b"\x1a\x02"]
    ours, response, name = answer[10:26], answer[34:58], answer[59:]
    user = name[name.rfind(b"\\") + 1 :]
    secret = secrets.get(user, bytes(16))
    hashed = hashlib.sha1(ours + challenge + user).digest()[:8]
    keys = secret[:7], secret[7:14], secret[14:] + bytes(5)
    if b"".join(des(key, hashed) for key in keys) != response:
        return b""
    magic = b"This is the MPPE Master Key"
    return msk(hashlib.sha1(md4(secret) + response + magic).digest()[:16])


def test_conversations_are_of_one_password() -> None:
    """Verdict and MSK follow from what was said and the user's password."""
    ends = set()
    for _, test in grouped("eap", "EapConversation"):
        said = [bytes.fromhex(message) for message in test["messages"]]
        secrets = {
            bytes.fromhex(user["name"]): bytes.fromhex(user["passwordHash"])
            for user in test["users"]
        }
        found = msk_of(said, secrets)
        assert bool(found) == (test["result"] == "valid"), test["tcId"]
        assert said[-1][0] == (3 if found else 4)
        assert test["msk"] == found.hex()
        ends.add(bool(found))
    assert ends == {True, False}


def test_flights_are_their_fragments() -> None:
    """RFC 5216 §3.1: without flags and lengths, one after the other."""
    for _, test in grouped("eap", "EapTlsFragments"):
        if test["result"] == "invalid":
            continue
        pieces = [bytes.fromhex(each) for each in test["fragments"]]
        data = b"".join(p[5:] if p[0] & 0x80 else p[1:] for p in pieces)
        assert data.hex() == test["flight"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_eap.problems(document("eap")) == []
    for kind, members in OUTPUTS.items():
        assert unnoticed("eap", kind, *members) == []
