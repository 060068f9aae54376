"""HTTP CONNECT to a proxy, over real loopback sockets. RFC 2817 §5.2, §5.3."""

import threading

import pytest

from connection_support import PATIENCE_SECONDS, carriers
from iketcp.net.http_connect import (
    MAX_ANSWER,
    ConnectRequest,
    ProxyRefused,
    connect_through,
)
from iketcp.net.tcp import ConnectionBroken

REQUEST = ConnectRequest("gw.example", 443)


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        (REQUEST, ["CONNECT gw.example:443 HTTP/1.1", "Host: gw.example:443"]),
        (
            ConnectRequest("192.0.2.1", 4500),
            ["CONNECT 192.0.2.1:4500 HTTP/1.1", "Host: 192.0.2.1:4500"],
        ),
        (
            ConnectRequest("2001:db8:0::1", 4500),
            ["CONNECT [2001:db8::1]:4500 HTTP/1.1", "Host: [2001:db8::1]:4500"],
        ),
        (
            ConnectRequest("gw.example", 443, "Aladdin", "open sesame"),
            [
                "CONNECT gw.example:443 HTTP/1.1",
                "Host: gw.example:443",
                "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ],
        ),
    ],
)
def test_the_request(request_: ConnectRequest, lines: list[str]) -> None:
    """Whom to reach, twice, and who asks; the password is not shown elsewhere."""
    assert request_.encode().decode() == "\r\n".join([*lines, "", ""])
    assert "sesame" not in repr(request_)


@pytest.mark.parametrize("is_split", [False, True])
def test_the_way_is_given(is_split: bool) -> None:
    """What stands behind the answer is the other end's, octet by octet."""
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nrest"
    with carriers() as (ours, proxy):
        for at in range(len(answer)) if is_split else ():
            proxy.send(answer[at : at + 1], droppable=False)
        if not is_split:
            proxy.send(answer, droppable=False)
        assert connect_through(ours, REQUEST, PATIENCE_SECONDS)
        assert proxy.wait_and_receive() == REQUEST.encode()
        received = b""
        while len(received) < 4:
            received += ours.wait_and_receive() or b"?"
        assert received == b"rest"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", r"\(407\)"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", r"password \(401\)"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "302 Found"),
        (b"SSH-2.0-x\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n", "does not answer in HTTP"),
        (b"\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * MAX_ANSWER, "has no end"),
    ],
)
def test_the_way_is_refused(answer: bytes, words: str) -> None:
    """Anything but success is told in words."""
    with carriers() as (ours, proxy):
        proxy.send(answer, droppable=False)
        with pytest.raises(ProxyRefused, match=words):
            connect_through(ours, REQUEST, PATIENCE_SECONDS)


def test_the_proxy_closes() -> None:
    """Without an answer, or in the middle of one."""
    for answer in (b"", b"HTTP/1.1 200 OK\r\n"):
        with carriers() as (ours, proxy):
            proxy.send(answer, droppable=False)
            proxy.close()
            with pytest.raises(ProxyRefused, match="without an answer"):
                connect_through(ours, REQUEST, PATIENCE_SECONDS)


def test_the_proxy_says_nothing() -> None:
    """There is a time for an answer."""
    with carriers() as (ours, _), pytest.raises(ConnectionBroken, match="in time"):
        connect_through(ours, REQUEST, 0.01)


def test_asking_can_be_stopped() -> None:
    """By any thread."""
    with carriers() as (ours, _):
        threading.Timer(0.01, ours.stop).start()
        assert not connect_through(ours, REQUEST, PATIENCE_SECONDS)
