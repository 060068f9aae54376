"""Private keys that are made in advance: few, each given away once. RFC 7296 §2.12."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from iketcp.peers.prepared_keys import KeyStock, methods_of
from iketcp.registry import KeyExchangeMethod
from pair import WEST, child_policy, ike_policy
from peer_support import (
    Peers,
    eventually,
    exchange,
    up,
)

X25519, P256 = KeyExchangeMethod.CURVE25519, KeyExchangeMethod.ECP_256
LIMIT = 8


@pytest.fixture
def stock() -> Iterator[KeyStock]:
    """A stock that is being filled."""
    stock = KeyStock([X25519, P256], LIMIT)
    filler = threading.Thread(target=stock.run)
    filler.start()
    yield stock
    stock.stop()
    filler.join()
    assert stock.count(X25519) == stock.count(P256) == 0


def fill(stock: KeyStock) -> None:
    """Wait until everything is there, and see that it is never too much."""

    def is_full() -> bool:
        counts = [stock.count(X25519), stock.count(P256)]
        assert max(counts) <= LIMIT
        return min(counts) == LIMIT

    eventually(is_full)


def test_no_key_is_given_away_twice(stock: KeyStock) -> None:
    """Whoever asks, and however many ask at once; then there is none."""
    fill(stock)
    with ThreadPoolExecutor(4) as askers:
        asked = [X25519, P256] * (LIMIT + 4)
        keys = [key for key in askers.map(stock.take_key, asked) if key is not None]
    values = {key.public_value for key in keys}
    assert len(values) == len(keys)
    assert len(keys) >= 2 * LIMIT
    assert {key.method for key in keys} == {X25519, P256}
    again = KeyStock([X25519], LIMIT)  # which nobody fills
    assert again.take_key(X25519) is None


def test_there_are_never_more_than_the_limit(stock: KeyStock) -> None:
    """What is taken is made again, once it is quiet."""
    fill(stock)
    first = stock.take_key(P256)
    assert first is not None
    fill(stock)
    found = []
    while (key := stock.take_key(P256)) is not None:
        found.append(key.public_value)
    assert len(found) >= LIMIT
    assert first.public_value not in found
    assert len(set(found)) == len(found)


def test_no_key_of_a_method_that_nobody_wants(stock: KeyStock) -> None:
    fill(stock)
    assert stock.take_key(KeyExchangeMethod.ECP_384) is None
    assert stock.count(KeyExchangeMethod.ECP_384) == 0


def test_a_stock_that_has_ended_gives_nothing(stock: KeyStock) -> None:
    fill(stock)
    stock.stop()
    assert stock.take_key(X25519) is None
    assert len(stock.draw("any", 32)) == 32


def test_the_methods_are_those_of_the_policy() -> None:
    """IKE SA and Child SA, additional key exchanges too, none twice."""
    policy = ike_policy(
        WEST,
        "aes256gcm16-prfsha256-x25519-ke1_mlkem768",
        children=(child_policy(proposal="aes256gcm16-ecp256-x25519"),),
    )
    hybrid = KeyExchangeMethod.ML_KEM_768
    assert methods_of(policy) == [X25519, hybrid, P256]


def test_peers_take_keys_that_are_ready() -> None:
    """Only those who were told to have some; a handshake takes one."""
    with Peers() as peers:
        responder = peers.responder(ike="prepared_keys = 2")
        stock = responder.peer.prepared_keys
        assert stock is not None
        eventually(lambda: stock.count(X25519) == 2)
        initiator = peers.initiator(responder.peer.address.port)
        up(initiator, responder)
        exchange(initiator, responder)
        assert stock.given == 1
        assert initiator.peer.prepared_keys is None
    assert stock.count(X25519) == 0
