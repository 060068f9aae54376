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


# --- who is asked again ---------------------------------------------------------------


# over UDP: the relay of the stage carries one TCP connection at a time
@pytest.mark.parametrize("way", UDP_WAYS[:1], ids=str)
@on_stage("Peers", "reauthentication, by us: make before break")
def test_we_authenticate_anew(stage: Stage) -> None:
    """RFC 7296 §2.8.3: another IKE SA, then the first is deleted; addresses, too.

    strongSwan leases us another address meanwhile, and tells us when to be back.
    """
    ours = 'reauth_time = "1s"\nlifetime_jitter = 0\nlifetime_grace = 9\n'
    running = stage.connect(
        {
            "ike": ours + 'request_addresses = ["ipv4"]',
            "child": "assigned = true",
            "addresses": "[]",
        },
        {
            "ike": "reauth_time = 1h\n rekey_time = 0\n pools = p4",
            "remote_ts": "dynamic",
            "more": "pools {\n p4 {\n addrs = 10.1.0.128/25\n }\n}",
        },
    )
    before = stage.ike_sa()["uniqueid"]
    told = [
        event["payloads"]
        for event in running.told.of("ike-message")
        if (event["exchange"], event["direction"]) == ("IKE_AUTH", "received")
    ]
    assert "N(AUTH_LIFETIME)" in told[0]
    begun, done = (running.told.wait_for("reauthentication", n) for n in (1, 2))
    assert (begun["state"], done["state"]) == ("begun", "done")
    running.told.wait_for("ike-sa-closed")
    stage.until(lambda: before not in [sa["uniqueid"] for sa in stage.theirs.sas()])
    (address,) = running.peer.tunnel.addresses
    stage.ping_both_ways(west={4: address.partition("/")[0]})
    assert running.peer.ended_reason is None


@pytest.mark.parametrize("way", UDP_WAYS[1:], ids=str)
@on_stage("Peers", "reauthentication, by strongSwan: make before break")
def test_they_authenticate_anew(stage: Stage) -> None:
    """RFC 7296 §2.8.3: two IKE SAs for a while; and we tell it when to be back."""
    stage.theirs.set("make_before_break = yes")
    running = stage.connect(
        {"ike": 'reauth_time = "1h"'},
        {"ike": "reauth_time = 2s\n over_time = 60s\n rand_time = 0\n rekey_time = 0"},
    )
    assert "received AUTH_LIFETIME of 3600s" in stage.theirs.log
    running.told.wait_for("ike-sa-established", 2)
    stage.ping_both_ways()
    closed = running.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    stage.ping_both_ways()
