"""IKE_AUTH: prove who we are, and make the first Child SA on the way.

Both peers sign what they said in IKE_SA_INIT. The request may also ask for addresses,
which the responder hands out from its pool. If authentication succeeds and the rest
does not, the IKE SA stands all the same.

A request without AUTH asks for EAP. What follows then is in
:mod:`iketcp.ike.exchanges.eap_rounds`.

Source: RFC 4739 §2.1
Source: RFC 6023 §5
Source: RFC 7296 §1.2
Source: RFC 7296 §2.15
Source: RFC 7296 §2.16
Source: RFC 7296 §2.19
Source: RFC 7296 §2.21.2
Source: RFC 8784 §3
"""

from __future__ import annotations

from collections.abc import Sequence

from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.method import EapSetting
from iketcp.eap.peer import EapPeer
from iketcp.errors import (
    AuthenticationFailedError,
    ExchangeError,
    FailedCpRequiredError,
    MalformedMessageError,
    RefusedError,
)
from iketcp.ike import multiple_auth, ppk
from iketcp.ike.authentication import (
    certificate_requests,
    check_expected,
    local_id_payload,
    own_certificates,
    prove,
    verify_peer,
)
from iketcp.ike.connections import choose_connection
from iketcp.ike.crash_detection import keep_tokens, token_payloads
from iketcp.ike.exchanges.assignment import (
    assign,
    configuration_request,
    read_assignment,
)
from iketcp.ike.exchanges.child import (
    ChildOffer,
    accept_child,
    answer_child,
    candidates,
    install,
    make_child,
    offer_child,
)
from iketcp.ike.exchanges.childless import (
    check_child_asked,
    check_none_made,
    is_childless,
)
from iketcp.ike.exchanges.transport_mode import agreed_payloads
from iketcp.ike.identity import Identity
from iketcp.ike.initial_contact import (
    initial_contact_payloads,
    note_initial_contact,
)
from iketcp.ike.outputs import Assigned, ChildFailed, Established, Note
from iketcp.ike.payload_set import (
    find,
    find_error,
    find_identity,
    find_notify,
    notify_name,
)
from iketcp.ike.payloads import (
    AuthPayload,
    ConfigurationPayload,
    EapPayload,
    IdPayload,
    NotifyPayload,
    Payload,
    PsPayload,
)
from iketcp.ike.reauthentication import (
    auth_lifetime_payloads,
    heed_auth_lifetime,
    watch_authentication,
)
from iketcp.ike.sa import EapUnderWay, Exchange, IkeSa, Received
from iketcp.ike.states import IkeEvent
from iketcp.registry import (
    ConfigurationType,
    ExchangeType,
    NotifyType,
)


def authenticated(sa: IkeSa, peer: str, now: float) -> None:
    """Both sides are who they say: the IKE SA stands."""
    sa.remote_identity = peer
    watch_authentication(sa, now)
    sa.end_eap()
    if not sa.is_original_initiator:
        sa.id_after_ike_auth = sa.answered.expected + 1
    sa.local_init_message = sa.remote_init_message = b""
    sa.intermediate = None
    sa.state_deadline = None
    sa.transition(IkeEvent.AUTHENTICATE)
    sa.emit(Established(sa.remote_identity))


# --- initiator ------------------------------------------------------------------------


class IkeAuth(Exchange):
    """Our IKE_AUTH. Source: RFC 7296 §1.2."""

    exchange_type: ExchangeType = ExchangeType.IKE_AUTH

    def __init__(self, solution: bytes | None = None) -> None:
        self.offer: ChildOffer | None = None
        self._solution = solution
        self.responder: IdPayload | None = None
        """IDr as it came, kept while EAP goes on."""
        self.eap_response = b""
        """What we say next in EAP; empty once it is over, or where there is none."""
        self.is_child_refused = False

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Make [PS,] IDi, [CERT,] [N,] [CERTREQ,] [IDr,] [AUTH,] and what follows.

        That is [N,] [CP(CFG_REQUEST),] and, where a Child SA is to come of it, [N,] SA,
        TSi, TSr.

        Source: RFC 6023 §5, RFC 7296 §1.2, RFC 7296 §2.16, RFC 8019 §7.2.2
        """
        ours = local_id_payload(sa)
        payloads: list[Payload] = [ours]
        if self._solution is not None:
            payloads.insert(0, PsPayload(self._solution))
        if sa.policy.eap_peer is None or multiple_auth.gives_two(sa.policy):
            payloads += own_certificates(sa.policy)
        payloads += initial_contact_payloads(sa)
        payloads += certificate_requests(sa.policy)
        expected = sa.policy.remote_identity
        if expected is not None:
            payloads.append(IdPayload(False, expected.id_type, expected.data))
        payloads += self._own_proof(sa, ours)
        payloads += token_payloads(sa)
        if sa.policy.request_families:
            payloads.append(configuration_request(sa.policy.request_families))
        sa.transition(IkeEvent.SEND_IKE_AUTH)
        if sa.is_childless:
            return payloads
        self.offer = offer_child(sa, sa.policy.children[0], sa.ni)
        return payloads + self.offer.payloads()

    @property
    def awaited_spi(self) -> bytes:
        """SPI (in) of the Child SA it asks for, 4 octets; empty before the request."""
        return b"" if self.offer is None else self.offer.spi_in

    def _own_proof(self, sa: IkeSa, ours: IdPayload) -> list[Payload]:
        """Return AUTH, and what a PPK asks for; or nothing, which asks for EAP.

        Source: RFC 7296 §2.16, RFC 5998 §3, RFC 8784 §3
        """
        eap = sa.policy.eap_peer
        if eap is not None and not multiple_auth.gives_two(sa.policy):
            only = NotifyPayload(NotifyType.EAP_ONLY_AUTHENTICATION)
            return [only] if eap.is_eap_only else []
        expected = sa.policy.remote_identity
        proof = ppk.proof_payloads(sa, lambda: prove(sa, ours, expected))
        return proof + multiple_auth.announcement_payloads(sa.policy)

    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Authenticate the responder, then take addresses and the Child SA.

        Raises
        ------
        RefusedError
            The responder refused us.
        AuthenticationFailedError
            It is not who we expect, or does not know the secret.
        MalformedMessageError
            A payload is missing.

        Source: RFC 7296 §1.2, RFC 7296 §2.21.2
        """
        payloads = response.payloads
        identity = find_identity(payloads, is_initiator=False)
        auth = find(payloads, AuthPayload)
        eap = find(payloads, EapPayload)
        is_first = multiple_auth.gives_two(sa.policy)
        if eap is not None and identity is not None:
            self._begin_eap(sa, identity, payloads, eap)
            return
        if identity is None or auth is None:
            raise refusal(payloads)
        if sa.policy.eap_peer is not None and not is_first:
            raise AuthenticationFailedError("the peer asks for no proof of ours")
        multiple_auth.check_responder_gives_one(payloads)
        ppk.take_confirmation(sa, payloads)
        peer = verify_peer(sa, identity, payloads)
        if is_first:
            check_none_made(payloads)
            self.responder, sa.first_auth = identity, tuple(payloads)
            return
        authenticated(sa, str(peer), now)
        self.take_child(sa, payloads, now)

    def _begin_eap(
        self,
        sa: IkeSa,
        identity: IdPayload,
        payloads: Sequence[Payload],
        eap: EapPayload,
    ) -> None:
        """Authenticate the responder, unless EAP will; then answer its first Request.

        Raises
        ------
        AuthenticationFailedError
            We did not ask for EAP; or the responder proves nothing, and we did not
            offer that EAP will do for it, too.

        Source: RFC 7296 §2.16, RFC 5998 §3
        """
        policy = sa.policy.eap_peer
        if policy is None or multiple_auth.gives_two(sa.policy):
            raise AuthenticationFailedError("the peer begins EAP, unasked")
        auth = find(payloads, AuthPayload)
        if auth is not None:
            verify_peer(sa, identity, payloads)
        elif policy.is_eap_only:
            check_expected(sa, Identity(identity.id_type, identity.data))
        else:
            raise AuthenticationFailedError("the peer begins EAP without any proof")
        self.responder = identity
        self.answer_eap(sa, eap, is_alone=auth is None)

    def answer_eap(self, sa: IkeSa, eap: EapPayload, is_alone: bool) -> None:
        """Answer EAP's first Request; ``is_alone`` where there is no other proof.

        Source: RFC 7296 §2.16, RFC 5998 §3
        """
        policy = sa.policy.eap_peer
        if policy is None:
            raise LookupError("no EAP here")  # pragma: no cover - it was checked
        setting = EapSetting(policy.identity, is_alone, sa.context.entropy)
        conversation = EapPeer(setting, policy.methods)
        sa.eap = EapUnderWay(conversation)
        self.eap_response = conversation.receive(eap.message) or b""

    def take_child(self, sa: IkeSa, payloads: Sequence[Payload], now: float) -> None:
        """Take what follows AUTH: the peer's token, addresses and the Child SA.

        Raises
        ------
        MalformedMessageError
            There is a Child SA, and we asked for none.

        Source: RFC 6023 §5, RFC 7296 §1.2
        """
        keep_tokens(sa, payloads)
        heed_auth_lifetime(sa, payloads, now)
        error = find_error(payloads)
        if error is not None:
            self._child_failed(sa, notify_name(error))
            return
        reply = find(payloads, ConfigurationPayload)
        if reply is not None and reply.type == ConfigurationType.CFG_REPLY:
            sa.assigned, servers = read_assignment(reply)
            sa.emit(Assigned(sa.assigned, servers))
        if self.offer is None:
            check_none_made(payloads)
            return
        try:
            agreed = accept_child(sa, self.offer, payloads, (sa.ni, sa.nr))
        except ExchangeError as failure:
            self._child_failed(sa, str(failure))
            return
        install(sa, make_child(sa, agreed, now))

    def _child_failed(self, sa: IkeSa, reason: str) -> None:
        """The IKE SA stands without its first Child SA; the engine decides."""
        self.is_child_refused = True
        sa.emit(ChildFailed(sa.policy.children[0].name, reason))


def refusal(payloads: Sequence[Payload]) -> Exception:
    """Make the error of a response that lacks what it should have."""
    error = find_error(payloads)
    if error is not None:
        return RefusedError(f"the peer answers {notify_name(error)}")
    return MalformedMessageError("neither AUTH nor an error")


# --- responder ------------------------------------------------------------------------


def answer_ike_auth(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer the first IKE_AUTH request.

    Returns
    -------
    list[Payload]
        IDr, [CERT,] AUTH, [N,] [CP(CFG_REPLY),] and [N,]
        SA, TSi, TSr (but for an IKE SA without Child SA), or the Notify of what failed;
        or IDr, [CERT,] [AUTH,] EAP; or, before a second proof, IDr, [CERT,] AUTH alone.

    Raises
    ------
    AuthenticationFailedError
        The initiator is not who we expect, or does not know the secret.
    MalformedMessageError
        A payload is missing or doubled.

    Source: RFC 7296 §1.2, RFC 7296 §2.21.2
    """
    payloads = request.payloads
    # PARSE
    identity = find_identity(payloads, is_initiator=True)
    auth = find(payloads, AuthPayload)
    if identity is None:
        raise MalformedMessageError("no IDi")
    check_child_asked(sa, payloads)
    note_initial_contact(sa, payloads)
    choose_connection(sa, identity, payloads)
    # CHECK
    if auth is None:
        return _begin_eap(sa, identity, payloads)
    multiple_auth.check_number(sa.policy, payloads)
    claimed = Identity(identity.id_type, identity.data)
    peer = verify_peer(sa, identity, ppk.take_proof(sa, claimed, payloads))
    answer = [*_responders_proof(sa, peer), *ppk.confirmation_payloads(sa)]
    # UPDATE
    if multiple_auth.takes_two(sa.policy):
        sa.first_auth = tuple(payloads)
        sa.emit(Note("authenticated-once", {"peer": str(peer)}))
        return answer
    authenticated(sa, str(peer), now)
    # REPLY
    return [*answer, *give_child(sa, payloads, now)]


def _responders_proof(sa: IkeSa, peer: Identity) -> list[Payload]:
    """Return IDr, [CERT,] AUTH."""
    ours = local_id_payload(sa)
    return [ours, *own_certificates(sa.policy), prove(sa, ours, peer)]


def _begin_eap(
    sa: IkeSa, identity: IdPayload, payloads: Sequence[Payload]
) -> list[Payload]:
    """Answer a request without AUTH: IDr, [AUTH,] EAP.

    The Child SA and addresses have to wait; the request is kept until then. We prove
    who we are first, unless both sides agree that EAP does that, too.

    Raises
    ------
    AuthenticationFailedError
        There is no EAP here, or no secret to prove ourselves with.

    Source: RFC 7296 §2.16, RFC 5998 §3
    """
    policy = sa.policy.eap_authenticator
    if policy is None:
        raise AuthenticationFailedError("no AUTH, and there is no EAP here")
    if multiple_auth.takes_two(sa.policy):
        raise AuthenticationFailedError("no AUTH, which has to come before EAP")
    offer = find_notify(payloads, NotifyType.EAP_ONLY_AUTHENTICATION)
    is_eap_only = offer is not None and policy.can_be_alone
    peer = Identity(identity.id_type, identity.data)
    ppk.check_offered(sa, peer)
    answer = [local_id_payload(sa)] if is_eap_only else _responders_proof(sa, peer)
    return [*answer, begin_asking(sa, identity, payloads, is_eap_only)]


def begin_asking(
    sa: IkeSa, identity: IdPayload, payloads: Sequence[Payload], is_eap_only: bool
) -> EapPayload:
    """Make EAP's first Request, and keep ``payloads`` for when it is over.

    Source: RFC 7296 §2.16
    """
    policy = sa.policy.eap_authenticator
    if policy is None:
        raise LookupError("no EAP here")  # pragma: no cover - it was checked
    setting = EapSetting(identity.data, is_eap_only, sa.context.entropy)
    conversation = EapAuthenticator(setting, policy)
    sa.eap = EapUnderWay(conversation, tuple(payloads))
    sa.transition(IkeEvent.ANSWER_EAP)
    return EapPayload(conversation.begin())


def give_child(sa: IkeSa, payloads: Sequence[Payload], now: float) -> list[Payload]:
    """Return what follows AUTH: our token, addresses and the Child SA.

    What fails leaves its Notify, and the IKE SA stands. Source: RFC 7296 §2.21.2
    """
    keep_tokens(sa, payloads)
    try:
        child = _configure_and_answer_child(sa, payloads, now)
    except ExchangeError as error:
        notify = error.notify or NotifyType.NO_PROPOSAL_CHOSEN
        sa.emit(ChildFailed("", str(error)))
        child = [NotifyPayload(notify, error.notify_data)]
    return [*token_payloads(sa), *auth_lifetime_payloads(sa), *child]


def _configure_and_answer_child(
    sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Hand out addresses and make the first Child SA, if there is to be one.

    Source: RFC 6023 §5, RFC 7296 §2.19
    """
    answer: list[Payload] = []
    request = find(payloads, ConfigurationPayload)
    is_asked = request is not None and request.type == ConfigurationType.CFG_REQUEST
    pool = sa.pool
    if request is not None and is_asked and pool is not None:
        answer.append(assign(sa, pool, request))
    elif pool is not None and all(
        policy.is_narrowed_to_assigned_address for policy in sa.policy.children
    ):
        raise FailedCpRequiredError("an address has to be asked for")
    if is_childless(payloads):
        return answer
    agreed, rest = answer_child(
        sa, payloads, candidates(sa), (sa.ni, sa.nr), is_ike_auth=True
    )
    install(sa, make_child(sa, agreed, now))
    return [*answer, *agreed_payloads(agreed.ends), *rest]
