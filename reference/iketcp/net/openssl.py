"""What every use of OpenSSL's TLS shares: suites, its words, names in certificates.

Source: RFC 9329 App. A, RFC 9190 §2.4
"""

from typing import Any

from cryptography import x509
from OpenSSL import SSL

CIPHERS_12 = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Suites of TLS 1.2 with forward secrecy and AEAD; those of TLS 1.3 are OpenSSL's."""


_NOT_TLS = frozenset({"wrong version number", "http request", "https proxy request"})
"""OpenSSL's words for records that are none."""


def said(error: SSL.Error) -> str:
    """Say what failed, if OpenSSL says anything, and mostly in its own words."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = str(queue[0][-1]) if queue else ""
    return "what comes is not TLS" if words in _NOT_TLS else words


def alternative_names(
    certificate: x509.Certificate, kind: type[x509.GeneralName]
) -> list[Any]:
    """Return the values of subject alternative names of one kind.

    An extension that cannot be read is as good as none.
    """
    try:
        extensions = certificate.extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [name.value for name in found if isinstance(name, kind)]
