"""The reactions that the message vectors ask for, shown by whole endpoints.

Each message is sent to a peer that is in the right state: in the clear to a responder
that knows nobody, or inside an SK payload sealed here with the keys of a live IKE SA.
Answers are opened and read here, too.

Source: RFC 7296 §2.21, RFC 7296 §2.5, RFC 9329 §6.1
"""

from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ike_reader import chain, read
from iketcp.effects import CloseConnection, ConnectionId, IkeKeysDerived
from iketcp.ike.nat_detection import Path
from iketcp.vectorlib import envelope
from pair import EAST, WEST, Pair, Question

Json = dict[str, Any]

FILE = FilePath(__file__).parent.parent / "vectors" / "ike_message_test.json"
MARKER = bytes(4)
IKE_AUTH, CREATE_CHILD_SA = 35, 36
RESPONSE, INITIATOR = 0x20, 0x08


@cache
def refused(is_protected: bool) -> list[Json]:
    """Tests with a reaction; of messages cut at each octet only every 17th."""
    found = []
    for group in envelope.load_file(FILE)["testGroups"]:
        if group["protected"] == is_protected:
            tests = [test for test in group["tests"] if test["reaction"]]
            cut = [test for test in tests if " cut to " in test["comment"]]
            found += [test for test in tests if test not in cut] + cut[::17]
    return found


def sent_by(pair: Pair, name: str, since: int) -> list[bytes]:
    """IKE messages that one side has sent since, without Length and marker."""
    found = []
    for sender, _, octets in pair.sent[since:]:
        rest = octets if sender == name else b""
        while rest:
            size = int.from_bytes(rest[:2])
            assert rest[2:6] == MARKER
            found.append(rest[6:size])
            rest = rest[size:]
    return found


def framed(message: bytes) -> bytes:
    """Put Length and marker before a message."""
    return (len(message) + 6).to_bytes(2) + MARKER + message


def is_connection_kept(pair: Pair) -> bool:
    """No side has closed a connection."""
    effects = pair.east.effects + pair.west.effects
    return not any(isinstance(effect, CloseConnection) for effect in effects)


# --- in the clear ---------------------------------------------------------------------


def clear_problem(test: Json) -> str | None:
    """Send one message to a responder that knows nobody; say what it does wrong."""
    pair, id = Pair(), ConnectionId(1)
    west, east = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    opened = pair.east.endpoint.connection_opened(
        id, Path(east, 4500, west, 40000), is_tcp_originator=False, now=pair.now
    )
    pair.run(EAST, opened)
    octets = bytes.fromhex(test["octets"])
    received = b"IKETCP" + framed(octets)
    pair.run(EAST, pair.east.endpoint.octets_received(id, received, pair.now))
    answers = sent_by(pair, EAST, 0)
    if not is_connection_kept(pair) or pair.east.endpoint.has_sessions:
        return "the connection closed, or a session began"
    if test["reaction"] == "drop":
        return f"answered: {answers}" if answers else None
    (answer,) = answers
    tree = read(answer, is_protected=False)
    head, (notify,) = tree["header"], tree["payloads"]
    wanted = test["answer"]
    same = {name: notify[name] for name in ("notifyType", "data")} == wanted
    echoes = answer[:8] == octets[:8] and answer[20:24] == octets[20:24]
    fits = head["response"] and not head["initiator"]
    if not (same and echoes and fits and head["exchangeType"] == octets[18]):
        return f"answered otherwise: {tree}"
    return None


def test_messages_in_the_clear() -> None:
    """An answer to who begins an IKE SA, silence to all others; nothing is kept."""
    tests = refused(is_protected=False)
    problems = {test["comment"]: clear_problem(test) for test in tests}
    assert {name: found for name, found in problems.items() if found} == {}
    assert len(tests) > 200


# --- protected ------------------------------------------------------------------------


class Sealer:
    """Seals and opens SK payloads under AES-GCM, with the keys of a pair's IKE SA."""

    def __init__(self, pair: Pair) -> None:
        effects = pair.west.effects + pair.east.effects
        derived = next(e for e in effects if isinstance(e, IkeKeysDerived))
        self.spis = derived.spi_i + derived.spi_r
        self.keys = {WEST: derived.keys.sk_ei, EAST: derived.keys.sk_er}

    def seal(self, sender: str, octets: bytes, message_id: int) -> bytes:
        """Put the payloads of a test into an SK payload of this IKE SA."""
        key, inner = self.keys[sender], octets[28:] + b"\0"
        flags = octets[19] & RESPONSE | (INITIATOR if sender == WEST else 0)
        size = 4 + 8 + len(inner) + 16
        head = self.spis + bytes([46, 0x20, octets[18], flags])
        head += message_id.to_bytes(4) + (28 + size).to_bytes(4)
        head += bytes([octets[16], 0]) + size.to_bytes(2)
        iv = b"vectors!"
        return head + iv + AESGCM(key[:-4]).encrypt(key[-4:] + iv, inner, head)

    def open(self, sender: str, octets: bytes) -> list[Json]:
        """Read the payloads of a message with nothing but an SK payload."""
        key, iv = self.keys[sender], octets[32:40]
        head, sealed = octets[:32], octets[40:]
        plain = AESGCM(key[:-4]).decrypt(key[-4:] + iv, sealed, head)
        inner = plain[: len(plain) - 1 - plain[-1]]
        return list(chain(octets[28], inner, is_protected=True))


def half_way() -> tuple[Pair, ConnectionId, Sealer]:
    """Let IKE_SA_INIT go through and hold the IKE_AUTH request back."""
    pair = Pair()
    pair.run(WEST, pair.west.endpoint.initiate())
    id = pair.connect()
    assert pair.deliver()
    assert pair.deliver()
    pair.wire.clear()
    return pair, id, Sealer(pair)


def request_problem(test: Json) -> str | None:
    """Send one request under protection; say what the responder does wrong."""
    octets = bytes.fromhex(test["octets"])
    if octets[18] == IKE_AUTH:
        pair, id, sealer = half_way()
        message_id = 1
    else:
        pair = Pair()
        id = pair.up()
        sealer, message_id = Sealer(pair), 2
    since = len(pair.sent)
    message = sealer.seal(WEST, octets, message_id)
    received = framed(message)
    pair.run(EAST, pair.east.endpoint.octets_received(id, received, pair.now))
    answers = sent_by(pair, EAST, since)
    if not is_connection_kept(pair):
        return "the connection closed"
    (answer,) = answers
    payloads = sealer.open(EAST, answer)
    found = [{n: p.get(n) for n in ("notifyType", "data")} for p in payloads]
    if found != [test["answer"]]:
        return f"answered otherwise: {payloads}"
    if answer[19] != RESPONSE or answer[18] != octets[18]:
        return "not a response of this exchange"
    ends = test["reaction"] == "answer-and-end-ike-sa"
    if pair.east.endpoint.has_sessions == ends:
        return "the IKE SA lives on" if ends else "the IKE SA ended"
    return None


def response_problem(test: Json) -> str | None:
    """Answer a request of west's with a bad response; say what west does wrong."""
    octets = bytes.fromhex(test["octets"])
    if octets[18] == IKE_AUTH:
        pair, id, sealer = half_way()
        message_id = 1
    else:
        pair = Pair()
        id = pair.up()
        sealer, message_id = Sealer(pair), 2
        if octets[18] == CREATE_CHILD_SA:
            pair.run(WEST, pair.west.endpoint.rekey_child("net", pair.now))
        else:
            pair.begin(WEST, Question(octets[18], ()))
        pair.deliver()  # east answers, and that answer is lost
        pair.wire.clear()
    since = len(pair.sent)
    message = sealer.seal(EAST, octets, message_id)
    received = framed(message)
    pair.run(WEST, pair.west.endpoint.octets_received(id, received, pair.now))
    if any(sent[19] & RESPONSE for sent in sent_by(pair, WEST, since)):
        return "a response was answered by a response"
    pair.settle()
    alive = pair.west.endpoint.tables.ike_sas
    if any(sa.spi_i + sa.spi_r == sealer.spis for sa, _ in alive.values()):
        return "the IKE SA lives on"
    return None


def of_kind(is_response: bool) -> Iterator[Json]:
    """Protected tests that are responses, or that are not."""
    for test in refused(is_protected=True):
        if bool(int(test["octets"][38:40], 16) & RESPONSE) == is_response:
            yield test


def test_protected_requests() -> None:
    """The Notify alone in a protected response, and the IKE SA's end where due."""
    tests = list(of_kind(is_response=False))
    problems = {test["comment"]: request_problem(test) for test in tests}
    assert {name: found for name, found in problems.items() if found} == {}
    assert len(tests) > 200


def test_protected_responses() -> None:
    """No response to a response, and the IKE SA ends."""
    tests = list(of_kind(is_response=True))
    problems = {test["comment"]: response_problem(test) for test in tests}
    assert {name: found for name, found in problems.items() if found} == {}
    assert len(tests) > 40


def test_a_good_message_does_none_of_this() -> None:
    """The sealing above is right: an empty INFORMATIONAL gets an empty response."""
    pair = Pair()
    id = pair.up()
    sealer, since = Sealer(pair), len(pair.sent)
    message = sealer.seal(WEST, bytes(18) + bytes([37, INITIATOR]) + bytes(8), 2)
    received = framed(message)
    pair.run(EAST, pair.east.endpoint.octets_received(id, received, pair.now))
    (answer,) = sent_by(pair, EAST, since)
    assert sealer.open(EAST, answer) == []
    assert pair.east.endpoint.has_sessions


@pytest.mark.parametrize("reaction", ["drop", "answer"])
def test_a_wrong_reaction_is_found(reaction: str) -> None:
    """A test that asks for something else fails."""
    test = next(t for t in refused(is_protected=False) if t["reaction"] == reaction)
    if reaction == "answer":
        assert clear_problem(test | {"reaction": "drop"}) is not None
        assert clear_problem(test | {"answer": {"notifyType": 1, "data": ""}})
    else:
        with pytest.raises(ValueError, match="unpack"):
            clear_problem(test | {"reaction": "answer"})
