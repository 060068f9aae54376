"""Test groups of IntAuth, by which IKE_AUTH vouches for IKE_INTERMEDIATE.

They stand in ``ike_auth_test.json``.

Source: RFC 9242 §3.3.2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, group, octets
from iketcp.vectorlib.envelope import Json

SPEC = "RFC 9242 §3.3.2"
SK, SKF, VENDOR, KE = 46, 53, 43, 34

HEADER = [
    "IntAuth: exchanges are the IKE_INTERMEDIATE of an IKE SA in their order, each with"
    " the SK_pi and SK_pr in use before it. head is the message as it was on the wire,"
    " from the first octet of its header to the last of the generic header of its"
    " Encrypted payload, or of the Encrypted Fragment payload of its first fragment;"
    " content is the payloads inside, all of them and without padding. authenticated"
    " is IntAuth_[i/r]nA | IntAuth_[i/r]nP. intAuth = intAuthI | intAuthR |"
    " IKE_AUTH_MID goes behind signedOctets of either side.",
]

NOTES = {
    "AdjustedLengths": (
        "BASIC",
        "Both lengths leave out IV, padding, Pad Length and ICV.",
        "No session with additional key exchanges.",
    ),
    "Chained": (
        "STATE_MACHINE",
        "Several exchanges, each under the keys that the one before it made.",
        "No session with two additional key exchanges.",
    ),
    "FirstFragment": (
        "EDGE_CASE",
        "The message went in fragments, whose first has SKF for SK.",
        "No session with keys too large for a datagram.",
    ),
    "InTheClear": (
        "EDGE_CASE",
        "A payload stands before the Encrypted payload, and is authenticated, too.",
        "What stands there may be changed unseen, or no session.",
    ),
    "Reserved": (
        "EDGE_CASE",
        "The RESERVED field of the generic header is not zero, and counts.",
        "No session with a peer that sets it.",
    ),
}


@dataclass(frozen=True)
class Said:
    """One message, as it was sent and as it is authenticated."""

    content: bytes = b""
    in_the_clear: bytes = b""
    reserved: int = 0
    is_fragmented: bool = False
    overhead: int = 25
    """Octets of IV, padding, Pad Length and ICV; of a fragment also what differs."""

    def written(self, exchange: int, is_response: bool, spis: bytes) -> Json:
        """Write head, content, and what is authenticated."""
        flags = 0x20 if is_response else 0x08
        size = len(self.content) + self.overhead
        sent = self._head(
            exchange, flags, spis, size, SKF if self.is_fragmented else SK
        )
        plain_head = self._head(exchange, flags, spis, len(self.content), SK)
        return {
            "head": sent,
            "isFragmented": self.is_fragmented,
            "content": self.content,
            "authenticated": plain_head + self.content,
        }

    def _head(
        self, exchange: int, flags: int, spis: bytes, body: int, encrypted: int
    ) -> bytes:
        first_inner = KE if self.content else 0
        clear = b""
        if self.in_the_clear:
            clear = plain.payload(encrypted, self.in_the_clear)
        following = VENDOR if clear else encrypted
        length = 28 + len(clear) + 4 + body
        header = plain.ike_header(
            spis[:8], spis[8:], following, 43, flags, exchange, length
        )
        generic = bytes([first_inner, self.reserved]) + (4 + body).to_bytes(2, "big")
        return header + clear + generic


def key_payload(method: int, size: int, label: str) -> bytes:
    """Write a KE payload, the last of its chain. Source: RFC 7296 §3.4."""
    return plain.payload(0, method.to_bytes(2, "big") + bytes(2) + octets(label, size))


Exchange = tuple[Said, Said]


def exchanges() -> Iterator[tuple[str, str, Sequence[Exchange]]]:
    """Every series of exchanges: comment, flags, and request and response of each."""
    ours, theirs = key_payload(36, 1184, "KEi(1)"), key_payload(36, 1088, "KEr(1)")
    second = key_payload(19, 64, "KEi(2)"), key_payload(19, 64, "KEr(2)")
    kem = Said(ours), Said(theirs)
    yield "one exchange", "AdjustedLengths", [kem]
    padded = Said(ours, overhead=45), Said(theirs, overhead=41)
    yield "with padding and a longer ICV", "AdjustedLengths", [padded]
    curve = Said(second[0]), Said(second[1])
    yield "two exchanges", "Chained AdjustedLengths", [kem, curve]
    cut = Said(ours, is_fragmented=True, overhead=-700), Said(theirs)
    yield "the request in fragments", "FirstFragment AdjustedLengths", [cut]
    both = cut[0], Said(theirs, is_fragmented=True, overhead=-600)
    yield "both in fragments, then two whole", "FirstFragment Chained", [both, curve]
    yield "nothing inside", "AdjustedLengths", [(Said(), Said())]
    clear = octets("vendor ID", 20)
    opened = Said(ours, clear), Said(theirs, clear)
    yield "a payload in the clear", "InTheClear AdjustedLengths", [opened]
    opened = Said(ours, clear, is_fragmented=True, overhead=-700), Said(theirs)
    yield "a payload before the first fragment", "InTheClear FirstFragment", [opened]
    bits = Said(ours, reserved=0x2A, is_fragmented=True, overhead=-700), Said(theirs)
    yield "reserved bits of the first fragment", "Reserved FirstFragment", [bits]


def int_auth_groups() -> list[Json]:
    """Make the groups, one for each prf. Source: RFC 9242 §3.3.2."""
    return [
        group(
            "IntAuth",
            "iketcp/ike_auth",
            [int_auth_case(number, *one) for one in exchanges()],
            prf=number,
            prfName=plain.PRF_NAMES[number],
        )
        for number in plain.PRFS
    ]


def int_auth_case(
    number: int, comment: str, flags: str, series: Sequence[Exchange]
) -> Json:
    """Chain the exchanges of one IKE SA."""
    label, width = f"int auth {number} {comment}", plain.PRF_SIZES[number]
    spis, links, made = octets(f"{label} spis", 16), [b"", b""], []
    for count, (request, response) in enumerate(series, 1):
        keys = [octets(f"{label} {name}{count}", width) for name in ("pi", "pr")]
        said = request.written(count, False, spis), response.written(count, True, spis)
        links = [
            plain.prf(number, key, link + one["authenticated"])
            for key, link, one in zip(keys, links, said, strict=True)
        ]
        made.append(
            {"skPi": keys[0], "skPr": keys[1], "request": said[0], "response": said[1]}
        )
    mid = (len(series) + 1).to_bytes(4, "big")
    return case(
        comment,
        flags,
        SPEC,
        exchanges=made,
        intAuthI=links[0],
        intAuthR=links[1],
        intAuth=b"".join(links) + mid,
    )
