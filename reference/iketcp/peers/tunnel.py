"""The tunnel device of a peer, its addresses, its routes and its MTU.

What is changed on the machine is remembered and undone in reverse order at the end.

Source: RFC 4301 §4.4.1
Source: RFC 7296 §2.19
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_network,
    summarize_address_range,
)
from itertools import chain

from iketcp.child_sa import ChildSaParameters, TransportAddresses
from iketcp.config import Configuration
from iketcp.effects import ChildSaInstalled, ConfigurationAssigned
from iketcp.errors import EnvironmentProblem
from iketcp.ike.nat_detection import Path
from iketcp.net.resolver import ResolverFile
from iketcp.net.routes import NetworkState
from iketcp.net.tun import LinuxTun, MemoryTun, TunDevice
from iketcp.net.xfrm import XfrmInterface
from iketcp.peers import steering
from iketcp.selectors import TrafficSelector

Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

FIRST_MTU = 1400
"""Choice: MTU of the device until the first Child SA says better."""

MAX_ROUTES = 4096
"""Choice: networks routed into the tunnel at most."""

SMALLEST_MTU = 1280
"""Below this a device loses IPv6. Source: RFC 9329 §3 names no floor of its own."""


def networks_of(selectors: Iterable[TrafficSelector]) -> list[Network]:
    """Turn address ranges into the fewest networks that cover exactly them."""
    networks: dict[Network, None] = {}
    for selector in selectors:
        start, end = selector.start_address, selector.end_address
        for network in summarize_address_range(start, end):
            networks[network] = None
    return list(networks)


class Tunnel:
    """A tunnel device with what the configuration puts on it.

    Parameters
    ----------
    configuration : Configuration
        ``tun``, and the Traffic Selectors and pool for automatic routes.

    Raises
    ------
    EnvironmentProblem
        No such device, or no privilege for it.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._options = configuration.tun
        self._is_real = self._options.mode == "device"
        self._is_initiator_side = configuration.role == "initiator"
        self._lock = threading.Lock()
        self._state = NetworkState()
        self._assigned: dict[Interface, NetworkState] = {}
        self._resolver: ResolverFile | None = None
        self._mtu = self._options.mtu or 0
        self._routed: set[Network] = set()
        self.dns_servers: tuple[str, ...] = ()
        self.device: TunDevice
        name, mtu = self._options.name, self._mtu or FIRST_MTU
        if not self._is_real:
            self.device = MemoryTun(name)
        elif self._options.dataplane == "kernel":
            self.device = XfrmInterface(name, mtu)
        else:
            self.device = LinuxTun(name, mtu, self._options.offloads)

    @property
    def mtu(self) -> int:
        """The MTU of the device, in octets."""
        return self._mtu or FIRST_MTU

    @property
    def addresses(self) -> list[str]:
        """Addresses of the device with their prefix lengths: fixed, then assigned."""
        return [str(i) for i in (*self._options.addresses, *list(self._assigned))]

    def describe(self) -> dict[str, str]:
        """Say what a program of the user's may want to know of the device."""
        return {
            "IKETCP_DEVICE": self.device.name,
            "IKETCP_MTU": str(self.mtu),
            "IKETCP_ADDRESSES": " ".join(self.addresses),
            "IKETCP_DNS": " ".join(self.dns_servers),
        }

    def start(self) -> None:
        """Bring the device up with the fixed addresses and routes.

        A responder routes its pool, and with it all that it will assign. What else
        goes into the tunnel is routed when a Child SA for it comes up, because only
        then the peer's outer address is known, which must stay outside.

        Raises
        ------
        EnvironmentProblem
            The machine refuses one of them.
        """
        if self._is_real:
            for interface in self._options.addresses:
                self._state.add_address(self.device.name, interface)
            self._state.set_up(self.device.name)
        if self._is_initiator_side:
            return
        with self._lock:
            if self._options.routes is not None:
                self._route(self._options.routes)
            else:
                policies = self._configuration.ike.variants
                pools = [p.pool.networks for p in policies if p.pool is not None]
                networks = dict.fromkeys(chain.from_iterable(pools))
                self._route([ip_network(n, strict=False) for n in networks])

    def assign(self, assigned: ConfigurationAssigned) -> None:
        """Put assigned addresses and name servers in place of those before.

        Raises
        ------
        EnvironmentProblem
            The machine refuses.

        Source: RFC 7296 §2.19
        """
        with self._lock:
            self._assign_addresses(assigned.addresses)
            self.dns_servers = assigned.dns_servers
            path = self._options.resolv_conf
            if path is None:
                return
            if self._resolver is None:
                self._resolver = ResolverFile(path)
            if assigned.dns_servers:
                self._resolver.apply(assigned.dns_servers)
            else:
                self._resolver.close()

    def _assign_addresses(self, addresses: Sequence[Interface]) -> None:
        """Add what is new, then remove what is not assigned any more.

        In this order, because a device that loses its last address loses its routes.
        """
        wanted = [i for i in addresses if i not in self._options.addresses]
        for interface in wanted:
            if interface not in self._assigned:
                state = self._assigned[interface] = NetworkState()
                if self._is_real:
                    state.add_address(self.device.name, interface)
        for interface in [i for i in self._assigned if i not in wanted]:
            self._assigned.pop(interface).close()

    def child_installed(self, installed: ChildSaInstalled, path: Path) -> bool:
        """Fit MTU and routes to a Child SA that came up.

        The MTU of the device is the smallest of its Child SAs [9329-3-limit]; fixed by
        configuration, it stays, and larger packets are answered one by one.

        Parameters
        ----------
        path : Path
            Of its IKE SA; the peer's outer address is kept out of the tunnel.

        Returns
        -------
        bool
            Whether something changed.

        Raises
        ------
        EnvironmentProblem
            The machine refuses.
        """
        with self._lock:
            is_new_mtu = self._options.mtu is None and (
                self._mtu == 0 or installed.inner_mtu < self._mtu
            )
            if is_new_mtu:
                self._mtu = max(installed.inner_mtu, SMALLEST_MTU)
                if self._is_real:
                    self._state.set_mtu(self.device.name, self._mtu)
                    self.device.fit(self._mtu)
            hosts = installed.parameters.transport
            if hosts is not None:
                self._steer(installed.parameters, hosts, path)
                return is_new_mtu
            networks = self._networks_for(installed)
            if self._is_real and networks:
                self._state.pin_route_to(path.remote_address, networks)
            return self._route(networks) or is_new_mtu

    def _steer(
        self, parameters: ChildSaParameters, hosts: TransportAddresses, path: Path
    ) -> None:
        """Lead packets for the peer itself into the device, but not the connection's.

        Source: RFC 7296 §2.23.1
        """
        if not self._is_real:
            return
        self._state.add_route(
            ip_network(hosts.remote),
            self.device.name,
            table=steering.TABLE,
            source=hosts.local,
        )
        is_ours, udp = self._is_initiator_side, self._configuration.udp
        ike_port = udp.remote_ike_port if is_ours else udp.ike_port
        for rule in steering.rules(parameters, path, is_ours, ike_port):
            self._state.add_rule(rule)

    def _networks_for(self, installed: ChildSaInstalled) -> list[Network]:
        """What is to be routed into the tunnel now that a Child SA is up.

        Choice: a responder routes "everything" only if its ``routes`` say so. One peer
        would cut off all others.
        """
        if self._options.routes is not None:
            return list(self._options.routes) if self._is_initiator_side else []
        networks = networks_of(installed.parameters.remote_ts)
        if self._is_initiator_side:
            return networks
        return [n for n in networks if n.prefixlen and not self._is_covered(n)]

    def _is_covered(self, network: Network) -> bool:
        """Tell whether a network is routed already, alone or as part of another."""
        supernet = network
        while supernet not in self._routed:
            if supernet.prefixlen == 0:
                return False
            supernet = supernet.supernet()
        return True

    def _route(self, networks: Sequence[Network]) -> bool:
        """Route networks into the device; returns whether there was something new.

        Choice: a route stays until the end, also while no Child SA is up: what belongs
        into the tunnel never goes out in the clear. A peer may narrow the selectors of
        every new Child SA differently, so the number of routes has a limit.
        """
        new = [network for network in networks if network not in self._routed]
        if len(self._routed) + len(new) > MAX_ROUTES:
            raise EnvironmentProblem(
                f"more than {MAX_ROUTES} networks would be routed into the tunnel; "
                "choose traffic selectors that are whole networks"
            )
        for network in new:
            if self._is_real:
                self._state.add_route(network, self.device.name)
            self._routed.add(network)
        return bool(new)

    def close(self) -> list[str]:
        """Undo every change and give the device back; idempotent, never raises.

        Returns
        -------
        list[str]
            A sentence for each thing that could not be restored.
        """
        problems = []
        with self._lock:
            if self._resolver is not None and not self._resolver.close():
                problems.append(self._resolver.warning)
            self._resolver = None
            problems += self._state.close()
            for state in self._assigned.values():
                problems += state.close()
            self.device.close()
        return problems


__all__ = ["Tunnel", "networks_of"]
