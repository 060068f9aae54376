"""A suite: the algorithms two peers have agreed on for one SA.

A negotiation ends with one transform of each type that matters. For an IKE SA these
are encryption, pseudorandom function, integrity (unless the cipher brings its own)
and key exchange; for a Child SA encryption, integrity, extended sequence numbers and,
where keys are to be independent of the IKE SA's, key exchange. A :class:`Suite` holds
their numbers and nothing else: no keys, no state.

Source: RFC 7296 §2.7, RFC 7296 §3.3.2, RFC 7296 §3.3.3
"""

from dataclasses import dataclass

from iketcp.crypto.ciphers import CipherSpec, cipher_spec
from iketcp.registry import (
    EncryptionAlgorithm,
    IntegrityAlgorithm,
    KeyExchangeMethod,
    PseudorandomFunction,
    name_of,
)


@dataclass(frozen=True, slots=True)
class Suite:
    """The transforms agreed on for an IKE SA or a Child SA, by IANA number.

    ``None`` says that no transform of that type was negotiated, 0 that the one called
    NONE was; for integrity and key exchange the two mean the same.

    Source: RFC 7296 §3.3.2
    """

    encr: int
    """Encryption algorithm (Transform Type 1), 16 bits."""
    key_bits: int | None
    """Key Length attribute, in bits; ``None`` where the cipher takes none."""
    prf: int | None = None
    """Pseudorandom function (Transform Type 2); ``None`` for a Child SA."""
    integ: int | None = None
    """Integrity algorithm (Transform Type 3); none with a combined-mode cipher."""
    ke: int | None = None
    """Key exchange method (Transform Type 4)."""
    esn: bool = False
    """Extended, 64-bit sequence numbers (Transform Type 5); ESP only."""
    additional_ke: tuple[int, ...] = ()
    """Methods of the additional key exchanges (Transform Types 6 to 12) in the order in
    which they take place; those that are NONE left out. Source: RFC 9370 §2.2.1"""

    @property
    def cipher(self) -> CipherSpec:
        """Sizes and constructor of the cipher with its integrity algorithm.

        Raises
        ------
        ValueError
            The suite names a cipher, key length or combination we do not have.
        """
        return cipher_spec(self.encr, self.key_bits, self.integ)

    def describe(self) -> str:
        """One line in IANA's names, such as ``AES_GCM_16-256 / CURVE25519 / ESN``."""
        cipher = name_of(EncryptionAlgorithm, self.encr).removeprefix("ENCR_")
        parts = [cipher if self.key_bits is None else f"{cipher}-{self.key_bits}"]
        if self.prf is not None:
            parts.append(name_of(PseudorandomFunction, self.prf))
        if self.integ:
            parts.append(name_of(IntegrityAlgorithm, self.integ))
        if self.ke:
            parts.append(name_of(KeyExchangeMethod, self.ke))
        parts += [name_of(KeyExchangeMethod, method) for method in self.additional_ke]
        if self.esn:
            parts.append("ESN")
        return " / ".join(parts)
