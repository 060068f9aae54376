"""What a contender is; and plain wire, iketcp in several forms, OpenVPN over TCP."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from iketcp.bench.programs import Program, require_program, running
from iketcp.config.issuing import write_certificates, write_tls_files
from iketcp.config.secret_files import make_secret_file
from iketcp.demo.scenery import (
    EAST,
    INNER,
    OUTER,
    TUNNEL_MTU,
    WEST,
    Addresses,
    configuration,
)
from iketcp.demo.stage import Namespaces
from iketcp.demo.wrapping import TLS_FOLDER, Wrapping
from iketcp.errors import EnvironmentProblem

Running = tuple[str, list[Program]]
"""An address of the east to send to, and the programs between: east, then west."""


class Contender(Protocol):
    """One way from west to east."""

    @property
    def name(self) -> str:
        """As it stands in the table."""
        ...

    def up(
        self, namespaces: Namespaces, folder: Path
    ) -> contextlib.AbstractContextManager[Running]:
        """Bring it up for the length of a block.

        Raises
        ------
        EnvironmentProblem
            A program is not installed.
        """
        ...


@dataclass(frozen=True)
class Wire:
    """No tunnel: what the machine does with nothing between."""

    name: str = "plain wire"

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        """Name the eastern end of the wire."""
        yield OUTER[EAST][0].partition("/")[0], []


UDP = """
[transport]
protocol = "udp"
"""


@dataclass(frozen=True)
class Iketcp:
    """Our own initiator and responder.

    Parameters
    ----------
    name : str
        As it stands in the table.
    mtu : int
        Of the tunnel device.
    has_offloads : bool
        ``offloads`` of [tun].
    esp : str
        The proposal for the Child SA.
    is_tls : bool
        Whether TLS is around the TCP connection. RFC 9329 App. A.
    is_udp : bool
        Whether it goes over UDP instead of TCP.
    """

    name: str
    mtu: int = TUNNEL_MTU
    has_offloads: bool = True
    esp: str = "aes256gcm16-x25519-noesn"
    is_tls: bool = False
    is_udp: bool = False

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        """Start both peers, the responder first."""
        if self.is_udp and self.mtu > TUNNEL_MTU:
            raise EnvironmentProblem("packets larger than the wire's need TCP")
        make_secret_file(folder / "psk", b"a secret of a benchmark, 32 octets\n")
        if self.is_tls:
            write_tls_files(folder / TLS_FOLDER, [Addresses().responder])
        programs = []
        with contextlib.ExitStack() as stack:
            for site, role in ((EAST, "responder"), (WEST, "initiator")):
                path = folder / f"{site}.toml"
                path.write_text(self.configuration(site, folder))
                command = [sys.executable, "-m", "iketcp", role, "-c", str(path)]
                program = Program(namespaces, site, command, folder / f"{site}.log")
                stack.enter_context(running([program]))
                programs.append(program)
            yield INNER[EAST][0], programs

    def configuration(self, site: str, folder: Path) -> str:
        """Return the file of a site."""
        wrapping = Wrapping(is_tls=self.is_tls)
        tables = wrapping.tables(site, Addresses()) + (UDP if self.is_udp else "")
        text = configuration(site, folder, tables=tables)
        text = text.replace("aes256gcm16-x25519-noesn", self.esp)
        offloads = str(self.has_offloads).lower()
        tun = f"mtu = {self.mtu}\noffloads = {offloads}\n"
        return text.replace(f"mtu = {TUNNEL_MTU}\n", tun)


OPENVPN = """\
dev tun
proto {protocol}
{role}
ca ca.pem
cert {site}.pem
key {site}.key
ifconfig {local} {remote}
tun-mtu {mtu}
data-ciphers AES-256-GCM
tcp-nodelay
sndbuf 0
rcvbuf 0
disable-dco
"""


@dataclass(frozen=True)
class OpenVpn:
    """OpenVPN over TCP with AES-256-GCM, point to point, in user space."""

    name: str
    mtu: int = TUNNEL_MTU

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        """Start a server and a client, with certificates made for it."""
        program = require_program("openvpn", "openvpn")
        write_certificates(folder, {EAST: "east.example", WEST: "west.example"})
        roles = {
            EAST: ("tcp-server", "tls-server\ndh none"),
            WEST: ("tcp-client", f"tls-client\nremote {OUTER[EAST][0][:-3]}"),
        }
        programs = []
        with contextlib.ExitStack() as stack:
            for site, other in ((EAST, WEST), (WEST, EAST)):
                protocol, role = roles[site]
                text = OPENVPN.format(
                    protocol=protocol,
                    role=role,
                    site=site,
                    local=INNER[site][0],
                    remote=INNER[other][0],
                    mtu=self.mtu,
                )
                path = folder / f"{site}.conf"
                path.write_text(text)
                command = [program, "--cd", str(folder), "--config", str(path)]
                own = Program(namespaces, site, command, folder / f"{site}.log")
                stack.enter_context(running([own]))
                programs.append(own)
            yield INNER[EAST][0], programs


__all__ = ["Contender", "Iketcp", "OpenVpn", "Wire"]
