"""Published ESP packets: RFC 7634 App. A, RFC 3602 §4."""

import pytest

from iketcp.crypto.suite import Suite
from iketcp.errors import IntegrityError
from iketcp.esp.packet import covered, inner_packet, split_payload, trailers
from iketcp.esp.protection import InboundSa

CHACHA_KEY = bytes(range(0x80, 0xA4))
CHACHA_INNER = bytes.fromhex(
    "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
    "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
    "2425262728292a2b2c2d2e2f3031323334353637"
)
CHACHA_ESP = bytes.fromhex(
    "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b"
    "67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7"
    "2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da"
    "9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43"
)

# RFC 3602 §4, cases 5 to 8: key, Next Header, IV, payload, ciphertext. The integrity
# algorithm is not given, so these check padding and encryption.
CBC_CASES = {
    5: (
        "90d382b410eeba7ad938c46cec1a82bf",
        1,
        "e96e8c08ab465763fd098d45dd3ff893",
        "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617"
        "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
        "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
        "a269add047ad2d5913ac19b7cfbad4a6",
    ),
    6: (
        "90d382b410eeba7ad938c46cec1a82bf",
        1,
        "69d08df7d203329db093fc4924e5bd80",
        "0800b5e8a80a0500a69c083d0b660e00777777777777777777777777",
        "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
    ),
    7: (
        "0123456789abcdef0123456789abcdef",
        4,
        "f4e765244f6407adf13dc1380f673f37",
        "45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d"
        "02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
        "2425262728292a2b2c2d2e2f3031323334353637",
        "773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8"
        "e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5"
        "c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
    ),
    8: (
        "0123456789abcdef0123456789abcdef",
        4,
        "85d47224b5f3dd5d2101d4ea8dffab22",
        "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d"
        "a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ffffffff",
        "15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5"
        "0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3"
        "d2726d9b5ef6affc6d17a0decbb13892",
    ),
}


def chacha_inbound() -> InboundSa:
    return InboundSa(
        bytes.fromhex("01020304"), Suite(28, None), CHACHA_KEY, b"", lambda _: True
    )


def test_chacha20_poly1305_packet_opens() -> None:
    """RFC 7634 App. A: the whole ESP packet, behind its outer IP header."""
    sa = chacha_inbound()
    assert sa.open(CHACHA_ESP) == CHACHA_INNER
    assert sa.window.top == 5
    with pytest.raises(IntegrityError):
        chacha_inbound().open(CHACHA_ESP[:-1] + b"\x42")


def test_chacha20_poly1305_packet_is_made() -> None:
    """RFC 7634 App. A: with its IV, the same octets come out."""
    cipher = Suite(28, None).cipher.new(CHACHA_KEY, b"")
    plaintext = CHACHA_INNER + trailers(4, 4)[len(CHACHA_INNER) % 4]
    before, after = covered(CHACHA_ESP[:4], bytes(7) + b"\x05", False, True)
    iv = CHACHA_ESP[8:16]
    sealed = cipher.seal(iv, plaintext, before, after)
    assert before + iv + sealed == CHACHA_ESP


@pytest.mark.parametrize("case", CBC_CASES)
def test_aes_cbc_packets(case: int) -> None:
    """RFC 3602 §4: transport mode in 5 and 6, tunnel mode in 7 and 8."""
    key, next_header, *octets = CBC_CASES[case]
    iv, payload, ciphertext = map(bytes.fromhex, octets)
    spec = Suite(12, 128, integ=12).cipher
    cipher = spec.new(bytes.fromhex(key), bytes(32))
    tail = trailers(next_header, 16)[len(payload) % 16]
    sealed = cipher.seal(iv, payload + tail, bytes(8))
    assert sealed[: -spec.icv_size] == ciphertext
    opened = split_payload(cipher.open(iv, sealed, bytes(8)))
    assert opened == (next_header, payload)
    if next_header == 4:
        assert inner_packet(*opened) == payload
