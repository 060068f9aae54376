"""What a side has said comes back to it: nothing happens, and the tunnel lives on.

A reflected message has the sender's own flag Initiator, and the SPI of the other side
where its own is looked for; if somebody changes that, its own keys do not open it, for
each direction has keys of its own. Whatever has the flag Response draws no answer.

Over TCP a few such messages are put up with, too many in a row close the connection,
and so does the first that fails its check; the session goes on over the next one.

Source: RFC 7296 §2.14
Source: RFC 7296 §2.15
Source: RFC 7296 §3.1
Source: RFC 9329 §6.1
"""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacker import Change, flag, header
from datagram_pair import ENCAPSULATION, IKE, DatagramPair
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.environment import ScriptedEntropy
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.header import Header
from iketcp.ike.identity import Identity
from iketcp.ike.states import IkeState
from iketcp.registry import ExchangeType
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX, frame_ike
from pair import EAST, SECRET, WEST, Pair, ike_policy
from scenarios import Stage

BOTH = [WEST, EAST]
RESPONSE, INITIATOR = 0x20, 0x08
FLAGS = {
    "as it is": flag(0),
    "as a response or request": flag(RESPONSE),
    "as of the other side": flag(INITIATOR),
    "as the other side's answer or question": flag(RESPONSE | INITIATOR),
}
"""What somebody may write into the header. It is authenticated: nothing fits then."""


# --- the life of a session, over TCP --------------------------------------------------


class Scene(Stage):
    """A stage on which one asks for IKE SAs, as of a pair, and not for messages."""

    ike = Pair.ike


def lived() -> Scene:
    """A session in which both sides have used every exchange and sent ESP.

    The IKE SA was rekeyed by east: it is the original initiator of the one in use.
    """
    stage = Scene()
    stage.up()
    for name in BOTH:
        stage.begin(name, CheckLiveness())
        stage.settle()
        stage.rekey_child(name)
        stage.settle()
    stage.ping()
    stage.rekey_ike(EAST)
    stage.settle()
    stage.begin(WEST, CheckLiveness())
    stage.settle()
    stage.ping()
    assert not stage.ike(WEST).is_original_initiator
    return stage


def frames(stage: Scene, name: str) -> list[bytes]:
    """What a side has said, without the stream prefix."""
    return [o for sender, _, o in stage.sent if sender == name and o != STREAM_PREFIX]


def is_ike(frame: bytes) -> bool:
    """Tell IKE from ESP."""
    return frame[2:6] == NON_ESP_MARKER


def title(frame: bytes) -> str:
    """Name a frame: "IKE_AUTH request"."""
    if not is_ike(frame):
        return "ESP"
    head = Header.decode(frame[6:])
    kind = "response" if head.is_response else "request"
    return f"{ExchangeType(head.exchange_type).name} {kind}"


KINDS = {
    name: {title(frame): number for number, frame in enumerate(frames(lived(), name))}
    for name in BOTH
}
"""One frame of each kind that a side sends, the newest, by its place."""


def test_everything_is_among_what_is_reflected() -> None:
    """Each exchange, in both directions but for the initial ones, and ESP."""
    later = ("CREATE_CHILD_SA", "INFORMATIONAL")
    common = {
        f"{exchange} {kind}" for exchange in later for kind in ("request", "response")
    }
    first = ("IKE_SA_INIT", "IKE_AUTH")
    assert KINDS[WEST].keys() == common | {f"{x} request" for x in first} | {"ESP"}
    assert KINDS[EAST].keys() == common | {f"{x} response" for x in first} | {"ESP"}


REFLECTED = [(name, kind) for name in BOTH for kind in KINDS[name]]


@pytest.mark.parametrize(("name", "kind"), REFLECTED)
def test_on_the_same_connection_it_is_dropped(name: str, kind: str) -> None:
    """Counted, and nothing more. RFC 7296 §3.1, RFC 9329 §6.1."""
    stage = lived()
    (id,) = stage.open
    before = len(stage.sent)
    stage.feed(name, id, frames(stage, name)[KINDS[name][kind]])
    reason = "unknown ESP SPI" if kind == "ESP" else "unknown IKE SPI"
    assert stage.dropped(name) == {reason: 1}
    assert len(stage.sent) == before
    assert id in stage.open
    stage.check_agreement()
    stage.ping()


@pytest.mark.parametrize("kind", KINDS[EAST])
def test_on_another_connection_it_moves_nothing(kind: str) -> None:
    """The session stays where it is, and the stranger gets no word. RFC 9329 §6.1."""
    stage = lived()
    (id,) = stage.open
    before = len(stage.sent)
    stranger = stage.knock()
    stage.feed(EAST, stranger, frames(stage, EAST)[KINDS[EAST][kind]])
    assert sum(stage.dropped(EAST).values()) == 1
    assert len(stage.sent) == before
    assert stage.session(EAST).current == id
    assert not stage.east.traces("mapping-moved")
    stage.ping()


@pytest.mark.parametrize("kind", KINDS[WEST])
def test_an_initiator_that_reaches_a_mirror_waits_for_its_peer(kind: str) -> None:
    """Its new connection ends somewhere else; the next one may not. RFC 9329 §6.1."""
    stage = lived()
    (id,) = stage.open
    octets = frames(stage, WEST)[KINDS[WEST][kind]]
    stage.break_connection(id)
    mirror = stage.connect()
    stage.lose_waiting()
    stage.feed(WEST, mirror, octets)
    assert sum(stage.dropped(WEST).values()) == 1
    stage.break_connection(mirror)
    stage.connect()
    stage.settle()
    stage.check_agreement()
    stage.ping()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("kind", ["INFORMATIONAL request", "ESP"])
def test_too_many_close_the_connection_and_nothing_else(name: str, kind: str) -> None:
    """[9329-6.1-corrupt] [9329-6.1-few-unknown]: the SA is the next connection's."""
    stage = lived()
    (id,) = stage.open
    octets = frames(stage, name)[KINDS[name][kind]]
    for number in range(20):
        assert (id in stage.open) == (number < (17 if kind == "ESP" else 16))
        stage.feed(name, id, octets)
    (closed,) = stage.closings(name)
    assert "in a row" in closed[1]
    stage.connect()
    stage.settle()
    stage.check_agreement()
    stage.ping()


@pytest.mark.parametrize("change", FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("name", BOTH)
def test_a_request_under_way_is_not_answered_by_itself(
    name: str, change: Change
) -> None:
    """Before the peer can answer: dropped, and then the true answer comes. §2.14, §2.2.

    With the flag of the other side it finds its IKE SA, and fails its check there: that
    closes the connection, and the request is repeated over the next. RFC 9329 §6.1.
    """
    stage = lived()
    (id,) = stage.open
    asked = stage.begin(name, CheckLiveness())
    ((_, _, frame),) = stage.wire
    stage.feed(name, id, frame_ike(change(frame[6:])))
    assert stage.sa(name).sent is not None
    is_found = Header.decode(change(frame[6:])).is_original_initiator != (
        Header.decode(frame[6:]).is_original_initiator
    )
    reason = "IntegrityError" if is_found else "unknown IKE SPI"
    assert stage.dropped(name)[reason] == 1
    assert (id in stage.open) != is_found
    if is_found:
        stage.connect()
    stage.settle()
    assert stage.sa(name).exchange is not asked
    stage.check_agreement()
    stage.ping()


@given(
    name=st.sampled_from(BOTH),
    places=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    change=st.sampled_from(list(FLAGS.values())),
)
def test_whatever_comes_back_draws_no_answer(
    name: str, places: list[int], change: Change
) -> None:
    """Any of it, with any flags, in any order; a response above all. RFC 7296 §3.1."""
    stage = lived()
    (id,) = stage.open
    said, before = frames(stage, name), len(stage.sent)
    for place in places:
        frame = said[place % len(said)]
        stage.feed(name, id, frame_ike(change(frame[6:])) if is_ike(frame) else frame)
    assert len(stage.sent) == before
    if id not in stage.open:
        stage.connect()
        stage.settle()
    stage.check_agreement()
    stage.ping()


# --- the initial exchanges ------------------------------------------------------------


def test_its_own_first_messages_are_no_session() -> None:
    """A mirror that makes answers of them: with its own keys west opens nothing. §2.14.

    The mirror writes an SPI, and has west make keys of its own nonce and its own public
    value twice, which the mirror does not know.
    """
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    as_answer = header(spi_r=b"a mirror", is_response=True, is_original_initiator=False)
    for _ in range(2):
        octets = pair.sent[-1][2]
        answer = frame_ike(as_answer(octets[6:]))
        pair.run(WEST, pair.west.endpoint.octets_received(id, answer, pair.now))
    assert pair.said(WEST)[1].startswith("IKE_AUTH 1 request: ")
    assert pair.west.endpoint.counters.dropped["IntegrityError"] == 1
    assert pair.ike(WEST).state is IkeState.IKE_AUTH_SENT
    assert not pair.west.traces("ike-sa-established")


@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_a_session_begins_all_the_same(steps: int) -> None:
    """Each of the first four messages goes back to its sender, too. RFC 7296 §3.1."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    for _ in range(steps - 1):
        pair.deliver()
    sender, _, octets = pair.wire[0]
    endpoint = pair.side(sender).endpoint
    pair.run(sender, endpoint.octets_received(id, octets, pair.now))
    assert endpoint.counters.dropped == {"unknown IKE SPI": 1}
    pair.settle()
    pair.check_agreement()
    pair.ping()


def test_nobody_has_a_session_with_itself() -> None:
    """A node of both roles, led to itself, is not whom it wants. RFC 7296 §2.15."""
    itself = Identity.parse("west.example")
    secrets = {itself: SECRET, Identity.parse("east.example"): SECRET}
    pair = Pair(
        ike_policy(WEST, secrets=secrets),
        ike_policy(EAST, local_identity=itself, remote_identity=None, secrets=secrets),
    )
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    pair.settle()
    closed = pair.west.traces("ike-sa-closed")[-1]["reason"]
    assert closed == "authentication failed: the peer is west.example, not east.example"
    pair.check_closed()


# --- the same SPIs on both sides ------------------------------------------------------


def with_equal_spis() -> Scene:
    """Both sides have chosen the same SPIs, so these do not tell who has sent what."""
    stage = Scene()
    for side in (stage.west, stage.east):
        fixed = {"ike.spi": b"same SPI", "esp.spi": b"same"}
        side.endpoint.context.entropy = ScriptedEntropy(side.name, fixed)
    stage.up()
    sa = stage.sa(WEST)
    assert sa.spi_i == sa.spi_r
    assert (
        stage.child(WEST).esp.parameters.spi_in
        == stage.child(EAST).esp.parameters.spi_in
    )
    return stage


@pytest.mark.parametrize("name", BOTH)
def test_esp_with_the_same_spi_both_ways_fails_its_check(name: str) -> None:
    """Each direction has keys of its own. RFC 7296 §2.17, RFC 9329 §6.1."""
    stage = with_equal_spis()
    (id,) = stage.open
    stage.feed(name, id, stage.esp(name))
    assert stage.dropped(name)["ESP integrity"] == 1
    assert stage.side(name).delivered == []
    assert id not in stage.open
    stage.connect()
    stage.settle()
    stage.check_agreement()
    stage.ping()


@pytest.mark.parametrize("name", BOTH)
def test_ike_with_the_same_spi_both_ways_has_the_wrong_flag(name: str) -> None:
    """The flag Initiator says whose it is. RFC 7296 §3.1."""
    stage = with_equal_spis()
    (id,) = stage.open
    stage.begin(name, CheckLiveness())
    stage.feed(name, id, stage.wire[0][2])
    assert stage.dropped(name) == {"unknown IKE SPI": 1}
    stage.settle()
    stage.check_agreement()
    stage.ping()


# --- over UDP -------------------------------------------------------------------------


def lived_over_udp() -> DatagramPair:
    """The same with datagrams; IKE_AUTH and what follows it goes in fragments."""
    pair = DatagramPair(datagrams=DatagramPolicy(fragment_size=150))
    pair.up()
    for name in BOTH:
        pair.ike(name).want(CheckLiveness())
        pair.run(name, pair.side(name).endpoint.rekey_child("net", pair.now))
        pair.settle()
    pair.ping()
    return pair


def check_unmoved(pair: DatagramPair, homes: list[object], sent: int) -> None:
    """Check that nothing was sent, nobody moved, and the tunnel lives."""
    assert len(pair.sent) == sent
    assert [pair.session(name).udp_path for name in BOTH] == homes
    pair.check_up()
    pair.ping()


ELSEWHERE = ip_address("198.51.100.7"), 4500


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("is_from_peer", [True, False])
@pytest.mark.parametrize("change", FLAGS.values(), ids=FLAGS)
def test_every_datagram_that_comes_back_is_dropped(
    name: str, is_from_peer: bool, change: Change
) -> None:
    """Whole messages, fragments, ESP; nothing closes, and nobody moves. §3.1, §2.23."""
    pair = lived_over_udp()
    homes, said = [pair.session(n).udp_path for n in BOTH], pair.of(name)
    before = len(pair.sent)
    for datagram in said:
        port, octets = datagram.source[1], datagram.octets
        if port == IKE:
            octets = change(octets)
        elif octets[:4] == NON_ESP_MARKER:
            octets = NON_ESP_MARKER + change(octets[4:])
        source = datagram.target if is_from_peer else ELSEWHERE
        pair.arrive(name, source, port, octets)
    dropped = pair.dropped(name)
    assert sum(dropped.values()) == len(said)
    assert dropped["unknown ESP SPI"] == 1
    assert dropped.keys() <= {
        "unknown ESP SPI",
        "unknown IKE SPI",
        "IntegrityError",
        "MessageIdError",
        "FragmentError",
    }
    check_unmoved(pair, homes, before)


@pytest.mark.parametrize("name", BOTH)
def test_a_request_under_way_is_not_answered_by_itself_over_udp(name: str) -> None:
    """The true answer is waited for, whatever its flags say. RFC 7296 §2.14."""
    pair = lived_over_udp()
    pair.ike(name).want(CheckLiveness())
    pair.run(name, pair.side(name).endpoint.time_passed(pair.now))
    (request,) = pair.wire
    for change in FLAGS.values():
        octets = NON_ESP_MARKER + change(request.octets[4:])
        pair.arrive(name, request.target, ENCAPSULATION, octets)
    assert sum(pair.dropped(name).values()) == len(FLAGS)
    assert pair.ike(name).sent is not None
    pair.settle()
    assert pair.ike(name).sent is None
    pair.check_up()
    pair.ping()
