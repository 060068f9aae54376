"""Two authentications of the initiator, one after the other: what is said about them.

The machine proves itself first, by a secret or a signature, and then its user by EAP.
Nothing is negotiated: both peers know that it takes two. The messages are in
:mod:`iketcp.ike.exchanges.second_auth`.

Source: RFC 4739 §2.1
Source: RFC 4739 §2.3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.errors import AuthenticationFailedError, ExchangeError
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.ike.policy import IkePolicy
from iketcp.registry import NotifyType

# --- initiator ------------------------------------------------------------------------


def gives_two(policy: IkePolicy) -> bool:
    """Tell whether we prove ourselves twice, by EAP the second time."""
    return policy.eap_peer is not None and policy.is_eap_second


def check_supported(policy: IkePolicy, payloads: Sequence[Payload]) -> None:
    """Look whether the responder's IKE_SA_INIT says that it takes two.

    Raises
    ------
    ExchangeError
        It does not, and we are to give two.

    Source: RFC 4739 §2.1
    """
    found = find_notify(payloads, NotifyType.MULTIPLE_AUTH_SUPPORTED)
    if gives_two(policy) and found is None:
        raise ExchangeError("the responder takes one authentication only")


def announcement_payloads(policy: IkePolicy) -> list[Payload]:
    """Return what the first IKE_AUTH request says about a second authentication.

    Source: RFC 4739 §2.3
    """
    if not gives_two(policy):
        return []
    return [
        NotifyPayload(NotifyType.MULTIPLE_AUTH_SUPPORTED),
        NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS),
    ]


def check_responder_gives_one(payloads: Sequence[Payload]) -> None:
    """Refuse a responder that wants to prove itself twice: we know one proof of it.

    Raises
    ------
    AuthenticationFailedError
        It does.

    Source: RFC 4739 §2.5
    """
    if find_notify(payloads, NotifyType.ANOTHER_AUTH_FOLLOWS) is not None:
        raise AuthenticationFailedError("the responder has more proofs than we take")


# --- responder ------------------------------------------------------------------------


def takes_two(policy: IkePolicy) -> bool:
    """Tell whether an initiator has to prove itself twice, by EAP the second time."""
    return policy.eap_authenticator is not None and policy.is_eap_second


def support_payloads(policy: IkePolicy) -> list[Payload]:
    """Return N(MULTIPLE_AUTH_SUPPORTED), if we ask for two. Source: RFC 4739 §3.1."""
    if not takes_two(policy):
        return []
    return [NotifyPayload(NotifyType.MULTIPLE_AUTH_SUPPORTED)]


def check_number(policy: IkePolicy, payloads: Sequence[Payload]) -> None:
    """Look whether an IKE_AUTH request with AUTH announces EAP as it has to.

    Raises
    ------
    AuthenticationFailedError
        There is to be EAP, and AUTH came before it or will be all.

    Source: RFC 4739 §2.1, RFC 7296 §2.16
    """
    if takes_two(policy):
        if find_notify(payloads, NotifyType.ANOTHER_AUTH_FOLLOWS) is None:
            raise AuthenticationFailedError("AUTH, and no EAP after it")
    elif policy.eap_authenticator is not None:
        raise AuthenticationFailedError("AUTH before EAP: everybody has to use EAP")
