"""What a Child SA's Traffic Selectors take, with and without the cache."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import ipv4, ipv6, packed, ports, selectors
from iketcp.errors import MalformedPacketError
from iketcp.esp import selector_check
from iketcp.esp.selector_check import SelectorCheck
from iketcp.inner import Flow
from iketcp.selectors import TrafficSelector

HTTP = ports(40000, 80)


def check(source: str, destination: str) -> SelectorCheck:
    return SelectorCheck(selectors(*source.split()), selectors(*destination.split()))


@pytest.mark.parametrize(
    ("packet", "is_admitted"),
    [
        (ipv4(HTTP), True),
        (ipv4(HTTP, source="10.1.255.255"), True),
        (ipv4(HTTP, source="10.2.0.0"), False),
        (ipv4(HTTP, source="10.0.255.255"), False),
        (ipv4(HTTP, destination="10.3.0.0"), False),
        (ipv4(HTTP, "10.2.0.1", "10.1.0.1"), False),
        (ipv6(HTTP), False),
    ],
)
def test_addresses(packet: bytes, is_admitted: bool) -> None:
    """RFC 4301 §5.2: source in one set, destination in the other."""
    selector = check("10.1.0.0/16", "10.2.0.0/16")
    assert selector.admits(packet) is is_admitted
    assert selector.admits(packet) is is_admitted


def test_protocol_and_ports() -> None:
    """RFC 4301 §4.4.1.1."""
    web = check("10.1.0.0/16[tcp]", "10.2.0.0/16[tcp/80-81]")
    assert web.admits(ipv4(ports(1, 80), protocol=6))
    assert web.admits(ipv4(ports(1, 81), protocol=6))
    assert not web.admits(ipv4(ports(1, 82), protocol=6))
    assert not web.admits(ipv4(ports(80, 79), protocol=6))
    assert not web.admits(ipv4(ports(1, 80), protocol=17))


def test_sets_pair_freely() -> None:
    """RFC 4301 §4.4.1.2: any source selector with any destination selector."""
    both = check("10.1.0.0/16 2001:db8:1::/48", "2001:db8:2::/48 10.2.0.0/16")
    assert both.admits(ipv4(HTTP))
    assert both.admits(ipv6(HTTP))
    assert both.admits(ipv6(HTTP, protocol=6))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("ending", "first", "later"),
    [
        ("", True, True),
        ("[17]", True, True),
        ("[17/80]", True, False),
        ("[17/opaque]", False, True),
    ],
)
def test_non_initial_fragments_have_no_ports(
    version: int, ending: str, first: bool, later: bool
) -> None:
    """RFC 4301 §7: they match ANY and OPAQUE ports, and no port else."""
    if version == 4:
        selector = check("10.1.0.0/16", f"10.2.0.0/16{ending}")
        whole = ipv4(HTTP)
        initial = ipv4(HTTP, fragment=0x2000)
        fragment = ipv4(HTTP, fragment=0x2001)
    else:
        selector = check("2001:db8:1::/48", f"2001:db8:2::/48{ending}")
        whole = ipv6(HTTP)
        initial = ipv6(bytes.fromhex("1100000100000001") + HTTP, protocol=44)
        fragment = ipv6(bytes.fromhex("1100000900000001") + HTTP, protocol=44)
    assert selector.admits(whole) is first
    assert selector.admits(initial) is first
    assert selector.admits(fragment) is later


def test_icmp_type_is_a_port() -> None:
    """RFC 4301 §4.4.1.3: the sending side must take it; OPAQUE forbids sending."""
    echo = ipv4(b"\x08\0\0\0", protocol=1)
    for source, destination, is_admitted in [
        ("[icmp/8]", "[icmp/8]", True),
        ("[icmp/8]", "[icmp/opaque]", True),
        ("[icmp/8]", "", True),
        ("[icmp/opaque]", "[icmp/8]", False),
        ("[icmp/0]", "[icmp/8]", False),
        ("[icmp/8]", "[icmp/0]", False),
        ("[icmp/8]", "[udp/opaque]", False),
    ]:
        selector = check(f"10.1.0.0/16{source}", f"10.2.0.0/16{destination}")
        assert selector.admits(echo) is is_admitted, (source, destination)


def test_opaque_destination_is_for_hidden_ports_elsewhere() -> None:
    """RFC 4301 §7.2: a UDP packet that shows its ports does not match OPAQUE."""
    assert not check("10.1.0.0/16", "10.2.0.0/16[udp/opaque]").admits(ipv4(HTTP))


def test_malformed_packets_are_errors() -> None:
    with pytest.raises(MalformedPacketError):
        check("10.1.0.0/16", "10.2.0.0/16").admits(b"\x46" + ipv4(HTTP)[1:20])


def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic with a new flow in every packet does not grow memory."""
    monkeypatch.setattr(selector_check, "CACHE_SIZE", 8)
    selector = check("10.1.0.0/16", "10.2.0.0/16[udp/0-9]")
    for n in range(50):
        assert selector.admits(ipv4(ports(5, n))) is (n < 10)
        assert len(selector._verdicts) <= 8


addresses = st.sampled_from(
    ["10.0.0.0", "10.1.0.0", "10.1.0.9", "10.2.0.0", "::", "2001:db8::1", "2001:db9::"]
)
port_numbers = st.sampled_from([0, 1, 80, 65535])


@st.composite
def any_selector(draw: st.DrawFn) -> TrafficSelector:
    pair = [ip_address(draw(addresses)), ip_address(draw(addresses))]
    if pair[0].version != pair[1].version:
        pair[1] = pair[0]
    start, end = sorted(pair, key=int)
    low, high = sorted([draw(port_numbers), draw(port_numbers)])
    span = draw(st.sampled_from([(low, high), (0, 65535), (65535, 0)]))
    return TrafficSelector(draw(st.sampled_from([0, 6, 17])), *span, start, end)


@given(
    selector=any_selector(),
    protocol=st.sampled_from([6, 17, 50]),
    address=addresses,
    port=st.one_of(st.none(), port_numbers),
)
def test_ends_are_judged_as_the_selector_itself_does(
    selector: TrafficSelector, protocol: int, address: str, port: int | None
) -> None:
    """The packed form says what TrafficSelector.contains_flow says."""
    octets = packed(address)
    version = 4 if len(octets) == 4 else 6
    everything = selectors("0.0.0.0/0", "::/0")
    flow = Flow(version, protocol, octets, octets, port, port)
    expected = selector.contains_flow(protocol, ip_address(address), port)
    assert SelectorCheck([selector], everything).matches(flow) is expected
    assert SelectorCheck(everything, [selector]).matches(flow) is expected
