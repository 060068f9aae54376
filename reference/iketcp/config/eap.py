"""The table ``[eap]``: who may use EAP, by which methods, with which credentials.

Source: RFC 7296 §2.16, RFC 5998 §3, RFC 4739 §2.3
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from iketcp.config.pem_files import (
    read_certificates,
    read_crls,
    read_private_key,
)
from iketcp.config.reader import Document, Section
from iketcp.config.secret_files import read_file, read_password, warn_if_open
from iketcp.eap.method import (
    EapAuthenticatorPolicy,
    EapPeerPolicy,
    EapSetting,
    MakeAuthenticatorMethod,
    MakePeerMethod,
)
from iketcp.eap.mschapv2 import MschapV2Authenticator, MschapV2Peer
from iketcp.eap.mschapv2_values import MAX_PASSWORD_CHARACTERS, nt_password_hash
from iketcp.eap.openssl import OpenSslEngine, TlsCredentials
from iketcp.eap.packets import EapType
from iketcp.eap.tls import TlsAuthenticator, TlsPeer
from iketcp.registry import IdType

Users = Mapping[bytes, bytes]
"""NT hashes of passwords, 16 octets each, by name."""

_NT_HASH = re.compile("[0-9A-Fa-f]{32}")


def eap_peer(
    document: Document, folder: Path, warnings: list[str]
) -> EapPeerPolicy | None:
    """Make what an initiator proves itself with; ``None`` where it does otherwise.

    Raises
    ------
    ConfigurationError
        Credentials are missing, cannot be read, or do not go together.

    Source: RFC 7296 §2.16
    """
    local, section = document.one("local"), document.one("eap")
    is_used = local["auth"] == "eap" or is_second(document)
    if document.role != "initiator" or not is_used:
        _warn_of_idle_table(document, "local", warnings)
        return None
    _check_alone(section)
    identity = local["identity"].data
    if section["identity"] is not None:
        identity = section["identity"].encode()
    make: dict[int, MakePeerMethod] = {}
    for kind in section["methods"]:
        if kind == EapType.MSCHAPV2:
            make[kind] = _password_peer(section, identity, folder, warnings)
        else:
            make[kind] = _tls_peer(document, section, folder, warnings)
    return EapPeerPolicy(identity, make, section["only"])


def eap_authenticator(
    document: Document, folder: Path, warnings: list[str]
) -> EapAuthenticatorPolicy | None:
    """Make what a responder asks of initiators; ``None`` where that is not EAP.

    Raises
    ------
    ConfigurationError
        Users or credentials are missing, cannot be read, or do not go together.

    Source: RFC 7296 §2.16
    """
    section = document.one("eap")
    is_used = asks_eap(document) or is_second(document)
    if document.role != "responder" or not is_used:
        _warn_of_idle_table(document, "remote", warnings)
        return None
    _check_alone(section)
    make: dict[int, MakeAuthenticatorMethod] = {}
    for kind in section["methods"]:
        if kind == EapType.MSCHAPV2:
            make[kind] = _password_authenticator(document, section, folder, warnings)
        else:
            make[kind] = _tls_authenticator(section, folder, warnings)
    return EapAuthenticatorPolicy(
        make,
        section["ask_identity"],
        section["only"],
        frozenset(name.encode() for name in section["identities"]),
    )


def asks_eap(document: Document) -> bool:
    """Tell whether a responder asks EAP of somebody. Source: RFC 7296 §2.16."""
    usual = document.one("remote")["auth"]
    peers = document.all("peer")
    return "eap" in ({peer["auth"] or usual for peer in peers} if peers else {usual})


def is_second(document: Document) -> bool:
    """Tell whether EAP comes after another proof of the initiator.

    Raises
    ------
    ConfigurationError
        It does, and there is no other proof; or EAP is to be all there is; or there are
        tables [[peer]].

    Source: RFC 4739 §2.3, RFC 7619 §2
    """
    section = document.one("eap")
    if not section["second"]:
        return False
    table = {"initiator": "local", "responder": "remote"}[document.role]
    first = document.one(table)["auth"]
    if first in ("eap", "null"):
        sentence = f'needs something before it, and [{table}] auth is "{first}"'
        raise section.error("second", sentence)
    if document.one("remote")["auth"] == "null":
        raise document.one("remote").error("auth", 'of "null" does not go with EAP')
    if section["only"]:
        raise section.error("only", "does not go with second")
    if document.all("peer"):
        raise section.error("second", "does not go with [[peer]] tables")
    return True


def is_alone(document: Document) -> bool:
    """Tell whether EAP can be all there is, for those who use it.

    Source: RFC 5998 §3
    """
    eap = document.one("eap")
    return eap["only"] is True and EapType.TLS in eap["methods"]


def _check_alone(section: Section) -> None:
    """Refuse passwords as all there is. Source: RFC 5998 §4."""
    if section["only"] and EapType.TLS not in section["methods"]:
        raise section.error("only", 'needs "tls" among the methods')


def _warn_of_idle_table(document: Document, table: str, warnings: list[str]) -> None:
    used = {"initiator": "local", "responder": "remote"}[document.role]
    if used == table and document.one("eap").is_present:
        warnings.append(f'[eap] is not used, as [{table}] auth is not "eap"')


# --- EAP-MSCHAPv2 -----------------------------------------------------------------


def _password_peer(
    section: Section, name: bytes, folder: Path, warnings: list[str]
) -> MakePeerMethod:
    found = read_password(section, folder, warnings)
    if found is None:
        sentence = 'needs password_file or password_env for "mschapv2"'
        raise section.error("methods", sentence)
    password, key, where = found
    if not 0 < len(password) <= MAX_PASSWORD_CHARACTERS:
        sentence = f"names {where}, which is empty or holds more than 256 characters"
        raise section.error(key, sentence)
    secret = nt_password_hash(password)
    return lambda setting: MschapV2Peer(name, secret, setting.entropy)


def _password_authenticator(
    document: Document, section: Section, folder: Path, warnings: list[str]
) -> MakeAuthenticatorMethod:
    if section["users_file"] is None:
        raise section.error("methods", 'needs users_file for "mschapv2"')
    users = read_users(section, folder, warnings)
    server = document.one("local")["identity"].data
    return lambda setting: MschapV2Authenticator(users, server, setting)


def read_users(section: Section, folder: Path, warnings: list[str]) -> Users:
    """Read names and passwords: ``"name" = "password"``, or its NT hash.

    ::

        "alice@example" = "correct horse battery staple"
        "bob" = { nt_hash = "44ebba8d5312b8d611474411f56989ae" }

    An NT hash is as good as the password itself: it keeps the password out of sight,
    and no more than that.

    Raises
    ------
    ConfigurationError
        It cannot be read, is no TOML, or a user has neither.
    """
    where = str(section["users_file"])
    octets = read_file(section, "users_file", folder / where, where)
    warn_if_open(folder / where, where, warnings)
    try:
        table = tomllib.loads(octets.decode())
    except ValueError as error:
        sentence = f"names {where}, which is no TOML: {error}"
        raise section.error("users_file", sentence) from None
    users: dict[bytes, bytes] = {}
    for name, value in table.items():
        secret = _hash_of(value)
        if secret is None or not name:
            sentence = (
                f"names {where}, where {name!r} has neither a password of 1 to 256 "
                "characters nor { nt_hash = 32 hexadecimal digits }"
            )
            raise section.error("users_file", sentence)
        users[name.encode()] = secret
    if not users:
        raise section.error("users_file", f"names {where}, which has no users")
    return users


def _hash_of(value: object) -> bytes | None:
    if isinstance(value, str) and 0 < len(value) <= MAX_PASSWORD_CHARACTERS:
        return nt_password_hash(value)
    digits = value.get("nt_hash") if isinstance(value, dict) and len(value) == 1 else ""
    if isinstance(digits, str) and _NT_HASH.fullmatch(digits):
        return bytes.fromhex(digits)
    return None


# --- EAP-TLS ------------------------------------------------------------------------


def _tls_peer(
    document: Document, section: Section, folder: Path, warnings: list[str]
) -> MakePeerMethod:
    credentials = _credentials(section, folder, warnings)
    expected = document.one("remote")["identity"]
    names = [name.encode() for name in section["server_names"]]
    if not names and expected.id_type == IdType.ID_FQDN:
        names = [expected.data]
    if not names:
        sentence = 'must say which server to expect in "tls"'
        raise section.error("server_names", sentence)

    def make(setting: EapSetting) -> TlsPeer:
        now = datetime.now(UTC)
        return TlsPeer(OpenSslEngine(credentials, True, now, names))

    return make


def _tls_authenticator(
    section: Section, folder: Path, warnings: list[str]
) -> MakeAuthenticatorMethod:
    credentials = _credentials(section, folder, warnings)

    def make(setting: EapSetting) -> TlsAuthenticator:
        engine = OpenSslEngine(credentials, False, datetime.now(UTC))
        return TlsAuthenticator(engine, setting.identity)

    return make


def _credentials(section: Section, folder: Path, warnings: list[str]) -> TlsCredentials:
    """Read PEM files: our certificates and key, and whom we believe."""
    for key in ("certificate", "private_key", "ca"):
        if section[key] is None:
            raise section.error("methods", f'needs {key} for "tls"')
    own, *between = read_certificates(section, "certificate", folder)
    authorities = read_certificates(section, "ca", folder)
    private_key = read_private_key(section, folder, warnings)
    if private_key.public_key() != own.public_key():
        sentence = f"is not that of the certificate in {section['certificate']}"
        raise section.error("private_key", sentence)
    return TlsCredentials(
        own, private_key, tuple(between), authorities, read_crls(section, folder)
    )
