"""SAs that a peer has asked for, and that wait for further key exchanges.

When CREATE_CHILD_SA agrees on additional key exchanges, its answer makes no SA yet:
that is for the last IKE_FOLLOWUP_KE. In between the responder keeps what was agreed on,
under a *link* that it makes up and the initiator brings back. A link serves once. What
nobody comes back for is forgotten after a while.

Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iketcp.errors import StateNotFoundError, TemporaryFailureError
from iketcp.ike.child_record import Child
from iketcp.ike.payloads import Payload

PATIENCE_SECONDS = 20.0
"""Choice: how long the next IKE_FOLLOWUP_KE is awaited; RFC 9370 §2.2.4 says that 5 to
20 seconds should do."""

MAX_UNFINISHED = 8
"""Choice: of one peer at a time; memory per peer stays bounded."""

LINK_SIZE = 4
"""Choice: octets of the data that link one exchange to the next."""


@dataclass(slots=True, eq=False)
class Unfinished:
    """What one CREATE_CHILD_SA has agreed on."""

    methods: tuple[int, ...]
    """Methods of the key exchanges still to come, in their order."""
    finish: Callable[[Unfinished, float], list[Payload]]
    """Makes the SA, given this and the time in seconds; returns what the last answer
    says besides its KE payload."""
    lowest_nonce: bytes
    """Decides which of two simultaneous rekeys survives. RFC 7296 §2.8.1."""
    replaces: Child | None = None
    """The Child SA that it rekeys."""
    is_ike_rekey: bool = False
    secrets: bytes = field(default=b"", repr=False)
    """SK(1) | SK(2) | … of the key exchanges that are done. Source: RFC 9370 §2.2.4"""
    deadline: float = 0.0
    """When it is forgotten, in seconds."""

    def is_about_the_same(self, other: Unfinished) -> bool:
        """Tell whether both replace one SA, so that only one of them can be meant."""
        is_same_child = self.replaces is not None and self.replaces is other.replaces
        return is_same_child or (self.is_ike_rekey and other.is_ike_rekey)


class UnfinishedSas:
    """All of one IKE SA. Source: RFC 9370 §2.2.4."""

    __slots__ = ("_by_link", "_links")

    def __init__(self) -> None:
        self._by_link: dict[bytes, Unfinished] = {}
        self._links = 0

    def __len__(self) -> int:
        """Tell how many wait."""
        return len(self._by_link)

    def __contains__(self, unfinished: object) -> bool:
        """Tell whether this one still waits."""
        return any(one is unfinished for one in self._by_link.values())

    def check_room(self) -> None:
        """Tell whether one more may wait.

        Raises
        ------
        TemporaryFailureError
            There are many already.
        """
        if len(self) >= MAX_UNFINISHED:
            raise TemporaryFailureError("too much is unfinished already")

    def keep(self, unfinished: Unfinished, now: float) -> bytes:
        """Keep one until its next key exchange, and return the link to it.

        A peer that begins to replace an SA once more has given the first attempt up.
        """
        for link, other in list(self._by_link.items()):
            if unfinished.is_about_the_same(other):
                del self._by_link[link]
        self._links += 1
        new = self._links.to_bytes(LINK_SIZE, "big")
        unfinished.deadline = now + PATIENCE_SECONDS
        self._by_link[new] = unfinished
        return new

    def take(self, link: bytes) -> Unfinished:
        """Give one away, by its link.

        Raises
        ------
        StateNotFoundError
            There is none, or none any more.

        Source: RFC 9370 §2.2.4
        """
        unfinished = self._by_link.pop(link, None)
        if unfinished is None:
            raise StateNotFoundError("IKE_FOLLOWUP_KE to nothing that is known")
        return unfinished

    def drop(self, unfinished: Unfinished) -> None:
        """Forget one: its peer has lost against us. Source: RFC 9370 §2.2.4."""
        self._by_link = {
            link: one for link, one in self._by_link.items() if one is not unfinished
        }

    def expire(self, now: float) -> None:
        """Forget what had its time. Source: RFC 9370 §2.2.4."""
        self._by_link = {
            link: one for link, one in self._by_link.items() if now < one.deadline
        }

    def clear(self) -> None:
        """Forget all."""
        self._by_link = {}

    @property
    def deadline(self) -> float | None:
        """When the next of them is forgotten, in seconds; ``None``: there is none."""
        return min((one.deadline for one in self._by_link.values()), default=None)

    @property
    def has_ike_rekey(self) -> bool:
        """The peer is replacing the IKE SA."""
        return any(one.is_ike_rekey for one in self._by_link.values())

    @property
    def has_child(self) -> bool:
        """The peer is making or replacing a Child SA."""
        return any(not one.is_ike_rekey for one in self._by_link.values())

    def replaces(self, child: Child) -> bool:
        """Tell whether the peer is replacing this Child SA."""
        return any(one.replaces is child for one in self._by_link.values())
