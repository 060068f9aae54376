"""``--pcap``: what crossed the wire, and what it takes to read it.

Next to the capture itself stand the key files in a folder that Wireshark takes as its
configuration, and a second capture with the same messages in UDP, because a Wireshark
that does not know the IKETCP stream can decrypt those.
"""

from pathlib import Path
from typing import BinaryIO

from iketcp.capture.pcapng import PcapngError
from iketcp.capture.rewrap import rewrap
from iketcp.demo.director import Director
from iketcp.demo.programme import Step, StepFailed
from iketcp.errors import EnvironmentProblem
from iketcp.keylog import ESP_TABLE, IKE_TABLE
from iketcp.stream import MessageKind

ESP_SHOWN = 2000
"""ESP packets of each SA that the second capture holds; the first has all."""

_PREFERENCES = (
    "esp.enable_encryption_decode: TRUE\nesp.enable_authentication_check: TRUE\n"
)


class Recording:
    """The files of one capture.

    Parameters
    ----------
    path : Path
        The capture; the other names follow from it.

    Raises
    ------
    EnvironmentProblem
        A file or folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = path.with_name(path.name + ".keys")
        self.as_udp = path.with_name(
            path.stem + ".udp4500" + (path.suffix or ".pcapng")
        )
        try:
            self.keys.mkdir(mode=0o700, exist_ok=True)
            for table in (IKE_TABLE, ESP_TABLE):
                (self.keys / table).unlink(missing_ok=True)
            (self.keys / "preferences").write_text(_PREFERENCES)
            self._file: BinaryIO = path.open("wb", buffering=0)
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot write the capture {path}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Close the capture; idempotent."""
        self._file.close()

    def start(self, director: Director) -> None:
        """Begin to capture; every packet from now on counts.

        Raises
        ------
        StepFailed
            The capturing process does not begin.
        """
        director.start_wire(self._file.fileno())
        director.wait_report("wire", "capturing")

    def finish(self, director: Director, step: Step) -> None:
        """End the capture, write the second one and say how to open it.

        Raises
        ------
        StepFailed
            There are no messages in it, or no keys.
        """
        report = director.stop_wire()
        try:
            written = rewrap(self.path, self.as_udp, esp_limit=ESP_SHOWN)
        except (OSError, PcapngError) as error:
            raise StepFailed(f"the capture cannot be read: {error}") from error
        for table in (IKE_TABLE, ESP_TABLE):
            if not (self.keys / table).is_file():
                raise StepFailed(f"no keys in {self.keys / table}")
        if not written[MessageKind.IKE] or not written[MessageKind.ESP]:
            raise StepFailed(f"no messages in {self.path}")
        missed = report["dropped"]
        step.evidence = (
            f"{report['packets']} packets, {missed} missed, "
            f"{written[MessageKind.IKE]} IKE messages"
        )
        director.say(f"{self.path}: everything that crossed the wire")
        director.say(
            f"{self.as_udp}: the same IKE messages and the first ESP packets of each "
            "SA in UDP, which Wireshark can decrypt:"
        )
        director.say(
            f"WIRESHARK_CONFIG_DIR={self.keys} wireshark {self.as_udp}", style="cyan"
        )
