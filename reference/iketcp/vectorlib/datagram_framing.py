"""The file ``datagram_framing_test.json``: what a UDP datagram holds, on either port.

Source: RFC 3948 §2, RFC 7296 §2.23
"""

from collections.abc import Iterator

from iketcp.registry import ExchangeType
from iketcp.vectorlib.assembly import case, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "datagram_framing"
SPEC = "RFC 7296 §2.23; RFC 3948 §2.2"
ESP_SPEC = "RFC 7296 §2.23; RFC 3948 §2.1"
KEEPALIVE_SPEC = "RFC 3948 §2.3, §4"
MARKER = bytes(4)

HEADER = [
    "DatagramSorting: what a receiver takes a datagram for. isEncapsulated: it came to"
    " port 4500, which IKE and ESP share; otherwise to port 500, which has IKE alone.",
    "kind: ike (octets without the non-ESP marker), esp, keepalive, empty, unparseable."
    " Keepalives and what is empty pass without a trace; what is unparseable is dropped"
    " and counted.",
    "DatagramWriting: the datagram of an IKE message, to port 4500 (isEncapsulated) or"
    " to port 500.",
    "The messages have true headers and filler behind them.",
]

NOTES = {
    "Esp": (
        "BASIC",
        "An ESP packet on port 4500.",
        "Taken for IKE it is lost, and with it the tunnel.",
    ),
    "Ike": (
        "BASIC",
        "An IKE message, with the marker on port 4500 and without it on port 500.",
        "The peers do not understand each other, or only until the ports change.",
    ),
    "Keepalive": (
        "BASIC",
        "A NAT keepalive.",
        "Treated as an error it fills a log; as life, it hides a dead peer.",
    ),
    "MustNot": (
        "BASIC",
        "What must not be taken for something else.",
        "Octets of a stranger reach code that was not meant for them.",
    ),
    "ShortDatagram": (
        "EDGE_CASE",
        "Fewer octets than a marker, an SPI or an IKE header has.",
        "A reader that goes on reads past the end.",
    ),
    "WrongPort": (
        "EDGE_CASE",
        "What belongs on the other port.",
        "Octets are read four too early or too late.",
    ),
}


def ike_message(size: int = 80) -> bytes:
    """An IKE_SA_INIT request with filler: ``size`` octets, header included."""
    head = octets("datagram spi i", 8) + bytes(8) + b"\x21\x20"
    head += bytes([ExchangeType.IKE_SA_INIT, 0x08]) + bytes(4)
    return head + size.to_bytes(4, "big") + octets("datagram filler", size - 28)


ESP_PACKET = b"\xc0\xff\xee\x01\0\0\0\x01" + octets("datagram esp", 64)


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 3948 §2
    """
    source = "iketcp/datagram_framing"
    groups = [
        group("DatagramSorting", source, [*on_port_4500(), *on_port_500()]),
        group("DatagramWriting", source, list(written())),
    ]
    return vector_file(NAME, "IKE-UDP-DATAGRAM", HEADER, NOTES, groups)


def sorting(
    comment: str,
    flags: str,
    spec: str,
    datagram: bytes,
    is_encapsulated: bool,
    kind: str,
) -> Json:
    """Make one test of what a datagram is taken for."""
    is_marked = kind == "ike" and is_encapsulated
    refused = kind == "unparseable"
    return case(
        comment,
        flags,
        spec,
        isEncapsulated=is_encapsulated,
        datagram=datagram,
        kind=kind,
        octets=datagram[4:] if is_marked else datagram,
        error="Unparseable" if refused else None,
        reaction="drop" if refused else None,
    )


def on_port_4500() -> Iterator[Json]:
    """IKE, ESP, keepalives, and what is none of them."""
    message = ike_message()
    for comment, flags, spec, datagram, kind in (
        ("IKE behind the marker", "Ike", SPEC, MARKER + message, "ike"),
        ("a header and nothing else", "Ike", SPEC, MARKER + ike_message(28), "ike"),
        ("an ESP packet", "Esp", ESP_SPEC, ESP_PACKET, "esp"),
        (
            "an SPI that begins with 00",
            "Esp MustNot",
            ESP_SPEC,
            b"\0\0\1\0" + ESP_PACKET[4:],
            "esp",
        ),
        (
            "an SPI that begins with ff",
            "Esp MustNot",
            ESP_SPEC,
            b"\xff" + ESP_PACKET[1:],
            "esp",
        ),
        ("an SPI and no more", "Esp ShortDatagram", ESP_SPEC, ESP_PACKET[:4], "esp"),
        ("a NAT keepalive", "Keepalive", KEEPALIVE_SPEC, b"\xff", "keepalive"),
        (
            "two octets ff",
            "Keepalive MustNot",
            KEEPALIVE_SPEC,
            b"\xff\xff",
            "unparseable",
        ),
        (
            "one octet, not ff",
            "Keepalive MustNot",
            KEEPALIVE_SPEC,
            b"\xfe",
            "unparseable",
        ),
        ("nothing at all", "ShortDatagram", SPEC, b"", "empty"),
        ("three zero octets", "ShortDatagram", SPEC, bytes(3), "unparseable"),
        ("the marker alone", "ShortDatagram", SPEC, MARKER, "unparseable"),
        (
            "a header cut by an octet",
            "ShortDatagram",
            SPEC,
            MARKER + message[:27],
            "unparseable",
        ),
        ("IKE without the marker", "WrongPort MustNot", SPEC, message, "esp"),
    ):
        yield sorting(f"port 4500: {comment}", flags, spec, datagram, True, kind)


def on_port_500() -> Iterator[Json]:
    """IKE, and what cannot be."""
    message = ike_message()
    spec = "RFC 7296 §2.23"
    for comment, flags, datagram, kind in (
        ("IKE", "Ike", message, "ike"),
        ("a header and nothing else", "Ike", ike_message(28), "ike"),
        ("a marker before IKE", "WrongPort MustNot", MARKER + message, "ike"),
        ("an ESP packet is read as IKE", "WrongPort MustNot", ESP_PACKET, "ike"),
        ("a NAT keepalive", "WrongPort", b"\xff", "unparseable"),
        ("a header cut by an octet", "ShortDatagram", message[:27], "unparseable"),
        ("nothing at all", "ShortDatagram", b"", "empty"),
    ):
        yield sorting(f"port 500: {comment}", flags, spec, datagram, False, kind)


def written() -> Iterator[Json]:
    """Messages to either port, as small and as large as RFC 7296 §2 asks for."""
    for is_encapsulated, port in ((False, 500), (True, 4500)):
        marker = MARKER if is_encapsulated else b""
        for size in (28, 80, 1280, 3000):
            message = ike_message(size)
            yield case(
                f"{size} octets to port {port}",
                "Ike",
                SPEC,
                isEncapsulated=is_encapsulated,
                message=message,
                datagram=marker + message,
            )
