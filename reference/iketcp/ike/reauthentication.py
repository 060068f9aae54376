"""When two peers have to authenticate each other anew.

Rekeying gives fresh keys and asks nobody who it is. Whether a peer still has its
secret, whether its certificate is still valid, only a new IKE SA shows, from
IKE_SA_INIT on. So the time of authentication goes over to every IKE SA that a rekey
makes. The initiator begins anew at the earlier of two times: its own, and the one that
the responder told it by AUTH_LIFETIME. An IKE SA that stays beyond its time is ended by
either side.

Source: RFC 7296 §2.8.3 (which names RFC 4478 for what a responder says)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iketcp.ike.lifetime import Age, LifetimeWatch
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.ike.sa import IkeSa
from iketcp.registry import NotifyType

AHEAD = 0.9
"""Choice: the share of an announced time after which we begin, at the latest."""

LEAST_SECONDS = 10.0
"""Choice: no responder makes us begin anew more often."""


def watch_authentication(sa: IkeSa, now: float) -> None:
    """Begin to count: both peers have just proved who they are.

    Source: RFC 7296 §2.8.3
    """
    if sa.policy.reauthentication.seconds is not None:
        entropy = sa.context.entropy
        sa.authentication = LifetimeWatch(sa.policy.reauthentication, entropy, now)


def auth_lifetime_payloads(sa: IkeSa) -> list[Payload]:
    """Tell an initiator by when it has to be back: N(AUTH_LIFETIME), if ever.

    Source: RFC 7296 §2.8.3
    """
    seconds = sa.policy.reauthentication.seconds
    if seconds is None:
        return []
    data = min(int(seconds), 0xFFFF_FFFF).to_bytes(4, "big")
    return [NotifyPayload(NotifyType.AUTH_LIFETIME, data)]


def heed_auth_lifetime(sa: IkeSa, payloads: Sequence[Payload], now: float) -> None:
    """Obey N(AUTH_LIFETIME) of a responder: 4 octets, seconds from now on.

    One of another size says nothing.

    Source: RFC 7296 §2.8.3
    """
    notify = find_notify(payloads, NotifyType.AUTH_LIFETIME)
    if notify is None or len(notify.data) != 4:
        return
    seconds = max(LEAST_SECONDS, float(int.from_bytes(notify.data, "big")))
    lifetime = replace(sa.policy.reauthentication, seconds=seconds * AHEAD)
    announced = LifetimeWatch(lifetime, sa.context.entropy, now)
    ours = sa.authentication
    if ours is None or _begins(announced) < _begins(ours):
        sa.authentication = announced


def _begins(watch: LifetimeWatch) -> float:
    return float("inf") if watch.soft_at is None else watch.soft_at


def is_reauthentication_due(sa: IkeSa, now: float) -> bool:
    """Tell whether an initiator should begin anew. Source: RFC 7296 §2.8.3."""
    watch = sa.authentication
    return sa.is_usable and watch is not None and watch.age(now) is not Age.YOUNG


def is_authentication_too_old(sa: IkeSa, now: float) -> bool:
    """Tell whether an IKE SA must not be used any more. Source: RFC 7296 §2.8.3."""
    watch = sa.authentication
    return watch is not None and watch.age(now) is Age.HARD
