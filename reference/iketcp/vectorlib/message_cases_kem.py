"""Message tests of ML-KEM and of additional key exchanges.

Source: RFC 9370 §2.2.1
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    CREATE,
    CREATE_RESPONSE,
    INIT,
    MALFORMED,
    Case,
)
from iketcp.vectorlib.message_cases_sa import NO_ESN, child
from iketcp.vectorlib.message_parts import (
    KE,
    KEM,
    RESPONSE,
    Head,
    Part,
    Transform,
    encr,
    filler,
    ke,
    nonce,
    notify,
)

SPEC = "9370:2.2.1"
SIZES = {35: (800, 768), 36: (1184, 1088), 37: (1568, 1568)}
"""Octets of encapsulation key and ciphertext, by method."""

ADDITIONAL = range(6, 13)
"""Transform types of additional key exchanges."""

INTERMEDIATE_SUPPORTED, LINK, NOT_FOUND = 16438, 16441, 47
INTERMEDIATE, FOLLOWUP = 43, 44
NAMES = {INTERMEDIATE: "IKE_INTERMEDIATE", FOLLOWUP: "IKE_FOLLOWUP_KE"}


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


def further_exchanges() -> Iterator[Case]:
    """Agree to exchanges for additional key exchanges, and carry them.

    Source: RFC 9242 §3.1, RFC 9242 §3.2, RFC 9370 §2.2.2, RFC 9370 §2.2.4
    """
    first = nonce(filler("nonce", 32))
    answered = Head(34, 0, RESPONSE)
    for name, head, data in (
        ("a request", INIT, b""),
        ("a response", answered, b""),
        ("a request, with data to be ignored", INIT, filler("unknown", 8)),
    ):
        comment = f"N(INTERMEDIATE_EXCHANGE_SUPPORTED) in {name}"
        parts = (first, notify(INTERMEDIATE_SUPPORTED, data))
        yield Case(comment, "EveryNumber", "9242:3.1", head, parts)
    key = ke(36, filler("key", 1184))
    text = ke(36, filler("text", 1088))
    link, other = (notify(LINK, filler(name, 8)) for name in ("link", "link 2"))
    carriers: tuple[tuple[int, str, str, tuple[Part, ...]], ...] = (
        (INTERMEDIATE, "request", "9370:2.2.2", (key,)),
        (INTERMEDIATE, "response", "9370:2.2.2", (text,)),
        (INTERMEDIATE, "request without payloads", "9242:3.2", ()),
        (FOLLOWUP, "request", "9370:2.2.4", (key, link)),
        (FOLLOWUP, "response, more to come", "9370:2.2.4", (text, other)),
        (FOLLOWUP, "response, the last", "9370:2.2.4", (text,)),
        (FOLLOWUP, "response: no such state", "9370:2.2.4", (notify(NOT_FOUND),)),
    )
    for exchange, name, spec, inside in carriers:
        head = Head(exchange, 1)
        if name.startswith("response"):
            head = Head(exchange, 1, RESPONSE)
        comment = f"{NAMES[exchange]} {name}"
        yield Case(comment, "EveryNumber", spec, head, inside, True)
    cut = Part(KE, bytes.fromhex("002400"), {})
    for exchange, name in NAMES.items():
        comment = f"KE payload of three octets in {name}"
        head = Head(exchange, 1)
        yield Case(comment, "ShortBody", "3.4", head, (cut,), True, error=MALFORMED)
