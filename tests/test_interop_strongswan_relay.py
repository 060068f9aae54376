"""Our relay beside strongSwan, as ``docs/relay.md`` has it, on one host.

::

    west: ours, one or a hundred               east: strongSwan and the relay
    192.0.2.1      wire0 ================ wire1      192.0.2.2, 10.1.0.1
    10.1.0.2, where ours responds

What strongSwan and the initiator are told is the text of the documents, so that it is
tried. Over TCP with and without TLS.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP

from iketcp.config import parse
from iketcp.config.issuing import write_tls_files
from iketcp.config.relay import RelayConfig, read_authorities, read_identity
from iketcp.net.tls_options import TlsTrust
from iketcp.peers import Initiator, Responder
from interop_stage import PORT, TCP_WAYS, Way, start_relay
from namespaces import (
    NamespaceThread,
    require_or_skip,
    run_in_namespace,
    tun_obstacle,
)
from peer_support import SECRET, Recorder, Running
from strongswan import StrongSwan, strongswan_obstacle
from traffic import arrives_whole, ping
from wires import configure, lay_wire

DOCS = Path(__file__).resolve().parent.parent / "docs"
WEST, INSIDE_WEST = "192.0.2.1", "10.1.0.2"
EAST, INSIDE = "192.0.2.2", "10.1.0.1"
MANY = 100

Scene = Callable[["Gateway"], None]


def documented(head: str = "connections", number: int = 0) -> str:
    """One of the texts in the document that begin so, with the secret of the tests."""
    text = (DOCS / "relay.md").read_text("utf-8")
    found = re.findall(rf"```\n({head} \{{\n.*?)```", text, re.S)[number]
    return str(found).replace("as it stands in laptop.psk", SECRET)


class Gateway:
    """strongSwan and a relay on one host, initiators on another."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.told = Recorder()
        self.east = stack.enter_context(NamespaceThread())
        lay_wire("wire0", "wire1", self.east)
        configure({"lo": (), "wire0": (f"{WEST}/24",)})
        ends = {"lo": (f"{INSIDE}/32",), "wire1": (f"{EAST}/24",)}
        self.east.call(lambda: configure(ends))
        theirs = folder / "strongswan"
        theirs.mkdir()
        limits = documented("charon").removeprefix("charon {\n").rstrip("}\n")
        self.theirs = StrongSwan(theirs, self.east.call, limits)
        stack.callback(self.theirs.stop)
        (folder / "laptop.psk").write_text(SECRET)
        (folder / "laptop.psk").chmod(0o600)

    def relay(self, port: int = PORT, **fields: Any) -> Any:
        """Start the relay, as ``iketcp relay --listen :4500 --to 127.0.0.1:4500``."""
        config = RelayConfig(False, None, port, "127.0.0.1", PORT, **fields)
        return start_relay(config, self.told, self.east, self._stack)

    def mirror(self, trust: TlsTrust) -> Any:
        """Start the mirror for strongSwan on the same host."""
        config = RelayConfig(True, "127.0.0.1", 4501, WEST, 443, tls=trust)
        return start_relay(config, self.told, self.east, self._stack)

    def responder(self) -> Running:
        """Start a responder with the example's configuration."""
        text = (DOCS / "examples" / "tls-responder.toml").read_text("utf-8")
        for kind in ("pem", "key"):
            text = text.replace(f'"gateway.{kind}"', f'"tls/server.{kind}"')
        text += f'\n[tun]\naddresses = ["{INSIDE_WEST}/16"]\n'
        path = self.folder / "responder.toml"
        told = Recorder()
        peer = Responder(parse(text, "responder", str(path)), [told])
        self._stack.callback(peer.stop)
        peer.start()
        return Running(peer, told)

    def in_the_east(self, function: Callable[[], Any]) -> Any:
        """Run a function on strongSwan's host."""
        return self.east.call(function)

    def initiator(self, name: str, is_tls: bool = False) -> Running:
        """Start an initiator with an example's configuration, under a name."""
        file = "tls-initiator.toml" if is_tls else "initiator.toml"
        text = (DOCS / "examples" / file).read_text("utf-8")
        text = text.replace('address = "gw.example"', f'address = "{EAST}"')
        text = text.replace('#name = "gw.example"', 'name = "gw.example"')
        text = text.replace('"ca.pem"', '"tls/ca.pem"')
        text = text.replace("@laptop.example", f"@{name}")
        configuration = parse(text, "initiator", str(self.folder / "initiator.toml"))
        if name != "laptop.example":
            tun = replace(configuration.tun, mode="memory")
            configuration = replace(configuration, tun=tun)
        told = Recorder()
        peer = Initiator(configuration, [told])
        self._stack.callback(peer.stop)
        peer.start()
        return Running(peer, told)


def beside_strongswan(
    row: str, way: Way = TCP_WAYS[0]
) -> Callable[[Scene], Callable[..., None]]:
    """Make a test run on a stage of its own, with a place in the table."""

    def decorate(scene: Scene) -> Callable[..., None]:
        def test(tmp_path: Path, record_property: Any) -> None:
            record_property("interop", ["Relay", row, str(way)])
            for obstacle in (tun_obstacle(), strongswan_obstacle()):
                require_or_skip(not obstacle, obstacle)
            run_in_namespace(lambda: _play(scene, tmp_path))

        test.__doc__ = scene.__doc__
        return test

    return decorate


def _play(scene: Scene, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        gateway = Gateway(folder, stack)
        try:
            scene(gateway)
        except BaseException as error:
            lines = [f"relay: {event}" for event in gateway.told.events[-40:]]
            log = gateway.theirs.log.splitlines()[-80:]
            error.add_note("\n".join([*lines, *log]))
            raise


def works_both_ways(running: Running, gateway: Gateway) -> None:
    """Echo from either side, and a transfer each way."""
    (address,) = (each.partition("/")[0] for each in running.peer.tunnel.addresses)
    ping(INSIDE, count=1)
    gateway.east.call(lambda: ping(address, count=1, source=INSIDE))
    arrives_whole(2 << 20, INSIDE, gateway.east.call)
    arrives_whole(2 << 20, address, lambda do: do(), gateway.east.call, seed=2)


def goes_on_after_cuts(running: Running, gateway: Gateway) -> None:
    """RFC 7296 §2.23: strongSwan follows to the new port; nobody begins anew."""
    running.told.wait_for("child-sa-installed")
    works_both_ways(running, gateway)
    for number in (1, 2):
        assert running.peer.cut() == 1
        gateway.told.wait_for("client-returned", number)
        works_both_ways(running, gateway)
    assert len(running.told.of("ike-sa-established")) == 1
    assert len({str(event["port"]) for event in gateway.told.of("port-opened")}) == 3
    (sa,) = gateway.theirs.sas()
    last = str(gateway.told.of("port-opened")[-1]["port"])
    assert last == f"{sa['remote-host']}:{sa['remote-port']}"


@beside_strongswan("on strongSwan's host, as documented; cut twice")
def test_as_documented(gateway: Gateway) -> None:
    gateway.theirs.load(documented())
    gateway.relay()
    goes_on_after_cuts(gateway.initiator("laptop.example"), gateway)


@beside_strongswan("the same with TLS to the relay")
def test_tls_as_documented(gateway: Gateway) -> None:
    """RFC 9329 App. A: strongSwan knows nothing of it."""
    write_tls_files(gateway.folder / "tls", ["gw.example"])
    files = (gateway.folder / "tls" / f"server.{kind}" for kind in ("pem", "key"))
    gateway.theirs.load(documented())
    relay = gateway.relay(port=443, tls=read_identity(*files, []))
    running = gateway.initiator("laptop.example", is_tls=True)
    goes_on_after_cuts(running, gateway)
    (line,) = relay.status()["connections"]
    assert line["protection"].startswith("TLSv1.3")


@beside_strongswan("on strongSwan's host, the mirror, with TLS; cut", TCP_WAYS[1])
def test_mirror_as_documented(gateway: Gateway) -> None:
    """Cut, it is made again by whatever strongSwan says next."""
    write_tls_files(gateway.folder / "tls", ["gw.example"])
    authorities = read_authorities("", gateway.folder / "tls" / "ca.pem")
    responder = gateway.responder()
    gateway.mirror(TlsTrust("gw.example", authorities))
    gateway.theirs.load(documented(number=1))
    gateway.theirs.initiate("office")
    (sa,) = gateway.theirs.sas()
    (address,) = sa["local-vips"]
    for number in (1, 2):
        gateway.east.call(lambda: ping(INSIDE_WEST, count=1, source=address))
        ping(address, count=1, source=INSIDE_WEST)
        assert responder.peer.cut() == 1
        gateway.told.wait_for("connection-closed", number)
    gateway.east.call(lambda: ping(INSIDE_WEST, count=1, source=address))
    assert len(responder.told.of("ike-sa-established")) == 1
    assert len(gateway.told.of("connection-opened")) == 3


@beside_strongswan(f"{MANY} clients at once through one relay, ESP both ways")
def test_many_at_once(gateway: Gateway) -> None:
    """Each has a port of its own, and gets its own packets back."""
    anybody = documented().replace("      id = laptop.example\n", "      id = %any\n")
    gateway.theirs.load(anybody.replace("    id = laptop.example\n", ""))
    policy = replace(RelayConfig(False, None, 0, "", 0).policy)
    relay = gateway.relay(policy=replace(policy, half_open_address_limit=MANY))
    running = [gateway.initiator(f"c{number}.example") for number in range(MANY)]
    for each in running:
        each.told.wait_for("child-sa-installed")
    status = relay.status()
    assert (len(status["connections"]), status["udp"]["ports"]) == (MANY, MANY)
    for number, each in enumerate(running):
        each_gets_its_own(each, b"number %d" % number)
    assert len(gateway.theirs.sas()) == MANY


def each_gets_its_own(running: Running, payload: bytes) -> None:
    """Send an echo request until its answer comes."""
    (address,) = (each.partition("/")[0] for each in running.peer.tunnel.addresses)
    request = bytes(IP(src=address, dst=INSIDE) / ICMP() / payload)
    for _ in range(20):
        assert running.tun.inject(request)
        if any(payload in each for each in running.tun.collect(timeout_seconds=1.0)):
            return
    pytest.fail(f"nothing came back to {address}")
