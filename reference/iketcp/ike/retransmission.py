"""When a request is sent again, over a transport that may lose it.

Only the initiator of an exchange sends again, octet for octet; its peer answers again
when asked again. The pauses double, so that peers who wait do not fill a network that
is full already, up to a longest pause. A random share is taken off each, so that those
who began together do not go on together.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.4
"""

from dataclasses import dataclass

from iketcp.environment import Entropy, jitter

SHARE = 0.25
"""Choice: the largest share by which a pause is shortened at random."""


@dataclass(frozen=True, slots=True)
class RetransmissionPolicy:
    """How long we wait for an answer over UDP.

    The defaults send a request at least a dozen times again, over five minutes.

    Source: RFC 7296 §2.4
    """

    first_seconds: float = 1.0
    """The first pause, before the share that is taken off."""
    longest_seconds: float = 30.0
    total_seconds: float = 300.0
    """Without an answer for so long, the IKE SA ends."""


class Retransmission:
    """The repetitions of one request.

    Parameters
    ----------
    policy : RetransmissionPolicy
        The pauses.
    entropy : Entropy
        For what is taken off.
    now : float
        When the request was sent first, in seconds.
    """

    def __init__(
        self, policy: RetransmissionPolicy, entropy: Entropy, now: float
    ) -> None:
        self._policy = policy
        self._entropy = entropy
        self._pause = policy.first_seconds
        self.at = self._due(now)
        """When the next repetition is due, in seconds."""

    def repeated(self, now: float) -> None:
        """Note a repetition; the next pause is twice as long, up to the longest.

        Source: RFC 7296 §2.4
        """
        self._pause = min(2 * self._pause, self._policy.longest_seconds)
        self.at = self._due(now)

    def _due(self, now: float) -> float:
        label = "retransmission.jitter"
        return now + jitter(self._entropy, label, self._pause, SHARE)
