"""The IKE header: the 28 octets before every IKE message.

============  ======  ============================================================
field         octets  meaning
============  ======  ============================================================
SPIi          8       chosen by the original initiator, never zero
SPIr          8       chosen by the original responder, zero until it answers
Next Payload  1       type of the first payload; 0: none
Version       1       major (4 bits) 2, minor (4 bits) 0
Exchange      1       IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL, ...
Flags         1       R 0x20: response; V 0x10; I 0x08: from the original initiator
Message ID    4       pairs a response with its request
Length        4       header and payloads, in octets
============  ======  ============================================================

"Original initiator" is whoever began *this* IKE SA: a rekey may turn the roles round.

Source: RFC 7296 §3.1
"""

import struct
from dataclasses import dataclass

from iketcp.errors import InvalidMajorVersionError, MalformedMessageError

HEADER_SIZE = 28
"""Octets of the IKE header. Source: RFC 7296 §3.1."""

MAJOR_VERSION = 2
"""The only major version we speak. Source: RFC 7296 §2.5."""

_FORMAT = struct.Struct(">8s8sBBBBII")

_FLAG_RESPONSE = 0x20
_FLAG_INITIATOR = 0x08


@dataclass(frozen=True, slots=True)
class Header:
    """One IKE header.

    The Version flag and the reserved flags have no field: they are ignored when they
    come and zero when we send.

    Source: RFC 7296 §3.1
    """

    spi_i: bytes
    """IKE SA Initiator's SPI, 8 octets."""
    spi_r: bytes
    """IKE SA Responder's SPI, 8 octets; zero in the first request."""
    exchange_type: int
    """Exchange Type, 8 bits."""
    message_id: int
    """Message ID, 32 bits."""
    is_response: bool
    """The R flag."""
    is_original_initiator: bool
    """The I flag: the sender began this IKE SA."""
    next_payload: int = 0
    """Type of the first payload, 8 bits."""
    major_version: int = MAJOR_VERSION
    minor_version: int = 0
    """As received; nothing may depend on it."""
    length: int = 0
    """Octets of the whole message, 32 bits."""

    def with_chain(self, next_payload: int, length: int) -> "Header":
        """Return the same header before a chain of payloads.

        Parameters
        ----------
        next_payload : int
            Type of the first payload, 8 bits; 0 for none.
        length : int
            Octets of the whole message, this header included.
        """
        return Header(
            self.spi_i,
            self.spi_r,
            self.exchange_type,
            self.message_id,
            self.is_response,
            self.is_original_initiator,
            next_payload,
            self.major_version,
            self.minor_version,
            length,
        )

    def encode(self) -> bytes:
        """Encode the 28 octets.

        Source: RFC 7296 §3.1
        """
        flags = (_FLAG_RESPONSE if self.is_response else 0) | (
            _FLAG_INITIATOR if self.is_original_initiator else 0
        )
        return _FORMAT.pack(
            self.spi_i,
            self.spi_r,
            self.next_payload,
            self.major_version << 4 | self.minor_version,
            self.exchange_type,
            flags,
            self.message_id,
            self.length,
        )

    @classmethod
    def decode(cls, octets: bytes) -> "Header":
        """Decode the header of a whole message.

        The version is looked at first: another major version may have another layout.

        Parameters
        ----------
        octets : bytes
            The IKE message, without the non-ESP marker.

        Raises
        ------
        InvalidMajorVersionError
            The major version is above 2.
        MalformedMessageError
            The message is shorter than a header, the major version is below 2, SPIi is
            zero, or Length is not the number of octets given.

        Source: RFC 7296 §3.1, RFC 7296 §2.5
        """
        if len(octets) < HEADER_SIZE:
            raise MalformedMessageError(f"IKE header: {len(octets)} octets")
        fields = _FORMAT.unpack_from(octets)
        spi_i, spi_r, next_payload, version, exchange_type, flags = fields[:6]
        message_id, length = fields[6:]
        major, minor = version >> 4, version & 0x0F
        if major > MAJOR_VERSION:
            raise InvalidMajorVersionError(f"major version {major}")
        if major < MAJOR_VERSION:
            raise MalformedMessageError(f"major version {major}")
        if length != len(octets):  # [9329-3.1-agree]
            raise MalformedMessageError(
                f"Length {length} in a message of {len(octets)} octets"
            )
        if not any(spi_i):
            raise MalformedMessageError("the initiator's SPI is zero")
        return cls(
            spi_i=spi_i,
            spi_r=spi_r,
            exchange_type=exchange_type,
            message_id=message_id,
            is_response=bool(flags & _FLAG_RESPONSE),
            is_original_initiator=bool(flags & _FLAG_INITIATOR),
            next_payload=next_payload,
            major_version=major,
            minor_version=minor,
            length=length,
        )
