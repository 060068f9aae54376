"""The state tables: complete, cited, and the only way to another state."""

import ast
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from iketcp.ike import states
from iketcp.ike.states import (
    CHILD_TRANSITIONS,
    IKE_TRANSITIONS,
    ChildEvent,
    ChildState,
    IkeEvent,
    IkeState,
    next_child_state,
    next_ike_state,
)

PACKAGE = Path(states.__file__).parent.parent

Table = Mapping[tuple[Any, Any], Any]

TABLES = [
    pytest.param(
        IKE_TRANSITIONS, IkeState.CREATED, IkeState.CLOSED, IkeEvent, id="IKE SA"
    ),
    pytest.param(
        CHILD_TRANSITIONS,
        ChildState.INSTALLED,
        ChildState.REMOVED,
        ChildEvent,
        id="Child SA",
    ),
]
every_table = pytest.mark.parametrize(("table", "first", "last", "events"), TABLES)


def reachable(table: Table, start: Enum) -> set[Enum]:
    """Every state that some sequence of events leads to."""
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        following = {to for (origin, _), to in table.items() if origin is state}
        waiting += following - found
        found |= following
    return found


@every_table
def test_every_state_can_be_reached(
    table: Table, first: Enum, last: Enum, events: type[Enum]
) -> None:
    """RFC 7296 §1.2, §2.25.1: no state stands in the table for nothing."""
    assert reachable(table, first) == set(type(first))


@every_table
def test_every_state_can_end(
    table: Table, first: Enum, last: Enum, events: type[Enum]
) -> None:
    """RFC 7296 §2.21, §1.4.1: at once, whatever is under way."""
    (end,) = {event for (_, event), to in table.items() if to is last}
    for state in type(first):
        assert ((state, end) in table) is (state is not last)


@every_table
def test_nothing_follows_the_end(
    table: Table, first: Enum, last: Enum, events: type[Enum]
) -> None:
    """RFC 7296 §1.4.1: what is deleted never comes back."""
    assert not [event for state, event in table if state is last]


@every_table
def test_every_event_has_a_row(
    table: Table, first: Enum, last: Enum, events: type[Enum]
) -> None:
    """No event that could never happen."""
    assert {event for _, event in table} == set(events)


def test_every_row_cites_its_section() -> None:
    """RFC 7296, RFC 9329: each transition follows from some section."""
    text = Path(states.__file__).read_text(encoding="utf-8")
    rows = re.findall(r"^    \(_[IC]\..*$", text, re.M)
    assert len(rows) == len(IKE_TRANSITIONS) + len(CHILD_TRANSITIONS)
    assert [row for row in rows if not re.search(r"# RFC \d+ §\d[\d.]*$", row)] == []


@pytest.mark.parametrize("event", IkeEvent)
@pytest.mark.parametrize("state", IkeState)
def test_looking_an_ike_sa_up(state: IkeState, event: IkeEvent) -> None:
    """An event without a row is a mistake of the caller's, never ignored."""
    if (state, event) in IKE_TRANSITIONS:
        assert next_ike_state(state, event) is IKE_TRANSITIONS[state, event]
    else:
        with pytest.raises(LookupError):
            next_ike_state(state, event)


@pytest.mark.parametrize("event", ChildEvent)
@pytest.mark.parametrize("state", ChildState)
def test_looking_a_child_sa_up(state: ChildState, event: ChildEvent) -> None:
    """An event without a row is a mistake of the caller's, never ignored."""
    if (state, event) in CHILD_TRANSITIONS:
        assert next_child_state(state, event) is CHILD_TRANSITIONS[state, event]
    else:
        with pytest.raises(LookupError):
            next_child_state(state, event)


def test_an_ike_sa_is_established_by_authentication_only() -> None:
    """RFC 7296 §2.15, §2.18: no other way leads there."""
    up = IkeState.ESTABLISHED
    ways = {event for (_, event), to in IKE_TRANSITIONS.items() if to is up}
    assert ways == {IkeEvent.AUTHENTICATE}


def test_a_deletion_is_the_last_thing_asked_for() -> None:
    """RFC 7296 §2.8: DELETE is the last request sent over an IKE SA."""
    left = {e for s, e in IKE_TRANSITIONS if s is IkeState.DELETE_SENT}
    assert left == {IkeEvent.CLOSE}


def assignments_of_state(tree: ast.Module) -> list[tuple[str, int]]:
    """Function and line of every assignment to an attribute called ``state``."""
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            is_stored = isinstance(node, ast.Attribute) and isinstance(
                node.ctx, ast.Store | ast.Del
            )
            if is_stored and node.attr == "state":
                found.append((function.name, node.lineno))
            is_setattr = isinstance(node, ast.Call) and (
                getattr(node.func, "id", "") == "setattr"
                or getattr(node.func, "attr", "") == "__setattr__"
            )
            if is_setattr and any(
                isinstance(argument, ast.Constant) and argument.value == "state"
                for argument in node.args
            ):
                found.append((function.name, node.lineno))
    return found


def test_nothing_else_changes_a_state() -> None:
    """Every change of state goes through ``transition``, so through the tables."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(PACKAGE).as_posix()
        found |= {(place, function) for function, _ in assignments_of_state(tree)}
    assert found == {
        ("ike/child_record.py", "__init__"),
        ("ike/child_record.py", "transition"),
        ("ike/sa.py", "transition"),  # that of a new one is the default of its field
    }


@pytest.mark.parametrize(
    "statement",
    [
        "sa.state = 1",
        "sa.state: int = 1",
        "a, sa.state = 1, 2",
        "setattr(sa, 'state', 1)",
    ],
)
def test_a_hidden_change_would_be_found(statement: str) -> None:
    """The check above can fail."""
    tree = ast.parse(f"def on_response(sa):\n    {statement}\n")
    assert assignments_of_state(tree) == [("on_response", 2)]
