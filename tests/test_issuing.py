"""Certificates that are made on the spot: who believes them."""

from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import NameOID

from iketcp.config import load
from iketcp.config.issuing import Authority, write_tls_files
from iketcp.errors import EnvironmentProblem
from iketcp.net.tls import TlsClient, TlsServer, is_for, pin_of
from iketcp.net.tls_options import TlsIdentity, TlsOptions, TlsTrust
from peer_support import INITIATOR, RESPONDER, SECRET
from tls_support import refusals, tls_pair

NAMES = ("gw.example", "192.0.2.1", "2001:db8::1")
PEER = {"ike": "", "child": "", "transport": "", "control": "none"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By CA and name, from configuration files that name the files. [9329-A-config]"""
    monkeypatch.setenv("IKETCP_TEST_PSK", SECRET)
    certificate = write_tls_files(tmp_path, NAMES)
    more = '[tls]\ncertificate = "server.pem"\nprivate_key = "server.key"\n'
    text = RESPONDER.format(address="127.0.0.1", more=more, **PEER)
    (tmp_path / "responder.toml").write_text(text)
    theirs = load(tmp_path / "responder.toml", "responder").tls
    text = INITIATOR.format(identity="x.example", address=name, port=1, **PEER)
    (tmp_path / "initiator.toml").write_text(text + '[tls]\nca = "ca.pem"\n')
    ours = load(tmp_path / "initiator.toml", "initiator").tls
    assert ours is not None
    assert ours.trust is not None
    assert theirs is not None
    assert theirs.identity is not None
    server = TlsServer(theirs.identity, theirs.options)
    with tls_pair(TlsClient(ours.trust, ours.options, ours.sni), server):
        pass
    pinned = TlsTrust("any.example", pins=(pin_of(certificate),))
    with tls_pair(TlsClient(pinned, TlsOptions(), None), server):
        pass


def test_another_authority_of_the_same_name_is_not_believed() -> None:
    """Its key counts."""
    one, other = Authority("CA"), Authority("CA")
    certificate, key = one.issue(["gw.example"], is_for_server=True)
    server = TlsServer(TlsIdentity((certificate,), key), TlsOptions())
    trust = TlsTrust("gw.example", (other.certificate,))
    said, _ = refusals(TlsClient(trust, TlsOptions(), None), server)
    assert "the server's certificate is refused" in said


def test_long_and_dotted_names() -> None:
    """A subject has no room for long names; the alternative name has."""
    name = ".".join(["label"] * 20) + "."
    certificate, _ = Authority("CA").issue([name])
    (subject,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(subject.value) == 64
    assert is_for(certificate, name)


@pytest.mark.parametrize("there", ["server.key", "server.pem", "ca.pem"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    """Nor is one of several files written then."""
    (tmp_path / there).write_text("old")
    with pytest.raises(EnvironmentProblem, match=f"{there}: File exists"):
        write_tls_files(tmp_path, ["gw.example"])
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "old"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The file in the way is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"cannot write .*file"):
        write_tls_files(tmp_path / "file" / "x", ["gw.example"])


def test_the_authority_is_one(tmp_path: Path) -> None:
    """It may issue for servers, and for nobody else to issue."""
    write_tls_files(tmp_path, ["gw.example"])
    ca = load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    ca.verify_directly_issued_by(ca)
