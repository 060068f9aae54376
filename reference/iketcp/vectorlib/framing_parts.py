"""The building blocks of framing tests: parts of a stream and what each must yield.

Nothing here uses :mod:`iketcp.stream`; the expected results come from how a stream
was put together, not from reading it back. The IKE messages and ESP packets have
well-formed headers and filler behind them: the framing looks no further.

Source: RFC 9329 §3, RFC 9329 §4
"""

import hashlib
from dataclasses import dataclass, field
from typing import TypedDict

from iketcp.vectorlib.envelope import VectorGroup, VectorTest

PREFIX = b"IKETCP"
MARKER = bytes(4)
KEEPALIVE = b"\xff"


class Delivered(TypedDict):
    """A message that is handed on."""

    kind: str
    octets: str


class FramingTest(VectorTest):
    """One stream and what it holds."""

    stream: str
    messages: list[Delivered]
    ignored: list[str]
    unparseable: list[str]
    pendingOctets: int


class FramingGroup(VectorGroup):
    """Tests of one direction."""

    originator: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Some octets of a stream that are whole messages, and what they yield."""

    octets: bytes
    messages: tuple[tuple[str, bytes], ...] = ()
    ignored: tuple[bytes, ...] = ()
    unparseable: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A test before it has a number and a direction."""

    comment: str
    flags: str
    """Names of notes, separated by spaces."""
    requirement: str
    """Ids of the ledger, separated by spaces."""
    parts: tuple[Part, ...] = ()
    rest: bytes = b""
    """Octets after the parts."""
    pending: int | None = None
    """Octets that wait for more at the end; ``None``: all of ``rest``, or none with
    an error."""
    error: str | None = None
    result: str = field(default="")
    """Empty: ``invalid`` with an error, ``valid`` without."""
    is_raw: bool = False
    """The stream is given with its prefix, or without on purpose."""


def filler(label: str, size: int) -> bytes:
    """Make octets that look random and are always the same."""
    return hashlib.shake_256(f"iketcp framing vectors {label}".encode()).digest(size)


def framed(message: bytes) -> bytes:
    """Put Length before a message."""
    return (len(message) + 2).to_bytes(2, "big") + message


def esp_packet(size: int = 40, spi: int = 0xC0FFEE01, sequence: int = 1) -> bytes:
    """Make an ESP packet of ``size`` octets: SPI, sequence number, filler."""
    header = spi.to_bytes(4, "big") + sequence.to_bytes(4, "big")
    return (header + filler(f"esp {spi} {sequence}", max(0, size - 8)))[:size]


def ike_message(
    size: int = 60, exchange_type: int = 37, message_id: int = 2, next_payload: int = 46
) -> bytes:
    """Make an IKE message of ``size`` octets: header and filler."""
    header = (
        filler("spi i", 8)
        + filler("spi r", 8)
        + bytes([next_payload, 0x20, exchange_type, 0x08])
        + message_id.to_bytes(4, "big")
        + size.to_bytes(4, "big")
    )
    return (header + filler(f"ike {message_id}", max(0, size - 28)))[:size]


def ike(message: bytes) -> Part:
    """Put an IKE message behind Length and marker."""
    return Part(framed(MARKER + message), messages=(("ike", message),))


def esp(packet: bytes) -> Part:
    """Put an ESP packet behind Length."""
    return Part(framed(packet), messages=(("esp", packet),))


def junk(message: bytes) -> Part:
    """Put a message that is neither behind Length."""
    return Part(framed(message), unparseable=(message,))


def keepalive() -> Part:
    """Make a NAT keepalive."""
    return Part(framed(KEEPALIVE), ignored=(KEEPALIVE,))


def empty() -> Part:
    """Make an empty message."""
    return Part(framed(b""), ignored=(b"",))


def some_ike() -> Part:
    """Make a small IKE message."""
    return ike(ike_message())


def some_esp(sequence: int = 1) -> Part:
    """Make a small ESP packet."""
    return esp(esp_packet(sequence=sequence))


def as_test(case: Case, number: int, is_originator: bool) -> FramingTest:
    """Give a case its number and write out its stream."""
    body = b"".join(part.octets for part in case.parts) + case.rest
    begin = PREFIX if is_originator and not case.is_raw else b""
    pending = case.pending
    if pending is None:
        pending = 0 if case.error else len(case.rest)
    result = case.result or ("invalid" if case.error else "valid")
    requirement = case.requirement.split()
    return {
        "tcId": number,
        "comment": case.comment,
        "flags": case.flags.split(),
        "spec": sorted({section_of(name) for name in requirement}),
        "requirement": requirement,
        "stream": (begin + body).hex(),
        "messages": [
            {"kind": kind, "octets": octets.hex()}
            for part in case.parts
            for kind, octets in part.messages
        ],
        "ignored": [octets.hex() for part in case.parts for octets in part.ignored],
        "unparseable": [
            octets.hex() for part in case.parts for octets in part.unparseable
        ],
        "pendingOctets": pending,
        "result": result,
        "error": case.error,
        "reaction": "close-connection" if case.error else None,
    }


def section_of(requirement: str) -> str:
    """Name the section a ledger id is named after, such as ``RFC 9329 §3.1``."""
    rfc, section, _ = requirement.split("-", 2)
    name = f"App. {section}" if section.isalpha() else f"§{section}"
    return f"RFC {rfc} {name}"
