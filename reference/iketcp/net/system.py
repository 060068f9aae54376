"""The real clock and the real source of randomness.

The pure floors take both as arguments; these are the ones to pass outside tests.

Source: RFC 7296 §2.10 (nonces must be random and fresh)
"""

import os
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
