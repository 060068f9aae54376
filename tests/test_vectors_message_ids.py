"""The file ``message_ids_test.json`` against the rule in three lines."""

from iketcp.vectorlib import check_message_ids
from vector_support import document, grouped, unnoticed


def test_kinds() -> None:
    """RFC 7296 §2.1 to §2.3: the next one is new, the one before it comes again."""
    for _, test in grouped("message_ids", "MessageIds"):
        following = test["expected"]
        last = following - 1 if test["hasResponse"] else None
        for message_id, kind in zip(test["messageIds"], test["kinds"], strict=True):
            if message_id == following:
                assert kind == "new", test["tcId"]
                last, following = message_id, message_id + 1
            elif message_id == last:
                assert kind == "retransmission", test["tcId"]
            else:
                assert kind == "outside", test["tcId"]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_message_ids.problems(document("message_ids")) == []
    assert unnoticed("message_ids", "MessageIds", "kinds") == []
