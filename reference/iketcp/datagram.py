"""Datagrams: what stands in one UDP datagram of IKE or ESP, on each of the two ports.

Port 500 carries IKE alone, and the IKE header comes first. On port 4500 IKE and ESP
share one NAT mapping, and a datagram's first four octets tell them apart just as they
do in a stream: all zero (the non-ESP marker) before IKE, else the SPI of an ESP packet.
A lone octet FF there keeps a NAT mapping alive and says nothing.

======  =======================================  =====================================
port    datagram                                 what it is
======  =======================================  =====================================
500     IKE header, payloads                     an IKE message
4500    four zero octets, IKE header, payloads   an IKE message
4500    SPI (not zero), ...                      an ESP packet
4500    ``ff``                                   a NAT keepalive
======  =======================================  =====================================

There is no Length: UDP keeps datagrams apart.

Source: RFC 3948 §2
Source: RFC 7296 §2.23
"""

from iketcp.errors import MessageTooLongError
from iketcp.stream import (
    MIN_IKE_MESSAGE,
    NON_ESP_MARKER,
    MessageKind,
    StreamMessage,
    sort_message,
)

IKE_PORT = 500
"""The port of IKE alone. Source: RFC 7296 §2."""

ENCAPSULATION_PORT = 4500
"""The port of IKE and ESP together. Source: RFC 7296 §2.23."""

MAX_DATAGRAM = 65507
"""Octets of the longest datagram that an IPv4 packet holds; IPv6 would take 20 more.
Source: RFC 7296 §2."""


def sort_datagram(datagram: bytes, is_encapsulated: bool) -> StreamMessage:
    """Tell what a datagram is.

    Parameters
    ----------
    datagram : bytes
        What stands behind the UDP header.
    is_encapsulated : bool
        It came to our port of IKE and ESP together.

    Returns
    -------
    (MessageKind, bytes)
        An IKE message comes without the non-ESP marker, all else as it is.

    Source: RFC 3948 §2.2, RFC 3948 §2.3, RFC 7296 §2.23
    """
    if is_encapsulated:
        return sort_message(datagram)
    if not datagram:
        return MessageKind.EMPTY, datagram
    if len(datagram) < MIN_IKE_MESSAGE:
        return MessageKind.UNPARSEABLE, datagram
    return MessageKind.IKE, datagram


def ike_datagram(message: bytes, is_encapsulated: bool) -> bytes:
    """Make the datagram of an IKE message.

    Parameters
    ----------
    message : bytes
        From the IKE header on.
    is_encapsulated : bool
        It goes to the peer's port of IKE and ESP together.

    Raises
    ------
    MessageTooLongError
        The datagram would exceed 65,507 octets.

    Source: RFC 3948 §2.2, RFC 7296 §2.23
    """
    datagram = NON_ESP_MARKER + message if is_encapsulated else message
    if len(datagram) > MAX_DATAGRAM:
        raise MessageTooLongError(
            f"datagram of {len(datagram)} octets exceeds {MAX_DATAGRAM}"
        )
    return datagram
