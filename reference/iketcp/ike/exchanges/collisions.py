"""Requests that cross: what we do not do while we are busy with the same SA.

Either peer may begin an exchange at any time, so two that touch the same SA may meet on
the way. Most pairs are harmless. Where one would pull the ground from under the other,
it is put off with TEMPORARY_FAILURE, and its sender tries again later.

==============================  =================================================
we are                          and the peer asks to
==============================  =================================================
creating, rekeying, closing a   rekey the IKE SA: put off
Child SA, or the peer is
rekeying the IKE SA, or the     create or rekey a Child SA: put off
peer is
rekeying the IKE SA             rekey it, too: both go on, the nonces decide later;
                                put off if we are at additional key exchanges already
replacing or closing the IKE    rekey it, create or rekey a Child SA: put off
SA
rekeying a Child SA             rekey it, too: likewise
closing a Child SA              rekey it: put off
==============================  =================================================

The peer is at it, too, as long as additional key exchanges of its own are to follow.
The last two rows concern one Child SA and stand where it is looked up, in
:mod:`create_child_sa <iketcp.ike.exchanges.create_child_sa>`. To delete something is
never put off.

Source: RFC 7296 §2.25
Source: RFC 7296 §2.25.1
Source: RFC 7296 §2.25.2
Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

from iketcp.errors import TemporaryFailureError
from iketcp.ike.exchanges.create_child_sa import CreateChild
from iketcp.ike.exchanges.informational import DeleteChild
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.sa import IkeSa


def check_ike_rekey(sa: IkeSa) -> None:
    """Tell whether the peer may rekey the IKE SA now.

    Raises
    ------
    TemporaryFailureError
        We are replacing or closing it, or one of us is busy with one of its Child SAs;
        or the peer asks a second time while our own rekey is under way, or when that
        has come to its additional key exchanges.

    Source: RFC 7296 §2.25.1, RFC 7296 §2.25.2, RFC 9370 §2.2.4
    """
    _check_usable(sa)
    own = sa.exchange
    if isinstance(own, CreateChild | DeleteChild) or sa.unfinished.has_child:
        raise TemporaryFailureError("a Child SA of it is being changed")
    if isinstance(own, RekeyIkeSa) and (own.theirs is not None or own.is_followed_up):
        raise TemporaryFailureError("both peers are rekeying the IKE SA already")


def check_child_request(sa: IkeSa) -> None:
    """Tell whether the peer may create or rekey a Child SA now.

    Raises
    ------
    TemporaryFailureError
        One of us is rekeying, replacing or closing the IKE SA.

    Source: RFC 7296 §2.25.2, RFC 9370 §2.2.4
    """
    _check_usable(sa)
    if isinstance(sa.exchange, RekeyIkeSa) or sa.unfinished.has_ike_rekey:
        raise TemporaryFailureError("the IKE SA is being rekeyed")


def _check_usable(sa: IkeSa) -> None:
    if not sa.is_usable:
        raise TemporaryFailureError("the IKE SA is being replaced or closed")
