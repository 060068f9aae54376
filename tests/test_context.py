"""What all IKE SAs of an endpoint share: SPIs, nonces, policy."""

from collections.abc import Callable, Iterator

import pytest

from iketcp.child_sa import ChildSaParameters
from iketcp.crypto.suite import Suite
from iketcp.environment import ScriptedEntropy
from iketcp.ike.context import IkeContext
from iketcp.ike.policy import PoolPolicy
from iketcp.registry import IdType
from iketcp.selectors import any_ipv4
from pair import SECRET, WEST, Pair, ike_policy

ZERO = bytes(8)


def context(
    draws: dict[str, bytes] | None = None, **used: Callable[[bytes], bool]
) -> IkeContext:
    """A context whose draws a test decides."""
    return IkeContext(ike_policy(WEST), ScriptedEntropy("c", draws), **used)


def test_an_ike_spi_is_never_zero() -> None:
    """RFC 7296 §2.6: zero says that the SPI is not known yet."""
    draws = {"ike.spi#0": ZERO, "ike.spi#1": ZERO, "ike.spi#2": b"good one"}
    assert context(draws).new_ike_spi() == b"good one"


def test_an_ike_spi_is_unique() -> None:
    """RFC 7296 §2.6: it identifies one IKE SA."""
    draws = {"ike.spi#0": b"in use..", "ike.spi#1": b"free...."}
    taken = context(draws, is_ike_spi_used=lambda spi: spi == b"in use..")
    assert taken.new_ike_spi() == b"free...."


@pytest.mark.parametrize("reserved", [0, 1, 255])
def test_an_esp_spi_is_never_reserved(reserved: int) -> None:
    """[9329-3.2-spi] Zero would read as the non-ESP marker; RFC 4303 §2.1."""
    draws = {"esp.spi#0": reserved.to_bytes(4, "big"), "esp.spi#1": b"\0\0\1\0"}
    assert context(draws).new_esp_spi() == b"\0\0\1\0"


def test_an_esp_spi_is_unique() -> None:
    """RFC 4303 §2.1: the receiver finds the SA by it."""
    draws = {"esp.spi#0": b"used", "esp.spi#1": b"free"}
    taken = context(draws, is_esp_spi_used=lambda spi: spi == b"used")
    assert taken.new_esp_spi() == b"free"


def test_an_endpoint_does_not_give_an_spi_twice() -> None:
    """RFC 7296 §2.6, RFC 4303 §2.1: what its SAs have is in use."""
    pair = Pair()
    pair.up()
    west = pair.west.endpoint
    (ike_spi,), (esp_spi,) = west.tables.ike_sas, west.tables.children
    draws = iter([ike_spi, b"another!", esp_spi, b"more"])

    class Repeating:
        def draw(self, label: str, size: int) -> bytes:
            return next(draws)

    west.context.entropy = Repeating()
    assert west.context.new_ike_spi() == b"another!"
    assert west.context.new_esp_spi() == b"more"


def test_nonces() -> None:
    """RFC 7296 §2.10: 128 bits at least, and half the key of the widest PRF."""
    shared = context()
    nonces = {shared.new_nonce() for _ in range(20)}
    assert len(nonces) == 20
    assert {len(nonce) for nonce in nonces} == {32}


def test_a_pool_only_where_the_policy_has_one() -> None:
    """RFC 7296 §2.19: addresses are the responder's to give."""
    assert context().pool is None
    pool = PoolPolicy(("10.9.0.0/24",), ("10.9.0.1",))
    with_pool = IkeContext(ike_policy(WEST, pool=pool), ScriptedEntropy("c"))
    assert with_pool.pool is not None
    lease = with_pool.pool.lease("peer", 4)
    assert str(lease.network.supernet(new_prefix=24)) == "10.9.0.0/24"


# --- secrets are not shown ------------------------------------------------------------


def values(thing: object) -> Iterator[bytes]:
    """Every key under ``thing``."""
    for name in dir(thing):
        if "key" in name and isinstance(getattr(thing, name), bytes):
            yield getattr(thing, name)


def test_a_policy_does_not_show_its_secrets() -> None:
    """Pre-shared keys stay out of logs and tracebacks."""
    policy = ike_policy(WEST)
    assert SECRET in policy.secrets.values()
    assert repr(SECRET)[2:-1] not in repr(policy)
    assert "secrets" not in repr(policy)
    assert policy.local_identity.id_type == IdType.ID_FQDN


def test_child_sa_parameters_do_not_show_their_keys() -> None:
    """Keys of ESP stay out of logs and tracebacks."""
    parameters = ChildSaParameters(
        name="net",
        spi_in=b"in..",
        spi_out=b"out.",
        suite=Suite(12, 128, integ=12),
        encryption_key_in=b"hush one",
        integrity_key_in=b"hush two",
        encryption_key_out=b"hush three",
        integrity_key_out=b"hush four",
        local_ts=(any_ipv4(),),
        remote_ts=(any_ipv4(),),
    )
    assert len(set(values(parameters))) == 4
    assert "hush" not in repr(parameters)


def test_no_effect_or_output_of_a_session_shows_a_key() -> None:
    """Everything that an endpoint hands out may be logged."""
    pair = Pair()
    pair.up()
    (sa, _), *_ = pair.west.endpoint.tables.ike_sas.values()
    keys = sa.keys
    assert keys is not None
    (child,) = sa.children.values()
    secrets = [keys.sk_d, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr, SECRET]
    secrets += values(child.parameters)
    shown = "".join(repr(effect) for effect in pair.west.effects)
    shown += repr((sa, sa.protection, child, keys, sa.policy))
    for secret in secrets:
        if secret:
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown
