"""The resolver file: what is written, what comes back, what is left alone."""

import errno
import os
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest

from iketcp.errors import EnvironmentProblem
from iketcp.net.resolver import ResolverFile

BEFORE = "# mine\nnameserver 192.0.2.1\nsearch example.net\noptions edns0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "resolv.conf"


def settings(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_servers_replace_servers_and_nothing_else(path: Path) -> None:
    """The assigned servers stand first, other settings stay, the rest comes back."""
    path.write_text(BEFORE)
    path.chmod(0o640)
    resolver = ResolverFile(path)
    resolver.apply([ip_address("198.51.100.53"), "2001:db8::53"])
    assert settings(path) == [
        "nameserver 198.51.100.53",
        "nameserver 2001:db8::53",
        "search example.net",
        "options edns0",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert resolver.close()
    assert path.read_text() == BEFORE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == [path.name]


def test_absence_comes_back(path: Path) -> None:
    """A file that did not exist does not exist afterwards."""
    resolver = ResolverFile(str(path))
    resolver.apply(["198.51.100.53"])
    assert settings(path) == ["nameserver 198.51.100.53"]
    assert resolver.close()
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("is_dangling", [False, True])
def test_link_comes_back(path: Path, is_dangling: bool) -> None:
    """A link is replaced and restored; the file it leads to is never touched."""
    target = path.with_name("stub")
    if not is_dangling:
        target.write_text(BEFORE)
    path.symlink_to("stub")
    resolver = ResolverFile(path)
    resolver.apply(["198.51.100.53"])
    assert not path.is_symlink()
    assert ("search example.net" in settings(path)) is not is_dangling
    assert resolver.close()
    assert path.readlink() == Path("stub")
    assert target.exists() is not is_dangling
    assert is_dangling or target.read_text() == BEFORE


def test_second_assignment_keeps_the_first_content(path: Path) -> None:
    """Applying again replaces our servers, and close goes back to the beginning."""
    path.write_text(BEFORE)
    resolver = ResolverFile(path)
    resolver.apply(["198.51.100.53"])
    resolver.apply(["198.51.100.54"])
    assert settings(path)[0] == "nameserver 198.51.100.54"
    assert "nameserver 198.51.100.53" not in settings(path)
    assert resolver.close()
    assert path.read_text() == BEFORE


@pytest.mark.parametrize("change", ["edit", "remove", "link"])
def test_a_file_changed_by_others_is_theirs(path: Path, change: str) -> None:
    """What somebody else did meanwhile stays, and close says so, every time."""
    path.write_text(BEFORE)
    resolver = ResolverFile(path)
    resolver.apply(["198.51.100.53"])
    if change == "edit":
        path.write_text("nameserver 203.0.113.1\n")
    else:
        path.unlink()
    if change == "link":
        path.symlink_to("elsewhere")
    assert not resolver.close()
    assert "changed by somebody else" in resolver.warning
    assert not resolver.close()
    if change == "edit":
        assert path.read_text() == "nameserver 203.0.113.1\n"
    assert path.exists() is (change == "edit")
    assert path.is_symlink() is (change == "link")


def test_applying_over_the_change_of_others(path: Path) -> None:
    """If others changed the file, theirs is what a later close restores."""
    path.write_text(BEFORE)
    resolver = ResolverFile(path)
    resolver.apply(["198.51.100.53"])
    path.write_text("nameserver 203.0.113.1\n")
    resolver.apply(["198.51.100.53"])
    assert resolver.close()
    assert path.read_text() == "nameserver 203.0.113.1\n"


def test_close_is_idempotent(path: Path) -> None:
    """Closing twice, or without anything applied, changes nothing."""
    path.write_text(BEFORE)
    resolver = ResolverFile(path)
    assert resolver.close()
    resolver.apply([])
    assert path.read_text() == BEFORE
    resolver.apply(["198.51.100.53"])
    assert resolver.close()
    path.write_text("later")
    assert resolver.close()
    assert path.read_text() == "later"


@pytest.mark.parametrize(
    "server", ["", "name.example", "192.0.2.1\nsearch evil", "fe80::1%a\nsearch evil"]
)
def test_only_addresses_are_written(path: Path, server: str) -> None:
    """What a peer assigns cannot smuggle a line into the file."""
    path.write_text(BEFORE)
    with pytest.raises(EnvironmentProblem, match="not the address of a DNS server"):
        ResolverFile(path).apply(["192.0.2.7", server])
    assert path.read_text() == BEFORE


def test_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    """A folder that is not there is a problem with a reason."""
    resolver = ResolverFile(tmp_path / "missing" / "resolv.conf")
    with pytest.raises(EnvironmentProblem, match=r"resolv\.conf: No such file"):
        resolver.apply(["192.0.2.7"])
    assert not resolver.close()


def test_restoring_into_nothing_warns(tmp_path: Path) -> None:
    """Close never raises; what it cannot restore it says."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "resolv.conf"
    resolver = ResolverFile(path)
    resolver.apply(["192.0.2.7"])
    path.unlink()
    folder.rmdir()
    folder.write_text("a file now")
    assert not resolver.close()
    assert "cannot restore" in resolver.warning


def test_a_mounted_file_is_rewritten_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the path is a mount point of its own it cannot be replaced."""

    def refuse(source: str, target: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    path.write_text(BEFORE)
    inode = path.stat().st_ino
    monkeypatch.setattr("os.replace", refuse)
    resolver = ResolverFile(path)
    resolver.apply(["198.51.100.53"])
    assert settings(path)[0] == "nameserver 198.51.100.53"
    assert resolver.close()
    assert path.read_text() == BEFORE
    assert path.stat().st_ino == inode
    assert os.listdir(path.parent) == [path.name]
