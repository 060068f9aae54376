"""Cookies: making an initiator prove its address before any state is kept.

The cookie is a keyed digest of what the initiator sent and where it came from; the
responder can check it without having remembered anything. The TCP port is left out, for
the initiator may come back over another connection.

Source: RFC 7296 §2.6
Source: RFC 9329 §6.3
"""

import hmac
from dataclasses import dataclass, field

from iketcp.environment import Entropy
from iketcp.ike.nat_detection import IpAddress

ROTATE_SECONDS = 120.0
"""Choice: how long one secret makes cookies. It checks them for as long again, so a
cookie is good for two minutes at least and four at most."""


@dataclass(frozen=True, slots=True)
class _Secret:
    """What cookies of one version are made with."""

    octets: bytes = field(repr=False)
    made_at: float

    def makes_cookies(self, now: float) -> bool:
        return now < self.made_at + ROTATE_SECONDS

    def checks_cookies(self, now: float) -> bool:
        return now < self.made_at + 2 * ROTATE_SECONDS


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
        self._secrets: dict[int, _Secret] = {}

    def _current_version(self, now: float) -> int:
        """Return the version whose secret makes cookies now; a new one if need be.

        Source: RFC 7296 §2.6
        """
        secret = self._secrets.get(self._version)
        if secret is None or not secret.makes_cookies(now):
            kept = {v: s for v, s in self._secrets.items() if s.checks_cookies(now)}
            self._version = (self._version + 1) % 256
            fresh = _Secret(self._entropy.draw("cookie.secret", 32), now)
            self._secrets = {**kept, self._version: fresh}
        return self._version

    def make(self, ni: bytes, address: IpAddress, spi_i: bytes, now: float) -> bytes:
        """Make a cookie: version | HMAC-SHA-256(secret, Ni | IPi | SPIi), 33 octets.

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
        version = self._current_version(now)
        return _cookie(version, self._secrets[version], ni + address.packed + spi_i)

    def is_valid(
        self, cookie: bytes, ni: bytes, address: IpAddress, spi_i: bytes, now: float
    ) -> bool:
        """Tell whether we made this cookie, for this initiator and not too long ago.

        The arguments are those of :meth:`make`, taken from the repeated request.

        Source: RFC 7296 §2.6
        """
        secret = self._secrets.get(cookie[0]) if cookie else None
        if secret is None or not secret.checks_cookies(now):
            return False
        expected = _cookie(cookie[0], secret, ni + address.packed + spi_i)
        return hmac.compare_digest(cookie, expected)


def _cookie(version: int, secret: _Secret, octets: bytes) -> bytes:
    return bytes([version]) + hmac.digest(secret.octets, octets, "sha256")
