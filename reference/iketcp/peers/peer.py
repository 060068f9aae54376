"""A running peer: threads that feed the endpoint and carry out its effects.

One thread reads each TCP connection, one reads the tunnel device, one waits for the
next deadline. Whichever thread gets effects from the endpoint carries them out: sending
never blocks, closing is left to the connection's own thread, so no thread waits for
another.

Source: RFC 9329 §6
"""

from __future__ import annotations

import select
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

from iketcp.config import Configuration, TransportConfig
from iketcp.effects import (
    ChildSaInstalled,
    CloseConnection,
    ConfigurationAssigned,
    ConnectionId,
    DeliverInner,
    Effect,
    IkeKeysDerived,
    IkeSaClosed,
    IkeSaEstablished,
    OpenConnection,
    Trace,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.environment import Clock, Entropy
from iketcp.errors import IketcpError
from iketcp.ike.nat_detection import Path
from iketcp.mapping import MappingPolicy
from iketcp.net.system import SystemClock, SystemEntropy
from iketcp.net.tcp import ConnectionBroken, TcpConnection
from iketcp.net.wake import Wake
from iketcp.peers.rates import Rates
from iketcp.peers.sinks import KeyLog, Sink
from iketcp.peers.tunnel import Tunnel

GOODBYE_SECONDS = 3.0
"""Choice: how long the answer to our DELETE is awaited at the end."""

JOIN_SECONDS = 10.0
"""A thread that does not end by then is a defect, and said."""


def mapping_policy(transport: TransportConfig) -> MappingPolicy:
    """Take the limits of the mapping from a configuration."""
    return MappingPolicy(
        first_message_seconds=transport.prefix_deadline_seconds,
        extraneous_seconds=transport.extraneous_idle_seconds,
        linger_seconds=transport.linger_seconds,
        cookie_seconds=transport.cookie_wait_seconds,
        unknown_spi_limit=transport.unknown_spi_limit,
        corrupt_limit=transport.corrupt_limit,
        half_open_limit=transport.half_open_limit,
        half_open_address_limit=transport.half_open_limit_per_address,
        reconnect_seconds=transport.reconnect_first_seconds,
        reconnect_limit_seconds=transport.reconnect_max_seconds,
    )


class Peer(ABC):
    """What initiator and responder have in common.

    Parameters
    ----------
    configuration : Configuration
        Everything, as read from a file.
    sinks : Iterable[Sink]
        Who is told of events.
    key_log : KeyLog or None
        Where keys go, if its user insists.
    entropy, clock : Entropy, Clock
        The system's, unless a test brings its own.

    Raises
    ------
    EnvironmentProblem
        No tunnel device, no privilege, no descriptor.
    """

    def __init__(
        self,
        configuration: Configuration,
        sinks: Iterable[Sink] = (),
        key_log: KeyLog | None = None,
        entropy: Entropy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.configuration = configuration
        self.clock: Clock = clock or SystemClock()
        self.endpoint = Endpoint(
            configuration.ike,
            mapping_policy(configuration.transport),
            entropy or SystemEntropy(),
            threading.Lock,
        )
        self.rates = Rates()
        self.connections: dict[ConnectionId, TcpConnection] = {}
        self._sinks = tuple(sinks)
        self._key_log = key_log
        # Reading waits until a delivered batch is through: the machine answers what it
        # is given, and its answers (TCP acknowledgments) then come as one batch too.
        self._device_turn = threading.Lock()
        self._last_id = 0
        self._id_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop = Wake()
        self._timer_wake = Wake()
        self._changed = threading.Condition()
        self._ended_reason: str | None = None
        self._tell_end: Callable[[], None] = lambda: None
        self._stoppers: list[Callable[[], None]] = []
        self._was_established = False
        self.tunnel = Tunnel(configuration)
        self.started_at = self.clock.now()

    # --- life -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: tunnel device up, threads running.

        Raises
        ------
        EnvironmentProblem
            The machine refuses something; everything is undone again.
        """
        try:
            self.tunnel.start()
            self._open()
        except IketcpError:
            self.stop()
            raise
        self._trace_tunnel()
        self._spawn("timer", self._run_timer)
        self._spawn("tunnel", self._run_tunnel)

    @abstractmethod
    def _open(self) -> None:
        """Begin to listen or to connect."""

    def _close_openers(self) -> None:
        """Stop listening or connecting; nothing by default."""

    def stop(self) -> None:
        """End every session with DELETE, close everything, restore the machine.

        Idempotent; returns when no thread of this peer is left.

        Source: RFC 9329 §6.1
        """
        if self._stop.is_set():
            self._join()
            return
        self.execute(self.endpoint.delete_all(self.clock.now()))
        with self._changed:
            self._changed.wait_for(
                lambda: not self.endpoint.has_sessions, GOODBYE_SECONDS
            )
        self._stop.set()
        self._timer_wake.set()
        self._close_openers()
        for stop in self._stoppers:
            stop()
        for connection in list(self.connections.values()):
            connection.stop()
        self._join()
        for problem in self.tunnel.close():
            self.tell("problem", {"text": problem})
        self._stop.close()
        self._timer_wake.close()

    def _join(self) -> None:
        current = threading.current_thread()
        for thread in list(self._threads):
            if thread is not current:
                thread.join(JOIN_SECONDS)
                if thread.is_alive():
                    self.tell("problem", {"text": f"thread {thread.name} does not end"})

    def serve(
        self, name: str, body: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Run a thread beside the peer's own; ``stop`` is called when the peer ends."""
        self._stoppers.append(stop)
        self._spawn(name, body)

    def on_end(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called once this peer cannot go on by itself."""
        self._tell_end = tell
        if self._ended_reason is not None:
            tell()

    def _spawn(self, name: str, body: Callable[[], None]) -> None:
        """Start a thread and forget those that have ended."""
        self._threads = [t for t in self._threads if t.is_alive() or not t.ident]
        thread = threading.Thread(target=body, name=f"iketcp-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def is_stopping(self) -> bool:
        """The peer is on its way out."""
        return self._stop.is_set()

    def wait_until(
        self, is_so: Callable[[], bool], timeout_seconds: float | None = None
    ) -> bool:
        """Wait until something about the SAs or connections is so.

        Returns
        -------
        bool
            False if the time ran out first.
        """
        with self._changed:
            return self._changed.wait_for(is_so, timeout_seconds)

    # --- effects ----------------------------------------------------------------------

    def execute(self, effects: Sequence[Effect]) -> None:
        """Carry effects out, in order; callable from any thread."""
        is_control = False
        for effect in effects:
            if isinstance(effect, Transmit):
                connection = self.connections.get(effect.connection)
                if connection is not None:
                    connection.send(effect.octets, effect.droppable)
            elif isinstance(effect, DeliverInner):
                self._deliver(effect)
            else:
                is_control = True
                self._execute_control(effect)
        if is_control:
            self._timer_wake.set()
            with self._changed:
                self._changed.notify_all()

    def _deliver(self, effect: DeliverInner) -> None:
        try:
            with self._device_turn:
                self.tunnel.device.write_batch(effect.packets)
        except IketcpError as error:
            self._fail(str(error))

    def _execute_control(self, effect: Effect) -> None:
        match effect:
            case Trace():
                self.tell(effect.kind, effect.fields)
            case CloseConnection():
                connection = self.connections.get(effect.connection)
                if connection is not None:
                    connection.stop()  # its own thread closes it
            case OpenConnection():
                self._connect_after(effect.delay_seconds)
            case IkeSaEstablished():
                self._was_established = True
            case IkeSaClosed():
                self._sa_closed(effect)
            case IkeKeysDerived():
                if self._key_log is not None:
                    self._key_log.ike_keys(effect)
            case ChildSaInstalled() | ConfigurationAssigned():
                self._fit_tunnel(effect)
            case _:
                pass

    def _connect_after(self, delay_seconds: float) -> None:
        """Connect to the peer; only an initiator does."""

    def _sa_closed(self, effect: IkeSaClosed) -> None:
        """An IKE SA ended; only an initiator cares."""

    def _fit_tunnel(self, effect: ChildSaInstalled | ConfigurationAssigned) -> None:
        """Put addresses, routes and MTU in place; a refusal ends the peer."""
        try:
            if isinstance(effect, ConfigurationAssigned):
                self.tunnel.assign(effect)
                return
            path = effect.path
            if self._key_log is not None:
                self._key_log.child_keys(
                    effect.parameters,
                    str(path.local_address),
                    str(path.remote_address),
                )
            if self.tunnel.child_installed(effect, path.remote_address):
                self._trace_tunnel()
        except IketcpError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        """Note what keeps this peer from going on, and tell whoever waits."""
        self.tell("problem", {"text": reason})
        with self._changed:
            if self._ended_reason is None:
                self._ended_reason = reason
            self._changed.notify_all()
        self._tell_end()

    @property
    def ended_reason(self) -> str | None:
        """Why this peer cannot go on, or ``None`` while it can."""
        return self._ended_reason

    def tell(self, kind: str, fields: Mapping[str, object]) -> None:
        """Tell every sink of an event."""
        now = self.clock.now()
        for sink in self._sinks:
            sink(now, kind, fields)

    def _trace_tunnel(self) -> None:
        fields: dict[str, object] = {
            "name": self.tunnel.device.name,
            "mtu": self.tunnel.mtu,
            "addresses": list(self.tunnel.addresses),
        }
        self.tell("tunnel-device", fields)

    # --- threads ----------------------------------------------------------------------

    def _new_id(self) -> ConnectionId:
        with self._id_lock:
            self._last_id += 1
            return ConnectionId(self._last_id)

    def run_connection(
        self, connection: TcpConnection, is_tcp_originator: bool
    ) -> None:
        """Thread body: feed the endpoint from one connection until it ends."""
        id = self._new_id()
        local, remote = connection.local_address, connection.remote_address
        path = Path(local.address, local.port, remote.address, remote.port)
        path_mtu = min(connection.path_mtu, self.configuration.transport.path_mtu)
        self.connections[id] = connection
        reason = "closed by us"
        try:
            now = self.clock.now()
            self.execute(
                self.endpoint.connection_opened(
                    id, path, is_tcp_originator, now, path_mtu
                )
            )
            while (octets := connection.wait_and_receive()) is not None:
                if not octets:
                    reason = "closed by the peer"
                    break
                now = self.clock.now()
                self.execute(self.endpoint.octets_received(id, octets, now))
        except ConnectionBroken as error:
            reason = str(error)
        finally:
            connection.close()
            self.connections.pop(id, None)
            self.rates.connection_ended(connection)
            lost = self.endpoint.connection_lost(id, reason, self.clock.now())
            self.execute(lost)

    def _run_tunnel(self) -> None:
        """Thread body: seal what the machine sends into the tunnel device."""
        device = self.tunnel.device
        poller = select.poll()
        poller.register(device.fileno(), select.POLLIN)
        poller.register(self._stop.fileno(), select.POLLIN)
        try:
            while not self._stop.is_set():
                with self._device_turn:
                    packets = device.read_batch()
                if packets:
                    self.execute(self.endpoint.inner_packets(packets))
                else:
                    poller.poll()
        except IketcpError as error:
            if not self._stop.is_set():
                self._fail(str(error))

    def _run_timer(self) -> None:
        """Thread body: wake when the endpoint has something due."""
        while not self._stop.is_set():
            now = self.clock.now()
            self.rates.sample(now, self.connections.values())
            deadline = self.endpoint.next_deadline(now)
            pause = 1.0 if deadline is None else min(1.0, max(0.0, deadline - now))
            self._timer_wake.wait(pause)
            self._timer_wake.clear()
            self.execute(self.endpoint.time_passed(self.clock.now()))

    # --- wishes -----------------------------------------------------------------------

    def rekey_child(self, name: str) -> None:
        """Rekey every Child SA of that name."""
        self.execute(self.endpoint.rekey_child(name, self.clock.now()))

    def rekey_ike(self) -> None:
        """Rekey every IKE SA."""
        self.execute(self.endpoint.rekey_ike(self.clock.now()))

    def cut(self) -> int:
        """Reset every TCP connection, for teaching; returns how many there were."""
        connections = list(self.connections.values())
        for connection in connections:
            connection.abort()
        return len(connections)
