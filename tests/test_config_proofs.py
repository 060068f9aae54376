"""`auth` of [local] and [remote]: files that fit, and what does not go together."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certificate_factory import (
    TODAY,
    crl_of,
    issue,
    key_from,
    write_certificates,
    write_issued,
)
from config_samples import SECRET, write
from iketcp.config import Configuration, Role, load
from iketcp.errors import ConfigurationError
from iketcp.ike.credentials import Proof
from iketcp.ike.identity import Identity
from pair import EAST, WEST, Pair
from test_config_docs import installed_example

LOCAL_CERTIFICATE = (
    'auth = "certificate"\ncertificate = "{0}.pem"\nprivate_key = "{0}.key"\n'
)
REMOTE_CERTIFICATE = 'auth = "certificate"\nca = "ca.pem"\n'
LOCAL_KEY = 'auth = "public-key"\nprivate_key = "{0}.key"\n'
REMOTE_KEY = 'auth = "public-key"\npublic_key = "{0}.pub"\nidentity = "@{1}"\n'
PSK = 'psk_file = "gateway.psk"\n'
NULL = 'auth = "null"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that the texts here name."""
    write(tmp_path / "gateway.psk", SECRET)
    root = write_certificates(tmp_path)
    write(tmp_path / "ca.crl", crl_of(root).public_bytes(Encoding.PEM))
    small = rsa.generate_private_key(65537, 1024)
    write_issued(tmp_path, "small", issue("CN=small", small, root, ["gw.example"]))
    large = rsa.generate_private_key(65537, 2048)
    write_issued(tmp_path, "rsa", issue("CN=rsa", large, root, ["gw.example"]))
    write_issued(tmp_path, "other", issue("CN=x", key_from(7), root, ["x.example"]))
    return tmp_path


def initiator(folder: Path, local: str, remote: str) -> Configuration:
    """Read an initiator's file."""
    named = "" if "identity" in remote else 'identity = "@gw.example"\n'
    return read(
        folder,
        "initiator",
        f'[local]\nidentity = "@laptop.example"\n{local}[remote]\n'
        f'address = "gw.example"\n{named}{remote}',
        ("10.1.0.0/16", "10.2.0.0/16"),
    )


def responder(folder: Path, local: str, remote: str) -> Configuration:
    """Read a responder's file."""
    return read(
        folder,
        "responder",
        f'[local]\nidentity = "@gw.example"\n{local}[remote]\n{remote}',
        ("10.2.0.0/16", "10.1.0.0/16"),
    )


def read(
    folder: Path, role: Role, text: str, selectors: tuple[str, str]
) -> Configuration:
    """Add a Child SA, write the file, read it."""
    child = (
        f'[[child]]\nname = "n"\nlocal_ts = ["{selectors[0]}"]\n'
        f'remote_ts = ["{selectors[1]}"]\n'
    )
    path = write(folder / f"{role}.toml", (text + child).encode())
    return load(path, role)


def meet(first: Configuration, second: Configuration) -> Pair:
    """Let the two set a tunnel up."""
    pair = Pair(first.ike, second.ike, date=TODAY)
    pair.up()
    pair.check_agreement()
    return pair


# --- what works -----------------------------------------------------------------------


def test_the_examples_meet(tmp_path: Path) -> None:
    """The two files are a pair: certificates, names, selectors."""
    first = load(installed_example(tmp_path, "cert-initiator.toml"), "initiator")
    second = load(installed_example(tmp_path, "cert-responder.toml"), "responder")
    pair = meet(first, second)
    assert pair.ike(EAST).remote_identity == "laptop.example"
    assert pair.ike(WEST).assigned


def test_raw_public_keys_meet(folder: Path) -> None:
    """As the document about authentication says."""
    pair = meet(
        initiator(
            folder,
            LOCAL_KEY.format("laptop"),
            REMOTE_KEY.format("gateway", "gw.example"),
        ),
        responder(
            folder,
            LOCAL_KEY.format("gateway"),
            REMOTE_KEY.format("laptop", "laptop.example"),
        ),
    )
    assert pair.ike(EAST).remote_identity == "laptop.example"


def test_a_certificate_and_a_secret_meet(folder: Path) -> None:
    """Each end in its own way."""
    meet(
        initiator(folder, PSK, REMOTE_CERTIFICATE),
        responder(folder, PSK + LOCAL_CERTIFICATE.format("gateway"), ""),
    )


def test_anonymous_initiators_meet(folder: Path) -> None:
    """Nobody knows who they are; they know whom they speak with."""
    pair = meet(
        initiator(folder, NULL, REMOTE_CERTIFICATE),
        responder(folder, LOCAL_CERTIFICATE.format("gateway"), NULL),
    )
    assert pair.ike(EAST).remote_identity.startswith("ID_NULL:")


def test_crls_have_to_cover_everybody(folder: Path) -> None:
    """One CRL makes all of them required."""
    remote = REMOTE_CERTIFICATE + 'crls = ["ca.crl"]\n'
    first = initiator(folder, LOCAL_CERTIFICATE.format("laptop"), remote)
    assert first.ike.trust.is_crl_required
    meet(
        first,
        responder(folder, LOCAL_CERTIFICATE.format("gateway"), REMOTE_CERTIFICATE),
    )


def test_rsa_padding(folder: Path) -> None:
    """PSS unless the file says otherwise."""
    local = LOCAL_CERTIFICATE.format("rsa")
    plain = responder(folder, local, REMOTE_CERTIFICATE).ike.credential
    assert not plain.is_pkcs1_preferred
    local += 'rsa_padding = "pkcs1"\n'
    with pytest.raises(ConfigurationError, match="no secret"):
        responder(folder, local, "")
    credential = responder(folder, local, REMOTE_CERTIFICATE).ike.credential
    assert credential.is_pkcs1_preferred
    assert credential.proof is Proof.CERTIFICATE


def test_a_subject_as_identity(folder: Path) -> None:
    """In quotes and in the order of the certificate."""
    name = 'identity = "O=Example, CN=gw.example"\n'
    local = LOCAL_CERTIFICATE.format("laptop")
    first = initiator(folder, local, REMOTE_CERTIFICATE + name)
    assert first.remote.identity == Identity.parse("O=Example, CN=gw.example")


# --- what does not --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "reason"),
    [
        ('auth = "certificate"\n', "needs the key 'certificate'"),
        ('auth = "certificate"\ncertificate = "gateway.pem"\n', "key 'private_key'"),
        ('auth = "public-key"\n', "needs the key 'private_key'"),
        (PSK + 'private_key = "gateway.key"\n', 'nothing with auth = "psk"'),
        (
            LOCAL_KEY.format("gateway") + 'certificate = "gateway.pem"\n',
            'means nothing with auth = "public-key"',
        ),
        (LOCAL_CERTIFICATE.format("other"), "is not issued to gw.example"),
        (LOCAL_CERTIFICATE.format("small"), "1024 bits is too small"),
        (LOCAL_CERTIFICATE.format("none"), "cannot be read"),
        (
            'auth = "certificate"\ncertificate = "gateway.pem"\n'
            'private_key = "laptop.key"\n',
            "is not that of the certificate in gateway.pem",
        ),
        (
            'auth = "certificate"\ncertificate = "gateway.psk"\n'
            'private_key = "gateway.key"\n',
            "no certificate in PEM",
        ),
        (
            'auth = "certificate"\ncertificate = "gateway.pem"\n'
            'private_key = "gateway.psk"\n',
            "no key in PEM",
        ),
        ('auth = "eap"\n', "of a responder cannot be"),
        ('auth = "password"\n', 'auth.*must be "psk"'),
    ],
)
def test_mistakes_in_local(folder: Path, local: str, reason: str) -> None:
    """One sentence each."""
    with pytest.raises(ConfigurationError, match=reason):
        responder(folder, local, REMOTE_CERTIFICATE)


@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        ('auth = "certificate"\n', "needs the key 'ca'"),
        (REMOTE_CERTIFICATE + 'crls = ["ca.pem"]\n', "no CRL in PEM"),
        ('auth = "certificate"\nca = "gateway.psk"\n', "no certificate in PEM"),
        (
            'auth = "public-key"\npublic_key = "laptop.pub"\n',
            "needs the key 'identity'",
        ),
        (REMOTE_KEY.format("small", "x"), "too small"),
        (
            'auth = "public-key"\nidentity = "x"\npublic_key = "ca.pem"\n',
            "no public key in PEM",
        ),
        (NULL + 'ca = "ca.pem"\n', 'means nothing with auth = "null"'),
    ],
)
def test_mistakes_in_remote(folder: Path, remote: str, reason: str) -> None:
    """One sentence each."""
    with pytest.raises(ConfigurationError, match=reason):
        responder(folder, LOCAL_CERTIFICATE.format("gateway"), remote)


def test_mistakes_of_initiators(folder: Path) -> None:
    """EAP is the initiator's, and never goes with nobody on the other end."""
    with pytest.raises(ConfigurationError, match="of an initiator cannot be"):
        initiator(folder, PSK, 'auth = "eap"\n')
    eap = '[eap]\npassword_file = "gateway.psk"\n'
    with pytest.raises(ConfigurationError, match="does not go with EAP"):
        initiator(folder, 'auth = "eap"\n', NULL + eap)
