"""The anti-replay window, and the half of a sequence number that is not sent.

A receiver remembers which of the most recent sequence numbers it has seen and takes
each of them once. The window's right edge is the highest number authenticated so
far; numbers left of the window are too old to be judged and are refused.

As in RFC 6479, where a number is remembered depends on the number alone, so nothing
is shifted when the window moves. There, a ring of blocks of bits is cleared block by
block as the window enters it. Here a slot of the ring holds the low 32 bits of the
*number* last accepted there: a stale slot gives itself away, and nothing is ever
cleared. (One that is stale by 2^32 packets does not, and costs one packet: it takes
2^32 packets of which all those of this slot were lost.) In CPython that costs half as
much as blocks of bits, at any width (4 octets a packet).

With extended sequence numbers only the low 32 of 64 bits travel. The receiver takes
the one number that ends in them and lies in the 2^32 numbers from the window's left
edge onwards; a wrong guess fails the integrity check.

Source: RFC 4303 §3.4.3
Source: RFC 4303 App. A
Source: RFC 6479 §2

Left out: the optional search for the high half after 2^32 packets lost in a row
(RFC 4303 App. A); over TCP such a loss ends with liveness checks long before.
"""

from array import array
from collections.abc import Sequence

MAX_WINDOW = 1 << 20
"""Widest window we keep, in packets (4 MiB of memory)."""

_LOW_MASK = 0xFFFF_FFFF
_END = 1 << 64
_GUESS_WIDTH = 1 << 31


class ReplayWindow:
    """Sequence numbers seen lately.

    Parameters
    ----------
    size : int
        Width in packets, 0 to ``MAX_WINDOW``; 0 turns the service off: every
        number is taken.

    Raises
    ------
    ValueError
        ``size`` is out of range.

    Source: RFC 4303 §3.4.3
    """

    __slots__ = ("_mask", "_slots", "size", "top")

    def __init__(self, size: int) -> None:
        if not 0 <= size <= MAX_WINDOW:
            raise ValueError(f"replay window of {size}: 0 to {MAX_WINDOW} packets")
        self.size = size
        self.top = 0
        slot_count = 1 << max(size - 1, 1).bit_length()
        self._mask = slot_count - 1
        # No number that belongs into a slot is as odd or as even as what is in it now.
        self._slots = array("I", (1, 0)) * (slot_count // 2)

    def check(self, sequence: int) -> bool:
        """Tell whether ``sequence`` may still be accepted; changes nothing.

        Number 0 is never sent, so with the service on it is never accepted.

        Source: RFC 4303 §3.4.3
        """
        top = self.top
        if sequence > top:
            return sequence < _END
        if self.size == 0:
            return sequence >= 0
        return (
            sequence > 0
            and top - sequence < self.size
            and self._slots[sequence & self._mask] != sequence & _LOW_MASK
        )

    def advance(self, sequence: int) -> None:
        """Remember ``sequence``, which passed ``check`` and is now authenticated.

        Source: RFC 4303 §3.4.3
        """
        if sequence > self.top:  # noqa: PLR1730 - in order nearly always; max() is slower
            self.top = sequence
        self._slots[sequence & self._mask] = sequence & _LOW_MASK

    def advance_all(self, sequences: Sequence[int]) -> None:
        """Remember rising numbers, the first of them higher than any before.

        Source: RFC 4303 §3.4.3
        """
        slots, mask = self._slots, self._mask
        for sequence in sequences:
            slots[sequence & mask] = sequence & _LOW_MASK
        self.top = sequences[-1]

    def resume_at(self, top: int) -> None:
        """Begin where another window left off: every number up to ``top`` is seen.

        Source: RFC 4303 §3.4.3
        """
        self.top = top
        for number in range(max(1, top - self.size + 1), top + 1):
            self.advance(number)

    def infer(self, low: int) -> int:
        """Return the 64-bit number whose low 32 bits were received.

        RFC 4303's two cases are one: the left edge B = T - W + 1 may lie in the
        subspace before T's, and the number is the first one from B onwards that
        ends in ``low``. The result may be out of range (negative, or 2^64 and
        more); ``check`` refuses it.

        Choice: with the service off, W is 2^31 here: as far back as forward.

        Source: RFC 4303 App. A
        """
        bottom = self.top - (self.size or _GUESS_WIDTH) + 1
        return bottom + ((low - bottom) & _LOW_MASK)
