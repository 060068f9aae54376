"""TCP in, UDP out: the threads of a relay before a daemon that speaks only UDP.

Source: RFC 9329 §2
Source: RFC 3948 §2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from iketcp.config.relay import RelayConfig
from iketcp.effects import ConnectionId, Trace
from iketcp.environment import Clock
from iketcp.errors import EnvironmentProblem
from iketcp.net.connection import Connection
from iketcp.net.tcp import Listener, resolve_host
from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress, TcpConnection
from iketcp.net.tls import TlsServer
from iketcp.net.tls_options import TlsIdentity, TlsOptions
from iketcp.net.udp_ports import UdpPorts
from iketcp.peers.announced import Announced
from iketcp.peers.relay import Relay
from iketcp.peers.sinks import Sink
from iketcp.relay.effects import ClosePort, OpenPort, RelayEffect, SendFromPort
from iketcp.relay.tcp_responder import TcpResponderRelay


class TcpToUdp(Relay):
    """Waits for TCP Originators; parameters as of :class:`Relay`.

    Source: RFC 9329 §2
    """

    core: TcpResponderRelay

    def __init__(
        self,
        config: RelayConfig,
        sinks: Iterable[Sink] = (),
        clock: Clock | None = None,
    ) -> None:
        super().__init__(config, TcpResponderRelay(config.policy), sinks, clock)
        self._listener: Listener | None = None
        self._ports: UdpPorts | None = None
        self._last_id = 0
        self._announced = Announced(
            config.proxy_protocol_from,
            config.policy.half_open_seconds,
            config.policy.half_open_limit,
        )
        self._target = _target(config)
        self._server = _server(config)

    def _open(self) -> None:
        config = self.config
        self._ports = UdpPorts(config.dscp)
        self._listener = Listener(
            config.address,
            config.port,
            dscp=config.dscp,
            queue_limit=config.send_queue_octets,
        )
        self.tell("listening", {"address": str(self.address)})
        body = partial(self._run_datagrams, self._ports)
        self.serve("datagrams", body, self._ports.stop)
        self._threads.spawn("accept", partial(self._run_accept, self._listener))

    @property
    def address(self) -> SocketAddress:
        """Where it listens, with the real port."""
        if self._listener is None:
            raise LookupError("not started")
        return self._listener.address

    def reload(self, config: RelayConfig) -> None:
        """Use another target and another certificate for new connections."""
        target, server = _target(config), _server(config)
        self.config, self._target, self._server = config, target, server

    def _close_openers(self) -> None:
        self._announced.stop()
        if self._listener is not None:
            self._listener.close()

    def _close_datagrams(self) -> None:
        if self._ports is not None:
            self._ports.close()

    # --- threads ----------------------------------------------------------------------

    def _run_accept(self, listener: Listener) -> None:
        """Thread body: one new thread for each connection."""
        while (accepted := listener.accept()) is not None:
            self._last_id += 1
            id = ConnectionId(self._last_id)
            converse = partial(self._converse, id, accepted)
            try:
                body = partial(self._run_connection, id, converse)
                self._threads.spawn("connection", body)
            except EnvironmentProblem as error:
                accepted.close(graceful=False)
                self._complain(str(error))

    def _converse(self, id: ConnectionId, accepted: TcpConnection) -> str:
        try:
            connection = self._welcome(id, accepted)
        except BaseException:
            accepted.close(graceful=False)
            raise
        if connection is None:
            accepted.close(graceful=False)  # refused: not worth a moment's wait
            return "refused"
        return self._feed(id, connection)

    def _welcome(self, id: ConnectionId, accepted: TcpConnection) -> Connection | None:
        """Let the core have a connection, unless it refuses it."""
        if not self._announced.admit(accepted, self.tell):
            return None
        connection: Connection = accepted
        if self._server is not None:
            connection = self._server.wrap(accepted)
        client = str(accepted.remote_address.address)
        self.act(self.core.connection_opened, id, client)
        if id not in self.core.lines:
            return None
        self._begin(id, connection)
        return connection

    def _run_datagrams(self, ports: UdpPorts) -> None:
        """Thread body: what the daemon sends goes to the connections."""
        while (batches := ports.receive()) is not None:
            for port, datagrams in batches:
                self.act(self.core.datagrams_received, port, datagrams)

    # --- effects ----------------------------------------------------------------------

    def _send(self, effect: RelayEffect) -> Sequence[RelayEffect]:
        assert self._ports is not None  # invariant: it has been started
        match effect:
            case SendFromPort():
                self._ports.send(effect.port, effect.datagrams)
            case OpenPort():
                return self._open_port(self._ports, effect)
            case ClosePort():
                self._ports.give_back(effect.port)
            case _:
                return super()._send(effect)
        return ()

    def _open_port(self, ports: UdpPorts, effect: OpenPort) -> Sequence[RelayEffect]:
        try:
            ours = ports.open(effect.port, self._target)
        except EnvironmentProblem as error:
            return self.core.port_refused(effect.connection, str(error))
        fields = {"connection": effect.connection, "port": str(ours)}
        return (Trace("port-opened", fields),)

    # --- status -----------------------------------------------------------------------

    def _datagram_status(self) -> dict[str, Any]:
        ports = self._ports
        return {
            "ports": self.core.port_count,
            "absent_clients": len(self.core.absent),
            "octets_in": 0 if ports is None else ports.octets_in,
            "octets_out": 0 if ports is None else ports.octets_out,
            "lost_datagrams": 0 if ports is None else ports.lost,
        }


def _target(config: RelayConfig) -> SocketAddress:
    """Find the daemon.

    Raises
    ------
    EnvironmentProblem
        Its name has no address.
    """
    try:
        return SocketAddress(resolve_host(config.to_host)[0], config.to_port)
    except ConnectionBroken as error:
        raise EnvironmentProblem(str(error)) from error


def _server(config: RelayConfig) -> TlsServer | None:
    identity = config.tls
    if not isinstance(identity, TlsIdentity):
        return None
    return TlsServer(identity, TlsOptions())
