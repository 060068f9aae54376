"""Runs ``nat_detection_test.json`` against our digests and comparison.

Source: RFC 7296 §2.23
"""

from ipaddress import ip_address

from iketcp.ike.nat_detection import Path, detect_nat, nat_detection_data
from iketcp.ike.payloads import NotifyPayload
from iketcp.registry import NotifyType
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](group, test)
    return found


def check_digest(group: Json, test: Json) -> list[str]:
    """Compute one digest."""
    spi_i, spi_r = unhex(test, "spiI", "spiR")
    address = ip_address(test["address"])
    found = compare(test, "addressOctets", address.packed.hex())
    digest = nat_detection_data(spi_i, spi_r, address, test["port"])
    return found + compare(test, "digest", digest.hex())


def check_comparison(group: Json, test: Json) -> list[str]:
    """Compare digests with both ends."""
    local, remote = test["local"], test["remote"]
    path = Path(
        ip_address(local["address"]),
        local["port"],
        ip_address(remote["address"]),
        remote["port"],
    )
    payloads = [
        NotifyPayload(kind, bytes.fromhex(digest))
        for kind, name in (
            (NotifyType.NAT_DETECTION_SOURCE_IP, "sourceDigests"),
            (NotifyType.NAT_DETECTION_DESTINATION_IP, "destinationDigests"),
        )
        for digest in test[name]
    ]
    spi_i, spi_r = unhex(group, "spiI", "spiR")
    got = detect_nat(payloads, spi_i, spi_r, path)
    return compare(test, "isLocalBehindNat", got.is_local_behind_nat) + compare(
        test, "isRemoteBehindNat", got.is_remote_behind_nat
    )


CHECKED = {"NatDigest": check_digest, "NatComparison": check_comparison}
"""What checks a test, by the type of its group."""
