"""A picture of an endpoint for its user. Source: RFC 4301 §4.4.2."""

import json
from dataclasses import replace

from iketcp.endpoint.snapshot import snapshot
from iketcp.ike.policy import Lifetime
from pair import EAST, WEST, ike_policy
from scenarios import Stage, to_east


def picture(stage: Stage, name: str) -> dict[str, object]:
    """Take it, as JSON would carry it."""
    endpoint = stage.side(name).endpoint
    taken = snapshot(endpoint.tables, endpoint.counters.dropped, stage.now)
    found: dict[str, object] = json.loads(json.dumps(taken))
    assert found == taken
    return found


def test_an_empty_endpoint() -> None:
    """Nothing is there, and that is shown."""
    assert picture(Stage(), WEST) == {
        "ike_sas": [],
        "child_sas": [],
        "connections": [],
        "half_open": {"ike_sas": 0, "connections": 0},
        "dropped": {},
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
            "connection": id,
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
    assert east["half_open"] == {"ike_sas": 1, "connections": 2}
    assert [c["has_prefix"] for c in east["connections"]] == [True, False]
    assert [c["is_current"] for c in east["connections"]] == [True, False]
    assert east["connections"][1]["connection"] == stranger
    stage.run(EAST, stage.east.endpoint.inner_packets([to_east()]))
    assert picture(stage, EAST)["dropped"] == {"no Child SA for an inner packet": 1}
