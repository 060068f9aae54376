"""Whom a balancer before us speaks for: version 2 of HAProxy's PROXY protocol.

A balancer, or another relay of TCP, hides who connects. Before the octets of its client
it can send a header with the ends that the client sees; from then on the connection is
the client's, octet by octet. Whoever sends one is believed, so it may only be expected
from addresses that nobody else has.

::

    12 octets   signature
     1 octet    version 2 (4 bits), command (4 bits): LOCAL 0, PROXY 1
     1 octet    family and protocol: 0x11 TCP over IPv4, 0x21 TCP over IPv6
     2 octets   octets that follow
                source address, destination address, source port, destination port
                further fields, which are passed over

Source: RFC 9329 §8 (middleboxes), and the specification in HAProxy's documentation
"""

import struct
import time
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from iketcp.net.tcp_connection import ConnectionBroken, SocketAddress, TcpConnection

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_HEADER = 2048
"""Choice: octets of the longest header that is read; it should fit in one segment."""

_HEAD = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}


class BadHeader(ConnectionBroken):
    """What comes first is no header, or none that makes sense."""


class Ends(NamedTuple):
    """The ends of the connection that the client sees."""

    source: SocketAddress
    """The client's."""
    destination: SocketAddress
    """Where it connected to: the balancer's."""


class Header(NamedTuple):
    """A header that has been read."""

    ends: Ends | None
    """``None``: the balancer speaks for itself, or says not for whom."""
    size: int
    """Octets."""


def decode(octets: bytes) -> Header | None:
    """Read the header at the beginning of octets; ``None`` while there are too few.

    Raises
    ------
    BadHeader
        It is none, or is too long, or has a command or addresses that do not exist.
    """
    if not SIGNATURE.startswith(octets[: len(SIGNATURE)]):
        raise BadHeader("no PROXY header of version 2 comes first")
    if len(octets) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(octets)
    size = _HEAD.size + length
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"a PROXY header has version and command {command:#04x}")
    if size > MAX_HEADER:
        raise BadHeader(f"a PROXY header has {size} octets")
    if len(octets) < size:
        return None
    if command == _LOCAL:
        return Header(None, size)
    return Header(_ends(family, octets[_HEAD.size : size]), size)


def _ends(family: int, octets: bytes) -> Ends | None:
    """Read the addresses of TCP; others are as good as none.

    Raises
    ------
    BadHeader
        There is no room for them.
    """
    form = _ADDRESSES.get(family)
    if form is None:
        return None
    if len(octets) < form.size:
        raise BadHeader("the addresses in a PROXY header are cut off")
    source, destination, source_port, destination_port = form.unpack_from(octets)
    kind = IPv4Address if family == _TCP4 else IPv6Address
    return Ends(
        SocketAddress(kind(source), source_port),
        SocketAddress(kind(destination), destination_port),
    )


def take_header(carrier: TcpConnection, timeout_seconds: float) -> bool:
    """Read the header of a connection, and let it be between the client's ends.

    What follows the header stays to be read; owner thread only.

    Returns
    -------
    bool
        False if the connection was told to stop meanwhile.

    Raises
    ------
    BadHeader
        There is none that makes sense.
    ConnectionBroken
        The connection is lost, or the header does not come in time.
    """
    deadline = time.monotonic() + timeout_seconds
    octets = b""
    while (header := decode(octets)) is None:
        received = carrier.wait_and_receive(MAX_HEADER, deadline)
        if received is None:
            return False
        if not received:
            raise BadHeader("the connection ends before its PROXY header")
        octets += received
    carrier.give_back(octets[header.size :])
    if header.ends is not None:
        carrier.remote_address, carrier.local_address = header.ends
    return True
