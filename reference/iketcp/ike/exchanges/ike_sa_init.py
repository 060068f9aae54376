"""IKE_SA_INIT: agree on algorithms, exchange nonces and public values.

The only exchange in the clear. The initiator offers; the responder chooses, or asks for
a cookie, the solution of a puzzle or another key exchange method, upon which the
initiator begins again. What was said here is authenticated afterwards by AUTH.

Source: RFC 4739 §2.1
Source: RFC 6023 §3
Source: RFC 7296 §1.2
Source: RFC 7296 §2.6
Source: RFC 7296 §2.6.1
Source: RFC 7383 §2.3
Source: RFC 8019 §7
Source: RFC 8784 §3
Source: RFC 9242 §3.1
Source: RFC 9329 §6.3
Source: RFC 9329 §6.4
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.crypto import key_exchange
from iketcp.crypto.key_exchange import KeyExchange
from iketcp.errors import (
    DropError,
    ExchangeError,
    InvalidKePayloadError,
    InvalidPublicValueError,
    MalformedMessageError,
    NoProposalChosenError,
)
from iketcp.ike import admission, multiple_auth, ppk
from iketcp.ike.authentication import SIGNATURE_HASHES, certificate_requests
from iketcp.ike.context import IkeContext
from iketcp.ike.exchanges.childless import announcement_payloads, choose_childless
from iketcp.ike.exchanges.ike_auth import IkeAuth
from iketcp.ike.exchanges.ike_intermediate import (
    begin_intermediate,
    first_after,
    is_supported,
    support_payloads,
)
from iketcp.ike.keys import derive_ike_keys, derive_skeyseed, prf_of
from iketcp.ike.nat_detection import (
    NatFound,
    Path,
    detect_nat,
    nat_detection_payloads,
)
from iketcp.ike.negotiation import (
    choose_proposal,
    methods_of,
    transforms_of,
    verify_choice,
    with_spi,
    without_additional,
)
from iketcp.ike.outputs import KeysDerived, Note
from iketcp.ike.payload_set import find_error, find_notify, need, notify_name
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
)
from iketcp.ike.puzzles import Puzzle, solve
from iketcp.ike.sa import NO_SPI, Exchange, IkeSa, Received
from iketcp.ike.stateless import (
    StatelessAnswer,
    answer_in_the_clear,
    stateless_answer,
)
from iketcp.ike.states import IkeEvent
from iketcp.registry import (
    ExchangeType,
    KeyExchangeMethod,
    NotifyType,
    TransformType,
)

MAX_RESTARTS = 8
"""Choice: cookies, puzzles and other methods asked for in a row before we give up."""

REFUSAL_SECONDS = 10.0
"""Choice: how long we wait for a better answer over UDP after an error. RFC 7296
§2.21.1 says "some time"."""


def signature_hash_payload() -> NotifyPayload:
    """Announce our hash algorithms, 16 bits each. Source: RFC 7427 §4."""
    data = b"".join(int(h).to_bytes(2, "big") for h in SIGNATURE_HASHES)
    return NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, data)


def read_signature_hashes(payloads: Sequence[Payload]) -> tuple[int, ...]:
    """Return the peer's hash algorithms.

    Raises
    ------
    MalformedMessageError
        The data is not a list of 16-bit numbers.

    Source: RFC 7427 §4
    """
    notify = find_notify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    if notify is None:
        return ()
    if len(notify.data) % 2:
        raise MalformedMessageError("SIGNATURE_HASH_ALGORITHMS of odd size")
    data = notify.data
    return tuple(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))


def fragmentation_payloads(is_supported: bool) -> list[Payload]:
    """Say that IKE fragments are welcome, also over TCP [9329-7.5-negotiate].

    Source: RFC 7383 §2.3, RFC 9329 §7.5
    """
    supported = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    return [supported] if is_supported else []


def is_fragmentation_agreed(sa: IkeSa, payloads: Sequence[Payload]) -> bool:
    """Tell whether we and the peer support IKE fragments. Source: RFC 7383 §2.3."""
    theirs = find_notify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    return sa.policy.is_fragmentation_supported and theirs is not None


def _derive(sa: IkeSa, g_ir: bytes) -> None:
    """Make the keys of the IKE SA; ``suite``, nonces and SPIs are set."""
    if sa.suite is None:
        raise LookupError("no suite yet")  # pragma: no cover - our own mistake
    skeyseed = derive_skeyseed(prf_of(sa.suite), sa.ni, sa.nr, g_ir)
    keys = derive_ike_keys(sa.suite, skeyseed, sa.ni, sa.nr, sa.spi_i, sa.spi_r)
    sa.use_keys(sa.suite, keys)
    sa.emit(KeysDerived(sa))


def _note_nat(sa: IkeSa, payloads: Sequence[Payload], spi_r: bytes) -> None:
    """Compare NAT_DETECTION digests; encapsulation stays [9329-6.5-nochange]."""
    found = sa.nat = detect_nat(payloads, sa.spi_i, spi_r, sa.path)
    fields: dict[str, object] = {
        "is_local_behind_nat": found.is_local_behind_nat,
        "is_remote_behind_nat": found.is_remote_behind_nat,
    }
    sa.emit(Note("nat-detection", fields))


# --- initiator ------------------------------------------------------------------


class IkeSaInit(Exchange):
    """Our IKE_SA_INIT, with as many repetitions as the responder asks for.

    Source: RFC 7296 §1.2
    """

    exchange_type: ExchangeType = ExchangeType.IKE_SA_INIT

    def __init__(self, context: IkeContext) -> None:
        self._proposals = with_spi(context.policy.proposals, b"")
        self._method = transforms_of(self._proposals[0], TransformType.KE)[0].id
        self._key_exchange: KeyExchange | None = None
        self._cookie: bytes | None = None
        self._solution: bytes | None = None
        self._restarts = 0

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Make SA, KE, Ni and what we can do: N(...) for each.

        N(COOKIE) stands first, if there is one, PS with the solution of a puzzle next,
        and the rest is as it was.

        Source: RFC 7296 §2.6, RFC 8019 §7.1.2
        """
        if self._key_exchange is None or self._key_exchange.method != self._method:
            self._key_exchange = key_exchange.generate(
                self._method, sa.context.entropy, "ike_sa_init.ke"
            )
        if not sa.ni:
            sa.ni = sa.context.new_nonce()
        payloads: list[Payload] = []
        if self._cookie is not None:
            payloads.append(NotifyPayload(NotifyType.COOKIE, self._cookie))
        if self._solution is not None:
            payloads.append(PsPayload(self._solution))
        payloads += [
            SaPayload(self._proposals),
            KePayload(self._method, self._key_exchange.public_value),
            NoncePayload(sa.ni),
            *nat_detection_payloads(sa.spi_i, NO_SPI, sa.path),
            signature_hash_payload(),
            *fragmentation_payloads(sa.policy.is_fragmentation_supported),
            *support_payloads(self._proposals),
            *ppk.offer_payloads(sa),
        ]
        sa.next_message_id = 0
        sa.transition(IkeEvent.SEND_IKE_SA_INIT)
        return payloads

    def check_answer(self, sa: IkeSa, response: Received, now: float) -> None:
        """Ignore what is no answer to this request, and go on waiting.

        That is a puzzle without the cookie it is about (an IKE_SA_INIT response with SA
        has another puzzle in it, for IKE_AUTH). Over UDP it is also an error, which
        anybody may have sent, a datagram that comes twice, one that comes late, and an
        answer without PPK.

        Raises
        ------
        DropError
            PUZZLE came without COOKIE; or, over UDP, an error that cannot be mended, or
            one that was mended already, or the answer to an earlier request, or no
            USE_PPK where we insist on that.

        Source: RFC 7296 §2.21.1, RFC 8019 §7.1.2, RFC 8784 §6
        """
        payloads = response.payloads
        ppk.check_offer_answered(sa, payloads)
        if sa.path.is_udp:
            self._check_datagram(sa, payloads, now)
        if (
            find_notify(payloads, NotifyType.PUZZLE) is not None
            and find_notify(payloads, NotifyType.COOKIE) is None
            and not any(isinstance(payload, SaPayload) for payload in payloads)
        ):
            raise DropError("PUZZLE without COOKIE")

    def _check_datagram(
        self, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """See whether an answer over UDP is worth to be acted on.

        Source: RFC 7296 §2.21.1
        """
        cookie = find_notify(payloads, NotifyType.COOKIE)
        if cookie is not None and cookie.data == self._cookie:
            raise DropError("a cookie that was brought back already")
        other = find_notify(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if other is not None and int.from_bytes(other.data, "big") == self._method:
            raise DropError("a method that was chosen already")
        if any(isinstance(p, KePayload) and p.method != self._method for p in payloads):
            raise DropError("an answer to a request that this one has replaced")
        error = find_error(payloads)
        if error is not None and other is None and sa.sent is not None:
            refusal = f"the responder answers {notify_name(error)}"
            sa.sent.doubt(refusal, now + REFUSAL_SECONDS)
            raise DropError(f"{notify_name(error)} from whoever it was")

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Restart as asked, fail at once, or derive the keys and go on.

        What comes next is IKE_AUTH, or the first IKE_INTERMEDIATE.

        Over TCP nobody else could have put an error there without owning the stream, so
        there is no better answer to wait for [9329-6.4-act].

        Raises
        ------
        ExchangeError
            The responder refused.
        IketcpError
            The response is not acceptable.

        Source: RFC 7296 §1.2, RFC 9329 §6.4
        """
        payloads = response.payloads
        if self._is_restart(sa, payloads):
            return
        error = find_error(payloads)
        if error is not None:
            raise ExchangeError(f"the responder answers {notify_name(error)}")
        # PARSE
        answer = need(payloads, SaPayload)
        ke = need(payloads, KePayload)
        nonce = need(payloads, NoncePayload)
        # CHECK
        suite = verify_choice(answer.proposals, self._proposals)
        if response.header.spi_r == NO_SPI:
            raise MalformedMessageError("the responder chose no SPI")
        if self._key_exchange is None or not ke.method == suite.ke == self._method:
            raise MalformedMessageError("the KE payload is not of the chosen method")
        ppk.take_agreement(sa, payloads)
        choose_childless(sa, payloads)
        multiple_auth.check_supported(sa.policy, payloads)
        begin_intermediate(sa, answer.proposals[0], suite, payloads)
        # DERIVE
        sa.suite, sa.nr, sa.spi_r = suite, nonce.nonce, response.header.spi_r
        sa.remote_init_message = response.octets
        sa.remote_hash_algorithms = read_signature_hashes(payloads)
        sa.is_fragmentation_agreed = is_fragmentation_agreed(sa, payloads)
        _note_nat(sa, payloads, sa.spi_r)
        if sa.path.is_udp and sa.nat == NatFound(None, None):
            # its ESP would not come in UDP, and ours goes no other way. RFC 7296 §2.23
            raise ExchangeError("the responder does not support NAT traversal")
        solution = self._auth_solution(sa, payloads)
        _derive(sa, self._key_exchange.shared_secret(ke.public_value))
        sa.want(first_after(sa, IkeAuth(solution)), is_urgent=True)

    @staticmethod
    def _auth_solution(sa: IkeSa, payloads: Sequence[Payload]) -> bytes | None:
        """Solve the puzzle for IKE_AUTH, if there is one.

        Deviation: where RFC 8019 §7.2.2 wants it solved however hard it is, we give up
        beyond the work we are willing to do: IKE_AUTH would not be answered.

        Raises
        ------
        ExchangeError
            It is too hard.

        Source: RFC 8019 §7.2.2, RFC 8019 §7.2.3
        """
        notify = find_notify(payloads, NotifyType.PUZZLE)
        if notify is None:
            return None
        solution = solve(Puzzle.decode(notify.data), sa.nr + sa.spi_r)
        if solution is None:
            raise ExchangeError("the puzzle for IKE_AUTH is too hard")
        return solution

    def _is_restart(self, sa: IkeSa, payloads: Sequence[Payload]) -> bool:
        """Follow COOKIE, PUZZLE and INVALID_KE_PAYLOAD [9329-6.3-initiator].

        A puzzle that is too hard, or of a prf unknown to us, is passed over: the cookie
        goes back alone.

        Source: RFC 7296 §2.6, RFC 7296 §2.6.1, RFC 8019 §7.1.2
        """
        cookie = find_notify(payloads, NotifyType.COOKIE)
        other = find_notify(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if cookie is None and other is None:
            return False
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise ExchangeError(f"{MAX_RESTARTS} restarts and no end")
        if cookie is not None:
            if not 1 <= len(cookie.data) <= 64:
                raise MalformedMessageError(f"cookie of {len(cookie.data)} octets")
            puzzle = find_notify(payloads, NotifyType.PUZZLE)
            self._cookie, self._solution = cookie.data, None
            if puzzle is not None:
                self._solution = solve(Puzzle.decode(puzzle.data), cookie.data)
        if other is not None:
            self._method = self._wanted_method(other)
        sa.want(self)
        return True

    def _wanted_method(self, notify: NotifyPayload) -> int:
        """Read the method the responder wants; it must be one that we offered."""
        if len(notify.data) != 2:
            raise MalformedMessageError("INVALID_KE_PAYLOAD without a method")
        method = int.from_bytes(notify.data, "big")
        if method not in methods_of(self._proposals) or method == self._method:
            raise NoProposalChosenError(f"the responder wants method {method}")
        return method


# --- responder ------------------------------------------------------------------


def answer_ike_sa_init(
    context: IkeContext,
    request: Received,
    path: Path,
    now: float,
    half_open: int = 0,
) -> IkeSa | StatelessAnswer:
    """Answer an IKE_SA_INIT request.

    Parameters
    ----------
    half_open : int
        IKE SAs that wait for their IKE_AUTH: the load. Source: RFC 8019 §4.4

    Returns
    -------
    IkeSa
        A half-open IKE SA whose response waits in its outputs, or
    StatelessAnswer
        a request for a cookie, perhaps with a puzzle, or an error; no state is kept.

    Raises
    ------
    InvalidPublicValueError
        The public value fails its test: the message is dropped. RFC 6989 §2.5.

    Source: RFC 7296 §1.2, RFC 7296 §2.6, RFC 8019 §7.1
    """
    try:
        return _answer(context, request, path, now, half_open)
    except InvalidPublicValueError:
        raise
    except (ExchangeError, MalformedMessageError) as error:
        notify = error.notify or NotifyType.INVALID_SYNTAX
        return stateless_answer(request.header, notify, error.notify_data)


def _answer(
    context: IkeContext, request: Received, path: Path, now: float, half_open: int
) -> IkeSa | StatelessAnswer:
    header, payloads = request.header, request.payloads
    # PARSE
    offer = need(payloads, SaPayload)
    ke = need(payloads, KePayload)
    nonce = need(payloads, NoncePayload)
    hashes = read_signature_hashes(payloads)
    # CHECK
    asked = admission.demand(context, header, payloads, path, now, half_open)
    if asked:
        return answer_in_the_clear(header, asked)
    offered = offer.proposals
    if not is_supported(payloads):
        offered = without_additional(offered)
    # by the order of the offer alone: that KE is of a method further down may be the
    # work of a forged INVALID_KE_PAYLOAD. RFC 7296 §1.2
    choice = choose_proposal(offered, context.policy.proposals)
    suite = choice.suite
    if suite.ke != ke.method:
        raise InvalidKePayloadError(suite.ke or KeyExchangeMethod.NONE)
    # DERIVE
    sa = IkeSa(context, False, header.spi_i, context.new_ike_spi(), path, now)
    ours = key_exchange.answer(
        ke.method, ke.public_value, context.entropy, "ike_sa_init.ke"
    )
    sa.suite, sa.ni, sa.nr = suite, nonce.nonce, context.new_nonce()
    sa.remote_init_message = request.octets
    sa.remote_hash_algorithms = hashes
    sa.is_fragmentation_agreed = is_fragmentation_agreed(sa, payloads)
    begin_intermediate(sa, choice.proposal, suite, payloads)
    _note_nat(sa, payloads, header.spi_r)
    # REPLY before the keys are set: this message goes in the clear
    sa.send_response(
        ExchangeType.IKE_SA_INIT,
        [
            SaPayload((choice.proposal,)),
            KePayload(ke.method, ours.public_value),
            NoncePayload(sa.nr),
            *certificate_requests(context.policy),
            *nat_detection_payloads(sa.spi_i, sa.spi_r, path),
            signature_hash_payload(),
            *fragmentation_payloads(sa.is_fragmentation_agreed),
            *support_payloads([choice.proposal]),
            *ppk.agreement_payloads(sa, payloads),
            *announcement_payloads(sa.policy),
            *multiple_auth.support_payloads(sa.policy),
        ],
    )
    # UPDATE
    _derive(sa, ours.shared_secret)
    sa.transition(IkeEvent.ANSWER_IKE_SA_INIT)
    sa.state_deadline = now + context.policy.half_open_seconds
    if admission.is_loaded(context, half_open):
        admission.spend(context, payloads)
    return sa
