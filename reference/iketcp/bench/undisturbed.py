"""Measure again what others have disturbed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from iketcp.bench.processor_time import seconds_of_others
from iketcp.bench.report import Row

MOST_SHARE = 0.05
"""Of one processor: if others took more of it, a measurement is made again."""

REPEATS = 3
"""How often at most; then the least disturbed one counts."""

OTHERS = "others %"
"""Heading of what other programs took of one processor meanwhile."""

Taken = TypeVar("Taken")


@dataclass(frozen=True, slots=True)
class Attempt(Generic[Taken]):
    """What was measured, and how much others took meanwhile.

    Parameters
    ----------
    taken : Taken
        The measurement.
    others : float
        The processor time that others took, as a share of one processor: up to the
        number of processors.
    repeats : int
        How often it was made again.
    """

    taken: Taken
    others: float
    repeats: int = 0

    @property
    def is_undisturbed(self) -> bool:
        """Whether others took next to nothing."""
        return self.others <= MOST_SHARE


def undisturbed(
    measure: Callable[[], Taken],
    repeats: int = REPEATS,
    others: Callable[[], float] = seconds_of_others,
    clock: Callable[[], float] = time.monotonic,
) -> Attempt[Taken]:
    """Measure until others leave the machine alone, or patience ends.

    Parameters
    ----------
    measure : Callable
        Makes the measurement once.
    repeats : int
        How often it may be made again.
    others : Callable
        Processor seconds that others have taken so far.
    clock : Callable
        Seconds that have passed.

    Returns
    -------
    Attempt
        The first undisturbed one, or the least disturbed one.
    """
    attempts: list[Attempt[Taken]] = []
    while len(attempts) <= repeats:
        before, since = others(), clock()
        taken = measure()
        share = max(0.0, others() - before) / (clock() - since)
        attempts.append(Attempt(taken, share, len(attempts)))
        if attempts[-1].is_undisturbed:
            break
    best = min(attempts, key=lambda each: each.others)
    return Attempt(best.taken, best.others, len(attempts) - 1)


def about_disturbance(rows: Sequence[Row], repeats: int) -> list[str]:
    """Say how often something was measured again, and what it was good for.

    Parameters
    ----------
    rows : sequence of Row
        Of which ``further`` has the shares of others.
    repeats : int
        How often a figure of theirs was measured again.
    """
    shares = [share for row in rows for share in row.further.get(OTHERS, ())]
    disturbed = sum(share > 100 * MOST_SHARE for share in shares)
    if not repeats and not disturbed:
        return []
    return [
        f"Other programs took more than {MOST_SHARE:.0%} of a processor: measured "
        f"again {repeats} times; {disturbed} of {len(shares)} figures stayed disturbed."
    ]


__all__ = [
    "MOST_SHARE",
    "OTHERS",
    "REPEATS",
    "Attempt",
    "about_disturbance",
    "undisturbed",
]
