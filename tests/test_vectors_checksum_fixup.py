"""The file ``checksum_fixup_test.json`` against scapy, which sums from the start."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

from iketcp.esp.checksum_fixup import fix_checksum
from iketcp.vectorlib import check_checksum_fixup
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, octets, unnoticed

WHOLE = {"Ordinary", "UdpZero", "OtherFamily"}


def having(*flags: str) -> list[Json]:
    """All tests with one of the flags."""
    return [
        test
        for _, test in grouped("checksum_fixup", "ChecksumFixup")
        if set(flags) & set(test["flags"])
    ]


def parsed(octets_: bytes) -> Packet:
    """Read a packet."""
    return IP(octets_) if octets_[0] >> 4 == 4 else IPv6(octets_)


def layer(packet: Packet) -> Packet:
    """The TCP or UDP part."""
    return packet[TCP] if TCP in packet else packet[UDP]


def recomputed(packet: Packet) -> bytes:
    """Let scapy compute the TCP or UDP checksum from the start."""
    fresh = packet.copy()
    del layer(fresh).chksum
    return bytes(fresh)


def addressed(packet: Packet, source: str, destination: str) -> Packet:
    """The same segment between other addresses, of either version."""
    family = IP if ip_address(source).version == 4 else IPv6
    protocol = 6 if TCP in packet else 17
    field = {"proto" if family is IP else "nh": protocol}
    return family(src=source, dst=destination, **field) / layer(packet).copy()


@pytest.mark.parametrize("flag", sorted(WHOLE))
def test_both_checksums_are_what_scapy_computes(flag: str) -> None:
    """RFC 3948 §3.1.2: before over the real addresses, after over the received."""
    tests = having(flag)
    assert tests
    for test in tests:
        packet, fixed = (parsed(o) for o in octets(test, "packet", "fixed"))
        if layer(packet).chksum == 0 and UDP in packet:
            assert packet == fixed
            continue
        assert bytes(fixed) == recomputed(fixed), test["tcId"]
        sender = addressed(packet, test["realSource"], test["realDestination"])
        again = parsed(recomputed(sender))
        assert layer(again).chksum == layer(packet).chksum, test["tcId"]


def test_both_zeros_are_visited() -> None:
    """RFC 3948 §3.1.2, RFC 768: for UDP zero is written as all ones."""
    for flag, protocol, zero in (("Ordinary", TCP, 0), ("UdpZero", UDP, 0xFFFF)):
        for member in ("packet", "fixed"):
            packets = [parsed(octets(t, member)[0]) for t in having(flag)]
            sums = {layer(p).chksum for p in packets if protocol in p}
            assert zero in sums


def test_what_was_wrong_stays_wrong_by_as_much() -> None:
    """RFC 3948 §3.1.2: the fix-up is no repair."""
    for test in having("WrongBefore"):
        packet, fixed = (parsed(o) for o in octets(test, "packet", "fixed"))
        sender = addressed(packet, test["realSource"], test["realDestination"])
        wrong = layer(packet).chksum - layer(parsed(recomputed(sender))).chksum
        still = layer(fixed).chksum - layer(parsed(recomputed(fixed))).chksum
        assert wrong
        assert (wrong - still) % 0xFFFF == 0


def test_fragments() -> None:
    """RFC 3948 §3.1.2: the checksum in the first one is over the whole segment."""
    first = [t for t in having("Fragment") if "first" in t["comment"]]
    later = [t for t in having("Fragment") if "later" in t["comment"]]
    assert len(first) == len(later) == 4
    for test in later:
        assert test["fixed"] == test["packet"]
    for test in first:
        packet, fixed = octets(test, "packet", "fixed")
        assert [a != b for a, b in zip(packet, fixed, strict=True)].count(True) in (
            1,
            2,
        )
        pair = (test["realSource"], test["realDestination"])
        received = (parsed(packet).src, parsed(packet).dst)
        at = next(n for n in range(len(packet)) if packet[n] != fixed[n]) & ~1
        before, after = (int.from_bytes(o[at : at + 2], "big") for o in (packet, fixed))
        difference = sum(int(ip_address(a)) for a in pair)
        difference -= sum(int(ip_address(a)) for a in received)
        assert (before + difference - after) % 0xFFFF == 0


def test_nothing_else_changes() -> None:
    """RFC 3948 §3.1.2: at most two octets differ, and none where nothing was to do."""
    for _, test in grouped("checksum_fixup", "ChecksumFixup"):
        if test["fixed"] is None:
            assert test["flags"] == ["Truncated"]
            continue
        packet, fixed = octets(test, "packet", "fixed")
        changed = [n for n in range(len(packet)) if packet[n] != fixed[n]]
        assert len(packet) == len(fixed)
        assert not changed or changed[-1] - changed[0] <= 1
        assert not (changed and "NothingToFix" in test["flags"])


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)


@given(ADDRESSES, ADDRESSES, st.sampled_from([TCP, UDP]), st.binary(max_size=40))
def test_any_packet_against_scapy(
    received: tuple[object, object],
    real: tuple[object, object],
    protocol: type[Packet],
    payload: bytes,
) -> None:
    """RFC 3948 §3.1.2: incremental and complete computation agree."""
    body = protocol(sport=4500, dport=53) / payload
    due = addressed(parsed_or(body, received), *map(str, received))
    sent = parsed(recomputed(addressed(due, *map(str, real))))
    layer(due).chksum = layer(sent).chksum
    fixed = fix_checksum(bytes(due), *real)  # type: ignore[arg-type]
    assert fixed == recomputed(due)


def parsed_or(body: Packet, addresses: tuple[object, object]) -> Packet:
    """Put a segment into some IP packet."""
    source, destination = map(str, addresses)
    family = IP if ip_address(source).version == 4 else IPv6
    return parsed(bytes(family(src=source, dst=destination) / body))


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_checksum_fixup.problems(document("checksum_fixup")) == []
    assert unnoticed("checksum_fixup", "ChecksumFixup", "fixed", "error") == []
