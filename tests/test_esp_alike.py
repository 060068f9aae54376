"""Packets opened together: the same as one by one, whatever is among them."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import (
    ALL_SUITES,
    GCM,
    GCM_ESN,
    ipv4,
    ipv6,
    mirrored,
    pair,
    parameters,
    ports,
)
from iketcp.child_sa import ChildSaParameters, TransportAddresses
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.esp import child_sa
from iketcp.esp.child_sa import ChildSa, OpenedBatch

COUNT = 12
TCP = 6
ENDLESS = 1 << 30


def udp4(number: int, size: int = 40) -> bytes:
    return ipv4(ports(1000, 53, bytes([number]) * size))


def tcp6(number: int, size: int = 40) -> bytes:
    return ipv6(ports(1000, 443, bytes([number]) * size), protocol=TCP)


MAKERS: dict[int, Callable[[int], bytes]] = {4: udp4, 6: tcp6}


def state_of(child: ChildSa) -> tuple[object, ...]:
    """All that opening packets changes."""
    inbound, counters = child._inbound, child.counters
    window = inbound.window
    return (
        (inbound.authentic, inbound.octets, window.top, list(window._slots)),
        (counters.packets_in, counters.octets_in, counters.dummies_in),
        dict(counters.dropped_in),
    )


def open_both_ways(
    side: ChildSaParameters, batches: list[list[bytes]], top: int = 0
) -> list[OpenedBatch]:
    """Open batches together and one by one; the same comes out and is left behind."""
    found = []
    for many in (child_sa.MANY, ENDLESS):
        _, there = pair(side)
        if top:
            there.resume_at(0, top)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(child_sa, "MANY", many)
            opened = [there.open_batch(batch) for batch in batches]
        found.append((opened, state_of(there)))
    assert found[0] == found[1]
    return found[0][0]


def are_opened_together(side: ChildSaParameters, batch: list[bytes]) -> bool:
    """Whether none of the packets takes the plain path."""
    _, there = pair(side)
    return len(there._inbound.open_alike(batch)) == len(batch)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
def test_ordinary_packets(suite: Suite, version: int) -> None:
    """With every cipher; those in combined mode are opened together."""
    side = parameters(suite)
    here, _ = pair(side)
    packets = [MAKERS[version](number) for number in range(COUNT)]
    sealed = here.seal_batch(packets)
    (opened,) = open_both_ways(side, [sealed])
    assert opened == OpenedBatch(packets, True, 0)
    assert are_opened_together(side, sealed) == suite.cipher.is_aead


def test_sizes_are_grouped() -> None:
    """A row of one size, a few of another, a row again."""
    side = parameters()
    here, _ = pair(side)
    sizes = [40] * COUNT + [44, 48] + [52] * COUNT
    packets = [udp4(n, size) for n, size in enumerate(sizes)]
    (opened,) = open_both_ways(side, [here.seal_batch(packets)])
    assert opened.packets == packets


def test_flows_in_turn_are_judged_each() -> None:
    """One of them is not within the selectors, so nothing is done together."""
    side = parameters()
    here, _ = pair(side)
    other = ipv4(ports(1000, 53, bytes(40)), source="10.1.0.9")
    stranger = ipv4(ports(1000, 53, bytes(40)), source="192.0.2.1")
    fine = here.seal_batch([udp4(1), other] * 6)
    assert are_opened_together(side, fine)
    mixed = here.seal_batch([udp4(1), other, stranger] * 4)
    assert not are_opened_together(side, mixed)
    opened = open_both_ways(side, [fine, mixed])
    assert [len(batch.packets) for batch in opened] == [12, 8]


ODD_INNER = {
    "a fragment": ipv4(ports(1000, 53, bytes(40)), fragment=0x2000),
    "a later fragment": ipv4(ports(1000, 53, bytes(40)), fragment=3),
    "options": ipv4(ports(1000, 53, bytes(36)), options=bytes(4)),
    "another protocol": ipv4(ports(1000, 53, bytes(40)), protocol=TCP),
    "an extension header": ipv6(bytes([TCP, 0]) + bytes(18), protocol=60),
    "another size in the header": ipv4(ports(1000, 53, bytes(39))) + b"\0",
    "too large a size": ipv4(ports(1000, 53, bytes(41)))[:-1],
    "no version that there is": b"\x50" + udp4(1)[1:],
    "a header only": ipv4(b"", protocol=50),
    "IPv6 in place of IPv4": ipv6(ports(1, 2, bytes(20))),
}


@pytest.mark.parametrize("at", [None, 0, 5, COUNT - 1])
@pytest.mark.parametrize("name", ODD_INNER)
def test_odd_inner_packets(name: str, at: int | None) -> None:
    """All of them odd, or one among ordinary ones of the same size."""
    side = parameters()
    here, _ = pair(side)
    odd = ODD_INNER[name]
    packets = [odd] * COUNT
    if at is not None:
        packets = [udp4(n, len(odd) - 28) for n in range(COUNT)]
        packets[at] = odd
    # what the plain path would not seal is sealed all the same
    tails = here._outbound._trailers[4]
    sealed = [here._outbound._seal_payload(packet, tails) for packet in packets]
    open_both_ways(side, [sealed])


@pytest.mark.parametrize("at", [0, 5, COUNT - 1])
@pytest.mark.parametrize(
    "change",
    [
        lambda sealed, at: sealed[at][:-1] + bytes([sealed[at][-1] ^ 1]),
        lambda sealed, at: bytes([sealed[at][0] ^ 1]) + sealed[at][1:],
        lambda sealed, at: sealed[at - 1],
        lambda sealed, at: sealed[at][:4] + bytes(4) + sealed[at][8:],
        lambda sealed, at: bytes(len(sealed[at])),
    ],
    ids=["ICV", "SPI", "repetition", "number zero", "zeros"],
)
def test_odd_esp_packets(change: Callable[[list[bytes], int], bytes], at: int) -> None:
    """One of many is broken, for another SA, or was there before."""
    side = parameters()
    here, _ = pair(side)
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    sealed[at] = change(sealed, at)
    open_both_ways(side, [sealed])


@pytest.mark.parametrize("suite", [GCM, GCM_ESN], ids=Suite.describe)
def test_repetition_and_disorder(suite: Suite) -> None:
    side = parameters(suite)
    here, _ = pair(side)
    sealed = here.seal_batch([udp4(n) for n in range(3 * COUNT)])
    first, second, third = sealed[:12], sealed[12:24], sealed[24:]
    batches = [second, first, first, second[::-1], third, third]
    counts = [len(batch.packets) for batch in open_both_ways(side, batches)]
    assert counts == [12, 12, 0, 0, 12, 0]


@pytest.mark.parametrize("window", [0, 8, 64])
def test_windows_of_any_width(window: int) -> None:
    """A row longer than the window; and none at all."""
    side = replace(parameters(), replay_window=window)
    here, _ = pair(side)
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    open_both_ways(side, [sealed, sealed, sealed[:4]])


@pytest.mark.parametrize("suite", [GCM, GCM_ESN], ids=Suite.describe)
@pytest.mark.parametrize("last_sent", [(1 << 32) - 5, (1 << 32) - 20])
def test_numbers_around_the_end_of_32_bits(suite: Suite, last_sent: int) -> None:
    """With ESN a row may cross it; without, there are no more numbers."""
    side = parameters(suite)
    here, _ = pair(side)
    here.resume_at(last_sent, 0)
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    opened = open_both_ways(side, [sealed], top=last_sent)
    assert len(opened[0].packets) == len(sealed)


def test_rows_far_apart_under_esn() -> None:
    """First and last seem to lie in different subspaces; each is inferred by itself."""
    side = parameters(GCM_ESN)
    here, _ = pair(side)
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    here.resume_at((1 << 32) - 100, 0)
    sealed += here.seal_batch([udp4(n) for n in range(COUNT)])
    open_both_ways(side, [sealed], top=1 << 20)


def test_dummies_among_packets() -> None:
    side = parameters(tfc_pad_to=100)
    here, _ = pair(side)
    packets = here.seal_batch([udp4(n, 72) for n in range(COUNT)])
    dummies = [here.seal_dummy() for _ in range(COUNT)]
    opened = open_both_ways(side, [packets, dummies, packets + dummies])
    assert [len(batch.packets) for batch in opened] == [12, 0, 0]


def test_tfc_padding_is_left_behind() -> None:
    side = parameters(tfc_pad_to=600)
    here, _ = pair(side)
    packets = [udp4(n) for n in range(COUNT)]
    sealed = here.seal_batch(packets)
    assert are_opened_together(side, sealed)
    assert open_both_ways(side, [sealed])[0].packets == packets


@pytest.mark.parametrize("flaw", ["padding", "pad length"])
def test_wrong_padding(flaw: str) -> None:
    """Of one, and of all."""
    side = parameters()
    here, _ = pair(side)
    packets = [udp4(n, 41) for n in range(COUNT)]
    right = here._outbound._trailers[4]
    tail = right[len(packets[0]) % 4]
    wrong = bytes([9]) + tail[1:] if flaw == "padding" else tail[:-2] + b"\xff\x04"
    bad = tuple(wrong if each == tail else each for each in right)
    one = [here._outbound._seal_payload(p, right) for p in packets]
    one[3] = here._outbound._seal_payload(packets[3], bad)
    every = [here._outbound._seal_payload(p, bad) for p in packets]
    assert len(tail) > 2
    open_both_ways(side, [one[:3] + one[4:] + one[3:4]])
    open_both_ways(side, [every])


@pytest.mark.parametrize("size", [0, 4, 7, 8, 12, 31, 35])
def test_what_is_too_short(size: int) -> None:
    side = parameters()
    open_both_ways(side, [[side.spi_out + bytes(size)] * COUNT])


def test_transport_mode_takes_the_plain_path() -> None:
    west, east = ip_address("10.1.0.1"), ip_address("10.2.0.1")
    side = parameters()
    here = ChildSa(
        replace(side, transport=TransportAddresses(west, east, east, west)),
        ScriptedEntropy("here"),
    )
    there = ChildSa(
        replace(mirrored(side), transport=TransportAddresses(east, west, west, east)),
        ScriptedEntropy("there"),
    )
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    assert there._inbound.open_alike(sealed) == []
    assert len(there.open_batch(sealed).packets) == COUNT


def test_after_the_keys_are_gone() -> None:
    here, there = pair(parameters())
    sealed = here.seal_batch([udp4(n) for n in range(COUNT)])
    there.forget_keys()
    assert there.open_batch(sealed).packets == []
    assert there.counters.dropped_in["no_sa"] == COUNT


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([4, 6]), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([GCM, GCM_ESN]),
)
def test_any_mixture(steps: list[tuple[int, int, int]], suite: Suite) -> None:
    """Any order, repetition and damage, in batches of any length."""
    side = parameters(suite)
    here, _ = pair(side)
    sealed = here.seal_batch([MAKERS[4 if n % 16 < 12 else 6](n) for n in range(41)])
    batches: list[list[bytes]] = [[]]
    for at, _, kind in steps:
        packet = sealed[at]
        if kind == 1:
            packet = packet[:-1] + bytes([packet[-1] ^ 1])
        batches[-1].append(packet)
        if kind == 2:
            batches[-1] += sealed[at : at + 12]
            batches.append([])
    open_both_ways(side, batches)
