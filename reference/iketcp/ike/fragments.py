"""IKE fragmentation: one protected message as several small ones.

A message too large for one UDP datagram would be cut by IP, and IP fragments are what
many middleboxes drop. So the content of the Encrypted payload is cut instead, wherever
it happens to be, and each piece travels in an IKE message of its own that is encrypted
and authenticated by itself::

    HDR(MID=n), SK(Next=PLD1) {PLD1 ... PLDN}                    one message

    HDR(MID=n), SKF(Next=PLD1, 1 of m) {...}                     or its fragments
    HDR(MID=n), SKF(Next=0,    2 of m) {...}
    ...
    HDR(MID=n), SKF(Next=0,    m of m) {...}

A TCP stream has no need of this, so nothing is sent so over TCP [9329-7.5-nofrag], but
a peer's fragments are put together wherever they come from [9329-7.5-recvfrag]. Over
several datagrams they may be lost, repeated and out of order.

Source: RFC 7383 §2.5
Source: RFC 7383 §2.6
Source: RFC 9329 §7.5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iketcp.errors import FragmentError, FragmentLimitError, MessageTooLongError
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.message import encode_chain
from iketcp.ike.payloads import Payload, SkfPayload, SkPayload
from iketcp.ike.protection import IkeProtection
from iketcp.registry import PayloadType

DATAGRAM_SIZES = {4: 576, 6: 1280}
"""Octets of the largest IP datagram, by IP version. Source: RFC 7383 §2.5.1."""

_IP_HEADER_SIZES = {4: 20, 6: 40}
_UDP_HEADER_SIZE = 8
_MARKER_SIZE = 4
_GENERIC_SIZE = 4
NUMBERS_SIZE = 4
"""Octets of Fragment Number and Total Fragments. Source: RFC 7383 §2.5."""

MAX_FRAGMENTS = 256
"""Choice: of one message that is being put together. Source: RFC 7383 §5."""

MAX_CONTENT = 0xFFFF
"""Octets of one message's content, decrypted; RFC 7383 §5 advises no more."""


def message_size(ip_version: int, datagram_size: int = 0) -> int:
    """Return how large an IKE message may be without being fragmented by IP.

    Parameters
    ----------
    ip_version : int
        4 or 6.
    datagram_size : int
        Octets of the largest IP datagram that passes; 0: what RFC 7383 recommends.

    Returns
    -------
    int
        Octets of the IKE message behind IP header, UDP header and non-ESP marker.

    Source: RFC 7383 §2.5.1, RFC 7383 App. B
    """
    size = datagram_size or DATAGRAM_SIZES[ip_version]
    return size - _IP_HEADER_SIZES[ip_version] - _UDP_HEADER_SIZE - _MARKER_SIZE


# --- sending --------------------------------------------------------------------------


def seal_in_pieces(
    protection: IkeProtection,
    header: Header,
    payloads: Sequence[Payload],
    leading: Sequence[Payload],
    largest: int,
) -> tuple[bytes, ...]:
    """Make a protected message: whole where it is small enough, else its fragments.

    The header is the same in all of them but for Next Payload and Length. What stands
    in the clear goes with the first, which may have no room left for content.

    Parameters
    ----------
    protection : IkeProtection
        Seals each fragment by itself, with its own initialization vector.
    header : Header
        SPIs, exchange, Message ID and flags.
    payloads : Sequence[Payload]
        What goes inside.
    leading : Sequence[Payload]
        What stands in the clear before it.
    largest : int
        Octets of the largest IKE message.

    Raises
    ------
    MessageTooLongError
        More content than a receiver should be expected to take, or no room for any.

    Source: RFC 7383 §2.5, RFC 7383 §2.5.1, RFC 7383 §2.5.3
    """
    first_inner, content = encode_chain(payloads)
    room = largest - HEADER_SIZE - _GENERIC_SIZE
    first_room = room - (len(encode_chain(leading)[1]) if leading else 0)
    if protection.sealed_size(len(content)) <= first_room:
        outer = SkPayload(first_inner, b"")
        return (protection.seal_content(header, outer, content, leading),)
    pieces = _cut(protection, content, first_room - NUMBERS_SIZE, room - NUMBERS_SIZE)
    messages = []
    for number, piece in enumerate(pieces, 1):
        is_first = number == 1
        next_type = first_inner if is_first else PayloadType.NONE
        fragment = SkfPayload(next_type, number, len(pieces), b"")
        ahead = leading if is_first else ()
        messages.append(protection.seal_content(header, fragment, piece, ahead))
    return tuple(messages)


def _cut(
    protection: IkeProtection, content: bytes, first_room: int, room: int
) -> list[bytes]:
    """Cut content so that each piece, sealed, fits its room; the first may be empty."""
    if len(content) > MAX_CONTENT:
        raise MessageTooLongError(f"{len(content)} octets to fragment")
    size = protection.largest_content(room)
    if size < 1:
        raise MessageTooLongError(f"no fragment fits {room} octets")
    first = max(protection.largest_content(first_room), 0)
    starts = range(first, len(content), size)
    return [content[:first], *(content[start : start + size] for start in starts)]


# --- receiving ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whole:
    """What fragments were made of: the content of the Encrypted payload."""

    first_inner_type: int
    """Type of the first payload inside, 8 bits."""
    content: bytes = field(repr=False)
    """The chain of payloads, not yet decoded."""
    head: bytes = b""
    """What stood before content in the first fragment, if it was given."""


class Reassembly:
    """The fragments of one message, until all are there.

    One message at a time: a fragment with another Message ID begins anew. Whoever uses
    this asks for one Message ID only (:mod:`iketcp.ike.reception`), so a set that is
    still incomplete is given up with its exchange.

    Source: RFC 7383 §2.6
    """

    __slots__ = (
        "_first_inner_type",
        "_head",
        "_header",
        "_pieces",
        "_total",
        "deadline",
    )

    def __init__(self) -> None:
        self._header: Header | None = None
        self._total = 0
        self._first_inner_type = 0
        self._head = b""
        self._pieces: dict[int, bytes] = {}
        self.deadline: float | None = None
        """When what is here is dropped, in seconds; ``None``: there is nothing."""

    def __len__(self) -> int:
        """Tell how many fragments are here."""
        return len(self._pieces)

    def clear(self) -> None:
        """Forget all fragments."""
        self._header, self._total, self.deadline = None, 0, None
        self._pieces, self._head = {}, b""

    def expire(self, now: float) -> None:
        """Forget an incomplete message that had its time. Source: RFC 7383 §2.6."""
        if self.deadline is not None and now >= self.deadline:
            self.clear()

    def check(self, header: Header, fragment: SkfPayload) -> None:
        """Look whether a fragment is wanted, before it costs a decryption.

        Nothing is changed, for it may be forged.

        Raises
        ------
        FragmentError
            It is to be dropped: it is here already, it is of a set that a newer one
            with more fragments has replaced, or of another exchange.

        Source: RFC 7383 §2.6, RFC 7383 §2.6.1
        """
        if self._header is None or self._header.message_id != header.message_id:
            return
        if header.exchange_type != self._header.exchange_type:
            raise FragmentError("a fragment of another exchange")
        if fragment.total_fragments < self._total:
            raise FragmentError("a fragment of a set that was replaced")
        is_same_set = fragment.total_fragments == self._total
        if is_same_set and fragment.fragment_number in self._pieces:
            raise FragmentError("a fragment that is here already")

    def add(
        self,
        header: Header,
        fragment: SkfPayload,
        content: bytes,
        deadline: float,
        head: bytes = b"",
    ) -> Whole | None:
        """Keep an authentic fragment that passed :meth:`check`.

        One of a larger set replaces all that are here: the sender has cut the message
        anew.

        Parameters
        ----------
        content : bytes
            What was in it, decrypted; may be empty.
        deadline : float
            When the set is given up, in seconds, if this is the first of it.
        head : bytes
            What stood before it, up to its generic header; the first fragment's is
            kept. Source: RFC 9242 §3.3.2

        Returns
        -------
        Whole or None
            The message, when all of it is here; then nothing is kept.

        Raises
        ------
        FragmentLimitError
            It is, or would become, more than is kept; nothing is kept.

        Source: RFC 7383 §2.6, RFC 7383 §5
        """
        message = (header.message_id, fragment.total_fragments)
        if self._header is None or message != (self._header.message_id, self._total):
            self.clear()
            self._header, self._total = header, fragment.total_fragments
            self.deadline = deadline
        octets = len(content) + sum(map(len, self._pieces.values()))
        if fragment.total_fragments > MAX_FRAGMENTS or octets > MAX_CONTENT:
            self.clear()
            raise FragmentLimitError(
                f"{fragment.total_fragments} fragments, {octets} octets by now"
            )
        self._pieces[fragment.fragment_number] = content
        if fragment.fragment_number == 1:
            self._first_inner_type, self._head = fragment.first_inner_type, head
        if len(self._pieces) < self._total:
            return None
        in_order = (self._pieces[number] for number in range(1, self._total + 1))
        whole = Whole(self._first_inner_type, b"".join(in_order), self._head)
        self.clear()
        return whole


def check_numbers(fragment: SkfPayload) -> None:
    """Look whether a fragment's two numbers can be.

    Raises
    ------
    FragmentError
        One of them is zero, or the first is above the second.

    Source: RFC 7383 §2.6
    """
    number, total = fragment.fragment_number, fragment.total_fragments
    if not 1 <= number <= total:
        raise FragmentError(f"fragment {number} of {total}")
