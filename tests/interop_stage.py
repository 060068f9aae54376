"""The stage on which our peers meet strongSwan: three namespaces and two wires.

::

    west: ours                 middle: router, relay           east: strongSwan
    192.0.2.1       wire0 ==== 192.0.2.2  198.51.100.1 ======== 198.51.100.2
    2001:db8:1::1              2001:db8:1::2  2001:db8:2::1     2001:db8:2::2
    10.1.0.1, 2001:db8:a::1 (iketcp0)       (lo) 10.2.0.1, 2001:db8:b::1

Over UDP the middle forwards packets, unless a scene makes it a NAT; over TCP our relay
is there, between a stream on one side and UDP port 4500 on the other. Where it relays,
the peers see addresses of the middle, as behind a NAT and before one.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iketcp.config import Role, parse
from iketcp.config.relay import RelayConfig
from iketcp.peers import Initiator, Peer, Responder
from iketcp.peers.relay import Relay
from iketcp.peers.relay_tcp_originator import UdpToTcp
from iketcp.peers.relay_tcp_responder import TcpToUdp
from namespaces import (
    NamespaceThread,
    require_or_skip,
    run_in_namespace,
    tun_obstacle,
)
from peer_support import SECRET, Recorder, Running, eventually, write_secret
from strongswan import StrongSwan, strongswan_obstacle
from traffic import arrives_whole, ping
from udp_nat import UdpNat
from wires import configure, forward, lay_wire, route_everything, take_down

WEST = {4: "192.0.2.1", 6: "2001:db8:1::1"}
MIDDLE_WEST = {4: "192.0.2.2", 6: "2001:db8:1::2"}
MIDDLE_EAST = {4: "198.51.100.1", 6: "2001:db8:2::1"}
EAST = {4: "198.51.100.2", 6: "2001:db8:2::2"}
INNER_WEST = {4: "10.1.0.1", 6: "2001:db8:a::1"}
INNER_EAST = {4: "10.2.0.1", 6: "2001:db8:b::1"}
SITE_WEST = ("10.1.0.0/24", "2001:db8:a::/64")
SITE_EAST = ("10.2.0.0/24", "2001:db8:b::/64")

IKE = "aes256gcm16-prfsha256-x25519"
ESP = "aes256gcm16-noesn"
"""What is agreed on where something else is tried."""

PORT = 4500
UDP_PORTS = (500, 4500)
TRANSFER_OCTETS = 8 << 20

OURS = """\
[local]
identity = "{identity}"
{local}
[remote]
identity = "{remote_identity}"
{where}
{remote}
[ike]
proposals = ["{proposal}"]
{ike}
[[child]]
name = "net"
local_ts = {local_ts}
remote_ts = {remote_ts}
proposals = ["{esp}"]
{child}
[transport]
{transport}
[udp]
{udp}
[tun]
addresses = {addresses}
[control]
socket = "none"
{more}
"""

RECONNECT = 'reconnect_first = "50ms"\nreconnect_max = "100ms"'

THEIRS = """\
connections {{
  iketcp {{
    version = 2
    local_addrs = {local_addrs}
    remote_addrs = {remote_addrs}
    {ports}
    proposals = {proposal}
    mobike = no
    {ike}
    local {{
      {local}
      id = {id}
    }}
    remote {{
      {remote}
      id = {remote_id}
    }}
    children {{
      net {{
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = {esp}
        {child}
      }}
    }}
  }}
}}
secrets {{
  ike {{
    id = west.example
    secret = "{secret}"
  }}
  {secrets}
}}
{more}
"""


def toml(texts: Sequence[str]) -> str:
    """Write an array of strings."""
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


@dataclass(frozen=True)
class Way:
    """Who initiates, over what: a column of the table."""

    transport: str
    we_initiate: bool
    version: int = 4

    def __str__(self) -> str:
        """Name it as in the head of the table."""
        who = "we initiate" if self.we_initiate else "strongSwan initiates"
        return f"{self.transport.upper()}, {who}"


TCP_WAYS = (Way("tcp", True), Way("tcp", False))
UDP_WAYS = (Way("udp", True), Way("udp", False))
WAYS = TCP_WAYS + UDP_WAYS


class Stage:
    """Ours in this thread's namespace, the relay and strongSwan in two others."""

    def __init__(self, folder: Path, way: Way, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.way = way
        self._stack = stack
        self.middle = stack.enter_context(NamespaceThread())
        self.east = stack.enter_context(NamespaceThread())
        lay_wire("wire0", "wire1", self.middle)
        self.middle.call(lambda: lay_wire("wire2", "wire3", self.east))
        configure({"lo": (), "wire0": _interfaces(WEST)})
        route_everything("wire0", tuple(MIDDLE_WEST.values()))
        ends = {"wire1": _interfaces(MIDDLE_WEST), "wire2": _interfaces(MIDDLE_EAST)}
        self.middle.call(lambda: configure({"lo": (), **ends}))
        self.middle.call(forward)
        inner = (f"{INNER_EAST[4]}/32", f"{INNER_EAST[6]}/128")
        self.east.call(lambda: configure({"lo": inner, "wire3": _interfaces(EAST)}))
        gateways = tuple(MIDDLE_EAST.values())
        self.east.call(lambda: route_everything("wire3", gateways))
        write_secret(folder)
        self.relay_told = Recorder()
        self._relay: Relay | None = None
        self._is_nat = False
        if way.transport == "tcp":
            self._relay = self._start_relay()
        theirs = folder / "strongswan"
        theirs.mkdir()
        self.theirs = StrongSwan(theirs, self.east.call)
        stack.callback(self.theirs.stop)
        self.ours: Running | None = None

    def _start_relay(self) -> Relay:
        """Start the relay of this way, in the middle."""
        version = self.way.version
        if self.way.we_initiate:
            ends = MIDDLE_WEST[version], PORT, EAST[version], PORT
            config = RelayConfig(False, *ends)
        else:
            ends = MIDDLE_EAST[version], PORT, WEST[version], PORT
            config = RelayConfig(True, *ends, ike_port=UDP_PORTS[0])
        return start_relay(config, self.relay_told, self.middle, self._stack)

    def cut(self) -> int:
        """End every TCP connection; returns how many there were."""
        assert self._relay is not None
        connections = list(self._relay.connections.values())
        for connection in connections:
            connection.abort()
        return len(connections)

    def build_nat(self) -> UdpNat:
        """Let the middle stand for the responder's both ports: each sees a NAT."""
        self._is_nat = True
        version = self.way.version
        listen, target = self.address_for_us, EAST[version]
        if not self.way.we_initiate:
            listen, target = self.address_for_them, WEST[version]
        here = [(listen, port) for port in UDP_PORTS]
        there = [(target, port) for port in UDP_PORTS]
        nat = UdpNat(here, there, self.middle.call, self.middle.call)
        return self._stack.enter_context(nat)

    def silence(self) -> None:
        """Lose everything from now on."""
        if self._relay is not None:
            self.middle.call(lambda: take_down("wire2"))
        else:
            self.middle.call(lambda: forward(False))

    @property
    def _is_relayed(self) -> bool:
        return self._relay is not None or self._is_nat

    @property
    def address_for_us(self) -> str:
        """Where we find strongSwan."""
        return (MIDDLE_WEST if self._is_relayed else EAST)[self.way.version]

    @property
    def address_for_them(self) -> str:
        """Where strongSwan finds us."""
        return (MIDDLE_EAST if self._is_relayed else WEST)[self.way.version]

    # --- the peers --------------------------------------------------------------------

    def load(self, **fields: str) -> None:
        """Give strongSwan a configuration; ``fields`` replace parts of ``THEIRS``."""
        texts = {
            "local_addrs": EAST[self.way.version],
            # before us a relay speaks port 4500 alone, from the first message on
            "ports": "local_port = 4500\nremote_port = 4500" if self._relay else "",
            "remote_addrs": "%any" if self.way.we_initiate else self.address_for_them,
            "proposal": IKE,
            "esp": ESP,
            "local_ts": ",".join(SITE_EAST),
            "remote_ts": ",".join(SITE_WEST),
            "local": "auth = psk",
            "id": "east.example",
            "remote": "auth = psk",
            "remote_id": "west.example",
            "secret": SECRET,
            "secrets": "",
            "ike": "",
            "child": "",
            "more": "",
        }
        self.theirs.load(THEIRS.format(**{**texts, **fields}))

    def start(self, **fields: str) -> Running:
        """Start our peer; ``fields`` replace parts of ``OURS``."""
        role: Role = "initiator" if self.way.we_initiate else "responder"
        texts = {
            "identity": "@west.example",
            "local": 'psk_file = "psk"',
            "remote_identity": "@east.example",
            "where": "",
            "remote": "",
            "proposal": IKE,
            "esp": ESP,
            "local_ts": toml(SITE_WEST),
            "remote_ts": toml(SITE_EAST),
            "addresses": toml((f"{INNER_WEST[4]}/24", f"{INNER_WEST[6]}/64")),
            "ike": "",
            "child": "",
            "transport": f'protocol = "{self.way.transport}"\n',
            "udp": "",
            "more": "",
        }
        if self.way.we_initiate:
            texts["where"] = f'address = "{self.address_for_us}"'
            texts["transport"] += RECONNECT
        path = self.folder / f"{role}.toml"
        template = fields.pop("template", OURS)
        text = template.format(**{**texts, **fields})
        path.write_text(text)
        told = Recorder()
        configuration = parse(text, role, str(path))
        make = Initiator if self.way.we_initiate else Responder
        peer: Peer = make(configuration, [told])
        self._stack.callback(peer.stop)
        peer.start()
        self.ours = Running(peer, told)
        return self.ours

    def connect(
        self, ours: dict[str, str] | None = None, theirs: dict[str, str] | None = None
    ) -> Running:
        """Bring a tunnel up, by whoever initiates on this way."""
        self.load(**(theirs or {}))
        running = self.start(**(ours or {}))
        if not self.way.we_initiate:
            self.theirs.initiate()
        running.told.wait_for("child-sa-installed")
        return running

    # --- what is looked at ------------------------------------------------------------

    def ike_sa(self) -> dict[str, Any]:
        """Return the one established IKE SA that strongSwan has."""
        (sa,) = [sa for sa in self.theirs.sas() if sa["state"] == "ESTABLISHED"]
        return sa

    def child_sa(self) -> dict[str, Any]:
        """Return the one Child SA that strongSwan has installed."""
        children = self.ike_sa()["child-sas"].values()
        (child,) = [child for child in children if child["state"] == "INSTALLED"]
        return child

    def ping_both_ways(
        self,
        version: int = 4,
        west: dict[int, str] = INNER_WEST,
        east: dict[int, str] = INNER_EAST,
    ) -> None:
        """Echo from either side to the other, through the tunnel."""
        here, there = west[version], east[version]
        ping(there, count=1, source=here)
        self.east.call(lambda: ping(here, count=1, source=there))

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until strongSwan says that something is so."""

        def check() -> bool:
            with contextlib.suppress(ValueError):  # not one SA at the moment
                return is_so()
            return False

        eventually(check)

    def transfer_both_ways(self, version: int = 4) -> None:
        """8 MiB from either side to the other; the hashes agree."""
        east, here = self.east.call, lambda function: function()
        arrives_whole(TRANSFER_OCTETS, INNER_EAST[version], east, here)
        arrives_whole(TRANSFER_OCTETS, INNER_WEST[version], here, east, seed=2)

    def report(self) -> str:
        """What either side told, for whoever has to find out what went wrong."""
        lines = []
        if self.ours is not None:
            lines = [f"{kind} {fields}" for kind, fields in self.ours.told.events]
        lines += [f"relay: {kind} {fields}" for kind, fields in self.relay_told.events]
        log = self.theirs.log.splitlines()
        return "\n".join(["--- ours", *lines, "--- strongSwan", *log[-120:]])


def start_relay(
    config: RelayConfig,
    told: Recorder,
    where: NamespaceThread,
    stack: contextlib.ExitStack,
) -> Relay:
    """Start a relay in another namespace; its threads stay there."""

    def start() -> Relay:
        kind = UdpToTcp if config.is_originator else TcpToUdp
        relay: Relay = kind(config, [told])
        relay.start()
        return relay

    relay: Relay = where.call(start)
    stack.callback(relay.stop)
    return relay


def refused(stage: Stage, ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Try, and fail; returns the reason that the side told which was refused."""
    stage.load(**theirs)
    running = stage.start(**ours)
    if stage.way.we_initiate:
        closed = running.told.wait_for("ike-sa-closed")
        return str([*running.told.of("child-sa-failed"), closed])
    return stage.theirs.initiate_in_vain()


def _interfaces(addresses: dict[int, str]) -> tuple[str, ...]:
    return (f"{addresses[4]}/24", f"{addresses[6]}/64")


Scene = Callable[..., None]


def on_stage(section: str, row: str) -> Callable[[Scene], Scene]:
    """Make a test run on a stage of its own, in a child process.

    The test takes the stage first, then its parameters, of which ``way`` says who
    initiates and over what. ``section`` and ``row`` are its place in the table of
    what was run; ``row`` may name parameters in braces.
    """

    def decorate(function: Scene) -> Scene:
        def test(
            tmp_path: Path, record_property: Any, way: Way, **parameters: Any
        ) -> None:
            place = [section, row.format(**parameters), str(way)]
            record_property("interop", place)
            for obstacle in (tun_obstacle(), strongswan_obstacle()):
                require_or_skip(not obstacle, obstacle)
            run_in_namespace(lambda: _play(function, tmp_path, way, parameters))

        own = list(inspect.signature(function).parameters)[1:]
        functools.update_wrapper(test, function)
        del test.__wrapped__  # type: ignore[attr-defined]  # pytest would look there
        test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                for name in ("tmp_path", "record_property", "way", *own)
            ]
        )
        return test

    return decorate


def _play(function: Scene, folder: Path, way: Way, parameters: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:
        stage = Stage(folder, way, stack)
        try:
            function(stage, **parameters)
        except BaseException as error:
            error.add_note(stage.report())
            raise
