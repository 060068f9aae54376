"""The ways to a responder: to which port, and with TLS or without.

Where there are two, the first one is tried, and after it has failed at every address
the other, in turn. A way that has worked is gone again after a break.

Source: RFC 9329 App. A
"""

from typing import NamedTuple

from iketcp.config import Configuration


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
        self._failures = 0
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

    def worked(self) -> None:
        """Note that the peer was reached on this way."""
        self._failures = 0

    def failed(self, addresses: int) -> None:
        """Note that the peer was not reached on this way.

        Parameters
        ----------
        addresses : int
            How many the peer has. They take turns as well, and each is tried on each
            way.
        """
        self._failures += 1
        if self._failures >= addresses:
            self._failures = 0
            self._ways.append(self._ways.pop(0))
