"""The recorded sessions over UDP, where large IKE messages go in fragments.

Source: RFC 7296 §2.1, RFC 7296 §2.23, RFC 7383 §2.5
"""

from __future__ import annotations

from collections.abc import Callable

from iketcp.vectorlib.datagram_wiring import DatagramWiring
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_cases import OUTER4, OUTER6, Session, parties
from iketcp.vectorlib.transcript_cases_authentication import (
    CERTIFICATES,
    KEYS,
    MIDDLE,
    certified,
    sides,
)
from iketcp.vectorlib.transcript_cases_further import (
    FOLLOWUP,
    HYBRID,
    INTERMEDIATE,
    first_answer_lost,
    with_more,
)
from iketcp.vectorlib.transcript_scripts import ping
from iketcp.vectorlib.wiring import EAST, WEST


def over_udp(wiring: DatagramWiring) -> None:
    """Handshake, packets, both rekeys, DELETE."""
    wiring.begin()
    wiring.settle()
    ping(wiring, "first")
    wiring.wish(WEST, "rekey-child", "net")
    wiring.settle()
    wiring.wish(WEST, "rekey-ike-sa")
    wiring.settle()
    ping(wiring, "second")
    wiring.wish(WEST, "delete")


def in_fragments(wiring: DatagramWiring) -> None:
    """Handshake, and a packet each way."""
    wiring.begin()
    wiring.settle()
    ping(wiring)


def fragment_lost(wiring: DatagramWiring) -> None:
    """The second fragment of IKE_AUTH is lost; the request is sent again."""
    wiring.begin()
    for _ in range(3):  # IKE_SA_INIT there and back, and the first fragment
        wiring.deliver_one()
    wiring.lose_one()
    wiring.settle()
    wiring.pass_time(2)
    ping(wiring)


def answer_lost(wiring: DatagramWiring) -> None:
    """The answer to IKE_SA_INIT is lost; request and answer are sent again."""
    wiring.begin()
    wiring.deliver_one()
    wiring.lose_one()
    wiring.pass_time(2)
    ping(wiring)


def rekey_lost(wiring: DatagramWiring) -> None:
    """East's rekey is lost; when it comes again, west has deleted the Child SA."""
    wiring.begin()
    wiring.settle()
    ping(wiring)
    wiring.wish(EAST, "rekey-child", "net")
    wiring.lose_one()
    wiring.wish(WEST, "delete-child", "net")
    wiring.settle()
    wiring.pass_time(2)


def session(
    comment: str,
    flags: str,
    spec: str,
    script: Callable[[DatagramWiring], None],
    described: tuple[Json, Json],
    addresses: tuple[str, str] = OUTER4,
) -> Session[DatagramWiring]:
    """Put a session over UDP together."""
    return Session(comment, flags, spec, script, *described, "", addresses)


def large() -> tuple[Json, Json]:
    """Describe two sides whose IKE_AUTH is too large for one datagram."""
    return sides(
        certified(WEST, KEYS["RSA"], issuer=MIDDLE),
        certified(EAST, KEYS["RSA"], issuer=MIDDLE),
    )


FRAGMENTS = f"{CERTIFICATES}; RFC 7383 §2.3, §2.5"

CASES = (
    session(
        "over UDP: handshake, packets, both rekeys, DELETE",
        "Datagrams ChildRekey IkeRekey IkeDelete",
        "RFC 7296 §1.2, §1.3.2, §1.3.3, §1.4.1, §2.23; RFC 3948 §2.2",
        over_udp,
        parties(),
    ),
    session(
        "over UDP: the answer to IKE_SA_INIT is lost",
        "Datagrams Repetition",
        "RFC 7296 §1.2, §2.1",
        answer_lost,
        parties(),
    ),
    session(
        "over UDP: IKE_AUTH in fragments, both ways",
        "Datagrams Fragments Certificates",
        FRAGMENTS,
        in_fragments,
        large(),
    ),
    session(
        "over UDP and IPv6: a fragment of IKE_AUTH is lost, all are sent again",
        "Datagrams Fragments Certificates Repetition",
        f"{FRAGMENTS}; RFC 7383 §2.6; RFC 7296 §2.1",
        fragment_lost,
        large(),
        OUTER6,
    ),
    session(
        "over UDP: east rekeys a Child SA that west has deleted: CHILD_SA_NOT_FOUND",
        "Datagrams Repetition Collision Refusal ChildDelete",
        "RFC 7296 §1.4.1, §2.1, §2.25, §2.25.1",
        rekey_lost,
        parties(),
    ),
    session(
        "over UDP: ML-KEM-768 in fragments, one of an answer is lost",
        "Datagrams Fragments FurtherKeyExchange Repetition IkeRekey",
        f"{INTERMEDIATE}; {FOLLOWUP}; RFC 7383 §2.5, §2.6.1; RFC 7296 §2.1",
        first_answer_lost,
        with_more(HYBRID),
    ),
)
