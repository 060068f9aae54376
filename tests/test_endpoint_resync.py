"""A stream out of step: the search for the next message, and its limits.

Source: RFC 9329 §10
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from iketcp.effects import ConnectionId
from iketcp.endpoint.frame_search import CANDIDATE_LIMIT, FrameSearch, signs_of
from iketcp.endpoint.tables import IkeSession
from iketcp.ike.header import Header
from iketcp.ike.payloads import UnknownPayload
from iketcp.mapping import MappingPolicy
from iketcp.registry import ExchangeType
from iketcp.stream import frame_esp, frame_ike
from pair import EAST, WEST, child_policy, ike_policy
from scenarios import Stage, to_east, to_west

ENABLED = MappingPolicy(resync_limit=3)
NOISE = bytes(range(1, 251))
SKIPPED = "octets before the next message"


def up(policy: MappingPolicy = ENABLED) -> tuple[Stage, ConnectionId]:
    """A session that has carried traffic both ways."""
    stage = Stage(mapping=policy)
    id = stage.up()
    stage.ping()
    return stage, id


def longer(frame: bytes, by: int) -> bytes:
    """Change the Length of a frame, as an attacker does."""
    length = int.from_bytes(frame[:2], "big") + by
    return length.to_bytes(2, "big") + frame[2:]


def expected(name: str, text: bytes) -> bytes:
    """The inner packet that reaches the other side."""
    return to_east(text) if name == WEST else to_west(text)


def spoil(frame: bytes) -> bytes:
    """Change the last octet of a frame."""
    return frame[:-1] + bytes([frame[-1] ^ 1])


def test_off_by_default() -> None:
    """[9329-10-resync]: the connection closes, the session lives."""
    stage, id = up(MappingPolicy())
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + stage.esp(WEST, b"next"))
    ((closed, reason),) = stage.closings(EAST)
    assert closed == id
    assert reason == "a message for a known SPI fails its integrity check"


@pytest.mark.parametrize("by", [-20, -4, -1, 1, 2, 60, 200])
@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_changed_length_costs_what_it_hides(name: str, by: int, step: int) -> None:
    """[9329-10-resync]: later messages arrive, on the same connection."""
    stage, id = up(replace(ENABLED, unknown_spi_limit=0, corrupt_limit=1))
    other = stage.other(name)
    texts = [b"number %d" % number for number in range(40)]
    frames = [stage.esp(name, text) for text in texts]
    octets = longer(frames[0], by) + b"".join(frames[1:])
    before = len(stage.side(other).delivered)
    for at in range(0, len(octets), step):
        stage.feed(other, id, octets[at : at + step])
    assert stage.closings(other) == []
    arrived = stage.side(other).delivered[before:]
    assert arrived == [expected(name, text) for text in texts][-len(arrived) :]
    assert len(arrived) >= 36
    assert stage.dropped(other)[SKIPPED] > 0
    stage.ping()


def test_what_comes_first_is_not_taken_twice() -> None:
    """[9329-10-resync]: the search begins behind what was understood."""
    stage, id = up()
    request = stage.sealed(WEST, [])
    good = [stage.esp(WEST, b"%d" % number) for number in range(70)]
    bad, last = stage.esp(WEST), stage.esp(WEST, b"last")
    stage.feed(EAST, id, request + b"".join(good) + longer(bad, 1) + last)
    assert stage.closings(EAST) == []
    texts = [b"%d" % number for number in range(70)] + [b"last"]
    assert stage.east.delivered[1:] == [to_east(text) for text in texts]
    assert len(stage.said(EAST)) == 3  # IKE_SA_INIT, IKE_AUTH and this once


@pytest.mark.parametrize("payloads", [[], [UnknownPayload(200, b"odd", True)]])
def test_an_ike_message_is_found_too(payloads: list[UnknownPayload]) -> None:
    """[9329-10-resync]: by marker and SPIs, if its ICV verifies, whatever it says."""
    stage, id = up()
    request = stage.sealed(WEST, list(payloads))
    before = len(stage.ike(EAST, id))
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + NOISE + spoil(request))
    assert len(stage.ike(EAST, id)) == before
    stage.feed(EAST, id, NOISE + request)
    assert len(stage.ike(EAST, id)) == before + 1
    assert stage.closings(EAST) == []
    stage.ping()


def test_an_ike_message_that_fails_begins_a_search() -> None:
    """[9329-10-resync]: the ESP packet behind it arrives."""
    stage, id = up()
    request = stage.sealed(WEST, [])
    stage.feed(EAST, id, spoil(request) + stage.esp(WEST, b"next"))
    assert stage.closings(EAST) == []
    assert stage.east.delivered[-1] == to_east(b"next")


def test_what_looks_like_ike_must_be_ours() -> None:
    """[9329-10-resync]: neither half an SPI nor an unprotected message is enough."""
    stage, id = up()
    sa = stage.sa(WEST)
    stranger = Header(
        spi_i=sa.spi_i[:4] + bytes(4),
        spi_r=sa.spi_r,
        exchange_type=ExchangeType.INFORMATIONAL,
        message_id=0,
        is_response=False,
        is_original_initiator=True,
        length=28,
    )
    ours = replace(stranger, spi_i=sa.spi_i)
    stage.feed(EAST, id, spoil(stage.esp(WEST)))
    for message in (stranger.encode(), ours.encode(), ours.encode()[:20]):
        stage.feed(EAST, id, frame_ike(message))
    search = stage.east.endpoint.tables.streams[id].search
    assert search is not None
    assert stage.closings(EAST) == []
    stage.feed(EAST, id, stage.esp(WEST, b"next"))
    assert stage.east.delivered[-1] == to_east(b"next")


def test_a_replay_is_not_the_next_message() -> None:
    """[9329-10-resync]: its sequence number is none that would be taken."""
    stage, id = up()
    old = stage.esp(WEST, b"old")
    stage.feed(EAST, id, old)
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + old * 100)
    assert stage.east.endpoint.tables.streams[id].search is not None
    stage.feed(EAST, id, stage.esp(WEST, b"new"))
    assert stage.east.delivered[-2:] == [to_east(b"old"), to_east(b"new")]


def test_searching_changes_nothing() -> None:
    """[9329-10-resync]: window and counters of the Child SA stay as they were."""
    stage, _ = up()
    esp = stage.child(EAST).esp
    packet = stage.esp(WEST)[2:]
    before = esp.counters, esp.used_octets, esp.used_packets
    assert [esp.is_genuine(packet) for _ in range(2)] == [True, True]
    assert not esp.is_genuine(spoil(packet))
    assert not esp.is_genuine(packet[:-1])
    assert not esp.is_genuine(packet[:8])
    assert (esp.counters, esp.used_octets, esp.used_packets) == before
    assert esp.open(packet) == to_east(b"esp")
    assert not esp.is_genuine(packet)
    later = stage.esp(WEST)[2:]
    esp.forget_keys()
    assert not esp.is_genuine(later)


@pytest.mark.parametrize("proposal", ["aes256gcm16-x25519-esn", "aes128-sha256-esn"])
def test_extended_sequence_numbers(proposal: str) -> None:
    """RFC 4303 App. A: the half that is not sent is inferred here, too."""
    children = (
        child_policy(proposal=proposal),
        child_policy(proposal=proposal, local="10.0.2.0/24", remote="10.0.1.0/24"),
    )
    stage = Stage(
        west=ike_policy(WEST, children=children[:1]),
        east=ike_policy(EAST, children=children[1:]),
        mapping=ENABLED,
    )
    id = stage.up()
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + NOISE + stage.esp(WEST, b"next"))
    assert stage.east.delivered == [to_east(b"next")]


def test_unknown_spis_begin_a_search_only_when_they_are_too_many() -> None:
    """[9329-6.1-few-unknown] [9329-10-resync]: a few are dropped as ever."""
    stage, id = up(replace(ENABLED, unknown_spi_limit=3))
    unknown = frame_esp(b"\x0f\xff\xff\xff" + NOISE)
    stream = stage.east.endpoint.tables.streams[id]
    stage.feed(EAST, id, unknown * 3)
    assert (stream.search, stream.searches) == (None, 0)
    stage.feed(EAST, id, unknown + stage.esp(WEST, b"next"))
    assert (stream.search, stream.searches) == (None, 1)
    assert stage.closings(EAST) == []
    assert stage.east.delivered[-1] == to_east(b"next")


# --- limits ---------------------------------------------------------------------------


def test_a_search_takes_so_many_octets() -> None:
    """[9329-10-limit]: then the connection closes, and the session lives."""
    stage, id = up(replace(ENABLED, resync_octets=10_000))
    bad = spoil(stage.esp(WEST))
    stage.feed(EAST, id, bad)
    stage.feed(EAST, id, bytes([0xFF]) * (9_999 - len(bad)))
    assert stage.closings(EAST) == []
    stage.feed(EAST, id, b"\xff")
    ((closed, reason),) = stage.closings(EAST)
    assert closed == id
    assert reason.endswith("fails its integrity check, and no next message is found")
    stage.break_for(WEST, id)
    stage.connect()
    stage.settle()
    stage.ping()


def test_a_search_tries_so_many_candidates() -> None:
    """[9329-10-limit]: whoever knows the SPI cannot keep us computing."""
    stage, id = up()
    spi = stage.child(EAST).esp.parameters.spi_in
    candidate = b"\x00\x50" + spi + bytes(3) + b"\x99"
    bad = spoil(stage.esp(WEST))
    stage.feed(EAST, id, bad + candidate * CANDIDATE_LIMIT)
    assert stage.closings(EAST) == []
    stage.feed(EAST, id, candidate * 2)
    assert len(stage.closings(EAST)) == 1


def test_a_false_candidate_does_not_hold_up_a_true_one() -> None:
    """[9329-10-resync]: its Length may promise as much as it likes."""
    stage, id = up()
    spi = stage.child(EAST).esp.parameters.spi_in
    false = b"\xff\xff" + spi + bytes(3) + b"\x99" + b"\0\0" + spi + bytes(3) + b"\x98"
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + false + stage.esp(WEST, b"next"))
    assert stage.east.delivered[-1] == to_east(b"next")


def test_a_connection_may_search_so_often() -> None:
    """[9329-10-limit]: under attack that goes on, closing is better."""
    stage, id = up(replace(ENABLED, resync_limit=2))
    for number in range(3):
        assert stage.closings(EAST) == []
        bad = spoil(stage.esp(WEST))
        stage.feed(EAST, id, bad + stage.esp(WEST, b"%d" % number))
    assert len(stage.closings(EAST)) == 1
    assert stage.east.delivered[1:] == [to_east(b"0"), to_east(b"1")]


def test_a_fatal_length_closes_all_the_same() -> None:
    """[9329-3.1-length] [9329-3.2-length]: RFC 9329 §3 leaves no choice."""
    stage, id = up()
    stage.feed(EAST, id, b"\0\x01" + stage.esp(WEST))
    assert [reason for _, reason in stage.closings(EAST)] == ["Length is 1"]


@pytest.mark.parametrize("step", [1, 10_000])
def test_behind_the_break_nothing_is_a_length(step: int) -> None:
    """[9329-3-segmentation]: however the octets arrive."""
    stage, id = up()
    octets = spoil(stage.esp(WEST)) + bytes(9) + stage.esp(WEST, b"next")
    for at in range(0, len(octets), step):
        stage.feed(EAST, id, octets[at : at + step])
    assert stage.closings(EAST) == []
    assert stage.east.delivered[-1] == to_east(b"next")


def test_strangers_are_not_searched_for() -> None:
    """[9329-10-limit]: nothing is held before a first valid message."""
    stage, _ = up(replace(ENABLED, corrupt_limit=1))
    stranger = stage.knock()
    stage.feed(EAST, stranger, frame_esp(b"\0") + stage.esp(WEST))
    assert [id for id, _ in stage.closings(EAST)] == [stranger]


def test_the_session_may_end_during_a_search() -> None:
    """[9329-10-limit]: then nothing is looked for any more."""
    stage, id = up()
    stage.feed(EAST, id, spoil(stage.esp(WEST)))
    stage.sa(EAST).close("as a test wants it")
    stage.run(EAST, stage.east.endpoint.time_passed(stage.now))
    stage.feed(EAST, id, b"more")
    assert [closed for closed, _ in stage.closings(EAST)] == [id]


def test_a_connection_that_breaks_takes_its_search_along() -> None:
    """[9329-6.1-partial]: what was found in part is completed from no other."""
    stage, id = up()
    frame = stage.esp(WEST, b"cut")
    stage.feed(EAST, id, spoil(stage.esp(WEST)) + frame[:30])
    stage.break_connection(id)
    second = stage.connect()
    stage.settle()
    stage.feed(EAST, second, frame[30:])
    assert to_east(b"cut") not in stage.east.delivered


# --- the parts ------------------------------------------------------------------------


class Everything:
    """Takes every candidate that ends in ``!``."""

    def is_plausible(self, packet: bytes) -> bool:
        """Any number but zero."""
        return packet[4:] != bytes(4)

    def is_genuine(self, message: bytes) -> bool:
        """By the last octet."""
        return message.endswith(b"!")


def test_candidates_may_overlap_and_be_cut_anywhere() -> None:
    """RFC 9329 §10: each of the 64-bit signs is seen once, however it arrives."""
    signs = signs_of([b"SPI.", b"PI.."], [b"ikespi__"])
    octets = b"--SPISPI......!\x00\x0eSPI.1234567!\0\x0b\0\0\0\0ikesp!"
    for step in (1, 2, 3, 100):
        search = FrameSearch(signs, 1000, "reason")
        found = b""
        for at in range(0, len(octets), step):
            found = found or search.feed(octets[at : at + step], Everything())
        assert found[:6] == b"\x00\x0eSPI."
        assert search.verdict is None


SIGN = b"\0\x10SPI.1234"
FALSE, TRUE = SIGN + bytes(6), SIGN + b"12345!"
LONG = b"\0\x40SPI.1234" + SIGN * 4 + bytes(13) + b"!"


@pytest.mark.parametrize(
    ("octets", "limit", "found_at"),
    [
        (FALSE * (CANDIDATE_LIMIT - 1) + TRUE, 2000, 16 * (CANDIDATE_LIMIT - 1)),
        (FALSE * CANDIDATE_LIMIT + TRUE, 2000, None),
        (FALSE * (CANDIDATE_LIMIT - 4) + LONG[:63] + b"." + TRUE, 2000, None),
        (FALSE * (CANDIDATE_LIMIT - 5) + LONG, 2000, 16 * (CANDIDATE_LIMIT - 5)),
        (FALSE * (CANDIDATE_LIMIT - 4) + LONG, 2000, None),
        (LONG[:10] + TRUE + LONG[26:], 2000, 10),
        (FALSE + TRUE, 35, 16),
        (FALSE + TRUE, 34, None),
    ],
    ids=range(8),
)
def test_a_search_ends_at_the_same_octet_however_it_arrives(
    octets: bytes, limit: int, found_at: int | None
) -> None:
    """[9329-3-segmentation] [9329-10-limit]: limits are places in the stream."""
    octets = b"..." + octets  # the first octets belong to the message that failed
    for step in (1, 7, len(octets)):
        search = FrameSearch(signs_of([b"SPI."], []), limit, "reason")
        at = 0
        found = b""
        while at < len(octets) and not found and search.verdict is None:
            found = search.feed(octets[at : at + step], Everything())
            at += step
        where = None if not found else len(search.octets) - len(found) - 3
        assert where == found_at
        assert found or search.verdict is not None


def test_an_spi_of_another_session_is_unknown() -> None:
    """[9329-6.1-share]: what does not belong on the connection is not found."""
    stage, id = up()
    child = stage.child(EAST)
    packet = stage.esp(WEST)
    stage.feed(EAST, id, spoil(stage.esp(WEST)))
    mine, child.session = child.session, IkeSession(is_tcp_originator=False)
    stage.feed(EAST, id, packet)
    assert stage.east.endpoint.tables.streams[id].search is not None
    child.session = mine
    del stage.east.endpoint.tables.children[child.esp.parameters.spi_in]
    stage.feed(EAST, id, packet)
    assert len(stage.east.delivered) == 1


def test_a_lost_ike_sa_finds_nothing() -> None:
    """[9329-10-resync]: an IKE SA without keys has no genuine message."""
    stage, _ = up()
    octets = stage.sealed(WEST, [])[6:]
    messages = stage.east.endpoint._ike
    session = stage.session(EAST)
    assert messages.is_genuine(session, octets)
    assert not messages.is_genuine(session, octets[:-1])
    assert not messages.is_genuine(session, spoil(octets))
    stage.sa(EAST).protection = None
    assert not messages.is_genuine(session, octets)
