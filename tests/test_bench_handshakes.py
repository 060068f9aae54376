"""The benchmark of handshakes: that it measures, and says what it could not."""

import os
import shutil

import pytest

from iketcp.bench.handshake_peers import SCENARIOS
from iketcp.bench.handshakes import (
    GENERATOR,
    OURS,
    THEIRS,
    HandshakeResult,
    Handshakes,
    Meeting,
    charts_of,
    measure_all,
    meetings,
)
from iketcp.bench.report import Row
from namespaces import require_or_skip, tun_obstacle

PSK = SCENARIOS[0]
TO_OURS = Meeting(PSK, GENERATOR, OURS, "udp")


def test_the_charts_have_every_figure() -> None:
    hybrid = Meeting(SCENARIOS[2], GENERATOR, OURS, "tcp")
    charts = charts_of(
        [
            HandshakeResult(
                TO_OURS,
                [Handshakes(300, 1.5, 2), Handshakes(100, 1, 3)],
                others=[0.02, 0.5],
                repeats=3,
            ),
            HandshakeResult(Meeting(PSK, GENERATOR, THEIRS, "udp"), problem="none"),
            HandshakeResult(hybrid, [Handshakes(50, 5, 6)]),
        ]
    )
    both = {
        "initiator CPU ms": [1.5, 1],
        "responder CPU ms": [2, 3],
        "others %": [2, 50],
    }
    first, second = charts
    assert first.title == "PSK, X25519"
    assert first.rows[0] == Row("load generator to iketcp, UDP", [300, 100], both)
    assert (first.rows[1].name, first.rows[1].problem) == (first.compared_with, "none")
    assert [row.name for row in second.rows] == ["load generator to iketcp, TCP"]
    assert second.compared_with == ""
    assert "again 3 times; 1 of 2" in first.notes[0]
    assert not second.notes


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
    (result,) = measure_all([Meeting(hybrid, GENERATOR, OURS, "tcp")], 1, 1, repeats=0)
    check(result)


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
    refused, *measured = measure_all(compared, 1, 1, said.append, repeats=0)
    assert "invalid value for: proposals" in refused.problem
    for result in measured:
        check(result)
    assert len(said) == 3
