"""What the mapping scenarios are made of: a session's keys, and messages under them.

Both sides' messages are written here with plain primitives, those that arrive and
those that must be seen; the endpoint that the scenarios are about has no part in it.

Source: RFC 7296 §3, RFC 4303 §2, RFC 9329 §3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from iketcp.vectorlib.assembly import flipped, octets
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.plain import CIPHERS, ike_header, payload, seal

GCM = CIPHERS[2]
"""AES-GCM with a key of 256 bits and an ICV of 16 octets, for IKE and for ESP."""

IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
SA, KE, NONCE, NOTIFY, DELETE, TSI, TSR, SK, PS = 33, 34, 40, 41, 42, 44, 45, 46, 54
VENDOR, SKF = 43, 53
INITIATOR, RESPONSE = 0x08, 0x20

Payload = tuple[int, bytes]
"""Payload type and body."""

LAST_SENT, HIGHEST_RECEIVED, WINDOW = 40, 70, 64
NEXT_ID, EXPECTED_ID, LAST_IV = 3, 7, 10


_UNREADABLE: dict[str, Json] = {
    "ike": {"payloads": []},
    "fragment": {"piece": ""},
    "esp": {"nextHeader": None, "inner": ""},
}
"""What shows of a message that does not verify, by its kind."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets on a stream, and what they are."""

    octets: bytes
    content: tuple[Json, ...]

    def __add__(self, other: Piece) -> Piece:
        """Put one behind the other."""
        return Piece(self.octets + other.octets, self.content + other.content)

    def __mul__(self, count: int) -> Piece:
        """Repeat."""
        return Piece(self.octets * count, self.content * count)

    def tampered(self) -> Piece:
        """Change the last octet, which is the ICV's: no longer authentic."""
        (content,) = self.content
        changed = {**content, "isAuthentic": False, **_UNREADABLE[content["kind"]]}
        return Piece(flipped(self.octets, -1), (changed,))

    def cut(self, at: int) -> tuple[Piece, Piece]:
        """Cut a message in two."""
        first, rest = self.octets[:at], self.octets[at:]
        return raw(first, "first part of a message"), raw(rest, "the rest of it")

    @property
    def inner(self) -> bytes:
        """The inner packet of an ESP packet."""
        (content,) = self.content
        return bytes.fromhex(content["inner"])


def raw(data: bytes, meaning: str) -> Piece:
    """Make octets that are no whole message."""
    return Piece(data, ({"kind": "octets", "size": len(data), "meaning": meaning},))


def framed(message: bytes) -> bytes:
    """Put the Length in front. Source: RFC 9329 §3."""
    return (len(message) + 2).to_bytes(2, "big") + message


def _noise(kind: str, data: bytes) -> Piece:
    return Piece(data, ({"kind": kind, "size": len(data)},))


PREFIX = _noise("prefix", b"IKETCP")
KEEPALIVE = _noise("keepalive", framed(b"\xff"))
EMPTY = _noise("empty", framed(b""))
GARBAGE = raw(framed(b"xx"), "a message of two octets")


def inner(source: str, destination: str, text: bytes) -> bytes:
    """Make a UDP datagram in IPv4, with a true header checksum."""
    body = b"\x13\x88\x13\x89" + (len(text) + 8).to_bytes(2, "big") + b"\0\0" + text
    size = (len(body) + 20).to_bytes(2, "big")
    addresses = ip_address(source).packed + ip_address(destination).packed
    head = b"\x45\0" + size + b"\0\1\0\0\x40\x11\0\0" + addresses
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + (total ^ 0xFFFF).to_bytes(2, "big") + head[12:] + body


def ike_piece(
    message: bytes, payloads: Sequence[Payload], sealed: bool | None
) -> Piece:
    """Frame an IKE message; ``sealed``: it verifies, or ``None`` in the clear."""
    found = [{"type": kind, "body": body.hex()} for kind, body in payloads]
    content = {"kind": "ike", **_header(message, sealed), "payloads": found}
    return Piece(framed(bytes(4) + message), (content,))


def _header(message: bytes, is_authentic: bool | None) -> Json:
    """Read the header, as both kinds of IKE messages show it. RFC 7296 §3.1."""
    return {
        "size": len(message) + 6,
        "spiI": message[:8].hex(),
        "spiR": message[8:16].hex(),
        "exchange": message[18],
        "isFromOriginalInitiator": bool(message[19] & INITIATOR),
        "isResponse": bool(message[19] & RESPONSE),
        "messageId": int.from_bytes(message[20:24], "big"),
        "isAuthentic": is_authentic,
    }


def chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """Write payloads one behind the other; the first one's type comes with them."""
    kinds = [kind for kind, _ in payloads] + [0]
    parts = (payload(kinds[at + 1], body) for at, (_, body) in enumerate(payloads))
    return kinds[0], b"".join(parts)


def clear_message(
    spi_i: bytes,
    spi_r: bytes,
    flags: int,
    payloads: Sequence[Payload],
    exchange: int = IKE_SA_INIT,
    message_id: int = 0,
) -> Piece:
    """Write an IKE message in the clear. Source: RFC 7296 §3.1."""
    first, body = chain(payloads)
    size = 28 + len(body)
    head = ike_header(spi_i, spi_r, first, exchange, flags, message_id, size)
    return ike_piece(head + body, payloads, None)


class Child:
    """A Child SA with its keys, both ways, as the endpoint under test sees it."""

    def __init__(
        self,
        label: str,
        keys: tuple[bytes, bytes] | None = None,
        spis: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.key_in, self.key_out = keys or (
            octets(f"mapping {label} esp in", GCM.encryption_key),
            octets(f"mapping {label} esp out", GCM.encryption_key),
        )
        self.spi_in, self.spi_out = spis or (
            b"\xc1" + octets(f"mapping {label} spi in", 3),
            b"\xc2" + octets(f"mapping {label} spi out", 3),
        )
        self.network = "10.0.3" if label == "b" else "10.0.1"
        is_new = keys is not None
        self.sent = 0 if is_new else LAST_SENT
        self.received = 0 if is_new else HIGHEST_RECEIVED

    def state(self) -> Json:
        """Describe it as it is before the first step."""
        return {
            "spiIn": self.spi_in,
            "spiOut": self.spi_out,
            "encryptionKeyIn": self.key_in,
            "encryptionKeyOut": self.key_out,
            "localTs": selector("10.0.2.0", "10.0.2.255"),
            "remoteTs": selector(f"{self.network}.0", f"{self.network}.255"),
            "replayWindow": WINDOW,
            "lastSent": LAST_SENT,
            "highestReceived": HIGHEST_RECEIVED,
        }

    def esp(self, text: bytes = b"to us", sequence: int | None = None) -> Piece:
        """Write the peer's next ESP packet, or one with a number of its own."""
        return self.packet(inner(f"{self.network}.1", "10.0.2.1", text), sequence)

    def packet(
        self, data: bytes, sequence: int | None = None, next_header: int = 4
    ) -> Piece:
        """Write an ESP packet of the peer's with any content."""
        if sequence is None:
            self.received += 1
            sequence = self.received
        return esp_piece(self.spi_in, self.key_in, sequence, data, next_header)

    def sends(self, data: bytes) -> Piece:
        """Write our own next ESP packet."""
        self.sent += 1
        return esp_piece(self.spi_out, self.key_out, self.sent, data)


def esp_piece(
    spi: bytes, key: bytes, sequence: int, data: bytes, next_header: int = 4
) -> Piece:
    """Write an ESP packet, framed; the IV is the number. Source: RFC 4106 §3."""
    padding = bytes(range(1, 1 + -(len(data) + 2) % 4))
    plaintext = data + padding + bytes([len(padding), next_header])
    head = spi + sequence.to_bytes(4, "big")
    iv = sequence.to_bytes(8, "big")
    message = framed(head + iv + seal(GCM, key, b"", iv, plaintext, head))
    content = {
        "kind": "esp",
        "size": len(message),
        "spi": spi.hex(),
        "sequence": sequence,
        "isAuthentic": True,
        "nextHeader": next_header,
        "inner": data.hex(),
    }
    return Piece(message, (content,))


def unknown_esp() -> Piece:
    """Write an ESP packet for nobody."""
    piece = esp_piece(b"\xee" * 4, octets("mapping nobody", 36), 1, bytes(20))
    (content,) = piece.content
    unread = {**content, "isAuthentic": False, "nextHeader": None, "inner": ""}
    return replace(piece, content=(unread,))


def selector(start: str, end: str) -> list[Json]:
    """Describe a Traffic Selector of one range, all protocols and ports."""
    return [
        {
            "ipProtocol": 0,
            "startPort": 0,
            "endPort": 65535,
            "startAddress": start,
            "endAddress": end,
        }
    ]


class Session:
    """An IKE SA with one Child SA, and the two sides' counters.

    ``request`` and ``response`` are the peer's messages, ``asks`` and ``answer`` those
    of the endpoint under test.
    """

    def __init__(
        self,
        label: str,
        is_original_initiator: bool = False,
        keys: tuple[bytes, ...] | None = None,
        spis: tuple[bytes, bytes] | None = None,
        child: Child | None = None,
    ) -> None:
        self.is_original_initiator = is_original_initiator
        self.is_fragmentation_agreed = False
        names = ("SK_d", "SK_ei", "SK_er", "SK_pi", "SK_pr")
        sizes = (32, 36, 36, 32, 32)
        self.keys = keys or tuple(
            octets(f"mapping {label} {name}", size)
            for name, size in zip(names, sizes, strict=True)
        )
        self.spis = spis or (
            octets(f"mapping {label} SPIi", 8),
            octets(f"mapping {label} SPIr", 8),
        )
        self.child = child or Child(label)
        is_new = keys is not None
        self.next_id = 0 if is_new else NEXT_ID
        self.expected = 0 if is_new else EXPECTED_ID
        self.our_iv = self.their_iv = 0 if is_new else LAST_IV - 1
        if not is_new:
            self.last_request = self._message(False, (), INFORMATIONAL, 6, False)
            self.last_answer = self.answer(id=6)

    @property
    def sk_d(self) -> bytes:
        """The key that further keys are derived from."""
        return self.keys[0]

    def state(self) -> Json:
        """Describe it as it is before the first step."""
        names = ("skD", "skEi", "skEr", "skPi", "skPr")
        return {
            "ikeSa": {
                "isOriginalInitiator": self.is_original_initiator,
                "spiI": self.spis[0],
                "spiR": self.spis[1],
                **dict(zip(names, self.keys, strict=True)),
                "nextMessageId": NEXT_ID,
                "expectedMessageId": EXPECTED_ID,
                "lastResponse": self.last_answer.octets[6:],
                "lastIv": LAST_IV,
                "isFragmentationAgreed": self.is_fragmentation_agreed,
            },
            "childSa": self.child.state(),
        }

    def request(
        self, *payloads: Payload, exchange: int = INFORMATIONAL, id: int | None = None
    ) -> Piece:
        """Write a request of the peer's: the next one, or one out of turn."""
        if id is None:
            id = self.expected
            self.expected += 1
        return self._message(False, payloads, exchange, id, False)

    def response(
        self, *payloads: Payload, exchange: int = INFORMATIONAL, id: int | None = None
    ) -> Piece:
        """Write the peer's response to our last request."""
        id = self.next_id - 1 if id is None else id
        return self._message(False, payloads, exchange, id, True)

    def asks(self, *payloads: Payload, exchange: int = INFORMATIONAL) -> Piece:
        """Write our next request."""
        self.next_id += 1
        return self._message(True, payloads, exchange, self.next_id - 1, False)

    def answer(
        self, *payloads: Payload, exchange: int = INFORMATIONAL, id: int | None = None
    ) -> Piece:
        """Write our response to the peer's last request."""
        id = self.expected - 1 if id is None else id
        return self._message(True, payloads, exchange, id, True)

    def _message(
        self,
        is_ours: bool,
        payloads: Sequence[Payload],
        exchange: int,
        id: int,
        is_response: bool,
    ) -> Piece:
        first, body = chain(payloads)
        return self.sealed(is_ours, first, body, payloads, exchange, id, is_response)

    def sealed(
        self,
        is_ours: bool,
        first: int,
        body: bytes,
        payloads: Sequence[Payload],
        exchange: int,
        id: int,
        is_response: bool,
    ) -> Piece:
        """Protect a chain of payloads, whatever it says. Source: RFC 7296 §3.14."""
        after = (SK, first, b"", body + b"\0")
        message = self._seal(is_ours, after, exchange, id, is_response)
        return ike_piece(message, payloads, True)

    def fragment(
        self,
        numbers: tuple[int, int],
        piece: bytes,
        first: int = 0,
        *,
        id: int | None = None,
        is_response: bool = False,
        exchange: int = INFORMATIONAL,
        padding: bytes = b"\0",
    ) -> Piece:
        """Write a fragment of the peer's next message, or of another.

        Parameters
        ----------
        numbers : tuple[int, int]
            Fragment Number and Total Fragments.
        first : int
            Type of the first payload of the whole message; 0 but in the first fragment.

        Source: RFC 7383 §2.5
        """
        if id is None:
            id = self.next_id - 1 if is_response else self.expected
        number, total = numbers
        both = number.to_bytes(2, "big") + total.to_bytes(2, "big")
        after = (SKF, first, both, piece + padding)
        message = self._seal(False, after, exchange, id, is_response)
        content = {
            "kind": "fragment",
            **_header(message, is_authentic=True),
            "number": number,
            "total": total,
            "firstInnerPayload": first,
            "piece": piece.hex(),
        }
        return Piece(framed(bytes(4) + message), (content,))

    def _seal(
        self,
        is_ours: bool,
        after: tuple[int, int, bytes, bytes],
        exchange: int,
        id: int,
        is_response: bool,
    ) -> bytes:
        """Write a message with one Encrypted payload.

        Parameters
        ----------
        after : tuple[int, int, bytes, bytes]
            Behind the header: the payload's type, its Next Payload, what stands in it
            before the IV, and the plaintext with its padding.
        """
        if is_ours:
            self.our_iv += 1
        else:
            self.their_iv += 1
        iv = (self.our_iv if is_ours else self.their_iv).to_bytes(8, "big")
        is_from_initiator = is_ours == self.is_original_initiator
        flags = INITIATOR * is_from_initiator | RESPONSE * is_response
        kind, first, before, plaintext = after
        size = 4 + len(before) + 8 + len(plaintext) + 16
        head = ike_header(*self.spis, kind, exchange, flags, id, 28 + size)
        head += bytes([first, 0]) + size.to_bytes(2, "big") + before
        key = self.keys[1] if is_from_initiator else self.keys[2]
        return head + iv + seal(GCM, key, b"", iv, plaintext, head)
