"""What a relay is told on its command line: addresses, certificates, limits.

A relay has no secrets and no policy, so options say it all, and there is no file.

Source: RFC 9329 §2, RFC 9329 App. A
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from iketcp.config import values
from iketcp.config.secret_files import warn_if_open
from iketcp.config.values import BadValueError, Kind, duration, host
from iketcp.crypto.signatures import SigningKey
from iketcp.datagram import ENCAPSULATION_PORT
from iketcp.errors import ConfigurationError
from iketcp.net.tls_options import TlsIdentity, TlsTrust
from iketcp.relay.policy import RelayPolicy

_ENDPOINT = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:]*))(?::(?P<port>[0-9]+))?")
_PIN = re.compile(r"(?:sha256:)?([0-9A-Fa-f]{64})")


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Everything a relay needs to know."""

    is_originator: bool
    """UDP comes in and TCP goes out, instead of the other way round."""
    address: str | None
    """Where to listen; ``None``: on every address."""
    port: int
    to_host: str
    """The daemon, or the gateway: host name or IP address."""
    to_port: int
    ike_port: int | None = None
    """UDP port of IKE alone, for clients; ``None``: none."""
    proxy_protocol_from: tuple[str, ...] = ()
    """Addresses of balancers, whose connections begin with the PROXY protocol."""
    tls: TlsIdentity | TlsTrust | None = None
    """What we show to TCP Originators, or which TCP Responder we believe."""
    policy: RelayPolicy = field(default_factory=RelayPolicy)
    drain_seconds: float = 0.0
    """At the end, how long connections may go on."""
    connect_timeout_seconds: float = 10.0
    """For a connection, and for its TLS handshake."""
    user_timeout_seconds: float = 20.0
    """So long may the peer's TCP acknowledge nothing."""
    send_queue_octets: int = 1 << 20
    """Octets that may wait for a slow peer; beyond, ESP is dropped, IKE is not."""
    dscp: int = 0
    """Differentiated Services code point of everything, 6 bits."""
    warnings: tuple[str, ...] = ()
    """Sentences for the user."""


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """The options of the command line, as they were given."""

    listen: str
    to: str
    originate: bool
    ike_port: int | None
    proxy_protocol_from: list[str] | None
    tls_certificate: Path | None
    tls_key: Path | None
    tls: bool
    tls_ca: Path | None
    tls_name: str | None
    tls_pin: list[str] | None
    connections: int
    half_open: int
    half_open_per_address: int
    idle: str
    grace: str
    drain: str


def build(options: RelayOptions) -> RelayConfig:
    """Make a configuration out of options, and read the files that they name.

    Raises
    ------
    ConfigurationError
        An option is wrong by itself or beside others, or a file cannot be used.
    """
    warnings: list[str] = []
    address, port = parse_listen("--listen", options.listen)
    to_host, to_port = parse_endpoint("--to", options.to)
    if not to_host:
        raise ConfigurationError("--to needs a host before the port")
    if options.ike_port is not None and not options.originate:
        raise ConfigurationError("--ike-port goes with --originate only")
    if options.proxy_protocol_from and options.originate:
        sentence = "--proxy-protocol-from does not go with --originate"
        raise ConfigurationError(sentence)
    return RelayConfig(
        is_originator=options.originate,
        address=address,
        port=port,
        to_host=to_host,
        to_port=to_port,
        ike_port=options.ike_port,
        proxy_protocol_from=tuple(
            parse_value("--proxy-protocol-from", values.address(), sender)
            for sender in options.proxy_protocol_from or ()
        ),
        tls=(
            _trust(options, to_host)
            if options.originate
            else _identity(options, warnings)
        ),
        policy=RelayPolicy(
            connection_limit=options.connections,
            half_open_limit=options.half_open,
            half_open_address_limit=options.half_open_per_address,
            idle_seconds=_seconds("--idle", options.idle, 0.0),
            grace_seconds=_seconds("--grace", options.grace),
        ),
        drain_seconds=_seconds("--drain", options.drain, 0.0),
        warnings=tuple(warnings),
    )


def _identity(options: RelayOptions, warnings: list[str]) -> TlsIdentity | None:
    if options.tls or options.tls_ca or options.tls_name or options.tls_pin:
        sentence = "--tls, --tls-ca, --tls-name and --tls-pin go with --originate only"
        raise ConfigurationError(sentence)
    certificate, key = options.tls_certificate, options.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("--tls-certificate and --tls-key go together")
    return read_identity(certificate, key, warnings)


def _trust(options: RelayOptions, to_host: str) -> TlsTrust | None:
    if options.tls_certificate or options.tls_key:
        sentence = "--tls-certificate and --tls-key do not go with --originate"
        raise ConfigurationError(sentence)
    if not options.tls:
        if options.tls_ca or options.tls_name or options.tls_pin:
            sentence = "--tls-ca, --tls-name and --tls-pin need --tls"
            raise ConfigurationError(sentence)
        return None
    authorities = options.tls_ca
    return TlsTrust(
        name=options.tls_name or to_host,
        authorities=(
            () if authorities is None else read_authorities("--tls-ca", authorities)
        ),
        pins=tuple(parse_pin("--tls-pin", pin) for pin in options.tls_pin or ()),
    )


def _seconds(option: str, text: str, smallest: float = 0.001) -> float:
    # "0" is a duration on a command line, where everything is text.
    value: object = int(text) if text.isdecimal() else text
    return float(parse_value(option, duration(smallest), value))


def parse_endpoint(option: str, text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[2001:db8::1]:PORT`` or ``:PORT``; 4500 if none is given.

    Raises
    ------
    ConfigurationError
        It is none of these.
    """
    found = _ENDPOINT.fullmatch(text)
    port = int(found["port"] or ENCAPSULATION_PORT) if found else -1
    if found is None or not 0 <= port <= 65535:
        raise ConfigurationError(
            f'{option} must be like "192.0.2.1:4500", "[2001:db8::1]:4500" or '
            f'"gw.example:4500", not {text!r}'
        )
    name = found["six"] or found["host"] or ""
    if name:
        name = parse_value(option, host(), name)
    return name, port


def parse_value(option: str, kind: Kind, text: object) -> Any:
    """Read a value of a kind that configuration files have, too.

    Raises
    ------
    ConfigurationError
        It is not of that kind.
    """
    try:
        return kind.parse(text)
    except BadValueError as error:
        raise ConfigurationError(f"{option} {error.sentence}") from error


def parse_listen(option: str, text: str) -> tuple[str | None, int]:
    """Read where to listen: as :func:`parse_endpoint`, but no host name.

    Raises
    ------
    ConfigurationError
        It cannot be read, or is a host name.
    """
    name, port = parse_endpoint(option, text)
    try:
        return (str(ip_address(name)) if name else None), port
    except ValueError:
        sentence = f"{option} must be an address of this machine, not {name!r}"
        raise ConfigurationError(sentence) from None


def read_identity(certificate: Path, key: Path, warnings: list[str]) -> TlsIdentity:
    """Read what a TLS server shows.

    Parameters
    ----------
    certificate, key : Path
        PEM files: the certificate with those up to the CA's, and its private key.
    warnings : list[str]
        Grows where every user can read the key.

    Raises
    ------
    ConfigurationError
        A file cannot be read, or holds something else.

    Source: RFC 9329 App. B.1
    """
    certificates = read_authorities("--tls-certificate", certificate)
    octets = _read("--tls-key", key)
    warn_if_open(key, str(key), warnings)
    try:
        private_key = load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        sentence = f"--tls-key names {key}, which has no key in PEM: {error}"
        raise ConfigurationError(sentence) from None
    if not isinstance(private_key, SigningKey):
        sentence = f"--tls-key names {key}, which has no RSA, ECDSA or EdDSA key"
        raise ConfigurationError(sentence)
    return TlsIdentity(certificates, private_key)


def read_authorities(option: str, path: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file.

    Raises
    ------
    ConfigurationError
        It cannot be read, or there is none in it.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(_read(option, path)))
    except ValueError as error:
        sentence = f"{option} names {path}, which has no certificate in PEM: {error}"
        raise ConfigurationError(sentence) from None


def parse_pin(option: str, text: str) -> bytes:
    """Read the SHA-256 of a public key, ``sha256:`` and 64 hexadecimal digits.

    Raises
    ------
    ConfigurationError
        It is none.
    """
    found = _PIN.fullmatch(text)
    if found is None:
        raise ConfigurationError(f'{option} must be "sha256:" and 64 digits')
    return bytes.fromhex(found[1])


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        sentence = f"{option} names {path}, which cannot be read: {error.strerror}"
        raise ConfigurationError(sentence) from error
