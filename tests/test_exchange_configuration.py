"""The Configuration payload: addresses and name servers from the responder's pool."""

from dataclasses import replace

import pytest

from iketcp.effects import ConfigurationAssigned
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.identity import Identity
from iketcp.ike.payloads import ConfigurationPayload, Payload
from iketcp.ike.policy import Uniqueness
from iketcp.registry import (
    ConfigurationAttributeType,
    ConfigurationType,
    ExchangeType,
)
from pair import (
    EAST,
    SECRET,
    WEST,
    Pair,
    PoolPolicy,
    child_policy,
    ike_policy,
    ipv4_packet,
)

POOL = PoolPolicy(("10.9.0.0/29", "2001:db8:9::/125"), ("10.0.2.53", "2001:db8::53"))


def gateway_and_traveller(
    pool: PoolPolicy = POOL, families: tuple[int, ...] = (4, 6), **west: object
) -> Pair:
    """West asks for addresses; east hands them out and lets into 10.0.2.0/24."""
    traveller = child_policy(
        local="0.0.0.0/0", remote="10.0.2.0/24", is_narrowed_to_assigned_address=True
    )
    gate = child_policy(
        local="10.0.2.0/24", remote="0.0.0.0/0", is_narrowed_to_assigned_address=True
    )
    return Pair(
        ike_policy(WEST, children=(traveller,), request_families=families, **west),
        ike_policy(
            EAST,
            children=(gate,),
            pool=pool,
            remote_identity=None,
            secrets={None: SECRET},
        ),
    )


def assigned(pair: Pair) -> ConfigurationAssigned:
    """What west was told to put on its device last."""
    return [e for e in pair.west.effects if isinstance(e, ConfigurationAssigned)][-1]


def leases(pair: Pair) -> dict[str, list[str]]:
    """What east has leased."""
    pool = pair.east.endpoint.context.pool
    assert pool is not None
    return {who: [str(a) for a in have] for who, have in pool.leases.items()}


def ping_from(pair: Pair, address: str) -> None:
    """Check the traffic of an assigned address, both ways."""
    there, back = ipv4_packet(address, "10.0.2.1"), ipv4_packet("10.0.2.1", address)
    pair.send(WEST, there)
    pair.send(EAST, back)
    pair.settle()
    assert pair.east.delivered[-1] == there
    assert pair.west.delivered[-1] == back


def test_addresses_and_name_servers_of_both_families() -> None:
    """RFC 7296 §2.19, §3.15."""
    pair = gateway_and_traveller()
    pair.up()
    got = assigned(pair)
    assert [str(a) for a in got.addresses] == ["10.9.0.2/32", "2001:db8:9::2/125"]
    assert got.dns_servers == ("10.0.2.53", "2001:db8::53")
    pair.check_agreement()


@pytest.mark.parametrize(
    ("families", "address", "server"),
    [((4,), "10.9.0.2/32", "10.0.2.53"), ((6,), "2001:db8:9::2/125", "2001:db8::53")],
)
def test_one_family_only(families: tuple[int, ...], address: str, server: str) -> None:
    """Nothing is given that was not asked for. RFC 7296 §2.19."""
    pair = gateway_and_traveller(families=families)
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    pair.settle()
    got = assigned(pair)
    assert [str(a) for a in got.addresses] == [address]
    assert got.dns_servers == (server,)


def test_selectors_are_narrowed_to_the_assigned_address() -> None:
    """RFC 7296 §2.19: TSi of the answer."""
    pair = gateway_and_traveller(families=(4,))
    pair.up()
    (child,) = pair.ike(WEST).children.values()
    assert [str(ts) for ts in child.parameters.local_ts] == ["10.9.0.2/32"]
    assert [str(ts) for ts in child.parameters.remote_ts] == ["10.0.2.0/24"]
    ping_from(pair, "10.9.0.2")
    pair.send(WEST, ipv4_packet("10.9.0.3", "10.0.2.1"))
    pair.settle()
    assert len(pair.east.delivered) == 1


def test_address_survives_rekeys_of_ike_and_child_sa() -> None:
    """It persists until the IKE SA is deleted. RFC 7296 §2.19."""
    pair = gateway_and_traveller(families=(4,))
    pair.up()
    before = leases(pair)
    for name in (WEST, EAST):
        pair.rekey_ike(name)
        pair.settle()
        pair.rekey_child(name)
        pair.settle()
        assert leases(pair) == before
        assert [str(a) for a in pair.ike(WEST).assigned] == ["10.9.0.2/32"]
        ping_from(pair, "10.9.0.2")
        pair.check_agreement()


def test_address_is_given_back_and_the_same_comes_again() -> None:
    """RFC 7296 §3.15.4."""
    pair = gateway_and_traveller(families=(4,))
    pair.up()
    pair.run(WEST, pair.west.endpoint.delete_all(pair.now))
    pair.settle()
    pair.check_closed()
    assert leases(pair) == {}
    pair.up()
    assert [str(a) for a in assigned(pair).addresses] == ["10.9.0.2/32"]
    ping_from(pair, "10.9.0.2")


def test_empty_pool_fails_the_child_sa_and_not_the_authentication() -> None:
    """INTERNAL_ADDRESS_FAILURE. RFC 7296 §3.15.4."""
    pair = gateway_and_traveller(PoolPolicy(("10.9.0.0/30",)), families=(4,))
    pool = pair.east.endpoint.context.pool
    assert pool is not None
    pool.lease("somebody else", 4)
    pair.up()
    assert pair.said(EAST)[1].endswith("N(INTERNAL_ADDRESS_FAILURE)")
    assert "AUTH(" in pair.said(EAST)[1]
    pair.check_closed()
    assert leases(pair) == {"somebody else": ["10.9.0.2/30"]}


def test_family_that_is_used_up_does_not_keep_the_other_back() -> None:
    """RFC 7296 §3.15.4: the failure is for no address at all."""
    pair = gateway_and_traveller(PoolPolicy(("10.9.0.0/29",)))
    pair.up()
    assert [str(a) for a in assigned(pair).addresses] == ["10.9.0.2/32"]
    pair.check_agreement()


def test_responder_with_a_pool_lets_others_in_without_an_address() -> None:
    """Where a Child SA needs none. RFC 7296 §2.19."""
    pair = gateway_and_traveller(families=())
    gate = pair.east.endpoint.context.policy
    fixed = child_policy("site", local="10.0.2.0/24", remote="10.0.1.0/24")
    policy = replace(gate, children=(*gate.children, fixed))
    pair = Pair(ike_policy(WEST), policy)
    pair.up()
    pair.check_agreement()
    pair.ping()
    assert leases(pair) == {}


def test_responder_without_a_pool_gives_nothing() -> None:
    """It ignores the request; the Child SA does not depend on it. RFC 7296 §3.15."""
    pair = Pair(ike_policy(WEST, request_families=(4,)))
    pair.up()
    assert "CP(" in pair.said(WEST)[1]
    assert "CP(" not in pair.said(EAST)[1]
    pair.check_agreement()
    pair.ping()


def test_reply_without_values_assigns_nothing() -> None:
    """Empty attributes are no addresses. RFC 7296 §3.15.1."""
    kinds = ConfigurationAttributeType
    reply = ConfigurationPayload(
        ConfigurationType.CFG_REPLY,
        (
            ConfigurationAttribute(kinds.INTERNAL_IP4_ADDRESS, b"\x0a\x09\0\2"),
            ConfigurationAttribute(kinds.INTERNAL_IP4_DNS, b""),
            ConfigurationAttribute(kinds.APPLICATION_VERSION, b"1"),
        ),
    )
    pair = gateway_and_traveller(families=(4,))

    def change(header: object, payloads: tuple[Payload, ...]) -> list | None:
        if header.exchange_type != ExchangeType.IKE_AUTH:
            return None
        return [reply if isinstance(p, ConfigurationPayload) else p for p in payloads]

    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    pair.rewrite(EAST, change)
    pair.settle()
    assert [str(a) for a in assigned(pair).addresses] == ["10.9.0.2/32"]
    assert assigned(pair).dns_servers == ()


def test_other_kinds_of_configuration_payload_are_ignored() -> None:
    """CFG_SET and CFG_ACK have no use yet. RFC 7296 §3.15."""
    pair = Pair()

    def change(header: object, payloads: tuple[Payload, ...]) -> list | None:
        if header.exchange_type != ExchangeType.IKE_AUTH:
            return None
        return [ConfigurationPayload(ConfigurationType.CFG_SET, ()), *payloads]

    for sender in (WEST, EAST):
        pair = Pair()
        pair.run(WEST, pair.west.endpoint.initiate())
        pair.connect()
        pair.rewrite(sender, change)
        pair.settle()
        pair.check_agreement()


def test_address_is_kept_while_two_sessions_of_one_peer_overlap() -> None:
    """The end of the dead one takes nothing from the living one. §3.15.4."""
    pair = gateway_and_traveller(families=(4,))
    pair.up()
    ((first, session),) = pair.east.endpoint.tables.ike_sas.values()
    # west starts over without a word
    fresh = gateway_and_traveller(
        families=(4,),
        lifetime=pair.ike(WEST).policy.lifetime,
        unique=Uniqueness.NEVER,
    )
    pair.west = fresh.west
    pair.open.clear()
    pair.up()
    assert leases(pair) == {"west.example": ["10.9.0.2/29"]}
    first.close("dead")
    assert leases(pair) == {"west.example": ["10.9.0.2/29"]}
    assert str(Identity.parse("west.example")) == first.remote_identity
    assert session.ike is first
