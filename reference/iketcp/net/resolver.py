"""The machine's list of DNS servers, for as long as the tunnel stands.

The responder may assign DNS servers in its Configuration payload. This module puts
them into a ``resolv.conf``-style file and takes them out again: other settings of the
file are kept, the new content appears in one step, and on close the old content, link
or absence returns, unless somebody else has changed the file meanwhile; then it is
theirs.

Source: RFC 7296 §3.15.1 (INTERNAL_IP4_DNS, INTERNAL_IP6_DNS)
"""

import contextlib
import errno
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from iketcp.errors import EnvironmentProblem

_HEADING = b"# Written by iketcp; the previous content returns when the tunnel ends.\n"


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What stands at a path."""

    content: bytes | None
    """Octets of the file; None if there is none (or a link to none)."""
    link_target: str | None = None
    mode: int = 0o644
    owner: tuple[int, int] | None = None


class ResolverFile:
    """One ``resolv.conf``-style file that we change and restore.

    Parameters
    ----------
    path : Path or str
        The file; it need not exist.
    """

    def __init__(self, path: Path | str = "/etc/resolv.conf") -> None:
        self.path = Path(path)
        self.warning = ""
        self._lock = threading.Lock()
        self._previous: _Snapshot | None = None
        self._written = b""

    def apply(self, servers: Sequence[str | IPv4Address | IPv6Address]) -> None:
        """Make these the only name servers; no effect if there are none.

        Raises
        ------
        EnvironmentProblem
            A server is no IP address, or the file cannot be written.

        Source: RFC 7296 §3.15.1
        """
        addresses = [_server_address(server) for server in servers]
        if not addresses:
            return
        with self._lock:
            try:
                current = _look(self.path)
                if self._previous is None or not self._is_ours(current):
                    self._previous = current
                content = _compose(self._previous.content or b"", addresses)
                self._written = content
                mode, owner = current.mode, current.owner
                _replace(self.path, _Snapshot(content, None, mode, owner))
            except OSError as error:
                raise EnvironmentProblem(
                    f"cannot write the DNS servers into {self.path}: {error.strerror}"
                ) from error

    def close(self) -> bool:
        """Restore what was there before; idempotent and never raises.

        Returns
        -------
        bool
            False if the file was left as it is, for the reason in ``warning``: somebody
            else changed it meanwhile, or it cannot be written.
        """
        with self._lock:
            previous, self._previous = self._previous, None
            if previous is None:
                return not self.warning
            try:
                if not self._is_ours(_look(self.path)):
                    self.warning = (
                        f"{self.path} was changed by somebody else while the tunnel "
                        "was up and is left as it is"
                    )
                    return False
                _restore(self.path, previous)
            except OSError as error:
                self.warning = f"cannot restore {self.path}: {error.strerror}"
                return False
            return True

    def _is_ours(self, current: _Snapshot) -> bool:
        return current.link_target is None and current.content == self._written


def _server_address(server: str | IPv4Address | IPv6Address) -> str:
    text = str(server)
    try:
        ip_address(text)
    except ValueError:
        text = ""
    # A zone identifier may hold any character; a line of this file may not.
    if not text or not all(c.isalnum() or c in ".:%-_" for c in text):
        raise EnvironmentProblem(f"{server!r} is not the address of a DNS server")
    return text


def _compose(previous: bytes, addresses: Sequence[str]) -> bytes:
    kept = [
        line.rstrip(b"\r\n") + b"\n"
        for line in previous.splitlines(keepends=True)
        if not line.lstrip().startswith(b"nameserver") and line != _HEADING
    ]
    servers = [f"nameserver {address}\n".encode() for address in addresses]
    return b"".join([_HEADING, *servers, *kept])


def _look(path: Path) -> _Snapshot:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return _Snapshot(None)
    link_target = os.readlink(path) if stat.S_ISLNK(status.st_mode) else None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = None
    if link_target is not None:
        return _Snapshot(content, link_target)
    mode = stat.S_IMODE(status.st_mode)
    return _Snapshot(content, None, mode, (status.st_uid, status.st_gid))


def _restore(path: Path, previous: _Snapshot) -> None:
    if previous.link_target is not None:
        with tempfile.TemporaryDirectory(prefix=".iketcp-", dir=path.parent) as folder:
            link = Path(folder) / "link"
            os.symlink(previous.link_target, link)
            os.replace(link, path)
    elif previous.content is None:
        path.unlink()
    else:
        _replace(path, previous)


def _replace(path: Path, wanted: _Snapshot) -> None:
    """Put content in place in one step, or in several where the path is a mount."""
    content = wanted.content or b""
    handle, temporary = tempfile.mkstemp(prefix=".iketcp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), wanted.mode)
            if wanted.owner is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(stream.fileno(), *wanted.owner)
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        # Containers mount this file by itself: it can be rewritten, not replaced.
        if error.errno != errno.EBUSY:
            raise
        path.write_bytes(content)
