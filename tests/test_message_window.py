"""Message IDs with a window of one."""

from iketcp.ike.message_window import AnsweredRequests, RequestKind, SentRequest


def test_requests_count_from_zero() -> None:
    """RFC 7296 §2.2: the next one is new, whatever else is outside the window."""
    requests = AnsweredRequests()
    for message_id in range(5):
        assert requests.kind(message_id) is RequestKind.NEW
        assert requests.kind(message_id + 1) is RequestKind.OUTSIDE
        assert requests.kind(0xFFFFFFFF) is RequestKind.OUTSIDE
        requests.answered((b"response %d" % message_id,))


def test_the_last_request_is_answered_again() -> None:
    """[9329-6.2-responder] Its response is remembered, octet for octet, until then."""
    requests = AnsweredRequests()
    requests.answered((b"first",))
    assert requests.kind(0) is RequestKind.RETRANSMISSION
    assert requests.response == (b"first",)
    requests.answered((b"second",))
    assert requests.kind(1) is RequestKind.RETRANSMISSION
    assert requests.response == (b"second",)


def test_older_requests_are_outside_the_window() -> None:
    """RFC 7296 §2.3: with a window of one only the last response is kept."""
    requests = AnsweredRequests()
    requests.answered((b"first",))
    requests.answered((b"second",))
    assert requests.kind(0) is RequestKind.OUTSIDE


def test_before_the_first_answer_nothing_is_a_repetition() -> None:
    """RFC 7296 §2.1: there is no response to send again."""
    assert AnsweredRequests().kind(-1) is RequestKind.OUTSIDE


def test_classifying_moves_nothing() -> None:
    """RFC 7296 §2.3: only answering a request moves the window."""
    requests = AnsweredRequests()
    for _ in range(3):
        assert requests.kind(0) is RequestKind.NEW
    assert (requests.expected, requests.response) == (0, ())


def test_a_response_fits_its_request_only() -> None:
    """RFC 7296 §2.2: request and response share a Message ID."""
    request = SentRequest(7, (b"octets",), 60.0)
    assert request.is_answered_by(7)
    assert not request.is_answered_by(6)
    assert not request.is_answered_by(8)
    assert (request.messages, request.deadline) == ((b"octets",), 60.0)
