"""A connection that leaves ESP to the kernel: messages, where TCP has a stream.

This kernel may not have ``espintcp``. Then what it does is played: a socket that keeps
messages apart (``SOCK_SEQPACKET``) stands in for a TCP socket that it is attached to.
"""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from connection_support import PATIENCE_SECONDS, Reader, carriers
from iketcp.errors import EnvironmentProblem
from iketcp.net import espintcp
from iketcp.net.espintcp import EspInTcpConnection, require_espintcp
from iketcp.net.tcp import ConnectionBroken, TcpConnection
from iketcp.stream import (
    NON_ESP_MARKER,
    STREAM_PREFIX,
    frame_esp_batch,
    frame_ike,
    frames_of,
)
from xfrm_parts import refusal

IKE = bytes(range(28))
MESSAGE = NON_ESP_MARKER + IKE


class MessageSocket(socket.socket):
    """A TCP socket with ``espintcp`` attached, as far as reading and writing go."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 4500

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 40000


@contextmanager
def messages(**limits: int) -> Iterator[tuple[TcpConnection, socket.socket]]:
    """A carrier that keeps messages apart, and its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(PATIENCE_SECONDS)
    stand_in = MessageSocket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, ours.detach())
    carrier = TcpConnection(stand_in, **limits)
    with theirs:
        try:
            yield carrier, theirs
        finally:
            carrier.abort()


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Sockets that ``espintcp`` was attached to; nothing happens to them."""
    sockets: list[socket.socket] = []
    monkeypatch.setattr(espintcp, "_attach_espintcp", sockets.append)
    return sockets


def test_the_originator_attaches_after_the_prefix(
    attached: list[socket.socket],
) -> None:
    """The prefix goes out as it is, and messages without their Lengths."""
    with carriers() as (carrier, far):
        connection = EspInTcpConnection(carrier, is_tcp_originator=True)
        assert not attached
        assert connection.send(STREAM_PREFIX, False)
        assert len(attached) == 1
        assert connection.send(frame_ike(IKE), False)
        wanted = STREAM_PREFIX + MESSAGE
        received = b""
        while len(received) < len(wanted):
            received += far.wait_and_receive() or b""
        assert received == wanted
        assert connection.octets_out == len(wanted)


def test_several_frames_are_several_messages(attached: list[socket.socket]) -> None:
    with messages() as (carrier, kernel):
        connection = EspInTcpConnection(carrier, is_tcp_originator=True)
        connection.send(STREAM_PREFIX, False)
        connection.send(frame_ike(IKE) + frame_ike(IKE + b"more"), False)
        assert kernel.recv(100) == STREAM_PREFIX
        assert kernel.recv(100) == MESSAGE
        assert kernel.recv(100) == MESSAGE + b"more"


def test_the_responder_reads_no_further_than_the_prefix(
    attached: list[socket.socket],
) -> None:
    """What comes with it is the kernel's to find."""
    with carriers() as (far, carrier):
        connection = EspInTcpConnection(carrier, is_tcp_originator=False)
        assert connection.handshake()
        far.send(STREAM_PREFIX[:2], False)
        assert connection.wait_and_receive() == STREAM_PREFIX[:2]
        assert not attached
        far.send(STREAM_PREFIX[2:] + MESSAGE, False)
        assert connection.wait_and_receive() == STREAM_PREFIX[2:]
        assert len(attached) == 1
        # here the kernel would have taken a Length off
        assert connection.wait_and_receive() == frame_ike(IKE)
        assert connection.octets_in == len(STREAM_PREFIX + MESSAGE)
        far.close()
        assert connection.wait_and_receive() == b""


def test_a_stream_that_begins_otherwise_is_for_the_endpoint_to_close(
    attached: list[socket.socket],
) -> None:
    with carriers() as (far, carrier):
        connection = EspInTcpConnection(carrier, is_tcp_originator=False)
        far.send(b"GET / HTTP/1.1\r\n", False)
        assert connection.wait_and_receive() == b"GET / "
        connection.stop()
        assert connection.wait_and_receive() is None
        assert not attached


def test_messages_that_have_to_wait_stay_apart(attached: list[socket.socket]) -> None:
    """One call is one message to the kernel, also when several leave the queue."""
    with messages(queue_limit=1 << 22) as (carrier, kernel):
        connection = EspInTcpConnection(carrier, is_tcp_originator=True)
        connection.send(STREAM_PREFIX, False)
        sent = 0
        while connection.queue_depth < 3 * 60_000:
            assert connection.send(frame_ike(sent.to_bytes(4, "big") * 15_000), False)
            sent += 1
        owner = Reader(connection)  # works off the queue
        assert kernel.recv(100) == STREAM_PREFIX
        for number in range(sent):
            message = kernel.recv(1 << 17)
            assert message == NON_ESP_MARKER + number.to_bytes(4, "big") * 15_000
        connection.stop()
        owner.join()


def refuse(code: int) -> Callable[[socket.socket], None]:
    def attach(sock: socket.socket) -> None:
        raise OSError(code, "whatever")

    return attach


def test_a_connection_that_the_kernel_refuses_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The owner hears of it, in either role."""
    monkeypatch.setattr(espintcp, "_attach_espintcp", refuse(errno.ENOENT))
    sentence = "the kernel does not take ESP over: No such file"
    with carriers() as (far, near):
        originator = EspInTcpConnection(far, is_tcp_originator=True)
        responder = EspInTcpConnection(near, is_tcp_originator=False)
        assert originator.send(STREAM_PREFIX, False)
        assert responder.wait_and_receive() == STREAM_PREFIX
        for connection in (originator, responder):
            with pytest.raises(ConnectionBroken, match=sentence):
                connection.wait_and_receive()


def test_a_prefix_that_waits_is_not_overtaken(
    attached: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attached before it is out, ``espintcp`` would put a Length before the rest."""
    with messages() as (carrier, _):
        while not carrier.queue_depth:
            carrier.send(bytes(60_000), False)
        connection = EspInTcpConnection(carrier, is_tcp_originator=True)
        connection.send(STREAM_PREFIX, False)
        assert not attached
        with pytest.raises(ConnectionBroken, match="resource busy"):
            connection.wait_and_receive()


def test_it_shows_what_is_underneath() -> None:
    with carriers() as (carrier, far):
        connection = EspInTcpConnection(carrier, is_tcp_originator=True)
        assert connection.local_address == carrier.local_address
        assert connection.remote_address == carrier.remote_address
        assert connection.path_mtu == carrier.path_mtu
        assert (connection.dropped_batches, connection.protection) == (0, "")
        assert str(carrier.local_address) in repr(connection)
        assert connection.wait_writable(0)
        connection.give_up_after(5.0)
        connection.abort()
        connection.close()
        with pytest.raises(ConnectionBroken):
            far.wait_and_receive()


def test_frames_are_taken_apart() -> None:
    assert list(frames_of(b"")) == []
    assert list(frames_of(frame_ike(IKE))) == [MESSAGE]
    packets = [b"\0\0\1\1" + bytes(n) for n in (0, 5, 1400)]
    assert list(frames_of(frame_esp_batch(packets))) == packets


# --- the kernel ---------------------------------------------------------------------


def test_this_kernel_has_it_or_says_so() -> None:
    """One sentence, before anything else is begun."""
    if (problem := refusal(require_espintcp)) is not None:
        assert str(problem) == (
            "this kernel has no ESP in TCP (CONFIG_INET_ESPINTCP), which [tun] "
            'dataplane = "kernel" needs; "user" works everywhere'
        )
        return
    with carriers() as (far, near):
        originator = EspInTcpConnection(far, is_tcp_originator=True)
        responder = EspInTcpConnection(near, is_tcp_originator=False)
        originator.send(STREAM_PREFIX, False)
        originator.send(frame_ike(IKE), False)
        assert responder.wait_and_receive() == STREAM_PREFIX
        assert responder.wait_and_receive() == frame_ike(IKE)
        responder.send(frame_ike(IKE) + frame_ike(IKE[::-1]), False)
        assert originator.wait_and_receive() == frame_ike(IKE)
        assert originator.wait_and_receive() == frame_ike(IKE[::-1])
        originator.close()
        assert responder.wait_and_receive() == b""


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOENT, "this kernel has no ESP in TCP"),
        (errno.ENOPROTOOPT, "this kernel has no ESP in TCP"),
        (errno.EPERM, "cannot tell whether this kernel has ESP in TCP: whatever"),
    ],
)
def test_what_the_kernel_may_answer(
    monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    monkeypatch.setattr(espintcp, "_attach_espintcp", refuse(code))
    with pytest.raises(EnvironmentProblem, match=sentence):
        require_espintcp()
    monkeypatch.setattr(espintcp, "_attach_espintcp", lambda sock: None)
    require_espintcp()
