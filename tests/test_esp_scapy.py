"""An independent implementation opens what we seal, and seals what we open."""

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
from scapy.packet import Raw

from esp_support import ALL_SUITES, ipv4, ipv6, keys, ports
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import IntegrityError
from iketcp.esp.protection import InboundSa, OutboundSa

CIPHERS = {12: "AES-CBC", 13: "AES-CTR", 20: "AES-GCM", 28: "CHACHA20-POLY1305"}
CIPHERS |= {30: CIPHERS[20], 31: CIPHERS[28]}  # without IV; scapy gets one
INTEGRITY = {12: "SHA2-256-128", 13: "SHA2-384-192", 14: "SHA2-512-256"}
SPI = bytes.fromhex("0badcafe")
OUTER = {"src": "192.0.2.1", "dst": "192.0.2.2"}
PACKETS = [
    ipv4(ports(1, 2, bytes(range(77)))),
    ipv6(ports(3, 4, bytes(range(90)))),
    ipv4(b""),
]


def scapy_association(suite: Suite, high: int = 0) -> SecurityAssociation:
    """Scapy's SA with our keys; it is told the high half of the numbers."""
    spec = suite.cipher
    key, integrity_key = keys(spec, "k")
    return SecurityAssociation(
        ESP,
        spi=int.from_bytes(SPI, "big"),
        crypt_algo=CIPHERS[spec.encr],
        crypt_key=key,
        auth_algo=None if spec.is_aead else INTEGRITY[spec.integ],
        auth_key=integrity_key or None,
        tunnel_header=IP(**OUTER),
        esn_en=suite.esn,
        esn=high,
    )


def implicit_iv(suite: Suite, high: int, number: int) -> bytes:
    """The IV that does not travel; empty where it does. RFC 8750 §4."""
    if not suite.cipher.is_iv_implicit:
        return b""
    return ((high << 32 if suite.esn else 0) + number).to_bytes(8, "big")


@pytest.mark.parametrize("high", [0, 7])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
def test_scapy_opens_what_we_seal(suite: Suite, high: int) -> None:
    """RFC 4303 §2, §2.2.1."""
    sa = OutboundSa(SPI, suite, *keys(suite.cipher, "k"), ScriptedEntropy("iv"))
    sa.sequence = high << 32 if suite.esn else 0
    theirs = scapy_association(suite, high)
    for number, packet in enumerate(PACKETS, 1):
        ours = sa.seal(packet)
        whole = ours[:8] + implicit_iv(suite, high, number) + ours[8:]
        sealed = bytes(IP(**OUTER, proto=50) / Raw(whole))
        assert bytes(theirs.decrypt(IP(sealed))) == packet


@pytest.mark.parametrize("high", [0, 7])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
def test_we_open_what_scapy_seals(suite: Suite, high: int) -> None:
    """RFC 4303 §2, §2.2.1."""
    sa = InboundSa(SPI, suite, *keys(suite.cipher, "k"), lambda _: True, 64)
    if suite.esn and high:
        sa.window.advance((high << 32) - 1)
    theirs = scapy_association(suite, high)
    for number, packet in enumerate(PACKETS, 1):
        inner = IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)
        iv = implicit_iv(suite, high, number)
        sealed = bytes(theirs.encrypt(inner, seq_num=number, iv=iv or None)[ESP])
        opened = sa.open(sealed[:8] + sealed[8 + len(iv) :])
        assert opened == packet
    assert sa.authentic == len(PACKETS)


@pytest.mark.parametrize("suite", ALL_SUITES[:8], ids=Suite.describe)
def test_both_refuse_another_key(suite: Suite) -> None:
    """The oracle can fail, and so can we."""
    key, integrity_key = keys(suite.cipher, "other")
    ours = OutboundSa(SPI, suite, key, integrity_key, ScriptedEntropy("iv"))
    sealed = ours.seal(PACKETS[0])
    with pytest.raises(IPSecIntegrityError):
        scapy_association(suite).decrypt(IP(bytes(IP(**OUTER, proto=50) / ESP(sealed))))
    sa = InboundSa(SPI, suite, key, integrity_key, lambda _: True)
    theirs = scapy_association(suite).encrypt(IP(PACKETS[0]))
    with pytest.raises(IntegrityError):
        sa.open(bytes(theirs[ESP]))
