"""The two ends of TLS: what a server shows, and what a client believes.

TLS is there to get through middleboxes; that the peer is the right one is shown by
IKE_AUTH inside. Nevertheless a client checks the server's certificate unless told not
to, or anybody on the way could see who speaks with whom. A server asks for none
[9329-B-nocert].

Versions are TLS 1.2 and 1.3, cipher suites of TLS 1.2 those with forward secrecy and
AEAD, as RFC 9325 recommends [9329-A-versions].

Source: RFC 9329 App. A, RFC 9329 App. B.1
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto

from iketcp.errors import ConfigurationError
from iketcp.net.openssl import CIPHERS_12, alternative_names, said
from iketcp.net.tcp_connection import TcpConnection
from iketcp.net.tls_connection import TlsConnection
from iketcp.net.tls_options import TlsIdentity, TlsOptions, TlsTrust

NULL_CIPHERS = b"eNULL:@SECLEVEL=0"
"""Integrity only, TLS 1.2 only [9329-A-null]."""


class TlsServer:
    """Takes TLS connections; one for each listening port.

    It keeps what sessions are resumed with, so it has to live as long as they should
    [9329-A-resume].

    Raises
    ------
    ConfigurationError
        OpenSSL refuses key or certificate, or there is no suite to speak.

    Source: RFC 9329 App. A
    """

    def __init__(self, identity: TlsIdentity, options: TlsOptions) -> None:
        context = _context(options)
        context.set_session_id(b"iketcp")
        try:
            context.use_certificate(identity.certificates[0])
            context.use_privatekey(identity.private_key)
            context.check_privatekey()
            for certificate in identity.certificates[1:]:
                context.add_extra_chain_cert(certificate)
        except SSL.Error as error:
            raise ConfigurationError(
                f"OpenSSL refuses the certificate or key for TLS: {said(error)}"
            ) from error
        if options.alpn:
            ours = tuple(name.encode() for name in options.alpn)
            context.set_alpn_select_callback(lambda _, theirs: _choose(ours, theirs))
        self._context = context

    def wrap(self, carrier: TcpConnection) -> TlsConnection:
        """Expect TLS on a connection that was accepted."""
        tls = SSL.Connection(self._context, None)
        tls.set_accept_state()
        return TlsConnection(carrier, tls)


class TlsClient:
    """Makes TLS connections to one server, and resumes sessions with it.

    Parameters
    ----------
    sni : str or None
        Name that is sent in the clear; None: none.

    Source: RFC 9329 App. A, RFC 9329 App. B.3
    """

    def __init__(self, trust: TlsTrust, options: TlsOptions, sni: str | None) -> None:
        self._trust = trust
        self._sni = sni
        self._lock = threading.Lock()
        self._session: SSL.Session | None = None
        self._context = context = _context(options)
        if options.alpn:
            context.set_alpn_protos([name.encode() for name in options.alpn])
        if trust.authorities:
            store = context.get_cert_store()
            assert store is not None  # invariant: a new context has one
            for authority in trust.authorities:
                store.add_cert(crypto.X509.from_cryptography(authority))
        else:
            context.set_default_verify_paths()

    def wrap(self, carrier: TcpConnection) -> TlsConnection:
        """Speak TLS on a connection that we made; its handshake comes next."""
        tls = SSL.Connection(self._context, None)
        connection = TlsConnection(carrier, tls)
        if self._sni is not None:
            tls.set_tlsext_host_name(self._sni.encode("idna"))
        with self._lock:
            if self._session is not None:
                tls.set_session(self._session)
        tls.set_connect_state()
        if self._trust.is_checked:
            judge = _Judge(self._trust, connection)
            tls.set_verify(SSL.VERIFY_PEER, judge.verify)
        return connection

    def remember(self, connection: TlsConnection) -> None:
        """Resume the session of a connection that has ended with the next one.

        Source: RFC 9329 App. B.3
        """
        session = connection.session()
        with self._lock:
            self._session = session or self._session


def _context(options: TlsOptions) -> SSL.Context:
    """Make what both ends start from.

    Raises
    ------
    ConfigurationError
        No version is left, or OpenSSL has no suite that does not encrypt.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    is_null = options.is_null_allowed
    is_13 = options.is_13_allowed and not is_null
    if not (options.is_12_allowed or is_13):
        raise ConfigurationError("there is no version of TLS left to speak")
    context.set_min_proto_version(
        SSL.TLS1_2_VERSION if options.is_12_allowed else SSL.TLS1_3_VERSION
    )
    context.set_max_proto_version(SSL.TLS1_3_VERSION if is_13 else SSL.TLS1_2_VERSION)
    try:
        ciphers = NULL_CIPHERS + b":" + CIPHERS_12 if is_null else CIPHERS_12
        context.set_cipher_list(ciphers)
    except SSL.Error as error:
        raise ConfigurationError("this OpenSSL has no NULL cipher for TLS") from error
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection needs none
    if options.log_key is not None:
        log = options.log_key
        context.set_keylog_callback(lambda _, line: log(line))
    return context


def _choose(ours: Sequence[bytes], theirs: Sequence[bytes]) -> bytes:
    """Choose a protocol; what a client offers in vain ends the handshake.

    Raises
    ------
    SSL.Error
        OpenSSL makes an alert of it.
    """
    for name in ours:
        if name in theirs:
            return name
    raise SSL.Error([("", "", "no application protocol in common")])


# --- certificates ---------------------------------------------------------------------


class _Judge:
    """Judges the certificates of one handshake, one call for each."""

    def __init__(self, trust: TlsTrust, connection: TlsConnection) -> None:
        self._trust = trust
        self._connection = connection

    def verify(
        self,
        tls: SSL.Connection,
        certificate: crypto.X509,
        error: int,
        depth: int,
        is_good: int,
    ) -> bool:
        """Say whether the handshake goes on; OpenSSL has looked before us."""
        try:
            problem = self._problem(certificate, error, depth, bool(is_good))
        except Exception:  # whatever a stranger has made of it
            problem = "the server's certificate cannot be read"
        if problem:
            self._connection.refusal = problem
        return not problem

    def _problem(
        self, certificate: crypto.X509, error: int, depth: int, is_good: bool
    ) -> str:
        if self._trust.pins:
            # whoever has issued it, and whenever; the last call is for the server's own
            return "" if depth else self._wrong_pin(certificate)
        if not is_good:
            return f"the server's certificate is refused: {_WORDS.get(error, error)}"
        if depth == 0 and not is_for(certificate.to_cryptography(), self._trust.name):
            return f"the server's certificate is not for {self._trust.name}"
        return ""

    def _wrong_pin(self, certificate: crypto.X509) -> str:
        found = pin_of(certificate.to_cryptography())
        if any(compare_digest(found, pin) for pin in self._trust.pins):
            return ""
        return f"the server's key is not the pinned one, but sha256:{found.hex()}"


_WORDS = {
    2: "its issuer's certificate is missing",
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, by nobody who is trusted",
    19: "its chain ends at a CA that is not trusted",
    20: "its issuer is not trusted",
    21: "its signature cannot be checked",
    24: "a CA in its chain is none",
    26: "it is not for servers",
    66: "its key is too small",
    67: "the key of a CA in its chain is too small",
    68: "it is signed with a weak digest",
}
"""OpenSSL's errors for X.509, in words that say what to do about them."""


def pin_of(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo, 32 octets."""
    spki = certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(spki).digest()


def is_for(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether a certificate is for a host name or an IP address.

    Only the subject alternative names count. A ``*`` stands for one whole label, the
    first of at least three.
    """
    try:
        address = ip_address(name)
    except ValueError:
        wanted = name.rstrip(".").lower()
        found = alternative_names(certificate, x509.DNSName)
        return any(_matches(pattern.lower(), wanted) for pattern in found)
    return address in alternative_names(certificate, x509.IPAddress)


def _matches(pattern: str, name: str) -> bool:
    if pattern == name:
        return True
    first, _, rest = pattern.partition(".")
    return first == "*" and "." in rest and rest == name.partition(".")[2]
