"""The file ``ike_encrypted_test.json``: whole IKE messages with an Encrypted payload.

Source: RFC 7296 §3.14, RFC 5282 §3, RFC 7634 App. B
"""

from collections.abc import Iterator
from dataclasses import dataclass

from iketcp.vectorlib import plain
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile
from iketcp.vectorlib.plain import CIPHERS, FAMILIES, CipherCase

NAME = "ike_encrypted"
SPEC = "RFC 7296 §3.14, §3.1"
NOTIFY, DELETE, SK = 41, 42, 46
INFORMATIONAL = 37

HEADER = [
    "IKE messages protected with a group's cipher and keys. cipher tells the sizes;"
    " keys hold the salt or nonce behind the key.",
    "isFromInitiator tells who sends: true, the original initiator with skEi and skAi;"
    " false, the responder with skEr and skAr.",
    "message is the whole IKE message, without non-ESP marker. inside it are inner"
    " (the payloads, the first of type firstInnerPayload), padding, and one octet that"
    " counts the padding; iv is the one to encrypt with.",
    "Valid: message opens to inner. If padding is the shortest, which canonical tells,"
    " sealing inner with iv gives message again.",
    "Invalid with reaction drop: the message proves nothing, and is dropped without a"
    " trace; inner, padding and iv are those of the message it was made from. Invalid"
    " with reaction INVALID_SYNTAX: the message is authentic but wrong inside; the IKE"
    " SA ends.",
]

NOTES = {
    "BadPadding": (
        "EDGE_CASE",
        "Authentic, but the count of padding is more than there is.",
        "Reading before the start of the plaintext.",
    ),
    "Empty": (
        "EDGE_CASE",
        "No payload inside: a liveness check.",
        "An SA that cannot be kept alive.",
    ),
    "MorePadding": (
        "EDGE_CASE",
        "More padding than is needed, or padding that is not zeros: both are allowed.",
        "Refusing good peers.",
    ),
    "Ordinary": ("BASIC", "What every IKE SA sends.", "No tunnel."),
    "Published": ("BASIC", "A message printed in an RFC.", "No peer interoperates."),
    "Reflected": (
        "BASIC",
        "A message sent back to its sender.",
        "A peer that talks to itself.",
    ),
    "Tampered": (
        "BASIC",
        "One octet changed on the way.",
        "What is not authentic is acted upon.",
    ),
    "TooShort": (
        "EDGE_CASE",
        "No room for IV, one block and ICV.",
        "Reading beyond the message.",
    ),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one IKE SA, and its SPIs."""

    cipher: CipherCase
    sk_ei: bytes
    sk_er: bytes
    sk_ai: bytes
    sk_ar: bytes
    spi_i: bytes
    spi_r: bytes

    def json(self) -> Json:
        """Write them into a group."""
        return {
            "cipher": self.cipher.json(),
            "skEi": self.sk_ei,
            "skEr": self.sk_er,
            "skAi": self.sk_ai,
            "skAr": self.sk_ar,
            "spiI": self.spi_i,
            "spiR": self.spi_r,
        }


@dataclass(frozen=True, slots=True)
class Content:
    """What is inside a message, and who sends it."""

    first: int
    inner: bytes
    is_from_initiator: bool = True
    is_response: bool = False
    exchange: int = INFORMATIONAL
    message_id: int = 2


NOTHING = Content(0, b"")
WINDOW_SIZE = Content(NOTIFY, plain.payload(0, bytes.fromhex("000040010000000a")))


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §3.14, RFC 7634 App. B
    """
    groups = [published()]
    for cipher in CIPHERS:
        keys = draw_keys(cipher)
        tests = [*valid_cases(keys), *tampered_cases(keys), *wrong_cases(keys)]
        if cipher not in FAMILIES:
            tests = [*tests[:4], tests[7], tests[9], tests[13]]
        groups.append(group("Encrypted", "iketcp/ike_encrypted", tests, **keys.json()))
    return vector_file(NAME, "IKE-ENCRYPTED", HEADER, NOTES, groups)


def draw_keys(cipher: CipherCase) -> Keys:
    """Draw the keys of an IKE SA."""
    label = f"ike encrypted {cipher.name}"
    return Keys(
        cipher,
        octets(f"{label} sk_ei", cipher.encryption_key),
        octets(f"{label} sk_er", cipher.encryption_key),
        octets(f"{label} sk_ai", cipher.integrity_key),
        octets(f"{label} sk_ar", cipher.integrity_key),
        octets(f"{label} spi i", 8),
        octets(f"{label} spi r", 8),
    )


def seal(keys: Keys, content: Content, iv: bytes, padding: bytes, count: int) -> bytes:
    """Make the message. Source: RFC 7296 §3.14, RFC 5282 §5.1."""
    plaintext = content.inner + padding + bytes([count])
    cipher = keys.cipher
    size = 4 + cipher.iv + len(plaintext) + cipher.icv
    flags = 0x08 * content.is_from_initiator | 0x20 * content.is_response
    header = plain.ike_header(
        keys.spi_i,
        keys.spi_r,
        SK,
        content.exchange,
        flags,
        content.message_id,
        28 + size,
    )
    before = header + bytes([content.first, 0]) + size.to_bytes(2, "big")
    if content.is_from_initiator:
        key, integrity_key = keys.sk_ei, keys.sk_ai
    else:
        key, integrity_key = keys.sk_er, keys.sk_ar
    sealed = plain.seal(cipher, key, integrity_key, iv, plaintext, before)
    return before + iv + sealed


def shortest_padding(keys: Keys, content: Content) -> bytes:
    """Return as many zeros as the cipher's blocks need."""
    return bytes(-(len(content.inner) + 1) % keys.cipher.block)


def described(content: Content, iv: bytes, padding: bytes) -> Json:
    """List the members that describe a message."""
    return {
        "isFromInitiator": content.is_from_initiator,
        "isResponse": content.is_response,
        "exchangeType": content.exchange,
        "messageId": content.message_id,
        "firstInnerPayload": content.first,
        "inner": content.inner,
        "padding": padding,
        "iv": iv,
    }


def valid(
    keys: Keys, comment: str, flags: str, content: Content, padding: bytes | None = None
) -> Json:
    """Make a case that opens."""
    iv = octets(f"iv {keys.cipher.name} {comment}", keys.cipher.iv)
    shortest = shortest_padding(keys, content)
    padded = shortest if padding is None else padding
    return case(
        comment,
        flags,
        SPEC,
        **described(content, iv, padded),
        canonical=padded == shortest,
        message=seal(keys, content, iv, padded, len(padded)),
    )


def valid_cases(keys: Keys) -> Iterator[Json]:
    """Send requests and responses with little and much inside."""
    block = keys.cipher.block
    delete = plain.payload(0, bytes.fromhex("03040001c0ffee01"))
    both = plain.payload(DELETE, WINDOW_SIZE.inner[4:]) + delete
    yield valid(keys, "nothing inside, from the initiator", "Empty", NOTHING)
    comment = "nothing inside, a response from the responder"
    yield valid(keys, comment, "Empty", Content(0, b"", False, True))
    yield valid(keys, "one Notify", "Ordinary", WINDOW_SIZE)
    two = Content(NOTIFY, both, False, message_id=0xFFFF_FFFF)
    yield valid(keys, "Notify and Delete, largest Message ID", "Ordinary", two)
    create = Content(NOTIFY, both, True, True, exchange=36, message_id=0x01020304)
    comment = "a response of the initiator in CREATE_CHILD_SA"
    yield valid(keys, comment, "Ordinary", create)
    shortest = shortest_padding(keys, WINDOW_SIZE)
    more = octets("padding", len(shortest) + max(16, block))
    comment = "16 octets more padding, not zeros"
    yield valid(keys, comment, "MorePadding", WINDOW_SIZE, more)
    largest = bytes(255 - (len(WINDOW_SIZE.inner) + 256) % block)
    yield valid(keys, "as much padding as fits", "MorePadding", WINDOW_SIZE, largest)


def refused(
    keys: Keys, comment: str, flags: str, iv: bytes, message: bytes, **changes: str
) -> Json:
    """Make a case that is dropped, or told of."""
    return case(
        comment,
        flags,
        changes.get("spec", SPEC),
        error=changes.get("error", "Integrity"),
        reaction=changes.get("reaction", "drop"),
        **described(WINDOW_SIZE, iv, shortest_padding(keys, WINDOW_SIZE)),
        canonical=False,
        message=message,
    )


def tampered_cases(keys: Keys) -> Iterator[Json]:
    """Change one octet of a message, or send it to the wrong side."""
    cipher = keys.cipher
    iv = octets(f"iv {cipher.name} tampered", cipher.iv)
    padding = shortest_padding(keys, WINDOW_SIZE)
    message = seal(keys, WINDOW_SIZE, iv, padding, len(padding))
    for comment, position in (
        ("last octet of the ICV", -1),
        ("first octet of the ICV", -cipher.icv),
        ("last octet of the ciphertext", -cipher.icv - 1),
        ("first octet of the ciphertext", 32 + cipher.iv),
        ("first octet of the IV", 32),
        ("type of the first payload inside", 28),
        ("Message ID", 23),
        ("SPI of the initiator", 0),
    ):
        changed = flipped(message, position)
        yield refused(keys, f"changed: {comment}", "Tampered", iv, changed)
    reflected = message[:19] + bytes([message[19] ^ 0x08]) + message[20:]
    comment = "sent back to its sender, the I flag turned round"
    yield refused(keys, comment, "Reflected", iv, reflected)


def wrong_cases(keys: Keys) -> Iterator[Json]:
    """Send messages with too little inside, or a wrong count of padding."""
    cipher = keys.cipher
    iv = octets(f"iv {cipher.name} wrong", cipher.iv)
    padding = shortest_padding(keys, WINDOW_SIZE)
    over = len(WINDOW_SIZE.inner) + len(padding) + 1
    for comment, count in (("one more than there is", over), ("255", 255)):
        yield refused(
            keys,
            f"count of padding: {comment}",
            "BadPadding",
            iv,
            seal(keys, WINDOW_SIZE, iv, padding, count),
            error="MalformedMessage",
            reaction="INVALID_SYNTAX",
            spec=f"{SPEC}, §2.21.3",
        )
    header = plain.ike_header(
        keys.spi_i, keys.spi_r, SK, INFORMATIONAL, 0x08, 2, 28 + 4
    )
    empty = header + bytes([0, 0, 0, 4])
    yield refused(keys, "an empty Encrypted payload", "TooShort", iv, empty)
    size = cipher.iv + cipher.icv
    header = plain.ike_header(
        keys.spi_i, keys.spi_r, SK, INFORMATIONAL, 0x08, 2, 32 + size
    )
    before = header + bytes([0, 0]) + (4 + size).to_bytes(2, "big")
    short = before + iv + plain.seal(cipher, keys.sk_ei, keys.sk_ai, iv, b"", before)
    yield refused(keys, "IV and a good ICV, nothing between", "TooShort", iv, short)


def published() -> Json:
    """Import the example of RFC 7634: a responder's message, as its flags say."""
    key = bytes(range(0x80, 0xA4))
    keys = Keys(
        CIPHERS[3],
        bytes(36),
        key,
        b"",
        b"",
        bytes(range(0xC0, 0xC8)),
        bytes(range(0xD0, 0xD8)),
    )
    content = Content(NOTIFY, WINDOW_SIZE.inner, False, message_id=9)
    test = case(
        "SET_WINDOW_SIZE in an INFORMATIONAL request",
        "Published",
        "RFC 7634 App. B; RFC 5282 §3",
        **described(content, bytes(range(0x10, 0x18)), b""),
        canonical=True,
        message=bytes.fromhex(
            "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029"
            "1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc670"
            "66906315b2"
        ),
    )
    return group("Encrypted", "RFC 7634 App. B", [test], **keys.json())
