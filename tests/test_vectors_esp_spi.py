"""The file ``esp_spi_test.json`` against the rule it is about."""

import pytest

from iketcp.vectorlib import check_esp_spi
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped, unnoticed

NAME, KIND = "esp_spi", "EspSpiChoice"


@pytest.mark.parametrize(
    "test", [pytest.param(t, id=t["comment"]) for _, t in grouped(NAME, KIND)]
)
def test_the_first_usable_number_is_chosen(test: Json) -> None:
    """[9329-3.2-spi]: 256 or more, and not in use; all before it are not."""
    usable = [
        draw
        for draw in test["draws"]
        if int(draw, 16) >= 256 and draw not in test["inUse"]
    ]
    assert usable == [test["chosen"]] == test["draws"][-1:]
    assert (test["result"] == "invalid") == (len(test["draws"]) > 1)


def test_ours_agrees() -> None:
    """Our choice is that of every test."""
    assert check_esp_spi.problems(document(NAME)) == []


def test_the_checker_notices() -> None:
    """Another number, one draw too many and one too few: all are reported."""
    assert unnoticed(NAME, KIND, "chosen") == []
    for _, test in grouped(NAME, KIND):
        for draws in ([*test["draws"], "00000100"], test["draws"][:-1]):
            wrong = {"type": KIND, "tests": [{**test, "draws": draws}]}
            assert check_esp_spi.problems({"testGroups": [wrong]})
