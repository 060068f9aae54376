"""Scenarios of the TCP Responder: messages that TCP cuts, and that a loss cuts off.

Source: RFC 9329 §3, RFC 9329 §6.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_parts import PREFIX, Piece, raw
from iketcp.vectorlib.mapping_scenarios_moves import up
from iketcp.vectorlib.mapping_script import Script


def pieces() -> Iterator[Script]:
    """TCP cuts messages anywhere, and that means nothing."""
    s = up(
        "a request in three pieces, an ESP packet octet by octet",
        "Cut",
        "9329-3-segmentation 9329-6.1-partial",
        spec="RFC 9329 §3, §6.1",
    )
    (a,) = s.sessions
    first, rest = a.request().cut(1)
    s.receive(1, first)
    s.wait(5)
    second, third = rest.cut(30)
    s.receive(1, second)
    s.receive(1, third, sent=[(1, a.answer())])
    esp = a.child.esp()
    for at in range(len(esp.octets) - 1):
        s.receive(1, raw(esp.octets[at : at + 1], "one octet of an ESP packet"))
    last = raw(esp.octets[-1:], "its last octet")
    s.receive(1, last, delivered=[esp.inner])
    yield s


def cuts() -> Iterator[Script]:
    """A message that a broken connection cuts off is completed by nobody."""
    for kind in ("request", "ESP packet"):
        for place in ("Length", "marker", "header", "ICV"):
            if kind == "request" or place != "marker":
                yield from _cut(kind, place)


def _cut(kind: str, place: str) -> Iterator[Script]:
    """Cut one message: its rest comes on a new connection, bare or behind a prefix."""
    req = "9329-6.1-partial 9329-6.1-keep-state"
    for is_bare in (True, False):
        where = "without prefix" if is_bare else "behind the prefix"
        s = up(f"a {kind} cut inside its {place}; the rest comes {where}", "Cut", req)
        (a,) = s.sessions
        whole = a.request(id=7) if kind == "request" else a.child.esp(b"x" * 40, 72)
        at = {"Length": 1, "marker": 4, "header": 9, "ICV": -3}[place]
        first, rest = whole.cut(at)
        s.receive(1, first)
        s.lost(1)
        s.open(2)
        if is_bare:
            s.error, s.reaction = "StreamPrefix", "close-connection"
            s.receive(2, rest, closed=[2])
        else:
            rest_behind_prefix(s, 2, rest)
        s.ping(None)
        s.knock(3)
        esp = a.child.esp()
        s.receive(
            3, esp, a.request(), delivered=[esp.inner], sent=[(3, a.answer())], on=3
        )
        yield s


def rest_behind_prefix(s: Script, id: int, rest: Piece) -> None:
    """Let the rest of a message come behind a prefix, and expect nothing of it.

    Its first octets are read as a Length: too small closes the connection, a whole
    message that is nothing is counted, and a large one waits.
    """
    stream, dropped = rest.octets, 0
    is_fatal = False
    while len(stream) >= 2 and not is_fatal:
        length = int.from_bytes(stream[:2], "big")
        is_fatal = length < 2
        if is_fatal or len(stream) < length:
            break
        if length == 3 and stream[2] == 0xFF:
            raise ValueError("a keepalive by chance: choose another message")
        dropped += length > 2
        stream = stream[length:]
    if dropped:
        raise ValueError("whole messages by chance: choose another place")
    s.error = "LengthTooSmall" if is_fatal else "Deadline"
    s.reaction = "close-connection"
    s.receive(id, PREFIX, rest, closed=[id] if is_fatal else [])
    if not is_fatal:
        s.result = "acceptable"
        s.wait(10, closed=[id])
