"""What the pure floors ask of the world: the time and unpredictable octets.

Protocol code never reads a clock and never draws randomness by itself. It is given
``now`` as an argument, in seconds of any steady clock, and an :class:`Entropy` whose
draws are *labelled*: a script can then fix every nonce, SPI and private key by name,
and another implementation need not draw in our order to reproduce a session.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable


class Entropy(Protocol):
    """A source of unpredictable octets."""

    def draw(self, label: str, size: int) -> bytes:
        """Draw ``size`` octets.

        Parameters
        ----------
        label : str
            What the octets are for, such as ``"ike_sa_init.nonce"``.
        size : int
            How many octets.
        """
        ...


@runtime_checkable
class ScriptedEncapsulation(Protocol):
    """An entropy that also says what key encapsulation gives: test vectors only.

    The library draws the randomness of an encapsulation by itself, so a script cannot
    fix it as a draw. One that has this method is asked instead.

    Source: RFC 9370 §2.1
    """

    def encapsulate(
        self, label: str, method: int, encapsulation_key: bytes
    ) -> tuple[bytes, bytes]:
        """Return ciphertext and shared secret (32 octets)."""
        ...


class Clock(Protocol):
    """A steady clock."""

    def now(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...


def no_date() -> datetime:
    """Stand in for the time of day: long ago, so that no certificate is valid yet."""
    return datetime(1970, 1, 1, tzinfo=UTC)


class ScriptedClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        """Seconds, as last set."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move forward and return the new time."""
        self._now += seconds
        return self._now


class ScriptedEntropy:
    """Draws that are the same every time: test vectors and rehearsed sessions only.

    The n-th draw under one label (from 0) is ``fixed[label + "#n"]`` (for n = 0 also
    ``fixed[label]``) where the script names it, and otherwise the first ``size``
    octets of SHAKE256(``seed "|" label "#" n``).

    Parameters
    ----------
    seed : str
        Separates one party or scenario from another.
    fixed : Mapping[str, bytes]
        Draws given by name.
    """

    def __init__(self, seed: str, fixed: Mapping[str, bytes] | None = None) -> None:
        self._seed = seed
        self._fixed = dict(fixed or {})
        self._counts: dict[str, int] = {}

    def draw(self, label: str, size: int) -> bytes:
        """Draw ``size`` octets under ``label``.

        Raises
        ------
        ValueError
            The script fixes this draw with another size.
        """
        count = self._counts.get(label, 0)
        self._counts[label] = count + 1
        name = f"{label}#{count}"
        octets = self._fixed.get(name)
        if octets is None and count == 0:
            octets = self._fixed.get(label)
        if octets is None:
            seed = f"{self._seed}|{name}".encode()
            return hashlib.shake_256(seed).digest(size)
        if len(octets) != size:
            raise ValueError(f"{name}: {len(octets)} octets fixed, {size} drawn")
        return octets


def draw_below(entropy: Entropy, label: str, bound: int) -> int:
    """Draw an integer from 0 to ``bound`` - 1, without bias that matters.

    Eight octets more than ``bound`` needs are drawn, so the bias is under 2^-64.
    """
    size = (bound.bit_length() + 7) // 8 + 8
    return int.from_bytes(entropy.draw(label, size), "big") % bound


def jitter(entropy: Entropy, label: str, seconds: float, fraction: float) -> float:
    """Shorten ``seconds`` by a random share of at most ``fraction`` of it."""
    share = draw_below(entropy, label, 1 << 20) / (1 << 20)
    return seconds * (1.0 - fraction * share)
