"""What the kernel is told when Child SAs come, move, are rekeyed and go."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from iketcp.endpoint.carried import CarriedChild
from iketcp.xfrm.layout import AttributeKind, MessageKind, Request
from iketcp.xfrm.plan import MAX_SELECTORS, Plan, Renewal, Step
from xfrm_parts import IF_ID, attributes, child, path

ELSEWHERE = path(local_port=50000)
OTHER_ADDRESS = path("203.0.113.9", 50000)

NAMES = {
    MessageKind.NEW_SA: "new",
    MessageKind.UPDATE_SA: "update",
    MessageKind.DELETE_SA: "delete",
    MessageKind.UPDATE_POLICY: "policy",
    MessageKind.DELETE_POLICY: "no policy",
}
DIRECTIONS = ("in", "out", "fwd")


def told(steps: Sequence[Step]) -> list[str]:
    """Each step in a word or two: what, and which SPI or direction."""
    words = []
    for step in steps:
        if isinstance(step, Renewal):
            assert step.old.spi == step.new.spi
            words.append(f"renew {step.new.spi.hex()}")
        elif step.kind is MessageKind.NEW_SA or step.kind is MessageKind.UPDATE_SA:
            words.append(f"{NAMES[step.kind]} {step.body[72:76].hex()}")
        elif step.kind is MessageKind.DELETE_SA:
            words.append(f"delete {step.body[16:20].hex()}")
        else:
            words.append(f"{NAMES[step.kind]} {direction_of(step)}")
    return words


def direction_of(step: Request) -> str:
    at = 160 if step.kind is MessageKind.UPDATE_POLICY else 60
    return DIRECTIONS[step.body[at]]


def template_of(step: Step) -> bytes:
    assert isinstance(step, Request)
    return attributes(step.body, 168)[AttributeKind.TMPL]


def reqid_of(step: Step) -> int:
    """Of a new SA, or of the template of a policy."""
    assert isinstance(step, Request)
    if step.kind is MessageKind.NEW_SA:
        return int.from_bytes(step.body[208:212], "little")
    return int.from_bytes(template_of(step)[44:48], "little")


FIRST, SECOND = child(1), child(2)
IN_1, OUT_1 = "a0000001", "b0000001"
IN_2, OUT_2 = "a0000002", "b0000002"


def test_a_child_sa_comes_and_goes() -> None:
    """SAs before the policies that ask for them, and after those are gone."""
    plan = Plan(IF_ID)
    assert told(plan.follow([FIRST])) == [
        f"new {IN_1}",
        f"new {OUT_1}",
        "policy in",
        "policy fwd",
        "policy out",
    ]
    assert set(plan.sas) == {bytes.fromhex(IN_1)}
    assert plan.follow([FIRST]) == []
    assert told(plan.follow([])) == [
        "no policy in",
        "no policy fwd",
        "no policy out",
        f"delete {OUT_1}",
        f"delete {IN_1}",
    ]
    assert not plan.sas
    assert plan.follow([]) == []


def test_policies_ask_for_the_sa_by_its_spi_and_let_in_by_the_reqid() -> None:
    plan = Plan(IF_ID)
    _, new, policy_in, forward, out = plan.follow([FIRST])
    template = template_of(out)
    assert template[16:20].hex() == OUT_1
    assert template[:4] == ELSEWHERE.remote_address.packed
    assert template[28:32] == ELSEWHERE.local_address.packed
    for step in (policy_in, forward):
        assert template_of(step)[:20] == bytes(20)
        assert template_of(step)[28:44] == bytes(16)
        assert reqid_of(step) == reqid_of(new) == reqid_of(out) == 1


def test_a_child_sa_without_a_connection_waits_for_one() -> None:
    plan = Plan(IF_ID)
    assert plan.follow([child(1, None)]) == []
    assert told(plan.follow([FIRST]))[:2] == [f"new {IN_1}", f"new {OUT_1}"]
    assert plan.follow([child(1, None)]) == []


def test_a_rekey_moves_what_is_sent_and_lets_both_in() -> None:
    """The successor shares the reqid, so only the outbound policy changes."""
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    steps = plan.follow([SECOND, FIRST])
    assert told(steps) == [f"new {IN_2}", f"new {OUT_2}", "policy out"]
    assert [reqid_of(step) for step in steps] == [1, 1, 1]
    assert told(plan.follow([SECOND])) == [f"delete {OUT_1}", f"delete {IN_1}"]


def test_a_deferred_successor_is_sent_on_when_the_old_one_stops() -> None:
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    assert told(plan.follow([FIRST, SECOND])) == [f"new {IN_2}", f"new {OUT_2}"]
    stopped = replace(FIRST, is_sending=False)
    assert told(plan.follow([SECOND, stopped])) == ["policy out"]
    assert told(plan.follow([SECOND])) == [f"delete {OUT_1}", f"delete {IN_1}"]


def test_one_that_only_receives_has_no_outbound_policy() -> None:
    plan = Plan(IF_ID)
    steps = plan.follow([replace(FIRST, is_sending=False)])
    assert told(steps)[2:] == ["policy in", "policy fwd"]
    assert told(plan.follow([FIRST])) == ["policy out"]


def test_a_new_connection_from_the_same_address_updates_the_ports() -> None:
    """What comes in is taken from any connection; the policies stay."""
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    (step,) = plan.follow([child(1, ELSEWHERE)])
    assert isinstance(step, Request)
    assert told([step]) == [f"update {OUT_1}"]
    encapsulation = attributes(step.body, 224)[AttributeKind.ENCAP]
    assert encapsulation[:6] == bytes.fromhex("0700c3501194")
    assert plan.follow([child(1, ELSEWHERE)]) == []
    (inbound, outbound) = plan.sas[bytes.fromhex(IN_1)]
    assert inbound.path == outbound.path == ELSEWHERE


def test_another_address_makes_the_sas_anew() -> None:
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    steps = plan.follow([child(1, OTHER_ADDRESS)])
    assert told(steps) == [f"renew {IN_1}", f"renew {OUT_1}", "policy out"]
    inbound, outbound, policy = steps
    assert isinstance(inbound, Renewal)
    assert isinstance(outbound, Renewal)
    assert inbound.old.ends == (ELSEWHERE.remote_address, ELSEWHERE.local_address)
    assert inbound.new.ends[1] == OTHER_ADDRESS.local_address
    assert outbound.new.ends[0] == OTHER_ADDRESS.local_address
    assert template_of(policy)[28:32] == OTHER_ADDRESS.local_address.packed


def test_sequence_numbers_go_on_where_they_stood() -> None:
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    step = plan.follow([child(1, OTHER_ADDRESS)])[1]
    assert isinstance(step, Renewal)
    numbers = bytes(range(32))
    made = attributes(step.new.new(numbers).body, 224)
    assert made[AttributeKind.REPLAY_ESN_VAL] == numbers


def test_other_peers_and_other_selectors_have_their_own_reqid() -> None:
    """Or one peer could send in another's name. RFC 4301 §5.2."""
    plan = Plan(IF_ID)
    others: list[CarriedChild] = [
        FIRST,
        child(2, peer="@other.example", remote=("10.9.0.0/24",)),
        child(3, remote=("10.3.0.0/24",)),
    ]
    steps = plan.follow(others)
    reqids = [reqid_of(step) for step in steps if told([step])[0].startswith("new")]
    assert reqids == [1, 1, 2, 2, 3, 3]
    # a number that nobody has any more is not given to somebody else
    plan.follow([FIRST])
    assert reqid_of(plan.follow([FIRST, others[1]])[0]) == 4


def test_a_selector_of_two_peers_is_for_the_first() -> None:
    plan = Plan(IF_ID)
    plan.follow([FIRST])
    newer = child(2, peer="@other.example")
    steps = plan.follow([newer, FIRST])
    assert told(steps)[2:] == ["policy in", "policy fwd", "policy out"]
    assert {reqid_of(step) for step in steps} == {2}
    assert told(plan.follow([FIRST]))[:3] == ["policy in", "policy fwd", "policy out"]


def test_too_many_networks_are_refused_once() -> None:
    """A peer may narrow to anything; that must not fill the kernel."""
    fine = tuple(f"10.{a}.{b}.1" for a in range(2) for b in range(32))
    plan = Plan(IF_ID)
    too_fine = child(1, local=fine, remote=fine)
    assert len(fine) ** 2 > MAX_SELECTORS
    assert plan.follow([too_fine]) == []
    assert plan.too_fine == ["net"]
    assert plan.follow([too_fine]) == []
    assert plan.too_fine == ["net"]
    assert plan.follow([]) == []
    plan.follow([too_fine])
    assert plan.too_fine == ["net", "net"]


@pytest.mark.parametrize("window", [0, 1024])
def test_a_whole_range_is_one_policy_each_way(window: int) -> None:
    made = child(1, local=("0.0.0.0/0", "::/0"), remote=("0.0.0.0/0", "::/0"))
    made = replace(made, parameters=replace(made.parameters, replay_window=window))
    assert len(Plan(IF_ID).follow([made])) == 2 + 6
