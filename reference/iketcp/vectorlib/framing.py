"""The file ``stream_framing_test.json``: what each direction's octets must yield.

Source: RFC 9329 §3, RFC 9329 §4, RFC 9329 §6.1, RFC 9329 §6.6
"""

from collections.abc import Iterator
from typing import cast

from iketcp.vectorlib.assembly import group
from iketcp.vectorlib.envelope import Note, VectorFile, VectorGroup
from iketcp.vectorlib.framing_cases import KINDS, both_ways
from iketcp.vectorlib.framing_parts import (
    MARKER,
    PREFIX,
    Case,
    FramingGroup,
    Part,
    as_test,
    empty,
    esp,
    esp_packet,
    filler,
    framed,
    ike,
    ike_message,
    keepalive,
    some_esp,
    some_ike,
)
from iketcp.vectorlib.framing_writing import KIND, written

NAME = "stream_framing"
SCHEMA = "stream_framing_schema_v1.json"
VERSION = "1"
WAIT = "9329-6.1-wait"
NO_PREFIX = "9329-6.1-noprefix"

HEADER = [
    "What a receiver extracts from one direction of a TCP connection that carries IKE"
    " and ESP.",
    "A group's originator tells who sent its streams: true, the TCP Originator, whose"
    " stream begins with the stream prefix; false, the TCP Responder.",
    "messages are handed on, IKE without the non-ESP marker; ignored (keepalives and"
    " empty messages) are dropped without a trace; unparseable are dropped and count as"
    " a sign of corruption; pendingOctets wait for more at the end, Length or part of"
    " the prefix included.",
    "The result is the same however the stream is cut into segments. Messages before"
    " an error are handed on, and nothing after it.",
    "Headers are well formed, what is behind them is filler: no keys are needed.",
    "MessageFraming is the other direction. A message has size octets, IKE without the"
    " non-ESP marker: those of begin, then zeros. heads holds what stands before each"
    " in the stream, Length and for IKE the marker. With an error nothing is written of"
    " any of them.",
]

NOTES: dict[str, Note] = {
    "Coalesced": {
        "bugType": "BASIC",
        "description": "Many messages, as one read may deliver them.",
        "effect": "A reader that takes one message per read falls behind.",
    },
    "Delivered": {
        "bugType": "EDGE_CASE",
        "description": "Whole messages stand before an error in the same octets.",
        "effect": "Losing them makes the result depend on how TCP cut the stream.",
    },
    "Empty": {
        "bugType": "EDGE_CASE",
        "description": "Length 2: a message of no octets, to be ignored.",
        "effect": "Treating it as an error drops a healthy tunnel.",
    },
    "Incomplete": {
        "bugType": "DESYNC",
        "description": "The stream ends before the message does.",
        "effect": "Handing on less than the whole, or completing it from another"
        " connection, yields a message nobody sent.",
    },
    "Keepalive": {
        "bugType": "EDGE_CASE",
        "description": "A NAT keepalive (Length 3, octet ff), to be dropped.",
        "effect": "Treating it as an error, or as corruption, drops a healthy tunnel.",
    },
    "Longest": {
        "bugType": "RESOURCE",
        "description": "Messages at the limit of the 16-bit Length.",
        "effect": "Buffers that are too small, or Lengths read as signed.",
    },
    "LooksLikeFraming": {
        "bugType": "DESYNC",
        "description": "A message whose contents resemble a prefix, marker or Length.",
        "effect": "A reader that searches instead of counting loses the boundaries.",
    },
    "NearMarker": {
        "bugType": "BASIC",
        "description": "The first word is almost, but not, the non-ESP marker.",
        "effect": "ESP packets are taken for IKE and lost.",
    },
    "Ordinary": {
        "bugType": "BASIC",
        "description": "What every connection carries.",
        "effect": "No tunnel.",
    },
    "PartialPrefix": {
        "bugType": "STATE_MACHINE",
        "description": "The stream ends before the prefix does.",
        "effect": "Parsing early reads the prefix as a Length.",
    },
    "RepeatedPrefix": {
        "bugType": "STATE_MACHINE",
        "description": "A prefix where none belongs: read as Length 494b and what"
        " follows it.",
        "effect": "Skipping it accepts what no peer sends and hides a loss of framing.",
    },
    "ShortIke": {
        "bugType": "EDGE_CASE",
        "description": "A marker with less than the 28 octets of an IKE header behind"
        " it. We drop and count it.",
        "effect": "Reading a header that is not there.",
    },
    "ShortLength": {
        "bugType": "DESYNC",
        "description": "A Length that does not cover its own field.",
        "effect": "A reader that goes on loops for ever or loses the boundaries.",
    },
    "ShortMessage": {
        "bugType": "EDGE_CASE",
        "description": "One to three octets that are no keepalive, with no room for a"
        " marker or an SPI. We drop and count them.",
        "effect": "Reading a marker or an SPI from beyond the message.",
    },
    "Sizes": {
        "bugType": "EDGE_CASE",
        "description": "Sizes where an octet of Length turns, or a header just fits.",
        "effect": "Off by one, octets in the wrong order, Length taken without itself.",
    },
    "SmallSpi": {
        "bugType": "EDGE_CASE",
        "description": "An SPI from 1 to 255: reserved, so never allocated, but still"
        " ESP to the framing.",
        "effect": "Taking it for IKE, or for an error of the stream.",
    },
    "WrongPrefix": {
        "bugType": "STATE_MACHINE",
        "description": "The TCP Originator's stream begins with something else. Nothing"
        " of it is accepted. We close at the first wrong octet; waiting for six is"
        " as good.",
        "effect": "Accepting messages of existing SAs from a stream that is not ours.",
    },
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 9329 §3, RFC 9329 §4
    """
    originators = [*prefixes(), *both_ways(), *longest()]
    responders = [*both_ways(), *prefix_from_responder()]
    groups: list[VectorGroup] = []
    count = 0
    for is_originator, cases in ((True, originators), (False, responders)):
        tests = [
            as_test(case, number, is_originator)
            for number, case in enumerate(cases, count + 1)
        ]
        count += len(tests)
        one: FramingGroup = {
            "type": "StreamFraming",
            "source": {"name": "iketcp/framing", "version": VERSION},
            "originator": is_originator,
            "tests": tests,
        }
        groups.append(one)
    tests_of_writing = [
        {"tcId": number, **test} for number, test in enumerate(written(), count + 1)
    ]
    count += len(tests_of_writing)
    groups.append(cast("VectorGroup", group(KIND, "iketcp/framing", tests_of_writing)))
    return {
        "algorithm": "IKE-TCP-STREAM",
        "schema": SCHEMA,
        "numberOfTests": count,
        "header": HEADER,
        "notes": NOTES,
        "testGroups": groups,
    }


def prefixes() -> Iterator[Case]:
    """Try the stream prefix partial, whole, wrong, missing, repeated."""
    for size in range(6):
        yield Case(
            f"{size} octets of the prefix",
            "PartialPrefix",
            WAIT,
            rest=PREFIX[:size],
            is_raw=True,
        )
    yield Case("the prefix and nothing else", "Ordinary", "9329-4-prefix")
    yield from wrong_octets()
    yield from other_beginnings()
    yield from repeated_prefixes()


def wrong_octets() -> Iterator[Case]:
    """Replace one octet of the prefix."""
    for position, right in enumerate(PREFIX):
        for octet in (right ^ 0x01, right ^ 0x20, right ^ 0x80, 0x00, 0xFF):
            begin = PREFIX[:position] + bytes([octet])
            yield Case(
                f"octet {position + 1} of the prefix is {octet:02x}",
                "WrongPrefix",
                NO_PREFIX,
                rest=begin + PREFIX[position + 1 :] + some_ike().octets,
                error="StreamPrefix",
                is_raw=True,
            )
        yield Case(
            f"octet {position + 1} of the prefix is 00, and the last to come",
            "WrongPrefix",
            f"{NO_PREFIX} {WAIT}",
            rest=PREFIX[:position] + b"\x00",
            error="StreamPrefix",
            result="acceptable" if position < 5 else "",
            is_raw=True,
        )


def other_beginnings() -> Iterator[Case]:
    """Begin with something else altogether."""
    for name, begin in {
        "an IKE message without a prefix": some_ike().octets,
        "an ESP packet without a prefix": some_esp().octets,
        "two keepalives without a prefix": keepalive().octets * 2,
        "three empty messages without a prefix": empty().octets * 3,
        "a non-ESP marker and IKE, as over UDP": MARKER + ike_message(),
        "zeros": bytes(8),
        "a keepalive before the prefix": keepalive().octets + PREFIX,
        "an empty message before the prefix": empty().octets + PREFIX,
        "the prefix behind a Length": framed(PREFIX),
        "the prefix behind a marker": MARKER + PREFIX,
        "the prefix in lower case": PREFIX.lower() + some_esp().octets,
        "the prefix backwards": PREFIX[::-1] + some_esp().octets,
        "the prefix after its first octet twice": PREFIX[:1] + PREFIX,
        "HTTP": b"GET / HTTP/1.1\r\n\r\n",
        "HTTP CONNECT": b"CONNECT gw.example:4500 HTTP/1.1\r\n\r\n",
        "a TLS ClientHello": bytes.fromhex("160301007a01000076"),
        "SSH": b"SSH-2.0-example\r\n",
    }.items():
        yield Case(
            name,
            "WrongPrefix",
            NO_PREFIX,
            rest=begin,
            error="StreamPrefix",
            is_raw=True,
        )


def repeated_prefixes() -> Iterator[Case]:
    """Repeat the prefix: it is a Length and the beginning of a message."""
    once = "9329-4-once 9329-4-prefix"
    yield Case(
        "prefix twice",
        "RepeatedPrefix Incomplete",
        once,
        rest=PREFIX,
        result="acceptable",
    )
    yield Case(
        "prefix twice, then IKE",
        "RepeatedPrefix Incomplete",
        once,
        rest=PREFIX + some_ike().octets,
        result="acceptable",
    )
    yield Case(
        "prefix again after a message",
        "RepeatedPrefix Incomplete",
        once,
        (some_ike(),),
        rest=PREFIX + some_ike().octets,
        result="acceptable",
    )
    swallowed = PREFIX[2:] + filler("second prefix", 0x494B - 6)
    yield Case(
        "prefix twice, and all octets that its Length wants",
        "RepeatedPrefix",
        f"{once} 9329-3-length",
        (Part(framed(swallowed), messages=(("esp", swallowed),)), some_esp()),
    )


def longest() -> Iterator[Case]:
    """Go to the limit; in one direction only, for the file's size."""
    for part, name in (
        (esp(esp_packet(65532)), "Length 65534: ESP packet of 65532 octets"),
        (esp(esp_packet(65533)), "Length 65535: ESP packet of 65533 octets"),
        (ike(ike_message(65529)), "Length 65535: IKE message of 65529 octets"),
    ):
        yield Case(name, "Longest", f"9329-3-max {KINDS}", (part, some_esp()))


def prefix_from_responder() -> Iterator[Case]:
    """Send the prefix the wrong way: a TCP Responder never does."""
    for name, parts in {"first": (), "after IKE": (some_ike(),)}.items():
        yield Case(
            f"the TCP Responder sends a prefix {name}",
            "RepeatedPrefix Incomplete",
            "9329-4-originator",
            parts,
            rest=PREFIX,
            result="acceptable",
        )
