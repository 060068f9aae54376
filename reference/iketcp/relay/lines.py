"""The TCP connections of a relay: who may have one, what comes in, when one closes.

Both kinds of relay follow the same rules. Whoever has not been answered yet is a
stranger, and there can be only so many [9329-6.1-idle]. Only the stream is checked
here, for nothing else can be: its prefix, its Lengths, and whether what stands behind
them could be IKE or ESP [9329-6.1-corrupt].

Source: RFC 9329 §4
Source: RFC 9329 §6.1
Source: RFC 9329 §10
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from iketcp.effects import CloseConnection, ConnectionId
from iketcp.endpoint import traces
from iketcp.endpoint.tables import Counters
from iketcp.half_open import HalfOpen
from iketcp.relay.effects import RelayEffect
from iketcp.relay.messages import CARRIED
from iketcp.relay.policy import RelayPolicy
from iketcp.stream import MessageKind, StreamDecoder, StreamMessage


@dataclass(eq=False, slots=True)
class Line:
    """One TCP connection, from before it is made until it is gone."""

    id: ConnectionId
    address: str
    """The client's, by which strangers are counted."""
    opened_at: float
    heard_at: float
    """When it last carried something, either way."""
    decoder: StreamDecoder
    is_half_open: bool = True
    """A stranger: the other side has not answered more than IKE_SA_INIT yet."""
    is_replaced: bool = False
    """Another connection carries its SAs now [9329-6.1-extraneous]."""
    corrupt: int = 0
    """Unparseable messages in a row."""
    closing: str = ""
    """Why we have asked for its end, once we have."""
    has_timed_out: bool = False


class RelayLines(ABC):
    """What both kinds of relay have in common.

    Parameters
    ----------
    policy : RelayPolicy
        The limits.

    Attributes
    ----------
    counters : Counters
        What was closed and dropped, and why.
    strangers : HalfOpen
        Counts those who have not been answered yet.
    lines : dict[ConnectionId, Line]
        Every TCP connection.

    Source: RFC 9329 §6.1
    """

    def __init__(self, policy: RelayPolicy) -> None:
        self.policy = policy
        self.counters = Counters()
        self.strangers = HalfOpen(
            policy.half_open_limit, policy.half_open_address_limit
        )
        self.lines: dict[ConnectionId, Line] = {}

    def _refusal(self, address: str) -> str | None:
        """Say why ``address`` may not have a connection now; or ``None``."""
        if len(self.lines) >= self.policy.connection_limit:
            return "too many connections"
        return self.strangers.refusal(address)

    def _add(self, line: Line) -> None:
        self.lines[line.id] = line
        self.strangers.add(line.address)

    def _welcome(self, line: Line) -> None:
        """Count a stranger no more."""
        if line.is_half_open:
            line.is_half_open = False
            self.strangers.remove(line.address)

    def _remove(
        self, id: ConnectionId, reason: str, effects: list[RelayEffect]
    ) -> Line | None:
        """Forget a connection that is gone; what it left of a message is dropped.

        Source: RFC 9329 §6.1
        """
        line = self.lines.pop(id, None)
        if line is None:
            return None
        line.decoder.discard()  # [9329-6.1-partial]
        if line.is_half_open:
            self.strangers.remove(line.address, line.has_timed_out)
        self.counters.close(line.closing or reason)
        effects.append(traces.connection_closed(id, line.closing or reason))
        return line

    def _close(self, line: Line, reason: str, effects: list[RelayEffect]) -> None:
        """Ask for the end of a connection, once."""
        if not line.closing:
            line.closing = reason
            effects.append(CloseConnection(line.id, reason))

    def _read(
        self, line: Line, octets: bytes, now: float, effects: list[RelayEffect]
    ) -> list[StreamMessage]:
        """Find what is to be carried; a stream that cannot be followed closes.

        Source: RFC 9329 §3, RFC 9329 §6.1
        """
        carried: list[StreamMessage] = []
        if line.closing:
            return carried
        line.heard_at = now
        for message in line.decoder.feed(octets):
            if message[0] in CARRIED:
                line.corrupt = 0
                carried.append(message)
            elif message[0] is MessageKind.UNPARSEABLE:
                line.corrupt += 1
                self.counters.drop("unparseable message")
                if line.corrupt >= self.policy.corrupt_limit:
                    reason = f"{line.corrupt} unparseable messages in a row"
                    self._close(line, reason, effects)
                    break
        if line.decoder.failure is not None:
            self._close(line, str(line.decoder.failure), effects)
        return carried

    @abstractmethod
    def octets_received(
        self, id: ConnectionId, octets: bytes, now: float
    ) -> list[RelayEffect]:
        """Take what a connection delivered; its messages become datagrams."""

    @abstractmethod
    def connection_lost(
        self, id: ConnectionId, reason: str, now: float
    ) -> list[RelayEffect]:
        """Forget a connection."""

    def time_passed(self, now: float) -> list[RelayEffect]:
        """Close what is overdue; to be called about once a second.

        Source: RFC 9329 §6.1
        """
        effects: list[RelayEffect] = []
        for line in self.lines.values():
            reason = self._overdue(line, now)
            if reason is not None:
                self._close(line, reason, effects)
        return effects

    def _overdue(self, line: Line, now: float) -> str | None:
        policy = self.policy
        if line.is_half_open:
            if now - line.opened_at < policy.half_open_seconds:
                return None
            line.has_timed_out = True
            return "no answer to this client in time"
        limit, reason = policy.idle_seconds, "idle"
        if line.is_replaced and policy.extraneous_seconds:
            limit = policy.extraneous_seconds
            reason = "idle and extraneous"
        return reason if limit and now - line.heard_at >= limit else None
