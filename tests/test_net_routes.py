"""Addresses and routes in a namespace: made, restored, and refused with a reason."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pyroute2 import IPRoute

from iketcp.errors import EnvironmentProblem
from iketcp.net.routes import FlowRule, NetworkState, path_mtu
from iketcp.net.socket_options import is_ecn_negotiated
from namespaces import CLONE_NEWUSER, in_namespace, unshare
from peer_support import eventually

WAN = "wan0"
TUNNEL = "tunnel0"


@contextmanager
def network() -> Iterator[Any]:
    """A machine with a gateway at 192.0.2.1 and 2001:db8::1 and a device for a tunnel.

    Both devices are of the kernel's ``dummy`` or ``veth`` kind: no driver is needed.
    """
    with IPRoute(groups=0) as netlink:
        netlink.link("set", ifname="lo", state="up", index=1)
        for name, peer in ((WAN, "wan1"), (TUNNEL, "tunnel1")):
            netlink.link("add", ifname=name, kind="veth", peer=peer)
            for end in (name, peer):
                netlink.link("set", ifname=end, index=index_of(end), state="up")
        wan = index_of(WAN)
        netlink.addr("add", index=wan, address="192.0.2.7", prefixlen=24)
        netlink.addr("add", index=wan, address="2001:db8::7", prefixlen=64, flags=2)
        netlink.route("add", dst="0.0.0.0/0", gateway="192.0.2.1")
        netlink.route("add", dst="::/0", gateway="2001:db8::1", oif=wan)
        # the kernel makes an IPv6 address usable in its own time
        eventually(
            lambda: any("2001:db8::7/128" in line for line in photograph(netlink))
        )
        yield netlink


def index_of(device: str) -> int:
    return socket.if_nametoindex(device)


def photograph(netlink: Any) -> list[str]:
    """Everything this floor may change, as comparable text."""
    lines = []
    for link in netlink.get_links():
        flags = link["flags"] & 1
        lines.append(f"link {link.get('ifname')} {link.get('mtu')} {flags}")
    for address in netlink.get_addr():
        # The kernel brings link-local addresses of its own as links come up.
        if not ip_address(address.get("address")).is_link_local:
            lines.append(
                f"address {address['index']} {address.get('address')}"
                f"/{address['prefixlen']}"
            )
    for route in netlink.get_routes():
        destination = route.get("dst") or "default"
        if not destination.startswith(("fe80", "ff00")):
            lines.append(
                f"route {destination}/{route['dst_len']} {route.get('oif')} "
                f"{route.get('gateway')} {route.get('priority')} {route['table']}"
            )
    return sorted(lines)


def found(netlink: Any, destination: str) -> tuple[int, str | None]:
    """Device and gateway that packets to a destination take."""
    route = netlink.route("get", dst=destination)[0]
    return route.get("oif"), route.get("gateway")


def rules_of(netlink: Any) -> list[tuple[Any, ...]]:
    """Rules for packets to some host: what they look at, and where they lead."""
    names = ("priority", "table", "ip_proto", "sport_range", "dport_range")
    families = (socket.AF_INET, socket.AF_INET6)
    found = [rule for each in families for rule in netlink.get_rules(family=each)]
    return [
        (rule.get("dst"), *(rule.get(name) for name in names))
        for rule in found
        if rule.get("dst")
    ]


@in_namespace
def test_rules_are_there_until_the_end() -> None:
    """RFC 4301 §4.4.1: by protocol and ports, to one host, and each once."""
    with network() as netlink, NetworkState() as state:
        for peer, source in (
            ("192.0.2.1", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::7"),
        ):
            host = ip_address(peer)
            state.add_route(
                ip_network(peer), TUNNEL, table=4500, source=ip_address(source)
            )
            rule = FlowRule(host, 4500, 4500, 17, None, (1701, 1702))
            state.add_rule(rule)
            state.add_rule(rule)
            state.add_rule(FlowRule(host, 4499, 254, 6, (4500, 4500)))
        assert rules_of(netlink) == [
            (peer, *rest)
            for peer in ("192.0.2.1", "2001:db8::1")
            for rest in (
                (4499, 254, 6, "4500:4500", None),
                (4500, 4500, 17, None, "1701:1702"),
            )
        ]
        assert state.close() == []
        assert rules_of(netlink) == []


@in_namespace
def test_everything_is_restored() -> None:
    """Whatever was added, set or brought up is as before after close, newest first."""
    with network() as netlink:
        netlink.link("set", index=index_of(TUNNEL), state="down")
        before = photograph(netlink)
        with NetworkState() as state:
            state.set_mtu(TUNNEL, 1380)
            state.set_mtu(TUNNEL, 1390)
            state.set_up(TUNNEL)
            state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
            state.add_address(TUNNEL, ip_interface("fd00:9::1/64"))
            assert state.pin_route_to(ip_address("203.0.113.9"))
            assert state.pin_route_to(ip_address("2001:db8:1::9"))
            for text in ("0.0.0.0/0", "::/0", "10.77.0.0/16", "fd00:77::/32"):
                state.add_route(ip_network(text), TUNNEL)
            tunnel, wan = index_of(TUNNEL), index_of(WAN)
            assert netlink.link("get", index=tunnel)[0].get("mtu") == 1390
            assert found(netlink, "198.51.100.1") == (tunnel, None)
            assert found(netlink, "2001:db8:2::1") == (tunnel, None)
            assert found(netlink, "fd00:77::1") == (tunnel, None)
            assert found(netlink, "203.0.113.9") == (wan, "192.0.2.1")
            assert found(netlink, "2001:db8:1::9") == (wan, "2001:db8::1")
        assert photograph(netlink) == before


@in_namespace
def test_close_is_idempotent_and_final() -> None:
    """A second close does nothing, and nothing can be added after the first."""
    with network() as netlink:
        before = photograph(netlink)
        state = NetworkState()
        state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        assert state.close() == []
        assert state.close() == []
        for change in (
            lambda: state.set_mtu(TUNNEL, 1300),
            lambda: state.add_address(TUNNEL, ip_interface("10.9.0.1/24")),
            lambda: state.add_route(ip_network("10.77.0.0/16"), TUNNEL),
            lambda: state.pin_route_to(ip_address("203.0.113.9")),
        ):
            with pytest.raises(EnvironmentProblem, match="shutting down"):
                change()
        assert photograph(netlink) == before


@in_namespace
def test_things_already_gone_are_no_problem() -> None:
    """Close goes on when the device, or one route, has vanished meanwhile."""
    with network() as netlink:
        before = photograph(netlink)
        state = NetworkState()
        state.set_mtu(TUNNEL, 1380)
        state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        state.add_route(ip_network("10.77.0.0/16"), TUNNEL)
        state.add_route(ip_network("10.78.0.0/16"), TUNNEL)
        state.pin_route_to(ip_address("203.0.113.9"))
        netlink.route("del", dst="10.78.0.0/16", oif=index_of(TUNNEL))
        netlink.route("del", dst="203.0.113.9/32")
        assert state.close() == []
        assert photograph(netlink) == before
        state = NetworkState()
        state.set_mtu(TUNNEL, 1380)
        state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        state.add_route(ip_network("10.77.0.0/16"), TUNNEL)
        netlink.link("del", index=index_of(TUNNEL))
        assert state.close() == []
        assert [line for line in before if "tunnel" not in line] == photograph(netlink)


@in_namespace
def test_what_was_there_before_stays() -> None:
    """An address or state that others set up is neither refused nor removed."""
    with network() as netlink:
        tunnel = index_of(TUNNEL)
        netlink.addr("add", index=tunnel, address="10.9.0.1", prefixlen=24)
        before = photograph(netlink)
        with NetworkState() as state:
            state.set_up(TUNNEL)
            state.set_mtu(TUNNEL, 1500)
            state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
            assert photograph(netlink) == before
        assert photograph(netlink) == before


@in_namespace
def test_the_same_thing_twice_is_done_once() -> None:
    """Adding again what we added is no error and leaves one undo."""
    with network() as netlink:
        before = photograph(netlink)
        with NetworkState() as state:
            for _ in range(2):
                state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
                state.add_route(ip_network("10.77.0.0/16"), TUNNEL, metric=5)
            assert state.pin_route_to(ip_address("203.0.113.9"))
            assert not state.pin_route_to(ip_address("203.0.113.9"))
        assert photograph(netlink) == before


@in_namespace
def test_route_takes_metric_and_mtu() -> None:
    """The metric separates two routes, and the MTU of a route is the path's."""
    with network() as netlink, NetworkState() as state:
        state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        state.add_route(ip_network("10.77.0.0/16"), WAN, metric=20)
        state.add_route(ip_network("10.77.0.0/16"), TUNNEL, metric=10, mtu=1300)
        assert found(netlink, "10.77.0.1")[0] == index_of(TUNNEL)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.77.0.1", 9))
            assert path_mtu(probe) == 1300


@in_namespace
def test_undo_goes_backwards() -> None:
    """What was done last is undone first."""
    order: list[int] = []
    state = NetworkState()

    def note(number: int, _: object) -> None:
        order.append(number)

    for number in range(4):
        state._undo[number,] = ("count", partial(note, number))
    assert state.close() == []
    assert order == [3, 2, 1, 0]


@in_namespace
def test_an_unexpected_failure_of_undo_is_told() -> None:
    """Close reports what it could not undo, and undoes the rest all the same."""
    with network() as netlink:
        before = photograph(netlink)
        state = NetworkState()
        state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        state._undo["bad",] = ("do the odd", lambda _: 1 // 0)
        assert state.close() == [
            "could not undo 'do the odd': integer division or modulo by zero"
        ]
        assert photograph(netlink) == before


# --- the peer's address ------------------------------------------------------------


@in_namespace
def test_no_pin_where_none_is_needed() -> None:
    """Not covered by the tunnel, our own, link-local, or pinned by others: no route."""
    with network() as netlink, NetworkState() as state:
        netlink.route("add", dst="203.0.113.10/32", gateway="192.0.2.1")
        before = photograph(netlink)
        away = [ip_network("10.0.0.0/8"), ip_network("::/0")]
        assert not state.pin_route_to(ip_address("203.0.113.9"), away)
        for text in ("192.0.2.7", "127.0.0.1", "::1", "fe80::1", "203.0.113.10"):
            assert not state.pin_route_to(ip_address(text))
        assert photograph(netlink) == before
        covering = [ip_network("203.0.113.0/24")]
        assert state.pin_route_to(ip_address("203.0.113.9"), covering)


@in_namespace
def test_pin_to_a_neighbour() -> None:
    """A peer on the same link is pinned to the device, without a gateway."""
    with network() as netlink, NetworkState() as state:
        assert state.pin_route_to(ip_address("192.0.2.99"))
        assert state.pin_route_to(ip_address("2001:db8::99"))
        state.add_route(ip_network("192.0.2.64/26"), TUNNEL)
        state.add_route(ip_network("2001:db8::/96"), TUNNEL)
        assert found(netlink, "192.0.2.99") == (index_of(WAN), None)
        assert found(netlink, "2001:db8::99") == (index_of(WAN), None)
        assert found(netlink, "192.0.2.98") == (index_of(TUNNEL), None)


@in_namespace
def test_pin_through_a_gateway_outside_every_prefix() -> None:
    """A gateway that only the default route knows to be on the link serves the pin."""
    with network() as netlink, NetworkState() as state:
        wan = index_of(WAN)
        netlink.route("del", dst="0.0.0.0/0", gateway="192.0.2.1")
        netlink.route("add", dst="0.0.0.0/0", gateway="198.51.100.1", oif=wan, flags=4)
        assert state.pin_route_to(ip_address("203.0.113.9"))
        state.add_route(ip_network("0.0.0.0/0"), TUNNEL)
        assert found(netlink, "203.0.113.9") == (wan, "198.51.100.1")


@in_namespace
def test_pin_through_a_gateway_of_the_other_family() -> None:
    """An IPv4 route by way of an IPv6 gateway is pinned as it is."""
    with network() as netlink, NetworkState() as state:
        wan = index_of(WAN)
        via = {"family": socket.AF_INET6, "addr": "2001:db8::1"}
        netlink.route("del", dst="0.0.0.0/0", gateway="192.0.2.1")
        netlink.route("add", dst="0.0.0.0/0", via=via, oif=wan)
        assert state.pin_route_to(ip_address("203.0.113.9"))
        state.add_route(ip_network("0.0.0.0/0"), TUNNEL)
        route = netlink.route("get", dst="203.0.113.9")[0]
        assert route.get("oif") == wan
        assert route.get("via")["addr"] == "2001:db8::1"


@in_namespace
def test_pin_comes_before_the_tunnel() -> None:
    """Once the tunnel covers the peer it is too late, and the problem says so."""
    with network(), NetworkState() as state:
        state.add_route(ip_network("0.0.0.0/0"), TUNNEL)
        with pytest.raises(EnvironmentProblem, match="already leads into the tunnel"):
            state.pin_route_to(ip_address("203.0.113.9"))


@in_namespace
def test_pin_without_any_route() -> None:
    """A peer that nobody knows the way to is a problem of the machine."""
    with NetworkState() as state, pytest.raises(EnvironmentProblem, match="reach"):
        state.pin_route_to(ip_address("203.0.113.9"))


# --- problems ----------------------------------------------------------------------


@in_namespace
def test_problems_are_sentences() -> None:
    """No device, a down device, a taken route, an impossible MTU: each says what."""
    with network() as netlink, NetworkState() as state:
        before = photograph(netlink)
        with pytest.raises(EnvironmentProblem, match="bring nosuch0 up: No such dev"):
            state.set_up("nosuch0")
        with pytest.raises(EnvironmentProblem, match="MTU of 10 octets"):
            state.set_mtu(WAN, 10)
        state.add_route(ip_network("10.77.0.0/16"), WAN, metric=7)
        with pytest.raises(EnvironmentProblem, match="choose another metric"):
            state.add_route(ip_network("10.77.0.0/16"), TUNNEL, metric=7)
        netlink.link("set", index=index_of(TUNNEL), state="down")
        with pytest.raises(EnvironmentProblem, match="bring the device up first"):
            state.add_route(ip_network("10.77.0.0/16"), TUNNEL)
        netlink.link("set", index=index_of(TUNNEL), state="up")
        assert state.close() == []
        assert photograph(netlink) == before


@in_namespace
def test_missing_privilege_is_a_sentence() -> None:
    """An ordinary user is told what to run as, and close has nothing to undo."""
    with network():
        try:
            os.setresuid(65534, 65534, 65534)
        except OSError:
            # Already in a user namespace: another one inside has no say outside.
            unshare(CLONE_NEWUSER)
        state = NetworkState()
        with pytest.raises(EnvironmentProblem, match="CAP_NET_ADMIN"):
            state.add_address(TUNNEL, ip_interface("10.9.0.1/24"))
        assert state.close() == []


@in_namespace
def test_nothing_is_left_open() -> None:
    """No descriptor and no thread is left, whichever threads made the changes."""
    with network():
        with NetworkState() as warm_up:
            warm_up.set_mtu(TUNNEL, 1400)
        before = len(os.listdir("/proc/self/fd"))
        state = NetworkState()
        threads = [
            threading.Thread(
                target=state.add_route, args=(ip_network(f"10.{n}.0.0/16"), TUNNEL)
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(state._undo) == 8
        assert state.close() == []
        assert len(os.listdir("/proc/self/fd")) == before
        assert threading.active_count() == 1


# --- path MTU and ECN ---------------------------------------------------------------


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_path_mtu_of_no_connection(family: int) -> None:
    """A socket that is not connected, or closed, has the usual path MTU."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        assert path_mtu(sock) == 1500
        assert not is_ecn_negotiated(sock)
    assert path_mtu(sock) == 1500
    assert not is_ecn_negotiated(sock)


@in_namespace
def test_path_mtu_of_a_connection() -> None:
    """The path MTU is the stack's, over either family and with mapped addresses."""
    with network() as netlink:
        netlink.link("set", index=1, mtu=1432)
        with socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ) as server:
            port = server.getsockname()[1]
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, port)) as near:
                    accepted, _ = server.accept()
                    with accepted:
                        assert path_mtu(near) == path_mtu(accepted) == 1432


@in_namespace
@pytest.mark.parametrize(("setting", "is_capable"), [("2", False), ("1", True)])
def test_ecn_follows_the_system(setting: str, is_capable: bool) -> None:
    """With the usual setting (answer, never ask) nothing is ECN-capable, §9.5."""
    with open("/proc/sys/net/ipv4/tcp_ecn", "w") as stream:
        stream.write(setting)
    with (
        network(),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        assert is_ecn_negotiated(near) is is_capable
