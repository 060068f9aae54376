"""IKE SAs that begin without a Child SA, between two endpoints. RFC 6023."""

from collections.abc import Callable, Sequence

import pytest

from datagram_pair import DatagramPair
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.payload_set import find_notify
from iketcp.ike.payloads import NotifyPayload, Payload, SaPayload, TsPayload
from iketcp.ike.policy import Childless, PoolPolicy
from iketcp.registry import ExchangeType, NotifyType, ProtocolId
from iketcp.stream import NON_ESP_MARKER, frame_ike
from pair import EAST, WEST, Pair, child_policy, ike_policy
from test_exchange_eap import eap_pair
from test_exchange_ike_auth import attempt, closed_because, in_ike_auth
from test_exchange_ppk import ppk

ANNOUNCED = "N(CHILDLESS_IKEV2_SUPPORTED)"
WISHES = [Childless.PREFER, Childless.FORCE]


def childless(
    west: Childless = Childless.PREFER, east: Childless = Childless.ALLOW, **how: object
) -> Pair:
    """Both know how to do without a Child SA."""
    return Pair(
        ike_policy(WEST, childless=west), ike_policy(EAST, childless=east), **how
    )


def heads(pair: Pair, name: str) -> list[str]:
    """The requests of a side, without payloads."""
    return [said.split(":")[0] for said in pair.said(name) if " request:" in said]


def is_without_child(said: str) -> bool:
    """Whether a message has neither SA nor selectors."""
    return not any(word in said for word in ("SA(", "TSi(", "TSr("))


# --- without --------------------------------------------------------------------------


@pytest.mark.parametrize("wish", WISHES)
def test_message_by_message(wish: Childless) -> None:
    """RFC 6023 §3, §5: announced, done without, and made up for at once."""
    pair = attempt(childless(wish))
    assert pair.said(EAST)[0].endswith(ANNOUNCED)
    assert ANNOUNCED not in pair.said(WEST)[0]
    assert is_without_child(pair.said(WEST)[1])
    assert is_without_child(pair.said(EAST)[1])
    assert heads(pair, WEST) == [
        "IKE_SA_INIT 0 request",
        "IKE_AUTH 1 request",
        "CREATE_CHILD_SA 2 request",
    ]
    assert "KE(" in pair.said(WEST)[2]
    pair.check_agreement()
    pair.ping()


def test_what_is_announced() -> None:
    """RFC 6023 §4: 8 octets; Protocol ID 1, SPI Size 0, type 16418."""
    pair = attempt(childless())
    responses = [octets for name, _, octets in pair.sent if name == EAST]
    assert responses[0].endswith(bytes.fromhex("0000 0008 01 00 4022"))


def test_between_ike_auth_and_the_first_child() -> None:
    """RFC 6023 §1: the IKE SA stands, and is asked whether the peer is there."""
    pair = childless()
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    while not pair.west.endpoint.tables.ike_sas or not pair.ike(WEST).is_usable:
        assert pair.deliver()
    assert pair.ike(EAST).is_usable
    assert not pair.ike(EAST).children
    assert pair.ike(WEST).exchange is not None
    pair.settle()
    pair.check_agreement()


def test_several_children() -> None:
    """Each in an exchange of its own."""
    children = [
        (
            child_policy("net", local=ours, remote=theirs),
            child_policy("more", local=ours, remote=theirs),
        )
        for ours, theirs in (
            ("10.0.1.0/24", "10.0.2.0/24"),
            ("10.0.2.0/24", "10.0.1.0/24"),
        )
    ]
    west, east = children
    pair = attempt(
        Pair(
            ike_policy(WEST, childless=Childless.FORCE, children=west),
            ike_policy(EAST, childless=Childless.ALLOW, children=east),
        )
    )
    assert heads(pair, WEST)[2:] == [f"CREATE_CHILD_SA {n} request" for n in (2, 3)]
    pair.check_agreement(children=2)


def test_addresses_are_assigned_all_the_same() -> None:
    """RFC 6023 §5: [CP(CFG_REQUEST)] and [CP(CFG_REPLY)] stay."""
    pool = PoolPolicy(("10.0.1.0/24",), ("10.1.0.53",))
    west = child_policy(
        local="0.0.0.0/0", remote="10.0.2.0/24", is_narrowed_to_assigned_address=True
    )
    east = child_policy(
        local="10.0.2.0/24", remote="10.0.1.0/24", is_narrowed_to_assigned_address=True
    )
    pair = attempt(
        Pair(
            ike_policy(
                WEST,
                childless=Childless.FORCE,
                request_families=(4,),
                children=(west,),
            ),
            ike_policy(EAST, childless=Childless.ALLOW, pool=pool, children=(east,)),
        )
    )
    assert "CP(CFG_REQUEST" in pair.said(WEST)[1]
    assert "CP(CFG_REPLY" in pair.said(EAST)[1]
    (child,) = pair.ike(WEST).children.values()
    (assigned,) = pair.ike(WEST).assigned
    assert child.parameters.local_ts[0].start_address == assigned.ip
    pair.check_agreement()


def test_an_address_that_is_not_asked_for() -> None:
    """RFC 7296 §3.15.4: FAILED_CP_REQUIRED, and nobody stays without a Child SA."""
    pool = PoolPolicy(("10.9.0.0/24",))
    east = child_policy(
        local="10.0.2.0/24", remote="10.9.0.0/24", is_narrowed_to_assigned_address=True
    )
    pair = attempt(
        Pair(
            ike_policy(WEST, childless=Childless.FORCE),
            ike_policy(EAST, childless=Childless.ALLOW, pool=pool, children=(east,)),
        )
    )
    assert "N(FAILED_CP_REQUIRED)" in pair.said(EAST)[1]
    assert "the Child SA was refused" in closed_because(pair, WEST)
    pair.check_closed()


def test_with_eap() -> None:
    """RFC 6023 §5: the first request has no SA, and the last response none either."""
    pair = attempt(
        eap_pair(
            west={"childless": Childless.FORCE}, east={"childless": Childless.ALLOW}
        )
    )
    for name in (WEST, EAST):
        assert all(is_without_child(said) for said in pair.said(name)[1:5])
    assert heads(pair, WEST)[-1] == "CREATE_CHILD_SA 5 request"
    pair.check_agreement()
    pair.ping()


@pytest.mark.parametrize(
    "addresses", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
)
def test_over_udp(addresses: tuple[str, str]) -> None:
    """The same over datagrams."""
    pair = DatagramPair(
        ike_policy(WEST, childless=Childless.FORCE),
        ike_policy(EAST, childless=Childless.ALLOW),
        addresses=addresses,
    )
    pair.up()
    packet = pair.send(WEST)
    pair.settle()
    assert pair.east.delivered == [packet]


def test_under_a_ppk_selectors_are_hidden() -> None:
    """RFC 8784 §6: the IKE SA is rekeyed before a Child SA is named."""
    west = ike_policy(WEST, childless=Childless.FORCE, ppks=(ppk(WEST),))
    east = ike_policy(EAST, childless=Childless.ALLOW, ppks=(ppk(EAST),))
    pair = attempt(Pair(west, east))
    requests = [said for said in pair.said(WEST) if " request:" in said]
    rekey, delete, *rest = requests[2:]
    assert rekey.startswith("CREATE_CHILD_SA 2 request: SA(IKE ")
    assert "TSi(" not in rekey
    named = [said for said in rest if "TSi(" in said]
    assert [said.split(":")[0] for said in named] == ["CREATE_CHILD_SA 0 request"]
    assert delete
    pair.check_agreement()
    pair.ping()


# --- with, after all ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("west", "east"),
    [
        (Childless.NEVER, Childless.ALLOW),
        (Childless.PREFER, Childless.NEVER),
        (Childless.ALLOW, Childless.ALLOW),
    ],
)
def test_one_of_them_does_not_want(west: Childless, east: Childless) -> None:
    """RFC 6023 §3: no such IKE_AUTH without the notification, nor without the wish."""
    pair = attempt(childless(west, east))
    assert (ANNOUNCED in pair.said(EAST)[0]) is (east is Childless.ALLOW)
    assert "SA(" in pair.said(WEST)[1]
    assert "SA(" in pair.said(EAST)[1]
    assert len(heads(pair, WEST)) == 2
    pair.check_agreement()


def test_nothing_else_will_do() -> None:
    """The initiator aborts."""
    pair = attempt(childless(Childless.FORCE, Childless.NEVER))
    assert "no IKE SA without a Child SA" in closed_because(pair, WEST)
    assert len(pair.said(WEST)) == 1


# --- what goes wrong ------------------------------------------------------------------


def without_child(payloads: tuple[Payload, ...]) -> list[Payload]:
    """Drop SA, TSi and TSr."""
    return [p for p in payloads if not isinstance(p, SaPayload | TsPayload)]


def test_unannounced() -> None:
    """RFC 6023 §3: a responder that does not support it answers INVALID_SYNTAX."""
    pair = Pair()
    attempt(pair, WEST, in_ike_auth(without_child, is_response=False))
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(INVALID_SYNTAX)"
    pair.check_closed()


@pytest.mark.parametrize("kind", [SaPayload, TsPayload])
def test_half_a_child(kind: type) -> None:
    """RFC 6023 §5: all three are missing, or none of them."""
    pair = childless(Childless.NEVER)
    change = in_ike_auth(
        lambda payloads: [p for p in payloads if not isinstance(p, kind)], False
    )
    attempt(pair, WEST, change)
    assert pair.said(EAST)[-1] == "IKE_AUTH 1 response: N(INVALID_SYNTAX)"
    pair.check_closed()


def test_a_child_that_nobody_asked_for() -> None:
    """RFC 6023 §3: the responder must not send one."""
    west = childless(Childless.NEVER)
    answer: list[Payload] = []

    def keep(payloads: tuple[Payload, ...]) -> Sequence[Payload]:
        answer.extend(p for p in payloads if isinstance(p, SaPayload | TsPayload))
        return payloads

    attempt(west, EAST, in_ike_auth(keep, is_response=True))
    pair = childless()
    attempt(
        pair, EAST, in_ike_auth(lambda payloads: [*payloads, *answer], is_response=True)
    )
    assert "not asked for" in closed_because(pair, WEST)
    pair.check_closed()


def test_a_child_that_is_missing() -> None:
    """RFC 6023 §3: a responder asked for a Child SA answers with one."""
    pair = childless(Childless.NEVER)
    attempt(pair, EAST, in_ike_auth(without_child, is_response=True))
    pair.check_closed()


def test_a_child_that_is_refused_later() -> None:
    """An IKE SA without any Child SA is of no use to us."""
    east = ike_policy(
        EAST,
        childless=Childless.ALLOW,
        children=(child_policy("net", "aes128gcm16", "10.0.2.0/24", "10.0.1.0/24"),),
    )
    pair = attempt(Pair(ike_policy(WEST, childless=Childless.FORCE), east))
    assert "N(NO_PROPOSAL_CHOSEN)" in pair.said(EAST)[2]
    assert "the Child SA was refused" in closed_because(pair, WEST)
    assert heads(pair, WEST)[-1] == "INFORMATIONAL 3 request"
    pair.check_closed()


def test_one_of_two_is_refused() -> None:
    """The other one is of use."""
    children = (child_policy("bad", "aes128gcm16"), child_policy("net"))
    pair = attempt(
        Pair(
            ike_policy(WEST, childless=Childless.FORCE, children=children),
            ike_policy(EAST, childless=Childless.ALLOW),
        )
    )
    pair.check_agreement()
    pair.ping()


def in_the_clear(pair: Pair, change: Callable[[list[Payload]], list[Payload]]) -> None:
    """Change what east says in IKE_SA_INIT."""

    def tap(name: str, id: object, octets: bytes) -> bytes:
        is_ike = octets[2:6] == NON_ESP_MARKER
        if name != EAST or not is_ike or octets[24] != ExchangeType.IKE_SA_INIT:
            return octets
        message = decode_message(octets[6:])
        return frame_ike(encode_message(message.header, change([*message.payloads])))

    pair.tap = tap


@pytest.mark.parametrize("is_added", [False, True])
def test_a_forged_announcement(is_added: bool) -> None:
    """RFC 6023 §6: whoever adds it or takes it away is found out."""
    kind = NotifyType.CHILDLESS_IKEV2_SUPPORTED
    pair = childless(east=Childless.NEVER if is_added else Childless.ALLOW)

    def change(payloads: list[Payload]) -> list[Payload]:
        if is_added:
            return [*payloads, NotifyPayload(kind, protocol=ProtocolId.IKE)]
        announced = find_notify(payloads, kind)
        return [p for p in payloads if p is not announced]

    in_the_clear(pair, change)
    attempt(pair)
    assert not pair.west.traces("ike-sa-established")
    pair.check_closed()
