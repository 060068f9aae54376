"""Private keys for key exchanges, made while there is nothing else to do.

A handshake then does not wait for its key. It costs as much as before, only at another
time; so nothing is made while handshakes come one after the other. A key is given away
once and forgotten here: each serves one exchange, as if it had been made for it. Until
then it lies in memory, which is why there are few, and none unless somebody asks.

Source: RFC 7296 §2.12 (what comes of using one for several connections)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from iketcp.crypto.key_exchange import METHODS, KeyExchange, generate
from iketcp.ike.policy import IkePolicy
from iketcp.net.system import SystemEntropy
from iketcp.registry import ADDITIONAL_KEY_EXCHANGES, TransformType

QUIET_SECONDS = 0.2
"""Choice: no key is made for so long after one was taken."""

_KEY_EXCHANGES = frozenset({TransformType.KE, *ADDITIONAL_KEY_EXCHANGES})


def methods_of(policy: IkePolicy) -> list[int]:
    """Return the key exchange methods that a policy may lead to, in its order."""
    proposals = [
        proposal
        for each in policy.variants
        for group in (each.proposals, *(child.proposals for child in each.children))
        for proposal in group
    ]
    found = (
        transform.id
        for proposal in proposals
        for transform in proposal.transforms
        if transform.type in _KEY_EXCHANGES and transform.id in METHODS
    )
    return list(dict.fromkeys(found))


class KeyStock(SystemEntropy):
    """The system's entropy, with keys ready.

    Parameters
    ----------
    methods : Iterable[int]
        Key exchange methods.
    limit : int
        Keys of each method that are ready at most.
    """

    def __init__(self, methods: Iterable[int], limit: int) -> None:
        self._limit = limit
        self._ready: dict[int, deque[KeyExchange]] = {m: deque() for m in methods}
        self._changed = threading.Condition()
        self._was_taken = False
        self._is_over = False
        self.given = 0
        """Keys that were given away so far."""

    def count(self, method: int) -> int:
        """Tell how many keys of a method are ready."""
        with self._changed:
            return len(self._ready.get(method, ()))

    def take_key(self, method: int) -> KeyExchange | None:
        """Give a key away, from any thread; ``None`` if none is ready."""
        with self._changed:
            self._was_taken = True
            self._changed.notify()
            keys = self._ready.get(method)
            if not keys:
                return None
            self.given += 1
            return keys.popleft()

    def run(self) -> None:
        """Thread body: make what is missing whenever it is quiet, until stopped."""
        while (method := self._wait_until_missing()) is not None:
            key = generate(method, SystemEntropy(), "prepared")
            with self._changed:
                if not self._is_over:
                    self._ready[method].append(key)

    def _wait_until_missing(self) -> int | None:
        """Return the method whose key is to be made next, or ``None`` at the end."""
        with self._changed:
            while not self._is_over:
                missing = [m for m, k in self._ready.items() if len(k) < self._limit]
                if not missing:
                    self._changed.wait()
                elif self._was_taken:
                    self._was_taken = False
                    self._changed.wait(QUIET_SECONDS)
                else:
                    return missing[0]
            return None

    def stop(self) -> None:
        """End the thread, and drop the keys that nobody has taken."""
        with self._changed:
            self._is_over = True
            for keys in self._ready.values():
                keys.clear()
            self._changed.notify()


def stock_for(policy: IkePolicy, limit: int) -> KeyStock | None:
    """Make a stock for what a policy may lead to; ``None`` for a ``limit`` of 0."""
    return KeyStock(methods_of(policy), limit) if limit else None


__all__ = ["KeyStock", "methods_of", "stock_for"]
