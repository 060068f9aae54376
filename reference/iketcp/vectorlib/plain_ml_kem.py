"""ML-KEM from first principles, with the randomness of an encapsulation as an input.

FIPS 203 step by step, slow and not for secrets. OpenSSL draws the randomness by itself,
so what vectors and transcripts pin is computed here, and OpenSSL decapsulates it.

Source: RFC 9370 §2.1 says where IKE uses such a method
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Q = 3329
N = 256
_ETA = 2

Polynomial = list[int]


@dataclass(frozen=True, slots=True)
class Parameters:
    """One parameter set. FIPS 203, table 2."""

    k: int
    du: int
    dv: int


PARAMETERS = {36: Parameters(3, 10, 4), 37: Parameters(4, 11, 5)}
"""ML-KEM-768 and ML-KEM-1024, by number of the key exchange method."""


def _reversed_7(number: int) -> int:
    return int(f"{number:07b}"[::-1], 2)


_ZETAS = [pow(17, _reversed_7(i), Q) for i in range(128)]
_GAMMAS = [pow(17, 2 * _reversed_7(i) + 1, Q) for i in range(128)]


def _h(data: bytes) -> bytes:
    return hashlib.sha3_256(data).digest()


def _g(data: bytes) -> tuple[bytes, bytes]:
    digest = hashlib.sha3_512(data).digest()
    return digest[:32], digest[32:]


def _ntt(f: Sequence[int]) -> Polynomial:
    """FIPS 203, algorithm 9."""
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta = _ZETAS[i]
            i += 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length] = (f[j] - t) % Q
                f[j] = (f[j] + t) % Q
        length //= 2
    return f


def _inverse_ntt(f: Sequence[int]) -> Polynomial:
    """FIPS 203, algorithm 10."""
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta = _ZETAS[i]
            i -= 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [value * 3303 % Q for value in f]


def _product(a: Sequence[int], b: Sequence[int]) -> Polynomial:
    """FIPS 203, algorithms 11 and 12."""
    c = []
    for i, gamma in enumerate(_GAMMAS):
        a0, a1, b0, b1 = a[2 * i], a[2 * i + 1], b[2 * i], b[2 * i + 1]
        c += [(a0 * b0 + a1 * b1 % Q * gamma) % Q, (a0 * b1 + a1 * b0) % Q]
    return c


def _sum(*polynomials: Sequence[int]) -> Polynomial:
    return [sum(values) % Q for values in zip(*polynomials, strict=True)]


def _dot(a: Iterable[Polynomial], b: Iterable[Polynomial]) -> Polynomial:
    return _sum(*(_product(one, other) for one, other in zip(a, b, strict=True)))


def _encode(f: Sequence[int], bits: int) -> bytes:
    """FIPS 203, algorithm 5."""
    number = sum(value << bits * i for i, value in enumerate(f))
    return number.to_bytes(N * bits // 8, "little")


def _decode(data: bytes, bits: int) -> Polynomial:
    """FIPS 203, algorithm 6."""
    number = int.from_bytes(data, "little")
    mask = (1 << bits) - 1
    return [number >> bits * i & mask for i in range(N)]


def _compress(f: Sequence[int], bits: int) -> Polynomial:
    return [((value << bits) + Q // 2) // Q % (1 << bits) for value in f]


def _decompress(f: Sequence[int], bits: int) -> Polynomial:
    return [(value * Q + (1 << bits - 1)) >> bits for value in f]


def _uniform(rho: bytes, j: int, i: int) -> Polynomial:
    """FIPS 203, algorithm 7."""
    stream = hashlib.shake_128(rho + bytes([j, i])).digest(3 * N * 2)
    values: Polynomial = []
    for at in range(0, len(stream), 3):
        a, b, c = stream[at : at + 3]
        values += [v for v in (a + N * (b % 16), b // 16 + 16 * c) if v < Q]
    return values[:N]


def _binomial(seed: bytes, counter: int) -> Polynomial:
    """FIPS 203, algorithm 8, on what PRF gives."""
    stream = hashlib.shake_256(seed + bytes([counter])).digest(64 * _ETA)
    bits = int.from_bytes(stream, "little")
    pairs = [bits >> 4 * i for i in range(N)]
    return [((b & 1) + (b >> 1 & 1) - (b >> 2 & 1) - (b >> 3 & 1)) % Q for b in pairs]


def encapsulation_key(method: int, seed: bytes) -> bytes:
    """Make the encapsulation key of a seed, d | z of 32 octets each.

    FIPS 203, algorithms 13 and 16.
    """
    k = PARAMETERS[method].k
    rho, sigma = _g(seed[:32] + bytes([k]))
    noise = [_ntt(_binomial(sigma, counter)) for counter in range(2 * k)]
    secret, error = noise[:k], noise[k:]
    rows = [[_uniform(rho, j, i) for j in range(k)] for i in range(k)]
    t = [_sum(_dot(rows[i], secret), error[i]) for i in range(k)]
    return b"".join(_encode(f, 12) for f in t) + rho


def encapsulate(method: int, key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Encapsulate 32 octets of ``randomness``; returns ciphertext and shared secret.

    FIPS 203, algorithms 14 and 17. The key is not checked.
    """
    parameters = PARAMETERS[method]
    k = parameters.k
    secret, coins = _g(randomness + _h(key))
    t = [_decode(key[384 * i : 384 * (i + 1)], 12) for i in range(k)]
    rho = key[384 * k :]
    y = [_ntt(_binomial(coins, counter)) for counter in range(k)]
    error = [_binomial(coins, k + i) for i in range(k)]
    columns = [[_uniform(rho, i, j) for j in range(k)] for i in range(k)]
    u = [_sum(_inverse_ntt(_dot(columns[i], y)), error[i]) for i in range(k)]
    message = _decompress(_decode(randomness, 1), 1)
    v = _sum(_inverse_ntt(_dot(t, y)), _binomial(coins, 2 * k), message)
    parts = [_encode(_compress(f, parameters.du), parameters.du) for f in u]
    parts.append(_encode(_compress(v, parameters.dv), parameters.dv))
    return b"".join(parts), secret


def rejection_secret(seed: bytes, ciphertext: bytes) -> bytes:
    """Return what a ciphertext that was never made decapsulates to.

    FIPS 203, algorithm 18: implicit rejection.
    """
    return hashlib.shake_256(seed[32:] + ciphertext).digest(32)
