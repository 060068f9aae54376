"""HAProxy and nginx before one responder or two, as ``docs/balancers.md`` has it.

The stage is that of :mod:`test_tunnel_namespaces`; balancer and backends are in the
east. What the balancers are told is the text of the examples, so that it is tried.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iketcp.config.issuing import write_tls_files
from iketcp.peers.control import ask
from namespaces import require_or_skip
from peer_support import PATIENCE_SECONDS, Process, eventually
from test_interop_tls import (
    WEST,
    carries,
    is_listening,
    needs,
    program,
)
from test_tunnel_namespaces import (
    INITIATOR,
    INNER_EAST,
    OTHER_POOL,
    OUTER,
    POOL,
    RESPONDER,
    SITE,
    Stage,
    ended,
    on_stage,
    ping,
)
from wires import configure

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"
BACKENDS = {"a": "10.0.0.11", "b": "10.0.0.12"}
"""As seen from a backend on its own host, a balancer has the backend's address."""
FILES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
ONE_PROCESS = "daemon off; master_process off; error_log stderr;"
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PARTS = ("pem", "key")
FEW = 4


@contextlib.contextmanager
def balancer(built: Stage, name: str) -> Iterator[None]:
    """Run a balancer in the east with the configuration of its example."""
    needs(name)
    if name == "nginx":
        require_or_skip(NGINX_STREAM.exists(), "nginx has no module for streams")
    folder = built.folder
    write_tls_files(folder / "tls", ["gw.example", *OUTER.values()])
    pem, key = ((folder / "tls" / f"server.{each}").read_text() for each in PARTS)
    (folder / "gateway.pem").write_text(pem + (key if name == "haproxy" else ""))
    (folder / "gateway.key").write_text(key)
    file = FILES[name]
    text = (EXAMPLES / file).read_text("utf-8")
    text = text.replace("/etc/haproxy", str(folder)).replace("inter 2s", "inter 50ms")
    (folder / file).write_text(text)
    as_one = f"{ONE_PROCESS} pid {folder}/nginx.pid;"
    options = {
        "haproxy": ["-db", "-f", file],
        "nginx": ["-c", f"{folder}/{file}", "-e", "stderr", "-g", as_one],
    }[name]
    with program(built, name, *options, is_east=True):
        eventually(lambda: is_listening(built, 443), name)
        yield


def set_up_backends(built: Stage) -> None:
    """Give the east the addresses of the backends."""
    addresses = tuple(f"{each}/32" for each in BACKENDS.values())
    built.in_the_east(lambda: configure({"lo": addresses}))


def responder(built: Stage, name: str, transport: str = "") -> Process:
    """Start a responder that hears from the balancer for whom it connects."""
    address = BACKENDS[name]
    pool, device = {"a": (POOL, "iketcp0"), "b": (OTHER_POOL, "iketcp1")}[name]
    tun = f'name = "{device}"'
    text = RESPONDER.format(local_ts=SITE, pool=pool, tun=tun)
    text = text.replace("[ike]", f'address = "{address}"\n[ike]', 1)
    text = text.replace('socket = "none"', f'socket = "{name}.sock"')
    text += f'[transport]\nproxy_protocol_from = ["{address}"]\n{transport}'
    return built.start("responder", text)


def initiator(built: Stage, version: int = 4, ike: str = "") -> Process:
    """Start the initiator in the west, with TLS; it has the tunnel then."""
    address = OUTER[version]
    text = INITIATOR.format(address=address, remote_ts=SITE, ike=ike, tun="")
    return built.start("initiator", text + '[tls]\nca = "tls/ca.pem"\n')


def status(built: Stage, name: str) -> dict[str, Any]:
    """Ask a backend how it is."""
    path = built.folder / f"{name}.sock"
    return ask(path, {"command": "status"}, PATIENCE_SECONDS)


def clients_of(built: Stage, name: str) -> list[str]:
    """For whom a backend has connections that are no health checks."""
    lines = status(built, name)["connections"]
    return [
        str(line.get("remote") or line["client"])
        for line in lines
        if not line["is_half_open"]
    ]


@pytest.mark.parametrize("name", FILES)
@on_stage
def test_a_tunnel_through(built: Stage, name: str) -> None:
    """TLS ends there, and yet the responder knows who the client is. [9329-6.5-natd]"""
    set_up_backends(built)
    east = responder(built, "a")
    with balancer(built, name):
        west = initiator(built)
        (client,) = clients_of(built, "a")
        assert client.startswith(f"{WEST} ")
        found = east.wait_for("nat-detection")
        assert not found["is_local_behind_nat"], found
        assert not found["is_remote_behind_nat"], found
        carries(built, west, east)


@on_stage
def test_health_checks_take_nobodys_place(built: Stage) -> None:
    """HAProxy's connections are many and say nothing; each gives its place back."""
    set_up_backends(built)
    limits = f"half_open_limit = {FEW}\nhalf_open_limit_per_address = {FEW}\n"
    east = responder(built, "a", f'{limits}prefix_deadline = "1h"\n')
    with balancer(built, "haproxy"):
        checked = lambda: sum(status(built, "a")["closed"].values())  # noqa: E731
        eventually(lambda: checked() > 2 * FEW, "health checks")
        west = initiator(built)
        strangers = status(built, "a")["half_open"]["connections"]
        assert (strangers["refused"], strangers["timed_out"]) == (0, 0)
        ended(west, signal.SIGTERM)
        ended(east, signal.SIGTERM)


def whose(built: Stage, *names: str) -> str:
    """Which backend has the client."""
    (name,) = (each for each in names if clients_of(built, each))
    return name


@pytest.mark.parametrize("name", FILES)
@on_stage
def test_a_responder_is_killed(built: Stage, name: str) -> None:
    """The other one knows nothing of the IKE SA: it ends in silence, another begins.

    Over IPv6, as the header says, too.
    """
    set_up_backends(built)
    running = {each: responder(built, each) for each in BACKENDS}
    with balancer(built, name):
        hasty = 'request_timeout = "1s"\nliveness = "1s"'
        west = initiator(built, version=6, ike=hasty)
        first = whose(built, *BACKENDS)
        ping(INNER_EAST[4])
        killed = running.pop(first)
        killed.signal(signal.SIGKILL)
        killed.end()
        west.wait_for("connection-opened")
        west.wait_for("ike-sa-closed", reason="no answer for 1 s")
        west.wait_for("child-sa-installed")
        for address in INNER_EAST.values():
            ping(address)
        ((second, east),) = running.items()
        (client,) = clients_of(built, second)
        assert client.startswith("2001:db8::1 ")
        assert status(built, second)["dropped"]["unknown IKE SPI"] >= 1
        ended(west, signal.SIGTERM)
        ended(east, signal.SIGTERM)
