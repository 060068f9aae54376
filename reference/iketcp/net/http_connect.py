"""Asking a web proxy for a way to a host: HTTP CONNECT.

The request goes out as the first octets of a TCP connection to the proxy. What follows
a successful answer is the other end's, octet by octet; TLS or the stream prefix comes
next, as if there were no proxy.

Source: RFC 9329 App. A, RFC 2817 §5.2, RFC 2817 §5.3
"""

import time
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from iketcp.net.tcp_connection import ConnectionBroken, TcpConnection

MAX_ANSWER = 16384
"""Choice: octets of the longest answer that is read."""

_END = b"\r\n\r\n"
_MAX_SHOWN = 60
_UNAUTHORIZED = ("401", "407")
"""The second one is meant; some proxies say the first where a password is wrong."""


class ProxyRefused(ConnectionBroken):
    """The proxy answers, but does not give the way."""


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """Whom to ask for. RFC 2817 §5.2."""

    host: str
    """Host name, which the proxy looks up, or IP address."""
    port: int
    user: str | None = None
    """For Basic authentication; None: none."""
    password: str = field(default="", repr=False)

    def encode(self) -> bytes:
        """Return the request, with the empty line at its end.

        Source: RFC 2817 §5.2
        """
        authority = f"{_bracketed(self.host)}:{self.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self.user is not None:
            pair = f"{self.user}:{self.password}".encode()
            lines.append(f"Proxy-Authorization: Basic {b64encode(pair).decode()}")
        return "\r\n".join([*lines, "", ""]).encode()


def _bracketed(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host.encode("idna").decode()
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def connect_through(
    carrier: TcpConnection, request: ConnectRequest, timeout_seconds: float
) -> bool:
    """Ask the proxy at the other end of a connection; owner thread only.

    Returns
    -------
    bool
        False if the connection was told to stop meanwhile.

    Raises
    ------
    ProxyRefused
        It answers with anything but success, or with what is no HTTP.
    ConnectionBroken
        The connection is lost, or there is no answer in time.

    Source: RFC 9329 App. A, RFC 2817 §5.3 [9329-A-connect]
    """
    deadline = time.monotonic() + timeout_seconds
    carrier.send(request.encode(), droppable=False)
    answer = b""
    while _END not in answer:
        if len(answer) > MAX_ANSWER:
            raise ProxyRefused("the proxy's answer has no end")
        try:
            octets = carrier.wait_and_receive(MAX_ANSWER, deadline)
        except ConnectionBroken as error:
            raise ConnectionBroken(f"proxy: {error}") from error
        if octets is None:
            return False
        if not octets:
            raise ProxyRefused("the proxy closes the connection without an answer")
        answer += octets
    head, _, rest = answer.partition(_END)
    _check(head)
    carrier.give_back(rest)
    return True


def _check(head: bytes) -> None:
    """Read the status line.

    Raises
    ------
    ProxyRefused
        It says anything but success.

    Source: RFC 2817 §5.3
    """
    line = head.partition(b"\r\n")[0][:_MAX_SHOWN].decode("ascii", "replace")
    version, _, rest = line.partition(" ")
    status = rest[:3]
    if (
        not version.startswith("HTTP/1.")
        or not status.isascii()
        or not status.isdigit()
    ):
        raise ProxyRefused("the proxy does not answer in HTTP")
    if status in _UNAUTHORIZED:
        raise ProxyRefused(f"the proxy wants another user name or password ({status})")
    if not status.startswith("2"):
        raise ProxyRefused(f"the proxy refuses: {rest.strip()!r}")
