"""What TLS is to do, as a configuration says it: records without behaviour.

Source: RFC 9329 App. A, RFC 9329 App. B.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509

from iketcp.crypto.signatures import SigningKey

KeyLogLine = Callable[[bytes], None]
"""Takes a line of NSS's key log format, without its newline."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What both ends have. RFC 9329 App. A."""

    alpn: tuple[str, ...] = ()
    """Protocol names, best first; none: the extension is not used."""
    is_12_allowed: bool = True
    is_13_allowed: bool = True
    is_null_allowed: bool = False
    """Offer, or take, suites that do not encrypt; TLS 1.2 only [9329-A-null]."""
    log_key: KeyLogLine | None = None
    """Told all secrets of every handshake: for teaching."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a server shows. RFC 9329 App. B.1."""

    certificates: tuple[x509.Certificate, ...]
    """Its own, then those up to the CA's."""
    private_key: SigningKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """Which server a client believes. RFC 9329 App. A.

    With ``pins`` the key decides, whoever has issued the certificate; else chain, time
    and name do.
    """

    name: str
    """Host name or IP address that the certificate has to be for."""
    authorities: tuple[x509.Certificate, ...] = ()
    """CAs; none: those of the system."""
    pins: tuple[bytes, ...] = ()
    """SHA-256 of SubjectPublicKeyInfo, 32 octets each."""
    is_checked: bool = True
    """False: any server will do."""
