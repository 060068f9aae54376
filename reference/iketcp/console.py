"""What the commands that run for long have in common: exit codes, and where events go.

Source: RFC 7296 §2.4 (what there is to tell)
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from iketcp.config import LogConfig
    from iketcp.peers.sinks import Sink

FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130


@contextlib.contextmanager
def open_sinks(options: LogConfig, trace: str | None) -> Iterator[list[Sink]]:
    """Open the log, and a file for the trace; "-" is standard output.

    Raises
    ------
    EnvironmentProblem
        One of them cannot be written.
    """
    import logging

    from iketcp.errors import EnvironmentProblem
    from iketcp.peers.sinks import JsonLines, LogLines

    with contextlib.ExitStack() as stack:
        try:
            log: TextIO = sys.stderr
            if options.file is not None:
                log = _open(stack, options.file, "a")
            sinks: list[Sink] = []
            if options.format == "json":
                sinks.append(JsonLines(log))
            else:
                logger = logging.getLogger("iketcp")
                logger.setLevel(options.level.upper())
                handler = logging.StreamHandler(log)
                form = "%(asctime)s %(levelname)s %(message)s"
                handler.setFormatter(logging.Formatter(form))
                logger.addHandler(handler)
                stack.callback(logger.removeHandler, handler)
                sinks.append(LogLines(logger))
            if trace is not None:
                # stdout under a number of its own: closing it at the end is ours.
                target = os.dup(1) if trace == "-" else trace
                sinks.append(JsonLines(_open(stack, target, "w")))
        except OSError as error:
            raise EnvironmentProblem(f"cannot write the log: {error}") from error
        yield sinks


def _open(
    stack: contextlib.ExitStack, file: str | Path | int, mode: Literal["a", "w"]
) -> TextIO:
    """Open a file to write; that its reader goes away is no reason to complain."""
    stream = open(file, mode, encoding="utf-8")  # noqa: SIM115  (the stack closes it)

    def close() -> None:
        with contextlib.suppress(OSError):
            stream.close()

    stack.callback(close)
    return stream
