"""Runs ``key_exchange_test.json`` against our key exchange methods.

Source: RFC 7296 §2.14, RFC 6989 §2
"""

from iketcp.crypto.key_exchange import from_private
from iketcp.errors import InvalidPublicValueError
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "KeyExchange"):
        private, peer = unhex(test, "private", "peerPublic")
        ours = from_private(group["method"], private)
        found += compare(test, "public", ours.public_value.hex())
        shared, error = "", None
        try:
            shared = ours.shared_secret(peer).hex()
        except InvalidPublicValueError as refusal:
            error = error_name(refusal)
        found += compare(test, "shared", shared) + compare(test, "error", error)
    return found
