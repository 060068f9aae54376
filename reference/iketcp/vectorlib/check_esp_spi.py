"""Runs ``esp_spi_test.json`` against our choice of ESP SPIs.

Source: RFC 4303 §2.1
"""

from iketcp.ike.context import IkeContext
from iketcp.ike.identity import Identity
from iketcp.ike.policy import IkePolicy
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.walk import compare, each

_POLICY = IkePolicy((), Identity.parse("here.example"), None, {}, ())


class _Draws:
    """Gives the numbers of a test, in order."""

    def __init__(self, draws: list[str]) -> None:
        self.left = [bytes.fromhex(draw) for draw in draws]

    def draw(self, label: str, size: int) -> bytes:
        """Draw the next number.

        Raises
        ------
        LookupError
            There is none left, or more octets than a number has are asked for.
        """
        if not self.left or len(self.left[0]) != size:
            raise LookupError(f"no draw of {size} octets for {label}")
        return self.left.pop(0)


def problems(document: Json) -> list[str]:
    """Say what our implementation does differently; empty if nothing."""
    found = []
    for _, test in each(document, "EspSpiChoice"):
        draws = _Draws(test["draws"])
        in_use = {bytes.fromhex(spi) for spi in test["inUse"]}
        context = IkeContext(_POLICY, draws, is_esp_spi_used=in_use.__contains__)
        try:
            chosen = context.new_esp_spi().hex()
        except LookupError as error:
            chosen = str(error)
        found += compare(test, "chosen", chosen)
        found += compare({**test, "left": 0}, "left", len(draws.left))
    return found
