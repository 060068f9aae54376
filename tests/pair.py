"""Two endpoints wired back to back: a scripted clock, scripted entropy, no sockets.

A test may drop, change, reorder and repeat what is on the wire, may let a side send any
request it likes under its real keys (:meth:`Pair.ask`), and may rewrite what is inside
a protected message on its way (:meth:`Pair.rewrite`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from typing import TypeVar

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
from iketcp.environment import ScriptedEntropy, no_date
from iketcp.ike import upkeep
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.nat_detection import Path
from iketcp.ike.payloads import Payload
from iketcp.ike.policy import ChildPolicy, IkePolicy, Lifetime, PoolPolicy
from iketcp.ike.protection import IkeProtection
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import ChildState, IkeState
from iketcp.mapping import MappingPolicy
from iketcp.selectors import TrafficSelector
from iketcp.stream import NON_ESP_MARKER, frame_ike

ExchangeT = TypeVar("ExchangeT", bound=Exchange)

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


class Question(Exchange):
    """A request with any payloads, and what came back."""

    def __init__(self, exchange: int, payloads: Sequence[Payload]) -> None:
        self.exchange_type = exchange
        self.payloads = payloads
        self.answer: tuple[Payload, ...] | None = None

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Return the payloads."""
        return self.payloads

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Note what came back."""
        self.answer = response.payloads


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

    def said(self) -> list[str]:
        """What it sent: "INFORMATIONAL 3 response: D(ESP …)" and so on."""
        return [
            f"{t['exchange']} {t['message_id']} "
            f"{'response' if t['is_response'] else 'request'}: "
            f"{', '.join(t['payloads'])}"
            for t in self.traces("ike-message")
            if t["direction"] == "sent"
        ]

    def closed_because(self) -> str:
        """Why the last IKE SA that it closed was closed."""
        return str(self.traces("ike-sa-closed")[-1]["reason"])


def check_nothing_is_overlooked(endpoint: Endpoint, now: float) -> None:
    """Whoever asks everybody hears of nothing that is due before the endpoint says."""
    appointed = endpoint.next_deadline(now)
    held = endpoint.tables.ike_sas.values()
    deadlines = [upkeep.next_deadline(sa, now) for sa, _ in held]
    connections = endpoint.map.connections.values()
    ends = [d for d in map(endpoint.map.deadline_of, connections) if d is not None]
    deadlines += [end.at for end in ends]
    first = min((d for d in deadlines if d is not None), default=None)
    assert first is None or (appointed is not None and appointed <= first)


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
        fragment_size: int | None = None,
        date: datetime | None = None,
        stream_mtu: int | None = None,
    ) -> None:
        self.fragment_size = fragment_size
        self.now = 0.0
        self.addresses = addresses
        self.west, self.east = (
            Side(
                name,
                Endpoint(
                    policy or ike_policy(name),
                    mapping,
                    ScriptedEntropy(seed + name),
                    date=no_date if date is None else lambda: date,
                    stream_mtu=stream_mtu,
                ),
            )
            for name, policy in ((WEST, west), (EAST, east))
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
        check_nothing_is_overlooked(side.endpoint, self.now)
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
        for name, path in ((EAST, back), (WEST, there)):
            opened = self.side(name).endpoint.connection_opened(
                id, path, name == WEST, self.now, fragment_size=self.fragment_size
            )
            self.run(name, opened)
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

    # --- what a test wants to know ----------------------------------------------------

    def ike(self, name: str) -> IkeSa:
        """Find the one IKE SA of a side."""
        ((sa, _),) = self.side(name).endpoint.tables.ike_sas.values()
        return sa

    def said(self, name: str) -> list[str]:
        """What one side sent."""
        return self.side(name).said()

    def check_agreement(self, children: int = 1) -> None:
        """Check that both sides hold the same SAs, and nothing else is left."""
        west, east = self.ike(WEST), self.ike(EAST)
        assert (west.spi_i, west.spi_r) == (east.spi_i, east.spi_r)
        assert west.state is IkeState.ESTABLISHED
        assert east.state is IkeState.ESTABLISHED
        assert west.is_original_initiator != east.is_original_initiator
        assert west.sent is None
        assert east.sent is None
        pairs = {(c.spi_in, c.parameters.spi_out) for c in west.children.values()}
        mirror = {(c.parameters.spi_out, c.spi_in) for c in east.children.values()}
        assert pairs == mirror
        assert len(pairs) == children
        for side, sa in ((self.west, west), (self.east, east)):
            assert side.endpoint.tables.children.keys() == sa.children.keys()
            assert not side.endpoint.tables.half_open
            states = {child.state for child in sa.children.values()}
            assert states <= {ChildState.INSTALLED}

    def check_closed(self) -> None:
        """Check that neither side holds any SA."""
        for side in (self.west, self.east):
            assert not side.endpoint.tables.ike_sas
            assert not side.endpoint.tables.children
            assert not side.endpoint.tables.half_open
            assert not side.endpoint.tables.peers

    # --- what a test may do -----------------------------------------------------------

    def rekey_child(self, name: str) -> None:
        """Let one side ask for a Child rekey; nothing is delivered yet."""
        self.run(name, self.side(name).endpoint.rekey_child("net", self.now))

    def rekey_ike(self, name: str) -> None:
        """Let one side ask for an IKE rekey; nothing is delivered yet."""
        self.run(name, self.side(name).endpoint.rekey_ike(self.now))

    def begin(self, name: str, exchange: ExchangeT) -> ExchangeT:
        """Let one side begin an exchange; nothing is delivered yet."""
        self.ike(name).want(exchange)
        self.run(name, self.side(name).endpoint.time_passed(self.now))
        return exchange

    def ask(
        self, name: str, exchange: int, *payloads: Payload
    ) -> tuple[Payload, ...] | None:
        """Send a request with any payloads; returns the payloads of the response."""
        asked = self.begin(name, Question(exchange, payloads))
        self.settle()
        return asked.answer

    def deliver_from(self, sender: str) -> bool:
        """Move the oldest waiting octets of one side, past those of the other."""
        for index, item in enumerate(self.wire):
            if item[0] == sender:
                del self.wire[index]
                self.wire.appendleft(item)
                return self.deliver()
        return False

    def inject(self, sender: str, id: ConnectionId, message: bytes) -> None:
        """Put an IKE message on the wire as if ``sender`` had sent it, and settle."""
        self.wire.append((sender, id, frame_ike(message)))
        self.settle()

    def rewrite(
        self,
        sender: str,
        change: Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None],
    ) -> None:
        """Rewrite the IKE messages of one side, protected ones under its own keys.

        ``change`` returns the payloads to send instead, or ``None`` to leave a message
        as it is.
        """
        kept: dict[tuple[str, bytes], IkeProtection | None] = {}

        def protection(name: str, spi_i: bytes) -> IkeProtection | None:
            """Find the keys of an IKE SA, which may have ended meanwhile."""
            for sa, _ in self.side(name).endpoint.tables.ike_sas.values():
                kept[name, sa.spi_i] = sa.protection or kept.get((name, sa.spi_i))
            return kept.get((name, spi_i))

        def before(header: Header) -> IkeProtection | None:
            """Find the keys that an answer came under, if the sender has others now."""
            for sa, _ in self.side(sender).endpoint.tables.ike_sas.values():
                if header.is_response and sa.spi_i == header.spi_i:
                    return sa.intermediate and sa.intermediate.former_protection
            return None

        def tap(name: str, id: ConnectionId, octets: bytes) -> bytes:
            if name != sender or octets[2:6] != NON_ESP_MARKER:
                return octets
            message = decode_message(octets[6:])
            header, payloads = message.header, message.payloads
            opening = protection(self.other(sender), header.spi_i)
            sealing = before(header) or protection(sender, header.spi_i)
            if opening is not None:
                payloads = opening.open(message, octets[6:])
            changed = change(header, payloads)
            if changed is None:
                return octets
            if opening is not None and sealing is not None:
                return frame_ike(sealing.seal(header, changed))
            return frame_ike(encode_message(header, changed))

        for side in (WEST, EAST):
            protection(side, b"")
        self.tap = tap

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
