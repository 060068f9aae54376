"""IKE_AUTH without a Child SA: those come in CREATE_CHILD_SA, or not at all.

::

    initiator                                   responder
    SA, KE, Ni                           →
                                         ←      SA, KE, Nr, N(CHILDLESS_IKEV2_SUPPORTED)
    IDi, AUTH, [CP]                      →
                                         ←      IDr, AUTH, [CP]

Where a PPK is in use, what goes before a rekey is not protected by it. So the initiator
rekeys such an IKE SA first, and names selectors only then.

Source: RFC 6023 §3
Source: RFC 6023 §5
Source: RFC 8784 §6
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.errors import ExchangeError, MalformedMessageError
from iketcp.ike.exchanges.create_child_sa import CreateChild
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.payload_set import find_notify, need
from iketcp.ike.payloads import NotifyPayload, Payload, SaPayload, TsPayload
from iketcp.ike.policy import Childless, IkePolicy
from iketcp.ike.sa import IkeSa
from iketcp.registry import NotifyType, ProtocolId

# --- initiator ------------------------------------------------------------------------


def choose_childless(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Read from the IKE_SA_INIT response whether IKE_AUTH may go without a Child SA.

    Raises
    ------
    ExchangeError
        It may not, and we want nothing else.

    Source: RFC 6023 §3
    """
    answer = find_notify(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED)
    wish = sa.policy.childless
    if answer is None and wish is Childless.FORCE:
        raise ExchangeError("the responder makes no IKE SA without a Child SA")
    sa.is_childless = answer is not None and wish in (Childless.PREFER, Childless.FORCE)


def want_children(sa: IkeSa) -> None:
    """Queue the Child SAs that IKE_AUTH has not made.

    If that was to make none, they come behind a rekey of the IKE SA where this hides
    what they are.

    Source: RFC 6023 §5, RFC 8784 §6
    """
    if sa.is_childless and sa.ppk is not None:
        sa.want(RekeyIkeSa())
    for policy in sa.policy.children[0 if sa.is_childless else 1 :]:
        sa.want(CreateChild(policy))


# --- responder ------------------------------------------------------------------------


def announcement_payloads(policy: IkePolicy) -> list[Payload]:
    """Return N(CHILDLESS_IKEV2_SUPPORTED), if we do without a Child SA on request.

    Source: RFC 6023 §3, RFC 6023 §4
    """
    if policy.childless is Childless.NEVER:
        return []
    kind = NotifyType.CHILDLESS_IKEV2_SUPPORTED
    return [NotifyPayload(kind, protocol=ProtocolId.IKE)]


def is_childless(payloads: Sequence[Payload]) -> bool:
    """Tell an IKE_AUTH request that asks for no Child SA. Source: RFC 6023 §5."""
    return not any(isinstance(payload, SaPayload | TsPayload) for payload in payloads)


def check_child_asked(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Refuse an IKE_AUTH request that asks for no Child SA, unless we announced that.

    Raises
    ------
    MalformedMessageError
        There is no SA payload: the answer is INVALID_SYNTAX.

    Source: RFC 6023 §3
    """
    if sa.policy.childless is Childless.NEVER or not is_childless(payloads):
        need(payloads, SaPayload)


def check_none_made(payloads: Sequence[Payload]) -> None:
    """Refuse an IKE_AUTH response with a Child SA that nobody asked for.

    Raises
    ------
    MalformedMessageError
        There is one.

    Source: RFC 6023 §3
    """
    if not is_childless(payloads):
        raise MalformedMessageError("a Child SA that was not asked for")
