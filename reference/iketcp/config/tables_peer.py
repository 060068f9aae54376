"""The table of a responder that treats its peers differently.

Source: RFC 7296 §2.15, RFC 4301 §4.4.3
"""

from iketcp.config.model import Role
from iketcp.config.schema import Key, Table
from iketcp.config.tables_ike import IDENTITY, SECRET_SOURCES
from iketcp.config.values import address, choice, list_of, network, parsed, path, text
from iketcp.ike.identity_pattern import IdentityPattern

_RESPONDER: tuple[Role, ...] = ("responder",)

_PATTERNS = list_of(
    parsed(
        'an identity or a pattern such as "*@example.org", "*.example.org" or "*"',
        IdentityPattern.parse,
    ),
    "identities and patterns",
    is_filled=True,
)

PEER = Table(
    "peer",
    "One kind of peers, and what is particular to it. The first table that fits a "
    "peer's identity, and ours if the peer asks for it, is the one; who fits none is "
    "refused. What a table leaves out is as `[local]`, `[remote]` and `[pool]` say. "
    "The proposals of `[ike]` are the same for all: they are agreed on before a peer "
    "says who it is.",
    (
        Key(
            "name",
            text("[A-Za-z0-9_.:@-]{1,64}", "a name of letters, digits and _.:@-"),
            "Appears in logs.",
            required_for=_RESPONDER,
        ),
        Key(
            "identity",
            _PATTERNS,
            "Who comes in by this table: identities, `*@example.org` for mail "
            "addresses, `*.example.org` for host names, `192.0.2.0/24` for addresses "
            "(those that a peer calls itself by), `C=CH, O=Example, CN=*` for "
            "distinguished names, `*` for everybody. With EAP it is the user's name.",
            required_for=_RESPONDER,
        ),
        Key(
            "auth",
            choice("psk", "certificate", "public-key", "null", "eap"),
            "How these peers have to prove who they are, as in `[remote]`.",
        ),
        Key("ca", path(), "As in `[remote]`, for `certificate`."),
        Key("crls", list_of(path(), "paths"), "As in `[remote]`, for `certificate`."),
        Key("public_key", path(), "As in `[remote]`, for `public-key`."),
        *SECRET_SOURCES,
        Key("local_identity", IDENTITY, "Who we are to these peers (IDr)."),
        Key(
            "local_auth",
            choice("psk", "certificate", "public-key", "null"),
            "How we prove that, as `auth` in `[local]`.",
        ),
        Key("certificate", path(), "As in `[local]`, for `certificate`."),
        Key(
            "private_key",
            path(),
            "As in `[local]`, for `certificate` and `public-key`.",
        ),
        Key(
            "children",
            list_of(text(".+", "a name"), "names", is_filled=True),
            "Names of the `[[child]]` tables that these peers may have; unset, all.",
        ),
        Key(
            "networks",
            list_of(network(), "networks", is_filled=True),
            "Networks whose addresses are handed out to these peers.",
        ),
        Key(
            "dns",
            list_of(address(), "IP addresses"),
            "DNS servers to announce to them.",
        ),
    ),
    is_repeated=True,
    roles=_RESPONDER,
)
