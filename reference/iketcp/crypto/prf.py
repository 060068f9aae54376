"""Pseudorandom functions, and ``prf+`` that stretches them.

IKE derives every key from one keyed hash, the negotiated PRF. One call gives as many
octets as the hash is wide; where more are needed, ``prf+`` chains calls, each fed
with the one before and a counter of one octet. The counter ends the chain: 255
blocks are all there are.

Source: RFC 7296 §2.13, RFC 4868 §2.1.2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.hazmat.primitives.hashes import (
    SHA256,
    SHA384,
    SHA512,
    HashAlgorithm,
)
from cryptography.hazmat.primitives.hmac import HMAC

from iketcp.registry import PseudorandomFunction

MAX_BLOCKS = 255
"""Blocks that the one-octet counter of ``prf+`` can number. Source: RFC 7296 §2.13."""


@dataclass(frozen=True, slots=True)
class Prf:
    """One pseudorandom function: HMAC with one of the SHA-2 hashes.

    Source: RFC 7296 §2.13, RFC 4868 §2.1.2
    """

    transform_id: int
    """IANA's number (Transform Type 2), 16 bits."""
    hash_name: str
    """The hash, as :mod:`hashlib` calls it."""
    output_size: int
    """Octets of one output."""
    hash: HashAlgorithm = field(repr=False, compare=False)
    """The hash itself."""

    @property
    def key_size(self) -> int:
        """Preferred key size in octets: the output size.

        Keys of any other size work too; IKE makes SK_d, SK_pi and SK_pr this long.

        Source: RFC 7296 §2.13, RFC 7296 §2.14
        """
        return self.output_size

    def prf(self, key: bytes, data: bytes) -> bytes:
        """``prf(K, S)``: ``output_size`` octets. Source: RFC 7296 §2.13."""
        keyed = HMAC(key, self.hash)
        keyed.update(data)
        return keyed.finalize()

    def prf_plus(self, key: bytes, seed: bytes, size: int) -> bytes:
        """``prf+(K, S)``, cut to ``size`` octets.

        Parameters
        ----------
        key : bytes
            K, such as SKEYSEED or SK_d.
        seed : bytes
            S, such as ``Ni | Nr | SPIi | SPIr``.
        size : int
            Octets wanted, at most 255 times ``output_size``.

        Raises
        ------
        ValueError
            ``size`` needs more than 255 blocks.

        Source: RFC 7296 §2.13
        """
        if size > MAX_BLOCKS * self.output_size:
            raise ValueError(f"prf+ cannot give {size} octets")
        # prf+(K, S) = T1 | T2 | ...   with   Tn = prf(K, Tn-1 | S | n), T0 empty
        blocks: list[bytes] = []
        block = b""
        keyed = HMAC(key, self.hash)  # a copy of it costs half of keying it anew
        for number in range(1, -(-size // self.output_size) + 1):
            turn = keyed.copy()
            turn.update(block + seed + bytes([number]))
            block = turn.finalize()
            blocks.append(block)
        return b"".join(blocks)[:size]


PRFS: Mapping[int, Prf] = MappingProxyType(
    {
        prf.transform_id: prf
        for prf in (
            Prf(PseudorandomFunction.PRF_HMAC_SHA2_256, "sha256", 32, SHA256()),
            Prf(PseudorandomFunction.PRF_HMAC_SHA2_384, "sha384", 48, SHA384()),
            Prf(PseudorandomFunction.PRF_HMAC_SHA2_512, "sha512", 64, SHA512()),
        )
    }
)
"""The supported functions by number. Source: RFC 8247 §2.2."""
