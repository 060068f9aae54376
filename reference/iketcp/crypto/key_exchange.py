"""Key exchange: two public values cross the wire, one secret stays on both sides.

Three kinds of group share one interface. In MODP groups the public value is a number
below the prime, as long as the prime; in ECP groups it is a point, x and y side by
side; with Curve25519 and Curve448 it is one coordinate, little-endian. Every group
has public values that would give the secret away or that no honest peer can send.
They are refused before anything is derived from them.

=====================  ===========  =============  ================================
method                 public       secret         refused
=====================  ===========  =============  ================================
MODP 2048, 3072, 4096  256-512      256-512        other sizes; r <= 1, r >= p - 1
ECP 256, 384, 521      64, 96, 132  32, 48, 66     other sizes; not on the curve
Curve25519, Curve448   32, 56       32, 56         other sizes; all-zero secret
=====================  ===========  =============  ================================

ML-KEM has unlike halves (:mod:`key_encapsulation <iketcp.crypto.key_encapsulation>`):
the initiator's public value is an encapsulation key and the responder's a ciphertext,
made from it. So whoever begins calls :func:`generate`, and whoever answers
:func:`answer`, which needs the initiator's value at once.

A private key serves one exchange: whoever made it drops it when the secret is there.

Source: RFC 7296 §3.4, RFC 7296 §2.14
Source: RFC 3526 §3 to §5 (MODP), RFC 5903 §7 (ECP), RFC 8031 §2 (Curve25519, Curve448)
Source: RFC 6989 §2 (what recipients check)
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from iketcp.crypto.key_encapsulation import (
    PARAMETER_SETS,
    SEED_SIZE,
    DecapsulationKey,
    encapsulate,
)
from iketcp.environment import Entropy, ScriptedEncapsulation, draw_below
from iketcp.errors import InvalidPublicValueError
from iketcp.registry import KeyExchangeMethod, name_of

with warnings.catch_warnings():
    # Finite-field groups are on their way out of `cryptography`, which says so
    # whenever one of these names is looked up. IKE still has them.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHPrivateNumbers,
        DHPublicNumbers,
    )


def _prime(digits: str) -> int:
    return int.from_bytes(bytes.fromhex(digits), "big")


# 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476). Source: RFC 3526 §3
_PRIME_2048 = _prime("""
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1
    29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
    EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245
    E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D
    C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
    83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D
    670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9
    DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
    15728E5A 8AACAA68 FFFFFFFF FFFFFFFF
""")

# 2^3072 - 2^3008 - 1 + 2^64 * ([2^2942 pi] + 1690314). Source: RFC 3526 §4
_PRIME_3072 = _prime("""
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1
    29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
    EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245
    E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D
    C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
    83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D
    670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9
    DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
    15728E5A 8AAAC42D AD33170D 04507A33 A85521AB DF1CBA64
    ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
    ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B
    F12FFA06 D98A0864 D8760273 3EC86A64 521F2B18 177B200C
    BBE11757 7A615D6C 770988C0 BAD946E2 08E24FA0 74E5AB31
    43DB5BFC E0FD108E 4B82D120 A93AD2CA FFFFFFFF FFFFFFFF
""")

# 2^4096 - 2^4032 - 1 + 2^64 * ([2^3966 pi] + 240904). Source: RFC 3526 §5
_PRIME_4096 = _prime("""
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1
    29024E08 8A67CC74 020BBEA6 3B139B22 514A0879 8E3404DD
    EF9519B3 CD3A431B 302B0A6D F25F1437 4FE1356D 6D51C245
    E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D
    C2007CB8 A163BF05 98DA4836 1C55D39A 69163FA8 FD24CF5F
    83655D23 DCA3AD96 1C62F356 208552BB 9ED52907 7096966D
    670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9
    DE2BCBF6 95581718 3995497C EA956AE5 15D22618 98FA0510
    15728E5A 8AAAC42D AD33170D 04507A33 A85521AB DF1CBA64
    ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
    ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B
    F12FFA06 D98A0864 D8760273 3EC86A64 521F2B18 177B200C
    BBE11757 7A615D6C 770988C0 BAD946E2 08E24FA0 74E5AB31
    43DB5BFC E0FD108E 4B82D120 A9210801 1A723C12 A787E6D7
    88719A10 BDBA5B26 99C32718 6AF4E23C 1A946834 B6150BDA
    2583E9CA 2AD44CE8 DBBBC2DB 04DE8EF9 2E8EFC14 1FBECAA6
    287C5947 4E6BC05D 99B2964F A090C3A2 233BA186 515BE7ED
    1F612970 CEE2D7AF B81BDD76 2170481C D0069127 D5B05AA9
    93B4EA98 8D8FDDC1 86FFB7DC 90A6C08F 4DF435C9 34063199
    FFFFFFFF FFFFFFFF
""")

MODP_PRIMES: Mapping[int, int] = MappingProxyType(
    {
        KeyExchangeMethod.MODP_2048: _PRIME_2048,
        KeyExchangeMethod.MODP_3072: _PRIME_3072,
        KeyExchangeMethod.MODP_4096: _PRIME_4096,
    }
)
"""The prime of each MODP group; the generator is 2. Source: RFC 3526 §3 to §5."""

_GENERATOR = 2

_CURVES: Mapping[int, ec.EllipticCurve] = MappingProxyType(
    {
        KeyExchangeMethod.ECP_256: ec.SECP256R1(),
        KeyExchangeMethod.ECP_384: ec.SECP384R1(),
        KeyExchangeMethod.ECP_521: ec.SECP521R1(),
    }
)

_UNCOMPRESSED = b"\4"
"""What others write before ``x | y`` and IKE leaves out."""

EXPONENT_SIZE = 64
"""Octets of a MODP private key.

Choice: 512 bits for every group. The largest estimate for the 4096-bit group is 480;
longer exponents cost time and add nothing.

Source: RFC 3526 §8
"""

METHODS: frozenset[int] = frozenset(
    {
        *MODP_PRIMES,
        *_CURVES,
        KeyExchangeMethod.CURVE25519,
        KeyExchangeMethod.CURVE448,
        *PARAMETER_SETS,
    }
)
"""The supported methods by number. Source: RFC 8247 §2.4, RFC 8031 §3, RFC 9370 §2."""


class KeyExchange(ABC):
    """Our half of one key exchange.

    Source: RFC 7296 §1.2, RFC 7296 §3.4
    """

    __slots__ = ("method", "public_value")

    method: int
    """Key exchange method (Transform Type 4), 16 bits."""
    public_value: bytes
    """What goes into our KE payload."""

    @abstractmethod
    def shared_secret(self, peer_public_value: bytes) -> bytes:
        """Combine our private key with the peer's public value: ``g^ir``.

        Parameters
        ----------
        peer_public_value : bytes
            Key Exchange Data of the peer's KE payload, as it came.

        Returns
        -------
        bytes
            As many octets as the group has it, leading zeros kept.

        Raises
        ------
        InvalidPublicValueError
            The value has the wrong size or fails the group's recipient tests.

        Source: RFC 7296 §2.14, RFC 6989 §2
        """

    def _check_size(self, peer_public_value: bytes) -> None:
        """Refuse a value that is not as long as ours."""
        if len(peer_public_value) != len(self.public_value):
            raise InvalidPublicValueError(
                f"{name_of(KeyExchangeMethod, self.method)} public value of "
                f"{len(peer_public_value)} octets, not {len(self.public_value)}"
            )


class _Modp(KeyExchange):
    """A MODP group: ``g^x mod p``, padded to the size of p.

    Choice: OpenSSL exponentiates, also for our own public value, which is an exchange
    with the generator as the peer. It is built to take the same time for every private
    key of one size, and is several times faster than ``pow``, whose time depends on the
    bits of the exponent.

    Source: RFC 3526, RFC 7296 §2.14, RFC 7296 §3.4
    """

    __slots__ = ("_numbers", "_prime", "_private_key", "_size")

    def __init__(self, method: int, private: bytes) -> None:
        self.method = method
        self._prime = MODP_PRIMES[method]
        exponent = int.from_bytes(private, "big")
        if not 0 < exponent < self._prime // 2:
            raise ValueError("MODP private key out of range")
        self._size = self._prime.bit_length() // 8
        self._numbers = DHParameterNumbers(self._prime, _GENERATOR)
        # The public number in here is a stand-in: the exchange does not read it.
        stand_in = DHPublicNumbers(_GENERATOR, self._numbers)
        self._private_key = DHPrivateNumbers(exponent, stand_in).private_key()
        self.public_value = self._power(_GENERATOR)

    def _power(self, base: int) -> bytes:
        peer = DHPublicNumbers(base, self._numbers).public_key()
        return self._private_key.exchange(peer).rjust(self._size, b"\0")

    def shared_secret(self, peer_public_value: bytes) -> bytes:
        self._check_size(peer_public_value)
        peer = int.from_bytes(peer_public_value, "big")
        # 1 < r < p - 1; what is left has order q or 2q. Source: RFC 6989 §2.1
        if not 1 < peer < self._prime - 1:
            raise InvalidPublicValueError("MODP public value out of range")
        return self._power(peer)


class _Ecp(KeyExchange):
    """A curve over a prime field: a point as ``x | y``, the secret as ``x``.

    Source: RFC 5903 §7
    """

    __slots__ = ("_curve", "_private_key")

    def __init__(self, method: int, private: bytes) -> None:
        self.method = method
        self._curve = _CURVES[method]
        scalar = int.from_bytes(private, "big")
        if not 0 < scalar < self._curve.group_order:
            raise ValueError("ECP private key out of range")
        self._private_key = ec.derive_private_key(scalar, self._curve)
        point = self._private_key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        self.public_value = point.removeprefix(_UNCOMPRESSED)

    def shared_secret(self, peer_public_value: bytes) -> bytes:
        self._check_size(peer_public_value)
        # RFC 6989 §2.3: OpenSSL, when it reads a point, refuses coordinates of p or
        # more and points that are not on the curve. Infinity has no such form, and
        # every curve has cofactor 1, so no small subgroup is left.
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(
                self._curve, _UNCOMPRESSED + peer_public_value
            )
        except ValueError as error:
            raise InvalidPublicValueError(
                "ECP public value is not a point on the curve"
            ) from error
        return self._private_key.exchange(ec.ECDH(), peer)


class _Montgomery(KeyExchange):
    """Curve25519 or Curve448: octets in, octets out.

    The functions X25519 and X448 take any octets of the right size, clamp the private
    key themselves, and accept coordinates that are not reduced.

    Choice: a secret of zeros only, which points of small order give whatever our
    private key is, is refused: RFC 7748 permits the test, RFC 8031 does not ask for it.

    Source: RFC 8031 §2, RFC 8031 §3.2, RFC 7748 §5, RFC 7748 §6
    """

    __slots__ = ("_exchange",)

    def __init__(self, method: int, private: bytes) -> None:
        self.method = method
        load = _x25519 if method == KeyExchangeMethod.CURVE25519 else _x448
        self.public_value, self._exchange = load(private)

    def shared_secret(self, peer_public_value: bytes) -> bytes:
        self._check_size(peer_public_value)
        try:
            return self._exchange(peer_public_value)
        except ValueError as error:  # OpenSSL compares the secret with zeros
            raise InvalidPublicValueError(
                "public value of small order: the shared secret is zero"
            ) from error


class _Encapsulation(KeyExchange):
    """The initiator's half of ML-KEM: the peer answers with a ciphertext.

    Source: RFC 9370 §2.1
    """

    __slots__ = ("_key",)

    def __init__(self, method: int, seed: bytes) -> None:
        self.method = method
        self._key = DecapsulationKey(method, seed)
        self.public_value = self._key.encapsulation_key

    def shared_secret(self, peer_public_value: bytes) -> bytes:
        return self._key.decapsulate(peer_public_value)


def _x25519(private: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return the public value, and the function X25519 with this private key."""
    key = x25519.X25519PrivateKey.from_private_bytes(private)

    def exchange(peer: bytes) -> bytes:
        return key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))

    return key.public_key().public_bytes_raw(), exchange


def _x448(private: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return the public value, and the function X448 with this private key."""
    key = x448.X448PrivateKey.from_private_bytes(private)

    def exchange(peer: bytes) -> bytes:
        return key.exchange(x448.X448PublicKey.from_public_bytes(peer))

    return key.public_key().public_bytes_raw(), exchange


def from_private(method: int, private: bytes) -> KeyExchange:
    """Start a key exchange with a given private key, as test vectors do.

    Parameters
    ----------
    method : int
        Key exchange method, one of :data:`METHODS`.
    private : bytes
        MODP: the exponent, big-endian, above 0 and below (p - 1) / 2. ECP: the scalar,
        big-endian, above 0 and below the order of the group. Curve25519, Curve448:
        32 or 56 octets, little-endian, clamped by the function itself. ML-KEM: the seed
        of 64 octets.

    Raises
    ------
    ValueError
        The method is not supported, or the private key is out of range.

    Source: RFC 3526, RFC 5903 §3, RFC 8031 §2
    """
    if method in MODP_PRIMES:
        return _Modp(method, private)
    if method in _CURVES:
        return _Ecp(method, private)
    if method in PARAMETER_SETS:
        return _Encapsulation(method, private)
    if method in METHODS:
        return _Montgomery(method, private)
    raise ValueError(f"no key exchange method {method}")


@runtime_checkable
class PreparedKeys(Protocol):
    """An entropy that also has private keys ready, made before they are needed."""

    def take_key(self, method: int) -> KeyExchange | None:
        """Give one away, never the same again; ``None`` if none is ready."""
        ...


def generate(method: int, entropy: Entropy, label: str) -> KeyExchange:
    """Start a key exchange with a fresh private key.

    The key comes from one draw, labelled ``label`` with ``.private`` behind it; or the
    entropy has one ready.

    Choice: how a draw becomes a key, so that a script can pin any key:

    - MODP: 64 octets, big-endian, with the highest bit set, so that all exponents are
      equally long;
    - ECP: eight octets more than the group order has, big-endian, modulo order - 1,
      plus 1; the surplus hides the bias. To pin d, draw d - 1 with zeros before it;
    - Curve25519, Curve448: 32 or 56 octets, taken as they are;
    - ML-KEM: the seed of 64 octets.

    Parameters
    ----------
    method : int
        Key exchange method, one of :data:`METHODS`.
    entropy : Entropy
        Where the private key comes from.
    label : str
        Which exchange the key is for, such as ``"ike_sa_init"``.

    Raises
    ------
    ValueError
        The method is not supported.

    Source: RFC 3526 §8, RFC 5903 §3, RFC 8031 §2
    """
    if isinstance(entropy, PreparedKeys):
        ready = entropy.take_key(method)
        if ready is not None:
            return ready
    name = f"{label}.private"
    if method in MODP_PRIMES:
        octets = entropy.draw(name, EXPONENT_SIZE)
        return _Modp(method, bytes([octets[0] | 0x80]) + octets[1:])
    if method in _CURVES:
        order = _CURVES[method].group_order
        scalar = draw_below(entropy, name, order - 1) + 1
        return _Ecp(method, scalar.to_bytes((order.bit_length() + 7) // 8, "big"))
    if method in PARAMETER_SETS:
        return _Encapsulation(method, entropy.draw(name, SEED_SIZE))
    if method in METHODS:
        size = 32 if method == KeyExchangeMethod.CURVE25519 else 56
        return _Montgomery(method, entropy.draw(name, size))
    raise ValueError(f"no key exchange method {method}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The responder's half of a key exchange, done."""

    public_value: bytes
    """What goes into our KE payload."""
    shared_secret: bytes = field(repr=False)
    """As :meth:`KeyExchange.shared_secret` gives it to the initiator."""


def answer(
    method: int, peer_public_value: bytes, entropy: Entropy, label: str
) -> Answer:
    """Answer the initiator's public value.

    Parameters
    ----------
    method : int
        Key exchange method, one of :data:`METHODS`.
    peer_public_value : bytes
        Key Exchange Data of the initiator's KE payload, as it came.
    entropy, label
        As for :func:`generate`. Of ML-KEM only a script can say what is drawn.

    Raises
    ------
    InvalidPublicValueError
        The value has the wrong size or fails the method's recipient tests.
    ValueError
        The method is not supported.

    Source: RFC 7296 §2.14, RFC 9370 §2.1
    """
    if method not in PARAMETER_SETS:
        ours = generate(method, entropy, label)
        return Answer(ours.public_value, ours.shared_secret(peer_public_value))
    if isinstance(entropy, ScriptedEncapsulation):
        return Answer(*entropy.encapsulate(label, method, peer_public_value))
    return Answer(*encapsulate(method, peer_public_value))
