"""What every test has: steady hypothesis profiles, and no thread left behind."""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

# How long a thread that was told to stop may take to do so.
FAREWELL_SECONDS = 5.0

settings.register_profile(
    "house",
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "ci", settings.get_profile("house"), derandomize=True, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "house")


def threads_left(before: set[threading.Thread]) -> list[str]:
    """Names of the threads started since ``before`` that do not end by themselves."""
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(FAREWELL_SECONDS)
    return [thread.name for thread in left if thread.is_alive()]


def open_descriptors() -> set[tuple[str, str]]:
    """Number and target of every open file descriptor of this process (Linux)."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add((link.name, str(link.readlink())))
        except FileNotFoundError:  # the descriptor that lists the folder
            continue
    return found


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    if left := threads_left(before):
        pytest.fail(f"threads left behind: {', '.join(left)}", pytrace=False)


class LeakCheck(Protocol):
    """A ``with`` block that leaves threads and file descriptors as they were."""

    def __call__(self) -> AbstractContextManager[None]:
        """Begin to watch."""
        ...


@pytest.fixture
def leak_check() -> LeakCheck:
    """Watch a block: ``with leak_check(): ...`` fails where it leaks.

    Warm up before (imports, caches), so that only what the block itself opens counts.
    """

    @contextmanager
    def watch() -> Iterator[None]:
        gc.collect()
        threads, descriptors = set(threading.enumerate()), open_descriptors()
        yield
        left = threads_left(threads)
        gc.collect()
        opened = sorted(open_descriptors() - descriptors)
        assert not left, f"threads left behind: {left}"
        assert not opened, f"file descriptors left open: {opened}"

    return watch
