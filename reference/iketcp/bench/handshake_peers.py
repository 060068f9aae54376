"""Peers of a benchmark of handshakes: ours and strongSwan, of like configuration.

Both have the same addresses, Traffic Selectors and algorithms; nobody asks for cookies,
and neither logs what went well. strongSwan's plugins are those that serve it best:
OpenSSL first, ESP in user space, which costs a handshake nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from iketcp.bench.programs import Program, require_program
from iketcp.config.issuing import write_certificates
from iketcp.config.secret_files import make_secret_file
from iketcp.demo import linux
from iketcp.demo.scenery import EAST, INNER, NETWORKS, OUTER, WEST
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem

OTHER = {WEST: EAST, EAST: WEST}
SECRET = "a secret of a benchmark, 32 octets"
UP_SECONDS = 30.0
"""A daemon that takes no commands for so long has failed."""

PLUGINS = (
    "random nonce openssl curve25519 gcm hmac kdf pem pkcs1 pkcs8 x509 pubkey "
    "constraints kernel-libipsec kernel-netlink socket-default vici"
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is agreed on, and how the peers authenticate each other."""

    name: str
    key_exchange: str
    """As in a proposal."""
    is_certified: bool = False
    """By ECDSA certificates of one authority; otherwise by a preshared key."""
    is_strongswans: bool = True
    """strongSwan has it, too."""

    @property
    def ike(self) -> str:
        """The proposal for the IKE SA."""
        return f"aes256gcm16-prfsha256-{self.key_exchange}"


SCENARIOS = (
    Scenario("PSK, X25519", "x25519"),
    Scenario("ECDSA P-256 certificates, X25519", "x25519", is_certified=True),
    Scenario("PSK, X25519 and ML-KEM-768", "x25519-ke1_mlkem768", is_strongswans=False),
)

ESP = "aes256gcm16-noesn"


def address_of(site: str) -> str:
    """The outer IPv4 address of a site."""
    return OUTER[site][0].partition("/")[0]


def write_secrets(folder: Path) -> None:
    """Write a preshared key, and certificates with their keys, for all peers."""
    make_secret_file(folder / "psk", SECRET.encode())
    write_certificates(folder, {site: f"{site}.example" for site in OTHER})


# --- ours -----------------------------------------------------------------------------

_OURS = """\
[local]
identity = "@{site}.example"
{local}
{proof}
[remote]
identity = "@{other}.example"
{remote}
[ike]
proposals = ["{ike}"]
[[child]]
name = "net"
local_ts = ["{local_ts}"]
remote_ts = ["{remote_ts}"]
proposals = ["{esp}"]
[transport]
protocol = "{protocol}"
[control]
socket = "none"
[log]
level = "warning"
"""

_CERTIFIED = 'auth = "certificate"\n'


def write_ours(folder: Path, site: str, scenario: Scenario, protocol: str) -> Path:
    """Write our configuration of a site, east the responder; returns its file."""
    local = remote = ""
    proof = 'psk_file = "psk"'
    if scenario.is_certified:
        pair = f'certificate = "{site}.pem"\nprivate_key = "{site}.key"'
        proof = f"{_CERTIFIED}{pair}"
        remote = f'{_CERTIFIED}ca = "ca.pem"\n'
    if site == EAST:
        local = f'address = "{address_of(EAST)}"'
    else:
        remote += f'address = "{address_of(EAST)}"'
    text = _OURS.format(
        site=site,
        other=OTHER[site],
        local=local,
        remote=remote,
        proof=proof,
        ike=scenario.ike,
        esp=ESP,
        local_ts=NETWORKS[site][0],
        remote_ts=NETWORKS[OTHER[site]][0],
        protocol=protocol,
    )
    path = folder / f"{site}.toml"
    path.write_text(text)
    return path


# --- strongSwan -----------------------------------------------------------------------

_STRONGSWAN_CONF = """\
charon-systemd {{
  load = {plugins}
  dos_protection = no
  retransmit_timeout = 1.0
  retransmit_base = 1.0
  journal {{
    default = -1
  }}
  plugins {{
    vici {{
      socket = unix://{folder}/vici
    }}
  }}
}}
swanctl {{
  load = pem pkcs1 pkcs8 x509 pubkey openssl random
}}
"""

_SWANCTL_CONF = """\
connections {{
  peer {{
    version = 2
    local_addrs = {local}
    remote_addrs = {remote}
    proposals = {ike}
    mobike = no
    local {{
      {proof}
      id = {site}.example
    }}
    remote {{
      auth = {auth}
      id = {other}.example
    }}
    children {{
      net {{
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = {esp}
      }}
    }}
  }}
}}
secrets {{
  ike {{
    id = {other}.example
    secret = "{secret}"
  }}
}}
"""


class StrongSwan:
    """charon-systemd in the namespace of a site, with files of its own.

    Parameters
    ----------
    namespaces : Namespaces
        The stage.
    folder : Path
        Has the certificates, if there are any.

    Raises
    ------
    EnvironmentProblem
        It is not installed, or does not take its configuration.
    """

    def __init__(
        self, namespaces: Namespaces, folder: Path, site: str, scenario: Scenario
    ) -> None:
        daemon = require_program("charon-systemd", "charon-systemd")
        self._swanctl = require_program("swanctl", "strongswan-swanctl")
        self._folder = folder / "strongswan"
        _give_inner_address(namespaces, site)
        self._write(folder, site, scenario)
        settings = {
            "STRONGSWAN_CONF": str(self._folder / "strongswan.conf"),
            "SWANCTL_DIR": str(self._folder),
        }
        self._environment = {**os.environ, **settings}
        set_variables = [f"{name}={value}" for name, value in settings.items()]
        command = [require_program("env", "coreutils"), *set_variables, daemon]
        log = self._folder / "log"
        self.program = Program(namespaces, site, command, log)
        try:
            self._wait_for_commands()
            self._command("--load-all", "--file", str(self._folder / "swanctl.conf"))
        except BaseException:
            self.program.stop()
            raise

    def _write(self, folder: Path, site: str, scenario: Scenario) -> None:
        self._folder.mkdir()
        other = OTHER[site]
        auth, proof = "psk", "auth = psk"
        if scenario.is_certified:
            auth, proof = "pubkey", f"auth = pubkey\ncerts = {site}.pem"
            for kind, name in (
                ("x509", f"{site}.pem"),
                ("x509ca", "ca.pem"),
                ("private", f"{site}.key"),
            ):
                (self._folder / kind).mkdir()
                shutil.copy(folder / name, self._folder / kind)
        text = _SWANCTL_CONF.format(
            local=address_of(site),
            remote=address_of(other),
            ike=scenario.ike,
            esp=ESP,
            proof=proof,
            auth=auth,
            site=site,
            other=other,
            local_ts=NETWORKS[site][0],
            remote_ts=NETWORKS[other][0],
            secret=SECRET,
        )
        (self._folder / "swanctl.conf").write_text(text)
        conf = _STRONGSWAN_CONF.format(plugins=PLUGINS, folder=self._folder)
        (self._folder / "strongswan.conf").write_text(conf)

    def _wait_for_commands(self) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline and self.program.process.poll() is None:
            if (self._folder / "vici").exists() and not self._run("--stats").returncode:
                return
            time.sleep(0.05)
        raise EnvironmentProblem("charon-systemd does not start")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._swanctl, *arguments, "--uri", f"unix://{self._folder}/vici"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )

    def _command(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode:
            text = (done.stdout + done.stderr)[-300:]
            raise EnvironmentProblem(f"swanctl {arguments[0]}: {text}")

    def handshake(self) -> None:
        """Make an IKE SA with its Child SA, and delete it.

        Raises
        ------
        EnvironmentProblem
            It does not come about.
        """
        self._command("--initiate", "--child", "net", "--timeout", "10")
        self._command("--terminate", "--ike", "peer", "--timeout", "10")


def _give_inner_address(namespaces: Namespaces, site: str) -> None:
    """Give a site an address behind it: strongSwan makes no Child SA for nobody."""

    def give() -> None:
        linux.enter(namespaces.network[site], linux.CLONE_NEWNET)
        with IPRoute(groups=0) as netlink:
            (loopback,) = netlink.link_lookup(ifname="lo")
            netlink.addr("add", index=loopback, address=INNER[site][0], prefixlen=32)

    with ThreadPoolExecutor(1) as thread:  # which alone enters the namespace
        thread.submit(give).result()


__all__ = [
    "SCENARIOS",
    "Scenario",
    "StrongSwan",
    "write_ours",
    "write_secrets",
]
