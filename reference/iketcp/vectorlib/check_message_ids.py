"""Runs ``message_ids_test.json`` against our window of requests.

Source: RFC 7296 §2.3
"""

from iketcp.ike.message_window import AnsweredRequests, RequestKind
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each

KINDS = {
    RequestKind.NEW: "new",
    RequestKind.RETRANSMISSION: "retransmission",
    RequestKind.OUTSIDE: "outside",
}


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for _, test in each(document, "MessageIds"):
        window = AnsweredRequests()
        window.expected = test["expected"]
        if test["hasResponse"]:
            window.response = (b"kept",)
        kinds = []
        for message_id in test["messageIds"]:
            kind = window.kind(message_id)
            if kind is RequestKind.NEW:
                window.answered((b"response",))
            kinds.append(KINDS[kind])
        found += compare(test, "kinds", kinds)
    return found
