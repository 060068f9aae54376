"""Many ESP packets of one size sealed or opened together: the fast path.

In a bulk transfer nearly every packet is like the one before: one number higher, of the
same size, of the same flow. What :class:`~iketcp.esp.protection.OutboundSa` and
:class:`~iketcp.esp.protection.InboundSa` do for each packet is done here for all of
them in one step. They are laid under each other as the rows of a matrix, so that to
write a field or to compare one is to write or compare a column; only the cipher is
called for each, and finds its input and leaves its output in memory that is there
already. Large packets are not laid under each other: that would be a copy more.

Where anything is out of the ordinary nothing has been done, and the packets take the
plain path one by one. So this file decides nothing: it knows when the plain path would
say yes to every packet.

Source: RFC 4303 §3.3
Source: RFC 4303 §3.4
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iketcp.crypto.ciphers import CombinedMode
from iketcp.esp.packet import HEADER_SIZE
from iketcp.inner import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, flow_key, stated_size
from iketcp.offload.rows import Mask, Octets, PacketRows
from iketcp.registry import IpProtocol
from iketcp.stream import LENGTH_SIZE, EspFrames

MANY = 16
"""Choice: from so many packets on it is worth it to look at them together."""
LARGE = 4096
"""Choice: octets from which on a matrix is not, for the cipher takes most of the time
and a copy the next most; such packets are taken one after the other in one step."""
_FEW = 2

_ROOM = 192  # packets of one workspace: a batch of the device
_WORKSPACES_KEPT = 4
_SPI_SIZE = 4
_SALT_SIZE = 4
_NONCE_SIZE = 12
_PORTS_SIZE = 4
_TRAILER_SIZE = 2


def are_many(packets: Sequence[bytes]) -> bool:
    """Tell whether packets of one size are worth being rows."""
    return len(packets) >= MANY and 0 < size_of(packets) < LARGE


def are_large(packets: Sequence[bytes]) -> bool:
    """Tell whether packets of one size are large, and more than one."""
    return len(packets) >= _FEW and size_of(packets) >= LARGE


def size_of(packets: Sequence[bytes]) -> int:
    """Return the octets of each of some packets of one size, without a copy."""
    if isinstance(packets, PacketRows):
        return packets.size
    if isinstance(packets, EspFrames):
        return packets.length - LENGTH_SIZE
    return len(packets[0])


def rows_of(packets: Sequence[bytes]) -> Octets:
    """View ESP packets of one size as rows; those of a stream without their Length."""
    if isinstance(packets, PacketRows):
        return packets.octets
    if not isinstance(packets, EspFrames):
        return PacketRows.of(packets).octets
    count, size = len(packets), packets.length
    octets = np.frombuffer(packets.octets, np.uint8, count * size, packets.begin)
    return octets.reshape(count, size)[:, LENGTH_SIZE:]


SequenceNumbers = NDArray[np.uint64]
"""One a packet, whole."""


class _Layout(NamedTuple):
    """Sizes of what belongs to one packet, in octets."""

    associated: int
    """SPI and Sequence Number, of 32 or 64 bits."""
    iv: int
    plaintext: int
    icv: int

    @property
    def frame(self) -> int:
        """Of the packet in a stream, Length included."""
        return LENGTH_SIZE + HEADER_SIZE + self.iv + self.plaintext + self.icv


class _Workspace:
    """Memory for packets of one layout, used again and again.

    Each matrix has a row for each packet, and the cipher's parts of each row are kept
    as views, which cost more to make than a packet costs to encrypt.
    """

    def __init__(self, layout: _Layout) -> None:
        count = _ROOM
        iv_begin = LENGTH_SIZE + HEADER_SIZE
        sealed_begin = iv_begin + layout.iv
        self.layout = layout
        self.frames: Octets = np.zeros((count, layout.frame), np.uint8)
        self.plaintexts: Octets = np.zeros((count, layout.plaintext), np.uint8)
        self.nonces: Octets = np.zeros((count, _NONCE_SIZE), np.uint8)
        self.associated: Octets = np.zeros((count, layout.associated), np.uint8)
        self.frames[:, :LENGTH_SIZE].view(">u2")[:] = layout.frame
        self.heads = self.frames[:, LENGTH_SIZE:iv_begin]
        self.ivs = self.frames[:, iv_begin:sealed_begin]
        self.sealed_views = _views(self.frames, sealed_begin)
        self.plaintext_views = _views(self.plaintexts)
        self.nonce_views = _views(self.nonces)
        self.associated_views = _views(self.associated)


def _views(rows: Octets, begin: int = 0) -> list[memoryview]:
    """Return what is behind the first octets of each row, as memory to work on."""
    whole, width = rows.reshape(-1).data, rows.shape[1]
    return [whole[at + begin : at + width] for at in range(0, rows.size, width)]


# Taken by whoever works with one, and given back: never more than threads at work.
_free: deque[_Workspace] = deque(maxlen=_WORKSPACES_KEPT)


def _take_workspace(layout: _Layout) -> _Workspace:
    for _ in range(_WORKSPACES_KEPT):
        try:
            workspace = _free.popleft()
        except IndexError:
            break
        if workspace.layout == layout:
            return workspace
        _free.append(workspace)
    return _Workspace(layout)


def _give_back(workspace: _Workspace) -> None:
    workspace.nonces[:, :_SALT_SIZE] = 0  # keying material: it ends with its SA
    _free.append(workspace)


class RowCipher:
    """A combined-mode cipher of one SA, for many packets in one step.

    Parameters
    ----------
    cipher : CombinedMode
        With its key.
    spi : bytes
        4 octets.
    is_esn : bool
        Sequence numbers have 64 bits.

    Source: RFC 4303 §3.3, RFC 4303 §3.4, RFC 4106 §4, RFC 8750 §4
    """

    __slots__ = ("_cipher", "_number_size", "_spi", "_spi_octets", "_start")

    def __init__(self, cipher: CombinedMode, spi: bytes, is_esn: bool) -> None:
        self._cipher = cipher
        self._spi = np.frombuffer(spi, np.uint8)
        self._spi_octets = spi
        self._number_size = 8 if is_esn else 4
        self._start = np.frombuffer(cipher.salt, np.uint8)

    def seal(self, packets: Octets, trailer: bytes, first: int) -> EspFrames:
        """Make ESP packets of inner packets, framed for a stream.

        Parameters
        ----------
        packets : Octets
            One inner packet a row.
        trailer : bytes
            Padding, Pad Length and Next Header, the same for all.
        first : int
            Sequence number of the first one; those of the others follow.

        Source: RFC 4303 §3.3, RFC 9329 §3.2
        """
        size = packets.shape[1]
        workspace = _take_workspace(self._layout(size + len(trailer)))
        try:
            workspace.plaintexts[:, size:] = np.frombuffer(trailer, np.uint8)
            pieces = [
                self._seal_into(workspace, packets[at : at + _ROOM], first + at)
                for at in range(0, len(packets), _ROOM)
            ]
        finally:
            _give_back(workspace)
        octets = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return EspFrames(octets, 0, workspace.layout.frame, len(packets))

    def seal_large(
        self, packets: Sequence[bytes], trailer: bytes, first: int
    ) -> EspFrames:
        """Do as :meth:`seal`, but a packet is copied no more often than it has to be.

        Source: RFC 4303 §3.3, RFC 9329 §3.2
        """
        length = self._layout(len(packets[0]) + len(trailer)).frame
        begin = length.to_bytes(LENGTH_SIZE, "big") + self._spi_octets
        iv_size, seal = self._cipher.spec.iv_size, self._cipher.seal
        pieces: list[bytes] = []
        for number, packet in enumerate(packets, first):
            octets = number.to_bytes(8, "big")
            pieces.append(begin + octets[4:] + octets[:iv_size])
            pieces.append(seal(octets, packet + trailer, self._associated(octets)))
        return EspFrames(b"".join(pieces), 0, length, len(packets))

    def _associated(self, number: bytes) -> bytes:
        """Return what is authenticated only, of a sequence number of 8 octets."""
        return self._spi_octets + number[-self._number_size :]

    def _seal_into(self, workspace: _Workspace, packets: Octets, first: int) -> bytes:
        """Seal what has room; the trailer is there already."""
        count, size = packets.shape
        numbers = np.uint64(first) + np.arange(count, dtype=np.uint64)
        workspace.plaintexts[:count, :size] = packets
        workspace.heads[:count, :_SPI_SIZE] = self._spi
        workspace.heads[:count, _SPI_SIZE:].view(">u4")[:, 0] = numbers & 0xFFFFFFFF
        if workspace.layout.iv:
            workspace.ivs[:count].view(">u8")[:, 0] = numbers
        self._put_numbers(workspace, numbers)
        workspace.nonces[:count, _SALT_SIZE:].view(">u8")[:, 0] = numbers
        self._cipher.seal_many(
            workspace.nonce_views[:count],
            workspace.plaintext_views[:count],
            workspace.associated_views[:count],
            workspace.sealed_views[:count],
        )
        return workspace.frames[:count].tobytes()

    def open(self, packets: Octets, numbers: SequenceNumbers) -> Octets:
        """Verify and decrypt ESP packets; returns what was encrypted, a row for each.

        Parameters
        ----------
        packets : Octets
            One a row, from the SPI on.
        numbers : SequenceNumbers
            Their whole sequence numbers.

        Raises
        ------
        IntegrityError
            One of the ICVs does not verify.

        Source: RFC 4303 §3.4.4
        """
        spec = self._cipher.spec
        overhead = HEADER_SIZE + spec.iv_size + spec.icv_size
        workspace = _take_workspace(self._layout(packets.shape[1] - overhead))
        plaintexts = np.empty((len(packets), workspace.layout.plaintext), np.uint8)
        try:
            for at in range(0, len(packets), _ROOM):
                until = at + _ROOM
                self._open_in(workspace, packets[at:until], numbers[at:until])
                piece = plaintexts[at:until]
                piece[:] = workspace.plaintexts[: len(piece)]
        finally:
            _give_back(workspace)
        return plaintexts

    def open_large(
        self, frames: EspFrames, numbers: SequenceNumbers
    ) -> Iterator[bytes]:
        """Do as :meth:`open`, one after the other and from where they are.

        Raises
        ------
        IntegrityError
            An ICV does not verify.

        Source: RFC 4303 §3.4.4
        """
        octets, length = memoryview(frames.octets), frames.length
        spec, open_ = self._cipher.spec, self._cipher.open
        at = frames.begin + LENGTH_SIZE + HEADER_SIZE
        for whole in numbers.tolist():
            number = whole.to_bytes(8, "big")
            iv = frames.octets[at : at + spec.iv_size] or number
            end = at + length - LENGTH_SIZE - HEADER_SIZE
            sealed = octets[at + spec.iv_size : end]
            yield open_(iv, sealed, self._associated(number))
            at += length

    def _open_in(
        self, workspace: _Workspace, packets: Octets, numbers: SequenceNumbers
    ) -> None:
        """Open what has room."""
        count = len(packets)
        workspace.frames[:count, LENGTH_SIZE:] = packets
        self._put_numbers(workspace, numbers)
        if workspace.layout.iv:
            workspace.nonces[:count, _SALT_SIZE:] = workspace.ivs[:count]
        else:
            workspace.nonces[:count, _SALT_SIZE:].view(">u8")[:, 0] = numbers
        self._cipher.open_many(
            workspace.nonce_views[:count],
            workspace.sealed_views[:count],
            workspace.associated_views[:count],
            workspace.plaintext_views[:count],
        )

    def _put_numbers(self, workspace: _Workspace, numbers: SequenceNumbers) -> None:
        """Write what is authenticated only, and the salt."""
        count, size = len(numbers), self._number_size
        workspace.nonces[:count, :_SALT_SIZE] = self._start
        workspace.associated[:count, :_SPI_SIZE] = self._spi
        associated = workspace.associated[:count, _SPI_SIZE:]
        associated.view(f">u{size}")[:, 0] = numbers

    def _layout(self, plaintext: int) -> _Layout:
        spec = self._cipher.spec
        head = _SPI_SIZE + self._number_size
        return _Layout(head, spec.iv_size, plaintext, spec.icv_size)


def rising_numbers(packets: Octets, spi: bytes) -> SequenceNumbers | None:
    """Return the sequence numbers of ESP packets, as sent, 32 bits each.

    ``None`` if they do not rise, or one of the packets has another SPI.

    Source: RFC 4303 §2.2
    """
    heads = packets[:, :HEADER_SIZE].view(">u8")[:, 0].astype(np.uint64)
    expected = int.from_bytes(spi, "big")
    # what rises begins and ends with the SPI, and so has it all the way
    is_so = (
        int(heads[0]) >> 32 == expected == int(heads[-1]) >> 32
        and (heads[1:] > heads[:-1]).all()
    )
    return heads & np.uint64(0xFFFFFFFF) if is_so else None


def common_version(packets: Sequence[bytes]) -> int:
    """Return the IP version of packets that are not empty; 0 if they differ."""
    if not isinstance(packets, PacketRows):
        version = packets[0][0] >> 4
        return version if all(it[0] >> 4 == version for it in packets) else 0
    versions = packets.octets[:, 0] >> 4
    version = int(versions[0])
    return version if (versions == version).all() else 0


def inner_packets(
    plaintexts: Octets, admits: Callable[[bytes], bool]
) -> PacketRows | None:
    """Take decrypted payloads of one size apart; one inner packet for each.

    Parameters
    ----------
    plaintexts : Octets
        At least one row, of at least two octets.
    admits : Callable
        Tells whether an inner packet lies within the Traffic Selectors; asked once for
        packets of one flow in a row.

    Returns
    -------
    PacketRows or None
        ``None`` if one of them is no whole IP packet of the size of the others with the
        same Padding, or is not admitted.

    Source: RFC 4303 §2.4, RFC 4303 §2.6, RFC 4303 §2.7, RFC 4301 §5.2
    """
    rows = plaintexts
    end = rows.shape[1] - _TRAILER_SIZE
    padding, next_header = int(rows[0, end]), int(rows[0, end + 1])
    begin = _BEGINS.get(next_header)
    payload_size = end - padding
    if begin is None or payload_size < begin.smallest:
        return None
    tail = rows[:, payload_size:]
    is_alike = (
        begin.shape.are_equal(rows)
        and (tail == tail[0]).all()
        and (tail[0, :padding] == _PADDING[:padding]).all()
    )
    first: bytes = rows[0, :payload_size].tobytes()
    if not is_alike or first[0] not in begin.first_octets:
        return None
    size = stated_size(first)
    if not begin.smallest <= size <= payload_size:
        return None
    packets = PacketRows(rows[:, :size])
    changes = np.flatnonzero(begin.flow.changes(rows)) + 1
    for at in (0, *changes.tolist()):
        packet = packets[at]
        if not flow_key(packet) or not admits(packet):
            return None
    return packets


class _Begin(NamedTuple):
    """What is looked at in the first octets of an inner packet, by its IP version."""

    smallest: int
    """Octets of a packet that has all of them."""
    first_octets: frozenset[int]
    """Version, and a header without options where it may have some."""
    shape: Mask
    """What says how long a packet is: the same in all."""
    flow: Mask
    """What flow_key() looks at, and what keeps it from looking: fragments, the
    protocol, addresses, and the four octets behind, which may hold ports."""


_PADDING = np.arange(1, 256, dtype=np.uint8)
_BEGINS = {
    int(IpProtocol.IPV4): _Begin(
        smallest=IPV4_HEADER_SIZE + _PORTS_SIZE,
        first_octets=frozenset({0x45}),
        shape=Mask([0, 2, 3]),
        flow=Mask([6, 7, 9, *range(12, IPV4_HEADER_SIZE + _PORTS_SIZE)]),
    ),
    int(IpProtocol.IPV6): _Begin(
        smallest=48,  # four more than the ports, to be looked at eight by eight
        first_octets=frozenset(range(0x60, 0x70)),
        shape=Mask([0, 4, 5]),
        flow=Mask([6, *range(8, IPV6_HEADER_SIZE + _PORTS_SIZE)]),
    ),
}

__all__ = [
    "RowCipher",
    "are_large",
    "are_many",
    "common_version",
    "inner_packets",
    "rising_numbers",
    "rows_of",
    "size_of",
]
