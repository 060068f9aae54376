"""Addresses that a responder hands out with the Configuration payload.

A pool has one or more networks of each IP version and gives every owner one address of
a version. An owner that comes back gets the address it had, unless that has gone to
somebody else since. Addresses never used go out first, and then those given back the
longest time ago, so that a stale route or cache somewhere has time to forget.

Nothing is counted through in advance: a pool over an IPv6 /64 costs as much as one over
an IPv4 /29.

Source: RFC 7296 §2.19
Source: RFC 7296 §3.15.4
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from iketcp.errors import ConfigurationError, InternalAddressFailureError

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

REMEMBERED_OWNERS = 4096
"""Choice: once this many addresses are given back, they go out before unused ones."""


@dataclass(slots=True)
class _Lease:
    interface: Interface
    holders: int


class AddressPool:
    """Addresses to lease, IPv4 and IPv6.

    From each network the first address (which names the network), the second (the
    responder's own) and the IPv4 broadcast address are left out.

    Parameters
    ----------
    networks : Iterable[str]
        Networks in CIDR form.
    dns_servers : Iterable[str]
        Addresses of name servers to announce.

    Raises
    ------
    ConfigurationError
        A text is no network or no address, a network is too small to lease anything
        from, or two networks overlap.
    """

    def __init__(self, networks: Iterable[str], dns_servers: Iterable[str]) -> None:
        self.networks = _parse_networks(networks)
        self.dns_servers = tuple(_parse_server(text) for text in dns_servers)
        self._unused = {network: _Unused(network) for network in self.networks}
        self._leases: dict[tuple[str, int], _Lease] = {}
        self._returned: dict[int, OrderedDict[str, Interface]] = {
            4: OrderedDict(),
            6: OrderedDict(),
        }

    @property
    def leases(self) -> Mapping[str, tuple[Interface, ...]]:
        """What is leased at the moment: addresses by owner."""
        view: dict[str, tuple[Interface, ...]] = {}
        for (owner, _), lease in self._leases.items():
            view[owner] = (*view.get(owner, ()), lease.interface)
        return view

    def lease(self, owner: str, version: int) -> Interface:
        """Lease one address; an owner that holds one is given the same again.

        Parameters
        ----------
        owner : str
            Whose it is: the authenticated identity.
        version : int
            IP version, 4 or 6.

        Returns
        -------
        IPv4Interface or IPv6Interface
            The address, with the prefix length of its network.

        Raises
        ------
        InternalAddressFailureError
            No network of this version has an address left.

        Source: RFC 7296 §3.15.4
        """
        held = self._leases.get((owner, version))
        if held is not None:
            held.holders += 1
            return held.interface
        interface = self._take(owner, version)
        self._leases[owner, version] = _Lease(interface, holders=1)
        return interface

    def release(self, owner: str) -> None:
        """Give back what ``owner`` leased, once for every time it was leased.

        An owner may hold an address twice for a while, by an IKE SA that is dead
        already and by the one that follows it; the end of the first must not take the
        address from the second. Releasing more often does no harm.
        """
        for version, returned in self._returned.items():
            lease = self._leases.get((owner, version))
            if lease is None:
                continue
            lease.holders -= 1
            if not lease.holders:
                del self._leases[owner, version]
                returned[owner] = lease.interface

    def _take(self, owner: str, version: int) -> Interface:
        returned = self._returned.get(version, OrderedDict())
        remembered = returned.pop(owner, None)
        if remembered is not None:
            return remembered
        # once too many are remembered, the oldest go out before unused ones do
        if len(returned) < REMEMBERED_OWNERS:
            for network, unused in self._unused.items():
                if network.version == version and unused:
                    return unused.pop()
        if returned:
            return returned.popitem(last=False)[1]
        raise InternalAddressFailureError(f"no IPv{version} address left")


class _Unused:
    """The addresses of a network that were never leased, lowest first."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._next = 2
        self._end = _lease_end(network)

    def __bool__(self) -> bool:
        return self._next < self._end

    def pop(self) -> Interface:
        """Take the lowest one."""
        address = self._network[self._next]
        self._next += 1
        return ip_interface(f"{address}/{self._network.prefixlen}")


def _lease_end(network: Network) -> int:
    """Return the index after the last address to lease: IPv4 keeps its broadcast."""
    return network.num_addresses - (1 if network.version == 4 else 0)


def _parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    networks: list[Network] = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ConfigurationError(f"{text!r} is no address pool: {error}") from None
        if _lease_end(network) <= 2:
            raise ConfigurationError(
                f"{text!r} is too small for an address pool: besides the network's own "
                "addresses there is none left to hand out"
            )
        for other in networks:
            if network.version == other.version and network.overlaps(other):
                raise ConfigurationError(
                    f"the address pools {other} and {network} overlap"
                )
        networks.append(network)
    return tuple(networks)


def _parse_server(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no name server: an IPv4 or IPv6 address is wanted"
        ) from None
