"""The file ``nat_detection_test.json``: the digests, and what comparing them shows.

Source: RFC 7296 §2.23, RFC 9329 §6.5
"""

import hashlib
from collections.abc import Iterator
from ipaddress import ip_address

from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "nat_detection"
SPEC = "RFC 7296 §2.23; RFC 9329 §6.5"
NATD = "9329-6.5-natd"
NO_CHANGE = "9329-6.5-nochange"
SPI_I = octets("natd spi i", 8)
SPI_R = octets("natd spi r", 8)

HEADER = [
    "NatDigest: digest = SHA-1(spiI | spiR | address, 4 or 16 octets | port, 16 bits)."
    " Over TCP the port is the TCP connection's. addressOctets is address as hashed.",
    "NatComparison: what a receiver with this local and remote end finds when the"
    " message holds these NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP"
    " digests, in any number. null: there were none of that kind, so nothing is known."
    " Over TCP nothing follows from a NAT but knowing of it.",
]

NOTES = {
    "MustNot": (
        "BASIC",
        "A digest that must not be taken for the right one.",
        "A NAT goes unseen, or a peer that computes wrongly.",
    ),
    "NatFound": (
        "BASIC",
        "An address or port was changed on the way.",
        "A NAT goes unseen; over TCP only a log suffers.",
    ),
    "NoDigest": (
        "EDGE_CASE",
        "The peer sent no such Notify.",
        "A NAT is reported where nothing is known.",
    ),
    "NoNat": ("BASIC", "Nothing was changed on the way.", "A NAT that is not there."),
    "OddDigest": (
        "EDGE_CASE",
        "A digest that no peer computes: octets swapped, cut, or SPIs the wrong way.",
        "A NAT goes unseen.",
    ),
    "Ordinary": ("BASIC", "A digest as every peer computes it.", "A false NAT."),
    "SeveralSources": (
        "EDGE_CASE",
        "Several source digests, from a peer that does not know its own address.",
        "A NAT that is not there.",
    ),
}


def digest(address: str, port: int, spi_r: bytes = SPI_R) -> bytes:
    """Compute one digest. Source: RFC 7296 §2.23."""
    text = SPI_I + spi_r + ip_address(address).packed + port.to_bytes(2, "big")
    return hashlib.sha1(text, usedforsecurity=False).digest()


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.23, RFC 9329 §6.5
    """
    source = "iketcp/nat_detection"
    groups = [
        group("NatDigest", source, list(digests())),
        group("NatComparison", source, list(comparisons()), spiI=SPI_I, spiR=SPI_R),
    ]
    return vector_file(NAME, "IKE-NAT-DETECTION", HEADER, NOTES, groups)


def digests() -> Iterator[Json]:
    """Compute digests of both IP versions and several ports."""
    for address, port in (
        ("192.0.2.1", 4500),
        ("192.0.2.1", 443),
        ("192.0.2.1", 49152),
        ("198.51.100.254", 65535),
        ("0.0.0.0", 0),
        ("255.255.255.255", 256),
        ("2001:db8::1", 4500),
        ("2001:db8::1", 1),
        ("fe80::c0ff:ee", 50000),
        ("::ffff:192.0.2.1", 4500),
    ):
        for name, spi_r in (("request", bytes(8)), ("response", SPI_R)):
            yield case(
                f"{address} port {port}, in the IKE_SA_INIT {name}",
                "Ordinary",
                SPEC,
                requirement=NATD,
                spiI=SPI_I,
                spiR=spi_r,
                address=address,
                addressOctets=ip_address(address).packed,
                port=port,
                digest=digest(address, port, spi_r),
            )


def end(address: str, port: int) -> Json:
    """Describe one end of a TCP connection."""
    return {"address": address, "port": port}


def comparisons() -> Iterator[Json]:
    """Compare digests with what a receiver sees."""
    for local, remote in (
        (("192.0.2.1", 4500), ("198.51.100.7", 49999)),
        (("2001:db8::1", 4500), ("2001:db8::2", 50001)),
    ):
        good = digest(*remote), digest(*local)
        moved = digest("203.0.113.9", remote[1])
        other_port = digest(remote[0], remote[1] + 1)
        before = digest("10.0.0.1", local[1])
        swapped = digest(remote[0], int.from_bytes(remote[1].to_bytes(2, "little")))
        for comment, flags, sources, targets, found in (
            ("no NAT", "NoNat", [good[0]], [good[1]], (False, False)),
            ("peer's address", "NatFound", [moved], [good[1]], (False, True)),
            ("peer's port", "MustNot NatFound", [other_port], [good[1]], (False, True)),
            ("our address", "NatFound", [good[0]], [before], (True, False)),
            ("both", "NatFound", [moved], [before], (True, True)),
            (
                "the second of three sources fits",
                "SeveralSources",
                [moved, good[0], other_port],
                [good[1]],
                (False, False),
            ),
            ("none at all", "NoDigest", [], [], (None, None)),
            ("no source", "NoDigest", [], [good[1]], (False, None)),
            ("no destination", "NoDigest", [good[0]], [], (None, False)),
            ("kinds exchanged", "OddDigest", [good[1]], [good[0]], (True, True)),
            ("port swapped", "MustNot OddDigest", [swapped], [good[1]], (False, True)),
            ("cut", "OddDigest", [good[0][:19]], [good[1]], (False, True)),
            ("empty", "OddDigest", [b""], [good[1]], (False, True)),
            (
                "last bit",
                "OddDigest",
                [flipped(good[0], -1)],
                [flipped(good[1], -1)],
                (True, True),
            ),
        ):
            yield case(
                f"{comment}, IPv{ip_address(local[0]).version}",
                flags,
                SPEC,
                requirement=f"{NATD} {NO_CHANGE}",
                local=end(*local),
                remote=end(*remote),
                sourceDigests=sources,
                destinationDigests=targets,
                isLocalBehindNat=found[0],
                isRemoteBehindNat=found[1],
            )
