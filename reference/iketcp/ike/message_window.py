"""Message IDs: which request is new, which is a repetition, which answer fits.

Each direction counts its requests from 0. With a window of one there is one request
under way each way: a request is either the next expected one, the one answered last
(whose answer is sent again, octet for octet), or outside the window.

Source: RFC 7296 §2.1
Source: RFC 7296 §2.2
Source: RFC 7296 §2.3
Source: RFC 9329 §6.2
"""

from enum import Enum

from iketcp.ike.retransmission import Retransmission


class RequestKind(Enum):
    """What a received request is to us. Source: RFC 7296 §2.1, RFC 7296 §2.3."""

    NEW = "new"
    RETRANSMISSION = "retransmission"
    OUTSIDE = "outside the window"


class AnsweredRequests:
    """The peer's requests, and our last answer. Source: RFC 7296 §2.1."""

    __slots__ = ("expected", "response")

    def __init__(self) -> None:
        self.expected = 0
        """Message ID of the next request, 32 bits."""
        self.response: tuple[bytes, ...] = ()
        """Our response to the request before that: one message, or its fragments in
        order; empty if there was none."""

    def kind(self, message_id: int) -> RequestKind:
        """Classify the Message ID of an authentic request."""
        if message_id == self.expected:
            return RequestKind.NEW
        if message_id == self.expected - 1 and self.response:
            # executed once, answered again with the same octets [9329-6.2-responder]
            return RequestKind.RETRANSMISSION
        return RequestKind.OUTSIDE

    def answered(self, response: tuple[bytes, ...]) -> None:
        """Note our response to the expected request; the window moves on."""
        self.response = response
        self.expected += 1


class SentRequest:
    """Our request under way.

    Parameters
    ----------
    message_id : int
        Its Message ID, 32 bits.
    messages : tuple[bytes, ...]
        The message as sent, or its fragments in order; a repetition sends exactly
        these [9329-6.2-reconnect].
    deadline : float
        When to give up, in seconds; the IKE SA ends then [9329-6.2-no-retransmit].
    retransmission : Retransmission or None
        When it is sent again; ``None``, as over TCP: never.
    """

    __slots__ = ("deadline", "message_id", "messages", "refusal", "retransmission")

    def __init__(
        self,
        message_id: int,
        messages: tuple[bytes, ...],
        deadline: float,
        retransmission: Retransmission | None = None,
    ) -> None:
        self.message_id = message_id
        self.messages = messages
        self.deadline = deadline
        self.retransmission = retransmission
        self.refusal = ""
        """What somebody answered who may not be the peer."""

    def doubt(self, refusal: str, deadline: float) -> None:
        """Note an answer that anybody could have sent: the peer's may still come.

        Source: RFC 7296 §2.21.1
        """
        if not self.refusal:
            self.refusal, self.deadline = refusal, min(self.deadline, deadline)

    @property
    def next_event(self) -> float:
        """When it is to be sent again or given up, in seconds."""
        if self.retransmission is None:
            return self.deadline
        return min(self.deadline, self.retransmission.at)

    def is_answered_by(self, message_id: int) -> bool:
        """Tell whether a response with this Message ID is ours to handle."""
        return message_id == self.message_id
