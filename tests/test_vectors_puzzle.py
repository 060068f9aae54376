"""The file ``puzzle_test.json`` against plain hmac."""

import hmac

from iketcp.vectorlib import check_puzzle
from vector_support import document, grouped, octets, unnoticed

HASHES = {5: ("sha256", 32), 6: ("sha384", 48), 7: ("sha512", 64)}


def bits_of(prf: int, string: bytes, solution: bytes) -> int | None:
    """RFC 8019 §7.1.3, §8.2: four different keys of one size that the prf takes."""
    name, largest = HASHES[prf]
    size = len(solution) // 4
    keys = [solution[i * size : (i + 1) * size] for i in range(4)]
    if len(set(keys)) != 4 or not 1 <= size <= largest:
        return None
    counts = []
    for key in keys:
        digest = int.from_bytes(hmac.new(key, string, name).digest(), "big")
        count = 0
        while digest % 2 == 0:
            digest //= 2
            count += 1
        counts.append(count)
    return min(counts)


def test_bits_are_counted_in_four_keys() -> None:
    """RFC 8019 §7.1.4: the smallest number of the four decides."""
    results = set()
    for _, test in grouped("puzzle", "PuzzleSolution"):
        string, solution = octets(test, "string", "solution")
        bits = bits_of(test["prf"], string, solution)
        assert bits == test["bits"], test["tcId"]
        if bits is None or bits < test["difficulty"]:
            assert test["result"] == "invalid"
        else:
            assert test["result"] == ("valid" if test["difficulty"] else "acceptable")
        results.add(test["result"])
    assert results == {"valid", "invalid", "acceptable"}


PRINTED = {
    "061840": "e4f957b859d7fb1343b7b94a816c0000",
    "073324": "0d4233d6278c96e3369227a075800000",
    "0c8a2a": "952a35d39d5ba06709da43af40700000",
    "0d94c8": "5a0452b21571e401a3d00803679c0000",
}
"""The last octets under each key of Example 1, as RFC 8019 §4.4 has them."""


def test_the_examples_of_the_rfc_do_not_hold() -> None:
    """RFC 8019 §4.4: neither the zero bits nor the octets are those of the prf."""
    published = [
        test
        for group, test in grouped("puzzle", "PuzzleSolution")
        if group["source"]["name"] == "RFC 8019 §4.4"
    ]
    assert [test["result"] for test in published] == ["invalid", "invalid"]
    (string,) = octets(published[0], "string")
    assert "".join(PRINTED) == published[0]["solution"]
    for key, printed in PRINTED.items():
        ours = hmac.digest(bytes.fromhex(key), string, "sha256").hex()
        assert not ours.endswith(printed[-4:])


def test_searches_find_the_first_four() -> None:
    """RFC 8019 §7.1.3: each key works, and counting from 0 passes no other by."""
    for _, test in grouped("puzzle", "PuzzleSearch"):
        string, solution = octets(test, "string", "solution")
        bits = bits_of(test["prf"], string, solution)
        assert bits is not None
        assert bits >= test["difficulty"]
        keys = [int.from_bytes(solution[i : i + 4], "big") for i in range(0, 16, 4)]
        assert keys == sorted(keys)
        name, _ = HASHES[test["prf"]]
        working = [
            number
            for number in range(keys[-1] + 1)
            if int.from_bytes(
                hmac.digest(number.to_bytes(4, "big"), string, name), "big"
            )
            % (1 << test["difficulty"])
            == 0
        ]
        assert working == keys


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_puzzle.problems(document("puzzle")) == []
    assert unnoticed("puzzle", "PuzzleSolution", "bits") == []
    assert unnoticed("puzzle", "PuzzleSearch", "solution") == []


def test_a_wrong_verdict_is_told() -> None:
    """The checker sees a verdict that does not follow from the bits."""
    group, test = next(grouped("puzzle", "PuzzleSolution"))
    wrong = test | {"error": "PuzzleSolution"}
    one = {"testGroups": [group | {"tests": [wrong]}]}
    assert check_puzzle.problems(one) == ["tcId 1: enough is True"]
