"""Ours and strongSwan: who is who, and who comes back after a crash.

As in the other suites each scene is played with either side initiating, and strongSwan
is asked what it believes.
"""

import pytest

from interop_stage import OURS, UDP_WAYS, WAYS, Stage, on_stage, toml
from peer_support import SECRET

both_ways = pytest.mark.parametrize("way", WAYS, ids=str)


@both_ways
@on_stage("Peers", "the initiator crashes and is back: INITIAL_CONTACT")
def test_initial_contact(stage: Stage) -> None:
    """RFC 7296 §2.4: the responder forgets the IKE SA from before, and no other."""
    running = stage.connect()
    if stage.way.we_initiate:
        running.peer.endpoint.delete_all = lambda now: []  # it dies without a word
        running.peer.hurry()
        running.peer.stop()
        stage.start().told.wait_for("child-sa-installed")
        stage.until(lambda: bool(stage.child_sa()))
        assert "received INITIAL_CONTACT" in stage.theirs.log
    else:
        stage.theirs.crash()
        stage.load()
        stage.theirs.initiate()
        closed = running.told.wait_for("ike-sa-closed")
        assert closed["reason"] == "its peer has begun anew"
        assert len(running.peer.endpoint.tables.sessions()) == 1
    stage.ping_both_ways()


# --- who is who -----------------------------------------------------------------------

IDENTITIES = {
    "FQDN": ("@{}.example", "@{}.example"),
    "RFC822_ADDR": ("{}@example.org", "{}@example.org"),
    "IPV4_ADDR": ("203.0.113.{}", "203.0.113.{}"),
    "IPV6_ADDR": ("2001:db8:f::{}", "2001:db8:f::{}"),
    "DER_ASN1_DN": ("C=CH, O=Example, CN={}", '"C=CH, O=Example, CN={}"'),
    "KEY_ID": ("keyid:c0{}", '"@#c0{}"'),
}
"""As ours and as strongSwan are told."""

KIND = """\
[[peer]]
name = "{name}"
identity = {identity}
psk_file = "psk"
local_identity = "{local}"
"""


@pytest.mark.parametrize("way", UDP_WAYS, ids=str)
@pytest.mark.parametrize("kind", IDENTITIES)
@on_stage("Peers", "ID_{kind} on both sides; one connection of three")
def test_identities(stage: Stage, kind: str) -> None:
    """RFC 7296 §3.5: each side finds the other's secret by what it is called."""
    numbers = "11", "22"
    ours, theirs = (
        tuple(form.format(number) for form in IDENTITIES[kind]) for number in numbers
    )
    stage.load(
        id=theirs[1],
        remote_id=ours[1],
        secrets=f'ike-all {{ secret = "{SECRET}" }}',
    )
    if stage.way.we_initiate:
        running = stage.start(identity=ours[0], remote_identity=theirs[0])
    else:
        peers = (("nobody", "@no.body"), ("them", theirs[0]), ("others", "*"))
        texts = (
            KIND.format(name=name, identity=toml([who]), local=ours[0])
            for name, who in peers
        )
        template = OURS.replace('identity = "{remote_identity}"\n', "")
        running = stage.start(template=template, more="".join(texts))
        stage.theirs.initiate()
    established = running.told.wait_for("ike-sa-established")
    assert established["remote_identity"].removeprefix("@") == theirs[0].removeprefix(
        "@"
    )
    assert established.get("peer") == (None if stage.way.we_initiate else "them")
    running.told.wait_for("child-sa-installed")
    stage.ping_both_ways()
