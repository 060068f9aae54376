"""The file ``message_ids_test.json``: which request is new, and which is not.

Source: RFC 7296 §2.1, RFC 7296 §2.2, RFC 7296 §2.3, RFC 9329 §6.2
"""

from collections.abc import Iterator

from iketcp.vectorlib.assembly import case, group, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "message_ids"
SPEC = "RFC 7296 §2.1, §2.2, §2.3; RFC 9329 §6.2"
RESPONDER = "9329-6.2-responder 9329-6.1-valid-ike"
NEW, AGAIN, OUTSIDE = "new", "retransmission", "outside"

HEADER = [
    "Authentic requests arrive one after another, with these Message IDs, at a peer"
    " whose window is one. Each that is new is answered before the next one arrives.",
    "expected is the Message ID of the next new request at the start. hasResponse tells"
    " whether the one before it was answered in this IKE SA and its response is kept.",
    "kinds says of each request: new, executed and answered; retransmission, not"
    " executed and answered with the octets of the first response, on the connection"
    " it came in on; outside, neither executed nor answered. Only a new one makes its"
    " connection the SA's.",
]

NOTES = {
    "Ahead": (
        "STATE_MACHINE",
        "A Message ID beyond the next one.",
        "Requests executed out of order.",
    ),
    "Again": (
        "STATE_MACHINE",
        "The last request again, as on a new connection.",
        "A request executed twice, or an SA that ends for want of an answer.",
    ),
    "Old": (
        "STATE_MACHINE",
        "A Message ID before the last one.",
        "Requests replayed long after.",
    ),
    "Ordinary": ("BASIC", "Message IDs in order.", "No tunnel."),
    "Wrap": (
        "EDGE_CASE",
        "The end of the 32-bit Message IDs, which never start again.",
        "Requests of the beginning replayed.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.2, RFC 7296 §2.3
    """
    tests = list(cases())
    groups = [group("MessageIds", "iketcp/message_ids", tests, window=1)]
    return vector_file(NAME, "IKE-MESSAGE-IDS", HEADER, NOTES, groups)


def cases() -> Iterator[Json]:
    """Try sequences of requests."""
    last = 0xFFFF_FFFF
    for comment, flags, expected, ids, kinds in (
        ("in order", "Ordinary", 0, (0, 1, 2, 3), (NEW,) * 4),
        ("in order, later on", "Ordinary", 1000, (1000, 1001), (NEW, NEW)),
        ("first one again", "Again", 0, (0, 0, 1), (NEW, AGAIN, NEW)),
        ("many times", "Again", 0, (0, 0, 0, 0), (NEW, AGAIN, AGAIN, AGAIN)),
        ("again at once", "Again", 5, (4, 4, 5), (AGAIN, AGAIN, NEW)),
        ("each again", "Again", 0, (0, 0, 1, 1), (NEW, AGAIN, NEW, AGAIN)),
        ("last but one", "Old", 0, (0, 1, 0), (NEW, NEW, OUTSIDE)),
        ("all old ones", "Old", 4, (0, 1, 2, 3, 4), (*(OUTSIDE,) * 3, AGAIN, NEW)),
        ("long ago", "Old", 1000, (0, 998, 1000), (OUTSIDE, OUTSIDE, NEW)),
        ("one too many", "Ahead", 0, (1, 0, 1), (OUTSIDE, NEW, NEW)),
        ("far ahead", "Ahead", 3, (1000, 3), (OUTSIDE, NEW)),
        ("largest", "Ahead", 3, (last, 3), (OUTSIDE, NEW)),
        ("ahead, then again", "Ahead Again", 3, (4, 2, 3), (OUTSIDE, AGAIN, NEW)),
        ("ahead twice", "Ahead", 0, (2, 2, 0), (OUTSIDE, OUTSIDE, NEW)),
        ("sign bit", "Ordinary", 0x7FFF_FFFF, (0x7FFF_FFFF, 1 << 31), (NEW, NEW)),
        ("last of all", "Wrap", last, (last, last), (NEW, AGAIN)),
        ("0 after the last", "Wrap", last, (last, 0, 1), (NEW, OUTSIDE, OUTSIDE)),
        ("0 before the last", "Wrap", last, (0, last), (OUTSIDE, NEW)),
        ("largest at the start", "Wrap", 0, (last, 0), (OUTSIDE, NEW)),
    ):
        yield case(
            comment,
            flags,
            SPEC,
            requirement=RESPONDER,
            expected=expected,
            hasResponse=expected > 0,
            messageIds=ids,
            kinds=kinds,
        )
    yield case(
        "the one before the first, in an IKE SA that has answered none",
        "Old",
        SPEC,
        requirement=RESPONDER,
        expected=1,
        hasResponse=False,
        messageIds=[0, 1],
        kinds=[OUTSIDE, NEW],
    )
