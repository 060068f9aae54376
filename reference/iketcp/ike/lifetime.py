"""Lifetimes: when an SA asks to be rekeyed, and when it must not be used any more.

Nothing about lifetimes is negotiated; each peer watches its own. The moment of rekeying
is moved forward by a random share so that two peers with equal policies seldom collide.

Source: RFC 7296 §2.8
Source: RFC 7296 §2.8.1
"""

from enum import Enum

from iketcp.environment import Entropy, jitter
from iketcp.ike.policy import Lifetime


class Age(Enum):
    """Where an SA stands in its life."""

    YOUNG = "young"
    SOFT = "rekey is due"
    HARD = "expired"


class LifetimeWatch:
    """The limits of one SA, jittered once when it is made.

    Parameters
    ----------
    lifetime : Lifetime
        The policy.
    entropy : Entropy
        For the jitter.
    now : float
        When the SA came up, in seconds.
    """

    __slots__ = (
        "_hard_octets",
        "_hard_packets",
        "_soft_octets",
        "_soft_packets",
        "hard_at",
        "soft_at",
    )

    def __init__(self, lifetime: Lifetime, entropy: Entropy, now: float) -> None:
        share = jitter(entropy, "lifetime.jitter", 1.0, lifetime.jitter)
        past = 1.0 + lifetime.grace
        seconds, octets, packets = lifetime.seconds, lifetime.octets, lifetime.packets
        self.soft_at = None if seconds is None else now + seconds * share
        self.hard_at = None if seconds is None else now + seconds * past
        self._soft_octets = None if octets is None else octets * share
        self._hard_octets = None if octets is None else octets * past
        self._soft_packets = None if packets is None else packets * share
        self._hard_packets = None if packets is None else packets * past

    def age(self, now: float, octets: int = 0, packets: int = 0) -> Age:
        """Say where the SA stands.

        Parameters
        ----------
        now : float
            Seconds.
        octets, packets : int
            What the SA has carried so far, in the busier direction.

        Source: RFC 7296 §2.8
        """
        limits = (
            (now, self.soft_at, self.hard_at),
            (octets, self._soft_octets, self._hard_octets),
            (packets, self._soft_packets, self._hard_packets),
        )
        age = Age.YOUNG
        for used, soft, hard in limits:
            if hard is not None and used >= hard:
                return Age.HARD
            if soft is not None and used >= soft:
                age = Age.SOFT
        return age
