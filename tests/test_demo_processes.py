"""Processes of the demonstration: heard line by line, and never left behind."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from iketcp.demo.children import Child, Children, python_command
from iketcp.demo.devices import devices
from iketcp.demo.loop import MOST_UNFINISHED, Loop

LONG = 30.0

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
signal.pause()
"""
POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("goodbye", flush=True)))
print("here", flush=True)
signal.pause()
"""
ORPHAN = """
import os, sys
from iketcp.demo.children import Children
child = Children().start("child", "told_module")
print(child.process.stdout.readline().decode().strip(), child.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that children can run, empty so far."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "told_module.py"


def start(children: Children, module: Path, code: str) -> tuple[Child, list[bytes]]:
    module.write_text(code)
    child = children.start("child", "told_module")
    return child, []


# --- the loop ---------------------------------------------------------------------


def test_lines_arrive_whole() -> None:
    """However the pipe cuts them, and the last one without its newline."""
    reader, writer = os.pipe()
    lines: list[bytes] = []
    with Loop() as loop:
        loop.watch(reader, lines.append, own=True)
        for piece in (b"on", b"e\ntwo\nth", b"ree"):
            os.write(writer, piece)
            loop.pump(LONG)
        assert lines == [b"one", b"two"]
        os.close(writer)
        assert loop.wait_until(lambda: len(lines) == 3, LONG)
    assert lines[2] == b"three"


def test_a_line_without_end_is_thrown_away() -> None:
    """A child that floods its pipe does not fill our memory."""
    reader, writer = os.pipe()
    lines: list[bytes] = []
    sent = 0
    with Loop() as loop:
        loop.watch(reader, lines.append, own=True)
        while sent <= MOST_UNFINISHED:
            sent += os.write(writer, b"x" * 4096)
            loop.pump(LONG)
        os.write(writer, b"\nshort\n")
        assert loop.wait_until(lambda: b"short" in lines, LONG)
    os.close(writer)
    assert sum(map(len, lines)) < MOST_UNFINISHED


def test_waiting_ends_when_the_time_is_up() -> None:
    """No wait is for ever."""
    with Loop() as loop:
        assert not loop.wait_until(lambda: False, 0.01)


def test_a_tick_is_called_even_in_silence() -> None:
    """What is due is told though nothing arrives."""
    ticks: list[int] = []
    with Loop(lambda: ticks.append(1)) as loop:
        assert loop.wait_until(lambda: len(ticks) >= 2, LONG)


# --- children -----------------------------------------------------------------------


def test_a_child_that_ignores_the_request_is_killed(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked first, killed after; what it said is heard."""
    monkeypatch.setattr("iketcp.demo.children.FAREWELL_SECONDS", 0.1)
    children = Children()
    child, lines = start(children, module, STUBBORN)
    with Loop() as loop:
        loop.watch(child.output(), lines.append)
        assert loop.wait_until(lambda: bool(lines), LONG)
        assert children.running == ["child"]
        children.close(loop.pump)
    assert child.status == -signal.SIGKILL
    assert children.running == []


def test_the_last_words_of_a_child_are_heard(module: Path) -> None:
    """What it says while it ends is read before its pipes close."""
    children = Children()
    child, lines = start(children, module, POLITE)
    with Loop() as loop:
        loop.watch(child.output(), lines.append)
        assert loop.wait_until(lambda: bool(lines), LONG)
        children.close(loop.pump)
    assert lines == [b"here", b"goodbye"]
    assert child.status == 0


def test_saying_something_to_an_ended_child_is_harmless(module: Path) -> None:
    """It does not hear it, and that is all."""
    children = Children()
    child, _ = start(children, module, "")
    child.process.wait()
    child.say({"command": "x" * 100_000})
    child.signal(signal.SIGTERM)
    children.close()
    assert child.status == 0


def test_a_child_dies_with_its_parent(module: Path) -> None:
    """SIGKILL leaves the demonstration no time, and still nothing stays."""
    module.write_text(STUBBORN)
    _, environment = python_command("unused")
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout is not None
        word, child = parent.stdout.readline().split()
        assert word == b"here"
        watch = os.pidfd_open(int(child))
        parent.kill()
    poller = select.poll()
    poller.register(watch, select.POLLIN)
    assert poller.poll(LONG * 1000), "the child is still there"
    os.close(watch)


def test_children_find_the_package_wherever_we_are(tmp_path: Path) -> None:
    """The command runs this package, not one that lies in the current folder."""
    (tmp_path / "iketcp").mkdir()
    (tmp_path / "iketcp" / "__init__.py").write_text("raise SystemExit(9)")
    command, environment = python_command("iketcp.demo.options")
    found = subprocess.run(command, env=environment, cwd=tmp_path, check=False)
    assert found.returncode == 0


def test_every_machine_has_a_loopback_device() -> None:
    """The kernel's answer has names, MTUs and addresses."""
    assert devices()["lo"]["mtu"] > 0
