"""What a peer runs for plain UDP: sockets, and the one thread that reads them.

There is nothing to open or to lose here: all sessions share the sockets, which live as
long as the peer. Which of TCP and UDP a peer uses is said by its configuration. One
that tries UDP first and falls back to TCP (RFC 9329 §5.1) would have both, and its
choice would be made where :class:`Initiator <iketcp.peers.initiator.Initiator>` goes to
its peer.

Source: RFC 7296 §2.11
Source: RFC 7296 §2.23
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iketcp.config import Configuration
from iketcp.effects import Effect, SendDatagrams
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.environment import Clock
from iketcp.ike.nat_detection import IpAddress, Path, Transport
from iketcp.net.udp import UdpSockets
from iketcp.peers.threads import describe_surprise


def datagram_policy(configuration: Configuration) -> DatagramPolicy:
    """Take the limits of UDP from a configuration."""
    return DatagramPolicy(
        path_mtu=configuration.transport.path_mtu,
        fragment_size=configuration.udp.fragment_size,
        keepalive_seconds=configuration.udp.keepalive_seconds,
    )


class Datagrams:
    """The sockets of a peer, if it speaks UDP.

    Parameters
    ----------
    configuration : Configuration
        Addresses and ports.

    Raises
    ------
    EnvironmentProblem
        A port is taken, or needs a privilege.

    Source: RFC 7296 §2.11
    """

    def __init__(self, configuration: Configuration) -> None:
        self._options = configuration.udp
        self.sockets = UdpSockets(
            configuration.local.address,
            self._options.ike_port,
            self._options.encapsulation_port,
            dscp=configuration.transport.dscp,
        )
        self.stop = self.sockets.stop

    def send(self, effect: SendDatagrams) -> None:
        """Send datagrams, or lose them; from any thread."""
        self.sockets.send(effect.path, effect.datagrams)

    def paths_to(self, address: IpAddress) -> tuple[Path, Path]:
        """Say which ways lead to both ports of a responder.

        Raises
        ------
        ConnectionBroken
            There is no way from here now; another attempt may succeed.

        Source: RFC 7296 §2.23
        """
        options, path_to = self._options, self.sockets.path_to
        return (
            path_to(address, options.remote_ike_port, Transport.UDP),
            path_to(
                address, options.remote_encapsulation_port, Transport.UDP_ENCAPSULATION
            ),
        )

    def run(
        self,
        endpoint: Endpoint,
        clock: Clock,
        execute: Callable[[Sequence[Effect]], None],
        complain: Callable[[str], None],
    ) -> None:
        """Thread body: feed the endpoint until :attr:`stop` is called.

        A datagram that shows a defect of ours must not end what the others carry.
        """
        try:
            while (batches := self.sockets.receive()) is not None:
                for path, datagrams in batches:
                    now = clock.now()
                    try:
                        execute(endpoint.datagrams_received(path, datagrams, now))
                    except Exception as error:
                        complain(f"a datagram is dropped: {describe_surprise(error)}")
        finally:
            self.sockets.close()

    def status(self) -> dict[str, object]:
        """Describe the sockets as plain JSON values."""
        sockets = self.sockets
        return {
            "sockets": [str(address) for address in sockets.addresses],
            "octets_in": sockets.octets_in,
            "octets_out": sockets.octets_out,
            "lost_datagrams": sockets.lost,
        }
