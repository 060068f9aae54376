"""CREATE_CHILD_SA: further Child SAs and rekeys, with and without key exchange."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from iketcp.child_sa import ChildSaParameters
from iketcp.effects import ChildSaRemoved, IkeKeysDerived
from iketcp.ike.child_record import Child
from iketcp.ike.exchanges import create_child_sa
from iketcp.ike.exchanges.create_child_sa import MAX_CHILDREN, CreateChild, RekeyChild
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
)
from iketcp.registry import ExchangeType, KeyExchangeMethod, NotifyType
from iketcp.selectors import TrafficSelector
from pair import EAST, WEST, Pair, child_policy, ike_policy, ipv4_packet

PFS, NO_PFS = "aes256gcm16-x25519", "aes256gcm16"
IKE, IKE_OTHER = "aes256gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519"


def pair_with(west: str = PFS, east: str | None = None, ike: str = IKE) -> Pair:
    """Make and establish a pair with these ESP proposals."""
    pair = Pair(
        ike_policy(WEST, ike, children=(child_policy(proposal=west),)),
        ike_policy(
            EAST,
            ike,
            children=(
                child_policy(
                    proposal=east or west, local="10.0.2.0/24", remote="10.0.1.0/24"
                ),
            ),
        ),
    )
    pair.up()
    return pair


def only_child(pair: Pair, name: str) -> Child:
    """The one Child SA of a side."""
    (child,) = pair.ike(name).children.values()
    return child


def keys_of(parameters: ChildSaParameters) -> set[bytes]:
    """The keys of a Child SA."""
    return {parameters.encryption_key_in, parameters.encryption_key_out}


def answers(
    *payloads: Payload, exchange: int = ExchangeType.CREATE_CHILD_SA
) -> Callable[..., list[Payload] | None]:
    """Replace the responses of one exchange."""

    def change(header: object, _: object) -> list[Payload] | None:
        is_meant = header.is_response and header.exchange_type == exchange
        return list(payloads) if is_meant else None

    return change


def swap(
    kind: type, other: Payload | None, is_response: bool = True
) -> Callable[..., list[Payload] | None]:
    """Replace or drop one kind of payload in CREATE_CHILD_SA messages."""

    def change(header: object, payloads: tuple[Payload, ...]) -> list[Payload] | None:
        if header.exchange_type != ExchangeType.CREATE_CHILD_SA:
            return None
        if header.is_response != is_response:
            return None
        changed = [other if isinstance(p, kind) else p for p in payloads]
        return [p for p in changed if p is not None]

    return change


def widen(header: object, payloads: tuple[Payload, ...]) -> list[Payload] | None:
    """Let the answer's selectors be wider than what was asked for."""
    if not header.is_response or header.exchange_type != ExchangeType.CREATE_CHILD_SA:
        return None
    wide = (TrafficSelector.parse("0.0.0.0/0"),)
    return [
        TsPayload(p.is_initiator, wide) if isinstance(p, TsPayload) else p
        for p in payloads
    ]


# --- further Child SAs ----------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("proposal", [PFS, NO_PFS])
def test_further_child_sa(name: str, proposal: str) -> None:
    """From either side, with and without key exchange. RFC 7296 §1.3.1."""
    pair = pair_with(proposal)
    pair.begin(name, CreateChild(pair.ike(name).policy.children[0]))
    pair.settle()
    request = next(x for x in pair.said(name) if x.startswith("CREATE_CHILD_SA"))
    assert ("KE(" in request) is (proposal == PFS)
    pair.check_agreement(children=2)
    pair.ping()


def test_too_many_child_sas_are_refused() -> None:
    """NO_ADDITIONAL_SAS; the IKE SA lives. RFC 7296 §1.3."""
    pair = pair_with(NO_PFS)
    policy = pair.ike(WEST).policy.children[0]
    for _ in range(MAX_CHILDREN):
        pair.begin(WEST, CreateChild(policy))
        pair.settle()
    assert pair.said(EAST)[-1].endswith("N(NO_ADDITIONAL_SAS)")
    assert len(pair.ike(EAST).children) == MAX_CHILDREN
    pair.rekey_child(WEST)  # what there is may still be replaced
    pair.settle()
    pair.check_agreement(children=MAX_CHILDREN)
    pair.ping()


def test_peer_that_rekeys_and_never_deletes_is_stopped() -> None:
    """Memory per peer stays bounded. RFC 7296 §1.3."""
    pair = pair_with(NO_PFS)
    sa = pair.ike(WEST)
    for _ in range(2 * MAX_CHILDREN + 1):
        newest = list(pair.ike(EAST).children.values())[-1]
        request = RekeyChild(
            Child(newest.policy, _mirror(newest), newest.watch, (b"a", b"b"))
        ).request(sa, pair.now)
        assert request is not None
        pair.ask(WEST, ExchangeType.CREATE_CHILD_SA, *request)
    assert pair.said(EAST)[-1].endswith("N(NO_ADDITIONAL_SAS)")
    assert len(pair.ike(EAST).children) == 2 * MAX_CHILDREN


def _mirror(child: Child) -> ChildSaParameters:
    there = child.parameters
    return replace(
        there,
        spi_in=there.spi_out,
        spi_out=there.spi_in,
        local_ts=there.remote_ts,
        remote_ts=there.local_ts,
    )


# --- rekeys of a Child SA -------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
@pytest.mark.parametrize("proposal", [PFS, NO_PFS])
def test_rekey_of_the_child_sa(name: str, proposal: str) -> None:
    """Same selectors and suite, fresh keys, and nothing is left of the old. §2.8."""
    pair = pair_with(proposal)
    pair.ping()
    before = only_child(pair, WEST).parameters
    pair.rekey_child(name)
    pair.settle()
    after = only_child(pair, WEST).parameters
    assert (after.local_ts, after.remote_ts) == (before.local_ts, before.remote_ts)
    assert not keys_of(after) & keys_of(before)
    assert after.spi_in != before.spi_in
    request = next(x for x in pair.said(name) if x.startswith("CREATE_CHILD_SA"))
    assert "N(REKEY_SA ESP " in request
    assert ("KE(" in request) is (proposal == PFS)
    assert pair.said(name)[-1].split(": ")[1].startswith("D(ESP ")
    pair.check_agreement()
    pair.ping()


def test_no_keys_are_left_of_a_removed_child_sa() -> None:
    """What ESP held of it is forgotten. RFC 7296 §2.8."""
    pair = pair_with()
    old = [
        next(iter(pair.side(name).endpoint.tables.children.values())).esp
        for name in (WEST, EAST)
    ]
    pair.rekey_child(WEST)
    pair.settle()
    for esp in old:
        assert esp.parameters.encryption_key_in == b""
        assert esp.parameters.encryption_key_out == b""
    for side in (pair.west, pair.east):
        assert len([e for e in side.effects if isinstance(e, ChildSaRemoved)]) == 1


def test_rekey_is_not_queued_twice() -> None:
    """Asking again changes nothing while one is under way or waits."""
    pair = pair_with()
    pair.rekey_child(WEST)
    pair.rekey_child(WEST)
    pair.rekey_child(WEST)
    pair.rekey_ike(WEST)
    pair.rekey_ike(WEST)
    pair.settle()
    assert len(pair.west.traces("child-sa-rekeyed")) == 1
    assert len(pair.west.traces("ike-sa-rekeyed")) == 1
    pair.check_agreement()


def test_rekey_with_the_method_the_peer_wants() -> None:
    """INVALID_KE_PAYLOAD, and once more at once. RFC 7296 §1.3."""
    pair = pair_with("aes256gcm16-x25519-ecp256", "aes256gcm16-ecp256")
    pair.rekey_child(WEST)
    pair.settle()
    assert any("N(INVALID_KE_PAYLOAD)" in line for line in pair.said(EAST))
    suite = only_child(pair, WEST).parameters.suite
    assert suite.ke == KeyExchangeMethod.ECP_256
    pair.check_agreement()
    pair.ping()


def test_ike_rekey_with_the_method_the_peer_wants() -> None:
    """The same for the IKE SA. RFC 7296 §1.3.2."""
    both = "aes256gcm16-prfsha256-x25519-ecp256"
    pair = Pair(ike_policy(WEST, both), ike_policy(EAST, both))
    pair.up()
    context = pair.east.endpoint.context
    only = (parse_ike_proposal("aes256gcm16-prfsha256-ecp256"),)
    context.policy = replace(context.policy, proposals=only)
    pair.ike(EAST).policy = context.policy
    pair.rekey_ike(WEST)
    pair.settle()
    assert any("N(INVALID_KE_PAYLOAD)" in line for line in pair.said(EAST))
    assert pair.ike(WEST).suite.ke == KeyExchangeMethod.ECP_256
    pair.check_agreement()


@pytest.mark.parametrize(
    "wanted",
    [KeyExchangeMethod.NONE, KeyExchangeMethod.CURVE25519, KeyExchangeMethod.MODP_4096],
)
@pytest.mark.parametrize("kind", [CreateChild, RekeyChild, RekeyIkeSa])
def test_wish_for_a_method_that_cannot_help(kind: type, wanted: int) -> None:
    """A rekey is tried again later, a further Child SA fails. RFC 7296 §1.3."""
    pair = pair_with()
    data = int(wanted).to_bytes(2, "big")
    pair.rewrite(EAST, answers(NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data)))
    begin(pair, kind)
    pair.settle()
    assert len([x for x in pair.said(WEST) if x.startswith("CREATE_CHILD_SA")]) == 1
    pair.tap = None
    pair.advance(10.0)
    count = len([x for x in pair.said(WEST) if x.startswith("CREATE_CHILD_SA")])
    assert count == (1 if kind is CreateChild else 2)


def begin(pair: Pair, kind: type) -> None:
    """Let west begin a further Child SA, a Child rekey or an IKE rekey."""
    if kind is CreateChild:
        pair.begin(WEST, CreateChild(pair.ike(WEST).policy.children[0]))
    elif kind is RekeyChild:
        pair.rekey_child(WEST)
    else:
        pair.rekey_ike(WEST)


@pytest.mark.parametrize("kind", [CreateChild, RekeyChild, RekeyIkeSa])
def test_peer_that_never_makes_up_its_mind(kind: type) -> None:
    """Its wish is followed once, not for ever. RFC 7296 §1.3."""
    proposal = "aes256gcm16-x25519-ecp256"
    pair = pair_with(proposal, ike="aes256gcm16-prfsha256-x25519-ecp256")
    methods = [KeyExchangeMethod.ECP_256, KeyExchangeMethod.CURVE25519]

    def change(header: object, _: object) -> list[Payload] | None:
        if not header.is_response:
            return None
        methods.append(methods.pop(0))
        data = int(methods[-1]).to_bytes(2, "big")
        return [NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data)]

    pair.rewrite(EAST, change)
    begin(pair, kind)
    pair.settle()
    assert len([x for x in pair.said(WEST) if x.startswith("CREATE_CHILD_SA")]) == 2
    assert pair.west.endpoint.tables.ike_sas


def test_nameless_wish_for_a_method_is_malformed() -> None:
    """INVALID_KE_PAYLOAD has two octets of data. RFC 7296 §1.3."""
    pair = pair_with()
    pair.rewrite(EAST, answers(NotifyPayload(NotifyType.INVALID_KE_PAYLOAD)))
    pair.rekey_child(WEST)
    pair.settle()
    assert pair.said(WEST)[-1].endswith("D(IKE)")
    pair.check_closed()


def test_refused_child_rekey_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old SA goes on meanwhile. RFC 7296 §2.8."""
    pair = pair_with()
    monkeypatch.setattr(create_child_sa, "MAX_CHILDREN", 0)
    pair.rekey_child(WEST)
    pair.settle()
    assert pair.said(EAST)[-1].endswith("N(NO_ADDITIONAL_SAS)")
    pair.ping()
    monkeypatch.undo()
    pair.advance(10.0)
    assert len(pair.west.traces("child-sa-rekeyed")) == 1
    pair.check_agreement()


def test_refused_ike_rekey_is_tried_again_later() -> None:
    """The same for the IKE SA. RFC 7296 §2.8."""
    pair = pair_with()
    east = pair.ike(EAST)
    policy = east.policy
    east.policy = replace(policy, proposals=(parse_ike_proposal(IKE_OTHER),))
    pair.rekey_ike(WEST)
    pair.settle()
    assert pair.said(EAST)[-1].endswith("N(NO_PROPOSAL_CHOSEN)")
    pair.ping()
    east.policy = policy
    pair.advance(10.0)
    assert len(pair.west.traces("ike-sa-rekeyed")) == 1
    pair.check_agreement()


@pytest.mark.parametrize("kind", [CreateChild, RekeyChild])
@pytest.mark.parametrize(
    "change",
    [
        swap(SaPayload, None),
        swap(NoncePayload, None),
        swap(TsPayload, None),
        swap(KePayload, None),
        swap(KePayload, KePayload(KeyExchangeMethod.ECP_256, bytes(64))),
        swap(KePayload, KePayload(KeyExchangeMethod.CURVE25519, bytes(32))),
        swap(TsPayload, TsPayload(True, (TrafficSelector.parse("10.0.1.7"),))),
        swap(SaPayload, SaPayload((parse_esp_proposal(NO_PFS),))),
        widen,
    ],
)
def test_answer_that_is_none_starts_the_ike_sa_over(
    change: Callable[..., list[Payload] | None], kind: type
) -> None:
    """The peers differ in what there is: DELETE. RFC 7296 §2.21.3, RFC 6989 §2.5."""
    pair = pair_with()
    pair.rewrite(EAST, change)
    begin(pair, kind)
    pair.settle()
    assert pair.said(WEST)[-1].endswith("D(IKE)")
    pair.check_closed()


@pytest.mark.parametrize(
    "change",
    [
        swap(SaPayload, None),
        swap(KePayload, None),
        swap(KePayload, KePayload(KeyExchangeMethod.ECP_256, bytes(64))),
        swap(KePayload, KePayload(KeyExchangeMethod.CURVE25519, bytes(32))),
        swap(
            SaPayload, SaPayload((parse_ike_proposal("aes128gcm16-prfsha256-x25519"),))
        ),
        swap(
            SaPayload, SaPayload((parse_ike_proposal("aes256gcm16-prfsha256-x25519"),))
        ),
    ],
)
def test_answer_to_an_ike_rekey_that_is_none_starts_over(
    change: Callable[..., list[Payload] | None],
) -> None:
    """The same for the IKE SA. RFC 7296 §2.21.3."""
    pair = pair_with()
    pair.rewrite(EAST, change)
    pair.rekey_ike(WEST)
    pair.settle()
    assert pair.said(WEST)[-1].endswith("D(IKE)")
    assert not pair.west.endpoint.tables.ike_sas


@pytest.mark.parametrize("kind", [CreateChild, RekeyIkeSa])
@pytest.mark.parametrize(
    "change",
    [
        swap(SaPayload, None, is_response=False),
        swap(NoncePayload, None, is_response=False),
        swap(
            KePayload,
            KePayload(KeyExchangeMethod.CURVE25519, bytes(32)),
            is_response=False,
        ),
    ],
)
def test_malformed_request_ends_the_ike_sa_on_both_sides(
    change: Callable[..., list[Payload] | None], kind: type
) -> None:
    """INVALID_SYNTAX, without any Delete payload. RFC 7296 §2.21.3, RFC 6989 §2.5."""
    pair = pair_with()
    pair.rewrite(WEST, change)
    begin(pair, kind)
    pair.settle()
    assert pair.said(EAST)[-1] == "CREATE_CHILD_SA 2 response: N(INVALID_SYNTAX)"
    assert len(pair.said(WEST)) == 3
    pair.check_closed()


def test_unacceptable_request_leaves_everything_as_it_was() -> None:
    """NO_PROPOSAL_CHOSEN and TS_UNACCEPTABLE. RFC 7296 §1.3.1."""
    pair = pair_with()
    for policy, notify in (
        (child_policy("x", "aes128gcm16-x25519"), "NO_PROPOSAL_CHOSEN"),
        (child_policy("x", local="10.7.0.0/16"), "TS_UNACCEPTABLE"),
    ):
        pair.begin(WEST, CreateChild(policy))
        pair.settle()
        assert pair.said(EAST)[-1].endswith(f"N({notify})")
        assert notify in str(pair.west.traces("child-sa-failed")[-1]["reason"])
    pair.check_agreement()
    pair.ping()


def test_ike_rekey_with_an_unacceptable_offer_is_refused() -> None:
    """RFC 7296 §1.3.2; a zero SPI is none. RFC 7296 §3.3.1."""
    pair = pair_with()
    ours = parse_ike_proposal("aes256gcm16-prfsha256-x25519")
    for proposal in (
        parse_ike_proposal("aes128gcm16-prfsha256-x25519").with_number_and_spi(
            1, b"initiate"
        ),
        ours.with_number_and_spi(1, bytes(8)),
    ):
        sa = SaPayload((proposal,))
        pair.rewrite(WEST, swap(SaPayload, sa, is_response=False))
        pair.rekey_ike(WEST)
        pair.settle()
        assert pair.said(EAST)[-1].endswith("N(NO_PROPOSAL_CHOSEN)")
        pair.tap = None
        pair.advance(10.0)
        pair.check_agreement()


# --- rekeys of the IKE SA -------------------------------------------------------------


@pytest.mark.parametrize("name", [WEST, EAST])
def test_rekey_of_the_ike_sa(name: str) -> None:
    """New SPIs and keys, Message IDs from 0, the same Child SA. RFC 7296 §1.3.2."""
    pair = pair_with()
    pair.ping()
    child, old = only_child(pair, WEST), pair.ike(WEST)
    pair.rekey_ike(name)
    pair.settle()
    new = pair.ike(WEST)
    assert only_child(pair, WEST) is child
    assert {new.spi_i, new.spi_r}.isdisjoint({old.spi_i, old.spi_r})
    assert pair.ike(name).is_original_initiator
    assert (new.next_message_id, new.answered.expected) == (0, 0)
    derived = [e for e in pair.west.effects if isinstance(e, IkeKeysDerived)]
    assert len({e.keys.sk_d for e in derived}) == 2
    assert old.keys is None
    assert new.remote_identity == "east.example"
    pair.check_agreement()
    pair.ping()
    # and the new one works as well as the old
    pair.rekey_child(EAST)
    pair.settle()
    pair.rekey_ike(pair.other(name))
    pair.settle()
    pair.check_agreement()
    pair.ping()


def test_delete_is_the_last_request_on_the_old_ike_sa() -> None:
    """By whoever asked for the rekey. RFC 7296 §2.8."""
    pair = pair_with()
    old = pair.ike(WEST).spi_i.hex()
    pair.rekey_ike(EAST)
    pair.settle()
    on_old = [
        t
        for t in pair.east.traces("ike-message")
        if t["spi_i"] == old and t["direction"] == "sent" and not t["is_response"]
    ]
    assert on_old[-1]["payloads"] == ["D(IKE)"]


def test_what_waited_is_done_on_the_new_ike_sa() -> None:
    """The tasks are inherited with the Child SAs. RFC 7296 §2.8."""
    pair = pair_with()
    pair.rekey_ike(WEST)
    pair.rekey_child(WEST)
    pair.settle()
    assert len(pair.west.traces("child-sa-rekeyed")) == 1
    pair.check_agreement()
    pair.ping()


def test_traffic_flows_all_through_an_ike_rekey() -> None:
    """RFC 7296 §2.8: Child SAs do not notice."""
    pair = pair_with()
    pair.rekey_ike(EAST)
    for _ in range(6):
        pair.send(WEST, ipv4_packet("10.0.1.1", "10.0.2.1"))
        pair.send(EAST, ipv4_packet("10.0.2.1", "10.0.1.1"))
        pair.deliver()
    pair.settle()
    assert len(pair.west.delivered) == len(pair.east.delivered) == 6
    pair.check_agreement()
