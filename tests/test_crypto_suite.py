"""A suite: the numbers, their cipher, and how it is printed."""

import pytest

from iketcp.crypto.ciphers import cipher_spec
from iketcp.crypto.suite import Suite


def test_cipher() -> None:
    """RFC 7296 §3.3.2: the suite's numbers name one cipher."""
    assert Suite(20, 256).cipher is cipher_spec(20, 256, None)
    assert Suite(12, 128, integ=12).cipher is cipher_spec(12, 128, 12)


def test_unsupported_cipher() -> None:
    """A suite is only numbers; asking for a cipher we lack is what fails."""
    suite = Suite(3, None, integ=2)
    with pytest.raises(ValueError, match="no cipher"):
        _ = suite.cipher


@pytest.mark.parametrize(
    ("suite", "text"),
    [
        (
            Suite(20, 256, prf=5, ke=31),
            "AES_GCM_16-256 / PRF_HMAC_SHA2_256 / CURVE25519",
        ),
        (
            Suite(12, 128, prf=6, integ=12, ke=14),
            "AES_CBC-128 / PRF_HMAC_SHA2_384 / AUTH_HMAC_SHA2_256_128 / MODP_2048",
        ),
        (Suite(28, None, esn=True), "CHACHA20_POLY1305 / ESN"),
        (Suite(28, None, integ=0, ke=0), "CHACHA20_POLY1305"),
        (
            Suite(20, 256, prf=5, ke=31, additional_ke=(36, 19)),
            "AES_GCM_16-256 / PRF_HMAC_SHA2_256 / CURVE25519 / ML_KEM_768 / ECP_256",
        ),
        (Suite(99, 128), "EncryptionAlgorithm(99)-128"),
    ],
)
def test_describe(suite: Suite, text: str) -> None:
    """IANA's names, and a number where there is none."""
    assert suite.describe() == text


def test_value() -> None:
    """Suites compare and hash by value: they serve as dictionary keys."""
    assert Suite(20, 128, ke=31) == Suite(20, 128, ke=31)
    assert len({Suite(20, 128), Suite(20, 128), Suite(20, 128, esn=True)}) == 2
