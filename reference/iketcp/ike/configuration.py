"""The inside of a Configuration payload: attributes with addresses and the like.

The initiator asks with empty attributes (or with a wish), the responder answers with
filled ones. An attribute is a type, a length and a value:

====================================  ======  =================================
attribute                             octets  value
====================================  ======  =================================
INTERNAL_IP4_ADDRESS, _NETMASK,       0 or 4  an IPv4 address (or mask)
_DNS, _NBNS, _DHCP
INTERNAL_IP4_SUBNET                   0 or 8  IPv4 address, mask
INTERNAL_IP6_ADDRESS, _SUBNET         0, 17   IPv6 address, prefix length
INTERNAL_IP6_DNS, _DHCP               0, 16   an IPv6 address
APPLICATION_VERSION                   any     printable text
SUPPORTED_ATTRIBUTES                  even    attribute types, 2 octets each
====================================  ======  =================================

Source: RFC 7296 §3.15
Source: RFC 7296 §3.15.1
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from iketcp.errors import MalformedMessageError
from iketcp.octets import Reader
from iketcp.registry import ConfigurationAttributeType, name_of

_HEAD = struct.Struct(">HH")
_TYPE_MASK = 0x7FFF
"""The bit before the Attribute Type is reserved. Source: RFC 7296 §3.15.1."""

_SIZES: Mapping[int, tuple[int, int]] = {
    ConfigurationAttributeType.INTERNAL_IP4_ADDRESS: (0, 4),
    ConfigurationAttributeType.INTERNAL_IP4_NETMASK: (0, 4),
    ConfigurationAttributeType.INTERNAL_IP4_DNS: (0, 4),
    ConfigurationAttributeType.INTERNAL_IP4_NBNS: (0, 4),
    ConfigurationAttributeType.INTERNAL_IP4_DHCP: (0, 4),
    ConfigurationAttributeType.INTERNAL_IP6_ADDRESS: (0, 17),
    ConfigurationAttributeType.INTERNAL_IP6_DNS: (0, 16),
    ConfigurationAttributeType.INTERNAL_IP6_DHCP: (0, 16),
    ConfigurationAttributeType.INTERNAL_IP4_SUBNET: (0, 8),
    ConfigurationAttributeType.INTERNAL_IP6_SUBNET: (0, 17),
}
"""Sizes in octets that a value may have.

Choice: an empty INTERNAL_IP6_SUBNET is let pass, although only its IPv4 twin is listed
with one.

Source: RFC 7296 §3.15.1
"""


@dataclass(frozen=True, slots=True)
class ConfigurationAttribute:
    """One Configuration Attribute.

    Source: RFC 7296 §3.15.1
    """

    type: int
    """Attribute Type, 15 bits."""
    value: bytes
    """Up to 65,535 octets; empty asks for a value."""

    def __str__(self) -> str:
        """Return name and value; addresses are written out."""
        name = name_of(ConfigurationAttributeType, self.type)
        if not self.value:
            return name
        if self.type not in _SIZES:
            return f"{name} ({len(self.value)} octets)"
        return f"{name} {_address_text(self.value)}"

    def encode(self) -> bytes:
        """Encode the attribute.

        Source: RFC 7296 §3.15.1
        """
        return _HEAD.pack(self.type, len(self.value)) + self.value


def decode_attributes(reader: Reader) -> tuple[ConfigurationAttribute, ...]:
    """Decode Configuration Attributes up to the end.

    Raises
    ------
    MalformedMessageError
        An attribute is cut off, a known one has not one of its sizes, or an IPv6
        prefix length is above 128.

    Source: RFC 7296 §3.15.1
    """
    attributes = []
    while reader.remaining:
        head, size = _HEAD.unpack(reader.pull(_HEAD.size, "Configuration Attribute"))
        value = reader.pull(size, "Configuration Attribute")
        kind = head & _TYPE_MASK
        _check_value(kind, value)
        attributes.append(ConfigurationAttribute(kind, value))
    return tuple(attributes)


def _check_value(kind: int, value: bytes) -> None:
    size = len(value)
    is_good = size in _SIZES.get(kind, (size,))
    if kind == ConfigurationAttributeType.SUPPORTED_ATTRIBUTES:
        is_good = size % 2 == 0
    elif is_good and kind in _SIZES and size == 17:
        is_good = value[16] <= 128
    if not is_good:
        name = name_of(ConfigurationAttributeType, kind)
        raise MalformedMessageError(f"{name} of {size} octets: {value[:17].hex()}")


def _address_text(value: bytes) -> str:
    if len(value) == 8:
        return f"{IPv4Address(value[:4])}/{IPv4Address(value[4:])}"
    if len(value) == 17:
        return f"{IPv6Address(value[:16])}/{value[16]}"
    if len(value) == 4:
        return str(IPv4Address(value))
    return str(IPv6Address(value)) if len(value) == 16 else value.hex()
