"""The tunnel device of a peer, its addresses, its routes and its MTU.

What is changed on the machine is remembered and undone in reverse order at the end.

Source: RFC 4301 §4.4.1
Source: RFC 7296 §2.19
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
    summarize_address_range,
)

from iketcp.config import Configuration
from iketcp.effects import ChildSaInstalled, ConfigurationAssigned
from iketcp.errors import EnvironmentProblem
from iketcp.net.resolver import ResolverFile
from iketcp.net.routes import NetworkState
from iketcp.net.tun import LinuxTun, MemoryTun, TunDevice
from iketcp.selectors import TrafficSelector

Network = IPv4Network | IPv6Network

FIRST_MTU = 1400
"""Choice: MTU of the device until the first Child SA says better."""

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
        No TUN device, or no privilege for it.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._options = configuration.tun
        self._is_real = self._options.mode == "device"
        self._lock = threading.Lock()
        self._state = NetworkState()
        self._resolver: ResolverFile | None = None
        self._mtu = self._options.mtu or 0
        self._routed: set[Network] = set()
        self.addresses: list[str] = []
        self.dns_servers: tuple[str, ...] = ()
        self.device: TunDevice
        if self._is_real:
            self.device = LinuxTun(self._options.name, self._mtu or FIRST_MTU)
        else:
            self.device = MemoryTun(self._options.name)

    @property
    def mtu(self) -> int:
        """The MTU of the device, in octets."""
        return self._mtu or FIRST_MTU

    def start(self) -> None:
        """Bring the device up with the fixed addresses and routes.

        Raises
        ------
        EnvironmentProblem
            The machine refuses one of them.
        """
        if self._is_real:
            for interface in self._options.addresses:
                self._state.add_address(self.device.name, interface)
            self._state.set_up(self.device.name)
        self.addresses += [str(interface) for interface in self._options.addresses]
        if self._options.routes is not None:
            self._route(self._options.routes)
        elif self._configuration.role == "responder":
            self._route(self._responder_networks())

    def _responder_networks(self) -> list[Network]:
        """A responder routes what any peer of its may have: selectors and the pool."""
        policy = self._configuration.ike
        selectors = [
            selector
            for child in policy.children
            if not child.is_narrowed_to_assigned_address
            for selector in child.remote_ts
        ]
        pool = policy.pool.networks if policy.pool is not None else ()
        return networks_of(selectors) + [ip_network(n, strict=False) for n in pool]

    def assign(self, assigned: ConfigurationAssigned) -> None:
        """Put assigned addresses and name servers in place.

        Raises
        ------
        EnvironmentProblem
            The machine refuses.

        Source: RFC 7296 §2.19
        """
        with self._lock:
            for interface in assigned.addresses:
                if self._is_real:
                    self._state.add_address(self.device.name, interface)
                if str(interface) not in self.addresses:
                    self.addresses.append(str(interface))
            self.dns_servers = assigned.dns_servers
            path = self._options.resolv_conf
            if path is not None and assigned.dns_servers:
                if self._resolver is None:
                    self._resolver = ResolverFile(path)
                self._resolver.apply(assigned.dns_servers)

    def child_installed(
        self, installed: ChildSaInstalled, peer: IPv4Address | IPv6Address
    ) -> bool:
        """Fit MTU and routes to a Child SA that came up.

        The MTU of the device is the smallest of its Child SAs [9329-3-limit]; fixed by
        configuration, it stays, and larger packets are answered one by one.

        Parameters
        ----------
        peer : IPv4Address or IPv6Address
            The peer's outer address, kept out of the tunnel.

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
            is_routed = False
            if self._options.routes is None and self._configuration.role == "initiator":
                networks = networks_of(installed.parameters.remote_ts)
                if self._is_real:
                    self._state.pin_route_to(peer, networks)
                is_routed = self._route(networks)
            return is_new_mtu or is_routed

    def _route(self, networks: Sequence[Network]) -> bool:
        new = [network for network in networks if network not in self._routed]
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
        if self._resolver is not None and not self._resolver.close():
            problems.append(self._resolver.warning)
        problems += self._state.close()
        self.device.close()
        return problems


__all__ = ["EnvironmentProblem", "Tunnel", "networks_of"]
