"""Certificates for tests: authorities, what they issue, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ObjectIdentifier

from config_samples import write
from iketcp.crypto.signatures import SigningKey

TODAY = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
IPSEC_IKE = ObjectIdentifier("1.3.6.1.5.5.7.3.17")


def name_of(text: str) -> x509.Name:
    """A distinguished name from ``O=Example,CN=x``, in this order."""
    return x509.Name(reversed(list(x509.Name.from_rfc4514_string(text))))


def alternative(name: str) -> x509.GeneralName:
    """An alternative name of the kind that its form shows."""
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def usage(*wanted: str) -> x509.KeyUsage:
    """Key usage with these bits."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in wanted for name in names})


def hash_for(key: SigningKey) -> hashes.SHA256 | None:
    """What the key signs with."""
    is_hashed = isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey)
    return hashes.SHA256() if is_hashed else None


@dataclass
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: SigningKey

    @property
    def der(self) -> bytes:
        """The certificate's octets."""
        return self.certificate.public_bytes(Encoding.DER)


def key_from(seed: int) -> Ed25519PrivateKey:
    """The same Ed25519 key every time."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def issue(
    subject: str,
    key: SigningKey,
    issuer: Issued | None = None,
    names: Sequence[str] = (),
    begin: datetime = TODAY - 30 * DAY,
    end: datetime = TODAY + 30 * DAY,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    serial: int = 1,
    signer: SigningKey | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> Issued:
    """Issue a certificate; without issuer it signs itself."""
    signer = signer or (issuer.key if issuer else key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(issuer.certificate.subject if issuer else name_of(subject))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if names:
        value = x509.SubjectAlternativeName([alternative(name) for name in names])
        builder = builder.add_extension(value, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Issued(builder.sign(signer, algorithm or hash_for(signer)), key)


def authority(
    subject: str = "O=Example,CN=Example CA",
    key: SigningKey | None = None,
    issuer: Issued | None = None,
    path_length: int | None = None,
    **changes: object,
) -> Issued:
    """Make a certificate authority."""
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (usage("key_cert_sign", "crl_sign"), True),
    ]
    return issue(
        subject, key or key_from(1), issuer, **{"extensions": extensions, **changes}
    )


def crl_of(
    issuer: Issued,
    serials: Sequence[int] = (),
    begin: datetime = TODAY - DAY,
    end: datetime = TODAY + DAY,
    signer: SigningKey | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.CertificateRevocationList:
    """Revoke certificates by their serial numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begin)
        .next_update(end)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder(serial, begin)
        builder = builder.add_revoked_certificate(revoked.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signer = signer or issuer.key
    return builder.sign(signer, hash_for(signer))


def write_issued(folder: Path, name: str, issued: Issued) -> None:
    """Write a certificate and its key as PEM files."""
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = issued.key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    write(folder / f"{name}.pem", issued.certificate.public_bytes(Encoding.PEM))
    write(folder / f"{name}.key", key)
    write(folder / f"{name}.pub", public)


def write_certificates(folder: Path, **changes: object) -> Issued:
    """Write what the examples name, and return the authority."""
    root = authority()
    write_issued(folder, "ca", root)
    for number, (name, host) in enumerate(
        (("gateway", "gw.example"), ("laptop", "laptop.example"))
    ):
        subject = f"O=Example,CN={host}"
        how = {"names": [host], "serial": 10 + number, **changes}
        write_issued(folder, name, issue(subject, key_from(50 + number), root, **how))
    return root
