"""Certificates that are valid now, and pairs of connections with TLS inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certificate_factory import Issued, authority, issue, key_from
from connection_support import PATIENCE_SECONDS, Reader, carriers
from iketcp.config import TlsConfig, TlsUse
from iketcp.crypto.signatures import SigningKey
from iketcp.net.tcp import ConnectionBroken, TcpConnection
from iketcp.net.tls import TlsClient, TlsServer
from iketcp.net.tls_connection import TlsConnection
from iketcp.net.tls_options import TlsIdentity, TlsOptions, TlsTrust

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
VALID = {"begin": NOW - HOUR, "end": NOW + HOUR}
CA = authority(**VALID)
OTHER_CA = authority("O=Other,CN=Other CA", key_from(9), **VALID)
SERVER_USE = [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]
NAMES = ("gw.example", "127.0.0.1", "::1")


def server_certificate(
    names: tuple[str, ...] = NAMES,
    issuer: Issued | None = CA,
    key: SigningKey | None = None,
    **changes: Any,
) -> Issued:
    """A server's certificate, valid now."""
    options = {**VALID, "extensions": SERVER_USE, **changes}
    key = key or key_from(2)
    return issue("O=Example,CN=gw", key, issuer, names, serial=7, **options)


SERVER = server_certificate()


def rsa_certificate() -> Issued:
    """A server's certificate with an RSA key, which NULL ciphers want."""
    return server_certificate(key=rsa.generate_private_key(65537, 2048))


def server(issued: Issued = SERVER, **options: Any) -> TlsServer:
    """A server that shows one certificate."""
    identity = TlsIdentity((issued.certificate,), issued.key)
    return TlsServer(identity, TlsOptions(**options))


def client(
    name: str = "gw.example",
    authorities: tuple[x509.Certificate, ...] = (CA.certificate,),
    pins: tuple[bytes, ...] = (),
    is_checked: bool = True,
    **options: Any,
) -> TlsClient:
    """A client that believes one CA."""
    trust = TlsTrust(name, authorities, pins, is_checked)
    return TlsClient(trust, TlsOptions(**options), "gw.example")


def responder_tls(issued: Issued = SERVER, port: int = 0, **options: Any) -> TlsConfig:
    """What a configuration says of a responder's TLS."""
    return TlsConfig(
        port=port,
        use="always",
        options=TlsOptions(**options),
        identity=TlsIdentity((issued.certificate,), issued.key),
        trust=None,
        sni=None,
    )


def initiator_tls(
    port: int,
    use: TlsUse = "always",
    trust: TlsTrust | None = None,
    **options: Any,
) -> TlsConfig:
    """What a configuration says of an initiator's TLS; our CA is believed."""
    trust = trust or TlsTrust("gw.example", (CA.certificate,))
    return TlsConfig(port, use, TlsOptions(**options), None, trust, "gw.example")


@contextmanager
def tls_pair(
    ours: TlsClient, theirs: TlsServer, host: str = "127.0.0.1", **limits: int
) -> Iterator[tuple[TlsConnection, TlsConnection, Reader]]:
    """Client and server after the handshake, and the server's owner thread."""
    with carriers(host, **limits) as (far, near):
        accepted = theirs.wrap(near)
        reader = Reader(accepted)
        made = ours.wrap(far)
        try:
            assert made.handshake(PATIENCE_SECONDS)
            assert made.send(b"hello", droppable=False)  # the server is ready, too
            assert reader.wait_for(5) == b"hello"
            reader.received = b""
            yield made, accepted, reader
        finally:
            made.abort()
            accepted.abort()
            reader.join()


class Wraps(Protocol):
    """A server of TLS, ours or another."""

    def wrap(self, carrier: TcpConnection) -> TlsConnection:
        """Expect TLS on a connection."""
        ...


def refusals(ours: TlsClient, theirs: Wraps) -> tuple[str, str]:
    """What client and server say of a handshake that fails."""
    with carriers() as (far, near):
        accepted = theirs.wrap(near)
        reader = Reader(accepted)
        made = ours.wrap(far)
        said = ""
        try:
            made.handshake(PATIENCE_SECONDS)
        except ConnectionBroken as error:
            said = str(error)
        made.close()
        return said, str(reader.join())
