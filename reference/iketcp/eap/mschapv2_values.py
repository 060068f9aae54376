"""The arithmetic of MS-CHAPv2: hashes, responses and the keys made from them.

It is old: MD4, DES and SHA-1 in ways that were weak when they were new. Whoever sees
one conversation in the clear can find the password, so it is used inside an IKE SA
whose responder has already proved itself, and never alone [RFC 5998 §4].

Names are those of the RFC's pseudocode.

Source: RFC 2759 §8
Source: RFC 3079 §3.4
"""

import hashlib

from Cryptodome.Cipher import DES
from Cryptodome.Hash import MD4

CHALLENGE_SIZE = 16
"""Octets of either challenge. Source: RFC 2759 §3, RFC 2759 §4."""

NT_RESPONSE_SIZE = 24
"""Octets. Source: RFC 2759 §4."""

HASH_SIZE = 16
"""Octets of an NT password hash. Source: RFC 2759 §8.3."""

MAX_PASSWORD_CHARACTERS = 256
"""Source: RFC 2759 §8.3."""

_SERVER_TO_CLIENT = b"Magic server to client signing constant"
_ITERATION = b"Pad to make it do more than one iteration"
_MASTER_KEY = b"This is the MPPE Master Key"
_CLIENT_SENDS = (
    b"On the client side, this is the send key; "
    b"on the server side, it is the receive key."
)
_SERVER_SENDS = (
    b"On the client side, this is the receive key; "
    b"on the server side, it is the send key."
)
_PAD_1 = bytes(40)
_PAD_2 = b"\xf2" * 40


def nt_password_hash(password: str) -> bytes:
    """Hash a password: MD4 over UTF-16, 16 octets. Source: RFC 2759 §8.3."""
    return MD4.new(password.encode("utf-16-le", "surrogatepass")).digest()


def hash_nt_password_hash(password_hash: bytes) -> bytes:
    """Hash the hash, 16 octets. Source: RFC 2759 §8.4."""
    return MD4.new(password_hash).digest()


def user_of(name: bytes) -> bytes:
    r"""Return a name without the domain before it, as in ``DOMAIN\user``.

    Source: RFC 2759 §8.2
    """
    return name.rpartition(b"\\")[2]


def challenge_hash(
    peer_challenge: bytes, authenticator_challenge: bytes, name: bytes
) -> bytes:
    """Fold both challenges and the user's name into 8 octets. RFC 2759 §8.2."""
    challenges = peer_challenge + authenticator_challenge
    return _sha1(challenges, user_of(name))[:8]


def des_key(octets: bytes) -> bytes:
    """Spread 7 octets over 8, each with odd parity. RFC 2759 §8.6, RFC 2759 §9.3."""
    bits = int.from_bytes(octets, "big")
    sevens = ((bits >> shift) & 0x7F for shift in range(49, -1, -7))
    return bytes(s << 1 | (s.bit_count() + 1) % 2 for s in sevens)


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """Encrypt a challenge of 8 octets under thirds of the hash. RFC 2759 §8.5."""
    padded = password_hash + bytes(21 - HASH_SIZE)
    thirds = (padded[at : at + 7] for at in (0, 7, 14))
    return b"".join(
        DES.new(des_key(third), DES.MODE_ECB).encrypt(challenge) for third in thirds
    )


def nt_response(
    authenticator_challenge: bytes,
    peer_challenge: bytes,
    name: bytes,
    password_hash: bytes,
) -> bytes:
    """Compute the peer's proof, 24 octets. Source: RFC 2759 §8.1."""
    challenge = challenge_hash(peer_challenge, authenticator_challenge, name)
    return challenge_response(challenge, password_hash)


def authenticator_response(
    password_hash: bytes,
    nt_response: bytes,
    peer_challenge: bytes,
    authenticator_challenge: bytes,
    name: bytes,
) -> bytes:
    """Compute the authenticator's proof: ``S=`` and 40 digits. RFC 2759 §8.7."""
    hash_of_hash = hash_nt_password_hash(password_hash)
    digest = _sha1(hash_of_hash, nt_response, _SERVER_TO_CLIENT)
    challenge = challenge_hash(peer_challenge, authenticator_challenge, name)
    return b"S=" + _sha1(digest, challenge, _ITERATION).hex().upper().encode()


def master_key(password_hash: bytes, nt_response: bytes) -> bytes:
    """Derive MasterKey, 16 octets. Source: RFC 3079 §3.4."""
    hash_of_hash = hash_nt_password_hash(password_hash)
    return _sha1(hash_of_hash, nt_response, _MASTER_KEY)[:16]


def start_key(master: bytes, is_client_sending: bool) -> bytes:
    """Derive the key of one direction, 16 octets. Source: RFC 3079 §3.4."""
    magic = _CLIENT_SENDS if is_client_sending else _SERVER_SENDS
    return _sha1(master, _PAD_1, magic, _PAD_2)[:16]


def master_session_key(password_hash: bytes, nt_response: bytes) -> bytes:
    """Make the MSK, 64 octets: what the client sends with, the server, and zeros.

    No RFC says how the two keys become an MSK. This is what peers do; and where an MSK
    is the key of HMAC, the zeros make no difference.

    Source: RFC 3079 §3.4, RFC 3748 §7.10
    """
    master = master_key(password_hash, nt_response)
    return start_key(master, True) + start_key(master, False) + bytes(32)


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()
