"""Framing tests of the other direction: messages, and the octets that go out.

Long messages are given by their beginning and size, so that the file stays small.

Source: RFC 9329 §3, RFC 9329 §3.1, RFC 9329 §3.2
"""

from collections.abc import Iterator, Sequence

from iketcp.vectorlib.assembly import case
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.framing_parts import MARKER, esp_packet, ike_message

KIND = "MessageFraming"
LONGEST = 0xFFFF - 2
"""Octets that Length can count besides itself. Source: RFC 9329 §3."""

ESP_SPEC = "RFC 9329 §3, §3.2"
IKE_SPEC = "RFC 9329 §3, §3.1"
LENGTH = "9329-3-length"
MAX = "9329-3-max"


def written() -> Iterator[Json]:
    """Frame messages of every size that matters, and refuse what is too long."""
    for size in (9, 40, 253, 254, 1400, 32766, LONGEST - 1, LONGEST):
        reqs = f"{LENGTH} {MAX}" if size >= LONGEST - 1 else LENGTH
        yield _case(f"an ESP packet of {size} octets", ESP_SPEC, reqs, [("esp", size)])
    for size in (28, 60, 249, 250, 1400, LONGEST - 5, LONGEST - 4):
        reqs = f"{LENGTH} 9329-3.1-marker"
        reqs += f" {MAX}" if size >= LONGEST - 5 else ""
        comment = f"an IKE message of {size} octets"
        yield _case(comment, IKE_SPEC, reqs, [("ike", size)])
    several = [("esp", 40), ("ike", 60), ("esp", 41)]
    reqs = f"{LENGTH} 9329-3-type"
    yield _case("an ESP packet, an IKE message, an ESP packet", ESP_SPEC, reqs, several)
    for comment, spec, messages in (
        ("one octet too many of ESP", ESP_SPEC, [("esp", LONGEST + 1)]),
        ("one octet too many of IKE", IKE_SPEC, [("ike", LONGEST - 3)]),
        ("far too many", ESP_SPEC, [("esp", 1 << 17)]),
        (
            "one too long among others: nothing of them is written",
            ESP_SPEC,
            [("esp", 40), ("esp", LONGEST + 1), ("esp", 41)],
        ),
    ):
        yield _case(comment, spec, MAX, messages)


def _case(
    comment: str, spec: str, requirement: str, messages: Sequence[tuple[str, int]]
) -> Json:
    begins = {"esp": lambda size: esp_packet(8), "ike": _ike_header}
    markers = {"esp": b"", "ike": MARKER}
    sizes = [2 + len(markers[kind]) + size for kind, size in messages]
    is_refused = max(sizes) > LONGEST + 2
    heads = [
        length.to_bytes(2, "big") + markers[kind]
        for length, (kind, _) in zip(sizes, messages, strict=True)
        if not is_refused
    ]
    return case(
        comment,
        "Longest" if max(sizes) >= LONGEST else "Sizes",
        spec,
        requirement=requirement,
        error="MessageTooLong" if is_refused else None,
        reaction="refuse-locally" if is_refused else None,
        messages=[
            {"kind": kind, "begin": begins[kind](size), "size": size}
            for kind, size in messages
        ],
        heads=heads,
    )


def _ike_header(size: int) -> bytes:
    """Make the header of an IKE message of so many octets."""
    return ike_message(size)[:28]
