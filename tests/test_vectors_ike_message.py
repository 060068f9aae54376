"""The message vectors, checked by readers that are not the codec they are made for.

Source: RFC 7296 §3, RFC 7296 §2.21
"""

import copy
import logging
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from captures import DAMAGE, damage_in, fields_of, require_tshark, write_packets
from ike_reader import Refused, read
from iketcp import registry
from iketcp.vectorlib import check_messages, envelope, messages

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.contrib import ikev2  # noqa: E402
from scapy.layers.inet import IP, UDP  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402

Json = dict[str, Any]

VECTORS = Path(__file__).parent.parent / "vectors"


@cache
def document() -> Json:
    """Load the file; callers must not change it."""
    return envelope.load_file(VECTORS / f"{messages.NAME}_test.json")


def each(*results: str) -> Iterator[tuple[Json, bool]]:
    """Every test with one of the results, and whether it was protected."""
    for group in document()["testGroups"]:
        for test in group["tests"]:
            if test["result"] in results:
                yield test, group["protected"]


def readable() -> Iterator[tuple[Json, bool]]:
    """Every test that has fields."""
    for test, is_protected in each("valid", "acceptable"):
        if test["fields"] is not None:
            yield test, is_protected


def types_of(test: Json) -> list[int]:
    """Payload types of a test."""
    return [payload["type"] for payload in test["fields"]["payloads"]]


# --- our codec ----------------------------------------------------------------------


def test_codec_passes_the_message_vectors() -> None:
    """Octets to fields and fields to octets, RFC 7296 §3."""
    assert check_messages.problems(document()) == []


@pytest.mark.parametrize(
    ("result", "members", "problem"),
    [
        ("valid", {"octets": "00"}, "error is MalformedMessage, not None"),
        ("valid", {"encoded": "00"}, "encoded as"),
        ("valid", {"fields": {"header": {}, "payloads": []}}, "fields is"),
        ("invalid", {"error": "Other"}, "error is"),
        ("invalid", {"reaction": "end-ike-sa"}, "reaction is"),
        ("invalid", {"answer": {"notifyType": 1, "data": ""}}, "answer is"),
    ],
)
def test_check_finds_what_differs(result: str, members: Json, problem: str) -> None:
    """A test that asks for something else is reported with its number."""
    test, is_protected = next(each(result))
    changed = copy.deepcopy(test) | members
    if "fields" in members:
        changed["encoded"] = None
    group = {"protected": is_protected, "tests": [changed]}
    found = check_messages.problems({"testGroups": [group]})
    assert any(problem in each for each in found)
    assert all(f"tcId {test['tcId']} " in each for each in found)


def test_check_knows_every_payload() -> None:
    """Something that is no payload of a message is no silent success."""
    with pytest.raises(TypeError, match="no payload"):
        check_messages._members(None)  # type: ignore[arg-type]


# --- a reader written from the RFC --------------------------------------------------


def test_second_reader_agrees_on_what_is_read() -> None:
    """Every valid and every acceptable message has these fields, RFC 7296 §3."""
    for test, is_protected in readable():
        found = read(bytes.fromhex(test["octets"]), is_protected)
        assert found == test["fields"], test["comment"]


def test_second_reader_agrees_on_what_is_refused() -> None:
    """Every invalid message is refused for the same kind of error, RFC 7296 §3."""
    for test, is_protected in each("invalid"):
        with pytest.raises(Refused) as refused:
            read(bytes.fromhex(test["octets"]), is_protected)
        assert refused.value.args[0] == test["error"], test["comment"]
        if test["error"] == "UnsupportedCriticalPayload" and test["answer"]:
            named = bytes([refused.value.args[1]]).hex()
            assert test["answer"] == {"notifyType": 1, "data": named}


def test_what_we_refuse_alone_is_marked_open() -> None:
    """Whatever a lenient reader reads and we refuse is ``acceptable``."""
    for test, is_protected in each("acceptable"):
        if test["error"] and "Version" not in test["flags"]:
            assert "Open" in test["flags"]
            assert read(bytes.fromhex(test["octets"]), is_protected)["payloads"]


def test_encoded_octets_say_the_same() -> None:
    """What a sender writes has the same fields, and no reserved bit."""
    count = 0
    for test, is_protected in readable():
        if test["encoded"] is None:
            continue
        assert read(bytes.fromhex(test["encoded"]), is_protected) == test["fields"]
        if test["encoded"] != test["octets"]:
            reasons = {"ReservedBits", "CriticalKnown", "Version"}
            assert reasons & set(test["flags"]), test["comment"]
            count += 1
    assert count > 80


# --- reactions ------------------------------------------------------------------------


def test_reactions_follow_the_rules() -> None:
    """No answer to a response, none but to a first request in the clear (§2.21)."""
    for test, is_protected in each("invalid", "acceptable"):
        if test["error"] is None:
            continue
        octets, reaction = bytes.fromhex(test["octets"]), test["reaction"]
        is_whole = len(octets) >= 28 and len(octets) == int.from_bytes(octets[24:28])
        is_response = is_whole and bool(octets[19] & 0x20)
        if not is_whole or is_response:
            assert not reaction.startswith("answer"), test["comment"]
        if not is_protected:
            assert reaction in ("drop", "answer")
            if reaction == "answer" and test["error"] != "InvalidMajorVersion":
                # IKE_SA_INIT, no SPIr, Message ID 0
                assert (octets[18], octets[8:16]) == (34, bytes(8))
                assert octets[20:24] == bytes(4)
        elif is_response:
            assert reaction == "end-ike-sa"
        elif test["error"] == "MalformedMessage":
            assert reaction == "answer-and-end-ike-sa"
            assert test["answer"] == {"notifyType": 7, "data": ""}


def test_every_reaction_occurs() -> None:
    """Each kind of reaction has its tests, in each group where it can be."""
    found = {(p, test["reaction"]) for test, p in each("invalid")}
    assert found == {
        (False, "drop"),
        (False, "answer"),
        (True, "answer"),
        (True, "answer-and-end-ike-sa"),
        (True, "end-ike-sa"),
    }


# --- coverage -------------------------------------------------------------------------


def numbers(name: str, tree: Any) -> set[int]:
    """Collect every value of a member, however deep."""
    if isinstance(tree, list):
        return {found for each in tree for found in numbers(name, each)}
    if not isinstance(tree, dict):
        return set()
    here = {tree[name]} if name in tree else set()
    return here.union(*(numbers(name, each) for each in tree.values()))


@pytest.mark.parametrize(
    ("table", "type", "member"),
    [
        (registry.IdType, (35, 36), "idType"),
        (registry.AuthMethod, (39,), "method"),
        (registry.NotifyType, (41,), "notifyType"),
        (registry.TsType, (44, 45), "tsType"),
        (registry.ConfigurationType, (47,), "cfgType"),
        (registry.ConfigurationAttributeType, (47,), "attributeType"),
        (registry.KeyExchangeMethod, (34,), "method"),
        (registry.TransformType, (33,), "transformType"),
        (registry.ProtocolId, (33, 41, 42), "protocolId"),
    ],
)
def test_every_number_we_know_occurs(
    table: type[IntEnum], type: tuple[int, ...], member: str
) -> None:
    """Each member of the registry's tables is in a message that is read."""
    found: set[int] = set()
    for test, _ in readable():
        payloads = [p for p in test["fields"]["payloads"] if p["type"] in type]
        found |= numbers(member, payloads)
    assert {int(each) for each in table} - found == set()


def test_every_payload_and_exchange_we_know_occurs() -> None:
    """Payload types 33 to 48, 53 and 54; each exchange as request and as response."""
    types = {0}.union(*(types_of(test) for test, _ in readable()))
    exchanges = set()
    for test, _ in each("valid"):
        head = test["fields"]["header"]
        exchanges.add((head["exchangeType"], head["response"]))
    assert {int(each) for each in registry.PayloadType} <= types
    wanted = {(int(e), r) for e in registry.ExchangeType for r in (False, True)}
    assert wanted <= exchanges


def test_every_transform_we_know_occurs() -> None:
    """Each algorithm of the registry is offered in some message."""
    found = set()
    for test, _ in each("valid"):
        for payload in test["fields"]["payloads"]:
            for proposal in payload.get("proposals", []):
                for offer in proposal["transforms"]:
                    found.add((offer["transformType"], offer["transformId"]))
    tables = {
        1: registry.EncryptionAlgorithm,
        2: registry.PseudorandomFunction,
        3: registry.IntegrityAlgorithm,
        4: registry.KeyExchangeMethod,
        5: registry.ExtendedSequenceNumbers,
    }
    wanted = {(kind, int(id)) for kind, table in tables.items() for id in table}
    assert wanted - found == set()


def test_messages_are_cut_at_each_octet() -> None:
    """Two messages are there cut at every octet behind the header."""
    sizes = {False: set(), True: set()}  # type: dict[bool, set[int]]
    for test, is_protected in each("invalid"):
        if " cut to " in test["comment"]:
            sizes[is_protected].add(len(test["octets"]) // 2)
    for found in sizes.values():
        assert found == set(range(28, max(found) + 1))
        assert len(found) > 100


# --- scapy ----------------------------------------------------------------------------


def layers(message: Packet) -> list[Packet]:
    """Payloads that scapy found."""
    found = []
    layer = message.payload
    while layer and not isinstance(layer, Raw):
        found.append(layer)
        layer = layer.payload
    return found


def selectors_by_scapy(payload: Packet) -> Json:
    """Selectors of addresses, in the order of the file."""
    found = []
    for each in payload.traffic_selector:
        if each.TS_type in (7, 8):
            octets = bytes(each)
            middle = 8 + (len(octets) - 8) // 2
            found.append(
                {
                    "tsType": each.TS_type,
                    "ipProtocolId": each.IP_protocol_ID,
                    "startPort": each.start_port,
                    "endPort": each.end_port,
                    "startingAddress": octets[8:middle].hex(),
                    "endingAddress": octets[middle : 2 * middle - 8].hex(),
                }
            )
    return {"selectors": found}


def proposals_by_scapy(payload: Packet) -> Iterator[Json]:
    """Proposals with types and numbers of their transforms."""
    proposal = payload.prop
    while isinstance(proposal, ikev2.IKEv2_Proposal):
        found = []
        transform = proposal.trans
        while isinstance(transform, ikev2.IKEv2_Transform):
            found.append((transform.transform_type, transform.transform_id))
            transform = transform.payload
        yield {
            "proposalNum": proposal.proposal,
            "protocolId": proposal.proto,
            "spi": bytes(proposal.SPI).hex() if proposal.SPIsize else "",
            "transforms": found,
        }
        proposal = proposal.payload


SCAPY_FIELDS: dict[int, Callable[[Packet], Json]] = {
    34: lambda p: {"method": p.group, "publicValue": p.ke.hex()},
    39: lambda p: {"method": p.auth_type, "data": bytes(p.load).hex()},
    40: lambda p: {"nonce": p.nonce.hex()},
    41: lambda p: {
        "notifyType": p.type,
        "spi": p.SPI.hex(),
        "data": p.notify.hex(),
    },
    42: lambda p: {"protocolId": p.proto, "spis": [spi.hex() for spi in p.SPI]},
    43: lambda p: {"vendorId": p.vendorID.hex()},
    44: selectors_by_scapy,
    45: selectors_by_scapy,
    33: lambda p: {"proposals": list(proposals_by_scapy(p))},
}


def pruned(payload: Json) -> Json:
    """The part of a payload's fields that scapy is asked for."""
    if payload["type"] == 33:
        return {
            "proposals": [
                each
                | {
                    "transforms": [
                        (t["transformType"], t["transformId"])
                        for t in each["transforms"]
                    ]
                }
                for each in payload["proposals"]
            ]
        }
    left_out = {"type", "otherSelectors"}
    if payload["type"] == 41:
        left_out.add("protocolId")
    return {name: each for name, each in payload.items() if name not in left_out}


def is_beyond_scapy(test: Json) -> bool:
    """Whether scapy stops early.

    It knows one attribute to a transform, in TV format; it takes every selector for one
    of addresses, and follows no more than a hundred structures.
    """
    payloads = test["fields"]["payloads"]
    has_attribute = any(
        transform["otherAttributes"]
        for payload in payloads
        for proposal in payload.get("proposals", [])
        for transform in proposal["transforms"]
    )
    has_other = any(payload.get("otherSelectors") for payload in payloads)
    return has_other or has_attribute or "Longest" in test["flags"]


def test_scapy_reads_the_same_fields() -> None:
    """Header, payload types and fields, wherever scapy knows the payload."""
    compared: dict[int, int] = dict.fromkeys(SCAPY_FIELDS, 0)
    for test, _ in each("valid"):
        message = ikev2.IKEv2(bytes.fromhex(test["octets"]))
        head = test["fields"]["header"]
        assert message.exch_type == head["exchangeType"]
        assert message.id == head["messageId"]
        assert bytes(message.init_SPI).hex() == head["spiI"]
        assert bytes(message.resp_SPI).hex() == head["spiR"]
        assert message.length == head["length"]
        if is_beyond_scapy(test):
            continue
        found = layers(message)
        assert len(found) == len(types_of(test)), test["comment"]
        for payload, layer in zip(test["fields"]["payloads"], found, strict=True):
            kind = payload["type"]
            if kind in SCAPY_FIELDS:
                assert SCAPY_FIELDS[kind](layer) == pruned(payload), test["comment"]
                compared[kind] += 1
    assert min(compared.values()) > 5
    assert sum(compared.values()) > 500


# --- tshark ---------------------------------------------------------------------------


def is_beyond_tshark(test: Json) -> bool:
    """Whether tshark reads something else into a message than RFC 7296 does.

    It goes a level deeper with every structure, and has a limit; it takes payload type
    1 for IKEv1's SA; it looks for a certificate where encoding 13 has a hash and a
    URL and encoding 15 a raw public key; and it fails over an identity without data,
    which ID_NULL is.
    """
    payloads = test["fields"]["payloads"]
    return "Longest" in test["flags"] or any(
        payload["type"] == 1
        or payload.get("encoding") in (13, 15)
        or payload.get("idType") == 13
        for payload in payloads
    )


def test_tshark_reads_the_same_payloads(tmp_path: Path) -> None:
    """One capture of all valid messages: same header, same payloads, no damage."""
    require_tshark()
    tests = [test for test, _ in each("valid") if not is_beyond_tshark(test)]
    assert len(tests) > 550
    packets = [
        IP(src="192.0.2.1", dst="192.0.2.2")
        / UDP(sport=500, dport=500)
        / Raw(bytes.fromhex(test["octets"]))
        for test in tests
    ]
    path = tmp_path / "messages.pcap"
    write_packets(path, packets)
    names = ("exchangetype", "messageid", "flags", "typepayload", "ispi", "rspi")
    fields = [f"isakmp.{name}" for name in names]
    seen = fields_of(tmp_path, path, *fields, *DAMAGE)
    assert damage_in(seen) == []
    for test, packet in zip(tests, seen, strict=True):
        head = test["fields"]["header"]
        assert int(packet["isakmp.exchangetype"][0]) == head["exchangeType"]
        assert int(packet["isakmp.messageid"][0], 16) == head["messageId"]
        types = [int(kind) for kind in packet.get("isakmp.typepayload", [])]
        # proposals and transforms are payloads to tshark
        assert [kind for kind in types if kind not in (2, 3)] == types_of(test)
        assert packet["isakmp.ispi"] == [head["spiI"]]
        assert packet["isakmp.rspi"] == [head["spiR"]]
