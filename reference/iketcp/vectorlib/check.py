"""Runs framing tests against our decoder, cut in every way that could matter.

A stream is fed whole, octet by octet, and in two pieces split at every boundary; of
streams over 4,096 octets only the boundaries near the start, near the end and every
997th. Where a test's messages are all there is, they are also framed again and must
give the stream.

Messages that a test gives for the other direction are framed, and their heads compared.

Source: RFC 9329 §3, RFC 9329 §4
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iketcp.errors import MessageTooLongError
from iketcp.stream import (
    STREAM_PREFIX,
    MessageKind,
    StreamDecoder,
    frame_esp,
    frame_esp_batch,
    frame_ike,
)
from iketcp.vectorlib.walk import compare, each, error_name

_LONG_STREAM = 4096
_EDGE = 64
_STRIDE = 997
_LATE = bytes(0xFFFF)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a decoder made of a stream, or should have made."""

    messages: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    unparseable: tuple[str, ...]
    pending_octets: int
    error: str | None


def expected(test: dict[str, Any]) -> Observation:
    """Return what a framing test asks for."""
    return Observation(
        tuple((message["kind"], message["octets"]) for message in test["messages"]),
        tuple(test["ignored"]),
        tuple(test["unparseable"]),
        test["pendingOctets"],
        test["error"],
    )


def observe(pieces: Iterable[bytes], is_originator: bool) -> Observation:
    """Feed pieces of a stream to a new decoder.

    Parameters
    ----------
    pieces : Iterable[bytes]
        The stream, cut somehow.
    is_originator : bool
        Whether the TCP Originator sent it.

    Source: RFC 9329 §3, RFC 9329 §4
    """
    decoder = StreamDecoder(expects_prefix=is_originator)
    found: list[tuple[MessageKind, bytes]] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        found += decoder.feed(piece)
    handed_on = (MessageKind.IKE, MessageKind.ESP)
    ignored = (MessageKind.KEEPALIVE, MessageKind.EMPTY)
    waiting = decoder.discard()
    if decoder.failure is None and not decoder.has_prefix:
        waiting = size
    # whatever comes later completes nothing that was thrown away [9329-6.1-partial]
    found += decoder.feed(_LATE)
    waiting += decoder.pending
    failure = decoder.failure
    return Observation(
        tuple(
            (kind.value, octets.hex()) for kind, octets in found if kind in handed_on
        ),
        tuple(octets.hex() for kind, octets in found if kind in ignored),
        tuple(
            octets.hex() for kind, octets in found if kind is MessageKind.UNPARSEABLE
        ),
        waiting,
        None if failure is None else type(failure).__name__.removesuffix("Error"),
    )


def cuttings(stream: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Every way a stream is cut, each with a name for messages."""
    size = len(stream)
    yield "whole", [stream]
    yield "octet by octet", [stream[at : at + 1] for at in range(size)]
    for at in range(1, size):
        is_near_edge = at < _EDGE or at > size - _EDGE
        if size <= _LONG_STREAM or is_near_edge or at % _STRIDE == 0:
            yield f"split after {at} octets", [stream[:at], stream[at:]]


def problems(document: dict[str, Any]) -> Iterator[str]:
    """Run every test of a framing file and say what differs; nothing if all agree."""
    for group, test in each(document, "StreamFraming"):
        want = expected(test)
        stream = bytes.fromhex(test["stream"])
        for name, pieces in cuttings(stream):
            got = observe(pieces, group["originator"])
            if got != want:
                yield f"tcId {test['tcId']}, {name}: {got} instead of {want}"
        again = framed_again(test, group["originator"])
        if again is not None and again != stream:
            yield f"tcId {test['tcId']}: framed again as {again.hex()}"
    for _, test in each(document, "MessageFraming"):
        heads, error = heads_of(test["messages"])
        yield from compare(test, "heads", heads)
        yield from compare(test, "error", error)


def heads_of(messages: Sequence[dict[str, Any]]) -> tuple[list[str], str | None]:
    """Frame messages; return what stands before each in the stream, or the error.

    ESP packets are framed together, as a tunnel device gives them.

    Source: RFC 9329 §3.1, RFC 9329 §3.2
    """
    whole = [bytes.fromhex(one["begin"]).ljust(one["size"], b"\0") for one in messages]
    try:
        if all(one["kind"] == "esp" for one in messages):
            stream = frame_esp_batch(whole)
        else:
            frames = {"ike": frame_ike, "esp": frame_esp}
            kinds = (one["kind"] for one in messages)
            stream = b"".join(
                frames[kind](message)
                for kind, message in zip(kinds, whole, strict=True)
            )
    except MessageTooLongError as error:
        return [], error_name(error)
    heads = []
    for message in whole:
        at = stream.index(message)
        heads.append(stream[:at].hex())
        stream = stream[at + len(message) :]
    return heads, None


def framed_again(test: dict[str, Any], is_originator: bool) -> bytes | None:
    """Frame a test's messages, or ``None`` where they are not the whole stream."""
    others = test["ignored"], test["unparseable"], test["pendingOctets"], test["error"]
    if any(others) or not test["stream"]:
        return None
    pieces = [STREAM_PREFIX if is_originator else b""]
    for message in test["messages"]:
        frame = frame_ike if message["kind"] == "ike" else frame_esp
        pieces.append(frame(bytes.fromhex(message["octets"])))
    return b"".join(pieces)
