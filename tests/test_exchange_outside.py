"""Messages that belong to no IKE SA, or are not protected as they should be.

Nobody is told anything that he could use against somebody else, no state changes, and a
hint that something is wrong leads to no more than a question.

What a side says that has lost an IKE SA and can prove it, is in
:mod:`test_exchange_crash_detection`; how many such messages a TCP connection may carry,
in :mod:`test_endpoint_connections`.

Source: RFC 7296 §2.21.4
"""

import pytest

from datagram_pair import ENCAPSULATION, IKE, DatagramPair
from iketcp.endpoint.ike_messages import ANSWERS_PER_SECOND
from iketcp.endpoint.rate_limit import RateLimit
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.ike.header import Header
from iketcp.ike.message import encode_message
from iketcp.ike.payloads import NotifyPayload, Payload, SkPayload, UnknownPayload
from iketcp.ike.upkeep import HINT_SECONDS
from iketcp.registry import ExchangeType, NotifyType, PayloadType
from iketcp.stream import NON_ESP_MARKER, frame_ike
from pair import EAST, WEST, Pair, ike_policy

BOTH = [WEST, EAST]
UNKNOWN_SPI = NotifyPayload(NotifyType.INVALID_IKE_SPI)
INVALID_SPI = NotifyPayload(NotifyType.INVALID_SPI, b"\1\2\3\4")
STRANGE = UnknownPayload(200, b"", critical=True)
BROKEN = UnknownPayload(PayloadType.NOTIFY, b"\0")
EXCHANGES = [
    ExchangeType.IKE_AUTH,
    ExchangeType.CREATE_CHILD_SA,
    ExchangeType.INFORMATIONAL,
    ExchangeType.IKE_SA_INIT,
]


def stray(exchange: int, is_response: bool, is_original_initiator: bool) -> bytes:
    """A message of an IKE SA that nobody has."""
    header = Header(
        b"nobody's",
        b"no one's",
        exchange,
        1,
        is_response=is_response,
        is_original_initiator=is_original_initiator,
    )
    return encode_message(header, [SkPayload(0, bytes(40))])


def in_the_clear(pair: Pair | DatagramPair, name: str, is_response: bool) -> bytes:
    """What somebody says to a side who has seen the SPIs: its peer were gone."""
    sa = pair.ike(name)
    header = Header(
        sa.spi_i,
        sa.spi_r,
        ExchangeType.INFORMATIONAL,
        sa.next_message_id,
        is_response=is_response,
        is_original_initiator=not sa.is_original_initiator,
    )
    return encode_message(header, [UNKNOWN_SPI])


def arrive(pair: DatagramPair, name: str, octets: bytes) -> None:
    """Let a datagram come from where the peer is."""
    peer, at = pair.addresses[name == WEST], ENCAPSULATION
    pair.arrive(name, (peer, at), at, NON_ESP_MARKER + octets)


# --- an IKE SA that is not there ------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_message_of_an_unknown_ike_sa_is_not_answered(
    name: str, exchange: ExchangeType
) -> None:
    """A response must not be; a request may be, and is not. RFC 7296 §2.21.4, §1.5."""
    tcp, udp = Pair(), DatagramPair()
    id = tcp.up()
    udp.up()
    counts = len(tcp.sent), len(udp.sent)
    for is_response in (False, True):
        for is_initiator in (False, True):
            octets = stray(exchange, is_response, is_initiator)
            endpoint = tcp.side(name).endpoint
            tcp.run(name, endpoint.octets_received(id, frame_ike(octets), tcp.now))
            arrive(udp, name, octets)
    for pair in (tcp, udp):
        assert pair.side(name).endpoint.counters.dropped == {"unknown IKE SPI": 4}
        pair.ping()
    assert [e for e in tcp.sent[counts[0] :] if e[2][2:6] == NON_ESP_MARKER] == []
    assert [d for d in udp.sent[counts[1] :] if d.octets[:4] == NON_ESP_MARKER] == []


@pytest.mark.parametrize(
    "spis",
    [bytes(16), b"nobody's" + bytes(8), b"random SPIs here"],
    ids=["zero", "one", "both"],
)
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("chain", [[INVALID_SPI], [INVALID_SPI, STRANGE], [BROKEN]])
def test_invalid_spi_in_the_clear_is_not_answered(
    name: str, spis: bytes, chain: list[Payload]
) -> None:
    """It looks like a request and is none; an answer might have one. §1.5, §2.21.4."""
    pair = DatagramPair()
    pair.up()
    before = len(pair.sent)
    octets = encode_message(
        Header(spis[:8], spis[8:], ExchangeType.INFORMATIONAL, 0, False, True), chain
    )
    arrive(pair, name, octets)
    assert len(pair.sent) == before
    assert sum(pair.dropped(name).values()) == 1
    pair.check_up()
    pair.ping()


# --- a message in the clear about one that is there -----------------------------------


@pytest.mark.parametrize("is_response", [True, False])
@pytest.mark.parametrize("name", BOTH)
def test_invalid_ike_spi_in_the_clear_changes_nothing(
    name: str, is_response: bool
) -> None:
    """It may be a forgery: no answer, and the SAs stay. RFC 7296 §2.21.4."""
    pair = DatagramPair()
    pair.up()
    before = len(pair.sent)
    arrive(pair, name, in_the_clear(pair, name, is_response))
    assert pair.dropped(name) == {"IntegrityError": 1}
    assert len(pair.sent) == before
    pair.check_up()
    pair.ping()


@pytest.mark.parametrize("name", BOTH)
def test_over_tcp_it_costs_the_connection(name: str) -> None:
    """It fails the check of a message for a known IKE SA. RFC 9329 §6.1."""
    pair = Pair()
    id = pair.up()
    octets = frame_ike(in_the_clear(pair, name, is_response=True))
    pair.run(name, pair.side(name).endpoint.octets_received(id, octets, pair.now))
    assert id not in pair.open
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("name", BOTH)
def test_it_is_a_hint_to_ask_whether_the_peer_lives(name: str) -> None:
    """It does, and says so: no more hints are taken for a while. §2.21.4, §2.4."""
    pair = DatagramPair()
    pair.up()
    for _ in range(3):
        pair.advance(HINT_SECONDS)
        count = len(pair.side(name).said())
        for _ in range(10):
            arrive(pair, name, in_the_clear(pair, name, is_response=True))
        pair.settle()
        arrive(pair, name, in_the_clear(pair, name, is_response=True))
        assert len(pair.side(name).said()) == count + 1
        assert pair.side(name).said()[-1].endswith(" request: ")
    assert pair.dropped(name) == {"IntegrityError": 33}
    pair.check_up()
    pair.ping()


def test_a_peer_that_is_gone_is_found_out_sooner() -> None:
    """Nobody answers the question, and so the IKE SA ends. RFC 7296 §2.4."""
    pair = DatagramPair(ike_policy(WEST, liveness_seconds=None))
    pair.up()
    pair.is_lost = lambda datagram: datagram.sender == EAST
    pair.advance(HINT_SECONDS)
    arrive(pair, WEST, in_the_clear(pair, WEST, is_response=True))
    pair.advance(400.0)
    assert pair.west.closed_because() == "no answer for 300 s"


def test_no_question_while_one_is_under_way() -> None:
    """Its answer will tell. RFC 7296 §2.3."""
    pair = DatagramPair()
    pair.up()
    pair.advance(HINT_SECONDS)
    pair.ike(WEST).want(CheckLiveness())
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    count = len(pair.west.said())
    arrive(pair, WEST, in_the_clear(pair, WEST, is_response=True))
    pair.settle()
    assert len(pair.west.said()) == count
    pair.check_up()


# --- how often ------------------------------------------------------------------------


def test_a_limited_number_each_second() -> None:
    """And no more at once after a long pause."""
    limit = RateLimit(5)
    for now in (0.0, 1.0, 100.0):
        assert [limit.allows(now) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limit.allows(100.0 + tenth / 10) for tenth in range(1, 11)].count(True) == 5
    assert not limit.allows(50.0)  # a clock that is put back gives nothing
    assert limit.allows(51.0)


def first_requests(pair: DatagramPair) -> tuple[bytes, bytes]:
    """An IKE_SA_INIT request, and one that cannot be read."""
    pair.begin()
    request = pair.wire.popleft().octets
    return request, request[:30] + b"\xff\xff" + request[32:]


@pytest.mark.parametrize("which", [0, 1], ids=["repeated", "malformed"])
def test_strangers_are_answered_so_often_and_no_more(which: int) -> None:
    """Whoever's address they use is not flooded. RFC 7296 §2.21.4."""
    pair = DatagramPair()
    requests = first_requests(pair)
    source = pair.addresses[0], IKE
    for _ in range(2 * ANSWERS_PER_SECOND):
        pair.arrive(EAST, source, IKE, requests[which])
    is_new = 1 if which == 0 else 0  # the first request begins an IKE SA
    assert len(pair.of(EAST)) == ANSWERS_PER_SECOND + is_new
    reason = "message of a stranger, beyond the limit"
    assert pair.dropped(EAST)[reason] == ANSWERS_PER_SECOND - is_new
    pair.now += 1.0
    pair.arrive(EAST, source, IKE, requests[which])
    assert len(pair.of(EAST)) == ANSWERS_PER_SECOND + is_new + 1


def test_peers_are_answered_all_the_same() -> None:
    """What is protected is not limited. RFC 7296 §2.1."""
    pair = DatagramPair()
    pair.up()
    malformed = first_requests(DatagramPair(seed="another"))[1]
    for _ in range(2 * ANSWERS_PER_SECOND):
        pair.arrive(EAST, (pair.addresses[0], IKE), IKE, malformed)
    pair.advance(0.0)
    pair.ike(WEST).want(CheckLiveness())
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    pair.settle()
    assert pair.east.said()[-1] == "INFORMATIONAL 2 response: "
    pair.ping()
