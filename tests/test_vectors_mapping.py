"""The file ``connection_mapping_test.json`` against ``cryptography`` and a small model.

Every octet is opened here with plain primitives, keys of rekeys included, and where a
session has to be is worked out once more from nothing but the rule of RFC 9329 §6.1.
"""

import copy
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iketcp.endpoint import Endpoint
from iketcp.endpoint.resume import ChildSaState, install_session
from iketcp.mapping import MappingPolicy
from iketcp.vectorlib import check_mapping
from iketcp.vectorlib.envelope import Json
from vector_support import document, grouped

NAME, KIND = "connection_mapping", "ConnectionMapping"
CASES = [
    pytest.param(group, test, id=f"{test['tcId']} {test['comment']}")
    for group, test in grouped(NAME, KIND)
]
MEMBERS = (
    "sent",
    "closed",
    "reconnect",
    "delivered",
    "dropped",
    "open",
    "sessions",
)


NOBODY = -1
"""The session of an IKE SA whose initiator has not shown who it is."""


@dataclass
class ChildKeys:
    """What opens the ESP packets of a Child SA, and which of them were seen."""

    session: int
    key: bytes
    seen: set[int] = field(default_factory=set)

    def is_fresh(self, number: int) -> bool:
        """RFC 4303 §3.4.3, with the window of all scenarios."""
        return number not in self.seen and number > max(self.seen, default=0) - 64


@dataclass
class IkeKeys:
    """What opens the messages of an IKE SA, and where it stands."""

    session: int
    sk_d: bytes
    keys: dict[bool, bytes]
    """By whether the original initiator sent the message."""
    is_original_initiator: bool
    expected: int
    asked: int | None = None
    pieces: dict[int, int] = field(default_factory=dict)
    """Of a message in fragments, by their numbers: when each came, in seconds."""
    total: int = 0
    """Of those fragments."""
    offers: dict[bool, list[Json]] = field(default_factory=dict)


def prf_plus(key: bytes, seed: bytes, size: int) -> bytes:
    """RFC 7296 §2.13."""
    out = block = b""
    for count in range(1, 256):
        block = hmac.digest(key, block + seed + bytes([count]), "sha256")
        out += block
        if len(out) >= size:
            break
    return out[:size]


def payload(payloads: list[Json], kind: int) -> bytes:
    """Find the body of a payload."""
    return next(bytes.fromhex(p["body"]) for p in payloads if p["type"] == kind)


def chain(first: int, octets: bytes) -> list[Json]:
    """Take payloads apart. RFC 7296 §3.2."""
    found = []
    while first:
        size = int.from_bytes(octets[2:4], "big")
        found.append({"type": first, "body": octets[4:size].hex()})
        first, octets = octets[0], octets[size:]
    assert octets == b""
    return found


class Reader:
    """Opens all that a scenario says passes on its streams."""

    def __init__(self, test: Json) -> None:
        self.draws = {d["label"]: bytes.fromhex(d["octets"]) for d in test["draws"]}
        self.ike: dict[str, IkeKeys] = {}
        self.inbound: dict[str, ChildKeys] = {}
        self.outbound: dict[str, ChildKeys] = {}
        self.sent_before: list[str] = []
        self.private = iter(
            bytes.fromhex(d["octets"])
            for d in test["draws"]
            if d["label"] == "ike_sa_init.ke.private"
        )
        self.waiting: list[tuple[bytes, Json, bool]] = []
        self.now = 0
        self.patience = test["policy"]["requestTimeoutSeconds"]
        for number, session in enumerate(test["sessions"]):
            sa, child = session["ikeSa"], session["childSa"]
            keys = {
                True: bytes.fromhex(sa["skEi"]),
                False: bytes.fromhex(sa["skEr"]),
            }
            self.ike[sa["spiI"] + sa["spiR"]] = IkeKeys(
                number,
                bytes.fromhex(sa["skD"]),
                keys,
                sa["isOriginalInitiator"],
                sa["expectedMessageId"],
            )
            seen = set(range(1, child["highestReceived"] + 1))
            key_in, key_out = child["encryptionKeyIn"], child["encryptionKeyOut"]
            self.inbound[child["spiIn"]] = ChildKeys(
                number, bytes.fromhex(key_in), seen
            )
            sent = set(range(1, child["lastSent"] + 1))
            self.outbound[child["spiOut"]] = ChildKeys(
                number, bytes.fromhex(key_out), sent
            )
            message = bytes.fromhex(sa["lastResponse"])
            self.sent_before.append((len(message) + 6).to_bytes(2, "big").hex())
            self.sent_before[-1] += "00000000" + message.hex()
            assert message[20:24] == (sa["expectedMessageId"] - 1).to_bytes(4, "big")
            iv = int.from_bytes(message[32:40], "big")
            assert iv == sa["lastIv"]

    def check(self, stream: bytes, contents: list[Json], is_ours: bool) -> None:
        """Compare octets with what the file says they are."""
        for content in contents:
            piece, stream = stream[: content["size"]], stream[content["size"] :]
            assert len(piece) == content["size"]
            if content["kind"] not in ("octets", "prefix"):
                assert int.from_bytes(piece[:2], "big") == len(piece)
            match content["kind"]:
                case "prefix":
                    assert piece == b"IKETCP"
                case "keepalive":
                    assert piece == b"\0\3\xff"
                case "empty":
                    assert piece == b"\0\2"
                case "esp":
                    self.check_esp(piece[2:], content, is_ours)
                case "ike":
                    assert piece[2:6] == bytes(4)
                    self.check_ike(piece[6:], content, is_ours)
                case "fragment":
                    assert not is_ours
                    assert piece[2:6] == bytes(4)
                    self.check_fragment(piece[6:], content)
        assert stream == b""

    def check_esp(self, packet: bytes, content: Json, is_ours: bool) -> None:
        """RFC 4303 §2, RFC 4106 §3: header, sequence number, trailer."""
        assert packet[:4].hex() == content["spi"]
        assert int.from_bytes(packet[4:8], "big") == content["sequence"]
        table = self.outbound if is_ours else self.inbound
        keys = table.get(content["spi"])
        if keys is None and content["isAuthentic"]:
            self.waiting.append((packet, content, is_ours))  # its keys come later
            return
        plaintext = None
        if keys is not None:
            nonce = keys.key[32:] + packet[8:16]
            try:
                plaintext = AESGCM(keys.key[:32]).decrypt(
                    nonce, packet[16:], packet[:8]
                )
            except InvalidTag:
                plaintext = None
        assert (plaintext is not None) == content["isAuthentic"]
        if plaintext is None:
            assert content["inner"] == ""
            return
        padding = plaintext[-2]
        assert plaintext[-1] == content["nextHeader"]
        assert plaintext[: len(plaintext) - 2 - padding].hex() == content["inner"]
        assert len(plaintext) % 4 == 0
        if is_ours and keys is not None:
            assert content["sequence"] == max(keys.seen, default=0) + 1
            keys.seen.add(content["sequence"])

    def check_header(self, message: bytes, content: Json) -> None:
        """RFC 7296 §3.1."""
        assert message[:8].hex() == content["spiI"]
        assert message[8:16].hex() == content["spiR"]
        assert message[18] == content["exchange"]
        assert bool(message[19] & 8) == content["isFromOriginalInitiator"]
        assert bool(message[19] & 32) == content["isResponse"]
        assert int.from_bytes(message[20:24], "big") == content["messageId"]
        assert int.from_bytes(message[24:28], "big") == len(message)

    def decrypted(self, message: bytes, content: Json, at: int) -> bytes | None:
        """RFC 5282 §3, §5: open what stands from ``at``, which is the IV."""
        sa = self.ike[content["spiI"] + content["spiR"]]
        key = sa.keys[content["isFromOriginalInitiator"]]
        iv, sealed = message[at : at + 8], message[at + 8 :]
        try:
            return AESGCM(key[:32]).decrypt(key[32:] + iv, sealed, message[:at])
        except InvalidTag:
            return None

    def check_fragment(self, message: bytes, content: Json) -> None:
        """RFC 7383 §2.5: header, the two numbers, and the piece inside."""
        self.check_header(message, content)
        assert message[16] == 53
        assert message[28] == content["firstInnerPayload"]
        assert int.from_bytes(message[32:34], "big") == content["number"]
        assert int.from_bytes(message[34:36], "big") == content["total"]
        plaintext = self.decrypted(message, content, 36)
        assert (plaintext is not None) == content["isAuthentic"]
        piece = b"" if plaintext is None else plaintext[: -1 - plaintext[-1]]
        assert piece.hex() == content["piece"]

    def check_ike(self, message: bytes, content: Json, is_ours: bool) -> None:
        """RFC 7296 §3.14: header, and the payloads inside."""
        self.check_header(message, content)
        if content["isAuthentic"] is None:
            assert chain(message[16], message[28:]) == content["payloads"]
            self.note_first(content, is_ours)
            return
        sa = self.ike[content["spiI"] + content["spiR"]]
        plaintext = self.decrypted(message, content, 32)
        assert (plaintext is not None) == content["isAuthentic"]
        if plaintext is None:
            assert content["payloads"] == []
            return
        inner = plaintext[: -1 - plaintext[-1]]
        if content["payloads"] or not inner:
            assert chain(message[28], inner) == content["payloads"]
        is_from_initiator = content["isFromOriginalInitiator"]
        if is_ours:
            assert is_from_initiator == sa.is_original_initiator
        if is_ours and not content["isResponse"]:
            sa.asked = content["messageId"]
        if message[18] == 36:
            self.note_rekey(sa, content, is_ours)

    def note_first(self, content: Json, is_ours: bool) -> None:
        """RFC 7296 §2.14: derive what IKE_SA_INIT makes, where we have answered it."""
        kinds = {p["type"] for p in content["payloads"]}
        if content["exchange"] != 34 or 34 not in kinds:
            return
        if not content["isResponse"]:
            self.first = content["payloads"]
            return
        if not is_ours or content["spiI"] + content["spiR"] in self.ike:
            return
        request, response = self.first, content["payloads"]
        own = next(
            own
            for own in map(X25519PrivateKey.from_private_bytes, self.private)
            if own.public_key().public_bytes_raw() == payload(response, 34)[4:]
        )
        peer = X25519PublicKey.from_public_bytes(payload(request, 34)[4:])
        nonces = payload(request, 40) + payload(response, 40)
        seed = hmac.digest(nonces, own.exchange(peer), "sha256")
        spis = content["spiI"] + content["spiR"]
        stream = prf_plus(seed, nonces + bytes.fromhex(spis), 168)
        keys = {True: stream[32:68], False: stream[68:104]}
        self.ike[spis] = IkeKeys(NOBODY, stream[:32], keys, False, 1)

    def note_rekey(self, sa: IkeKeys, content: Json, is_ours: bool) -> None:
        """RFC 7296 §2.17, §2.18: derive what a rekey makes, once both have spoken."""
        sa.offers[content["isResponse"]] = content["payloads"]
        if not content["isResponse"]:
            sa.offers.pop(True, None)
            return
        request, response = sa.offers[False], sa.offers[True]
        if response[0]["type"] == 41:  # refused
            return
        nonces = payload(request, 40) + payload(response, 40)
        offers = payload(request, 33), payload(response, 33)
        is_our_exchange = is_ours != content["isResponse"]
        ours, theirs = offers if is_our_exchange else offers[::-1]
        if offers[0][5] == 3:
            keys = prf_plus(sa.sk_d, nonces, 72)
            from_us = keys[:36] if is_our_exchange else keys[36:]
            from_them = keys[36:] if is_our_exchange else keys[:36]
            new = ChildKeys(sa.session, from_them)
            self.inbound.setdefault(ours[8:12].hex(), new)
            spi_out = theirs[8:12].hex()
            self.outbound.setdefault(spi_out, ChildKeys(sa.session, from_us))
            waiting, self.waiting = self.waiting, []
            for packet, early, was_ours in waiting:
                self.check_esp(packet, early, was_ours)
            return
        publics = payload(request, 34)[4:], payload(response, 34)[4:]
        private = self.draws["rekey_ike_sa.ke.private"]
        mine, peer = publics if is_our_exchange else publics[::-1]
        own = X25519PrivateKey.from_private_bytes(private)
        assert own.public_key().public_bytes_raw() == mine
        secret = own.exchange(X25519PublicKey.from_public_bytes(peer))
        seed = hmac.digest(sa.sk_d, secret + nonces, "sha256")
        spis = offers[0][8:16] + offers[1][8:16]
        stream = prf_plus(seed, nonces + spis, 168)
        made = {True: stream[32:68], False: stream[68:104]}
        self.ike.setdefault(
            spis.hex(), IkeKeys(sa.session, stream[:32], made, is_our_exchange, 0)
        )


@pytest.mark.parametrize(("group", "test"), CASES)
def test_octets_are_what_the_file_says(group: Json, test: Json) -> None:
    """RFC 9329 §3, RFC 7296 §3.14, RFC 4303 §2: everything opens with the given keys.

    What is exact was sent before, octet for octet, and nothing else was.
    """
    reader = Reader(test)
    for step in test["steps"]:
        expect = step["expect"]
        if step["event"] == "receive":
            reader.check(bytes.fromhex(step["octets"]), step["content"], False)
        for one in expect["sent"]:
            is_known = one["octets"] in reader.sent_before
            is_made_anew = {"Cookie", "Puzzle"} & set(test["flags"])
            if one["content"]["kind"] == "prefix" or is_made_anew:
                assert not one["isExact"]
            else:
                assert one["isExact"] == is_known, step
            reader.check(bytes.fromhex(one["octets"]), [one["content"]], True)
            reader.sent_before.append(one["octets"])
    assert reader.waiting == []


def is_complete(reader: Reader, sa: IkeKeys, content: Json) -> bool:
    """Note a fragment. RFC 7383 §2.6: all of one set, none given up meanwhile."""
    number, total = content["number"], content["total"]
    if not 1 <= number <= total or total < sa.total:
        return False
    if any(came + reader.patience <= reader.now for came in sa.pieces.values()):
        sa.pieces.clear()
    if total != sa.total:
        sa.pieces.clear()
    sa.total = total
    sa.pieces[number] = reader.now
    if len(sa.pieces) < total:
        return False
    sa.pieces.clear()
    sa.total = 0
    return True


def heard(reader: Reader, step: Json, owner: dict[int, int]) -> Iterator[int]:
    """Yield each session of which a step brings a valid message. RFC 9329 §6.1."""
    id = step["connection"]
    for content in step["content"]:
        kind = content["kind"]
        if kind not in ("esp", "ike", "fragment") or not content["isAuthentic"]:
            continue
        if kind == "esp":
            child = reader.inbound.get(content["spi"])
            if child is None:
                continue
            number = content["sequence"]
            if owner.get(id, child.session) != child.session:
                continue
            if child.is_fresh(number):
                child.seen.add(number)
                yield child.session
            continue
        sa = reader.ike.get(content["spiI"] + content["spiR"])
        is_reflected = (
            sa is not None
            and content["isFromOriginalInitiator"] == sa.is_original_initiator
        )
        if (
            sa is None
            or sa.session == NOBODY
            or is_reflected
            or owner.get(id, sa.session) != sa.session
        ):
            continue
        awaited = sa.asked if content["isResponse"] else sa.expected
        if content["messageId"] != awaited:
            continue
        if kind == "fragment" and not is_complete(reader, sa, content):
            continue
        if content["isResponse"]:
            sa.asked = None
        else:
            sa.expected += 1
        yield sa.session


@pytest.mark.parametrize(
    ("group", "test"), [c for c in CASES if not c.values[0]["isTcpOriginator"]]
)
def test_sessions_are_where_the_rule_puts_them(group: Json, test: Json) -> None:
    """[9329-6.1-last-valid]: worked out again from what arrives, and nothing else."""
    reader = Reader(test)
    places: dict[int, list[int]] = {n: [] for n in range(len(test["sessions"]))}
    streams: dict[int, bytes] = {}
    for step in test["steps"]:
        expect = step["expect"]
        reader.now += step.get("seconds", 0)
        if step["event"] == "receive":
            id, octets = step["connection"], bytes.fromhex(step["octets"])
            streams[id] = streams.get(id, b"") + octets
            owner = {c: s for s, taken in places.items() for c in taken}
            is_begun = streams[id].startswith(b"IKETCP")
            for session in heard(reader, step, owner) if is_begun else ():
                if session in places:
                    places[session] = [*(c for c in places[session] if c != id), id]
            reader.check(octets, step["content"], False)
        for one in expect["sent"]:
            reader.check(bytes.fromhex(one["octets"]), [one["content"]], True)
        alive = {
            reader.ike[sa["spiI"] + sa["spiR"]].session: state["current"]
            for state in expect["sessions"]
            for sa in state["ikeSas"]
            if sa["spiI"] + sa["spiR"] in reader.ike
            and reader.ike[sa["spiI"] + sa["spiR"]].session != NOBODY
        }
        places = {
            session: [c for c in taken if c in expect["open"]]
            for session, taken in places.items()
            if session in alive
        }
        for session, current in alive.items():
            assert current == (places[session] or [None])[-1], step


@pytest.mark.parametrize(("group", "test"), CASES)
def test_account_of_connections_and_packets(group: Json, test: Json) -> None:
    """What opens is open until it closes; what is delivered came inside ESP."""
    there: set[int] = set()
    arrived: list[str] = []
    for step in test["steps"]:
        expect = step["expect"]
        if step["event"] == "open":
            there.add(step["connection"])
            versions = {
                ip_address(step[e]["address"]).version for e in ("local", "remote")
            }
            assert len(versions) == 1
        if step["event"] == "lost":
            there.remove(step["connection"])
        for content in step.get("content", []):
            if content["kind"] == "esp" and content["isAuthentic"]:
                arrived.append(content["inner"])
        assert set(expect["closed"]) <= there
        there -= set(expect["closed"])
        assert expect["open"] == sorted(there)
        assert all(s["current"] in {None, *there} for s in expect["sessions"])
        if "Cut" not in test["flags"]:
            assert set(expect["delivered"]) <= set(arrived)


def test_ours_agrees() -> None:
    """Our endpoint does what every scenario asks."""
    assert check_mapping.problems(document(NAME)) == []


def spoiled(member: str, value: list[Json] | Json | None) -> object:
    """Change one expectation to another that is well formed."""
    if member == "reconnect":
        if value is None:
            return {"least": 0, "most": 0}
        assert isinstance(value, dict)
        return {"least": value["most"] + 1, "most": value["most"] + 2}
    assert isinstance(value, list)
    if member == "sessions":
        changed = copy.deepcopy(value)
        if changed:
            changed[0]["current"] = 99
            return changed
        spis = {"spiI": "00" * 8, "spiR": "00" * 8}
        return [{"current": None, "ikeSas": [spis], "childSas": []}]
    if value:
        return value[:-1]
    return {
        "sent": [{"connection": 1, "octets": "00"}],
        "closed": [99],
        "delivered": ["00"],
        "dropped": [{"reason": "replay", "count": 1}],
        "open": [99],
    }[member]


@pytest.mark.parametrize(("group", "test"), CASES)
def test_the_runner_notices(group: Json, test: Json) -> None:
    """One expectation changed, in any member and any part of a scenario: it fails."""
    steps = test["steps"]
    for at, member in enumerate(MEMBERS):
        telling = [n for n, s in enumerate(steps) if s["expect"][member]]
        number = telling[-1] if telling else at % len(steps)
        wrong = copy.deepcopy(test)
        expect = wrong["steps"][number]["expect"]
        expect[member] = spoiled(member, expect[member])
        (problem,) = check_mapping.differences(group, wrong)
        assert f"step {number + 1}: {member}:" in problem


@pytest.mark.parametrize(("group", "test"), CASES)
def test_the_runner_compares_octets(group: Json, test: Json) -> None:
    """One octet changed in any message that is to be seen: it fails."""
    for number, step in enumerate(test["steps"]):
        for at in range(len(step["expect"]["sent"])):
            wrong = copy.deepcopy(test)
            one = wrong["steps"][number]["expect"]["sent"][at]
            last = "0" if one["octets"].endswith("1") else "1"
            one["octets"] = one["octets"][:-1] + last
            (problem,) = check_mapping.differences(group, wrong)
            assert f"step {number + 1}: sent:" in problem


def test_draws_are_exactly_those_of_the_scenario() -> None:
    """A draw too few or too many is told."""
    group, test = next(c.values for c in CASES if c.values[1]["draws"])
    assert isinstance(test, dict)
    fewer = {**test, "draws": test["draws"][1:]}
    (problem,) = check_mapping.differences(group, fewer)
    assert "no draw of" in problem
    extra = {"label": "cookie.secret", "octets": "00"}
    more = {**test, "draws": [*test["draws"], extra]}
    (problem,) = check_mapping.differences(group, more)
    assert "nobody draws cookie.secret" in problem


RULES = """
    9329-6.1-one 9329-5-all 9329-6.1-send-one 9329-6.1-last-valid 9329-6.1-valid-ike
    9329-6.1-valid-esp 9329-6.1-reply-path 9329-6.1-both 9329-6.1-extraneous
    9329-6.1-share 9329-6.1-rekey-share 9329-6.1-reuse 9329-6.1-recognise
    9329-6.1-address 9329-1.2-originator 9329-6.1-reestablish 9329-6.1-keep-state
    9329-6.1-resume-msg 9329-6.1-partial 9329-6.1-delete 9329-6.1-close
    9329-6.1-linger 9329-6.1-corrupt 9329-6.1-few-unknown 9329-6.1-syntax
    9329-10-state 9329-3.1-length 9329-6.1-noprefix 9329-6.1-wait 9329-6.1-idle
    9329-6.1-reprefix 9329-4-originator 9329-6.2-no-retransmit 9329-6.2-reconnect
    9329-6.2-responder 9329-6.3-close 9329-6.3-port 9329-6.4-stay 9329-6.4-act
    9329-6.6-drop 9329-6.6-send 9329-6.7-liveness
"""


@pytest.mark.parametrize("rule", RULES.split())
def test_every_rule_of_the_mapping_has_a_scenario(rule: str) -> None:
    """The rules that show where connections and sessions meet."""
    assert any(rule in c.values[1]["requirement"] for c in CASES)


def test_there_is_no_session_without_a_policy() -> None:
    """A Child SA whose name the policy does not know cannot be installed."""
    group, test = CASES[0].values
    assert isinstance(group, dict)
    assert isinstance(test, dict)
    run = check_mapping.Run(group, test)
    assert isinstance(run.endpoint, Endpoint)
    ike, esp = check_mapping.suites_of(group)
    session = test["sessions"][0]
    child = check_mapping.child_state(session["childSa"], esp)
    policy = check_mapping.ike_policy(group, test)
    empty = type(policy)(policy.proposals, policy.local_identity, None, {}, children=())
    endpoint = Endpoint(empty, MappingPolicy(), run.draws)
    assert isinstance(child, ChildSaState)
    with pytest.raises(KeyError, match=check_mapping.CHILD):
        install_session(
            endpoint,
            check_mapping.ike_state(session["ikeSa"], ike),
            [child],
            False,
            check_mapping.path_of(test["steps"][0]),
            0.0,
        )
