"""Whatever the order, both sides agree in the end; whatever comes, it does no harm."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iketcp.ike.exchanges.create_child_sa import CreateChild
from iketcp.ike.exchanges.informational import (
    CheckLiveness,
    DeleteChild,
    DeleteIkeSa,
)
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.header import Header
from iketcp.ike.message import encode_message
from iketcp.ike.payloads import Payload, UnknownPayload
from iketcp.ike.sa import IkeSa
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX, frame_ike
from pair import EAST, WEST, Pair, Question
from test_exchange_followup_ke import FOR_EAST, FOR_WEST, TWO, sides

SIDES = st.sampled_from([WEST, EAST])
WISHES = st.sampled_from(
    ["rekey_child", "rekey_ike", "create", "delete_child", "liveness", "delete_ike"]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wish"), SIDES, WISHES),
        st.tuples(st.just("deliver"), SIDES, st.integers(1, 3)),
        st.tuples(st.just("cut"), SIDES, st.just(0)),
        st.tuples(st.just("wait"), SIDES, st.sampled_from([0.5, 3.0, 9.0])),
    ),
    max_size=40,
)


FURTHER = [("", ""), (TWO, TWO), (FOR_WEST, FOR_EAST)]
"""Additional key exchanges of west and of east. RFC 9370 §2.2.4."""


def current(pair: Pair, name: str) -> IkeSa | None:
    """The IKE SA on which a side begins exchanges now."""
    for session in pair.side(name).endpoint.tables.sessions():
        return session.ike
    return None


def wish(pair: Pair, name: str, what: str) -> None:
    """Let one side want something, if it has an IKE SA to want it on."""
    sa = current(pair, name)
    if sa is None or not sa.is_usable:
        return
    if what == "rekey_child":
        pair.rekey_child(name)
    elif what == "rekey_ike" and not sa.is_wanted(RekeyIkeSa):
        sa.want(RekeyIkeSa())
    elif what == "create" and len(sa.children) < 6:
        sa.want(CreateChild(sa.policy.children[0]))
    elif what == "delete_child" and len(sa.children) > 2:
        sa.want(DeleteChild(next(iter(sa.children))))
    elif what == "liveness":
        sa.want(CheckLiveness())
    elif what == "delete_ike" and pair.now > 30.0:
        sa.want(DeleteIkeSa())
    pair.run(name, pair.side(name).endpoint.time_passed(pair.now))


def calm_down(pair: Pair) -> None:
    """Deliver everything and let every retry and time-out pass."""
    for _ in range(150):
        if not pair.open and current(pair, WEST) is not None:
            pair.connect()
        pair.settle()
        pair.advance(1.0)


def has_crossed(pair: Pair) -> bool:
    """Tell whether either side still has an IKE SA."""
    return any(side.endpoint.tables.ike_sas for side in (pair.west, pair.east))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(0, 2**16), st.sampled_from(FURTHER))
def test_both_sides_agree_in_the_end(
    steps: list[tuple[str, str, object]], seed: int, words: tuple[str, str]
) -> None:
    """Random rekeys, deletions and cuts, delivered in random order. RFC 7296 §2.25."""
    pair = Pair(*sides(*words), seed=str(seed))
    pair.up()
    for step, name, argument in steps:
        if step == "wish":
            wish(pair, name, str(argument))
        elif step == "deliver":
            for _ in range(int(str(argument))):
                pair.deliver_from(name)
        elif step == "wait":
            # a request that nobody answers must not run out of time here
            pair.now = min(pair.now + float(str(argument)), 55.0)
            for side in (WEST, EAST):
                pair.run(side, pair.side(side).endpoint.time_passed(pair.now))
        elif pair.open:
            pair.break_connection(next(iter(pair.open)))
            if current(pair, WEST) is not None:
                pair.connect()
    calm_down(pair)
    if has_crossed(pair):
        pair.check_agreement(children=len(pair.ike(WEST).children))
        if pair.ike(WEST).children:
            pair.ping()
    else:
        pair.check_closed()


# --- garbage --------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), SIDES)
def test_garbage_in_the_place_of_ike_changes_nothing(octets: bytes, name: str) -> None:
    """It is dropped; the session is not touched. RFC 9329 §6.1."""
    pair = Pair()
    id = pair.up()
    pair.inject(name, id, octets)
    pair.break_connection(id) if id in pair.open else None
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()


@settings(max_examples=200, deadline=None)
@given(st.data(), SIDES)
def test_changed_messages_change_nothing(data: st.DataObject, name: str) -> None:
    """One octet is another: nothing verifies, the SAs stay. RFC 7296 §3.14."""
    pair = Pair()
    id = pair.up()
    messages = [
        octets
        for sender, _, octets in pair.sent
        if sender == name and octets != STREAM_PREFIX
    ]
    message = bytearray(data.draw(st.sampled_from(messages))[6:])
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    before = pair.ike(pair.other(name))
    pair.inject(name, id, bytes(message))
    assert pair.ike(pair.other(name)) is before
    pair.open.discard(id)
    pair.wire.clear()
    for side in (WEST, EAST):
        lost = pair.side(side).endpoint.connection_lost(id, "RST", pair.now)
        pair.run(side, lost)
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()


PAYLOADS = st.lists(
    st.builds(
        UnknownPayload,
        type=st.integers(33, 60).filter(lambda kind: kind not in (46, 53)),
        body=st.binary(max_size=80),
        critical=st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(PAYLOADS, st.sampled_from([34, 35, 36, 37, 43, 44, 99]), SIDES)
def test_authentic_nonsense_is_answered(
    payloads: list[Payload], exchange: int, name: str
) -> None:
    """Any payloads in any exchange: an answer, or the orderly end of both. §2.21.3."""
    pair = Pair()
    pair.up()
    other = pair.other(name)
    count = len(pair.said(other))
    pair.begin(name, Question(exchange, payloads))
    pair.settle()
    assert len(pair.said(other)) == count + 1
    pair.advance(0.0)
    assert bool(pair.west.endpoint.tables.ike_sas) == bool(
        pair.east.endpoint.tables.ike_sas
    )


@settings(max_examples=300, deadline=None)
@given(PAYLOADS, st.sampled_from(["rekey_child", "rekey_ike", "liveness"]), SIDES)
def test_authentic_nonsense_for_an_answer(
    payloads: list[Payload], what: str, name: str
) -> None:
    """Any payloads in a response: nothing unexpected is raised. RFC 7296 §2.21."""
    pair = Pair()
    pair.up()

    def change(header: Header, _: object) -> list[Payload] | None:
        return payloads if header.is_response and header.message_id < 3 else None

    pair.rewrite(pair.other(name), change)
    wish(pair, name, what)
    pair.settle()
    for _ in range(8):
        pair.advance(10.0)


@settings(max_examples=200, deadline=None)
@given(PAYLOADS, st.booleans())
def test_nonsense_in_ike_sa_init(payloads: list[Payload], is_response: bool) -> None:
    """In the clear: refused or dropped, nothing kept. RFC 7296 §2.21.1."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()

    def tap(sender: str, id: object, octets: bytes) -> bytes:
        is_meant = sender == (EAST if is_response else WEST)
        if not is_meant or octets[2:6] != NON_ESP_MARKER:
            return octets
        header = Header.decode(octets[6:])
        return frame_ike(encode_message(header, payloads))

    pair.tap = tap
    pair.settle()
    pair.advance(61.0)
    assert not pair.west.endpoint.tables.ike_sas
    assert not pair.east.endpoint.tables.ike_sas
