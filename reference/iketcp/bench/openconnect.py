"""openconnect with ocserv: packets inside TLS records over TCP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iketcp.bench.contenders import Running
from iketcp.bench.programs import (
    Program,
    require_program,
    running,
    wait_until_listening,
)
from iketcp.config.issuing import write_certificates
from iketcp.demo.scenery import EAST, OUTER, TUNNEL_MTU, WEST
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem

NAMES = {EAST: "east.example", WEST: "west.example"}
INNER_EAST = "10.9.0.1"
"""ocserv takes the first address of its network."""

PORT = 443

OVERHEAD = 28
"""What both subtract from the MTU that they are told, whatever the suite is."""

MOST_MTU = 16000
"""A packet is a TLS record, of 2^14 octets at most."""

# The suites are those of Debian's own configuration; there is no UDP port for DTLS.
SERVER = """\
auth = "certificate"
cert-user-oid = 2.5.4.3
server-cert = {folder}/east.pem
server-key = {folder}/east.key
ca-cert = {folder}/ca.pem
tls-priorities = "NORMAL:%SERVER_PRECEDENCE:%COMPAT:-VERS-SSL3.0:-VERS-TLS1.0:\
-VERS-TLS1.1:-VERS-TLS1.3"
tcp-port = {port}
socket-file = {folder}/ocserv.socket
run-as-user = root
run-as-group = root
isolate-workers = true
use-occtl = false
device = vpns
ipv4-network = 10.9.0.0
ipv4-netmask = 255.255.255.0
mtu = {mtu}
cisco-client-compat = false
"""

# openconnect runs it when the server has told the addresses.
SCRIPT = """\
[ "$reason" = connect ] || exit 0
ip link set "$TUNDEV" mtu {mtu} up
ip address add "$INTERNAL_IP4_ADDRESS" peer {east} dev "$TUNDEV"
"""


@dataclass(frozen=True)
class OpenConnect:
    """A client and a server with certificates made for it, and without DTLS."""

    name: str
    mtu: int = TUNNEL_MTU

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        """Start the server and the client."""
        commands = self.commands(folder)
        if self.mtu > MOST_MTU:
            raise EnvironmentProblem("a packet cannot be larger than a TLS record")
        write_certificates(folder, NAMES)
        for name, text in self.files(folder).items():
            (folder / name).write_text(text)
        with contextlib.ExitStack() as stack:
            programs = []
            for site in (EAST, WEST):
                log = folder / f"{site}.log"
                programs.append(Program(namespaces, site, commands[site], log))
                stack.enter_context(running(programs[-1:]))
                wait_until_listening(namespaces, EAST, PORT)
            yield INNER_EAST, programs

    def files(self, folder: Path) -> dict[str, str]:
        """Return the server's configuration and the client's script."""
        return {
            "ocserv.conf": SERVER.format(
                folder=folder, port=PORT, mtu=self.mtu + OVERHEAD
            ),
            "script": SCRIPT.format(east=INNER_EAST, mtu=self.mtu),
        }

    def commands(self, folder: Path) -> dict[str, list[str]]:
        """Return what is run at each site.

        Raises
        ------
        EnvironmentProblem
            A program is not installed.
        """
        server = require_program("ocserv", "ocserv")
        client = require_program("openconnect", "openconnect")
        where = OUTER[EAST][0].partition("/")[0]
        return {
            EAST: [server, "-f", "-c", str(folder / "ocserv.conf")],
            WEST: [
                client,
                *("--no-dtls", "--non-inter", "--no-system-trust"),
                *("--cafile", str(folder / "ca.pem")),
                *("--certificate", str(folder / "west.pem")),
                *("--sslkey", str(folder / "west.key")),
                *("--script", f"sh {folder / 'script'}"),
                *("--mtu", str(self.mtu)),
                *("--base-mtu", str(self.mtu + OVERHEAD)),
                *("--resolve", f"{NAMES[EAST]}:{where}", f"https://{NAMES[EAST]}"),
            ],
        }


__all__ = ["OpenConnect"]
