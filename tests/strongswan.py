"""strongSwan for tests: a daemon of our own, with folder, socket and log of its own.

``charon-systemd`` runs in the network namespace that a test gives it. It reads nothing
of the machine's configuration and leaves nothing behind. The kernel need not know ESP:
the plugin kernel-libipsec does it in user space over a tunnel device ``ipsec0``.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_support import PATIENCE_SECONDS, die_with_parent, eventually

DAEMON = "charon-systemd"
PLUGINS = Path("/usr/lib/ipsec/plugins")

# Debian's names of what is needed, by what each brings.
PACKAGES = {
    "charon-systemd": "the daemon",
    "strongswan-swanctl": "its control program",
    "libcharon-extauth-plugins": "EAP-MSCHAPv2",
    "libcharon-extra-plugins": "ESP in user space, EAP-TLS",
    "libstrongswan-standard-plugins": "AES in GCM",
    "libstrongswan-extra-plugins": "ChaCha20-Poly1305, AES in CTR mode, X25519",
}

LOADED = (
    "random nonce openssl curve25519 chapoly ctr gcm hmac kdf mgf1 "
    "pem pkcs1 pkcs8 x509 pubkey constraints revocation "
    "eap-identity eap-mschapv2 eap-tls "
    "kernel-libipsec kernel-netlink socket-default vici"
)
"""Plugins, in the order in which they are asked."""

STRONGSWAN_CONF = """\
charon-systemd {{
  load = {loaded}
  # Wait as long as our own peers do for an answer, and ask again soon.
  retransmit_timeout = 1.0
  retransmit_base = 1.0
  retransmit_tries = {tries}
  retry_initiate_interval = 0
  {more}
  plugins {{
    vici {{ socket = unix://{folder}/vici }}
  }}
  filelog {{
    file {{
      path = {folder}/charon.log
      default = 1
      ike = 2
      flush_line = yes
      ike_name = yes
    }}
  }}
}}
swanctl {{ load = pem pkcs1 pkcs8 x509 pubkey openssl curve25519 random }}
"""

Run = Callable[[Callable[[], Any]], Any]
"""Runs a function in some network namespace, and returns what it returns."""


@functools.cache
def strongswan_obstacle() -> str:
    """Why strongSwan cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "strongSwan wants root"
    for program in (DAEMON, "swanctl"):
        if shutil.which(program) is None:
            return f"there is no {program}; Debian: {' '.join(PACKAGES)}"
    if not (PLUGINS / "libstrongswan-kernel-libipsec.so").exists():
        return "strongSwan lacks its plugin kernel-libipsec"
    return ""


@functools.cache
def strongswan_version() -> str:
    """Version that swanctl tells of itself, such as 5.9.8."""
    told = subprocess.run(
        ["swanctl", "--help"], capture_output=True, text=True, check=False
    )
    found = re.search(r"strongSwan U?(\d[\w.]*)", told.stdout + told.stderr)
    return found[1] if found else "unknown"


class StrongSwan:
    """A running daemon.

    Parameters
    ----------
    folder : Path
        An empty folder for all its files.
    run : Callable
        Runs a function where the daemon is to live.
    more : str
        Further lines of the daemon's section of ``strongswan.conf``.
    tries : int
        How often it asks again, one second after the other, before it gives up.
    """

    def __init__(self, folder: Path, run: Run, more: str = "", tries: int = 15) -> None:
        self.folder = folder
        self._tries = tries
        self._run = run
        self._write(more)
        self._environment = {
            **os.environ,
            "STRONGSWAN_CONF": str(folder / "strongswan.conf"),
            "SWANCTL_DIR": str(folder),
        }
        self._start()

    def _start(self) -> None:
        """Start the daemon, and wait until it takes commands."""
        self._child = self._run(
            lambda: subprocess.Popen(
                [DAEMON],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (one call, no lock)
            )
        )
        try:
            eventually(self._answers, f"{DAEMON}'s socket")
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise

    @property
    def log(self) -> str:
        """All that the daemon has logged so far."""
        path = self.folder / "charon.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _answers(self) -> bool:
        assert self._child.poll() is None, f"{DAEMON} has ended:\n{self.log}"
        return (self.folder / "vici").exists() and not self._swanctl("--stats")[0]

    def _swanctl(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["swanctl", *arguments, "--uri", f"unix://{self.folder}/vici"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def swanctl(self, *arguments: str) -> str:
        """Give a command that has to succeed; returns what it prints."""
        code, printed = self._swanctl(*arguments)
        assert code == 0, f"swanctl {' '.join(arguments)}: {printed}"
        return printed

    def _write(self, more: str) -> None:
        text = STRONGSWAN_CONF.format(
            loaded=LOADED, folder=self.folder, more=more, tries=self._tries
        )
        (self.folder / "strongswan.conf").write_text(text)

    def set(self, more: str) -> None:
        """Put other lines into ``strongswan.conf``, for IKE SAs to come."""
        self._write(more)
        self.swanctl("--reload-settings")

    def load(self, configuration: str) -> None:
        """Take a configuration of connections, pools and secrets, in place of any."""
        path = self.folder / "swanctl.conf"
        path.write_text(configuration)
        self.swanctl("--load-all", "--clear", "--file", str(path))

    def initiate(self, child: str = "net") -> None:
        """Begin a Child SA, and wait until it is there."""
        self.swanctl("--initiate", "--child", child, "--timeout", "15")

    def initiate_in_vain(self, child: str = "net") -> str:
        """Begin a Child SA that must not come about; returns what is printed."""
        code, printed = self._swanctl("--initiate", "--child", child, "--timeout", "15")
        assert code != 0, printed
        return printed

    def sas(self) -> list[dict[str, Any]]:
        """IKE SAs as the daemon sees them, with their Child SAs in ``child-sas``."""
        printed = self.swanctl("--list-sas", "--raw")
        return [
            {"name": name, **fields}
            for line in printed.splitlines()
            if line.startswith("list-sa event")
            for name, fields in _read_raw(line.partition("{")[2]).items()
        ]

    def crash(self) -> None:
        """Kill the daemon, and start it again without anything that it knew."""
        self._child.kill()
        self._child.wait()
        (self.folder / "vici").unlink()
        self._start()

    def stop(self) -> None:
        """End the daemon in order; it must not have died before."""
        died = self._child.poll()
        self._child.send_signal(signal.SIGTERM)
        try:
            code = self._child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise
        assert (died, code) == (None, 0), f"{DAEMON} ended with {code}:\n{self.log}"


# An IKE SA that has not chosen its connection yet is called "(unnamed)".
_RAW = re.compile(r"([\w.()-]+)(?:=\[([^\]]*)\]|=([^ {}]*)| \{)|(\})")


def _read_raw(text: str) -> dict[str, Any]:
    """Read ``a=1 b=[x y] c {d=2}`` as swanctl prints it."""
    stack: list[dict[str, Any]] = [{}]
    for match in _RAW.finditer(text):
        name, items, value, end = match.groups()
        if end:
            if len(stack) > 1:
                stack.pop()
        elif items is not None:
            stack[-1][name] = items.split()
        elif value is not None:
            stack[-1][name] = value
        else:
            inside: dict[str, Any] = {}
            stack[-1][name] = inside
            stack.append(inside)
    return stack[0]
