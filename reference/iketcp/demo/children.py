"""Child processes that never outlive the demonstration.

Every process on the stage is started here through a small entry,
:mod:`iketcp.demo.inside`, that enters the namespaces and asks the kernel to kill it
should the demonstration die. It has no terminal: Ctrl-C reaches the demonstration
alone, which ends its children in order.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import iketcp

FAREWELL_SECONDS = 4.0
"""How long a child that was asked to end may take before it is killed."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Descriptors of the namespaces a child enters; None: it stays where we are."""

    network: int
    user: int | None


def python_command(module: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that run a module of this very package."""
    folder = str(Path(iketcp.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([folder, others]) if others else folder
    # -P: what happens to lie in the current folder is none of our modules.
    return [sys.executable, "-P", "-m", module], os.environ | {"PYTHONPATH": path}


class Child:
    """One child process with pipes to its standard input, output and error."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def output(self) -> int:
        """Descriptor of its standard output."""
        return _descriptor(self.process.stdout)

    def errors(self) -> int:
        """Descriptor of its standard error."""
        return _descriptor(self.process.stderr)

    def say(self, command: Mapping[str, object]) -> None:
        """Send one JSON object as a line; a child that has ended does not hear it."""
        stream = self.process.stdin
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.write(json.dumps(command).encode() + b"\n")
                stream.flush()

    def signal(self, number: int) -> None:
        """Send a signal; a child that has ended does not get it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def close_pipes(self) -> None:
        """Close our ends of its pipes."""
        pipes = (self.process.stdin, self.process.stdout, self.process.stderr)
        for pipe in pipes:
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Children:
    """All child processes of one demonstration."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        entrance: Entrance | None = None,
        pass_fds: Iterable[int] = (),
    ) -> Child:
        """Start a module of this package as a process, inside if an entrance is given.

        Call it from the main thread: the kernel ends a child when the thread that
        started it ends.
        """
        command, environment = python_command("iketcp.demo.inside")
        descriptors = list(pass_fds)
        command += ["--parent", str(os.getpid())]
        if entrance is not None:
            command += ["--network", str(entrance.network)]
            descriptors.append(entrance.network)
            if entrance.user is not None:
                command += ["--user", str(entrance.user)]
                descriptors.append(entrance.user)
        process = subprocess.Popen(
            [*command, "--", module, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,
        )
        child = Child(name, process)
        self._children.append(child)
        return child

    @property
    def running(self) -> list[str]:
        """Names of the children that have not ended."""
        return [child.name for child in self._children if child.status is None]

    def close(self, pump: Callable[[float], object] = time.sleep) -> None:
        """End every child: ask, wait, then kill.

        Parameters
        ----------
        pump : Callable
            Passes up to the given seconds, reading what the children still say, so
            that none of them waits for a reader; true if anything came.
        """
        for child in self._children:
            if child.status is None:
                child.signal(signal.SIGTERM)
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self.running and time.monotonic() < deadline:
            pump(0.02)
        for child in self._children:
            if child.status is None:
                child.process.kill()
            child.process.wait()
        while pump(0.0):
            pass
        for child in self._children:
            child.close_pipes()
        self._children.clear()


def _descriptor(pipe: object) -> int:
    fileno = getattr(pipe, "fileno", None)
    return int(fileno()) if fileno is not None else -1
