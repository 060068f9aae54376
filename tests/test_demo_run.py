"""The whole demonstration, from its first line to its last, and cut short."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from iketcp.demo.children import python_command
from iketcp.demo.options import DemoOptions
from iketcp.demo.run import run
from iketcp.demo.stage import all_processes
from iketcp.demo.wrapping import Wrapping
from iketcp.errors import ConfigurationError, EnvironmentProblem
from namespaces import namespace_obstacle, require_or_skip, tun_obstacle

LONG = 100.0
OCTETS = 16 << 20
ENTRY = """
import sys
from pathlib import Path
from iketcp.demo import DemoOptions, run_demo
from iketcp.demo.wrapping import Wrapping
mode, octets, scenario, wrapping, *pcap = sys.argv[1:]
around = Wrapping(*(each in wrapping for each in ("tls", "proxy", "relay")))
path = Path(pcap[0]) if pcap else None
sys.exit(run_demo(DemoOptions(path, mode, int(octets), scenario, around)))
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; whatever stays behind is found there.

    Its path is shorter than those of ``tmp_path``: the name of a socket has 107 octets.
    """
    before = devices()
    with tempfile.TemporaryDirectory() as place:
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("COLUMNS", "140")
        yield Path(place)
    assert devices() == before, "devices are left behind"


def devices() -> set[str]:
    """Names of all network devices of the machine."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


def start(
    mode: str,
    *arguments: str,
    octets: int = OCTETS,
    scenario: str = "psk",
    wrapping: str = "",
) -> subprocess.Popen[str]:
    _, environment = python_command("unused")
    words = (mode, str(octets), scenario, wrapping, *arguments)
    return subprocess.Popen(
        [sys.executable, "-c", ENTRY, *words],
        env=environment | {"PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def play(
    mode: str, *arguments: str, scenario: str = "psk", wrapping: str = ""
) -> tuple[int, str]:
    with start(mode, *arguments, scenario=scenario, wrapping=wrapping) as demo:
        try:
            output, _ = demo.communicate(timeout=LONG)
        finally:
            demo.kill()
    return demo.returncode, output


def require(mode: str) -> None:
    require_or_skip(mode == "memory" or not tun_obstacle(), tun_obstacle())
    require_or_skip(mode != "root" or os.geteuid() == 0, "only root has this mode")


def family_of(process: int) -> list[int]:
    """Ids of the processes whose parent that is."""
    found = []
    for each in all_processes():
        try:
            status = Path(f"/proc/{each}/stat").read_text()
        except OSError:
            continue
        if int(status.rpartition(")")[2].split()[1]) == process:
            found.append(each)
    return found


# --- the whole of it --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["root", "user", "memory"])
def test_every_step_happens(mode: str, folder: Path) -> None:
    """Exit code 0, every step marked, and nothing left behind."""
    require(mode)
    code, output = play(mode)
    assert code == 0, output
    steps = re.findall(r"^([✔✘-])\s+[\d.]+ s", output, re.M)
    assert steps == ["✔"] * 12, output
    for words in ("Mbit/s", "stream prefix IKETCP", "REKEY_SA", "D(IKE)", "same SPIs"):
        assert words in output
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("eap", ("EAP-MSCHAPv2", "asks for EAP", "EAP(4 octets)", "key that EAP made")),
        ("cert", ("CERT(encoding 4", "AUTH(DIGITAL_SIGNATURE)", "CERTREQ(encoding 4")),
        ("pq", ("IKE_INTERMEDIATE", "IKE_FOLLOWUP_KE", "KE(ML_KEM_768, 1088 octets)")),
    ],
)
def test_other_proofs(scenario: str, words: tuple[str, ...], folder: Path) -> None:
    """The same steps; the rounds of EAP are explained, and secrets are nowhere."""
    code, output = play("memory", scenario=scenario)
    assert code == 0, output
    steps = re.findall(r"^([✔✘-])\s+[\d.]+ s", output, re.M)
    assert steps == ["✔"] * 12, output
    for each in words:
        assert each in re.sub(r"\s+", " ", output)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_through_a_proxy_inside_tls(folder: Path) -> None:
    """The same steps; the proxy is asked twice, and the second time TLS resumes."""
    require("user")
    code, output = play("user", wrapping="tls, proxy")
    assert code == 0, output
    steps = re.findall(r"^([✔✘-])\s+[\d.]+ s", output, re.M)
    assert steps == ["✔"] * 12, output
    assert len(re.findall(r"proxy +CONNECT \S+ HTTP/1.1: 200", output)) == 2
    flat = re.sub(r"\s+", " ", output)
    for words in ("TLS around connection 2", "TLS resumed", "a web proxy"):
        assert words in flat
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["user", "memory"])
def test_a_relay_before_a_responder_that_has_only_udp(mode: str, folder: Path) -> None:
    """The same steps; the relay recognises west on its second connection."""
    require(mode)
    code, output = play(mode, wrapping="relay")
    assert code == 0, output
    steps = re.findall(r"^([✔✘-])\s+[\d.]+ s", output, re.M)
    assert steps == ["✔"] * 12, output
    flat = re.sub(r"\s+", " ", output)
    assert re.search(r"relay UDP port \S+ stands for TCP connection 1", flat)
    assert "relay TCP connection 2 has the ports of the one before" in flat
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_capture_decrypts_in_wireshark(folder: Path, tmp_path: Path) -> None:
    """An independent tool sees inner payloads and inner packets, ICVs right."""
    mode = "root" if os.geteuid() == 0 else "user"
    require(mode)
    require_or_skip(shutil.which("tshark") is not None, "tshark is not installed")
    path = tmp_path / "demo.pcapng"
    code, output = play(mode, str(path))
    assert code == 0, output
    keys = tmp_path / "demo.pcapng.keys"
    packets = dissect(tmp_path / "demo.udp4500.pcapng", keys)
    exchanges = {value for p in packets for value in p.get("isakmp.exchangetype", [])}
    assert exchanges == {"34", "35", "36", "37"}
    payloads = {value for p in packets for value in p.get("isakmp.typepayload", [])}
    # IDi, AUTH, CP, TSi and Delete are inside Encrypted payloads only.
    assert {"35", "39", "47", "44", "42"} <= payloads
    verdicts = [value for p in packets for value in p.get("esp.icv_good", [])]
    assert verdicts
    assert set(verdicts) == {"1"}
    inner = {value for p in packets for value in p.get("ip.dst", [])}
    assert {"10.1.0.1", "10.9.0.2"} <= inner
    assert any("ipv6.dst" in packet for packet in packets)


def dissect(capture: Path, keys: Path) -> list[dict[str, list[str]]]:
    fields = (
        *("isakmp.exchangetype", "isakmp.typepayload", "esp.icv_good"),
        *("ip.dst", "ipv6.dst"),
    )
    options = [option for field in fields for option in ("-e", field)]
    found = subprocess.run(
        ["tshark", "-r", capture, "-T", "json", *options],
        env=os.environ | {"WIRESHARK_CONFIG_DIR": str(keys)},
        capture_output=True,
        check=True,
        timeout=LONG,
    )
    return [packet["_source"]["layers"] for packet in json.loads(found.stdout)]


# --- cut short ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("root", signal.SIGINT),
        ("user", signal.SIGTERM),
        ("memory", signal.SIGINT),
        ("memory", signal.SIGHUP),
    ],
)
def test_an_interrupt_ends_everything_in_order(
    mode: str, number: signal.Signals, folder: Path
) -> None:
    """DELETE goes out, the table comes, exit code 130, and nothing is left behind."""
    require(mode)
    with start(mode, octets=1 << 28) as demo:
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                if "A transfer through" in line:
                    break
            family = family_of(demo.pid)
            demo.send_signal(number)
            rest, _ = demo.communicate(timeout=LONG)
        finally:
            demo.kill()
    assert demo.returncode == 130, rest
    assert "D(IKE)" in rest
    assert "Nothing left behind" in rest
    assert family
    assert not set(family) & set(all_processes())
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_not_even_a_kill_leaves_processes(folder: Path) -> None:
    """SIGKILL cannot be handled; the kernel ends the children, and with them all."""
    mode = "memory" if namespace_obstacle() else "user"
    with start(mode, octets=1 << 28) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "A transfer through" in line:
                break
        watches = [os.pidfd_open(each) for each in family_of(demo.pid)]
        demo.kill()
        demo.communicate(timeout=LONG)
    assert watches
    for watch in watches:
        # A process descriptor is readable once its process has ended.
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        assert poller.poll(LONG * 1000)
        os.close(watch)


# --- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapping",
    [Wrapping(is_tls=True), Wrapping(has_proxy=True), Wrapping(has_relay=True)],
)
def test_a_capture_is_of_plain_tcp(tmp_path: Path, wrapping: Wrapping) -> None:
    """What is decrypted in a capture stands in TCP itself."""
    with pytest.raises(ConfigurationError, match="goes with plain TCP"):
        run(DemoOptions(tmp_path / "x.pcapng", wrapping=wrapping))


def test_a_relay_goes_without_tls() -> None:
    with pytest.raises(ConfigurationError, match="without --tls"):
        run(DemoOptions(wrapping=Wrapping(is_tls=True, has_relay=True)))


def test_an_unknown_mode_is_refused() -> None:
    """The sentence names those that there are."""
    with pytest.raises(ConfigurationError, match="auto, root, user, memory"):
        run(DemoOptions(mode="magic"))


def test_an_unknown_scenario_is_refused() -> None:
    """The sentence names those that there are."""
    with pytest.raises(ConfigurationError, match="psk, eap"):
        run(DemoOptions(scenario="magic"))


def test_without_a_wire_there_is_no_capture(tmp_path: Path) -> None:
    """A capture that was asked for is not quietly left out."""
    with pytest.raises(EnvironmentProblem, match="no wire in this mode"):
        run(DemoOptions(tmp_path / "x.pcapng", "memory"))


def test_a_capture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Before anything starts, in one sentence."""
    require("user")
    with pytest.raises(EnvironmentProblem, match="cannot write the capture"):
        run(DemoOptions(tmp_path / "no such folder" / "x.pcapng", "user"))
