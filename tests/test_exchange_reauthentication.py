"""Reauthentication: a new IKE SA beside the old one, and no packet lost between them.

RFC 7296 §2.8.3. West, the initiator, begins; a test gives it the second connection that
it asks for, or does not.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certificate_factory import DAY, TODAY
from datagram_pair import DatagramPair
from eap_parts import password_peer
from iketcp.eap.method import EapPeerPolicy
from iketcp.effects import (
    CloseConnection,
    ConfigurationAssigned,
    ConnectionId,
    IkeSaClosed,
    OpenConnection,
)
from iketcp.endpoint.origination import OVERLAP_SECONDS, RETRY_SECONDS
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import NotifyPayload
from iketcp.ike.policy import Lifetime, PoolPolicy, Uniqueness
from iketcp.ike.reauthentication import AHEAD, LEAST_SECONDS
from iketcp.registry import ExchangeType, NotifyType
from pair import EAST, SECRET, WEST, Pair, child_policy, ike_policy, ipv4_packet
from test_exchange_certificates import certified, policy
from test_exchange_configuration import gateway_and_traveller, leases
from test_exchange_eap import eap_pair
from test_exchange_initial_contact import ADDRESSES, NOTIFY, closings, requests

SOON = Lifetime(seconds=100.0, jitter=0.0, grace=0.1)
AnyPair = Any  # Pair or DatagramPair: what is used here, both have


def make_pair(transport="tcp", version=4, west=None, east=None) -> AnyPair:
    """West authenticates anew every 100 s."""
    kind = Pair if transport == "tcp" else DatagramPair
    return kind(
        ike_policy(WEST, **{"reauthentication": SOON, **(west or {})}),
        ike_policy(EAST, **(east or {})),
        addresses=ADDRESSES[version],
    )


def asked_beside(pair: AnyPair) -> int:
    """How often west wanted another connection, or way, beside the one it has."""
    return sum(isinstance(e, OpenConnection) and e.is_beside for e in pair.west.effects)


def give_way(pair: AnyPair) -> ConnectionId | None:
    """Give west what it asked for; nothing is delivered yet."""
    if isinstance(pair, Pair):
        return pair.connect()
    pair.begin_again()
    return None


def reauthenticate(pair: AnyPair) -> ConnectionId | None:
    """Let the time come, and all happen that follows; the old one is still there."""
    before = asked_beside(pair)
    pair.advance(100.0)
    assert asked_beside(pair) == before + 1
    id = give_way(pair)
    pair.settle()
    return id


def states(pair: AnyPair) -> list[object]:
    """What west tells of it."""
    return [trace["state"] for trace in pair.west.traces("reauthentication")]


def sas(pair: AnyPair, name: str) -> int:
    """How many IKE SAs a side has."""
    return len(pair.side(name).endpoint.tables.ike_sas)


def spis(pair: AnyPair) -> set[bytes]:
    """West's IKE SAs by their SPI."""
    return set(pair.west.endpoint.tables.ike_sas)


# --- make before break ----------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_new_one_stands_before_the_old_one_goes(transport, version):
    """RFC 7296 §2.8.3: IKE_SA_INIT, IKE_AUTH, then the old IKE SA is deleted."""
    pair = make_pair(transport, version)
    pair.up()
    old = spis(pair)
    id = reauthenticate(pair)
    assert (sas(pair, WEST), sas(pair, EAST)) == (2, 2)
    assert states(pair) == ["begun", "done"]
    pair.ping()
    pair.advance(OVERLAP_SECONDS)
    assert (sas(pair, WEST), sas(pair, EAST)) == (1, 1)
    assert not spis(pair) & old
    pair.ping()
    assert closings(pair.west) == ["replaced by a new one"]
    assert closings(pair.east) == ["deleted by the peer"]
    if transport == "tcp":
        assert pair.open == {id}  # the old one's TCP Originator has closed it
        pair.check_agreement()
    else:
        pair.check_up()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_no_packet_is_lost_and_none_comes_twice(transport):
    """One packet each way after every message that is delivered, until all is done."""
    pair = make_pair(transport)
    pair.up()
    sent = {WEST: [], EAST: []}

    def chat() -> None:
        for name, ends in (
            (WEST, ("10.0.1.1", "10.0.2.1")),
            (EAST, ("10.0.2.1", "10.0.1.1")),
        ):
            packet = ipv4_packet(*ends, b"%d" % len(sent[name]))
            sent[name].append(packet)
            pair.run(name, pair.side(name).endpoint.inner_packets([packet]))

    pair.advance(100.0)
    give_way(pair)
    for _ in range(30):
        chat()
        for _ in range(3):
            pair.deliver()
    assert states(pair) == ["begun", "done"]
    pair.now += OVERLAP_SECONDS
    for name in (WEST, EAST):
        pair.run(name, pair.side(name).endpoint.time_passed(pair.now))
    for _ in range(10):
        chat()
        for _ in range(3):
            pair.deliver()
    pair.settle()
    assert (sas(pair, WEST), sas(pair, EAST)) == (1, 1)
    assert pair.east.delivered == sent[WEST]
    assert pair.west.delivered == sent[EAST]


def test_it_goes_on_so():
    """Each time counts from the last."""
    pair = make_pair()
    pair.up()
    for _ in range(3):
        reauthenticate(pair)
        pair.advance(OVERLAP_SECONDS)
        pair.check_agreement()
    assert states(pair) == ["begun", "done"] * 3
    pair.ping()


def test_nobody_says_initial_contact():
    """RFC 7296 §2.4: it is not the only one."""
    pair = make_pair()
    pair.up()
    reauthenticate(pair)
    first, second = requests(pair.west)
    assert NOTIFY in first
    assert NOTIFY not in second


def test_all_child_sas_are_made_before():
    """RFC 7296 §2.8.3: creating new Child SAs within the new IKE SA."""
    quiet = Lifetime(seconds=None)
    children = {
        side: tuple(
            child_policy(f"net{n}", local=f"10.{a}.{n}.0/24", remote=f"10.{b}.{n}.0/24")
            for n in range(3)
        )
        for side, a, b in ((WEST, 1, 2), (EAST, 2, 1))
    }
    west, east = (
        {"children": tuple(replace(c, lifetime=quiet) for c in children[side])}
        for side in (WEST, EAST)
    )
    pair = make_pair(west=west, east=east)
    pair.up()
    pair.check_agreement(3)
    pair.advance(100.0)
    give_way(pair)
    while "done" not in states(pair):
        assert len(pair.west.endpoint.tables.children) < 6
        assert pair.deliver()
    assert len(pair.west.endpoint.tables.children) == 6
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement(3)


def test_the_address_stays_the_same():
    """RFC 7296 §2.19: its owner is the same, so the pool gives it again."""
    pair = gateway_and_traveller(
        PoolPolicy(("10.9.0.0/29",)), families=(4,), reauthentication=SOON
    )
    pair.up()
    held = leases(pair)
    reauthenticate(pair)
    assert leases(pair) == held
    pair.advance(OVERLAP_SECONDS)
    assert leases(pair) == held == {"west.example": ["10.9.0.2/29"]}
    told = [e for e in pair.west.effects if isinstance(e, ConfigurationAssigned)]
    assert len(told) == 2
    assert told[0].addresses == told[1].addresses
    pair.check_agreement()


def test_whoever_runs_it_hears_that_the_old_one_mattered_no_more():
    """An initiator goes on, as nothing that matters has ended."""
    pair = make_pair()
    pair.up()
    reauthenticate(pair)
    pair.advance(OVERLAP_SECONDS)
    (closed,) = [e for e in pair.west.effects if isinstance(e, IkeSaClosed)]
    assert closed.is_spare
    pair.ike(WEST).close("over")
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    last = [e for e in pair.west.effects if isinstance(e, IkeSaClosed)][-1]
    assert not last.is_spare
    assert isinstance(pair.west.effects[-1], OpenConnection)
    assert not pair.west.effects[-1].is_beside


@pytest.mark.parametrize("side", [WEST, EAST])
def test_a_rekey_does_not_make_it_younger(side):
    """RFC 7296 §2.8.3: nobody authenticates in a rekey; and west it is that begins."""
    pair = make_pair()
    pair.up()
    pair.advance(60.0)
    pair.rekey_ike(side)
    pair.settle()
    pair.advance(39.0)
    assert asked_beside(pair) == 0
    pair.advance(1.0)
    assert asked_beside(pair) == 1
    give_way(pair)
    pair.settle()
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()
    assert pair.ike(WEST).is_original_initiator


def test_nothing_is_asked_for_without_a_wish():
    """By default an authentication holds for ever."""
    pair = make_pair(west={"reauthentication": Lifetime()})
    pair.up()
    pair.advance(1e9)
    assert asked_beside(pair) == 0
    assert pair.ike(WEST).authentication is None
    pair.check_agreement()


def test_who_comes_in_replaces_the_older():
    """A responder that lets nobody in twice deletes the old one itself."""
    pair = make_pair(east={"unique": Uniqueness.REPLACE})
    pair.up()
    reauthenticate(pair)
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()
    pair.ping()
    assert len(pair.west.traces("ike-sa-established")) == 2


# --- what goes wrong ------------------------------------------------------------------


def fails(pair: AnyPair, why: Callable[[], object]) -> None:
    """Let it fail; the old IKE SA stays, and it is tried again after a pause."""
    pair.up()
    old = spis(pair)
    pair.advance(100.0)
    give_way(pair)
    why()
    pair.settle()
    assert states(pair) == ["begun", "failed"]
    assert spis(pair) == old
    pair.ping()
    count = asked_beside(pair)
    pair.advance(RETRY_SECONDS / 2 - 1.0)
    assert asked_beside(pair) == count


PATIENT = Lifetime(seconds=100.0, jitter=0.0, grace=2.0)


def test_a_secret_that_has_changed():
    """RFC 7296 §2.21.2: refused; some time later it is tried again, and works."""
    pair = make_pair(west={"reauthentication": PATIENT})

    def change() -> None:
        context = pair.east.endpoint.context
        other = {Identity.parse("west.example"): b"another secret of sixteen octets"}
        context.policy = replace(context.policy, secrets=other)

    fails(pair, change)
    context = pair.east.endpoint.context
    right = {Identity.parse("west.example"): SECRET}
    context.policy = replace(context.policy, secrets=right)
    deadline = pair.west.endpoint.next_deadline(pair.now)
    assert deadline is not None
    pair.advance(RETRY_SECONDS)
    assert deadline <= pair.now
    give_way(pair)
    pair.settle()
    pair.advance(OVERLAP_SECONDS)
    assert states(pair) == ["begun", "failed", "begun", "done"]
    pair.check_agreement()


def test_a_certificate_that_has_expired_since():
    """RFC 7296 §2.8.3: that is what it is for. At the end the old IKE SA goes, too."""
    today = [TODAY]
    short = certified(WEST, end=TODAY + 2 * DAY)
    pair = Pair(policy(WEST, short, reauthentication=PATIENT), policy(EAST), date=TODAY)
    for side in (pair.west, pair.east):
        side.endpoint.context.date = lambda: today[0]

    def expire() -> None:
        today[0] = TODAY + 3 * DAY

    fails(pair, expire)
    assert closings(pair.east)[-1].endswith("has expired")
    pair.now = 299.0
    pair.advance(1.0)
    assert closings(pair.west)[-1] == "its authentication is too old"
    assert not pair.west.endpoint.tables.children


def test_eap_is_done_again():
    """RFC 7296 §2.16: all rounds of it; and whoever lost the password is refused."""
    pair = eap_pair(west={"reauthentication": PATIENT})
    pair.up()
    reauthenticate(pair)
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()
    context = pair.west.endpoint.context
    wrong = EapPeerPolicy(b"alice@example", password_peer("wrong"))
    context.policy = replace(context.policy, eap_peer=wrong)
    pair.advance(100.0 - OVERLAP_SECONDS)
    give_way(pair)
    pair.settle()
    assert states(pair) == ["begun", "done", "begun", "failed"]
    pair.ping()


def test_no_connection_is_to_be_had():
    """It is given up for now; the old one does not notice."""
    pair = make_pair(west={"reauthentication": PATIENT})
    pair.up()
    pair.advance(100.0)
    pair.run(WEST, pair.west.endpoint.connection_failed(pair.now))
    assert states(pair) == ["begun", "failed"]
    pair.advance(RETRY_SECONDS)
    assert asked_beside(pair) == 2
    give_way(pair)
    pair.settle()
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()


def test_over_udp_nobody_answers():
    """RFC 7296 §2.1: it is asked for long, and then again later."""
    pair = make_pair("udp", west={"reauthentication": replace(PATIENT, grace=9.0)})
    pair.up()
    old = spis(pair)
    pair.advance(100.0)
    pair.is_lost = lambda datagram: datagram.target[1] == 500
    give_way(pair)
    pair.advance(301.0)
    assert states(pair) == ["begun", "failed"]
    assert spis(pair) == old
    pair.ping()


def test_the_new_connection_breaks():
    """RFC 9329 §6.2: the request under way is repeated over another one."""
    pair = make_pair()
    pair.up()
    pair.advance(100.0)
    id = give_way(pair)
    pair.deliver()  # the stream prefix
    pair.deliver()  # IKE_SA_INIT
    pair.break_connection(id)
    assert asked_beside(pair) == 2
    give_way(pair)
    pair.settle()
    pair.advance(OVERLAP_SECONDS)
    assert states(pair) == ["begun", "done"]
    pair.check_agreement()


def test_the_new_connection_breaks_for_good():
    """What was begun over it is given up."""
    pair = make_pair()
    pair.up()
    old = spis(pair)
    pair.advance(100.0)
    id = give_way(pair)
    pair.break_connection(id)
    pair.run(WEST, pair.west.endpoint.connection_failed(pair.now))
    assert states(pair) == ["begun", "failed"]
    assert spis(pair) == old
    pair.ping()


@pytest.mark.parametrize("is_begun", [True, False])
def test_the_old_connection_breaks_meanwhile(is_begun):
    """Each session gets a connection of its own, whichever comes first."""
    pair = make_pair()
    first = pair.up()
    pair.advance(100.0)
    if is_begun:
        give_way(pair)
    pair.break_connection(first)
    assert not pair.west.effects[-1].is_beside
    pair.connect()
    if not is_begun:
        pair.connect()
    pair.settle()
    assert len(pair.open) == 2
    pair.ping()
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()
    assert len(pair.open) == 1


def test_neither_connection_can_be_made():
    """The old session comes first; the new one has the next that is left over."""
    pair = make_pair()
    first = pair.up()
    pair.advance(100.0)
    pair.break_connection(first)
    wanted = len(pair.west.wanted)
    pair.run(WEST, pair.west.endpoint.connection_failed(pair.now))
    assert len(pair.west.wanted) == wanted + 1
    assert states(pair) == ["begun"]
    for _ in range(2):
        pair.connect()
        pair.settle()
    pair.advance(OVERLAP_SECONDS)
    pair.check_agreement()


def test_one_connection_more_is_no_harm():
    """One that nobody needs any more takes the place of the one there is."""
    pair = make_pair()
    first = pair.up()
    pair.connect()
    pair.settle()
    closed = [e for e in pair.west.effects if isinstance(e, CloseConnection)]
    assert [e.connection for e in closed] == [first]
    pair.check_agreement()


@pytest.mark.parametrize("is_begun", [True, False])
def test_the_old_one_ends_meanwhile(is_begun):
    """Then the new one is all there is, and has not to wait for anything."""
    pair = make_pair()
    pair.up()
    pair.advance(100.0)
    if is_begun:
        give_way(pair)
    pair.run(EAST, pair.east.endpoint.delete_all(pair.now))
    pair.settle()
    if not is_begun:
        assert sas(pair, WEST) == 0
        give_way(pair)
        pair.settle()
    pair.check_agreement()
    assert states(pair) == ["begun"]
    pair.ping()
    closed = [e for e in pair.west.effects if isinstance(e, IkeSaClosed)]
    assert [e.is_spare for e in closed] == [False]


def test_both_end_at_once():
    """Then all begins anew, as after any end."""
    pair = make_pair()
    pair.up()
    pair.advance(100.0)
    give_way(pair)
    pair.wire.clear()
    wanted = len(pair.west.wanted)
    for sa, _ in list(pair.west.endpoint.tables.ike_sas.values()):
        sa.close("lost")
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    assert sas(pair, WEST) == 0
    assert len(pair.west.wanted) == wanted + 1
    assert not pair.west.effects[-1].is_beside
    pair.connect()
    pair.settle()
    pair.check_agreement()


def test_the_replaced_one_loses_its_connection():
    """Nobody connects for it again: it ends."""
    pair = make_pair()
    first = pair.up()
    reauthenticate(pair)
    wanted = len(pair.west.wanted)
    pair.break_connection(first)
    assert len(pair.west.wanted) == wanted
    assert sas(pair, WEST) == 1
    assert closings(pair.west) == ["replaced, and its connection is lost"]
    pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    pair.settle()  # east goes over to what west uses
    pair.ping()


def test_the_old_one_has_no_connection_as_the_new_one_stands():
    """There is nobody to tell of its end."""
    pair = make_pair()
    first = pair.up()
    pair.advance(100.0)
    give_way(pair)
    pair.break_connection(first)
    pair.settle()
    assert states(pair) == ["begun", "done"]
    assert sas(pair, WEST) == 1
    pair.ping()


def test_the_end_comes_to_both():
    """RFC 7296 §1.4.1: each is deleted; and nothing is begun on the way out."""
    pair = make_pair()
    pair.up()
    reauthenticate(pair)
    pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
    pair.settle()
    pair.check_closed()


def test_nothing_is_begun_on_the_way_out():
    """And a connection that breaks then is not made again."""
    pair = make_pair()
    pair.up()
    pair.advance(100.0)
    id = give_way(pair)
    pair.west.endpoint._origination.is_wanted = False
    wanted = len(pair.west.wanted)
    pair.break_connection(id)
    pair.run(WEST, pair.west.endpoint.begin_over_udp(*_paths(pair), pair.now))
    assert len(pair.west.wanted) == wanted


def _paths(pair):
    path = pair.ike(EAST).path if sas(pair, EAST) == 1 else None
    found = path or next(iter(pair.east.endpoint.tables.ike_sas.values()))[0].path
    return found, found


# --- what the responder says ----------------------------------------------------------


def announcing(seconds=1000.0, **west) -> AnyPair:
    """East wants to be told again who west is."""
    wish = Lifetime(seconds=seconds, jitter=0.0)
    quiet = {"reauthentication": Lifetime(jitter=0.0), **west}
    return make_pair(west=quiet, east={"reauthentication": wish})


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_responder_says_when(transport):
    """AUTH_LIFETIME in IKE_AUTH, and west is back in time."""
    wish = Lifetime(seconds=1000.0, jitter=0.0)
    pair = make_pair(
        transport,
        west={"reauthentication": Lifetime(jitter=0.0)},
        east={"reauthentication": wish},
    )
    pair.up()
    (said,) = requests(pair.east)
    assert "N(AUTH_LIFETIME)" in said
    pair.advance(1000.0 * AHEAD - 1.0)
    assert asked_beside(pair) == 0
    pair.advance(1.0)
    assert asked_beside(pair) == 1
    give_way(pair)
    pair.settle()
    pair.advance(OVERLAP_SECONDS)
    assert states(pair) == ["begun", "done"]
    pair.ping()


def test_with_eap_it_is_said_at_the_end():
    """RFC 7296 §2.16: where AUTH of EAP is."""
    wish = Lifetime(seconds=1000.0, jitter=0.0)
    pair = eap_pair(east={"reauthentication": wish})
    pair.up()
    said = requests(pair.east)
    assert ["N(AUTH_LIFETIME)" in payloads for payloads in said] == [
        False,
        False,
        False,
        True,
    ]
    assert pair.ike(WEST).authentication is not None


def test_who_does_not_come_back_is_out():
    """The responder ends what is too old, in any case."""
    pair = announcing()
    pair.up()
    pair.ike(WEST).authentication = None  # west does not care
    pair.advance(1099.0)
    pair.check_agreement()
    pair.advance(1.0)
    assert closings(pair.east) == ["its authentication is too old"]
    assert closings(pair.west) == ["deleted by the peer"]


@pytest.mark.parametrize(
    ("ours", "theirs", "begins"),
    [
        (100.0, 1000.0, 100.0),
        (1000.0, 100.0, 100.0 * AHEAD),
        (None, 3.0, LEAST_SECONDS * AHEAD),
        (None, 1e11, 0xFFFF_FFFF * AHEAD),
    ],
)
def test_the_earlier_time_counts(ours, theirs, begins):
    """Ours or theirs; but nobody makes us begin without a pause."""
    own = Lifetime(seconds=ours, jitter=0.0)
    pair = announcing(theirs, reauthentication=own)
    pair.up()
    watch = pair.ike(WEST).authentication
    assert watch is not None
    assert watch.soft_at == pytest.approx(begins)


@pytest.mark.parametrize("data", [b"", b"\0\0\7", b"\0\0\0\0\7"])
def test_what_is_no_time_says_nothing(data):
    """Four octets are a number of seconds; nothing else is."""
    pair = make_pair(west={"reauthentication": Lifetime()})
    pair.up()
    notify = NotifyPayload(NotifyType.AUTH_LIFETIME, data)
    assert pair.ask(EAST, ExchangeType.INFORMATIONAL, notify) == ()
    assert pair.ike(WEST).authentication is None


def test_it_may_be_said_later():
    """In an INFORMATIONAL, and then from that moment on."""
    pair = make_pair(west={"reauthentication": Lifetime(jitter=0.0)})
    pair.up()
    pair.advance(50.0)
    notify = NotifyPayload(NotifyType.AUTH_LIFETIME, (100).to_bytes(4, "big"))
    pair.ask(EAST, ExchangeType.INFORMATIONAL, notify)
    watch = pair.ike(WEST).authentication
    assert watch is not None
    assert watch.soft_at == pytest.approx(50.0 + 100.0 * AHEAD)
    assert timedelta(seconds=watch.hard_at or 0) < timedelta(seconds=150)
