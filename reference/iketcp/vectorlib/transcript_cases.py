"""The recorded sessions: who they are between, and which course they take.

Source: RFC 7296 §1, RFC 7296 §2.6, RFC 7296 §2.8, RFC 9329 §6.1, RFC 9329 §6.2
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_configuration import child, party
from iketcp.vectorlib.transcript_scripts import (
    assigned,
    further,
    handshake,
    idle_break,
    init_lost,
    liveness,
    plain,
    request_lost,
    responder_request_lost,
    response_lost,
    whole,
    wishes,
)
from iketcp.vectorlib.wiring import EAST, WEST, Wiring

IKE = "aes256gcm16-prfsha256-x25519"
ESP = "aes256gcm16-x25519"
ESP_ALONE = "aes256gcm16"
WEST_NET, EAST_NET = "10.0.1.0/24", "10.0.2.0/24"
WEST_NET6, EAST_NET6 = "2001:db8:1::/64", "2001:db8:2::/64"
OUTER4 = ("192.0.2.1", "198.51.100.2")
OUTER6 = ("2001:db8:a::1", "2001:db8:b::2")


W = TypeVar("W", bound=Wiring)


@dataclass(frozen=True, slots=True)
class Session(Generic[W]):
    """A session to be played and written down."""

    comment: str
    flags: str
    spec: str
    script: Callable[[W], None]
    west: Json
    east: Json
    requirement: str = "9329-4-prefix"
    addresses: tuple[str, str] = OUTER4
    outside: tuple[str, str] | None = None
    """Addresses that NATs make of those; None: there is no NAT."""


def parties(
    ike: str = IKE,
    esp: str = ESP,
    *,
    east_ike: str = "",
    east_esp: str = "",
    networks: tuple[str, str] = (WEST_NET, EAST_NET),
    east_networks: tuple[str, str] | None = None,
) -> tuple[Json, Json]:
    """Describe two sides that fit each other, or not."""
    west_net, east_net = networks
    theirs = east_networks or (east_net, west_net)
    return (
        party("west.example", (ike,), [child(esp, west_net, east_net)]),
        party("east.example", (east_ike or ike,), [child(east_esp or esp, *theirs)]),
    )


def session(
    comment: str,
    flags: str,
    spec: str,
    script: Callable[[Wiring], None],
    sides: tuple[Json, Json],
    requirement: str = "",
    addresses: tuple[str, str] = OUTER4,
    outside: tuple[str, str] | None = None,
) -> Session[Wiring]:
    """Put a session over TCP together."""
    ids = f"9329-4-prefix {requirement}".strip()
    return Session(comment, flags, spec, script, *sides, ids, addresses, outside)


def cookie_sides(east_ike: str = IKE) -> tuple[Json, Json]:
    """East asks for a cookie; west prefers Curve25519 whatever east takes."""
    children = child(ESP, WEST_NET, EAST_NET), child(ESP, EAST_NET, WEST_NET)
    both = "aes256gcm16-prfsha256-x25519-ecp256"
    return (
        party("west.example", (both,), [children[0]]),
        party("east.example", (east_ike,), [children[1]], requires_cookie=True),
    )


def assigning_sides() -> tuple[Json, Json]:
    """West asks for an IPv4 address; east has some, and a name server."""
    children = (
        child(ESP, WEST_NET, EAST_NET, follows=True),
        child(ESP, EAST_NET, WEST_NET, follows=True),
    )
    pool = {"networks": [WEST_NET], "nameServers": ["10.0.2.53"]}
    return (
        party("west.example", (IKE,), [children[0]], requested_families=(4,)),
        party("east.example", (IKE,), [children[1]], pool=pool),
    )


def further_sides() -> tuple[Json, Json]:
    """Two Child SAs: the second is for UDP between two other networks."""
    more_west, more_east = "10.0.3.0/24", "10.0.4.0/24[udp]"
    return (
        party(
            "west.example",
            (IKE,),
            [
                child(ESP, WEST_NET, EAST_NET),
                child(ESP, more_west, more_east, "further"),
            ],
        ),
        party(
            "east.example",
            (IKE,),
            [
                child(ESP, EAST_NET, WEST_NET),
                child(ESP, more_east, more_west, "further"),
            ],
        ),
    )


def live_sides() -> tuple[Json, Json]:
    """West wants to hear from east every 30 seconds."""
    west, east = parties()
    return {**west, "livenessSeconds": 30}, east


# --- the sessions -----------------------------------------------------------------

SUITE_SPEC = "RFC 7296 §1.2, §1.3.2, §1.3.3, §1.4.1, §2.14, §2.17, §2.18, §3.14"
AEAD_SPEC = f"{SUITE_SPEC}; RFC 5282 §3; RFC 4106 §4"
CBC_SPEC = f"{SUITE_SPEC}; RFC 4868 §2; RFC 3602 §2"
CTR_SPEC = f"{SUITE_SPEC}; RFC 4868 §2; RFC 3686 §2"


def suite(
    ike: str, esp: str, spec: str, name: str, version: int = 4
) -> Session[Wiring]:
    """Make the whole session of a suite, over and inside IPv4 or IPv6."""
    networks = (WEST_NET, EAST_NET) if version == 4 else (WEST_NET6, EAST_NET6)
    return session(
        f"{name}, over IPv{version}" if version == 6 else name,
        "Suite ChildRekey IkeRekey IkeDelete",
        spec,
        whole(version),
        parties(ike, esp, networks=networks),
        "9329-6.1-rekey-share 9329-6.1-delete",
        OUTER4 if version == 4 else OUTER6,
    )


SUITES = (
    suite(IKE, ESP, AEAD_SPEC, "AES-GCM-256, SHA2-256, Curve25519"),
    suite(
        "chacha20poly1305-prfsha256-x448",
        "chacha20poly1305-x448-noesn",
        f"{SUITE_SPEC}; RFC 7634 §2; RFC 8031 §2",
        "ChaCha20-Poly1305, SHA2-256, Curve448",
    ),
    suite(
        "aes128-sha256-modp2048",
        "aes128-sha256-modp2048-noesn",
        CBC_SPEC,
        "AES-CBC-128, HMAC-SHA2-256, 2048-bit MODP",
    ),
    suite(
        "aes256ctr-sha512-ecp384",
        "aes256ctr-sha512-ecp384-noesn",
        CTR_SPEC,
        "AES-CTR-256, HMAC-SHA2-512, 384-bit ECP",
    ),
    suite(
        "aes128gcm16-prfsha384-ecp256",
        "aes128gcm16-ecp256-noesn",
        AEAD_SPEC,
        "AES-GCM-128, SHA2-384, 256-bit ECP",
    ),
    suite(
        "aes192-sha384-ecp521",
        "aes192-sha384-ecp521-esn",
        CBC_SPEC,
        "AES-CBC-192, HMAC-SHA2-384, 521-bit ECP",
    ),
    suite(
        "aes256-sha512-modp3072",
        "aes256-sha512",
        CBC_SPEC,
        "AES-CBC-256, HMAC-SHA2-512, 3072-bit MODP, Child SA without its own",
    ),
    suite(
        "aes128ctr-sha256-modp4096",
        "aes128ctr-sha256-modp4096",
        CTR_SPEC,
        "AES-CTR-128, HMAC-SHA2-256, 4096-bit MODP",
    ),
    suite(
        "aes192gcm16-prfsha512-x25519",
        "aes192gcm16-x25519-esn",
        AEAD_SPEC,
        "AES-GCM-192, SHA2-512, Curve25519",
        version=6,
    ),
)

REKEY = "RFC 7296 §1.3.3, §2.8, §2.17"
IKE_REKEY = "RFC 7296 §1.3.2, §2.8, §2.18"
RESUME = "9329-6.1-reprefix 9329-6.1-keep-state 9329-6.1-resume-msg"
REPEAT = f"{RESUME} 9329-6.2-reconnect"

EXCHANGES = (
    session(
        "IKE_SA_INIT, IKE_AUTH, a packet each way",
        "Suite",
        "RFC 7296 §1.2; RFC 9329 §4",
        plain,
        parties(),
    ),
    session(
        "the responder asks for a cookie",
        "Cookie",
        "RFC 7296 §2.6; RFC 9329 §6.3",
        plain,
        cookie_sides(),
        "9329-6.3-cookie-puzzle",
    ),
    session(
        "the responder wants another key exchange method",
        "InvalidKe",
        "RFC 7296 §1.2, §1.3; RFC 9329 §6.4",
        plain,
        parties(
            "aes256gcm16-prfsha256-x25519-ecp256",
            east_ike="aes256gcm16-prfsha256-ecp256",
        ),
        "9329-6.4-act",
    ),
    session(
        "a cookie, then another key exchange method",
        "Cookie InvalidKe",
        "RFC 7296 §2.6.1; RFC 9329 §6.3, §6.4",
        plain,
        cookie_sides("aes256gcm16-prfsha256-ecp256"),
        "9329-6.3-cookie-puzzle 9329-6.4-act",
    ),
    session(
        "no proposal is acceptable: NO_PROPOSAL_CHOSEN",
        "Refusal",
        "RFC 7296 §2.7; RFC 9329 §6.4",
        handshake,
        parties(east_ike="aes256-sha512-modp4096"),
        "9329-6.4-act",
    ),
    session(
        "no selector is acceptable: TS_UNACCEPTABLE, then DELETE",
        "Refusal",
        "RFC 7296 §2.9, §2.21.2",
        handshake,
        parties(east_networks=("10.8.2.0/24", "10.8.1.0/24")),
    ),
    session(
        "the selectors are narrowed",
        "Suite",
        "RFC 7296 §2.9",
        plain,
        parties(
            networks=("10.0.0.0/16", "10.0.0.0/16"), east_networks=(EAST_NET, WEST_NET)
        ),
    ),
    session(
        "an address is assigned",
        "Configuration",
        "RFC 7296 §2.19, §3.15",
        assigned,
        assigning_sides(),
    ),
    session(
        "a further Child SA",
        "FurtherChild",
        "RFC 7296 §1.3.1, §2.17",
        further,
        further_sides(),
    ),
)

REKEYS = (
    session(
        "west rekeys the Child SA, without key exchange",
        "ChildRekey",
        REKEY,
        wishes((WEST, "rekey-child", "net")),
        parties(esp=ESP_ALONE),
    ),
    session(
        "west rekeys the Child SA, with key exchange",
        "ChildRekey",
        REKEY,
        wishes((WEST, "rekey-child", "net")),
        parties(),
    ),
    session(
        "east rekeys the Child SA",
        "ChildRekey",
        REKEY,
        wishes((EAST, "rekey-child", "net")),
        parties(),
    ),
    session(
        "the Child SA's rekey needs another method",
        "ChildRekey InvalidKe",
        f"{REKEY}; RFC 7296 §1.3",
        wishes((WEST, "rekey-child", "net")),
        parties(esp="aes256gcm16-x25519-ecp256", east_esp="aes256gcm16-ecp256"),
    ),
    session(
        "west rekeys the IKE SA",
        "IkeRekey",
        IKE_REKEY,
        wishes((WEST, "rekey-ike-sa", "")),
        parties(),
        "9329-6.1-rekey-share",
    ),
    session(
        "east rekeys the IKE SA",
        "IkeRekey",
        IKE_REKEY,
        wishes((EAST, "rekey-ike-sa", "")),
        parties(),
        "9329-6.1-rekey-share 9329-1.2-originator",
    ),
    session(
        "east rekeys the IKE SA, then west does, then the Child SA",
        "IkeRekey ChildRekey",
        f"{IKE_REKEY}; RFC 7296 §1.3.3",
        wishes(
            (EAST, "rekey-ike-sa", ""),
            (WEST, "rekey-ike-sa", ""),
            (EAST, "rekey-child", "net"),
        ),
        parties(),
        "9329-6.1-rekey-share 9329-1.2-originator",
    ),
)

ENDS = (
    session(
        "west asks whether east lives",
        "Liveness",
        "RFC 7296 §1.4, §2.4; RFC 9329 §6.7",
        liveness,
        live_sides(),
        "9329-6.7-liveness",
    ),
    session(
        "west deletes the Child SA",
        "ChildDelete",
        "RFC 7296 §1.4.1",
        wishes((WEST, "delete-child", "net")),
        parties(),
    ),
    session(
        "east deletes the Child SA",
        "ChildDelete",
        "RFC 7296 §1.4.1",
        wishes((EAST, "delete-child", "net")),
        parties(),
    ),
    session(
        "west deletes the IKE SA",
        "IkeDelete",
        "RFC 7296 §1.4.1; RFC 9329 §6.1",
        wishes((WEST, "delete", "")),
        parties(),
        "9329-6.1-delete 9329-6.1-close",
    ),
    session(
        "east deletes the IKE SA",
        "IkeDelete",
        "RFC 7296 §1.4.1; RFC 9329 §6.1",
        wishes((EAST, "delete", "")),
        parties(),
        "9329-6.1-delete 9329-6.1-close",
    ),
)

RECONNECTIONS = (
    session(
        "the connection breaks while nothing is asked",
        "Reconnection",
        "RFC 9329 §6.1",
        idle_break,
        parties(),
        RESUME,
    ),
    session(
        "the connection breaks with a request on its way",
        "Reconnection Repetition ChildRekey",
        "RFC 9329 §6.1, §6.2; RFC 7296 §2.1",
        request_lost,
        parties(),
        REPEAT,
    ),
    session(
        "the connection breaks with the response on its way",
        "Reconnection Repetition ChildRekey",
        "RFC 9329 §6.1, §6.2; RFC 7296 §2.1",
        response_lost,
        parties(),
        f"{REPEAT} 9329-6.2-responder 9329-6.1-reply-path",
    ),
    session(
        "the connection breaks with a request of east's on its way",
        "Reconnection Repetition ChildRekey",
        "RFC 9329 §6.1, §6.2",
        responder_request_lost,
        parties(),
        REPEAT,
    ),
    session(
        "the connection breaks with the answer to IKE_SA_INIT on its way",
        "Reconnection Repetition",
        "RFC 9329 §6.1, §6.2; RFC 7296 §2.1",
        init_lost,
        parties(),
        "9329-6.1-reprefix 9329-6.2-reconnect",
    ),
)

CASES = (*EXCHANGES, *REKEYS, *ENDS, *RECONNECTIONS)
