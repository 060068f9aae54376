"""The command line: exit codes, sentences, signals, tables."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from iketcp import __version__
from iketcp.config import default_control_socket, load
from iketcp.config.psk import write_psk
from iketcp.errors import EnvironmentProblem
from iketcp.status_view import ANSWERING, _rate, _size, find_socket, render
from namespaces import require_or_skip, tun_obstacle
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Peers,
    Running,
    process,
    up,
    write_secret,
)

RESPONDER = """\
[local]
identity = "@gw.example"
psk_file = "psk"
address = "127.0.0.1"
port = {port}
[[child]]
name = "net"
local_ts = ["10.0.2.0/24"]
remote_ts = ["10.0.1.0/24"]
[tun]
mode = "memory"
[control]
socket = "peer.sock"
"""

INITIATOR = """\
[local]
identity = "@laptop.example"
psk_file = "psk"
[remote]
identity = "@gw.example"
address = "127.0.0.1"
port = {port}
[[child]]
name = "net"
local_ts = ["10.0.1.0/24"]
remote_ts = ["10.0.2.0/24"]
[tun]
mode = "memory"
[control]
socket = "none"
"""

CAP_NET_ADMIN = 12
PR_CAPBSET_DROP = 24


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK[4], 0))
        port: int = sock.getsockname()[1]
        return port


def configured(folder: Path, text: str, name: str = "peer.toml", **values: Any) -> Path:
    """Write a configuration and its secret."""
    write_secret(folder)
    path = folder / name
    path.write_text(text.format(**values))
    return path


def run(
    *arguments: object, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "iketcp", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **(environment or {})},
        **options,
    )


def refused(*arguments: object, **options: Any) -> str:
    """Run what ends with exit code 2; return its one sentence."""
    done = run(*arguments, **options)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


# --- help and mistakes ----------------------------------------------------------------


def test_help() -> None:
    """Says what there is; exit code 0."""
    done = run("--help")
    assert done.returncode == 0
    for word in ("initiator", "responder", "status", "demo", "--version"):
        assert word in done.stdout
    for command in ("initiator", "responder", "relay", "status", "demo"):
        done = run(command, "--help")
        assert done.returncode == 0
        assert "--help" in done.stdout


def test_version() -> None:
    """The package's own."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"iketcp {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Usage"),
        (("nonsense",), "No such command 'nonsense'"),
        (("initiator",), "Missing option '--config'"),
        (("initiator", "-c"), "requires an argument"),
        (("responder", "-c", "x", "--nonsense"), "No such option"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and how it is meant."""
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_a_missing_file(tmp_path: Path) -> None:
    """One sentence with the path."""
    path = tmp_path / "none.toml"
    reason = "this file cannot be read: No such file or directory"
    assert refused("initiator", "-c", path) == f"iketcp: {path}: {reason}"


def test_an_unknown_key(tmp_path: Path) -> None:
    """One sentence with file, line and the nearest key."""
    text = INITIATOR.replace("identity", "identiti", 1)
    path = configured(tmp_path, text, port=4500)
    assert refused("initiator", "-c", path) == (
        f"iketcp: {path}:2: [local] has no key \"identiti\"; did you mean 'identity'?"
    )


def test_a_file_for_the_other_command(tmp_path: Path) -> None:
    """A key of the other role is a mistake, and named."""
    path = configured(tmp_path, INITIATOR, port=4500)
    line = refused("responder", "-c", path)
    assert line.startswith(f"iketcp: {path}:6: [remote] address is for the initiator")


def test_a_weak_secret_draws_a_warning(tmp_path: Path) -> None:
    """It is used, though, and what follows is another matter."""
    path = configured(tmp_path, RESPONDER, port=4500)
    (tmp_path / "psk").write_text("weak")
    (tmp_path / "peer.sock").write_text("in the way")
    done = run("responder", "-c", path)
    first, second = done.stderr.splitlines()
    assert first.startswith("iketcp: warning: psk holds a secret of 4 octets")
    reason = f"cannot make the control socket {tmp_path / 'peer.sock'}: Address"
    assert second == f"iketcp: {reason} already in use"
    assert done.returncode == 2


def test_a_port_in_use(tmp_path: Path) -> None:
    """Somebody listens there already."""
    with socket.create_server((LOOPBACK[4], 0)) as taken:
        port = taken.getsockname()[1]
        path = configured(tmp_path, RESPONDER, port=port)
        assert refused("responder", "-c", path) == (
            f"iketcp: cannot listen on 127.0.0.1 port {port}: Address already in use"
        )
    assert not (tmp_path / "peer.sock").exists()


def without_net_admin() -> None:
    """Give up the privilege to make devices, for this process and its heirs."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0)


def test_no_privilege_for_a_device(tmp_path: Path) -> None:
    """Says what is missing and what helps."""
    require_or_skip(not tun_obstacle(), tun_obstacle())
    text = RESPONDER.replace('mode = "memory"', 'name = "iketcptest0"')
    path = configured(tmp_path, text, port=free_port())
    assert refused("responder", "-c", path, preexec_fn=without_net_admin) == (
        "iketcp: no privilege to make tunnel device iketcptest0; "
        "run as root or with CAP_NET_ADMIN"
    )


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """Neither the log nor the trace."""
    text = RESPONDER + '[log]\nfile = "no/such/folder"\n'
    path = configured(tmp_path, text, port=4500)
    where = tmp_path / "no/such/folder"
    reason = f"[Errno 2] No such file or directory: '{where}'"
    assert refused("responder", "-c", path) == (
        f"iketcp: cannot write the log: {reason}"
    )


def test_keys_that_cannot_be_written(tmp_path: Path) -> None:
    """The warning comes first; then why there is nothing to warn of."""
    path = configured(tmp_path, RESPONDER, port=4500)
    done = run("responder", "-c", path, "--insecure-keylog", path)
    first, second = done.stderr.splitlines()
    assert first == (
        f"iketcp: warning: keys are written to {path}; "
        "whoever reads them reads the tunnel"
    )
    assert second.startswith("iketcp: cannot write keys: ")
    assert done.returncode == 2


# --- peers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name
)
def test_a_signal_ends_a_peer_in_order(tmp_path: Path, number: int) -> None:
    """DELETE goes out, the socket goes away, the exit code is 0."""
    port = free_port()
    path = configured(tmp_path, RESPONDER, port=port)
    with process("responder", "-c", path) as responder, Peers() as peers:
        responder.wait_for("listening")
        initiator = peers.initiator(
            port, transport='reconnect_first = "1h"\nreconnect_max = "1h"'
        )
        up(initiator)
        assert (tmp_path / "peer.sock").is_socket()
        responder.signal(number)
        code, errors = responder.end()
        closed = initiator.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    assert code == 0
    assert "WARNING" not in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "peer.sock").exists()


def test_a_signal_ends_an_initiator_that_connects(tmp_path: Path) -> None:
    """Nobody listens: it tries again, says so once an attempt, and can be ended."""
    port = free_port()
    path = configured(tmp_path, INITIATOR, port=port)
    with process("initiator", "-c", path) as initiator:
        initiator.wait_for("connect-failed", attempt=2)
        initiator.signal(signal.SIGINT)
        code, errors = initiator.end()
    assert code == 0
    warnings = [line for line in errors.splitlines() if "WARNING" in line]
    assert len(warnings) == 2
    for attempt, warning in enumerate(warnings, 1):
        assert warning.endswith(
            f'WARNING connect-failed reason="cannot connect to 127.0.0.1 port {port}: '
            f'Connection refused" attempt={attempt}'
        )


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """The peer does not answer DELETE; a second Ctrl-C ends the wait."""
    port = free_port()
    path = configured(tmp_path, RESPONDER, port=port)
    with process("responder", "-c", path) as responder, Peers() as peers:
        responder.wait_for("listening")
        initiator = peers.initiator(port)
        up(initiator)
        responder.wait_for("child-sa-installed")
        with frozen(initiator):
            responder.signal(signal.SIGINT)
            responder.wait_for("ike-message", payloads=["D(IKE)"])
            responder.signal(signal.SIGINT)
            code, errors = responder.end()
    assert code == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "peer.sock").exists()


@contextlib.contextmanager
def frozen(running: Running) -> Iterator[None]:
    """Hold the lock that every message needs: nothing is answered meanwhile."""
    with running.peer.endpoint._control_lock:
        yield


def test_a_refused_initiator_ends_with_1(tmp_path: Path) -> None:
    """It ran and failed: one sentence, exit code 1."""
    with Peers() as peers:
        responder = peers.responder(secret="another secret of sixteen octets")
        port = responder.peer.address.port
        path = configured(tmp_path, INITIATOR, port=port)
        done = run("initiator", "-c", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "iketcp: authentication failed: the peer answers AUTHENTICATION_FAILED"
    )


def test_a_log_of_json_lines_in_a_file(tmp_path: Path) -> None:
    """What the configuration asks for; and the keys of the tunnel in a folder."""
    with Peers() as peers:
        port = peers.responder().peer.address.port
        text = INITIATOR + '[log]\nformat = "json"\nfile = "peer.log"\n'
        path = configured(tmp_path, text, port=port)
        keys = tmp_path / "keys"
        with process("initiator", "-c", path, "--insecure-keylog", keys) as initiator:
            initiator.wait_for("child-sa-installed")
            initiator.signal(signal.SIGTERM)
            code, errors = initiator.end()
    assert code == 0
    (warning,) = errors.splitlines()
    assert "whoever reads them" in warning
    log = [
        json.loads(line) for line in (tmp_path / "peer.log").read_text().splitlines()
    ]
    assert "ike-sa-closed" in [event["kind"] for event in log]
    assert sorted(each.name for each in keys.iterdir()) == [
        "esp_sa",
        "ikev2_decryption_table",
    ]


def test_a_trace_whose_reader_leaves(tmp_path: Path) -> None:
    """``--trace - | head`` ends in order all the same."""
    path = configured(tmp_path, RESPONDER, port=free_port())
    with process("responder", "-c", path) as responder:
        responder.wait_for("tunnel-device")
        assert responder.child.stdout is not None
        responder.child.stdout.close()
        responder.signal(signal.SIGINT)
        responder.child.wait(PATIENCE_SECONDS)
        assert responder.child.stderr is not None
        errors = responder.child.stderr.read()
        assert responder.child.returncode == 0
        assert "Traceback" not in errors
        assert "Broken" not in errors


# --- status ---------------------------------------------------------------------------


def test_status_of_a_running_peer(tmp_path: Path) -> None:
    """As tables, and as JSON."""
    path = configured(tmp_path, RESPONDER, port=free_port())
    with process("responder", "-c", path) as responder:
        responder.wait_for("tunnel-device")
        at = ("--socket", tmp_path / "peer.sock")
        tables, data = run("status", *at), run("status", *at, "--json")
        responder.signal(signal.SIGTERM)
        assert responder.end()[0] == 0
    assert (tables.returncode, data.returncode) == (0, 0)
    assert tables.stdout.startswith("responder, up ")
    assert json.loads(data.stdout)["role"] == "responder"
    assert refused("status", *at) == (
        f"iketcp: no running peer answers on {at[1]}: No such file or directory"
    )


def test_a_second_peer_on_the_same_socket(tmp_path: Path) -> None:
    """The first one stays; the second one says why it cannot begin."""
    first = configured(tmp_path, RESPONDER, port=free_port())
    second = configured(tmp_path, RESPONDER, "second.toml", port=free_port())
    with process("responder", "-c", first) as responder:
        responder.wait_for("tunnel-device")
        assert refused("responder", "-c", second) == (
            f"iketcp: another peer already answers on {tmp_path / 'peer.sock'}"
        )
        assert run("status", "--socket", tmp_path / "peer.sock").returncode == 0


def test_status_without_a_peer(tmp_path: Path) -> None:
    """Names the places where a socket would be."""
    sockets = [default_control_socket(role) for role in ANSWERING]
    if any(path.exists() for path in sockets):
        pytest.skip("optional: a peer runs on this machine")
    assert refused("status") == (
        "iketcp: no peer is running: there is no socket at "
        f"{' or '.join(map(str, sockets))}"
    )
    assert refused("status", "--role", "responder").endswith(f"at {sockets[1]}")
    assert refused("status", "--role", "client") == (
        "iketcp: --role must be one of initiator, responder, relay"
    )


def test_find_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The given path; else the first role's that is there."""
    assert find_socket(tmp_path, "nobody") == tmp_path
    monkeypatch.setattr(
        "iketcp.status_view.default_control_socket", lambda role: tmp_path / role
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "responder"))
        assert find_socket(None, "") == tmp_path / "responder"
        with pytest.raises(EnvironmentProblem, match="no peer is running"):
            find_socket(None, "initiator")


ANSWER: dict[str, Any] = {
    "role": "initiator",
    "up_seconds": 61.5,
    "tunnel": {
        "device": "iketcp0",
        "mtu": 1438,
        "addresses": ["10.9.0.2/24"],
        "dns_servers": [],
        "dropped_packets": 0,
    },
    "rates": {"bits_per_second_in": 1500, "bits_per_second_out": 0},
    "udp": None,
    "ike_sas": [
        {
            "spi_i": "0123456789abcdef",
            "spi_r": "fedcba9876543210",
            "state": "established",
            "remote_identity": "[red]:boom:[/nothing]@gw.example",
            "suite": "AES_GCM_16-256",
            "connection": 1,
            "udp_path": None,
            "rekey_in_seconds": 14000.4,
        },
        {
            "spi_i": "0" * 16,
            "spi_r": "1" * 16,
            "state": "rekeyed",
            "remote_identity": "",
            "suite": "",
            "connection": None,
            "udp_path": None,
            "rekey_in_seconds": None,
        },
    ],
    "child_sas": [
        {
            "name": "net",
            "spi_in": "c0ffee01",
            "spi_out": "c0ffee02",
            "suite": "AES_GCM_16-256 / ESN",
            "local_ts": ["10.9.0.2/32"],
            "remote_ts": ["10.1.0.0/16"],
            "packets_in": 3,
            "octets_in": 1000,
            "packets_out": 4,
            "octets_out": 3 << 20,
            "dropped_in": {"replay": 2},
            "dropped_out": {},
        }
    ],
    "connections": [
        {
            "connection": number,
            "local": "192.0.2.1 40000",
            "remote": "192.0.2.2 4500",
            "is_current": is_current,
            "has_prefix": has_prefix,
            "is_half_open": is_half_open,
            "closes_in_seconds": 7.4 if is_half_open else None,
            "octets_in": 2048,
            "octets_out": 10,
        }
        for number, is_current, has_prefix, is_half_open in (
            (1, True, True, False),
            (2, False, True, False),
            (3, False, True, True),
            (4, False, False, True),
        )
    ],
    "half_open": {
        "connections": {
            "now": 2,
            "limit": 256,
            "limit_per_address": 16,
            "deadline_seconds": 10.0,
            "refused": 484,
            "timed_out": 14,
        },
        "ike_sas": {
            "now": 0,
            "limit": 256,
            "limit_per_address": 16,
            "deadline_seconds": 2.5,
            "refused": 0,
            "timed_out": 1,
        },
    },
    "dropped": {"unknown ESP SPI": 7},
    "closed": {"no valid message in time": 14, "closed by the peer": 3},
}

GOLDEN = """\
initiator, up 61.5 s; iketcp0 MTU 1438, 10.9.0.2/24; in 2 kbit/s, out 0 bit/s
IKE SAs
┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━┳━━━━━━━━━┓
┃ SPIi / SPIr    ┃ peer            ┃ state       ┃ suite          ┃ conn ┃ rekey   ┃
┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━╇━━━━━━━━━┩
│ 0123456789abcd │ [red]:boom:[/no │ established │ AES_GCM_16-256 │ 1    │ 14000 s │
│ ef             │ thing]@gw.examp │             │                │      │         │
│ fedcba98765432 │ le              │             │                │      │         │
│ 10             │                 │             │                │      │         │
│ 00000000000000 │                 │ rekeyed     │                │ none │ never   │
│ 00             │                 │             │                │      │         │
│ 11111111111111 │                 │             │                │      │         │
│ 11             │                 │             │                │      │         │
└────────────────┴─────────────────┴─────────────┴────────────────┴──────┴─────────┘
Child SAs
┏━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━┓
┃      ┃ SPI in /   ┃            ┃             ┃            ┃           ┃          ┃
┃ name ┃ out        ┃ suite      ┃ selectors   ┃ in         ┃ out       ┃ dropped  ┃
┡━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━┩
│ net  │ c0ffee01   │ AES_GCM_16 │ 10.9.0.2/32 │ 3 packets  │ 4 packets │ 2 replay │
│      │ c0ffee02   │ -256 / ESN │ 10.1.0.0/16 │ 1000       │ 3.0 MiB   │          │
│      │            │            │             │ octets     │           │          │
└──────┴────────────┴────────────┴─────────────┴────────────┴───────────┴──────────┘
TCP connections
┏━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━┓
┃ id ┃ local           ┃ remote         ┃ state              ┃ in      ┃ out       ┃
┡━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━┩
│ 1  │ 192.0.2.1 40000 │ 192.0.2.2 4500 │ current            │ 2.0 KiB │ 10 octets │
│ 2  │ 192.0.2.1 40000 │ 192.0.2.2 4500 │ not current        │ 2.0 KiB │ 10 octets │
│ 3  │ 192.0.2.1 40000 │ 192.0.2.2 4500 │ half-open, closes  │ 2.0 KiB │ 10 octets │
│    │                 │                │ in 7 s             │         │           │
│ 4  │ 192.0.2.1 40000 │ 192.0.2.2 4500 │ no stream prefix   │ 2.0 KiB │ 10 octets │
│    │                 │                │ yet, closes in 7 s │         │           │
└────┴─────────────────┴────────────────┴────────────────────┴─────────┴───────────┘
Half-open
┏━━━━━━━━━━━━━┳━━━━━┳━━━━━━━┳━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━┓
┃ kind        ┃ now ┃ limit ┃ per address ┃ refused ┃ timed out ┃ deadline ┃
┡━━━━━━━━━━━━━╇━━━━━╇━━━━━━━╇━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━┩
│ connections │ 2   │ 256   │ 16          │ 484     │ 14        │ 10 s     │
│ IKE SAs     │ 0   │ 256   │ 16          │ 0       │ 1         │ 2.5 s    │
└─────────────┴─────┴───────┴─────────────┴─────────┴───────────┴──────────┘
closed: 3, closed by the peer
closed: 14, no valid message in time
dropped: 7, unknown ESP SPI
"""


def rendered(answer: dict[str, Any]) -> str:
    """Render for a terminal of 84 columns, without what differs between them."""
    stream = io.StringIO()
    console = Console(file=stream, width=84, markup=False, highlight=False, emoji=False)
    render(answer, console)
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def test_tables() -> None:
    """What people see; names that a peer chose are no markup."""
    assert rendered(ANSWER) == GOLDEN


def test_the_protection_of_a_connection_is_shown() -> None:
    """Where there is TLS, with its version. RFC 9329 App. A."""
    protection = "TLSv1.3 TLS_AES_256_GCM_SHA384"
    connections = [{**c, "protection": protection} for c in ANSWER["connections"]]
    text = rendered({**ANSWER, "connections": connections})
    assert text.count("│ current ") == 1
    assert text.count("│ TLSv1.3 ") == 4


def test_an_error_is_no_table() -> None:
    """A peer that does not understand says so."""
    with pytest.raises(EnvironmentProblem, match="the peer answers: no"):
        rendered({"error": "no"})


def test_numbers_for_people() -> None:
    """Units of 1024 for sizes, of 1000 for rates."""
    assert [_size(n) for n in (0, 1023, 1024, 1 << 20, 1 << 30, 1 << 42)] == [
        "0 octets",
        "1023 octets",
        "1.0 KiB",
        "1.0 MiB",
        "1.0 GiB",
        "4096.0 GiB",
    ]
    assert [_rate(n) for n in (0, 999, 1000, 2e6, 1.5e9)] == [
        "0 bit/s",
        "999 bit/s",
        "1 kbit/s",
        "2 Mbit/s",
        "1.50 Gbit/s",
    ]


# --- pre-shared keys ------------------------------------------------------------------


def test_a_new_secret_is_printed() -> None:
    """In the form that files and variables hold, and nothing beside it."""
    done = run("psk", "new")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"0s[A-Za-z0-9+/]{43}=\n", done.stdout)


def test_a_new_secret_is_written(tmp_path: Path) -> None:
    """For its owner only, whatever the umask; and configurations can name the file."""
    path = tmp_path / "psk"
    done = run("psk", "new", "-o", path, umask=0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = tmp_path / "peer.toml"
    config.write_text(RESPONDER.format(port=1))
    loaded = load(config, "responder")
    assert loaded.warnings == ()
    assert [len(secret) for secret in loaded.ike.secrets.values()] == [32]


def test_a_new_secret_replaces_no_other(tmp_path: Path) -> None:
    """A peer may still have that one; and a folder that is missing is said to be."""
    path = tmp_path / "psk"
    path.write_text("old")
    assert refused("psk", "new", "-o", path) == (
        f"iketcp: cannot write {path}: File exists"
    )
    assert path.read_text() == "old"
    lost = tmp_path / "no" / "psk"
    assert refused("psk", "new", "-o", lost).endswith("No such file or directory")


def test_a_secret_that_does_not_fit_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a secret would be a secret of its own."""

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", fail)
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        write_psk(tmp_path / "psk")
    assert not list(tmp_path.iterdir())


# --- certificates for TLS -------------------------------------------------------------


def test_new_certificates_are_written(tmp_path: Path) -> None:
    """Who needs which file is said, with the pin; what is there stays there."""
    folder = tmp_path / "tls"
    done = run("tls", "new", folder, "--name", "gw.example", umask=0)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^Or its pin: +sha256:[0-9a-f]{64}$", done.stdout, re.MULTILINE)
    for name in ("server.pem", "server.key", "ca.pem"):
        assert str(folder / name) in done.stdout
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    assert refused("tls", "new", folder, "--name", "gw.example") == (
        f"iketcp: cannot write {folder / 'server.key'}: File exists"
    )
    assert refused("tls", "new", tmp_path, "--name", "g w") == (
        'iketcp: a name must be a host name or an IP address, not "g w"'
    )
