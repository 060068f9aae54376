"""Expected values from first principles: no code of ours, only plain primitives.

What the vectors demand is computed here with :mod:`hmac` and ``cryptography`` alone,
so that a mistake in our own key derivation, ciphers or packets cannot make its way into
the files. Each function is the RFC's formula and nothing else.

Source: RFC 7296 §2.13, RFC 4303 §3.3.2, RFC 4106 §4, RFC 7634 §2, RFC 3686 §4
"""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from iketcp.vectorlib.envelope import Json

PRFS = {5: "sha256", 6: "sha384", 7: "sha512"}
"""Hash of each pseudorandom function. Source: RFC 4868 §4."""

PRF_NAMES = {
    5: "PRF_HMAC_SHA2_256",
    6: "PRF_HMAC_SHA2_384",
    7: "PRF_HMAC_SHA2_512",
}
PRF_SIZES = {5: 32, 6: 48, 7: 64}
"""Octets of an output, and of a key made for it. Source: RFC 4868 §2.1.2."""

INTEGRITY_HASHES = {12: "sha256", 13: "sha384", 14: "sha512"}


@dataclass(frozen=True, slots=True)
class CipherCase:
    """A cipher with its integrity algorithm, and their sizes in octets."""

    name: str
    encr: int
    key_bits: int | None
    integ: int | None
    encryption_key: int
    integrity_key: int
    iv: int
    icv: int
    block: int

    def json(self) -> Json:
        """Describe it in a vector file, so that no table is needed to read it."""
        return {
            "name": self.name,
            "encr": self.encr,
            "keyBits": self.key_bits,
            "integ": self.integ,
            "encryptionKeySize": self.encryption_key,
            "integrityKeySize": self.integrity_key,
            "ivSize": self.iv,
            "icvSize": self.icv,
            "blockSize": self.block,
        }


CIPHERS = (
    CipherCase("AES_GCM_16-128", 20, 128, None, 20, 0, 8, 16, 1),
    CipherCase("AES_GCM_16-192", 20, 192, None, 28, 0, 8, 16, 1),
    CipherCase("AES_GCM_16-256", 20, 256, None, 36, 0, 8, 16, 1),
    CipherCase("CHACHA20_POLY1305", 28, None, None, 36, 0, 8, 16, 1),
    CipherCase("AES_CBC-128 HMAC_SHA2_256_128", 12, 128, 12, 16, 32, 16, 16, 16),
    CipherCase("AES_CBC-192 HMAC_SHA2_384_192", 12, 192, 13, 24, 48, 16, 24, 16),
    CipherCase("AES_CBC-256 HMAC_SHA2_512_256", 12, 256, 14, 32, 64, 16, 32, 16),
    CipherCase("AES_CTR-128 HMAC_SHA2_256_128", 13, 128, 12, 20, 32, 8, 16, 1),
    CipherCase("AES_CTR-256 HMAC_SHA2_512_256", 13, 256, 14, 36, 64, 8, 32, 1),
)
"""One of each kind: cipher, key length, integrity algorithm."""

IMPLICIT_IV = (
    CipherCase("AES_GCM_16_IIV-128", 30, 128, None, 20, 0, 0, 16, 1),
    CipherCase("AES_GCM_16_IIV-192", 30, 192, None, 28, 0, 0, 16, 1),
    CipherCase("AES_GCM_16_IIV-256", 30, 256, None, 36, 0, 0, 16, 1),
    CipherCase("CHACHA20_POLY1305_IIV", 31, None, None, 36, 0, 0, 16, 1),
)
"""For ESP only: the IV is the sequence number. Source: RFC 8750 §8."""

FAMILIES = (CIPHERS[0], CIPHERS[3], CIPHERS[4], CIPHERS[8])
"""One of each cipher: these get every case, the others a few."""


def prf(number: int, key: bytes, data: bytes) -> bytes:
    """Compute ``prf(K, S)``. Source: RFC 7296 §2.13."""
    return hmac.digest(key, data, PRFS[number])


def prf_plus(number: int, key: bytes, seed: bytes, size: int) -> bytes:
    """Compute ``prf+(K, S)`` by its definition. Source: RFC 7296 §2.13."""
    stream = block = b""
    count = 0
    while len(stream) < size:
        count += 1
        block = prf(number, key, block + seed + bytes([count]))
        stream += block
    return stream[:size]


def cut(stream: bytes, *sizes: int) -> list[bytes]:
    """Take pieces of the given sizes from the front, in order."""
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def ike_keys(number: int, cipher: CipherCase, skeyseed: bytes, seed: bytes) -> Json:
    """Cut the seven keys from their stream. Source: RFC 7296 §2.14."""
    prf_key = PRF_SIZES[number]
    sizes = (
        prf_key,
        cipher.integrity_key,
        cipher.integrity_key,
        cipher.encryption_key,
        cipher.encryption_key,
        prf_key,
        prf_key,
    )
    names = ("skD", "skAi", "skAr", "skEi", "skEr", "skPi", "skPr")
    stream = prf_plus(number, skeyseed, seed, sum(sizes))
    return dict(zip(names, cut(stream, *sizes), strict=True))


def seal(
    cipher: CipherCase,
    key: bytes,
    integrity_key: bytes,
    iv: bytes,
    plaintext: bytes,
    before: bytes,
    after: bytes = b"",
) -> bytes:
    """Encrypt and authenticate: ciphertext and ICV.

    Parameters
    ----------
    key : bytes
        With the salt or nonce at its end, where the cipher has one.
    iv : bytes
        The whole sequence number, 8 octets, where the IV is implicit.
    before, after : bytes
        What the ICV covers before the IV (the AAD of a combined-mode cipher), and
        behind the ciphertext.

    Source: RFC 4106 §4, RFC 7634 §2, RFC 3602 §2, RFC 3686 §4, RFC 4868 §2, RFC 8750 §4
    """
    if cipher.encr in (20, 30):
        return AESGCM(key[:-4]).encrypt(key[-4:] + iv, plaintext, before + after)
    if cipher.encr in (28, 31):
        aead = ChaCha20Poly1305(key[:-4])
        return aead.encrypt(key[-4:] + iv, plaintext, before + after)
    if cipher.encr == 12:
        context = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    else:
        counter = key[-4:] + iv + bytes([0, 0, 0, 1])
        context = Cipher(algorithms.AES(key[:-4]), modes.CTR(counter)).encryptor()
    ciphertext = context.update(plaintext) + context.finalize()
    return ciphertext + icv(cipher, integrity_key, before + iv + ciphertext + after)


def icv(cipher: CipherCase, integrity_key: bytes, covered: bytes) -> bytes:
    """Compute the ICV of a cipher with a separate integrity algorithm."""
    hash_name = INTEGRITY_HASHES[cipher.integ or 0]
    return hmac.digest(integrity_key, covered, hash_name)[: cipher.icv]


def ike_header(
    spi_i: bytes,
    spi_r: bytes,
    next_payload: int,
    exchange_type: int,
    flags: int,
    message_id: int,
    length: int,
) -> bytes:
    """Write an IKE header, 28 octets. Source: RFC 7296 §3.1."""
    return (
        spi_i
        + spi_r
        + bytes([next_payload, 0x20, exchange_type, flags])
        + message_id.to_bytes(4, "big")
        + length.to_bytes(4, "big")
    )


def payload(next_payload: int, body: bytes) -> bytes:
    """Put a generic payload header before a body. Source: RFC 7296 §3.2."""
    return bytes([next_payload, 0]) + (len(body) + 4).to_bytes(2, "big") + body
