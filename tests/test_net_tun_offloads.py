"""Tunnel devices with and without offloads: the machine's TCP through them."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from iketcp.net.tun import LARGE_MTU, LinuxTun
from iketcp.net.wake import Wake
from iketcp.offload.coalescing import coalesce
from iketcp.offload.fair_queue import FairQueue
from iketcp.offload.rows import PacketRows
from namespaces import NamespaceThread, in_namespace
from test_net_tun import LinuxTunUp, needs_tun, pump
from traffic import arrives_whole
from traffic import here as run_here

MTU = 1400
OCTETS = 8 << 20


class Watched:
    """A device, and what passed through it."""

    def __init__(self, device: LinuxTun) -> None:
        self.device = device
        device._waiting = FairQueue(limit=1 << 30)  # loses nothing on a busy machine
        self.read: list[bytes] = []
        self.packets, self.writes, self.rows = 0, 0, 0

    def fileno(self) -> int:
        return self.device.fileno()

    def read_batch(self) -> list[bytes]:
        runs = self.device.read_runs()
        self.rows += sum(isinstance(run, PacketRows) for run in runs)
        packets = list(itertools.chain.from_iterable(runs))
        self.read += packets
        return packets

    def write_batch(self, packets: list[bytes]) -> None:
        self.packets += len(packets)
        self.writes += len(coalesce(packets))
        self.device.write_batch(packets)


@contextlib.contextmanager
def joined(one: Watched, other: Watched) -> Iterator[None]:
    """Carry packets between two devices while the block runs."""
    stop = Wake()
    pumps = [
        threading.Thread(target=pump, args=(*ends, stop))
        for ends in ((one, other), (other, one))
    ]
    for thread in pumps:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in pumps:
            thread.join()
        stop.close()


@pytest.mark.parametrize("address", ["10.9.0.{}", "fd00:9::{}"])
@pytest.mark.parametrize(
    ("here", "there"), list(itertools.product((True, False), repeat=2))
)
def test_a_transfer_arrives(address: str, here: bool, there: bool) -> None:
    """Whoever cuts, and whoever joins: each packet fits, is right, and arrives."""
    in_namespace(a_transfer_arrives)(address, here, there)


def a_transfer_arrives(address: str, here: bool, there: bool) -> None:
    needs_tun()
    prefix = 24 if "." in address else 64
    with (
        NamespaceThread() as other,
        LinuxTunUp(f"{address.format(1)}/{prefix}", here) as near,
    ):
        far_side = LinuxTunUp(f"{address.format(2)}/{prefix}", there)
        far: LinuxTun = other.call(far_side.__enter__)
        one, two = Watched(near), Watched(far)
        try:
            with joined(one, two):
                arrives_whole(OCTETS, address.format(2), other.call, run_here)
        finally:
            other.call(lambda: far_side.__exit__(None, None, None))
    assert (near.has_offloads, far.has_offloads) == (here, there)
    assert max(map(len, one.read)) == MTU
    assert bool(one.rows) == here
    assert far.dropped_packets == 0  # whereas a sender may find the queue full
    for packet in one.read[:: len(one.read) // 50]:
        assert packet == rebuilt(packet)
    # What is joined is what makes it fast.
    assert two.writes < two.packets / 2


@in_namespace
def test_a_device_with_a_large_mtu_leaves_it_to_the_machine() -> None:
    """Hearing of the MTU is enough; packets still have a vnet header before them."""
    needs_tun()
    with (
        NamespaceThread() as other,
        LinuxTunUp("10.9.0.1/24", True) as near,
    ):
        far_side = LinuxTunUp("10.9.0.2/24", True)
        far: LinuxTun = other.call(far_side.__enter__)
        for device in (near, far):
            device.fit(LARGE_MTU)
        one, two = Watched(near), Watched(far)
        try:
            with joined(one, two):
                arrives_whole(OCTETS // 4, "10.9.0.2", other.call, run_here)
        finally:
            other.call(lambda: far_side.__exit__(None, None, None))
    assert near.has_offloads
    assert max(map(len, one.read)) == MTU
    assert one.rows == 0
    assert near.dropped_packets == far.dropped_packets == 0


def rebuilt(packet: bytes) -> bytes:
    """The same packet with all lengths and checksums computed by scapy."""
    kind: Callable[..., IP | IPv6] = IP if packet[0] >> 4 == 4 else IPv6
    parsed = kind(packet)
    for layer, name in itertools.product(
        parsed.layers(), ("chksum", "len", "plen", "dataofs", "ihl")
    ):
        if name in parsed[layer].fields:
            delattr(parsed[layer], name)
    return bytes(parsed)
