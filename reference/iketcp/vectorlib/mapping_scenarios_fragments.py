"""Scenarios of IKE fragments: they are taken over TCP, and only a whole message moves.

Source: RFC 7383 §2.6, RFC 9329 §6.1, RFC 9329 §7.5
"""

from collections.abc import Iterator, Sequence

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.mapping_exchanges import INVALID_SYNTAX, delete_ike, notify
from iketcp.vectorlib.mapping_parts import (
    CREATE_CHILD_SA,
    VENDOR,
    Payload,
    Piece,
    Session,
    chain,
)
from iketcp.vectorlib.mapping_script import Script

SPEC = "RFC 7383 §2.6; RFC 9329 §6.1, §7.5"
TAKEN = "9329-7.5-recvfrag"
VALID = f"{TAKEN} 9329-6.1-last-valid 9329-6.1-valid-ike"


def up(comment: str, flags: str, requirement: str = TAKEN, **more: object) -> Script:
    """Begin with one session on connection 1 whose peers agreed on fragments."""
    session = Session("a")
    session.is_fragmentation_agreed = True
    more = {"spec": SPEC, **more}
    script = Script(comment, flags, requirement, [session], **more)  # type: ignore[arg-type]
    script.up()
    return script


def cut(
    session: Session,
    total: int,
    payloads: Sequence[Payload] = (),
    *,
    is_response: bool = False,
) -> list[Piece]:
    """Write the peer's next message in so many fragments.

    Parameters
    ----------
    payloads : Sequence[Payload]
        None given: a Vendor ID payload, which changes nothing.
    """
    first, whole = chain(payloads or [(VENDOR, octets("mapping fragments", 33))])
    size = -(-len(whole) // total)
    return [
        session.fragment(
            (number, total),
            whole[(number - 1) * size : number * size],
            first if number == 1 else 0,
            is_response=is_response,
        )
        for number in range(1, total + 1)
    ]


def taken(session: Session) -> Piece:
    """Count the request in fragments as taken; returns our answer to it."""
    session.expected += 1
    return session.answer()


def whole() -> Iterator[Script]:
    """All fragments of a message come, in some order, on one connection or two."""
    for order in ((1, 2, 3), (3, 1, 2)):
        s = up(f"a request in fragments {order}: answered once", "Fragments Ordinary")
        (a,) = s.sessions
        pieces = cut(a, 3)
        for number in order[:-1]:
            s.receive(1, pieces[number - 1])
        s.receive(1, pieces[order[-1] - 1], sent=[(1, taken(a))])
        s.receive(1, a.request(), sent=[(1, a.answer())])
        yield s
    s = up("a request in one fragment", "Fragments Ordinary")
    (a,) = s.sessions
    s.receive(1, *cut(a, 1), sent=[(1, taken(a))])
    yield s
    s = up("the last fragment moves the session, no other", "Fragments NoMove", VALID)
    (a,) = s.sessions
    one, two, three = cut(a, 3)
    s.receive(1, one)
    s.knock(2)
    s.receive(2, two)
    s.ping(1)
    s.receive(2, three, sent=[(2, taken(a))], on=2)
    s.ping(2)
    yield s
    s = up("a response in fragments moves the session", "Fragments", VALID)
    (a,) = s.sessions
    s.wish("liveness", sent=[(1, a.asks())])
    s.knock(2)
    one, two = cut(a, 2, is_response=True)
    s.receive(2, one)
    s.receive(2, two, on=2)
    s.ping(2)
    s.wish("liveness", sent=[(2, a.asks())])
    yield s
    s = up("DELETE in fragments", "Fragments Delete", f"{TAKEN} 9329-6.1-delete")
    (a,) = s.sessions
    one, two = cut(a, 2, [delete_ike()])
    s.receive(1, one)
    s.held.clear()
    s.receive(1, two, sent=[(1, taken(a))])
    s.wait(5, closed=[1])
    yield s


def again() -> Iterator[Script]:
    """A request that was answered comes again, in fragments."""
    s = up(
        "an answered request again: the first fragment has it answered once more",
        "Fragments Retransmission NoMove",
        f"{VALID} 9329-6.1-reply-path 9329-6.2-responder",
    )
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    answer = taken(a)
    s.receive(1, two, sent=[(1, answer)])
    s.knock(2)
    s.receive(2, two)
    s.receive(2, one, sent=[(2, answer, True)])
    s.ping(1)
    yield s
    s = up(
        "a fragment that cannot be read of an answered request: nothing more is said",
        "Fragments Retransmission",
        f"{TAKEN} 9329-6.2-responder",
        result="valid",
    )
    (a,) = s.sessions
    s.receive(1, a.request(), sent=[(1, a.answer())])
    odd = a.fragment((1, 2), b"", VENDOR, id=a.expected - 1, padding=b"\x09")
    s.receive(1, odd)
    s.receive(1, a.request(), sent=[(1, a.answer())])
    yield s
    s = up("the message comes whole after all", "Fragments Retransmission")
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    s.receive(1, a.request(), sent=[(1, a.answer())])
    s.receive(1, two)
    yield s


def dropped() -> Iterator[Script]:
    """Fragments that cannot be, or are not wanted: nothing happens but that."""
    drop = {"error": "Fragment", "reaction": "drop"}
    s = up("a fragment that is here already", "Fragments MustNot", **drop)
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    s.receive(1, one, dropped="1 fragment")
    s.receive(1, two, sent=[(1, taken(a))])
    yield s
    for number, total in ((0, 2), (3, 2), (0, 0), (1, 0)):
        s = up(f"fragment {number} of {total}", "Fragments MustNot", **drop)
        (a,) = s.sessions
        s.receive(1, a.fragment((number, total), b"", 0), dropped="1 fragment")
        s.receive(1, *cut(a, 2), sent=[(1, taken(a))])
        yield s
    s = up("a fragment of another exchange", "Fragments MustNot", **drop)
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    other = a.fragment((2, 2), b"", exchange=CREATE_CHILD_SA)
    s.receive(1, other, dropped="1 fragment")
    s.receive(1, two, sent=[(1, taken(a))])
    yield s
    s = up("cut anew into more: the old ones no longer count", "Fragments", **drop)
    (a,) = s.sessions
    old, new = cut(a, 2), cut(a, 3)
    s.receive(1, old[0])
    s.receive(1, new[2])
    s.receive(1, old[1], dropped="1 fragment")
    s.receive(1, new[0])
    s.receive(1, new[1], sent=[(1, taken(a))])
    yield s
    s = up("a fragment where none was agreed to", "Fragments MustNot", **drop)
    (a,) = s.sessions
    a.is_fragmentation_agreed = False
    s.states[0] = a.state()
    s.receive(1, *cut(a, 2), dropped="2 fragment")
    s.receive(1, a.request(), sent=[(1, a.answer())])
    yield s
    s = up(
        "fragments outside the window",
        "Fragments MustNot NoMove",
        VALID,
        error="OutsideWindow",
        reaction="drop",
    )
    (a,) = s.sessions
    s.knock(2)
    late = [a.fragment((1, 1), b"", id=id) for id in (a.expected - 2, a.expected + 1)]
    s.receive(2, *late, dropped="2 outside-window")
    unasked = a.fragment((1, 1), b"", id=0, is_response=True)
    s.receive(2, unasked, dropped="1 outside-window")
    s.ping(1)
    yield s


def not_whole() -> Iterator[Script]:
    """Messages that never become whole, or not as they should."""
    s = up(
        "a fragment that does not verify closes its connection; the others wait",
        "Fragments Forged",
        f"{TAKEN} 9329-6.1-corrupt",
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    s.knock(2)
    s.receive(2, two.tampered(), dropped="1 integrity", closed=[2])
    s.receive(1, two, sent=[(1, taken(a))])
    yield s
    s = up(
        "a fragment that did not come in time: the first one is given up",
        "Fragments Time",
        error="Incomplete",
        reaction="drop",
        result="acceptable",
        policy={"requestTimeoutSeconds": 20},
    )
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    s.wait(20)
    s.receive(1, two)
    s.receive(1, one, sent=[(1, taken(a))])
    yield s
    s = up(
        "a fragment just in time",
        "Fragments Time",
        result="acceptable",
        policy={"requestTimeoutSeconds": 20},
    )
    (a,) = s.sessions
    one, two = cut(a, 2)
    s.receive(1, one)
    s.wait(19)
    s.receive(1, two, sent=[(1, taken(a))])
    yield s
    yield from _malformed()
    s = up(
        "one of 257: so many are never needed, and the IKE SA ends",
        "Fragments",
        error="TooManyFragments",
        reaction="end-ike-sa",
        result="acceptable",
    )
    (a,) = s.sessions
    s.receive(1, a.fragment((1, 256), b"", VENDOR))
    s.held.clear()
    many = a.fragment((1, 257), b"", VENDOR)
    s.receive(1, many, dropped="1 too-many-fragments")
    s.wait(5, closed=[1])
    yield s


def _malformed() -> Iterator[Script]:
    """What is put together, or one fragment, cannot be read: bad syntax, authentic."""
    how = {"error": "InvalidSyntax", "reaction": "end-ike-sa"}
    req = f"{TAKEN} 9329-6.1-syntax"
    for comment, last in (("whole", b""), ("one fragment's padding", b"\x09")):
        s = up(f"bad syntax: {comment}", "Fragments Syntax", req, **how)
        (a,) = s.sessions
        one = a.fragment((1, 2), b"\0\0\0\x09", VENDOR)
        two = a.fragment((2, 2), b"", padding=last or b"\0")
        s.receive(1, one)
        a.expected += 1
        syntax = a.answer(notify(INVALID_SYNTAX))
        s.held.clear()
        s.receive(1, two, sent=[(1, syntax)])
        s.wait(5, closed=[1])
        yield s
