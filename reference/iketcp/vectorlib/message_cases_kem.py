"""Message tests of ML-KEM and of additional key exchanges.

Source: RFC 9370 §2.2.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import CREATE, CREATE_RESPONSE, Case
from iketcp.vectorlib.message_cases_sa import NO_ESN, child
from iketcp.vectorlib.message_parts import KEM, Transform, encr, filler, ke

SPEC = "9370:2.2.1"
SIZES = {35: (800, 768), 36: (1184, 1088), 37: (1568, 1568)}
"""Octets of encapsulation key and ciphertext, by method."""

ADDITIONAL = range(6, 13)
"""Transform types of additional key exchanges."""


def key_encapsulation() -> Iterator[Case]:
    """Offer ML-KEM, first and additional, and carry its values."""
    for method, sizes in SIZES.items():
        offer = child(encr(20, 256), Transform(KEM, method), NO_ESN)
        yield Case(f"KE {method}", "EveryNumber", SPEC, CREATE, (offer,), True)
        for head, size in zip((CREATE, CREATE_RESPONSE), sizes, strict=True):
            part = ke(method, filler(f"method {method}", size))
            comment = f"KE payload of method {method}, {size} octets"
            yield Case(comment, "EveryNumber", SPEC, head, (part,), True)
    for kind in ADDITIONAL:
        additional = (Transform(kind, 36), Transform(kind, 0))
        offer = child(encr(20, 256), Transform(KEM, 31), *additional, NO_ESN)
        comment = f"transform type {kind}: method 36, or none"
        yield Case(comment, "EveryNumber", SPEC, CREATE, (offer,), True)
