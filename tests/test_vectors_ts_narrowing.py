"""The file ``ts_narrowing_test.json`` against packets tried one by one."""

import itertools
from ipaddress import ip_address

from iketcp.vectorlib import check_ts_narrowing
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, unnoticed

Packet = tuple[int, int, int, int | None]


def selects(selector: Json, packet: Packet) -> bool:
    """Tell whether a selector has a packet; port None: it cannot be seen."""
    version, address, protocol, port = packet
    first, last = (ip_address(selector[f"{w}Address"]) for w in ("start", "end"))
    start, end = selector["startPort"], selector["endPort"]
    if port is None:
        is_port = (start, end) in ((0, 65535), (65535, 0))
    else:
        is_port = start <= port <= end
    return (
        is_port
        and first.version == version
        and int(first) <= address <= int(last)
        and selector["ipProtocol"] in (0, protocol)
    )


def samples(selectors: list[Json]) -> set[Packet]:
    """Make packets at and beside every edge of some selectors."""
    ends, protocols, ports = set(), {1, 6, 17, 47}, {None, 0, 65535}
    for one in selectors:
        for which in ("start", "end"):
            address = ip_address(one[f"{which}Address"])
            limit = 2**address.max_prefixlen
            ends |= {
                (address.version, int(address) + step)
                for step in (-1, 0, 1)
                if 0 <= int(address) + step < limit
            }
            port = one[f"{which}Port"]
            ports |= {p for p in (port - 1, port, port + 1) if 0 <= p <= 65535}
        protocols |= {one["ipProtocol"]} - {0}
    return {
        (*end, protocol, port)
        for end, protocol, port in itertools.product(ends, protocols, ports)
    }


def has(selectors: list[Json], packet: Packet) -> bool:
    """Tell whether a list of selectors has a packet."""
    return any(selects(one, packet) for one in selectors)


def test_narrowed_is_what_both_allow() -> None:
    """RFC 7296 §2.9: a packet is in narrowed if offer and policy both have it."""
    for _, test in grouped("ts_narrowing", "TsSelection"):
        offered, policy, narrowed = (
            test[name] for name in ("offered", "policy", "narrowed")
        )
        for packet in samples(offered + policy + narrowed):
            both = has(offered, packet) and has(policy, packet)
            assert has(narrowed, packet) == both, (test["tcId"], packet)


def test_results_follow_from_the_answer() -> None:
    """RFC 7296 §2.9: nothing left is refused; only one way to say it is valid."""
    for _, test in grouped("ts_narrowing", "TsSelection"):
        count = len(test["narrowed"])
        results = {0: "invalid", 1: "valid"}
        assert test["result"] == results.get(count, "acceptable"), test["tcId"]
        if "FirstSelector" in test["flags"] and count > 1:
            assert test["narrowed"][0] == test["offered"][0]


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_ts_narrowing.problems(document("ts_narrowing")) == []
    assert unnoticed("ts_narrowing", "TsSelection", "narrowed") == []
