"""The real clock and randomness, and the flag that ``poll`` sees."""

import os
import resource
import select
import threading

import pytest

from iketcp.environment import Clock, Entropy
from iketcp.errors import EnvironmentProblem
from iketcp.net.system import SystemClock, SystemEntropy
from iketcp.net.wake import Wake

PATIENCE_SECONDS = 20.0


def test_entropy_draws_fresh_octets() -> None:
    """The size is as asked and no draw repeats, under one label as under two."""
    entropy: Entropy = SystemEntropy()
    draws = {entropy.draw(label, 32) for label in ("a", "a", "b") for _ in range(20)}
    assert len(draws) == 60
    assert {len(draw) for draw in draws} == {32}
    assert entropy.draw("a", 0) == b""


def test_clock_never_goes_back() -> None:
    """The clock is steady."""
    clock: Clock = SystemClock()
    times = [clock.now() for _ in range(1000)]
    assert times == sorted(times)


def test_wake_is_seen_by_poll() -> None:
    """Setting makes the descriptor readable, clearing unreadable, both idempotent."""
    wake = Wake()
    poller = select.poll()
    poller.register(wake.fileno(), select.POLLIN)
    for _ in range(2):
        assert not wake.is_set()
        assert not wake.wait(0)
        assert poller.poll(0) == []
        wake.set()
        wake.set()
        assert wake.is_set()
        assert poller.poll(0) == [(wake.fileno(), select.POLLIN)]
        wake.clear()
        wake.clear()
    wake.close()


def test_wake_ends_a_wait() -> None:
    """A thread that waits goes on once another sets the flag."""
    wake = Wake()
    waiter = threading.Thread(target=wake.wait)
    waiter.start()
    wake.set()
    waiter.join(PATIENCE_SECONDS)
    assert not waiter.is_alive()
    wake.close()


def test_closed_wake_is_harmless() -> None:
    """After close the flag still works and no descriptor is touched or left."""
    before = len(os.listdir("/proc/self/fd"))
    wake = Wake()
    wake.close()
    wake.close()
    assert wake.fileno() == -1
    wake.set()
    assert wake.wait()
    wake.clear()
    assert not wake.wait()
    assert len(os.listdir("/proc/self/fd")) == before


def test_wake_without_descriptors() -> None:
    """Running out of descriptors is a sentence for the user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        with pytest.raises(EnvironmentProblem, match="limit on open files"):
            Wake()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
