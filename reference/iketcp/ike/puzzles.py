"""Client puzzles: work that an initiator does before a loaded responder does any.

The responder names a prf, a string and a number of zero bits; the initiator looks for
four different keys under which the prf of the string ends in that many zero bits.
Finding them costs about four times two to that number of prf calls, checking them costs
four.

Source: RFC 8019 §7.1.3
Source: RFC 8019 §8.1
Source: RFC 8019 §8.2
"""

from dataclasses import dataclass

from iketcp.crypto.prf import PRFS, Prf
from iketcp.errors import MalformedMessageError

KEYS = 4
"""Keys in a solution. Source: RFC 8019 §7.1.3."""

KEY_SIZE = 4
"""Choice: octets of each key we try; 1 to the prf's key size are allowed."""

HARDEST = 18
"""Choice: zero bits we are willing to look for, about a second of work."""

PATIENCE = 16
"""Choice: we give up after so many times two to the zero bits, four times the keys that
it takes on average. That happens to one puzzle in ten thousand."""

FREE_DIFFICULTY = 8
"""Choice: zero bits we offer where the responder leaves it to us, and accept where we
do."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """What a PUZZLE notification asks for. Source: RFC 8019 §8.1."""

    prf: int
    """Transform ID of the prf, 16 bits."""
    difficulty: int
    """Zero bits at the end of each result, 8 bits; 0 leaves it to the initiator."""

    def encode(self) -> bytes:
        """Return prf and difficulty, 3 octets."""
        return self.prf.to_bytes(2, "big") + bytes([self.difficulty])

    @classmethod
    def decode(cls, data: bytes) -> "Puzzle":
        """Read them.

        Raises
        ------
        MalformedMessageError
            Not 3 octets.
        """
        if len(data) != 3:
            raise MalformedMessageError(f"PUZZLE of {len(data)} octets")
        return cls(int.from_bytes(data[:2], "big"), data[2])

    @property
    def wanted(self) -> int:
        """Zero bits to look for, and to be content with. Source: RFC 8019 §7.1.1.1."""
        return self.difficulty or FREE_DIFFICULTY

    @property
    def is_solvable(self) -> bool:
        """Whether we know the prf and are willing to do the work."""
        return self.prf in PRFS and self.difficulty <= HARDEST


def zero_bits(octets: bytes) -> int:
    """Count the zero bits at the end, the last octet's lowest bit first."""
    number = int.from_bytes(octets, "big")
    if number == 0:
        return 8 * len(octets)
    return (number & -number).bit_length() - 1


def solve(puzzle: Puzzle, string: bytes) -> bytes | None:
    """Find four different keys, or give up.

    Choice: keys are counted up from 0, so that a solution can be repeated. The work is
    bounded: at most ``PATIENCE`` times two to the zero bits.

    Parameters
    ----------
    string : bytes
        The content of the COOKIE notification; in IKE_AUTH ``Nr | SPIr``.

    Returns
    -------
    bytes or None
        Puzzle Solution Data: four keys of ``KEY_SIZE`` octets. None: we are not willing
        to begin, or did not find them.

    Source: RFC 8019 §7.1.2, RFC 8019 §7.1.3
    """
    if not puzzle.is_solvable:
        return None
    prf = PRFS[puzzle.prf]
    keys: list[bytes] = []
    for number in range(PATIENCE << puzzle.wanted):
        key = number.to_bytes(KEY_SIZE, "big")
        if zero_bits(prf.prf(key, string)) >= puzzle.wanted:
            keys.append(key)
            if len(keys) == KEYS:
                return b"".join(keys)
    return None


def solved_bits(prf: Prf, string: bytes, solution: bytes) -> int:
    """Return how many zero bits a solution reaches: the smallest of its four.

    Raises
    ------
    MalformedMessageError
        Not four different keys of one size that the prf takes.

    Source: RFC 8019 §7.1.4, RFC 8019 §8.2
    """
    size, rest = divmod(len(solution), KEYS)
    if rest or not 1 <= size <= prf.key_size:
        raise MalformedMessageError(f"puzzle solution of {len(solution)} octets")
    keys = {solution[i : i + size] for i in range(0, len(solution), size)}
    if len(keys) != KEYS:
        raise MalformedMessageError("puzzle solution with equal keys")
    return min(zero_bits(prf.prf(key, string)) for key in keys)
