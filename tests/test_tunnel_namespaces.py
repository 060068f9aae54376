"""Two real processes in two network namespaces: the tunnel as the machine sees it.

::

    west: iketcp initiator                            east: iketcp responder
    192.0.2.1, 2001:db8::1   wire0 ========= wire1    192.0.2.2, 2001:db8::2
    10.9.0.x, 2001:db8:9::x   iketcp0 - - - - iketcp0  10.1.0.1, 2001:db8:1::1

East also has 203.0.113.1 and 2001:db8:ffff::1, which stand for the rest of the world.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from namespaces import (
    NamespaceThread,
    require_or_skip,
    run_in_namespace,
    tun_obstacle,
)
from peer_support import (
    PATIENCE_SECONDS,
    Process,
    die_with_parent,
    eventually,
    write_secret,
)

OUTER_WEST = ("192.0.2.1/24", "2001:db8::1/64")
OUTER_EAST = ("192.0.2.2/24", "2001:db8::2/64")
WORLD = ("203.0.113.1/32", "2001:db8:ffff::1/128")
INNER_EAST = {4: "10.1.0.1", 6: "2001:db8:1::1"}
OUTER = {4: "192.0.2.2", 6: "2001:db8::2"}

RESPONDER = """\
[local]
identity = "@gw.example"
psk_file = "psk"
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
[[child]]
name = "net"
local_ts = {local_ts}
remote_ts = ["10.9.0.0/16", "2001:db8:9::/48"]
assigned = true
[pool]
networks = {pool}
dns = ["10.1.0.53", "2001:db8:1::53"]
[tun]
{tun}
addresses = ["10.1.0.1/24", "2001:db8:1::1/64"]
[control]
socket = "none"
"""

INITIATOR = """\
[local]
identity = "@laptop.example"
psk_file = "psk"
[remote]
identity = "@gw.example"
address = "{address}"
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
request_addresses = ["ipv4", "ipv6"]
{ike}
[[child]]
name = "net"
remote_ts = {remote_ts}
assigned = true
[transport]
reconnect_first = "50ms"
reconnect_max = "100ms"
[tun]
resolv_conf = "resolv.conf"
{tun}
[control]
socket = "none"
"""

SITE = '["10.1.0.0/24", "2001:db8:1::/64"]'
EVERYTHING = '["0.0.0.0/0", "::/0"]'
POOL = '["10.9.0.0/24", "2001:db8:9::/64"]'
OTHER_POOL = '["10.9.1.0/24", "2001:db8:9:1::/64"]'

RESOLV_CONF = "# mine\nnameserver 192.0.2.53\n"

IP_MTU, IPV6_MTU = 14, 24
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
MTU_OF_SOCKET = {4: (socket.IPPROTO_IP, IP_MTU), 6: (socket.IPPROTO_IPV6, IPV6_MTU)}
ALWAYS_DISCOVER = 2


class Stage:
    """Two namespaces and a wire: this thread's is west, another thread's is east."""

    def __init__(self, east: NamespaceThread, folder: Path) -> None:
        self.folder = folder
        self._east = east
        self._processes: list[Process] = []
        namespace = east.call(
            lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        )
        with IPRoute(groups=0) as netlink:
            netlink.link("add", ifname="wire0", kind="veth", peer={"ifname": "wire1"})
            (index,) = netlink.link_lookup(ifname="wire1")
            netlink.link("set", index=index, net_ns_fd=namespace)
        os.close(namespace)
        east.call(functools.partial(_configure, {"wire1": OUTER_EAST, "lo": WORLD}))
        _configure({"lo": (), "wire0": OUTER_WEST})
        with IPRoute(groups=0) as netlink:
            (index,) = netlink.link_lookup(ifname="wire0")
            netlink.route("add", dst="0.0.0.0/0", gateway="192.0.2.2")
            netlink.route("add", dst="::/0", gateway="2001:db8::2", oif=index)
        write_secret(folder)
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(RESOLV_CONF)

    def responder(
        self, local_ts: str = SITE, pool: str = POOL, tun: str = ""
    ) -> Process:
        """Start the responder in the east, and wait until it listens."""
        path = self.folder / "responder.toml"
        path.write_text(RESPONDER.format(local_ts=local_ts, pool=pool, tun=tun))
        process = self._east.call(lambda: Process("responder", "-c", path))
        self._processes.append(process)
        process.wait_for("tunnel-device")
        return process

    def initiator(
        self, version: int = 4, remote_ts: str = SITE, ike: str = "", tun: str = ""
    ) -> Process:
        """Start the initiator in the west."""
        path = self.folder / "initiator.toml"
        text = INITIATOR.format(
            address=OUTER[version], remote_ts=remote_ts, ike=ike, tun=tun
        )
        path.write_text(text)
        process = Process("initiator", "-c", path)
        self._processes.append(process)
        return process

    def start(self, role: str, text: str) -> Process:
        """Start a peer with a configuration of its own, a responder in the east."""
        path = self.folder / f"{role}.toml"
        path.write_text(text)
        is_east = role == "responder"
        if is_east:
            process = self._east.call(lambda: Process(role, "-c", path))
        else:
            process = Process(role, "-c", path)
        self._processes.append(process)
        process.wait_for("tunnel-device" if is_east else "child-sa-installed")
        return process

    def in_the_east(self, function: Callable[[], Any]) -> Any:
        """Run a function in the east."""
        return self._east.call(function)

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self._processes:
            process.child.kill()
            process.child.communicate()


def _configure(devices: dict[str, tuple[str, ...]]) -> None:
    with IPRoute(groups=0) as netlink:
        for name, interfaces in devices.items():
            (index,) = netlink.link_lookup(ifname=name)
            for interface in interfaces:
                address, _, prefix = interface.partition("/")
                flags = {"flags": 2} if ":" in address else {}
                netlink.addr(
                    "add", index=index, address=address, prefixlen=int(prefix), **flags
                )
            netlink.link("set", index=index, state="up")


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Build the stage, and leave no process behind."""
    with NamespaceThread() as east:
        built = Stage(east, folder)
        try:
            yield built
        finally:
            built.end()


def on_stage(function: Callable[..., None]) -> Callable[..., None]:
    """Make a test run on a stage of its own, in a child process."""

    @functools.wraps(function)
    def test(tmp_path: Path, **parameters: Any) -> None:
        require_or_skip(not tun_obstacle(), tun_obstacle())
        require_or_skip(shutil.which("ping") is not None, "there is no ping program")

        def play() -> None:
            with stage(tmp_path) as built:
                function(built, **parameters)

        run_in_namespace(play)

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest reads the signature
    test.__signature__ = _signature(function)  # type: ignore[attr-defined]
    return test


def _signature(function: Callable[..., None]) -> Any:
    """``tmp_path`` instead of the stage; the other parameters as they are."""
    signature = inspect.signature(function)
    _, *others = signature.parameters.values()
    first = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[first, *others])


# --- what is looked at ----------------------------------------------------------------


def ping(address: str) -> None:
    """Send two echo requests and want two answers."""
    done = subprocess.run(
        ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "10", address],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        preexec_fn=die_with_parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 received" in done.stdout


def transfer(built: Stage, address: str, octets: bytes) -> str:
    """Send octets over TCP to the east; return the hash of what arrived there."""
    version = ip_address(address).version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    listener = built.in_the_east(
        lambda: socket.create_server((address, 9329), family=family)
    )
    digest = hashlib.sha256()

    def receive() -> None:
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE_SECONDS)
            while part := server.recv(65536):
                digest.update(part)

    with listener:
        listener.settimeout(PATIENCE_SECONDS)
        receiver = threading.Thread(target=receive)
        receiver.start()
        with socket.create_connection((address, 9329), PATIENCE_SECONDS) as client:
            client.sendall(octets)
        receiver.join()
    return digest.hexdigest()


def photograph() -> list[str]:
    """Devices, addresses and routes, as comparable text."""
    lines = []
    with IPRoute(groups=0) as netlink:
        for link in netlink.get_links():
            lines.append(f"link {link.get('ifname')} {link.get('mtu')}")
        for address in netlink.get_addr():
            if not ip_address(address.get("address")).is_link_local:
                lines.append(f"address {address['index']} {address.get('address')}")
        for route in netlink.get_routes():
            destination = route.get("dst") or "default"
            if not destination.startswith(("fe80", "ff00")):
                lines.append(
                    f"route {destination}/{route['dst_len']} {route.get('oif')} "
                    f"{route.get('gateway')} {route['table']}"
                )
    return sorted(lines)


def addresses_of(device: str) -> set[str]:
    """Addresses of a device with their prefix lengths, link-local ones left out."""
    with IPRoute(groups=0) as netlink:
        (index,) = netlink.link_lookup(ifname=device)
        return {
            f"{each.get('address')}/{each['prefixlen']}"
            for each in netlink.get_addr(index=index)
            if not ip_address(each.get("address")).is_link_local
        }


def device_to(address: str) -> str:
    """Device that packets to an address take."""
    with IPRoute(groups=0) as netlink:
        return socket.if_indextoname(netlink.route("get", dst=address)[0].get("oif"))


def mtu_of(device: str) -> int:
    """MTU of a device."""
    with IPRoute(groups=0) as netlink:
        mtu: int = netlink.link("get", ifname=device)[0].get("mtu")
        return mtu


def ended(process: Process, number: int) -> None:
    """End a process by a signal, and want it to be content."""
    process.signal(number)
    code, errors = process.end()
    assert code == 0, errors
    assert "WARNING" not in errors
    assert "Traceback" not in errors


# --- scenes ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_both_ip_versions_in_both(built: Stage, version: int) -> None:
    """IPv4 and IPv6 in the tunnel, over IPv4 and over IPv6: echo and a transfer."""
    responder = built.responder()
    initiator = built.initiator(version)
    initiator.wait_for("child-sa-installed")
    octets = random.Random(version).randbytes(4 << 20)
    wanted = hashlib.sha256(octets).hexdigest()
    for address in INNER_EAST.values():
        assert device_to(address) == "iketcp0"
        ping(address)
        assert transfer(built, address, octets) == wanted
    ended(initiator, signal.SIGTERM)
    ended(responder, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@on_stage
def test_everything_assigned_is_restored(built: Stage, number: int) -> None:
    """Addresses, routes, MTU and DNS servers come and go. RFC 7296 §2.19"""
    before = photograph(), built.in_the_east(photograph)
    responder = built.responder()
    initiator = built.initiator()
    mtu = initiator.wait_for("child-sa-installed")["inner_mtu"]
    assert mtu_of("iketcp0") == mtu == 1438
    networks = [ip_network(network) for network in ("10.9.0.0/24", "2001:db8:9::/64")]
    assigned = [ip_interface(each) for each in addresses_of("iketcp0")]
    assert len(assigned) == 2
    assert all(any(each in network for each in assigned) for network in networks)
    assert built.resolv_conf.read_text().splitlines()[1:] == [
        "nameserver 10.1.0.53",
        "nameserver 2001:db8:1::53",
        "# mine",
    ]
    ended(initiator, number)
    assert photograph() == before[0]
    assert built.resolv_conf.read_text() == RESOLV_CONF
    ended(responder, number)
    assert built.in_the_east(photograph) == before[1]


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_everything_goes_into_the_tunnel(built: Stage, version: int) -> None:
    """Selectors for everything: all but the outer connection is tunnelled."""
    before = photograph()
    responder = built.responder(local_ts=EVERYTHING)
    initiator = built.initiator(version, remote_ts=EVERYTHING)
    initiator.wait_for("child-sa-installed")
    for interface in WORLD:
        address = interface.partition("/")[0]
        assert device_to(address) == "iketcp0"
        ping(address)
    assert device_to(OUTER[version]) == "wire0"
    ended(initiator, signal.SIGTERM)
    assert photograph() == before
    ended(responder, signal.SIGTERM)


@on_stage
def test_routes_of_our_own_choice(built: Stage) -> None:
    """``routes`` replaces the selectors; the peer's address stays outside as well."""
    responder = built.responder(local_ts=EVERYTHING)
    routes = 'routes = ["0.0.0.0/0"]'
    initiator = built.initiator(remote_ts=EVERYTHING, tun=routes)
    initiator.wait_for("child-sa-installed")
    assert device_to("203.0.113.1") == "iketcp0"
    assert device_to("2001:db8:ffff::1") == "wire0"
    assert device_to(OUTER[4]) == "wire0"
    ping("203.0.113.1")
    ended(initiator, signal.SIGTERM)
    ended(responder, signal.SIGTERM)


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_the_kernel_learns_the_inner_mtu(built: Stage, version: int) -> None:
    """Too large for the tunnel: the kernel believes our answer. [9329-6.8-df]"""
    responder = built.responder()
    initiator = built.initiator()
    inner_mtu = initiator.wait_for("child-sa-installed")["inner_mtu"]
    with IPRoute(groups=0) as netlink:  # somebody knows better
        netlink.link("set", index=socket.if_nametoindex("iketcp0"), mtu=1500)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    headers = 28 if version == 4 else 48
    receiver = built.in_the_east(lambda: socket.socket(family, socket.SOCK_DGRAM))
    with receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((INNER_EAST[version], 0))
        receiver.settimeout(PATIENCE_SECONDS)
        sender.setsockopt(*MTU_DISCOVER[version], ALWAYS_DISCOVER)
        sender.connect(receiver.getsockname()[:2])
        assert sender.getsockopt(*MTU_OF_SOCKET[version]) == 1500
        sender.send(bytes(1500 - headers))
        eventually(lambda: sender.getsockopt(*MTU_OF_SOCKET[version]) == inner_mtu)
        with contextlib.suppress(OSError):  # the error that came with the answer
            sender.send(b"")
        with pytest.raises(OSError, match="too long") as raised:
            sender.send(bytes(inner_mtu - headers + 1))
        assert raised.value.errno == errno.EMSGSIZE
        sender.send(bytes(inner_mtu - headers))
        while len(receiver.recv(2000)) != inner_mtu - headers:
            pass  # an empty one may have come before
    ended(initiator, signal.SIGTERM)
    ended(responder, signal.SIGTERM)


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_a_large_inner_mtu(built: Stage, version: int) -> None:
    """Who asks for it gets it over TCP: each packet is one frame. [9329-3-limit]"""
    mtu = 60000
    responder = built.responder(tun=f"mtu = {mtu}")
    initiator = built.initiator(tun=f"mtu = {mtu}")
    assert initiator.wait_for("child-sa-installed")["inner_mtu"] == mtu
    assert mtu_of("iketcp0") == mtu
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    receiver = built.in_the_east(lambda: socket.socket(family, socket.SOCK_DGRAM))
    payload = os.urandom(mtu - (28 if version == 4 else 48))
    with receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((INNER_EAST[version], 0))
        receiver.settimeout(PATIENCE_SECONDS)
        sender.setsockopt(*MTU_DISCOVER[version], ALWAYS_DISCOVER)
        sender.connect(receiver.getsockname()[:2])
        sender.send(payload)
        assert receiver.recv(mtu) == payload
    ended(initiator, signal.SIGTERM)
    ended(responder, signal.SIGTERM)


@on_stage
def test_a_responder_that_died_is_found_again(built: Stage) -> None:
    """Killed and started again, it knows nothing: a new IKE SA, a new address."""
    before = photograph()
    first = built.responder()
    initiator = built.initiator(ike='request_timeout = "1s"\nliveness = "1s"')
    initiator.wait_for("child-sa-installed")
    ping(INNER_EAST[4])
    old = addresses_of("iketcp0")
    first.signal(signal.SIGKILL)
    first.end()
    initiator.wait_for("connect-failed")
    second = built.responder(pool=OTHER_POOL)
    initiator.wait_for("ike-sa-closed", reason="no answer for 1 s")
    initiator.wait_for("child-sa-installed")
    for address in INNER_EAST.values():
        ping(address)
    new = addresses_of("iketcp0")
    assert len(new) == 2
    assert not old & new
    ended(second, signal.SIGTERM)
    initiator.wait_for("ike-sa-closed", reason="deleted by the peer")
    initiator.signal(signal.SIGTERM)
    code, _ = initiator.end()
    assert code == 0
    assert photograph() == before
    assert built.resolv_conf.read_text() == RESOLV_CONF


@on_stage
def test_a_device_that_disappears_ends_the_peer(built: Stage) -> None:
    """Somebody deletes the device: one sentence, exit code 1, nothing left."""
    before = photograph()
    responder = built.responder()
    initiator = built.initiator()
    initiator.wait_for("child-sa-installed")
    with IPRoute(groups=0) as netlink:
        netlink.link("del", ifname="iketcp0", index=socket.if_nametoindex("iketcp0"))
    code, errors = initiator.end()
    assert code == 1
    assert errors.splitlines()[-1].startswith(
        "iketcp: tunnel device iketcp0 is gone"
    ), errors
    assert "Traceback" not in errors
    assert photograph() == before
    assert built.resolv_conf.read_text() == RESOLV_CONF
    ended(responder, signal.SIGTERM)


@on_stage
def test_a_device_name_that_is_taken(built: Stage) -> None:
    """Two peers on one machine need two names: the second one says so."""
    initiator = built.initiator()
    initiator.wait_for("tunnel-device")
    other = built.initiator()
    code, errors = other.end()
    assert (code, errors) == (
        2,
        "iketcp: tunnel device iketcp0 is in use already; choose another name\n",
    )
    ended_connecting(initiator)


def ended_connecting(initiator: Process) -> None:
    """End an initiator that found nobody."""
    initiator.signal(signal.SIGTERM)
    code, errors = initiator.end()
    assert code == 0, errors
