"""The story that the demonstration tells of two traces."""

import io
from typing import Any

import pytest
from rich.console import Console

from iketcp.demo.explanations import explain, purpose
from iketcp.demo.narrator import HOLD_SECONDS, Line, Narrator, Story
from iketcp.demo.picture import picture, to_ascii
from iketcp.demo.scenery import EAST, WEST

LATE = 1000.0


def message(
    time: float,
    direction: str,
    exchange: str = "INFORMATIONAL",
    message_id: int = 2,
    is_response: bool = False,
    payloads: tuple[str, ...] = (),
    **fields: Any,
) -> dict[str, Any]:
    return {
        "time": time,
        "kind": "ike-message",
        "direction": direction,
        "exchange": exchange,
        "message_id": message_id,
        "is_response": is_response,
        "spi_i": "11" * 8,
        "spi_r": "22" * 8,
        "connection": 1,
        "octets": 57,
        "payloads": list(payloads),
        "is_retransmission": False,
        **fields,
    }


def story_of(*events: tuple[str, dict[str, Any]]) -> list[Line]:
    story = Story()
    for site, event in events:
        story.add(site, event)
    return story.due(LATE)


def shown(lines: list[Line], encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    narrator = Narrator(Console(file=stream, width=76, color_system=None), 10.0)
    narrator.tell(lines)
    stream.seek(0)
    return "\n".join(line.rstrip() for line in stream.read().splitlines())


HANDSHAKE: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        EAST,
        {
            "time": 10.1,
            "kind": "tunnel-device",
            "name": "iketcp0",
            "mtu": 1400,
            "addresses": ["10.1.0.1/24"],
        },
    ),
    (
        WEST,
        {
            "time": 10.2,
            "kind": "connection-opened",
            "connection": 1,
            "local": "192.0.2.1 40000",
            "remote": "192.0.2.2 4500",
            "is_tcp_originator": True,
        },
    ),
    (
        WEST,
        {"time": 10.21, "kind": "stream-prefix", "connection": 1, "direction": "sent"},
    ),
    (
        EAST,
        {
            "time": 10.22,
            "kind": "stream-prefix",
            "connection": 1,
            "direction": "received",
        },
    ),
    (
        WEST,
        message(
            10.23, "sent", "IKE_SA_INIT", 0, payloads=("SA(…)", "Nonce(32 octets)")
        ),
    ),
    (EAST, message(10.24, "received", "IKE_SA_INIT", 0, payloads=("SA(…)",))),
    (EAST, message(10.25, "sent", "IKE_SA_INIT", 0, True, ("SA(…)",), octets=200)),
    (
        WEST,
        {
            "time": 10.26,
            "kind": "ike-keys",
            "spi_i": "11" * 8,
            "spi_r": "22" * 8,
            "suite": "AES_GCM_16-256 / CURVE25519",
            "keys": ["SK_d", "SK_ei"],
        },
    ),
)

GOLDEN = """\
   0.100 east           tunnel device iketcp0, MTU 1400: 10.1.0.1/24
   0.200 west ──▶ east  TCP connection 1: 192.0.2.1 40000 to 192.0.2.2 4500
                        Who opens the TCP connection is the TCP Originator,
                        and the one to open the next if this one breaks.
                        [RFC 9329 §6.1]
   0.210 west ──▶ east  stream prefix IKETCP
                        Six octets, once, and only from the TCP Originator:
                        they tell IKETCP from whatever else speaks TCP on
                        this port. [RFC 9329 §4]
   0.230 west ──▶ east  IKE_SA_INIT request, Message ID 0 (57 octets)
                        SA(…) · Nonce(32 octets)
                        Offers algorithms, half a key exchange and a nonce;
                        everything is in the clear, as there are no keys so
                        far. [RFC 7296 §1.2]
   0.250 east ──▶ west  IKE_SA_INIT response, Message ID 0 (200 octets)
                        SA(…)
                        Chooses one of the proposals and adds the other
                        half. [RFC 7296 §1.2]
   0.260 west           keys agreed: SK_d, SK_ei
                        AES_GCM_16-256 / CURVE25519
                        SPIi 1111111111111111, SPIr 2222222222222222
                        Both sides computed these from the two public values
                        and nonces; none of them crossed the wire. [RFC 7296
                        §2.14]"""


def test_a_handshake_reads_as_it_should() -> None:
    """Each thing once, from the side that did it, explained with its section."""
    assert shown(story_of(*HANDSHAKE)) == GOLDEN


def test_a_plain_terminal_gets_plain_characters() -> None:
    """Arrows, dots and section signs have likenesses in ASCII."""
    text = shown(story_of(*HANDSHAKE[4:5]), "ascii")
    assert "west --> east" in text
    assert "SA(...) | Nonce" in text
    assert "[RFC 7296 section 1.2]" in text
    assert to_ascii("Zürich") == "Z?rich"


def test_two_traces_become_one_in_order_of_time() -> None:
    """What came by another pipe later but happened earlier is told earlier."""
    lines = story_of(*reversed(HANDSHAKE))
    assert [line.time for line in lines] == sorted(line.time for line in lines)


def test_an_event_waits_for_an_earlier_one() -> None:
    """Nothing is told before it is old enough to be in order."""
    story = Story()
    story.add(WEST, HANDSHAKE[1][1])
    assert story.due(10.2 + HOLD_SECONDS / 2) == []
    story.add(EAST, HANDSHAKE[0][1])
    told = story.due(10.2 + HOLD_SECONDS * 2)
    assert [line.who for line in told] == [EAST, WEST]
    assert story.due(LATE) == []


def test_no_response_is_told_before_its_request() -> None:
    """It may be noted down earlier; whatever else happened keeps its place."""
    told = story_of(
        (EAST, message(1.0, "sent", message_id=5, is_response=True)),
        (WEST, message(1.2, "sent", message_id=5)),
        (WEST, message(1.1, "sent", message_id=4)),
        (EAST, message(1.3, "sent", message_id=5)),
    )
    assert [(line.who, line.title.split(",")[0]) for line in told] == [
        (WEST, "INFORMATIONAL request"),
        (WEST, "INFORMATIONAL request"),
        (EAST, "INFORMATIONAL response"),
        (EAST, "INFORMATIONAL request"),
    ]


def test_an_explanation_is_given_once() -> None:
    """The second connection needs no word about what a TCP Originator is."""
    _, (site, event), *_ = HANDSHAKE
    first, second = story_of((site, event), (site, {**event, "connection": 2}))
    assert first.explanation is not None
    assert second.explanation is None


def test_a_response_is_explained_by_its_request() -> None:
    """RFC 7296 §1.4.1: an answer to DELETE may be empty and is no liveness check."""
    request, response = story_of(
        (WEST, message(1, "sent", payloads=("D(IKE)",))),
        (EAST, message(2, "sent", is_response=True)),
    )
    assert request.explanation == explain(message(1, "sent"), "DELETE")
    assert response.explanation == explain(message(2, "x", is_response=True), "DELETE")
    assert response.details == ("no payloads",)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (message(1, "sent", "IKE_AUTH"), "IKE_AUTH"),
        (message(1, "sent"), "EMPTY"),
        (message(1, "sent", payloads=("D(ESP 01020304)",)), "DELETE"),
        (message(1, "sent", payloads=("N(COOKIE)",)), "INFORMATIONAL"),
    ],
)
def test_purpose_of_a_message(event: dict[str, Any], name: str) -> None:
    """An INFORMATIONAL exchange is known by what is in it."""
    assert purpose(event) == name


@pytest.mark.parametrize(
    ("payloads", "is_response", "words"),
    [
        (("IDi(a)", "AUTH(x)", "SA()"), False, "proof of it, and the first Child SA"),
        (("IDr(a)", "AUTH(x)", "SA()"), True, "addresses it assigns"),
        (("IDi(a)", "SA()"), False, "asks for EAP"),
        (("IDr(a)", "AUTH(x)", "EAP(5 octets)"), True, "first question in EAP"),
        (("EAP(5 octets)",), False, "answer in EAP"),
        (("EAP(4 octets)",), True, "next question"),
        (("AUTH(x)",), False, "made with that key"),
        (("AUTH(x)", "SA()"), True, "at last"),
    ],
)
def test_rounds_of_eap_are_told_apart(
    payloads: tuple[str, ...], is_response: bool, words: str
) -> None:
    """RFC 7296 §2.16: an exchange of one name does four things."""
    event = message(1, "sent", "IKE_AUTH", payloads=payloads, is_response=is_response)
    explanation = explain(event, "IKE_AUTH")
    assert explanation is not None
    assert words in explanation.text


def test_a_retransmission_is_called_one() -> None:
    """RFC 9329 §6.2: they happen after a reconnection, and are told."""
    (line,) = story_of((WEST, message(1, "sent", is_retransmission=True)))
    assert "Message ID 2, again" in line.title


def test_the_other_kinds_are_told_from_one_side() -> None:
    """Mapping moves in the east; connections, keys and Child SAs are told by west."""
    child = {
        "child": "net",
        "spi_in": "01020304",
        "spi_out": "05060708",
        "suite": "AES_GCM_16-256",
        "keys": ["SK_ei", "SK_er"],
    }
    ts = {"local_ts": ["10.9.0.2/32"], "remote_ts": ["10.1.0.0/24"]}
    events: list[dict[str, Any]] = [
        {"kind": "connection-closed", "connection": 1, "reason": "reset"},
        {"kind": "mapping-moved", "from": 1, "to": 2},
        {"kind": "mapping-moved", "from": None, "to": 3},
        {"kind": "child-keys", **child},
        {"kind": "child-sa-installed", **child, **ts},
        {"kind": "child-sa-rekeyed", **child},
        {"kind": "child-sa-removed", **child},
        {"kind": "ike-sa-established", "remote_identity": "east.example"},
        {"kind": "ike-sa-closed", "reason": "deleted by us"},
        {"kind": "nat-detection"},
    ]
    numbered = [{"time": number, **event} for number, event in enumerate(events)]
    lines = story_of(*((s, event) for s in (WEST, EAST) for event in numbered))
    assert [(line.who, line.title) for line in lines] == [
        (WEST, "TCP connection 1 ended: reset"),
        (EAST, "IKE SA moved from connection 1 to connection 2"),
        (EAST, "IKE SA moved to connection 3"),
        (WEST, "keys of Child SA net: SK_ei, SK_er"),
        (WEST, "Child SA net up"),
        (WEST, "Child SA net rekeyed"),
        (WEST, "Child SA net removed (SPI in 01020304, out 05060708)"),
        (WEST, "IKE SA with east.example established"),
        (WEST, "IKE SA closed: deleted by us"),
    ]
    assert lines[4].details[1] == "10.9.0.2/32  to  10.1.0.0/24"


@pytest.mark.parametrize("site", [WEST, EAST])
def test_trouble_is_told_from_either_side(site: str) -> None:
    """What goes wrong is never left out."""
    (line,) = story_of((site, {"time": 1, "kind": "problem", "text": "no room"}))
    assert (line.who, line.title, line.is_trouble) == (site, "problem: no room", True)


def test_an_explanation_cites_its_section() -> None:
    """Every sentence says where to read on."""
    found = explain({"kind": "child-keys"})
    assert found is not None
    assert found.section == "RFC 7296 §2.17"
    assert explain({"kind": "nat-detection"}) is None


def test_the_picture_is_rectangular() -> None:
    """Frames line up, with namespaces and without, in either set of characters."""
    for drawing in (picture(), picture(True), picture(False, False)):
        title, *rows = drawing.splitlines()
        assert {len(row) for row in rows} == {len(rows[0])}
        assert len(title) <= len(rows[0])
    assert picture(True).isascii()
