"""The octet stream: six octets of prefix, then messages behind 16-bit Lengths.

TCP delivers octets, IKE and ESP want messages. So each message stands behind a
Length that counts itself and the message, and the message's first four octets say
what it is: all zero (the non-ESP marker) for IKE, anything else for ESP, where they
are the SPI. The stream of the TCP Originator begins with ``IKETCP``; that of the TCP
Responder begins with a message at once.

======================  ======  ======================================================
field                   octets  meaning
======================  ======  ======================================================
stream prefix           6       ``49 4b 45 54 43 50``, once, from the TCP Originator
Length                  2       2 + what follows of this message; 0 and 1 are fatal
non-ESP marker          0 or 4  zero, before IKE only, counted in Length
IKE message, ESP packet         from the IKE header or the SPI on
======================  ======  ======================================================

What a message says, whether its SPI is known and whether it is authentic is decided
elsewhere. How TCP cut the stream into segments never changes what comes out
[9329-3-segmentation].

Source: RFC 9329 §3, RFC 9329 §4, RFC 9329 §6.6
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from struct import Struct
from struct import error as StructError
from typing import overload

from iketcp.errors import (
    LengthTooSmallError,
    MessageTooLongError,
    StreamError,
    StreamPrefixError,
)

STREAM_PREFIX = b"IKETCP"
"""First octets of a TCP Originator's stream [9329-4-prefix]. Source: RFC 9329 §4."""

NON_ESP_MARKER = bytes(4)
"""Stands before an IKE header, where ESP has its SPI. Source: RFC 9329 §3.1."""

NAT_KEEPALIVE = b"\xff"
"""The whole of a NAT keepalive; received, never sent. Source: RFC 9329 §6.6."""

MAX_MESSAGE = 65533
"""Octets of the longest message, marker included. Source: RFC 9329 §3."""

MIN_IKE_MESSAGE = 28
"""Octets of an IKE header, so of the shortest IKE message. Source: RFC 7296 §3.1."""

_LENGTH = Struct("!H")
LENGTH_SIZE = _LENGTH.size
"""Octets of Length, 16 bits. Source: RFC 9329 §3."""

_MARKER_SIZE = len(NON_ESP_MARKER)
_SPI_END = LENGTH_SIZE + _MARKER_SIZE
_MIN_IKE_FRAME = _MARKER_SIZE + MIN_IKE_MESSAGE


class MessageKind(Enum):
    """What the framing alone can tell about a message.

    Source: RFC 9329 §3
    """

    IKE = "ike"
    """An IKE message; its octets are given without the marker."""
    ESP = "esp"
    """An ESP packet."""
    KEEPALIVE = "keepalive"
    """A NAT keepalive: dropped, and no sign of anything being wrong."""
    EMPTY = "empty"
    """A message of no octets: ignored."""
    UNPARSEABLE = "unparseable"
    """Neither: dropped, and counted as a sign of corruption."""


StreamMessage = tuple[MessageKind, bytes]
"""A kind and the message's octets. A plain tuple, for speed: 180 fit one read."""


class EspFrames(Sequence[bytes]):
    """ESP packets of one size and with one SPI that follow each other in a stream.

    They stay where they are; whoever wants them one by one gets each as ``bytes``,
    without Length.

    Parameters
    ----------
    octets : bytes
        A piece of the stream.
    begin : int
        Where in it the first Length is.
    length : int
        What each Length says: 2 + octets of the packet.
    count : int
        How many there are.

    Source: RFC 9329 §3.2
    """

    __slots__ = ("_count", "begin", "length", "octets")

    def __init__(self, octets: bytes, begin: int, length: int, count: int) -> None:
        self.octets = octets
        self.begin = begin
        self.length = length
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._count))]
        begin = self.begin + range(self._count)[at] * self.length
        return self.octets[begin + LENGTH_SIZE : begin + self.length]

    def framed(self) -> bytes:
        """Return all of them as they stand in the stream."""
        end = self.begin + self._count * self.length
        return self.octets[self.begin : end]


StreamRun = tuple[MessageKind, Sequence[bytes]]
"""A kind and messages of it in a row; more than one only of ESP, as EspFrames."""


def frame_ike(message: bytes) -> bytes:
    """Put Length and non-ESP marker before an IKE message.

    Parameters
    ----------
    message : bytes
        From the IKE header on, at most 65,529 octets.

    Raises
    ------
    MessageTooLongError
        Marker and message together exceed 65,533 octets.

    Source: RFC 9329 §3.1
    """
    # The marker is part of what Length counts [9329-3.1-marker].
    return frame_esp(NON_ESP_MARKER + message)


def frame_esp(packet: bytes) -> bytes:
    """Put Length before an ESP packet of at most 65,533 octets.

    Raises
    ------
    MessageTooLongError
        The packet exceeds 65,533 octets.

    Source: RFC 9329 §3.2
    """
    return frame_esp_batch((packet,))


def frame_esp_runs(runs: Iterable[Sequence[bytes]]) -> bytes:
    """Do as :func:`frame_esp_batch`; what is framed already stays as it is."""
    return b"".join(
        run.framed() if isinstance(run, EspFrames) else frame_esp_batch(run)
        for run in runs
    )


def frame_esp_batch(packets: Iterable[bytes]) -> bytes:
    """Put a Length before each ESP packet and join them all.

    Raises
    ------
    MessageTooLongError
        One of the packets exceeds 65,533 octets; then none is framed.

    Source: RFC 9329 §3.2
    """
    pack = _LENGTH.pack
    pieces: list[bytes] = []
    append = pieces.append
    for packet in packets:
        # Length counts itself and the message [9329-3-length].
        try:
            append(pack(len(packet) + LENGTH_SIZE))
        except StructError:
            # Refused before anything can have been written [9329-3-max].
            raise MessageTooLongError(
                f"message of {len(packet)} octets exceeds {MAX_MESSAGE}"
            ) from None
        append(packet)
    return b"".join(pieces)


def frames_of(octets: bytes) -> Iterator[bytes]:
    """Yield the messages of whole frames of ours, without their Lengths.

    Parameters
    ----------
    octets : bytes
        What :func:`frame_ike` and the others wrote.

    Source: RFC 9329 §3
    """
    at = 0
    while at < len(octets):
        (length,) = _LENGTH.unpack_from(octets, at)
        yield octets[at + LENGTH_SIZE : at + length]
        at += length


def sort_message(message: bytes) -> StreamMessage:
    """Tell what a message is from its size and first octets [9329-3-type].

    Returns
    -------
    (MessageKind, bytes)
        An IKE message comes without the non-ESP marker, all else as it is.

    Source: RFC 9329 §3, RFC 9329 §6.6
    """
    if not message:
        return MessageKind.EMPTY, message  # [9329-3-empty]
    if message == NAT_KEEPALIVE:
        return MessageKind.KEEPALIVE, message  # [9329-6.6-drop]
    if len(message) < _MARKER_SIZE:
        # Choice: too short for a marker or an SPI, so neither [9329-3-short].
        return MessageKind.UNPARSEABLE, message
    if not message.startswith(NON_ESP_MARKER):
        return MessageKind.ESP, message
    if len(message) < _MIN_IKE_FRAME:
        # Choice: a marker with less than an IKE header behind it [9329-3-short].
        return MessageKind.UNPARSEABLE, message
    return MessageKind.IKE, message[_MARKER_SIZE:]


class StreamDecoder:
    """Finds the messages in what one TCP connection delivers.

    A decoder belongs to one connection and is never reused: what a broken connection
    leaves of a message is completed by no other. It holds at most one incomplete
    message, so less than 65,535 octets.

    Parameters
    ----------
    expects_prefix : bool
        True for a stream from the TCP Originator, which begins with the stream
        prefix; False for one from the TCP Responder, which never contains it.

    Attributes
    ----------
    failure : StreamError or None
        Why the stream cannot be followed any further. Once set it stays, every
        further octet is ignored, and the connection has to be closed.

    Source: RFC 9329 §3, RFC 9329 §4, RFC 9329 §6.1
    """

    __slots__ = ("_held", "_is_discarded", "_prefix_missing", "failure")

    def __init__(self, expects_prefix: bool) -> None:
        self.failure: StreamError | None = None
        self._prefix_missing = STREAM_PREFIX if expects_prefix else b""
        self._held = bytearray()  # Length and message so far, when incomplete
        self._is_discarded = False

    @property
    def has_prefix(self) -> bool:
        """Whether the stream prefix has come whole, or none is expected.

        Source: RFC 9329 §6.1
        """
        return not self._prefix_missing

    @property
    def pending(self) -> int:
        """Octets held of an incomplete message, its Length included.

        Source: RFC 9329 §6.1
        """
        return len(self._held) if self.failure is None else 0

    def feed(self, octets: bytes) -> list[StreamMessage]:
        """Take octets as TCP delivered them and return the messages they complete.

        Parameters
        ----------
        octets : bytes
            The next octets of the stream, any number.

        Returns
        -------
        list of (MessageKind, bytes)
            In stream order. IKE messages come without the non-ESP marker, all others
            as they stand behind Length. Messages before a failure are returned; look
            at ``failure`` after each call.

        Source: RFC 9329 §3, RFC 9329 §6.1
        """
        runs = self.feed_runs(octets)
        return [(kind, message) for kind, run in runs for message in run]

    def feed_runs(self, octets: bytes) -> list[StreamRun]:
        """Do as :meth:`feed`; ESP packets of one size and SPI stay together.

        Source: RFC 9329 §3, RFC 9329 §6.1
        """
        runs: list[StreamRun] = []
        if self.failure is not None or self._is_discarded:
            return runs
        if self._prefix_missing:
            octets = self._pass_prefix(octets)
        at = 0
        held = self._held
        if len(held) == 1:  # cut inside Length: begin that message again
            octets = bytes(held) + octets
            held.clear()
        elif held:
            (length,) = _LENGTH.unpack_from(held)
            at = length - len(held)
            held += octets[:at]
            if len(held) < length:
                return runs
            self._walk(bytes(held), 0, runs)
            held.clear()
        self._walk(octets, at, runs)
        return runs

    def discard(self) -> int:
        """Forget the incomplete message, because the connection broke.

        Returns
        -------
        int
            Octets thrown away. The decoder takes no more octets after this, so that
            nothing can complete that message [9329-6.1-partial].

        Source: RFC 9329 §6.1
        """
        size = self.pending
        self._held.clear()
        self._is_discarded = True
        return size

    def give_back(self) -> bytes:
        """Return the octets behind the last message, and take no more.

        For whoever doubts that a message begins there. After a failure these are what
        came with the octets that failed, from the Length at fault on.

        Source: RFC 9329 §10
        """
        octets = bytes(self._held)
        self.discard()
        return octets

    def _pass_prefix(self, octets: bytes) -> bytes:
        """Match octets against the missing prefix; return what follows it.

        Nothing does before the prefix is whole, so nothing is parsed until then
        [9329-6.1-wait].
        """
        missing = self._prefix_missing
        size = min(len(missing), len(octets))
        if octets[:size] == missing[:size]:
            self._prefix_missing = missing[size:]
            return octets[size:]
        # Choice: fail at the first wrong octet instead of waiting for all six; no
        # further octet could make this stream acceptable [9329-6.1-noprefix].
        wrong = next(at for at in range(size) if octets[at] != missing[at])
        begin = STREAM_PREFIX[: -len(missing)] + octets[: wrong + 1]
        self.failure = StreamPrefixError(
            f"stream begins with {begin.hex()}, not {STREAM_PREFIX.hex()}"
        )
        return b""

    def _walk(self, octets: bytes, at: int, runs: list[StreamRun]) -> None:
        """Append every whole message from ``octets[at:]`` and hold what is left.

        Most messages are ESP packets; they take the first branch.
        """
        unpack_length = _LENGTH.unpack_from
        append = runs.append
        end = len(octets)
        while end - at >= LENGTH_SIZE:
            (length,) = unpack_length(octets, at)
            after = at + length
            if after > end:
                break
            head = octets[at : at + _SPI_END]  # Length and SPI
            if length >= _SPI_END and not head.endswith(NON_ESP_MARKER):
                count = 1
                if octets.startswith(head, after):
                    count = _count_alike(octets, at, length)
                    after = at + count * length
                append((MessageKind.ESP, EspFrames(octets, at, length, count)))
            elif length < LENGTH_SIZE:
                # It cannot cover itself, so no boundary after it can be trusted
                # [9329-3.1-length] [9329-3.2-length].
                self.failure = LengthTooSmallError(f"Length is {length}")
                break
            else:
                kind, message = sort_message(octets[at + LENGTH_SIZE : after])
                append((kind, (message,)))
            at = after
        self._held += octets[at:]


def _count_alike(octets: bytes, at: int, length: int) -> int:
    """Count the whole messages in a row from there on with one Length and one SPI.

    Of messages of one Length every octet of their heads lies as far from that of the
    next, so six slices with that step show all heads.
    """
    count = (len(octets) - at) // length
    for begin in range(at, at + _SPI_END):
        column = octets[begin : at + count * length : length]
        count -= len(column.lstrip(column[:1]))
    return count
