"""What a configuration file says, once it has been read and checked.

Frozen records without behaviour: durations are float seconds, sizes are octets, and
``None`` stands where the file says "none", "any" or "auto" (each field says which).

Source: RFC 9329 §6.1, RFC 7296 §2.8
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Literal

from iketcp.ike.identity import Identity
from iketcp.ike.policy import IkePolicy
from iketcp.net.tls_options import TlsIdentity, TlsOptions, TlsTrust

Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface

Role = Literal["initiator", "responder"]
"""Which command reads the file: who sends the first IKE_SA_INIT, and who waits."""

ROLES: tuple[Role, ...] = ("initiator", "responder")


TlsUse = Literal["always", "first", "fallback"]
"""TLS alone, before plain TCP, or after it. RFC 9329 App. A."""


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """Who we are and where we listen or connect from."""

    identity: Identity
    address: str | None
    """IP address to listen on or connect from; ``None``: any."""
    port: int | None
    """TCP port to listen on without TLS; ``None``: nowhere. 0 as an initiator, which
    takes any. [9329-2-ports]"""


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """Whom we speak with."""

    address: str | None
    """Host name or IP address to connect to; ``None`` as a responder."""
    port: int
    """TCP port to connect to."""
    identity: Identity | None
    """Who the peer must be; ``None``: whoever knows a secret."""


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """What carries IKE and ESP; how TCP connections are made, kept and given up."""

    protocol: Literal["tcp", "udp"]
    connect_timeout_seconds: float
    reconnect_first_seconds: float
    """Wait before the second attempt; the first one is made at once, and every
    further wait doubles. [9329-6.1-reestablish]"""
    reconnect_max_seconds: float
    user_timeout_seconds: float
    """So long may the peer's TCP acknowledge nothing; 0: as the system has it.
    [9329-6.1-reestablish]"""
    send_queue_octets: int
    """Octets that may wait for a slow peer; beyond, ESP is dropped, IKE is not."""
    dscp: int
    """Differentiated Services code point of the connection, 6 bits.
    [9329-6.8-dscp]"""
    path_mtu: int
    """Largest outer IP packet, in octets; the inner MTU follows. [9329-3-limit]"""
    extraneous_idle_seconds: float
    """A replaced connection closes after this long; 0: never.
    [9329-6.1-extraneous]"""
    linger_seconds: float
    """After DELETE the responder waits this long for FIN. [9329-6.1-linger]"""
    cookie_wait_seconds: float
    """After a COOKIE request, how long a connection may stay silent.
    [9329-6.3-close]"""
    unknown_spi_limit: int
    """ESP packets with unknown SPIs in a row that do not close it yet.
    [9329-6.1-few-unknown]"""
    corrupt_limit: int
    """Unparseable messages in a row that close it. [9329-6.1-corrupt]"""
    resync: int
    """Searches for the next message that a connection may have; 0: none.
    [9329-10-resync] [9329-10-limit]"""
    prefix_deadline_seconds: float
    """Prefix and first valid message must have come by then. [9329-6.1-idle]"""
    half_open_limit_per_address: int
    half_open_limit: int
    """Connections without a valid message so far, of one address and of all.
    [9329-6.1-idle]"""
    proxy_protocol_from: tuple[str, ...]
    """IP addresses of balancers that say first for whom they connect."""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How TLS is spoken around TCP connections [9329-A-config]."""

    port: int
    """TCP port where TLS is spoken: ours as a responder, else the responder's."""
    use: TlsUse
    """Which way an initiator tries first."""
    options: TlsOptions
    identity: TlsIdentity | None
    """What a responder shows."""
    trust: TlsTrust | None
    """Whom an initiator believes."""
    sni: str | None
    """Server name that an initiator sends; ``None``: none."""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """The web proxy that an initiator connects through [9329-A-connect]."""

    address: str
    """Host name or IP address."""
    port: int
    user: str | None
    """For Basic authentication; ``None``: none."""
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UdpConfig:
    """Ports of plain UDP, and what keeps it going."""

    ike_port: int
    encapsulation_port: int
    """Our ports, of IKE alone and of IKE and ESP together; 0: any free one."""
    remote_ike_port: int
    remote_encapsulation_port: int
    """The responder's ports, likewise."""
    keepalive_seconds: float
    """From behind a NAT something goes out at least so often."""
    fragment_size: int
    """Octets of the largest IKE message that goes whole."""


@dataclass(frozen=True, slots=True)
class TunConfig:
    """The tunnel device and what is put on it."""

    mode: Literal["device", "memory"]
    """``memory``: no device at all, for tests and demonstrations."""
    dataplane: Literal["user", "kernel"]
    """Who seals and opens packets: we do, or the kernel."""
    name: str
    mtu: int | None
    """Inner MTU in octets; ``None``: from path and suite. [9329-3-limit]"""
    offloads: bool
    """Whether TCP segments may be moved in large pieces, where the system can."""
    addresses: tuple[Interface, ...]
    """Fixed addresses; those that the peer assigns come on top."""
    routes: tuple[Network, ...] | None
    """``None``: the remote Traffic Selectors of every Child SA; empty: none."""
    resolv_conf: Path | None
    """File that receives assigned DNS servers; ``None``: they are not applied."""


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """Programs that are run when a Child SA comes up or goes away."""

    up: Path | None
    down: Path | None
    timeout_seconds: float
    """A program that runs longer is ended."""


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Where a running peer answers ``iketcp status``."""

    socket: Path | None
    """Unix socket; ``None``: no status."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, where, and in which form."""

    level: Literal["debug", "info", "warning", "error"]
    file: Path | None
    """``None``: standard error."""
    format: Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a peer needs to know before it starts."""

    role: Role
    local: LocalConfig
    remote: RemoteConfig
    ike: IkePolicy
    """Pure form of [ike], [[child]], [pool] and the secrets."""
    transport: TransportConfig
    udp: UdpConfig
    tun: TunConfig
    hooks: HooksConfig
    control: ControlConfig
    log: LogConfig
    tls: TlsConfig | None = None
    """``None``: there is only plain TCP."""
    proxy: ProxyConfig | None = None
    """``None``: connections are made directly."""
    crash_secret_file: Path | None = None
    """Where the secret for the tokens of RFC 6290 is kept, or will be."""
    prepared_keys: int = 0
    """Private keys of each key exchange method that are made in advance."""
    warnings: tuple[str, ...] = ()
    """Sentences for the user: usable, but not as it should be."""
