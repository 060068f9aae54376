"""A picture of an endpoint for its user. Source: RFC 4301 §4.4.2."""

import json
from dataclasses import replace

from iketcp.endpoint.snapshot import snapshot
from iketcp.endpoint.tables import OTHER_REASONS, REASON_LIMIT, Counters
from iketcp.ike.policy import Lifetime
from iketcp.mapping import MappingPolicy
from iketcp.stream import STREAM_PREFIX
from pair import EAST, WEST, Pair, ike_policy
from scenarios import Stage, to_east


def picture(stage: Stage, name: str) -> dict[str, object]:
    """Take it, as JSON would carry it."""
    taken = snapshot(stage.side(name).endpoint, stage.now)
    found: dict[str, object] = json.loads(json.dumps(taken))
    assert found == taken
    return found


def strangers(
    limit: int,
    address: int,
    seconds: float,
    now: int = 0,
    refused: int = 0,
    timed_out: int = 0,
) -> dict[str, float]:
    """What is shown of those who have not shown who they are."""
    return {
        "now": now,
        "limit": limit,
        "limit_per_address": address,
        "deadline_seconds": seconds,
        "refused": refused,
        "timed_out": timed_out,
    }


def test_an_empty_endpoint() -> None:
    """Nothing is there, and that is shown."""
    assert picture(Stage(), WEST) == {
        "ike_sas": [],
        "child_sas": [],
        "connections": [],
        "half_open": {
            "connections": strangers(limit=256, address=16, seconds=10.0),
            "ike_sas": strangers(limit=256, address=16, seconds=30.0),
        },
        "dropped": {},
        "closed": {},
    }


def test_an_endpoint_at_work() -> None:
    """IKE SA, Child SA, connection and counters."""
    policy = replace(ike_policy(WEST), lifetime=Lifetime(seconds=1000.0, jitter=0.0))
    stage = Stage(west=policy)
    id = stage.up()
    stage.ping()
    stage.now = 10.04
    west = picture(stage, WEST)
    sa = stage.sa(WEST)
    assert west["ike_sas"] == [
        {
            "spi_i": sa.spi_i.hex(),
            "spi_r": sa.spi_r.hex(),
            "state": "established",
            "is_original_initiator": True,
            "is_tcp_originator": True,
            "local_identity": "west.example",
            "remote_identity": "east.example",
            "suite": sa.suite.describe() if sa.suite else "",
            "transport": "tcp",
            "connection": id,
            "udp_path": None,
            "child_sas": [stage.child(WEST).esp.parameters.spi_in.hex()],
            "assigned": [],
            "next_message_id": 2,
            "expected_message_id": 0,
            "rekey_in_seconds": 990.0,
            "expires_in_seconds": 1090.0,
        }
    ]
    (child,) = west["child_sas"]
    assert (child["packets_in"], child["packets_out"]) == (1, 1)
    assert child["local_ts"] == ["10.0.1.0/24"]
    assert child["dropped_in"] == child["dropped_out"] == {}
    assert west["connections"] == [
        {
            "connection": id,
            "local": "192.0.2.1 40001",
            "remote": "192.0.2.2 4500",
            "is_tcp_originator": True,
            "has_prefix": True,
            "is_half_open": False,
            "is_current": True,
            "idle_seconds": 10.0,
            "closes_in_seconds": None,
        }
    ]


def test_strangers_and_beginners() -> None:
    """RFC 9329 §10: what is half-open, and what was dropped."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    stage.connect()
    assert picture(stage, WEST)["ike_sas"][0]["suite"] == ""
    stage.deliver()
    stage.deliver()
    stranger = stage.knock(prefix=b"IKE")
    east = picture(stage, EAST)
    assert east["half_open"] == {
        "connections": strangers(256, 16, 10.0, now=2),
        "ike_sas": strangers(256, 16, 30.0, now=1),
    }
    assert [c["closes_in_seconds"] for c in east["connections"]] == [None, 10.0]
    assert [c["has_prefix"] for c in east["connections"]] == [True, False]
    assert [c["is_current"] for c in east["connections"]] == [True, False]
    assert east["connections"][1]["connection"] == stranger
    stage.run(EAST, stage.east.endpoint.inner_packets([to_east()]))
    assert picture(stage, EAST)["dropped"] == {"no Child SA for an inner packet": 1}


def test_refused_timed_out_and_closed() -> None:
    """[9329-6.1-idle]: how often each limit was met, and why connections ended."""
    limits = MappingPolicy(
        half_open_limit=3, half_open_address_limit=1, first_message_seconds=4.0
    )
    stage = Stage(mapping=limits)
    stage.knock("198.51.100.1")
    stage.knock("198.51.100.1")
    stage.knock("198.51.100.2", prefix=b"GET / HTTP/1.1")
    stage.knock("198.51.100.2", prefix=STREAM_PREFIX + bytes(2))
    stage.knock("198.51.100.2")
    stage.knock("198.51.100.3")
    stage.knock("198.51.100.4")
    stage.advance(3.0)
    stage.break_for(EAST, stage.knock("198.51.100.5"))
    stage.advance(1.0)
    stage.break_for(EAST, stage.knock("198.51.100.6"))
    east = picture(stage, EAST)
    assert east["half_open"] == {
        "connections": strangers(3, 1, 4.0, refused=3, timed_out=3),
        "ike_sas": strangers(3, 1, 30.0),
    }
    assert east["closed"] == {
        "no valid message in time": 3,
        "StreamPrefixError": 1,
        "LengthTooSmallError": 1,
        "RST": 1,
    }


def test_ike_sas_refused_and_timed_out() -> None:
    """[9329-6.1-idle]: those that begin and never authenticate."""
    stage = Stage(mapping=MappingPolicy(half_open_address_limit=1))
    for number in range(2):
        other = Pair(seed=f"initiator {number}")
        other.up()
        id = stage.knock()
        stage.feed(EAST, id, other.sent[1][2])
        stage.break_for(EAST, id)
    counts = strangers(256, 1, 30.0, now=1, refused=1)
    assert picture(stage, EAST)["half_open"]["ike_sas"] == counts
    stage.advance(30.0)
    counts = strangers(256, 1, 30.0, refused=1, timed_out=1)
    assert picture(stage, EAST)["half_open"]["ike_sas"] == counts


def test_reasons_are_limited() -> None:
    """Whatever reasons a machine may find, the table of them has an end."""
    counters = Counters()
    for number in range(REASON_LIMIT + 3):
        counters.close(f"reason {number}")
    counters.close("reason 0")
    assert len(counters.closed) == REASON_LIMIT + 1
    assert counters.closed["reason 0"] == 2
    assert counters.closed[OTHER_REASONS] == 3
