"""Wires between the network namespaces of a test, addresses and routes for them."""

import os
from pathlib import Path

from pyroute2 import IPRoute

from namespaces import NamespaceThread


def lay_wire(here: str, there: str, other: NamespaceThread) -> None:
    """Make a pair of devices: one in the caller's namespace, one in another's."""
    namespace = other.call(
        lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    )
    try:
        with IPRoute(groups=0) as netlink:
            netlink.link("add", ifname=here, kind="veth", peer={"ifname": there})
            (index,) = netlink.link_lookup(ifname=there)
            netlink.link("set", index=index, net_ns_fd=namespace)
    finally:
        os.close(namespace)


def configure(devices: dict[str, tuple[str, ...]]) -> None:
    """Give devices their addresses, usable at once, and bring them up."""
    with IPRoute(groups=0) as netlink:
        for name, interfaces in devices.items():
            (index,) = netlink.link_lookup(ifname=name)
            for interface in interfaces:
                address, _, prefix = interface.partition("/")
                flags = {"flags": 2} if ":" in address else {}  # no search for others
                netlink.addr(
                    "add", index=index, address=address, prefixlen=int(prefix), **flags
                )
            netlink.link("set", index=index, state="up")


def route_everything(device: str, gateways: tuple[str, ...]) -> None:
    """Send everything by a gateway, one for each IP version."""
    with IPRoute(groups=0) as netlink:
        (index,) = netlink.link_lookup(ifname=device)
        for gateway in gateways:
            everything = "::/0" if ":" in gateway else "0.0.0.0/0"
            netlink.route("add", dst=everything, gateway=gateway, oif=index)


def forward(is_router: bool = True) -> None:
    """Let the caller's namespace be a router, or none any more."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text(f"{is_router:d}")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text(f"{is_router:d}")


def take_down(device: str) -> None:
    """Let a device carry nothing any more."""
    with IPRoute(groups=0) as netlink:
        (index,) = netlink.link_lookup(ifname=device)
        netlink.link("set", index=index, state="down")
