"""IKE messages: to which IKE SA they go, and what is answered without one.

A message names its IKE SA by our SPI, whatever way it came. An IKE_SA_INIT
request names none yet: it begins a session, or is repeated, or is answered in the
clear. A message for an IKE SA that was lost in a restart gets a token that proves it.

Source: RFC 6290 §3
Source: RFC 7296 §2.6
Source: RFC 7296 §2.21.4
Source: RFC 9329 §6.1
Source: RFC 9329 §6.3
Source: RFC 9329 §6.4
"""

from __future__ import annotations

import hashlib

from iketcp.effects import Effect
from iketcp.endpoint import traces
from iketcp.endpoint.arrival import Arrival
from iketcp.endpoint.carry_out import OutputCarrier, send_on
from iketcp.endpoint.rate_limit import RateLimit
from iketcp.endpoint.tables import Counters, IkeSession, Tables
from iketcp.errors import (
    IketcpError,
    IntegrityError,
    InvalidMajorVersionError,
    MalformedMessageError,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike import engine
from iketcp.ike.context import IkeContext
from iketcp.ike.crash_detection import (
    is_hint,
    is_proof,
    is_proven,
    is_question,
    proof_payloads,
)
from iketcp.ike.exchanges.ike_sa_init import answer_ike_sa_init
from iketcp.ike.header import Header
from iketcp.ike.message import Message, decode_message
from iketcp.ike.message_window import SentRequest
from iketcp.ike.outputs import MessageAccepted, SendMessage
from iketcp.ike.payloads import SkfPayload, SkPayload
from iketcp.ike.reception import protection_for
from iketcp.ike.sa import NO_SPI, IkeSa, Received
from iketcp.ike.stateless import (
    StatelessAnswer,
    answer_in_the_clear,
    stateless_answer,
)
from iketcp.ike.states import IkeState
from iketcp.ike.upkeep import suspect
from iketcp.registry import ExchangeType

ANSWERS_PER_SECOND = 500
"""Choice: over UDP so many messages that nothing protects are answered."""

UnderWay = list[tuple[IkeSa, SentRequest | None]]
"""IKE SAs of a session, each with our request that awaits its answer."""


class IkeMessages:
    """Finds the IKE SA of each message.

    Parameters
    ----------
    tables : Tables
        What the endpoint holds.
    context : IkeContext
        Shared by all IKE SAs.
    counters : Counters
        What was dropped.
    carrier : OutputCarrier
        Carries out what an IKE SA wants.
    """

    def __init__(
        self,
        tables: Tables,
        context: IkeContext,
        counters: Counters,
        carrier: OutputCarrier,
    ) -> None:
        self._tables = tables
        self._context = context
        self._counters = counters
        self._carrier = carrier
        self._answers = RateLimit(ANSWERS_PER_SECOND)

    def take(
        self, arrival: Arrival, octets: bytes, now: float, effects: list[Effect]
    ) -> str | None:
        """Take one IKE message.

        Its IKE SA is found by our SPI, whatever connection it came on
        [9329-6.1-recognise].

        Returns
        -------
        str or None
            Why the connection is to be closed, if it is.

        Source: RFC 9329 §6.1
        """
        try:
            message = decode_message(octets)
        except IketcpError as error:
            return self._undecodable(arrival, octets, error, now, effects)
        header = message.header
        ours = header.spi_r if header.is_original_initiator else header.spi_i
        if header.spi_r == NO_SPI and not header.is_response:
            return self._take_first(arrival, message, octets, now, effects)
        found = self._tables.ike_sas.get(ours)
        if found is None or not _names(found[0], header):
            if self._repeat_farewell(arrival, octets, now, effects):
                return None
            self._counters.drop("unknown IKE SPI")
            self._show_token(arrival, message, now, effects)
            return arrival.unparseable()
        sa, session = found
        if not arrival.may_carry(session):
            self._counters.drop("IKE message of another session's")
            return None
        if is_proof(message):
            return self._take_proof(sa, session, arrival, message, now, effects)
        return self._take_for(sa, session, arrival, message, octets, now, effects)

    def _take_for(
        self,
        sa: IkeSa,
        session: IkeSession,
        arrival: Arrival,
        message: Message,
        octets: bytes,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """Let the IKE SA handle its message, and follow it to its connection."""
        under_way = _under_way(session)
        try:
            is_fresh = engine.receive(sa, message, octets, now)
        except IntegrityError as error:
            self._counters.drop(type(error).__name__)
            if arrival.path.is_udp and is_hint(message):
                suspect(sa, now)
                self._carrier.run(sa, session, arrival.carrier, now, effects)
            return arrival.integrity_failed()
        except IketcpError as error:
            self._counters.drop(type(error).__name__)
            is_fresh = False
        if is_fresh:
            self._follow(session, arrival, under_way, now, effects)
        self._carrier.run(sa, session, arrival.carrier, now, effects)
        if is_fresh and arrival.path.is_udp:
            self._keep_farewell(sa, header=message.header, octets=octets)
        # a rekey leaves work for the IKE SAs it made: what was queued, or a DELETE
        self._begin_what_waits(session, arrival, now, effects)
        return None

    def _take_proof(
        self,
        sa: IkeSa,
        session: IkeSession,
        arrival: Arrival,
        message: Message,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """End an IKE SA that its peer proves to have lost; say nothing.

        What proves nothing counts towards closing the connection, so guesses are
        limited.

        Source: RFC 6290 §3, RFC 6290 §8.1
        """
        if not is_proven(sa, message.payloads):
            self._counters.drop("token that proves nothing")
            return arrival.unparseable()
        sa.close("the peer has restarted and lost it")
        self._carrier.run(sa, session, arrival.carrier, now, effects)
        return None

    def _keep_farewell(self, sa: IkeSa, header: Header, octets: bytes) -> None:
        """Keep the answer to a request that ended its IKE SA: over UDP it may be lost.

        Source: RFC 7296 §2.1
        """
        response = sa.answered.response
        if sa.state is IkeState.CLOSED and not header.is_response and response:
            answer = sa.header(header.exchange_type, header.message_id, True)
            repetition = SendMessage(response, answer, (), is_repetition=True)
            self._tables.part(hashlib.sha256(octets).digest(), repetition)

    def _repeat_farewell(
        self, arrival: Arrival, octets: bytes, now: float, effects: list[Effect]
    ) -> bool:
        """Answer the request that ended an IKE SA once more; True if it is one.

        Source: RFC 7296 §2.1
        """
        if not arrival.path.is_udp:
            return False
        answer = self._tables.farewells.get(hashlib.sha256(octets).digest())
        if answer is not None and self._may_answer(arrival, now):
            effects += send_on(arrival.carrier, answer)
        return answer is not None

    def _begin_what_waits(
        self, session: IkeSession, arrival: Arrival, now: float, effects: list[Effect]
    ) -> None:
        """Let every IKE SA of a session begin the exchange that waits, if one does."""
        for sa in list(session.ike_sas):
            engine.begin_next(sa, now)
            self._carrier.run(sa, session, arrival.carrier, now, effects)

    def followed(
        self, session: IkeSession, arrival: Arrival, now: float, effects: list[Effect]
    ) -> None:
        """A valid ESP packet came on this way: the session follows it there.

        What waited for a connection is begun now.

        Source: RFC 9329 §6.1
        """
        self._follow(session, arrival, _under_way(session), now, effects)
        self._begin_what_waits(session, arrival, now, effects)

    def _follow(
        self,
        session: IkeSession,
        arrival: Arrival,
        under_way: UnderWay,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Note a valid message, and move the session to its connection.

        If the session moves, a request of ours that was under way before the message
        came, and still is, is repeated there [9329-6.2-reconnect]. One that the message
        itself set going goes there anyway.

        Source: RFC 9329 §6.1, RFC 9329 §6.2
        """
        before = session.carrier
        if not arrival.valid_message(session, now):
            return
        effects.append(traces.mapping_moved(session.ike, before, session.carrier))
        for sa, request in under_way:
            if sa.sent is request and engine.repeat_request(sa):
                self._carrier.run(sa, session, arrival.carrier, now, effects)

    def is_genuine(self, session: IkeSession, octets: bytes) -> bool:
        """Tell whether an IKE message is authentic for ``session``; change nothing.

        Source: RFC 9329 §10
        """
        try:
            message = decode_message(octets)
        except IketcpError:
            return False
        last = message.payloads[-1] if message.payloads else None
        if not isinstance(last, SkPayload | SkfPayload):
            return False
        for sa in session.ike_sas:
            protection = protection_for(sa, message.header)
            if protection is None or not _names(sa, message.header):
                continue
            try:
                protection.open_content(last, octets)
            except IntegrityError:
                return False
            except IketcpError:
                pass  # authentic; what is wrong inside is for its IKE SA to say
            return True
        return False

    # --- without an IKE SA ------------------------------------------------------------

    def _may_answer(self, arrival: Arrival, now: float) -> bool:
        """Tell whether to answer a message that nothing protects, which may be forged.

        Over TCP its sender has shown that it is where it says.

        Source: RFC 7296 §2.21.4
        """
        if not arrival.path.is_udp or self._answers.allows(now):
            return True
        self._counters.drop("message of a stranger, beyond the limit")
        return False

    def _show_token(
        self, arrival: Arrival, message: Message, now: float, effects: list[Effect]
    ) -> None:
        """Prove to a peer that we have lost its IKE SA.

        Never for one that lives, whoever the message says has begun it. How many
        answers a connection gets is limited by the count of what it cannot use.

        Source: RFC 6290 §3, RFC 6290 §9.2
        """
        secret, header = self._context.policy.crash_secret, message.header
        lives = {header.spi_i, header.spi_r} & self._tables.ike_sas.keys()
        if secret and not lives and is_question(message):
            payloads = proof_payloads(secret, header)
            self._send_stateless(
                answer_in_the_clear(header, payloads), arrival, now, effects
            )

    def _take_first(
        self,
        arrival: Arrival,
        message: Message,
        octets: bytes,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """Take a request that names no SPI of ours: IKE_SA_INIT, or nothing we know.

        What is refused with a Notify leaves the connection open [9329-6.4-stay].
        """
        header = message.header
        if not _begins(header) or not arrival.takes_first:
            self._counters.drop("unknown IKE SPI")
            return arrival.unparseable()
        digest = hashlib.sha256(octets).digest()
        known = self._tables.half_open.get(digest)
        if known is not None:
            self._repeat_first(known, arrival, now, effects)
            return None
        if digest in self._tables.settled:
            # it belongs to an IKE SA that is up. RFC 7296 §2.1
            self._counters.drop("IKE_SA_INIT that was answered long ago")
            return None
        if not arrival.may_carry(None):
            # refused without a word; the session on it is not touched [9329-6.1-share]
            self._counters.drop("IKE_SA_INIT on a connection in use")
            return None
        if self._tables.strangers.refusal(str(arrival.path.remote_address)) is not None:
            self._counters.drop("too many half-open IKE SAs")
            return None
        request = Received(header, message.payloads, octets)
        try:
            answer = answer_ike_sa_init(
                self._context, request, arrival.path, now, len(self._tables.half_open)
            )
        except IketcpError as error:
            self._counters.drop(type(error).__name__)
            return arrival.unparseable()
        accepted = MessageAccepted(header, message.payloads, len(octets))
        effects.append(traces.message_received(accepted, arrival.carrier))
        if isinstance(answer, StatelessAnswer):
            self._send_stateless(answer, arrival, now, effects)
            if answer.is_cookie_request:  # nothing else is kept [9329-6.3-close]
                arrival.cookie_requested(now)
            return None
        session = IkeSession(is_tcp_originator=False, ike=answer)
        self._tables.add_ike_sa(answer, session)
        self._tables.begin_half_open(session, digest, str(arrival.path.remote_address))
        arrival.begin(session)
        self._carrier.run(answer, session, arrival.carrier, now, effects)
        return None

    def _repeat_first(
        self,
        session: IkeSession,
        arrival: Arrival,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Answer a repeated IKE_SA_INIT with the same octets.

        Over a new connection, too, for the first may have broken. It moves nothing.

        Source: RFC 7296 §2.1
        """
        sa = session.ike_sas[0]
        response = sa.answered.response
        if not response or not arrival.may_carry(session):
            return
        if not self._may_answer(arrival, now):
            return
        header = sa.header(ExchangeType.IKE_SA_INIT, 0, is_response=True)
        repetition = SendMessage(response, header, (), is_repetition=True)
        effects += send_on(arrival.carrier, repetition)

    def _send_stateless(
        self,
        answer: StatelessAnswer,
        arrival: Arrival,
        now: float,
        effects: list[Effect],
    ) -> None:
        if self._may_answer(arrival, now):
            sent = SendMessage((answer.octets,), answer.header, answer.payloads)
            effects += send_on(arrival.carrier, sent)

    def _undecodable(
        self,
        arrival: Arrival,
        octets: bytes,
        error: IketcpError,
        now: float,
        effects: list[Effect],
    ) -> str | None:
        """Count a message that cannot be read; tell a beginner what was wrong.

        Only a first request (or one of a later major version) is answered, in the
        clear, and may come again corrected [9329-6.4-stay]; how many of those one
        connection gets is limited by the count.

        Source: RFC 7296 §1.5, RFC 7296 §2.5, RFC 7296 §2.21.1
        """
        self._counters.drop(type(error).__name__)
        is_later_version = isinstance(error, InvalidMajorVersionError)
        header = _first_header(octets, is_later_version)
        is_first = header is not None and _begins(header)
        tells = isinstance(
            error, MalformedMessageError | UnsupportedCriticalPayloadError
        )
        if (
            header is not None
            and error.notify is not None
            and not header.is_response
            and arrival.takes_first
            and (is_later_version or (is_first and tells))
            and arrival.may_carry(None)
        ):
            answer = stateless_answer(header, error.notify, error.notify_data)
            self._send_stateless(answer, arrival, now, effects)
        return arrival.unparseable()


def _begins(header: Header) -> bool:
    """Tell whether a message is a request to begin an IKE SA.

    Source: RFC 7296 §1.2, RFC 7296 §2.2
    """
    return (
        header.exchange_type == ExchangeType.IKE_SA_INIT
        and header.message_id == 0
        and not header.is_response
        and header.is_original_initiator
        and header.spi_r == NO_SPI
    )


def _names(sa: IkeSa, header: Header) -> bool:
    """Tell whether a header names this IKE SA, by both SPIs and the I flag.

    A message of ours, reflected, has our own flag and fails here. RFC 7296 §3.1.
    """
    is_from_peer = header.is_original_initiator != sa.is_original_initiator
    is_spi_i = header.spi_i == sa.spi_i
    is_spi_r = sa.spi_r in (NO_SPI, header.spi_r)
    return is_from_peer and is_spi_i and is_spi_r


def _under_way(session: IkeSession) -> UnderWay:
    """List the IKE SAs of a session, each with its request under way."""
    return [(sa, sa.sent) for sa in session.ike_sas]


def _first_header(octets: bytes, is_later_version: bool) -> Header | None:
    """Read the fixed fields of a header whose message could not be read.

    A later major version is taken to lay them out as version 2 does. RFC 7296 §2.5.
    """
    if is_later_version:
        octets = octets[:17] + b"\x20" + octets[18:]
    try:
        return Header.decode(octets)
    except IketcpError:
        return None
