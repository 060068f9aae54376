"""Connections whose balancer says first for whom it speaks.

Until it has, nobody knows which address to count the connection for. So they are
limited by themselves: in time, and in number.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from iketcp.net.proxy_protocol import take_header
from iketcp.net.tcp import ConnectionBroken, TcpConnection

Tell = Callable[[str, Mapping[str, object]], None]
"""Takes the kind of an event and its fields."""


class Announced:
    """Reads headers of the PROXY protocol, from the addresses that send them.

    Parameters
    ----------
    senders : Iterable[str]
        Which addresses these are.
    seconds : float
        How long a header may take.
    limit : int
        How many may be awaited.
    """

    def __init__(self, senders: Iterable[str], seconds: float, limit: int) -> None:
        self._senders = frozenset(senders)
        self._seconds = seconds
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: set[TcpConnection] = set()
        self._is_stopped = False

    def admit(self, carrier: TcpConnection, tell: Tell) -> bool:
        """Read the header if one comes first; owner thread only.

        Returns
        -------
        bool
            False if the connection is to be closed: there is no header that makes
            sense, which is told as ``refused``, or we are stopping.
        """
        sender = carrier.remote_address
        if str(sender.address) not in self._senders:
            return True
        try:
            return self._take(carrier)
        except ConnectionBroken as error:
            tell("refused", {"remote": str(sender), "reason": str(error)})
            return False

    def _take(self, carrier: TcpConnection) -> bool:
        """Read the header; False when stopping.

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
