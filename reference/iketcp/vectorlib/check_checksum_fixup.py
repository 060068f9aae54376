"""Runs ``checksum_fixup_test.json`` against our function.

Source: RFC 3948 §3.1.2
"""

from ipaddress import ip_address

from iketcp.errors import MalformedPacketError
from iketcp.esp.checksum_fixup import fix_checksum
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for _, test in each(document, "ChecksumFixup"):
        (packet,) = unhex(test, "packet")
        real = ip_address(test["realSource"]), ip_address(test["realDestination"])
        fixed: str | None = None
        error: str | None = None
        try:
            fixed = fix_checksum(packet, *real).hex()
        except MalformedPacketError as refusal:
            error = error_name(refusal)
        found += compare(test, "fixed", fixed) + compare(test, "error", error)
    return found
