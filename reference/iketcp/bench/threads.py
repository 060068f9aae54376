"""What a second thread brings: the path of a packet in one thread, then in two at once.

Each thread cuts, seals, opens and joins for a Child SA of its own, so nothing but the
interpreter and the memory is shared. Counted is time on the clock: two threads that did
not hinder each other would do twice as much.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer

from iketcp.bench.codec import OTHER_SPI, SPI, USUAL, child_sa
from iketcp.bench.options import ROUNDS, JsonFile, Rounds
from iketcp.bench.report import Chart, Row, deliver
from iketcp.offload.coalescing import coalesce
from iketcp.offload.segmentation import split_all
from iketcp.offload.vnet_header import NEEDS_CHECKSUM, Gso, VnetHeader
from iketcp.registry import IpProtocol

MSS = 1348
"""Octets of payload in a packet of 1400, TCP options included."""
SEGMENTS = 46
READS = 4
"""Large segments that one batch of the tunnel device brings."""

_HEADERS = 52
_TCP_BEGIN = 20


def large_segments() -> list[bytes]:
    """Make what a TUN device with offloads gives: large segments of one TCP flow."""
    size = _HEADERS + SEGMENTS * MSS
    gso = (NEEDS_CHECKSUM, Gso.TCP_IPV4, _HEADERS, MSS, _TCP_BEGIN, 16)
    head = b"\x45\0" + size.to_bytes(2, "big") + b"\0\0\x40\0"
    head += bytes([64, IpProtocol.TCP, 0, 0]) + b"\x0a\1\0\1" + b"\x0a\2\0\1"
    reads = []
    for number in range(READS):
        sequence = number * SEGMENTS * MSS
        tcp = b"\x10\0\x20\0" + sequence.to_bytes(4, "big") + bytes(4)
        tcp += b"\x80\x10\1\0" + bytes(4) + b"\1\1\x08\x0a" + bytes(8)
        reads.append(VnetHeader(*gso).write() + head + tcp + bytes(SEGMENTS * MSS))
    return reads


def path_of_a_batch() -> Callable[[], int]:
    """Return what one thread does again and again; it returns octets of payload."""
    here = child_sa(USUAL, SPI, OTHER_SPI)
    there = child_sa(USUAL, OTHER_SPI, SPI)
    reads = large_segments()

    def carry() -> int:
        for run in split_all(reads)[0]:
            for sealed in here.seal_runs(run):
                coalesce(there.open_batch(sealed).packets)
        return READS * SEGMENTS * MSS

    return carry


def rate(threads: int, seconds: float) -> float:
    """Return Mbit of payload a second that so many threads carry together."""
    carries = [path_of_a_batch() for _ in range(threads)]
    carried = [carry() for carry in carries]  # what is made on first use is made now
    begin = threading.Barrier(threads + 1)

    def work(at: int) -> None:
        carried[at] = 0
        begin.wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            carried[at] += carries[at]()

    workers = [threading.Thread(target=work, args=(at,)) for at in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    started = time.monotonic()
    for worker in workers:
        worker.join()
    return sum(carried) * 8 / (time.monotonic() - started) / 1e6


def measure(rounds: int, seconds: float) -> Chart:
    """Measure one thread and two, round by round."""
    rows = {1: Row("one thread"), 2: Row("two threads together")}
    for _ in range(rounds):
        for threads, row in rows.items():
            row.figures.append(rate(threads, seconds))
    title = "Cut, sealed, opened and joined, 1400 octets"
    return Chart(title, "Mbit/s", list(rows.values()), "one thread")


def command(
    rounds: Rounds = ROUNDS,
    seconds: Annotated[
        float, typer.Option(min=0.001, help="Length of each measurement.")
    ] = 0.5,
    json_file: JsonFile = None,
) -> None:
    """The path of a packet in one thread, and in two at once."""
    chart = measure(rounds, seconds)
    deliver("threads", [chart], json_file, {"rounds": rounds, "seconds": seconds})


__all__ = ["command", "large_segments", "measure", "path_of_a_batch", "rate"]
