"""The file ``ts_narrowing_test.json``: what a responder makes of offered selectors.

Source: RFC 7296 §2.9, RFC 7296 §3.13.1
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from iketcp.vectorlib.assembly import case, group, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "ts_narrowing"
SPEC = "RFC 7296 §2.9, §3.13.1"
OPAQUE_SPEC = "RFC 7296 §3.13.1; RFC 4301 §4.4.1.1"

HEADER = [
    "Traffic Selectors for one end of a Child SA: offered by the initiator, and policy"
    " of the responder. A list stands for the union of its selectors, and narrowed for"
    " what both allow.",
    "A selector has an IP protocol (0: any), a range of ports (0 to 65535: any, or none"
    " visible; 65535 to 0: OPAQUE, none visible) and a range of addresses. For ICMP a"
    " port is Type * 256 + Code.",
    "Valid: exactly this. Acceptable: an implementation may cut the union in another"
    " way or choose a part of it; narrowed is ours, the whole in as few selectors as"
    " there are. Invalid: nothing is left, the answer is TS_UNACCEPTABLE.",
    "The first selector offered may be the packet that caused the request; if policy"
    " has all of it, it comes first in narrowed as it was offered.",
]

NOTES = {
    "Addresses": (
        "BASIC",
        "Ranges that overlap, touch or lie apart.",
        "Traffic that policy forbids, or none at all.",
    ),
    "FirstSelector": (
        "EDGE_CASE",
        "The first selector is the packet that asked for the Child SA.",
        "A Child SA that does not carry the packet it was made for.",
    ),
    "Nothing": (
        "BASIC",
        "Offer and policy have nothing in common.",
        "Traffic that policy forbids.",
    ),
    "Opaque": (
        "EDGE_CASE",
        "Packets whose ports cannot be seen.",
        "Fragments lost, or let through.",
    ),
    "Ordinary": ("BASIC", "What most tunnels ask for.", "No tunnel."),
    "Ports": ("BASIC", "Ranges of ports.", "Traffic that policy forbids."),
    "Protocols": ("BASIC", "One IP protocol, or any.", "Traffic that policy forbids."),
    "Several": (
        "EDGE_CASE",
        "Lists of several selectors.",
        "Selectors lost, or said twice.",
    ),
    "Versions": (
        "EDGE_CASE",
        "IPv4 and IPv6 in one list.",
        "Octets of one version taken for the other's.",
    ),
}

ANY_PORTS = (0, 65535)
OPAQUE = (65535, 0)


def selector(
    addresses: str, protocol: int = 0, ports: tuple[int, int] = ANY_PORTS
) -> Json:
    """Write a selector; ``addresses`` is a prefix, a range or one address."""
    if "/" in addresses:
        network = ip_network(addresses)
        first, last = str(network[0]), str(network[-1])
    else:
        first, _, last = addresses.partition("-")
    return {
        "ipProtocol": protocol,
        "startPort": ports[0],
        "endPort": ports[1],
        "startAddress": str(ip_address(first)),
        "endAddress": str(ip_address(last or first)),
    }


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.9
    """
    tests = [*addresses(), *protocols_and_ports(), *lists(), *nothing()]
    groups = [group("TsSelection", "iketcp/ts_narrowing", tests)]
    return vector_file(NAME, "IKE-TS-NARROWING", HEADER, NOTES, groups)


def narrowing(
    comment: str,
    flags: str,
    offered: list[Json],
    policy: list[Json],
    narrowed: list[Json],
    spec: str = SPEC,
) -> Json:
    """Make a case; with more than one selector left, other answers are right too."""
    error = None if narrowed else "TsUnacceptable"
    return case(
        comment,
        flags,
        spec,
        result="acceptable" if len(narrowed) > 1 else "",
        error=error,
        reaction="TS_UNACCEPTABLE" if error else None,
        offered=offered,
        policy=policy,
        narrowed=narrowed,
    )


def addresses() -> Iterator[Json]:
    """Try ranges of addresses."""
    everything, net = selector("0.0.0.0/0"), selector("10.1.0.0/16")
    yield narrowing("the same", "Ordinary", [net], [net], [net])
    yield narrowing("everything offered", "Ordinary", [everything], [net], [net])
    yield narrowing("everything allowed", "Ordinary", [net], [everything], [net])
    v6, all6 = selector("2001:db8::/32"), selector("::/0")
    yield narrowing("IPv6, all offered", "Ordinary", [all6], [v6], [v6])
    for comment, one, other, both in (
        ("overlap", "10.0.0.0-10.0.0.99", "10.0.0.50-10.0.1.0", "10.0.0.50-10.0.0.99"),
        ("touch in one address", "10.0.0.0-10.0.0.9", "10.0.0.9-10.0.0.20", "10.0.0.9"),
        ("inside", "10.0.0.1-10.0.0.3", "10.0.0.0/24", "10.0.0.1-10.0.0.3"),
        ("over the sign bit", "127.0.0.0-128.0.0.255", "128.0.0.0/8", "128.0.0.0/24"),
        ("one address", "192.0.2.7", "192.0.2.0/24", "192.0.2.7"),
        ("end of the range", "255.255.255.0/24", "255.255.255.255", "255.255.255.255"),
        (
            "overlap, IPv6",
            "2001:db8::-2001:db8::9",
            "2001:db8::5-2001:db8::f",
            "2001:db8::5-2001:db8::9",
        ),
    ):
        yield narrowing(
            comment, "Addresses", [selector(one)], [selector(other)], [selector(both)]
        )


def protocols_and_ports() -> Iterator[Json]:
    """Try IP protocols and ranges of ports."""
    net = "192.0.2.0/24"
    for comment, flags, one, other, both in (
        ("any and TCP", "Protocols", (0, ANY_PORTS), (6, ANY_PORTS), (6, ANY_PORTS)),
        ("UDP and any", "Protocols", (17, ANY_PORTS), (0, ANY_PORTS), (17, ANY_PORTS)),
        ("ports overlap", "Ports", (6, (80, 90)), (6, (85, 443)), (6, (85, 90))),
        ("any, one port", "Ports", (0, ANY_PORTS), (17, (53, 53)), (17, (53, 53))),
        ("ports touch", "Ports", (6, (1, 80)), (6, (80, 81)), (6, (80, 80))),
        ("ICMP echo", "Ports", (1, (2048, 2048)), (1, (2048, 2303)), (1, (2048, 2048))),
    ):
        yield narrowing(
            comment,
            flags,
            [selector(net, *one)],
            [selector(net, *other)],
            [selector(net, *both)],
        )
    for comment, ports in (("any", ANY_PORTS), ("OPAQUE", OPAQUE)):
        yield narrowing(
            f"OPAQUE and {comment}",
            "Opaque",
            [selector(net, 6, OPAQUE)],
            [selector(net, 6, ports)],
            [selector(net, 6, OPAQUE)],
            OPAQUE_SPEC,
        )


def lists() -> Iterator[Json]:
    """Try lists of selectors."""
    a, b, c = (selector(f"10.{n}.0.0/16") for n in (1, 2, 3))
    everything = selector("10.0.0.0/8")
    yield narrowing("two of three", "Several", [everything], [a, b], [a, b])
    yield narrowing("one list is the other", "Several", [a, b], [b, a], [a, b])
    yield narrowing("one in common", "Several", [a, b], [b, c], [b])
    yield narrowing("said twice", "Several", [a, a], [everything], [a])
    part = selector("10.1.5.0/24")
    yield narrowing("a part behind its whole", "Several", [a, part], [everything], [a])
    v4, v6 = selector("0.0.0.0/0"), selector("::/0")
    net6 = selector("2001:db8::/64")
    yield narrowing("both versions", "Versions", [v4, v6], [a, net6], [a, net6])
    yield narrowing("one version allowed", "Versions", [v4, v6], [net6], [net6])
    packet = selector("10.1.0.7", 6, (443, 443))
    yield narrowing(
        "packet first", "FirstSelector", [packet, everything], [a], [packet, a]
    )
    outside = selector("10.9.0.7", 6, (443, 443))
    yield narrowing(
        "packet not allowed", "FirstSelector", [outside, everything], [a], [a]
    )
    tcp, udp = selector("10.1.0.0/16", 6), selector("10.1.0.0/16", 17)
    yield narrowing("two protocols", "Several Protocols", [a], [tcp, udp], [tcp, udp])
    yield narrowing(
        "one protocol of two", "Several Protocols", [tcp, udp], [tcp], [tcp]
    )


def nothing() -> Iterator[Json]:
    """Try offers that policy does not allow."""
    net = "192.0.2.0/24"
    for comment, flags, one, other in (
        ("other addresses", "Nothing", selector(net), selector("198.51.100.0/24")),
        (
            "neighbours",
            "Nothing Addresses",
            selector("10.0.0.0/25"),
            selector("10.0.0.128/25"),
        ),
        ("other version", "Nothing Versions", selector("0.0.0.0/0"), selector("::/0")),
        ("other protocol", "Nothing Protocols", selector(net, 6), selector(net, 17)),
        (
            "other ports",
            "Nothing Ports",
            selector(net, 6, (1, 79)),
            selector(net, 6, (80, 90)),
        ),
        (
            "OPAQUE and some ports",
            "Nothing Opaque",
            selector(net, 6, OPAQUE),
            selector(net, 6, (1, 65535)),
        ),
        (
            "mapped into IPv6",
            "Nothing Versions",
            selector("192.0.2.1"),
            selector("::ffff:192.0.2.1"),
        ),
    ):
        yield narrowing(comment, flags, [one], [other], [])
    yield narrowing("no policy at all", "Nothing", [selector(net)], [], [])
    two = [selector("10.1.0.0/16", 6), selector("10.2.0.0/16", 17)]
    crossed = [selector("10.1.0.0/16", 17), selector("10.2.0.0/16", 6)]
    yield narrowing("protocols crossed", "Nothing Several", two, crossed, [])
