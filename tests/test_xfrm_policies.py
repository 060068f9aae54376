"""Traffic Selectors in the kernel's words take the same packets as ours."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_support import selectors
from iketcp.esp.selector_check import SelectorCheck
from iketcp.inner import Flow
from iketcp.xfrm.policies import KernelSelector, Ports, kernel_selectors, port_blocks

PORT = st.integers(0, 65535)


def takes(ports: Ports, port: int) -> bool:
    """As the kernel compares."""
    return (port ^ ports.value) & ports.mask == 0


@given(PORT, PORT, PORT)
def test_blocks_cover_exactly_the_range(one: int, other: int, port: int) -> None:
    start, end = sorted((one, other))
    blocks = list(port_blocks(start, end))
    assert len(blocks) <= 30
    for probe in (start, end, port, max(start - 1, 0), min(end + 1, 65535)):
        assert sum(takes(b, probe) for b in blocks) == (start <= probe <= end)


def test_blocks_of_what_is_common() -> None:
    assert list(port_blocks(0, 65535)) == [Ports(0, 0)]
    assert list(port_blocks(80, 80)) == [Ports(80, 0xFFFF)]
    assert list(port_blocks(1024, 65535)) == [
        Ports(1024, 0xFC00),
        Ports(2048, 0xF800),
        Ports(4096, 0xF000),
        Ports(8192, 0xE000),
        Ports(16384, 0xC000),
        Ports(32768, 0x8000),
    ]
    assert list(port_blocks(65535, 0)) == []


def one(local: str, remote: str) -> KernelSelector:
    (selector,) = kernel_selectors(selectors(local), selectors(remote))
    return selector


def test_networks_and_ports() -> None:
    assert one("10.1.0.0/24", "10.2.0.0/16[tcp/443]") == KernelSelector(
        ip_network("10.1.0.0/24"),
        ip_network("10.2.0.0/16"),
        6,
        Ports(),
        Ports(443, 0xFFFF),
    )
    assert one("10.1.0.0/24[udp]", "0.0.0.0/0").protocol == 17
    assert one("::/0", "2001:db8::/32").destination == ip_network("2001:db8::/32")


def test_a_range_of_addresses_is_several_networks() -> None:
    made = kernel_selectors(selectors("10.0.0.1-10.0.0.4"), selectors("10.2.0.0/24"))
    assert [str(s.source) for s in made] == [
        "10.0.0.1/32",
        "10.0.0.2/31",
        "10.0.0.4/32",
    ]


def test_what_cannot_meet_is_left_out() -> None:
    """Other IP versions, other protocols, and ports that cannot be seen."""
    for local, remote in (
        ("10.1.0.0/24", "2001:db8::/32"),
        ("10.1.0.0/24[tcp]", "10.2.0.0/24[udp]"),
        ("10.1.0.0/24[tcp/opaque]", "10.2.0.0/24[tcp]"),
        ("10.1.0.0/24[icmp/8]", "10.2.0.0/24[icmp/3]"),
    ):
        assert not list(kernel_selectors(selectors(local), selectors(remote)))


def test_icmp_has_type_and_code_where_others_have_ports() -> None:
    selector = one("10.1.0.0/24[icmp/8]", "10.2.0.0/24")
    assert selector.source_ports == Ports(8, 0xFF)
    assert selector.destination_ports == Ports(0, 0)
    assert one("0.0.0.0/0", "10.2.0.0/24[icmp/3.4]")[3:] == (
        Ports(3, 0xFF),
        Ports(4, 0xFF),
    )
    back = selector.reversed()
    assert back.source == ip_network("10.2.0.0/24")
    assert back.source_ports == Ports(8, 0xFF)


def test_the_way_back_has_everything_the_other_way_round() -> None:
    selector = one("10.1.0.0/24[tcp/80]", "10.2.0.0/16[tcp/1000-1001]")
    assert selector.reversed() == KernelSelector(
        ip_network("10.2.0.0/16"),
        ip_network("10.1.0.0/24"),
        6,
        Ports(1000, 0xFFFE),
        Ports(80, 0xFFFF),
    )
    assert selector.reversed().reversed() == selector


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (("10.1.2.0/24", "10.2.0.0/16"), ("10.1.0.0/16", "10.2.0.0/16")),
        (("10.1.0.0/16[tcp]", "10.2.0.0/16"), ("10.1.0.0/16", "10.2.0.0/16")),
        (("10.1.0.0/16[tcp/80]", "10.2.0.0/16"), ("10.1.0.0/16[tcp]", "10.2.0.0/16")),
        (("::1", "::2"), ("::/0", "::/0")),
    ],
)
def test_the_narrower_decides(narrow: tuple[str, str], wide: tuple[str, str]) -> None:
    assert 0 < one(*narrow).priority < one(*wide).priority


ADDRESSES = ["10.1.0.1", "10.1.0.200", "10.2.0.1", "10.2.255.255", "192.0.2.1"]
SIDES = ["10.1.0.0/24", "10.1.0.0/16[tcp]", "0.0.0.0/0[udp/53]", "10.2.0.0/16"]
SIDES += ["10.1.0.1-10.2.0.1[tcp/80-443]", "0.0.0.0/0[47]", "10.2.0.0/15[icmp/8]"]


@given(
    st.lists(st.sampled_from(SIDES), min_size=1, max_size=3),
    st.lists(st.sampled_from(SIDES), min_size=1, max_size=3),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ADDRESSES),
    st.sampled_from([6, 17, 47]),
    st.sampled_from([0, 53, 80, 300, 443, 60000]),
    st.sampled_from([53, 80, 443, 444]),
)
def test_the_kernel_takes_what_user_space_takes(
    local: list[str],
    remote: list[str],
    source: str,
    destination: str,
    protocol: int,
    source_port: int,
    destination_port: int,
) -> None:
    """Every flow is judged alike, by our check and by the kernel's comparison."""
    ends = ip_address(source), ip_address(destination)
    has_ports = protocol in (6, 17)
    ports = (source_port, destination_port) if has_ports else (None, None)
    flow = Flow(4, protocol, ends[0].packed, ends[1].packed, *ports)
    check = SelectorCheck(selectors(*local), selectors(*remote))
    compared = ports if has_ports else (0, 0)
    kernel = any(
        ends[0] in s.source
        and ends[1] in s.destination
        and s.protocol in (0, protocol)
        and takes(s.source_ports, compared[0] or 0)
        and takes(s.destination_ports, compared[1] or 0)
        for s in kernel_selectors(selectors(*local), selectors(*remote))
    )
    assert kernel == check.matches(flow)
