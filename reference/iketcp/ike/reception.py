"""What an IKE SA takes in: authentic messages, once each, whole or in fragments.

A message is verified, decrypted and looked up in the Message ID window. Fragments go
the same way one by one, and what they make up goes on as if it had come whole.

What moves a session to another connection is the message, not a fragment of it. RFC
9329 §6.1 asks for one that is no retransmission. A message is known by its Message ID,
of which the window lets each pass once. A fragment is known only while the others are
waited for: when a set is given up or replaced nothing remembers what was in it, so an
old fragment, recorded and sent again by somebody else, looks new. It may wait for its
message; it proves nothing about the connection it came on.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.3
Source: RFC 7383 §2.6
Source: RFC 9242 §3.3
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from iketcp.errors import (
    FragmentError,
    FragmentLimitError,
    MalformedMessageError,
    MessageIdError,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike.fragments import NUMBERS_SIZE, Reassembly, Whole, check_numbers
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.intermediate import authenticated_form, head_as_whole
from iketcp.ike.message import Message, decode_chain
from iketcp.ike.message_window import RequestKind
from iketcp.ike.outputs import SendMessage
from iketcp.ike.payloads import SkfPayload
from iketcp.ike.protection import IkeProtection, encrypted_payload
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.octets import Reader
from iketcp.registry import ExchangeType, PayloadType


def take_in(sa: IkeSa, message: Message, octets: bytes, now: float) -> Received | None:
    """Verify and decrypt a message, and see whether it is new.

    Parameters
    ----------
    message : Message
        The decoded outer message.
    octets : bytes
        The same message as it came, without non-ESP marker.

    Returns
    -------
    Received or None
        A message to be handled, or nothing: a retransmitted request, which has been
        answered again, or a fragment, whose message is not complete.

    Raises
    ------
    DropError
        It proves nothing and changed nothing.
    FragmentLimitError
        There were too many fragments; the IKE SA has ended.

    Source: RFC 7296 §2.1, RFC 7383 §2.6
    """
    header = message.header
    last = message.payloads[-1] if message.payloads else None
    if isinstance(last, SkfPayload):
        return _take_fragment(sa, header, last, octets, now)
    received = _open(sa, message, octets)
    if _is_repetition(sa, header):
        _answer_again(sa, header)
        return None
    _fragments_of(sa, header).clear()  # it came whole after all
    return received


def _open(sa: IkeSa, message: Message, octets: bytes) -> Received:
    """Verify and decrypt a message; what is authentic but unreadable keeps its flaw.

    Before there are keys, only the response to our IKE_SA_INIT may come, in the clear.

    Raises
    ------
    IntegrityError
        It is not authentic.
    MessageIdError
        A request before there are keys.

    Source: RFC 7296 §1.2, RFC 7296 §3.14
    """
    header, protection = message.header, protection_for(sa, message.header)
    if protection is None:
        if not header.is_response:
            raise MessageIdError("a request before any key")
        return Received(header, message.payloads, octets)
    outer = encrypted_payload(message)
    head = octets[: len(octets) - len(outer.body)]
    try:
        content = protection.open_content(outer, octets)
        return _read(header, head, outer.first_inner_type, content, octets)
    except (MalformedMessageError, UnsupportedCriticalPayloadError) as flaw:
        return Received(header, (), octets, flaw)


def protection_for(sa: IkeSa, header: Header) -> IkeProtection | None:
    """Return what a message comes under: the keys of before, if it was answered then.

    Source: RFC 9242 §3.3.1
    """
    under_way = sa.intermediate
    former = None if under_way is None else under_way.former_protection
    if former is None or header.is_response:
        return sa.protection
    kind = sa.answered.kind(header.message_id)
    return former if kind is RequestKind.RETRANSMISSION else sa.protection


def _read(
    header: Header, head: bytes, first_type: int, content: bytes, octets: bytes
) -> Received:
    """Decode what was inside a message.

    Parameters
    ----------
    head : bytes
        What stood before it, up to the generic header of the Encrypted payload.

    Raises
    ------
    MalformedMessageError
        It has a syntax error.
    UnsupportedCriticalPayloadError
        It holds a critical payload that we do not know.

    Source: RFC 7296 §3.14, RFC 9242 §3.3.2
    """
    payloads = decode_chain(first_type, Reader(content))
    if header.exchange_type != ExchangeType.IKE_INTERMEDIATE:
        return Received(header, payloads, octets)
    form = authenticated_form(head, content)
    return Received(header, payloads, octets, authenticated_form=form)


# --- the window -----------------------------------------------------------------------


def _is_repetition(sa: IkeSa, header: Header) -> bool:
    """Tell a retransmitted request, which moves nothing [9329-6.1-valid-ike].

    Raises
    ------
    MessageIdError
        It lies outside the window, or answers nothing that we asked.

    Source: RFC 7296 §2.1, RFC 7296 §2.3
    """
    if header.is_response:
        awaiting_exchange(sa, header)
        return False
    kind = sa.answered.kind(header.message_id)
    if kind is RequestKind.OUTSIDE:
        raise MessageIdError(
            f"request {header.message_id}, {sa.answered.expected} expected"
        )
    return kind is RequestKind.RETRANSMISSION


def _answer_again(sa: IkeSa, header: Header) -> None:
    """Answer a retransmitted request with the same octets; it does nothing else.

    Source: RFC 7296 §2.1
    """
    answer = sa.header(header.exchange_type, header.message_id, is_response=True)
    sa.emit(SendMessage(sa.answered.response, answer, (), is_repetition=True))


def awaiting_exchange(sa: IkeSa, header: Header) -> Exchange:
    """Return the exchange that waits for this response.

    Raises
    ------
    MessageIdError
        No request of ours has this Message ID and exchange type.

    Source: RFC 7296 §2.2
    """
    if (
        sa.sent is None
        or sa.exchange is None
        or not sa.sent.is_answered_by(header.message_id)
        or header.exchange_type != sa.exchange.exchange_type
    ):
        raise MessageIdError(f"response {header.message_id} to no request of ours")
    return sa.exchange


# --- fragments ------------------------------------------------------------------------


def _fragments_of(sa: IkeSa, header: Header) -> Reassembly:
    """Return where the fragments of a request, or of a response, wait."""
    return sa.response_fragments if header.is_response else sa.request_fragments


def _take_fragment(
    sa: IkeSa, header: Header, fragment: SkfPayload, octets: bytes, now: float
) -> Received | None:
    """Keep a fragment, or return the message of which it was the last to come.

    The first fragment of a request that was answered has the answer sent again; the
    others, which come with it, do nothing.

    Raises
    ------
    DropError
        It is not authentic, not wanted, or was never agreed to.
    FragmentLimitError
        There were too many; the IKE SA has ended.

    Source: RFC 7383 §2.4, RFC 7383 §2.6, RFC 7383 §2.6.1
    """
    protection = protection_for(sa, header)
    if protection is None or not sa.is_fragmentation_agreed:
        raise FragmentError("a fragment that was not agreed to")
    check_numbers(fragment)
    is_repetition, waiting = _is_repetition(sa, header), _fragments_of(sa, header)
    waiting.check(header, fragment)
    try:
        content = protection.open_content(fragment, octets)
    except MalformedMessageError as flaw:
        return None if is_repetition else Received(header, (), octets, flaw)
    if is_repetition:
        if fragment.fragment_number == 1:
            _answer_again(sa, header)
        return None
    try:
        deadline = now + sa.policy.request_timeout_seconds
        head = octets[: len(octets) - len(fragment.body) - NUMBERS_SIZE]
        whole = waiting.add(header, fragment, content, deadline, head)
    except FragmentLimitError as error:
        sa.close(str(error))
        raise
    return None if whole is None else _decode(protection, header, whole, octets)


def _decode(
    protection: IkeProtection, header: Header, whole: Whole, octets: bytes
) -> Received:
    """Decode a message as if it had come whole, with the header it would have had.

    Source: RFC 7383 §2.6
    """
    sealed_size = protection.sealed_size(len(whole.content))
    header = header.with_chain(PayloadType.SK, HEADER_SIZE + 4 + sealed_size)
    head = head_as_whole(whole.head)
    try:
        return _read(header, head, whole.first_inner_type, whole.content, octets)
    except (MalformedMessageError, UnsupportedCriticalPayloadError) as flaw:
        return Received(header, (), octets, flaw)
