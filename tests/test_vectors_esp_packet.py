"""The file ``esp_packet_test.json`` against ``cryptography``, hmac and scapy."""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from iketcp.vectorlib import check_esp_packet
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

HASHES = {12: "sha256", 13: "sha384", 14: "sha512"}


def whole_number(group: Json, test: Json, low: int) -> int:
    """Infer the number: the one nearest above the window's left edge, 64 wide."""
    if not group["esn"]:
        return low
    left = int(test["highest"], 16) - 63
    return next(
        high << 32 | low
        for high in range(max(0, left >> 32), (left >> 32) + 3)
        if high << 32 | low >= max(0, left)
    )


def opened(group: Json, packet: bytes, number: int) -> bytes | None:
    """Open a packet: plaintext, or ``None`` if it proves nothing."""
    spec = group["cipher"]
    spi, key, integrity_key = octets(group, "spi", "encryptionKey", "integrityKey")
    iv, rest = packet[8 : 8 + spec["ivSize"]], packet[8 + spec["ivSize"] :]
    high = (number >> 32).to_bytes(4, "big") if group["esn"] else b""
    low = packet[4:8]
    if spec["integ"] is None:
        cls = AESGCM if spec["encr"] in (20, 30) else ChaCha20Poly1305
        iv = iv or number.to_bytes(8, "big")
        try:
            return cls(key[:-4]).decrypt(key[-4:] + iv, rest, spi + high + low)
        except (InvalidTag, ValueError):
            return None
    ciphertext, icv = rest[: -spec["icvSize"]], rest[-spec["icvSize"] :]
    text = spi + low + iv + ciphertext + high
    if hmac.digest(integrity_key, text, HASHES[spec["integ"]])[: len(icv)] != icv:
        return None
    mode: modes.CBC | modes.CTR = modes.CBC(iv)
    if spec["encr"] == 13:
        key, mode = key[:-4], modes.CTR(key[-4:] + iv + b"\0\0\0\1")
    return Cipher(algorithms.AES(key), mode).decryptor().update(ciphertext)


def test_packets_open() -> None:
    """RFC 4303 §2, §3.4: what is authentic, and what is inside it."""
    for group, test in grouped("esp_packet", "EspPacket"):
        packet, inner, padding = octets(test, "packet", "inner", "padding")
        if test["error"] == "Replay":
            continue
        number = whole_number(group, test, int.from_bytes(packet[4:8], "big"))
        spec = group["cipher"]
        least = 8 + spec["ivSize"] + spec["icvSize"] + max(4, spec["blockSize"])
        plaintext = None
        if len(packet) >= least:
            plaintext = opened(group, packet, number)
        assert (plaintext is not None) == test["isAuthentic"], test["tcId"]
        if plaintext is None:
            continue
        content = inner + bytes(test["tfcPadding"])
        assert plaintext[: len(content)] == content, test["tcId"]
        assert plaintext[-1] == test["nextHeader"]
        assert plaintext[len(content) : -2] == padding
        assert number == int(test["sequence"], 16)
        if test["result"] == "valid":
            assert plaintext[-2] == len(padding)
            assert padding == bytes(range(1, len(padding) + 1))
            assert len(plaintext) % max(4, spec["blockSize"]) == 0


def test_replays_are_replays() -> None:
    """RFC 4303 §3.4.3: seen, or 64 and more below the highest, or zero."""
    found = 0
    for group, test in grouped("esp_packet", "EspPacket"):
        if test["error"] != "Replay":
            continue
        sequence, highest = int(test["sequence"], 16), int(test["highest"], 16)
        assert sequence == 0 or sequence <= highest
        assert opened(group, bytes.fromhex(test["packet"]), sequence) is not None
        found += 1
    assert found >= 6


def test_inner_packets_are_ip() -> None:
    """RFC 4303 §2.6: scapy reads the inner packets, with true sizes and checksums."""
    for _, test in grouped("esp_packet", "EspPacket"):
        inner = bytes.fromhex(test["inner"])
        if test["result"] != "valid" or test["nextHeader"] == 59:
            continue
        parsed = IP(inner) if test["nextHeader"] == 4 else IPv6(inner)
        assert bytes(parsed) == inner
        if test["nextHeader"] == 4:
            assert parsed.len == len(inner)
            checksum = parsed.chksum
            del parsed.chksum
            assert IP(bytes(parsed)).chksum == checksum
        else:
            assert parsed.plen == len(inner) - 40
        assert "Published" in test["flags"] or UDP in parsed


def test_published_ciphertexts() -> None:
    """RFC 3602 §4: each decrypts to payload and trailer, and whole blocks."""
    for group, test in grouped("esp_packet", "CbcEncryption"):
        key, iv, payload, padding = octets(
            test, "encryptionKey", "iv", "payload", "padding"
        )
        (ciphertext,) = octets(test, "ciphertext")
        tail = b""
        if test["nextHeader"] is not None:
            assert padding == bytes(range(1, len(padding) + 1))
            tail = padding + bytes([len(padding), test["nextHeader"]])
        context = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        assert context.update(ciphertext) + context.finalize() == payload + tail
        assert group["source"]["name"] == "RFC 3602 §4"


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_esp_packet.problems(document("esp_packet")) == []
    assert unnoticed("esp_packet", "EspPacket", "error", "isAuthentic") == []
    members = ("encryptionKey", "iv", "payload", "nextHeader", "ciphertext")
    assert unnoticed("esp_packet", "CbcEncryption", *members) == []
    valid = {
        f"tcId {test['tcId']}: packet"
        for _, test in grouped("esp_packet", "EspPacket")
        if test["result"] == "valid"
    }
    assert not valid & set(unnoticed("esp_packet", "EspPacket", "packet"))
