"""Certificates that are made on the spot: a CA, and what it issues.

The CA's key signs and is forgotten: nobody can issue more in its name, and there is one
secret less to keep. Who needs another certificate makes another CA.

Source: RFC 7296 §3.6, RFC 4945 §5
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iketcp.config.secret_files import make_secret_file
from iketcp.config.values import BadValueError, host
from iketcp.errors import ConfigurationError, EnvironmentProblem

DAY = timedelta(days=1)
CLOCKS_DIFFER = timedelta(hours=1)
"""A certificate is valid a little before it is made."""

TLS_LIFETIME = timedelta(days=365)
"""Choice: for how long a server for demonstrations is believed."""

_SIGNS = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
_ISSUES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
_SERVES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class Authority:
    """A CA that lasts as long as this object does.

    Parameters
    ----------
    name : str
        Its common name.
    lifetime : timedelta
        Of its own certificate and of all that it issues.

    Source: RFC 4945 §5
    """

    def __init__(self, name: str, lifetime: timedelta = DAY) -> None:
        self._name = _name(name)
        self._lifetime = lifetime
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._name, self._key.public_key())
        self.certificate = self._sign(
            builder.add_extension(
                x509.BasicConstraints(True, 0), critical=True
            ).add_extension(_ISSUES, critical=True)
        )

    def issue(
        self, names: Sequence[str], is_for_server: bool = False
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Issue a certificate for host names and IP addresses, with a key of its own.

        Parameters
        ----------
        names : Sequence[str]
            The first one is the subject, too.
        is_for_server : bool
            It may be shown by a server in TLS.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName(map(_general_name, names))
        builder = (
            self._builder(_name(names[0]), key.public_key())
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(alternatives, critical=False)
        )
        if is_for_server:
            builder = builder.add_extension(_SERVES, critical=False)
        return self._sign(builder), key

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCKS_DIFFER)
            .not_valid_after(now + self._lifetime)
        )

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._key, hashes.SHA256())


def write_certificates(folder: Path, names: dict[str, str]) -> None:
    """Write ``ca.pem``, and of each site ``SITE.pem`` and ``SITE.key``.

    Parameters
    ----------
    names : dict[str, str]
        The dNSName of each site. RFC 4945 §5.1.3.6.1.
    """
    authority = Authority("iketcp demo CA")
    _write(folder / "ca.pem", authority.certificate)
    for site, name in names.items():
        certificate, key = authority.issue([name])
        make_secret_file(folder / f"{site}.key", _pem(key))
        _write(folder / f"{site}.pem", certificate)


def write_tls_files(folder: Path, names: Sequence[str]) -> x509.Certificate:
    """Write ``ca.pem``, ``server.pem`` and ``server.key`` for a server of TLS.

    Files that are there already stay as they are, or a key that somebody uses would
    be gone.

    Parameters
    ----------
    names : Sequence[str]
        Host names and IP addresses by which clients look for the server.

    Returns
    -------
    x509.Certificate
        The server's.

    Raises
    ------
    ConfigurationError
        A name is none.
    EnvironmentProblem
        A file is there already, or cannot be written.

    Source: RFC 9329 App. A
    """
    for name in names:
        try:
            host().parse(name)
        except BadValueError as error:
            raise ConfigurationError(f"a name {error.sentence}") from None
    files = [folder / name for name in ("server.key", "server.pem", "ca.pem")]
    for path in files:
        if path.exists():
            raise EnvironmentProblem(f"cannot write {path}: File exists")
    authority = Authority("iketcp tls CA", TLS_LIFETIME)
    certificate, key = authority.issue(names, is_for_server=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        make_secret_file(files[0], _pem(key))
        _write(files[1], certificate)
        _write(files[2], authority.certificate)
    except OSError as error:
        where = error.filename or folder
        raise EnvironmentProblem(f"cannot write {where}: {error.strerror}") from error
    return certificate


def _write(path: Path, certificate: x509.Certificate) -> None:
    with path.open("xb") as file:
        file.write(certificate.public_bytes(Encoding.PEM))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.Name:
    """Make a subject; a common name has 64 characters at most."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.rstrip("."))
