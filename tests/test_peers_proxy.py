"""Peers with a web proxy between them, over real sockets. RFC 9329 App. A."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from conftest import LeakCheck
from iketcp.config import ProxyConfig
from iketcp.demo.web_proxy import WebProxy
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Peers,
    Running,
    exchange,
    is_hung_up,
    up,
)
from test_peers import QUICK, free_port, no_problem
from tls_support import initiator_tls, responder_tls

ALICE = "alice:correct horse"


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


def way(proxy: WebProxy, version: int = 4, credentials: str = "") -> ProxyConfig:
    """What a configuration says of a proxy."""
    user, _, password = credentials.partition(":")
    return ProxyConfig(LOOPBACK[version], proxy.port, user or None, password)


def target(version: int, port: int) -> str:
    """What the proxy is asked for."""
    host = "[::1]" if version == 6 else "127.0.0.1"
    return f"CONNECT {host}:{port} HTTP/1.1"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("is_tls", [True, False])
@pytest.mark.parametrize("credentials", ["", ALICE])
def test_a_tunnel_through_a_proxy(
    peers: Peers, version: int, is_tls: bool, credentials: str
) -> None:
    """[9329-A-connect]: to the port of TLS or the plain one; a cut is mended there."""
    asked: list[str] = []
    with WebProxy(LOOPBACK[version], 0, credentials, asked.append) as proxy:
        responder = peers.responder(version, tls=responder_tls())
        plain = responder.peer.address.port
        port = responder.peer.tls_address.port if is_tls else plain
        initiator = peers.initiator(
            plain,
            version,
            tls=initiator_tls(port) if is_tls else None,
            proxy=way(proxy, version, credentials),
        )
        up(initiator, responder)
        exchange(initiator, responder)
        initiator.peer.cut()
        responder.told.wait_for("mapping-moved")
        exchange(initiator, responder, 1)
        (opened, _) = initiator.told.of("connection-opened")
        assert str(opened["remote"]).endswith(f" {proxy.port}")
        assert len(initiator.told.of("tls")) == (2 if is_tls else 0)
        initiator.peer.stop()
        responder.peer.stop()
    assert asked == [f"{target(version, port)}: 200"] * 2
    no_problem(initiator, responder)


def test_another_password_is_wanted(peers: Peers) -> None:
    """The proxy is asked again and again, and its refusal is said in words."""
    with WebProxy(LOOPBACK[4], 0, ALICE) as proxy:
        for credentials in ("", "alice:wrong"):
            told = refused(peers, way(proxy, credentials=credentials))
            assert told == (
                f"127.0.0.1 port {proxy.port}: "
                "the proxy wants another user name or password (407)"
            )


def test_nobody_listens_behind_the_proxy(peers: Peers) -> None:
    """What the proxy says of it is repeated."""
    with WebProxy(LOOPBACK[4]) as proxy:
        told = refused(peers, way(proxy))
        where = f"127.0.0.1 port {proxy.port}"
        assert told == f"{where}: the proxy refuses: '502 Bad Gateway'"


def refused(peers: Peers, proxy: ProxyConfig) -> str:
    """Why an initiator did not get through, the second time."""
    initiator = peers.initiator(free_port(), proxy=proxy, transport=QUICK)
    failed = initiator.told.wait_for("connect-failed", 2)
    assert initiator.told.of("connection-opened") == []
    initiator.peer.stop()
    no_problem(initiator)
    return str(failed["reason"])


ANSWERS = {
    b"HTTP/1.1 403 Forbidden\r\n\r\n": "the proxy refuses: '403 Forbidden'",
    b"220 smtp.example ESMTP\r\n\r\n": "the proxy does not answer in HTTP",
    b"": "the proxy closes the connection without an answer",
    bytes(20000): "the proxy's answer has no end",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_proxy_that_gives_no_way(peers: Peers, answer: bytes) -> None:
    """Refusal, garbage, silence, a flood: each in one sentence, and tried again."""
    with socket.create_server((LOOPBACK[4], 0)) as listener:
        where = listener.getsockname()[1]

        def answer_twice() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client:
                    client.settimeout(PATIENCE_SECONDS)
                    assert client.recv(4096).startswith(b"CONNECT ")
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    is_hung_up(client)

        thread = threading.Thread(target=answer_twice)
        thread.start()
        told = refused(peers, ProxyConfig(LOOPBACK[4], where, None, ""))
        thread.join()
    assert told == f"127.0.0.1 port {where}: {ANSWERS[answer]}"


def test_a_slow_proxy(peers: Peers, leak_check: LeakCheck) -> None:
    """Its answer has its time; and when we stop, it is not waited for."""
    with leak_check(), socket.create_server((LOOPBACK[4], 0)) as listener:
        port = listener.getsockname()[1]
        proxy = ProxyConfig(LOOPBACK[4], port, None, "")
        impatient = started(peers, proxy, '"100ms"')
        with listener.accept()[0]:
            failed = impatient.told.wait_for("connect-failed")
        words = "proxy: nothing came in time"
        assert failed["reason"] == f"127.0.0.1 port {port}: {words}"
        impatient.peer.stop()
        patient = started(peers, proxy, '"1d"')
        client, _ = listener.accept()
        with client:
            client.settimeout(PATIENCE_SECONDS)
            client.recv(1)
            patient.peer.stop()
            assert is_hung_up(client)
        no_problem(impatient, patient)
        peers.pop_all()


def started(peers: Peers, proxy: ProxyConfig, timeout: str) -> Running:
    """Start an initiator that gives each step of connecting so much time."""
    transport = f"connect_timeout = {timeout}\nreconnect_first = 60"
    return peers.initiator(free_port(), proxy=proxy, transport=transport)


def test_a_proxy_by_name(peers: Peers) -> None:
    """The proxy is looked up here, the responder there."""
    asked: list[str] = []
    with WebProxy(LOOPBACK[4], 0, "", asked.append) as proxy:
        responder = peers.responder()
        port = responder.peer.address.port
        named = ProxyConfig("localhost", proxy.port, None, "")
        initiator = peers.initiator(port, proxy=named, transport=QUICK)
        up(initiator, responder)
        initiator.peer.stop()
        responder.peer.stop()
    assert f"{target(4, port)}: 200" in asked
