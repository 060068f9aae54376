"""Additional key exchanges after CREATE_CHILD_SA, between two endpoints.

Source: RFC 9370 §2.2.4
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import pytest

from datagram_pair import DatagramPair
from iketcp.crypto import key_exchange
from iketcp.effects import ConnectionId
from iketcp.errors import StateNotFoundError, TemporaryFailureError
from iketcp.ike.engine import RETRY_SECONDS, TROUBLE_SECONDS
from iketcp.ike.exchanges.create_child_sa import CreateChild, RekeyChild
from iketcp.ike.exchanges.informational import CheckLiveness, DeleteChild, DeleteIkeSa
from iketcp.ike.exchanges.rekey_ike_sa import RekeyIkeSa
from iketcp.ike.header import Header
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
)
from iketcp.ike.policy import IkePolicy, Lifetime
from iketcp.ike.sa import Exchange, IkeSa
from iketcp.ike.states import ChildState
from iketcp.ike.unfinished import (
    MAX_UNFINISHED,
    PATIENCE_SECONDS,
    Unfinished,
    UnfinishedSas,
)
from iketcp.registry import ExchangeType, KeyExchangeMethod, NotifyType
from pair import EAST, WEST, Pair, child_policy, ike_policy

CREATE_CHILD_SA = ExchangeType.CREATE_CHILD_SA
IKE_FOLLOWUP_KE = ExchangeType.IKE_FOLLOWUP_KE
LINK = NotifyType.ADDITIONAL_KEY_EXCHANGE
IKE, ESP = "aes256gcm16-prfsha256-x25519", "aes256gcm16-x25519"
TWO = "-ke1_ecp256-ke2_x448"
"""Two that are quick."""
FOR_WEST, FOR_EAST = "-ke1_ecp256-ke1_none", "-ke1_none-ke1_ecp256"
"""The initiator's order decides: of two that cross, one has an additional one."""
WISHES = ["new child", "child", "ike"]


def side(name: str, ike: str, esp: str, **changes: object) -> IkePolicy:
    """Make the policy of one side."""
    networks = ("10.0.1.0/24", "10.0.2.0/24")
    local, remote = networks if name == WEST else networks[::-1]
    child = child_policy(proposal=ESP + esp, local=local, remote=remote)
    quiet = replace(child, lifetime=Lifetime(seconds=None))
    return ike_policy(name, IKE + ike, children=(quiet,), **changes)


def sides(words: str = TWO, east: str = "", **changes: object) -> list[IkePolicy]:
    """Make the policies of both, with the same words for IKE SA and Child SA."""
    both = ((WEST, words), (EAST, east or words))
    return [side(name, text, text, **changes) for name, text in both]


def established(words: str = TWO, east: str = "", **how: object) -> Pair:
    """Make a session with one Child SA."""
    pair = Pair(*sides(words, east), **how)  # type: ignore[arg-type]
    pair.up()
    return pair


def wish(pair: Pair, name: str, what: str) -> None:
    """Let a side ask for something; nothing is delivered yet."""
    if what == "new child":
        pair.begin(name, CreateChild(pair.ike(name).policy.children[0]))
    elif what == "child":
        pair.rekey_child(name)
    else:
        pair.rekey_ike(name)


def heads(pair: Pair, name: str) -> list[str]:
    """What a side sent, without Message IDs and payloads."""
    return [" ".join(line.split(":")[0].split()[::2]) for line in pair.said(name)]


def until(pair: Pair, name: str, head: str, limit: int = 40) -> None:
    """Deliver until a side has sent a message of this exchange and kind."""
    seen = len(pair.said(name))
    for _ in range(limit):
        if any(one == head for one in heads(pair, name)[seen:]):
            return
        assert pair.deliver()
    raise AssertionError(f"{name} never sends {head}")


def closed_because(pair: Pair, name: str) -> str:
    """Why a side's IKE SA closed."""
    return str(pair.side(name).traces("ike-sa-closed")[-1]["reason"])


def count(what: str) -> int:
    """How many Child SAs there are after a wish was fulfilled."""
    return 2 if what == "new child" else 1


Change = Callable[[Header, tuple[Payload, ...]], Sequence[Payload] | None]


def inside(
    exchange: ExchangeType, change: Callable[[list[Payload]], Sequence[Payload]]
) -> Change:
    """Change the payloads of one exchange."""

    def changed(header: Header, payloads: tuple[Payload, ...]):
        return change([*payloads]) if header.exchange_type == exchange else None

    return changed


def without(kind: type, notify_type: int = 0) -> Callable[[list[Payload]], list]:
    """Leave payloads of a kind out; of Notify, those of one type."""
    return lambda payloads: [
        p
        for p in payloads
        if not isinstance(p, kind) or getattr(p, "notify_type", 0) != notify_type
    ]


Note = Callable[[str, Header, tuple[Payload, ...]], None]


def watch(pair: Pair, note: Note) -> None:
    """Show every message on its way: who sent it, its header and payloads."""
    taps = []
    for name in (WEST, EAST):

        def look(h: Header, payloads: tuple[Payload, ...], by: str = name) -> None:
            note(by, h, payloads)

        pair.rewrite(name, look)
        taps.append(pair.tap)

    def tap(sender: str, id: ConnectionId, octets: bytes) -> bytes:
        for one in taps:
            assert one is not None
            one(sender, id, octets)
        return octets

    pair.tap = tap


# --- success ------------------------------------------------------------------------


@pytest.mark.parametrize("what", WISHES)
@pytest.mark.parametrize("name", [WEST, EAST])
def test_the_series(name: str, what: str) -> None:
    """CREATE_CHILD_SA, then one IKE_FOLLOWUP_KE each, linked; the SA comes last."""
    pair = established()
    other = pair.other(name)
    ours, theirs = len(pair.said(name)), len(pair.said(other))
    before = {*pair.ike(WEST).children}, pair.ike(WEST).spi_i
    wish(pair, name, what)
    until(pair, name, "IKE_FOLLOWUP_KE request")
    until(pair, name, "IKE_FOLLOWUP_KE request")
    assert before == ({*pair.ike(WEST).children}, pair.ike(WEST).spi_i)
    pair.settle()
    requests = [line.split(": ")[1] for line in pair.said(name)[ours:][1:3]]
    assert requests == [
        "KE(ECP_256, 64 octets), N(ADDITIONAL_KEY_EXCHANGE)",
        "KE(CURVE448, 56 octets), N(ADDITIONAL_KEY_EXCHANGE)",
    ]
    first, *rest = (line.split(": ")[1] for line in pair.said(other)[theirs:][:3])
    assert first.endswith(", N(ADDITIONAL_KEY_EXCHANGE)")
    assert rest == [
        "KE(ECP_256, 64 octets), N(ADDITIONAL_KEY_EXCHANGE)",
        "KE(CURVE448, 56 octets)",
    ]
    pair.check_agreement(count(what))
    pair.ping()
    assert before != ({*pair.ike(WEST).children}, pair.ike(WEST).spi_i)
    assert not pair.ike(other).unfinished


def test_links_are_brought_back_as_they_came() -> None:
    """RFC 9370 §2.2.4: each is new, and the initiator sends it back intact."""
    pair = established()
    links: dict[str, list[bytes]] = {WEST: [], EAST: []}

    def note(sender: str, _: Header, payloads: tuple[Payload, ...]) -> None:
        for p in payloads:
            if isinstance(p, NotifyPayload) and p.notify_type == LINK:
                assert (p.protocol, p.spi) == (0, b"")
                links[sender].append(p.data)

    wish(pair, WEST, "child")
    watch(pair, note)
    pair.settle()
    assert len(set(links[EAST])) == 2
    assert links[WEST] == links[EAST]


def prf_plus(key: bytes, seed: bytes, size: int) -> bytes:
    """Compute ``prf+`` of PRF_HMAC_SHA2_256, without any code of ours."""
    stream = block = b""
    for number in range(1, size // 32 + 2):
        block = hmac.digest(key, block + seed + bytes([number]), "sha256")
        stream += block
    return stream[:size]


class Recorder:
    """Notes the shared secrets and nonces of a session from outside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets: list[bytes] = []
        self.nonces: list[bytes] = []
        answer = key_exchange.answer

        def noted(*arguments: object) -> key_exchange.Answer:
            made = answer(*arguments)  # type: ignore[arg-type]
            self.secrets.append(made.shared_secret)
            return made

        monkeypatch.setattr(key_exchange, "answer", noted)

    def watch(self, pair: Pair) -> None:
        """Note the nonces on their way."""
        watch(pair, self._note)

    def _note(self, _: str, header: Header, payloads: tuple[Payload, ...]) -> None:
        self.nonces += [p.nonce for p in payloads if isinstance(p, NoncePayload)]


def test_keys_of_a_child_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    """KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | SK(2)). RFC 9370 §2.2.4"""
    record = Recorder(monkeypatch)
    pair = established()
    keys = pair.ike(WEST).keys
    assert keys is not None
    record.watch(pair)
    record.secrets.clear()
    wish(pair, WEST, "child")
    pair.settle()
    sk0, sk1, sk2 = record.secrets
    ni, nr = record.nonces
    keymat = prf_plus(keys.sk_d, sk0 + ni + nr + sk1 + sk2, 72)
    (child,) = pair.ike(WEST).children.values()
    assert child.parameters.encryption_key_out == keymat[:36]
    assert child.parameters.encryption_key_in == keymat[36:]


def test_keys_of_an_ike_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    """SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1) | SK(2)). RFC 9370 §2.2.4"""
    record = Recorder(monkeypatch)
    pair = established()
    old = pair.ike(EAST).keys
    assert old is not None
    record.watch(pair)
    record.secrets.clear()
    wish(pair, WEST, "ike")
    pair.settle()
    sk0, sk1, sk2 = record.secrets
    ni, nr = record.nonces
    skeyseed = hmac.digest(old.sk_d, sk0 + ni + nr + sk1 + sk2, "sha256")
    new = pair.ike(EAST)
    stream = prf_plus(skeyseed, ni + nr + new.spi_i + new.spi_r, 168)
    assert new.keys is not None
    assert (new.keys.sk_d, new.keys.sk_ei) == (stream[:32], stream[32:68])
    assert (new.keys.sk_er, new.keys.sk_pi) == (stream[68:104], stream[104:136])


def test_keys_of_the_first_ike_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    """SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr). RFC 9370 §2.2.2"""
    record = Recorder(monkeypatch)
    pair = established()
    sa = pair.ike(EAST)
    nonces, spis = sa.ni + sa.nr, sa.spi_i + sa.spi_r
    skeyseed = hmac.digest(nonces, record.secrets[0], "sha256")
    for secret in record.secrets[1:]:
        sk_d = prf_plus(skeyseed, nonces + spis, 32)
        skeyseed = hmac.digest(sk_d, secret + nonces, "sha256")
    assert len(record.secrets) == 3
    stream = prf_plus(skeyseed, nonces + spis, 168)
    assert sa.keys is not None
    assert (sa.keys.sk_d, sa.keys.sk_pr) == (stream[:32], stream[136:])


@pytest.mark.parametrize("what", WISHES)
@pytest.mark.parametrize("fragment_size", [None, 400])
def test_with_ml_kem(what: str, fragment_size: int | None) -> None:
    """What it is for; over TCP whole, else in fragments. RFC 7383 §2.4"""
    pair = established("-ke1_mlkem768-ke2_mlkem1024", fragment_size=fragment_size)
    wish(pair, EAST, what)
    pair.settle()
    pair.check_agreement(count(what))
    pair.ping()


@pytest.mark.parametrize("addresses", [("192.0.2.1", "192.0.2.2"), ("::1", "::2")])
def test_over_udp(addresses: tuple[str, str]) -> None:
    """With every first datagram lost, and every answer needed twice."""
    west, east = sides("-ke1_mlkem768-ke3_x448")
    pair = DatagramPair(west, east, addresses=addresses)
    pair.up()
    seen: set[bytes] = set()

    def is_lost(datagram: object) -> bool:
        octets = datagram.octets  # type: ignore[attr-defined]
        is_first, _ = octets not in seen, seen.add(octets)
        return is_first

    for name in (WEST, EAST):
        endpoint = pair.side(name).endpoint
        pair.is_lost = is_lost
        pair.run(name, endpoint.rekey_child("net", pair.now))
        pair.advance(40)
        pair.run(name, endpoint.rekey_ike(pair.now))
        pair.advance(40)
        pair.is_lost = lambda datagram: False
        pair.check_up()
        pair.ping()
    assert IKE_FOLLOWUP_KE.name in str(pair.west.traces("ike-message"))
    assert "STATE_NOT_FOUND" not in str(pair.west.traces("ike-message"))


def test_none_is_none() -> None:
    """RFC 9370 §2.2.1: the answer is what it always was."""
    pair = established("-ke1_none")
    for what in WISHES:
        wish(pair, WEST, what)
        pair.settle()
    assert "FOLLOWUP" not in str(pair.said(WEST))
    assert "ADDITIONAL_KEY_EXCHANGE" not in str(pair.said(EAST))
    pair.check_agreement(2)


def test_another_first_method_is_asked_for() -> None:
    """INVALID_KE_PAYLOAD begins the whole anew. RFC 7296 §1.3"""
    west = side(WEST, TWO, "-ecp384-ke1_x448")
    east = side(EAST, TWO, "-ke1_x448")
    east = replace(
        east,
        children=(
            replace(
                east.children[0],
                proposals=child_policy(
                    proposal="aes256gcm16-ecp384-ke1_x448"
                ).proposals,
            ),
        ),
    )
    pair = Pair(west, east)
    pair.up()
    wish(pair, WEST, "child")
    pair.settle()
    assert "INVALID_KE_PAYLOAD" in str(pair.said(EAST))
    pair.check_agreement()
    pair.ping()


def test_the_token_comes_with_the_ike_sa() -> None:
    """RFC 6290 §4.3: in the last answer, for there is no IKE SA before."""
    pair = Pair(*sides(crash_secret=b"q" * 32))
    pair.up()
    wish(pair, WEST, "ike")
    pair.settle()
    answers = [line for line in pair.said(EAST) if "FOLLOWUP" in line]
    assert ["QCD_TOKEN" in line for line in answers] == [False, True]
    assert len(pair.ike(WEST).crash_tokens) == 1
    assert len(pair.ike(EAST).crash_tokens) == 1
    assert pair.ike(WEST).crash_tokens == pair.ike(EAST).crash_tokens


# --- lost connections ---------------------------------------------------------------


@pytest.mark.parametrize("what", WISHES)
@pytest.mark.parametrize("is_answered", [False, True])
def test_the_connection_breaks_in_between(what: str, is_answered: bool) -> None:
    """RFC 9329 §6.2: the request is repeated, and the series goes on."""
    pair = established()
    wish(pair, WEST, what)
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    if is_answered:
        until(pair, EAST, "IKE_FOLLOWUP_KE response")
    pair.break_connection(next(iter(pair.open)))
    pair.connect()
    pair.settle()
    pair.check_agreement(count(what))
    pair.ping()


@pytest.mark.parametrize("what", WISHES)
def test_the_ike_sa_is_deleted_in_between(what: str) -> None:
    """RFC 7296 §1.4.1: what was agreed on goes with it."""
    pair = established()
    wish(pair, WEST, what)
    until(pair, EAST, "CREATE_CHILD_SA response")
    pair.deliver()
    pair.wire.clear()
    west, east = pair.ike(WEST), pair.ike(EAST)
    assert len(east.unfinished) == 1
    pair.begin(EAST, DeleteIkeSa())
    assert not east.unfinished
    pair.settle()
    pair.check_closed()
    assert west.exchange is None


def test_the_peers_deletion_forgets_it_too() -> None:
    """RFC 7296 §1.4.1."""
    pair = established()
    wish(pair, WEST, "ike")
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    pair.wire.clear()
    west, east = pair.ike(WEST), pair.ike(EAST)
    west.sent = west.exchange = None
    west.next_message_id -= 1
    pair.begin(WEST, DeleteIkeSa())
    pair.settle()
    pair.check_closed()
    assert not east.unfinished


# --- STATE_NOT_FOUND ----------------------------------------------------------------


@pytest.mark.parametrize("what", WISHES)
def test_what_waits_too_long_is_not_found(what: str) -> None:
    """RFC 9370 §2.2.4: all of it has failed, and is tried again."""
    pair = established()
    wish(pair, WEST, what)
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    (request,) = pair.wire
    pair.wire.clear()
    east = pair.ike(EAST)
    assert pair.east.endpoint.next_deadline(pair.now) == PATIENCE_SECONDS
    pair.advance(PATIENCE_SECONDS - 1)
    assert len(east.unfinished) == 1
    pair.advance(1)
    assert not east.unfinished
    pair.wire.append(request)
    pair.settle()
    assert pair.said(EAST)[-1].endswith("response: N(STATE_NOT_FOUND)")
    if what == "child":
        (child,) = pair.ike(WEST).children.values()
        assert child.state is ChildState.INSTALLED
    pair.ping()
    pair.advance(RETRY_SECONDS)
    pair.check_agreement(count(what))
    pair.ping()
    assert pair.ike(WEST).trouble_since is None


def test_after_minutes_of_it_the_ike_sa_is_deleted() -> None:
    """RFC 9370 §2.2.4: after several retries it is fatal."""
    pair = established()

    def lose(payloads: list[Payload]) -> list[Payload]:
        return [NotifyPayload(NotifyType.STATE_NOT_FOUND)]

    wish(pair, WEST, "child")
    pair.rewrite(EAST, inside(IKE_FOLLOWUP_KE, lose))
    pair.settle()
    for _ in range(int(TROUBLE_SECONDS / 5) + 6):
        pair.advance(5.0)
    assert heads(pair, WEST).count("CREATE_CHILD_SA request") > 10
    assert closed_because(pair, WEST) == "STATE_NOT_FOUND for minutes"
    pair.check_closed()


def followup(pair: Pair, *payloads: Payload) -> tuple[Payload, ...] | None:
    """Let west send an IKE_FOLLOWUP_KE of any kind."""
    return pair.ask(WEST, IKE_FOLLOWUP_KE, *payloads)


def link(data: bytes) -> NotifyPayload:
    """Make N(ADDITIONAL_KEY_EXCHANGE)."""
    return NotifyPayload(LINK, data)


def test_links_to_nothing() -> None:
    """RFC 9370 §2.2.4: an error that is not fatal to the IKE SA, without data."""
    pair = established()
    for data in (b"", b"\0\0\0\1", b"a link of nobody's"):
        answer = followup(pair, KePayload(19, bytes(64)), link(data))
        assert answer == (NotifyPayload(NotifyType.STATE_NOT_FOUND),)
    pair.check_agreement()
    pair.ping()


def test_a_link_serves_once() -> None:
    """The second time there is no state."""
    pair = established()
    wish(pair, WEST, "child")
    pair.settle()
    answer = followup(pair, KePayload(19, bytes(64)), link(b"\0\0\0\1"))
    assert answer == (NotifyPayload(NotifyType.STATE_NOT_FOUND),)


# --- what cannot be accepted --------------------------------------------------------


def pending(pair: Pair) -> bytes:
    """Let west begin a rekey, and forget about it; returns the link to the rest."""
    wish(pair, WEST, "child")
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    pair.wire.clear()
    west = pair.ike(WEST)
    assert isinstance(west.exchange, RekeyChild)
    west.exchange.yield_to_peer(west, pair.now)
    west.next_message_id -= 1
    west.sent = west.exchange = None
    return pair.ike(EAST).unfinished.keep(
        pair.ike(EAST).unfinished.take(b"\0\0\0\1"), pair.now
    )


ECP_256 = KeyExchangeMethod.ECP_256
POINT_AT_NOWHERE = b"\1" * 64
BAD_REQUESTS: dict[str, list[Payload]] = {
    "no KE": [],
    "two KE": [KePayload(ECP_256, POINT_AT_NOWHERE)] * 2,
    "another method": [KePayload(KeyExchangeMethod.CURVE448, b"\5" * 56)],
    "a short value": [KePayload(ECP_256, bytes(63))],
    "no point": [KePayload(ECP_256, POINT_AT_NOWHERE)],
}


@pytest.mark.parametrize("payloads", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_requests_that_are_refused(payloads: list[Payload]) -> None:
    """RFC 7296 §2.21.3, RFC 6989 §2.5: INVALID_SYNTAX, and the IKE SA ends."""
    pair = established()
    followup(pair, *payloads, link(pending(pair)))
    assert pair.said(EAST)[-1].endswith("response: N(INVALID_SYNTAX)")
    pair.check_closed()


def test_a_request_without_link() -> None:
    """RFC 9370 §2.2.4: the initiator has to send it back."""
    pair = established()
    pending(pair)
    followup(pair, KePayload(ECP_256, POINT_AT_NOWHERE))
    assert pair.said(EAST)[-1].endswith("response: N(INVALID_SYNTAX)")
    pair.check_closed()


BAD_RESPONSES: dict[str, Callable[[list[Payload]], Sequence[Payload]]] = {
    "no KE": without(KePayload),
    "two KE": lambda payloads: [payloads[0], *payloads],
    "another method": lambda payloads: [
        KePayload(KeyExchangeMethod.CURVE25519, b"\5" * 32),
        *payloads[1:],
    ],
    "a short value": lambda payloads: [KePayload(ECP_256, bytes(63)), *payloads[1:]],
    "no link to the next": without(NotifyPayload, LINK),
}


@pytest.mark.parametrize("change", BAD_RESPONSES.values(), ids=BAD_RESPONSES)
@pytest.mark.parametrize("what", WISHES)
def test_responses_that_are_refused(
    change: Callable[[list[Payload]], Sequence[Payload]], what: str
) -> None:
    """RFC 7296 §2.21.3: the peer has a bug, so the IKE SA is deleted."""
    pair = established()
    wish(pair, WEST, what)
    pair.rewrite(EAST, inside(IKE_FOLLOWUP_KE, change))
    pair.settle()
    assert heads(pair, WEST)[-2:] == [
        "IKE_FOLLOWUP_KE request",
        "INFORMATIONAL request",
    ]
    pair.check_closed()


@pytest.mark.parametrize("what", WISHES)
def test_an_answer_to_create_child_sa_without_link(what: str) -> None:
    """RFC 9370 §2.2.4: the responder has to include it."""
    pair = established()
    wish(pair, WEST, what)
    pair.rewrite(EAST, inside(CREATE_CHILD_SA, without(NotifyPayload, LINK)))
    pair.settle()
    assert closed_because(pair, WEST) == "no ADDITIONAL_KEY_EXCHANGE"
    pair.check_closed()


def test_a_refusal_in_the_middle() -> None:
    """A rekey is tried again, a further Child SA given up. RFC 7296 §2.8"""
    refusal = [NotifyPayload(NotifyType.NO_ADDITIONAL_SAS)]
    pair = established()
    wish(pair, WEST, "new child")
    pair.rewrite(EAST, inside(IKE_FOLLOWUP_KE, lambda _: refusal))
    pair.settle()
    assert len(pair.west.traces("child-sa-failed")) == 1
    wish(pair, WEST, "child")
    pair.settle()
    pair.tap = None
    pair.advance(RETRY_SECONDS)
    pair.ping()
    assert len(pair.ike(WEST).children) == 1


@pytest.mark.parametrize("what", WISHES)
def test_the_peer_says_invalid_syntax(what: str) -> None:
    """RFC 7296 §2.21.3: it has ended the IKE SA."""
    answer = [NotifyPayload(NotifyType.INVALID_SYNTAX)]
    pair = established()
    wish(pair, WEST, what)
    pair.rewrite(EAST, inside(IKE_FOLLOWUP_KE, lambda _: answer))
    pair.settle()
    assert closed_because(pair, WEST) == "the peer answers INVALID_SYNTAX"


# --- limits -------------------------------------------------------------------------


def finished(unfinished: Unfinished, now: float) -> list[Payload]:
    """Make nothing."""
    return []


def test_unfinished_sas_are_few() -> None:
    """Memory per peer stays bounded, and what is forgotten leaves room."""
    kept = UnfinishedSas()
    assert kept.deadline is None
    for number in range(MAX_UNFINISHED):
        kept.check_room()
        kept.keep(Unfinished((19,), finished, b""), float(number))
    with pytest.raises(TemporaryFailureError, match="too much"):
        kept.check_room()
    assert kept.deadline == PATIENCE_SECONDS
    kept.expire(PATIENCE_SECONDS + 1)
    assert len(kept) == MAX_UNFINISHED - 2
    kept.check_room()
    kept.clear()
    assert not kept


def test_a_second_attempt_takes_the_place_of_the_first() -> None:
    """Of what replaces one SA; Child SAs that are new are different things."""
    pair = established()
    (old,) = pair.ike(WEST).children.values()
    for how in ({"replaces": old}, {"is_ike_rekey": True}):
        kept = UnfinishedSas()
        first, second = (Unfinished((19,), finished, b"", **how) for _ in range(2))
        link = kept.keep(first, 0.0)
        assert kept.has_ike_rekey is ("is_ike_rekey" in how)
        assert kept.has_child is kept.replaces(old) is ("replaces" in how)
        other = kept.keep(second, 0.0)
        assert first not in kept
        assert second in kept
        with pytest.raises(StateNotFoundError):
            kept.take(link)
        assert kept.take(other) is second
    kept = UnfinishedSas()
    new = [Unfinished((19,), finished, b"") for _ in range(2)]
    for one in new:
        kept.keep(one, 0.0)
    assert len(kept) == 2
    kept.drop(new[0])
    assert new[1] in kept
    assert new[0] not in kept


def test_no_more_than_so_many_at_a_time() -> None:
    """TEMPORARY_FAILURE then; nothing is lost. RFC 7296 §2.25"""
    pair = established()
    east = pair.ike(EAST)
    for _ in range(MAX_UNFINISHED):
        east.unfinished.keep(Unfinished((19,), finished, b""), pair.now)
    for what in ("new child", "child"):
        wish(pair, WEST, what)
        pair.settle()
        assert pair.said(EAST)[-1].endswith("response: N(TEMPORARY_FAILURE)")
    pair.advance(PATIENCE_SECONDS + RETRY_SECONDS)
    pair.check_agreement(2)


# --- requests that cross ------------------------------------------------------------


POLICIES = {"both": (TWO, TWO), "one": (FOR_WEST, FOR_EAST)}
ORDERS = ["".join(order) for order in product("we", repeat=5)]


def deliver(pair: Pair, order: str) -> None:
    """Deliver in an order; then whatever waits longest."""
    for sender in order:
        pair.deliver_from(WEST if sender == "w" else EAST)
    pair.settle()


@pytest.mark.parametrize("words", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("what", ["child", "ike"])
def test_both_rekey_at_once(what: str, words: tuple[str, str]) -> None:
    """In every order: one SA is left, the same on both sides. RFC 9370 §2.2.4"""
    for order in ORDERS:
        pair = established(*words, seed=order)
        wish(pair, WEST, what)
        wish(pair, EAST, what)
        deliver(pair, order)
        pair.ping()
        pair.check_agreement()
        for name in (WEST, EAST):
            assert not pair.ike(name).unfinished


@pytest.mark.parametrize("words", POLICIES.values(), ids=POLICIES)
def test_a_child_rekey_crosses_an_ike_rekey(words: tuple[str, str]) -> None:
    """One is put off, or both, and both done later. RFC 7296 §2.25"""
    for order in ORDERS:
        pair = established(*words, seed=order)
        (old,), spi = pair.ike(WEST).children, pair.ike(WEST).spi_i
        wish(pair, WEST, "child")
        wish(pair, EAST, "ike")
        deliver(pair, order)
        pair.ping()
        for _ in range(60):
            pair.advance(0.5)
        pair.ping()
        pair.check_agreement()
        assert pair.ike(WEST).spi_i != spi
        assert old not in pair.ike(WEST).children


@pytest.mark.parametrize("what", ["child", "ike"])
def test_who_has_the_lowest_nonce_stops(what: str) -> None:
    """RFC 9370 §2.2.4: it must not begin IKE_FOLLOWUP_KE; the other goes on."""
    losers = set()
    for seed in range(12):
        pair = established(seed=str(seed))
        already = {name: len(pair.said(name)) for name in (WEST, EAST)}
        nonces: dict[str, list[bytes]] = {WEST: [], EAST: []}
        wish(pair, WEST, what)
        wish(pair, EAST, what)

        def note(
            sender: str, h: Header, payloads: tuple[Payload, ...], seen: dict = nonces
        ) -> None:
            by = {WEST: EAST, EAST: WEST}[sender] if h.is_response else sender
            seen[by] += [p.nonce for p in payloads if isinstance(p, NoncePayload)]

        watch(pair, note)
        for sender in (WEST, EAST, WEST, EAST):
            pair.deliver_from(sender)
        pair.tap = None
        pair.settle()
        assert [len(each) for each in nonces.values()] == [2, 2]
        loser = min(nonces, key=lambda name: min(nonces[name]))
        losers.add(loser)
        for name in (WEST, EAST):
            said = [*heads(pair, name)][already[name] :]
            expected = 0 if name == loser else 2
            assert said.count("IKE_FOLLOWUP_KE request") == expected
        pair.check_agreement()
    assert losers == {WEST, EAST}


@pytest.mark.parametrize("what", ["child", "ike"])
def test_who_is_at_it_already_puts_the_other_off(what: str) -> None:
    """RFC 9370 §2.2.4: TEMPORARY_FAILURE; what is under way goes on."""
    pair = established()
    wish(pair, EAST, what)
    late = pair.wire.popleft()
    wish(pair, WEST, what)
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    held = pair.wire.popleft()
    pair.wire.append(late)
    pair.deliver()
    assert pair.said(WEST)[-1].endswith("response: N(TEMPORARY_FAILURE)")
    pair.settle()
    pair.wire.append(held)
    pair.settle()
    pair.check_agreement()
    pair.ping()
    # east has what it wanted, and asks no more
    requests = heads(pair, EAST).count("CREATE_CHILD_SA request")
    pair.advance(RETRY_SECONDS)
    assert heads(pair, EAST).count("CREATE_CHILD_SA request") == requests


@pytest.mark.parametrize("what", ["child", "ike"])
def test_the_winner_is_done_before_our_answer_comes(what: str) -> None:
    """RFC 7296 §2.8.1, §2.8.2: the peer may be late, and has its SA all the same."""
    done = 0
    for seed in range(8):
        pair = established(seed=str(seed))
        wish(pair, WEST, what)
        wish(pair, EAST, what)
        pair.deliver_from(WEST)  # west's request
        pair.deliver_from(EAST)  # east's request
        answer = next(item for item in pair.wire if item[0] == EAST)
        pair.wire.remove(answer)
        pair.settle()
        done += heads(pair, EAST).count("IKE_FOLLOWUP_KE request") == 2
        pair.wire.append(answer)
        pair.settle()
        pair.ping()
        pair.advance(61.0)
        pair.ping()
        pair.check_agreement()
    assert 0 < done < 8


@pytest.mark.parametrize("what", ["child", "ike"])
def test_a_winner_that_never_finishes(what: str) -> None:
    """Nothing was lost: the old SA serves, and can be rekeyed again."""
    for seed in range(6):
        pair = established(seed=str(seed))
        wish(pair, WEST, what)
        wish(pair, EAST, what)
        for sender in (WEST, EAST, WEST, EAST):
            pair.deliver_from(sender)
        (last,) = pair.wire
        pair.wire.clear()  # the winner's first IKE_FOLLOWUP_KE
        loser = pair.other(last[0])
        winner = pair.ike(last[0])
        assert len(pair.ike(loser).unfinished) == 1
        wish(pair, loser, what)  # it is being done
        assert not pair.wire
        winner.sent = None
        assert isinstance(winner.exchange, RekeyChild | RekeyIkeSa)
        winner.exchange.yield_to_peer(winner, pair.now)
        winner.exchange = None
        winner.next_message_id -= 1
        pair.ping()
        pair.advance(PATIENCE_SECONDS)
        wish(pair, loser, what)
        pair.settle()
        pair.ping()
        pair.check_agreement()


@pytest.mark.parametrize("what", ["new child", "child"])
def test_the_ike_sa_cannot_be_rekeyed_meanwhile(what: str) -> None:
    """By whom does not matter. RFC 7296 §2.25.1"""
    pair = established()
    wish(pair, WEST, what)
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    held = pair.wire.popleft()
    wish(pair, EAST, "ike")
    pair.settle()
    assert pair.said(WEST)[-1].endswith("response: N(TEMPORARY_FAILURE)")
    west = pair.ike(WEST)
    sent, exchange = west.sent, west.exchange
    west.sent = west.exchange = None
    west.next_message_id -= 1
    wish(pair, WEST, "ike")  # a peer that has lost what it was at
    pair.settle()
    assert pair.said(EAST)[-1].endswith("response: N(TEMPORARY_FAILURE)")
    assert held[0] == WEST
    assert sent is not None
    assert exchange is not None


def test_while_the_ike_sa_is_replaced_nothing_touches_its_child_sas() -> None:
    """It waits for the new one, and is done there. RFC 7296 §2.25.2"""
    pair = established()
    policy = pair.ike(EAST).policy.children[0]
    (spi_in,) = pair.ike(EAST).children
    wish(pair, WEST, "ike")
    until(pair, EAST, "CREATE_CHILD_SA response")
    said = len(pair.said(EAST))
    old = pair.ike(EAST)
    for exchange in (CreateChild(policy), DeleteChild(spi_in), RekeyIkeSa()):
        old.want(exchange)
    old.want(CheckLiveness())
    pair.run(EAST, pair.east.endpoint.time_passed(pair.now))
    assert heads(pair, EAST)[said:] == ["INFORMATIONAL request"]
    pair.settle()
    assert "CREATE_CHILD_SA request" in heads(pair, EAST)[said:]
    assert spi_in not in pair.ike(EAST).children
    pair.check_agreement()
    pair.ping()
    # the wish to rekey the IKE SA was fulfilled by the peer
    assert heads(pair, EAST).count("IKE_FOLLOWUP_KE request") == 2


def test_a_peer_that_asks_for_child_sas_meanwhile_is_put_off() -> None:
    """RFC 7296 §2.25.2."""
    pair = established()
    wish(pair, WEST, "ike")
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    pair.wire.clear()
    west = pair.ike(WEST)
    west.sent = west.exchange = None
    west.next_message_id -= 1
    wish(pair, WEST, "new child")
    pair.settle()
    assert pair.said(EAST)[-1].endswith("response: N(TEMPORARY_FAILURE)")


def test_the_old_child_sa_is_deleted_meanwhile() -> None:
    """CHILD_SA_NOT_FOUND: the deletion wins. RFC 7296 §2.25.1"""
    pair = established()
    (spi_in,) = pair.ike(EAST).children
    wish(pair, WEST, "child")
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    held = pair.wire.popleft()
    pair.begin(EAST, DeleteChild(spi_in))
    pair.settle()
    pair.wire.append(held)
    pair.settle()
    assert "CHILD_SA_NOT_FOUND" in pair.said(EAST)[-1]
    pair.advance(RETRY_SECONDS)
    pair.check_agreement(0)


def test_the_old_child_sa_is_being_deleted_meanwhile() -> None:
    """TEMPORARY_FAILURE. RFC 7296 §2.25.1"""
    pair = established()
    (spi_in,) = pair.ike(EAST).children
    wish(pair, WEST, "child")
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    pair.begin(EAST, DeleteChild(spi_in))
    for _ in range(4):
        pair.deliver_from(WEST)
        deletion = [item for item in pair.wire if item[0] == EAST][:1]
        for item in deletion:
            pair.wire.remove(item)
            pair.wire.append(item)
    pair.settle()
    pair.advance(2 * RETRY_SECONDS)
    assert len(pair.ike(WEST).children) == len(pair.ike(EAST).children)
    pair.check_agreement(len(pair.ike(WEST).children))


def exchange_of(sa: IkeSa) -> Exchange:
    """The exchange under way."""
    assert sa.exchange is not None
    return sa.exchange


def test_an_esp_spi_is_awaited_until_the_end() -> None:
    """Packets may overtake the last answer. RFC 7296 §2.8"""
    pair = established()
    wish(pair, WEST, "child")
    spi = exchange_of(pair.ike(WEST)).awaited_spi
    until(pair, WEST, "IKE_FOLLOWUP_KE request")
    assert exchange_of(pair.ike(WEST)).awaited_spi == spi != b""


def test_ike_auth_makes_its_child_sa_alone() -> None:
    """RFC 9370 §2.2.3: no key exchange at all there."""
    pair = Pair(side(WEST, "", TWO), side(EAST, "", TWO))
    pair.up()
    assert len(pair.said(WEST)) == 2
    (child,) = pair.ike(WEST).children.values()
    assert child.parameters.suite.additional_ke == ()
    offered = []
    pair.rewrite(WEST, lambda h, p: offered.extend(p))
    wish(pair, WEST, "child")
    pair.settle()
    (sa_payload,) = [p for p in offered if isinstance(p, SaPayload)]
    assert {t.type for t in sa_payload.proposals[0].transforms} >= {6, 7}
    (child,) = pair.ike(WEST).children.values()
    assert child.parameters.suite.additional_ke == (19, 32)
