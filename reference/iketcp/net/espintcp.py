"""A connection whose ESP is the kernel's: only IKE messages pass through here.

Linux has ESP in TCP as an *upper layer protocol* of a socket, ``espintcp``. Once it is
attached, the kernel finds the messages in what comes in: ESP packets go to their SAs,
each other one is read by a call of its own, from the non-ESP marker on and without its
Length. What we write is one message a call, and the kernel puts the Length before it.
It knows nothing of the stream prefix, which has to be through before.

To the endpoint that must look like the stream that it is, so the Length is taken off
here and put back, and the responder reads no octet further than the prefix.

Source: RFC 9329 §3, RFC 9329 §4
"""

from __future__ import annotations

import errno
import os
import socket

from iketcp.errors import EnvironmentProblem
from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress, TcpConnection
from iketcp.stream import STREAM_PREFIX, frame_esp, frames_of

_TCP_ULP = 31
"""Linux's socket option for a protocol on top of TCP, by its name."""
_LARGEST_MESSAGE = 65536


def _attach_espintcp(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"espintcp")


def require_espintcp() -> None:
    """Make sure that the kernel has ESP in TCP, before anything else is begun.

    Raises
    ------
    EnvironmentProblem
        It has not, in one sentence.

    Source: RFC 9329 §3.2
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            _attach_espintcp(probe)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOPROTOOPT):
                raise EnvironmentProblem(
                    "this kernel has no ESP in TCP (CONFIG_INET_ESPINTCP), which "
                    '[tun] dataplane = "kernel" needs; "user" works everywhere'
                ) from error
            raise EnvironmentProblem(
                f"cannot tell whether this kernel has ESP in TCP: {error.strerror}"
            ) from error


class EspInTcpConnection:
    """A connection that hands ESP to the kernel from the stream prefix on.

    Parameters
    ----------
    carrier : TcpConnection
        A new connection on which nothing has been sent or read; it belongs to this one
        from now on.
    is_tcp_originator : bool
        We send the stream prefix; else we wait for it.

    Source: RFC 9329 §4, RFC 9329 §6.1
    """

    def __init__(self, carrier: TcpConnection, is_tcp_originator: bool) -> None:
        self._carrier = carrier
        self._is_tcp_originator = is_tcp_originator
        self._prefix = b""
        self._is_attached = False
        self._failure = ""

    def __repr__(self) -> str:
        return f"EspInTcpConnection({self.local_address} - {self.remote_address})"

    # --- as it is underneath ----------------------------------------------------------

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port."""
        return self._carrier.local_address

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address and port."""
        return self._carrier.remote_address

    @property
    def octets_in(self) -> int:
        """Octets that came, without those of ESP."""
        return self._carrier.octets_in

    @property
    def octets_out(self) -> int:
        """Octets that went out, without those of ESP."""
        return self._carrier.octets_out

    @property
    def queue_depth(self) -> int:
        """Octets of IKE messages that wait for the stack to take them."""
        return self._carrier.queue_depth

    @property
    def dropped_batches(self) -> int:
        """Droppable sends that were refused."""
        return self._carrier.dropped_batches

    @property
    def path_mtu(self) -> int:
        """The path MTU that the stack knows, in octets."""
        return self._carrier.path_mtu

    @property
    def protection(self) -> str:
        """Empty: there is no TLS."""
        return self._carrier.protection

    def give_up_after(self, seconds: float) -> None:
        """Break off when the peer's stack takes nothing for so long."""
        self._carrier.give_up_after(seconds)

    def handshake(self, timeout_seconds: float | None = None) -> bool:
        """Do nothing: without TLS octets may come at once."""
        return self._carrier.handshake(timeout_seconds)

    def wait_writable(self, timeout_seconds: float) -> bool:
        """Wait until droppable frames are taken again; not for the owner thread."""
        return self._carrier.wait_writable(timeout_seconds)

    def stop(self) -> None:
        """Make the owner leave :meth:`wait_and_receive`."""
        self._carrier.stop()

    def close(self, graceful: bool = True) -> None:
        """Hand over what is queued, and give the socket back."""
        self._carrier.close(graceful)

    def abort(self) -> None:
        """Break the connection off with RST."""
        self._carrier.abort()

    # --- messages ---------------------------------------------------------------------

    def send(self, octets: bytes, droppable: bool) -> bool:
        """Send the stream prefix, or whole frames, each as a message of its own.

        Returns
        -------
        bool
            False if one was refused, because the queue is full or the connection over.

        Source: RFC 9329 §3, RFC 9329 §4
        """
        if self._is_tcp_originator and not self._is_attached:
            is_sent = self._carrier.send(octets, droppable)
            if octets == STREAM_PREFIX:
                self._attach()
            return is_sent
        return all(self._carrier.send(m, droppable) for m in frames_of(octets))

    def wait_and_receive(
        self, size: int = 262144, deadline: float | None = None
    ) -> bytes | None:
        """Wait for octets of the stream prefix, or for a message; owner thread only.

        Returns
        -------
        bytes or None
            What was read, a message with its Length; ``b""`` at the peer's end, None
            when told to stop.

        Raises
        ------
        ConnectionBroken
            The connection is lost, nothing came in time, or the kernel does not take
            the connection over.

        Source: RFC 9329 §3, RFC 9329 §4
        """
        if self._failure:
            raise ConnectionBroken(self._failure)
        if self._is_attached:
            message = self._carrier.wait_and_receive(_LARGEST_MESSAGE, deadline)
            return frame_esp(message) if message else message
        # one that begins otherwise never gets here again: the endpoint closes it
        missing = len(STREAM_PREFIX) - len(self._prefix)
        octets = self._carrier.wait_and_receive(missing, deadline)
        self._prefix += octets or b""
        if self._prefix == STREAM_PREFIX:
            self._attach()
        return octets

    def _attach(self) -> None:
        """Let the kernel find messages from here on; the owner hears of a failure."""
        self._is_attached = True
        try:
            if self._carrier.queue_depth:  # of the six octets; it would follow later
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self._carrier.carry_messages(_attach_espintcp)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            self._failure = f"the kernel does not take ESP over: {reason}"
