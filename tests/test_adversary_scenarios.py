"""Mapping scenarios, played over real TCP connections against peers with threads.

The same steps and octets as ``vectors/connection_mapping_test.json`` has, and the same
things must be seen: what :mod:`socket_scenarios` does is all that lies between.
"""

import pytest

from iketcp.vectorlib.envelope import Json
from socket_scenarios import Player
from vector_support import grouped

LEFT_OUT = {
    "a second connection replaces the first": "an initiator's one thread never opens "
    "a connection beside one that is open",
    "a connection that comes up after DELETE is closed, and nothing said on it": "its "
    "last attempt fails, and an initiator's one thread makes none after DELETE",
}
SCENARIOS = list(grouped("connection_mapping", "ConnectionMapping"))
PLAYED = [(g, t) for g, t in SCENARIOS if t["comment"] not in LEFT_OUT]


def test_all_but_a_few_are_played() -> None:
    """Which ones are left out, and that nobody adds to them unnoticed."""
    left_out = [t["comment"] for _, t in SCENARIOS if t["comment"] in LEFT_OUT]
    assert sorted(left_out) == sorted(LEFT_OUT)
    assert len(PLAYED) == len(SCENARIOS) - len(LEFT_OUT)
    assert len(LEFT_OUT) == 2
    assert {g["isTcpOriginator"] for g, _ in PLAYED} == {True, False}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("group", "test"), PLAYED, ids=[str(t["tcId"]) for _, t in PLAYED]
)
def test_over_sockets(group: Json, test: Json, version: int) -> None:
    """One scenario over IPv4 and over IPv6. [9329-6.1-last-valid]"""
    with Player(group, test, version) as player:
        assert list(player.differences()) == []


@pytest.mark.parametrize(
    ("group", "test"), PLAYED, ids=[str(t["tcId"]) for _, t in PLAYED]
)
def test_octet_by_octet(group: Json, test: Json) -> None:
    """A peer that sends each octet by itself meets the same answers. RFC 9329 §3"""
    with Player(group, test, piece=1) as player:
        assert list(player.differences()) == []


@pytest.mark.parametrize(
    ("group", "test"), PLAYED, ids=[str(t["tcId"]) for _, t in PLAYED]
)
def test_inside_tls(group: Json, test: Json) -> None:
    """TLS around a connection changes nothing of what happens in it. [9329-4-inside]"""
    with Player(group, test, is_tls=True) as player:
        assert list(player.differences()) == []
