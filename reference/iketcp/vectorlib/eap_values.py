"""MS-CHAPv2 by the formulas of the RFCs, with MD4, DES and SHA-1 alone.

Source: RFC 2759 §8, RFC 3079 §3.4
"""

import hashlib

from Cryptodome.Cipher import DES
from Cryptodome.Hash import MD4


def nt_hash(password: str) -> bytes:
    """Hash a password. Source: RFC 2759 §8.3."""
    return MD4.new(password.encode("utf-16-le")).digest()


def sha1(*parts: bytes) -> bytes:
    """Hash parts as one."""
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def des(key: bytes, block: bytes) -> bytes:
    """Encrypt under 7 octets. Source: RFC 2759 §8.6."""
    bits = "".join(f"{octet:08b}" for octet in key)
    spread = bytes(int(bits[at : at + 7] + "0", 2) for at in range(0, 56, 7))
    return DES.new(spread, DES.MODE_ECB).encrypt(block)


def challenge_of(peer: bytes, authenticator: bytes, name: bytes) -> bytes:
    """Hash challenges and name. Source: RFC 2759 §8.2."""
    return sha1(peer, authenticator, name.split(b"\\")[-1])[:8]


def nt_response(secret: bytes, peer: bytes, authenticator: bytes, name: bytes) -> bytes:
    """Compute the peer's proof. Source: RFC 2759 §8.1, RFC 2759 §8.5."""
    challenge = challenge_of(peer, authenticator, name)
    padded = secret + bytes(5)
    return b"".join(des(padded[at : at + 7], challenge) for at in (0, 7, 14))


def proof(
    secret: bytes, response: bytes, peer: bytes, authenticator: bytes, name: bytes
) -> str:
    """Compute the authenticator's proof. Source: RFC 2759 §8.7."""
    digest = sha1(
        MD4.new(secret).digest(), response, b"Magic server to client signing constant"
    )
    challenge = challenge_of(peer, authenticator, name)
    pad = b"Pad to make it do more than one iteration"
    return "S=" + sha1(digest, challenge, pad).hex().upper()


def master_key(secret: bytes, response: bytes) -> bytes:
    """Derive the master key. Source: RFC 3079 §3.4."""
    hash_of_hash = MD4.new(secret).digest()
    return sha1(hash_of_hash, response, b"This is the MPPE Master Key")[:16]


def msk_of(secret: bytes, response: bytes) -> bytes:
    """Make the MSK from the keys of both directions. Source: RFC 3079 §3.4."""
    master = master_key(secret, response)
    keys = [
        sha1(
            master,
            bytes(40),
            f"On the client side, this is the {ours} key; "
            f"on the server side, it is the {theirs} key.".encode(),
            b"\xf2" * 40,
        )[:16]
        for ours, theirs in (("send", "receive"), ("receive", "send"))
    ]
    return b"".join(keys) + bytes(32)
