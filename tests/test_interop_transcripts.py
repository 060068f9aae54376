"""Scapy and Wireshark read every message of the recorded sessions.

The sessions are those of ``exchange_transcripts_test.json``, octets of our own
endpoint; what is said about them here comes out of scapy, and out of tshark, which is
given the keys and nothing else. Where either does not know what it sees, that stands
here by name.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.contrib.ikev2 import (
    IKEv2,
    IKEv2CertificateEncodings,
    IKEv2NotifyMessageTypes,
    IKEv2TransformAlgorithms,
)

from captures import (
    DAMAGE,
    IKE_FIELDS,
    Fields,
    damage_in,
    fields_of,
    ike_view,
    require_tshark,
    run_tshark,
)
from iketcp.registry import (
    CertificateEncoding,
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
)
from iketcp.vectorlib.envelope import Json
from test_interop_scapy import TYPES, rebuilt
from transcript_capture import (
    age,
    payload_types,
    sent_messages,
    write_datagrams,
    write_keys,
    write_streams,
)
from transcript_support import (
    CERT,
    IDI,
    IDR,
    KINDS,
    NOTIFY,
    SK,
    SKF,
    bodies,
    said,
    sessions,
    transmitted,
)

SA, CP = 33, 47

SA = 33

# --- scapy ----------------------------------------------------------------------------

SCAPY_TYPES = TYPES | {
    "CERT": 37,
    "CERTREQ": 38,
    "EAP": 48,
    "Encrypted_Fragment": SKF,
    "PS": 54,
}


def scapy_types(message: IKEv2) -> list[int]:
    """Types of the payloads that scapy finds, in order."""
    names = [layer.__name__ for layer in message.layers()]
    assert names[0] == "IKEv2"
    return [SCAPY_TYPES[name.removeprefix("IKEv2_")] for name in names[1:]]


def plain_message(ike: Json) -> bytes:
    """A message with its payloads in the clear."""
    chain_of = bytes.fromhex(ike["payloads"])
    flags = 0x20 if ike["isResponse"] else 0
    head = bytes([ike["firstPayload"], 0x20, ike["exchangeType"], flags])
    numbers = struct.pack("!II", ike["messageId"], 28 + len(chain_of))
    return bytes(16) + head + numbers + chain_of


def test_scapy_reads_and_writes_every_message() -> None:
    """RFC 7296 §3.2: the payloads in order, and the same octets from their fields."""
    for test in sessions():
        for step in transmitted(test, "ike", "fragment"):
            octets = bytes.fromhex(step["message"])
            outer = IKEv2(octets)
            ike = step[step["content"]]
            assert (outer.exch_type, outer.id) == (
                ike["exchangeType"],
                ike["messageId"],
            )
            if ike["ikeSa"] is not None:
                kind = SK if step["content"] == "ike" else SKF
                assert scapy_types(outer) == [kind]
            assert rebuilt(outer) == octets
        for step in said(test):
            octets = plain_message(step["ike"])
            inner = IKEv2(octets)
            assert scapy_types(inner) == payload_types(step["ike"])
            assert rebuilt(inner) == octets


def test_scapy_reads_numbers_of_fragments() -> None:
    """RFC 7383 §2.5."""
    count = 0
    for test in sessions():
        for step in transmitted(test, "fragment"):
            packet = IKEv2(bytes.fromhex(step["message"]))["IKEv2_Encrypted_Fragment"]
            fragment = step["fragment"]
            numbers = packet.frag_number, packet.frag_total
            assert numbers == (fragment["number"], fragment["total"])
            count += 1
    assert count > 10


def test_what_scapy_has_no_name_for() -> None:
    """Transforms of RFC 8750 and RFC 9370, and raw public keys of RFC 7670."""
    transforms, notifies, encodings = set(), set(), set()
    for test in sessions():
        for step in said(test):
            for body in bodies(step, SA):
                transforms |= set(transforms_of(body))
            notifies |= {int.from_bytes(b[2:4], "big") for b in bodies(step, NOTIFY)}
            encodings |= {body[0] for body in bodies(step, CERT)}
    nameless = {
        (kind, number)
        for kind, number in transforms
        if number not in IKEv2TransformAlgorithms.get(kind, {})
    }
    additional = {one for one in transforms if one[0] in range(6, 13)}
    assert nameless <= {(1, 30), (1, 31), (4, 36), (4, 37)} | additional
    assert notifies <= set(IKEv2NotifyMessageTypes)
    assert encodings - set(IKEv2CertificateEncodings) <= {15}


def transforms_of(body: bytes) -> Iterator[tuple[int, int]]:
    """Type and ID of each transform of an SA payload. RFC 7296 §3.3."""
    while body:
        size = int.from_bytes(body[2:4], "big")
        rest = body[8 + body[6] : size]
        while rest:
            yield rest[4], int.from_bytes(rest[6:8], "big")
            rest = rest[int.from_bytes(rest[2:4], "big") :]
        body = body[size:]


# --- tshark ---------------------------------------------------------------------------

BUG = "Dissector bug"
"""What it says of an ID_NULL without data (RFC 7619 §2.2); not in every version."""

RAW_KEY = "BER Error: Wrong field in SEQUENCE"
"""It takes what is in any CERT for an X.509 certificate, even a raw public key."""

NAMELESS = {
    ("Notify Message Type", NotifyType.PUZZLE),
    ("Notify Message Type", NotifyType.STATE_NOT_FOUND),
    ("Notify Message Type", NotifyType.USE_PPK),
    ("Notify Message Type", NotifyType.PPK_IDENTITY),
    ("Notify Message Type", NotifyType.NO_PPK_AUTH),
    ("Transform ID (ENCR)", 30),  # RFC 8750
    ("Transform ID (ENCR)", 31),
    ("Transform ID (D-H)", 36),  # ML-KEM
    ("Transform ID (D-H)", 37),
    ("DH Group #", 36),
    ("DH Group #", 37),
    ("Certificate Encoding", CertificateEncoding.RAW_PUBLIC_KEY),
    ("ID type", IdType.ID_NULL),
    ("Payload", PayloadType.PS),
    ("Exchange type", ExchangeType.IKE_INTERMEDIATE),
    ("Exchange type", ExchangeType.IKE_FOLLOWUP_KE),
    ("Notify Message Type", NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED),
    ("Notify Message Type", NotifyType.ADDITIONAL_KEY_EXCHANGE),
}
"""What version 4.0 has no name for; later ones know more."""

OTHER_NAMES = {NotifyType.QCD_TOKEN: "QUICK_CRASH_DETECTION"}


@dataclass(frozen=True)
class Seen:
    """What tshark makes of the sessions of one type of group."""

    messages: list[tuple[Json, Json, Fields]]
    """Session and step beside the fields."""
    text: str
    """All it prints of them."""


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Both files, read by tshark; with older keys again, as IKE_INTERMEDIATE needs."""
    require_tshark()
    folder = tmp_path_factory.mktemp("sessions")
    seen = {}
    for kind, write in zip(KINDS, (write_streams, write_datagrams), strict=True):
        path, sent = write(folder), sent_messages(kind)
        ages = [age(test, ike_sa_of(step)) for test, step in sent]
        fields = (*IKE_FIELDS, *DAMAGE, "isakmp.notify.msgtype", "esp.spi")
        by_age = []
        for one in range(max(ages) + 1):
            write_keys(folder, one)
            by_age.append(fields_of(folder, path, *fields, tolerated=BUG))
        assert all(len(found) == len(sent) for found in by_age)
        beside = [
            (*each, by_age[one][number])
            for number, (each, one) in enumerate(zip(sent, ages, strict=True))
        ]
        write_keys(folder)
        seen[kind] = Seen(beside, run_tshark(folder, path, "-V", tolerated=BUG))
    return seen


def ike_sa_of(step: Json) -> int | None:
    """Index of the IKE SA that protects an IKE message; None: there is none."""
    found: int | None = (step[step["content"]]).get("ikeSa")
    return found


def has_empty_identity(step: Json) -> bool:
    """Whether tshark stops at an ID_NULL without data."""
    return step["ike"] is not None and any(
        body == bytes([IdType.ID_NULL, 0, 0, 0])
        for kind in (IDI, IDR)
        for body in bodies(step, kind)
    )


def has_raw_key(step: Json) -> bool:
    """Whether a raw public key is in a message."""
    return step["ike"] is not None and any(
        body[0] == CertificateEncoding.RAW_PUBLIC_KEY for body in bodies(step, CERT)
    )


def can_open(test: Json, ike: Json) -> bool:
    """Whether tshark has the cipher of an IKE SA: not ChaCha20-Poly1305."""
    return ike["ikeSa"] is not None and is_known(test["ikeSas"][ike["ikeSa"]])


def is_known(sa: Json) -> bool:
    """Whether tshark has the cipher of this IKE SA."""
    return bool(sa["cipher"]["encr"] != 28)


@pytest.mark.parametrize("kind", KINDS)
def test_tshark_finds_nothing_malformed(kind: str, captured: dict[str, Seen]) -> None:
    """But for two things that it does not know, and takes for others."""
    for test, step, fields in captured[kind].messages:
        damage = damage_in([fields])
        if has_empty_identity(step):
            damage = [one for one in damage if "len > 0" not in one]
            damage = [one for one in damage if one != "packet 1 is malformed"]
        if has_raw_key(step):
            damage = [one for one in damage if RAW_KEY not in one]
            damage = [one for one in damage if one != "packet 1 is malformed"]
        assert damage == [], test["comment"]


@pytest.mark.parametrize("kind", KINDS)
def test_tshark_finds_the_same_payloads(kind: str, captured: dict[str, Seen]) -> None:
    """RFC 7296 §3.1, §3.2: outside and inside, wherever it has the cipher."""
    for test, step, fields in captured[kind].messages:
        if step["content"] != "ike":
            continue
        ike = step["ike"]
        wanted = payload_types(ike)
        if ike["ikeSa"] is not None:
            wanted = [SK, *wanted] if can_open(test, ike) else [SK]
        *head, found = ike_view(fields)
        assert head == [ike["exchangeType"], ike["messageId"], ike["isResponse"]]
        if has_empty_identity(step):
            assert found == wanted[: len(found)]
            continue
        assert found == wanted, test["comment"]
        numbers = [int.from_bytes(b[2:4], "big") for b in bodies(step, NOTIFY)]
        if ike["ikeSa"] is None or can_open(test, ike):
            shown = [int(one) for one in fields.get("isakmp.notify.msgtype", [])]
            assert shown == numbers


def test_tshark_puts_fragments_together(captured: dict[str, Seen]) -> None:
    """RFC 7383 §2.6: the last fragment shows the payloads of all."""
    whole = 0
    for test, step, fields in captured["DatagramTranscript"].messages:
        if step["content"] != "fragment":
            continue
        fragment = step["fragment"]
        *head, found = ike_view(fields)
        names = ("exchangeType", "messageId", "isResponse")
        assert head == [fragment[name] for name in names]
        if fragment["number"] < fragment["total"]:
            assert found == [SKF]
            continue
        (ike,) = [
            one["ike"]
            for one in said(test)
            if one["sender"] == step["sender"]
            and all(one["ike"][name] == fragment[name] for name in names)
        ]
        assert found == [SKF, *payload_types(ike)]
        whole += 1
    assert whole >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_tshark_finds_every_esp_packet(kind: str, captured: dict[str, Seen]) -> None:
    """RFC 3948 §2.1: and takes none for IKE."""
    for _, step, fields in captured[kind].messages:
        spis = [int(text, 16).to_bytes(4, "big") for text in fields.get("esp.spi", [])]
        is_esp = step["content"] == "esp"
        assert spis == ([bytes.fromhex(step["message"])[:4]] if is_esp else [])


@pytest.mark.parametrize("kind", KINDS)
def test_tshark_verifies_every_checksum(kind: str, captured: dict[str, Seen]) -> None:
    """RFC 7296 §3.14: of all that it can decrypt."""
    lines = [
        line
        for line in captured[kind].text.splitlines()
        if "Integrity Checksum Data" in line
    ]
    protected = [
        step
        for test, step, _ in captured[kind].messages
        if step["content"] != "esp"
        and can_open(test, step[step["content"]])
        and age(test, ike_sa_of(step)) == 0
    ]
    assert len(lines) >= len(protected)
    good = [line for line in lines if line.endswith("[correct]")]
    assert len(good) == len(protected)


LINES = re.compile(
    r"^ *(Notify Message Type|Transform ID \([^)]*\)|DH Group #|Certificate Encoding"
    r"|ID type|Payload|Exchange type): (.*?) \((\d+)\)",
    re.M,
)
NO_NAME = re.compile(r"Unknown|RESERVED|Unassigned|Future use|UNASSIGNED", re.I)


def test_what_tshark_has_no_name_for(captured: dict[str, Seen]) -> None:
    """All else it calls as IANA does, as far as notifications go."""
    found = {
        (kind, int(number), name)
        for seen in captured.values()
        for kind, name, number in LINES.findall(seen.text)
    }
    nameless = {(kind, number) for kind, number, name in found if NO_NAME.search(name)}
    assert nameless <= NAMELESS
    for kind, number, name in found:
        if kind == "Notify Message Type" and (kind, number) not in nameless:
            wanted = NotifyType(number)
            assert name == OTHER_NAMES.get(wanted, wanted.name)
