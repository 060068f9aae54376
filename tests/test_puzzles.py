"""Client puzzles, checked with plain hmac. RFC 8019 §7.1.3, §8."""

import hmac

import pytest

from iketcp.crypto.prf import PRFS
from iketcp.errors import MalformedMessageError
from iketcp.ike import puzzles
from iketcp.ike.puzzles import (
    FREE_DIFFICULTY,
    HARDEST,
    Puzzle,
    solve,
    solved_bits,
    zero_bits,
)
from iketcp.registry import PseudorandomFunction

SHA256 = PseudorandomFunction.PRF_HMAC_SHA2_256
HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}


@pytest.mark.parametrize(
    ("octets", "bits"),
    [
        (b"\x01", 0),
        (b"\x02", 1),
        (b"\x80", 7),
        (b"\x01\x00", 8),
        (b"\xff\x10\x00", 12),
        (b"\x00\x00", 16),
    ],
)
def test_zero_bits_are_counted_from_the_end(octets: bytes, bits: int) -> None:
    assert zero_bits(octets) == bits


@pytest.mark.parametrize("prf", HASHES)
@pytest.mark.parametrize("difficulty", [0, 1, 5, 9])
def test_a_solution_has_four_different_keys_that_work(
    prf: int, difficulty: int
) -> None:
    """RFC 8019 §7.1.3, recomputed without our prf."""
    string = b"a cookie"
    solution = solve(Puzzle(prf, difficulty), string)
    assert solution is not None
    keys = {solution[i : i + 4] for i in range(0, 16, 4)}
    assert len(keys) == 4
    wanted = difficulty or FREE_DIFFICULTY
    for key in keys:
        digest = hmac.digest(key, string, HASHES[prf])
        assert int.from_bytes(digest, "big") % 2**wanted == 0
    assert solved_bits(PRFS[prf], string, solution) >= wanted
    assert solved_bits(PRFS[prf], b"another", solution) < 9


@pytest.mark.parametrize(
    "solution",
    [b"", bytes(3), b"\1\2\3\4\5", b"\1\1\2\3", bytes(range(4 * 33))],
    ids=["empty", "three", "five", "equal keys", "keys over the prf's size"],
)
def test_a_malformed_solution_is_refused(solution: bytes) -> None:
    """RFC 8019 §8.2."""
    with pytest.raises(MalformedMessageError):
        solved_bits(PRFS[SHA256], b"cookie", solution)


def test_the_notification_is_three_octets() -> None:
    """RFC 8019 §8.1."""
    assert Puzzle(SHA256, 7).encode() == b"\0\5\7"
    assert Puzzle.decode(b"\0\5\7") == Puzzle(SHA256, 7)
    for data in (b"", b"\0\5", b"\0\5\7\0"):
        with pytest.raises(MalformedMessageError):
            Puzzle.decode(data)


def test_work_beyond_reason_and_unknown_prfs_are_not_begun() -> None:
    """RFC 8019 §7.1.2 lets the initiator decline."""
    assert Puzzle(SHA256, HARDEST).is_solvable
    assert not Puzzle(SHA256, HARDEST + 1).is_solvable
    assert not Puzzle(2, 1).is_solvable
    assert solve(Puzzle(SHA256, HARDEST + 1), b"cookie") is None


def test_a_search_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8019 §7.1.2: the initiator need not go on for ever."""
    monkeypatch.setattr(puzzles, "PATIENCE", 1)
    assert solve(Puzzle(SHA256, 6), b"cookie") is None
