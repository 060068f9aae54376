"""What a peer needs of a connection, whatever is wrapped around its octets.

Source: RFC 9329 §6.1, RFC 9329 App. A
"""

from typing import Protocol

from iketcp.net.tcp_connection import SocketAddress


class Connection(Protocol):
    """A TCP connection, with TLS inside it or without. RFC 9329 App. A.

    One thread owns it and reads; any thread sends, stops and closes.
    """

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port."""
        ...

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address and port."""
        ...

    @property
    def octets_in(self) -> int:
        """Octets that came over TCP so far."""
        ...

    @property
    def octets_out(self) -> int:
        """Octets that the stack has taken so far."""
        ...

    @property
    def queue_depth(self) -> int:
        """Octets that wait for the stack to take them."""
        ...

    @property
    def dropped_batches(self) -> int:
        """Droppable sends that were refused."""
        ...

    @property
    def path_mtu(self) -> int:
        """The path MTU that the stack knows, in octets."""
        ...

    @property
    def protection(self) -> str:
        """TLS version and cipher suite; empty without TLS."""
        ...

    def give_up_after(self, seconds: float) -> None:
        """Break off when the peer's stack takes nothing for so long."""
        ...

    def handshake(self, timeout_seconds: float | None = None) -> bool:
        """Do what has to come before octets; owner thread only; at once without TLS.

        Returns
        -------
        bool
            False when told to stop.

        Raises
        ------
        ConnectionBroken
            It failed, or took too long.
        """
        ...

    def send(self, octets: bytes, droppable: bool) -> bool:
        """Send whole frames, or queue them; never blocks; False if refused."""
        ...

    def wait_writable(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits for the stack; False if that is not so by then."""
        ...

    def wait_and_receive(
        self, size: int = ..., deadline: float | None = None
    ) -> bytes | None:
        """Wait for octets; ``b""`` at the peer's end, ``None`` when told to stop.

        Raises
        ------
        ConnectionBroken
            The connection is lost, or nothing came in time.
        """
        ...

    def stop(self) -> None:
        """Make the owner leave :meth:`wait_and_receive`."""
        ...

    def close(self, graceful: bool = True) -> None:
        """Hand over what is queued, say good-bye, and give the socket back."""
        ...

    def abort(self) -> None:
        """Break the connection off with RST."""
        ...
