"""Watching the wire: a packet socket with a shared ring, and a capture file.

Packets wait in a ring of blocks that the kernel fills and this process empties. The
kernel writes a block, says so in its status word, and writes the next; nothing is
copied on the way but into the file, and no limit on socket buffers applies, which
matters where we are root of a user namespace only.

Run as a module: ``INTERFACE FD`` captures on the interface into the open file until
SIGTERM, and reports on standard output, one JSON object per line.
"""

import json
import mmap
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from iketcp.capture.pcapng import INBOUND, OUTBOUND, PcapngWriter

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_TPACKET_V3 = 2
_PACKET_OUTGOING = 4
_STATUS_KERNEL = 0
_STATUS_USER = 1

_BLOCK_SIZE = 1 << 20
_BLOCKS = 32
_FRAME_SIZE = 2048  # nominal only: a block is packed with packets of any size
_RETIRE_MILLISECONDS = 20

# struct tpacket_block_desc: status, number of packets, offset of the first
_BLOCK_HEAD = struct.Struct("=8xIII")
_STATUS = struct.Struct("=I")
_STATUS_OFFSET = 8
# struct tpacket3_hdr: next offset, time, captured and original size, and where the
# link layer header begins
_PACKET_HEAD = struct.Struct("=IIIII4xH")
# struct sockaddr_ll stands behind it; this is its packet type
_PACKET_TYPE_OFFSET = 48 + 10


@dataclass(slots=True)
class Statistics:
    """What the kernel counted."""

    received: int = 0
    dropped: int = 0
    """Packets that found the ring full and are missing in the file."""


class Wire:
    """A packet socket on one interface; a context manager.

    Raises
    ------
    OSError
        The privilege is missing, or there is no such interface.
    """

    def __init__(self, interface: str, blocks: int = _BLOCKS) -> None:
        # Protocol 0: nothing arrives before the ring stands and bind() says what.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            request = struct.pack(
                "=7I",
                *(_BLOCK_SIZE, blocks, _FRAME_SIZE),
                *(_BLOCK_SIZE // _FRAME_SIZE * blocks, _RETIRE_MILLISECONDS, 0, 0),
            )
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._map = mmap.mmap(self._socket.fileno(), _BLOCK_SIZE * blocks)
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise
        self._ring = memoryview(self._map)
        self._blocks = blocks
        self._next = 0

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ring.release()
        self._map.close()
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN."""
        return self._socket.fileno()

    def statistics(self) -> Statistics:
        """Return what was counted since the last call."""
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        received, dropped, _ = struct.unpack("=III", counts)
        return Statistics(received, dropped)

    def drain(self, writer: PcapngWriter, interface: int) -> int:
        """Write what the kernel has handed over; return the number of packets."""
        written = 0
        for base in self._ready_blocks():
            _, count, at = _BLOCK_HEAD.unpack_from(self._ring, base)
            at += base
            for _ in range(count):
                step, seconds, nanoseconds, kept, size, mac = _PACKET_HEAD.unpack_from(
                    self._ring, at
                )
                is_ours = self._ring[at + _PACKET_TYPE_OFFSET] == _PACKET_OUTGOING
                writer.add_packet(
                    interface,
                    seconds * 1_000_000_000 + nanoseconds,
                    self._ring[at + mac : at + mac + kept],
                    size,
                    OUTBOUND if is_ours else INBOUND,
                )
                at += step
            written += count
        return written

    def _ready_blocks(self) -> Iterator[int]:
        """Give the offset of each block that is ours, and give it back afterwards."""
        for _ in range(self._blocks):
            base = self._next * _BLOCK_SIZE
            (status,) = _STATUS.unpack_from(self._ring, base + _STATUS_OFFSET)
            if not status & _STATUS_USER:
                return
            yield base
            _STATUS.pack_into(self._ring, base + _STATUS_OFFSET, _STATUS_KERNEL)
            self._next = (self._next + 1) % self._blocks


def capture(
    interface: str,
    file: int,
    should_stop: Callable[[], bool],
    report: Callable[..., None],
) -> None:
    """Capture into an open file until ``should_stop``; then drain and count.

    ``report`` is called with ``kind="capturing"`` as soon as no packet can be missed,
    and with ``kind="captured"`` and the counts at the end.
    """
    with Wire(interface) as wire, open(file, "wb", buffering=1 << 20) as stream:
        writer = PcapngWriter(stream)
        number = writer.add_interface(interface)
        report(kind="capturing")
        poller = select.poll()
        poller.register(wire.fileno(), select.POLLIN)
        packets = 0
        while not should_stop():
            poller.poll(50)
            packets += wire.drain(writer, number)
        # A block that is not full yet is handed over when its time is up.
        time.sleep(3 * _RETIRE_MILLISECONDS / 1000)
        packets += wire.drain(writer, number)
        counts = wire.statistics()
        writer.add_statistics(number, time.time_ns(), counts.received, counts.dropped)
    report(kind="captured", packets=packets, dropped=counts.dropped)


def _report(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Capture until SIGTERM."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    capture(sys.argv[1], int(sys.argv[2]), lambda: bool(stopping), _report)


if __name__ == "__main__":
    main()
