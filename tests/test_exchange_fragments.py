"""IKE fragments between two endpoints: agreed to, sent, lost, repeated, forged.

The wire of a :class:`~pair.Pair` stands for any transport here. Where it is told a
fragment size both sides send fragments, as over UDP; without one it is TCP.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from itertools import permutations

import pytest

from iketcp.effects import ConnectionId
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.fragments import MAX_FRAGMENTS
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.nat_detection import Path
from iketcp.ike.payloads import (
    DeletePayload,
    Payload,
    SkfPayload,
    VendorPayload,
)
from iketcp.registry import ExchangeType, ProtocolId
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX
from pair import EAST, WEST, Pair, Question, ike_policy

INFORMATIONAL = ExchangeType.INFORMATIONAL
SIZE = 120
"""Octets of the largest message; what is protected then needs several."""
LONG = VendorPayload(b"v" * 150)

Messages = list[bytes]


def fragment_of(message: bytes) -> SkfPayload | None:
    """Return the fragment that a message is, if it is one."""
    last = decode_message(message).payloads[-1:]
    return last[0] if last and isinstance(last[0], SkfPayload) else None


def sent_by(pair: Pair, name: str) -> Messages:
    """List the IKE messages that one side sent so far."""
    return [
        octets[6:]
        for sender, _, octets in pair.sent
        if sender == name and octets[2:6] == NON_ESP_MARKER
    ]


def fragments_by(pair: Pair, name: str) -> Messages:
    """List the fragments that one side sent so far."""
    return [message for message in sent_by(pair, name) if fragment_of(message)]


def up(**options: object) -> tuple[Pair, ConnectionId]:
    """Make an established session between sides that fragment."""
    pair = Pair(fragment_size=SIZE, **options)  # type: ignore[arg-type]
    id = pair.up()
    return pair, id


def begin(pair: Pair, name: str, *payloads: Payload) -> tuple[Question, Messages]:
    """Let a side ask something long; its fragments are taken off the wire."""
    question = pair.begin(name, Question(INFORMATIONAL, payloads or [LONG]))
    held = [octets[6:] for _, _, octets in pair.wire]
    pair.wire.clear()
    assert len(held) == 3 or payloads
    return question, held


def give(pair: Pair, name: str, id: ConnectionId, messages: Sequence[bytes]) -> None:
    """Let what a side sent arrive, in the given order."""
    for message in messages:
        pair.inject(name, id, message)


def dropped(pair: Pair, name: str) -> dict[str, int]:
    """What one side dropped, and how often."""
    return pair.side(name).endpoint.counters.dropped


def opened_by_hand(pair: Pair) -> ConnectionId:
    """Open a connection that only east knows of."""
    id = ConnectionId(99)
    path = Path(ip_address("192.0.2.2"), 4500, ip_address("198.51.100.7"), 5000)
    east = pair.east.endpoint
    pair.run(EAST, east.connection_opened(id, path, False, pair.now))
    pair.run(EAST, east.octets_received(id, STREAM_PREFIX, pair.now))
    pair.open.add(id)
    return id


def raw(
    pair: Pair,
    name: str,
    number: int,
    total: int,
    content: bytes,
    first: int = 43,
    leading: Sequence[Payload] = (),
) -> bytes:
    """Make the next request of a side as one fragment under its keys."""
    sa = pair.ike(name)
    assert sa.protection is not None
    head = sa.header(INFORMATIONAL, sa.next_message_id, is_response=False)
    outer = SkfPayload(first, number, total, b"")
    return sa.protection.seal_content(head, outer, content, leading)


# --- agreed to ------------------------------------------------------------------------


@pytest.mark.parametrize("west", [True, False])
@pytest.mark.parametrize("east", [True, False])
def test_both_have_to_say_so(west: bool, east: bool) -> None:
    """[9329-7.5-negotiate] RFC 7383 §2.3: also over TCP; the responder only echoes."""
    pair = Pair(
        west=ike_policy(WEST, is_fragmentation_supported=west),
        east=ike_policy(EAST, is_fragmentation_supported=east),
        fragment_size=SIZE,
    )
    pair.up()
    notify = "N(IKEV2_FRAGMENTATION_SUPPORTED)"
    assert (notify in pair.said(WEST)[0]) is west
    assert (notify in pair.said(EAST)[0]) is (west and east)
    for name in (WEST, EAST):
        assert pair.ike(name).is_fragmentation_agreed is (west and east)
        assert bool(fragments_by(pair, name)) is (west and east)
    pair.check_agreement()


def test_no_fragment_is_sent_over_tcp() -> None:
    """[9329-7.5-nofrag] Agreed to, and a message of any size goes out whole."""
    pair = Pair()
    pair.up()
    assert pair.ask(WEST, INFORMATIONAL, VendorPayload(bytes(9000))) == ()
    assert pair.ask(EAST, INFORMATIONAL, VendorPayload(bytes(9000))) == ()
    for name in (WEST, EAST):
        assert pair.ike(name).is_fragmentation_agreed
        assert not fragments_by(pair, name)
        assert max(map(len, sent_by(pair, name))) > 9000


def test_ike_sa_init_is_never_cut() -> None:
    """RFC 7383 §2.2: it has no Encrypted payload."""
    pair, _ = up()
    for name in (WEST, EAST):
        first, *others = sent_by(pair, name)
        assert len(first) > SIZE
        assert fragment_of(first) is None
        assert all(len(message) <= SIZE for message in others)


def test_sessions_work_over_fragments() -> None:
    """IKE_AUTH, rekeys by either side, liveness, packets; small ones go whole."""
    pair, _ = up()
    pair.check_agreement()
    pair.ping()
    for name in (WEST, EAST):
        before = len(fragments_by(pair, name))
        pair.rekey_child(name)
        pair.settle()
        assert len(fragments_by(pair, name)) > before
        pair.begin(name, CheckLiveness())
        pair.settle()
        assert fragment_of(sent_by(pair, name)[-1]) is None
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("name", [WEST, EAST])
def test_a_rekeyed_ike_sa_goes_on_with_fragments(name: str) -> None:
    """RFC 7383 §2.3: there is no new IKE_SA_INIT to say it in."""
    pair, _ = up()
    pair.rekey_ike(name)
    pair.settle()
    before = [len(fragments_by(pair, side)) for side in (WEST, EAST)]
    for side in (WEST, EAST):
        assert pair.ask(side, INFORMATIONAL, LONG) == ()
    after = [len(fragments_by(pair, side)) for side in (WEST, EAST)]
    assert [a - b for a, b in zip(after, before, strict=True)] == [3, 3]
    pair.check_agreement()


def test_fragments_that_were_not_agreed_to() -> None:
    """RFC 7383 §2.4: MUST NOT be used then; dropped, and the session works on."""
    pair = Pair(
        west=ike_policy(WEST, is_fragmentation_supported=False), fragment_size=SIZE
    )
    id = pair.up()
    pair.inject(WEST, id, raw(pair, WEST, 1, 1, b""))
    assert dropped(pair, EAST) == {"FragmentError": 1}
    assert pair.ask(WEST, INFORMATIONAL) == ()
    pair.check_agreement()


def test_a_fragment_where_ike_sa_init_is_awaited() -> None:
    """RFC 7383 §2.2: no keys yet, so it cannot be anything."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    ((sa, _),) = pair.west.endpoint.tables.ike_sas.values()
    head = sa.header(ExchangeType.IKE_SA_INIT, 0, is_response=True)
    held = list(pair.wire)
    pair.wire.clear()
    forged = encode_message(head.with_chain(0, 0), [SkfPayload(33, 1, 1, bytes(40))])
    forged = forged[:19] + bytes([forged[19] & ~8]) + forged[20:]
    pair.inject(EAST, id, forged)
    assert dropped(pair, WEST) == {"FragmentError": 1}
    pair.wire.extend(held)
    pair.settle()
    pair.check_agreement()


# --- lost, repeated, out of order -----------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_request_in_any_order(name: str, order: tuple[int, ...]) -> None:
    """[9329-7.5-recvfrag] RFC 7383 §2.6: each request is handled once."""
    pair, id = up()
    question, held = begin(pair, name)
    give(pair, name, id, [held[i] for i in order])
    assert question.answer == ()
    received = pair.side(pair.other(name)).traces("ike-message")
    assert "V(" in received[-2]["payloads"][0]  # type: ignore[index]
    pair.check_agreement()


def test_it_is_told_as_if_it_had_come_whole() -> None:
    """RFC 7383 §2.6: with the size of the message that was cut."""
    pair, id = up()
    question, held = begin(pair, WEST)
    give(pair, WEST, id, held)
    assert question.answer == ()
    sa = pair.ike(WEST)
    assert sa.protection is not None
    head = sa.header(INFORMATIONAL, sa.next_message_id - 1, is_response=False)
    whole = sa.protection.seal(head, [LONG])
    told = pair.side(EAST).traces("ike-message")
    assert told[-2]["octets"] == len(whole) < sum(map(len, held))


def test_a_payload_before_the_fragment() -> None:
    """RFC 7383 §2.5.3: the Encrypted Fragment payload is the last, not the only."""
    pair, id = up()
    before = len(sent_by(pair, EAST))
    pair.inject(WEST, id, raw(pair, WEST, 1, 1, b"", 0, [VendorPayload(b"clear")]))
    assert len(sent_by(pair, EAST)) == before + 1
    assert dropped(pair, EAST) == {}


@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_response_in_any_order(name: str, order: tuple[int, ...]) -> None:
    """The same for the other way: here of CREATE_CHILD_SA."""
    pair, id = up()
    pair.rekey_child(name)
    other = pair.other(name)
    while pair.deliver_from(name):
        pass
    held = [octets[6:] for _, _, octets in pair.wire]
    pair.wire.clear()
    assert len(held) == 3
    give(pair, other, id, [held[i] for i in order])
    pair.check_agreement()
    pair.ping()


def test_a_lost_fragment_comes_with_the_repeated_request() -> None:
    """RFC 7383 §2.6.1: those that are there already are dropped."""
    pair, id = up()
    question, held = begin(pair, WEST)
    give(pair, WEST, id, [held[0], held[2]])
    assert question.answer is None
    give(pair, WEST, id, [held[2], held[0], held[1]])
    assert question.answer == ()
    assert dropped(pair, EAST) == {"FragmentError": 2}
    pair.check_agreement()


def test_only_the_first_fragment_of_a_repeated_request_is_answered() -> None:
    """RFC 7383 §2.6.1: once, whatever is repeated; and with the same octets."""
    pair, id = up()
    question, held = begin(pair, WEST)
    give(pair, WEST, id, held)
    before = sent_by(pair, EAST)
    give(pair, WEST, id, held[1:])
    assert sent_by(pair, EAST) == before
    pair.inject(WEST, id, held[0])
    assert sent_by(pair, EAST) == [*before, before[-1]]
    assert question.answer == ()
    assert dropped(pair, EAST) == {}
    pair.check_agreement()


def test_a_fragmented_answer_is_repeated_in_fragments() -> None:
    """RFC 7383 §2.6.1, [9329-6.2-responder]: all of it, the same octets."""
    pair, id = up()
    pair.rekey_child(WEST)
    request = [octets[6:] for _, _, octets in pair.wire]
    while pair.deliver_from(WEST):
        pass
    response = [octets[6:] for _, _, octets in pair.wire]
    assert len(response) == 3
    pair.wire.clear()
    give(pair, WEST, id, request[1:])
    pair.inject(WEST, id, request[0])
    again = [m for m in fragments_by(pair, EAST) if m in response]
    assert again == [*response, *response]
    pair.check_agreement()


def test_a_message_that_comes_whole_after_all() -> None:
    """RFC 7383 §2.4: the form may change from one attempt to the next."""
    pair, id = up()
    west, east = pair.ike(WEST), pair.ike(EAST)
    question, held = begin(pair, WEST)
    give(pair, WEST, id, held[:2])
    assert len(east.request_fragments) == 2
    assert west.protection is not None
    assert west.sent is not None
    head = west.header(INFORMATIONAL, west.sent.message_id, is_response=False)
    pair.inject(WEST, id, west.protection.seal(head, [LONG]))
    assert question.answer == ()
    assert len(east.request_fragments) == 0
    pair.inject(WEST, id, held[2])
    assert len(east.request_fragments) == 0
    pair.check_agreement()


def test_a_replayed_answer_does_not_end_the_wait_for_fragments() -> None:
    """What is there is authentic; an old message from the wire must not undo it."""
    pair, id = up()
    pair.ask(WEST, INFORMATIONAL)
    old = sent_by(pair, EAST)[-1]
    pair.rekey_child(WEST)
    while pair.deliver_from(WEST):
        pass
    held = [octets[6:] for _, _, octets in pair.wire]
    pair.wire.clear()
    give(pair, EAST, id, [held[0], old, held[1], held[2]])
    assert dropped(pair, WEST) == {"MessageIdError": 1}
    pair.check_agreement()


# --- not wanted -----------------------------------------------------------------------


def test_answers_to_nothing_and_requests_outside_the_window() -> None:
    """RFC 7296 §2.2, §2.3: their fragments are not kept."""
    pair, id = up()
    question, held = begin(pair, WEST)
    give(pair, WEST, id, held)
    assert question.answer == ()
    sa = pair.ike(WEST)
    sa.next_message_id += 1
    pair.inject(WEST, id, raw(pair, WEST, 1, 2, b""))
    sa.next_message_id -= 1
    assert dropped(pair, EAST) == {"MessageIdError": 1}
    east = pair.ike(EAST)
    assert east.protection is not None
    head = east.header(INFORMATIONAL, 0, is_response=True)
    answer = east.protection.seal_content(head, SkfPayload(0, 1, 2, b""), b"")
    pair.inject(EAST, id, answer)
    assert dropped(pair, WEST) == {"MessageIdError": 1}
    assert len(east.request_fragments) == len(sa.response_fragments) == 0
    pair.check_agreement()


@pytest.mark.parametrize(("number", "total"), [(0, 2), (3, 2), (1, 0)])
def test_impossible_numbers_are_dropped(number: int, total: int) -> None:
    """RFC 7383 §2.6: silently, though it be authentic."""
    pair, id = up()
    pair.inject(WEST, id, raw(pair, WEST, number, total, b""))
    assert dropped(pair, EAST) == {"FragmentError": 1}
    assert len(pair.ike(EAST).request_fragments) == 0
    pair.check_agreement()


def test_a_forged_fragment_replaces_nothing() -> None:
    """RFC 7383 §2.6: dropped; and what it says of a larger set is not believed."""
    pair, id = up()
    question, held = begin(pair, WEST)
    give(pair, WEST, id, held[:2])
    forged = bytearray(held[2])
    forged[35] += 1  # Total Fragments
    other = opened_by_hand(pair)
    pair.inject(WEST, other, bytes(forged))
    assert dropped(pair, EAST)["IntegrityError"] == 1
    assert other not in pair.open  # what fails its check ends its TCP connection
    assert len(pair.ike(EAST).request_fragments) == 2
    pair.inject(WEST, id, held[2])
    assert question.answer == ()


def test_each_octet_of_a_fragment_is_authenticated() -> None:
    """RFC 7383 §2.5: whatever is changed, nothing of it is kept."""
    pair, _ = up()
    _, held = begin(pair, WEST)
    east = pair.ike(EAST)
    for place in range(len(held[0])):
        changed = bytearray(held[0])
        changed[place] ^= 1
        id = opened_by_hand(pair)
        pair.inject(WEST, id, bytes(changed))
        assert len(east.request_fragments) == 0
        assert dropped(pair, EAST)
        pair.open.discard(id)
        pair.run(EAST, pair.east.endpoint.connection_lost(id, "RST", pair.now))


def test_another_set_of_fragments() -> None:
    """RFC 7383 §2.5.2: more fragments begin anew, fewer are old."""
    pair, id = up()
    question, held = begin(pair, WEST)
    sa = pair.ike(WEST)
    sa.next_message_id -= 1
    pieces = [bytes([0, 0, 0, 154]), b"v" * 50, b"v" * 50, b"v" * 50]
    finer = [raw(pair, WEST, n, 4, c) for n, c in enumerate(pieces, 1)]
    sa.next_message_id += 1
    give(pair, WEST, id, [held[0], finer[0], held[1], held[2]])
    assert dropped(pair, EAST) == {"FragmentError": 2}
    assert question.answer is None
    give(pair, WEST, id, finer[1:])
    assert question.answer == ()
    pair.check_agreement()


@pytest.mark.parametrize("total", [MAX_FRAGMENTS + 1, 65535])
def test_too_many_fragments_end_the_ike_sa(total: int) -> None:
    """RFC 7383 §5: whoever holds the keys and does this is an enemy, or broken."""
    pair, id = up()
    pair.inject(WEST, id, raw(pair, WEST, 1, total, b""))
    assert not pair.east.endpoint.tables.ike_sas
    assert dropped(pair, EAST) == {"FragmentLimitError": 1}
    (closed,) = pair.east.traces("ike-sa-closed")
    assert str(total) in str(closed["reason"])


def test_too_many_octets_end_the_ike_sa() -> None:
    """RFC 7383 §5: also before anybody is authenticated; memory is bounded."""
    pair = Pair(fragment_size=SIZE)
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    while pair.ike(WEST).protection is None:
        pair.deliver()
    pair.wire.clear()
    west = pair.ike(WEST)
    assert west.protection is not None
    head = west.header(ExchangeType.IKE_AUTH, 1, is_response=False)
    for number in (1, 2):
        assert pair.east.endpoint.tables.half_open
        outer = SkfPayload(41, number, 3, b"")
        message = west.protection.seal_content(head, outer, bytes(0x8000))
        pair.inject(WEST, id, message)
    assert not pair.east.endpoint.tables.ike_sas
    assert not pair.east.endpoint.tables.half_open


def test_an_incomplete_request_is_forgotten_in_time() -> None:
    """RFC 7383 §2.6: as if none had come; no failure of the IKE SA."""
    pair, id = up()
    _, held = begin(pair, WEST)
    give(pair, WEST, id, held[:2])
    east = pair.ike(EAST)
    deadline = pair.now + east.policy.request_timeout_seconds
    assert pair.east.endpoint.next_deadline(pair.now) == deadline
    pair.now = deadline - 1
    pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert len(east.request_fragments) == 2
    pair.now = deadline
    pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert len(east.request_fragments) == 0
    assert east.is_usable
    assert dropped(pair, EAST) == {}


def test_the_end_of_an_ike_sa_drops_what_waits() -> None:
    """What is inside is secret, and goes with the keys."""
    pair, id = up()
    _, held = begin(pair, WEST)
    give(pair, WEST, id, held[:2])
    east = pair.ike(EAST)
    pair.begin(EAST, Question(INFORMATIONAL, [DeletePayload(ProtocolId.IKE)]))
    east.close("a test")
    assert len(east.request_fragments) == 0


# --- what is inside -------------------------------------------------------------------


def test_syntax_is_judged_when_all_is_there() -> None:
    """RFC 7383 §2.6: as if it had come whole; the IKE SA ends, the connection stays."""
    pair, id = up()
    first = raw(pair, WEST, 1, 2, b"\xff\xff")
    last = raw(pair, WEST, 2, 2, b"\xff\xff\xff")
    give(pair, WEST, id, [first])
    assert pair.ike(EAST).is_usable
    give(pair, WEST, id, [last])
    assert pair.said(EAST)[-1].endswith("response: N(INVALID_SYNTAX)")
    assert not pair.east.endpoint.tables.ike_sas
    assert id in pair.open


def test_an_unknown_critical_payload_in_fragments() -> None:
    """RFC 7296 §2.5: its type is told, and the IKE SA lives."""
    pair, id = up()
    content = bytes([0, 0x80, 0, 8]) + bytes(4)
    give(pair, WEST, id, [raw(pair, WEST, 2, 2, content[5:])])
    give(pair, WEST, id, [raw(pair, WEST, 1, 2, content[:5], first=200)])
    assert pair.said(EAST)[-1].endswith("N(UNSUPPORTED_CRITICAL_PAYLOAD)")
    assert pair.ike(EAST).is_usable


def with_pad_length(pair: Pair, name: str, message_id: int) -> bytes:
    """Make a fragment whose Pad Length is more than there is."""
    protection = pair.ike(name).protection
    assert protection is not None
    sealing = protection._spec.new(*protection._seals_with)
    head = pair.ike(name).header(INFORMATIONAL, message_id, is_response=False)
    body_size = 8 + 1 + 16
    length = 28 + 8 + body_size
    before = head.with_chain(53, length).encode()
    before += bytes([43, 0, 0, 8 + body_size, 0, 1, 0, 2])
    iv = (1 << 40).to_bytes(8, "big")
    return before + iv + sealing.seal(iv, b"\xff", before)


def test_padding_that_cannot_be() -> None:
    """RFC 7296 §2.21.3: authentic, so the sender hears of it; once only."""
    pair, id = up()
    message_id = pair.ike(WEST).next_message_id
    pair.ask(WEST, INFORMATIONAL)
    before = len(sent_by(pair, EAST))
    pair.inject(WEST, id, with_pad_length(pair, WEST, message_id))
    assert len(sent_by(pair, EAST)) == before  # a repetition: nothing is done
    pair.inject(WEST, id, with_pad_length(pair, WEST, message_id + 1))
    assert pair.said(EAST)[-1].endswith("response: N(INVALID_SYNTAX)")
    assert not pair.east.endpoint.tables.ike_sas


def test_a_search_takes_what_is_authentic_whatever_is_wrong_inside() -> None:
    """RFC 9329 §10: what to say of the inside is for its IKE SA."""
    pair, _ = up()
    ((_, session),) = pair.east.endpoint.tables.ike_sas.values()
    message = with_pad_length(pair, WEST, pair.ike(WEST).next_message_id)
    is_genuine = pair.east.endpoint._ike.is_genuine
    assert is_genuine(session, message)
    assert not is_genuine(session, message[:-1] + bytes([message[-1] ^ 1]))
    assert pair.ike(EAST).is_usable


# --- connections ----------------------------------------------------------------------


def current(pair: Pair, name: str) -> ConnectionId | None:
    """Where a side sends."""
    ((_, session),) = pair.side(name).endpoint.tables.ike_sas.values()
    return session.current


def test_a_fragment_moves_nothing_but_the_last_does() -> None:
    """[9329-6.1-valid-ike] RFC 9329 §6.1: the message counts, where it became whole."""
    pair, old = up()
    _, held = begin(pair, WEST)
    new = opened_by_hand(pair)
    give(pair, WEST, new, held[:2])
    assert current(pair, EAST) == old
    connection = pair.east.endpoint.map.connections[new]
    assert connection.is_half_open
    pair.inject(WEST, new, held[2])
    assert current(pair, EAST) == new
    assert not connection.is_half_open
    assert pair.sent[-1][1] == new


def test_fragments_may_come_on_two_connections() -> None:
    """[9329-6.1-both] RFC 9329 §6.1: the last to come decides."""
    pair, old = up()
    _, held = begin(pair, WEST)
    new = opened_by_hand(pair)
    give(pair, WEST, new, held[1:])
    pair.inject(WEST, old, held[0])
    assert current(pair, EAST) == old
    assert pair.sent[-1][1] == old


def test_a_recorded_fragment_does_not_move_the_session() -> None:
    """[9329-6.1-valid-ike] Forgotten or answered, it is no valid message."""
    pair, old = up()
    _, held = begin(pair, WEST)
    give(pair, WEST, old, held[:1])
    pair.ike(EAST).request_fragments.clear()
    new = opened_by_hand(pair)
    give(pair, WEST, new, held[:1])  # nothing remembers that it was here
    assert current(pair, EAST) == old
    give(pair, WEST, old, held[1:])
    assert current(pair, EAST) == old
    give(pair, WEST, new, held)  # answered there, once, and moves nothing
    assert [id for name, id, _ in pair.sent if name == EAST].count(new) == 1
    assert current(pair, EAST) == old
