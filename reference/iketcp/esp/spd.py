"""Which Child SA carries the packet that wants to go out.

This is the outbound half of the Security Policy Database, restricted to what IKE has
installed: a packet belongs to the first Child SA, in order of preference, whose
selectors take it (our side its source, the peer's side its destination). A packet that
matches none is not for the tunnel.

Order of preference: most recently installed first. A rekey installs a new Child SA
beside the old with the same selectors; the side that answered the rekey goes on
sending on the old one until the peer has used the new one, so there the new one starts
right behind the old and :meth:`OutboundSpd.prefer` moves it to the front.

The order and the table of known flows are replaced together in one assignment, so a
lookup needs no lock: at worst it fills a table that nobody reads any more.

Source: RFC 4301 §5.1
Source: RFC 7296 §2.8
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from iketcp.errors import MalformedPacketError
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.selector_check import SelectorCheck
from iketcp.inner import flow_key, parse_flow

CACHE_SIZE = 4096
"""Flows whose Child SA is remembered (Choice)."""

_NO_LOCK = nullcontext()


class _Entry(NamedTuple):
    child: ChildSa
    selectors: SelectorCheck


class _View:
    """One order of preference, and the flows looked up under it."""

    __slots__ = ("entries", "flows")

    def __init__(self, entries: tuple[_Entry, ...]) -> None:
        self.entries = entries
        self.flows: dict[bytes, ChildSa | None] = {}


class OutboundSpd:
    """The Child SAs that may carry packets, in order of preference.

    Parameters
    ----------
    lock : AbstractContextManager
        Held while the order changes. Without one, changes must not overlap; lookups
        may overlap anything.

    Source: RFC 4301 §5.1
    """

    def __init__(self, lock: AbstractContextManager[object] = _NO_LOCK) -> None:
        self._lock = lock
        self._view = _View(())

    @property
    def children(self) -> tuple[ChildSa, ...]:
        """The Child SAs, most preferred first."""
        return tuple(entry.child for entry in self._view.entries)

    def add(self, child: ChildSa) -> None:
        """Install a Child SA as the first in order.

        One whose sending is deferred goes behind those with the same selectors, or
        behind all if there is none: it is used when they are gone or the peer has
        used it, and a wider Child SA does not get between.

        Source: RFC 4301 §5.1, RFC 7296 §2.8
        """
        parameters = child.parameters
        check = SelectorCheck(parameters.local_ts, parameters.remote_ts)
        with self._lock:
            entries = self._view.entries
            at = _place_behind(child, entries) if child.is_sending_deferred else 0
            self._view = _View((*entries[:at], _Entry(child, check), *entries[at:]))

    def remove(self, child: ChildSa) -> None:
        """Take a Child SA out; one that is not there is no error."""
        with self._lock:
            entries = self._view.entries
            self._view = _View(tuple(e for e in entries if e.child is not child))

    def prefer(self, child: ChildSa) -> None:
        """Move a Child SA to the front and end its deferral.

        For the responder of a rekey: the peer has used the new Child SA. One that is
        not there is no error.

        Source: RFC 7296 §2.8
        """
        with self._lock:
            child.is_sending_deferred = False
            entries = self._view.entries
            self._view = _View(
                tuple(sorted(entries, key=lambda entry: entry.child is not child))
            )

    def lookup(self, packet: bytes) -> ChildSa | None:
        """Find the Child SA for a packet, or ``None`` if no selectors take it.

        What makes no sense as an IP packet belongs to no Child SA.

        Source: RFC 4301 §5.1
        """
        view = self._view
        key = flow_key(packet)
        if key in view.flows:
            return view.flows[key]
        try:
            flow = parse_flow(packet)
        except MalformedPacketError:
            return None
        child = next((e.child for e in view.entries if e.selectors.matches(flow)), None)
        if key:
            if len(view.flows) >= CACHE_SIZE:
                view.flows.clear()
            view.flows[key] = child
        return child


def _place_behind(child: ChildSa, entries: tuple[_Entry, ...]) -> int:
    """Find the place right behind the last Child SA with the same selectors."""
    wanted = (child.parameters.local_ts, child.parameters.remote_ts)
    present = [
        (e.child.parameters.local_ts, e.child.parameters.remote_ts) for e in entries
    ]
    return max(
        (at + 1 for at, ts in enumerate(present) if ts == wanted), default=len(entries)
    )
