"""UDP in, TCP out: a relay before a client that speaks only UDP.

Every IKE SA of a UDP source gets a TCP connection of its own [9329-6.1-one]. It is made
when the source first says something of it, and made again when it says something after
the connection broke: without keys a relay has nothing to say by itself.

Who begins on port 500 goes on on port 4500 with IKE_AUTH, and keeps his connection. A
source that moves later, because a NAT has given it another port, gets another
connection; the TCP Responder follows it there and closes the old one, which is idle and
extraneous then.

Anybody can put any source into a datagram, and make us connect. So whoever has not been
answered yet counts as a stranger, and there can be only so many.

Source: RFC 9329 §6.1
Source: RFC 7296 §2.23
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.effects import ConnectionId, SendDatagrams, Transmit
from iketcp.ike.nat_detection import Path
from iketcp.relay.effects import Connect, RelayEffect
from iketcp.relay.lines import Line, RelayLines
from iketcp.relay.messages import (
    datagram_of,
    is_first_exchange,
    sort_datagrams,
    transmit,
)
from iketcp.relay.policy import RelayPolicy
from iketcp.relay.udp_sources import Carrier, UdpSources
from iketcp.stream import STREAM_PREFIX, MessageKind, StreamDecoder, StreamMessage


class TcpOriginatorRelay(RelayLines):
    """Which IKE SA of which UDP source is which connection.

    Parameters
    ----------
    policy : RelayPolicy
        The limits.

    Source: RFC 9329 §6.1
    """

    def __init__(self, policy: RelayPolicy) -> None:
        super().__init__(policy)
        self.is_taking_sources = True
        """False: no connection is made any more."""
        self._sources = UdpSources(policy.key_limit)
        self._carriers: dict[ConnectionId, Carrier] = {}
        self._lost: dict[Carrier, None] = {}
        self._resting: dict[Path, float] = {}
        self._last_id = 0

    # --- from the client --------------------------------------------------------------

    def datagrams_received(
        self, path: Path, datagrams: Sequence[bytes], now: float
    ) -> list[RelayEffect]:
        """Take what came along a path; it becomes messages of streams.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        runs: list[tuple[Carrier, list[StreamMessage]]] = []
        for message in sort_datagrams(datagrams, path.is_encapsulated, self.counters):
            carrier = self._carrier(path, message, now, effects)
            if carrier is None:
                self.counters.drop("datagram of a source without connection")
            elif runs and runs[-1][0] is carrier:
                runs[-1][1].append(message)
            else:
                runs.append((carrier, [message]))
        for carrier, messages in runs:
            self._pass_on(carrier, messages, now, effects)
        if not runs:
            self._heard_keepalive(path, now)
        return effects

    def _carrier(
        self,
        path: Path,
        message: StreamMessage,
        now: float,
        effects: list[RelayEffect],
    ) -> Carrier | None:
        """Find what carries a message, with a connection that is there or coming."""
        carrier = self._sources.find(path, message)
        is_new = carrier is None
        if carrier is None:
            carrier = Carrier(path)
        if carrier.line is None:
            line = self._begin(path, now, effects)
            if line is None:
                return None
            carrier.line = line
            self._carriers[line.id] = carrier
            self._lost.pop(carrier, None)
        if is_new:
            self._sources.add(carrier, message)
        return carrier

    def _begin(self, path: Path, now: float, effects: list[RelayEffect]) -> Line | None:
        """Have a connection made for a source, unless there is cause not to."""
        if not self.is_taking_sources or now < self._resting.get(path, now):
            return None
        address = str(path.remote_address)
        if (refusal := self._refusal(address)) is not None:
            self.counters.close(refusal)
            return None
        self._last_id += 1
        id = ConnectionId(self._last_id)
        decoder = StreamDecoder(expects_prefix=False)  # [9329-4-originator]
        line = Line(id, address, now, now, decoder)
        self._add(line)
        effects.append(Connect(id))
        return line

    def _pass_on(
        self,
        carrier: Carrier,
        messages: list[StreamMessage],
        now: float,
        effects: list[RelayEffect],
    ) -> None:
        assert carrier.line is not None  # invariant: it was found with a connection
        carrier.line.heard_at = now
        if carrier.is_connected:
            effects.extend(transmit(carrier.line.id, messages))
            return
        for message in messages:
            size = len(message[1])
            if carrier.waiting_octets + size > self.policy.waiting_octets:
                self.counters.drop("datagram before the connection was there")
            else:
                carrier.waiting_octets += size
                carrier.waiting.append(message)

    def _heard_keepalive(self, path: Path, now: float) -> None:
        """A keepalive shows that somebody is there, and goes no further."""
        carrier = self._sources.latest(path)
        if carrier is not None and carrier.line is not None:
            carrier.line.heard_at = now

    # --- the connection ---------------------------------------------------------------

    def connected(self, id: ConnectionId) -> list[RelayEffect]:
        """Begin the stream of a connection that was made [9329-4-prefix].

        Source: RFC 9329 §4, RFC 9329 §6.1 [9329-6.1-reprefix]
        """
        carrier = self._carriers.get(id)
        if carrier is None:
            return []
        carrier.is_connected = True
        messages = self._take_waiting(carrier)
        return [Transmit(id, STREAM_PREFIX), *transmit(id, messages)]

    def _take_waiting(self, carrier: Carrier) -> list[StreamMessage]:
        messages, carrier.waiting = carrier.waiting, []
        carrier.waiting_octets = 0
        return messages

    def octets_received(
        self, id: ConnectionId, octets: bytes, now: float
    ) -> list[RelayEffect]:
        """Take what a connection delivered; its messages become datagrams.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        carrier = self._carriers.get(id)
        if carrier is None or carrier.line is None:
            return effects
        datagrams = []
        for message in self._read(carrier.line, octets, now, effects):
            is_ike = message[0] is MessageKind.IKE
            if is_ike:
                self._sources.answered(carrier, message[1])
            if not (is_ike and is_first_exchange(message[1])):
                self._welcome(carrier.line)
            datagram = datagram_of(message, carrier.path.is_encapsulated)
            if datagram is None:
                self.counters.drop("message that no datagram to this port can hold")
            else:
                datagrams.append(datagram)
        if datagrams:
            effects.append(SendDatagrams(carrier.path, datagrams))
        return effects

    def connection_lost(
        self, id: ConnectionId, reason: str, now: float
    ) -> list[RelayEffect]:
        """Forget a connection; there is another one when its client says something.

        Source: RFC 9329 §6.1 [9329-6.1-reestablish] [9329-6.1-keep-state]
        """
        effects: list[RelayEffect] = []
        line = self._remove(id, reason, effects)
        if line is None:
            return effects
        carrier = self._carriers.pop(id)
        carrier.line, carrier.is_connected = None, False
        if messages := self._take_waiting(carrier):
            self.counters.drop("datagram that found no way", len(messages))
        pause = self.policy.retry_seconds
        if line.is_half_open and now - line.opened_at < pause:
            self._resting[carrier.path] = now + pause
        self._lost[carrier] = None
        carrier.lost_until = now + self.policy.grace_seconds
        if line.is_half_open:
            self._forget(carrier)
        elif len(self._lost) > self.policy.connection_limit:
            self._forget(next(iter(self._lost)))
        return effects

    def _forget(self, carrier: Carrier) -> None:
        del self._lost[carrier]
        self._sources.remove(carrier)

    def time_passed(self, now: float) -> list[RelayEffect]:
        """Close what is overdue; to be called about once a second.

        Source: RFC 9329 §6.1
        """
        effects = super().time_passed(now)
        self._resting = {p: until for p, until in self._resting.items() if until > now}
        for carrier in list(self._lost):
            if now < carrier.lost_until:
                break  # the others were lost later
            self._forget(carrier)
        return effects
