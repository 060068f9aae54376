"""Connections whose balancer says first for whom it speaks.

Until it has, nobody knows which address to count the connection for. So they are
limited by themselves: in time, and in number.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

import threading

from iketcp.config import TransportConfig
from iketcp.net.proxy_protocol import take_header
from iketcp.net.tcp import ConnectionBroken, TcpConnection


class Announced:
    """Reads headers of the PROXY protocol, from the addresses that send them.

    Parameters
    ----------
    transport : TransportConfig
        Which addresses these are, and the limits: those of a connection that has not
        sent a valid message.
    """

    def __init__(self, transport: TransportConfig) -> None:
        self._senders = frozenset(transport.proxy_protocol_from)
        self._seconds = transport.prefix_deadline_seconds
        self._limit = transport.half_open_limit
        self._lock = threading.Lock()
        self._waiting: set[TcpConnection] = set()
        self._is_stopped = False

    def is_expected(self, carrier: TcpConnection) -> bool:
        """Tell whether a header comes first on a connection."""
        return str(carrier.remote_address.address) in self._senders

    def take(self, carrier: TcpConnection) -> bool:
        """Read the header; owner thread only; False when stopping.

        Raises
        ------
        ConnectionBroken
            There is none, or none in time, or too many are awaited.
        """
        with self._lock:
            if self._is_stopped:
                return False
            if len(self._waiting) >= self._limit:
                raise ConnectionBroken("too many PROXY headers are awaited")
            self._waiting.add(carrier)
        try:
            return take_header(carrier, self._seconds)
        finally:
            with self._lock:
                self._waiting.discard(carrier)

    def stop(self) -> None:
        """Wait for no header any more; from any thread."""
        with self._lock:
            self._is_stopped = True
            for carrier in self._waiting:
                carrier.stop()
