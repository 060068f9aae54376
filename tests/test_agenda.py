"""Appointments: the earliest is found, whatever was moved, and memory stays in step."""

from hypothesis import given
from hypothesis import strategies as st

from iketcp.agenda import FEW, Agenda

MOVES = st.lists(
    st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9)), max_size=60
)


@given(MOVES, st.integers(0, 9))
def test_it_says_what_going_through_all_would_say(
    moves: list[tuple[int, int | None]], now: int
) -> None:
    agenda: Agenda[int] = Agenda()
    wanted: dict[int, float] = {}
    for name, at in moves:
        agenda.put(name, at)
        wanted.pop(name, None)
        if at is not None:
            wanted[name] = at
        assert len(agenda) == len(wanted)
        first = agenda.first()
        if first is None:
            assert not wanted
        else:
            at_first, whose = first
            assert wanted[whose] == at_first == min(wanted.values())
    due = agenda.take(now)
    assert sorted(due) == sorted(name for name, at in wanted.items() if at <= now)
    assert [wanted[name] for name in due] == sorted(wanted[name] for name in due)
    assert len(agenda) == len(wanted) - len(due)
    assert not agenda.take(now)


def test_moving_for_ever_takes_no_more_room() -> None:
    agenda: Agenda[bytes] = Agenda()
    for turn in range(10_000):
        for name in (b"one", b"two"):
            agenda.put(name, float(turn))
        assert len(agenda._heap) <= 2 * len(agenda) + FEW
    agenda.put(b"one", None)
    assert agenda.take(1e9) == [b"two"]


def test_those_who_left_leave_nothing_behind() -> None:
    agenda: Agenda[int] = Agenda()
    for name in range(1000):
        agenda.put(name, float(name))
    for name in range(1000):
        agenda.put(name, None)
    assert len(agenda) == 0
    assert len(agenda._heap) <= FEW
