"""Two endpoints wired back to back, and a record of all that passes between them.

No sockets, no clock: a script says what happens from outside (a connection opens or
breaks, a side is told to begin something, time passes, a packet comes out of a tunnel
device), and every octet that an endpoint sends is noted as it arrives, or is lost. West
opens the connections, east accepts them.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

from iketcp.effects import (
    ChildSaInstalled,
    CloseConnection,
    ConnectionId,
    DeliverInner,
    Effect,
    IkeKeysDerived,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.environment import Entropy, ScriptedEntropy
from iketcp.ike.exchanges.informational import DeleteChild
from iketcp.ike.nat_detection import Path
from iketcp.ike.policy import IkePolicy
from iketcp.mapping import MappingPolicy
from iketcp.vectorlib import plain_ml_kem
from iketcp.vectorlib.envelope import Json

WEST, EAST = "west", "east"
SIDES = (WEST, EAST)


def other(side: str) -> str:
    """Name the other side."""
    return EAST if side == WEST else WEST


class RecordingEntropy:
    """Scripted draws that are noted by name: label, ``#``, and which draw of it.

    ``draws`` holds what was drawn, in order. A label that ends in ``.jitter`` only
    moves a moment, never an octet, and is not noted.
    """

    def __init__(self, seed: str, fixed: Mapping[str, bytes] | None = None) -> None:
        self._script = ScriptedEntropy(seed, fixed)
        self._counts: dict[str, int] = {}
        self.draws: dict[str, bytes] = {}

    def draw(self, label: str, size: int) -> bytes:
        """Draw ``size`` octets under ``label``."""
        octets = self._script.draw(label, size)
        count = self._counts.get(label, 0)
        self._counts[label] = count + 1
        if not label.endswith(".jitter"):
            self.draws[f"{label}#{count}"] = octets
        return octets

    def encapsulate(
        self, label: str, method: int, encapsulation_key: bytes
    ) -> tuple[bytes, bytes]:
        """Encapsulate what is drawn under ``label``, ``.encapsulation`` behind it."""
        drawn = self.draw(f"{label}.encapsulation", 32)
        return plain_ml_kem.encapsulate(method, encapsulation_key, drawn)


DATE = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""The time of day in every session: certificates are held against it."""


def endpoint_of(
    policy: IkePolicy,
    entropy: Entropy,
    date: datetime = DATE,
    datagrams: DatagramPolicy = DatagramPolicy(),
) -> Endpoint:
    """Make the endpoint of one side, for which the date never changes."""
    return Endpoint(
        policy,
        MappingPolicy(),
        entropy,
        date=lambda: date,
        datagram_policy=datagrams,
    )


def act(endpoint: Endpoint, wish: str, child: str, now: float) -> list[Effect]:
    """Let an endpoint begin what its user wishes.

    Parameters
    ----------
    wish : str
        ``begin``, ``rekey-child``, ``delete-child``, ``rekey-ike-sa`` or ``delete``.
    child : str
        The name of the Child SA it is about; empty for the others.

    Raises
    ------
    LookupError
        There is no such wish.

    Source: RFC 7296 §1.2, RFC 7296 §1.3, RFC 7296 §1.4.1
    """
    match wish:
        case "begin":
            return endpoint.initiate()
        case "rekey-child":
            return endpoint.rekey_child(child, now)
        case "rekey-ike-sa":
            return endpoint.rekey_ike(now)
        case "delete":
            return endpoint.delete_all(now)
        case "delete-child":
            for sa, _ in endpoint.tables.ike_sas.values():
                for spi_in, one in sa.children.items():
                    if one.policy.name == child:
                        sa.want(DeleteChild(spi_in))
            return endpoint.time_passed(now)
    raise LookupError(wish)


def path_of(connect: Json, side: str) -> Path:
    """Return a connection's addresses and ports as one side sees them."""
    here = connect[side]
    there = (connect["seenAs"] or connect)[other(side)]
    return Path(
        ip_address(here["address"]),
        here["port"],
        ip_address(there["address"]),
        there["port"],
    )


class Wiring:
    """Two endpoints, what is under way between them, and the record.

    Parameters
    ----------
    policies : Mapping[str, IkePolicy]
        What each side may agree to.
    addresses : Mapping[str, str]
        The outer address of each side.
    seed : str
        Separates the draws of one session from those of another.
    outside : Mapping[str, str]
        The address by which the other side knows each; without a NAT the same.
    """

    def __init__(
        self,
        policies: Mapping[str, IkePolicy],
        addresses: Mapping[str, str],
        seed: str,
        outside: Mapping[str, str] | None = None,
    ) -> None:
        self.now = 0.0
        self.policies, self.addresses = policies, addresses
        self.outside = addresses if outside is None else outside
        self.entropy = {side: RecordingEntropy(f"{seed} {side}") for side in SIDES}
        self.endpoints = {side: self._new_endpoint(side) for side in SIDES}
        self.steps: list[Json] = []
        self.ike_keys: dict[str, list[IkeKeysDerived]] = {WEST: [], EAST: []}
        self.children: dict[str, list[ChildSaInstalled]] = {WEST: [], EAST: []}
        self._waiting: deque[tuple[str, ConnectionId, bytes]] = deque()
        self._open: set[ConnectionId] = set()
        self._connections = 0

    def _new_endpoint(self, side: str) -> Endpoint:
        return endpoint_of(self.policies[side], self.entropy[side])

    def _note(self, step: str, **fields: object) -> Json:
        noted = {"step": step, **fields}
        self.steps.append(noted)
        return noted

    def _run(self, side: str, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit():
                    self._waiting.append((side, effect.connection, effect.octets))
                case DeliverInner():
                    for packet in effect.packets:
                        self._note("deliver", side=side, packet=packet)
                case CloseConnection():
                    self._close(side, effect.connection)
                case IkeKeysDerived():
                    self.ike_keys[side].append(effect)
                case ChildSaInstalled():
                    self.children[side].append(effect)

    def _close(self, side: str, id: ConnectionId) -> None:
        """Let one side close a connection; what it sent before still arrives."""
        while self._waiting and id in self._open:
            self._arrive()
        self._note("close", side=side, connection=id)
        if id in self._open:
            self._lost(id)

    def _lost(self, id: ConnectionId) -> None:
        self._open.discard(id)
        for side in SIDES:
            lost = self.endpoints[side].connection_lost(id, "closed", self.now)
            self._run(side, lost)

    def _arrive(self, is_lost: bool = False) -> None:
        """Let the oldest octets under way arrive, or be lost."""
        sender, id, octets = self._waiting.popleft()
        arrives = id in self._open and not is_lost
        self._note(
            "transmit", sender=sender, connection=id, arrives=arrives, stream=octets
        )
        if arrives:
            there = other(sender)
            endpoint = self.endpoints[there]
            self._run(there, endpoint.octets_received(id, octets, self.now))

    def settle(self) -> None:
        """Let everything arrive, and what comes of it."""
        while self._waiting:
            self._arrive()

    # --- what a script may do ---------------------------------------------------------

    def connect(self) -> ConnectionId:
        """Open a connection from west to east; nothing arrives yet."""
        self._connections += 1
        id = ConnectionId(self._connections)
        self._open.add(id)
        ports = {WEST: 40000 + id, EAST: 4500}
        inside, outside = (
            {side: {"address": of[side], "port": ports[side]} for side in SIDES}
            for of in (self.addresses, self.outside)
        )
        seen = outside if outside != inside else None
        step = self._note("connect", connection=id, **inside, seenAs=seen)
        for side in (EAST, WEST):
            opened = self.endpoints[side].connection_opened(
                id, path_of(step, side), side == WEST, self.now
            )
            self._run(side, opened)
        return id

    def wish(self, side: str, wish: str, child: str = "") -> None:
        """Tell one side to begin something; nothing arrives yet."""
        self._note("wish", side=side, wish=wish, child=child)
        self._run(side, act(self.endpoints[side], wish, child, self.now))

    def deliver_one(self) -> None:
        """Let the oldest octets under way arrive, and nothing of what comes of it."""
        self._arrive()

    def cut(self, id: ConnectionId) -> None:
        """Break a connection without a word; what is under way is lost."""
        while self._waiting:
            self._arrive(is_lost=True)
        self._note("break", connection=id)
        self._lost(id)

    def crash(self, side: str, id: ConnectionId) -> None:
        """Let a side lose everything but its configuration; its connection breaks."""
        self._note("crash", side=side)
        self.endpoints[side] = self._new_endpoint(side)
        self.cut(id)

    def send(self, side: str, packet: bytes) -> None:
        """Let one side's tunnel device produce a packet; it arrives."""
        self._note("packet", side=side, packet=packet)
        self._run(side, self.endpoints[side].inner_packets([packet]))
        self.settle()

    def pass_time(self, seconds: int) -> None:
        """Let time pass on both sides, and everything arrive that comes of it."""
        self.now += seconds
        self._note("time", seconds=seconds)
        for side in SIDES:
            self._run(side, self.endpoints[side].time_passed(self.now))
        self.settle()
