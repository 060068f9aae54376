"""IKE_INTERMEDIATE: an additional key exchange before IKE_AUTH.

::

    initiator                          responder
    HDR, SK {KEi(n)}             →
                                 ←     HDR, SK {KEr(n)}

There is one for each method that IKE_SA_INIT agreed on, in that order, and each changes
all keys of the IKE SA: what comes after is only as weak as the strongest of them. The
messages themselves are protected with the keys of before. They may be large, which is
what this exchange is for: unlike IKE_SA_INIT it may be sent in IKE fragments.

Nothing here is authenticated until IKE_AUTH has vouched for it
(:mod:`iketcp.ike.intermediate`). What goes wrong ends the IKE SA, of which there is not
much yet; a responder that refuses says so, an initiator that gives up says nothing.

Source: RFC 9242 §3.2
Source: RFC 9242 §3.3
Source: RFC 9242 §3.4
Source: RFC 9370 §2.2.2
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.crypto import key_exchange
from iketcp.crypto.key_exchange import KeyExchange
from iketcp.crypto.suite import Suite
from iketcp.errors import ExchangeError, MalformedMessageError, NoProposalChosenError
from iketcp.ike.exchanges.ike_auth import IkeAuth
from iketcp.ike.intermediate import Intermediate, own_form
from iketcp.ike.keys import (
    IkeKeys,
    derive_ike_keys,
    derive_rekeyed_skeyseed,
    prf_of,
)
from iketcp.ike.negotiation import has_additional
from iketcp.ike.outputs import KeysDerived
from iketcp.ike.payload_set import find_error, find_notify, need, notify_name
from iketcp.ike.payloads import KePayload, NotifyPayload, Payload
from iketcp.ike.proposals import Proposal
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import IkeEvent
from iketcp.registry import ExchangeType, NotifyType

_LABEL = "ike_intermediate.ke"


# --- agreeing in IKE_SA_INIT ----------------------------------------------------------


def support_payloads(proposals: Sequence[Proposal]) -> list[Payload]:
    """Say that IKE_INTERMEDIATE is welcome, where the proposals may need it.

    Choice: we have no other use for it, so it is not mentioned without that one; nor
    can a peer then begin exchanges that lead nowhere.

    Source: RFC 9242 §3.1, RFC 9370 §2.2.1
    """
    supported = NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
    return [supported] if any(map(has_additional, proposals)) else []


def is_supported(payloads: Sequence[Payload]) -> bool:
    """Tell whether the peer supports it; data of the Notify means nothing to us.

    Source: RFC 9242 §3.1
    """
    notify = find_notify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)
    return notify is not None


def begin_intermediate(
    sa: IkeSa, chosen: Proposal, suite: Suite, payloads: Sequence[Payload]
) -> None:
    """Note which exchanges follow IKE_SA_INIT.

    Parameters
    ----------
    payloads : Sequence[Payload]
        What the peer said.

    Raises
    ------
    NoProposalChosenError
        A responder chose additional key exchanges, or NONE of one, without a word of
        the exchange that they need.

    Source: RFC 9370 §2.2.1
    """
    if not has_additional(chosen):
        return
    if not is_supported(payloads):
        raise NoProposalChosenError(
            "additional key exchanges were chosen, but no IKE_INTERMEDIATE"
        )
    sa.intermediate = Intermediate(suite.additional_ke)


# --- what both sides do ---------------------------------------------------------------


def _complete(
    sa: IkeSa, request: bytes, response: bytes, shared_secret: bytes
) -> IkeKeys:
    """Note a finished exchange, and derive the keys for what comes after it.

    SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)

    Source: RFC 9370 §2.2.2, RFC 9242 §3.3.2
    """
    if sa.suite is None or sa.keys is None:
        raise LookupError("an IKE SA without keys")  # pragma: no cover
    prf = prf_of(sa.suite)
    _agreed(sa).complete(prf, sa.keys, request, response)
    skeyseed = derive_rekeyed_skeyseed(prf, sa.keys.sk_d, shared_secret, sa.ni, sa.nr)
    return derive_ike_keys(sa.suite, skeyseed, sa.ni, sa.nr, sa.spi_i, sa.spi_r)


def _agreed(sa: IkeSa) -> Intermediate:
    if sa.intermediate is None:
        raise LookupError("no IKE_INTERMEDIATE was agreed on")  # pragma: no cover
    return sa.intermediate


def _public_value(payloads: Sequence[Payload], method: int) -> bytes:
    """Read the peer's KE payload.

    Raises
    ------
    MalformedMessageError
        It is missing, doubled, or of another method than the one whose turn it is.
    """
    ke = need(payloads, KePayload)
    if ke.method != method:
        raise MalformedMessageError(f"a KE payload of method {ke.method}, not {method}")
    return ke.public_value


# --- initiator ------------------------------------------------------------------------


class IkeIntermediate(Exchange):
    """Our IKE_INTERMEDIATE, with the next of the key exchanges that were agreed on.

    Parameters
    ----------
    ike_auth : IkeAuth
        What follows the last of them.

    Source: RFC 9370 §2.2.2
    """

    exchange_type: ExchangeType = ExchangeType.IKE_INTERMEDIATE

    def __init__(self, ike_auth: IkeAuth) -> None:
        self._ike_auth = ike_auth
        self._key_exchange: KeyExchange | None = None
        self._request = b""

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Return KEi(n)."""
        method, *_ = _agreed(sa).methods
        ours = key_exchange.generate(method, sa.context.entropy, _LABEL)
        self._key_exchange = ours
        payloads = [KePayload(method, ours.public_value)]
        header = sa.header(self.exchange_type, sa.next_message_id, is_response=False)
        self._request = own_form(header, payloads)
        sa.transition(IkeEvent.SEND_INTERMEDIATE)
        return payloads

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Take KEr(n) and the new keys, and go on.

        Raises
        ------
        ExchangeError
            The responder refused.
        MalformedMessageError
            The KE payload is not what it should be.
        InvalidPublicValueError
            Nor is what is in it.

        Source: RFC 9370 §2.2.2, RFC 9242 §3.4
        """
        error = find_error(response.payloads)
        if error is not None:
            raise ExchangeError(f"the responder answers {notify_name(error)}")
        ours = self._key_exchange
        if ours is None or sa.suite is None:
            raise LookupError("a response without request")  # pragma: no cover
        theirs = _public_value(response.payloads, ours.method)
        secret = ours.shared_secret(theirs)
        keys = _complete(sa, self._request, response.authenticated_form, secret)
        sa.use_keys(sa.suite, keys)
        sa.emit(KeysDerived(sa))
        sa.want(first_after(sa, self._ike_auth), is_urgent=True)


def first_after(sa: IkeSa, ike_auth: IkeAuth) -> Exchange:
    """Return what comes next: a key exchange, or IKE_AUTH when all are done.

    Source: RFC 9242 §3.2
    """
    is_more = sa.intermediate is not None and sa.intermediate.methods
    return IkeIntermediate(ike_auth) if is_more else ike_auth


# --- responder ------------------------------------------------------------------------


def is_awaited(sa: IkeSa) -> bool:
    """Tell whether IKE_INTERMEDIATE has to come before IKE_AUTH. RFC 9242 §3.2."""
    return sa.intermediate is not None and bool(sa.intermediate.methods)


def answer_ike_intermediate(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer with KEr(n); the new keys are for what comes after this answer.

    Raises
    ------
    MalformedMessageError
        The KE payload is not what it should be.
    InvalidPublicValueError
        Nor is what is in it.

    Source: RFC 9370 §2.2.2, RFC 9242 §3.4
    """
    # PARSE, CHECK
    method, *_ = _agreed(sa).methods
    theirs = _public_value(request.payloads, method)
    # DERIVE
    ours = key_exchange.answer(method, theirs, sa.context.entropy, _LABEL)
    # REPLY
    payloads: list[Payload] = [KePayload(method, ours.public_value)]
    message_id = request.header.message_id
    header = sa.header(ExchangeType.IKE_INTERMEDIATE, message_id, is_response=True)
    response = own_form(header, payloads)
    # UPDATE
    _agreed(sa).keys_to_come = _complete(
        sa, request.authenticated_form, response, ours.shared_secret
    )
    sa.transition(IkeEvent.ANSWER_KE)
    return payloads


def turn_keys(sa: IkeSa) -> None:
    """Go over to the keys that the request just answered has made, if it has.

    The same request may come again, and still under the keys of before.

    Source: RFC 9242 §3.3.1, RFC 7296 §2.1
    """
    under_way = sa.intermediate
    if under_way is None or under_way.keys_to_come is None or sa.suite is None:
        return
    under_way.former_protection = sa.protection
    sa.use_keys(sa.suite, under_way.keys_to_come)
    under_way.keys_to_come = None
    sa.emit(KeysDerived(sa))


def forget_former_keys(sa: IkeSa) -> None:
    """Note that the peer has our answer to what came under the keys of before.

    Source: RFC 9242 §3.3.1
    """
    if sa.intermediate is not None:
        sa.intermediate.former_protection = None
