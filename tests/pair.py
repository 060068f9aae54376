"""Two endpoints wired back to back: a scripted clock, scripted entropy, no sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from iketcp.effects import (
    CloseConnection,
    ConnectionId,
    DeliverInner,
    Effect,
    OpenConnection,
    Trace,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.environment import ScriptedEntropy
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import ChildPolicy, IkePolicy, Lifetime, PoolPolicy
from iketcp.mapping import MappingPolicy
from iketcp.selectors import TrafficSelector

WEST, EAST = "west", "east"
SECRET = b"a secret of more than sixteen octets"


def child_policy(
    name: str = "net",
    proposal: str = "aes256gcm16-x25519",
    local: str = "10.0.1.0/24",
    remote: str = "10.0.2.0/24",
    **changes: object,
) -> ChildPolicy:
    """Make a Child SA policy."""
    policy = ChildPolicy(
        name=name,
        proposals=(parse_esp_proposal(proposal),),
        local_ts=(TrafficSelector.parse(local),),
        remote_ts=(TrafficSelector.parse(remote),),
    )
    return replace(policy, **changes)


def ike_policy(
    side: str, proposal: str = "aes256gcm16-prfsha256-x25519", **changes: object
) -> IkePolicy:
    """Make the policy of one side; the two sides fit each other."""
    local, remote = ("10.0.1.0/24", "10.0.2.0/24")
    ours, theirs = "west.example", "east.example"
    if side == EAST:
        local, remote, ours, theirs = remote, local, theirs, ours
    policy = IkePolicy(
        proposals=(parse_ike_proposal(proposal),),
        local_identity=Identity.parse(ours),
        remote_identity=Identity.parse(theirs),
        secrets={Identity.parse(theirs): SECRET},
        children=(child_policy(local=local, remote=remote),),
        lifetime=Lifetime(seconds=None),
        liveness_seconds=None,
    )
    children = changes.pop("children", None)
    if children is None:
        quiet = Lifetime(seconds=None)
        children = tuple(replace(c, lifetime=quiet) for c in policy.children)
    return replace(policy, children=children, **changes)


def ipv4_packet(
    source: str, destination: str, payload: bytes = b"payload", protocol: int = 17
) -> bytes:
    """Make an inner IPv4 packet; the payload begins with two ports."""
    body = b"\x13\x88\x13\x89" + payload
    size = (20 + len(body)).to_bytes(2, "big")
    addresses = ip_address(source).packed + ip_address(destination).packed
    head = b"\x45\0" + size + b"\0\1\x40\0\x40" + bytes([protocol]) + b"\0\0"
    return head + addresses + body


@dataclass
class Side:
    """One endpoint and what came out of it."""

    name: str
    endpoint: Endpoint
    delivered: list[bytes] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    wanted: list[float] = field(default_factory=list)

    def traces(self, kind: str) -> list[dict[str, object]]:
        """All traces of one kind so far."""
        return [
            dict(e.fields)
            for e in self.effects
            if isinstance(e, Trace) and e.kind == kind
        ]


class Pair:
    """A west endpoint (TCP Originator) and an east endpoint on a scripted wire.

    Octets wait in ``wire`` until :meth:`deliver` or :meth:`settle` moves them, so a
    test can drop, reorder, change or repeat them.
    """

    def __init__(
        self,
        west: IkePolicy | None = None,
        east: IkePolicy | None = None,
        mapping: MappingPolicy = MappingPolicy(),
        addresses: tuple[str, str] = ("192.0.2.1", "192.0.2.2"),
        seed: str = "",
    ) -> None:
        self.now = 0.0
        self.addresses = addresses
        self.west = Side(
            WEST,
            Endpoint(west or ike_policy(WEST), mapping, ScriptedEntropy(f"{seed}west")),
        )
        self.east = Side(
            EAST,
            Endpoint(east or ike_policy(EAST), mapping, ScriptedEntropy(f"{seed}east")),
        )
        self.wire: deque[tuple[str, ConnectionId, bytes]] = deque()
        self.open: set[ConnectionId] = set()
        self._next_id = 0
        self.tap: Callable[[str, ConnectionId, bytes], bytes | None] | None = None
        self.sent: list[tuple[str, ConnectionId, bytes]] = []

    def side(self, name: str) -> Side:
        """Find a side by name."""
        return self.west if name == WEST else self.east

    def other(self, name: str) -> str:
        """Name the other side."""
        return EAST if name == WEST else WEST

    def run(self, name: str, effects: Iterable[Effect]) -> None:
        """Carry effects of one side out."""
        side = self.side(name)
        for effect in effects:
            side.effects.append(effect)
            if isinstance(effect, Transmit):
                self.sent.append((name, effect.connection, effect.octets))
                if effect.connection in self.open:
                    self.wire.append((name, effect.connection, effect.octets))
            elif isinstance(effect, DeliverInner):
                side.delivered += effect.packets
            elif isinstance(effect, OpenConnection):
                side.wanted.append(effect.delay_seconds)
            elif isinstance(effect, CloseConnection):
                self._closed(effect.connection, name)

    def _closed(self, id: ConnectionId, by: str) -> None:
        if id not in self.open:
            return
        self.deliver_on(id)
        self.open.discard(id)
        other = self.other(by)
        lost = self.side(other).endpoint.connection_lost(id, "FIN", self.now)
        self.run(other, lost)

    def connect(self, port: int = 40000, address: str | None = None) -> ConnectionId:
        """Open a connection from west to east."""
        self._next_id += 1
        id = ConnectionId(self._next_id)
        self.open.add(id)
        west = ip_address(address or self.addresses[0])
        east = ip_address(self.addresses[1])
        there = Path(west, port + id, east, 4500)
        back = Path(east, 4500, west, port + id)
        self.run(EAST, self.east.endpoint.connection_opened(id, back, False, self.now))
        self.run(WEST, self.west.endpoint.connection_opened(id, there, True, self.now))
        return id

    def deliver(self) -> bool:
        """Move the oldest waiting octets; returns whether there were any."""
        if not self.wire:
            return False
        sender, id, octets = self.wire.popleft()
        if id not in self.open:
            return True
        if self.tap is not None:
            changed = self.tap(sender, id, octets)
            if changed is None:
                return True
            octets = changed
        receiver = self.other(sender)
        self.run(
            receiver,
            self.side(receiver).endpoint.octets_received(id, octets, self.now),
        )
        return True

    def deliver_on(self, id: ConnectionId) -> None:
        """Move everything that waits on one connection."""
        waiting = [item for item in self.wire if item[1] == id]
        rest = [item for item in self.wire if item[1] != id]
        self.wire.clear()
        self.wire.extend(waiting)
        while self.deliver():
            pass
        self.wire.extend(rest)

    def settle(self, limit: int = 1000) -> None:
        """Deliver until nothing waits."""
        for _ in range(limit):
            if not self.deliver():
                return
        raise AssertionError("the two never stop talking")

    def break_connection(self, id: ConnectionId) -> None:
        """Cut a connection without a word; what is under way is lost."""
        self.open.discard(id)
        self.wire = deque(item for item in self.wire if item[1] != id)
        for name in (WEST, EAST):
            lost = self.side(name).endpoint.connection_lost(id, "RST", self.now)
            self.run(name, lost)

    def advance(self, seconds: float) -> None:
        """Let time pass on both sides and deliver what comes of it."""
        self.now += seconds
        for name in (WEST, EAST):
            self.run(name, self.side(name).endpoint.time_passed(self.now))
        self.settle()

    def up(self) -> ConnectionId:
        """Establish a session and return its connection."""
        self.run(WEST, self.west.endpoint.initiate())
        id = self.connect()
        self.settle()
        return id

    def send(self, name: str, packet: bytes) -> None:
        """Let one side's tunnel device produce a packet."""
        self.run(name, self.side(name).endpoint.inner_packets([packet]))

    def ping(self, count: int = 1) -> None:
        """Send packets both ways and check that they come through unchanged."""
        for number in range(count):
            there = ipv4_packet("10.0.1.1", "10.0.2.1", b"there %d" % number)
            back = ipv4_packet("10.0.2.1", "10.0.1.1", b"back %d" % number)
            self.send(WEST, there)
            self.send(EAST, back)
            self.settle()
            assert self.east.delivered[-1:] == [there]
            assert self.west.delivered[-1:] == [back]


__all__ = [
    "EAST",
    "SECRET",
    "WEST",
    "Pair",
    "PoolPolicy",
    "child_policy",
    "ike_policy",
    "ipv4_packet",
]
