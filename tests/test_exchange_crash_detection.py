"""Quick crash detection: tokens given, shown after a restart, and believed or not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from iketcp.effects import ConnectionId
from iketcp.endpoint import Endpoint
from iketcp.endpoint.tables import IkeSession
from iketcp.environment import ScriptedEntropy
from iketcp.ike.crash_detection import MAX_TOKENS, make_token
from iketcp.ike.header import Header
from iketcp.ike.message import encode_message
from iketcp.ike.payloads import NotifyPayload
from iketcp.mapping import MappingPolicy
from iketcp.registry import ExchangeType, NotifyType, ProtocolId
from pair import EAST, WEST, Pair, ike_policy

SECRETS = {WEST: b"w" * 32, EAST: b"e" * 32}
INVALID_SPI = NotifyPayload(NotifyType.INVALID_IKE_SPI)


def pair_of(makers: Sequence[str] = (EAST,)) -> Pair:
    """A pair of which some give tokens."""
    west, east = (
        ike_policy(name, crash_secret=SECRETS[name] if name in makers else b"")
        for name in (WEST, EAST)
    )
    return Pair(west, east)


def restart_east(pair: Pair) -> None:
    """Let east lose everything but its configuration."""
    policy = pair.east.endpoint.context.policy
    pair.east.endpoint = Endpoint(policy, MappingPolicy(), ScriptedEntropy("again"))


def token_of(pair: Pair, name: str) -> bytes:
    """The token that one side makes for the IKE SA."""
    sa = pair.ike(WEST)
    return make_token(SECRETS[name], sa.spi_i, sa.spi_r)


def shown(token: bytes) -> NotifyPayload:
    """N(QCD_TOKEN)."""
    return NotifyPayload(NotifyType.QCD_TOKEN, token, ProtocolId.IKE)


def in_the_clear(pair: Pair, id: ConnectionId, *payloads: NotifyPayload) -> None:
    """Send west what east would say of an IKE SA that it has lost."""
    sa = pair.ike(WEST)
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, 2, True, False)
    pair.inject(EAST, id, encode_message(header, payloads))


def test_a_token_is_the_digest_of_secret_and_spis() -> None:
    """RFC 6290 §5.1: computed by hand with sha256sum."""
    assert make_token(b"s" * 32, b"i" * 8, b"r" * 8).hex() == (
        "cbb944073266bb24b20323ef6b848cf4d827c9872fe27b843d7b58fb97fffb20"
    )


@pytest.mark.parametrize("makers", [(), (WEST,), (EAST,), (WEST, EAST)])
def test_tokens_are_given_in_ike_auth(makers: Sequence[str]) -> None:
    """RFC 6290 §4.2: behind AUTH, by whoever makes them; each keeps the other's."""
    pair = pair_of(makers)
    pair.up()
    for name in (WEST, EAST):
        said = pair.said(name)[1]
        assert ("AUTH(SHARED_KEY_MESSAGE_INTEGRITY_CODE), N(QCD_TOKEN), " in said) is (
            name in makers
        )
        kept = pair.ike(pair.other(name)).crash_tokens
        assert kept == ((token_of(pair, name),) if name in makers else ())
    pair.ping()


def test_a_restarted_responder_proves_it() -> None:
    """RFC 6290 §3: the next request is enough; nobody waits for a timeout."""
    pair = pair_of()
    pair.up()
    spi_i, spi_r = pair.ike(WEST).spi_i, pair.ike(WEST).spi_r
    restart_east(pair)
    pair.break_connection(ConnectionId(1))
    pair.connect()
    pair.settle()
    (closed,) = pair.west.traces("ike-sa-closed")
    assert closed["reason"] == "the peer has restarted and lost it"
    assert (closed["spi_i"], closed["spi_r"]) == (spi_i.hex(), spi_r.hex())
    pair.check_closed()
    # and west may begin anew
    pair.up()
    pair.check_agreement()
    pair.ping()


def test_without_tokens_nobody_is_believed() -> None:
    """RFC 7296 §2.21.4: INVALID_IKE_SPI in the clear is a hint at most."""
    pair = pair_of(())
    id = pair.up()
    in_the_clear(pair, id, INVALID_SPI, shown(b"x" * 32))
    pair.check_agreement()
    count = len(pair.said(EAST))
    restart_east(pair)
    pair.break_connection(id)
    pair.connect()
    pair.settle()
    assert pair.ike(WEST).sent is not None
    assert len(pair.said(EAST)) == count


@pytest.mark.parametrize(
    ("tokens", "is_proof"),
    [
        ([b"x" * 32], False),
        ([b""], False),
        ([b"x" * 32, None], True),
        ([b"x" * 32] * 3 + [None], True),
        ([b"x" * 32] * 4 + [None], False),
    ],
    ids=["wrong", "empty", "second", "fourth", "fifth"],
)
def test_one_of_four_tokens_is_enough(
    tokens: Sequence[bytes | None], is_proof: bool
) -> None:
    """RFC 6290 §4.5: the maker may have several secrets."""
    pair = pair_of()
    id = pair.up()
    right = token_of(pair, EAST)
    in_the_clear(
        pair, id, INVALID_SPI, *(shown(right if t is None else t) for t in tokens)
    )
    if is_proof:
        assert not pair.west.endpoint.tables.ike_sas
        assert not pair.west.endpoint.tables.children
    else:
        # an empty one is none: then it is a message that fails its check
        reason = "token that proves nothing" if any(tokens) else "IntegrityError"
        assert pair.west.endpoint.counters.dropped[reason] == 1
        pair.check_agreement()


def test_guessing_closes_the_connection() -> None:
    """RFC 6290 §8.1: the number of tokens that are looked at is limited."""
    pair = pair_of()
    id = pair.up()
    for _ in range(MappingPolicy().corrupt_limit - 1):
        in_the_clear(pair, id, INVALID_SPI, shown(b"x" * 32))
        assert id in pair.open
    in_the_clear(pair, id, INVALID_SPI, shown(b"x" * 32))
    assert id not in pair.open
    assert pair.ike(WEST).is_usable


def test_a_token_from_anywhere_is_taken() -> None:
    """RFC 6290 §3: from any address and port, so over any connection."""
    pair = pair_of()
    pair.up()
    other = pair.connect(50000)
    in_the_clear(pair, other, INVALID_SPI, shown(token_of(pair, EAST)))
    assert not pair.west.endpoint.tables.ike_sas


def test_a_token_on_the_connection_of_another_session_is_not_taken() -> None:
    """RFC 9329 §6.1: nothing of one session is taken where another is at home."""
    pair = pair_of()
    pair.up()
    endpoint = pair.west.endpoint
    other = pair.connect(50000)
    stream = endpoint.tables.streams[other]
    endpoint.map.begin(IkeSession(is_tcp_originator=True), stream.connection)
    in_the_clear(pair, other, INVALID_SPI, shown(token_of(pair, EAST)))
    assert endpoint.tables.ike_sas


@pytest.mark.parametrize("is_original_initiator", [True, False])
@pytest.mark.parametrize("maker", [WEST, EAST])
def test_no_token_is_shown_for_an_ike_sa_that_lives(
    maker: str, is_original_initiator: bool
) -> None:
    """RFC 6290 §9.2: whatever the flags and the other SPI say of who began it."""
    pair = pair_of((WEST, EAST))
    id = pair.up()
    sa = pair.ike(maker)
    assert sa.protection is not None
    count = len(pair.said(maker))
    for spi_i, spi_r in (
        (sa.spi_i, sa.spi_r),
        (sa.spi_i, b"another!"),
        (b"another!", sa.spi_r),
    ):
        header = Header(
            spi_i, spi_r, ExchangeType.INFORMATIONAL, 9, False, is_original_initiator
        )
        question = sa.protection.seal(header, [])
        pair.inject(pair.other(maker), id, question)
    said = pair.said(maker)[count:]
    live = {sa.spi_i.hex(), sa.spi_r.hex()}
    for trace in pair.side(maker).traces("ike-message")[-len(said) :] if said else []:
        if "N(QCD_TOKEN)" in str(trace["payloads"]):
            assert {trace["spi_i"], trace["spi_r"]} != live


def test_answers_and_what_is_in_the_clear_get_no_token() -> None:
    """RFC 6290 §3: only a protected request does, so two never talk in circles."""
    pair = pair_of()
    id = pair.up()
    sa = pair.ike(WEST)
    assert sa.protection is not None
    stranger = replace(
        Header(b"stranger", b"lost-spi", ExchangeType.INFORMATIONAL, 2, True, True)
    )
    count = len(pair.said(EAST))
    pair.inject(WEST, id, sa.protection.seal(stranger, []))
    clear = replace(stranger, is_response=False)
    pair.inject(WEST, id, encode_message(clear, [INVALID_SPI]))
    assert len(pair.said(EAST)) == count
    pair.inject(WEST, id, sa.protection.seal(clear, []))
    assert pair.said(EAST)[count:] == [
        "INFORMATIONAL 2 response: N(INVALID_IKE_SPI), N(QCD_TOKEN)"
    ]


@pytest.mark.parametrize("makers", [(WEST,), (EAST,), (WEST, EAST)])
@pytest.mark.parametrize("rekeying", [WEST, EAST])
def test_a_rekeyed_ike_sa_has_tokens_of_its_own(
    makers: Sequence[str], rekeying: str
) -> None:
    """RFC 6290 §4.3: in the answer, or in an INFORMATIONAL right behind it."""
    pair = pair_of(makers)
    pair.up()
    pair.rekey_ike(rekeying)
    pair.settle()
    for name in (WEST, EAST):
        kept = pair.ike(pair.other(name)).crash_tokens
        assert kept == ((token_of(pair, name),) if name in makers else ())
    pair.check_agreement()


def test_the_newest_tokens_are_kept() -> None:
    """RFC 6290 §4.4: given anew inside the IKE SA; odd sizes are none."""
    pair = pair_of()
    pair.up()
    first = token_of(pair, EAST)
    odd = [shown(b"x" * size) for size in (15, 129)]
    assert pair.ask(EAST, ExchangeType.INFORMATIONAL, *odd) == ()
    assert pair.ike(WEST).crash_tokens == (first,)
    for number in range(MAX_TOKENS):
        token = bytes([number]) * (16 if number else 128)
        assert pair.ask(EAST, ExchangeType.INFORMATIONAL, shown(token)) == ()
    assert len(pair.ike(WEST).crash_tokens) == MAX_TOKENS
    assert first not in pair.ike(WEST).crash_tokens


def test_a_token_names_the_ike_sa() -> None:
    """RFC 6290 §4.1: Protocol ID 1, though there is no SPI."""
    assert shown(b"x" * 16).encode_body() == b"\x01\x00" + (16419).to_bytes(
        2, "big"
    ) + (b"x" * 16)


def test_tokens_end_with_their_ike_sa() -> None:
    """RFC 6290 §5.3."""
    pair = pair_of()
    pair.up()
    sa = pair.ike(WEST)
    assert "crash" not in repr(sa.policy) or "eeee" not in repr(sa.policy)
    sa.close("over")
    assert sa.crash_tokens == ()


def test_an_ike_sa_init_response_with_a_token_is_no_proof() -> None:
    """RFC 6290 §4.5: the proof answers a protected request, so it is no IKE_SA_INIT."""
    pair = pair_of()

    def change(header: Header, payloads: Sequence[object]) -> Sequence[object] | None:
        if header.exchange_type != ExchangeType.IKE_SA_INIT:
            return None
        return [*payloads, shown(b"x" * 32)]

    pair.rewrite(EAST, change)
    pair.up()
    # it changed the message that AUTH covers, and got that far
    assert pair.said(WEST)[1].startswith("IKE_AUTH 1 request")
