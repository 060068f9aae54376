"""What time brings to an IKE SA: giving up, rekeying, asking whether the peer lives.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.4
Source: RFC 7296 §2.8
Source: RFC 7296 §2.21.4
Source: RFC 9329 §6.2
Source: RFC 9329 §6.7
"""

from __future__ import annotations

from collections.abc import Callable

from iketcp.ike.child_record import Child
from iketcp.ike.engine import begin_next, repeat_request
from iketcp.ike.exchanges.create_child_sa import RekeyChild
from iketcp.ike.exchanges.informational import CheckLiveness, DeleteChild, DeleteIkeSa
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.lifetime import Age
from iketcp.ike.message_window import SentRequest
from iketcp.ike.reauthentication import is_authentication_too_old
from iketcp.ike.sa import IkeSa
from iketcp.ike.states import ChildState, IkeState

LAST_MESSAGE_ID = 0xFFFF_0000
"""Choice: from here on the IKE SA is rekeyed; an ID has 32 bits. RFC 7296 §2.2."""

HINT_SECONDS = 10.0
"""Choice: a hint that the peer is gone means nothing so soon after it was heard."""

Usage = Callable[[bytes], tuple[int, int]]
"""Octets and packets that the Child SA with this SPI (in) has carried."""


def time_passed(sa: IkeSa, now: float, usage: Usage = lambda spi: (0, 0)) -> None:
    """Do what is due: give up, repeat, forget, rekey, check liveness, send what waited.

    Parameters
    ----------
    now : float
        Seconds.
    usage : Callable[[bytes], tuple[int, int]]
        Octets and packets of a Child SA, by its SPI (in).

    Source: RFC 7296 §2.4, RFC 7296 §2.8, RFC 7383 §2.6, RFC 9329 §6.2
    """
    if sa.state is IkeState.CLOSED:
        return
    if sa.sent is not None and now >= sa.sent.deadline:
        # over TCP nothing is sent again meanwhile [9329-6.2-no-retransmit]
        _give_up(sa, sa.sent)
        return
    if sa.state_deadline is not None and now >= sa.state_deadline:
        sa.close(f"{sa.state.value}: too long", sa.state is IkeState.REKEYED)
        return
    sa.request_fragments.expire(now)
    sa.response_fragments.expire(now)
    sa.unfinished.expire(now)
    _retransmit(sa, now)
    if sa.is_usable:
        _check_lifetimes(sa, now, usage)
    if sa.is_usable:
        _check_liveness(sa, now)
    begin_next(sa, now)


def _give_up(sa: IkeSa, sent: SentRequest) -> None:
    """End an IKE SA whose request stayed without an answer that counts.

    If it was the first request of all, over UDP, perhaps nobody was there. A refusal
    counts for nothing as long as it may be forged, but tells that somebody was.

    Source: RFC 7296 §2.4, RFC 7296 §2.21.1
    """
    is_first = sa.state is IkeState.IKE_SA_INIT_SENT
    is_unheard = is_first and sa.path.is_udp and not sent.refusal
    reason = sent.refusal or f"no answer for {sa.answer_seconds:g} s"
    sa.close(reason, is_unheard=is_unheard)


def _retransmit(sa: IkeSa, now: float) -> None:
    """Send the request under way again where that is due: over UDP only.

    Source: RFC 7296 §2.1, RFC 7296 §2.4
    """
    if sa.sent is None or (plan := sa.sent.retransmission) is None:
        return
    if now >= plan.at:
        repeat_request(sa)
        plan.repeated(now)


def _check_lifetimes(sa: IkeSa, now: float, usage: Usage) -> None:
    """Rekey in time what grows old; Message IDs run out, too.

    Source: RFC 7296 §2.8, RFC 7296 §2.2
    """
    age = sa.watch.age(now)
    if age is Age.HARD:
        expire(sa, "its lifetime is over")
        return
    if is_authentication_too_old(sa, now):
        expire(sa, "its authentication is too old")
        return
    is_due = age is Age.SOFT or sa.next_message_id > LAST_MESSAGE_ID
    if is_due and not sa.is_wanted(RekeyIkeSa):
        sa.want(RekeyIkeSa())
    for child in list(sa.children.values()):
        octets, packets = usage(child.spi_in)
        _check_child(sa, child, child.watch.age(now, octets, packets))


def _check_child(sa: IkeSa, child: Child, age: Age) -> None:
    """Rekey a Child SA in time; if that fails to the end, so does the IKE SA.

    One that is replaced is deleted, and one being deleted needs no more. Choice: one
    that grew old between two looks at it, under load, is rekeyed once at the last
    moment.

    Source: RFC 7296 §2.8
    """
    if age is Age.HARD and sa.has_connection and not child.is_rekey_tried:
        age = Age.SOFT
    if age is Age.HARD and child.state is ChildState.REKEYED:
        if not sa.is_waiting(DeleteChild):
            sa.want(DeleteChild(child.spi_in))
    elif age is Age.HARD and child.state is not ChildState.DELETE_SENT:
        expire(sa, "a Child SA expired before it was rekeyed")
    elif age is Age.SOFT and child.state is ChildState.INSTALLED:
        rekey_child(sa, child)


def expire(sa: IkeSa, reason: str) -> None:
    """End an IKE SA that must not be used any more; tell the peer if it can hear.

    Source: RFC 7296 §2.8
    """
    if not sa.has_connection:
        sa.close(reason)
    elif not sa.is_wanted(DeleteIkeSa):
        sa.want(DeleteIkeSa(reason), is_urgent=True)


def rekey_child(sa: IkeSa, child: Child) -> None:
    """Queue the rekey of a Child SA, unless it is queued already."""
    waiting = (task.exchange for task in sa.tasks)
    if not any(isinstance(e, RekeyChild) and e.old is child for e in waiting):
        sa.want(RekeyChild(child))


def _check_liveness(sa: IkeSa, now: float) -> None:
    """Ask after a peer that has been silent [9329-6.7-liveness]."""
    limit = sa.policy.liveness_seconds
    if limit is None or now - sa.last_heard < limit:
        return
    if not sa.has_connection:
        return  # nobody can answer; the state is kept meanwhile [9329-6.1-keep-state]
    if sa.sent is None:  # else a request under way asks already
        sa.want(CheckLiveness())


def suspect(sa: IkeSa, now: float) -> None:
    """Ask whether the peer lives, upon a hint that anybody may have given.

    The answer, or any other message, makes further hints worthless for a while, so
    nobody can make us ask often.

    Source: RFC 7296 §2.4, RFC 7296 §2.21.4
    """
    if sa.is_usable and sa.sent is None and now - sa.last_heard >= HINT_SECONDS:
        sa.want(CheckLiveness())
        begin_next(sa, now)


def next_deadline(sa: IkeSa, now: float) -> float | None:
    """Return when :func:`time_passed` has something to do next, or ``None``."""
    times: list[float | None] = [sa.state_deadline, sa.next_task_time()]
    times += [sa.request_fragments.deadline, sa.response_fragments.deadline]
    times.append(sa.unfinished.deadline)
    if sa.sent is not None:
        times.append(sa.sent.next_event)
    if sa.is_usable:
        watches = [w for w in (sa.watch, sa.authentication) if w is not None]
        times += [at for w in watches for at in (w.soft_at, w.hard_at)]
        for child in sa.children.values():
            times += [child.watch.soft_at, child.watch.hard_at]
        if sa.policy.liveness_seconds is not None and sa.has_connection:
            times.append(sa.last_heard + sa.policy.liveness_seconds)
    return min((t for t in times if t is not None and t > now), default=None)
