"""The responder: listens, and gives every TCP connection a thread, all of UDP one.

Source: RFC 9329 §2
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from functools import partial

from iketcp.errors import EnvironmentProblem
from iketcp.net.tcp import Listener, SocketAddress, TcpConnection
from iketcp.peers.peer import Peer


class Responder(Peer):
    """Waits for initiators, over TCP or UDP; parameters as of :class:`Peer`.

    Source: RFC 9329 §2, RFC 7296 §2.11
    """

    _listener: Listener | None = None

    def _open(self) -> None:
        options = self.configuration
        if options.transport.protocol == "udp":
            opened = self._open_datagrams()
            for address in opened.sockets.addresses:
                self.tell("listening", {"address": str(address), "protocol": "udp"})
            self.endpoint.datagrams.takes_first = True
            return
        self._listener = Listener(
            options.local.address,
            options.local.port,
            dscp=options.transport.dscp,
            queue_limit=options.transport.send_queue_octets,
        )
        self.tell("listening", {"address": str(self._listener.address)})
        self._threads.spawn("accept", partial(self._run_accept, self._listener))

    @property
    def address(self) -> SocketAddress:
        """Where it listens, with the real port: over UDP, that of IKE alone."""
        if self.datagrams is not None:
            return self.datagrams.sockets.addresses[0]
        if self._listener is None:
            raise LookupError("not started")
        return self._listener.address

    def _run_accept(self, listener: Listener) -> None:
        """Thread body: one new thread for each connection."""
        while (connection := listener.accept()) is not None:
            self._serve(connection)

    def _serve(self, connection: TcpConnection) -> None:
        body = partial(self.run_connection, connection, False)
        try:
            self._threads.spawn("connection", body)
        except EnvironmentProblem as error:
            connection.close(graceful=False)
            self.tell("problem", {"text": str(error)})

    def _close_openers(self) -> None:
        self.endpoint.datagrams.takes_first = False
        if self._listener is not None:
            self._listener.close()
