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
from iketcp.ike.exchanges.child import (
    Candidate,
    ChildOffer,
    accept_child,
    answer_child,
    candidates,
    first_method,
    install,
    nonce_of,
    offer_child,
)
from iketcp.ike.exchanges.informational import DeleteChild
from iketcp.ike.negotiation import methods_of
from iketcp.ike.outputs import ChildFailed, Note
from iketcp.ike.payload_set import find_error, find_notify, notify_name
from iketcp.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.sa import Child, Exchange, IkeSa, Received
from iketcp.ike.states import ChildEvent, ChildState
from iketcp.registry import ExchangeType, NotifyType, ProtocolId

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
        The key exchange method to try; by default the policy's first.

    Source: RFC 7296 §1.3.1
    """

    exchange_type: ClassVar[ExchangeType] = ExchangeType.CREATE_CHILD_SA

    def __init__(self, policy: ChildPolicy, method: int | None = None) -> None:
        self.policy = policy
        self.method = first_method(policy) if method is None else method
        self.offer: ChildOffer | None = None

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return SA, Ni, [KEi,] TSi, TSr."""
        if not sa.is_usable:
            return None
        nonce = sa.context.new_nonce()
        self.offer = offer_child(sa, self.policy, nonce, method=self.method)
        return self._payloads(self.offer)

    @staticmethod
    def _payloads(offer: ChildOffer) -> list[Payload]:
        sa_payload, tsi, tsr = offer.payloads()
        payloads = [sa_payload, NoncePayload(offer.nonce)]
        if offer.key_exchange is not None:
            ours = offer.key_exchange
            payloads.append(KePayload(ours.method, ours.public_value))
        return [*payloads, tsi, tsr]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the Child SA."""
        raise_for_error(response.payloads)
        install(sa, self._accept(sa, response, now))

    def _accept(self, sa: IkeSa, response: Received, now: float) -> Child:
        if self.offer is None:
            raise LookupError("a response without request")  # pragma: no cover
        nonces = (self.offer.nonce, nonce_of(response.payloads))
        return accept_child(sa, self.offer, response.payloads, nonces, now)

    def _is_possible(self, method: int | None) -> bool:
        """Another method helps only if we offered it and did not try it yet."""
        if method is None:
            return True
        return method != self.method and method in methods_of(self.policy.proposals)

    def again(self, sa: IkeSa, method: int | None = None) -> Exchange | None:
        """Return the same request, with ``method`` if the peer asks for it."""
        if not self._is_possible(method):
            return None
        return CreateChild(self.policy, method)

    def failed(self, sa: IkeSa, reason: str) -> None:
        """The peer refused for good."""
        sa.emit(ChildFailed(self.policy.name, reason))


class RekeyChild(CreateChild):
    """Our request to replace a Child SA.

    Parameters
    ----------
    old : Child
        The Child SA to replace.
    method : int or None
        The key exchange method to try; by default the policy's first.

    Source: RFC 7296 §1.3.3
    """

    def __init__(self, old: Child, method: int | None = None) -> None:
        super().__init__(old.policy, method)
        self.old = old
        self.theirs: Child | None = None
        """The Child SA of the peer's own rekey, when both began at once."""

    def again(self, sa: IkeSa, method: int | None = None) -> Exchange | None:
        """Return the same request, as long as there is something to replace."""
        if self.old.spi_in not in sa.children or not self._is_possible(method):
            return None
        return RekeyChild(self.old, method)

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr."""
        if not sa.is_usable or self.old.state is not ChildState.INSTALLED:
            return None
        self.old.transition(ChildEvent.SEND_REKEY)
        selectors = (self.old.parameters.local_ts, self.old.parameters.remote_ts)
        nonce = sa.context.new_nonce()
        self.offer = offer_child(sa, self.policy, nonce, selectors, self.method)
        rekey = NotifyPayload(
            NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=self.old.spi_in
        )
        return [rekey, *self._payloads(self.offer)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the new Child SA and have the redundant one deleted.

        Source: RFC 7296 §2.8.1
        """
        try:
            raise_for_error(response.payloads)
            ours = self._accept(sa, response, now)
        except ChildSaNotFoundError:
            self._on_not_found(sa)
            return
        except Exception:
            if self.old.state is ChildState.REKEY_SENT:
                self.old.transition(ChildEvent.REKEY_FAILED)
            raise
        install(sa, ours, replaces=self.old)
        theirs = self.theirs
        is_both = theirs is not None and theirs.spi_in in sa.children
        if theirs and is_both and ours.lowest_nonce < theirs.lowest_nonce:
            # the lowest of the four nonces is ours: what we made is redundant
            self._replace_old(theirs)
            sa.want(DeleteChild(ours.spi_in))
            return
        self._replace_old(ours)
        sa.want(DeleteChild(self.old.spi_in))

    def _replace_old(self, successor: Child) -> None:
        if self.old.state is not ChildState.REMOVED:
            self.old.replace_by(successor)

    def _on_not_found(self, sa: IkeSa) -> None:
        """The peer does not have the old one any more.

        Where it rekeyed by itself before it saw our request, all is well; else the
        Child SA is made from scratch.

        Source: RFC 7296 §2.25, RFC 7296 §2.8.1
        """
        if self.old.spi_in in sa.children:
            sa.remove_child(self.old.spi_in)
        if self.theirs is None:
            sa.want(CreateChild(self.policy))


# --- responder ------------------------------------------------------------------------


def is_busy_with_child(sa: IkeSa) -> bool:
    """Tell whether we are creating, rekeying or closing a Child SA.

    Source: RFC 7296 §2.25.1
    """
    return isinstance(sa.exchange, CreateChild | DeleteChild)


def answer_create_child(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer a request for a further Child SA, or for one that replaces another.

    Raises
    ------
    TemporaryFailureError
        We are closing the Child SA, or replacing the IKE SA.
    ChildSaNotFoundError
        There is no such Child SA.
    NoAdditionalSasError
        There are too many.
    IketcpError
        The offer is not acceptable.

    Source: RFC 7296 §1.3.1, RFC 7296 §1.3.3, RFC 7296 §2.25.1
    """
    if not sa.is_usable:
        raise TemporaryFailureError("the IKE SA is being replaced or closed")
    rekey = find_notify(request.payloads, NotifyType.REKEY_SA)
    if rekey is None:
        if len(sa.children) >= MAX_CHILDREN:
            raise NoAdditionalSasError(f"{MAX_CHILDREN} Child SAs are enough")
        child, answer = _answer(sa, request, candidates(sa), now)
        install(sa, child)
        return answer
    old = sa.child_by_spi_out(rekey.spi)
    if old is None:
        raise ChildSaNotFoundError(rekey.spi)
    if old.state in (ChildState.DELETE_SENT, ChildState.REKEYED):
        raise TemporaryFailureError("the Child SA is being closed")
    accepted = [
        Candidate(old.policy, old.parameters.local_ts, old.parameters.remote_ts)
    ]
    child, answer = _answer(sa, request, accepted, now)
    install(sa, child, replaces=old, is_sending_deferred=True)
    if isinstance(sa.exchange, RekeyChild) and sa.exchange.old is old:
        # both at once: answer as usual, the nonces decide when our answer comes
        sa.exchange.theirs = child
        sa.emit(Note("simultaneous-rekey", {"spi_in": old.spi_in.hex()}))
    else:
        old.replace_by(child)
    return answer


def _answer(
    sa: IkeSa, request: Received, accepted: Sequence[Candidate], now: float
) -> tuple[Child, list[Payload]]:
    nonces = (nonce_of(request.payloads), sa.context.new_nonce())
    child, answer = answer_child(sa, request.payloads, accepted, nonces, now)
    return child, [answer[0], NoncePayload(nonces[1]), *answer[1:]]
