"""Sessions over UDP: ports, NATs, loss, repetition and reordering, for both roles.

Source: RFC 7296 §2.1, RFC 7296 §2.11, RFC 7296 §2.23, RFC 3948
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from datagram_pair import ENCAPSULATION, IKE, PUBLIC, Datagram, DatagramPair
from iketcp.effects import IkeSaClosed
from iketcp.endpoint.arrival import OverUdp
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.ike.header import Header
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.nat_detection import NO_SOURCE, NatFound
from iketcp.ike.payloads import NotifyPayload
from iketcp.ike.retransmission import RetransmissionPolicy
from iketcp.mapping import MappingPolicy
from iketcp.registry import ExchangeType, NotifyType
from iketcp.stream import NAT_KEEPALIVE, NON_ESP_MARKER
from pair import EAST, WEST, ike_policy
from scenarios import Stage

VERSIONS = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
STRANGER = ip_address("198.51.100.7"), 500


def header_of(datagram: Datagram) -> Header | None:
    """The IKE header in a datagram, if there is one."""
    octets = datagram.octets
    if datagram.target[1] != IKE and datagram.source[1] != IKE:
        if not octets.startswith(NON_ESP_MARKER):
            return None
        octets = octets[4:]
    return Header.decode(octets)


def exchanges(pair: DatagramPair, name: str) -> list[int]:
    """Exchange types of what a side has sent, in order."""
    headers = map(header_of, pair.of(name))
    return [header.exchange_type for header in headers if header is not None]


# --- ports ----------------------------------------------------------------------------


@pytest.mark.parametrize("addresses", VERSIONS, ids=["ipv4", "ipv6"])
def test_a_session_begins_on_500_and_goes_on_on_4500(
    addresses: tuple[str, str],
) -> None:
    """RFC 7296 §2.23: IKE_AUTH and everything after it, ESP included."""
    pair = DatagramPair(addresses=addresses)
    pair.up()
    pair.ping()
    first, *rest = pair.of(WEST)
    assert (first.source[1], first.target[1]) == (IKE, IKE)
    assert {(d.source[1], d.target[1]) for d in rest} == {(4500, 4500)}
    assert [d.target[1] for d in pair.of(EAST)] == [500, 4500, 4500]
    assert exchanges(pair, WEST) == [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH]
    assert len(pair.east.traces("mapping-moved")) == 1


def test_our_source_digest_fits_no_address() -> None:
    """RFC 7296 §2.23: so a peer sends its ESP inside UDP; the other digest is true."""
    pair = DatagramPair()
    pair.up()
    for datagram in (pair.of(WEST)[0], pair.of(EAST)[0]):
        payloads = decode_message(datagram.octets).payloads
        found = {p.notify_type: p for p in payloads if isinstance(p, NotifyPayload)}
        assert found[NotifyType.NAT_DETECTION_SOURCE_IP].data == NO_SOURCE
    assert pair.ike(WEST).nat == pair.ike(EAST).nat == NatFound(False, True)


def test_esp_never_goes_to_port_500() -> None:
    """RFC 7296 §2.23: UDP encapsulation must not be done there."""
    pair = DatagramPair()
    pair.up()
    session = pair.session(EAST)
    session.udp_path = replace(pair.paths()[0])
    count = len(pair.sent)
    pair.send(EAST)
    assert len(pair.sent) == count
    assert pair.dropped(EAST) == {"no ESP on the port of IKE": 1}


@pytest.mark.parametrize("source", [500, 4500, 12345])
def test_a_request_is_answered_where_it_came_from(source: int) -> None:
    """RFC 7296 §2.11: to its address and port, from the port that it came to."""
    pair = DatagramPair()
    pair.begin()
    request = pair.wire.popleft()
    pair.arrive(EAST, (STRANGER[0], source), IKE, request.octets)
    (answer,) = pair.of(EAST)
    assert answer.target == (STRANGER[0], source)
    assert answer.source == (pair.addresses[1], IKE)


def test_a_response_goes_back_though_the_session_is_elsewhere() -> None:
    """RFC 7296 §2.11: a request from a new port is answered there."""
    pair = DatagramPair()
    pair.up()
    pair.session(EAST).ike.nat = NatFound(True, True)  # so that it does not follow
    home = pair.session(EAST).udp_path
    pair.run(WEST, pair.west.endpoint.rekey_child("net", 0.0))
    request = pair.wire.popleft()
    pair.arrive(EAST, (STRANGER[0], 777), ENCAPSULATION, request.octets)
    assert pair.of(EAST)[-1].target == (STRANGER[0], 777)
    assert pair.session(EAST).udp_path == home


def test_an_initiator_takes_no_requests_of_strangers() -> None:
    """Nobody may begin with whoever does not listen."""
    pair, other = DatagramPair(), DatagramPair(seed="other")
    pair.up()
    other.begin()
    count = len(pair.sent)
    pair.arrive(WEST, STRANGER, IKE, other.wire[0].octets)
    assert len(pair.sent) == count
    assert pair.dropped(WEST) == {"unknown IKE SPI": 1}


def test_a_peer_without_nat_traversal_is_left() -> None:
    """RFC 7296 §2.23: its ESP would come outside UDP, where nobody listens."""
    pair = DatagramPair()
    pair.begin()
    pair.deliver()
    response = decode_message(pair.wire.popleft().octets)
    kept = [
        p
        for p in response.payloads
        if not isinstance(p, NotifyPayload)
        or p.notify_type
        not in (
            NotifyType.NAT_DETECTION_SOURCE_IP,
            NotifyType.NAT_DETECTION_DESTINATION_IP,
        )
    ]
    octets = encode_message(response.header, kept)
    pair.arrive(WEST, (pair.addresses[1], IKE), IKE, octets)
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == "the responder does not support NAT traversal"


# --- retransmission -------------------------------------------------------------------


def test_a_request_is_repeated_with_growing_pauses() -> None:
    """RFC 7296 §2.1, §2.4: octet for octet, a dozen times, over minutes."""
    pair = DatagramPair()
    pair.is_lost = lambda datagram: True
    pair.begin()
    at = [0.0]
    while pair.west.endpoint.has_sessions:
        deadline = pair.west.endpoint.next_deadline(pair.now)
        assert deadline is not None
        count = len(pair.sent)
        pair.advance(deadline - pair.now)
        at += [pair.now] * (len(pair.sent) - count)
    assert len({d.octets for d in pair.sent}) == 1
    assert len(at) >= 13
    assert pair.now == 300.0
    pauses = [then - now for now, then in itertools.pairwise(at)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 30.0)
        assert 0.75 * longest <= pause <= longest
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == "no answer for 300 s"
    # nobody may have been there: another attempt follows, as over TCP
    (ended,) = [e for e in pair.west.effects if isinstance(e, IkeSaClosed)]
    assert ended.is_unheard
    assert len(pair.west.wanted) == 2
    pair.is_lost = lambda datagram: False
    pair.begin_again()
    pair.settle()
    pair.check_up()


def test_whoever_leaves_knows_whether_anybody_could_answer() -> None:
    """A session over UDP can be heard of until its IKE SA is gone. RFC 7296 §1.4.1."""
    pair = DatagramPair()
    tables = pair.east.endpoint.tables
    assert not tables.are_carried
    pair.up()
    assert tables.are_carried
    pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
    assert pair.west.endpoint.tables.are_carried  # until it is answered
    pair.settle()
    assert not pair.west.endpoint.tables.are_carried
    assert not tables.are_carried


def test_what_was_refused_is_not_tried_again() -> None:
    """Somebody was there: what failed would fail again. RFC 7296 §2.21.1."""
    other = ike_policy(WEST, "aes128gcm16-prfsha512-ecp256")
    pair = DatagramPair(other, ike_policy(EAST))
    pair.begin()
    pair.advance(400.0)
    (ended,) = [e for e in pair.west.effects if isinstance(e, IkeSaClosed)]
    assert "NO_PROPOSAL_CHOSEN" in ended.reason
    assert not ended.is_unheard
    assert pair.west.wanted == [0.0]


def test_nothing_is_repeated_over_tcp() -> None:
    """[9329-6.2-no-retransmit]: the pair's own counterpart over a stream."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    stage.connect()
    stage.lose_waiting()
    count = len(stage.sent)
    for _ in range(50):
        stage.advance(1.0)
    assert len(stage.sent) == count


def test_a_response_is_repeated_only_when_asked_for() -> None:
    """RFC 7296 §2.1: the responder never sends again by itself."""
    pair = DatagramPair()
    pair.up()
    pair.is_lost = lambda datagram: datagram.sender == EAST
    pair.run(WEST, pair.west.endpoint.rekey_child("net", 0.0))
    pair.settle()
    answer = pair.of(EAST)[-1]
    count = len(pair.of(EAST))
    pair.run(EAST, pair.east.endpoint.time_passed(29.0))
    assert len(pair.of(EAST)) == count
    pair.is_lost = lambda datagram: False
    pair.advance(1.0)
    assert pair.of(EAST)[count].octets == answer.octets
    assert len(pair.west.traces("child-sa-rekeyed")) == 1
    assert len(pair.east.traces("child-sa-rekeyed")) == 1


def test_every_single_datagram_may_be_lost_once() -> None:
    """RFC 7296 §2.1: whichever it is, the session comes up, works, and ends."""
    for lost in range(8):
        pair = DatagramPair()
        pair.is_lost = lambda d, pair=pair, lost=lost: (
            d is dict(enumerate(pair.sent)).get(lost)
        )
        pair.begin()
        pair.advance(3.0)
        pair.check_up()
        pair.run(WEST, pair.west.endpoint.rekey_ike(pair.now))
        pair.advance(5.0)
        pair.check_up()
        pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
        pair.advance(3.0)
        assert not pair.west.endpoint.has_sessions, lost
        assert not pair.east.endpoint.has_sessions, lost
        (closed,) = pair.west.traces("ike-sa-closed")[1:]
        assert closed["reason"] == "deleted by us"


def test_the_last_answer_of_an_ike_sa_is_given_again() -> None:
    """RFC 7296 §2.1: a lost answer to DELETE costs the initiator no minutes."""
    pair = DatagramPair()
    pair.up()
    count = len(pair.of(EAST))
    pair.is_lost = lambda d: d.sender == EAST and len(pair.of(EAST)) == count + 1
    pair.run(WEST, pair.west.endpoint.delete_all(0.0))
    pair.settle()
    assert not pair.east.endpoint.has_sessions
    assert pair.west.endpoint.has_sessions
    pair.advance(1.0)
    assert not pair.west.endpoint.has_sessions
    first, second = pair.of(EAST)[count:]
    assert first.octets == second.octets


def test_a_refused_initiator_hears_of_it_though_the_answer_was_lost() -> None:
    """RFC 7296 §2.21.2: AUTHENTICATION_FAILED comes with the next repetition."""
    west = ike_policy(WEST)
    wrong = dict.fromkeys(west.secrets, b"another secret of many octets")
    pair = DatagramPair(west=replace(west, secrets=wrong))
    pair.is_lost = lambda d: d.sender == EAST and len(pair.of(EAST)) == 2
    pair.begin()
    pair.settle()
    assert pair.west.endpoint.has_sessions
    pair.advance(1.0)
    (closed,) = pair.west.traces("ike-sa-closed")
    assert "AUTHENTICATION_FAILED" in closed["reason"]


@pytest.mark.parametrize("seed", range(12))
def test_a_bad_network(seed: int) -> None:
    """Loss, repetition and reordering: exchanges of both sides still come to an end."""
    random = Random(seed)
    pair = DatagramPair(is_behind_nat=bool(seed % 2), seed=str(seed))
    held: list[Datagram] = []

    def is_lost(datagram: Datagram) -> bool:
        fate = random.random()
        if fate < 0.25:
            return True
        if fate < 0.45:
            held.append(datagram)  # it comes later, and now, or later alone
            return fate < 0.35
        while held and random.random() < 0.5:
            pair.hand_over(held.pop(random.randrange(len(held))))
        return False

    pair.is_lost = is_lost
    pair.begin()
    pair.advance(280.0)
    pair.check_up()
    for name in (WEST, EAST, WEST):
        endpoint = pair.side(name).endpoint
        pair.run(name, endpoint.rekey_child("net", pair.now))
        pair.advance(280.0)
        pair.run(name, endpoint.rekey_ike(pair.now))
        pair.advance(290.0)
        pair.check_up()
    pair.is_lost = lambda datagram: False
    pair.ping()
    for side in (pair.west, pair.east):
        assert set(side.endpoint.counters.dropped) <= {
            "unknown IKE SPI",
            "MessageIdError",
            "DropError",
            "IntegrityError",  # IKE_SA_INIT in the clear, when there are keys
            "IKE_SA_INIT that was answered long ago",
        }
        assert not side.traces("exchange-failed")


# --- IKE_SA_INIT ----------------------------------------------------------------------


def test_a_late_ike_sa_init_begins_nothing() -> None:
    """RFC 7296 §2.1: one that belongs to an IKE SA that is up is ignored."""
    pair = DatagramPair()
    pair.up()
    count = len(pair.sent)
    pair.hand_over(pair.of(WEST)[0])
    assert len(pair.sent) == count
    pair.session(EAST)
    assert pair.dropped(EAST) == {"IKE_SA_INIT that was answered long ago": 1}


def test_a_repeated_ike_sa_init_gets_the_same_answer() -> None:
    """RFC 7296 §2.1: while it is half-open; there is one IKE SA."""
    pair = DatagramPair()
    pair.begin()
    request = pair.wire.popleft()
    pair.hand_over(request)
    pair.hand_over(request)
    first, second = pair.of(EAST)
    assert first.octets == second.octets
    pair.session(EAST)


def test_a_cookie_that_comes_twice_is_followed_once() -> None:
    """RFC 7296 §2.6: and nothing is kept of who asks for it."""
    east = replace(ike_policy(EAST), is_cookie_required=True)
    pair = DatagramPair(east=east)
    pair.begin()
    pair.deliver()
    assert not pair.east.endpoint.tables.ike_sas
    (demand,) = pair.wire
    pair.deliver()
    pair.hand_over(demand)
    assert pair.dropped(WEST) == {"DropError": 1}
    pair.settle()
    pair.check_up()


def test_a_method_that_is_asked_for_twice_is_chosen_once() -> None:
    """RFC 7296 §2.6.1: INVALID_KE_PAYLOAD that comes once more."""
    west = ike_policy(WEST, "aes256gcm16-prfsha256-x25519-ecp256")
    east = ike_policy(EAST, "aes256gcm16-prfsha256-ecp256")
    pair = DatagramPair(west, east)
    pair.begin()
    pair.deliver()
    (demand,) = pair.wire
    pair.deliver()
    pair.hand_over(demand)
    assert pair.dropped(WEST) == {"DropError": 1}
    pair.settle()
    pair.check_up()


def test_an_error_that_anybody_may_have_sent_is_waited_out() -> None:
    """RFC 7296 §2.21.1: the true answer may still come; without one, that was it."""
    east = ike_policy(EAST, "aes128gcm16-prfsha256-x25519")
    for is_forged in (True, False):
        liar = DatagramPair(east=east)
        liar.begin()
        liar.deliver()
        (refusal,) = liar.wire
        pair = DatagramPair() if is_forged else liar
        if is_forged:
            pair.begin()
            pair.arrive(WEST, refusal.source, IKE, refusal.octets)
        pair.settle()
        if is_forged:
            pair.check_up()
            continue
        assert pair.west.endpoint.has_sessions
        pair.advance(10.0)
        (closed,) = pair.west.traces("ike-sa-closed")
        assert closed["reason"] == "the responder answers NO_PROPOSAL_CHOSEN"


def test_many_half_open_ike_sas_make_cookies_due() -> None:
    """RFC 7296 §2.6: over UDP addresses can be forged; whoever has one comes in."""
    pair = DatagramPair(mapping=MappingPolicy(half_open_address_limit=16))
    for number in range(12):
        other = DatagramPair(seed=str(number))
        other.begin()
        pair.arrive(EAST, (pair.addresses[0], 600 + number), IKE, other.wire[0].octets)
    assert len(pair.east.endpoint.tables.half_open) == 8
    answers = {d.target[1]: decode_message(d.octets).payloads for d in pair.of(EAST)}
    assert len(answers[607]) > 1
    (cookie,) = answers[608]
    assert isinstance(cookie, NotifyPayload)
    assert cookie.notify_type == NotifyType.COOKIE
    pair.wire.clear()
    pair.begin()
    pair.settle()
    assert pair.ike(WEST).is_usable


def test_nobody_is_answered_with_more_than_one_datagram() -> None:
    """An answer to whoever cannot be authenticated is one, and not much larger."""
    pair = DatagramPair()
    pair.begin()
    request = pair.wire.popleft()
    for octets in (request.octets, request.octets[:100], bytes(28), b"", b"\xff" * 40):
        before = len(pair.of(EAST))
        pair.arrive(EAST, STRANGER, IKE, octets)
        answers = pair.of(EAST)[before:]
        assert len(answers) <= 1
        assert sum(len(a.octets) for a in answers) <= len(octets) + 40


# --- NATs -----------------------------------------------------------------------------


def test_behind_a_nat() -> None:
    """RFC 7296 §2.23: west finds it, sends keepalives, and stays where it is."""
    pair = DatagramPair(is_behind_nat=True)
    pair.up()
    pair.ping()
    assert pair.ike(WEST).nat == NatFound(True, True)
    path = pair.session(EAST).udp_path
    assert path is not None
    assert (path.remote_address, path.remote_port) == (PUBLIC, 30002)


@pytest.mark.parametrize("is_behind_nat", [True, False])
def test_keepalives(is_behind_nat: bool) -> None:
    """RFC 3948 §4: from behind a NAT, after 20 s of silence, from port 4500."""
    pair = DatagramPair(is_behind_nat=is_behind_nat)
    pair.up()
    before = len(pair.sent)
    pair.advance(100.0)
    keepalives = pair.sent[before:]
    assert {d.octets for d in keepalives} == (
        {NAT_KEEPALIVE} if is_behind_nat else set()
    )
    if is_behind_nat:
        assert {(d.sender, d.source[1], d.target[1]) for d in keepalives} == {
            (WEST, ENCAPSULATION, ENCAPSULATION)
        }
        assert 5 <= len(keepalives) <= 10
        assert pair.dropped(EAST) == {}


def test_no_keepalive_while_something_goes_out() -> None:
    """RFC 3948 §4: ESP and IKE keep the mapping alive as well."""
    pair = DatagramPair(is_behind_nat=True)
    pair.up()
    for number in range(20):
        pair.advance(5.0)
        pair.send(WEST, b"%d" % number)
    assert NAT_KEEPALIVE not in [d.octets for d in pair.sent]


@pytest.mark.parametrize("by_esp", [True, False])
def test_a_new_port_of_the_nat_is_followed(by_esp: bool) -> None:
    """RFC 7296 §2.23: by an authentic packet, IKE or ESP, and by nothing else."""
    pair = DatagramPair(is_behind_nat=True)
    pair.up()
    pair.mapped.clear()
    lost = pair.send(EAST, b"to nowhere")
    pair.settle()
    assert lost not in pair.west.delivered
    if by_esp:
        pair.send(WEST)
    else:
        pair.run(WEST, pair.west.endpoint.rekey_child("net", pair.now))
    pair.settle()
    path = pair.session(EAST).udp_path
    assert path is not None
    assert path.remote_port == 30003
    pair.ping()
    assert len(pair.east.traces("mapping-moved")) == 2


def test_a_replayed_packet_moves_nothing() -> None:
    """RFC 7296 §2.23: dynamic updates are done for new packets only."""
    pair = DatagramPair(is_behind_nat=True)
    pair.up()
    pair.send(WEST)
    pair.settle()
    home = pair.session(EAST).udp_path
    for datagram in pair.of(WEST)[1:]:
        pair.arrive(EAST, (STRANGER[0], 4500), ENCAPSULATION, datagram.octets)
    broken = pair.of(WEST)[-1].octets[:-1] + b"\0"
    pair.arrive(EAST, (STRANGER[0], 4500), ENCAPSULATION, broken)
    assert pair.session(EAST).udp_path == home


def test_from_behind_a_nat_nobody_is_followed() -> None:
    """RFC 7296 §2.23: one packet whose source was changed must not lead us away."""
    pair = DatagramPair(is_behind_nat=True)
    pair.up()
    home = pair.session(WEST).udp_path
    packet = pair.send(EAST)
    datagram = pair.wire.popleft()
    pair.arrive(WEST, (STRANGER[0], 4500), ENCAPSULATION, datagram.octets)
    assert pair.west.delivered == [packet]
    assert pair.session(WEST).udp_path == home


def test_who_came_to_port_4500_stays_there() -> None:
    """RFC 7296 §2.23: an authentic message on port 500 does not lead back."""
    pair = DatagramPair()
    pair.up()
    home = pair.session(EAST).udp_path
    pair.run(WEST, pair.west.endpoint.rekey_child("net", 0.0))
    request = pair.wire.popleft().octets[4:]
    pair.arrive(EAST, (pair.addresses[0], IKE), IKE, request)
    assert pair.session(EAST).udp_path == home
    assert pair.of(EAST)[-1].target == (pair.addresses[0], IKE)


# --- the rest -------------------------------------------------------------------------


def test_a_session_stays_with_its_transport() -> None:
    """[9329-5-all]: messages of one that come over the other are not looked at."""
    stage, pair = Stage(), DatagramPair()
    stage.up()
    pair.up()
    sa = stage.sa(WEST)
    assert sa.protection is not None
    request = stage.sealed(WEST, [])[6:]
    path = replace(pair.paths()[1], remote_address=pair.addresses[0])
    effects = stage.east.endpoint.datagrams_received(
        path, [NON_ESP_MARKER + request, stage.esp(WEST)[2:]], 0.0
    )
    assert effects == []
    assert stage.dropped(EAST) == {
        "IKE message of another session's": 1,
        "ESP of another session's": 1,
    }


def test_a_session_over_udp_is_not_taken_from_a_stream() -> None:
    """A move from UDP to TCP is a matter of MOBIKE."""
    stage, pair = Stage(), DatagramPair()
    pair.up()
    pair.send(WEST)
    stage.east.endpoint = pair.east.endpoint
    id = stage.knock()
    packet = pair.wire.popleft().octets
    stage.feed(EAST, id, (len(packet) + 2).to_bytes(2, "big") + packet)
    assert pair.dropped(EAST) == {"ESP of another session's": 1}
    assert pair.session(EAST).udp_path is not None


def test_a_session_that_the_peer_ended_is_begun_again() -> None:
    """As over TCP: after a pause, by a new IKE_SA_INIT."""
    pair = DatagramPair()
    pair.up()
    pair.run(EAST, pair.east.endpoint.delete_all(0.0))
    pair.settle()
    assert not pair.west.endpoint.has_sessions
    first, pause = pair.west.wanted
    assert first == 0.0
    assert 0.5 <= pause <= 1.0
    pair.begin_again()
    pair.settle()
    pair.check_up()
    pair.begin_again()  # one more wish than there is need of
    pair.session(WEST)


def test_large_messages_go_in_fragments_over_udp() -> None:
    """RFC 7383 §2.5: where both agree, no datagram is larger than it may be."""
    for is_supported in (True, False):
        west = replace(ike_policy(WEST), is_fragmentation_supported=is_supported)
        pair = DatagramPair(west=west, datagrams=DatagramPolicy(fragment_size=200))
        pair.is_lost = lambda d, pair=pair: len(pair.sent) == 4 and d is pair.sent[3]
        pair.begin()
        pair.advance(5.0)
        pair.check_up()
        for name in (WEST, EAST):
            sizes = [len(d.octets) for d in pair.of(name)[1:]]
            assert (max(sizes) <= 204) == is_supported
        pair.ping()


def test_liveness_is_asked_for_and_given_up() -> None:
    """RFC 7296 §2.4: over UDP after all repetitions, and keepalives say nothing."""
    short = RetransmissionPolicy(total_seconds=20.0)
    policies = [
        replace(ike_policy(name), liveness_seconds=30.0, retransmission=short)
        for name in (WEST, EAST)
    ]
    pair = DatagramPair(*policies, is_behind_nat=True)
    pair.up()
    pair.advance(100.0)
    pair.check_up()
    pair.is_lost = lambda d: d.sender == EAST
    pair.advance(60.0)
    assert pair.west.traces("ike-sa-closed")[0]["reason"] == "no answer for 20 s"


def test_unparseable_datagrams_are_counted_and_close_nothing() -> None:
    """Anybody can send them."""
    pair = DatagramPair()
    pair.up()
    for _ in range(100):
        pair.arrive(EAST, STRANGER, ENCAPSULATION, b"\0\0")
        pair.arrive(EAST, STRANGER, ENCAPSULATION, b"\xc0\xff\xee\1" + bytes(40))
        pair.arrive(EAST, STRANGER, ENCAPSULATION, b"")
    assert pair.dropped(EAST) == {"unparseable message": 100, "unknown ESP SPI": 100}
    pair.ping()


def test_a_session_that_just_ended_moves_nowhere() -> None:
    """Between the check of a packet and its consequences another thread may end it."""
    pair = DatagramPair()
    pair.up()
    session = pair.session(EAST)
    pair.run(EAST, pair.east.endpoint.delete_all(0.0))
    pair.settle()
    assert session.has_ended
    path = replace(pair.paths()[1], remote_port=777)
    assert not OverUdp(path, None, takes_first=True).valid_message(session, 0.0)
    assert session.udp_path != path
