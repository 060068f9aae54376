"""The director of a demonstration without namespaces.

One process per site is peer and workload in one; see :mod:`iketcp.demo.memory`. What
is heard and what is commanded are the same as on the stage.
"""

import contextlib
import socket
from functools import partial
from pathlib import Path
from typing import Any

from iketcp.demo.children import Child
from iketcp.demo.director import ROLES, Director, parse_line
from iketcp.demo.narrator import Narrator
from iketcp.demo.scenery import EAST, LOOPBACK, SITES, WEST, Addresses


class MemoryDirector(Director):
    """Runs both sites as ordinary processes; a context manager.

    Parameters
    ----------
    folder : Path
        For configurations, the secret and control sockets.
    narrator : Narrator
        Who tells what the peers report.
    """

    def __init__(self, folder: Path, narrator: Narrator) -> None:
        super().__init__(folder, None, narrator)
        port, tls_port, proxy_port, udp_port = _free_ports(4)
        self.addresses = Addresses(
            LOOPBACK, port, tls_port, LOOPBACK, proxy_port, udp_port
        )

    def start_sites(self) -> None:
        """Start both sites, the responder's first.

        Raises
        ------
        StepFailed
            One of them does not come up.
        """
        for name in (*SITES, "receiver"):
            self.reports[name] = []
        self.start_peer(EAST)
        self.wait_report("receiver", "listening")
        self.start_between()
        self.start_peer(WEST)

    def start_peer(self, site: str) -> None:
        """Start a site."""
        path = self.folder / f"{site}.toml"
        path.write_text(self.configuration(site, "memory"))
        arguments = [ROLES[site], str(path)]
        child = self.start_child(site, "iketcp.demo.memory", arguments, None)
        self.loop.watch(child.output(), partial(self._hear, site))
        self._take_on(site, child)

    def _take_on(self, site: str, child: Child) -> None:
        self.peers[site] = self.workers[site] = child
        if site == EAST:
            self.workers["receiver"] = child

    def _hear(self, site: str, line: bytes) -> None:
        worker = parse_line(line).get("worker")
        if worker is None:
            self.hear_trace(site, line)
        else:
            self.hear_report(worker, line)

    def devices(self, site: str) -> dict[str, Any]:
        """Ask a site for its tunnel device; a site that has ended has none."""
        if self.workers[site].status is not None:
            return {}
        return super().devices(site)


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on, each another one."""
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server((LOOPBACK, 0)))
            for _ in range(count)
        ]
        return [listener.getsockname()[1] for listener in listeners]
