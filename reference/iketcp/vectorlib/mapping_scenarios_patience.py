"""Scenarios of what may go on and on, and must not add up to anything.

Source: RFC 9329 §3, RFC 9329 §5, RFC 9329 §6.1, RFC 9329 §6.2, RFC 9329 §6.6
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_parts import EMPTY, KEEPALIVE
from iketcp.vectorlib.mapping_scenarios_moves import up
from iketcp.vectorlib.mapping_script import Script

LIMITS = {"corruptLimit": 2, "unknownSpiLimit": 2}


def noise() -> Iterator[Script]:
    """Nothing that is allowed in a stream counts as corruption."""
    for comment, piece, requirement, section in (
        ("twenty keepalives in a row", KEEPALIVE, "9329-6.6-drop", "6.6"),
        ("twenty empty messages in a row", EMPTY, "9329-3-empty", "3"),
    ):
        s = up(
            f"{comment} are no corruption",
            "Keepalive MustNot",
            f"{requirement} 9329-6.1-corrupt",
            spec=f"RFC 9329 §{section}, §6.1",
            policy=LIMITS,
        )
        s.receive(1, piece * 20)
        s.hear(1)
        s.ping(1)
        yield s


def losses() -> Iterator[Script]:
    """A connection that breaks costs the connection, however many there were."""
    s = up(
        "twenty connections break, one after the other",
        "MustNot NewConnection",
        "9329-10-state 9329-6.1-keep-state",
        spec="RFC 9329 §6.1, §10",
    )
    for id in range(1, 21):
        s.lost(id)
        s.up(id + 1)
        s.ping(id + 1)
    yield s


def answers() -> Iterator[Script]:
    """TCP repeats what was lost, so nobody else does."""
    s = up(
        "an answer after 59 seconds: nothing was sent again meanwhile",
        "MustNot Repeat Time",
        "9329-6.2-no-retransmit",
        spec="RFC 9329 §6.2",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    for _ in range(59):
        s.wait(1)
    s.receive(1, a.response())
    s.wait(60)
    s.ping(1)
    yield s


def one_way() -> Iterator[Script]:
    """IKE and ESP of a session go the same way, whichever of them came last."""
    s = up(
        "IKE moves the session, and ESP of ours follows; and the reverse",
        "BothConnections MustNot",
        "9329-5-all 9329-6.1-send-one",
        spec="RFC 9329 §5, §6.1",
    )
    (a,) = s.sessions
    s.knock(2)
    s.receive(2, a.request(), sent=[(2, a.answer())], on=2)
    s.ping(2)
    s.hear(1)
    s.wish("liveness", sent=[(1, a.asks())])
    s.receive(1, a.response())
    s.ping(1)
    yield s
