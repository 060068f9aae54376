"""How much strangers may hold open: connections, and IKE SAs that wait for IKE_AUTH.

Whoever has not shown a valid message costs memory and may never show one. So such
connections and IKE SAs are counted, each kind for itself, in all and by address, and
there can be only so many [9329-6.1-idle]. How long each may wait is decided elsewhere.
What was refused and what waited in vain is counted too, for whoever looks after a peer.

Source: RFC 9329 §10
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class HalfOpen:
    """A count in all and by address.

    Parameters
    ----------
    limit : int
        In all.
    address_limit : int
        From one address.
    """

    limit: int
    address_limit: int
    total: int = 0
    by_address: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    """So many were one too many."""
    timed_out: int = 0
    """So many were there and showed nothing in time."""

    def refusal(self, address: str) -> str | None:
        """Say why ``address`` may not have one more now, and count it; or ``None``."""
        if self.total >= self.limit:
            self.refused += 1
            return "too many connections without a valid message"
        if self.by_address.get(address, 0) >= self.address_limit:
            self.refused += 1
            return "too many connections without a valid message from this address"
        return None

    def add(self, address: str) -> None:
        """Count one more."""
        self.total += 1
        self.by_address[address] = self.by_address.get(address, 0) + 1

    def remove(self, address: str, is_timed_out: bool = False) -> None:
        """Count one less; an address with none left is forgotten."""
        self.timed_out += is_timed_out
        self.total -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]
