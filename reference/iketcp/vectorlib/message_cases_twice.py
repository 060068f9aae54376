"""Message tests of two authentications in one IKE_AUTH phase.

Source: RFC 4739 §2.3, RFC 4739 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    IKE_AUTH,
    INIT_RESPONSE,
    Case,
)
from iketcp.vectorlib.message_cases import ESP_SA, ID_I, ID_R, PROOF, TS_I, TS_R
from iketcp.vectorlib.message_parts import IDI, Head, filler, identity, nonce, notify

MULTIPLE_AUTH_SUPPORTED, ANOTHER_AUTH_FOLLOWS = 16404, 16405


def twice() -> Iterator[Case]:
    """Announce a second authentication, and begin it with another IDi."""
    supported, follows = notify(MULTIPLE_AUTH_SUPPORTED), notify(ANOTHER_AUTH_FOLLOWS)
    answer = (nonce(filler("nonce", 32)), supported)
    comment = "N(MULTIPLE_AUTH_SUPPORTED) in a response"
    yield Case(comment, "EveryNumber", "4739:3.1", INIT_RESPONSE, answer)
    first = (ID_I, PROOF, ESP_SA, TS_I, TS_R, supported, follows)
    user = identity(IDI, 3, b"alice@example")
    for comment, flags, spec, head, parts in (
        (
            "IKE_AUTH with N(ANOTHER_AUTH_FOLLOWS)",
            "EveryNumber",
            "4739:3.2",
            AUTH_REQUEST,
            first,
        ),
        (
            "IKE_AUTH response with two proofs to come",
            "EveryNumber",
            "4739:2.5",
            AUTH_RESPONSE,
            (ID_R, PROOF, follows),
        ),
        (
            "IKE_AUTH with a second IDi alone",
            "Ordinary",
            "4739:2.3",
            Head(IKE_AUTH, 2),
            (user,),
        ),
    ):
        yield Case(comment, flags, spec, head, parts, True)
