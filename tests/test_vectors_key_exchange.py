"""The file ``key_exchange_test.json`` against arithmetic written here."""

import pytest

from iketcp.vectorlib import check_key_exchange
from vector_support import document, grouped, octets, unnoticed

# RFC 3526 §3 to §5: 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) pi) + c); c by n.
MODP = {14: 2048, 15: 3072, 16: 4096}
MODP_ADDED = {14: 124476, 15: 1690314, 16: 240904}
# RFC 5903 §3.1 to §3.3: the prime, and b of y^2 = x^3 - 3x + b.
ECP = {
    19: (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    20: (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        int(
            "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875a"
            "c656398d8a2ed19d2a85c8edd3ec2aef",
            16,
        ),
    ),
    21: (
        2**521 - 1,
        int(
            "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef1"
            "09e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
            16,
        ),
    ),
}
# RFC 7748 §4: prime, a24 of the ladder, bits, clamped low bits.
MONTGOMERY = {31: (2**255 - 19, 121665, 255), 32: (2**448 - 2**224 - 1, 39081, 448)}

Point = tuple[int, int] | None


def pi_bits(bits: int) -> int:
    """Return floor(2^bits * pi), by Machin's formula with 64 bits to spare."""
    one = 1 << (bits + 64)

    def arctan(inverse: int) -> int:
        total, power, n = 0, one // inverse, 1
        while power:
            total += power // n if n % 4 == 1 else -(power // n)
            power //= inverse * inverse
            n += 2
        return total

    return 4 * (4 * arctan(5) - arctan(239)) >> 64


def modp_prime(method: int) -> int:
    """Return a prime by its formula."""
    n = MODP[method]
    middle = pi_bits(n - 130) + MODP_ADDED[method]
    return (1 << n) - (1 << n - 64) - 1 + (middle << 64)


def add(one: Point, other: Point, prime: int) -> Point:
    """Add two points of a curve with a = -3."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % prime == 0:
        return None
    if one == other:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, prime)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, prime)
    x = (slope * slope - x1 - x2) % prime
    return x, (slope * (x1 - x) - y1) % prime


def multiply(scalar: int, point: Point, prime: int) -> Point:
    """Multiply a point, by doubling and adding."""
    total: Point = None
    while scalar:
        if scalar & 1:
            total = add(total, point, prime)
        point = add(point, point, prime)
        scalar >>= 1
    return total


def ladder(method: int, private: bytes, peer: bytes) -> bytes:
    """Compute X25519 or X448. Source: RFC 7748 §5."""
    prime, a24, bits = MONTGOMERY[method]
    k = bytearray(private)
    if method == 31:
        k[0] &= 248
        k[-1] = k[-1] & 127 | 64
    else:
        k[0] &= 252
        k[-1] |= 128
    scalar = int.from_bytes(k, "little")
    u = int.from_bytes(peer, "little") % 2 ** (255 if method == 31 else 448) % prime
    x2, z2, x3, z3 = 1, 0, u, 1
    for at in reversed(range(bits)):
        is_set = scalar >> at & 1
        if is_set:
            x2, z2, x3, z3 = x3, z3, x2, z2
        plus, minus = (x2 + z2) % prime, (x2 - z2) % prime
        cross, other = (x3 - z3) * plus % prime, (x3 + z3) * minus % prime
        x3, z3 = (cross + other) ** 2 % prime, u * (cross - other) ** 2 % prime
        square, less = plus * plus % prime, minus * minus % prime
        x2, z2 = square * less % prime, (square - less) % prime
        z2 = z2 * (square + a24 * (square - less)) % prime
        if is_set:
            x2, z2, x3, z3 = x3, z3, x2, z2
    result = x2 * pow(z2, prime - 2, prime) % prime
    return result.to_bytes(len(peer), "little")


@pytest.mark.parametrize("method", MODP)
def test_modp(method: int) -> None:
    """RFC 3526, RFC 6989 §2.1: g^x mod p, and 1 < r < p - 1."""
    prime = modp_prime(method)
    size = MODP[method] // 8
    for group, test in grouped("key_exchange", "KeyExchange"):
        if group["method"] != method:
            continue
        private, public, peer, shared = octets(
            test, "private", "public", "peerPublic", "shared"
        )
        x, r = int.from_bytes(private, "big"), int.from_bytes(peer, "big")
        assert public == pow(2, x, prime).to_bytes(size, "big")
        is_good = len(peer) == size and 1 < r < prime - 1
        assert (test["result"] == "valid") == is_good, test["tcId"]
        if is_good:
            assert shared == pow(r, x, prime).to_bytes(size, "big"), test["tcId"]


@pytest.mark.parametrize("method", ECP)
def test_ecp(method: int) -> None:
    """RFC 5903 §7, RFC 6989 §2.3: x of the common point; x, y < p on the curve."""
    prime, b = ECP[method]
    size = (prime.bit_length() + 7) // 8
    for group, test in grouped("key_exchange", "KeyExchange"):
        if group["method"] != method:
            continue
        private, peer, shared = octets(test, "private", "peerPublic", "shared")
        x, y = int.from_bytes(peer[:size], "big"), int.from_bytes(peer[size:], "big")
        is_on_curve = (y * y - x * x * x + 3 * x - b) % prime == 0
        is_good = len(peer) == 2 * size and max(x, y) < prime and is_on_curve
        assert (test["result"] == "valid") == is_good, test["tcId"]
        if is_good:
            common = multiply(int.from_bytes(private, "big"), (x, y), prime)
            assert common is not None
            assert shared == common[0].to_bytes(size, "big"), test["tcId"]


@pytest.mark.parametrize("method", MONTGOMERY)
def test_montgomery(method: int) -> None:
    """RFC 7748 §5, RFC 8031 §2: the ladder; zeros are left to each implementation."""
    for group, test in grouped("key_exchange", "KeyExchange"):
        if group["method"] != method:
            continue
        private, public, peer, shared = octets(
            test, "private", "public", "peerPublic", "shared"
        )
        size = 32 if method == 31 else 56
        base = (9 if method == 31 else 5).to_bytes(size, "little")
        assert public == ladder(method, private, base), test["tcId"]
        if len(peer) != size:
            assert test["result"] == "invalid"
            continue
        secret = ladder(method, private, peer)
        if any(secret):
            assert (test["result"], shared) == ("valid", secret), test["tcId"]
        else:
            assert (test["result"], shared) == ("acceptable", b""), test["tcId"]


def test_leading_zeros_are_there() -> None:
    """RFC 7296 §2.14: what the flag says, in the public value or in the secret."""
    found = 0
    for _, test in grouped("key_exchange", "KeyExchange"):
        if "LeadingZero" in test["flags"]:
            assert "00" in (test["shared"][:2], test["peerPublic"][:2])
            found += 1
    assert found >= 4


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_key_exchange.problems(document("key_exchange")) == []
    members = ("public", "shared", "error")
    assert unnoticed("key_exchange", "KeyExchange", *members) == []
