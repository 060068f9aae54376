"""The file ``esp_replay_test.json`` against a receiver that remembers everything."""

from iketcp.vectorlib import check_esp_replay
from vector_support import document, grouped, unnoticed


def test_sequences() -> None:
    """RFC 4303 §3.4.3, App. A: a set of all numbers seen, and a search for halves."""
    for group, test in grouped("esp_replay", "Replay"):
        width, highest = group["window"], int(test["start"], 16)
        seen = {highest, 0}
        for field, inferred, is_authentic, is_accepted in zip(
            test["received"],
            test["inferred"],
            test["authentic"],
            test["accept"],
            strict=True,
        ):
            low = int(field, 16)
            number = low
            if group["esn"]:
                # the one number with this lower half among 2^32 from the left edge
                left = highest - width + 1
                halves = range((left >> 32) - 1, (left >> 32) + 3)
                candidates = [(high << 32) + low for high in halves]
                (number,) = (n for n in candidates if left <= n < left + 2**32)
            is_number = 0 <= number < 2**64
            assert inferred == (f"{number:016x}" if is_number else ""), test["tcId"]
            is_new = is_number and number > highest - width and number not in seen
            assert is_accepted == (is_new and is_authentic), test["tcId"]
            if is_accepted:
                seen.add(number)
                highest = max(highest, number)


def test_every_kind_of_packet_is_there() -> None:
    """Good and bad, authentic and not, in each group."""
    for group in document("esp_replay")["testGroups"]:
        kinds = {
            pair
            for test in group["tests"]
            for pair in zip(test["accept"], test["authentic"], strict=True)
        }
        assert kinds == {(True, True), (False, True), (False, False)}


def test_ours_agrees() -> None:
    """Our implementation gives what the file says, and the checker would tell."""
    assert check_esp_replay.problems(document("esp_replay")) == []
    assert unnoticed("esp_replay", "Replay", "accept", "inferred") == []
