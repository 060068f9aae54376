"""Configuration payloads in IKE_AUTH: addresses and name servers for the initiator.

Source: RFC 7296 §2.19
Source: RFC 7296 §3.15
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address

from iketcp.errors import InternalAddressFailureError
from iketcp.ike.address_pool import AddressPool
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.payloads import ConfigurationPayload
from iketcp.ike.sa import IkeSa
from iketcp.registry import ConfigurationAttributeType, ConfigurationType

Interface = IPv4Interface | IPv6Interface

_ATTRIBUTES = {
    4: (
        ConfigurationAttributeType.INTERNAL_IP4_ADDRESS,
        ConfigurationAttributeType.INTERNAL_IP4_DNS,
    ),
    6: (
        ConfigurationAttributeType.INTERNAL_IP6_ADDRESS,
        ConfigurationAttributeType.INTERNAL_IP6_DNS,
    ),
}
"""Address and DNS attribute by IP version. Source: RFC 7296 §3.15.1."""


def configuration_request(families: Sequence[int]) -> ConfigurationPayload:
    """Ask for an address and name servers of each IP version. RFC 7296 §2.19."""
    attributes = [
        ConfigurationAttribute(kind, b"") for f in families for kind in _ATTRIBUTES[f]
    ]
    return ConfigurationPayload(ConfigurationType.CFG_REQUEST, tuple(attributes))


def assign(
    sa: IkeSa, pool: AddressPool, request: ConfigurationPayload
) -> ConfigurationPayload:
    """Lease what is asked for and make CFG_REPLY.

    Raises
    ------
    InternalAddressFailureError
        Not a single address could be given.

    Source: RFC 7296 §2.19, RFC 7296 §3.15.4
    """
    asked = {attribute.type for attribute in request.attributes}
    attributes, leased = [], []
    for version, (address_type, dns_type) in _ATTRIBUTES.items():
        if address_type in asked:
            try:
                lease = pool.lease(sa.remote_identity, version)
            except InternalAddressFailureError:
                continue
            leased.append(lease)
            attributes += _address_attributes(lease)
        if dns_type in asked:
            policy = sa.policy.pool
            servers = () if policy is None else policy.dns_servers
            attributes += [
                ConfigurationAttribute(dns_type, server.packed)
                for server in map(ip_address, servers)
                if server.version == version
            ]
    if not leased:
        raise InternalAddressFailureError("the pool has no address to give")
    sa.assigned = tuple(leased)
    return ConfigurationPayload(ConfigurationType.CFG_REPLY, tuple(attributes))


def _address_attributes(lease: Interface) -> list[ConfigurationAttribute]:
    """Encode an address: 4 octets, or 16 octets and a prefix length.

    Source: RFC 7296 §3.15.1
    """
    kind = _ATTRIBUTES[lease.version][0]
    if isinstance(lease, IPv6Interface):
        value = lease.ip.packed + bytes([lease.network.prefixlen])
        return [ConfigurationAttribute(kind, value)]
    netmask = ConfigurationAttributeType.INTERNAL_IP4_NETMASK
    return [
        ConfigurationAttribute(kind, lease.ip.packed),
        ConfigurationAttribute(netmask, lease.netmask.packed),
    ]


def read_assignment(
    reply: ConfigurationPayload,
) -> tuple[tuple[Interface, ...], tuple[str, ...]]:
    """Read addresses and name servers from a decoded CFG_REPLY.

    Sizes were checked when it was decoded. An IPv4 address becomes a host address
    (/32): what is reachable besides it follows from the Traffic Selectors, not from the
    netmask.

    Source: RFC 7296 §3.15.1
    """
    addresses: list[Interface] = []
    servers: list[str] = []
    kinds = ConfigurationAttributeType
    for attribute in reply.attributes:
        value = attribute.value
        if not value:
            continue  # the responder has none to give
        if attribute.type == kinds.INTERNAL_IP4_ADDRESS:
            addresses.append(IPv4Interface((value, 32)))
        elif attribute.type == kinds.INTERNAL_IP6_ADDRESS:
            addresses.append(IPv6Interface((value[:16], value[16])))
        elif attribute.type in (kinds.INTERNAL_IP4_DNS, kinds.INTERNAL_IP6_DNS):
            servers.append(str(ip_address(value)))
    return tuple(addresses), tuple(servers)
