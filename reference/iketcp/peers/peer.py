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
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial

from iketcp.config import Configuration
from iketcp.effects import (
    ChildSaInstalled,
    ChildSaRemoved,
    CloseConnection,
    ConfigurationAssigned,
    ConnectionId,
    DeliverInner,
    Effect,
    IkeKeysDerived,
    IkeSaClosed,
    IkeSaEstablished,
    OpenConnection,
    SendDatagrams,
    Trace,
    Transmit,
)
from iketcp.endpoint import Endpoint
from iketcp.environment import Clock, Entropy
from iketcp.errors import EnvironmentProblem, IketcpError
from iketcp.net.connection import Connection
from iketcp.net.system import SystemClock, SystemEntropy
from iketcp.net.tcp import ConnectionBroken
from iketcp.net.wake import Wake
from iketcp.peers.crash_secret import read_crash_secret
from iketcp.peers.data_plane import data_plane
from iketcp.peers.datagrams import Datagrams, datagram_policy
from iketcp.peers.feed import Feed, Surroundings
from iketcp.peers.fitting import Fitting
from iketcp.peers.hooks import Hooks
from iketcp.peers.limits import mapping_policy
from iketcp.peers.lines import Lines
from iketcp.peers.prepared_keys import stock_for
from iketcp.peers.rates import Rates
from iketcp.peers.reports import Reports
from iketcp.peers.sinks import KeyLog, Sink
from iketcp.peers.threads import ThreadGroup, describe_surprise
from iketcp.peers.tunnel import Tunnel

GOODBYE_SECONDS = 3.0
"""Choice: how long the answer to our DELETE is awaited at the end."""

NAP_SECONDS = 0.05
"""Choice: how late the timer may be. What it is woken for meanwhile, it looks at in
one go: every message of a handshake may bring another deadline."""

STALL_SECONDS = 0.05
"""Choice: so long nothing is read of the tunnel device for a peer that takes nothing;
then packets for it are dropped."""

JOIN_SECONDS = 10.0
"""Threads that do not end by then are a defect, and said."""


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
        No tunnel device, no privilege, no descriptor, no ``crash_secret_file``.
    ConfigurationError
        OpenSSL has no TLS as the configuration wants it.
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
        policy, secret_file = configuration.ike, configuration.crash_secret_file
        self._complaint: str | None = None
        if secret_file is not None:
            secret, self._complaint = read_crash_secret(secret_file)
            policy = replace(policy, crash_secret=secret)
        self.prepared_keys = stock_for(policy, configuration.prepared_keys)
        self.endpoint = Endpoint(
            policy,
            mapping_policy(configuration.transport),
            entropy or self.prepared_keys or SystemEntropy(),
            threading.Lock,
            lambda: datetime.now(UTC),
            datagram_policy(configuration),
            configuration.tun.mtu,
        )
        self.datagrams: Datagrams | None = None
        self.rates = Rates()
        self._lines = Lines()
        self.connections = self._lines.open
        self._reports = Reports(sinks, key_log, self.clock)
        self.tell = self._reports.tell
        self._complain = self._reports.complain
        # Reading waits until a delivered batch is through: the machine answers what it
        # is given, and its answers (TCP acknowledgments) then come as one batch too.
        self._device_turn = threading.Lock()
        self._last_id = 0
        self._id_lock = threading.Lock()
        self._threads = ThreadGroup(self._thread_failed)
        self._changed = threading.Condition()
        self._ended_reason: str | None = None
        self._tell_end: Callable[[], None] = lambda: None
        self._stoppers: list[Callable[[], None]] = []
        self._stop_lock = threading.RLock()
        self._is_stopped = False
        self._is_hurried = False
        with ExitStack() as undo:
            # no new connections, nor sessions
            self._leaving = undo.enter_context(closing(Wake()))
            self._parted = undo.enter_context(closing(Wake()))  # the good-bye is over
            self._stop = undo.enter_context(closing(Wake()))  # every thread ends
            self._timer_wake = undo.enter_context(closing(Wake()))
            self._prepare()
            self._plane = undo.enter_context(
                closing(data_plane(configuration.tun, self.endpoint, self._complain))
            )
            self.tunnel = Tunnel(configuration)
            self._hooks = Hooks(configuration, self.tunnel.describe, self._complain)
            self._fitting = Fitting(self.tunnel, self._hooks, self._reports)
            self._close_wakes = undo.pop_all().close
        self.started_at = self.clock.now()

    def _prepare(self) -> None:
        """Make what a role needs before it starts; nothing by default."""

    # --- life -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: tunnel device up, threads running.

        Raises
        ------
        EnvironmentProblem
            The machine refuses something; everything is undone again.
        """
        if self._complaint is not None:
            self._complain(self._complaint)
        self._lines.prepare = self._plane.prepare
        try:
            self.tunnel.start()
            self._open()
            self._fitting.trace()
            self._threads.spawn("timer", self._run_timer)
            self._threads.spawn("tunnel", self._run_tunnel)
            if self.prepared_keys is not None:
                self.serve("keys", self.prepared_keys.run, self.prepared_keys.stop)
            if self._hooks.is_wanted:
                self._threads.spawn("hooks", self._hooks.run)
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def _open(self) -> None:
        """Begin to listen or to connect."""

    def _open_datagrams(self) -> Datagrams:
        """Open the sockets of UDP, and read them until the end."""
        opened = self.datagrams = Datagrams(self.configuration)
        endpoint, clock = self.endpoint, self.clock
        body = partial(opened.run, endpoint, clock, self.execute, self._complain)
        try:
            self.serve("datagrams", body, opened.stop)
        except EnvironmentProblem:
            opened.sockets.close()
            raise
        return opened

    def _close_openers(self) -> None:
        """Stop listening or connecting; nothing by default."""

    def stop(self) -> None:
        """End every session with DELETE, close everything, restore the machine.

        No session begins any more, those there are get DELETE and a moment to answer
        it, then connections and threads end, and the tunnel device goes last.
        Idempotent, from any thread; returns when no thread of this peer is left.

        Source: RFC 9329 §6.1
        """
        with self._stop_lock:
            if self._is_stopped:
                return
            self._is_stopped = True
            self._leaving.set()
            self._close_openers()
            self._close_idle()
            self._say_goodbye()
            self._stop.set()
            self._timer_wake.set()
            for stop in self._stoppers:
                stop()
            for _, connection in self._lines.all():
                if self._is_hurried:
                    connection.abort()
                else:
                    connection.stop()
            patience = self._hooks.end(self._is_hurried)
            left = self._threads.join(JOIN_SECONDS + patience)
            self._plane.close()
            for problem in self.tunnel.close():
                self._complain(problem)
            for name in left:
                self._complain(f"thread {name} does not end")
            if not left:
                self._close_wakes()  # with nobody left who could be polling them

    def hurry(self) -> None:
        """Do not wait for the peer when stopping; safe in a signal handler."""
        self._is_hurried = True
        self._parted.set()

    def _close_idle(self) -> None:
        """Close connections that carry no session: all they could do is begin one."""
        for id, connection in self._lines.all():
            stream = self.endpoint.tables.streams.get(id)
            if stream is None or stream.connection.session is None:
                connection.stop()

    def _say_goodbye(self) -> None:
        """Delete every session, and wait for the answers, but not for long."""
        self.execute(self.endpoint.delete_all(self.clock.now()))
        if self.endpoint.tables.are_carried:
            self._parted.wait(GOODBYE_SECONDS)

    def serve(
        self, name: str, body: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Run a thread beside the peer's own; ``stop`` is called when the peer ends."""
        self._stoppers.append(stop)
        self._threads.spawn(name, body)

    def on_end(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called once this peer cannot go on by itself."""
        self._tell_end = tell
        if self._ended_reason is not None:
            tell()

    @property
    def is_stopping(self) -> bool:
        """The peer is on its way out."""
        return self._leaving.is_set()

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
                self._lines.transmit(effect)
            elif isinstance(effect, SendDatagrams):
                if self.datagrams is not None:
                    self.datagrams.send(effect)
            elif isinstance(effect, DeliverInner):
                self._deliver(effect)
            else:
                is_control = True
                self._execute_control(effect)
        if is_control:
            self._plane.follow()
            self._timer_wake.set()
            with self._changed:
                self._changed.notify_all()
            if self.is_stopping and not self.endpoint.tables.are_carried:
                self._parted.set()

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
                self._lines.stop(effect.connection)
            case OpenConnection(is_beside=True):
                self._connect_beside()
            case OpenConnection():
                self._connect_after(effect.delay_seconds)
            case IkeSaEstablished():
                self._sa_established()
            case IkeSaClosed():
                self._sa_closed(effect)
            case IkeKeysDerived():
                self._reports.log_keys(lambda log: log.ike_keys(effect))
            case ChildSaInstalled() | ConfigurationAssigned():
                self._fit_tunnel(effect)
            case ChildSaRemoved():
                self._fitting.child_removed(effect.parameters)
            case _:
                pass

    def _connect_after(self, delay_seconds: float) -> None:
        """Connect to the peer; only an initiator does."""

    def _connect_beside(self) -> None:
        """Connect once more, while the first connection stays; as above."""

    def _sa_established(self) -> None:
        """A session came up; only an initiator cares."""

    def _sa_closed(self, effect: IkeSaClosed) -> None:
        """A session ended; only an initiator cares."""

    def _fit_tunnel(self, effect: ChildSaInstalled | ConfigurationAssigned) -> None:
        """Put addresses, routes and MTU in place; a refusal ends the peer."""
        try:
            self._fitting.fit(effect)
        except IketcpError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        """Note what keeps this peer from going on, and tell whoever waits."""
        with self._changed:
            if self._ended_reason is not None or self.is_stopping:
                return
            self._ended_reason = reason
            self._changed.notify_all()
        self._complain(reason)
        self._tell_end()

    def _thread_failed(self, name: str, error: Exception) -> None:
        """End in order after a defect: half a peer is worse than none."""
        self._fail(f"thread {name}: {describe_surprise(error)}")

    @property
    def ended_reason(self) -> str | None:
        """Why this peer cannot go on, or ``None`` while it can."""
        return self._ended_reason

    # --- threads ----------------------------------------------------------------------

    @cached_property
    def _around(self) -> Surroundings:
        """What all connections share: made once, for there may be thousands."""
        return Surroundings(
            self.endpoint, self.clock, self._lines, self.execute, self.tell
        )

    def _new_id(self) -> ConnectionId:
        with self._id_lock:
            self._last_id += 1
            return ConnectionId(self._last_id)

    def run_connection(
        self,
        connection: Connection,
        is_tcp_originator: bool,
        patience_seconds: float | None = None,
    ) -> bool:
        """Thread body: feed the endpoint from one connection until it ends.

        Parameters
        ----------
        patience_seconds : float or None
            How long to wait until the peer says anything at all; ``None``: for ever.

        Returns
        -------
        bool
            Whether a valid message came.
        """
        id, options = self._new_id(), self.configuration.transport
        feed = Feed(id, connection, self._around)
        self._lines.add(id, connection)
        connection.give_up_after(options.user_timeout_seconds)
        reason, stream = "closed by us", None
        try:
            # stop() looks for connections after it has begun to leave: whichever of us
            # comes second sees the other.
            if not self.is_stopping:
                stream = feed.begin(is_tcp_originator, options.path_mtu)
                reason = feed.run(patience_seconds)
        except ConnectionBroken as error:
            reason = str(error)
        except Exception as error:  # must not end what other connections carry
            reason = describe_surprise(error)
            self.tell("problem", {"text": f"connection {id}: {reason}"})
        finally:
            connection.close()
            self._lines.remove(id)
            self.rates.connection_ended(connection)
            lost = self.endpoint.connection_lost(id, reason, self.clock.now())
            self.execute(lost)
        return stream is not None and stream.connection.was_heard

    def _run_tunnel(self) -> None:
        """Thread body: seal what the machine sends into the tunnel device."""
        device = self.tunnel.device
        poller = select.poll()
        poller.register(device.fileno(), select.POLLIN)
        poller.register(self._stop.fileno(), select.POLLIN)
        try:
            while not self._stop.is_set():
                self._lines.wait_writable(STALL_SECONDS)
                with self._device_turn:
                    runs = device.read_runs()
                for packets in runs:
                    self.execute(self.endpoint.inner_packets(packets))
                if not runs:
                    poller.poll()
        except IketcpError as error:
            self._fail(str(error))

    def _run_timer(self) -> None:
        """Thread body: wake when the endpoint has something due."""
        while not self._stop.is_set():
            now = self.clock.now()
            if self.rates.is_due(now):
                udp = () if self.datagrams is None else (self.datagrams.sockets,)
                self.rates.sample(now, (*self.connections.values(), *udp))
            self._plane.count(now)
            deadline = self.endpoint.next_deadline(now)
            pause = 1.0 if deadline is None else min(1.0, max(0.0, deadline - now))
            if self._timer_wake.wait(pause):
                self._stop.wait(NAP_SECONDS)
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
