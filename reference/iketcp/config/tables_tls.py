"""The tables about TLS around TCP connections, and about web proxies before them.

Source: RFC 9329 App. A
"""

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.tables_eap import PASSWORD_KEYS
from iketcp.config.values import (
    boolean,
    choice,
    host,
    integer,
    list_of,
    parsed,
    path,
    text,
    words_or,
)

_INITIATOR: tuple[Role, ...] = ("initiator",)
_RESPONDER: tuple[Role, ...] = ("responder",)

_PIN = "sha256:"


def _pin(value: str) -> bytes:
    """Read ``sha256:`` and 64 hexadecimal digits; 32 octets."""
    digest = bytes.fromhex(value.removeprefix(_PIN))
    if not value.startswith(_PIN) or len(digest) != 32:
        raise ValueError
    return digest


TLS = Table(
    "tls",
    "TLS around TCP connections, for networks that let nothing else through; without "
    "this table there is none. What a responder needs for it is made by "
    "`iketcp tls new`. [tls.md](tls.md) says when to use it and what it costs.",
    (
        Key(
            "use",
            choice("always", "first", "fallback"),
            "Which way to the responder comes first: TLS always, TLS before plain "
            "TCP, or TLS after plain TCP. Where one way fails, the next attempt goes "
            "the other. Plain TCP goes to the `port` of `[remote]`.",
            default="always",
            roles=_INITIATOR,
        ),
        Key(
            "port",
            integer(1, 65535),
            "TCP port of the responder's where TLS is spoken, and nothing else. It "
            "listens there besides the `port` of `[local]`.",
            default=443,
        ),
        Key(
            "certificate",
            path(),
            "PEM file: the responder's certificate, then those between it and the CA.",
            roles=_RESPONDER,
            required_for=_RESPONDER,
        ),
        Key(
            "private_key",
            path(),
            "PEM file of the key of that certificate, without passphrase.",
            roles=_RESPONDER,
            required_for=_RESPONDER,
        ),
        Key(
            "verify",
            boolean(),
            "Connect only to whom the certificate is for. Without that the session is "
            "as safe, but anybody on the way can take part in its TLS.",
            default=True,
            roles=_INITIATOR,
        ),
        Key(
            "ca",
            path(),
            "PEM file of the CAs that the certificate may come from. Unset: those "
            "of the system.",
            roles=_INITIATOR,
        ),
        Key(
            "name",
            host(),
            "Host name or IP address that the certificate has to be for. Unset: the "
            "`address` of `[remote]`.",
            roles=_INITIATOR,
        ),
        Key(
            "pins",
            list_of(parsed('a pin: "sha256:" and 64 hexadecimal digits', _pin), "pins"),
            "SHA-256 of public keys (SubjectPublicKeyInfo), as `iketcp tls new` "
            "prints it. With any, one of them has to be the responder's, and who has "
            "issued its certificate, for whom and until when does not matter.",
            default=[],
            roles=_INITIATOR,
        ),
        Key(
            "sni",
            words_or({"auto": "auto", "none": None}, host()),
            'Server name that is sent in the clear; "auto" is `name` where that is a '
            "host name.",
            default="auto",
            roles=_INITIATOR,
        ),
        Key(
            "alpn",
            list_of(text("[!-~]{1,255}", "a protocol name"), "protocol names", most=16),
            "Application protocols, the most preferred first, such as `http/1.1`. "
            "Empty: the extension is not used. A responder with any refuses who "
            "offers others only.",
            default=[],
        ),
        Key(
            "versions",
            list_of(choice("1.2", "1.3"), "versions", is_filled=True, most=2),
            "Versions of TLS that may be spoken.",
            default=["1.2", "1.3"],
        ),
        Key(
            "null_cipher",
            boolean(),
            "Prefer suites of TLS 1.2 that do not encrypt: IPsec inside does. TLS 1.3 "
            "has none and is not spoken then.",
            default=False,
        ),
    ),
)

PROXY = Table(
    "proxy",
    "A web proxy between us and the responder, asked by HTTP CONNECT for every "
    "connection, with TLS or without.",
    (
        Key(
            "address",
            host(),
            "Host name or IP address of the proxy. The `address` of `[remote]` is "
            "looked up by the proxy.",
            required_for=_INITIATOR,
        ),
        Key("port", integer(1, 65535), "TCP port of the proxy.", default=8080),
        Key(
            "user",
            text(r"[^:\x00-\x1f\x7f]{1,255}", "a user name without a colon"),
            "User name for Basic authentication. Unset: none. It and the password go "
            "to the proxy in the clear.",
        ),
        *PASSWORD_KEYS,
    ),
    roles=_INITIATOR,
)
