"""Several peers in a configuration: the tables [[peer]] and [[secret]], psk_table."""

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from certificate_factory import write_certificates
from config_samples import INITIATOR, SECRET, write
from iketcp.config import Configuration, parse
from iketcp.errors import ConfigurationError
from iketcp.ike.credentials import Proof
from iketcp.ike.identity import Identity
from iketcp.ike.policy import IkePolicy, PoolPolicy
from iketcp.peers.tunnel import Tunnel

OTHER = b"another secret of twenty-six octets"

HEAD = """\
[local]
identity = "@gw.example"
psk_file = "psk"
"""

CHILDREN = """\
[[child]]
name = "office"
local_ts = ["10.1.0.0/16"]
remote_ts = ["10.9.0.0/24"]
[[child]]
name = "lab"
local_ts = ["10.2.0.0/16"]
remote_ts = ["10.9.0.0/24"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with secrets and certificates."""
    write(tmp_path / "psk", SECRET)
    write(tmp_path / "other.psk", OTHER)
    write(tmp_path / "users.toml", b'"alice@example" = "correct horse"\n')
    write_certificates(tmp_path)
    return tmp_path


def read(folder: Path, text: str, head: str = HEAD) -> Configuration:
    """Read a responder's configuration."""
    path = folder / "gw.toml"
    return parse(head + text + CHILDREN, "responder", str(path))


def peers_of(folder: Path, text: str, head: str = HEAD) -> list[IkePolicy]:
    """Read its [[peer]] tables."""
    return list(read(folder, text, head).ike.connections)


def complaint(folder: Path, text: str, head: str = HEAD) -> str:
    """What is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text, head)
    return str(caught.value).partition("gw.toml:")[2]


# --- [[peer]] -------------------------------------------------------------------------

STAFF = '[[peer]]\nname = "staff"\nidentity = ["*@example.org", "@gate.example"]\n'


def test_without_peers_there_is_one_policy(folder: Path) -> None:
    ike = read(folder, "").ike
    assert ike.connections == ()
    assert ike.variants == (ike,)


def test_what_a_peer_leaves_out_is_as_usual(folder: Path) -> None:
    ike = read(folder, STAFF + '[pool]\nnetworks = ["10.9.0.0/24"]\n').ike
    (staff,) = ike.variants
    assert staff.name == "staff"
    assert list(map(str, staff.accepts)) == ["*@example.org", "@gate.example"]
    assert staff.connections == ()
    for name in (
        "local_identity",
        "secrets",
        "credential",
        "trust",
        "children",
        "pool",
        "proposals",
        "eap_authenticator",
    ):
        assert getattr(staff, name) == getattr(ike, name), name


def test_what_a_peer_says_of_itself_counts(folder: Path) -> None:
    text = """
psk_file = "other.psk"
local_identity = "@staff.gw.example"
children = ["lab", "lab"]
networks = ["10.9.0.0/25"]
dns = ["10.2.0.53"]
[[peer]]
name = "rest"
identity = ["*"]
dns = []
[pool]
networks = ["10.9.0.128/25"]
dns = ["10.1.0.53"]
"""
    staff, rest = peers_of(folder, STAFF + text)
    assert staff.secrets == {None: OTHER}
    assert staff.local_identity == Identity.parse("staff.gw.example")
    assert [child.name for child in staff.children] == ["lab"]
    assert staff.pool == PoolPolicy(("10.9.0.0/25",), ("10.2.0.53",))
    assert rest.secrets == {None: SECRET}
    assert [child.name for child in rest.children] == ["office", "lab"]
    assert rest.pool == PoolPolicy(("10.9.0.128/25",))


def test_networks_of_its_own_go_with_the_usual_servers(folder: Path) -> None:
    text = 'networks = ["10.9.0.0/25"]\n[pool]\nnetworks = ["10.9.0.128/25"]\n'
    (staff,) = peers_of(folder, STAFF + text + 'dns = ["10.1.0.53"]\n')
    assert staff.pool == PoolPolicy(("10.9.0.0/25",), ("10.1.0.53",))


CERTIFIED = """\
[local]
identity = "@gw.example"
auth = "certificate"
certificate = "gateway.pem"
private_key = "gateway.key"
[remote]
auth = "certificate"
ca = "ca.pem"
crls = []
"""


def test_certificates_go_over_where_they_fit(folder: Path) -> None:
    text = """
[[peer]]
name = "branch"
identity = ["@branch.example"]
auth = "psk"
local_auth = "psk"
psk_file = "psk"
[[peer]]
name = "phones"
identity = ["@phone.example"]
auth = "public-key"
public_key = "laptop.pub"
[[peer]]
name = "others"
identity = ["*"]
ca = "gateway.pem"
"""
    staff, branch, phones, others = peers_of(folder, STAFF + text, CERTIFIED)
    assert staff.trust.proofs == {Proof.CERTIFICATE}
    assert len(staff.trust.authorities) == 1
    assert staff.credential.proof is Proof.CERTIFICATE
    assert branch.trust.proofs == {Proof.PSK}
    assert branch.credential.proof is Proof.PSK
    assert branch.credential.key is None
    assert phones.trust.proofs == {Proof.PUBLIC_KEY}
    assert list(phones.trust.public_keys) == [None]
    assert phones.credential.certificates == staff.credential.certificates
    assert others.trust.authorities != staff.trust.authorities


def test_some_peers_use_eap(folder: Path) -> None:
    text = 'auth = "eap"\n[[peer]]\nname = "branch"\nidentity = ["@b.example"]\n'
    eap = '[eap]\nmethods = ["mschapv2"]\nusers_file = "users.toml"\n'
    configuration = read(folder, STAFF + text + eap)
    staff, branch = configuration.ike.connections
    assert staff.eap_authenticator is not None
    assert staff.trust.proofs == frozenset()
    assert branch.eap_authenticator is None
    assert branch.trust.proofs == {Proof.PSK}
    assert configuration.warnings == ()


def test_eap_alone_needs_no_secret(folder: Path) -> None:
    head = '[local]\nidentity = "@gw.example"\n[remote]\nauth = "eap"\n'
    eap = """[eap]
methods = ["tls"]
only = true
certificate = "gateway.pem"
private_key = "gateway.key"
ca = "ca.pem"
"""
    (staff,) = peers_of(folder, STAFF + eap, head)
    assert staff.eap_authenticator is not None
    assert staff.secrets == {}


def test_addresses_may_come_from_peers_alone(folder: Path) -> None:
    """And the tunnel device leads to all of them."""
    text = STAFF + 'networks = ["10.9.0.0/24"]\nchildren = ["net"]\n'
    narrow = '[[child]]\nname = "net"\nlocal_ts = ["10.1.0.0/16"]\nassigned = true\n'
    narrow += 'remote_ts = ["10.9.0.0/24"]\n[tun]\nmode = "memory"\n'
    configuration = read(folder, text + narrow)
    tunnel = Tunnel(configuration)
    tunnel.start()
    assert tunnel._routed == {ip_network("10.9.0.0/24")}
    tunnel.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (STAFF + STAFF, "8: [[peer]] name 'staff' is taken already"),
        (
            STAFF + 'children = ["offce"]\n',
            "7: [[peer]] children name no [[child]]: 'offce'; did you mean 'office'?",
        ),
        (
            STAFF + 'local_identity = "@x"\nlocal_auth = "certificate"\n',
            "8: [[peer]] local_auth of \"certificate\" needs the key 'certificate'",
        ),
        (
            STAFF + 'ca = "ca.pem"\n',
            '7: [[peer]] ca means nothing with auth = "psk"',
        ),
        (
            STAFF + 'networks = ["10.9.0.0/24"]\n[pool]\nnetworks = ["10.9.0.0/16"]\n',
            "4: [[peer]] networks overlap: 10.9.0.0/16 and 10.9.0.0/24",
        ),
        (
            STAFF + '[remote]\nidentity = "@laptop.example"\n',
            "8: [remote] identity says nothing beside [[peer]] tables, which have "
            "their own",
        ),
        (
            STAFF.replace("*@example", "*example"),
            "6: [[peer]] identity is wrong: '*example.org' is no pattern: a star "
            "stands before a domain (*.example.org, *@example.org), for a value of a "
            "distinguished name, or alone",
        ),
        (
            '[[peer]]\nname = "staff"\nidentity = []\n',
            "6: [[peer]] identity must be a non-empty array of identities and "
            "patterns, not an array",
        ),
    ],
)
def test_what_is_wrong_is_said(folder: Path, text: str, sentence: str) -> None:
    assert complaint(folder, text) == sentence


def test_a_peer_without_any_secret(folder: Path) -> None:
    head = '[local]\nidentity = "@gw.example"\n'
    sentence = "3: [[peer]] staff has no secret: give it a psk_file"
    assert complaint(folder, STAFF, head) == sentence


def test_addresses_that_nobody_has(folder: Path) -> None:
    """A Child SA of assigned addresses is of no use to whoever gets none."""
    text = (
        STAFF + '[[peer]]\nname = "x"\nidentity = ["*"]\nnetworks = ["10.9.0.0/24"]\n'
    )
    narrow = '[[child]]\nname = "net"\nlocal_ts = ["10.1.0.0/16"]\nassigned = true\n'
    narrow += 'remote_ts = ["10.9.0.0/24"]\n'
    assert complaint(folder, text + narrow) == (
        "4: [[peer]] networks are needed for the addresses of [[child]] 'net'"
    )


def test_an_initiator_has_one_peer(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="is for the responder only"):
        parse(INITIATOR + STAFF, "initiator", str(folder / "x.toml"))


# --- secrets --------------------------------------------------------------------------


def test_secrets_by_identity_and_address(folder: Path) -> None:
    text = """
[[secret]]
identity = "@laptop.example"
psk_file = "other.psk"
[[secret]]
address = "192.0.2.0/24"
psk_file = "psk"
[[secret]]
address = "2001:db8::1"
psk_file = "other.psk"
"""
    ike = read(folder, text).ike
    laptop = Identity.parse("laptop.example")
    assert ike.secrets == {None: SECRET, laptop: OTHER}
    assert ike.address_secrets == {
        ip_network("192.0.2.0/24"): SECRET,
        ip_network("2001:db8::1"): OTHER,
    }


@pytest.mark.parametrize("keys", ['identity = "a.b"\naddress = "192.0.2.1"\n', ""])
def test_a_secret_has_one_owner(folder: Path, keys: str) -> None:
    text = f'[[secret]]\n{keys}psk_file = "psk"\n'
    sentence = "4: [[secret]] needs one of the keys 'identity' and 'address'"
    assert complaint(folder, text) == sentence


def test_an_address_has_one_secret(folder: Path) -> None:
    text = '[[secret]]\naddress = "192.0.2.1"\npsk_file = "psk"\n'
    sentence = "8: [[secret]] address 192.0.2.1/32 has a secret already"
    assert complaint(folder, text + text) == sentence


def test_secrets_by_address_are_enough_for_an_expected_peer(folder: Path) -> None:
    head = '[local]\nidentity = "@gw.example"\n[remote]\nidentity = "@laptop.example"\n'
    text = '[[secret]]\naddress = "192.0.2.1"\npsk_file = "psk"\n'
    assert read(folder, text, head).ike.secrets == {}


# --- psk_table ------------------------------------------------------------------------

TABLE = HEAD.replace('psk_file = "psk"', 'psk_table = "table"')


def table(folder: Path, octets: bytes, mode: int = 0o600) -> Configuration:
    """Read a configuration with a file of secrets."""
    write(folder / "table", octets, mode)
    return read(folder, "", TABLE)


def test_a_table_of_secrets(folder: Path) -> None:
    """Identities of all kinds, networks, all others; comments and empty lines."""
    secret = b"0x" + SECRET.hex().encode()
    owners = [
        b"@laptop.example",
        b"user@example",
        b"192.0.2.1",
        b"2001:db8::1",
        b"C=CH, O=Example, CN=gw",
        b"keyid:c0ffee",
    ]
    others = [b"192.0.2.0/24", b"2001:db8::/32\t ", b" * "]
    lines = [b"# who, and the secret", b"", *(o + b" " + secret for o in owners)]
    lines += [o + b" " + OTHER.replace(b" ", b"_") + b"\r" for o in others]
    ike = table(folder, b"\n".join(lines)).ike
    expected = {Identity.parse(o.decode()): SECRET for o in owners}
    other = OTHER.replace(b" ", b"_")
    assert ike.secrets == {**expected, None: other}
    assert ike.address_secrets == {
        ip_network("192.0.2.0/24"): other,
        ip_network("2001:db8::/32"): other,
    }


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (
            b"@laptop.example\n",
            "line 1 has no white space between a peer and its secret",
        ),
        (b"\n\xff 0x00\n", "line 2 is not UTF-8"),
        (b"a.b 0xzz\n", "line 1 begins with 0x but is not hexadecimal"),
        (b"a.b x\na.b y", "line 2 gives a second secret to a.b"),
        (b"* x\n* y", "line 2 gives a second secret to others"),
        (b"10.0.0.0/8 x\n10.0.0.0/8 y", "line 2 gives a second secret to 10.0.0.0/8"),
        (b"10.0.0.1/8 x", "line 1 names nobody: 10.0.0.1/8 has host bits set"),
        (
            b"keyid:x y",
            "line 1 names nobody: 'keyid:x' is no key ID: after keyid: "
            "come hexadecimal digits, two for each octet",
        ),
    ],
)
def test_what_is_wrong_in_a_table(folder: Path, octets: bytes, sentence: str) -> None:
    """The line is named, and no secret shown."""
    with pytest.raises(ConfigurationError) as caught:
        table(folder, octets)
    told = str(caught.value).partition("gw.toml:")[2]
    assert told == f"3: [local] psk_table is wrong: table, {sentence}"


def test_weak_secrets_and_open_tables_draw_warnings(folder: Path) -> None:
    warnings = table(folder, b"# x\n* short\n", 0o644).warnings
    assert warnings == (
        "table can be read by every user (mode 0644); run: chmod 600 table",
        "table, line 2 holds a secret of 5 octets; fewer than 16 can be guessed",
    )


def test_others_have_one_secret_only(folder: Path) -> None:
    write(folder / "table", b"* " + SECRET.replace(b" ", b"_"))
    head = HEAD + 'psk_table = "table"\n'
    assert complaint(folder, "", head) == (
        "4: [local] psk_table is wrong: table, line 1 gives a second secret to others"
    )


def test_a_table_that_is_not_there(folder: Path) -> None:
    sentence = "names table, which cannot be read: " + os.strerror(2)
    assert complaint(folder, "", TABLE) == f"3: [local] psk_table {sentence}"
