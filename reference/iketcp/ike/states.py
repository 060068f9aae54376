"""The states of an IKE SA and of a Child SA, as literal tables.

All that may happen to an SA stands in the two tables below, one row a transition with
the section it follows from; an event without a row in the present state is a mistake of
the caller's. Nothing here knows messages, keys or time.

Source: RFC 7296 §1.2
Source: RFC 7296 §2.8
Source: RFC 7296 §2.16
Source: RFC 7296 §2.21
Source: RFC 7296 §2.25
Source: RFC 9242 §3.2
"""

from enum import Enum


class IkeState(Enum):
    """Where an IKE SA stands. Source: RFC 7296 §1.2."""

    CREATED = "created"
    IKE_SA_INIT_SENT = "IKE_SA_INIT request sent"
    IKE_SA_INIT_ANSWERED = "IKE_SA_INIT answered, IKE_AUTH awaited"
    INTERMEDIATE_SENT = "IKE_INTERMEDIATE request sent"
    IKE_AUTH_SENT = "IKE_AUTH request sent"
    ESTABLISHED = "established"
    REKEYED = "replaced by a new IKE SA, its deletion awaited"
    DELETE_SENT = "deletion requested, answer awaited"
    CLOSED = "closed"


class IkeEvent(Enum):
    """What moves an IKE SA from state to state."""

    SEND_IKE_SA_INIT = "we begin"
    ANSWER_IKE_SA_INIT = "we answer an IKE_SA_INIT request"
    SEND_INTERMEDIATE = "we send IKE_INTERMEDIATE"
    ANSWER_KE = "we answer IKE_INTERMEDIATE"
    SEND_IKE_AUTH = "we send IKE_AUTH"
    ANSWER_EAP = "we answer a round of EAP"
    AUTHENTICATE = "both peers are authenticated"
    REKEY = "a new IKE SA took over"
    SEND_DELETE = "we ask to delete it"
    CLOSE = "it ends"


_I, _E = IkeState, IkeEvent

IKE_TRANSITIONS: dict[tuple[IkeState, IkeEvent], IkeState] = {
    # first exchange; a repetition after COOKIE or INVALID_KE_PAYLOAD begins anew
    (_I.CREATED, _E.SEND_IKE_SA_INIT): _I.IKE_SA_INIT_SENT,  # RFC 7296 §1.2
    (_I.IKE_SA_INIT_SENT, _E.SEND_IKE_SA_INIT): _I.IKE_SA_INIT_SENT,  # RFC 7296 §2.6
    (_I.CREATED, _E.ANSWER_IKE_SA_INIT): _I.IKE_SA_INIT_ANSWERED,  # RFC 7296 §1.2
    # in between, where they were agreed on
    (_I.IKE_SA_INIT_SENT, _E.SEND_INTERMEDIATE): _I.INTERMEDIATE_SENT,  # RFC 9242 §3.2
    (_I.INTERMEDIATE_SENT, _E.SEND_INTERMEDIATE): _I.INTERMEDIATE_SENT,  # RFC 9242 §3.2
    (_I.IKE_SA_INIT_ANSWERED, _E.ANSWER_KE): _I.IKE_SA_INIT_ANSWERED,  # RFC 9242 §3.2
    (_I.INTERMEDIATE_SENT, _E.SEND_IKE_AUTH): _I.IKE_AUTH_SENT,  # RFC 9242 §3.2
    # second exchange
    (_I.IKE_SA_INIT_SENT, _E.SEND_IKE_AUTH): _I.IKE_AUTH_SENT,  # RFC 7296 §1.2
    # with EAP in several rounds
    (_I.IKE_AUTH_SENT, _E.SEND_IKE_AUTH): _I.IKE_AUTH_SENT,  # RFC 7296 §2.16
    (_I.IKE_SA_INIT_ANSWERED, _E.ANSWER_EAP): _I.IKE_SA_INIT_ANSWERED,  # RFC 7296 §2.16
    (_I.IKE_AUTH_SENT, _E.AUTHENTICATE): _I.ESTABLISHED,  # RFC 7296 §2.15
    (_I.IKE_SA_INIT_ANSWERED, _E.AUTHENTICATE): _I.ESTABLISHED,  # RFC 7296 §2.15
    # an IKE SA made by a rekey is born authenticated
    (_I.CREATED, _E.AUTHENTICATE): _I.ESTABLISHED,  # RFC 7296 §2.18
    (_I.ESTABLISHED, _E.REKEY): _I.REKEYED,  # RFC 7296 §2.8
    (_I.ESTABLISHED, _E.SEND_DELETE): _I.DELETE_SENT,  # RFC 7296 §1.4.1
    (_I.REKEYED, _E.SEND_DELETE): _I.DELETE_SENT,  # RFC 7296 §2.8
    # every state can end
    (_I.CREATED, _E.CLOSE): _I.CLOSED,  # RFC 7296 §2.21.1
    (_I.IKE_SA_INIT_SENT, _E.CLOSE): _I.CLOSED,  # RFC 9329 §6.4
    (_I.IKE_SA_INIT_ANSWERED, _E.CLOSE): _I.CLOSED,  # RFC 7296 §2.21.2
    (_I.INTERMEDIATE_SENT, _E.CLOSE): _I.CLOSED,  # RFC 9242 §3.4
    (_I.IKE_AUTH_SENT, _E.CLOSE): _I.CLOSED,  # RFC 7296 §2.21.2
    (_I.ESTABLISHED, _E.CLOSE): _I.CLOSED,  # RFC 7296 §2.21.3
    (_I.REKEYED, _E.CLOSE): _I.CLOSED,  # RFC 7296 §1.4.1
    (_I.DELETE_SENT, _E.CLOSE): _I.CLOSED,  # RFC 7296 §1.4.1
}


class ChildState(Enum):
    """Where a Child SA stands. Source: RFC 7296 §2.25.1."""

    INSTALLED = "installed"
    REKEY_SENT = "rekey requested, answer awaited"
    REKEYED = "replaced, its deletion awaited"
    DELETE_SENT = "deletion requested, answer awaited"
    REMOVED = "removed"


class ChildEvent(Enum):
    """What moves a Child SA from state to state."""

    SEND_REKEY = "we ask to rekey it"
    REKEY_FAILED = "our rekey was refused"
    REPLACE = "another Child SA took its place"
    SEND_DELETE = "we ask to delete it"
    REMOVE = "it ends"


_C, _F = ChildState, ChildEvent

CHILD_TRANSITIONS: dict[tuple[ChildState, ChildEvent], ChildState] = {
    (_C.INSTALLED, _F.SEND_REKEY): _C.REKEY_SENT,  # RFC 7296 §1.3.3
    (_C.REKEY_SENT, _F.REKEY_FAILED): _C.INSTALLED,  # RFC 7296 §2.25
    (_C.INSTALLED, _F.REPLACE): _C.REKEYED,  # RFC 7296 §2.8
    (_C.REKEY_SENT, _F.REPLACE): _C.REKEYED,  # RFC 7296 §2.8
    (_C.INSTALLED, _F.SEND_DELETE): _C.DELETE_SENT,  # RFC 7296 §1.4.1
    (_C.REKEYED, _F.SEND_DELETE): _C.DELETE_SENT,  # RFC 7296 §2.8
    (_C.INSTALLED, _F.REMOVE): _C.REMOVED,  # RFC 7296 §1.4.1
    (_C.REKEY_SENT, _F.REMOVE): _C.REMOVED,  # RFC 7296 §2.25.1
    (_C.REKEYED, _F.REMOVE): _C.REMOVED,  # RFC 7296 §1.4.1
    (_C.DELETE_SENT, _F.REMOVE): _C.REMOVED,  # RFC 7296 §1.4.1
}


def next_ike_state(state: IkeState, event: IkeEvent) -> IkeState:
    """Look an IKE SA's transition up.

    Raises
    ------
    LookupError
        The table has no row for ``event`` in ``state``.
    """
    return IKE_TRANSITIONS[state, event]


def next_child_state(state: ChildState, event: ChildEvent) -> ChildState:
    """Look a Child SA's transition up.

    Raises
    ------
    LookupError
        The table has no row for ``event`` in ``state``.
    """
    return CHILD_TRANSITIONS[state, event]
