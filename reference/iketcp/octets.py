"""Reading and writing big-endian fields, with bounds checked in one place.

A :class:`Reader` walks over octets it does not own and refuses to step past their
end; a :class:`Writer` collects octets and fills in lengths afterwards. Payload code
above this module decides only what fields *mean*.

Source: RFC 7296 §3 (all multi-octet fields are in network order)
"""

from collections.abc import Iterator
from contextlib import contextmanager

from iketcp.errors import MalformedMessageError


class Reader:
    """A bounds-checked walk over ``octets[start:end]``.

    Parameters
    ----------
    octets : bytes
        What to read; never copied as a whole.
    start, end : int
        The half-open range to walk; ``end`` of ``None`` is the end of ``octets``.
    """

    __slots__ = ("_octets", "end", "position")

    def __init__(self, octets: bytes, start: int = 0, end: int | None = None) -> None:
        self._octets = octets
        self.position = start
        self.end = len(octets) if end is None else end

    @property
    def remaining(self) -> int:
        """Octets left to read."""
        return self.end - self.position

    def _step(self, size: int, what: str) -> int:
        """Step over ``size`` octets and return where they begin."""
        start = self.position
        if start + size > self.end:
            raise MalformedMessageError(
                f"{what}: {size} octets announced, {self.remaining} left"
            )
        self.position = start + size
        return start

    def pull(self, size: int, what: str) -> bytes:
        """Take ``size`` octets.

        Raises
        ------
        MalformedMessageError
            Fewer than ``size`` octets remain.
        """
        return self._octets[self._step(size, what) : self.position]

    def pull_rest(self) -> bytes:
        """Take everything that is left."""
        return self.pull(self.remaining, "rest")

    def pull_u8(self, what: str) -> int:
        """Take an 8-bit field."""
        return self.pull(1, what)[0]

    def pull_u16(self, what: str) -> int:
        """Take a 16-bit field."""
        return int.from_bytes(self.pull(2, what), "big")

    def pull_block(self, size: int, what: str) -> "Reader":
        """Take ``size`` octets as a Reader of their own.

        Raises
        ------
        MalformedMessageError
            Fewer than ``size`` octets remain.
        """
        start = self._step(size, what)
        return Reader(self._octets, start, self.position)

    def expect_end(self, what: str) -> None:
        """Refuse octets left over.

        Raises
        ------
        MalformedMessageError
            Something remains.
        """
        if self.remaining:
            raise MalformedMessageError(f"{what}: {self.remaining} octets left over")


class Writer:
    """Collects octets in network order."""

    __slots__ = ("_octets",)

    def __init__(self) -> None:
        self._octets = bytearray()

    def push(self, octets: bytes) -> None:
        """Append octets as they are."""
        self._octets += octets

    def push_u8(self, value: int) -> None:
        """Append an 8-bit field."""
        self._octets.append(value)

    def push_u16(self, value: int) -> None:
        """Append a 16-bit field."""
        self._octets += value.to_bytes(2, "big")

    @contextmanager
    def length_u16(self, counted_before: int = 0) -> Iterator[None]:
        """Reserve a 16-bit length, filled in when the block ends.

        Parameters
        ----------
        counted_before : int
            Octets already written that the length counts too, besides its own two
            and the block's.
        """
        at = len(self._octets)
        self._octets += b"\0\0"
        yield
        size = len(self._octets) - at + counted_before
        self._octets[at : at + 2] = size.to_bytes(2, "big")

    def octets(self) -> bytes:
        """Everything written so far."""
        return bytes(self._octets)
