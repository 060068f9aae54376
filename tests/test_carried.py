"""What a data plane elsewhere is shown of an endpoint, and what it tells back."""

from dataclasses import replace

from iketcp.endpoint.carried import CarriedChild
from iketcp.esp.child_sa import Usage
from iketcp.ike.policy import Lifetime
from iketcp.xfrm.layout import MessageKind, Request
from iketcp.xfrm.plan import Plan, Renewal, Step
from pair import EAST, WEST, Pair, ike_policy

IF_ID = 1


def carried(pair: Pair, name: str) -> list[CarriedChild]:
    return pair.side(name).endpoint.carried_children()


def kinds(steps: list[Step]) -> list[str]:
    return [
        step.kind.name.lower() if isinstance(step, Request) else "renewal"
        for step in steps
    ]


def test_a_child_sa_is_shown_with_its_connection() -> None:
    pair = Pair()
    assert carried(pair, WEST) == []
    id = pair.up()
    for name, peer in ((WEST, "east.example"), (EAST, "west.example")):
        endpoint = pair.side(name).endpoint
        (child,) = carried(pair, name)
        (live,) = endpoint.tables.children.values()
        assert child.parameters is live.esp.parameters
        assert child.path == endpoint.tables.streams[id].path
        assert peer in child.peer
        assert child.is_sending


def test_without_a_connection_it_has_no_path() -> None:
    pair = Pair()
    pair.break_connection(pair.up())
    (child,) = carried(pair, WEST)
    assert child.path is None


def test_the_picture_follows_the_session_to_its_new_connection() -> None:
    """And the kernel is told of the new ports alone. RFC 9329 §6.1."""
    pair = Pair()
    first = pair.up()
    plans = {name: Plan(IF_ID) for name in (WEST, EAST)}
    for name, plan in plans.items():
        plan.follow(carried(pair, name))
    pair.break_connection(first)
    second = pair.connect()
    pair.settle()
    for name, plan in plans.items():
        (child,) = carried(pair, name)
        assert child.path == pair.side(name).endpoint.tables.streams[second].path
        assert kinds(plan.follow([child])) == ["update_sa"]


def test_another_address_renews_the_sas() -> None:
    pair = Pair()
    first = pair.up()
    plan = Plan(IF_ID)
    plan.follow(carried(pair, EAST))
    pair.break_connection(first)
    pair.connect(address="203.0.113.5")
    pair.settle()
    steps = plan.follow(carried(pair, EAST))
    assert kinds(steps) == ["renewal", "renewal", "update_policy"]
    assert isinstance(steps[0], Renewal)
    assert str(steps[0].new.ends[0]) == "203.0.113.5"


def test_a_rekey_moves_the_outbound_policy_as_user_space_moves() -> None:
    """East answers: it goes on sending on the old one until that is deleted."""
    pair = Pair()
    pair.up()
    plans = {name: Plan(IF_ID) for name in (WEST, EAST)}
    for name, plan in plans.items():
        plan.follow(carried(pair, name))
    pair.rekey_child(WEST)
    pair.deliver()
    old, new = carried(pair, EAST)
    assert [old.is_sending, new.is_sending] == [True, True]
    assert kinds(plans[EAST].follow([old, new])) == ["new_sa", "new_sa"]
    pair.settle()
    gone = [MessageKind.DELETE_SA.name.lower()] * 2
    assert kinds(plans[EAST].follow(carried(pair, EAST))) == ["update_policy", *gone]
    steps = kinds(plans[WEST].follow(carried(pair, WEST)))
    assert steps == ["new_sa", "new_sa", "update_policy", *gone]
    pair.check_agreement()


def test_one_that_has_stopped_sending_only_receives() -> None:
    """What comes first is what is sent on; then what is only let in."""
    pair = Pair()
    pair.up()
    pair.rekey_child(WEST)
    pair.deliver()
    pair.deliver()  # west has both, and has asked for the old one to be deleted
    new, old = carried(pair, WEST)
    assert new.is_sending
    assert not old.is_sending


def test_one_whose_keys_are_gone_is_not_shown() -> None:
    pair = Pair()
    pair.up()
    (live,) = pair.west.endpoint.tables.children.values()
    live.esp.forget_keys()
    assert carried(pair, WEST) == []


def test_one_that_is_being_removed_is_not_shown() -> None:
    """It leaves the table first, and the order of preference a moment later."""
    pair = Pair()
    pair.up()
    pair.west.endpoint.tables.children.clear()
    assert carried(pair, WEST) == []


def test_a_session_without_an_ike_sa_is_shown_all_the_same() -> None:
    """Another thread may end it while we look."""
    pair = Pair()
    pair.up()
    (live,) = pair.west.endpoint.tables.children.values()
    live.session.peer, live.session.ike = "", None
    (child,) = carried(pair, WEST)
    assert child.peer == ""


# --- what it tells back ---------------------------------------------------------------


def test_what_was_carried_elsewhere_counts_towards_the_lifetime() -> None:
    policy = ike_policy(WEST)
    (child,) = policy.children
    limited = replace(child, lifetime=Lifetime(seconds=None, octets=1000, jitter=0.0))
    pair = Pair(west=replace(policy, children=(limited,)))
    pair.up()
    ((spi_in, live),) = pair.west.endpoint.tables.children.items()
    pair.west.endpoint.counted_elsewhere(spi_in, Usage(3, 300, 2, 200), pair.now)
    assert (live.esp.used_octets, live.esp.used_packets) == (300, 3)
    assert live.esp.counters.octets_out == 200
    pair.advance(1.0)
    assert spi_in in pair.west.endpoint.tables.children
    pair.west.endpoint.counted_elsewhere(spi_in, Usage(3, 300, 9, 1050), pair.now)
    pair.advance(1.0)
    assert spi_in not in pair.west.endpoint.tables.children
    pair.check_agreement()


def test_what_came_in_elsewhere_is_a_sign_of_life() -> None:
    """No liveness check while the kernel hears the peer. RFC 7296 §2.4."""
    pair = Pair(west=replace(ike_policy(WEST), liveness_seconds=10.0))
    pair.up()
    ((spi_in, _),) = pair.west.endpoint.tables.children.items()
    before = len(pair.said(WEST))
    for number in range(1, 6):
        pair.advance(8.0)
        usage = Usage(number, number * 100, 0, 0)
        pair.west.endpoint.counted_elsewhere(spi_in, usage, pair.now)
    assert len(pair.said(WEST)) == before
    # the same figures again are no news
    usage = Usage(5, 500, 0, 0)
    pair.west.endpoint.counted_elsewhere(spi_in, usage, pair.now + 5.0)
    pair.advance(11.0)
    assert len(pair.said(WEST)) == before + 1


def test_what_came_in_elsewhere_ends_a_deferral() -> None:
    """The peer receives on a Child SA that it sends on. RFC 7296 §2.8."""
    pair = Pair()
    pair.up()
    pair.rekey_child(WEST)
    pair.deliver()
    old, new = carried(pair, EAST)
    spi_in = new.parameters.spi_in
    pair.east.endpoint.counted_elsewhere(spi_in, Usage(0, 0, 0, 0), pair.now)
    assert carried(pair, EAST) == [old, new]
    pair.east.endpoint.counted_elsewhere(spi_in, Usage(1, 84, 0, 0), pair.now)
    assert carried(pair, EAST) == [new, old]


def test_figures_of_what_is_gone_are_no_matter() -> None:
    pair = Pair()
    pair.up()
    pair.west.endpoint.counted_elsewhere(b"gone", Usage(1, 84, 0, 0), pair.now)
    ((spi_in, live),) = pair.west.endpoint.tables.children.items()
    live.session.ike = None
    pair.west.endpoint.counted_elsewhere(spi_in, Usage(1, 84, 0, 0), pair.now)
    assert live.esp.counters.packets_in == 1
