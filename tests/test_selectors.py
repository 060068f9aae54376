"""Traffic Selectors: octets, text, set algebra and narrowing.

Source: RFC 7296 §2.9, RFC 7296 §3.13.1, RFC 4301 §4.4.1
"""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike_strategies import ipv4_selectors, port_ranges, selectors, u8, u16
from iketcp.errors import ConfigurationError, MalformedMessageError
from iketcp.octets import Reader
from iketcp.selectors import (
    MAX_SELECTORS,
    TrafficSelector,
    UnknownSelector,
    any_ipv4,
    any_ipv6,
    narrow,
)

IPV4_OCTETS = bytes.fromhex(
    "07 11 0010"  # TS_IPV4_ADDR_RANGE, UDP, 16 octets
    "0064 00c8"  # ports 100 to 200
    "c6336442"  # 198.51.100.66
    "c6336450"  # 198.51.100.80
)
IPV6_OCTETS = bytes.fromhex(
    "08 00 0028 0000 ffff"  # TS_IPV6_ADDR_RANGE, any, 40 octets, any port
    "20010db8000000000000000000000000"
    "20010db8ffffffffffffffffffffffff"
)


def ts(text: str) -> TrafficSelector:
    return TrafficSelector.parse(text)


def decode(octets: bytes) -> TrafficSelector | UnknownSelector:
    reader = Reader(octets)
    selector = TrafficSelector.decode(reader)
    assert reader.remaining == 0
    return selector


# --- octets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (IPV4_OCTETS, "198.51.100.66-198.51.100.80[udp/100-200]"),
        (IPV6_OCTETS, "2001:db8::/32"),
    ],
)
def test_fields_stand_where_the_figure_puts_them(octets: bytes, text: str) -> None:
    """RFC 7296 §3.13.1, Figure 20."""
    selector = decode(octets)
    assert selector == ts(text)
    assert str(selector) == text
    assert selector.encode() == octets


@given(selectors)
def test_octets_round_trip(selector: TrafficSelector) -> None:
    assert decode(selector.encode()) == selector


@pytest.mark.parametrize("octets", [IPV4_OCTETS, IPV6_OCTETS])
def test_every_truncation_is_malformed(octets: bytes) -> None:
    for size in range(len(octets)):
        with pytest.raises(MalformedMessageError):
            TrafficSelector.decode(Reader(octets[:size]))


@pytest.mark.parametrize(
    "text",
    [
        "07 00 0003",  # shorter than its own head
        "07 00 0004",  # nothing behind the head
        "07 00 000f 0000ffff 0a000000 0a0000",  # an octet short
        "07 00 0011 0000ffff 0a000000 0a0000ff 00",  # an octet long
        "07 00 0028 0000ffff" + "00" * 32,  # IPv6's length with IPv4's type
        "08 00 0010 0000ffff 0a000000 0a0000ff",  # and the other way round
        "07 00 0010 0000ffff 0a000001 0a000000",  # end before start
        "07 06 0010 0051 0050 0a000000 0a0000ff",  # ports backwards, not OPAQUE
        "07 06 0010 ffff 0001 0a000000 0a0000ff",
    ],
)
def test_bad_lengths_and_ranges_are_malformed(text: str) -> None:
    """Lengths fit the type; start fields are the smallest values (RFC 7296 §3.13.1)."""
    with pytest.raises(MalformedMessageError):
        decode(bytes.fromhex(text))


def test_opaque_is_the_port_range_that_may_run_backwards() -> None:
    """RFC 7296 §3.13.1: start 65535, end 0."""
    selector = decode(bytes.fromhex("07 06 0010 ffff 0000 0a000000 0a0000ff"))
    assert str(selector) == "10.0.0.0/24[tcp/opaque]"


@pytest.mark.parametrize("text", ["09 2a 0004", "f1 00 0007 010203"])
def test_unknown_type_is_kept_as_it_is(text: str) -> None:
    """RFC 7296 §2.9: the responder ignores a selector of unknown type."""
    octets = bytes.fromhex(text)
    selector = decode(octets)
    assert isinstance(selector, UnknownSelector)
    assert selector.encode() == octets


# --- text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
        ("10.1.0.1-10.1.0.9", "10.1.0.1-10.1.0.9"),
        ("10.1.0.0-10.1.0.255", "10.1.0.0/24"),
        ("10.1.0.1-10.1.0.2", "10.1.0.1-10.1.0.2"),  # a power of two, but no prefix
        ("10.0.0.0/8[tcp]", "10.0.0.0/8[tcp]"),
        ("10.0.0.0/8[TCP/80]", "10.0.0.0/8[tcp/80]"),
        ("10.0.0.0/8[6/any]", "10.0.0.0/8[tcp]"),
        ("10.0.0.0/8[udp/100-200]", "10.0.0.0/8[udp/100-200]"),
        ("10.0.0.0/8[47]", "10.0.0.0/8[47]"),
        ("10.0.0.0/8[any]", "10.0.0.0/8"),
        ("10.0.0.0/8[any/7]", "10.0.0.0/8[any/7]"),
        ("10.0.0.0/8[tcp/opaque]", "10.0.0.0/8[tcp/opaque]"),
        ("10.0.0.0/8[icmp/8]", "10.0.0.0/8[icmp/8]"),
        ("10.0.0.0/8[icmp/3.4]", "10.0.0.0/8[icmp/3.4]"),
        ("::/0[icmpv6/1-4]", "::/0[icmpv6/1-4]"),
        ("::/0[icmpv6/1.2-4]", "::/0[icmpv6/1.2-4.255]"),
        ("::/0[icmpv6/opaque]", "::/0[icmpv6/opaque]"),
    ],
)
def test_text_that_people_write(text: str, written: str) -> None:
    assert str(ts(text)) == written
    assert ts(written) == ts(text)


@given(selectors)
def test_text_round_trip(selector: TrafficSelector) -> None:
    assert ts(str(selector)) == selector


def test_icmp_type_and_code_share_the_port_fields() -> None:
    """RFC 7296 §3.13.1: Type in the upper eight bits, Code in the lower."""
    assert ts("10.0.0.0/8[icmp/3.4]").ports == (0x0304, 0x0304)
    assert ts("10.0.0.0/8[icmp/8]").ports == (0x0800, 0x08FF)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no traffic selector"),
        ("example.com", "no traffic selector"),
        ("10.0.0.0/8 [tcp]", "no traffic selector"),
        ("10.0.0.0/8[tcp", "no traffic selector"),
        ("999.1.1.1", "no traffic selector"),
        ("10.0.0.0/33", "no traffic selector"),
        ("10.0.0.0-::9", "no range"),
        ("10.0.0.9-10.0.0.1", "no range"),
        ("10.0.0.1/8", "10.0.0.0/8 is meant"),
        ("10.0.0.0/8[quic]", "no IP protocol"),
        ("10.0.0.0/8[256]", "no IP protocol"),
        ("10.0.0.0/8[tcp/65536]", "no port"),
        ("10.0.0.0/8[tcp/http]", "no port"),
        ("10.0.0.0/8[tcp/9-8]", "no port"),
        ("10.0.0.0/8[tcp/8-]", "no port"),
        ("10.0.0.0/8[tcp/1.2]", "no port"),
        ("10.0.0.0/8[icmp/256]", "no port"),
        ("10.0.0.0/8[icmp/1.2.3]", "no port"),
        ("10.0.0.0/8[icmp/opaque-1]", "no port"),
    ],
)
def test_wrong_text_gets_one_clear_sentence(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        ts(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        selector = ts(text)
    except ConfigurationError:
        return
    assert ts(str(selector)) == selector


# --- set algebra ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16"),
        ("10.0.0.0-10.0.0.9", "10.0.0.5-10.0.0.20", "10.0.0.5-10.0.0.9"),
        ("10.0.0.0/8", "11.0.0.0/8", None),
        ("10.0.0.0/8", "::/0", None),
        ("10.0.0.0/8", "0.0.0.0/0[tcp]", "10.0.0.0/8[tcp]"),
        ("10.0.0.0/8[tcp]", "0.0.0.0/0[udp]", None),
        ("0.0.0.0/0[tcp/80-90]", "0.0.0.0/0[tcp/85-99]", "0.0.0.0/0[tcp/85-90]"),
        ("0.0.0.0/0[tcp/80]", "0.0.0.0/0[tcp/81]", None),
        ("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp]", "0.0.0.0/0[tcp/opaque]"),
        ("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp/opaque]"),
        ("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp/0-65534]", None),
        ("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp/0]", None),
        ("0.0.0.0/0[tcp/opaque]", "0.0.0.0/0[tcp/65535]", None),
    ],
)
def test_intersection(one: str, other: str, both: str | None) -> None:
    """RFC 7296 §2.9; ANY includes OPAQUE (RFC 7296 §3.13.1)."""
    wanted = None if both is None else ts(both)
    assert ts(one).intersect(ts(other)) == wanted
    assert ts(other).intersect(ts(one)) == wanted


@given(selectors, selectors, st.data())
def test_a_flow_is_in_the_intersection_if_in_both(
    one: TrafficSelector, other: TrafficSelector, data: st.DataObject
) -> None:
    edges = [
        address
        for selector in (one, other)
        for address in (selector.start_address, selector.end_address)
    ]
    address = data.draw(st.sampled_from(edges))
    ports = [*one.ports, *other.ports]
    port = data.draw(st.one_of(st.none(), st.sampled_from(ports), u16))
    protocols = [one.ip_protocol, other.ip_protocol]
    protocol = data.draw(st.one_of(st.sampled_from(protocols), u8))
    flow = (protocol, address, port)
    both = one.intersect(other)
    assert (both is not None and both.contains_flow(*flow)) == (
        one.contains_flow(*flow) and other.contains_flow(*flow)
    )


@given(selectors, selectors)
def test_contains_means_that_the_intersection_is_the_smaller(
    one: TrafficSelector, other: TrafficSelector
) -> None:
    assert one.contains(other) == (one.intersect(other) == other)
    assert one.contains(one)
    both = one.intersect(other)
    assert both is None or (one.contains(both) and other.contains(both))


@pytest.mark.parametrize(
    ("address", "is_contained"),
    [("10.0.0.1", True), ("10.255.255.255", True), ("11.0.0.0", False), ("::", False)],
)
def test_contains_address(address: str, is_contained: bool) -> None:
    assert ts("10.0.0.0/8").contains_address(ip_address(address)) is is_contained


@pytest.mark.parametrize(
    ("text", "flow", "is_contained"),
    [
        ("10.0.0.0/8", (6, "10.0.0.1", 80), True),
        ("10.0.0.0/8", (6, "10.0.0.1", None), True),
        ("10.0.0.0/8[tcp]", (17, "10.0.0.1", 80), False),
        ("10.0.0.0/8[tcp/80]", (6, "10.0.0.1", 80), True),
        ("10.0.0.0/8[tcp/80]", (6, "10.0.0.1", 81), False),
        ("10.0.0.0/8[tcp/80]", (6, "10.0.0.1", None), False),
        ("10.0.0.0/8[tcp/80]", (6, "11.0.0.1", 80), False),
        ("10.0.0.0/8[tcp/opaque]", (6, "10.0.0.1", None), True),
        ("10.0.0.0/8[tcp/opaque]", (6, "10.0.0.1", 80), False),
        ("10.0.0.0/8[icmp/8]", (1, "10.0.0.1", 0x0800), True),
        ("10.0.0.0/8[icmp/8]", (1, "10.0.0.1", 0x0000), False),
    ],
)
def test_contains_flow(
    text: str, flow: tuple[int, str, int | None], is_contained: bool
) -> None:
    """Only ANY and OPAQUE take packets without ports (RFC 4301 §4.4.1.1)."""
    protocol, address, port = flow
    contained = ts(text).contains_flow(protocol, ip_address(address), port)
    assert contained is is_contained


# --- narrowing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "policy", "narrowed"),
    [
        # the policy allows everything that is offered
        (["10.0.0.0/24", "10.1.0.0/24"], ["0.0.0.0/0"], ["10.0.0.0/24", "10.1.0.0/24"]),
        # a part of it
        (["0.0.0.0/0"], ["10.1.0.0/16", "10.0.0.0/16"], ["10.1.0.0/16", "10.0.0.0/16"]),
        (["0.0.0.0/0", "::/0"], ["2001:db8::/32"], ["2001:db8::/32"]),
        # nothing
        (["10.0.0.0/8"], ["11.0.0.0/8"], []),
        ([], ["0.0.0.0/0"], []),
        # the packet that caused the request comes first and stays
        (
            ["198.51.100.43[udp/7]", "198.51.100.0/24"],
            ["198.51.0.0/16"],
            ["198.51.100.43/32[udp/7]", "198.51.100.0/24"],
        ),
        # even where the policy has no more than one address for it
        (
            ["198.51.100.43[udp/7]", "198.51.100.0/24"],
            ["198.51.100.43/32"],
            ["198.51.100.43/32[udp/7]", "198.51.100.43/32"],
        ),
        # unless the policy does not accept it
        (
            ["198.51.100.200", "198.51.100.0/24"],
            ["198.51.100.0/25"],
            ["198.51.100.0/25"],
        ),
        # accepted in part is not accepted
        (["10.0.0.0/24", "10.0.0.0/8"], ["10.0.0.0/25"], ["10.0.0.0/25"]),
        # what another contains is left out, whichever comes first
        (
            ["10.9.0.0/16", "10.0.0.0/24", "10.0.0.0/16"],
            ["0.0.0.0/0"],
            ["10.9.0.0/16", "10.0.0.0/16"],
        ),
        (
            ["10.0.0.0/16", "10.0.0.0/24", "10.0.0.0/16"],
            ["0.0.0.0/0"],
            ["10.0.0.0/16"],
        ),
    ],
)
def test_narrowing(offered: list[str], policy: list[str], narrowed: list[str]) -> None:
    """RFC 7296 §2.9: the cases of its list of rules."""
    result = narrow(map(ts, offered), map(ts, policy))
    assert [str(selector) for selector in result] == narrowed


small_lists = st.lists(selectors, max_size=5)


@given(small_lists, small_lists)
def test_narrowing_is_the_intersection(
    offered: list[TrafficSelector], policy: list[TrafficSelector]
) -> None:
    """Nothing beyond either side is in the result, and nothing common is missing."""
    result = narrow(offered, policy)
    for selector in result:
        assert any(wide.contains(selector) for wide in offered)
        assert any(wide.contains(selector) for wide in policy)
    common = (one.intersect(other) for one in offered for other in policy)
    for selector in common:
        assert selector is None or any(wide.contains(selector) for wide in result)
    assert len(set(result)) == len(result)


@given(st.lists(ipv4_selectors, min_size=1, max_size=4))
def test_what_the_policy_accepts_whole_keeps_its_first_selector_first(
    offered: list[TrafficSelector],
) -> None:
    """RFC 7296 §2.9: the answer includes the initiator's first choice."""
    assert narrow(offered, [any_ipv6(), any_ipv4()])[0] == offered[0]


def test_the_result_always_fits_a_payload() -> None:
    """The number of Traffic Selectors is 8 bits (RFC 7296 §3.13)."""
    offered = [ts(f"10.{n}.0.0/16") for n in range(255)]
    policy = [ts(f"0.0.0.0/0[udp/{n}]") for n in range(3)]
    assert len(narrow(offered, policy)) == MAX_SELECTORS


@given(port_ranges, port_ranges)
def test_any_contains_all_ports(one: tuple[int, int], other: tuple[int, int]) -> None:
    wide = TrafficSelector(0, 0, 65535, ip_address("::"), ip_address("::1"))
    small = TrafficSelector(6, *one, ip_address("::"), ip_address("::"))
    assert wide.contains(small)
    same = TrafficSelector(6, *other, ip_address("::"), ip_address("::"))
    assert (small.contains(same) and same.contains(small)) == (one == other)
