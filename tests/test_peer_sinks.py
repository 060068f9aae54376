"""Where the events of a peer go: lines that stay lines, keys only for their owner."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from iketcp.peers import Initiator
from iketcp.peers.sinks import JsonLines, KeyLog, LogLines
from peer_support import Peers, Recorder, initiator_configuration, up


def log_line(
    caplog: pytest.LogCaptureFixture, kind: str, **fields: object
) -> tuple[int, str]:
    """Log one event; return level and line."""
    caplog.set_level(logging.DEBUG, "test")
    caplog.clear()
    LogLines(logging.getLogger("test"))(0.0, kind, fields)
    ((_, level, line),) = caplog.record_tuples
    return level, line


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("connect-failed", logging.WARNING),
        ("refused", logging.WARNING),
        ("child-sa-failed", logging.WARNING),
        ("problem", logging.WARNING),
        ("connection-opened", logging.INFO),
        ("ike-message", logging.DEBUG),
        ("ike-keys", logging.DEBUG),
    ],
)
def test_levels(caplog: pytest.LogCaptureFixture, kind: str, level: int) -> None:
    """Trouble is a warning, messages are details."""
    assert log_line(caplog, kind) == (level, f"{kind} ")


def test_a_quiet_logger_is_told_nothing() -> None:
    """Below its level no line is even composed."""
    logger = logging.getLogger("quiet")
    logger.setLevel(logging.ERROR)
    LogLines(logger)(0.0, "connection-opened", {"value": None})


HOSTILE = 'a\nIKE SA deleted\r\x1b[2J \u202e "quoted"'


def test_no_value_breaks_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a peer calls itself: one event is one line of visible characters."""
    _, line = log_line(
        caplog, "refused", who=HOSTILE, many=[HOSTILE, 1], plain="a/b", none=""
    )
    assert line.isprintable()
    assert line.isascii()
    assert '"a\\nIKE SA deleted\\r\\u001b[2J \\u202e \\"quoted\\""' in line
    assert line.endswith('plain=a/b none=""')


def test_json_lines() -> None:
    """One object a line; what is no JSON becomes its text."""
    stream = io.StringIO()
    sink = JsonLines(stream)
    sink(1.23456789, "refused", {"who": HOSTILE, "from": IPv4Address("192.0.2.1")})
    sink(2.0, "problem", {})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "time": 1.234568,
        "kind": "refused",
        "who": HOSTILE,
        "from": "192.0.2.1",
    }
    assert second == {"time": 2.0, "kind": "problem"}


def test_a_reader_that_has_gone_is_no_error() -> None:
    """``| head`` ends the trace, not the tunnel."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    sink = JsonLines(stream)
    for _ in range(2):
        sink(0.0, "problem", {})
    with pytest.raises(BrokenPipeError):
        stream.close()
    closed = io.StringIO()
    closed.close()
    JsonLines(closed)(0.0, "problem", {})


def test_a_full_disk_is_no_error() -> None:
    """Tracing ends where nothing can be written."""
    stream = open("/dev/full", "w")  # noqa: SIM115  (closing it fails, too)
    sink = JsonLines(stream)
    for _ in range(2):
        sink(0.0, "problem", {})
    with pytest.raises(OSError, match="No space"):
        stream.close()


# --- keys -----------------------------------------------------------------------------


def test_key_files_are_for_their_owner(tmp_path: Path) -> None:
    """Also when they were there before, open to all. RFC 7296 §2.14"""
    folder = tmp_path / "keys"
    folder.mkdir()
    table = folder / "ikev2_decryption_table"
    table.write_text("before\n")
    table.chmod(0o644)
    mask = os.umask(0)
    try:
        KeyLog(folder)
    finally:
        os.umask(mask)
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert table.read_text() == "before\n"
    KeyLog(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody else chooses where the keys go."""
    (tmp_path / "esp_sa").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        KeyLog(tmp_path)


def test_keys_of_both_kinds_are_written(tmp_path: Path) -> None:
    """One IKE SA, two halves of a Child SA."""
    told = Recorder()
    with Peers() as peers:
        responder = peers.responder()
        configuration = initiator_configuration(responder.peer.address.port)
        peer = Initiator(configuration, [told], KeyLog(tmp_path))
        up(peers.start(peer, told))
    assert len((tmp_path / "ikev2_decryption_table").read_text().splitlines()) == 1
    assert len((tmp_path / "esp_sa").read_text().splitlines()) == 2


def test_keys_that_cannot_be_written_are_no_reason_to_end(tmp_path: Path) -> None:
    """The log is given up with a sentence; the tunnel comes up."""
    told = Recorder()
    with Peers() as peers:
        responder = peers.responder()
        configuration = initiator_configuration(responder.peer.address.port)
        peer = Initiator(configuration, [told], KeyLog(tmp_path))
        for path in list(tmp_path.iterdir()):
            path.unlink()
            path.mkdir()
        up(peers.start(peer, told))
        text = str(told.wait_for("problem")["text"])
        assert text.startswith("keys are no longer written: ")
        assert len(told.of("problem")) == 1
        assert peer.ended_reason is None
