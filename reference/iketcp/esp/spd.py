"""Which Child SA carries the packet that wants to go out.

This is the outbound half of the Security Policy Database, restricted to what IKE has
installed: a packet belongs to the first Child SA, in order of preference, whose
selectors take it (our side its source, the peer's side its destination). A packet that
matches none is not for the tunnel.

Order of preference: most recently installed first. A rekey installs a new Child SA
beside the old with the same selectors; the side that answered the rekey goes on
sending on the old one until the peer has used the new one, so there the new one starts
right behind the old and :meth:`OutboundSpd.prefer` moves it to the front.

A responder may hold thousands, so a look-up does not go through all. Child SAs with the
same selectors stand together, and are found by the network that holds the packet's
destination: one look into a table for each prefix length that occurs.

Lookups need no lock. Whatever they read is replaced as a whole, and the table of known
flows last: at worst a lookup fills a table that nobody reads any more.

Source: RFC 4301 §4.4.1
Source: RFC 4301 §5.1
Source: RFC 7296 §2.8
"""

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from iketcp.errors import MalformedPacketError
from iketcp.esp.child_sa import ChildSa
from iketcp.esp.selector_check import SelectorCheck
from iketcp.inner import Flow, flow_key, parse_flow
from iketcp.selectors import TrafficSelector

CACHE_SIZE = 4096
"""Flows whose Child SA is remembered (Choice)."""

_NO_LOCK = nullcontext()

_Selectors = tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]


class _Width(NamedTuple):
    """Which part of an address names a network."""

    size: int
    """Octets of the address."""
    host_bits: int


class _Place(NamedTuple):
    """A network of destinations."""

    width: _Width
    number: int
    """The address without its host bits."""


class _Entry:
    """The Child SAs with one pair of selectors, most preferred first."""

    __slots__ = ("check", "children", "places", "rank")

    def __init__(self, child: ChildSa, rank: int) -> None:
        local_ts, remote_ts = _selectors_of(child)
        self.check = SelectorCheck(local_ts, remote_ts)
        self.children: tuple[ChildSa, ...] = (child,)
        """Never empty: without Child SAs there is no entry."""
        self.places = tuple({_place_of(selector) for selector in remote_ts})
        self.rank = rank
        """Of the entries that take a packet, the one with the lowest has it."""


class OutboundSpd:
    """The Child SAs that may carry packets, in order of preference.

    Parameters
    ----------
    lock : AbstractContextManager
        Held while the order changes. Without one, changes must not overlap; lookups
        may overlap anything.

    Source: RFC 4301 §4.4.1, RFC 4301 §5.1
    """

    def __init__(self, lock: AbstractContextManager[object] = _NO_LOCK) -> None:
        self._lock = lock
        self._entries: dict[_Selectors, _Entry] = {}
        self._places: dict[_Place, tuple[_Entry, ...]] = {}
        self._in_use: Counter[_Width] = Counter()
        self._widths: tuple[_Width, ...] = ()
        self._flows: dict[bytes, ChildSa | None] = {}
        self._lowest = self._highest = 0

    @property
    def children(self) -> tuple[ChildSa, ...]:
        """The Child SAs, most preferred first."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.rank)
        return tuple(child for entry in entries for child in entry.children)

    def add(self, child: ChildSa) -> None:
        """Install a Child SA as the first in order.

        One whose sending is deferred goes behind those with the same selectors, or
        behind all if there is none: it is used when they are gone or the peer has
        used it, and a wider Child SA does not get between.

        Source: RFC 4301 §5.1, RFC 7296 §2.8
        """
        with self._lock:
            entry = self._entries.get(_selectors_of(child))
            if entry is None:
                is_last = child.is_sending_deferred
                rank = self._behind_all() if is_last else self._before_all()
                self._open(_Entry(child, rank))
            elif child.is_sending_deferred:
                entry.children = (*entry.children, child)
            else:
                entry.children = (child, *entry.children)
                entry.rank = self._before_all()
            self._flows = {}

    def remove(self, child: ChildSa) -> None:
        """Take a Child SA out; one that is not there is no error."""
        with self._lock:
            entry = self._entries.get(_selectors_of(child))
            if entry is not None:
                left = tuple(c for c in entry.children if c is not child)
                if left:
                    entry.children = left
                else:
                    self._close(entry)
                self._flows = {}

    def prefer(self, child: ChildSa) -> None:
        """Move a Child SA to the front and end its deferral.

        For the responder of a rekey: the peer has used the new Child SA. One that is
        not there is no error.

        Source: RFC 7296 §2.8
        """
        with self._lock:
            child.is_sending_deferred = False
            entry = self._entries.get(_selectors_of(child))
            if entry is not None and child in entry.children:
                others = (c for c in entry.children if c is not child)
                entry.children = (child, *others)
                entry.rank = self._before_all()
                self._flows = {}

    def lookup(self, packet: bytes) -> ChildSa | None:
        """Find the Child SA for a packet, or ``None`` if no selectors take it.

        What makes no sense as an IP packet belongs to no Child SA.

        Source: RFC 4301 §5.1
        """
        flows = self._flows
        key = flow_key(packet)
        if key in flows:
            return flows[key]
        try:
            flow = parse_flow(packet)
        except MalformedPacketError:
            return None
        child = self._find(flow)
        if key:
            if len(flows) >= CACHE_SIZE:
                flows.clear()
            flows[key] = child
        return child

    def _find(self, flow: Flow) -> ChildSa | None:
        """Find the first Child SA of the first entry that takes a flow."""
        best: _Entry | None = None
        address = int.from_bytes(flow.destination, "big")
        for width in self._widths:
            if width.size != len(flow.destination):
                continue
            place = _Place(width, address >> width.host_bits)
            for entry in self._places.get(place, ()):
                is_better = best is None or entry.rank < best.rank
                if is_better and entry.check.matches(flow):
                    best = entry
        return None if best is None else best.children[0]

    def _before_all(self) -> int:
        self._lowest -= 1
        return self._lowest

    def _behind_all(self) -> int:
        self._highest += 1
        return self._highest

    def _open(self, entry: _Entry) -> None:
        """Let an entry be found."""
        self._entries[_selectors_of(entry.children[0])] = entry
        for place in entry.places:
            self._places[place] = (*self._places.get(place, ()), entry)
            self._in_use[place.width] += 1
        self._widths = tuple(self._in_use)

    def _close(self, entry: _Entry) -> None:
        """Let an entry that would have no Child SA any more be found no more."""
        del self._entries[_selectors_of(entry.children[0])]
        for place in entry.places:
            left = tuple(e for e in self._places[place] if e is not entry)
            if left:
                self._places[place] = left
            else:
                del self._places[place]
            self._in_use[place.width] -= 1
        self._in_use = +self._in_use
        self._widths = tuple(self._in_use)


def _selectors_of(child: ChildSa) -> _Selectors:
    return child.parameters.local_ts, child.parameters.remote_ts


def _place_of(selector: TrafficSelector) -> _Place:
    """Return the smallest network that holds all addresses of a selector."""
    start, end = int(selector.start_address), int(selector.end_address)
    width = _Width(
        selector.start_address.max_prefixlen // 8, (start ^ end).bit_length()
    )
    return _Place(width, start >> width.host_bits)
