"""Peers with TLS around their connections. RFC 9329 App. A, App. B."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from certificate_factory import Issued
from conftest import LeakCheck
from iketcp.net.tls import pin_of
from iketcp.net.tls_options import TlsTrust
from iketcp.peers import Initiator
from iketcp.peers import initiator as initiator_module
from iketcp.peers.control import status
from iketcp.peers.sinks import KeyLog
from iketcp.stream import STREAM_PREFIX
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Peers,
    Recorder,
    Running,
    exchange,
    initiator_configuration,
    is_hung_up,
    unanswering_port,
    up,
)
from test_peers import NEVER, QUICK, free_port, no_problem
from tls_support import (
    HOUR,
    NOW,
    OTHER_CA,
    SERVER,
    initiator_tls,
    responder_tls,
    rsa_certificate,
    server_certificate,
)

VERSIONS = {
    "TLSv1.2": {"is_13_allowed": False},
    "TLSv1.3": {"is_12_allowed": False},
}


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


def tls_port(responder: Running) -> int:
    """Where a responder speaks TLS."""
    port: int = responder.peer.tls_address.port
    return port


def tls_tunnel(
    peers: Peers, version: int = 4, **options: bool
) -> tuple[Running, Running]:
    """Start both and wait for the tunnel: initiator, responder."""
    responder = peers.responder(version, tls=responder_tls(), transport=NEVER)
    tls = initiator_tls(tls_port(responder), **options)
    # nobody listens on the port without TLS
    initiator = peers.initiator(free_port(), version, tls=tls, transport=QUICK)
    up(initiator, responder)
    return initiator, responder


def protections(running: Running) -> list[str]:
    """How each connection was protected, in turn."""
    return [str(event["protection"]) for event in running.told.of("tls")]


# --- the tunnel -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tls", VERSIONS)
def test_a_tunnel_inside_tls(peers: Peers, version: int, tls: str) -> None:
    """[9329-A-versions] [9329-4-inside]: everything is in it, from the prefix on."""
    initiator, responder = tls_tunnel(peers, version, **VERSIONS[tls])
    exchange(initiator, responder)
    for each in (initiator, responder):
        (connection,) = status(each.peer)["connections"]
        (protection,) = protections(each)
        assert re.fullmatch(rf"{tls} [\w-]+", protection)
        assert connection["protection"] == protection
        assert connection["octets_in"] > 0
    listening = responder.told.of("listening")
    assert [event.get("protocol") for event in listening] == [None, "tls"]
    no_problem(initiator, responder)


@pytest.mark.parametrize("tls", VERSIONS)
@pytest.mark.parametrize("is_cut_by_originator", [True, False])
def test_a_cut_connection_resumes_its_session(
    peers: Peers, tls: str, is_cut_by_originator: bool
) -> None:
    """[9329-A-resume]: no certificate in the second handshake; the SAs are the same."""
    initiator, responder = tls_tunnel(peers, **VERSIONS[tls])
    exchange(initiator, responder)
    before = initiator.spis, responder.spis
    for number in (1, 2):
        cutter = initiator if is_cut_by_originator else responder
        assert cutter.peer.cut() == 1
        responder.told.wait_for("mapping-moved", number)
        exchange(initiator, responder, number)
    assert (initiator.spis, responder.spis) == before
    for each in (initiator, responder):
        are_resumed = [words.endswith(" resumed") for words in protections(each)]
        assert are_resumed == [False, True, True]
    no_problem(initiator, responder)


def test_a_responder_serves_both_ports(peers: Peers) -> None:
    """[9329-A-config]: each port speaks its own, and both lead to the same peer."""
    initiator, responder = tls_tunnel(peers)
    initiator.peer.stop()
    plain = peers.initiator(responder.peer.address.port)
    up(plain)
    up(responder, count=2)
    exchange(plain, responder)
    assert len(responder.told.of("tls")) == 1
    assert plain.told.of("tls") == []
    no_problem(plain, responder)


def test_the_end_is_graceful(peers: Peers, leak_check: LeakCheck) -> None:
    """DELETE, close_notify, FIN; nothing is left behind. [9329-B-notify]"""
    with leak_check():
        initiator, responder = tls_tunnel(peers)
        initiator.peer.stop()
        closed = responder.told.wait_for("connection-closed")
        assert closed["reason"] == "closed by the peer"
        assert responder.told.of("ike-sa-closed")[0]["reason"] == "deleted by the peer"
        responder.peer.stop()
        no_problem(initiator, responder)
        peers.pop_all()


def test_keys_are_logged_together(peers: Peers, tmp_path: Path) -> None:
    """One folder has what decrypts TLS and what decrypts IPsec inside it."""
    responder = peers.responder(tls=responder_tls(), key_log=KeyLog(tmp_path / "r"))
    tls = initiator_tls(tls_port(responder))
    key_log = KeyLog(tmp_path / "i")
    initiator = peers.initiator(free_port(), tls=tls, key_log=key_log)
    up(initiator, responder)
    for side in ("i", "r"):
        path = tmp_path / side / "tls_secrets"
        assert path.stat().st_mode & 0o777 == 0o600
        lines = path.read_text().splitlines()
        labels = {line.partition(" ")[0] for line in lines}
        assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= labels
        assert all(re.fullmatch(r"\w+ [0-9a-f]{64} [0-9a-f]+", line) for line in lines)
        assert (tmp_path / side / "esp_sa").read_text()


def test_without_a_key_log_no_secret_is_asked_for(peers: Peers) -> None:
    """OpenSSL is told to give none away."""
    initiator, responder = tls_tunnel(peers)
    assert initiator.peer._reports.tls_key_log is None
    assert responder.peer._reports.tls_key_log is None


def test_null_cipher(peers: Peers) -> None:
    """[9329-A-null]: TLS without encryption, by both sides' wish."""
    null = {"is_null_allowed": True}
    responder = peers.responder(tls=responder_tls(rsa_certificate(), **null))
    tls = initiator_tls(tls_port(responder), **null)
    initiator = peers.initiator(free_port(), tls=tls)
    up(initiator, responder)
    exchange(initiator, responder)
    (protection,) = protections(initiator)
    assert "NULL" in protection


# --- refusals -------------------------------------------------------------------------

EXPIRED = server_certificate(begin=NOW - 3 * HOUR, end=NOW - 2 * HOUR)
OTHER_NAME = server_certificate(("other.example",))
OTHER_ISSUER = server_certificate(issuer=OTHER_CA)
WRONG_PIN = TlsTrust("gw.example", pins=(bytes(32),))

REFUSALS: dict[str, tuple[Issued, TlsTrust | None, str]] = {
    "expired": (EXPIRED, None, "the server's certificate is refused: it has expired"),
    "name": (OTHER_NAME, None, "the server's certificate is not for gw.example"),
    "CA": (
        OTHER_ISSUER,
        None,
        "the server's certificate is refused: its issuer is not trusted",
    ),
    "pin": (
        SERVER,
        WRONG_PIN,
        "the server's key is not the pinned one, but sha256:"
        + pin_of(SERVER.certificate).hex(),
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_server_that_is_not_believed(peers: Peers, what: str) -> None:
    """Every attempt ends with the same clear sentence, and no session ever begins."""
    issued, trust, words = REFUSALS[what]
    responder = peers.responder(tls=responder_tls(issued))
    port = tls_port(responder)
    tls = initiator_tls(port, trust=trust)
    initiator = peers.initiator(free_port(), tls=tls, transport=QUICK)
    failed = initiator.told.wait_for("connect-failed", 2)
    assert failed["reason"] == f"127.0.0.1 port {port}: TLS: {words}"
    closed = responder.told.wait_for("connection-closed")
    assert str(closed["reason"]).startswith("TLS: ")
    assert initiator.told.of("connection-opened") == []
    assert responder.told.of("ike-sa-established") == []
    no_problem(initiator, responder)


@pytest.mark.parametrize(
    "trust",
    [
        TlsTrust("other.example", pins=(pin_of(OTHER_ISSUER.certificate),)),
        TlsTrust("other.example", is_checked=False),
    ],
)
def test_a_server_that_is_believed_all_the_same(peers: Peers, trust: TlsTrust) -> None:
    """By its key alone, whoever has issued the certificate; or unseen."""
    responder = peers.responder(tls=responder_tls(OTHER_ISSUER))
    tls = initiator_tls(tls_port(responder), trust=trust)
    up(peers.initiator(free_port(), tls=tls), responder)


def test_a_plain_client_on_the_port_of_tls(peers: Peers) -> None:
    """It is not understood, and told nothing; others are served."""
    initiator, responder = tls_tunnel(peers)
    plain = peers.initiator(tls_port(responder), transport=QUICK)
    closed = responder.told.wait_for("connection-closed")
    assert closed["reason"] == "TLS: what comes is not TLS"
    closed = plain.told.wait_for("connection-closed")
    assert closed["reason"] in (
        "closed by the peer",
        "connection lost: Connection reset",
    )
    exchange(initiator, responder)
    no_problem(initiator, responder)


def test_a_tls_client_on_the_plain_port(peers: Peers) -> None:
    """No prefix, no answer. [9329-6.1-noprefix]"""
    responder = peers.responder()
    port = responder.peer.address.port
    tls = initiator_tls(port)
    initiator = peers.initiator(free_port(), tls=tls, transport=QUICK)
    failed = initiator.told.wait_for("connect-failed")
    where = f"127.0.0.1 port {port}: TLS handshake: "
    assert str(failed["reason"]).removeprefix(where) in (
        "the peer closed the connection",
        "connection lost: Connection reset by peer",
    )
    closed = responder.told.wait_for("connection-closed")
    assert closed["reason"] == "stream begins with 16, not 494b45544350"


def test_no_protocol_in_common(peers: Peers) -> None:
    """A server with application protocols refuses who offers others only."""
    responder = peers.responder(tls=responder_tls(alpn=("h2",)))
    port = tls_port(responder)
    tls = initiator_tls(port, alpn=("http/1.1",))
    initiator = peers.initiator(free_port(), tls=tls, transport=QUICK)
    failed = initiator.told.wait_for("connect-failed")
    assert "no application protocol" in str(failed["reason"])
    right = peers.initiator(free_port(), tls=initiator_tls(port, alpn=("x", "h2")))
    up(right, responder)


# --- time and number ------------------------------------------------------------------


def raw_tls_connection(responder: Running) -> socket.socket:
    """Connect to the port of TLS as somebody who may do anything."""
    address, port = responder.peer.tls_address
    return socket.create_connection((str(address), port), PATIENCE_SECONDS)


def test_a_handshake_that_does_not_come_is_ended(peers: Peers) -> None:
    """[9329-6.1-idle]: time for prefix and first message counts from the connection."""
    deadline = 'prefix_deadline = "100ms"'
    responder = peers.responder(tls=responder_tls(), transport=deadline)
    with raw_tls_connection(responder) as silent:
        silent.sendall(b"\x16\x03\x01\x02")  # the beginning of a ClientHello
        assert is_hung_up(silent)
    closed = responder.told.wait_for("connection-closed")
    assert closed["reason"] == "no valid message in time"
    assert responder.told.of("tls") == []
    no_problem(responder)


def test_handshakes_are_limited_in_number(peers: Peers) -> None:
    """[9329-6.1-idle]: they are half-open like any connection without a message."""
    limit = f"{NEVER}\nhalf_open_limit_per_address = 2"
    responder = peers.responder(tls=responder_tls(), transport=limit)
    held = [raw_tls_connection(responder) for _ in range(2)]
    responder.told.wait_for("connection-opened", 2)
    with raw_tls_connection(responder) as third:
        assert is_hung_up(third)
    held.pop().close()
    responder.told.wait_for("connection-closed")
    tls = initiator_tls(tls_port(responder))
    up(peers.initiator(free_port(), tls=tls), responder)
    held.pop().close()


@pytest.mark.parametrize("has_answer", [True, False])
def test_a_server_without_an_answer(peers: Peers, has_answer: bool) -> None:
    """The attempt has its time; a server that accepts and is silent takes no longer."""
    with socket.create_server((LOOPBACK[4], 0)) as listener:
        port = listener.getsockname()[1]
        transport = f'{QUICK}\nconnect_timeout = "100ms"'
        tls = initiator_tls(port)
        initiator = peers.initiator(free_port(), tls=tls, transport=transport)
        accepted, _ = listener.accept()
        with accepted:
            if has_answer:
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            failed = initiator.told.wait_for("connect-failed")
    words = "TLS: what comes is not TLS"
    if not has_answer:
        words = "TLS handshake: nothing came in time"
    assert failed["reason"] == f"127.0.0.1 port {port}: {words}"


def test_stopping_amid_a_handshake(peers: Peers, leak_check: LeakCheck) -> None:
    """Neither end waits for a peer who says nothing."""
    with leak_check(), socket.create_server((LOOPBACK[4], 0)) as listener:
        tls = initiator_tls(listener.getsockname()[1])
        transport = 'connect_timeout = "1d"'
        initiator = peers.initiator(free_port(), tls=tls, transport=transport)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1)
            initiator.peer.stop()
            assert is_hung_up(accepted)
        responder = peers.responder(tls=responder_tls(), transport=NEVER)
        with raw_tls_connection(responder) as silent:
            responder.told.wait_for("connection-opened")
            responder.peer.stop()
            assert is_hung_up(silent)
        no_problem(initiator, responder)
        peers.pop_all()


# --- first choice and fallback --------------------------------------------------------


def test_tls_is_the_fallback(peers: Peers) -> None:
    """[9329-A-config]: plain TCP is refused, TLS is not; after a break it is TLS again.

    With nothing more lost than one attempt.
    """
    responder = peers.responder(tls=responder_tls())
    tls = initiator_tls(tls_port(responder), "fallback")
    initiator = peers.initiator(free_port(), tls=tls, transport=QUICK)
    up(initiator, responder)
    exchange(initiator, responder)
    initiator.peer.cut()
    responder.told.wait_for("mapping-moved")
    exchange(initiator, responder, 1)
    assert len(initiator.told.of("connect-failed")) == 1
    assert [p.endswith("resumed") for p in protections(initiator)] == [False, True]


def test_plain_tcp_comes_first_where_tls_is_the_fallback(peers: Peers) -> None:
    """What needs no TLS does without."""
    responder = peers.responder(tls=responder_tls())
    tls = initiator_tls(tls_port(responder), "fallback")
    initiator = peers.initiator(responder.peer.address.port, tls=tls)
    up(initiator, responder)
    assert protections(initiator) == []


def test_tls_is_the_first_choice(peers: Peers) -> None:
    """[9329-A-config]: plain TCP serves where nobody speaks TLS."""
    responder = peers.responder()
    tls = initiator_tls(free_port(), "first")
    port = responder.peer.address.port
    initiator = peers.initiator(port, tls=tls, transport=QUICK)
    up(initiator, responder)
    assert len(initiator.told.of("connect-failed")) == 1
    with_tls = peers.responder(tls=responder_tls())
    tls = initiator_tls(tls_port(with_tls), "first")
    second = peers.initiator(with_tls.peer.address.port, tls=tls)
    up(second, with_tls)
    assert len(protections(second)) == 1


def test_a_way_that_swallows_everything_is_left(peers: Peers) -> None:
    """A middlebox that accepts and says nothing: the same request goes the other way.

    [9329-6.2-reconnect]
    """
    responder = peers.responder(tls=responder_tls())
    tls = initiator_tls(tls_port(responder), "fallback")
    transport = f'{QUICK}\nconnect_timeout = "200ms"'
    with socket.create_server((LOOPBACK[4], 0)) as listener:
        port = listener.getsockname()[1]
        initiator = peers.initiator(port, tls=tls, transport=transport)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(6) == STREAM_PREFIX
            up(initiator, responder)
    closed = initiator.told.wait_for("connection-closed")
    assert closed["reason"] == "nothing came in time"
    assert initiator.told.of("ike-sa-closed") == []
    exchange(initiator, responder)


def test_a_way_that_is_always_silent_when_connecting(peers: Peers) -> None:
    """SYNs that nobody answers have their time, too."""
    responder = peers.responder(tls=responder_tls())
    tls = initiator_tls(tls_port(responder), "fallback")
    transport = f'{QUICK}\nconnect_timeout = "200ms"'
    with unanswering_port() as port:
        initiator = peers.initiator(port, tls=tls, transport=transport)
        up(initiator, responder)


@pytest.mark.parametrize("addresses", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_every_address_is_tried_on_every_way(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, str]
) -> None:
    """Two addresses and two ways are four possibilities; one of them works."""
    found = tuple(map(ip_address, addresses))
    monkeypatch.setattr(initiator_module, "resolve_host", lambda host: found)
    responder = peers.responder(tls=responder_tls())
    told = Recorder()
    configuration = initiator_configuration(
        free_port(), "both.example", transport=QUICK
    )
    tls = initiator_tls(tls_port(responder), "fallback")
    initiator = Initiator(replace(configuration, tls=tls), [told])
    up(peers.start(initiator, told), responder)
    failures = 2 + addresses.index("127.0.0.1")
    assert len(told.of("connect-failed")) == failures
    initiator.cut()
    responder.told.wait_for("mapping-moved")
    assert len(told.of("connect-failed")) == failures, "what has worked comes first"


def test_both_ways_in_turn(peers: Peers) -> None:
    """Where none works, each is tried as often as the other."""
    plain, secure = free_port(), free_port()
    tls = initiator_tls(secure, "first")
    initiator = peers.initiator(plain, tls=tls, transport=QUICK)
    initiator.told.wait_for("connect-failed", 4)
    reasons = [str(e["reason"]) for e in initiator.told.of("connect-failed")[:4]]
    ports = [int(re.findall(r"port (\d+)", reason)[0]) for reason in reasons]
    assert ports == [secure, plain, secure, plain]
