"""What is due, and what is due next, without looking at everybody.

A responder with a thousand IKE SAs wakes for one of them. It finds that one on top of a
heap, and the others are left alone. An appointment that was moved leaves its old place
in the heap behind; such places are passed over, and swept out once they are the larger
part, so that moving costs little and memory stays in step with how many there are.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

K = TypeVar("K", bound=bytes | int)

FEW = 64
"""Choice: so many old places are not worth sweeping."""


class Agenda(Generic[K]):
    """One appointment for each name, at most.

    Locking is the caller's affair.
    """

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, K]] = []

    def __len__(self) -> int:
        """Tell how many have an appointment."""
        return len(self._at)

    def put(self, name: K, at: float | None) -> None:
        """Give a name its appointment, in place of one it may have.

        Parameters
        ----------
        at : float or None
            Seconds; None: it has none any more.
        """
        if at is None:
            self._at.pop(name, None)
        elif self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 2 * len(self._at) + FEW:
            self._heap = [(at, name) for name, at in self._at.items()]
            heapq.heapify(self._heap)

    def first(self) -> tuple[float, K] | None:
        """Return the earliest appointment, in seconds, and whose it is."""
        while self._heap:
            at, name = self._heap[0]
            if self._at.get(name) == at:
                return at, name
            heapq.heappop(self._heap)
        return None

    def take(self, now: float) -> list[K]:
        """Take all that are due by now, the earliest first; they have none any more."""
        due: list[K] = []
        while (first := self.first()) is not None and first[0] <= now:
            heapq.heappop(self._heap)
            del self._at[first[1]]
            due.append(first[1])
        return due
