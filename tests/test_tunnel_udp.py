"""Tunnels over plain UDP between real processes, with and without a NAT.

::

    west: iketcp initiator            the NAT                  east: iketcp responder
    192.0.2.1      wire0 === wire1  192.0.2.2, 198.51.100.2
                                    198.51.100.1  wire2 === wire3   198.51.100.2
    2001:db8:1::1                   likewise                        2001:db8:2::2

The NAT has two namespaces: in the inner one it has the very address of the responder.
Without a NAT the wire of the west ends in the east.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from namespaces import (
    NamespaceThread,
    require_or_skip,
    run_in_namespace,
    tun_obstacle,
)
from peer_support import PATIENCE_SECONDS, Process, eventually, write_secret
from traffic import arrives_whole, here, ping
from udp_nat import Seen, UdpNat
from wires import configure, lay_wire, route_everything

WEST = ("192.0.2.1/24", "2001:db8:1::1/64")
GATEWAY = ("192.0.2.2/24", "2001:db8:1::2/64")
PUBLIC = ("198.51.100.1/24", "2001:db8:2::1/64")
EAST = {4: "198.51.100.2", 6: "2001:db8:2::2"}
INNER_WEST = {4: "10.1.0.1", 6: "2001:db8:a::1"}
INNER_EAST = {4: "10.2.0.1", 6: "2001:db8:b::1"}
PORTS = (500, 4500)

OURS = """\
[local]
identity = "@{name}.example"
psk_file = "psk"
[remote]
{remote}
[ike]
proposals = ["aes256gcm16-prfsha256-x25519"]
[[child]]
name = "net"
local_ts = ["{here[4]}", "{here[6]}"]
remote_ts = ["{there[4]}", "{there[6]}"]
{child}
[transport]
protocol = "udp"
{transport}
[udp]
{udp}
[tun]
addresses = ["{here[4]}/32", "{here[6]}/128"]
[control]
socket = "{name}.sock"
"""

TRANSFER_OCTETS = 8 << 20


class Stage:
    """Two peers, and a NAT between them if a test wants one."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.east = stack.enter_context(NamespaceThread())
        write_secret(folder)
        configure({"lo": ()})

    def lay_plain_wire(self) -> None:
        """Put both peers on one wire."""
        lay_wire("wire0", "wire3", self.east)
        configure({"wire0": WEST})
        gateways = tuple(each.partition("/")[0] for each in GATEWAY)
        ends = {"lo": (f"{EAST[4]}/32", f"{EAST[6]}/128"), "wire3": GATEWAY}
        self.east.call(lambda: configure(ends))
        route_everything("wire0", gateways)

    def build_nat(
        self, version: int, is_lost: Callable[[Seen], bool] = lambda seen: False
    ) -> UdpNat:
        """Put both peers on wires of their own, and a NAT between these."""
        inside, outside = (
            self._stack.enter_context(NamespaceThread()) for _ in range(2)
        )
        lay_wire("wire0", "wire1", inside)
        outside.call(lambda: lay_wire("wire2", "wire3", self.east))
        configure({"wire0": WEST})
        pretended = (f"{EAST[4]}/32", f"{EAST[6]}/128")
        inside.call(lambda: configure({"lo": pretended, "wire1": GATEWAY}))
        route_everything("wire0", tuple(each.partition("/")[0] for each in GATEWAY))
        outside.call(lambda: configure({"lo": (), "wire2": PUBLIC}))
        real = {"lo": (), "wire3": (f"{EAST[4]}/24", f"{EAST[6]}/64")}
        self.east.call(lambda: configure(real))
        at = [(EAST[version], port) for port in PORTS]
        nat = UdpNat(at, at, inside.call, outside.call)
        nat.is_lost = is_lost
        return self._stack.enter_context(nat)

    def start(self, version: int, **fields: str) -> tuple[Process, Process]:
        """Start both; returns initiator and responder, with the tunnel up."""
        fields = {"udp": "", "transport": "", "child": "", **fields}
        texts = {
            "west": OURS.format(
                name="west",
                remote=f'identity = "@east.example"\naddress = "{EAST[version]}"',
                here=INNER_WEST,
                there=INNER_EAST,
                **fields,
            ),
            "east": OURS.format(
                name="east", remote="", here=INNER_EAST, there=INNER_WEST, **fields
            ),
        }
        paths = {}
        for name, text in texts.items():
            paths[name] = self.folder / f"{name}.toml"
            paths[name].write_text(text)
        east = self.east.call(lambda: Process("responder", "-c", paths["east"]))
        self._stack.callback(_kill, east)
        east.wait_for("tunnel-device")
        west = Process("initiator", "-c", paths["west"])
        self._stack.callback(_kill, west)
        west.wait_for("child-sa-installed")
        east.wait_for("child-sa-installed")
        return west, east

    def status(self, name: str) -> dict[str, Any]:
        """What ``iketcp status`` says of a peer."""
        socket = self.folder / f"{name}.sock"
        command = [sys.executable, "-m", "iketcp", "status", "--json"]
        done = subprocess.run(
            [*command, "--socket", str(socket)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def path_of(self, name: str) -> dict[str, str]:
        """Both ends of the one session of a peer."""
        (sa,) = self.status(name)["ike_sas"]
        assert sa["transport"] == "udp"
        path: dict[str, str] = sa["udp_path"]
        return path

    def ping_both_ways(self) -> None:
        """Echo from either side, for either inner IP version."""
        for version in (4, 6):
            there, back = INNER_EAST[version], INNER_WEST[version]
            ping(there, count=1, source=back)
            self.east.call(lambda b=back, t=there: ping(b, count=1, source=t))

    def transfer_both_ways(self) -> None:
        """8 MiB from either side to the other; the hashes agree."""
        arrives_whole(TRANSFER_OCTETS, INNER_EAST[4], self.east.call, here)
        arrives_whole(TRANSFER_OCTETS, INNER_WEST[6], here, self.east.call, seed=2)


def _kill(process: Process) -> None:
    process.child.kill()
    process.child.communicate()


def on_stage(function: Callable[..., None]) -> Callable[..., None]:
    """Make a test run on a stage of its own, in a child process."""

    def test(tmp_path: Path, **parameters: Any) -> None:
        require_or_skip(not tun_obstacle(), tun_obstacle())
        require_or_skip(shutil.which("ping") is not None, "there is no ping program")

        def play() -> None:
            with contextlib.ExitStack() as stack:
                function(Stage(tmp_path, stack), **parameters)

        run_in_namespace(play)

    functools.update_wrapper(test, function)
    del test.__wrapped__  # type: ignore[attr-defined]  # pytest reads the signature
    _, *others = inspect.signature(function).parameters.values()
    first = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([first, *others])
    test.__signature__ = signature  # type: ignore[attr-defined]
    return test


def ended(process: Process) -> None:
    """End a process by Ctrl-C, and want it to be content."""
    process.signal(signal.SIGINT)
    code, errors = process.end()
    assert code == 0, errors
    assert "WARNING" not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_a_tunnel_over_udp(built: Stage, version: int) -> None:
    """Both outer versions: on port 4500 at both ends, in the end; DELETE at last."""
    built.lay_plain_wire()
    west, east = built.start(version)
    built.ping_both_ways()
    built.transfer_both_ways()
    for name in ("west", "east"):
        path = built.path_of(name)
        assert path["local"].endswith(" 4500")
        assert path["remote"].endswith(" 4500")
    assert built.path_of("east")["local"] == f"{EAST[version]} 4500"
    ended(west)
    assert east.wait_for("ike-sa-closed")["reason"] == "deleted by the peer"
    ended(east)


@pytest.mark.parametrize("version", [4, 6])
@on_stage
def test_behind_a_nat(built: Stage, version: int) -> None:
    """It is kept open, and followed when it gives another port. RFC 7296 §2.23."""
    nat = built.build_nat(version)
    west, east = built.start(version, udp='keepalive = "1s"')
    built.ping_both_ways()
    built.transfer_both_ways()
    keepalive = Seen(4500, True, b"\xff")
    eventually(lambda: keepalive in nat.seen[:], "a keepalive")
    assert not [
        s
        for s in nat.seen[:]
        if s.port == 4500 and not s.is_outward and s.octets == b"\xff"
    ]
    before = built.path_of("east")["remote"]
    nat.forget()
    ping(INNER_EAST[4], count=1, source=INNER_WEST[4])
    moved = east.wait_for("mapping-moved", **{"from": f"udp {before}"})
    after = built.path_of("east")["remote"]
    assert moved["to"] == f"udp {after}" != f"udp {before}"
    built.ping_both_ways()
    ended(west)
    assert east.wait_for("ike-sa-closed")["reason"] == "deleted by the peer"
    ended(east)


@on_stage
def test_a_path_that_loses_and_is_narrow(built: Stage) -> None:
    """Each datagram of the handshake is lost once; IKE_AUTH goes in fragments."""
    known: set[Seen] = set()

    def is_new(seen: Seen) -> bool:
        is_first = seen not in known
        known.add(seen)
        return is_first

    nat = built.build_nat(4, is_new)
    mtu, size = 600, 512
    with IPRoute(groups=0) as netlink:
        (index,) = netlink.link_lookup(ifname="wire0")
        netlink.link("set", index=index, mtu=mtu)
    groups = ("modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519", "x448")
    words = [f"aes{bits}gcm16-{group}" for bits in (128, 192) for group in groups]
    west, _ = built.start(
        4,
        child=f"proposals = {['aes256gcm16', *words]}",
        transport=f"path_mtu = {mtu}",
        udp=f'fragment_size = {size}\nrepeat_first = "50ms"\nrepeat_max = "100ms"',
    )
    nat.is_lost = lambda seen: False
    built.ping_both_ways()
    pieces = [s for s in nat.seen if s.port == 4500 and s.octets[:4] == bytes(4)]
    assert max(len(piece.octets) for piece in pieces) <= size + 4
    first_payloads = {piece.octets[4 + 16] for piece in pieces if piece.is_outward}
    assert 53 in first_payloads  # Encrypted and Authenticated Fragment
    ended(west)
