"""What network devices there are, asked of the kernel without any library.

Whoever asks must be in the namespace; the answer is about that one alone.
"""

import fcntl
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path
from typing import TypedDict

_SIOCGIFMTU = 0x8921
_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("16s24x")


class Device(TypedDict):
    """One network device."""

    mtu: int
    addresses: list[str]
    """IPv4 first; without prefix lengths, and without IPv6 link-local ones."""


def devices() -> dict[str, Device]:
    """Return the devices of this process's network namespace by name."""
    found: dict[str, Device] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            mtu = _ask(sock, name, _SIOCGIFMTU)
            if mtu is None:
                continue  # gone in between
            address = _ask(sock, name, _SIOCGIFADDR)
            addresses = [socket.inet_ntoa(address[20:24])] if address else []
            addresses += _ipv6_addresses(name)
            found[name] = Device(
                mtu=struct.unpack_from("i", mtu, 16)[0], addresses=addresses
            )
    return found


def _ask(sock: socket.socket, name: str, question: int) -> bytes | None:
    try:
        return fcntl.ioctl(sock, question, _IFREQ.pack(name.encode()))
    except OSError:
        return None


def _ipv6_addresses(name: str) -> list[str]:
    try:
        lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
    except OSError:  # no IPv6 at all
        return []
    rows = (line.split() for line in lines)
    addresses = (IPv6Address(bytes.fromhex(row[0])) for row in rows if row[5] == name)
    return [str(address) for address in addresses if not address.is_link_local]
