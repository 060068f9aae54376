"""Which of several connections a peer comes in by: a responder's choice.

Algorithms are agreed on before anybody has said who it is, so those are the same for
all. Everything else follows from IDi: which proof is taken, which secret or authority
counts, which Child SAs and addresses are to be had. IDr chooses, too, where the
initiator says to whom it wants to speak. With EAP, IDi means nothing: only the name
that EAP has proved chooses, at the end.

Source: RFC 7296 §2.15
Source: RFC 7296 §2.16
Source: RFC 7296 §3.5
Source: RFC 4301 §4.4.3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.errors import AuthenticationFailedError
from iketcp.ike.identity import Identity, user_identity
from iketcp.ike.payload_set import find, find_identity
from iketcp.ike.payloads import AuthPayload, IdPayload, Payload
from iketcp.ike.policy import IkePolicy
from iketcp.ike.sa import IkeSa


def choose_connection(
    sa: IkeSa, claimed: IdPayload, payloads: Sequence[Payload]
) -> None:
    """Give the IKE SA the policy for whom its initiator claims to be.

    Nothing is proved by that: AUTH is then held against that policy alone. A request
    without AUTH asks for EAP, and gets the first connection that has it.

    Raises
    ------
    AuthenticationFailedError
        There is none; the peer hears no more than of a wrong secret.

    Source: RFC 7296 §1.2, RFC 7296 §2.16, RFC 7296 §2.21.2
    """
    if not sa.policy.connections:
        return
    peer = Identity(claimed.id_type, claimed.data)
    if find(payloads, AuthPayload) is None:
        fitting = [c for c in sa.policy.connections if c.eap_authenticator is not None]
    else:
        fitting = [
            c
            for c in sa.policy.connections
            if c.eap_authenticator is None and c.is_for(peer)
        ]
    if not fitting:
        raise AuthenticationFailedError(f"no connection is for {peer}")
    sa.policy = _as_asked(fitting, find_identity(payloads, is_initiator=False))


def _as_asked(fitting: Sequence[IkePolicy], asked: IdPayload | None) -> IkePolicy:
    """Prefer the identity of ours that the initiator asks for; else the first.

    RFC 7296 §1.2 lets a responder be somebody else than was asked for.
    """
    if asked is not None:
        wanted = Identity(asked.id_type, asked.data)
        for connection in fitting:
            if connection.local_identity.matches(wanted):
                return connection
    return fitting[0]


def choose_connection_of_user(sa: IkeSa, name: bytes) -> None:
    """Give the IKE SA the policy for the user that EAP has proved.

    Only a connection under which we are who we said we are: the initiator has verified
    that already.

    Raises
    ------
    AuthenticationFailedError
        There is none for this user.

    Source: RFC 7296 §2.16
    """
    connections, begun = sa.context.policy.connections, sa.policy
    user = user_identity(name)
    for connection in connections:
        is_for_eap = connection.eap_authenticator is not None
        is_same_end = connection.local_identity == begun.local_identity
        if is_for_eap and is_same_end and connection.is_for(user):
            sa.policy = connection
            return
    if not connections:
        return
    raise AuthenticationFailedError(f"no connection is for the user {user}")
