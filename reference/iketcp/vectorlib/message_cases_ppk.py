"""Message tests of post-quantum preshared keys: offered, named, and done without.

Source: RFC 8784 §3, RFC 8784 §5.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    INIT,
    INIT_RESPONSE,
    Case,
)
from iketcp.vectorlib.message_cases import ESP_SA, ID_I, ID_R, PROOF, TS_I, TS_R
from iketcp.vectorlib.message_parts import filler, nonce, notify

USE_PPK, PPK_IDENTITY, NO_PPK_AUTH = 16435, 16436, 16437
OPAQUE, FIXED = b"\1", b"\2"


def ppks() -> Iterator[Case]:
    """Offer a PPK, name it by either type of PPK_ID, and confirm it."""
    spec, flags = "8784:3", "EveryNumber"
    for name, head in (("request", INIT), ("response", INIT_RESPONSE)):
        offer = (nonce(filler("nonce", 32)), notify(USE_PPK))
        yield Case(f"N(USE_PPK) in a {name}", flags, spec, head, offer)
    child = (ESP_SA, TS_I, TS_R)
    named = notify(PPK_IDENTITY, FIXED + b"laptop-1")
    without = notify(NO_PPK_AUTH, filler("without ppk", 32))
    for comment, spec, head, parts in (
        (
            "IKE_AUTH with N(PPK_IDENTITY) of type PPK_ID_FIXED",
            "8784:5.1",
            AUTH_REQUEST,
            (ID_I, PROOF, *child, named),
        ),
        (
            "IKE_AUTH with N(PPK_IDENTITY) and N(NO_PPK_AUTH)",
            "8784:3",
            AUTH_REQUEST,
            (ID_I, PROOF, *child, named, without),
        ),
        (
            "IKE_AUTH with N(PPK_IDENTITY) of type PPK_ID_OPAQUE",
            "8784:5.1",
            AUTH_REQUEST,
            (ID_I, PROOF, *child, notify(PPK_IDENTITY, OPAQUE + filler("id", 16))),
        ),
        (
            "IKE_AUTH response with an empty N(PPK_IDENTITY)",
            "8784:3",
            AUTH_RESPONSE,
            (ID_R, PROOF, *child, notify(PPK_IDENTITY)),
        ),
    ):
        yield Case(comment, flags, spec, head, parts, True)
