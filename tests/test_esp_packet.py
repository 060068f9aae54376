"""The layout of ESP packets: padding, trailer, TFC padding, sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import CBC, GCM, ipv4, ipv6
from iketcp.crypto.ciphers import SUPPORTED_IN_ESP, CipherSpec
from iketcp.errors import MalformedPacketError
from iketcp.esp.packet import (
    alignment,
    covered,
    inner_packet,
    packet_size,
    split_payload,
    trailers,
)


def test_alignment_is_four_octets_or_a_block() -> None:
    """RFC 4303 §2.4."""
    assert alignment(GCM.cipher) == 4
    assert alignment(CBC.cipher) == 16


@given(
    payload=st.binary(max_size=100),
    multiple=st.sampled_from([4, 16]),
    next_header=st.sampled_from([4, 41, 59]),
)
def test_padding_comes_off_as_it_went_on(
    payload: bytes, multiple: int, next_header: int
) -> None:
    """RFC 4303 §2.4: 1, 2, 3, ... up to the alignment, and no more than needed."""
    tail = trailers(next_header, multiple)[len(payload) % multiple]
    pad = len(tail) - 2
    assert tail == bytes(range(1, pad + 1)) + bytes([pad, next_header])
    assert (len(payload) + len(tail)) % multiple == 0
    assert pad < multiple
    assert split_payload(payload + tail) == (next_header, payload)


@given(payload=st.binary(max_size=40), pad=st.integers(0, 255))
def test_any_amount_of_padding_is_accepted(payload: bytes, pad: int) -> None:
    """RFC 4303 §2.4: a sender may add up to 255 octets."""
    plaintext = payload + bytes(range(1, pad + 1)) + bytes([pad, 4])
    assert split_payload(plaintext) == (4, payload)


@given(
    pad=st.integers(1, 255), data=st.data(), payload=st.binary(min_size=4, max_size=8)
)
def test_padding_of_other_content_is_refused(
    pad: int, data: st.DataObject, payload: bytes
) -> None:
    """RFC 4303 §2.4, §3.4.4.1: the receiver inspects the padding."""
    plaintext = bytearray(payload + bytes(range(1, pad + 1)) + bytes([pad, 4]))
    at = data.draw(st.integers(len(payload), len(payload) + pad - 1))
    plaintext[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedPacketError, match="padding"):
        split_payload(bytes(plaintext))


@pytest.mark.parametrize("plaintext", ["", "04", "0104", "010204", "ff04", "02010304"])
def test_trailer_longer_than_the_payload_is_refused(plaintext: str) -> None:
    """RFC 4303 §2.5: Pad Length speaks of octets that are not there."""
    with pytest.raises(MalformedPacketError, match="padding"):
        split_payload(bytes.fromhex(plaintext))


@given(
    payload=st.binary(max_size=60), tfc=st.binary(max_size=60), is_ipv6=st.booleans()
)
def test_tfc_padding_is_trimmed(payload: bytes, tfc: bytes, is_ipv6: bool) -> None:
    """RFC 4303 §2.7: the inner IP header says where the packet ends."""
    packet = ipv6(payload) if is_ipv6 else ipv4(payload)
    assert inner_packet(41 if is_ipv6 else 4, packet + tfc) == packet


@pytest.mark.parametrize(
    ("next_header", "payload"),
    [
        (4, b""),
        (4, ipv4()[:19]),
        (41, ipv6()[:39]),
        (4, ipv4(b"abc")[:-1]),
        (41, ipv6(b"abc")[:-1]),
        (4, b"\x75" + ipv4()[1:]),
        (4, ipv6()),
        (41, ipv4()),
        (6, ipv4()),
        (50, ipv6()),
        (0, ipv4()),
    ],
)
def test_payload_that_is_no_such_packet_is_refused(
    next_header: int, payload: bytes
) -> None:
    """RFC 4303 §2.6: tunnel mode carries IPv4 and IPv6, each under its own number."""
    with pytest.raises(MalformedPacketError):
        inner_packet(next_header, payload)


def test_what_the_icv_covers() -> None:
    """RFC 4303 §3.3.2.1, RFC 4106 §5: the unsent half goes before or after."""
    spi, number = b"SPI!", b"HIGHlow!"
    assert covered(spi, number, is_esn=False, is_aead=True) == (b"SPI!low!", b"")
    assert covered(spi, number, is_esn=False, is_aead=False) == (b"SPI!low!", b"")
    assert covered(spi, number, is_esn=True, is_aead=True) == (b"SPI!HIGHlow!", b"")
    assert covered(spi, number, is_esn=True, is_aead=False) == (b"SPI!low!", b"HIGH")


@pytest.mark.parametrize("spec", SUPPORTED_IN_ESP, ids=str)
@pytest.mark.parametrize("size", [0, 1, 2, 13, 14, 15, 1400])
def test_packet_size_adds_up(spec: CipherSpec, size: int) -> None:
    """RFC 4303 §2: header, IV, payload, trailer, ICV."""
    tail = trailers(4, alignment(spec))[size % alignment(spec)]
    expected = 8 + spec.iv_size + size + len(tail) + spec.icv_size
    assert packet_size(size, spec) == expected
