"""ESP packets: to which Child SA they go, and what they prove.

A packet names its Child SA by our SPI, whatever way it came. Only a packet that was
authentic and no replay moves the session that way, and only then is the control lock
taken.

Source: RFC 4303 §3.4
Source: RFC 9329 §6.1
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from iketcp.effects import Effect
from iketcp.endpoint.arrival import Arrival
from iketcp.endpoint.carry_out import OutputCarrier
from iketcp.endpoint.data_plane import open_run
from iketcp.endpoint.ike_messages import IkeMessages
from iketcp.endpoint.tables import Counters, LiveChild, Tables


class EspMessages:
    """Finds the Child SA of each packet.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    counters : Counters
        What was dropped.
    carrier : OutputCarrier
        Decides which Child SA packets go out on.
    ike : IkeMessages
        Moves sessions to other connections.
    control_lock : AbstractContextManager
        Held while a session moves.
    """

    def __init__(
        self,
        tables: Tables,
        counters: Counters,
        carrier: OutputCarrier,
        ike: IkeMessages,
        control_lock: AbstractContextManager[object],
    ) -> None:
        self._tables = tables
        self._counters = counters
        self._carrier = carrier
        self._ike = ike
        self._control_lock = control_lock

    def take(
        self,
        arrival: Arrival,
        spi_in: bytes,
        packets: Sequence[bytes],
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """Open a run of ESP packets, and follow them to their connection.

        Their Child SA is found by the SPI alone, whatever connection they came on
        [9329-6.1-recognise].

        Source: RFC 4303 §3.4.2, RFC 9329 §6.1
        """
        live = self._tables.children.get(spi_in)
        if live is not None and not arrival.may_carry(live.session):
            self._counters.drop("ESP of another session's", len(packets))
            return None
        if live is None:
            return self._take_unknown(arrival, spi_in, len(packets))
        opened = open_run(live, packets, effects)
        if opened.is_authentic:
            self._heard(live, arrival, now, effects)
        if opened.integrity_failures:
            self._counters.drop("ESP integrity", opened.integrity_failures)
            return arrival.integrity_failed()
        return None

    def _take_unknown(self, arrival: Arrival, spi_in: bytes, count: int) -> str | None:
        """Judge ESP packets that have no Child SA; returns why to close, if so.

        Those that were under way to one as it was removed, or that came before the
        answer about it, are no sign of corruption [9329-6.1-few-unknown].

        Source: RFC 7296 §2.8, RFC 9329 §6.1
        """
        if spi_in in self._tables.retired:
            self._counters.drop("ESP of a removed Child SA", count)
            return None
        if arrival.owner is not None and arrival.owner.awaits(spi_in):
            self._counters.drop("ESP of a Child SA not yet agreed", count)
            return None
        self._counters.drop("unknown ESP SPI", count)
        return arrival.unknown_spi(count)

    def _heard(
        self, live: LiveChild, arrival: Arrival, now: float, effects: list[Effect]
    ) -> None:
        """Note authentic ESP [9329-6.1-valid-esp].

        Where the session is here already, no lock is taken: only this thread counts
        what is wrong on this connection, and the time of its last valid message matters
        once the session has moved away, when being late by one packet is no harm.

        Source: RFC 9329 §6.1, RFC 7296 §2.4
        """
        session = live.session
        if live.esp.is_sending_deferred:
            # the peer receives on it, for it sends on it. RFC 7296 §2.8
            self._carrier.prefer(live.esp)
        sa = session.ike  # another thread may end the session right now
        if sa is not None:
            sa.last_heard = now
        if arrival.is_home(session):
            arrival.heard_at_home(now)
        else:
            with self._control_lock:
                self._ike.followed(session, arrival, now, effects)
