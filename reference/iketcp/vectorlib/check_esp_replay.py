"""Runs ``esp_replay_test.json`` against our anti-replay window.

Source: RFC 4303 §3.4.3
"""

from iketcp.esp.replay import ReplayWindow
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for group, test in each(document, "Replay"):
        window = ReplayWindow(group["window"])
        start = int(test["start"], 16)
        if start:
            window.advance(start)
        inferred, accept = [], []
        for field, is_authentic in zip(
            test["received"], test["authentic"], strict=True
        ):
            sequence = int(field, 16)
            if group["esn"]:
                sequence = window.infer(sequence)
            is_number = 0 <= sequence < 1 << 64
            inferred.append(f"{sequence:016x}" if is_number else "")
            accept.append(window.check(sequence) and is_authentic)
            if accept[-1]:
                window.advance(sequence)
        found += compare(test, "inferred", inferred) + compare(test, "accept", accept)
    return found
