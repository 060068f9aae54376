"""What an endpoint is willing to agree to: the pure form of a configuration.

Source: RFC 4301 §4.4 (SPD and PAD), RFC 7296 §2.8 (lifetimes are local policy)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from iketcp.eap.method import EapAuthenticatorPolicy, EapPeerPolicy
from iketcp.ike.credentials import Credential, Ppk, Trust
from iketcp.ike.identity import Identity
from iketcp.ike.identity_pattern import IdentityPattern
from iketcp.ike.proposals import Proposal
from iketcp.ike.retransmission import RetransmissionPolicy
from iketcp.selectors import TrafficSelector


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When an SA is rekeyed (soft) and when it must not be used any more (hard).

    Rekeying begins at the limit less a random share of up to ``jitter`` of it; the
    SA ends at the limit times ``1 + grace``.

    Source: RFC 7296 §2.8
    """

    seconds: float | None = None
    octets: int | None = None
    packets: int | None = None
    jitter: float = 0.1
    grace: float = 0.1


@dataclass(frozen=True, slots=True)
class ChildPolicy:
    """One Child SA that may exist."""

    name: str
    proposals: tuple[Proposal, ...]
    """ESP proposals in order of preference; SPI fields empty."""
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    lifetime: Lifetime = Lifetime(seconds=3600.0)
    replay_window: int = 1024
    tfc_pad_to: int = 0
    is_transport: bool = False
    """Transport mode between the two hosts of the IKE SA, and no other; the selectors
    are narrowed to their addresses. Source: RFC 7296 §1.3.1."""
    is_narrowed_to_assigned_address: bool = False
    """Our side of the selectors (initiator) or the peer's (responder) becomes the
    addresses assigned by the Configuration payload. Source: RFC 7296 §2.19."""


class Childless(Enum):
    """Whether IKE_AUTH goes without a Child SA. Source: RFC 6023 §3."""

    NEVER = "never"
    ALLOW = "allow"
    """A responder takes either kind of IKE_AUTH."""
    PREFER = "prefer"
    """An initiator does without where the responder takes that."""
    FORCE = "force"
    """An initiator has no IKE SA with a responder that does not."""


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """What the responder hands out. Source: RFC 7296 §3.15."""

    networks: tuple[str, ...]
    """IPv4 and IPv6 networks in CIDR form; addresses are taken from them."""
    dns_servers: tuple[str, ...] = ()


class Uniqueness(Enum):
    """Whether one identity may have several IKE SAs with us. RFC 7296 §2.4."""

    NEVER = "never"
    """It may: several machines share it. INITIAL_CONTACT is neither sent nor heard."""
    INITIAL_CONTACT = "initial-contact"
    """Older ones end when an initiator says that it has none."""
    REPLACE = "replace"
    """Older ones end in any case: the last to come in is the one to stay."""


@dataclass(frozen=True, slots=True)
class IkePolicy:
    """How IKE SAs with one kind of peer are made and kept."""

    proposals: tuple[Proposal, ...]
    """IKE proposals in order of preference; SPI fields empty."""
    local_identity: Identity
    remote_identity: Identity | None
    """Who the peer must be; ``None`` accepts whoever knows a secret."""
    secrets: Mapping[Identity | None, bytes] = field(repr=False)
    """Pre-shared keys by remote identity; the key under ``None`` is for all others."""
    children: tuple[ChildPolicy, ...]
    address_secrets: Mapping[IPv4Network | IPv6Network, bytes] = field(
        default_factory=dict, repr=False
    )
    """Pre-shared keys by where a peer is; the narrowest network counts, and a key of
    its identity more."""
    name: str = ""
    """What logs call these peers."""
    accepts: tuple[IdentityPattern, ...] = ()
    """Among ``connections``: whom this one is for."""
    connections: tuple["IkePolicy", ...] = ()
    """As responder, what stands in place of this policy once a peer says who it is:
    the first that is for it. They differ in all but what IKE_SA_INIT has settled.
    Source: RFC 4301 §4.4.3."""
    credential: Credential = field(default_factory=Credential)
    """What we prove our identity with, unless that is EAP."""
    trust: Trust = field(default_factory=Trust)
    """Which proofs of the peer we take, besides EAP."""
    ppks: tuple[Ppk, ...] = ()
    """Post-quantum preshared keys; an initiator uses the first for its peer."""
    lifetime: Lifetime = Lifetime(seconds=14400.0)
    reauthentication: Lifetime = Lifetime()
    """When the peers have to authenticate each other anew; by time only.
    Source: RFC 7296 §2.8.3."""
    request_timeout_seconds: float = 60.0
    """Without an answer for so long, the IKE SA ends [9329-6.2-no-retransmit]."""
    retransmission: RetransmissionPolicy = RetransmissionPolicy()
    """Over UDP, requests are sent again, and waited for longer."""
    liveness_seconds: float | None = 30.0
    """An empty INFORMATIONAL after this long without a protected message."""
    eap_peer: EapPeerPolicy | None = None
    """As initiator we prove who we are by EAP. Source: RFC 7296 §2.16."""
    eap_authenticator: EapAuthenticatorPolicy | None = None
    """As responder we ask EAP of every initiator, and take no AUTH before it."""
    is_eap_second: bool = False
    """EAP does not stand in place of ``credential`` or ``trust``, but comes on top, as
    a second authentication of the initiator. Source: RFC 4739 §2.3."""
    request_families: tuple[int, ...] = ()
    """IP versions (4, 6) of which the initiator asks an address."""
    pool: PoolPolicy | None = None
    is_cookie_required: bool = False
    """Ask every initiator for a cookie; off, as RFC 9329 §6.3 advises."""
    cookie_threshold: int = 8
    """With so many half-open IKE SAs, an initiator has to bring a cookie over UDP,
    where nobody has proved its address yet. Source: RFC 7296 §2.6."""
    puzzle_threshold: int = 128
    """With so many half-open IKE SAs, an initiator has to solve a puzzle first; 0:
    always. Source: RFC 8019 §4.4."""
    puzzle_difficulty: int = 0
    """Zero bits to find, 0 to 255; 0 leaves it to the initiator, as RFC 8019
    §7.1.1.1 recommends unless an attack is very heavy."""
    is_fragmentation_supported: bool = True
    """Agree to IKE fragmentation where the peer offers it. Source: RFC 7383 §2.3."""
    unique: Uniqueness = Uniqueness.INITIAL_CONTACT
    childless: Childless = Childless.NEVER
    half_open_seconds: float = 30.0
    """How long the responder keeps an IKE SA whose IKE_AUTH has not come."""
    crash_secret: bytes = field(default=b"", repr=False)
    """QCD_SECRET, 32 octets that survive a restart; empty: no tokens are made.
    Source: RFC 6290 §5.1."""

    @property
    def variants(self) -> tuple["IkePolicy", ...]:
        """What an authenticated peer may find: this policy, or one of several."""
        return self.connections or (self,)

    def is_for(self, peer: Identity) -> bool:
        """Tell whether a peer may come in by this one of several connections."""
        return any(pattern.fits(peer) for pattern in self.accepts)
