"""AUTH, computed a second time with nothing but HMAC, and on real messages."""

import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iketcp.crypto.prf import PRFS, Prf
from iketcp.environment import ScriptedEntropy
from iketcp.ike import auth
from iketcp.ike.auth import (
    KEY_PAD,
    is_shared_key_auth,
    shared_key_auth,
    signed_octets,
)
from pair import EAST, SECRET, WEST, Pair

SIGNED = b"what was said and by whom"
ID_BODY = b"\2\0\0\0west.example"


def sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, data, "sha256")


every_prf = pytest.mark.parametrize("prf", PRFS.values(), ids=lambda prf: prf.hash_name)


def test_the_pad_is_seventeen_ascii_characters() -> None:
    """RFC 7296 §2.15: without a terminating zero."""
    assert "Key Pad for IKEv2".encode("ascii") == KEY_PAD
    assert len(KEY_PAD) == 17


@every_prf
def test_what_is_signed(prf: Prf) -> None:
    """RFC 7296 §2.15: message | the other's nonce | prf(SK_p, ID payload's rest)."""
    maced = hmac.digest(b"sk_p", ID_BODY, prf.hash_name)
    octets = signed_octets(prf, b"first message", b"their nonce", b"sk_p", ID_BODY)
    assert octets == b"first message" + b"their nonce" + maced


@every_prf
def test_auth_of_a_shared_key(prf: Prf) -> None:
    """RFC 7296 §2.15: prf(prf(Shared Secret, "Key Pad for IKEv2"), octets)."""
    key = hmac.digest(b"secret", b"Key Pad for IKEv2", prf.hash_name)
    expected = hmac.digest(key, SIGNED, prf.hash_name)
    assert shared_key_auth(prf, b"secret", SIGNED) == expected
    assert is_shared_key_auth(prf, b"secret", SIGNED, expected)


@every_prf
def test_wrong_values_are_refused(prf: Prf) -> None:
    """RFC 7296 §2.15: another secret, other octets, another value or size."""
    good = shared_key_auth(prf, b"secret", SIGNED)
    assert not is_shared_key_auth(prf, b"Secret", SIGNED, good)
    assert not is_shared_key_auth(prf, b"secret", SIGNED + b"!", good)
    for position in range(len(good)):
        wrong = bytearray(good)
        wrong[position] ^= 1
        assert not is_shared_key_auth(prf, b"secret", SIGNED, bytes(wrong))
    for size in (0, 1, len(good) - 1):
        assert not is_shared_key_auth(prf, b"secret", SIGNED, good[:size])
    assert not is_shared_key_auth(prf, b"secret", SIGNED, good + b"\0")


def test_the_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret value is never compared octet by octet until the first difference."""
    compared: list[set[bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return one == other

    monkeypatch.setattr(auth.hmac, "compare_digest", compare)
    good = shared_key_auth(PRFS[5], b"secret", SIGNED)
    assert not is_shared_key_auth(PRFS[5], b"secret", SIGNED, b"wrong")
    assert compared == [{good, b"wrong"}]


# --- on real messages -----------------------------------------------------------------


def payload(octets: bytes, position: int, kind: int, wanted: int) -> bytes:
    """Body of the first payload of type ``wanted`` in a chain that begins so."""
    while kind != wanted:
        assert kind, f"no payload of type {wanted}"
        kind, size = octets[position], octets[position + 2 : position + 4]
        position += int.from_bytes(size, "big")
    end = position + int.from_bytes(octets[position + 2 : position + 4], "big")
    return octets[position + 4 : end]


def test_the_messages_on_the_wire_authenticate() -> None:
    """RFC 7296 §2.14, §2.15: from the scripted private key to both AUTH payloads."""
    pair = Pair()
    pair.up()
    # a frame: Length, non-ESP marker, message; west's first write is the prefix
    west = [octets[6:] for side, _, octets in pair.sent if side == WEST][1:3]
    east = [octets[6:] for side, _, octets in pair.sent if side == EAST][:2]
    (init_i, auth_i), (init_r, auth_r) = west, east
    ni, nr = (payload(m, 28, m[16], 40) for m in (init_i, init_r))
    private = ScriptedEntropy("west").draw("ike_sa_init.ke.private", 32)
    g_ir = X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(payload(init_r, 28, init_r[16], 34)[4:])
    )
    seed, skeyseed = ni + nr + init_r[:16], sha256(ni + nr, g_ir)
    octets, block = b"", b""
    for number in range(1, 7):
        block = sha256(skeyseed, block + seed + bytes([number]))
        octets += block
    # SK_d 32, no SK_a, SK_ei and SK_er 36 each with salt, SK_pi and SK_pr 32 each
    sk_ei, sk_er = octets[32:68], octets[68:104]
    sk_pi, sk_pr = octets[104:136], octets[136:168]
    key = sha256(SECRET, b"Key Pad for IKEv2")
    for message, sk_e, sk_p, nonce, first, id_type in (
        (auth_i, sk_ei, sk_pi, nr, init_i, 35),
        (auth_r, sk_er, sk_pr, ni, init_r, 36),
    ):
        nonce_octets = sk_e[32:] + message[32:40]
        inner = AESGCM(sk_e[:32]).decrypt(nonce_octets, message[40:], message[:32])
        identity = payload(inner, 0, message[28], id_type)
        value = payload(inner, 0, message[28], 39)
        assert value[:4] == b"\2\0\0\0"  # Shared Key Message Integrity Code
        assert value[4:] == sha256(key, first + nonce + sha256(sk_p, identity))
