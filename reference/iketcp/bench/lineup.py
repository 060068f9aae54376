"""Who is compared with whom."""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.bench.contenders import Contender, Iketcp, OpenVpn, Wire
from iketcp.bench.openconnect import OpenConnect
from iketcp.bench.strongswan import StrongSwan
from iketcp.errors import ConfigurationError

REFERENCE = "OpenVPN"
"""Counts as 1."""


def lineup(mtu: int) -> list[Contender]:
    """Return all contenders, with tunnels of one MTU."""
    return [
        Wire(),
        Iketcp("iketcp", mtu),
        Iketcp("iketcp, ChaCha20", mtu, esp="chacha20poly1305-x25519-noesn"),
        Iketcp("iketcp, TLS", mtu, is_tls=True),
        Iketcp("iketcp, UDP", mtu, is_udp=True),
        Iketcp("iketcp, no offloads", mtu, has_offloads=False),
        OpenVpn(REFERENCE, mtu),
        OpenConnect("openconnect", mtu),
        StrongSwan("strongSwan", mtu),
    ]


def select(
    contenders: Sequence[Contender], names: Sequence[str] | None
) -> list[Contender]:
    """Return the contenders of some names; all of them if none is given.

    Raises
    ------
    ConfigurationError
        Nobody is called so.
    """
    known = {contender.name for contender in contenders}
    for name in names or ():
        if name not in known:
            raise ConfigurationError(
                f"no contender is called {name!r}; there are: "
                + "; ".join(sorted(known))
            )
    return [each for each in contenders if not names or each.name in names]


__all__ = ["REFERENCE", "lineup", "select"]
