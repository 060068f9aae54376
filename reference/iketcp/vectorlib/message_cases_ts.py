"""Message tests of Traffic Selector and Configuration payloads.

Source: RFC 7296 §3.13, RFC 7296 §3.15
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    CREATE,
    INFO,
    INFO_RESPONSE,
    Case,
)
from iketcp.vectorlib.message_parts import (
    TSI,
    TSR,
    Selector,
    Setting,
    addresses,
    cp,
    filler,
    ts,
)

NET4 = ("0a010000", "0a0100ff")
NET6 = ("20010db8000900000000000000000000", "20010db80009ffffffffffffffffffff")
EVERY4 = ("00000000", "ffffffff")
EVERY6 = ("00" * 16, "ff" * 16)
OPAQUE = (65535, 0)


def traffic_selectors() -> Iterator[Case]:
    """Make every case of TSi and TSr, in the order of the file."""
    spec = "3.13.1"
    for comment, selector in single_selectors().items():
        for kind, name in ((TSI, "TSi"), (TSR, "TSr")):
            parts = (ts(kind, selector),)
            yield Case(f"{name}: {comment}", "Selector", spec, CREATE, parts, True)
    lists = {
        "two ranges": (addresses(*NET4), addresses("c0000200", "c00002ff")),
        "IPv4 and IPv6": (addresses(*NET4), addresses(*NET6)),
        "IPv6, IPv4, IPv6": (addresses(*NET6), addresses(*NET4), addresses(*EVERY6)),
        "the same range twice": (addresses(*NET4), addresses(*NET4)),
        "the packet that caused the request, then the policy": (
            addresses("0a090002", "0a090002", 17, (4711, 4711)),
            addresses("0a090000", "0a0900ff"),
        ),
        "255 selectors": tuple(
            addresses(f"0a0100{n:02x}", f"0a0100{n:02x}") for n in range(255)
        ),
    }
    for comment, selectors in lists.items():
        flags = "Selector Several" + (" Longest" if len(selectors) == 255 else "")
        both = (ts(TSI, *selectors), ts(TSR, addresses(*EVERY4)))
        yield Case(comment, flags, "3.13", CREATE, both, True)
    yield from unknown_selectors()


def single_selectors() -> dict[str, Selector]:
    """Make one selector of each kind."""
    icmp, icmp6, mobility = 1, 58, 135
    return {
        "an IPv4 range": addresses(*NET4),
        "one IPv4 address": addresses("0a010001", "0a010001"),
        "every IPv4 address": addresses(*EVERY4),
        "a range that is no prefix": addresses("0a010003", "0a010012"),
        "the last IPv4 address": addresses("ffffffff", "ffffffff"),
        "an IPv6 range": addresses(*NET6),
        "one IPv6 address": addresses(NET6[0], NET6[0]),
        "every IPv6 address": addresses(*EVERY6),
        "TCP port 443": addresses(*NET4, 6, (443, 443)),
        "UDP ports 5000 to 6000": addresses(*NET6, 17, (5000, 6000)),
        "UDP ports 1 to 65535": addresses(*NET4, 17, (1, 65535)),
        "UDP port 0": addresses(*NET4, 17, (0, 0)),
        "TCP port 65535": addresses(*NET4, 6, (65535, 65535)),
        "all of GRE": addresses(*NET4, 47),
        "all of protocol 255": addresses(*NET4, 255),
        "OPAQUE ports of TCP": addresses(*NET4, 6, OPAQUE),
        "OPAQUE ports of UDP, IPv6": addresses(*NET6, 17, OPAQUE),
        "OPAQUE without a protocol": addresses(*NET4, 0, OPAQUE),
        "ICMP echo request": addresses(*NET4, icmp, (0x0800, 0x08FF)),
        "ICMP destination unreachable, port": addresses(*NET4, icmp, (0x0303, 0x0303)),
        "all of ICMP": addresses(*NET4, icmp),
        "ICMPv6 packet too big": addresses(*NET6, icmp6, (0x0200, 0x02FF)),
        "ICMPv6 types 133 to 137": addresses(*NET6, icmp6, (0x8500, 0x89FF)),
        "mobility header type 5": addresses(*NET6, mobility, (0x0500, 0x0500)),
    }


def unknown_selectors() -> Iterator[Case]:
    """Offer selectors of unknown types: they are passed over, not refused."""
    for kind in (0, 1, 200, 241, 255):
        for size in (0, 1, 12, 100):
            strange = Selector(kind, 77, filler("selector", size))
            parts = (ts(TSI, addresses(*NET4), strange),)
            comment = f"a selector of unknown type {kind} and {size} octets behind IPv4"
            yield Case(comment, "UnknownNumber Selector", "2.9", CREATE, parts, True)
    strange = Selector(241, 0, filler("selector", 12))
    for comment, parts, is_never_sent in (
        ("only a selector of unknown type", (ts(TSR, strange),), False),
        (
            "selectors of unknown type among others",
            (ts(TSI, strange, addresses(*NET4), strange, addresses(*NET6)),),
            True,
        ),
    ):
        yield Case(
            comment,
            "UnknownNumber Selector",
            "2.9",
            CREATE,
            parts,
            is_protected=True,
            is_never_sent=is_never_sent,
        )


def configurations() -> Iterator[Case]:
    """Make every case of CP, in the order of the file."""
    for cfg_type, head in ((1, AUTH_REQUEST), (2, AUTH_RESPONSE), (3, INFO)):
        comment = f"CP of type {cfg_type} without attributes"
        yield Case(comment, "Configuration Empty", "3.15", head, (cp(cfg_type),), True)
    parts = (cp(4, Setting(1)),)
    comment = "CP of type 4 acknowledges an attribute"
    yield Case(comment, "Configuration", "3.15", INFO_RESPONSE, parts, True)
    for cfg_type in (0, 5, 200, 255):
        comment = f"CP of unknown type {cfg_type}"
        parts = (cp(cfg_type, Setting(1)),)
        yield Case(comment, "UnknownNumber", "3.15", INFO, parts, True)
    ip6 = bytes.fromhex("20010db8000900000000000000000002")
    filled = {
        1: bytes([10, 9, 0, 2]),
        2: bytes([255, 255, 255, 0]),
        3: bytes([10, 1, 0, 53]),
        4: bytes([10, 1, 0, 137]),
        6: bytes([10, 1, 0, 67]),
        7: b"iketcp 1",
        8: ip6 + bytes([64]),
        10: ip6,
        12: ip6,
        13: bytes([10, 1, 0, 0, 255, 255, 255, 0]),
        14: bytes([0, 1, 0, 3, 0, 8]),
        15: ip6[:6] + bytes(10) + bytes([48]),
    }
    flags, spec = "EveryNumber Configuration", "3.15.1"
    for kind, value in filled.items():
        if kind != 15:
            comment = f"CP asks for attribute {kind}"
            parts = (cp(1, Setting(kind)),)
            yield Case(comment, flags, spec, AUTH_REQUEST, parts, True)
        comment = f"CP gives attribute {kind}"
        parts = (cp(2, Setting(kind, value)),)
        yield Case(comment, flags, spec, AUTH_RESPONSE, parts, True)
    asked = tuple(Setting(kind) for kind in filled if kind != 15)
    given = tuple(Setting(kind, value) for kind, value in filled.items())
    two = (
        Setting(1, filled[1]),
        Setting(1, bytes([10, 9, 0, 3])),
        Setting(8, filled[8]),
    )
    for comment, head, part in (
        ("CP asks for everything", AUTH_REQUEST, cp(1, *asked)),
        ("CP gives everything", AUTH_RESPONSE, cp(2, *given)),
        ("CP gives two addresses of one kind", AUTH_RESPONSE, cp(2, *two)),
        ("CP asks for one address again", AUTH_REQUEST, cp(1, two[0])),
    ):
        yield Case(comment, "Configuration Several", spec, head, (part,), True)
    for bits in (0, 128):
        value = filled[8][:16] + bytes([bits])
        comment = f"CP gives an IPv6 address with prefix length {bits}"
        parts = (cp(2, Setting(8, value)),)
        yield Case(comment, "Configuration", spec, AUTH_RESPONSE, parts, True)
    for kind in (0, 5, 11, 16383, 16384, 32767):
        parts = (cp(2, Setting(kind, filler("setting", 7)), Setting(1, filled[1])),)
        comment = f"CP gives unknown attribute {kind}, then an address"
        flags = "UnknownNumber Configuration"
        yield Case(comment, flags, spec, AUTH_RESPONSE, parts, True)
