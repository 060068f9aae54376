"""Ours and strongSwan: every way to say who one is that both know.

As in the other suites each scene is played with either side initiating, and strongSwan
is asked what it believes.
"""

import pytest

from certificate_factory import write_issued
from config_samples import write
from interop_certificates import (
    KEYS,
    NOT_FOR_IKE,
    OVER,
    between,
    end,
    root,
    write_ours,
    write_theirs,
)
from interop_stage import TCP_WAYS, WAYS, Stage, on_stage, refused

both_ways = pytest.mark.parametrize("way", WAYS, ids=str)

CERTIFICATE = """\
auth = "certificate"
certificate = "ours.pem"
private_key = "ours.key"
"""
OURS = {"local": CERTIFICATE, "remote": 'auth = "certificate"\nca = "ca.pem"'}
THEIRS = {"local": "auth = pubkey\n certs = theirs.pem", "remote": "auth = pubkey"}


def certify(stage: Stage, kind: str) -> None:
    """Give both sides a certificate of one CA."""
    ca = root(kind)
    write_ours(stage.folder, ca, end(ca, "west.example", kind))
    write_theirs(stage.theirs.folder, ca, end(ca, "east.example", kind))


@both_ways
@pytest.mark.parametrize("kind", KEYS)
@on_stage("Authentication", "certificates, {kind}")
def test_certificates(stage: Stage, kind: str) -> None:
    """RFC 7427 §3, RFC 8420 §2: each kind of key signs AUTH on both sides."""
    certify(stage, kind)
    stage.connect(OURS, THEIRS)
    assert stage.ike_sa()["remote-id"] == "west.example"
    stage.ping_both_ways()


@both_ways
@on_stage("Authentication", "certificates, RSA with PKCS#1 v1.5")
def test_older_padding(stage: Stage) -> None:
    """RFC 7427 App. A.1: ours signs so where it is told to; strongSwan always does."""
    certify(stage, "RSA")
    local = OURS["local"] + 'rsa_padding = "pkcs1"\n'
    remote = "auth = rsa-sha256" if stage.way.we_initiate else "auth = rsa"
    stage.connect({**OURS, "local": local}, {**THEIRS, "remote": remote})
    stage.ping_both_ways()


@both_ways
@on_stage("Authentication", "certificates, RSA with PSS on both sides")
def test_newer_padding(stage: Stage) -> None:
    """RFC 7427 App. A.4."""
    certify(stage, "RSA")
    pss = "auth = ike:rsa/pss-sha256"
    stage.connect(OURS, {"local": f"{pss}\n certs = theirs.pem", "remote": pss})
    stage.ping_both_ways()


@both_ways
@on_stage("Authentication", "certificates by way of an authority between")
def test_chain(stage: Stage) -> None:
    """RFC 7296 §3.6: what stands between comes in CERT payloads, either way."""
    ca = root()
    middle = between(ca)
    write_ours(stage.folder, ca, end(middle, "west.example"), middle)
    write_theirs(stage.theirs.folder, ca, end(middle, "east.example"), middle)
    if not stage.way.we_initiate:
        (stage.theirs.folder / "x509ca" / "ca1.pem").rename(
            stage.theirs.folder / "x509" / "between.pem"
        )
    stage.connect(OURS, THEIRS)
    stage.ping_both_ways()


@both_ways
@on_stage("Authentication", "raw public keys")
def test_raw_public_keys(stage: Stage) -> None:
    """RFC 7670 §3: nobody vouches for them but the configuration."""
    ca = root()
    for name in ("ours", "theirs"):
        write_issued(stage.folder, name, end(ca, f"{name}.example"))
    for kind, names in (
        ("pubkey", ("ours.pub", "theirs.pub")),
        ("private", ("theirs.key",)),
    ):
        folder = stage.theirs.folder / kind
        folder.mkdir()
        for name in names:
            write(folder / name, (stage.folder / name).read_bytes())
    local = 'auth = "public-key"\nprivate_key = "ours.key"'
    remote = 'auth = "public-key"\npublic_key = "theirs.pub"'
    stage.connect(
        {"local": local, "remote": remote},
        {
            "local": "auth = pubkey\n pubkeys = theirs.pub",
            "remote": "auth = pubkey\n pubkeys = ours.pub",
        },
    )
    stage.ping_both_ways()


# --- EAP ------------------------------------------------------------------------------

PSK = 'psk_file = "psk"'
USER, PASSWORD = "alice@example", "correct horse battery staple"


def eap(
    stage: Stage, method: str, password: str = PASSWORD
) -> tuple[dict[str, str], dict[str, str]]:
    """Configure both: the responder by certificate, the initiator by EAP."""
    ca = root()
    secrets = f'eap-a {{\n id = {USER}\n secret = "{PASSWORD}"\n }}'
    if stage.way.we_initiate:
        write_ours(stage.folder, ca, end(ca, USER))
        write_theirs(stage.theirs.folder, ca, end(ca, "east.example"))
        write(stage.folder / "password", password.encode())
        keys = {
            "mschapv2": 'password_file = "password"',
            "tls": 'certificate = "ours.pem"\nprivate_key = "ours.key"\nca = "ca.pem"',
        }
        more = f'[eap]\nmethods = ["{method}"]\nidentity = "{USER}"\n{keys[method]}'
        return (
            {"local": 'auth = "eap"', "remote": OURS["remote"], "more": more},
            {
                "local": THEIRS["local"],
                "remote": f"auth = eap-{method}\n eap_id = %any",
                "secrets": secrets,
            },
        )
    write_ours(stage.folder, ca, end(ca, "west.example"))
    write_theirs(stage.theirs.folder, ca, end(ca, USER))
    write(stage.folder / "users.toml", f'"{USER}" = "{password}"'.encode())
    keys = {
        "mschapv2": 'users_file = "users.toml"',
        "tls": 'certificate = "ours.pem"\nprivate_key = "ours.key"\nca = "ca.pem"',
    }
    # strongSwan takes its IDi for the user's name unless it is asked
    more = f'[eap]\nmethods = ["{method}"]\nask_identity = true\n{keys[method]}'
    certs = "\n certs = theirs.pem" if method == "tls" else ""
    return (
        {"local": CERTIFICATE, "remote": 'auth = "eap"', "more": more},
        {
            "local": f"auth = eap-{method}\n eap_id = {USER}{certs}",
            "remote": THEIRS["remote"],
            "secrets": secrets,
        },
    )


@both_ways
@pytest.mark.parametrize("method", ["mschapv2", "tls"])
@on_stage("Authentication", "EAP, {method}; the responder by certificate")
def test_eap(stage: Stage, method: str) -> None:
    """RFC 7296 §2.16: AUTH from the key that EAP made."""
    stage.connect(*eap(stage, method))
    stage.ping_both_ways()


FIRST = {
    "pre-shared key": ({"local": PSK}, {"local": "auth = psk", "remote": "auth = psk"}),
    "certificate": (OURS, THEIRS),
}
"""What comes before EAP, at our end and at strongSwan's."""


@pytest.mark.parametrize("way", TCP_WAYS, ids=str)
@pytest.mark.parametrize("first", FIRST)
@on_stage("Authentication", "{first} of the machine, then EAP, mschapv2, of its user")
def test_eap_after_another_proof(stage: Stage, first: str) -> None:
    """RFC 4739 §2.3: IDi with a secret or a key, and IDi with EAP after that."""
    certify(stage, "Ed25519")
    ours, theirs = FIRST[first]
    write(stage.folder / "password", PASSWORD.encode())
    write(stage.folder / "users.toml", f'"{USER}" = "{PASSWORD}"'.encode())
    if stage.way.we_initiate:
        who = f'identity = "{USER}"\npassword_file = "password"'
        second = f"remote-2 {{\n round = 2\n auth = eap-mschapv2\n id = {USER}\n }}"
    else:
        who = 'users_file = "users.toml"'
        second = f"local-2 {{\n round = 2\n auth = eap-mschapv2\n id = {USER}\n }}"
    running = stage.connect(
        {**ours, "more": f"[eap]\nsecond = true\n{who}"},
        {
            **{end: f"{text}\n round = 1" for end, text in theirs.items()},
            "ike": second,
            "secrets": f'eap-a {{\n id = {USER}\n secret = "{PASSWORD}"\n }}',
        },
    )
    if not stage.way.we_initiate:
        (told,) = running.told.of("authenticated-once")
        assert told["peer"] == "east.example"
    stage.ping_both_ways()


# --- post-quantum preshared keys ------------------------------------------------------

PPK = "0sK3Qn0fW6ZrPUoZTNbb1ruxC7PzCJo6mCk2O4jXq6mWk="
PPK_SECRET = f"ppk-a {{\n id = laptop-1\n secret = {PPK}\n }}"
THEIR_PPK = {
    "ike": "ppk_id = laptop-1\n ppk_required = yes",
    "secrets": PPK_SECRET,
}


def ppk(stage: Stage, id: str = "laptop-1", is_required: bool = True) -> dict[str, str]:
    """Give us a PPK for strongSwan."""
    write(stage.folder / "laptop.ppk", PPK.encode())
    required = "true" if is_required else "false"
    table = f'[[ppk]]\nid = "{id}"\nppk_file = "laptop.ppk"\nrequired = {required}\n'
    return {"more": table}


tcp_ways = pytest.mark.parametrize("way", TCP_WAYS, ids=str)


@tcp_ways
@on_stage("Authentication", "pre-shared keys, and a PPK that both insist on")
def test_ppk(stage: Stage) -> None:
    """RFC 8784 §3: SK_d is the same, or no packet would arrive; so after a rekey."""
    running = stage.connect(ppk(stage), THEIR_PPK)
    running.told.wait_for("ppk-used")
    stage.ping_both_ways()
    stage.theirs.swanctl("--rekey", "--ike", "iketcp")
    running.told.wait_for("ike-sa-rekeyed")
    stage.theirs.swanctl("--rekey", "--child", "net")
    running.told.wait_for("child-sa-rekeyed")
    stage.ping_both_ways()


@tcp_ways
@on_stage("Authentication", "certificates, and a PPK that the responder does not know")
def test_unknown_ppk(stage: Stage) -> None:
    """RFC 8784 §3: the signature in NO_PPK_AUTH is as good, where nobody insists."""
    certify(stage, "Ed25519")
    own = "" if stage.way.we_initiate else "ppk_id = laptop-1"
    theirs = {"ike": own, "secrets": PPK_SECRET}
    ours = ppk(stage, "laptop-2", is_required=False)
    running = stage.connect({**OURS, **ours}, {**THEIRS, **theirs})
    running.told.wait_for("ppk-unused")
    stage.ping_both_ways()


@tcp_ways
@on_stage("Authentication", "EAP, mschapv2, and a PPK that both insist on")
def test_ppk_with_eap(stage: Stage) -> None:
    """RFC 8784 §3: with the last AUTH of both."""
    ours, theirs = eap(stage, "mschapv2")
    more = ours["more"] + "\n" + ppk(stage)["more"]
    secrets = theirs["secrets"] + "\n" + PPK_SECRET
    running = stage.connect(
        {**ours, "more": more}, {**theirs, **THEIR_PPK, "secrets": secrets}
    )
    running.told.wait_for("ppk-used")
    stage.ping_both_ways()


@tcp_ways
@on_stage("Authentication", "a PPK, and Child SAs after IKE_AUTH only")
def test_childless(stage: Stage) -> None:
    """RFC 6023 §5, RFC 8784 §6: ours rekeys the IKE SA before it names selectors."""
    word = "force" if stage.way.we_initiate else "allow"
    theirs = {**THEIR_PPK, "ike": f"{THEIR_PPK['ike']}\n childless = force"}
    ours = {**ppk(stage), "ike": f'childless = "{word}"'}
    running = stage.connect(ours, theirs)
    kinds = [kind for kind, _ in running.told.events]
    first = kinds.index("child-sa-installed")
    assert ("ike-sa-rekeyed" in kinds[:first]) is stage.way.we_initiate
    stage.ping_both_ways()


# --- what must not come about ---------------------------------------------------------


@both_ways
@on_stage("Authentication refused", "EAP: wrong password")
def test_wrong_password(stage: Stage) -> None:
    """RFC 7296 §2.21.2: the authenticator says no; nobody comes in."""
    reason = refused(stage, *eap(stage, "mschapv2", "wrong password"))
    assert "EAP" in reason or "password refused" in reason
    stage.until(lambda: stage.theirs.sas() == [])


@tcp_ways
@on_stage("Authentication refused", "a PPK that strongSwan has not, and we insist on")
def test_no_ppk(stage: Stage) -> None:
    """RFC 8784 §3, Table 1."""
    reason = refused(stage, ppk(stage), {})
    assert "PPK" in reason or "AUTH_FAILED" in reason


FAULTS = {
    "not valid any more": OVER,
    "for another name": {"names": ["elsewhere.example"]},
    "not for this use": {"extensions": NOT_FOR_IKE},
    "of an authority that nobody knows": {},
}


@both_ways
@pytest.mark.parametrize("fault", FAULTS)
@on_stage("Authentication refused", "strongSwan's certificate: {fault}")
def test_their_certificate_is_bad(stage: Stage, fault: str) -> None:
    """RFC 7296 §2.21.2, RFC 4945 §5.1: we do not let it in, nor go in."""
    ca = root()
    other = root(subject="O=Elsewhere,CN=Root")
    issuer = ca if FAULTS[fault] else other
    write_ours(stage.folder, ca, end(ca, "west.example"))
    theirs = end(issuer, "east.example", **FAULTS[fault])
    write_theirs(stage.theirs.folder, ca, theirs)
    stage.load(**THEIRS)
    running = stage.start(**OURS)
    if not stage.way.we_initiate:
        stage.theirs.initiate_in_vain()
    running.told.wait_for("ike-sa-closed")
    assert not running.told.of("ike-sa-established")


@both_ways
@pytest.mark.parametrize(
    "fault", ["not valid any more", "of an authority that nobody knows"]
)
@on_stage("Authentication refused", "our certificate: {fault}")
def test_our_certificate_is_bad(stage: Stage, fault: str) -> None:
    """RFC 7296 §2.21.2: strongSwan says AUTHENTICATION_FAILED, and so we end."""
    ca = root()
    other = root(subject="O=Elsewhere,CN=Root")
    issuer = ca if FAULTS[fault] else other
    write_ours(stage.folder, ca, end(issuer, "west.example", **FAULTS[fault]))
    write_theirs(stage.theirs.folder, ca, end(ca, "east.example"))
    reason = refused(stage, OURS, THEIRS)
    assert "AUTH" in reason
    stage.until(lambda: stage.theirs.sas() == [])
