"""Making a Child SA: the part that IKE_AUTH and CREATE_CHILD_SA share.

Whoever begins offers proposals and Traffic Selectors; the other side chooses a suite
and narrows the selectors; both derive the same keys.

Source: RFC 7296 §1.2
Source: RFC 7296 §2.9
Source: RFC 7296 §2.17
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto import key_exchange
from iketcp.crypto.key_exchange import KeyExchange
from iketcp.crypto.suite import Suite
from iketcp.errors import (
    InvalidKePayloadError,
    MalformedMessageError,
    NoProposalChosenError,
    TsUnacceptableError,
)
from iketcp.ike.child_record import Child
from iketcp.ike.exchanges.child_choice import Candidate, choose, wanted_ends
from iketcp.ike.exchanges.transport_mode import (
    Ends,
    Selectors,
    is_asked,
    mode_payloads,
    own_hosts,
    seen_from_here,
)
from iketcp.ike.keys import ChildKeys, derive_child_keys, prf_of
from iketcp.ike.lifetime import LifetimeWatch
from iketcp.ike.negotiation import (
    transforms_of,
    verify_choice,
    with_spi,
    without_key_exchange,
)
from iketcp.ike.outputs import ChildInstalled
from iketcp.ike.payload_set import find, find_notify, need, need_selectors
from iketcp.ike.payloads import KePayload, NoncePayload, Payload, SaPayload, TsPayload
from iketcp.ike.policy import ChildPolicy
from iketcp.ike.proposals import Proposal
from iketcp.ike.sa import IkeSa
from iketcp.registry import NotifyType, TransformType
from iketcp.selectors import TrafficSelector, any_ipv4, any_ipv6


@dataclass(slots=True)
class ChildOffer:
    """What we offered for one Child SA, until the answer comes."""

    policy: ChildPolicy
    spi_in: bytes
    proposals: tuple[Proposal, ...]
    local_ts: Selectors
    remote_ts: Selectors
    nonce: bytes
    key_exchange: KeyExchange | None = None

    def payloads(self) -> list[Payload]:
        """[N(USE_TRANSPORT_MODE),] SA, TSi, TSr of the request.

        Source: RFC 7296 App. C.1
        """
        return [
            *mode_payloads(self.policy.is_transport),
            SaPayload(self.proposals),
            TsPayload(True, self.local_ts),
            TsPayload(False, self.remote_ts),
        ]


def policy_selectors(sa: IkeSa, policy: ChildPolicy) -> tuple[Selectors, Selectors]:
    """Return what we accept as local and remote selectors on this IKE SA.

    Where the policy says so, the initiator's side is what was assigned to it; before
    anything is assigned, the initiator asks for everything and is narrowed.

    Source: RFC 7296 §2.19
    """
    if not policy.is_narrowed_to_assigned_address:
        return policy.local_ts, policy.remote_ts
    hosts = tuple(
        TrafficSelector.parse(str(ip_network(address.ip))) for address in sa.assigned
    )
    if sa.pool is not None:
        return policy.local_ts, hosts
    families = sa.policy.request_families
    everything = tuple(any_ipv4() if f == 4 else any_ipv6() for f in families)
    return hosts or everything or policy.local_ts, policy.remote_ts


def offer_child(
    sa: IkeSa,
    policy: ChildPolicy,
    nonce: bytes,
    selectors: tuple[Selectors, Selectors] | None = None,
    method: int | None = None,
) -> ChildOffer:
    """Prepare an offer.

    Parameters
    ----------
    nonce : bytes
        Our nonce of this exchange, 16 to 256 octets.
    selectors : tuple or None
        Local and remote selectors where a rekey fixes them; else the policy's.
    method : int or None
        Key exchange method to try, or ``None`` to leave key exchange out.

    Raises
    ------
    TsUnacceptableError
        In transport mode, the selectors do not take the two hosts.

    Source: RFC 7296 §1.3.1
    """
    local_ts, remote_ts = selectors or policy_selectors(sa, policy)
    if policy.is_transport:
        local_ts, remote_ts = own_hosts(sa, local_ts, remote_ts)
    spi_in = sa.context.new_esp_spi()
    proposals = policy.proposals
    if method is None:
        proposals = without_key_exchange(proposals)
    ours = None
    if method is not None:
        ours = key_exchange.generate(method, sa.context.entropy, "create_child_sa.ke")
    return ChildOffer(
        policy, spi_in, with_spi(proposals, spi_in), local_ts, remote_ts, nonce, ours
    )


def first_method(policy: ChildPolicy) -> int | None:
    """Return the method to try first, or ``None`` without perfect forward secrecy."""
    for proposal in policy.proposals:
        for transform in transforms_of(proposal, TransformType.KE):
            return transform.id or None
    return None


def _esp_spi(proposal: Proposal) -> bytes:
    """Read the peer's SPI: 4 octets, not reserved [9329-3.2-spi]."""
    if len(proposal.spi) != 4 or int.from_bytes(proposal.spi, "big") < 256:
        raise NoProposalChosenError(f"ESP SPI {proposal.spi.hex() or 'missing'}")
    return proposal.spi


def _tfc_pad_to(policy: ChildPolicy, payloads: Sequence[Payload]) -> int:
    """Pad only towards a peer that can take it, and where the padding shows as such.

    Source: RFC 7296 §1.3.1, RFC 4303 §2.7
    """
    refused = find_notify(payloads, NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED)
    return 0 if refused is not None or policy.is_transport else policy.tfc_pad_to


@dataclass(frozen=True, slots=True)
class Agreement:
    """Everything both sides know once a Child SA is agreed."""

    policy: ChildPolicy
    suite: Suite
    spi_in: bytes
    spi_out: bytes
    ends: Ends
    nonces: tuple[bytes, bytes]
    """Ni and Nr of the exchange."""
    g_ir: bytes = field(repr=False)
    is_exchange_initiator: bool
    tfc_pad_to: int


def make_child(sa: IkeSa, agreed: Agreement, now: float, further: bytes = b"") -> Child:
    """Derive the keys and make the record of a Child SA.

    Parameters
    ----------
    further : bytes
        Secrets of the additional key exchanges, one behind the other.

    Source: RFC 7296 §2.17, RFC 9370 §2.2.4
    """
    if sa.suite is None or sa.keys is None:
        raise LookupError("an IKE SA without keys")  # pragma: no cover
    keys: ChildKeys = derive_child_keys(
        prf_of(sa.suite),
        sa.keys.sk_d,
        agreed.suite,
        *agreed.nonces,
        agreed.g_ir,
        further,
    )
    ours = (keys.encryption_i, keys.integrity_i)
    theirs = (keys.encryption_r, keys.integrity_r)
    if not agreed.is_exchange_initiator:
        ours, theirs = theirs, ours
    policy = agreed.policy
    parameters = ChildSaParameters(
        name=policy.name,
        spi_in=agreed.spi_in,
        spi_out=agreed.spi_out,
        suite=agreed.suite,
        encryption_key_in=theirs[0],
        integrity_key_in=theirs[1],
        encryption_key_out=ours[0],
        integrity_key_out=ours[1],
        local_ts=agreed.ends.ours,
        remote_ts=agreed.ends.theirs,
        replay_window=policy.replay_window,
        tfc_pad_to=agreed.tfc_pad_to,
        transport=agreed.ends.hosts,
    )
    watch = LifetimeWatch(policy.lifetime, sa.context.entropy, now)
    return Child(policy, parameters, watch, agreed.nonces)


def accept_child(
    sa: IkeSa,
    offer: ChildOffer,
    payloads: Sequence[Payload],
    nonces: tuple[bytes, bytes],
) -> Agreement:
    """Check the answer to our offer.

    Parameters
    ----------
    nonces : tuple[bytes, bytes]
        Ni and Nr of the exchange.

    Raises
    ------
    NoProposalChosenError, TsUnacceptableError, MalformedMessageError
        The answer is not a choice from our offer, or not narrower than it.
    InvalidPublicValueError
        The peer's public value fails its test.

    Source: RFC 7296 §2.7, RFC 7296 §2.9
    """
    # PARSE
    answer = need(payloads, SaPayload)
    # CHECK
    suite = verify_choice(answer.proposals, offer.proposals)
    spi_out = _esp_spi(answer.proposals[0])
    ends = _answered_ends(sa, offer, payloads)
    if not _is_narrower(ends.ours, offer.local_ts) or not _is_narrower(
        ends.theirs, offer.remote_ts
    ):
        raise TsUnacceptableError("the answer's selectors are wider than our offer")
    # DERIVE
    g_ir = b""
    if suite.ke is not None:
        ke = need(payloads, KePayload)
        if offer.key_exchange is None or not (
            suite.ke == ke.method == offer.key_exchange.method
        ):
            raise MalformedMessageError("the KE payload is not of the chosen method")
        g_ir = offer.key_exchange.shared_secret(ke.public_value)
    return Agreement(
        policy=offer.policy,
        suite=suite,
        spi_in=offer.spi_in,
        spi_out=spi_out,
        ends=ends,
        nonces=nonces,
        g_ir=g_ir,
        is_exchange_initiator=True,
        tfc_pad_to=_tfc_pad_to(offer.policy, payloads),
    )


def _answered_ends(sa: IkeSa, offer: ChildOffer, payloads: Sequence[Payload]) -> Ends:
    """Read the answer's selectors and its mode.

    Raises
    ------
    TsUnacceptableError
        The mode is not the one we asked for, or not one for these selectors.

    Source: RFC 7296 §1.3.1, RFC 7296 §2.23.1
    """
    tsi, tsr = need_selectors(payloads)
    as_sent = Ends(tuple(tsi.selectors), tuple(tsr.selectors))
    if is_asked(payloads) != offer.policy.is_transport:
        raise TsUnacceptableError("the answer is in another mode than we asked for")
    if not offer.policy.is_transport:
        return as_sent
    hosts = seen_from_here(sa, *as_sent[:2])
    if hosts is None:
        raise TsUnacceptableError("the answer's selectors are not the two hosts")
    return hosts


def _is_narrower(narrowed: Selectors, offered: Selectors) -> bool:
    return bool(narrowed) and all(
        any(wide.contains(small) for wide in offered) for small in narrowed
    )


def candidates(sa: IkeSa) -> list[Candidate]:
    """All Child SAs our policy knows, for a request that rekeys none."""
    return [Candidate(p, *policy_selectors(sa, p)) for p in sa.policy.children]


def answer_child(
    sa: IkeSa,
    payloads: Sequence[Payload],
    accepted: Sequence[Candidate],
    nonces: tuple[bytes, bytes],
    is_ike_auth: bool = False,
) -> tuple[Agreement, list[Payload]]:
    """Choose and narrow as the exchange responder; ``nonces`` are Ni and Nr.

    Parameters
    ----------
    accepted : Sequence[Candidate]
        What we would accept, in order of preference.
    is_ike_auth : bool
        The Child SA comes with IKE_AUTH: no key exchange of its own.

    Returns
    -------
    tuple[Agreement, list[Payload]]
        What :func:`make_child` takes, and the answer's SA, [KE,] TSi, TSr; what
        :func:`~iketcp.ike.exchanges.transport_mode.agreed_payloads` gives goes before.

    Raises
    ------
    TsUnacceptableError, NoProposalChosenError, InvalidKePayloadError
        The selectors, the proposals or the KE payload do not fit.

    Source: RFC 7296 §2.7, RFC 7296 §2.9, RFC 7296 §1.3
    """
    # PARSE
    offer = need(payloads, SaPayload)
    ke, wanted = find(payloads, KePayload), wanted_ends(sa, payloads)
    # CHECK
    chosen = choose(offer.proposals, wanted, accepted, ke, is_ike_auth)
    suite, spi_out = chosen.choice.suite, _esp_spi(chosen.choice.proposal)
    # DERIVE
    spi_in = sa.context.new_esp_spi()
    ours = chosen.choice.proposal
    ours = ours.with_number_and_spi(ours.number, spi_in)
    answer: list[Payload] = [SaPayload((ours,))]
    g_ir = b""
    if suite.ke is not None:
        public_value, g_ir = _exchange_keys(sa, suite.ke, ke)
        answer.append(KePayload(suite.ke, public_value))
    agreed = Agreement(
        policy=chosen.policy,
        suite=suite,
        spi_in=spi_in,
        spi_out=spi_out,
        ends=chosen.ends,
        nonces=nonces,
        g_ir=g_ir,
        is_exchange_initiator=False,
        tfc_pad_to=_tfc_pad_to(chosen.policy, payloads),
    )
    answer += [TsPayload(True, chosen.ends.theirs), TsPayload(False, chosen.ends.ours)]
    return agreed, answer


def _exchange_keys(sa: IkeSa, method: int, ke: KePayload | None) -> tuple[bytes, bytes]:
    """Answer a KE payload; returns our public value and the shared secret.

    Raises
    ------
    InvalidKePayloadError
        It is missing, or of another method than the chosen one. RFC 7296 §1.3.
    """
    if ke is None or ke.method != method:
        raise InvalidKePayloadError(method)
    ours = key_exchange.answer(
        method, ke.public_value, sa.context.entropy, "create_child_sa.ke"
    )
    return ours.public_value, ours.shared_secret


def install(
    sa: IkeSa,
    child: Child,
    replaces: Child | None = None,
    is_sending_deferred: bool = False,
) -> None:
    """Add the Child SA to the IKE SA and hand it to ESP."""
    sa.add_child(child)
    sa.emit(
        ChildInstalled(
            child.parameters,
            None if replaces is None else replaces.spi_in,
            is_sending_deferred,
        )
    )


def nonce_of(payloads: Sequence[Payload]) -> bytes:
    """Return the peer's nonce, 16 to 256 octets. Source: RFC 7296 §2.10."""
    return need(payloads, NoncePayload).nonce
