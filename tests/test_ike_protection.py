"""The Encrypted payload against RFC 7634's example and a second implementation."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.ikev2 import IKEv2, IKEv2_Encrypted, IKEv2_Notify

from ike_strategies import inner_chains
from iketcp.crypto.ciphers import SUPPORTED
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.errors import (
    IntegrityError,
    MalformedMessageError,
    MessageTooLongError,
    UnsupportedCriticalPayloadError,
)
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import Message, decode_message, encode_chain
from iketcp.ike.payloads import (
    NotifyPayload,
    Payload,
    SkPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.protection import IkeProtection
from iketcp.registry import ExchangeType, NotifyType

SUITES = [
    Suite(spec.encr, spec.key_bits, prf=5, integ=spec.integ, ke=31)
    for spec in SUPPORTED
]
GCM = Suite(20, 256, prf=5, ke=31)
CHACHA = Suite(28, None, prf=5, ke=31)
CBC = Suite(12, 128, prf=5, integ=12, ke=31)
HASHES = {12: ("sha256", 16), 13: ("sha384", 24), 14: ("sha512", 32)}
PAYLOADS = (
    NotifyPayload(NotifyType.SET_WINDOW_SIZE, b"\0\0\0\1"),
    VendorPayload(b"a vendor of odd size"),
)

every_suite = pytest.mark.parametrize("suite", SUITES, ids=Suite.describe)


def keys_for(suite: Suite) -> IkeKeys:
    """Seven different keys."""
    spec, entropy = suite.cipher, ScriptedEntropy("keys")
    return IkeKeys(
        sk_d=b"",
        sk_ai=entropy.draw("ai", spec.integrity_key_size),
        sk_ar=entropy.draw("ar", spec.integrity_key_size),
        sk_ei=entropy.draw("ei", spec.key_size),
        sk_er=entropy.draw("er", spec.key_size),
        sk_pi=b"",
        sk_pr=b"",
    )


def both(suite: Suite) -> tuple[IkeProtection, IkeProtection]:
    """Original initiator and responder of one IKE SA."""
    keys = keys_for(suite)
    return (
        IkeProtection(suite, keys, True, ScriptedEntropy("i")),
        IkeProtection(suite, keys, False, ScriptedEntropy("r")),
    )


def header(is_original_initiator: bool = True, message_id: int = 1) -> Header:
    """Header of an INFORMATIONAL request."""
    return Header(
        spi_i=b"initiate",
        spi_r=b"responds",
        exchange_type=ExchangeType.INFORMATIONAL,
        message_id=message_id,
        is_response=False,
        is_original_initiator=is_original_initiator,
    )


def opened(protection: IkeProtection, octets: bytes) -> tuple[Payload, ...]:
    """Open a message whose first payload is SK, whatever its header says."""
    payload = SkPayload(octets[HEADER_SIZE], octets[HEADER_SIZE + 4 :])
    return protection.open(Message(header(), (payload,)), octets)


# --- a second implementation ----------------------------------------------------------


def their_plaintext(suite: Suite, keys: IkeKeys, octets: bytes) -> bytes:
    """Decrypt what the original initiator sent, with the library's own calls."""
    head, body = octets[:32], octets[32:]
    if suite.integ is None:
        aead = AESGCM if suite.encr == 20 else ChaCha20Poly1305
        key, salt = keys.sk_ei[:-4], keys.sk_ei[-4:]
        return aead(key).decrypt(salt + body[:8], body[8:], head)
    name, icv_size = HASHES[suite.integ]
    icv = hmac.digest(keys.sk_ai, octets[:-icv_size], name)[:icv_size]
    assert octets[-icv_size:] == icv
    body = body[:-icv_size]
    if suite.encr == 12:
        decryptor = Cipher(algorithms.AES(keys.sk_ei), modes.CBC(body[:16]))
        return decryptor.decryptor().update(body[16:])
    counter = keys.sk_ei[-4:] + body[:8] + b"\0\0\0\1"
    decryptor = Cipher(algorithms.AES(keys.sk_ei[:-4]), modes.CTR(counter))
    return decryptor.decryptor().update(body[8:])


def their_message(
    suite: Suite,
    keys: IkeKeys,
    first_inner: int,
    plaintext: bytes,
    before: bytes = b"",
) -> bytes:
    """Make a message of the original initiator's, with the library's own calls.

    ``before`` holds payloads in the clear; its first one is of type 43.
    """
    spec = suite.cipher
    iv = bytes(range(spec.iv_size))
    sk_size = 4 + len(iv) + len(plaintext) + spec.icv_size
    first = 43 if before else 46
    head = header().with_chain(first, 28 + len(before) + sk_size).encode() + before
    head += bytes([first_inner, 0]) + sk_size.to_bytes(2, "big")
    if suite.integ is None:
        aead = AESGCM if suite.encr == 20 else ChaCha20Poly1305
        key, salt = keys.sk_ei[:-4], keys.sk_ei[-4:]
        return head + iv + aead(key).encrypt(salt + iv, plaintext, head)
    if suite.encr == 12:
        cipher = Cipher(algorithms.AES(keys.sk_ei), modes.CBC(iv))
    else:
        counter = keys.sk_ei[-4:] + iv + b"\0\0\0\1"
        cipher = Cipher(algorithms.AES(keys.sk_ei[:-4]), modes.CTR(counter))
    octets = head + iv + cipher.encryptor().update(plaintext)
    name, icv_size = HASHES[suite.integ]
    return octets + hmac.digest(keys.sk_ai, octets, name)[:icv_size]


@every_suite
def test_another_implementation_opens_what_we_seal(suite: Suite) -> None:
    """RFC 7296 §3.14, RFC 5282 §3 and §5.1: layout, keys, coverage, padding."""
    ours, _ = both(suite)
    octets = ours.seal(header(), PAYLOADS)
    plaintext = their_plaintext(suite, keys_for(suite), octets)
    first_inner, inner = encode_chain(PAYLOADS)
    pad_length = plaintext[-1]
    assert plaintext == inner + bytes(pad_length) + bytes([pad_length])
    assert pad_length < suite.cipher.block_size
    assert octets[28] == first_inner
    assert int.from_bytes(octets[24:28], "big") == len(octets)
    assert int.from_bytes(octets[30:32], "big") == len(octets) - 28


@every_suite
def test_scapy_reads_what_we_seal(suite: Suite) -> None:
    """RFC 7296 §3.1, §3.2, §3.14: an independent dissector finds the same parts."""
    ours, _ = both(suite)
    octets = ours.seal(header(), PAYLOADS[:1])
    outer = IKEv2(octets)
    assert (outer.next_payload, outer.length) == (46, len(octets))
    sk = outer[IKEv2_Encrypted]
    assert (sk.next_payload, sk.length) == (41, len(octets) - 28)
    plaintext = their_plaintext(suite, keys_for(suite), octets)
    notify = IKEv2_Notify(plaintext)
    assert (notify.type, notify.notify) == (16385, b"\0\0\0\1")


@every_suite
def test_we_open_what_another_implementation_seals(suite: Suite) -> None:
    """RFC 7296 §3.14: any padding that fits is accepted, whatever is in it."""
    _, ours = both(suite)
    first_inner, inner = encode_chain(PAYLOADS)
    block = suite.cipher.block_size
    for pad_length in range(-(len(inner) + 1) % block, 256, block):
        padding = bytes(number % 251 + 1 for number in range(pad_length))
        plaintext = inner + padding + bytes([pad_length])
        octets = their_message(suite, keys_for(suite), first_inner, plaintext)
        assert ours.open(decode_message(octets), octets) == PAYLOADS


# --- RFC 7634 App. B ------------------------------------------------------------------

EXAMPLE = bytes.fromhex(
    "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000452900002910111213"
    "1415161761039470 1f8d017f7c129248896b71bfe25236efd7cdc67066906315b2"
)
EXAMPLE_KEY = bytes(range(0x80, 0xA4))
EXAMPLE_IV = bytes(range(0x10, 0x18))
EXAMPLE_PAYLOADS = (NotifyPayload(NotifyType.SET_WINDOW_SIZE, b"\0\0\0\x0a"),)


class WithGivenIv(IkeProtection):
    """Uses the example's IV."""

    def _next_iv(self) -> bytes:
        return EXAMPLE_IV


def example_side(is_original_initiator: bool) -> IkeProtection:
    """One side of the example; its message has no I flag, so SK_er protects it."""
    other = bytes(36)
    keys = IkeKeys(b"", b"", b"", other, EXAMPLE_KEY, b"", b"")
    return WithGivenIv(CHACHA, keys, is_original_initiator, ScriptedEntropy("none"))


def test_the_published_message_opens() -> None:
    """RFC 7634 App. B: the whole IKE message."""
    message = decode_message(EXAMPLE)
    assert message.header.message_id == 9
    assert not message.header.is_original_initiator
    assert example_side(True).open(message, EXAMPLE) == EXAMPLE_PAYLOADS


def test_the_published_message_is_what_we_seal() -> None:
    """RFC 7634 App. B: octet for octet."""
    bare = decode_message(EXAMPLE).header.with_chain(0, 0)
    assert example_side(False).seal(bare, EXAMPLE_PAYLOADS) == EXAMPLE


# --- what is refused ------------------------------------------------------------------


@every_suite
def test_no_octet_can_be_changed(suite: Suite) -> None:
    """RFC 7296 §3.14, RFC 5282 §5.2: the whole message is covered, header included."""
    ours, theirs = both(suite)
    octets = ours.seal(header(), PAYLOADS)
    assert opened(theirs, octets) == PAYLOADS
    for position in range(len(octets)):
        changed = bytearray(octets)
        changed[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            opened(theirs, bytes(changed))


@every_suite
def test_nothing_can_be_cut_off_or_added(suite: Suite) -> None:
    """A message of any other length does not verify, and never fails otherwise."""
    ours, theirs = both(suite)
    octets = ours.seal(header(), PAYLOADS)
    for size in range(HEADER_SIZE + 4, len(octets)):
        with pytest.raises(IntegrityError):
            opened(theirs, octets[:size])
    with pytest.raises(IntegrityError):
        opened(theirs, octets + b"\0")


@every_suite
def test_a_reflected_message_is_refused(suite: Suite) -> None:
    """RFC 7296 §2.14: each direction has keys of its own."""
    for side in both(suite):
        octets = side.seal(header(), PAYLOADS)
        with pytest.raises(IntegrityError):
            opened(side, octets)


@every_suite
def test_payloads_in_the_clear_are_covered_and_ignored(suite: Suite) -> None:
    """RFC 5282 §5.1: what stands between header and SK is authenticated."""
    _, ours = both(suite)
    first_inner, inner = encode_chain(PAYLOADS)
    pad_length = -(len(inner) + 1) % suite.cipher.block_size
    plaintext = inner + bytes(pad_length) + bytes([pad_length])
    before = b"\x2e\0\0\x06hi"  # a Vendor ID payload; SK is next
    octets = their_message(suite, keys_for(suite), first_inner, plaintext, before)
    message = decode_message(octets)
    assert message.payloads[0] == VendorPayload(b"hi")
    assert ours.open(message, octets) == PAYLOADS
    changed = octets.replace(before, b"\x2e\0\0\x06ho")
    with pytest.raises(IntegrityError):
        ours.open(decode_message(changed), changed)


@pytest.mark.parametrize("payloads", [(), (VendorPayload(b"clear"),)])
def test_without_an_encrypted_payload_nothing_is_proved(
    payloads: tuple[Payload, ...],
) -> None:
    """RFC 7296 §2.21.4: a message in the clear on a keyed IKE SA is dropped."""
    _, theirs = both(GCM)
    with pytest.raises(IntegrityError, match="no Encrypted payload"):
        theirs.open(Message(header(), payloads), b"")


# --- authentic, but wrong inside ------------------------------------------------------


@every_suite
def test_a_pad_length_beyond_the_plaintext(suite: Suite) -> None:
    """RFC 7296 §2.21.3: an authentic message with a syntax error."""
    _, theirs = both(suite)
    size = suite.cipher.block_size
    octets = their_message(suite, keys_for(suite), 0, bytes(size - 1) + bytes([size]))
    with pytest.raises(MalformedMessageError, match="Pad Length"):
        opened(theirs, octets)


@every_suite
def test_padding_alone_is_an_empty_message(suite: Suite) -> None:
    """RFC 7296 §1.4: an INFORMATIONAL message may be empty."""
    _, theirs = both(suite)
    plaintext = bytes(255) + b"\xff"
    octets = their_message(suite, keys_for(suite), 0, plaintext)
    assert opened(theirs, octets) == ()


@pytest.mark.parametrize(
    ("first_inner", "inner", "error"),
    [
        (0, b"left over", MalformedMessageError),
        (41, b"\0\0\0\x08\0\0\x40", MalformedMessageError),
        (46, b"\0\0\0\x08abcd", MalformedMessageError),
        (200, b"\0\x80\0\x04", UnsupportedCriticalPayloadError),
    ],
    ids=["octets left over", "cut off", "SK inside SK", "critical and unknown"],
)
def test_wrong_payloads_inside(
    first_inner: int, inner: bytes, error: type[Exception]
) -> None:
    """RFC 7296 §2.5, §2.21.3: authentic, so the peer is told."""
    _, theirs = both(GCM)
    octets = their_message(GCM, keys_for(GCM), first_inner, inner + b"\0")
    with pytest.raises(error):
        opened(theirs, octets)


# --- sealing --------------------------------------------------------------------------


@settings(max_examples=40)
@given(inner_chains, st.sampled_from(SUITES))
def test_what_is_sealed_opens(payloads: tuple[Payload, ...], suite: Suite) -> None:
    """RFC 7296 §3.14: both directions, every payload type, none at all."""
    initiator, responder = both(suite)
    for sender, receiver in ((initiator, responder), (responder, initiator)):
        octets = sender.seal(header(), payloads)
        assert receiver.open(decode_message(octets), octets) == payloads


@every_suite
def test_ivs_never_repeat(suite: Suite) -> None:
    """RFC 5282 §3.1: unique under a key; RFC 7296 §3.14: CBC's from fresh entropy."""
    ours, _ = both(suite)
    size = suite.cipher.iv_size
    ivs = [ours.seal(header(), ())[32 : 32 + size] for _ in range(5)]
    assert len(set(ivs)) == 5
    if suite.encr == 12:
        entropy = ScriptedEntropy("i")
        assert ivs == [entropy.draw("ike.iv", 16) for _ in range(5)]
    else:
        assert ivs == [number.to_bytes(8, "big") for number in range(1, 6)]


@pytest.mark.parametrize("suite", [GCM, CBC], ids=Suite.describe)
def test_the_largest_payload_and_one_octet_more(suite: Suite) -> None:
    """RFC 7296 §3.2: a Payload Length has 16 bits; nothing longer is ever sent."""
    ours, theirs = both(suite)
    spec = suite.cipher
    room = 0xFFFF - 4 - spec.iv_size - spec.icv_size
    room -= room % spec.block_size + 1 + 4  # Pad Length, generic header
    largest = UnknownPayload(200, bytes(room))
    assert opened(theirs, ours.seal(header(), (largest,))) == (largest,)
    with pytest.raises(MessageTooLongError):
        ours.seal(header(), (UnknownPayload(200, bytes(room + 1)),))


def test_the_header_is_filled_in() -> None:
    """RFC 7296 §3.1: Next Payload and Length are the message's own."""
    ours, _ = both(CBC)
    decoded = decode_message(ours.seal(header(message_id=7), PAYLOADS)).header
    assert (decoded.next_payload, decoded.message_id) == (46, 7)
    assert decoded.with_chain(0, 0) == header(message_id=7)
