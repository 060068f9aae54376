"""Scenarios of the TCP Responder: own requests, liveness, and the first exchange.

Source: RFC 9329 §6.2, RFC 9329 §6.3, RFC 9329 §6.4, RFC 9329 §6.5, RFC 9329 §6.7
"""

from collections.abc import Iterator

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_exchanges import (
    COOKIE,
    INVALID_KE,
    INVALID_MAJOR_VERSION,
    Beginner,
    cookie_of,
    delete_esp,
    rekey_child,
)
from iketcp.vectorlib.mapping_parts import KEEPALIVE, PREFIX
from iketcp.vectorlib.mapping_scenarios_endings import REPEAT_SPEC, begin
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import THEIRS, Held, Script

COOKIE_SPEC = "RFC 9329 §6.3; RFC 7296 §2.6"


def requests() -> Iterator[Script]:
    """Our own requests: repeated on a new connection only, and not for ever."""
    req = "9329-6.2-reconnect"
    s = up(
        "a request under way is repeated where ESP takes the session",
        "Repeat",
        req,
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    ask = a.asks()
    s.wish("liveness", sent=[(1, ask)])
    s.knock(2)
    esp = a.child.esp()
    s.receive(2, esp, delivered=[esp.inner], sent=[(2, ask, True)], on=2)
    s.receive(2, a.response())
    s.hear(1)
    yield s
    s = up(
        "a rekey request is repeated where IKE takes the session",
        "Rekey Repeat",
        f"{req} 9329-5-all",
        spec=REPEAT_SPEC,
    )
    (a,) = s.sessions
    made = rekey_child(s, is_ours=True)
    s.wish("rekey-child", sent=[(1, made.request)])
    s.lost(1)
    s.wait(30)
    s.open(2)
    s.receive(
        2, PREFIX, a.request(), on=2, sent=[(2, a.answer()), (2, made.request, True)]
    )
    old, a.child = a.child, made.new
    s.held[0].children.append(made.new.spi_in)
    s.receive(2, made.response, sent=[(2, a.asks(delete_esp(old.spi_in)))])
    s.ping(2)
    s.held[0].children.remove(old.spi_in)
    s.receive(2, a.response(delete_esp(old.spi_out)))
    s.hear(2)
    yield s


def no_repeats() -> Iterator[Script]:
    """Our own requests: when nothing is repeated."""
    req = "9329-6.2-reconnect"
    s = up(
        "a replay gets no repetition",
        "NoMove Repeat",
        f"{req} 9329-6.1-valid-esp",
        spec=REPEAT_SPEC,
        error="NotFresh",
        reaction="drop",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.knock(2)
    s.receive(2, a.child.esp(b"", 71), dropped="1 replay")
    s.receive(1, a.response())
    yield s
    s = up(
        "a request of the peer on the same connection repeats nothing",
        "Repeat",
        "9329-6.2-no-retransmit",
        spec="RFC 9329 §6.2",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.receive(1, a.request(), sent=[(1, a.answer())])
    s.hear(1)
    s.receive(1, a.response())
    yield s


def waits() -> Iterator[Script]:
    """How long we wait for an answer."""
    req = "9329-6.2-reconnect"
    timeout = {"result": "acceptable", "error": "Timeout", "reaction": "end-ike-sa"}
    s = up(
        "no answer: nothing is sent again, and the IKE SA ends",
        "Repeat Time",
        "9329-6.2-no-retransmit",
        spec="RFC 9329 §6.2",
        **timeout,
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.wait(59)
    s.hear(1)
    s.held.clear()
    s.wait(1)
    s.wait(5, closed=[1])
    yield s
    s = up(
        "the wait goes on over the new connection",
        "Repeat Time",
        f"{req} 9329-6.2-no-retransmit",
        spec="RFC 9329 §6.2",
        **timeout,
    )
    (a,) = s.sessions
    ask = a.asks()
    s.wish("liveness", sent=[(1, ask)])
    s.wait(50)
    s.lost(1)
    s.open(2)
    esp = a.child.esp()
    s.receive(2, PREFIX, esp, delivered=[esp.inner], sent=[(2, ask, True)], on=2)
    s.wait(9)
    s.held.clear()
    s.wait(1)
    yield s


def liveness() -> Iterator[Script]:
    """Only protected messages show that the peer lives."""
    policy = {"livenessSeconds": 30}
    req, spec = "9329-6.7-liveness", "RFC 9329 §6.6, §6.7"
    s = up(
        "keepalives are no sign of life",
        "Keepalive MustNot Time",
        f"{req} 9329-6.6-drop",
        spec=spec,
        policy=policy,
    )
    (a,) = s.sessions
    s.wait(20)
    s.receive(1, KEEPALIVE)
    s.wait(9)
    s.wait(1, sent=[(1, a.asks())])
    s.receive(1, a.response())
    s.wait(29)
    yield s
    s = up("ESP is a sign of life", "Time", req, spec=spec, policy=policy)
    (a,) = s.sessions
    s.wait(20)
    s.hear(1)
    s.wait(29)
    s.wait(1, sent=[(1, a.asks())])
    s.wait(59)
    s.held.clear()
    s.wait(1)
    yield s
    flags = "MustNot NoMove Time"
    s = up("a replay is no sign of life", flags, req, spec=spec, policy=policy)
    (a,) = s.sessions
    s.wait(20)
    s.receive(1, a.child.esp(b"", 71), dropped="1 replay")
    s.wait(10, sent=[(1, a.asks())])
    yield s
    s = up(
        "an hour of silence: no keepalive is sent",
        "Keepalive Time",
        "9329-6.6-send",
        spec="RFC 9329 §6.6",
    )
    for _ in range(6):
        s.wait(600)
    s.hear(1)
    yield s


def first() -> Iterator[Script]:
    """IKE_SA_INIT: repetitions, cookies, corrected requests."""
    s = alone(
        "IKE_SA_INIT again over a new connection",
        "Retransmission",
        "9329-6.1-reply-path 9329-6.2-responder",
        spec=REPEAT_SPEC,
    )
    s.knock(1)
    b = Beginner()
    answer, spi = b.answer(s, 1)
    s.held.append(Held(1, [(b.spi, spi)], []))
    s.receive(1, b.request(), sent=[(1, answer)])
    s.knock(2)
    s.receive(2, b.request(), sent=[(2, answer, True)])
    yield s
    s = alone(
        "INVALID_KE_PAYLOAD, then the corrected request",
        "FirstExchange",
        "9329-6.4-stay",
        spec="RFC 9329 §6.4; RFC 7296 §1.2",
    )
    s.knock(1)
    wrong = b.request(other_method=True)
    s.receive(1, wrong, sent=[(1, b.refusal(INVALID_KE, b"\0\x1f"))])
    s.wait(9)
    begin(s, 1, b)
    s.wait(20)
    yield s
    s = alone(
        "a later major version, then version 2",
        "FirstExchange",
        "9329-6.4-stay",
        spec="RFC 9329 §6.4; RFC 7296 §2.5",
    )
    s.knock(1)
    later = b.request(version=0x30)
    told = [(1, b.refusal(INVALID_MAJOR_VERSION, b""))]
    s.receive(1, later, sent=told, dropped="1 malformed")
    begin(s, 1, b)
    yield s


def beginners() -> Iterator[Script]:
    """A NAT that is noticed, a beginner who stops, and cookies."""
    b = Beginner()
    s = alone(
        "a NAT between the peers changes nothing",
        "FirstExchange MustNot",
        "9329-6.5-nochange 9329-6.5-natd",
        spec="RFC 9329 §6.5; RFC 7296 §2.23",
    )
    s.knock(1)
    answer, spi = b.answer(s, 1)
    s.held.append(Held(1, [(b.spi, spi)], []))
    s.receive(1, b.request(is_behind_nat=True), sent=[(1, answer)])
    yield s
    s = alone(
        "nobody goes on with IKE_AUTH",
        "FirstExchange Time",
        "9329-6.1-idle",
        result="acceptable",
        error="Deadline",
        reaction="end-ike-sa",
    )
    s.knock(1)
    begin(s, 1, b)
    s.wait(29)
    s.held.pop()
    s.wait(1)
    s.wait(5, closed=[1])
    yield s
    yield from _cookies(b)


def _cookies(b: Beginner) -> Iterator[Script]:
    secret = octets("mapping cookie secret", 32)
    cookie = cookie_of(secret, 1, b, THEIRS)
    more = {"spec": COOKIE_SPEC, "policy": {"isCookieRequired": True}}
    for comment in ("not brought back", "asked for twice", "brought back", "wrong"):
        is_accepted = comment == "brought back"
        req = "9329-6.3-port 9329-6.3-close" if is_accepted else "9329-6.3-close"
        refused: dict[str, str] = {}
        if comment == "wrong":
            refused = {"error": "Cookie", "reaction": "answer"}
        elif not is_accepted:
            refused = {"error": "Deadline", "reaction": "close-connection"}
            refused["result"] = "acceptable"
        s = alone(f"a cookie, {comment}", "Cookie", req, **more, **refused)
        s.knock(1)
        s.draw("cookie.secret", secret)
        ask = b.refusal(COOKIE, cookie)
        s.receive(1, b.request(), sent=[(1, ask)])
        if is_accepted:
            s.lost(1)
            s.knock(2)
            answer, spi = b.answer(s, 2)
            s.held.append(Held(2, [(b.spi, spi)], []))
            s.receive(2, b.request(cookie), sent=[(2, answer)])
            s.wait(10)
        else:
            s.wait(7)
            if comment == "asked for twice":
                s.receive(1, b.request(), sent=[(1, ask)])
            elif comment == "wrong":
                s.receive(1, b.request(bytes(33)), sent=[(1, ask)])
            s.wait(1, closed=[1])
        yield s
