"""The demonstration's one loop: lines from pipes, until something is so.

Everything the demonstration learns arrives as lines on descriptors: traces of the
peers, reports of the workload, complaints on standard error. One thread reads them
all, so nothing here needs a lock, and every wait has an end.
"""

import contextlib
import os
import selectors
import time
from collections.abc import Callable

MOST_UNFINISHED = 1 << 20
"""Octets of a line without an end after which it is thrown away."""

_READ_SIZE = 1 << 16
_TICK_SECONDS = 0.05

LineHandler = Callable[[bytes], None]


class Loop:
    """Reads lines from any number of descriptors and hands them on.

    A context manager; closing it closes the descriptors it was told to own.
    """

    def __init__(self, on_tick: Callable[[], None] | None = None) -> None:
        self._selector = selectors.DefaultSelector()
        self._owned: set[int] = set()
        self._on_tick = on_tick

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, descriptor: int, handler: LineHandler, own: bool = False) -> None:
        """Hand each line from a descriptor to ``handler``, without its newline.

        Parameters
        ----------
        descriptor : int
            A pipe or socket; it is made non-blocking.
        handler : Callable
            Called with each line; the last one may lack its newline.
        own : bool
            Close the descriptor at the end.
        """
        os.set_blocking(descriptor, False)
        if own:
            self._owned.add(descriptor)
        self._selector.register(
            descriptor, selectors.EVENT_READ, _Source(descriptor, handler)
        )

    def pump(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for something to arrive, and handle what did.

        Returns
        -------
        bool
            Whether anything arrived.
        """
        ready = []
        if self._selector.get_map():
            ready = self._selector.select(seconds)
            for key, _ in ready:
                source: _Source = key.data
                if not source.read():
                    self._selector.unregister(source.descriptor)
                    self._release(source.descriptor)
        else:
            time.sleep(seconds)
        if self._on_tick is not None:
            self._on_tick()
        return bool(ready)

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Handle what arrives until ``condition`` holds; False if it does not in time.

        The condition is asked again at least twenty times a second.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.pump(min(left, _TICK_SECONDS))
        return True

    def close(self) -> None:
        """Stop reading; idempotent."""
        self._selector.close()
        for descriptor in list(self._owned):
            self._release(descriptor)

    def _release(self, descriptor: int) -> None:
        if descriptor in self._owned:
            self._owned.discard(descriptor)
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _Source:
    def __init__(self, descriptor: int, handler: LineHandler) -> None:
        self.descriptor = descriptor
        self._handler = handler
        self._unfinished = b""

    def read(self) -> bool:
        """Read once; False at the end."""
        try:
            octets = os.read(self.descriptor, _READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            octets = b""
        if not octets:
            if self._unfinished:
                self._handler(self._unfinished)
            return False
        *lines, rest = (self._unfinished + octets).split(b"\n")
        self._unfinished = rest if len(rest) <= MOST_UNFINISHED else b""
        for line in lines:
            self._handler(line)
        return True
