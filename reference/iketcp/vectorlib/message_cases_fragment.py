"""Message tests of IKE fragmentation: what both have to say.

Fragments themselves are tested where they are put together.

Source: RFC 7383 §2.3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import INIT, Case
from iketcp.vectorlib.message_parts import RESPONSE, Head, filler, nonce, notify

FRAGMENTATION_SUPPORTED = 16430


def fragmentation() -> Iterator[Case]:
    """Agree to fragments."""
    supported = (nonce(filler("nonce", 32)), notify(FRAGMENTATION_SUPPORTED))
    for name, head in (("request", INIT), ("response", Head(34, 0, RESPONSE))):
        comment = f"N(IKEV2_FRAGMENTATION_SUPPORTED) in a {name}"
        yield Case(comment, "EveryNumber", "7383:2.3", head, supported)
