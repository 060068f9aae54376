"""The messages of an IKETCP stream, as if they had been sent over UDP.

Wireshark decrypts IKE and ESP in UDP on port 4500, but does not find them in a TCP
stream behind the prefix ``IKETCP``. The two encapsulations hold the same messages, the
non-ESP marker included, so a capture of one can be written as a capture of the other:
follow the TCP connection, take the messages out of the stream, put a UDP header before
each. What is lost is TCP itself, its retransmissions and its teardown.

Source: RFC 9329 §3, RFC 3948 §2.1, RFC 3948 §2.2
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iketcp.capture.pcapng import RAW_IP, Packet, PcapngWriter, read_packets
from iketcp.capture.segments import Address, Direction, Reassembler
from iketcp.inner import checksum
from iketcp.stream import NON_ESP_MARKER, MessageKind, StreamDecoder

UDP_PORT = 4500
"""Port of UDP encapsulation. Source: RFC 3948 §2.1."""

_UDP = 17
_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """One IKE message or ESP packet that was sent on a stream."""

    nanoseconds: int
    """When its last octet was captured."""
    direction: Direction
    kind: MessageKind
    octets: bytes
    """Without Length and without non-ESP marker."""


def messages(packets: Iterable[Packet], port: int = 4500) -> Iterator[CapturedMessage]:
    """Find the IKE and ESP messages in captured TCP connections.

    Parameters
    ----------
    packets : Iterable of Packet
        In the order in which they were captured.
    port : int
        TCP port that the TCP Responder listens on.

    Source: RFC 9329 §3, RFC 9329 §4
    """
    reassembler = Reassembler()
    decoders: dict[Direction, StreamDecoder] = {}
    for packet in packets:
        for part in reassembler.feed(packet):
            way = part.direction
            if port not in (way.source_port, way.destination_port):
                continue
            if part.is_start:
                decoders[way] = StreamDecoder(part.is_from_originator)
            for kind, octets in decoders[way].feed(part.octets):
                if kind in (MessageKind.IKE, MessageKind.ESP):
                    yield CapturedMessage(packet.nanoseconds, way, kind, octets)


def udp_packet(message: CapturedMessage) -> bytes:
    """Put UDP and IP headers before a message; the marker goes before IKE.

    Raises
    ------
    ValueError
        The message is too long for one IP packet.

    Source: RFC 3948 §2.1, RFC 3948 §2.2
    """
    marker = NON_ESP_MARKER if message.kind is MessageKind.IKE else b""
    size = 8 + len(marker) + len(message.octets)
    if size + 20 > 0xFFFF:
        raise ValueError(f"{len(message.octets)} octets do not fit one UDP packet")
    way = message.direction
    head = struct.pack("!HHHH", UDP_PORT, UDP_PORT, size, 0)
    datagram = head + marker + message.octets
    if way.source.version == 4:
        return _ipv4_header(way.source, way.destination, size) + datagram
    # IPv6 has no checksum of its own, so UDP's may not be left out.
    pseudo = way.source.packed + way.destination.packed + struct.pack("!II", size, _UDP)
    check = checksum(pseudo + datagram) or 0xFFFF
    head = struct.pack("!HHHH", UDP_PORT, UDP_PORT, size, check)
    first = struct.pack("!IHBB", 6 << 28, size, _UDP, _HOP_LIMIT)
    return first + way.source.packed + way.destination.packed + head + datagram[8:]


def rewrap(
    captured: Path, rewrapped: Path, port: int = 4500, esp_limit: int | None = None
) -> Counter[MessageKind]:
    """Write the messages of a capture of TCP as a capture of UDP.

    Parameters
    ----------
    captured, rewrapped : Path
        The file to read and the file to write, both pcapng.
    port : int
        TCP port that the TCP Responder listens on.
    esp_limit : int or None
        Most ESP packets to write of each SA and direction; None: all of them.

    Returns
    -------
    Counter of MessageKind
        How many messages of each kind were written.

    Raises
    ------
    PcapngError
        ``captured`` is not a pcapng file or is damaged.
    OSError
        A file cannot be read or written.

    Source: RFC 9329 §3
    """
    written: Counter[MessageKind] = Counter()
    of_sa: Counter[bytes] = Counter()
    with captured.open("rb") as source, rewrapped.open("wb") as target:
        writer = PcapngWriter(target)
        interface = writer.add_interface("iketcp as UDP", link_type=RAW_IP)
        for message in messages(read_packets(source), port):
            if message.kind is MessageKind.ESP and esp_limit is not None:
                spi = message.octets[:4]
                of_sa[spi] += 1
                if of_sa[spi] > esp_limit:
                    continue
            if len(message.octets) > 0xFFFF - 32:
                continue  # more than UDP can carry
            writer.add_packet(interface, message.nanoseconds, udp_packet(message))
            written[message.kind] += 1
    return written


def _ipv4_header(source: Address, destination: Address, size: int) -> bytes:
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, _HOP_LIMIT, _UDP)
    addresses = source.packed + destination.packed
    check = checksum(head + bytes(2) + addresses)
    return head + struct.pack("!H", check) + addresses
