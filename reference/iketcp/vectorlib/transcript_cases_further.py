"""The recorded sessions with additional key exchanges.

Source: RFC 9242 §3.3, RFC 9370 §2.2
"""

from __future__ import annotations

from collections.abc import Callable

from iketcp.vectorlib.datagram_wiring import DatagramWiring
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_cases import (
    EAST_NET,
    ESP,
    IKE,
    WEST_NET,
    parties,
    session,
)
from iketcp.vectorlib.transcript_cases_authentication import (
    KEYS,
    asks_for_passwords,
    certified,
    eap,
)
from iketcp.vectorlib.transcript_configuration import child, party
from iketcp.vectorlib.transcript_scripts import (
    handshake,
    ping,
    plain,
    up,
    wishes,
)
from iketcp.vectorlib.wiring import EAST, WEST, Wiring

HYBRID = "-ke1_mlkem768"
THREE = "-ke1_mlkem1024-ke2_ecp256-ke5_x448"
SMALL = "-ke1_ecp256-ke2_x448"

INTERMEDIATE = "RFC 9242 §3.2, §3.3.1, §3.3.2; RFC 9370 §2.2.1, §2.2.2"
FOLLOWUP = "RFC 9370 §2.2.4; RFC 7296 §1.3.2, §1.3.3"


def with_more(
    ike: str, esp: str = "", east_ike: str | None = None
) -> tuple[Json, Json]:
    """Describe two sides by what comes behind the first key exchange."""
    theirs = IKE + (ike if east_ike is None else east_ike)
    return parties(IKE + ike, ESP + esp, east_ike=theirs)


def proving(west: Json, east: Json) -> tuple[Json, Json]:
    """Describe two sides with two more key exchanges, by their proofs."""
    return (
        party(
            "west.example",
            (IKE + SMALL,),
            [child(ESP, WEST_NET, EAST_NET)],
            authentication=west,
        ),
        party(
            "east.example",
            (IKE + SMALL,),
            [child(ESP, EAST_NET, WEST_NET)],
            authentication=east,
        ),
    )


def intermediate_lost(wiring: Wiring) -> None:
    """The answer to the first IKE_INTERMEDIATE is lost; the request is repeated."""
    wiring.wish(WEST, "begin")
    id = wiring.connect()
    for _ in range(4):  # the prefix, IKE_SA_INIT there and back, the request
        wiring.deliver_one()
    wiring.cut(id)
    wiring.connect()
    wiring.settle()
    ping(wiring)


def at_once(wish: str, name: str = "") -> Callable[[Wiring], None]:
    """Both sides wish for the same rekey, and their requests cross."""

    def script(wiring: Wiring) -> None:
        plain(wiring)
        for side in (WEST, EAST):
            wiring.wish(side, wish, name)
        wiring.settle()
        ping(wiring, "after")

    return script


def too_late(wiring: Wiring) -> None:
    """IKE_FOLLOWUP_KE comes when the responder waits no more; it is tried again."""
    id = up(wiring)
    wiring.wish(WEST, "rekey-child", "net")
    wiring.deliver_one()
    wiring.deliver_one()
    wiring.cut(id)
    wiring.pass_time(21)
    wiring.connect()
    wiring.settle()
    wiring.pass_time(10)
    ping(wiring, "after")


CASES = (
    session(
        "Curve25519 and ML-KEM-768, in the first IKE SA and in both rekeys",
        "FurtherKeyExchange ChildRekey IkeRekey",
        f"{INTERMEDIATE}; {FOLLOWUP}",
        wishes((WEST, "rekey-child", "net"), (EAST, "rekey-ike-sa", "")),
        with_more(HYBRID, HYBRID),
        "9329-6.1-rekey-share",
    ),
    session(
        "three additional key exchanges",
        "FurtherKeyExchange",
        INTERMEDIATE,
        plain,
        with_more(THREE),
    ),
    session(
        "an additional key exchange that may be left out, and is",
        "FurtherKeyExchange",
        "RFC 9370 §2.2.1; RFC 9242 §3.1",
        plain,
        with_more("-ke1_mlkem768-ke1_none", east_ike=""),
    ),
    session(
        "an additional key exchange that the initiator does not offer",
        "FurtherKeyExchange Refusal",
        "RFC 9370 §2.2.1; RFC 7296 §2.7",
        handshake,
        with_more("", east_ike=HYBRID),
    ),
    session(
        "additional key exchanges, then certificates",
        "FurtherKeyExchange Certificates",
        f"{INTERMEDIATE}; RFC 7427 §3",
        plain,
        proving(certified(WEST, KEYS["Ed25519"]), certified(EAST, KEYS["P-256"])),
    ),
    session(
        "additional key exchanges, then EAP-MSCHAPv2",
        "FurtherKeyExchange Eap Certificates",
        f"{INTERMEDIATE}; RFC 7296 §2.16",
        plain,
        proving(eap(), asks_for_passwords()),
    ),
    session(
        "the connection breaks with the answer to IKE_INTERMEDIATE on its way",
        "FurtherKeyExchange Reconnection Repetition",
        f"{INTERMEDIATE}; RFC 7296 §2.1; RFC 9329 §6.1, §6.2",
        intermediate_lost,
        with_more(SMALL),
        "9329-6.1-reprefix 9329-6.2-reconnect 9329-6.2-responder",
    ),
    session(
        "both rekey the Child SA at once, with additional key exchanges",
        "FurtherKeyExchange Collision ChildRekey",
        f"{FOLLOWUP}; RFC 7296 §2.8.1",
        at_once("rekey-child", "net"),
        with_more("", SMALL),
    ),
    session(
        "both rekey the IKE SA at once, with additional key exchanges",
        "FurtherKeyExchange Collision IkeRekey",
        f"{FOLLOWUP}; RFC 7296 §2.8.2",
        at_once("rekey-ike-sa"),
        with_more(SMALL),
        "9329-6.1-rekey-share",
    ),
    session(
        "IKE_FOLLOWUP_KE comes too late: STATE_NOT_FOUND, and once more from the start",
        "FurtherKeyExchange Reconnection Repetition ChildRekey",
        f"{FOLLOWUP}; RFC 9329 §6.1, §6.2",
        too_late,
        with_more("", SMALL),
        "9329-6.1-reprefix 9329-6.2-reconnect",
    ),
)


def first_answer_lost(wiring: DatagramWiring) -> None:
    """An answer of two fragments is lost by half; the request is sent again."""
    wiring.begin()
    for _ in range(4):  # IKE_SA_INIT there and back, IKE_INTERMEDIATE in two fragments
        wiring.deliver_one()
    wiring.lose_one()
    wiring.settle()
    wiring.pass_time(2)
    wiring.wish(WEST, "rekey-ike-sa")
    wiring.settle()
    ping(wiring)
