"""What others have between two peers: OpenSSL, stunnel, HAProxy, tinyproxy.

The stage is that of :mod:`test_tunnel_namespaces`. In every scene a whole tunnel comes
up through the other program, answers pings and carries a transfer unharmed.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet, Raw

from captures import OUTER_IPV4, run_tshark, write_packets
from connection_support import Reader, carriers
from iketcp.config.issuing import write_tls_files
from iketcp.net.tcp import TcpConnection
from iketcp.peers.sinks import KeyLog
from iketcp.stream import STREAM_PREFIX
from namespaces import require_or_skip
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Process,
    die_with_parent,
    eventually,
)
from test_tunnel_namespaces import (
    INITIATOR,
    INNER_EAST,
    OUTER,
    POOL,
    RESPONDER,
    SITE,
    Stage,
    ended,
    on_stage,
    ping,
    transfer,
)
from tls_support import CA, client, server

PLACES = "/usr/bin:/usr/sbin:/bin"
OCTETS = 4 << 20
SERVER_TLS = '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
CLIENT_TLS = '[tls]\nca = "ca.pem"\n'
HERE = ("127.0.0.1", 4500)
EAST, WEST = OUTER[4], "192.0.2.1"


def needs(program: str) -> None:
    """Skip without a program, except in CI."""
    is_there = shutil.which(program, path=PLACES) is not None
    require_or_skip(is_there, f"there is no {program} program")


@contextlib.contextmanager
def program(
    built: Stage,
    *command: str,
    is_east: bool = False,
    end: socket.socket | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on the stage; with ``end``, it reads and writes there."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [shutil.which(command[0], path=PLACES) or command[0], *command[1:]],
            stdin=subprocess.DEVNULL if end is None else end,
            stdout=subprocess.DEVNULL if end is None else end,
            stderr=(built.folder / "program.log").open("ab"),
            cwd=built.folder,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one call, no lock)
        )

    running = built.in_the_east(start) if is_east else start()
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def listens(built: Stage, address: str, port: int, is_east: bool = False) -> None:
    """Wait until somebody takes connections."""

    def is_taken() -> bool:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.connect((address, port))
            return True
        return False

    look: Callable[[], bool] = is_taken
    if is_east:
        look = lambda: bool(built.in_the_east(is_taken))  # noqa: E731
    eventually(look, f"a listener on port {port}")


def responder(built: Stage, more: str = "", local: str = "") -> Process:
    """Start the responder in the east."""
    text = RESPONDER.format(local_ts=SITE, pool=POOL, tun="")
    return built.start("responder", text.replace("[ike]", f"{local}[ike]", 1) + more)


def initiator(built: Stage, address: str, more: str = "") -> Process:
    """Start the initiator in the west; it has the tunnel when this returns."""
    text = INITIATOR.format(address=address, remote_ts=SITE, ike="", tun="")
    return built.start("initiator", text + more)


def carries(built: Stage, west: Process, east: Process) -> None:
    """Use the tunnel, and end it in order."""
    octets = random.Random(9329).randbytes(OCTETS)
    for address in INNER_EAST.values():
        ping(address)
    arrived = transfer(built, INNER_EAST[4], octets)
    assert arrived == hashlib.sha256(octets).hexdigest()
    ended(west, signal.SIGTERM)
    east.wait_for("ike-sa-closed", reason="deleted by the peer")
    ended(east, signal.SIGTERM)


def certificates(built: Stage) -> Path:
    """Make a CA and a certificate for whoever ends TLS."""
    write_tls_files(built.folder, ["gw.example", EAST, OUTER[6], "127.0.0.1"])
    return built.folder


# --- OpenSSL --------------------------------------------------------------------------


@contextlib.contextmanager
def handed_over(built: Stage, *command: str) -> Iterator[None]:
    """Accept one connection, and let a program read and write there."""
    is_over = threading.Event()

    def serve() -> None:
        listener.settimeout(PATIENCE_SECONDS)
        accepted, _ = listener.accept()
        with accepted, program(built, *command, end=accepted):
            is_over.wait()  # a program dies with the thread that started it

    with socket.create_server(HERE) as listener, ThreadPoolExecutor() as pool:
        serving = pool.submit(serve)
        try:
            yield
        finally:
            is_over.set()
        serving.result()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@on_stage
def test_openssl_s_client(built: Stage, version: str) -> None:
    """OpenSSL's client brings a plain initiator to a responder with TLS."""
    needs("openssl")
    certificates(built)
    east = responder(built, SERVER_TLS)
    command = f"openssl s_client -quiet {version} -connect {EAST}:443 -CAfile ca.pem"
    checks = "-verify_return_error -verify_hostname gw.example -servername gw.example"
    with handed_over(built, *command.split(), *checks.split()):
        west = initiator(built, HERE[0])
        carries(built, west, east)


def test_key_updates(tmp_path: Path) -> None:
    """OpenSSL's client changes its keys, and asks us to change ours. TLS 1.3"""
    needs("openssl")
    (tmp_path / "ca.pem").write_bytes(CA.certificate.public_bytes(Encoding.PEM))
    with socket.create_server((LOOPBACK[4], 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        command = f"openssl s_client -connect {where} -CAfile {tmp_path}/ca.pem"
        talking = subprocess.Popen(
            [*command.split(), "-tls1_3", "-verify_return_error"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one call, no lock)
        )
        accepted = server().wrap(TcpConnection(listener.accept()[0]))
    reader, told = Reader(accepted), b""
    with talking:
        pen, ear = talking.stdin, talking.stdout
        assert pen is not None
        assert ear is not None
        for number, command_letter in enumerate((b"", b"k", b"K")):
            if command_letter:
                write_line(pen, command_letter)
                wait_for_line(ear, b"KEYUPDATE")
            write_line(pen, b"line %d" % number)
            told += b"line %d\n" % number
            assert reader.wait_for(len(told)) == told
            assert accepted.send(b"answer %d\n" % number, droppable=False)
            wait_for_line(ear, b"answer %d" % number)
        pen.close()
        assert reader.join() == b""
        accepted.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tshark_reads_what_is_inside(tmp_path: Path, version: str) -> None:
    """The key log has what Wireshark needs to see the stream of RFC 9329 §4."""
    key_log = KeyLog(tmp_path / "keys")
    options = {"is_12_allowed": version == "1.2", "is_13_allowed": version == "1.3"}
    sent: list[tuple[int, bytes]] = []
    with carriers() as ends:
        for sender, end in enumerate(ends):
            note(end, sender, sent)
        ours = client(log_key=key_log.tls_secret, **options).wrap(ends[0])
        theirs = server(**options).wrap(ends[1])
        reader = Reader(theirs)
        assert ours.handshake(PATIENCE_SECONDS)
        assert ours.send(STREAM_PREFIX + b"forth", droppable=False)
        assert reader.wait_for(11) == STREAM_PREFIX + b"forth"
        assert theirs.send(b"back", droppable=False)
        assert ours.wait_and_receive() == b"back"
        ours.close()
        assert reader.join() == b""
        theirs.close()
    write_packets(tmp_path / "tls.pcap", segments(sent))
    text = run_tshark(
        tmp_path,
        tmp_path / "tls.pcap",
        *("-o", f"tls.keylog_file:{tmp_path / 'keys' / 'tls_secrets'}"),
        *("-q", "-z", "follow,tls,raw,0"),
        preferences=(),
    )
    found = [line.strip() for line in text.splitlines()]
    assert [line for line in found if line and not line.strip("0123456789abcdef")] == [
        (STREAM_PREFIX + b"forth").hex(),
        b"back".hex(),
    ]


def note(carrier: TcpConnection, sender: int, sent: list[tuple[int, bytes]]) -> None:
    """See what a connection hands to its stack, in the order of both."""
    send = carrier.send

    def note_and_send(octets: bytes, droppable: bool) -> bool:
        sent.append((sender, octets))
        return send(octets, droppable)

    carrier.send = note_and_send  # type: ignore[method-assign]


def segments(sent: list[tuple[int, bytes]]) -> Iterator[Packet]:
    """A TCP connection to port 443: its handshake, then a segment for each write."""
    hosts, ports, numbers = OUTER_IPV4, (40001, 443), [1001, 5001]
    for sender, flags, sequence, acknowledged in (
        (0, "S", 1000, 0),
        (1, "SA", 5000, 1001),
        (0, "A", 1001, 5001),
    ):
        head = TCP(
            sport=ports[sender],
            dport=ports[1 - sender],
            flags=flags,
            seq=sequence,
            ack=acknowledged,
        )
        yield IP(src=hosts[sender], dst=hosts[1 - sender]) / head
    for sender, octets in sent:
        head = TCP(
            sport=ports[sender],
            dport=ports[1 - sender],
            flags="PA",
            seq=numbers[sender],
            ack=numbers[1 - sender],
        )
        yield IP(src=hosts[sender], dst=hosts[1 - sender]) / head / Raw(octets)
        numbers[sender] += len(octets)


def write_line(stream: IO[bytes], line: bytes) -> None:
    """Write a line, now."""
    stream.write(line + b"\n")
    stream.flush()


def wait_for_line(stream: IO[bytes], line: bytes) -> None:
    """Read up to a line."""
    while (seen := stream.readline()) != line + b"\n":
        assert seen, f"there is no {line!r}"


@on_stage
def test_openssl_s_server(built: Stage) -> None:
    """OpenSSL's server takes TLS from an initiator for a plain responder."""
    needs("openssl")
    certificates(built)
    east = responder(built)
    inner = built.in_the_east(lambda: socket.create_connection((EAST, 4500)))
    command = "openssl s_server -quiet -accept 443 -naccept 1"
    files = "-cert server.pem -key server.key"
    with (
        inner,
        program(built, *command.split(), *files.split(), is_east=True, end=inner),
    ):
        eventually(lambda: is_listening(built, 443), "OpenSSL's server")
        west = initiator(built, EAST, CLIENT_TLS)
        carries(built, west, east)


def is_listening(built: Stage, port: int) -> bool:
    """Tell without a connection whether somebody listens in the east."""
    table = built.in_the_east(lambda: Path("/proc/thread-self/net/tcp6").read_text())
    table += built.in_the_east(lambda: Path("/proc/thread-self/net/tcp").read_text())
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
        for line in table.splitlines()
    )


# --- stunnel --------------------------------------------------------------------------

STUNNEL_SERVER = f"""\
foreground = yes
syslog = no
[ike]
accept = {EAST}:443
connect = {EAST}:4500
cert = server.pem
key = server.key
"""

STUNNEL_CLIENT = f"""\
foreground = yes
syslog = no
client = yes
[ike]
accept = 127.0.0.1:4500
connect = {EAST}:443
CAfile = ca.pem
verifyChain = yes
checkHost = gw.example
"""


@on_stage
def test_stunnel_as_the_server(built: Stage) -> None:
    """In front of a plain responder; the initiator speaks TLS."""
    needs("stunnel")
    certificates(built)
    east = responder(built)
    (built.folder / "stunnel.conf").write_text(STUNNEL_SERVER)
    with program(built, "stunnel", "stunnel.conf", is_east=True):
        eventually(lambda: is_listening(built, 443), "stunnel")
        west = initiator(built, EAST, CLIENT_TLS)
        carries(built, west, east)


@on_stage
def test_stunnel_as_the_client(built: Stage) -> None:
    """Beside a plain initiator; the responder speaks nothing but TLS."""
    needs("stunnel")
    certificates(built)
    east = responder(built, SERVER_TLS, 'port = "none"\n')
    (built.folder / "stunnel.conf").write_text(STUNNEL_CLIENT)
    with program(built, "stunnel", "stunnel.conf"):
        listens(built, *HERE)
        west = initiator(built, HERE[0])
        carries(built, west, east)


# --- HAProxy --------------------------------------------------------------------------

HAPROXY = f"""\
global
    log stderr format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen ike
    bind {EAST}:8443
    server east {EAST}:443 send-proxy-v2
"""


@on_stage
def test_haproxy_says_for_whom_it_connects(built: Stage) -> None:
    """A balancer before the port of TLS: the responder sees the client, not it."""
    needs("haproxy")
    certificates(built)
    transport = f'[transport]\nproxy_protocol_from = ["{EAST}"]\n'
    east = responder(built, SERVER_TLS + transport)
    (built.folder / "haproxy.cfg").write_text(HAPROXY)
    with program(built, "haproxy", "-db", "-f", "haproxy.cfg", is_east=True):
        eventually(lambda: is_listening(built, 8443), "HAProxy")
        west = initiator(built, EAST, CLIENT_TLS + "port = 8443\n")
        opened = east.wait_for("connection-opened")
        assert opened["remote"].startswith(f"{WEST} ")
        assert opened["local"] == f"{EAST} 8443"
        carries(built, west, east)


# --- tinyproxy ------------------------------------------------------------------------

TINYPROXY = """\
Port 8888
Listen 192.0.2.2
Timeout 600
BasicAuth alice secret
ConnectPort {port}
"""


@pytest.mark.parametrize("is_tls", [True, False])
@on_stage
def test_tinyproxy(built: Stage, is_tls: bool) -> None:
    """A proxy that wants a password, and lets CONNECT go to one port only."""
    needs("tinyproxy")
    certificates(built)
    east = responder(built, SERVER_TLS)
    port = 443 if is_tls else 4500
    (built.folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=port))
    (built.folder / "password").write_text("secret\n")
    (built.folder / "password").chmod(0o600)
    more = f'[proxy]\naddress = "{EAST}"\nport = 8888\n'
    more += 'user = "alice"\npassword_file = "password"\n'
    with program(built, "tinyproxy", "-d", "-c", "tinyproxy.conf", is_east=True):
        eventually(lambda: is_listening(built, 8888), "tinyproxy")
        west = initiator(built, EAST, more + (CLIENT_TLS if is_tls else ""))
        carries(built, west, east)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("bob", "the proxy wants another user name or password (401)"),
        ("alice", "the proxy refuses: '403 Access violation'"),
    ],
)
@on_stage
def test_tinyproxy_refuses(built: Stage, user: str, words: str) -> None:
    """By whom and by where to: in words, and tried again."""
    needs("tinyproxy")
    (built.folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=22))
    (built.folder / "password").write_text("secret\n")
    (built.folder / "password").chmod(0o600)
    more = f'[proxy]\naddress = "{EAST}"\nport = 8888\n'
    more += f'user = "{user}"\npassword_file = "password"\n'
    text = INITIATOR.format(address=EAST, remote_ts=SITE, ike="", tun="") + more
    path = built.folder / "initiator.toml"
    path.write_text(text)
    with program(built, "tinyproxy", "-d", "-c", "tinyproxy.conf", is_east=True):
        eventually(lambda: is_listening(built, 8888), "tinyproxy")
        west = Process("initiator", "-c", path)
        failed = west.wait_for("connect-failed", attempt=2)
        assert failed["reason"] == f"{EAST} port 8888: {words}"
        ended_unconnected(west)


def ended_unconnected(west: Process) -> None:
    """End an initiator that got nowhere, and says so."""
    west.signal(signal.SIGTERM)
    code, errors = west.end()
    assert code == 0, errors
    assert "Traceback" not in errors
