"""Programs inside the namespaces of a benchmark, and the processor time they take."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from iketcp.bench.processor_time import seconds_of
from iketcp.demo.children import python_command
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem

FAREWELL_SECONDS = 5.0
LISTENING_SECONDS = 10.0
ANSWER_SECONDS = 10.0
"""A question to the kernel takes a moment; this is for a busy machine."""


class Program:
    """A running program in the namespace of one site.

    Parameters
    ----------
    namespaces : Namespaces
        The stage.
    site : str
        Where it runs.
    command : sequence of str
        The program's whole path, and its arguments.
    log : Path or None
        File for standard output and error; None: they go to a pipe.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        site: str,
        command: Sequence[str],
        log: Path | None = None,
    ) -> None:
        descriptor = namespaces.network[site]
        entry, environment = python_command("iketcp.bench.inside")
        with contextlib.ExitStack() as stack:
            target: int | TextIO = subprocess.PIPE
            if log is not None:
                target = stack.enter_context(log.open("w"))
            self.process: subprocess.Popen[str] = subprocess.Popen(
                [*entry, str(os.getpid()), str(descriptor), *command],
                env=environment,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def cpu_seconds(self) -> float:
        """Processor time that it and what it has started have taken."""
        return seconds_of(self.process.pid)

    def output(self, timeout_seconds: float) -> str:
        """Wait for its end, and return what it printed.

        Raises
        ------
        EnvironmentProblem
            It does not end in time, or not well.
        """
        try:
            text, _ = self.process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise EnvironmentProblem("a program does not end in time") from None
        if self.process.returncode:
            raise EnvironmentProblem(text[-500:])
        return text

    def stop(self) -> None:
        """End it: ask, wait, kill."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def running(programs: Sequence[Program]) -> Iterator[None]:
    """End programs when the block ends, whatever happens in it."""
    try:
        yield
    finally:
        for program in programs:
            program.stop()


def wait_until_listening(namespaces: Namespaces, site: str, port: int) -> None:
    """Wait for a program to take TCP connections on a port of a site.

    Raises
    ------
    EnvironmentProblem
        None does.
    """
    command = [require_program("ss", "iproute2"), "-Hltn", f"sport = :{port}"]
    deadline = time.monotonic() + LISTENING_SECONDS
    while True:
        once = Program(namespaces, site, command)
        with running([once]):
            if once.output(ANSWER_SECONDS):
                return
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"nobody listens on port {port}")


def require_program(name: str, package: str) -> str:
    """Find a program.

    Raises
    ------
    EnvironmentProblem
        It is not installed.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise EnvironmentProblem(
            f"there is no {name}; Debian: apt-get install {package}"
        )
    return path


__all__ = ["Program", "require_program", "running", "wait_until_listening"]
