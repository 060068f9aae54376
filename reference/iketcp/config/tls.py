"""The tables ``[tls]`` and ``[proxy]``: what goes around a TCP connection.

Source: RFC 9329 App. A
"""

from ipaddress import ip_address
from pathlib import Path

from iketcp.config.model import ProxyConfig, TlsConfig
from iketcp.config.pem_files import read_certificates, read_private_key
from iketcp.config.reader import Document, Section
from iketcp.config.secret_files import read_password
from iketcp.net.tls_options import TlsIdentity, TlsOptions, TlsTrust


def tls(document: Document, folder: Path, warnings: list[str]) -> TlsConfig | None:
    """Read how TLS is spoken; ``None`` where there is none.

    Raises
    ------
    ConfigurationError
        A file is missing or wrong, or keys do not go together.

    Source: RFC 9329 App. A [9329-A-config]
    """
    section = document.one("tls")
    _check_listens(document)
    if not section.is_present:
        return None
    _check_tcp(document, section)
    _check_port(document, section)
    is_ours = document.role == "responder"
    return TlsConfig(
        port=section["port"],
        use=section["use"],
        options=_options(section),
        identity=_identity(section, folder, warnings) if is_ours else None,
        trust=None if is_ours else _trust(document, section, folder, warnings),
        sni=None if is_ours else _sni(document, section),
    )


def proxy(document: Document, folder: Path, warnings: list[str]) -> ProxyConfig | None:
    """Read which proxy is asked; ``None`` where there is none.

    Raises
    ------
    ConfigurationError
        The password cannot be read, or keys do not go together.

    Source: RFC 9329 App. A [9329-A-connect]
    """
    section = document.one("proxy")
    if not section.is_present:
        return None
    _check_tcp(document, section)
    found = read_password(section, folder, warnings)
    user = section["user"]
    if (user is None) is not (found is None):
        has, lacks = ("a password", "user") if user is None else ("user", "a password")
        sentence = f"[proxy] has {has}, and lacks {lacks}"
        raise section.source.error(section.path, sentence)
    password = "" if found is None else found[0]
    return ProxyConfig(section["address"], section["port"], user, password)


def _check_tcp(document: Document, section: Section) -> None:
    if document.one("transport")["protocol"] != "tcp":
        sentence = f'{section.table.header} needs protocol = "tcp" in [transport]'
        raise section.source.error(section.path, sentence)


def _check_listens(document: Document) -> None:
    """Refuse a responder without any port."""
    local = document.one("local")
    has_tls = document.one("tls").is_present
    if document.role == "responder" and local["port"] is None and not has_tls:
        raise local.error("port", 'of "none" needs [tls], or we listen nowhere')


def _check_port(document: Document, section: Section) -> None:
    """Keep TLS and plain TCP apart: each port speaks one of them."""
    is_ours = document.role == "responder"
    plain = document.one("local" if is_ours else "remote")
    has_plain = is_ours or section["use"] != "always"
    if has_plain and section["port"] == plain["port"]:
        sentence = f"must not be that of {plain.table.header}, where there is no TLS"
        raise section.error("port", sentence)


def _options(section: Section) -> TlsOptions:
    """Read what both ends have. RFC 9329 App. A."""
    versions = section["versions"]
    if section["null_cipher"] and "1.2" not in versions:
        raise section.error("null_cipher", 'needs "1.2" among the versions')
    return TlsOptions(
        alpn=section["alpn"],
        is_12_allowed="1.2" in versions,
        is_13_allowed="1.3" in versions,
        is_null_allowed=section["null_cipher"],
    )


def _identity(section: Section, folder: Path, warnings: list[str]) -> TlsIdentity:
    certificates = read_certificates(section, "certificate", folder)
    key = read_private_key(section, folder, warnings)
    if key.public_key() != certificates[0].public_key():
        sentence = f"is not that of the certificate in {section['certificate']}"
        raise section.error("private_key", sentence)
    return TlsIdentity(certificates, key)


def _trust(
    document: Document, section: Section, folder: Path, warnings: list[str]
) -> TlsTrust:
    """Read which server is believed; say so where it is any.

    Source: RFC 9329 App. A
    """
    is_checked = section["verify"]
    for key in ("ca", "pins"):
        if section[key] and not is_checked:
            raise section.error(key, "means nothing with verify = false")
    if section["ca"] is not None and section["pins"]:
        raise section.error("ca", "means nothing beside pins")
    if not is_checked:
        warnings.append(
            "[tls] verify is false: whoever is on the way can take part in TLS"
        )
    return TlsTrust(
        _name(document, section),
        () if section["ca"] is None else read_certificates(section, "ca", folder),
        section["pins"],
        is_checked,
    )


def _name(document: Document, section: Section) -> str:
    return str(section["name"] or document.one("remote")["address"])


def _sni(document: Document, section: Section) -> str | None:
    """Return the server name to send. An address is none."""
    if section["sni"] is None:
        return None
    sni = section["sni"] if section["sni"] != "auto" else _name(document, section)
    try:
        ip_address(sni)
    except ValueError:
        return str(sni).rstrip(".")
    if section["sni"] != "auto":
        raise section.error("sni", f"must be a host name, not {sni}")
    return None
