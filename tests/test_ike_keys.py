"""Key derivation, computed a second time with nothing but HMAC."""

import hmac

import pytest

from iketcp.crypto.ciphers import SUPPORTED
from iketcp.crypto.prf import PRFS, Prf
from iketcp.crypto.suite import Suite
from iketcp.ike.keys import (
    ChildKeys,
    IkeKeys,
    derive_child_keys,
    derive_ike_keys,
    derive_rekeyed_skeyseed,
    derive_skeyseed,
    mix_ppk,
    prf_of,
)

NI, NR = bytes(range(32)), bytes(range(100, 148))
SPI_I, SPI_R = b"initiate", b"responds"
G_IR = bytes(range(200, 232))
HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}
SIZES = {  # octets of encryption key with salt, and of integrity key
    (12, 128): 16,
    (12, 192): 24,
    (12, 256): 32,
    (13, 128): 20,
    (13, 192): 28,
    (13, 256): 36,
    (20, 128): 20,
    (20, 192): 28,
    (20, 256): 36,
    (28, None): 36,
}
INTEGRITY_SIZES = {None: 0, 12: 32, 13: 48, 14: 64}
SUITES = [
    Suite(spec.encr, spec.key_bits, prf=prf, integ=spec.integ, ke=31)
    for spec in SUPPORTED
    for prf in HASHES
]


def stretched(prf_id: int, key: bytes, seed: bytes, size: int) -> bytes:
    """prf+ of RFC 7296 §2.13, written down again."""
    octets, block, number = b"", b"", 0
    while len(octets) < size:
        number += 1
        block = hmac.digest(key, block + seed + bytes([number]), HASHES[prf_id])
        octets += block
    return octets[:size]


@pytest.mark.parametrize("prf", PRFS.values(), ids=lambda prf: prf.hash_name)
def test_the_first_seed(prf: Prf) -> None:
    """RFC 7296 §2.14: SKEYSEED = prf(Ni | Nr, g^ir), the nonces are the key."""
    expected = hmac.digest(NI + NR, G_IR, HASHES[prf.transform_id])
    assert derive_skeyseed(prf, NI, NR, G_IR) == expected


@pytest.mark.parametrize("prf", PRFS.values(), ids=lambda prf: prf.hash_name)
def test_the_seed_of_a_rekey(prf: Prf) -> None:
    """RFC 7296 §2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)."""
    expected = hmac.digest(b"old sk_d", G_IR + NI + NR, HASHES[prf.transform_id])
    assert derive_rekeyed_skeyseed(prf, b"old sk_d", G_IR, NI, NR) == expected


@pytest.mark.parametrize("suite", SUITES, ids=Suite.describe)
def test_seven_keys_in_their_order(suite: Suite) -> None:
    """RFC 7296 §2.14: SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr."""
    width = {5: 32, 6: 48, 7: 64}[suite.prf]
    encryption = SIZES[suite.encr, suite.key_bits]
    integrity = INTEGRITY_SIZES[suite.integ]
    keys = derive_ike_keys(suite, b"seed", NI, NR, SPI_I, SPI_R)
    sizes = (width, integrity, integrity, encryption, encryption, width, width)
    names = ("sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr")
    values = [getattr(keys, name) for name in names]
    assert tuple(map(len, values)) == sizes
    expected = stretched(suite.prf, b"seed", NI + NR + SPI_I + SPI_R, sum(sizes))
    assert b"".join(values) == expected


@pytest.mark.parametrize("ppk", [b"\0", b"p" * 32, b"p" * 200], ids=len)
@pytest.mark.parametrize("prf", PRFS.values(), ids=lambda prf: prf.hash_name)
def test_a_ppk_changes_three_keys(prf: Prf, ppk: bytes) -> None:
    """RFC 8784 §3: SK_d = prf (PPK, SK_d' | 0x01), SK_pi and SK_pr likewise."""
    keys = IkeKeys(*(bytes([n]) * prf.output_size for n in range(7)))
    mixed = mix_ppk(prf, keys, ppk)
    for name in ("sk_ai", "sk_ar", "sk_ei", "sk_er"):
        assert getattr(mixed, name) == getattr(keys, name)
    for name in ("sk_d", "sk_pi", "sk_pr"):
        old, new = getattr(keys, name), getattr(mixed, name)
        assert new == hmac.digest(ppk, old + b"\1", HASHES[prf.transform_id])


@pytest.mark.parametrize("g_ir", [b"", G_IR], ids=["without-ke", "with-ke"])
@pytest.mark.parametrize("suite", SUITES, ids=Suite.describe)
def test_keys_of_a_child_sa(suite: Suite, g_ir: bytes) -> None:
    """RFC 7296 §2.17: initiator's first, encryption before integrity."""
    encryption = SIZES[suite.encr, suite.key_bits]
    integrity = INTEGRITY_SIZES[suite.integ]
    child = Suite(suite.encr, suite.key_bits, integ=suite.integ)
    keys = derive_child_keys(prf_of(suite), b"sk_d", child, NI, NR, g_ir)
    values = [
        keys.encryption_i,
        keys.integrity_i,
        keys.encryption_r,
        keys.integrity_r,
    ]
    assert list(map(len, values)) == [encryption, integrity] * 2
    size = 2 * (encryption + integrity)
    assert b"".join(values) == stretched(suite.prf, b"sk_d", g_ir + NI + NR, size)


def test_a_new_key_exchange_makes_child_keys_independent() -> None:
    """RFC 7296 §2.17: with g^ir (new), SK_d alone does not give the keys."""
    suite = Suite(20, 256)
    plain = derive_child_keys(PRFS[5], b"sk_d", suite, NI, NR)
    fresh = derive_child_keys(PRFS[5], b"sk_d", suite, NI, NR, G_IR)
    assert plain.encryption_i != fresh.encryption_i


def test_the_suite_of_a_child_sa_has_no_prf() -> None:
    """RFC 7296 §3.3.3: only an IKE SA negotiates one."""
    with pytest.raises(ValueError, match="prf"):
        prf_of(Suite(20, 256))


def test_keys_are_not_shown() -> None:
    """A key in a log is a key no more."""
    secret = b"hush! "
    assert str(IkeKeys(*[secret] * 7)) == "IkeKeys()"
    assert str(ChildKeys(*[secret] * 4)) == "ChildKeys()"
