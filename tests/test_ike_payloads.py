"""Payload bodies, one record each.

Source: RFC 7296 §3.3 to §3.16
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike_strategies import simple_payloads
from iketcp.errors import MalformedMessageError
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.payloads import (
    DECODERS,
    AuthPayload,
    CertPayload,
    CertReqPayload,
    ConfigurationPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
    SkfPayload,
    SkPayload,
    TsPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.proposals import Proposal, Transform
from iketcp.octets import Reader
from iketcp.selectors import TrafficSelector, UnknownSelector


def decode(kind: int, octets: bytes) -> Payload:
    reader = Reader(octets)
    payload = DECODERS[kind](reader)
    assert reader.remaining == 0
    return payload


NONCE = bytes(range(16))
CASES: list[tuple[int, str, Payload]] = [
    (
        33,
        "00 00 0010 01 01 00 01  00 00 0008 02 00 0005",
        SaPayload((Proposal(1, 1, b"", (Transform(2, 5),)),)),
    ),
    (34, "001f 0000 aabbcc", KePayload(31, b"\xaa\xbb\xcc")),
    (35, "02 000000 77657374", IdPayload(True, 2, b"west")),
    (36, "01 000000 c0000201", IdPayload(False, 1, bytes([192, 0, 2, 1]))),
    (37, "04 3000", CertPayload(4, b"\x30\0")),
    (38, "04" + "ab" * 20, CertReqPayload(4, b"\xab" * 20)),
    (39, "02 000000 abcdef", AuthPayload(2, b"\xab\xcd\xef")),
    (40, NONCE.hex(), NoncePayload(NONCE)),
    (41, "00 00 4006 0123", NotifyPayload(16390, b"\x01\x23")),
    (
        41,
        "03 04 4009 c0ffee01",
        NotifyPayload(16393, b"", protocol=3, spi=b"\xc0\xff\xee\1"),
    ),
    (
        41,
        "03 04 0027 c0ffee01 4500",
        NotifyPayload(39, b"\x45\0", protocol=3, spi=b"\xc0\xff\xee\1"),
    ),
    (42, "01 00 0000", DeletePayload(1)),
    (42, "03 04 0001 1234abcd", DeletePayload(3, (b"\x12\x34\xab\xcd",))),
    (42, "02 04 0002 00000100 00000200", DeletePayload(2, (b"\0\0\1\0", b"\0\0\2\0"))),
    (42, "03 04 0000", DeletePayload(3)),
    (43, "c0ffee", VendorPayload(b"\xc0\xff\xee")),
    (43, "", VendorPayload(b"")),
    (
        44,
        "02 000000"
        "07 00 0010 0000 ffff 0a000000 0a0000ff"
        "07 06 0010 0050 0050 0a000100 0a0001ff",
        TsPayload(
            True,
            (
                TrafficSelector.parse("10.0.0.0/24"),
                TrafficSelector.parse("10.0.1.0/24[tcp/80]"),
            ),
        ),
    ),
    (
        45,
        "01 000000 09 00 0006 abcd",
        TsPayload(False, (), (UnknownSelector(9, 0, b"\xab\xcd"),)),
    ),
    (
        47,
        "01 000000 0001 0000 0003 0000 0007 0000",
        ConfigurationPayload(
            1, tuple(ConfigurationAttribute(kind, b"") for kind in (1, 3, 7))
        ),
    ),
    (
        47,
        "02 000000 0001 0004 0a090002"
        "0008 0011 20010db8000000000000000000000002 40"
        "000d 0008 0a090000 ffffff00"
        "5ba0 0003 616263",
        ConfigurationPayload(
            2,
            (
                ConfigurationAttribute(1, bytes([10, 9, 0, 2])),
                ConfigurationAttribute(
                    8, bytes.fromhex("20010db8000000000000000000000002 40")
                ),
                ConfigurationAttribute(13, bytes.fromhex("0a090000 ffffff00")),
                ConfigurationAttribute(0x5BA0, b"abc"),
            ),
        ),
    ),
    (48, "01 00 0005 01", EapPayload(b"\1\0\0\5\1")),
    (54, "01 02 03 04", PsPayload(b"\1\2\3\4")),
]


@pytest.mark.parametrize(("kind", "text", "payload"), CASES)
def test_fields_stand_where_the_figures_put_them(
    kind: int, text: str, payload: Payload
) -> None:
    """RFC 7296 §3.3 to §3.16, Figures 6 to 24."""
    octets = bytes.fromhex(text)
    assert decode(kind, octets) == payload
    assert payload.payload_type == kind
    assert payload.encode_body() == octets


@pytest.mark.parametrize("name", [n for n in simple_payloads if n != "unknown"])
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    payload = data.draw(simple_payloads[name])
    octets = payload.encode_body()
    assert decode(payload.payload_type, octets) == payload


@pytest.mark.parametrize("kind", sorted(DECODERS))
@given(octets=st.binary(max_size=80))
def test_any_body_is_read_or_malformed(kind: int, octets: bytes) -> None:
    """What is read is canonical after one turn."""
    try:
        payload = decode(kind, octets)
    except MalformedMessageError:
        return
    again = payload.encode_body()
    assert decode(kind, again).encode_body() == again


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (34, "001f"),  # KE without its reserved field
        (35, "02 0000"),  # ID without its reserved field
        (37, ""),
        (38, ""),
        (39, "02 0000"),
        (40, "00" * 15),  # nonces have 16 to 256 octets
        (40, "00" * 257),
        (40, ""),
        (41, "00 00 40"),
        (41, "03 04 4009 c0ffee"),  # SPI cut off
        (41, "03 08 4009 c0ffee01c0ffee01"),  # ESP's has 4 octets
        (41, "02 03 4009 c0ffee"),
        (41, "01 08 4009 c0ffee01c0ffee01"),  # an IKE SA's is in the header
        (42, "01 00 00"),
        (42, "01 08 0001 c0ffee01c0ffee01"),  # an IKE SA has none here
        (42, "01 00 0001"),
        (42, "01 08 0000"),
        (42, "03 08 0001 c0ffee01c0ffee01"),
        (42, "03 00 0000"),
        (42, "03 04 0001"),  # number and octets disagree
        (42, "03 04 0001 c0ffee01 c0ffee02"),
        (42, "03 04 0002 c0ffee01 c0ffee"),
        (42, "00 00 0000"),  # no such protocol
        (42, "04 04 0001 c0ffee01"),
        (44, "00 000000"),  # one selector at least
        (44, "01 000000"),
        (44, "01 0000"),
        (45, "01 000000 07 00 0010 0000 ffff 0a000000 0a0000ff 00"),  # one more octet
        (45, "02 000000 07 00 0010 0000 ffff 0a000000 0a0000ff"),
        (54, ""),  # four keys of one size, RFC 8019 §8.2
        (54, "01 02 03"),
        (54, "01 02 03 04 05"),
        (47, "01 0000"),
        (47, "01 000000 0001"),
        (47, "01 000000 0001 0004 0a0900"),
        (47, "01 000000 0001 0003 0a0900"),  # INTERNAL_IP4_ADDRESS: 0 or 4
        (47, "01 000000 0003 0010" + "00" * 16),  # INTERNAL_IP4_DNS: 0 or 4
        (47, "01 000000 0008 0010" + "00" * 16),  # INTERNAL_IP6_ADDRESS: 0 or 17
        (47, "01 000000 0008 0011" + "00" * 16 + "81"),  # prefix length 129
        (47, "01 000000 000f 0011" + "00" * 16 + "ff"),
        (47, "01 000000 000a 0011" + "00" * 17),  # INTERNAL_IP6_DNS: 0 or 16
        (47, "01 000000 000d 0004 0a090000"),  # INTERNAL_IP4_SUBNET: 0 or 8
        (47, "01 000000 000e 0003 000001"),  # SUPPORTED_ATTRIBUTES: pairs
    ],
)
def test_malformed_bodies(kind: int, text: str) -> None:
    with pytest.raises(MalformedMessageError):
        decode(kind, bytes.fromhex(text))


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        (34, "001f ffff aa", "001f 0000 aa"),
        (39, "02 ffffff aa", "02 000000 aa"),
        # without an SPI the protocol means nothing (RFC 7296 §3.10)
        (41, "01 00 4006", "00 00 4006"),
        (44, "01 ffffff 09 00 0004", "01 000000 09 00 0004"),
        (47, "02 ffffff", "02 000000"),
        # the bit before a Configuration Attribute's type
        (47, "01 000000 8001 0000", "01 000000 0001 0000"),
    ],
)
def test_reserved_fields_are_ignored_and_not_sent(
    kind: int, text: str, canonical: str
) -> None:
    """RFC 7296 §2.5."""
    payload = decode(kind, bytes.fromhex(text))
    assert payload.encode_body() == bytes.fromhex(canonical)


def test_the_reserved_octets_of_an_identity_are_kept_for_auth() -> None:
    """AUTH covers the ID payload's body as it was sent (RFC 7296 §2.15)."""
    octets = bytes.fromhex("02 010203 77657374")
    assert decode(35, octets).encode_body() == octets
    assert IdPayload(True, 2, b"west").encode_body()[1:4] == bytes(3)


def test_a_notify_without_spi_is_sent_without_protocol() -> None:
    """RFC 7296 §3.10."""
    assert NotifyPayload(7, protocol=3).encode_body() == bytes.fromhex("00 00 0007")


def test_bodies_that_only_the_chain_decodes() -> None:
    """SK, SKF and unknown payloads keep type and octets (RFC 7296 §3.14, §2.5)."""
    assert SkPayload(35, b"iv|ct|icv").encode_body() == b"iv|ct|icv"
    assert SkPayload(35, b"").payload_type == 46
    assert SkfPayload(35, 1, 258, b"iv").encode_body() == b"\0\1\1\2iv"
    assert SkfPayload(35, 1, 2, b"").payload_type == 53
    assert UnknownPayload(200, b"abc").encode_body() == b"abc"
    assert UnknownPayload(200, b"abc").payload_type == 200


def test_no_secret_is_in_a_representation() -> None:
    """Nonces, public values, proofs and ciphertext stay out of logs."""
    secret = b"\xde\xad\xbe\xef" * 8
    for payload in (
        KePayload(31, secret),
        CertPayload(4, secret),
        CertReqPayload(4, secret),
        AuthPayload(2, secret),
        NoncePayload(secret),
        SkPayload(35, secret),
        EapPayload(secret),
        SkfPayload(35, 1, 2, secret),
        UnknownPayload(200, secret),
    ):
        assert repr(secret)[2:-1] not in repr(payload)


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ((1, ""), "INTERNAL_IP4_ADDRESS"),
        ((1, "0a090002"), "INTERNAL_IP4_ADDRESS 10.9.0.2"),
        (
            (8, "20010db8000000000000000000000002 40"),
            "INTERNAL_IP6_ADDRESS 2001:db8::2/64",
        ),
        ((10, "20010db8000000000000000000000053"), "INTERNAL_IP6_DNS 2001:db8::53"),
        ((13, "0a090000 ffffff00"), "INTERNAL_IP4_SUBNET 10.9.0.0/255.255.255.0"),
        ((7, "61620a"), "APPLICATION_VERSION (3 octets)"),
        ((14, "00010003"), "SUPPORTED_ATTRIBUTES (4 octets)"),
        ((99, "00"), "ConfigurationAttributeType(99) (1 octets)"),
        ((1, "0a"), "INTERNAL_IP4_ADDRESS 0a"),  # ours to get wrong, yet printed
    ],
)
def test_configuration_attributes_are_printed(
    attribute: tuple[int, str], text: str
) -> None:
    kind, value = attribute
    assert str(ConfigurationAttribute(kind, bytes.fromhex(value))) == text
