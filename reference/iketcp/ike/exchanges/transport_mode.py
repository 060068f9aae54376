"""Transport mode in IKE: whether it is agreed on, and whose addresses are meant.

The Traffic Selectors of transport mode name two hosts, each by one address: those of
the IKE SA. Whoever is behind a NAT is known to the other by another address than its
own. So each end replaces what it reads by what its own stack sees, and keeps what it
read: with those addresses the peer's stack computes its checksums.

Choice: the addresses are those of the connection on which the IKE SA began, and they
stay: moving transport mode to other addresses is nothing that IKE has a way for.

Source: RFC 7296 §1.3.1
Source: RFC 7296 §2.23.1
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from iketcp.child_sa import Address, TransportAddresses
from iketcp.errors import TsUnacceptableError
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.ike.sa import IkeSa
from iketcp.registry import NotifyType
from iketcp.selectors import TrafficSelector, narrow

Selectors = tuple[TrafficSelector, ...]


class Ends(NamedTuple):
    """The selectors of both ends of a Child SA, with the addresses our stack sees."""

    ours: Selectors
    theirs: Selectors
    hosts: TransportAddresses | None = None
    """In transport mode."""


def is_asked(payloads: Sequence[Payload]) -> bool:
    """Tell whether a message asks for transport mode, or agrees to it."""
    return find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None


def mode_payloads(is_transport: bool) -> list[Payload]:
    """Return N(USE_TRANSPORT_MODE) or nothing. Source: RFC 7296 §1.3.1."""
    return [NotifyPayload(NotifyType.USE_TRANSPORT_MODE)] if is_transport else []


def agreed_payloads(ends: Ends) -> list[Payload]:
    """Return what the answer for a Child SA says of its mode."""
    return mode_payloads(ends.hosts is not None)


def own_hosts(sa: IkeSa, local: Selectors, remote: Selectors) -> tuple[Selectors, ...]:
    """Narrow local and remote selectors to the two hosts, as the client has to.

    Raises
    ------
    TsUnacceptableError
        One of them does not take its host: the configuration does not fit.

    Source: RFC 7296 §2.23.1
    """
    hosts = (
        narrow(_host(sa.path.local_address), local),
        narrow(_host(sa.path.remote_address), remote),
    )
    if not all(hosts):
        raise TsUnacceptableError(
            f"transport mode between {sa.path.local_address} and "
            f"{sa.path.remote_address} is outside the selectors"
        )
    return hosts


def seen_from_here(sa: IkeSa, ours: Selectors, theirs: Selectors) -> Ends | None:
    """Replace addresses that a NAT made meaningless here by those of the IKE SA.

    Parameters
    ----------
    ours, theirs : tuple[TrafficSelector, ...]
        Selectors of our side and of the peer's, as the peer sent them.

    Returns
    -------
    Ends or None
        ``None``: these are not the two hosts, so there is no transport mode for them.

    Source: RFC 7296 §2.23.1
    """
    our_address, their_address = _one_address(ours), _one_address(theirs)
    if our_address is None or their_address is None:
        return None
    local, remote = sa.path.local_address, sa.path.remote_address
    if sa.nat.is_local_behind_nat:
        ours = _with_address(ours, local)
    if sa.nat.is_remote_behind_nat:
        theirs = _with_address(theirs, remote)
    if (_one_address(ours), _one_address(theirs)) != (local, remote):
        return None
    hosts = TransportAddresses(local, remote, their_address, our_address)
    return Ends(ours, theirs, hosts)


def _host(address: Address) -> Selectors:
    return (TrafficSelector.parse(str(address)),)


def _one_address(selectors: Selectors) -> Address | None:
    """Return the one address that all selectors name, or ``None``."""
    found = {each.start_address for each in selectors}
    found |= {each.end_address for each in selectors}
    return found.pop() if len(found) == 1 else None


def _with_address(selectors: Selectors, address: Address) -> Selectors:
    return tuple(
        replace(each, start_address=address, end_address=address) for each in selectors
    )
