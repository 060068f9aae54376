"""SAs in Linux's words: made, moved, asked after, removed.

A Child SA is two SAs, one for each direction, both found by the address that packets
go to, the SPI and the protocol. ESP goes inside a TCP connection of which the SA has
the ports: the kernel puts what it has sealed behind a Length into the connection that
leads there, and opens what it finds in any connection with ``espintcp`` on it, whatever
its ports.

Choice: ECN of inner packets is left alone (``XFRM_STATE_NOECN``), for no outer packet
corresponds to one of them.

Source: RFC 4301 §4.4.2.1, RFC 9329 §3.2, RFC 9329 §9.5
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple, Self

from iketcp.child_sa import ChildSaParameters
from iketcp.errors import MalformedMessageError
from iketcp.ike.nat_detection import Path
from iketcp.xfrm.algorithms import algorithm_attributes
from iketcp.xfrm.layout import (
    ESP,
    NO_LIMITS,
    AttributeKind,
    IpAddress,
    MessageKind,
    Request,
    address_octets,
    attribute,
    attributes_of,
    family_of,
)

ID = Struct("=16s4sB3x")
"""``xfrm_id``: destination, SPI, protocol."""

ANY_SELECTOR = bytes(56)
"""``xfrm_selector`` of any packet: which ones an SA is for, its policies say."""

TUNNEL_MODE = 1
"""``XFRM_MODE_TUNNEL``."""

ESP_IN_TCP = 7
"""``TCP_ENCAP_ESPINTCP``."""

LARGEST_WINDOW = 4096
"""Packets of the widest anti-replay window that Linux has."""

_USER_SA_ID = Struct("=16s4sHBx")
_SA_TAIL = Struct("=IIHBBB7x")
"""End of ``xfrm_usersa_info``: ``seq``, ``reqid``, ``family``, ``mode``,
``replay_window``, ``flags``."""
_COUNTED = Struct("=QQ")
_COUNTED_AT, _SA_SIZE = 160, 224
"""Where the octets and packets that went through stand in ``xfrm_usersa_info``."""
_NOTHING_COUNTED = bytes(32 + 12)
_NO_ECN, _ANY_INNER_FAMILY, _ESN = 1, 32, 128
"""``XFRM_STATE_NOECN``, ``XFRM_STATE_AF_UNSPEC``, ``XFRM_STATE_ESN``."""
_ENCAPSULATION = Struct("=H2s2s18x")
_REPLAY = Struct("=6I")
"""``xfrm_replay_state_esn``: words of the bit map, then low and high halves of the
last number sent and of the highest received, and the width of the window."""
_WORD_BITS = 32
_NUMBER = Struct("=I")


class Count(NamedTuple):
    """What went through an SA. RFC 4301 §4.4.2.1."""

    octets: int
    packets: int


@dataclass(frozen=True, slots=True)
class SaStatus:
    """What the kernel tells of an SA."""

    count: Count
    replay: bytes = field(repr=False)
    """``xfrm_replay_state_esn`` as it stands; empty without one."""

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read an ``xfrm_usersa_info`` with its attributes.

        Raises
        ------
        MalformedMessageError
            It is cut off.

        Source: RFC 4301 §4.4.2.1
        """
        if len(body) < _SA_SIZE:
            raise MalformedMessageError(f"xfrm_usersa_info of {len(body)} octets")
        attributes = dict(attributes_of(body[_SA_SIZE:]))
        count = Count(*_COUNTED.unpack_from(body, _COUNTED_AT))
        return cls(count, attributes.get(AttributeKind.REPLAY_ESN_VAL, b""))


@dataclass(frozen=True, slots=True)
class Sa:
    """One SA: one direction of a Child SA, and the TCP connection it goes over.

    Source: RFC 4301 §4.4.2.1
    """

    parameters: ChildSaParameters
    path: Path
    is_inbound: bool
    reqid: int
    """What policies ask for, 32 bits."""
    if_id: int
    """Of the xfrm interface whose packets these are, 32 bits."""

    @property
    def spi(self) -> bytes:
        """The SPI, 4 octets."""
        parameters = self.parameters
        return parameters.spi_in if self.is_inbound else parameters.spi_out

    @property
    def ends(self) -> tuple[IpAddress, IpAddress]:
        """Outer source and destination."""
        local, remote = self.path.local_address, self.path.remote_address
        return (remote, local) if self.is_inbound else (local, remote)

    @property
    def what(self) -> str:
        """Name it in a sentence."""
        way = "inbound" if self.is_inbound else "outbound"
        return f"{way} SA 0x{self.spi.hex()} of Child SA {self.parameters.name}"

    def new(self, replay: bytes = b"") -> Request:
        """Make it.

        Parameters
        ----------
        replay : bytes
            Where an SA with the same keys stopped, see :class:`SaStatus`; no number is
            used twice.

        Source: RFC 4301 §4.4.2.1, RFC 4303 §3.3.3
        """
        return Request(
            MessageKind.NEW_SA, self._write(replay), f"install the {self.what}"
        )

    def update(self) -> Request:
        """Lead it to another connection between the same addresses. RFC 9329 §6.1."""
        return Request(MessageKind.UPDATE_SA, self._write(), f"move the {self.what}")

    def get(self) -> Request:
        """Ask what has gone through it. RFC 4301 §4.4.2.1."""
        return Request(MessageKind.GET_SA, self._name(), f"look at the {self.what}")

    def delete(self) -> Request:
        """Remove it. RFC 4301 §4.4.2."""
        what = f"remove the {self.what}"
        return Request(MessageKind.DELETE_SA, self._name(), what, is_removal=True)

    def _name(self) -> bytes:
        destination = self.ends[1]
        return _USER_SA_ID.pack(
            address_octets(destination),
            self.spi,
            family_of(destination),
            ESP,
        )

    def _write(self, replay: bytes = b"") -> bytes:
        source, destination = self.ends
        flags = _NO_ECN | _ANY_INNER_FAMILY
        if self.parameters.suite.esn:
            flags |= _ESN
        return b"".join(
            (
                ANY_SELECTOR,
                ID.pack(address_octets(destination), self.spi, ESP),
                address_octets(source),
                NO_LIMITS,
                _NOTHING_COUNTED,
                # the width of the window stands with the sequence numbers
                _SA_TAIL.pack(0, self.reqid, family_of(source), TUNNEL_MODE, 0, flags),
                self._attributes(replay),
            )
        )

    def _attributes(self, replay: bytes) -> bytes:
        path, parameters = self.path, self.parameters
        ports = [path.local_port, path.remote_port]
        if self.is_inbound:
            ports.reverse()
            key = parameters.encryption_key_in
            integrity_key = parameters.integrity_key_in
        else:
            key = parameters.encryption_key_out
            integrity_key = parameters.integrity_key_out
        written = [
            algorithm_attributes(parameters.suite, key, integrity_key),
            attribute(
                AttributeKind.ENCAP,
                _ENCAPSULATION.pack(ESP_IN_TCP, *(p.to_bytes(2, "big") for p in ports)),
            ),
            attribute(AttributeKind.IF_ID, _NUMBER.pack(self.if_id)),
        ]
        # What goes out is numbered in any case. The width means nothing there.
        window = parameters.replay_window or (0 if self.is_inbound else 1)
        if numbers := replay or _first_numbers(window):
            written.append(attribute(AttributeKind.REPLAY_ESN_VAL, numbers))
        if parameters.tfc_pad_to and not self.is_inbound:
            padding = _NUMBER.pack(parameters.tfc_pad_to)
            written.append(attribute(AttributeKind.TFCPAD, padding))
        return b"".join(written)


def _first_numbers(window: int) -> bytes:
    """Write the numbers of an SA that nothing has gone through; none without window."""
    if not window:
        return b""
    width = min(window, LARGEST_WINDOW)
    words = -(-width // _WORD_BITS)
    return _REPLAY.pack(words, 0, 0, 0, 0, width) + bytes(words * 4)
