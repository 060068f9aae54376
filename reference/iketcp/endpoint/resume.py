"""Putting a session that was agreed elsewhere into an endpoint.

Keys, SPIs and counters are given; no message is exchanged. The session begins as one
does after an unexpected loss: without a connection. It serves whoever replays a known
session, such as the vectors of :mod:`mapping <iketcp.mapping>`, and could serve a
standby that takes over from another host.

Source: RFC 9329 §6.1
Source: RFC 7296 §2.2
Source: RFC 4303 §3.3.3, RFC 4303 §3.4.3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.effects import Effect
from iketcp.endpoint.endpoint import Endpoint
from iketcp.endpoint.tables import IkeSession
from iketcp.ike.child_record import Child
from iketcp.ike.exchanges.child import install
from iketcp.ike.keys import IkeKeys
from iketcp.ike.lifetime import LifetimeWatch
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.ike.states import IkeEvent


@dataclass(frozen=True, slots=True)
class IkeSaState:
    """An established IKE SA with no request of ours under way. RFC 7296 §2.2."""

    is_original_initiator: bool
    """We sent the first request of this IKE SA."""
    spi_i: bytes
    """8 octets."""
    spi_r: bytes
    """8 octets."""
    suite: Suite
    keys: IkeKeys = field(repr=False)
    next_message_id: int
    """Of our next request, 32 bits."""
    expected_message_id: int
    """Of the peer's next request, 32 bits."""
    last_response: bytes | None = field(repr=False)
    """Our response to the request before that."""
    last_iv: int
    """The IV of our last message, where the IV is a counter."""
    is_fragmentation_agreed: bool = False
    """Both take IKE fragments. Source: RFC 7383 §2.3"""


@dataclass(frozen=True, slots=True)
class ChildSaState:
    """A Child SA that has carried packets. RFC 4303 §3.3.3, §3.4.3."""

    parameters: ChildSaParameters
    last_sent: int
    """Sequence number of our last packet; 0 if there was none."""
    highest_received: int
    """Highest sequence number authenticated; all up to it count as seen."""


def install_session(
    endpoint: Endpoint,
    ike: IkeSaState,
    children: Sequence[ChildSaState],
    is_tcp_originator: bool,
    path: Path,
    now: float,
) -> list[Effect]:
    """Give an endpoint a session, without a connection [9329-6.1-keep-state].

    Parameters
    ----------
    is_tcp_originator : bool
        We opened its connections; an endpoint has one such session at most.
    path : Path
        Where it began.

    Raises
    ------
    LookupError
        The endpoint's policy names no Child SA as ``children`` do.

    Source: RFC 9329 §6.1
    """
    sa = _ike_sa(endpoint, ike, path, now)
    session = IkeSession(is_tcp_originator, ike=sa, was_established=True)
    policies = {policy.name: policy for policy in endpoint.context.policy.children}
    for state in children:
        policy = policies[state.parameters.name]
        watch = LifetimeWatch(policy.lifetime, endpoint.context.entropy, now)
        install(sa, Child(policy, state.parameters, watch, (b"", b"")))
    effects = endpoint.adopt(sa, session, now)
    for state in children:
        esp = endpoint.tables.children[state.parameters.spi_in].esp
        esp.resume_at(state.last_sent, state.highest_received)
    return effects


def _ike_sa(endpoint: Endpoint, ike: IkeSaState, path: Path, now: float) -> IkeSa:
    sa = IkeSa(
        endpoint.context, ike.is_original_initiator, ike.spi_i, ike.spi_r, path, now
    )
    sa.use_keys(ike.suite, ike.keys)
    if sa.protection is not None:  # pragma: no branch - it was just made
        sa.protection.resume_at(ike.last_iv)
    sa.transition(IkeEvent.AUTHENTICATE)
    sa.has_connection = False
    sa.is_fragmentation_agreed = ike.is_fragmentation_agreed
    sa.next_message_id = ike.next_message_id
    sa.answered.expected = ike.expected_message_id
    sa.answered.response = () if ike.last_response is None else (ike.last_response,)
    return sa
