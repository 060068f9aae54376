"""A relay between IKE over TCP and IKE over UDP, for peers that speak UDP only.

A message of the stream, less its Length, is what UDP port 4500 carries: an IKE message
after four zero octets, or an ESP packet (RFC 9329 §3, RFC 3948 §2). So a relay changes
nothing; it only takes messages out of the one and puts them into the other. It shares
no code with the implementation it helps to test.
"""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable

PREFIX = b"IKETCP"
LARGEST = 65535

Address = tuple[str, int]


def _read(stream: socket.socket, size: int) -> bytes | None:
    """Read exactly so many octets; None if the stream ends before."""
    octets = b""
    while len(octets) < size:
        part = stream.recv(size - len(octets))
        if not part:
            return None
        octets += part
    return octets


def _read_message(stream: socket.socket) -> bytes | None:
    length = _read(stream, 2)
    return None if length is None else _read(stream, struct.unpack("!H", length)[0] - 2)


def _write_message(stream: socket.socket, octets: bytes) -> None:
    stream.sendall(struct.pack("!H", len(octets) + 2) + octets)


class Relay:
    """What both directions have in common; a context manager.

    It lives in the network namespace of whoever enters it.
    """

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._streams: list[socket.socket] = []
        self._stop, self._stopped = socket.socketpair()
        self._lock = threading.Lock()
        self.is_silent = False
        """Everything that comes is lost."""

    def __enter__(self) -> "Relay":
        self._spawn(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._threads[0].join()  # no stream begins any more
        self.cut()
        for thread in self._threads:
            thread.join()
        self._stopped.close()

    def cut(self) -> int:
        """End every TCP connection; returns how many there were."""
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        return len(streams)

    def _spawn(self, body: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=body, args=arguments, name="relay")
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        raise NotImplementedError

    def _is_ready(self, *waited_for: socket.socket) -> bool:
        """Wait until one of them can be read; False when it is time to end."""
        ready, _, _ = select.select([self._stopped, *waited_for], [], [])
        return self._stopped not in ready

    def _keep(self, stream: socket.socket) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._streams.append(stream)

    def _carry(self, stream: socket.socket, send: Callable[[bytes], object]) -> None:
        """Thread body: messages of a stream become datagrams until it ends."""
        with stream, contextlib.suppress(OSError):
            while (octets := _read_message(stream)) is not None:
                if not self.is_silent:
                    send(octets)


class StreamToUdp(Relay):
    """Listens for TCP Originators; each becomes a peer of a UDP responder.

    Parameters
    ----------
    listen : tuple[str, int]
        Address and TCP port to listen on.
    target : tuple[str, int]
        Address and UDP port of the responder.
    """

    def __init__(self, listen: Address, target: Address) -> None:
        super().__init__()
        self._target = target
        self._family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._listener = socket.create_server(listen, family=self._family)
        self._ports: dict[str, int] = {}

    def _run(self) -> None:
        with self._listener:
            while self._is_ready(self._listener):
                stream, _ = self._listener.accept()
                self._keep(stream)
                self._spawn(self._serve, stream)

    def _serve(self, stream: socket.socket) -> None:
        client = stream.getpeername()[0]
        with stream, socket.socket(self._family, socket.SOCK_DGRAM) as datagrams:
            # The responder sees the same port when this client connects again.
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            datagrams.bind(("", self._ports.get(client, 0)))
            self._ports[client] = datagrams.getsockname()[1]
            datagrams.connect(self._target)
            if _read(stream, len(PREFIX)) == PREFIX:
                self._spawn(self._answer, stream.dup(), datagrams.dup())
                self._carry(stream, datagrams.send)
                datagrams.shutdown(socket.SHUT_RDWR)  # ends the other thread

    def _answer(self, stream: socket.socket, datagrams: socket.socket) -> None:
        """Thread body: datagrams become messages of the stream."""
        with stream, datagrams, contextlib.suppress(OSError):
            while self._is_ready(datagrams):
                octets = datagrams.recv(LARGEST)
                if not octets:
                    return
                if not self.is_silent:
                    _write_message(stream, octets)


class UdpToStream(Relay):
    """Takes datagrams of UDP initiators; for each it becomes a TCP Originator.

    Parameters
    ----------
    listen : tuple[str, int]
        Address and UDP port to listen on.
    target : tuple[str, int]
        Address and TCP port of the responder.
    """

    def __init__(self, listen: Address, target: Address) -> None:
        super().__init__()
        self._target = target
        family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self._datagrams.bind(listen)
        self._known: dict[Address, socket.socket] = {}

    def _run(self) -> None:
        with self._datagrams:
            while self._is_ready(self._datagrams):
                octets, source = self._datagrams.recvfrom(LARGEST)
                # a datagram that finds no stream is lost, as datagrams are
                with contextlib.suppress(OSError):
                    if not self.is_silent:
                        _write_message(self._stream_of(source), octets)

    def _stream_of(self, source: Address) -> socket.socket:
        """Return the stream of a UDP initiator; one that has ended is made again."""
        stream = self._known.get(source)
        if stream is None or stream.fileno() < 0:
            stream = socket.create_connection(self._target)
            self._keep(stream)
            stream.sendall(PREFIX)
            self._known[source] = stream
            self._spawn(
                self._carry, stream, lambda o: self._datagrams.sendto(o, source)
            )
        return stream
