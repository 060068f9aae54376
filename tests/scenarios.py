"""Scenes for the tests of mapping and endpoint: half-broken wires and strangers.

A :class:`Stage` is a :class:`pair.Pair` on which a connection can break for one side
only, octets can be put into a stream, and strangers can knock at east's door.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv6Address, ip_address

from iketcp.effects import CloseConnection, ConnectionId
from iketcp.endpoint.tables import IkeSession, LiveChild
from iketcp.ike.header import Header
from iketcp.ike.nat_detection import Path
from iketcp.ike.payloads import Payload
from iketcp.ike.sa import IkeSa
from iketcp.registry import ExchangeType
from iketcp.stream import STREAM_PREFIX, MessageKind, StreamDecoder, frame_ike
from pair import EAST, WEST, Pair, ipv4_packet

STRANGER = "198.51.100.7"


def to_east(text: bytes = b"to east") -> bytes:
    """An inner packet that west's tunnel device produces."""
    return ipv4_packet("10.0.1.1", "10.0.2.1", text)


def to_west(text: bytes = b"to west") -> bytes:
    """An inner packet that east's tunnel device produces."""
    return ipv4_packet("10.0.2.1", "10.0.1.1", text)


def ipv6_packet(source: str, destination: str, payload: bytes) -> bytes:
    """An inner IPv6 packet with UDP ports."""
    body = b"\x13\x88\x13\x89" + payload
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x11\x40"
    return head + addresses + body


class Stage(Pair):
    """A pair of endpoints with a worse network than most."""

    deaf: frozenset[str] = frozenset()
    """Sides whose wish to close a connection is not carried out."""

    def _closed(self, id: ConnectionId, by: str) -> None:
        if by not in self.deaf:
            super()._closed(id, by)
            endpoint = self.side(by).endpoint
            self.run(by, endpoint.connection_lost(id, "closed by us", self.now))

    def break_for(self, name: str, id: ConnectionId) -> None:
        """Let one side lose a connection that the other still has."""
        side = self.side(name)
        self.run(name, side.endpoint.connection_lost(id, "RST", self.now))

    def lose_waiting(self) -> None:
        """Lose everything that is under way."""
        self.wire = deque()

    def feed(self, name: str, id: ConnectionId, octets: bytes) -> None:
        """Let octets arrive at a side."""
        endpoint = self.side(name).endpoint
        self.run(name, endpoint.octets_received(id, octets, self.now))

    def knock(
        self,
        address: str = STRANGER,
        prefix: bytes = STREAM_PREFIX,
        path_mtu: int = 1500,
    ) -> ConnectionId:
        """Open a connection to east that west knows nothing of."""
        self._next_id += 1
        id = ConnectionId(self._next_id)
        east = ip_address(self.addresses[1])
        path = Path(east, 4500, ip_address(address), 50000 + id)
        endpoint = self.east.endpoint
        opened = endpoint.connection_opened(id, path, False, self.now, path_mtu)
        self.run(EAST, opened)
        self.feed(EAST, id, prefix)
        return id

    # --- what is inside -----------------------------------------------------------

    def session(self, name: str) -> IkeSession:
        """The one session of a side."""
        (session,) = self.side(name).endpoint.tables.sessions()
        return session

    def sa(self, name: str) -> IkeSa:
        """The IKE SA of a side that exchanges are begun on."""
        sa = self.session(name).ike
        assert sa is not None
        return sa

    def child(self, name: str) -> LiveChild:
        """The newest Child SA of a side."""
        return list(self.side(name).endpoint.tables.children.values())[-1]

    def dropped(self, name: str) -> dict[str, int]:
        """What a side dropped."""
        return self.side(name).endpoint.counters.dropped

    def half_open(self) -> int:
        """How many connections east counts as half-open."""
        return self.east.endpoint.map.half_open.total

    # --- what is said ---------------------------------------------------------------

    def messages(self, name: str, id: ConnectionId, kind: MessageKind) -> list[bytes]:
        """All messages of a kind that a side has sent on a connection."""
        decoder = StreamDecoder(expects_prefix=name == WEST)
        octets = b"".join(o for n, c, o in self.sent if (n, c) == (name, id))
        return [message for k, message in decoder.feed(octets) if k is kind]

    def ike(self, name: str, id: ConnectionId) -> list[bytes]:
        """All IKE messages that a side has sent on a connection."""
        return self.messages(name, id, MessageKind.IKE)

    def closings(self, name: str) -> list[tuple[ConnectionId, str]]:
        """The connections that a side wanted closed, with the reasons."""
        return [
            (e.connection, e.reason)
            for e in self.side(name).effects
            if isinstance(e, CloseConnection)
        ]

    def is_open(self, name: str, id: ConnectionId) -> bool:
        """Tell whether a side still knows a connection."""
        return id in self.side(name).endpoint.tables.streams

    def sealed(
        self,
        name: str,
        payloads: list[Payload],
        message_id: int | None = None,
        exchange: int = ExchangeType.INFORMATIONAL,
    ) -> bytes:
        """Make an authentic request of a side's, framed, without its knowledge."""
        sa = self.sa(name)
        assert sa.protection is not None
        header = Header(
            spi_i=sa.spi_i,
            spi_r=sa.spi_r,
            exchange_type=exchange,
            message_id=sa.next_message_id if message_id is None else message_id,
            is_response=False,
            is_original_initiator=sa.is_original_initiator,
        )
        return frame_ike(sa.protection.seal(header, payloads))

    def esp(self, name: str, text: bytes = b"esp") -> bytes:
        """Make an ESP packet of a side's, framed, that is not sent."""
        packet = to_east(text) if name == WEST else to_west(text)
        before = len(self.wire)
        sent = len(self.sent)
        self.send(name, packet)
        while len(self.wire) > before:
            self.wire.pop()
        return self.sent[sent][2]
