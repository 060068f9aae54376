"""The recorded sessions in which two requests cross, or something is refused.

And those with the identities that no other session has.

Source: RFC 7296 §2.8.1, RFC 7296 §2.8.2, RFC 7296 §2.25, RFC 7296 §3.5
"""

from __future__ import annotations

from collections.abc import Callable

from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_cases import (
    EAST_NET,
    ESP,
    IKE,
    IKE_REKEY,
    REKEY,
    WEST_NET,
    Session,
    parties,
    session,
)
from iketcp.vectorlib.transcript_configuration import child, party
from iketcp.vectorlib.transcript_scripts import handshake, ping, plain
from iketcp.vectorlib.wiring import EAST, WEST, Wiring

Wish = tuple[str, str, str]
"""Side, wish, and the name of the Child SA."""


def crossing(west: Wish, east: Wish) -> Callable[[Wiring], None]:
    """Handshake, then a wish of either side before anything arrives.

    What is refused for now would be tried again, each side after a pause of its own.
    """

    def script(wiring: Wiring) -> None:
        plain(wiring)
        for side, wish, name in (west, east):
            wiring.wish(side, wish, name)
        wiring.settle()
        if "delete-child" not in (west[1], east[1]):
            ping(wiring, "after")

    return script


REKEY_CHILD, REKEY_IKE = "rekey-child", "rekey-ike-sa"

CROSSINGS = (
    session(
        "both rekey the Child SA at once",
        "Collision ChildRekey",
        f"{REKEY}; RFC 7296 §2.8.1",
        crossing((WEST, REKEY_CHILD, "net"), (EAST, REKEY_CHILD, "net")),
        parties(),
    ),
    session(
        "both rekey the IKE SA at once",
        "Collision IkeRekey",
        f"{IKE_REKEY}; RFC 7296 §2.8.1, §2.25.2",
        crossing((WEST, REKEY_IKE, ""), (EAST, REKEY_IKE, "")),
        parties(),
        "9329-6.1-rekey-share",
    ),
    session(
        "west rekeys the IKE SA while east rekeys the Child SA: TEMPORARY_FAILURE",
        "Collision Refusal",
        f"{IKE_REKEY}; RFC 7296 §1.3.3, §2.25.2",
        crossing((WEST, REKEY_IKE, ""), (EAST, REKEY_CHILD, "net")),
        parties(),
        "9329-6.1-rekey-share",
    ),
    session(
        "west deletes the Child SA that east rekeys",
        "Collision Refusal ChildDelete",
        "RFC 7296 §1.4.1, §2.25.1",
        crossing((WEST, "delete-child", "net"), (EAST, REKEY_CHILD, "net")),
        parties(),
    ),
)


def assigning(networks: list[str], families: tuple[int, ...]) -> tuple[Json, Json]:
    """Describe a responder with a pool, and an initiator that asks or does not."""
    ours = child(ESP, WEST_NET, EAST_NET, follows=True)
    theirs = child(ESP, EAST_NET, WEST_NET, follows=True)
    pool: Json = {"networks": networks, "nameServers": []}
    return (
        party("west.example", (IKE,), [ours], requested_families=families),
        party("east.example", (IKE,), [theirs], pool=pool),
    )


REFUSALS = (
    session(
        "an IPv4 address is asked for, and there is none: INTERNAL_ADDRESS_FAILURE",
        "Configuration Refusal",
        "RFC 7296 §2.19, §3.15.4",
        handshake,
        assigning(["2001:db8:1::/120"], (4,)),
    ),
    session(
        "no address is asked for, and there has to be: FAILED_CP_REQUIRED",
        "Configuration Refusal",
        "RFC 7296 §2.19, §3.15.4",
        handshake,
        assigning([WEST_NET], ()),
    ),
)


def identified(west: str, east: str) -> Session[Wiring]:
    """Make a session between two identities of other kinds."""
    return session(
        f"identities: {west} and {east}",
        "Identity",
        "RFC 7296 §2.15, §3.5",
        plain,
        (
            party(west, (IKE,), [child(ESP, WEST_NET, EAST_NET)]),
            party(east, (IKE,), [child(ESP, EAST_NET, WEST_NET)]),
        ),
    )


IDENTITIES = (
    identified("192.0.2.1", "2001:db8::2"),
    identified("user@west.example", "keyid:c0ffee"),
    identified("O=Example, CN=west", "O=Example, CN=east"),
)

CASES = (*CROSSINGS, *REFUSALS, *IDENTITIES)
