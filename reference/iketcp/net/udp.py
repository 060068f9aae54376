"""UDP sockets for IKE and ESP: two ports, both IP versions, many peers.

Nothing is connected here. Every datagram comes with its source and with the address of
ours that it was sent to, so that an answer can leave from there; a host may have many.
One thread receives, in batches; any thread sends. Nothing is queued: what the stack
does not take at once is lost and counted, as it may be anywhere on its way.

Large datagrams may be fragmented on their way over IPv4, whatever their path: the inner
MTU, and IKE fragments, keep that rare.

Source: RFC 7296 §2.11
Source: RFC 7296 §2.23
Source: RFC 3948 §2.1
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

from iketcp.errors import ConfigurationError, EnvironmentProblem
from iketcp.ike.nat_detection import IpAddress, Path, Transport
from iketcp.net.tcp import Address, ConnectionBroken
from iketcp.net.tcp_connection import SocketAddress
from iketcp.net.wake import Wake

Batch = tuple[Path, list[bytes]]
"""Datagrams in a row that came along one path."""

RECEIVE_BUFFER = 4 << 20
"""Octets; Linux gives as much to root, and what it likes to others."""

MOST_AT_ONCE = 128
"""Choice: datagrams that are taken from one socket before the next one's turn."""

MOST_PATHS = 1024
"""Choice: paths that are kept ready; a stranger may make up any number of them."""

_DATAGRAM_SIZE = 65535
_ANCILLARY_SIZE = socket.CMSG_SPACE(20)
# Linux option numbers that the socket module does not name.
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_SO_NO_CHECK = 11
_SO_RCVBUFFORCE = 33
# Linux's struct in_pktinfo: interface, our address, the address in the header; and
# struct in6_pktinfo: the address in the header, interface.
_PKTINFO_4 = Struct("=i4s4s")
_PKTINFO_6 = Struct("=16si")
_LACKS_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


class _Bound:
    """One socket, of one IP version, on one of the two ports."""

    def __init__(
        self, sock: socket.socket, transport: Transport, address: IpAddress
    ) -> None:
        self.socket = sock
        self.transport = transport
        self.version = address.version
        self.port = int(sock.getsockname()[1])
        self.address = SocketAddress(address, self.port)
        self._address = address
        self._paths: dict[tuple[object, ...], Path] = {}

    def receive(self) -> tuple[Path, bytes]:
        """Take one datagram; raises OSError if there is none."""
        octets, ancillary, flags, source = self.socket.recvmsg(
            _DATAGRAM_SIZE, _ANCILLARY_SIZE
        )
        key = (source, *(data for _, _, data in ancillary))
        path = self._paths.get(key)
        if path is None:
            if len(self._paths) >= MOST_PATHS:
                self._paths.clear()
            path = self._paths[key] = self._path(ancillary, source)
        return path, b"" if flags & socket.MSG_TRUNC else octets

    def _path(
        self, ancillary: list[tuple[int, int, bytes]], source: tuple[object, ...]
    ) -> Path:
        local = self._address
        for _, kind, data in ancillary:
            if self.version == 4 and kind == _IP_PKTINFO:
                local = IPv4Address(_PKTINFO_4.unpack(data)[1])
            elif self.version == 6 and kind == socket.IPV6_PKTINFO:
                local = IPv6Address(_PKTINFO_6.unpack(data)[0])
        remote = ip_address(str(source[0]).partition("%")[0])
        if remote.is_link_local and self.version == 6:
            remote = IPv6Address(f"{remote}%{source[3]}")
        return Path(local, self.port, remote, int(str(source[1])), self.transport)

    def send(self, path: Path, datagram: bytes) -> None:
        """Send one datagram from the path's local address; raises OSError."""
        host, remote = str(path.remote_address), path.remote_port
        if self.version == 4:
            info = _PKTINFO_4.pack(0, path.local_address.packed, bytes(4))
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
            self.socket.sendmsg([datagram], ancillary, 0, (host, remote))
            return
        host, _, zone = host.partition("%")
        info = _PKTINFO_6.pack(path.local_address.packed, int(zone or 0))
        name = (host, remote, 0, int(zone or 0))
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
        self.socket.sendmsg([datagram], ancillary, 0, name)


class UdpSockets:
    """The sockets of one peer: up to two ports of up to two IP versions.

    Parameters
    ----------
    address : IPv4Address, IPv6Address, str or None
        Where to be reached; None and ``"::"`` mean every address of both versions.
    port : int or None
        Of IKE alone; 0 lets the system choose, for each version by itself; None: there
        is no such port.
    encapsulation_port : int
        Of IKE and ESP together; likewise.
    dscp : int
        Differentiated Services Code Point of every datagram, 6 bits.

    Raises
    ------
    ConfigurationError
        ``address`` is no IP address.
    EnvironmentProblem
        The address is not ours, a port is taken or needs a privilege.

    Source: RFC 7296 §2.11, RFC 7296 §2.23
    """

    def __init__(
        self,
        address: Address | None,
        port: int | None,
        encapsulation_port: int,
        *,
        dscp: int = 0,
    ) -> None:
        self.octets_in = 0
        self.octets_out = 0
        self.lost = 0
        """Datagrams that the stack did not take."""
        self._dscp = dscp
        self._is_closed = False
        self._sending = threading.Lock()
        ports = (
            (port, Transport.UDP),
            (encapsulation_port, Transport.UDP_ENCAPSULATION),
        )
        with contextlib.ExitStack() as undo:
            self._wake = Wake()
            undo.callback(self._wake.close)
            self._bound = []
            for number, transport in ports:
                if number is None:
                    continue
                for bound in self._bind(address, number, transport):
                    undo.callback(bound.socket.close)
                    self._bound.append(bound)
            undo.pop_all()
        self._by_kind = {(b.version, b.transport): b for b in self._bound}
        self._by_descriptor = {b.socket.fileno(): b for b in self._bound}
        self._poller = select.poll()
        for fd in (self._wake.fileno(), *self._by_descriptor):
            self._poller.register(fd, select.POLLIN)

    @property
    def addresses(self) -> list[SocketAddress]:
        """Where it is reached, with the real ports: those of IKE alone first."""
        return [bound.address for bound in self._bound]

    # --- making -----------------------------------------------------------------------

    def _bind(
        self, address: Address | None, port: int, transport: Transport
    ) -> Iterator[_Bound]:
        """Open one port, for each version that ``address`` stands for."""
        try:
            given = None if address is None else ip_address(address)
        except ValueError as error:
            raise ConfigurationError(f"{address!r} is not an IP address") from error
        if given is not None and given != IPv6Address("::"):
            yield self._bound_to(given, port, transport)
            return
        yield self._bound_to(IPv4Address("0.0.0.0"), port, transport)
        try:
            yield self._bound_to(IPv6Address("::"), port, transport)
        except EnvironmentProblem as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in _LACKS_FAMILY:
                raise  # else: a machine without IPv6

    def _bound_to(self, address: IpAddress, port: int, transport: Transport) -> _Bound:
        is_6 = address.version == 6
        family = socket.AF_INET6 if is_6 else socket.AF_INET
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            self._set_options(sock, is_6, transport)
            host, _, zone = str(address).partition("%")
            scope = socket.if_nametoindex(zone) if zone else 0
            sock.bind((host, port, 0, scope) if is_6 else (host, port))
            return _Bound(sock, transport, address)
        except OSError as error:
            if sock is not None:
                sock.close()
            raise EnvironmentProblem(
                f"cannot use UDP port {port} of {address}: {error.strerror}"
            ) from error

    def _set_options(self, sock: socket.socket, is_6: bool, kind: Transport) -> None:
        """Ask for the addresses of each datagram, and for room."""
        if is_6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        set_datagram_options(sock, self._dscp, kind is Transport.UDP_ENCAPSULATION)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def path_to(self, remote: IpAddress, port: int, transport: Transport) -> Path:
        """Say which way a datagram to the peer would take from here.

        Raises
        ------
        ConnectionBroken
            There is no route, or no socket of the peer's IP version; worth another try
            later.

        Source: RFC 7296 §2.11
        """
        bound = self._by_kind.get((remote.version, transport))
        if bound is None:
            raise ConnectionBroken(f"no UDP socket for IPv{remote.version}")
        local = bound.address.address
        if local.is_unspecified:
            local = _local_address_to(remote, port)
        return Path(local, bound.port, remote, port, transport)

    # --- using ------------------------------------------------------------------------

    def send(self, path: Path, datagrams: Sequence[bytes]) -> None:
        """Send datagrams, each by itself; never blocks, callable from any thread.

        Source: RFC 7296 §2.11, RFC 3948 §2.1
        """
        version = path.remote_address.version
        bound = self._by_kind.get((version, path.transport))
        with self._sending:
            for datagram in datagrams:
                if self._is_closed or bound is None:
                    self.lost += 1
                    continue
                try:
                    bound.send(path, datagram)
                    self.octets_out += len(datagram)
                except OSError:  # full, unreachable, or not ours any more
                    self.lost += 1

    def receive(self) -> list[Batch] | None:
        """Wait for datagrams; ``None`` once somebody called :meth:`stop`.

        For one thread.

        Returns
        -------
        list of (Path, list[bytes])
            In the order of each socket; what was too long for us comes empty.
        """
        batches: list[Batch] = []
        while not batches:
            ready = self._poller.poll()
            if self._wake.is_set():
                return None
            for fd, _ in ready:
                self._drain(self._by_descriptor[fd], batches)
        return batches

    def _drain(self, bound: _Bound, batches: list[Batch]) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                path, octets = bound.receive()
            except OSError:  # no more, or an ICMP error that proves nothing
                return
            self.octets_in += len(octets)
            if batches and batches[-1][0] is path:
                batches[-1][1].append(octets)
            else:
                batches.append((path, [octets]))

    def stop(self) -> None:
        """Make :meth:`receive` return ``None``; from any thread."""
        self._wake.set()

    def close(self) -> None:
        """Give the sockets back, once nobody receives any more; idempotent."""
        with self._sending:
            if self._is_closed:
                return
            self._is_closed = True
            for bound in self._bound:
                bound.socket.close()
            self._wake.close()


def set_datagram_options(sock: socket.socket, dscp: int, is_encapsulated: bool) -> None:
    """Set what every datagram has: its mark, and over IPv4 no DF bit.

    Source: RFC 7296 §2.11, RFC 3948 §2.1
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        return
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
    if is_encapsulated:
        # a checksum of zero, for ESP has a better one. RFC 3948 §2.1
        sock.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)


def _local_address_to(remote: IpAddress, port: int) -> IpAddress:
    """Ask the system which of our addresses it would send from.

    Raises
    ------
    ConnectionBroken
        There is no route.
    """
    family = socket.AF_INET6 if remote.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            host, _, zone = str(remote).partition("%")
            name = (host, port, 0, int(zone or 0))
            probe.connect(name if remote.version == 6 else name[:2])
            return ip_address(str(probe.getsockname()[0]).partition("%")[0])
    except OSError as error:
        raise ConnectionBroken(f"cannot reach {remote}: {error.strerror}") from error
