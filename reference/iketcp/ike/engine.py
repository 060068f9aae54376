"""The engine of an IKE SA: which handler a message goes to, and what an error ends.

Everything that reaches an IKE SA passes here: first the Integrity Check Value, then the
Message ID window, then the handler of the exchange. An error that a handler raises says
by its ``scope`` what ends, and by its ``notify`` what the peer hears.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.3
Source: RFC 7296 §2.21
Source: RFC 9329 §6.2
"""

from __future__ import annotations

from iketcp.environment import jitter
from iketcp.errors import (
    AuthenticationFailedError,
    DropError,
    IketcpError,
    InvalidKePayloadError,
    MalformedMessageError,
    MessageIdError,
    Scope,
    TemporaryFailureError,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike.context import IkeContext
from iketcp.ike.exchanges.create_child_sa import (
    CreateChild,
    RekeyChild,
    answer_create_child,
)
from iketcp.ike.exchanges.ike_auth import IkeAuth, answer_ike_auth
from iketcp.ike.exchanges.ike_sa_init import IkeSaInit
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteIkeSa,
    ReportAuthenticationFailure,
    answer_informational,
    ends_ike_sa,
)
from iketcp.ike.exchanges.rekey_ike_sa import (
    RekeyIkeSa,
    answer_rekey_ike_sa,
    is_ike_rekey,
)
from iketcp.ike.header import Header
from iketcp.ike.message import Message
from iketcp.ike.message_window import RequestKind
from iketcp.ike.nat_detection import Path
from iketcp.ike.outputs import MessageAccepted, Note, SendMessage
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.ike.sa import NO_SPI, Exchange, IkeSa, Received
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType, NotifyType

RETRY_SECONDS = 10.0
"""Choice: pause before an exchange that met TEMPORARY_FAILURE is tried again."""

TROUBLE_SECONDS = 180.0
"""Choice: the "several minutes" of RFC 7296 §2.25 after which the IKE SA closes."""


# --- beginning ------------------------------------------------------------------------


def start(context: IkeContext, path: Path, now: float) -> IkeSa:
    """Begin a new IKE SA as its original initiator.

    Returns
    -------
    IkeSa
        With the IKE_SA_INIT request among its outputs.

    Source: RFC 7296 §1.2
    """
    sa = IkeSa(context, True, context.new_ike_spi(), NO_SPI, path, now)
    sa.want(IkeSaInit(context))
    begin_next(sa, now)
    return sa


def begin_next(sa: IkeSa, now: float) -> None:
    """Send the next request that is due; the first one is remembered for AUTH.

    Source: RFC 7296 §2.3, RFC 7296 §2.15
    """
    sa.begin_next(now)
    if isinstance(sa.exchange, IkeSaInit) and sa.sent is not None:
        sa.local_init_message = sa.sent.octets


def repeat_request(sa: IkeSa) -> bool:
    """Send the request under way again, octet for octet, on a new connection.

    Returns
    -------
    bool
        Whether there was one [9329-6.2-reconnect].

    Source: RFC 9329 §6.2
    """
    if sa.sent is None or sa.exchange is None:
        return False
    header = sa.header(sa.exchange.exchange_type, sa.sent.message_id, False)
    sa.emit(SendMessage(sa.sent.octets, header, ()))
    return True


def resume(sa: IkeSa, now: float) -> None:
    """Show the peer that this IKE SA goes on over a new connection.

    The request under way is repeated; without one an empty INFORMATIONAL goes out
    [9329-6.1-resume-msg].

    Source: RFC 9329 §6.1, RFC 9329 §6.2
    """
    if not repeat_request(sa):
        sa.want(CheckLiveness())
        begin_next(sa, now)


# --- messages -------------------------------------------------------------------------


def receive(sa: IkeSa, message: Message, octets: bytes, now: float) -> bool:
    """Take a message that names this IKE SA.

    Parameters
    ----------
    message : Message
        The decoded outer message.
    octets : bytes
        The same message as it came, without non-ESP marker.

    Returns
    -------
    bool
        The message was authentic, no retransmission and inside the window: the only
        kind that counts for choosing a connection [9329-6.1-valid-ike].

    Raises
    ------
    DropError
        It proves nothing and changed nothing.

    Source: RFC 7296 §2.1, RFC 9329 §6.1
    """
    header = message.header
    if sa.protection is None:
        return _receive_clear_response(sa, message, octets, now)
    try:
        payloads = sa.protection.open(message, octets)
    except (MalformedMessageError, UnsupportedCriticalPayloadError) as error:
        return _receive_unreadable(sa, header, error, now)
    received = Received(header, payloads, octets)
    if header.is_response:
        _check_response(sa, header)
        _accepted(sa, received, now)
        _on_response(sa, received, now)
    else:
        if not _is_new_request(sa, header):
            return False
        _answer_request(sa, received, now)
    begin_next(sa, now)
    return True


def _accepted(sa: IkeSa, received: Received, now: float) -> None:
    sa.last_heard = now
    sa.emit(MessageAccepted(received.header, received.payloads, len(received.octets)))


def _is_new_request(sa: IkeSa, header: Header) -> bool:
    """Classify a request; a retransmitted one gets the same octets again.

    Raises
    ------
    MessageIdError
        It lies outside the window.

    Source: RFC 7296 §2.1, RFC 7296 §2.3
    """
    kind = sa.answered.kind(header.message_id)
    if kind is RequestKind.OUTSIDE:
        raise MessageIdError(
            f"request {header.message_id}, {sa.answered.expected} expected"
        )
    if kind is RequestKind.RETRANSMISSION and sa.answered.response is not None:
        exchange = ExchangeType(header.exchange_type)
        answer = sa.header(exchange, header.message_id, is_response=True)
        sa.emit(SendMessage(sa.answered.response, answer, (), is_repetition=True))
        return False
    return True


def _check_response(sa: IkeSa, header: Header) -> None:
    """Refuse a response nobody waits for.

    Raises
    ------
    MessageIdError
        No request of ours has this Message ID and exchange.

    Source: RFC 7296 §2.2
    """
    if (
        sa.sent is None
        or sa.exchange is None
        or not sa.sent.is_answered_by(header.message_id)
        or header.exchange_type != sa.exchange.exchange_type
    ):
        raise MessageIdError(f"response {header.message_id} to no request of ours")


def _receive_clear_response(
    sa: IkeSa, message: Message, octets: bytes, now: float
) -> bool:
    """Take the response to our IKE_SA_INIT, the only one in the clear.

    An error in it is acted on at once: over TCP nobody else could have put it there
    without owning the stream [9329-6.4-act].

    Source: RFC 7296 §2.21.1, RFC 9329 §6.4
    """
    header = message.header
    if not header.is_response:
        raise MessageIdError("a request before any key")
    _check_response(sa, header)
    received = Received(header, message.payloads, octets)
    _accepted(sa, received, now)
    exchange = sa.answered_exchange()
    try:
        if exchange is not None:
            exchange.on_response(sa, received, now)
    except IketcpError as error:
        sa.close(str(error))
        return True
    if sa.protection is not None:
        sa.want(IkeAuth())
    try:
        begin_next(sa, now)
    except IketcpError as error:
        sa.close(str(error))
    return True


def _receive_unreadable(
    sa: IkeSa, header: Header, error: IketcpError, now: float
) -> bool:
    """React to an authentic message whose payloads cannot be read.

    A malformed request is answered with INVALID_SYNTAX and ends the IKE SA, never the
    TCP connection [9329-6.1-syntax]; an unknown critical payload fails the exchange.

    Source: RFC 7296 §2.5, RFC 7296 §2.21.3, RFC 9329 §6.1
    """
    if header.is_response:
        _check_response(sa, header)
        _accepted(sa, Received(header, (), b""), now)
        exchange = sa.answered_exchange()
        _response_failed(sa, exchange, MalformedMessageError(str(error)), now)
        begin_next(sa, now)
        return True
    if not _is_new_request(sa, header):
        return False
    _accepted(sa, Received(header, (), b""), now)
    _refuse(sa, header, error)
    return True


# --- requests -------------------------------------------------------------------------


def _answer_request(sa: IkeSa, request: Received, now: float) -> None:
    """Run the handler, send its answer, and end what it ended."""
    header = request.header
    _accepted(sa, request, now)
    try:
        payloads = _handle_request(sa, request, now)
        end = ends_ike_sa(sa, request)
    except DropError:
        raise
    except IketcpError as error:
        _refuse(sa, header, error)
        return
    sa.send_response(ExchangeType(header.exchange_type), payloads)
    if end is not None:
        exchange = sa.exchange
        if isinstance(exchange, RekeyIkeSa) and exchange.theirs is not None:
            # the peer did not notice that both rekeyed: forget ours. RFC 7296 §2.8.2
            sa.hand_over(exchange.theirs.sa, now)
        sa.close(end)


def _handle_request(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Dispatch by exchange.

    Raises
    ------
    MessageIdError
        An exchange that has no place before authentication.
    MalformedMessageError
        An exchange that has no place here, or a request without what it needs.
    """
    exchange = request.header.exchange_type
    if sa.state is IkeState.IKE_SA_INIT_ANSWERED:
        if exchange != ExchangeType.IKE_AUTH:
            raise MessageIdError("only IKE_AUTH may follow IKE_SA_INIT")
        return answer_ike_auth(sa, request, now)
    if exchange == ExchangeType.INFORMATIONAL:
        return answer_informational(sa, request, now)
    if exchange == ExchangeType.CREATE_CHILD_SA:
        if is_ike_rekey(request):
            return answer_rekey_ike_sa(sa, request, now)
        return answer_create_child(sa, request, now)
    raise MalformedMessageError(f"exchange type {exchange} has no place here")


def _refuse(sa: IkeSa, header: Header, error: IketcpError) -> None:
    """Answer a request with the Notify of what went wrong.

    Source: RFC 7296 §2.21.2, RFC 7296 §2.21.3
    """
    if error.notify is None:
        raise error
    spi = getattr(error, "spi", b"")
    notify = NotifyPayload(error.notify, error.notify_data, 3 if spi else 0, spi)
    is_authenticated = sa.state is not IkeState.IKE_SA_INIT_ANSWERED
    sa.emit(Note("refused", {"notify": error.notify.name, "reason": str(error)}))
    try:
        exchange = ExchangeType(header.exchange_type)
    except ValueError:
        exchange = ExchangeType.INFORMATIONAL
    sa.send_response(exchange, [notify])
    if error.scope is Scope.IKE_SA or not is_authenticated:
        sa.close(str(error))


# --- responses ------------------------------------------------------------------------


def _on_response(sa: IkeSa, response: Received, now: float) -> None:
    """Let the exchange under way handle its response, then go on."""
    exchange = sa.answered_exchange()
    if exchange is None:
        return
    try:
        exchange.on_response(sa, response, now)
    except IketcpError as error:
        _response_failed(sa, exchange, error, now)
        return
    sa.trouble_since = None
    if isinstance(exchange, IkeAuth):
        _after_ike_auth(sa)


def _after_ike_auth(sa: IkeSa) -> None:
    """Make the other Child SAs; without a first one there is nothing to keep.

    Choice: RFC 7296 §2.21.2 lets policy delete an IKE SA whose Child SA was refused.
    """
    if not sa.children:
        sa.want(DeleteIkeSa("the Child SA was refused"))
        return
    for policy in sa.policy.children[1:]:
        sa.want(CreateChild(policy))


def _response_failed(
    sa: IkeSa, exchange: Exchange | None, error: IketcpError, now: float
) -> None:
    """React to a response that failed its exchange, by the error's kind and scope."""
    sa.emit(Note("exchange-failed", {"reason": str(error)}))
    if isinstance(exchange, IkeAuth):
        _authentication_failed(sa, error, now)
    elif isinstance(error, TemporaryFailureError):
        _retry_later(sa, exchange, now)
    elif isinstance(error, InvalidKePayloadError) and _retry_with_method(
        sa, exchange, error.wanted
    ):
        pass
    elif error.scope is Scope.IKE_SA:
        # the peer has a bug, or another state than we: start over. RFC 6989 §2.5
        if sa.is_usable:
            sa.tasks.clear()
            sa.want(DeleteIkeSa(str(error)))
        else:
            sa.close(str(error))
    elif isinstance(exchange, RekeyChild | RekeyIkeSa):
        _want_again(sa, exchange, now)
    elif isinstance(exchange, CreateChild):
        exchange.failed(sa, str(error))


def _authentication_failed(sa: IkeSa, error: IketcpError, now: float) -> None:
    """End an IKE SA whose IKE_AUTH failed on our side; the peer is told once.

    Source: RFC 7296 §2.21.2
    """
    if error.notify in (
        NotifyType.AUTHENTICATION_FAILED,
        NotifyType.INVALID_SYNTAX,
    ):
        report = ReportAuthenticationFailure(error.notify)
        sa.send_request(report, report.request(sa, now), now)
    is_authentication = isinstance(error, AuthenticationFailedError)
    prefix = "authentication failed: " if is_authentication else ""
    sa.close(f"{prefix}{error}")


def _retry_later(sa: IkeSa, exchange: Exchange | None, now: float) -> None:
    """Wait, then try again; close the IKE SA if that goes on for minutes.

    Source: RFC 7296 §2.25
    """
    if sa.trouble_since is None:
        sa.trouble_since = now
    if now - sa.trouble_since > TROUBLE_SECONDS:
        sa.want(DeleteIkeSa("TEMPORARY_FAILURE for minutes"))
    elif exchange is not None:
        _want_again(sa, exchange, now)


def _want_again(sa: IkeSa, exchange: Exchange, now: float) -> None:
    """Queue a fresh copy of ``exchange`` for later."""
    again = exchange.again(sa)
    if again is not None:
        delay = jitter(sa.context.entropy, "retry.jitter", RETRY_SECONDS, 0.5)
        sa.want(again, now + delay)


def _retry_with_method(sa: IkeSa, exchange: Exchange | None, method: int) -> bool:
    """Try again with the key exchange method the peer wants, if we offered it.

    Source: RFC 7296 §1.3
    """
    again = None if exchange is None else exchange.again(sa, method)
    if again is not None:
        sa.want(again)
    return again is not None
