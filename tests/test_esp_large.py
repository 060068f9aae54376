"""Large packets sealed and opened in one step: as one by one, whatever comes."""

from collections.abc import Callable, Sequence
from itertools import chain

import pytest

from esp_support import ALL_SUITES, GCM, GCM_ESN, ipv4, ipv6, pair, parameters, ports
from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.errors import SequenceExhaustedError
from iketcp.esp import child_sa
from iketcp.esp.alike import are_large
from iketcp.esp.child_sa import ChildSa, OpenedBatch
from iketcp.offload.rows import PacketRows
from iketcp.stream import EspFrames, StreamDecoder, frame_esp_batch, frame_esp_runs

TCP = 6
COUNT = 5
SIZE = 5000


def udp4(number: int, size: int = SIZE) -> bytes:
    return ipv4(ports(1000, 53, bytes([number]) * size))


def tcp6(number: int, size: int = SIZE) -> bytes:
    return ipv6(ports(1000, 443, bytes([number]) * size), protocol=TCP)


def never(*_: object) -> bool:
    return False


def seal(here: ChildSa, packets: Sequence[bytes]) -> bytes:
    """Seal packets as they go into a stream."""
    try:
        return frame_esp_runs(here.seal_runs(packets))
    except SequenceExhaustedError:
        return b""


def seal_both_ways(
    side: ChildSaParameters, packets: list[bytes], last_sent: int = 0
) -> bytes:
    """Seal packets together and one by one: the same octets, and the same left."""
    found = []
    for is_together in (True, False):
        here, _ = pair(side)
        here.resume_at(last_sent, 0)
        with pytest.MonkeyPatch.context() as patch:
            if not is_together:
                patch.setattr(child_sa, "are_large", never)
            octets = seal(here, packets)
        outbound = here._outbound
        found.append((octets, here.counters, outbound.sequence, outbound.octets))
    assert found[0] == found[1]
    return found[0][0]


def open_both_ways(
    side: ChildSaParameters, octets: bytes, top: int = 0
) -> list[OpenedBatch]:
    """Open a stream together and one by one: the same packets, and the same left."""
    found = []
    for is_together in (True, False):
        _, there = pair(side)
        there.resume_at(0, top)
        runs = StreamDecoder(expects_prefix=False).feed_runs(octets)
        with pytest.MonkeyPatch.context() as patch:
            if not is_together:
                patch.setattr(child_sa, "are_large", never)
            opened = [there.open_batch(run) for _, run in runs]
        inbound = there._inbound
        window = (inbound.window.top, list(inbound.window._slots))
        found.append(
            (opened, there.counters, inbound.authentic, inbound.octets, window)
        )
    assert found[0] == found[1]
    return found[0][0]


def are_opened_together(side: ChildSaParameters, octets: bytes) -> bool:
    """Whether none of the packets takes the plain path."""
    _, there = pair(side)
    ((_, run),) = StreamDecoder(expects_prefix=False).feed_runs(octets)
    return there._inbound.open_alike(run) is not None


@pytest.mark.parametrize("size", [SIZE, SIZE + 1, SIZE + 2, SIZE + 3])
@pytest.mark.parametrize("maker", [udp4, tcp6])
@pytest.mark.parametrize("suite", ALL_SUITES, ids=Suite.describe)
def test_ordinary_packets(
    suite: Suite, maker: Callable[[int, int], bytes], size: int
) -> None:
    """With every cipher and Pad Length; those in combined mode go together."""
    side = parameters(suite)
    packets = [maker(number, size) for number in range(COUNT)]
    octets = seal_both_ways(side, packets)
    (opened,) = open_both_ways(side, octets)
    assert opened == OpenedBatch(packets, True, 0)
    assert are_opened_together(side, octets) == suite.cipher.is_aead
    here, _ = pair(side)
    assert (here._outbound.seal_alike(packets) is not None) == suite.cipher.is_aead


def test_sealed_packets_stay_framed() -> None:
    here, _ = pair(parameters())
    (run,) = here.seal_runs([udp4(number) for number in range(COUNT)])
    assert isinstance(run, EspFrames)
    assert len(run) == COUNT


def test_rows_of_large_packets_are_taken_apart() -> None:
    """Or the memory for a whole batch of them would be kept."""
    packets = [udp4(number) for number in range(COUNT)]
    here, _ = pair(parameters())
    assert seal(here, PacketRows.of(packets)) == seal_both_ways(parameters(), packets)


def test_other_sizes_and_flows_among_them() -> None:
    packets = [udp4(1), udp4(2), udp4(3, 20), tcp6(4), tcp6(5), udp4(6, SIZE + 7)]
    packets += [udp4(7, SIZE + 20), tcp6(8)]  # of one size, but not of one version
    octets = seal_both_ways(parameters(), packets)
    opened = open_both_ways(parameters(), octets)
    assert list(chain.from_iterable(batch.packets for batch in opened)) == packets


@pytest.mark.parametrize("at", [0, 2, COUNT - 1])
@pytest.mark.parametrize("suite", [GCM, GCM_ESN], ids=Suite.describe)
def test_one_that_was_changed(suite: Suite, at: int) -> None:
    """The others are delivered."""
    side = parameters(suite)
    packets = [udp4(number) for number in range(COUNT)]
    octets = bytearray(seal_both_ways(side, packets))
    octets[(at + 1) * len(octets) // COUNT - 1] ^= 1
    (opened,) = open_both_ways(side, bytes(octets))
    assert opened.packets == packets[:at] + packets[at + 1 :]
    assert opened.integrity_failures == 1


@pytest.mark.parametrize("top", [2, COUNT])
def test_numbers_that_were_seen_before(top: int) -> None:
    packets = [udp4(number) for number in range(COUNT)]
    octets = seal_both_ways(parameters(), packets)
    (opened,) = open_both_ways(parameters(), octets, top)
    assert opened.packets == packets[top:]


def test_what_is_outside_of_the_selectors() -> None:
    """It is not delivered, and counts as dropped; the others are delivered."""
    outside = bytearray(udp4(9))
    outside[12:16] = bytes(4)
    octets = seal_both_ways(parameters(), [udp4(1), bytes(outside), udp4(2)])
    (opened,) = open_both_ways(parameters(), octets)
    assert opened.packets == [udp4(1), udp4(2)]


def test_dummies_among_them() -> None:
    side = parameters(tfc_pad_to=SIZE + 28)
    here, _ = pair(side)
    sealed = here.seal_batch([udp4(1), udp4(2)])
    sealed.insert(1, here.seal_dummy())
    assert len(set(map(len, sealed))) == 1
    (opened,) = open_both_ways(side, frame_esp_batch(sealed))
    assert opened.packets == [udp4(1), udp4(2)]


@pytest.mark.parametrize("left", [0, 3, COUNT])
def test_numbers_that_end(left: int) -> None:
    packets = [udp4(number) for number in range(COUNT)]
    octets = seal_both_ways(parameters(), packets, (1 << 32) - 1 - left)
    assert sum(1 for _ in StreamDecoder(False).feed(octets)) == left


def test_after_the_keys_are_gone() -> None:
    packets = [udp4(number) for number in range(COUNT)]
    here, there = pair(parameters())
    octets = seal(here, packets)
    here.forget_keys()
    there.forget_keys()
    assert here.seal_runs(packets) == []
    ((_, run),) = StreamDecoder(expects_prefix=False).feed_runs(octets)
    assert there.open_batch(run).packets == []


def test_which_are_large() -> None:
    assert are_large([udp4(1)] * 2)
    assert are_large(PacketRows.of([udp4(1)] * 2))
    assert not are_large([udp4(1)])
    assert not are_large([udp4(1, 100)] * 2)
    assert not are_large([])
