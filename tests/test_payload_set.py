"""Finding payloads, and refusing what is missing or doubled."""

from collections.abc import Callable

import pytest

from iketcp.errors import MalformedMessageError
from iketcp.ike.payload_set import (
    find,
    find_error,
    find_identity,
    find_notify,
    need,
    need_selectors,
    notify_name,
)
from iketcp.ike.payloads import (
    AuthPayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    TsPayload,
    VendorPayload,
)
from iketcp.registry import NotifyType
from iketcp.selectors import any_ipv4

NONCE = NoncePayload(bytes(16))
AUTH = AuthPayload(2, b"value")
IDI, IDR = IdPayload(True, 2, b"west"), IdPayload(False, 2, b"east")
TSI, TSR = TsPayload(True, (any_ipv4(),)), TsPayload(False, (any_ipv4(),))


def test_the_only_one_is_found_wherever_it_stands() -> None:
    """RFC 7296 §2.5: payloads may come in any order."""
    for payloads in ([NONCE, AUTH], [AUTH, NONCE]):
        assert find(payloads, NoncePayload) is NONCE
        assert need(payloads, NoncePayload) is NONCE


def test_one_that_is_missing() -> None:
    """RFC 7296 §1.2: an optional payload may be, a needed one may not."""
    assert find([AUTH], NoncePayload) is None
    with pytest.raises(MalformedMessageError, match="no NoncePayload"):
        need([AUTH], NoncePayload)


@pytest.mark.parametrize("function", [find, need])
def test_one_that_is_doubled(
    function: Callable[[list[Payload], type[Payload]], Payload | None],
) -> None:
    """RFC 7296 §1.2: which of the two would count?"""
    with pytest.raises(MalformedMessageError, match="2 times NoncePayload"):
        function([NONCE, AUTH, NONCE], NoncePayload)


def test_identities_are_told_apart() -> None:
    """RFC 7296 §3.5: IDi and IDr may stand in one message, once each."""
    assert find_identity([IDR, IDI], is_initiator=True) is IDI
    assert find_identity([IDR, IDI], is_initiator=False) is IDR
    assert find_identity([IDR], is_initiator=True) is None
    with pytest.raises(MalformedMessageError, match="2 times IdPayload"):
        find_identity([IDR, IDI, IDR], is_initiator=False)


def test_traffic_selectors_of_both_ends() -> None:
    """RFC 7296 §2.9: TSi and TSr, in any order."""
    assert need_selectors([TSR, NONCE, TSI]) == (TSI, TSR)


@pytest.mark.parametrize(
    "payloads", [[], [TSI], [TSR], [TSI, TSI], [TSI, TSR, TSR], [TSI, TSI, TSR]]
)
def test_traffic_selectors_missing_or_doubled(payloads: list[Payload]) -> None:
    """RFC 7296 §2.9: exactly one of each."""
    with pytest.raises(MalformedMessageError, match=r"\d times TSi, \d times TSr"):
        need_selectors(payloads)


def test_the_first_notify_of_a_type() -> None:
    """RFC 7296 §3.10: several may come; other types and payloads do not matter."""
    one = NotifyPayload(NotifyType.COOKIE, b"1")
    other = NotifyPayload(NotifyType.REKEY_SA, b"2")
    last = NotifyPayload(NotifyType.COOKIE, b"3")
    assert find_notify([NONCE, other, one, last], NotifyType.COOKIE) is one
    assert find_notify([NONCE, other], NotifyType.COOKIE) is None


@pytest.mark.parametrize(
    ("notify_type", "is_error"),
    [
        (1, True),
        (43, True),
        (8192, True),
        (16383, True),
        (16384, False),
        (65535, False),
    ],
)
def test_errors_lie_below_the_status_types(notify_type: int, is_error: bool) -> None:
    """RFC 7296 §3.10.1: an error nobody knows is an error all the same."""
    notify = NotifyPayload(notify_type)
    status = NotifyPayload(NotifyType.INITIAL_CONTACT)
    found = find_error([VendorPayload(b"v"), status, notify])
    assert found is (notify if is_error else None)


def test_names_of_notifications() -> None:
    """RFC 7296 §3.10.1: IANA's name, or the number where there is none."""
    assert notify_name(NotifyPayload(NotifyType.TS_UNACCEPTABLE)) == "TS_UNACCEPTABLE"
    assert notify_name(NotifyPayload(9999)) == "NotifyType(9999)"
