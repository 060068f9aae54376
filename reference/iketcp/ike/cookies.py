"""Cookies: making an initiator prove its address before any state is kept.

The cookie is a keyed digest of what the initiator sent and where it came from; the
responder can check it without having remembered anything. The TCP port is left out, for
the initiator may come back over another connection.

What the responder asked for along with a cookie, a puzzle, can be written into it: the
digest covers that too. A cookie whose puzzle was solved is good for one IKE SA, so that
the work is not done once for many.

Source: RFC 7296 §2.6
Source: RFC 8019 §7.1.1.3
Source: RFC 8019 §10
Source: RFC 9329 §6.3
"""

import hmac
from dataclasses import dataclass, field

from iketcp.environment import Entropy
from iketcp.ike.nat_detection import IpAddress

ROTATE_SECONDS = 120.0
"""Choice: how long one secret makes cookies. It checks them for as long again, so a
cookie is good for two minutes at least and four at most."""

DIGEST_SIZE = 32
"""Octets of the digest at the end of a cookie."""

SPENT_LIMIT = 4096
"""Choice: after so many spent cookies their secret is given up, and all are forgotten.
Who still has one of its cookies is asked again."""


@dataclass(frozen=True, slots=True)
class _Secret:
    """What cookies of one version are made with."""

    octets: bytes = field(repr=False)
    made_at: float
    spent: set[bytes] = field(default_factory=set, repr=False)

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

    def make(
        self,
        ni: bytes,
        address: IpAddress,
        spi_i: bytes,
        now: float,
        info: bytes = b"",
    ) -> bytes:
        """Make a cookie: version | info | HMAC-SHA-256(key, Ni | IPi | SPIi).

        The key is the secret, or with ``info`` the secret's HMAC-SHA-256 of it. The
        size is 33 octets and those of ``info``.

        The initiator's TCP port is not part of it [9329-6.3-port].

        Parameters
        ----------
        ni : bytes
            The initiator's nonce, 16 to 256 octets.
        address : IPv4Address or IPv6Address
            The initiator's address.
        spi_i : bytes
            The initiator's SPI, 8 octets.
        info : bytes
            What to read from the cookie when it comes back, at most 31 octets.

        Source: RFC 7296 §2.6, RFC 8019 §7.1.1.3, RFC 9329 §6.3
        """
        version = self._current_version(now)
        secret = self._secrets[version]
        return _cookie(version, secret, info, ni + address.packed + spi_i)

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
        octets = ni + address.packed + spi_i
        expected = _cookie(cookie[0], secret, info_of(cookie), octets)
        return hmac.compare_digest(cookie, expected)

    def spend(self, cookie: bytes) -> None:
        """Note that a valid cookie bought an IKE SA. Source: RFC 8019 §10."""
        secret = self._secrets[cookie[0]]
        secret.spent.add(cookie)
        if len(secret.spent) >= SPENT_LIMIT:
            del self._secrets[cookie[0]]

    def is_spent(self, cookie: bytes) -> bool:
        """Tell whether a valid cookie has bought an IKE SA. Source: RFC 8019 §10."""
        return cookie in self._secrets[cookie[0]].spent


def info_of(cookie: bytes) -> bytes:
    """Return what a valid cookie says, see :meth:`CookieJar.make`."""
    return cookie[1:-DIGEST_SIZE]


def _cookie(version: int, secret: _Secret, info: bytes, octets: bytes) -> bytes:
    key = hmac.digest(secret.octets, info, "sha256") if info else secret.octets
    return bytes([version]) + info + hmac.digest(key, octets, "sha256")
