"""The initiator: connects, and connects again when the connection breaks.

One thread does both, for there is one connection at a time: it waits for the endpoint
to ask for a connection, makes it, and reads it until it ends.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

import threading

from iketcp.effects import IkeSaClosed
from iketcp.errors import IketcpError
from iketcp.net.tcp import ConnectionBroken, TcpConnection, connect, resolve_host
from iketcp.peers.peer import Peer


class Initiator(Peer):
    """The TCP Originator of one session.

    Source: RFC 9329 §6.1
    """

    def _open(self) -> None:
        self._asked = threading.Event()
        self._delay = 0.0
        self._attempt = 0
        self._spawn("originator", self._run_originator)
        self.execute(self.endpoint.initiate())

    def _connect_after(self, delay_seconds: float) -> None:
        self._delay = delay_seconds
        self._asked.set()

    def _close_openers(self) -> None:
        if hasattr(self, "_asked"):
            self._asked.set()

    def _sa_closed(self, effect: IkeSaClosed) -> None:
        """A session that never came up will not come up by trying again."""
        if not self._was_established and not self.is_stopping:
            self._fail(effect.reason)

    def _run_originator(self) -> None:
        """Thread body: connect whenever the endpoint asks for it."""
        while True:
            self._asked.wait()
            if self.is_stopping:
                return
            self._asked.clear()
            if self._delay and self._stop.wait(self._delay):
                return
            try:
                connection = self._connect()
            except ConnectionBroken as error:
                self.tell("connect-failed", {"reason": str(error)})
                self.execute(self.endpoint.connection_failed(self.clock.now()))
                continue
            except IketcpError as error:
                self._fail(str(error))
                return
            if connection is None:
                return
            self.run_connection(connection, is_tcp_originator=True)

    def _connect(self) -> TcpConnection | None:
        """Try the peer's addresses in turn, one an attempt.

        Raises
        ------
        ConnectionBroken
            No connection; another attempt may succeed.
        """
        options = self.configuration
        transport = options.transport
        addresses = resolve_host(options.remote.address or "")
        address = addresses[self._attempt % len(addresses)]
        self._attempt += 1
        return connect(
            address,
            options.remote.port,
            transport.connect_timeout_seconds,
            local_address=options.local.address,
            stop=self._stop,
            dscp=transport.dscp,
            queue_limit=transport.send_queue_octets,
        )
