"""The benchmark of handshakes: that it measures, and says what it could not."""

import json
import os
import shutil

import pytest
from rich.console import Console

from iketcp.bench.handshake_peers import SCENARIOS
from iketcp.bench.handshakes import (
    GENERATOR,
    OURS,
    THEIRS,
    HandshakeResult,
    Handshakes,
    Meeting,
    as_json,
    measure_all,
    meetings,
    table,
)
from namespaces import require_or_skip, tun_obstacle

PSK = SCENARIOS[0]
TO_OURS = Meeting(PSK, GENERATOR, OURS, "udp")


def printed(results: list[HandshakeResult]) -> str:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=160, record=True, file=nowhere)
        console.print(table("title", results))
        return console.export_text()


def test_the_table_has_medians_and_spread() -> None:
    rounds = [Handshakes(300, 1.5, 2.0), Handshakes(100, 1.0, 3.0)]
    rounds.append(Handshakes(200, 2.5, 1.0))
    lines = printed([HandshakeResult(TO_OURS, rounds)]).splitlines()
    (row,) = [line.replace("│", " ") for line in lines if "│" in line]
    name = "PSK, X25519: load generator to iketcp, UDP"
    assert row.strip().startswith(name)
    assert row.strip()[len(name) :].split() == ["200", "100", "300", "1.50", "2.00"]


def test_what_was_not_measured_is_said() -> None:
    result = HandshakeResult(TO_OURS, problem="there is no such program")
    assert "there is no such program" in printed([result])
    assert as_json([result]) == [
        {
            "scenario": "PSK, X25519",
            "initiator": "load generator",
            "responder": "iketcp",
            "protocol": "udp",
            "problem": "there is no such program",
            "per_second": [],
            "initiator_milliseconds": [],
            "responder_milliseconds": [],
        }
    ]


def test_every_scenario_meets_ours_and_strongswan_where_it_can() -> None:
    met = {(m.scenario.name, m.initiator, m.responder, m.protocol) for m in meetings()}
    for scenario in SCENARIOS:
        assert (scenario.name, GENERATOR, OURS, "udp") in met
        assert (scenario.name, GENERATOR, OURS, "tcp") in met
        others = {(GENERATOR, THEIRS), (THEIRS, OURS)}
        found = {pair for pair in others if (scenario.name, *pair, "udp") in met}
        assert found == (others if scenario.is_strongswans else set())


def require_a_stage(*programs: str) -> None:
    require_or_skip(os.geteuid() == 0, "only root has this mode")
    require_or_skip(not tun_obstacle(), tun_obstacle())
    for name in programs:
        require_or_skip(shutil.which(name) is not None, f"there is no {name}")


def check(result: HandshakeResult) -> None:
    assert not result.problem
    (measured,) = result.measurements
    assert measured.per_second > 0
    assert measured.initiator_milliseconds >= 0
    assert measured.responder_milliseconds >= 0


@pytest.mark.slow
def test_our_responder_is_measured() -> None:
    """Over TCP, which strongSwan has not; with what it has not, either."""
    require_a_stage()
    hybrid = SCENARIOS[2]
    (result,) = measure_all([Meeting(hybrid, GENERATOR, OURS, "tcp")], 1, 1)
    check(result)
    assert json.dumps(as_json([result]))


@pytest.mark.slow
def test_strongswan_is_measured_in_both_roles() -> None:
    """What it does not agree to is said, and keeps nobody from the others."""
    require_a_stage("charon-systemd", "swanctl")
    psk, certified, hybrid = SCENARIOS
    compared = [
        Meeting(hybrid, GENERATOR, THEIRS, "udp"),
        Meeting(psk, GENERATOR, THEIRS, "udp"),
        Meeting(certified, THEIRS, OURS, "udp"),
    ]
    said: list[str] = []
    refused, *measured = measure_all(compared, 1, 1, said.append)
    assert "invalid value for: proposals" in refused.problem
    for result in measured:
        check(result)
    assert len(said) == 3
