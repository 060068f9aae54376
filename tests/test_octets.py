"""Bounds of every field are checked in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.errors import MalformedMessageError
from iketcp.octets import Reader, Writer


def test_fields_are_in_network_order() -> None:
    """RFC 7296 §3: the most significant octet comes first."""
    reader = Reader(bytes.fromhex("01 0203 040506 0708"))
    assert reader.pull_u8("one") == 0x01
    assert reader.pull_u16("two") == 0x0203
    assert reader.pull(3, "three") == bytes.fromhex("040506")
    assert reader.remaining == 2
    assert reader.pull_rest() == bytes.fromhex("0708")
    reader.expect_end("all")


@pytest.mark.parametrize("method", ["pull_u8", "pull_u16"])
def test_no_field_beyond_the_end(method: str) -> None:
    """A field that the octets do not hold is a syntax error, and takes nothing."""
    reader = Reader(b"abc", 3)
    with pytest.raises(MalformedMessageError, match="the field"):
        getattr(reader, method)("the field")
    assert reader.position == 3


@given(st.binary(max_size=20), st.integers(0, 40), st.integers(0, 40))
def test_a_range_is_never_left(octets: bytes, start: int, size: int) -> None:
    """Whatever is pulled lies inside the range, or is refused."""
    start = min(start, len(octets))
    end = (start + len(octets)) // 2
    reader = Reader(octets, start, end)
    if size <= end - start:
        assert reader.pull(size, "some") == octets[start : start + size]
        assert reader.remaining == end - start - size
        return
    with pytest.raises(MalformedMessageError, match=f"{size} octets announced"):
        reader.pull(size, "some")
    with pytest.raises(MalformedMessageError, match=f"{end - start} left"):
        reader.pull_block(size, "some")
    assert reader.remaining == end - start


def test_a_block_has_an_end_of_its_own() -> None:
    """What a block does not hold is not taken from what follows it."""
    reader = Reader(b"abcdef")
    block = reader.pull_block(2, "block")
    assert block.pull(1, "a") == b"a"
    with pytest.raises(MalformedMessageError):
        block.pull(2, "b and c")
    assert block.pull_rest() == b"b"
    assert reader.pull_rest() == b"cdef"


def test_octets_left_over_are_refused() -> None:
    """RFC 7296 §3: lengths that say the same thing twice have to agree."""
    reader = Reader(b"ab")
    with pytest.raises(MalformedMessageError, match="2 octets left over"):
        reader.expect_end("body")


def test_a_length_is_filled_in_afterwards() -> None:
    """A length counts itself, its block, and what the caller says came before."""
    writer = Writer()
    writer.push_u8(0xAA)
    writer.push_u8(0xBB)
    with writer.length_u16(counted_before=2):
        writer.push_u16(0x0102)
        writer.push(b"xyz")
    with writer.length_u16():
        pass
    assert writer.octets() == bytes.fromhex("aabb 0009 0102") + b"xyz\0\2"


@pytest.mark.parametrize("value", [-1, 256])
def test_a_value_that_does_not_fit_is_not_cut(value: int) -> None:
    """Too large a number is our mistake and never goes out."""
    with pytest.raises(ValueError, match="range"):
        Writer().push_u8(value)
    with pytest.raises(OverflowError):
        Writer().push_u16(value << 8)
