"""Message tests of quick crash detection: a token given, and a token shown.

Source: RFC 6290 §4.1, RFC 6290 §4.5
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import CREATE_RESPONSE, INFO, INFO_RESPONSE, Case
from iketcp.vectorlib.message_parts import filler, notify

IKE, QCD_TOKEN, INVALID_IKE_SPI = 1, 16419, 4

FLAGS = "EveryNumber ReservedBits"
"""Protocol ID says IKE; without an SPI nobody looks at it. Source: RFC 7296 §3.10."""


def crash_detection() -> Iterator[Case]:
    """Give a token inside the IKE SA, and show up to four in the clear."""
    tokens = [notify(QCD_TOKEN, filler(f"token {n}", 32), IKE) for n in range(4)]
    for count in (1, 4):
        comment = f"N(INVALID_IKE_SPI) and {count} N(QCD_TOKEN), in the clear"
        parts = (notify(INVALID_IKE_SPI), *tokens[:count])
        yield Case(comment, FLAGS, "6290:4.5", INFO_RESPONSE, parts)
    for name, head in (("a request", INFO), ("an answer to a rekey", CREATE_RESPONSE)):
        comment = f"N(QCD_TOKEN) in {name}"
        yield Case(comment, FLAGS, "6290:4.3", head, (tokens[0],), True)
