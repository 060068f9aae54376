"""INFORMATIONAL: liveness, deletion, errors, Message IDs and broken connections."""

import pytest

from iketcp.ike.engine import receive, repeat_request, resume
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteChild,
    DeleteIkeSa,
    ReportAuthenticationFailure,
)
from iketcp.ike.message import decode_message
from iketcp.ike.payloads import (
    DeletePayload,
    NotifyPayload,
    Payload,
    UnknownPayload,
)
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType, NotifyType, PayloadType, ProtocolId
from iketcp.stream import NON_ESP_MARKER
from pair import EAST, WEST, Pair, Question, ipv4_packet

INFORMATIONAL = ExchangeType.INFORMATIONAL
BROKEN = UnknownPayload(PayloadType.NOTIFY, b"\0")
"""A payload of a known type whose body makes no sense."""


@pytest.fixture
def pair() -> Pair:
    """An established session."""
    pair = Pair()
    pair.up()
    return pair


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


# --- liveness and news ----------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
def test_empty_request_gets_an_empty_answer(pair: Pair, name: str) -> None:
    """RFC 7296 §1.4, §2.4."""
    pair.begin(name, CheckLiveness())
    pair.settle()
    assert pair.said(name)[-1].endswith("request: ")
    assert pair.said(pair.other(name))[-1].endswith("response: ")
    pair.check_agreement()


@pytest.mark.parametrize("notify_type", [16500, 40000, 8192, NotifyType.INVALID_SPI])
def test_notifies_change_nothing(pair: Pair, notify_type: int) -> None:
    """Known or not, error or status. RFC 7296 §2.21.4, §3.10.1."""
    assert pair.ask(WEST, INFORMATIONAL, NotifyPayload(notify_type)) == ()
    assert len(pair.east.traces("notify")) == 1
    pair.check_agreement()
    pair.ping()


def test_unknown_payload_is_ignored(pair: Pair) -> None:
    """RFC 7296 §2.5."""
    assert pair.ask(EAST, INFORMATIONAL, UnknownPayload(200, b"")) == ()
    pair.check_agreement()


def test_unknown_critical_payload_is_answered_and_the_ike_sa_lives(
    pair: Pair,
) -> None:
    """UNSUPPORTED_CRITICAL_PAYLOAD with the type. RFC 7296 §2.5."""
    strange = UnknownPayload(200, b"", critical=True)
    answer = pair.ask(WEST, INFORMATIONAL, strange)
    notify = NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200]))
    assert answer == (notify,)
    pair.check_agreement()
    pair.ping()


# --- deletion -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
def test_delete_of_a_child_sa(pair: Pair, name: str) -> None:
    """Both halves go; the answer names the other one. RFC 7296 §1.4.1."""
    other = pair.other(name)
    (ours,), (theirs,) = pair.ike(name).children, pair.ike(other).children
    pair.begin(name, DeleteChild(ours))
    pair.settle()
    assert pair.said(name)[-1].endswith(f"D(ESP {ours.hex()})")
    assert pair.said(other)[-1].endswith(f"D(ESP {theirs.hex()})")
    pair.check_agreement(children=0)
    pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    assert not pair.wire


def test_delete_of_what_is_not_there(pair: Pair) -> None:
    """The answer has no Delete payload; AH is never there. RFC 7296 §2.25.1."""
    deletes: list[Payload] = [
        DeletePayload(ProtocolId.ESP, (b"\1\2\3\4",)),
        DeletePayload(ProtocolId.AH, tuple(pair.ike(WEST).children)),
    ]
    assert pair.ask(WEST, INFORMATIONAL, *deletes) == ()
    pair.check_agreement()


def test_child_sa_named_twice_is_deleted_once(pair: Pair) -> None:
    """RFC 7296 §1.4.1."""
    (spi,) = pair.ike(WEST).children
    (theirs,) = pair.ike(EAST).children
    answer = pair.ask(WEST, INFORMATIONAL, DeletePayload(ProtocolId.ESP, (spi, spi)))
    assert answer == (DeletePayload(ProtocolId.ESP, (theirs,)),)


def test_child_sa_that_is_gone_is_not_deleted_again(pair: Pair) -> None:
    """Nothing is asked for. RFC 7296 §1.4.1."""
    count = len(pair.said(WEST))
    pair.begin(WEST, DeleteChild(b"\1\2\3\4"))
    assert len(pair.said(WEST)) == count


def test_answer_to_the_delete_of_a_child_sa_that_is_gone(pair: Pair) -> None:
    """It went meanwhile for another reason: all is well."""
    (spi,) = pair.ike(WEST).children
    pair.begin(WEST, DeleteChild(spi))
    pair.ike(WEST).remove_child(spi)
    pair.settle()
    pair.check_agreement(children=0)


def test_nothing_is_sent_on_a_child_sa_after_its_delete(pair: Pair) -> None:
    """Over TCP it would arrive after the DELETE. RFC 7296 §1.4.1."""
    (spi,) = pair.ike(WEST).children
    pair.begin(WEST, DeleteChild(spi))
    count = len(pair.wire)
    pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
    assert len(pair.wire) == count
    # what the peer sent before it knew is still taken
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    pair.settle()
    assert len(pair.west.delivered) == 1


@pytest.mark.parametrize("name", [WEST, EAST])
def test_delete_of_the_ike_sa(pair: Pair, name: str) -> None:
    """An empty answer; the Child SAs end with it. RFC 7296 §1.4.1."""
    pair.begin(name, DeleteIkeSa("enough"))
    pair.settle()
    assert pair.said(name)[-1].endswith("D(IKE)")
    assert pair.said(pair.other(name))[-1].endswith("response: ")
    assert closed_because(pair, name) == "enough"
    assert closed_because(pair, pair.other(name)) == "deleted by the peer"
    pair.check_closed()


def test_delete_is_asked_for_once(pair: Pair) -> None:
    """It is the last request on an IKE SA. RFC 7296 §2.8."""
    sa = pair.ike(WEST)
    pair.begin(WEST, DeleteIkeSa())
    assert DeleteIkeSa().request(sa, pair.now) is None
    pair.begin(WEST, CheckLiveness())
    assert sa.state is IkeState.DELETE_SENT
    pair.settle()
    assert not any(line.startswith("INFORMATIONAL 3") for line in pair.said(WEST))
    pair.check_closed()


def test_request_while_we_delete_is_put_off(pair: Pair) -> None:
    """A CREATE_CHILD_SA request meets our DELETE. RFC 7296 §2.25.2."""
    pair.begin(WEST, DeleteIkeSa())
    pair.rekey_child(EAST)
    pair.deliver_from(EAST)
    assert "TEMPORARY_FAILURE" in pair.said(WEST)[-1]
    pair.settle()
    pair.check_closed()


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
def test_malformed_authentic_request_ends_the_ike_sa_and_not_tcp(
    pair: Pair, name: str
) -> None:
    """INVALID_SYNTAX [9329-6.1-syntax], RFC 7296 §2.21.3."""
    other = pair.other(name)
    pair.begin(name, Question(INFORMATIONAL, [BROKEN]))
    while pair.wire:
        pair.deliver()
    assert pair.said(other)[-1].endswith("response: N(INVALID_SYNTAX)")
    assert closed_because(pair, name) == "the peer answers INVALID_SYNTAX"
    pair.check_closed()
    closes = [t["reason"] for t in pair.side(EAST).traces("connection-closed")]
    # if at all, the TCP Originator closes because its session is over
    assert closes in ([], ["FIN"])


def test_answer_of_invalid_syntax_ends_the_exchange_too(pair: Pair) -> None:
    """What it holds is let go, and nothing else is read. RFC 7296 §2.21.3."""

    class Held(Question):
        is_held = True

        def abandon(self) -> None:
            self.is_held = False

    asked = pair.begin(WEST, Held(INFORMATIONAL, [BROKEN]))
    pair.settle()
    assert closed_because(pair, WEST) == "the peer answers INVALID_SYNTAX"
    assert not asked.is_held
    assert asked.answer is None


def test_response_lets_the_next_request_go(pair: Pair) -> None:
    """One request at a time, and no pause between two. RFC 7296 §2.3."""
    sa = pair.ike(WEST)
    pair.begin(WEST, CheckLiveness())
    sa.want(CheckLiveness())
    pair.deliver()
    ((_, _, frame),) = pair.wire
    octets = frame[2 + len(NON_ESP_MARKER) :]
    assert sa.sent is not None
    assert sa.sent.message_id == 2
    assert receive(sa, decode_message(octets), octets, pair.now)
    assert sa.sent is not None
    assert sa.sent.message_id == 3


def test_malformed_answer_starts_the_ike_sa_over(pair: Pair) -> None:
    """An answer draws no error but a DELETE. RFC 7296 §2.21."""
    pair.begin(WEST, CheckLiveness())
    pair.rewrite(EAST, lambda h, p: [BROKEN] if h.message_id == 2 else None)
    pair.settle()
    assert pair.said(WEST)[-1].endswith("D(IKE)")
    pair.check_closed()


def test_malformed_answer_to_our_delete_ends_it_all_the_same(pair: Pair) -> None:
    """There is nothing to start over. RFC 7296 §2.21."""
    pair.begin(WEST, DeleteIkeSa())
    pair.rewrite(EAST, lambda h, p: [BROKEN])
    pair.settle()
    pair.check_closed()


@pytest.mark.parametrize("exchange", [34, 35, 39, 43, 240])
def test_exchange_without_a_place_here_is_malformed(pair: Pair, exchange: int) -> None:
    """RFC 7296 §2.21.3: the answer has the type of the question."""
    pair.begin(WEST, Question(exchange, []))
    pair.settle()
    assert pair.said(EAST)[-1].endswith("response: N(INVALID_SYNTAX)")
    pair.check_closed()


@pytest.mark.parametrize(
    "notify",
    [
        NotifyType.AUTHENTICATION_FAILED,
        NotifyType.INVALID_SYNTAX,
        NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
    ],
)
def test_late_failure_is_fatal_right_after_ike_auth(
    pair: Pair, notify: NotifyType
) -> None:
    """From the initiator, in its first request after IKE_AUTH. RFC 7296 §2.21.2."""
    pair.begin(WEST, ReportAuthenticationFailure(notify))
    pair.deliver()
    assert closed_because(pair, EAST) == f"the peer says {notify.name}"
    assert not pair.east.endpoint.tables.ike_sas


def test_late_failure_is_fatal_only_there(pair: Pair) -> None:
    """Not later, not from the responder, not on a rekeyed IKE SA. RFC 7296 §2.21.2."""
    failed = NotifyPayload(NotifyType.AUTHENTICATION_FAILED)
    for _ in range(3):
        assert pair.ask(EAST, INFORMATIONAL, failed) == ()
    assert pair.ask(WEST, INFORMATIONAL) == ()
    assert pair.ask(WEST, INFORMATIONAL, failed) == ()
    pair.rekey_ike(WEST)
    pair.settle()
    for _ in range(4):
        assert pair.ask(WEST, INFORMATIONAL, failed) == ()
    pair.check_agreement()


# --- Message IDs ----------------------------------------------------------------------


def last_message(pair: Pair, name: str) -> bytes:
    """What a side sent last, without framing."""
    return [
        octets[6:]
        for sender, _, octets in pair.sent
        if sender == name and octets[2:6] == NON_ESP_MARKER
    ][-1]


def test_repeated_request_is_answered_again_and_not_executed_again(pair: Pair) -> None:
    """[9329-6.2-responder], RFC 7296 §2.1."""
    id = next(iter(pair.open))
    pair.rekey_child(WEST)
    request = pair.wire[0][2][6:]
    pair.deliver()
    answer = last_message(pair, EAST)
    pair.wire.clear()
    pair.inject(WEST, id, request)
    assert [octets[6:] for _, _, octets in pair.sent].count(answer) == 2
    answers = [s for s in pair.said(EAST) if s.startswith("CREATE_CHILD_SA 2 response")]
    assert len(answers) == 2
    assert len(pair.east.traces("child-sa-rekeyed")) == 1
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("message_id", [0, 4, 2**32 - 1])
def test_request_outside_the_window_is_dropped(pair: Pair, message_id: int) -> None:
    """RFC 7296 §2.3."""
    for _ in range(2):
        pair.ask(WEST, INFORMATIONAL)
    west = pair.ike(WEST)
    expected = pair.ike(EAST).answered.expected
    assert expected == 4
    message_id = 5 if message_id == expected else message_id
    header = west.header(INFORMATIONAL, message_id, is_response=False)
    assert west.protection is not None
    delete = west.protection.seal(header, [DeletePayload(ProtocolId.IKE)])
    count = len(pair.said(EAST))
    pair.inject(WEST, next(iter(pair.open)), delete)
    assert len(pair.said(EAST)) == count
    assert pair.east.endpoint.counters.dropped == {"MessageIdError": 1}
    pair.check_agreement()


def test_answer_that_nobody_waits_for_is_dropped(pair: Pair) -> None:
    """A stale one, one to another exchange, and one out of the blue. §2.2."""
    east = pair.ike(EAST)
    id = next(iter(pair.open))
    assert east.protection is not None

    def answer(exchange: int, message_id: int) -> bytes:
        header = east.header(exchange, message_id, is_response=True)
        assert east.protection is not None
        return east.protection.seal(header, [])

    pair.inject(EAST, id, answer(INFORMATIONAL, 2))
    pair.begin(WEST, CheckLiveness())
    held = pair.wire.popleft()
    pair.inject(EAST, id, answer(INFORMATIONAL, 1))
    pair.inject(EAST, id, answer(ExchangeType.CREATE_CHILD_SA, 2))
    assert pair.west.endpoint.counters.dropped == {"MessageIdError": 3}
    assert pair.ike(WEST).sent is not None
    pair.wire.append(held)
    pair.settle()
    pair.check_agreement()


def test_unknown_exchange_type_under_an_old_message_id_is_a_repetition(
    pair: Pair,
) -> None:
    """Whatever the peer writes there, the stored answer goes out. RFC 7296 §2.1."""
    pair.ask(WEST, INFORMATIONAL)
    west = pair.ike(WEST)
    header = west.header(240, 2, is_response=False)
    assert west.protection is not None
    before = last_message(pair, EAST)
    message = west.protection.seal(header, [BROKEN])
    pair.inject(WEST, next(iter(pair.open)), message)
    assert last_message(pair, EAST) == before
    pair.check_agreement()


def test_one_request_at_a_time(pair: Pair) -> None:
    """A window of one: the rest waits. RFC 7296 §2.3."""
    pair.begin(WEST, CheckLiveness())
    pair.begin(WEST, Question(INFORMATIONAL, []))
    assert len(pair.wire) == 1
    pair.settle()
    requests = [line for line in pair.said(WEST) if "request" in line]
    assert [line.split()[1] for line in requests] == ["0", "1", "2", "3"]


# --- no answer, and broken connections ------------------------------------------------


def test_request_is_sent_once_and_given_up_in_the_end(pair: Pair) -> None:
    """[9329-6.2-no-retransmit]."""
    pair.begin(WEST, CheckLiveness())
    count = len(pair.said(WEST))
    pair.wire.clear()
    for _ in range(11):
        pair.advance(5.0)
    assert len(pair.said(WEST)) == count
    assert pair.west.endpoint.next_deadline(pair.now) == 60.0
    pair.advance(5.0)
    assert closed_because(pair, WEST) == "no answer for 60 s"


@pytest.mark.parametrize("is_answered", [False, True])
def test_request_is_repeated_octet_for_octet_on_a_new_connection(
    pair: Pair, is_answered: bool
) -> None:
    """[9329-6.2-reconnect]: also if only the answer was lost."""
    id = next(iter(pair.open))
    pair.rekey_child(WEST)
    first = last_message(pair, WEST)
    if is_answered:
        pair.deliver()
    pair.break_connection(id)
    pair.connect()
    assert last_message(pair, WEST) == first
    pair.settle()
    assert len(pair.east.traces("child-sa-rekeyed")) == 1
    pair.check_agreement()
    pair.ping()


def test_request_is_repeated_only_while_it_is_under_way(pair: Pair) -> None:
    """[9329-6.2-reconnect]: there may be none; a repetition is a request, too."""
    sa = pair.ike(WEST)
    assert not repeat_request(sa)
    pair.begin(WEST, CheckLiveness())
    assert repeat_request(sa)
    pair.advance(0.0)
    assert pair.said(WEST)[-2:] == ["INFORMATIONAL 2 request: "] * 2


@pytest.mark.parametrize("exchange", [ExchangeType.IKE_AUTH, INFORMATIONAL])
def test_response_of_another_exchange_is_dropped(
    pair: Pair, exchange: ExchangeType
) -> None:
    """Its Message ID is not enough. RFC 7296 §2.2."""
    pair.rekey_child(WEST)
    pair.wire.clear()
    east = pair.ike(EAST)
    header = east.header(exchange, 2, is_response=True)
    assert east.protection is not None
    pair.inject(EAST, next(iter(pair.open)), east.protection.seal(header, []))
    assert pair.west.endpoint.counters.dropped == {"MessageIdError": 1}
    assert pair.ike(WEST).sent is not None


def test_peer_hears_of_a_new_connection_although_it_answered_before(
    pair: Pair,
) -> None:
    """A repetition proves nothing; so an empty request follows. RFC 9329 §6.1."""
    id = next(iter(pair.open))
    pair.begin(WEST, Question(INFORMATIONAL, []))
    pair.deliver()  # answered, and the answer is lost
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
    pair.settle()
    assert len(pair.west.delivered) == 1


def test_new_connection_begins_with_an_empty_request(pair: Pair) -> None:
    """Whatever else waits [9329-6.1-resume-msg]; and it is queued once."""
    pair.break_connection(next(iter(pair.open)))
    pair.rekey_child(WEST)
    pair.connect()
    sa = pair.ike(WEST)
    resume(sa, pair.now)
    resume(sa, pair.now)
    assert sa.is_waiting(CheckLiveness)
    assert pair.said(WEST)[-1].endswith("request: ")
    pair.settle()
    assert sa.next_message_id == 6  # 2 and 3 empty, 4 the rekey, 5 the DELETE
    pair.check_agreement()


@pytest.mark.parametrize("name", [WEST, EAST])
def test_nothing_is_asked_while_there_is_no_connection(pair: Pair, name: str) -> None:
    """The wait for an answer would end the SA [9329-6.1-keep-state]."""
    pair.break_connection(next(iter(pair.open)))
    pair.rekey_child(name)
    pair.advance(200.0)
    pair.connect()
    pair.settle()
    pair.ping()
    pair.advance(1.0)
    pair.check_agreement()
    assert len(pair.side(name).traces("child-sa-rekeyed")) == 1
