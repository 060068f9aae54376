"""Tunnel devices: where inner IP packets enter and leave.

A tunnel device looks like a network interface to the machine and like a file to us:
what the machine routes into it we read, one whole IP packet per read, and what we
write arrives on the machine as if from a wire. :class:`LinuxTun` is the real one;
:class:`MemoryTun` has the same shape without privileges, for tests and for the
demonstration on machines that allow no device.

Both move packets in batches, because a batch is what makes sealing and sending them
cheap, and neither ever blocks: the reader polls :meth:`TunDevice.fileno` beside its
stop signal, and a packet the machine does not take is dropped, as any link drops one.

With offloads the real one moves TCP segments of up to 64 KiB in one system call; they
are cut and joined here (:mod:`iketcp.offload`), and nobody else sees more of it than
the speed.

The kernel's own queue of a TUN device is a single line, however long. Each read of the
real one therefore empties it into a queue in which flows take turns.

Source: RFC 4303 §3.1.2 (tunnel mode)
"""

import contextlib
import errno
import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Protocol

import pytun

from iketcp.errors import EnvironmentProblem
from iketcp.inner import flow_key
from iketcp.offload.coalescing import Buffers, coalesce
from iketcp.offload.fair_queue import DEFAULT_LIMIT, FairQueue
from iketcp.offload.segmentation import size_in_packets, split_all
from iketcp.offload.vnet_header import NO_OFFLOAD, VNET_HEADER_SIZE

DEFAULT_MTU = 1500
"""What the kernel gives a device of its own accord, in octets."""

LARGE_MTU = 4096
"""From so many octets on a device works without offloads."""

BATCH = 192
"""Choice: inner packets that are read at once, about a quarter of a megaoctet, which
takes less than a millisecond."""

_LARGEST_PACKET = 65535
_FLOW_HEADERS_SIZE = 64
_READS_IN_A_ROW = 512
_BATCH_OCTETS = 1 << 18
_FEWEST_WAITING = 32

# Of linux/if_tun.h: the request, and what the reader of a device can do for itself.
_TUNSETOFFLOAD = 0x400454D0
_CHECKSUMS, _TCP_IPV4, _TCP_IPV6, _TCP_ECN = 1, 2, 4, 8
_OFFLOADS = _CHECKSUMS | _TCP_IPV4 | _TCP_IPV6 | _TCP_ECN

# What a device answers for one packet it cannot take: not IP (EINVAL), device down
# (EIO), no memory or no room. The next packet may fare better.
_PACKET_ERRORS = frozenset(
    {errno.EINVAL, errno.EIO, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
    | {errno.EMSGSIZE, errno.E2BIG}
)


class TunDevice(Protocol):
    """What the threads need of a tunnel device."""

    name: str
    """The interface name."""
    dropped_packets: int
    """Packets that the device did not take, that made no sense, or that stayed behind
    when more came than could be read; a large segment counts as one."""

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN; -1 once closed."""
        ...

    def read_runs(self, limit: int = BATCH) -> list[Sequence[bytes]]:
        """Take about ``limit`` inner packets; empty when there is nothing to read.

        More only where one read of the device brings several. Those of one size and
        flow may come as :class:`~iketcp.offload.rows.PacketRows`.

        Raises
        ------
        EnvironmentProblem
            The device is closed or gone.
        """
        ...

    def write_batch(self, packets: Iterable[bytes]) -> None:
        """Hand inner packets to the machine; what it refuses is dropped and counted.

        Raises
        ------
        EnvironmentProblem
            The device is gone. (Once closed by us, packets are dropped silently.)
        """
        ...

    def fit(self, mtu: int) -> None:
        """Hear of the device's MTU, in octets, when it changes."""
        ...

    def close(self) -> None:
        """Give the device back; idempotent, from any thread."""
        ...


class _Descriptor:
    """Batched, non-blocking packet input and output on one file descriptor."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.dropped_packets = 0
        self._fd = fd
        # close() takes both, so that no batch in progress can hit a descriptor number
        # that has been given to somebody else.
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLIN; -1 once closed."""
        return self._fd

    def read_batch(self, limit: int = BATCH) -> list[bytes]:
        """Take inner packets as :meth:`read_runs` does, one by one."""
        return list(chain.from_iterable(self.read_runs(limit)))

    def read_runs(self, limit: int = BATCH) -> list[Sequence[bytes]]:
        """Take about ``limit`` inner packets; empty when there is nothing to read.

        Raises
        ------
        EnvironmentProblem
            The device is closed or gone.
        """
        runs: list[Sequence[bytes]] = []
        with self._reading:
            try:
                self._read_into(runs, limit)
            except BlockingIOError:
                pass
            except OSError as error:
                if not runs:
                    raise self._gone(error) from error
        return runs

    def _read_into(self, runs: list[Sequence[bytes]], limit: int) -> None:
        """Append packets until there are so many, or nothing is left (OSError)."""
        read, fd = os.read, self._fd
        packets = [read(fd, _LARGEST_PACKET)]
        runs.append(packets)
        for _ in range(limit - 1):
            packets.append(read(fd, _LARGEST_PACKET))

    def write_batch(self, packets: Iterable[bytes]) -> None:
        """Hand inner packets to the machine; what it refuses is dropped and counted.

        Raises
        ------
        EnvironmentProblem
            The device is gone. (Once closed by us, packets are dropped silently.)
        """
        with self._writing:
            self._write_from(packets)

    def _write_from(self, packets: Iterable[bytes]) -> None:
        write, fd = os.write, self._fd
        for packet in packets:
            try:
                write(fd, packet)
            except OSError as error:
                self._refused(error, 1)

    def _refused(self, error: OSError, count: int) -> None:
        """Count packets as dropped; raises where no other will be taken either."""
        self.dropped_packets += count
        if error.errno not in _PACKET_ERRORS and self._fd >= 0:
            raise self._gone(error) from error

    def close(self) -> None:
        """Give the device back; idempotent, from any thread."""
        with self._reading, self._writing:
            if self._fd >= 0:
                self._fd = -1
                self._release()

    def _gone(self, error: OSError) -> EnvironmentProblem:
        if self._fd < 0:
            return EnvironmentProblem(f"tunnel device {self.name} is closed")
        return EnvironmentProblem(
            f"tunnel device {self.name} is gone ({error.strerror}); "
            "something removed it while the tunnel was up"
        )

    def _release(self) -> None:
        raise NotImplementedError


class LinuxTun(_Descriptor):
    """A TUN device of the Linux kernel, in the caller's network namespace.

    The device has no address and is down; addresses, routes and its state are the
    business of :class:`iketcp.net.routes.NetworkState`. It disappears when closed.

    Parameters
    ----------
    name : str
        The interface name, at most 15 octets; ``"iketcp%d"`` lets the kernel number
        it, and the ``name`` attribute tells the outcome.
    mtu : int or None
        Largest inner packet in octets; None leaves the kernel's 1500.
    offloads : bool
        Cut and join TCP segments here, where the kernel has that.

    Raises
    ------
    EnvironmentProblem
        There is no ``/dev/net/tun``, the privilege is missing, or the name is taken
        or impossible.
    """

    has_offloads: bool
    """Whether a vnet header stands before each packet."""

    def __init__(
        self, name: str = "iketcp%d", mtu: int | None = None, offloads: bool = True
    ) -> None:
        self._is_cutting = False
        is_small = (mtu or DEFAULT_MTU) < LARGE_MTU
        try:
            device, self.has_offloads = _make_device(name, offloads and is_small)
        except OSError as error:
            raise EnvironmentProblem(_why_no_device(name, error)) from error
        try:
            if mtu is not None:
                device.mtu = mtu
            os.set_blocking(device.fileno(), False)
            os.set_inheritable(device.fileno(), False)
        except OSError as error:
            device.close()
            raise EnvironmentProblem(
                f"cannot set an MTU of {mtu} octets on tunnel device {name}: "
                f"{_text(error)}"
            ) from error
        super().__init__(device.name, device.fileno())
        self._device = device
        mtu = mtu or DEFAULT_MTU
        # A sender learns of a loss from what arrives behind it: of large packets, too,
        # enough have to wait.
        self._waiting = FairQueue(max(DEFAULT_LIMIT, _FEWEST_WAITING * mtu))
        self.fit(mtu)

    def fit(self, mtu: int) -> None:
        """Cut and join segments if that is faster than leaving it to the machine.

        Choice: with packets of a few thousand octets and more there are too few in a
        segment for it to be worth it.
        """
        self._is_cutting = self.has_offloads and mtu < LARGE_MTU
        offloads = _OFFLOADS if self._is_cutting else 0
        # Without it segments come already cut, and go out joined all the same.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, _TUNSETOFFLOAD, offloads)

    def _read_into(self, runs: list[Sequence[bytes]], limit: int) -> None:
        """Cut what is next in turn; that may be more packets than were wanted.

        Large packets make a batch, too, or what is small would wait for it.
        """
        self._empty_device()
        enough = self._waiting.octets - _BATCH_OCTETS
        reads: list[bytes] = []
        while limit > 0 and self._waiting.octets > enough:
            if (octets := self._waiting.take()) is None:
                break
            reads.append(octets)
            limit -= size_in_packets(octets) if self.has_offloads else 1
        if self.has_offloads:
            found, broken = split_all(reads)
            runs += found
            self.dropped_packets += broken
        elif reads:
            runs.append(reads)

    def _empty_device(self) -> None:
        """Read until nothing is left; OSError if then nothing waits at all."""
        begin = VNET_HEADER_SIZE if self.has_offloads else 0
        end, size = begin + _FLOW_HEADERS_SIZE, begin + _LARGEST_PACKET
        read, put, fd = os.read, self._waiting.put, self._fd
        try:
            for _ in range(_READS_IN_A_ROW):
                octets = read(fd, size)
                self.dropped_packets += put(octets, flow_key(octets[begin:end]))
        except OSError:
            if not self._waiting:
                raise

    def _write_from(self, packets: Iterable[bytes]) -> None:
        if not self.has_offloads:
            super()._write_from(packets)
            return
        writes: Iterable[Buffers] = (
            coalesce(packets)
            if self._is_cutting
            else ((NO_OFFLOAD, packet) for packet in packets)
        )
        for buffers in writes:
            try:
                os.writev(self._fd, buffers)
            except OSError as error:
                self._refused(error, size_in_packets(b"".join(buffers)))

    def _release(self) -> None:
        self._device.close()


def _make_device(name: str, offloads: bool) -> tuple[pytun.TunTapDevice, bool]:
    """Make a device, with offloads where wanted and possible; tells whether so."""
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI
    if offloads:
        with contextlib.suppress(OSError):
            return pytun.TunTapDevice(name, flags | pytun.IFF_VNET_HDR), True
    return pytun.TunTapDevice(name, flags), False


class MemoryTun(_Descriptor):
    """A tunnel device in memory: the test or demonstration plays the machine.

    A pair of connected ``SOCK_SEQPACKET`` sockets keeps packet boundaries and gives
    the inside a descriptor to poll, as a real device has.

    Parameters
    ----------
    name : str
        Any name.
    patience_seconds : float
        How long :meth:`write_batch` (and a :meth:`close` behind it) waits for the
        machine to collect before it drops a packet; a real device never waits.
    """

    def __init__(self, name: str = "memory", patience_seconds: float = 0.0) -> None:
        self._inside, self._outside = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        for end in (self._inside, self._outside):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self.patience_seconds = patience_seconds
        super().__init__(name, self._inside.fileno())

    def write_batch(self, packets: Iterable[bytes]) -> None:
        """Hand inner packets to whoever collects; what finds no room is dropped."""
        if self.patience_seconds <= 0:
            super().write_batch(packets)
            return
        for packet in packets:
            with self._writing:
                if self._fd >= 0:
                    _wait(self._fd, select.POLLOUT, self.patience_seconds)
            super().write_batch([packet])

    def fit(self, mtu: int) -> None:
        """Do nothing: packets of any size are carried as they are."""

    def inject(self, packet: bytes, timeout_seconds: float = 0.0) -> bool:
        """Send one inner packet into the tunnel, as the machine would; False if full.

        Parameters
        ----------
        packet : bytes
            A whole IP packet.
        timeout_seconds : float
            How long to wait for room.
        """
        fd = self._outside.fileno()
        if fd < 0 or not _wait(fd, select.POLLOUT, timeout_seconds):
            return False
        try:
            self._outside.send(packet)
        except OSError:
            return False
        return True

    def collect(self, limit: int = 64, timeout_seconds: float = 0.0) -> list[bytes]:
        """Take up to ``limit`` packets that came out of the tunnel.

        Waits up to ``timeout_seconds`` for the first one; empty if none came.
        """
        packets: list[bytes] = []
        fd = self._outside.fileno()
        if fd < 0 or not _wait(fd, select.POLLIN, timeout_seconds):
            return packets
        try:
            while len(packets) < limit:
                packet = self._outside.recv(_LARGEST_PACKET)
                if not packet:
                    break
                packets.append(packet)
        except OSError:
            pass
        return packets

    def _release(self) -> None:
        self._inside.close()
        self._outside.close()


def _wait(fd: int, event: int, timeout_seconds: float) -> bool:
    poller = select.poll()
    poller.register(fd, event)
    return bool(poller.poll(timeout_seconds * 1000))


def _text(error: OSError) -> str:
    # python-pytun raises a subclass of OSError that may carry a sentence only.
    return error.strerror or str(error)


def _why_no_device(name: str, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            "this machine has no /dev/net/tun; load the tun module (modprobe tun) "
            "or give the container that device"
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"no privilege to make tunnel device {name}; "
            "run as root or with CAP_NET_ADMIN"
        )
    if error.errno == errno.EBUSY:
        return f"tunnel device {name} is in use already; choose another name"
    return f"cannot make a tunnel device named {name!r}: {_text(error)}"
