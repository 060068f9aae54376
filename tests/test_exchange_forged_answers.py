"""What AUTH does not cover: answers after which the initiator begins again.

COOKIE and INVALID_KE_PAYLOAD come in the clear, and nobody ever signs them; nor the
request that they answer, for the latest version of the first message counts. So they
may be forged, and must not lead to anything that both sides would not have agreed to.
That errors in the clear are believed at once over TCP and doubted over UDP, is in
:mod:`test_exchange_ike_sa_init` and :mod:`test_datagram_scenarios`.

Source: RFC 7296 §1.2
Source: RFC 7296 §2.6
Source: RFC 7296 §2.15
Source: RFC 7296 §2.21.1
"""

from dataclasses import replace

import pytest

from attacker import Change, added, notify, sit_between, swapped
from datagram_pair import DatagramPair
from iketcp.ike.exchanges.ike_sa_init import MAX_RESTARTS
from iketcp.ike.header import Header
from iketcp.ike.message import encode_message
from iketcp.ike.payloads import (
    NoncePayload,
    NotifyPayload,
    Payload,
    VendorPayload,
)
from iketcp.registry import KeyExchangeMethod, NotifyType
from iketcp.stream import frame_ike
from pair import EAST, WEST, Pair, ike_policy

TWO_METHODS = "aes256gcm16-prfsha256-x25519-ecp256"
BETTER, WORSE = KeyExchangeMethod.CURVE25519, KeyExchangeMethod.ECP_256
ASKS_FOR_WORSE = NotifyPayload(
    NotifyType.INVALID_KE_PAYLOAD, int(WORSE).to_bytes(2, "big")
)


def begun(pair: Pair) -> Pair:
    """Let west send its first request; nothing but the prefix has arrived."""
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    pair.deliver()
    return pair


def forge(pair: Pair, *payloads: Payload) -> None:
    """Answer west's request under way before east can, which never hears of it."""
    _, id, octets = pair.wire.popleft()
    answer = forged(octets[6:], *payloads)
    pair.run(WEST, pair.west.endpoint.octets_received(id, frame_ike(answer), pair.now))


def forged(request: bytes, *payloads: Payload) -> bytes:
    """An answer in the clear to a request, as anybody could make it who saw it."""
    header = Header.decode(request)
    answer = replace(header, is_response=True, is_original_initiator=False)
    return encode_message(answer, payloads)


def requests(pair: Pair) -> list[str]:
    """What west said in IKE_SA_INIT."""
    return [line for line in pair.said(WEST) if line.startswith("IKE_SA_INIT")]


# --- INVALID_KE_PAYLOAD ---------------------------------------------------------------


def test_a_forged_wish_for_a_worse_method_is_not_granted() -> None:
    """All methods are offered again, and east goes by their order. §1.2, §3.3.6.

    East would take the worse one, too, if no other were offered before it.
    """
    pair = begun(Pair(ike_policy(WEST, TWO_METHODS), ike_policy(EAST, TWO_METHODS)))
    forge(pair, ASKS_FOR_WORSE)
    pair.settle()
    assert ["KE(ECP_256" in line for line in requests(pair)] == [False, True, False]
    assert pair.said(EAST)[0].endswith("N(INVALID_KE_PAYLOAD)")
    assert pair.ike(WEST).suite.ke == pair.ike(EAST).suite.ke == BETTER
    pair.check_agreement()
    pair.ping()


def test_whoever_goes_on_forging_it_prevents_the_session_and_no_more() -> None:
    """That is in the power of anybody who can hold messages back. RFC 7296 §2.21.1."""
    pair = begun(Pair(ike_policy(WEST, TWO_METHODS), ike_policy(EAST, TWO_METHODS)))
    while pair.wire:
        if pair.wire[0][0] == WEST and "KE(CURVE25519" in requests(pair)[-1]:
            forge(pair, ASKS_FOR_WORSE)
        else:
            pair.deliver()
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == f"{MAX_RESTARTS} restarts and no end"
    pair.check_closed()


def test_a_forged_wish_in_a_datagram_comes_before_the_answer() -> None:
    """East's true answer is to a request that west has replaced: no harm. §2.21.1."""
    pair = DatagramPair(ike_policy(WEST, TWO_METHODS), ike_policy(EAST, TWO_METHODS))
    pair.begin()
    (request,) = pair.wire
    east = request.target
    wish = forged(request.octets, ASKS_FOR_WORSE)
    pair.arrive(WEST, east, request.source[1], wish)
    pair.settle()
    assert pair.dropped(WEST) == {"DropError": 1}
    assert pair.ike(WEST).suite.ke == BETTER
    pair.advance(31.0)  # east forgets the first request, which nobody went on with
    pair.check_up()
    pair.ping()


# --- COOKIE ---------------------------------------------------------------------------


def test_a_forged_cookie_is_brought_back_and_ignored() -> None:
    """East asked for none; AUTH is about the request with it. RFC 7296 §2.6."""
    pair = begun(Pair())
    forge(pair, NotifyPayload(NotifyType.COOKIE, b"crumbs"))
    pair.settle()
    assert "N(COOKIE)" in requests(pair)[-1]
    pair.check_agreement()
    pair.ping()


def test_a_changed_cookie_is_asked_for_again() -> None:
    """What was said before the right one came is signed by nobody. RFC 7296 §2.6."""
    pair = begun(Pair(east=ike_policy(EAST, is_cookie_required=True)))
    forge(pair, NotifyPayload(NotifyType.COOKIE, b"crumbs"))
    pair.settle()
    assert [line.rsplit(": ")[1] for line in pair.said(EAST)][:1] == ["N(COOKIE)"]
    assert len(requests(pair)) == 3
    pair.check_agreement()
    pair.ping()


FIRST = {
    "Vendor ID added": added(VendorPayload(b"mallory")),
    "nonce changed": swapped(NoncePayload, NoncePayload(bytes(32))),
}


@pytest.mark.parametrize("change", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize(
    "east", [{"is_cookie_required": True}, {}], ids=["COOKIE", "INVALID_KE_PAYLOAD"]
)
def test_a_request_that_was_replaced_may_have_been_changed(
    change: Change, east: dict[str, object]
) -> None:
    """The latest version of the first message is signed. RFC 7296 §2.15.

    A cookie for another nonce is no good, and so asked for again.
    """
    west = ike_policy(WEST, TWO_METHODS)
    proposal = "aes256gcm16-prfsha256-ecp256"
    pair = begun(Pair(west, ike_policy(EAST, proposal, **east)))
    sit_between(pair, {WEST: change})
    pair.deliver()
    pair.tap = None
    pair.settle()
    pair.check_agreement()
    pair.ping()


def test_a_cookie_taken_away_is_asked_for_until_west_has_enough() -> None:
    """RFC 7296 §2.6: the number of cookie exchanges is limited."""
    pair = begun(Pair(east=ike_policy(EAST, is_cookie_required=True)))
    sit_between(pair, {WEST: notify(NotifyType.COOKIE)})
    pair.settle()
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == f"{MAX_RESTARTS} restarts and no end"
    pair.check_closed()
