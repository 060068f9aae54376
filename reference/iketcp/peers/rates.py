"""Rates over the last seconds, from counters sampled once a second."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

WINDOW_SECONDS = 5.0
"""Rates are means over this time."""

SAMPLE_SECONDS = 0.5
"""Samples closer together than this are not taken."""


class Counted(Protocol):
    """A connection, or whatever else counts its octets."""

    @property
    def octets_in(self) -> int:
        """Octets that came so far."""
        ...

    @property
    def octets_out(self) -> int:
        """Octets that went out so far."""
        ...


class _Sample(NamedTuple):
    at: float
    octets_in: int
    octets_out: int


class Rates:
    """Octets that crossed the outer connections, and how fast they do now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended_in = 0
        self._ended_out = 0
        self._samples: deque[_Sample] = deque()

    def connection_ended(self, connection: Counted) -> None:
        """Keep the counts of a connection that is gone."""
        with self._lock:
            self._ended_in += connection.octets_in
            self._ended_out += connection.octets_out

    def is_due(self, now: float) -> bool:
        """Tell whether the last sample was taken a while ago."""
        with self._lock:
            return not self._samples or now - self._samples[-1].at >= SAMPLE_SECONDS

    def sample(self, now: float, connections: Iterable[Counted]) -> None:
        """Note the counters; called about once a second, by one thread."""
        live = list(connections)
        with self._lock:
            sample = _Sample(
                now,
                self._ended_in + sum(c.octets_in for c in live),
                self._ended_out + sum(c.octets_out for c in live),
            )
            if self._samples:
                # One that is ending may be on neither side of the sum for a moment.
                last = self._samples[-1]
                sample = _Sample(now, *map(max, sample[1:], last[1:]))
            self._samples.append(sample)
            while now - self._samples[0].at > WINDOW_SECONDS:
                self._samples.popleft()

    def bits_per_second(self) -> tuple[float, float]:
        """Return the mean rates inward and outward over the last seconds."""
        with self._lock:
            if len(self._samples) < 2:
                return 0.0, 0.0
            first, last = self._samples[0], self._samples[-1]
            seconds = last.at - first.at
            return (
                8 * (last.octets_in - first.octets_in) / seconds,
                8 * (last.octets_out - first.octets_out) / seconds,
            )
