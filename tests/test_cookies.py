"""Cookies that the responder need not remember."""

import hmac
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iketcp.environment import ScriptedEntropy
from iketcp.ike import cookies
from iketcp.ike.cookies import ROTATE_SECONDS, CookieJar

NI, SPI = bytes(range(32)), b"initiate"
ADDRESS = IPv4Address("192.0.2.1")
ADDRESS6 = IPv6Address("2001:db8::1")


@pytest.fixture
def jar() -> CookieJar:
    """A jar with a scripted secret."""
    return CookieJar(ScriptedEntropy("jar"))


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6])
def test_a_cookie_can_be_computed_again(
    jar: CookieJar, address: IPv4Address | IPv6Address
) -> None:
    """RFC 7296 §2.6: version | keyed hash of Ni, IPi and SPIi.

    And of nothing more: no TCP port is in it [9329-6.3-port].
    """
    secret = ScriptedEntropy("jar").draw("cookie.secret", 32)
    digest = hmac.digest(secret, NI + address.packed + SPI, "sha256")
    cookie = jar.make(NI, address, SPI, 0.0)
    assert cookie == b"\1" + digest
    assert 1 <= len(cookie) <= 64
    assert jar.is_valid(cookie, NI, address, SPI, 0.0)


def test_a_cookie_is_bound_to_its_request(jar: CookieJar) -> None:
    """RFC 7296 §2.6: nonce, address and SPI must be those of the first request."""
    cookie = jar.make(NI, ADDRESS, SPI, 0.0)
    assert not jar.is_valid(cookie, NI[::-1], ADDRESS, SPI, 0.0)
    assert not jar.is_valid(cookie, NI, ADDRESS + 1, SPI, 0.0)
    assert not jar.is_valid(cookie, NI, ADDRESS6, SPI, 0.0)
    assert not jar.is_valid(cookie, NI, ADDRESS, SPI[::-1], 0.0)


@given(st.binary(max_size=70))
def test_forged_cookies(octets: bytes) -> None:
    """RFC 7296 §2.6: of any size, and before any cookie was made at all."""
    jar = CookieJar(ScriptedEntropy("jar"))
    assert not jar.is_valid(octets, NI, ADDRESS, SPI, 0.0)
    jar.make(NI, ADDRESS, SPI, 0.0)
    assert not jar.is_valid(octets, NI, ADDRESS, SPI, 0.0)
    assert not jar.is_valid(b"\1" + octets, NI, ADDRESS, SPI, 0.0)


def test_one_bit_is_enough(jar: CookieJar) -> None:
    """RFC 7296 §2.6: no octet of a cookie can be changed, none left out or added."""
    cookie = jar.make(NI, ADDRESS, SPI, 0.0)
    for position in range(len(cookie)):
        forged = bytearray(cookie)
        forged[position] ^= 1
        assert not jar.is_valid(bytes(forged), NI, ADDRESS, SPI, 0.0)
        assert not jar.is_valid(cookie[:position], NI, ADDRESS, SPI, 0.0)
    assert not jar.is_valid(cookie + b"\0", NI, ADDRESS, SPI, 0.0)


def test_another_responder_makes_other_cookies(jar: CookieJar) -> None:
    """RFC 7296 §2.6: the secret is the responder's own."""
    other = CookieJar(ScriptedEntropy("other"))
    other.make(NI, ADDRESS, SPI, 0.0)
    assert not other.is_valid(jar.make(NI, ADDRESS, SPI, 0.0), NI, ADDRESS, SPI, 0.0)


def test_a_secret_lasts_for_a_while_and_is_replaced(jar: CookieJar) -> None:
    """RFC 7296 §2.6: the version changes whenever the secret does."""
    first = jar.make(NI, ADDRESS, SPI, 0.0)
    assert jar.make(NI, ADDRESS, SPI, ROTATE_SECONDS - 1) == first
    second = jar.make(NI, ADDRESS, SPI, ROTATE_SECONDS)
    assert (first[0], second[0]) == (1, 2)
    assert first[1:] != second[1:]
    for cookie in (first, second):
        assert jar.is_valid(cookie, NI, ADDRESS, SPI, ROTATE_SECONDS)


def test_old_cookies_are_not_accepted_indefinitely(jar: CookieJar) -> None:
    """RFC 7296 §2.6: the secret before is kept for a short time only."""
    first = jar.make(NI, ADDRESS, SPI, 0.0)
    second = jar.make(NI, ADDRESS, SPI, ROTATE_SECONDS)
    third = jar.make(NI, ADDRESS, SPI, 2 * ROTATE_SECONDS)
    good = [
        jar.is_valid(cookie, NI, ADDRESS, SPI, 2 * ROTATE_SECONDS)
        for cookie in (first, second, third)
    ]
    assert good == [False, True, True]


def test_a_cookie_grows_old_while_nobody_calls(jar: CookieJar) -> None:
    """RFC 7296 §2.6: age counts, not how many others asked meanwhile."""
    cookie = jar.make(NI, ADDRESS, SPI, 0.0)
    late = jar.make(NI, ADDRESS, SPI, ROTATE_SECONDS - 1)
    assert jar.is_valid(cookie, NI, ADDRESS, SPI, 2 * ROTATE_SECONDS - 1)
    # whenever it was made, it is good for the time of one rotation at least
    assert jar.is_valid(late, NI, ADDRESS, SPI, 2 * ROTATE_SECONDS - 1)
    assert not jar.is_valid(cookie, NI, ADDRESS, SPI, 2 * ROTATE_SECONDS)
    assert not jar.is_valid(cookie, NI, ADDRESS, SPI, 1e9)


def test_versions_wrap(jar: CookieJar) -> None:
    """The version has one octet; the 257th secret takes the number of the first."""
    first = jar.make(NI, ADDRESS, SPI, 0.0)
    for number in range(1, 256):
        now = number * ROTATE_SECONDS
        assert jar.make(NI, ADDRESS, SPI, now)[0] == (number + 1) % 256
    now = 256 * ROTATE_SECONDS
    again = jar.make(NI, ADDRESS, SPI, now)
    assert again[0] == first[0]
    assert jar.is_valid(again, NI, ADDRESS, SPI, now)
    assert not jar.is_valid(first, NI, ADDRESS, SPI, now)


def test_secrets_do_not_pile_up(jar: CookieJar) -> None:
    """Memory stays bounded, and no secret is shown."""
    for number in range(20):
        jar.make(NI, ADDRESS, SPI, number * ROTATE_SECONDS)
    secrets = vars(jar)["_secrets"]
    assert len(secrets) <= 2
    draws = ScriptedEntropy("jar")
    known = [draws.draw("cookie.secret", 32) for _ in range(20)]
    assert not any(repr(secret) in repr(secrets) for secret in known)


def test_the_comparison_takes_constant_time(
    jar: CookieJar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger learns nothing from how long the refusal takes."""
    compared: list[set[bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return one == other

    monkeypatch.setattr(cookies.hmac, "compare_digest", compare)
    good = jar.make(NI, ADDRESS, SPI, 0.0)
    forged = b"\1" + bytes(32)
    assert not jar.is_valid(forged, NI, ADDRESS, SPI, 0.0)
    assert compared == [{good, forged}]


# --- what a cookie says ---------------------------------------------------------------


def test_a_cookie_says_what_went_along_with_it(jar: CookieJar) -> None:
    """RFC 8019 §7.1.1.3: version | info | digest, under a key of the info's own."""
    info = b"\0\5\10"
    cookie = jar.make(NI, ADDRESS, SPI, 0.0, info)
    secret = ScriptedEntropy("jar").draw("cookie.secret", 32)
    key = hmac.digest(secret, info, "sha256")
    digest = hmac.digest(key, NI + ADDRESS.packed + SPI, "sha256")
    assert cookie == b"\1" + info + digest
    assert cookies.info_of(cookie) == info
    assert cookies.info_of(jar.make(NI, ADDRESS, SPI, 0.0)) == b""
    assert jar.is_valid(cookie, NI, ADDRESS, SPI, 0.0)


def test_what_a_cookie_says_cannot_be_changed(jar: CookieJar) -> None:
    """RFC 8019 §7.1.1.3: changed, put in or left out, the cookie is not valid."""
    info = b"\0\5\10"
    cookie = jar.make(NI, ADDRESS, SPI, 0.0, info)
    bare = jar.make(NI, ADDRESS, SPI, 0.0)
    for changed in (
        cookie[:1] + b"\0\5\0" + cookie[4:],
        cookie[:1] + cookie[4:],
        bare[:1] + info + bare[1:],
    ):
        assert not jar.is_valid(changed, NI, ADDRESS, SPI, 0.0)


def test_a_spent_cookie_is_known(jar: CookieJar) -> None:
    """RFC 8019 §10; a later secret has nothing to do with it."""
    cookie = jar.make(NI, ADDRESS, SPI, 0.0, b"info")
    other = jar.make(NI, ADDRESS6, SPI, 0.0, b"info")
    assert not jar.is_spent(cookie)
    jar.spend(cookie)
    assert jar.is_spent(cookie)
    assert not jar.is_spent(other)


def test_spent_cookies_do_not_fill_the_memory(
    jar: CookieJar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8019 §10: with too many, their secret goes, and they with it."""
    monkeypatch.setattr(cookies, "SPENT_LIMIT", 3)
    made = [jar.make(NI, ADDRESS, bytes([n] * 8), 0.0, b"i") for n in range(3)]
    for cookie in made:
        assert jar.is_valid(cookie, NI, ADDRESS, bytes([made.index(cookie)] * 8), 0.0)
        jar.spend(cookie)
    assert not jar.is_valid(made[0], NI, ADDRESS, bytes(8), 0.0)
    fresh = jar.make(NI, ADDRESS, SPI, 0.0)
    assert jar.is_valid(fresh, NI, ADDRESS, SPI, 0.0)
