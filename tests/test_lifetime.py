"""Lifetimes: when to rekey, and when to stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.environment import ScriptedEntropy
from iketcp.ike.lifetime import Age, LifetimeWatch
from iketcp.ike.policy import Lifetime


class Least:
    """The least draw: no jitter."""

    def draw(self, label: str, size: int) -> bytes:
        """Return zeros."""
        return bytes(size)


class Most:
    """The largest draw: as much jitter as there can be."""

    def draw(self, label: str, size: int) -> bytes:
        """Return ones."""
        return b"\xff" * size


def test_time() -> None:
    """RFC 7296 §2.8: rekey at the limit, stop after the time of grace."""
    watch = LifetimeWatch(Lifetime(seconds=100.0, grace=0.5), Least(), 1000.0)
    assert (watch.soft_at, watch.hard_at) == (1100.0, 1150.0)
    assert watch.age(1000.0) is Age.YOUNG
    assert watch.age(1099.9) is Age.YOUNG
    assert watch.age(1100.0) is Age.SOFT
    assert watch.age(1149.9) is Age.SOFT
    assert watch.age(1150.0) is Age.HARD


@pytest.mark.parametrize("what", ["octets", "packets"])
def test_volume(what: str) -> None:
    """RFC 7296 §2.8: a limited amount of data under one key."""
    limits = Lifetime(grace=0.25, **{what: 1000})
    watch = LifetimeWatch(limits, Least(), 0.0)
    assert (watch.soft_at, watch.hard_at) == (None, None)
    ages = [watch.age(1e9, **{what: used}) for used in (0, 999, 1000, 1249, 1250)]
    assert ages == [Age.YOUNG, Age.YOUNG, Age.SOFT, Age.SOFT, Age.HARD]
    other = {"octets": "packets", "packets": "octets"}[what]
    assert watch.age(0.0, **{other: 10**12}) is Age.YOUNG


def test_whichever_limit_comes_first() -> None:
    """RFC 7296 §2.8: the limits are independent, and the hardest counts."""
    limits = Lifetime(seconds=100.0, octets=1000, packets=10, grace=0.5)
    watch = LifetimeWatch(limits, Least(), 0.0)
    assert watch.age(99.0, 999, 9) is Age.YOUNG
    assert watch.age(100.0, 0, 0) is Age.SOFT
    assert watch.age(0.0, 1000, 0) is Age.SOFT
    assert watch.age(0.0, 0, 10) is Age.SOFT
    assert watch.age(0.0, 0, 15) is Age.HARD
    assert watch.age(150.0, 1000, 10) is Age.HARD
    assert watch.age(100.0, 1500, 0) is Age.HARD


def test_without_limits_an_sa_stays_young() -> None:
    """RFC 7296 §2.8: lifetimes are local policy, even none."""
    watch = LifetimeWatch(Lifetime(), Most(), 0.0)
    assert watch.age(1e12, 10**18, 10**12) is Age.YOUNG


def test_jitter_brings_rekeying_forward_and_nothing_else() -> None:
    """RFC 7296 §2.8.1: the moment of rekeying is jittered, not the end."""
    limits = Lifetime(seconds=100.0, octets=1000, jitter=0.2, grace=0.1)
    watch = LifetimeWatch(limits, Most(), 0.0)
    assert watch.soft_at == pytest.approx(80.0, abs=0.001)
    assert watch.hard_at == pytest.approx(110.0)
    assert watch.age(0.0, 799) is Age.YOUNG
    assert watch.age(0.0, 801) is Age.SOFT


@given(st.floats(1.0, 1e6), st.floats(0, 1), st.floats(0, 2), st.text(max_size=5))
def test_bounds(seconds: float, jitter: float, grace: float, seed: str) -> None:
    """RFC 7296 §2.8: first the rekey, then the limit, then the end."""
    limits = Lifetime(seconds=seconds, jitter=jitter, grace=grace)
    watch = LifetimeWatch(limits, ScriptedEntropy(seed), 5.0)
    assert watch.soft_at is not None
    assert watch.hard_at is not None
    assert 5.0 + seconds * (1 - jitter) <= watch.soft_at <= 5.0 + seconds
    assert watch.hard_at == 5.0 + seconds * (1.0 + grace)


def test_two_sas_seldom_meet() -> None:
    """RFC 7296 §2.8.1: each SA draws a jitter of its own."""
    entropy = ScriptedEntropy("peer")
    limits = Lifetime(seconds=3600.0)
    moments = {LifetimeWatch(limits, entropy, 0.0).soft_at for _ in range(50)}
    assert len(moments) == 50
