"""The anti-replay window and extended sequence numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.esp.replay import MAX_WINDOW, ReplayWindow

END = 1 << 64


class NaiveWindow:
    """RFC 4303 §3.4.3 as a set of every number ever accepted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.top = 0
        self.seen: set[int] = set()

    def check(self, sequence: int) -> bool:
        if self.size == 0:
            return 0 <= sequence < END
        is_right_of_left_edge = sequence > self.top - self.size
        is_number = 0 < sequence < END
        return is_number and is_right_of_left_edge and sequence not in self.seen

    def advance(self, sequence: int) -> None:
        self.seen.add(sequence)
        self.top = max(self.top, sequence)


def inferred_by_cases(top: int, width: int, low: int) -> int:
    """RFC 4303 App. A2.2, case A and case B as they are written."""
    top_high, top_low = divmod(top, 1 << 32)
    bottom_low = (top_low - width + 1) % (1 << 32)
    if top_low >= width - 1:
        high = top_high if low >= bottom_low else top_high + 1
    else:
        high = top_high - 1 if low >= bottom_low else top_high
    return (high << 32) + low


@given(
    size=st.integers(0, 70),
    start=st.sampled_from([0, 2**32 - 40, 2**32, 2**63, END - 60]),
    steps=st.lists(st.integers(-90, 90), max_size=60),
)
def test_window_agrees_with_a_set_of_all_numbers(
    size: int, start: int, steps: list[int]
) -> None:
    """RFC 4303 §3.4.3, RFC 6479 §2: the ring forgets nothing it must know."""
    window, naive = ReplayWindow(size), NaiveWindow(size)
    sequence = start
    for step in steps:
        sequence += step
        verdict = naive.check(sequence)
        assert window.check(sequence) is verdict
        if verdict:
            window.advance(sequence)
            naive.advance(sequence)
            assert window.top == naive.top


@pytest.mark.parametrize("size", [1, 2, 3, 32, 64, 1000, 1024])
def test_window_has_exactly_its_width(size: int) -> None:
    """RFC 4303 App. A2.1: W = T - B + 1, for widths that are no power of two too."""
    window = ReplayWindow(size)
    window.advance(5000)
    assert not window.check(5000)
    assert window.check(5000 - size + 1) is (size > 1)
    assert not window.check(5000 - size)


def test_number_zero_is_never_accepted() -> None:
    """RFC 4303 §2.2: the first number is 1."""
    window = ReplayWindow(64)
    assert not window.check(0)
    assert window.check(1)


def test_check_changes_nothing() -> None:
    """RFC 4303 §3.4.3: the window moves only after the integrity check."""
    window = ReplayWindow(64)
    assert window.check(9)
    assert window.check(9)
    assert window.top == 0


def test_window_off_takes_everything() -> None:
    """RFC 4303 §3.4.3: without the service no number is checked."""
    window = ReplayWindow(0)
    window.advance(7)
    assert window.check(7)
    assert window.check(0)
    assert not window.check(-1)
    assert not window.check(END)


@pytest.mark.parametrize("size", [-1, MAX_WINDOW + 1])
def test_window_of_no_such_size(size: int) -> None:
    with pytest.raises(ValueError, match="replay window"):
        ReplayWindow(size)


def near(subspace: int, distance: int) -> int:
    """A number near the beginning of a subspace."""
    return max(subspace * 2**32 + distance, 0)


@given(
    top=st.one_of(
        st.integers(0, END - 1),
        st.builds(
            lambda n, d: max(n * 2**32 + d, 0),
            st.integers(0, 3),
            st.integers(-2000, 2000),
        ),
    ),
    size=st.sampled_from([1, 32, 64, 1024, MAX_WINDOW]),
    low=st.integers(0, 2**32 - 1),
)
def test_inference_is_that_of_the_appendix(top: int, size: int, low: int) -> None:
    """RFC 4303 App. A2.2: one expression for case A and case B."""
    window = ReplayWindow(size)
    window.advance(top)
    assert window.infer(low) == inferred_by_cases(top, size, low)


def test_inference_across_the_end_of_a_subspace() -> None:
    """RFC 4303 App. A2.2: forward into the next 2^32, and late ones back again."""
    window = ReplayWindow(64)
    window.advance(2**32 - 2)
    assert window.infer(2**32 - 1) == 2**32 - 1
    assert window.infer(0) == 2**32
    window.advance(2**32 + 5)
    assert window.infer(2**32 - 1) == 2**32 - 1
    assert window.infer(6) == 2**32 + 6


def test_inference_below_the_first_and_beyond_the_last_number() -> None:
    """RFC 4303 App. A2.2: a high half of -1 or of 2^32 is refused."""
    window = ReplayWindow(64)
    window.advance(5)
    assert window.infer(2**32 - 1) == -1
    assert not window.check(-1)
    window = ReplayWindow(64)
    window.advance(END - 1)
    assert window.infer(0) == END
    assert not window.check(END)


def test_inference_with_the_window_off_looks_both_ways() -> None:
    """Choice: 2^31 numbers back and forward."""
    window = ReplayWindow(0)
    window.advance(2**32)
    assert window.infer(2**32 - 1) == 2**32 - 1
    assert window.infer(1) == 2**32 + 1


@pytest.mark.parametrize("size", [0, 1, 64])
def test_a_window_goes_on_where_another_left_off(size: int) -> None:
    """RFC 4303 §3.4.3: all up to the highest number are seen, the next one is not."""
    window = ReplayWindow(size)
    window.resume_at(100)
    assert window.check(101)
    assert window.check(100) == window.check(37) == (size == 0)
    assert window.infer(101) == 101
