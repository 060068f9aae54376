"""Lifetimes: rekeys in time, the end of what was not rekeyed, and silence."""

from dataclasses import replace

import pytest

from iketcp.ike import upkeep
from iketcp.ike.exchanges.create_child_sa import RekeyChild
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteChild,
    DeleteIkeSa,
)
from iketcp.ike.lifetime import Age
from iketcp.ike.policy import IkePolicy, Lifetime
from iketcp.ike.states import ChildState, IkeState
from iketcp.ike.upkeep import LAST_MESSAGE_ID
from pair import EAST, WEST, Pair, ike_policy, ipv4_packet

DAY = Lifetime(seconds=86400.0)


def policy(side: str, child: Lifetime = DAY, **changes: object) -> IkePolicy:
    """The policy of one side with a Child SA lifetime."""
    made = ike_policy(side, **changes)
    children = tuple(replace(c, lifetime=child) for c in made.children)
    return replace(made, children=children)


def established(side: str, child: Lifetime = DAY, **changes: object) -> Pair:
    """A session in which one side has a lifetime of its own."""
    pair = Pair(**{side: policy(side, child, **changes)})
    pair.up()
    return pair


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


@pytest.mark.parametrize("side", [WEST, EAST])
def test_child_sa_is_rekeyed_in_time(side: str) -> None:
    """By the side with the shorter life, early by a random share. RFC 7296 §2.8."""
    moments = set()
    for seed in range(4):
        pair = Pair(
            **{side: policy(side, Lifetime(seconds=100.0, jitter=0.2))}, seed=str(seed)
        )
        pair.up()
        deadline = pair.side(side).endpoint.next_deadline(0.0)
        assert deadline is not None
        assert 80.0 <= deadline < 100.0
        moments.add(deadline)
        pair.advance(deadline - 0.01)
        assert not pair.side(side).traces("child-sa-rekeyed")
        pair.advance(0.01)
        assert len(pair.side(side).traces("child-sa-rekeyed")) == 1
        pair.check_agreement()
        pair.ping()
    assert len(moments) == 4


@pytest.mark.parametrize("side", [WEST, EAST])
@pytest.mark.parametrize(
    "lifetime",
    [Lifetime(packets=40, jitter=0.0), Lifetime(octets=40 * 128, jitter=0.0)],
)
def test_child_sa_is_rekeyed_after_so_much_traffic(
    side: str, lifetime: Lifetime
) -> None:
    """The busier direction counts. RFC 7296 §2.8, RFC 4301 §4.4.2.1."""
    pair = established(side, lifetime)
    for _ in range(10):
        pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1", bytes(100)))
    pair.advance(1.0)
    assert not pair.side(side).traces("child-sa-rekeyed")
    for _ in range(32):
        pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1", bytes(100)))
    pair.settle()
    assert pair.side(side).endpoint.next_deadline(pair.now) == pair.now + 1.0
    pair.advance(1.0)
    assert len(pair.side(side).traces("child-sa-rekeyed")) == 1
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("side", [WEST, EAST])
def test_ike_sa_is_rekeyed_in_time(side: str) -> None:
    """Again and again; the Child SA stays. RFC 7296 §2.8."""
    pair = established(side, lifetime=Lifetime(seconds=100.0, jitter=0.1))
    (child,) = pair.ike(side).children
    for _ in range(30):
        pair.advance(10.0)
        pair.ping()
    assert len(pair.side(side).traces("ike-sa-rekeyed")) == 3
    assert set(pair.ike(side).children) == {child}
    pair.check_agreement()


@pytest.mark.parametrize("side", [WEST, EAST])
def test_ike_sa_that_cannot_be_rekeyed_ends(side: str) -> None:
    """What has expired must not be used. RFC 7296 §2.8."""
    pair = established(side, lifetime=Lifetime(seconds=100.0, grace=0.2))
    sa = pair.ike(side)
    sa.watch.soft_at = None  # as if every attempt had failed
    pair.advance(119.0)
    assert sa.state is IkeState.ESTABLISHED
    pair.begin(side, CheckLiveness())
    held = pair.wire.popleft()
    for _ in range(3):
        pair.advance(1.0)
    assert len(sa.tasks) == 1  # the DELETE waits its turn, once
    pair.wire.append(held)
    pair.settle()
    assert closed_because(pair, side) == "its lifetime is over"
    assert closed_because(pair, pair.other(side)) == "deleted by the peer"


@pytest.mark.parametrize("side", [WEST, EAST])
def test_child_sa_that_cannot_be_rekeyed_ends_the_ike_sa(side: str) -> None:
    """RFC 7296 §2.8."""
    pair = established(side, Lifetime(seconds=100.0, grace=0.2))
    sa = pair.ike(side)
    (child,) = sa.children.values()
    child.watch.soft_at, child.is_rekey_tried = None, True  # and it failed
    pair.advance(121.0)
    assert closed_because(pair, side) == "a Child SA expired before it was rekeyed"


def test_burst_past_both_limits_is_no_end() -> None:
    """Choice: one rekey at the last moment. RFC 7296 §2.8."""
    pair = established(WEST, Lifetime(packets=10, jitter=0.0))
    for _ in range(100):
        pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    pair.settle()
    pair.advance(1.0)
    assert len(pair.west.traces("child-sa-rekeyed")) == 1
    pair.check_agreement()
    pair.ping()


def test_expired_ike_sa_ends_without_a_connection_too() -> None:
    """Nobody can be told. RFC 7296 §2.8."""
    for child, lifetime in ((DAY, Lifetime(seconds=100.0)), (Lifetime(100.0), DAY)):
        pair = established(EAST, child, lifetime=lifetime)
        pair.break_connection(next(iter(pair.open)))
        pair.advance(109.0)
        assert pair.east.endpoint.tables.ike_sas
        pair.advance(2.0)
        assert not pair.east.endpoint.tables.ike_sas
        assert not pair.east.endpoint.tables.children


def test_replaced_child_sa_that_the_peer_never_deletes() -> None:
    """We do, at the end of its life, and once. RFC 7296 §2.8."""
    pair = established(EAST, Lifetime(seconds=100.0, jitter=0.0))
    pair.rekey_child(WEST)
    pair.deliver()
    pair.deliver()
    pair.wire.clear()  # the DELETE is lost
    sa = pair.ike(EAST)
    assert len(sa.children) == 2
    old, new = sa.children.values()
    new.watch.soft_at = new.watch.hard_at = None
    pair.ike(WEST).sent = pair.ike(WEST).exchange = None
    pair.ike(WEST).next_message_id -= 1
    pair.now = 111.0
    east_asks = CheckLiveness()
    sa.want(east_asks)
    for _ in range(3):
        sa.last_heard = pair.now
        pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert len(sa.tasks) == 1
    pair.deliver()
    pair.deliver()
    assert pair.said(EAST)[-1].endswith(f"D(ESP {old.spi_in.hex()})")
    assert not sa.tasks
    pair.settle()
    assert sa.children == {new.spi_in: new}
    pair.ping()


def test_child_sa_being_deleted_is_let_go_in_peace() -> None:
    """Its end of life is no news any more. RFC 7296 §2.8."""
    pair = established(WEST, Lifetime(seconds=50.0, jitter=0.0))
    pair.rekey_child(WEST)
    pair.deliver()
    pair.deliver()  # the DELETE of the old one is under way
    sa = pair.ike(WEST)
    new = list(sa.children.values())[-1]
    new.watch.soft_at = new.watch.hard_at = None
    held = pair.wire.popleft()
    pair.advance(56.0)
    assert sa.state is IkeState.ESTABLISHED
    assert not sa.tasks
    pair.wire.append(held)
    pair.settle()
    pair.check_agreement()


def test_message_ids_do_not_run_out() -> None:
    """The IKE SA is rekeyed before. RFC 7296 §2.2."""
    pair = Pair()
    pair.up()
    for name, other in ((WEST, EAST), (EAST, WEST)):
        pair.ike(name).next_message_id = LAST_MESSAGE_ID + 1
        pair.ike(other).answered.expected = LAST_MESSAGE_ID + 1
        pair.advance(1.0)
        assert pair.ike(name).next_message_id < 5
        pair.check_agreement()
        pair.ping()


# --- silence --------------------------------------------------------------------------


@pytest.mark.parametrize("side", [WEST, EAST])
def test_silent_peer_is_asked_whether_it_lives(side: str) -> None:
    """[9329-6.7-liveness]."""
    pair = established(side, liveness_seconds=30.0)
    count = len(pair.said(side))
    assert pair.side(side).endpoint.next_deadline(pair.now) == 30.0
    pair.advance(29.0)
    assert len(pair.said(side)) == count
    pair.advance(1.0)
    assert len(pair.said(side)) == count + 1
    assert pair.said(side)[-1].endswith("request: ")
    pair.advance(29.0)
    assert len(pair.said(side)) == count + 1
    pair.check_agreement()


@pytest.mark.parametrize("side", [WEST, EAST])
def test_peer_that_is_heard_is_not_asked(side: str) -> None:
    """ESP is a sign of life as good as IKE. RFC 7296 §2.4."""
    pair = established(side, liveness_seconds=30.0)
    count = len(pair.said(side))
    for _ in range(10):
        pair.advance(20.0)
        pair.ping()
    assert len(pair.said(side)) == count


def test_peer_that_does_not_live_is_given_up() -> None:
    """RFC 7296 §2.4, RFC 9329 §6.2."""
    pair = established(WEST, liveness_seconds=30.0)
    pair.advance(0.0)
    pair.now += 30.0
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    pair.wire.clear()
    pair.advance(59.0)
    assert pair.west.endpoint.tables.ike_sas
    pair.advance(1.0)
    assert closed_because(pair, WEST) == "no answer for 60 s"


@pytest.mark.parametrize("side", [WEST, EAST])
def test_nobody_is_asked_without_a_connection(side: str) -> None:
    """State is kept [9329-6.1-keep-state]."""
    pair = established(side, liveness_seconds=30.0)
    pair.break_connection(next(iter(pair.open)))
    for _ in range(30):
        pair.advance(60.0)
    pair.connect()
    pair.settle()
    pair.ping()
    pair.check_agreement()


def test_what_waits_already_is_not_asked_for_again() -> None:
    """Looked at twice before its exchange begins, a Child SA has it once."""
    pair = established(WEST)
    sa = pair.side(WEST).endpoint.tables.sessions()[0].ike
    assert sa is not None
    (child,) = sa.children.values()
    for _ in range(2):
        upkeep.rekey_child(sa, child)
    assert [type(task.exchange) for task in sa.tasks] == [RekeyChild]
    sa.tasks.clear()
    child.state, child.is_rekey_tried = ChildState.REKEYED, True
    for _ in range(2):
        upkeep._check_child(sa, child, Age.HARD)
    assert [type(task.exchange) for task in sa.tasks] == [DeleteChild]
    sa.tasks.clear()
    for _ in range(2):
        upkeep.expire(sa, "it is over")
    assert [type(task.exchange) for task in sa.tasks] == [DeleteIkeSa]
