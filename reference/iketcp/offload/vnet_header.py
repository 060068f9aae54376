"""The virtio network header, which says how a packet is to be cut or completed.

It stands before each packet that goes through a TUN device with ``IFF_VNET_HDR``, ten
octets in the byte order of the machine. It is defined in "Virtual I/O Device (VIRTIO)
Version 1.2", section 5.1.6, where it is called ``virtio_net_hdr``.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from iketcp.errors import MalformedPacketError

VNET_HEADER = Struct("=BBHHHH")
VNET_HEADER_SIZE = VNET_HEADER.size

NEEDS_CHECKSUM = 1
"""Flag: the transport checksum holds the sum of the pseudo header only."""

_ECN = 0x80
"""Added to a GSO type: CWR belongs to the first segment alone."""


class Gso(IntEnum):
    """Kinds of large segments ("generic segmentation offload")."""

    NONE = 0
    TCP_IPV4 = 1
    TCP_IPV6 = 4


class VnetHeader(NamedTuple):
    """What stands before a packet."""

    flags: int = 0
    gso_type: int = 0
    """A :class:`Gso`, perhaps with the ECN bit."""
    header_size: int = 0
    """Octets of all headers; only a hint in what the machine gives."""
    gso_size: int = 0
    """Octets of payload in each segment but the last."""
    checksum_start: int = 0
    """Where the octets begin that the transport checksum covers."""
    checksum_offset: int = 0
    """Where in those octets the checksum field is."""

    @property
    def gso(self) -> int:
        """Kind of segment, without the ECN bit."""
        return self.gso_type & ~_ECN

    @property
    def needs_checksum(self) -> bool:
        """Whether the transport checksum is still to be computed."""
        return bool(self.flags & NEEDS_CHECKSUM)

    def write(self) -> bytes:
        """Serialize to ten octets."""
        return VNET_HEADER.pack(*self)


NO_OFFLOAD = VnetHeader().write()
"""Before a packet that is to be taken as it is."""


def read_vnet_header(octets: bytes) -> VnetHeader:
    """Parse the header before a packet.

    Raises
    ------
    MalformedPacketError
        There are less than ten octets.
    """
    if len(octets) < VNET_HEADER_SIZE:
        raise MalformedPacketError(f"{len(octets)} octets have no vnet header")
    return VnetHeader._make(VNET_HEADER.unpack_from(octets))


__all__ = [
    "NEEDS_CHECKSUM",
    "NO_OFFLOAD",
    "VNET_HEADER_SIZE",
    "Gso",
    "VnetHeader",
    "read_vnet_header",
]
