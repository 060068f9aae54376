"""Requests to Linux's IPsec, in octets: headers, structures, attributes.

A request is a structure with attributes behind it. Numbers are in the machine's byte
order; what stands in packets (addresses, ports, SPIs) is in network order. The names
are those of ``linux/xfrm.h``.

==========================  ======  ================================================
structure                   octets  what it is
==========================  ======  ================================================
``nlmsghdr``                16      length, kind, flags, number, sender
``nlattr``                  4       length with this header, kind; then to 4 octets
``xfrm_selector``           56      which packets, by addresses, protocol and ports
``xfrm_id``                 24      destination, SPI and protocol of an SA
``xfrm_usersa_info``        224     an SA
``xfrm_usersa_id``          24      which SA
``xfrm_userpolicy_info``    168     a policy
``xfrm_userpolicy_id``      64      which policy
``xfrm_user_tmpl``          64      what SA a policy wants
``xfrm_encap_tmpl``         24      what ESP is carried in
``xfrm_replay_state_esn``   24      sequence numbers, and a bit map behind it
==========================  ======  ================================================

Choice: of our own, because the library that does the rest of netlink here, pyroute2,
knows xfrm interfaces but neither SAs nor policies.

Source: RFC 4301 §4.4.1, RFC 4301 §4.4.2
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from iketcp.errors import MalformedMessageError

IpAddress = IPv4Address | IPv6Address

MESSAGE_HEADER = Struct("=IHHII")
"""``nlmsghdr``: length, kind, flags, number, sender."""

ATTRIBUTE_HEADER = Struct("=HH")
"""``nlattr``: length with this header, kind."""

FLAG_REQUEST, FLAG_ACK, FLAG_EXCLUSIVE = 1, 4, 0x200
"""``NLM_F_REQUEST``, ``NLM_F_ACK``, ``NLM_F_EXCL``."""

MESSAGE_ERROR = 2
"""``NLMSG_ERROR``: the kernel's verdict; 0 says that all is well."""

ANY_ADDRESS = bytes(16)
"""``xfrm_address_t`` of all zeros: any."""

ESP = 50
"""``IPPROTO_ESP``. RFC 4303 §2."""

_FAMILIES = {4: 2, 6: 10}
"""``AF_INET`` and ``AF_INET6`` by IP version."""

_UNLIMITED = (1 << 64) - 1
NO_LIMITS = Struct("=8Q").pack(*[_UNLIMITED] * 4, 0, 0, 0, 0)
"""``xfrm_lifetime_cfg``: lifetimes are the IKE SA's business."""


class MessageKind(IntEnum):
    """``XFRM_MSG_*``."""

    NEW_SA = 0x10
    DELETE_SA = 0x11
    GET_SA = 0x12
    DELETE_POLICY = 0x14
    UPDATE_POLICY = 0x19
    """Makes a policy or replaces it."""
    UPDATE_SA = 0x1A


class AttributeKind(IntEnum):
    """``XFRMA_*``."""

    ALG_CRYPT = 2
    ENCAP = 4
    TMPL = 5
    ALG_AEAD = 18
    ALG_AUTH_TRUNC = 20
    TFCPAD = 22
    REPLAY_ESN_VAL = 23
    IF_ID = 31


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of the kernel. RFC 4301 §4.4."""

    kind: MessageKind
    body: bytes = field(repr=False)
    """Structure and attributes; there may be keys in it."""
    what: str
    """What it does, as in "cannot …"."""
    is_removal: bool = False
    """What is gone already need not be removed."""

    def encode(self, number: int) -> bytes:
        """Write the request with its header.

        Parameters
        ----------
        number : int
            Given back with the answer, 32 bits.

        Source: RFC 4301 §4.4
        """
        flags = FLAG_REQUEST
        if self.kind is not MessageKind.GET_SA:  # whose answer is the SA
            flags |= FLAG_ACK
        if self.kind is MessageKind.NEW_SA:
            flags |= FLAG_EXCLUSIVE
        size = MESSAGE_HEADER.size + len(self.body)
        return MESSAGE_HEADER.pack(size, self.kind, flags, number, 0) + self.body


def family_of(address: IpAddress) -> int:
    """Return the address family, ``AF_INET`` or ``AF_INET6``. RFC 4301 §4.4.1.1."""
    return _FAMILIES[address.version]


def address_octets(address: IpAddress) -> bytes:
    """Write an ``xfrm_address_t``, 16 octets; IPv4 has the first four."""
    return address.packed.ljust(16, b"\0")


def attribute(kind: AttributeKind, payload: bytes) -> bytes:
    """Write an attribute, padded to whole words."""
    size = ATTRIBUTE_HEADER.size + len(payload)
    return ATTRIBUTE_HEADER.pack(size, kind) + payload + bytes(-size % 4)


def attributes_of(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and payload of each attribute.

    Raises
    ------
    MalformedMessageError
        An attribute is shorter than its header, or cut off.
    """
    at = 0
    while at + ATTRIBUTE_HEADER.size <= len(octets):
        size, kind = ATTRIBUTE_HEADER.unpack_from(octets, at)
        if not ATTRIBUTE_HEADER.size <= size <= len(octets) - at:
            raise MalformedMessageError(f"netlink attribute of {size} octets")
        yield kind, octets[at + ATTRIBUTE_HEADER.size : at + size]
        at += size + -size % 4


def messages_of(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, number and body of each message that the kernel sent in one datagram.

    Raises
    ------
    MalformedMessageError
        A message is shorter than its header, or cut off.
    """
    at = 0
    while at < len(octets):
        if at + MESSAGE_HEADER.size > len(octets):
            raise MalformedMessageError("netlink message without a whole header")
        size, kind, _, number, _ = MESSAGE_HEADER.unpack_from(octets, at)
        if not MESSAGE_HEADER.size <= size <= len(octets) - at:
            raise MalformedMessageError(f"netlink message of {size} octets")
        yield kind, number, octets[at + MESSAGE_HEADER.size : at + size]
        at += size + -size % 4


_ERROR_CODE = Struct("=i")
_REASON = 1
"""``NLMSGERR_ATTR_MSG``: the kernel's words."""


def verdict_of(body: bytes) -> tuple[int, str]:
    """Read an ``NLMSG_ERROR`` that repeats nothing but the header of the request.

    Returns
    -------
    (int, str)
        The error number, 0 for none, and the kernel's own words if it has any.

    Raises
    ------
    MalformedMessageError
        It is cut off.
    """
    head = _ERROR_CODE.size + MESSAGE_HEADER.size
    if len(body) < head:
        raise MalformedMessageError(f"netlink error of {len(body)} octets")
    (code,) = _ERROR_CODE.unpack_from(body)
    for kind, payload in attributes_of(body[head:]):
        if kind == _REASON:
            return -code, payload.rstrip(b"\0").decode("utf-8", "replace")
    return -code, ""


_ALGORITHM_NAME = 64


def algorithm(name: str, bits: Sequence[int], key: bytes) -> bytes:
    """Write an ``xfrm_algo`` and its like: name, sizes in bits, key."""
    sizes = Struct(f"={len(bits)}I").pack(*bits)
    return name.encode("ascii").ljust(_ALGORITHM_NAME, b"\0") + sizes + key
