"""Scenarios of the TCP Responder: sharing, rekeys, DELETE, idle connections.

Source: RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Iterator

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_exchanges import (
    ESP_TRANSFORMS,
    INVALID_SYNTAX,
    NO_PROPOSAL_CHOSEN,
    REKEY_SA,
    UNSUPPORTED_CRITICAL,
    Beginner,
    delete_esp,
    delete_ike,
    notify,
    peer_rekeys_ike,
    rekey_child,
    rekey_ike,
    sa_payload,
    selectors,
)
from iketcp.vectorlib.mapping_parts import (
    INFORMATIONAL,
    KEEPALIVE,
    NONCE,
    NOTIFY,
    Piece,
    Session,
)
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import Held, Script

REPEAT_SPEC = "RFC 9329 §6.1, §6.2; RFC 7296 §2.1"
SYNTAX_SPEC = "RFC 9329 §6.1; RFC 7296 §2.21.3"


def shares() -> Iterator[Script]:
    """Sessions do not share a connection, but the IKE SAs of a rekey do."""
    refuse = {"error": "OtherSession", "reaction": "drop"}
    req = "9329-6.1-share"
    s = up(
        "IKE_SA_INIT on a connection that carries a session",
        "TwoSessions",
        req,
        **refuse,
    )
    s.receive(1, Beginner().request(), dropped="1 connection-in-use")
    s.ping(1)
    s.hear(1)
    yield s
    s = two("messages of another session on the connection of the first", req, **refuse)
    first, second = s.sessions
    s.receive(1, second.request(id=7), dropped="1 other-session")
    s.receive(1, second.child.esp(b"", 72), dropped="1 other-session")
    s.hear(1)
    s.ping(1)
    s.ping(2, second)
    s.receive(2, second.request(), sent=[(2, second.answer())])
    yield s
    s = two(
        "tampered messages of another session are not looked at, either", req, **refuse
    )
    first, second = s.sessions
    s.receive(1, second.child.esp(b"", 72).tampered(), dropped="1 other-session")
    s.receive(1, second.request(id=7).tampered(), dropped="1 other-session")
    s.hear(1)
    yield s
    s = two("two sessions on two connections", f"{req} 9329-6.1-send-one")
    first, second = s.sessions
    s.knock(3)
    s.receive(3, second.request(), sent=[(3, second.answer())], on=3, which=1)
    s.ping(1)
    s.ping(3, second)
    s.receive(3, first.child.esp(b"", 72), dropped="1 other-session")
    yield s
    s = alone(
        "a second IKE_SA_INIT before the first has led anywhere",
        "TwoSessions",
        req,
        **refuse,
    )
    s.knock(1)
    begin(s, 1, Beginner())
    s.receive(1, Beginner("other").request(), dropped="1 connection-in-use")
    yield s


def two(comment: str, requirement: str, **more: str) -> Script:
    """Begin a scenario with two sessions, on connections 1 and 2."""
    sessions = [Session("a"), Session("b")]
    s = Script(comment, "TwoSessions", requirement, sessions, **more)  # type: ignore[arg-type]
    s.up(1)
    s.up(2, which=1)
    return s


def begin(s: Script, connection: int, beginner: Beginner) -> None:
    """Let a new session begin on a connection."""
    answer, spi = beginner.answer(s, connection)
    s.held.append(Held(connection, [(beginner.spi, spi)], []))
    s.receive(connection, beginner.request(), sent=[(connection, answer)])


def rekeys() -> Iterator[Script]:
    """The session stays what it is when its SAs are replaced."""
    req = "9329-6.1-rekey-share"
    s = up("the peer rekeys the IKE SA on the same connection", "Rekey", req)
    (old,) = s.sessions
    made = peer_rekeys_ike(s)
    s.hear(1)
    s.receive(1, made.new.request(), sent=[(1, made.new.answer())])
    s.held[0].ike.remove(old.spis)
    s.receive(1, old.request(delete_ike()), sent=[(1, old.answer())])
    s.receive(1, made.new.request(), sent=[(1, made.new.answer())])
    s.ping(1)
    yield s


def between_rekey_and_delete() -> Iterator[Script]:
    """Both IKE SAs of a rekey are the session; so is the new one alone."""
    req = "9329-6.1-rekey-share"
    s = up(
        "between rekey and DELETE, either IKE SA moves the session",
        "Rekey",
        f"{req} 9329-6.1-recognise",
    )
    (old,) = s.sessions
    made = peer_rekeys_ike(s)
    s.knock(2)
    s.receive(2, old.request(), sent=[(2, old.answer())], on=2)
    s.ping(2)
    s.receive(1, made.new.request(), sent=[(1, made.new.answer())], on=1)
    s.ping(1)
    yield s
    yield _rekeyed_by_us()


def child_rekeys() -> Iterator[Script]:
    """Child SAs come and go, and their packets arrive late."""
    s = up(
        "a repeated rekey request makes no second Child SA",
        "Rekey Retransmission",
        "9329-6.2-responder 9329-6.1-reply-path",
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    child = rekey_child(s, is_ours=False)
    s.held[0].children.append(child.new.spi_in)
    s.receive(1, child.request, sent=[(1, child.response)])
    s.knock(2)
    s.receive(2, child.request, sent=[(2, child.response, True)])
    s.ping(1)
    esp = child.new.esp()
    s.receive(2, esp, delivered=[esp.inner], on=2)
    a.child = child.new
    s.ping(2)
    yield s
    s = up(
        "packets on the way to a Child SA that was deleted",
        "UnknownSpi",
        "9329-6.1-few-unknown",
        policy={"unknownSpiLimit": 2},
    )
    (a,) = s.sessions
    late = [a.child.esp(b"late") for _ in range(5)]
    s.held[0].children.clear()
    ask = a.request(delete_esp(a.child.spi_out))
    s.receive(1, ask, sent=[(1, a.answer(delete_esp(a.child.spi_in)))])
    s.receive(1, *late, dropped="5 removed-child-sa")
    s.receive(1, a.request(), sent=[(1, a.answer())])
    yield s


def reserved_spis() -> Iterator[Script]:
    """An ESP SPI that may not be is not accepted from the peer, either."""
    for number in (0, 255):
        s = up(
            f"a rekey of the Child SA that proposes SPI {number}",
            "Rekey",
            "9329-3.2-spi",
            spec="RFC 9329 §3.2; RFC 4303 §2.1; RFC 7296 §2.7",
            error="NoProposalChosen",
            reaction="answer",
        )
        (a,) = s.sessions
        payloads = [
            notify(REKEY_SA, protocol=3, spi=a.child.spi_out),
            sa_payload(3, number.to_bytes(4, "big"), ESP_TRANSFORMS),
            (NONCE, octets("mapping reserved nonce", 32)),
            *selectors(is_ours_first=False),
        ]
        s.draw("ike.nonce", octets("mapping reserved our nonce", 32))
        ask = a.request(*payloads, exchange=36)
        no = a.answer(notify(NO_PROPOSAL_CHOSEN), exchange=36)
        s.receive(1, ask, sent=[(1, no)])
        s.hear(1)
        s.ping(1)
        yield s


def _rekeyed_by_us() -> Script:
    s = up(
        "the TCP Responder rekeys, then the TCP Originator reconnects",
        "Rekey",
        "9329-1.2-originator 9329-6.1-rekey-share 9329-6.1-reestablish",
    )
    (old,) = s.sessions
    made = rekey_ike(s, is_ours=True)
    s.wish("rekey-ike-sa", sent=[(1, made.request)])
    s.held[0].ike.append(made.new.spis)
    s.receive(1, made.response, sent=[(1, old.asks(delete_ike()))])
    s.held[0].ike.remove(old.spis)
    s.receive(1, old.response())
    s.lost(1)
    s.ping(None)
    s.wait(120)
    s.knock(2)
    new = made.new
    s.receive(2, new.request(), sent=[(2, new.answer())], on=2)
    s.ping(2)
    s.wish("liveness", sent=[(2, new.asks())])
    s.receive(2, new.response())
    return s


def deletes() -> Iterator[Script]:
    """DELETE ends the session; the connection ends later, or serves another."""
    req = "9329-6.1-delete 9329-6.1-linger"
    s = up("DELETE, and nobody closes", "Delete", req)
    _deleted(s, 1)
    s.wait(4)
    s.wait(1, closed=[1])
    yield s
    s = up("DELETE, and the TCP Originator closes", "Delete", f"{req} 9329-6.1-close")
    _deleted(s, 1)
    s.wait(4)
    s.lost(1)
    s.wait(60)
    yield s
    s = up(
        "a longer wait, if so configured", "Delete", req, policy={"lingerSeconds": 20}
    )
    _deleted(s, 1)
    s.wait(19)
    s.wait(1, closed=[1])
    yield s


def reuse() -> Iterator[Script]:
    """What a connection is good for after DELETE, and what crosses it."""
    s = up(
        "after DELETE the connection serves a new IKE SA",
        "Delete",
        "9329-6.1-reuse 9329-6.1-delete",
    )
    _deleted(s, 1)
    begin(s, 1, Beginner())
    s.wait(6)
    yield s
    s = up(
        "DELETE on a new connection crosses our own request on the old",
        "Delete",
        "9329-6.1-delete 9329-6.1-last-valid",
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.knock(2)
    _deleted(s, 2)
    s.wait(5, closed=[1, 2])
    yield s
    s = up(
        "our DELETE crosses a reconnect",
        "Delete Repeat",
        "9329-6.1-delete 9329-6.2-reconnect",
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    ask = a.asks(delete_ike())
    s.wish("delete", sent=[(1, ask)])
    s.lost(1)
    s.knock(2)
    s.receive(2, a.request(), sent=[(2, a.answer()), (2, ask, True)], on=2)
    s.held.clear()
    s.receive(2, a.response())
    s.wait(5, closed=[2])
    yield s


def late_deletes() -> Iterator[Script]:
    """DELETE repeated, tampered with, and none at all."""
    s = up(
        "DELETE repeated on a new connection, its answer lost",
        "Delete",
        "9329-6.1-delete 9329-6.1-corrupt",
        error="NoSuchSa",
        reaction="drop",
    )
    (a,) = s.sessions
    ask = _deleted(s, 1)
    s.lost(1)
    s.knock(2)
    s.receive(2, ask, dropped="1 unknown-ike-sa")
    s.receive(2, a.child.esp(b"", 72), dropped="1 removed-child-sa")
    s.wait(10, closed=[2])
    yield s
    s = up(
        "a tampered DELETE",
        "Delete Forged",
        "9329-6.1-delete 9329-6.1-corrupt",
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    ask = a.request(delete_ike(), id=7).tampered()
    s.receive(1, ask, dropped="1 integrity", closed=[1])
    s.up(2)
    yield s
    s = up(
        "no DELETE: the session outlives its connection",
        "Delete",
        "9329-6.1-keep-state 9329-6.1-delete",
    )
    s.lost(1)
    s.wait(86400)
    s.up(2)
    s.ping(2)
    yield s


def _deleted(s: Script, id: int) -> Piece:
    """Let a DELETE come on a connection, and return it."""
    (a,) = s.sessions
    ask = a.request(delete_ike())
    s.held.clear()
    s.receive(id, ask, sent=[(id, a.answer())])
    return ask


def syntax() -> Iterator[Script]:
    """An authentic message with a syntax error ends the IKE SA, not the connection."""
    req = "9329-6.1-syntax"
    s = up(
        "a Notify payload cut short, then a new session",
        "Syntax",
        req,
        spec=SYNTAX_SPEC,
        error="InvalidSyntax",
        reaction="end-ike-sa",
    )
    _malformed(s)
    begin(s, 1, Beginner())
    yield s
    s = up(
        "a Notify payload cut short, on a new connection",
        "Syntax",
        f"{req} 9329-6.1-linger 9329-6.1-last-valid",
        spec=SYNTAX_SPEC,
        error="InvalidSyntax",
        reaction="end-ike-sa",
    )
    s.knock(2)
    _malformed(s, 2)
    s.wait(4)
    s.wait(1, closed=[1, 2])
    yield s
    s = up(
        "the same, tampered: the connection closes and the session lives",
        "Forged Syntax",
        f"{req} 9329-6.1-corrupt",
        spec=SYNTAX_SPEC,
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    bad = a.sealed(False, NOTIFY, bytes([0, 0, 0, 5, 0]), (), INFORMATIONAL, 7, False)
    s.receive(1, bad.tampered(), dropped="1 integrity", closed=[1])
    s.up(2)
    yield s
    s = up(
        "an unknown critical payload fails its exchange, and moves the session",
        "Syntax",
        f"{req} 9329-6.1-valid-ike",
        spec="RFC 9329 §6.1; RFC 7296 §2.5",
        error="UnsupportedCriticalPayload",
        reaction="answer",
    )
    (a,) = s.sessions
    s.knock(2)
    body = bytes([0, 0x80, 0, 4])
    bad = a.sealed(False, 200, body, [(200, b"")], INFORMATIONAL, 7, False)
    a.expected += 1
    answer = a.answer(notify(UNSUPPORTED_CRITICAL, bytes([200])))
    s.receive(2, bad, sent=[(2, answer)], on=2)
    s.ping(2)
    yield s


def no_syntax_error() -> Iterator[Script]:
    """An authentic message with something unknown in it is no syntax error."""
    s = up(
        "an unknown payload that is not critical, and an unknown status, are skipped",
        "Syntax",
        "9329-6.1-syntax",
        spec="RFC 9329 §6.1; RFC 7296 §2.5, §3.10.1",
    )
    (a,) = s.sessions
    odd = a.request((200, b"who knows"), notify(40000, b"what"))
    s.receive(1, odd, sent=[(1, a.answer())])
    s.hear(1)
    s.ping(1)
    yield s


def _malformed(s: Script, id: int = 1) -> None:
    """Let an authentic request come with a Notify payload of one octet."""
    (a,) = s.sessions
    bad = a.sealed(False, NOTIFY, bytes([0, 0, 0, 5, 0]), (), INFORMATIONAL, 7, False)
    a.expected += 1
    s.held.clear()
    s.receive(id, bad, sent=[(id, a.answer(notify(INVALID_SYNTAX)))])


def idle() -> Iterator[Script]:
    """A connection that was replaced, and one that is merely quiet."""
    req = "9329-6.1-extraneous"
    s = up("replaced, and idle for 30 s", "Idle", req)
    _replaced(s)
    s.wait(29)
    s.wait(1, closed=[1])
    s.ping(2)
    yield s
    s = up(
        "0: a replaced connection stays for ever",
        "Idle",
        req,
        policy={"extraneousSeconds": 0},
    )
    _replaced(s)
    s.wait(86400)
    s.hear(1)
    yield s
    flags = "Idle MustNot NoMove"
    s = up("the current connection is never extraneous", flags, req)
    s.wait(86400)
    s.hear(1)
    yield s
    s = up("a late message makes the newer one extraneous", "Idle", req)
    _replaced(s)
    s.wait(20)
    s.hear(1)
    s.wait(29)
    s.wait(1, closed=[2])
    s.ping(1)
    yield s
    s = up("a replay does not keep it open", "Idle NoMove", f"{req} 9329-6.1-valid-esp")
    (a,) = s.sessions
    _replaced(s)
    s.wait(20)
    s.receive(1, KEEPALIVE, a.child.esp(b"", 71), dropped="1 replay")
    s.wait(10, closed=[1])
    yield s


def _replaced(s: Script) -> None:
    s.knock(2)
    s.hear(2)
