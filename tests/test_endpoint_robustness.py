"""Threads that meet, and octets that nobody would send.

The locks of an endpoint come from outside. Here they let another "thread" act just
before a lock is taken: the interleavings that matter, every time.

Source: RFC 9329 §6.1
"""

from collections.abc import Callable
from types import TracebackType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.effects import ConnectionId
from iketcp.endpoint import Endpoint
from iketcp.environment import ScriptedEntropy
from iketcp.mapping import MappingPolicy
from iketcp.stream import STREAM_PREFIX
from pair import EAST, WEST, Side, ike_policy
from scenarios import Stage, to_east


class Interruption:
    """A lock before and after which another thread may get in, once."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.afterwards: Callable[[], None] | None = None
        self.is_held = False

    def __enter__(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        assert not self.is_held, "the lock is not reentrant"
        self.is_held = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_held = False
        afterwards, self.afterwards = self.afterwards, None
        if afterwards is not None:
            afterwards()


class Interrupted(Stage):
    """A stage on which something happens before east takes its control lock."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: list[Interruption] = []

        def new_lock() -> Interruption:
            self.locks.append(Interruption())
            return self.locks[-1]

        entropy = ScriptedEntropy("east")
        endpoint = Endpoint(ike_policy(EAST), MappingPolicy(), entropy, new_lock)
        self.east = Side(EAST, endpoint)

    def before_control(self, act: Callable[[], None]) -> None:
        """Have ``act`` run right before the control lock is taken next."""
        self.locks[0].meanwhile = act


def test_locks_are_never_taken_twice() -> None:
    """The control lock is held for computing only, and nothing waits for itself."""
    stage = Interrupted()
    first = stage.up()
    stage.ping(3)
    stage.run(EAST, stage.east.endpoint.rekey_child("net", 0.0))
    stage.run(WEST, stage.west.endpoint.rekey_ike(0.0))
    stage.settle()
    stage.ping(3)
    stage.break_connection(first)
    stage.connect()
    stage.settle()
    stage.advance(60.0)
    stage.run(EAST, stage.east.endpoint.delete_all(stage.now))
    stage.settle()
    assert not stage.east.endpoint.has_sessions
    assert not any(lock.is_held for lock in stage.locks)


def test_esp_opened_as_its_connection_is_closed_moves_nothing() -> None:
    """[9329-6.1-last-valid]: a session never stays on a connection that is gone."""
    stage = Interrupted()
    first = stage.up()
    new = stage.knock()
    packet = stage.esp(WEST)
    stage.before_control(lambda: stage.break_for(EAST, new))
    stage.feed(EAST, new, packet)
    assert stage.session(EAST).current == first
    assert stage.east.traces("mapping-moved") == []
    stage.ping()


def test_ike_that_waits_as_its_connection_is_closed_is_not_taken() -> None:
    """[9329-6.1-last-valid]: likewise; its peer repeats it on the next one."""
    stage = Interrupted()
    first = stage.up()
    new = stage.knock()
    message = stage.sealed(WEST, [])
    stage.before_control(lambda: stage.break_for(EAST, new))
    stage.feed(EAST, new, message)
    assert stage.session(EAST).current == first
    assert stage.sa(EAST).answered.expected == 2
    stage.ping()


def test_a_first_request_that_waits_as_its_connection_is_closed_begins_nothing() -> (
    None
):
    """[9329-6.1-idle]: no half-open IKE SA without its connection."""
    stage = Interrupted()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    stage.deliver()
    stage.before_control(lambda: stage.break_for(EAST, id))
    stage.deliver()
    assert not stage.east.endpoint.tables.ike_sas
    assert stage.half_open() == 0


def test_esp_opened_as_its_session_ends_keeps_no_connection_open() -> None:
    """[9329-6.1-linger]: nothing is tied to a session that has ended."""
    stage = Interrupted()
    first = stage.up()
    new = stage.knock()
    packet = stage.esp(WEST)
    stage.run(WEST, stage.west.endpoint.delete_all(0.0))
    (delete,) = (octets for _, id, octets in stage.wire if id == first)
    stage.before_control(lambda: stage.feed(EAST, first, delete))
    stage.feed(EAST, new, packet)
    assert not stage.east.endpoint.has_sessions
    stage.deaf = frozenset({WEST})
    stage.advance(10.0)
    assert {id for id, _ in stage.closings(EAST)} == {first, new}
    assert stage.half_open() == 0


def test_a_session_that_ends_as_its_esp_was_opened_is_not_missed() -> None:
    """[9329-6.1-valid-esp]: what was opened is delivered, and nothing else happens."""
    stage = Interrupted()
    first = stage.up()
    packet = stage.esp(WEST)
    stage.run(WEST, stage.west.endpoint.delete_all(0.0))
    ((_, _, delete),) = stage.wire
    stage.locks[-1].afterwards = lambda: stage.feed(EAST, first, delete)
    stage.feed(EAST, first, packet)
    assert stage.east.delivered == [to_east(b"esp")]
    assert not stage.east.endpoint.has_sessions
    assert stage.east.endpoint.map.connections[first].session is None


def test_a_stream_closed_by_the_timer_while_it_is_read_does_no_harm() -> None:
    """[9329-6.1-partial]: its decoder is its own thread's alone."""
    stage = Interrupted()
    id = stage.knock()
    half = STREAM_PREFIX[:0] + b"\x00\x64" + bytes(10)
    stage.feed(EAST, id, half)
    decoder = stage.east.endpoint.tables.streams[id].decoder
    stage.advance(10.0)
    assert not stage.is_open(EAST, id)
    assert decoder.pending == len(half)


def recorded() -> list[tuple[str, bytes]]:
    """What either side says in the life of a session, message by message."""
    stage = Stage()
    first = stage.up()
    stage.ping()
    stage.run(WEST, stage.west.endpoint.rekey_ike(0.0))
    stage.settle()
    stage.run(EAST, stage.east.endpoint.rekey_child("net", 0.0))
    stage.settle()
    return [(n, octets) for n, c, octets in stage.sent if c == first]


RECORDED = recorded()


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Frames of a session, in any order, with some octets changed or missing."""
    frames = draw(st.lists(st.sampled_from([o for _, o in RECORDED]), max_size=4))
    octets = bytearray(b"".join(frames) + draw(st.binary(max_size=20)))
    for _ in range(draw(st.integers(0, 3))):
        if octets:
            at = draw(st.integers(0, len(octets) - 1))
            octets[at] = draw(st.integers(0, 255))
    return bytes(octets)


@pytest.mark.parametrize("name", [WEST, EAST])
@given(octets=mangled(), cut=st.integers(1, 200))
def test_no_octets_raise_or_cost_an_established_sa(
    name: str, octets: bytes, cut: int
) -> None:
    """RFC 9329 §6.1: whatever comes without a key costs at most the connection."""
    stage = Stage()
    first = stage.up()
    new = stage.knock() if name == EAST else first
    for at in range(0, len(octets), cut):
        stage.feed(name, new, octets[at : at + cut])
    tables = stage.side(name).endpoint.tables
    established = [s for s in tables.sessions() if s.was_established]
    assert len(established) == 1
    assert len(tables.ike_sas) <= 2
    assert set(stage.dropped(name)) <= CLOSED_SET


CLOSED_SET = {
    "ESP integrity",
    "ESP of another session's",
    "ESP of a removed Child SA",
    "ESP of a Child SA not yet agreed",
    "IKE message of another session's",
    "IKE_SA_INIT on a connection in use",
    "IntegrityError",
    "InvalidMajorVersionError",
    "InvalidPublicValueError",
    "MalformedMessageError",
    "MessageIdError",
    "UnsupportedCriticalPayloadError",
    "connection closed for its octets",
    "unknown ESP SPI",
    "unknown IKE SPI",
    "unparseable message",
}
"""Reasons are ours: no peer can make the table of counters grow."""


def test_reasons_for_drops_are_a_closed_set() -> None:
    """RFC 9329 §10: a peer's words are never a key of a table of ours."""
    stage = Stage()
    first = stage.up()
    sa = stage.sa(EAST)
    for number in range(50):
        stage.feed(EAST, first, stage.sealed(WEST, [], message_id=100 + number))
    assert stage.dropped(EAST) == {"MessageIdError": 50}
    assert sa.answered.expected == 2
    stage.send(WEST, to_east())
    stage.settle()
    assert len(stage.east.delivered) == 1
    assert isinstance(first, int)
    assert ConnectionId(first) == first
