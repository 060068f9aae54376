"""Scenarios of messages that come at an odd moment, or say what nobody hopes for.

Source: RFC 9329 §6.1, RFC 9329 §6.2, RFC 7296 §2.21
"""

from collections.abc import Iterator
from dataclasses import replace

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_exchanges import (
    INVALID_SYNTAX,
    TEMPORARY_FAILURE,
    Beginner,
    delete_esp,
    delete_ike,
    notify,
    peer_rekeys_ike,
    rekey_child,
)
from iketcp.vectorlib.mapping_parts import (
    INFORMATIONAL,
    NOTIFY,
    Piece,
    Session,
    raw,
)
from iketcp.vectorlib.mapping_scenarios_endings import begin
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import Held, Script

FIRST_SPEC = "RFC 9329 §6.4; RFC 7296 §1.2, §2.21.1"
ANSWER_SPEC = "RFC 9329 §6.2; RFC 7296 §2.21.3"
CREATE_CHILD_SA = 36


def first_requests() -> Iterator[Script]:
    """IKE_SA_INIT requests that are refused; the connection stays for a better one."""
    b = Beginner()
    s = alone(
        "a public value of zeros, then a good one",
        "FirstExchange",
        "9329-6.4-stay 9329-6.1-corrupt",
        spec="RFC 9329 §6.1, §6.4; RFC 8031 §2",
        error="InvalidPublicValue",
        reaction="drop",
    )
    s.knock(1)
    # what is drawn for it, nobody sees
    s.draw("ike.spi", octets("mapping in vain our SPI", 8))
    s.draw("ike_sa_init.ke.private", octets("mapping in vain our key", 32))
    s.receive(1, b.request(public=bytes(32)), dropped="1 public-value")
    begin(s, 1, b)
    yield s
    s = alone(
        "INVALID_SYNTAX in the clear, then the corrected request",
        "FirstExchange Syntax",
        "9329-6.4-stay 9329-6.1-syntax",
        spec=FIRST_SPEC,
        error="InvalidSyntax",
        reaction="answer",
    )
    s.knock(1)
    told = [(1, b.refusal(INVALID_SYNTAX, b""))]
    s.receive(1, cut_short(b.request()), sent=told, dropped="1 malformed")
    begin(s, 1, b)
    yield s
    s = alone(
        "bad syntax in the clear for an SPI that nobody has",
        "FirstExchange MustNot Syntax",
        "9329-6.1-syntax 9329-6.1-corrupt",
        spec="RFC 9329 §6.1; RFC 7296 §2.21.4",
        error="InvalidSyntax",
        reaction="drop",
    )
    s.knock(1)
    piece = cut_short(b.request())
    stream = piece.octets[:14] + bytes([9] * 8) + piece.octets[22:]
    odd = raw(stream, "an IKE message of bad syntax, with both SPIs")
    s.receive(1, odd, dropped="1 malformed")
    begin(s, 1, b)
    yield s


def cut_short(piece: Piece) -> Piece:
    """Take the last octet off a message whose header is made to fit."""
    stream = piece.octets[:-1]
    size = len(stream)
    head = size.to_bytes(2, "big") + stream[2:30] + (size - 6).to_bytes(4, "big")
    return raw(head + stream[34:], "an IKE message whose last payload is cut short")


def too_early() -> Iterator[Script]:
    """Authentic messages before IKE_AUTH: nobody has shown who he is."""
    names = {INFORMATIONAL: "INFORMATIONAL", CREATE_CHILD_SA: "CREATE_CHILD_SA"}
    for exchange, name in names.items():
        s = alone(
            f"an authentic {name} request where IKE_AUTH is due",
            "FirstExchange",
            "9329-6.1-valid-ike",
            spec="RFC 9329 §6.1; RFC 7296 §1.2",
            error="NotAuthenticated",
            reaction="drop",
        )
        b = Beginner()
        s.knock(1)
        answer, spi = b.answer(s, 1)
        s.held.append(Held(1, [(b.spi, spi)], []))
        s.receive(1, b.request(), sent=[(1, answer)])
        early = b.ike_sa(spi).request(exchange=exchange, id=1)
        s.receive(1, early, dropped="1 outside-window")
        s.knock(2)
        s.receive(2, early, dropped="1 outside-window")
        yield s


def unhappy_answers() -> Iterator[Script]:
    """Answers to our requests that end the IKE SA, or put off what we wanted."""
    s = up(
        "the peer answers INVALID_SYNTAX: the IKE SA ends, and not the connection",
        "Syntax",
        "9329-6.1-syntax 9329-6.1-linger",
        spec=ANSWER_SPEC,
        error="InvalidSyntax",
        reaction="end-ike-sa",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.held.clear()
    s.receive(1, a.response(notify(INVALID_SYNTAX)))
    s.wait(4)
    s.wait(1, closed=[1])
    yield s
    s = up(
        "an authentic response that cannot be read: the IKE SA is deleted",
        "Syntax",
        "9329-6.1-syntax 9329-6.1-delete",
        spec=ANSWER_SPEC,
        error="InvalidSyntax",
        reaction="end-ike-sa",
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    body = bytes([0, 0, 0, 5, 0])
    bad = a.sealed(False, NOTIFY, body, (), INFORMATIONAL, a.next_id - 1, True)
    s.receive(1, bad, sent=[(1, a.asks(delete_ike()))])
    s.held.clear()
    s.receive(1, a.response())
    yield s
    yield _put_off()


def _put_off() -> Script:
    s = up(
        "TEMPORARY_FAILURE: the rekey is tried again, anew, some seconds later",
        "Rekey Time",
        "9329-6.2-no-retransmit",
        spec="RFC 9329 §6.2; RFC 7296 §2.25",
    )
    (a,) = s.sessions
    first = rekey_child(s, is_ours=True)
    s.wish("rekey-child", sent=[(1, first.request)])
    s.receive(1, a.response(notify(TEMPORARY_FAILURE), exchange=CREATE_CHILD_SA))
    s.wait(5)
    again = rekey_child(s, is_ours=True, label="second")
    s.wait(5, sent=[(1, again.request)])
    old, a.child = a.child, again.new
    s.held[0].children.append(again.new.spi_in)
    s.receive(1, again.response, sent=[(1, a.asks(delete_esp(old.spi_in)))])
    s.ping(1)
    return s


def signs_of_life() -> Iterator[Script]:
    """IKE messages show that the peer lives, requests and responses alike."""
    policy = {"livenessSeconds": 30}
    req, spec = "9329-6.7-liveness", "RFC 9329 §6.7"
    s = up("a request is a sign of life", "Time", req, spec=spec, policy=policy)
    (a,) = s.sessions
    s.wait(20)
    s.receive(1, a.request(), sent=[(1, a.answer())])
    s.wait(29)
    s.wait(1, sent=[(1, a.asks())])
    yield s
    s = up("a response is a sign of life", "Time", req, spec=spec, policy=policy)
    (a,) = s.sessions
    s.wait(20)
    s.wish("liveness", sent=[(1, a.asks())])
    s.receive(1, a.response())
    s.wait(29)
    s.wait(1, sent=[(1, a.asks())])
    yield s


def overtaking() -> Iterator[Script]:
    """ESP that is faster than the answer which brings its Child SA."""
    s = up(
        "ESP of a new Child SA before the answer to our rekey",
        "Rekey UnknownSpi",
        "9329-6.1-few-unknown",
        spec="RFC 9329 §6.1; RFC 7296 §2.8",
        policy={"unknownSpiLimit": 2},
        error="UnknownSpi",
        reaction="drop",
    )
    (a,) = s.sessions
    made = rekey_child(s, is_ours=True)
    s.wish("rekey-child", sent=[(1, made.request)])
    early = [made.new.esp(b"early") for _ in range(5)]
    s.receive(1, *early, dropped="5 awaited-child-sa")
    old, a.child = a.child, made.new
    s.held[0].children.append(made.new.spi_in)
    s.receive(1, made.response, sent=[(1, a.asks(delete_esp(old.spi_in)))])
    s.hear(1)
    s.ping(1)
    yield s


def ends_with_all() -> Iterator[Script]:
    """The session ends with the IKE SA that exchanges are begun on."""
    s = up(
        "DELETE of the new IKE SA, before that of the old one",
        "Delete Rekey",
        "9329-6.1-rekey-share 9329-6.1-delete 9329-6.1-linger",
        spec="RFC 9329 §6.1; RFC 7296 §2.8",
    )
    made = peer_rekeys_ike(s)
    s.held.clear()
    ask = made.new.request(delete_ike())
    s.receive(1, ask, sent=[(1, made.new.answer())])
    s.wait(5, closed=[1])
    yield s


def known() -> Iterator[Script]:
    """Whoever uses a new IKE SA has it; the old one need not be deleted first."""
    s = up(
        "a request on the new IKE SA while the old one is still there",
        "Rekey",
        "9329-6.1-rekey-share",
        spec="RFC 9329 §6.1; RFC 7296 §2.8",
    )
    made = peer_rekeys_ike(s)
    s.wish("liveness")  # our answer may not have come yet
    ask = made.new.request()
    s.receive(1, ask, sent=[(1, made.new.answer()), (1, made.new.asks())])
    s.receive(1, made.new.response())
    yield s


def searched() -> Iterator[Script]:
    """What looks like the next message of a stream out of step, and is none of ours."""
    more = {"spec": "RFC 9329 §10", "policy": {"resyncLimit": 1}}
    s = up(
        "IKE messages of others, and one that cannot be read, are not the next message",
        "MustNot Resync",
        "9329-10-resync",
        **more,
    )
    (a,) = s.sessions
    bad, good = a.child.esp().tampered(), a.child.esp()
    twin = Session("twin", spis=(a.spis[0][:4] + bytes(4), a.spis[1]))
    other = Session("other", spis=(a.spis[0], bytes([7] * 8)))
    short = replace(a.request(id=7), content=())
    false = (
        twin.request(id=7).octets
        + other.request(id=7).octets
        + b"\0\x10"
        + short.octets[2:16]
    )
    noise = raw(false, "IKE messages of others, and the beginning of one of ours")
    drop = f"1 integrity {len(bad.octets) + len(false)} skipped-octets"
    s.receive(1, bad, noise, good, dropped=drop, delivered=[good.inner])
    yield s
    s = up(
        "the session ends while its stream is searched",
        "Resync Time",
        "9329-10-limit 9329-6.2-no-retransmit",
        error="Timeout",
        reaction="close-connection",
        result="acceptable",
        **more,
    )
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.receive(1, a.child.esp().tampered(), dropped="1 integrity")
    s.wait(59)
    s.held.clear()
    s.wait(1)
    late = a.child.esp()
    s.receive(1, raw(late.octets, "a packet of the session that has ended"), closed=[1])
    yield s
