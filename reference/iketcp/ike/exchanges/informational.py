"""INFORMATIONAL: liveness, deletion, and news between established peers.

An empty request asks "are you there?"; one with Delete payloads ends Child SAs or the
IKE SA itself. Every request is answered, be it with an empty message.

Source: RFC 7296 §1.4
Source: RFC 7296 §1.4.1
Source: RFC 7296 §2.4
Source: RFC 7296 §2.25
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.ike.crash_detection import keep_tokens, token_payloads
from iketcp.ike.outputs import ChildPreferred, ChildSendingStopped, Note
from iketcp.ike.payload_set import notify_name
from iketcp.ike.payloads import DeletePayload, NotifyPayload, Payload
from iketcp.ike.reauthentication import heed_auth_lifetime
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import ChildEvent, ChildState, IkeEvent, IkeState
from iketcp.registry import ExchangeType, NotifyType, ProtocolId

FATAL_AFTER_IKE_AUTH = {
    NotifyType.AUTHENTICATION_FAILED,
    NotifyType.INVALID_SYNTAX,
    NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
}
"""In the INFORMATIONAL request right after IKE_AUTH these end the IKE SA.

Source: RFC 7296 §2.21.2
"""


class CheckLiveness(Exchange):
    """An empty request; any answer shows that the peer lives.

    Other authentic messages do, ESP too. Neither TCP keepalives do nor a connection
    that is up [9329-6.7-liveness].

    Source: RFC 7296 §2.4, RFC 9329 §6.7
    """

    exchange_type: ExchangeType = ExchangeType.INFORMATIONAL

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return no payloads."""
        return [] if sa.is_usable else None

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Nothing to do: that it came is the news."""


class ShowConnection(CheckLiveness):
    """An empty request that shows the peer the new connection [9329-6.1-resume-msg].

    Source: RFC 9329 §6.1
    """

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return no payloads.

        An IKE SA that a rekey of the peer's replaced may say it, too: our answer may
        have been lost, and then the peer has no other.

        Source: RFC 7296 §2.8
        """
        return [] if sa.is_usable or sa.state is IkeState.REKEYED else None


class GiveToken(CheckLiveness):
    """N(QCD_TOKEN) for an IKE SA that we made by a rekey. Source: RFC 6290 §4.3."""

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return the token, or nothing if we make none."""
        return token_payloads(sa) or None if sa.is_usable else None


class DeleteIkeSa(Exchange):
    """Ask the peer to delete this IKE SA [9329-6.1-delete].

    Source: RFC 7296 §1.4.1
    """

    exchange_type: ExchangeType = ExchangeType.INFORMATIONAL

    def __init__(self, reason: str = "deleted") -> None:
        self._reason = reason

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return D(IKE); the last request on this IKE SA. RFC 7296 §2.8."""
        if sa.state not in (IkeState.ESTABLISHED, IkeState.REKEYED):
            return None
        sa.transition(IkeEvent.SEND_DELETE)
        sa.tasks.clear()
        sa.unfinished.clear()
        return [DeletePayload(ProtocolId.IKE, ())]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """End it."""
        sa.close(self._reason, is_local_wish=True)


class DeleteChild(Exchange):
    """Ask the peer to close a Child SA.

    Source: RFC 7296 §1.4.1
    """

    exchange_type: ExchangeType = ExchangeType.INFORMATIONAL
    is_put_off_by_rekey = True

    def __init__(self, spi_in: bytes) -> None:
        self.spi_in = spi_in

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return D(ESP) with the SPI that we receive on.

        What we sent on it from now on would reach the peer after this request, and the
        peer would not have it any more; so we stop.
        """
        child = sa.children.get(self.spi_in)
        if child is None or child.state is ChildState.DELETE_SENT:
            return None
        child.transition(ChildEvent.SEND_DELETE)
        sa.emit(ChildSendingStopped(self.spi_in))
        return [DeletePayload(ProtocolId.ESP, (self.spi_in,))]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Drop both halves; the answer names the other one, or nothing if they met."""
        if self.spi_in in sa.children:
            sa.remove_child(self.spi_in)


class ReportAuthenticationFailure(Exchange):
    """Tell the responder that it failed to authenticate, and forget it.

    Source: RFC 7296 §2.21.2
    """

    exchange_type: ExchangeType = ExchangeType.INFORMATIONAL

    def __init__(self, notify: NotifyType) -> None:
        self._notify = notify

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Return the Notify."""
        return [NotifyPayload(self._notify)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Never called: the IKE SA is closed as soon as the request is sent."""


def answer_informational(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer an INFORMATIONAL request; the engine closes what ``ends_ike_sa`` names.

    Returns
    -------
    list[Payload]
        Delete payloads for the other halves of what was deleted, or nothing.

    Source: RFC 7296 §1.4.1, RFC 7296 §2.25.1
    """
    spis: list[bytes] = []
    keep_tokens(sa, request.payloads)
    heed_auth_lifetime(sa, request.payloads, now)
    for payload in request.payloads:
        if isinstance(payload, DeletePayload) and payload.protocol == ProtocolId.ESP:
            for spi_out in payload.spis:
                spis += _delete_child(sa, spi_out)
        elif isinstance(payload, NotifyPayload):
            fields: dict[str, object] = {"notify": notify_name(payload)}
            sa.emit(Note("notify", fields))
    return [DeletePayload(ProtocolId.ESP, tuple(spis))] if spis else []


def _delete_child(sa: IkeSa, spi_out: bytes) -> list[bytes]:
    """Close one Child SA the peer names; returns our half's SPI, if it is to be named.

    Source: RFC 7296 §1.4.1, RFC 7296 §2.25.1
    """
    child = sa.child_by_spi_out(spi_out)
    if child is None:
        return []  # it does not exist: no Delete payload
    if child.state is ChildState.DELETE_SENT:
        # both ask at once: the outgoing half has ended, the incoming one ends with the
        # answer to our own request; no Delete payload
        return []
    if child.replaced_by in sa.children:
        # the peer closes what it has replaced: it is ready to receive on the new one
        sa.emit(ChildPreferred(child.replaced_by))
    sa.remove_child(child.spi_in)
    return [child.spi_in]


def ends_ike_sa(sa: IkeSa, request: Received) -> str | None:
    """Return why this request ends the IKE SA, or ``None``.

    Amid EAP the same is meant by it as right after IKE_AUTH.

    Source: RFC 7296 §1.4.1, RFC 7296 §2.21.2
    """
    if request.header.exchange_type != ExchangeType.INFORMATIONAL:
        return None
    for payload in request.payloads:
        if isinstance(payload, DeletePayload) and payload.protocol == ProtocolId.IKE:
            return "deleted by the peer"
        if (
            isinstance(payload, NotifyPayload)
            and payload.notify_type in FATAL_AFTER_IKE_AUTH
            and (
                request.header.message_id == sa.id_after_ike_auth
                or sa.is_between_rounds
            )
        ):
            return f"the peer says {notify_name(payload)}"
    return None
