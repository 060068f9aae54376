"""The ways to a responder: to which address and port, and with TLS or without.

Each address is tried on the first way, then each on the other, in turn. What has worked
is gone again after a break.

Source: RFC 9329 App. A
"""

from collections.abc import Sequence
from typing import NamedTuple

from iketcp.config import Configuration
from iketcp.ike.nat_detection import IpAddress


class Way(NamedTuple):
    """One way to a responder. RFC 9329 App. A."""

    port: int
    """TCP port."""
    is_tls: bool


class Ways:
    """The ways that a configuration allows, and which is next.

    Parameters
    ----------
    configuration : Configuration
        An initiator's.

    Source: RFC 9329 App. A [9329-A-config]
    """

    def __init__(self, configuration: Configuration) -> None:
        self._turn = 0
        self._addresses = 1
        plain = Way(configuration.remote.port, is_tls=False)
        tls = configuration.tls
        if tls is None:
            self._ways = [plain]
        elif tls.use == "always":
            self._ways = [Way(tls.port, is_tls=True)]
        elif tls.use == "first":
            self._ways = [Way(tls.port, is_tls=True), plain]
        else:
            self._ways = [plain, Way(tls.port, is_tls=True)]

    @property
    def are_several(self) -> bool:
        """Giving one up leaves another."""
        return len(self._ways) > 1

    @property
    def next(self) -> Way:
        """The way to try now."""
        return self._ways[0]

    def choose(self, addresses: Sequence[IpAddress]) -> IpAddress:
        """Choose the address to try now.

        Parameters
        ----------
        addresses : Sequence[IpAddress]
            Those that the peer has now, one at least.
        """
        self._addresses = len(addresses)
        return addresses[self._turn % self._addresses]

    def failed(self) -> None:
        """Note that the peer was not reached there and so."""
        self._turn += 1
        if self._turn >= self._addresses:
            self._turn = 0
            self._ways.append(self._ways.pop(0))
