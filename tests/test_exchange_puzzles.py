"""Puzzles between two endpoints: given under load, solved, declined and faked."""

from collections.abc import Callable, Sequence

import pytest

from iketcp.crypto.prf import PRFS
from iketcp.effects import ConnectionId
from iketcp.ike.exchanges.ike_sa_init import MAX_RESTARTS
from iketcp.ike.header import Header
from iketcp.ike.message import decode_message, encode_message
from iketcp.ike.payload_set import find_notify, need
from iketcp.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
    SkPayload,
)
from iketcp.ike.policy import IkePolicy
from iketcp.ike.puzzles import FREE_DIFFICULTY, HARDEST, Puzzle, solve, zero_bits
from iketcp.registry import ExchangeType, NotifyType
from iketcp.stream import frame_ike
from pair import EAST, WEST, ike_policy
from scenarios import Stage

Payloads = tuple[Payload, ...]
BITS = 5
ASKS = "IKE_SA_INIT 0 response: N(COOKIE), N(PUZZLE)"


def loaded(
    difficulty: int = BITS,
    threshold: int = 0,
    proposal: str = "aes256gcm16-prfsha256-x25519",
    **changes: object,
) -> IkePolicy:
    """East's policy, with so many half-open IKE SAs a reason for puzzles."""
    return ike_policy(
        EAST,
        proposal,
        puzzle_threshold=threshold,
        puzzle_difficulty=difficulty,
        **changes,
    )


def begun(stage: Stage) -> ConnectionId:
    """Let west connect and send its first request; nothing is delivered yet."""
    stage.run(WEST, stage.west.endpoint.initiate())
    return stage.connect()


def closed_because(stage: Stage) -> str:
    """Why west's IKE SA closed."""
    return str(stage.west.traces("ike-sa-closed")[-1]["reason"])


def wire_messages(stage: Stage, name: str) -> list[bytes]:
    """All IKE messages that a side sent, without framing."""
    return [
        octets[6:]
        for sender, _, octets in stage.sent
        if sender == name and octets[2:6] == bytes(4)
    ]


def sent(stage: Stage, name: str) -> list[Payloads]:
    """The payloads of all IKE messages that a side sent, SK closed."""
    return [decode_message(octets).payloads for octets in wire_messages(stage, name)]


def data_of(payloads: Sequence[Payload], kind: NotifyType) -> bytes:
    """The data of a Notify that has to be there."""
    notify = find_notify(payloads, kind)
    assert notify is not None
    return notify.data


def in_requests(
    change: Callable[[Payloads], list[Payload]],
) -> Callable[[Header, Payloads], list[Payload] | None]:
    """Change IKE_SA_INIT requests that bring a solution."""

    def changed(header: Header, payloads: Payloads) -> list[Payload] | None:
        has_solution = any(isinstance(p, PsPayload) for p in payloads)
        return change(payloads) if has_solution else None

    return changed


def with_solution(solution: bytes) -> Callable[[Payloads], list[Payload]]:
    """Replace the solution."""
    return lambda payloads: [
        PsPayload(solution) if isinstance(p, PsPayload) else p for p in payloads
    ]


def first_answer(
    *payloads: Payload,
) -> Callable[[Header, Payloads], Sequence[Payload] | None]:
    """Replace east's first response by these payloads."""
    count = 0

    def change(header: Header, _: Payloads) -> Sequence[Payload] | None:
        nonlocal count
        count += 1
        return payloads if count == 1 else None

    return change


# --- given and solved -----------------------------------------------------------------


def test_a_puzzle_is_solved_and_the_session_comes_up() -> None:
    """[9329-6.3-initiator] RFC 8019 §7.1.2: cookie, solution, the rest as it was."""
    stage = Stage(east=loaded())
    stage.up()
    assert stage.said(EAST)[0] == ASKS
    first, second = sent(stage, WEST)[:2]
    cookie, solution, *rest = second
    assert isinstance(cookie, NotifyPayload)
    assert isinstance(solution, PsPayload)
    assert tuple(rest) == first
    asked = sent(stage, EAST)[0]
    assert cookie.data == data_of(asked, NotifyType.COOKIE)
    assert data_of(asked, NotifyType.PUZZLE) == b"\0\5" + bytes([BITS])
    assert solution.solution == solve(Puzzle(5, BITS), cookie.data)
    assert len(stage.said(EAST)) == 3
    stage.ping()


def test_a_free_puzzle_is_worth_some_work() -> None:
    """RFC 8019 §7.1.1.1: difficulty 0 leaves it to the initiator."""
    stage = Stage(east=loaded(difficulty=0))
    stage.up()
    solution = need(sent(stage, WEST)[1], PsPayload).solution
    cookie = data_of(sent(stage, WEST)[1], NotifyType.COOKIE)
    prf = PRFS[5]
    for start in range(0, 16, 4):
        bits = zero_bits(prf.prf(solution[start : start + 4], cookie))
        assert bits >= FREE_DIFFICULTY
    stage.ping()


def test_a_solution_is_good_over_another_connection() -> None:
    """[9329-6.3-port] [9329-6.3-close]: another TCP port, eight seconds later."""
    stage = Stage(east=loaded())
    first = begun(stage)
    for _ in range(3):  # prefix, request, puzzle
        stage.deliver()
    stage.lose_waiting()
    assert not stage.east.endpoint.tables.ike_sas
    stage.advance(8.0)
    assert stage.closings(EAST) == [(first, "the cookie did not come back")]
    stage.connect(port=61000)
    stage.settle()
    assert stage.said(EAST).count(ASKS) == 1
    stage.ping()


def test_puzzle_and_other_method_together() -> None:
    """RFC 7296 §2.6.1: cookie and solution go along with the new method."""
    stage = Stage(
        ike_policy(WEST, "aes256gcm16-prfsha256-x25519-ecp256"),
        loaded(proposal="aes256gcm16-prfsha256-ecp256"),
    )
    stage.up()
    kinds = [line.rsplit(": ", 1)[1] for line in stage.said(EAST)]
    assert kinds[:2] == ["N(COOKIE), N(PUZZLE)", "N(INVALID_KE_PAYLOAD)"]
    assert kinds[2].startswith("SA(")
    second, third = sent(stage, WEST)[1:3]
    assert third[:2] == second[:2]
    stage.ping()


def test_the_prf_is_one_that_both_know() -> None:
    """RFC 8019 §7.1.1.2: of those offered, the one that the responder likes best."""
    stage = Stage(
        ike_policy(WEST, "aes256gcm16-prfsha256-prfsha512-x25519"),
        loaded(proposal="aes256gcm16-prfsha384-prfsha512-prfsha256-x25519"),
    )
    stage.up()
    assert data_of(sent(stage, EAST)[0], NotifyType.PUZZLE)[:2] == b"\0\7"
    stage.ping()


def test_no_prf_in_common_is_no_proposal_chosen() -> None:
    """RFC 8019 §7.1.1.2."""
    stage = Stage(east=loaded(proposal="aes256gcm16-prfsha512-x25519"))
    begun(stage)
    stage.settle()
    assert stage.said(EAST) == ["IKE_SA_INIT 0 response: N(NO_PROPOSAL_CHOSEN)"]


# --- load -----------------------------------------------------------------------------


def begin_half_open(stage: Stage, seed: str) -> ConnectionId:
    """Let a stranger begin an IKE SA at east and leave it there."""
    other = Stage(west=ike_policy(WEST), seed=seed)
    begun(other)
    id = stage.knock(address=f"198.51.100.{len(seed)}")
    for message in wire_messages(other, WEST):
        stage.feed(EAST, id, frame_ike(message))
    return id


def test_puzzles_begin_and_end_with_the_load() -> None:
    """[9329-6.3-cookie-puzzle] RFC 8019 §4.4: by half-open IKE SAs, never before."""
    stage = Stage(east=loaded(threshold=2))
    begin_half_open(stage, "a")
    assert stage.said(EAST)[-1] != ASKS
    begin_half_open(stage, "bb")
    assert stage.said(EAST)[-1] != ASKS
    assert len(stage.east.endpoint.tables.half_open) == 2
    begin_half_open(stage, "ccc")
    assert stage.said(EAST)[-1] == ASKS
    assert len(stage.east.endpoint.tables.half_open) == 2
    stage.advance(31.0)
    assert not stage.east.endpoint.tables.half_open
    begin_half_open(stage, "dddd")
    assert stage.said(EAST)[-1] != ASKS


def test_load_makes_more_of_a_cookie_that_is_required_anyway() -> None:
    """RFC 8019 §7.1.4: a cookie without a puzzle is worth little under load."""
    stage = Stage(east=loaded(threshold=1, is_cookie_required=True))
    begun(stage)
    for _ in range(3):
        stage.deliver()
    assert stage.said(EAST) == ["IKE_SA_INIT 0 response: N(COOKIE)"]
    stranger = Stage(east=loaded(threshold=1))
    begun(stranger)
    stranger.deliver()
    stranger.deliver()
    taken = stranger.east.endpoint.tables.half_open
    stage.east.endpoint.tables.half_open.update(taken)
    stage.settle()
    assert stage.said(EAST)[1] == ASKS
    assert any(isinstance(p, PsPayload) for p in sent(stage, WEST)[2])


def test_a_puzzle_cookie_does_when_the_load_is_gone() -> None:
    """RFC 8019 §7.1.4: the solution is ignored where it is not needed."""
    stage = Stage(east=loaded(threshold=0, is_cookie_required=True))
    begun(stage)
    for _ in range(3):
        stage.deliver()
    quiet = loaded(threshold=9, is_cookie_required=True)
    stage.east.endpoint.context.policy = quiet
    stage.rewrite(WEST, in_requests(with_solution(bytes(4))))
    stage.settle()
    assert stage.said(EAST)[1].split(": ")[1].startswith("SA(")


# --- declined and faked ---------------------------------------------------------------


def test_a_puzzle_that_is_too_hard_gets_the_cookie_alone() -> None:
    """RFC 8019 §7.1.2; without a solution nobody gets in [9329-6.3-cookie-puzzle]."""
    stage = Stage(east=loaded(difficulty=HARDEST + 1))
    begun(stage)
    stage.settle()
    second = sent(stage, WEST)[1]
    assert data_of(second, NotifyType.COOKIE)
    assert not any(isinstance(p, PsPayload) for p in second)
    assert stage.said(EAST) == [ASKS] * (MAX_RESTARTS + 1)
    assert not stage.east.endpoint.tables.ike_sas
    assert "no end" in closed_because(stage)


@pytest.mark.parametrize(
    "change",
    [
        with_solution(bytes(range(16))),  # four keys that hardly work
        with_solution(bytes(16)),  # equal keys
        with_solution(bytes(range(132))),  # keys over the prf's size
        lambda payloads: [p for p in payloads if not isinstance(p, PsPayload)],
        lambda payloads: [payloads[1], *payloads[2:]],  # no cookie
        lambda payloads: [
            NotifyPayload(NotifyType.COOKIE, b"\1\0\5\0" + bytes(32)),
            *payloads[1:],
        ],
    ],
    ids=["wrong", "equal", "long", "none", "no cookie", "forged cookie"],
)
def test_without_the_work_there_is_another_puzzle(
    change: Callable[[Payloads], list[Payload]],
) -> None:
    """RFC 8019 §7.1.4: all four keys are checked, and the cookie before them."""
    stage = Stage(east=loaded(difficulty=9))
    begun(stage)
    stage.rewrite(WEST, in_requests(change))
    stage.settle()
    assert set(stage.said(EAST)) == {ASKS}
    assert not stage.east.endpoint.tables.ike_sas


def test_one_wrong_key_of_four_is_noticed() -> None:
    """RFC 8019 §7.1.4: the smallest of the four results decides."""
    stage = Stage(east=loaded(difficulty=9))
    begun(stage)

    def spoil(payloads: Payloads) -> list[Payload]:
        good = need(payloads, PsPayload).solution
        return with_solution(good[:12] + b"\xff\xff\xff\xff")(payloads)

    stage.rewrite(WEST, in_requests(spoil))
    stage.settle()
    assert set(stage.said(EAST)) == {ASKS}


def test_a_solution_buys_one_ike_sa() -> None:
    """RFC 8019 §10: with another KE and the same cookie it is worth nothing."""
    stage = Stage(east=loaded())
    stage.up()
    again = decode_message(wire_messages(stage, WEST)[1])
    payloads = [
        KePayload(p.method, p.public_value[::-1]) if isinstance(p, KePayload) else p
        for p in again.payloads
    ]
    message = encode_message(again.header, payloads)
    id = stage.knock(address="192.0.2.1")
    stage.feed(EAST, id, frame_ike(message))
    assert stage.said(EAST)[-1] == ASKS
    assert not stage.east.endpoint.tables.half_open


# --- malformed demands ----------------------------------------------------------------


def test_a_puzzle_without_cookie_is_ignored() -> None:
    """RFC 8019 §7.1.2: we go on waiting, and a good answer is still taken."""
    stage = Stage()
    id = begun(stage)
    stage.rewrite(
        EAST, first_answer(NotifyPayload(NotifyType.PUZZLE, Puzzle(5, 1).encode()))
    )
    stage.settle()
    assert len(stage.said(WEST)) == 1
    assert stage.west.endpoint.counters.dropped == {"DropError": 1}
    answer = wire_messages(stage, EAST)[0]
    stage.tap = None
    stage.inject(EAST, id, answer)
    stage.ping()


def test_a_puzzle_of_wrong_size_ends_the_attempt() -> None:
    """RFC 8019 §8.1; [9329-6.4-act]: over TCP nothing better will come."""
    stage = Stage()
    begun(stage)
    bad = NotifyPayload(NotifyType.PUZZLE, b"\0\5")
    cookie = NotifyPayload(NotifyType.COOKIE, b"crumbs")
    stage.rewrite(EAST, first_answer(cookie, bad))
    stage.settle()
    assert "PUZZLE of 2 octets" in closed_because(stage)


# --- IKE_AUTH -------------------------------------------------------------------------


def with_auth_puzzle(
    puzzle: Puzzle,
) -> Callable[[Header, Payloads], list[Payload] | None]:
    """Add a puzzle to the IKE_SA_INIT response that has SA."""

    def change(header: Header, payloads: Payloads) -> list[Payload] | None:
        if header.exchange_type != ExchangeType.IKE_SA_INIT:
            return None
        assert any(isinstance(p, SaPayload) for p in payloads)
        return [*payloads, NotifyPayload(NotifyType.PUZZLE, puzzle.encode())]

    return change


def test_the_puzzle_for_ike_auth_is_solved_outside_sk() -> None:
    """RFC 8019 §7.2.2, §7.2.3: PS before SK, over Nr and SPIr."""
    stage = Stage()
    begun(stage)
    stage.rewrite(EAST, with_auth_puzzle(Puzzle(5, 6)))
    stage.settle()
    message = decode_message(wire_messages(stage, WEST)[1])
    solution, sealed = message.payloads
    assert isinstance(solution, PsPayload)
    assert isinstance(sealed, SkPayload)
    nr = need(sent(stage, EAST)[0], NoncePayload).nonce
    assert solution.solution == solve(Puzzle(5, 6), nr + message.header.spi_r)
    # east reads it; its AUTH is not over the response that west got, and west goes
    assert stage.said(EAST)[1].startswith("IKE_AUTH 1 response: IDr(")
    assert "the secret of east.example does not fit" in closed_because(stage)


def test_the_puzzle_for_ike_auth_may_be_too_hard() -> None:
    """Deviation from RFC 8019 §7.2.2: we give up, for nothing else would help."""
    stage = Stage()
    begun(stage)
    stage.rewrite(EAST, with_auth_puzzle(Puzzle(5, HARDEST + 1)))
    stage.settle()
    assert closed_because(stage) == "the puzzle for IKE_AUTH is too hard"
    assert len(stage.said(WEST)) == 1
