"""One peer is killed and started again: how the other gets to know.

Processes of their own on loopback, with tunnels in memory.
"""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from iketcp.errors import EnvironmentProblem
from iketcp.peers.responder import Responder
from peer_support import (
    INITIATOR,
    LOOPBACK,
    RESPONDER,
    Recorder,
    process,
    responder_configuration,
    write_secret,
)


def free_port(version: int) -> int:
    """A TCP port of the loopback address that nobody has just now."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.create_server((LOOPBACK[version], 0), family=family) as server:
        port: int = server.getsockname()[1]
        return port


def configurations(folder: Path, version: int) -> dict[str, Path]:
    """Write a configuration for each role."""
    write_secret(folder)
    port = free_port(version)
    common = {"address": LOOPBACK[version], "child": "", "control": "none"}
    texts = {
        "responder": RESPONDER.format(
            **common,
            ike='crash_secret_file = "crash.secret"',
            transport="",
            more="",
        ).replace("[ike]", f"port = {port}\n[ike]"),
        "initiator": INITIATOR.format(
            **common,
            identity="laptop.example",
            port=port,
            ike="",
            transport='reconnect_first = "50ms"\nreconnect_max = "50ms"',
        ),
    }
    paths = {}
    for role, text in texts.items():
        paths[role] = folder / f"{role}.toml"
        secret = text.replace('psk_env = "IKETCP_TEST_PSK"', 'psk_file = "psk"')
        paths[role].write_text(secret)
    return paths


def test_a_killed_initiator_gets_its_address_again(tmp_path: Path) -> None:
    """RFC 7296 §2.4: what it had is forgotten as soon as it is back.

    The pool has one address, and a second IKE SA of the same name would hold it, too.
    """
    paths = configurations(tmp_path, 4)
    for role, path in paths.items():
        text = path.read_text().replace('"10.0.1.0/24"', '"10.9.0.0/30"')
        text = text.replace('name = "net"', 'name = "net"\nassigned = true')
        if role == "responder":
            text += '[pool]\nnetworks = ["10.9.0.0/30"]\n'
        else:
            text = text.replace("[ike]", '[ike]\nrequest_addresses = ["ipv4"]')
        path.write_text(text)
    with process("responder", "-c", paths["responder"]) as responder:
        responder.wait_for("listening")
        for _ in range(2):
            with process("initiator", "-c", paths["initiator"]) as initiator:
                installed = initiator.wait_for("child-sa-installed")
                assert installed["local_ts"] == ["10.9.0.2/32"]
                initiator.child.kill()
                initiator.child.communicate()
        responder.wait_for("ike-sa-closed", reason="its peer has begun anew")


@pytest.mark.parametrize("version", [4, 6])
def test_a_killed_responder_shows_its_token(tmp_path: Path, version: int) -> None:
    """RFC 6290 §3: no DELETE, and no minute of waiting for an answer either."""
    paths = configurations(tmp_path, version)
    with process("responder", "-c", paths["responder"]) as first:
        first.wait_for("listening")
        with process("initiator", "-c", paths["initiator"]) as initiator:
            initiator.wait_for("ike-sa-established")
            first.child.kill()
            first.child.communicate()
            initiator.wait_for("connect-failed")
            with process("responder", "-c", paths["responder"]):
                closed = initiator.wait_for("ike-sa-closed")
                assert closed["reason"] == "the peer has restarted and lost it"
                initiator.wait_for("child-sa-installed")


def peer_with(path: Path) -> tuple[Responder, Recorder]:
    """A responder whose tokens come of a file; it is not started."""
    told = Recorder()
    configuration = replace(responder_configuration(), crash_secret_file=path)
    return Responder(configuration, [told]), told


def test_the_secret_of_tokens_is_made_once(tmp_path: Path) -> None:
    """RFC 6290 §5.1: 32 octets that survive a restart, for the owner only."""
    path = tmp_path / "crash.secret"
    secrets = []
    for mode in (0o600, 0o640):
        peer, told = peer_with(path)
        secret = peer.endpoint.context.policy.crash_secret
        secrets.append(secret)
        assert path.read_bytes() == secret
        assert repr(secret) not in repr(peer.endpoint.context.policy)
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(mode)
        peer.stop()
        assert told.of("problem") == []
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == 32
    peer, told = peer_with(path)
    peer.start()
    peer.stop()
    assert told.of("problem") == [
        {
            "text": f"{path} can be read by others (mode 0640), who could end every "
            f"tunnel; run: chmod 600 {path}"
        }
    ]


def test_a_secret_of_tokens_that_is_none(tmp_path: Path) -> None:
    """RFC 6290 §5.1: neither a shorter or longer one, nor a folder."""
    path = tmp_path / "crash.secret"
    for size in (0, 31, 33):
        path.write_bytes(bytes(size))
        with pytest.raises(EnvironmentProblem) as caught:
            peer_with(path)
        assert str(caught.value) == (
            f"crash_secret_file {path} does not hold 32 octets; remove it, and a new "
            "one is made"
        )
    path.unlink()
    path.mkdir()
    with pytest.raises(EnvironmentProblem, match="cannot be read or made: Is a dir"):
        peer_with(path)
