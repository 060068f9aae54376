"""Which packets between two hosts go into the tunnel device in transport mode.

Tunnel mode needs a route. In transport mode the packets are for the very address that
the IKE SA's own packets go to, so a route would swallow those, too. Rules by protocol
and ports take what the Traffic Selectors name to a routing table of its own, which has
a route to the peer through the device; and a rule before them leaves the packets of the
connection itself alone.

Source: RFC 4301 §4.4.1, RFC 7296 §2.23.1
"""

from collections.abc import Iterator

from iketcp.child_sa import ChildSaParameters
from iketcp.datagram import IKE_PORT
from iketcp.ike.nat_detection import Path
from iketcp.net.routes import FlowRule
from iketcp.registry import IpProtocol
from iketcp.selectors import ANY_PORTS, TrafficSelector

TABLE = 4500
"""Choice: the routing table; routes of several tunnels to several hosts share it."""

PRIORITY = 4500
"""Choice: of the rules, before those of the main table (32766)."""

MAIN_TABLE = 254

_WITH_PORTS = frozenset({IpProtocol.TCP, IpProtocol.UDP})


def rules(
    parameters: ChildSaParameters,
    path: Path,
    is_tcp_originator: bool,
    ike_port: int = IKE_PORT,
) -> Iterator[FlowRule]:
    """Yield the rules for a Child SA in transport mode.

    Parameters
    ----------
    path : Path
        Of its IKE SA.
    is_tcp_originator : bool
        Tells which of the connection's ports is the one that stays; over UDP, that we
        are the initiator.
    ike_port : int
        Over UDP, the responder's port of IKE alone, where a next session begins.
    """
    peer = path.remote_address
    ports = [path.remote_port if is_tcp_originator else path.local_port]
    if path.is_udp:
        ports.append(ike_port)
    for port in ports:
        yield FlowRule(
            peer,
            PRIORITY - 1,
            MAIN_TABLE,
            IpProtocol.UDP if path.is_udp else IpProtocol.TCP,
            source_ports=None if is_tcp_originator else (port, port),
            destination_ports=(port, port) if is_tcp_originator else None,
        )
    for ours in parameters.local_ts:
        for theirs in parameters.remote_ts:
            protocol = ours.ip_protocol or theirs.ip_protocol
            if ours.ip_protocol and theirs.ip_protocol not in (0, protocol):
                continue
            has_ports = protocol in _WITH_PORTS
            yield FlowRule(
                peer,
                PRIORITY,
                TABLE,
                protocol,
                source_ports=_ports(ours) if has_ports else None,
                destination_ports=_ports(theirs) if has_ports else None,
            )


def _ports(selector: TrafficSelector) -> tuple[int, int] | None:
    return None if selector.ports == ANY_PORTS else selector.ports
