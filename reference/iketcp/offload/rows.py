"""Packets of one size as the rows of a matrix, so that one step does for all of them.

Checksums are sums of 16-bit words modulo 2^16 - 1, for which numbers of any size may be
added up first and reduced at the end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iketcp.registry import IpProtocol

Octets = NDArray[np.uint8]
"""One row a packet, one column an octet."""
Numbers = NDArray[np.int64]
"""One number a packet."""

MODULUS = 0xFFFF


def word_sums(rows: Octets) -> Numbers:
    """Sum the 16-bit words of each row; an odd octet is padded with zero.

    Words are added up in the order that is faster on most machines. To swap the octets
    of a sum modulo 2^16 - 1 is to multiply it by 2^8.
    """
    even = rows.shape[1] & ~1
    swapped = rows[:, :even].view("<u2").sum(axis=1, dtype=np.uint32)
    sums: Numbers = swapped.astype(np.int64) << 8
    if even < rows.shape[1]:
        sums += rows[:, even].astype(np.int64) << 8
    return sums


def pseudo_sums(rows: Octets, sizes: Numbers | int) -> Numbers:
    """Sum the pseudo headers of TCP segments of so many octets."""
    addresses = slice(12, 20) if rows[0, 0] >> 4 == 4 else slice(8, 40)
    return word_sums(rows[:, addresses]) + IpProtocol.TCP + sizes


def words_at(rows: Octets, at: int, size: int) -> Numbers:
    """Read a number of 2 or 4 octets from each row."""
    columns = rows[:, at : at + size]
    return columns.view(f">u{size}")[:, 0].astype(np.int64)


def put_words(rows: Octets, at: int, numbers: Numbers | int, size: int = 2) -> None:
    """Write a number into 2 or 4 octets of each row; what is beyond is cut off."""
    columns = rows[:, at : at + size]
    columns.view(f">u{size}")[:, 0] = numbers


__all__ = [
    "MODULUS",
    "Numbers",
    "Octets",
    "pseudo_sums",
    "put_words",
    "word_sums",
    "words_at",
]
