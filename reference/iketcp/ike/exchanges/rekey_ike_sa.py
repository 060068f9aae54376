"""CREATE_CHILD_SA for the IKE SA itself: fresh keys, same peers, same Child SAs.

The new IKE SA is born authenticated, counts its Message IDs from 0 and inherits the
Child SAs; the old one is deleted by whoever asked for the rekey. If both ask at once,
the nonces decide which of the two new ones inherits. With additional key exchanges
(:mod:`iketcp.ike.exchanges.followup_ke`) the new one is there after the last of them.

Source: RFC 7296 §1.3.2
Source: RFC 7296 §2.8.2
Source: RFC 7296 §2.18
Source: RFC 7296 §2.25.2
Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iketcp.crypto import key_exchange
from iketcp.crypto.key_exchange import KeyExchange
from iketcp.crypto.suite import Suite
from iketcp.errors import (
    InvalidKePayloadError,
    MalformedMessageError,
    NoProposalChosenError,
)
from iketcp.ike.crash_detection import keep_tokens, token_payloads
from iketcp.ike.exchanges.child import nonce_of
from iketcp.ike.exchanges.followup_ke import Creation, keep_or_finish
from iketcp.ike.exchanges.informational import DeleteIkeSa, GiveToken
from iketcp.ike.keys import derive_ike_keys, derive_rekeyed_skeyseed, prf_of
from iketcp.ike.negotiation import (
    choose_proposal,
    methods_of,
    verify_choice,
    with_spi,
)
from iketcp.ike.outputs import KeysDerived, Note, SuccessorMade
from iketcp.ike.payload_set import need
from iketcp.ike.payloads import KePayload, NoncePayload, Payload, SaPayload
from iketcp.ike.proposals import Proposal
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import IkeEvent
from iketcp.ike.unfinished import Unfinished
from iketcp.registry import KeyExchangeMethod, ProtocolId


@dataclass(frozen=True, slots=True)
class Successor:
    """A new IKE SA of a rekey, with what decides a collision."""

    sa: IkeSa
    lowest_nonce: bytes


@dataclass(frozen=True, slots=True)
class _Agreed:
    suite: Suite
    spi_i: bytes
    spi_r: bytes
    ni: bytes
    nr: bytes
    g_ir: bytes = field(repr=False)
    is_original_initiator: bool

    @property
    def lowest_nonce(self) -> bytes:
        """Decides a collision. RFC 7296 §2.8.2."""
        return min(self.ni, self.nr)


def _make_successor(
    old: IkeSa, agreed: _Agreed, now: float, further: bytes = b""
) -> Successor:
    """Derive the keys of the new IKE SA from the old one's SK_d.

    Parameters
    ----------
    further : bytes
        Secrets of the additional key exchanges, one behind the other.

    Source: RFC 7296 §2.18, RFC 9370 §2.2.4
    """
    if old.suite is None or old.keys is None:
        raise LookupError("an IKE SA without keys")  # pragma: no cover
    new = IkeSa(
        old.context,
        agreed.is_original_initiator,
        agreed.spi_i,
        agreed.spi_r,
        old.path,
        now,
    )
    skeyseed = derive_rekeyed_skeyseed(
        prf_of(old.suite), old.keys.sk_d, agreed.g_ir, agreed.ni, agreed.nr, further
    )
    keys = derive_ike_keys(
        agreed.suite, skeyseed, agreed.ni, agreed.nr, agreed.spi_i, agreed.spi_r
    )
    new.policy, new.authentication = old.policy, old.authentication
    new.is_known_to_peer = agreed.is_original_initiator  # else our answer may be lost
    new.use_keys(agreed.suite, keys)
    new.ni, new.nr = agreed.ni, agreed.nr
    new.fragment_size = old.fragment_size
    new.is_fragmentation_agreed = old.is_fragmentation_agreed
    new.nat = old.nat
    new.remote_identity = old.remote_identity
    new.remote_hash_algorithms = old.remote_hash_algorithms
    new.transition(IkeEvent.AUTHENTICATE)
    old.emit(SuccessorMade(new))
    old.emit(KeysDerived(new))
    return Successor(new, agreed.lowest_nonce)


def _ike_spi(proposal: Proposal) -> bytes:
    """Read the peer's new SPI: 8 octets, not zero. Source: RFC 7296 §3.3.1."""
    if len(proposal.spi) != 8 or not any(proposal.spi):
        raise NoProposalChosenError(f"IKE SPI {proposal.spi.hex() or 'missing'}")
    return proposal.spi


class RekeyIkeSa(Creation):
    """Our request to replace the IKE SA.

    Parameters
    ----------
    method : int or None
        The key exchange method that the peer asked for; by default the one in use.

    Source: RFC 7296 §1.3.2
    """

    is_put_off_by_rekey = False
    """Not put off but dropped: the peer's does what this one was for."""

    def __init__(self, method: int | None = None) -> None:
        super().__init__()
        self._is_method_asked = method is not None
        self._method = method or 0
        self._proposals: tuple[Proposal, ...] = ()
        self._spi = b""
        self._nonce = b""
        self._first: KeyExchange | None = None
        self._agreed: _Agreed | None = None
        self._said: tuple[Payload, ...] = ()
        self.theirs: Successor | Unfinished | None = None
        """The IKE SA of the peer's own rekey, when both began at once."""

    def begin(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return SA, Ni, KEi. Source: RFC 7296 §1.3.2."""
        if not sa.is_usable or sa.suite is None or sa.unfinished.has_ike_rekey:
            return None
        self._method = self._method or sa.suite.ke or 0
        self._spi = sa.context.new_ike_spi()
        self._nonce = sa.context.new_nonce()
        self._proposals = with_spi(sa.policy.proposals, self._spi)
        ours = key_exchange.generate(
            self._method, sa.context.entropy, "rekey_ike_sa.ke"
        )
        self._first = ours
        return [
            SaPayload(self._proposals),
            NoncePayload(self._nonce),
            KePayload(self._method, ours.public_value),
        ]

    def with_method(self, sa: IkeSa, method: int) -> Exchange | None:
        """Return the same request with the method the peer wants, once."""
        is_possible = (
            not self._is_method_asked
            and method != self._method
            and method in methods_of(sa.policy.proposals)
        )
        return RekeyIkeSa(method) if is_possible else None

    def again(self) -> Exchange:
        """Return a fresh copy of this request."""
        return RekeyIkeSa()

    def is_lost(self, sa: IkeSa) -> bool:
        """Tell whether ours was made with the lowest of four nonces.

        Source: RFC 7296 §2.8.2
        """
        theirs, agreed = self._living_theirs(sa), self._agreed
        if theirs is None or agreed is None:
            return False
        return agreed.lowest_nonce < theirs.lowest_nonce

    def outlive_peers(self, sa: IkeSa) -> None:
        """Forget what the peer's rekey left unfinished, if it has lost."""
        if isinstance(self.theirs, Unfinished) and not self.is_lost(sa):
            sa.unfinished.drop(self.theirs)

    def finish(self, sa: IkeSa, response: Received, now: float) -> None:
        """Make the new IKE SA, and settle who inherits.

        If both peers rekeyed at once, the IKE SA made with the lowest of the four
        nonces is redundant, and whoever asked for it deletes it; the other one inherits
        the Child SAs, and whoever asked for that deletes the old one.

        Source: RFC 7296 §2.8.2, RFC 7296 §2.18
        """
        if self._agreed is None:
            raise LookupError("an IKE SA that was not agreed on")  # pragma: no cover
        ours = _make_successor(sa, self._agreed, now, self.secrets)
        if self.is_lost(sa):
            self.yield_to_peer(sa, now)
            ours.sa.want(DeleteIkeSa("redundant after a simultaneous rekey"))
            return
        sa.hand_over(ours.sa, now)
        further = response.payloads if self.is_followed_up else ()
        keep_tokens(ours.sa, (*self._said, *further))
        ours.sa.want(GiveToken())
        sa.want(DeleteIkeSa("rekeyed"))
        theirs = self._living_theirs(sa)
        if isinstance(theirs, Successor):
            theirs.sa.await_deletion(now)

    def _living_theirs(self, sa: IkeSa) -> Successor | Unfinished | None:
        theirs = self.theirs
        if isinstance(theirs, Unfinished):
            return theirs if theirs in sa.unfinished else None
        return theirs if theirs is not None and theirs.sa.is_usable else None

    def yield_to_peer(self, sa: IkeSa, now: float) -> bool:
        """Let the peer's new IKE SA inherit, now or when it is there, and not ours.

        Source: RFC 7296 §2.8.2, RFC 9370 §2.2.4
        """
        theirs, self.theirs = self._living_theirs(sa), None
        if isinstance(theirs, Successor):
            sa.hand_over(theirs.sa, now)
        return theirs is not None

    def abandon(self) -> None:
        """Close the peer's new IKE SA, too: nothing can inherit any more."""
        if isinstance(self.theirs, Successor):
            self.theirs.sa.close("the IKE SA it was to replace has ended")

    def accept(self, sa: IkeSa, response: Received) -> tuple[int, ...]:
        """Check the answer to our offer.

        Raises
        ------
        MalformedMessageError
            It is none: only starting over helps.
        """
        # PARSE
        answer = need(response.payloads, SaPayload)
        ke = need(response.payloads, KePayload)
        nr = nonce_of(response.payloads)
        # CHECK
        try:
            suite = verify_choice(answer.proposals, self._proposals)
            spi_r = _ike_spi(answer.proposals[0])
        except NoProposalChosenError as error:
            # the peer has an IKE SA that we have not, or will have. RFC 7296 §2.21.3
            raise MalformedMessageError(str(error)) from error
        if self._first is None or not ke.method == suite.ke == self._method:
            raise MalformedMessageError("the KE payload is not of the chosen method")
        # DERIVE
        g_ir = self._first.shared_secret(ke.public_value)
        self._agreed = _Agreed(suite, self._spi, spi_r, self._nonce, nr, g_ir, True)
        self._said = response.payloads
        return suite.additional_ke


def is_ike_rekey(request: Received) -> bool:
    """Tell an IKE rekey from a request for a Child SA: its SA payload offers IKE.

    Raises
    ------
    MalformedMessageError
        There is no SA payload, or more than one.

    Source: RFC 7296 §1.3.2
    """
    sa_payload = need(request.payloads, SaPayload)
    return any(p.protocol == ProtocolId.IKE for p in sa_payload.proposals)


def answer_rekey_ike_sa(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer a request to replace the IKE SA: SA, Nr, KEr, and what ends it.

    That is [N(QCD_TOKEN)], or N(ADDITIONAL_KEY_EXCHANGE). Choice: then the token goes
    with the last IKE_FOLLOWUP_KE, as there is no IKE SA before.

    Raises
    ------
    NoProposalChosenError, InvalidKePayloadError
        The offer is not acceptable.
    MalformedMessageError
        A payload is missing, or the public value fails its test.

    Source: RFC 7296 §1.3.2, RFC 7296 §2.25.2, RFC 9370 §2.2.4
    """
    sa.unfinished.check_room()
    # PARSE
    offer = need(request.payloads, SaPayload)
    ke = need(request.payloads, KePayload)
    ni = nonce_of(request.payloads)
    # CHECK
    choice = choose_proposal(offer.proposals, sa.policy.proposals, ke.method)
    spi_i = _ike_spi(choice.proposal)
    if choice.suite.ke != ke.method:
        raise InvalidKePayloadError(choice.suite.ke or KeyExchangeMethod.NONE)
    # DERIVE
    entropy = sa.context.entropy
    ours = key_exchange.answer(ke.method, ke.public_value, entropy, "rekey_ike_sa.ke")
    g_ir = ours.shared_secret
    spi_r, nr = sa.context.new_ike_spi(), sa.context.new_nonce()
    agreed = _Agreed(choice.suite, spi_i, spi_r, ni, nr, g_ir, False)

    def finish(unfinished: Unfinished, now: float) -> list[Payload]:
        further = unfinished.secrets
        successor = _make_successor(sa, agreed, now, further)
        _hand_over(sa, successor, unfinished, now)
        return token_payloads(successor.sa)

    # UPDATE
    methods = choice.suite.additional_ke
    unfinished = Unfinished(methods, finish, agreed.lowest_nonce, is_ike_rekey=True)
    if isinstance(sa.exchange, RekeyIkeSa):
        # both at once: answer as usual, the nonces decide when our answer comes
        sa.exchange.theirs = unfinished
        sa.emit(Note("simultaneous-rekey", {"spi": sa.spi_local.hex()}))
    # REPLY
    answer = choice.proposal.with_number_and_spi(choice.proposal.number, spi_r)
    return [
        SaPayload((answer,)),
        NoncePayload(nr),
        KePayload(ke.method, ours.public_value),
        *keep_or_finish(sa, unfinished, now),
    ]


def _hand_over(
    sa: IkeSa, successor: Successor, unfinished: Unfinished, now: float
) -> None:
    """Let the IKE SA that the peer asked for inherit.

    Where our own rekey crossed the peer's, the nonces decide later.

    Source: RFC 7296 §2.8.2
    """
    own = sa.exchange
    if isinstance(own, RekeyIkeSa) and own.theirs is unfinished:
        own.theirs = successor
    else:
        sa.hand_over(successor.sa, now)
