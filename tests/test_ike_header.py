"""The IKE header.

Source: RFC 7296 §3.1, RFC 7296 §2.5
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike_strategies import headers
from iketcp.errors import (
    InvalidMajorVersionError,
    MalformedMessageError,
    Scope,
)
from iketcp.ike.header import HEADER_SIZE, Header

OCTETS = bytes.fromhex(
    "0102030405060708"  # SPIi
    "1112131415161718"  # SPIr
    "21 20 25 28"  # SA next; version 2.0; INFORMATIONAL; R and I
    "00000102"  # Message ID
    "0000001c"  # Length
)
HEADER = Header(
    spi_i=bytes.fromhex("0102030405060708"),
    spi_r=bytes.fromhex("1112131415161718"),
    exchange_type=37,
    message_id=258,
    is_response=True,
    is_original_initiator=True,
    next_payload=33,
    length=28,
)


def changed(at: int, octets: str) -> bytes:
    new = bytes.fromhex(octets)
    return OCTETS[:at] + new + OCTETS[at + len(new) :]


def test_fields_stand_where_the_figure_puts_them() -> None:
    """RFC 7296 §3.1, Figure 4."""
    assert len(OCTETS) == HEADER_SIZE
    assert Header.decode(OCTETS) == HEADER
    assert HEADER.encode() == OCTETS


@pytest.mark.parametrize(
    ("flags", "is_response", "is_original_initiator"),
    [
        ("00", False, False),
        ("20", True, False),
        ("08", False, True),
        ("d7", False, False),  # V and all reserved bits: ignored
        ("ff", True, True),
    ],
)
def test_flags(flags: str, is_response: bool, is_original_initiator: bool) -> None:
    """V and reserved flags are ignored when they come and never sent."""
    header = Header.decode(changed(19, flags))
    assert header.is_response is is_response
    assert header.is_original_initiator is is_original_initiator
    assert header.encode()[19] & 0xD7 == 0


@given(headers)
def test_round_trip(header: Header) -> None:
    octets = header.with_chain(0, HEADER_SIZE).encode()
    assert Header.decode(octets) == header.with_chain(0, HEADER_SIZE)
    assert Header.decode(octets).encode() == octets


def test_with_chain_changes_what_depends_on_the_payloads_only() -> None:
    header = HEADER.with_chain(46, 100)
    assert (header.next_payload, header.length) == (46, 100)
    assert header.with_chain(33, 28) == HEADER


def test_minor_version_is_ignored() -> None:
    """RFC 7296 §3.1."""
    header = Header.decode(changed(17, "2f"))
    assert (header.major_version, header.minor_version) == (2, 15)


@pytest.mark.parametrize("version", ["30", "3f", "f0"])
@pytest.mark.parametrize("length", ["0000001c", "00000000"])
def test_higher_major_version_is_told(version: str, length: str) -> None:
    """RFC 7296 §2.5: INVALID_MAJOR_VERSION with the highest version we speak."""
    octets = changed(17, version)[:24] + bytes.fromhex(length)
    with pytest.raises(InvalidMajorVersionError) as caught:
        Header.decode(octets)
    assert caught.value.notify_data == b""
    assert caught.value.scope is Scope.EXCHANGE


@pytest.mark.parametrize("version", ["00", "10", "1f"])
def test_lower_major_version_is_malformed(version: str) -> None:
    with pytest.raises(MalformedMessageError, match="major version"):
        Header.decode(changed(17, version))


@pytest.mark.parametrize("length", ["0000001b", "0000001d", "00000000", "ffffffff"])
def test_length_must_agree_with_the_octets_given(length: str) -> None:
    """[9329-3.1-agree]."""
    with pytest.raises(MalformedMessageError, match="Length"):
        Header.decode(changed(24, length))


def test_initiator_spi_is_never_zero_but_the_responder_s_may_be() -> None:
    """RFC 7296 §3.1."""
    assert Header.decode(changed(8, "00" * 8)).spi_r == bytes(8)
    with pytest.raises(MalformedMessageError, match="SPI"):
        Header.decode(changed(0, "00" * 8))


def test_every_truncation_is_malformed() -> None:
    for size in range(HEADER_SIZE):
        with pytest.raises(MalformedMessageError):
            Header.decode(OCTETS[:size])


@given(st.binary(max_size=60))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    try:
        header = Header.decode(octets)
    except (MalformedMessageError, InvalidMajorVersionError):
        return
    assert header.length == len(octets)
