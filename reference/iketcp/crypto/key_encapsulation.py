"""ML-KEM: a key exchange that a quantum computer does not undo.

A key encapsulation mechanism has two unlike halves. The initiator sends an
*encapsulation key*; the responder draws a secret, encapsulates it under that key and
sends the *ciphertext*; the initiator decapsulates it. So the responder has nothing to
say before it has heard the initiator, where in a Diffie-Hellman exchange either may
speak first.

===========  ==================  ==========  =============
method       encapsulation key   ciphertext  shared secret
===========  ==================  ==========  =============
ML-KEM-768   1,184 octets        1,088       32
ML-KEM-1024  1,568 octets        1,568       32
===========  ==================  ==========  =============

A ciphertext that was changed on its way decapsulates all the same, to another secret
(implicit rejection): nobody learns anything from an error, and the keys do not fit.

Left out: ML-KEM-512, which :mod:`cryptography` does not offer.

Source: RFC 9370 §2.1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)

from iketcp.errors import InvalidPublicValueError
from iketcp.registry import KeyExchangeMethod, name_of

SEED_SIZE = 64
"""Octets from which a key pair is made: d | z, in the words of FIPS 203."""

SHARED_SECRET_SIZE = 32
"""Octets of every ML-KEM shared secret."""


@dataclass(frozen=True, slots=True)
class MlKem:
    """One parameter set."""

    private_key: type[MLKEM768PrivateKey | MLKEM1024PrivateKey]
    public_key: type[MLKEM768PublicKey | MLKEM1024PublicKey]
    encapsulation_key_size: int
    """Octets."""
    ciphertext_size: int
    """Octets."""


PARAMETER_SETS: Mapping[int, MlKem] = {
    KeyExchangeMethod.ML_KEM_768: MlKem(
        MLKEM768PrivateKey, MLKEM768PublicKey, 1184, 1088
    ),
    KeyExchangeMethod.ML_KEM_1024: MlKem(
        MLKEM1024PrivateKey, MLKEM1024PublicKey, 1568, 1568
    ),
}
"""By number of the key exchange method."""


class DecapsulationKey:
    """The initiator's half: a key pair made from a seed.

    Parameters
    ----------
    method : int
        One of :data:`PARAMETER_SETS`.
    seed : bytes
        64 octets; the same seed gives the same key.
    """

    __slots__ = ("_method", "_private_key", "encapsulation_key")

    def __init__(self, method: int, seed: bytes) -> None:
        self._method = method
        self._private_key = PARAMETER_SETS[method].private_key.from_seed_bytes(seed)
        self.encapsulation_key = self._private_key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret, 32 octets; for a wrong ciphertext, another one.

        Raises
        ------
        InvalidPublicValueError
            It has not the size of a ciphertext.
        """
        size = PARAMETER_SETS[self._method].ciphertext_size
        _check_size(self._method, "ciphertext", ciphertext, size)
        return self._private_key.decapsulate(ciphertext)


def encapsulate(method: int, encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """Draw a secret and encapsulate it: the responder's half.

    Choice: OpenSSL draws, for the library takes no randomness from outside; everything
    else that is drawn comes from a labelled :class:`~iketcp.environment.Entropy`.

    Returns
    -------
    tuple[bytes, bytes]
        Ciphertext and shared secret (32 octets).

    Raises
    ------
    InvalidPublicValueError
        The key has the wrong size, or a coefficient that is not reduced.
    """
    kem = PARAMETER_SETS[method]
    size = kem.encapsulation_key_size
    _check_size(method, "encapsulation key", encapsulation_key, size)
    try:
        key = kem.public_key.from_public_bytes(encapsulation_key)
    except ValueError as error:  # the modulus check of FIPS 203, section 7.2
        raise InvalidPublicValueError(
            f"{name_of(KeyExchangeMethod, method)} encapsulation key is not reduced"
        ) from error
    secret, ciphertext = key.encapsulate()
    return ciphertext, secret


@cache
def is_available() -> bool:
    """Tell whether the OpenSSL at hand has ML-KEM: version 3.5 and later do."""
    try:
        MLKEM768PrivateKey.from_seed_bytes(bytes(SEED_SIZE))
    except UnsupportedAlgorithm:
        return False
    return True


def _check_size(method: int, what: str, octets: bytes, size: int) -> None:
    if len(octets) != size:
        raise InvalidPublicValueError(
            f"{name_of(KeyExchangeMethod, method)} {what} of "
            f"{len(octets)} octets, not {size}"
        )
