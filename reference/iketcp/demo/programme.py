"""The steps of the demonstration, what became of each, and the table at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from rich.table import Table
from rich.text import Text

from iketcp.demo.picture import to_ascii


class StepFailed(Exception):
    """A step that did not happen; the text says what is missing."""


class Outcome(Enum):
    """What became of a step."""

    OPEN = "not reached"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(slots=True)
class Step:
    """One thing the demonstration promises to show."""

    key: str
    title: str
    outcome: Outcome = Outcome.OPEN
    started: float = 0.0
    """When it began, on the monotonic clock."""
    seconds: float = 0.0
    """How long it took."""
    evidence: str = ""
    """What was seen, or what was missing."""


STEPS = {
    "stage": "Two network namespaces and a wire",
    "stream": "TCP connection and stream prefix",
    "init": "IKE_SA_INIT, keys agreed",
    "auth": "IKE_AUTH, IKE SA and first Child SA",
    "device": "Tunnel devices up, addresses assigned",
    "ping": "Ping through the tunnel",
    "transfer": "Transfer, equal hashes",
    "cut": "TCP connection cut in mid-transfer",
    "back": "Tunnel back over the same SAs",
    "rekey": "Child SA rekeyed under load",
    "delete": "DELETE, both sides closed",
    "capture": "Capture and key files written",
    "clean": "Nothing left behind",
}
"""Every step: its key and what it is called."""


class Programme:
    """All steps, in order.

    Parameters
    ----------
    has_capture : bool
        Whether a capture was asked for; without, that step is left out.
    has_namespaces : bool
        Whether the sites are in namespaces of their own.
    now : Callable
        The monotonic clock.
    """

    def __init__(
        self,
        has_capture: bool = False,
        has_namespaces: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        titles = dict(STEPS)
        if not has_capture:
            del titles["capture"]
        if not has_namespaces:
            titles["stage"] = "Two peers with tunnel devices in memory"
            titles["device"] = "Tunnel up, addresses assigned"
        self._now = now
        self.steps = {key: Step(key, title) for key, title in titles.items()}

    @contextmanager
    def step(self, key: str) -> Iterator[Step]:
        """Carry a step out: done if the block ends, failed if it raises.

        The block sets ``evidence``. Whatever it raises goes on its way.
        """
        step = self.steps[key]
        step.started = self._now()
        step.outcome = Outcome.FAILED
        try:
            yield step
            step.outcome = Outcome.DONE
        except StepFailed as failure:
            step.evidence = str(failure)
            raise
        except Exception as error:
            step.evidence = str(error) or type(error).__name__
            raise
        except BaseException:
            step.outcome = Outcome.INTERRUPTED
            raise
        finally:
            step.seconds = self._now() - step.started

    @property
    def is_complete(self) -> bool:
        """Whether every step really happened."""
        return all(step.outcome is Outcome.DONE for step in self.steps.values())

    @property
    def failures(self) -> list[Step]:
        """The steps that did not happen, the failed ones first."""
        missing = [s for s in self.steps.values() if s.outcome is not Outcome.DONE]
        return sorted(missing, key=lambda step: step.outcome is Outcome.OPEN)

    def table(self, started: float, is_ascii: bool = False) -> Table:
        """Draw the steps with what became of each.

        Parameters
        ----------
        started : float
            The moment that is zero in the column of times.
        is_ascii : bool
            Use no other characters.
        """
        plain = to_ascii if is_ascii else str
        marks = {
            Outcome.DONE: Text(plain("✔"), style="bold green"),
            Outcome.FAILED: Text(plain("✘"), style="bold red"),
            Outcome.INTERRUPTED: Text(plain("✘"), style="bold yellow"),
            Outcome.OPEN: Text("-", style="dim"),
        }
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("")
        table.add_column("at", justify="right")
        table.add_column("took", justify="right")
        table.add_column("step")
        table.add_column("evidence", style="dim")
        for step in self.steps.values():
            is_open, is_done = (
                step.outcome is each for each in (Outcome.OPEN, Outcome.DONE)
            )
            seen = step.evidence or ("" if is_done else step.outcome.value)
            table.add_row(
                marks[step.outcome],
                "" if is_open else f"{step.started - started:.1f} s",
                "" if is_open else f"{step.seconds:.1f} s",
                step.title,
                Text(plain(seen)),
            )
        return table
