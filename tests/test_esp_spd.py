"""Which Child SA an outbound packet goes to."""

from ipaddress import IPv4Address

import pytest

from esp_support import ipv4, ipv6, parameters, ports
from iketcp.environment import ScriptedEntropy
from iketcp.esp import spd
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.spd import OutboundSpd


def child(
    local: str = "10.1.0.0/16", remote: str = "10.2.0.0/16", is_deferred: bool = False
) -> ChildSa:
    side = parameters(local=[local], remote=[remote])
    return ChildSa(side, ScriptedEntropy("x"), is_sending_deferred=is_deferred)


def test_packet_finds_its_child_sa() -> None:
    """RFC 4301 §5.1: our side its source, the peer's side its destination."""
    table = OutboundSpd()
    four, six = child(), child("2001:db8:1::/48", "2001:db8:2::/48")
    table.add(four)
    table.add(six)
    for _ in range(2):
        assert table.lookup(ipv4(ports(1, 2))) is four
        assert table.lookup(ipv6(ports(1, 2))) is six
        assert table.lookup(ipv4(ports(1, 2), "10.2.0.1", "10.1.0.1")) is None
        assert table.lookup(ipv4(ports(1, 2), fragment=0x2001)) is four
        assert table.lookup(b"") is None
        assert table.lookup(b"\x45" + bytes(10)) is None
        assert table.lookup(b"\x46" + ipv4()[1:]) is None


def test_most_recent_first() -> None:
    table = OutboundSpd()
    old, new = child(), child()
    table.add(old)
    assert table.lookup(ipv4()) is old
    table.add(new)
    assert table.lookup(ipv4()) is new
    assert table.children == (new, old)


def test_removed_child_sa_is_not_found() -> None:
    """The table of flows does not outlive a change."""
    table = OutboundSpd()
    old, new = child(), child()
    table.add(old)
    table.add(new)
    assert table.lookup(ipv4()) is new
    table.remove(new)
    assert table.lookup(ipv4()) is old
    table.remove(new)
    table.remove(old)
    assert table.lookup(ipv4()) is None
    assert table.children == ()


def test_deferred_child_sa_waits_behind_the_one_it_replaces() -> None:
    """RFC 7296 §2.8: the responder of a rekey goes on sending on the old SA."""
    table = OutboundSpd()
    wide, old, new = child(remote="0.0.0.0/0"), child(), child(is_deferred=True)
    table.add(old)
    table.add(wide)
    table.prefer(old)
    table.add(new)
    assert table.children == (old, new, wide)
    assert table.lookup(ipv4()) is old
    table.remove(old)
    assert table.lookup(ipv4()) is new
    assert new.is_sending_deferred


def test_deferred_child_sa_is_used_once_the_peer_has_used_it() -> None:
    """RFC 7296 §2.8: a valid message on the other half of the pair."""
    table = OutboundSpd()
    old, new = child(), child(is_deferred=True)
    table.add(old)
    table.add(new)
    assert table.lookup(ipv4()) is old
    table.prefer(new)
    assert table.lookup(ipv4()) is new
    assert table.children == (new, old)
    assert not new.is_sending_deferred


def test_deferred_child_sa_of_its_own_comes_last() -> None:
    """RFC 7296 §2.8: it is still used where nothing else takes the packet."""
    table = OutboundSpd()
    other, new = child(remote="10.9.0.0/16"), child(is_deferred=True)
    table.add(other)
    table.add(new)
    assert table.children == (other, new)
    assert table.lookup(ipv4()) is new


def test_preferring_what_is_not_there() -> None:
    table = OutboundSpd()
    present, absent = child(), child()
    table.add(present)
    table.prefer(absent)
    assert table.children == (present,)


def test_flow_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan through the tunnel does not grow memory."""
    monkeypatch.setattr(spd, "CACHE_SIZE", 16)
    table = OutboundSpd()
    only = child()
    table.add(only)
    for n in range(100):
        assert table.lookup(ipv4(ports(n, n))) is only
        assert len(table._view.flows) <= 16


def test_lookup_under_an_old_order_leaves_nothing_behind() -> None:
    """A lookup that a change overtakes cannot bring a removed Child SA back."""
    table = OutboundSpd()
    only = child()
    table.add(only)
    overtaken = table._view
    table.remove(only)
    overtaken.flows[b"whatever"] = only
    assert not table._view.flows


def test_many_child_sas() -> None:
    """A thousand, each with its own network."""
    table = OutboundSpd()
    base = int(IPv4Address("10.128.0.0"))
    networks = [IPv4Address(base + (n << 8)) for n in range(1000)]
    children = [child(remote=f"{network}/24") for network in networks]
    for one in children:
        table.add(one)
    for n in (0, 1, 499, 999):
        packet = ipv4(ports(1, 2), destination=str(networks[n] + 7))
        assert table.lookup(packet) is children[n]
    assert table.lookup(ipv4(destination="192.0.2.1")) is None
