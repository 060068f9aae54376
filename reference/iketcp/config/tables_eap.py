"""The table ``[eap]``.

Source: RFC 7296 §2.16, RFC 5998 §3
"""

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.values import boolean, list_of, path, refused, text, words_or
from iketcp.eap.packets import EapType

_INITIATOR: tuple[Role, ...] = ("initiator",)
_RESPONDER: tuple[Role, ...] = ("responder",)

_NAME = text(r"[^\x00-\x20\x7f]{1,256}", "a name without spaces")
_PASSWORD = refused(
    "is refused: a password in this file would travel with every copy of it; put it "
    "into a file of its own and name that with password_file, or name an environment "
    "variable with password_env"
)

PASSWORD_KEYS = (
    Key(
        "password_file",
        path(),
        "File whose contents are the password, in UTF-8, without the newline at "
        "its end.",
        roles=_INITIATOR,
    ),
    Key(
        "password_env",
        text("[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable"),
        "Environment variable that holds the password.",
        roles=_INITIATOR,
    ),
    Key(
        "password",
        _PASSWORD,
        "Refused, with a sentence that says where secrets belong.",
        roles=_INITIATOR,
    ),
)
"""Where an initiator has a password from."""

EAP = Table(
    "eap",
    "EAP, by which the initiator proves who it is: used where an initiator says "
    '`auth = "eap"` in `[local]` and a responder says so in `[remote]`, or where both '
    "say `second` here.",
    (
        Key(
            "methods",
            list_of(
                words_or({"mschapv2": EapType.MSCHAPV2, "tls": EapType.TLS}),
                'methods, "mschapv2" and "tls"',
                is_filled=True,
                most=2,
            ),
            "Methods we are willing to use, the most preferred first.",
            default=["mschapv2"],
        ),
        Key(
            "only",
            boolean(),
            "Offer or agree that EAP alone authenticates both ends (RFC 5998). Only "
            "`tls` is safe enough for that.",
            default=False,
        ),
        Key(
            "second",
            boolean(),
            "EAP comes after the proof that `auth` names, and does not stand in its "
            "place (RFC 4739): first the machine by a secret or a signature, then its "
            "user. Both ends say so.",
            default=False,
        ),
        Key(
            "identity",
            _NAME,
            "The user's name. Unset: the identity of `[local]`.",
            roles=_INITIATOR,
        ),
        *PASSWORD_KEYS,
        Key(
            "users_file",
            path(),
            'TOML file of the users for `mschapv2`: `"name" = "password"`, or '
            '`"name" = { nt_hash = "…" }`. An NT hash lets in whoever has it, just as '
            "the password does.",
            roles=_RESPONDER,
        ),
        Key(
            "identities",
            list_of(_NAME, "names"),
            "Who may come in, by the name that EAP proves. Empty: every user of the "
            "file, and every certificate of the CA.",
            default=[],
            roles=_RESPONDER,
        ),
        Key(
            "ask_identity",
            boolean(),
            "Ask for the user's name before anything else. Some clients give an IP "
            "address as their identity and need that.",
            default=False,
            roles=_RESPONDER,
        ),
        Key(
            "certificate",
            path(),
            "PEM file for `tls`: our certificate, then those between it and the CA.",
        ),
        Key(
            "private_key",
            path(),
            "PEM file of the key of that certificate, without passphrase.",
        ),
        Key(
            "ca",
            path(),
            "PEM file of the CAs that the other end's certificate may come from.",
        ),
        Key(
            "crls",
            list_of(path(), "paths"),
            "PEM files of revocation lists. With any, every certificate has to be "
            "covered by one.",
            default=[],
        ),
        Key(
            "server_names",
            list_of(_NAME, "names"),
            "One of these has to be a dNSName of the server's certificate in `tls`. "
            "Empty: the domain name of `[remote]` `identity`.",
            default=[],
            roles=_INITIATOR,
        ),
    ),
)
