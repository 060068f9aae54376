"""The threads of a peer: started in one place, guarded, and waited for at the end.

A thread that fails in a way nobody expected must not vanish without a word, and must
not be waited for without end. Everything a peer runs goes through a
:class:`ThreadGroup`, which sees to both.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from iketcp.errors import EnvironmentProblem

FEW = 16
"""Choice: so many threads that have ended may be remembered in any case."""


class ThreadGroup:
    """Threads that are told of when they fail, and joined when they should end.

    Parameters
    ----------
    on_surprise : Callable[[str, Exception], object]
        Called, in the thread, with its name and an exception that nobody expected.
    """

    def __init__(self, on_surprise: Callable[[str, Exception], object]) -> None:
        self._on_surprise = on_surprise
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._looked_through_at = FEW

    def spawn(self, name: str, body: Callable[[], None]) -> None:
        """Start a thread, and forget those that have ended.

        Raises
        ------
        EnvironmentProblem
            The machine lets this process have no further thread.
        """
        thread = threading.Thread(
            target=self._run, args=(name, body), name=f"iketcp-{name}", daemon=True
        )
        with self._lock:
            self._forget_the_dead()
            try:
                thread.start()
            except RuntimeError as error:
                raise EnvironmentProblem(f"cannot start a thread: {error}") from error
            self._threads.append(thread)

    def _forget_the_dead(self) -> None:
        """Look through the list when it has doubled since the last time."""
        if len(self._threads) >= self._looked_through_at:
            self._threads = [t for t in self._threads if t.is_alive()]
            self._looked_through_at = 2 * len(self._threads) + FEW

    def _run(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception as error:  # whatever it is, somebody has to hear of it
            self._on_surprise(name, error)

    def join(self, timeout_seconds: float) -> list[str]:
        """Wait for every thread but the caller, also for those started meanwhile.

        Returns
        -------
        list[str]
            Names of the threads that did not end in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while running := self._running():
            left = deadline - time.monotonic()
            if left <= 0:
                return [thread.name for thread in running]
            running[0].join(left)
        return []

    def _running(self) -> list[threading.Thread]:
        current = threading.current_thread()
        with self._lock:
            return [t for t in self._threads if t.is_alive() and t is not current]


def describe_surprise(error: Exception) -> str:
    """Say in one line what was raised and where; the text of ``error`` is quoted."""
    frames = traceback.extract_tb(error.__traceback__)
    where = ""
    if frames:
        last = frames[-1]
        where = f" in {last.name}, line {last.lineno} of {last.filename}"
    return f"unexpected {type(error).__name__}{where}: {str(error)!r}"
