"""Runs ``ts_narrowing_test.json`` against our narrowing.

Source: RFC 7296 §2.9
"""

from ipaddress import ip_address

from iketcp.selectors import TrafficSelector, narrow
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for _, test in each(document, "TsSelection"):
        ours = narrow(read(test["offered"]), read(test["policy"]))
        found += compare(test, "narrowed", [write(one) for one in ours])
    return found


def read(selectors: list[Json]) -> list[TrafficSelector]:
    """Make our selectors of a file's."""
    return [
        TrafficSelector(
            one["ipProtocol"],
            one["startPort"],
            one["endPort"],
            ip_address(one["startAddress"]),
            ip_address(one["endAddress"]),
        )
        for one in selectors
    ]


def write(selector: TrafficSelector) -> Json:
    """Make a file's selector of ours."""
    return {
        "ipProtocol": selector.ip_protocol,
        "startPort": selector.start_port,
        "endPort": selector.end_port,
        "startAddress": str(selector.start_address),
        "endAddress": str(selector.end_address),
    }
