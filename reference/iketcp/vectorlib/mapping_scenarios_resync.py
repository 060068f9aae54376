"""Scenarios of a stream out of step: the search for the next message, and its limits.

Source: RFC 9329 §10
"""

from __future__ import annotations

from collections.abc import Iterator

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.mapping_parts import (
    GARBAGE,
    Piece,
    Session,
    raw,
    unknown_esp,
)
from iketcp.vectorlib.mapping_scenarios_cuts import rest_behind_prefix
from iketcp.vectorlib.mapping_scenarios_moves import up
from iketcp.vectorlib.mapping_script import Script

SPEC = "RFC 9329 §10"
RESYNC = "9329-10-resync"
LIMIT = "9329-10-limit"
ON: Json = {"resyncLimit": 3}
CANDIDATES = 64
GIVEN_UP: Json = {
    "spec": SPEC,
    "error": "Integrity",
    "reaction": "close-connection",
}
OUR_NUMBER: Json = {**GIVEN_UP, "result": "acceptable"}
"""The limit is no part of the policy."""


def searching(
    comment: str,
    requirement: str,
    flags: str = "Resync",
    policy: Json = ON,
    **more: object,
) -> Script:
    """Begin a scenario with a session whose connections may be searched."""
    return up(comment, flags, requirement, policy=policy, **{"spec": SPEC, **more})


def skipped(count: int) -> str:
    """Say what is dropped when so many octets stand before the next message."""
    return f"1 integrity {count} skipped-octets"


def longer(piece: Piece, by: int) -> Piece:
    """Change a message's Length, as somebody on the way does."""
    length = int.from_bytes(piece.octets[:2], "big") + by
    changed = length.to_bytes(2, "big") + piece.octets[2:]
    return raw(changed, f"an ESP packet whose Length was changed by {by}")


def found() -> Iterator[Script]:
    """The next message is found, whatever kind it is, and the stream goes on."""
    s = searching("the ESP packet behind a tampered one", RESYNC)
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    s.receive(1, bad, good, dropped=skipped(len(bad.octets)), delivered=[good.inner])
    s.ping(1)
    s.hear(1)
    yield s
    s = searching("the next one comes later, and in pieces", RESYNC)
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    s.receive(1, bad, dropped="1 integrity")
    s.wait(60)
    first, last = good.cut(-1)
    for at in range(len(first.octets)):
        s.receive(1, raw(first.octets[at : at + 1], "one octet of the next packet"))
    drop = f"{len(bad.octets)} skipped-octets"
    s.receive(1, last, dropped=drop, delivered=[good.inner])
    yield s
    for by in (20, -20):
        s = searching(f"behind a Length that was changed by {by}", RESYNC)
        (a,) = s.sessions
        bad = longer(a.child.esp(), by)
        two, three = a.child.esp(b"two"), a.child.esp(b"three")
        drop = skipped(len(bad.octets))
        inside = [two.inner, three.inner]
        s.receive(1, bad, two, three, dropped=drop, delivered=inside)
        s.hear(1)
        yield s
    s = searching("a request among noise", RESYNC)
    (a,) = s.sessions
    bad = a.request(id=7).tampered()
    noise = raw(octets("mapping noise", 251), "noise")
    drop = skipped(len(bad.octets) + 251)
    s.receive(1, bad, noise, a.request(), dropped=drop, sent=[(1, a.answer())])
    yield s


def begun() -> Iterator[Script]:
    """Whatever would close the connection begins a search, and nothing sooner."""
    s = searching(
        "the second message of garbage in a row, where one may be",
        f"{RESYNC} 9329-6.1-corrupt",
        policy={**ON, "corruptLimit": 2},
    )
    (a,) = s.sessions
    s.receive(1, GARBAGE, dropped="1 unparseable")
    good = a.child.esp()
    s.receive(
        1,
        GARBAGE,
        good,
        dropped=f"1 unparseable {len(GARBAGE.octets)} skipped-octets",
        delivered=[good.inner],
    )
    yield s
    s = searching(
        "one unknown SPI more than there may be in a row",
        f"{RESYNC} 9329-6.1-few-unknown",
        policy={**ON, "unknownSpiLimit": 2},
    )
    (a,) = s.sessions
    stray = unknown_esp()
    s.receive(1, stray * 2, dropped="2 unknown-spi")
    good = a.child.esp()
    s.receive(
        1,
        stray,
        good,
        dropped=f"1 unknown-spi {len(stray.octets)} skipped-octets",
        delivered=[good.inner],
    )
    yield s
    s = searching(
        "zeros behind a tampered packet are no Length any more",
        f"{RESYNC} 9329-3.2-length",
    )
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    zeros = raw(bytes(9), "zeros")
    drop = skipped(len(bad.octets) + 9)
    s.receive(1, bad, zeros, good, dropped=drop, delivered=[good.inner])
    yield s


def not_taken() -> Iterator[Script]:
    """What looks like the next message and is not."""
    s = searching("replays are not the next message", RESYNC, "MustNot NoMove Resync")
    (a,) = s.sessions
    bad, old, good = a.child.esp().tampered(), a.child.esp(b"", 70), a.child.esp()
    drop = skipped(len(bad.octets) + 3 * len(old.octets))
    s.receive(1, bad, old, old, old, good, dropped=drop, delivered=[good.inner])
    yield s
    s = searching("forgeries are not the next message", RESYNC, "Forged MustNot Resync")
    (a,) = s.sessions
    bad = a.child.esp().tampered()
    false = a.child.esp(b"", 90).tampered() + a.request(id=7).tampered()
    good = a.child.esp()
    drop = skipped(len(bad.octets) + len(false.octets))
    s.receive(1, bad, false, good, dropped=drop, delivered=[good.inner])
    yield s
    s = Script(
        "a packet of another session is not the next message",
        "MustNot Resync TwoSessions",
        f"{RESYNC} 9329-6.1-share",
        [Session("a"), Session("b")],
        spec=SPEC,
        policy=ON,
    )
    a, b = s.sessions
    s.up()
    bad, stray, good = a.child.esp().tampered(), b.child.esp(b"", 72), a.child.esp()
    drop = skipped(len(bad.octets) + len(stray.octets))
    s.receive(1, bad, stray, good, dropped=drop, delivered=[good.inner])
    s.ping(1)
    s.ping(None, b)
    yield s
    s = searching(
        "a search ends with its connection",
        f"{RESYNC} 9329-6.1-partial",
        "Cut MustNot Resync",
    )
    (a,) = s.sessions
    first, rest = a.child.esp(b"", 80).cut(30)
    s.receive(1, a.child.esp().tampered(), first, dropped="1 integrity")
    s.lost(1)
    s.open(2)
    rest_behind_prefix(s, 2, rest)
    s.up(3)
    yield s


def limits() -> Iterator[Script]:
    """How much a search may cost: then the connection closes, and the session lives."""
    s = up("no search: the connection closes", "Resync", RESYNC, **GIVEN_UP)
    _given_up(s)
    yield s
    comment = "a second search, where there may be one"
    s = searching(comment, LIMIT, policy={"resyncLimit": 1}, **GIVEN_UP)
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    s.receive(1, bad, good, dropped=skipped(len(bad.octets)), delivered=[good.inner])
    _given_up(s)
    yield s
    s = searching("three searches, where there may be three", LIMIT)
    (a,) = s.sessions
    for _ in range(3):
        bad, good = a.child.esp().tampered(), a.child.esp()
        drop = skipped(len(bad.octets))
        s.receive(1, bad, good, dropped=drop, delivered=[good.inner])
    yield s
    comment = "a thousand octets without a message"
    s = searching(comment, LIMIT, policy={**ON, "resyncOctets": 1000}, **GIVEN_UP)
    (a,) = s.sessions
    bad = a.child.esp().tampered()
    s.receive(1, bad, dropped="1 integrity")
    s.receive(1, raw(bytes([0xFF]) * (999 - len(bad.octets)), "noise"))
    s.receive(1, raw(b"\xff", "noise, up to a thousand octets"), closed=[1])
    s.up(2)
    yield s
    yield from _candidates()


def _given_up(s: Script) -> None:
    """Let a tampered packet close the connection, whatever stands behind it."""
    (a,) = s.sessions
    request = a.request()
    unread = raw(request.octets, "not looked at any more")
    bad = a.child.esp().tampered()
    s.receive(1, bad, unread, dropped="1 integrity", closed=[1])
    s.knock(2)
    s.receive(2, request, sent=[(2, a.answer())], on=2)


def _candidates() -> Iterator[Script]:
    for count in (CANDIDATES - 1, CANDIDATES + 1):  # the true one behind them counts
        is_too_many = count > CANDIDATES
        more: Json = OUR_NUMBER if is_too_many else {}
        flags = "Forged Resync"
        s = searching(f"{count} false candidates", LIMIT, flags, **more)
        (a,) = s.sessions
        sign = a.child.spi_in + (200).to_bytes(4, "big")
        false = raw((b"\0\x20" + sign + bytes(22)) * count, "candidates: SPI, number")
        bad, good = a.child.esp().tampered(), a.child.esp()
        s.receive(1, bad, dropped="1 integrity")
        s.receive(1, false, closed=[1] if is_too_many else [])
        if is_too_many:
            s.up(2)
        else:
            size = len(bad.octets) + len(false.octets)
            s.receive(1, good, delivered=[good.inner], dropped=f"{size} skipped-octets")
        yield s


def no_search() -> Iterator[Script]:
    """Where nothing is searched for, whatever the limits say."""
    s = searching(
        "Length 1: there is no choice",
        f"{RESYNC} 9329-3.1-length 9329-3.2-length",
        "Resync ShortLength",
        error="LengthTooSmall",
        reaction="close-connection",
    )
    (a,) = s.sessions
    good = a.child.esp()
    one, unread = raw(b"\0\x01", "Length 1"), raw(good.octets, "not looked at")
    s.receive(1, one, unread, closed=[1])
    s.knock(2)
    s.receive(2, good, delivered=[good.inner], on=2)
    yield s
    s = searching(
        "a connection without a valid message is not searched",
        f"{LIMIT} 9329-6.1-corrupt",
        "Garbage NoMove Resync",
        policy={**ON, "corruptLimit": 1},
        result="acceptable",
        error="Corrupt",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.knock(2)
    good = a.child.esp()
    unread = raw(good.octets, "not looked at any more")
    s.receive(2, GARBAGE, unread, dropped="1 unparseable", closed=[2])
    s.receive(1, good, delivered=[good.inner])
    yield s
