"""Wireshark decrypts whole sessions of ours with the keys that we export.

The messages are those of two endpoints of ours; everything said about them here comes
out of tshark, which has its own idea of every format and its own cryptography.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from captures import (
    DAMAGE,
    EAST_INNER,
    IKE_AUTH,
    IKE_FIELDS,
    IKE_SA_INIT,
    OUTER_IPV4,
    OUTER_IPV6,
    REQUEST,
    RESPONSE,
    SESSION,
    SK,
    WEST_INNER,
    Fields,
    Recording,
    Sent,
    damage_in,
    fields_of,
    follow_tcp,
    ike_view,
    require_tshark,
    run_tshark,
    tcp_segments,
    udp_wrapped,
    write_packets,
    write_udp_capture,
)
from iketcp.stream import MessageKind
from pair import EAST, WEST

ROOT = Path(__file__).resolve().parent.parent

ESP_FIELDS = ("esp.spi", "esp.sequence", "esp.icv_good", "data.data", "udp.dstport")
ADDRESSES = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst")

SUITES = [
    ("aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519-noesn", OUTER_IPV4),
    ("aes256gcm16-prfsha384-ecp256", "aes256gcm16-ecp256-noesn", OUTER_IPV6),
    ("aes128-sha256-x25519", "aes256-sha256-x25519-noesn", OUTER_IPV4),
    ("aes256ctr-sha512-x25519", "aes128ctr-sha512-x25519-noesn", OUTER_IPV6),
    ("aes192-sha384-x448", "aes192gcm16-x25519-noesn", OUTER_IPV4),
]


def suite_name(part: str | tuple[str, str]) -> str:
    """Name of a test's parameter."""
    return part if isinstance(part, str) else f"ipv{6 if ':' in part[0] else 4}"


MORE_FIELDS = "More fields than required"
"""What versions that do not know of ESN say of the columns about it."""

NO_CHACHA20 = "invalid value: ChaCha20 with Poly1305"


@pytest.fixture(autouse=True)
def _tshark() -> None:
    require_tshark()


def addresses(packet: Fields) -> list[tuple[str, str]]:
    """Source and destination of each IP header, outer first."""
    pairs = []
    for version in ("ip", "ipv6"):
        sources = packet.get(f"{version}.src", [])
        pairs += zip(sources, packet.get(f"{version}.dst", []), strict=True)
    return sorted(pairs, key=lambda pair: pair[0] in WEST_INNER + EAST_INNER)


def read(
    recording: Recording, folder: Path, *fields: str, tolerated: str | None = None
) -> list[tuple[Sent, Fields]]:
    """Each message beside what tshark makes of it."""
    recording.write_keys(folder)
    sent = write_udp_capture(recording, folder / "udp.pcap")
    found = fields_of(folder, folder / "udp.pcap", *fields, tolerated=tolerated)
    return list(zip(sent, found, strict=True))


def check_ike(recording: Recording, packets: list[tuple[Sent, Fields]]) -> None:
    """Every IKE message of the session is there, decrypted."""
    west, east = recording.addresses
    messages = [(s, f) for s, f in packets if s.kind is MessageKind.IKE]
    seen = [(sent.sender, *ike_view(found)) for sent, found in messages]
    assert seen == SESSION
    for sent, found in messages:
        way = (west, east) if sent.sender == WEST else (east, west)
        assert addresses(found) == [way]


def check_esp(recording: Recording, packets: list[tuple[Sent, Fields]]) -> None:
    """Every ESP packet is there, and inside it what went into the tunnel."""
    found = [fields for sent, fields in packets if sent.kind is MessageKind.ESP]
    assert len(found) == len(recording.inner) == 16
    west, east = recording.addresses
    for (name, packet), fields in zip(recording.inner, found, strict=True):
        is_ipv6 = packet[0] >> 4 == 6
        ways = [(west, east), (WEST_INNER[is_ipv6], EAST_INNER[is_ipv6])]
        if name == EAST:
            ways = [way[::-1] for way in ways]
        assert addresses(fields) == ways
        assert fields["udp.dstport"] == ["4500", "40002"]
        payload = packet[(40 if is_ipv6 else 20) + 8 :]
        assert fields["data.data"] == [payload.hex()]


@pytest.mark.parametrize(("ike", "esp", "outer"), SUITES, ids=suite_name)
def test_tshark_decrypts_a_whole_session(
    tmp_path: Path, ike: str, esp: str, outer: tuple[str, str]
) -> None:
    """RFC 7296 §3.14, RFC 4303 §2: through two rekeys and two connections."""
    recording = Recording(ike, esp, outer).play()
    packets = read(recording, tmp_path, *IKE_FIELDS, *ESP_FIELDS, *ADDRESSES, *DAMAGE)
    assert damage_in(found for _, found in packets) == []
    check_ike(recording, packets)
    check_esp(recording, packets)
    for sent, found in packets:
        if sent.kind is MessageKind.ESP:
            assert found["esp.icv_good"] == ["1"]
    assert_integrity(tmp_path)


def assert_integrity(folder: Path) -> None:
    """Tshark has checked the Integrity Check Value of each Encrypted payload."""
    text = run_tshark(folder, folder / "udp.pcap", "-V", "-Y", "isakmp.enc.icd")
    lines = [line for line in text.splitlines() if "Integrity Checksum Data" in line]
    assert len(lines) == sum(SK in payloads for *_, payloads in SESSION)
    assert all(line.endswith("[correct]") for line in lines)


def test_tshark_notices_a_wrong_octet(tmp_path: Path) -> None:
    """The oracle can fail: one bit of an IKE message and one of an ESP packet."""
    recording = Recording().play()
    recording.write_keys(tmp_path)
    packets = []
    for sent in recording.messages():
        octets = sent.octets[:-1] + bytes([sent.octets[-1] ^ 1])
        packets.append(udp_wrapped(recording, replace(sent, octets=octets)))
    write_packets(tmp_path / "udp.pcap", packets[2:5])
    fields = (*DAMAGE, "esp.icv_bad")
    request, response, esp = fields_of(tmp_path, tmp_path / "udp.pcap", *fields)
    assert "Integrity Checksum" in damage_in([request])[0]
    assert "Integrity Checksum" in damage_in([response])[0]
    assert esp["esp.icv_bad"] == ["1"]


DH_GROUP = "isakmp.key_exchange.dh_group"

VALUES = (
    "isakmp.notify.msgtype",
    "isakmp.spi",
    "isakmp.delete.spi",
    "isakmp.delete.protoid",
    "isakmp.id.data.fqdn",
    "isakmp.auth.method",
    "isakmp.cfg.type",
    "isakmp.cfg.attr.internal_ip4_address",
    "isakmp.cfg.attr.internal_ip6_address",
    "isakmp.cfg.attr.internal_ip4_dns",
    "isakmp.ts.start_ipv4",
    "isakmp.ts.end_ipv4",
    "isakmp.ts.start_ipv6",
)


def test_tshark_reads_the_values_that_were_meant(tmp_path: Path) -> None:
    """RFC 7296 §3.3, §3.5, §3.8, §3.10, §3.11, §3.13, §3.15."""
    recording = Recording().play()
    packets = read(recording, tmp_path, *VALUES)
    found = [fields for sent, fields in packets if sent.kind is MessageKind.IKE]
    init, _, request, response, rekey, rekeyed, delete, deleted = found[:8]
    first, second = recording.children()[:2]
    # NAT_DETECTION_SOURCE_IP, _DESTINATION_IP, SIGNATURE_HASH_ALGORITHMS, IKEV2_...
    assert init["isakmp.notify.msgtype"] == ["16388", "16389", "16431", "16430"]
    assert request["isakmp.id.data.fqdn"] == ["west.example", "east.example"]
    assert response["isakmp.id.data.fqdn"] == ["east.example"]
    assert request["isakmp.auth.method"] == response["isakmp.auth.method"] == ["2"]
    assert request["isakmp.cfg.type"] == ["1"]  # CFG_REQUEST
    assert response["isakmp.cfg.type"] == ["2"]  # CFG_REPLY
    (west4, west6), (east4, _) = WEST_INNER, EAST_INNER
    assert response["isakmp.cfg.attr.internal_ip4_address"] == [west4]
    assert response["isakmp.cfg.attr.internal_ip6_address"] == [west6]
    assert response["isakmp.cfg.attr.internal_ip4_dns"] == ["10.1.0.53"]
    assert response["isakmp.ts.start_ipv4"] == [west4, east4[:-1] + "0"]
    assert response["isakmp.ts.end_ipv4"] == [west4, east4[:-1] + "255"]
    assert response["isakmp.ts.start_ipv6"] == [west6, "2001:db8:1::"]
    assert request["isakmp.spi"] == [first.spi_in.hex()]
    assert response["isakmp.spi"] == [first.spi_out.hex()]
    assert rekey["isakmp.notify.msgtype"] == ["16393"]  # REKEY_SA
    assert rekey["isakmp.spi"][-1] == second.spi_in.hex()
    assert rekeyed["isakmp.spi"] == [second.spi_out.hex()]
    assert delete["isakmp.delete.protoid"] == ["3"]  # ESP
    assert delete["isakmp.delete.spi"] == [first.spi_in.hex()]
    assert deleted["isakmp.delete.spi"] == [first.spi_out.hex()]
    assert found[-2]["isakmp.delete.protoid"] == ["1"]  # the IKE SA


def test_tshark_follows_cookie_and_another_key_exchange(tmp_path: Path) -> None:
    """RFC 7296 §1.2, §2.6: IKE_SA_INIT three times, each with Message ID 0."""
    west = "aes256gcm16-prfsha256-x25519-ecp256"
    east = "aes256gcm16-prfsha256-ecp256"
    recording = Recording(west, east_ike=east, is_cookie_required=True)
    recording.pair.up()
    fields = (
        *IKE_FIELDS,
        *DAMAGE,
        "isakmp.notify.msgtype",
        "isakmp.key_exchange.dh_group",
    )
    packets = read(recording, tmp_path, *fields)
    assert damage_in(found for _, found in packets) == []
    seen = [
        (
            *ike_view(found)[:3],
            found.get(DH_GROUP),
            found.get("isakmp.notify.msgtype", [""])[0],
        )
        for _, found in packets
    ]
    assert seen == [
        (IKE_SA_INIT, 0, REQUEST, ["31"], "16388"),
        (IKE_SA_INIT, 0, RESPONSE, None, "16390"),  # COOKIE
        (IKE_SA_INIT, 0, REQUEST, ["31"], "16390"),
        (IKE_SA_INIT, 0, RESPONSE, None, "17"),  # INVALID_KE_PAYLOAD
        (IKE_SA_INIT, 0, REQUEST, ["19"], "16390"),
        (IKE_SA_INIT, 0, RESPONSE, ["19"], "16388"),
        (IKE_AUTH, 1, REQUEST, None, "16384"),  # INITIAL_CONTACT
        (IKE_AUTH, 1, RESPONSE, None, ""),
    ]


def test_tshark_decrypts_esp_with_extended_sequence_numbers(tmp_path: Path) -> None:
    """RFC 4303 §2.2.1: a version that reads the columns on ESN verifies ICVs too."""
    esp = "aes256gcm16-x25519-esn"
    recording = Recording(esp=esp, tfc_pad_to=300).play()
    fields = (*IKE_FIELDS, *ESP_FIELDS, *ADDRESSES, *DAMAGE)
    packets = read(recording, tmp_path, *fields, tolerated=MORE_FIELDS)
    assert damage_in(found for _, found in packets) == []
    check_ike(recording, packets)
    check_esp(recording, packets)
    # RFC 4303 §2.7: what tshark saw was padded.
    assert all(
        len(sent.octets) > 300 for sent, _ in packets if sent.kind is MessageKind.ESP
    )
    knows_esn = MORE_FIELDS not in complaints_of(tmp_path)
    good = {found["esp.icv_good"][0] for _, found in packets if "esp.spi" in found}
    assert good == {"1" if knows_esn else "0"}


def complaints_of(folder: Path) -> str:
    """What tshark says of the key files."""
    try:
        run_tshark(folder, folder / "udp.pcap", "-c", "1")
    except AssertionError as complaints:
        return str(complaints)
    return ""


def test_tshark_reads_around_chacha20_that_it_does_not_know(tmp_path: Path) -> None:
    """RFC 7634: ESP with it is decrypted, or shown as ESP; IKE is decrypted anyway."""
    recording = Recording(esp="chacha20poly1305-x25519-noesn").play()
    fields = (*IKE_FIELDS, *ESP_FIELDS, *ADDRESSES, *DAMAGE)
    packets = read(recording, tmp_path, *fields, tolerated=NO_CHACHA20)
    assert damage_in(found for _, found in packets) == []
    check_ike(recording, packets)
    if NO_CHACHA20 not in complaints_of(tmp_path):
        check_esp(recording, packets)
        return
    spis = {child.spi_in for child in recording.children()}
    spis |= {child.spi_out for child in recording.children()}
    seen = [found for sent, found in packets if sent.kind is MessageKind.ESP]
    assert {int(found["esp.spi"][0], 16).to_bytes(4, "big") for found in seen} == spis
    assert not any("data.data" in found for found in seen)


def test_tshark_shows_ike_under_chacha20_undecrypted(tmp_path: Path) -> None:
    """No line is written where Wireshark has no name, so none spoils the table."""
    ike = "chacha20poly1305-prfsha256-x25519"
    recording = Recording(ike).play()
    packets = read(recording, tmp_path, *IKE_FIELDS, *ESP_FIELDS, *ADDRESSES, *DAMAGE)
    assert damage_in(found for _, found in packets) == []
    assert (tmp_path / "ikev2_decryption_table").read_text() == ""
    messages = [found for sent, found in packets if sent.kind is MessageKind.IKE]
    for found, (_, exchange, message_id, is_response, payloads) in zip(
        messages, SESSION, strict=True
    ):
        outer = [SK] if SK in payloads else payloads
        assert ike_view(found) == (exchange, message_id, is_response, outer)
    check_esp(recording, packets)


# --- the stream itself --------------------------------------------------------------


@pytest.mark.parametrize("outer", [OUTER_IPV4, OUTER_IPV6], ids=["ipv4", "ipv6"])
def test_tshark_follows_the_stream(tmp_path: Path, outer: tuple[str, str]) -> None:
    """RFC 9329 §4: its TCP reassembly gives prefix and messages as they were sent."""
    recording = Recording(addresses=outer).play()
    write_packets(tmp_path / "tcp.pcap", tcp_segments(recording))
    for number in (0, 1):
        ways = {WEST: b"", EAST: b""}
        for node, octets in follow_tcp(tmp_path / "tcp.pcap", number):
            ways[(WEST, EAST)[node]] += octets
        for name, octets in ways.items():
            id = number + 1
            sent = [o for n, c, o in recording.pair.sent if (n, c) == (name, id)]
            assert octets == b"".join(sent)
        assert ways[WEST].startswith(b"IKETCP\0")


def test_tshark_finds_ike_in_the_stream_or_not_as_documented(tmp_path: Path) -> None:
    """RFC 9329 §3: a version that knows the stream shows the same as in UDP.

    Version 4.0 has a dissector for TCP encapsulation, but of another, older kind;
    docs/wireshark.md says so.
    """
    recording = Recording().play()
    recording.write_keys(tmp_path)
    write_packets(tmp_path / "tcp.pcap", tcp_segments(recording))
    fields = (*IKE_FIELDS, *ESP_FIELDS, "tcp.len", *DAMAGE)
    found = fields_of(tmp_path, tmp_path / "tcp.pcap", *fields)
    assert sum("tcp.len" in packet for packet in found) == len(found)
    messages = [packet for packet in found if "isakmp.exchangetype" in packet]
    if messages:
        assert damage_in(found) == []
        assert [ike_view(each) for each in messages] == [each[1:] for each in SESSION]
        return
    assert not any("esp.spi" in packet for packet in found)
    text = (ROOT / "docs" / "wireshark.md").read_text("utf-8")
    assert "does not know the IKETCP stream" in text
