"""Whether a packet lies within a Child SA's Traffic Selectors.

A packet matches when one selector of its sender's side takes its source and one of its
receiver's side takes its destination; IKEv2 lets any of one side pair with any of the
other. Traffic repeats itself, so verdicts are remembered by the octets that decide
them (:func:`~iketcp.inner.flow_key`), in a table that is emptied when full.

Choice: without stateful fragment checking a non-initial fragment has no ports, so it
matches only selectors that take any port (ANY) or ask for none (OPAQUE).

Choice: ICMP and Mobility Header messages have one type, not two ports. The selector
of the sending side must take it; on the receiving side OPAQUE is as good, because
there OPAQUE only says that this side may not *send* such messages.

Source: RFC 4301 §4.4.1.1, RFC 4301 §4.4.1.3
Source: RFC 4301 §5.2
Source: RFC 4301 §7
"""

from collections.abc import Sequence
from typing import NamedTuple

from iketcp.inner import Flow, flow_key, parse_flow
from iketcp.registry import IpProtocol
from iketcp.selectors import ANY_PORTS, OPAQUE_PORTS, TrafficSelector

CACHE_SIZE = 1024
"""Verdicts kept per Child SA and direction (Choice)."""

_MOBILITY_HEADER = 135
_ONE_TYPE = frozenset({IpProtocol.ICMP, IpProtocol.ICMPV6, _MOBILITY_HEADER})


class _Rule(NamedTuple):
    """A Traffic Selector, ready to be compared with packed addresses."""

    start: bytes
    end: bytes
    protocol: int
    ports: tuple[int, int]


class SelectorCheck:
    """The Traffic Selectors of one direction of a Child SA.

    Parameters
    ----------
    source_ts, destination_ts : Sequence[TrafficSelector]
        Selectors for packets' sources and destinations: the peer's and ours for what
        comes in, ours and the peer's for what goes out.

    Source: RFC 4301 §5.2
    """

    __slots__ = ("_destinations", "_sources", "_verdicts")

    def __init__(
        self,
        source_ts: Sequence[TrafficSelector],
        destination_ts: Sequence[TrafficSelector],
    ) -> None:
        self._sources = _rules(source_ts)
        self._destinations = _rules(destination_ts)
        self._verdicts: dict[bytes, bool] = {}

    def admits(self, packet: bytes) -> bool:
        """Tell whether an inner packet is within the selectors.

        Raises
        ------
        MalformedPacketError
            The packet's headers make no sense.

        Source: RFC 4301 §5.2
        """
        key = flow_key(packet)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self.matches(parse_flow(packet))
            if key:
                if len(self._verdicts) >= CACHE_SIZE:
                    self._verdicts.clear()
                self._verdicts[key] = verdict
        return verdict

    def matches(self, flow: Flow) -> bool:
        """Tell whether a flow is within the selectors; nothing is remembered.

        Source: RFC 4301 §4.4.1.1, RFC 4301 §4.4.1.3
        """
        protocol, destination = flow.protocol, flow.destination
        if not _take(self._sources, protocol, flow.source, flow.source_port):
            return False
        if _take(self._destinations, protocol, destination, flow.destination_port):
            return True
        return protocol in _ONE_TYPE and _take(
            self._destinations, protocol, destination, None
        )


def _take(
    rules: tuple[_Rule, ...], protocol: int | None, address: bytes, port: int | None
) -> bool:
    """Tell whether one of the rules selects this end of a packet.

    Addresses of one size in network order compare as octets; another size is another
    IP version.
    """
    for start, end, rule_protocol, span in rules:
        if (
            start <= address <= end
            and len(start) == len(address)
            and rule_protocol in (IpProtocol.ANY, protocol)
            and (
                span in (ANY_PORTS, OPAQUE_PORTS)
                if port is None
                else span[0] <= port <= span[1]
            )
        ):
            return True
    return False


def _rules(selectors: Sequence[TrafficSelector]) -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            selector.start_address.packed,
            selector.end_address.packed,
            selector.ip_protocol,
            selector.ports,
        )
        for selector in selectors
    )
