"""The recorded sessions with what later RFCs added.

Puzzles, crash detection, implicit IVs, ML-KEM, PPKs, and transport mode with its NATs.

Source: RFC 8019 §7, RFC 6290 §4, RFC 8750 §4, RFC 9370 §2.1, RFC 7296 §2.23.1
Source: RFC 8784 §3, RFC 6023 §3
"""

from __future__ import annotations

from iketcp.vectorlib.assembly import octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_cases import (
    ESP,
    IKE,
    OUTER4,
    OUTER6,
    REKEY,
    parties,
    session,
)
from iketcp.vectorlib.transcript_configuration import child, party, ppk
from iketcp.vectorlib.transcript_scripts import crash, handshake, hosts, plain, wishes
from iketcp.vectorlib.wiring import EAST, WEST

PPK_ID, PPK = "2026-06", octets("PPK", 32)

DIFFICULTY = 6
"""Zero bits: a puzzle that is solved at once."""


def with_puzzle(difficulty: int) -> tuple[Json, Json]:
    """Describe a responder that gives everybody a puzzle."""
    west, east = parties()
    return west, {**east, "puzzleDifficulty": difficulty}


def with_tokens() -> tuple[Json, Json]:
    """Describe two sides that give each other tokens."""
    west, east = (
        {**side, "crashSecret": octets(f"{number} QCD_SECRET", 32).hex()}
        for number, side in enumerate(parties())
    )
    return west, east


def between_hosts(version: int = 4) -> tuple[Json, Json]:
    """Describe two hosts that want transport mode, whatever their addresses are."""
    anywhere = "0.0.0.0/0[udp]" if version == 4 else "::/0[udp]"
    one = child(ESP, anywhere, anywhere, mode="transport")
    return party("west.example", (IKE,), [one]), party("east.example", (IKE,), [one])


def with_ppks(
    west: bool = False, east: bool = False, *, id: str = PPK_ID
) -> tuple[Json, Json]:
    """Describe two sides with a PPK, mandatory or not; east's may have another name."""
    ours, theirs = parties()
    return (
        {**ours, "ppks": [ppk(PPK_ID, PPK, is_mandatory=west)]},
        {**theirs, "ppks": [ppk(id, PPK, is_mandatory=east)]},
    )


def with_ppk_of_east() -> tuple[Json, Json]:
    """Describe a side that has no PPK, and one that insists on it."""
    (west, _), (_, east) = parties(), with_ppks(east=True)
    return west, east


def without_child(
    west: str, east: str, sides: tuple[Json, Json] | None = None
) -> tuple[Json, Json]:
    """Describe two sides that may do without a Child SA in IKE_AUTH."""
    ours, theirs = sides or parties()
    return {**ours, "childless": west}, {**theirs, "childless": east}


CHILDLESS = (
    session(
        "no Child SA in IKE_AUTH, but in the exchange that follows",
        "Childless FurtherChild",
        "RFC 6023 §3, §4; RFC 7296 §1.3.1",
        plain,
        without_child("prefer", "allow"),
    ),
    session(
        "no Child SA in IKE_AUTH is allowed, and nobody wishes it",
        "Childless",
        "RFC 6023 §3",
        plain,
        without_child("allow", "allow"),
    ),
    session(
        "no Child SA in IKE_AUTH, and a PPK: the IKE SA is rekeyed first",
        "Childless Ppk FurtherChild IkeRekey",
        "RFC 6023 §3, §4; RFC 7296 §1.3.1, §1.3.2; RFC 8784 §3, §6",
        plain,
        without_child("force", "allow", with_ppks(west=True, east=True)),
        "9329-6.1-rekey-share",
    ),
)

PPK_SPEC = "RFC 8784 §3, §5.1"

PPKS = (
    session(
        "a PPK, and both rekeys",
        "Ppk ChildRekey IkeRekey",
        f"{PPK_SPEC}; RFC 7296 §1.3.2, §1.3.3",
        wishes((WEST, "rekey-child", "net"), (EAST, "rekey-ike-sa", "")),
        with_ppks(),
        "9329-6.1-rekey-share",
    ),
    session(
        "a PPK that is mandatory",
        "Ppk",
        PPK_SPEC,
        plain,
        with_ppks(west=True, east=True),
    ),
    session(
        "a PPK that the responder does not know: both do without",
        "Ppk",
        PPK_SPEC,
        plain,
        with_ppks(id="another"),
    ),
    session(
        "a PPK that is mandatory, and the initiator has none",
        "Ppk Refusal",
        f"{PPK_SPEC}; RFC 7296 §2.21.2",
        handshake,
        with_ppk_of_east(),
    ),
)

PRIVATE = ("10.1.1.1", "10.2.2.2")
PUBLIC = ("203.0.113.1", "198.51.100.2")
TRANSPORT = "RFC 7296 §1.3.1, §2.23.1; RFC 3948 §3.1.2, §3.3"

HOSTS = (
    session(
        "transport mode between two hosts",
        "TransportMode",
        TRANSPORT,
        hosts(*OUTER4, *reversed(OUTER4)),
        between_hosts(),
    ),
    session(
        "transport mode between two hosts, over IPv6",
        "TransportMode",
        TRANSPORT,
        hosts(*OUTER6, *reversed(OUTER6)),
        between_hosts(6),
        addresses=OUTER6,
    ),
    session(
        "transport mode: both hosts are behind NATs",
        "TransportMode Nat",
        f"{TRANSPORT}; RFC 9329 §6.5",
        hosts(PRIVATE[0], PUBLIC[1], PRIVATE[1], PUBLIC[0]),
        between_hosts(),
        "9329-6.5-checksum",
        addresses=PRIVATE,
        outside=PUBLIC,
    ),
)

CASES = (
    session(
        "the responder gives a puzzle",
        "Puzzle",
        "RFC 8019 §7.1; RFC 9329 §6.3",
        plain,
        with_puzzle(DIFFICULTY),
        "9329-6.3-cookie-puzzle 9329-6.3-initiator",
    ),
    session(
        "the responder gives a puzzle and leaves the work to the initiator",
        "Puzzle",
        "RFC 8019 §7.1.1.1; RFC 9329 §6.3",
        plain,
        with_puzzle(0),
        "9329-6.3-cookie-puzzle 9329-6.3-initiator",
    ),
    session(
        "east crashes and proves that it has lost the IKE SA",
        "Crash Reconnection",
        "RFC 6290 §4.1, §4.2, §4.5, §5.1; RFC 9329 §6.1",
        crash,
        with_tokens(),
        "9329-6.1-reprefix",
    ),
    session(
        "tokens go with every new IKE SA",
        "Crash IkeRekey",
        "RFC 6290 §4.3; RFC 7296 §1.3.2",
        wishes((WEST, "rekey-ike-sa", ""), (EAST, "rekey-ike-sa", "")),
        with_tokens(),
        "9329-6.1-rekey-share",
    ),
    session(
        "AES-GCM with implicit IV",
        "ImplicitIv ChildRekey",
        f"{REKEY}; RFC 8750 §4, §5",
        wishes((WEST, "rekey-child", "net")),
        parties(esp="aes256gcm16iiv-x25519-esn"),
    ),
    session(
        "ChaCha20-Poly1305 with implicit IV",
        "ImplicitIv ChildRekey",
        f"{REKEY}; RFC 8750 §4, §5",
        wishes((EAST, "rekey-child", "net")),
        parties(esp="chacha20poly1305iiv-x25519-noesn"),
    ),
    session(
        "ML-KEM-768 as key exchange method, and in both rekeys",
        "Suite ChildRekey IkeRekey",
        f"{REKEY}; RFC 7296 §1.3.2; RFC 9370 §2.1",
        wishes((WEST, "rekey-child", "net"), (EAST, "rekey-ike-sa", "")),
        parties("aes256gcm16-prfsha256-mlkem768", "aes256gcm16-mlkem768"),
        "9329-6.1-rekey-share",
    ),
    session(
        "ML-KEM-1024 as key exchange method",
        "Suite",
        "RFC 7296 §1.2; RFC 9370 §2.1",
        plain,
        parties("aes256gcm16-prfsha512-mlkem1024"),
    ),
    *HOSTS,
    *PPKS,
    *CHILDLESS,
)
