"""A bounded queue in which flows take turns.

What the machine sends into a tunnel faster than the tunnel carries it has to wait, and
where all wait in one line, an echo request stands behind everything that a bulk
transfer has in flight. Here each flow has a line of its own. A flow that had nothing
waiting goes first, and then all take turns by octets, so that a small packet waits for
a turn of each busy flow at most. Packets of one flow never change places.

When there is no room, the flow that has most waiting loses its oldest packet: it is the
one that should send less, and of the oldest its sender learns soonest.

The order is that of "deficit round robin" with precedence for new flows, as in Linux's
fq_codel.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

DEFAULT_LIMIT = 1 << 19
"""Choice: octets; some milliseconds of what a tunnel carries. With half of it a bulk
transfer is slower, with twice as much an echo beside it."""

QUANTUM = 1 << 14
"""Choice: octets of one turn; one that takes more waits longer for its next."""

MAX_FLOWS = 256
"""Choice: of all flows beyond so many together, the packets stand in one line."""

_MANY = b"\0"
_octets = attrgetter("octets")


class _Line:
    """What waits of one flow."""

    __slots__ = ("credit", "key", "octets", "packets")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.packets: deque[bytes] = deque()
        self.octets = 0
        self.credit = QUANTUM


class FairQueue:
    """Packets of many flows; for one thread.

    Parameters
    ----------
    limit : int
        Octets that may wait.

    Attributes
    ----------
    octets : int
        Octets that wait.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.octets = 0
        self._limit = limit
        self._lines: dict[bytes, _Line] = {}
        self._new: deque[_Line] = deque()
        self._old: deque[_Line] = deque()

    def __bool__(self) -> bool:
        return self.octets > 0

    def put(self, packet: bytes, flow: bytes) -> int:
        """Add a packet behind those of its flow.

        Parameters
        ----------
        packet : bytes
            Anything but nothing.
        flow : bytes
            What its flow has in common.

        Returns
        -------
        int
            How many packets had to go for it.
        """
        line = self._lines.get(flow) or self._begin(flow)
        line.packets.append(packet)
        line.octets += len(packet)
        self.octets += len(packet)
        return self._make_room() if self.octets > self._limit else 0

    def take(self) -> bytes | None:
        """Take the packet whose turn it is; ``None`` if none is left."""
        while lines := self._new or self._old:
            line = lines[0]
            if line.credit <= 0:
                line.credit += QUANTUM
                self._old.append(lines.popleft())
            elif line.packets:
                packet = self._shorten(line)
                line.credit -= len(packet)
                return packet
            elif lines is self._new and self._old:
                # Or a flow that has one packet at a time would be new each time.
                self._old.append(lines.popleft())
            else:
                del self._lines[lines.popleft().key]
        return None

    def _begin(self, flow: bytes) -> _Line:
        """Make a line, or find the one for what has none of its own."""
        if len(self._lines) >= MAX_FLOWS:
            flow = _MANY
            if flow in self._lines:
                return self._lines[flow]
        line = self._lines[flow] = _Line(flow)
        self._new.append(line)
        return line

    def _shorten(self, line: _Line) -> bytes:
        """Remove a line's oldest packet."""
        packet = line.packets.popleft()
        line.octets -= len(packet)
        self.octets -= len(packet)
        return packet

    def _make_room(self) -> int:
        """Drop packets until the limit is kept; returns how many."""
        count = 0
        while self.octets > self._limit:
            self._shorten(max(self._lines.values(), key=_octets))
            count += 1
        return count


__all__ = ["DEFAULT_LIMIT", "MAX_FLOWS", "QUANTUM", "FairQueue"]
