"""Tunnel devices, in memory and real."""

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest
from pyroute2 import IPRoute
from scapy.layers.inet import IP, TCP

from iketcp.errors import EnvironmentProblem
from iketcp.net import tun as tun_module
from iketcp.net.routes import NetworkState
from iketcp.net.tun import LARGE_MTU, LinuxTun, MemoryTun, TunDevice
from iketcp.net.wake import Wake
from iketcp.offload.fair_queue import QUANTUM, FairQueue
from iketcp.offload.rows import PacketRows
from namespaces import (
    NamespaceThread,
    in_namespace,
    require_or_skip,
    tun_obstacle,
)

PATIENCE_SECONDS = 20.0
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}


@pytest.fixture
def memory() -> Iterator[MemoryTun]:
    device = MemoryTun()
    yield device
    device.close()


def needs_tun() -> None:
    require_or_skip(not tun_obstacle(), tun_obstacle())


def is_readable(fd: int, timeout_seconds: float = 0.0) -> bool:
    return bool(select.select([fd], [], [], timeout_seconds)[0])


# --- in memory --------------------------------------------------------------------


def test_memory_keeps_packet_boundaries(memory: MemoryTun) -> None:
    """Each packet is one read, in order, and a batch takes no more than asked."""
    sent = [bytes([number]) * (20 + number) for number in range(70)]
    assert all(memory.inject(packet) for packet in sent)
    assert is_readable(memory.fileno())
    assert memory.read_batch(64) == sent[:64]
    assert memory.read_batch(3) == sent[64:67]
    assert memory.read_batch(10) == sent[67:]
    assert memory.read_batch() == []
    assert not is_readable(memory.fileno())


def test_memory_delivers_what_is_written(memory: MemoryTun) -> None:
    """What the tunnel writes is collected packet by packet."""
    packets = [b"one", b"three", b"fifteen"]
    memory.write_batch(packets)
    assert memory.collect(2) == packets[:2]
    assert memory.collect(timeout_seconds=PATIENCE_SECONDS) == packets[2:]
    assert memory.collect() == []


def test_memory_drops_what_nobody_collects(memory: MemoryTun) -> None:
    """A full device drops and counts, and neither blocks nor raises."""
    packets = [bytes(1400)] * 20000
    memory.write_batch(packets)
    collected = 0
    while batch := memory.collect(1000):
        collected += len(batch)
    assert collected > 0
    assert memory.dropped_packets == len(packets) - collected > 0


def test_memory_refuses_what_nobody_reads(memory: MemoryTun) -> None:
    """The machine's side learns that the tunnel is full."""
    accepted = 0
    while memory.inject(bytes(1400)):
        accepted += 1
    assert 0 < accepted < 20000
    assert len(memory.read_batch(20000)) == accepted
    assert memory.inject(b"again")


def test_patient_memory_loses_nothing() -> None:
    """With patience a slow collector gets every packet in the end."""
    device = MemoryTun(patience_seconds=PATIENCE_SECONDS)
    packets = [struct.pack("!I", number) + bytes(1400) for number in range(3000)]
    writer = threading.Thread(target=device.write_batch, args=(packets,))
    writer.start()
    collected: list[bytes] = []
    while len(collected) < len(packets):
        batch = device.collect(timeout_seconds=PATIENCE_SECONDS)
        assert batch, "the writer gave up"
        collected += batch
    writer.join()
    device.close()
    assert collected == packets
    assert device.dropped_packets == 0


@pytest.mark.parametrize("patience_seconds", [0.0, 1.0])
def test_memory_after_close(patience_seconds: float) -> None:
    """Closing twice is fine; afterwards reading says so and writing drops."""
    device = MemoryTun("gone", patience_seconds)
    device.close()
    device.close()
    assert device.fileno() == -1
    with pytest.raises(EnvironmentProblem, match="gone is closed"):
        device.read_batch()
    device.write_batch([b"packet"])
    assert device.dropped_packets == 1
    assert not device.inject(b"packet")
    assert device.collect() == []


def test_close_waits_for_a_batch_in_progress(memory: MemoryTun) -> None:
    """No packet is written to a descriptor number that close has given back."""
    events: list[str] = []

    def close() -> None:
        memory.close()
        events.append("closed")

    closer = threading.Thread(target=close)

    def packets() -> Iterator[bytes]:
        yield b"first"
        closer.start()
        closer.join(0.05)
        events.append("last packet")
        yield b"last"

    memory.write_batch(packets())
    closer.join()
    assert events == ["last packet", "closed"]
    assert memory.dropped_packets == 0


def test_memory_is_a_tun_device(memory: MemoryTun) -> None:
    """Both devices have the shape the threads ask for."""
    device: TunDevice = memory
    assert device.name in repr(device)


def test_devices_give_their_descriptors_back() -> None:
    """No file descriptor is left after close."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        MemoryTun().close()
    assert len(os.listdir("/proc/self/fd")) == before


# --- problems ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (2, "no /dev/net/tun"),
        (1, "CAP_NET_ADMIN"),
        (13, "CAP_NET_ADMIN"),
        (16, "choose another name"),
        (22, "Invalid argument"),
    ],
)
def test_problem_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    """Every way to be refused a device is one sentence with advice."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pytun.TunTapDevice", refuse)
    with pytest.raises(EnvironmentProblem, match=advice):
        LinuxTun("t0")


def test_impossible_name() -> None:
    """A name beyond 15 octets is refused with a sentence."""
    with pytest.raises(EnvironmentProblem, match="too long"):
        LinuxTun("a-name-beyond-fifteen-octets")


# --- the real device --------------------------------------------------------------


@in_namespace
def test_linux_device_comes_and_goes() -> None:
    """A device has its name and MTU while open, is non-blocking, and goes on close."""
    needs_tun()
    before = len(os.listdir("/proc/self/fd"))
    device = LinuxTun("iketcp%d", 1380)
    assert device.name == "iketcp0"
    assert "iketcp0" in {name for _, name in socket.if_nameindex()}
    assert not os.get_inheritable(device.fileno())
    assert device.read_batch() == []
    with pytest.raises(EnvironmentProblem, match="in use"):
        LinuxTun(device.name)
    device.close()
    device.close()
    assert "iketcp0" not in {name for _, name in socket.if_nameindex()}
    assert len(os.listdir("/proc/self/fd")) == before


@in_namespace
def test_linux_mtu_is_set_or_refused() -> None:
    """The MTU is set; one that no device takes is a sentence and leaves no device."""
    needs_tun()
    device = LinuxTun("t0", 1380)
    with IPRoute(groups=0) as netlink:
        assert netlink.link("get", ifname="t0")[0].get("mtu") == 1380
    device.close()
    with pytest.raises(EnvironmentProblem, match="MTU of 12 octets"):
        LinuxTun("t1", 12)
    assert "t1" not in {name for _, name in socket.if_nameindex()}


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_one_bad_packet_hurts_no_other(offloads: bool) -> None:
    """What is no IP packet is dropped and counted; the packet after it arrives."""
    needs_tun()
    with LinuxTunUp("10.9.0.1/24", offloads) as device:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("10.9.0.1", 4000))
            receiver.settimeout(PATIENCE_SECONDS)
            good = udp_packet("10.9.0.2", "10.9.0.1", 4000, b"good")
            device.write_batch([b"", b"\x00", b"\x11not IP", bytes(70000), good])
            assert receiver.recv(100) == b"good"
        assert device.dropped_packets == 4


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_packets_to_a_device_that_is_down_are_dropped(offloads: bool) -> None:
    """A device that is down takes nothing, which is no error."""
    needs_tun()
    device = LinuxTun("t0", offloads=offloads)
    device.write_batch([udp_packet("10.9.0.2", "10.9.0.1", 4000, b"")] * 3)
    assert device.dropped_packets == 3
    assert device.read_batch() == []
    device.close()


@pytest.mark.parametrize("mtu", [1500, LARGE_MTU])
@in_namespace
def test_every_packet_of_a_refused_segment_counts(mtu: int) -> None:
    """Joined or not, from one read of the peer's stream or several."""
    needs_tun()
    device = LinuxTun("t0", mtu)
    header = IP(src="10.9.0.2", dst="10.9.0.1", flags="DF")
    packets = [
        bytes(header / TCP(sport=1, dport=2, seq=100 * n, flags="A") / bytes(100))
        for n in range(20)
    ]
    device.write_batch(packets[:9])
    assert device.dropped_packets == 9
    device.write_batch(PacketRows.of(packets))
    assert device.dropped_packets == 29
    device.close()


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_a_device_removed_by_others_is_noticed(offloads: bool) -> None:
    """Reading and writing say that the device is gone, so that no loop spins."""
    needs_tun()
    device = LinuxTun("t0", offloads=offloads)
    with IPRoute(groups=0) as netlink:
        netlink.link("del", ifname="t0")
    with pytest.raises(EnvironmentProblem, match="t0 is gone"):
        device.read_batch()
    with pytest.raises(EnvironmentProblem, match="t0 is gone"):
        device.write_batch([udp_packet("10.9.0.2", "10.9.0.1", 4000, b"")])
    device.close()


def from_bulk_and_small(offloads: bool) -> tuple[list[bytes], int]:
    """Send a hundred large packets and a small one; what is read, and what is lost.

    Returns the payload of each: large ones begin with their number.
    """
    with (
        LinuxTunUp("10.9.0.1/24", offloads) as device,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for number in range(100):
            sender.sendto(bytes([number]) * 1300, ("10.9.0.2", 4000))
        sender.sendto(b"small", ("10.9.0.3", 4000))
        # an IPv6 stack may have something to say as well
        packets = [p for p in device.read_batch(200) if p[0] == 0x45]
        return [packet[28:] for packet in packets], device.dropped_packets


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_a_small_packet_goes_before_a_bulk(offloads: bool) -> None:
    """It waits for one turn of the other flow at most, whose order stays."""
    needs_tun()
    payloads, dropped = from_bulk_and_small(offloads)
    assert payloads.index(b"small") <= QUANTUM // 1300 + 1
    payloads.remove(b"small")
    assert [payload[0] for payload in payloads] == list(range(100))
    assert dropped == 0


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_what_is_too_much_to_read_is_counted(offloads: bool) -> None:
    """The flow that has most waiting loses its oldest packets."""
    needs_tun()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tun_module, "FairQueue", lambda _: FairQueue(60 * 1328))
        payloads, dropped = from_bulk_and_small(offloads)
    assert b"small" in payloads
    payloads.remove(b"small")
    assert 0 < len(payloads) < 60
    assert [payload[0] for payload in payloads] == list(range(dropped, 100))


@pytest.mark.parametrize("offloads", [True, False])
@in_namespace
def test_a_batch_of_large_packets_ends_early(offloads: bool) -> None:
    """Or what is small and comes meanwhile would wait for all of it."""
    needs_tun()
    with (
        LinuxTunUp("10.9.0.1/24", offloads, 65000) as device,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for _ in range(12):
            sender.sendto(bytes(50000), ("10.9.0.2", 4000))
        batches = [device.read_batch() for _ in range(3)]
    counts = [sum(len(p) > 50000 for p in batch) for batch in batches]
    assert counts == [6, 6, 0]


@in_namespace
def test_close_during_traffic() -> None:
    """Closing while another thread writes ends in drops, never in a stray write."""
    needs_tun()
    with LinuxTunUp("10.9.0.1/24") as device:
        packet = udp_packet("10.9.0.2", "10.9.0.1", 4000, bytes(1000))
        started = threading.Event()

        def write() -> None:
            while device.fileno() >= 0:
                device.write_batch([packet] * 64)
                started.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert started.wait(PATIENCE_SECONDS)
        device.close()
        writer.join(PATIENCE_SECONDS)
        assert not writer.is_alive()


@pytest.mark.parametrize(
    ("near", "far"),
    [("10.9.0.1/24", "10.9.0.2/24"), ("fd00:9::1/64", "fd00:9::2/64")],
)
def test_ping_through_two_devices(near: str, far: str) -> None:
    """An echo request passes two devices in two namespaces, and the reply comes back.

    near namespace -- t0 =(pumped by threads)= t1 -- far namespace
    """
    ping = in_namespace(ping_through_two_devices)
    ping(near, far)


def ping_through_two_devices(near: str, far: str) -> None:
    needs_tun()
    stop = Wake()
    with NamespaceThread() as other, LinuxTunUp(near) as here:
        far_side = LinuxTunUp(far)
        there = other.call(far_side.__enter__)
        pumps = [
            threading.Thread(target=pump, args=(*ends, stop))
            for ends in ((here, there), (there, here))
        ]
        for thread in pumps:
            thread.start()
        try:
            for sequence in range(5):
                assert echo(near, far, sequence)
        finally:
            stop.set()
            for thread in pumps:
                thread.join()
            stop.close()
            other.call(lambda: far_side.__exit__(None, None, None))
    assert threading.active_count() == 1


def pump(source: TunDevice, sink: TunDevice, stop: Wake) -> None:
    while not stop.is_set():
        select.select([source.fileno(), stop.fileno()], [], [])
        sink.write_batch(source.read_batch())


def echo(near: str, far: str, sequence: int) -> bool:
    """Send one echo request and wait for its reply, whose payload must be the same."""
    version = ip_interface(near).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    payload = os.urandom(1000)
    header = struct.pack("!BBHHH", ECHO_REQUEST[version], 0, 0, 77, sequence)
    checksum = internet_checksum(header + payload)
    request = header[:2] + struct.pack("!H", checksum) + header[4:] + payload
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(PATIENCE_SECONDS)
        raw.sendto(request, (str(ip_interface(far).ip), 0))
        while True:
            message = raw.recv(65535)
            # A raw IPv4 socket delivers the IP header too.
            icmp = message[(message[0] & 15) * 4 :] if version == 4 else message
            if icmp[0] == ECHO_REPLY[version] and icmp[6:8] == request[6:8]:
                return icmp[8:] == payload


class LinuxTunUp:
    """A device that is up and has an address, for as long as the block runs."""

    def __init__(self, address: str, offloads: bool = True, mtu: int = 1400) -> None:
        self.address = ip_interface(address)
        self.offloads = offloads
        self.mtu = mtu

    def __enter__(self) -> LinuxTun:
        self.device = LinuxTun("t%d", self.mtu, self.offloads)
        self.state = NetworkState()
        self.state.set_up(self.device.name)
        self.state.add_address(self.device.name, self.address)
        return self.device

    def __exit__(self, *_: object) -> None:
        assert self.state.close() == []
        self.device.close()


def internet_checksum(octets: bytes) -> int:
    octets += bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(source: str, destination: str, port: int, payload: bytes) -> bytes:
    """An IPv4 UDP packet without a UDP checksum."""
    udp = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0),
        socket.inet_aton(source),
        socket.inet_aton(destination),
    )
    checksum = internet_checksum(header)
    return header[:10] + struct.pack("!H", checksum) + header[12:] + udp
