"""A flag that a thread blocked in ``poll`` can see.

A thread that waits for a socket or a tunnel device has to be told when it is time to
stop. :class:`Wake` is an event with a file descriptor: polling it beside the socket
ends the wait the moment somebody sets it, so no loop needs a timeout to stay
stoppable.

Teaching: Linux offers this as ``eventfd``; a pipe written to itself does the same.
"""

import os
import select
import threading

from iketcp.errors import EnvironmentProblem


class Wake:
    """An event with a file descriptor, set from any thread or signal handler.

    Raises
    ------
    EnvironmentProblem
        The process has no file descriptor left.
    """

    __slots__ = ("_fd", "_is_set", "_lock")

    def __init__(self) -> None:
        try:
            self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot make an event descriptor: {error.strerror}; "
                "raise the limit on open files"
            ) from error
        self._is_set = False
        # Re-entrant, because a signal handler may interrupt its own thread in set().
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN; -1 once closed."""
        return self._fd

    def is_set(self) -> bool:
        """Tell whether it has been set and not cleared since."""
        return self._is_set

    def set(self) -> None:
        """Make the descriptor readable until :meth:`clear`; harmless once closed."""
        with self._lock:
            if not self._is_set:
                self._is_set = True
                if self._fd >= 0:
                    os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Make the descriptor unreadable again."""
        with self._lock:
            if self._is_set:
                self._is_set = False
                if self._fd >= 0:
                    os.eventfd_read(self._fd)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Block until set, or until the timeout; True if set."""
        if not self._is_set and self._fd >= 0:
            poller = select.poll()
            poller.register(self._fd, select.POLLIN)
            poller.poll(None if timeout_seconds is None else timeout_seconds * 1000)
        return self._is_set

    def close(self) -> None:
        """Give the descriptor back; idempotent. Nobody may be polling it."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
