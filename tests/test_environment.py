"""Time and entropy that a script decides."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.environment import (
    ScriptedClock,
    ScriptedEntropy,
    draw_below,
    jitter,
)


class Fixed:
    """An entropy whose every octet is the same."""

    def __init__(self, octet: int) -> None:
        self.octet = octet
        self.drawn: list[tuple[str, int]] = []

    def draw(self, label: str, size: int) -> bytes:
        """Return ``size`` times the octet."""
        self.drawn.append((label, size))
        return bytes([self.octet]) * size


def test_a_scripted_clock_stands_still() -> None:
    """Time passes when the script says so, and by how much."""
    clock = ScriptedClock(10.0)
    assert clock.now() == clock.now() == 10.0
    assert clock.advance(2.5) == clock.now() == 12.5


def test_draws_can_be_recomputed() -> None:
    """A draw is SHAKE256 of seed, label and count, so another language can follow."""
    entropy = ScriptedEntropy("west")
    for count in range(3):
        seed = f"west|nonce#{count}".encode()
        assert entropy.draw("nonce", 40) == hashlib.shake_256(seed).digest(40)


def test_labels_do_not_disturb_each_other() -> None:
    """Draws are labelled, not ordered."""
    one, other = ScriptedEntropy("s"), ScriptedEntropy("s")
    nonce, key = one.draw("nonce", 16), one.draw("key", 16)
    assert (other.draw("key", 16), other.draw("nonce", 16)) == (key, nonce)
    assert nonce != key


def test_seeds_separate_parties() -> None:
    """Two parties of a script never draw the same."""
    assert ScriptedEntropy("a").draw("x", 16) != ScriptedEntropy("b").draw("x", 16)


def test_a_script_fixes_draws_by_name() -> None:
    """The bare label names the first draw; ``#n`` names the n-th."""
    fixed = {"nonce": b"first", "nonce#2": b"third", "key#0": b"a key"}
    entropy, free = ScriptedEntropy("s", fixed), ScriptedEntropy("s")
    draws = [entropy.draw("nonce", 5) for _ in range(3)]
    unnamed = [free.draw("nonce", 5) for _ in range(3)]
    assert draws == [b"first", unnamed[1], b"third"]
    assert entropy.draw("key", 5) == b"a key"


def test_a_draw_of_another_size_is_a_mistake_of_the_script() -> None:
    """The script and the code have to agree on sizes."""
    entropy = ScriptedEntropy("s", {"nonce": b"short"})
    with pytest.raises(ValueError, match=r"nonce#0: 5 octets fixed, 32 drawn"):
        entropy.draw("nonce", 32)


@given(st.integers(1, 1 << 70), st.text(max_size=8))
def test_numbers_stay_below_their_bound(bound: int, seed: str) -> None:
    """``draw_below`` draws from 0 to ``bound`` - 1."""
    assert 0 <= draw_below(ScriptedEntropy(seed), "n", bound) < bound


@pytest.mark.parametrize(("bound", "size"), [(1, 9), (256, 10), (1 << 20, 11)])
def test_numbers_are_drawn_with_room_to_spare(bound: int, size: int) -> None:
    """64 bits more than needed leave no bias that matters."""
    entropy = Fixed(0xFF)
    assert draw_below(entropy, "n", bound) == (256**size - 1) % bound
    assert entropy.drawn == [("n", size)]


def test_jitter_only_shortens() -> None:
    """The least draw leaves the time as it is, the largest takes almost the share."""
    assert jitter(Fixed(0), "j", 100.0, 0.25) == 100.0
    assert 75.0 < jitter(Fixed(0xFF), "j", 100.0, 0.25) < 75.01


@given(st.floats(0, 1e6), st.floats(0, 1), st.text(max_size=4))
def test_jitter_keeps_its_bounds(seconds: float, fraction: float, seed: str) -> None:
    """RFC 7296 §2.8.1 asks for jitter; here it never exceeds its share."""
    result = jitter(ScriptedEntropy(seed), "j", seconds, fraction)
    assert seconds * (1 - fraction) <= result <= seconds
