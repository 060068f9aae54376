"""TCP in, UDP out: a relay before an IKE daemon that speaks only UDP.

Every TCP connection gets a UDP port of its own, so that the daemon can tell clients
apart as it does behind a NAT. It is taken with the first message, for strangers shall
cost little.

A client whose connection breaks connects again. The daemon then sees a new UDP port, as
if a NAT had rebound, and may follow it once it has verified a message that came from
there. Until then it sends to the old port; for ever, if it takes itself to be behind a
NAT as well, which it does with a relay before it (RFC 7296 §2.23). So a port outlives
its connection for a grace time, and goes over to the new one as soon as that has shown
an SA of the old one, or has shown it shortly before the old one's end was noticed:

- an IKE SA, by both its SPIs, which count once *the daemon* has used them on a port;
- a Child SA, by the SPI of ESP towards the daemon, which counts when somebody shows it
  whom the daemon has answered, and only for the first one who does.

There it stays for as long as the daemon chooses to speak to it: with a request or with
ESP, for a response only goes where its request came from.

Who has read an SPI on the way can show it, too. He gets what the daemon sends to a port
whose client is gone, which he could have read on the way as well; never what belongs to
a connection that is still there. And the daemon does not follow him, for he cannot make
a message that verifies.

Source: RFC 9329 §6.1
Source: RFC 7296 §2.23
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iketcp.effects import CloseConnection, ConnectionId, Trace
from iketcp.relay.effects import ClosePort, OpenPort, PortId, RelayEffect, SendFromPort
from iketcp.relay.lines import Line, RelayLines
from iketcp.relay.messages import (
    datagram_of,
    esp_key,
    ike_key,
    is_first_exchange,
    is_response,
    sort_datagrams,
    transmit,
)
from iketcp.relay.policy import RelayPolicy
from iketcp.stream import MessageKind, StreamDecoder, StreamMessage


@dataclass(eq=False, slots=True)
class Client:
    """A TCP Originator: its connection or none, its ports, the SAs it has shown."""

    line: Line | None
    """None while its connection is lost."""
    port: PortId | None = None
    """From which it speaks to the daemon; None before its first message."""
    home: PortId | None = None
    """Where the daemon last chose to speak to it."""
    inherited: dict[PortId, float] = field(default_factory=dict)
    """Ports of its earlier connections, and until when each is kept if it is not
    ``home``; oldest first."""
    keys: dict[bytes, None] = field(default_factory=dict)
    """SPIs of its SAs, in the order in which they came up."""
    claimant: Client | None = None
    """Another client, who has shown one of its SAs while its connection was there."""
    claimed_at: float = 0.0
    absent_until: float = 0.0
    """After its connection is lost: when it is forgotten."""

    def ports(self) -> list[PortId]:
        """Every port, its own last."""
        return [*self.inherited, *(() if self.port is None else (self.port,))]


class TcpResponderRelay(RelayLines):
    """Which connection is which UDP port.

    Parameters
    ----------
    policy : RelayPolicy
        The limits.

    Attributes
    ----------
    absent : dict[Client, None]
        Clients whose connection is lost, and who may come back; oldest first.

    Source: RFC 9329 §6.1
    """

    def __init__(self, policy: RelayPolicy) -> None:
        super().__init__(policy)
        self.absent: dict[Client, None] = {}
        self._clients: dict[ConnectionId, Client] = {}
        self._by_port: dict[PortId, Client] = {}
        self._by_key: dict[bytes, Client] = {}
        self._last_port = 0

    @property
    def port_count(self) -> int:
        """UDP ports that are taken."""
        return len(self._by_port)

    # --- connections ------------------------------------------------------------------

    def connection_opened(
        self, id: ConnectionId, address: str, now: float
    ) -> list[RelayEffect]:
        """Take a new connection, or refuse it.

        Source: RFC 9329 §6.1 [9329-6.1-idle]
        """
        refusal = self._refusal(address)
        if refusal is not None:
            self.counters.close(refusal)
            return [CloseConnection(id, refusal)]
        decoder = StreamDecoder(expects_prefix=True)  # [9329-6.1-reprefix]
        line = Line(id, address, now, now, decoder)
        self._add(line)
        self._clients[id] = Client(line)
        return []

    def connection_lost(
        self, id: ConnectionId, reason: str, now: float
    ) -> list[RelayEffect]:
        """Forget a connection; its ports stay a while if its client may come back.

        Source: RFC 9329 §6.1 [9329-6.1-keep-state]
        """
        effects: list[RelayEffect] = []
        if self._remove(id, reason, effects) is None:
            return effects
        client = self._clients.pop(id)
        client.line = None
        client.absent_until = now + self.policy.grace_seconds
        self.absent[client] = None
        claimant, client.claimant = client.claimant, None
        is_recent = now - client.claimed_at < self.policy.claim_seconds
        if not client.keys:
            self._forget(client, effects)
        elif claimant is not None and claimant.line is not None and is_recent:
            self._inherit(claimant, client, now, effects)
        elif len(self.absent) > self.policy.connection_limit:
            self._forget(next(iter(self.absent)), effects)
        return effects

    def port_refused(self, id: ConnectionId, reason: str) -> list[RelayEffect]:
        """Close a connection that cannot have the port it needs."""
        effects: list[RelayEffect] = []
        if (line := self.lines.get(id)) is not None:
            self._close(line, reason, effects)
        return effects

    def _forget(self, client: Client, effects: list[RelayEffect]) -> None:
        """Give up what an absent client has."""
        del self.absent[client]
        for port in client.ports():
            self._close_port(port, effects)
        for key in client.keys:
            del self._by_key[key]

    def _give_back(
        self, client: Client, port: PortId, effects: list[RelayEffect]
    ) -> None:
        """Give up one inherited port."""
        del client.inherited[port]
        self._close_port(port, effects)

    def _close_port(self, port: PortId, effects: list[RelayEffect]) -> None:
        del self._by_port[port]
        effects.append(ClosePort(port))

    # --- towards the daemon -----------------------------------------------------------

    def octets_received(
        self, id: ConnectionId, octets: bytes, now: float
    ) -> list[RelayEffect]:
        """Take what a connection delivered; its messages become datagrams.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        client = self._clients.get(id)
        if client is None or client.line is None:
            return effects
        datagrams = []
        for message in self._read(client.line, octets, now, effects):
            self._shown(client, client.line, message, now, effects)
            datagram = datagram_of(message)
            if datagram is None:
                self.counters.drop("message too long for a datagram")
            else:
                datagrams.append(datagram)
        if datagrams:
            if client.port is None:
                self._open_port(client, id, effects)
            assert client.port is not None  # invariant: it was opened
            effects.append(SendFromPort(client.port, datagrams))
        return effects

    def _open_port(
        self, client: Client, id: ConnectionId, effects: list[RelayEffect]
    ) -> None:
        self._last_port += 1
        port = client.port = PortId(self._last_port)
        self._by_port[port] = client
        effects.append(OpenPort(port, id))

    def _shown(
        self,
        client: Client,
        line: Line,
        message: StreamMessage,
        now: float,
        effects: list[RelayEffect],
    ) -> None:
        """See whose SA a client shows; it may be its own from an earlier connection.

        Source: RFC 9329 §6.1 [9329-6.1-recognise]
        """
        kind, octets = message
        is_esp = kind is MessageKind.ESP
        key = esp_key(octets) if is_esp else ike_key(octets)
        if key is None:
            return
        owner = self._by_key.get(key)
        if owner is None:
            if is_esp and not line.is_half_open:
                self._learn(client, key)
        elif owner is not client:
            # The daemon need not answer him who goes on with an SA.
            self._welcome(line)
            if owner.line is None:
                self._inherit(client, owner, now, effects)
            else:
                owner.claimant, owner.claimed_at = client, now

    def _inherit(
        self, heir: Client, absent: Client, now: float, effects: list[RelayEffect]
    ) -> None:
        """Let a client's new connection have the ports of its lost one."""
        del self.absent[absent]
        until = now + self.policy.grace_seconds
        for port in absent.ports():
            self._by_port[port] = heir
            heir.inherited[port] = until
        heir.home = heir.home or absent.home
        spare = [port for port in heir.inherited if port != heir.home]
        for port in spare[: max(0, len(heir.inherited) - self.policy.inherited_limit)]:
            self._give_back(heir, port, effects)
        self._take_keys(heir, absent)
        assert heir.line is not None  # invariant: it has shown something
        fields = {"connection": heir.line.id, "ports": len(heir.inherited)}
        effects.append(Trace("client-returned", fields))

    def _learn(self, client: Client, key: bytes) -> None:
        """Remember an SA of a client, in place of its oldest if it has many."""
        client.keys[key] = None
        self._by_key[key] = client
        if len(client.keys) > self.policy.key_limit:
            oldest = next(iter(client.keys))
            del client.keys[oldest], self._by_key[oldest]

    def _take_keys(self, client: Client, other: Client) -> None:
        """Let one client have every SA of another."""
        keys, other.keys = other.keys, {}
        for key in keys:
            self._learn(client, key)

    # --- from the daemon --------------------------------------------------------------

    def datagrams_received(
        self, port: PortId, datagrams: Sequence[bytes], now: float
    ) -> list[RelayEffect]:
        """Take what the daemon sent to a port; it becomes messages of a stream.

        Source: RFC 9329 §3, RFC 3948 §2
        """
        effects: list[RelayEffect] = []
        client = self._by_port.get(port)
        if client is None:
            return effects
        messages = list(sort_datagrams(datagrams, True, self.counters))
        line = client.line
        if not messages:
            return effects
        if line is None:
            self.counters.drop("datagram for an absent client", len(messages))
            return effects
        for kind, octets in messages:
            if kind is MessageKind.ESP:
                self._welcome(line)
                client.home = port
            else:
                self._heard_ike(client, line, port, octets, now, effects)
        line.heard_at = now
        effects.extend(transmit(line.id, messages))
        return effects

    def _heard_ike(
        self,
        client: Client,
        line: Line,
        port: PortId,
        message: bytes,
        now: float,
        effects: list[RelayEffect],
    ) -> None:
        """Note whom the daemon sends messages of an IKE SA, and where.

        Source: RFC 9329 §6.1 [9329-6.1-extraneous]
        """
        if not is_first_exchange(message):
            self._welcome(line)
        is_request = not is_response(message)
        if is_request:
            client.home = port
            line.is_replaced = False
        key = ike_key(message)
        if key is None:
            return
        owner = self._by_key.get(key)
        if owner is None:
            self._learn(client, key)
        elif owner is not client and is_request:
            self._followed(client, owner, now, effects)

    def _followed(
        self, client: Client, owner: Client, now: float, effects: list[RelayEffect]
    ) -> None:
        """The daemon has followed a client from one connection to another."""
        if owner.line is None:
            self._inherit(client, owner, now, effects)
        else:
            owner.line.is_replaced = True
            self._take_keys(client, owner)

    # --- time -------------------------------------------------------------------------

    def time_passed(self, now: float) -> list[RelayEffect]:
        """Close what is overdue, ports included; to be called about once a second.

        Source: RFC 9329 §6.1
        """
        effects = super().time_passed(now)
        for client in list(self.absent):
            if now < client.absent_until:
                break  # the others came later
            self._forget(client, effects)
        for client in self._clients.values():
            for port, until in list(client.inherited.items()):
                if port == client.home:
                    client.inherited[port] = now + self.policy.grace_seconds
                elif until <= now:
                    self._give_back(client, port, effects)
        return effects
