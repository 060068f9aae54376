"""Which TCP connection is for which IKE SA of which UDP source.

Only one IKE SA, with those that follow by rekey, may go over one TCP connection
[9329-6.1-share]. A UDP source, an address with a port, may have several: a client that
has restarted begins another from the same port, while the gateway still has the old
one. IKE messages tell their IKE SA by its SPIs. ESP does not, but a new SPI of ESP
comes up right after the exchange that made it, so it belongs to the IKE SA that the
gateway last spoke about.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iketcp.ike.nat_detection import IpAddress, Path
from iketcp.relay.lines import Line
from iketcp.relay.messages import begins_ike_sa, esp_key
from iketcp.stream import MessageKind, StreamMessage


@dataclass(eq=False, slots=True)
class Carrier:
    """The connection for one IKE SA of a UDP source, or its place while it is lost."""

    path: Path
    line: Line | None = None
    """None while the connection is lost, before it is made again."""
    is_connected: bool = False
    waiting: list[StreamMessage] = field(default_factory=list)
    """Messages that wait for the connection."""
    waiting_octets: int = 0
    keys: dict[bytes, None] = field(default_factory=dict)
    """Initiator's SPIs of IKE SAs, 8 octets; SPIs of ESP towards the gateway, 4."""
    answered: int = 0
    """The more, the later the gateway last said something of IKE here."""
    lost_until: float = 0.0
    """After its connection is lost: when it is forgotten."""


class UdpSources:
    """Carriers by UDP source.

    Parameters
    ----------
    key_limit : int
        SPIs that are remembered for one carrier.

    Source: RFC 9329 §6.1
    """

    def __init__(self, key_limit: int) -> None:
        self._key_limit = key_limit
        self._by_path: dict[Path, list[Carrier]] = {}
        self._beginners: dict[tuple[IpAddress, bytes], Carrier] = {}
        self._answers = 0

    def add(self, carrier: Carrier, message: StreamMessage) -> None:
        """Add a carrier with its first message."""
        self._by_path.setdefault(carrier.path, []).append(carrier)
        key = key_of(message)
        self._learn(carrier, key)
        if not carrier.path.is_encapsulated:
            self._beginners.setdefault((carrier.path.remote_address, key), carrier)

    def remove(self, carrier: Carrier) -> None:
        """Forget a carrier."""
        self._leave(carrier)
        for key in carrier.keys:
            self._forget_beginner(carrier, key)

    def find(self, path: Path, message: StreamMessage) -> Carrier | None:
        """Return what carries a message; None if it needs another carrier.

        Source: RFC 9329 §6.1, RFC 7296 §2.23
        """
        key = key_of(message)
        carriers = self._by_path.get(path, [])
        for carrier in carriers:
            if key in carrier.keys:
                return carrier
        if (moved := self._moved(path, key)) is not None:
            return moved
        if not carriers or begins_ike_sa(message):
            return None
        carrier = self._latest(carriers)
        self._learn(carrier, key)
        return carrier

    def latest(self, path: Path) -> Carrier | None:
        """Return the carrier of a source on which the gateway last said something."""
        carriers = self._by_path.get(path)
        return None if carriers is None else self._latest(carriers)

    def answered(self, carrier: Carrier, message: bytes) -> None:
        """Note an IKE message of the gateway's."""
        self._answers += 1
        carrier.answered = self._answers
        self._learn(carrier, message[:8])

    def _latest(self, carriers: list[Carrier]) -> Carrier:
        return max(carriers, key=lambda carrier: carrier.answered)

    def _learn(self, carrier: Carrier, key: bytes) -> None:
        """Note whose SPI it is; one that comes up again is not the oldest any more."""
        carrier.keys.pop(key, None)
        carrier.keys[key] = None
        if len(carrier.keys) > self._key_limit:
            oldest = next(iter(carrier.keys))
            del carrier.keys[oldest]
            self._forget_beginner(carrier, oldest)

    def _moved(self, path: Path, key: bytes) -> Carrier | None:
        """Find who has begun an IKE SA on port 500, and goes on with it on 4500.

        Source: RFC 7296 §2.23
        """
        if not path.is_encapsulated:
            return None
        carrier = self._beginners.get((path.remote_address, key))
        if carrier is not None:
            self._forget_beginner(carrier, key)
            self._leave(carrier)
            carrier.path = path
            self._by_path.setdefault(path, []).append(carrier)
        return carrier

    def _leave(self, carrier: Carrier) -> None:
        carriers = self._by_path[carrier.path]
        carriers.remove(carrier)
        if not carriers:
            del self._by_path[carrier.path]

    def _forget_beginner(self, carrier: Carrier, key: bytes) -> None:
        place = carrier.path.remote_address, key
        if self._beginners.get(place) is carrier:
            del self._beginners[place]


def key_of(message: StreamMessage) -> bytes:
    """Return the SPI that a message shows: the initiator's of an IKE SA, or of ESP."""
    kind, octets = message
    return octets[:8] if kind is MessageKind.IKE else esp_key(octets)
