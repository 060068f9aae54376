"""Scenarios of the TCP Responder: what moves a session to a connection, and what not.

Source: RFC 9329 §6.1, RFC 9329 §6.2
"""

from collections.abc import Callable, Iterator

from iketcp.vectorlib.mapping_parts import (
    EMPTY,
    KEEPALIVE,
    PREFIX,
    Piece,
    Session,
    clear_message,
    inner,
    unknown_esp,
)
from iketcp.vectorlib.mapping_script import Script

VALID_IKE = "9329-6.1-last-valid 9329-6.1-valid-ike"
VALID_ESP = "9329-6.1-last-valid 9329-6.1-valid-esp"
Make = Callable[[Session], Piece]
SPEC_ANSWER = "RFC 9329 §6.1, §6.2; RFC 7296 §2.1"


def up(comment: str, flags: str, requirement: str, **more: object) -> Script:
    """Begin a scenario with one session on connection 1."""
    script = alone(comment, flags, requirement, **more)
    script.up()
    return script


def alone(comment: str, flags: str, requirement: str, **more: object) -> Script:
    """Begin a scenario with one session that has no connection."""
    return Script(comment, flags, requirement, [Session("a")], **more)  # type: ignore[arg-type]


def moves() -> Iterator[Script]:
    """Valid messages on a new connection: the session comes there."""
    req = f"9329-6.1-recognise 9329-6.1-noprefix 9329-4-originator {VALID_ESP}"
    s = alone("ESP comes first", "NewConnection", req)
    s.up()
    s.ping(1)
    yield s
    s = alone("IKE comes first", "NewConnection", f"9329-6.1-recognise {VALID_IKE}")
    (a,) = s.sessions
    s.open(1)
    s.receive(1, PREFIX, a.request(), sent=[(1, a.answer())], on=1)
    s.ping(1)
    yield s
    req = f"{VALID_ESP} 9329-6.1-send-one"
    s = up("ESP on a second connection", "NewConnection", req)
    s.ping(1)
    s.knock(2)
    s.ping(1)
    s.hear(2)
    s.ping(2)
    yield s
    req = f"{VALID_IKE} 9329-6.1-send-one 9329-5-all"
    s = up("a request on a second connection is answered there", "NewConnection", req)
    (a,) = s.sessions
    s.knock(2)
    s.receive(2, a.request(), sent=[(2, a.answer())], on=2)
    s.ping(2)
    s.wish("liveness", sent=[(2, a.asks())])
    s.receive(2, a.response())
    yield s


def moves_too() -> Iterator[Script]:
    """Responses, dummies and strays are valid messages, too."""
    s = up("a response on a second connection", "NewConnection", VALID_IKE)
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.knock(2)
    s.receive(2, a.response(), on=2)
    s.ping(2)
    yield s
    s = up("a dummy packet moves, and is not delivered", "NewConnection", VALID_ESP)
    (a,) = s.sessions
    s.knock(2)
    s.receive(2, a.child.packet(bytes(14), next_header=59), on=2)
    s.ping(2)
    yield s
    comment = "an authentic packet outside the selectors moves, and is dropped"
    s = up(comment, "NewConnection", VALID_ESP)
    (a,) = s.sessions
    s.knock(2)
    outside = a.child.packet(inner("10.9.9.9", "10.0.2.1", b"stray"))
    s.receive(2, outside, dropped="1 selector", on=2)
    s.ping(2)
    yield s
    s = up("several messages at once", "NewConnection", f"{VALID_IKE} {VALID_ESP}")
    (a,) = s.sessions
    s.open(2)
    one, request, two = a.child.esp(b"one"), a.request(), a.child.esp(b"two")
    s.receive(
        2,
        PREFIX,
        one,
        request,
        KEEPALIVE,
        two,
        sent=[(2, a.answer())],
        delivered=[one.inner, two.inner],
        on=2,
    )
    yield s


def addresses() -> Iterator[Script]:
    """Sessions come from anywhere."""
    req = "9329-6.1-address 9329-6.1-keep-state 9329-6.1-recognise"
    for comment, where in (
        ("the same address, another port", {}),
        ("another address", {"address": "203.0.113.77"}),
        ("IPv6 now", {"address": "2001:db8::7", "local": "2001:db8::2"}),
    ):
        s = up(f"after a break: {comment}", "NewAddress", req)
        (a,) = s.sessions
        s.lost(1)
        s.knock(2, **where)
        s.receive(2, a.request(), sent=[(2, a.answer())], on=2)
        s.hear(2)
        s.ping(2)
        yield s


PROVE_NOTHING: tuple[tuple[str, str, str, Make], ...] = (
    (
        "a replayed ESP packet",
        f"{VALID_ESP} 9329-6.1-send-one",
        "1 replay",
        lambda a: a.child.esp(b"", 71),
    ),
    (
        "an ESP packet seen before the loss",
        VALID_ESP,
        "1 replay",
        lambda a: a.child.esp(b"", 70),
    ),
    (
        "an ESP packet left of the window",
        VALID_ESP,
        "1 replay",
        lambda a: a.child.esp(b"", 3),
    ),
    (
        "ESP packets for nobody",
        f"{VALID_ESP} 9329-6.1-few-unknown 9329-6.1-recognise",
        "3 unknown-spi",
        lambda a: unknown_esp() * 3,
    ),
    (
        "a request beyond the window",
        VALID_IKE,
        "1 outside-window",
        lambda a: a.request(id=8),
    ),
    (
        "a request before the last one",
        f"{VALID_IKE} 9329-6.2-responder",
        "1 outside-window",
        lambda a: a.request(id=5),
    ),
    (
        "a response to no request of ours",
        VALID_IKE,
        "1 outside-window",
        lambda a: a.response(id=2),
    ),
    (
        "our own response, reflected",
        VALID_IKE,
        "1 unknown-ike-sa",
        lambda a: a.last_answer,
    ),
    (
        "a request with our SPI and another initiator's",
        VALID_IKE,
        "1 unknown-ike-sa",
        lambda a: clear_message(bytes([1] * 8), a.spis[1], 8, (), 37, 7),
    ),
    (
        "a request with other SPIs",
        f"{VALID_IKE} 9329-6.1-recognise",
        "1 unknown-ike-sa",
        lambda a: clear_message(bytes([1] * 8), bytes([2] * 8), 8, (), 37, 7),
    ),
)
"""Messages, the rules they are about, what they are dropped as."""


def stays() -> Iterator[Script]:
    """Messages that prove nothing on a new connection: the session stays on the old."""
    for comment, req, drop, make in PROVE_NOTHING:
        s = up(
            f"{comment} on a second connection",
            "NoMove",
            req,
            error="NotFresh",
            reaction="drop",
        )
        _stay(s, make, drop)
        yield s


def noise() -> Iterator[Script]:
    """Noise on a new connection: the session stays on the old."""
    for comment, make in (
        ("a keepalive", lambda a: KEEPALIVE * 50),
        ("an empty message", lambda a: EMPTY * 50),
    ):
        req = "9329-6.6-drop 9329-3-empty 9329-6.1-last-valid"
        s = up(f"{comment} on a second connection", "Keepalive NoMove", req)
        _stay(s, make, "")
        yield s


def _stay(s: Script, make: Make, drop: str) -> None:
    """Let something arrive on a second connection that moves nothing."""
    (a,) = s.sessions
    s.knock(2)
    s.receive(2, make(a), dropped=drop)
    s.ping(1)
    s.hear(1)
    s.hear(2)
    s.ping(2)


def forged() -> Iterator[Script]:
    """Messages that fail their check close the new connection, and nothing else."""
    for comment, make in (
        ("a tampered ESP packet", lambda a: a.child.esp(b"", 72).tampered()),
        ("a tampered request", lambda a: a.request(id=7).tampered()),
        ("a tampered replay", lambda a: a.request(id=6).tampered()),
        (
            "a request without an Encrypted payload",
            lambda a: clear_message(a.spis[0], a.spis[1], 8, (), 37, 7),
        ),
    ):
        kind = VALID_ESP if "ESP" in comment else VALID_IKE
        s = up(
            f"{comment} on a second connection",
            "Forged NoMove",
            f"9329-6.1-corrupt 9329-6.1-address {kind}",
            error="Integrity",
            reaction="close-connection",
        )
        (a,) = s.sessions
        s.knock(2, address="198.51.100.9")
        s.receive(2, make(a), closed=[2], dropped="1 integrity")
        s.ping(1)
        s.hear(1)
        yield s
    s = up(
        "what stands before a tampered packet counts; then the older connection again",
        "Forged",
        "9329-6.1-corrupt 9329-6.1-last-valid",
        result="acceptable",
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.knock(2)
    good, bad = a.child.esp(), a.child.esp().tampered()
    s.receive(
        2, good, bad, delivered=[good.inner], closed=[2], dropped="1 integrity", on=1
    )
    s.ping(1)
    yield s


def retransmissions() -> Iterator[Script]:
    """Retransmitted requests: answered where they come from, and nothing moves."""
    req = "9329-6.1-reply-path 9329-6.1-valid-ike 9329-6.2-responder"
    s = up(
        "a retransmitted request on a second connection",
        "Retransmission",
        req,
        spec=SPEC_ANSWER,
    )
    (a,) = s.sessions
    request = a.request()
    answer = a.answer()
    s.receive(1, request, sent=[(1, answer)])
    s.knock(2)
    s.receive(2, request, sent=[(2, answer, True)])
    s.ping(1)
    s.receive(2, a.request(), sent=[(2, a.answer())], on=2)
    s.receive(1, request, dropped="1 outside-window")
    yield s
    s = alone(
        "a retransmission finds a session without connection",
        "Retransmission",
        req,
        spec=SPEC_ANSWER,
    )
    (a,) = s.sessions
    s.knock(1)
    s.receive(1, a.last_request, sent=[(1, a.last_answer, True)])
    s.ping(None)
    s.wait(9)
    s.wait(1, closed=[1])
    yield s
    s = up(
        "the same request three times over one connection",
        "Retransmission",
        "9329-6.2-responder",
        spec=SPEC_ANSWER,
    )
    (a,) = s.sessions
    request, answer = a.request(), a.answer()
    s.receive(1, request, sent=[(1, answer)])
    s.receive(1, request, request, sent=[(1, answer, True), (1, answer, True)])
    s.ping(1)
    yield s


def both() -> Iterator[Script]:
    """Old and new connections are both listened to, until one closes."""
    req = "9329-6.1-both 9329-6.1-last-valid"
    s = up("a late ESP packet on the old connection moves back", "BothConnections", req)
    s.knock(2)
    s.hear(2)
    s.ping(2)
    s.hear(1)
    s.ping(1)
    s.hear(2)
    s.ping(2)
    yield s
    s = up("a late request on the old connection moves back", "BothConnections", req)
    (a,) = s.sessions
    s.knock(2)
    s.hear(2)
    s.receive(1, a.request(), sent=[(1, a.answer())], on=1)
    s.ping(1)
    yield s


def overtaken() -> Iterator[Script]:
    """Replays and packets out of order, over two connections."""
    req = "9329-6.1-both 9329-6.1-last-valid"
    s = up(
        "a replay on the old connection moves nothing back",
        "BothConnections NoMove",
        f"{req} 9329-6.1-valid-esp",
        error="NotFresh",
        reaction="drop",
    )
    (a,) = s.sessions
    s.knock(2)
    esp = a.child.esp()
    s.receive(2, esp, delivered=[esp.inner], on=2)
    s.receive(1, esp, dropped="1 replay")
    s.ping(2)
    yield s
    s = up("a packet that the other connection overtook", "BothConnections", req)
    (a,) = s.sessions
    s.knock(2)
    late, early = a.child.esp(b"late"), a.child.esp(b"early")
    s.receive(2, early, delivered=[early.inner], on=2)
    s.receive(1, late, delivered=[late.inner], on=1)
    yield s
    s = up(
        "the TCP Originator closes the old one",
        "BothConnections",
        "9329-6.1-both 9329-6.1-keep-state",
    )
    s.knock(2)
    s.hear(2)
    s.lost(1)
    s.ping(2)
    s.wait(600)
    s.hear(2)
    yield s


def losses() -> Iterator[Script]:
    """The session goes back to an older connection, or waits."""
    s = up(
        "the new one is lost: back to the old, which is still open",
        "BothConnections",
        "9329-6.1-last-valid",
        result="acceptable",
    )
    s.knock(2)
    s.hear(2)
    s.lost(2, on=1)
    s.ping(1)
    yield s
    s = up(
        "of three, the newest is lost: back to where the last valid message came",
        "BothConnections",
        "9329-6.1-last-valid 9329-6.1-both",
        result="acceptable",
    )
    for id in (2, 3):
        s.wait(1)
        s.knock(id)
        s.hear(id)
    for id in (1, 3):
        s.wait(1)
        s.hear(id)
    s.lost(3, on=1)
    s.ping(1)
    s.lost(2)
    s.ping(1)
    yield s
    s = up(
        "both are lost: the session waits",
        "BothConnections",
        "9329-6.1-keep-state 9329-10-state 9329-6.1-reestablish",
    )
    s.knock(2)
    s.hear(2)
    s.lost(1)
    s.lost(2)
    s.ping(None)
    s.wait(3600)
    s.knock(3)
    s.hear(3)
    s.ping(3)
    yield s
