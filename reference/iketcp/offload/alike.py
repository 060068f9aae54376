"""Many TCP segments of one size looked at together: which go on from the one before.

Most of a transfer comes as long rows of segments that differ in a few octets only. What
:mod:`iketcp.offload.coalescing` asks of one segment after the other is asked here of
all of them in one step each, and with the same answers.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from iketcp.inner import IPV4_HEADER_SIZE
from iketcp.offload.rows import (
    MODULUS,
    Mask,
    Octets,
    PacketRows,
    swapped,
    word_sums,
    words_at,
)
from iketcp.offload.segmentation import ACK, PSH, pseudo_sum

_DONT_FRAGMENT = 0x40


def runs_of(packets: PacketRows, begin: int, end: int) -> list[PacketRows]:
    """Cut a row of packets where one does not go on from the one before.

    Parameters
    ----------
    packets : PacketRows
        The first is a TCP segment that may begin a run.
    begin, end : int
        Where in it the TCP header begins and the payload.

    Returns
    -------
    list of PacketRows
        All of them, in order; empty where one of them may not be in any run, or is of
        another flow, and each has to be looked at by itself.
    """
    rows = packets.octets
    shape, fixed = _masks(begin, end)
    flags = rows[:, begin + 13]
    if (
        rows.shape[1] < fixed.size
        or not shape.are_equal(rows)
        or (flags & ~np.uint8(PSH) != ACK).any()
        or not _are_intact(rows, begin)
    ):
        return []
    cuts = fixed.changes(rows)
    cuts |= (flags[:-1] & PSH) != 0
    sequence = words_at(rows, begin + 4, 4)
    cuts |= sequence[1:] != (sequence[:-1] + rows.shape[1] - end) & 0xFFFFFFFF
    if begin == IPV4_HEADER_SIZE and not rows[0, 6] & _DONT_FRAGMENT:
        number = words_at(rows, 4, 2)
        cuts |= number[1:] != (number[:-1] + 1) & 0xFFFF
    places = (np.flatnonzero(cuts) + 1).tolist()
    return [packets[at:to] for at, to in pairwise([0, *places, len(packets)])]


def _are_intact(rows: Octets, begin: int) -> bool:
    """Verify the checksums of IPv4 and TCP; addresses and lengths are all the same."""
    if begin == IPV4_HEADER_SIZE and (word_sums(rows[:, :begin]) % MODULUS).any():
        return False
    pseudo = pseudo_sum(rows[0, :begin].tobytes(), rows.shape[1] - begin)
    return not ((word_sums(rows[:, begin:]) + swapped(pseudo)) % MODULUS).any()


@lru_cache(maxsize=32)
def _masks(begin: int, end: int) -> tuple[Mask, Mask]:
    """Return the octets that say what a packet is, and those that stay within a run.

    The first are version, lengths, protocol, what tells fragments, addresses, ports and
    TCP's data offset. The second are all others of the headers but those that count up,
    checksums and TCP's flags.
    """
    if begin == IPV4_HEADER_SIZE:
        shape, fixed = [0, 2, 3, 6, 7, 9, *range(12, begin)], [1, 8]
    else:
        shape, fixed = [0, 4, 5, 6, *range(8, begin)], [1, 2, 3, 7]
    shape += [*range(begin, begin + 4), begin + 12]
    acknowledgment, window = range(8, 12), range(14, 16)
    urgent_and_options = range(18, end - begin)
    for part in (acknowledgment, window, urgent_and_options):
        fixed += [begin + at for at in part]
    return Mask(shape), Mask(fixed)


__all__ = ["runs_of"]
