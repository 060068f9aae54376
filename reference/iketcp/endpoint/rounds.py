"""Looking after IKE SAs: when their time has come, or something has happened to them.

An endpoint may hold very many IKE SAs, nearly all of them idle. So nobody goes through
all of them: each has an appointment for the moment when it has something to do next,
and whatever may change that moment stirs it, so that it is looked at in the next round.

Source: RFC 7296 §2.4
Source: RFC 7296 §2.8
"""

from __future__ import annotations

from iketcp.agenda import Agenda
from iketcp.effects import Effect
from iketcp.endpoint.carry_out import OutputCarrier
from iketcp.endpoint.tables import Tables
from iketcp.ike import upkeep
from iketcp.ike.context import IkeContext

USAGE_TICK_SECONDS = 1.0
"""Choice: how often volumes are compared with their limits."""


class Rounds:
    """What time brings to the IKE SAs of an endpoint; the control lock is held.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    context : IkeContext
        Says which IKE SAs were stirred.
    carrier : OutputCarrier
        Carries out what an IKE SA wants.

    Source: RFC 7296 §2.4, RFC 7296 §2.8
    """

    def __init__(
        self, tables: Tables, context: IkeContext, carrier: OutputCarrier
    ) -> None:
        self._tables = tables
        self._context = context
        self._carrier = carrier
        self._agenda: Agenda[bytes] = Agenda()

    def time_passed(self, now: float, effects: list[Effect]) -> None:
        """Do what is due: time-outs, rekeys, liveness, exchanges that waited.

        Source: RFC 7296 §2.4, RFC 7296 §2.8
        """
        stirred = self._context.stirred
        looked_at = dict.fromkeys(self._agenda.take(now)) | stirred
        if self._is_volume_limited():
            looked_at |= self._busy()
        for spi in looked_at:
            found = self._tables.ike_sas.get(spi)
            if found is not None:
                sa, session = found
                upkeep.time_passed(sa, now, self.usage)
                self._carrier.run(sa, session, None, now, effects)
            stirred.pop(spi, None)
            self._agenda.put(spi, self._deadline_of(spi, now))

    def next_deadline(self, now: float) -> float | None:
        """Return when :meth:`time_passed` has something to do next, or ``None``."""
        times = [self._deadline_of(spi, now) for spi in self._context.stirred]
        times.append(self._first(now))
        if self._is_volume_limited():
            times.append(now + USAGE_TICK_SECONDS)
        return min((t for t in times if t is not None), default=None)

    def _first(self, now: float) -> float | None:
        """Return the earliest appointment that is kept.

        A packet that proves its peer alive moves the question whether it lives, and
        tells nobody: that would cost every packet something.
        """
        while (first := self._agenda.first()) is not None and first[0] > now:
            at, spi = first
            deadline = self._deadline_of(spi, now)
            if deadline == at:
                break
            self._agenda.put(spi, deadline)
        return None if first is None else first[0]

    def _deadline_of(self, spi: bytes, now: float) -> float | None:
        found = self._tables.ike_sas.get(spi)
        return None if found is None else upkeep.next_deadline(found[0], now)

    def _busy(self) -> dict[bytes, None]:
        """Find the IKE SAs whose Child SAs have carried something since the last look.

        Source: RFC 4301 §4.4.2.1
        """
        found: dict[bytes, None] = {}
        for spi_in, live in self._tables.children.items():
            usage = self.usage(spi_in)
            if usage != live.seen_usage:
                live.seen_usage = usage
                found |= dict.fromkeys(sa.spi_local for sa in live.session.ike_sas)
        return found

    def usage(self, spi_in: bytes) -> tuple[int, int]:
        """Return the octets and packets that a Child SA has carried so far."""
        live = self._tables.children.get(spi_in)
        return (0, 0) if live is None else (live.esp.used_octets, live.esp.used_packets)

    def _is_volume_limited(self) -> bool:
        return bool(self._tables.children) and any(
            child.lifetime.octets is not None or child.lifetime.packets is not None
            for policy in self._context.policy.variants
            for child in policy.children
        )
