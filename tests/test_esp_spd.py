"""Which Child SA an outbound packet goes to."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import ipv4, ipv6, parameters, ports
from iketcp.environment import ScriptedEntropy
from iketcp.esp import spd
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.selector_check import SelectorCheck
from iketcp.esp.spd import OutboundSpd
from iketcp.inner import Flow

REMOTES = ("10.2.0.1", "10.2.0.0/24", "10.2.0.1-10.2.9.9", "0.0.0.0/0", "10.2.0.9")


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
        assert len(table._flows) <= 16


def test_lookup_under_an_old_order_leaves_nothing_behind() -> None:
    """A lookup that a change overtakes cannot bring a removed Child SA back."""
    table = OutboundSpd()
    only = child()
    table.add(only)
    overtaken = table._flows
    table.remove(only)
    overtaken[b"whatever"] = only
    assert not table._flows


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


def test_a_look_up_does_not_go_through_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hosts and networks there are, only those that fit are asked."""
    asked: list[Flow] = []
    matches = SelectorCheck.matches

    def counted(check: SelectorCheck, flow: Flow) -> bool:
        asked.append(flow)
        return matches(check, flow)

    monkeypatch.setattr(SelectorCheck, "matches", counted)
    table = OutboundSpd()
    hosts = [child(remote=f"10.2.{n >> 8}.{n & 255}") for n in range(512)]
    networks = [child(remote=f"10.3.{n}.0/24") for n in range(256)]
    others = [child("2001:db8:1::/48", f"2001:db8:2::{n:x}") for n in range(256)]
    for one in (*hosts, *networks, *others):
        table.add(one)
    for destination, wanted in (
        ("10.2.1.7", hosts[263]),
        ("10.3.7.9", networks[7]),
        ("10.4.0.1", None),
    ):
        asked.clear()
        assert table.lookup(ipv4(ports(1, 2), destination=destination)) is wanted
        assert len(asked) == (wanted is not None)


def test_a_range_is_found_that_is_no_network() -> None:
    table = OutboundSpd()
    only = child(remote="10.2.0.7-10.2.1.3")
    table.add(only)
    for inside in ("10.2.0.7", "10.2.0.255", "10.2.1.3"):
        assert table.lookup(ipv4(destination=inside)) is only
    for outside in ("10.2.0.6", "10.2.1.4", "10.4.0.0"):
        assert table.lookup(ipv4(destination=outside)) is None


def test_the_newest_of_overlapping_selectors_is_found() -> None:
    """Whichever is the narrower."""
    table = OutboundSpd()
    net, host, everything = (
        child(remote=remote) for remote in ("10.2.0.0/16", "10.2.0.1", "0.0.0.0/0")
    )
    for newest in (net, host, everything, host, net):
        table.remove(newest)
        table.add(newest)
        assert table.lookup(ipv4(destination="10.2.0.1")) is newest
        assert table.children[0] is newest


def test_nothing_is_left_of_what_was_removed() -> None:
    table = OutboundSpd()
    empty = OutboundSpd()
    first, second = child(), child()
    far, beside = child(remote="10.2.0.0/24"), child(local="10.1.0.0/24")
    for one in (first, second, far, beside):
        table.add(one)
    for one in (far, first, beside, second):
        table.remove(one)
    assert table._places == empty._places
    assert table._widths == empty._widths
    assert table._entries == empty._entries


def test_preferring_one_whose_like_is_there() -> None:
    table = OutboundSpd()
    present, absent = child(), child()
    table.add(present)
    table.prefer(absent)
    assert table.children == (present,)
    wide = child(remote="0.0.0.0/0")
    table.add(wide)
    table.prefer(present)
    assert table.children == (present, wide)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "defer", "remove", "prefer"]),
            st.integers(0, len(REMOTES) - 1),
        ),
        max_size=30,
    )
)
def test_it_finds_what_going_through_all_would_find(
    steps: list[tuple[str, int]],
) -> None:
    """The order of preference decides, and the tables only make it quick."""
    table = OutboundSpd()
    there: list[ChildSa] = []
    for step, which in steps:
        if step in ("add", "defer"):
            there.append(child(remote=REMOTES[which], is_deferred=step == "defer"))
            table.add(there[-1])
        elif there and step == "remove":
            table.remove(there.pop(which % len(there)))
        elif there:
            table.prefer(there[which % len(there)])
            assert table.children[0] is there[which % len(there)]
        assert sorted(map(id, table.children)) == sorted(map(id, there))
        for destination in ("10.2.0.1", "10.2.0.9", "10.2.9.9", "10.9.9.9"):
            packet = ipv4(ports(1, 2), destination=destination)
            fits = (c for c in table.children if _takes(c, packet))
            assert table.lookup(packet) is next(fits, None)


def _takes(child: ChildSa, packet: bytes) -> bool:
    side = child.parameters
    return SelectorCheck(side.local_ts, side.remote_ts).admits(packet)
