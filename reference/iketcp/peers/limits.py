"""From the limits that a configuration sets to those of the mapping.

Source: RFC 9329 §6.1
"""

from iketcp.config import TransportConfig
from iketcp.mapping import MappingPolicy


def mapping_policy(transport: TransportConfig) -> MappingPolicy:
    """Take the limits of the mapping from a configuration."""
    return MappingPolicy(
        first_message_seconds=transport.prefix_deadline_seconds,
        extraneous_seconds=transport.extraneous_idle_seconds,
        linger_seconds=transport.linger_seconds,
        cookie_seconds=transport.cookie_wait_seconds,
        unknown_spi_limit=transport.unknown_spi_limit,
        corrupt_limit=transport.corrupt_limit,
        half_open_limit=transport.half_open_limit,
        half_open_address_limit=transport.half_open_limit_per_address,
        reconnect_seconds=transport.reconnect_first_seconds,
        reconnect_limit_seconds=transport.reconnect_max_seconds,
        resync_limit=transport.resync,
    )
