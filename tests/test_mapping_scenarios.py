"""Two endpoints, broken wires: the rules of mapping as they are seen from outside.

Source: RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Callable

import pytest

from iketcp.effects import ConnectionId
from iketcp.ike.header import Header
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import SkPayload, UnknownPayload
from iketcp.ike.policy import Uniqueness
from iketcp.mapping import MappingPolicy
from iketcp.registry import ExchangeType, PayloadType
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX, MessageKind, frame_ike
from pair import EAST, WEST, Pair, ike_policy
from scenarios import STRANGER, Stage, to_east, to_west


def up() -> tuple[Stage, ConnectionId]:
    """A session that is up, on its first connection, some time later."""
    stage = Stage()
    first = stage.up()
    stage.now = 100.0
    return stage, first


def reconnected(port: int = 40000) -> tuple[Stage, ConnectionId, ConnectionId]:
    """West lost its connection and opened another; east knows of neither yet."""
    stage, first = up()
    stage.break_for(WEST, first)
    second = stage.connect(port)
    return stage, first, second


# --- one connection for everything ----------------------------------------------------


def test_everything_of_a_session_goes_over_one_connection() -> None:
    """[9329-6.1-one] [9329-5-all]: IKE and ESP, first and rekeyed, both ways."""
    stage, first = up()
    stage.ping()
    for name in (WEST, EAST):
        stage.run(name, stage.side(name).endpoint.rekey_child("net", stage.now))
        stage.settle()
        stage.run(name, stage.side(name).endpoint.rekey_ike(stage.now))
        stage.settle()
        stage.ping()
    assert {connection for _, connection, _ in stage.sent} == {first}
    assert stage.west.wanted == [0.0]


def test_a_new_connection_of_ours_replaces_the_old() -> None:
    """[9329-6.1-one]: its TCP Originator closes the one that it has replaced."""
    stage, first = up()
    second = stage.connect()
    assert stage.closings(WEST) == [(first, "replaced by a new connection")]
    stage.settle()
    stage.ping()
    assert not stage.is_open(EAST, first)
    assert stage.session(WEST).current == stage.session(EAST).current == second
    assert stage.west.wanted == [0.0]


# --- recognising a session ------------------------------------------------------------


def test_ike_first_on_a_new_connection() -> None:
    """[9329-6.1-recognise] [9329-6.1-last-valid]: the answer comes back there."""
    stage, first, second = reconnected()
    assert stage.session(EAST).current == first
    stage.settle()
    assert stage.session(EAST).current == second
    assert len(stage.ike(EAST, second)) == 1
    (moved,) = stage.east.traces("mapping-moved")
    assert (moved["from"], moved["to"]) == (first, second)
    stage.ping()


def test_esp_first_on_a_new_connection() -> None:
    """[9329-6.1-recognise] [9329-6.1-last-valid]: the SPI of ESP is enough."""
    stage, _, second = reconnected()
    prefix = stage.wire.popleft()
    stage.lose_waiting()
    stage.wire.append(prefix)
    stage.send(WEST, to_east())
    stage.settle()
    assert stage.east.delivered == [to_east()]
    assert stage.session(EAST).current == second
    stage.send(EAST, to_west())
    assert stage.sent[-1][:2] == (EAST, second)


@pytest.mark.parametrize("address", [None, "203.0.113.77", "198.51.100.200"])
def test_a_session_may_come_from_anywhere(address: str | None) -> None:
    """[9329-6.1-address]: another address, another port, the same SAs."""
    stage, first = up()
    stage.break_connection(first)
    stage.connect(port=61000, address=address)
    stage.settle()
    stage.ping()
    assert stage.west.traces("ike-sa-closed") == []


def test_a_stream_without_prefix_moves_nothing() -> None:
    """[9329-6.1-noprefix]: not even authentic messages of a known session count."""
    stage, first = up()
    packet = stage.esp(WEST)
    stranger = stage.knock(prefix=b"")
    stage.feed(EAST, stranger, packet)
    assert stage.east.delivered == []
    assert stage.session(EAST).current == first
    assert [id for id, _ in stage.closings(EAST)] == [stranger]
    assert [o for n, c, o in stage.sent if c == stranger] == []


# --- what moves a session, and what does not ------------------------------------------


def test_both_connections_are_listened_to() -> None:
    """[9329-6.1-both] [9329-6.1-send-one]: old and new, until the old one is closed."""
    stage, first, second = reconnected()
    late = stage.esp(WEST, b"late")
    stage.settle()
    stage.feed(EAST, first, late)
    assert stage.session(EAST).current == first
    stage.send(EAST, to_west())
    assert stage.sent[-1][:2] == (EAST, first)
    stage.send(WEST, to_east())
    stage.settle()
    assert stage.session(EAST).current == second
    assert stage.east.delivered[-2:] == [to_east(b"late"), to_east()]


def replayed_esp(stage: Stage) -> bytes:
    """An ESP packet that has arrived before."""
    packet = stage.esp(WEST)
    stage.feed(EAST, stage.session(EAST).current or ConnectionId(0), packet)
    return packet


def forged_esp(stage: Stage) -> bytes:
    """An ESP packet with one bit wrong."""
    packet = stage.esp(WEST)
    return packet[:-1] + bytes([packet[-1] ^ 1])


def unknown_esp(stage: Stage) -> bytes:
    """An ESP packet for nobody."""
    packet = stage.esp(WEST)
    return packet[:2] + b"\xff\xff\xff\xff" + packet[6:]


def forged_ike(stage: Stage) -> bytes:
    """An IKE request with one bit wrong."""
    message = stage.sealed(WEST, [])
    return message[:-1] + bytes([message[-1] ^ 1])


def early_ike(stage: Stage) -> bytes:
    """An authentic IKE request from beyond the window."""
    return stage.sealed(WEST, [], message_id=stage.sa(WEST).next_message_id + 1)


def repeated_ike(stage: Stage) -> bytes:
    """The last IKE request, once more."""
    first = stage.session(EAST).current or ConnectionId(0)
    return frame_ike(stage.ike(WEST, first)[-1])


def first_ike(stage: Stage) -> bytes:
    """The IKE_SA_INIT request that began the session, once more."""
    first = stage.session(EAST).current or ConnectionId(0)
    return frame_ike(stage.ike(WEST, first)[0])


def reflected_ike(stage: Stage) -> bytes:
    """East's own last response."""
    first = stage.session(EAST).current or ConnectionId(0)
    return frame_ike(stage.ike(EAST, first)[-1])


@pytest.mark.parametrize(
    "make",
    [
        replayed_esp,
        forged_esp,
        unknown_esp,
        forged_ike,
        early_ike,
        repeated_ike,
        reflected_ike,
        first_ike,
    ],
)
def test_only_valid_messages_move_a_session(make: Callable[[Stage], bytes]) -> None:
    """[9329-6.1-valid-ike] [9329-6.1-valid-esp], one way to fail after the other."""
    stage, first = up()
    octets = make(stage)
    stranger = stage.knock()
    stage.feed(EAST, stranger, octets)
    assert stage.east.endpoint.tables.sessions()[0].current == first
    assert stage.east.traces("mapping-moved") == []
    stage.ping()


def test_a_dummy_packet_moves_a_session() -> None:
    """[9329-6.1-valid-esp]: it is authentic and no replay; RFC 4303 §2.6."""
    stage, _ = up()
    dummy = stage.child(WEST).esp.seal_dummy()
    new = stage.knock()
    stage.feed(EAST, new, (len(dummy) + 2).to_bytes(2, "big") + dummy)
    assert stage.session(EAST).current == new
    assert stage.east.delivered == []


@pytest.mark.parametrize("noise", [b"\x00\x03\xff", b"\x00\x02"])
def test_keepalives_and_empty_messages_are_nothing(noise: bytes) -> None:
    """[9329-6.6-drop] [9329-3-empty]: no error, no corruption, no move, no answer."""
    stage, first = up()
    new = stage.knock()
    sent = len(stage.sent)
    stage.feed(EAST, new, noise * 50)
    stage.feed(EAST, first, noise * 50)
    assert stage.dropped(EAST) == {}
    assert len(stage.sent) == sent
    assert stage.is_open(EAST, new)
    assert stage.session(EAST).current == first
    stage.advance(10.0)
    assert stage.closings(EAST) == [(new, "no valid message in time")]
    stage.ping()


def test_no_keepalive_is_ever_sent() -> None:
    """[9329-6.6-send]: nor an empty message, in an hour of silence behind a NAT."""
    quiet = {name: ike_policy(name, liveness_seconds=30.0) for name in (WEST, EAST)}
    stage = Stage(quiet[WEST], quiet[EAST])
    id = stage.up()
    for _ in range(360):
        stage.advance(10.0)
    for name in (WEST, EAST):
        for kind in (MessageKind.KEEPALIVE, MessageKind.EMPTY):
            assert stage.messages(name, id, kind) == []
    assert len(stage.ike(WEST, id)) > 60


# --- retransmission -------------------------------------------------------------------


def test_a_repeated_request_is_answered_where_it_came_from() -> None:
    """[9329-6.1-reply-path] [9329-6.2-responder]: the same octets; nothing moves."""
    stage, first = up()
    new = stage.knock()
    stage.feed(EAST, new, repeated_ike(stage))
    assert stage.ike(EAST, new) == stage.ike(EAST, first)[-1:]
    assert stage.session(EAST).current == first
    assert len(stage.east.endpoint.tables.children) == 1
    (again,) = [m for m in stage.east.traces("ike-message") if m["is_retransmission"]]
    assert again["connection"] == new


def test_a_repeated_first_request_is_answered_where_it_came_from() -> None:
    """[9329-6.1-reply-path]: IKE_SA_INIT over a new connection, RFC 7296 §2.1."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    first = stage.connect()
    stage.deliver()
    stage.deliver()
    assert len(stage.ike(EAST, first)) == 1
    stage.break_connection(first)
    second = stage.connect()
    stage.settle()
    assert stage.ike(WEST, second)[0] == stage.ike(WEST, first)[0]
    assert stage.ike(EAST, second)[0] == stage.ike(EAST, first)[0]
    assert len(stage.east.endpoint.tables.ike_sas) == 1
    assert stage.session(EAST).current == second
    stage.ping()


def test_a_first_request_is_not_repeated_on_anothers_connection() -> None:
    """[9329-6.1-share] holds for the repetition of IKE_SA_INIT as well."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    first = stage.connect()
    stage.deliver()
    stage.deliver()
    other = Pair(seed="other")
    other.up()
    init = other.sent[1][2]
    theirs = stage.knock()
    stage.feed(EAST, theirs, init)
    stage.feed(EAST, theirs, frame_ike(stage.ike(WEST, first)[0]))
    assert len(stage.ike(EAST, theirs)) == 1


def test_a_request_under_way_is_repeated_by_the_originator() -> None:
    """[9329-6.2-reconnect]: octet for octet, first on the new connection."""
    stage, first = up()
    stage.run(WEST, stage.west.endpoint.rekey_child("net", stage.now))
    stage.break_connection(first)
    second = stage.connect()
    assert stage.ike(WEST, second) == stage.ike(WEST, first)[-1:]
    stage.settle()
    stage.ping()
    assert len(stage.west.traces("child-sa-rekeyed")) == 1


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_request_answered_before_the_break_still_moves_the_session(
    is_noticed: bool,
) -> None:
    """[9329-6.1-resume-msg]: the repetition proves nothing, so news follow it."""
    stage, first = up()
    stage.run(WEST, stage.west.endpoint.rekey_child("net", stage.now))
    stage.deliver()
    if is_noticed:
        stage.break_connection(first)
    else:
        stage.lose_waiting()
        stage.break_for(WEST, first)
    second = stage.connect()
    stage.settle()
    assert stage.session(EAST).current == second
    stage.send(EAST, to_west())
    stage.settle()
    assert stage.west.delivered == [to_west()]
    assert len(stage.east.traces("child-sa-rekeyed")) == 1


def test_a_request_under_way_is_repeated_by_the_responder() -> None:
    """[9329-6.2-reconnect]: it is the exchange initiator; the session moves first."""
    stage, first = up()
    stage.run(EAST, stage.east.endpoint.rekey_child("net", stage.now))
    stage.break_connection(first)
    second = stage.connect()
    stage.settle()
    assert stage.ike(EAST, first)[-1] in stage.ike(EAST, second)
    assert len(stage.west.traces("child-sa-rekeyed")) == 1
    stage.ping()


def test_esp_makes_the_responder_repeat_its_request() -> None:
    """[9329-6.2-reconnect]: ESP moves the session just as well."""
    stage, first, second = reconnected()
    stage.run(EAST, stage.east.endpoint.rekey_child("net", stage.now))
    request = stage.ike(EAST, first)[-1]
    prefix = stage.wire.popleft()
    stage.lose_waiting()
    stage.wire.append(prefix)
    stage.send(WEST, to_east())
    stage.deliver()
    stage.deliver()
    assert stage.ike(EAST, second) == [request]


def test_a_request_that_the_move_sets_going_is_sent_once() -> None:
    """[9329-6.2-no-retransmit]: what begins with the move is no repetition."""
    stage, first = up()
    stage.run(EAST, stage.east.endpoint.rekey_child("net", stage.now))
    stage.run(EAST, stage.east.endpoint.rekey_ike(stage.now))
    stage.deliver()
    answer = stage.ike(WEST, first)[-1]
    stage.lose_waiting()
    new = stage.knock()
    stage.feed(EAST, new, frame_ike(answer))
    sent = stage.ike(EAST, new)
    assert len(sent) == len(set(sent)) == 1


def test_an_old_ike_sas_delete_is_repeated_too() -> None:
    """[9329-6.2-reconnect]: around a rekey two IKE SAs may wait for answers."""
    stage, first = up()
    stage.run(WEST, stage.west.endpoint.rekey_ike(stage.now))
    stage.deliver()
    stage.deliver()
    assert len(stage.west.endpoint.tables.ike_sas) == 2
    delete = stage.ike(WEST, first)[-1]
    stage.break_connection(first)
    second = stage.connect()
    assert delete in stage.ike(WEST, second)
    stage.settle()
    for side in (stage.west, stage.east):
        assert len(side.endpoint.tables.ike_sas) == 1
    stage.ping()


# --- loss and reconnection ------------------------------------------------------------


def test_sas_outlive_their_connection() -> None:
    """[9329-6.1-keep-state] [9329-10-state]: neither side drops anything."""
    stage, first = up()
    stage.break_connection(first)
    stage.advance(3600.0)
    for name in (WEST, EAST):
        assert len(stage.side(name).endpoint.tables.ike_sas) == 1
        assert len(stage.side(name).endpoint.tables.children) == 1
        assert stage.session(name).current is None
    stage.connect()
    stage.settle()
    stage.ping()


def test_only_the_originator_reconnects() -> None:
    """[9329-6.1-reestablish] [9329-1.2-originator]: east never asks."""
    stage, first = up()
    stage.break_connection(first)
    assert stage.west.wanted == [0.0, 0.0]
    assert stage.east.wanted == []
    stage.run(EAST, stage.east.endpoint.connection_failed(stage.now))
    assert stage.east.wanted == []


def test_attempts_back_off_with_jitter() -> None:
    """[9329-6.1-reestablish]: at once, then longer each time, never over the limit."""
    policy = MappingPolicy(reconnect_seconds=2.0, reconnect_limit_seconds=10.0)
    stage = Stage(mapping=policy)
    stage.break_connection(stage.up())
    for _ in range(6):
        stage.run(WEST, stage.west.endpoint.connection_failed(stage.now))
    at_once, *pauses = stage.west.wanted[1:]
    assert at_once == 0.0
    for pause, limit in zip(pauses, (2.0, 4.0, 8.0, 10.0, 10.0, 10.0), strict=True):
        assert limit / 2 < pause < limit


def test_a_peer_that_hangs_up_at_once_is_not_asked_at_once() -> None:
    """[9329-6.1-reestablish]: an answer alone does not begin the count anew."""
    stage, first = up()
    stage.break_connection(first)
    for _ in range(3):
        stage.break_connection(stage.connect())
    assert stage.west.wanted[:2] == [0.0, 0.0]
    assert all(pause > 0.0 for pause in stage.west.wanted[2:])


def test_the_prefix_comes_first_on_every_connection() -> None:
    """[9329-4-prefix] [9329-4-once] [9329-6.1-reprefix] [9329-4-originator]."""
    stage, first = up()
    stage.break_connection(first)
    second = stage.connect()
    stage.settle()
    stage.ping()
    for id in (first, second):
        west = b"".join(o for n, c, o in stage.sent if (n, c) == (WEST, id))
        east = b"".join(o for n, c, o in stage.sent if (n, c) == (EAST, id))
        assert west.startswith(STREAM_PREFIX)
        assert west.count(STREAM_PREFIX) == 1
        assert not east.startswith(STREAM_PREFIX)
        assert STREAM_PREFIX not in east


def test_an_empty_informational_comes_first() -> None:
    """[9329-6.1-resume-msg]: without MOBIKE."""
    stage, first = up()
    stage.break_connection(first)
    second = stage.connect()
    (message,) = stage.ike(WEST, second)
    assert Header.decode(message).exchange_type == ExchangeType.INFORMATIONAL
    assert stage.west.traces("ike-message")[-1]["payloads"] == []


@pytest.mark.parametrize("where", ["Length", "marker", "ICV"])
def test_a_message_cut_off_is_completed_by_nobody(where: str) -> None:
    """[9329-6.1-partial]: its other half on a new connection is no message."""
    stage, first = up()
    message = stage.sealed(WEST, [])
    assert message[2:6] == NON_ESP_MARKER
    at = {"Length": 1, "marker": 4, "ICV": len(message) - 3}[where]
    stage.feed(EAST, first, message[:at])
    stage.break_for(EAST, first)
    new = stage.knock()
    stage.feed(EAST, new, message[at:])
    stage.feed(EAST, first, message[at:])
    assert len(stage.ike(EAST, first)) == 2
    assert stage.ike(EAST, new) == []
    assert stage.session(EAST).current is None
    stage.break_for(EAST, new)
    stage.break_connection(first)
    stage.connect()
    stage.settle()
    stage.ping()


def test_the_loss_of_the_new_connection_leads_back_to_the_old() -> None:
    """[9329-6.1-last-valid]: of what is open, the one with the last valid message."""
    stage, first = up()
    new = stage.knock()
    stage.feed(EAST, new, stage.esp(WEST))
    assert stage.session(EAST).current == new
    stage.break_for(EAST, new)
    assert stage.session(EAST).current == first
    stage.ping()


def test_a_replaced_connection_closes_when_idle() -> None:
    """[9329-6.1-extraneous]: after thirty seconds, and nobody notices."""
    stage, first, _ = reconnected()
    stage.settle()
    stage.advance(29.9)
    assert stage.closings(EAST) == []
    assert stage.east.endpoint.next_deadline(stage.now) == 130.0
    stage.advance(0.1)
    assert stage.closings(EAST) == [(first, "replaced and idle")]
    stage.ping()


# --- several IKE SAs, and rekeys ------------------------------------------------------


def test_two_sessions_never_share_a_connection() -> None:
    """[9329-6.1-share]: a second IKE_SA_INIT gets no answer, the first SA works."""
    stage, first = up()
    other = Pair(seed="other")
    other.up()
    sent = len(stage.sent)
    stage.feed(EAST, first, other.sent[1][2])
    assert len(stage.sent) == sent
    assert stage.dropped(EAST) == {"IKE_SA_INIT on a connection in use": 1}
    assert len(stage.east.endpoint.tables.ike_sas) == 1
    stage.ping()


def two_sessions() -> tuple[Stage, ConnectionId, Stage, ConnectionId]:
    """Two initiators with sessions at one responder, each on its own connection."""
    stage, first = up()
    # one identity on two machines
    other = Stage(west=ike_policy(WEST, unique=Uniqueness.NEVER), seed="other")
    other.now = stage.now
    other.east = stage.east
    other._next_id = 100
    second = other.up()
    return stage, first, other, second


def test_messages_of_another_session_are_not_looked_at() -> None:
    """[9329-6.1-share]: IKE and ESP of one on the connection of the other."""
    stage, first, other, second = two_sessions()
    sessions = stage.east.endpoint.tables.sessions()
    assert [session.current for session in sessions] == [first, second]
    delivered = len(stage.east.delivered)
    stage.feed(EAST, first, other.sealed(WEST, []))
    stage.feed(EAST, first, other.esp(WEST))
    assert [session.current for session in sessions] == [first, second]
    assert len(stage.east.delivered) == delivered
    assert stage.dropped(EAST) == {
        "IKE message of another session's": 1,
        "ESP of another session's": 1,
    }
    assert stage.is_open(EAST, first)


@pytest.mark.parametrize("who", [WEST, EAST])
def test_a_rekey_shares_the_connection_of_the_old_ike_sa(who: str) -> None:
    """[9329-6.1-rekey-share]: both are there until the old one is deleted."""
    stage, first = up()
    stage.run(who, stage.side(who).endpoint.rekey_ike(stage.now))
    stage.deliver()
    assert len(stage.side(stage.other(who)).endpoint.tables.ike_sas) == 2
    stage.settle()
    for name in (WEST, EAST):
        assert len(stage.side(name).endpoint.tables.ike_sas) == 1
        assert len(stage.session(name).ike_sas) == 1
        assert stage.session(name).current == first
    stage.ping()


@pytest.mark.parametrize("who", [(EAST,), (WEST, EAST, EAST)])
def test_the_originator_stays_the_originator(who: tuple[str, ...]) -> None:
    """[9329-1.2-originator]: whoever rekeys, west reconnects."""
    stage, first = up()
    for name in who:
        stage.run(name, stage.side(name).endpoint.rekey_ike(stage.now))
        stage.settle()
    assert not stage.sa(WEST).is_original_initiator
    stage.break_connection(first)
    assert (stage.west.wanted, stage.east.wanted) == ([0.0, 0.0], [])
    stage.connect()
    stage.settle()
    stage.ping()


# --- corruption -----------------------------------------------------------------------


@pytest.mark.parametrize("length", [b"\0\0", b"\0\x01"])
@pytest.mark.parametrize("name", [WEST, EAST])
def test_a_fatal_length_costs_the_connection_only(name: str, length: bytes) -> None:
    """[9329-3.1-length] [9329-3.2-length]: the SAs survive, on either side."""
    stage, first = up()
    stage.feed(name, first, length)
    ((closed, reason),) = stage.closings(name)
    assert closed == first
    assert "Length is" in reason
    assert stage.dropped(name) == {"connection closed for its octets": 1}
    assert len(stage.side(name).endpoint.tables.ike_sas) == 1
    assert stage.west.wanted == [0.0, 0.0]
    stage.connect()
    stage.settle()
    stage.ping()


def test_messages_before_a_fatal_length_count() -> None:
    """[9329-3.1-length]: what came whole before it is handled."""
    stage, first = up()
    stage.feed(EAST, first, stage.esp(WEST) + b"\0\0")
    assert len(stage.east.delivered) == 1
    assert not stage.is_open(EAST, first)


@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("make", [forged_esp, forged_ike])
def test_a_failed_check_costs_the_connection_only(
    name: str, make: Callable[[Stage], bytes]
) -> None:
    """[9329-6.1-corrupt]: at once, and never the SA."""
    stage, first = up()
    octets = make(stage)
    if name == WEST:
        octets = stage.esp(EAST) if make is forged_esp else stage.sealed(EAST, [])
        octets = octets[:-1] + bytes([octets[-1] ^ 1])
    stage.feed(name, first, octets)
    assert [id for id, _ in stage.closings(name)] == [first]
    assert len(stage.side(name).endpoint.tables.children) == 1
    stage.connect()
    stage.settle()
    stage.ping()


def test_an_unprotected_message_for_a_known_spi_is_a_failed_check() -> None:
    """[9329-6.1-corrupt]: without an Encrypted payload it proves nothing."""
    stage, first = up()
    sa = stage.sa(WEST)
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, 2, False, True)
    stage.feed(EAST, first, frame_ike(header.with_chain(0, 28).encode()))
    assert stage.dropped(EAST)["IntegrityError"] == 1
    assert not stage.is_open(EAST, first)
    assert len(stage.east.endpoint.tables.ike_sas) == 1


def test_garbage_then_a_valid_message() -> None:
    """[9329-6.1-corrupt]: a few unparseable messages do no harm."""
    stage, first = up()
    for _ in range(3):
        stage.feed(EAST, first, b"\0\x04xx" * 15)
        stage.ping()
    assert stage.dropped(EAST) == {"unparseable message": 45}
    assert stage.closings(EAST) == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\x04xx",
        frame_ike(bytes(28)),
        frame_ike(b"unknown.spi_r..." + b"\0\x20\x25\x08" + bytes(7) + b"\x1c"),
        frame_ike(b"spi_ispi" + bytes(8) + b"\0\x20\x25\x08" + bytes(7) + b"\x1c"),
    ],
)
def test_too_much_garbage_closes_the_connection(garbage: bytes) -> None:
    """[9329-6.1-corrupt]: neither IKE nor ESP, or IKE for nobody; the SA survives."""
    stage, first = up()
    stage.feed(EAST, first, garbage * 15)
    assert stage.is_open(EAST, first)
    stage.feed(EAST, first, garbage)
    assert stage.closings(EAST) == [(first, "16 unparseable messages in a row")]
    stage.connect()
    stage.settle()
    stage.ping()


def test_a_few_unknown_spis_are_tolerated() -> None:
    """[9329-6.1-few-unknown]: sixteen in a row, as often as valid ones come between."""
    stage, first = up()
    unknown = unknown_esp(stage)
    for _ in range(3):
        stage.feed(EAST, first, unknown * 16)
        stage.ping()
    assert stage.closings(EAST) == []
    stage.feed(EAST, first, unknown * 17)
    assert stage.closings(EAST) == [(first, "more than 16 unknown SPIs in a row")]
    assert len(stage.east.endpoint.tables.children) == 1


def test_packets_for_a_child_sa_just_removed_are_no_corruption() -> None:
    """[9329-6.1-few-unknown]: they were under way as it was rekeyed."""
    stage, first = up()
    late = [stage.esp(WEST, b"%d" % n) for n in range(40)]
    stage.run(WEST, stage.west.endpoint.rekey_child("net", stage.now))
    stage.settle()
    stage.feed(EAST, first, b"".join(late))
    assert stage.dropped(EAST) == {"ESP of a removed Child SA": 40}
    assert stage.closings(EAST) == []
    stage.ping()


def test_bad_syntax_ends_the_ike_sa_not_the_connection() -> None:
    """[9329-6.1-syntax]: INVALID_SYNTAX first, and the TCP Originator closes later."""
    stage, first = up()
    notify_cut_short = UnknownPayload(PayloadType.NOTIFY, b"\0", False)
    message = stage.sealed(WEST, [notify_cut_short])
    stage.feed(EAST, first, message)
    (answer,) = stage.ike(EAST, first)[2:]
    assert isinstance(decode_message(answer).payloads[-1], SkPayload)
    assert stage.east.traces("ike-message")[-1]["payloads"] == ["N(INVALID_SYNTAX)"]
    assert not stage.east.endpoint.has_sessions
    assert stage.closings(EAST) == []
    stage.advance(5.0)
    assert stage.closings(EAST)[0] == (first, "its session is deleted")


# --- strangers ------------------------------------------------------------------------


def test_strangers_change_nothing() -> None:
    """[9329-6.1-share] [9329-6.1-idle]: what they send is theirs alone to suffer."""
    stage, first = up()
    stranger = stage.knock(STRANGER)
    stage.feed(EAST, stranger, forged_esp(stage))
    assert [id for id, _ in stage.closings(EAST)] == [stranger]
    assert stage.session(EAST).current == first
    stage.ping()
