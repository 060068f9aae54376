"""A published ESP packet: RFC 7634 App. A."""

import pytest

from iketcp.crypto.suite import Suite
from iketcp.errors import IntegrityError
from iketcp.esp.packet import covered, trailers
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
