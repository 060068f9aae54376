"""strongSwan with its plugin kernel-libipsec: ESP in UDP, in user space."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iketcp.bench.contenders import Running
from iketcp.bench.programs import Program, require_program, running
from iketcp.demo.scenery import EAST, INNER, OUTER, SITES, TUNNEL_MTU, WEST
from iketcp.demo.stage import Namespaces
from iketcp.errors import EnvironmentProblem

PACKAGES = (
    "charon-systemd strongswan-swanctl libcharon-extra-plugins "
    "libstrongswan-standard-plugins libstrongswan-extra-plugins"
)
LIBIPSEC = Path("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
ONLY_MTU = 1400
"""Of its device ipsec0; it is written into the plugin."""

READY_SECONDS = 10.0

PLUGINS = (
    "aesni aes sha2 random nonce openssl curve25519 chapoly gcm hmac kdf pem pubkey "
    "kernel-libipsec kernel-netlink socket-default vici"
)
"""The daemon has an order of its own for them, in which they are asked."""

DAEMON = """\
charon-systemd {{
  load_modular = yes
  plugins {{
{plugins}
    vici {{
      socket = unix://{folder}/{site}.vici
    }}
  }}
  filelog {{
    file {{
      path = {folder}/{site}.log
      default = 1
      flush_line = yes
    }}
  }}
}}
"""

CONNECTION = """\
connections {{
  bench {{
    version = 2
    local_addrs = {outer_here}
    remote_addrs = {outer_there}
    proposals = aes256gcm16-prfsha256-x25519
    local {{
      auth = psk
      id = {here}.example
    }}
    remote {{
      auth = psk
      id = {there}.example
    }}
    children {{
      net {{
        local_ts = {inner_here}/32
        remote_ts = {inner_there}/32
        esp_proposals = {esp}
        start_action = {start}
      }}
    }}
  }}
}}
secrets {{
  ike {{
    secret = "a secret of a benchmark, 32 octets"
  }}
}}
"""


@dataclass(frozen=True)
class StrongSwan:
    """A daemon at each site, with a configuration of their own.

    Parameters
    ----------
    name : str
        As it stands in the table.
    mtu : int
        Of the tunnel device: there is one value only.
    esp : str
        The proposal for the Child SA, in strongSwan's words.
    """

    name: str
    mtu: int = TUNNEL_MTU
    esp: str = "aes256gcm16-noesn"

    @contextlib.contextmanager
    def up(self, namespaces: Namespaces, folder: Path) -> Iterator[Running]:
        """Start both daemons; the western one initiates."""
        if self.mtu != ONLY_MTU:
            raise EnvironmentProblem(f"its device has an MTU of {ONLY_MTU}, always")
        daemon = require_program("charon-systemd", PACKAGES)
        if not LIBIPSEC.exists():
            raise EnvironmentProblem(
                "there is no kernel-libipsec; "
                "Debian: apt-get install libcharon-extra-plugins"
            )
        for name, text in self.files(folder).items():
            (folder / name).write_text(text)
        with contextlib.ExitStack() as stack:
            programs = []
            for site in (EAST, WEST):
                address = f"{INNER[site][0]}/32"
                _run(namespaces, site, "ip", "address", "add", address, "dev", "lo")
                command = [*_settings(site, folder), daemon]
                output = folder / f"{site}.out"
                programs.append(Program(namespaces, site, command, output))
                stack.enter_context(running(programs[-1:]))
                _load(namespaces, site, folder)
            yield INNER[EAST][0], programs

    def files(self, folder: Path) -> dict[str, str]:
        """Return the daemons' settings and their connections."""
        plugins = "\n".join(f"    {each} {{ load = yes }}" for each in PLUGINS.split())
        found = {}
        for site in SITES:
            other = EAST if site == WEST else WEST
            found[f"{site}.conf"] = DAEMON.format(
                plugins=plugins, folder=folder, site=site
            )
            found[f"{site}.swanctl"] = CONNECTION.format(
                here=site,
                there=other,
                outer_here=OUTER[site][0].partition("/")[0],
                outer_there=OUTER[other][0].partition("/")[0],
                inner_here=INNER[site][0],
                inner_there=INNER[other][0],
                esp=self.esp,
                start="start" if site == WEST else "none",
            )
        return found


def _settings(site: str, folder: Path) -> list[str]:
    """Let a program read our files instead of the machine's."""
    env = require_program("env", "coreutils")
    return [env, f"STRONGSWAN_CONF={folder}/{site}.conf", f"SWANCTL_DIR={folder}"]


def _load(namespaces: Namespaces, site: str, folder: Path) -> None:
    """Give a daemon its connection, as soon as it takes commands."""
    swanctl = require_program("swanctl", "strongswan-swanctl")
    socket = folder / f"{site}.vici"
    deadline = time.monotonic() + READY_SECONDS
    while not socket.exists():
        if time.monotonic() > deadline:
            raise EnvironmentProblem("charon-systemd takes no commands")
        time.sleep(0.02)
    file = str(folder / f"{site}.swanctl")
    command = [swanctl, "--load-all", "--file", file, "--uri", f"unix://{socket}"]
    load = Program(namespaces, site, [*_settings(site, folder), *command])
    with running([load]):
        load.output(READY_SECONDS)


def _run(namespaces: Namespaces, site: str, *command: str) -> None:
    name, *arguments = command
    once = Program(namespaces, site, [require_program(name, "iproute2"), *arguments])
    with running([once]):
        once.output(READY_SECONDS)


__all__ = ["StrongSwan"]
