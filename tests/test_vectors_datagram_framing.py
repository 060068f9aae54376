"""The file ``datagram_framing_test.json`` against scapy."""

from __future__ import annotations

from scapy.contrib.ikev2 import IKEv2
from scapy.layers.inet import UDP
from scapy.layers.ipsec import ESP, NAT_KEEPALIVE, NON_ESP
from scapy.layers.isakmp import ISAKMP

from iketcp.vectorlib import check_datagram_framing
from vector_support import document, grouped, octets, unnoticed

NAME = "datagram_framing"
LAYERS = {"ike": (IKEv2, ISAKMP), "esp": (ESP,), "keepalive": (NAT_KEEPALIVE,)}
"""Octets that are no header of version 2 are to scapy one of version 1."""


def dissected(datagram: bytes, is_encapsulated: bool) -> UDP:
    """What scapy makes of a datagram on port 500 or 4500."""
    port = 4500 if is_encapsulated else 500
    return UDP(bytes(UDP(sport=port, dport=port) / datagram))


def test_sorting() -> None:
    """RFC 3948 §2: scapy finds the same layer, and the marker where it stands."""
    for _, test in grouped(NAME, "DatagramSorting"):
        if test["kind"] not in LAYERS:
            assert len(test["datagram"]) < 2 * 32, "long enough to be something"
            continue
        (datagram,) = octets(test, "datagram")
        packet = dissected(datagram, test["isEncapsulated"])
        is_marked = test["kind"] == "ike" and test["isEncapsulated"]
        assert (NON_ESP in packet) == is_marked, test["comment"]
        if test["isEncapsulated"] and len(datagram) == 4:
            continue  # scapy wants a sequence number behind an SPI
        assert any(layer in packet for layer in LAYERS[test["kind"]]), test["comment"]
        assert bytes(packet.payload)[4 if is_marked else 0 :].hex() == test["octets"]


def test_writing() -> None:
    """RFC 3948 §2.2: scapy puts the same octets before the IKE header."""
    for _, test in grouped(NAME, "DatagramWriting"):
        (message,) = octets(test, "message")
        layers = NON_ESP() / IKEv2(message) if test["isEncapsulated"] else message
        assert test["datagram"] == bytes(layers).hex(), test["comment"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_datagram_framing.problems(document(NAME)) == []
    assert unnoticed(NAME, "DatagramSorting", "kind", "octets") == []
    assert unnoticed(NAME, "DatagramWriting", "datagram") == []
