"""Mixing a post-quantum preshared key (PPK) into the keys of an IKE SA.

Whoever records an IKE SA today and has a quantum computer one day learns g^ir, and with
it every key that comes of it. A secret that both peers have from elsewhere, the PPK, is
therefore mixed into SK_d, SK_pi and SK_pr: the keys of Child SAs and of later IKE SAs
depend on it, and so does AUTH.

::

    initiator                                   responder
    SA, KE, Ni, N(USE_PPK)               →
                                         ←      SA, KE, Nr, N(USE_PPK)
    IDi, AUTH, N(PPK_IDENTITY, PPK_ID),
    [N(NO_PPK_AUTH),] SA, TSi, TSr       →
                                         ←      IDr, AUTH, N(PPK_IDENTITY), SA, TSi, TSr

Where the initiator can do without, NO_PPK_AUTH has a second AUTH for a responder that
does not know this PPK; one that does without leaves N(PPK_IDENTITY) out. With EAP all
of this goes with the last AUTH of either peer; where the initiator has two proofs, with
the first one alone.

Source: RFC 8784 §3
Source: RFC 8784 §5.1
Source: RFC 8784 §5.2.3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from iketcp.errors import AuthenticationFailedError, DropError
from iketcp.ike.credentials import Ppk, Proof
from iketcp.ike.identity import Identity
from iketcp.ike.keys import mix_ppk, prf_of
from iketcp.ike.outputs import Note
from iketcp.ike.payload_set import find_notify, need
from iketcp.ike.payloads import AuthPayload, NotifyPayload, Payload, SaPayload
from iketcp.ike.policy import IkePolicy
from iketcp.ike.sa import IkeSa
from iketcp.registry import AuthMethod, NotifyType, PpkIdType

_REFUSAL = "the responder uses no PPK, and we insist on one"


def ppks_for(policy: IkePolicy, peer: Identity | None) -> tuple[Ppk, ...]:
    """Return the PPKs for a peer: its own, or those of everybody.

    Source: RFC 8784 §2
    """
    own = tuple(ppk for ppk in policy.ppks if peer is not None and ppk.peer == peer)
    return own or tuple(ppk for ppk in policy.ppks if ppk.peer is None)


def is_mandatory(policy: IkePolicy, peer: Identity | None) -> bool:
    """Tell whether there is no IKE SA with this peer without a PPK.

    So it is by configuration; and wherever a PPK is all that proves an identity.

    Source: RFC 8784 §2, RFC 8784 §5.2.3
    """
    ppks = ppks_for(policy, peer)
    is_only_proof = Proof.NULL in {policy.credential.proof, *policy.trust.proofs}
    return any(ppk.is_mandatory or is_only_proof for ppk in ppks)


def _mix(sa: IkeSa, ppk: Ppk) -> None:
    if sa.suite is None or sa.keys is None:
        raise LookupError("no keys yet")  # pragma: no cover - our own mistake
    sa.keys = mix_ppk(prf_of(sa.suite), sa.keys, ppk.key)
    sa.ppk = ppk


def _note_use(sa: IkeSa, peer: Identity | None) -> None:
    """Tell whether a PPK is used where we have one. Source: RFC 8784 §6."""
    if sa.ppk is not None:
        sa.emit(Note("ppk-used", {"ppk_id": sa.ppk.id.decode("ascii", "replace")}))
    elif ppks_for(sa.policy, peer):
        sa.emit(Note("ppk-unused", {"peer": str(peer)}))


# --- initiator ------------------------------------------------------------------------


def _own(sa: IkeSa) -> Ppk | None:
    """Return the PPK that we use with the responder, if we have one."""
    ppks = ppks_for(sa.policy, sa.policy.remote_identity)
    return ppks[0] if ppks else None


def offer_payloads(sa: IkeSa) -> list[Payload]:
    """Return N(USE_PPK) for the IKE_SA_INIT request, if we have a PPK.

    Source: RFC 8784 §3
    """
    return [] if _own(sa) is None else [NotifyPayload(NotifyType.USE_PPK)]


def check_offer_answered(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Over UDP, pass over an IKE_SA_INIT response without the PPK that we insist on.

    Anybody may have sent it, and the responder's own may still come: the request goes
    on as if there had been no answer.

    Raises
    ------
    DropError
        It is such a response.

    Source: RFC 8784 §6
    """
    is_last = any(isinstance(payload, SaPayload) for payload in payloads)
    if sa.path.is_udp and is_last and _is_missed(sa, payloads) and sa.sent is not None:
        sa.sent.doubt(_REFUSAL, sa.sent.deadline)
        raise DropError(_REFUSAL)


def take_agreement(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Read from the IKE_SA_INIT response whether a PPK is to be used.

    Raises
    ------
    AuthenticationFailedError
        It is not, and we insist on one.

    Source: RFC 8784 §3
    """
    if _is_missed(sa, payloads):
        raise AuthenticationFailedError(_REFUSAL)
    answer = find_notify(payloads, NotifyType.USE_PPK)
    sa.is_ppk_agreed = answer is not None and _own(sa) is not None


def _is_missed(sa: IkeSa, payloads: Sequence[Payload]) -> bool:
    is_missing = find_notify(payloads, NotifyType.USE_PPK) is None
    return is_missing and is_mandatory(sa.policy, sa.policy.remote_identity)


def proof_payloads(sa: IkeSa, prove: Callable[[], AuthPayload]) -> list[Payload]:
    """Return AUTH, and N(PPK_IDENTITY), [N(NO_PPK_AUTH)] where a PPK is to be used.

    Parameters
    ----------
    prove : Callable[[], AuthPayload]
        Makes AUTH with the keys that ``sa`` has at that time; called twice where the
        responder may choose.

    Source: RFC 8784 §3
    """
    ppk = _own(sa)
    if ppk is None or not sa.is_ppk_agreed or sa.first_auth:
        return [prove()]
    identity = bytes([PpkIdType.PPK_ID_FIXED]) + ppk.id
    notifies: list[Payload] = [NotifyPayload(NotifyType.PPK_IDENTITY, identity)]
    keys = sa.keys
    if not is_mandatory(sa.policy, sa.policy.remote_identity):
        without = prove().data
        notifies.append(NotifyPayload(NotifyType.NO_PPK_AUTH, without))
    _mix(sa, ppk)
    auth = prove()
    sa.keys, sa.ppk = keys, None  # which of both holds, the responder says
    return [auth, *notifies]


def take_confirmation(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Mix the PPK in if the responder has done so; called before its AUTH is checked.

    Raises
    ------
    AuthenticationFailedError
        It has not, and we insist on it.

    Source: RFC 8784 §3
    """
    if sa.first_auth:
        return
    ppk, peer = _own(sa), sa.policy.remote_identity
    is_used = find_notify(payloads, NotifyType.PPK_IDENTITY) is not None
    if ppk is not None and sa.is_ppk_agreed and is_used:
        _mix(sa, ppk)
    elif sa.is_ppk_agreed and is_mandatory(sa.policy, peer):
        raise AuthenticationFailedError("the responder does not use the PPK")
    _note_use(sa, peer)


# --- responder ------------------------------------------------------------------------


def agreement_payloads(sa: IkeSa, payloads: Sequence[Payload]) -> list[Payload]:
    """Return N(USE_PPK) for the IKE_SA_INIT response, if both of us have PPKs.

    Source: RFC 8784 §3
    """
    offer = find_notify(payloads, NotifyType.USE_PPK)
    sa.is_ppk_agreed = offer is not None and bool(sa.policy.ppks)
    return [NotifyPayload(NotifyType.USE_PPK)] if sa.is_ppk_agreed else []


def check_offered(sa: IkeSa, peer: Identity) -> None:
    """Refuse an initiator without PPK where we insist on one.

    Raises
    ------
    AuthenticationFailedError
        It is one.

    Source: RFC 8784 §3 (Table 1)
    """
    if not sa.is_ppk_agreed and is_mandatory(sa.policy, peer):
        raise AuthenticationFailedError(f"{peer} offers no PPK, and we insist on one")


def take_proof(
    sa: IkeSa, peer: Identity, payloads: Sequence[Payload]
) -> Sequence[Payload]:
    """Find the initiator's PPK and mix it in; or do without, if both of us can.

    Parameters
    ----------
    peer : Identity
        Who the initiator says it is.
    payloads : Sequence[Payload]
        The request with its AUTH.

    Returns
    -------
    Sequence[Payload]
        The same; but without PPK, AUTH is what N(NO_PPK_AUTH) has.

    Raises
    ------
    AuthenticationFailedError
        There is no IKE SA without a PPK, and none that we both know for this peer.

    Source: RFC 8784 §3 (Table 1)
    """
    if sa.first_auth:
        return payloads
    check_offered(sa, peer)
    if sa.is_ppk_agreed:
        payloads = _choose(sa, peer, payloads)
    _note_use(sa, peer)
    return payloads


def _choose(
    sa: IkeSa, peer: Identity, payloads: Sequence[Payload]
) -> Sequence[Payload]:
    identity = find_notify(payloads, NotifyType.PPK_IDENTITY)
    if identity is None:
        raise AuthenticationFailedError("no PPK_IDENTITY after USE_PPK")
    for ppk in ppks_for(sa.policy, peer):
        if identity.data == bytes([PpkIdType.PPK_ID_FIXED]) + ppk.id:
            _mix(sa, ppk)
            return payloads
    auth = need(payloads, AuthPayload)
    without = find_notify(payloads, NotifyType.NO_PPK_AUTH)
    is_only_proof = auth.method == AuthMethod.NULL  # RFC 8784 §5.2.3
    if without is None or is_only_proof or is_mandatory(sa.policy, peer):
        raise AuthenticationFailedError(f"the PPK that {peer} names is not one of its")
    own = replace(auth, data=without.data)
    return [own if payload is auth else payload for payload in payloads]


def confirmation_payloads(sa: IkeSa) -> list[Payload]:
    """Return N(PPK_IDENTITY), without data, if a PPK is mixed in. RFC 8784 §3."""
    if sa.ppk is None or sa.first_auth:
        return []
    return [NotifyPayload(NotifyType.PPK_IDENTITY)]
