"""Key files for Wireshark, tried out on the real one."""

import json
import os
import shutil
import struct
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from iketcp.capture.pcapng import RAW_IP, PcapngWriter
from iketcp.capture.rewrap import CapturedMessage, udp_packet
from iketcp.capture.segments import Direction
from iketcp.crypto.ciphers import SUPPORTED, CipherSpec
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.ike.header import Header
from iketcp.ike.keys import IkeKeys
from iketcp.ike.payloads import DeletePayload
from iketcp.ike.protection import IkeProtection
from iketcp.keylog import ESP_TABLE, IKE_TABLE, esp_line, ike_line
from iketcp.registry import (
    EncryptionAlgorithm,
    ExchangeType,
    IntegrityAlgorithm,
    ProtocolId,
    PseudorandomFunction,
)
from iketcp.stream import MessageKind
from namespaces import require_or_skip

WAY = Direction(IPv4Address("192.0.2.1"), 4500, IPv4Address("192.0.2.2"), 4500)
ENTROPY = ScriptedEntropy("keylog")
WITHOUT_CHACHA20 = [
    spec
    for spec in SUPPORTED
    if spec.encr != EncryptionAlgorithm.ENCR_CHACHA20_POLY1305
]
# A TCP SYN to port 7: recognisable inside.
INNER = struct.pack(
    "!BBHHHBBH4s4sHHIIBBHHH",
    *(0x45, 0, 40, 0, 0, 64, 6, 0, bytes(4), bytes(4)),
    *(1000, 7, 0, 0, 0x50, 2, 100, 0, 0),
)


def tshark(profile: Path, capture: Path, *fields: str) -> list[dict[str, list[str]]]:
    """What the real dissector finds, one dict of field values per packet."""
    require_or_skip(shutil.which("tshark") is not None, "tshark is not installed")
    options = [option for field in fields for option in ("-e", field)]
    preferences = ("enable_encryption_decode", "enable_authentication_check")
    for preference in preferences:
        options += ["-o", f"esp.{preference}:TRUE"]
    found = subprocess.run(
        ["tshark", "-r", capture, "-T", "json", *options],
        env=os.environ | {"WIRESHARK_CONFIG_DIR": str(profile)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert b"rror" not in found.stderr, found.stderr.decode()
    return [packet["_source"]["layers"] for packet in json.loads(found.stdout)]


def write_capture(path: Path, kind: MessageKind, messages: list[bytes]) -> None:
    with path.open("wb") as stream:
        writer = PcapngWriter(stream)
        interface = writer.add_interface("test", link_type=RAW_IP)
        for number, octets in enumerate(messages):
            packet = udp_packet(CapturedMessage(number, WAY, kind, octets))
            writer.add_packet(interface, number, packet)


def suite_of(spec: CipherSpec) -> Suite:
    return Suite(
        spec.encr,
        spec.key_bits,
        prf=PseudorandomFunction.PRF_HMAC_SHA2_256,
        integ=spec.integ,
    )


def sealed_ike(spec: CipherSpec, number: int) -> tuple[bytes, str]:
    """One INFORMATIONAL request with a Delete inside, and its key line."""
    suite, draw = suite_of(spec), ENTROPY.draw
    keys = IkeKeys(
        sk_d=draw("sk_d", 32),
        sk_ai=draw("sk_ai", spec.integrity_key_size),
        sk_ar=draw("sk_ar", spec.integrity_key_size),
        sk_ei=draw("sk_ei", spec.key_size),
        sk_er=draw("sk_er", spec.key_size),
        sk_pi=draw("sk_pi", 32),
        sk_pr=draw("sk_pr", 32),
    )
    spi_i, spi_r = number.to_bytes(8, "big"), (number + 1000).to_bytes(8, "big")
    protection = IkeProtection(suite, keys, True, ENTROPY)
    header = Header(
        spi_i=spi_i,
        spi_r=spi_r,
        exchange_type=ExchangeType.INFORMATIONAL,
        message_id=2,
        is_response=False,
        is_original_initiator=True,
    )
    message = protection.seal(header, [DeletePayload(ProtocolId.IKE, ())])
    line = ike_line(spi_i, spi_r, keys.sk_ei, keys.sk_er, keys.sk_ai, keys.sk_ar, suite)
    return message, line


def sealed_esp(spec: CipherSpec, number: int, esn: bool = False) -> tuple[bytes, str]:
    """One ESP packet with ``INNER`` inside, and its key line."""
    key = ENTROPY.draw("esp.key", spec.key_size)
    integrity_key = ENTROPY.draw("esp.integrity", spec.integrity_key_size)
    spi = (0x10000 + number).to_bytes(4, "big")
    suite = Suite(spec.encr, spec.key_bits, integ=spec.integ, esn=esn)
    sequence = (1).to_bytes(4, "big")
    upper = bytes(4) if esn else b""
    iv = ENTROPY.draw("esp.iv", spec.iv_size)
    pad = -(len(INNER) + 2) % max(spec.block_size, 4)
    plaintext = INNER + bytes(range(1, pad + 1)) + bytes([pad, 4])
    cipher = spec.new(key, integrity_key)
    if spec.is_aead:
        sealed = cipher.seal(iv, plaintext, spi + upper + sequence)
    else:
        sealed = cipher.seal(iv, plaintext, spi + sequence, upper)
    line = esp_line("192.0.2.1", "192.0.2.2", spi, suite, key, integrity_key)
    return spi + sequence + iv + sealed, line


def test_wireshark_decrypts_ike_messages_of_every_suite(tmp_path: Path) -> None:
    """RFC 7296 §3.14: the lines we write let an independent tool see the Delete."""
    messages, lines = [], []
    for number, spec in enumerate(WITHOUT_CHACHA20, 1):
        message, line = sealed_ike(spec, number)
        assert line
        messages.append(message)
        lines.append(line)
    (tmp_path / IKE_TABLE).write_text("".join(lines))
    write_capture(tmp_path / "ike.pcapng", MessageKind.IKE, messages)
    packets = tshark(
        tmp_path,
        tmp_path / "ike.pcapng",
        "isakmp.typepayload",
        "isakmp.delete.protoid",
        "isakmp.enc.icd",
    )
    assert len(packets) == len(messages)
    for packet, spec in zip(packets, WITHOUT_CHACHA20, strict=True):
        assert packet["isakmp.typepayload"] == ["46", "42"], spec
        assert packet["isakmp.delete.protoid"] == ["1"], spec


def test_wireshark_has_no_chacha20_for_ike() -> None:
    """No line rather than one that spoils the table."""
    (spec,) = set(SUPPORTED) - set(WITHOUT_CHACHA20)
    assert sealed_ike(spec, 1)[1] == ""


def test_wireshark_decrypts_esp_packets_of_every_suite(tmp_path: Path) -> None:
    """RFC 4303 §2: the lines we write show the inner packet, and the ICV is right."""
    made = [sealed_esp(spec, number) for number, spec in enumerate(WITHOUT_CHACHA20)]
    (tmp_path / ESP_TABLE).write_text("".join(line for _, line in made))
    write_capture(
        tmp_path / "esp.pcapng", MessageKind.ESP, [message for message, _ in made]
    )
    packets = tshark(
        tmp_path, tmp_path / "esp.pcapng", "tcp.dstport", "esp.icv_good", "esp.protocol"
    )
    for packet, spec in zip(packets, WITHOUT_CHACHA20, strict=True):
        assert packet["tcp.dstport"] == ["7"], spec
        assert packet["esp.icv_good"] == ["1"], spec


def test_ike_line_has_eight_fields() -> None:
    """The columns are in Wireshark's order, keys in hexadecimal."""
    suite = Suite(
        EncryptionAlgorithm.ENCR_AES_CBC,
        128,
        integ=IntegrityAlgorithm.AUTH_HMAC_SHA2_256_128,
    )
    line = ike_line(b"i" * 8, b"r" * 8, b"\1", b"\2", b"\3", b"\4", suite)
    assert line == (
        "6969696969696969,7272727272727272,01,02,"
        '"AES-CBC-128 [RFC3602]",03,04,"HMAC_SHA2_256_128 [RFC4868]"\n'
    )


@pytest.mark.parametrize(("source", "version"), [("192.0.2.1", 4), ("2001:db8::1", 6)])
def test_esp_line_has_eight_fields(source: str, version: int) -> None:
    """The columns are in Wireshark's order; an unused key is empty."""
    suite = Suite(EncryptionAlgorithm.ENCR_AES_GCM_16, 256)
    line = esp_line(source, "*", b"\1\2\3\4", suite, b"\xaa\xbb", b"")
    assert line == (
        f'"IPv{version}","{source}","*","0x01020304",'
        '"AES-GCM with 16 octet ICV [RFC4106]","0xaabb","NULL",""\n'
    )


def test_wireshark_has_no_implicit_iv() -> None:
    """No line rather than one that spoils the table. RFC 8750 §8."""
    suite = Suite(EncryptionAlgorithm.ENCR_AES_GCM_16_IIV, 128)
    assert esp_line("192.0.2.1", "192.0.2.2", bytes(4), suite, bytes(20), b"") == ""


def test_esp_line_tells_of_extended_sequence_numbers() -> None:
    """RFC 4303 §2.2.1: later versions check the ICV with the upper half added."""
    suite = Suite(EncryptionAlgorithm.ENCR_CHACHA20_POLY1305, None, esn=True)
    line = esp_line("192.0.2.1", "192.0.2.2", bytes(4), suite, b"\1", b"")
    assert line.endswith(
        '"ChaCha20 with Poly1305 [RFC7634]","0x01","NULL","","64-bit","0"\n'
    )


def test_esp_line_wants_an_address() -> None:
    """A host name would never match a packet."""
    suite = Suite(EncryptionAlgorithm.ENCR_AES_GCM_16, 256)
    with pytest.raises(ValueError, match="gateway"):
        esp_line("gateway", "*", bytes(4), suite, b"", b"")
