"""IKE fragments by themselves: cutting a message up and putting it together."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike_strategies import inner_chains
from iketcp.crypto.suite import Suite
from iketcp.errors import FragmentError, FragmentLimitError, MessageTooLongError
from iketcp.ike.fragments import (
    MAX_CONTENT,
    MAX_FRAGMENTS,
    Reassembly,
    Whole,
    check_numbers,
    message_size,
    seal_in_pieces,
)
from iketcp.ike.header import HEADER_SIZE
from iketcp.ike.message import decode_message, encode_chain
from iketcp.ike.payloads import (
    Payload,
    PsPayload,
    SkfPayload,
    SkPayload,
    UnknownPayload,
    VendorPayload,
)
from iketcp.ike.protection import IkeProtection
from iketcp.registry import ExchangeType
from test_ike_protection import CBC, GCM, both, every_suite, header

LATE = 60.0
LARGEST = 200
LONG = (VendorPayload(b"v" * 300), VendorPayload(b"w" * 301))


def fragment_of(message: bytes) -> SkfPayload:
    """Return the payload that ends a fragment's message."""
    last = decode_message(message).payloads[-1]
    assert isinstance(last, SkfPayload)
    return last


def give(
    reassembly: Reassembly, protection: IkeProtection, message: bytes
) -> Whole | None:
    """Let a message's fragment be checked, opened and kept."""
    head, fragment = decode_message(message).header, fragment_of(message)
    check_numbers(fragment)
    reassembly.check(head, fragment)
    content = protection.open_content(fragment, message)
    return reassembly.add(head, fragment, content, LATE)


def a_fragment(number: int, total: int, first_inner_type: int = 0) -> SkfPayload:
    """Make a fragment whose content does not matter."""
    return SkfPayload(first_inner_type, number, total, b"")


def keep(reassembly: Reassembly, number: int, total: int, content: bytes = b"") -> None:
    """Put an incomplete message's fragment there."""
    fragment = a_fragment(number, total)
    reassembly.check(header(), fragment)
    assert reassembly.add(header(), fragment, content, LATE) is None


# --- how large ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip_version", "datagram_size", "expected"),
    [(4, 0, 544), (6, 0, 1228), (4, 1500, 1468), (6, 1500, 1448)],
)
def test_size_of_a_message_in_a_datagram(
    ip_version: int, datagram_size: int, expected: int
) -> None:
    """RFC 7383 §2.5.1: 576 and 1280 octets, less the headers and the marker."""
    assert message_size(ip_version, datagram_size) == expected


@every_suite
def test_sizes_of_content_and_of_what_it_becomes(suite: Suite) -> None:
    """The largest content is the largest that fits."""
    ours, _ = both(suite)
    least = ours.sealed_size(0)
    assert ours.largest_content(least - 1) < 0
    for size in range(least, least + 40):
        largest = ours.largest_content(size)
        assert ours.sealed_size(largest) <= size < ours.sealed_size(largest + 1)


# --- cutting --------------------------------------------------------------------------


@every_suite
def test_a_message_is_cut_into_messages_that_fit(suite: Suite) -> None:
    """RFC 7383 §2.5: numbers from 1, Next Payload in the first, headers alike."""
    ours, theirs = both(suite)
    messages = seal_in_pieces(ours, header(), LONG, (), LARGEST)
    fragments = [fragment_of(message) for message in messages]
    count = len(messages)
    assert count > 1
    assert [f.fragment_number for f in fragments] == list(range(1, count + 1))
    assert {f.total_fragments for f in fragments} == {count}
    assert [f.first_inner_type for f in fragments] == [43] + (count - 1) * [0]
    for message, fragment in zip(messages, fragments, strict=True):
        decoded = decode_message(message)
        assert decoded.payloads == (fragment,)
        assert decoded.header == header().with_chain(53, len(message))
        assert len(message) <= LARGEST
    assert all(len(m) > LARGEST - suite.cipher.block_size for m in messages[:-1])
    pieces = [
        theirs.open_content(f, m) for f, m in zip(fragments, messages, strict=True)
    ]
    assert b"".join(pieces) == encode_chain(LONG)[1]
    ivs = {f.body[: suite.cipher.iv_size] for f in fragments}
    assert len(ivs) == count


def test_what_fits_is_not_cut() -> None:
    """RFC 7383 §2.4: there is no point in fragmenting small messages."""
    ours, _ = both(GCM)
    fits = HEADER_SIZE + 4 + ours.sealed_size(4 + 10)
    payloads = (VendorPayload(bytes(10)),)
    (whole,) = seal_in_pieces(ours, header(), payloads, (), fits)
    assert len(whole) == fits
    assert isinstance(decode_message(whole).payloads[-1], SkPayload)
    assert len(seal_in_pieces(ours, header(), payloads, (), fits - 1)) == 2


def test_what_stands_in_the_clear_goes_with_the_first() -> None:
    """RFC 7383 §2.5.3: and takes room from it, to the last octet."""
    ours, theirs = both(GCM)
    for size in (40, 128, 160):
        clear = PsPayload(bytes(size))
        messages = seal_in_pieces(ours, header(), LONG, (clear,), LARGEST)
        first = decode_message(messages[0]).payloads
        assert first[:-1] == (clear,)
        assert all(len(decode_message(m).payloads) == 1 for m in messages[1:])
        assert all(len(message) <= LARGEST for message in messages[1:])
        assert len(messages[0]) <= LARGEST or size == 160
        reassembly = Reassembly()
        *others, last = messages
        assert not any(give(reassembly, theirs, message) for message in others)
        whole = give(reassembly, theirs, last)
        assert whole is not None
        assert whole.content == encode_chain(LONG)[1]
    assert theirs.open_content(fragment_of(messages[0]), messages[0]) == b""


def test_too_much_to_cut_and_no_room_to_cut_it_into() -> None:
    """RFC 7383 §5: no receiver should be expected to take more than 64 KB."""
    ours, _ = both(CBC)
    least = HEADER_SIZE + 8 + ours.sealed_size(1)
    assert len(seal_in_pieces(ours, header(), LONG[:1], (), least)) == 21
    with pytest.raises(MessageTooLongError):
        seal_in_pieces(ours, header(), LONG[:1], (), least - 1)
    large = [UnknownPayload(200, bytes(0x8000)), UnknownPayload(200, bytes(0x7FF7))]
    assert len(encode_chain(large)[1]) == MAX_CONTENT
    assert len(seal_in_pieces(ours, header(), large, (), 1228)) == 57
    with pytest.raises(MessageTooLongError):
        seal_in_pieces(ours, header(), [*large, VendorPayload(b"")], (), 1228)


# --- putting together -----------------------------------------------------------------


@given(
    payloads=inner_chains,
    largest=st.integers(90, 1500),
    random=st.randoms(use_true_random=False),
)
def test_any_message_in_any_order(
    payloads: tuple[Payload, ...], largest: int, random: Random
) -> None:
    """RFC 7383 §2.6: all that is cut comes together, whatever comes first."""
    ours, theirs = both(GCM)
    messages = list(seal_in_pieces(ours, header(), payloads, (), largest))
    if len(messages) == 1:
        assert theirs.open(decode_message(messages[0]), messages[0]) == payloads
        return
    random.shuffle(messages)
    reassembly = Reassembly()
    *others, last = messages
    for number, message in enumerate(others, 1):
        assert give(reassembly, theirs, message) is None
        assert len(reassembly) == number
        with pytest.raises(FragmentError, match="already"):
            give(reassembly, theirs, message)
    whole = give(reassembly, theirs, last)
    assert whole == Whole(*encode_chain(payloads))
    assert len(reassembly) == 0
    assert reassembly.deadline is None


@pytest.mark.parametrize(("number", "total"), [(0, 0), (0, 2), (1, 0), (3, 2)])
def test_numbers_that_cannot_be(number: int, total: int) -> None:
    """RFC 7383 §2.6: neither is zero, and the first is not above the second."""
    with pytest.raises(FragmentError):
        check_numbers(a_fragment(number, total))
    check_numbers(a_fragment(1, 1))
    check_numbers(a_fragment(65535, 65535))


def test_a_set_with_more_fragments_replaces_one_with_fewer() -> None:
    """RFC 7383 §2.5.2, §2.6: the sender has cut its message anew; fewer are old."""
    reassembly = Reassembly()
    keep(reassembly, 1, 2, b"old")
    keep(reassembly, 3, 3, b"c")
    assert len(reassembly) == 1
    for number in (1, 2):
        with pytest.raises(FragmentError, match="replaced"):
            reassembly.check(header(), a_fragment(number, 2))
    keep(reassembly, 1, 3, b"a")
    assert reassembly.add(header(), a_fragment(2, 3), b"b", LATE) == Whole(0, b"abc")


def test_a_single_fragment_may_be_all() -> None:
    """RFC 7383 §2.5.3: only its presence says that fragmentation is in use."""
    whole = Reassembly().add(header(), a_fragment(1, 1, 41), b"all", LATE)
    assert whole == Whole(41, b"all")


def test_the_first_fragment_says_what_comes_first() -> None:
    """RFC 7383 §2.5: in the others Next Payload is zero, and not looked at."""
    reassembly = Reassembly()
    reassembly.add(header(), a_fragment(1, 3, 41), b"a", LATE)
    reassembly.add(header(), a_fragment(3, 3, 7), b"c", LATE)
    whole = reassembly.add(header(), a_fragment(2, 3, 9), b"b", LATE)
    assert whole == Whole(41, b"abc")


def test_another_message_begins_anew() -> None:
    """One message at a time: the window is one."""
    reassembly = Reassembly()
    keep(reassembly, 1, 2, b"old")
    later = header(message_id=2)
    reassembly.check(later, a_fragment(1, 2))
    assert reassembly.add(later, a_fragment(1, 2, 41), b"new", LATE + 1) is None
    assert (len(reassembly), reassembly.deadline) == (1, LATE + 1)
    whole = reassembly.add(later, a_fragment(2, 2), b"er", LATE + 2)
    assert whole == Whole(41, b"newer")


def test_fragments_of_two_exchanges_are_not_mixed() -> None:
    """RFC 7383 §2.5: the header is that of the original message."""
    reassembly = Reassembly()
    keep(reassembly, 1, 2)
    other = replace(header(), exchange_type=ExchangeType.CREATE_CHILD_SA)
    with pytest.raises(FragmentError, match="exchange"):
        reassembly.check(other, a_fragment(2, 2))


def test_time_runs_out() -> None:
    """RFC 7383 §2.6: an incomplete message is forgotten, by its first fragment."""
    reassembly = Reassembly()
    reassembly.expire(1e9)
    keep(reassembly, 1, 3)
    reassembly.add(header(), a_fragment(2, 3), b"", LATE + 5)
    reassembly.expire(LATE - 0.001)
    assert len(reassembly) == 2
    reassembly.expire(LATE)
    assert len(reassembly) == 0
    keep(reassembly, 1, 3)


def test_no_more_is_kept_than_one_message_can_have() -> None:
    """RFC 7383 §5: so many fragments, so many octets; then all is dropped."""
    reassembly = Reassembly()
    keep(reassembly, 1, MAX_FRAGMENTS)
    with pytest.raises(FragmentLimitError):
        reassembly.add(header(), a_fragment(1, MAX_FRAGMENTS + 1), b"", LATE)
    assert (len(reassembly), reassembly.deadline) == (0, None)
    keep(reassembly, 1, 3, bytes(MAX_CONTENT - 1))
    keep(reassembly, 2, 3, b"1")
    with pytest.raises(FragmentLimitError):
        reassembly.add(header(), a_fragment(3, 3), b"1", LATE)
    assert (len(reassembly), reassembly.deadline) == (0, None)
