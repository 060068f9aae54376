"""Packets of one size as the rows of a matrix, so that one step does for all of them.

Checksums are sums of 16-bit words modulo 2^16 - 1, for which numbers of any size may be
added up first and reduced at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from iketcp.inner import checksum

Octets = NDArray[np.uint8]
"""One row a packet, one column an octet."""
Numbers = NDArray[np.int64]
"""One number a packet."""
Sums = NDArray[np.uint32]
"""One sum of words a packet, their octets swapped."""

MODULUS = 0xFFFF
LONG = 512
"""Choice: octets from which on numpy is faster than one large number."""


class PacketRows(Sequence[bytes]):
    """Packets of one size: a sequence of ``bytes`` for whoever takes them one by one.

    Parameters
    ----------
    octets : Octets
        One row a packet. It belongs to the sequence from now on: nobody changes it.
    """

    __slots__ = ("octets",)

    def __init__(self, octets: Octets) -> None:
        self.octets = octets

    @classmethod
    def of(cls, packets: Sequence[bytes]) -> PacketRows:
        """Lay packets of one size under each other."""
        octets = np.frombuffer(b"".join(packets), np.uint8)
        return cls(octets.reshape(len(packets), -1))

    @property
    def size(self) -> int:
        """Octets of each packet."""
        width: int = self.octets.shape[1]
        return width

    def __len__(self) -> int:
        return len(self.octets)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> PacketRows: ...
    def __getitem__(self, at: int | slice) -> bytes | PacketRows:
        if isinstance(at, slice):
            return PacketRows(self.octets[at])
        packet: bytes = self.octets[at].tobytes()
        return packet

    def __eq__(self, other: object) -> bool:
        """Compare packet by packet, with any other sequence."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} packets of {self.size} octets)"


def word_sums(rows: Octets) -> Sums:
    """Sum the 16-bit words of each row; an odd octet is padded with zero.

    Words are added up with their octets swapped, in the order that is faster on most
    machines, and so is a checksum written (:func:`put_checksums`): modulo 2^16 - 1 to
    swap the octets of a number is to multiply it by 2^8.
    """
    even = rows.shape[1] & ~1
    sums: Sums = rows[:, :even].view("<u2").sum(axis=1, dtype=np.uint32)
    if even < rows.shape[1]:
        sums += rows[:, even]
    return sums


def swapped(number: int) -> int:
    """Swap the octets of a number modulo 2^16 - 1."""
    return (number << 8) % MODULUS


def put_checksums(rows: Octets, at: int, sums: Sums | int) -> None:
    """Write the complement of a sum with swapped octets into 16 bits of each row."""
    # for 32 bits: 2^32 - 1 is a multiple of 2^16 - 1
    rows[:, at : at + 2].view("<u2")[:, 0] = ~sums % MODULUS


def long_checksum(octets: bytes) -> int:
    """Compute what :func:`iketcp.inner.checksum` does, faster where there are many."""
    if len(octets) < LONG:
        return checksum(octets)
    sums = word_sums(np.frombuffer(octets, np.uint8).reshape(1, -1))
    return -swapped(int(sums[0])) % MODULUS


class Mask:
    """Some of the first octets of each row, to be compared with those of other rows.

    Parameters
    ----------
    octets : iterable of int
        Which ones; the rows have at least as many as the last one says, rounded up to
        eight.
    """

    def __init__(self, octets: Iterable[int]) -> None:
        chosen = list(octets)
        bits = np.zeros((max(chosen) | 7) + 1, np.uint8)
        bits[chosen] = 0xFF
        self.size = len(bits)
        self._bits = bits.view(np.uint64)

    def are_equal(self, rows: Octets) -> bool:
        """Tell whether they are the same in all rows."""
        words = rows[:, : self.size].view(np.uint64)
        return not ((words ^ words[0]) & self._bits).any()

    def changes(self, rows: Octets) -> NDArray[np.bool_]:
        """Tell of each row but the first whether they differ from the row before."""
        words = rows[:, : self.size].view(np.uint64)
        differing = (words[1:] ^ words[:-1]) & self._bits
        changed: NDArray[np.bool_] = np.any(differing, axis=1)
        return changed


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
    "Mask",
    "Numbers",
    "Octets",
    "PacketRows",
    "Sums",
    "long_checksum",
    "put_checksums",
    "put_words",
    "swapped",
    "word_sums",
    "words_at",
]
