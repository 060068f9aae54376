"""What tests of EAP are made from: settings, certificates, whole conversations."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iketcp.eap.authenticator import EapAuthenticator
from iketcp.eap.method import EapAuthenticatorPolicy, EapSetting
from iketcp.eap.mschapv2 import MschapV2Authenticator, MschapV2Peer
from iketcp.eap.mschapv2_values import nt_password_hash
from iketcp.eap.openssl import OpenSslEngine, TlsCredentials
from iketcp.eap.packets import EapCode, EapPacket, EapType
from iketcp.eap.peer import EapPeer
from iketcp.eap.tls import TlsAuthenticator, TlsPeer
from iketcp.environment import ScriptedEntropy

NOW = datetime(2026, 1, 15, tzinfo=UTC)
USERS = {
    b"alice@example": nt_password_hash("correct horse"),
    b"bob": nt_password_hash("clientPass"),
}


def setting(identity=b"alice@example", is_eap_only=False, seed="eap"):
    return EapSetting(identity, is_eap_only, ScriptedEntropy(seed))


# --- EAP-MSCHAPv2 -----------------------------------------------------------------


def password_peer(password="correct horse", name=b"alice@example"):
    secret = nt_password_hash(password)
    return {EapType.MSCHAPV2: lambda s: MschapV2Peer(name, secret, s.entropy)}


def password_authenticator(users=None):
    known = USERS if users is None else users
    return {EapType.MSCHAPV2: lambda s: MschapV2Authenticator(known, b"gw.example", s)}


# --- EAP-TLS ------------------------------------------------------------------------


def issue(
    name,
    issuer=None,
    names=(),
    *,
    is_ca=False,
    start=NOW - timedelta(days=1),
    days=30,
    usage=None,
    subject=None,
):
    """Make a certificate and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    if subject is None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing_key = (None, key) if issuer is None else issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName(list(names))
        builder = builder.add_extension(alternative, critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signing_key, hashes.SHA256()), key


def revocation_list(authority, revoked=(), now=NOW):
    certificate, key = authority
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=7))
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
        builder = builder.add_revoked_certificate(
            entry.revocation_date(now - timedelta(hours=2)).build()
        )
    return builder.sign(key, hashes.SHA256())


AUTHORITY = issue("Test CA", is_ca=True)
OTHER_AUTHORITY = issue("Other CA", is_ca=True)
SERVER = issue(
    "gateway",
    AUTHORITY,
    [x509.DNSName("gw.example"), x509.DNSName("vpn.example")],
    usage=ExtendedKeyUsageOID.SERVER_AUTH,
)
CLIENT = issue(
    "client",
    AUTHORITY,
    [x509.RFC822Name("alice@example"), x509.DNSName("alice.example")],
    usage=ExtendedKeyUsageOID.CLIENT_AUTH,
)


def credentials(own, authority=AUTHORITY, intermediates=(), crls=()):
    certificate, key = own
    return TlsCredentials(
        certificate, key, tuple(intermediates), (authority[0],), tuple(crls)
    )


def tls_peer(own=CLIENT, names=(b"gw.example",), is_13=True, **others):
    given = credentials(own, **others)
    return {
        EapType.TLS: lambda s: TlsPeer(
            OpenSslEngine(given, True, NOW, names, is_tls_13_allowed=is_13)
        )
    }


def tls_authenticator(own=SERVER, is_13=True, **others):
    given = credentials(own, **others)
    return {
        EapType.TLS: lambda s: TlsAuthenticator(
            OpenSslEngine(given, False, NOW, is_tls_13_allowed=is_13), s.identity
        )
    }


# --- conversations ----------------------------------------------------------------


class Conversation:
    """A peer and an authenticator that hear only each other."""

    def __init__(self, peer_methods, authenticator_methods, **how):
        asked = how.pop("is_identity_asked", False)
        allowed = how.pop("identities", frozenset())
        named = how.pop("peer_identity", b"alice@example")
        other = setting(how.pop("claimed", b"alice@example"), **how)
        own = setting(named, **how)
        self.peer = EapPeer(own, peer_methods)
        policy = EapAuthenticatorPolicy(
            authenticator_methods, asked, identities=allowed
        )
        self.authenticator = EapAuthenticator(other, policy)
        self.messages = [self.authenticator.begin()]

    def step(self):
        """Let the peer answer the last message and the authenticator go on."""
        response = self.peer.receive(self.messages[-1])
        if response is not None:
            self.messages += [response, self.authenticator.receive(response)]
        return response is not None

    def run(self):
        """Go on to the end; the peer's error is the caller's."""
        while self.step():
            pass
        return self


def failure(identifier):
    return EapPacket(EapCode.FAILURE, identifier).encode()
