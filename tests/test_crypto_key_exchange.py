"""Key exchange: published vectors, the primes, and the recipient tests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iketcp.crypto.key_encapsulation import PARAMETER_SETS
from iketcp.crypto.key_exchange import (
    METHODS,
    MODP_PRIMES,
    KeyExchange,
    from_private,
    generate,
)
from iketcp.environment import ScriptedEntropy
from iketcp.errors import InvalidPublicValueError
from iketcp.registry import KeyExchangeMethod

# RFC 5903 §8.1 to §8.3: i, gix | giy, r, grx | gry, girx.
ECP_CASES = {
    KeyExchangeMethod.ECP_256: (
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        (
            "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
            "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
        ),
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        (
            "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
            "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"
        ),
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
    KeyExchangeMethod.ECP_384: (
        (
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655"
            "e35b538041e649ee3faef896783ab194"
        ),
        (
            "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6"
            "de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f"
            "65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c"
        ),
        (
            "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942"
            "e0308312916b8ed2960e4bd55a7448fc"
        ),
        (
            "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d"
            "0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f"
            "66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c"
        ),
        (
            "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4"
            "d603135569b9e9d09cf5d4a270f59746"
        ),
    ),
    KeyExchangeMethod.ECP_521: (
        (
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a0"
            "95aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d"
            "4a52"
        ),
        (
            "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe"
            "e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176c"
            "ed3e017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4"
            "a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3"
            "926f9582"
        ),
        (
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e"
            "9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb15168"
            "5eb9"
        ),
        (
            "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a21"
            "9b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9"
            "460f015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d985207"
            "7b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd1"
            "7f0fc56a"
        ),
        (
            "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04"
            "d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3"
            "ddea"
        ),
    ),
}

# RFC 7748 §6.1, RFC 8031 App. A (its random_i and random_r), RFC 7748 §6.2:
# private a, public a, private b, public b, shared secret.
MONTGOMERY_CASES = {
    "RFC 7748 6.1": (
        KeyExchangeMethod.CURVE25519,
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    "RFC 8031 App. A": (
        KeyExchangeMethod.CURVE25519,
        "751fb4308655b476b6789b7325f9ea8cddd16a58533ff6d9e60009464a5f9d94",
        "48d5ddd4061257ba166fa3f9bbdb74f1a4e81c089384fa77f790709f0dfbc766",
        "0a54645253290d60ddadd0e030bacd9e5501efdc220755a1e978f1b839a05688",
        "0be7c1f5aad87d7e448662673298a443478b859745179eaf564c79c0ef6eee25",
        "c74950607a12327f3204d94b6825bfb068b7f8319a9e3708ed3d43ce8130c950",
    ),
    "RFC 7748 6.2": (
        KeyExchangeMethod.CURVE448,
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d"
        "d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
        "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c"
        "22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
        "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d"
        "6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430"
        "27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b"
        "b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
    ),
}

# RFC 7748 §5.2: scalar, u-coordinate, output. The second u-coordinate of X25519 has
# its highest bit set.
FUNCTION_CASES = {
    "X25519 first": (
        KeyExchangeMethod.CURVE25519,
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    "X25519 second": (
        KeyExchangeMethod.CURVE25519,
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
    "X448 first": (
        KeyExchangeMethod.CURVE448,
        "3d262fddf9ec8e88495266fea19a34d28882acef045104d0d1aae121"
        "700a779c984c24f8cdd78fbff44943eba368f54b29259a4f1c600ad3",
        "06fce640fa3487bfda5f6cf2d5263f8aad88334cbd07437f020f08f9"
        "814dc031ddbdc38c19c6da2583fa5429db94ada18aa7a7fb4ef8a086",
        "ce3e4ff95a60dc6697da1db1d85e6afbdf79b50a2412d7546d5f239f"
        "e14fbaadeb445fc66a01b0779d98223961111e21766282f73dd96b6f",
    ),
    "X448 second": (
        KeyExchangeMethod.CURVE448,
        "203d494428b8399352665ddca42f9de8fef600908e0d461cb021f8c5"
        "38345dd77c3e4806e25f46d3315c44e0a5b4371282dd2c8d5be3095f",
        "0fbcc2f993cd56d3305b0b7d9e55d4c1a8fb5dbb52f8e9a1e9b6201b"
        "165d015894e56c4d3570bee52fe205e28a78b91cdfbde71ce8d157db",
        "884a02576239ff7a2f2f63b2db6a9ff37047ac13568e1e30fe63c4a7"
        "ad1b3ee3a5700df34321d62077e63633c575c1c954514e99da7c179d",
    ),
}

# RFC 7748 §5.2, the iterated function: start, after one iteration, after 1,000.
ITERATION_CASES = {
    "X25519": (
        KeyExchangeMethod.CURVE25519,
        "0900000000000000000000000000000000000000000000000000000000000000",
        "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
    ),
    "X448": (
        KeyExchangeMethod.CURVE448,
        "05000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000",
        "3f482c8a9f19b01e6c46ee9711d9dc14fd4bf67af30765c2ae2b846a"
        "4d23a8cd0db897086239492caf350b51f833868b9bc2b3bca9cf4113",
        "aa3b4749d55b9daf1e5b00288826c467274ce3ebbdd5c17b975e09d4"
        "af6c67cf10d087202db88286e2b79fceea3ec353ef54faa26e219f38",
    ),
}

# RFC 3526 §3 to §5: bits, the exponent of 2 before pi, the number added.
MODP_FORMULAS = {
    KeyExchangeMethod.MODP_2048: (2048, 1918, 124476),
    KeyExchangeMethod.MODP_3072: (3072, 2942, 1690314),
    KeyExchangeMethod.MODP_4096: (4096, 3966, 240904),
}

# RFC 5903 §3.1 to §3.3: the field prime. b of the 256-bit curve: §3.1.
ECP_PRIMES = {
    KeyExchangeMethod.ECP_256: 2**256 - 2**224 + 2**192 + 2**96 - 1,
    KeyExchangeMethod.ECP_384: 2**384 - 2**128 - 2**96 + 2**32 - 1,
    KeyExchangeMethod.ECP_521: 2**521 - 1,
}
ECP_256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

PUBLIC_AND_SECRET_SIZES = {
    KeyExchangeMethod.MODP_2048: (256, 256),
    KeyExchangeMethod.MODP_3072: (384, 384),
    KeyExchangeMethod.MODP_4096: (512, 512),
    KeyExchangeMethod.ECP_256: (64, 32),
    KeyExchangeMethod.ECP_384: (96, 48),
    KeyExchangeMethod.ECP_521: (132, 66),
    KeyExchangeMethod.CURVE25519: (32, 32),
    KeyExchangeMethod.CURVE448: (56, 56),
}

EITHER_FIRST = METHODS - PARAMETER_SETS.keys()
"""Of these methods either side may speak first; tests/test_crypto_key_encapsulation.py
has the others."""

every_method = pytest.mark.parametrize("method", sorted(EITHER_FIRST))
every_modp = pytest.mark.parametrize("method", sorted(MODP_PRIMES))
every_ecp = pytest.mark.parametrize("method", sorted(ECP_CASES))


# --- published vectors ----------------------------------------------------------


@every_ecp
def test_published_ecp(method: KeyExchangeMethod) -> None:
    """RFC 5903 §8: public values are x | y, the secret is x."""
    i, public_i, r, public_r, secret = map(bytes.fromhex, ECP_CASES[method])
    initiator, responder = from_private(method, i), from_private(method, r)
    assert initiator.public_value == public_i
    assert responder.public_value == public_r
    assert initiator.shared_secret(public_r) == secret
    assert responder.shared_secret(public_i) == secret


@pytest.mark.parametrize("name", MONTGOMERY_CASES)
def test_published_montgomery(name: str) -> None:
    """RFC 7748 §6, RFC 8031 App. A."""
    method, *texts = MONTGOMERY_CASES[name]
    a, public_a, b, public_b, secret = map(bytes.fromhex, texts)
    alice, bob = from_private(method, a), from_private(method, b)
    assert alice.public_value == public_a
    assert bob.public_value == public_b
    assert alice.shared_secret(public_b) == secret
    assert bob.shared_secret(public_a) == secret


@pytest.mark.parametrize("name", FUNCTION_CASES)
def test_published_functions(name: str) -> None:
    """RFC 7748 §5.2."""
    method, *texts = FUNCTION_CASES[name]
    scalar, coordinate, output = map(bytes.fromhex, texts)
    assert from_private(method, scalar).shared_secret(coordinate) == output


@pytest.mark.parametrize("name", ITERATION_CASES)
def test_published_iterations(name: str) -> None:
    """RFC 7748 §5.2: the function fed with its own output."""
    method, *texts = ITERATION_CASES[name]
    start, once, thousandth = map(bytes.fromhex, texts)
    k, u = from_private(method, start).shared_secret(start), start
    assert k == once
    u = start
    for _ in range(999):
        k, u = from_private(method, k).shared_secret(u), k
    assert k == thousandth


# --- the MODP groups --------------------------------------------------------------


def floor_pi_times_power_of_two(exponent: int) -> int:
    """Return the integer part of 2^exponent pi, by Machin's formula."""
    one = 1 << (exponent + 64)

    def arccot(x: int) -> int:
        term, total, n = one // x, 0, 1
        while term:
            total += term // n if n % 4 == 1 else -(term // n)
            term //= x * x
            n += 2
        return total

    return 4 * (4 * arccot(5) - arccot(239)) >> 64


def is_probable_prime(n: int) -> bool:
    """Miller and Rabin's test with one base: enough against a misprint."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    value = pow(3, odd, n)
    return value == 1 or any(pow(value, 1 << k, n) == n - 1 for k in range(twos))


@every_modp
def test_modp_primes(method: KeyExchangeMethod) -> None:
    """RFC 3526 §3 to §5: each prime is its formula, and (p - 1) / 2 is prime too."""
    prime = MODP_PRIMES[method]
    bits, power, added = MODP_FORMULAS[method]
    pi = floor_pi_times_power_of_two(power)
    assert prime == 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi + added)
    assert is_probable_prime(prime)
    assert is_probable_prime(prime // 2)


@every_modp
def test_modp_equals_plain_arithmetic(method: KeyExchangeMethod) -> None:
    """RFC 7296 §2.14: g^x mod p and g^xy mod p, as Python computes them."""
    prime = MODP_PRIMES[method]
    size = prime.bit_length() // 8
    x, y = (int.from_bytes(bytes([n]) * 64, "big") for n in (0x93, 0xA7))
    ours = from_private(method, x.to_bytes(64, "big"))
    assert ours.public_value == pow(2, x, prime).to_bytes(size, "big")
    secret = ours.shared_secret(pow(2, y, prime).to_bytes(size, "big"))
    assert secret == pow(2, x * y, prime).to_bytes(size, "big")


@every_modp
def test_modp_values_keep_leading_zeros(method: KeyExchangeMethod) -> None:
    """RFC 7296 §2.14, §3.4: public value and secret are as long as the prime."""
    size = MODP_PRIMES[method].bit_length() // 8
    ours = from_private(method, b"\x03")
    assert ours.public_value == (8).to_bytes(size, "big")
    assert ours.shared_secret((5).to_bytes(size, "big")) == (125).to_bytes(size, "big")


@every_modp
def test_modp_range(method: KeyExchangeMethod) -> None:
    """RFC 6989 §2.1: 1 < r < p - 1, and both neighbours of the bounds."""
    prime = MODP_PRIMES[method]
    size = prime.bit_length() // 8
    ours = generate(method, ScriptedEntropy("range"), "test")
    for value in (0, 1, prime - 1, prime, prime + 1, 2 ** (8 * size) - 1):
        with pytest.raises(InvalidPublicValueError, match="range"):
            ours.shared_secret(value.to_bytes(size, "big"))
    for value in (2, 3, 5, 7, 11, prime - 2):
        assert len(ours.shared_secret(value.to_bytes(size, "big"))) == size


@every_modp
def test_modp_exponents(method: KeyExchangeMethod) -> None:
    """The highest bit of the draw is set; the rest of it is the exponent."""
    entropy = ScriptedEntropy("x", {"test.private": bytes(63) + b"\x05"})
    expected = from_private(method, b"\x80" + bytes(62) + b"\x05")
    assert generate(method, entropy, "test").public_value == expected.public_value


# --- the ECP groups ---------------------------------------------------------------


@every_ecp
def test_ecp_rejects_points_off_the_curve(method: KeyExchangeMethod) -> None:
    """RFC 6989 §2.3: x and y must satisfy the equation."""
    i, public, *_ = map(bytes.fromhex, ECP_CASES[method])
    ours = from_private(method, i)
    half = len(public) // 2
    for wrong in (
        bytes(2 * half),
        b"\xff" * 2 * half,
        public[:-1] + bytes([public[-1] ^ 1]),
        public[half:] + public[:half],
    ):
        with pytest.raises(InvalidPublicValueError, match="curve"):
            ours.shared_secret(wrong)


@every_ecp
def test_ecp_negative_point_is_on_the_curve(method: KeyExchangeMethod) -> None:
    """The curve is symmetric: (x, p - y) is valid and gives the same x."""
    i, _, _, public, secret = map(bytes.fromhex, ECP_CASES[method])
    half = len(public) // 2
    y = ECP_PRIMES[method] - int.from_bytes(public[half:], "big")
    mirrored = public[:half] + y.to_bytes(half, "big")
    assert from_private(method, i).shared_secret(mirrored) == secret


def test_ecp_rejects_coordinates_above_the_prime() -> None:
    """RFC 6989 §2.3: a point of the curve, but x written as x + p."""
    prime = ECP_PRIMES[KeyExchangeMethod.ECP_256]

    def right_side(x: int) -> int:
        return (x**3 - 3 * x + ECP_256_B) % prime

    x = next(x for x in range(99) if pow(right_side(x), (prime - 1) // 2, prime) == 1)
    y = pow(right_side(x), (prime + 1) // 4, prime).to_bytes(32, "big")
    ours = generate(KeyExchangeMethod.ECP_256, ScriptedEntropy("x"), "test")
    assert len(ours.shared_secret(x.to_bytes(32, "big") + y)) == 32
    with pytest.raises(InvalidPublicValueError, match="curve"):
        ours.shared_secret((x + prime).to_bytes(32, "big") + y)


def test_ecp_521_rejects_coordinates_above_the_prime() -> None:
    """RFC 5903 §7: 528 bits are written, 521 of them count."""
    method = KeyExchangeMethod.ECP_521
    i, public, *_ = map(bytes.fromhex, ECP_CASES[method])
    x = int.from_bytes(public[:66], "big") + ECP_PRIMES[method]
    with pytest.raises(InvalidPublicValueError, match="curve"):
        from_private(method, i).shared_secret(x.to_bytes(66, "big") + public[66:])


@every_ecp
def test_ecp_draws_can_pin_any_key(method: KeyExchangeMethod) -> None:
    """A draw of d - 1, eight octets longer than the order, gives private key d."""
    i, public, *_ = map(bytes.fromhex, ECP_CASES[method])
    draw = (int.from_bytes(i, "big") - 1).to_bytes(len(i) + 8, "big")
    entropy = ScriptedEntropy("x", {"test.private": draw})
    assert generate(method, entropy, "test").public_value == public


# --- Curve25519 and Curve448 --------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "size", "prime"),
    [
        (KeyExchangeMethod.CURVE25519, 32, 2**255 - 19),
        (KeyExchangeMethod.CURVE448, 56, 2**448 - 2**224 - 1),
    ],
)
def test_montgomery_small_order_and_non_canonical(
    method: KeyExchangeMethod, size: int, prime: int
) -> None:
    """RFC 7748 §6: zero secrets are refused; §5: u + p is taken as u."""
    ours = generate(method, ScriptedEntropy("x"), "test")
    for u in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(InvalidPublicValueError, match="small order"):
            ours.shared_secret(u.to_bytes(size, "little"))
    canonical = ours.shared_secret((4).to_bytes(size, "little"))
    assert ours.shared_secret((4 + prime).to_bytes(size, "little")) == canonical


def test_curve25519_masks_the_highest_bit() -> None:
    """RFC 8031 §3.2: bit 255 of the peer's value does not count."""
    ours = generate(KeyExchangeMethod.CURVE25519, ScriptedEntropy("x"), "test")
    public = bytes.fromhex(MONTGOMERY_CASES["RFC 8031 App. A"][2])
    marked = public[:-1] + bytes([public[-1] | 0x80])
    assert marked != public
    assert ours.shared_secret(marked) == ours.shared_secret(public)


@pytest.mark.parametrize("name", MONTGOMERY_CASES)
def test_montgomery_draws_are_taken_as_they_are(name: str) -> None:
    """RFC 8031 App. A: the random octets are the private key."""
    method, private, public, *_ = MONTGOMERY_CASES[name]
    entropy = ScriptedEntropy("x", {"test.private": bytes.fromhex(private)})
    assert generate(method, entropy, "test").public_value.hex() == public


# --- every method -------------------------------------------------------------------


def test_methods() -> None:
    """RFC 8247 §2.4, less what is legacy."""
    assert frozenset(PUBLIC_AND_SECRET_SIZES) == EITHER_FIRST
    assert KeyExchangeMethod.MODP_1024 not in METHODS


@every_method
def test_both_sides_agree(method: KeyExchangeMethod) -> None:
    """RFC 7296 §2.14: one secret, of the group's size, and another each time."""
    i, r, other = (
        generate(method, ScriptedEntropy(seed), "test") for seed in ("i", "r", "o")
    )
    secret = i.shared_secret(r.public_value)
    assert secret == r.shared_secret(i.public_value)
    assert secret != other.shared_secret(i.public_value)
    assert (len(i.public_value), len(secret)) == PUBLIC_AND_SECRET_SIZES[method]
    assert i.method == method


@every_method
def test_scripted_entropy_gives_the_same_keys(method: KeyExchangeMethod) -> None:
    """One labelled draw decides the key; the label separates exchanges."""
    first, again = (generate(method, ScriptedEntropy("s"), "init") for _ in range(2))
    assert first.public_value == again.public_value
    elsewhere = generate(method, ScriptedEntropy("s"), "rekey")
    assert first.public_value != elsewhere.public_value


@every_method
def test_wrong_sizes_are_refused(method: KeyExchangeMethod) -> None:
    """RFC 7296 §3.4, RFC 5903 §7, RFC 8031 §3.1: public values have one size."""
    ours = generate(method, ScriptedEntropy("x"), "test")
    good = generate(method, ScriptedEntropy("y"), "test").public_value
    for wrong in (b"", good[:-1], good + b"\0", b"\0" + good, b"\4" + good, 2 * good):
        with pytest.raises(InvalidPublicValueError, match="octets"):
            ours.shared_secret(wrong)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), method=st.sampled_from(sorted(EITHER_FIRST)))
def test_no_public_value_raises_anything_else(
    data: st.DataObject, method: KeyExchangeMethod
) -> None:
    """Whatever arrives: a secret of the right size, or InvalidPublicValueError."""
    public_size, secret_size = PUBLIC_AND_SECRET_SIZES[method]
    value = data.draw(st.binary(min_size=public_size - 1, max_size=public_size + 1))
    ours = generate(method, ScriptedEntropy("x"), "test")
    try:
        secret = ours.shared_secret(value)
    except InvalidPublicValueError:
        return
    assert len(secret) == secret_size


@pytest.mark.parametrize("method", [0, KeyExchangeMethod.MODP_1024, 65535])
def test_unsupported_methods(method: int) -> None:
    """A method we lack is the caller's mistake: negotiation never chose it."""
    with pytest.raises(ValueError, match="no key exchange method"):
        generate(method, ScriptedEntropy("x"), "test")
    with pytest.raises(ValueError, match="no key exchange method"):
        from_private(method, bytes(32))


@every_modp
def test_modp_private_keys_out_of_range(method: KeyExchangeMethod) -> None:
    """An exponent of 0, or one that wraps around the subgroup, is refused."""
    order = MODP_PRIMES[method] // 2
    size = MODP_PRIMES[method].bit_length() // 8
    for exponent in (0, order, 2 * order):
        with pytest.raises(ValueError, match="range"):
            from_private(method, exponent.to_bytes(size, "big"))
    assert from_private(method, (order - 1).to_bytes(size, "big")).public_value


@every_ecp
def test_ecp_private_keys_out_of_range(method: KeyExchangeMethod) -> None:
    """A scalar of 0 or of the order and more is refused."""
    size = PUBLIC_AND_SECRET_SIZES[method][1]
    for private in (bytes(size), b"\xff" * size):
        with pytest.raises(ValueError, match="range"):
            from_private(method, private)


@pytest.mark.parametrize(
    "method", [KeyExchangeMethod.CURVE25519, KeyExchangeMethod.CURVE448]
)
def test_montgomery_private_keys_of_other_sizes(method: KeyExchangeMethod) -> None:
    """RFC 7748 §5: 32 or 56 octets."""
    with pytest.raises(ValueError, match="bytes"):
        from_private(method, bytes(31))


def test_a_key_that_is_ready_is_taken() -> None:
    """And where none is, one is made of a draw, as ever."""
    method = KeyExchangeMethod.CURVE25519
    ready = [generate(method, ScriptedEntropy("before"), "x")]

    class Stocked(ScriptedEntropy):
        def take_key(self, method: int) -> KeyExchange | None:
            return ready.pop() if ready and ready[0].method == method else None

    (first,) = ready
    entropy = Stocked("now")
    other = generate(KeyExchangeMethod.ECP_256, entropy, "x")
    assert other.method == KeyExchangeMethod.ECP_256
    assert generate(method, entropy, "y") is first
    drawn = generate(method, ScriptedEntropy("now"), "y")
    assert generate(method, entropy, "y").public_value == drawn.public_value
