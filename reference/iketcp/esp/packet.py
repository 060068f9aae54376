"""The layout of an ESP packet; in transport mode the payload differs.

================  ========  =========================================================
field             octets    meaning
================  ========  =========================================================
SPI               4         which SA; chosen by the receiver, 256 or more
Sequence Number   4         low-order half, where it has 64 bits
IV                0 to 16   as the cipher wants it
Payload Data      any       an IP packet (encrypted from here on)
TFC padding       any       hides the packet's size; it begins where the IP header
                            says the packet ends
Padding           0 to 255  1, 2, 3, ... up to the alignment
Pad Length        1         octets of Padding
Next Header       1         4: IPv4, 41: IPv6, 59: dummy (encrypted up to here)
ICV               12 to 32  Integrity Check Value
================  ========  =========================================================

:mod:`iketcp.esp.transport_mode` says what the payload is there.

Source: RFC 4303 §2
"""

from functools import cache

from iketcp.crypto.ciphers import CipherSpec
from iketcp.errors import MalformedPacketError
from iketcp.inner import stated_size
from iketcp.registry import IpProtocol

HEADER_SIZE = 8
"""SPI and Sequence Number, in octets."""

MIN_SPI = 256
"""0 is never sent, 1 to 255 are reserved [9329-3.2-spi]. Source: RFC 4303 §2.1."""

_TRAILER_SIZE = 2
_PADDING = bytes(range(1, 256))
_TAILS = tuple(_PADDING[:size] + bytes([size]) for size in range(256))
"""Padding and Pad Length, by Pad Length."""

_VERSIONS: dict[int, int] = {IpProtocol.IPV4: 4, IpProtocol.IPV6: 6}


def alignment(spec: CipherSpec) -> int:
    """Return what the encrypted part is a multiple of: 4 octets, or one block.

    Source: RFC 4303 §2.4
    """
    return max(4, spec.block_size)


@cache
def trailers(next_header: int, multiple: int) -> tuple[bytes, ...]:
    """Return the shortest trailers, indexed by payload size modulo ``multiple``.

    A trailer is Padding, Pad Length and Next Header: 2 to ``multiple`` + 1 octets.

    Source: RFC 4303 §2.4, RFC 4303 §2.5, RFC 4303 §2.6
    """
    return tuple(
        _TAILS[-(size + _TRAILER_SIZE) % multiple] + bytes([next_header])
        for size in range(multiple)
    )


def packet_size(payload_size: int, spec: CipherSpec) -> int:
    """Return the size of the ESP packet that carries so many octets of payload.

    Source: RFC 4303 §2
    """
    multiple = alignment(spec)
    encrypted = -(-(payload_size + _TRAILER_SIZE) // multiple) * multiple
    return HEADER_SIZE + spec.iv_size + encrypted + spec.icv_size


def covered(
    spi: bytes, number: bytes, is_esn: bool, is_aead: bool
) -> tuple[bytes, bytes]:
    """Return what the ICV covers before the IV and after the ciphertext.

    ==========================  ==================  ==================
    ESN                         before              after
    ==========================  ==================  ==================
    no                          SPI | low           nothing
    yes, combined-mode cipher   SPI | high | low    nothing
    yes, separate integrity     SPI | low           high
    ==========================  ==================  ==================

    Parameters
    ----------
    spi : bytes
        4 octets.
    number : bytes
        The whole sequence number, 8 octets; only the last 4 are sent.

    Source: RFC 4303 §2.2.1, RFC 4303 §3.3.2.1, RFC 4106 §5, RFC 7634 §2.1
    """
    if not is_esn:
        return spi + number[4:], b""
    if is_aead:
        return spi + number, b""
    return spi + number[4:], number[:4]


def split_payload(plaintext: bytes) -> tuple[int, bytes]:
    """Take a decrypted payload apart: Next Header, and payload with TFC padding.

    The Padding must read 1, 2, 3, ...

    Raises
    ------
    MalformedPacketError
        There is no whole trailer, or the Padding has other content.

    Source: RFC 4303 §2.4, RFC 4303 §3.4.4.1
    """
    tail = _TAILS[plaintext[-2]] if len(plaintext) >= _TRAILER_SIZE else None
    if tail is None or not plaintext.endswith(tail, 0, -1):
        raise MalformedPacketError("ESP padding is not 1, 2, 3, ...")
    return plaintext[-1], plaintext[: -1 - len(tail)]


def inner_packet(next_header: int, payload: bytes) -> bytes:
    """Return the IP packet in a payload, less the TFC padding behind it.

    Raises
    ------
    MalformedPacketError
        Next Header is not that of an IP packet or not of this one's version, or the
        IP header speaks of more octets than there are.

    Source: RFC 4303 §2.6, RFC 4303 §2.7, RFC 4303 §3.4.4.1
    """
    size = stated_size(payload)
    if _VERSIONS.get(next_header) != payload[0] >> 4:
        raise MalformedPacketError(f"Next Header {next_header} is another protocol")
    if size > len(payload):
        raise MalformedPacketError(f"inner packet of {size} octets cut short")
    return payload[:size]
