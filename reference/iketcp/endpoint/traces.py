"""What a log, a narrator or a test is told: events as plain JSON values.

Never a key, a nonce or a secret; keys appear by their names. What takes longer to put
into words than to do waits until somebody reads it.

Source: RFC 7296 §2.14 (the names of the keys)
"""

from __future__ import annotations

from iketcp.child_sa import ChildSaParameters
from iketcp.effects import (
    ConnectionId,
    Effect,
    FieldsWhenRead,
    IkeKeysDerived,
    Trace,
)
from iketcp.endpoint.tables import Carrier
from iketcp.esp.child_sa import ChildSa
from iketcp.ike import outputs
from iketcp.ike.header import Header
from iketcp.ike.message import describe
from iketcp.ike.nat_detection import Path
from iketcp.ike.sa import IkeSa
from iketcp.registry import ExchangeType, name_of


def connection_opened(id: ConnectionId, path: Path, is_tcp_originator: bool) -> Trace:
    """A TCP connection is there."""
    return Trace(
        "connection-opened",
        {
            "connection": id,
            "local": f"{path.local_address} {path.local_port}",
            "remote": f"{path.remote_address} {path.remote_port}",
            "is_tcp_originator": is_tcp_originator,
        },
    )


def connection_closed(id: ConnectionId, reason: str) -> Trace:
    """A TCP connection is gone."""
    return Trace("connection-closed", {"connection": id, "reason": reason})


def stream_prefix(id: ConnectionId, direction: str) -> Trace:
    """The stream prefix went out, or came in whole."""
    return Trace("stream-prefix", {"connection": id, "direction": direction})


def mapping_moved(
    sa: IkeSa | None, before: Carrier | None, to: Carrier | None
) -> Trace:
    """A session moved to another connection; ``from`` is null if it had none.

    Over UDP both are addresses and ports: those of the peer.
    """
    spis = {} if sa is None else {"spi_i": sa.spi_i.hex(), "spi_r": sa.spi_r.hex()}
    return Trace(
        "mapping-moved",
        FieldsWhenRead(lambda: {"from": _name(before), "to": _name(to), **spis}),
    )


def _name(carrier: Carrier | None) -> int | str | None:
    """Name a connection by its number, and datagrams by where they go."""
    if isinstance(carrier, Path):
        return f"udp {carrier.remote_address} {carrier.remote_port}"
    return carrier


def _header_fields(header: Header) -> dict[str, object]:
    return {
        "exchange": name_of(ExchangeType, header.exchange_type),
        "message_id": header.message_id,
        "is_response": header.is_response,
        "spi_i": header.spi_i.hex(),
        "spi_r": header.spi_r.hex(),
    }


def message_sent(message: outputs.SendMessage, target: Carrier) -> Trace:
    """An IKE message of ours."""
    return Trace(
        "ike-message",
        FieldsWhenRead(
            lambda: {
                "direction": "sent",
                **_header_fields(message.header),
                "connection": _name(target),
                "octets": sum(map(len, message.messages)),
                "messages": len(message.messages),
                "payloads": [describe(p) for p in message.payloads],
                "is_retransmission": message.is_repetition or message.is_request_again,
            }
        ),
    )


def message_received(
    message: outputs.MessageAccepted, came_on: Carrier | None
) -> Trace:
    """An authentic, fresh IKE message of the peer's (or one of IKE_SA_INIT)."""
    return Trace(
        "ike-message",
        FieldsWhenRead(
            lambda: {
                "direction": "received",
                **_header_fields(message.header),
                "connection": _name(came_on),
                "octets": message.octets,
                "payloads": [describe(p) for p in message.payloads],
                "is_retransmission": False,
            }
        ),
    )


def ike_keys(sa: IkeSa) -> list[Effect]:
    """The keys of an IKE SA are there: names for the trace, values for a key log."""
    if sa.suite is None or sa.keys is None:
        return []
    names = ["SK_d", "SK_ai", "SK_ar", "SK_ei", "SK_er", "SK_pi", "SK_pr"]
    if not sa.keys.sk_ai:
        names = [name for name in names if not name.startswith("SK_a")]
    derived = IkeKeysDerived(sa.spi_i, sa.spi_r, sa.suite, sa.keys)
    spi_i, spi_r, suite = derived.spi_i, derived.spi_r, derived.suite
    fields = FieldsWhenRead(
        lambda: {
            "spi_i": spi_i.hex(),
            "spi_r": spi_r.hex(),
            "suite": suite.describe(),
            "keys": names,
        }
    )
    return [derived, Trace("ike-keys", fields)]


def ike_sa_established(sa: IkeSa) -> Trace:
    """The first IKE SA of a session is authenticated."""
    fields: dict[str, object] = {
        "spi_i": sa.spi_i.hex(),
        "spi_r": sa.spi_r.hex(),
        "remote_identity": sa.remote_identity,
        "is_original_initiator": sa.is_original_initiator,
    }
    if sa.policy.name:
        fields["peer"] = sa.policy.name
    return Trace("ike-sa-established", fields)


def ike_sa_rekeyed(old: IkeSa, new: IkeSa) -> Trace:
    """A new IKE SA took the old one's Child SAs."""
    return Trace(
        "ike-sa-rekeyed",
        {
            "old_spi_i": old.spi_i.hex(),
            "old_spi_r": old.spi_r.hex(),
            "spi_i": new.spi_i.hex(),
            "spi_r": new.spi_r.hex(),
        },
    )


def reauthentication(sa: IkeSa, state: str) -> Trace:
    """A session is to be replaced by a new one, or is; or that failed for now."""
    fields = {"spi_i": sa.spi_i.hex(), "spi_r": sa.spi_r.hex(), "state": state}
    return Trace("reauthentication", fields)


def ike_sa_closed(sa: IkeSa, reason: str) -> Trace:
    """An IKE SA is gone."""
    return Trace(
        "ike-sa-closed",
        {"spi_i": sa.spi_i.hex(), "spi_r": sa.spi_r.hex(), "reason": reason},
    )


def child_installed(
    parameters: ChildSaParameters, replaces: bytes | None, inner_mtu: int
) -> list[Effect]:
    """A Child SA came up: its keys by name, then the Child SA."""
    name, spi_in, spi_out = parameters.name, parameters.spi_in, parameters.spi_out
    suite, has_integrity_keys = parameters.suite, bool(parameters.integrity_key_in)
    local_ts, remote_ts = parameters.local_ts, parameters.remote_ts
    is_transport = parameters.transport is not None

    def common() -> dict[str, object]:
        return {
            "child": name,
            "spi_in": spi_in.hex(),
            "spi_out": spi_out.hex(),
            "suite": suite.describe(),
        }

    def keys() -> dict[str, object]:
        integrity = ["SK_ei", "SK_ai", "SK_er", "SK_ar"]
        names = integrity if has_integrity_keys else ["SK_ei", "SK_er"]
        return {**common(), "keys": names}

    def fields() -> dict[str, object]:
        told = {
            **common(),
            "local_ts": [str(ts) for ts in local_ts],
            "remote_ts": [str(ts) for ts in remote_ts],
            "inner_mtu": inner_mtu,
        }
        if is_transport:
            told["mode"] = "transport"
        if replaces is not None:
            told["old_spi_in"] = replaces.hex()
        return told

    kind = "child-sa-installed" if replaces is None else "child-sa-rekeyed"
    return [
        Trace("child-keys", FieldsWhenRead(keys)),
        Trace(kind, FieldsWhenRead(fields)),
    ]


def child_removed(esp: ChildSa) -> Trace:
    """A Child SA is gone."""
    parameters = esp.parameters
    return Trace(
        "child-sa-removed",
        {
            "child": parameters.name,
            "spi_in": parameters.spi_in.hex(),
            "spi_out": parameters.spi_out.hex(),
        },
    )


def note(sa: IkeSa, output: outputs.Note) -> Trace:
    """Something an IKE SA noticed."""
    return Trace(
        output.kind,
        {"spi_i": sa.spi_i.hex(), "spi_r": sa.spi_r.hex(), **output.fields},
    )
