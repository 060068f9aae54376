"""TCP connections over real loopback sockets: sending, reading, ending, making them."""

import errno
import os
import resource
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from pyroute2 import IPRoute

from conftest import LeakCheck
from connection_support import PATIENCE_SECONDS, Reader
from iketcp.errors import ConfigurationError, EnvironmentProblem, Scope
from iketcp.net.socket_options import (
    UNSENT_OCTETS,
    apply_socket_options,
    set_user_timeout,
)
from iketcp.net.tcp import (
    ConnectionBroken,
    Listener,
    SocketAddress,
    TcpConnection,
    connect,
    resolve_host,
)
from iketcp.net.wake import Wake
from namespaces import in_namespace

HOSTS = ("127.0.0.1", "::1")


@contextmanager
def pair(
    host: str = "127.0.0.1", queue_limit: int = 1 << 20, hard_limit: int | None = None
) -> Iterator[tuple[TcpConnection, socket.socket]]:
    """A connection under test and the plain socket of its peer, small buffers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        far = socket.socket(family)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        far.connect(server.getsockname())
        near, _ = server.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    far.settimeout(PATIENCE_SECONDS)
    connection = TcpConnection(near, queue_limit, hard_limit)
    try:
        yield connection, far
    finally:
        connection.abort()
        far.close()


def receive_all(sock: socket.socket) -> bytes:
    octets = b""
    while part := sock.recv(1 << 16):
        octets += part
    return octets


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        part = sock.recv(size - len(octets))
        assert part, "the stream ended early"
        octets += part
    return octets


def fill(connection: TcpConnection, piece: bytes = bytes(10000)) -> int:
    """Send droppable pieces until one is refused; how many were taken."""
    taken = 0
    while connection.send(piece, droppable=True):
        taken += 1
    return taken


# --- octets both ways ---------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_octets_go_both_ways(host: str, leak_check: LeakCheck) -> None:
    """What is sent arrives, counters count, addresses are those of the sockets."""
    with leak_check(), pair(host) as (connection, far):
        assert connection.send(b"request", droppable=False)
        assert receive_exactly(far, 7) == b"request"
        far.sendall(b"response!")
        assert connection.wait_and_receive() == b"response!"
        assert (connection.octets_out, connection.octets_in) == (7, 9)
        local, remote = connection.local_address, connection.remote_address
        assert (str(local.address), local.port) == far.getpeername()[:2]
        assert (str(remote.address), remote.port) == far.getsockname()[:2]
        far.shutdown(socket.SHUT_WR)
        assert connection.wait_and_receive() == b""
        assert connection.send(b"half-closed", droppable=False)
        assert receive_exactly(far, 11) == b"half-closed"


def test_mapped_addresses_are_ipv4() -> None:
    """An IPv4 peer of an IPv6 socket has its IPv4 address."""
    with socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
    ) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as far:
            near, _ = server.accept()
            connection = TcpConnection(near)
            assert connection.local_address == (ip_address("127.0.0.1"), port)
            assert connection.remote_address == (ip_address("127.0.0.1"), port_of(far))
            connection.close()


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def test_addresses_print_as_urls_do() -> None:
    """Brackets keep an IPv6 address and its port apart."""
    assert str(SocketAddress(ip_address("192.0.2.1"), 4500)) == "192.0.2.1:4500"
    assert str(SocketAddress(ip_address("2001:db8::1"), 4500)) == "[2001:db8::1]:4500"
    with pair() as (connection, _):
        assert str(connection.remote_address) in repr(connection)


@pytest.mark.parametrize("size", [1, 100, 262144])
def test_size_bounds_a_read(size: int) -> None:
    """No read returns more than asked for, and nothing is lost between reads."""
    sent = bytes(range(256)) * 4
    with pair() as (connection, far):
        far.sendall(sent)
        far.close()
        received = b""
        while octets := connection.wait_and_receive(size):
            assert len(octets) <= size
            received += octets
        assert received == sent


def test_owner_works_off_the_queue() -> None:
    """A queue that built up goes out, in order, while the owner waits to read."""
    frames = [struct.pack("!I", number) * 5000 for number in range(100)]
    with pair(queue_limit=1 << 22) as (connection, far):
        for frame in frames:
            assert connection.send(frame, droppable=False)
        assert connection.queue_depth > 0
        owner = Reader(connection)
        assert receive_exactly(far, 100 * 20000) == b"".join(frames)
        far.shutdown(socket.SHUT_WR)
        assert owner.join() == b""
        assert connection.queue_depth == 0
        assert connection.octets_out == 100 * 20000


def test_a_send_wakes_the_waiting_owner() -> None:
    """The owner, asleep in its wait, starts to work off a queue that fills later."""
    with pair(queue_limit=1 << 22) as (connection, far):
        owner = Reader(connection)
        for round_number in range(3):
            total = 0
            while not connection.queue_depth:
                assert connection.send(bytes(50000), droppable=False)
                total += 50000
            assert connection.send(b"end", droppable=False)
            assert receive_exactly(far, total + 3)[-3:] == b"end"
            far.sendall(bytes([round_number]))
        far.shutdown(socket.SHUT_WR)
        owner.join()
        assert owner.received == bytes(range(3))


def test_frames_of_four_threads_never_interleave() -> None:
    """Each frame arrives whole and each thread's in order, through a full queue."""
    count, threads = 200, 4
    with pair(queue_limit=1 << 16, hard_limit=1 << 24) as (connection, far):
        owner = Reader(connection)

        def send(name: int) -> None:
            for number in range(count):
                size = 1 + (number * 7919 + name * 104729) % 3000
                body = bytes([name]) * size
                frame = struct.pack("!HBI", size, name, number) + body
                assert connection.send(frame, droppable=False)
                assert connection.wait_writable(PATIENCE_SECONDS)

        senders = [threading.Thread(target=send, args=(n,)) for n in range(threads)]
        for thread in senders:
            thread.start()
        following = [0] * threads
        for _ in range(count * threads):
            size, name, number = struct.unpack("!HBI", receive_exactly(far, 7))
            assert number == following[name]
            following[name] += 1
            assert receive_exactly(far, size) == bytes([name]) * size
        for thread in senders:
            thread.join()
        assert following == [count] * threads
        far.close()
        owner.join()


# --- the bounded queue --------------------------------------------------------------


def test_a_peer_that_never_reads_costs_bounded_memory() -> None:
    """Past the limit ESP is refused and counted, IKE is taken up to the hard limit."""
    limit, hard, piece = 100_000, 200_000, 10_000
    with pair(queue_limit=limit, hard_limit=hard) as (connection, _):
        fill(connection)
        depth = connection.queue_depth
        assert limit < depth <= limit + piece
        for _ in range(50):
            assert not connection.send(bytes(piece), droppable=True)
        assert connection.queue_depth == depth
        assert (connection.dropped_batches, connection.dropped_octets) == (51, 510_000)
        assert connection.send(bytes(1000), droppable=False)
        assert connection.queue_depth == depth + 1000


def test_beyond_the_hard_limit_the_connection_is_broken_off() -> None:
    """The peer sees RST, the owner an error, and further sends are refused."""
    with pair(queue_limit=50_000, hard_limit=200_000) as (connection, far):
        owner = Reader(connection)
        while connection.send(bytes(10_000), droppable=False):
            assert connection.queue_depth <= 200_000
        assert connection.queue_depth == 0
        assert connection.is_closing
        assert not connection.send(b"more", droppable=False)
        assert not connection.wait_writable(PATIENCE_SECONDS)
        assert "does not read" in str(owner.join())
        with pytest.raises(ConnectionBroken, match="does not read"):
            connection.wait_and_receive()
        with pytest.raises(ConnectionResetError):
            receive_all(far)


def test_an_oversized_batch_is_dropped_and_breaks_nothing() -> None:
    """Droppable octets never break the connection off, however many."""
    with pair(queue_limit=50_000, hard_limit=60_000) as (connection, _):
        while not connection.queue_depth:
            assert connection.send(bytes(1000), droppable=False)
        assert not connection.send(bytes(100_000), droppable=True)
        assert connection.dropped_octets == 100_000
        assert connection.send(b"IKE", droppable=False)


def test_wait_writable_ends_when_there_is_room() -> None:
    """A bulk sender sleeps while the queue is full and goes on once the peer reads."""
    with pair(queue_limit=50_000) as (connection, far):
        assert connection.wait_writable(0)
        taken = fill(connection)
        assert not connection.wait_writable(0)
        owner = Reader(connection)
        reader = threading.Thread(target=receive_exactly, args=(far, taken * 10000))
        reader.start()
        assert connection.wait_writable(PATIENCE_SECONDS)
        assert connection.send(b"more", droppable=True)
        reader.join()
        far.close()
        owner.join()


def test_wait_writable_ends_with_the_connection() -> None:
    """A bulk sender does not sleep on for a connection that is over."""
    with pair(queue_limit=50_000) as (connection, _):
        fill(connection)
        results: list[bool] = []
        waiter = threading.Thread(
            target=lambda: results.append(connection.wait_writable(PATIENCE_SECONDS))
        )
        waiter.start()
        connection.abort()
        waiter.join(PATIENCE_SECONDS / 2)
        assert results == [False]


# --- ending it ----------------------------------------------------------------------


def test_abort_resets() -> None:
    """The peer sees RST, the owner None, from another thread and with data queued."""
    with pair() as (connection, far):
        owner = Reader(connection)
        fill(connection)
        connection.abort()
        assert owner.join() is None
        with pytest.raises(ConnectionResetError):
            receive_all(far)


def test_a_reset_by_the_peer_is_an_error_of_the_connection() -> None:
    """RST ends the connection only: the owner learns it as ConnectionBroken."""
    with pair() as (connection, far):
        owner = Reader(connection)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        end = owner.join()
        assert isinstance(end, ConnectionBroken)
        assert end.scope is Scope.CONNECTION
        assert end.notify is None


def test_a_reset_noticed_by_a_sender_reaches_the_owner() -> None:
    """The stack tells of RST once; if a sender hears it, the owner must hear it too.

    First the owner gets what had come in before.
    """
    with pair() as (connection, far):
        far.sendall(b"last words")
        near = connection._socket
        assert select.select([near], [], [], PATIENCE_SECONDS)[0]
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        while connection.send(b"x" * 1000, droppable=False):
            pass
        assert not connection.send(b"x", droppable=False)
        assert not connection.wait_writable(0)
        assert connection.wait_and_receive() == b"last words"
        for _ in range(2):
            with pytest.raises(ConnectionBroken, match="while sending"):
                connection.wait_and_receive()


def test_a_reset_while_the_owner_flushes() -> None:
    """A queue that can no longer go anywhere ends in an error, not in a spin."""
    with pair() as (connection, far):
        fill(connection)
        owner = Reader(connection)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        assert isinstance(owner.join(), ConnectionBroken)
        assert connection.send(b"x", droppable=False) is False or not owner.received


def test_a_failed_write_without_hangup_reaches_the_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a write fails and the socket stays quiet the owner is woken all the same."""
    with pair() as (connection, far):
        failing = _FailingSocket(connection._socket)
        monkeypatch.setattr(connection, "_socket", failing)
        far.sendall(b"before")
        assert not connection.send(b"x", droppable=False)
        owner = Reader(connection)
        assert "No buffer space" in str(owner.join())
        assert owner.received in (b"", b"before")
        monkeypatch.undo()


class _FailingSocket:
    def __init__(self, real: socket.socket) -> None:
        self.fileno, self.recv = real.fileno, real.recv

    def send(self, _: bytes) -> int:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


def test_stop_leaves_the_connection_open() -> None:
    """The owner gets None at once and always; sending still works."""
    with pair() as (connection, far):
        owner = Reader(connection)
        connection.stop()
        assert owner.join() is None
        far.sendall(b"unread")
        assert connection.wait_and_receive() is None
        assert connection.send(b"farewell", droppable=False)
        assert receive_exactly(far, 8) == b"farewell"
        connection.close()
        connection.stop()


def test_graceful_close_delivers_the_queue() -> None:
    """Everything queued arrives, then FIN; the owner's wait ends with None."""
    with pair() as (connection, far):
        owner = Reader(connection)
        assert connection.send(bytes(500_000), droppable=False)
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(receive_all(far)))
        reader.start()
        connection.close()
        reader.join()
        assert owner.join() is None
        assert received == [bytes(500_000)]
        assert not connection.send(b"late", droppable=False)


def test_graceful_close_survives_unread_octets() -> None:
    """Octets that nobody read do not turn the FIN into an RST."""
    with pair() as (connection, far):
        far.sendall(bytes(1000))
        assert connection.send(b"DELETE", droppable=False)
        connection.close()
        assert receive_all(far) == b"DELETE"
        assert far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_graceful_close_after_the_peers_fin() -> None:
    """The rest goes out although the peer has finished sending."""
    with pair() as (connection, far):
        assert connection.send(bytes(200_000), droppable=False)
        far.shutdown(socket.SHUT_WR)
        assert connection.wait_and_receive() == b""
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(receive_all(far)))
        reader.start()
        connection.close()
        reader.join()
        assert received == [bytes(200_000)]


def test_graceful_close_of_a_dead_connection() -> None:
    """Nothing to hand over, nothing raised."""
    with pair() as (connection, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionBroken):
            connection.wait_and_receive()
        connection.close()


def test_graceful_close_is_bounded() -> None:
    """A peer that never reads cannot hold a close up for ever."""
    with pair() as (connection, _):
        fill(connection)
        connection.close()
        assert connection.queue_depth == 0
        assert connection.wait_and_receive() is None


def test_close_without_grace_discards_the_queue() -> None:
    """What is queued is lost, what the stack has is delivered."""
    with pair() as (connection, far):
        taken = fill(connection) * 10000
        connection.close(graceful=False)
        assert 0 < len(receive_all(far)) < taken


def test_everything_may_be_called_again_after_the_end() -> None:
    """Closing, aborting and the rest are idempotent in any order."""
    for first in (TcpConnection.close, TcpConnection.abort):
        with pair() as (connection, _):
            first(connection)
            for call in (TcpConnection.close, TcpConnection.abort, TcpConnection.stop):
                call(connection)
            assert connection.wait_and_receive() is None
            assert not connection.send(b"x", droppable=False)
            assert not connection.wait_writable(0)
            assert connection.path_mtu == 1500
            assert not connection.is_ecn_negotiated


def test_four_threads_close_at_once(leak_check: LeakCheck) -> None:
    """Every closer returns, the socket is closed once, no descriptor stays."""
    with leak_check():
        for _ in range(20):
            with pair() as (connection, _):
                owner = Reader(connection)
                calls: list[Callable[[], None]] = [connection.close, connection.abort]
                closers = [threading.Thread(target=call) for call in calls * 2]
                for thread in closers:
                    thread.start()
                for thread in closers:
                    thread.join(PATIENCE_SECONDS)
                    assert not thread.is_alive()
                assert owner.join() is None


def test_abort_cuts_a_graceful_close_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants it to end at once does not wait out another's grace."""
    monkeypatch.setattr("iketcp.net.tcp_connection._CLOSE_SECONDS", 3600.0)
    with pair() as (connection, far):
        fill(connection)
        closer = threading.Thread(target=connection.close)
        closer.start()
        connection.abort()
        closer.join(PATIENCE_SECONDS)
        assert not closer.is_alive()
        with pytest.raises(ConnectionResetError):
            receive_all(far)


def test_a_socket_that_is_not_connected_is_refused(leak_check: LeakCheck) -> None:
    """The peer may be gone before anybody looks; the socket is closed then."""
    with leak_check():
        sock = socket.socket()
        with pytest.raises(ConnectionBroken):
            TcpConnection(sock)
        assert sock.fileno() == -1


# --- options ------------------------------------------------------------------------


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_socket_options(family: int) -> None:
    """No Nagle, no keepalive, one DSCP and ECN bits zero, RFC 9329 §9.3, §9.5."""
    with socket.socket(family) as sock:
        segment_size = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        apply_socket_options(sock, 46)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        unsent = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        assert unsent == UNSENT_OCTETS
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
        if family == socket.AF_INET6:
            tclass = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
            assert tclass == 46 << 2
        now = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert now == segment_size
        for dscp in (-1, 64):
            with pytest.raises(ConfigurationError, match="0 to 63"):
                apply_socket_options(sock, dscp)


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(20.0, 20_000), (0.0, 0), (0.0001, 1), (1e9, (1 << 31) - 1)],
)
def test_user_timeout(seconds: float, milliseconds: int) -> None:
    """How long octets may go unacknowledged; 0 is the system's. RFC 9329 §6.1"""
    option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
    with socket.socket() as sock:
        set_user_timeout(sock, 7.0)
        assert sock.getsockopt(*option) == 7_000
        set_user_timeout(sock, seconds)
        assert sock.getsockopt(*option) == milliseconds


def test_give_up_after_the_end_is_no_error() -> None:
    """A connection may be over before its thread begins."""
    with pair() as (connection, _):
        connection.close()
        connection.give_up_after(3.0)


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    """Its stack has no room for so long: the connection is broken. RFC 9329 §6.1"""
    with pair(hard_limit=1 << 30) as (connection, _):
        connection.give_up_after(0.05)
        owner = Reader(connection)
        fill(connection)
        assert "Connection timed out" in str(owner.join())


# --- listening and connecting -------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_a_dual_listener_accepts_both_families(
    host: str, leak_check: LeakCheck
) -> None:
    """One listener serves IPv4 and IPv6, and addresses agree on both sides."""
    with leak_check():
        listener = Listener(None, 0, dscp=10)
        near = connect(host, listener.address.port, PATIENCE_SECONDS, dscp=12)
        far = listener.accept()
        assert near is not None
        assert far is not None
        assert far.remote_address == near.local_address
        assert far.local_address == near.remote_address
        assert str(near.remote_address.address) == host
        for connection, dscp in ((far, 10), (near, 12)):
            sock = connection._socket
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == dscp << 2
        assert near.send(b"IKETCP", droppable=False)
        assert far.wait_and_receive() == b"IKETCP"
        assert near.path_mtu >= 1280
        listener.close()
        far.close()
        assert near.wait_and_receive() == b""
        near.close()


def test_a_listener_at_one_address() -> None:
    """An address of one family is listened at and no other; the port may be reused."""
    listener = Listener("127.0.0.1", 0)
    port = listener.address.port
    assert str(listener.address) == f"127.0.0.1:{port}"
    with pytest.raises(ConnectionBroken, match="Connection refused"):
        connect("::1", port, PATIENCE_SECONDS)
    near = connect(ip_address("127.0.0.1"), port, PATIENCE_SECONDS)
    accepted = listener.accept()
    assert near is not None
    assert accepted is not None
    listener.close()
    accepted.close()
    near.close()
    Listener("127.0.0.1", port).close()


def test_close_ends_accept() -> None:
    """A thread in accept gets None, and later calls do too."""
    listener = Listener("127.0.0.1", 0)
    results: list[object] = []
    acceptor = threading.Thread(target=lambda: results.append(listener.accept()))
    acceptor.start()
    listener.close()
    acceptor.join(PATIENCE_SECONDS)
    assert results == [None]
    listener.close()
    assert listener.accept() is None


def test_a_listener_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine has no IPv6, every address means every IPv4 address."""
    monkeypatch.setattr("socket.has_dualstack_ipv6", lambda: False)
    listener = Listener(None, 0)
    assert str(listener.address.address) == "0.0.0.0"
    listener.close()


def test_a_taken_port_is_one_sentence(leak_check: LeakCheck) -> None:
    """Who cannot listen says where and why."""
    listener = Listener("127.0.0.1", 0)
    with leak_check():
        with pytest.raises(EnvironmentProblem, match="Address already in use"):
            Listener("127.0.0.1", listener.address.port)
        with pytest.raises(EnvironmentProblem, match="Cannot assign requested"):
            Listener("192.0.2.1", 0)
        for address, dscp in (("not an address", 0), ("127.0.0.1", 99)):
            with pytest.raises(ConfigurationError):
                Listener(address, 0, dscp=dscp)
    listener.close()


def test_accept_waits_out_a_lack_of_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without descriptors accept pauses, does not spin, and goes on afterwards."""
    listener = Listener("127.0.0.1", 0)
    near = connect("127.0.0.1", listener.address.port, PATIENCE_SECONDS)
    assert near is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pauses = []

    def pause(self: Wake, timeout_seconds: float | None = None) -> bool:
        pauses.append(timeout_seconds)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next(limits), hard))
        return False

    monkeypatch.setattr(Wake, "wait", pause)
    second = connect("127.0.0.1", listener.address.port, PATIENCE_SECONDS)
    assert second is not None
    # First nothing can be opened; then the socket, but not the connection's wake.
    limits = iter([lowest_free() + 1, soft])
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free(), hard))
    try:
        accepted = listener.accept()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert accepted is not None
    assert pauses == [0.1, 0.1]
    assert listener.shortages == 2
    for connection in (accepted, near, second):
        connection.abort()
    listener.close()


def lowest_free() -> int:
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    return fd


def test_accept_passes_over_a_dead_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What died in the backlog is skipped, and the next one is accepted."""
    listener = Listener("127.0.0.1", 0)
    real = listener._socket
    with socket.create_connection(("127.0.0.1", listener.address.port)) as dead:
        dead.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near = connect("127.0.0.1", listener.address.port, PATIENCE_SECONDS)
    assert near is not None
    failures = iter([ConnectionAbortedError(errno.ECONNABORTED, "aborted")])

    class Failing:
        def accept(self) -> object:
            for failure in failures:
                raise failure
            return real.accept()

    monkeypatch.setattr(listener, "_socket", Failing())
    accepted = listener.accept()
    while accepted is not None and accepted.remote_address != near.local_address:
        accepted.abort()
        accepted = listener.accept()
    assert accepted is not None
    assert listener.shortages == 0
    monkeypatch.undo()
    accepted.close()
    near.close()
    listener.close()


def test_connect_from_a_chosen_address() -> None:
    """The connection comes from the address asked for."""
    listener = Listener("127.0.0.1", 0)
    port = listener.address.port
    near = connect("127.0.0.1", port, PATIENCE_SECONDS, local_address="127.0.0.2")
    assert near is not None
    assert str(near.local_address.address) == "127.0.0.2"
    near.abort()
    with pytest.raises(EnvironmentProblem, match=r"cannot connect from 192\.0\.2\.1"):
        connect("127.0.0.1", port, PATIENCE_SECONDS, local_address="192.0.2.1")
    with pytest.raises(ConfigurationError, match="different families"):
        connect("127.0.0.1", port, PATIENCE_SECONDS, local_address="::1")
    listener.close()


@pytest.mark.parametrize("address", ["vpn.example", "", "\udc80", "192.0.2.300"])
def test_connect_wants_an_address(address: str) -> None:
    """A host name, or nonsense, is a configuration error and no look-up."""
    with pytest.raises(ConfigurationError):
        connect(address, 4500, PATIENCE_SECONDS)


def test_refused_connections_leave_nothing(leak_check: LeakCheck) -> None:
    """A refused attempt raises ConnectionBroken and closes its socket."""
    listener = Listener("127.0.0.1", 0)
    listener.close()
    with leak_check():
        for _ in range(10):
            with pytest.raises(ConnectionBroken, match="Connection refused"):
                connect("127.0.0.1", listener.address.port, PATIENCE_SECONDS)


@in_namespace
def test_connect_gives_up() -> None:
    """A peer that does not answer costs the timeout, and a stop signal ends it early.

    In a namespace, because a black hole is needed: a wire with nobody at its end.
    """
    with IPRoute(groups=0) as netlink:
        netlink.link("add", ifname="hole0", kind="veth", peer="hole1")
        for name in ("hole0", "hole1"):
            index = socket.if_nametoindex(name)
            netlink.link("set", index=index, state="up", arp=False)
        netlink.addr("add", index=index, address="192.0.2.1", prefixlen=24)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionBroken, match="timed out"):
        connect("192.0.2.2", 4500, 0.01)
    stop = Wake()
    results: list[object] = []
    for descriptor in (stop, stop.fileno()):
        stop.clear()
        attempt = threading.Thread(
            target=lambda stop=descriptor: results.append(
                connect("192.0.2.2", 4500, 3600, stop=stop)
            )
        )
        attempt.start()
        stop.set()
        attempt.join(PATIENCE_SECONDS)
    stop.close()
    assert results == [None, None]
    assert len(os.listdir("/proc/self/fd")) == before


@in_namespace
def test_connect_to_nowhere() -> None:
    """Without a route the attempt fails at once, and another may fare better later."""
    with pytest.raises(ConnectionBroken, match="Network is unreachable"):
        connect("192.0.2.2", 4500, PATIENCE_SECONDS)


def test_connect_without_descriptors() -> None:
    """No descriptor left is a problem of the machine, in one sentence."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listener = Listener("127.0.0.1", 0)
    try:
        for spare in (0, 1):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free() + spare, hard))
            with pytest.raises(EnvironmentProblem, match=r"descriptor|open a socket"):
                connect("127.0.0.1", listener.address.port, PATIENCE_SECONDS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    listener.close()


# --- names --------------------------------------------------------------------------


def test_resolve_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is itself; a name has every address once, in the system's order."""
    assert resolve_host("192.0.2.1") == (ip_address("192.0.2.1"),)

    def answer(host: str, port: object, **_: object) -> list[tuple[object, ...]]:
        found = ["2001:db8::1", "192.0.2.1", "2001:db8::1"]
        return [(0, 0, 0, "", (address, 0)) for address in found]

    monkeypatch.setattr("socket.getaddrinfo", answer)
    expected = (ip_address("2001:db8::1"), ip_address("192.0.2.1"))
    assert resolve_host("vpn.example") == expected


def test_resolve_host_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is worth another try later."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(ConnectionBroken, match=r"address of vpn\.example"):
        resolve_host("vpn.example")
