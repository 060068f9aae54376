"""The array of tables ``[[ppk]]``.

Source: RFC 8784 §2, RFC 8784 §5.1
"""

from iketcp.config.model import ROLES
from iketcp.config.schema import Key, Table
from iketcp.config.values import boolean, parsed, path, refused, text
from iketcp.ike.identity import Identity

_PPK = refused(
    "is refused: a secret in this file would travel with every copy of it; put it "
    "into a file of its own and name that with ppk_file, or name an environment "
    "variable with ppk_env"
)

PPK = Table(
    "ppk",
    "A post-quantum preshared key (RFC 8784): mixed into the keys of IKE SAs besides "
    "whatever proves identities, it keeps what is recorded today from quantum "
    "computers to come.",
    (
        Key(
            "id",
            text(r"[\x21-\x7e]{1,128}", "1 to 128 ASCII characters without spaces"),
            "Its name, PPK_ID, which both ends know it by. Letters, digits, `+`, `/` "
            "and `=` can be configured everywhere.",
            required_for=ROLES,
        ),
        Key(
            "identity",
            parsed('an identity such as "@gw.example"', Identity.parse),
            "The peer that has it, by the identity that it gives in IKE (with EAP, "
            "too). Unset: every peer without one of its own. An initiator uses the "
            "first for its responder.",
        ),
        Key(
            "ppk_file",
            path(),
            "File whose contents are the key, written as in `psk_file`; `iketcp psk "
            "new` makes one of 256 bits.",
        ),
        Key(
            "ppk_env",
            text("[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable"),
            "Environment variable that holds the key, written as in a file.",
        ),
        Key("ppk", _PPK, "Refused, with a sentence that says where secrets belong."),
        Key(
            "required",
            boolean(),
            "Make no IKE SA with this peer without a PPK. Leave it off until both ends "
            "have the key; then switch it on.",
            default=False,
        ),
    ),
    is_repeated=True,
)
