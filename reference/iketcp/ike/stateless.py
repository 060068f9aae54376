"""Answers without an IKE SA: in the clear, after which nothing is remembered.

Source: RFC 7296 §1.5
Source: RFC 7296 §2.21.1
"""

from dataclasses import dataclass, field

from iketcp.ike.header import Header
from iketcp.ike.message import encode_message
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload
from iketcp.registry import NotifyType


@dataclass(frozen=True, slots=True)
class StatelessAnswer:
    """An answer in the clear after which nothing is remembered."""

    octets: bytes = field(repr=False)
    header: Header
    payloads: tuple[Payload, ...]

    @property
    def is_cookie_request(self) -> bool:
        """The initiator is to come back with a cookie."""
        return find_notify(self.payloads, NotifyType.COOKIE) is not None


def stateless_answer(
    request: Header, notify: NotifyType, data: bytes = b""
) -> StatelessAnswer:
    """Answer a request with one Notify in the clear.

    SPIs, exchange and Message ID are the request's.

    Source: RFC 7296 §1.5, RFC 7296 §2.21.1
    """
    return answer_in_the_clear(request, (NotifyPayload(notify, data),))


def answer_in_the_clear(
    request: Header, payloads: tuple[Payload, ...]
) -> StatelessAnswer:
    """Answer a request without an IKE SA. Source: RFC 7296 §1.5."""
    header = Header(
        spi_i=request.spi_i,
        spi_r=request.spi_r,
        exchange_type=request.exchange_type,
        message_id=request.message_id,
        is_response=True,
        is_original_initiator=not request.is_original_initiator,
    )
    return StatelessAnswer(encode_message(header, payloads), header, payloads)
