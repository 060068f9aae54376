"""What the machine is told of Child SAs: its tunnel device, the user's programs, a log.

Source: RFC 4301 §4.4.1, RFC 7296 §2.19
"""

from __future__ import annotations

from iketcp.child_sa import ChildSaParameters
from iketcp.effects import ChildSaInstalled, ConfigurationAssigned
from iketcp.peers.hooks import Hooks
from iketcp.peers.reports import Reports
from iketcp.peers.tunnel import Tunnel


class Fitting:
    """Fits a tunnel device to the Child SAs that there are, and tells of them.

    Parameters
    ----------
    tunnel : Tunnel
        Receives addresses, routes and MTU.
    hooks : Hooks
        The user's programs.
    reports : Reports
        Told of the device, and of keys.
    """

    def __init__(self, tunnel: Tunnel, hooks: Hooks, reports: Reports) -> None:
        self._tunnel = tunnel
        self._hooks = hooks
        self._reports = reports

    def fit(self, effect: ChildSaInstalled | ConfigurationAssigned) -> None:
        """Put addresses, routes and MTU in place.

        Raises
        ------
        EnvironmentProblem
            The machine refuses.
        """
        if isinstance(effect, ConfigurationAssigned):
            self._tunnel.assign(effect)
            return
        path, parameters = effect.path, effect.parameters
        local, remote = str(path.local_address), str(path.remote_address)
        self._reports.log_keys(lambda log: log.child_keys(parameters, local, remote))
        if self._tunnel.child_installed(effect, path):
            self.trace()
        self._hooks.child_installed(effect)

    def child_removed(self, parameters: ChildSaParameters) -> None:
        """Tell that a Child SA is gone; its routes stay."""
        self._hooks.child_removed(parameters)

    def trace(self) -> None:
        """Tell how the device is now."""
        fields: dict[str, object] = {
            "name": self._tunnel.device.name,
            "mtu": self._tunnel.mtu,
            "addresses": list(self._tunnel.addresses),
        }
        self._reports.tell("tunnel-device", fields)
