"""Scapy reads our IKE messages, and shares a negotiated Child SA with us.

Keys and SPIs come from a session that two of our endpoints negotiated; scapy then
stands in for one of them.
"""

import struct
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2_KE,
    IKEv2_Nonce,
    IKEv2_Notify,
    IKEv2_Proposal,
    IKEv2_SA,
    IKEv2_Transform,
)
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Packet

from captures import (
    OUTER_IPV4,
    OUTER_IPV6,
    SESSION,
    SK,
    Recording,
    inner_packets,
)
from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import KePayload, NoncePayload, NotifyPayload, SaPayload
from iketcp.stream import MessageKind
from pair import EAST, WEST

# --- IKE ----------------------------------------------------------------------------

TYPES = {
    "SA": 33,
    "KE": 34,
    "IDi": 35,
    "IDr": 36,
    "AUTH": 39,
    "Nonce": 40,
    "Notify": 41,
    "Delete": 42,
    "TSi": 44,
    "TSr": 45,
    "Encrypted": SK,
    "CP": 47,
}
"""Scapy's classes of payloads and their types. RFC 7296 §3.2."""


@pytest.fixture(scope="module")
def recording() -> Recording:
    """A whole session under AES-GCM-256."""
    return Recording().play()


def ike_messages(recording: Recording) -> Iterator[tuple[str, bytes]]:
    for sent in recording.messages():
        if sent.kind is MessageKind.IKE:
            yield sent.sender, sent.octets


def payloads_of(message: Packet) -> list[int]:
    """Types of the payloads that scapy finds, in order."""
    names = [layer.__name__ for layer in message.layers()]
    assert names[0] == "IKEv2"
    return [TYPES[name.removeprefix("IKEv2_")] for name in names[1:]]


def opened(recording: Recording, octets: bytes) -> bytes:
    """The message with what its Encrypted payload holds in that payload's place.

    RFC 5282 §3: octets 0 to 31 are authenticated, 32 to 39 the IV, then the ciphertext.
    """
    (keys,) = [k.keys for k in recording.ike_keys() if k.spi_i == octets[:8]]
    key = keys.sk_ei if octets[19] & 0x08 else keys.sk_er
    nonce = key[-4:] + octets[32:40]
    plaintext = AESGCM(key[:-4]).decrypt(nonce, octets[40:], octets[:32])
    chain = plaintext[: -1 - plaintext[-1]]
    size = struct.pack("!I", 28 + len(chain))
    return octets[:16] + octets[28:29] + octets[17:24] + size + chain


def test_scapy_reads_every_ike_message(recording: Recording) -> None:
    """RFC 7296 §3.1, §3.2: header and payloads, outside and inside."""
    seen = []
    for sender, octets in ike_messages(recording):
        outer = IKEv2(octets)
        payloads = payloads_of(outer)
        if payloads == [SK]:
            payloads += payloads_of(IKEv2(opened(recording, octets)))
        is_response = "Response" in outer.sprintf("%flags%")
        seen.append((sender, outer.exch_type, outer.id, is_response, payloads))
    assert seen == SESSION


def test_scapy_writes_back_what_it_read(recording: Recording) -> None:
    """RFC 7296 §3: each message and each field of it has one encoding."""
    for _, octets in ike_messages(recording):
        outer = IKEv2(octets)
        again = rebuilt(outer)
        assert again == octets
        if payloads_of(outer) == [SK]:
            inner = opened(recording, octets)
            assert rebuilt(IKEv2(inner)) == inner


def rebuilt(packet: Packet) -> bytes:
    """Build anew from the fields, not from the octets that scapy has kept."""
    copy = packet.copy()
    layer = copy
    while layer:
        layer.clear_cache()
        layer = layer.payload
    return bytes(copy)


def test_scapy_reads_the_values_that_were_meant(recording: Recording) -> None:
    """RFC 7296 §3.3, §3.5, §3.11, §3.13, §3.15."""
    messages = [octets for _, octets in ike_messages(recording)]
    request, response = (IKEv2(opened(recording, m)) for m in messages[2:4])
    first = recording.children()[0]
    assert request["IKEv2_IDi"].ID == b"west.example"
    assert request["IKEv2_IDr"].ID == b"east.example"
    assert first.spi_in == request["IKEv2_Proposal"].SPI
    assert first.spi_out == response["IKEv2_Proposal"].SPI
    transforms = response["IKEv2_Proposal"].trans
    assert (
        transforms.sprintf("%transform_type% %transform_id%")
        == "Encryption AES-GCM-16ICV"
    )
    assert transforms.key_length == 256
    assert response["IKEv2_CP"].sprintf("%CFGType%") == "CFG_REPLY"
    selectors = response["IKEv2_TSi"].traffic_selector
    assert [str(each.starting_address_v4) for each in selectors[:1]] == ["10.9.0.2"]
    assert [str(each.starting_address_v6) for each in selectors[1:]] == [
        "2001:db8:9::2"
    ]
    delete = IKEv2(opened(recording, messages[6]))["IKEv2_Delete"]
    assert (delete.proto, delete.SPI) == (3, [first.spi_in])


def test_we_answer_an_ike_sa_init_made_by_scapy() -> None:
    """RFC 7296 §1.2, RFC 9329 §3.1, §4: prefix, Length and marker by hand."""
    transforms = (
        IKEv2_Transform(transform_type=1, transform_id=20, length=12, key_length=256)
        / IKEv2_Transform(transform_type=2, transform_id=5)
        / IKEv2_Transform(transform_type=4, transform_id=31)
    )
    request = bytes(
        IKEv2(init_SPI=b"scapyspi", exch_type=34, flags="Initiator", id=0)
        / IKEv2_SA(prop=IKEv2_Proposal(proto=1, trans_nb=3, trans=transforms))
        / IKEv2_KE(group=31, ke=bytes([9]) + bytes(31))
        / IKEv2_Nonce(nonce=bytes(range(32)))
        / IKEv2_Notify(proto=0, type=16430)
    )
    sa, ke, nonce, notify = decode_message(request).payloads
    assert isinstance(sa, SaPayload)
    assert len(sa.proposals[0].transforms) == 3
    assert ke == KePayload(31, bytes([9]) + bytes(31))
    assert nonce == NoncePayload(bytes(range(32)))
    assert notify == NotifyPayload(16430)
    pair = Recording().pair
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    pair.wire.clear()  # what west says is lost: scapy speaks in its place
    octets = b"IKETCP" + framed(bytes(4) + request)
    pair.run(EAST, pair.east.endpoint.octets_received(id, octets, 0.0))
    ((sender, _, answer),) = pair.wire
    assert sender == EAST
    response = IKEv2(answer[6:])
    assert response.init_SPI == b"scapyspi"
    assert payloads_of(response) == SESSION[1][-1]
    assert response["IKEv2_KE"].group == 31


# --- ESP ----------------------------------------------------------------------------

CIPHERS = {12: "AES-CBC", 13: "AES-CTR", 20: "AES-GCM", 28: "CHACHA20-POLY1305"}
INTEGRITY = {12: "SHA2-256-128", 13: "SHA2-384-192", 14: "SHA2-512-256"}

ESP_PROPOSALS = [
    "aes128gcm16-x25519-noesn",
    "aes256gcm16-x25519-esn",
    "chacha20poly1305-x25519-esn",
    "aes256-sha256-x25519-noesn",
    "aes128-sha384-x25519-esn",
    "aes256ctr-sha512-x25519-esn",
]


def framed(message: bytes) -> bytes:
    """RFC 9329 §3: Length counts itself."""
    return struct.pack("!H", len(message) + 2) + message


def association(
    recording: Recording,
    sender: str,
    suite: Suite,
    spi: bytes,
    keys: tuple[bytes, bytes],
) -> SecurityAssociation:
    """Scapy's idea of one direction of a Child SA."""
    encryption, integrity = keys
    return SecurityAssociation(
        ESP,
        spi=int.from_bytes(spi, "big"),
        crypt_algo=CIPHERS[suite.encr],
        crypt_key=encryption,
        auth_algo=INTEGRITY[suite.integ] if suite.integ else None,
        auth_key=integrity or None,
        tunnel_header=recording.outer(sender),
        esn_en=suite.esn,
    )


def west_to_east(recording: Recording, child: ChildSaParameters) -> SecurityAssociation:
    """What west sends with."""
    keys = child.encryption_key_out, child.integrity_key_out
    return association(recording, WEST, child.suite, child.spi_out, keys)


def east_to_west(recording: Recording, child: ChildSaParameters) -> SecurityAssociation:
    """What west receives with."""
    keys = child.encryption_key_in, child.integrity_key_in
    return association(recording, EAST, child.suite, child.spi_in, keys)


@pytest.mark.parametrize("outer", [OUTER_IPV4, OUTER_IPV6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("esp", ESP_PROPOSALS)
def test_scapy_opens_every_packet_of_a_session(
    esp: str, outer: tuple[str, str]
) -> None:
    """RFC 4303 §2, RFC 7296 §2.17: with the keys negotiated, through all rekeys."""
    recording = Recording(esp=esp, addresses=outer).play()
    associations = {}
    for child in recording.children():
        associations[child.spi_out] = west_to_east(recording, child)
        associations[child.spi_in] = east_to_west(recording, child)
    assert len(associations) == 6
    found = []
    for sent in recording.messages():
        if sent.kind is MessageKind.ESP:
            header = recording.outer(sent.sender)
            outside = type(header)(bytes(header / ESP(sent.octets)))
            inside = associations[sent.octets[:4]].decrypt(outside)
            found.append((sent.sender, bytes(inside)))
    assert found == recording.inner


@pytest.mark.parametrize("esp", ESP_PROPOSALS)
def test_we_open_what_scapy_sends_in_a_session(esp: str) -> None:
    """RFC 4303 §3.4: scapy takes west's place on the Child SA, then east's."""
    recording = Recording(esp=esp)
    pair = recording.pair
    id = pair.up()
    pair.run(WEST, pair.west.endpoint.rekey_child("net", pair.now))
    pair.settle()
    child = recording.children()[-1]
    for name, theirs in (
        (WEST, west_to_east(recording, child)),
        (EAST, east_to_west(recording, child)),
    ):
        receiver = pair.side(pair.other(name))
        packets = inner_packets("by scapy", is_back=name == EAST)
        stream = b""
        for number, packet in enumerate(packets, 1):
            inner = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
            sealed = theirs.encrypt(inner, seq_num=number)
            stream += framed(bytes(sealed[ESP]))
        pair.run(pair.other(name), receiver.endpoint.octets_received(id, stream, 0.0))
        assert receiver.delivered == packets


def test_we_drop_what_scapy_sends_twice() -> None:
    """RFC 4303 §3.4.3: a repeated sequence number is no second packet."""
    recording = Recording()
    pair = recording.pair
    id = pair.up()
    theirs = west_to_east(recording, recording.children()[-1])
    packet = inner_packets("once")[0]
    octets = framed(bytes(theirs.encrypt(IP(packet), seq_num=1)[ESP]))
    for _ in range(2):
        pair.run(EAST, pair.east.endpoint.octets_received(id, octets, 0.0))
    assert pair.east.delivered == [packet]
