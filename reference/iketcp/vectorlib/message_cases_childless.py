"""Message tests of IKE SAs that begin without a Child SA.

Source: RFC 6023 §3, RFC 6023 §4, RFC 6023 §5
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    INIT_RESPONSE,
    Case,
)
from iketcp.vectorlib.message_cases import ID_I, ID_R, PROOF
from iketcp.vectorlib.message_parts import filler, nonce, notify

IKE, CHILDLESS_IKEV2_SUPPORTED = 1, 16418


def childless() -> Iterator[Case]:
    """Announce it, and leave SA, TSi and TSr out of IKE_AUTH."""
    announced = (
        nonce(filler("nonce", 32)),
        notify(CHILDLESS_IKEV2_SUPPORTED, b"", IKE),
    )
    comment = "N(CHILDLESS_IKEV2_SUPPORTED) in a response"
    # Protocol ID says IKE; without an SPI nobody looks at it. RFC 7296 §3.10
    flags = "EveryNumber ReservedBits"
    yield Case(comment, flags, "6023:4", INIT_RESPONSE, announced)
    for name, head, identity in (
        ("request", AUTH_REQUEST, ID_I),
        ("response", AUTH_RESPONSE, ID_R),
    ):
        comment = f"IKE_AUTH {name} without a Child SA"
        yield Case(comment, "Ordinary", "6023:5", head, (identity, PROOF), True)
