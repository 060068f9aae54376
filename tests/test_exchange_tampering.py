"""IKE_SA_INIT goes in the clear: whoever changes it on the way is found out.

A table of what an attacker on the way can do to the first two messages, each so that
the message still makes sense, and of who notices: over TCP and UDP, with secrets,
certificates and EAP. Neither side ever carries a packet after it.

AUTH covers the peer's message from the first octet of its SPI to the last of its last
payload, and the nonce of the other side. What the keys are made from needs no AUTH to
be noticed: with other keys nothing opens.

Source: RFC 7296 §2.15
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacker import Change, flipped, notify, sit_between, swapped
from certificate_factory import TODAY
from datagram_pair import DatagramPair
from iketcp.ike.header import HEADER_SIZE
from iketcp.ike.keywords import parse_ike_proposal
from iketcp.ike.payloads import SaPayload
from iketcp.ike.proposals import Proposal
from iketcp.registry import NotifyType
from outcomes import AnyPair, check_all_is_gone, check_protected
from pair import EAST, WEST, Pair, ipv4_packet
from tampering_cases import CASES, OFFER, PROOFS, Case, Found, by_secret

# --- what comes of it -----------------------------------------------------------------

REFUSED = {
    "psk": "the secret of west.example does not fit",
    "certificate": "the ecdsa-sha256 signature is wrong",
    "eap": "AUTH does not fit the key that EAP made",
}
"""What east logs of AUTH that covers another request than it received."""

AUTH_AT = {"psk": 1, "certificate": 1, "eap": 4}
"""Message ID of the IKE_AUTH request in which west proves itself."""


def was_established(pair: AnyPair, name: str) -> bool:
    """Whether a side ever believed the other."""
    return bool(pair.side(name).traces("ike-sa-established"))


def found_by_east(pair: AnyPair, proof: str) -> None:
    """AUTHENTICATION_FAILED in the protected response; the responder keeps nothing."""
    failed = f"IKE_AUTH {AUTH_AT[proof]} response: N(AUTHENTICATION_FAILED)"
    assert pair.east.said()[-1] == failed
    assert pair.west.said()[-1].startswith(f"IKE_AUTH {AUTH_AT[proof]} request: ")
    reasons = REFUSED[proof], "though both know Digital Signature"
    assert any(reason in pair.east.closed_because() for reason in reasons)
    assert "the peer answers AUTHENTICATION_FAILED" in pair.west.closed_because()
    (refused,) = pair.east.traces("refused")
    assert refused["notify"] == "AUTHENTICATION_FAILED"
    assert not was_established(pair, EAST)
    assert not was_established(pair, WEST)


def found_by_west(pair: AnyPair, proof: str) -> None:
    """AUTHENTICATION_FAILED in an INFORMATIONAL; east had every reason to believe west.

    With EAP west has not said anything in it yet, and east does not know west either.
    """
    assert pair.west.said()[-1] == "INFORMATIONAL 2 request: N(AUTHENTICATION_FAILED)"
    reason = pair.west.closed_because()
    assert reason.startswith("authentication failed: ")
    assert reason.endswith(REFUSED[proof].replace(WEST, EAST)) or proof == "eap"
    assert pair.east.closed_because() == "the peer says AUTHENTICATION_FAILED"
    assert not was_established(pair, WEST)
    assert was_established(pair, EAST) == (proof != "eap")
    assert not any("EAP(" in line for line in pair.west.said())


def found_by_keys(pair: AnyPair, proof: str) -> None:
    """East drops what it cannot open, and over TCP the connection. RFC 9329 §6.1."""
    dropped = pair.east.endpoint.counters.dropped
    assert dropped.pop("IntegrityError")
    # a connection is closed for it, and after a while the IKE SA is forgotten
    assert set(dropped) <= {"connection closed for its octets", "unknown IKE SPI"}
    assert len(pair.east.said()) == 1
    if isinstance(pair, Pair):
        closed = pair.east.traces("connection-closed")[0]["reason"]
        assert closed == "a message for a known SPI fails its integrity check"
    given_up(pair)


def found_by_spi(pair: AnyPair, proof: str) -> None:
    """East has no such IKE SA; it says nothing. RFC 7296 §2.21.4."""
    assert set(pair.east.endpoint.counters.dropped) == {"unknown IKE SPI"}
    assert len(pair.east.said()) == 1
    given_up(pair)


def never_answered(pair: AnyPair, proof: str) -> None:
    """Nothing that west received was an answer to what it had asked."""
    assert all(line.startswith("IKE_SA_INIT 0 request: ") for line in pair.west.said())
    given_up(pair)


def given_up(pair: AnyPair) -> None:
    """West waits in vain."""
    reason = pair.west.closed_because()
    assert reason.startswith("no answer for ") or reason == "8 restarts and no end"
    assert not was_established(pair, EAST)
    assert not was_established(pair, WEST)


def ended_at_once(pair: AnyPair, reason: str) -> None:
    """West begins no IKE_AUTH at all."""
    assert reason in pair.west.closed_because()
    assert all(line.startswith("IKE_SA_INIT 0 request: ") for line in pair.west.said())
    assert not was_established(pair, EAST)


CHECKS = {
    Found.BY_EAST: found_by_east,
    Found.BY_WEST: found_by_west,
    Found.BY_KEYS: found_by_keys,
    Found.BY_SPI: found_by_spi,
    Found.NO_ANSWER: never_answered,
}


def check(pair: AnyPair, case: Case, proof: str) -> None:
    """Check who noticed, and that nothing is left and nothing has passed."""
    if case.found is Found.AT_ONCE:
        ended_at_once(pair, case.reason)
    else:
        CHECKS[case.found](pair, proof)
    west, east = pair.west, pair.east
    assert not west.traces("child-sa-installed")
    assert not east.traces("child-sa-installed") or case.found is Found.BY_WEST
    for side, packet in (
        (WEST, ipv4_packet("10.0.1.1", "10.0.2.1")),
        (EAST, ipv4_packet("10.0.2.1", "10.0.1.1")),
    ):
        pair.run(side, pair.side(side).endpoint.inner_packets([packet]))
    pair.settle()
    check_all_is_gone(pair)


def over_tcp(
    proof: str,
    changes: dict[str, Change],
    proposals: tuple[Proposal, ...] = OFFER,
) -> Pair:
    """Let west begin, and connect again as long as it tries; then let time pass."""
    west, east = (
        replace(PROOFS[proof](name), proposals=proposals) for name in (WEST, EAST)
    )
    pair = Pair(west, east, date=TODAY)
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    sit_between(pair, changes)
    pair.settle()
    for _ in range(26):  # a request is given up after 60 s, all else follows from that
        pair.advance(5.0)
        if not pair.open and pair.west.endpoint.tables.ike_sas:
            pair.connect()
            pair.settle()
    return pair


TABLE = [(case, proof) for case in CASES for proof in case.only]


@pytest.mark.parametrize(
    ("case", "proof"), TABLE, ids=[f"{case}, {proof}" for case, proof in TABLE]
)
def test_what_is_changed_on_a_connection_is_found_out(case: Case, proof: str) -> None:
    """The whole table; not a word about it in the clear. RFC 7296 §2.15, §2.21.2."""
    pair = over_tcp(proof, case.changes)
    check(pair, case, proof)
    check_protected(pair)


@pytest.mark.parametrize("case", [c for c in CASES if "psk" in c.only], ids=str)
def test_what_is_changed_in_a_datagram_is_found_out(case: Case) -> None:
    """The same over UDP, where requests are repeated and nothing closes."""
    pair = DatagramPair(by_secret(WEST), by_secret(EAST))
    sit_between(pair, case.changes)
    pair.begin()
    pair.advance(400.0)
    check(pair, case, "psk")


HYBRID = (
    parse_ike_proposal("aes256gcm16-prfsha384-x25519-ke1_ecp256", 1),
    parse_ike_proposal("aes256gcm16-prfsha384-x25519", 2),
)
"""Both sides would do with one key exchange, and have two if nobody stands between."""

TAKEN_AWAY = {
    "N(INTERMEDIATE_EXCHANGE_SUPPORTED)": notify(
        NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED
    ),
    "the proposal": swapped(SaPayload, SaPayload(HYBRID[1:])),
}


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("change", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_additional_key_exchanges_cannot_be_taken_away(
    change: Change, proof: str
) -> None:
    """They are agreed on in IKE_SA_INIT, too. RFC 7296 §2.15, RFC 9370 §2.2.1."""
    pair = over_tcp(proof, {}, HYBRID)
    assert "IKE_INTERMEDIATE 1 request" in pair.west.said()[1]
    case = Case("additional key exchanges", Found.BY_EAST, {WEST: change})
    pair = over_tcp(proof, case.changes, HYBRID)
    assert not any("IKE_INTERMEDIATE" in line for line in pair.west.said())
    check(pair, case, proof)


def test_the_next_attempt_succeeds() -> None:
    """Nothing is remembered of the attack: without the attacker both are up at once."""
    pair = over_tcp("psk", CASES[0].changes)
    pair.tap = None
    pair.up()
    pair.check_agreement()
    pair.ping()


# --- any single bit -------------------------------------------------------------------


def with_a_bit_changed(proof: str, sender: str, at: int, bit: int) -> Pair:
    """Let west begin; one bit of a side's IKE_SA_INIT is another whenever it comes."""
    pair = Pair(PROOFS[proof](WEST), PROOFS[proof](EAST), date=TODAY)
    pair.run(WEST, pair.west.endpoint.initiate())
    pair.connect()
    sit_between(pair, {sender: lambda m: flipped(at % len(m), 1 << bit)(m)})
    pair.settle()
    return pair


def check_not_both(pair: Pair, sender: str) -> None:
    """Never both sides; and not the one whose peer's message was changed."""
    receiver = pair.other(sender)
    assert not was_established(pair, receiver)
    assert not was_established(pair, WEST)
    assert not pair.west.endpoint.tables.children
    assert not pair.east.endpoint.tables.children


@pytest.mark.parametrize("sender", [WEST, EAST])
@pytest.mark.parametrize("at", range(HEADER_SIZE))
def test_no_bit_of_the_header_can_be_changed(sender: str, at: int) -> None:
    """RealMessage1 and RealMessage2 begin with the header. RFC 7296 §2.15."""
    for bit in range(8):
        check_not_both(with_a_bit_changed("psk", sender, at, bit), sender)


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("sender", [WEST, EAST])
@given(at=st.integers(0, 511), bit=st.integers(0, 7))
def test_no_bit_of_the_message_can_be_changed(
    proof: str, sender: str, at: int, bit: int
) -> None:
    """Never two IKE SAs: AUTH covers all of the message. RFC 7296 §2.15."""
    check_not_both(with_a_bit_changed(proof, sender, at, bit), sender)
