"""How long it takes to find a Child SA among few and among very many.

A packet from the tunnel is looked for by its addresses, an ESP packet by its SPI. A
packet of a flow that was seen lately is found without the Traffic Selectors.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import cycle

from iketcp.bench.crowd import TARGET, inner_packet
from iketcp.bench.report import Chart, Row
from iketcp.child_sa import ChildSaParameters
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.spd import CACHE_SIZE, OutboundSpd
from iketcp.ike.keywords import parse_esp_proposal
from iketcp.ike.negotiation import suite_of
from iketcp.net.system import SystemEntropy
from iketcp.selectors import TrafficSelector

SIZES = (10, 100, 1000, 10_000)
"""Child SAs in the tables."""

TIMES = 20_000
"""Look-ups in a round."""

FLOWS = 2 * CACHE_SIZE
"""So many are met in turn that none is remembered until it is met again."""

FIRST = IPv4Address("10.64.0.1")
"""Address of the first peer; the others follow it."""


def chart(rounds: int, times: int = TIMES) -> Chart:
    """Look into tables of every size, and lay out what that took."""
    rows = [_row(size, rounds, times) for size in SIZES]
    return Chart("Finding a Child SA", "µs, new flow", rows)


def _row(size: int, rounds: int, times: int) -> Row:
    spd, by_spi = tables(size)
    peer = FIRST + size // 2
    new = cycle([inner_packet(TARGET + n, peer, 40) for n in range(FLOWS)])
    known = inner_packet(TARGET, peer, 40)
    spi = (size // 2).to_bytes(4, "big")
    row = Row(f"among {size}")
    for _ in range(rounds):
        row.figures.append(_microseconds(lambda: spd.lookup(next(new)), times))
        for heading, act in (
            ("µs, known flow", lambda: spd.lookup(known)),
            ("µs, by SPI", lambda: by_spi.get(spi)),
        ):
            took = _microseconds(act, times)
            row.further.setdefault(heading, []).append(took)
    return row


def _microseconds(act: Callable[[], object], times: int) -> float:
    return timeit.timeit(act, number=times) / times * 1e6


def tables(size: int) -> tuple[OutboundSpd, dict[bytes, ChildSa]]:
    """Make what a responder has with so many peers, each with an address of its own."""
    suite = suite_of(parse_esp_proposal("aes256gcm16-noesn"))
    key = bytes(suite.cipher.key_size)
    here = (TrafficSelector.parse("10.1.0.0/16"),)
    spd, by_spi, entropy = OutboundSpd(), {}, SystemEntropy()
    for number in range(size):
        there = (TrafficSelector.parse(str(FIRST + number)),)
        spi = number.to_bytes(4, "big")
        parameters = ChildSaParameters(
            "net", spi, spi, suite, key, b"", key, b"", here, there, replay_window=0
        )
        by_spi[spi] = ChildSa(parameters, entropy)
        spd.add(by_spi[spi])
    return spd, by_spi


__all__ = ["SIZES", "chart", "tables"]
