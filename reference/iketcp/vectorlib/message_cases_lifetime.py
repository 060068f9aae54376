"""Message tests of an authentication that is told to end.

Source: RFC 7296 §2.8.3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import AUTH_RESPONSE, Case
from iketcp.vectorlib.message_cases import ESP_SA, ID_R, PROOF, TS_I, TS_R
from iketcp.vectorlib.message_parts import notify

AUTH_LIFETIME = 16403
SECONDS = 3600


def lifetimes() -> Iterator[Case]:
    """Say in IKE_AUTH by when the initiator has to authenticate anew."""
    told = notify(AUTH_LIFETIME, SECONDS.to_bytes(4, "big"))
    parts = (ID_R, PROOF, ESP_SA, TS_I, TS_R, told)
    comment = "IKE_AUTH response with N(AUTH_LIFETIME) of an hour"
    yield Case(comment, "EveryNumber", "7296:2.8.3", AUTH_RESPONSE, parts, True)
