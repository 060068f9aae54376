"""Runs ``datagram_framing_test.json`` against our reading and writing of datagrams.

Source: RFC 3948 §2, RFC 7296 §2.23
"""

from iketcp.datagram import ike_datagram, sort_datagram
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each, unhex


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, *CHECKED):
        found += CHECKED[group["type"]](test)
    return found


def check_sorting(test: Json) -> list[str]:
    """Sort one datagram."""
    (datagram,) = unhex(test, "datagram")
    kind, octets = sort_datagram(datagram, test["isEncapsulated"])
    return compare(test, "kind", kind.value) + compare(test, "octets", octets.hex())


def check_writing(test: Json) -> list[str]:
    """Write one datagram."""
    (message,) = unhex(test, "message")
    datagram = ike_datagram(message, test["isEncapsulated"])
    return compare(test, "datagram", datagram.hex())


CHECKED = {"DatagramSorting": check_sorting, "DatagramWriting": check_writing}
"""What checks a test, by the type of its group."""
