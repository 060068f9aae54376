"""The stream prefix comes first, whatever other threads want to send."""

import socket

from iketcp.effects import Transmit
from iketcp.peers import Initiator
from iketcp.stream import STREAM_PREFIX
from peer_support import PATIENCE_SECONDS, initiator_configuration


def test_inner_packets_do_not_overtake_the_prefix() -> None:
    """An inner packet sealed while a connection is taken over waits for its prefix.

    [9329-4-prefix], [9329-6.1-reprefix]: the endpoint maps the session to the new
    connection before its effects are carried out, and the tunnel thread sends on it.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_SECONDS)
        configuration = initiator_configuration(server.getsockname()[1])
        peer = Initiator(configuration)
        take_over = peer.endpoint.connection_opened

        def and_send_at_once(id, *rest):
            effects = take_over(id, *rest)
            peer.execute([Transmit(id, b"\0\x06early", droppable=True)])
            return effects

        peer.endpoint.connection_opened = and_send_at_once  # type: ignore[method-assign]
        peer.start()
        try:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(PATIENCE_SECONDS)
                assert accepted.recv(6, socket.MSG_WAITALL) == STREAM_PREFIX
        finally:
            peer.hurry()
            peer.stop()
