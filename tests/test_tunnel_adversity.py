"""Transfers through the tunnel while what carries it breaks: RST, and a new address.

The stage is that of :mod:`test_tunnel_namespaces`. TCP inside the tunnel sees some
packets lost and mends that; the SAs are the same before and after.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from pyroute2 import IPRoute

from iketcp.config.issuing import write_tls_files
from peer_support import LOOPBACK, PATIENCE_SECONDS, Process, Recorder, reset
from test_tunnel_namespaces import (
    INITIATOR,
    INNER_EAST,
    OUTER,
    POOL,
    RESPONDER,
    SITE,
    Stage,
    on_stage,
)

CUTS = 20
OCTETS = 10 << 20
EVERY = OCTETS // (CUTS + 2)
"""Octets that a connection may carry before it is cut: all cuts fall inside."""

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
OLD_WEST = {4: ("192.0.2.1", 24), 6: ("2001:db8::1", 64)}
NEW_WEST = {4: ("192.0.2.3", 24), 6: ("2001:db8::3", 64)}
NO_DAD = 2
"""IFA_F_NODAD: an IPv6 address that serves at once."""


class Followed:
    """A peer's process, and everything that it tells."""

    def __init__(self, process: Process) -> None:
        self._child = process.child
        self.told = Recorder()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            event = json.loads(line)
            self.told(event.pop("time"), event.pop("kind"), event)

    def end(self) -> None:
        """End the process, which has to be content."""
        self._child.send_signal(signal.SIGTERM)
        assert self._child.wait(PATIENCE_SECONDS) == 0
        self._reader.join(PATIENCE_SECONDS)
        assert self.told.of("problem") == []


def ended(initiator: Followed, responder: Followed) -> None:
    """Want the SAs of the beginning to be there still, and end both peers."""
    for peer in (initiator, responder):
        for kind in ("ike-sa-closed", "ike-sa-rekeyed", "child-sa-removed"):
            assert peer.told.of(kind) == []
    # the initiator's own was told before it was followed
    assert initiator.told.of("ike-sa-established") == []
    assert len(responder.told.of("ike-sa-established")) == 1
    initiator.end()
    closed = responder.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    responder.end()


def followed(
    built: Stage, address: str, port: int = 4500, ike: str = "", is_tls: bool = False
) -> tuple[Followed, Followed]:
    """Start both peers and follow them: initiator, responder."""
    timeout = '[transport]\nuser_timeout = "1s"\n'
    text = RESPONDER.format(local_ts=SITE, pool=POOL, tun="") + timeout
    if is_tls:
        write_tls_files(built.folder, [address])
        text += '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
    responder = built.start("responder", text)
    text = INITIATOR.format(address=address, remote_ts=SITE, ike=ike, tun="")
    where = f'address = "{address}"\n'
    if is_tls:
        text += f'[tls]\nport = {port}\nca = "ca.pem"\n'
    text = text.replace(where, f"{where}port = {port + is_tls}\n")
    initiator = built.start("initiator", text.replace("[transport]\n", timeout))
    return Followed(initiator), Followed(responder)


# --- transfers ------------------------------------------------------------------------


def hash_of(sock: socket.socket, note: Callable[[int], object]) -> str:
    """Read to the end; ``note`` is told how much has come."""
    digest, count = hashlib.sha256(), 0
    with sock:
        sock.settimeout(PATIENCE_SECONDS)
        while part := sock.recv(65536):
            digest.update(part)
            count += len(part)
            note(count)
    return digest.hexdigest()


@contextlib.contextmanager
def transfer(
    built: Stage,
    version: int,
    is_upward: bool,
    octets: bytes,
    note: Callable[[int], object] = lambda count: None,
    may_go_on: Callable[[], object] = lambda: None,
) -> Iterator[Future[str]]:
    """Send octets over TCP inside the tunnel, from west to east if it is upward.

    ``may_go_on`` is called by the sender when it has sent one half. What is yielded
    will be the hash of what arrived.
    """
    where = (INNER_EAST[version], 9329)
    listener = built.in_the_east(
        lambda: socket.create_server(where, family=FAMILY[version])
    )

    def send(sock: socket.socket) -> None:
        half = len(octets) // 2
        with sock:
            sock.settimeout(PATIENCE_SECONDS)
            sock.sendall(octets[:half])
            may_go_on()
            sock.sendall(octets[half:])

    with listener, ThreadPoolExecutor(2) as pool:
        west = socket.create_connection(where, PATIENCE_SECONDS)
        east, _ = listener.accept()
        source, target = (west, east) if is_upward else (east, west)
        arriving = pool.submit(hash_of, target, note)
        sending = pool.submit(send, source)
        yield arriving
        sending.result(PATIENCE_SECONDS)


# --- RST ------------------------------------------------------------------------------


class Cutter:
    """A relay that resets its first connections, both ways, after so many octets."""

    def __init__(self, version: int, port: int) -> None:
        self._version = version
        self._port = port
        self._listener = socket.create_server(
            (LOOPBACK[version], 0), family=FAMILY[version]
        )
        self.port: int = self._listener.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self.cuts = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join(PATIENCE_SECONDS)
        self._listener.close()
        self._stopped.close()

    def _run(self) -> None:
        while (
            self._stopped
            not in select.select([self._listener, self._stopped], [], [])[0]
        ):
            near, _ = self._listener.accept()
            far = socket.create_connection(
                (OUTER[self._version], self._port), PATIENCE_SECONDS
            )
            with near, far:
                if self._relay(near, far):
                    self.cuts += 1
                    reset(near)
                    reset(far)

    def _relay(self, near: socket.socket, far: socket.socket) -> bool:
        """Pass octets on; true when it is time to cut."""
        other, carried = {near: far, far: near}, 0
        while self.cuts >= CUTS or carried < EVERY:
            ready, _, _ = select.select([near, far, self._stopped], [], [])
            for sock in ready:
                octets = b"" if sock is self._stopped else sock.recv(65536)
                if not octets:
                    return False
                other[sock].sendall(octets)
                carried += len(octets)
        return True


@pytest.mark.parametrize(
    ("version", "is_upward", "is_tls"),
    [
        (4, True, False),
        (4, False, False),
        (6, True, False),
        (6, False, False),
        (6, True, True),
    ],
)
@on_stage
def test_rst_twenty_times_in_a_transfer(
    built: Stage, version: int, is_upward: bool, is_tls: bool
) -> None:
    """TCP inside mends what each break loses; no SA is made anew. RFC 9329 §6.1

    With TLS every connection resumes the session of the one before. [9329-A-resume]
    """
    octets = random.Random(version).randbytes(OCTETS)
    with Cutter(version, 443 if is_tls else 4500) as cutter:
        where = (LOOPBACK[version], cutter.port)
        initiator, responder = followed(built, *where, is_tls=is_tls)
        with transfer(built, version, is_upward, octets) as arriving:
            for peer in (initiator, responder):
                peer.told.wait_for("connection-closed", CUTS)
            wanted = hashlib.sha256(octets).hexdigest()
            assert arriving.result(PATIENCE_SECONDS) == wanted
        assert cutter.cuts == CUTS
        assert len(initiator.told.of("connection-opened")) == CUTS
        assert len(initiator.told.of("connection-closed")) == CUTS
        for event in initiator.told.of("tls"):
            assert str(event["protection"]).endswith(" resumed")
        assert len(initiator.told.of("tls")) == CUTS * is_tls
        ended(initiator, responder)


# --- a new address --------------------------------------------------------------------


def move(version: int) -> None:
    """Take the old address from the west, and give it a new one."""
    with IPRoute(groups=0) as netlink:
        (index,) = netlink.link_lookup(ifname="wire0")
        flags = {"flags": NO_DAD} if version == 6 else {}
        for verb, (address, size) in (
            ("del", OLD_WEST[version]),
            ("add", NEW_WEST[version]),
        ):
            netlink.addr(verb, index=index, address=address, prefixlen=size, **flags)


@pytest.mark.parametrize("is_upward", [True, False])
@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_the_address_changes_in_a_transfer(
    built: Stage, version: int, is_upward: bool
) -> None:
    """The old connection is given up, and the session goes on over a new one.

    Who sends notices by its own packets; who only receives, by asking whether the peer
    is there. [9329-6.1-address] [9329-6.1-reestablish] RFC 9329 §6.7
    """
    octets = random.Random(version).randbytes(OCTETS)
    has_come, is_moved = threading.Event(), threading.Event()

    def note(count: int) -> None:
        if count > OCTETS // 4:
            has_come.set()

    initiator, responder = followed(built, OUTER[version], ike='liveness = "1s"')
    with transfer(
        built,
        version,
        is_upward,
        octets,
        note,
        lambda: is_moved.wait(PATIENCE_SECONDS),
    ) as arriving:
        assert has_come.wait(PATIENCE_SECONDS)
        move(version)
        is_moved.set()
        moved = responder.told.wait_for("mapping-moved")
        assert arriving.result(PATIENCE_SECONDS) == hashlib.sha256(octets).hexdigest()
    new, _ = NEW_WEST[version]
    opened = initiator.told.of("connection-opened")[-1]
    assert str(opened["local"]).startswith(f"{new} ")
    opened = responder.told.of("connection-opened")[-1]
    assert str(opened["remote"]).startswith(f"{new} ")
    assert moved["to"] == 2
    for peer in (initiator, responder):
        closed = peer.told.wait_for("connection-closed")
        assert closed["connection"] == 1
        assert str(closed["reason"]).startswith("connection lost")
    ended(initiator, responder)
