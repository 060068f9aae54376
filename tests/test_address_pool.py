"""The responder's address pool.

Source: RFC 7296 §2.19, RFC 7296 §3.15.4
"""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.errors import ConfigurationError, InternalAddressFailureError
from iketcp.ike import address_pool
from iketcp.ike.address_pool import AddressPool


def test_leases_begin_after_the_gateway_and_carry_the_prefix_length() -> None:
    pool = AddressPool(["10.9.0.0/24", "2001:db8:9::/64"], ["10.9.0.1", "2001:DB8::53"])
    assert pool.lease("west", 4) == ip_interface("10.9.0.2/24")
    assert pool.lease("west", 6) == ip_interface("2001:db8:9::2/64")
    assert pool.lease("east", 4) == ip_interface("10.9.0.3/24")
    assert pool.dns_servers == ("10.9.0.1", "2001:db8::53")
    assert pool.networks == (ip_network("10.9.0.0/24"), ip_network("2001:db8:9::/64"))


def test_an_owner_keeps_its_address_and_gets_it_again() -> None:
    pool = AddressPool(["10.9.0.0/24"], [])
    first = pool.lease("west", 4)
    assert pool.lease("west", 4) == first
    pool.release("west")
    pool.release("west")
    other = pool.lease("east", 4)
    assert other != first
    assert pool.lease("west", 4) == first


def test_an_address_leased_twice_is_held_until_released_twice() -> None:
    """The end of a dead IKE SA takes nothing from the one that followed it."""
    pool = AddressPool(["10.9.0.0/29", "2001:db8::/64"], [])
    leased = (pool.lease("west", 4), pool.lease("west", 6))
    assert (pool.lease("west", 4), pool.lease("west", 6)) == leased
    pool.release("west")
    assert pool.leases == {"west": leased}
    pool.release("west")
    assert pool.leases == {}
    pool.release("west")
    pool.release("nobody")
    assert pool.leases == {}


def test_network_broadcast_and_gateway_are_never_leased_then_it_is_exhausted() -> None:
    """INTERNAL_ADDRESS_FAILURE when none is left (RFC 7296 §3.15.4)."""
    pool = AddressPool(["10.9.0.0/29", "10.9.1.0/30"], [])
    leased = [str(pool.lease(f"peer{n}", 4)) for n in range(6)]
    assert leased == [*(f"10.9.0.{n}/29" for n in range(2, 7)), "10.9.1.2/30"]
    with pytest.raises(InternalAddressFailureError):
        pool.lease("one more", 4)
    pool.release("peer3")
    assert pool.lease("one more", 4) == ip_interface("10.9.0.5/29")


def test_ipv6_has_no_broadcast_address() -> None:
    pool = AddressPool(["2001:db8::/126"], [])
    assert str(pool.lease("west", 6)) == "2001:db8::2/126"
    assert str(pool.lease("east", 6)) == "2001:db8::3/126"
    with pytest.raises(InternalAddressFailureError):
        pool.lease("north", 6)


@pytest.mark.parametrize("version", [6, 5])
def test_a_version_without_network_fails(version: int) -> None:
    with pytest.raises(InternalAddressFailureError):
        AddressPool(["10.9.0.0/24"], []).lease("west", version)


def test_unused_addresses_go_out_before_returned_ones_and_the_oldest_first() -> None:
    pool = AddressPool(["10.9.0.0/29"], [])
    for owner in ("a", "b", "c"):
        pool.lease(owner, 4)
    for owner in ("b", "a"):
        pool.release(owner)
    taken = [str(pool.lease(owner, 4).ip) for owner in ("d", "e", "f", "g")]
    assert taken == ["10.9.0.5", "10.9.0.6", "10.9.0.3", "10.9.0.2"]


def test_a_huge_network_costs_no_more_than_its_leases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Owners that come and go once each do not make the pool grow without bound."""
    monkeypatch.setattr(address_pool, "REMEMBERED_OWNERS", 8)
    pool = AddressPool(["2001:db8::/32"], [])
    seen = set()
    for n in range(100):
        seen.add(pool.lease(f"peer{n}", 6))
        pool.release(f"peer{n}")
    assert len(seen) == 8
    assert pool.leases == {}


@pytest.mark.parametrize(
    ("networks", "reason"),
    [
        (["10.9.0.0/33"], "no address pool"),
        (["10.9.0.1/24"], "no address pool"),
        (["pool"], "no address pool"),
        (["10.9.0.0"], "too small"),
        (["10.9.0.0/31"], "too small"),
        (["2001:db8::/127"], "too small"),
        (["10.9.0.0/16", "::/64", "10.9.3.0/24"], "overlap"),
    ],
)
def test_unusable_networks_get_one_clear_sentence(
    networks: list[str], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        AddressPool(networks, [])


def test_a_name_server_is_an_address() -> None:
    with pytest.raises(ConfigurationError, match="no name server"):
        AddressPool([], ["dns.example"])


steps = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abcdefgh"), st.sampled_from([4, 6])),
    max_size=60,
)


@given(steps)
def test_no_two_owners_ever_hold_one_address(
    plan: list[tuple[bool, str, int]],
) -> None:
    networks = ["10.9.0.0/29", "2001:db8::/125"]
    pool = AddressPool(networks, [])
    reserved = {
        ip_address(text)
        for text in ("10.9.0.0", "10.9.0.1", "10.9.0.7", "2001:db8::", "2001:db8::1")
    }
    for is_lease, owner, version in plan:
        if not is_lease:
            pool.release(owner)
            continue
        try:
            interface = pool.lease(owner, version)
        except InternalAddressFailureError:
            continue
        assert interface.version == version
        assert str(interface.network) in networks
        assert interface.ip not in reserved
        held = [one for leased in pool.leases.values() for one in leased]
        assert len(set(held)) == len(held)
        assert interface in pool.leases[owner]
