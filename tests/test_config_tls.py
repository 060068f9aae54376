"""[tls] and [proxy]: what they mean, and what does not go together. RFC 9329 App. A"""

from pathlib import Path

import pytest

from certificate_factory import key_from, write_certificates, write_issued
from config_samples import BASES, SECRET, write
from iketcp.config import Configuration, Role, load
from iketcp.errors import ConfigurationError
from iketcp.net.tls import pin_of
from iketcp.net.tls_options import TlsTrust
from tls_support import server_certificate

PIN = "sha256:" + "0123456789abcdef" * 4
IDENTITY = 'certificate = "gateway.pem"\nprivate_key = "gateway.key"\n'
PASSWORD = 'user = "alice"\npassword_file = "proxy.password"\n'
PROXY = '[proxy]\naddress = "proxy.example"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the texts here name."""
    monkeypatch.setenv("TEST_PSK", SECRET.decode())
    write_certificates(tmp_path)
    write_issued(tmp_path, "other", server_certificate(key=key_from(9)))
    write(tmp_path / "proxy.password", "geheim ü\r\n".encode())
    write(tmp_path / "latin.password", b"\xfc")
    return tmp_path


def read(
    folder: Path, role: Role, more: str, local: str = "", remote: str = ""
) -> Configuration:
    """Read the short file of a role, and more."""
    text = BASES[role].replace("[local]\n", f"[local]\n{local}")
    text = text.replace(
        'address = "gw.example"\n', remote or 'address = "gw.example"\n'
    )
    return load(write(folder / "x.toml", (text + more).encode()), role)


def refusal(
    folder: Path, role: Role, more: str, local: str = "", remote: str = ""
) -> str:
    """The sentence that a file is refused with, from its line number on."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, role, more, local, remote)
    return str(caught.value).partition("x.toml:")[2].partition(" ")[2]


def test_without_the_tables_there_is_neither(folder: Path) -> None:
    """Connections are plain TCP, and go where they should. [9329-A-config]"""
    for role in BASES:
        configuration = read(folder, role, "")
        assert configuration.tls is None
        assert configuration.proxy is None


def test_a_client_checks_unless_told_otherwise(folder: Path) -> None:
    """By default: TLS always, port 443, the system's CAs, the peer's own name."""
    configuration = read(folder, "initiator", "[tls]\n")
    tls = configuration.tls
    assert tls is not None
    assert (tls.use, tls.port, tls.sni) == ("always", 443, "gw.example")
    assert tls.trust == TlsTrust("gw.example")
    assert tls.trust.is_checked
    assert tls.identity is None
    assert tls.options.is_12_allowed
    assert tls.options.is_13_allowed
    assert not tls.options.is_null_allowed
    assert configuration.warnings == ()


def test_everything_a_client_can_be_told(folder: Path) -> None:
    """CA, name, SNI, ALPN, versions, NULL; and a CA of one's own is read."""
    tls = read(
        folder,
        "initiator",
        '[tls]\nuse = "fallback"\nport = 8443\nca = "ca.pem"\nname = "vpn.example."\n'
        'sni = "front.example."\nalpn = ["h2", "http/1.1"]\nversions = ["1.2"]\n'
        "null_cipher = true\n",
    ).tls
    assert tls is not None
    assert tls.trust is not None
    assert (tls.use, tls.port, tls.sni) == ("fallback", 8443, "front.example")
    assert tls.trust.name == "vpn.example."
    assert len(tls.trust.authorities) == 1
    assert tls.options.alpn == ("h2", "http/1.1")
    assert tls.options.is_null_allowed
    assert not tls.options.is_13_allowed


@pytest.mark.parametrize(
    ("more", "remote", "sni"),
    [
        ("", 'address = "192.0.2.1"\n', None),
        ('name = "gw.example"', 'address = "192.0.2.1"\n', "gw.example"),
        ('sni = "none"', 'address = "gw.example"\n', None),
    ],
)
def test_addresses_are_not_sent_as_names(
    folder: Path, more: str, remote: str, sni: str | None
) -> None:
    """The name in the clear is a host name, or there is none."""
    tls = read(folder, "initiator", f"[tls]\n{more}\n", remote=remote).tls
    assert tls is not None
    assert tls.sni == sni


def test_pins(folder: Path) -> None:
    """A pin is the hash of a key, and several may be right."""
    found = pin_of(server_certificate().certificate)
    more = f'[tls]\npins = ["{PIN}", "sha256:{found.hex().upper()}"]\n'
    tls = read(folder, "initiator", more).tls
    assert tls is not None
    assert tls.trust is not None
    assert tls.trust.pins == (bytes.fromhex(PIN[7:]), found)


def test_a_server_shows_its_certificate(folder: Path) -> None:
    """It listens on both ports, or on that of TLS alone. [9329-A-config]"""
    for local, port in (("", 4500), ('port = "none"\n', None)):
        configuration = read(folder, "responder", f"[tls]\n{IDENTITY}", local)
        tls = configuration.tls
        assert tls is not None
        assert tls.identity is not None
        assert len(tls.identity.certificates) == 1
        assert tls.trust is None
        assert (configuration.local.port, tls.port) == (port, 443)


def test_who_checks_nobody_is_warned(folder: Path) -> None:
    """It works, and it is not as it should be."""
    configuration = read(folder, "initiator", "[tls]\nverify = false\n")
    assert configuration.tls is not None
    assert configuration.tls.trust is not None
    assert not configuration.tls.trust.is_checked
    assert configuration.warnings == (
        "[tls] verify is false: whoever is on the way can take part in TLS",
    )


def test_a_proxy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a password or without; it is not shown. [9329-A-connect]"""
    proxy = read(folder, "initiator", PROXY).proxy
    assert proxy is not None
    assert (proxy.address, proxy.port, proxy.user) == ("proxy.example", 8080, None)
    proxy = read(folder, "initiator", PROXY + PASSWORD).proxy
    assert proxy is not None
    assert (proxy.user, proxy.password) == ("alice", "geheim ü")
    assert "geheim" not in repr(proxy)
    monkeypatch.setenv("PROXY_PASSWORD", "anders")
    more = 'user = "alice"\npassword_env = "PROXY_PASSWORD"\n'
    proxy = read(folder, "initiator", PROXY + more).proxy
    assert proxy is not None
    assert proxy.password == "anders"


WRONG_TLS = {
    "what is ignored": (
        'verify = false\nca = "ca.pem"',
        "ca means nothing with verify",
    ),
    "pins ignored": (f'verify = false\npins = ["{PIN}"]', "pins means nothing with"),
    "both": (f'ca = "ca.pem"\npins = ["{PIN}"]', "ca means nothing beside pins"),
    "half a pin": ('pins = ["sha256:00"]', "pins must hold a pin"),
    "another hash": (f'pins = ["sha1:{PIN[7:]}"]', "pins must hold a pin"),
    "no digits": (f'pins = ["sha256:{"xy" * 32}"]', "pins must hold a pin"),
    "address as SNI": ('sni = "192.0.2.1"', "sni must be a host name, not 192.0.2.1"),
    "NULL in 1.3": (
        'versions = ["1.3"]\nnull_cipher = true',
        'null_cipher needs "1.2" among the versions',
    ),
    "no version": ("versions = []", "versions must be a non-empty array"),
    "one port for two": (
        'use = "first"\nport = 4500',
        "port must not be that of [remote], where there is no TLS",
    ),
    "a server's key": (
        'certificate = "gateway.pem"',
        "certificate is for the responder",
    ),
    "no CA there": ('ca = "gateway.key"', "ca names gateway.key, which has no"),
}


@pytest.mark.parametrize("name", WRONG_TLS)
def test_what_a_client_may_not_say(folder: Path, name: str) -> None:
    """One sentence for each mistake."""
    more, words = WRONG_TLS[name]
    assert refusal(folder, "initiator", f"[tls]\n{more}\n").startswith(f"[tls] {words}")


def test_one_port_is_enough_for_tls_alone(folder: Path) -> None:
    """Where there is no plain TCP, its port does not matter."""
    assert read(folder, "initiator", "[tls]\nport = 4500\n").tls is not None


def test_what_a_server_may_not_say(folder: Path) -> None:
    """Files that do not fit, a port for both, and no port at all."""
    other = IDENTITY.replace("gateway.key", "other.key")
    assert refusal(folder, "responder", f"[tls]\n{other}") == (
        "[tls] private_key is not that of the certificate in gateway.pem"
    )
    assert refusal(folder, "responder", "[tls]\n").startswith(
        "[tls] needs the key 'certificate'"
    )
    assert refusal(folder, "responder", f"[tls]\nport = 4500\n{IDENTITY}") == (
        "[tls] port must not be that of [local], where there is no TLS"
    )
    assert refusal(folder, "responder", "", 'port = "none"\n') == (
        '[local] port of "none" needs [tls], or we listen nowhere'
    )
    assert refusal(folder, "responder", PROXY) == "[proxy] is for the initiator only"


@pytest.mark.parametrize("table", ["[tls]\n", PROXY])
def test_neither_goes_over_udp(folder: Path, table: str) -> None:
    """Both are around a TCP connection."""
    more = f'{table}[transport]\nprotocol = "udp"\n'
    header = table.partition("\n")[0]
    assert refusal(folder, "initiator", more) == (
        f'{header} needs protocol = "tcp" in [transport]'
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('user = "alice"\n', "[proxy] has user, and lacks a password"),
        (
            'password_file = "proxy.password"\n',
            "[proxy] has a password, and lacks user",
        ),
        (
            'user = "alice"\npassword_file = "latin.password"\n',
            "[proxy] password_file names latin.password, which is not UTF-8",
        ),
        (
            'user = "a:b"\npassword_file = "proxy.password"\n',
            '[proxy] user must be a user name without a colon, not "a:b"',
        ),
        ('user = "alice"\npassword = "x"\n', "[proxy] password is refused: a password"),
    ],
)
def test_what_a_proxy_cannot_do_with(folder: Path, more: str, words: str) -> None:
    """User and password go together, and are what Basic authentication takes."""
    assert refusal(folder, "initiator", PROXY + more).startswith(words)
