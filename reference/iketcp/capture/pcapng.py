"""Capture files in the pcapng format: one section, Ethernet interfaces, packets.

A file is a row of blocks, each ``type, total length, body, total length`` with the
body padded to whole 32-bit words, so that a reader can walk both ways and step over
what it does not know:

=========================  ==========  ===============================================
block                      type        body
=========================  ==========  ===============================================
Section Header             0x0a0d0d0a  byte order mark, version 1.0
Interface Description      0x00000001  link type, longest packet kept, name, clock unit
Enhanced Packet            0x00000006  interface, time, sizes, octets, direction
Interface Statistics       0x00000005  packets received and dropped
=========================  ==========  ===============================================

Choice: written here instead of taken from a library, because blocks are few, a
capture under load must cost little per packet, and the libraries at hand build an
object per field.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

ETHERNET = 1
"""Link type of Ethernet frames."""

RAW_IP = 101
"""Link type of packets that begin with their IPv4 or IPv6 header."""

INBOUND = 1
OUTBOUND = 2

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE_DESCRIPTION = 1
_INTERFACE_STATISTICS = 5
_ENHANCED_PACKET = 6
_BYTE_ORDER_MARK = 0x1A2B3C4D

_OPT_END = 0
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_TSRESOL = 9
_EPB_FLAGS = 2
_ISB_IFRECV = 4
_ISB_IFDROP = 5

_NANOSECONDS = 9  # if_tsresol: the exponent of 10, negated
_BLOCK = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
# type, total length, interface, time (high, low), captured and original length
_PACKET_HEAD = struct.Struct("<IIIIIII")
_FLAGS_OPTION = struct.Struct("<HHIHHI")  # epb_flags, the end, and total length
_PACKET_FIXED = _PACKET_HEAD.size + _FLAGS_OPTION.size


class PcapngError(ValueError):
    """A file that is not pcapng, is damaged, or uses what we do not read."""


class PcapngWriter:
    """Writes one section, block by block; the file can be read at any time.

    Parameters
    ----------
    stream : BinaryIO
        Where blocks go; the caller opens, buffers and closes it.
    application : str
        Name of the program, for whoever reads the file.
    """

    def __init__(self, stream: BinaryIO, application: str = "iketcp") -> None:
        self._write = stream.write
        self._interfaces = 0
        body = struct.pack("<IHHq", _BYTE_ORDER_MARK, 1, 0, -1)
        options = _option(_SHB_USERAPPL, application.encode()) + _end_of_options()
        self._write(_block(_SECTION_HEADER, body + options))

    def add_interface(
        self, name: str, snap_length: int = 262144, link_type: int = ETHERNET
    ) -> int:
        """Describe an interface, with time in nanoseconds; return its number.

        Parameters
        ----------
        name : str
            What the interface is called.
        snap_length : int
            Most octets kept of one packet.
        link_type : int
            What packets begin with.
        """
        body = struct.pack("<HHI", link_type, 0, snap_length)
        options = (
            _option(_IF_NAME, name.encode())
            + _option(_IF_TSRESOL, bytes([_NANOSECONDS]))
            + _end_of_options()
        )
        self._write(_block(_INTERFACE_DESCRIPTION, body + options))
        self._interfaces += 1
        return self._interfaces - 1

    def add_packet(
        self,
        interface: int,
        nanoseconds: int,
        octets: bytes | memoryview,
        original_length: int | None = None,
        direction: int = 0,
    ) -> None:
        """Write one packet.

        Parameters
        ----------
        interface : int
            Number that ``add_interface`` returned.
        nanoseconds : int
            Time since 1970, UTC.
        octets : bytes or memoryview
            The packet, from the link layer on, as far as it was kept.
        original_length : int or None
            Octets it had on the wire; None: all of them were kept.
        direction : int
            ``INBOUND``, ``OUTBOUND``, or 0 where it is not known.
        """
        size = len(octets)
        padding = -size % 4
        total = _PACKET_FIXED + size + padding
        self._write(
            _PACKET_HEAD.pack(
                _ENHANCED_PACKET,
                total,
                interface,
                nanoseconds >> 32,
                nanoseconds & 0xFFFFFFFF,
                size,
                size if original_length is None else original_length,
            )
        )
        self._write(octets)
        self._write(
            bytes(padding)
            + _FLAGS_OPTION.pack(_EPB_FLAGS, 4, direction, _OPT_END, 0, total)
        )

    def add_statistics(
        self, interface: int, nanoseconds: int, received: int, dropped: int
    ) -> None:
        """Write how many packets there were, and how many of them are missing here."""
        body = struct.pack(
            "<III", interface, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF
        )
        options = (
            _option(_ISB_IFRECV, struct.pack("<Q", received))
            + _option(_ISB_IFDROP, struct.pack("<Q", dropped))
            + _end_of_options()
        )
        self._write(_block(_INTERFACE_STATISTICS, body + options))


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured packet."""

    nanoseconds: int
    """Time since 1970, UTC."""
    octets: bytes
    """From the link layer on."""
    link_type: int = ETHERNET


def read_packets(stream: BinaryIO) -> Iterator[Packet]:
    """Read the packets of a file that :class:`PcapngWriter` wrote.

    Other writers' files are read too if they are little-endian and count time in
    nanoseconds or, where they do not say, in microseconds.

    Raises
    ------
    PcapngError
        The file is not pcapng, ends inside a block, or counts time otherwise.
    """
    interfaces: list[tuple[int, int]] = []
    for kind, body in _blocks(stream):
        if kind == _SECTION_HEADER:
            if body[:4] != _BYTE_ORDER_MARK.to_bytes(4, "little"):
                raise PcapngError("a big-endian pcapng file is not read here")
            interfaces.clear()
        elif kind == _INTERFACE_DESCRIPTION:
            (link_type,) = struct.unpack_from("<H", body)
            interfaces.append((link_type, _nanoseconds_per_tick(body[8:])))
        elif kind == _ENHANCED_PACKET:
            number, high, low, size = struct.unpack_from("<IIII", body)
            if number >= len(interfaces) or 20 + size > len(body):
                raise PcapngError("a packet block makes no sense")
            link_type, tick = interfaces[number]
            time = ((high << 32) | low) * tick
            yield Packet(time, body[20 : 20 + size], link_type)


def _blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    is_first = True
    while head := stream.read(_BLOCK.size):
        if len(head) < _BLOCK.size:
            raise PcapngError("the file ends inside a block")
        kind, total = _BLOCK.unpack(head)
        if is_first and kind != _SECTION_HEADER:
            raise PcapngError("not a pcapng file")
        is_first = False
        size = total - _BLOCK.size
        if size < 4 or total % 4 or total > 1 << 24:
            raise PcapngError(f"a block of {total} octets")
        body = stream.read(size)
        if len(body) < size:
            raise PcapngError("the file ends inside a block")
        yield kind, body[:-4]


def _nanoseconds_per_tick(options: bytes) -> int:
    at = 0
    while at + _OPTION.size <= len(options):
        code, size = _OPTION.unpack_from(options, at)
        at += _OPTION.size
        if code == _IF_TSRESOL and options[at : at + size] == bytes([_NANOSECONDS]):
            return 1
        if code == _IF_TSRESOL and options[at : at + size] != b"\x06":
            raise PcapngError("time is neither in nanoseconds nor in microseconds")
        at += size + -size % 4
    return 1000


def _block(kind: int, body: bytes) -> bytes:
    total = _BLOCK.size + len(body) + _LENGTH.size
    return _BLOCK.pack(kind, total) + body + _LENGTH.pack(total)


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)


def _end_of_options() -> bytes:
    return _OPTION.pack(_OPT_END, 0)
