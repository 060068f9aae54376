"""The real clock, the real source of randomness, and how much the machine allows.

The pure floors take the first two as arguments; these are the ones to pass outside
tests.

Source: RFC 7296 §2.10 (nonces must be random and fresh)
"""

import os
import resource
import time


class SystemEntropy:
    """Octets from the kernel's random source; labels make no difference."""

    def draw(self, label: str, size: int) -> bytes:
        """Draw ``size`` unpredictable octets; ``label`` is for scripted sources."""
        return os.urandom(size)


class SystemClock:
    """The machine's steady clock, unmoved by changes of the time of day."""

    def now(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        return time.monotonic()


def raise_descriptor_limit() -> int:
    """Let this process have as many file descriptors as it may; returns how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
