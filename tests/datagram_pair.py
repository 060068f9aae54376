"""Two endpoints that send each other datagrams: some are lost, some come twice or late.

West begins and may be behind a NAT, which gives each of its ports another one, and
forgets it when a test says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from iketcp.effects import (
    DeliverInner,
    Effect,
    OpenConnection,
    SendDatagrams,
)
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import DatagramPolicy, IkeSession
from iketcp.environment import ScriptedEntropy, no_date
from iketcp.ike.nat_detection import IpAddress, Path, Transport
from iketcp.ike.policy import IkePolicy
from iketcp.ike.sa import IkeSa
from iketcp.mapping import MappingPolicy
from pair import EAST, WEST, Side, ike_policy, ipv4_packet

IKE, ENCAPSULATION = 500, 4500
TRANSPORTS = {IKE: Transport.UDP, ENCAPSULATION: Transport.UDP_ENCAPSULATION}
PUBLIC = ip_address("203.0.113.9")
End = tuple[IpAddress, int]


@dataclass(frozen=True)
class Datagram:
    """One datagram under way."""

    sender: str
    source: End
    target: End
    octets: bytes


class DatagramPair:
    """West (initiator) and east (responder) on a scripted network."""

    def __init__(
        self,
        west: IkePolicy | None = None,
        east: IkePolicy | None = None,
        *,
        is_behind_nat: bool = False,
        addresses: tuple[str, str] = ("192.0.2.1", "192.0.2.2"),
        mapping: MappingPolicy = MappingPolicy(),
        datagrams: DatagramPolicy = DatagramPolicy(),
        seed: str = "",
        date: datetime | None = None,
    ) -> None:
        self.now = 0.0
        self.addresses = ip_address(addresses[0]), ip_address(addresses[1])
        self.west, self.east = (
            Side(
                name,
                Endpoint(
                    policy or ike_policy(name),
                    mapping,
                    ScriptedEntropy(f"{seed}{name}"),
                    datagram_policy=datagrams,
                    date=no_date if date is None else lambda: date,
                ),
            )
            for name, policy in ((WEST, west), (EAST, east))
        )
        self.east.endpoint.datagrams.takes_first = True
        self.is_behind_nat = is_behind_nat
        self.mapped: dict[int, int] = {}
        """Behind the NAT: west's ports by their public ones."""
        self._next_port = 30000
        self.wire: deque[Datagram] = deque()
        self.sent: list[Datagram] = []
        self.is_lost: Callable[[Datagram], bool] = lambda datagram: False
        self.tap: Callable[[Datagram], bytes] = lambda datagram: datagram.octets
        """What arrives instead of a datagram: somebody may sit on the way."""

    def side(self, name: str) -> Side:
        """Find a side by name."""
        return self.west if name == WEST else self.east

    def paths(self) -> tuple[Path, Path]:
        """West's ways to both ports of east."""
        west, east = self.addresses
        first, then = (
            Path(west, port, east, port, transport)
            for port, transport in TRANSPORTS.items()
        )
        return first, then

    def run(self, name: str, effects: Iterable[Effect]) -> None:
        """Carry effects of one side out."""
        side = self.side(name)
        for effect in effects:
            side.effects.append(effect)
            match effect:
                case SendDatagrams():
                    for octets in effect.datagrams:
                        self._send(name, effect.path, octets)
                case DeliverInner():
                    side.delivered += effect.packets
                case OpenConnection():
                    side.wanted.append(effect.delay_seconds)
                case _:
                    pass

    def _send(self, name: str, path: Path, octets: bytes) -> None:
        source = path.local_address, path.local_port
        target = path.remote_address, path.remote_port
        datagram = Datagram(name, source, target, octets)
        self.sent.append(datagram)
        self.wire.append(datagram)

    # --- the network ------------------------------------------------------------------

    def _public(self, end: End) -> End:
        """The NAT's port for one of west's."""
        port = next((p for p, own in self.mapped.items() if own == end[1]), None)
        if port is None:
            self._next_port += 1
            port = self._next_port
            self.mapped[port] = end[1]
        return PUBLIC, port

    def deliver(self) -> bool:
        """Move the oldest datagram; returns whether there was one."""
        if not self.wire:
            return False
        datagram = self.wire.popleft()
        if not self.is_lost(datagram):
            self.hand_over(datagram)
        return True

    def hand_over(self, datagram: Datagram) -> None:
        """Let a datagram pass the NAT and arrive."""
        source, target = datagram.source, datagram.target
        receiver = EAST if datagram.sender == WEST else WEST
        if self.is_behind_nat and receiver == EAST:
            source = self._public(source)
        elif self.is_behind_nat:
            if target[0] != PUBLIC or target[1] not in self.mapped:
                return
            target = self.addresses[0], self.mapped[target[1]]
        self.arrive(receiver, source, target[1], self.tap(datagram))

    def arrive(self, name: str, source: End, port: int, octets: bytes) -> None:
        """Let a datagram from anywhere arrive at a side's port."""
        local = self.addresses[0 if name == WEST else 1]
        path = Path(local, port, *source, TRANSPORTS[port])
        endpoint = self.side(name).endpoint
        self.run(name, endpoint.datagrams_received(path, [octets], self.now))

    def settle(self, limit: int = 1000) -> None:
        """Deliver until nothing waits."""
        for _ in range(limit):
            if not self.deliver():
                return
        raise AssertionError("the two never stop talking")

    # --- time -------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, from one deadline to the next, and deliver what comes."""
        end = self.now + seconds
        while True:
            self.settle()
            deadlines = [
                side.endpoint.next_deadline(self.now) for side in (self.west, self.east)
            ]
            self.now = min([end, *(d for d in deadlines if d is not None)])
            for name in (WEST, EAST):
                self.run(name, self.side(name).endpoint.time_passed(self.now))
            if self.now >= end:
                self.settle()
                return

    def begin(self) -> None:
        """Let west begin; nothing is delivered yet."""
        self.run(WEST, self.west.endpoint.initiate())
        self.begin_again()

    def begin_again(self) -> None:
        """Give west a way to east, as it asked for."""
        paths = self.paths()
        self.run(WEST, self.west.endpoint.begin_over_udp(*paths, self.now))

    def up(self) -> None:
        """Establish a session."""
        self.begin()
        self.settle()
        self.check_up()

    # --- what a test wants to know ----------------------------------------------------

    def session(self, name: str) -> IkeSession:
        """The one session of a side."""
        (session,) = self.side(name).endpoint.tables.sessions()
        return session

    def ike(self, name: str) -> IkeSa:
        """The IKE SA of a side that exchanges are begun on."""
        sa = self.session(name).ike
        assert sa is not None
        return sa

    def check_up(self) -> None:
        """Check that both hold the same SAs."""
        west, east = self.ike(WEST), self.ike(EAST)
        assert (west.spi_i, west.spi_r) == (east.spi_i, east.spi_r)
        assert west.is_usable
        assert east.is_usable
        assert len(west.children) == len(east.children) == 1

    def dropped(self, name: str) -> dict[str, int]:
        """What a side dropped."""
        return self.side(name).endpoint.counters.dropped

    def of(self, name: str) -> list[Datagram]:
        """All datagrams that a side has sent."""
        return [datagram for datagram in self.sent if datagram.sender == name]

    def send(self, name: str, text: bytes = b"inner") -> bytes:
        """Let one side's tunnel device produce a packet; returns it."""
        ends = "10.0.1.1", "10.0.2.1"
        packet = ipv4_packet(*(ends if name == WEST else reversed(ends)), text)
        self.run(name, self.side(name).endpoint.inner_packets([packet]))
        return packet

    def ping(self, text: bytes = b"ping") -> None:
        """Send a packet each way and check that it comes through unchanged."""
        for name, other in ((WEST, EAST), (EAST, WEST)):
            packet = self.send(name, text)
            self.settle()
            assert self.side(other).delivered[-1:] == [packet]
