"""What all IKE SAs of one endpoint share: policy, entropy, SPIs, cookies, addresses.

Source: RFC 7296 §2.6
Source: RFC 4303 §2.1
"""

from collections.abc import Callable
from datetime import datetime

from iketcp.environment import Entropy, no_date
from iketcp.ike.address_pool import AddressPool
from iketcp.ike.cookies import CookieJar
from iketcp.ike.policy import IkePolicy

IKE_SPI_SIZE = 8
"""Octets. Source: RFC 7296 §3.1."""

ESP_SPI_SIZE = 4
"""Octets. Source: RFC 4303 §2.1."""

FIRST_ESP_SPI = 256
"""0 is for local use and 1 to 255 are reserved [9329-3.2-spi]. RFC 4303 §2.1."""

NONCE_SIZE = 32
"""Choice: octets of our nonces; 16 to 256, and half the prf's key. RFC 7296 §2.10."""


class IkeContext:
    """Shared by the IKE SAs of one endpoint.

    Parameters
    ----------
    policy : IkePolicy
        What may be agreed.
    entropy : Entropy
        Labelled draws.
    is_ike_spi_used, is_esp_spi_used : Callable[[bytes], bool]
        Whether one of our SAs already has this SPI.
    date : Callable[[], datetime]
        The time of day, with its zone, for certificates and nothing else.
    """

    def __init__(
        self,
        policy: IkePolicy,
        entropy: Entropy,
        is_ike_spi_used: Callable[[bytes], bool] = lambda spi: False,
        is_esp_spi_used: Callable[[bytes], bool] = lambda spi: False,
        date: Callable[[], datetime] = no_date,
    ) -> None:
        self.policy = policy
        self.entropy = entropy
        self.date = date
        self.cookies = CookieJar(entropy)
        self.stirred: dict[bytes, None] = {}
        """Our SPIs of IKE SAs that something has happened to since what time asks of
        them was looked at last; whoever looks takes them out."""
        pools = [each.pool for each in (policy, *policy.connections)]
        self._pools = {
            pool.networks: AddressPool(pool.networks, pool.dns_servers)
            for pool in pools
            if pool is not None
        }
        self._is_ike_spi_used = is_ike_spi_used
        self._is_esp_spi_used = is_esp_spi_used

    def pool_of(self, policy: IkePolicy) -> AddressPool | None:
        """Return where addresses for peers of a policy come from, if it has any.

        Policies with the same networks share them. Source: RFC 7296 §2.19
        """
        return None if policy.pool is None else self._pools[policy.pool.networks]

    @property
    def pool(self) -> AddressPool | None:
        """Addresses for peers of the policy that is for all of them."""
        return self.pool_of(self.policy)

    def new_ike_spi(self) -> bytes:
        """Allocate an IKE SPI: 8 octets, not zero, not in use.

        Source: RFC 7296 §2.6, RFC 7296 §3.1
        """
        while True:
            spi = self.entropy.draw("ike.spi", IKE_SPI_SIZE)
            if any(spi) and not self._is_ike_spi_used(spi):
                return spi

    def new_esp_spi(self) -> bytes:
        """Allocate an ESP SPI: 4 octets, at least 256, not in use [9329-3.2-spi].

        Source: RFC 4303 §2.1
        """
        while True:
            spi = self.entropy.draw("esp.spi", ESP_SPI_SIZE)
            is_reserved = int.from_bytes(spi, "big") < FIRST_ESP_SPI
            if not is_reserved and not self._is_esp_spi_used(spi):
                return spi

    def new_nonce(self) -> bytes:
        """Draw a nonce. Source: RFC 7296 §2.10."""
        return self.entropy.draw("ike.nonce", NONCE_SIZE)
