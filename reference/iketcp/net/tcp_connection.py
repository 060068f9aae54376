"""One TCP connection as octets both ways, with a bounded queue outward.

One thread owns a connection: it alone waits and reads. Any thread sends: what the
stack does not take at once waits in a queue, which the owner works off between reads,
so a frame is never interleaved with another and a partly sent one is finished first.
A peer that reads too slowly cannot make the queue grow without bound: from
``queue_limit`` octets on, inner packets are refused, as any full link drops packets;
IKE messages are still taken, up to ``hard_limit``, beyond which the connection is
broken off. The SAs outlive it in any case.

Source: RFC 9329 §3, RFC 9329 §6.1
"""

import contextlib
import fcntl
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from iketcp.errors import IketcpError, Scope
from iketcp.net.socket_options import is_ecn_negotiated, path_mtu, set_user_timeout
from iketcp.net.wake import Wake

DEFAULT_QUEUE_LIMIT = 1 << 20
"""Octets."""
_HARD_LIMIT_FACTOR = 4
_CLOSE_SECONDS = 1.0
_CLOSE_SLICE_SECONDS = 0.01
_BUFFERS_PER_FLUSH = 64
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL


class ConnectionBroken(IketcpError):
    """The TCP connection failed, or could not be made: reset, timeout, unreachable."""

    scope = Scope.CONNECTION
    source = "RFC 9329 §6.1"


class SocketAddress(NamedTuple):
    """An IP address and a TCP port."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


class TcpConnection:
    """A connected socket: its owner thread reads, any thread sends and closes.

    Not to be closed from a signal handler: that may interrupt a thread inside.

    Parameters
    ----------
    connected : socket.socket
        A connected TCP socket with its options set; it belongs to the connection from
        now on, also if this raises.
    queue_limit : int
        Octets in the queue from which on droppable frames are refused.
    hard_limit : int or None
        Octets in the queue beyond which the connection is broken off; None is four
        times ``queue_limit``.

    Raises
    ------
    ConnectionBroken
        The peer is gone already.
    EnvironmentProblem
        No file descriptor is left.

    Source: RFC 9329 §6.1
    """

    local_address: SocketAddress
    """Our address and port; an IPv4-mapped IPv6 address is given as IPv4."""
    remote_address: SocketAddress
    """The peer's address and port, likewise."""

    def __init__(
        self,
        connected: socket.socket,
        queue_limit: int = DEFAULT_QUEUE_LIMIT,
        hard_limit: int | None = None,
    ) -> None:
        try:
            connected.setblocking(False)
            self.local_address = socket_address(connected.getsockname())
            self.remote_address = socket_address(connected.getpeername())
            self._wake = Wake()
        except OSError as error:
            connected.close()
            raise ConnectionBroken(f"connection lost: {error.strerror}") from error
        except IketcpError:
            connected.close()
            raise
        self.queue_limit = queue_limit
        self.hard_limit = hard_limit or queue_limit * _HARD_LIMIT_FACTOR
        self.octets_in = 0
        self.octets_out = 0
        self.dropped_batches = 0
        self.dropped_octets = 0
        self._socket = connected
        self._returned = b""
        self._most_buffers = _BUFFERS_PER_FLUSH
        self._queue: list[memoryview | bytes] = []
        self._queued = 0
        # Held by whoever polls the socket, so that it is never closed under a poll.
        # Taken before the send lock, never after it.
        self._polling = threading.Lock()
        # The send lock: the queue, the flags and every write.
        self._lock = threading.Lock()
        # Nobody waits on nearly all connections of a responder, so most have none.
        self._room: threading.Condition | None = None
        self._is_stopping = self._is_closing = self._is_closed = False
        self._is_aborted = self._is_overrun = False
        self._failure = ""
        self._poller = select.poll()
        self._poller.register(self._wake.fileno(), select.POLLIN)
        self._poller.register(connected.fileno(), select.POLLIN)

    def __repr__(self) -> str:
        return f"TcpConnection({self.local_address} - {self.remote_address})"

    @property
    def queue_depth(self) -> int:
        """Octets that wait for the stack to take them."""
        return self._queued

    @property
    def protection(self) -> str:
        """Empty: there is no TLS."""
        return ""

    @property
    def is_closing(self) -> bool:
        """True once nothing can be sent any more."""
        return self._is_closing

    @property
    def path_mtu(self) -> int:
        """The path MTU the stack knows, in octets; the default once closed."""
        return path_mtu(self._socket)

    @property
    def is_ecn_negotiated(self) -> bool:
        """True if the stacks made the connection ECN-capable; False once closed."""
        return is_ecn_negotiated(self._socket)

    def give_up_after(self, seconds: float) -> None:
        """Break off when the peer's stack takes nothing for so long; 0: the system's.

        The owner hears of it as of any loss. RFC 9329 §6.1.
        """
        with contextlib.suppress(OSError):  # it is over already
            set_user_timeout(self._socket, seconds)

    def handshake(self, timeout_seconds: float | None = None) -> bool:
        """Do nothing: without TLS octets may come at once."""
        return True

    def carry_messages(self, attach: Callable[[socket.socket], None]) -> None:
        """Have ``attach`` change the socket; from now on each send is one message."""
        with self._lock:
            attach(self._socket)
            self._most_buffers = 1

    # --- sending: any thread ------------------------------------------------------

    def send(self, octets: bytes, droppable: bool) -> bool:
        """Send whole frames, or queue them; never blocks.

        Parameters
        ----------
        octets : bytes
            One or more complete frames; never interleaved with other sends.
        droppable : bool
            True for ESP: refused while more than ``queue_limit`` octets wait.

        Returns
        -------
        bool
            False if refused, because the queue is full or the connection is over.

        Source: RFC 9329 §3
        """
        with self._lock:
            if self._is_over():
                return False
            is_taken = (
                self._enqueue(octets, droppable)
                if self._queued
                else self._write(octets)
            )
        if self._is_overrun:
            self._release()
        return is_taken

    def wait_writable(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits for the stack; not for the owner thread.

        Who has more to send waits with it, and may still choose what goes first.

        Returns
        -------
        bool
            False if the timeout passed, or the connection is over.
        """
        with self._lock:
            self._room = self._room or threading.Condition(self._lock)
            self._room.wait_for(
                lambda: self._is_over() or not self._queued, timeout_seconds
            )
            return not self._is_over() and not self._queued

    def has_room(self, size: int) -> bool:
        """Tell whether a droppable send of ``size`` octets is taken now.

        If not it counts as dropped, for whoever asks does not send it then.
        """
        with self._lock:
            has_room = self._queued <= self.queue_limit
            if not has_room:
                self._count_dropped(size)
            return has_room

    def _count_dropped(self, size: int) -> None:
        """Note a refusal; the caller holds the send lock."""
        self.dropped_batches += 1
        self.dropped_octets += size

    def _write(self, octets: bytes) -> bool:
        """Write at once and queue the rest; the caller holds the send lock."""
        try:
            sent = self._socket.send(octets)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(f"connection lost while sending: {error.strerror}")
            return False
        self.octets_out += sent
        if sent < len(octets):
            # The rest of a frame is due, droppable or not.
            self._queue.append(memoryview(octets)[sent:])
            self._queued = len(octets) - sent
            self._wake.set()
        return True

    def _enqueue(self, octets: bytes, droppable: bool) -> bool:
        """Queue behind others, within the limits; the caller holds the send lock."""
        would_wait = self._queued + len(octets)
        is_beyond = would_wait > self.hard_limit
        if droppable and (is_beyond or self._queued > self.queue_limit):
            self._count_dropped(len(octets))
            return False
        if is_beyond:
            self._is_overrun = self._is_closing = True
            self._fail(
                "the peer does not read: more than "
                f"{self.hard_limit} octets would wait for it"
            )
            return False
        self._queue.append(octets)
        self._queued = would_wait
        return True

    def _flush(self) -> None:
        """Write what the stack takes; the caller holds the send lock."""
        while self._queue and not self._is_closed:
            try:
                sent = self._socket.sendmsg(self._queue[: self._most_buffers])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._fail(f"connection lost while sending: {error.strerror}")
                return
            self.octets_out += sent
            self._queued -= sent
            whole = 0
            while sent and sent >= len(self._queue[whole]):
                sent -= len(self._queue[whole])
                whole += 1
            if sent:
                self._queue[whole] = memoryview(self._queue[whole])[sent:]
            del self._queue[:whole]
        if not self._queued:
            self._wake_senders()

    def _fail(self, reason: str) -> None:
        """Note why nothing can be sent any more; the caller holds the send lock.

        The owner hears of it once it has read what came in before.
        """
        self._failure = reason
        self._queue.clear()
        self._queued = 0
        self._wake.set()
        self._wake_senders()

    def _wake_senders(self) -> None:
        """Let whoever waits to send look again; the caller holds the send lock."""
        if self._room is not None:
            self._room.notify_all()

    def _is_over(self) -> bool:
        return self._is_closing or bool(self._failure)

    # --- receiving: the owner thread ------------------------------------------------

    def give_back(self, octets: bytes) -> None:
        """Put octets back that were read too far; owner thread only."""
        self._returned = octets + self._returned

    def wait_and_receive(
        self, size: int = 262144, deadline: float | None = None
    ) -> bytes | None:
        """Wait for octets, working off the send queue meanwhile; owner thread only.

        Parameters
        ----------
        size : int
            The most octets to return.
        deadline : float or None
            Until when to wait, by ``time.monotonic``, in seconds; None: for ever.

        Returns
        -------
        bytes or None
            Octets as they came, ``b""`` once the peer has sent its FIN, None once
            :meth:`stop`, :meth:`close` or :meth:`abort` has been called.

        Raises
        ------
        ConnectionBroken
            The connection was reset or timed out, or we broke it off because the peer
            does not read; or nothing came in time.

        Source: RFC 9329 §6.1
        """
        if self._returned:
            octets, self._returned = self._returned[:size], self._returned[size:]
            return octets
        with self._polling:
            while (events := self._wait(deadline)) is not None:
                received = self._receive(size) if events & _READABLE else None
                if received is not None:
                    return received
                if self._failure and not events:
                    raise ConnectionBroken(self._failure)
            return None

    def _wait(self, deadline: float | None) -> int | None:
        """Poll once; the events of the socket, or None when asked to stop."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise ConnectionBroken("nothing came in time")
        with self._lock:
            if self._is_stopping:
                return None
            if self._is_overrun:
                raise ConnectionBroken(self._failure)
            self._poller.modify(
                self._socket.fileno(),
                select.POLLIN | (select.POLLOUT if self._queue else 0),
            )
        ready = dict(self._poller.poll(None if left is None else left * 1000))
        events = ready.get(self._socket.fileno(), 0)
        with self._lock:
            self._quieten()
            if events & select.POLLOUT:
                self._flush()
        return events

    def _quieten(self) -> None:
        """Make the owner's next poll wait again, unless there is cause not to."""
        if not self._is_stopping and not self._failure:
            self._wake.clear()

    def _receive(self, size: int) -> bytes | None:
        try:
            octets = self._socket.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            reason = self._failure or f"connection lost: {error.strerror}"
            raise ConnectionBroken(reason) from error
        if not octets and self._failure:
            raise ConnectionBroken(self._failure)
        self.octets_in += len(octets)
        return octets

    # --- ending it: any thread ------------------------------------------------------

    def stop(self) -> None:
        """Make the owner leave :meth:`wait_and_receive`; the connection stays open."""
        with self._lock:
            self._is_stopping = True
            if not self._is_closed:
                self._wake.set()

    def close(self, graceful: bool = True) -> None:
        """Send what is queued and FIN, within a second, and give the socket back.

        Idempotent, from any thread; the owner's :meth:`wait_and_receive` returns None.
        With ``graceful`` false, what is queued is lost.

        Source: RFC 9329 §6.1
        """
        with self._lock:
            self._begin_closing()
        if graceful:
            self._linger(time.monotonic() + _CLOSE_SECONDS)
        self._release()

    def abort(self) -> None:
        """Break the connection off with RST; idempotent, from any thread."""
        with self._lock:
            self._is_aborted = True
            self._begin_closing()
        self._release()

    def _begin_closing(self) -> None:
        self._is_stopping = self._is_closing = True
        self._wake_senders()
        if not self._is_closed:
            self._wake.set()

    def _release(self) -> None:
        with self._polling, self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.clear()
            self._queued = 0
            with contextlib.suppress(OSError):
                if self._is_aborted or self._is_overrun:
                    # Lingering for no time means RST instead of FIN.
                    self._socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                self._socket.close()
            self._wake.close()

    def _linger(self, deadline: float) -> None:
        """Hand the rest over: flush, FIN, and read on until the peer has it.

        To close a socket that still receives would reset it, and the reset could
        overtake our last frames.
        """
        is_fin_sent = is_fin_received = False
        with self._polling:
            poller = select.poll()
            while time.monotonic() < deadline:
                with self._lock:
                    if self._is_closed or self._is_aborted or self._failure:
                        return
                    self._flush()
                    queued = bool(self._queue)
                try:
                    is_fin_received = is_fin_received or self._discard()
                    if not queued and not is_fin_sent:
                        self._socket.shutdown(socket.SHUT_WR)
                        is_fin_sent = True
                    if is_fin_sent and (is_fin_received or self._is_all_taken()):
                        return
                except OSError:
                    return
                events = 0 if is_fin_received else select.POLLIN
                events |= select.POLLOUT if queued else 0
                poller.register(self._socket.fileno(), events)
                poller.poll(_CLOSE_SLICE_SECONDS * 1000)

    def _discard(self) -> bool:
        """Drop what came in; True at the peer's FIN."""
        try:
            return not self._socket.recv(262144)
        except (BlockingIOError, InterruptedError):
            return False

    def _is_all_taken(self) -> bool:
        """Tell whether the peer has acknowledged every octet and the FIN."""
        waiting = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return struct.unpack("=i", waiting) == (0,)


def socket_address(name: tuple[object, ...]) -> SocketAddress:
    """Turn what ``getsockname`` returns into an address, IPv4 where it is mapped."""
    address = ip_address(str(name[0]))
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return SocketAddress(address, int(str(name[1])))
