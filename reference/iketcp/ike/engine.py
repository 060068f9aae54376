"""The engine of an IKE SA: which handler a message goes to, and what an error ends.

Everything that reaches an IKE SA passes here: first the Integrity Check Value and the
Message ID window (:mod:`iketcp.ike.reception`), then the handler of the exchange. A
request is answered once, and again with the same octets; a response is taken only by
the exchange that waits for it. An error that a handler raises says by its ``scope``
what ends, and by its ``notify`` what the peer hears.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.3
Source: RFC 7296 §2.21
Source: RFC 9329 §6.2
"""

from __future__ import annotations

from iketcp.environment import jitter
from iketcp.errors import (
    AuthenticationFailedError,
    ChildSaNotFoundError,
    EapFailedError,
    IketcpError,
    InvalidKePayloadError,
    MalformedMessageError,
    MessageIdError,
    Scope,
    StateNotFoundError,
    TemporaryFailureError,
    TsUnacceptableError,
)
from iketcp.ike.context import IkeContext
from iketcp.ike.exchanges.childless import want_children
from iketcp.ike.exchanges.collisions import check_child_request, check_ike_rekey
from iketcp.ike.exchanges.create_child_sa import (
    CreateChild,
    RekeyChild,
    answer_create_child,
)
from iketcp.ike.exchanges.eap_rounds import EapRound, answer_eap_round
from iketcp.ike.exchanges.followup_ke import Creation, answer_followup_ke
from iketcp.ike.exchanges.ike_auth import IkeAuth, answer_ike_auth
from iketcp.ike.exchanges.ike_intermediate import (
    IkeIntermediate,
    answer_ike_intermediate,
    forget_former_keys,
    is_awaited,
    turn_keys,
)
from iketcp.ike.exchanges.ike_sa_init import IkeSaInit
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteIkeSa,
    ReportAuthenticationFailure,
    ShowConnection,
    answer_informational,
    ends_ike_sa,
)
from iketcp.ike.exchanges.rekey_ike_sa import (
    RekeyIkeSa,
    answer_rekey_ike_sa,
    is_ike_rekey,
)
from iketcp.ike.exchanges.second_auth import SecondAuth, answer_second_auth
from iketcp.ike.header import Header
from iketcp.ike.message import Message
from iketcp.ike.nat_detection import Path
from iketcp.ike.outputs import MessageAccepted, Note, SendMessage
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import EapPayload, NotifyPayload, Payload
from iketcp.ike.reception import awaiting_exchange, take_in
from iketcp.ike.sa import NO_SPI, Exchange, IkeSa, Received
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType, NotifyType, ProtocolId

RETRY_SECONDS = 10.0
"""Choice: pause before an exchange that met TEMPORARY_FAILURE is tried again."""

TROUBLE_SECONDS = 180.0
"""Choice: the "several minutes" of RFC 7296 §2.25 after which the IKE SA closes."""


# --- beginning ------------------------------------------------------------------------


def start(
    context: IkeContext, path: Path, now: float, is_initial_contact: bool = False
) -> IkeSa:
    """Begin a new IKE SA as its original initiator.

    Parameters
    ----------
    is_initial_contact : bool
        We have no other IKE SA with this peer. Source: RFC 7296 §2.4.

    Returns
    -------
    IkeSa
        With the IKE_SA_INIT request among its outputs.

    Source: RFC 7296 §1.2
    """
    sa = IkeSa(context, True, context.new_ike_spi(), NO_SPI, path, now)
    sa.is_initial_contact = is_initial_contact
    sa.want(IkeSaInit(context))
    begin_next(sa, now)
    return sa


def begin_next(sa: IkeSa, now: float) -> None:
    """Send the next request that is due, if none is under way.

    Source: RFC 7296 §2.3
    """
    try:
        sa.begin_next(now)
    except (AuthenticationFailedError, TsUnacceptableError) as error:
        # our own policy stands in the way: no secret, or selectors for other hosts
        sa.close(str(error))


def repeat_request(sa: IkeSa) -> bool:
    """Send the request under way again, octet for octet.

    Over TCP that is on a new connection; over UDP, because there was no answer.

    Returns
    -------
    bool
        Whether there was one [9329-6.2-reconnect].

    Source: RFC 7296 §2.1, RFC 9329 §6.2
    """
    if sa.sent is None or sa.exchange is None:
        return False
    header = sa.header(sa.exchange.exchange_type, sa.sent.message_id, False)
    sa.emit(SendMessage(sa.sent.messages, header, (), is_request_again=True))
    return True


def resume(sa: IkeSa, now: float) -> None:
    """Show the peer that this IKE SA goes on over a new connection.

    The request under way is repeated. The peer may have answered it before, and then it
    proves nothing about the new connection [9329-6.1-valid-ike]; so an empty
    INFORMATIONAL follows it, or goes out at once where there is none
    [9329-6.1-resume-msg].

    Source: RFC 9329 §6.1, RFC 9329 §6.2
    """
    repeat_request(sa)
    if not sa.is_waiting(CheckLiveness):
        sa.want(ShowConnection(), is_urgent=True)
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
        kind that counts for choosing a connection [9329-6.1-valid-ike]. A fragment is
        such a message when it is the last that was missing.

    Raises
    ------
    DropError
        It proves nothing and changed nothing.
    FragmentLimitError
        A peer sent too many fragments; the IKE SA has ended.

    Source: RFC 7296 §2.1, RFC 9329 §6.1
    """
    received = take_in(sa, message, octets, now)
    if received is None:
        return False
    if received.header.is_response:
        _take_response(sa, received, now)
    else:
        _take_request(sa, received, now)
    begin_next(sa, now)
    return True


def _accepted(sa: IkeSa, received: Received, now: float) -> None:
    sa.last_heard = now
    sa.is_known_to_peer = True
    header = received.header
    sa.emit(MessageAccepted(header, received.payloads, header.length))


# --- requests -------------------------------------------------------------------------


def _take_request(sa: IkeSa, request: Received, now: float) -> None:
    """Run the handler, send its answer, and end what the request ended.

    Raises
    ------
    MessageIdError
        The exchange has no place before authentication.
    """
    _check_authenticated(sa, request.header)
    forget_former_keys(sa)
    _accepted(sa, request, now)
    try:
        payloads = _answer(sa, request, now)
    except IketcpError as error:
        _refuse(sa, request.header, error)
        return
    sa.send_response(request.header.exchange_type, payloads)
    turn_keys(sa)
    reason = ends_ike_sa(sa, request)
    if reason is not None:
        if sa.exchange is not None:
            # the peer did not notice that both rekeyed: forget ours. RFC 7296 §2.8.2
            sa.exchange.yield_to_peer(sa, now)
        sa.close(reason)


def _check_authenticated(sa: IkeSa, header: Header) -> None:
    """Let nothing but IKE_AUTH by while a peer is not authenticated.

    Before it come the exchanges that were agreed on, each of them and no others.

    Source: RFC 7296 §1.2, RFC 9242 §3.2
    """
    if sa.state in (IkeState.INTERMEDIATE_SENT, IkeState.IKE_AUTH_SENT):
        raise MessageIdError("a request of a peer that has not answered IKE_AUTH")
    if sa.state is not IkeState.IKE_SA_INIT_ANSWERED:
        return
    if sa.is_between_rounds and header.exchange_type == ExchangeType.INFORMATIONAL:
        return  # the initiator says that it gives up. RFC 7296 §2.21.2
    intermediate, auth = ExchangeType.IKE_INTERMEDIATE, ExchangeType.IKE_AUTH
    awaited = intermediate if is_awaited(sa) else auth
    if header.exchange_type != awaited:
        raise MessageIdError(f"only {awaited.name} may come now")


def _answer(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Dispatch by exchange; returns the answer's payloads.

    Raises
    ------
    MalformedMessageError
        The request cannot be read, lacks what it needs, or is of an exchange that has
        no place here.
    IketcpError
        It is refused.
    """
    if request.flaw is not None:
        raise request.flaw
    exchange = request.header.exchange_type
    if exchange == ExchangeType.INFORMATIONAL:
        return answer_informational(sa, request, now)
    if sa.eap is not None:
        return answer_eap_round(sa, request, now)
    if sa.first_auth:
        return answer_second_auth(sa, request)
    if is_awaited(sa):
        return answer_ike_intermediate(sa, request, now)
    if sa.state is IkeState.IKE_SA_INIT_ANSWERED:
        return answer_ike_auth(sa, request, now)
    if exchange == ExchangeType.IKE_FOLLOWUP_KE:
        return answer_followup_ke(sa, request, now)
    if exchange != ExchangeType.CREATE_CHILD_SA:
        raise MalformedMessageError(f"exchange type {exchange} has no place here")
    if is_ike_rekey(request):
        check_ike_rekey(sa)
        return answer_rekey_ike_sa(sa, request, now)
    check_child_request(sa)
    return answer_create_child(sa, request, now)


def _refuse(sa: IkeSa, header: Header, error: IketcpError) -> None:
    """Answer a request with the Notify of what went wrong.

    A malformed request ends the IKE SA, never the TCP connection [9329-6.1-syntax]. One
    with an unknown critical payload fails its exchange; so does what policy refuses. Up
    to IKE_AUTH either ends the IKE SA, which is not authenticated yet.

    Source: RFC 7296 §2.21.2, RFC 7296 §2.21.3, RFC 9242 §3.4, RFC 9329 §6.1
    """
    notify = error.notify or NotifyType.INVALID_SYNTAX
    spi = error.spi if isinstance(error, ChildSaNotFoundError) else b""
    is_authenticated = sa.state is not IkeState.IKE_SA_INIT_ANSWERED
    answer: Payload = NotifyPayload(notify, error.notify_data, ProtocolId.ESP, spi)
    if isinstance(error, EapFailedError) and error.failure:
        answer = EapPayload(error.failure)
    sa.emit(Note("refused", {"notify": notify.name, "reason": str(error)}))
    sa.send_response(header.exchange_type, [answer])
    if error.scope is Scope.IKE_SA or not is_authenticated:
        sa.close(str(error))


# --- responses ------------------------------------------------------------------------


def _take_response(sa: IkeSa, response: Received, now: float) -> None:
    """Let the exchange under way handle its response.

    A peer that answers INVALID_SYNTAX has ended the IKE SA, and so do we.

    Raises
    ------
    MessageIdError
        No request of ours waits for it.
    DropError
        The exchange has to ignore it.

    Source: RFC 7296 §2.21.3
    """
    exchange = awaiting_exchange(sa, response.header)
    exchange.check_answer(sa, response, now)
    sa.exchange = sa.sent = None
    _accepted(sa, response, now)
    if find_notify(response.payloads, NotifyType.INVALID_SYNTAX) is not None:
        exchange.abandon()
        sa.close("the peer answers INVALID_SYNTAX")
        return
    try:
        if response.flaw is not None:
            raise MalformedMessageError(str(response.flaw))
        exchange.on_response(sa, response, now)
    except IketcpError as error:
        _exchange_failed(sa, exchange, error, now)
    else:
        _exchange_succeeded(sa, exchange)


def _exchange_succeeded(sa: IkeSa, exchange: Exchange) -> None:
    """Go on after IKE_AUTH: with the next round of EAP, or with the other Child SAs.

    Choice: an IKE SA whose first Child SA was refused is of no use; RFC 7296 §2.21.2
    lets policy delete it.
    """
    if isinstance(exchange, Creation) and exchange.is_over:
        sa.trouble_since = None
    if sa.eap is not None and isinstance(exchange, IkeAuth):
        sa.want(EapRound(exchange), is_urgent=True)
    elif sa.first_auth and isinstance(exchange, IkeAuth):
        sa.want(SecondAuth(exchange), is_urgent=True)
    elif isinstance(exchange, IkeAuth):
        if exchange.is_child_refused:
            sa.want(DeleteIkeSa("the Child SA was refused"))
        else:
            want_children(sa)


def _exchange_failed(
    sa: IkeSa, exchange: Exchange, error: IketcpError, now: float
) -> None:
    """React to a response that failed its exchange, by the error's kind and scope.

    Source: RFC 7296 §2.21, RFC 9242 §3.4
    """
    sa.emit(Note("exchange-failed", {"reason": str(error)}))
    if isinstance(exchange, IkeSaInit | IkeIntermediate):
        sa.close(str(error))
    elif isinstance(exchange, IkeAuth):
        _authentication_failed(sa, error, now)
    elif (
        isinstance(exchange, CreateChild | RekeyIkeSa)
        and error.scope is not Scope.IKE_SA
    ):
        _creation_failed(sa, exchange, error, now)
    else:
        _start_over(sa, exchange, str(error))


def _creation_failed(
    sa: IkeSa, exchange: CreateChild | RekeyIkeSa, error: IketcpError, now: float
) -> None:
    """Go on after CREATE_CHILD_SA, or what came after it, was refused.

    A rekey is needed, so it is tried again; a further Child SA is given up.

    Source: RFC 7296 §1.3, RFC 7296 §2.8, RFC 7296 §2.25, RFC 9370 §2.2.4
    """
    if exchange.yield_to_peer(sa, now):
        return
    if isinstance(error, TemporaryFailureError | StateNotFoundError):
        _retry_later(sa, exchange, error, now)
        return
    if isinstance(error, InvalidKePayloadError):
        other = exchange.with_method(sa, error.wanted)
        if other is not None:
            sa.want(other, is_urgent=True)
            return
    if isinstance(exchange, RekeyChild | RekeyIkeSa):
        _want_again(sa, exchange, now)
    else:
        exchange.failed(sa, str(error))


def _authentication_failed(sa: IkeSa, error: IketcpError, now: float) -> None:
    """End an IKE SA whose IKE_AUTH failed on our side; the peer is told once.

    Source: RFC 7296 §2.21.2
    """
    if error.notify is not None:
        report = ReportAuthenticationFailure(error.notify)
        sa.send_request(report, report.request(sa, now), now)
    is_authentication = isinstance(error, AuthenticationFailedError)
    prefix = "authentication failed: " if is_authentication else ""
    sa.close(f"{prefix}{error}")


def _start_over(sa: IkeSa, exchange: Exchange, reason: str) -> None:
    """End an IKE SA whose peer has a bug, or another state than we.

    Source: RFC 7296 §2.21.3, RFC 6989 §2.5
    """
    exchange.abandon()
    if sa.is_usable:
        sa.want(DeleteIkeSa(reason), is_urgent=True)
    else:
        sa.close(reason)


def _retry_later(
    sa: IkeSa, exchange: CreateChild | RekeyIkeSa, error: IketcpError, now: float
) -> None:
    """Wait, then try again; close the IKE SA if that goes on for minutes.

    Source: RFC 7296 §2.25, RFC 9370 §2.2.4
    """
    if sa.trouble_since is None:
        sa.trouble_since = now
    if now - sa.trouble_since > TROUBLE_SECONDS:
        notify = error.notify or NotifyType.TEMPORARY_FAILURE
        sa.want(DeleteIkeSa(f"{notify.name} for minutes"))
    else:
        _want_again(sa, exchange, now)


def _want_again(sa: IkeSa, exchange: CreateChild | RekeyIkeSa, now: float) -> None:
    """Queue a fresh copy of ``exchange`` for later."""
    delay = jitter(sa.context.entropy, "retry.jitter", RETRY_SECONDS, 0.5)
    sa.want(exchange.again(), now + delay)
