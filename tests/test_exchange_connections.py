"""A responder and several kinds of peers: whose policy, secret, addresses count."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from certificate_factory import TODAY
from datagram_pair import DatagramPair
from eap_parts import USERS, password_authenticator, password_peer
from iketcp.eap.method import EapAuthenticatorPolicy, EapPeerPolicy
from iketcp.effects import ConfigurationAssigned
from iketcp.ike.certificates import authority_hashes
from iketcp.ike.credentials import Proof, Trust
from iketcp.ike.identity import Identity
from iketcp.ike.identity_pattern import IdentityPattern
from iketcp.ike.payloads import CertReqPayload, IdPayload, NotifyPayload, Payload
from iketcp.ike.policy import IkePolicy, Lifetime, PoolPolicy
from iketcp.registry import ExchangeType, NotifyType
from pair import EAST, SECRET, WEST, Pair, child_policy, ike_policy
from test_exchange_authentication import attempt, closed_because, is_up
from test_exchange_certificates import OTHER, ROOT, certified, credential, seen
from test_exchange_ike_auth import in_ike_auth, without
from test_exchange_initial_contact import ends, restart

ANOTHER = b"another secret of sixteen octets"
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
QUIET = Lifetime(seconds=None)


def connection(name: str, *patterns: str, **changes: object) -> IkePolicy:
    """What east has for peers of some patterns."""
    accepts = tuple(map(IdentityPattern.parse, patterns))
    how = {"remote_identity": None, "secrets": {None: SECRET}, **changes}
    return ike_policy(EAST, name=name, accepts=accepts, **how)


def gateway(*connections: IkePolicy, **changes: object) -> IkePolicy:
    """East with several connections, and nothing else to let anybody in by."""
    how = {"remote_identity": None, "secrets": {}, "trust": Trust(frozenset())}
    return ike_policy(EAST, connections=connections, **{**how, **changes})


def caller(identity: str = "west.example", **changes: object) -> IkePolicy:
    """West under some name."""
    return ike_policy(WEST, local_identity=Identity.parse(identity), **changes)


def chosen(pair: Pair) -> str:
    """By which connection west came in; east tells it."""
    return str(pair.east.traces("ike-sa-established")[-1]["peer"])


# --- all kinds of identities ----------------------------------------------------------

IDENTITIES = [
    "@host.example",
    "user@host.example",
    "192.0.2.7",
    "2001:db8::7",
    "C=CH, O=Example, CN=host",
    "keyid:00ff",
]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("text", IDENTITIES)
def test_every_kind_of_identity_in_both_roles(text: str, transport: str) -> None:
    """RFC 7296 §3.5: each as IDi and as IDr, and no other in its place."""
    who = Identity.parse(text)
    other = Identity.parse("@somebody.else")
    west = ike_policy(
        WEST, local_identity=who, remote_identity=who, secrets={who: SECRET}
    )
    east = gateway(
        connection("other", "@somebody.else", local_identity=other),
        connection("them", text, local_identity=who, secrets={who: SECRET}),
    )
    kind = Pair if transport == "tcp" else DatagramPair
    pair = kind(west, east)
    pair.up()
    assert chosen(pair) == "them"
    assert pair.ike(WEST).remote_identity == pair.ike(EAST).remote_identity == str(who)
    pair.ping()


# --- which one ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("boss@example.org", "boss"),
        ("alice@example.org", "staff"),
        ("a.example.org", "machines"),
        ("192.0.2.200", "lab"),
        ("C=CH, O=Example, CN=phone", "phones"),
        ("keyid:c0ffee", "rest"),
    ],
)
def test_the_first_that_fits(identity: str, name: str) -> None:
    """RFC 4301 §4.4.3: an ordered list."""
    east = gateway(
        connection("boss", "boss@example.org"),
        connection("staff", "*@example.org"),
        connection("machines", "nobody.example", "*.example.org"),
        connection("lab", "192.0.2.0/24"),
        connection("phones", "C=CH, O=Example, CN=*"),
        connection("rest", "*"),
    )
    pair = attempt(Pair(caller(identity), east))
    assert chosen(pair) == name
    pair.check_agreement()


def failure(pair: Pair) -> list[Payload]:
    """What east says in IKE_AUTH to whom it does not let in."""
    said = seen(pair, EAST, ExchangeType.IKE_AUTH)
    assert not is_up(pair)
    assert pair.east.endpoint.tables.ike_sas == {}
    return said


def test_a_stranger_hears_what_a_liar_hears() -> None:
    """RFC 7296 §2.21.2: nothing tells an identity that is unknown from one that is."""
    east = gateway(connection("them", "west.example"))
    wrong = {Identity.parse("east.example"): ANOTHER}
    stranger = Pair(caller("stranger.example"), east)
    liar = Pair(caller("west.example", secrets=wrong), east)
    refused = [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]
    assert failure(stranger) == failure(liar) == refused
    assert closed_because(stranger, EAST) == "no connection is for stranger.example"


@pytest.mark.parametrize(
    ("asked", "name"),
    [("one.example", "one"), ("two.example", "two"), ("east.example", "one")],
)
def test_idr_chooses_among_those_that_fit(asked: str, name: str) -> None:
    """RFC 7296 §3.5; and §1.2: whoever we are not, we may be somebody else."""
    east = gateway(
        connection("never", "other.example", local_identity=Identity.parse(asked)),
        connection("one", "*", local_identity=Identity.parse("one.example")),
        connection("two", "*", local_identity=Identity.parse("two.example")),
    )
    expected = Identity.parse(asked)
    west = caller(remote_identity=expected, secrets={expected: SECRET})
    pair = Pair(west, east)
    said = seen(pair, EAST, ExchangeType.IKE_AUTH)
    [answer] = [p for p in said if isinstance(p, IdPayload)]
    assert answer.data == f"{name}.example".encode()
    assert is_up(pair) is (asked != "east.example")


def test_without_idr_the_first_is_taken() -> None:
    """RFC 7296 §1.2: the initiator need not ask for anybody."""
    east = gateway(connection("one", "*"), connection("two", "*"))
    west = caller(remote_identity=None, secrets={None: SECRET})
    assert chosen(attempt(Pair(west, east))) == "one"


# --- what follows from it -------------------------------------------------------------


def test_each_has_its_own_secret() -> None:
    """RFC 7296 §2.15: that of another connection opens nothing."""
    east = gateway(
        connection("one", "one.example", secrets={None: SECRET}),
        connection("two", "two.example", secrets={None: ANOTHER}),
    )
    east_id = Identity.parse("east.example")
    for identity, secret, is_right in (
        ("one.example", SECRET, True),
        ("one.example", ANOTHER, False),
        ("two.example", ANOTHER, True),
        ("two.example", SECRET, False),
    ):
        pair = attempt(Pair(caller(identity, secrets={east_id: secret}), east))
        assert is_up(pair) is is_right


def test_each_has_its_own_proof() -> None:
    """One takes certificates of one CA, one those of another, one a secret."""
    taken = frozenset({Proof.CERTIFICATE})
    east = gateway(
        connection("root", "west.example", trust=Trust(taken, (ROOT.certificate,))),
        connection("others", "*.other", trust=Trust(taken, (OTHER.certificate,))),
        connection("psk", "*"),
    )
    certificate = certified(WEST)
    for identity, own, name in (
        ("west.example", certificate, "root"),
        ("west.example", certified(WEST, OTHER), None),
        ("west.example", None, None),
        ("a.other", certified(WEST, OTHER, names=["a.other"]), "others"),
        ("a.other", certified(WEST, ROOT, names=["a.other"]), None),
        ("a.example", None, "psk"),
        ("a.example", certified(WEST, names=["a.example"]), None),
    ):
        how = {} if own is None else {"credential": credential(own)}
        pair = attempt(Pair(caller(identity, **how), east, date=TODAY))
        assert is_up(pair) is (name is not None), (identity, name)
        if name is not None:
            assert chosen(pair) == name


def test_certificates_of_all_authorities_are_asked_for() -> None:
    """RFC 7296 §3.7: in IKE_SA_INIT nobody knows yet by which one a peer comes in."""
    taken = frozenset({Proof.CERTIFICATE})
    trusts = [
        Trust(taken, (ROOT.certificate,)),
        Trust(taken, (OTHER.certificate, ROOT.certificate)),
        Trust(authorities=(ROOT.certificate,)),
    ]
    east = gateway(*(connection("any", "*", trust=trust) for trust in trusts))
    said = seen(Pair(caller(), east), EAST, ExchangeType.IKE_SA_INIT)
    [request] = [p for p in said if isinstance(p, CertReqPayload)]
    assert request.authorities == authority_hashes(
        [ROOT.certificate, OTHER.certificate]
    )


def test_we_prove_ourselves_to_each_as_is_fit() -> None:
    """Our own identity and its certificate for one, a secret for the other."""
    own = certified(EAST)
    east = gateway(
        connection("certificate", "*.laptop", credential=credential(own)),
        connection("psk", "*"),
    )
    trust = Trust(frozenset({Proof.CERTIFICATE}), (ROOT.certificate,))
    for identity, name in (("a.laptop", "certificate"), ("b.example", "psk")):
        how = {"trust": trust} if name == "certificate" else {}
        pair = attempt(Pair(caller(identity, **how), east, date=TODAY))
        assert chosen(pair) == name
        pair.check_agreement()


def wide_child(name: str, local: str, **changes: object):
    """A Child SA that a peer gets, whatever it asks for."""
    return child_policy(
        name, local=local, remote="0.0.0.0/0", lifetime=QUIET, **changes
    )


def pools() -> IkePolicy:
    """East with addresses of two pools, behind which different networks are."""
    narrow = {"is_narrowed_to_assigned_address": True}
    return gateway(
        connection(
            "staff",
            "*.staff",
            children=(wide_child("staff", "10.0.2.0/24", **narrow),),
            pool=PoolPolicy(("10.8.0.0/24",), ("10.0.2.53",)),
        ),
        connection(
            "guests",
            "*.guest",
            children=(wide_child("guests", "10.0.3.0/24", **narrow),),
            pool=PoolPolicy(("10.9.0.0/24",), ("10.0.3.53",)),
        ),
        connection("none", "*", children=(wide_child("site", "10.0.4.0/24"),)),
    )


def traveller(identity: str) -> IkePolicy:
    """West, which asks for an address and for everything."""
    child = child_policy(
        local="0.0.0.0/0",
        remote="0.0.0.0/0",
        lifetime=QUIET,
        is_narrowed_to_assigned_address=True,
    )
    return caller(identity, children=(child,), request_families=(4,))


@pytest.mark.parametrize(
    ("identity", "network", "address", "server"),
    [
        ("a.staff", "10.0.2.0/24", "10.8.0.2/32", "10.0.2.53"),
        ("a.guest", "10.0.3.0/24", "10.9.0.2/32", "10.0.3.53"),
    ],
)
def test_each_has_its_own_networks_and_addresses(
    identity: str, network: str, address: str, server: str
) -> None:
    """RFC 7296 §2.9, §2.19: after a rekey, too; the address is given back at last."""
    pair = attempt(Pair(traveller(identity), pools()))
    (assigned,) = [e for e in pair.west.effects if isinstance(e, ConfigurationAssigned)]
    assert ([str(a) for a in assigned.addresses], assigned.dns_servers) == (
        [address],
        (server,),
    )
    pair.rekey_ike(WEST)
    pair.settle()
    pair.rekey_child(WEST)
    pair.settle()
    pair.check_agreement()
    (child,) = pair.ike(WEST).children.values()
    assert list(map(str, child.parameters.remote_ts)) == [network]
    sa = pair.ike(EAST)
    pool = sa.pool
    assert pool is not None
    assert [str(i.ip) for i in pool.leases[identity]] == [address.removesuffix("/32")]
    sa.close("over")
    assert pool.leases == {}


def test_policies_with_the_same_networks_share_them() -> None:
    """RFC 7296 §2.19: no address has two owners."""
    pool = ("10.8.0.0/24",)
    child = wide_child("any", "10.0.2.0/24", is_narrowed_to_assigned_address=True)
    east = gateway(
        connection("a", "a.a", children=(child,), pool=PoolPolicy(pool, ("10.0.2.1",))),
        connection("b", "b.b", children=(child,), pool=PoolPolicy(pool)),
    )
    pair = attempt(Pair(traveller("a.a"), east))
    restart(pair, "b", local_identity=Identity.parse("b.b"))
    assert ends(pair) == ["a.a", "b.b"]
    pool_of_both = pair.east.endpoint.context.pool_of(east.connections[0])
    assert pool_of_both is not None
    leased = [str(i) for (i,) in pool_of_both.leases.values()]
    assert leased == ["10.8.0.2/24", "10.8.0.3/24"]


def test_who_has_no_pool_is_given_nothing() -> None:
    """RFC 7296 §3.15.4: there is no CFG_REPLY, and another network to be had."""
    pair = attempt(Pair(traveller("a.example"), pools()))
    assert not [e for e in pair.west.effects if isinstance(e, ConfigurationAssigned)]
    (child,) = pair.ike(EAST).children.values()
    assert child.policy.name == "site"


def test_limits_of_volume_are_looked_at_for_all() -> None:
    """RFC 7296 §2.8: whichever connection has one."""
    limited = Lifetime(seconds=None, packets=1000)
    child = child_policy(local="10.0.2.0/24", remote="10.0.1.0/24", lifetime=limited)
    for children, is_watched in (((child,), True), (None, False)):
        east = gateway(connection("only", "*", children=children))
        pair = attempt(Pair(caller(), east))
        assert (pair.east.endpoint.next_deadline(pair.now) is not None) is is_watched


# --- EAP ------------------------------------------------------------------------------


def user(name: bytes, password: str, claims: str = "west.example") -> IkePolicy:
    """West as a user, whatever it claims to be."""
    return caller(claims, eap_peer=EapPeerPolicy(name, password_peer(password, name)))


def users(*connections: IkePolicy) -> Pair:
    """East with users."""
    asking = EapAuthenticatorPolicy(password_authenticator(USERS))
    trust = Trust(frozenset())
    return gateway(
        *(
            replace(each, eap_authenticator=asking, trust=trust)
            if each.name != "psk"
            else each
            for each in connections
        )
    )


@pytest.mark.parametrize("claims", ["west.example", "bob", "192.0.2.1"])
def test_with_eap_only_the_proved_name_chooses(claims: str) -> None:
    """RFC 7296 §2.16: IDi is not authenticated by EAP."""
    east = users(
        connection("psk", "bob"),
        connection("bob", "bob"),
        connection("staff", "*@example"),
    )
    first = attempt(Pair(user(b"alice@example", "correct horse", claims), east))
    assert chosen(first) == "staff"
    first.check_agreement()
    second = attempt(Pair(user(b"bob", "clientPass", claims), east))
    assert chosen(second) == "bob"
    second.ping()


def test_a_user_without_connection_stays_outside() -> None:
    """RFC 7296 §2.21.2: however well it has proved its name."""
    pair = Pair(user(b"bob", "clientPass"), users(connection("staff", "*@example")))
    attempt(pair)
    assert not is_up(pair)
    assert closed_because(pair, EAST) == "no connection is for the user bob"


def test_a_user_is_not_let_in_by_one_for_secrets() -> None:
    """What asks for no EAP is not for users, whatever its patterns say."""
    east = users(connection("staff", "*@example"), connection("psk", "*"))
    pair = attempt(Pair(user(b"bob", "clientPass"), east))
    assert not is_up(pair)


def test_who_brings_a_secret_is_not_let_in_by_one_for_users() -> None:
    """RFC 7296 §2.16: EAP cannot be gone around."""
    pair = attempt(Pair(caller(), users(connection("all", "*"))))
    assert not is_up(pair)
    assert closed_because(pair, EAST) == "no connection is for west.example"


def test_we_stay_who_we_said_we_are() -> None:
    """The initiator has verified our identity before it proved its own."""
    other = Identity.parse("other.example")
    east = users(
        connection("begun", "nobody"),
        connection("elsewhere", "*", local_identity=other),
        connection("here", "*"),
    )
    assert chosen(attempt(Pair(user(b"bob", "clientPass"), east))) == "here"


# --- secrets by address ---------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_secret_by_address(transport: str, version: int) -> None:
    """RFC 4301 §4.4.3: the narrowest network; the identity comes first, others last."""
    west, wide, all_others = ADDRESSES[version][0], {4: 16, 6: 32}, b"o" * 32
    here = {
        ip_network(f"{west}/{wide[version]}", strict=False): b"w" * 32,
        ip_network(west): SECRET,
        ip_network("198.51.100.0/24"): b"x" * 32,
    }
    east_id = Identity.parse("east.example")
    known = Identity.parse("known.example")
    east = ike_policy(
        EAST,
        remote_identity=None,
        secrets={None: all_others, known: ANOTHER},
        address_secrets=here,
    )
    kind = Pair if transport == "tcp" else DatagramPair
    for identity, address, secret in (
        ("west.example", west, SECRET),
        ("known.example", west, ANOTHER),
        ("west.example", {4: "192.0.9.9", 6: "2001:db8:9::9"}[version], b"w" * 32),
        ("west.example", {4: "203.0.113.1", 6: "2001:dead::1"}[version], all_others),
    ):
        ours = caller(identity, secrets={east_id: secret})
        pair = kind(ours, east, addresses=(address, ADDRESSES[version][1]))
        pair.up()
        pair.ping()


def test_without_any_that_fits_there_is_none() -> None:
    """RFC 7296 §2.21.2."""
    pair = attempt(Pair(caller(), gateway(connection("them", "*", secrets={}))))
    assert closed_because(pair, EAST) == "no secret for west.example"


# --- malformed ------------------------------------------------------------------------


def test_nobody_at_all_is_refused_as_before() -> None:
    """RFC 7296 §2.21.2: without IDi there is nothing to choose by."""
    pair = Pair(caller(), gateway(connection("them", "*")))
    pair.rewrite(WEST, in_ike_auth(without(IdPayload), is_response=False))
    attempt(pair)
    assert closed_because(pair, EAST) == "no IDi"
