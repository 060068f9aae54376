"""Which of our Child SA policies a request fits, and in which mode.

Source: RFC 7296 §2.7
Source: RFC 7296 §2.9
Source: RFC 7296 §2.23.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from iketcp.errors import NoProposalChosenError, TsUnacceptableError
from iketcp.ike.exchanges.transport_mode import (
    Ends,
    Selectors,
    is_asked,
    seen_from_here,
)
from iketcp.ike.negotiation import Choice, choose_proposal, without_key_exchange
from iketcp.ike.payload_set import need_selectors
from iketcp.ike.payloads import KePayload, Payload
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.proposals import Proposal
from iketcp.ike.sa import IkeSa
from iketcp.registry import ProtocolId
from iketcp.selectors import narrow


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Child SA that we would accept: a policy with the selectors valid for it."""

    policy: ChildPolicy
    local_ts: Selectors
    remote_ts: Selectors


class Wanted(NamedTuple):
    """The ends that a request asks for, by the mode of the Child SA to be."""

    in_tunnel_mode: Ends
    in_transport_mode: Ends | None
    """Where it is asked for, and the selectors are those of two hosts."""


def wanted_ends(sa: IkeSa, payloads: Sequence[Payload]) -> Wanted:
    """Read the selectors of a request; its initiator is the peer.

    Raises
    ------
    MalformedMessageError
        TSi or TSr is missing.

    Source: RFC 7296 §2.23.1
    """
    tsi, tsr = need_selectors(payloads)
    as_sent = Ends(tuple(tsr.selectors), tuple(tsi.selectors))
    hosts = seen_from_here(sa, *as_sent[:2]) if is_asked(payloads) else None
    return Wanted(as_sent, hosts)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is agreed on."""

    policy: ChildPolicy
    choice: Choice
    ends: Ends
    """Narrowed."""


def choose(
    offered: Sequence[Proposal],
    wanted: Wanted,
    accepted: Sequence[Candidate],
    ke: KePayload | None,
    is_ike_auth: bool,
) -> Chosen:
    """Find the first policy whose selectors and proposals both fit.

    Where transport mode is asked for, policies that allow it go first; the others make
    tunnel mode of it. A policy for transport mode allows nothing else.

    Raises
    ------
    NoProposalChosenError, TsUnacceptableError
        None does.

    Source: RFC 7296 §2.7, RFC 7296 §2.23.1
    """
    esp = [p for p in offered if p.protocol == ProtocolId.ESP]
    if is_ike_auth:
        esp = list(without_key_exchange(esp))
    failure: NoProposalChosenError | None = None
    for candidate in sorted(accepted, key=lambda each: not each.policy.is_transport):
        is_transport = candidate.policy.is_transport
        ends = wanted.in_transport_mode if is_transport else wanted.in_tunnel_mode
        if ends is None:
            continue
        theirs = narrow(ends.theirs, candidate.remote_ts)
        ours = narrow(ends.ours, candidate.local_ts)
        if not theirs or not ours:
            continue
        policy = candidate.policy.proposals
        if is_ike_auth:
            policy = without_key_exchange(policy)
        try:
            choice = choose_proposal(esp, policy, ke.method if ke else None)
        except NoProposalChosenError as error:
            failure = error
            continue
        return Chosen(candidate.policy, choice, Ends(ours, theirs, ends.hosts))
    raise failure or TsUnacceptableError("no policy for these selectors")
