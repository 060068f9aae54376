"""What counts as proof in the demonstration, and what does not."""

from typing import Any

import pytest

from iketcp.demo.evidence import Evidence
from iketcp.demo.programme import Outcome, Programme, StepFailed
from iketcp.demo.scenery import EAST, WEST

SPIS = {"spi_i": "11" * 8, "spi_r": "22" * 8}


def message(
    direction: str,
    is_response: bool = False,
    payloads: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    return {
        "kind": "ike-message",
        "direction": direction,
        "exchange": "INFORMATIONAL",
        "message_id": 3,
        "is_response": is_response,
        "payloads": list(payloads),
        **SPIS,
        **more,
    }


def whole_exchange() -> list[tuple[str, dict[str, Any]]]:
    return [
        (WEST, message("sent")),
        (EAST, message("received")),
        (EAST, message("sent", True)),
        (WEST, message("received", True)),
    ]


def evidence_of(events: list[tuple[str, dict[str, Any]]]) -> Evidence:
    evidence = Evidence()
    for site, event in events:
        evidence.add(site, event)
    return evidence


def test_an_exchange_needs_all_four_ends() -> None:
    """Sent and received, request and response: any three of them prove nothing."""
    events = whole_exchange()
    found = evidence_of(events).exchange(WEST, "EMPTY")
    assert found is not None
    assert found.request is events[0][1]
    assert found.response is events[3][1]
    for missing in range(4):
        rest = events[:missing] + events[missing + 1 :]
        assert evidence_of(rest).exchange(WEST, "EMPTY") is None


def test_an_exchange_has_one_message_id_and_purpose() -> None:
    """A response to something else does not count, nor does another purpose."""
    events = whole_exchange()
    events[3] = (WEST, message("received", True, message_id=4))
    assert evidence_of(events).exchange(WEST, "EMPTY") is None
    assert evidence_of(whole_exchange()).exchange(WEST, "DELETE") is None
    assert evidence_of(whole_exchange()).exchange(EAST, "EMPTY") is None


def test_only_what_comes_after_the_mark_counts() -> None:
    """The exchange before the cut does not prove the one after it."""
    evidence = evidence_of(whole_exchange())
    mark = evidence.mark()
    assert evidence.exchange(WEST, "EMPTY", mark) is None
    for site, event in whole_exchange():
        evidence.add(site, {**event, "message_id": 9})
    found = evidence.exchange(WEST, "EMPTY", mark)
    assert found is not None
    assert found.request["message_id"] == 9


def connection(number: int, port: int, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    west = {"kind": "connection-opened", "connection": number}
    east = {"kind": "connection-opened", "connection": number + 10}
    local = f"192.0.2.1 {port}"
    return [
        (WEST, {**west, "local": local, "is_tcp_originator": True}),
        (EAST, {**east, "remote": local, "is_tcp_originator": False}),
        (WEST, {"kind": "stream-prefix", "direction": "sent", "connection": number}),
        (
            EAST,
            {"kind": "stream-prefix", "direction": prefix, "connection": number + 10},
        ),
    ]


def test_a_connection_needs_its_prefix_on_both_sides() -> None:
    """RFC 9329 §4: sent by one, received by the other, on the same connection."""
    assert evidence_of(connection(1, 4000, "received")).connection() is not None
    assert evidence_of(connection(1, 4000, "sent")).connection() is None
    assert evidence_of(connection(1, 4000, "received")[1:]).connection() is None


def test_a_connection_after_one_that_failed_is_found() -> None:
    """The first try broke before its prefix was read; the second counts."""
    events = connection(1, 4000, "lost") + connection(2, 4001, "received")
    found = evidence_of(events).connection()
    assert found is not None
    assert found["connection"] == 2


def test_keys_agree_if_both_sides_say_the_same() -> None:
    """RFC 7296 §2.14: same SPIs, same suite, same names."""
    keys = {"kind": "ike-keys", **SPIS, "suite": "x", "keys": ["SK_d"]}
    assert evidence_of([(WEST, keys), (EAST, keys)]).agreed_keys() == keys
    assert evidence_of([(WEST, keys)]).agreed_keys() is None
    other = {**keys, "suite": "y"}
    assert evidence_of([(WEST, keys), (EAST, other)]).agreed_keys() is None


def test_an_ike_sa_is_established_on_both_sides() -> None:
    """One side's word is not enough."""
    event = {"kind": "ike-sa-established", **SPIS}
    assert evidence_of([(WEST, event), (EAST, event)]).established() == event
    assert evidence_of([(WEST, event)]).established() is None


@pytest.mark.parametrize("is_mirrored", [True, False])
def test_a_child_sa_mirrors_the_other_sides(is_mirrored: bool) -> None:
    """RFC 7296 §2.17: my outbound SPI is your inbound one, and so is its removal."""
    ours = {"kind": "child-sa-installed", "spi_in": "aa", "spi_out": "bb"}
    theirs = {"kind": "child-sa-installed", "spi_in": "bb", "spi_out": "aa"}
    if not is_mirrored:
        theirs = ours
    evidence = evidence_of([(WEST, ours), (EAST, theirs)])
    assert (evidence.child() is not None) == is_mirrored
    for site, event in ((WEST, ours), (EAST, theirs)):
        assert not evidence.is_removed(ours)
        evidence.add(site, {**event, "kind": "child-sa-removed"})
    assert evidence.is_removed(ours) == is_mirrored


# --- the programme ------------------------------------------------------------------


def programme() -> Programme:
    ticks = iter(range(1000))
    return Programme(now=lambda: float(next(ticks)))


def finish(done: Programme, *keys: str) -> None:
    for key in keys:
        with done.step(key) as step:
            step.evidence = f"saw {key}"


def test_a_programme_is_complete_when_every_step_is() -> None:
    """One step not reached, and the demonstration has not shown what it promises."""
    played = programme()
    keys = list(played.steps)
    finish(played, *keys[:-1])
    assert not played.is_complete
    assert [step.key for step in played.failures] == [keys[-1]]
    finish(played, keys[-1])
    assert played.is_complete
    assert played.failures == []


def test_a_failed_step_says_why_and_comes_first() -> None:
    """The reason goes on its way, and into the table."""
    played = programme()
    with pytest.raises(StepFailed, match="no answer"), played.step("ping"):
        raise StepFailed("no answer")
    assert played.steps["ping"].outcome is Outcome.FAILED
    assert played.failures[0].evidence == "no answer"
    with pytest.raises(ZeroDivisionError), played.step("cut"):
        raise ZeroDivisionError
    assert played.steps["cut"].evidence == "ZeroDivisionError"


def test_an_interrupted_step_is_not_done() -> None:
    """Ctrl-C in a step is neither success nor failure of that step."""
    played = programme()
    with pytest.raises(KeyboardInterrupt), played.step("ping"):
        raise KeyboardInterrupt
    assert played.steps["ping"].outcome is Outcome.INTERRUPTED


def test_the_table_has_a_row_for_every_step() -> None:
    """Also for those that were never reached."""
    played = Programme(has_capture=True, has_namespaces=False)
    assert "capture" in played.steps
    assert "capture" not in programme().steps
    assert played.steps["stage"].title == "Two peers with tunnel devices in memory"
    for is_ascii in (True, False):
        assert played.table(0.0, is_ascii).row_count == len(played.steps)
