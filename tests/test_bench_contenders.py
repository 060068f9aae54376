"""Contenders of the benchmarks: their files, and that each really carries something."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest

from iketcp.bench import loads, programs
from iketcp.bench.contenders import Contender, Iketcp, OpenVpn, Wire
from iketcp.bench.openconnect import OpenConnect
from iketcp.bench.programs import Program
from iketcp.bench.strongswan import StrongSwan
from iketcp.demo.scenery import EAST, SITES, WEST
from iketcp.demo.stage import Namespaces, make_namespaces
from iketcp.errors import EnvironmentProblem
from namespaces import require_or_skip, tun_obstacle

NOWHERE = Namespaces("root", {}, None)


def require_stage() -> None:
    """Skip where no load can be put on a tunnel."""
    require_or_skip(os.geteuid() == 0, "only root has this mode")
    require_or_skip(not tun_obstacle(), tun_obstacle())
    require_or_skip(shutil.which("iperf3") is not None, "iperf3 is not installed")


def is_installed(name: str) -> bool:
    """Whether a program is there."""
    try:
        programs.require_program(name, name)
    except EnvironmentProblem:
        return False
    return True


# --- files and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("contender", "reason"),
    [
        (Iketcp("x", 9000, is_udp=True), "need TCP"),
        (StrongSwan("x", 9000), "MTU of 1400, always"),
    ],
)
def test_an_mtu_that_cannot_be_is_refused(
    contender: Contender, reason: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(EnvironmentProblem, match=reason),
        contender.up(NOWHERE, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("contender", "package"),
    [
        (OpenVpn("x"), "openvpn"),
        (OpenConnect("x"), "ocserv"),
        (StrongSwan("x"), "charon-systemd strongswan-swanctl"),
    ],
)
def test_a_program_that_is_missing_is_named(
    contender: Contender,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with (
        pytest.raises(EnvironmentProblem, match=f"apt-get install {package}"),
        contender.up(NOWHERE, tmp_path),
    ):
        pass


def test_a_tls_record_limits_openconnect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/sbin/{name}")
    with (
        pytest.raises(EnvironmentProblem, match="TLS record"),
        OpenConnect("x", 60000).up(NOWHERE, tmp_path),
    ):
        pass


def test_what_openconnect_and_ocserv_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing about UDP; of the MTU they subtract what they think TLS needs."""
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/sbin/{name}")
    contender = OpenConnect("x", 9000)
    files = contender.files(tmp_path)
    lines = files["ocserv.conf"].splitlines()
    assert "mtu = 9028" in lines
    assert f"server-cert = {tmp_path}/east.pem" in lines
    assert not any("udp" in line for line in lines)
    assert 'set "$TUNDEV" mtu 9000 up' in files["script"]
    client = contender.commands(tmp_path)[WEST]
    assert {"--no-dtls", "--base-mtu", "east.example:192.0.2.2"} < set(client)


def test_what_strongswan_is_told(tmp_path: Path) -> None:
    """The order of plugins is its own; only the west initiates."""
    files = StrongSwan("x", esp="chacha20poly1305-noesn").files(tmp_path)
    for site in SITES:
        assert "load_modular = yes" in files[f"{site}.conf"]
        assert f"unix://{tmp_path}/{site}.vici" in files[f"{site}.conf"]
        assert "esp_proposals = chacha20poly1305-noesn" in files[f"{site}.swanctl"]
    assert "start_action = start" in files["west.swanctl"]
    assert "start_action = none" in files["east.swanctl"]
    assert "remote_ts = 10.1.0.1/32" in files["west.swanctl"]


@pytest.mark.parametrize("is_udp", [False, True])
def test_what_iketcp_is_told(is_udp: bool, tmp_path: Path) -> None:
    contender = Iketcp("x", 1400, has_offloads=False, is_udp=is_udp)
    told = tomllib.loads(contender.configuration(WEST, tmp_path))
    assert (told["tun"]["mtu"], told["tun"]["offloads"]) == (1400, False)
    assert told.get("transport") == ({"protocol": "udp"} if is_udp else None)


# --- the real ones --------------------------------------------------------------------

REAL: dict[str, tuple[Contender, dict[str, str], tuple[str, ...]]] = {
    "iketcp over TLS": (
        Iketcp("x", 9000, is_tls=True),
        dict.fromkeys(SITES, "iketcp0"),
        (),
    ),
    "iketcp over UDP": (Iketcp("x", is_udp=True), dict.fromkeys(SITES, "iketcp0"), ()),
    "OpenVPN": (OpenVpn("x", 9000), dict.fromkeys(SITES, "tun0"), ("openvpn",)),
    "openconnect": (
        OpenConnect("x", 9000),
        {EAST: "vpns0", WEST: "tun0"},
        ("ocserv", "openconnect"),
    ),
    "strongSwan": (
        StrongSwan("x"),
        dict.fromkeys(SITES, "ipsec0"),
        ("charon-systemd", "swanctl"),
    ),
}
"""Each with its device at each site, and the programs it needs."""


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_contender_carries_something(name: str, tmp_path: Path) -> None:
    """It comes up, its devices have the MTU that is compared, and its time counts."""
    require_stage()
    contender, devices, needed = REAL[name]
    for each in needed:
        if not is_installed(each):
            pytest.skip(f"optional: {each} is not installed")
    with make_namespaces("root") as namespaces:
        with contender.up(namespaces, tmp_path) as (address, between):
            loads.wait_until_up(namespaces, address, between)
            for site, device in devices.items():
                assert mtu_of(namespaces, site, device) == contender.mtu
            before = [program.cpu_seconds() for program in between]
            flow = loads.send(namespaces, address, 1, 1, is_back=False)
            after = [program.cpu_seconds() for program in between]
        assert flow.octets > 0
        assert sum(after) > sum(before)
        assert all(program.process.poll() is not None for program in between)


def mtu_of(namespaces: Namespaces, site: str, device: str) -> int:
    """MTU of a device of a site."""
    ip = programs.require_program("ip", "iproute2")
    show = Program(namespaces, site, [ip, "-j", "link", "show", device])
    with programs.running([show]):
        (link,) = json.loads(show.output(10))
    return int(link["mtu"])


@pytest.mark.slow
def test_the_route_steers_tcp_connections() -> None:
    """Whatever the machine's default is, a connection that asks for nothing gets it."""
    require_stage()
    iperf3 = programs.require_program("iperf3", "iperf3")
    shell = programs.require_program("sh", "dash")
    default = "echo reno > /proc/sys/net/ipv4/tcp_congestion_control"
    with (
        make_namespaces("root") as namespaces,
        Wire().up(namespaces, Path()) as (address, _),
    ):
        loads.steer_congestion(namespaces)
        for site in SITES:
            Program(namespaces, site, [shell, "-c", default]).output(10)
        server = Program(namespaces, EAST, [iperf3, "-s", "-1", "-B", address])
        with programs.running([server]):
            programs.wait_until_listening(namespaces, EAST, 5201)
            command = [iperf3, "-c", address, "-n", "1M", "-J"]
            report = json.loads(Program(namespaces, WEST, command).output(10))
    assert report["end"]["sender_tcp_congestion"] == loads.CONGESTION_CONTROL
    assert report["end"]["receiver_tcp_congestion"] == loads.CONGESTION_CONTROL


@pytest.mark.slow
def test_nobody_listens_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    require_stage()
    monkeypatch.setattr(programs, "LISTENING_SECONDS", 0.0)
    with (
        make_namespaces("root") as namespaces,
        pytest.raises(EnvironmentProblem, match="nobody listens on port 9"),
    ):
        programs.wait_until_listening(namespaces, EAST, 9)
