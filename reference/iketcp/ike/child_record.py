"""A Child SA as its IKE SA sees it: where it stands, and what took its place.

Source: RFC 7296 §2.8
Source: RFC 7296 §2.25.1
"""

from __future__ import annotations

from iketcp.child_sa import ChildSaParameters
from iketcp.ike.lifetime import LifetimeWatch
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.states import ChildEvent, ChildState, next_child_state


class Child:
    """A Child SA as its IKE SA sees it."""

    __slots__ = (
        "is_rekey_tried",
        "lowest_nonce",
        "parameters",
        "policy",
        "replaced_by",
        "state",
        "watch",
    )

    def __init__(
        self,
        policy: ChildPolicy,
        parameters: ChildSaParameters,
        watch: LifetimeWatch,
        nonces: tuple[bytes, bytes],
    ) -> None:
        self.policy = policy
        self.parameters = parameters
        self.watch = watch
        self.lowest_nonce = min(nonces)
        """Decides which of two simultaneous rekeys survives. RFC 7296 §2.8.1."""
        self.state = ChildState.INSTALLED
        self.is_rekey_tried = False
        self.replaced_by = b""
        """SPI (in) of the Child SA that took its place, 4 octets; empty if none."""

    @property
    def spi_in(self) -> bytes:
        """SPI of packets to us, 4 octets."""
        return self.parameters.spi_in

    def transition(self, event: ChildEvent) -> None:
        """Move to the state the table gives."""
        self.state = next_child_state(self.state, event)

    def replace_by(self, successor: Child) -> None:
        """Note which Child SA took its place. Source: RFC 7296 §2.8."""
        self.is_rekey_tried = True
        self.transition(ChildEvent.REPLACE)
        self.replaced_by = successor.spi_in
