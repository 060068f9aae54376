"""Messages of IKE_AUTH without authentication, and with a raw public key.

Source: RFC 7619 §2, RFC 7670 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import AUTH_REQUEST, AUTH_RESPONSE, Case
from iketcp.vectorlib.message_cases import ESP_SA, ID_R, PROOF, TS_I, TS_R
from iketcp.vectorlib.message_parts import (
    IDI,
    IDR,
    auth,
    cert,
    filler,
    identity,
)

ED25519_KEY = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo of an Ed25519 key, up to its 32 octets."""


def proofs() -> Iterator[Case]:
    """Say nothing of oneself; and send a key without a certificate."""
    child = (ESP_SA, TS_I, TS_R)
    null = auth(13, filler("null", 32))
    raw = cert(15, ED25519_KEY + filler("raw public key", 32))
    for comment, flags, spec, head, parts in (
        (
            "IKE_AUTH with ID_NULL and AUTH of method 13",
            "EveryNumber",
            "7619:2.2",
            AUTH_REQUEST,
            (identity(IDI, 13, b""), null, *child),
        ),
        (
            "IKE_AUTH response with ID_NULL and AUTH of method 13",
            "EveryNumber",
            "7619:2.2",
            AUTH_RESPONSE,
            (identity(IDR, 13, b""), null, *child),
        ),
        (
            "IDr, CERT with a raw public key, AUTH",
            "EveryNumber",
            "7670:3",
            AUTH_RESPONSE,
            (ID_R, raw, PROOF, *child),
        ),
    ):
        yield Case(comment, flags, spec, head, parts, True)
    for method, size in ((9, 64), (10, 96), (11, 132)):
        comment = f"IKE_AUTH response with AUTH of method {method}: r and s"
        parts = (ID_R, auth(method, filler(comment, size)), *child)
        yield Case(comment, "EveryNumber", "4754:7", AUTH_RESPONSE, parts, True)
