"""Scenarios of the TCP Originator: it connects, and goes on where it left off.

Source: RFC 9329 §4, RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_exchanges import (
    COOKIE,
    NO_PROPOSAL_CHOSEN,
    PUZZLE,
    Beginner,
    delete_esp,
    delete_ike,
    notify,
    our_beginning,
    peer_rekeys_ike,
    rekey_child,
    rekey_ike,
)
from iketcp.vectorlib.mapping_parts import (
    INITIATOR,
    KEEPALIVE,
    PREFIX,
    RESPONSE,
    Session,
    clear_message,
    raw,
)
from iketcp.vectorlib.mapping_script import OURS, Held, Script

AT_ONCE = (0, 0)
REPEAT_SPEC = "RFC 9329 §6.1, §6.2"


def fresh(comment: str, flags: str, requirement: str, **more: object) -> Script:
    """Begin a scenario with one session, whose TCP Originator is tested."""
    session = Session("a", is_original_initiator=True)
    return Script(comment, flags, requirement, [session], is_originator=True, **more)  # type: ignore[arg-type]


def up(comment: str, flags: str, requirement: str, **more: object) -> Script:
    """Begin a scenario with a session on connection 1, some time later."""
    s = fresh(comment, flags, requirement, **more)
    s.up()
    s.wait(100)
    return s


def resume() -> Iterator[Script]:
    """A new connection: the prefix, what is under way, and news."""
    req = "9329-4-prefix 9329-6.1-reprefix 9329-4-once 9329-6.1-resume-msg"
    s = fresh(
        "the prefix, then an empty INFORMATIONAL",
        "Prefix Reconnect",
        req,
        spec="RFC 9329 §4, §6.1",
    )
    s.up()
    s.ping(1)
    s.wait(100)
    s.lost(1, reconnect=AT_ONCE)
    s.ping(None)
    s.up(2)
    s.ping(2)
    s.hear(2)
    yield s
    req = "9329-6.2-reconnect 9329-6.1-resume-msg"
    s = up(
        "a request under way comes first, octet for octet",
        "Reconnect Repeat",
        req,
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    made = rekey_child(s, is_ours=True)
    s.wish("rekey-child", sent=[(1, made.request)])
    s.lost(1, reconnect=AT_ONCE)
    s.open(2, sent=[(2, PREFIX), (2, made.request, True)], on=2)
    old, a.child = a.child, made.new
    s.held[0].children.append(made.new.spi_in)
    s.receive(2, made.response, sent=[(2, a.asks())])
    s.receive(2, a.response(), sent=[(2, a.asks(delete_esp(old.spi_in)))])
    s.held[0].children.remove(old.spi_in)
    s.receive(2, a.response(delete_esp(old.spi_out)))
    s.ping(2)
    yield s


def one_connection() -> Iterator[Script]:
    """All of a session goes over the connection that was opened last."""
    s = up(
        "a second connection replaces the first",
        "BothConnections",
        "9329-6.1-one 9329-5-all",
        result="acceptable",
        error="Replaced",
        reaction="close-connection",
    )
    s.open(2, sent=[(2, PREFIX), (2, s.sessions[0].asks())], closed=[1], on=2)
    s.receive(2, s.sessions[0].response())
    s.ping(2)
    yield s
    s = up(
        "a request of the TCP Responder is answered on the new connection",
        "Reconnect",
        "9329-6.1-one 9329-5-all",
    )
    (a,) = s.sessions
    s.lost(1, reconnect=AT_ONCE)
    s.up(2)
    s.receive(2, a.request(), sent=[(2, a.answer())])
    yield s
    for kind in ("ESP packet", "response"):
        s = up(
            f"a {kind} of the TCP Responder cut off",
            "Cut Reconnect",
            "9329-6.1-partial 9329-6.1-keep-state",
        )
        (a,) = s.sessions
        if kind == "response":
            ask = a.asks()
            s.wish("liveness", sent=[(1, ask)])
            whole = a.response()
        else:
            whole = a.child.esp()
        part, _ = whole.cut(-3)
        s.receive(1, part)
        s.lost(1, reconnect=AT_ONCE)
        if kind == "response":
            s.open(2, sent=[(2, PREFIX), (2, ask, True)], on=2)
            s.receive(2, whole, sent=[(2, a.asks())])
            s.receive(2, a.response())
        else:
            s.up(2)
            s.receive(2, whole, delivered=[whole.inner])
        yield s


def all_on_one() -> Iterator[Script]:
    """Everything of a session goes over its one connection, and none that is late."""
    s = up("IKE and ESP, both ways", "Ordinary", "9329-6.1-one 9329-5-all")
    (a,) = s.sessions
    s.ping(1)
    s.hear(1)
    s.receive(1, a.request(), sent=[(1, a.answer())])
    s.wish("liveness", sent=[(1, a.asks())])
    s.receive(1, a.response())
    s.ping(1)
    yield s
    s = up(
        "a connection that comes up after DELETE is closed, and nothing said on it",
        "Delete Reconnect",
        "9329-6.1-close 9329-6.1-delete 9329-6.1-one",
        error="NotWanted",
        reaction="close-connection",
    )
    s.lost(1, reconnect=AT_ONCE)
    s.held.clear()
    s.wish("delete")
    s.open(2, closed=[2], dropped="1 not-wanted")
    s.failed()
    yield s
    s = up(
        "the answer on the new connection is tampered with: once more, on a third",
        "Forged Reconnect",
        "9329-6.1-resume-msg 9329-6.1-corrupt 9329-6.2-reconnect",
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.lost(1, reconnect=AT_ONCE)
    ask = a.asks()
    s.open(2, sent=[(2, PREFIX), (2, ask)], on=2)
    answer = a.response()
    s.receive(
        2, answer.tampered(), closed=[2], dropped="1 integrity", reconnect=(0.5, 1)
    )
    s.open(3, sent=[(3, PREFIX), (3, ask, True)], on=3)
    s.receive(3, answer, sent=[(3, a.asks())])
    s.receive(3, a.response())
    yield s


def early_messages() -> Iterator[Script]:
    """What cannot be meant while our IKE_SA_INIT request waits for its response."""
    spec = "RFC 9329 §6.3; RFC 8019 §7.1.2"
    for comment, req, error in (
        ("a request before any key", "9329-6.1-valid-ike", "NotAuthenticated"),
        ("a PUZZLE without a COOKIE", "9329-6.3-initiator", "PuzzleWithoutCookie"),
    ):
        s = Script(
            f"IKE_SA_INIT of our own: {comment} is dropped, and we go on",
            "FirstExchange",
            req,
            [],
            is_originator=True,
            spec=spec if "PUZZLE" in comment else "RFC 9329 §6.1; RFC 7296 §1.2",
            error=error,
            reaction="drop",
        )
        payloads, spi = our_beginning(s, str(OURS["address"]), 40001)
        s.wish("begin", reconnect=AT_ONCE)
        s.held.append(Held(1, [(spi, bytes(8))], []))
        first = clear_message(spi, bytes(8), INITIATOR, payloads)
        s.open(1, sent=[(1, PREFIX), (1, first)])
        if "PUZZLE" in comment:
            asked = [notify(PUZZLE, b"\0\x05\x04")]
            odd, drop = clear_message(spi, bytes(8), RESPONSE, asked), "puzzle"
        else:
            odd, drop = clear_message(spi, b"\x07" * 8, 0, (), 37), "outside-window"
        s.receive(1, odd, dropped=f"1 {drop}")
        cookie = notify(COOKIE, b"a cookie of 24 octets...")
        answer = clear_message(spi, bytes(8), RESPONSE, [cookie])
        again = clear_message(spi, bytes(8), INITIATOR, [cookie, *payloads])
        s.receive(1, answer, sent=[(1, again)])
        yield s


def two_to_repeat() -> Iterator[Script]:
    """Every IKE SA of a session goes on, and nothing is asked twice."""
    s = up(
        "the DELETE of the IKE SA that a rekey has replaced is repeated, too",
        "Reconnect Rekey Repeat",
        "9329-6.2-reconnect 9329-6.1-rekey-share",
        spec=REPEAT_SPEC,
    )
    (old,) = s.sessions
    made = rekey_ike(s, is_ours=True)
    s.wish("rekey-ike-sa", sent=[(1, made.request)])
    s.held[0].ike.append(made.new.spis)
    delete = old.asks(delete_ike())
    s.receive(1, made.response, sent=[(1, delete)])
    s.lost(1, reconnect=AT_ONCE)
    s.open(2, sent=[(2, PREFIX), (2, delete, True), (2, made.new.asks())], on=2)
    s.held[0].ike.remove(old.spis)
    s.receive(2, old.response())
    s.receive(2, made.new.response())
    yield s
    s = up(
        "a liveness check that waits for a connection is the message that comes first",
        "MustNot Reconnect",
        "9329-6.1-resume-msg 9329-6.2-no-retransmit",
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    s.lost(1, reconnect=AT_ONCE)
    s.wish("liveness")
    s.open(2, sent=[(2, PREFIX), (2, a.asks())], on=2)
    s.receive(2, a.response())
    s.ping(2)
    yield s


def found_again() -> Iterator[Script]:
    """A TCP Originator may search its stream, too."""
    s = up(
        "a tampered ESP packet, and the next one is found",
        "Resync",
        "9329-10-resync",
        spec="RFC 9329 §10",
        policy={"resyncLimit": 1},
    )
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    drop = f"1 integrity {len(bad.octets)} skipped-octets"
    s.receive(1, bad, good, dropped=drop, delivered=[good.inner])
    s.ping(1)
    yield s


def reconnects() -> Iterator[Script]:
    """Who connects again, and how often."""
    req = "9329-6.1-reestablish"
    s = up(
        "attempts that fail: pauses that double, with jitter, up to a limit",
        "Reconnect Time",
        req,
        policy={"reconnectLimitSeconds": 8},
    )
    s.lost(1, reconnect=AT_ONCE)
    for most in (1, 2, 4, 8, 8):
        s.failed(reconnect=(most / 2, most))
    s.up(2)
    s.wait(10)
    s.lost(2, reconnect=AT_ONCE)
    yield s


def short_lives() -> Iterator[Script]:
    """Connections that do not live long enough to begin the count anew."""
    req = "9329-6.1-reestablish"
    s = up("connections that break as soon as they are there", "Reconnect Time", req)
    (a,) = s.sessions
    s.lost(1, reconnect=AT_ONCE)
    ask = a.asks()
    for id, most in ((2, 1), (3, 2), (4, 4)):
        s.open(id, sent=[(id, PREFIX), (id, ask, id > 2)], on=id)
        s.lost(id, reconnect=(most / 2, most))
    yield s
    s = up("one that answered, but not for long", "Reconnect Time", req)
    s.lost(1, reconnect=AT_ONCE)
    s.up(2)
    s.lost(2, reconnect=(0.5, 1))
    s.up(3)
    s.wait(1)
    s.lost(3, reconnect=AT_ONCE)
    yield s
    s = up("one that lasted, but never answered", "Reconnect Time", req)
    (a,) = s.sessions
    s.lost(1, reconnect=AT_ONCE)
    ask = a.asks()
    s.open(2, sent=[(2, PREFIX), (2, ask)], on=2)
    s.wait(5)
    s.lost(2, reconnect=(0.5, 1))
    s.open(3, sent=[(3, PREFIX), (3, ask, True)], on=3)
    s.receive(3, a.response(), sent=[(3, a.asks())])
    s.receive(3, a.response())
    yield s


def still_originator() -> Iterator[Script]:
    """Nothing that the TCP Responder does changes who reconnects."""
    req = "9329-6.1-reestablish"
    s = up(
        "the TCP Responder rekeys; the TCP Originator reconnects all the same",
        "Reconnect Rekey",
        f"9329-1.2-originator {req} 9329-6.1-rekey-share",
    )
    (old,) = s.sessions
    made = peer_rekeys_ike(s)
    s.held[0].ike.remove(old.spis)
    s.receive(1, old.request(delete_ike()), sent=[(1, old.answer())])
    s.lost(1, reconnect=AT_ONCE)
    s.open(2, sent=[(2, PREFIX), (2, made.new.asks())], on=2)
    s.receive(2, made.new.response())
    s.ping(2)
    yield s
    for length in (0, 1):
        s = up(
            f"Length {length} from the TCP Responder",
            "Reconnect ShortLength",
            f"9329-3.1-length 9329-3.2-length {req}",
            spec="RFC 9329 §3.1, §3.2, §6.1",
            error="LengthTooSmall",
            reaction="close-connection",
        )
        s.receive(
            1,
            raw(bytes([0, length]), f"Length {length}"),
            closed=[1],
            reconnect=AT_ONCE,
        )
        s.up(2)
        s.ping(2)
        yield s
    for kind in ("ESP packet", "request"):
        s = up(
            f"a tampered {kind} from the TCP Responder",
            "Forged Reconnect",
            f"9329-6.1-corrupt {req}",
            error="Integrity",
            reaction="close-connection",
        )
        (a,) = s.sessions
        bad = a.child.esp() if kind == "ESP packet" else a.request(id=7)
        s.receive(
            1, bad.tampered(), closed=[1], reconnect=AT_ONCE, dropped="1 integrity"
        )
        s.up(2)
        s.hear(2)
        yield s


def endings() -> Iterator[Script]:
    """DELETE closes the connection; what does not belong here changes nothing."""
    req = "9329-6.1-delete 9329-6.1-close"
    s = up("we DELETE: after the answer the connection closes for good", "Delete", req)
    (a,) = s.sessions
    s.wish("delete", sent=[(1, a.asks(delete_ike()))])
    s.held.clear()
    s.receive(1, a.response(), closed=[1])
    s.wait(600)
    yield s
    s = up(
        "the TCP Responder DELETEs: closed, then begun anew after a pause",
        "Delete Reconnect",
        req,
        result="acceptable",
    )
    (a,) = s.sessions
    ask = a.request(delete_ike())
    s.held.clear()
    s.receive(1, ask, sent=[(1, a.answer())], closed=[1], reconnect=(0.5, 1))
    yield s
    s = up(
        "no answer: the IKE SA ends, and its connection",
        "Delete Time",
        "9329-6.2-no-retransmit 9329-6.1-close",
        spec=REPEAT_SPEC,
        result="acceptable",
        error="Timeout",
        reaction="end-ike-sa",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.wait(59)
    s.held.clear()
    s.wait(1, closed=[1], reconnect=(0.5, 1))
    yield s
    s = up(
        "IKE_SA_INIT from the TCP Responder",
        "TwoSessions",
        "9329-1.2-originator 9329-6.1-share",
        error="NoSuchSa",
        reaction="drop",
    )
    s.receive(1, Beginner().request(), dropped="1 unknown-ike-sa")
    s.hear(1)
    yield s
    s = up(
        "a quiet TCP Originator sends no keepalive, and ignores those that come",
        "Keepalive MustNot",
        "9329-6.6-send 9329-6.6-drop",
        spec="RFC 9329 §6.6",
    )
    s.receive(1, KEEPALIVE * 30)
    s.wait(86400)
    s.hear(1)
    s.ping(1)
    yield s


def beginnings() -> Iterator[Script]:
    """IKE_SA_INIT of our own: errors, cookies, and a connection that breaks."""
    for comment, flags, req in (
        ("an error is acted on at once", "FirstExchange", "9329-6.4-act"),
        ("a COOKIE is brought back", "Cookie FirstExchange", "9329-6.3-initiator"),
        (
            "the connection breaks: the request again",
            "FirstExchange Repeat",
            "9329-6.2-reconnect 9329-6.1-reprefix",
        ),
    ):
        spec = "RFC 9329 §6.1, §6.2, §6.3, §6.4; RFC 7296 §1.2, §2.6"
        refused: dict[str, str] = {}
        if req == "9329-6.4-act":
            refused = {"error": "NoProposalChosen", "reaction": "close-connection"}
        s = Script(
            f"IKE_SA_INIT of our own: {comment}",
            flags,
            req,
            [],
            is_originator=True,
            spec=spec,
            **refused,  # type: ignore[arg-type]
        )
        payloads, spi = our_beginning(s, str(OURS["address"]), 40001)
        request = clear_message(spi, bytes(8), INITIATOR, payloads)
        s.wish("begin", reconnect=AT_ONCE)
        s.held.append(Held(1, [(spi, bytes(8))], []))
        s.open(1, sent=[(1, PREFIX), (1, request)])
        if req == "9329-6.4-act":
            s.held.clear()
            no = clear_message(spi, bytes(8), RESPONSE, [notify(NO_PROPOSAL_CHOSEN)])
            s.receive(1, no, closed=[1])
        elif req == "9329-6.3-initiator":
            cookie = notify(COOKIE, b"a cookie of 24 octets...")
            asked = clear_message(spi, bytes(8), RESPONSE, [cookie])
            again = clear_message(spi, bytes(8), INITIATOR, [cookie, *payloads])
            s.receive(1, asked, sent=[(1, again)])
        else:
            s.lost(1, reconnect=AT_ONCE)
            s.open(2, sent=[(2, PREFIX), (2, request, True)], on=2)
        yield s
