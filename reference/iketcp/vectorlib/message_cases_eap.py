"""Messages of IKE_AUTH in rounds: no AUTH, EAP, and AUTH alone.

Source: RFC 7296 §2.16, RFC 5998 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import AUTH_REQUEST, AUTH_RESPONSE, Case
from iketcp.vectorlib.message_cases import ESP_SA, ID_I, ID_R, PROOF, TS_I, TS_R
from iketcp.vectorlib.message_parts import eap, notify

EAP_ONLY_AUTHENTICATION = 16417


def eap_rounds() -> Iterator[Case]:
    """Ask for EAP, begin it with and without AUTH, and end it."""
    only = notify(EAP_ONLY_AUTHENTICATION)
    begin = eap(bytes.fromhex("01070006 0d20"))
    for comment, flags, spec, head, parts in (
        (
            "IKE_AUTH without AUTH, N(EAP_ONLY_AUTHENTICATION)",
            "EveryNumber",
            "5998:3",
            AUTH_REQUEST,
            (ID_I, ID_R, only, ESP_SA, TS_I, TS_R),
        ),
        (
            "IDr, AUTH and the first EAP",
            "Ordinary",
            "2.16",
            AUTH_RESPONSE,
            (ID_R, PROOF, begin),
        ),
        ("IDr and the first EAP", "Ordinary", "5998:3", AUTH_RESPONSE, (ID_R, begin)),
        ("AUTH alone, after EAP", "Ordinary", "2.16", AUTH_REQUEST, (PROOF,)),
    ):
        yield Case(comment, flags, spec, head, parts, True)
