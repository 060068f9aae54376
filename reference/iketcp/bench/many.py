"""Many peers: what one more costs a responder that holds very many already.

Initiators come one after the other and stay (:mod:`iketcp.bench.crowd`); each sends one
packet of 1,400 octets. What they added to the responder's memory, threads and
descriptors is divided by their number, so that the program itself does not count. Then
nothing happens for a while, and the processor time of that is counted, too.

How long it takes to find an SA is measured on the tables alone
(:mod:`iketcp.bench.lookups`), for these may be larger than one machine has room for
connections.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from iketcp.bench import lookups
from iketcp.bench.crowd import Crowd, Host, host
from iketcp.bench.options import ROUNDS, JsonFile, Rounds
from iketcp.bench.report import Chart, Row, deliver
from iketcp.errors import EnvironmentProblem
from iketcp.net.system import raise_descriptor_limit

WARM = 10
"""So many come before anything is measured: what the first needs, all others share."""

PACKET_OCTETS = 1400

GONE_SECONDS = 20.0
"""A responder that still holds something then has kept it."""

WRAPPINGS = {"TCP": False, "TLS": True}


@dataclass(frozen=True, slots=True)
class Held:
    """What a responder needed for each that it held."""

    kibibytes: float
    """Resident memory."""
    threads: float
    descriptors: float
    coming_milliseconds: float
    """Processor time of the responder for a handshake when the last ones came."""
    idle_percent: float
    """Of one processor, for all of them, while nothing happened."""
    status_milliseconds: float
    """Until ``iketcp status`` has its answer about all of them."""


def measure(count: int, is_tls: bool, idle_seconds: float) -> Held:
    """Let so many come, stay for a while, and leave.

    Raises
    ------
    EnvironmentProblem
        The responder does not start, does not let them in, or keeps what they left.
    """
    raise_descriptor_limit()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="iketcp-"))
        responder, configuration = stack.enter_context(host(Path(folder), is_tls))
        crowd = stack.enter_context(Crowd(configuration))
        crowd.grow(WARM, PACKET_OCTETS)
        before = _needs(responder)
        last = -(-count // 10)
        crowd.grow(WARM + count - last, PACKET_OCTETS)
        began = responder.cpu_seconds()
        crowd.grow(WARM + count, PACKET_OCTETS)
        coming = (responder.cpu_seconds() - began) / last
        began = responder.cpu_seconds()
        time.sleep(idle_seconds)
        idle = (responder.cpu_seconds() - began) / idle_seconds
        after = _needs(responder)
        memory, threads, descriptors = (
            (b - a) / count for a, b in zip(before, after, strict=True)
        )
        asked = time.monotonic()
        responder.status()
        status = time.monotonic() - asked
        crowd.leave()
        _wait_until_gone(responder)
        return Held(
            memory / 1024, threads, descriptors, coming * 1e3, idle * 1e2, status * 1e3
        )


def _needs(responder: Host) -> tuple[int, int, int]:
    return responder.memory(), responder.threads(), responder.descriptors()


def _wait_until_gone(responder: Host) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while (left := _left(responder.status())) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        raise EnvironmentProblem(f"all have left, and the responder keeps {left}")


def _left(status: dict[str, list[object]]) -> str:
    counts = {
        kind: len(status[kind]) for kind in ("ike_sas", "child_sas", "connections")
    }
    return ", ".join(f"{count} of {kind}" for kind, count in counts.items() if count)


def held_chart(
    counts: Sequence[int], idle_seconds: float, rounds: int, wrappings: Sequence[str]
) -> Chart:
    """Measure responders that hold so many, and lay out what each needed."""
    rows = [
        _held_row(wrapping, count, idle_seconds, rounds)
        for wrapping in wrappings
        for count in counts
    ]
    return Chart(
        "One responder, for each IKE SA with its Child SA", "KiB resident", rows
    )


def _held_row(wrapping: str, count: int, idle_seconds: float, rounds: int) -> Row:
    row = Row(f"{wrapping}, {count} IKE SAs")
    for _ in range(rounds):
        try:
            held = measure(count, WRAPPINGS[wrapping], idle_seconds)
        except EnvironmentProblem as error:
            row.problem = str(error)
            break
        row.figures.append(held.kibibytes)
        for heading, figure in (
            ("threads", held.threads),
            ("descriptors", held.descriptors),
            ("handshake CPU ms", held.coming_milliseconds),
            ("idle CPU %, all", held.idle_percent),
            ("status ms, all", held.status_milliseconds),
        ):
            row.further.setdefault(heading, []).append(figure)
    return row


def command(
    rounds: Rounds = ROUNDS,
    count: Annotated[
        list[int] | None,
        typer.Option(min=10, help="IKE SAs held at once; may be repeated."),
    ] = None,
    idle: Annotated[float, typer.Option(min=0.5, help="Seconds without events.")] = 5.0,
    json_file: JsonFile = None,
) -> None:
    """Hold many IKE SAs: memory, threads, look-ups; needs no root."""
    counts = count or [100, 1000]
    charts = [held_chart(counts, idle, rounds, list(WRAPPINGS)), lookups.chart(rounds)]
    settings = {"counts": counts, "idle_seconds": idle, "rounds": rounds}
    deliver("many", charts, json_file, settings)


__all__ = ["Held", "command", "held_chart", "measure"]
