"""Ping, in as many lines as it takes: ICMP and ICMPv6 Echo over a raw socket.

The kernel makes the IP header, and for ICMPv6 the checksum too; a raw socket then sees
every ICMP message that arrives, so the answer to our own request has to be picked out.
"""

import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from ipaddress import ip_address

from iketcp.inner import checksum

_HEAD = struct.Struct("!BBHHH")
_PROTOCOLS = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),
}
"""By IP version: family, protocol, types of Echo Request and Echo Reply."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An Echo Reply."""

    sequence: int
    octets: int
    """Size of the ICMP message."""
    round_trip_seconds: float


def request(version: int, identifier: int, sequence: int, data: bytes) -> bytes:
    """Make an Echo Request, checksum included for ICMP (the kernel fills ICMPv6's)."""
    echo_type = _PROTOCOLS[version][2]
    check = 0
    if version == 4:
        check = checksum(_HEAD.pack(echo_type, 0, 0, identifier, sequence) + data)
    return _HEAD.pack(echo_type, 0, check, identifier, sequence) + data


def is_reply(
    version: int, message: bytes, identifier: int, sequence: int, data: bytes
) -> bool:
    """Tell whether an ICMP message is the reply to that request.

    Parameters
    ----------
    message : bytes
        From the ICMP header on.
    """
    if len(message) < _HEAD.size:
        return False
    kind, _, _, its_identifier, its_sequence = _HEAD.unpack_from(message)
    return (
        kind == _PROTOCOLS[version][3]
        and (its_identifier, its_sequence) == (identifier, sequence)
        and message[_HEAD.size :] == data
    )


def ping(target: str, sequence: int, timeout_seconds: float = 2.0) -> Answer | None:
    """Send one Echo Request and wait for its reply; None if none comes in time.

    Parameters
    ----------
    target : str
        An IPv4 or IPv6 address.
    sequence : int
        Sequence number, 16 bits.

    Raises
    ------
    OSError
        No privilege for raw sockets, or no route.
    """
    version = ip_address(target).version
    family, protocol, _, _ = _PROTOCOLS[version]
    identifier = os.getpid() & 0xFFFF
    data = os.urandom(56)
    message = request(version, identifier, sequence, data)
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.setblocking(False)
        started = time.monotonic()
        sock.sendto(message, (target, 0))
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        while (left := started + timeout_seconds - time.monotonic()) > 0:
            if not poller.poll(left * 1000):
                break
            arrived = sock.recv(65535)
            if version == 4:  # an IPv4 raw socket delivers the IP header too
                arrived = arrived[(arrived[0] & 15) * 4 :]
            if is_reply(version, arrived, identifier, sequence, data):
                return Answer(sequence, len(arrived), time.monotonic() - started)
    return None
