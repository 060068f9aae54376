"""X.509: whether a certificate that a peer sent is good, and for whom.

A chain is looked for from the peer's certificate to one of our trust anchors, through
the other certificates it sent. Each link is checked when it is made: signature, names,
validity, what an authority may do. ``cryptography`` reads certificates and verifies
their signatures. Its own search for chains cannot be used: it knows the algorithms of
the web only, and so no Ed25519 or Ed448.

Not supported, and therefore refused where a certificate makes it critical: name
constraints, policies. Nothing is fetched: CRLs come from files.

Source: RFC 7296 §2.15, RFC 7296 §3.6
Source: RFC 4945 §3.1, §5.1
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from iketcp.crypto.signatures import VerifyingKey, check_key
from iketcp.errors import AuthenticationFailedError
from iketcp.ike import distinguished_name
from iketcp.ike.credentials import Trust
from iketcp.ike.identity import Identity
from iketcp.registry import IdType

MAX_SENT = 8
"""Choice: certificates of a peer that are looked at; RFC 7296 §3.6 wants four."""

MAX_CHAIN = 6
"""Choice: certificates in a chain, both ends included."""

MAX_REMEMBERED = 256
"""Choice: so many certificates of our trust anchors need no second look at the
signature."""

_IPSEC_IKE = ObjectIdentifier("1.3.6.1.5.5.7.3.17")
"""id-kp-ipsecIKE. Source: RFC 4945 §5.1.3.12."""

_KNOWN_EXTENSIONS: tuple[type[x509.ExtensionType], ...] = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
)
"""Extensions that may be critical."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises for certificates that make no sense."""

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)

Chain = tuple[x509.Certificate, ...]
"""From the peer's certificate to the trust anchor."""


def authority_hashes(authorities: Sequence[x509.Certificate]) -> bytes:
    """Return the Certification Authority field of CERTREQ: 20 octets for each.

    Source: RFC 7296 §3.7
    """
    return b"".join(
        hashlib.sha1(
            authority.public_key().public_bytes(
                Encoding.DER, PublicFormat.SubjectPublicKeyInfo
            ),
            usedforsecurity=False,
        ).digest()
        for authority in authorities
    )


def verify_certificate(
    sent: Sequence[bytes], trust: Trust, peer: Identity, at: datetime
) -> VerifyingKey:
    """Verify the certificate of a peer.

    Parameters
    ----------
    sent : Sequence[bytes]
        Certificates in DER; the first is the peer's own.
    trust : Trust
        Trust anchors and CRLs.
    peer : Identity
        Who the peer says it is.
    at : datetime
        The time of day, with its zone.

    Returns
    -------
    VerifyingKey
        The key that AUTH has to be verified with.

    Raises
    ------
    AuthenticationFailedError
        A certificate cannot be read, no chain leads to an anchor, the time, the name or
        the usage is wrong, or a certificate is revoked.

    Source: RFC 7296 §2.15, RFC 4945 §5.1
    """
    try:
        certificates = [x509.load_der_x509_certificate(o) for o in sent[:MAX_SENT]]
        own = certificates[0]
        _check_time(own, at)
        _check_extensions(own)
        _check_usage(own)
        chain = _find_chain(own, certificates[1:], trust.authorities, at)
        for certificate, issuer in pairwise(chain):
            _check_revocation(certificate, issuer, trust, at)
        if not names(own, peer):
            raise AuthenticationFailedError(f"the certificate is not of {peer}")
        return check_key(own.public_key())
    except _UNREADABLE as error:
        raise AuthenticationFailedError(
            f"a certificate cannot be read: {type(error).__name__}"
        ) from None


def name_of_certificate(certificate: x509.Certificate) -> str:
    """Return a certificate's subject for a log, without control characters."""
    name = certificate.subject.rfc4514_string()
    return name.encode("unicode_escape").decode() or "without a subject"


def _refusal(text: str, certificate: x509.Certificate) -> AuthenticationFailedError:
    """Say what is wrong with a certificate; its name goes in place of the braces."""
    return AuthenticationFailedError(text.format(name_of_certificate(certificate)))


# --- chains ---------------------------------------------------------------------------


def _find_chain(
    own: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
) -> Chain:
    """Look for a chain, the shortest first; each other certificate is used once.

    Raises
    ------
    AuthenticationFailedError
        There is none; the text says what was wrong with the last link, if one failed.
    """
    problem = "no certificate authority that we trust has issued the certificate"
    chains: list[Chain] = [(own,)]
    unused = list(others)
    for chain in chains:
        for candidate in (*anchors, *unused):
            if candidate.subject != chain[-1].issuer:
                continue
            is_anchor = candidate in anchors
            try:
                _check_link(chain, candidate, is_anchor, at)
            except AuthenticationFailedError as error:
                problem = str(error)
                continue
            longer = (*chain, candidate)
            if is_anchor:
                return longer
            if len(longer) < MAX_CHAIN:
                unused.remove(candidate)
                chains.append(longer)
    raise AuthenticationFailedError(problem)


def _check_link(
    chain: Chain, issuer: x509.Certificate, is_anchor: bool, at: datetime
) -> None:
    """Check that ``issuer`` may have issued, and did issue, the end of the chain.

    Raises
    ------
    AuthenticationFailedError
        It may not, or did not.

    Source: RFC 4945 §5.1.3
    """
    _check_time(issuer, at)
    _check_extensions(issuer)
    basic = _extension(issuer, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise _refusal("{} is no certificate authority", issuer)
    if basic.path_length is not None and len(chain) - 1 > basic.path_length:
        raise _refusal("the chain below {} is too long", issuer)
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise _refusal("{} may not sign certificates", issuer)
    check_key(issuer.public_key())
    _check_hash(chain[-1].signature_hash_algorithm)
    verify = _verify_anchors_signature if is_anchor else _verify_signature
    try:
        verify(chain[-1], issuer)
    except InvalidSignature:
        text = "the signature of {} in a certificate is wrong"
        raise _refusal(text, issuer) from None


def _verify_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    certificate.verify_directly_issued_by(issuer)


# A signature that was right stays right, and only that is remembered: what is wrong
# raises. Nobody but a trust anchor can put anything here.
_verify_anchors_signature = lru_cache(MAX_REMEMBERED)(_verify_signature)


def _check_hash(algorithm: hashes.HashAlgorithm | None) -> None:
    """Refuse what is as weak as SHA-1; EdDSA has no hash of its own."""
    if algorithm is not None and algorithm.digest_size < hashes.SHA256.digest_size:
        raise AuthenticationFailedError(f"{algorithm.name} is too weak to sign with")


def _check_time(certificate: x509.Certificate, at: datetime) -> None:
    if at < certificate.not_valid_before_utc:
        raise _refusal("the certificate {} is not valid yet", certificate)
    if at > certificate.not_valid_after_utc:
        raise _refusal("the certificate {} has expired", certificate)


def _check_extensions(certificate: x509.Certificate) -> None:
    """Refuse a certificate with a critical extension that is not understood here."""
    for extension in certificate.extensions:
        is_constraint = isinstance(extension.value, x509.NameConstraints)
        is_known = isinstance(extension.value, _KNOWN_EXTENSIONS)
        if is_constraint or (extension.critical and not is_known):
            raise AuthenticationFailedError(
                f"extension {extension.oid.dotted_string} is not understood"
            )


def _extension(
    certificate: x509.Certificate, kind: type[ExtensionT]
) -> ExtensionT | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_usage(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not for signing, or not for IKE.

    Source: RFC 4945 §5.1.3.2, §5.1.3.12
    """
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise AuthenticationFailedError("the certificate is not for signing")
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    wanted = {_IPSEC_IKE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and not wanted & set(extended):
        raise AuthenticationFailedError("the certificate is not for IKE")


# --- revocation -----------------------------------------------------------------------


def _check_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    trust: Trust,
    at: datetime,
) -> None:
    """Look a certificate up in the CRLs of its issuer.

    A CRL that is out of date still revokes, but does not count as a current one.

    Raises
    ------
    AuthenticationFailedError
        It is revoked; or a current CRL is required, and there is none.

    Source: RFC 4945 §3.2.3
    """
    is_current = False
    for crl in trust.crls:
        if crl.issuer != issuer.subject or not _is_good_crl(crl, issuer):
            continue
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number):
            raise _refusal("the certificate {} is revoked", certificate)
        end = crl.next_update_utc
        is_current |= crl.last_update_utc <= at and (end is None or at <= end)
    if trust.is_crl_required and not is_current:
        raise _refusal("no current CRL tells about {}", certificate)


def _is_good_crl(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Tell whether a CRL is the issuer's own, and complete."""
    usage = _extension(issuer, x509.KeyUsage)
    may_sign = usage is None or usage.crl_sign
    is_complete = not any(extension.critical for extension in crl.extensions)
    key = check_key(issuer.public_key())
    return may_sign and is_complete and crl.is_signature_valid(key)


# --- names ----------------------------------------------------------------------------


def names(certificate: x509.Certificate, identity: Identity) -> bool:
    """Tell whether a certificate was issued to this identity.

    A distinguished name has to be the subject; all others have to stand among the
    alternative names. Wildcards name nobody.

    Source: RFC 4945 §3.1.1, §3.1.2, §3.1.3, §3.1.5
    """
    if identity.id_type == IdType.ID_DER_ASN1_DN:
        subject = certificate.subject.public_bytes()
        is_empty = not list(certificate.subject)
        return not is_empty and distinguished_name.is_same(subject, identity.data)
    alternative = _extension(certificate, x509.SubjectAlternativeName)
    if alternative is None or identity.id_type not in _ALTERNATIVES:
        return False
    kind, fold = _ALTERNATIVES[identity.id_type]
    try:
        wanted = fold(identity.data)
    except ValueError:
        return False
    return any(
        str(name.value).casefold() == wanted
        for name in alternative
        if isinstance(name, kind)
    )


def _fold_text(octets: bytes) -> str:
    return octets.decode().casefold()


def _fold_address(octets: bytes) -> str:
    return str(ip_address(octets))


_ALTERNATIVES: dict[int, tuple[type[x509.GeneralName], Callable[[bytes], str]]] = {
    IdType.ID_FQDN: (x509.DNSName, _fold_text),
    IdType.ID_RFC822_ADDR: (x509.RFC822Name, _fold_text),
    IdType.ID_IPV4_ADDR: (x509.IPAddress, _fold_address),
    IdType.ID_IPV6_ADDR: (x509.IPAddress, _fold_address),
}
"""Kind of alternative name by ID Type. Source: RFC 4945 §3.1."""
