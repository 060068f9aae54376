"""Cookies: making an initiator prove its address before any state is kept.

The cookie is a keyed digest of what the initiator sent and where it came from; the
responder can check it without having remembered anything. The TCP port is left out, for
the initiator may come back over another connection.

Source: RFC 7296 §2.6
Source: RFC 9329 §6.3
"""

import hmac

from iketcp.environment import Entropy
from iketcp.ike.nat_detection import IpAddress

COOKIE_SIZE = 33
"""Version octet and SHA-256; within the 1 to 64 octets of RFC 7296 §2.6."""

ROTATE_SECONDS = 120.0
"""Choice: how long one secret makes cookies; the one before is still accepted."""


class CookieJar:
    """Makes and checks cookies for one responder.

    Parameters
    ----------
    entropy : Entropy
        Where secrets come from.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._version = 0
        self._secrets: dict[int, bytes] = {}
        self._rotate_at = 0.0

    def _rotate(self, now: float) -> None:
        if self._secrets and now < self._rotate_at:
            return
        self._version = (self._version + 1) % 256
        previous = (self._version - 1) % 256
        secret = self._entropy.draw("cookie.secret", 32)
        kept = {v: s for v, s in self._secrets.items() if v == previous}
        self._secrets = {**kept, self._version: secret}
        self._rotate_at = now + ROTATE_SECONDS

    def make(self, ni: bytes, address: IpAddress, spi_i: bytes, now: float) -> bytes:
        """Make a cookie: version | HMAC-SHA-256(secret, Ni | IPi | SPIi).

        The initiator's TCP port is not part of it [9329-6.3-port].

        Parameters
        ----------
        ni : bytes
            The initiator's nonce, 16 to 256 octets.
        address : IPv4Address or IPv6Address
            The initiator's address.
        spi_i : bytes
            The initiator's SPI, 8 octets.

        Source: RFC 7296 §2.6, RFC 9329 §6.3
        """
        self._rotate(now)
        return self._digest(self._version, ni, address, spi_i)

    def is_valid(
        self, cookie: bytes, ni: bytes, address: IpAddress, spi_i: bytes, now: float
    ) -> bool:
        """Check a returned cookie in constant time."""
        self._rotate(now)
        if len(cookie) != COOKIE_SIZE or cookie[0] not in self._secrets:
            return False
        expected = self._digest(cookie[0], ni, address, spi_i)
        return hmac.compare_digest(cookie, expected)

    def _digest(
        self, version: int, ni: bytes, address: IpAddress, spi_i: bytes
    ) -> bytes:
        octets = ni + address.packed + spi_i
        return bytes([version]) + hmac.digest(self._secrets[version], octets, "sha256")
