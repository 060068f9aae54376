"""Ours and strongSwan, over TCP and over UDP: what one meets the other in.

Over TCP our relay stands between them, over UDP nothing but a router. Every scene is
played with us as the initiator, and with strongSwan. It has to work on both sides: what
is agreed on is read from strongSwan's own list of SAs, and traffic goes through its own
ESP. ``make interop`` puts what was run into a table.
"""

import re

import pytest

from iketcp.ike.keywords import KEYWORDS
from interop_stage import (
    OURS,
    SITE_WEST,
    TCP_WAYS,
    UDP_WAYS,
    WAYS,
    Stage,
    Way,
    on_stage,
    refused,
    toml,
)
from peer_support import Running, eventually
from udp_nat import Seen

both_ways = pytest.mark.parametrize("way", WAYS, ids=str)
over_udp = pytest.mark.parametrize("way", UDP_WAYS, ids=str)

IMPATIENT = 'repeat_first = "1s"\nrepeat_max = "1s"\nrepeat_total = "1s"'
"""Over UDP a refusal that may be forged is held against a better answer so long."""

CIPHERS = {
    "aes128": ("AES_CBC", "128"),
    "aes192": ("AES_CBC", "192"),
    "aes256": ("AES_CBC", "256"),
    "aes128ctr": ("AES_CTR", "128"),
    "aes192ctr": ("AES_CTR", "192"),
    "aes256ctr": ("AES_CTR", "256"),
    "aes128gcm16": ("AES_GCM_16", "128"),
    "aes192gcm16": ("AES_GCM_16", "192"),
    "aes256gcm16": ("AES_GCM_16", "256"),
    "chacha20poly1305": ("CHACHA20_POLY1305", None),
}
"""Our keyword, and how strongSwan calls the cipher and its key size."""

INTEGRITY = {
    "sha256": "HMAC_SHA2_256_128",
    "sha384": "HMAC_SHA2_384_192",
    "sha512": "HMAC_SHA2_512_256",
}

PRFS = {
    "prfsha256": "PRF_HMAC_SHA2_256",
    "prfsha384": "PRF_HMAC_SHA2_384",
    "prfsha512": "PRF_HMAC_SHA2_512",
}

GROUPS = {
    "x25519": "CURVE_25519",
    "x448": "CURVE_448",
    "ecp256": "ECP_256",
    "ecp384": "ECP_384",
    "ecp521": "ECP_521",
    "modp2048": "MODP_2048",
    "modp3072": "MODP_3072",
    "modp4096": "MODP_4096",
}


def test_every_keyword_is_tried() -> None:
    """What we can offer stands in the tables above, less what strongSwan lacks.

    Its ESP in user space counts with 32 bits, and it knows neither implicit IV nor
    ML-KEM.
    """
    lacking = re.compile(r".*iiv|mlkem.*|ke[1-7]_.*")
    tried = {*CIPHERS, *INTEGRITY, *PRFS, *GROUPS, "esn", "noesn"}
    assert {word for word in KEYWORDS if not lacking.fullmatch(word)} == tried


def agree(stage: Stage, ike: str, esp: str) -> None:
    """Bring up a tunnel with one proposal each."""
    fields = {"proposal": ike, "esp": esp}
    stage.connect(fields, fields)


# --- the tunnel -----------------------------------------------------------------------

OUTER = [
    pytest.param(
        Way(way.transport, way.we_initiate, version), version, id=f"{way}-{version}"
    )
    for way in WAYS
    for version in (4, 6)
]


@pytest.mark.parametrize(("way", "version"), OUTER)
@on_stage("Tunnel", "pre-shared key over IPv{version}; echo and 8 MiB each way")
def test_tunnel(stage: Stage, version: int) -> None:
    """IPv4 and IPv6 inside: echo either way, and a transfer whose hash agrees."""
    stage.connect()
    assert stage.ike_sa()["remote-id"] == "west.example"
    for inside in (4, 6):
        stage.ping_both_ways(inside)
    stage.transfer_both_ways(version)


@over_udp
@on_stage("Tunnel", "through a NAT, with keepalives; echo and 8 MiB each way")
def test_through_a_nat(stage: Stage) -> None:
    """RFC 7296 §2.23, RFC 3948 §4: each finds the NAT, and port 4500 carries all."""
    nat = stage.build_nat()
    running = stage.connect({"udp": 'keepalive = "1s"'})
    theirs = stage.ike_sa()
    assert theirs["nat-local"] == theirs["nat-remote"] == "yes"
    assert theirs["local-port"] == "4500"
    stage.ping_both_ways()
    stage.transfer_both_ways()
    keepalive = Seen(4500, stage.way.we_initiate, b"\xff")
    eventually(lambda: keepalive in nat.seen[:], "a keepalive")
    assert not running.told.of("problem")


@pytest.mark.parametrize("way", TCP_WAYS[1:], ids=str)
@on_stage("Tunnel", "begun on port 500, as most UDP clients do")
def test_from_port_500(stage: Stage) -> None:
    """RFC 7296 §2.23: IKE_AUTH on port 4500 goes on in the same TCP connection."""
    stage.connect(theirs={"ports": ""})
    assert stage.ike_sa()["remote-port"] == "4500"
    stage.ping_both_ways()
    assert len(stage.relay_told.of("connection-opened")) == 1


@over_udp
@on_stage("Tunnel", "IKE_AUTH in fragments, from either side")
def test_fragments(stage: Stage) -> None:
    """RFC 7383 §2.5, §2.6: both cut what is large, and both put it together."""
    many = [*SITE_WEST, *(f"10.1.{number}.0/24" for number in range(1, 60))]
    stage.theirs.set("fragment_size = 576")
    running = stage.connect(
        {"local_ts": toml(many), "udp": "fragment_size = 512"},
        {"remote_ts": ",".join(many), "ike": "fragmentation = force"},
    )
    (sent,) = (
        message
        for message in running.told.of("ike-message")
        if (message["exchange"], message["direction"]) == ("IKE_AUTH", "sent")
    )
    assert sent["messages"] == 3
    assert "received fragment #3 of 3" in stage.theirs.log
    assert "splitting IKE message" in stage.theirs.log
    stage.ping_both_ways()


# --- algorithms -----------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("cipher", CIPHERS)
@on_stage("Algorithms", "`{cipher}` in IKE and ESP")
def test_cipher(stage: Stage, cipher: str) -> None:
    """RFC 7296 §3.3.2: each cipher protects IKE messages and packets."""
    is_combined = "gcm" in cipher or "poly" in cipher
    ike = f"{cipher}-prfsha256" if is_combined else f"{cipher}-sha256"
    esp = cipher if is_combined else f"{cipher}-sha256"
    agree(stage, f"{ike}-x25519", f"{esp}-noesn")
    name, bits = CIPHERS[cipher]
    for sa in (stage.ike_sa(), stage.child_sa()):
        assert (sa["encr-alg"], sa.get("encr-keysize")) == (name, bits)
    stage.ping_both_ways()


@both_ways
@pytest.mark.parametrize("integ", INTEGRITY)
@on_stage("Algorithms", "`{integ}` in IKE and ESP")
def test_integrity(stage: Stage, integ: str) -> None:
    """RFC 4868 §2.3: each integrity algorithm, with its ICV of half the hash."""
    agree(stage, f"aes128-{integ}-x25519", f"aes128-{integ}-noesn")
    for sa in (stage.ike_sa(), stage.child_sa()):
        assert sa["integ-alg"] == INTEGRITY[integ]
    stage.ping_both_ways()


@both_ways
@pytest.mark.parametrize("prf", PRFS)
@on_stage("Algorithms", "`{prf}`")
def test_prf(stage: Stage, prf: str) -> None:
    """RFC 7296 §2.13: each pseudorandom function makes the keys of both kinds."""
    agree(stage, f"aes128gcm16-{prf}-x25519", "aes128gcm16-noesn")
    assert stage.ike_sa()["prf-alg"] == PRFS[prf]
    stage.ping_both_ways()


@both_ways
@pytest.mark.parametrize("group", GROUPS)
@on_stage("Algorithms", "`{group}` in IKE_SA_INIT and for a Child SA")
def test_group(stage: Stage, group: str) -> None:
    """RFC 7296 §1.3.3: each key exchange, also for perfect forward secrecy."""
    agree(stage, f"aes128gcm16-prfsha256-{group}", f"aes128gcm16-{group}-noesn")
    assert stage.ike_sa()["dh-group"] == GROUPS[group]
    stage.ours.peer.rekey_child("net")
    stage.ours.told.wait_for("child-sa-rekeyed")
    stage.until(lambda: stage.child_sa()["dh-group"] == GROUPS[group])
    stage.ping_both_ways()


@both_ways
@on_stage("Algorithms", "the defaults of both")
def test_defaults(stage: Stage) -> None:
    """Neither is told what to propose: they find something nevertheless."""
    ours = "\n".join(line for line in OURS.splitlines() if "proposals" not in line)
    stage.connect({"template": ours}, {"proposal": "default", "esp": "default"})
    stage.ping_both_ways()


# --- configuration --------------------------------------------------------------------


@both_ways
@on_stage("Configuration payload", "an IPv4 and an IPv6 address from a pool")
def test_configuration(stage: Stage) -> None:
    """RFC 7296 §2.19, §3.15: addresses and DNS servers, asked for and given."""
    if stage.way.we_initiate:
        pools = (
            "pools {\n p4 {\n addrs = 10.1.0.128/25\n dns = 10.2.0.53\n }\n"
            " p6 {\n addrs = 2001:db8:a::100/120\n }\n}"
        )
        running = stage.connect(
            {
                "ike": 'request_addresses = ["ipv4", "ipv6"]',
                "child": "assigned = true",
                "addresses": "[]",
            },
            {"ike": "pools = p4,p6", "remote_ts": "dynamic", "more": pools},
        )
        assert running.peer.tunnel.dns_servers == ("10.2.0.53",)
        theirs = stage.ike_sa()["remote-vips"]
        ours = [each.partition("/")[0] for each in running.peer.tunnel.addresses]
        assert sorted(ours) == sorted(theirs)
        addresses = {4 if "." in each else 6: each for each in theirs}
        assert len(addresses) == 2
        for version in (4, 6):
            stage.ping_both_ways(version, west=addresses)
        return
    pool = ("10.2.0.128/25", "2001:db8:b::100/120")
    stage.connect(
        {
            "child": "assigned = true",
            "more": f'[pool]\nnetworks = {toml(pool)}\ndns = ["10.1.0.53"]',
        },
        {"ike": "vips = 0.0.0.0,::", "local_ts": "dynamic"},
    )
    vips = stage.ike_sa()["local-vips"]
    addresses = {4 if "." in each else 6: each for each in vips}
    assert addresses[4].startswith("10.2.0.")
    assert addresses[6].startswith("2001:db8:b::1")
    for version in (4, 6):
        stage.ping_both_ways(version, east=addresses)


# --- the life of an SA ----------------------------------------------------------------


@both_ways
@on_stage("Life", "rekey of the Child SA, by us")
def test_we_rekey_the_child(stage: Stage) -> None:
    """RFC 7296 §1.3.3: a new Child SA takes over, the old one goes."""
    running = stage.connect()
    before = stage.child_sa()["spi-in"]
    running.peer.rekey_child("net")
    event = running.told.wait_for("child-sa-rekeyed")
    running.told.wait_for("child-sa-removed")
    stage.until(lambda: stage.child_sa()["spi-in"] == event["spi_out"] != before)
    stage.ping_both_ways()


@both_ways
@on_stage("Life", "rekey of the Child SA, by strongSwan")
def test_they_rekey_the_child(stage: Stage) -> None:
    running = stage.connect()
    before = stage.child_sa()["spi-in"]
    stage.theirs.swanctl("--rekey", "--child", "net")
    event = running.told.wait_for("child-sa-rekeyed")
    running.told.wait_for("child-sa-removed")
    stage.until(lambda: stage.child_sa()["spi-in"] == event["spi_out"] != before)
    stage.ping_both_ways()


@both_ways
@on_stage("Life", "rekey of the IKE SA, by us")
def test_we_rekey_the_ike_sa(stage: Stage) -> None:
    """RFC 7296 §1.3.2, §2.18: the Child SA moves to the new IKE SA, and works there."""
    running = stage.connect()
    running.peer.rekey_ike()
    event = running.told.wait_for("ike-sa-rekeyed")
    running.told.wait_for("ike-sa-closed")
    stage.until(lambda: stage.ike_sa()["initiator-spi"] == event["spi_i"])
    running.peer.rekey_child("net")
    running.told.wait_for("child-sa-rekeyed")
    stage.ping_both_ways()


@both_ways
@on_stage("Life", "rekey of the IKE SA, by strongSwan")
def test_they_rekey_the_ike_sa(stage: Stage) -> None:
    running = stage.connect()
    stage.theirs.swanctl("--rekey", "--ike", "iketcp")
    event = running.told.wait_for("ike-sa-rekeyed")
    running.told.wait_for("ike-sa-closed")
    stage.until(lambda: stage.ike_sa()["initiator-spi"] == event["spi_i"])
    stage.theirs.swanctl("--rekey", "--child", "net")
    running.told.wait_for("child-sa-rekeyed")
    stage.ping_both_ways()


def wait_for_empty_informational(running: Running, *directions: str) -> None:
    """Wait for a request one way and its answer the other way."""

    def empty() -> list[object]:
        return [
            message["direction"]
            for message in running.told.of("ike-message")
            if message["exchange"] == "INFORMATIONAL" and message["payloads"] == []
        ]

    eventually(lambda: empty()[:2] == list(directions), "liveness")


@both_ways
@on_stage("Life", "liveness: we ask, strongSwan answers")
def test_we_ask_whether_they_live(stage: Stage) -> None:
    """RFC 7296 §2.4: an empty INFORMATIONAL, and an empty answer."""
    running = stage.connect({"ike": 'liveness = "1s"'})
    wait_for_empty_informational(running, "sent", "received")


@both_ways
@on_stage("Life", "liveness: strongSwan asks, we answer")
def test_they_ask_whether_we_live(stage: Stage) -> None:
    running = stage.connect(theirs={"ike": "dpd_delay = 1s"})
    wait_for_empty_informational(running, "received", "sent")


@both_ways
@on_stage("Life", "strongSwan falls silent: we give the IKE SA up")
def test_we_notice_that_they_are_gone(stage: Stage) -> None:
    """RFC 7296 §2.4: no answer, and the IKE SA with its Child SAs ends."""
    running = stage.connect(
        {
            "ike": 'liveness = "1s"\nrequest_timeout = "1s"',
            "udp": IMPATIENT,
        }
    )
    stage.silence()
    closed = running.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "no answer for 1 s"


@both_ways
@on_stage("Life", "delete of the Child SA, by strongSwan")
def test_they_delete_the_child(stage: Stage) -> None:
    """RFC 7296 §1.4.1: one half each; the IKE SA stays."""
    running = stage.connect()
    stage.theirs.swanctl("--terminate", "--child", "net")
    running.told.wait_for("child-sa-removed")
    assert stage.ike_sa()["child-sas"] == {}
    assert not running.told.of("ike-sa-closed")


@both_ways
@on_stage("Life", "delete of the IKE SA, by strongSwan")
def test_they_delete_the_ike_sa(stage: Stage) -> None:
    running = stage.connect()
    stage.theirs.swanctl("--terminate", "--ike", "iketcp")
    closed = running.told.wait_for("ike-sa-closed")
    assert closed["reason"] == "deleted by the peer"
    running.told.wait_for("child-sa-removed")


@both_ways
@on_stage("Life", "delete of the IKE SA, by us")
def test_we_delete_the_ike_sa(stage: Stage) -> None:
    running = stage.connect()
    running.peer.stop()
    stage.until(lambda: stage.theirs.sas() == [])


@pytest.mark.parametrize("way", TCP_WAYS, ids=str)
@on_stage("Life", "the TCP connection breaks: the same SAs go on over another")
def test_the_connection_breaks(stage: Stage) -> None:
    """RFC 9329 §6.1: the TCP Originator connects again; nothing is negotiated."""
    running = stage.connect()
    stage.ping_both_ways()
    spis, before = running.spis, stage.ike_sa()["remote-port"]
    assert stage.cut() == 1
    if not stage.way.we_initiate:
        stage.theirs.swanctl("--rekey", "--child", "net")  # something to say
        running.told.wait_for("child-sa-rekeyed")
    running.told.wait_for("connection-opened", 2)
    stage.ping_both_ways()
    if stage.way.we_initiate:
        # strongSwan's ESP in user space cannot follow to another port: it is rekeyed
        assert {pair for pair in spis if len(pair[0]) == 8} <= running.spis
        stage.relay_told.wait_for("client-returned")
        assert stage.ike_sa()["remote-port"] != before
    assert len(running.told.of("ike-sa-established")) == 1


# --- what must not come about ---------------------------------------------------------


@both_ways
@on_stage("Refusals", "wrong pre-shared key: AUTHENTICATION_FAILED")
def test_wrong_secret(stage: Stage) -> None:
    """RFC 7296 §2.21.2."""
    reason = refused(stage, {}, {"secret": "another secret of that size"})
    assert "AUTHENTICATION_FAILED" in reason or "AUTH_FAILED" in reason
    stage.until(lambda: stage.theirs.sas() == [])


@both_ways
@on_stage("Refusals", "nothing in common for the IKE SA: NO_PROPOSAL_CHOSEN")
def test_no_proposal(stage: Stage) -> None:
    """RFC 7296 §2.7, §2.21.1."""
    reason = refused(
        stage,
        {"proposal": "aes128gcm16-prfsha256-x25519", "udp": IMPATIENT},
        {"proposal": "aes256gcm16-prfsha256-x25519"},
    )
    assert "NO_PROPOSAL_CHOSEN" in reason or "NO_PROP" in reason


@both_ways
@on_stage("Refusals", "nothing in common for the Child SA: NO_PROPOSAL_CHOSEN")
def test_no_child_proposal(stage: Stage) -> None:
    """RFC 7296 §1.2: the IKE SA may stand without a Child SA."""
    reason = refused(stage, {"esp": "aes128gcm16-noesn"}, {"esp": "aes256gcm16-noesn"})
    assert "NO_PROPOSAL_CHOSEN" in reason or "NO_PROP" in reason


@both_ways
@on_stage("Refusals", "no common traffic selectors: TS_UNACCEPTABLE")
def test_no_selectors(stage: Stage) -> None:
    """RFC 7296 §2.9."""
    reason = refused(stage, {}, {"local_ts": "10.77.0.0/24"})
    assert "TS_UNACCEPTABLE" in reason or "TS_UNACCEPT" in reason


@both_ways
@on_stage("Refusals", "another group wanted: INVALID_KE_PAYLOAD, then it works")
def test_invalid_ke(stage: Stage) -> None:
    """RFC 7296 §1.2, §1.3: tried again with the group that was asked for."""
    first, second = "x25519-ecp256", "ecp256"
    if not stage.way.we_initiate:
        first, second = second, first
    prefix = "aes128gcm16-prfsha256-"
    running = stage.connect(
        {"proposal": prefix + first, "esp": f"aes128gcm16-{first}-noesn"},
        {"proposal": prefix + second, "esp": f"aes128gcm16-{second}-noesn"},
    )
    assert stage.ike_sa()["dh-group"] == "ECP_256"
    assert any("INVALID_KE_PAYLOAD" in str(m) for m in running.told.of("ike-message"))
    if stage.way.we_initiate:
        running.peer.rekey_child("net")
    else:
        stage.theirs.swanctl("--rekey", "--child", "net")
    running.told.wait_for("child-sa-rekeyed")
    stage.until(lambda: stage.child_sa()["dh-group"] == "ECP_256")
    stage.ping_both_ways()
