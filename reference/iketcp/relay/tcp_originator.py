"""UDP in, TCP out: a relay before a client that speaks only UDP.

Every UDP source, an address with a port, gets a TCP connection of its own. It is made
when the source first says something, and made again when it says something after the
connection broke: without keys a relay has nothing to say by itself.

Who begins on port 500 goes on on port 4500 with IKE_AUTH, and keeps his connection
[9329-6.1-one]. A source that moves later, because a NAT has given it another port, gets
another connection; the TCP Responder follows it there and closes the old one, which is
idle and extraneous then.

Anybody can put any source into a datagram, and make us connect. So whoever has not been
answered yet counts as a stranger, and there can be only so many.

Source: RFC 9329 §6.1
Source: RFC 7296 §2.23
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from iketcp.effects import ConnectionId, SendDatagrams, Transmit
from iketcp.ike.nat_detection import Path
from iketcp.relay.effects import Connect, RelayEffect
from iketcp.relay.lines import Line, RelayLines
from iketcp.relay.messages import (
    datagram_of,
    ike_key,
    is_first_exchange,
    sort_datagrams,
    transmit,
)
from iketcp.relay.policy import RelayPolicy
from iketcp.stream import STREAM_PREFIX, MessageKind, StreamDecoder, StreamMessage


@dataclass(eq=False, slots=True)
class UdpSource:
    """Where datagrams come from, and what carries them on."""

    path: Path
    line: Line
    is_connected: bool = False
    waiting: list[StreamMessage] = field(default_factory=list)
    """Messages that wait for the connection."""
    waiting_octets: int = 0
    ike_key: bytes | None = None
    """On port 500: both SPIs of the IKE SA that it has begun."""


class TcpOriginatorRelay(RelayLines):
    """Which UDP source is which connection.

    Parameters
    ----------
    policy : RelayPolicy
        The limits.

    Source: RFC 9329 §6.1
    """

    def __init__(self, policy: RelayPolicy) -> None:
        super().__init__(policy)
        self.is_taking_sources = True
        """False: sources that are not known yet are passed over."""
        self._by_path: dict[Path, UdpSource] = {}
        self._by_connection: dict[ConnectionId, UdpSource] = {}
        self._resting: dict[Path, float] = {}
        self._beginners: dict[bytes, UdpSource] = {}
        self._last_id = 0

    # --- from the client --------------------------------------------------------------

    def datagrams_received(
        self, path: Path, datagrams: Sequence[bytes], now: float
    ) -> list[RelayEffect]:
        """Take what came along a path; it becomes messages of a stream.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        messages = list(sort_datagrams(datagrams, path.is_encapsulated, self.counters))
        source = self._by_path.get(path)
        if source is None and messages:
            source = self._moved(path, messages[0]) or self._begin(path, now, effects)
        if source is None:
            self.counters.drop("datagram of a source without connection", len(messages))
            return effects
        # A keepalive shows that somebody is there, too, and goes no further.
        source.line.heard_at = now
        if source.is_connected:
            effects.extend(transmit(source.line.id, messages))
        else:
            self._wait(source, messages)
        return effects

    def _moved(self, path: Path, message: StreamMessage) -> UdpSource | None:
        """Find who has begun an IKE SA on port 500, and goes on with it on 4500.

        Source: RFC 7296 §2.23
        """
        kind, octets = message
        if kind is not MessageKind.IKE or not path.is_encapsulated:
            return None
        source = self._beginners.get(octets[:16])
        if source is None or source.path.remote_address != path.remote_address:
            return None
        self._forget_beginner(source)
        del self._by_path[source.path]
        source.path = path
        self._by_path[path] = source
        return source

    def _forget_beginner(self, source: UdpSource) -> None:
        if source.ike_key is not None:
            del self._beginners[source.ike_key]
            source.ike_key = None

    def _begin(
        self, path: Path, now: float, effects: list[RelayEffect]
    ) -> UdpSource | None:
        """Have a connection made for a new source, unless there is cause not to."""
        if not self.is_taking_sources or now < self._resting.get(path, now):
            return None
        address = str(path.remote_address)
        if (refusal := self._refusal(address)) is not None:
            self.counters.close(refusal)
            return None
        self._last_id += 1
        id = ConnectionId(self._last_id)
        decoder = StreamDecoder(expects_prefix=False)  # [9329-4-originator]
        source = UdpSource(path, Line(id, address, now, now, decoder))
        self._add(source.line)
        self._by_path[path] = self._by_connection[id] = source
        effects.append(Connect(id))
        return source

    def _wait(self, source: UdpSource, messages: Iterable[StreamMessage]) -> None:
        for message in messages:
            size = len(message[1])
            if source.waiting_octets + size > self.policy.waiting_octets:
                self.counters.drop("datagram before the connection was there")
            else:
                source.waiting_octets += size
                source.waiting.append(message)

    # --- the connection ---------------------------------------------------------------

    def connected(self, id: ConnectionId) -> list[RelayEffect]:
        """Begin the stream of a connection that was made [9329-4-prefix].

        Source: RFC 9329 §4, RFC 9329 §6.1 [9329-6.1-reprefix]
        """
        source = self._by_connection.get(id)
        if source is None:
            return []
        source.is_connected = True
        messages, source.waiting = source.waiting, []
        return [Transmit(id, STREAM_PREFIX), *transmit(id, messages)]

    def octets_received(
        self, id: ConnectionId, octets: bytes, now: float
    ) -> list[RelayEffect]:
        """Take what a connection delivered; its messages become datagrams.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        source = self._by_connection.get(id)
        if source is None:
            return effects
        line, is_encapsulated = source.line, source.path.is_encapsulated
        datagrams = []
        for message in self._read(line, octets, now, effects):
            if message[0] is MessageKind.ESP or not is_first_exchange(message[1]):
                self._welcome(line)
            elif not is_encapsulated:
                self._began(source, message[1])
            datagram = datagram_of(message, is_encapsulated)
            if datagram is None:
                self.counters.drop("message that no datagram to this port can hold")
            else:
                datagrams.append(datagram)
        if datagrams:
            effects.append(SendDatagrams(source.path, datagrams))
        return effects

    def _began(self, source: UdpSource, message: bytes) -> None:
        """Note the IKE SA of an answer to IKE_SA_INIT, unless somebody has it."""
        key = ike_key(message)
        if key is not None and source.ike_key is None and key not in self._beginners:
            source.ike_key = key
            self._beginners[key] = source

    def connection_lost(
        self, id: ConnectionId, reason: str, now: float
    ) -> list[RelayEffect]:
        """Forget a connection; its source has another one when it says something.

        Source: RFC 9329 §6.1 [9329-6.1-reestablish]
        """
        effects: list[RelayEffect] = []
        line = self._remove(id, reason, effects)
        if line is not None:
            source = self._by_connection.pop(id)
            del self._by_path[source.path]
            self._forget_beginner(source)
            self.counters.drop("datagram that found no way", len(source.waiting))
            if now - line.opened_at < self.policy.retry_seconds:
                self._resting[source.path] = now + self.policy.retry_seconds
        return effects

    def time_passed(self, now: float) -> list[RelayEffect]:
        """Close what is overdue; to be called about once a second.

        Source: RFC 9329 §6.1
        """
        effects = super().time_passed(now)
        self._resting = {p: until for p, until in self._resting.items() if until > now}
        return effects
