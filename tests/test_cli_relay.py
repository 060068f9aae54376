"""``iketcp relay``: its options, and its life as a process.

Source: RFC 9329 §2
"""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from iketcp.config.relay import RelayOptions, build, parse_endpoint
from iketcp.errors import ConfigurationError
from iketcp.net.tls import pin_of
from iketcp.net.tls_options import TlsIdentity, TlsTrust
from peer_support import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Process,
    eventually,
    is_hung_up,
    process,
)
from relay_support import esp, pem_files, refuses, stream
from test_cli import refused, run
from tls_support import CA, SERVER

OPTIONS = RelayOptions(
    listen=":4500",
    to="127.0.0.1",
    originate=False,
    ike_port=None,
    proxy_protocol_from=None,
    tls_certificate=None,
    tls_key=None,
    tls=False,
    tls_ca=None,
    tls_name=None,
    tls_pin=None,
    connections=100,
    half_open=10,
    half_open_per_address=2,
    idle="0",
    grace="90s",
    drain="0",
)
MIRROR = replace(OPTIONS, originate=True)
PIN = "sha256:" + "ab" * 32


# --- options --------------------------------------------------------------------------


def test_options_make_a_configuration() -> None:
    config = build(OPTIONS)
    assert (config.address, config.port) == (None, 4500)
    assert (config.to_host, config.to_port) == ("127.0.0.1", 4500)
    assert (config.tls, config.ike_port, config.is_originator) == (None, None, False)
    policy = config.policy
    assert (policy.connection_limit, policy.half_open_limit) == (100, 10)
    assert policy.half_open_address_limit == 2
    assert (policy.idle_seconds, policy.grace_seconds) == (0.0, 90.0)
    assert config.drain_seconds == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1:4501", ("192.0.2.1", 4501)),
        ("192.0.2.1", ("192.0.2.1", 4500)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("[2001:db8::1]", ("2001:db8::1", 4500)),
        ("gw.example:443", ("gw.example", 443)),
        (":443", ("", 443)),
    ],
)
def test_endpoints(text: str, found: tuple[str, int]) -> None:
    assert parse_endpoint("--to", text) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listen": "2001:db8::1"}, '--listen must be like "192.0.2.1:4500"'),
        ({"listen": "192.0.2.1:65536"}, "--listen must be like"),
        ({"listen": "gw.example:1"}, "--listen must be an address of this machine"),
        ({"to": ":4500"}, "--to needs a host before the port"),
        ({"to": "1.2.3:1"}, "--to must be a host name or an IP address"),
        ({"to": "[::1"}, "--to must be like"),
        ({"idle": "long"}, "--idle must be a duration"),
        ({"grace": "0"}, "--grace must be a duration"),
        ({"ike_port": 500}, "--ike-port goes with --originate only"),
        ({"originate": True, "proxy_protocol_from": ["::1"]}, "does not go with"),
        (
            {"proxy_protocol_from": ["gw"]},
            "--proxy-protocol-from must be an IP",
        ),
        ({"tls": True}, "go with --originate only"),
        ({"tls_pin": [PIN]}, "go with --originate only"),
        ({"tls_key": Path("x")}, "--tls-certificate and --tls-key go together"),
        ({"originate": True, "tls_name": "gw"}, "need --tls"),
        ({"originate": True, "tls_key": Path("x")}, "do not go with --originate"),
        (
            {"originate": True, "tls": True, "tls_pin": ["ab"]},
            '--tls-pin must be "sha256:"',
        ),
    ],
)
def test_wrong_options(changes: dict[str, object], words: str) -> None:
    """One sentence each, that names the option."""
    with pytest.raises(ConfigurationError) as caught:
        build(replace(OPTIONS, **changes))
    assert words in str(caught.value)


def test_a_server_of_tls(tmp_path: Path) -> None:
    """The whole chain is shown; a key that all can read draws a warning."""
    certificate, key = pem_files(tmp_path)
    options = replace(OPTIONS, tls_certificate=certificate, tls_key=key)
    config = build(options)
    assert isinstance(config.tls, TlsIdentity)
    assert config.tls.certificates == (SERVER.certificate, CA.certificate)
    assert config.warnings == ()
    key.chmod(0o644)
    assert "can be read by every user" in build(options).warnings[0]


def test_a_client_of_tls(tmp_path: Path) -> None:
    certificate, _ = pem_files(tmp_path)
    config = build(replace(MIRROR, to="gw.example:443", tls=True))
    assert config.tls == TlsTrust("gw.example")
    config = build(
        replace(MIRROR, tls=True, tls_ca=certificate, tls_name="gw", tls_pin=[PIN])
    )
    assert isinstance(config.tls, TlsTrust)
    assert (config.tls.name, len(config.tls.authorities)) == ("gw", 2)
    assert config.tls.pins == (bytes.fromhex("ab" * 32),)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing, no PEM, or a key that signs nothing."""
    certificate, key = pem_files(tmp_path)
    other = tmp_path / "other.key"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(X25519PrivateKey.generate().private_bytes(*form))
    for pair, words in (
        ((tmp_path / "none.pem", key), "--tls-certificate names"),
        ((key, key), "has no certificate in PEM"),
        ((certificate, certificate), "has no key in PEM"),
        ((certificate, other), "has no RSA, ECDSA or EdDSA key"),
    ):
        options = replace(OPTIONS, tls_certificate=pair[0], tls_key=pair[1])
        with pytest.raises(ConfigurationError, match=words):
            build(options)


# --- the process ----------------------------------------------------------------------


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    """A UDP socket that stands for the daemon."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK[4], 0))
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


def arguments(daemon: socket.socket, control: object = "none") -> list[object]:
    """A relay before the daemon, on any port."""
    to = f"127.0.0.1:{daemon.getsockname()[1]}"
    return ["relay", "--listen", "127.0.0.1:0", "--to", to, "--control", control]


def connect(relay: Process, octets: bytes = b"") -> socket.socket:
    """Connect to where the relay says that it listens."""
    where = str(relay.wait_for("listening")["address"])
    host, port = parse_endpoint("", where)
    client = socket.create_connection((host, port), PATIENCE_SECONDS)
    client.sendall(octets)
    return client


def test_sigterm_drains(daemon: socket.socket) -> None:
    """Who is there may stay until he goes; exit code 0."""
    with process(*arguments(daemon)) as relay, connect(relay, stream(esp())) as client:
        assert daemon.recv(65535) == esp()
        relay.signal(signal.SIGTERM)
        client.close()
        assert relay.end()[0] == 0


def test_the_second_signal_waits_for_nobody(daemon: socket.socket) -> None:
    """Exit code 130."""
    with process(*arguments(daemon)) as relay, connect(relay) as client:
        relay.wait_for("connection-opened")
        relay.signal(signal.SIGINT)
        port = client.getpeername()[1]
        eventually(lambda: refuses(port))  # the first signal has been taken
        relay.signal(signal.SIGINT)
        assert is_hung_up(client)
        assert relay.end()[0] == 130


def test_sighup_reads_anew(daemon: socket.socket, tmp_path: Path) -> None:
    """A certificate that is gone changes nothing, one that is there is taken."""
    certificate, key = pem_files(tmp_path)
    tls = ("--tls-certificate", certificate, "--tls-key", key)
    with process(*arguments(daemon), *tls) as relay:
        relay.wait_for("listening")
        relay.signal(signal.SIGHUP)
        relay.wait_for("reloaded")
        certificate.rename(tmp_path / "gone")
        relay.signal(signal.SIGHUP)
        assert "nothing is changed" in relay.wait_for("problem")["text"]
        relay.signal(signal.SIGTERM)
        assert relay.end()[0] == 0


def test_status(daemon: socket.socket, tmp_path: Path) -> None:
    """As of any peer, for people and for programs."""
    control = tmp_path / "relay.sock"
    with process(*arguments(daemon, control)) as relay:
        with connect(relay, stream(esp())):
            relay.wait_for("port-opened")
            told = run("status", "--socket", control, "--json")
            status = json.loads(told.stdout)
            assert (status["role"], len(status["connections"])) == ("relay", 1)
            shown = run("status", "--socket", control).stdout
            assert "TCP to UDP 127.0.0.1 port" in shown
        relay.signal(signal.SIGTERM)
        assert relay.end()[0] == 0
    assert not control.exists()


def test_too_few_descriptors_are_told(daemon: socket.socket) -> None:
    """The limit is raised as far as it may be; a warning says what that is good for."""
    with process(*arguments(daemon), "--connections", 10**9) as relay:
        relay.wait_for("listening")
        soft, hard = resource.prlimit(relay.child.pid, resource.RLIMIT_NOFILE)
        assert soft == hard
        relay.signal(signal.SIGTERM)
        code, told = relay.end()
        assert code == 0
        assert f"open files, {hard}, is enough for about {hard // 3}" in told


def test_mistakes_are_one_sentence() -> None:
    assert refused("relay", "--listen", ":0", "--to", ":1").startswith("iketcp: --to")
    with socket.create_server((LOOPBACK[4], 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused("relay", "--listen", where, "--to", where, "--control", "none")
        assert "cannot listen on" in told
    formats = ("--log-format", "xml")
    assert "--log-format" in refused("relay", "--listen", "", "--to", "x", *formats)


def test_pins_are_those_of_the_certificate() -> None:
    """What an operator computes is what is compared."""
    pin = pin_of(SERVER.certificate).hex()
    config = build(replace(MIRROR, tls=True, tls_pin=[pin]))
    assert isinstance(config.tls, TlsTrust)
    assert config.tls.pins == (pin_of(SERVER.certificate),)
    assert str(ip_address(config.to_host)) == config.tls.name
