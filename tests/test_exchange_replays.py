"""What was said before is said again, or in disorder: nothing happens twice.

A whole session is recorded, and every message of it comes again: to its receiver while
the session lives, when it is over, and when the receiver has restarted. A request that
was answered last gets its answer once more, octet for octet; nothing else gets a word.

The rules for one message at a time are in :mod:`test_exchange_informational`, those
for one fragment in :mod:`test_exchange_fragments`, and how replays fail to move a
session in :mod:`test_mapping_scenarios` and :mod:`test_datagram_scenarios`.

Source: RFC 4303 §3.4.3
Source: RFC 7296 §2.1
Source: RFC 7296 §2.2
Source: RFC 7383 §2.6
"""

import pytest

from datagram_pair import DatagramPair
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.ike.exchanges.informational import CheckLiveness
from iketcp.stream import NON_ESP_MARKER, STREAM_PREFIX
from pair import EAST, WEST, Pair, ipv4_packet
from scenarios import Stage

BOTH = [WEST, EAST]
PEER = {WEST: EAST, EAST: WEST}
SMALL = DatagramPolicy(fragment_size=150)
"""So small that IKE_AUTH and CREATE_CHILD_SA go in fragments."""


def live(pair: Pair | DatagramPair) -> None:
    """Let both sides use every exchange, and send ESP."""
    for side in (pair.west, pair.east):
        side.endpoint.tables.sessions()[0].ike.want(CheckLiveness())
        pair.run(side.name, side.endpoint.time_passed(pair.now))
        pair.settle()
        pair.run(side.name, side.endpoint.rekey_child("net", pair.now))
        pair.settle()
    pair.ping()


def tables(pair: Pair | DatagramPair, name: str) -> list[tuple[object, ...]]:
    """What a replay must not change: the SAs of a side, and their counters."""
    held = pair.side(name).endpoint.tables
    return [
        (
            sa.spi_i,
            sa.spi_r,
            sa.state,
            sa.next_message_id,
            sa.answered.expected,
            sorted(sa.children),
            session.current,
            session.udp_path,
        )
        for sa, session in held.ike_sas.values()
    ]


# --- while the session lives ----------------------------------------------------------


def frames(pair: Pair, name: str) -> list[bytes]:
    """What a side has sent over TCP, without the prefix."""
    return [o for n, _, o in pair.sent if n == name and o != STREAM_PREFIX]


@pytest.mark.parametrize("sender", BOTH)
def test_over_tcp_only_the_last_request_is_answered_again(sender: str) -> None:
    """With the stored octets, and executed once. RFC 7296 §2.1, RFC 9329 §6.1.

    But for the IKE_SA_INIT response: on an IKE SA that has keys it fails its check.
    """
    pair = Pair()
    id = pair.up()
    live(pair)
    receiver = PEER[sender]
    said, before, count = frames(pair, sender), tables(pair, receiver), len(pair.sent)
    if sender == EAST:
        del said[0]
    delivered = len(pair.side(receiver).delivered)
    for frame in said:
        endpoint = pair.side(receiver).endpoint
        pair.run(receiver, endpoint.octets_received(id, frame, pair.now))
    assert tables(pair, receiver) == before
    assert len(pair.side(receiver).delivered) == delivered
    (again,) = pair.sent[count:]
    assert again[0] == receiver
    assert again in pair.sent[:count]
    pair.wire.clear()
    pair.check_agreement()
    pair.ping()


def test_an_old_ike_sa_init_response_closes_the_connection_and_nothing_else() -> None:
    """TCP repeats nothing, so somebody else has the stream. RFC 9329 §6.1."""
    pair = Pair()
    id = pair.up()
    before = tables(pair, WEST)
    answer = frames(pair, EAST)[0]
    pair.run(WEST, pair.west.endpoint.octets_received(id, answer, pair.now))
    assert id not in pair.open
    assert pair.west.endpoint.counters.dropped["IntegrityError"] == 1
    assert tables(pair, WEST)[0][:6] == before[0][:6]
    pair.connect()
    pair.settle()
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize("sender", BOTH)
@pytest.mark.parametrize("datagrams", [DatagramPolicy(), SMALL], ids=["whole", "small"])
def test_over_udp_only_the_last_request_is_answered_again(
    sender: str, datagrams: DatagramPolicy
) -> None:
    """In its fragments, if it had some: only the first asks for it. RFC 7383 §2.6.1."""
    pair = DatagramPair(datagrams=datagrams)
    pair.up()
    live(pair)
    receiver = PEER[sender]
    said, before, count = pair.of(sender), tables(pair, receiver), len(pair.sent)
    delivered = len(pair.side(receiver).delivered)
    for datagram in said:
        pair.hand_over(datagram)
    assert tables(pair, receiver) == before
    assert len(pair.side(receiver).delivered) == delivered
    again = pair.sent[count:]
    assert again
    assert {datagram.sender for datagram in again} == {receiver}
    assert all(datagram in pair.sent[:count] for datagram in again)
    pair.wire.clear()
    pair.check_up()
    pair.ping()


@pytest.mark.parametrize("seed", range(8))
def test_every_datagram_twice_and_fragments_last_first(seed: int) -> None:
    """The session comes up and lives as if nothing were. RFC 7383 §2.6, §2.1, §2.2."""
    pair = DatagramPair(datagrams=SMALL, seed=str(seed))

    def stir() -> None:
        """Turn round what waits, and send it twice."""
        for _ in range(100):
            if not pair.wire:
                return
            waiting = list(pair.wire)
            pair.wire.clear()
            for datagram in reversed(waiting + waiting):
                pair.hand_over(datagram)
        raise AssertionError("the two never stop talking")

    pair.begin()
    stir()
    pair.check_up()
    for side in (pair.west, pair.east):
        pair.run(side.name, side.endpoint.rekey_child("net", pair.now))
        stir()
    pair.check_up()
    packets = [ipv4_packet("10.0.1.1", "10.0.2.1", b"%d" % n) for n in range(3)]
    pair.run(WEST, pair.west.endpoint.inner_packets(packets))
    stir()
    assert sorted(pair.east.delivered) == sorted(packets)
    assert len(pair.east.traces("ike-sa-established")) == 1


# --- when it is over ------------------------------------------------------------------


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_recorded_session_cannot_be_had_again(is_restarted: bool) -> None:
    """To IKE_SA_INIT there is another answer, and other keys with it. RFC 7296 §2.10.

    Whether east remembers the session or not, nothing after that means anything to it.
    """
    stage = Stage()
    stage.up()
    live(stage)
    stage.run(WEST, stage.west.endpoint.delete_all(stage.now))
    stage.settle()
    said, old_answer = frames(stage, WEST), frames(stage, EAST)[0]
    if is_restarted:
        stage = Stage(seed="after the restart")
    established = len(stage.east.traces("ike-sa-established"))
    delivered = len(stage.east.delivered)
    id, before = stage.knock(), len(stage.sent)
    for frame in said:
        stage.feed(EAST, id, frame)
    ((name, _, answer),) = stage.sent[before:]
    assert name == EAST
    assert answer[2:6] == NON_ESP_MARKER
    assert answer != old_answer
    assert len(stage.east.traces("ike-sa-established")) == established
    assert len(stage.east.delivered) == delivered
    stage.advance(60.0)
    assert not stage.east.endpoint.tables.ike_sas


def test_a_recorded_session_cannot_be_had_again_over_udp() -> None:
    """The same; the DELETE that ended it is answered again for a while. §2.1."""
    pair = DatagramPair()
    pair.up()
    live(pair)
    pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
    pair.settle()
    said, before = pair.of(WEST), len(pair.sent)
    delivered = len(pair.east.delivered)
    for datagram in said:
        pair.hand_over(datagram)
    (answer,) = pair.sent[before:]
    assert answer in pair.sent[:before]
    assert pair.dropped(EAST)["IKE_SA_INIT that was answered long ago"] == 1
    ike = [d for d in said[1:] if d.octets[:4] == NON_ESP_MARKER]
    assert pair.dropped(EAST)["unknown IKE SPI"] == len(ike) - 1  # all but the DELETE
    assert len(pair.east.traces("ike-sa-established")) == 1
    assert len(pair.east.delivered) == delivered
    pair.wire.clear()
    pair.advance(60.0)
    assert not pair.east.endpoint.tables.ike_sas
