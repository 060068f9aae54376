"""Inner packets out, ESP packets in. Source: RFC 4303 §3, RFC 9329 §6.8."""

from dataclasses import replace

import pytest

from iketcp.effects import DeliverInner, Transmit
from iketcp.endpoint.data_plane import SMALLEST_IPV6_MTU
from iketcp.esp.mtu import inner_mtu
from iketcp.esp.packet import packet_size
from iketcp.ike.policy import IkePolicy
from iketcp.offload.rows import PacketRows
from iketcp.stream import MAX_MESSAGE, MessageKind
from pair import EAST, WEST, child_policy, ike_policy, ipv4_packet
from scenarios import Stage, ipv6_packet, to_east, to_west


def may_be_fragmented(packet: bytes) -> bytes:
    """The same IPv4 packet with DF clear."""
    return packet[:6] + b"\0" + packet[7:]


def sent_esp(stage: Stage, name: str) -> int:
    """How many ESP packets a side has sent."""
    id = stage.session(name).current
    assert id is not None
    return len(stage.messages(name, id, MessageKind.ESP))


def six(side: str) -> IkePolicy:
    """A policy with IPv6 inside."""
    local, remote = "2001:db8:1::/64", "2001:db8:2::/64"
    if side == EAST:
        local, remote = remote, local
    return ike_policy(side, children=(child_policy(local=local, remote=remote),))


# --- outbound ------------------------------------------------------------------------


def test_a_batch_is_one_transmit_that_may_be_dropped() -> None:
    """RFC 9329 §3: frames of one batch stand together; a full queue may drop them."""
    stage = Stage()
    id = stage.up()
    packets = [to_east(b"%d" % n) for n in range(20)]
    effects = stage.west.endpoint.inner_packets(packets)
    (transmit,) = effects
    assert isinstance(transmit, Transmit)
    assert (transmit.connection, transmit.droppable) == (id, True)
    stage.run(WEST, effects)
    stage.settle()
    assert stage.east.delivered == packets


@pytest.mark.parametrize("size", [40, 1300])
def test_rows_go_through_as_the_same_packets_do(size: int) -> None:
    """What the device cut is sealed together, and what was sealed so opened so."""
    stage = Stage()
    stage.up()
    packets = [to_east(bytes([n]) * size) for n in range(40)]
    effects = stage.west.endpoint.inner_packets(PacketRows.of(packets))
    (transmit,) = effects
    assert isinstance(transmit, Transmit)
    stage.run(WEST, effects)
    stage.settle()
    assert stage.east.delivered == packets


def test_rows_without_a_way_are_dropped_and_counted() -> None:
    """No Child SA takes them; they are too large; there is no connection."""
    stage = Stage()
    id = stage.up()
    stranger = PacketRows.of([ipv4_packet("10.0.1.1", "192.0.2.9")] * 9)
    assert stage.west.endpoint.inner_packets(stranger) == []
    large = PacketRows.of([to_east(bytes(60000))] * 3)
    (answer,) = stage.west.endpoint.inner_packets(large)
    assert isinstance(answer, DeliverInner)
    stage.break_connection(id)
    rows = PacketRows.of([to_east()] * 9)
    assert stage.west.endpoint.inner_packets(rows) == []
    assert stage.dropped(WEST) == {
        "no Child SA for an inner packet": 9,
        "larger than the inner MTU": 3,
        "no connection": 9,
    }


def test_what_no_child_sa_takes_is_dropped() -> None:
    """RFC 4301 §5.1: there is no policy that lets it pass in the clear."""
    stage = Stage()
    stage.up()
    for packet in (ipv4_packet("10.0.1.1", "192.0.2.9"), b"", b"no packet"):
        stage.send(WEST, packet)
    assert stage.wire == type(stage.wire)()
    assert stage.dropped(WEST) == {"no Child SA for an inner packet": 3}


def test_without_a_connection_packets_are_dropped_and_counted() -> None:
    """[9329-6.1-keep-state]: the SA waits; packets do not."""
    stage = Stage()
    stage.break_connection(stage.up())
    stage.run(WEST, stage.west.endpoint.inner_packets([to_east()] * 3))
    assert stage.dropped(WEST) == {"no connection": 3}


def test_a_child_sa_removed_after_the_look_up_drops_its_packets() -> None:
    """The tables of two threads may differ for a moment."""
    stage = Stage()
    stage.up()
    children = stage.west.endpoint.tables.children
    children.clear()
    stage.send(WEST, to_east())
    assert stage.dropped(WEST) == {"no Child SA for an inner packet": 1}


def test_a_packet_over_the_inner_mtu_is_answered() -> None:
    """[9329-6.8-df] [9329-3-limit]: at the tunnel, with the tunnel's own MTU."""
    stage = Stage()
    stage.up()
    mtu = stage.child(WEST).inner_mtu
    fits = to_east(bytes(mtu - 24))
    too_big = to_east(bytes(mtu - 23))
    assert (len(fits), len(too_big)) == (mtu, mtu + 1)
    stage.run(WEST, stage.west.endpoint.inner_packets([too_big, fits]))
    stage.settle()
    assert stage.east.delivered == [fits]
    (answer,) = stage.west.delivered
    assert answer[20:22] == bytes([3, 4])
    assert int.from_bytes(answer[26:28], "big") == mtu
    assert stage.dropped(WEST) == {"larger than the inner MTU": 1}


@pytest.mark.parametrize(("chosen", "mtu"), [(9000, 9000), (600, 600), (65535, 65498)])
def test_an_inner_mtu_that_was_chosen(chosen: int, mtu: int) -> None:
    """[9329-3-limit] is a SHOULD, which who says so may leave; [9329-3-max] stays."""
    stage = Stage(stream_mtu=chosen)
    stage.up()
    assert stage.child(WEST).inner_mtu == stage.child(EAST).inner_mtu == mtu
    fits, too_big = to_east(bytes(mtu - 24)), to_east(bytes(mtu - 23))
    stage.run(WEST, stage.west.endpoint.inner_packets([fits, too_big]))
    stage.settle()
    assert stage.east.delivered == [fits]
    (answer,) = stage.west.delivered
    assert int.from_bytes(answer[26:28], "big") == mtu


def test_a_packet_that_gets_no_answer_is_carried_whole() -> None:
    """[9329-6.8-df]: DF clear; the stream has no packet size, and DF is not copied."""
    stage = Stage()
    stage.up()
    packet = may_be_fragmented(to_east(bytes(4000)))
    stage.send(WEST, packet)
    stage.settle()
    assert stage.east.delivered == [packet]
    assert stage.west.delivered == []


def test_a_packet_too_long_for_a_frame_is_dropped_alone() -> None:
    """[9329-3-max]: the rest of its batch goes through, nothing else is used up."""
    stage = Stage()
    stage.up()
    live = stage.child(WEST)
    longest = may_be_fragmented(to_east(bytes(live.largest_inner - 24)))
    too_long = may_be_fragmented(to_east(bytes(live.largest_inner - 23)))
    batch = [to_east(), too_long, longest]
    stage.run(WEST, stage.west.endpoint.inner_packets(batch))
    assert stage.dropped(WEST) == {"too long for a frame": 1}
    stage.settle()
    assert stage.east.delivered == [to_east(), longest]


@pytest.mark.parametrize(
    "proposal", ["aes256gcm16", "chacha20poly1305", "aes128-sha256", "aes256ctr-sha512"]
)
def test_the_longest_inner_packet_fills_a_frame(proposal: str) -> None:
    """[9329-3-max]: one octet more, and it would not fit."""
    children = (child_policy(proposal=proposal),)
    there = ike_policy(WEST, children=children)
    flipped = child_policy(proposal=proposal, local="10.0.2.0/24", remote="10.0.1.0/24")
    stage = Stage(west=there, east=ike_policy(EAST, children=(flipped,)))
    stage.up()
    live = stage.child(WEST)
    spec = live.esp.parameters.suite.cipher
    most = live.largest_inner
    assert packet_size(most, spec) <= MAX_MESSAGE < packet_size(most + 1, spec)


def test_a_malformed_packet_over_the_mtu_harms_nobody() -> None:
    """RFC 4301 §5.1: its flow is known, its header says another size."""
    stage = Stage()
    stage.up()
    good = to_east(bytes(1000))
    stage.send(WEST, good)
    liar = good + bytes(2000)
    stage.send(WEST, liar)
    stage.settle()
    assert stage.west.delivered == []
    assert stage.east.delivered[0] == good


def test_sequence_numbers_that_are_used_up_are_counted() -> None:
    """RFC 4303 §3.3.3: nothing is sent any more on that Child SA."""
    stage = Stage()
    stage.up()
    stage.child(WEST).esp._outbound.sequence = (1 << 64) - 2
    stage.run(WEST, stage.west.endpoint.inner_packets([to_east()] * 2))
    stage.run(WEST, stage.west.endpoint.inner_packets([to_east()] * 2))
    assert sent_esp(stage, WEST) == 1
    assert stage.dropped(WEST) == {"sequence numbers exhausted": 2}


def test_a_batch_of_nothing_that_can_be_sealed_sends_nothing() -> None:
    """A Child SA whose keys are gone drops what comes late."""
    stage = Stage()
    stage.up()
    stage.child(WEST).esp.forget_keys()
    stage.send(WEST, to_east())
    assert not stage.wire


def test_two_child_sas_get_a_transmit_each() -> None:
    """RFC 4301 §5.1: each packet goes into the Child SA of its selectors."""
    first = child_policy("first", local="10.0.1.0/25", remote="10.0.2.0/24")
    second = child_policy("second", local="10.0.1.128/25", remote="10.0.2.0/24")
    flipped = [
        replace(c, local_ts=c.remote_ts, remote_ts=c.local_ts) for c in (first, second)
    ]
    stage = Stage(
        west=ike_policy(WEST, children=(first, second)),
        east=ike_policy(EAST, children=tuple(flipped)),
    )
    stage.up()
    packets = [
        ipv4_packet("10.0.1.1", "10.0.2.1"),
        ipv4_packet("10.0.1.200", "10.0.2.1"),
        ipv4_packet("10.0.1.2", "10.0.2.1"),
    ]
    effects = stage.west.endpoint.inner_packets(packets)
    assert len(effects) == 2
    stage.run(WEST, effects)
    stage.settle()
    assert sorted(stage.east.delivered) == sorted(packets)


# --- IPv6 ----------------------------------------------------------------------------


def test_ipv6_inside_and_outside() -> None:
    """[9329-3-limit]: outside it costs twenty octets more."""
    stage = Stage(six(WEST), six(EAST), addresses=("2001:db8::1", "2001:db8::2"))
    stage.up()
    packet = ipv6_packet("2001:db8:1::1", "2001:db8:2::1", b"six")
    stage.send(WEST, packet)
    stage.settle()
    assert stage.east.delivered == [packet]
    suite = stage.child(WEST).esp.parameters.suite
    assert stage.child(WEST).inner_mtu == inner_mtu(1500, 6, suite)
    assert inner_mtu(1500, 6, suite) + 20 == inner_mtu(1500, 4, suite)


def test_ipv6_is_never_told_less_than_every_link_takes() -> None:
    """[9329-6.8-df]: a sender told less than 1280 would go on sending 1280."""
    stage = Stage(six(WEST), six(EAST))
    stage.up()
    live = stage.child(WEST)
    live.inner_mtu = 1000
    size = SMALLEST_IPV6_MTU - 44
    fits = ipv6_packet("2001:db8:1::1", "2001:db8:2::1", bytes(size))
    too_big = ipv6_packet("2001:db8:1::1", "2001:db8:2::1", bytes(size + 1))
    stage.run(WEST, stage.west.endpoint.inner_packets([fits, too_big]))
    stage.settle()
    assert stage.east.delivered == [fits]
    (answer,) = stage.west.delivered
    assert answer[40] == 2
    assert int.from_bytes(answer[44:48], "big") == SMALLEST_IPV6_MTU


# --- inbound -------------------------------------------------------------------------


def test_packets_are_delivered_in_order_and_together() -> None:
    """RFC 4303 §3.4: those of one Child SA in a row at once."""
    stage = Stage()
    id = stage.up()
    octets = b"".join(stage.esp(WEST, b"%d" % n) for n in range(5))
    effects = stage.east.endpoint.octets_received(id, octets, 0.0)
    assert effects == [DeliverInner([to_east(b"%d" % n) for n in range(5)])]


def test_ike_between_packets_keeps_its_place() -> None:
    """RFC 9329 §3: messages are handled in the order of the stream."""
    stage = Stage()
    id = stage.up()
    octets = stage.esp(WEST, b"1") + stage.sealed(WEST, []) + stage.esp(WEST, b"2")
    effects = stage.east.endpoint.octets_received(id, octets, 0.0)
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds[0] == kinds[-1] == "DeliverInner"
    assert "Transmit" in kinds[1:-1]


def test_packets_of_two_child_sas_mixed() -> None:
    """RFC 4303 §3.4.2: each is opened by the SA of its SPI."""
    stage = Stage()
    id = stage.up()
    old = [stage.esp(WEST, b"old %d" % n) for n in range(2)]
    stage.run(EAST, stage.east.endpoint.rekey_child("net", 0.0))
    stage.deliver()
    stage.deliver()
    new = [stage.esp(WEST, b"new %d" % n) for n in range(2)]
    assert len(stage.east.endpoint.tables.children) == 2
    stage.feed(EAST, id, old[0] + new[0] + old[1] + new[1])
    assert sorted(stage.east.delivered) == sorted(
        to_east(t) for t in (b"old 0", b"new 0", b"old 1", b"new 1")
    )


@pytest.mark.parametrize("at", [0, 1, 2])
def test_nothing_is_taken_behind_what_closes_the_connection(at: int) -> None:
    """[9329-6.1-corrupt]: the stream is out of step from there on."""
    stage = Stage()
    id = stage.up()
    packets = [stage.esp(WEST, b"%d" % n) for n in range(3)]
    packets[at] = packets[at][:4] + b"\xee" + packets[at][5:]
    message = stage.sealed(WEST, [])
    broken = message[:-1] + bytes([message[-1] ^ 1])
    stage.feed(EAST, id, b"".join(packets) + broken + stage.esp(WEST, b"behind"))
    assert to_east(b"behind") not in stage.east.delivered
    assert not stage.is_open(EAST, id)


def test_a_forged_packet_before_others_ends_the_run() -> None:
    """[9329-6.1-corrupt]: what was authentic in the same run is still delivered."""
    stage = Stage()
    id = stage.up()
    good, bad = stage.esp(WEST, b"good"), stage.esp(WEST, b"bad")
    bad = bad[:-1] + bytes([bad[-1] ^ 1])
    stage.feed(EAST, id, good + bad + stage.sealed(WEST, []))
    assert stage.east.delivered == [to_east(b"good")]
    assert stage.dropped(EAST) == {
        "ESP integrity": 1,
        "connection closed for its octets": 1,
    }
    assert len(stage.ike(EAST, id)) == 2


def test_the_responder_of_a_rekey_waits_for_the_new_child_sa_to_be_used() -> None:
    """RFC 7296 §2.8: it sends on the old one until the peer has used the new one."""
    stage = Stage()
    id = stage.up()
    stage.run(WEST, stage.west.endpoint.rekey_child("net", 0.0))
    stage.deliver()
    old, new = stage.east.endpoint.tables.children.values()
    assert new.esp.is_sending_deferred
    stage.send(EAST, to_west())
    assert stage.messages(EAST, id, MessageKind.ESP)[-1][:4] == (
        old.esp.parameters.spi_out
    )
    stage.deliver()
    stage.send(WEST, to_east())
    stage.feed(EAST, id, stage.sent[-1][2])
    stage.send(EAST, to_west())
    assert stage.messages(EAST, id, MessageKind.ESP)[-1][:4] == (
        new.esp.parameters.spi_out
    )


def test_tfc_padding_stays_within_the_inner_mtu() -> None:
    """[9329-3-limit]: however much is configured; RFC 4303 §2.7."""
    children = (child_policy(tfc_pad_to=60000),)
    stage = Stage(west=ike_policy(WEST, children=children))
    id = stage.up()
    stage.send(WEST, to_east())
    stage.settle()
    assert stage.east.delivered == [to_east()]
    packet = stage.messages(WEST, id, MessageKind.ESP)[-1]
    assert len(packet) + 28 <= 1500
    assert stage.child(WEST).esp.parameters.tfc_pad_to == stage.child(WEST).inner_mtu
