"""Programs of the user's around a tunnel: when they run, and what they are told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path as FilePath

import pytest

from conftest import LeakCheck
from iketcp.child_sa import ChildSaParameters
from iketcp.config import Configuration, HooksConfig, parse
from iketcp.crypto.suite import Suite
from iketcp.effects import ChildSaInstalled
from iketcp.errors import ConfigurationError
from iketcp.ike.nat_detection import Path
from iketcp.peers import Initiator
from iketcp.peers import hooks as hooks_module
from iketcp.peers.hooks import Hooks
from iketcp.registry import EncryptionAlgorithm
from iketcp.selectors import TrafficSelector
from peer_support import (
    PATIENCE_SECONDS,
    Peers,
    Recorder,
    eventually,
    initiator_configuration,
    up,
)

NOTE = """\
#!/bin/sh
echo "$IKETCP_EVENT $IKETCP_CHILD $IKETCP_REMOTE_ID" >> {log}
env | grep ^IKETCP_ | sort > {log}.environment
"""


def program(path: FilePath, text: str, mode: int = 0o700) -> FilePath:
    """Write a program."""
    path.write_text(text)
    path.chmod(mode)
    return path


@dataclass
class Notebook:
    """A program for both events that writes down what it is told."""

    log: FilePath
    options: HooksConfig

    @property
    def lines(self) -> list[str]:
        """One line a run."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """What the last run was told."""
        text = FilePath(f"{self.log}.environment").read_text()
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def notebook(tmp_path: FilePath) -> Notebook:
    """Make the program."""
    log = tmp_path / "log"
    path = program(tmp_path / "hook.sh", NOTE.format(log=log))
    return Notebook(log, HooksConfig(path, path, PATIENCE_SECONDS))


def installed(
    spi_in: int, name: str = "net", identity: str = "@gw.example"
) -> ChildSaInstalled:
    """Say that a Child SA is up."""
    here, there = ip_address("192.0.2.2"), ip_address("192.0.2.1")
    parameters = ChildSaParameters(
        name=name,
        spi_in=spi_in.to_bytes(4, "big"),
        spi_out=b"\0\0\1\0",
        suite=Suite(EncryptionAlgorithm.ENCR_AES_GCM_16, 128),
        encryption_key_in=b"",
        integrity_key_in=b"",
        encryption_key_out=b"",
        integrity_key_out=b"",
        local_ts=(TrafficSelector.parse("10.0.1.0/24"),),
        remote_ts=(TrafficSelector.parse("10.0.2.0/24"),),
    )
    return ChildSaInstalled(parameters, 1400, Path(here, 5, there, 4500), identity)


class Stand:
    """Hooks with their thread, without a peer."""

    def __init__(self, options: HooksConfig) -> None:
        self.told: list[str] = []
        configuration = with_hooks(initiator_configuration(1), options)
        self.hooks = Hooks(configuration, dict, self.told.append)
        self.thread = threading.Thread(target=self.hooks.run)

    def __enter__(self) -> Stand:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self, is_hurried: bool = False) -> None:
        """End, and wait for the thread."""
        self.hooks.end(is_hurried)
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()


def with_hooks(configuration: Configuration, options: HooksConfig) -> Configuration:
    """Put programs into a configuration."""
    return replace(configuration, hooks=options)


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Start peers; all of them are stopped in the end."""
    with Peers() as started:
        yield started


# --- with a tunnel --------------------------------------------------------------------


def test_a_tunnel_comes_up_and_goes(peers: Peers, notebook: Notebook) -> None:
    """Up once, however often it is rekeyed; down when the peer stops."""
    responder = peers.responder()
    port = responder.peer.address.port
    configuration = with_hooks(initiator_configuration(port), notebook.options)
    told = Recorder()
    initiator = peers.start(Initiator(configuration, [told]), told)
    up(initiator, responder)
    eventually(lambda: notebook.lines == ["up net gw.example"], "the program's line")
    initiator.peer.rekey_child("net")
    told.wait_for("child-sa-rekeyed")
    told.wait_for("child-sa-removed")
    initiator.peer.stop()
    assert notebook.lines == ["up net gw.example", "down net gw.example"]
    assert notebook.environment == {
        "IKETCP_ADDRESSES": "",
        "IKETCP_CHILD": "net",
        "IKETCP_DEVICE": "iketcp0",
        "IKETCP_DNS": "",
        "IKETCP_EVENT": "down",
        "IKETCP_LOCAL_ADDRESS": "127.0.0.1",
        "IKETCP_LOCAL_ID": "laptop.example",
        "IKETCP_LOCAL_TS": "10.0.1.0/24",
        "IKETCP_MTU": str(initiator.peer.tunnel.mtu),
        "IKETCP_REMOTE_ADDRESS": "127.0.0.1",
        "IKETCP_REMOTE_ID": "gw.example",
        "IKETCP_REMOTE_TS": "10.0.2.0/24",
        "IKETCP_ROLE": "initiator",
    }
    assert told.of("problem") == []


def test_a_program_that_fails_is_named_and_the_tunnel_stays(
    peers: Peers, tmp_path: FilePath
) -> None:
    """The reason is told; the peer goes on."""
    path = program(tmp_path / "bad.sh", "#!/bin/sh\nexit 3\n")
    responder = peers.responder()
    configuration = with_hooks(
        initiator_configuration(responder.peer.address.port),
        HooksConfig(path, None, PATIENCE_SECONDS),
    )
    told = Recorder()
    initiator = peers.start(Initiator(configuration, [told]), told)
    told.wait_for("problem")
    (problem,) = told.of("problem")
    assert problem == {"text": f"{path} (up) ended with code 3"}
    assert initiator.peer.ended_reason is None


# --- alone ----------------------------------------------------------------------------


def test_a_second_child_sa_of_the_same_kind_is_no_event(notebook: Notebook) -> None:
    """Another name, or another peer, is one."""
    with Stand(notebook.options) as stand:
        first, second, third = installed(256), installed(257), installed(258, "other")
        fourth = installed(259, identity="eve\nx")
        for each in (first, second, third, fourth):
            stand.hooks.child_installed(each)
        stand.hooks.child_removed(first.parameters)
        stand.hooks.child_removed(first.parameters)
        stand.hooks.child_removed(second.parameters)
    assert notebook.lines == [
        "up net @gw.example",
        "up other @gw.example",
        "up net eve?x",
        "down net @gw.example",
        "down other @gw.example",
        "down net eve?x",
    ]
    assert stand.told == []


def test_without_programs_nothing_is_kept() -> None:
    """There is no thread for it, and nothing to run."""
    stand = Stand(HooksConfig(None, None, 1.0))
    assert not stand.hooks.is_wanted
    stand.hooks.child_installed(installed(256))
    stand.hooks.child_removed(installed(256).parameters)
    assert stand.hooks.end(is_hurried=False) == 0.0


def test_a_program_that_hangs_is_ended_with_its_children(
    tmp_path: FilePath, leak_check: LeakCheck
) -> None:
    """What it started is gone, too."""
    pid = tmp_path / "pid"
    text = f"#!/bin/sh\nsleep 600 &\necho $! > {pid}.new; mv {pid}.new {pid}\nwait\n"
    path = program(tmp_path / "hang.sh", text)
    with Stand(HooksConfig(path, None, 1.0)) as stand:
        stand.hooks.child_installed(installed(256))
        eventually(lambda: bool(stand.told), "the end of the program")
    assert stand.told == [f"{path} (up) is ended: it took too long"]
    assert is_gone(int(pid.read_text()))


def test_whoever_is_in_a_hurry_waits_for_no_program(tmp_path: FilePath) -> None:
    """The one that runs is ended, the others are not begun."""
    started = tmp_path / "started"
    path = program(tmp_path / "hang.sh", f"#!/bin/sh\n: > {started}\nsleep 600\n")
    with Stand(HooksConfig(path, path, 3600.0)) as stand:
        stand.hooks.child_installed(installed(256))
        eventually(started.exists, "the program")
        stand.end(is_hurried=True)
    assert stand.told == [
        f"{path} (up) ended with code -9",
        f"{path} (down) is not run any more",
    ]


def test_a_program_that_is_gone_is_no_harm(tmp_path: FilePath) -> None:
    """It was there when the configuration was read."""
    with Stand(HooksConfig(tmp_path / "gone", None, 1.0)) as stand:
        stand.hooks.child_installed(installed(256))
    assert stand.told == [
        f"{tmp_path / 'gone'} cannot be run: No such file or directory"
    ]


def test_waiting_events_have_a_limit(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that makes Child SAs faster than programs run fills no memory."""
    monkeypatch.setattr(hooks_module, "MOST_WAITING", 2)
    stand = Stand(notebook.options)
    for number in range(3):
        stand.hooks.child_installed(installed(256 + number, f"net{number}"))
    assert stand.told == [f"{notebook.options.up} is not run: 2 events wait for it"]
    with stand:
        eventually(lambda: len(notebook.lines) == 2, "the first two")


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, or will not run any more."""
    try:
        return "\nState:\tZ" in FilePath(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


# --- configuration --------------------------------------------------------------------

BASE = """\
[local]
identity = "@laptop.example"
psk_env = "TEST_PSK"
[remote]
address = "gw.example"
identity = "@gw.example"
[[child]]
name = "office"
remote_ts = ["10.1.0.0/16"]
[hooks]
"""


def configured(text: str, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """Read a configuration with these lines in [hooks]."""
    monkeypatch.setenv("TEST_PSK", "a secret of more than sixteen octets")
    return parse(BASE + text, "initiator", "gw.toml")


def test_programs_are_configured(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by itself; by default there is none, and ten seconds for it."""
    path = notebook.options.up
    found = configured(f'up = "{path}"\n', monkeypatch)
    assert found.hooks == HooksConfig(path, None, 10.0)
    assert found.warnings == ()
    assert configured("", monkeypatch).hooks == HooksConfig(None, None, 10.0)


@pytest.mark.parametrize("mode", [None, 0o600])
def test_what_cannot_be_run_is_a_mistake(
    mode: int | None, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before the tunnel is up."""
    path = tmp_path / "hook"
    if mode is not None:
        program(path, NOTE, mode)
    with pytest.raises(ConfigurationError, match=r"\[hooks\] down names .* no program"):
        configured(f'down = "{path}"\n', monkeypatch)


def test_a_program_that_everybody_can_change_draws_a_warning(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes it becomes this user."""
    path = program(tmp_path / "hook", NOTE)
    os.chmod(path, 0o707)
    (warning,) = configured(f'up = "{path}"\n', monkeypatch).warnings
    assert warning.startswith(f"{path} can be changed by every user (mode 0707)")
    assert warning.endswith(f"run: chmod o-w {path}")
