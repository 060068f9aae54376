"""What the outer TCP connection asks of the stack, and what it learns from it.

One DSCP serves a whole connection: inner packets of several classes share one stream,
so a mark per packet would only reorder it. The outer packets are not ECN-capable,
because no outer packet corresponds to one inner packet onto which a Congestion
Experienced mark could be copied. The maximum segment size is left to the two stacks to
negotiate.

Deviation: on Linux the ECN field of a TCP packet belongs to the stack. We ask for
zero, but a connection is ECN-capable all the same where the system's ``tcp_ecn``
setting negotiates it; :func:`is_ecn_negotiated` tells. With the usual setting (answer,
never ask) two of our peers never negotiate it.

Source: RFC 9329 §6.8, RFC 9329 §9.3, RFC 9329 §9.4, RFC 9329 §9.5
"""

import socket

from iketcp.errors import ConfigurationError

DEFAULT_PATH_MTU = 1500
"""Octets; assumed where the stack does not know better."""

# Linux option numbers that the socket module does not name.
_IP_MTU = 14
_IPV6_MTU = 24
# Octet 5 of Linux's struct tcp_info holds the negotiated options; this bit is ECN.
_TCP_INFO_OPTIONS = 5
_TCPI_OPT_ECN = 8


def apply_socket_options(sock: socket.socket, dscp: int = 0) -> None:
    """Set what holds for the whole life of an outer connection.

    Small frames leave at once (no Nagle delay), TCP keepalives are off because they
    say nothing about the IKE peer, every packet carries the one ``dscp`` with the ECN
    bits zero, and the segment size is not touched. [9329-6.7-liveness]
    [9329-6.8-dscp] [9329-9.4-mss] [9329-9.5-ecn]

    Parameters
    ----------
    sock : socket.socket
        A TCP socket; before ``connect`` or ``listen``, so that the first packet is
        marked too.
    dscp : int
        Differentiated Services Code Point, 6 bits.

    Raises
    ------
    ConfigurationError
        ``dscp`` is not in the range 0 to 63.

    Source: RFC 9329 §6.7, RFC 9329 §9.3, RFC 9329 §9.5
    """
    if not 0 <= dscp <= 63:
        raise ConfigurationError(f"DSCP {dscp} is outside the range 0 to 63")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    # An IPv6 socket may carry IPv4-mapped addresses, whose packets take IP_TOS.
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)


def path_mtu(sock: socket.socket) -> int:
    """Return the path MTU the stack knows for a connected socket, in octets.

    ``DEFAULT_PATH_MTU`` where it knows none, as on a socket that is not connected.

    Source: RFC 9329 §3
    """
    options = [(socket.IPPROTO_IP, _IP_MTU)]
    if sock.family == socket.AF_INET6:
        options.insert(0, (socket.IPPROTO_IPV6, _IPV6_MTU))
    for level, option in options:
        try:
            return sock.getsockopt(level, option)
        except OSError:
            continue
    return DEFAULT_PATH_MTU


def is_ecn_negotiated(sock: socket.socket) -> bool:
    """Tell whether the two stacks made this connection ECN-capable.

    Source: RFC 9329 §9.5
    """
    try:
        information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    except OSError:
        return False
    return bool(information[_TCP_INFO_OPTIONS] & _TCPI_OPT_ECN)
