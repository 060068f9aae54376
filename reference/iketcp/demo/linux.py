"""The Linux calls that Python 3.11 does not offer: namespaces and parent death.

A network namespace is a machine's network in small: devices, addresses, routes and
ports of its own. One without a name lives as long as a process or an open descriptor
refers to it, so nothing can be left behind. A user namespace makes an ordinary user
root of what is inside it, and so able to make the other kind.
"""

import ctypes
import os
import signal
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process into new namespaces.

    Raises
    ------
    OSError
        The privilege is missing, or the machine does not allow it.
    """
    _check(_libc.unshare(flags))


def enter(descriptor: int, flag: int) -> None:
    """Move this thread into the namespace an open descriptor refers to.

    Raises
    ------
    OSError
        The privilege is missing, or it is a namespace of another kind.
    """
    _check(_libc.setns(descriptor, flag))


def become_root_inside() -> None:
    """Enter a new user and a new network namespace, as root of both.

    Raises
    ------
    OSError
        The machine does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    # Without privilege a group can be mapped only by who gives up setgroups().
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def die_with_parent(parent: int) -> None:
    """Ask to be killed when the parent process ends, however it ends.

    Parameters
    ----------
    parent : int
        Process id of the parent. If that is gone already, this process ends here.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def open_network_namespace() -> int:
    """Return a descriptor of the network namespace this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def open_user_namespace() -> int:
    """Return a descriptor of the user namespace this process is in."""
    return os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
