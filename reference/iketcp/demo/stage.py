"""The stage: two network namespaces and a wire between them.

A short-lived helper process makes the namespaces, joins them by a pair of virtual
Ethernet devices, and hands descriptors of them to the demonstration. They have no
names and no files: when the last process in them ends and the last descriptor closes,
the kernel takes them away with everything inside, whatever happened. The machine's own
network never sees a device.

Run as a module this file is the helper.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from iketcp.demo import linux
from iketcp.demo.children import Entrance, python_command
from iketcp.demo.scenery import EAST, LINK, LINK_MTU, OUTER, TUNNEL_DEVICE, WEST
from iketcp.errors import EnvironmentProblem

Privilege = Literal["root", "user"]

TIMEOUT_SECONDS = 20.0

_IFA_F_NODAD = 2
_MOST_REPORT = 4096


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Open descriptors of both sites' namespaces; a context manager.

    ``user`` is the user namespace that owns them, or None where root made them.
    """

    privilege: Privilege
    network: Mapping[str, int]
    user: int | None

    def __enter__(self) -> "Namespaces":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptors; the namespaces go with the last process in them."""
        for descriptor in (*self.network.values(), self.user):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def entrance(self, site: str) -> Entrance:
        """What a child process needs to enter a site."""
        return Entrance(self.network[site], self.user)

    def identity(self, site: str) -> tuple[int, int]:
        """Device and inode that tell one network namespace from another."""
        status = os.fstat(self.network[site])
        return status.st_dev, status.st_ino


def all_processes() -> list[int]:
    """Return the ids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def place_of(process: int) -> tuple[int, int] | None:
    """Return device and inode of a process's network namespace.

    None if it has ended or is none of our business.
    """
    with contextlib.suppress(OSError):
        status = os.stat(f"/proc/{process}/ns/net")
        return status.st_dev, status.st_ino
    return None


def make_namespaces(privilege: Privilege) -> Namespaces:
    """Build the stage.

    Parameters
    ----------
    privilege : str
        ``"root"`` makes network namespaces directly; ``"user"`` makes a user
        namespace first, which needs no privilege where the machine allows it.

    Raises
    ------
    EnvironmentProblem
        The machine does not allow it, or has no tunnel device to offer inside.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(TIMEOUT_SECONDS)
        command, environment = python_command("iketcp.demo.stage")
        helper = subprocess.Popen(
            [*command, privilege, str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        try:
            data, descriptors, _, _ = socket.recv_fds(ours, _MOST_REPORT, 3)
        except TimeoutError:
            raise EnvironmentProblem("no network namespace was made in time") from None
        finally:
            helper.kill()
            helper.wait()
    problem = json.loads(data)["problem"] if data else "the helper process failed"
    if problem:
        raise EnvironmentProblem(problem)
    west, east, *user = descriptors
    return Namespaces(privilege, {WEST: west, EAST: east}, user[0] if user else None)


def build(privilege: Privilege) -> list[int]:
    """Make and join the namespaces; return descriptors: west, east, and the user's.

    This process ends up in the eastern namespace.

    Raises
    ------
    OSError
        The machine does not allow one of the steps.
    """
    owner = []
    if privilege == "user":
        linux.become_root_inside()
        owner = [linux.open_user_namespace()]
    else:
        linux.unshare(linux.CLONE_NEWNET)
    west = linux.open_network_namespace()
    linux.unshare(linux.CLONE_NEWNET)
    east = linux.open_network_namespace()
    _join(west)
    _configure(EAST)
    linux.enter(west, linux.CLONE_NEWNET)
    _configure(WEST)
    _try_tunnel_device()
    linux.enter(east, linux.CLONE_NEWNET)
    return [west, east, *owner]


def _netlink() -> Any:
    # Imported late: the processes on the stage import this module too.
    from pyroute2 import IPRoute  # noqa: PLC0415

    return IPRoute(groups=0)


def _join(west: int) -> None:
    """Make the wire here, in the east, and push its other end to the west."""
    with _netlink() as netlink:
        netlink.link("add", ifname=LINK[EAST], kind="veth", peer={"ifname": LINK[WEST]})
        (index,) = netlink.link_lookup(ifname=LINK[WEST])
        netlink.link("set", index=index, net_ns_fd=west)


def _configure(site: str) -> None:
    with _netlink() as netlink:
        (index,) = netlink.link_lookup(ifname=LINK[site])
        netlink.link("set", index=index, mtu=LINK_MTU)
        for interface in OUTER[site]:
            address, _, prefix = interface.partition("/")
            flags = {"flags": _IFA_F_NODAD} if ":" in address else {}
            netlink.addr(
                "add", index=index, address=address, prefixlen=int(prefix), **flags
            )
        (loopback,) = netlink.link_lookup(ifname="lo")
        for each in (loopback, index):
            netlink.link("set", index=each, state="up")


def _try_tunnel_device() -> None:
    """Find out now whether a tunnel device can be made inside."""
    from iketcp.net.tun import LinuxTun  # noqa: PLC0415

    LinuxTun(TUNNEL_DEVICE).close()


def _explain(privilege: Privilege, error: Exception) -> str:
    where = "without a user namespace" if privilege == "root" else "in a user namespace"
    if isinstance(error, EnvironmentProblem):
        return f"{where}: {error}"
    reason = error.strerror if isinstance(error, OSError) else repr(error)
    return f"{where}: this user may not make network namespaces ({reason})"


def main() -> None:
    """Build the stage for the parent process and send it the descriptors."""
    privilege: Privilege = "user" if sys.argv[1] == "user" else "root"
    linux.die_with_parent(os.getppid())
    with socket.socket(fileno=int(sys.argv[2])) as channel:
        problem, descriptors = "", []
        try:
            descriptors = build(privilege)
        except Exception as error:  # whatever it is, the parent has to be told
            problem = _explain(privilege, error)
        report = json.dumps({"problem": problem[: _MOST_REPORT // 4]}).encode()
        socket.send_fds(channel, [report], descriptors)


if __name__ == "__main__":
    main()
