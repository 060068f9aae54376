"""The responder: listens, and gives every TCP connection a thread.

Source: RFC 9329 §2
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from functools import partial

from iketcp.errors import EnvironmentProblem
from iketcp.net.tcp import Listener, SocketAddress, TcpConnection
from iketcp.peers.peer import Peer


class Responder(Peer):
    """Waits for TCP Originators on one port; parameters as of :class:`Peer`.

    Source: RFC 9329 §2
    """

    _listener: Listener | None = None

    def _open(self) -> None:
        options = self.configuration
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
        """Where it listens, with the real port."""
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
        if self._listener is not None:
            self._listener.close()
