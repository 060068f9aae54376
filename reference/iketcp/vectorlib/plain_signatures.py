"""Signatures that come out the same every time, with plain primitives.

EdDSA and RSA with PKCS#1 v1.5 leave nothing to chance, and of ECDSA there is a form
that does not; RSASSA-PSS needs a salt, which no library lets us choose. So its encoding
is written out here, and RSA is a power.

Source: RFC 7427 §3, RFC 4754 §7, RFC 8420 §2
"""

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from iketcp.crypto.signatures import SigningKey

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def signature(key: SigningKey, hash_name: str, message: bytes) -> bytes:
    """Sign; RSA with PKCS#1 v1.5, ECDSA in DER, and EdDSA without ``hash_name``."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), HASHES[hash_name])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        scheme = ec.ECDSA(HASHES[hash_name], deterministic_signing=True)
        return key.sign(message, scheme)
    assert isinstance(
        key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    )  # invariant
    return key.sign(message)


def side_by_side(dss: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write an ECDSA signature as r | s. Source: RFC 4754 §7."""
    size = (key.key_size + 7) // 8
    return b"".join(n.to_bytes(size, "big") for n in decode_dss_signature(dss))


def pss_signature(
    key: rsa.RSAPrivateKey, hash_name: str, message: bytes, salt: bytes
) -> bytes:
    """Sign by RSASSA-PSS; the mask is made with the same hash.

    EMSA-PSS-ENCODE of PKCS #1, then RSASP1.

    Source: RFC 7427 App. A.4
    """
    numbers = key.private_numbers()
    n = numbers.public_numbers.n
    bits = n.bit_length() - 1
    size = (bits + 7) // 8
    digest = hashlib.new(hash_name, message).digest()
    hashed = hashlib.new(hash_name, bytes(8) + digest + salt).digest()
    block = b"\1" + salt
    block = bytes(size - len(hashed) - 1 - len(block)) + block
    mask = _mask(hash_name, hashed, len(block))
    masked = int.from_bytes(block, "big") ^ int.from_bytes(mask, "big")
    masked &= (1 << (8 * len(block) - (8 * size - bits))) - 1
    encoded = masked.to_bytes(len(block), "big") + hashed + b"\xbc"
    power = pow(int.from_bytes(encoded, "big"), numbers.d, n)
    return power.to_bytes((n.bit_length() + 7) // 8, "big")


def _mask(hash_name: str, seed: bytes, size: int) -> bytes:
    """Make a mask by MGF1 of PKCS #1."""
    blocks = (
        hashlib.new(hash_name, seed + counter.to_bytes(4, "big")).digest()
        for counter in range(size)
    )
    mask = b""
    while len(mask) < size:
        mask += next(blocks)
    return mask[:size]
