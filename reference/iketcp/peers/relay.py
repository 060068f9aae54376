"""A running relay: threads that feed its core and carry out what that wants.

As in a responder, every TCP connection has a thread, all of UDP one, and one looks
after time. An idle thread costs a few kilobytes, so thousands of idle connections need
no other design.

One lock serializes the core *and* what it sends: so the stream prefix comes before
messages, and messages in the order in which they were decided on. Nothing that is done
under it waits: a slow peer's messages queue up in its own connection.

Source: RFC 9329 §6.1
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from iketcp.config.relay import RelayConfig
from iketcp.effects import CloseConnection, ConnectionId, Trace, Transmit
from iketcp.endpoint import traces
from iketcp.environment import Clock
from iketcp.errors import IketcpError
from iketcp.ike.nat_detection import Path
from iketcp.net.connection import Connection
from iketcp.net.system import SystemClock
from iketcp.net.wake import Wake
from iketcp.peers.rates import Rates
from iketcp.peers.reports import Reports, connection_figures
from iketcp.peers.sinks import Sink
from iketcp.peers.threads import ThreadGroup, describe_surprise
from iketcp.relay.effects import RelayEffect
from iketcp.relay.lines import Line, RelayLines

TICK_SECONDS = 1.0
"""Choice: how often the core looks for what is overdue."""

JOIN_SECONDS = 10.0
"""Threads that do not end by then are a defect, and said."""


class Relay(ABC):
    """What both kinds of relay have in common.

    Parameters
    ----------
    config : RelayConfig
        Everything it has to know.
    core : RelayLines
        Which stream is which UDP port.
    sinks : Iterable[Sink]
        Who is told of events.
    clock : Clock or None
        The system's, unless a test brings its own.

    Raises
    ------
    EnvironmentProblem
        No descriptor is left.
    """

    def __init__(
        self,
        config: RelayConfig,
        core: RelayLines,
        sinks: Iterable[Sink] = (),
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.core = core
        self.clock: Clock = clock or SystemClock()
        self.rates = Rates()
        self.connections: dict[ConnectionId, Connection] = {}
        reports = Reports(sinks, None, self.clock)
        self.tell, self._complain = reports.tell, reports.complain
        self._lock = threading.Lock()
        self._threads = ThreadGroup(self._thread_failed)
        self._stoppers: list[Callable[[], None]] = []
        self._stop_lock = threading.Lock()
        self._is_stopped = False
        self._failed: str | None = None
        self._tell_end: Callable[[], None] = lambda: None
        with contextlib.ExitStack() as undo:
            self._leaving = self._make_wake(undo)  # no new connections
            self._parted = self._make_wake(undo)  # the last one is gone, or is to go
            self._stop = self._make_wake(undo)  # every thread ends
            self._close_wakes = undo.pop_all().close
        self.started_at = self.clock.now()

    @staticmethod
    def _make_wake(undo: contextlib.ExitStack) -> Wake:
        wake = Wake()
        undo.callback(wake.close)
        return wake

    # --- life -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to listen; threads run.

        Raises
        ------
        ConfigurationError, EnvironmentProblem
            Something is refused; everything is undone again.
        """
        try:
            self._open()
            self._threads.spawn("timer", self._run_timer)
        except BaseException:
            self.hurry()
            self.stop()
            raise

    @abstractmethod
    def _open(self) -> None:
        """Begin to listen, on either side."""

    @abstractmethod
    def _close_openers(self) -> None:
        """Take nobody new."""

    @abstractmethod
    def _close_datagrams(self) -> None:
        """Give the UDP sockets back; no thread uses them any more."""

    @abstractmethod
    def reload(self, config: RelayConfig) -> None:
        """Take another target and other certificates for what begins from now on.

        Raises
        ------
        ConfigurationError, EnvironmentProblem
            They cannot be used; everything stays as it was.
        """

    def stop(self) -> None:
        """Take nobody new, wait for those who are there, but not for long; then end.

        Idempotent, from any thread; returns when no thread of this relay is left.

        Source: RFC 9329 §6.1
        """
        with self._stop_lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._leaving.set()
            self._close_openers()
            self._part_when_empty()
            self._parted.wait(self.config.drain_seconds)
            self._stop.set()
            for stop in self._stoppers:
                stop()
            for connection in list(self.connections.values()):
                connection.stop()
            left = self._threads.join(JOIN_SECONDS)
            for name in left:
                self._complain(f"thread {name} does not end")
            if not left:
                self._close_datagrams()
                self._close_wakes()

    def hurry(self) -> None:
        """Wait for nobody when stopping; safe in a signal handler."""
        self._parted.set()

    def serve(
        self, name: str, body: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Run a thread beside the relay's own; ``stop`` is called at the end."""
        self._stoppers.append(stop)
        self._threads.spawn(name, body)

    def on_end(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called if the relay cannot go on."""
        self._tell_end = tell
        if self._failed is not None:
            tell()

    @property
    def ended_reason(self) -> str | None:
        """Why this relay cannot go on, or ``None`` while it can."""
        return self._failed

    def _part_when_empty(self) -> None:
        if self._leaving.is_set() and not self.core.lines:
            self._parted.set()

    def _thread_failed(self, name: str, error: Exception) -> None:
        """End in order after a defect: half a relay is worse than none."""
        self._failed = f"thread {name}: {describe_surprise(error)}"
        self._complain(self._failed)
        self._tell_end()

    # --- effects ----------------------------------------------------------------------

    def act(self, event: Callable[..., Sequence[RelayEffect]], *arguments: Any) -> None:
        """Tell the core of something that happened now, and do what it wants."""
        with self._lock:
            rest: list[RelayEffect] = []
            for effect in event(*arguments, self.clock.now()):
                rest += self._send(effect)
        for effect in rest:
            self._do(effect)
        self._part_when_empty()

    def _send(self, effect: RelayEffect) -> Sequence[RelayEffect]:
        """Do at once what must not be overtaken; returns what is left to do.

        The caller holds the lock.
        """
        if not isinstance(effect, Transmit):
            return (effect,)
        connection = self.connections.get(effect.connection)
        if connection is not None:
            connection.send(effect.octets, effect.droppable)
        return ()

    def _do(self, effect: RelayEffect) -> None:
        """Do what may wait for a moment: tell, and close by the connection's thread."""
        if isinstance(effect, Trace):
            self.tell(effect.kind, effect.fields)
        elif isinstance(effect, CloseConnection):
            with self._lock:
                connection = self.connections.get(effect.connection)
            if connection is not None:
                connection.stop()

    # --- threads ----------------------------------------------------------------------

    def _run_timer(self) -> None:
        """Thread body: close what is overdue, and note rates."""
        while not self._stop.wait(TICK_SECONDS):
            now = self.clock.now()
            if self.rates.is_due(now):
                self.rates.sample(now, list(self.connections.values()))
            self.act(self.core.time_passed)

    def _run_connection(self, id: ConnectionId, converse: Callable[[], str]) -> None:
        """Thread body: see one connection through, whatever becomes of it."""
        reason = "closed by us"
        try:
            reason = converse()
        except IketcpError as error:
            reason = str(error)
        except Exception as error:  # must not end what other connections carry
            reason = describe_surprise(error)
            self._complain(f"connection {id}: {reason}")
        finally:
            if (connection := self.connections.get(id)) is not None:
                connection.close()
                self.rates.connection_ended(connection)
            with self._lock:
                self.connections.pop(id, None)
            self.act(self.core.connection_lost, id, reason)

    def _begin(self, id: ConnectionId, connection: Connection) -> None:
        """Let the core use a connection, and tell of it."""
        connection.give_up_after(self.config.user_timeout_seconds)
        with self._lock:
            self.connections[id] = connection
            line = self.core.lines.get(id)
            is_over = self._stop.is_set() or (line is not None and bool(line.closing))
        if is_over:
            connection.stop()
        local, remote = connection.local_address, connection.remote_address
        path = Path(local.address, local.port, remote.address, remote.port)
        opened = traces.connection_opened(id, path, self.config.is_originator)
        self.tell(opened.kind, opened.fields)

    def _feed(self, id: ConnectionId, connection: Connection) -> str:
        """Hand on what a connection delivers until it ends; returns why it did."""
        while (octets := connection.wait_and_receive()) is not None:
            if not octets:
                return "closed by the peer"
            self.act(self.core.octets_received, id, octets)
        return "closed by us"

    # --- status -----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Describe the relay: connections, strangers, counters and rates."""
        now = self.clock.now()
        with self._lock:
            lines = list(self.core.lines.values())
            counters, strangers = self.core.counters, self.core.strangers
            datagrams = self._datagram_status()
            closed, dropped = dict(counters.closed), dict(counters.dropped)
        inward, outward = self.rates.bits_per_second()
        policy = self.config.policy
        return {
            "role": "relay",
            "direction": "UDP to TCP" if self.config.is_originator else "TCP to UDP",
            "to": f"{self.config.to_host} port {self.config.to_port}",
            "up_seconds": round(now - self.started_at, 1),
            "is_draining": self._leaving.is_set(),
            "rates": {
                "bits_per_second_in": round(inward),
                "bits_per_second_out": round(outward),
            },
            "udp": datagrams,
            "connections": [self._describe(line, now) for line in lines],
            "half_open": {
                "connections": {
                    "now": strangers.total,
                    "limit": strangers.limit,
                    "limit_per_address": strangers.address_limit,
                    "refused": strangers.refused,
                    "timed_out": strangers.timed_out,
                    "deadline_seconds": policy.half_open_seconds,
                }
            },
            "closed": closed,
            "dropped": dropped,
        }

    @abstractmethod
    def _datagram_status(self) -> dict[str, Any]:
        """Describe the side of UDP; the caller holds the lock."""

    def _describe(self, line: Line, now: float) -> dict[str, Any]:
        connection = self.connections.get(line.id)
        fields: dict[str, Any] = {
            "connection": line.id,
            "client": line.address,
            "is_half_open": line.is_half_open,
            "idle_seconds": round(now - line.heard_at, 1),
        }
        if connection is not None:
            fields["remote"] = str(connection.remote_address)
            fields.update(connection_figures(connection))
        return fields
