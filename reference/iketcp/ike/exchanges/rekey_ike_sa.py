"""CREATE_CHILD_SA for the IKE SA itself: fresh keys, same peers, same Child SAs.

The new IKE SA is born authenticated, counts its Message IDs from 0 and inherits the
Child SAs; the old one is deleted by whoever asked for the rekey. If both ask at once,
the nonces decide which of the two new ones inherits.

Source: RFC 7296 §1.3.2
Source: RFC 7296 §2.8.2
Source: RFC 7296 §2.18
Source: RFC 7296 §2.25.2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from iketcp.ike.exchanges.create_child_sa import raise_for_error
from iketcp.ike.exchanges.informational import DeleteIkeSa, GiveToken
from iketcp.ike.keys import derive_ike_keys, derive_rekeyed_skeyseed, prf_of
from iketcp.ike.negotiation import (
    choose_proposal,
    methods_of,
    verify_choice,
    with_spi,
    without_additional_transforms,
)
from iketcp.ike.outputs import KeysDerived, Note, SuccessorMade
from iketcp.ike.payload_set import need
from iketcp.ike.payloads import KePayload, NoncePayload, Payload, SaPayload
from iketcp.ike.proposals import Proposal
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import IkeEvent
from iketcp.registry import ExchangeType, KeyExchangeMethod, ProtocolId


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
    g_ir: bytes
    is_original_initiator: bool


def _make_successor(old: IkeSa, agreed: _Agreed, now: float) -> Successor:
    """Derive the keys of the new IKE SA from the old one's SK_d.

    Source: RFC 7296 §2.18
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
        prf_of(old.suite), old.keys.sk_d, agreed.g_ir, agreed.ni, agreed.nr
    )
    keys = derive_ike_keys(
        agreed.suite, skeyseed, agreed.ni, agreed.nr, agreed.spi_i, agreed.spi_r
    )
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
    return Successor(new, min(agreed.ni, agreed.nr))


def _ike_spi(proposal: Proposal) -> bytes:
    """Read the peer's new SPI: 8 octets, not zero. Source: RFC 7296 §3.3.1."""
    if len(proposal.spi) != 8 or not any(proposal.spi):
        raise NoProposalChosenError(f"IKE SPI {proposal.spi.hex() or 'missing'}")
    return proposal.spi


class RekeyIkeSa(Exchange):
    """Our request to replace the IKE SA.

    Parameters
    ----------
    method : int or None
        The key exchange method that the peer asked for; by default the one in use.

    Source: RFC 7296 §1.3.2
    """

    exchange_type: ClassVar[ExchangeType] = ExchangeType.CREATE_CHILD_SA

    def __init__(self, method: int | None = None) -> None:
        self._is_method_asked = method is not None
        self._method = method or 0
        self._proposals: tuple[Proposal, ...] = ()
        self._spi = b""
        self._nonce = b""
        self._key_exchange: KeyExchange | None = None
        self.theirs: Successor | None = None
        """The IKE SA of the peer's own rekey, when both began at once."""

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return SA, Ni, KEi. Source: RFC 7296 §1.3.2."""
        if not sa.is_usable or sa.suite is None:
            return None
        self._method = self._method or sa.suite.ke or 0
        self._spi = sa.context.new_ike_spi()
        self._nonce = sa.context.new_nonce()
        proposals = without_additional_transforms(sa.policy.proposals)
        self._proposals = with_spi(proposals, self._spi)
        ours = key_exchange.generate(
            self._method, sa.context.entropy, "rekey_ike_sa.ke"
        )
        self._key_exchange = ours
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

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Make the new IKE SA, and settle who inherits.

        If both peers rekeyed at once, the IKE SA made with the lowest of the four
        nonces is redundant, and whoever asked for it deletes it; the other one inherits
        the Child SAs, and whoever asked for that deletes the old one.

        Source: RFC 7296 §2.8.2, RFC 7296 §2.18
        """
        raise_for_error(response.payloads)
        ours, theirs = self._accept(sa, response, now), self._living_theirs()
        if theirs is not None and ours.lowest_nonce < theirs.lowest_nonce:
            sa.hand_over(theirs.sa, now)
            ours.sa.want(DeleteIkeSa("redundant after a simultaneous rekey"))
            return
        sa.hand_over(ours.sa, now)
        keep_tokens(ours.sa, response.payloads)
        ours.sa.want(GiveToken())
        sa.want(DeleteIkeSa("rekeyed"))
        if theirs is not None:
            theirs.sa.await_deletion(now)

    def _living_theirs(self) -> Successor | None:
        theirs = self.theirs
        return theirs if theirs is not None and theirs.sa.is_usable else None

    def yield_to_peer(self, sa: IkeSa, now: float) -> bool:
        """Let the peer's new IKE SA inherit; ours is forgotten.

        Source: RFC 7296 §2.8.2
        """
        theirs, self.theirs = self._living_theirs(), None
        if theirs is None:
            return False
        sa.hand_over(theirs.sa, now)
        return True

    def abandon(self) -> None:
        """Close the peer's new IKE SA, too: nothing can inherit any more."""
        if self.theirs is not None:
            self.theirs.sa.close("the IKE SA it was to replace has ended")

    def _accept(self, sa: IkeSa, response: Received, now: float) -> Successor:
        # PARSE
        answer = need(response.payloads, SaPayload)
        ke = need(response.payloads, KePayload)
        nr = nonce_of(response.payloads)
        # CHECK
        try:
            suite = verify_choice(answer.proposals, self._proposals)
            spi_r = _ike_spi(answer.proposals[0])
        except NoProposalChosenError as error:
            # the peer has an IKE SA now that we have not. RFC 7296 §2.21.3
            raise MalformedMessageError(str(error)) from error
        if self._key_exchange is None or not ke.method == suite.ke == self._method:
            raise MalformedMessageError("the KE payload is not of the chosen method")
        # DERIVE
        g_ir = self._key_exchange.shared_secret(ke.public_value)
        agreed = _Agreed(suite, self._spi, spi_r, self._nonce, nr, g_ir, True)
        return _make_successor(sa, agreed, now)


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
    """Answer a request to replace the IKE SA: SA, Nr, KEr, [N(QCD_TOKEN)].

    Raises
    ------
    NoProposalChosenError, InvalidKePayloadError
        The offer is not acceptable.
    MalformedMessageError
        A payload is missing, or the public value fails its test.

    Source: RFC 7296 §1.3.2, RFC 7296 §2.25.2
    """
    # PARSE
    offer = need(request.payloads, SaPayload)
    ke = need(request.payloads, KePayload)
    ni = nonce_of(request.payloads)
    # CHECK
    accepted = without_additional_transforms(sa.policy.proposals)
    choice = choose_proposal(offer.proposals, accepted, ke.method)
    spi_i = _ike_spi(choice.proposal)
    if choice.suite.ke != ke.method:
        raise InvalidKePayloadError(choice.suite.ke or KeyExchangeMethod.NONE)
    # DERIVE
    entropy = sa.context.entropy
    ours = key_exchange.answer(ke.method, ke.public_value, entropy, "rekey_ike_sa.ke")
    g_ir = ours.shared_secret
    spi_r, nr = sa.context.new_ike_spi(), sa.context.new_nonce()
    agreed = _Agreed(choice.suite, spi_i, spi_r, ni, nr, g_ir, False)
    successor = _make_successor(sa, agreed, now)
    # UPDATE
    if isinstance(sa.exchange, RekeyIkeSa):
        # both at once: answer as usual, the nonces decide when our answer comes
        sa.exchange.theirs = successor
        sa.emit(Note("simultaneous-rekey", {"spi": sa.spi_local.hex()}))
    else:
        sa.hand_over(successor.sa, now)
    # REPLY
    answer = choice.proposal.with_number_and_spi(choice.proposal.number, spi_r)
    return [
        SaPayload((answer,)),
        NoncePayload(nr),
        KePayload(ke.method, ours.public_value),
        *token_payloads(successor.sa),
    ]
