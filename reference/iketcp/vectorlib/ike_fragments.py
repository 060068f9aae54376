"""The file ``ike_fragments_test.json``: IKE messages in fragments, put together or not.

Source: RFC 7383 §2.5, RFC 7383 §2.6
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.ike_encrypted import Keys, draw_keys
from iketcp.vectorlib.plain import FAMILIES

NAME = "ike_fragments"
SPEC = "RFC 7383 §2.5, §2.6"
RECEIVED = "9329-7.5-recvfrag"
SKF, VENDOR, INFORMATIONAL = 53, 43, 37

HEADER = [
    "IKE messages with an Encrypted Fragment payload, under a group's cipher and keys."
    " cipher tells the sizes; keys hold the salt or nonce behind the key.",
    "isFromInitiator tells who sends: true, the original initiator with skEi and skAi;"
    " false, the responder with skEr and skAr.",
    "messages come in this order to a receiver that awaits messageId and has nothing of"
    " it yet; each is without non-ESP marker. What becomes of each stands in outcomes:"
    " kept, dropped without a trace, or complete, which all together then are.",
    "Once complete, the pieces in the order of their numbers are inner: payloads, the"
    " first of type firstInnerPayload, which the fragment with number 1 names. Until"
    " then inner is empty.",
    "pieces and ivs are what each message was made of, before anything was done to it:"
    " sealing piece and iv as fragment numbers[n] of totals[n] gives messages[n] again"
    " where canonical says so.",
    "Invalid: the message never becomes complete; error is the reason of the first"
    " drop, or Incomplete where nothing is dropped.",
]

NOTES = {
    "Again": (
        "EDGE_CASE",
        "A fragment that is here already, as after a retransmission.",
        "Counted twice, so that a message seems complete.",
    ),
    "Incomplete": (
        "EDGE_CASE",
        "Not all fragments have come.",
        "Half a message acted upon.",
    ),
    "Numbers": (
        "EDGE_CASE",
        "Fragment Number or Total Fragments that cannot be.",
        "Memory reserved for what never comes, or a write outside of it.",
    ),
    "Order": ("BASIC", "Fragments in another order.", "Lost messages."),
    "Ordinary": ("BASIC", "Fragments in order.", "No large message arrives."),
    "Recut": (
        "STATE_MACHINE",
        "The sender has cut the message anew, into more fragments.",
        "Pieces of two cuts mixed.",
    ),
    "Tampered": (
        "BASIC",
        "One octet changed on the way.",
        "What is not authentic is put into a message.",
    ),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """One fragment: what is in it, and what it says of itself."""

    content: bytes
    number: int
    total: int
    first: int = 0
    """Next Payload of the SKF payload."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Who sends, and what."""

    keys: Keys
    is_from_initiator: bool = True
    is_response: bool = False
    message_id: int = 2


def inner() -> bytes:
    """Make two Vendor ID payloads: 90 octets."""
    first = plain.payload(VENDOR, octets("fragments first", 40))
    return first + plain.payload(0, octets("fragments second", 42))


def cut(total: int) -> list[Piece]:
    """Cut the payloads into so many fragments, as even as may be."""
    whole = inner()
    size = -(-len(whole) // total)
    return [
        Piece(whole[n * size : (n + 1) * size], n + 1, total, VENDOR if n == 0 else 0)
        for n in range(total)
    ]


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7383 §2.5
    """
    groups = []
    for cipher in FAMILIES:
        keys = draw_keys(cipher)
        tests = [*valid_cases(keys), *mended_cases(keys), *invalid_cases(keys)]
        groups.append(group("Fragments", f"iketcp/{NAME}", tests, **keys.json()))
    return vector_file(NAME, "IKE-FRAGMENTS", HEADER, NOTES, groups)


def seal(sending: Sending, piece: Piece, iv: bytes) -> bytes:
    """Make one fragment's message. Source: RFC 7383 §2.5."""
    keys, cipher = sending.keys, sending.keys.cipher
    count = -(len(piece.content) + 1) % cipher.block
    plaintext = piece.content + bytes(count) + bytes([count])
    numbers = piece.number.to_bytes(2, "big") + piece.total.to_bytes(2, "big")
    size = 4 + len(numbers) + cipher.iv + len(plaintext) + cipher.icv
    flags = 0x08 * sending.is_from_initiator | 0x20 * sending.is_response
    header = plain.ike_header(
        keys.spi_i,
        keys.spi_r,
        SKF,
        INFORMATIONAL,
        flags,
        sending.message_id,
        28 + size,
    )
    before = header + bytes([piece.first, 0]) + size.to_bytes(2, "big") + numbers
    if sending.is_from_initiator:
        key, integrity_key = keys.sk_ei, keys.sk_ai
    else:
        key, integrity_key = keys.sk_er, keys.sk_ar
    return before + iv + plain.seal(cipher, key, integrity_key, iv, plaintext, before)


def sequence(
    sending: Sending,
    comment: str,
    flags: str,
    pieces: Sequence[Piece],
    outcomes: Sequence[str],
    error: str | None = None,
    changed: Sequence[int] = (),
) -> Json:
    """Make a case of fragments that come one after another.

    Parameters
    ----------
    outcomes : Sequence[str]
        What becomes of each.
    error : str or None
        Why they never become a message.
    changed : Sequence[int]
        Places in ``pieces`` of which the last octet is changed on the way.
    """
    ivs = [
        octets(f"fragment {comment} {at}", sending.keys.cipher.iv)
        for at in range(len(pieces))
    ]
    made = [seal(sending, *pair) for pair in zip(pieces, ivs, strict=True)]
    messages = [flipped(m, -1) if at in changed else m for at, m in enumerate(made)]
    is_complete = "complete" in outcomes
    return case(
        comment,
        flags,
        SPEC,
        requirement=RECEIVED,
        error=error,
        reaction=None if error is None else "drop",
        isFromInitiator=sending.is_from_initiator,
        isResponse=sending.is_response,
        exchangeType=INFORMATIONAL,
        messageId=sending.message_id,
        messages=messages,
        outcomes=list(outcomes),
        numbers=[piece.number for piece in pieces],
        totals=[piece.total for piece in pieces],
        pieces=[piece.content for piece in pieces],
        ivs=ivs,
        canonical=[at not in changed for at in range(len(pieces))],
        firstInnerPayload=VENDOR if is_complete else 0,
        inner=inner() if is_complete else b"",
    )


KEPT, DROPPED, COMPLETE = "kept", "dropped", "complete"


def valid_cases(keys: Keys) -> Iterator[Json]:
    """Put messages together."""
    request = Sending(keys)
    answer = Sending(keys, is_from_initiator=False, is_response=True)
    other = Sending(keys, is_from_initiator=False, message_id=0x0102_0304)
    yield sequence(request, "two fragments", "Ordinary", cut(2), (KEPT, COMPLETE))
    yield sequence(
        answer, "a response in three", "Ordinary", cut(3), (KEPT, KEPT, COMPLETE)
    )
    yield sequence(
        other, "the responder's request", "Ordinary", cut(2), (KEPT, COMPLETE)
    )
    yield sequence(request, "one fragment that is all", "Ordinary", cut(1), (COMPLETE,))
    one, two, three = cut(3)
    for comment, pieces in (
        ("last first", (three, two, one)),
        ("first last", (two, three, one)),
        ("second last", (one, three, two)),
    ):
        yield sequence(request, comment, "Order", pieces, (KEPT, KEPT, COMPLETE))
    yield sequence(
        request,
        "each twice",
        "Again",
        (one, one, two, two, three),
        (KEPT, DROPPED, KEPT, DROPPED, COMPLETE),
    )
    empty = Piece(b"", 1, 3, VENDOR)
    halves = cut(2)
    rest = [Piece(halves[0].content, 2, 3), Piece(halves[1].content, 3, 3)]
    yield sequence(
        request,
        "nothing in the first but what comes first",
        "Ordinary",
        (empty, *rest),
        (KEPT, KEPT, COMPLETE),
    )


def mended_cases(keys: Keys) -> Iterator[Json]:
    """Put messages together of which something had to be sent once more."""
    request = Sending(keys)
    one, two, three = cut(3)
    yield sequence(
        request,
        "one changed, then as it was",
        "Tampered",
        (one, two, two, three),
        (KEPT, DROPPED, KEPT, COMPLETE),
        changed=(1,),
    )
    yield sequence(
        request,
        "cut anew into three",
        "Recut",
        (cut(2)[0], one, two, three),
        (KEPT, KEPT, KEPT, COMPLETE),
    )
    yield sequence(
        request,
        "cut anew, then one of the first cut",
        "Recut",
        (cut(2)[0], one, cut(2)[1], two, three),
        (KEPT, KEPT, DROPPED, KEPT, COMPLETE),
    )


def invalid_cases(keys: Keys) -> Iterator[Json]:
    """Leave messages incomplete."""
    request = Sending(keys)
    one, two, three = cut(3)
    for comment, pieces in (
        ("first missing", (two, three)),
        ("second missing", (one, three)),
        ("last missing", (one, two)),
    ):
        yield sequence(
            request, comment, "Incomplete", pieces, (KEPT, KEPT), "Incomplete"
        )
    yield sequence(
        request,
        "one twice, another never",
        "Again Incomplete",
        (one, two, two),
        (KEPT, KEPT, DROPPED),
        "Fragment",
    )
    for at, name in enumerate(("first", "second", "last")):
        outcomes = [DROPPED if n == at else KEPT for n in range(3)]
        yield sequence(
            request,
            f"the {name} changed",
            "Tampered Incomplete",
            (one, two, three),
            outcomes,
            "Integrity",
            changed=(at,),
        )
    for number, total in ((0, 1), (2, 1), (1, 0), (0, 0), (3, 2), (65535, 1)):
        yield sequence(
            request,
            f"fragment {number} of {total}",
            "Numbers",
            (Piece(inner(), number, total, VENDOR),),
            (DROPPED,),
            "Fragment",
        )
    yield sequence(
        request,
        "two cuts of which none is complete",
        "Recut Incomplete",
        (one, cut(2)[1], two),
        (KEPT, DROPPED, KEPT),
        "Fragment",
    )
