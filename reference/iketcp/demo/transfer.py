"""One transfer through the tunnel, watched from outside it.

The western worker sends, the eastern receiver reports how much has arrived; the bar
follows that, and at the end the two hashes are compared, which each side made of what
it had, not of what it was told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from iketcp.demo.director import Director
from iketcp.demo.programme import StepFailed
from iketcp.demo.scenery import EAST, INNER, TRANSFER_PORT, WEST

TRANSFER_SECONDS = 60.0
RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class Result:
    """A transfer that arrived as it was sent."""

    octets: int
    seconds: float
    """From the sender's first octet to the receiver's last."""
    ended: float
    """When the receiver had the last, on the monotonic clock."""
    sha256: str

    @property
    def short_hash(self) -> str:
        """Enough of the hash to recognise it."""
        return f"SHA-256 {self.sha256[:8]}…"


class Transfer:
    """Sends so many octets from west to east; a context manager around its bar.

    Parameters
    ----------
    director : Director
        Who passes the command on and hears the reports.
    console : Console
        Where the bar is drawn.
    octets : int
        How many.
    """

    def __init__(self, director: Director, console: Console, octets: int) -> None:
        self.octets = octets
        self.arrived = 0
        self._director = director
        self._sent_after = 0
        self._received_after = 0
        self._progress = Progress(
            TextColumn("         {task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("west to east", total=octets)

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._director.on_report = lambda report: None

    def start(self) -> None:
        """Begin to send.

        Raises
        ------
        StepFailed
            The sender does not begin.
        """
        director = self._director
        self._received_after = len(director.reports[RECEIVER])
        director.on_report = self._follow
        director.settle()
        self._progress.start()
        self._sent_after = director.command(
            WEST,
            "send",
            target=INNER[EAST][0],
            port=TRANSFER_PORT,
            octets=self.octets,
        )
        self._report(WEST, "sending", self._sent_after)

    def wait_share(self, share: float) -> None:
        """Wait until that share of the octets has arrived.

        Raises
        ------
        StepFailed
            It does not.
        """
        self._director.wait(
            lambda: self.arrived >= share * self.octets,
            "the transfer does not get on",
            TRANSFER_SECONDS,
        )

    def finish(self) -> Result:
        """Wait for the end and compare.

        Raises
        ------
        StepFailed
            It does not end, or the hashes differ.
        """
        received = self._report(RECEIVER, "received", self._received_after)
        sending = self._report(WEST, "sending", self._sent_after)
        self._report(WEST, "sent", self._sent_after)
        self._progress.stop()
        if received["sha256"] != sending["sha256"]:
            raise StepFailed("what arrived is not what was sent: the hashes differ")
        if received["octets"] != self.octets:
            raise StepFailed(f"{received['octets']} of {self.octets} octets arrived")
        ended = float(received["time"])
        seconds = ended - float(sending["time"])
        result = Result(self.octets, seconds, ended, str(received["sha256"]))
        rate = result.octets * 8 / seconds / 1e6
        self._director.say(
            f"received {self.octets / (1 << 20):.0f} MiB in {seconds:.2f} s: "
            f"{rate:.0f} Mbit/s, {result.short_hash} on both sides",
            EAST,
            "bold",
        )
        return result

    def _follow(self, report: Mapping[str, Any]) -> None:
        if report["kind"] in ("receiving", "received"):
            self.arrived = int(report["octets"])
            self._progress.update(self._task, completed=self.arrived)

    def _report(self, name: str, kind: str, after: int) -> Mapping[str, Any]:
        return self._director.wait_report(name, kind, after, TRANSFER_SECONDS)
