"""Ciphers that keep octets secret and unchanged, for ESP and for IKE alike.

Two families share one interface. A *combined-mode* cipher (AES-GCM,
ChaCha20-Poly1305) encrypts and authenticates in one step. A *plain* cipher (AES-CBC,
AES-CTR) only encrypts, so an HMAC over the result goes with it: encrypt, then
authenticate. Either way ``seal`` returns the ciphertext with the Integrity Check Value
behind it, and ``open`` returns the plaintext or refuses.

============================  ===  ====  ====  ===  ===========================
cipher                        IV   salt  unit  ICV  what the cipher starts from
============================  ===  ====  ====  ===  ===========================
AES-GCM with 16-octet ICV     8    4     1     16   nonce = salt | IV
ChaCha20-Poly1305             8    4     1     16   nonce = salt | IV
AES-CBC and HMAC-SHA2         16   0     16    n/2  IV, unpredictable
AES-CTR and HMAC-SHA2         8    4     1     n/2  nonce | IV | 1 (32 bits)
combined mode, implicit IV    0    4     1     16   nonce = salt | number
============================  ===  ====  ====  ===  ===========================

Sizes are in octets; n is the width of the hash. The salt (RFC 3686 says nonce) is the
end of the keying material and never travels. An implicit IV does not travel either: it
is the packet's 64-bit sequence number, which only ESP has. Padding, IV choice and the
layout of the packet around the ciphertext are the caller's.

Source: RFC 4106, RFC 5282 (AES-GCM in ESP, in IKE)
Source: RFC 7634 §2, RFC 7634 §3 (ChaCha20-Poly1305)
Source: RFC 3602 §2, RFC 3686 §4, RFC 4868 §2 (AES-CBC, AES-CTR, HMAC-SHA2)
Source: RFC 8750 §4 (implicit IV)
Source: RFC 4303 §3.3.2, RFC 7296 §3.14 (what is encrypted, what is authenticated)
"""

import hmac
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC

from iketcp.errors import IntegrityError
from iketcp.registry import EncryptionAlgorithm, IntegrityAlgorithm

AES_KEY_BITS = (128, 192, 256)
"""Key Length attributes that AES takes. Source: RFC 4106 §8.4, RFC 3602 §2.2."""

_SALT_SIZE = 4
"""Octets of keying material that are salt. Source: RFC 4106 §8.1, RFC 7634 §2."""

_AES_BLOCK_SIZE = 16
_FIRST_BLOCK = b"\0\0\0\1"
"""AES-CTR counts blocks from one, in 32 bits. Source: RFC 3686 §4."""

_HASHES: Mapping[int | None, HashAlgorithm] = {
    IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128: SHA256(),
    IntegrityAlgorithm.AUTH_HMAC_SHA2_384_192: SHA384(),
    IntegrityAlgorithm.AUTH_HMAC_SHA2_512_256: SHA512(),
}
"""The hash of each HMAC; key = its width, ICV = half of it. Source: RFC 4868 §2.3."""

Views = Iterable[memoryview]
"""A stretch of memory for each of several packets."""

_drain = partial(deque[object], maxlen=0)
"""Runs an iterator to its end without a step of Python's for each item."""


class Cipher(ABC):
    """One key for one direction of one SA; keeps no state between calls.

    Source: RFC 4303 §3.3.2, RFC 7296 §3.14
    """

    __slots__ = ("spec",)

    spec: "CipherSpec"

    @abstractmethod
    def seal(
        self, iv: bytes, plaintext: bytes, associated: bytes, trailer: bytes = b""
    ) -> bytes:
        """Encrypt and authenticate.

        Parameters
        ----------
        iv : bytes
            ``spec.iv_size`` octets, never used before under this key, and
            unpredictable where ``spec.needs_unpredictable_iv``. The packet's sequence
            number, 8 octets, where ``spec.is_iv_implicit``.
        plaintext : bytes
            Whole multiples of ``spec.block_size`` octets.
        associated : bytes
            What is authenticated but not encrypted: all that goes before the IV.
        trailer : bytes
            What is authenticated after the ciphertext and never sent: the high-order
            half of an extended sequence number. Combined-mode ciphers take that in
            ``associated`` and refuse a trailer.

        Returns
        -------
        bytes
            Ciphertext, as long as the plaintext, and the ICV of ``spec.icv_size``.

        Raises
        ------
        ValueError
            The plaintext is not in whole blocks, or a combined-mode cipher was given
            a trailer.

        Source: RFC 4303 §3.3.2
        """

    @abstractmethod
    def open(
        self, iv: bytes, sealed: bytes, associated: bytes, trailer: bytes = b""
    ) -> bytes:
        """Verify and decrypt what :meth:`seal` made of the same arguments.

        Raises
        ------
        IntegrityError
            The ICV does not verify, or ``iv`` or ``sealed`` has a size that ``seal``
            never produces.
        ValueError
            A combined-mode cipher was given a trailer.

        Source: RFC 4303 §3.4.4
        """


@dataclass(frozen=True, slots=True)
class CipherSpec:
    """A cipher, its key length and its integrity algorithm: everything but the key.

    Source: RFC 7296 §3.3.2
    """

    encr: int
    """Encryption algorithm (Transform Type 1), 16 bits."""
    key_bits: int | None
    """Key Length attribute, in bits; ``None`` where the cipher takes none."""
    integ: int | None
    """Integrity algorithm (Transform Type 3); ``None`` with a combined-mode cipher."""
    key_size: int
    """Octets of keying material for encryption: the key, and the salt where used."""
    integrity_key_size: int
    """Octets of keying material for integrity; 0 with a combined-mode cipher."""
    iv_size: int
    """Octets of the IV that go before the ciphertext; 0 where it is implicit."""
    icv_size: int
    """Octets of the Integrity Check Value that go behind it."""
    block_size: int
    """The plaintext comes in multiples of this many octets."""

    @property
    def is_aead(self) -> bool:
        """Whether this is a combined-mode cipher."""
        return self.integ is None

    @property
    def needs_unpredictable_iv(self) -> bool:
        """Whether a counter will not do as an IV. Source: RFC 3602 §3."""
        return self.encr == EncryptionAlgorithm.ENCR_AES_CBC

    @property
    def is_iv_implicit(self) -> bool:
        """Whether the IV is the sequence number and is not sent; only in ESP.

        Source: RFC 8750 §4, RFC 8750 §7
        """
        return self.iv_size == 0

    def new(self, key: bytes, integrity_key: bytes) -> Cipher:
        """Take a key into use.

        Parameters
        ----------
        key : bytes
            ``key_size`` octets: the key proper, then the salt where there is one.
        integrity_key : bytes
            ``integrity_key_size`` octets.

        Raises
        ------
        ValueError
            A key has another size.

        Source: RFC 4106 §8.1, RFC 5282 §7.1, RFC 7634 §2, RFC 3686 §5.1
        """
        if len(key) != self.key_size:
            raise ValueError(f"key of {len(key)} octets, not {self.key_size}")
        if len(integrity_key) != self.integrity_key_size:
            raise ValueError(
                f"integrity key of {len(integrity_key)} octets, "
                f"not {self.integrity_key_size}"
            )
        if self.encr == EncryptionAlgorithm.ENCR_AES_CBC:
            return _AesCbc(self, key, integrity_key)
        key, salt = key[:-_SALT_SIZE], key[-_SALT_SIZE:]
        if self.encr == EncryptionAlgorithm.ENCR_AES_CTR:
            return _AesCtr(self, key, integrity_key, salt)
        if self.key_bits is not None:
            return CombinedMode(self, AESGCM(key), salt)
        return CombinedMode(self, ChaCha20Poly1305(key), salt)


class CombinedMode(Cipher):
    """AES-GCM and ChaCha20-Poly1305: one call does everything.

    ESP lives in these methods, so they do nothing twice and look nothing up.

    Attributes
    ----------
    salt : bytes
        4 octets, the beginning of every nonce.

    Source: RFC 4106 §4, RFC 7634 §2
    """

    __slots__ = ("_decrypt", "_decrypt_into", "_encrypt", "_encrypt_into", "salt")

    def __init__(
        self, spec: CipherSpec, aead: AESGCM | ChaCha20Poly1305, salt: bytes
    ) -> None:
        self.spec = spec
        self._encrypt = aead.encrypt
        self._encrypt_into = aead.encrypt_into
        self._decrypt = aead.decrypt
        self._decrypt_into = aead.decrypt_into
        self.salt = salt

    def seal(
        self, iv: bytes, plaintext: bytes, associated: bytes, trailer: bytes = b""
    ) -> bytes:
        """Do as :meth:`Cipher.seal` says."""
        if trailer:
            raise ValueError("a combined-mode cipher takes no trailer")
        return self._encrypt(self.salt + iv, plaintext, associated)

    def open(
        self,
        iv: bytes,
        sealed: bytes | memoryview,
        associated: bytes,
        trailer: bytes = b"",
    ) -> bytes:
        """Do as :meth:`Cipher.open` says."""
        if trailer:
            raise ValueError("a combined-mode cipher takes no trailer")
        try:
            return self._decrypt(self.salt + iv, sealed, associated)
        except (InvalidTag, ValueError) as error:
            # ValueError: an IV cut short, from a packet too short to hold one
            raise IntegrityError("the ICV does not verify") from error

    def seal_many(
        self, nonces: Views, plaintexts: Views, associated: Views, sealed: Views
    ) -> None:
        """Do as :meth:`seal` for each, into memory that is there already.

        Parameters
        ----------
        nonces : Views
            Salt and IV of each, 12 octets.
        plaintexts, associated : Views
            What is encrypted, and what is authenticated only.
        sealed : Views
            Receive the ciphertext and, behind it, the ICV.

        Source: RFC 4303 §3.3.2
        """
        _drain(map(self._encrypt_into, nonces, plaintexts, associated, sealed))

    def open_many(
        self, nonces: Views, sealed: Views, associated: Views, plaintexts: Views
    ) -> None:
        """Do as :meth:`open` for each, into memory that is there already.

        Raises
        ------
        IntegrityError
            One of the ICVs does not verify; what is in ``plaintexts`` then means
            nothing.

        Source: RFC 4303 §3.4.4
        """
        try:
            _drain(map(self._decrypt_into, nonces, sealed, associated, plaintexts))
        except InvalidTag as error:
            raise IntegrityError("the ICV does not verify") from error


class _EncryptThenMac(Cipher):
    """AES in a plain mode, and HMAC-SHA2 over what comes out.

    ICV = the first half of HMAC(associated | IV | ciphertext | trailer)

    Source: RFC 4303 §3.3.2.1, RFC 7296 §3.14, RFC 4868 §2.3
    """

    __slots__ = ("_algorithm", "_icv_size", "_mac")

    def __init__(self, spec: CipherSpec, key: bytes, integrity_key: bytes) -> None:
        self.spec = spec
        self._algorithm = AES(key)
        self._icv_size = spec.icv_size
        # Copying a keyed HMAC costs half of keying a new one for every packet.
        self._mac = HMAC(integrity_key, _HASHES[spec.integ])

    @abstractmethod
    def _mode(self, iv: bytes) -> modes.CBC | modes.CTR:
        """Return the mode, at its start for this IV."""

    def _icv(self, *parts: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(b"".join(parts))
        return mac.finalize()[: self._icv_size]

    def seal(
        self, iv: bytes, plaintext: bytes, associated: bytes, trailer: bytes = b""
    ) -> bytes:
        if len(plaintext) % self.spec.block_size:
            raise ValueError(f"{len(plaintext)} octets are not whole blocks")
        # No finalize(): the input is whole blocks, so nothing is held back.
        encryptor = CipherContext(self._algorithm, self._mode(iv)).encryptor()
        ciphertext = encryptor.update(plaintext)
        return ciphertext + self._icv(associated, iv, ciphertext, trailer)

    def open(
        self, iv: bytes, sealed: bytes, associated: bytes, trailer: bytes = b""
    ) -> bytes:
        ciphertext, icv = sealed[: -self._icv_size], sealed[-self._icv_size :]
        expected = self._icv(associated, iv, ciphertext, trailer)
        if not hmac.compare_digest(icv, expected):
            raise IntegrityError("the ICV does not verify")
        if len(iv) != self.spec.iv_size or len(ciphertext) % self.spec.block_size:
            raise IntegrityError("authentic, but not a size that seal() makes")
        decryptor = CipherContext(self._algorithm, self._mode(iv)).decryptor()
        return decryptor.update(ciphertext)


class _AesCbc(_EncryptThenMac):
    """AES-CBC with HMAC-SHA2. Source: RFC 3602 §2.1."""

    __slots__ = ()

    def _mode(self, iv: bytes) -> modes.CBC | modes.CTR:
        return modes.CBC(iv)


class _AesCtr(_EncryptThenMac):
    """AES-CTR with HMAC-SHA2. Source: RFC 3686 §2.1, RFC 3686 §4."""

    __slots__ = ("_nonce",)

    def __init__(
        self, spec: CipherSpec, key: bytes, integrity_key: bytes, nonce: bytes
    ) -> None:
        super().__init__(spec, key, integrity_key)
        self._nonce = nonce

    def _mode(self, iv: bytes) -> modes.CBC | modes.CTR:
        # counter block = nonce | IV | block counter
        return modes.CTR(self._nonce + iv + _FIRST_BLOCK)


def _combined(aes: int, chacha20: int, iv_size: int) -> Iterator[CipherSpec]:
    for bits in AES_KEY_BITS:
        key_size = bits // 8 + _SALT_SIZE
        yield CipherSpec(aes, bits, None, key_size, 0, iv_size, 16, 1)
    yield CipherSpec(chacha20, None, None, 32 + _SALT_SIZE, 0, iv_size, 16, 1)


def _plain(key_bits: int, integ: int | None) -> Iterator[CipherSpec]:
    key_size, width = key_bits // 8, _HASHES[integ].digest_size
    yield CipherSpec(
        encr=EncryptionAlgorithm.ENCR_AES_CBC,
        key_bits=key_bits,
        integ=integ,
        key_size=key_size,
        integrity_key_size=width,
        iv_size=_AES_BLOCK_SIZE,
        icv_size=width // 2,
        block_size=_AES_BLOCK_SIZE,
    )
    yield CipherSpec(
        encr=EncryptionAlgorithm.ENCR_AES_CTR,
        key_bits=key_bits,
        integ=integ,
        key_size=key_size + _SALT_SIZE,
        integrity_key_size=width,
        iv_size=8,
        icv_size=width // 2,
        block_size=1,
    )


SUPPORTED: tuple[CipherSpec, ...] = (
    *_combined(
        EncryptionAlgorithm.ENCR_AES_GCM_16,
        EncryptionAlgorithm.ENCR_CHACHA20_POLY1305,
        iv_size=8,
    ),
    *(
        spec
        for bits in AES_KEY_BITS
        for integ in _HASHES
        for spec in _plain(bits, integ)
    ),
)
"""Every combination that serves ESP and IKE. Source: RFC 8221 §5, RFC 8247 §2.1."""

SUPPORTED_IN_ESP: tuple[CipherSpec, ...] = (
    *SUPPORTED,
    *_combined(
        EncryptionAlgorithm.ENCR_AES_GCM_16_IIV,
        EncryptionAlgorithm.ENCR_CHACHA20_POLY1305_IIV,
        iv_size=0,
    ),
)
"""Those, and the ones that need a sequence number. Source: RFC 8750 §8."""

_BY_NUMBERS = {
    (spec.encr, spec.key_bits, spec.integ): spec for spec in SUPPORTED_IN_ESP
}


def cipher_spec(encr: int, key_bits: int | None, integ: int | None) -> CipherSpec:
    """Look a combination up.

    Parameters
    ----------
    encr : int
        Encryption algorithm (Transform Type 1), 16 bits.
    key_bits : int or None
        Key Length attribute: 128, 192 or 256 with AES, ``None`` (absent) with
        ChaCha20-Poly1305, whose key has one size.
    integ : int or None
        Integrity algorithm (Transform Type 3); ``None`` or 0 (NONE) with a
        combined-mode cipher, and only with one.

    Raises
    ------
    ValueError
        We do not have this combination.

    Source: RFC 7296 §3.3.5, RFC 5282 §8, RFC 3686 §2.1
    """
    spec = _BY_NUMBERS.get((encr, key_bits, integ or None))
    if spec is None:
        raise ValueError(
            f"no cipher for encryption {encr}, key length {key_bits}, integrity {integ}"
        )
    return spec
