"""Many ESP packets of one size opened together.

In a bulk transfer nearly every packet is like the one before: one number higher, of the
same size, of the same flow. What :class:`~iketcp.esp.protection.InboundSa` asks of each
packet is asked here of all of them in one step; only the cipher is called for each.
Where anything is out of the ordinary nothing has been done, and the packets take the
plain path one by one. So this file decides nothing: it knows when the plain path would
say yes to every packet.

Source: RFC 4303 §3.4
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, flow_key
from iketcp.offload.rows import Octets, words_at
from iketcp.registry import IpProtocol

MANY = 8
"""Choice: from so many packets on it is worth it to look at them together."""

_PORTS_SIZE = 4
_TRAILER_SIZE = 2


def as_rows(packets: Sequence[bytes]) -> Octets:
    """Lay packets of one size under each other."""
    octets = np.frombuffer(b"".join(packets), np.uint8)
    rows: Octets = octets.reshape(len(packets), -1)
    return rows


def rising_numbers(packets: Sequence[bytes], spi: bytes) -> Sequence[int]:
    """Return the sequence numbers of ESP packets, as sent, 32 bits each.

    Empty if they do not rise, or one of the packets has another SPI.

    Source: RFC 4303 §2.2
    """
    heads = as_rows([packet[:8] for packet in packets])
    numbers = words_at(heads, 4, 4)
    is_so = (heads[:, :4] == np.frombuffer(spi, np.uint8)).all()
    if not is_so or not (numbers[1:] > numbers[:-1]).all():
        return ()
    found: list[int] = numbers.tolist()
    return found


def inner_packets(
    plaintexts: Sequence[bytes], admits: Callable[[bytes], bool]
) -> list[bytes]:
    """Take decrypted payloads of one size apart; one inner packet for each.

    Parameters
    ----------
    plaintexts : sequence of bytes
        At least one, each at least two octets.
    admits : Callable
        Tells whether an inner packet lies within the Traffic Selectors; asked once for
        packets of one flow in a row.

    Returns
    -------
    list of bytes
        Empty if one of them is no whole IP packet of the size of the others with the
        same Padding, or is not admitted.

    Source: RFC 4303 §2.4, RFC 4303 §2.6, RFC 4303 §2.7, RFC 4301 §5.2
    """
    rows = as_rows(plaintexts)
    end = rows.shape[1] - _TRAILER_SIZE
    padding, next_header = int(rows[0, end]), int(rows[0, end + 1])
    header_size = _HEADER_SIZES.get(next_header, end)
    payload_size = end - padding
    if payload_size < header_size + _PORTS_SIZE:
        return []
    tail = np.frombuffer(plaintexts[0][payload_size:], np.uint8)
    is_alike = (
        (rows[:, payload_size:] == tail).all()
        and (tail[:padding] == _PADDING[:padding]).all()
        and (rows[:, 0] == rows[0, 0]).all()
    )
    size = _common_size(rows, next_header) if is_alike else 0
    if not header_size + _PORTS_SIZE <= size <= payload_size:
        return []
    packets = [plaintext[:size] for plaintext in plaintexts]
    flow = _FLOWS[next_header]
    begins = np.flatnonzero((rows[1:, flow] != rows[:-1, flow]).any(axis=1)) + 1
    for at in (0, *begins.tolist()):
        if not flow_key(packets[at]) or not admits(packets[at]):
            return []
    return packets


def _common_size(rows: Octets, next_header: int) -> int:
    """Return the size that all IP headers state; 0 if they differ, or are not plain."""
    if next_header == IpProtocol.IPV4:
        sizes, is_plain = words_at(rows, 2, 2), rows[0, 0] == 0x45
    else:
        sizes, is_plain = words_at(rows, 4, 2) + IPV6_HEADER_SIZE, rows[0, 0] >> 4 == 6
    is_common = is_plain and (sizes == sizes[0]).all()
    return int(sizes[0]) if is_common else 0


_PADDING = np.arange(1, 256, dtype=np.uint8)
_HEADER_SIZES: dict[int, int] = {
    IpProtocol.IPV4: IPV4_HEADER_SIZE,
    IpProtocol.IPV6: IPV6_HEADER_SIZE,
}
# What flow_key() looks at, and what keeps it from looking: fragments, the protocol,
# addresses, and the four octets behind, which may hold ports.
_FLOWS: dict[int, NDArray[np.intp]] = {
    IpProtocol.IPV4: np.array([6, 7, 9, *range(12, IPV4_HEADER_SIZE + _PORTS_SIZE)]),
    IpProtocol.IPV6: np.array([6, *range(8, IPV6_HEADER_SIZE + _PORTS_SIZE)]),
}

__all__ = ["MANY", "inner_packets", "rising_numbers"]
