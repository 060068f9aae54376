"""What IKE_AUTH vouches for of IKE_INTERMEDIATE. RFC 9242 §3.3.2.

Expected octets are put together here by hand, and the chains with :mod:`hmac` alone.
"""

import hmac
from dataclasses import replace

import pytest

from iketcp.crypto.prf import PRFS
from iketcp.errors import MalformedMessageError
from iketcp.ike.header import HEADER_SIZE
from iketcp.ike.intermediate import (
    Intermediate,
    authenticated_form,
    head_as_whole,
    own_form,
)
from iketcp.ike.keys import IkeKeys
from iketcp.ike.message import decode_message, encode_chain
from iketcp.ike.payloads import KePayload, SkfPayload, SkPayload, VendorPayload
from iketcp.registry import ExchangeType, PayloadType
from test_ike_protection import both, every_suite, header

INTERMEDIATE = replace(header(), exchange_type=ExchangeType.IKE_INTERMEDIATE)
KE = KePayload(36, b"k" * 40)
KE_OCTETS = bytes.fromhex("0000 0030 0024 0000") + b"k" * 40
OPEN = VendorPayload(b"in the clear")


def head_of(message: bytes) -> bytes:
    """Cut a message off behind the generic header of what is encrypted."""
    last = decode_message(message).payloads[-1]
    assert isinstance(last, SkPayload | SkfPayload)
    numbers = 4 if isinstance(last, SkfPayload) else 0
    return message[: len(message) - len(last.body) - numbers]


def expected(*in_the_clear: VendorPayload) -> bytes:
    """A | P of a message with one KE payload inside, octet by octet."""
    first = 43 if in_the_clear else 46
    chain = b"".join(
        bytes([46, 0]) + (4 + len(p.vendor_id)).to_bytes(2, "big") + p.vendor_id
        for p in in_the_clear
    )
    size = HEADER_SIZE + len(chain) + 4 + len(KE_OCTETS)
    before = INTERMEDIATE.encode()
    head = before[:16] + bytes([first]) + before[17:24] + size.to_bytes(4, "big")
    return head + chain + bytes([34, 0, 0, 52]) + KE_OCTETS


@every_suite
@pytest.mark.parametrize("leading", [(), (OPEN,)])
def test_lengths_are_those_without_iv_padding_and_icv(suite, leading):
    """The same for every cipher; what stands in the clear counts, too."""
    ours, _ = both(suite)
    message = ours.seal(INTERMEDIATE, [KE], leading)
    assert authenticated_form(head_of(message), KE_OCTETS) == expected(*leading)


def test_our_own_message_is_written_likewise():
    assert own_form(INTERMEDIATE, [KE]) == expected()


def test_an_empty_message_is_its_headers():
    """IntAuth_[i/r]*P is left out then."""
    form = own_form(INTERMEDIATE, [])
    assert len(form) == HEADER_SIZE + 4
    assert form[24:] == bytes.fromhex("0000 0020 0000 0004")


@every_suite
@pytest.mark.parametrize("leading", [(), (OPEN,), (OPEN, OPEN)])
def test_a_message_in_fragments_is_the_same_as_whole(suite, leading):
    """Next Payload says SK again, wherever it stands."""
    ours, _ = both(suite)
    first_inner, content = encode_chain([KE])
    outer = SkfPayload(first_inner, 1, 3, b"")
    fragment = ours.seal_content(INTERMEDIATE, outer, content[:10], leading)
    head = head_as_whole(head_of(fragment))
    assert head == head_of(ours.seal(INTERMEDIATE, [KE], leading))[:24] + head[24:]
    whole = ours.seal(INTERMEDIATE, [KE], leading)
    assert authenticated_form(head, content) == authenticated_form(
        head_of(whole), content
    )


def test_reserved_bits_of_the_first_fragment_stay():
    """The RESERVED field of the Encrypted payload is that of the first fragment."""
    head = bytes(16) + bytes([53]) + bytes(11) + bytes([34, 0x2A, 0, 99])
    assert head_as_whole(head) == head[:16] + bytes([PayloadType.SK]) + head[17:]
    assert authenticated_form(head_as_whole(head), b"")[-4:] == bytes([34, 0x2A, 0, 4])


def test_what_no_encrypted_payload_could_hold_is_malformed():
    """Fragments can carry a few octets more than one message."""
    head = bytes(HEADER_SIZE + 4)
    assert authenticated_form(head, bytes(0xFFFB)).endswith(bytes(0xFFFB))
    with pytest.raises(MalformedMessageError, match="65532 octets inside"):
        authenticated_form(head, bytes(0xFFFC))


def keys(generation: int) -> IkeKeys:
    """Seven keys, of which two count here."""
    sk_p = [bytes([generation, side]) * 16 for side in (1, 2)]
    return IkeKeys(b"", b"", b"", b"", b"", *sk_p)


def mac(key: bytes, *parts: bytes) -> bytes:
    """PRF_HMAC_SHA2_256, without any code of ours."""
    return hmac.digest(key, b"".join(parts), "sha256")


def test_chains_of_both_sides():
    """Each link under the SK_p of its own exchange, over the link before."""
    prf = PRFS[5]
    state = Intermediate((36, 20))
    assert state.int_auth == b""
    state.complete(prf, keys(1), b"request 1", b"response 1")
    assert state.methods == (20,)
    i1 = mac(keys(1).sk_pi, b"request 1")
    r1 = mac(keys(1).sk_pr, b"response 1")
    assert state.int_auth == i1 + r1 + bytes([0, 0, 0, 2])
    state.complete(prf, keys(2), b"request 2", b"response 2")
    assert state.methods == ()
    i2 = mac(keys(2).sk_pi, i1, b"request 2")
    r2 = mac(keys(2).sk_pr, r1, b"response 2")
    assert state.int_auth == i2 + r2 + bytes([0, 0, 0, 3])
