"""CREATE_CHILD_SA for Child SAs: a further one, or one that replaces another.

A rekey names the Child SA it replaces and agrees on the same again with fresh keys; the
old one is deleted afterwards. If both peers rekey the same Child SA at once, both go
through, and the nonces decide which of the two new ones stays.

Source: RFC 7296 §1.3.1
Source: RFC 7296 §1.3.3
Source: RFC 7296 §2.8.1
Source: RFC 7296 §2.25.1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from iketcp.errors import (
    ChildSaNotFoundError,
    ExchangeError,
    InvalidKePayloadError,
    MalformedMessageError,
    NoAdditionalSasError,
    TemporaryFailureError,
)
from iketcp.ike.child_record import Child
from iketcp.ike.exchanges.child import (
    ChildOffer,
    accept_child,
    answer_child,
    candidates,
    first_method,
    install,
    nonce_of,
    offer_child,
)
from iketcp.ike.exchanges.child_choice import Candidate
from iketcp.ike.exchanges.informational import DeleteChild
from iketcp.ike.exchanges.transport_mode import Selectors, agreed_payloads
from iketcp.ike.negotiation import methods_of
from iketcp.ike.outputs import ChildFailed, Note
from iketcp.ike.payload_set import find_error, find_notify, notify_name
from iketcp.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import ChildEvent, ChildState
from iketcp.registry import ExchangeType, KeyExchangeMethod, NotifyType, ProtocolId

MAX_CHILDREN = 64
"""Choice: Child SAs of one IKE SA; memory per peer stays bounded."""


def raise_for_error(payloads: Sequence[Payload]) -> None:
    """Turn the error Notify of a response, if there is one, into its exception.

    Raises
    ------
    InvalidKePayloadError, TemporaryFailureError, ChildSaNotFoundError
        Errors with a remedy of their own.
    ExchangeError
        Any other error Notify.

    Source: RFC 7296 §1.3, RFC 7296 §2.25
    """
    error = find_error(payloads)
    if error is None:
        return
    if error.notify_type == NotifyType.INVALID_KE_PAYLOAD:
        if len(error.data) != 2:
            raise MalformedMessageError("INVALID_KE_PAYLOAD without a method")
        raise InvalidKePayloadError(int.from_bytes(error.data, "big"))
    if error.notify_type == NotifyType.TEMPORARY_FAILURE:
        raise TemporaryFailureError("the peer is busy with another exchange")
    if error.notify_type == NotifyType.CHILD_SA_NOT_FOUND:
        raise ChildSaNotFoundError(error.spi)
    raise ExchangeError(f"the peer answers {notify_name(error)}")


class CreateChild(Exchange):
    """Our request for a further Child SA.

    Parameters
    ----------
    policy : ChildPolicy
        What to ask for.
    method : int or None
        The key exchange method that the peer asked for; by default the policy's first.

    Source: RFC 7296 §1.3.1
    """

    exchange_type: ClassVar[ExchangeType] = ExchangeType.CREATE_CHILD_SA

    def __init__(self, policy: ChildPolicy, method: int | None = None) -> None:
        self.policy = policy
        self._is_method_asked = method is not None
        self._method = first_method(policy) if method is None else method
        self._offer: ChildOffer | None = None

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr."""
        if not sa.is_usable:
            return None
        return self._make_offer(sa)

    def _make_offer(
        self, sa: IkeSa, selectors: tuple[Selectors, Selectors] | None = None
    ) -> list[Payload]:
        nonce = sa.context.new_nonce()
        offer = offer_child(sa, self.policy, nonce, selectors, self._method)
        self._offer = offer
        *first, tsi, tsr = offer.payloads()
        payloads = [*first, NoncePayload(offer.nonce)]
        if offer.key_exchange is not None:
            ours = offer.key_exchange
            payloads.append(KePayload(ours.method, ours.public_value))
        return [*payloads, tsi, tsr]

    @property
    def awaited_spi(self) -> bytes:
        """SPI (in) of the Child SA it asks for, 4 octets; empty before the request."""
        return b"" if self._offer is None else self._offer.spi_in

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the Child SA."""
        raise_for_error(response.payloads)
        install(sa, self._accept(sa, response, now))

    def _accept(self, sa: IkeSa, response: Received, now: float) -> Child:
        """Make the Child SA.

        Raises
        ------
        MalformedMessageError
            The answer is none to our offer. The peer now has a Child SA that we have
            not: only starting over helps. RFC 7296 §2.21.3.
        """
        if self._offer is None:
            raise LookupError("a response without request")  # pragma: no cover
        nonces = (self._offer.nonce, nonce_of(response.payloads))
        try:
            return accept_child(sa, self._offer, response.payloads, nonces, now)
        except ExchangeError as error:
            raise MalformedMessageError(str(error)) from error

    def with_method(self, sa: IkeSa, method: int) -> Exchange | None:
        """Return the same request with the method the peer wants. RFC 7296 §1.3."""
        return self.again(method) if self._is_possible(method) else None

    def _is_possible(self, method: int) -> bool:
        """Follow such a wish once; it must be one that we offered."""
        return (
            not self._is_method_asked
            and method not in (KeyExchangeMethod.NONE, self._method)
            and method in methods_of(self.policy.proposals)
        )

    def again(self, method: int | None = None) -> Exchange:
        """Return a fresh copy of this request."""
        return CreateChild(self.policy, method)

    def failed(self, sa: IkeSa, reason: str) -> None:
        """Note that the peer refused for good."""
        sa.emit(ChildFailed(self.policy.name, reason))


class RekeyChild(CreateChild):
    """Our request to replace a Child SA.

    Parameters
    ----------
    old : Child
        The Child SA to replace.
    method : int or None
        The key exchange method that the peer asked for; by default the policy's first.

    Source: RFC 7296 §1.3.3
    """

    def __init__(self, old: Child, method: int | None = None) -> None:
        super().__init__(old.policy, method)
        self.old = old
        self.theirs: Child | None = None
        """The Child SA of the peer's own rekey, when both began at once."""

    def again(self, method: int | None = None) -> Exchange:
        """Return a fresh copy of this request."""
        return RekeyChild(self.old, method)

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return N(REKEY_SA), [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr.

        Nothing if the Child SA is gone or replaced meanwhile.
        """
        if not sa.is_usable or self.old.state is not ChildState.INSTALLED:
            return None
        self.old.transition(ChildEvent.SEND_REKEY)
        self.old.is_rekey_tried = True
        selectors = (self.old.parameters.local_ts, self.old.parameters.remote_ts)
        rekey = NotifyPayload(
            NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=self.old.spi_in
        )
        return [rekey, *self._make_offer(sa, selectors)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the new Child SA and have the redundant one deleted.

        If both peers rekeyed at once, the Child SA made with the lowest of the four
        nonces is redundant, and whoever asked for it deletes it; the other deletes the
        old one.

        Source: RFC 7296 §2.8, RFC 7296 §2.8.1
        """
        try:
            raise_for_error(response.payloads)
        except ChildSaNotFoundError:
            self._on_not_found(sa)
            return
        ours, theirs = self._accept(sa, response, now), self._living_theirs(sa)
        is_redundant = theirs is not None and ours.lowest_nonce < theirs.lowest_nonce
        install(sa, ours, replaces=self.old, is_sending_deferred=is_redundant)
        if theirs is not None and is_redundant:
            self._replace_old(sa, theirs)
            sa.want(DeleteChild(ours.spi_in))
        else:
            self._replace_old(sa, ours)
            sa.want(DeleteChild(self.old.spi_in))

    def _living_theirs(self, sa: IkeSa) -> Child | None:
        theirs = self.theirs
        return theirs if theirs and theirs.spi_in in sa.children else None

    def _replace_old(self, sa: IkeSa, successor: Child) -> None:
        if self.old.spi_in in sa.children:
            self.old.replace_by(successor)

    def _on_not_found(self, sa: IkeSa) -> None:
        """Make a new one if the peer has lost the old one without a word.

        Where it rekeyed or closed the old one before it saw our request, all is well.

        Source: RFC 7296 §2.25, RFC 7296 §2.8.1
        """
        if self.old.spi_in not in sa.children:
            return
        sa.remove_child(self.old.spi_in)
        if self._living_theirs(sa) is None:
            sa.want(CreateChild(self.policy))

    def yield_to_peer(self, sa: IkeSa, now: float) -> bool:
        """Keep the peer's new Child SA, if there is one; the peer deletes the old.

        Source: RFC 7296 §2.8.1
        """
        if self.old.state is ChildState.REKEY_SENT:
            self.old.transition(ChildEvent.REKEY_FAILED)
        theirs = self._living_theirs(sa)
        if theirs is None:
            return False
        self._replace_old(sa, theirs)
        return True


# --- responder ------------------------------------------------------------------------


def answer_create_child(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer a request for a further Child SA, or for one that replaces another.

    Raises
    ------
    NoAdditionalSasError
        There are too many.
    IketcpError
        The offer is not acceptable, or the Child SA cannot be rekeyed now.

    Source: RFC 7296 §1.3.1, RFC 7296 §1.3.3
    """
    rekey = find_notify(request.payloads, NotifyType.REKEY_SA)
    # for a while, each may exist twice
    limit = MAX_CHILDREN if rekey is None else 2 * MAX_CHILDREN
    if len(sa.children) >= limit:
        raise NoAdditionalSasError(f"{limit} Child SAs are enough")
    if rekey is not None:
        return _answer_rekey(sa, rekey, request, now)
    child, answer = _answer(sa, request, candidates(sa), now)
    install(sa, child)
    return answer


def _answer_rekey(
    sa: IkeSa, rekey: NotifyPayload, request: Received, now: float
) -> list[Payload]:
    """Make the Child SA that replaces another one, and go on sending on that one.

    Raises
    ------
    ChildSaNotFoundError
        There is no such Child SA.
    TemporaryFailureError
        We are closing it, or it may be one that we are asking for: the answer may have
        been lost with its connection.

    Source: RFC 7296 §1.3.3, RFC 7296 §2.8, RFC 7296 §2.25.1
    """
    old = sa.child_by_spi_out(rekey.spi)
    if old is None and sa.exchange is not None and sa.exchange.awaited_spi:
        raise TemporaryFailureError("the Child SA may be the one that is asked for")
    if old is None:
        raise ChildSaNotFoundError(rekey.spi)
    own = sa.exchange if isinstance(sa.exchange, RekeyChild) else None
    is_both = own is not None and own.old is old
    if old.state in (ChildState.DELETE_SENT, ChildState.REKEYED):
        raise TemporaryFailureError("the Child SA is being closed")
    if own is not None and is_both and own.theirs is not None:
        raise TemporaryFailureError("both peers are rekeying the Child SA already")
    accepted = [
        Candidate(old.policy, old.parameters.local_ts, old.parameters.remote_ts)
    ]
    child, answer = _answer(sa, request, accepted, now)
    install(sa, child, replaces=old, is_sending_deferred=True)
    if own is not None and is_both:
        # answer as usual; the nonces decide when our own answer comes
        own.theirs = child
        sa.emit(Note("simultaneous-rekey", {"spi_in": old.spi_in.hex()}))
    else:
        old.replace_by(child)
    return answer


def _answer(
    sa: IkeSa, request: Received, accepted: Sequence[Candidate], now: float
) -> tuple[Child, list[Payload]]:
    nonces = (nonce_of(request.payloads), sa.context.new_nonce())
    child, answer = answer_child(sa, request.payloads, accepted, nonces, now)
    mode = agreed_payloads(child.parameters)
    return child, [*mode, answer[0], NoncePayload(nonces[1]), *answer[1:]]
