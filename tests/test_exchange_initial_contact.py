"""INITIAL_CONTACT: who comes back as a stranger, and what is forgotten for it.

A restart is a new endpoint with the old configuration, from which nothing but a new
beginning comes. RFC 7296 §2.4.
"""

from dataclasses import replace

import pytest

from datagram_pair import DatagramPair
from iketcp.endpoint import Endpoint
from iketcp.environment import ScriptedEntropy
from iketcp.ike.credentials import Credential, Proof, Trust
from iketcp.ike.identity import Identity
from iketcp.ike.policy import PoolPolicy, Uniqueness
from iketcp.mapping import MappingPolicy
from iketcp.registry import IdType
from pair import EAST, SECRET, WEST, Pair, Side, ike_policy
from test_exchange_configuration import gateway_and_traveller, leases
from test_exchange_eap import eap_pair

NOTIFY = "N(INITIAL_CONTACT)"
OPEN_EAST = {"remote_identity": None, "secrets": {None: SECRET}}
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


def make_pair(transport="tcp", version=4, west=None, east=None):
    """Two sides of which east takes whoever knows the secret."""
    kind = Pair if transport == "tcp" else DatagramPair
    return kind(
        ike_policy(WEST, **(west or {})),
        ike_policy(EAST, **OPEN_EAST, **(east or {})),
        addresses=ADDRESSES[version],
    )


def restart(pair, seed="again", **changes):
    """Let west lose everything but its configuration, and begin; returns what was."""
    before = pair.west
    policy = replace(before.endpoint.context.policy, **changes)
    pair.west = Side(WEST, Endpoint(policy, MappingPolicy(), ScriptedEntropy(seed)))
    pair.wire.clear()
    pair.up()
    return before


def ends(pair):
    """Who has an IKE SA with east."""
    return sorted(s.ike.remote_identity for s in pair.east.endpoint.tables.sessions())


def closings(side):
    """Why its IKE SAs ended."""
    return [trace["reason"] for trace in side.traces("ike-sa-closed")]


# --- the initiator says it ------------------------------------------------------------


def requests(side):
    """Its IKE_AUTH requests."""
    return [
        trace["payloads"]
        for trace in side.traces("ike-message")
        if (trace["exchange"], trace["direction"]) == ("IKE_AUTH", "sent")
    ]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_beginner_says_so_and_once(transport):
    """RFC 7296 App. C.2: behind IDi and CERT; after a rekey there is nothing to say."""
    pair = make_pair(transport)
    pair.up()
    (request,) = requests(pair.west)
    assert request[1] == NOTIFY
    pair.run(WEST, pair.west.endpoint.rekey_ike(pair.now))
    pair.settle()
    assert len(requests(pair.west)) == 1
    assert requests(pair.east) == [requests(pair.east)[0]]
    assert NOTIFY not in requests(pair.east)[0]


def test_a_shared_identity_never_says_it():
    """RFC 7296 §2.4: MUST NOT be sent by an entity that may be replicated."""
    pair = make_pair(west={"unique": Uniqueness.NEVER})
    pair.up()
    assert NOTIFY not in requests(pair.west)[0]


def test_a_new_connection_for_a_living_ike_sa_is_no_beginning():
    """RFC 9329 §6.1: the IKE SA goes on, and nobody authenticates."""
    pair = make_pair()
    pair.break_connection(pair.up())
    pair.connect()
    pair.settle()
    assert len(requests(pair.west)) == 1
    pair.check_agreement()
    assert closings(pair.east) == []


def test_after_the_end_of_its_ike_sa_it_begins_anew():
    """It has none any more, whatever the responder may think."""
    pair = make_pair()
    id = pair.up()
    pair.ike(WEST).close("lost")
    pair.run(WEST, pair.west.endpoint.time_passed(pair.now))
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    assert [request[1] for request in requests(pair.west)] == [NOTIFY, NOTIFY]
    pair.check_agreement()
    assert closings(pair.east) == ["its peer has begun anew"]


# --- the responder hears it -----------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_older_ike_sa_ends_without_a_word(transport, version):
    """With its Child SAs; east tells nobody, for nobody is there to hear it."""
    pair = make_pair(transport, version)
    pair.up()
    pair.ping()
    old = pair.ike(EAST)
    said = len(pair.said(EAST)) if transport == "tcp" else len(pair.of(EAST))
    restart(pair)
    assert closings(pair.east) == ["its peer has begun anew"]
    assert old.children == {}
    assert pair.ike(EAST) is not old
    assert len(pair.east.traces("child-sa-removed")) == 1
    new = len(pair.said(EAST)) if transport == "tcp" else len(pair.of(EAST))
    assert new - said == 2  # IKE_SA_INIT and IKE_AUTH
    pair.ping()


def test_its_connection_is_closed_soon():
    """RFC 9329 §6.1: as after DELETE, by the TCP Responder if nobody else does."""
    pair = make_pair()
    id = pair.up()
    restart(pair)
    assert id in pair.open
    pair.advance(MappingPolicy().linger_seconds)
    assert id not in pair.open
    pair.check_agreement()


def test_a_rekeyed_ike_sa_ends_too():
    """The peer is the same through every rekey, and nothing of the old one stays."""
    pair = make_pair()
    pair.up()
    pair.rekey_ike(WEST)
    for _ in range(2):
        pair.deliver()  # east has a successor, and has not heard a DELETE yet
    assert len(pair.east.endpoint.tables.ike_sas) == 2
    pair.wire.clear()
    restart(pair)
    pair.check_agreement()
    assert sorted(closings(pair.east)) == [
        "its peer has begun anew",
        "its session is deleted",
    ]


def test_others_keep_theirs():
    """RFC 7296 §2.4: only those of the same authenticated identity."""
    pair = make_pair()
    pair.up()
    other = restart(pair, "other", local_identity=Identity.parse("south.example"))
    assert ends(pair) == ["south.example", "west.example"]
    pair.west = other
    restart(pair)
    assert ends(pair) == ["south.example", "west.example"]
    assert closings(pair.east) == ["its peer has begun anew"]


def test_who_does_not_prove_its_identity_ends_nothing():
    """RFC 7296 §2.4: authenticated identities."""
    pair = make_pair()
    pair.up()
    old = pair.ike(EAST)
    other = Identity.parse("east.example")
    restart(pair, secrets={other: b"another secret of sixteen octets"})
    assert NOTIFY in requests(pair.west)[0]
    assert pair.ike(EAST) is old
    assert "its peer has begun anew" not in closings(pair.east)


def test_the_address_stays_with_its_owner():
    """RFC 7296 §2.19: who comes back gets the one that the dead IKE SA still held."""
    pair = gateway_and_traveller(PoolPolicy(("10.9.0.0/29",)), families=(4,))
    pair.up()
    before = leases(pair)
    restart(pair)
    assert leases(pair) == before == {"west.example": ["10.9.0.2/29"]}
    pair.ike(EAST).close("over")
    assert leases(pair) == {}


def test_by_eap_the_name_counts_that_was_proved():
    """RFC 7296 §2.16: IDi says nothing, so another IDi is the same user."""
    pair = eap_pair(east=OPEN_EAST)
    pair.up()
    restart(pair, local_identity=Identity.parse("elsewhere.example"))
    assert ends(pair) == ["eap:alice@example"]
    assert closings(pair.east) == ["its peer has begun anew"]


def test_nobody_is_the_same_as_nobody():
    """RFC 7619 §2.3: INITIAL_CONTACT of an unauthenticated peer ends nothing."""
    nobody = {
        "credential": Credential(Proof.NULL),
        "local_identity": Identity(IdType.ID_NULL, b""),
    }
    trust = Trust(frozenset({Proof.NULL}))
    pair = make_pair(west=nobody, east={"trust": trust, "unique": Uniqueness.REPLACE})
    pair.up()
    restart(pair)
    assert NOTIFY in requests(pair.west)[0]
    assert len(pair.east.endpoint.tables.sessions()) == 2


# --- what the responder may be told to do ---------------------------------------------


def test_never_leaves_all_of_them():
    """Several machines share the identity; what one of them says is not of the rest."""
    pair = make_pair(east={"unique": Uniqueness.NEVER})
    pair.up()
    restart(pair)
    assert ends(pair) == ["west.example"] * 2


def test_without_the_notify_the_older_stays():
    """It may well be alive."""
    pair = make_pair()
    pair.up()
    restart(pair, unique=Uniqueness.NEVER)
    assert ends(pair) == ["west.example"] * 2


def test_replace_parts_from_the_older_with_delete():
    """RFC 7296 §1.4.1: its peer is perhaps there, and is told."""
    pair = make_pair(east={"unique": Uniqueness.REPLACE})
    first = pair.up()
    before = restart(pair, unique=Uniqueness.NEVER)
    assert closings(pair.east) == []
    (octets,) = [o for name, id, o in pair.sent[-2:] if (name, id) == (EAST, first)]
    after, pair.west = pair.west, before
    pair.wire.append((EAST, first, octets))
    pair.settle()
    assert closings(pair.west) == ["deleted by the peer"]
    assert closings(pair.east) == ["its peer has another IKE SA"]
    pair.west = after
    pair.check_agreement()
    pair.ping()


def test_replace_forgets_at_once_whom_it_cannot_tell():
    """Without a connection there is nobody to say DELETE to."""
    pair = make_pair(east={"unique": Uniqueness.REPLACE})
    pair.break_connection(pair.up())
    restart(pair, unique=Uniqueness.NEVER)
    assert closings(pair.east) == ["its peer has another IKE SA"]
    pair.check_agreement()
