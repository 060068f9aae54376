"""The control socket of a running peer: who may ask, what is answered."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import LeakCheck
from iketcp.environment import ScriptedClock
from iketcp.errors import EnvironmentProblem
from iketcp.peers import control
from iketcp.peers.control import MAX_LINE, ControlServer, ask
from peer_support import (
    PATIENCE_SECONDS,
    Peers,
    Running,
    eventually,
    exchange,
    is_hung_up,
    raw_connection,
    responder_configuration,
)


class Served:
    """A tunnel whose initiator answers on a control socket."""

    def __init__(self, peers: Peers, path: Path) -> None:
        self.path = path
        self.initiator, self.responder = peers.tunnel()
        self.asked_to_end = threading.Event()
        self.server = serve(self.initiator, path, self.asked_to_end.set)

    def client(self) -> socket.socket:
        """Connect as a client that may do anything."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(str(self.path))
        return client

    def ask(self, command: str, **more: object) -> Any:
        """Ask as the command line does."""
        return ask(self.path, {"command": command, **more}, PATIENCE_SECONDS)


def serve(
    running: Running, path: Path, ask_to_end: Any, client_seconds: float = 1e6
) -> ControlServer:
    """Serve a control socket beside a peer."""
    server = ControlServer(running.peer, path, ask_to_end, client_seconds)
    running.peer.serve("control", server.run, server.stop)
    return server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A tunnel with a control socket."""
    with Peers() as peers:
        yield Served(peers, tmp_path / "new" / "peer.sock")


def lines(client: socket.socket, octets: bytes, count: int = 1) -> list[Any]:
    """Send octets and read that many answers."""
    client.sendall(octets)
    with client.makefile("rb") as file:
        return [json.loads(file.readline()) for _ in range(count)]


# --- what is answered -----------------------------------------------------------------


def test_status(served: Served) -> None:
    """SAs, connections, counters and rates, as JSON. RFC 4301 §4.4.2"""
    exchange(served.initiator, served.responder)
    answer = served.ask("status")
    assert set(answer) == {
        "role",
        "up_seconds",
        "tunnel",
        "rates",
        "udp",
        "ike_sas",
        "child_sas",
        "connections",
        "half_open",
        "dropped",
        "closed",
    }
    assert answer["role"] == "initiator"
    assert answer["up_seconds"] >= 0
    assert answer["tunnel"] == {
        "device": "iketcp0",
        "mtu": 1438,
        "addresses": [],
        "dns_servers": [],
        "dropped_packets": 0,
    }
    assert set(answer["rates"]) == {"bits_per_second_in", "bits_per_second_out"}
    (ike,), (child,) = answer["ike_sas"], answer["child_sas"]
    assert ike["remote_identity"] == "gw.example"
    assert ike["child_sas"] == [child["spi_in"]]
    assert child["name"] == "net"
    assert child["packets_in"] >= 1
    assert child["packets_out"] >= 1
    (connection,) = answer["connections"]
    assert connection["is_current"]
    assert connection["octets_in"] > 400
    assert connection["queued_octets"] == connection["dropped_batches"] == 0
    assert answer["closed"] == {}
    for counts in answer["half_open"].values():
        assert counts["now"] == counts["refused"] == counts["timed_out"] == 0


def test_status_shows_limits_and_what_met_them(tmp_path: Path) -> None:
    """Strangers: how many, how many may, were refused, waited. [9329-6.1-idle]"""
    limits = "half_open_limit = 3\nhalf_open_limit_per_address = 2"
    clock = ScriptedClock()
    with Peers() as peers:
        responder = peers.responder(transport=limits, clock=clock)
        path = tmp_path / "peer.sock"
        serve(responder, path, lambda: None)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(raw_connection(responder)) for _ in "123"]
            connections = responder.peer.endpoint.map.half_open
            eventually(lambda: connections.refused == 1, "a refusal")
            clock.advance(10.0)
            assert all(is_hung_up(client) for client in clients)
        responder.told.wait_for("connection-closed", 2)
        answer = ask(path, {"command": "status"}, PATIENCE_SECONDS)
    assert answer["half_open"] == {
        "connections": {
            "now": 0,
            "limit": 3,
            "limit_per_address": 2,
            "deadline_seconds": 10.0,
            "refused": 1,
            "timed_out": 2,
        },
        "ike_sas": {
            "now": 0,
            "limit": 3,
            "limit_per_address": 2,
            "deadline_seconds": 30.0,
            "refused": 0,
            "timed_out": 0,
        },
    }
    assert answer["closed"] == {"no valid message in time": 2}


def test_status_holds_no_key(served: Served) -> None:
    """No key of any SA is in what is shown."""
    text = json.dumps(served.ask("status"))
    tables = served.initiator.peer.endpoint.tables
    ((sa, _),) = tables.ike_sas.values()
    (live,) = tables.children.values()
    parameters = live.esp.parameters
    for key in (sa.keys.sk_d, sa.keys.sk_ei, parameters.encryption_key_in):
        assert key.hex() not in text


def test_a_client_may_ask_again(served: Served) -> None:
    """Several requests on one connection, in one packet or octet by octet."""
    request = b'{"command": "status"}\n'
    with served.client() as client:
        answers = lines(client, request * 3, 3)
        for octet in request:
            client.sendall(bytes([octet]))
        answers += lines(client, b"", 1)
    assert [answer["role"] for answer in answers] == ["initiator"] * 4


def test_rekey_child(served: Served) -> None:
    """Rekeys every Child SA of a name, and knows names that there are not."""
    assert served.ask("rekey-child", name="net") == {"done": "rekey-child"}
    served.initiator.told.wait_for("child-sa-rekeyed")
    served.responder.told.wait_for("child-sa-removed")
    exchange(served.initiator, served.responder)
    assert served.ask("rekey-child", name="nat") == {
        "error": "there is no Child SA named 'nat'"
    }
    assert served.ask("rekey-child") == {"error": "there is no Child SA named ''"}


def test_rekey_ike(served: Served) -> None:
    """Rekeys the IKE SA."""
    assert served.ask("rekey-ike") == {"done": "rekey-ike"}
    served.initiator.told.wait_for("ike-sa-rekeyed")
    exchange(served.initiator, served.responder)


def test_cut(served: Served) -> None:
    """Resets the TCP connection; the tunnel comes back."""
    assert served.ask("cut") == {"cut": 1}
    served.responder.told.wait_for("mapping-moved")
    exchange(served.initiator, served.responder)


def test_delete(served: Served) -> None:
    """Asks whoever runs the peer to end it."""
    assert served.ask("delete") == {"done": "delete"}
    assert served.asked_to_end.is_set()


WANTED = {"error": "a JSON object with a command is wanted"}
WRONG = {
    b"status": WANTED,
    b"": WANTED,
    b"{}": WANTED,
    b"[]": WANTED,
    b'"command"': WANTED,
    b"7": WANTED,
    b"\xff\xfe": WANTED,
    b"[" * 60000: WANTED,
    b'{"command": null}': {"error": "unknown command 'None'"},
    b'{"command": ["status"]}': {"error": "unknown command \"['status']\""},
    b'{"command": "end"}': {"error": "unknown command 'end'"},
    b'{"command": "%s"}' % (b"a" * 999): {"error": f"unknown command '{'a' * 64}'"},
}


def test_wrong_requests_get_one_sentence(served: Served) -> None:
    """Whatever a line holds, it is answered, and the next one too."""
    with served.client() as client:
        for octets, answer in WRONG.items():
            assert lines(client, octets + b"\n") == [answer]
        (answer,) = lines(client, b'{"command": "status"}\n')
    assert answer["role"] == "initiator"


def test_an_endless_line_is_not_kept(served: Served) -> None:
    """Past the longest line the client is told, and hung up on."""
    with served.client() as client:
        (answer,) = lines(client, b"x" * (MAX_LINE + 1))
        assert answer == {"error": f"a line has at most {MAX_LINE} octets"}
        assert is_hung_up(client)
    assert served.ask("status")["role"] == "initiator"


# --- who may ask, and how long --------------------------------------------------------


def test_only_the_owner_may_ask(served: Served) -> None:
    """Whoever may write to the socket may end the tunnel."""
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("octets", [b"", b'{"command": "sta'])
def test_a_client_that_waits_too_long_is_hung_up_on(
    tmp_path: Path, octets: bytes
) -> None:
    """A silent client, or one that never ends its line, makes room for others."""
    path = tmp_path / "peer.sock"
    with Peers() as peers:
        running = peers.responder()
        serve(running, path, None, client_seconds=0.05)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(octets)
            assert is_hung_up(client)
        answer = ask(path, {"command": "status"}, PATIENCE_SECONDS)
    assert answer["role"] == "responder"


@pytest.mark.parametrize("octets", [b"", b'{"command": "sta'])
def test_a_stalling_client_does_not_keep_the_peer(
    served: Served, octets: bytes
) -> None:
    """Somebody who asks and never goes on does not hold up the end."""
    with served.client() as client:
        lines(client, b'{"command": "status"}\n')
        client.sendall(octets)
        served.initiator.peer.stop()
        assert is_hung_up(client)
    assert served.initiator.told.of("problem") == []
    assert not served.path.exists()


def test_a_client_that_takes_no_answer_does_not_keep_the_peer(served: Served) -> None:
    """Answers that nobody reads fill the socket, and then nothing else."""
    request = b'{"command": "status"}\n'
    with served.client() as client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while client.send(request * 100):
                pass
        served.initiator.peer.stop()
    assert served.initiator.told.of("problem") == []


# --- the file -------------------------------------------------------------------------


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket that nobody answers on was left by a peer that died."""
    path = tmp_path / "peer.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Peers() as peers:
        serve(peers.responder(), path, None)
        answer = ask(path, {"command": "status"}, PATIENCE_SECONDS)
        assert answer["role"] == "responder"
    assert not path.exists()


def test_a_live_socket_is_refused(served: Served, leak_check: LeakCheck) -> None:
    """Two peers cannot answer on one socket; the first one stays."""
    with leak_check(), pytest.raises(EnvironmentProblem) as raised:
        ControlServer(served.responder.peer, served.path, lambda: None)
    assert str(raised.value) == f"another peer already answers on {served.path}"
    assert served.ask("status")["role"] == "initiator"


def test_a_busy_socket_is_live(tmp_path: Path) -> None:
    """A full backlog is no sign of death."""
    path = tmp_path / "peer.sock"
    with socket.socket(socket.AF_UNIX) as busy, Peers() as peers:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            for client in (one, two):
                client.setblocking(False)
                client.connect_ex(str(path))
            with pytest.raises(EnvironmentProblem, match="already answers"):
                ControlServer(peers.responder().peer, path, lambda: None)


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    """What is no socket is somebody's, and stays."""
    path = tmp_path / "peer.sock"
    path.write_text("mine")
    with Peers() as peers, pytest.raises(EnvironmentProblem) as raised:
        ControlServer(peers.responder().peer, path, lambda: None)
    reason = "Address already in use"
    assert str(raised.value) == f"cannot make the control socket {path}: {reason}"
    assert path.read_text() == "mine"


def test_a_socket_of_somebody_else_is_not_removed(served: Served) -> None:
    """Whoever took the place of our socket keeps it when we end."""
    served.path.unlink()
    served.path.write_text("mine")
    served.initiator.peer.stop()
    assert served.path.read_text() == "mine"


def test_a_path_too_long_is_said(tmp_path: Path) -> None:
    """The system takes about a hundred octets."""
    path = tmp_path / ("a" * 200)
    with Peers() as peers, pytest.raises(EnvironmentProblem, match="path too long"):
        ControlServer(peers.responder().peer, path, lambda: None)


# --- the asking side ------------------------------------------------------------------


def test_nobody_answers(tmp_path: Path) -> None:
    """One sentence, whatever stands at the path."""
    path = tmp_path / "peer.sock"
    reason = "No such file or directory"
    with pytest.raises(EnvironmentProblem) as raised:
        ask(path, {"command": "status"})
    assert str(raised.value) == f"no running peer answers on {path}: {reason}"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(EnvironmentProblem) as raised:
            ask(path, {"command": "status"}, timeout_seconds=0.05)
    assert str(raised.value) == f"no running peer answers on {path}: timed out"


def test_a_short_answer_is_none(tmp_path: Path) -> None:
    """The peer ended in the middle of its answer."""
    path = tmp_path / "peer.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(b'{"role": ')

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EnvironmentProblem, match="no answer from the peer on"):
            ask(path, {"command": "status"}, PATIENCE_SECONDS)
        thread.join()


def test_a_shortage_of_descriptors_is_waited_out(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can be accepted for a moment; then somebody can."""
    listener = served.server._socket
    refusals = [OSError(24, os.strerror(24))]

    class Short:
        def accept(self) -> Any:
            if refusals:
                raise refusals.pop()
            return listener.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(listener, name)

    monkeypatch.setattr(served.server, "_socket", Short())
    assert served.ask("status")["role"] == "initiator"


def test_tables_that_change_meanwhile_are_read_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status takes no lock, so a table may grow while it is read."""
    real, troubles = control.snapshot, [RuntimeError("changed size")] * 3

    def unlucky(*arguments: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return real(*arguments)

    monkeypatch.setattr(control, "snapshot", unlucky)
    assert served.ask("status")["role"] == "initiator"
    assert not troubles


def test_configured_socket(tmp_path: Path) -> None:
    """The configuration says where."""
    path = str(tmp_path / "here.sock")
    assert responder_configuration(control=path).control.socket == Path(path)
