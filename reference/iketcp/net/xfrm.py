"""Talking with the kernel's IPsec: a netlink socket, and an xfrm interface.

An xfrm interface is where the machine routes packets into, as into a TUN device; but
what goes in and comes out is sealed and opened by the kernel, by the SAs and policies
that have the interface's ``if_id``.

Source: RFC 4301 §4.4
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import zlib
from collections.abc import Iterable, Sequence

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from iketcp.errors import EnvironmentProblem, MalformedMessageError
from iketcp.net.wake import Wake
from iketcp.xfrm.layout import MESSAGE_ERROR, Request, messages_of, verdict_of

_NETLINK_XFRM = 6
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK = 10, 11
"""``NETLINK_CAP_ACK``: an answer does not repeat the request, in which there are keys;
``NETLINK_EXT_ACK``: it may have words in it."""
_LARGEST_ANSWER = 65536
_ANSWER_SECONDS = 5.0
_GONE = frozenset({errno.ESRCH, errno.ENOENT})


class XfrmRefusal(EnvironmentProblem):
    """The kernel does not do what it was asked for."""

    def __init__(self, sentence: str, code: int = 0) -> None:
        super().__init__(sentence)
        self.code = code
        """The error number, 0 if there was no answer."""


class XfrmSocket:
    """A netlink socket to the IPsec of the caller's network namespace.

    One thread at a time asks, and waits for the answer, which comes at once.

    Parameters
    ----------
    connected : socket.socket or None
        For tests: a socket to something that answers like the kernel.

    Raises
    ------
    EnvironmentProblem
        The kernel has no IPsec, or the process no descriptor left.

    Source: RFC 4301 §4.4
    """

    def __init__(self, connected: socket.socket | None = None) -> None:
        self._socket = _open_socket() if connected is None else connected
        self._socket.settimeout(_ANSWER_SECONDS)
        self._number = 0

    def ask(self, request: Request) -> bytes:
        """Ask for one thing; returns the answer's body, empty if it is just yes.

        Raises
        ------
        XfrmRefusal
            The kernel refuses, or does not answer.
        """
        self._number = (self._number + 1) & 0xFFFFFFFF
        try:
            self._socket.send(request.encode(self._number))
            while (answer := self._receive()) is None:
                pass  # the answer to a request that was given up
        except (OSError, MalformedMessageError) as error:
            raise XfrmRefusal(f"cannot {request.what}: {_text(error)}") from error
        kind, body = answer
        if kind != MESSAGE_ERROR:
            return body
        code, words = verdict_of(body)
        if code and not (request.is_removal and code in _GONE):
            raise XfrmRefusal(f"cannot {request.what}: {_reason(code, words)}", code)
        return b""

    def _receive(self) -> tuple[int, bytes] | None:
        """Read one datagram; ``None`` if our answer is not in it."""
        for kind, number, body in messages_of(self._socket.recv(_LARGEST_ANSWER)):
            if number == self._number:
                return kind, body
        return None

    def close(self) -> None:
        """Give the socket back; idempotent."""
        self._socket.close()


def _open_socket() -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_XFRM)
    except OSError as error:
        raise EnvironmentProblem(
            f"this kernel has no IPsec to talk to (CONFIG_XFRM_USER): {error.strerror}"
        ) from error
    try:
        opened.bind((0, 0))
        for option in (_CAP_ACK, _EXT_ACK):
            opened.setsockopt(_SOL_NETLINK, option, 1)
    except OSError as error:
        opened.close()
        raise EnvironmentProblem(
            f"cannot use netlink for IPsec: {error.strerror}"
        ) from error
    return opened


def _reason(code: int, words: str) -> str:
    reason = os.strerror(code) + (f" ({words})" if words else "")
    if code in (errno.EPERM, errno.EACCES):
        reason += "; run as root or with CAP_NET_ADMIN"
    return reason


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the kernel does not answer"
    return getattr(error, "strerror", None) or str(error)


def if_id_of(name: str) -> int:
    """Return the ``if_id`` of the xfrm interface that we make with a name.

    Choice: it follows from the name, which is unique in a network namespace, so that
    what a process has left that was killed can be found. Never 0, which means none.

    Source: RFC 4301 §4.4.1
    """
    return zlib.crc32(name.encode("ascii")) or 1


class XfrmInterface:
    """An xfrm interface, in the place of a TUN device: no packet comes through here.

    Parameters
    ----------
    name : str
        The interface name, at most 15 octets.
    mtu : int
        Largest inner packet in octets.

    Raises
    ------
    EnvironmentProblem
        The kernel has no xfrm interfaces, the privilege is missing, or the name is
        taken.

    Source: RFC 4301 §4.4.1
    """

    dropped_packets = 0

    def __init__(self, name: str, mtu: int) -> None:
        self.name = name
        self.if_id = if_id_of(name)
        self._lock = threading.Lock()
        self._wake = Wake()  # never set: there is nothing to read
        self._index: int | None = None
        try:
            with IPRoute(groups=0) as netlink:
                netlink.link(
                    "add", kind="xfrm", ifname=name, xfrm_if_id=self.if_id, mtu=mtu
                )
                self._index = netlink.link_lookup(ifname=name)[0]
        except (NetlinkError, OSError) as error:
            self._wake.close()
            raise EnvironmentProblem(_why_no_interface(name, error)) from error

    def __repr__(self) -> str:
        return f"XfrmInterface({self.name!r})"

    def fileno(self) -> int:
        """Return a descriptor that is never readable; -1 once closed."""
        return self._wake.fileno()

    def read_runs(self, limit: int = 64) -> list[Sequence[bytes]]:
        """Take nothing: the kernel seals what the machine sends."""
        return []

    def write_batch(self, packets: Iterable[bytes]) -> None:
        """Drop and count packets: there is no way to hand any to the machine here."""
        self.dropped_packets += sum(1 for _ in packets)

    def fit(self, mtu: int) -> None:
        """Do nothing: the kernel knows its own device's MTU."""

    def close(self) -> None:
        """Remove the interface; idempotent, from any thread."""
        with self._lock:
            index, self._index = self._index, None
            if index is None:
                return
            with contextlib.suppress(NetlinkError, OSError), IPRoute(groups=0) as link:
                link.link("del", index=index)
            self._wake.close()


def _why_no_interface(name: str, error: Exception) -> str:
    code = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    if code in (errno.EOPNOTSUPP, errno.ENODEV):
        return "this kernel has no xfrm interfaces (CONFIG_XFRM_INTERFACE)"
    if code in (errno.EPERM, errno.EACCES):
        return (
            f"no privilege to make xfrm interface {name}; "
            "run as root or with CAP_NET_ADMIN"
        )
    if code == errno.EEXIST:
        return (
            f"device {name}, or an xfrm interface with the same if_id, is there "
            f"already; choose another name, or remove it: ip link delete {name}"
        )
    return f"cannot make an xfrm interface named {name!r}: {_text(error)}"
