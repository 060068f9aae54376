"""IKE_FOLLOWUP_KE: the additional key exchanges of a CREATE_CHILD_SA.

::

    initiator                                    responder
    CREATE_CHILD_SA: SA, Ni, KEi, …        →
                                           ←     SA, Nr, KEr, …, N(link 1)
    IKE_FOLLOWUP_KE: KEi(1), N(link 1)     →
                                           ←     KEr(1), N(link 2)
    IKE_FOLLOWUP_KE: KEi(2), N(link 2)     →
                                           ←     KEr(2)

N is ADDITIONAL_KEY_EXCHANGE. The SA is made by the last answer, from the secrets of all
key exchanges together. Whatever goes wrong before that leaves the old SA as it was.

Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from iketcp.crypto import key_exchange
from iketcp.crypto.key_exchange import KeyExchange
from iketcp.errors import (
    ChildSaNotFoundError,
    ExchangeError,
    InvalidKePayloadError,
    MalformedMessageError,
    StateNotFoundError,
    TemporaryFailureError,
)
from iketcp.ike.payload_set import find_error, find_notify, need, notify_name
from iketcp.ike.payloads import KePayload, NotifyPayload, Payload
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.unfinished import Unfinished
from iketcp.registry import ExchangeType, NotifyType

_LABEL = "followup_ke.ke"


def raise_for_error(payloads: Sequence[Payload]) -> None:
    """Turn the error Notify of a response, if there is one, into its exception.

    Raises
    ------
    InvalidKePayloadError, TemporaryFailureError, ChildSaNotFoundError, \
    StateNotFoundError
        Errors with a remedy of their own.
    ExchangeError
        Any other error Notify.

    Source: RFC 7296 §1.3, RFC 7296 §2.25, RFC 9370 §2.2.4
    """
    error = find_error(payloads)
    if error is None:
        return
    if error.notify_type == NotifyType.INVALID_KE_PAYLOAD:
        if len(error.data) != 2:
            raise MalformedMessageError("INVALID_KE_PAYLOAD without a method")
        raise InvalidKePayloadError(int.from_bytes(error.data, "big"))
    if error.notify_type == NotifyType.TEMPORARY_FAILURE:
        raise TemporaryFailureError("the peer is busy with another exchange")
    if error.notify_type == NotifyType.STATE_NOT_FOUND:
        raise StateNotFoundError("the peer has lost what was agreed on")
    if error.notify_type == NotifyType.CHILD_SA_NOT_FOUND:
        raise ChildSaNotFoundError(error.spi)
    raise ExchangeError(f"the peer answers {notify_name(error)}")


def _link_in(payloads: Sequence[Payload]) -> bytes:
    """Read N(ADDITIONAL_KEY_EXCHANGE).

    Raises
    ------
    MalformedMessageError
        It is missing where a key exchange is to follow, or follows.
    """
    notify = find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
    if notify is None:
        raise MalformedMessageError("no ADDITIONAL_KEY_EXCHANGE")
    return notify.data


def _link_payload(link: bytes) -> NotifyPayload:
    return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)


def _public_value(payloads: Sequence[Payload], method: int) -> bytes:
    """Read the KE payload of the method whose turn it is.

    Raises
    ------
    MalformedMessageError
        It is missing, doubled, or of another method.
    """
    ke = need(payloads, KePayload)
    if ke.method != method:
        raise MalformedMessageError(f"a KE payload of method {ke.method}, not {method}")
    return ke.public_value


# --- initiator ------------------------------------------------------------------------


class Creation(Exchange):
    """Our CREATE_CHILD_SA, with all IKE_FOLLOWUP_KE that come after it.

    It is one exchange after the other, and one thing to all others: what is put off
    during CREATE_CHILD_SA is put off until the SA is made.

    Source: RFC 9370 §2.2.4
    """

    def __init__(self) -> None:
        self.exchange_type = ExchangeType.CREATE_CHILD_SA
        self._methods: tuple[int, ...] = ()
        self._link = b""
        self._key_exchange: KeyExchange | None = None
        self.secrets = b""
        """SK(1) | SK(2) | … of the key exchanges that are done."""
        self.is_over = False
        """The SA is made, or left to the peer's own exchange."""

    @property
    def is_followed_up(self) -> bool:
        """CREATE_CHILD_SA is done, and IKE_FOLLOWUP_KE has begun."""
        return self.exchange_type is ExchangeType.IKE_FOLLOWUP_KE

    @property
    def is_put_off_by_rekey(self) -> bool:
        """It does not begin while the peer is replacing the IKE SA."""
        return not self.is_followed_up

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return what begins it; or KEi(n), N(ADDITIONAL_KEY_EXCHANGE)."""
        if not self.is_followed_up:
            return self.begin(sa, now)
        ours = key_exchange.generate(self._methods[0], sa.context.entropy, _LABEL)
        self._key_exchange = ours
        return [KePayload(ours.method, ours.public_value), _link_payload(self._link)]

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Take the answer, and go on to the next key exchange or make the SA.

        If both peers rekeyed at once and this exchange has the lowest nonce, it ends
        here: there is no SA yet to be deleted, and the peer's own goes on.

        Raises
        ------
        StateNotFoundError
            The peer has waited too long: all of it has failed.
        ExchangeError
            The peer refused.
        MalformedMessageError
            A payload is missing, or not what it should be.

        Source: RFC 9370 §2.2.4
        """
        raise_for_error(response.payloads)
        if self.is_followed_up:
            self._take(response.payloads)
        else:
            self._methods = self.accept(sa, response)
            if self._methods and self.is_lost(sa):
                self.is_over = True
                self.yield_to_peer(sa, now)
                return
            self.outlive_peers(sa)
        if self._methods:
            self._link = _link_in(response.payloads)
            self.exchange_type = ExchangeType.IKE_FOLLOWUP_KE
            sa.want(self, is_urgent=True)
            return
        self.is_over = True
        self.finish(sa, response, now)

    def _take(self, payloads: Sequence[Payload]) -> None:
        """Take KEr(n) of an IKE_FOLLOWUP_KE response."""
        if self._key_exchange is None:
            raise LookupError("a response without request")  # pragma: no cover
        method, *others = self._methods
        theirs = _public_value(payloads, method)
        self.secrets += self._key_exchange.shared_secret(theirs)
        self._methods, self._key_exchange = tuple(others), None

    @abstractmethod
    def begin(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return the payloads of CREATE_CHILD_SA, or ``None`` if it is not needed."""

    @abstractmethod
    def accept(self, sa: IkeSa, response: Received) -> tuple[int, ...]:
        """Check the answer to CREATE_CHILD_SA; no SA is made yet.

        Returns
        -------
        tuple[int, ...]
            Methods of the additional key exchanges that are to follow.
        """

    @abstractmethod
    def finish(self, sa: IkeSa, response: Received, now: float) -> None:
        """Make the SA; ``response`` is the last one."""

    def is_lost(self, sa: IkeSa) -> bool:
        """Tell whether the peer's own exchange, which crossed this one, has won."""
        return False

    def outlive_peers(self, sa: IkeSa) -> None:
        """Forget what the peer's own exchange, which has lost, left unfinished."""


# --- responder ------------------------------------------------------------------------


def keep_or_finish(sa: IkeSa, unfinished: Unfinished, now: float) -> list[Payload]:
    """Return what ends the answer to CREATE_CHILD_SA.

    That is N(ADDITIONAL_KEY_EXCHANGE) where key exchanges are to follow; else the SA is
    made at once.

    Source: RFC 9370 §2.2.4
    """
    if unfinished.methods:
        return [_link_payload(sa.unfinished.keep(unfinished, now))]
    return unfinished.finish(unfinished, now)


def answer_followup_ke(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer with KEr(n), and the link to the next or what ends the last.

    Raises
    ------
    StateNotFoundError
        The link leads nowhere: it had its time, or has served already.
    TemporaryFailureError, ChildSaNotFoundError
        What was to be replaced is being closed, or is gone.
    MalformedMessageError
        A payload is missing, or not what it should be.

    Source: RFC 9370 §2.2.4
    """
    # PARSE
    unfinished = sa.unfinished.take(_link_in(request.payloads))
    method, *others = unfinished.methods
    theirs = _public_value(request.payloads, method)
    # DERIVE
    ours = key_exchange.answer(method, theirs, sa.context.entropy, _LABEL)
    unfinished.secrets += ours.shared_secret
    unfinished.methods = tuple(others)
    # UPDATE, REPLY
    rest = keep_or_finish(sa, unfinished, now)
    return [KePayload(method, ours.public_value), *rest]
