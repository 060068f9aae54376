"""The TLS of EAP-TLS: an OpenSSL connection between two memory BIOs.

No socket is involved, but OpenSSL draws its own randomness, so this module stands apart
from the pure floors; nothing of it can be scripted.

TLS 1.2 and 1.3, and no session is ever resumed. Certificates are checked by OpenSSL,
at a time that is given: chain, validity, purpose, and revocation where there are CRLs.
The name of the server is compared here, while the handshake can still be ended with an
alert.

Source: RFC 5216 §5.3
Source: RFC 9190 §2.2
Source: RFC 9190 §2.3
Source: RFC 9190 §2.4
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from iketcp.eap.method import MSK_SIZE
from iketcp.eap.packets import EapType
from iketcp.net.openssl import CIPHERS_12, alternative_names, said

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

COMMITMENT = b"\0"
"""Protected success indication of TLS 1.3. Source: RFC 9190 §2.5."""

_KEY_MATERIAL_SIZE = 128
_LABEL_13 = b"EXPORTER_EAP_TLS_Key_Material"
_LABEL_12 = b"client EAP encryption"
_READ_SIZE = 65536


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """What one end shows, and whom it believes. Source: RFC 5216 §5.3."""

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)
    intermediates: tuple[x509.Certificate, ...]
    """Between our certificate and the CA's, in order."""
    authorities: tuple[x509.Certificate, ...]
    """CAs that the other end's certificate may come from; at least one."""
    revocation_lists: tuple[x509.CertificateRevocationList, ...] = ()
    """With any of these, every certificate of a chain must be in the scope of one, and
    on none. Source: RFC 5216 §5.4."""


class OpenSslEngine:
    """One end of a TLS connection, a :class:`~iketcp.eap.tls.TlsEngine`.

    Parameters
    ----------
    credentials : TlsCredentials
        Ours.
    is_client : bool
        We send the ClientHello.
    at : datetime
        The time at which certificates have to be valid, with its zone.
    server_names : Sequence[bytes]
        A client's: one of them has to be a dNSName of the server's certificate, letter
        by letter; capitals do not matter, and there are no wildcards. None: any server
        of the CAs will do.
    is_tls_13_allowed : bool
        Speak TLS 1.3 with whom can do so; else TLS 1.2 only.

    Source: RFC 5216 §2.1.1, RFC 9190 §2.2
    """

    def __init__(
        self,
        credentials: TlsCredentials,
        is_client: bool,
        at: datetime,
        server_names: Sequence[bytes] = (),
        is_tls_13_allowed: bool = True,
    ) -> None:
        self._server_names = {name.lower() for name in server_names}
        self._is_client = is_client
        self._problem = ""
        self._msk = b""
        self._names: tuple[bytes, ...] = ()
        self._is_shaken = False
        self._is_finished = False
        context = self._context(credentials, at)
        if not is_tls_13_allowed:
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self._connection: SSL.Connection | None = SSL.Connection(context, None)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def receive(self, flight: bytes) -> bytes:
        """Take the other end's records and return ours, perhaps none."""
        connection = self._connection
        if connection is None or self._problem:
            return b""
        try:
            for at in range(0, len(flight), _READ_SIZE // 4):
                connection.bio_write(flight[at : at + _READ_SIZE // 4])
            self._go_on(connection)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._fail(f"TLS: {said(error) or type(error).__name__}")
        return self._drain(connection)

    @property
    def is_finished(self) -> bool:
        """The handshake succeeded, and in TLS 1.3 the commitment went over."""
        return self._is_finished

    @property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        return self._problem

    @property
    def names(self) -> tuple[bytes, ...]:
        """What the other end's certificate says it is called, best first."""
        return self._names

    @property
    def msk(self) -> bytes:
        """Master Session Key, 64 octets; empty before the end of the handshake."""
        return self._msk

    def forget(self) -> None:
        """Drop the connection and its keys."""
        self._connection = None
        self._msk = b""

    # --- the handshake ------------------------------------------------------------

    def _go_on(self, connection: SSL.Connection) -> None:
        """Do what can be done with the records there are. Raises as OpenSSL does."""
        if not self._is_shaken:
            connection.do_handshake()
            self._is_shaken = True
            self._take_names(connection)
        is_13 = connection.get_protocol_version() >= SSL.TLS1_3_VERSION
        if is_13 and self._is_client:
            if connection.recv(_READ_SIZE) != COMMITMENT:
                self._fail("application data that is no commitment")
                return
        elif is_13:
            connection.send(COMMITMENT)
        self._msk = _exported(connection, is_13)
        self._is_finished = True

    def _take_names(self, connection: SSL.Connection) -> None:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is not None:  # pragma: no branch - both ends have to show one
            self._names = tuple(names_of(certificate))

    def _fail(self, reason: str) -> None:
        self._problem = self._problem or reason
        self._is_finished = False
        self._msk = b""

    def _drain(self, connection: SSL.Connection) -> bytes:
        """Collect our records."""
        flight = b""
        while True:
            try:
                flight += connection.bio_read(_READ_SIZE)
            except SSL.Error:  # there are no more
                return flight

    # --- certificates ---------------------------------------------------------------

    def _context(self, credentials: TlsCredentials, at: datetime) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS_12)
        # in TLS 1.3 OpenSSL sends tickets all the same; they are of no use to anybody,
        # as this context, which alone could read them, is used once
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        # servers without RFC 5746, such as strongSwan's in TLS 1.2: it prevents that
        # somebody puts octets in front of ours, and here nothing follows a handshake
        context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate(credentials.certificate)
        context.use_privatekey(credentials.private_key)
        for certificate in credentials.intermediates:
            context.add_extra_chain_cert(certificate)
        store = context.get_cert_store()
        if store is None:
            raise LookupError("a context without a store")  # pragma: no cover
        for authority in credentials.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        for crl in credentials.revocation_lists:
            store.add_crl(crl)
        if credentials.revocation_lists:
            store.set_flags(
                crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
            )
        store.set_time(at)
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, self._check)
        return context

    def _check(
        self,
        connection: SSL.Connection,
        certificate: crypto.X509,
        error: int,
        depth: int,
        is_good: int,
    ) -> bool:
        """Judge one certificate of the chain after OpenSSL did; ``False`` ends it.

        Source: RFC 9190 §2.2
        """
        if not is_good:
            self._fail(f"the other end's certificate: OpenSSL says error {error}")
            return False
        if depth or not self._server_names:
            return True
        found = alternative_names(certificate.to_cryptography(), x509.DNSName)
        names = {name.lower().encode() for name in found}
        if names & self._server_names:
            return True
        self._fail("the server's certificate is for another name")
        return False


def _exported(connection: SSL.Connection, is_13: bool) -> bytes:
    """Export the MSK, 64 octets. Source: RFC 5216 §2.3, RFC 9190 §2.3."""
    if is_13:
        material = connection.export_keying_material(
            _LABEL_13, _KEY_MATERIAL_SIZE, bytes([EapType.TLS])
        )
    else:
        material = connection.export_keying_material(_LABEL_12, _KEY_MATERIAL_SIZE)
    return material[:MSK_SIZE]


# --- names ----------------------------------------------------------------------------


def names_of(certificate: x509.Certificate) -> Iterable[bytes]:
    """List what a certificate says its holder is called.

    Mail addresses and names of hosts, then the common name of the subject where it has
    no other name at all.

    Source: RFC 5216 §5.2
    """
    kinds = (x509.RFC822Name, x509.DNSName)
    names = [name for kind in kinds for name in alternative_names(certificate, kind)]
    if names:
        return [name.encode() for name in names]
    return [
        str(attribute.value).encode()
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
