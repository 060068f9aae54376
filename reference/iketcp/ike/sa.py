"""One IKE SA: its keys, its counters, its Child SAs, and what it wants done.

An IKE SA does no I/O. Handlers change it and leave :mod:`outputs
<iketcp.ike.outputs>` behind; :mod:`iketcp.ike.engine` decides which handler a message
goes to. There is one request of ours under way at a time (a window of one); what else
we want waits in ``tasks``.

Source: RFC 7296 §1
Source: RFC 7296 §2.3
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from iketcp.crypto.suite import Suite
from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.peer import EapPeer
from iketcp.errors import IketcpError
from iketcp.ike.address_pool import AddressPool
from iketcp.ike.child_record import Child
from iketcp.ike.context import IkeContext
from iketcp.ike.credentials import Ppk
from iketcp.ike.fragments import Reassembly, seal_in_pieces
from iketcp.ike.header import Header
from iketcp.ike.intermediate import Intermediate
from iketcp.ike.keys import IkeKeys
from iketcp.ike.lifetime import LifetimeWatch
from iketcp.ike.message import encode_message
from iketcp.ike.message_window import AnsweredRequests, SentRequest
from iketcp.ike.nat_detection import NatFound, Path
from iketcp.ike.outputs import (
    ChildRemoved,
    Closed,
    HandedOver,
    Output,
    SendMessage,
)
from iketcp.ike.payloads import Payload, PsPayload
from iketcp.ike.policy import IkePolicy
from iketcp.ike.protection import IkeProtection
from iketcp.ike.retransmission import Retransmission
from iketcp.ike.states import (
    ChildEvent,
    IkeEvent,
    IkeState,
    next_ike_state,
)
from iketcp.ike.unfinished import UnfinishedSas
from iketcp.registry import ExchangeType

NO_SPI = bytes(8)
"""The responder's SPI before it has one. Source: RFC 7296 §3.1."""

REPLACED_SECONDS = 60.0
"""Choice: how long a replaced IKE SA waits for the peer to delete it, at least; as long
as the peer may ask again for our answer to the rekey, if it asks as long as we do."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a handler gets it: verified, decrypted, decoded."""

    header: Header
    payloads: tuple[Payload, ...]
    octets: bytes = field(repr=False)
    """The whole message as it came, without non-ESP marker; of several fragments, the
    last to come."""
    flaw: IketcpError | None = None
    """Why an authentic message could not be decoded; it has no payloads then."""
    authenticated_form: bytes = field(default=b"", repr=False)
    """What IKE_AUTH vouches for: of IKE_INTERMEDIATE only. Source: RFC 9242 §3.3.2"""


class Exchange(ABC):
    """One exchange that we initiate: what it asks, and what its answer means.

    An instance keeps what belongs to this exchange alone (nonce, private key, the SA it
    is about) and is dropped with it.
    """

    exchange_type: ExchangeType

    @property
    def is_put_off_by_rekey(self) -> bool:
        """It does not begin while the peer is replacing the IKE SA. RFC 7296 §2.25."""
        return False

    @abstractmethod
    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """Return the request's payloads, or ``None`` when there is nothing to ask."""

    def check_answer(self, sa: IkeSa, response: Received, now: float) -> None:
        """Look whether this is an answer at all; after a refusal we go on waiting.

        Raises
        ------
        DropError
            It has to be ignored.
        """
        return

    @abstractmethod
    def on_response(self, sa: IkeSa, response: Received, now: float) -> None:
        """Handle the authentic response.

        Raises
        ------
        IketcpError
            The response is not acceptable; ``scope`` says what ends.
        """

    def yield_to_peer(self, sa: IkeSa, now: float) -> bool:
        """Let the peer's own exchange, which crossed this one, stand in its place.

        Called when this one failed, or when the peer has not noticed it.

        Returns
        -------
        bool
            Whether the peer's did what this one was for.

        Source: RFC 7296 §2.8.1, RFC 7296 §2.8.2
        """
        return False

    def abandon(self) -> None:
        """Let go of what this exchange holds, for its IKE SA ends."""

    @property
    def awaited_spi(self) -> bytes:
        """SPI (in) of the Child SA it asks for, 4 octets; empty if it asks for none."""
        return b""


@dataclass(frozen=True, slots=True)
class EapUnderWay:
    """EAP in IKE_AUTH, until both peers are authenticated. Source: RFC 7296 §2.16."""

    conversation: EapPeer | EapAuthenticator
    """Our end of it."""
    request: tuple[Payload, ...] = ()
    """What the initiator asked for when it began: the responder's to keep."""


@dataclass(slots=True)
class _Task:
    exchange: Exchange
    not_before: float


@dataclass(slots=True, eq=False, repr=False)
class IkeSa:
    """One IKE SA.

    Parameters
    ----------
    context : IkeContext
        Shared policy, entropy and SPIs.
    is_original_initiator : bool
        We sent the first request of *this* IKE SA (the I flag, SPIi).
    spi_i, spi_r : bytes
        IKE SPIs, 8 octets each; ``NO_SPI`` while unknown.
    path : Path
        Addresses and ports where it began, and the transport that it goes over.
    now : float
        Seconds.

    Source: RFC 7296 §3.1
    """

    context: IkeContext
    is_original_initiator: bool
    spi_i: bytes
    spi_r: bytes
    path: Path
    now: InitVar[float]

    policy: IkePolicy = field(init=False)
    nat: NatFound = field(default_factory=lambda: NatFound(None, None))
    """What NAT detection found on ``path``; transport mode wants to know."""
    state: IkeState = field(default=IkeState.CREATED, init=False)
    watch: LifetimeWatch = field(init=False)
    state_deadline: float | None = None
    last_heard: float = field(init=False)
    has_connection: bool = True
    is_known_to_peer: bool = True
    """False from our answer to a rekey until the peer shows that it has this IKE SA:
    nothing is begun on it meanwhile. Source: RFC 7296 §2.8"""
    heir: IkeSa | None = None
    """The IKE SA that took its place."""
    fragment_size: int | None = None
    """Octets of the largest IKE message that is sent whole, set by who knows the
    transport; ``None``: of any size, as over TCP [9329-7.5-nofrag]."""
    is_fragmentation_agreed: bool = False
    """Both peers said IKEV2_FRAGMENTATION_SUPPORTED. Source: RFC 7383 §2.3."""
    request_fragments: Reassembly = field(default_factory=Reassembly)
    response_fragments: Reassembly = field(default_factory=Reassembly)

    suite: Suite | None = None
    keys: IkeKeys | None = None
    protection: IkeProtection | None = None
    intermediate: Intermediate | None = None
    """Exchanges before IKE_AUTH, if any were agreed on, until it is done."""
    ni: bytes = b""
    nr: bytes = b""
    local_init_message: bytes = b""
    remote_init_message: bytes = b""
    eap: EapUnderWay | None = None

    answered: AnsweredRequests = field(default_factory=AnsweredRequests)
    next_message_id: int = 0
    sent: SentRequest | None = None
    exchange: Exchange | None = None
    tasks: list[_Task] = field(default_factory=list)

    children: dict[bytes, Child] = field(default_factory=dict)
    unfinished: UnfinishedSas = field(default_factory=UnfinishedSas)
    assigned: tuple[IPv4Interface | IPv6Interface, ...] = ()
    trouble_since: float | None = None
    outputs: list[Output] = field(default_factory=list)

    # what is known once the peer has said it
    remote_identity: str = ""
    is_initial_contact: bool = False
    """Its original initiator has no other with this peer. Source: RFC 7296 §2.4."""
    authentication: LifetimeWatch | None = None
    """How old the peers' proofs may grow, through every rekey. RFC 7296 §2.8.3."""
    remote_hash_algorithms: tuple[int, ...] = ()
    first_auth: tuple[Payload, ...] = ()
    """The peer's message with the first of two authentications, which is over; the
    initiator's second one follows. Source: RFC 4739 §2.1."""
    is_childless: bool = False
    """Our IKE_AUTH asks for no Child SA. Source: RFC 6023 §5."""
    is_ppk_agreed: bool = False
    """Both peers said USE_PPK. Source: RFC 8784 §3."""
    ppk: Ppk | None = None
    """What was mixed into the keys."""
    crash_tokens: tuple[bytes, ...] = ()
    """Whoever shows one of them has lost this IKE SA. Source: RFC 6290 §3."""
    id_after_ike_auth: int | None = None
    """Message ID of the peer's request right after IKE_AUTH. RFC 7296 §2.21.2."""

    def __post_init__(self, now: float) -> None:
        self.policy = self.context.policy
        self.watch = LifetimeWatch(self.policy.lifetime, self.context.entropy, now)
        self.last_heard = now

    # --- names -----------------------------------------------------------------

    @property
    def spi_local(self) -> bytes:
        """The SPI that we chose, 8 octets."""
        return self.spi_i if self.is_original_initiator else self.spi_r

    @property
    def pool(self) -> AddressPool | None:
        """Where addresses for this peer come from, if we assign any."""
        return self.context.pool_of(self.policy)

    @property
    def is_usable(self) -> bool:
        """Exchanges may be begun on it."""
        return self.state is IkeState.ESTABLISHED

    @property
    def answer_seconds(self) -> float:
        """How long an answer is awaited; over UDP something may have been lost.

        Source: RFC 7296 §2.4, RFC 9329 §6.2
        """
        policy = self.policy
        if self.path.is_udp:
            return policy.retransmission.total_seconds
        return policy.request_timeout_seconds

    # --- state -----------------------------------------------------------------

    def transition(self, event: IkeEvent) -> None:
        """Move to the state the table gives: the only place that changes ``state``."""
        self.state = next_ike_state(self.state, event)

    def emit(self, output: Output) -> None:
        """Leave an output for the endpoint."""
        self.outputs.append(output)
        self.stir()

    def stir(self) -> None:
        """Have somebody look soon at what time asks of it now."""
        self.context.stirred[self.spi_local] = None

    def take_outputs(self) -> list[Output]:
        """Hand all outputs over."""
        outputs, self.outputs = self.outputs, []
        return outputs

    def use_keys(self, suite: Suite, keys: IkeKeys) -> None:
        """Protect everything from here on with these keys."""
        self.suite = suite
        self.keys = keys
        self.protection = IkeProtection(
            suite, keys, self.is_original_initiator, self.context.entropy
        )

    def close(
        self, reason: str, is_local_wish: bool = False, is_unheard: bool = False
    ) -> None:
        """End this IKE SA and its Child SAs; keys are forgotten.

        Source: RFC 7296 §1.4.1 (the Child SAs end with it)
        """
        if self.state is IkeState.CLOSED:
            return
        self.transition(IkeEvent.CLOSE)
        for spi_in in list(self.children):
            self.remove_child(spi_in)
        if self.pool is not None and self.assigned:
            self.pool.release(self.remote_identity)
            self.assigned = ()
        if self.exchange is not None:
            self.exchange.abandon()
        self.keys = None
        self.ppk = None
        self.protection = None
        self.intermediate = None
        self.unfinished.clear()
        self.crash_tokens = ()
        self.sent = None
        self.exchange = None
        self.tasks.clear()
        if self.heir is not None:
            # deleted by the peer, who has the heir, or out of patience. RFC 7296 §2.8
            self.heir.is_known_to_peer = True
            self.heir.stir()
        self.local_init_message = self.remote_init_message = b""
        self.end_eap()
        self.request_fragments.clear()
        self.response_fragments.clear()
        self.emit(Closed(reason, is_local_wish, is_unheard))

    @property
    def is_between_rounds(self) -> bool:
        """IKE_AUTH has begun, and takes more than one exchange. RFC 7296 §2.16."""
        return self.eap is not None or bool(self.first_auth)

    def end_eap(self) -> None:
        """Forget what EAP made; a key of its is for AUTH only. RFC 7296 §2.16."""
        self.first_auth = ()
        if self.eap is not None:
            self.eap.conversation.forget()
        self.eap = None

    def hand_over(self, heir: IkeSa, now: float) -> None:
        """Give the Child SAs, and what we still wanted, to the IKE SA of a rekey.

        Source: RFC 7296 §2.8
        """
        self.heir = heir
        self.unfinished.clear()
        heir.children, self.children = self.children, {}
        heir.tasks.extend(self.tasks)
        self.tasks.clear()
        heir.assigned, self.assigned = self.assigned, ()
        self.emit(HandedOver(heir))
        self.await_deletion(now)

    def await_deletion(self, now: float) -> None:
        """Go on answering until the peer deletes it, but not for ever.

        Source: RFC 7296 §2.8
        """
        self.transition(IkeEvent.REKEY)
        self.state_deadline = now + max(REPLACED_SECONDS, self.answer_seconds)

    def add_child(self, child: Child) -> None:
        """Note a new Child SA."""
        self.children[child.spi_in] = child

    def remove_child(self, spi_in: bytes) -> None:
        """Drop a Child SA."""
        child = self.children.pop(spi_in)
        child.transition(ChildEvent.REMOVE)
        self.emit(ChildRemoved(spi_in))

    def child_by_spi_out(self, spi_out: bytes) -> Child | None:
        """Find a Child SA by the SPI that the peer receives on."""
        for child in self.children.values():
            if child.parameters.spi_out == spi_out:
                return child
        return None

    # --- messages ----------------------------------------------------------------

    def header(self, exchange: int, message_id: int, is_response: bool) -> Header:
        """Make the header of a message of ours. Source: RFC 7296 §3.1."""
        return Header(
            spi_i=self.spi_i,
            spi_r=self.spi_r,
            exchange_type=exchange,
            message_id=message_id,
            is_response=is_response,
            is_original_initiator=self.is_original_initiator,
        )

    def _encode(self, header: Header, payloads: Sequence[Payload]) -> tuple[bytes, ...]:
        if self.protection is not None:
            # a puzzle's solution is checked before there are keys. RFC 8019 §7.2.2
            outside = [p for p in payloads if isinstance(p, PsPayload)]
            inside = [p for p in payloads if not isinstance(p, PsPayload)]
            size = self.fragment_size
            if size is None or not self.is_fragmentation_agreed:
                return (self.protection.seal(header, inside, outside),)
            return seal_in_pieces(self.protection, header, inside, outside, size)
        octets = encode_message(header, payloads)
        # only IKE_SA_INIT goes in the clear, and AUTH covers the last of ours
        self.local_init_message = octets
        return (octets,)

    def send_request(
        self, exchange: Exchange, payloads: Sequence[Payload], now: float
    ) -> None:
        """Send a request of ours and begin to wait."""
        message_id = self.next_message_id
        header = self.header(exchange.exchange_type, message_id, is_response=False)
        messages = self._encode(header, payloads)
        deadline = now + self.answer_seconds
        retransmission = None
        if self.path.is_udp:
            policy, entropy = self.policy.retransmission, self.context.entropy
            retransmission = Retransmission(policy, entropy, now)
        self.sent = SentRequest(message_id, messages, deadline, retransmission)
        self.exchange = exchange
        self.next_message_id += 1
        self.emit(SendMessage(messages, header, tuple(payloads)))

    def send_response(self, exchange: int, payloads: Sequence[Payload]) -> None:
        """Answer the expected request and remember the answer."""
        header = self.header(exchange, self.answered.expected, is_response=True)
        messages = self._encode(header, payloads)
        self.answered.answered(messages)
        self.emit(SendMessage(messages, header, tuple(payloads)))

    # --- tasks -------------------------------------------------------------------

    def want(
        self, exchange: Exchange, not_before: float = 0.0, is_urgent: bool = False
    ) -> None:
        """Queue an exchange of ours; an urgent one goes before all others."""
        task = _Task(exchange, not_before)
        if is_urgent:
            self.tasks.insert(0, task)
        else:
            self.tasks.append(task)
        self.stir()

    def is_waiting(self, kind: type[Exchange]) -> bool:
        """Tell whether an exchange of ``kind`` waits its turn."""
        return any(isinstance(task.exchange, kind) for task in self.tasks)

    def is_wanted(self, kind: type[Exchange]) -> bool:
        """Tell whether an exchange of ``kind`` is under way or waits."""
        return isinstance(self.exchange, kind) or self.is_waiting(kind)

    def begin_next(self, now: float) -> None:
        """Send the next request that is due, if none is under way.

        Without a connection there is nobody to ask: the clock of an answer would run
        out for nothing, and the IKE SA with it [9329-6.1-keep-state]. The same holds
        for a peer that may not have this IKE SA yet.

        Source: RFC 7296 §2.3 (a window of one), RFC 7296 §2.8
        """
        while self.sent is None and self.has_connection and self.is_known_to_peer:
            task = next((t for t in self.tasks if self._is_due(t, now)), None)
            if task is None:
                return
            self.tasks.remove(task)
            payloads = task.exchange.request(self, now)
            if payloads is not None:
                self.send_request(task.exchange, payloads, now)

    def _is_due(self, task: _Task, now: float) -> bool:
        is_put_off = task.exchange.is_put_off_by_rekey and self.unfinished.has_ike_rekey
        return task.not_before <= now and not is_put_off

    def next_task_time(self) -> float | None:
        """When the next waiting exchange is due, if no request is under way."""
        if self.sent is not None or not self.has_connection or not self.tasks:
            return None
        if not self.is_known_to_peer:
            return None
        return min(task.not_before for task in self.tasks)
