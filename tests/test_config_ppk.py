"""`[[ppk]]`: post-quantum preshared keys, whose they are, and what is weak."""

import hashlib
import os
from pathlib import Path

import pytest

from config_samples import BASES, write
from iketcp.config import Configuration, Role, parse
from iketcp.config.psk import new_psk
from iketcp.errors import ConfigurationError
from iketcp.ike.credentials import Ppk
from iketcp.ike.identity import Identity
from pair import EAST, WEST, Pair

KEY = hashlib.sha256(b"a PPK for the tests").digest()
GATEWAY = Identity.parse("@gw.example")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key, and another one in the environment."""
    monkeypatch.setenv("TEST_PSK", "correct horse battery staple")
    monkeypatch.setenv("TEST_PPK", "0x" + KEY[::-1].hex())
    write(tmp_path / "a.ppk", KEY)
    return tmp_path


def read(folder: Path, tables: str, role: Role = "initiator") -> Configuration:
    """Read a short file with more tables."""
    return parse(BASES[role] + tables, role, str(folder / "x.toml"))


def refusal(folder: Path, tables: str, role: Role = "initiator") -> str:
    """Expect a refusal; returns it from the table's name on."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, tables, role)
    return str(caught.value).split(": ", 1)[1]


FILE = '[[ppk]]\nid = "a"\nppk_file = "a.ppk"\n'
NAMED = f'{FILE}identity = "@gw.example"\n'
VARIABLE = '[[ppk]]\nid = "b/B+="\nppk_env = "TEST_PPK"\nrequired = true\n'


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_everything_that_can_be_said(folder: Path, role: Role) -> None:
    """RFC 8784 §2: Peer, PPK, PPK_ID, mandatory_or_not; in the order of the file."""
    found = read(folder, VARIABLE + NAMED, role)
    assert found.ike.ppks == (
        Ppk(b"b/B+=", KEY[::-1], None, True),
        Ppk(b"a", KEY, GATEWAY, False),
    )
    assert found.warnings == ()
    assert read(folder, "", role).ike.ppks == ()


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ('[[ppk]]\nid = "a"\n', "[[ppk]] needs one of the keys 'ppk_file' and "),
        ('[[ppk]]\nppk_file = "a.ppk"\n', "[[ppk]] needs the key 'id': "),
        ('[[ppk]]\nid = "a b"\nppk_file = "a.ppk"\n', "[[ppk]] id must be 1 to 128 "),
        (f'{FILE}ppk_env = "TEST_PPK"\n', "[[ppk]] ppk_env cannot stand beside "),
        (f'{FILE}ppk = "secret"\n', "[[ppk]] ppk is refused: a secret in this "),
        ('[[ppk]]\nid = "a"\nppk_file = "b.ppk"\n', "[[ppk]] ppk_file names b.ppk, "),
        ('[[ppk]]\nid = "a"\nppk_env = "NO_PPK"\n', "[[ppk]] ppk_env names NO_PPK, "),
        (FILE + FILE, "[[ppk]] id a has a key already"),
        (NAMED + NAMED, "[[ppk]] id a has a key already"),
    ],
)
def test_mistakes(folder: Path, tables: str, sentence: str) -> None:
    """Each has its sentence, and no part of a secret in it."""
    assert refusal(folder, tables).startswith(sentence)


def test_one_name_for_two_peers(folder: Path) -> None:
    """Which key is meant, IDi says."""
    assert len(read(folder, FILE + NAMED).ike.ppks) == 2


def test_digits_that_are_none(folder: Path) -> None:
    """As in psk_file."""
    write(folder / "a.ppk", b"0xsecret")
    assert refusal(folder, FILE) == (
        "[[ppk]] ppk_file is wrong: a.ppk begins with 0x but is not hexadecimal"
    )


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (KEY[:31], "of 31 octets; fewer than 32 can be guessed"),
        (b"0123456789abcdefghijklmnopqrstuvwxyz!", "too short for characters: under"),
        (b"Tr0ub4dor&3 Tr0ub5ad" * 2, "that repeats fewer than 32 octets; it can be"),
    ],
)
def test_weak_keys(folder: Path, key: bytes, reason: str) -> None:
    """RFC 8784 §6: 256 bits; what does for a pre-shared key does not do here."""
    write(folder / "a.ppk", key)
    (warning,) = read(folder, FILE).warnings
    assert warning.startswith(f"a.ppk holds a secret {reason}")


def test_a_key_that_all_can_read(folder: Path) -> None:
    """As for any secret."""
    os.chmod(folder / "a.ppk", 0o644)
    (warning,) = read(folder, FILE).warnings
    assert "can be read by every user" in warning


def test_a_new_secret_is_good_enough(folder: Path) -> None:
    """``iketcp psk new`` is for both."""
    write(folder / "a.ppk", new_psk().encode())
    assert read(folder, FILE).warnings == ()


@pytest.mark.parametrize("end", ["local", "remote"])
def test_a_key_that_is_all_there_is(folder: Path, end: str) -> None:
    """RFC 8784 §5.2.3: mandatory where nothing else proves who the peer is."""
    base = BASES["responder"] + ("[remote]\n" if end == "remote" else "")
    text = base.replace(f"[{end}]\n", f'[{end}]\nauth = "null"\n')
    with pytest.raises(ConfigurationError, match='required must be true with auth = "'):
        parse(text + FILE, "responder", str(folder / "x.toml"))
    found = parse(text + FILE + "required = true", "responder", str(folder / "x.toml"))
    assert found.ike.ppks[0].is_mandatory


def test_two_files_that_fit(folder: Path) -> None:
    """What the files say makes a session under a PPK."""
    west = read(folder, f"{NAMED}required = true\n").ike
    named = FILE + 'identity = "@laptop.example"\n'
    responder = BASES["responder"].replace("10.9.0.0/24", "10.0.0.0/8")
    east = parse(responder + named, "responder", str(folder / "y.toml")).ike
    pair = Pair(west, east)
    pair.up()
    for name in (WEST, EAST):
        assert pair.ike(name).ppk is not None
