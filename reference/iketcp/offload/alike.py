"""Many TCP segments of one size looked at together: which go on from the one before.

Most of a transfer comes as long rows of segments that differ in a few octets only. What
:mod:`iketcp.offload.coalescing` asks of one segment after the other is asked here of
all of them in one step each, and with the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iketcp.inner import IPV4_HEADER_SIZE
from iketcp.offload.rows import MODULUS, Octets, pseudo_sums, word_sums, words_at
from iketcp.offload.segmentation import ACK, PSH

_DONT_FRAGMENT = 0x40


def runs_of(packets: Sequence[bytes], begin: int, end: int) -> list[Sequence[bytes]]:
    """Cut a row of packets where one does not go on from the one before.

    Parameters
    ----------
    packets : sequence of bytes
        All of one flow and one size; the first is a TCP segment that may begin a run.
    begin, end : int
        Where in it the TCP header begins and the payload.

    Returns
    -------
    list
        All of them, in order; empty where one of them may not be in any run, and each
        has to be looked at by itself.
    """
    octets = np.frombuffer(b"".join(packets), np.uint8)
    rows: Octets = octets.reshape(len(packets), -1)
    shape, fixed = _columns(begin, end)
    flags = rows[:, begin + 13] & ~np.uint8(PSH)
    is_each_a_segment = (rows[:, shape] == rows[0, shape]).all()
    if not is_each_a_segment or (flags != ACK).any() or not _are_intact(rows, begin):
        return []
    goes_on = (rows[1:, fixed] == rows[:-1, fixed]).all(axis=1)
    goes_on &= (rows[:-1, begin + 13] & PSH) == 0
    sequence = words_at(rows, begin + 4, 4)
    goes_on &= sequence[1:] == (sequence[:-1] + rows.shape[1] - end) & 0xFFFFFFFF
    if begin == IPV4_HEADER_SIZE and not packets[0][6] & _DONT_FRAGMENT:
        number = words_at(rows, 4, 2)
        goes_on &= number[1:] == (number[:-1] + 1) & 0xFFFF
    cuts = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(packets)]
    return [packets[at:until] for at, until in pairwise(cuts)]


def _are_intact(rows: Octets, begin: int) -> bool:
    """Verify the checksums of IPv4 and TCP."""
    totals = word_sums(rows[:, begin:]) + pseudo_sums(rows, rows.shape[1] - begin)
    if begin == IPV4_HEADER_SIZE:
        is_right = not (word_sums(rows[:, :begin]) % MODULUS).any()
        return is_right and not (totals % MODULUS).any()
    return not (totals % MODULUS).any()


@lru_cache(maxsize=32)
def _columns(begin: int, end: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the octets that say what a packet is, and those that stay within a run.

    The first are version, lengths, protocol, what tells fragments, and TCP's data
    offset. The second are all others of the headers but those that count up, checksums
    and TCP's flags.
    """
    if begin == IPV4_HEADER_SIZE:
        shape, fixed = [0, 2, 3, 6, 7, 9], [1, 8, *range(12, begin)]
    else:
        shape, fixed = [0, 4, 5, 6], [1, 2, 3, *range(7, begin)]
    shape += [begin + 12]
    ports, acknowledgment, window = range(4), range(8, 12), range(14, 16)
    urgent_and_options = range(18, end - begin)
    for part in (ports, acknowledgment, window, urgent_and_options):
        fixed += [begin + at for at in part]
    return np.array(shape), np.array(fixed)


__all__ = ["runs_of"]
