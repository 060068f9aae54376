"""A Child SA at work: batches, counters, drops by reason, lifetimes."""

from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType

import pytest

from esp_support import (
    CBC,
    CBC_ESN,
    GCM,
    GCM_ESN,
    ipv4,
    ipv6,
    mirrored,
    pair,
    parameters,
    ports,
)
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import (
    IntegrityError,
    ReplayError,
    SelectorMismatchError,
    SequenceExhaustedError,
    UnknownSpiError,
)
from iketcp.esp.child_sa import ChildSa, OpenedBatch

PACKETS = [
    ipv4(ports(1000, 53, bytes(20))),
    ipv6(ports(1000, 443, bytes(31)), protocol=6),
    ipv4(b"", protocol=50),
]


class CountedLock(AbstractContextManager[None]):
    """A lock that tells how often it was taken."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


@pytest.mark.parametrize("suite", [GCM, GCM_ESN, CBC, CBC_ESN], ids=Suite.describe)
def test_batch_goes_through_and_is_counted(suite: Suite) -> None:
    """Both directions, in order, with the same figures at both ends."""
    here, there = pair(parameters(suite))
    sealed = here.seal_batch(PACKETS)
    assert there.open_batch(sealed) == OpenedBatch(PACKETS, True, 0)
    back = [ipv4(ports(53, 1000), "10.2.0.1", "10.1.0.1")]
    assert here.open_batch(there.seal_batch(back)).packets == back
    octets = sum(map(len, PACKETS))
    assert (here.counters.packets_out, here.counters.octets_out) == (3, octets)
    assert (there.counters.packets_in, there.counters.octets_in) == (3, octets)
    assert (there.counters.packets_out, here.counters.packets_in) == (1, 1)
    assert here.counters.octets_in == len(back[0])
    assert not any(here.counters.dropped_in.values())
    assert not any(there.counters.dropped_in.values())


def test_empty_batches() -> None:
    here, there = pair(parameters())
    assert here.seal_batch([]) == []
    assert there.open_batch([]) == OpenedBatch([], False, 0)


def test_lock_is_taken_once_a_batch() -> None:
    lock = CountedLock()
    child = ChildSa(parameters(), ScriptedEntropy("x"), lock)
    child.seal_batch(PACKETS * 10)
    assert lock.count == 1
    child.open_batch([bytes(60)] * 10)
    assert lock.count == 2


def test_bad_packets_do_not_spoil_a_batch() -> None:
    """Each is dropped under its reason, the rest is delivered in order."""
    here, there = pair(parameters())
    sealed = here.seal_batch([*PACKETS, ipv4(source="192.0.2.1")])
    forged = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
    batch = there.open_batch(
        [
            sealed[0],
            b"",
            forged,
            sealed[0],
            sealed[3],
            sealed[1],
            forged[:30],
            sealed[2],
        ]
    )
    assert batch == OpenedBatch(PACKETS, True, 1)
    assert there.counters.dropped_in == {
        "integrity": 1,
        "replay": 1,
        "malformed": 2,
        "selector": 1,
        "no_sa": 0,
    }


def test_batch_of_forgeries_and_replays_is_not_authentic() -> None:
    """[9329-6.1-valid-esp]: neither moves the IKE SA to this connection."""
    here, there = pair(parameters())
    sealed = here.seal_batch(PACKETS[:2])
    assert there.open_batch(sealed[:1]).is_authentic
    forged = sealed[1][:-1] + bytes([sealed[1][-1] ^ 1])
    assert there.open_batch([sealed[0], forged, forged]) == OpenedBatch([], False, 2)
    assert there.open_batch([sealed[1]]) == OpenedBatch(PACKETS[1:2], True, 0)


def test_dummy_is_authentic_and_delivers_nothing() -> None:
    """RFC 4303 §2.6, [9329-6.1-valid-esp]."""
    here, there = pair(parameters())
    dummy = here.seal_dummy()
    assert there.open_batch([dummy]) == OpenedBatch([], True, 0)
    assert there.open_batch([dummy]) == OpenedBatch([], False, 0)
    assert (here.counters.dummies_out, there.counters.dummies_in) == (1, 1)
    assert there.counters.packets_in == 0
    assert there.counters.dropped_in["replay"] == 1


def test_authentic_packet_outside_the_selectors_still_is_authentic() -> None:
    """RFC 4301 §5.2 drops it; the peer sent it all the same."""
    here, there = pair(parameters())
    sealed = here.seal_batch([ipv4(destination="192.0.2.1")])
    assert there.open_batch(sealed) == OpenedBatch([], True, 0)
    assert there.counters.dropped_in["selector"] == 1


def test_without_a_window_only_news_is_authentic() -> None:
    """Choice: with anti-replay off an old packet is delivered but moves nothing."""
    here, there = pair(parameters(replay_window=0))
    sealed = here.seal_batch(PACKETS)
    assert there.open_batch(sealed[1:2]) == OpenedBatch(PACKETS[1:2], True, 0)
    assert there.open_batch(sealed[:2]) == OpenedBatch(PACKETS[:2], False, 0)
    assert there.open_batch(sealed) == OpenedBatch(PACKETS, True, 0)


def test_single_packets_raise() -> None:
    """The same reasons, as errors."""
    here, there = pair(parameters())
    good, outside = here.seal_batch([PACKETS[0], ipv4(source="192.0.2.1")])
    with pytest.raises(IntegrityError):
        there.open(good[:-1] + bytes([good[-1] ^ 1]))
    assert there.open(good) == PACKETS[0]
    with pytest.raises(ReplayError):
        there.open(good)
    with pytest.raises(SelectorMismatchError):
        there.open(outside)
    assert there.open(here.seal_dummy()) is None
    counters = there.counters
    assert (counters.packets_in, counters.dummies_in) == (1, 1)
    assert counters.octets_in == len(PACKETS[0])
    assert [counters.dropped_in[r] for r in ("integrity", "replay", "selector")] == [
        1,
        1,
        1,
    ]


def test_what_is_no_ip_packet_is_not_sealed() -> None:
    here, there = pair(parameters())
    sealed = here.seal_batch([b"", PACKETS[0], b"\x15junk"])
    assert there.open_batch(sealed).packets == PACKETS[:1]
    assert here.counters.dropped_out["malformed"] == 2
    assert here.counters.packets_out == 1


def test_last_sequence_numbers_are_used_up_and_no_more() -> None:
    """RFC 4303 §3.3.3: the batch ends where the numbers end, then it raises."""
    here, there = pair(parameters())
    here._outbound.sequence = 2**32 - 3
    sealed = here.seal_batch(PACKETS)
    assert there.open_batch(sealed).packets == PACKETS[:2]
    assert here.counters.dropped_out["exhausted"] == 1
    with pytest.raises(SequenceExhaustedError):
        here.seal_batch(PACKETS)
    with pytest.raises(SequenceExhaustedError):
        here.seal_dummy()
    assert here.counters.packets_out == 2


def test_lifetimes_count_what_the_cipher_saw() -> None:
    """RFC 4301 §4.4.2.1: octets with padding, packets with dummies, busier way."""
    here, there = pair(parameters(tfc_pad_to=100))
    assert (here.used_octets, here.used_packets) == (0, 0)
    sealed = here.seal_batch(PACKETS)
    here.seal_dummy()
    there.open_batch(sealed)
    assert (here.used_octets, here.used_packets) == (4 * 104, 4)
    assert (there.used_octets, there.used_packets) == (3 * 104, 3)
    there.open_batch(sealed)
    assert there.used_packets == 3


def test_forgotten_keys_drop_everything() -> None:
    """A packet that meets a Child SA on its way out is dropped, not an error."""
    here, there = pair(parameters())
    sealed = here.seal_batch(PACKETS)
    there.forget_keys()
    here.forget_keys()
    assert there.open_batch(sealed) == OpenedBatch([], False, 0)
    assert there.counters.dropped_in["no_sa"] == 3
    assert here.seal_batch(PACKETS) == []
    assert here.counters.dropped_out["no_sa"] == 3
    with pytest.raises(UnknownSpiError):
        here.seal_dummy()
    left = here.parameters
    assert left.encryption_key_in == left.encryption_key_out == b""
    assert left.integrity_key_in == left.integrity_key_out == b""
    assert left.spi_in == parameters().spi_in


def test_ecn_and_df_pass_untouched() -> None:
    """[9329-9.5-ecn], [9329-6.8-df]: the inner header is not looked into."""
    here, there = pair(parameters())
    marked = bytearray(ipv4(fragment=0x4000))
    marked[1] = 0x2F
    marked6 = bytearray(ipv6())
    marked6[0:2] = b"\x62\xf0"
    packets = [bytes(marked), bytes(marked6)]
    assert there.open_batch(here.seal_batch(packets)).packets == packets


def test_suite_without_a_cipher() -> None:
    with pytest.raises(ValueError, match="no cipher"):
        ChildSa(replace(parameters(), suite=Suite(99, None)), ScriptedEntropy("x"))


def test_keys_do_not_show() -> None:
    """No secret in a repr."""
    side = mirrored(parameters())
    child = ChildSa(side, ScriptedEntropy("x"))
    for text in (repr(child), repr(child.parameters), repr(child.counters)):
        assert repr(side.encryption_key_in) not in text
        assert side.encryption_key_in.hex() not in text
