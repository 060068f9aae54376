"""The responder: listens, and gives every TCP connection a thread, all of UDP one.

On a port with TLS its handshake takes place in that thread. It is part of what a
stranger may do: counted and timed like everything before a first valid message
[9329-6.1-idle].

Source: RFC 9329 §2, RFC 9329 App. A
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from iketcp.errors import EnvironmentProblem
from iketcp.net.connection import Connection
from iketcp.net.espintcp import EspInTcpConnection
from iketcp.net.tcp import (
    Listener,
    SocketAddress,
    TcpConnection,
)
from iketcp.net.tls import TlsServer
from iketcp.peers.announced import Announced
from iketcp.peers.peer import Peer


class Responder(Peer):
    """Waits for initiators, over TCP or UDP; parameters as of :class:`Peer`.

    Source: RFC 9329 §2, RFC 7296 §2.11
    """

    _plain: Listener | None = None
    _tls: Listener | None = None

    def _prepare(self) -> None:
        transport = self.configuration.transport
        self._announced = Announced(
            transport.proxy_protocol_from,
            transport.prefix_deadline_seconds,
            transport.half_open_limit,
        )
        options = self.configuration.tls
        if options is not None:
            assert options.identity is not None  # invariant: a responder's has it
            log_key = self._reports.tls_key_log
            self._tls_server = TlsServer(
                options.identity, replace(options.options, log_key=log_key)
            )

    def _open(self) -> None:
        options = self.configuration
        if options.transport.protocol == "udp":
            self.endpoint.datagrams.takes_first = True  # what comes first is not lost
            opened = self._open_datagrams()
            for address in opened.sockets.addresses:
                self.tell("listening", {"address": str(address), "protocol": "udp"})
            return
        if options.local.port is not None:
            self._plain = self._listen(options.local.port)
            self.tell("listening", {"address": str(self._plain.address)})
            self._accept_on("accept", self._plain, self._bare)
        if options.tls is not None:
            self._tls = self._listen(options.tls.port)
            where = str(self._tls.address)
            self.tell("listening", {"address": where, "protocol": "tls"})
            self._accept_on("accept-tls", self._tls, self._tls_server.wrap)

    def _bare(self, carrier: TcpConnection) -> Connection:
        """Take a connection as it is, or leave its ESP to the kernel."""
        if self.configuration.tun.dataplane == "kernel":
            return EspInTcpConnection(carrier, is_tcp_originator=False)
        return carrier

    def _listen(self, port: int) -> Listener:
        options = self.configuration
        return Listener(
            options.local.address,
            port,
            dscp=options.transport.dscp,
            queue_limit=options.transport.send_queue_octets,
        )

    def _accept_on(
        self,
        name: str,
        listener: Listener,
        wrap: Callable[[TcpConnection], Connection],
    ) -> None:
        self._threads.spawn(name, partial(self._run_accept, listener, wrap))

    @property
    def address(self) -> SocketAddress:
        """Where it listens, with the real port: over UDP, that of IKE alone.

        Raises
        ------
        LookupError
            It has not started, or only TLS is spoken.
        """
        if self.datagrams is not None:
            return self.datagrams.sockets.addresses[0]
        return _address_of(self._plain)

    @property
    def tls_address(self) -> SocketAddress:
        """Where it speaks TLS, with the real port.

        Raises
        ------
        LookupError
            It has not started, or no TLS is spoken.
        """
        return _address_of(self._tls)

    def _run_accept(
        self, listener: Listener, wrap: Callable[[TcpConnection], Connection]
    ) -> None:
        """Thread body: one new thread for each connection."""
        while self._accept_one(listener, wrap):
            pass  # the last one is let go of before the next is waited for

    def _accept_one(
        self, listener: Listener, wrap: Callable[[TcpConnection], Connection]
    ) -> bool:
        """Wait for a connection, and give it a thread; False when stopping."""
        carrier = listener.accept()
        if carrier is None:
            return False
        try:
            body = partial(self._serve, carrier, wrap)
            self._threads.spawn("connection", body)
        except EnvironmentProblem as error:
            carrier.close(graceful=False)
            self.tell("problem", {"text": str(error)})
        return True

    def _serve(
        self, carrier: TcpConnection, wrap: Callable[[TcpConnection], Connection]
    ) -> None:
        """Thread body: hear for whom a connection is, if somebody says it; feed it."""
        if self._announced.admit(carrier, self.tell):
            self.run_connection(wrap(carrier), is_tcp_originator=False)
        else:
            carrier.close(graceful=False)

    def _close_openers(self) -> None:
        self._announced.stop()
        self.endpoint.datagrams.takes_first = False
        for listener in (self._plain, self._tls):
            if listener is not None:
                listener.close()


def _address_of(listener: Listener | None) -> SocketAddress:
    if listener is None:
        raise LookupError("nobody listens there")
    return listener.address
