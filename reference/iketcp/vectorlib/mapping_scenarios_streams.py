"""Scenarios of the TCP Responder: prefixes, Lengths, corruption, half-open streams.

Source: RFC 9329 §3, RFC 9329 §4, RFC 9329 §6.1, RFC 9329 §6.6
"""

from collections.abc import Iterator

from iketcp.vectorlib.mapping_parts import (
    EMPTY,
    GARBAGE,
    KEEPALIVE,
    PREFIX,
    Session,
    clear_message,
    framed,
    ike_piece,
    raw,
    unknown_esp,
)
from iketcp.vectorlib.mapping_scenarios_moves import alone, up
from iketcp.vectorlib.mapping_script import Script

PREFIX_SPEC = "RFC 9329 §4, §6.1"
LENGTH_SPEC = "RFC 9329 §3, §3.1, §3.2, §6.1"


def prefixes() -> Iterator[Script]:
    """A session that goes on still needs a stream prefix, whole and right."""
    for comment, begin in (
        ("no prefix: an ESP packet at once", b""),
        ("a wrong last letter", b"IKETCQ"),
        ("small letters", b"iketcp"),
        ("one octet of noise before it", b"\0IKETCP"),
        ("the prefix with a Length of its own", b"\0\x08IKETCP"),
    ):
        s = up(
            f"a resumed session, {comment}",
            "Prefix NoMove",
            "9329-6.1-noprefix 9329-4-originator 9329-4-prefix 9329-6.1-reprefix",
            spec=PREFIX_SPEC,
            error="StreamPrefix",
            reaction="close-connection",
        )
        (a,) = s.sessions
        s.open(2)
        pieces = [raw(begin, "no stream prefix")] if begin else []
        s.receive(2, *pieces, a.child.esp(b"", 72), closed=[2])
        s.ping(1)
        s.hear(1)
        yield s


def slow_prefixes() -> Iterator[Script]:
    """A prefix that does not come at once, or comes again."""
    s = alone(
        "a prefix that stops half way",
        "HalfOpen Prefix",
        "9329-6.1-wait 9329-6.1-idle",
        spec=PREFIX_SPEC,
        result="acceptable",
        error="Deadline",
        reaction="close-connection",
    )
    s.open(1)
    s.receive(1, raw(b"IKET", "first part of the prefix"))
    s.wait(9)
    s.wait(1, closed=[1])
    yield s
    s = alone(
        "a prefix that comes octet by octet",
        "Prefix",
        "9329-6.1-wait 9329-6.1-noprefix",
        spec=PREFIX_SPEC,
    )
    s.open(1)
    for at in range(6):
        s.receive(1, raw(b"IKETCP"[at : at + 1], "one octet of the prefix"))
        s.wait(1)
    s.hear(1)
    s.ping(1)
    yield s
    s = alone(
        "a second prefix is a Length of 18763",
        "Prefix",
        "9329-4-once 9329-6.1-wait",
        spec=PREFIX_SPEC,
        error="Deadline",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.open(1)
    again = raw(b"IKETCP", "the prefix again: Length and four octets")
    s.receive(1, PREFIX, again, raw(a.child.esp(b"", 71).octets, "inside that Length"))
    s.wait(9)
    s.wait(1, closed=[1])
    s.up(2)
    yield s


def lengths() -> Iterator[Script]:
    """A Length that cannot be costs the connection, never the session."""
    req = "9329-3.1-length 9329-3.2-length 9329-6.1-keep-state"
    closing = {
        "spec": LENGTH_SPEC,
        "error": "LengthTooSmall",
        "reaction": "close-connection",
    }
    for length in (0, 1):
        s = up(f"Length {length}", "ShortLength", req, **closing)
        (a,) = s.sessions
        s.receive(1, raw(bytes([0, length]), f"Length {length}"), closed=[1])
        s.ping(None)
        s.knock(2)
        s.receive(2, a.request(), sent=[(2, a.answer())], on=2)
        s.hear(2)
        yield s
    s = up(
        "a valid message, then Length 0, then another", "ShortLength", req, **closing
    )
    (a,) = s.sessions
    good, unread = a.child.esp(), a.child.esp(b"behind")
    tail = raw(unread.octets, "not looked at any more")
    zero = raw(b"\0\0", "Length 0")
    s.receive(1, good, zero, tail, delivered=[good.inner], closed=[1])
    s.knock(2)
    s.receive(2, unread, delivered=[unread.inner], on=2)
    yield s
    s = up(
        "Length 1 on a connection that carries nothing",
        "ShortLength NoMove",
        req,
        **closing,
    )
    s.knock(2)
    s.receive(2, raw(b"\0\x01", "Length 1"), closed=[2])
    s.ping(1)
    s.hear(1)
    yield s
    s = up(
        "Length 2 and Length 3 are noise",
        "Keepalive",
        "9329-3-empty 9329-6.6-drop 9329-3.1-length 9329-3.2-length",
        spec="RFC 9329 §3, §6.6",
    )
    s.receive(1, *[EMPTY, KEEPALIVE] * 20)
    s.ping(1)
    s.hear(1)
    yield s


def wrong_lengths() -> Iterator[Script]:
    """A Length that is written wrongly is read as it stands."""
    s = up(
        "a Length that does not count itself",
        "Sizes",
        "9329-3-length 9329-6.1-corrupt",
        spec=LENGTH_SPEC,
        error="Integrity",
        reaction="close-connection",
    )
    (a,) = s.sessions
    good = a.child.esp()
    size = (len(good.octets) - 2).to_bytes(2, "big")
    short = raw(size + good.octets[2:], "an ESP packet, Length two too small")
    s.receive(1, short, dropped="1 integrity", closed=[1])
    s.knock(2)
    s.receive(2, good, delivered=[good.inner], on=2)
    yield s
    s = alone(
        "a Length with its octets in the other order",
        "Sizes",
        "9329-3-length",
        spec=LENGTH_SPEC,
        result="acceptable",
        error="Deadline",
        reaction="close-connection",
    )
    (a,) = s.sessions
    good = a.child.esp()
    swapped = raw(good.octets[1::-1] + good.octets[2:], "an ESP packet, Length swapped")
    s.knock(1)
    s.receive(1, swapped)
    s.wait(10, closed=[1])
    s.knock(2)
    s.receive(2, good, delivered=[good.inner], on=2)
    yield s


def corruption() -> Iterator[Script]:
    """How much nonsense a connection stands, and that the session stands more."""
    req = "9329-6.1-corrupt 9329-3-short"
    s = up("seven messages of garbage, then a valid one, twice", "Garbage", req)
    for _ in range(2):
        s.receive(1, GARBAGE * 7, dropped="7 unparseable")
        s.hear(1)
    s.ping(1)
    yield s
    s = up("a request between them will do, too", "Garbage UnknownSpi", req)
    (a,) = s.sessions
    for _ in range(2):
        s.receive(1, GARBAGE * 7, dropped="7 unparseable")
        s.receive(1, unknown_esp() * 16, dropped="16 unknown-spi")
        s.receive(1, a.request(), sent=[(1, a.answer())])
    yield s
    s = up(
        "a repeated request between them will not",
        "Garbage NoMove",
        req,
        result="acceptable",
        error="Corrupt",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.receive(1, GARBAGE * 7, dropped="7 unparseable")
    s.receive(1, a.last_request, sent=[(1, a.last_answer, True)])
    s.receive(1, GARBAGE, dropped="1 unparseable", closed=[1])
    yield s
    s = up("garbage, then a valid one, in one piece", "Garbage", req)
    (a,) = s.sessions
    esp = a.child.esp()
    s.receive(1, GARBAGE * 5, esp, dropped="5 unparseable", delivered=[esp.inner])
    yield s


def too_much() -> Iterator[Script]:
    """Eight messages of nonsense in a row are too many."""
    header = bytes(range(1, 17)) + bytes.fromhex("00202508") + bytes(4)
    spi_i, spi_r = Session("a").spis
    honest = clear_message(spi_i, spi_r, 8, (), 37, 7).octets[6:]
    lying = honest[:24] + (29).to_bytes(4, "big")
    for comment, more, piece, drop in (
        ("messages of two octets", "9329-3-short", GARBAGE, "unparseable"),
        (
            "IKE messages shorter than a header",
            "9329-3-short",
            raw(framed(bytes(4) + bytes(27)), "an IKE message of 27 octets"),
            "unparseable",
        ),
        (
            "IKE messages for nobody",
            "9329-6.1-corrupt",
            ike_piece(header + b"\0\0\0\x1c", (), None),
            "unknown-ike-sa",
        ),
        (
            "IKE headers whose Length is one too large",
            "9329-3.1-agree",
            raw(framed(bytes(4) + lying), "an IKE header of the session, Length 29"),
            "malformed",
        ),
    ):
        reqs = " ".join(dict.fromkeys(f"9329-6.1-corrupt {more}".split()))
        s = up(
            f"eight {comment}",
            "Garbage",
            f"{reqs} 9329-10-state",
            spec="RFC 9329 §3, §3.1, §6.1",
            result="acceptable",
            error="Corrupt",
            reaction="close-connection",
        )
        s.receive(1, piece * 7, dropped=f"7 {drop}")
        s.receive(1, piece, dropped=f"1 {drop}", closed=[1])
        s.ping(None)
        s.up(2)
        s.ping(2)
        yield s
    yield from _unknown()
    yield from _marker()
    yield from _integrity()


def _unknown() -> Iterator[Script]:
    req = "9329-6.1-few-unknown 9329-6.1-corrupt"
    s = up("sixteen unknown SPIs in a row, twice", "UnknownSpi", req)
    for _ in range(2):
        s.receive(1, unknown_esp() * 16, dropped="16 unknown-spi")
        s.hear(1)
    s.ping(1)
    yield s
    s = up(
        "the seventeenth unknown SPI in a row",
        "UnknownSpi",
        req,
        result="acceptable",
        error="UnknownSpi",
        reaction="close-connection",
    )
    s.receive(1, unknown_esp() * 16, dropped="16 unknown-spi")
    s.receive(1, unknown_esp(), dropped="1 unknown-spi", closed=[1])
    s.up(2)
    s.ping(2)
    yield s
    s = up(
        "a limit of two unknown SPIs, and keepalives between",
        "Keepalive UnknownSpi",
        f"{req} 9329-6.6-drop",
        policy={"unknownSpiLimit": 2},
        result="acceptable",
        error="UnknownSpi",
        reaction="close-connection",
    )
    s.receive(1, unknown_esp(), KEEPALIVE, unknown_esp(), dropped="2 unknown-spi")
    s.receive(1, KEEPALIVE, unknown_esp(), dropped="1 unknown-spi", closed=[1])
    yield s
    s = up(
        "a replay between unknown SPIs starts no new count",
        "UnknownSpi NoMove",
        f"{req} 9329-6.1-valid-esp",
        policy={"unknownSpiLimit": 2},
        result="acceptable",
        error="UnknownSpi",
        reaction="close-connection",
    )
    (a,) = s.sessions
    s.receive(1, unknown_esp() * 2, dropped="2 unknown-spi")
    s.receive(1, a.child.esp(b"", 70), dropped="1 replay")
    s.receive(1, unknown_esp(), dropped="1 unknown-spi", closed=[1])
    yield s


def _marker() -> Iterator[Script]:
    """Only what stands behind four zero octets is IKE."""
    s = up(
        "a request without the four zero octets is ESP for nobody",
        "UnknownSpi",
        "9329-3.1-marker 9329-3-type 9329-6.1-few-unknown",
        spec="RFC 9329 §3, §3.1, §6.1",
        error="UnknownSpi",
        reaction="drop",
    )
    (a,) = s.sessions
    message = a.request(id=7).octets[6:]
    bare = raw(framed(message), "an IKE message without the four zero octets")
    s.receive(1, bare, dropped="1 unknown-spi")
    s.receive(1, a.request(), sent=[(1, a.answer())])
    yield s


def _integrity() -> Iterator[Script]:
    req = "9329-6.1-corrupt 9329-6.1-keep-state"
    for kind in ("ESP packet", "request", "response"):
        s = up(
            f"a tampered {kind} on the session's own connection",
            "Forged",
            req,
            error="Integrity",
            reaction="close-connection",
        )
        (a,) = s.sessions
        if kind == "response":
            ask = a.asks()
            s.wish("liveness", sent=[(1, ask)])
            good = a.response()
        else:
            good = a.request() if kind == "request" else a.child.esp()
        s.receive(1, good.tampered(), dropped="1 integrity", closed=[1])
        s.ping(None)
        s.knock(2)
        if kind == "response":
            s.receive(2, good, on=2)
        elif kind == "request":
            s.receive(2, good, sent=[(2, a.answer())], on=2)
        else:
            s.receive(2, good, delivered=[good.inner], on=2)
        s.ping(2)
        yield s


def half_open() -> Iterator[Script]:
    """Connections on which nobody shows a valid message."""
    close = {
        "result": "acceptable",
        "error": "Deadline",
        "reaction": "close-connection",
    }
    req = "9329-6.1-idle"
    s = alone("nothing comes", "HalfOpen", req, **close)
    s.open(1)
    s.wait(9)
    s.wait(1, closed=[1])
    yield s
    s = alone(
        "the prefix and keepalives, and nothing else",
        "HalfOpen Keepalive",
        f"{req} 9329-6.6-drop 9329-3-empty",
        **close,
    )
    s.knock(1)
    s.wait(5)
    s.receive(1, KEEPALIVE * 3)
    s.wait(4)
    s.receive(1, EMPTY)
    s.wait(1, closed=[1])
    yield s
    s = up(
        "a replay is no first valid message",
        "HalfOpen NoMove",
        f"{req} 9329-6.1-valid-esp",
        **close,
    )
    (a,) = s.sessions
    s.knock(2)
    s.wait(5)
    s.receive(2, a.child.esp(b"", 71), dropped="1 replay")
    s.wait(5, closed=[2])
    s.ping(1)
    yield s


def caps() -> Iterator[Script]:
    """How many may wait, and who does not any more."""
    req = "9329-6.1-idle"
    s = alone("a valid message in the last second", "HalfOpen", req)
    s.knock(1)
    s.wait(9)
    s.hear(1)
    s.wait(3600)
    s.ping(1)
    yield s
    full = {"result": "acceptable", "error": "TooMany", "reaction": "close-connection"}
    s = alone(
        "three from one address, where two may wait",
        "HalfOpen",
        req,
        policy={"halfOpenAddressLimit": 2},
        **full,
    )
    s.knock(1)
    s.open(2)
    s.open(3, closed=[3], dropped="1 half-open")
    s.open(4, address="198.51.100.9")
    s.hear(1)
    s.open(5)
    s.lost(2)
    s.open(6)
    s.open(7, closed=[7], dropped="1 half-open")
    yield s
    s = alone(
        "three from anywhere, where two may wait in all",
        "HalfOpen",
        req,
        policy={"halfOpenLimit": 2},
        **full,
    )
    s.open(1)
    s.open(2, address="198.51.100.9")
    s.open(3, address="198.51.100.10", closed=[3], dropped="1 half-open")
    s.wait(10, closed=[1, 2])
    s.open(4, address="198.51.100.10")
    yield s
