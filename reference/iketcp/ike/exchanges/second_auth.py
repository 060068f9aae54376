"""IKE_AUTH once more, by EAP: the machine is authenticated, now for its user.

::

    initiator                                   responder
    IDi, AUTH, SA, TSi, TSr,
    N(MULTIPLE_AUTH_SUPPORTED),
    N(ANOTHER_AUTH_FOLLOWS)              →
                                         ←      IDr, AUTH
    IDi                                  →
                                         ←      EAP(Request)
    EAP(Response)                        →
    …
    AUTH                                 →
                                         ←      AUTH, SA, TSi, TSr

The first two messages are in :mod:`iketcp.ike.exchanges.ike_auth`; from EAP's first
Response on, :mod:`iketcp.ike.exchanges.eap_rounds` goes on as if EAP were all. IDi is
the user's now, and AUTH is made over that one.

Source: RFC 4739 §2.1
Source: RFC 4739 §2.3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.errors import AuthenticationFailedError, MalformedMessageError
from iketcp.ike.authentication import local_id_payload
from iketcp.ike.exchanges.ike_auth import IkeAuth, begin_asking, refusal
from iketcp.ike.payload_set import find, find_identity
from iketcp.ike.payloads import AuthPayload, EapPayload, IdPayload, Payload
from iketcp.ike.sa import IkeSa, Received
from iketcp.ike.states import IkeEvent


class SecondAuth(IkeAuth):
    """Our IKE_AUTH that begins EAP after a first proof.

    Parameters
    ----------
    before : IkeAuth
        The round before this one.

    Source: RFC 4739 §2.3
    """

    def __init__(self, before: IkeAuth) -> None:
        super().__init__()
        self.offer = before.offer
        self.responder = before.responder

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Return IDi, the user's; no AUTH asks for EAP."""
        sa.transition(IkeEvent.SEND_IKE_AUTH)
        return [local_id_payload(sa)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Answer EAP's first Request.

        Raises
        ------
        RefusedError
            The responder refused us.
        MalformedMessageError
            There is no EAP.

        Source: RFC 4739 §2.3, RFC 7296 §2.16
        """
        eap = find(response.payloads, EapPayload)
        if eap is None:
            raise refusal(response.payloads)
        self.answer_eap(sa, eap, is_alone=False)


def answer_second_auth(sa: IkeSa, request: Received) -> list[Payload]:
    """Answer the request that begins EAP after a first proof: EAP.

    What the first request asked for has to wait until this is over.

    Raises
    ------
    AuthenticationFailedError
        There is AUTH and not EAP.
    MalformedMessageError
        There is no IDi.

    Source: RFC 4739 §2.1, RFC 4739 §2.3
    """
    identity = find_identity(request.payloads, is_initiator=True)
    if identity is None:
        raise MalformedMessageError("no IDi")
    if find(request.payloads, AuthPayload) is not None:
        raise AuthenticationFailedError("AUTH where EAP has to begin")
    asked = [p for p in sa.first_auth if not _is_idi(p)]
    return [begin_asking(sa, identity, [identity, *asked], is_eap_only=False)]


def _is_idi(payload: Payload) -> bool:
    return isinstance(payload, IdPayload) and payload.is_initiator
