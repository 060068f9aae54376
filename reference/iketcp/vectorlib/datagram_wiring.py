"""Two endpoints that send each other datagrams, and a record of all that passes.

Like :mod:`iketcp.vectorlib.wiring`, but over UDP: nothing is connected, the first
messages go between the ports 500 and the others between the ports 4500, and a script
says which datagrams are lost.

Source: RFC 7296 §2.11, RFC 7296 §2.23, RFC 7383 §2.5
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address

from iketcp.effects import Effect, SendDatagrams
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.ike.fragments import message_size
from iketcp.ike.nat_detection import Path, Transport
from iketcp.ike.policy import IkePolicy
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.wiring import (
    DATE,
    EAST,
    SIDES,
    WEST,
    RecordingEntropy,
    Wiring,
    endpoint_of,
    other,
)

FRAGMENT_SIZE = message_size(4)
"""Octets of the largest IKE message that goes whole. Source: RFC 7383 §2.5.1."""

IKE, ENCAPSULATION = 500, 4500
_TRANSPORTS = {IKE: Transport.UDP, ENCAPSULATION: Transport.UDP_ENCAPSULATION}


def datagram_endpoint_of(
    side: str,
    policy: IkePolicy,
    entropy: RecordingEntropy,
    fragment_size: int = FRAGMENT_SIZE,
    date: datetime = DATE,
) -> Endpoint:
    """Make the endpoint of one side; east is a responder."""
    limits = DatagramPolicy(fragment_size=fragment_size)
    endpoint = endpoint_of(policy, entropy, date, limits)
    endpoint.datagrams.takes_first = side == EAST
    return endpoint


def way(here: Json, there: Json) -> Path:
    """Return the path between two ends, each an address and a port."""
    return Path(
        ip_address(here["address"]),
        here["port"],
        ip_address(there["address"]),
        there["port"],
        _TRANSPORTS[here["port"]],
    )


def ways(addresses: Json) -> tuple[Path, Path]:
    """Return west's two ways to east: between the ports 500, and the ports 4500."""
    first, then = (
        way(*({"address": addresses[side], "port": port} for side in SIDES))
        for port in (IKE, ENCAPSULATION)
    )
    return first, then


class DatagramWiring(Wiring):
    """Two endpoints, the datagrams under way between them, and the record.

    Parameters
    ----------
    policies, addresses, seed
        As for :class:`Wiring <iketcp.vectorlib.wiring.Wiring>`.
    """

    def __init__(
        self, policies: Mapping[str, IkePolicy], addresses: Mapping[str, str], seed: str
    ) -> None:
        super().__init__(policies, addresses, seed)
        self._under_way: deque[tuple[str, Path, bytes]] = deque()

    def _new_endpoint(self, side: str) -> Endpoint:
        return datagram_endpoint_of(side, self.policies[side], self.entropy[side])

    def begin(self) -> None:
        """Let west begin; nothing arrives yet."""
        self.wish(WEST, "begin")
        step = self._note("path", **self.addresses)
        self._run(WEST, self.endpoints[WEST].begin_over_udp(*ways(step), self.now))

    def lose_one(self) -> None:
        """Let the oldest datagram under way be lost."""
        self._arrive(is_lost=True)

    def settle(self) -> None:
        """Let everything arrive, and what comes of it."""
        while self._under_way:
            self._arrive()

    def _run(self, side: str, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendDatagrams):
                for octets in effect.datagrams:
                    self._under_way.append((side, effect.path, octets))
            else:
                super()._run(side, [effect])

    def _arrive(self, is_lost: bool = False) -> None:
        """Let the oldest datagram under way arrive, or be lost."""
        sender, path, octets = self._under_way.popleft()
        source = {"address": str(path.local_address), "port": path.local_port}
        target = {"address": str(path.remote_address), "port": path.remote_port}
        self._note(
            "datagram",
            sender=sender,
            arrives=not is_lost,
            source=source,
            target=target,
            octets=octets,
        )
        if not is_lost:
            there = other(sender)
            arrived = self.endpoints[there].datagrams_received(
                way(target, source), [octets], self.now
            )
            self._run(there, arrived)
