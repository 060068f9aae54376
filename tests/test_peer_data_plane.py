"""Peers whose packets the kernel carries: what it is told, and what they do without."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from conftest import LeakCheck
from iketcp.config import Configuration
from iketcp.config.model import TunConfig
from iketcp.effects import ChildSaInstalled, ConnectionId, Transmit
from iketcp.endpoint import Endpoint
from iketcp.errors import EnvironmentProblem
from iketcp.net.espintcp import require_espintcp
from iketcp.net.tcp import TcpConnection
from iketcp.net.xfrm import XfrmRefusal
from iketcp.peers import Initiator, Peer, Responder, data_plane
from iketcp.peers.data_plane import COUNT_SECONDS, KernelPlane, UserPlane
from iketcp.peers.lines import Lines
from iketcp.xfrm.layout import AttributeKind, MessageKind, Request, attribute
from pair import EAST, WEST, Pair
from peer_support import (
    Peers,
    Recorder,
    Running,
    initiator_configuration,
    process,
    responder_configuration,
    up,
    write_secret,
)
from test_cli import RESPONDER as FILE
from xfrm_parts import refusal

IF_ID = 9


class PlayedKernel:
    """Notes what it is asked, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.refused: frozenset[MessageKind] = frozenset()
        self.went_through = 0
        self.numbers = bytes(range(28))
        self.is_closed = False

    def ask(self, request: Request) -> bytes:
        assert not self.is_closed
        self.asked.append(request)
        if request.kind in self.refused:
            raise XfrmRefusal(f"cannot {request.what}: no", errno.EINVAL)
        if request.kind is not MessageKind.GET_SA:
            return b""
        info = bytearray(224)
        info[160:168] = (self.went_through * 100).to_bytes(8, "little")
        info[168:176] = self.went_through.to_bytes(8, "little")
        return bytes(info) + attribute(AttributeKind.REPLAY_ESN_VAL, self.numbers)

    def kinds(self) -> list[str]:
        return [request.kind.name.lower() for request in self.asked]

    def told(self) -> list[str]:
        """The same without questions, which come from time to time."""
        return [kind for kind in self.kinds() if kind != "get_sa"]

    def left(self) -> int:
        """How many SAs and policies it should still have."""
        made = sum(
            r.kind is MessageKind.NEW_SA or r.kind is MessageKind.UPDATE_POLICY
            for r in self.asked
        )
        return made - sum(request.is_removal for request in self.asked)

    def close(self) -> None:
        self.is_closed = True


class Scene:
    """A pair of endpoints, and a kernel that carries for the one in the east."""

    def __init__(self) -> None:
        self.pair = Pair()
        self.kernel = PlayedKernel()
        self.complaints: list[str] = []
        self.endpoint: Endpoint = self.pair.east.endpoint
        self.plane = KernelPlane(
            self.endpoint,
            self.kernel,  # type: ignore[arg-type]
            IF_ID,
            self.complaints.append,
        )

    def news(self) -> list[str]:
        """What the kernel is told now."""
        self.kernel.asked.clear()
        self.plane.follow()
        return self.kernel.kinds()


INSTALLED = ["new_sa", "new_sa", *["update_policy"] * 3]
REMOVED = [*["delete_policy"] * 3, "delete_sa", "delete_sa"]


def test_the_kernel_follows_the_endpoint() -> None:
    scene = Scene()
    assert scene.news() == []
    first = scene.pair.up()
    assert scene.news() == INSTALLED
    assert scene.news() == []
    scene.pair.break_connection(first)
    assert scene.news() == []
    scene.pair.connect()
    scene.pair.settle()
    assert scene.news() == ["update_sa"]
    scene.pair.run(EAST, scene.endpoint.delete_all(scene.pair.now))
    scene.pair.settle()
    assert scene.news() == REMOVED
    assert scene.complaints == []


def test_an_sa_that_moves_takes_its_numbers_along() -> None:
    """Asked for, removed, and made again with what was answered. RFC 4303 §3.3.3."""
    scene = Scene()
    first = scene.pair.up()
    scene.plane.follow()
    scene.pair.break_connection(first)
    scene.pair.connect(address="203.0.113.5")
    scene.pair.settle()
    renewal = ["get_sa", "delete_sa", "new_sa"]
    assert scene.news() == [*renewal, *renewal, "update_policy"]
    made = [r for r in scene.kernel.asked if r.kind is MessageKind.NEW_SA]
    assert all(scene.kernel.numbers in request.body for request in made)


def test_without_its_numbers_an_sa_is_not_made_again() -> None:
    """It would use every number twice under the same key."""
    scene = Scene()
    first = scene.pair.up()
    scene.plane.follow()
    scene.pair.break_connection(first)
    scene.pair.connect(address="203.0.113.5")
    scene.pair.settle()
    scene.kernel.refused = frozenset({MessageKind.GET_SA})
    assert scene.news() == ["get_sa", "get_sa", "update_policy"]
    assert len(scene.complaints) == 2


def test_a_child_sa_receives_before_its_answer_is_sent() -> None:
    """RFC 7296 §2.8: the peer may send as soon as it has our answer."""
    scene = Scene()
    scene.pair.up()
    scene.plane.follow()
    done: list[str] = []
    lines = Lines()
    lines.prepare = scene.plane.prepare

    class Wire:
        def send(self, octets: bytes, droppable: bool) -> bool:
            done.extend(scene.kernel.kinds())
            done.append("answer")
            return True

    id = ConnectionId(1)
    lines.add(id, Wire())  # type: ignore[arg-type]
    scene.pair.rekey_child(WEST)
    ((_, _, request),) = scene.pair.wire
    receive = scene.endpoint.octets_received
    scene.kernel.asked.clear()
    rest = lines.take(id, partial(receive, id, request, scene.pair.now))
    assert done == ["new_sa", "new_sa", "answer"]
    assert any(isinstance(effect, ChildSaInstalled) for effect in rest)
    done.clear()
    scene.kernel.asked.clear()
    lines.take(id, lambda: [Transmit(id, b"")])
    assert done == ["answer"]


def test_what_the_kernel_refuses_is_told_of_once() -> None:
    scene = Scene()
    scene.kernel.refused = frozenset({MessageKind.NEW_SA})
    scene.pair.up()
    assert scene.news() == INSTALLED
    assert [c.split(" 0x")[0] for c in scene.complaints] == [
        "cannot install the inbound SA",
        "cannot install the outbound SA",
    ]
    assert scene.news() == []
    assert len(scene.complaints) == 2


def test_selectors_that_are_too_fine_are_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iketcp.xfrm.plan.MAX_SELECTORS", 0)
    scene = Scene()
    scene.pair.up()
    assert scene.news() == []
    (complaint,) = scene.complaints
    assert complaint.startswith("the kernel cannot carry Child SA net: its traffic sel")
    assert scene.news() == []
    assert len(scene.complaints) == 1


def test_what_the_kernel_has_carried_is_counted_from_time_to_time() -> None:
    scene = Scene()
    scene.pair.up()
    scene.plane.follow()
    scene.kernel.went_through = 7
    ((_, live),) = scene.endpoint.tables.children.items()
    scene.plane.count(100.0)
    assert (live.esp.used_packets, live.esp.used_octets) == (7, 700)
    scene.kernel.went_through = 8
    scene.plane.count(100.0 + COUNT_SECONDS / 2)
    assert live.esp.used_packets == 7
    scene.plane.count(100.0 + COUNT_SECONDS)
    assert live.esp.used_packets == 8
    scene.kernel.refused = frozenset({MessageKind.GET_SA})
    scene.plane.count(200.0)
    assert live.esp.used_packets == 8
    assert scene.complaints == []


def test_nothing_is_left_at_the_end() -> None:
    scene = Scene()
    scene.pair.up()
    scene.plane.follow()
    assert scene.kernel.left() == 5
    scene.plane.close()
    scene.plane.close()
    assert scene.kernel.left() == 0
    assert scene.kernel.is_closed
    scene.plane.follow()
    scene.plane.count(100.0)


def test_in_user_space_there_is_nothing_to_tell() -> None:
    plane = UserPlane()
    plane.prepare([])
    plane.follow()
    plane.count(0.0)
    plane.close()


# --- whole peers ----------------------------------------------------------------------


def kernel_configuration(configuration: Configuration) -> Configuration:
    """The same, but for who carries packets; the tunnel device stays in memory."""
    tun: TunConfig = replace(configuration.tun, dataplane="kernel")
    return replace(configuration, tun=tun)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[PlayedKernel]:
    """The kernel of each peer, in the order in which they are made."""
    played: list[PlayedKernel] = []

    def another() -> PlayedKernel:
        played.append(PlayedKernel())
        return played[-1]

    monkeypatch.setattr(data_plane, "require_espintcp", lambda: None)
    monkeypatch.setattr(data_plane, "XfrmSocket", another)

    def as_it_is(carrier: TcpConnection, is_tcp_originator: bool) -> TcpConnection:
        return carrier

    for name in ("dialer", "responder"):
        monkeypatch.setattr(f"iketcp.peers.{name}.EspInTcpConnection", as_it_is)
    return played


@pytest.fixture
def peers() -> Iterator[Peers]:
    with Peers() as started:
        yield started


def start(peers: Peers) -> tuple[Running, Running]:
    """Both, with the kernel's data plane: initiator, responder."""
    told = Recorder()
    configuration = kernel_configuration(responder_configuration())
    responder = peers.start(Responder(configuration, [told]), told)
    told = Recorder()
    port = responder.peer.address.port
    configuration = kernel_configuration(initiator_configuration(port))
    return peers.start(Initiator(configuration, [told]), told), responder


def test_peers_tell_their_kernels(
    peers: Peers, kernels: list[PlayedKernel], leak_check: LeakCheck
) -> None:
    """From the handshake to the good-bye, with a new connection in between."""
    initiator, responder = start(peers)
    up(initiator, responder)
    ours, theirs = kernels[1], kernels[0]
    assert ours.told() == theirs.told() == INSTALLED
    # what one sends with, the other receives with
    keys = [[request.body[300:336] for request in k.asked[:2]] for k in kernels]
    assert keys[0] == keys[1][::-1]
    initiator.peer.cut()
    initiator.until(lambda: "update_sa" in ours.kinds())
    responder.until(lambda: "update_sa" in theirs.kinds())
    peers.close()
    assert [kernel.left() for kernel in kernels] == [0, 0]
    assert all(kernel.is_closed for kernel in kernels)


def test_a_kernel_that_refuses_ends_nobody(
    peers: Peers, kernels: list[PlayedKernel]
) -> None:
    told = Recorder()
    configuration = kernel_configuration(responder_configuration())
    responder = peers.start(Responder(configuration, [told]), told)
    kernels[0].refused = frozenset({MessageKind.NEW_SA})
    peers.initiator(responder.peer.address.port)
    assert "cannot install" in str(told.wait_for("problem")["text"])
    up(responder)


# --- this kernel ----------------------------------------------------------------------


def obstacle() -> str:
    """What this kernel says, if it has no ESP in TCP."""
    return str(refusal(require_espintcp) or "")


MAKERS: list[Callable[[], Peer]] = [
    lambda: Initiator(kernel_configuration(initiator_configuration(4500))),
    lambda: Responder(kernel_configuration(responder_configuration())),
]


@pytest.mark.parametrize("make", MAKERS, ids=["initiator", "responder"])
def test_a_kernel_without_it_says_so_before_anything_is_begun(
    make: Callable[[], Peer],
    leak_check: LeakCheck,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = obstacle() or "scripted: no ESP in TCP"
    if not obstacle():

        def refuse() -> None:
            raise EnvironmentProblem(sentence)

        monkeypatch.setattr(data_plane, "require_espintcp", refuse)
    with leak_check(), pytest.raises(EnvironmentProblem) as caught:
        make()
    assert str(caught.value) == sentence


def test_the_command_line_says_so_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Exit code 2 and the one sentence."""
    folder = tmp_path_factory.mktemp("kernel")
    write_secret(folder)
    text = FILE.format(port=4500).replace('mode = "memory"', 'dataplane = "kernel"')
    (folder / "gw.toml").write_text(text, "utf-8")
    if not (sentence := obstacle()):
        pytest.skip("this kernel has ESP in TCP: tests/test_net_espintcp.py uses it")
    with process("responder", "-c", folder / "gw.toml") as responder:
        code, errors = responder.end()
    assert code == 2
    assert sentence in errors.replace("\n", " ")
