"""What the tests of the relay say to it: messages without keys, and what comes out."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from iketcp.effects import CloseConnection, SendDatagrams, Trace, Transmit
from iketcp.registry import ExchangeType
from iketcp.relay.effects import ClosePort, OpenPort, RelayEffect, SendFromPort
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX, StreamDecoder, StreamMessage
from tls_support import CA, SERVER

SPI_I = b"initiatr"
SPI_R = b"respondr"


def ike(
    exchange: int = ExchangeType.IKE_AUTH,
    spi_r: bytes = SPI_R,
    spi_i: bytes = SPI_I,
    size: int = 28,
    is_response: bool = True,
) -> bytes:
    """An IKE message, as far as a relay looks at it."""
    flags = 0x20 if is_response else 0
    header = struct.pack("!8s8sBBBBII", spi_i, spi_r, 0, 0x20, exchange, flags, 0, size)
    return header.ljust(size, b"\0")


def esp(spi: int = 0xC0FFEE01, content: bytes = b"packet") -> bytes:
    """An ESP packet, likewise."""
    return struct.pack("!II", spi, 1) + content


FIRST = ike(ExchangeType.IKE_SA_INIT, bytes(8), is_response=False)
FIRST_ANSWER = ike(ExchangeType.IKE_SA_INIT)


def datagram(message: bytes) -> bytes:
    """The datagram of an IKE message on port 4500."""
    return NON_ESP_MARKER + message


def frame(octets: bytes) -> bytes:
    """A message of the stream: an ESP packet, or what :func:`datagram` makes."""
    return struct.pack("!H", len(octets) + 2) + octets


def stream(*messages: bytes) -> bytes:
    """What a TCP Originator sends first."""
    return STREAM_PREFIX + b"".join(map(frame, messages))


def sent_from_ports(effects: Sequence[RelayEffect]) -> list[tuple[int, list[bytes]]]:
    """Datagrams towards the daemon, by port."""
    return [(e.port, list(e.datagrams)) for e in effects if isinstance(e, SendFromPort)]


def transmitted(effects: Sequence[RelayEffect]) -> list[tuple[int, StreamMessage]]:
    """Messages put on streams, by connection."""
    found = []
    for effect in effects:
        if isinstance(effect, Transmit):
            octets = effect.octets.removeprefix(STREAM_PREFIX)
            decoder = StreamDecoder(expects_prefix=False)
            found += [(effect.connection, m) for m in decoder.feed(octets)]
            assert decoder.pending == 0
    return found


def sent_back(effects: Sequence[RelayEffect]) -> list[bytes]:
    """Datagrams towards a UDP client."""
    return [d for e in effects if isinstance(e, SendDatagrams) for d in e.datagrams]


def closed(effects: Sequence[RelayEffect]) -> dict[int, str]:
    """Connections that are to close, and why."""
    return {e.connection: e.reason for e in effects if isinstance(e, CloseConnection)}


def ports_opened(effects: Sequence[RelayEffect]) -> list[int]:
    """UDP ports that are to be taken."""
    return [e.port for e in effects if isinstance(e, OpenPort)]


def ports_closed(effects: Sequence[RelayEffect]) -> list[int]:
    """UDP ports that are given back."""
    return [e.port for e in effects if isinstance(e, ClosePort)]


def told(effects: Sequence[RelayEffect]) -> list[str]:
    """Kinds of events."""
    return [e.kind for e in effects if isinstance(e, Trace)]


def refuses(port: int) -> bool:
    """Whether nobody listens on a TCP port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many octets of a stream."""
    octets = b""
    while len(octets) < size:
        part = sock.recv(size - len(octets))
        assert part, octets
        octets += part
    return octets


def pem_files(folder: Path) -> tuple[Path, Path]:
    """Write a server's certificate with its CA's, and its key."""
    certificate, key = folder / "server.pem", folder / "server.key"
    pems = (c.certificate.public_bytes(Encoding.PEM) for c in (SERVER, CA))
    certificate.write_bytes(b"".join(pems))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(SERVER.key.private_bytes(*form))
    key.chmod(0o600)
    return certificate, key
