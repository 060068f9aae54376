"""The initiator: connects, and connects again when the connection breaks.

One thread does both, for there is one connection at a time: it waits for the endpoint
to ask for a connection, makes it, and reads it until it ends. Over UDP there is only a
first datagram to send, and the thread goes on waiting. When the peers authenticate each
other anew, another thread makes a connection beside the first, and reads that.

Source: RFC 9329 §6.1, RFC 7296 §2.8.3
"""

from __future__ import annotations

import select
import threading
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any

from iketcp.effects import IkeSaClosed
from iketcp.errors import EnvironmentProblem, IketcpError
from iketcp.ike.nat_detection import IpAddress
from iketcp.net.connection import Connection
from iketcp.net.socket_options import new_flow_label
from iketcp.net.tcp import ConnectionBroken, resolve_host
from iketcp.net.wake import Wake
from iketcp.peers.datagrams import Datagrams
from iketcp.peers.dialer import Dialer
from iketcp.peers.peer import Peer
from iketcp.peers.ways import Ways

Addresses = tuple[IpAddress, ...]


class Initiator(Peer):
    """The initiator of one session; parameters as of :class:`Peer`.

    Source: RFC 9329 §6.1
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._wishes = threading.Condition()
        self._wished_delay: float | None = None
        self._dialing = threading.Lock()
        self._attempt = 0
        self._is_up = False
        super().__init__(*arguments, **named)
        self._flow_label = new_flow_label(self.endpoint.context.entropy)

    def _prepare(self) -> None:
        self._ways = Ways(self.configuration)
        log_key = self._reports.tls_key_log
        self._dialer = Dialer(self.configuration, self._leaving, log_key)

    def _open(self) -> None:
        if self.configuration.transport.protocol == "udp":
            self._open_datagrams()
        self._threads.spawn("originator", self._run_originator)
        self.execute(self.endpoint.initiate())

    def _connect_after(self, delay_seconds: float) -> None:
        """Wish for a connection; several wishes are one, with the longest delay."""
        with self._wishes:
            self._wished_delay = max(delay_seconds, self._wished_delay or 0.0)
            self._wishes.notify_all()

    def _connect_beside(self) -> None:
        """Make another connection in a thread of its own, once. RFC 7296 §2.8.3."""
        try:
            self._threads.spawn("beside", self._run_beside)
        except EnvironmentProblem as error:
            self._connect_failed(str(error))

    def _run_beside(self) -> None:
        """Thread body: a connection beside the one that there is, until it ends."""
        try:
            self._go_to_peer(is_beside=True)
        except IketcpError as error:
            self._connect_failed(str(error))

    def _connect_failed(self, reason: str) -> None:
        self.tell("connect-failed", {"reason": reason, "attempt": self._attempt})
        self.execute(self.endpoint.connection_failed(self.clock.now()))

    def _close_openers(self) -> None:
        self._dialer.stop()
        with self._wishes:
            self._wishes.notify_all()

    def _sa_established(self) -> None:
        self._is_up = True

    def _sa_closed(self, effect: IkeSaClosed) -> None:
        """A session that never came up will not come up by trying again.

        One that did is followed by another: the endpoint asks for a connection. The
        same holds for that one. Over UDP nobody may have been there to answer; then,
        as over TCP, the next attempt follows. One that has another beside it, or is
        to take the place of another, changes nothing.
        """
        if effect.is_spare:
            return
        was_up, self._is_up = self._is_up, False
        # it stays for all connections of a session, not longer [9329-6.1-flowlabel]
        self._flow_label = new_flow_label(self.endpoint.context.entropy)
        if effect.is_unheard:
            self._ways.failed()
        elif not was_up:
            self._fail(effect.reason)

    def _run_originator(self) -> None:
        """Thread body: connect whenever the endpoint asks for it."""
        while (delay := self._next_wish()) is not None:
            if delay and self._leaving.wait(delay):
                return
            try:
                is_going_on = self._go_to_peer()
            except ConnectionBroken as error:
                self._connect_failed(str(error))
                continue
            except IketcpError as error:
                self._fail(str(error))
                return
            if not is_going_on:
                return

    def _go_to_peer(self, is_beside: bool = False) -> bool:
        """Go to the peer, and over TCP stay until that ends; False when stopping.

        Raises
        ------
        ConnectionBroken
            There is no way to it; another attempt may succeed.

        Source: RFC 9329 §6.1, RFC 7296 §1.2
        """
        address = self._next_address()
        if address is None:
            return False
        if self.datagrams is not None:
            self._begin_over_udp(self.datagrams, address)
            return True
        connection = self._connect(address)
        if connection is None:
            return False
        if not is_beside:
            with self._wishes:
                self._wished_delay = None  # whoever wished for a connection has one
        # where there is another way, a silent peer is not waited for without end
        patience = self.configuration.transport.connect_timeout_seconds
        was_heard = self.run_connection(
            connection,
            is_tcp_originator=True,
            patience_seconds=patience if self._ways.are_several else None,
        )
        self._dialer.ended(connection)
        if not was_heard:
            self._ways.failed()
        return True

    def _begin_over_udp(self, datagrams: Datagrams, address: IpAddress) -> None:
        """Send a first datagram; whether somebody was there is seen later.

        Raises
        ------
        ConnectionBroken
            There is no way from here now; another attempt may succeed.
        """
        try:
            paths = datagrams.paths_to(address)
        except ConnectionBroken:
            self._ways.failed()
            raise
        self.execute(self.endpoint.begin_over_udp(*paths, self.clock.now()))

    def _next_wish(self) -> float | None:
        """Wait for a wish; its delay in seconds, or ``None`` when stopping."""
        with self._wishes:
            self._wishes.wait_for(
                lambda: self.is_stopping or self._wished_delay is not None
            )
            delay, self._wished_delay = self._wished_delay, None
            return None if self.is_stopping else delay

    def _next_address(self) -> IpAddress | None:
        """Choose one of the peer's addresses, or its proxy's; ``None`` when stopping.

        Raises
        ------
        ConnectionBroken
            There is none; another attempt may succeed.
        """
        addresses = self._look_up(self._dialer.host)
        if addresses is None:
            return None
        self._attempt += 1
        return self._ways.choose(addresses)

    def _connect(self, address: IpAddress) -> Connection | None:
        """Connect to one address, on the way whose turn it is; ``None`` when stopping.

        Raises
        ------
        ConnectionBroken
            No connection; another attempt may succeed.
        """
        try:
            with self._dialing:
                return self._dialer.dial(address, self._ways.next, self._flow_label)
        except ConnectionBroken:
            self._ways.failed()
            raise

    def _look_up(self, host: str) -> Addresses | None:
        """Find the peer's addresses, of our family if we connect from a given one.

        Raises
        ------
        ConnectionBroken
            There is none; another attempt may succeed.
        """
        try:
            found: Addresses | None = (ip_address(host),)
        except ValueError:
            found = self._ask_resolver(host)
        local = self.configuration.local.address
        if local is None or found is None:
            return found
        version = ip_address(local).version
        fitting = tuple(a for a in found if a.version == version)
        if not fitting:
            raise ConnectionBroken(f"{host} has no IPv{version} address, as {local} is")
        return fitting

    def _ask_resolver(self, host: str) -> Addresses | None:
        """Ask the system for the addresses of a name; ``None`` when stopping.

        The system's resolver cannot be interrupted. It works in a thread that is left
        to itself when the peer stops meanwhile.

        Raises
        ------
        ConnectionBroken
            The name has no address, or nobody answers.
        """
        future: Future[Addresses] = Future()
        done = Wake()

        def look_up() -> None:
            try:
                future.set_result(resolve_host(host))
            except Exception as error:  # it is raised where it is waited for
                future.set_exception(error)
            done.set()

        threading.Thread(target=look_up, name="iketcp-lookup", daemon=True).start()
        poller = select.poll()
        poller.register(done.fileno(), select.POLLIN)
        poller.register(self._leaving.fileno(), select.POLLIN)
        poller.poll()
        done.close()
        return None if self.is_stopping else future.result()
