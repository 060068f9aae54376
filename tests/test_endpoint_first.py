"""Before there is an IKE SA: cookies, corrected requests, and what is no request.

Source: RFC 9329 §6.3, RFC 9329 §6.4, RFC 7296 §2.6, RFC 7296 §2.21.1
"""

from dataclasses import replace

import pytest

from iketcp.effects import ConnectionId
from iketcp.ike.header import Header
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import NotifyPayload
from iketcp.mapping import MappingPolicy
from iketcp.registry import ExchangeType, NotifyType
from iketcp.stream import frame_ike
from pair import EAST, WEST, ike_policy
from scenarios import Stage

COOKIES = ike_policy(EAST, is_cookie_required=True)


def first_request(seed: str = "") -> bytes:
    """An IKE_SA_INIT request, without frame."""
    stage = Stage(seed=seed)
    stage.run(WEST, stage.west.endpoint.initiate())
    return stage.ike(WEST, stage.connect())[0]


def notifies(stage: Stage, id: ConnectionId) -> list[int]:
    """Notify types that east has sent in the clear on a connection."""
    return [
        payload.notify_type
        for message in stage.ike(EAST, id)
        for payload in decode_message(message).payloads
        if isinstance(payload, NotifyPayload)
    ]


# --- cookies -------------------------------------------------------------------------


def test_no_cookie_is_asked_for_by_default() -> None:
    """[9329-6.3-cookie-puzzle]: TCP has proved the address already."""
    stage = Stage()
    id = stage.up()
    assert len(stage.ike(EAST, id)) == 2
    assert not stage.east.endpoint.context.policy.is_cookie_required


def test_a_cookie_is_brought_back_on_the_same_connection() -> None:
    """[9329-6.3-initiator]: the request as it was, behind the cookie."""
    stage = Stage(east=COOKIES)
    id = stage.up()
    assert notifies(stage, id)[0] == NotifyType.COOKIE
    first, second = (decode_message(m).payloads for m in stage.ike(WEST, id)[:2])
    assert isinstance(second[0], NotifyPayload)
    assert second[0].notify_type == NotifyType.COOKIE
    assert second[1:] == first
    stage.ping()


def test_a_cookie_is_brought_back_over_another_connection() -> None:
    """[9329-6.3-port] [9329-6.3-close]: eight seconds later it has another port."""
    stage = Stage(east=COOKIES)
    stage.run(WEST, stage.west.endpoint.initiate())
    first = stage.connect()
    stage.deliver()
    stage.deliver()
    stage.deliver()
    assert notifies(stage, first) == [NotifyType.COOKIE]
    stage.lose_waiting()
    assert not stage.east.endpoint.tables.ike_sas
    stage.advance(7.9)
    assert stage.closings(EAST) == []
    stage.advance(0.1)
    assert stage.closings(EAST) == [(first, "the cookie did not come back")]
    stage.connect(port=61000)
    stage.settle()
    stage.ping()


def test_cookie_requests_do_not_prolong_each_other() -> None:
    """[9329-6.3-close]: one that never brings its cookie is not kept."""
    stage = Stage(east=COOKIES)
    id = stage.knock()
    request = frame_ike(first_request())
    for _ in range(8):
        stage.feed(EAST, id, request)
        stage.advance(1.0)
    assert stage.closings(EAST) == [(id, "the cookie did not come back")]
    assert not stage.east.endpoint.tables.ike_sas


# --- errors --------------------------------------------------------------------------


def test_another_method_is_asked_for_on_the_same_connection() -> None:
    """[9329-6.4-stay]: after INVALID_KE_PAYLOAD the corrected request comes here."""
    both = "aes256gcm16-prfsha256-ecp256-x25519"
    west = ike_policy(WEST, both)
    east = replace(
        ike_policy(EAST), proposals=(parse_ike_proposal(both[:22] + "x25519"),)
    )
    stage = Stage(west=west, east=east)
    id = stage.up()
    assert notifies(stage, id)[0] == NotifyType.INVALID_KE_PAYLOAD
    assert stage.closings(EAST) == []
    stage.ping()


def test_a_refusal_is_acted_on_at_once() -> None:
    """[9329-6.4-act]: no waiting for a better answer; the connection is closed."""
    stage = Stage(west=ike_policy(WEST, "aes128ctr-sha256-modp2048"))
    id = stage.up()
    assert notifies(stage, id) == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert not stage.west.endpoint.has_sessions
    assert stage.closings(WEST) == [(id, "its session is deleted")]
    assert not stage.east.endpoint.tables.ike_sas


def test_a_refused_beginner_has_what_is_left_of_its_ten_seconds() -> None:
    """[9329-6.4-stay] [9329-6.1-idle]: the connection stays, but not for ever."""
    stage = Stage(east=ike_policy(EAST, "aes128ctr-sha256-modp2048"))
    id = stage.knock()
    stage.feed(EAST, id, frame_ike(first_request()))
    assert notifies(stage, id) == [NotifyType.NO_PROPOSAL_CHOSEN]
    stage.advance(9.9)
    assert stage.is_open(EAST, id)
    stage.advance(0.1)
    assert not stage.is_open(EAST, id)


def test_a_later_version_hears_of_ours() -> None:
    """[9329-6.4-stay]: INVALID_MAJOR_VERSION, and the connection stays."""
    stage = Stage()
    id = stage.knock()
    request = first_request()
    stage.feed(EAST, id, frame_ike(request[:17] + b"\x30" + request[18:]))
    (answer,) = stage.ike(EAST, id)
    message = decode_message(answer)
    assert message.payloads == (NotifyPayload(NotifyType.INVALID_MAJOR_VERSION),)
    assert message.header.is_response
    assert message.header.spi_i == request[:8]
    stage.feed(EAST, id, frame_ike(request))
    assert len(stage.ike(EAST, id)) == 2


def test_bad_syntax_in_a_first_request_is_answered_in_the_clear() -> None:
    """RFC 7296 §2.21.1: INVALID_SYNTAX; nothing is kept."""
    stage = Stage()
    id = stage.knock()
    request = first_request()
    cut_inside = request[:30] + b"\xff\xff" + request[32:]
    stage.feed(EAST, id, frame_ike(cut_inside))
    assert notifies(stage, id) == [NotifyType.INVALID_SYNTAX]
    assert not stage.east.endpoint.tables.ike_sas
    assert stage.dropped(EAST) == {"MalformedMessageError": 1}


def test_an_unknown_critical_payload_is_named() -> None:
    """RFC 7296 §2.5: UNSUPPORTED_CRITICAL_PAYLOAD with the type."""
    stage = Stage()
    id = stage.knock()
    payload = bytes([0, 0x80, 0, 4])
    header = Header(b"initiate", bytes(8), ExchangeType.IKE_SA_INIT, 0, False, True)
    stage.feed(EAST, id, frame_ike(header.with_chain(200, 32).encode() + payload))
    (answer,) = stage.ike(EAST, id)
    assert decode_message(answer).payloads == (
        NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8"),
    )


HEADER = Header(b"initiate", bytes(8), ExchangeType.IKE_SA_INIT, 0, False, True)
"""A first request without payloads."""


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        # a later version whose fixed fields make no sense either
        (HEADER.with_chain(0, 99).encode()[:17] + b"\x30" + bytes(10), "Major"),
        (bytes(17) + b"\x30" + bytes(10), "Major"),
        # Length is not that of the frame: not even a header to answer to
        (HEADER.with_chain(0, 29).encode(), "Malformed"),
        # bad syntax for an SPI of ours that nobody has
        (replace(HEADER, spi_r=b"anything").with_chain(41, 29).encode() + b"x", "Malf"),
        # responses are never answered
        (replace(HEADER, is_response=True).with_chain(41, 29).encode() + b"x", "Malf"),
    ],
)
def test_what_cannot_be_answered_is_counted(octets: bytes, reason: str) -> None:
    """[9329-3.1-agree] [9329-6.1-corrupt]: no answer, no exception, one more."""
    stage = Stage()
    id = stage.knock()
    stage.feed(EAST, id, frame_ike(octets))
    assert stage.ike(EAST, id) == []
    (dropped,) = stage.dropped(EAST)
    assert dropped.startswith(reason) or reason in dropped
    stage.feed(EAST, id, frame_ike(octets) * 15)
    assert stage.closings(EAST) == [(id, "16 unparseable messages in a row")]


@pytest.mark.parametrize(
    "header",
    [
        replace(HEADER, exchange_type=ExchangeType.IKE_AUTH),
        replace(HEADER, message_id=1),
        replace(HEADER, is_original_initiator=False),
    ],
)
def test_only_ike_sa_init_may_come_first(header: Header) -> None:
    """RFC 7296 §2.21.4: anything else names an IKE SA that is not there."""
    stage = Stage()
    id = stage.knock()
    stage.feed(EAST, id, frame_ike(header.with_chain(0, 28).encode()))
    assert stage.ike(EAST, id) == []
    assert stage.dropped(EAST) == {"unknown IKE SPI": 1}


def test_an_originator_answers_no_first_request() -> None:
    """[9329-1.2-originator]: on a connection of ours nobody else begins."""
    stage = Stage()
    id = stage.up()
    sent = len(stage.sent)
    request = first_request("other")
    stage.feed(WEST, id, frame_ike(request))
    stage.feed(WEST, id, frame_ike(request[:17] + b"\x30" + request[18:]))
    assert len(stage.sent) == sent
    assert stage.dropped(WEST) == {
        "unknown IKE SPI": 1,
        "InvalidMajorVersionError": 1,
    }
    stage.ping()


def test_a_bad_public_value_is_dropped() -> None:
    """RFC 6989 §2.5: no answer; the connection has what is left of its time."""
    stage = Stage()
    id = stage.knock()
    request = first_request()
    public_value = decode_message(request).payloads[1].encode_body()[4:]
    stage.feed(EAST, id, frame_ike(request.replace(public_value, bytes(32))))
    assert stage.ike(EAST, id) == []
    assert stage.dropped(EAST) == {"InvalidPublicValueError": 1}


def test_a_half_open_ike_sa_takes_only_ike_auth() -> None:
    """RFC 7296 §1.2: another exchange changes nothing, however authentic."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    stage.deliver()
    stage.deliver()
    stage.deliver()
    stage.feed(EAST, id, stage.sealed(WEST, [], message_id=1))
    assert stage.dropped(EAST) == {"MessageIdError": 1}
    assert stage.half_open() == 1
    stage.settle()
    stage.ping()


def test_an_initiator_without_keys_takes_no_request() -> None:
    """RFC 7296 §2.3: before IKE_SA_INIT is answered nobody can ask it anything."""
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    sa = stage.sa(WEST)
    header = Header(sa.spi_i, b"anything", ExchangeType.INFORMATIONAL, 0, False, False)
    stage.feed(WEST, id, frame_ike(header.with_chain(0, 28).encode()))
    assert stage.dropped(WEST) == {"MessageIdError": 1}
    stage.settle()
    stage.ping()


def test_limits_hold_for_half_open_connections_of_sessions_too() -> None:
    """[9329-6.1-idle]: with IKE_SA_INIT alone nobody has shown who he is."""
    stage = Stage(mapping=MappingPolicy(half_open_address_limit=1))
    id = stage.knock()
    stage.feed(EAST, id, frame_ike(first_request()))
    assert len(stage.ike(EAST, id)) == 1
    assert stage.half_open() == 1
    second = stage.knock()
    assert [id for id, _ in stage.closings(EAST)] == [second]
