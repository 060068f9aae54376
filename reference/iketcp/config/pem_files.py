"""Certificates, keys and CRLs in PEM files that keys of a configuration name.

Source: RFC 7296 §3.6
"""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from iketcp.config.reader import Section
from iketcp.config.secret_files import read_file, warn_if_open
from iketcp.crypto.signatures import SigningKey, VerifyingKey, check_key
from iketcp.errors import AuthenticationFailedError


def read_certificates(
    section: Section, key: str, folder: Path
) -> tuple[x509.Certificate, ...]:
    """Read one certificate or several from one file.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or there is no certificate in it.
    """
    where = str(section[key])
    octets = read_file(section, key, folder / where, where)
    try:
        return tuple(x509.load_pem_x509_certificates(octets))
    except ValueError as error:
        sentence = f"names {where}, which has no certificate in PEM: {error}"
        raise section.error(key, sentence) from None


def read_private_key(section: Section, folder: Path, warnings: list[str]) -> SigningKey:
    """Read what ``private_key`` names.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or there is no key in it that is supported.
    """
    where = str(section["private_key"])
    octets = read_file(section, "private_key", folder / where, where)
    warn_if_open(folder / where, where, warnings)
    try:
        key = load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        sentence = f"names {where}, which has no key in PEM without passphrase: {error}"
        raise section.error("private_key", sentence) from None
    if not isinstance(key, SigningKey):
        sentence = f"names {where}, which has no RSA, ECDSA, Ed25519 or Ed448 key"
        raise section.error("private_key", sentence)
    return key


def read_public_key(section: Section, folder: Path) -> VerifyingKey:
    """Read what ``public_key`` names.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or there is no key in it that is supported.
    """
    where = str(section["public_key"])
    octets = read_file(section, "public_key", folder / where, where)
    try:
        return check_key(load_pem_public_key(octets))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        sentence = f"names {where}, which has no public key in PEM: {error}"
        raise section.error("public_key", sentence) from None
    except AuthenticationFailedError as error:
        raise section.error("public_key", f"names {where}: {error}") from None


def read_crls(
    section: Section, folder: Path
) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the CRLs that ``crls`` names, each of them a file of its own.

    Raises
    ------
    ConfigurationError
        A file cannot be read, or there is no CRL in it.
    """
    found = []
    for path in section["crls"]:
        octets = read_file(section, "crls", folder / path, str(path))
        try:
            found.append(x509.load_pem_x509_crl(octets))
        except ValueError as error:
            sentence = f"names {path}, which has no CRL in PEM: {error}"
            raise section.error("crls", sentence, str(path)) from None
    return tuple(found)
