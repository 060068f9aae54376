"""Making TCP connections, from either side.

The TCP Originator connects from any local port; the TCP Responder listens on port 4500
or whatever it is configured for. Both waits end at once when somebody asks: a listener
by :meth:`Listener.close`, an attempt to connect by its ``stop`` descriptor. What
comes out is a :class:`TcpConnection`, which this module also re-exports.

Source: RFC 9329 §2, RFC 9329 §6.1
"""

import errno
import os
import select
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from iketcp.errors import ConfigurationError, EnvironmentProblem
from iketcp.net.socket_options import apply_socket_options, use_flow_label
from iketcp.net.tcp_connection import (
    DEFAULT_QUEUE_LIMIT,
    ConnectionBroken,
    SocketAddress,
    TcpConnection,
    socket_address,
)
from iketcp.net.wake import Wake

__all__ = [
    "DEFAULT_QUEUE_LIMIT",
    "Address",
    "ConnectionBroken",
    "HasFileno",
    "Listener",
    "SocketAddress",
    "TcpConnection",
    "apply_socket_options",
    "connect",
    "resolve_host",
]

Address = IPv4Address | IPv6Address | str
"""An IP address, as an object or written out."""

_BACKLOG = 128
_SHORTAGE_PAUSE_SECONDS = 0.1
# Out of descriptors or memory: the connection waits in the backlog, and so must we.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class HasFileno(Protocol):
    """Anything with a file descriptor, such as a :class:`Wake`."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Listener:
    """A listening port: one thread accepts, any other may close it.

    A TCP Responder has one for each port that is configured [9329-5-listen].

    Parameters
    ----------
    address : IPv4Address, IPv6Address, str or None
        Where to listen. None and ``"::"`` mean every address of both families,
        ``"0.0.0.0"`` every IPv4 address.
    port : int
        The TCP port; 0 lets the system choose, see ``address``.
    dscp : int
        Differentiated Services Code Point of every connection, 6 bits.
    queue_limit : int
        Passed on to each :class:`TcpConnection`.

    Raises
    ------
    ConfigurationError
        ``address`` is no IP address or ``dscp`` is out of range.
    EnvironmentProblem
        The address is not ours, the port is taken or needs a privilege.

    Source: RFC 9329 §2 [9329-2-ports]
    """

    address: SocketAddress
    """Where it listens, with the real port."""
    shortages: int
    """How often no connection could be accepted for want of descriptors or memory."""

    def __init__(
        self,
        address: Address | None,
        port: int,
        *,
        dscp: int = 0,
        queue_limit: int = DEFAULT_QUEUE_LIMIT,
    ) -> None:
        self._dscp = dscp
        self._queue_limit = queue_limit
        self.shortages = 0
        self._socket = _listening_socket(address, port, dscp)
        try:
            self.address = socket_address(self._socket.getsockname())
            self._wake = Wake()
        except BaseException:
            self._socket.close()
            raise
        self._accepting = threading.Lock()
        self._is_closed = False
        self._poller = select.poll()
        self._poller.register(self._wake.fileno(), select.POLLIN)
        self._poller.register(self._socket.fileno(), select.POLLIN)

    def accept(self) -> TcpConnection | None:
        """Wait for a connection; None once the listener is closed.

        A connection that is gone before we look at it is passed over, and a lack of
        descriptors or memory is waited out.
        """
        with self._accepting:
            while not self._wake.is_set():
                self._poller.poll()
                if self._wake.is_set():
                    break
                connection = self._accept_now()
                if connection is not None:
                    return connection
            return None

    def _accept_now(self) -> TcpConnection | None:
        try:
            accepted, _ = self._socket.accept()
        except OSError as error:
            # Anything else means that the connection died in the backlog.
            if error.errno in _SHORTAGES:
                self._wait_out_shortage()
            return None
        try:
            apply_socket_options(accepted, self._dscp)
            return TcpConnection(accepted, self._queue_limit)
        except EnvironmentProblem:
            self._wait_out_shortage()
        except (ConnectionBroken, OSError):
            accepted.close()
        return None

    def _wait_out_shortage(self) -> None:
        self.shortages += 1
        self._wake.wait(_SHORTAGE_PAUSE_SECONDS)

    def close(self) -> None:
        """Stop listening; :meth:`accept` returns None. Idempotent, from any thread.

        Connections accepted before live on. Not for signal handlers.
        """
        self._wake.set()
        with self._accepting:
            if not self._is_closed:
                self._is_closed = True
                self._socket.close()
                self._wake.close()


def connect(
    address: Address,
    port: int,
    timeout_seconds: float,
    *,
    local_address: Address | None = None,
    stop: int | HasFileno | None = None,
    dscp: int = 0,
    queue_limit: int = DEFAULT_QUEUE_LIMIT,
    flow_label: int | None = None,
) -> TcpConnection | None:
    """Connect as the TCP Originator, from any free local port.

    Parameters
    ----------
    address, port : IPv4Address, IPv6Address or str; int
        Where the peer listens; for a host name see :func:`resolve_host`.
    timeout_seconds : float
        How long the attempt may take.
    local_address : IPv4Address, IPv6Address, str or None
        The address to connect from; None lets the system choose.
    stop : int, object with a ``fileno`` or None
        A descriptor that becomes readable when the attempt is to be given up.
    dscp, queue_limit, flow_label : int
        As for :class:`Listener` and :func:`use_flow_label` [9329-6.1-flowlabel].

    Returns
    -------
    TcpConnection or None
        None if ``stop`` became readable first.

    Raises
    ------
    ConnectionBroken
        Refused, unreachable, or not connected in time; worth another try later.
    ConfigurationError, EnvironmentProblem
        As for :class:`Listener`, with ``local_address``; or no descriptor is left.

    Source: RFC 9329 §2, RFC 9329 §6.1
    """
    family, target = _resolve_numeric(address, port)
    sock = _open_socket(family)
    try:
        sock.setblocking(False)
        apply_socket_options(sock, dscp)
        if local_address is not None:
            _bind_local(sock, family, local_address)
        code = sock.connect_ex(_label(sock, target, flow_label))
        if code == errno.EINPROGRESS:
            code = _await_connected(sock, stop, timeout_seconds)
        if code == errno.ECANCELED:
            sock.close()
            return None
        if code:
            why = os.strerror(code)
            raise ConnectionBroken(f"cannot connect to {address} port {port}: {why}")
        return TcpConnection(sock, queue_limit)
    except BaseException:
        sock.close()
        raise


def _label(
    sock: socket.socket, target: tuple[object, ...], label: int | None
) -> tuple[object, ...]:
    """Return the address to connect to, with the flow label if there can be one."""
    if label is None or sock.family != socket.AF_INET6:
        return target
    host, port, _, zone = target
    is_granted = use_flow_label(sock, label, str(host))
    return (host, port, label, zone) if is_granted else target


def _await_connected(
    sock: socket.socket, stop: int | HasFileno | None, timeout_seconds: float
) -> int:
    """Wait for the handshake; the error number, ECANCELED if told to stop, or 0."""
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLOUT)
    stop_fd = stop if stop is None or isinstance(stop, int) else stop.fileno()
    if stop_fd is not None:
        poller.register(stop_fd, select.POLLIN)
    ready = dict(poller.poll(timeout_seconds * 1000))
    if stop_fd in ready:
        return errno.ECANCELED
    if not ready:
        return errno.ETIMEDOUT
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def resolve_host(host: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """Look up a host name, or read an address; in the system's order of preference.

    Blocks for as long as the system's resolver does.

    Raises
    ------
    ConnectionBroken
        The name has no address, or no name server answers; worth another try later.
    """
    try:
        return (ip_address(host),)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectionBroken(f"cannot find the address of {host}: {error}") from error
    # A dict keeps the order and drops repetitions.
    return tuple(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


def _resolve_numeric(address: Address, port: int) -> tuple[int, tuple[object, ...]]:
    """Turn a written address into what the socket module takes, zone included."""
    try:
        found = socket.getaddrinfo(
            str(address),
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST,
        )
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigurationError(
            f"{str(address)!r} is not an IP address of this machine's network"
        ) from error
    family, _, _, _, name = found[0]
    return int(family), name


def _open_socket(family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise EnvironmentProblem(f"cannot open a socket: {error.strerror}") from error


def _bind_local(sock: socket.socket, family: int, address: Address) -> None:
    local_family, name = _resolve_numeric(address, 0)
    if local_family != family:
        raise ConfigurationError(
            f"local address {address} and the peer's address are of different families"
        )
    try:
        sock.bind(name)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot connect from {address}: {error.strerror}"
        ) from error


def _listening_socket(address: Address | None, port: int, dscp: int) -> socket.socket:
    where = "::" if address is None else str(address)
    if address is None and not socket.has_dualstack_ipv6():
        where = "0.0.0.0"
    family, name = _resolve_numeric(where, port)
    sock = _open_socket(family)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            is_any = where == "::"
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_any)
        apply_socket_options(sock, dscp)
        sock.bind(name)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise EnvironmentProblem(
            f"cannot listen on {where} port {port}: {error.strerror}"
        ) from error
    except ConfigurationError:
        sock.close()
        raise
    return sock
