"""Where the demonstration takes place: addresses, names and the peers' configuration.

All outer addresses are from the blocks reserved for documentation; the inner ones are
private. The two sites know nothing of the machine they are on.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

WEST, EAST = "west", "east"
SITES = (WEST, EAST)
RELAY = "relay"
"""Stands before the eastern peer, in the east, if there is one."""

LOOPBACK = "127.0.0.1"

LINK = {WEST: "to-east", EAST: "to-west"}
"""Name of each site's end of the wire."""

OUTER = {
    WEST: ("192.0.2.1/24", "2001:db8::1/64"),
    EAST: ("192.0.2.2/24", "2001:db8::2/64"),
}
"""Addresses on the wire."""

INNER = {
    WEST: ("10.9.0.2", "2001:db8:9::2"),
    EAST: ("10.1.0.1", "2001:db8:1::1"),
}
"""Addresses in the tunnel; the responder assigns the initiator's."""

NETWORKS = {
    WEST: ("10.9.0.0/24", "2001:db8:9::/64"),
    EAST: ("10.1.0.0/24", "2001:db8:1::/64"),
}
"""The pool that the initiator's addresses come from, and the responder's networks."""

TUNNEL_DEVICE = "iketcp0"
TUNNEL_MTU = 1400
LINK_MTU = 1500
IKE_PORT = 4500
TLS_PORT = 443
PROXY_PORT = 8080
TRANSFER_PORT = 9329

# Without extended sequence numbers, so that every Wireshark can check the ICVs.
_CHILD = """
[[child]]
name = "net"
proposals = ["aes256gcm16-x25519{further}-noesn"]
assigned = true
"""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who listens where; differs where there are no namespaces."""

    responder: str = field(default=OUTER[EAST][0].partition("/")[0])
    port: int = IKE_PORT
    tls_port: int = TLS_PORT
    """Where the responder speaks TLS."""
    proxy: str = field(default=OUTER[WEST][0].partition("/")[0])
    proxy_port: int = PROXY_PORT
    udp_port: int = IKE_PORT
    """Where the responder takes UDP, if a relay is before it."""


def configuration(
    site: str,
    folder: Path,
    mode: str = "device",
    addresses: Addresses | None = None,
    local: str = "",
    remote: str = "",
    tables: str = "",
    further: str = "",
) -> str:
    """Write the configuration file of a site.

    Parameters
    ----------
    site : str
        ``WEST``, the initiator, or ``EAST``, the responder.
    folder : Path
        Holds the secret (``psk``) and, later, the control sockets.
    mode : str
        ``"device"`` or ``"memory"``: what kind of tunnel device.
    addresses : Addresses or None
        Where the responder listens; None: port 4500 of its outer IPv4 address.
    local, remote, tables : str
        Lines for [local] and [remote], and whole tables.
    further : str
        Keywords behind the key exchange of the proposals.
    """
    where = addresses or Addresses()
    text = (
        f'[local]\nidentity = "@{site}.example"\npsk_file = "{folder / "psk"}"\n'
        + local
        + _local_address(site, where)
        + _remote(site, where, remote)
        + tables
        + f'\n[ike]\nproposals = ["aes256gcm16-prfsha256-x25519{further}"]\n'
    )
    if site == WEST:
        text += 'request_addresses = ["ipv4", "ipv6"]\n'
    else:
        text += f"\n[pool]\nnetworks = {_list(NETWORKS[WEST])}\n"
    text += _CHILD.format(further=further)
    if site == EAST:
        text += f"local_ts = {_list(NETWORKS[EAST])}\n"
    other = EAST if site == WEST else WEST
    text += f"remote_ts = {_list(NETWORKS[other])}\n"
    text += f'\n[tun]\nmode = "{mode}"\nname = "{TUNNEL_DEVICE}"\nmtu = {TUNNEL_MTU}\n'
    if site == EAST:
        text += f"addresses = {_list(inner_interfaces(EAST))}\n"
    text += f'\n[control]\nsocket = "{control_socket(site, folder)}"\n'
    return text + '\n[log]\nlevel = "warning"\n'


def control_socket(site: str, folder: Path) -> Path:
    """Path of the Unix socket on which a peer takes commands."""
    return folder / f"{site}.sock"


def _local_address(site: str, where: Addresses) -> str:
    if site == EAST:
        return f'address = "{where.responder}"\nport = {where.port}\n'
    return ""


def _remote(site: str, where: Addresses, lines: str) -> str:
    if site == WEST:
        lines = (
            f'identity = "@{EAST}.example"\naddress = "{where.responder}"\n'
            f"port = {where.port}\n{lines}"
        )
    return f"\n[remote]\n{lines}" if lines else ""


def inner_interfaces(site: str) -> list[str]:
    """Inner addresses of a site, each with the prefix length of its network."""
    prefixes = [each.partition("/")[2] for each in NETWORKS[site]]
    return [
        f"{address}/{prefix}"
        for address, prefix in zip(INNER[site], prefixes, strict=True)
    ]


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(json.dumps, texts))}]"
