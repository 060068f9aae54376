"""Whom a balancer before us speaks for: HAProxy's PROXY protocol, both versions.

A balancer, or another relay of TCP, hides who connects. Before the octets of its client
it can send a header with the ends that the client sees; from then on the connection is
the client's, octet by octet. Whoever sends one is believed, so it may only be expected
from addresses that nobody else has.

Version 1, which is all that nginx sends, is a line of text, without leading zeros::

    PROXY TCP4 source-address destination-address source-port destination-port CR LF
    PROXY TCP6 the same
    PROXY UNKNOWN anything, or nothing

Version 2::

    12 octets   signature
     1 octet    version 2 (4 bits), command (4 bits): LOCAL 0, PROXY 1
     1 octet    family and protocol: 0x11 TCP over IPv4, 0x21 TCP over IPv6
     2 octets   octets that follow
                source address, destination address, source port, destination port
                further fields, which are passed over

Source: RFC 9329 §8 (middleboxes), and the specification in HAProxy's documentation
"""

import re
import struct
import time
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from iketcp.net.tcp_connection import (
    ConnectionBroken,
    SocketAddress,
    TcpConnection,
    socket_address,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_HEADER = 2048
"""Choice: octets of the longest header that is read; it should fit in one segment."""
MAX_PORT = 0xFFFF
MAX_LINE = 107
"""Octets of the longest line of version 1, with its end."""

_LINE_START = b"PROXY "
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9]\d*) (0|[1-9]\d*)"
)
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)

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
    if _LINE_START.startswith(octets[: len(_LINE_START)]):
        return _decode_line(octets)
    if not SIGNATURE.startswith(octets[: len(SIGNATURE)]):
        raise BadHeader("no PROXY header comes first")
    return _decode_binary(octets)


def _decode_line(octets: bytes) -> Header | None:
    """Read version 1; ``None`` while there is no whole line.

    Raises
    ------
    BadHeader
        The line is too long, or its addresses or ports do not exist.
    """
    end = octets.find(b"\r\n", 0, MAX_LINE)
    if end >= 0:
        return Header(_ends_in_line(octets[:end]), end + 2)
    if len(octets) >= MAX_LINE:
        raise BadHeader("the line of a PROXY header has no end")
    return None


def _ends_in_line(line: bytes) -> Ends | None:
    """Read the ends that a line names; ``None`` if it names none.

    Raises
    ------
    BadHeader
        They do not exist.
    """
    if _UNKNOWN.fullmatch(line):
        return None
    if (found := _LINE.fullmatch(line)) is None:
        raise BadHeader("the line of a PROXY header has another form")
    kind = IPv4Address if found[1] == b"4" else IPv6Address
    ports = int(found[4]), int(found[5])
    if max(ports) > MAX_PORT:
        raise BadHeader("a port in a PROXY header is too large")
    try:
        source, destination = kind(found[2].decode()), kind(found[3].decode())
    except ValueError as error:
        raise BadHeader("an address in a PROXY header does not exist") from error
    return _ends((source, ports[0]), (destination, ports[1]))


def _decode_binary(octets: bytes) -> Header | None:
    """Read version 2; ``None`` while there are too few octets.

    Raises
    ------
    BadHeader
        It is too long, or has a command or addresses that do not exist.
    """
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
    return Header(_ends_in_octets(family, octets[_HEAD.size : size]), size)


def _ends_in_octets(family: int, octets: bytes) -> Ends | None:
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
    return _ends((kind(source), source_port), (kind(destination), destination_port))


def _ends(source: tuple[object, int], destination: tuple[object, int]) -> Ends:
    """Take addresses and ports; who listens on both IP versions has IPv4 mapped."""
    return Ends(socket_address(source), socket_address(destination))


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
