"""EAP packets: Code, Identifier, Length, and in Requests and Responses a Type.

=========  ====  ==============================
packet     Code  what follows Length
=========  ====  ==============================
Request    1     Type, 8 bits, and Type-Data
Response   2     Type, 8 bits, and Type-Data
Success    3     nothing
Failure    4     nothing
=========  ====  ==============================

Source: RFC 3748 §4.1
Source: RFC 3748 §4.2
Source: RFC 3748 §5
Source: RFC 7296 §3.16
"""

from dataclasses import dataclass, field
from enum import IntEnum

from iketcp.errors import MalformedMessageError
from iketcp.octets import Reader, Writer

HEADER_SIZE = 4
"""Octets of Code, Identifier and Length. Source: RFC 3748 §4."""

NO_ALTERNATIVE = 0
"""In a Nak: there is no method that the peer would take. Source: RFC 3748 §5.3.1."""


class EapCode(IntEnum):
    """Code. Source: RFC 3748 §4."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class EapType(IntEnum):
    """Type of a Request or Response, as far as we know any. Source: RFC 3748 §5."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    TLS = 13
    MSCHAPV2 = 26
    EXPANDED = 254


FIRST_METHOD_TYPE = 4
"""Types below are not methods. Source: RFC 3748 §5."""


@dataclass(frozen=True, slots=True)
class EapPacket:
    """One EAP packet. Source: RFC 3748 §4."""

    code: int
    """8 bits."""
    identifier: int
    """8 bits; a Response, Success or Failure has that of the Request or Response
    before it."""
    type: int = 0
    """8 bits; in Success and Failure there is none, and it is 0 here."""
    data: bytes = field(default=b"", repr=False)
    """Type-Data."""

    def encode(self) -> bytes:
        """Write the packet, Length included."""
        writer = Writer()
        writer.push_u8(self.code)
        writer.push_u8(self.identifier)
        if self.code in (EapCode.SUCCESS, EapCode.FAILURE):
            writer.push_u16(HEADER_SIZE)
            return writer.octets()
        writer.push_u16(HEADER_SIZE + 1 + len(self.data))
        writer.push_u8(self.type)
        writer.push(self.data)
        return writer.octets()


def decode_packet(octets: bytes) -> EapPacket:
    """Read a packet.

    Raises
    ------
    MalformedMessageError
        Length is not the size (a link layer might pad, an EAP payload of IKE does not);
        the Code is unknown; a Request or Response has no Type; a Success or Failure has
        data.

    Source: RFC 3748 §4.1, RFC 3748 §4.2, RFC 7296 §3.16
    """
    reader = Reader(octets)
    code = reader.pull_u8("EAP Code")
    identifier = reader.pull_u8("EAP Identifier")
    length = reader.pull_u16("EAP Length")
    if length != len(octets):
        raise MalformedMessageError(f"EAP Length {length} of {len(octets)} octets")
    if code in (EapCode.SUCCESS, EapCode.FAILURE):
        reader.expect_end("EAP Success or Failure")
        return EapPacket(code, identifier)
    if code not in (EapCode.REQUEST, EapCode.RESPONSE):
        raise MalformedMessageError(f"EAP Code {code} is unknown")
    kind = reader.pull_u8("EAP Type")
    return EapPacket(code, identifier, kind, reader.pull_rest())
