"""Configuration files: what they mean, and where secrets come from."""

import os
from dataclasses import MISSING, fields, replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from config_samples import INITIATOR, RESPONDER, SECRET, write
from iketcp.config import Configuration, default_control_socket, load, parse
from iketcp.config.model import UdpConfig
from iketcp.config.psk import decode_psk, new_psk, weakness
from iketcp.config.values import BadValueError, duration, host, size
from iketcp.endpoint.tables import DatagramPolicy
from iketcp.errors import ConfigurationError
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import describe_proposal
from iketcp.ike.policy import Childless, Lifetime, PoolPolicy
from iketcp.ike.retransmission import RetransmissionPolicy
from iketcp.mapping import MappingPolicy
from iketcp.peers.datagrams import datagram_policy
from iketcp.peers.limits import mapping_policy


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test finds a good secret in the environment."""
    monkeypatch.setenv("TEST_PSK", SECRET.decode())


def test_the_shortest_initiator() -> None:
    """Identity, peer, secret and one Child SA are enough; the rest has defaults."""
    configuration = parse(INITIATOR, "initiator", "gw.toml")
    assert configuration.role == "initiator"
    assert configuration.local.identity == Identity.parse("@laptop.example")
    assert (configuration.local.address, configuration.local.port) == (None, 0)
    assert configuration.remote.address == "gw.example"
    assert configuration.remote.port == 4500
    assert configuration.remote.identity == Identity.parse("@gw.example")
    ike = configuration.ike
    assert ike.local_identity == configuration.local.identity
    assert ike.remote_identity == configuration.remote.identity
    assert ike.secrets == {None: SECRET}
    assert ike.lifetime == Lifetime(seconds=14400.0)
    assert [p.number for p in ike.proposals] == [1, 2]
    assert describe_proposal(ike.proposals[1]) == (
        "aes256-aes128-sha256-sha512-prfsha256-prfsha512-x25519-ecp256-modp2048"
    )
    assert (ike.request_timeout_seconds, ike.liveness_seconds) == (60.0, 30.0)
    assert (ike.pool, ike.request_families) == (None, ())
    (child,) = ike.children
    assert child.name == "office"
    assert [str(ts) for ts in child.local_ts] == ["0.0.0.0/0", "::/0"]
    assert [str(ts) for ts in child.remote_ts] == ["10.1.0.0/16"]
    assert child.lifetime == Lifetime(seconds=3600.0)
    assert (child.replay_window, child.tfc_pad_to) == (1024, 0)
    assert configuration.tun.mtu is None
    assert configuration.tun.routes is None
    assert configuration.log.file is None
    assert configuration.warnings == ()


def test_the_shortest_responder() -> None:
    """A responder listens on 4500 and serves whoever knows a secret [9329-2-ports]."""
    configuration = parse(RESPONDER, "responder", "gw.toml")
    assert (configuration.local.address, configuration.local.port) == (None, 4500)
    assert configuration.remote.address is None
    assert configuration.ike.remote_identity is None
    assert configuration.ike.is_cookie_required is False
    assert configuration.ike.half_open_seconds == 30.0


def test_defaults_of_the_transport() -> None:
    """The numbers that the rules name: RFC 9329 §6.1, §6.3, §10."""
    transport = parse(RESPONDER, "responder", "gw.toml").transport
    assert transport.extraneous_idle_seconds == 30.0
    assert transport.linger_seconds == 5.0
    assert transport.cookie_wait_seconds == 8.0
    assert transport.prefix_deadline_seconds == 10.0
    assert transport.unknown_spi_limit == 16
    assert transport.path_mtu == 1500
    assert transport.dscp == 0
    assert transport.resync == 0


def test_limits_of_the_mapping_stand_in_one_place() -> None:
    """What a file does not set is what the mapping has without a file."""
    for text, role in ((RESPONDER, "responder"), (INITIATOR, "initiator")):
        transport = parse(text, role, "peer.toml").transport
        assert mapping_policy(transport) == MappingPolicy()
    text = RESPONDER + "[transport]\nresync = 2\n"
    searching = mapping_policy(parse(text, "responder", "peer.toml").transport)
    assert searching == MappingPolicy(resync_limit=2)


def test_defaults_of_udp_are_those_of_its_policies() -> None:
    """TCP unless told otherwise; ports 500 and 4500. RFC 7296 §2.23."""
    for text, role in ((RESPONDER, "responder"), (INITIATOR, "initiator")):
        configuration = parse(text, role, "peer.toml")
        assert configuration.transport.protocol == "tcp"
        udp = configuration.udp
        assert (udp.ike_port, udp.encapsulation_port) == (500, 4500)
        assert (udp.remote_ike_port, udp.remote_encapsulation_port) == (500, 4500)
        assert datagram_policy(configuration) == DatagramPolicy()


def test_every_value_of_udp_arrives() -> None:
    """What the file says is what endpoint and IKE SAs get."""
    text = (
        INITIATOR
        + """\
[transport]
protocol = "udp"
path_mtu = 1400
[udp]
ike_port = "any"
encapsulation_port = 4501
remote_ike_port = 501
remote_encapsulation_port = 4502
repeat_first = "2s"
repeat_max = "4s"
repeat_total = "1m"
keepalive = "10s"
fragment_size = 600
"""
    )
    configuration = parse(text, "initiator", "peer.toml")
    assert configuration.transport.protocol == "udp"
    assert configuration.udp == UdpConfig(0, 4501, 501, 4502, 10.0, 600)
    assert configuration.ike.retransmission == RetransmissionPolicy(2.0, 4.0, 60.0)
    assert datagram_policy(configuration) == DatagramPolicy(1400, 600, 10.0)


def test_defaults_of_ike_are_those_of_its_policy() -> None:
    """What a file does not set is what a policy has that nobody sets."""
    policy = parse(RESPONDER, "responder", "gw.toml").ike
    (child,) = policy.children
    for found in (policy, child):
        for field in fields(found):
            if field.default is not MISSING:
                assert getattr(found, field.name) == field.default, field.name


def test_every_value_arrives() -> None:
    """What the file says is what the program gets, in its own types."""
    text = """
[local]
identity = "gw.example"
address = "2001:DB8::1"
port = 4501
[remote]
identity = "user@example.com"
[[secret]]
identity = "user@example.com"
psk_env = "TEST_PSK"
[ike]
proposals = ["aes128-sha256-modp2048", "chacha20poly1305-prfsha512-x448"]
lifetime = "none"
lifetime_jitter = 0
lifetime_grace = 1
request_timeout = 5
liveness = "none"
cookies = true
puzzle_threshold = 5
puzzle_difficulty = 12
half_open = 2.5
childless = "allow"
[[child]]
name = "a"
proposals = ["aes256gcm16-x25519-noesn"]
local_ts = ["10.1.0.1-10.1.0.9", "10.2.0.0/16[tcp/80]"]
remote_ts = ["2001:db8:1::/64"]
assigned = true
lifetime = "1d2h3m4s5ms"
lifetime_octets = "10GiB"
lifetime_packets = 1000
replay_window = 0
tfc_pad_to = 1400
[[child]]
name = "b"
local_ts = ["10.1.0.0/16"]
remote_ts = ["10.9.0.0/24"]
[pool]
networks = ["10.9.0.0/24", "2001:db8:9::/64"]
dns = ["10.1.0.53", "2001:db8::53"]
[transport]
send_queue = "64MiB"
dscp = 46
path_mtu = 1400
extraneous_idle = 0
resync = 3
corrupt_limit = 3
half_open_limit_per_address = 2
half_open_limit = 4
proxy_protocol_from = ["192.0.2.5", "2001:0db8::5"]
[tun]
mode = "memory"
name = "vpn0"
mtu = 1300
addresses = ["10.9.0.1/24", "2001:db8:9::1/64"]
routes = ["10.9.0.0/24"]
[control]
socket = "status.sock"
[log]
level = "debug"
file = "gw.log"
format = "json"
"""
    configuration = parse(text, "responder", "folder/gw.toml")
    assert configuration.local.address == "2001:db8::1"
    assert configuration.local.port == 4501
    ike = configuration.ike
    user = Identity.parse("user@example.com")
    assert ike.secrets == {user: SECRET}
    assert [p.number for p in ike.proposals] == [1, 2]
    assert ike.lifetime == Lifetime(seconds=None, jitter=0.0, grace=1.0)
    assert ike.request_timeout_seconds == 5.0
    assert ike.liveness_seconds is None
    assert ike.is_cookie_required is True
    assert (ike.puzzle_threshold, ike.puzzle_difficulty) == (5, 12)
    assert ike.half_open_seconds == 2.5
    assert ike.childless is Childless.ALLOW
    first, second = ike.children
    assert describe_proposal(first.proposals[0]) == "aes256gcm16-x25519-noesn"
    assert [str(ts) for ts in first.local_ts] == [
        "10.1.0.1-10.1.0.9",
        "10.2.0.0/16[tcp/80]",
    ]
    assert first.is_narrowed_to_assigned_address
    assert first.lifetime == Lifetime(
        seconds=93784.005, octets=10 * 2**30, packets=1000
    )
    assert (first.replay_window, first.tfc_pad_to) == (0, 1400)
    assert not second.is_narrowed_to_assigned_address
    assert ike.pool == PoolPolicy(
        ("10.9.0.0/24", "2001:db8:9::/64"), ("10.1.0.53", "2001:db8::53")
    )
    transport = configuration.transport
    assert transport.send_queue_octets == 64 * 2**20
    assert (transport.dscp, transport.path_mtu) == (46, 1400)
    assert transport.extraneous_idle_seconds == 0.0
    assert (transport.corrupt_limit, transport.resync) == (3, 3)
    assert transport.half_open_limit_per_address == 2
    assert transport.half_open_limit == 4
    assert transport.proxy_protocol_from == ("192.0.2.5", "2001:db8::5")
    tun = configuration.tun
    assert (tun.mode, tun.name, tun.mtu) == ("memory", "vpn0", 1300)
    assert tun.addresses == (
        ip_interface("10.9.0.1/24"),
        ip_interface("2001:db8:9::1/64"),
    )
    assert tun.routes == (ip_network("10.9.0.0/24"),)
    assert configuration.control.socket == Path("folder/status.sock")
    assert configuration.log.level == "debug"
    assert configuration.log.file == Path("folder/gw.log")
    assert configuration.log.format == "json"


def test_values_of_the_initiator_only() -> None:
    """Addresses asked for, ports, back-off, DNS and words that mean nothing at all."""
    text = INITIATOR.replace("[remote]", "[remote]\nport = 443")
    text += """\
assigned = true
[ike]
request_addresses = ["ipv6", "ipv4"]
[transport]
connect_timeout = "3s"
reconnect_first = "500ms"
reconnect_max = "2m"
user_timeout = 0
[tun]
routes = "none"
resolv_conf = "resolv.conf"
[control]
socket = "none"
"""
    configuration = parse(text, "initiator", "gw.toml")
    assert configuration.remote.port == 443
    assert configuration.ike.request_families == (6, 4)
    assert configuration.ike.children[0].is_narrowed_to_assigned_address
    assert configuration.transport.connect_timeout_seconds == 3.0
    assert configuration.transport.reconnect_first_seconds == 0.5
    assert configuration.transport.reconnect_max_seconds == 120.0
    assert configuration.transport.user_timeout_seconds == 0.0
    assert configuration.tun.routes == ()
    assert configuration.tun.resolv_conf == Path("resolv.conf")
    assert configuration.control.socket is None


def test_other_forms_of_toml() -> None:
    """Inline tables and dotted keys say the same."""
    text = """
local = { identity = "@laptop.example", psk_env = "TEST_PSK" }
remote.address = "gw.example"
remote."identity" = "@gw.example"
child = [ { name = "office", remote_ts = ["10.1.0.0/16"] } ]
"""
    usual = parse(INITIATOR, "initiator", "gw.toml")
    assert parse(text, "initiator", "gw.toml") == usual


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("250ms", 0.25),
        ("5m250ms", 300.25),
        (90, 90.0),
        (0.5, 0.5),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    """Units from days down to milliseconds, or plain seconds."""
    assert duration().parse(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "s", "1", "1x", "1m1h", "-1s", "1.5h", " 1s", "999999999d", "\u0663s"],
)
def test_what_is_no_duration(written: str) -> None:
    """Units out of order, signs, foreign digits, and more than ten years."""
    with pytest.raises(BadValueError):
        duration().parse(written)


@pytest.mark.parametrize(
    "written", [0, -1, True, float("nan"), float("inf"), 10**400, [], {}]
)
def test_what_is_no_number_of_seconds(written: object) -> None:
    """Nothing at all, less than that, and what is no number."""
    with pytest.raises(BadValueError):
        duration().parse(written)


@pytest.mark.parametrize(
    ("written", "octets"),
    [("64MiB", 2**26), ("10 GB", 10**10), ("1KiB", 1024), ("7", 7), ("7B", 7), (9, 9)],
)
def test_sizes(written: object, octets: int) -> None:
    """Binary and decimal units, or plain octets."""
    assert size().parse(written) == octets


@pytest.mark.parametrize("written", ["", "MiB", "1XB", "0", 0, -5, 1.5, False, 2**63])
def test_what_is_no_size(written: object) -> None:
    """Nothing, signs, fractions and what does not fit 63 bits."""
    with pytest.raises(BadValueError):
        size().parse(written)


def test_hosts() -> None:
    """Names and addresses pass; what looks like an address must be one."""
    for good in ("gw.example", "gw", "_x.example.", "192.0.2.1", "2001:db8::1"):
        assert host().parse(good) == good
    for bad in ("", "192.0.2.256", "a b", "-a.example", "a..b", "::g", "a" * 64, 5):
        with pytest.raises(BadValueError):
            host().parse(bad)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, or not UTF-8: one sentence each."""
    missing = tmp_path / "none.toml"
    with pytest.raises(ConfigurationError) as caught:
        load(missing, "initiator")
    assert str(caught.value) == (
        f"{missing}: this file cannot be read: No such file or directory"
    )
    with pytest.raises(ConfigurationError) as caught:
        load(str(tmp_path), "initiator")
    assert str(caught.value).startswith(f"{tmp_path}: this file cannot be read: ")
    broken = write(tmp_path / "broken.toml", INITIATOR.encode() + b"# \xff\n")
    with pytest.raises(ConfigurationError) as caught:
        load(broken, "initiator")
    assert str(caught.value) == f"{broken}:10: this is not UTF-8 text"


def load_secret(folder: Path, octets: bytes, mode: int = 0o600) -> Configuration:
    """Load the initiator's file with a secret beside it."""
    write(folder / "psk", octets, mode)
    text = INITIATOR.replace('psk_env = "TEST_PSK"', 'psk_file = "psk"')
    return load(write(folder / "gw.toml", text.encode()), "initiator")


def test_a_secret_file(tmp_path: Path) -> None:
    """It counts from the configuration's folder; one newline is not part of it."""
    configuration = load_secret(tmp_path, SECRET + b"\n")
    assert configuration.ike.secrets == {None: SECRET}
    assert configuration.warnings == ()


def test_a_secret_that_all_can_read_draws_a_warning(tmp_path: Path) -> None:
    """So does a short one: RFC 7296 §2.15 wants as much as the strongest key."""
    configuration = load_secret(tmp_path, b"0x" + b"ab" * 15, 0o644)
    assert configuration.warnings == (
        "psk can be read by every user (mode 0644); run: chmod 600 psk",
        "psk holds a secret of 15 octets; fewer than 16 can be guessed",
    )
    good = b"0x" + bytes(range(0, 160, 10))[::-1].hex().encode()[:-2] + b"ab"
    assert load_secret(tmp_path, good, 0o640).warnings == ()


def test_a_short_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names the variable, not the secret."""
    monkeypatch.setenv("TEST_PSK", "hunter2")
    configuration = parse(INITIATOR, "initiator", "gw.toml")
    assert configuration.warnings == (
        "$TEST_PSK holds a secret of 7 octets; fewer than 16 can be guessed",
    )


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (bytes(15), "of 15 octets; fewer than 16 can be guessed"),
        (b"abcdefg" * 9, "with fewer than 8 distinct octets; it can be guessed"),
        (bytes(range(250, 256)) + bytes(26), "with fewer than 8 distinct octets; it "),
        (b"abcdefghijklmnopqrstuvwxyz01"[:26], "that only counts up or down; "),
        (bytes(range(32, 0, -1)), "that only counts up or down; it can be guessed"),
        (b"correct horse! " * 4, "that repeats fewer than 16 octets; it can be "),
        (b"314159265358979323846264338327950288419"[:38], "too short for one kind of"),
        (b"0123456789abcdef" + b"fedcba987654321", "too short for one kind of "),
        (b"qwertyuiopasdfghjklzxcvbnmq", "too short for one kind of characters: "),
        (b"Tr0ub4dor&3 Tr0ub5a", "too short for characters: under 128 bits; it can "),
    ],
)
def test_a_weak_secret(secret: bytes, reason: str) -> None:
    """Short, of few octets, counting, repeated, or of few signs; none of it is shown.

    Source: RFC 7296 §2.15, RFC 7296 §5
    """
    found = weakness(secret)
    assert found is not None
    assert found.startswith(reason)


@pytest.mark.parametrize(
    "secret",
    [
        b"314159265358979323846264338327950288419",
        b"0123456789abcdef" + b"fedcba9876543210",
        b"qwertyuiopasdfghjklzxcvbnmqq",
        b"Tr0ub4dor&3 Tr0ub5ad",
        b"\xff3\x80abcdefghijklm",
        b"\xff3\x80abcdefghijkl\xff",  # begins and ends with the same octet
    ],
)
def test_a_secret_at_the_limit(secret: bytes) -> None:
    """One sign more, and the same secrets hold 128 bits at the very best."""
    assert weakness(secret) is None


def test_new_secrets() -> None:
    """32 octets, each time others, and strong."""
    first, second = (decode_psk(new_psk().encode()) for _ in range(2))
    assert first != second
    assert {len(first), len(second)} == {32}
    assert weakness(first) is weakness(second) is None


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"", "psk is empty"),
        (b"\n", "psk is empty"),
        (b"0x", "psk is empty"),
        (b"0xabc", "psk begins with 0x but is not hexadecimal"),
        (b"0s!!!", "psk begins with 0s but is not Base64"),
    ],
)
def test_a_secret_that_is_none(tmp_path: Path, octets: bytes, sentence: str) -> None:
    """What is wrong is said without showing any of it."""
    with pytest.raises(ConfigurationError) as caught:
        load_secret(tmp_path, octets)
    assert str(caught.value) == (
        f"{tmp_path / 'gw.toml'}:3: [local] psk_file is wrong: {sentence}"
    )


def test_a_secret_beyond_reason(tmp_path: Path) -> None:
    """A file that is no secret at all is not read to its end."""
    with pytest.raises(ConfigurationError, match="psk, which is too large"):
        load_secret(tmp_path, bytes(65537))


@pytest.mark.parametrize(
    ("octets", "secret"),
    [
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc\n\n", b"abc\n"),
        (b" abc ", b" abc "),
        (b"\xff\x00", b"\xff\x00"),
        (b"0xC0ffEE\n", b"\xc0\xff\xee"),
        (b"0swP/u\n", b"\xc0\xff\xee"),
    ],
)
def test_encodings_of_secrets(octets: bytes, secret: bytes) -> None:
    """As strongSwan: 0x for hexadecimal, 0s for Base64, else the octets as they are."""
    assert decode_psk(octets) == secret


def test_no_secret_in_any_text() -> None:
    """A configuration can be printed, and an error shown."""
    assert SECRET.decode() not in repr(parse(INITIATOR, "initiator", "gw.toml"))
    text = INITIATOR + '[[secret]]\npsk = "hunter2"\n'
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "initiator", "gw.toml")
    assert "hunter2" not in str(caught.value)


def test_the_control_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under /run where we may write, else where the session keeps its own."""
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert default_control_socket("responder") == Path("/run/iketcp-responder.sock")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own = tmp_path / "iketcp-initiator.sock"
    assert default_control_socket("initiator") == own
    assert parse(INITIATOR, "initiator", "gw.toml").control.socket == own
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_control_socket("initiator") == Path("/run/iketcp-initiator.sock")


def test_records_are_values() -> None:
    """Two readings of one text are equal, and a copy can differ in one field."""
    one = parse(INITIATOR, "initiator", "gw.toml")
    assert one == parse(INITIATOR, "initiator", "gw.toml")
    assert replace(one, warnings=("x",)) != one
