"""The tests' own helper: what it isolates, reports, and leaves behind."""

import os
import signal
import socket
import threading

import pytest

from conftest import LeakCheck
from namespaces import (
    NamespaceThread,
    in_namespace,
    require_or_skip,
    run_in_namespace,
)


def test_a_want_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is skipped unnoticed where everything must run."""
    require_or_skip(True, "not said")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no device"):
        require_or_skip(False, "no device")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no device"):
        require_or_skip(False, "no device")


@in_namespace
def test_a_namespace_is_empty() -> None:
    """The child has a loopback device and nothing else."""
    assert [name for _, name in socket.if_nameindex()] == ["lo"]


@in_namespace
def test_a_thread_has_a_namespace_of_its_own() -> None:
    """Two namespaces in one process, and errors come back from the other thread."""

    def own() -> str:
        return os.readlink("/proc/thread-self/ns/net")

    with NamespaceThread() as other:
        assert other.call(own) != own()
        with pytest.raises(ZeroDivisionError):
            other.call(lambda: 1 // 0)
    assert threading.active_count() == 1


def test_failures_come_back(leak_check: LeakCheck) -> None:
    """A raise, a skip, a sudden death and a hang are each told, and none stays."""

    def fails() -> None:
        raise ValueError("deep inside")

    def hangs() -> None:
        threading.Event().wait()

    def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def skips() -> None:
        pytest.skip("no reason")

    run_in_namespace(lambda: None)
    with leak_check():
        with pytest.raises(pytest.fail.Exception, match="deep inside"):
            run_in_namespace(fails)
        with pytest.raises(pytest.skip.Exception, match="no reason"):
            run_in_namespace(skips)
        with pytest.raises(pytest.fail.Exception, match="status"):
            run_in_namespace(dies)
        with pytest.raises(pytest.fail.Exception, match="not done"):
            run_in_namespace(hangs, timeout_seconds=0.1)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
