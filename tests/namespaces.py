"""Network namespaces for tests: a child process in a fresh one, a thread in another.

A test that adds devices and routes runs in a child process that has left the machine's
network namespace. The namespace has no name and no file: it is gone with the child,
however the child ends, so nothing is left to clean up. A second namespace, for the
other end of a wire, belongs to a thread of that child.
"""

import contextlib
import ctypes
import functools
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import pytest

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CHILD_SECONDS = 60.0

_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


def require_or_skip(condition: bool, reason: str) -> None:
    """Skip the test for want of something, except in CI, where the want is a failure.

    Parameters
    ----------
    condition : bool
        Whether the machine has what the test needs.
    reason : str
        What it lacks, as a sentence.
    """
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"may not be skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def unshare(flags: int) -> None:
    """Leave namespaces shared with others, as unshare(2) does.

    Raises
    ------
    OSError
        The machine does not allow it.
    """
    if _libc.unshare(flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare_network() -> None:
    """Move the calling thread into a fresh network namespace.

    Without privilege a single-threaded process may still do so inside a user namespace
    of its own, where it is root.

    Raises
    ------
    OSError
        The machine does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWNET)
        return
    except PermissionError:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(content)


@functools.cache
def namespace_obstacle() -> str:
    """Why no network namespace can be made here; empty if one can."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(OSError):
            unshare_network()
            code = 0
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return "this user may not make network namespaces" if status else ""


@functools.cache
def tun_obstacle() -> str:
    """Why no tunnel device can be made in a fresh namespace; empty if one can."""
    if obstacle := namespace_obstacle():
        return obstacle
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"this process cannot open /dev/net/tun: {error.strerror}"
    return ""


def run_in_namespace(
    function: Callable[..., object],
    *arguments: object,
    timeout_seconds: float = CHILD_SECONDS,
) -> None:
    """Run a function in a child process in a fresh network namespace.

    Fails the test with the child's traceback if it raises, dies, or takes longer than
    ``timeout_seconds``, and skips it with the child's reason if it skips. The child
    is gone when this returns, and its namespace with it.
    """
    require_or_skip(not namespace_obstacle(), namespace_obstacle())
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(function, arguments, writer)
    os.close(writer)
    try:
        report = _read_until_end(reader, time.monotonic() + timeout_seconds)
        if report is None:
            os.kill(child, signal.SIGKILL)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    if report is None:
        pytest.fail(f"not done after {timeout_seconds} s", pytrace=False)
    if report.startswith("skip:"):
        pytest.skip(report.removeprefix("skip:"))
    if report:
        pytest.fail(report, pytrace=False)
    if status:
        pytest.fail(f"the child ended with status {status}", pytrace=False)


def in_namespace(function: Callable[..., object]) -> Callable[..., None]:
    """Make a test run in a child process in a fresh network namespace."""

    @functools.wraps(function)
    def test(*arguments: object, **named: object) -> None:
        run_in_namespace(functools.partial(function, **named), *arguments)

    return test


def _run_child(
    function: Callable[..., object], arguments: tuple[object, ...], writer: int
) -> NoReturn:
    report, code = "", 0
    try:
        unshare_network()
        function(*arguments)
    except pytest.skip.Exception as skipped:
        report = f"skip:{skipped}"
    except BaseException:
        report, code = traceback.format_exc(), 1
    with contextlib.suppress(OSError), os.fdopen(writer, "w") as stream:
        stream.write(report)
    sys.stdout.flush()
    sys.stderr.flush()
    # Never back into the test runner, whose copy this process is.
    os._exit(code)


def _read_until_end(reader: int, deadline: float) -> str | None:
    """All that the child writes until it ends; None if it does not in time."""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    octets = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return None
        part = os.read(reader, 65536)
        if not part:
            return octets.decode("utf-8", "replace")
        octets += part


class NamespaceThread:
    """A thread that lives in a fresh network namespace and runs what it is given.

    For use inside :func:`run_in_namespace`; a context manager. Sockets and devices
    that a call opens stay in that namespace, whoever uses them later.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="second namespace")

    def __enter__(self) -> "NamespaceThread":
        self._thread.start()
        self.call(unshare_network)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._jobs.put(None)
        self._thread.join()

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the thread and return, or raise, what it does."""
        future: Future[_T] = Future()
        self._jobs.put((future, function))
        return future.result(CHILD_SECONDS)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
