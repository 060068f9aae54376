"""Addresses, routes and device settings that undo themselves.

A tunnel changes the machine it runs on: a device gets an address and an MTU, networks
are routed into it, and the peer's own address must stay outside it, or the outer
connection would try to run through itself. :class:`NetworkState` makes these changes
by netlink in the caller's network namespace and remembers how to undo each;
:meth:`NetworkState.close` restores everything in reverse order, whatever of it is
still there.

Choice: the default route is never touched. A network of prefix length 0 is routed as
its two halves, which any lookup prefers to a default route.

Source: RFC 7296 §3.15 (the assigned addresses), RFC 4301 §4.4.1 (what enters the
tunnel)
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from types import TracebackType
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from iketcp.errors import EnvironmentProblem
from iketcp.net.socket_options import path_mtu

__all__ = ["NetworkState", "path_mtu"]

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Request = Callable[[Any], Any]
_T = TypeVar("_T")

_IFF_UP = 1
_IFA_F_NODAD = 2
_RTNH_F_ONLINK = 4
_RTN_UNICAST = 1
# What the kernel answers when the thing to undo is gone already.
_GONE = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL}
)


@dataclass(frozen=True, slots=True)
class FlowRule:
    """Packets to one host, by protocol and ports, and the table that routes them."""

    destination: Address
    priority: int
    """Of all rules that take a packet, the lowest decides."""
    table: int
    protocol: int = 0
    """IP protocol, 8 bits; 0: any."""
    source_ports: tuple[int, int] | None = None
    destination_ports: tuple[int, int] | None = None


class NetworkState:
    """Changes to the machine's network, restored in reverse order by :meth:`close`.

    A context manager. Every method may be called from any thread of the network
    namespace; after ``close`` nothing can be added any more.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._undo: dict[tuple[object, ...], tuple[str, Request]] = {}
        self._tunnel_indexes: set[int] = set()
        self._is_closed = False

    def __enter__(self) -> "NetworkState":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def set_mtu(self, device: str, mtu: int) -> None:
        """Set the device's MTU, in octets.

        Raises
        ------
        EnvironmentProblem
            No such device, no privilege, or the device does not take this MTU.
        """
        what = f"set an MTU of {mtu} octets on {device}"
        with self._lock:
            link = self._link(device, what)
            index, before = link["index"], link.get("mtu")
            if before != mtu:
                self._change(
                    ("mtu", index),
                    what,
                    lambda netlink: netlink.link("set", index=index, mtu=mtu),
                    lambda netlink: netlink.link("set", index=index, mtu=before),
                )

    def set_up(self, device: str) -> None:
        """Bring the device up.

        Raises
        ------
        EnvironmentProblem
            No such device or no privilege.
        """
        what = f"bring {device} up"
        with self._lock:
            link = self._link(device, what)
            index = link["index"]
            if not link["flags"] & _IFF_UP:
                self._change(
                    ("up", index),
                    what,
                    lambda netlink: netlink.link("set", index=index, state="up"),
                    lambda netlink: netlink.link("set", index=index, state="down"),
                )

    def add_address(
        self, device: str, interface: IPv4Interface | IPv6Interface
    ) -> None:
        """Give the device an address with its prefix length; no effect if it has it.

        Raises
        ------
        EnvironmentProblem
            No such device, no privilege, or IPv6 is turned off on it.

        Source: RFC 7296 §3.15.1
        """
        what = f"add address {interface} to {device}"
        with self._lock:
            index = self._link(device, what)["index"]
            wanted = {
                "index": index,
                "address": str(interface.ip),
                "prefixlen": interface.network.prefixlen,
            }
            # A point-to-point device has nobody to detect duplicates with.
            flags = {"flags": _IFA_F_NODAD} if interface.version == 6 else {}
            self._change(
                ("address", index, interface),
                what,
                lambda netlink: netlink.addr("add", **wanted, **flags),
                lambda netlink: netlink.addr("del", **wanted),
                tolerated=errno.EEXIST,
            )

    def add_route(
        self,
        network: Network,
        device: str,
        *,
        metric: int | None = None,
        mtu: int | None = None,
        table: int | None = None,
        source: Address | None = None,
    ) -> None:
        """Route a network into the device, which must be up.

        Parameters
        ----------
        network : IPv4Network or IPv6Network
            Where packets go; prefix length 0 becomes two routes of prefix length 1.
        metric : int or None
            The route's priority; lower wins among routes of one prefix length.
        mtu : int or None
            Path MTU of this route, in octets.
        table : int or None
            A routing table that only :meth:`add_rule` leads to; ``None``: the main one.
        source : IPv4Address or IPv6Address or None
            Address of ours that packets get which have none yet.

        Raises
        ------
        EnvironmentProblem
            No such device or it is down, no privilege, or another route for this
            network and metric stands in the way.

        Source: RFC 4301 §4.4.1
        """
        what = f"route {network} into {device}"
        with self._lock:
            index = self._link(device, what)["index"]
            halves = network.subnets() if network.prefixlen == 0 else [network]
            for part in halves:
                route: dict[str, Any] = _destination(part) | {"oif": index}
                if metric is not None:
                    route["priority"] = metric
                if table is not None:
                    route["table"] = table
                if source is not None:
                    route["prefsrc"] = str(source)
                metrics = {} if mtu is None else {"metrics": {"mtu": mtu}}
                key = ("route", index, part, metric, table)
                self._add_route(key, what, route, metrics)
            self._tunnel_indexes.add(index)

    def add_rule(self, rule: "FlowRule") -> None:
        """Look some packets up in a routing table of their own.

        Raises
        ------
        EnvironmentProblem
            No privilege, or the kernel does not look at ports (before Linux 4.17).

        Source: RFC 4301 §4.4.1
        """
        wanted: dict[str, Any] = {
            "family": _family(rule.destination),
            "dst": str(rule.destination),
            "priority": rule.priority,
            "table": rule.table,
        }
        if rule.protocol:
            wanted["ip_proto"] = rule.protocol
        for name, ports in (
            ("sport_range", rule.source_ports),
            ("dport_range", rule.destination_ports),
        ):
            if ports is not None:
                wanted[name] = f"{ports[0]}:{ports[1]}"
        with self._lock:
            self._change(
                ("rule", rule),
                f"add a rule for packets to {rule.destination}",
                lambda netlink: netlink.rule("add", **wanted),
                lambda netlink: netlink.rule("del", **wanted),
                tolerated=errno.EEXIST,
            )

    def pin_route_to(
        self, address: Address, tunnelled: Iterable[Network] | None = None
    ) -> bool:
        """Keep ``address`` on its present route, whatever is routed elsewhere later.

        Adds a host route through the gateway and device that lead there now. Call it
        with the peer's outer address before adding routes into the tunnel.

        Parameters
        ----------
        address : IPv4Address or IPv6Address
            The peer's outer address.
        tunnelled : Iterable of networks or None
            What will be routed into the tunnel; if none of it contains ``address``
            there is nothing to do. None stands for everything.

        Returns
        -------
        bool
            True if a host route was added; False if none is needed.

        Raises
        ------
        EnvironmentProblem
            There is no route to ``address``, it already leads into the tunnel, or the
            privilege is missing.

        Source: RFC 4301 §5.1 (outer packets are not tunnelled again)
        """
        if tunnelled is not None and not any(address in each for each in tunnelled):
            return False
        if address.is_link_local:
            return False
        what = f"keep the route to {address} outside the tunnel"
        host = IPv4Network(address) if address.version == 4 else _host6(address)
        with self._lock:
            found = self._look_up(address, what)
            index = found.get("oif")
            if ("pin", host) in self._undo or found["type"] != _RTN_UNICAST:
                return False
            if index in self._tunnel_indexes:
                raise EnvironmentProblem(
                    f"cannot {what}: it already leads into the tunnel"
                )
            route: dict[str, Any] = _destination(host) | {"oif": index}
            for name in ("gateway", "via", "prefsrc"):
                if (value := found.get(name)) is not None:
                    route[name] = value
            if "gateway" in route or "via" in route:
                # The gateway is on this link, even where no prefix says so.
                route["flags"] = _RTNH_F_ONLINK
            try:
                self._add_route(("pin", host), what, route, {})
            except _AlreadyThere:
                return False
            return True

    def close(self) -> list[str]:
        """Undo every change, newest first; idempotent and never raises.

        Returns
        -------
        list of str
            One sentence for each change that could not be undone; what is gone
            already counts as undone.
        """
        problems = []
        with self._lock:
            self._is_closed = True
            while self._undo:
                _, (what, undo) = self._undo.popitem()
                try:
                    with IPRoute(groups=0) as netlink:
                        undo(netlink)
                except Exception as error:  # restoring goes on, whatever it is
                    if _code(error) not in _GONE:
                        problems.append(f"could not undo '{what}': {_text(error)}")
        return problems

    def _add_route(
        self,
        key: tuple[object, ...],
        what: str,
        route: dict[str, Any],
        metrics: dict[str, Any],
    ) -> None:
        self._change(
            key,
            what,
            lambda netlink: netlink.route("add", **route, **metrics),
            lambda netlink: netlink.route("del", **route),
        )

    def _change(
        self,
        key: tuple[object, ...],
        what: str,
        do: Request,
        undo: Request,
        tolerated: int | None = None,
    ) -> None:
        """Do something undoable once; only the first undo of one key counts.

        The undo is noted first, so that an interrupt in between leaves nothing behind.
        """
        if self._is_closed:
            raise EnvironmentProblem(f"cannot {what}: the tunnel is shutting down")
        is_new = key not in self._undo
        if not is_new and key[0] in ("address", "route", "pin", "rule"):
            return
        self._undo.setdefault(key, (what, undo))
        try:
            _request(what, do)
        except EnvironmentProblem as problem:
            if is_new:
                del self._undo[key]
            if tolerated is None or _code(problem.__cause__) != tolerated:
                raise

    def _link(self, device: str, what: str) -> Any:
        return _request(what, lambda netlink: netlink.link("get", ifname=device)[0])

    def _look_up(self, address: Address, what: str) -> Any:
        return _request(
            what,
            lambda netlink: netlink.route(
                "get", dst=str(address), family=_family(address)
            )[0],
        )


class _AlreadyThere(EnvironmentProblem):
    """The kernel has such a route or address already."""


def _request(what: str, function: Callable[[Any], _T]) -> _T:
    try:
        # A socket per request: nothing to share between threads, nothing to leak.
        with IPRoute(groups=0) as netlink:
            return function(netlink)
    except (NetlinkError, OSError) as error:
        code = _code(error)
        kind = _AlreadyThere if code == errno.EEXIST else EnvironmentProblem
        advice = ""
        if code in (errno.EPERM, errno.EACCES):
            advice = "; run as root or with CAP_NET_ADMIN"
        elif code == errno.EEXIST:
            advice = "; remove what is there or choose another metric"
        elif code == errno.ENETDOWN:
            advice = "; bring the device up first"
        raise kind(f"cannot {what}: {_text(error)}{advice}") from error


def _destination(network: Network) -> dict[str, Any]:
    return {"dst": str(network), "family": _family(network)}


def _family(subject: Network | Address) -> int:
    return socket.AF_INET if subject.version == 4 else socket.AF_INET6


def _host6(address: Address) -> IPv6Network:
    return IPv6Network(address.packed)


def _code(error: BaseException | None) -> int | None:
    if isinstance(error, NetlinkError):
        code: int = error.code
        return code
    return error.errno if isinstance(error, OSError) else None


def _text(error: BaseException) -> str:
    code = _code(error)
    return os.strerror(code) if code else str(error)
