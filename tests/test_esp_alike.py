"""Packets sealed and opened together: as one by one, whatever is among them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import chain

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
from iketcp.errors import SequenceExhaustedError
from iketcp.esp import alike, child_sa
from iketcp.esp.alike import are_many
from iketcp.esp.child_sa import ChildSa, OpenedBatch
from iketcp.offload.rows import PacketRows
from iketcp.stream import EspFrames, StreamDecoder, frame_esp_batch, frame_esp_runs

COUNT = 12
TCP = 6


@pytest.fixture(scope="module", autouse=True)
def many() -> Iterator[None]:
    """Few are many enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "MANY", 8)
        yield


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


def never(*_: object) -> bool:
    return False


def open_both_ways(
    side: ChildSaParameters, batches: list[list[bytes]], top: int = 0
) -> list[OpenedBatch]:
    """Open batches together and one by one; the same comes out and is left behind."""
    found = []
    for is_together in (True, False):
        _, there = pair(side)
        if top:
            there.resume_at(0, top)
        with pytest.MonkeyPatch.context() as patch:
            if not is_together:
                patch.setattr(child_sa, "are_many", never)
            opened = [there.open_batch(batch) for batch in batches]
        found.append((opened, state_of(there)))
    assert found[0] == found[1]
    return found[0][0]


def are_opened_together(side: ChildSaParameters, batch: list[bytes]) -> bool:
    """Whether none of the packets takes the plain path."""
    _, there = pair(side)
    return there._inbound.open_alike(batch) is not None


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
    assert there._inbound.open_alike(sealed) is None
    assert len(there.open_batch(sealed).packets) == COUNT


# --- sealing ----------------------------------------------------------------------


def outbound_state(child: ChildSa) -> tuple[object, ...]:
    """All that sealing packets changes."""
    outbound, counters = child._outbound, child.counters
    return (
        (outbound.sequence, outbound.octets),
        (counters.packets_out, counters.octets_out),
        dict(counters.dropped_out),
    )


def seal_both_ways(
    side: ChildSaParameters, batches: list[list[bytes]], last_sent: int = 0
) -> list[list[bytes]]:
    """Seal batches together, as rows and one by one: the same octets, the same left."""
    found = []
    for kind in ("together", "rows", "one by one"):
        here, _ = pair(side)
        here.resume_at(last_sent, 0)
        with pytest.MonkeyPatch.context() as patch:
            if kind == "one by one":
                patch.setattr(child_sa, "are_many", never)
            sealed = []
            for batch in batches:
                packets = PacketRows.of(batch) if kind == "rows" else batch
                try:
                    runs = here.seal_runs(packets)
                except SequenceExhaustedError:
                    runs = []
                assert all(runs)
                assert frame_esp_runs(runs) == frame_esp_batch(chain(*runs))
                sealed.append(list(chain(*runs)))
        found.append((sealed, outbound_state(here)))
    assert found[0] == found[1] == found[2]
    return found[0][0]


def are_sealed_together(side: ChildSaParameters, batch: list[bytes]) -> bool:
    """Whether none of the packets takes the plain path."""
    here, _ = pair(side)
    return here._outbound.seal_alike(PacketRows.of(batch)) is not None


@pytest.mark.parametrize("size", [40, 41, 42, 43])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
def test_sealed_packets_are_those_of_the_plain_path(
    suite: Suite, version: int, size: int
) -> None:
    """With every cipher and every Pad Length, octet by octet."""
    side = parameters(suite)
    batch = [MAKERS[version](n, size) for n in range(COUNT)]
    seal_both_ways(side, [batch, batch[:8], batch])
    assert are_sealed_together(side, batch) == suite.cipher.is_aead


@pytest.mark.parametrize("suite", [GCM, GCM_ESN], ids=Suite.describe)
@pytest.mark.parametrize("count", [191, 192, 193, 600])
def test_more_packets_than_there_is_room_for(suite: Suite, count: int) -> None:
    """The memory is filled several times over; sealed, and opened again."""
    side = parameters(suite)
    packets = [udp4(n & 0xFF, 1344) for n in range(count)]
    (sealed,) = seal_both_ways(side, [packets])
    (opened,) = open_both_ways(side, [sealed])
    assert opened.packets == packets


def test_what_is_few_or_large_is_not_worth_it() -> None:
    """The result is the same; a row of zero octets makes no sense at all."""
    assert are_many([udp4(1)] * 8)
    assert not are_many([udp4(1)] * 7)
    assert not are_many([udp4(1, 5000)] * 8)
    assert not are_many([b""] * 8)
    packets = [udp4(n, 5000) for n in range(COUNT)]
    (sealed,) = seal_both_ways(parameters(), [packets])
    (opened,) = open_both_ways(parameters(), [sealed])
    assert opened.packets == packets


@pytest.mark.parametrize("suite", [GCM, GCM_ESN], ids=Suite.describe)
@pytest.mark.parametrize("left", [0, 3, 11, 12, 20])
def test_numbers_that_end_while_sealing(suite: Suite, left: int) -> None:
    """As many packets as there are numbers left, of 32 bits and of 64."""
    last = (1 << (64 if suite.esn else 32)) - 1
    batch = [udp4(n) for n in range(COUNT)]
    sealed = seal_both_ways(parameters(suite), [batch], last - left)
    assert len(sealed[0]) == min(left, COUNT)


def test_numbers_of_32_bits_go_on_under_esn() -> None:
    batch = [udp4(n) for n in range(COUNT)]
    seal_both_ways(parameters(GCM_ESN), [batch], (1 << 32) - 5)


ODD_ROWS = {
    "both versions": ([udp4(1, 52)] + [tcp6(1, 32)] * 11, False),
    "no version that there is": ([b"\x15" + bytes(59)] * COUNT, False),
    "too large for a frame": ([bytes([0x45]) + bytes(65500)], False),
    "the largest in a frame": ([bytes([0x45]) + bytes(65496)], True),
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_odd_packets_are_not_sealed_together(name: str) -> None:
    batch, is_together = ODD_ROWS[name]
    assert are_sealed_together(parameters(), batch) == is_together
    if batch[0][0] != 0x45 or is_together:
        seal_both_ways(parameters(), [batch])


def test_packets_shorter_than_tfc_padding_are_sealed_one_by_one() -> None:
    batch = [udp4(n) for n in range(COUNT)]
    for pad_to, is_together in ((600, False), (len(batch[0]), True)):
        side = parameters(tfc_pad_to=pad_to)
        assert are_sealed_together(side, batch) == is_together
        seal_both_ways(side, [batch])


def test_salt_does_not_outlive_the_batch() -> None:
    """What is kept to be used again holds no keying material."""
    here, there = pair(parameters())
    there.open_batch(here.seal_batch([udp4(n) for n in range(COUNT)]))
    assert alike._free
    assert not any(workspace.nonces[:, :4].any() for workspace in alike._free)


def test_memory_is_used_again_and_bounded() -> None:
    here, _ = pair(parameters())
    for size in range(100, 140):
        here.seal_batch([udp4(n, size) for n in range(COUNT)])
    kept = list(alike._free)
    assert len(kept) <= alike._WORKSPACES_KEPT
    here.seal_batch([udp4(n, 139) for n in range(COUNT)])
    assert set(map(id, kept)) == set(map(id, alike._free))


def test_nothing_is_sealed_after_the_keys_are_gone() -> None:
    here, _ = pair(parameters())
    here.forget_keys()
    assert here.seal_batch([udp4(n) for n in range(COUNT)]) == []
    assert here.counters.dropped_out["no_sa"] == COUNT


# --- frames of a stream -----------------------------------------------------------


def test_frames_are_opened_where_they_lie() -> None:
    """What a decoder leaves in the stream, and what is no row."""
    here, there = pair(parameters())
    packets = [udp4(n) for n in range(COUNT)]
    stream = frame_esp_batch(here.seal_batch(packets + packets[:2]))
    (found,) = StreamDecoder(expects_prefix=False).feed_runs(b"" + stream)
    run = found[1]
    assert isinstance(run, EspFrames)
    assert there.open_batch(run[:2]).packets == packets[:2]
    few = EspFrames(run.octets, 2 * run.length, run.length, 3)
    assert there.open_batch(few).packets == packets[2:5]
    rest = EspFrames(run.octets, 5 * run.length, run.length, len(run) - 5)
    assert isinstance(there.open_batch(rest).packets, PacketRows)
    assert there.open_batch(EspFrames(b"", 0, 0, 0)).packets == []


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
