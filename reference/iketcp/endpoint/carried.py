"""What a data plane outside of the endpoint has to know: Child SAs and where they go.

Whoever carries packets in our place looks at this picture whenever the control plane
has done something, and makes what it has like it.

Source: RFC 4301 §4.4.2, RFC 9329 §6.1
"""

from __future__ import annotations

from dataclasses import dataclass

from iketcp.child_sa import ChildSaParameters
from iketcp.endpoint.tables import LiveChild, Tables
from iketcp.esp.spd import OutboundSpd
from iketcp.ike.nat_detection import Path


@dataclass(frozen=True, slots=True)
class CarriedChild:
    """A Child SA as it should be carried now."""

    parameters: ChildSaParameters
    path: Path | None
    """The connection of its session; ``None`` while that has none."""
    peer: str
    """Who the peer proved to be."""
    is_sending: bool
    """Packets may go out on it."""


def carried_children(tables: Tables, spd: OutboundSpd) -> list[CarriedChild]:
    """List Child SAs, those first that packets go out on before others.

    Callable from any thread without a lock: every table is copied in one step before
    it is walked over.

    Source: RFC 4301 §4.4.2, RFC 7296 §2.8
    """
    lives = dict(tables.children)
    order = [esp.parameters.spi_in for esp in spd.children]
    children = []
    for spi_in in order:
        if (live := lives.pop(spi_in, None)) is not None:
            children.append(_picture(live, tables, is_sending=True))
    children += [_picture(live, tables, is_sending=False) for live in lives.values()]
    # one that is being removed right now has lost its keys already
    return [c for c in children if c.parameters.encryption_key_in]


def _picture(live: LiveChild, tables: Tables, is_sending: bool) -> CarriedChild:
    session = live.session
    current, sa = session.current, session.ike
    stream = None if current is None else tables.streams.get(current)
    return CarriedChild(
        live.esp.parameters,
        None if stream is None else stream.path,
        session.peer or ("" if sa is None else sa.remote_identity),
        is_sending,
    )
