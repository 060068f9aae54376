"""Exchanges that cross on the way, in every order of delivery."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from iketcp.ike.engine import RETRY_SECONDS, TROUBLE_SECONDS
from iketcp.ike.exchanges.create_child_sa import CreateChild, RekeyChild
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteChild,
    DeleteIkeSa,
)
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.payloads import NotifyPayload
from iketcp.ike.policy import Lifetime
from iketcp.ike.sa import REPLACED_SECONDS
from iketcp.ike.states import ChildState, IkeState
from iketcp.registry import ExchangeType, NotifyType, ProtocolId
from pair import EAST, WEST, Pair, child_policy, ike_policy, ipv4_packet

ORDERS = ["".join(order) for order in product("we", repeat=6)]
"""Who is delivered from next, six times; then whatever waits longest."""

SEEDS = range(12)
"""Enough for each of the four nonces to be the lowest in turn (see below)."""


def established(seed: object = "") -> Pair:
    """Make a pair with one IKE SA and one Child SA."""
    pair = Pair(seed=str(seed))
    pair.up()
    pair.ping()
    return pair


def deliver(pair: Pair, order: str) -> None:
    """Deliver in an order; the messages of one side keep theirs, as over TCP."""
    for sender in order:
        pair.deliver_from(WEST if sender == "w" else EAST)
    pair.settle()


def keep_talking(pair: Pair) -> Iterator[tuple[str, bytes]]:
    """Let both sides send a packet, which has to arrive whatever else goes on."""
    for name in (WEST, EAST):
        ends = ("10.0.1.1", "10.0.2.1")
        source, target = ends if name == WEST else ends[::-1]
        packet = ipv4_packet(source, target, b"%d" % len(pair.sent))
        pair.send(name, packet)
        yield pair.other(name), packet


@pytest.mark.parametrize("order", ORDERS)
def test_both_rekey_the_child_sa_at_once(order: str) -> None:
    """One Child SA is left, the same on both sides. RFC 7296 §2.8.1."""
    pair = established(order)
    pair.rekey_child(WEST)
    pair.rekey_child(EAST)
    deliver(pair, order)
    pair.ping()
    pair.check_agreement()


@pytest.mark.parametrize("order", ORDERS)
def test_both_rekey_the_ike_sa_at_once(order: str) -> None:
    """One IKE SA is left, and it has inherited the Child SA. RFC 7296 §2.8.2."""
    pair = established(order)
    pair.rekey_ike(WEST)
    pair.rekey_ike(EAST)
    deliver(pair, order)
    pair.ping()
    pair.check_agreement()


@pytest.mark.parametrize("name", [WEST, EAST])
def test_the_answer_to_an_ike_rekey_is_lost_with_its_connection(name: str) -> None:
    """Who answered begins nothing on the new IKE SA before the other knows it.

    It shows itself on the old one instead. RFC 7296 §2.8, RFC 9329 §6.2.
    """
    pair = established(name)
    spi = pair.ike(WEST).spi_i
    pair.rekey_ike(name)
    pair.deliver_from(name)
    pair.break_connection(next(iter(pair.open)))
    pair.connect()
    pair.settle()
    pair.ping()
    pair.check_agreement()
    assert pair.ike(WEST).spi_i != spi
    for side in (pair.west, pair.east):
        assert side.endpoint.counters.dropped == {}


@pytest.mark.parametrize("kind", [RekeyChild, CreateChild])
def test_a_new_child_sa_is_rekeyed_before_the_answer_about_it_comes(kind: type) -> None:
    """Who asked for it does not have it yet, and puts the rekey off. RFC 7296 §2.25."""
    pair = established()
    children = 1
    if kind is RekeyChild:
        pair.rekey_child(EAST)
    else:
        pair.begin(EAST, CreateChild(pair.ike(EAST).policy.children[0]))
        children = 2
    pair.deliver_from(EAST)
    (*_, new) = pair.ike(WEST).children.values()
    pair.begin(WEST, RekeyChild(new))
    pair.break_connection(next(iter(pair.open)))
    pair.connect()
    pair.settle()
    assert "TEMPORARY_FAILURE" in str(pair.said(EAST))
    pair.advance(RETRY_SECONDS)
    pair.ping()
    pair.check_agreement(children)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [WEST, EAST])
def test_answers_to_crossing_ike_rekeys_are_lost(name: str, seed: int) -> None:
    """Whichever nonce is the lowest, one IKE SA is left. RFC 7296 §2.8.2.

    One that only its responder has is waited for in vain, but not for ever.
    """
    pair = established(seed)
    pair.rekey_ike(WEST)
    pair.rekey_ike(EAST)
    pair.deliver_from(name)
    pair.break_connection(next(iter(pair.open)))
    pair.connect()
    pair.settle()
    pair.ping()
    pair.advance(REPLACED_SECONDS)
    pair.ping()
    pair.check_agreement()


def test_what_waits_for_the_new_ike_sa_waits_for_the_peer_to_know_it() -> None:
    """The deletion of the old one shows it; so does its end. RFC 7296 §2.8."""
    pair = established()
    pair.rekey_ike(WEST)
    pair.deliver_from(WEST)
    (_, heir) = (sa for sa, _ in pair.east.endpoint.tables.ike_sas.values())
    heir.want(CheckLiveness())
    pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert heir.sent is None
    assert heir.next_task_time() is None
    pair.settle()
    assert "INFORMATIONAL 0 request: " in pair.said(EAST)
    pair.check_agreement()


@pytest.mark.parametrize("kind", [RekeyChild, RekeyIkeSa])
def test_lowest_of_four_nonces_makes_its_sa_redundant(kind: type) -> None:
    """Its SA goes, whichever of the four it is. RFC 7296 §2.8.1, §2.8.2."""
    lowest_seen = set()
    for seed in SEEDS:
        pair = established(seed)
        nonces: dict[str, bytes] = {}
        if kind is RekeyChild:
            pair.rekey_child(WEST)
            pair.rekey_child(EAST)
        else:
            pair.rekey_ike(WEST)
            pair.rekey_ike(EAST)

        def note(
            header: object, payloads: tuple[object, ...], sender: str, seen: dict
        ) -> None:
            nonce = next((p.nonce for p in payloads if hasattr(p, "nonce")), None)
            if nonce is not None:
                kind = "Nr" if header.is_response else "Ni"
                seen[f"{sender} {kind}"] = nonce

        for sender in (WEST, EAST, WEST, EAST):
            pair.rewrite(sender, lambda h, p, s=sender, n=nonces: note(h, p, s, n))
            pair.deliver_from(sender)
        pair.tap = None
        pair.settle()
        assert len(nonces) == 4
        lowest = min(nonces, key=nonces.__getitem__)
        lowest_seen.add(lowest)
        # west's exchange has west's Ni and east's Nr
        loser = WEST if lowest in (f"{WEST} Ni", f"{EAST} Nr") else EAST
        if kind is RekeyIkeSa:
            assert pair.ike(loser).is_original_initiator is False
        else:
            assert len(pair.side(loser).traces("simultaneous-rekey")) == 1
        pair.ping()
        pair.check_agreement()
    assert len(lowest_seen) == 4


@pytest.mark.parametrize("order", ORDERS)
def test_child_rekey_crosses_ike_rekey(order: str) -> None:
    """Both are put off, and both done later. RFC 7296 §2.25.1, §2.25.2."""
    pair = established(order)
    (old,) = pair.ike(WEST).children
    spi = pair.ike(WEST).spi_i
    pair.rekey_child(WEST)
    pair.rekey_ike(EAST)
    deliver(pair, order)
    pair.ping()
    for _ in range(60):
        pair.advance(0.5)
    pair.ping()
    pair.check_agreement()
    assert pair.ike(WEST).spi_i != spi
    assert old not in pair.ike(WEST).children


@pytest.mark.parametrize("order", ORDERS)
def test_deleting_a_child_crosses_its_rekey(order: str) -> None:
    """The deletion wins; the rekey finds nothing. RFC 7296 §2.25.1."""
    pair = established(order)
    (spi_in,) = pair.ike(WEST).children
    pair.begin(WEST, DeleteChild(spi_in))
    pair.rekey_child(EAST)
    deliver(pair, order)
    pair.advance(15.0)
    pair.check_agreement(children=pair_children(pair))


def pair_children(pair: Pair) -> int:
    """One if the rekey was answered before the deletion was asked for, else none."""
    return len(pair.ike(WEST).children)


def test_rekey_of_a_child_being_deleted_is_put_off() -> None:
    """TEMPORARY_FAILURE, and no second attempt once it is gone. RFC 7296 §2.25.1."""
    pair = established()
    (spi_in,) = pair.ike(WEST).children
    pair.begin(WEST, DeleteChild(spi_in))
    pair.rekey_child(EAST)
    pair.settle()
    assert any("TEMPORARY_FAILURE" in line for line in pair.said(WEST))
    pair.advance(15.0)
    pair.check_agreement(children=0)


@pytest.mark.parametrize("order", ORDERS[:16])
def test_deletes_of_one_child_cross(order: str) -> None:
    """Neither answer names the Child SA again. RFC 7296 §1.4.1."""
    pair = established(order)
    for name in (WEST, EAST):
        (spi_in,) = pair.ike(name).children
        pair.begin(name, DeleteChild(spi_in))
    deliver(pair, order)
    pair.check_agreement(children=0)
    for name in (WEST, EAST):
        assert pair.said(name)[-1].endswith("response: ")


@pytest.mark.parametrize("order", ORDERS[:16])
def test_deletes_of_the_ike_sa_cross(order: str) -> None:
    """Each answers, and forgets its own request. RFC 7296 §2.25.2."""
    pair = established(order)
    for name in (WEST, EAST):
        pair.begin(name, DeleteIkeSa())
    deliver(pair, order)
    pair.check_closed()


@pytest.mark.parametrize("order", ORDERS)
def test_deleting_the_ike_sa_crosses_its_rekey(order: str) -> None:
    """It ends, and the rekey with it. RFC 7296 §2.25.2."""
    pair = established(order)
    pair.begin(WEST, DeleteIkeSa())
    pair.rekey_ike(EAST)
    deliver(pair, order)
    pair.check_closed()


def test_a_peer_that_did_not_notice_gets_temporary_failure_for_a_child() -> None:
    """§2.8.1, second sequence: req1 comes when the other rekey is all done."""
    pair = established()
    pair.rekey_child(WEST)
    late = pair.wire.popleft()
    pair.rekey_child(EAST)
    pair.settle()
    east_children = set(pair.ike(EAST).children)
    pair.wire.append(late)
    pair.settle()
    assert any("CHILD_SA_NOT_FOUND" in line for line in pair.said(EAST))
    pair.ping()
    pair.check_agreement()
    assert set(pair.ike(EAST).children) == east_children


def test_late_child_rekey_meets_a_child_that_is_being_closed() -> None:
    """The peer's rekey stands, ours is forgotten, none is tried again. §2.8.1."""
    pair = established()
    pair.rekey_child(WEST)
    late = pair.wire.popleft()
    pair.rekey_child(EAST)
    pair.deliver_from(EAST)  # its request
    pair.deliver_from(WEST)  # our answer
    deletion = pair.wire.popleft()
    pair.wire.append(late)
    pair.settle()
    assert any("TEMPORARY_FAILURE" in line for line in pair.said(EAST))
    pair.wire.append(deletion)
    pair.settle()
    pair.ping()
    pair.advance(20.0)
    pair.check_agreement()


def test_late_child_rekey_is_not_found_while_the_old_one_is_still_here() -> None:
    """The peer's new one takes its place, and none is made from scratch. §2.8.1."""
    pair = established()
    pair.rekey_child(WEST)
    late = pair.wire.popleft()
    pair.rekey_child(EAST)
    pair.deliver_from(EAST)
    pair.deliver_from(WEST)
    pair.wire.clear()
    (spi,) = pair.ike(WEST).children.keys() - {
        c.parameters.spi_out
        for c in pair.ike(EAST).children.values()
        if c.state is ChildState.INSTALLED
    }

    def lose(header: object, payloads: object) -> list | None:
        not_found = NotifyType.CHILD_SA_NOT_FOUND
        return [NotifyPayload(not_found, b"", ProtocolId.ESP, spi)]

    pair.wire.append(late)
    pair.rewrite(EAST, lose)
    pair.settle()
    assert spi not in pair.ike(WEST).children
    assert len(pair.ike(WEST).children) == 1


def test_old_child_is_deleted_by_the_peer_before_our_rekey_is_answered() -> None:
    """What was made stays, and nothing is deleted twice. RFC 7296 §2.25.1."""
    pair = established()
    (spi,) = pair.ike(EAST).children
    pair.rekey_child(WEST)
    pair.deliver()
    answer = pair.wire.popleft()
    pair.begin(EAST, DeleteChild(spi))
    pair.settle()
    pair.wire.append(answer)
    pair.settle()
    pair.ping()
    pair.check_agreement()


def test_further_child_sa_is_put_off_and_made_later() -> None:
    """It meets an IKE rekey. RFC 7296 §2.25.2."""
    pair = established()
    pair.rekey_ike(EAST)
    held = pair.wire.popleft()
    pair.begin(WEST, CreateChild(pair.ike(WEST).policy.children[0]))
    pair.settle()
    deadline = pair.west.endpoint.next_deadline(pair.now)
    assert deadline is not None
    assert 5.0 <= deadline <= 10.0
    pair.wire.append(held)
    pair.settle()
    pair.advance(deadline)
    pair.check_agreement(children=2)


@pytest.mark.parametrize("name", [WEST, EAST])
def test_nothing_is_begun_on_a_replaced_ike_sa(name: str) -> None:
    """What is wanted there comes too late. RFC 7296 §1.3.2."""
    pair = established()
    policy = pair.ike(name).policy.children[0]
    old = pair.ike(name)
    pair.rekey_ike(pair.other(name))
    pair.deliver()
    for exchange in (CreateChild(policy), RekeyIkeSa(), CheckLiveness()):
        assert exchange.request(old, pair.now) is None
    pair.settle()
    pair.check_agreement()


def test_a_peer_that_did_not_notice_an_ike_rekey_deletes_the_old_one() -> None:
    """§2.8.2, the special case: the DELETE tells that ours is to be forgotten."""
    pair = established()
    pair.rekey_ike(WEST)
    late = pair.wire.popleft()
    pair.rekey_ike(EAST)
    pair.settle()
    pair.wire.append(late)  # for an IKE SA that east no longer has
    pair.settle()
    pair.ping()
    pair.check_agreement()
    assert not pair.ike(WEST).is_original_initiator


def test_a_late_ike_rekey_is_put_off_and_the_other_one_stands() -> None:
    """§2.8.2: TEMPORARY_FAILURE from a peer that is closing the old IKE SA."""
    pair = established()
    pair.rekey_ike(WEST)
    late = pair.wire.popleft()
    pair.rekey_ike(EAST)
    pair.deliver_from(EAST)
    pair.deliver_from(WEST)
    deletion = pair.wire.popleft()
    pair.wire.append(late)
    pair.settle()
    assert any("TEMPORARY_FAILURE" in line for line in pair.said(EAST))
    pair.wire.append(deletion)
    pair.settle()
    pair.ping()
    pair.check_agreement()
    assert not pair.ike(WEST).is_original_initiator


def test_redundant_ike_sa_deleted_before_our_answer_comes() -> None:
    """It is no heir any more, and its end is no surprise. RFC 7296 §2.8.2."""
    for seed in SEEDS:
        pair = established(seed)
        pair.rekey_ike(WEST)
        pair.rekey_ike(EAST)
        pair.deliver_from(EAST)
        pair.deliver_from(WEST)  # west's request
        answer = pair.wire.pop()
        assert answer[0] == EAST
        pair.deliver_from(WEST)  # west's answer: east decides
        pair.settle()
        pair.wire.append(answer)
        pair.settle()
        pair.ping()
        pair.advance(61.0)  # an IKE SA that west never made is forgotten by then
        pair.ping()
        pair.check_agreement()


def test_a_second_rekey_while_two_are_under_way_is_put_off() -> None:
    """A peer cannot make us collect SAs. RFC 7296 §2.25."""
    pair = established()
    pair.rekey_ike(WEST)
    held = pair.wire.popleft()
    pair.begin(EAST, RekeyIkeSa())
    old = pair.ike(EAST)
    pair.deliver_from(EAST)
    pair.wire.clear()  # east never hears the answer, and asks again
    old.sent = old.exchange = None
    pair.begin(EAST, RekeyIkeSa())
    pair.settle()
    assert "TEMPORARY_FAILURE" in pair.said(WEST)[-1]
    assert len(pair.west.endpoint.tables.ike_sas) == 2
    assert held[0] == WEST


def test_a_second_child_rekey_while_two_are_under_way_is_put_off() -> None:
    """The same for a Child SA. RFC 7296 §2.25.1."""
    pair = established()
    pair.rekey_child(WEST)
    pair.wire.clear()
    pair.rekey_child(EAST)
    sa = pair.ike(EAST)
    (old,) = sa.children.values()
    pair.deliver_from(EAST)
    pair.wire.clear()
    sa.sent = sa.exchange = None
    old.state = ChildState.INSTALLED
    pair.begin(EAST, RekeyChild(old))
    pair.settle()
    assert "TEMPORARY_FAILURE" in pair.said(WEST)[-1]
    assert len(pair.ike(WEST).children) == 2


def test_our_ike_rekey_times_out_while_the_peers_stands_by() -> None:
    """Nothing is left of either. RFC 9329 §6.2."""
    pair = established()
    pair.rekey_ike(WEST)
    pair.wire.clear()
    pair.rekey_ike(EAST)
    pair.deliver_from(EAST)
    pair.wire.clear()
    assert len(pair.west.endpoint.tables.ike_sas) == 2
    pair.advance(61.0)
    pair.wire.clear()
    assert not pair.west.endpoint.tables.ike_sas
    assert not pair.west.endpoint.tables.children


def test_syntax_error_ends_both_ike_sas_of_a_crossing_rekey() -> None:
    """The peer's answer cannot be read; the IKE SA it made ends, too. §2.21.3."""
    pair = established()
    pair.rekey_ike(WEST)
    pair.rekey_ike(EAST)

    def spoil(header: object, payloads: object) -> list | None:
        return [] if header.is_response else None

    pair.rewrite(EAST, spoil)
    pair.settle()
    pair.advance(61.0)
    assert not pair.west.endpoint.tables.ike_sas


def test_invalid_syntax_answer_ends_both_ike_sas_of_a_crossing_rekey() -> None:
    """INVALID_SYNTAX is fatal in both peers. RFC 7296 §2.21.3."""
    pair = established()
    pair.rekey_ike(WEST)
    pair.rekey_ike(EAST)

    def spoil(header: object, payloads: object) -> list | None:
        if not header.is_response:
            return None
        return [NotifyPayload(NotifyType.INVALID_SYNTAX)]

    pair.rewrite(EAST, spoil)
    for sender in (EAST, WEST, EAST):
        pair.deliver_from(sender)
    assert not pair.west.endpoint.tables.ike_sas
    assert not pair.west.endpoint.tables.children


@pytest.mark.parametrize("order", ORDERS)
def test_no_packet_is_lost_while_both_rekey_the_child_sa(order: str) -> None:
    """Old SAs receive until they are deleted; sending moves when it is safe. §2.8."""
    pair = established(order)
    expected: dict[str, list[bytes]] = {WEST: [], EAST: []}
    for side in (pair.west, pair.east):
        side.delivered.clear()
    pair.rekey_child(WEST)
    pair.rekey_child(EAST)
    for sender in order + "we" * 8:
        for receiver, packet in keep_talking(pair):
            expected[receiver].append(packet)
        pair.deliver_from(WEST if sender == "w" else EAST)
        pair.deliver_from(WEST if sender == "w" else EAST)
        pair.deliver_from(WEST if sender == "w" else EAST)
    pair.settle()
    assert pair.west.delivered == expected[WEST]
    assert pair.east.delivered == expected[EAST]
    pair.check_agreement()


@pytest.mark.parametrize("name", [WEST, EAST])
def test_no_packet_is_lost_while_one_rekeys_the_child_sa(name: str) -> None:
    """The responder of the rekey sends on the old SA until it is safe. §2.8."""
    pair = established()
    expected: dict[str, list[bytes]] = {WEST: [], EAST: []}
    for side in (pair.west, pair.east):
        side.delivered.clear()
    pair.rekey_child(name)
    for _ in range(8):
        for receiver, packet in keep_talking(pair):
            expected[receiver].append(packet)
        pair.deliver()
        pair.deliver()
    pair.settle()
    assert pair.west.delivered == expected[WEST]
    assert pair.east.delivered == expected[EAST]
    pair.check_agreement()


def test_responder_of_a_rekey_sends_on_the_old_sa_until_the_peer_deletes_it() -> None:
    """RFC 7296 §2.8: event (2), for nothing came on the new one before."""
    pair = established()
    (old,) = pair.ike(EAST).children.values()
    old_spi_out = old.parameters.spi_out
    pair.rekey_child(WEST)
    pair.deliver()  # the request: east has both now
    assert len(pair.ike(EAST).children) == 2
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    assert pair.wire[-1][2][2:6] == old_spi_out
    pair.settle()
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    assert pair.wire[-1][2][2:6] != old_spi_out


def test_responder_of_a_rekey_moves_as_soon_as_the_new_sa_is_used() -> None:
    """RFC 7296 §2.8: event (1)."""
    pair = established()
    (old,) = pair.ike(EAST).children.values()
    old_spi_out = old.parameters.spi_out
    pair.rekey_child(WEST)
    pair.deliver()
    pair.deliver()  # the answer: west may use it now
    deletion = pair.wire.popleft()
    pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    pair.settle()
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    assert pair.wire[-1][2][2:6] != old_spi_out
    pair.wire.append(deletion)
    pair.settle()
    pair.check_agreement()


def test_old_sa_receives_until_it_is_deleted() -> None:
    """What was sent before the peer knew of the new SA still arrives. §2.8."""
    pair = established()
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1", b"late"))
    late = pair.wire.pop()
    pair.rekey_child(WEST)
    pair.deliver()
    pair.deliver()
    assert len(pair.ike(WEST).children) == 2
    pair.wire.appendleft(late)
    pair.deliver()
    assert pair.west.delivered[-1].endswith(b"late")
    pair.settle()
    pair.check_agreement()


def test_request_on_an_ike_sa_that_is_replaced_is_put_off() -> None:
    """Whether or not its DELETE has been sent. RFC 7296 §2.8.2, §2.25.2."""
    pair = established()
    pair.rekey_ike(EAST)
    pair.deliver()  # west has answered: its old IKE SA is replaced
    old = next(
        sa
        for sa, _ in pair.west.endpoint.tables.ike_sas.values()
        if sa.state is IkeState.REKEYED
    )
    old_east = pair.ike(EAST) if len(pair.east.endpoint.tables.ike_sas) == 1 else None
    assert old_east is not None
    old_east.sent = old_east.exchange = None
    pair.wire.clear()
    pair.begin(EAST, CreateChild(pair.ike(EAST).policy.children[0]))
    pair.settle()
    assert "TEMPORARY_FAILURE" in pair.said(WEST)[-1]
    assert old.state is IkeState.REKEYED


def test_replaced_ike_sa_that_nobody_deletes_is_forgotten() -> None:
    """Choice: after a minute. RFC 7296 §2.8."""
    pair = established()
    pair.rekey_ike(EAST)
    pair.deliver()
    pair.deliver()
    pair.wire.clear()  # the DELETE is lost, and never comes again
    assert len(pair.west.endpoint.tables.ike_sas) == 2
    pair.advance(59.0)
    assert len(pair.west.endpoint.tables.ike_sas) == 2
    pair.advance(2.0)
    pair.check_agreement()
    pair.ping()


def test_temporary_failure_is_tried_again_later_and_not_at_once() -> None:
    """RFC 7296 §2.25."""
    pair = established()
    east = pair.ike(EAST)
    (spi_in,) = pair.ike(WEST).children
    pair.rekey_ike(WEST)
    held = pair.wire.popleft()
    pair.begin(EAST, RekeyChild(next(iter(east.children.values()))))
    pair.settle()
    assert "TEMPORARY_FAILURE" in pair.said(WEST)[-1]
    count = len(pair.said(EAST))
    pair.advance(1.0)
    assert len(pair.said(EAST)) == count
    pair.wire.append(held)
    pair.settle()
    pair.advance(10.0)
    pair.ping()
    pair.check_agreement()
    assert spi_in not in pair.ike(WEST).children


def test_temporary_failure_for_minutes_ends_the_ike_sa() -> None:
    """RFC 7296 §2.25."""
    pair = established()

    def refuse(header: object, payloads: object) -> list | None:
        if header.is_response and header.exchange_type == ExchangeType.CREATE_CHILD_SA:
            return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
        return None

    pair.rewrite(EAST, refuse)
    pair.rekey_child(WEST)
    for _ in range(int(TROUBLE_SECONDS / 5)):
        pair.advance(5.0)
        pair.begin(WEST, CheckLiveness())  # an answer to something else is no cure
        pair.settle()
    assert pair.west.endpoint.tables.ike_sas
    for _ in range(4):
        pair.advance(10.0)
    pair.check_closed()
    closed = pair.west.traces("ike-sa-closed")
    assert closed[-1]["reason"] == "TEMPORARY_FAILURE for minutes"


def test_unknown_child_is_not_found_and_made_from_scratch() -> None:
    """RFC 7296 §2.25."""
    pair = established()
    east = pair.ike(EAST)
    (spi,) = east.children
    east.remove_child(spi)  # east has lost it without a word
    pair.rekey_child(WEST)
    pair.settle()
    said = [line for line in pair.said(EAST) if "CHILD_SA_NOT_FOUND" in line]
    assert len(said) == 1
    (old,) = (t["spi_in"] for t in pair.west.traces("child-sa-removed"))
    assert f"ESP {old}" in said[0]
    pair.ping()
    pair.check_agreement()


def test_rekey_naming_no_esp_sa_is_not_found() -> None:
    """The answer copies the SPI. RFC 7296 §2.25."""
    pair = established()
    sa = pair.ike(WEST)
    rekey = NotifyPayload(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=b"\1\2\3\4")
    child = next(iter(sa.children.values()))
    request = RekeyChild(child).request(sa, pair.now)
    assert request is not None
    answer = pair.ask(WEST, ExchangeType.CREATE_CHILD_SA, rekey, *request[1:])
    (notify,) = answer or ()
    assert isinstance(notify, NotifyPayload)
    assert notify.notify_type == NotifyType.CHILD_SA_NOT_FOUND
    assert notify.spi == b"\1\2\3\4"


def test_child_rekeyed_on_both_sides_by_equal_lifetimes() -> None:
    """Equal policies collide or not, as the jitter falls; all is well. §2.8.1."""
    for seed in SEEDS:
        lifetime = Lifetime(seconds=100.0, jitter=0.01, grace=0.5)
        policies = [
            ike_policy(
                name,
                children=(
                    replace(
                        child_policy(local=local, remote=remote), lifetime=lifetime
                    ),
                ),
                lifetime=lifetime,
            )
            for name, local, remote in (
                (WEST, "10.0.1.0/24", "10.0.2.0/24"),
                (EAST, "10.0.2.0/24", "10.0.1.0/24"),
            )
        ]
        pair = Pair(*policies, seed=str(seed))
        pair.up()
        for _ in range(150):
            pair.now += 1.0
            for name in (WEST, EAST):  # both move before anything is delivered
                pair.run(name, pair.side(name).endpoint.time_passed(pair.now))
            pair.settle()
        pair.ping()
        pair.check_agreement()
        assert pair.west.traces("ike-sa-rekeyed")
        assert pair.west.traces("child-sa-rekeyed")
