"""The connections of a peer: who may send on which, and in what order.

Any thread may send on any connection, but not at any moment. The stream prefix comes
first, and a message must not overtake the answer that makes sense of it: nothing is
sent twice over TCP, so what the peer cannot place yet is lost. Each connection's own
thread therefore has a *turn*, from asking the endpoint to sending what it answered;
IKE messages of other threads wait for it. ESP does not wait, but it finds a connection
only after its prefix.

Source: RFC 9329 §4
Source: RFC 9329 §6.2
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from iketcp.effects import ConnectionId, Effect, Transmit
from iketcp.net.connection import Connection


class _Line(NamedTuple):
    connection: Connection
    turn: threading.Lock


class Lines:
    """Connections by number.

    Attributes
    ----------
    open : dict[ConnectionId, Connection]
        Those that have begun.
    prepare : Callable[[Sequence[Effect]], None]
        Called with all that is to be done before any of it is: a Child SA has to
        receive before the answer goes out that tells of it. RFC 7296 §2.8.
    """

    def __init__(self) -> None:
        self.prepare: Callable[[Sequence[Effect]], None] = lambda effects: None
        self.open: dict[ConnectionId, Connection] = {}
        self._lines: dict[ConnectionId, _Line] = {}

    def add(self, id: ConnectionId, connection: Connection) -> None:
        """Note a connection before the endpoint hears of it."""
        self._lines[id] = _Line(connection, threading.Lock())

    def remove(self, id: ConnectionId) -> None:
        """Forget a connection that has ended."""
        self.open.pop(id, None)
        self._lines.pop(id, None)

    def all(self) -> list[tuple[ConnectionId, Connection]]:
        """Every connection, also those about to begin."""
        return [(id, line.connection) for id, line in list(self._lines.items())]

    def stop(self, id: ConnectionId) -> None:
        """Have a connection closed by its own thread."""
        if (line := self._lines.get(id)) is not None:
            line.connection.stop()

    def begin(
        self, id: ConnectionId, act: Callable[[], Sequence[Effect]]
    ) -> list[Effect]:
        """Do as :meth:`take`; then let ESP use the connection, too [9329-4-prefix]."""
        rest = self.take(id, act)
        self.open[id] = self._lines[id].connection
        return rest

    def take(
        self, id: ConnectionId, act: Callable[[], Sequence[Effect]]
    ) -> list[Effect]:
        """Take the connection's turn: ask the endpoint and send what it answers.

        Answers go before other effects, which may take a while. Meanwhile packets for
        a new Child SA could reach the peer before it knows of it.

        Parameters
        ----------
        act : Callable[[], Sequence[Effect]]
            Tells the endpoint of an event.

        Returns
        -------
        list[Effect]
            The effects that are left to carry out.
        """
        rest = []
        connection, turn = self._lines[id]
        with turn:
            effects = act()
            self.prepare(effects)
            for effect in effects:
                if isinstance(effect, Transmit) and effect.connection == id:
                    connection.send(effect.octets, effect.droppable)
                else:
                    rest.append(effect)
        return rest

    def wait_writable(self, timeout_seconds: float) -> None:
        """Wait until the only connection there is takes more at once.

        What is not sealed yet is still in an order that can be changed. With several
        connections nobody waits: a slow peer may not stop what is for others, and its
        packets are dropped when its queue is full.
        """
        if len(self.open) == 1:
            for connection in list(self.open.values()):
                connection.wait_writable(timeout_seconds)

    def transmit(self, effect: Transmit) -> None:
        """Send in nobody's turn; on a connection that is gone, nothing is sent."""
        if effect.droppable:
            if (connection := self.open.get(effect.connection)) is not None:
                connection.send(effect.octets, droppable=True)
        elif (line := self._lines.get(effect.connection)) is not None:
            with line.turn:
                line.connection.send(effect.octets, droppable=False)
