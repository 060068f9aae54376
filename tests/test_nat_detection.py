"""NAT detection over TCP: found, noted, and without consequence."""

import hashlib
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from iketcp.ike.nat_detection import (
    NatFound,
    Path,
    detect_nat,
    nat_detection_data,
    nat_detection_payloads,
)
from iketcp.ike.payloads import NotifyPayload, Payload, VendorPayload
from iketcp.registry import NotifyType
from pair import Pair

SPI_I, SPI_R = b"initiate", b"responds"
SOURCE = NotifyType.NAT_DETECTION_SOURCE_IP
DESTINATION = NotifyType.NAT_DETECTION_DESTINATION_IP


def path(version: int = 4) -> Path:
    """A connection as the TCP Originator sees it."""
    local, remote = (
        ("192.0.2.1", "192.0.2.2") if version == 4 else ("2001:db8::1", "2001:db8::2")
    )
    return Path(ip_address(local), 40000, ip_address(remote), 4500)


def turned(one: Path) -> Path:
    """The same connection from the other end."""
    return Path(one.remote_address, one.remote_port, one.local_address, one.local_port)


@pytest.mark.parametrize(
    ("address", "packed"),
    [
        (IPv4Address("192.0.2.1"), "c0000201"),
        (IPv6Address("2001:db8::1"), "20010db8000000000000000000000001"),
    ],
)
def test_the_digest(address: IPv4Address | IPv6Address, packed: str) -> None:
    """[9329-6.5-natd] SHA-1(SPIi | SPIr | IP address | TCP port)."""
    octets = SPI_I + SPI_R + bytes.fromhex(packed) + b"\x9c\x40"
    expected = hashlib.sha1(octets, usedforsecurity=False).digest()
    assert nat_detection_data(SPI_I, SPI_R, address, 40000) == expected
    assert len(expected) == 20


@pytest.mark.parametrize("version", [4, 6])
def test_both_notifications(version: int) -> None:
    """[9329-6.5-natd] Source is our end of the TCP connection, destination theirs."""
    here = path(version)
    assert nat_detection_payloads(SPI_I, SPI_R, here) == [
        NotifyPayload(
            SOURCE, nat_detection_data(SPI_I, SPI_R, here.local_address, 40000)
        ),
        NotifyPayload(
            DESTINATION, nat_detection_data(SPI_I, SPI_R, here.remote_address, 4500)
        ),
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_without_nat(version: int) -> None:
    """RFC 7296 §2.23: both ends see the same addresses and ports."""
    sent = nat_detection_payloads(SPI_I, SPI_R, path(version))
    found = detect_nat(sent, SPI_I, SPI_R, turned(path(version)))
    assert found == NatFound(is_local_behind_nat=False, is_remote_behind_nat=False)


@pytest.mark.parametrize(
    "change",
    [{"local_port": 50000}, {"local_address": ip_address("198.51.100.1")}],
    ids=["port", "address"],
)
def test_a_nat_before_the_sender(change: dict[str, object]) -> None:
    """RFC 7296 §2.23: the source is not what the sender believes."""
    sent = nat_detection_payloads(SPI_I, SPI_R, path())
    seen = turned(replace(path(), **change))
    assert detect_nat(sent, SPI_I, SPI_R, seen) == NatFound(False, True)


@pytest.mark.parametrize(
    "change",
    [{"remote_port": 443}, {"remote_address": ip_address("198.51.100.2")}],
    ids=["port", "address"],
)
def test_a_nat_before_the_receiver(change: dict[str, object]) -> None:
    """RFC 7296 §2.23: the destination is not what the receiver believes."""
    sent = nat_detection_payloads(SPI_I, SPI_R, path())
    seen = turned(replace(path(), **change))
    assert detect_nat(sent, SPI_I, SPI_R, seen) == NatFound(True, False)


def test_one_of_several_sources_is_enough() -> None:
    """RFC 7296 §2.23: a sender may list all of its addresses."""
    here = path()
    other = replace(here, local_address=ip_address("203.0.113.9"))
    sent = [
        *nat_detection_payloads(SPI_I, SPI_R, other)[:1],
        *nat_detection_payloads(SPI_I, SPI_R, here),
    ]
    assert detect_nat(sent, SPI_I, SPI_R, turned(here)) == NatFound(False, False)


def test_without_the_notifications_nothing_is_known() -> None:
    """RFC 7296 §2.23: they are optional; other payloads do not matter."""
    others: list[Payload] = [VendorPayload(b"v"), NotifyPayload(NotifyType.COOKIE)]
    assert detect_nat(others, SPI_I, SPI_R, path()) == NatFound(None, None)
    sent = nat_detection_payloads(SPI_I, SPI_R, path())
    only_source = detect_nat(sent[:1], SPI_I, SPI_R, turned(path()))
    assert only_source == NatFound(None, False)


def test_a_digest_of_any_size_is_compared() -> None:
    """What cannot be right counts as a NAT and does no harm."""
    sent = [NotifyPayload(SOURCE, b""), NotifyPayload(DESTINATION, bytes(99))]
    assert detect_nat(sent, SPI_I, SPI_R, path()) == NatFound(True, True)


@pytest.mark.parametrize("has_nat", [False, True])
def test_a_nat_changes_nothing(has_nat: bool) -> None:
    """[9329-6.5-nochange] The session comes up and carries packets all the same."""
    pair = Pair()
    if has_nat:
        pair.addresses = ("198.51.100.1", "192.0.2.2")
        opened = pair.west.endpoint.connection_opened
        inside = ip_address("10.9.9.9")

        def behind_nat(id, path, *rest, **named):  # type: ignore[no-untyped-def]
            return opened(id, replace(path, local_address=inside), *rest, **named)

        pair.west.endpoint.connection_opened = behind_nat  # type: ignore[method-assign]
    pair.up()
    pair.ping()
    for side, is_local in ((pair.west, True), (pair.east, False)):
        (note,) = side.traces("nat-detection")
        assert note["is_local_behind_nat"] is (has_nat and is_local)
        assert note["is_remote_behind_nat"] is (has_nat and not is_local)
