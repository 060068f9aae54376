"""Many tunnels, one after another, leave the process as it was."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import iketcp
from conftest import LeakCheck
from peer_support import Peers, Running, exchange

PACKAGE = Path(iketcp.__file__).parent
WARM_UP = 20
TUNNELS = 200
FRAMES = 8
"""Depth to which it is remembered who allocated what."""
MAX_GROWTH = 50 << 10
"""Octets: one KiB a tunnel, less than the keys and buffers of one."""
MAX_RESIDENT_GROWTH = 16 << 20
CHILD_SECONDS = 120.0


def open_and_close(number: int) -> None:
    """Bring a tunnel up, use it, cut it now and then, end it from either side."""
    with Peers() as peers:
        initiator, responder = peers.tunnel(version=6 if number % 2 else 4)
        exchange(initiator, responder, number)
        if number % 10 == 0:
            initiator.peer.cut()
            responder.told.wait_for("mapping-moved")
            exchange(initiator, responder, number + 1)
        order: tuple[Running, ...] = (initiator, responder)
        for running in order if number % 3 else order[::-1]:
            running.peer.stop()
            assert running.told.of("problem") == []


def resident() -> int:
    """Octets of memory that this process has now (Linux)."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_200_tunnels_leave_nothing_behind(leak_check: LeakCheck) -> None:
    """Threads, descriptors and memory are where they were."""
    for number in range(WARM_UP):
        open_and_close(number)
    gc.collect()
    resident_before = resident()
    with leak_check():
        for number in range(TUNNELS):
            open_and_close(number)
    gc.collect()
    assert resident() - resident_before < MAX_RESIDENT_GROWTH


def growth_of_50_tunnels() -> int:
    """Octets that the package still holds of 50 tunnels."""
    ours = [tracemalloc.Filter(True, str(PACKAGE / "*"), all_frames=True)]
    tracemalloc.start(FRAMES)
    for number in range(WARM_UP):
        open_and_close(number)
    gc.collect()
    before = tracemalloc.take_snapshot().filter_traces(ours)
    for number in range(50):
        open_and_close(number)
    gc.collect()
    after = tracemalloc.take_snapshot().filter_traces(ours)
    return sum(each.size_diff for each in after.compare_to(before, "lineno"))


def test_objects_of_50_tunnels_are_gone() -> None:
    """What the package allocates for 50 tunnels is freed, but for a few caches.

    In a process of its own: what other tests, hypothesis and coverage remember of the
    package's frames is not the package's.
    """
    code = "import test_tunnels_in_a_row as it; print(it.growth_of_50_tunnels())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=CHILD_SECONDS,
    )
    assert int(done.stdout) < MAX_GROWTH
