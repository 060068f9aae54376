"""INITIAL_CONTACT: "this IKE SA is the only one between you and me".

Whoever lost its memory in a crash, or its battery, comes back as a stranger, and its
peer still holds the IKE SA from before, with addresses and routes. An initiator that
has no other IKE SA says so in IKE_AUTH, under protection; once it is authenticated, the
other side forgets what it had with that same peer, and with nobody else. A connection
that is made anew for an IKE SA which lives is no such beginning: it needs no IKE_AUTH.

Source: RFC 7296 §2.4
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.ike.policy import Uniqueness
from iketcp.ike.sa import IkeSa
from iketcp.registry import NotifyType

Owner = TypeVar("Owner")


def initial_contact_payloads(sa: IkeSa) -> list[Payload]:
    """Return N(INITIAL_CONTACT), if the IKE SA that we begin is our only one.

    Never for an identity that several machines share. Source: RFC 7296 §2.4
    """
    if not sa.is_initial_contact or sa.policy.unique is Uniqueness.NEVER:
        return []
    return [NotifyPayload(NotifyType.INITIAL_CONTACT)]


def note_initial_contact(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Keep what the first IKE_AUTH request says until we know who says it.

    Source: RFC 7296 §2.4
    """
    notify = find_notify(payloads, NotifyType.INITIAL_CONTACT)
    sa.is_initial_contact = notify is not None


def superseded(
    sa: IkeSa, others: Iterable[tuple[IkeSa, Owner]]
) -> list[tuple[IkeSa, Owner]]:
    """Choose the IKE SAs that an initiator's new one, now authenticated, leaves behind.

    Parameters
    ----------
    others : Iterable[tuple[IkeSa, Owner]]
        Others with this peer, with whatever they belong to.

    Returns
    -------
    list[tuple[IkeSa, Owner]]
        Those between the same two identities, as far as policy asks for their end.
        Somebody who is not authenticated is never the same as another: its name is made
        of its own SPIs.

    Source: RFC 7296 §2.4, RFC 7619 §2.3
    """
    unique = sa.policy.unique
    is_alone = sa.is_initial_contact or unique is Uniqueness.REPLACE
    if sa.is_original_initiator or unique is Uniqueness.NEVER or not is_alone:
        return []
    ours = sa.policy.local_identity
    return [
        (other, owner)
        for other, owner in others
        if other.is_usable and other.policy.local_identity == ours
    ]
