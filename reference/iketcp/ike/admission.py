"""Admission: what a responder asks of an initiator before it keeps any state.

Nothing is asked as long as few IKE SAs are half-open. Over UDP a cookie is asked for
when they grow more, for addresses can be forged; over TCP an initiator has proved its
address already. When there are many, an initiator has to bring back a cookie with
the solution of the puzzle that came along. The cookie says which puzzle it was, so
nothing is remembered of those who only ask.

Choice: a request that brings its cookie back without a solution gets a new puzzle, and
no place in a lottery: over TCP such requests cost an attacker next to nothing.

Source: RFC 8019 §7.1
Source: RFC 9329 §6.3
"""

from collections.abc import Iterable, Sequence

from iketcp.crypto.prf import PRFS
from iketcp.errors import MalformedMessageError, NoProposalChosenError
from iketcp.ike.context import IkeContext
from iketcp.ike.cookies import info_of
from iketcp.ike.header import Header
from iketcp.ike.nat_detection import Path
from iketcp.ike.negotiation import transforms_of
from iketcp.ike.payload_set import find, find_notify, need
from iketcp.ike.payloads import (
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
)
from iketcp.ike.proposals import Proposal
from iketcp.ike.puzzles import Puzzle, solved_bits
from iketcp.registry import NotifyType, TransformType


def is_loaded(context: IkeContext, half_open: int) -> bool:
    """Tell whether so many half-open IKE SAs ask for puzzles. RFC 8019 §4.4."""
    return half_open >= context.policy.puzzle_threshold


def demand(
    context: IkeContext,
    header: Header,
    payloads: Sequence[Payload],
    path: Path,
    now: float,
    half_open: int,
) -> tuple[Payload, ...]:
    """Say what an initiator has to bring first.

    A cookie alone is asked for by configuration only [9329-6.3-cookie-puzzle], or over
    UDP. It holds over any connection from the same address [9329-6.3-port].

    Parameters
    ----------
    header, payloads : Header, Sequence[Payload]
        The IKE_SA_INIT request.
    path : Path
        How it came.
    half_open : int
        IKE SAs that wait for their IKE_AUTH.

    Returns
    -------
    tuple[Payload, ...]
        N(COOKIE), or N(COOKIE) and N(PUZZLE); empty when the request is to be served.

    Raises
    ------
    MalformedMessageError
        SA or Ni is missing or doubled.
    NoProposalChosenError
        A puzzle is due, and there is no prf that both sides know.

    Source: RFC 7296 §2.6, RFC 8019 §7.1.1, RFC 8019 §7.1.5, RFC 9329 §6.3
    """
    policy = context.policy
    under_load = is_loaded(context, half_open)
    is_forgeable = path.is_udp and half_open >= policy.cookie_threshold
    if not under_load and not policy.is_cookie_required and not is_forgeable:
        return ()
    ni = need(payloads, NoncePayload).nonce
    address, spi_i = path.remote_address, header.spi_i
    cookie = find_notify(payloads, NotifyType.COOKIE)
    is_valid = cookie is not None and context.cookies.is_valid(
        cookie.data, ni, address, spi_i, now
    )
    info = b""
    if under_load:
        if cookie is not None and is_valid and _is_paid(context, cookie.data, payloads):
            return ()
        prf = _common_prf(need(payloads, SaPayload).proposals, policy.proposals)
        info = Puzzle(prf, policy.puzzle_difficulty).encode()
    elif is_valid:
        return ()
    fresh = context.cookies.make(ni, address, spi_i, now, info)
    asked = (NotifyPayload(NotifyType.COOKIE, fresh),)
    return (*asked, NotifyPayload(NotifyType.PUZZLE, info)) if info else asked


def spend(context: IkeContext, payloads: Sequence[Payload]) -> None:
    """Note that a request was served under load: its solution is good no more.

    Source: RFC 8019 §10
    """
    cookie = find_notify(payloads, NotifyType.COOKIE)
    if cookie is not None:  # pragma: no branch - else it would not have been served
        context.cookies.spend(cookie.data)


def _is_paid(context: IkeContext, cookie: bytes, payloads: Sequence[Payload]) -> bool:
    """Tell whether the puzzle that came with a valid cookie is solved.

    All four keys are tried. A solution for a cookie that came without a puzzle is not
    looked at, and one that is malformed is none.

    Source: RFC 8019 §7.1.4
    """
    info = info_of(cookie)
    answer = find(payloads, PsPayload)
    if not info or answer is None or context.cookies.is_spent(cookie):
        return False
    puzzle = Puzzle.decode(info)
    try:
        bits = solved_bits(PRFS[puzzle.prf], cookie, answer.solution)
    except MalformedMessageError:
        return False
    return bits >= puzzle.wanted


def _common_prf(offered: Iterable[Proposal], ours: Iterable[Proposal]) -> int:
    """Choose the prf that we like best of those which both sides know.

    Raises
    ------
    NoProposalChosenError
        There is none.

    Source: RFC 8019 §7.1.1.2
    """
    theirs = {t.id for p in offered for t in transforms_of(p, TransformType.PRF)}
    for proposal in ours:
        for transform in transforms_of(proposal, TransformType.PRF):
            if transform.id in theirs:
                return transform.id
    raise NoProposalChosenError("no prf in common")
