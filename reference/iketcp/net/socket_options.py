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

Over IPv6 all connections of a session carry one flow label. On Linux a label is leased
before it is used; without a label of ours the system makes one up for each connection.

Source: RFC 9329 §6.8, RFC 9329 §9.3, RFC 9329 §9.4, RFC 9329 §9.5
Source: RFC 9329 §6.1 for the flow label
"""

import socket
from ipaddress import IPv6Address
from struct import Struct

from iketcp.environment import Entropy, draw_below
from iketcp.errors import ConfigurationError

DEFAULT_PATH_MTU = 1500
"""Octets; assumed where the stack does not know better."""

UNSENT_OCTETS = 1 << 17
"""Choice: the stack takes more while it has less than this to send; a millisecond of a
gigabit a second."""

# Linux option numbers that the socket module does not name.
_IP_MTU = 14
_IPV6_MTU = 24
_IPV6_FLOWLABEL_MGR = 32
_IPV6_FLOWINFO_SEND = 33
# Linux's struct in6_flowlabel_req: destination, label, action, share, flags, expiry and
# linger in seconds, padding. Label in network order, the rest in the machine's.
_FLOW_LABEL_REQUEST = (Struct("!16sI"), Struct("=BBHHHI"))
_FLOW_LABEL_GET = 0
_FLOW_LABEL_SHARED_BY_USER = 3
_FLOW_LABEL_CREATE = 1
# Linux can be told to keep the upper half for labels that it makes up itself.
_FLOW_LABELS = 1 << 19
_LONGEST_USER_TIMEOUT = (1 << 31) - 1
# Octet 5 of Linux's struct tcp_info holds the negotiated options; this bit is ECN.
_TCP_INFO_OPTIONS = 5
_TCPI_OPT_ECN = 8


def apply_socket_options(sock: socket.socket, dscp: int = 0) -> None:
    """Set what holds for the whole life of an outer connection.

    Small frames leave at once (no Nagle delay). The stack takes no more than keeps it
    busy, so that the rest waits where its order can be chosen. TCP keepalives are off
    because they say nothing about the IKE peer, every packet carries the one ``dscp``
    with the ECN bits zero, and the segment size is not touched. [9329-6.7-liveness]
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
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_OCTETS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    # An IPv6 socket may carry IPv4-mapped addresses, whose packets take IP_TOS.
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)


def set_user_timeout(sock: socket.socket, seconds: float) -> None:
    """Have the stack break a connection off when the peer's is silent for so long.

    That is TCP's user timeout: for so long, octets stay without an acknowledgment, or
    find no room at the peer's. It says that a connection carries nothing, as when an
    address has changed, and nothing of the IKE peer: its SAs stay, and the TCP
    Originator connects again [9329-6.1-keep-state] [9329-6.1-reestablish]
    [9329-6.7-liveness].

    Parameters
    ----------
    seconds : float
        To the millisecond; 0 leaves it to the system, which waits for many minutes.

    Source: RFC 9329 §6.1, RFC 9329 §6.7
    """
    milliseconds = min(round(seconds * 1000), _LONGEST_USER_TIMEOUT)
    if seconds > 0:
        milliseconds = max(1, milliseconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def new_flow_label(entropy: Entropy) -> int:
    """Draw a flow label for a session: 20 bits, never zero. RFC 9329 §6.1."""
    return 1 + draw_below(entropy, "tcp.flow_label", _FLOW_LABELS - 1)


def use_flow_label(sock: socket.socket, label: int, remote: str) -> bool:
    """Lease a flow label for a TCP socket over IPv6 that is about to connect.

    The same label may be leased again while another socket of this user holds it, as
    when a new connection replaces one that still lingers. [9329-6.1-flowlabel]

    Parameters
    ----------
    sock : socket.socket
        An IPv6 socket that is not connected.
    label : int
        20 bits, not zero.
    remote : str
        The address to connect to; a zone is ignored.

    Returns
    -------
    bool
        Whether to connect with ``label`` in ``sin6_flowinfo``. Where the system has no
        leases, or refuses this one, the connection is made without: a label is no
        reason to have no tunnel.

    Source: RFC 9329 §6.1
    """
    head, tail = _FLOW_LABEL_REQUEST
    address = IPv6Address(remote.partition("%")[0])
    action = _FLOW_LABEL_GET, _FLOW_LABEL_SHARED_BY_USER, _FLOW_LABEL_CREATE
    request = head.pack(address.packed, label) + tail.pack(*action, 0, 0, 0)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWLABEL_MGR, request)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO_SEND, 1)
    except OSError:
        return False
    return True


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
