"""The map of connections and sessions, rule by rule. Source: RFC 9329 §6.1."""

from dataclasses import astuple

import pytest

from iketcp.effects import ConnectionId
from iketcp.half_open import HalfOpen
from iketcp.mapping import (
    Connection,
    ConnectionMap,
    Deadline,
    MappingPolicy,
    Session,
)
from iketcp.stream import MAX_MESSAGE

A, B, C = ConnectionId(1), ConnectionId(2), ConnectionId(3)
FULL = "too many connections without a valid message"
ADDRESS_FULL = f"{FULL} from this address"
HERE, THERE = "192.0.2.1", "198.51.100.1"


def accepted(
    connections: ConnectionMap, id: ConnectionId, now: float = 0.0, address: str = HERE
) -> Connection:
    """A connection that we accepted."""
    return connections.opened(id, address, False, now)


def carrying(
    connections: ConnectionMap, session: Session, id: ConnectionId, now: float = 0.0
) -> Connection:
    """An accepted connection on which the session's last valid message came."""
    connection = accepted(connections, id, now)
    connections.valid_message(session, connection, now)
    return connection


@pytest.fixture
def connections() -> ConnectionMap:
    """A map with the limits that the rules name."""
    return ConnectionMap()


@pytest.fixture
def session() -> Session:
    """A session whose TCP Responder we are."""
    return Session(is_tcp_originator=False)


# --- what is held ---------------------------------------------------------------------


def test_limits_are_those_that_the_manual_names() -> None:
    """In the order of the fields; a search takes two of the longest messages."""
    seconds_and_counts = (10.0, 30.0, 5.0, 8.0, 16, 16, 256, 16, 1.0, 60.0)
    search = (0, 2 * (MAX_MESSAGE + 3))
    assert astuple(MappingPolicy()) == seconds_and_counts + search


def test_two_of_a_kind_are_not_the_same() -> None:
    """Sessions and connections are told apart however alike they look."""
    assert Session(False) != Session(False)
    assert Connection(A, HERE, False, 0.0, 0.0) != Connection(A, HERE, False, 0.0, 0.0)


@pytest.mark.parametrize(
    "kept",
    [
        MappingPolicy(),
        Session(False),
        Connection(A, HERE, False, 0.0, 0.0),
        HalfOpen(limit=1, address_limit=1),
    ],
    ids=lambda kept: type(kept).__name__,
)
def test_no_field_is_made_by_mistake(kept: object) -> None:
    """A misspelt name is an error, not a new attribute."""
    with pytest.raises((AttributeError, TypeError)):
        kept.curent = None  # type: ignore[attr-defined]
    assert not hasattr(kept, "__dict__")


def test_policy_never_changes() -> None:
    """A limit holds as long as its map lives."""
    with pytest.raises(AttributeError):
        MappingPolicy().corrupt_limit = 9  # type: ignore[misc]


# --- half-open ------------------------------------------------------------------------


def test_half_open_are_counted_in_all_and_by_address() -> None:
    """[9329-6.1-idle]: one address cannot use up what is there for all."""
    counts = HalfOpen(limit=3, address_limit=2)
    counts.add(HERE)
    assert counts.refusal(HERE) is None
    counts.add(HERE)
    assert counts.refusal(HERE) == ADDRESS_FULL
    assert counts.refusal(THERE) is None
    counts.add(THERE)
    assert counts.refusal("203.0.113.1") == FULL
    counts.remove(HERE)
    assert counts.refusal(HERE) is None
    counts.remove(HERE, is_timed_out=True)
    counts.remove(THERE)
    assert (counts.total, counts.by_address) == (0, {})
    assert (counts.refused, counts.timed_out) == (2, 1)


def test_a_limit_of_zero_lets_nobody_in() -> None:
    """[9329-6.1-idle]: in all, or per address."""
    assert HalfOpen(limit=0, address_limit=1).refusal(HERE) == FULL
    assert HalfOpen(limit=1, address_limit=0).refusal(HERE) == ADDRESS_FULL


def test_a_limit_that_is_passed_still_holds() -> None:
    """[9329-6.1-idle]: more than the limit is no less than the limit."""
    counts = HalfOpen(limit=4, address_limit=1)
    for _ in range(3):
        counts.add(HERE)
    assert counts.refusal(HERE) == ADDRESS_FULL
    counts.add(THERE)
    counts.add(THERE)
    assert counts.refusal("203.0.113.1") == FULL


def test_a_valid_message_or_the_end_makes_room_again(session: Session) -> None:
    """[9329-6.1-idle]: only strangers count, and each once."""
    connections = ConnectionMap(MappingPolicy(half_open_limit=2))
    first, second = accepted(connections, A), accepted(connections, B)
    assert connections.refusal(THERE) == FULL
    connections.valid_message(session, first, 1.0)
    connections.valid_message(session, first, 2.0)
    assert connections.refusal(THERE) is None
    connections.lost(first.id, 3.0)
    connections.lost(second.id, 3.0)
    assert connections.half_open.total == 0


def test_connections_of_our_own_are_no_strangers(connections: ConnectionMap) -> None:
    """[9329-6.1-idle] is about what we accept."""
    ours = connections.opened(A, HERE, True, 0.0)
    assert connections.half_open.total == 0
    assert connections.deadline_of(ours) is None
    connections.lost(A, 1.0)
    assert connections.half_open.total == 0


def test_who_was_heard_is_known_after_the_end(
    connections: ConnectionMap, session: Session
) -> None:
    """Until a valid message comes nobody was; an end is no message."""
    mute = connections.opened(A, HERE, True, 1.0)
    heard = connections.opened(B, HERE, True, 1.0)
    connections.valid_message(session, heard, 2.0)
    for connection in (mute, heard):
        connections.lost(connection.id, 3.0)
    assert (mute.was_heard, heard.was_heard) == (False, True)


def test_those_that_wait_in_vain_are_counted(session: Session) -> None:
    """[9329-6.1-idle]: a stranger at its deadline, not one that leaves before."""
    connections = ConnectionMap(MappingPolicy(first_message_seconds=10.0))
    accepted(connections, A)
    connections.lost(A, 9.9)
    assert connections.half_open.timed_out == 0
    accepted(connections, A)
    connections.lost(A, 10.0)
    assert connections.half_open.timed_out == 1
    known = accepted(connections, B)
    connections.valid_message(session, known, 5.0)
    connections.lost(B, 20.0)
    connections.opened(A, HERE, True, 0.0)
    connections.lost(A, 20.0)
    assert connections.half_open.timed_out == 1
    accepted(connections, A)
    connections.lost(A, 11.0)  # noticed late
    assert connections.half_open.timed_out == 2


def test_a_mute_connection_is_due(connections: ConnectionMap) -> None:
    """[9329-6.1-idle]: ten seconds to a first valid message."""
    accepted(connections, A, now=5.0)
    assert connections.next_deadline() == 15.0
    assert connections.due(14.9) == []
    assert connections.due(15.0) == [(A, "no valid message in time")]


def test_a_valid_message_ends_the_wait(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-idle]: who has shown who it is may be silent."""
    carrying(connections, session, A)
    assert connections.next_deadline() is None
    assert connections.due(1e9) == []


# --- which connection -----------------------------------------------------------------


def test_a_session_begins_where_its_first_request_came(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-one], and the deadline is now its IKE SA's business."""
    connection = accepted(connections, A)
    assert connections.begin(session, connection) is None
    assert session.current == A
    assert connection.session is session
    assert connection.deadline is None
    assert connection.is_half_open


def test_the_originators_new_connection_replaces_the_old(
    connections: ConnectionMap,
) -> None:
    """[9329-6.1-one]: the old one is named, so that it can be closed."""
    session = Session(is_tcp_originator=True)
    first = connections.opened(A, HERE, True, 0.0)
    second = connections.opened(B, HERE, True, 1.0)
    assert connections.begin(session, first) is None
    assert connections.begin(session, second) == A
    assert session.current == B


def test_the_last_valid_message_decides(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-last-valid] [9329-6.1-both]: to the new connection, and back."""
    old, new = accepted(connections, A), accepted(connections, B, address=THERE)
    assert connections.valid_message(session, old, 1.0)
    assert not connections.valid_message(session, old, 2.0)
    assert connections.valid_message(session, new, 3.0)
    assert session.current == B
    assert connections.valid_message(session, old, 4.0)
    assert session.current == A
    assert old.last_valid == 4.0


def test_the_originator_does_not_follow_messages(connections: ConnectionMap) -> None:
    """[9329-6.1-one]: it sends on the connection that it opened last."""
    session = Session(is_tcp_originator=True)
    first = connections.opened(A, HERE, True, 0.0)
    second = connections.opened(B, HERE, True, 0.0)
    connections.begin(session, first)
    connections.begin(session, second)
    assert not connections.valid_message(session, first, 1.0)
    assert session.current == B
    assert not first.is_half_open


def test_a_valid_message_forgives_what_was_wrong(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-corrupt]: what counts is too many in a row."""
    connection = accepted(connections, A)
    connections.unparseable(connection)
    connections.unknown_spi(connection)
    connections.valid_message(session, connection, 1.0)
    assert (connection.corrupt_in_row, connection.unknown_in_row) == (0, 0)


@pytest.mark.parametrize("what", ["session", "connection"])
def test_nothing_moves_to_or_for_what_has_ended(
    connections: ConnectionMap, session: Session, what: str
) -> None:
    """Another thread may end either between the check of a message and its effect."""
    connection = carrying(connections, session, A)
    late = accepted(connections, B)
    if what == "session":
        connections.ended(session, 1.0)
    else:
        connections.lost(B, 1.0)
    before = session.current
    assert not connections.valid_message(session, late, 2.0)
    assert session.current == before
    assert late.session is None
    assert connection.session is (None if what == "session" else session)


# --- sharing --------------------------------------------------------------------------


def test_a_connection_carries_one_session(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-share]: neither another session nor a new one."""
    connection = carrying(connections, session, A)
    assert connections.may_carry(session, connection)
    assert not connections.may_carry(Session(False), connection)
    assert not connections.may_carry(None, connection)


def test_a_fresh_connection_takes_any_session(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-recognise]: a known session or a new one may come first."""
    connection = accepted(connections, A)
    assert connections.may_carry(session, connection)
    assert connections.may_carry(None, connection)


def test_a_closed_connection_carries_nothing(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-partial]: what is left in its stream is of no use."""
    connection = carrying(connections, session, A)
    connections.lost(A, 1.0)
    assert not connections.may_carry(session, connection)
    assert not connections.may_carry(None, connection)


# --- loss -----------------------------------------------------------------------------


def test_a_lost_connection_leaves_the_session_alive(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-keep-state] [9329-10-state]: it has no connection, and that is all."""
    carrying(connections, session, A)
    assert connections.lost(A, 1.0) is session
    assert session.current is None
    assert not session.has_ended


def test_the_loss_of_an_old_connection_changes_nothing(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-send-one]: the session sends on its new one."""
    carrying(connections, session, A)
    carrying(connections, session, B)
    assert connections.lost(A, 1.0) is None
    assert session.current == B


@pytest.mark.parametrize(("old", "current"), [(A, B), (B, A)])
def test_the_loss_of_an_old_connection_is_no_failed_attempt(
    connections: ConnectionMap, old: ConnectionId, current: ConnectionId
) -> None:
    """[9329-6.1-reestablish]: only where a session sends is it cut off."""
    session = Session(is_tcp_originator=True)
    for id in (old, current):
        connection = connections.opened(id, HERE, True, 0.0)
        connections.begin(session, connection)
        connections.valid_message(session, connection, 0.5)
    session.reconnects = 2
    assert connections.lost(old, 100.0) is None
    assert (session.current, session.reconnects) == (current, 2)


def test_the_session_goes_back_to_what_is_open(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-last-valid]: the open connection with the last valid message."""
    carrying(connections, session, A, now=1.0)
    carrying(connections, session, C, now=3.0)
    carrying(connections, session, B, now=5.0)
    assert connections.lost(B, 6.0) is None
    assert session.current == C


def test_loss_without_a_session_is_nobodys(connections: ConnectionMap) -> None:
    """A connection that carried nothing."""
    accepted(connections, A)
    assert connections.lost(A, 1.0) is None


def test_reconnection_backs_off() -> None:
    """[9329-6.1-reestablish]: at once, then 1, 2, 4 ... seconds, at most 60."""
    connections, session = ConnectionMap(), Session(is_tcp_originator=True)
    pauses = [connections.reconnect_delay(session) for _ in range(9)]
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    session.reconnects = 10_000
    assert connections.reconnect_delay(session) == 60.0


@pytest.mark.parametrize(
    ("seconds", "is_answered", "pause"),
    [(0.9, True, 1.0), (1.0, True, 0.0), (100.0, True, 0.0), (100.0, False, 1.0)],
)
def test_only_a_connection_that_worked_begins_the_count_anew(
    seconds: float, is_answered: bool, pause: float
) -> None:
    """[9329-6.1-reestablish]: a peer that hangs up at once is not asked at once."""
    connections, session = ConnectionMap(), Session(is_tcp_originator=True)
    connection = connections.opened(A, HERE, True, 50.0)
    connections.begin(session, connection)
    assert connections.reconnect_delay(session) == 0.0
    if is_answered:
        connections.valid_message(session, connection, 50.5)
    assert connections.lost(A, 50.0 + seconds) is session
    assert connections.reconnect_delay(session) == pause


# --- the end --------------------------------------------------------------------------


def test_the_originator_closes_after_delete(connections: ConnectionMap) -> None:
    """[9329-6.1-close]: at once."""
    session = Session(is_tcp_originator=True)
    connections.begin(session, connections.opened(A, HERE, True, 0.0))
    assert connections.ended(session, 1.0) == [A]
    assert session.has_ended
    assert session.current is None


def test_the_responder_leaves_it_to_the_originator_for_a_while(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-linger]: five seconds, then it closes by itself; old ones too."""
    carrying(connections, session, A)
    carrying(connections, session, B)
    bystander = Session(is_tcp_originator=False)
    carrying(connections, bystander, C)
    assert connections.ended(session, 10.0) == []
    assert connections.due(14.9) == []
    reason = "its session is deleted"
    assert connections.due(15.0) == [(A, reason), (B, reason)]


def test_a_lingering_connection_may_serve_a_new_session(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-reuse]: and then it stays."""
    connection = carrying(connections, session, A)
    connections.ended(session, 1.0)
    assert connections.may_carry(None, connection)
    connections.begin(Session(is_tcp_originator=False), connection)
    assert connections.next_deadline() is None


# --- corruption -----------------------------------------------------------------------


def test_too_many_unparseable_messages_close_the_connection(
    connections: ConnectionMap,
) -> None:
    """[9329-6.1-corrupt]: the sixteenth in a row does, and what may follow it."""
    connection = accepted(connections, A)
    answers = [connections.unparseable(connection) for _ in range(17)]
    too_many = [f"{count} unparseable messages in a row" for count in (16, 17)]
    assert answers == [None] * 15 + too_many


def test_a_few_unknown_spis_do_not(connections: ConnectionMap) -> None:
    """[9329-6.1-few-unknown]: sixteen in a row may be, one by one or together."""
    connection = accepted(connections, A)
    assert connections.unknown_spi(connection) is None
    assert connections.unknown_spi(connection, 15) is None
    assert connections.unknown_spi(connection) == "more than 16 unknown SPIs in a row"


def test_a_failed_check_closes_at_once(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-corrupt]: and the session is not touched."""
    connection = carrying(connections, session, A)
    assert "integrity" in connections.integrity_failed(connection)
    assert session.current == A


# --- time -----------------------------------------------------------------------------


def test_a_replaced_connection_closes_when_it_is_idle(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-extraneous]: thirty seconds after the session moved away."""
    carrying(connections, session, A, now=1.0)
    carrying(connections, session, B, now=2.0)
    assert connections.next_deadline() == 32.0
    assert connections.due(31.9) == []
    assert connections.due(32.0) == [(A, "replaced and idle")]


def test_what_was_read_just_before_it_was_replaced_keeps_it_open_as_long(
    connections: ConnectionMap, session: Session
) -> None:
    """[9329-6.1-extraneous] counts from the last message, whoever was told of it."""
    connection = carrying(connections, session, A, now=1.0)
    carrying(connections, session, B, now=2.0)
    connections.heard_at_home(connection, 3.0)
    assert connections.due(32.0) == []
    connections.heard_at_home(connection, 4.0)
    assert connections.next_deadline() == 34.0
    assert connections.due(34.0) == [(A, "replaced and idle")]


def test_many_connections_are_not_asked_for_one(
    connections: ConnectionMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a thousand looks at those that are due."""
    asked: list[Connection] = []
    deadline_of = ConnectionMap.deadline_of

    def counted(self: ConnectionMap, connection: Connection) -> Deadline | None:
        asked.append(connection)
        return deadline_of(self, connection)

    for number in range(1000):
        one = Session(is_tcp_originator=False)
        carrying(connections, one, ConnectionId(number), now=1.0)
    for number in range(1000, 1004):
        accepted(connections, ConnectionId(number), now=2.0)
    monkeypatch.setattr(ConnectionMap, "deadline_of", counted)
    assert connections.next_deadline() == 12.0
    assert len(connections.due(12.0)) == 4
    connections.lost(ConnectionId(7), 12.0)
    assert len(asked) <= 9


def test_less_than_a_second_is_not_never(session: Session) -> None:
    """[9329-6.1-extraneous] for a short time."""
    connections = ConnectionMap(MappingPolicy(extraneous_seconds=0.5))
    carrying(connections, session, A, now=1.0)
    carrying(connections, session, B, now=2.0)
    assert connections.due(2.5) == [(A, "replaced and idle")]


def test_zero_means_never(session: Session) -> None:
    """[9329-6.1-extraneous] is switched off by 0."""
    connections = ConnectionMap(MappingPolicy(extraneous_seconds=0))
    carrying(connections, session, A)
    carrying(connections, session, B)
    assert connections.next_deadline() is None


def test_the_originator_closes_no_extraneous_connection(
    connections: ConnectionMap,
) -> None:
    """[9329-6.1-extraneous] is the TCP Responder's."""
    session = Session(is_tcp_originator=True)
    first = connections.opened(A, HERE, True, 0.0)
    connections.begin(session, first)
    connections.begin(session, connections.opened(B, HERE, True, 0.0))
    assert connections.deadline_of(first) is None


def test_a_cookie_request_leaves_a_short_time(connections: ConnectionMap) -> None:
    """[9329-6.3-close]: eight seconds, which one more request does not prolong."""
    connection = accepted(connections, A, now=0.0)
    connections.cookie_requested(connection, 1.0)
    connections.cookie_requested(connection, 8.0)
    assert connections.due(8.9) == []
    assert connections.due(9.0) == [(A, "the cookie did not come back")]


def test_a_cookie_request_needs_no_deadline_to_shorten(
    connections: ConnectionMap,
) -> None:
    """[9329-6.3-close] holds whatever the connection was used for before."""
    connection = connections.opened(A, HERE, True, 0.0)
    connections.cookie_requested(connection, 1.0)
    assert connections.next_deadline() == 9.0
