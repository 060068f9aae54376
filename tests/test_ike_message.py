"""Whole IKE messages: chain, critical bit, robustness, an independent reader.

Source: RFC 7296 §3.1, RFC 7296 §3.2, RFC 7296 §2.5
"""

import logging
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike_strategies import encrypted_payloads, headers, inner_chains, outer_chains
from iketcp.errors import (
    InvalidMajorVersionError,
    MalformedMessageError,
    MessageTooLongError,
    Scope,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.message import (
    MAX_DESCRIPTION,
    Message,
    decode_chain,
    decode_message,
    describe,
    encode_chain,
    encode_message,
)
from iketcp.ike.payloads import (
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

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.contrib import ikev2 as oracle  # noqa: E402

SPI_I = bytes.fromhex("c0c1c2c3c4c5c6c7")
HEADER = Header(
    spi_i=SPI_I,
    spi_r=bytes(8),
    exchange_type=34,
    message_id=0,
    is_response=False,
    is_original_initiator=True,
)
SUITE = (
    Transform(1, 20, 256),
    Transform(2, 5),
    Transform(4, 31),
)
NONCE = bytes(range(32))
SA_INIT: tuple[Payload, ...] = (
    SaPayload(
        (
            Proposal(1, 1, b"", SUITE),
            Proposal(2, 1, b"", (Transform(1, 12, 128), Transform(3, 12), *SUITE[1:])),
        )
    ),
    KePayload(31, bytes(range(100, 132))),
    NoncePayload(NONCE),
    NotifyPayload(16388, bytes(20)),
    NotifyPayload(16389, b"\xff" * 20),
    NotifyPayload(16431, bytes.fromhex("0002 0003 0004")),
    VendorPayload(b"iketcp"),
)
EVERYTHING: tuple[Payload, ...] = (
    *SA_INIT,
    IdPayload(True, 2, b"west.example"),
    IdPayload(False, 1, bytes([192, 0, 2, 1])),
    CertPayload(4, bytes.fromhex("3003020101")),
    CertReqPayload(4, b"\xab" * 40),
    AuthPayload(2, b"\x77" * 32),
    ConfigurationPayload(1, (ConfigurationAttribute(1, b""),)),
    SaPayload((Proposal(1, 3, b"\xc0\xff\xee\1", (SUITE[0], Transform(5, 0))),)),
    TsPayload(True, (TrafficSelector.parse("10.0.0.0/24"),)),
    TsPayload(False, (TrafficSelector.parse("2001:db8::/32[tcp/80]"),)),
    DeletePayload(3, (b"\x12\x34\xab\xcd", b"\0\0\1\0")),
    NotifyPayload(16393, b"", 3, b"\xc0\xff\xee\1"),
    EapPayload(bytes.fromhex("01 00 0005 01")),
    UnknownPayload(200, b"something new"),
    SkPayload(35, b"\x5a" * 64),
)


def message_of(chain: str, first_type: int) -> bytes:
    """Write a message down without the encoder under test."""
    body = bytes.fromhex(chain)
    head = bytes([first_type, 0x20, 34, 0x08]) + bytes(4)
    size = HEADER_SIZE + len(body)
    return SPI_I + bytes(8) + head + size.to_bytes(4, "big") + body


def test_a_message_written_by_hand() -> None:
    """RFC 7296 §3.2: each payload names the type of the next."""
    octets = message_of(
        "28 00 000c 001f 0000 aabbccdd"  # KE, a nonce next
        "29 00 0014 000102030405060708090a0b0c0d0e0f"  # Nonce, a Notify next
        "00 00 000a 00 00 4006 0123",  # Notify, the last
        first_type=34,
    )
    message = decode_message(octets)
    assert message.header == HEADER.with_chain(34, len(octets))
    assert message.payloads == (
        KePayload(31, bytes.fromhex("aabbccdd")),
        NoncePayload(NONCE[:16]),
        NotifyPayload(16390, b"\x01\x23"),
    )
    assert encode_message(message.header, message.payloads) == octets


def test_an_encrypted_payload_names_what_is_inside_it() -> None:
    """RFC 7296 §3.14: its Next Payload field is the first inner type."""
    octets = message_of("23 00 000a 0102030405 06", first_type=46)
    message = decode_message(octets)
    assert message.payloads == (SkPayload(35, bytes(range(1, 7))),)
    assert encode_message(HEADER, message.payloads) == octets


def test_an_encrypted_fragment_ends_the_chain_too() -> None:
    """RFC 7383 §2.5: with its two numbers, and its Next Payload field."""
    octets = message_of("23 00 000a 0001 0002 aaaa", first_type=53)
    (fragment,) = decode_message(octets).payloads
    assert fragment == SkfPayload(35, 1, 2, b"\xaa\xaa")
    assert encode_message(HEADER, [fragment]) == octets


def test_an_encrypted_fragment_without_room_for_its_numbers() -> None:
    """RFC 7383 §2.5."""
    for octets in ("23 00 0004", "23 00 0007 000100"):
        with pytest.raises(MalformedMessageError):
            decode_message(message_of(octets, first_type=53))


def test_no_payloads_at_all() -> None:
    """An empty chain is what a liveness check encrypts (RFC 7296 §1.4)."""
    assert encode_chain([]) == (0, b"")
    assert decode_chain(0, Reader(b"")) == ()
    assert decode_message(encode_message(HEADER, [])).payloads == ()


@given(headers, outer_chains)
def test_round_trip(header: Header, payloads: tuple[Payload, ...]) -> None:
    octets = encode_message(header, payloads)
    message = decode_message(octets)
    first_type = payloads[0].payload_type if payloads else 0
    assert message == Message(header.with_chain(first_type, len(octets)), payloads)
    assert encode_message(message.header, message.payloads) == octets


@given(inner_chains)
def test_inner_chains_round_trip(payloads: tuple[Payload, ...]) -> None:
    first_type, octets = encode_chain(payloads)
    assert decode_chain(first_type, Reader(octets)) == payloads


# --- critical and unknown payloads ----------------------------------------------------


def test_an_unknown_payload_is_kept_and_stepped_over() -> None:
    """RFC 7296 §2.5."""
    octets = message_of("c9 00 0006 abcd  2b 7f 0004  00 00 0005 01", first_type=200)
    assert decode_message(octets).payloads == (
        UnknownPayload(200, b"\xab\xcd"),
        UnknownPayload(201, b""),
        VendorPayload(b"\1"),
    )


@pytest.mark.parametrize("kind", [1, 32, 49, 52, 55, 200, 255])
def test_an_unknown_critical_payload_is_refused_with_its_type(kind: int) -> None:
    """RFC 7296 §2.5: the notification carries the payload type."""
    octets = message_of("00 80 0006 abcd", first_type=kind)
    with pytest.raises(UnsupportedCriticalPayloadError) as caught:
        decode_message(octets)
    assert caught.value.notify_data == bytes([kind])
    assert caught.value.scope is Scope.EXCHANGE
    assert encode_message(HEADER, [UnknownPayload(kind, b"\xab\xcd", True)]) == octets


def test_the_critical_bit_of_known_payloads_is_ignored_and_never_sent() -> None:
    """RFC 7296 §3.2; the reserved bits beside it likewise."""
    octets = message_of("2e ff 0005 01  23 ff 0005 02", first_type=43)
    message = decode_message(octets)
    assert message.payloads == (VendorPayload(b"\1"), SkPayload(35, b"\2"))
    assert encode_message(HEADER, message.payloads) == message_of(
        "2e 00 0005 01  23 00 0005 02", first_type=43
    )


# --- malformed messages ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "first_type"),
    [
        ("", 43),  # a type and no payload
        ("00 00 00", 43),  # a header cut off
        ("00 00 0003", 43),  # a Payload Length below four
        ("00 00 0000", 43),
        ("00 00 0005", 43),  # a Payload Length beyond the message
        ("2b 00 0004", 43),  # another payload announced
        ("00 00 0004 00", 43),  # octets left over
        ("00 00 0004", 0),  # octets although there is no payload
        ("00 00 000c 001f 0000 aabbccdd 00", 34),
        ("23 00 0005 01  00 00 0004", 46),  # SK is not last
        ("23 00 0005 01  00 00 0004", 53),
        ("00 00 0005 00", 200),  # fine, but see below
    ],
)
def test_chains_that_do_not_fit(chain: str, first_type: int) -> None:
    if first_type == 200:
        assert decode_message(message_of(chain, first_type))
        chain += "00"
    with pytest.raises(MalformedMessageError):
        decode_message(message_of(chain, first_type))


@pytest.mark.parametrize("kind", [46, 53])
def test_no_encrypted_payload_inside_another(kind: int) -> None:
    """RFC 7296 §3.1."""
    chain = bytes.fromhex("23 00 0008 01020304")
    with pytest.raises(MalformedMessageError, match="inside"):
        decode_chain(kind, Reader(chain))
    assert decode_chain(kind, Reader(chain), is_outermost=True)


@given(encrypted_payloads)
def test_nothing_is_encoded_behind_an_encrypted_payload(payload: Payload) -> None:
    with pytest.raises(ValueError, match="last"):
        encode_chain([payload, VendorPayload(b"")])


def test_a_payload_too_long_for_its_length_is_refused_locally() -> None:
    """Payload Length is 16 bits (RFC 7296 §3.2)."""
    assert len(encode_chain([VendorPayload(bytes(65531))])[1]) == 65535
    with pytest.raises(MessageTooLongError):
        encode_chain([VendorPayload(bytes(65532))])


ALLOWED = (
    MalformedMessageError,
    UnsupportedCriticalPayloadError,
    InvalidMajorVersionError,
)


def with_true_length(octets: bytes) -> bytes:
    """Make the header's Length agree, so that decoding goes further in."""
    return octets[:24] + len(octets).to_bytes(4, "big") + octets[28:]


def test_every_truncation_of_a_big_message_is_malformed() -> None:
    octets = encode_message(HEADER, EVERYTHING)
    assert decode_message(octets).payloads == EVERYTHING
    for size in range(len(octets)):
        with pytest.raises(MalformedMessageError):
            decode_message(octets[:size])


def test_no_truncation_with_a_matching_length_surprises() -> None:
    """The only prefix that can pass is one that ends inside the opaque SK body."""
    octets = encode_message(HEADER, EVERYTHING[:-1])
    for size in range(HEADER_SIZE, len(octets)):
        with pytest.raises(MalformedMessageError):
            decode_message(with_true_length(octets[:size]))


BIG = encode_message(HEADER, EVERYTHING)
changes = st.lists(
    st.tuples(st.integers(16, len(BIG) - 1), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


@given(changes, st.integers(0, len(BIG)))
def test_no_mutation_surprises(plan: list[tuple[int, int]], cut: int) -> None:
    """Only the allowed errors; what passes comes out canonical."""
    octets = bytearray(BIG)
    for at, value in plan:
        octets[at] = value
    for mutated in (bytes(octets), with_true_length(bytes(octets)[: max(cut, 28)])):
        try:
            message = decode_message(mutated)
        except ALLOWED:
            continue
        again = encode_message(message.header, message.payloads)
        assert decode_message(again).payloads == message.payloads
        for payload in message.payloads:
            assert describe(payload).isprintable()


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_octets_are_read_or_refused(first_type: int, octets: bytes) -> None:
    with suppress(*ALLOWED):
        decode_chain(first_type, Reader(octets), is_outermost=True)


# --- an independent reader ------------------------------------------------------------


def test_scapy_reads_what_we_write() -> None:
    """IKE_SA_INIT and the payloads of IKE_AUTH, field by field."""
    packet = oracle.IKEv2(encode_message(HEADER, EVERYTHING[:-3]))
    assert (packet.init_SPI, packet.resp_SPI) == (SPI_I, bytes(8))
    assert (packet.exch_type, packet.version, packet.id) == (34, 0x20, 0)
    assert packet.length == len(packet)
    assert int(packet.flags) == 0x08

    first, second = packet[oracle.IKEv2_SA].prop, packet[oracle.IKEv2_SA].prop.payload
    assert (first.proposal, first.proto, first.trans_nb) == (1, 1, 3)
    assert (second.proposal, second.proto, second.trans_nb) == (2, 1, 4)
    transform = first.trans
    assert (transform.transform_type, transform.transform_id) == (1, 20)
    assert transform.key_length == 256
    assert packet[oracle.IKEv2_KE].group == 31
    assert packet[oracle.IKEv2_KE].ke == bytes(range(100, 132))
    assert packet[oracle.IKEv2_Nonce].nonce == NONCE
    notify = packet[oracle.IKEv2_Notify]
    assert (notify.type, notify.notify) == (16388, bytes(20))
    assert packet[oracle.IKEv2_VendorID].vendorID == b"iketcp"
    assert packet[oracle.IKEv2_IDi].ID == b"west.example"
    assert (packet[oracle.IKEv2_IDr].IDtype, packet[oracle.IKEv2_IDr].ID) == (
        1,
        "192.0.2.1",
    )
    assert packet[oracle.IKEv2_AUTH].auth_type == 2
    assert packet[oracle.IKEv2_AUTH].load == b"\x77" * 32
    (selector,) = packet[oracle.IKEv2_TSi].traffic_selector
    assert selector.starting_address_v4 == "10.0.0.0"
    assert selector.ending_address_v4 == "10.0.0.255"
    (selector,) = packet[oracle.IKEv2_TSr].traffic_selector
    assert (selector.start_port, selector.end_port) == (80, 80)
    assert selector.starting_address_v6 == "2001:db8::"
    delete = packet[oracle.IKEv2_Delete]
    assert (delete.proto, delete.SPIsize, delete.SPInum) == (3, 4, 2)
    assert packet[oracle.IKEv2_CP].CFGType == 1


def test_we_read_what_scapy_writes() -> None:
    """The same IKE_SA_INIT, built by scapy, is the same octets."""
    transforms = (
        oracle.IKEv2_Transform(
            next_payload=3,
            length=12,
            transform_type=1,
            transform_id=20,
            key_length=256,
        )
        / oracle.IKEv2_Transform(next_payload=3, transform_type=2, transform_id=5)
        / oracle.IKEv2_Transform(transform_type=4, transform_id=31)
    )
    proposal = oracle.IKEv2_Proposal(proposal=1, proto=1, trans_nb=3, trans=transforms)
    packet = (
        oracle.IKEv2(
            init_SPI=SPI_I, next_payload=33, exch_type=34, flags="Initiator", id=0
        )
        / oracle.IKEv2_SA(next_payload=34, prop=proposal)
        / oracle.IKEv2_KE(next_payload=40, group=31, ke=bytes(32))
        / oracle.IKEv2_Nonce(next_payload=41, nonce=NONCE)
        / oracle.IKEv2_Notify(type=16390, notify=b"cookie")
    )
    message = decode_message(bytes(packet))
    assert message.payloads == (
        SaPayload((Proposal(1, 1, b"", SUITE),)),
        KePayload(31, bytes(32)),
        NoncePayload(NONCE),
        NotifyPayload(16390, b"cookie"),
    )
    assert encode_message(message.header, message.payloads) == bytes(packet)


# --- one line each --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            SaPayload((Proposal(1, 1, b"", SUITE),)),
            "SA(AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE25519)",
        ),
        (
            SaPayload(
                (
                    Proposal(1, 3, b"\xc0\xff\xee\1", (SUITE[0], Transform(5, 1))),
                    Proposal(2, 3, b"\xc0\xff\xee\1", (Transform(1, 28),)),
                )
            ),
            "SA(ESP c0ffee01 AES_GCM_16-256/ESN; ESP c0ffee01 CHACHA20_POLY1305)",
        ),
        (KePayload(31, bytes(32)), "KE(CURVE25519, 32 octets)"),
        (KePayload(99, bytes(3)), "KE(KeyExchangeMethod(99), 3 octets)"),
        (IdPayload(True, 2, b"west.example"), "IDi(west.example)"),
        (IdPayload(False, 11, b"\1\2"), "IDr(keyid:0102)"),
        (CertPayload(4, bytes(9)), "CERT(encoding 4, 9 octets)"),
        (CertReqPayload(4, bytes(20)), "CERTREQ(encoding 4, 20 octets)"),
        (AuthPayload(2, bytes(32)), "AUTH(SHARED_KEY_MESSAGE_INTEGRITY_CODE)"),
        (NoncePayload(bytes(32)), "Nonce(32 octets)"),
        (NotifyPayload(16390, b"secret?"), "N(COOKIE)"),
        (NotifyPayload(16393, b"", 3, b"\1\2\3\4"), "N(REKEY_SA ESP 01020304)"),
        (NotifyPayload(50000), "N(NotifyType(50000))"),
        (DeletePayload(1), "D(IKE)"),
        (DeletePayload(3, (b"\x12\x34\xab\xcd",)), "D(ESP 1234abcd)"),
        (VendorPayload(b"\xab\xcd"), "V(abcd)"),
        (TsPayload(True, (TrafficSelector.parse("10.0.0.0/24"),)), "TSi(10.0.0.0/24)"),
        (
            TsPayload(
                False,
                (TrafficSelector.parse("::/0"), TrafficSelector.parse("10.0.0.1")),
                (UnknownSelector(9, 0, b""),),
            ),
            "TSr(::/0, 10.0.0.1/32, TS Type 9)",
        ),
        (SkPayload(35, bytes(100)), "SK(100 octets)"),
        (
            ConfigurationPayload(1, (ConfigurationAttribute(1, b""),)),
            "CP(CFG_REQUEST: INTERNAL_IP4_ADDRESS)",
        ),
        (
            ConfigurationPayload(
                2,
                (
                    ConfigurationAttribute(1, bytes([10, 9, 0, 2])),
                    ConfigurationAttribute(3, bytes([10, 9, 0, 1])),
                ),
            ),
            "CP(CFG_REPLY: INTERNAL_IP4_ADDRESS 10.9.0.2, INTERNAL_IP4_DNS 10.9.0.1)",
        ),
        (ConfigurationPayload(4), "CP(CFG_ACK)"),
        (EapPayload(bytes(5)), "EAP(5 octets)"),
        (PsPayload(bytes(16)), "PS(16 octets)"),
        (UnknownPayload(200, bytes(3)), "payload type 200(3 octets)"),
        (SkfPayload(35, 2, 3, bytes(9)), "SKF(2 of 3, 9 octets)"),
    ],
)
def test_descriptions(payload: Payload, text: str) -> None:
    assert describe(payload) == text


@given(outer_chains)
def test_descriptions_are_short_single_lines(payloads: tuple[Payload, ...]) -> None:
    for payload in payloads:
        text = describe(payload)
        assert text.isprintable()
        assert len(text) <= MAX_DESCRIPTION
        assert text.endswith(")")


def test_long_descriptions_are_cut_off() -> None:
    text = describe(VendorPayload(bytes(300)))
    assert len(text) == MAX_DESCRIPTION
    assert text.endswith("0…)")


def test_only_payloads_are_described() -> None:
    with pytest.raises(TypeError):
        describe("SA")  # type: ignore[arg-type]
