"""The file ``inner_mtu_test.json`` against ``cryptography`` and scapy."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6

from iketcp.vectorlib import check_inner_mtu
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

NAME = "inner_mtu"
OUTER = {4: IP, 6: IPv6}
PATHS = [
    pytest.param(test, id=test["comment"]) for _, test in grouped(NAME, "InnerMtu")
]
ANSWERED = [test for _, test in grouped(NAME, "PacketTooBig") if test["answer"]]


def encrypted(cipher: Json, plaintext: bytes) -> bytes:
    """IV, ciphertext and ICV of a plaintext, by ``cryptography``. RFC 4303 §3.3.2."""
    key, iv = bytes(cipher["encryptionKeySize"]), bytes(cipher["ivSize"])
    match cipher["encr"]:
        case 20:
            return iv + AESGCM(key[:-4]).encrypt(key[-4:] + iv, plaintext, bytes(8))
        case 28:
            aead = ChaCha20Poly1305(key[:-4])
            return iv + aead.encrypt(key[-4:] + iv, plaintext, bytes(8))
        case 12:
            context = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        case _:
            counter = modes.CTR(key[-4:] + iv + bytes(4))
            context = Cipher(algorithms.AES(key[:-4]), counter).encryptor()
    icv = bytes(cipher["icvSize"])
    return iv + context.update(plaintext) + context.finalize() + icv


def esp(cipher: Json, inner: int) -> bytes:
    """An ESP packet of an inner packet of so many octets. RFC 4303 §2."""
    padding = bytes(-(inner + 2) % max(4, cipher["blockSize"]))
    return bytes(8) + encrypted(cipher, bytes(inner) + padding + bytes(2))


def outer_size(version: int, packet: bytes) -> int:
    """What UDP encapsulation would make of it. RFC 3948 §2.1."""
    return len(OUTER[version]()) + 8 + len(packet)


@pytest.mark.parametrize("test", PATHS)
def test_the_largest_fits_and_one_octet_more_does_not(test: Json) -> None:
    """[9329-3-limit]: sizes of real ciphertexts, behind scapy's idea of a header."""
    cipher, version, most = test["cipher"], test["outerVersion"], test["pathMtu"]
    if test["innerMtu"] is None:
        assert outer_size(version, esp(cipher, 68)) > most
        return
    largest = esp(cipher, test["innerMtu"])
    assert len(largest) == test["espSize"]
    assert outer_size(version, largest) <= most
    assert outer_size(version, esp(cipher, test["innerMtu"] + 1)) > most


@pytest.mark.parametrize(
    "test",
    [pytest.param(t, id=t["comment"]) for t in ANSWERED if t["packet"][0] == "4"],
)
def test_scapy_reads_fragmentation_needed(test: Json) -> None:
    """[9329-6.8-df]: type 3, code 4, the MTU, true checksums, the packet quoted."""
    packet, octets_ = octets(test, "packet", "answer")
    answer, asked = IP(octets_), IP(packet)
    assert (answer.src, answer.dst) == (asked.dst, asked.src)
    icmp = answer[ICMP]
    assert (icmp.type, icmp.code, icmp.nexthopmtu) == (3, 4, test["innerMtu"])
    assert octets_[28:] == packet[: 576 - 28]
    assert len(octets_) == answer.len <= 576
    for layer in (IP, ICMP):
        fresh = IP(octets_)
        del fresh[layer].chksum
        assert bytes(fresh) == octets_
    assert asked.flags.DF
    assert len(packet) > test["innerMtu"]


@pytest.mark.parametrize(
    "test",
    [pytest.param(t, id=t["comment"]) for t in ANSWERED if t["packet"][0] == "6"],
)
def test_scapy_reads_packet_too_big(test: Json) -> None:
    """[9329-6.8-df]: type 2, never less than 1280, within 1280 octets itself."""
    packet, octets_ = octets(test, "packet", "answer")
    answer, asked = IPv6(octets_), IPv6(packet)
    assert (answer.src, answer.dst) == (asked.dst, asked.src)
    icmp = answer[ICMPv6PacketTooBig]
    assert (icmp.code, icmp.mtu) == (0, max(1280, test["innerMtu"]))
    assert octets_[48:] == packet[: 1280 - 48]
    assert len(octets_) == 40 + answer.plen <= 1280
    fresh = IPv6(octets_)
    del fresh[ICMPv6PacketTooBig].cksum
    assert bytes(fresh) == octets_
    assert len(packet) > max(1280, test["innerMtu"])


def test_a_packet_is_carried_or_answered() -> None:
    """Never both, never neither; what fits is always carried."""
    for _, test in grouped(NAME, "PacketTooBig"):
        assert test["isCarried"] == (test["answer"] == "")
        if len(bytes.fromhex(test["packet"])) <= test["innerMtu"]:
            assert test["isCarried"]


def test_ours_agrees() -> None:
    """Our sizes and answers are those of every test."""
    assert check_inner_mtu.problems(document(NAME)) == []


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("InnerMtu", ("innerMtu", "espSize", "error")),
        ("PacketTooBig", ("answer", "isCarried", "error")),
    ],
)
def test_the_checker_notices(kind: str, members: tuple[str, ...]) -> None:
    """One output changed: it is reported."""
    assert unnoticed(NAME, kind, *members) == []
