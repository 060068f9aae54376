"""Runs ``inner_mtu_test.json`` against our sizes, and our answers to packets too big.

Source: RFC 9329 §3, RFC 9329 §6.8
"""

from iketcp.endpoint.data_plane import too_big_answer
from iketcp.errors import ConfigurationError
from iketcp.esp.mtu import inner_mtu
from iketcp.esp.packet import packet_size
from iketcp.vectorlib.check_ike_keys import suite_of
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, error_name, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for _, test in each(document, "InnerMtu"):
        suite = suite_of(test["cipher"], None)
        error = None
        try:
            mtu: int | None = inner_mtu(test["pathMtu"], test["outerVersion"], suite)
        except ConfigurationError as refusal:
            mtu, error = None, error_name(refusal)
        size = None if mtu is None else packet_size(mtu, suite.cipher)
        found += compare(test, "innerMtu", mtu) + compare(test, "espSize", size)
        found += compare(test, "error", error)
    for _, test in each(document, "PacketTooBig"):
        (packet,) = unhex(test, "packet")
        answer = too_big_answer(packet, test["innerMtu"])
        found += compare(test, "answer", (answer or b"").hex())
        found += compare(test, "isCarried", answer is None)
        found += compare(test, "error", None if answer is None else "PacketTooBig")
    return found
