"""Which packets between two hosts are led into the tunnel device."""

from ipaddress import ip_address

from esp_support import GCM, parameters
from iketcp.ike.nat_detection import Path, Transport
from iketcp.net.routes import FlowRule
from iketcp.peers import steering

HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def rules(local: str, remote: str, is_tcp_originator: bool = True) -> list[FlowRule]:
    """The rules of a Child SA with one selector each."""
    path = Path(HERE, 40000, THERE, 4500)
    if not is_tcp_originator:
        path = Path(HERE, 4500, THERE, 40000)
    return list(
        steering.rules(parameters(GCM, [local], [remote]), path, is_tcp_originator)
    )


def test_the_connection_itself_is_left_alone() -> None:
    """By the one of its ports that stays when it is made again."""
    first = rules("192.0.2.1", "192.0.2.2")[0]
    assert first == FlowRule(THERE, 4499, 254, 6, None, (4500, 4500))
    first = rules("192.0.2.1", "192.0.2.2", is_tcp_originator=False)[0]
    assert first == FlowRule(THERE, 4499, 254, 6, (4500, 4500), None)


def test_udp_is_left_alone_on_both_ports() -> None:
    """Also where a next session begins."""
    parts = parameters(GCM, ["192.0.2.1"], ["192.0.2.2"])
    path = Path(HERE, 40000, THERE, 4501, Transport.UDP_ENCAPSULATION)
    assert list(steering.rules(parts, path, True, 501))[:-1] == [
        FlowRule(THERE, 4499, 254, 17, None, (4501, 4501)),
        FlowRule(THERE, 4499, 254, 17, None, (501, 501)),
    ]
    path = Path(HERE, 4500, THERE, 40000, Transport.UDP_ENCAPSULATION)
    assert list(steering.rules(parts, path, False))[:-1] == [
        FlowRule(THERE, 4499, 254, 17, (4500, 4500), None),
        FlowRule(THERE, 4499, 254, 17, (500, 500), None),
    ]


def test_selectors_become_rules() -> None:
    """RFC 7296 §3.13.1: protocol and ports of either side."""
    assert rules("192.0.2.1", "192.0.2.2")[1:] == [FlowRule(THERE, 4500, 4500)]
    assert rules("192.0.2.1[udp/500]", "192.0.2.2[udp/1-9]")[1:] == [
        FlowRule(THERE, 4500, 4500, 17, (500, 500), (1, 9))
    ]
    assert rules("192.0.2.1", "192.0.2.2[tcp/80]")[1:] == [
        FlowRule(THERE, 4500, 4500, 6, None, (80, 80))
    ]
    assert rules("192.0.2.1[icmp/8]", "192.0.2.2")[1:] == [
        FlowRule(THERE, 4500, 4500, 1)
    ]
    # no packet has both
    assert rules("192.0.2.1[udp]", "192.0.2.2[tcp]")[1:] == []
