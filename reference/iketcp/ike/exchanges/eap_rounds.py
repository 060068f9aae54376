"""IKE_AUTH in rounds: EAP messages both ways, then AUTH from the key they made.

::

    initiator                                   responder
    IDi, [IDr,] SA, TSi, TSr             →
                                         ←      IDr, [AUTH,] EAP(Request)
    EAP(Response)                        →
                                         ←      EAP(Request, or Success)
    …
    AUTH                                 →
                                         ←      AUTH, SA, TSi, TSr

A PPK goes with the last two AUTH; the responder's first one is without.

Each round is an exchange with a Message ID of its own. The first one is in
:mod:`iketcp.ike.exchanges.ike_auth`; here are all others. Until the last one the
responder's IKE SA is half-open, and all rounds together have the time that a single
IKE_AUTH has.

Source: RFC 7296 §2.16
Source: RFC 5998 §3
Source: RFC 8784 §3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.peer import EapPeer
from iketcp.errors import EapFailedError, MalformedMessageError
from iketcp.ike import ppk
from iketcp.ike.authentication import check_eap_auth, eap_auth, local_id_payload
from iketcp.ike.connections import choose_connection_of_user
from iketcp.ike.exchanges.ike_auth import (
    IkeAuth,
    authenticated,
    give_child,
    refusal,
)
from iketcp.ike.identity import Identity, eap_identity
from iketcp.ike.payload_set import find, find_identity, need
from iketcp.ike.payloads import AuthPayload, EapPayload, IdPayload, Payload
from iketcp.ike.sa import IkeSa, Received
from iketcp.ike.states import IkeEvent

# --- initiator ------------------------------------------------------------------------


class EapRound(IkeAuth):
    """A further IKE_AUTH of ours: what we say in EAP, or AUTH once it has succeeded.

    Parameters
    ----------
    before : IkeAuth
        The round before this one.

    Source: RFC 7296 §2.16
    """

    def __init__(self, before: IkeAuth) -> None:
        super().__init__()
        self.offer = before.offer
        self.responder = before.responder
        self._response = before.eap_response

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Return EAP, or AUTH and what a PPK asks for."""
        sa.transition(IkeEvent.SEND_IKE_AUTH)
        if self._response:
            return [EapPayload(self._response)]
        msk, ours = _peer(sa).msk, local_id_payload(sa)
        return ppk.proof_payloads(sa, lambda: eap_auth(sa, msk, ours, is_ours=True))

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Go on with EAP; or authenticate the responder once more, by the key.

        Raises
        ------
        RefusedError
            The responder refused us.
        EapFailedError
            EAP failed on one side or the other.
        AuthenticationFailedError
            The responder does not know the key.
        MalformedMessageError
            A payload is missing.

        Source: RFC 7296 §2.16
        """
        payloads = response.payloads
        if self._response:
            eap = find(payloads, EapPayload)
            if eap is None:
                raise refusal(payloads)
            self.eap_response = _peer(sa).receive(eap.message) or b""
            return
        auth = find(payloads, AuthPayload)
        if auth is None:
            raise refusal(payloads)
        responder = self._responder()
        ppk.take_confirmation(sa, payloads)
        check_eap_auth(sa, _peer(sa).msk, responder, auth)
        authenticated(sa, str(Identity(responder.id_type, responder.data)), now)
        self.take_child(sa, payloads, now)

    def _responder(self) -> IdPayload:
        if self.responder is None:
            raise LookupError("a round of EAP without its first")  # pragma: no cover
        return self.responder


def _peer(sa: IkeSa) -> EapPeer:
    if sa.eap is None or not isinstance(sa.eap.conversation, EapPeer):
        raise LookupError("no EAP under way")  # pragma: no cover
    return sa.eap.conversation


# --- responder ------------------------------------------------------------------------


def answer_eap_round(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer a further IKE_AUTH request.

    Returns
    -------
    list[Payload]
        EAP; or AUTH, [N(PPK_IDENTITY),] [CP(CFG_REPLY),] and SA, TSi, TSr or the Notify
        of what failed.

    Raises
    ------
    EapFailedError
        With the EAP Failure that is the answer.
    AuthenticationFailedError
        EAP succeeded, but AUTH was not made with its key.
    MalformedMessageError
        EAP or AUTH is missing.

    Source: RFC 7296 §2.16
    """
    eap = sa.eap
    if eap is None or not isinstance(eap.conversation, EapAuthenticator):
        raise LookupError("no EAP under way")  # pragma: no cover
    conversation = eap.conversation
    if conversation.is_over:
        return _finish(sa, conversation, eap.request, request.payloads, now)
    message = conversation.receive(need(request.payloads, EapPayload).message)
    if conversation.failure:
        raise EapFailedError(f"EAP: {conversation.failure}", message)
    sa.transition(IkeEvent.ANSWER_EAP)
    return [EapPayload(message)]


def _finish(
    sa: IkeSa,
    conversation: EapAuthenticator,
    request: tuple[Payload, ...],
    payloads: tuple[Payload, ...],
    now: float,
) -> list[Payload]:
    """Check the initiator's AUTH, make ours, and do what the first request asked for.

    Parameters
    ----------
    request : tuple[Payload, ...]
        The first request.
    payloads : tuple[Payload, ...]
        The last one, with AUTH.

    From here on the initiator is who EAP says it is, whatever IDi said.

    Source: RFC 7296 §2.16
    """
    claimed = find_identity(request, is_initiator=True)
    if claimed is None:
        raise MalformedMessageError("no IDi")  # pragma: no cover - it was checked
    peer, msk = Identity(claimed.id_type, claimed.data), conversation.msk
    auth = need(ppk.take_proof(sa, peer, payloads), AuthPayload)
    check_eap_auth(sa, msk, claimed, auth)
    choose_connection_of_user(sa, conversation.identity)
    ours = eap_auth(sa, msk, local_id_payload(sa), is_ours=True)
    answer = [ours, *ppk.confirmation_payloads(sa)]
    authenticated(sa, eap_identity(conversation.identity), now)
    return [*answer, *give_child(sa, request, now)]
