"""Certificates that are made on the spot: a CA, and one for each site.

Source: RFC 7296 §3.6, RFC 4945 §5
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from iketcp.config.secret_files import make_secret_file

LIFETIME = timedelta(days=1)
CLOCKS_DIFFER = timedelta(hours=1)
"""A certificate is valid a little before it is made."""

_SIGNS = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
_ISSUES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


def write_certificates(folder: Path, names: dict[str, str]) -> None:
    """Write ``ca.pem``, and of each site ``SITE.pem`` and ``SITE.key``.

    Parameters
    ----------
    names : dict[str, str]
        The dNSName of each site. RFC 4945 §5.1.3.6.1.
    """
    authority, signer = _name("iketcp demo CA"), ec.generate_private_key(ec.SECP256R1())
    builder = _builder(authority, authority, signer.public_key())
    root = (
        builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(_ISSUES, critical=True)
        .sign(signer, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    for site, name in names.items():
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = (
            _builder(_name(name), authority, key.public_key())
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(alternatives, critical=False)
            .sign(signer, hashes.SHA256())
        )
        (folder / f"{site}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        make_secret_file(folder / f"{site}.key", pem)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + LIFETIME)
    )
