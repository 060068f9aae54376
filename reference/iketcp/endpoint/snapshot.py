"""A picture of an endpoint as plain JSON values, for ``iketcp status``.

Source: RFC 4301 §4.4.2
"""

from __future__ import annotations

from typing import Any

from iketcp.endpoint.endpoint import Endpoint
from iketcp.endpoint.tables import IkeSession, LiveChild, Stream
from iketcp.half_open import HalfOpen
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.mapping import ConnectionMap


def snapshot(endpoint: Endpoint, now: float) -> dict[str, Any]:
    """Describe sessions, Child SAs, connections, limits and counts; no key is in it.

    Callable from any thread without a lock: every table is copied in one step before
    it is walked over. Values read meanwhile may be of different moments.
    """
    tables, counters = endpoint.tables, endpoint.counters
    return {
        "ike_sas": [
            _ike_sa(sa, session, now) for sa, session in list(tables.ike_sas.values())
        ],
        "child_sas": [_child(live) for live in list(tables.children.values())],
        "connections": [
            _connection(stream, endpoint.map, now)
            for stream in list(tables.streams.values())
        ],
        "half_open": {
            "connections": _half_open(
                endpoint.map.half_open, endpoint.map.policy.first_message_seconds
            ),
            "ike_sas": _half_open(
                tables.strangers, endpoint.context.policy.half_open_seconds
            ),
        },
        "dropped": dict(counters.dropped),
        "closed": dict(counters.closed),
    }


def _half_open(counts: HalfOpen, seconds: float) -> dict[str, Any]:
    """Describe what strangers hold open, and may [9329-6.1-idle]."""
    return {
        "now": counts.total,
        "limit": counts.limit,
        "limit_per_address": counts.address_limit,
        "deadline_seconds": seconds,
        "refused": counts.refused,
        "timed_out": counts.timed_out,
    }


def _ike_sa(sa: IkeSa, session: IkeSession, now: float) -> dict[str, Any]:
    soft, hard = sa.watch.soft_at, sa.watch.hard_at
    return {
        "spi_i": sa.spi_i.hex(),
        "spi_r": sa.spi_r.hex(),
        "state": sa.state.value,
        "is_original_initiator": sa.is_original_initiator,
        "is_tcp_originator": session.is_tcp_originator,
        "local_identity": str(sa.policy.local_identity),
        "remote_identity": sa.remote_identity,
        "suite": "" if sa.suite is None else sa.suite.describe(),
        "transport": "tcp" if session.udp_path is None else "udp",
        "connection": session.current,
        "udp_path": None if session.udp_path is None else _ends(session.udp_path),
        "child_sas": [spi.hex() for spi in list(sa.children)],
        "assigned": [str(address) for address in sa.assigned],
        "next_message_id": sa.next_message_id,
        "expected_message_id": sa.answered.expected,
        "rekey_in_seconds": None if soft is None else round(soft - now, 1),
        "expires_in_seconds": None if hard is None else round(hard - now, 1),
    }


def _child(live: LiveChild) -> dict[str, Any]:
    parameters, counters = live.esp.parameters, live.esp.counters
    return {
        "name": live.name,
        "spi_in": parameters.spi_in.hex(),
        "spi_out": parameters.spi_out.hex(),
        "suite": parameters.suite.describe(),
        "local_ts": [str(ts) for ts in parameters.local_ts],
        "remote_ts": [str(ts) for ts in parameters.remote_ts],
        "inner_mtu": live.inner_mtu,
        "is_sending_deferred": live.esp.is_sending_deferred,
        "packets_in": counters.packets_in,
        "octets_in": counters.octets_in,
        "packets_out": counters.packets_out,
        "octets_out": counters.octets_out,
        "dropped_in": {k: v for k, v in counters.dropped_in.items() if v},
        "dropped_out": {k: v for k, v in counters.dropped_out.items() if v},
    }


def _ends(path: Path) -> dict[str, str]:
    return {
        "local": f"{path.local_address} {path.local_port}",
        "remote": f"{path.remote_address} {path.remote_port}",
    }


def _connection(
    stream: Stream, connection_map: ConnectionMap, now: float
) -> dict[str, Any]:
    connection, path = stream.connection, stream.path
    session = connection.session
    deadline = connection_map.deadline_of(connection)
    return {
        "connection": connection.id,
        **_ends(path),
        "is_tcp_originator": connection.is_tcp_originator,
        "has_prefix": stream.decoder.has_prefix,
        "is_half_open": connection.is_half_open,
        "is_current": session is not None and session.current == connection.id,
        "idle_seconds": round(now - connection.last_valid, 1),
        "closes_in_seconds": None if deadline is None else round(deadline.at - now, 1),
    }
