"""From what an IKE SA wants to effects and tables. Source: RFC 9329 §6.1, §6.2."""

from dataclasses import replace

import pytest

from iketcp.crypto.suite import Suite
from iketcp.effects import (
    ChildSaInstalled,
    ChildSaRemoved,
    ConfigurationAssigned,
    ConnectionId,
    Effect,
    IkeKeysDerived,
    IkeSaClosed,
    IkeSaEstablished,
)
from iketcp.endpoint.carry_out import SMALLEST_INNER_MTU, largest_inner, mtu_of
from iketcp.endpoint.tables import RETIRED_LIMIT, Tables
from iketcp.esp.mtu import inner_mtu
from iketcp.half_open import HalfOpen
from iketcp.ike import outputs
from iketcp.ike.policy import IkePolicy, PoolPolicy
from iketcp.registry import EncryptionAlgorithm, ExchangeType
from iketcp.selectors import any_ipv4
from pair import EAST, WEST, child_policy, ike_policy
from scenarios import Stage

GCM = Suite(EncryptionAlgorithm.ENCR_AES_GCM_16, 256)


def of_type(stage: Stage, name: str, kind: type[Effect]) -> list[Effect]:
    """All effects of one type that a side has produced."""
    return [e for e in stage.side(name).effects if isinstance(e, kind)]


def test_a_session_tells_what_its_user_needs_to_know() -> None:
    """RFC 7296 §1.2: keys, the IKE SA, the Child SA, and in the end that it is over."""
    stage = Stage()
    stage.up()
    (keys,) = of_type(stage, WEST, IkeKeysDerived)
    (up,) = of_type(stage, WEST, IkeSaEstablished)
    (child,) = of_type(stage, WEST, ChildSaInstalled)
    assert isinstance(keys, IkeKeysDerived)
    assert isinstance(child, ChildSaInstalled)
    assert up == IkeSaEstablished(stage.sa(WEST).spi_i, "east.example")
    assert keys.spi_i == stage.sa(WEST).spi_i
    assert child.inner_mtu == stage.child(WEST).inner_mtu
    assert str(child.path.remote_address) == "192.0.2.2"
    spi = stage.sa(WEST).spi_local
    stage.run(WEST, stage.west.endpoint.delete_all(0.0))
    stage.settle()
    assert of_type(stage, WEST, IkeSaClosed) == [IkeSaClosed(spi, "deleted by us")]


def test_no_effect_shows_a_key() -> None:
    """Effects are logged by whoever debugs: their text must be harmless."""
    stage = Stage()
    stage.up()
    parameters = stage.child(WEST).esp.parameters
    keys = stage.sa(WEST).keys
    assert keys is not None
    secrets = [parameters.encryption_key_in, parameters.encryption_key_out, keys.sk_d]
    text = repr(stage.west.effects)
    for secret in secrets:
        assert secret.hex() not in text
        assert repr(secret) not in text


def test_a_removed_child_sa_is_told_without_its_keys() -> None:
    """Nobody needs them any more; RFC 4301 §4.4.2."""
    stage = Stage()
    stage.up()
    spi = stage.child(WEST).esp.parameters.spi_in
    stage.run(WEST, stage.west.endpoint.rekey_child("net", 0.0))
    stage.settle()
    (removed,) = of_type(stage, WEST, ChildSaRemoved)
    assert isinstance(removed, ChildSaRemoved)
    parameters = removed.parameters
    assert parameters.spi_in == spi
    assert not any(
        (
            parameters.encryption_key_in,
            parameters.encryption_key_out,
            parameters.integrity_key_in,
            parameters.integrity_key_out,
        )
    )


def test_the_inner_mtu_follows_the_path() -> None:
    """[9329-3-limit]: of the connection that the session is on."""
    stage = Stage()
    stage.up()
    suite = stage.child(EAST).esp.parameters.suite
    assert stage.child(EAST).inner_mtu == inner_mtu(1500, 4, suite)
    id = stage.knock(path_mtu=1300)
    stage.feed(EAST, id, stage.esp(WEST))
    stage.run(WEST, stage.west.endpoint.rekey_child("net", 0.0))
    stage.feed(EAST, id, stage.sent[-1][2])
    assert len(stage.east.endpoint.tables.children) == 2
    assert stage.child(EAST).inner_mtu == inner_mtu(1300, 4, suite)


def test_a_path_without_room_stops_nothing() -> None:
    """[9329-3-limit] is a SHOULD: a stream carries what no datagram would."""
    assert mtu_of(1500, 4, GCM) == inner_mtu(1500, 4, GCM)
    assert mtu_of(60, 6, GCM) == SMALLEST_INNER_MTU
    assert largest_inner(GCM) > 65000
    stage = Stage()
    stage.run(WEST, stage.west.endpoint.initiate())
    id = stage.connect()
    stage.west.endpoint.tables.streams[id].path_mtu = 60
    stage.settle()
    stage.ping()
    assert stage.child(WEST).inner_mtu == SMALLEST_INNER_MTU


def test_a_child_sa_without_a_connection_takes_the_usual_path() -> None:
    """RFC 9329 §3: what the path is shows with the next connection."""
    stage = Stage()
    id = stage.up()
    live = stage.child(EAST)
    session = stage.session(EAST)
    sa = stage.sa(EAST)
    stage.break_for(EAST, id)
    parameters = replace(
        live.esp.parameters,
        spi_in=b"\x01\x02\x03\x04",
        encryption_key_in=bytes(36),
        encryption_key_out=bytes(36),
    )
    sa.emit(outputs.ChildInstalled(parameters))
    effects: list[Effect] = []
    stage.east.endpoint._carrier.run(sa, session, None, 0.0, effects)
    assert stage.child(EAST).inner_mtu == live.inner_mtu


def test_without_a_connection_nothing_is_sent() -> None:
    """[9329-6.2-reconnect]: a request is repeated on the next one."""
    stage = Stage()
    stage.break_connection(stage.up())
    sent = len(stage.sent)
    stage.run(EAST, stage.east.endpoint.rekey_child("net", 0.0))
    assert len(stage.sent) == sent
    sa, session = stage.sa(EAST), stage.session(EAST)
    header = sa.header(ExchangeType.INFORMATIONAL, 0, is_response=False)
    sa.emit(outputs.SendMessage((b"octets",), header, ()))
    effects: list[Effect] = []
    stage.east.endpoint._carrier.run(sa, session, None, 0.0, effects)
    assert effects == []
    stage.connect()
    stage.settle()
    stage.advance(1.0)
    assert len(stage.west.traces("child-sa-rekeyed")) == 1


def test_changes_to_a_child_sa_that_is_gone_are_nothing() -> None:
    """RFC 7296 §1.4.1: both sides may delete at once."""
    stage = Stage()
    stage.up()
    sa, session = stage.sa(WEST), stage.session(WEST)
    sa.emit(outputs.ChildPreferred(b"gone"))
    sa.emit(outputs.ChildSendingStopped(b"gone"))
    effects: list[Effect] = []
    stage.west.endpoint._carrier.run(sa, session, None, 0.0, effects)
    assert effects == []
    stage.ping()


def test_a_child_sa_whose_sending_stopped_still_receives() -> None:
    """RFC 7296 §1.4.1: the incoming half ends with the answer to our own request."""
    stage = Stage()
    id = stage.up()
    packet = stage.esp(EAST)
    sa, session = stage.sa(WEST), stage.session(WEST)
    sa.emit(outputs.ChildSendingStopped(stage.child(WEST).esp.parameters.spi_in))
    stage.west.endpoint._carrier.run(sa, session, None, 0.0, [])
    stage.run(WEST, stage.west.endpoint.inner_packets([b"\x45" + bytes(19)]))
    stage.feed(WEST, id, packet)
    assert len(stage.west.delivered) == 1
    assert stage.dropped(WEST) == {"no Child SA for an inner packet": 1}


def pool_policies() -> tuple[IkePolicy, IkePolicy]:
    """East hands out addresses."""
    west = child_policy(is_narrowed_to_assigned_address=True)
    east = child_policy(
        local="10.0.2.0/24", remote="10.9.0.0/24", is_narrowed_to_assigned_address=True
    )
    pool = PoolPolicy(("10.9.0.0/24",), ("10.0.2.53",))
    return (
        ike_policy(WEST, children=(west,), request_families=(4,)),
        ike_policy(EAST, children=(east,), pool=pool),
    )


def test_assigned_addresses_are_told() -> None:
    """RFC 7296 §2.19: to the initiator, which puts them on its device."""
    stage = Stage(*pool_policies())
    stage.up()
    (assigned,) = of_type(stage, WEST, ConfigurationAssigned)
    assert isinstance(assigned, ConfigurationAssigned)
    assert [str(address) for address in assigned.addresses] == ["10.9.0.2/32"]
    assert assigned.dns_servers == ("10.0.2.53",)
    assert of_type(stage, EAST, ConfigurationAssigned) == []


def test_a_child_sa_that_is_refused_is_told() -> None:
    """RFC 7296 §1.3.1: the IKE SA goes on, or is deleted, as its policy says."""
    wrong = child_policy(local="10.7.0.0/24", remote="10.8.0.0/24")
    stage = Stage(west=ike_policy(WEST, children=(wrong,)))
    stage.up()
    (failed,) = stage.west.traces("child-sa-failed")
    assert failed["child"] == "net"
    assert any_ipv4()
    assert of_type(stage, WEST, ChildSaInstalled) == []


# --- tables --------------------------------------------------------------------------


def test_retired_spis_are_not_remembered_for_ever() -> None:
    """[9329-6.1-few-unknown]: a bounded number, the newest."""
    tables = Tables(HalfOpen(1, 1))
    for number in range(RETIRED_LIMIT + 3):
        tables.retire(number.to_bytes(4, "big"))
    assert len(tables.retired) == RETIRED_LIMIT
    assert (2).to_bytes(4, "big") not in tables.retired
    assert (3).to_bytes(4, "big") in tables.retired


@pytest.mark.parametrize("who", [WEST, EAST])
def test_tables_are_empty_after_the_end(who: str) -> None:
    """RFC 7296 §1.4.1: whatever there was, rekeyed or not."""
    stage = Stage()
    for _ in range(5):
        stage.up()
        stage.ping()
        stage.run(who, stage.side(who).endpoint.rekey_child("net", 0.0))
        stage.settle()
        stage.run(who, stage.side(who).endpoint.rekey_ike(0.0))
        stage.settle()
        stage.run(who, stage.side(who).endpoint.delete_all(0.0))
        stage.settle()
    for side in (stage.west, stage.east):
        endpoint = side.endpoint
        tables = endpoint.tables
        assert not tables.ike_sas
        assert not tables.children
        assert not tables.half_open
        assert not tables.streams
        assert not endpoint.map.connections
        assert endpoint.map.half_open.total == tables.strangers.total == 0
        assert endpoint._carrier._spd.children == ()
        assert set(endpoint.counters.dropped) == set()
    assert ConnectionId(5) in {id for id, _ in stage.closings(WEST)}
