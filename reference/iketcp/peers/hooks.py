"""Programs of the user's that are run when a Child SA comes up or goes away.

They run one after another in a thread of their own, so that no packet waits for them.
What they are told stands in their environment. A rekey is no event: the Child SA that
takes the place of another begins before that one ends, and so does a
reauthentication's. See ``docs/hooks.md``.

Source: RFC 7296 §2.8
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

from iketcp.child_sa import ChildSaParameters
from iketcp.config import Configuration
from iketcp.effects import ChildSaInstalled

MOST_WAITING = 1024
"""Choice: events that wait for their turn; what comes on top is told and left out."""

Environment = Mapping[str, str]
Kind = tuple[object, ...]
"""The peer's identity, a name and selectors: what a rekey does not change."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Run:
    """One program to be run."""

    program: Path
    event: str
    environment: Environment


class Hooks:
    """Runs the programs of ``[hooks]``; without any, it does nothing.

    Parameters
    ----------
    configuration : Configuration
        Which programs, and who we are.
    tunnel : Callable[[], Environment]
        What the tunnel device looks like when a program is about to be run.
    complain : Callable[[str], None]
        Told, in one sentence, of a program that failed.
    """

    def __init__(
        self,
        configuration: Configuration,
        tunnel: Callable[[], Environment],
        complain: Tell,
    ) -> None:
        self._options = configuration.hooks
        self._common = {
            "IKETCP_ROLE": configuration.role,
            "IKETCP_LOCAL_ID": _plain(str(configuration.local.identity)),
        }
        self._tunnel = tunnel
        self._complain = complain
        self._changed = Condition()
        self._waiting: deque[_Run] = deque()
        self._up: dict[bytes, tuple[Kind, Environment]] = {}
        """By SPI (in): what a Child SA is known by, and what is told of it."""
        self._count: Counter[Kind] = Counter()
        """Child SAs that are up, of each kind: two during a rekey."""
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        """When the last program has to be through, once the peer ends."""

    @property
    def is_wanted(self) -> bool:
        """There is a program to run."""
        return self._options.up is not None or self._options.down is not None

    # --- events -----------------------------------------------------------------------

    def child_installed(self, installed: ChildSaInstalled) -> None:
        """Note a Child SA; the first of its kind is up."""
        if not self.is_wanted:
            return
        parameters = installed.parameters
        environment = _describe(installed)
        kind = (
            installed.remote_identity,
            parameters.name,
            parameters.local_ts,
            parameters.remote_ts,
        )
        with self._changed:
            self._up[parameters.spi_in] = kind, environment
            self._count[kind] += 1
            if self._count[kind] == 1:
                self._queue("up", self._options.up, environment)

    def child_removed(self, parameters: ChildSaParameters) -> None:
        """Note that a Child SA is gone; the last of its kind is down."""
        with self._changed:
            if parameters.spi_in in self._up:
                self._remove(parameters.spi_in)

    def _remove(self, spi_in: bytes) -> None:
        kind, environment = self._up.pop(spi_in)
        self._count[kind] -= 1
        if not self._count[kind]:
            del self._count[kind]
            self._queue("down", self._options.down, environment)

    def _queue(
        self, event: str, program: Path | None, environment: Environment
    ) -> None:
        if program is None:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._complain(f"{program} is not run: {MOST_WAITING} events wait for it")
            return
        told = {**self._common, **environment, "IKETCP_EVENT": event}
        run = _Run(program, event, told)
        self._waiting.append(run)
        self._changed.notify_all()

    # --- running ----------------------------------------------------------------------

    def run(self) -> None:
        """Thread body: run what waits, until :meth:`end`, and then what is left."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_ending)
                if not self._waiting:
                    return
                run = self._waiting.popleft()
            self._run(run)

    @property
    def _is_ending(self) -> bool:
        return self._deadline is not None

    def end(self, is_hurried: bool) -> float:
        """Let every Child SA that is still up go down, and the thread end after it.

        Returns
        -------
        float
            Seconds that this may take: as long as one program may for the one that is
            running, and as long again for all that wait. Nothing if ``is_hurried``.
        """
        patience = 0.0 if is_hurried else self._options.timeout_seconds
        with self._changed:
            for spi_in in list(self._up):
                self._remove(spi_in)
            self._deadline = time.monotonic() + patience
            if is_hurried and self._process is not None:
                _kill(self._process)
            self._changed.notify_all()
        return 2 * patience if self.is_wanted else 0.0

    def _run(self, run: _Run) -> None:
        """Run one program; what it prints goes where our log goes."""
        environment = {**os.environ, **run.environment, **self._tunnel()}
        with self._changed:
            patience = self._options.timeout_seconds
            if self._deadline is not None:
                patience = min(patience, self._deadline - time.monotonic())
            if patience <= 0:
                self._complain(f"{run.program} ({run.event}) is not run any more")
                return
            try:
                process = self._process = subprocess.Popen(
                    [run.program.absolute()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                self._complain(f"{run.program} cannot be run: {error.strerror}")
                return
        try:
            code = process.wait(patience)
            if code:
                self._complain(f"{run.program} ({run.event}) ended with code {code}")
        except subprocess.TimeoutExpired:
            self._complain(f"{run.program} ({run.event}) is ended: it took too long")
        finally:
            with self._changed:
                _kill(process)
                self._process = None
            process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, and all that it has started in its session."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


def _describe(installed: ChildSaInstalled) -> Environment:
    """Say of a Child SA what a program may want to know; no key is in it."""
    parameters, path = installed.parameters, installed.path
    return {
        "IKETCP_CHILD": parameters.name,
        "IKETCP_REMOTE_ID": _plain(installed.remote_identity),
        "IKETCP_LOCAL_ADDRESS": str(path.local_address),
        "IKETCP_REMOTE_ADDRESS": str(path.remote_address),
        "IKETCP_LOCAL_TS": " ".join(map(str, parameters.local_ts)),
        "IKETCP_REMOTE_TS": " ".join(map(str, parameters.remote_ts)),
    }


def _plain(text: str) -> str:
    """Leave visible characters only: a peer chose its name, and a shell may see it."""
    return "".join(c if c.isprintable() else "?" for c in text)
