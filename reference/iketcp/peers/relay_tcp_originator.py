"""UDP in, TCP out: the threads of a relay before a client that speaks only UDP.

Source: RFC 9329 §6.1
Source: RFC 3948 §2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from iketcp.config.relay import RelayConfig
from iketcp.effects import ConnectionId, SendDatagrams
from iketcp.environment import Clock
from iketcp.errors import EnvironmentProblem
from iketcp.net.connection import Connection
from iketcp.net.tcp import connect, resolve_host
from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress
from iketcp.net.tls import TlsClient
from iketcp.net.tls_connection import TlsConnection
from iketcp.net.tls_options import TlsOptions, TlsTrust
from iketcp.net.udp import UdpSockets
from iketcp.peers.relay import Relay
from iketcp.peers.sinks import Sink
from iketcp.relay.effects import Connect, RelayEffect
from iketcp.relay.tcp_originator import TcpOriginatorRelay


class UdpToTcp(Relay):
    """Waits for UDP clients; parameters as of :class:`Relay`.

    Source: RFC 9329 §6.1
    """

    core: TcpOriginatorRelay

    def __init__(
        self,
        config: RelayConfig,
        sinks: Iterable[Sink] = (),
        clock: Clock | None = None,
    ) -> None:
        super().__init__(config, TcpOriginatorRelay(config.policy), sinks, clock)
        self._sockets: UdpSockets | None = None
        self._client = _client(config)

    def _open(self) -> None:
        config = self.config
        self._sockets = sockets = UdpSockets(
            config.address, config.ike_port, config.port, dscp=config.dscp
        )
        for address in sockets.addresses:
            self.tell("listening", {"address": str(address), "protocol": "udp"})
        body = partial(self._run_datagrams, sockets)
        self.serve("datagrams", body, sockets.stop)

    @property
    def addresses(self) -> list[SocketAddress]:
        """Where it listens, with the real ports; that of IKE alone first."""
        return [] if self._sockets is None else self._sockets.addresses

    def reload(self, config: RelayConfig) -> None:
        """Use another gateway, and trust another CA, for new connections."""
        client = _client(config)
        self.config, self._client = config, client

    def _close_openers(self) -> None:
        self.core.is_taking_sources = False

    def _close_datagrams(self) -> None:
        if self._sockets is not None:
            self._sockets.close()

    # --- threads ----------------------------------------------------------------------

    def _run_datagrams(self, sockets: UdpSockets) -> None:
        """Thread body: what clients send goes to their connections."""
        while (batches := sockets.receive()) is not None:
            for path, datagrams in batches:
                self.act(self.core.datagrams_received, path, datagrams)

    def _converse(self, id: ConnectionId) -> str:
        """Connect, then carry octets until the end."""
        client = self._client
        connection = self._connect(client)
        if connection is None:
            return "closed by us"
        self._begin(id, connection)
        patience = self.config.connect_timeout_seconds
        if isinstance(connection, TlsConnection) and not connection.handshake(patience):
            return "closed by us"
        self.act(lambda _: self.core.connected(id))
        try:
            return self._feed(id, connection)
        finally:
            if client is not None and isinstance(connection, TlsConnection):
                client.remember(connection)

    def _connect(self, client: TlsClient | None) -> Connection | None:
        """Try every address of the gateway; None if told to stop.

        Raises
        ------
        ConnectionBroken
            None of them can be reached.
        """
        failure: ConnectionBroken | None = None
        config = self.config
        for address in resolve_host(config.to_host):
            try:
                carrier = connect(
                    address,
                    config.to_port,
                    config.connect_timeout_seconds,
                    stop=self._stop,
                    dscp=config.dscp,
                    queue_limit=config.send_queue_octets,
                )
            except ConnectionBroken as error:
                failure = error
            else:
                if client is None or carrier is None:
                    return carrier
                return client.wrap(carrier)
        assert failure is not None  # invariant: a name that is found has an address
        raise failure

    # --- effects ----------------------------------------------------------------------

    def _send(self, effect: RelayEffect) -> Sequence[RelayEffect]:
        if isinstance(effect, SendDatagrams):
            assert self._sockets is not None  # invariant: it has been started
            self._sockets.send(effect.path, effect.datagrams)
            return ()
        return super()._send(effect)

    def _do(self, effect: RelayEffect) -> None:
        if not isinstance(effect, Connect):
            super()._do(effect)
            return
        id = effect.connection
        try:
            body = partial(self._run_connection, id, partial(self._converse, id))
            self._threads.spawn("connection", body)
        except EnvironmentProblem as error:
            self.act(self.core.connection_lost, id, str(error))

    # --- status -----------------------------------------------------------------------

    def _datagram_status(self) -> dict[str, Any]:
        sockets = self._sockets
        return {
            "sockets": list(map(str, self.addresses)),
            "octets_in": 0 if sockets is None else sockets.octets_in,
            "octets_out": 0 if sockets is None else sockets.octets_out,
            "lost_datagrams": 0 if sockets is None else sockets.lost,
        }


def _client(config: RelayConfig) -> TlsClient | None:
    trust = config.tls
    if not isinstance(trust, TlsTrust):
        return None
    return TlsClient(trust, TlsOptions(), _sni(trust.name))


def _sni(name: str) -> str | None:
    """Return a host name; an address is no name to send."""
    try:
        ip_address(name)
    except ValueError:
        return name
    return None
