"""IKE_AUTH: prove who we are, and make the first Child SA on the way.

Both peers sign what they said in IKE_SA_INIT. The request may also ask for addresses,
which the responder hands out from its pool. If authentication succeeds and the rest
does not, the IKE SA stands all the same.

Source: RFC 7296 §1.2
Source: RFC 7296 §2.15
Source: RFC 7296 §2.19
Source: RFC 7296 §2.21.2
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import ClassVar

from iketcp.crypto.prf import Prf
from iketcp.errors import (
    AuthenticationFailedError,
    ExchangeError,
    FailedCpRequiredError,
    InternalAddressFailureError,
    MalformedMessageError,
    RefusedError,
)
from iketcp.ike.address_pool import AddressPool
from iketcp.ike.auth import is_shared_key_auth, shared_key_auth, signed_octets
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.crash_detection import keep_tokens, token_payloads
from iketcp.ike.exchanges.child import (
    ChildOffer,
    accept_child,
    answer_child,
    candidates,
    install,
    offer_child,
)
from iketcp.ike.exchanges.transport_mode import agreed_payloads
from iketcp.ike.identity import Identity
from iketcp.ike.keys import prf_of
from iketcp.ike.outputs import Assigned, ChildFailed, Established
from iketcp.ike.payload_set import (
    find,
    find_error,
    find_identity,
    need,
    notify_name,
)
from iketcp.ike.payloads import (
    AuthPayload,
    ConfigurationPayload,
    IdPayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
)
from iketcp.ike.sa import Exchange, IkeSa, Received
from iketcp.ike.states import IkeEvent
from iketcp.registry import (
    AuthMethod,
    ConfigurationAttributeType,
    ConfigurationType,
    ExchangeType,
    NotifyType,
)

Interface = IPv4Interface | IPv6Interface

_ATTRIBUTES = {
    4: (
        ConfigurationAttributeType.INTERNAL_IP4_ADDRESS,
        ConfigurationAttributeType.INTERNAL_IP4_DNS,
    ),
    6: (
        ConfigurationAttributeType.INTERNAL_IP6_ADDRESS,
        ConfigurationAttributeType.INTERNAL_IP6_DNS,
    ),
}
"""Address and DNS attribute by IP version. Source: RFC 7296 §3.15.1."""


# --- authentication ----------------------------------------------------------------


def _auth_value(sa: IkeSa, identity: IdPayload, is_ours: bool, secret: bytes) -> bytes:
    """Compute AUTH of one side. Source: RFC 7296 §2.15."""
    return shared_key_auth(_prf(sa), secret, _octets_of(sa, identity, is_ours))


def _prf(sa: IkeSa) -> Prf:
    if sa.suite is None:
        raise LookupError("no suite yet")  # pragma: no cover
    return prf_of(sa.suite)


def _octets_of(sa: IkeSa, identity: IdPayload, is_ours: bool) -> bytes:
    """Return what one side signs; the initiator's with Nr and SK_pi."""
    if sa.keys is None:
        raise LookupError("no keys yet")  # pragma: no cover
    keys = sa.keys
    is_initiators = sa.is_original_initiator == is_ours
    nonce, sk_p = (sa.nr, keys.sk_pi) if is_initiators else (sa.ni, keys.sk_pr)
    message = sa.local_init_message if is_ours else sa.remote_init_message
    return signed_octets(_prf(sa), message, nonce, sk_p, identity.encode_body())


def _local_id_payload(sa: IkeSa) -> IdPayload:
    identity = sa.policy.local_identity
    return IdPayload(sa.is_original_initiator, identity.id_type, identity.data)


def _secret_for(sa: IkeSa, identity: Identity) -> bytes:
    """Find the pre-shared key for a peer.

    Raises
    ------
    AuthenticationFailedError
        There is none.
    """
    secrets = sa.policy.secrets
    secret = secrets.get(identity, secrets.get(None))
    if secret is None:
        raise AuthenticationFailedError(f"no secret for {identity}")
    return secret


def _verify_peer(sa: IkeSa, identity: IdPayload, auth: AuthPayload) -> Identity:
    """Check the peer's identity and AUTH.

    Raises
    ------
    AuthenticationFailedError
        It is not the peer we expect, the method is not a shared key, there is no secret
        for it, or the value is wrong.

    Source: RFC 7296 §2.15, RFC 7296 §2.21.2
    """
    peer = Identity(identity.id_type, identity.data)
    expected = sa.policy.remote_identity
    if expected is not None and peer != expected:
        raise AuthenticationFailedError(f"the peer is {peer}, not {expected}")
    if auth.method != AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE:
        raise AuthenticationFailedError(f"Auth Method {auth.method} is not supported")
    secret = _secret_for(sa, peer)
    octets = _octets_of(sa, identity, is_ours=False)
    if not is_shared_key_auth(_prf(sa), secret, octets, auth.data):
        raise AuthenticationFailedError(f"the secret of {peer} does not fit")
    return peer


def _authenticated(sa: IkeSa, peer: Identity) -> None:
    """Both sides are who they say: the IKE SA stands."""
    sa.remote_identity = str(peer)
    if not sa.is_original_initiator:
        sa.id_after_ike_auth = sa.answered.expected + 1
    sa.local_init_message = sa.remote_init_message = b""
    sa.state_deadline = None
    sa.transition(IkeEvent.AUTHENTICATE)
    sa.emit(Established(sa.remote_identity))


# --- Configuration payload ------------------------------------------------------------


def configuration_request(families: Sequence[int]) -> ConfigurationPayload:
    """Ask for an address and name servers of each IP version. RFC 7296 §2.19."""
    attributes = [
        ConfigurationAttribute(kind, b"") for f in families for kind in _ATTRIBUTES[f]
    ]
    return ConfigurationPayload(ConfigurationType.CFG_REQUEST, tuple(attributes))


def _assign(
    sa: IkeSa, pool: AddressPool, request: ConfigurationPayload
) -> ConfigurationPayload:
    """Lease what is asked for and make CFG_REPLY.

    Raises
    ------
    InternalAddressFailureError
        Not a single address could be given.

    Source: RFC 7296 §2.19, RFC 7296 §3.15.4
    """
    asked = {attribute.type for attribute in request.attributes}
    attributes, leased = [], []
    for version, (address_type, dns_type) in _ATTRIBUTES.items():
        if address_type in asked:
            try:
                lease = pool.lease(sa.remote_identity, version)
            except InternalAddressFailureError:
                continue
            leased.append(lease)
            attributes += _address_attributes(lease)
        if dns_type in asked:
            attributes += [
                ConfigurationAttribute(dns_type, server.packed)
                for server in map(ip_address, pool.dns_servers)
                if server.version == version
            ]
    if not leased:
        raise InternalAddressFailureError("the pool has no address to give")
    sa.assigned = tuple(leased)
    return ConfigurationPayload(ConfigurationType.CFG_REPLY, tuple(attributes))


def _address_attributes(lease: Interface) -> list[ConfigurationAttribute]:
    """Encode an address: 4 octets, or 16 octets and a prefix length.

    Source: RFC 7296 §3.15.1
    """
    kind = _ATTRIBUTES[lease.version][0]
    if isinstance(lease, IPv6Interface):
        value = lease.ip.packed + bytes([lease.network.prefixlen])
        return [ConfigurationAttribute(kind, value)]
    netmask = ConfigurationAttributeType.INTERNAL_IP4_NETMASK
    return [
        ConfigurationAttribute(kind, lease.ip.packed),
        ConfigurationAttribute(netmask, lease.netmask.packed),
    ]


def read_assignment(
    reply: ConfigurationPayload,
) -> tuple[tuple[Interface, ...], tuple[str, ...]]:
    """Read addresses and name servers from a decoded CFG_REPLY.

    Sizes were checked when it was decoded. An IPv4 address becomes a host address
    (/32): what is reachable besides it follows from the Traffic Selectors, not from the
    netmask.

    Source: RFC 7296 §3.15.1
    """
    addresses: list[Interface] = []
    servers: list[str] = []
    kinds = ConfigurationAttributeType
    for attribute in reply.attributes:
        value = attribute.value
        if not value:
            continue  # the responder has none to give
        if attribute.type == kinds.INTERNAL_IP4_ADDRESS:
            addresses.append(IPv4Interface((value, 32)))
        elif attribute.type == kinds.INTERNAL_IP6_ADDRESS:
            addresses.append(IPv6Interface((value[:16], value[16])))
        elif attribute.type in (kinds.INTERNAL_IP4_DNS, kinds.INTERNAL_IP6_DNS):
            servers.append(str(ip_address(value)))
    return tuple(addresses), tuple(servers)


# --- initiator ------------------------------------------------------------------------


class IkeAuth(Exchange):
    """Our IKE_AUTH. Source: RFC 7296 §1.2."""

    exchange_type: ClassVar[ExchangeType] = ExchangeType.IKE_AUTH

    def __init__(self, solution: bytes | None = None) -> None:
        self._offer: ChildOffer | None = None
        self._solution = solution

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload]:
        """Make [PS,] IDi, [IDr,] AUTH, [N,] [CP(CFG_REQUEST),] [N,] SA, TSi, TSr.

        Source: RFC 7296 §1.2, RFC 8019 §7.2.2
        """
        ours = _local_id_payload(sa)
        payloads: list[Payload] = [ours]
        if self._solution is not None:
            payloads.insert(0, PsPayload(self._solution))
        expected = sa.policy.remote_identity
        if expected is not None:
            payloads.append(IdPayload(False, expected.id_type, expected.data))
            secret = _secret_for(sa, expected)
        else:
            secret = self._only_secret(sa)
        payloads.append(
            AuthPayload(
                AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE,
                _auth_value(sa, ours, True, secret),
            )
        )
        payloads += token_payloads(sa)
        if sa.policy.request_families:
            payloads.append(configuration_request(sa.policy.request_families))
        self._offer = offer_child(sa, sa.policy.children[0], sa.ni)
        sa.transition(IkeEvent.SEND_IKE_AUTH)
        return payloads + self._offer.payloads()

    @property
    def awaited_spi(self) -> bytes:
        """SPI (in) of the Child SA it asks for, 4 octets; empty before the request."""
        return b"" if self._offer is None else self._offer.spi_in

    @staticmethod
    def _only_secret(sa: IkeSa) -> bytes:
        """Take the one secret there is when the configuration names no peer."""
        for secret in sa.policy.secrets.values():
            return secret
        raise AuthenticationFailedError("no secret configured")

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
        error = find_error(payloads)
        if identity is None or auth is None:
            if error is not None:
                raise RefusedError(f"the peer answers {notify_name(error)}")
            raise MalformedMessageError("neither AUTH nor an error")
        _authenticated(sa, _verify_peer(sa, identity, auth))
        keep_tokens(sa, payloads)
        if error is not None:
            self._child_failed(sa, notify_name(error))
            return
        reply = find(payloads, ConfigurationPayload)
        if reply is not None and reply.type == ConfigurationType.CFG_REPLY:
            sa.assigned, servers = read_assignment(reply)
            sa.emit(Assigned(sa.assigned, servers))
        if self._offer is None:
            raise LookupError("a response without request")  # pragma: no cover
        try:
            child = accept_child(sa, self._offer, payloads, (sa.ni, sa.nr), now)
        except ExchangeError as failure:
            self._child_failed(sa, str(failure))
            return
        install(sa, child)

    def _child_failed(self, sa: IkeSa, reason: str) -> None:
        """The IKE SA stands without its first Child SA; the engine decides."""
        sa.emit(ChildFailed(sa.policy.children[0].name, reason))


# --- responder ------------------------------------------------------------------------


def answer_ike_auth(sa: IkeSa, request: Received, now: float) -> list[Payload]:
    """Answer an IKE_AUTH request.

    Returns
    -------
    list[Payload]
        IDr, AUTH, [N(QCD_TOKEN),] [CP(CFG_REPLY),] and [N,] SA, TSi, TSr or the Notify
        of what failed.

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
    if auth is None:
        # without AUTH the initiator asks for EAP
        raise AuthenticationFailedError("no AUTH: EAP is not supported")
    need(payloads, SaPayload)
    # CHECK
    peer = _verify_peer(sa, identity, auth)
    ours = _local_id_payload(sa)
    answer: list[Payload] = [
        ours,
        AuthPayload(
            AuthMethod.SHARED_KEY_MESSAGE_INTEGRITY_CODE,
            _auth_value(sa, ours, True, _secret_for(sa, peer)),
        ),
    ]
    # UPDATE
    _authenticated(sa, peer)
    keep_tokens(sa, payloads)
    # REPLY
    answer += token_payloads(sa)
    try:
        answer += _configure_and_answer_child(sa, payloads, now)
    except ExchangeError as error:
        notify = error.notify or NotifyType.NO_PROPOSAL_CHOSEN
        answer.append(NotifyPayload(notify, error.notify_data))
        sa.emit(ChildFailed("", str(error)))
    return answer


def _configure_and_answer_child(
    sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Hand out addresses and make the first Child SA. Source: RFC 7296 §2.19."""
    answer: list[Payload] = []
    request = find(payloads, ConfigurationPayload)
    is_asked = request is not None and request.type == ConfigurationType.CFG_REQUEST
    pool = sa.context.pool
    if request is not None and is_asked and pool is not None:
        answer.append(_assign(sa, pool, request))
    elif pool is not None and all(
        policy.is_narrowed_to_assigned_address for policy in sa.policy.children
    ):
        raise FailedCpRequiredError("an address has to be asked for")
    child, rest = answer_child(
        sa, payloads, candidates(sa), (sa.ni, sa.nr), now, is_ike_auth=True
    )
    install(sa, child)
    return [*answer, *agreed_payloads(child.parameters), *rest]
