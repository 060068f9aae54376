"""What one connection delivers, handed to the endpoint in the connection's own thread.

Source: RFC 9329 §6.1, RFC 9329 App. A
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from iketcp.effects import ConnectionId, Effect
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import Stream
from iketcp.environment import Clock
from iketcp.ike.nat_detection import Path
from iketcp.net.connection import Connection
from iketcp.peers.lines import Lines


class Surroundings(NamedTuple):
    """What feeds of one peer share."""

    endpoint: Endpoint
    clock: Clock
    lines: Lines
    execute: Callable[[Sequence[Effect]], None]
    tell: Callable[[str, Mapping[str, object]], None]


class Feed:
    """One connection, from its first octet to its last.

    Parameters
    ----------
    id : ConnectionId
        Its number among the peer's lines.
    connection : Connection
        Only this thread reads it.
    around : Surroundings
        The peer's.
    """

    def __init__(
        self, id: ConnectionId, connection: Connection, around: Surroundings
    ) -> None:
        self._id = id
        self._connection = connection
        self._around = around

    def begin(self, is_tcp_originator: bool, path_mtu: int) -> Stream | None:
        """Show the endpoint the connection; ``None`` if it refuses.

        Parameters
        ----------
        path_mtu : int
            Largest outer IP packet that the configuration allows, in octets.
        """
        connection, around = self._connection, self._around
        local, remote = connection.local_address, connection.remote_address
        opened = partial(
            around.endpoint.connection_opened,
            self._id,
            Path(local.address, local.port, remote.address, remote.port),
            is_tcp_originator,
            around.clock.now(),
            min(connection.path_mtu, path_mtu),
        )
        effects = around.lines.begin(self._id, opened)
        stream = around.endpoint.tables.streams.get(self._id)
        if stream is None:
            connection.close(graceful=False)  # refused: not worth a moment's wait
        around.execute(effects)
        return stream

    def run(self, patience_seconds: float | None) -> str:
        """Hand over what comes; returns why that ended.

        Parameters
        ----------
        patience_seconds : float or None
            How long to wait until the peer says anything at all; ``None``: for ever.

        Raises
        ------
        ConnectionBroken
            The connection or its handshake failed, or nothing came in time.
        """
        connection, around = self._connection, self._around
        if not connection.handshake():  # in whose time, the endpoint says
            return "closed by us"
        if connection.protection:
            fields = {"connection": self._id, "protection": connection.protection}
            around.tell("tls", fields)
        deadline = None
        if patience_seconds is not None:
            deadline = time.monotonic() + patience_seconds
        while not (end := self._hand_over(deadline)):
            deadline = None
        return end

    def _hand_over(self, deadline: float | None) -> str:
        """Wait for octets, and hand them over; returns why there are no more, if so.

        Whoever waits next has let go of them: a thousand that wait would hold much.
        """
        around = self._around
        octets = self._connection.wait_and_receive(deadline=deadline)
        if not octets:
            return "closed by us" if octets is None else "closed by the peer"
        receive, now = around.endpoint.octets_received, around.clock.now()
        received = partial(receive, self._id, octets, now)
        around.execute(around.lines.take(self._id, received))
        return ""
