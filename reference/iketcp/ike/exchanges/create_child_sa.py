"""CREATE_CHILD_SA for Child SAs: a further one, or one that replaces another.

A rekey names the Child SA it replaces and agrees on the same again with fresh keys; the
old one is deleted afterwards. If both peers rekey the same Child SA at once, both go
through, and the nonces decide which of the two new ones stays; of one that waits for
additional key exchanges (:mod:`iketcp.ike.exchanges.followup_ke`), nothing comes then.

Source: RFC 7296 §1.3.1
Source: RFC 7296 §1.3.3
Source: RFC 7296 §2.8.1
Source: RFC 7296 §2.25.1
Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.errors import (
    ChildSaNotFoundError,
    ExchangeError,
    MalformedMessageError,
    NoAdditionalSasError,
    TemporaryFailureError,
)
from iketcp.ike.child_record import Child
from iketcp.ike.exchanges.child import (
    Agreement,
    ChildOffer,
    accept_child,
    answer_child,
    candidates,
    first_method,
    install,
    make_child,
    nonce_of,
    offer_child,
)
from iketcp.ike.exchanges.child_choice import Candidate
from iketcp.ike.exchanges.followup_ke import Creation, keep_or_finish
from iketcp.ike.exchanges.informational import DeleteChild, DeleteIkeSa
from iketcp.ike.exchanges.transport_mode import Selectors, agreed_payloads
from iketcp.ike.negotiation import methods_of
from iketcp.ike.outputs import ChildFailed, Note
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import ChildEvent, ChildState
from iketcp.ike.unfinished import Unfinished
from iketcp.registry import KeyExchangeMethod, NotifyType, ProtocolId

MAX_CHILDREN = 64
"""Choice: Child SAs of one IKE SA; memory per peer stays bounded."""


class CreateChild(Creation):
    """Our request for a further Child SA.

    Parameters
    ----------
    policy : ChildPolicy
        What to ask for.
    method : int or None
        The key exchange method that the peer asked for; by default the policy's first.

    Source: RFC 7296 §1.3.1
    """

    def __init__(self, policy: ChildPolicy, method: int | None = None) -> None:
        super().__init__()
        self.policy = policy
        self._is_method_asked = method is not None
        self._method = first_method(policy) if method is None else method
        self._offer: ChildOffer | None = None
        self._agreed: Agreement | None = None

    def begin(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
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

    def finish(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the Child SA."""
        install(sa, self._make(sa, now))

    def accept(self, sa: IkeSa, response: Received) -> tuple[int, ...]:
        """Check the answer to our offer.

        Raises
        ------
        MalformedMessageError
            It is none. The peer now has a Child SA that we have not, or waits for the
            rest of it: only starting over helps. RFC 7296 §2.21.3.
        """
        if self._offer is None:
            raise LookupError("a response without request")  # pragma: no cover
        nonces = (self._offer.nonce, nonce_of(response.payloads))
        try:
            agreed = accept_child(sa, self._offer, response.payloads, nonces)
        except ExchangeError as error:
            raise MalformedMessageError(str(error)) from error
        self._agreed = agreed
        return agreed.suite.additional_ke

    @property
    def _lowest_nonce(self) -> bytes:
        return b"" if self._agreed is None else min(self._agreed.nonces)

    def _make(self, sa: IkeSa, now: float) -> Child:
        if self._agreed is None:
            raise LookupError("a Child SA that was not agreed on")  # pragma: no cover
        return make_child(sa, self._agreed, now, self.secrets)

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
        """Note that the peer refused for good.

        Choice: an IKE SA without any Child SA is of no use to who asks for them.
        """
        sa.emit(ChildFailed(self.policy.name, reason))
        if not sa.children and not sa.is_waiting(CreateChild):
            sa.want(DeleteIkeSa("the Child SA was refused"))


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
        self.theirs: Child | Unfinished | None = None
        """The Child SA of the peer's own rekey, when both began at once."""

    def again(self, method: int | None = None) -> Exchange:
        """Return a fresh copy of this request."""
        return RekeyChild(self.old, method)

    def begin(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return N(REKEY_SA), [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr.

        Nothing if the Child SA is gone or replaced meanwhile, or the peer is at it.
        """
        if not sa.is_usable or self.old.state is not ChildState.INSTALLED:
            return None
        if sa.unfinished.replaces(self.old):
            return None
        self.old.transition(ChildEvent.SEND_REKEY)
        self.old.is_rekey_tried = True
        selectors = (self.old.parameters.local_ts, self.old.parameters.remote_ts)
        rekey = NotifyPayload(
            NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=self.old.spi_in
        )
        return [rekey, *self._make_offer(sa, selectors)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Take the answer; if the old Child SA is gone, make a new one."""
        try:
            super().on_response(sa, response, now)
        except ChildSaNotFoundError:
            self.is_over = True
            self._on_not_found(sa)

    def is_lost(self, sa: IkeSa) -> bool:
        """Tell whether ours was made with the lowest of four nonces.

        Source: RFC 7296 §2.8.1
        """
        theirs = self._living_theirs(sa)
        return theirs is not None and self._lowest_nonce < theirs.lowest_nonce

    def outlive_peers(self, sa: IkeSa) -> None:
        """Forget what the peer's rekey left unfinished, if it has lost."""
        if isinstance(self.theirs, Unfinished) and not self.is_lost(sa):
            sa.unfinished.drop(self.theirs)

    def finish(self, sa: IkeSa, response: Received, now: float) -> None:
        """Install the new Child SA and have the redundant one deleted.

        If both peers rekeyed at once, the Child SA made with the lowest of the four
        nonces is redundant, and whoever asked for it deletes it; the other deletes the
        old one.

        Source: RFC 7296 §2.8, RFC 7296 §2.8.1
        """
        ours, is_redundant = self._make(sa, now), self.is_lost(sa)
        install(sa, ours, replaces=self.old, is_sending_deferred=is_redundant)
        if is_redundant:
            self._leave_to_peer(sa)
            sa.want(DeleteChild(ours.spi_in))
        else:
            self._replace_old(sa, ours)
            sa.want(DeleteChild(self.old.spi_in))

    def _living_theirs(self, sa: IkeSa) -> Child | Unfinished | None:
        theirs = self.theirs
        if isinstance(theirs, Unfinished):
            return theirs if theirs in sa.unfinished else None
        return theirs if theirs and theirs.spi_in in sa.children else None

    def _replace_old(self, sa: IkeSa, successor: Child) -> None:
        if self.old.spi_in in sa.children:
            self.old.replace_by(successor)

    def _leave_to_peer(self, sa: IkeSa) -> None:
        """Let the peer's rekey replace the old one: now, or when it is finished."""
        if self.old.state is ChildState.REKEY_SENT:
            self.old.transition(ChildEvent.REKEY_FAILED)
        theirs, self.theirs = self._living_theirs(sa), None
        if isinstance(theirs, Child):
            self._replace_old(sa, theirs)

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
        is_replaced = self._living_theirs(sa) is not None
        self._leave_to_peer(sa)
        return is_replaced


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
    if len(sa.children) + len(sa.unfinished) >= limit:
        raise NoAdditionalSasError(f"{limit} Child SAs are enough")
    sa.unfinished.check_room()
    if rekey is not None:
        return _answer_rekey(sa, rekey, request, now)
    agreed, answer = _agree(sa, request, candidates(sa))

    def finish(unfinished: Unfinished, now: float) -> list[Payload]:
        install(sa, make_child(sa, agreed, now, unfinished.secrets))
        return []

    methods, lowest_nonce = agreed.suite.additional_ke, min(agreed.nonces)
    return answer + keep_or_finish(sa, Unfinished(methods, finish, lowest_nonce), now)


def _answer_rekey(
    sa: IkeSa, rekey: NotifyPayload, request: Received, now: float
) -> list[Payload]:
    """Agree on the Child SA that replaces another one.

    Raises
    ------
    ChildSaNotFoundError
        There is no such Child SA.
    TemporaryFailureError
        We are closing it, or it may be one that we are asking for: the answer may have
        been lost with its connection. Or our own rekey of it is further than that of
        the peer.

    Source: RFC 7296 §1.3.3, RFC 7296 §2.8, RFC 7296 §2.25.1, RFC 9370 §2.2.4
    """
    old = sa.child_by_spi_out(rekey.spi)
    if old is None and sa.exchange is not None and sa.exchange.awaited_spi:
        raise TemporaryFailureError("the Child SA may be the one that is asked for")
    if old is None:
        raise ChildSaNotFoundError(rekey.spi)
    _check_replaceable(sa, old)
    own = _own_rekey(sa, old)
    if own is not None and (own.theirs is not None or own.is_followed_up):
        raise TemporaryFailureError("both peers are rekeying the Child SA already")
    accepted = [
        Candidate(old.policy, old.parameters.local_ts, old.parameters.remote_ts)
    ]
    agreed, answer = _agree(sa, request, accepted)

    def finish(unfinished: Unfinished, now: float) -> list[Payload]:
        _check_replaceable(sa, old)
        _replace(sa, old, make_child(sa, agreed, now, unfinished.secrets), unfinished)
        return []

    methods, lowest_nonce = agreed.suite.additional_ke, min(agreed.nonces)
    unfinished = Unfinished(methods, finish, lowest_nonce, replaces=old)
    if own is not None:
        # answer as usual; the nonces decide when our own answer comes
        own.theirs = unfinished
        sa.emit(Note("simultaneous-rekey", {"spi_in": old.spi_in.hex()}))
    return answer + keep_or_finish(sa, unfinished, now)


def _own_rekey(sa: IkeSa, old: Child) -> RekeyChild | None:
    """Return our own rekey of this Child SA, if it is under way."""
    own = sa.exchange
    return own if isinstance(own, RekeyChild) and own.old is old else None


def _check_replaceable(sa: IkeSa, old: Child) -> None:
    """Tell whether the peer may replace a Child SA now.

    Raises
    ------
    ChildSaNotFoundError
        It is gone.
    TemporaryFailureError
        It is being closed.

    Source: RFC 7296 §2.25.1
    """
    if old.spi_in not in sa.children:
        raise ChildSaNotFoundError(old.parameters.spi_out)
    if old.state in (ChildState.DELETE_SENT, ChildState.REKEYED):
        raise TemporaryFailureError("the Child SA is being closed")


def _replace(sa: IkeSa, old: Child, new: Child, unfinished: Unfinished) -> None:
    """Install what the peer asked for, and go on sending on the old one.

    Where our own rekey of it crossed the peer's, the nonces decide later.

    Source: RFC 7296 §2.8, RFC 7296 §2.8.1
    """
    install(sa, new, replaces=old, is_sending_deferred=True)
    own = _own_rekey(sa, old)
    if own is not None and own.theirs is unfinished:
        own.theirs = new
    else:
        old.replace_by(new)


def _agree(
    sa: IkeSa, request: Received, accepted: Sequence[Candidate]
) -> tuple[Agreement, list[Payload]]:
    """Choose, and make the answer: [N(USE_TRANSPORT_MODE),] SA, Nr, [KEr,] TSi, TSr."""
    nonces = (nonce_of(request.payloads), sa.context.new_nonce())
    agreed, answer = answer_child(sa, request.payloads, accepted, nonces)
    mode = agreed_payloads(agreed.ends)
    return agreed, [*mode, answer[0], NoncePayload(nonces[1]), *answer[1:]]
