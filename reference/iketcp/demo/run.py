"""``iketcp demo`` from its first line to its last.

Whatever happens, the end is the same: every child ends, the namespaces go, the
temporary folder goes, and the table says which steps really happened.
"""

import contextlib
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console

from iketcp.config.issuing import write_tls_files
from iketcp.config.secret_files import make_secret_file
from iketcp.demo.acts import ACTS, Performance
from iketcp.demo.director import Director
from iketcp.demo.memory_director import MemoryDirector
from iketcp.demo.narrator import Narrator
from iketcp.demo.options import MODES, DemoOptions
from iketcp.demo.picture import to_ascii
from iketcp.demo.programme import Outcome, Programme, StepFailed
from iketcp.demo.recording import Recording
from iketcp.demo.scenarios import scenario
from iketcp.demo.scenery import SITES
from iketcp.demo.stage import Namespaces, Privilege, make_namespaces, place_of
from iketcp.demo.transfer import Transfer
from iketcp.demo.wrapping import TLS_FOLDER, Wrapping
from iketcp.errors import ConfigurationError, EnvironmentProblem

INTERRUPTED = 130

_PRIVILEGES: dict[str, tuple[Privilege, ...]] = {
    "auto": ("root", "user"),
    "root": ("root",),
    "user": ("user",),
    "memory": (),
}


def run(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demonstration; return the exit code.

    Raises
    ------
    ConfigurationError
        An option makes no sense.
    EnvironmentProblem
        The machine lacks what the chosen mode or the capture needs.
    """
    if options.mode not in MODES:
        raise ConfigurationError(
            f"--mode is one of {', '.join(MODES)}, not {options.mode!r}"
        )
    scenario(options.scenario)
    if options.pcap is not None and options.wrapping != Wrapping():
        raise ConfigurationError(
            "--pcap goes with plain TCP, without --tls, --proxy or --relay"
        )
    if options.wrapping.is_tls and options.wrapping.has_relay:
        raise ConfigurationError("--relay goes without --tls")
    console = console or Console(highlight=False)
    return _Demonstration(options, console).run()


class _Demonstration:
    def __init__(self, options: DemoOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._started = time.monotonic()
        self._narrator = Narrator(console, self._started)

    def run(self) -> int:
        try:
            with _signals(), contextlib.ExitStack() as stack:
                programme, is_interrupted = self._perform(stack)
        except KeyboardInterrupt:  # before there was anything to end
            return self._say_interrupted()
        self._console.print()
        self._console.print(programme.table(self._started, self._is_ascii))
        self._console.print()
        return self._say_interrupted() if is_interrupted else self._verdict(programme)

    def _perform(self, stack: contextlib.ExitStack) -> tuple[Programme, bool]:
        """Build the stage, play, clean up; tell also whether it was interrupted."""
        began = time.monotonic()
        namespaces = self._make_stage()
        if namespaces is not None:
            stack.enter_context(namespaces)
        recording = None
        if self._options.pcap is not None:
            recording = Recording(self._options.pcap)
            stack.callback(recording.close)
        programme = Programme(recording is not None, namespaces is not None)
        self._narrator.picture(namespaces is not None)
        self._note_stage(programme, namespaces, began)
        return programme, self._play(programme, namespaces, recording)

    @property
    def _is_ascii(self) -> bool:
        return self._console.options.ascii_only

    def _make_stage(self) -> Namespaces | None:
        """Make namespaces in the chosen mode, or in the first that works.

        Raises
        ------
        EnvironmentProblem
            The chosen mode does not work here, or none that a capture needs.
        """
        if self._options.mode == "memory" and self._options.pcap is None:
            return None
        problems = []
        for privilege in _PRIVILEGES[self._options.mode]:
            try:
                return make_namespaces(privilege)
            except EnvironmentProblem as problem:
                problems.append(str(problem))
        why = "; ".join(problems) or "there is no wire in this mode"
        if self._options.pcap is not None:
            raise EnvironmentProblem(f"cannot capture without namespaces: {why}")
        if self._options.mode != "auto":
            raise EnvironmentProblem(why)
        self._narrator.say(
            time.monotonic(),
            f"No network namespaces: {why}. The same two peers with tunnel devices "
            "in memory, over the loopback interface.",
            style="yellow",
        )
        return None

    def _note_stage(
        self, programme: Programme, namespaces: Namespaces | None, began: float
    ) -> None:
        with programme.step("stage") as step:
            if namespaces is None:
                step.evidence = "processes of this user, TCP over loopback"
            else:
                places = {namespaces.identity(site) for site in SITES}
                if len(places | {place_of(os.getpid())}) != 3:
                    raise StepFailed("the sites are not apart")
                who = "root" if namespaces.user is None else "root of a user namespace"
                step.evidence = f"made as {who}, without names"
        step.seconds += step.started - began
        step.started = began

    def _play(
        self,
        programme: Programme,
        namespaces: Namespaces | None,
        recording: Recording | None,
    ) -> bool:
        """Play all acts and clean up; return whether it was interrupted."""
        is_interrupted = False
        folder = tempfile.TemporaryDirectory(prefix="iketcp-demo-")
        path = Path(folder.name)
        keys = None if recording is None else recording.keys
        director = (
            MemoryDirector(path, self._narrator)
            if namespaces is None
            else Director(path, namespaces, self._narrator, keys)
        )
        try:
            make_secret_file(path / "psk", secrets.token_hex(32).encode())
            director.scenario = scenario(self._options.scenario)
            director.scenario.prepare(path)
            director.say(director.scenario.about)
            director.wrapping = self._options.wrapping
            if director.wrapping.is_tls:
                write_tls_files(path / TLS_FOLDER, [director.addresses.responder])
            if director.wrapping.about:
                director.say(director.wrapping.about)
            self._acts(programme, director, recording)
        except StepFailed as failure:
            director.say(f"FAILED: {failure}", style="bold red")
            for complaint in director.complaints():
                director.say(complaint, style="dim red")
        except KeyboardInterrupt:
            is_interrupted = True
            director.say("Interrupted: ending in order.", style="bold yellow")
        finally:
            _ignore_signals()
            self._clean(programme, director, folder)
        return is_interrupted

    def _acts(
        self, programme: Programme, director: Director, recording: Recording | None
    ) -> None:
        if recording is not None:
            recording.start(director)
        play = Performance(
            director,
            programme,
            partial(Transfer, director, self._console),
            self._options.transfer_octets,
        )
        for title, act in ACTS:
            director.settle()
            self._narrator.title(title)
            act(play)
        if recording is not None:
            with programme.step("capture") as step:
                recording.finish(director, step)

    def _clean(
        self,
        programme: Programme,
        director: Director,
        folder: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        with contextlib.suppress(StepFailed), programme.step("clean") as step:
            director.close()
            inside = director.processes_inside()
            folder.cleanup()
            if inside:
                raise StepFailed(f"processes {inside} are still inside")
            step.evidence = "no process, no namespace, no device, no file"

    def _say_interrupted(self) -> int:
        seconds = time.monotonic() - self._started
        self._console.print(f"Interrupted after {seconds:.1f} s.", style="yellow")
        return INTERRUPTED

    def _verdict(self, programme: Programme) -> int:
        if programme.is_complete:
            seconds = time.monotonic() - self._started
            self._console.print(
                f"Every step happened. {seconds:.1f} s.", style="bold green"
            )
            return 0
        failed = [s for s in programme.failures if s.outcome is Outcome.FAILED]
        names = "; ".join(f"{step.title}: {step.evidence}" for step in failed)
        text = to_ascii(names) if self._is_ascii else names
        self._console.print(
            f"Not every step happened. {text}", style="bold red", markup=False
        )
        return 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and a hang-up interrupt as Ctrl-C does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Nothing interrupts the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
