"""Streams that begin wrongly or never, DELETE from either side, and what comes after.

Source: RFC 9329 §4, RFC 9329 §6.1
"""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from iketcp.effects import CloseConnection, ConnectionId, OpenConnection
from iketcp.ike import engine
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import IkePolicy, Lifetime
from iketcp.mapping import MappingPolicy
from iketcp.stream import STREAM_PREFIX, frame_esp_batch
from pair import EAST, WEST, Pair, ike_policy
from scenarios import Stage, to_west

# --- the beginning of a stream -------------------------------------------------------


@pytest.mark.parametrize("prefix", [b"", b"I", STREAM_PREFIX[:5], STREAM_PREFIX])
def test_a_stream_has_ten_seconds(prefix: bytes) -> None:
    """[9329-6.1-idle]: for a whole prefix and a first valid message."""
    stage = Stage()
    id = stage.knock(prefix=prefix)
    stage.advance(9.9)
    assert stage.is_open(EAST, id)
    assert stage.east.endpoint.next_deadline(stage.now) == 10.0
    stage.advance(0.1)
    assert stage.closings(EAST) == [(id, "no valid message in time")]
    assert stage.sent == []
    assert stage.half_open() == 0


def test_the_prefix_may_come_octet_by_octet() -> None:
    """[9329-6.1-wait]: and the request behind it, too."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    octets = b"".join(octets for _, _, octets in stage.wire)
    stage.lose_waiting()
    for at in range(len(octets)):
        assert stage.ike(EAST, id) == []
        stage.feed(EAST, id, octets[at : at + 1])
    assert len(stage.ike(EAST, id)) == 1
    (prefix,) = stage.east.traces("stream-prefix")
    assert prefix == {"connection": id, "direction": "received"}


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", b"IKETCX", b"\x16\x03\x01"])
def test_a_stream_that_begins_otherwise_is_closed(octets: bytes) -> None:
    """[9329-6.1-noprefix]: at once, without an octet of reply."""
    stage = Stage()
    id = stage.knock(prefix=octets)
    ((closed, reason),) = stage.closings(EAST)
    assert closed == id
    assert "stream begins with" in reason
    assert stage.sent == []
    assert stage.east.traces("connection-closed") == [
        {"connection": id, "reason": reason}
    ]


def test_the_responder_never_sends_the_prefix() -> None:
    """[9329-4-originator]: and a prefix from it is no prefix but a bad message."""
    stage = Stage()
    id = stage.up()
    assert stage.east.traces("stream-prefix") == [
        {"connection": id, "direction": "received"}
    ]
    stage.feed(WEST, id, STREAM_PREFIX)
    stage.feed(WEST, id, bytes(0x494B - 6))
    assert stage.dropped(WEST) == {"unknown ESP SPI": 1}


def test_octets_of_a_connection_that_is_gone_are_nothing() -> None:
    """[9329-6.1-partial]: its thread may still have some."""
    stage = Stage()
    id = stage.knock()
    stage.break_for(EAST, id)
    assert stage.east.endpoint.octets_received(id, STREAM_PREFIX, 0.0) == []
    assert stage.east.endpoint.connection_lost(id, "again", 0.0) == []


def test_strangers_are_limited_by_address_and_in_all() -> None:
    """[9329-6.1-idle]: and make room for others when they go or show who they are."""
    policy = MappingPolicy(half_open_limit=3, half_open_address_limit=2)
    stage = Stage(mapping=policy)
    first = stage.knock("198.51.100.1")
    stage.knock("198.51.100.1")
    third = stage.knock("198.51.100.1")
    stage.knock("198.51.100.2")
    fourth = stage.knock("198.51.100.3")
    full = "too many connections without a valid message"
    assert stage.closings(EAST) == [
        (third, f"{full} from this address"),
        (fourth, full),
    ]
    assert stage.dropped(EAST) == {
        f"{full} from this address": 1,
        full: 1,
    }
    stage.break_for(EAST, first)
    stage.up()
    stage.ping()
    assert stage.is_open(EAST, stage.knock("198.51.100.4"))


def test_half_open_ike_sas_are_limited_too() -> None:
    """[9329-6.1-idle]: one that connects, begins and leaves, again and again."""
    policy = MappingPolicy(half_open_limit=8, half_open_address_limit=3)
    stage = Stage(mapping=policy)
    requests = []
    for number in range(5):
        other = Pair(seed=f"initiator {number}")
        other.up()
        requests.append(other.sent[1][2])
    for request in requests:
        id = stage.knock()
        stage.feed(EAST, id, request)
        stage.break_for(EAST, id)
    tables = stage.east.endpoint.tables
    assert len(tables.ike_sas) == len(tables.half_open) == tables.strangers.total == 3
    assert stage.dropped(EAST) == {"too many half-open IKE SAs": 2}
    id = stage.knock("198.51.100.99")
    stage.feed(EAST, id, requests[-1])
    assert len(stage.ike(EAST, id)) == 1
    stage.advance(30.0)
    assert not tables.ike_sas
    assert not tables.half_open
    assert (tables.strangers.total, tables.strangers.by_address) == (0, {})
    assert stage.is_open(EAST, id)
    stage.advance(5.0)
    assert stage.closings(EAST) == [(id, "its session is deleted")]


def test_an_established_ike_sa_is_half_open_no_more() -> None:
    """RFC 7296 §2.1: its IKE_SA_INIT is not answered again."""
    stage = Stage()
    stage.up()
    tables = stage.east.endpoint.tables
    assert (tables.half_open, tables.strangers.total) == ({}, 0)


# --- DELETE --------------------------------------------------------------------------


@pytest.mark.parametrize("who", [WEST, EAST])
def test_a_session_ends_with_delete(who: str) -> None:
    """[9329-6.1-delete] [9329-6.1-close]: then the TCP Originator closes."""
    stage = Stage()
    id = stage.up()
    stage.run(who, stage.side(who).endpoint.delete_all(stage.now))
    stage.settle()
    payloads = stage.side(stage.other(who)).traces("ike-message")[-2]["payloads"]
    assert payloads == ["D(IKE)"]
    for name in (WEST, EAST):
        assert not stage.side(name).endpoint.has_sessions
        assert not stage.side(name).endpoint.tables.children
        assert not stage.is_open(name, id)
    assert stage.closings(WEST) == [(id, "its session is deleted")]
    assert stage.closings(EAST) == []


def test_the_responder_closes_what_the_originator_leaves_open() -> None:
    """[9329-6.1-linger]: after five seconds."""
    stage = Stage()
    stage.deaf = frozenset({WEST})
    id = stage.up()
    stage.run(EAST, stage.east.endpoint.delete_all(stage.now))
    stage.settle()
    stage.advance(4.9)
    assert stage.closings(EAST) == []
    stage.advance(0.1)
    assert stage.closings(EAST) == [(id, "its session is deleted")]


def test_the_connection_may_serve_another_session_after_delete() -> None:
    """[9329-6.1-reuse]: as TCP Responder we take a new IKE_SA_INIT on it."""
    stage = Stage()
    stage.deaf = frozenset({WEST})
    id = stage.up()
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    stage.settle()
    other = Stage(seed="other")
    other.east, other.open, other._next_id = stage.east, {id}, int(id) - 1
    other.run(WEST, other.west.endpoint.initiate())
    west = ip_address(other.addresses[0])
    path = Path(west, 40001, ip_address(other.addresses[1]), 4500)
    opened = other.west.endpoint.connection_opened(id, path, True, 0.0)
    other.run(WEST, [e for e in opened if getattr(e, "octets", b"") != STREAM_PREFIX])
    other.settle()
    other.ping()
    stage.advance(60.0)
    assert stage.closings(EAST) == []


def test_traffic_after_delete_is_no_corruption() -> None:
    """[9329-6.1-few-unknown]: the peer goes on until it hears of the end."""
    stage = Stage()
    stage.deaf = frozenset({WEST})
    id = stage.up()
    late = [stage.esp(WEST, b"%d" % n) for n in range(64)]
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    stage.settle()
    stage.feed(EAST, id, b"".join(late))
    assert stage.closings(EAST) == []
    assert stage.dropped(EAST) == {"ESP of a removed Child SA": 64}


def test_esp_that_overtakes_the_answer_about_its_child_sa_is_no_corruption() -> None:
    """[9329-6.1-few-unknown]: the responder may send on it at once. RFC 7296 §2.8."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    while not stage.east.endpoint.tables.children:
        stage.deliver()
    early = b"".join(stage.esp(EAST, b"%d" % n) for n in range(64))
    stage.feed(WEST, id, early)
    assert stage.closings(WEST) == []
    assert stage.dropped(WEST) == {"ESP of a Child SA not yet agreed": 64}
    stage.settle()
    stage.ping()


def test_esp_that_overtakes_the_answer_to_a_rekey_is_no_corruption() -> None:
    """[9329-6.1-few-unknown]: as with the first Child SA. RFC 7296 §2.8."""
    stage = Stage()
    id = stage.up()
    stage.run(WEST, stage.west.endpoint.rekey_child("net", stage.now))
    stage.deliver()
    new = list(stage.east.endpoint.tables.children.values())[-1]
    early = frame_esp_batch(new.esp.seal_batch([to_west(b"%d" % n) for n in range(64)]))
    stage.feed(WEST, id, early)
    assert stage.closings(WEST) == []
    assert stage.dropped(WEST) == {"ESP of a Child SA not yet agreed": 64}
    stage.settle()
    stage.ping()


def test_a_request_for_no_child_sa_awaits_no_spi() -> None:
    """[9329-6.1-few-unknown]: unknown SPIs count while liveness is checked."""
    stage = Stage()
    id = stage.up()
    engine.resume(stage.sa(WEST), stage.now)
    stage.feed(WEST, id, frame_esp_batch([b"\0\0\1\7" + bytes(40)]))
    assert stage.dropped(WEST) == {"unknown ESP SPI": 1}


def test_delete_crosses_a_reconnection() -> None:
    """[9329-6.2-reconnect] [9329-6.1-delete]: the responder says it again."""
    stage = Stage()
    first = stage.up()
    stage.run(EAST, stage.east.endpoint.delete_all(stage.now))
    stage.break_connection(first)
    assert stage.east.endpoint.has_sessions
    stage.connect()
    stage.settle()
    assert not stage.east.endpoint.has_sessions
    assert not stage.west.endpoint.tables.ike_sas
    assert stage.west.traces("ike-sa-closed")[0]["reason"] == "deleted by the peer"
    sent = [m for m in stage.east.traces("ike-message") if m["direction"] == "sent"]
    first, again = [m for m in sent if not m["is_response"]]
    assert (first["is_retransmission"], again["is_retransmission"]) == (False, True)


def test_delete_on_both_sides_at_once() -> None:
    """RFC 7296 §1.4.1: both are answered, and nothing is left."""
    stage = Stage()
    stage.up()
    for name in (WEST, EAST):
        stage.run(name, stage.side(name).endpoint.delete_all(stage.now))
    stage.settle()
    stage.advance(120.0)
    for name in (WEST, EAST):
        assert not stage.side(name).endpoint.has_sessions


def test_an_initiator_that_loses_its_connection_while_it_deletes_stays_away() -> None:
    """[9329-6.1-delete]: no reconnecting to hear the answer, no waiting for ever."""
    stage = Stage()
    first = stage.up()
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    stage.break_connection(first)
    assert stage.west.wanted == [0.0]
    stage.advance(60.0)
    assert not stage.west.endpoint.has_sessions
    assert stage.west.wanted == [0.0]


def test_without_a_connection_a_session_is_deleted_in_silence() -> None:
    """[9329-6.1-delete]: the peer cannot hear it."""
    stage = Stage()
    first = stage.up()
    stage.break_connection(first)
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    assert not stage.west.endpoint.has_sessions
    stage.run(WEST, stage.west.endpoint.connection_failed(stage.now))
    assert stage.west.wanted == [0.0, 0.0]


def test_a_connection_that_comes_too_late_is_closed() -> None:
    """[9329-6.1-close]: the session was given up while it was made."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    id = stage.connect()
    assert stage.closings(WEST) == [(id, "not wanted any more")]
    assert stage.sent == []


def test_what_a_rekey_left_ends_with_the_session() -> None:
    """RFC 7296 §2.8: an IKE SA that waits to be deleted does not keep it alive."""
    stage = Stage()
    stage.up()
    stage.run(WEST, stage.west.endpoint.rekey_ike(stage.now))
    stage.deliver()
    stage.deliver()
    assert len(stage.west.endpoint.tables.ike_sas) == 2
    stage.lose_waiting()
    new = stage.sa(WEST)
    new.close("for the test")
    stage.run(WEST, stage.west.endpoint.time_passed(stage.now))
    assert not stage.west.endpoint.has_sessions
    reasons = [t["reason"] for t in stage.west.traces("ike-sa-closed")]
    assert reasons == ["for the test", "its session is deleted"]


# --- beginning again -----------------------------------------------------------------


def test_an_initiator_begins_again_after_the_peers_delete() -> None:
    """RFC 7296 §2.8: with a new IKE SA, after a pause."""
    stage = Stage()
    stage.up()
    stage.run(EAST, stage.east.endpoint.delete_all(stage.now))
    stage.settle()
    assert len(stage.west.wanted) == 2
    assert 0.0 < stage.west.wanted[1] <= 1.0
    stage.connect()
    stage.settle()
    stage.ping()
    assert len(stage.west.traces("ike-sa-established")) == 2


def test_an_initiator_begins_again_after_silence() -> None:
    """[9329-6.2-no-retransmit]: no answer in sixty seconds, the IKE SA is deleted."""
    quick = ike_policy(WEST, liveness_seconds=30.0)
    stage = Stage(west=quick)
    id = stage.up()
    stage.now = 30.0
    stage.run(WEST, stage.west.endpoint.time_passed(stage.now))
    sent = len(stage.ike(WEST, id))
    stage.lose_waiting()
    for _ in range(59):
        stage.now += 1.0
        stage.run(WEST, stage.west.endpoint.time_passed(stage.now))
    assert len(stage.ike(WEST, id)) == sent
    assert stage.west.endpoint.next_deadline(stage.now) == 90.0
    stage.advance(1.0)
    assert not stage.west.endpoint.has_sessions
    assert stage.closings(WEST) == [(id, "its session is deleted")]
    assert len(stage.west.wanted) == 2


def test_what_was_never_established_is_not_tried_again() -> None:
    """RFC 7296 §2.21.2: a wrong secret stays wrong."""
    west = ike_policy(WEST)
    wrong = replace(west, secrets=dict.fromkeys(west.secrets, b"another secret"))
    stage = Stage(west=wrong)
    stage.run(WEST, stage.west.endpoint.initiate())
    stage.connect()
    stage.settle()
    stage.advance(60.0)
    assert stage.west.wanted == [0.0]
    assert not stage.west.endpoint.has_sessions
    assert not stage.east.endpoint.has_sessions


def test_a_restart_by_wish_is_a_new_session() -> None:
    """The same endpoint may be told to begin again."""
    stage = Stage()
    stage.up()
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    stage.settle()
    stage.up()
    stage.ping()


def test_an_attempt_that_fails_is_followed_by_another() -> None:
    """[9329-6.1-reestablish]: also the very first one."""
    stage = Stage()
    (first,) = stage.west.endpoint.initiate()
    assert first == OpenConnection()
    (second,) = stage.west.endpoint.connection_failed(stage.now)
    assert second == OpenConnection(0.0)
    stage.connect()
    stage.settle()
    stage.ping()


# --- time and wishes -----------------------------------------------------------------


def volume(side: str) -> IkePolicy:
    """A policy whose Child SAs are limited by volume."""
    policy = ike_policy(side)
    child = replace(policy.children[0], lifetime=Lifetime(packets=20, jitter=0.0))
    return replace(policy, children=(child,))


def test_volumes_are_looked_at_every_second() -> None:
    """RFC 7296 §2.8: as long as there is a Child SA whose volume is limited."""
    stage = Stage(west=volume(WEST))
    assert stage.west.endpoint.next_deadline(0.0) is None
    stage.up()
    stage.ping(19)
    assert stage.west.endpoint.next_deadline(0.0) == 1.0
    stage.advance(1.0)
    assert stage.west.traces("child-sa-rekeyed") == []
    stage.ping()
    stage.advance(1.0)
    assert len(stage.west.traces("child-sa-rekeyed")) == 1
    stage.ping()


def test_wishes_for_nothing_do_nothing() -> None:
    """No session, no Child SA of that name: no effect."""
    stage = Stage()
    assert stage.west.endpoint.rekey_ike(0.0) == []
    assert stage.west.endpoint.delete_all(0.0) == []
    stage.up()
    assert stage.west.endpoint.rekey_child("another", 0.0) == []


def test_a_rekey_is_wished_once() -> None:
    """RFC 7296 §2.8: asking again while it is under way adds nothing."""
    stage = Stage()
    id = stage.up()
    for _ in range(3):
        stage.run(WEST, stage.west.endpoint.rekey_ike(stage.now))
    assert len(stage.ike(WEST, id)) == 3
    stage.settle()
    assert len(stage.west.traces("ike-sa-rekeyed")) == 1


def test_a_responder_that_deletes_keeps_its_wish_without_a_connection() -> None:
    """[9329-6.1-keep-state]: it cannot connect, so it waits to be asked."""
    stage = Stage()
    first = stage.up()
    stage.run(EAST, stage.east.endpoint.delete_all(stage.now))
    stage.break_connection(first)
    assert stage.east.wanted == []
    assert stage.east.endpoint.has_sessions
    stage.advance(60.0)
    assert not stage.east.endpoint.has_sessions


def test_every_closing_is_an_effect_and_a_trace() -> None:
    """RFC 9329 §6.1: a log shows what was closed, and why."""
    stage = Stage()
    id: ConnectionId = stage.knock()
    stage.advance(10.0)
    assert CloseConnection(id, "no valid message in time") in stage.east.effects
    assert stage.east.traces("connection-closed")[0]["connection"] == id
