"""EAP packets: fields, and what is refused. RFC 3748 §4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.eap.packets import EapCode, EapPacket, EapType, decode_packet
from iketcp.errors import MalformedMessageError


@pytest.mark.parametrize(
    ("octets", "packet"),
    [
        ("01 2a 0005 01", EapPacket(EapCode.REQUEST, 42, EapType.IDENTITY)),
        ("02 2a 0008 01 626f62", EapPacket(2, 42, EapType.IDENTITY, b"bob")),
        ("02 00 0006 03 00", EapPacket(2, 0, EapType.NAK, b"\0")),
        ("01 ff 0006 0d 20", EapPacket(1, 255, EapType.TLS, b" ")),
        ("03 07 0004", EapPacket(EapCode.SUCCESS, 7)),
        ("04 07 0004", EapPacket(EapCode.FAILURE, 7)),
    ],
)
def test_packets(octets, packet):
    octets = bytes.fromhex(octets)
    assert decode_packet(octets) == packet
    assert packet.encode() == octets


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "01",
        "01 00 00",
        "01 00 0003",  # less than a header
        "01 00 0004",  # no Type
        "02 00 0006 01",  # more than there is
        "02 00 0005 01 00",  # octets behind it
        "03 00 0005 00",  # Success with data
        "04 00 0004 00",
        "00 00 0005 01",  # no such Code
        "05 00 0005 01",
    ],
)
def test_what_is_no_packet(octets):
    with pytest.raises(MalformedMessageError):
        decode_packet(bytes.fromhex(octets))


def test_data_is_not_shown():
    """It may be a proof of a password."""
    assert "secret" not in repr(EapPacket(2, 0, 26, b"secret"))


@given(st.binary(max_size=64))
def test_any_octets(octets):
    """What is read is written the same; all else is malformed."""
    try:
        packet = decode_packet(octets)
    except MalformedMessageError:
        return
    assert packet.encode() == octets
