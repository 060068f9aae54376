"""The table [eap]: users, passwords, certificates, and what does not go together."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from config_samples import SECRET, write
from eap_parts import issue, revocation_list
from iketcp.config import load, parse
from iketcp.eap.mschapv2_values import nt_password_hash
from iketcp.eap.packets import EapType
from iketcp.errors import ConfigurationError
from pair import EAST, WEST, Pair
from test_config_docs import installed_example

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
CHILD = '[[child]]\nname = "n"\nlocal_ts = ["10.1.0.0/16"]\nremote_ts = ["10.2.0.0/16"]'


def pem(folder, name, certificate, key):
    write(folder / f"{name}.pem", certificate.public_bytes(Encoding.PEM))
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(folder / f"{name}.key", octets)


@pytest.fixture(scope="module")
def authority():
    return issue("CA", is_ca=True, start=YESTERDAY)


@pytest.fixture
def folder(tmp_path, authority):
    """A folder with everything that the examples name."""
    write(tmp_path / "gateway.psk", SECRET)
    write(tmp_path / "users.toml", b'"alice@example" = "correct horse"\n')
    write(tmp_path / "alice.password", b"correct horse\n")
    pem(tmp_path, "ca", *authority)
    names = [x509.DNSName("gw.example")]
    pem(tmp_path, "gateway", *issue("gw", authority, names, start=YESTERDAY))
    names = [x509.RFC822Name("alice@example")]
    pem(tmp_path, "alice", *issue("alice", authority, names, start=YESTERDAY))
    return tmp_path


def initiator(folder, eap="", local='psk_file = "gateway.psk"', peer="@gw.example"):
    text = (
        f'[local]\nidentity = "alice@example"\nauth = "eap"\n{local}\n'
        f'[remote]\naddress = "gw.example"\nidentity = "{peer}"\n[eap]\n{eap}\n{CHILD}'
    )
    path = write(folder / "initiator.toml", text.encode())
    return load(path, "initiator")


def responder(folder, eap="", local='psk_file = "gateway.psk"'):
    text = (
        (
            f'[local]\nidentity = "@gw.example"\n{local}\n'
            f'[remote]\nauth = "eap"\n[eap]\n{eap}\n{CHILD}'
        )
        .replace("10.1.", "10.9.")
        .replace("10.2.", "10.1.")
        .replace("10.9.", "10.2.")
    )
    path = write(folder / "responder.toml", text.encode())
    return load(path, "responder")


PASSWORD = 'password_file = "alice.password"'
USERS = 'users_file = "users.toml"'


def tls(name):
    return (
        f'certificate = "{name}.pem"\nprivate_key = "{name}.key"\nca = "ca.pem"\n'
        'methods = ["tls"]\n'
    )


def meet(first, second):
    pair = Pair(west=first.ike, east=second.ike)
    pair.up()
    return pair


# --- what works ---------------------------------------------------------------------


def test_the_examples_meet(tmp_path):
    """The two files are a pair: name, password, secret, selectors."""
    first = load(installed_example(tmp_path, "eap-initiator.toml"), "initiator")
    second = load(installed_example(tmp_path, "eap-responder.toml"), "responder")
    pair = meet(first, second)
    pair.check_agreement()
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    assert pair.ike(WEST).assigned


def test_certificates_meet(folder):
    pair = meet(
        initiator(folder, tls("alice")),
        responder(folder, tls("gateway") + 'identities = ["alice@example"]'),
    )
    pair.check_agreement()


def test_certificates_alone_meet(folder):
    """No pre-shared key at all. RFC 5998 §3"""
    pair = meet(
        initiator(folder, tls("alice") + "only = true", local=""),
        responder(folder, tls("gateway") + "only = true", local=""),
    )
    pair.check_agreement()


def test_both_methods(folder):
    methods = 'methods = ["tls", "mschapv2"]'
    own = tls("alice").replace('methods = ["tls"]', methods)
    configuration = initiator(folder, own + PASSWORD)
    assert list(configuration.ike.eap_peer.methods) == [EapType.TLS, EapType.MSCHAPV2]


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ('"bob" = "secret word"', nt_password_hash("secret word")),
        ('bob = { nt_hash = "44EBBA8D5312B8D611474411F56989AE" }', None),
    ],
)
def test_users(folder, line, known):
    """Passwords, or their NT hashes. The name is [eap] identity."""
    write(folder / "users.toml", line.encode())
    write(folder / "alice.password", b"secret word" if known else b"clientPass")
    first = initiator(folder, PASSWORD + '\nidentity = "bob"')
    pair = meet(first, responder(folder, USERS + "\nask_identity = true"))
    pair.check_agreement()
    assert pair.ike(EAST).remote_identity == "eap:bob"


def test_password_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("TEST_PASSWORD", "correct horse")
    first = initiator(folder, 'password_env = "TEST_PASSWORD"')
    meet(first, responder(folder, USERS)).check_agreement()


def test_another_server_name(folder):
    """The certificate need not be of the IKE identity, where that is said."""
    first = initiator(folder, tls("alice") + 'server_names = ["radius.example"]')
    pair = meet(first, responder(folder, tls("gateway")))
    pair.check_closed()


@pytest.mark.parametrize("is_revoked", [False, True])
def test_revocation_lists(folder, authority, is_revoked):
    alice = x509.load_pem_x509_certificate((folder / "alice.pem").read_bytes())
    crl = revocation_list(authority, [alice] if is_revoked else [], now=YESTERDAY)
    write(folder / "ca.crl", crl.public_bytes(Encoding.PEM))
    second = responder(folder, tls("gateway") + 'crls = ["ca.crl"]')
    pair = meet(initiator(folder, tls("alice")), second)
    if is_revoked:
        pair.check_closed()
    else:
        pair.check_agreement()


def test_open_files_draw_warnings(folder):
    for name in ("users.toml", "alice.password", "alice.key"):
        (folder / name).chmod(0o644)
    both = 'methods = ["tls", "mschapv2"]'
    own = tls("alice").replace('methods = ["tls"]', both)
    found = initiator(folder, own + PASSWORD).warnings
    found += responder(folder, USERS).warnings
    named = [warning.split(" ")[0] for warning in found]
    assert named == ["alice.key", "alice.password", "users.toml"]
    assert all("chmod 600" in warning for warning in found)


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_idle_table_draws_a_warning(folder, role, monkeypatch):
    monkeypatch.setenv("TEST_PSK", SECRET.decode())
    text = (
        '[local]\nidentity = "@a.example"\npsk_env = "TEST_PSK"\n[eap]\nonly = true\n'
        + CHILD
    )
    if role == "initiator":
        text += '\n[remote]\naddress = "b.example"\nidentity = "@b.example"'
    (warning,) = parse(text, role, "x.toml").warnings
    assert "[eap] is not used" in warning


# --- what does not --------------------------------------------------------------------


def refuse(make, *arguments, **named):
    with pytest.raises(ConfigurationError) as caught:
        make(*arguments, **named)
    return str(caught.value)


@pytest.mark.parametrize(
    ("eap", "sentence"),
    [
        ("", "password_file or password_env"),
        (PASSWORD + '\npassword_env = "X"', "choose one"),
        ('password_file = "none"', "cannot be read"),
        ('password_env = "NOT_THERE"', "not in the environment"),
        ('password = "x"', "is refused"),
        ("methods = []", "must be a non-empty array"),
        ('methods = ["md5"]', '"mschapv2" or "tls"'),
        (PASSWORD + "\nonly = true", 'needs "tls"'),
        ('methods = ["tls"]', 'needs certificate for "tls"'),
        ('methods = ["tls"]\ncertificate = "alice.pem"', "needs private_key"),
        (tls("alice").replace('ca = "ca.pem"', ""), "needs ca"),
        (tls("alice").replace("alice.pem", "gateway.pem"), "not that of the"),
        (tls("alice").replace("alice.pem", "gateway.psk"), "no certificate in PEM"),
        (tls("alice").replace("alice.key", "gateway.psk"), "no key in PEM"),
        (tls("alice").replace("ca.pem", "none.pem"), "cannot be read"),
        (tls("alice") + 'crls = ["ca.pem"]', "no CRL in PEM"),
        (tls("alice") + 'server_names = ["a b"]', "a name without spaces"),
        (USERS, "responder"),
    ],
)
def test_mistakes_of_an_initiator(folder, eap, sentence):
    assert sentence in refuse(initiator, folder, eap)


def test_password_that_is_none(folder):
    for octets, sentence in (
        (b"", "empty"),
        (b"\n", "empty"),
        (b"x" * 257, "more than 256"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 70000, "too large"),
    ):
        write(folder / "alice.password", octets)
        assert sentence in refuse(initiator, folder, PASSWORD)


def test_key_of_another_kind(folder):
    """X25519 signs nothing."""
    key = x25519.X25519PrivateKey.generate()
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(folder / "alice.key", octets)
    assert "no RSA, ECDSA" in refuse(initiator, folder, tls("alice"))


def test_server_without_a_name(folder):
    sentence = refuse(initiator, folder, tls("alice"), peer="192.0.2.1")
    assert "which server to expect" in sentence


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        (b"", "no users"),
        (b"nonsense", "no TOML"),
        (b"\xff", "no TOML"),
        (b'"" = "x"', "has neither"),
        (b'bob = ""', "has neither"),
        (b"bob = 5", "has neither"),
        (b'bob = { nt_hash = "44" }', "has neither"),
        (b"bob = { nt_hash = 44 }", "has neither"),
        (
            b'bob = { nt_hash = "44EBBA8D5312B8D611474411F56989AE", x = 1 }',
            "has neither",
        ),
    ],
)
def test_users_that_are_none(folder, users, sentence):
    """And the sentence shows no password."""
    write(folder / "users.toml", users)
    found = refuse(responder, folder, USERS)
    assert sentence in found
    assert "44EBBA" not in found


@pytest.mark.parametrize(
    ("eap", "sentence"),
    [
        ("", "needs users_file"),
        ('users_file = "none"', "cannot be read"),
        (USERS + "\nonly = true", 'needs "tls"'),
        (PASSWORD, "initiator"),
    ],
)
def test_mistakes_of_a_responder(folder, eap, sentence):
    assert sentence in refuse(responder, folder, eap)


def test_responder_needs_a_secret_of_its_own(folder):
    """Unless EAP is all there is."""
    assert "no secret" in refuse(responder, folder, USERS, local="")


# --- after another proof --------------------------------------------------------------

FIRST = 'psk_file = "gateway.psk"'


def second(folder, role, eap="", auth="psk", local=FIRST, more=""):
    """A file in which EAP comes second."""
    ours = auth if role == "initiator" else "psk"
    theirs = auth if role == "responder" else "psk"
    remote = 'address = "gw.example"\nidentity = "@gw.example"\n'
    identity, there = ("@laptop.example", remote)
    if role == "responder":
        identity, there = ("@gw.example", "")
    text = (
        f'[local]\nidentity = "{identity}"\nauth = "{ours}"\n{local}\n'
        f'[remote]\n{there}auth = "{theirs}"\n'
        f"[eap]\nsecond = true\n{eap}\n{CHILD}\n{more}"
    )
    if role == "responder":
        text = text.replace("10.1.", "10.9.").replace("10.2.", "10.1.")
        text = text.replace("10.9.", "10.2.")
    path = write(folder / f"{role}.toml", text.encode())
    return load(path, role)


NEEDED = {
    "initiator": 'identity = "alice@example"\npassword_file = "alice.password"',
    "responder": 'users_file = "users.toml"',
}


def test_second(folder):
    """Two files that fit: the machine's secret, and its user's password. RFC 4739"""
    west, east = (second(folder, role, NEEDED[role]) for role in NEEDED)
    assert west.ike.is_eap_second
    assert east.ike.is_eap_second
    assert west.warnings == east.warnings == ()
    pair = Pair(west.ike, east.ike)
    pair.up()
    pair.check_agreement()
    assert pair.ike(EAST).remote_identity == "eap:alice@example"
    assert len(pair.said(WEST)) == 6


@pytest.mark.parametrize("role", NEEDED)
@pytest.mark.parametrize("auth", ["eap", "null"])
def test_second_to_what(folder, role, auth):
    """RFC 4739 §2.3: something has to come first, and null is nothing."""
    with pytest.raises(ConfigurationError, match="second needs something before it"):
        second(folder, role, NEEDED[role], auth)


def test_second_with_a_responder_that_proves_nothing(folder):
    """RFC 7619 §2: not beside EAP."""
    path = write(
        folder / "x.toml",
        (
            '[local]\nidentity = "@laptop.example"\npsk_file = "gateway.psk"\n'
            '[remote]\naddress = "gw.example"\nidentity = "@gw.example"\n'
            f'auth = "null"\n[eap]\nsecond = true\n{NEEDED["initiator"]}\n{CHILD}'
        ).encode(),
    )
    with pytest.raises(ConfigurationError, match='of "null" does not go with EAP'):
        load(path, "initiator")


@pytest.mark.parametrize("role", NEEDED)
def test_second_and_alone(folder, role):
    """RFC 5998 §3: one or the other."""
    with pytest.raises(ConfigurationError, match="only does not go with second"):
        second(folder, role, f'only = true\nmethods = ["tls"]\n{NEEDED[role]}')


def test_second_and_peers(folder):
    """What a user may have is not told apart by tables of peers."""
    peer = '[[peer]]\nname = "a"\nidentity = ["@laptop.example"]'
    with pytest.raises(ConfigurationError, match=r"second does not go with \[\[peer"):
        second(folder, "responder", NEEDED["responder"], more=peer)
