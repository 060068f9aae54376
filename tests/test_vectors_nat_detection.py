"""The file ``nat_detection_test.json`` against hashlib and the socket module."""

import hashlib
import socket

from iketcp.vectorlib import check_nat_detection
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed


def digest(part: Json, address: str, port: int) -> str:
    """Compute SHA-1 over SPIs, address and port. Source: RFC 7296 §2.23."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    text = b"".join(octets(part, "spiI", "spiR")) + socket.inet_pton(family, address)
    return hashlib.sha1(text + port.to_bytes(2, "big")).hexdigest()


def test_digests() -> None:
    """RFC 7296 §2.23: each digest, and the address in it."""
    for _, test in grouped("nat_detection", "NatDigest"):
        family = socket.AF_INET6 if ":" in test["address"] else socket.AF_INET
        packed = socket.inet_pton(family, test["address"])
        assert test["addressOctets"] == packed.hex()
        assert test["digest"] == digest(test, test["address"], test["port"])


def test_comparisons() -> None:
    """RFC 7296 §2.23: a NAT unless one digest of a kind fits; unknown without any."""
    for group, test in grouped("nat_detection", "NatComparison"):
        for end, digests, outcome in (
            ("local", "destinationDigests", "isLocalBehindNat"),
            ("remote", "sourceDigests", "isRemoteBehindNat"),
        ):
            own = digest(group, test[end]["address"], test[end]["port"])
            found = None if not test[digests] else own not in test[digests]
            assert test[outcome] is found, test["tcId"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_nat_detection.problems(document("nat_detection")) == []
    assert unnoticed("nat_detection", "NatDigest", "digest", "addressOctets") == []
    members = ("isLocalBehindNat", "isRemoteBehindNat")
    assert unnoticed("nat_detection", "NatComparison", *members) == []
